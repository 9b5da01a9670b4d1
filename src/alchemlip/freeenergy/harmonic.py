"""The free energy of a crystal from its normal modes, for any ASE calculator.

    F = U_0 + kT sum over 3N-3 modes of ln(hbar w / kT) + F_cm        (classical)
    F = U_0 + sum over 3N-3 modes of [hbar w / 2 + kT ln(1 - exp(-hbar w / kT))] + F_cm

The modes are those of the cell itself, at its Gamma point: what a simulation of this cell has.
The three translations are a free particle of the crystal's whole mass in V / N_cells, the same
convention as in `alchemlip.freeenergy.einstein`, so that Frenkel-Ladd and the classical sum agree
exactly for a harmonic crystal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.einstein import (
    HBAR,
    free_centre_of_mass,
    quantum_harmonic_correction,
    thermal_energy,
)

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.potential import AlchemicalPotential

SOFTEST = 1e-6
"""Of the square of a frequency, relative to the largest: below it a mode is not stable."""
THZ = 1.0e12
"""In Hz."""


@dataclass(frozen=True)
class HarmonicFreeEnergy:
    """The free energy of a harmonic crystal, term by term, all in eV and in total.

    Attributes:
        classical: classical free energy of the modes, without U_0.
        centre_of_mass: of the crystal's translations.
        quantum_correction: of the modes, quantum minus classical.
        potential: U_0, the energy of the crystal at rest.
        frequencies: (3N-3,) angular, in ASE's units, ascending.
    """

    classical: float
    centre_of_mass: float
    quantum_correction: float
    potential: float
    frequencies: FloatArray

    @property
    def total(self) -> float:
        """The classical free energy."""
        return self.potential + self.classical + self.centre_of_mass

    @property
    def quantum_total(self) -> float:
        """The quantum free energy."""
        return self.total + self.quantum_correction


def force_constant_block(
    atoms: Atoms, calculator: Any, site: int, displacement_A: float = 0.01
) -> FloatArray:
    """Return d2U/dr_site dr (3, N, 3) in eV/A^2 by central differences of forces.

    Args:
        atoms: the relaxed crystal.
        calculator: any ASE calculator with forces.
        site: which atom is displaced.
        displacement_A: in Angstrom.
    """
    if not displacement_A > 0:
        raise InputError(f"a displacement of {displacement_A:g} A is none: try 0.01")
    moved = atoms.copy()
    moved.calc = calculator
    home = atoms.positions[site].copy()
    block = np.empty((3, len(atoms), 3))
    for axis in range(3):
        forces = []
        for sign in (1.0, -1.0):
            moved.positions[site] = home
            moved.positions[site, axis] += sign * displacement_A
            forces.append(moved.get_forces(apply_constraint=False).copy())
        block[axis] = (forces[1] - forces[0]) / (2.0 * displacement_A)
    return block


def force_constants(
    atoms: Atoms,
    calculator: Any,
    displacement_A: float = 0.01,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Return all force constants (3N, 3N) in eV/A^2 of any ASE calculator, in 6 N evaluations.

    Args:
        atoms: the relaxed crystal.
        calculator: any ASE calculator with forces.
        displacement_A: in Angstrom.
        on_progress: called with (atoms done, atoms).
    """
    n = len(atoms)
    rows = np.empty((n, 3, n, 3))
    for site in range(n):
        rows[site] = force_constant_block(atoms, calculator, site, displacement_A)
        if on_progress is not None:
            on_progress(site + 1, n)
    matrix = rows.reshape(3 * n, 3 * n)
    return 0.5 * (matrix + matrix.T)


def mixture_force_constants(
    mixture: Mixture,
    potential: AlchemicalPotential,
    symprec: float | None = 1e-3,
    displacement_A: float | None = None,
) -> FloatArray:
    """Return all force constants (3S, 3S) in eV/A^2 of a mixture, exact where the potential can.

    Rows of inequivalent sites come from double backward, or from differences for a potential that
    cannot be differentiated twice; symmetry gives the others.

    Args:
        mixture: relaxed.
        potential: a loaded potential, in float64.
        symprec: tolerance of the symmetry search in Angstrom; None uses none.
        displacement_A: central differences of so many Angstrom, instead of the exact curvature.
    """
    from alchemlip.crystal.second_derivatives import Method, SecondDerivatives
    from alchemlip.crystal.site_symmetry import force_constants as by_symmetry
    from alchemlip.crystal.site_symmetry import site_symmetry

    derivatives = SecondDerivatives(mixture, potential, ("positions",))
    found = site_symmetry(mixture, None, symprec)
    indices = (3 * found.representatives[:, None] + np.arange(3)).reshape(-1)
    method: Method = "auto" if displacement_A is None else "differences"
    rows, _, _ = derivatives.rows(indices, method, displacement_A)
    return by_symmetry(found, rows)


def crystal_force_constants(atoms: Atoms, calculator: Any) -> FloatArray:
    """Return all force constants (3N, 3N) in eV/A^2, exact for a potential of this package.

    Args:
        atoms: the relaxed crystal.
        calculator: any ASE calculator with forces.
    """
    import torch

    from alchemlip.potential.calculator import AlchemicalCalculator
    from alchemlip.potential.potential import AlchemicalPotential

    if isinstance(calculator, AlchemicalCalculator):
        potential = calculator.potential
        if isinstance(potential, AlchemicalPotential) and potential.dtype == torch.float64:
            return mixture_force_constants(calculator.located_mixture(atoms), potential)
    return force_constants(atoms, calculator)


def mode_frequencies(force_constants: npt.ArrayLike, masses: npt.ArrayLike) -> FloatArray:
    """Return the angular frequencies (3N-3,) of a crystal, ascending, translations projected out.

    Args:
        force_constants: (3N, 3N) in eV/A^2.
        masses: (N,) in amu.

    Returns:
        In ASE's units, sqrt(eV/amu)/A; times `alchemlip.freeenergy.einstein.HBAR` an energy in eV.

    Raises:
        InputError: naming the mode, if one is not stable.
    """
    matrix = np.asarray(force_constants, dtype=float)
    root = np.sqrt(np.repeat(np.asarray(masses, dtype=float), 3))
    size = len(root)
    if size == 3:
        return np.zeros(0)
    dynamical = matrix / np.outer(root, root)
    translations = root[:, None] * np.tile(np.eye(3), (size // 3, 1))
    # The orthogonal complement of the translations, so that no shift can mix with a soft mode.
    basis = np.linalg.svd(translations, full_matrices=True)[0][:, 3:]
    squared, modes = np.linalg.eigh(basis.T @ dynamical @ basis)
    if squared[0] <= SOFTEST * squared[-1]:
        atoms = np.linalg.norm((basis @ modes[:, 0]).reshape(-1, 3), axis=1)
        frequency = _terahertz(np.sqrt(abs(squared[0])))
        kind = "imaginary" if squared[0] < 0 else "no"
        raise InputError(
            f"mode 0 of the crystal has {kind} frequency ({frequency:.2f} THz, strongest at atom "
            f"{int(atoms.argmax())}), so there is no harmonic free energy: relax the supercell "
            "without its symmetry, or use Frenkel-Ladd at a temperature where it is stable"
        )
    return np.asarray(np.sqrt(squared))


def _terahertz(angular: float) -> float:
    from ase import units

    return float(angular) * float(units.s) / (2.0 * np.pi * THZ)


def harmonic_free_energy(
    frequencies: npt.ArrayLike,
    masses: npt.ArrayLike,
    volume_A3: float,
    temperature_K: float,
    n_cells: int,
    potential_eV: float = 0.0,
) -> HarmonicFreeEnergy:
    """Return the free energy of normal modes, with the centre of mass free in V / n_cells.

    Args:
        frequencies: (3N-3,) angular, as `mode_frequencies` returns them.
        masses: (N,) in amu.
        volume_A3: of the periodic cell, in A^3.
        temperature_K: in K.
        n_cells: primitive cells in the periodic cell, or 1: see `alchemlip.freeenergy.einstein`.
        potential_eV: energy of the crystal at rest.
    """
    kT = thermal_energy(temperature_K)
    modes = np.asarray(frequencies, dtype=float)
    return HarmonicFreeEnergy(
        classical=float(kT * np.log(HBAR * modes / kT).sum()),
        centre_of_mass=free_centre_of_mass(
            float(np.sum(masses)), volume_A3, temperature_K, n_cells
        ),
        quantum_correction=quantum_harmonic_correction(modes, temperature_K),
        potential=float(potential_eV),
        frequencies=modes,
    )
