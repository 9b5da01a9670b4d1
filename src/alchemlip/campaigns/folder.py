"""The folder of a campaign: its runs on record, and the attempts at each.

campaign.json           the expanded campaign, written before anything runs
runs/NAME/              results folder of a run
attempts/NAME.jsonl     one line each time a run begins, ends, fails
logs/NAME.log           what a run printed
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.errors import InputError
from alchemlip.files import (
    is_partial,
    open_to_append,
    parse_json,
    read_bytes,
    read_json_object,
    remove_partial,
    write_atomically,
)
from alchemlip.records.process_identity import is_alive, this_process
from alchemlip.records.results import RESULT, lock_folder, now

CAMPAIGN = "campaign.json"
LOCK = ".campaign.lock"
FORMAT = 1
MOST_FAILURES = 3
# A worker may be lost to many causes that are not its run's: kills, time limits of a queue.
MOST_LOSSES = 20


@dataclass(frozen=True)
class Attempts:
    """What the attempts at a run came to.

    Attributes:
        begun: how many there were.
        failures: how many ended in an error.
        losses: how many ended with their worker; of a run that is going on, one too many.
        error: of the last failure.
        at_work: whether the last one goes on: None where that cannot be told from here.
    """

    begun: int = 0
    failures: int = 0
    losses: int = 0
    error: str = ""
    at_work: bool | None = False

    @property
    def given_up(self) -> bool:
        """Whether the run is not tried again."""
        return self.failures >= MOST_FAILURES or self.losses >= MOST_LOSSES

    @property
    def reason(self) -> str:
        """Why it is not."""
        if self.failures < MOST_FAILURES and self.losses >= MOST_LOSSES:
            return f"its worker was lost {self.losses} times"
        return self.error


class CampaignFolder:
    """A folder that belongs to one campaign.

    Args:
        path: of the folder; nothing is made by looking at it.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def results(self, name: str) -> Path:
        """Return the results folder of a run."""
        return self.path / "runs" / name

    def log(self, name: str) -> Path:
        """Return the file with what a run printed."""
        return self.path / "logs" / f"{name}.log"

    @property
    def job_logs(self) -> Path:
        """Folder for what the jobs of a batch system print."""
        return self.path / "logs" / "jobs"

    def lock(self) -> FileLock:
        """Keep other processes from running the campaign, until `release` or the process's end."""
        return lock_folder(self.path, LOCK)

    def runs(self) -> list[CampaignRun]:
        """Return the runs on record.

        Raises:
            InputError: if there is no record, or it is damaged.
        """
        file = self.path / CAMPAIGN
        if not file.is_file():
            raise InputError(
                f"there is no campaign in {str(self.path)!r}: name the folder that 'alchemlip "
                "campaign run' made"
            )
        try:
            record = read_json_object(file, "name a new folder (--out), or move it away")
            if record["format"] > FORMAT:
                raise InputError(
                    f"{str(file)!r} was written by a newer alchemlip: update alchemlip, or name a "
                    "new folder (--out)"
                )
            return [_run(run) for run in record["runs"]]
        except (ValueError, KeyError, TypeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{str(file)!r} is damaged: name a new folder (--out), or move it away"
            ) from error

    def check(self, runs: Sequence[CampaignRun]) -> list[CampaignRun]:
        """Return the runs on record and the further ones, if none differs from its record.

        Raises:
            InputError: if the folder is not a campaign's, or a run is on record with other inputs.
        """
        if self.path.exists() and not self.path.is_dir():
            raise InputError(
                f"{str(self.path)!r} is a file: name a folder for the campaign (--out)"
            )
        if not (self.path / CAMPAIGN).exists():
            # A crash may have left the lock and half a record.
            if self.path.is_dir() and any(
                item.name != LOCK and not is_partial(item.name) for item in self.path.iterdir()
            ):
                raise InputError(
                    f"the folder {str(self.path)!r} is not empty and holds no {CAMPAIGN}: name a "
                    "new folder (--out)"
                )
            return list(runs)
        before = {run.name: run for run in self.runs()}
        for run in runs:
            changed = _difference(before.get(run.name, run), run)
            if changed:
                raise InputError(
                    f"the campaign file was changed: run {run.name!r} is on record in "
                    f"{str(self.path)!r} with another {changed}; name a new folder (--out), or put "
                    "the file back"
                )
        return [*before.values(), *(run for run in runs if run.name not in before)]

    def record(self, file: Path, runs: Sequence[CampaignRun]) -> None:
        """Write the expanded campaign; with the lock held.

        Args:
            file: the campaign file, noted for readers.
            runs: what `check` returned.
        """
        content = {
            "format": FORMAT,
            "file": str(file),
            "written": now(),
            **this_process(),
            "runs": [run.to_dict() for run in runs],
        }
        for name in ("runs", "attempts", "logs"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        remove_partial(self.path)
        text = json.dumps(content, indent=1) + "\n"
        write_atomically(self.path / CAMPAIGN, text.encode())

    def main_process(self) -> Mapping[str, Any]:
        """Return what is on record of the process that ran the campaign last."""
        record: dict[str, Any] = json.loads((self.path / CAMPAIGN).read_text(encoding="utf-8"))
        return record

    def result(self, name: str) -> dict[str, Any]:
        """Return the content of a run's result.json; empty where there is none yet."""
        file = self.results(name) / RESULT
        try:
            return read_json_object(file, "move its folder away")
        except FileNotFoundError:
            return {}

    def finished(self, name: str) -> bool:
        """Whether a run is."""
        return self.result(name).get("status") == "finished"

    def note(self, name: str, event: str, **values: Any) -> None:
        """Add a line to the attempts at a run; on return it is on the disk."""
        line = json.dumps({"event": event, "time": now(), **values}) + "\n"
        file = open_to_append(self._attempts(name))
        try:
            # A line that a crash cut off is ended first; an empty line is nothing.
            os.write(file, b"\n" + line.encode())
            os.fsync(file)
        finally:
            os.close(file)

    def attempts(self, name: str) -> Attempts:
        """Return what the attempts at a run came to."""
        try:
            text = read_bytes(self._attempts(name)).decode(errors="replace")
        except FileNotFoundError:
            return Attempts()
        events: list[Mapping[str, Any]] = []
        for line in text.splitlines():
            try:
                event = parse_json(line) if line else {}
            except ValueError:
                continue  # cut off by a crash
            if not isinstance(event, dict) or (event and not isinstance(event.get("event"), str)):
                continue
            if event.get("event") == "forgotten":
                events.clear()
            elif event:
                events.append(event)
        kinds = [event["event"] for event in events]
        ends = kinds.count("finished") + kinds.count("failed") + kinds.count("interrupted")
        errors = [str(event.get("error", "")) for event in events if event["event"] == "failed"]
        begun = kinds.count("begun")
        at_work = is_alive(events[-1]) if kinds and kinds[-1] == "begun" else False
        return Attempts(
            begun, len(errors), max(0, begun - ends), errors[-1] if errors else "", at_work
        )

    def _attempts(self, name: str) -> Path:
        return self.path / "attempts" / f"{name}.jsonl"


def _run(values: Mapping[str, Any]) -> CampaignRun:
    """Return a run on record; the trust that a file once could grant is not taken from it."""
    options = {key: value for key, value in values["options"].items() if key != "trust_file"}
    return CampaignRun(**{**values, "options": options})


def _difference(before: CampaignRun, now_: CampaignRun) -> str | None:
    """Return the name of the first input that differs."""
    if before.command != now_.command:
        return "command"
    for name in {**before.options, **now_.options}:
        if before.options.get(name) != now_.options.get(name):
            return name
    for name in {**before.files, **now_.files}:
        if before.files.get(name) != now_.files.get(name):
            return f"content of {name!r}"
    return None
