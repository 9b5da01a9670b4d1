"""The record of a run of dynamics: one SQLite file that survives a crash, a full disk, a power cut.

Inputs and versions are written first. Samples and the full state from which the run continues are
written in one transaction, so a record always holds the samples up to its state and no others.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Any, Self

from filelock import FileLock

from alchemlip.errors import InputError
from alchemlip.records import run_database as database
from alchemlip.records.machine import describe_machine
from alchemlip.records.recorded_run import RecordedRun
from alchemlip.records.results import difference, lock_folder, now, telling_failure, versions
from alchemlip.records.samples import Frame, Sample, frame_row, sample_row
from alchemlip.records.serialization import pack, to_json

__all__ = ["RECORD", "Frame", "RunRecord", "Sample"]

RECORD = "run.sqlite"


class RunRecord(RecordedRun):
    """The record of one run, told by its command and inputs; made, or continued.

    While a run writes, the record is locked against other writers; anybody may read it.

    Args:
        file: where; made if it does not exist.
        command: name of the calculation.
        inputs: everything that determines the result, as plain JSON values.
        source: what is worth noting but does not, such as the path of the structure file.
        command_line: words of the command that does the same; those of this process if None.

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
        command_line: Sequence[str] | None = None,
    ) -> None:
        self.path = Path(file)
        inputs = json.loads(to_json(inputs))
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
                    self._start(sys.argv if command_line is None else command_line)
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
                "INSERT INTO state VALUES (1, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "content = excluded.content, "
                "last_sample = coalesce(excluded.last_sample, last_sample)",
                (content, last),
            )
            self._put_notes(notes or {})
            # By now torch is loaded if the run uses it.
            connection.execute(
                "UPDATE starts SET checkpoints = checkpoints + 1, machine = ? WHERE number = ?",
                (to_json(describe_machine()), self._start_number),
            )
        self._last_sample = last or self._last_sample

    def note(self, key: str, value: Any) -> None:
        """Keep the result of a stage, as JSON; on return it is on the disk.

        Args:
            key: such as ``repeat 0/springs``; what was kept by it before is replaced.
            value: plain values, or NumPy's, which come back as numbers and lists.
        """
        with self._writing():
            self._put_notes({key: value})

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
        self._release()
        connection = getattr(self, "_connection", None)
        if connection is not None:
            connection.close()
        if self._copy is not None:
            self._copy.cleanup()

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

    def _start(self, command_line: Sequence[str]) -> None:
        with database.transaction(self._connection):
            self._put(status="running")
            self._connection.execute("DELETE FROM run WHERE name IN ('reason', 'ended')")
            self._start_number = self._connection.execute(
                "INSERT INTO starts (time, command_line, versions, machine) VALUES (?, ?, ?, ?)",
                (
                    now(),
                    to_json(list(command_line)),
                    to_json(versions()),
                    to_json(describe_machine()),
                ),
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
        self._release()

    def _release(self) -> None:
        if self._lock is not None:
            # Leaves no empty journal beside the record; not worth failing for.
            with suppress(sqlite3.Error, AttributeError):
                self._connection.execute("PRAGMA journal_mode = DELETE")
            self._lock.release()
            self._lock = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        if self._lock is None:
            raise ValueError(f"the record {str(self.path)!r} is open only to be read")
        with self._in_words(), database.transaction(self._connection):
            yield self._connection

    def _put(self, **values: Any) -> None:
        self._connection.executemany(
            "INSERT OR REPLACE INTO run VALUES (?, ?)",
            [(name, to_json(value)) for name, value in values.items()],
        )

    def _put_notes(self, notes: Mapping[str, Any]) -> None:
        self._connection.executemany(
            "INSERT INTO notes VALUES (?, ?) "
            "ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            [(key, to_json(value)) for key, value in notes.items()],
        )

    def _segments_with(self, names: Sequence[str]) -> dict[str, int]:
        """Number the segments that are new in the order of their names, and return all numbers."""
        self._connection.executemany(
            "INSERT OR IGNORE INTO segments (name) VALUES (?)",
            [(name,) for name in dict.fromkeys(names)],
        )
        return {name: number for number, name in self._segments().items()}
