"""What a plot of a campaign joins by lines, and the means over repeats that stand on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemlip.campaigns.coordinates import Coordinate
from alchemlip.campaigns.means import mean_and_errors
from alchemlip.campaigns.quantities import LATTICE, error_of
from alchemlip.crystal.plotting import lattice_parameters


@dataclass(frozen=True)
class Line:
    """What is joined by a line: the same in all that varied but the horizontal axis.

    Attributes:
        name: values of the others.
        number: of the only other, where there is one and it is a number.
        rows: results, repeats among them, each with the horizontal value.
    """

    name: str
    number: float | None
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Stack:
    """Repeats at one place of a line.

    Attributes:
        place: the horizontal value.
        values: of the repeats.
        mean: of them.
        bar: standard error of the mean; of a single run, its own error; 0 if it states none.
        told: what the bar is; empty without one.
        converged: whether all repeats did.
    """

    place: Coordinate
    values: tuple[float, ...]
    mean: float
    bar: float
    told: str
    converged: bool


def lines_of(rows: Sequence[Mapping[str, Any]], others: Sequence[str]) -> list[Line]:
    """Return a line for every value of the coordinates ``others``, in order where it is a number.

    Args:
        rows: results, with the coordinates among them.
        others: names of the coordinates but that of the horizontal axis.
    """
    grouped: dict[tuple[Coordinate, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        grouped.setdefault(tuple(row[name] for name in others), []).append(row)
    numbered = len(others) == 1 and all(isinstance(key[0], float) for key in grouped)
    keys = sorted(grouped) if numbered else list(grouped)
    return [
        Line(
            ", ".join(map(_named, key)),
            float(key[0]) if numbered else None,
            grouped[key],
        )
        for key in keys
    ]


def stacks(line: Line, column: str, against: str) -> list[Stack]:
    """Return means of a result over the repeats of a line, from left to right.

    Args:
        line: as `lines_of` returns it.
        column: name of the result.
        against: name of the horizontal axis.
    """
    stacked: dict[Coordinate, list[Mapping[str, Any]]] = {}
    for row in line.rows:
        if known(row, column):
            place = row[against]
            stacked.setdefault(place if isinstance(place, str) else float(place), []).append(row)
    return [_stack(place, stacked[place], column) for place in sorted(stacked)]


def panels(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the columns that have a value, and another name for what stands for several.

    Lattice parameters that agree in all rows are one, called a = b.
    """
    present = [name for name in columns if any(known(row, name) for row in rows)]
    cells = [row for row in rows if all(known(row, name) for name in LATTICE)]
    if not cells or not set(LATTICE) <= set(present):
        return [(name, "") for name in present]
    distinct = {f"{name[0]}_A": name for name in lattice_parameters(cells)}
    return [
        (name, distinct.get(name, ""))
        for name in present
        if name in distinct or name not in LATTICE
    ]


def known(row: Mapping[str, Any], column: str) -> bool:
    """Whether a row has a finite number there."""
    value = row.get(column)
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))
    )


def _stack(place: Coordinate, rows: Sequence[Mapping[str, Any]], column: str) -> Stack:
    error = error_of(column, [name for name in rows[0] if known(rows[0], name)])
    values = tuple(float(row[column]) for row in rows)
    own = [float(row[error]) for row in rows if error and known(row, error)]
    mean, scatter, _ = mean_and_errors(values, own)
    told = ""
    if scatter is not None:
        told = "mean ± standard error over repeats"
    elif own:
        spread = error is not None and error.endswith("_spread")
        told = "± spread over potentials" if spread else "± standard error of the run"
    # Of one run, what it says itself.
    bar = scatter if scatter is not None else (own[0] if own else 0.0)
    converged = all(row.get("converged") is not False for row in rows)
    return Stack(place, values, mean, bar, told, converged)


def _named(part: Coordinate) -> str:
    return part if isinstance(part, str) else f"{part:g}".replace("-", "−")
