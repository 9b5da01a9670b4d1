"""Hamiltonians with a coupling parameter, as ASE calculators.

    calculator = CoupledCalculator({"crystal": CalculatorTerm(potential, 1, 0),
                                    "springs": SpringTerm(anchors, 0 * k, k)})
    atoms.calc = calculator
    calculator.coupling = 0.3
    atoms.get_potential_energy(), atoms.get_forces(), calculator.results["dhdl"]

U(lambda) = sum over terms of U_t(lambda). A term gives its energy, forces, stress and, where it is
asked for, dU_t/d(lambda), all from one evaluation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.compositions import with_flat_composition, without_absent_species
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.evaluation import Evaluation
    from alchemlip.potential.potential import AlchemicalPotential


@dataclass(frozen=True)
class TermResult:
    """What a term adds at one configuration and coupling.

    Attributes:
        energy: in eV.
        forces: (N, 3) in eV/A.
        stress: (6,) in eV/A^3, ASE's order and sign; None if not asked for.
        dhdl: derivative of the energy with respect to the coupling, in eV; None if not asked for.
    """

    energy: float
    forces: FloatArray
    stress: FloatArray | None
    dhdl: float | None


class Term(Protocol):
    """A part of a Hamiltonian that may depend on the coupling parameter."""

    @property
    def has_stress(self) -> bool:
        """Whether a stress can be asked for."""
        ...

    def evaluate(
        self, atoms: Atoms, coupling: float, *, stress: bool, derivative: bool
    ) -> TermResult:
        """Return energy and derivatives at the atoms' positions and cell."""
        ...


class CalculatorTerm:
    """An ASE calculator whose energy is scaled by a weight linear in the coupling.

    U(lambda) = w U, w = start + (end - start) lambda. At w = 0 the calculator is called only where
    the derivative is wanted.

    Args:
        calculator: any ASE calculator with energy and forces.
        start, end: weights at lambda = 0 and 1.
    """

    def __init__(self, calculator: Any, start: float = 1.0, end: float = 0.0) -> None:
        self.calculator = calculator
        self.start = float(start)
        self.end = float(end)

    @property
    def has_stress(self) -> bool:
        """Whether the calculator has a stress."""
        return "stress" in self.calculator.implemented_properties

    def evaluate(
        self, atoms: Atoms, coupling: float, *, stress: bool, derivative: bool
    ) -> TermResult:
        """Return the calculator's results times the weight."""
        weight = (1.0 - coupling) * self.start + coupling * self.end
        if weight == 0.0 and not (derivative and self.start != self.end):
            return TermResult(
                0.0,
                np.zeros((len(atoms), 3)),
                np.zeros(6) if stress else None,
                0.0 if derivative else None,
            )
        energy = float(self.calculator.get_property("energy", atoms))
        forces = weight * np.asarray(self.calculator.get_property("forces", atoms))
        virial = (
            weight * np.asarray(self.calculator.get_property("stress", atoms)) if stress else None
        )
        slope = (self.end - self.start) * energy if derivative else None
        return TermResult(weight * energy, forces, virial, slope)


class SpringTerm:
    """Harmonic springs to anchors that follow the cell, and may follow the lattice.

    U = sum_i 1/2 k_i(lambda) |u_i|^2, k_i = start_i + (end_i - start_i) lambda. The anchors are
    points of the cell, so the springs have a stress, sum_i k_i u_i u_i / V. With ``lattice`` the
    displacement u_i counts from the mean displacement of all sites without a spring: the energy is
    then translation invariant, momentum is conserved, and the lattice cannot drift away from the
    anchors.

    Args:
        scaled_anchors: (S, 3) anchors of all sites, in units of the cell vectors.
        start, end: (n,) spring constants at lambda = 0 and 1, in eV/A^2.
        sites: (n,) sites with a spring; all by default.
        frame: ``cell`` or ``lattice``.

    Raises:
        InputError: if a spring constant is negative, or no site is left for the lattice to be.
    """

    has_stress = True

    def __init__(
        self,
        scaled_anchors: npt.ArrayLike,
        start: npt.ArrayLike,
        end: npt.ArrayLike,
        sites: Sequence[int] | IntArray | None = None,
        frame: str = "cell",
    ) -> None:
        self.scaled_anchors: FloatArray = np.array(scaled_anchors, dtype=float)
        n_sites = len(self.scaled_anchors)
        self.sites: IntArray = (
            np.arange(n_sites) if sites is None else np.array(sites, dtype=np.int64).reshape(-1)
        )
        shape = (len(self.sites),)
        self.start: FloatArray = np.broadcast_to(np.asarray(start, dtype=float), shape).copy()
        self.end: FloatArray = np.broadcast_to(np.asarray(end, dtype=float), shape).copy()
        both = np.concatenate([self.start, self.end])
        if not np.isfinite(both).all() or (both < 0).any():
            raise InputError(
                "a spring constant is negative or not finite: give values in eV/A^2 that are at "
                "least 0"
            )
        if frame not in ("cell", "lattice"):
            raise InputError(f"unknown frame {frame!r} of the springs: choose cell or lattice")
        self.frame = frame
        self.rest: IntArray = np.setdiff1d(np.arange(n_sites), self.sites)
        if frame == "lattice" and not len(self.rest):
            raise InputError(
                "every site has a spring, so no lattice is left for the anchors to follow: use "
                "frame='cell'"
            )

    def displacements(self, atoms: Atoms) -> FloatArray:
        """Return the displacement (n, 3) of each spring from its anchor, in Angstrom."""
        moved = atoms.positions - self.scaled_anchors @ atoms.cell.array
        if self.frame == "lattice":
            return np.asarray(moved[self.sites] - moved[self.rest].mean(axis=0))
        return np.asarray(moved[self.sites])

    def evaluate(
        self, atoms: Atoms, coupling: float, *, stress: bool, derivative: bool
    ) -> TermResult:
        """Return the springs' energy, forces and stress."""
        moved = self.displacements(atoms)
        constants = (1.0 - coupling) * self.start + coupling * self.end
        squared = np.einsum("ix,ix->i", moved, moved)
        pull = constants[:, None] * moved
        forces = np.zeros((len(atoms), 3))
        forces[self.sites] = -pull
        if self.frame == "lattice":
            forces[self.rest] += pull.sum(axis=0) / len(self.rest)
        virial = None
        if stress:
            tensor = pull.T @ moved / abs(float(np.linalg.det(atoms.cell.array)))
            virial = full_3x3_to_voigt_6_stress(0.5 * (tensor + tensor.T))
        slope = 0.5 * float((self.end - self.start) @ squared) if derivative else None
        return TermResult(0.5 * float(constants @ squared), forces, virial, slope)


class AlchemicalTerm:
    """A mixture whose composition is linear in the coupling.

    x(lambda) = (1 - lambda) start + lambda end, dU/d(lambda) = dE/dx . (end - start)
    (arXiv:2404.10746, eq. 6).

    Args:
        potential: a loaded potential.
        mixture: the sites; its own composition does not matter.
        start, end: (K,) flat compositions at lambda = 0 and 1.
        skin: Verlet skin of the neighbour list, in Angstrom.
    """

    has_stress = True

    def __init__(
        self,
        potential: AlchemicalPotential,
        mixture: Mixture,
        start: npt.ArrayLike,
        end: npt.ArrayLike,
        skin: float = 0.5,
    ) -> None:
        self.start: FloatArray = np.array(start, dtype=float)
        self.end: FloatArray = np.array(end, dtype=float)
        self.mixture = with_flat_composition(mixture, self.start)
        with_flat_composition(mixture, self.end)
        potential.check(mixture)
        self.potential = potential
        self.neighbours = potential.neighbour_list(skin)
        self._ends: dict[float, Mixture] = {}

    def composition(self, coupling: float) -> FloatArray:
        """Return the flat composition (K,) at a coupling."""
        return (1.0 - coupling) * self.start + coupling * self.end

    def located(self, atoms: Atoms, coupling: float, *, derivative: bool) -> Mixture:
        """Return the mixture at the atoms' geometry and a coupling.

        Without a derivative, species that are absent altogether are left out: exact by the one-hot
        invariant, and cheaper.
        """
        if derivative or coupling not in (0.0, 1.0):
            return self._at(coupling).with_geometry(atoms)
        if coupling not in self._ends:
            self._ends[coupling] = without_absent_species(self._at(coupling))
        return self._ends[coupling].with_geometry(atoms)

    def _at(self, coupling: float) -> Mixture:
        return with_flat_composition(self.mixture, self.composition(coupling))

    def evaluate(
        self, atoms: Atoms, coupling: float, *, stress: bool, derivative: bool
    ) -> TermResult:
        """Return the potential's results at the composition of this coupling."""
        result = self.potential.evaluate(
            [self.located(atoms, coupling, derivative=derivative)],
            neighbour_lists=[self.neighbours],
            stress=stress,
            composition_gradient=derivative,
        )[0]
        return self.term_result(result, stress=stress, derivative=derivative)

    def term_result(self, result: Evaluation, *, stress: bool, derivative: bool) -> TermResult:
        """Return an evaluation as a term's result."""
        if stress and result.stress is None:
            raise InputError(
                "the structure has no stress (a cluster, or a cell without volume): keep the cell "
                "fixed"
            )
        assert result.forces is not None
        slope = None
        if derivative:
            assert result.composition_gradient is not None
            slope = float(result.composition_gradient @ (self.end - self.start))
        return TermResult(result.energy, result.forces, result.stress if stress else None, slope)


class CoupledCalculator(Calculator):  # type: ignore[misc]
    """The sum of terms at a coupling parameter, as an ASE calculator.

    Results beyond ASE's: ``dhdl``, dU/d(lambda) in eV, computed with every evaluation where
    ``with_derivative`` is set, else when it is asked for; ``terms``, {name: energy in eV}.

    Args:
        terms: by name.
        coupling: lambda, 0 to 1.

    Raises:
        InputError: if there is no term, or the coupling is outside 0 to 1.
    """

    def __init__(self, terms: Mapping[str, Term], coupling: float = 0.0) -> None:
        super().__init__()
        if not terms:
            raise InputError("a Hamiltonian has no terms: give at least one")
        self.terms = dict(terms)
        self.with_derivative = False
        self.with_stress = False
        self.implemented_properties = ["energy", "free_energy", "forces", "dhdl"]
        if all(term.has_stress for term in self.terms.values()):
            self.implemented_properties.append("stress")
        self._coupling = 0.0
        self.coupling = coupling

    @property
    def coupling(self) -> float:
        """The coupling parameter lambda; setting it discards the results."""
        return self._coupling

    @coupling.setter
    def coupling(self, value: float) -> None:
        if not 0.0 <= value <= 1.0:
            raise InputError(f"the coupling parameter is {value}: give a value between 0 and 1")
        if value != self._coupling:
            self.results: dict[str, Any] = {}
            self._coupling = float(value)

    @property
    def has_stress(self) -> bool:
        """Whether every term has a stress."""
        return "stress" in self.implemented_properties

    def check_state(self, atoms: Atoms, tol: float = 0.0) -> list[str]:
        """Return what changed since the last calculation, compared exactly; called by ASE."""
        old = self.atoms
        if old is None or len(old) != len(atoms):
            return list(all_changes)
        # ASE's own comparison costs more than the rest of a step.
        pairs = {
            "positions": (old.positions, atoms.positions),
            "cell": (old.cell.array, atoms.cell.array),
            "numbers": (old.numbers, atoms.numbers),
            "pbc": (old.pbc, atoms.pbc),
        }
        return [name for name, (a, b) in pairs.items() if not np.array_equal(a, b)]

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Sum the terms; called by ASE. A stress once asked for comes with every evaluation."""
        super().calculate(atoms, list(properties), list(system_changes))
        if "stress" in properties:
            if not self.has_stress:
                missing = [name for name, term in self.terms.items() if not term.has_stress]
                raise PropertyNotImplementedError(
                    f"the term {missing[0]!r} has no stress: keep the cell fixed"
                )
            self.with_stress = True
        derivative = self.with_derivative or "dhdl" in properties
        self.store(
            {
                name: term.evaluate(
                    self.atoms, self._coupling, stress=self.with_stress, derivative=derivative
                )
                for name, term in self.terms.items()
            }
        )

    def store(self, parts: Mapping[str, TermResult]) -> None:
        """Take the terms' results at the current atoms as this calculator's."""
        values = list(parts.values())
        energy = float(sum(part.energy for part in values))
        self.results = {
            "energy": energy,
            "free_energy": energy,
            "forces": np.sum([part.forces for part in values], axis=0),
            "terms": {name: part.energy for name, part in parts.items()},
        }
        stresses = [part.stress for part in values if part.stress is not None]
        if len(stresses) == len(values):
            self.results["stress"] = np.sum(stresses, axis=0)
        slopes = [part.dhdl for part in values if part.dhdl is not None]
        if len(slopes) == len(values):
            self.results["dhdl"] = float(sum(slopes))
