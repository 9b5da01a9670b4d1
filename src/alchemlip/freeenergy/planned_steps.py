"""The steps of a recorded run: how many it will take, and how many are on the disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Planned = Mapping[str, tuple[int, ...]]
"""Steps of every segment, by trajectory, in the order in which they run."""


def planned_steps(inputs: Mapping[str, Any]) -> Planned | None:
    """Return the trajectories of a run and the steps of their segments; None without dynamics.

    Args:
        inputs: of the run, with its ``windows`` or its ``switching``.
    """
    if "windows" in inputs:
        from alchemlip.freeenergy.windows import WindowSettings

        windows = WindowSettings(**inputs["windows"])
        lengths = (windows.equilibration_steps, windows.sampling_steps)
        return {f"windows {repeat}": lengths for repeat in range(windows.repeats)}
    if "switching" not in inputs:
        return None
    from alchemlip.freeenergy.switching import SwitchingSettings

    switching = SwitchingSettings(**inputs["switching"])
    stages: dict[str, tuple[int, ...]] = {}
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
    return stages | {f"repeat {repeat}": legs for repeat in range(switching.repeats)}


def steps_done(planned: Planned, state: Mapping[str, Any] | None) -> int | None:
    """Return how many steps lie before a recorded state; None if it is of no trajectory of these.

    Args:
        planned: trajectories and their segments.
        state: of the last checkpoint; None before the first.
    """
    from alchemlip.freeenergy.windows import EQUILIBRATE, WINDOWS

    if state is None:
        return 0  # at what comes before the first step, such as energies at rest
    name = str(state.get("trajectory"))
    if name not in planned:
        return None
    segment = state["segment"]
    windows = (EQUILIBRATE, WINDOWS)
    number = windows.index(segment) if segment in windows else int(segment)
    done = sum(planned[name][:number]) + int(state["step"])
    for before, lengths in planned.items():
        if before == name:
            break
        done += sum(lengths)
    return done
