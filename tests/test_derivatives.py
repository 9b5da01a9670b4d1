"""Forces, stress and composition gradient against differences; the symmetries of space."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.mixture.mixture import Correlation
from alchemlip.testing import (
    DIFFERENCE,
    Crystal,
    assert_equal,
    check_batch,
    check_composition_gradient,
    check_float32,
    check_forces,
    check_isolated_atom,
    check_node_energies,
    check_rotation,
    check_second_derivatives,
    check_stress,
    check_symmetries_of_space,
    deformed,
    numerical_stress,
)
from conftest import POTENTIALS, PotentialCase, loaded
from crystals import example
from test_invariants import every_correlation, every_crystal


@every_crystal
@every_correlation
def test_composition_gradient(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential, step: float
) -> None:
    check_composition_gradient(any_potential, crystal, correlation, step)


@every_crystal
@every_correlation
def test_forces(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential, step: float
) -> None:
    check_forces(any_potential, crystal, correlation, step)


@every_crystal
@every_correlation
def test_stress(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential, step: float
) -> None:
    check_stress(any_potential, crystal, correlation, step)


def left_handed() -> Atoms:
    atoms = deformed(example("NaCl"), 4)
    atoms.cell[[0, 1]] = atoms.cell[[1, 0]]
    assert np.linalg.det(atoms.cell.array) < 0
    return atoms


def slab() -> Atoms:
    atoms = deformed(example("NaCl"), 5)
    atoms.pbc = (True, True, False)
    atoms.cell[2] = [0.0, 0.0, 18.0]
    return atoms


def wire() -> Atoms:
    atoms = slab()
    atoms.pbc = (True, False, False)
    atoms.cell[1] = [0.0, 17.0, 0.0]
    return atoms


@pytest.mark.parametrize("make", [left_handed, slab, wire], ids=lambda f: f.__name__)
def test_stress_of_unusual_cells(make, potential: AlchemicalPotential) -> None:  # type: ignore[no-untyped-def]
    mixture = Mixture.from_elements(make(), {"Na": {"Na": 0.5, "K": 0.5}})
    stress = potential.evaluate(mixture).stress
    assert_equal(stress, numerical_stress(mixture, potential), DIFFERENCE)
    if make is left_handed:
        right = make()
        right.cell[[0, 1]] = right.cell[[1, 0]]
        other = potential.evaluate(Mixture.from_elements(right, {"Na": {"Na": 0.5, "K": 0.5}}))
        assert_equal(stress, other.stress)


@every_correlation
def test_second_derivatives(
    correlation: Correlation, case: PotentialCase, any_potential: AlchemicalPotential, step: float
) -> None:
    check_second_derivatives(any_potential, case.crystal("both-sublattices"), correlation, step)


@every_correlation
def test_symmetries_of_space(
    correlation: Correlation, case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    check_symmetries_of_space(any_potential, case.crystal("both-sublattices"), correlation)


def test_rotation(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    check_rotation(any_potential, case.crystal("both-sublattices"))


def test_batch_equals_singles(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """All crystals of the suite, both correlations, in one pass."""
    check_batch(any_potential, case.crystals())


def test_energy_is_the_weighted_sum_of_node_energies(
    case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    for crystal in case.crystals():
        check_node_energies(any_potential, crystal)


def test_float32_agrees_with_float64(
    case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    single = loaded(case, "float32")
    for crystal in case.crystals():
        check_float32(any_potential, single, crystal, case.rounding)


def test_large_cell_energy_is_summed_in_float64() -> None:
    """1372 sites in float32: a sum in float32 would be off by more than this."""
    single = loaded(POTENTIALS[0], "float32")
    mixture = Mixture.from_elements(bulk("Cu", "fcc", 3.7), {"Cu": {"Cu": 0.5, "Au": 0.5}})
    small = single.evaluate(mixture, forces=False, stress=False, composition_gradient=False)
    large = single.evaluate(
        mixture.repeat((7, 7, 7)), forces=False, stress=False, composition_gradient=False
    )
    assert abs(large.energy / 343 - small.energy) < 3e-7


def test_isolated_atom(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    check_isolated_atom(any_potential, case.crystal("cluster"))
