"""Forces, stress and composition gradient against differences; the symmetries of space."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from scipy.spatial.transform import Rotation

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.mixture.mixture import Correlation
from conftest import POTENTIALS, PotentialCase, loaded
from crystals import Crystal, deformed, example
from test_invariants import assert_equal, every_correlation, every_crystal

DIFFERENCE = 2e-7
"""Error allowed to a fourth-order difference, relative to the largest value."""


def central(function, step: float) -> float:  # type: ignore[no-untyped-def]
    """Fourth-order central difference of a function of one number, at 0."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return float((8 * near - far) / (12 * step))


@every_crystal
@every_correlation
def test_composition_gradient(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential, step: float
) -> None:
    """Raw dE/dx, off the simplex too."""
    mixture = crystal.mixture(correlation)
    gradient = any_potential.evaluate(mixture).composition_gradient
    graph = any_potential.graph([mixture])
    numerical = []
    for index in range(len(gradient)):
        direction = torch.zeros_like(graph.composition)
        direction[index] = 1.0

        def energy(h: float, direction: torch.Tensor = direction) -> float:
            moved = graph.composition + h * direction
            return any_potential.energies(graph, composition=moved).item()

        numerical.append(central(energy, step))
    assert_equal(gradient, numerical, DIFFERENCE)
    vacant = [label.endswith(":Va") for label in mixture.component_labels]
    assert np.all(gradient[vacant] == 0.0)


@every_crystal
@every_correlation
def test_forces(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential, step: float
) -> None:
    mixture = crystal.mixture(correlation)
    forces = any_potential.evaluate(mixture).forces
    rng = np.random.default_rng(3)
    direction = rng.normal(size=forces.shape)

    def energy(h: float) -> float:
        atoms = crystal.atoms.copy()
        atoms.positions += h * direction
        return any_potential.evaluate(mixture.with_geometry(atoms)).energy

    assert_equal(-(forces * direction).sum(), central(energy, step), DIFFERENCE)
    assert_equal(forces.sum(axis=0), np.zeros(3), 1e-9)


@every_crystal
@every_correlation
def test_stress(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential, step: float
) -> None:
    mixture = crystal.mixture(correlation)
    stress = any_potential.evaluate(mixture).stress
    if not crystal.atoms.pbc.any():
        assert stress is None
        return
    assert_equal(stress, numerical_stress(mixture, any_potential, step), DIFFERENCE)


def numerical_stress(
    mixture: Mixture, potential: AlchemicalPotential, step: float = 1e-3
) -> np.ndarray:
    """1/V dE/d(strain) of cell and positions together, Voigt order."""
    volume = abs(np.linalg.det(mixture.cell))
    values = []
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5

        def energy(h: float, strain: np.ndarray = strain) -> float:
            deform = np.eye(3) + h * strain
            atoms = Atoms(
                mixture.numbers,
                positions=mixture.positions @ deform,
                cell=mixture.cell @ deform,
                pbc=mixture.pbc,
            )
            return potential.evaluate(mixture.with_geometry(atoms)).energy

        values.append(central(energy, step) / volume)
    return np.array(values)


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
    """d(forces)/dx, d(stress)/dx and d2E/dx2 by double backward, against differences."""
    crystal = case.crystal("both-sublattices")
    graph = any_potential.graph([crystal.mixture(correlation)])
    rng = np.random.default_rng(0)
    direction = torch.from_numpy(rng.normal(size=graph.composition.shape))
    probe = torch.from_numpy(rng.normal(size=tuple(graph.positions.shape)))
    strain_probe = torch.from_numpy(rng.normal(size=(1, 3, 3)))

    def first_derivatives(composition: torch.Tensor) -> torch.Tensor:
        positions = graph.positions.clone().requires_grad_()
        strain = torch.zeros_like(graph.cells).requires_grad_()
        energy = any_potential.energies(graph, positions, strain, composition).sum()
        by_position, by_strain, by_composition = torch.autograd.grad(
            energy, (positions, strain, composition), create_graph=True
        )
        return torch.stack(
            [
                (by_position * probe).sum(),
                (by_strain * strain_probe).sum(),
                (by_composition * direction).sum(),
            ]
        )

    composition = graph.composition.clone().requires_grad_()
    values = first_derivatives(composition)
    analytic = [
        (torch.autograd.grad(value, composition, retain_graph=True)[0] * direction).sum().item()
        for value in values
    ]
    for index, value in enumerate(analytic):

        def derivative(h: float, index: int = index) -> float:
            moved = (graph.composition + h * direction).requires_grad_()
            return first_derivatives(moved)[index].item()

        assert_equal(value, central(derivative, step), 10 * DIFFERENCE)


@every_correlation
def test_symmetries_of_space(
    correlation: Correlation, case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    """Translation and permutation leave the energy alone, supercells multiply it."""
    crystal = case.crystal("both-sublattices")
    mixture = crystal.mixture(correlation)
    result = any_potential.evaluate(mixture)

    moved = crystal.atoms.copy()
    moved.positions += [0.3, -7.1, 12.9]
    translated = any_potential.evaluate(mixture.with_geometry(moved))
    assert_equal(translated.energy, result.energy)
    assert_equal(translated.forces, result.forces)

    order = np.random.default_rng(1).permutation(len(crystal.atoms))
    shuffled = Crystal("", crystal.atoms[order], crystal.spec).mixture(correlation)
    permuted = any_potential.evaluate(shuffled)
    assert_equal(permuted.energy, result.energy)
    assert_equal(permuted.forces, result.forces[order])
    assert_equal(permuted.composition_gradient, result.composition_gradient)

    large = any_potential.evaluate(mixture.repeat((2, 1, 2)))
    assert_equal(large.energy, 4 * result.energy)
    assert_equal(large.stress, result.stress)
    assert_equal(large.composition_gradient, 4 * result.composition_gradient)


def test_rotation(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """To 1e-7 only: constants that a float32 checkpoint rounded stay rounded in float64."""
    crystal = case.crystal("both-sublattices")
    mixture = crystal.mixture()
    result = any_potential.evaluate(mixture)
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    atoms = crystal.atoms.copy()
    atoms.set_cell(atoms.cell.array @ turn)
    atoms.positions = atoms.positions @ turn
    rotated = any_potential.evaluate(mixture.with_geometry(atoms))
    assert_equal(rotated.energy, result.energy, 1e-7)
    assert_equal(rotated.forces, result.forces @ turn, 1e-6)
    assert_equal(rotated.composition_gradient, result.composition_gradient, 1e-7)


def test_batch_equals_singles(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """All crystals of the suite, both correlations, in one pass."""
    mixtures = [c.mixture(k) for c in case.crystals() for k in ("independent", "concerted")]  # type: ignore[arg-type]
    together = any_potential.evaluate(mixtures)
    for mixture, result in zip(mixtures, together, strict=True):
        single = any_potential.evaluate(mixture)
        assert_equal(result.energy, single.energy)
        assert_equal(result.forces, single.forces)
        assert_equal(result.node_energies, single.node_energies)
        assert_equal(result.composition_gradient, single.composition_gradient)
        assert (result.stress is None) == (single.stress is None)
        if single.stress is not None:
            assert_equal(result.stress, single.stress)


def test_energy_is_the_weighted_sum_of_node_energies(
    case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    for crystal in case.crystals():
        result = any_potential.evaluate(crystal.mixture())
        assert_equal(result.occupancies @ result.node_energies, result.energy, 1e-13)
        assert_equal(result.site_energies.sum(), result.energy, 1e-13)


def test_float32_agrees_with_float64(
    case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    """Same weights, single precision: energies to a few microelectronvolts per site."""
    single = loaded(case, "float32")
    for crystal in case.crystals():
        mixture = crystal.mixture()
        low, high = single.evaluate(mixture), any_potential.evaluate(mixture)
        # Random weights give energies of tens of eV a site, and rounding in proportion.
        scale = max(1.0, float(np.abs(high.node_energies).max()))
        assert abs(low.energy - high.energy) < case.rounding * scale * mixture.n_sites
        assert np.abs(low.forces - high.forces).max() < 10 * case.rounding * scale
        assert_equal(low.composition_gradient, high.composition_gradient, 10 * case.rounding)


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
    """No neighbours at all: an energy, no forces, and a gradient."""
    cluster = case.crystal("cluster")
    cation = next(iter(cluster.spec))
    mixture = Mixture.from_elements(Atoms(cation), cluster.spec)
    result = any_potential.evaluate(mixture)
    assert np.isfinite(result.energy)
    assert np.all(result.forces == 0.0)
    assert np.isfinite(result.composition_gradient).all()
