"""What can be read from the record of a run, by its writer and by anybody else."""

from __future__ import annotations

import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from alchemlip.errors import InputError, RunChangedWarning
from alchemlip.records import run_database as database
from alchemlip.records.machine import describe_machine, what_shows_in_bits
from alchemlip.records.results import versions
from alchemlip.records.samples import KEYS, NUMBERS, Frame, frame_of, sample_columns
from alchemlip.records.serialization import unpack


class RecordedRun:
    """The readable side of a run record.

    Attributes:
        path: of the file.
    """

    path: Path
    _connection: sqlite3.Connection
    _last_sample: str | None = None

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
        return None if found is None else str(self._decoded(found[0]))

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
                "command_line": self._decoded(command_line, list),
                "versions": self._decoded(found, dict),
                **self._decoded(machine, dict),
                "checkpoints": checkpoints,
            }
            for time, command_line, found, machine, checkpoints in rows
        ]

    def state(self) -> dict[str, Any] | None:
        """Return the state of the last checkpoint; None before the first."""
        with self._in_words():
            row = self._connection.execute("SELECT content FROM state").fetchone()
        if row is None:
            return None
        try:
            return unpack(row[0])
        except ValueError as error:
            raise InputError(database.damaged(self.path)) from error

    def noted(self, key: str) -> Any | None:
        """Return what was kept by `note`; None if nothing was."""
        with self._in_words():
            found = self._connection.execute(
                "SELECT value FROM notes WHERE key = ?", (key,)
            ).fetchone()
        return None if found is None else self._decoded(found[0])

    def notes(self) -> dict[str, Any]:
        """Return all that was kept by `note`, by key."""
        with self._in_words():
            rows = self._connection.execute("SELECT key, value FROM notes ORDER BY rowid")
            return {key: self._decoded(value) for key, value in rows.fetchall()}

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
            except InputError:
                raise
            except (TypeError, ValueError) as error:  # there are no numbers where some were
                raise InputError(database.damaged(self.path)) from error

    def last_sample(self) -> tuple[int, str, int] | None:
        """Return repeat, segment and step of the last sample; None if there is none."""
        with self._in_words():
            row = self._connection.execute(
                f"SELECT {', '.join(KEYS)} FROM samples "
                f"ORDER BY {', '.join(f'{key} DESC' for key in KEYS)} LIMIT 1"
            ).fetchone()
            if row is None:
                return None
            repeat, segment, _, step = row
            return repeat, self._segments()[segment], step

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
            try:
                frame = frame_of(content, names)
            except (KeyError, TypeError, ValueError) as error:
                raise InputError(database.damaged(self.path)) from error
            yield frame

    def continues_exactly(self) -> bool:
        """Tell whether going on here gives the very trajectory of an uninterrupted run on a CPU.

        That takes the same processor, number of torch threads and versions as in the earlier parts
        of the run; one sentence of warning names what differs. Call it once torch is set up.
        """
        here = what_shows_in_bits(describe_machine(), versions())
        for start in self.starts:
            if not start["checkpoints"]:
                continue
            before = what_shows_in_bits(start, start["versions"])
            changed = [name for name in here if before.get(name, here[name]) != here[name]]
            if changed:
                warnings.warn(
                    f"the run goes on with {changed[0].replace('_', ' ')} {here[changed[0]]} where "
                    f"it had {before[changed[0]]}: it stays valid, but is not bit for bit the run "
                    "that was never stopped",
                    RunChangedWarning,
                    stacklevel=2,
                )
                return False
        return True

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        last = self._last_sample
        kept = f"everything up to {last}" if last else "no samples yet"
        with database.in_words(self.path, kept):
            yield

    def _decoded(self, text: Any, kind: type = object) -> Any:
        return database.decoded(text, self.path, kind)

    def _value(self, name: str) -> Any:
        with self._in_words():
            return database.value(self._connection, self.path, name)

    def _segments(self) -> dict[int, str]:
        return dict(self._connection.execute("SELECT id, name FROM segments").fetchall())


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
