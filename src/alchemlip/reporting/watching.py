"""What a calculation is doing at this moment, read from its folder and nothing else.

Locks are never taken and nothing is written, so a calculation does not notice being watched.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.campaigns.progress import Progress, progress_of
from alchemlip.errors import InputError
from alchemlip.records.process_identity import is_alive
from alchemlip.records.results import POINTS, is_lost, lost_reason, read_record
from alchemlip.records.step_log import STEPS, read_lines

if TYPE_CHECKING:
    from alchemlip.campaigns.table import RunState
    from alchemlip.freeenergy.estimates import FreeEnergyEstimate

RECORD = "run.sqlite"
STOPPED = "stopped"  # its process is gone, and could not say so
ENDED = ("finished", "failed", "interrupted", STOPPED)


@dataclass(frozen=True)
class Snapshot:
    """A calculation at one moment.

    Attributes:
        name: of its folder.
        command: of the calculation.
        status: of the run, ``stopped`` if its process is gone; a campaign is ``running`` as long
            as runs are left and somebody is at them.
        reason: why it ended early.
        progress: what is done; None where that cannot be told.
        values: the last values, (name, text).
        estimate: the estimate so far, (name, text).
        parts: further lines, such as the runs of a campaign: (name, text, fraction).
        started: of this part of the run, in seconds since 1970; None if it was continued, for
            then what was done before is not known.
        changed: last change of its files, likewise.
    """

    name: str
    command: str
    status: str
    reason: str = ""
    progress: Progress | None = None
    values: tuple[tuple[str, str], ...] = ()
    estimate: tuple[tuple[str, str], ...] = ()
    parts: tuple[tuple[str, str, float | None], ...] = ()
    started: float | None = None
    changed: float = 0.0

    @property
    def ended(self) -> bool:
        """Whether nothing will change any more."""
        return self.status in ENDED


@dataclass
class Watch:
    """Looks at a folder again and again; estimates are made anew when a leg has ended.

    Args:
        folder: of a run or of a campaign.
    """

    folder: Path
    _estimated: tuple[Any, tuple[tuple[str, str], ...]] = field(default=(None, ()), init=False)

    def look(self) -> Snapshot:
        """Return how things stand.

        Raises:
            InputError: if the folder is neither a run's nor a campaign's.
        """
        from alchemlip.campaigns.folder import CAMPAIGN

        if (self.folder / CAMPAIGN).is_file():
            return _campaign(self.folder)
        record = read_record(self.folder)
        status = str(record.get("status", "running"))
        reason = str(record.get("reason", ""))
        if is_lost(record):
            status, reason = STOPPED, lost_reason(record)
        if (self.folder / RECORD).is_file():
            values, estimate = self._samples()
        else:
            values, estimate = _last_values(self.folder, record), ()
        return Snapshot(
            self.folder.resolve().name,
            str(record.get("command", "")),
            status,
            reason,
            progress_of(self.folder, record),
            values,
            estimate,
            started=None if record.get("continued") else _seconds(record.get("started")),
            changed=_changed(self.folder),
        )

    def _samples(self) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]:
        from alchemlip.records.runs import RunRecord

        try:
            with RunRecord.read(self.folder) as record:
                last = record.last_sample()
                if last is None:
                    return (), ()
                repeat, segment, _ = last
                sample = {
                    name: column[-1] for name, column in record.samples(repeat, segment).items()
                }
                if self._estimated[0] != (repeat, segment, record.status):
                    found = _estimates(record)
                    self._estimated = ((repeat, segment, record.status), found)
        except InputError as error:
            return (("record", str(error)),), ()
        values = [("repeat", str(repeat)), ("part", segment), ("step", str(int(sample["step"])))]
        for key, name, form in (
            ("coupling", "λ", "{:.4f}"),
            ("temperature_K", "temperature", "{:.0f} K"),
            ("potential_eV", "potential energy", "{:.4f} eV"),
            ("dhdl_eV", "dU/dλ", "{:.4f} eV"),
            ("volume_A3", "volume", "{:.2f} Å³"),
        ):
            if np.isfinite(sample[key]):
                values.append((name, form.format(sample[key])))
        return tuple(values), self._estimated[1]


def _estimates(record: Any) -> tuple[tuple[str, str], ...]:
    from alchemlip.freeenergy.analysis import analyse

    try:
        analysis = analyse(record, np.random.default_rng(0))
    except InputError as error:
        return (("estimate", str(error)),)
    return tuple((name, _in_words(found)) for name, found in analysis.estimates.items())


def _in_words(estimate: FreeEnergyEstimate) -> str:
    text = f"{estimate.value_eV:.4f}"
    if np.isfinite(estimate.standard_error_eV):
        text += f" ± {estimate.standard_error_eV:.4f}"
    return f"{text} eV for the whole cell, the path alone"


def _last_values(folder: Path, record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    steps = read_lines(folder / STEPS)
    if steps:
        last = steps[-1]
        return (
            ("step", str(last["step"])),
            ("energy", f"{last['energy_eV']:.6f} eV"),
            ("largest force", f"{last['max_force_eV_per_A']:.1e} eV/Å"),
            ("stress deviation", f"{last['max_stress_deviation_GPa']:.1e} GPa"),
        )
    points = read_lines(folder / POINTS)
    if not points:
        return ()
    last = points[-1]
    if "x" in last:  # of a design
        values = [("composition", ", ".join(f"{weight:.4f}" for weight in last["x"]))]
        goals = (record.get("inputs") or {}).get("goals") or []
        values += [
            (str(goal[0]), f"{value:.6g}")
            for goal, value in zip(goals, last["values"], strict=False)
        ]
        return tuple(values)
    found = last.get("record") or {}
    composition = ", ".join(
        f"{label} {weight:.3f}" for label, weight in (found.get("composition") or {}).items()
    )
    lines = [("last composition", composition)] if composition else []
    for key, name, form in (
        ("energy_eV_per_atom", "energy", "{:.6f} eV/site"),
        ("random_energy_eV_per_atom", "energy of the random alloy", "{:.6f} eV/site"),
        ("a_A", "a", "{:.4f} Å"),
        ("steps", "steps of its relaxation", "{}"),
    ):
        if found.get(key) is not None:
            lines.append((name, form.format(found[key])))
    return tuple(lines)


def _campaign(path: Path) -> Snapshot:
    from alchemlip.campaigns.folder import CampaignFolder
    from alchemlip.campaigns.table import STATES, run_state

    folder = CampaignFolder(path)
    states = [run_state(folder, run) for run in folder.runs()]
    counts = Counter(state.state for state in states)
    left = counts["begun"] + counts["stopped"] + counts["waiting"]
    status = "running" if left else ("failed" if counts["failed"] else "finished")
    reason = ""
    if left and not counts["begun"] and is_alive(folder.main_process()) is False:
        status = STOPPED
        reason = "its main process is gone: the same command goes on with the runs that are left"
    parts = [
        (state.name, _told(state), state.fraction)
        for state in states
        if state.state in ("begun", "stopped", "failed")
    ]
    return Snapshot(
        path.resolve().name,
        "campaign",
        status,
        reason,
        progress=Progress(counts["finished"], len(states), "runs"),
        values=tuple((name, str(counts[name])) for name in STATES if counts[name]),
        parts=tuple(parts),
        changed=max((_changed(folder.results(state.name)) for state in states), default=0.0),
    )


def _told(state: RunState) -> str:
    if state.state == "failed":
        return f"failed: {state.error}"
    return "" if state.state == "begun" else state.state


def _changed(folder: Path) -> float:
    try:
        return max((file.stat().st_mtime for file in folder.iterdir()), default=0.0)
    except OSError:  # not there yet, or a file that just went
        return 0.0


def _seconds(text: Any) -> float | None:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC).timestamp()
    except ValueError:
        return None
