"""Whether a folder can hold results: writing, file locks, syncing, space."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import perf_counter

from alchemlip.errors import FolderInUseError, InputError
from alchemlip.files import write_atomically
from alchemlip.records.results import lock_folder

LITTLE_SPACE_GIB = 1.0
SLOW_SYNC_MS = 100.0


@dataclass(frozen=True)
class FolderState:
    """What results in a folder can rely on.

    Attributes:
        path: of the folder.
        locks: whether a second process is kept out of a results folder.
        records: whether a run record can be written.
        sync_ms: median time until a small file is on the disk; None if it cannot be written.
        free_GiB: space left.
        problems: sentences on what keeps results from being written safely.
        remarks: sentences on what may get in the way.
    """

    path: str
    locks: bool
    records: bool
    sync_ms: float | None
    free_GiB: float
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def folder_state(folder: Path) -> FolderState:
    """Try out what a calculation does in its results folder, in a temporary one that is removed.

    Args:
        folder: in which results are to be written.
    """
    problems: list[str] = []
    remarks: list[str] = []
    locks = records = False
    sync_ms = None
    name = str(folder)
    free_GiB = shutil.disk_usage(folder).free / 2**30
    try:
        with tempfile.TemporaryDirectory(prefix=".alchemlip-doctor-", dir=folder) as name:
            place = Path(name)
            sync_ms = _sync_ms(place)
            locks = _locks_hold(place)
            records = _record_works(place)
    except InputError as error:
        problems.append(str(error).replace(repr(name), repr(str(folder))))
    except (OSError, sqlite3.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.append(
            f"cannot write to the folder {str(folder)!r} ({reason}): work in another folder, or "
            "name one (--out)"
        )
    else:
        if not locks:
            problems.append(
                f"the file system of the folder {str(folder)!r} lets two processes hold one lock: "
                "work in a folder on another one, or have it mounted with locks"
            )
    if free_GiB < LITTLE_SPACE_GIB:
        remarks.append(f"only {free_GiB:.2f} GiB are free in {str(folder)!r}: make space there")
    if sync_ms is not None and sync_ms > SLOW_SYNC_MS:
        remarks.append(
            f"writing to the disk of {str(folder)!r} takes {sync_ms:.0f} ms a time: for free "
            "energies raise --checkpoint-interval, or work on a local disk"
        )
    return FolderState(
        str(folder), locks, records, sync_ms, free_GiB, tuple(problems), tuple(remarks)
    )


def _sync_ms(place: Path) -> float:
    times = []
    for _ in range(5):
        start = perf_counter()
        write_atomically(place / "file", b"content\n")
        times.append(1e3 * (perf_counter() - start))
    return median(times)


def _locks_hold(place: Path) -> bool:
    """Tell whether a lock that is held is refused to another handle of the same file."""
    with ExitStack() as held:
        held.callback(lock_folder(place, "lock").release)
        try:
            held.callback(lock_folder(place, "lock").release)
        except FolderInUseError:
            return True
    return False


def _record_works(place: Path) -> bool:
    from alchemlip.records.runs import RunRecord

    with RunRecord(place / "run.sqlite", "doctor", {}) as record:
        record.note("works", True)
        return record.noted("works") is True
