"""Which phase is stable at which temperature: G(T) between computed points, and crossings.

    alpha = FreeEnergyPoints("alpha", T, G, errors, H, H_errors)          # (n,) each
    curves = free_energy_curves([alpha, delta], np.linspace(300, 600, 61), rng)
    crossing = find_crossing(alpha, delta, rng)

`alchemlip.freeenergy.gibbs_helmholtz` makes the curve of a phase from its points, and
`alchemlip.freeenergy.reversible_scaling` points over a range of temperatures from one run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.gibbs_helmholtz import (
    DRAWS,
    GRID,
    FreeEnergyCurve,
    FreeEnergyPoints,
    curve_of,
    drawn_curves,
    last_order,
    spread,
)


@dataclass(frozen=True)
class Crossing:
    """Where two phases have the same free energy.

    Attributes:
        phases: their names.
        temperature_K: the crossing; None if there is none within ``range_K``.
        standard_error_K: its standard error; None without a crossing.
        interval_95_K: (low, high); an end that is not within the range is infinite.
        stable_below, stable_above: the phases of lower free energy at both ends of the range.
        range_K: temperatures that were searched, those that both phases cover.
        probability: share of draws within the errors that cross within the range.
        interpolation_error_K: how far the crossing may be off by the form of the curves, beside the
            standard error; None without a crossing, or where the data cannot tell.
    """

    phases: tuple[str, str]
    temperature_K: float | None
    standard_error_K: float | None
    interval_95_K: tuple[float, float]
    stable_below: str
    stable_above: str
    range_K: tuple[float, float]
    probability: float
    interpolation_error_K: float | None = None

    def sentence(self) -> str:
        """Say it in one sentence."""
        low, high = self.range_K
        if self.temperature_K is None:
            return (
                f"no crossing between {low:g} and {high:g} K: {self.stable_below} is stable "
                f"throughout ({100 * (1 - self.probability):.0f} % of the draws within the errors)"
            )
        ends = [
            f"{end:.0f} K" if np.isfinite(end) else ("above" if end > 0 else "below") + " the range"
            for end in self.interval_95_K
        ]
        error = "" if self.standard_error_K is None else f" ± {self.standard_error_K:.0f}"
        return (
            f"{self.stable_below} is stable below and {self.stable_above} above "
            f"{self.temperature_K:.0f}{error} K (95 %: {ends[0]} to {ends[1]}; {self._beside()})"
        )

    def _beside(self) -> str:
        if self.interpolation_error_K is None:
            return "the error of a constant heat capacity is not in it"
        return f"besides, {self.interpolation_error_K:.1g} K by interpolation"


def find_crossing(
    first: FreeEnergyPoints,
    second: FreeEnergyPoints,
    rng: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> Crossing:
    """Find the temperature at which two phases have the same free energy, with its error.

    Every draw takes values and enthalpies from their errors and looks for its own crossing, the
    one nearest to that of the values themselves. A draw that does not cross counts as one that
    crosses beyond the range, on the side where its stable phase says.

    Args:
        first, second: the phases, in the same unit.
        rng: draws values from their errors.
        draws: how many.

    Raises:
        InputError: if the phases have no temperature range in common.
    """
    low, high = covered_range([first, second])
    grid = np.linspace(low, high, GRID)
    best = curve_of(first, grid) - curve_of(second, grid)
    differences = drawn_curves(first, grid, rng, draws) - drawn_curves(second, grid, rng, draws)
    roots = _roots(grid, best)
    # Of several crossings that at the lowest temperature.
    temperature = float(roots[0]) if len(roots) else None
    found = np.array(
        [_crossing_of(grid, row, temperature, bool(best[0] < 0)) for row in differences]
    )
    finite = found[np.isfinite(found)]
    ends = (-np.inf, np.inf)
    if temperature is not None:
        ends = (
            float(np.quantile(found, 0.025, method="lower")),
            float(np.quantile(found, 0.975, method="higher")),
        )
    return Crossing(
        phases=(first.name, second.name),
        temperature_K=temperature,
        standard_error_K=None if temperature is None or len(finite) < 2 else float(spread(finite)),
        interval_95_K=ends,
        stable_below=first.name if best[0] <= 0 else second.name,
        stable_above=first.name if best[-1] <= 0 else second.name,
        range_K=(low, high),
        probability=len(finite) / draws,
        interpolation_error_K=_interpolation_error(first, second, grid, temperature),
    )


def _interpolation_error(
    first: FreeEnergyPoints, second: FreeEnergyPoints, grid: FloatArray, temperature_K: float | None
) -> float | None:
    """Return how far a crossing may move by the last order of both polynomials, in K."""
    changed = [last_order(phase, grid) for phase in (first, second)]
    if temperature_K is None or changed[0] is None or changed[1] is None:
        return None
    near = temperature_K * np.array([1.0 - 1e-4, 1.0 + 1e-4])
    gap = curve_of(first, near) - curve_of(second, near)
    slope = float(gap[1] - gap[0]) / float(near[1] - near[0])
    return float(np.abs(changed[0] - changed[1]).max() / abs(slope)) if slope else None


def _crossing_of(
    grid: FloatArray, difference: FloatArray, near: float | None, rising: bool
) -> float:
    """Return a draw's crossing, infinite beyond the range; see `find_crossing`."""
    candidates = _roots(grid, difference)
    if len(candidates):
        return float(candidates[0 if near is None else np.abs(candidates - near).argmin()])
    return float(np.inf if (difference[0] < 0) == rising else -np.inf)


def stability_table(curves: Sequence[FreeEnergyCurve]) -> list[dict[str, Any]]:
    """Return one row a temperature that all phases cover: G and error of each, and which is stable.

    Free energies are also given relative to the first phase, their errors added in squares.
    """
    common = [t for t in curves[0].temperature_K if all(t in c.temperature_K for c in curves)]
    rows = []
    for temperature in common:
        row: dict[str, Any] = {"temperature_K": float(temperature)}
        at = [int(np.flatnonzero(c.temperature_K == temperature)[0]) for c in curves]
        values = [float(c.free_energy_eV[i]) for c, i in zip(curves, at, strict=True)]
        errors = [float(c.standard_error_eV[i]) for c, i in zip(curves, at, strict=True)]
        for curve, value, error in zip(curves, values, errors, strict=True):
            row[f"{curve.name}_free_energy_eV_per_atom"] = value
            row[f"{curve.name}_standard_error_eV_per_atom"] = error
        for curve in curves:
            if np.isfinite(curve.interpolation_error_eV):
                row[f"{curve.name}_interpolation_error_eV_per_atom"] = curve.interpolation_error_eV
        for curve, value, error in list(zip(curves, values, errors, strict=True))[1:]:
            name = f"{curve.name}_minus_{curves[0].name}"
            row[f"{name}_eV_per_atom"] = value - values[0]
            row[f"{name}_standard_error_eV_per_atom"] = float(np.hypot(error, errors[0]))
        row["stable"] = curves[int(np.argmin(values))].name
        rows.append(row)
    return rows


def composition_table(
    compositions: Sequence[float], curves: Sequence[FreeEnergyCurve]
) -> list[dict[str, float]]:
    """Return dG(x, T) of a transmutation: one row for each composition and temperature.

    Where x = 0 and x = 1 are among the compositions, ``mixing_free_energy_eV_per_atom`` is what
    lies above the straight line between them.

    Args:
        compositions: (P,) x of each curve.
        curves: P free energies against temperature.
    """
    by_x = dict(zip(compositions, curves, strict=True))
    rows = []
    for x in sorted(by_x):
        for index, temperature in enumerate(by_x[x].temperature_K):
            row = {
                "x": float(x),
                "temperature_K": float(temperature),
                "free_energy_eV_per_atom": float(by_x[x].free_energy_eV[index]),
                "standard_error_eV_per_atom": float(by_x[x].standard_error_eV[index]),
            }
            if np.isfinite(by_x[x].interpolation_error_eV):
                row["interpolation_error_eV_per_atom"] = by_x[x].interpolation_error_eV
            start, end = (_at(by_x.get(edge), temperature) for edge in (0.0, 1.0))
            if start is not None and end is not None:
                (g0, e0), (g1, e1) = start, end
                line = (1 - x) * g0 + x * g1
                row["mixing_free_energy_eV_per_atom"] = row["free_energy_eV_per_atom"] - line
                own = 0.0 if x in (0.0, 1.0) else row["standard_error_eV_per_atom"]
                rest = 0.0 if x in (0.0, 1.0) else np.hypot((1 - x) * e0, x * e1)
                row["mixing_standard_error_eV_per_atom"] = float(np.hypot(own, rest))
            rows.append(row)
    return rows


def _at(curve: FreeEnergyCurve | None, temperature_K: float) -> tuple[float, float] | None:
    if curve is None or temperature_K not in curve.temperature_K:
        return None
    index = int(np.flatnonzero(curve.temperature_K == temperature_K)[0])
    return float(curve.free_energy_eV[index]), float(curve.standard_error_eV[index])


def _roots(grid: FloatArray, values: FloatArray) -> FloatArray:
    """Return where a function on a grid changes sign, by straight lines."""
    changes = np.flatnonzero(np.signbit(values[:-1]) != np.signbit(values[1:]))
    before, after = values[changes], values[changes + 1]
    return np.asarray(
        grid[changes] + (grid[changes + 1] - grid[changes]) * before / (before - after)
    )


def covered_range(phases: Sequence[FreeEnergyPoints]) -> tuple[float, float]:
    """Return the temperatures in K between which the free energies of all phases are known.

    Single points with enthalpy reach from half to one and a half of their temperature.

    Raises:
        InputError: if there are none.
    """
    known = np.concatenate([phase.temperature_K for phase in phases])
    ranges = [phase.temperature_range() for phase in phases]
    low = max([*(r[0] for r in ranges), 0.5 * float(known.min())])
    high = min([*(r[1] for r in ranges), 1.5 * float(known.max())])
    if low > high:
        texts = ", ".join(
            f"{phase.name} {r[0]:g} to {r[1]:g} K" for phase, r in zip(phases, ranges, strict=True)
        )
        raise InputError(
            f"the phases have no temperature range in common ({texts}): add temperatures"
        )
    return low, high


def common_temperatures(phases: Sequence[FreeEnergyPoints], count: int = 61) -> FloatArray:
    """Return temperatures that all phases cover: a grid, and those of the points within."""
    low, high = covered_range(phases)
    known = np.concatenate([phase.temperature_K for phase in phases])
    within = known[(known >= low) & (known <= high)]
    return np.union1d(np.linspace(low, high, count), within)
