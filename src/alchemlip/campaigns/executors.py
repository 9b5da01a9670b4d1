"""Where runs go: lanes of `concurrent.futures.Executor`, each renewed when it breaks."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from alchemlip.campaigns.worker import watch_parent
from alchemlip.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")

PATIENCE_S = 10.0


class InThisProcess(Executor):
    """Runs what it is given at once, in the process that submits it."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function and return its finished future."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@dataclass(frozen=True)
class Lane:
    """An executor that can be made again, and how much it is given at once.

    Attributes:
        make: makes the executor.
        width: how many runs are submitted at a time.
        check: raises `InputError` if what the executor relies on is gone for good.
    """

    make: Callable[[], Executor]
    width: int = 1
    check: Callable[[], None] = lambda: None


def in_this_process() -> list[Lane]:
    """Return the lane of one run after another."""
    return [Lane(InThisProcess)]


def processes(workers: int) -> list[Lane]:
    """Return a lane for each worker process of this machine.

    A pool of one process each: where a process dies, it is known which run it was at, and the
    others go on. Processes are spawned, since torch's threads do not survive a fork, and end with
    this one.
    """
    if workers < 1:
        raise InputError(f"--workers {workers} cannot be used: give at least 1")

    def make() -> Executor:
        return ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=watch_parent,
            initargs=(os.getpid(),),
        )

    return [Lane(make) for _ in range(workers)]


@contextmanager
def dask_cluster(address: str, width: int | None = None) -> Iterator[list[Lane]]:
    """Connect to a Dask scheduler and yield its lane.

    Args:
        address: of the scheduler, such as ``tcp://127.0.0.1:8786``.
        width: runs submitted at a time; twice the threads of all workers if None.

    Raises:
        InputError: if Dask is missing or the scheduler does not answer.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(
            "--scheduler needs the package distributed: install alchemlip with the extra [campaign]"
        ) from error
    try:
        client: Any = Client(address, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"the Dask scheduler {address!r} does not answer: start one (dask scheduler), and give "
            "its address such as tcp://127.0.0.1:8786"
        ) from error
    try:
        threads = sum(client.nthreads().values())

        def make() -> Executor:
            executor: Executor = client.get_executor(pure=False)
            return executor

        def check() -> None:
            try:
                client.scheduler_info(n_workers=0)
                answers = client.sync(client.scheduler.identity, n_workers=0) is not None
            except Exception:  # whatever a broken connection raises
                answers = False
            if not answers or client.status != "running":
                raise InputError(
                    f"the Dask scheduler {address!r} no longer answers: start it and its workers "
                    "again, and run the campaign again; what is finished is kept"
                )

        yield [Lane(make, width or max(2 * threads, 8), check)]
    finally:
        client.close()
