"""Averages over repeats: runs that differ in their seeds only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemlip.campaigns.coordinates import REPEATED
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.quantities import error_of, is_error, numeric_columns

STATED = ("run", "state", *REPEATED)
# Of a mean there are other ones, or they have none.
LEFT_OUT = ("forward_work_eV", "backward_work_eV", "interval_95", "work_sign")

N = "replicas"


def repeated(runs: Sequence[CampaignRun]) -> bool:
    """Whether some runs are repeats of one another."""
    return any(len(members) > 1 for members in _groups(runs))


def means(runs: Sequence[CampaignRun], rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one row for all repeats of a run together, averaged over those that are finished.

    Every numeric result X becomes its mean, ``X_standard_error``, the standard error of the mean
    from the scatter of the repeats (s / sqrt(n); none for one repeat), and, where the runs state an
    error of X, ``X_standard_error_of_runs``, what these together say of the same mean:
    sqrt(sum e_i^2) / n. Repeats count alike: weights from errors that are estimates themselves
    would favour the runs whose error came out too small. Both errors should agree; scatter well
    above it tells that the runs see less than there is. The spread over potentials is common to
    all repeats, and its mean is kept.

    Args:
        runs: of a campaign.
        rows: their rows of the table, in the same order.
    """
    options = {name for run in runs for name in run.varied}
    columns = [
        name
        for name in numeric_columns(rows)
        if name not in STATED and name not in options and not any(part in name for part in LEFT_OUT)
    ]
    groups = _groups(runs)
    # What is the same in all repeats, such as a number of atoms, has no error.
    scattered = {
        name
        for name in columns
        if any(len({rows[n].get(name) for n in members} - {None}) > 1 for members in groups)
    }
    found = []
    for members in groups:
        varied = set(runs[members[0]].varied)
        first = rows[members[0]]
        row: dict[str, Any] = {k: v for k, v in first.items() if k in varied - set(REPEATED)}
        finished = [rows[n] for n in members if rows[n]["state"] == "finished"]
        row[N] = len(finished)
        for name in columns:
            if finished and not (is_error(name) and not name.endswith("_spread")):
                row |= _mean(name, finished, columns, name in scattered)
        found.append(row)
    return found


def mean_and_errors(
    values: Sequence[float], errors: Sequence[float]
) -> tuple[float, float | None, float | None]:
    """Return a mean, its standard error from the scatter, and the one from the values' own errors.

    Args:
        values: of the repeats.
        errors: of the values; with fewer of them than values there is no error from them.
    """
    n = len(values)
    scatter = float(np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    own = float(np.sqrt(np.square(errors).sum()) / n) if len(errors) == n else None
    return float(np.mean(values)), scatter, own


def _mean(
    name: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], scattered: bool
) -> dict[str, float | None]:
    given = [row for row in rows if row.get(name) is not None]
    if not given:
        return {name: None}
    values = [float(row[name]) for row in given]
    if name.endswith("_spread"):
        return {name: float(np.mean(values))}
    error = error_of(name, columns)
    if error is not None and error.endswith("_spread"):
        error = None
    errors = [float(row[error]) for row in given if error and row.get(error) is not None]
    mean, scatter, own = mean_and_errors(values, errors)
    found: dict[str, float | None] = {name: mean}
    if scattered or error:
        found[f"{name}_standard_error"] = scatter
    if error:
        found[f"{name}_standard_error_of_runs"] = own
    return found


def _groups(runs: Sequence[CampaignRun]) -> list[list[int]]:
    """Return the numbers of the runs that are repeats of one another."""
    groups: dict[str, list[int]] = {}
    for number, run in enumerate(runs):
        key = {k: v for k, v in run.options.items() if k not in REPEATED}
        groups.setdefault(repr(sorted(key.items())), []).append(number)
    return list(groups.values())
