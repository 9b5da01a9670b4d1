"""Volume and bulk modulus of a disordered crystal from its energy at several volumes.

fit = equation_of_state(mixture, RandomAlloyPotential(potential, repeats))
fit.volume, fit.bulk_modulus
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.potential.potential import AlchemicalPotential


@dataclass(frozen=True, eq=False)
class EquationOfState:
    """A Birch-Murnaghan fit of the energy against volume; values are those of the cell as given.

    Attributes:
        volume: of least enthalpy in A^3.
        energy: there, in eV.
        bulk_modulus: there, in GPa.
        volumes: (V,) at which the energy was computed, in A^3.
        energies: (V,) in eV.
        pressure: external, in GPa.
    """

    volume: float
    energy: float
    bulk_modulus: float
    volumes: FloatArray
    energies: FloatArray
    pressure: float = 0.0

    @property
    def enthalpy(self) -> float:
        """E + P V at the best volume, in eV."""
        from ase.units import GPa

        return float(self.energy + self.pressure * GPa * self.volume)


def equation_of_state(
    mixture: Mixture,
    potential: AlchemicalPotential,
    *,
    strain: float = 0.05,
    points: int = 7,
    pressure: float = 0.0,
) -> EquationOfState:
    """Fit Birch and Murnaghan's equation (Phys. Rev. 71, 809 (1947)): E is cubic in V^(-2/3).

    The cell's shape and the fractional coordinates stay as given.

    Args:
        mixture: a cell with three periodic directions, near its best volume.
        potential: a loaded potential, or a `RandomAlloyPotential`.
        strain: largest relative change of the volume.
        points: number of volumes.
        pressure: external, in GPa; the best volume is that of least enthalpy E + P V.

    Raises:
        InputError: if the cell has no volume, or its best volume lies outside the range.
    """
    from ase.units import GPa
    from numpy.polynomial import Polynomial
    from scipy.optimize import brentq

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
    least = int((energies + pressure * GPa * volumes).argmin())
    if least in (0, points - 1):
        raise InputError(
            f"the {'enthalpy' if pressure else 'energy'} is least at an end of the volumes "
            f"{volumes[0]:.2f} to {volumes[-1]:.2f} A^3: relax the cell first, or take a larger "
            "strain"
        )
    reduced = (volumes / volume) ** (-2.0 / 3.0)
    fit = Polynomial.fit(reduced, energies, 3)

    def slope(v: float) -> float:
        """dH/dV."""
        x = (v / volume) ** (-2.0 / 3.0)
        return float(-2.0 / 3.0 * fit.deriv()(x) * x / v + pressure * GPa)

    low, high = volumes[least - 1], volumes[least + 1]
    if slope(low) >= 0.0 or slope(high) <= 0.0:
        raise InputError(
            "the energies at the volumes do not lie on one curve: relax the cell first, or take "
            "a larger strain"
        )
    best = float(brentq(slope, low, high, xtol=1e-10 * volume))
    x = (best / volume) ** (-2.0 / 3.0)
    # V d2E/dV2, x of V^(-2/3).
    modulus = (4.0 / 9.0 * x**2 * fit.deriv(2)(x) + 10.0 / 9.0 * x * fit.deriv()(x)) / best
    return EquationOfState(best, float(fit(x)), float(modulus) / GPa, volumes, energies, pressure)


def with_volume(mixture: Mixture, volume: float) -> Mixture:
    """Return the mixture at a volume in A^3, its shape and fractional coordinates unchanged."""
    atoms = mixture.to_atoms()
    factor = np.cbrt(volume / abs(float(np.linalg.det(mixture.cell))))
    atoms.set_cell(mixture.cell * factor, scale_atoms=True)
    return mixture.with_geometry(atoms)
