"""G(T) of one phase between computed points, by the Gibbs-Helmholtz equation.

The curve of a phase is a polynomial in 1/T fitted to its free energies and, where known, enthalpies
at once, by d(G/T)/d(1/T) = H. Statistical errors follow by drawing values and enthalpies from their
errors, many times; how far the polynomial itself may be off is told beside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError

DRAWS = 2000
GRID = 401
"""Temperatures at which curves are looked at."""


@dataclass(frozen=True, eq=False)
class FreeEnergyPoints:
    """Free energies of one phase at several temperatures, all in eV per atom (or formula unit).

    Attributes:
        name: of the phase.
        temperature_K: (n,) increasing.
        free_energy_eV: (n,) values.
        standard_error_eV: (n,) their standard errors.
        enthalpy_eV: (n,) mean enthalpies (energies at constant volume) or None, with the kinetic
            energy 3/2 kT where the free energies are absolute.
        enthalpy_standard_error_eV: (n,); those of the free energies where not given.
        freedom: (n,) degrees of freedom of the standard errors, repeats less one; infinite where
            not given. Few make the errors that follow wider, as Student's t.
        heat_capacity: in k per atom, about which G is interpolated: 3, Dulong and Petit's, for
            absolute free energies; 0 for differences, such as those of a transmutation.
    """

    name: str
    temperature_K: FloatArray
    free_energy_eV: FloatArray
    standard_error_eV: FloatArray
    enthalpy_eV: FloatArray | None = None
    enthalpy_standard_error_eV: FloatArray | None = None
    freedom: FloatArray | None = None
    heat_capacity: float = 3.0

    def __post_init__(self) -> None:
        order = np.argsort(np.asarray(self.temperature_K, dtype=np.float64))
        count = len(order)
        for field in (
            "temperature_K",
            "free_energy_eV",
            "standard_error_eV",
            "enthalpy_eV",
            "enthalpy_standard_error_eV",
            "freedom",
        ):
            given = getattr(self, field)
            if given is None:
                continue
            values = np.asarray(given, dtype=np.float64)
            if values.shape != (count,):
                raise InputError(
                    f"phase {self.name!r} has {field} of shape {values.shape} at {count} "
                    "temperatures: give one value each"
                )
            if field != "freedom" and not np.isfinite(values).all():
                raise InputError(
                    f"phase {self.name!r} has a {field} that is not a number: a single repeat has "
                    "no error; run more repeats"
                )
            object.__setattr__(self, field, values[order])
        if count == 0 or self.temperature_K[0] <= 0 or (np.diff(self.temperature_K) <= 0).any():
            raise InputError(
                f"phase {self.name!r} has temperatures {self.temperature_K.tolist()} K: give "
                "positive ones, each once"
            )

    def enthalpy_errors(self) -> FloatArray:
        """Return the standard errors of the enthalpies."""
        given = self.enthalpy_standard_error_eV
        return self.standard_error_eV if given is None else given

    def temperature_range(self) -> tuple[float, float]:
        """Return between which temperatures G is known; all for a single point with enthalpy."""
        if len(self.temperature_K) == 1 and self.enthalpy_eV is not None:
            return (0.0, np.inf)
        return (float(self.temperature_K[0]), float(self.temperature_K[-1]))


@dataclass(frozen=True, eq=False)
class FreeEnergyCurve:
    """G(T) of a phase, energies in eV.

    Attributes:
        name: of the phase.
        temperature_K: (M,) in K.
        free_energy_eV: (M,) values.
        standard_error_eV: (M,) from the errors of the data alone.
        interpolation_error_eV: how far the interpolation may be off, `interpolation_error`; nan
            where the data cannot tell.
    """

    name: str
    temperature_K: FloatArray
    free_energy_eV: FloatArray
    standard_error_eV: FloatArray
    interpolation_error_eV: float


def fit_operator(phase: FreeEnergyPoints, at_K: FloatArray, lower: int = 0) -> FloatArray:
    """Return the linear map from a phase's data to its curve.

    G/T + c ln T, c the heat capacity, is a polynomial in 1/T: of first order where the heat
    capacity is c, of up to third order with enthalpies and second without. Its derivative is
    H - c T. Weighted least squares; data without error weigh alike.

    Args:
        phase: its points.
        at_K: (M,) temperatures.
        lower: by how much to lower the order of the polynomial.

    Returns:
        (M, n) for n points without enthalpies, (M, 2 n) with; it takes G/T + c ln T, followed by
        H - c T, to G/T + c ln T.

    Raises:
        InputError: for a single point without enthalpy.
    """
    t = phase.temperature_K
    enthalpies = phase.enthalpy_eV is not None
    if len(t) == 1 and not enthalpies:
        raise InputError(
            f"phase {phase.name!r} has a free energy at one temperature and no enthalpy, which "
            "says nothing about other temperatures: add a temperature, or the enthalpy"
        )
    powers = np.arange(_order(phase) - lower + 1)
    centre = 1.0 / t.mean()

    def rows(temperatures: FloatArray) -> FloatArray:
        distance: FloatArray = 1.0 / temperatures / centre - 1.0
        return np.asarray(np.power(distance[:, None], powers), dtype=np.float64)

    design, errors = rows(t), phase.standard_error_eV / t
    if enthalpies:
        slopes = np.zeros_like(design)
        slopes[:, 1:] = powers[1:] * design[:, :-1] / centre
        design = np.concatenate([design, slopes])
        errors = np.concatenate([errors, phase.enthalpy_errors()])
        natural = np.concatenate([1.0 / t, np.ones_like(t)])
    else:
        natural = 1.0 / t
    # Errors of exactly 0 would leave out all the rest.
    scale = float((errors / natural).max())
    errors = np.maximum(errors, (1e-3 * scale if scale > 0 else 1.0) * natural)
    solve = np.linalg.pinv(design / errors[:, None], rcond=1e-13) / errors
    return np.asarray(rows(at_K) @ solve)


def _order(phase: FreeEnergyPoints) -> int:
    count = len(phase.temperature_K)
    return min(count - 1, 2) if phase.enthalpy_eV is None else min(2 * count - 1, 3)


def curve_of(phase: FreeEnergyPoints, at_K: FloatArray, lower: int = 0) -> FloatArray:
    """Return G of a phase at (M,) temperatures; ``lower`` as in `fit_operator`."""
    enthalpy = None if phase.enthalpy_eV is None else phase.enthalpy_eV[None]
    return np.asarray(_curves(phase, phase.free_energy_eV[None], enthalpy, at_K, lower)[0])


def last_order(phase: FreeEnergyPoints, at_K: FloatArray) -> FloatArray | None:
    """Return what the last order of a phase's polynomial changes at (M,) temperatures, in eV.

    None where there is none to spare: a single temperature with its enthalpy, or two without, take
    the heat capacity for the constant that it is set to.
    """
    if _order(phase) < 2:
        return None
    return curve_of(phase, at_K) - curve_of(phase, at_K, lower=1)


def interpolation_error(phase: FreeEnergyPoints) -> float:
    """Return how far the curve of a phase may be off by the form of its polynomial, in eV.

    It is the most that the last order changes between the phase's temperatures, the usual estimate
    of what the next one would; nan where the data cannot tell.
    """
    low, high = phase.temperature_K[[0, -1]]
    changed = last_order(phase, np.linspace(low, high, GRID))
    return float("nan") if changed is None else float(np.abs(changed).max())


def misfit(phase: FreeEnergyPoints) -> tuple[float, int]:
    """Return chi^2 of a phase's curve and its degrees of freedom.

    A chi^2 far above says that errors are too small, or that values and enthalpies disagree.
    """
    t = phase.temperature_K
    data = len(t) * (1 if phase.enthalpy_eV is None else 2)
    freedom = data - _order(phase) - 1
    if freedom == 0 or (phase.standard_error_eV <= 0).any():
        return 0.0, 0
    chi = (curve_of(phase, t) - phase.free_energy_eV) / phase.standard_error_eV
    total = float(np.square(chi).sum())
    if phase.enthalpy_eV is not None:
        near = np.stack([t * (1 - 1e-4), t * (1 + 1e-4)])
        ratio = np.stack([curve_of(phase, row) / row for row in near])
        slope = (ratio[1] - ratio[0]) / (1 / near[1] - 1 / near[0])
        total += float(np.square((slope - phase.enthalpy_eV) / phase.enthalpy_errors()).sum())
    return total, freedom


def _curves(
    phase: FreeEnergyPoints,
    values: FloatArray,
    enthalpies: FloatArray | None,
    at_K: FloatArray,
    lower: int = 0,
) -> FloatArray:
    """Return (D, M) curves from (D, n) values and enthalpies."""
    t, c = phase.temperature_K, phase.heat_capacity * kB
    data = values / t + c * np.log(t)
    if enthalpies is not None:
        data = np.concatenate([data, enthalpies - c * t], axis=1)
    return np.asarray((data @ fit_operator(phase, at_K, lower).T - c * np.log(at_K)) * at_K)


def free_energy_curves(
    phases: Sequence[FreeEnergyPoints],
    at_K: FloatArray,
    rng: np.random.Generator,
    draws: int = DRAWS,
) -> list[FreeEnergyCurve]:
    """Return G(T) of several phases with standard errors.

    Args:
        phases: their points.
        at_K: (M,) temperatures; those that a phase does not cover are left out of its curve.
        rng: draws values from their errors.
        draws: how many.
    """
    curves = []
    for phase in phases:
        low, high = phase.temperature_range()
        inside = at_K[(at_K >= low) & (at_K <= high)]
        values = curve_of(phase, inside)
        errors = spread(drawn_curves(phase, inside, rng, draws))
        unsure = interpolation_error(phase)
        curves.append(FreeEnergyCurve(phase.name, inside, values, errors, unsure))
    return curves


def drawn_curves(
    phase: FreeEnergyPoints, at_K: FloatArray, rng: np.random.Generator, draws: int
) -> FloatArray:
    """Return (draws, M) curves within the errors of a phase."""
    shape = (draws, len(phase.temperature_K))
    noise = rng.normal(size=shape)
    if phase.freedom is not None:
        # t = z / sqrt(chi2 / f); finite degrees of freedom only.
        few = np.isfinite(phase.freedom)
        freedom = np.where(few, np.maximum(phase.freedom, 1.0), 1.0)
        widths = np.sqrt(rng.chisquare(freedom, size=shape) / freedom)
        noise = np.where(few, noise / widths, noise)
    values = phase.free_energy_eV + phase.standard_error_eV * noise
    enthalpies = None
    if phase.enthalpy_eV is not None:
        enthalpies = phase.enthalpy_eV + phase.enthalpy_errors() * rng.normal(size=shape)
    return _curves(phase, values, enthalpies, at_K)


def spread(draws: FloatArray) -> FloatArray:
    """Half the width that holds 68.3 % of the draws (first axis): robust against rare far ones."""
    low, high = np.quantile(draws, [0.1587, 0.8413], axis=0)
    return np.asarray((high - low) / 2, dtype=np.float64)
