"""What runs came to: their states, and one table of their results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.progress import fraction_done, points_done
from alchemlip.files import replacing
from alchemlip.records.results import write_table

LONGEST_LIST = 6
"""Longer lists, such as forces, stay in the run's own folder."""

STATES = ("finished", "failed", "begun", "stopped", "waiting")


@dataclass(frozen=True)
class RunState:
    """Where a run is.

    Attributes:
        name: of the run.
        state: one of `STATES`; ``begun`` is at work, as far as can be told from here, ``stopped``
            was, and is to be gone on with.
        fraction: of its steps or points that are done; None where that cannot be told.
        attempts: how often it was begun.
        error: of the last failure.
        points: compositions finished, of a run that keeps them one by one, such as a design.
    """

    name: str
    state: str
    fraction: float | None
    attempts: int
    error: str
    points: int | None = None


def run_state(folder: CampaignFolder, run: CampaignRun) -> RunState:
    """Return where a run is, from what it wrote."""
    record = folder.result(run.name)
    attempts = folder.attempts(run.name)
    if record.get("status") == "finished":
        points = points_done(folder.results(run.name))
        return RunState(run.name, "finished", 1.0, attempts.begun, "", points)
    begun = "stopped" if attempts.at_work is False else "begun"
    if not record and not attempts.begun:
        begun = "waiting"
    state = "failed" if attempts.given_up else begun
    results = folder.results(run.name)
    return RunState(
        run.name,
        state,
        fraction_done(results, record) if record else None,
        attempts.begun,
        attempts.reason or attempts.error,
        points_done(results),
    )


def collected(folder: CampaignFolder, runs: Sequence[CampaignRun]) -> list[dict[str, Any]]:
    """Return one row a run: its name, state, what varies, its seed, its flat results."""
    rows = []
    for run in runs:
        state = run_state(folder, run)
        row: dict[str, Any] = {"run": run.name, "state": state.state, **_varied(run)}
        if "seed" in run.options:
            row["seed"] = run.options["seed"]
        if state.state == "finished":
            row |= flat(folder.result(run.name)["results"])
        rows.append(row)
    return rows


def collected_points(folder: CampaignFolder, runs: Sequence[CampaignRun]) -> list[dict[str, Any]]:
    """Return one row for every point of every finished run that has points, such as a scan."""
    rows = []
    for run in runs:
        record = folder.result(run.name)
        if record.get("status") == "finished":
            for point in record.get("points", []):
                rows.append({"run": run.name, **_varied(run), **flat(point)})
    return rows


def _varied(run: CampaignRun) -> dict[str, Any]:
    return {
        name: " ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in run.varied.items()
    }


def flat(results: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return results with one number or text each; names of nested ones joined by dots."""
    row: dict[str, Any] = {}
    for name, value in results.items():
        if isinstance(value, Mapping):
            row |= flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            if len(value) <= LONGEST_LIST:
                row |= flat(
                    {str(number): item for number, item in enumerate(value)}, f"{prefix}{name}."
                )
        else:
            row[prefix + name] = value
    return row


def write_tables(
    folder: CampaignFolder, name: str, rows: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write rows as CSV and, where pandas and pyarrow are installed, as parquet.

    Returns:
        The files written.
    """
    csv = folder.path / f"{name}.csv"
    write_table(csv, rows)
    try:
        import pandas as pd
        import pyarrow  # type: ignore[import-untyped]  # noqa: F401
    except ImportError:
        return [csv]
    frame = pd.DataFrame(list(rows))
    for column in frame.columns:
        # One kind of value a column: texts where some are.
        if frame[column].map(lambda value: isinstance(value, str)).any():
            frame[column] = frame[column].map(lambda value: None if value is None else str(value))
    parquet = folder.path / f"{name}.parquet"
    with replacing(parquet) as partial:
        frame.to_parquet(partial)
    return [csv, parquet]
