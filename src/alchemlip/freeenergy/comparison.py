"""Phases side by side: their free energies against temperature, and where they cross."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from alchemlip.errors import InputError
from alchemlip.freeenergy.gibbs_helmholtz import (
    FreeEnergyCurve,
    FreeEnergyPoints,
    free_energy_curves,
    misfit,
)
from alchemlip.freeenergy.phase_stability import (
    Crossing,
    common_temperatures,
    composition_table,
    find_crossing,
    stability_table,
)


@dataclass(frozen=True)
class Comparison:
    """What several phases, or compositions of one, say together.

    Attributes:
        phases: computed points.
        curves: G(T) of the same phases.
        compositions: x of each, where they are named by numbers; else None.
        rows: of `stability_table`, or of `composition_table`.
        crossings: of each pair of phases; none of compositions.
        disagreements: a sentence for each phase whose free energies and enthalpies disagree.
    """

    phases: Sequence[FreeEnergyPoints]
    curves: Sequence[FreeEnergyCurve]
    compositions: Sequence[float] | None
    rows: Sequence[dict[str, Any]]
    crossings: Sequence[Crossing]
    disagreements: Sequence[str]


def compare_phases(
    phases: Sequence[FreeEnergyPoints],
    rng: np.random.Generator,
    temperatures_K: npt.ArrayLike | None = None,
) -> Comparison:
    """Return G(T) of phases, which is stable where, and their crossings.

    Args:
        phases: computed points; with numbers as names they are compositions x.
        rng: of drawn errors.
        temperatures_K: (T,) of the table; by default all that the phases cover.

    Raises:
        InputError: if absolute free energies and differences are mixed, or the phases have no
            temperature in common.
    """
    if len({phase.heat_capacity for phase in phases}) > 1:
        raise InputError(
            "the phases mix absolute free energies (frenkel-ladd) and differences: compare runs of "
            "one kind"
        )
    told = [sentence for sentence in map(_disagreement, phases) if sentence is not None]
    grid = common_temperatures(phases) if temperatures_K is None else np.asarray(temperatures_K)
    curves = free_energy_curves(phases, grid, rng)
    compositions = _numbers([phase.name for phase in phases])
    if compositions is not None:
        rows: Sequence[dict[str, Any]] = composition_table(compositions, curves)
        return Comparison(phases, curves, compositions, rows, [], told)
    crossings = [find_crossing(a, b, rng) for a, b in combinations(phases, 2)]
    return Comparison(phases, curves, None, stability_table(curves), crossings, told)


def _disagreement(phase: FreeEnergyPoints) -> str | None:
    """Return a sentence if chi^2 lies four standard deviations above its mean."""
    chi, freedom = misfit(phase)
    if not freedom or chi <= freedom + 4 * np.sqrt(2 * freedom):
        return None
    return (
        f"free energies and enthalpies of {phase.name} disagree beyond their errors (chi^2 "
        f"{chi:.0f} for {freedom} degrees of freedom)"
    )


def _numbers(names: Sequence[str]) -> list[float] | None:
    try:
        return [float(name) for name in names]
    except ValueError:
        return None
