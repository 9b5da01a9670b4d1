"""Free energies known in closed form: the Einstein crystal, and what is added to a work.

    F_E  = kT sum_i 3 ln(hbar w_i / kT),         w_i = sqrt(k_i / m_i)
    F_cm = -kT ln{ (V / N_cells) [1 / (2 pi kT sum_i mu_i^2 / k_i)]^(3/2) },   mu_i = m_i / sum m

symbol     here
k_i        spring constant of atom i, eV/A^2
m_i        mass of atom i, amu
V          volume of the periodic cell, A^3
N_cells    how many copies of the cell the centre of mass visits count as one state

F_E is the classical free energy of atoms that their sites tell apart, each on springs of its own.
While switching the centre of mass is held; F_cm lets it go again, in the crystal and not in the
Einstein crystal. A crystal moved by one of its own lattice vectors is the same crystal with its
atoms renamed, so the centre of mass has the volume of one primitive cell: N_cells = the number of
primitive cells in the periodic cell (Frenkel and Ladd, J. Chem. Phys. 81, 3188 (1984); Polson et
al., J. Chem. Phys. 112, 5339 (2000); Freitas, Asta and de Koning, Comput. Mater. Sci. 112, 333
(2016), for one atom a cell). Others take the whole V, N_cells = 1 (calphy since October 2024). The
two differ by kT ln(N_cells): nothing for a large crystal, 1.3 meV/atom for 40 atoms in 8 cells at
300 K.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
from ase import units

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.species import VACANCY, species_mass, species_number

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture

HBAR: float = units._hbar * units.J * units.s
"""In eV times ASE's unit of time, A sqrt(amu/eV): the units of sqrt(k/m) with k in eV/A^2."""

CentreOfMass = Literal["primitive-cell", "supercell"]
CENTRE_OF_MASS_CONVENTIONS: dict[CentreOfMass, str] = {
    "primitive-cell": "V/N_cells, N_cells primitive cells (Freitas et al. 2016)",
    "supercell": "the whole V (calphy since October 2024)",
}


def thermal_energy(temperature_K: float) -> float:
    """Return kT in eV.

    Raises:
        InputError: if the temperature is not positive.
    """
    if not temperature_K > 0 or not np.isfinite(temperature_K):
        raise InputError(
            f"the temperature is {temperature_K:g} K: a free energy needs a positive one"
        )
    return float(units.kB * temperature_K)


def einstein_free_energy(
    spring_constants: npt.ArrayLike, masses: npt.ArrayLike, temperature_K: float
) -> float:
    """Return the classical free energy F_E of an Einstein crystal, in eV, in total.

    Args:
        spring_constants: (N,) in eV/A^2.
        masses: (N,) in amu.
        temperature_K: in K.

    Source: the module's head; every atom is three oscillators, F = kT ln(hbar w / kT) each.
    """
    kT = thermal_energy(temperature_K)
    k, m = _positive(spring_constants, masses)
    return float(3.0 * kT * np.log(HBAR * np.sqrt(k / m) / kT).sum())


def centre_of_mass_free_energy(
    spring_constants: npt.ArrayLike,
    masses: npt.ArrayLike,
    volume_A3: float,
    temperature_K: float,
    n_cells: int,
) -> float:
    """Return F_cm, in eV, in total: the centre of mass set free in the crystal alone.

    Args:
        spring_constants: (N,) in eV/A^2.
        masses: (N,) in amu.
        volume_A3: of the periodic cell, in A^3.
        temperature_K: in K.
        n_cells: primitive cells in the periodic cell (Freitas et al. 2016); 1 for the convention of
            the whole volume.

    Source: the module's head.
    """
    kT = thermal_energy(temperature_K)
    k, m = _positive(spring_constants, masses)
    if n_cells < 1:
        raise InputError(f"there are {n_cells} primitive cells in the crystal: give at least 1")
    share = m / m.sum()
    spread = 2.0 * np.pi * kT * float((share**2 / k).sum())
    return float(-kT * (np.log(volume_A3 / n_cells) - 1.5 * np.log(spread)))


def free_centre_of_mass(
    total_mass: float, volume_A3: float, temperature_K: float, n_cells: int
) -> float:
    """Return the free energy in eV of a particle of a crystal's whole mass in V / N_cells.

    It is what the three translations add to a crystal's normal modes, in the same convention as
    `centre_of_mass_free_energy`.

    Args:
        total_mass: in amu.
        volume_A3: of the periodic cell, in A^3.
        temperature_K: in K.
        n_cells: primitive cells in the periodic cell, or 1.
    """
    kT = thermal_energy(temperature_K)
    if n_cells < 1:
        raise InputError(f"there are {n_cells} primitive cells in the crystal: give at least 1")
    inverse_square_length = total_mass * kT / (2.0 * np.pi * HBAR**2)
    return float(-kT * (np.log(volume_A3 / n_cells) + 1.5 * np.log(inverse_square_length)))


def quantum_harmonic_correction(frequencies: npt.ArrayLike, temperature_K: float) -> float:
    """Return what quantum mechanics adds to the classical free energy of normal modes, in eV.

    sum over modes of  hbar w / 2 + kT ln(1 - exp(-hbar w / kT)) - kT ln(hbar w / kT)

    Args:
        frequencies: (M,) angular, in ASE's units, sqrt(eV/amu)/A, translations left out.
        temperature_K: in K.
    """
    kT = thermal_energy(temperature_K)
    x = HBAR * np.asarray(frequencies, dtype=float) / kT
    if not (x > 0).all():
        raise InputError("a normal mode has no positive frequency: relax the crystal first")
    # 2 sinh(x/2)/x, written so that neither small nor large x loses digits.
    return float(kT * (0.5 * x + np.log(-np.expm1(-x) / x)).sum())


def quantum_harmonic_energy_correction(frequencies: npt.ArrayLike, temperature_K: float) -> float:
    """Return what quantum mechanics adds to the mean energy of normal modes, in eV.

    sum over modes of  hbar w / 2 coth(hbar w / 2 kT) - kT, which is -T^2 d/dT of
    `quantum_harmonic_correction` over T.

    Args:
        frequencies: (M,) angular, in ASE's units, sqrt(eV/amu)/A, translations left out.
        temperature_K: in K.
    """
    kT = thermal_energy(temperature_K)
    half = 0.5 * HBAR * np.asarray(frequencies, dtype=float) / kT
    return float(kT * (half / np.tanh(half) - 1.0).sum())


def wigner_kirkwood_correction(
    curvatures: npt.ArrayLike, masses: npt.ArrayLike, temperature_K: float
) -> float:
    """Return the leading quantum correction of a free energy, in eV.

    hbar^2 / (24 kT) sum_i 3 k_i / m_i,   k_i = <d2U/dr_i dr_i> / 3 = <F_i^2> / (3 kT)

    It needs no normal modes and holds for anharmonic crystals, where hbar w is not large against
    kT (its next term is of relative size (hbar w / kT)^2 / 120).

    Args:
        curvatures: (N,) mean curvature k_i of each atom's energy, in eV/A^2.
        masses: (N,) in amu.
        temperature_K: in K.

    Source: Wigner, Phys. Rev. 40, 749 (1932); Kirkwood, Phys. Rev. 44, 31 (1933).
    """
    kT = thermal_energy(temperature_K)
    k, m = _positive(curvatures, masses)
    return float(HBAR**2 / (24.0 * kT) * 3.0 * (k / m).sum())


def mass_free_energy(
    masses_start: npt.ArrayLike, masses_end: npt.ArrayLike, temperature_K: float
) -> float:
    """Return F_B - F_A of atoms whose masses alone change, 3/2 kT sum ln(m_A / m_B), in eV.

    Args:
        masses_start: (N,) masses m_A in amu.
        masses_end: (N,) masses m_B in amu.
        temperature_K: in K.
    """
    kT = thermal_energy(temperature_K)
    start, end = _positive(masses_start, masses_end, "masses")
    return float(1.5 * kT * np.log(start / end).sum())


def log_masses(mixture: Mixture) -> FloatArray:
    """Return sum_a p_a ln(m_a / amu) of each site (S,); a vacancy counts nothing.

    Momenta are integrated for every arrangement of the species by itself, so a classical free
    energy holds -3/2 kT sum over sites of this: linear in the occupancies, and masses drop out of
    mixing.
    """
    return np.array(
        [
            sum(
                p * np.log(species_mass(species_number(label)))
                for label, p in occupancy.items()
                if label != VACANCY
            )
            for occupancy in mixture.occupancies()
        ]
    )


def mean_mass_term(mixture: Mixture, temperature_K: float) -> float:
    """Return what takes a classical free energy from mean masses to those of the species, in eV.

    3/2 kT sum over sites of [(1 - p_Va) ln M - sum_a p_a ln m_a], M = ``mixture.masses``: what
    belongs to every free energy whose modes or momenta had those; 0 for pure sites.

    Args:
        mixture: what sits where.
        temperature_K: in K.
    """
    kT = thermal_energy(temperature_K)
    present = [1.0 - occupancy.get(VACANCY, 0.0) for occupancy in mixture.occupancies()]
    mean = np.array(present) * np.log(mixture.masses)
    return float(1.5 * kT * (mean - log_masses(mixture)).sum())


def ideal_mixing_free_energy(mixture: Mixture, temperature_K: float) -> float:
    """Return -T S of ideally random occupants, kT sum_i sum_a p_ia ln p_ia, in eV, in total.

    The sites of a concerted group change together: they draw one component for all.

    Args:
        mixture: what sits where with which probability, vacancies included.
        temperature_K: in K.

    Raises:
        InputError: for a group with short-range order, whose entropy is another, or if some sites
            exclude one another.
    """
    from alchemlip.mixture.entropy import ideal_mixing_entropy

    thermal_energy(temperature_K)
    mixture.exclusive.refuse_ideal_mixing()
    entropy = 0.0
    for group in mixture.groups:
        if group.correlation == "short-range":
            raise InputError(
                f"group {group.name!r} has short-range order, so its entropy is below that of "
                "ideal mixing: leave out the mixing entropy, or make the group independent"
            )
        if group.correlation == "concerted":
            # Components that place the same species everywhere are one.
            _, same = np.unique(group.species, axis=1, return_inverse=True)
            drawn = [np.bincount(same.reshape(-1), weights=group.composition)]
        else:
            drawn = [np.array(list(site.values())) for site in group.occupancies()]
        entropy += sum(float(ideal_mixing_entropy(weights)) for weights in drawn)
    return -temperature_K * entropy


def _positive(
    first: npt.ArrayLike, second: npt.ArrayLike, what: str = "spring constants and masses"
) -> tuple[FloatArray, FloatArray]:
    a = np.atleast_1d(np.asarray(first, dtype=float))
    b = np.atleast_1d(np.asarray(second, dtype=float))
    if a.shape != b.shape or a.ndim != 1:
        raise InputError(f"the {what} have shapes {a.shape} and {b.shape}: give one per atom")
    for values in (a, b):
        bad = np.flatnonzero(~(values > 0) | ~np.isfinite(values))
        if len(bad):
            raise InputError(
                f"atom {bad[0]} has {values[bad[0]]:g} among its {what}: all must be positive"
            )
    return a, b
