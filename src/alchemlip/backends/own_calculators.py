"""The ASE calculators of the potentials' own packages, to compare unmixed structures with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch


def sevennet_calculator(file: Path, modal: str | None) -> Any:
    """Return sevenn's calculator of a checkpoint, in float32 on the CPU."""
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator(str(file), file_type="checkpoint", device="cpu", modal=modal)


def chgnet_calculator(name: str, file: Path) -> Any:
    """Return chgnet's calculator of a checkpoint, in float32 on the CPU."""
    from chgnet.model.dynamics import CHGNetCalculator

    from alchemlip.backends.chgnet import load_network

    return CHGNetCalculator(load_network(name, file), use_device="cpu", on_isolated_atoms="ignore")


def mace_calculator(file: Path, head: str | None) -> Any:
    """Return mace's calculator of a model, in float64 on the CPU."""
    from alchemlip.backends.mace_files import mace_imports

    default = torch.get_default_dtype()
    chosen = {} if head is None else {"head": head}
    try:
        with mace_imports():
            from mace.calculators import MACECalculator

            return MACECalculator(
                model_paths=str(file), device="cpu", default_dtype="float64", **chosen
            )
    finally:
        torch.set_default_dtype(default)  # which mace's calculator changes
