"""The SQLite side of a run record: opening, transactions, and what its errors mean to a person."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError
from alchemlip.failures import sentence_of
from alchemlip.files import parse_json

SCHEMA = 1
APPLICATION = 0x414C4348  # marks a database as a run record
JOURNAL = "-journal"  # what SQLite adds to the name of the database
# A writer waits for readers this long; each reads for seconds at most.
PATIENCE_S = 120.0

TABLES = """
CREATE TABLE run (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE starts (
    number INTEGER PRIMARY KEY, time TEXT NOT NULL, command_line TEXT NOT NULL,
    versions TEXT NOT NULL, machine TEXT NOT NULL, checkpoints INTEGER NOT NULL DEFAULT 0);
CREATE TABLE segments (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE samples (
    repeat INTEGER NOT NULL, segment INTEGER NOT NULL, window INTEGER NOT NULL,
    step INTEGER NOT NULL, time_fs REAL, coupling REAL, dhdl_eV REAL, potential_eV REAL,
    kinetic_eV REAL, temperature_K REAL, volume_A3 REAL, energies_eV BLOB,
    PRIMARY KEY (repeat, segment, window, step)) WITHOUT ROWID;
CREATE TABLE frames (
    repeat INTEGER NOT NULL, segment INTEGER NOT NULL, window INTEGER NOT NULL,
    step INTEGER NOT NULL, positions BLOB NOT NULL, cell BLOB NOT NULL,
    UNIQUE (repeat, segment, window, step));
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1), content BLOB NOT NULL, last_sample TEXT);
CREATE TABLE notes (key TEXT PRIMARY KEY, value TEXT NOT NULL);
"""

KINDS = {
    "command": str,
    "inputs": dict,
    "source": dict,
    "versions": dict,
    "status": str,
    "results": dict,
    "reason": str,
}
"""What the values in the table of the run are."""


def open_to_write(file: Path) -> sqlite3.Connection:
    """Open a database, made if it does not exist; a transaction that a crash cut off is undone."""
    connection = sqlite3.connect(file, timeout=PATIENCE_S, isolation_level=None)
    # A write-ahead log needs memory that processes share, which a shared file system has not.
    # Truncating the journal spares the shared file system making and removing a file each time,
    # and with FULL it is on the disk when a transaction ends.
    connection.execute("PRAGMA journal_mode = TRUNCATE")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


def open_to_read(file: Path) -> tuple[sqlite3.Connection, tempfile.TemporaryDirectory[str] | None]:
    """Open a database without writing to it or to its folder.

    Returns:
        The connection, and the folder of the copy that it reads if a crash cut off a transaction,
        for that has to be undone first.
    """
    for _ in range(10):
        connection = _read_only(file)
        try:
            connection.execute("PRAGMA schema_version").fetchone()
            return connection, None
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
        copy = _copy_with_journal(file)
        if copy is not None:
            undone = sqlite3.connect(Path(copy.name) / file.name, isolation_level=None)
            undone.execute("PRAGMA schema_version").fetchone()
            return undone, copy
    raise InputError(f"the record {str(file)!r} changes all the time: read it again later")


def _read_only(file: Path) -> sqlite3.Connection:
    address = file.resolve().as_uri() + "?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=PATIENCE_S, isolation_level=None)


def _copy_with_journal(file: Path) -> tempfile.TemporaryDirectory[str] | None:
    """Copy a database and its journal; None if somebody undoes the transaction meanwhile."""
    journal = file.with_name(file.name + JOURNAL)
    copy = tempfile.TemporaryDirectory(prefix="alchemlip-")
    try:
        before = journal.stat()
        shutil.copyfile(journal, Path(copy.name) / journal.name)
        shutil.copyfile(file, Path(copy.name) / file.name)
        after = journal.stat()
    except FileNotFoundError:
        copy.cleanup()
        return None
    except OSError as error:
        copy.cleanup()
        raise InputError(
            f"cannot copy the record {str(file)!r} to a temporary folder ({error.strerror}), where "
            "what a crash cut off is undone: free space there, or set TMPDIR to another"
        ) from error
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, after.st_size):
        copy.cleanup()
        return None
    return copy


def create(connection: sqlite3.Connection) -> None:
    """Make the tables; within a transaction."""
    for statement in TABLES.split(";\n"):
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION}")
    connection.execute(f"PRAGMA user_version = {SCHEMA}")


def is_empty(connection: sqlite3.Connection) -> bool:
    """Tell whether a database holds nothing yet, as after a crash at the very start."""
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    return bool(tables == 0 and application == 0)


def check_format(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a database that is no run record, or one of a newer format."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION:
        raise InputError(no_record(file))
    (schema,) = connection.execute("PRAGMA user_version").fetchone()
    if schema > SCHEMA:
        raise InputError(
            f"{str(file)!r} was written by a newer alchemlip (record format {schema}, this one "
            f"knows {SCHEMA}): update alchemlip, or name a new folder (--out)"
        )


def check_length(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a file whose end is missing; SQLite takes a last page in part for a whole one."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    (size,) = connection.execute("PRAGMA page_size").fetchone()
    if file.stat().st_size < pages * size:
        raise InputError(damaged(file))


def check_whole(connection: sqlite3.Connection, file: Path) -> None:
    """Refuse a database whose pages are damaged."""
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise InputError(damaged(file))


def value(connection: sqlite3.Connection, file: Path, name: str) -> Any:
    """Return what the table of the run holds by a name."""
    found = connection.execute("SELECT value FROM run WHERE name = ?", (name,)).fetchone()
    if found is None:
        raise InputError(damaged(file))
    return decoded(found[0], file, KINDS.get(name, object))


def decoded(text: Any, file: Path, kind: type = object) -> Any:
    """Return what a JSON text in the database stands for.

    Raises:
        InputError: if it is damaged, or of another kind than it should be.
    """
    try:
        found = parse_json(text)
    except (TypeError, ValueError) as error:
        raise InputError(damaged(file)) from error
    if not isinstance(found, kind):
        raise InputError(damaged(file))
    return found


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, all or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite itself may have rolled back
            connection.execute("ROLLBACK")
        raise


@contextmanager
def in_words(file: Path, kept: str = "what was in it") -> Iterator[None]:
    """Turn SQLite's errors that a person can mend into one sentence.

    Args:
        file: the database.
        kept: what it surely holds.
    """
    try:
        yield
    except sqlite3.Error as error:
        sentence = _sentence(error, file, kept)
        if sentence is None:
            raise
        raise InputError(sentence) from error
    except UnicodeDecodeError as error:
        raise InputError(damaged(file)) from error


def _sentence(error: sqlite3.Error, file: Path, kept: str) -> str | None:
    code = getattr(error, "sqlite_errorcode", 0)
    held = f"and continue with --resume; the record {str(file)!r} holds {kept}"
    if code == 0 and isinstance(error, sqlite3.OperationalError):  # text that is not UTF-8
        return damaged(file)
    sentences = {
        sqlite3.SQLITE_FULL: f"the disk is full: free space {held}",
        sqlite3.SQLITE_IOERR: (
            f"the disk does not take or give data ({_name(error)}): look at free space, quota, "
            f"limit on the size of files (ulimit -f) and disk {held}"
        ),
        sqlite3.SQLITE_BUSY: (
            f"another process keeps the record {str(file)!r} locked: end it {held}"
        ),
        sqlite3.SQLITE_CORRUPT: damaged(file),
        sqlite3.SQLITE_ERROR: damaged(file),  # a table or a column is not there
        sqlite3.SQLITE_NOTADB: no_record(file),
        sqlite3.SQLITE_CANTOPEN: _why_closed(file),
        sqlite3.SQLITE_PERM: f"cannot open {str(file)!r}: look at its permissions",
        sqlite3.SQLITE_READONLY: f"cannot write to {str(file)!r}: look at its permissions",
    }
    return sentences.get(code & 0xFF)


def _why_closed(file: Path) -> str:
    """Return why a database cannot be opened, which SQLite does not tell."""
    with suppress(FileNotFoundError):
        try:
            file.open("rb").close()
        except OSError as error:
            return sentence_of(error) or f"cannot open {str(file)!r} ({error.strerror})"
    return f"cannot open {str(file)!r}: look at its permissions"


def _name(error: sqlite3.Error) -> str:
    return str(getattr(error, "sqlite_errorname", error))


def damaged(file: Path) -> str:
    """Return the sentence for a record whose content is not what was written."""
    return f"the record {str(file)!r} is damaged: name a new folder (--out), or move it away"


def no_record(file: Path) -> str:
    """Return the sentence for a file of another kind."""
    return f"{str(file)!r} is no run record: name a new folder (--out), or move it away"
