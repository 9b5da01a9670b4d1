"""How far a calculation is, from what its folder holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError
from alchemlip.results import POINTS

Parts = Sequence[tuple[str, int]]
"""Segments of a trajectory, (name, steps), in order."""


@dataclass(frozen=True)
class Progress:
    """What is done of a calculation.

    Attributes:
        done: points or time steps.
        total: of them.
        unit: ``points`` or ``steps``.
    """

    done: int
    total: int
    unit: str

    @property
    def fraction(self) -> float:
        """0 to 1."""
        return min(1.0, self.done / max(1, self.total))


def progress_of(folder: Path, record: Mapping[str, Any]) -> Progress | None:
    """Return how far a calculation is; None where that cannot be told.

    Args:
        folder: of its results.
        record: its ``result.json``.
    """
    inputs = record.get("inputs") or {}
    points = _points(record, inputs)
    if points is not None:
        file = folder / POINTS
        done = file.read_bytes().count(b"\n") if file.is_file() else 0
        return Progress(done, points, "points")
    planned = _planned(inputs)
    if planned is None:
        return None
    stages, parts, repeats = planned
    total = sum(steps for _, steps in stages) + repeats * sum(steps for _, steps in parts)
    steps = _steps_done(folder, stages, parts)
    return None if steps is None else Progress(steps, total, "steps")


def _points(record: Mapping[str, Any], inputs: Mapping[str, Any]) -> int | None:
    if record.get("command") == "scan":
        from alchemlip.scanning import composition_grid

        components = inputs["groups"][inputs["scanned_group"]]["components"]
        return len(composition_grid(len(components), inputs["points"]))
    if record.get("command") == "disorder":
        return len(inputs["compositions"])
    return None


def _planned(inputs: Mapping[str, Any]) -> tuple[Parts, Parts, int] | None:
    """Return the segments before all repeats, those of each repeat, and the number of repeats."""
    if isinstance(inputs.get("windows"), Mapping):
        from alchemlip.freeenergy.windows import EQUILIBRATE, WINDOWS, WindowSettings

        windows = WindowSettings(**inputs["windows"])
        lengths = (EQUILIBRATE, windows.equilibration_steps), (WINDOWS, windows.sampling_steps)
        return (), lengths, windows.repeats
    if not isinstance(inputs.get("switching"), Mapping):
        return None
    from alchemlip.freeenergy.switching import SwitchingSettings

    switching = SwitchingSettings(**inputs["switching"])
    parts = [(segment.name, segment.steps) for segment in switching.segments()]
    return _stages(inputs), parts, switching.repeats


def _stages(inputs: Mapping[str, Any]) -> Parts:
    if "frenkel_ladd" not in inputs:
        return ()
    from alchemlip.freeenergy.frenkel_ladd_settings import (
        CELL_STAGE,
        SPRING_STAGE,
        FrenkelLaddSettings,
    )

    settings = FrenkelLaddSettings(**inputs["frenkel_ladd"])
    stages = [CELL_STAGE] if inputs["dynamics"]["cell"] != "fixed" else []
    stages += [SPRING_STAGE] if settings.springs == "displacements" else []
    return [
        (segment.name, segment.steps)
        for stage in stages
        for segment in settings.stage_segments(stage)
    ]


def _steps_done(folder: Path, stages: Parts, parts: Parts) -> int | None:
    from alchemlip.runs import RECORD, RunRecord

    if not (folder / RECORD).is_file():
        return None
    try:
        with RunRecord.read(folder / RECORD) as record:
            last = record.last_sample()
    except InputError:  # nothing in it yet
        return None
    if last is None:
        return 0
    repeat, segment, step = last
    before = 0
    for name, steps in stages:
        if name == segment:
            return before + step
        before += steps
    before += repeat * sum(steps for _, steps in parts)
    for name, steps in parts:
        if name == segment:
            return before + step
        before += steps
    return None
