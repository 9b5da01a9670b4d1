"""The classical free energy of a disordered crystal, vibrations and thermal expansion included.

    crystal = quasi_harmonic(mixture, potential, (2, 2, 2))
    crystal.free_energy(700.0), crystal.volume(700.0)               # eV and A^3 per lattice site

    F(T) = min over V of [ E(V) + P V + F_vib(V, T) ]               (Gibbs' at a pressure P)
    F_vib = 3 kT [ <ln l>/2 - <ln m>/2 + ln(hbar / kT) ]             (per site)

symbol     here
E          E_random + E_relax: `alchemlip.disorder.random_alloy`, `.local_relaxation`
l          eigenvalues of the mean-field crystal's force constants, eV/A^2, translations left out
m          masses of the species, each weighted by its occupancy

In the classical limit masses and force constants separate: det D = det A / prod m^3. So no mean
mass enters, and masses drop out of mixing exactly, as they must. The mean over the 3N - 3 modes of
the supercell stands for that of the infinite crystal. The force constants are differences of forces
over displacements of thermal size. Left out: quantum effects, anharmonicity at
constant volume, and the spread of force constants among the sites of a real arrangement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase.units import GPa
from numpy.polynomial import Polynomial
from scipy.optimize import minimize_scalar

from alchemlip.arrays import FloatArray
from alchemlip.crystal.relaxation import RelaxationSettings, relax
from alchemlip.disorder.equation_of_state import with_volume
from alchemlip.disorder.fluctuations import Order
from alchemlip.disorder.local_relaxation import local_relaxation, stable_modes
from alchemlip.disorder.mixing import BinaryMixing, fit_mixing, mixing_energies
from alchemlip.disorder.random_alloy import random_alloy
from alchemlip.disorder.supercells import Repeats
from alchemlip.errors import InputError
from alchemlip.freeenergy.einstein import HBAR, log_masses, thermal_energy
from alchemlip.mixture.constraints import refuse_constraints
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY

if TYPE_CHECKING:
    from alchemlip.potential.potential import AlchemicalPotential

EXPANSIONS = (-0.04, 0.0, 0.04, 0.08, 0.12)
"""Relative changes of the volume."""
DISPLACEMENT = 0.2
"""Of the force constants, in Angstrom: that of an atom in a salt at some hundred K."""
FEWEST_VOLUMES = 4
"""A cubic in V^(-2/3), Birch and Murnaghan's form, has as many coefficients."""


@dataclass(frozen=True, eq=False)
class QuasiHarmonicCrystal:
    """Energies and stiffness of a crystal at several volumes; everything per lattice site.

    Attributes:
        volumes: (V,) in A^3, ascending.
        energies: (V,) of the atoms at rest, in eV.
        relaxation_energies: (V,) in eV: what of these is local relaxation.
        log_stiffness: (V,) mean of ln(eigenvalue of the force constants / (eV/A^2)).
        log_mass: mean of ln(mass / amu).
        note: why volumes that were asked for are missing; empty otherwise.
        pressure_GPa: external; free energies are Gibbs', energies enthalpies at it.
    """

    volumes: FloatArray
    energies: FloatArray
    relaxation_energies: FloatArray
    log_stiffness: FloatArray
    log_mass: float
    note: str = ""
    pressure_GPa: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return plain values."""
        arrays = ("volumes", "energies", "relaxation_energies", "log_stiffness")
        return {name: getattr(self, name).tolist() for name in arrays} | {
            "log_mass": self.log_mass,
            "note": self.note,
            "pressure_GPa": self.pressure_GPa,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> QuasiHarmonicCrystal:
        """Return the crystal of `to_dict`."""
        plain: dict[str, Any] = {
            name: np.array(value) if isinstance(value, list) else value
            for name, value in values.items()
        }
        return cls(**plain)

    def free_energy(self, temperature_K: float, *, expansion: bool = True) -> float:
        """Return the classical free energy in eV, without entropy of mixing.

        Args:
            temperature_K: in K.
            expansion: at the volume of least free energy; else at that of least energy.

        Raises:
            InputError: if that volume lies outside the range, or the temperature is not positive.
        """
        volume = self.volume(temperature_K if expansion else 0.0)
        return float(self._at(volume, temperature_K))

    def energy(self) -> float:
        """Return the energy (at pressure the enthalpy) of the atoms at rest in eV."""
        return float(self._at(self.volume(0.0), 0.0))

    def log_stiffness_at_rest(self) -> float:
        """Return the mean of ln(eigenvalue / (eV/A^2)) at the volume of least energy."""
        reduced = (self.volume(0.0) / self.volumes[0]) ** (-2.0 / 3.0)
        return float(self._fits[1](reduced))

    def volume(self, temperature_K: float) -> float:
        """Return the volume of least free energy in A^3; at 0 K that of least energy.

        Raises:
            InputError: if it lies outside the volumes.
        """
        low, high = float(self.volumes[0]), float(self.volumes[-1])
        # The first minimum from below: far above it every crystal falls apart.
        grid = np.linspace(low, high, 401)
        values = self._at(grid, temperature_K)
        rising = np.flatnonzero(np.diff(values) > 0.0)
        if not len(rising) or rising[0] == 0:
            end = "largest" if not len(rising) else "smallest"
            raise InputError(
                f"at {temperature_K:g} K the free energy is least at the {end} of the volumes "
                f"{low:.2f} to {high:.2f} A^3 a site: take a wider range, or a lower temperature "
                "(the quasi-harmonic crystal may have no best volume here)"
            )
        bounds = (grid[rising[0] - 1], grid[rising[0] + 1])
        found = minimize_scalar(
            lambda volume: float(self._at(volume, temperature_K)), bounds=bounds, method="bounded",
            options={"xatol": 1e-8},
        )  # fmt: skip
        return float(found.x)

    def _at(self, volume: npt.ArrayLike, temperature_K: float) -> FloatArray:
        energy, stiffness = self._fits
        reduced = (np.asarray(volume) / self.volumes[0]) ** (-2.0 / 3.0)
        value = np.asarray(energy(reduced), dtype=np.float64)
        value = value + self.pressure_GPa * float(GPa) * np.asarray(volume)
        if temperature_K == 0.0:
            return value
        kT = thermal_energy(temperature_K)
        mean_log = 0.5 * stiffness(reduced) - 0.5 * self.log_mass + np.log(HBAR / kT)
        return np.asarray(value + 3.0 * kT * mean_log, dtype=np.float64)

    @cached_property
    def _fits(self) -> tuple[Polynomial, Polynomial]:
        reduced = (self.volumes / self.volumes[0]) ** (-2.0 / 3.0)
        return (
            Polynomial.fit(reduced, self.energies, FEWEST_VOLUMES - 1),
            Polynomial.fit(reduced, self.log_stiffness, FEWEST_VOLUMES - 2),
        )


def quasi_harmonic(
    mixture: Mixture,
    potential: AlchemicalPotential,
    repeats: Repeats,
    *,
    expansions: Sequence[float] = EXPANSIONS,
    order: Order = "second",
    displacement: float | None = DISPLACEMENT,
    relaxation: RelaxationSettings | None = None,
) -> QuasiHarmonicCrystal:
    """Return a crystal's energies and stiffness at several volumes; a mixed one is a random alloy.

    At every volume the shape stays, atoms relax in mean field, and the energy of fluctuations and
    of local relaxation is added where species are mixed.

    Args:
        mixture: the cell, relaxed; pure, or with one disordered group.
        potential: a loaded potential, in float64.
        repeats: of the supercell whose modes are taken.
        expansions: relative changes of the volume, ascending; where the crystal is not stable any
            more, larger ones are left out.
        order: as in `random_alloy`.
        displacement: force constants by central differences of so many Angstrom, best of the size
            of thermal motion: the curvature of a learned surface at the ideal sites themselves may
            wiggle with the volume. None: the exact curvature.
        relaxation: of the atoms, and the external pressure; its cell is not used.

    Raises:
        InputError: if the crystal is unstable at all but a few volumes, sites may be vacant, or the
            atoms do not come to rest.
    """
    refuse_constraints(mixture, "the quasi-harmonic free energy")
    if any(VACANCY in site for site in mixture.occupancies()):
        raise InputError(
            "sites that may be vacant have no vibrations to sum over: leave out the quasi-harmonic "
            "free energy"
        )
    if len(expansions) < FEWEST_VOLUMES or np.any(np.diff(expansions) <= 0):
        raise InputError(
            f"a quasi-harmonic crystal needs {FEWEST_VOLUMES} volumes or more in ascending order, "
            f"not {len(expansions)}: give more expansions"
        )
    fixed = (relaxation or RelaxationSettings(keep_symmetry=True)).model_copy(
        update={"cell": "fixed"}
    )
    start = abs(float(np.linalg.det(mixture.cell)))
    found: list[tuple[float, float, float, float]] = []
    note = ""
    for expansion in expansions:
        at_volume = with_volume(mixture, start * (1.0 + expansion))
        try:
            relaxed = relax(at_volume, potential, fixed)
            if not relaxed.converged:
                raise InputError(
                    f"at {100 * expansion:+g} % of volume the atoms are not at rest after "
                    f"{relaxed.steps} steps: raise the largest number of steps (--max-steps)"
                )
            at_rest = _at_rest(relaxed.mixture, potential, repeats, order, displacement)
        except InputError as error:
            if len(found) < FEWEST_VOLUMES:
                raise
            note = f"no volumes from {100 * expansion:+g} % on: {error}"
            break
        found.append((start * (1.0 + expansion) / mixture.n_sites, *at_rest))
    at, energies, gained, stiffness = np.array(found).T
    log_mass = float(log_masses(mixture).mean())
    return QuasiHarmonicCrystal(at, energies, gained, stiffness, log_mass, note, fixed.pressure)


def fit_vibrational_mixing(
    x: npt.ArrayLike,
    crystals: Sequence[QuasiHarmonicCrystal],
    temperature_K: float,
    disordered_fraction: float = 1.0,
    *,
    expansion: bool = True,
    order: int | None = None,
) -> BinaryMixing:
    """Return a smooth free energy of mixing of two components with vibrations.

    Args:
        x: (P,) weights of the second component, 0 and 1 among them.
        crystals: (P,) at these compositions.
        temperature_K: at which the curve's energy is E + F_vib; entropy of mixing comes on top.
        disordered_fraction: disordered sites over all sites.
        expansion: as in `QuasiHarmonicCrystal.free_energy`.
        order: as in `fit_mixing`.

    Raises:
        InputError: if an end is missing, or a crystal has no free energy at this temperature.
    """
    x = np.asarray(x, dtype=float)
    values = np.array([c.free_energy(temperature_K, expansion=expansion) for c in crystals])
    above = mixing_energies(np.stack([1.0 - x, x], axis=-1), values)
    return fit_mixing(x, above, disordered_fraction, order)


def _at_rest(
    mixture: Mixture,
    potential: AlchemicalPotential,
    repeats: Repeats,
    order: Order,
    displacement: float | None,
) -> tuple[float, float, float]:
    """Return energy and local relaxation in eV per site, and the mean logarithm of stiffness."""
    from alchemlip.freeenergy.harmonic import mixture_force_constants

    large = mixture.repeat(repeats)
    if all(len(site) == 1 for site in mixture.occupancies()):
        energy = potential.evaluate(mixture, composition_gradient=False).energy / mixture.n_sites
        gained = 0.0
        matrix = mixture_force_constants(large, potential, displacement_A=displacement)
        stiffness, _ = stable_modes(matrix, large.n_sites)
    else:
        alloy = random_alloy(mixture, potential, repeats=repeats, order=order)
        relaxed = local_relaxation(large, potential, displacement=displacement)
        gained = relaxed.energy / large.n_sites
        energy = alloy.random_energy / mixture.n_sites + gained
        stiffness = relaxed.stiffness
    return energy, gained, float(np.log(stiffness).mean())
