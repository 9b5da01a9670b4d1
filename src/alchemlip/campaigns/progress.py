"""How far a run is, from its own record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError
from alchemlip.records.results import POINTS


@dataclass(frozen=True)
class Progress:
    """What is done of a calculation.

    Attributes:
        done: points or time steps that are on the disk.
        total: of them.
        unit: ``points`` or ``steps``.
    """

    done: int
    total: int
    unit: str

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return self.done / max(1, self.total)


def progress_of(results: Path, record: Mapping[str, Any]) -> Progress | None:
    """Return how many of a run's steps or points are done and on the disk.

    Args:
        results: folder of the run.
        record: content of its ``result.json``.

    Returns:
        None where the number of steps is not known in advance: relaxations, searches.
    """
    inputs = record.get("inputs", {})
    total = _points(inputs)
    if total is not None:
        return Progress(_points_done(results), total, "points")
    return _steps_done(results, inputs)


def fraction_done(results: Path, record: Mapping[str, Any]) -> float | None:
    """Return the fraction of a run's steps or points that are done; see `progress_of`."""
    progress = progress_of(results, record)
    return None if progress is None else progress.fraction


def points_done(results: Path) -> int | None:
    """Return how many points a run has finished; None if it keeps none."""
    return _points_done(results) if (results / POINTS).is_file() else None


def _points(inputs: Mapping[str, Any]) -> int | None:
    """Return the number of points that a scan or a disorder study will have."""
    if "scanned_group" in inputs:
        from alchemlip.crystal.scanning import composition_grid

        components = inputs["groups"][inputs["scanned_group"]]["components"]
        return len(composition_grid(len(components), inputs["points"]))
    return len(inputs["compositions"]) if "compositions" in inputs else None


def _points_done(results: Path) -> int:
    file = results / POINTS
    # A line that is being written has no end yet.
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def _steps_done(results: Path, inputs: Mapping[str, Any]) -> Progress | None:
    from alchemlip.freeenergy.planned_steps import planned_steps, steps_done
    from alchemlip.records.runs import RECORD, RunRecord

    planned = planned_steps(inputs)
    if planned is None or not (results / RECORD).is_file():
        return None
    try:
        with RunRecord.read(results / RECORD) as record:
            done = steps_done(planned, record.state())
    except InputError:  # nothing in it yet
        return None
    return None if done is None else Progress(done, sum(map(sum, planned.values())), "steps")
