"""MACE models with random weights, of every published interaction block."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import torch

from alchemlip import AlchemicalPotential

NUMBERS = (3, 8, 11, 17, 19, 29, 35, 37, 40, 47, 50, 53, 55, 58, 79, 82)
HEADS = ("first", "second")


def random_mace(
    blocks: tuple[str, str],
    layers: int = 2,
    scaled: bool = True,
    transform: str = "None",
    zbl: bool = False,
    heads: int = 1,
    apply_cutoff: bool = True,
) -> Any:
    """Return a small MACE in float64.

    Args:
        blocks: interaction blocks of the first and of the later layers, between ``RealAgnostic``
            and ``InteractionBlock``.
        layers: number of interactions.
        scaled: whether interaction energies are scaled and shifted.
        transform: of distances: ``None``, ``Agnesi`` or ``Soft``.
        zbl: whether there is a pair repulsion.
        heads: 1, or 2 with energies of their own.
        apply_cutoff: False multiplies by the cutoff in the blocks instead of the radial basis.
    """
    # mace first: importing its e3nn needs a setting of torch that mace makes.
    modules = import_module("mace.modules")
    o3 = import_module("e3nn.o3")

    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        first, later = (getattr(modules.blocks, f"RealAgnostic{b}InteractionBlock") for b in blocks)
        shape = (heads, len(NUMBERS)) if heads > 1 else len(NUMBERS)
        arguments: dict[str, Any] = {
            "r_max": 5.0,
            "num_bessel": 6,
            "num_polynomial_cutoff": 6,
            "max_ell": 2,
            "interaction_cls": later,
            "interaction_cls_first": first,
            "num_interactions": layers,
            "num_elements": len(NUMBERS),
            "hidden_irreps": o3.Irreps("8x0e + 8x1o"),
            "MLP_irreps": o3.Irreps("8x0e"),
            "atomic_energies": rng.uniform(-4.0, -1.0, shape),
            "avg_num_neighbors": 8.0,
            "atomic_numbers": list(NUMBERS),
            "correlation": 2,
            "gate": torch.nn.functional.silu,
            "pair_repulsion": zbl,
            "distance_transform": transform,
            "apply_cutoff": apply_cutoff,
        }
        if heads > 1:
            arguments["heads"] = list(HEADS)
        if not scaled:
            model = modules.MACE(**arguments)
        else:
            model = modules.ScaleShiftMACE(
                atomic_inter_scale=[1.5] * heads if heads > 1 else 1.5,
                atomic_inter_shift=[0.1] * heads if heads > 1 else 0.1,
                **arguments,
            )
    finally:
        torch.set_default_dtype(before)
    # Fresh weights give interactions of microelectronvolts, which would hide errors.
    for product in model.products:
        for parameter in product.parameters():
            parameter.data *= 3.0
    for readout in model.readouts:
        for parameter in readout.parameters():
            parameter.data *= 3.0
    return model.double()


@cache
def _made(architecture: tuple[tuple[str, Any], ...]) -> Any:
    return random_mace(**dict(architecture))


def model_of(architecture: Mapping[str, Any]) -> Any:
    """Return a copy of the model, which is made once."""
    return copy.deepcopy(_made(tuple(architecture.items())))


def mace_potential(name: str, architecture: Mapping[str, Any], dtype: str) -> AlchemicalPotential:
    """Return the model as a potential of alchemlip."""
    from alchemlip.backends.mace import MACEBackend

    head = HEADS[1] if architecture.get("heads", 1) > 1 else None
    model = model_of(architecture)
    return AlchemicalPotential(
        MACEBackend(name, model, torch.device("cpu"), getattr(torch, dtype), head)
    )


def mace_float64(architecture: Mapping[str, Any]) -> Any:
    """Return mace's own calculator of the same model."""
    from mace.calculators import MACECalculator

    head = {"head": HEADS[1]} if architecture.get("heads", 1) > 1 else {}
    return MACECalculator(
        models=[model_of(architecture)], device="cpu", default_dtype="float64", **head
    )
