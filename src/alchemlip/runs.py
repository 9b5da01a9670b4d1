"""The record of a run of dynamics: one SQLite file that survives a crash, a full disk, a power cut.

Inputs and versions are written first. Samples and the full state from which the run continues are
written in one transaction, so a record always holds the samples up to its state and no others.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

import numpy as np
from filelock import FileLock

from alchemlip import run_database as database
from alchemlip.errors import InputError
from alchemlip.machine import describe_machine
from alchemlip.results import difference, lock_folder, now, telling_failure, versions
from alchemlip.samples import (
    KEYS,
    NUMBERS,
    Frame,
    Sample,
    frame_of,
    frame_row,
    sample_columns,
    sample_row,
)
from alchemlip.serialization import pack, unpack

__all__ = ["RECORD", "Frame", "RunRecord", "Sample"]

RECORD = "run.sqlite"
# Packages that have no part in where atoms go.
NO_PART = {"system", "icet", "pymatgen", "pymbar", "alchemlyb", "pandas"}


class RunRecord:
    """The record of one run, told by its command and inputs; made, or continued.

    While a run writes, the record is locked against other writers; anybody may read it.

    Args:
        file: where; made if it does not exist.
        command: name of the calculation.
        inputs: everything that determines the result, as plain JSON values.
        source: what is worth noting but does not, such as the path of the structure file.

    Attributes:
        path: of the file.
        command: name of the calculation.
        inputs: as given when the record was made.
        source: likewise.
        versions: of the packages when the record was made.
        resumed: whether the file already held this very run.
        finished: whether that run was finished when opened; then its record is left alone.

    Raises:
        InputError: if the file holds another run or is no record, is of a newer format or damaged,
            if another process writes to it, or if it cannot be written. The file stays as it was.
    """

    def __init__(
        self,
        file: str | Path,
        command: str,
        inputs: Mapping[str, Any],
        source: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = Path(file)
        self._last_sample: str | None = None
        inputs = json.loads(_json(inputs))
        self._check_same(command, inputs)
        self._copy: TemporaryDirectory[str] | None = None
        self._lock: FileLock | None = lock_folder(self.path.parent, f".{self.path.name}.lock")
        try:
            # Again, now that nobody else can write.
            exists = self._check_same(command, inputs)
            with self._in_words():
                self._connection = database.open_to_write(self.path)
                if exists:
                    database.check_length(self._connection, self.path)
                    database.check_whole(self._connection, self.path)
                    self.finished = self.status == "finished"
                else:
                    self._create(command, inputs, source or {})
                    self.finished = False
                self.resumed = exists
                self._load()
                if self.finished:
                    self._release()
                else:
                    self._start()
        except BaseException:
            self.close()
            raise

    @classmethod
    def read(cls, file: str | Path) -> Self:
        """Open a record to read it, finished or not, also while another process writes to it.

        Args:
            file: the record, or the results folder that it lies in.

        Raises:
            InputError: if there is none, or it is damaged or of a newer format.
        """
        path = Path(file)
        path = path / RECORD if path.is_dir() else path
        if not path.is_file():
            raise InputError(f"there is no run record {str(path)!r}: name a folder that holds one")
        self = cls.__new__(cls)
        self.path = path
        self._lock = None
        self._last_sample = None
        with self._in_words():
            self._connection, self._copy = database.open_to_read(path)
            try:
                # One look at all of it, and one wait for a writer who is busy.
                self._connection.execute("BEGIN")
                if database.is_empty(self._connection):
                    raise InputError(
                        f"the run record {str(path)!r} is empty: the run wrote nothing"
                    )
                database.check_format(self._connection, path)
                if self._copy is None:
                    database.check_length(self._connection, path)
                self.resumed = True
                self.finished = self.status == "finished"
                self._load()
                self._connection.execute("COMMIT")
            except BaseException:
                self.close()
                raise
        return self

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``; a killed run is ``running``."""
        status: str = self._value("status")
        return status

    @property
    def results(self) -> dict[str, Any]:
        """What the run was finished with; empty before."""
        results: dict[str, Any] = self._value("results")
        return results

    @property
    def reason(self) -> str | None:
        """Why the run ended early, if it did."""
        with self._in_words():
            found = self._connection.execute(
                "SELECT value FROM run WHERE name = 'reason'"
            ).fetchone()
        return None if found is None else str(json.loads(found[0]))

    @property
    def starts(self) -> list[dict[str, Any]]:
        """When, by what command line and on what machine the run was started and continued."""
        with self._in_words():
            rows = self._connection.execute(
                "SELECT time, command_line, versions, machine, checkpoints FROM starts "
                "ORDER BY number"
            ).fetchall()
        return [
            {
                "time": time,
                "command_line": json.loads(command_line),
                "versions": json.loads(found),
                **json.loads(machine),
                "checkpoints": checkpoints,
            }
            for time, command_line, found, machine, checkpoints in rows
        ]

    def checkpoint(
        self,
        samples: Sequence[Sample],
        state: Mapping[str, Any],
        *,
        frames: Sequence[Frame] = (),
        notes: Mapping[str, Any] | None = None,
    ) -> None:
        """Add samples and replace the state, all at once; on return they are on the disk.

        Args:
            samples: since the last checkpoint.
            state: all that is needed to continue; see `serialization.pack`.
            frames: since the last checkpoint.
            notes: as for `note`.

        Raises:
            InputError: if the disk is full or fails; the record then stays as it was.
            ValueError: if a sample or a frame is there already.
        """
        content = pack(state)
        last = f"step {samples[-1].step} of {samples[-1].segment!r}" if samples else None
        if samples and samples[-1].repeat:
            last = f"{last}, repeat {samples[-1].repeat}"
        with self._writing() as connection:
            ids = self._segments_with(
                [*(item.segment for item in samples), *(item.segment for item in frames)]
            )
            try:
                connection.executemany(
                    f"INSERT INTO samples VALUES ({', '.join('?' * 12)})",
                    (sample_row(sample, ids) for sample in samples),
                )
                connection.executemany(
                    "INSERT INTO frames VALUES (?, ?, ?, ?, ?, ?)",
                    (frame_row(frame, ids) for frame in frames),
                )
            except sqlite3.IntegrityError as error:
                raise ValueError(
                    f"a sample or frame is in the record {str(self.path)!r} already"
                ) from error
            connection.execute(
                "INSERT INTO state VALUES (1, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "content = excluded.content, checksum = excluded.checksum, "
                "last_sample = coalesce(excluded.last_sample, last_sample)",
                (content, _checksum(content), last),
            )
            self._put_notes(notes or {})
            # By now torch is loaded if the run uses it.
            connection.execute(
                "UPDATE starts SET checkpoints = checkpoints + 1, machine = ? WHERE number = ?",
                (_json(describe_machine()), self._start_number),
            )
        self._last_sample = last or self._last_sample

    def state(self) -> dict[str, Any] | None:
        """Return the state of the last checkpoint; None before the first."""
        with self._in_words():
            row = self._connection.execute("SELECT content, checksum FROM state").fetchone()
        if row is None:
            return None
        if _checksum(row[0]) != row[1]:
            raise InputError(database.damaged(self.path))
        return unpack(row[0])

    def note(self, key: str, value: Any) -> None:
        """Keep the result of a stage, as JSON; on return it is on the disk.

        Args:
            key: such as ``repeat 0/springs``; what was kept by it before is replaced.
            value: plain values, or NumPy's, which come back as numbers and lists.
        """
        with self._writing():
            self._put_notes({key: value})

    def noted(self, key: str) -> Any | None:
        """Return what was kept by `note`; None if nothing was."""
        with self._in_words():
            found = self._connection.execute(
                "SELECT value FROM notes WHERE key = ?", (key,)
            ).fetchone()
        return None if found is None else json.loads(found[0])

    def notes(self) -> dict[str, Any]:
        """Return all that was kept by `note`, by key."""
        with self._in_words():
            rows = self._connection.execute("SELECT key, value FROM notes ORDER BY rowid")
            return {key: json.loads(value) for key, value in rows.fetchall()}

    def samples(
        self, repeat: int | None = None, segment: str | None = None, window: int | None = None
    ) -> dict[str, np.ndarray[Any, Any]]:
        """Return samples as columns by name; values that were not given are nan.

        Args:
            repeat: only of this repeat.
            segment: only of this segment.
            window: only of this window.

        Returns:
            The attributes of `Sample`, each (n,), and ``energies_eV`` (n, W), in the order of
            repeat, segment as they first appeared, window and step.
        """
        where, values = _selection(repeat, segment, window)
        with self._in_words():
            cursor = self._connection.execute(
                f"SELECT {', '.join(KEYS + NUMBERS)}, energies_eV "
                f"FROM samples {where} ORDER BY {', '.join(KEYS)}",
                values,
            )
            batches = iter(lambda: cursor.fetchmany(1000), [])
            try:
                return sample_columns(batches, self._segments())
            except TypeError as error:  # a number is gone
                raise InputError(database.damaged(self.path)) from error

    def frames(
        self, repeat: int | None = None, segment: str | None = None, window: int | None = None
    ) -> Iterator[Frame]:
        """Yield the trajectory in the order of `samples`, selected likewise."""
        where, values = _selection(repeat, segment, window)
        with self._in_words():
            names = self._segments()
            rows = self._connection.execute(
                f"SELECT rowid FROM frames {where} ORDER BY {', '.join(KEYS)}", values
            ).fetchall()
        # One by one, so that a reader who takes his time does not lock out the writer.
        for row in rows:
            with self._in_words():
                content = self._connection.execute(
                    f"SELECT {', '.join(KEYS)}, positions, cell FROM frames WHERE rowid = ?", row
                ).fetchone()
            yield frame_of(content, names)

    def continues_exactly(self) -> bool:
        """Tell whether going on here gives the very trajectory of an uninterrupted run on a CPU.

        That takes the same processor, number of torch threads and versions as in the earlier parts
        of the run; one sentence of warning names what differs. Call it once torch is set up.
        """
        here = _what_shows_in_bits(describe_machine(), versions())
        for start in self.starts:
            if not start["checkpoints"]:
                continue
            before = _what_shows_in_bits(start, start["versions"])
            for name in sorted(set(here) & set(before)):
                if here[name] != before[name]:
                    warnings.warn(
                        f"the run goes on with {name.replace('_', ' ')} {here[name]} where it had "
                        f"{before[name]}: it stays valid, but is not bit for bit the run that was "
                        "never stopped",
                        stacklevel=2,
                    )
                    return False
        return True

    def finish(self, results: Mapping[str, Any]) -> None:
        """Complete the record, which can still be read."""
        self._end("finished", {"results": dict(results)})

    def stop(self, status: str, reason: str) -> None:
        """Note that the run ended early; it can be continued. A run that has ended stays as it is.

        Args:
            status: ``failed`` or ``interrupted``.
            reason: one sentence.
        """
        if self._lock is None:
            return
        try:
            self._end(status, {"reason": reason})
        finally:
            self._release()

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Note how the run ended if the block raises."""
        with telling_failure(self.stop):
            yield

    def close(self) -> None:
        """Close the file and let other processes write to it."""
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        if self._copy is not None:
            self._copy.cleanup()
        self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _check_same(self, command: str, inputs: Mapping[str, Any]) -> bool:
        """Refuse a file that is not this run's; tell whether it holds anything."""
        if self.path.is_dir():
            raise InputError(f"{str(self.path)!r} is a folder: name a file for the run record")
        if not self.path.exists() or self.path.stat().st_size == 0:
            return False
        with self._in_words():
            connection, copy = database.open_to_read(self.path)
            try:
                if database.is_empty(connection):
                    return False
                database.check_format(connection, self.path)
                before = [database.value(connection, self.path, n) for n in ("command", "inputs")]
            finally:
                connection.close()
                if copy is not None:
                    copy.cleanup()
        reason = difference((before[0], before[1]), (command, inputs))
        if reason:
            raise InputError(
                f"the record {str(self.path)!r} belongs to another run ({reason}): name a new "
                "folder (--out)"
            )
        return True

    def _create(self, command: str, inputs: Mapping[str, Any], source: Mapping[str, Any]) -> None:
        with database.transaction(self._connection):
            database.create(self._connection)
            self._put(
                command=command,
                inputs=inputs,
                source=source,
                versions=versions(),
                status="running",
                results={},
            )

    def _start(self) -> None:
        with database.transaction(self._connection):
            self._put(status="running")
            self._connection.execute("DELETE FROM run WHERE name IN ('reason', 'ended')")
            self._start_number = self._connection.execute(
                "INSERT INTO starts (time, command_line, versions, machine) VALUES (?, ?, ?, ?)",
                (now(), _json(sys.argv), _json(versions()), _json(describe_machine())),
            ).lastrowid

    def _load(self) -> None:
        self.command: str = self._value("command")
        self.inputs: dict[str, Any] = self._value("inputs")
        self.source: dict[str, Any] = self._value("source")
        self.versions: dict[str, str] = self._value("versions")
        row = self._connection.execute("SELECT last_sample FROM state").fetchone()
        self._last_sample = row[0] if row else None

    def _end(self, status: str, values: Mapping[str, Any]) -> None:
        with self._writing():
            self._put(status=status, ended=now(), **values)
        # Leaves no empty journal beside the record; not worth failing for.
        with suppress(sqlite3.Error):
            self._connection.execute("PRAGMA journal_mode = DELETE")
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise ValueError(f"the record {str(self.path)!r} is open only to be read")
        with self._in_words(), database.transaction(self._connection):
            yield self._connection

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        last = self._last_sample
        kept = f"everything up to {last}" if last else "no samples yet"
        with database.in_words(self.path, kept):
            yield

    def _value(self, name: str) -> Any:
        with self._in_words():
            return database.value(self._connection, self.path, name)

    def _put(self, **values: Any) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO run VALUES (?, ?)",
            [(name, _json(value)) for name, value in values.items()],
        )

    def _put_notes(self, notes: Mapping[str, Any]) -> None:
        self._connection.executemany(
            "INSERT INTO notes VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(key, _json(value)) for key, value in notes.items()],
        )

    def _segments(self) -> dict[int, str]:
        return dict(self._connection.execute("SELECT id, name FROM segments").fetchall())

    def _segments_with(self, names: Sequence[str]) -> dict[str, int]:
        """Number the segments that are new in the order of their names, and return all numbers."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO segments (name) VALUES (?)",
            [(name,) for name in dict.fromkeys(names)],
        )
        return {name: number for number, name in self._segments().items()}


def _selection(
    repeat: int | None, segment: str | None, window: int | None
) -> tuple[str, dict[str, Any]]:
    conditions = {
        "repeat": "repeat = :repeat",
        "segment": "segment = (SELECT id FROM segments WHERE name = :segment)",
        "window": "window = :window",
    }
    values = {"repeat": repeat, "segment": segment, "window": window}
    asked = [conditions[name] for name, value in values.items() if value is not None]
    return ("WHERE " + " AND ".join(asked) if asked else ""), values


def _what_shows_in_bits(machine: Mapping[str, Any], packages: Mapping[str, str]) -> dict[str, Any]:
    """Return what decides about the last bits of a sum, as far as it is known."""
    known = {name: machine.get(name) for name in ("processor", "torch_threads")}
    known |= {name: packages[name] for name in set(packages) - NO_PART}
    return {name: value for name, value in known.items() if value is not None}


def _checksum(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, default=_plain)


def _plain(value: Any) -> Any:
    """Return NumPy's values as plain ones."""
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} cannot be kept as JSON")
