"""MACE's products as alchemlip computes them, against mace's own modules."""

from __future__ import annotations

import copy
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.potential.messages import MessageTables
from alchemlip.testing import CRYSTALS

pytest.importorskip("mace")

from alchemlip.backends.mace import MACEBackend
from alchemlip.backends.mace_contraction import ElementContraction
from alchemlip.backends.mace_convolution import Convolution, can_fuse, receiver_blocks
from alchemlip.backends.mace_elements import keep_elements
from mace_models import NUMBERS, model_of

CPU = torch.device("cpu")
N_ELEMENTS = 6
COLUMNS = [4, 1, 3]


def contraction(outputs: str, correlation: int) -> Any:
    """mace's symmetric contraction with random weights, in float64."""
    modules = import_module("mace.modules.symmetric_contraction")
    o3 = import_module("e3nn.o3")
    torch.manual_seed(0)
    module = modules.SymmetricContraction(
        o3.Irreps("3x0e + 3x1o + 3x2e"), o3.Irreps(outputs), correlation, num_elements=N_ELEMENTS
    )
    return module.double()


@pytest.mark.parametrize("correlation", [1, 2, 3])
@pytest.mark.parametrize("outputs", ["3x0e", "3x0e + 3x1o", "3x0e + 3x1o + 3x2e"])
def test_contraction(outputs: str, correlation: int) -> None:
    """Value, gradient, Hessian-vector product and the derivative of that one."""
    upstream = contraction(outputs, correlation)
    before = copy.deepcopy(upstream.state_dict())
    own = ElementContraction(upstream, COLUMNS)
    generator = torch.Generator().manual_seed(1)
    kind = torch.tensor(COLUMNS)[torch.randint(0, len(COLUMNS), (7,), generator=generator)]
    one_hot = torch.nn.functional.one_hot(kind, N_ELEMENTS).double()

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    features = random(7, 3, 9)
    directions = [random(7, upstream(features, one_hot).shape[1]), *(random(7, 3, 9),) * 2]

    def derivatives(module: Any) -> list[torch.Tensor]:
        leaf = features.clone().requires_grad_()
        value = module(leaf, one_hot)
        found = [value]
        for direction in directions:
            (value,) = (
                torch.autograd.grad(
                    (value * direction).sum(), leaf, create_graph=True, materialize_grads=True
                )
                if value.requires_grad
                else (torch.zeros_like(features),)
            )
            found.append(value)
        return found

    for one, other in zip(derivatives(own), derivatives(upstream), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    leaf = features.clone().requires_grad_()
    (first_only,) = torch.autograd.grad((own(leaf, one_hot) * directions[0]).sum(), leaf)
    torch.testing.assert_close(first_only, derivatives(upstream)[1], rtol=0, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in upstream.state_dict().items())


@pytest.mark.parametrize("hidden", ["4x0e", "4x0e + 4x1o", "4x0e + 4x1o + 4x2e"])
def test_convolution(hidden: str) -> None:
    """Rows with many neighbours, with few, with none: what the sum over edges gives."""
    o3 = import_module("e3nn.o3")
    tools = import_module("mace.modules.irreps_tools")
    sender_irreps = o3.Irreps(hidden)
    harmonics_irreps = o3.Irreps.spherical_harmonics(3)
    middle, instructions = tools.tp_out_irreps_with_instructions(
        sender_irreps, harmonics_irreps, (harmonics_irreps * 4).sort().irreps.simplify()
    )
    product = o3.TensorProduct(
        sender_irreps,
        harmonics_irreps,
        middle,
        instructions=instructions,
        shared_weights=False,
        internal_weights=False,
    ).double()
    assert can_fuse(product)
    rng = np.random.default_rng(0)
    counts = np.array([40, 3, 0, 41, 5, 39, 2] + [1] * 20)
    receiver = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    n_edges = len(receiver)
    tables = MessageTables(
        form="factorised",
        n_rows=len(counts),
        receiver=torch.from_numpy(receiver),
        sender=torch.from_numpy(rng.integers(0, len(counts), n_edges)),
        site_edge=torch.from_numpy(rng.integers(0, n_edges, n_edges)),
        weight_node=None,
        node_site=torch.arange(len(counts)),
        tied_nodes=None,
        trivial=False,
    )
    blocks = receiver_blocks(tables, n_edges)
    assert len(blocks.shapes) > 1
    places = sum(rows * wide for rows, wide in blocks.shapes)
    assert places < 2 * n_edges
    kept = blocks.site_edge < n_edges
    wanted = torch.stack([tables.site_edge, tables.sender, tables.receiver])
    found = torch.stack([blocks.site_edge, blocks.sender, blocks.receiver])[:, kept]
    assert sorted(map(tuple, wanted.T.tolist())) == sorted(map(tuple, found.T.tolist()))

    torch.manual_seed(0)
    arguments = [
        torch.randn(len(counts), sender_irreps.dim, dtype=torch.float64),
        torch.randn(n_edges, harmonics_irreps.dim, dtype=torch.float64),
        torch.randn(n_edges, product.weight_numel, dtype=torch.float64),
    ]
    leaves = [argument.requires_grad_() for argument in arguments]
    features, harmonics, weights = leaves
    fused = Convolution(product, lambda: blocks)(
        features,
        blocks.on_places(harmonics),
        blocks.on_places(weights),
        torch.stack([blocks.sender, blocks.receiver]),
    )
    plain = Convolution(product, lambda: None)(
        features,
        tables.on_edges(harmonics),
        tables.on_edges(weights),
        torch.stack([tables.sender, tables.receiver]),
    )
    torch.testing.assert_close(fused, plain, rtol=0, atol=1e-11)
    direction = torch.randn_like(plain)
    first, second = (
        torch.autograd.grad((result * direction).sum(), leaves, create_graph=True)
        for result in (fused, plain)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=1e-11)
    again, reference = (
        torch.autograd.grad(sum((g * g.detach()).sum() for g in gradients), leaves)
        for gradients in (first, second)
    )
    torch.testing.assert_close(again, reference, rtol=0, atol=1e-9)


def test_atoms_without_neighbours() -> None:
    """Isolated atoms have their own energies, whatever else is in the batch."""
    model = model_of({"blocks": ("Residual", "Residual")})
    potential = AlchemicalPotential(MACEBackend("m", model, CPU, torch.float64))
    far = Mixture.from_elements(
        Atoms("NaCl", positions=[[0, 0, 0], [30, 0, 0]]), {"Na": {"Na": 0.5, "K": 0.5}}
    )
    alone = potential.evaluate(far)
    expanded = potential.evaluate(far, form="expanded")
    assert alone.energy == pytest.approx(expanded.energy, abs=1e-12)
    np.testing.assert_array_equal(alone.forces, 0.0)
    _, together = potential.evaluate([CRYSTALS[0].mixture(), far])
    np.testing.assert_allclose(together.node_energies, alone.node_energies, rtol=0, atol=1e-12)


@pytest.mark.parametrize("drop_absent", [True, False])
def test_the_model_that_came_in_is_left_alone(drop_absent: bool) -> None:
    model = model_of({"blocks": ("", "Residual")})
    before = copy.deepcopy(model.state_dict())
    backend = MACEBackend("m", model, CPU, torch.float64, drop_absent=drop_absent)
    AlchemicalPotential(backend).evaluate(CRYSTALS[0].mixture())
    assert set(model.state_dict()) == set(before)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(module._forward_pre_hooks for module in model.modules())
    assert all(can_fuse(block.conv_tp) for block in model.interactions)


@pytest.mark.parametrize("largest", [0, 2**28])
def test_many_elements(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network reduced to some elements is the network, whether or not polynomials fit."""
    monkeypatch.setattr("alchemlip.backends.mace_elements.LARGEST", largest)
    model = model_of({"blocks": ("Residual", "Residual")})
    columns = [NUMBERS.index(number) for number in (11, 17, 19)]
    one_hot = torch.zeros(5, len(NUMBERS), dtype=torch.float64)
    one_hot[range(5), [columns[kind] for kind in (0, 2, 1, 0, 2)]] = 1.0
    reduced = keep_elements(model, columns)
    for product, kept in zip(model.products, reduced.products, strict=True):
        own = isinstance(kept.symmetric_contractions, ElementContraction)
        assert own == (largest > 0)
        width = product.symmetric_contractions.contractions[0].U_tensors(1).shape[-2]
        features = torch.randn(5, 8, width, dtype=torch.float64)
        torch.testing.assert_close(
            kept.symmetric_contractions(features, one_hot),
            product.symmetric_contractions(features, one_hot),
            rtol=0,
            atol=1e-12,
        )
