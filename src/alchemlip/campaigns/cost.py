"""What runs will cost, from a few time steps of each kind of run."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

from alchemlip.campaigns.commands import calculations, run_arguments
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.worker import run_command
from alchemlip.errors import InputError

MEASURED_STEPS = 10
# A step costs the same at another temperature, pressure or seed.
FREE = ("seed", "temperature", "pressure")


class _EnoughError(Exception):
    """The measurement is done."""


def measured_seconds(runs: Sequence[CampaignRun], base: Path) -> list[float]:
    """Return the time in s that each run takes in this process, at the speed of a few steps now.

    Runs that differ in temperature, pressure and seed only are measured once.

    Args:
        runs: of a calculation by dynamics, whose number of steps is known in advance.
        base: folder that relative paths in options start from.

    Raises:
        InputError: if the calculation has no such number, or from the run itself.
    """
    measured: dict[str, float] = {}
    seconds = []
    for run in runs:
        if "checkpoint_interval" not in calculations()[run.command]:
            known = [name for name, o in calculations().items() if "checkpoint_interval" in o]
            raise InputError(
                f"how many steps {run.command!r} takes is not known in advance: --measure is for "
                f"{', '.join(known)}"
            )
        kind = json.dumps({k: v for k, v in run.options.items() if k not in FREE}, sort_keys=True)
        if kind not in measured:
            measured[kind] = _measured(run, base)
        seconds.append(measured[kind])
    return seconds


def _measured(run: CampaignRun, base: Path) -> float:
    from alchemlip.cli.freeenergy import watching_progress

    marks: list[tuple[float, int]] = []
    whole = 0.0

    def watch(done: int, total: int) -> None:
        nonlocal whole
        marks.append((time.perf_counter(), done))
        # The first steps also build neighbour lists and warm up what is compiled.
        if len(marks) > 2:
            (begun, first), (ended, last) = marks[-2:]
            whole = total * (ended - begun) / (last - first)
            raise _EnoughError

    options = {**run.options, "checkpoint_interval": MEASURED_STEPS}
    if "static" in calculations()[run.command]:
        options["static"] = False
    begun = time.perf_counter()
    with (
        TemporaryDirectory(prefix="alchemlip-") as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
        watching_progress(watch),
    ):
        try:
            run_command(run_arguments(run.command, options, Path(folder) / "measured", base))
        except _EnoughError:
            return whole
    return time.perf_counter() - begun  # so short that it has ended
