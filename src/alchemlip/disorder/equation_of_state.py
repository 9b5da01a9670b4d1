"""Volume and bulk modulus of a disordered crystal from its energy at several volumes.

fit = equation_of_state(mixture, RandomAlloyPotential(potential, repeats))
fit.volume, fit.bulk_modulus
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.errors import InputError
from alchemlip.groups import FloatArray
from alchemlip.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.potential import AlchemicalPotential


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """A Birch-Murnaghan fit of the energy against volume; values are those of the cell as given.

    Attributes:
        volume: of least energy in A^3.
        energy: there, in eV.
        bulk_modulus: there, in GPa.
        volumes: (V,) at which the energy was computed, in A^3.
        energies: (V,) in eV.
    """

    volume: float
    energy: float
    bulk_modulus: float
    volumes: FloatArray
    energies: FloatArray


def equation_of_state(
    mixture: Mixture,
    potential: AlchemicalPotential,
    *,
    strain: float = 0.05,
    points: int = 7,
) -> EquationOfState:
    """Fit Birch and Murnaghan's equation (Phys. Rev. 71, 809 (1947)) by ASE.

    The cell's shape and the fractional coordinates stay as given.

    Args:
        mixture: a cell with three periodic directions, near its best volume.
        potential: a loaded potential, or a `RandomAlloyPotential`.
        strain: largest relative change of the volume.
        points: number of volumes.

    Raises:
        InputError: if the cell has no volume, or its best volume lies outside the range.
    """
    from ase.eos import EquationOfState as Fit
    from ase.units import GPa

    if not mixture.pbc.all():
        raise InputError(
            "an equation of state needs three periodic directions: set pbc and all cell vectors"
        )
    if points < 4 or not 0.0 < strain < 0.5:
        raise InputError(
            f"{points} volumes within {strain:g} of the given one do not determine an equation of "
            "state: take at least 4 within less than 0.5"
        )
    volume = abs(float(np.linalg.det(mixture.cell)))
    volumes = volume * np.linspace(1.0 - strain, 1.0 + strain, points)
    energies = np.array([potential.evaluate(with_volume(mixture, v)).energy for v in volumes])
    if energies.argmin() in (0, points - 1):
        raise InputError(
            f"the energy is least at an end of the volumes {volumes[0]:.2f} to {volumes[-1]:.2f} "
            "A^3: relax the cell first, or take a larger strain"
        )
    best, energy, modulus = Fit(volumes, energies, eos="birchmurnaghan").fit()
    return EquationOfState(float(best), float(energy), float(modulus) / GPa, volumes, energies)


def with_volume(mixture: Mixture, volume: float) -> Mixture:
    """Return the mixture at a volume in A^3, its shape and fractional coordinates unchanged."""
    atoms = mixture.to_atoms()
    factor = np.cbrt(volume / abs(float(np.linalg.det(mixture.cell))))
    atoms.set_cell(mixture.cell * factor, scale_atoms=True)
    return mixture.with_geometry(atoms)
