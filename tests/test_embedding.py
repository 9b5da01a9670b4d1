"""The embedding representation: exact ends, derivatives, symmetries; no vacancies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from alchemlip import AlchemicalPotential, InputError
from alchemlip.testing import (
    CRYSTALS,
    DIFFERENCE,
    Crystal,
    assert_equal,
    assert_matches,
    central_difference,
    one_hot,
    pure_atoms,
)
from conftest import PotentialCase, loaded

FULL = [item for item in CRYSTALS if "vacanc" not in item.name and not item.exclusive]
every_full_crystal = pytest.mark.parametrize("crystal", FULL, ids=repr, indirect=True)


@pytest.fixture
def embedding(any_potential: AlchemicalPotential) -> AlchemicalPotential:
    return any_potential.with_representation("embedding")


@every_full_crystal
def test_ends_are_exact(crystal: Crystal, embedding: AlchemicalPotential, reference: Any) -> None:
    for which in (0, -1):
        mixture = one_hot(crystal.mixture(), which)
        result = embedding.evaluate(mixture)
        assert_matches(result, pure_atoms(mixture), slice(None), reference)


def test_it_is_another_path(
    case: PotentialCase, embedding: AlchemicalPotential, any_potential: AlchemicalPotential
) -> None:
    crystal = case.crystal("rock-salt")
    mixture = crystal.mixture()
    between = embedding.evaluate(mixture)
    assert abs(between.energy - any_potential.evaluate(mixture).energy) > 1e-3
    assert_equal(between.site_energies.sum(), between.energy, 1e-13)
    # Which sites go together is a question of nodes.
    assert_equal(embedding.evaluate(crystal.mixture("concerted")).energy, between.energy, 1e-13)


@every_full_crystal
def test_derivatives(crystal: Crystal, embedding: AlchemicalPotential, step: float) -> None:
    mixture = crystal.mixture()
    result = embedding.evaluate(mixture)
    graph = embedding.graph([mixture])
    rng = np.random.default_rng(2)
    moves = {
        "composition": torch.from_numpy(rng.normal(size=graph.composition.shape)),
        "positions": torch.from_numpy(rng.normal(size=tuple(graph.positions.shape))),
    }
    exact = {"composition": result.composition_gradient, "positions": -result.forces}
    for name, direction in moves.items():

        def energy(h: float, name: str = name, direction: torch.Tensor = direction) -> float:
            moved = {name: getattr(graph, name) + h * direction}
            return embedding.energies(graph, **moved).item()  # type: ignore[arg-type]

        expected = (exact[name] * direction.numpy()).sum()
        assert_equal(expected, central_difference(energy, step / 2), DIFFERENCE)


def test_second_derivatives(
    case: PotentialCase, embedding: AlchemicalPotential, step: float
) -> None:
    graph = embedding.graph([case.crystal("rock-salt").mixture()])
    direction = torch.tensor([0.4, -0.7], dtype=torch.float64)

    def slope(composition: torch.Tensor) -> torch.Tensor:
        energy = embedding.energies(graph, composition=composition).sum()
        return torch.autograd.grad(energy, composition, create_graph=True)[0] @ direction

    composition = graph.composition.clone().requires_grad_()
    exact = torch.autograd.grad(slope(composition), composition)[0] @ direction
    numerical = central_difference(
        lambda h: slope((graph.composition + h * direction).requires_grad_()).item(), step
    )
    assert_equal(exact.item(), numerical, 10 * DIFFERENCE)


def test_batch_and_supercell(case: PotentialCase, embedding: AlchemicalPotential) -> None:
    full = {item.name for item in FULL}
    mixtures = [item.mixture() for item in case.crystals() if item.name in full]
    for mixture, together in zip(mixtures, embedding.evaluate(mixtures), strict=True):
        single = embedding.evaluate(mixture)
        assert_equal(together.energy, single.energy)
        assert_equal(together.forces, single.forces)
        assert_equal(together.composition_gradient, single.composition_gradient)
    large = embedding.evaluate(mixtures[0].repeat((2, 1, 1)))
    assert_equal(large.energy, 2 * embedding.evaluate(mixtures[0]).energy)


def test_refusals(embedding: AlchemicalPotential, case: PotentialCase) -> None:
    vacant = case.crystal("vacancy")
    with pytest.raises(InputError, match="vacancies, whose end state would still hold an atom"):
        embedding.evaluate(vacant.mixture())
    with pytest.raises(InputError, match="no expanded form"):
        embedding.evaluate(case.crystal("rock-salt").mixture(), form="expanded")
    with pytest.raises(InputError, match="unknown representation"):
        loaded(case).with_representation("both")  # type: ignore[arg-type]
