"""How far a run is, from its own record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError
from alchemlip.results import POINTS


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
    dynamics = _steps(inputs)
    return None if dynamics is None else _steps_done(results, *dynamics)


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
        from alchemlip.scanning import composition_grid

        components = inputs["groups"][inputs["scanned_group"]]["components"]
        return len(composition_grid(len(components), inputs["points"]))
    return len(inputs["compositions"]) if "compositions" in inputs else None


def _points_done(results: Path) -> int:
    file = results / POINTS
    # A line that is being written has no end yet.
    return file.read_bytes().count(b"\n") if file.is_file() else 0


Lengths = tuple[int, ...]
"""Steps of the segments of one trajectory."""


def _steps(inputs: Mapping[str, Any]) -> tuple[dict[str, Lengths], bool] | None:
    """Return the trajectories of a run in their order, and whether segments go by their names."""
    if "windows" in inputs:
        from alchemlip.freeenergy.windows import WindowSettings

        windows = WindowSettings(**inputs["windows"])
        lengths = (windows.equilibration_steps, windows.sampling_steps)
        return {f"windows {repeat}": lengths for repeat in range(windows.repeats)}, True
    if "switching" not in inputs:
        return None
    from alchemlip.freeenergy.switching import SwitchingSettings

    switching = SwitchingSettings(**inputs["switching"])
    stages: dict[str, Lengths] = {}
    if "frenkel_ladd" in inputs:
        from alchemlip.freeenergy.frenkel_ladd_settings import (
            CELL_STAGE,
            SPRING_STAGE,
            FrenkelLaddSettings,
        )

        settings = FrenkelLaddSettings(**inputs["frenkel_ladd"])
        sampled = {
            CELL_STAGE: inputs["dynamics"]["cell"] != "fixed",
            SPRING_STAGE: settings.springs == "displacements",
        }
        stages = {
            name: tuple(segment.steps for segment in settings.stage_segments(name))
            for name, run in sampled.items()
            if run
        }
    legs = tuple(segment.steps for segment in switching.segments())
    return stages | {f"repeat {repeat}": legs for repeat in range(switching.repeats)}, False


def _steps_done(
    results: Path, trajectories: Mapping[str, Lengths], windows: bool
) -> Progress | None:
    from alchemlip.freeenergy.windows import EQUILIBRATE, WINDOWS
    from alchemlip.runs import RECORD, RunRecord

    if not (results / RECORD).is_file():
        return None
    try:
        with RunRecord.read(results / RECORD) as record:
            state = record.state()
    except InputError:  # nothing in it yet
        return None
    total = sum(map(sum, trajectories.values()))
    if state is None:
        return Progress(
            0, total, "steps"
        )  # at what comes before the first step, such as energies at rest
    name = str(state.get("trajectory"))
    if name not in trajectories:
        return None
    number = state["segment"]
    segment = (EQUILIBRATE, WINDOWS).index(str(number)) if windows else int(number)
    done = sum(trajectories[name][:segment]) + int(state["step"])
    for before, lengths in trajectories.items():
        if before == name:
            break
        done += sum(lengths)
    return Progress(done, total, "steps")
