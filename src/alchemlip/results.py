"""The results folder of a calculation: ``result.json``, written first and completed last.

result.json   status, inputs, versions, command, results (flat, names carry units), points
points.jsonl  one line per finished point of a scan, appended and synced as it finishes
scan.csv      the same as a table
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError

RESULT = "result.json"
POINTS = "points.jsonl"
PACKAGES = ("alchemlip", "torch", "ase", "numpy", "scipy", "vesin", "pymatgen", "sevenn", "e3nn")


class ResultFolder:
    """A folder that belongs to one calculation, told by its inputs.

    Args:
        folder: where; made if it does not exist.
        command: name of the calculation.
        inputs: everything that determines the result, as plain JSON values.

    Attributes:
        resumed: whether the folder already belonged to this very calculation.
        finished: whether that calculation was finished.

    Raises:
        InputError: if the folder holds another calculation, or files that are no calculation's.
    """

    def __init__(self, folder: str | Path, command: str, inputs: Mapping[str, Any]) -> None:
        self.path = Path(folder)
        self.inputs = json.loads(json.dumps(inputs))
        self._command = command
        self.resumed = False
        self.finished = False
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"{str(self.path)!r} is a file: name a folder for the results")
        file = self.path / RESULT
        if file.exists():
            record = self._read(file)
            self._check_same(record)
            self.resumed = True
            self.finished = record.get("status") == "finished"
            self._record = record
        else:
            if self.path.is_dir() and any(self.path.iterdir()):
                raise InputError(
                    f"the folder {str(self.path)!r} is not empty and holds no {RESULT}: name a new "
                    "folder (--out)"
                )
            self._record = {}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"cannot make the folder {str(self.path)!r} ({error.strerror}): name another one "
                "(--out)"
            ) from error
        if not self.finished:
            self._record = {
                "status": "running",
                "command": command,
                "command_line": sys.argv,
                "started": _now(),
                "inputs": self.inputs,
                "versions": versions(),
                "results": {},
            }
            self._write()

    @property
    def record(self) -> dict[str, Any]:
        """The content of ``result.json``."""
        return self._record

    def finish(
        self, results: Mapping[str, Any], points: Sequence[Mapping[str, Any]] | None = None
    ) -> None:
        """Complete ``result.json``."""
        self._record["status"] = "finished"
        self._record["ended"] = _now()
        self._record["results"] = dict(results)
        if points is not None:
            self._record["points"] = [dict(point) for point in points]
        self._write()

    def stop(self, status: str, reason: str) -> None:
        """Note that the calculation ended early; what it had written stays.

        Args:
            status: ``failed`` or ``interrupted``.
            reason: one sentence.
        """
        self._record["status"] = status
        self._record["ended"] = _now()
        self._record["reason"] = reason
        self._write()

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Note in ``result.json`` how the calculation ended if it raises."""
        try:
            yield
        except BaseException as error:
            status = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
            self.stop(status, str(error) or type(error).__name__)
            raise

    def append_point(self, point: Mapping[str, Any]) -> None:
        """Add a finished point; on return it is on the disk."""
        line = json.dumps(point) + "\n"
        with (self.path / POINTS).open("a", encoding="utf-8") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def points(self) -> list[dict[str, Any]]:
        """Return the finished points; a last line that a crash cut off is removed."""
        file = self.path / POINTS
        if not file.exists():
            return []
        text = file.read_bytes()
        whole = text[: text.rfind(b"\n") + 1]
        if len(whole) < len(text):
            write_atomically(file, whole)
        try:
            return [json.loads(line) for line in whole.splitlines()]
        except ValueError as error:
            raise InputError(
                f"{str(file)!r} is damaged: name a new folder (--out), or move it away"
            ) from error

    def write_csv(self, name: str, rows: Sequence[Mapping[str, Any]]) -> Path:
        """Write rows as a table, replacing the file at once."""
        buffer = io.StringIO()
        columns = list(dict.fromkeys(key for row in rows for key in row))
        writer = csv.DictWriter(buffer, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path / name, buffer.getvalue().encode())
        return self.path / name

    def _read(self, file: Path) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(record, dict):
                raise ValueError("no JSON object")
        except ValueError as error:
            raise InputError(
                f"{str(file)!r} is damaged: name a new folder (--out), or move it away"
            ) from error
        return record

    def _check_same(self, record: Mapping[str, Any]) -> None:
        before = record.get("inputs", {})
        if record.get("command") == self._command and before == self.inputs:
            return
        if record.get("command") != self._command:
            reason = f"it holds the results of {record.get('command')!r}"
        else:
            keys = sorted(set(before) | set(self.inputs))
            changed = [key for key in keys if before.get(key) != self.inputs.get(key)]
            reason = f"it was made with another {changed[0]}"
        raise InputError(
            f"the folder {str(self.path)!r} belongs to another run ({reason}): name a new folder "
            "(--out)"
        )

    def _write(self) -> None:
        text = json.dumps(self._record, indent=1) + "\n"
        write_atomically(self.path / RESULT, text.encode())


def write_atomically(file: Path, content: bytes) -> None:
    """Replace a file at once: a crash leaves the old content or the new, never a part."""
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(partial, file)


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
