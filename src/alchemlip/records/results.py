"""The results folder of a calculation: ``result.json``, written first and completed last.

result.json   status, inputs, versions, command, results (flat, names carry units), points
points.jsonl  one line per finished point of a scan, appended and synced as it finishes
scan.csv      the same as a table
"""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import math
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, SoftFileLock, Timeout

from alchemlip.errors import FolderInUseError, InputError
from alchemlip.failures import sentence_of
from alchemlip.files import (
    is_partial,
    open_to_append,
    parse_json,
    read_bytes,
    read_json_object,
    remove_partial,
    write_atomically,
)
from alchemlip.records.formats import RESULT_FORMAT, upgraded
from alchemlip.records.process_identity import is_alive, this_process

RESULT = "result.json"
POINTS = "points.jsonl"
LOCK = ".lock"
FORMULAS = "formulas"  # inputs that note formulas which were changed, one sentence each
PACKAGES = (
    "alchemlip",
    "torch",
    "chgnet",
    "ase",
    "numpy",
    "scipy",
    "vesin",
    "pymatgen",
    "sevenn",
    "mace-torch",
    "e3nn",
    "icet",
    "pymbar",
    "alchemlyb",
    "pandas",
)


class ResultFolder:
    """A folder that belongs to one calculation, told by its inputs.

    While a calculation runs, the folder is locked against other processes.

    Args:
        folder: where; made if it does not exist.
        command: name of the calculation.
        inputs: everything that determines the result, as plain JSON values.
        source: what is worth noting but does not, such as the path of the structure file.
        command_line: words of the command that does the same; those of this process if None.

    Attributes:
        resumed: whether the folder already belonged to this very calculation.
        finished: whether that calculation was finished; then its record is left alone.
        command_line: words of the command that does the same.
        outdated: what has changed in the formulas since it was finished; empty for nothing.

    Raises:
        InputError: if the folder holds another calculation, or files that are no calculation's, or
            another process is at work in it.
    """

    def __init__(
        self,
        folder: str | Path,
        command: str,
        inputs: Mapping[str, Any],
        source: Mapping[str, Any] | None = None,
        command_line: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(folder)
        self.inputs: dict[str, Any] = json.loads(json.dumps(inputs))
        self._command = command
        self.command_line = list(sys.argv if command_line is None else command_line)
        self.outdated: list[str] = []
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{str(self.path)!r} is a file: name a folder for the results")
        file = self.path / RESULT
        # A process killed at the very start leaves these and nothing else.
        foreign = self.path.is_dir() and any(
            item.name != LOCK and not is_partial(item.name) for item in self.path.iterdir()
        )
        if foreign and not file.exists():
            raise InputError(
                f"the folder {str(self.path)!r} is not empty and holds no {RESULT}: name a new "
                "folder (--out)"
            )
        if file.exists():
            self._check_same(self._read(file))
        self._lock = lock_folder(self.path, LOCK)
        try:
            remove_partial(self.path)
            # Read again, now that nobody else can write.
            self._record = self._read(file) if file.exists() else {}
        except BaseException:
            self.close()
            raise
        self.resumed = bool(self._record)
        self.finished = self._record.get("status") == "finished"
        if self.finished:
            self.close()
            return
        this_run = {
            "started": now(),
            "command_line": self.command_line,
            "versions": versions(),
            **this_process(),
        }
        if self.resumed:
            self._record.setdefault("continued", []).append(this_run)
            self._record.pop("reason", None)
            self._record.pop("ended", None)
            self._record["status"] = "running"
        else:
            self._record = {
                "format": RESULT_FORMAT,
                "status": "running",
                "command": command,
                **this_run,
                "source": dict(source or {}),
                "inputs": self.inputs,
                "results": {},
            }
        self._write()

    def close(self) -> None:
        """Let other processes use the folder; done by `finish` and `stop`."""
        self._lock.release()

    @property
    def record(self) -> dict[str, Any]:
        """The content of ``result.json``."""
        return self._record

    def finish(
        self,
        results: Mapping[str, Any],
        points: Sequence[Mapping[str, Any]] | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """Complete ``result.json``.

        Args:
            results: flat.
            points: of a scan.
            warnings: sentences about what not to trust, beside those about the structure file in
                `source`; repeated ones are kept once.
        """
        warnings = [*self._record.get("source", {}).get("structure_warnings", ()), *warnings]
        self._record["status"] = "finished"
        self._record["ended"] = now()
        self._record["results"] = finite(dict(results))
        if points is not None:
            self._record["points"] = [dict(point) for point in points]
        if warnings:
            self._record["warnings"] = list(dict.fromkeys(warnings))
        self._write()
        self.close()

    def stop(self, status: str, reason: str) -> None:
        """Note that the calculation ended early; what it had written stays.

        Args:
            status: ``failed`` or ``interrupted``.
            reason: one sentence.
        """
        if self._record["status"] != "running":
            return  # its end is on record
        self._record["status"] = status
        self._record["ended"] = now()
        self._record["reason"] = reason
        try:
            self._write()
        finally:
            self.close()

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Note in ``result.json`` how the calculation ended if it raises."""
        with telling_failure(self.stop):
            yield

    def append_point(self, point: Mapping[str, Any]) -> None:
        """Add a finished point; on return it is on the disk."""
        line = json.dumps(point) + "\n"
        with os.fdopen(open_to_append(self.path / POINTS), "w", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def points(self) -> list[dict[str, Any]]:
        """Return the finished points; a last line that a crash cut off is removed."""
        file = self.path / POINTS
        if not file.exists():
            return []
        text = read_bytes(file)
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            write_atomically(file, whole)
        try:
            points = [parse_json(line) for line in whole.splitlines()]
            if not all(isinstance(point, dict) for point in points):
                raise ValueError("no JSON object")
            return points
        except ValueError as error:
            raise InputError(
                f"{str(file)!r} is damaged: name a new folder (--out), or move it away"
            ) from error

    def write_csv(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write rows as a table, replacing the file at once."""
        write_table(self.path / name, rows)
        return self.path / name

    def _read(self, file: Path) -> dict[str, Any]:
        found = read_json_object(file, "name a new folder (--out), or move it away")
        return upgraded(found, file)

    def _check_same(self, record: Mapping[str, Any]) -> None:
        inputs = dict(record.get("inputs", {}))
        noted = inputs.pop(FORMULAS, [])
        if FORMULAS in self.inputs:
            inputs[FORMULAS] = self.inputs[FORMULAS]
        before = (record.get("command"), inputs)
        reason = difference(before, (self._command, self.inputs))
        if reason:
            raise InputError(
                f"the folder {str(self.path)!r} belongs to another run ({reason}): name a new "
                "folder (--out)"
            )
        self.outdated = [text for text in inputs.get(FORMULAS, ()) if text not in noted]
        if self.outdated and record.get("status") != "finished":
            raise InputError(
                f"the folder {str(self.path)!r} holds a run that an earlier version began, and "
                f"since then {'; '.join(self.outdated)}: name a new folder (--out)"
            )

    def _write(self) -> None:
        text = json.dumps(self._record, indent=1) + "\n"
        write_atomically(self.path / RESULT, text.encode())


def read_record(folder: Path) -> dict[str, Any]:
    """Return ``result.json`` of a run in any state.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    try:
        file = folder / RESULT
        return upgraded(read_json_object(file, "name the folder of another run"), file)
    except FileNotFoundError as error:
        raise InputError(
            f"there is no {RESULT} in {str(folder)!r}: name the folder of a run or of a campaign"
        ) from error


def is_lost(record: Mapping[str, Any]) -> bool:
    """Tell whether a record says that its run goes on although its process is gone."""
    last = [record, *(record.get("continued") or [])][-1]
    return record.get("status") == "running" and is_alive(last) is False


def lost_reason(record: Mapping[str, Any]) -> str:
    """Return the sentence for a run whose process is gone."""
    last = [record, *(record.get("continued") or [])][-1]
    return (
        f"its process ({last['process']} on {last['host']}) is gone without a word, as after a "
        "kill or a power cut: the same command goes on from what is kept"
    )


def difference(
    before: tuple[str | None, Mapping[str, Any]], asked: tuple[str, Mapping[str, Any]]
) -> str | None:
    """Tell how a recorded run differs from the one asked for.

    Args:
        before: command and inputs on record.
        asked: command and inputs now.

    Returns:
        Words that name the first difference; None for the same run.
    """
    if before == asked:
        return None
    if before[0] != asked[0]:
        return f"it holds the results of {before[0]!r}"
    keys = sorted(set(before[1]) | set(asked[1]))
    changed = [key for key in keys if before[1].get(key) != asked[1].get(key)]
    return f"it was made with another {changed[0]}"


NO_LOCKS = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


def lock_folder(folder: Path, name: str) -> FileLock:
    """Make a folder if need be and lock a file in it against other processes.

    The lock ends with `release`, or with the process, however that ends.

    Raises:
        InputError: if another process holds the lock, or the folder cannot be written.
    """
    lock = FileLock(folder / name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        # What filelock takes instead of the system's locks stays behind when a process is killed.
        if isinstance(lock, SoftFileLock):
            lock.release()
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    except Timeout as error:
        raise FolderInUseError(
            f"another process is at work in the folder {str(folder)!r}: wait for it, or "
            "name a new folder (--out)"
        ) from error
    except (NotImplementedError, OSError) as error:
        if isinstance(error, NotImplementedError) or error.errno in NO_LOCKS:
            raise InputError(
                f"the file system of the folder {str(folder)!r} has no file locks: name a folder "
                "on another one (--out), or have it mounted with locks"
            ) from error
        raise InputError(
            f"cannot write to the folder {str(folder)!r} ({error.strerror}): name another "
            "one (--out)"
        ) from error
    return lock


@contextmanager
def telling_failure(stop: Callable[[str, str], None]) -> Iterator[None]:
    """Tell ``stop`` the status and the reason if the block raises, and raise on."""
    try:
        yield
    except BaseException as error:
        # Ctrl-C, and the end of a batch that the run was part of, are no errors.
        status = "failed" if isinstance(error, Exception) else "interrupted"
        # What ended the run, such as a full disk, may also keep its end from being noted.
        with suppress(OSError, InputError):
            # Ctrl-C has no words of its own.
            told = "ended by Ctrl-C" if type(error) is KeyboardInterrupt else type(error).__name__
            stop(status, sentence_of(error) or str(error) or told)
        raise


def finite(value: Any) -> Any:
    """Return plain JSON values with None for nan and infinity, which JSON does not have."""
    if isinstance(value, Mapping):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_table(file: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as a CSV table, its columns in order of appearance; replaces the file at once."""
    buffer = io.StringIO()
    columns = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(file, buffer.getvalue().encode())


def fingerprint(data: Any) -> str:
    """Return a short checksum of plain JSON values."""
    text = json.dumps(data, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def versions() -> dict[str, str]:
    """Return the versions of Python, the machine's system and the packages that matter."""
    found = {"python": platform.python_version(), "system": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def now() -> str:
    """Return the time (UTC) as text, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
