"""Where runs go: lanes of `concurrent.futures.Executor`, each renewed when it breaks."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from alchemlip.campaigns.worker import watch_parent
from alchemlip.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")


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
        check: raises `InputError` if what the executor relies on is gone for good; called when a
            run was lost.
        watch: raises `InputError` if the executor will never begin a run; called while none ends.
        lost: errors of the executor that say no more than that workers died.
        ended: called after the executor was shut down.
        interrupt: ends the runs under way within seconds, as interrupted; called when the campaign
            is.
    """

    make: Callable[[], Executor]
    width: int = 1
    check: Callable[[], None] = lambda: None
    watch: Callable[[], None] = lambda: None
    lost: tuple[type[Exception], ...] = ()
    ended: Callable[[], None] = lambda: None
    interrupt: Callable[[], None] = lambda: None


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

    context = multiprocessing.get_context("spawn")
    stop = context.Event()

    def make() -> Executor:
        return ProcessPoolExecutor(
            1, mp_context=context, initializer=watch_parent, initargs=(os.getpid(), stop)
        )

    return [Lane(make, interrupt=stop.set) for _ in range(workers)]
