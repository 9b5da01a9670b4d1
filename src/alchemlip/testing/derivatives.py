"""Checks of derivatives against central differences, and of the symmetries of space."""

from __future__ import annotations

import numpy as np
import torch
from ase import Atoms
from scipy.spatial.transform import Rotation
from torch import Tensor

from alchemlip.mixture.groups import Correlation
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.potential import AlchemicalPotential
from alchemlip.testing.comparison import (
    DIFFERENCE,
    assert_equal,
    central_difference,
    given,
    numerical_stress,
)
from alchemlip.testing.crystals import Crystal


def check_composition_gradient(
    potential: AlchemicalPotential,
    crystal: Crystal,
    correlation: Correlation = "independent",
    step: float = 1e-3,
) -> None:
    """Raw dE/dx against central differences, which leave the simplex; 0 for a vacancy.

    Args:
        potential: in float64.
        crystal: what is evaluated.
        correlation: of the groups.
        step: of the differences; small enough for the model's shortest waves.

    Raises:
        AssertionError: if a component differs by more than 2e-7 of the largest.
    """
    _need_float64(potential)
    mixture = crystal.mixture(correlation)
    gradient = potential.evaluate(mixture).composition_gradient
    if gradient is None:
        raise AssertionError(f"dE/dx is missing ({crystal.name})")
    graph = potential.graph([mixture])
    numerical = []
    for index in range(len(gradient)):
        direction = torch.zeros_like(graph.composition)
        direction[index] = 1.0

        def energy(h: float, direction: Tensor = direction) -> float:
            moved = graph.composition + h * direction
            return potential.energies(graph, composition=moved).item()

        numerical.append(central_difference(energy, step))
    what = f"dE/dx ({crystal.name}, {correlation}), against differences,"
    assert_equal(gradient, numerical, DIFFERENCE, what)
    vacant = [label.endswith(":Va") for label in mixture.component_labels]
    if np.any(gradient[vacant] != 0.0):
        raise AssertionError(f"dE/dx of a vacancy is not 0 ({crystal.name}, {correlation})")


def check_forces(
    potential: AlchemicalPotential,
    crystal: Crystal,
    correlation: Correlation = "independent",
    step: float = 1e-3,
) -> None:
    """Forces along a random direction against central differences; their sum is 0.

    Arguments as in `check_composition_gradient`; the step is in Angstrom.

    Raises:
        AssertionError: if they differ by more than 2e-7, or sum to more than 1e-9 eV/A.
    """
    _need_float64(potential)
    mixture = crystal.mixture(correlation)
    forces = potential.evaluate(mixture).forces
    if forces is None:
        raise AssertionError(f"forces are missing ({crystal.name})")
    direction = np.random.default_rng(3).normal(size=forces.shape)

    def energy(h: float) -> float:
        atoms = crystal.atoms.copy()
        atoms.positions += h * direction
        return potential.evaluate(mixture.with_geometry(atoms)).energy

    where = f"({crystal.name}, {correlation})"
    numerical = central_difference(energy, step)
    along = -(forces * direction).sum()
    assert_equal(along, numerical, DIFFERENCE, f"the forces {where}, against differences,")
    assert_equal(forces.sum(axis=0), np.zeros(3), 1e-9, f"the sum of all forces {where}")


def check_stress(
    potential: AlchemicalPotential,
    crystal: Crystal,
    correlation: Correlation = "independent",
    step: float = 1e-3,
) -> None:
    """All six components of the stress against central differences; none without a cell.

    Arguments as in `check_composition_gradient`; the step is a strain.

    Raises:
        AssertionError: if they differ by more than 2e-7.
    """
    _need_float64(potential)
    mixture = crystal.mixture(correlation)
    stress = potential.evaluate(mixture).stress
    if not crystal.atoms.pbc.any():
        if stress is not None:
            raise AssertionError(f"a cluster has a stress ({crystal.name})")
        return
    if stress is None:
        raise AssertionError(f"the stress is missing ({crystal.name})")
    numerical = numerical_stress(mixture, potential, step)
    what = f"the stress ({crystal.name}, {correlation}), against differences,"
    assert_equal(stress, numerical, DIFFERENCE, what)


def check_second_derivatives(
    potential: AlchemicalPotential,
    crystal: Crystal,
    correlation: Correlation = "independent",
    step: float = 1e-3,
) -> None:
    """d(forces)/dx, d(stress)/dx and d2E/dx2 by double backward, against differences.

    Arguments as in `check_composition_gradient`.

    Raises:
        AssertionError: if one differs by more than 2e-6.
    """
    _need_float64(potential)
    graph = potential.graph([crystal.mixture(correlation)])
    device = graph.positions.device
    rng = np.random.default_rng(0)
    direction = torch.from_numpy(rng.normal(size=graph.composition.shape)).to(device)
    probe = torch.from_numpy(rng.normal(size=tuple(graph.positions.shape))).to(device)
    strain_probe = torch.from_numpy(rng.normal(size=(1, 3, 3))).to(device)

    def first_derivatives(composition: Tensor) -> list[Tensor]:
        positions = graph.positions.detach().clone().requires_grad_()
        strain = torch.zeros_like(graph.cells).requires_grad_()
        energy = potential.energies(graph, positions, strain, composition).sum()
        found = torch.autograd.grad(energy, (positions, strain, composition), create_graph=True)
        along = zip(found, (probe, strain_probe, direction), strict=True)
        return [(gradient * weights).sum() for gradient, weights in along]

    composition = graph.composition.clone().requires_grad_()
    names = ("d(forces)/dx", "d(stress)/dx", "d2E/dx2")
    for index, value in enumerate(first_derivatives(composition)):
        # Linear in the composition: no graph to go back along, and a derivative of 0.
        gradient = (
            torch.autograd.grad(
                value, composition, retain_graph=True, allow_unused=True, materialize_grads=True
            )[0]
            if value.requires_grad
            else torch.zeros_like(composition)
        )

        def derivative(h: float, index: int = index) -> float:
            moved = (graph.composition + h * direction).requires_grad_()
            return first_derivatives(moved)[index].item()

        exact = (gradient * direction).sum().item()
        numerical = central_difference(derivative, step)
        what = f"{names[index]} ({crystal.name}, {correlation}), against differences,"
        assert_equal(exact, numerical, 10 * DIFFERENCE, what)


def check_symmetries_of_space(
    potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation = "independent"
) -> None:
    """Translation and permutation leave the energy alone, supercells multiply it.

    Args:
        potential: in float64.
        crystal: periodic, without exclusive pairs, mixed by elements.
        correlation: of the groups.

    Raises:
        AssertionError: if energy, a force or dE/dx differs.
    """
    mixture = crystal.mixture(correlation)
    result = potential.evaluate(mixture)

    moved = crystal.atoms.copy()
    moved.positions += [0.3, -7.1, 12.9]
    translated = potential.evaluate(mixture.with_geometry(moved))
    assert_equal(translated.energy, result.energy, what="the energy of a translated crystal")
    assert_equal(translated.forces, result.forces, what="a force of a translated crystal")

    order = np.random.default_rng(1).permutation(len(crystal.atoms))
    shuffled = Crystal("", crystal.atoms[order], crystal.spec).mixture(correlation)
    permuted = potential.evaluate(shuffled)
    other = "of the crystal with its sites in another order"
    assert_equal(permuted.energy, result.energy, what=f"the energy {other}")
    assert_equal(permuted.forces, given(result.forces)[order], what=f"a force {other}")
    gradient = given(result.composition_gradient)
    assert_equal(permuted.composition_gradient, gradient, what=f"dE/dx {other}")

    large = potential.evaluate(mixture.repeat((2, 1, 2)))
    assert_equal(large.energy, 4 * result.energy, what="the energy of a supercell")
    assert_equal(large.stress, result.stress, what="the stress of a supercell")
    assert_equal(large.composition_gradient, 4 * gradient, what="dE/dx of a supercell")


def check_rotation(potential: AlchemicalPotential, crystal: Crystal) -> None:
    """A turned crystal has the same energy and turned forces.

    To 1e-7 only (forces 1e-6): constants that a float32 checkpoint rounded stay so in float64.

    Raises:
        AssertionError: if energy, a force or dE/dx differs.
    """
    mixture = crystal.mixture()
    result = potential.evaluate(mixture)
    turn = Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    atoms = crystal.atoms.copy()
    atoms.set_cell(atoms.cell.array @ turn)
    atoms.positions = atoms.positions @ turn
    rotated = potential.evaluate(mixture.with_geometry(atoms))
    assert_equal(rotated.energy, result.energy, 1e-7, "the energy of a turned crystal")
    forces = given(result.forces) @ turn
    assert_equal(rotated.forces, forces, 1e-6, "a force of a turned crystal")
    gradient = result.composition_gradient
    assert_equal(rotated.composition_gradient, gradient, 1e-7, "dE/dx of a turned crystal")


def check_isolated_atom(potential: AlchemicalPotential, crystal: Crystal) -> None:
    """A mixed site without neighbours has an energy, no forces, and a gradient.

    Args:
        potential: to be checked.
        crystal: whose first mixed element is taken, alone.

    Raises:
        AssertionError: if a value is not finite, or a force acts.
    """
    element = next(iter(crystal.spec))
    result = potential.evaluate(Mixture.from_elements(Atoms(element), crystal.spec))
    if not np.isfinite([result.energy, *given(result.composition_gradient)]).all():
        raise AssertionError(f"energy or dE/dx of an isolated atom is not finite: {result}")
    if np.any(given(result.forces) != 0.0):
        raise AssertionError(f"a force acts on an isolated atom: {result.forces}")


def _need_float64(potential: AlchemicalPotential) -> None:
    if potential.dtype != torch.float64:
        raise AssertionError(
            f"the potential is in {potential.dtype}, too coarse for differences: make it in float64"
        )
