"""What runs will cost, from a few steps of each kind of run."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from alchemlip.calculations import calculation
from alchemlip.calculations.cost import RELAXATION, EvaluationCount, TrialRelaxation
from alchemlip.calculations.parts import OfStructure
from alchemlip.calculations.trial import trial_relaxation
from alchemlip.campaigns.commands import calculations, settings_of
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.worker import run_calculation, sentence

MEASURED_STEPS = 10
# A step costs the same at another temperature, pressure or seed.
FREE = ("seed", "temperature", "pressure")
RELAXED_AT_REST = 2
"""Relaxations of a vacancy's energy at 0 K: the perfect and the vacant crystal."""


class _EnoughError(Exception):
    """The measurement is done."""


@dataclass(frozen=True)
class Cost:
    """What a run takes in this process.

    Attributes:
        low, high: time in s between which it is likely to lie; the same where the number of steps
            is known, and not a number where nothing could be measured.
        basis: what of it was measured and what is typical, or why nothing was, in words.
    """

    low: float
    high: float
    basis: str

    @property
    def seconds(self) -> float | None:
        """The geometric mean of both; None if nothing is known."""
        return None if math.isnan(self.low) else math.sqrt(self.low * self.high)


def measured_costs(
    runs: Sequence[CampaignRun], base: Path, *, trust_file: bool = False
) -> list[Cost]:
    """Return the time that each run takes in this process, at the speed of a few steps now.

    Runs that differ in temperature, pressure and seed only are measured once. A run that cannot be
    begun, such as one with an element that its potential does not know, says so in its basis.

    Args:
        runs: of a campaign.
        base: folder that relative paths in options start from.
        trust_file: let local checkpoints run code.
    """
    from alchemlip.backends.loading import keeping_potentials

    measured: dict[str, Cost] = {}
    costs = []
    with keeping_potentials({}):
        for run in runs:
            kept = {k: v for k, v in run.options.items() if k not in FREE}
            kind = json.dumps(kept, sort_keys=True)
            if kind not in measured:
                try:
                    measured[kind] = _measured(run, base, trust_file)
                except Exception as error:  # the run itself will say the same
                    measured[kind] = Cost(math.nan, math.nan, f"not measured: {sentence(error)}")
            costs.append(measured[kind])
    return costs


def _measured(run: CampaignRun, base: Path, trust_file: bool) -> Cost:
    if "checkpoint_interval" in calculations()[run.command]:
        return _of_dynamics(run, base, trust_file)
    settings = settings_of(run.command, run.options, base, trust_file=trust_file)
    begun = calculation(run.command)(**settings)
    assert isinstance(begun, OfStructure)
    test = trial_relaxation(begun)
    count = begun.evaluations(test)
    assert count is not None
    return _of_evaluations(test, count)


def _of_evaluations(test: TrialRelaxation, count: EvaluationCount) -> Cost:
    number = f"{count.low:.0f}" + ("" if count.low == count.high else f" to {count.high:.0f}")
    return Cost(
        count.low * test.seconds,
        count.high * test.seconds,
        f"{test.seconds:.2g} s an evaluation, measured; {number} of them, "
        + ("typical" if count.typical else "as measured"),
    )


def _of_dynamics(run: CampaignRun, base: Path, trust_file: bool) -> Cost:
    marks: list[tuple[float, int]] = []
    step, steps = 0.0, 0

    def watch(done: int, total: int | None, text: str = "", /) -> None:
        nonlocal step, steps
        marks.append((time.perf_counter(), done))
        # The first steps also build neighbour lists and warm up what is compiled.
        if len(marks) > 2:
            (begun, first), (ended, last) = marks[-2:]
            step, steps = (ended - begun) / (last - first), total or 0
            raise _EnoughError

    options = {**run.options, "checkpoint_interval": MEASURED_STEPS}
    at_rest = False
    if "static" in calculations()[run.command]:
        at_rest = run.options.get("static", True)
        options["static"] = False
    begun = time.perf_counter()
    with (
        TemporaryDirectory(prefix="alchemlip-") as folder,
        redirect_stdout(io.StringIO()),
        redirect_stderr(io.StringIO()),
    ):
        try:
            settings = settings_of(run.command, options, base, trust_file=trust_file)
            run_calculation(run.command, settings, Path(folder) / "measured", watch)
        except _EnoughError:
            whole = steps * step
            basis = f"{step:.2g} s a step, measured; {steps} of them"
        else:
            whole = time.perf_counter() - begun  # so short that it has ended
            basis = "measured as a whole"
            step = whole / MEASURED_STEPS
    if run.options.get("springs") == "hessian" or run.options.get("quantum") == "harmonic":
        basis += "; force constants not counted"
    if not at_rest:
        return Cost(whole, whole, basis)
    low, high = (RELAXED_AT_REST * number * step for number in RELAXATION)
    return Cost(whole + low, whole + high, f"{basis}; relaxations at rest, typical")
