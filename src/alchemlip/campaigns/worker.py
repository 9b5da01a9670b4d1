"""What a worker does with one run: the calculation itself, in this process."""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import (
    AbstractContextManager,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from alchemlip.campaigns.expansion import checksum
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.errors import FolderInUseError, InputError
from alchemlip.failures import sentence_of
from alchemlip.files import open_to_append
from alchemlip.records.process_identity import this_process
from alchemlip.signals import EndedBySignalError, ending_on_signals

if TYPE_CHECKING:
    from alchemlip.batching.executor import BatchExecutor
    from alchemlip.calculations.base import Progress
    from alchemlip.calculations.result import Result
    from alchemlip.potential.potential import AlchemicalPotential

PATIENCE_S = 7.0
Ending = Literal["finished", "failed", "busy"]


@dataclass(frozen=True)
class Job:
    """A run as it travels to a worker.

    Attributes:
        folder: of the campaign, as every worker sees it.
        name: of the run.
        command: name of the calculation.
        settings: of it, paths absolute.
        threads: of torch; None leaves them.
        files: its input files, each with its checksum when the campaign was put on record.
        batch: most runs that advance together in a process; 0 for as many as memory allows, None
            for one by one.
    """

    folder: str
    name: str
    command: str
    settings: Mapping[str, Any]
    threads: int | None = None
    files: tuple[tuple[str, str], ...] = ()
    batch: int | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended: ``busy`` if another process is still at it."""

    name: str
    ending: Ending
    seconds: float
    error: str = ""


def perform(job: Job) -> Outcome:
    """Run a job, or what is left of it; every error is an outcome.

    The beginning and the end are noted in the campaign's folder, so that what a lost worker was at
    is known.
    """
    folder = CampaignFolder(job.folder)
    begun = time.perf_counter()
    ending: Ending = "finished"
    error = ""
    folder.note(job.name, "begun", **this_process())
    try:
        _limit_threads(job.threads)
        _check_files(job.files)
        with _logged(folder.log(job.name)):
            print(run_calculation(job.command, job.settings, folder.results(job.name)))
        if not folder.finished(job.name):
            ending, error = "failed", "the command ended without a result"
    except FolderInUseError as reason:
        ending, error = "busy", str(reason)
    except Exception as reason:  # whatever it is, the other runs go on
        ending, error = "failed", sentence(reason)
    except BaseException as reason:
        folder.note(job.name, "interrupted")
        if isinstance(reason, EndedBySignalError) and _DOOMED:
            os._exit(128 + reason.number)  # what a pool makes of it would end the campaign
        raise
    # A run that another process is at was not tried.
    event = "interrupted" if ending == "busy" else ending
    folder.note(job.name, event, **({"error": error} if error else {}))
    return Outcome(job.name, ending, time.perf_counter() - begun, error)


def perform_together(job: Job) -> Outcome:
    """Run a job side by side with those that other threads of this process are at."""
    return _batch(job.batch or None, job.threads).submit(perform, job).result()


def end_batches() -> None:
    """End what `perform_together` is at, as if interrupted; wait until records are closed."""
    with _MAKING:  # a batch may be made in this moment
        batches = list(_BATCHES.values())
        _BATCHES.clear()
    for batch in batches:
        batch.shutdown(cancel_futures=True)


def run_calculation(
    command: str, settings: Mapping[str, Any], out: Path, progress: Progress | None = None
) -> Result:
    """Run a calculation in this process; potentials are loaded once.

    Args:
        command: its name.
        settings: of it, paths absolute.
        out: results folder.
        progress: is told how far it is.
    """
    from alchemlip.backends.loading import keeping_potentials
    from alchemlip.calculations import calculation
    from alchemlip.calculations.base import silent

    with _alone(), keeping_potentials(_kept_potentials()):
        return calculation(command)(**settings).run(out, progress or silent)


def sentence(error: BaseException) -> str:
    """Return what an error says to a person."""
    known = str(error) if isinstance(error, InputError) else sentence_of(error)
    if known is not None:
        return known
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


# Entered for good by a worker process, so that its runs are noted as interrupted.
_DOOMED: list[AbstractContextManager[Any]] = []


def watch_parent(parent: int, stop: Any = None) -> None:
    """End this process soon after the one that started it, however that ended.

    Args:
        parent: number of the process that started this one.
        stop: event at which this process ends its run as interrupted, at once.
    """
    if stop is not None and threading.current_thread() is threading.main_thread():
        _DOOMED.append(ending_on_signals())
        _DOOMED[-1].__enter__()

    def watch() -> None:
        while os.getppid() == parent:
            if stop is None:
                time.sleep(1.0)
            elif stop.wait(0.5):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(PATIENCE_S)  # for a step to end, and the record to be closed
                break
        os._exit(1)  # a run goes on from its record

    threading.Thread(target=watch, daemon=True).start()


_BATCHES: dict[tuple[int | None, int | None], BatchExecutor] = {}
_MAKING = threading.Lock()


def _batch(most_runs: int | None, torch_threads: int | None) -> BatchExecutor:
    """Return the batch of this process, for which its threads wait."""
    from alchemlip.batching.executor import BatchExecutor

    with _MAKING:
        key = (most_runs, torch_threads)
        if key not in _BATCHES:
            _BATCHES[key] = BatchExecutor(most_runs, torch_threads)
        return _BATCHES[key]


@cache
def _kept_potentials() -> dict[str, AlchemicalPotential]:
    """Return what this worker has loaded."""
    return {}


@contextmanager
def _alone() -> Iterator[None]:
    """Keep ASE from waiting for other processes of MPI, each of which has a run of its own."""
    from ase.parallel import DummyMPI, world

    before = world.comm
    world.comm = DummyMPI()
    try:
        yield
    finally:
        world.comm = before


def _limit_threads(threads: int | None) -> None:
    if threads is not None:
        import torch

        torch.set_num_threads(threads)


def _check_files(files: Sequence[tuple[str, str]]) -> None:
    """Refuse files that were changed while the campaign ran."""
    for file, before in files:
        try:
            state = os.stat(file)
        except OSError as error:
            raise InputError(f"cannot read {file!r} ({error.strerror}): check the path") from error
        if _checksum(file, state.st_mtime_ns, state.st_size) != before:
            raise InputError(
                f"{file!r} was changed while the campaign ran: put it back, and run the campaign "
                "with --retry, or start another one (--out)"
            )


@cache
def _checksum(file: str, modified: int, size: int) -> str:
    del modified, size  # of which the answer is kept
    return checksum(Path(file))


@contextmanager
def _logged(file: Path) -> Iterator[None]:
    """Send what is printed to a file."""
    with (
        os.fdopen(open_to_append(file), "w", encoding="utf-8") as log,
        redirect_stdout(log),
        redirect_stderr(log),
        warnings.catch_warnings(),
    ):
        yield
