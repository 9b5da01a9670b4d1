"""Terms of coupled Hamiltonians: derivatives against differences, invariances, exact paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator, PropertyNotImplementedError
from ase.calculators.emt import EMT

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.errors import InputError
from alchemlip.freeenergy.hamiltonian import (
    AlchemicalTerm,
    CalculatorTerm,
    CoupledCalculator,
    SpringTerm,
    Term,
    TermResult,
)
from alchemlip.mixture.compositions import with_flat_composition
from alchemlip.mixture.mixture import Correlation
from alchemlip.testing import deformed
from pair_models import pair_potential

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def copper() -> Atoms:
    """Eight atoms in a skewed cell."""
    atoms = bulk("Cu", "fcc", 3.7, cubic=True) * (2, 1, 1)
    return deformed(atoms, seed=4, strain=0.05)


def springs(frame: str, sites: list[int]) -> SpringTerm:
    rng = np.random.default_rng(7)
    anchors = copper().get_scaled_positions(wrap=False) + 0.03 * rng.normal(size=(8, 3))
    start, end = rng.uniform(0.5, 3.0, (2, len(sites)))
    return SpringTerm(anchors, start, end, sites, frame)


def alchemical(correlation: Correlation, potential: AlchemicalPotential) -> AlchemicalTerm:
    spec = {(0, 3, 5): {"Cu": 0.5, "Au": 0.5}, (1, 2): {"Cu": 0.2, "K": 0.8}}
    mixture = Mixture.from_elements(copper(), spec, correlation=correlation)
    return AlchemicalTerm(potential, mixture, [1.0, 0.0, 0.7, 0.3], [0.2, 0.8, 0.1, 0.9])


TERMS: dict[str, Callable[[], Term]] = {
    "calculator": lambda: CalculatorTerm(EMT(), 0.9, 0.2),
    "springs-cell": lambda: springs("cell", [0, 2, 3]),
    "springs-lattice": lambda: springs("lattice", [1, 6]),
    "independent": lambda: alchemical("independent", pair_potential()),
    "concerted": lambda: alchemical("concerted", pair_potential()),
}


def value(term: Term, atoms: Atoms, coupling: float) -> TermResult:
    return term.evaluate(atoms, coupling, stress=True, derivative=True)


def strained(atoms: Atoms, strain: np.ndarray) -> Atoms:
    atoms = atoms.copy()
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def assert_derivatives(
    term: Term, atoms: Atoms, coupling: float, step: float, error: float
) -> None:
    """Forces, all six stresses and dU/d(lambda) against central differences."""
    result = value(term, atoms, coupling)
    assert result.stress is not None
    assert result.dhdl is not None
    for site, axis in ((0, 0), (1, 1), (3, 2), (6, 0), (7, 1)):
        up, down = atoms.copy(), atoms.copy()
        up.positions[site, axis] += step
        down.positions[site, axis] -= step
        slope = (value(term, up, coupling).energy - value(term, down, coupling).energy) / (2 * step)
        assert result.forces[site, axis] == pytest.approx(-slope, abs=error)
    volume = abs(np.linalg.det(atoms.cell.array))
    for component, (a, b) in enumerate(VOIGT):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5 * step
        strain[b, a] += 0.5 * step
        up = value(term, strained(atoms, strain), coupling).energy
        down = value(term, strained(atoms, -strain), coupling).energy
        slope = (up - down) / (2 * step * volume)
        assert result.stress[component] == pytest.approx(slope, abs=error)
    up = value(term, atoms, coupling + step).energy
    down = value(term, atoms, coupling - step).energy
    assert result.dhdl == pytest.approx((up - down) / (2 * step), abs=error * 10)


@pytest.mark.parametrize("name", TERMS)
@pytest.mark.parametrize("flip", [False, True], ids=["right-handed", "left-handed"])
def test_derivatives_of_terms(name: str, flip: bool) -> None:
    atoms = copper()
    if flip:
        atoms.set_cell(atoms.cell.array * [1, 1, -1], scale_atoms=True)
    assert_derivatives(TERMS[name](), atoms, 0.37, 1e-4, 1e-7)


@pytest.mark.parametrize("coupling", [0.0, 0.37, 1.0])
@pytest.mark.parametrize("name", ["springs-cell", "springs-lattice"])
def test_springs_turn_with_the_crystal(name: str, coupling: float) -> None:
    """A rotation of cell and atoms changes no energy, so that stress has no torque."""
    atoms, term = copper(), TERMS[name]()
    before = value(term, atoms, coupling)
    atoms.rotate(33.0, (1.0, 2.0, 0.5), rotate_cell=True)
    after = value(term, atoms, coupling)
    assert after.energy == pytest.approx(before.energy, rel=1e-12)
    assert np.linalg.norm(after.forces) == pytest.approx(np.linalg.norm(before.forces), rel=1e-12)


def test_springs_in_the_frame_of_the_lattice() -> None:
    """No total force, and no energy of a common translation; in the frame of the cell both."""
    atoms = copper()
    lattice, cell = springs("lattice", [1, 6]), springs("cell", [1, 6])
    first = value(lattice, atoms, 0.4)
    np.testing.assert_allclose(first.forces.sum(axis=0), 0.0, atol=1e-14)
    assert np.linalg.norm(value(cell, atoms, 0.4).forces.sum(axis=0)) > 0.1
    moved = atoms.copy()
    moved.positions += [0.3, -0.2, 0.5]
    second = value(lattice, moved, 0.4)
    assert second.energy == pytest.approx(first.energy, rel=1e-12)
    np.testing.assert_allclose(second.forces, first.forces, atol=1e-12)
    assert second.stress is not None
    assert first.stress is not None
    np.testing.assert_allclose(second.stress, first.stress, atol=1e-12)
    assert value(cell, moved, 0.4).energy > value(cell, atoms, 0.4).energy + 0.05


def test_springs_move_with_the_cell() -> None:
    """Atoms at their anchors feel nothing, whatever the cell does."""
    atoms = copper()
    term = SpringTerm(atoms.get_scaled_positions(wrap=False), 1.0, 2.0)
    result = value(
        term, strained(atoms, np.array([[0.1, 0.05, 0], [0, -0.03, 0.02], [0, 0, 0]])), 1
    )
    assert result.energy == pytest.approx(0.0, abs=1e-24)
    np.testing.assert_allclose(result.forces, 0.0, atol=1e-12)


def test_a_concerted_path_is_linear() -> None:
    """U(lambda) = (1 - lambda) U_A + lambda U_B, and dU/d(lambda) = U_B - U_A throughout."""
    mixture = Mixture.from_elements(
        copper(), {"Cu": {"Cu": 0.5, "Au": 0.5}}, correlation="concerted"
    )
    term = AlchemicalTerm(pair_potential(), mixture, [1.0, 0.0], [0.0, 1.0])
    ends = [value(term, copper(), end).energy for end in (0.0, 1.0)]
    for coupling in (0.0, 0.2, 0.9, 1.0):
        result = value(term, copper(), coupling)
        expected = (1 - coupling) * ends[0] + coupling * ends[1]
        assert result.energy == pytest.approx(expected, abs=1e-11)
        assert result.dhdl == pytest.approx(ends[1] - ends[0], abs=1e-10)


def test_an_independent_path_of_pairs_is_quadratic() -> None:
    """Mean field of pair energies: three slopes on a line, and an exchange energy that bends it."""
    mixture = Mixture.from_elements(copper(), {"Cu": {"Cu": 0.5, "Au": 0.5}})
    term = AlchemicalTerm(pair_potential(), mixture, [1.0, 0.0], [0.0, 1.0])
    slopes = [value(term, copper(), coupling).dhdl for coupling in (0.0, 0.5, 1.0)]
    first, middle, last = (slope for slope in slopes if slope is not None)
    assert 2 * middle == pytest.approx(first + last, abs=1e-10)
    assert abs(first - last) > 0.1
    ends = [value(term, copper(), end).energy for end in (0.0, 1.0)]
    # Simpson's rule is exact for a quadratic energy.
    assert (first + 4 * middle + last) / 6 == pytest.approx(ends[1] - ends[0], abs=1e-10)


def test_a_real_potential(potential: AlchemicalPotential) -> None:
    """Derivatives of the default potential along a path; ends the same with and without dU/dx."""
    atoms = deformed(bulk("NaCl", "rocksalt", 5.7, cubic=True), seed=2)
    mixture = Mixture.from_elements(
        atoms, {"Na": {"Na": 0.5, "K": 0.5}, "Cl": {"Cl": 0.5, "Br": 0.5}}
    )
    start, end = [1.0, 0.0, 0.8, 0.2], [0.0, 1.0, 0.0, 1.0]
    term = AlchemicalTerm(potential, mixture, start, end)
    assert_derivatives(term, atoms, 0.6, 1e-3, 2e-5)
    for coupling in (0.0, 1.0):
        plain = term.evaluate(atoms, coupling, stress=True, derivative=False)
        whole = value(term, atoms, coupling)
        assert plain.dhdl is None
        assert plain.stress is not None
        assert whole.stress is not None
        assert plain.energy == pytest.approx(whole.energy, abs=1e-10)
        np.testing.assert_allclose(plain.forces, whole.forces, atol=1e-10)
        np.testing.assert_allclose(plain.stress, whole.stress, atol=1e-10)
        direct = potential.evaluate(
            with_flat_composition(mixture, term.composition(coupling)).with_geometry(atoms)
        )
        assert plain.energy == pytest.approx(direct.energy, abs=1e-10)


# ---------------------------------------------------------------------- the calculator


class Counting(EMT):
    """EMT that counts its calls."""

    calls = 0

    def calculate(self, *arguments: Any, **named: Any) -> None:
        self.calls += 1
        super().calculate(*arguments, **named)


class NoStress(Calculator):
    """A calculator without stress."""

    implemented_properties = ("energy", "forces")


def test_the_calculator_sums_its_terms_in_one_evaluation() -> None:
    atoms, counting = copper(), Counting()
    spring = springs("cell", [0, 2, 3])
    calculator = CoupledCalculator({"crystal": CalculatorTerm(counting, 1, 0), "springs": spring})
    calculator.with_derivative = calculator.with_stress = True
    atoms.calc = calculator
    calculator.coupling = 0.3
    energy = atoms.get_potential_energy()
    reference = EMT()
    plain = copper()
    plain.calc = reference
    pull = value(spring, atoms, 0.3)
    assert pull.stress is not None
    assert energy == pytest.approx(0.7 * plain.get_potential_energy() + pull.energy, rel=1e-13)
    np.testing.assert_allclose(atoms.get_forces(), 0.7 * plain.get_forces() + pull.forces)
    np.testing.assert_allclose(atoms.get_stress(), 0.7 * plain.get_stress() + pull.stress)
    assert calculator.results["dhdl"] == pytest.approx(pull.dhdl - plain.get_potential_energy())
    assert sum(calculator.results["terms"].values()) == pytest.approx(energy, rel=1e-14)
    assert counting.calls == 1
    calculator.coupling = 0.3
    atoms.get_forces()
    assert counting.calls == 1


def test_a_new_coupling_is_a_new_result() -> None:
    """Nothing cached survives it, and no weight of 0 is paid for."""
    atoms, counting = copper(), Counting()
    calculator = CoupledCalculator({"crystal": CalculatorTerm(counting, 1, 0)})
    atoms.calc = calculator
    full = atoms.get_potential_energy()
    calculator.coupling = 0.5
    assert atoms.get_potential_energy() == pytest.approx(0.5 * full, rel=1e-14)
    calls = counting.calls
    calculator.coupling = 1.0
    atoms.rattle(0.1, seed=1)
    assert atoms.get_potential_energy() == 0.0
    np.testing.assert_array_equal(atoms.get_forces(), 0.0)
    assert counting.calls == calls
    assert calculator.get_property("dhdl", atoms) != 0.0
    assert counting.calls == calls + 1


def test_what_the_calculator_refuses() -> None:
    with pytest.raises(InputError, match="no terms: give at least one"):
        CoupledCalculator({})
    with pytest.raises(InputError, match="between 0 and 1"):
        CoupledCalculator({"crystal": CalculatorTerm(EMT())}, coupling=1.2)
    atoms = copper()
    atoms.calc = CoupledCalculator({"crystal": CalculatorTerm(NoStress())})
    with pytest.raises(PropertyNotImplementedError):
        atoms.get_stress()
    with pytest.raises(InputError, match="negative"):
        SpringTerm(np.zeros((2, 3)), -1.0, 1.0)
    with pytest.raises(InputError, match="frame"):
        SpringTerm(np.zeros((2, 3)), 1.0, 1.0, frame="crystal")
    with pytest.raises(InputError, match="no lattice is left"):
        SpringTerm(np.zeros((2, 3)), 1.0, 1.0, frame="lattice")
