"""Where runs stand in what was varied: numbers where there are some, compositions among them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from alchemlip.campaigns.expansion import REPLICA, CampaignRun
from alchemlip.errors import InputError
from alchemlip.mixture.species import parse_composition

REPEATED = (REPLICA, "seed")
"""Runs that differ in these only are repeats of one another."""

SUPERCELLS = ("repeat", "supercell")
COMPOSITIONS = ("mix", "to")

Coordinate = float | str


def coordinates(runs: Sequence[CampaignRun]) -> list[dict[str, Coordinate]]:
    """Return what tells each run from the others, repeats aside: {name: number or text}.

    A varied ``mix`` or ``to`` becomes the weights of its components, named ``GROUP:COMPONENT``, a
    varied supercell its number of cells. A weight that follows from another one is left out.

    Args:
        runs: of one campaign.

    Returns:
        One for each run, with the same names in the same order; an option that a run was not given
        is an empty text.
    """
    varied = list(dict.fromkeys(name for run in runs for name in run.varied))
    columns: dict[str, list[Coordinate]] = {}
    for name in varied:
        if name in REPEATED:
            continue
        values = [run.varied.get(name) for run in runs]
        columns |= _columns(name, values)
    columns = {name: values for name, values in columns.items() if len(set(values)) > 1}
    return [{name: values[n] for name, values in columns.items()} for n in range(len(runs))]


def axes_of(places: Sequence[Mapping[str, Coordinate]]) -> list[str]:
    """Return what to draw against: numbers, or the first text where there are none."""
    return numeric(places) or list(places[0])[:1]


def numeric(places: Sequence[Mapping[str, Coordinate]]) -> list[str]:
    """Return the names of coordinates that are numbers in every run, to draw something against.

    Compositions come first, then temperature and pressure, then the others as they stand.
    """
    names = [
        name
        for name in (places[0] if places else ())
        if all(isinstance(place[name], float) for place in places)
    ]
    first = ("temperature", "pressure")

    def rank(name: str) -> int:
        return 0 if ":" in name else 1 + (first.index(name) if name in first else len(first))

    return sorted(names, key=rank)


def _columns(name: str, values: Sequence[Any]) -> dict[str, list[Coordinate]]:
    if name in COMPOSITIONS:
        weights = [_weights(value) for value in values]
        if all(weight is not None for weight in weights):
            return _weight_columns([weight or {} for weight in weights])
    if name in SUPERCELLS:
        cells = [_cells(value) for value in values]
        if all(count is not None for count in cells):
            # Cells of one size and different shapes are told apart by their texts.
            different = len({str(value) for value in values})
            if len(set(cells)) == different:
                return {name: [count for count in cells if count is not None]}
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return {name: [float(value) for value in values]}
    return {name: [_text(value) for value in values]}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    if isinstance(value, float):
        return f"{value:g}"
    return "" if value is None else str(value)


def _cells(value: Any) -> float | None:
    parts = str(value).replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        return None
    return float(math.prod(int(part) for part in parts))


def _weights(value: Any) -> dict[str, dict[str, float]] | None:
    """Return {group: {component: weight}} of --mix texts; None if one has no weights."""
    found = {}
    for text in value or []:
        group, _, formula = str(text).partition("=")
        try:
            found[group.strip()] = parse_composition(formula, normalise=True)
        except InputError:
            return None
    return found


def _weight_columns(
    weights: Sequence[Mapping[str, Mapping[str, float]]],
) -> dict[str, list[Coordinate]]:
    """Return the weights by component; of every group that sums to 1, all but the first."""
    columns: dict[str, list[Coordinate]] = {}
    for group in dict.fromkeys(name for item in weights for name in item):
        if not all(group in item for item in weights):
            # Mixed in some runs only: what stands there is a text.
            columns[group] = [_formula(item.get(group)) for item in weights]
            continue
        components = list(dict.fromkeys(name for item in weights for name in item[group]))
        varying = [
            name for name in components if len({item[group].get(name, 0.0) for item in weights}) > 1
        ]
        # The host, or else what stands first in the file, is what the others leave.
        rest = group if group in varying else (varying[0] if varying else "")
        for name in varying:
            if name != rest:
                columns[f"{group}:{name}"] = [item[group].get(name, 0.0) for item in weights]
    return columns


def _formula(composition: Mapping[str, float] | None) -> str:
    return "".join(f"{name}{weight:g}" for name, weight in (composition or {}).items())
