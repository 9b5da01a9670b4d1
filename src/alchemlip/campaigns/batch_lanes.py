"""Lanes whose processes advance several runs together (`alchemlip.batching.executor`)."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from typing import Any, ParamSpec, TypeVar

from alchemlip.calculations.fields import shown
from alchemlip.campaigns.executors import Lane
from alchemlip.campaigns.worker import end_batches, watch_parent
from alchemlip.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")

MOST_TOGETHER = 99_999
MOST_RUNS = 128
"""Given to a process at a time where memory decides how many of them are under way."""


def batch_size(text: str) -> int | None:
    """Return what ``--batch`` asks for: None for runs one by one, 0 for as many as memory allows.

    Raises:
        InputError: if it is neither a number nor ``auto``.
    """
    if text == "auto":
        return 0
    if text.isdecimal() and len(text) <= len(str(MOST_TOGETHER)) and int(text) > 0:
        return None if int(text) == 1 else int(text)
    raise InputError(f"--batch {shown(text)} cannot be used: give a number of runs, or auto")


def runs_under_way(batch: int | None) -> int:
    """Return how many runs a process is given at a time, each with a thread of its own.

    Args:
        batch: as `batch_size` returns it.
    """
    return 1 if batch is None else batch or MOST_RUNS


def lanes_of_batches(workers: int, batch: int) -> list[Lane]:
    """Return lanes whose runs advance together, with one evaluation of the potential for a step.

    Args:
        workers: processes on this machine; 0 for this one alone.
        batch: most runs under way in a process; 0 for as many as memory allows.
    """
    width = runs_under_way(batch)
    if workers:
        stop = multiprocessing.get_context("spawn").Event()
        return [
            Lane(lambda: ThreadsOfProcess(width, stop), width, interrupt=stop.set)
            for _ in range(workers)
        ]
    return [Lane(lambda: ThreadPoolExecutor(width), width, ended=end_batches)]


class ThreadsOfProcess(Executor):
    """A pool of threads in another process, which ends with this one.

    Args:
        threads: how many.
        stop: event that ends its runs, as if interrupted, and the process.
    """

    def __init__(self, threads: int, stop: Any = None) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, threads, os.getpid(), stop))
        self._process.start()
        theirs.close()
        self._futures: dict[int, Future[Any]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._broken = self._closed = False
        threading.Thread(target=self._listen, daemon=True).start()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Send a function there; its future breaks if the process is lost."""
        future: Future[T] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("cannot submit after shutdown")
            if self._broken:
                raise BrokenExecutor("the process of this executor is lost")
            number = next(self._numbers)
            self._futures[number] = future
            future.set_running_or_notify_cancel()
            try:
                self._connection.send((number, fn, args, kwargs))
            except OSError as error:
                del self._futures[number]
                raise BrokenExecutor("the process of this executor is lost") from error
            except Exception:  # what cannot be pickled was not sent
                del self._futures[number]
                raise
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the process: at once with ``cancel_futures``, else when its runs have ended."""
        with self._lock:
            if not self._closed and not self._broken:
                with suppress(OSError):  # gone already
                    self._connection.send(None)
            self._closed = True
        if cancel_futures:
            self._process.terminate()
        if wait:
            self._process.join()

    def _listen(self) -> None:
        while True:
            try:
                number, result, error = self._connection.recv()
            except (EOFError, OSError):
                break
            with self._lock:
                future = self._futures.pop(number)
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)
        with self._lock:
            self._broken = True
            lost, self._futures = self._futures, {}
        for future in lost.values():
            future.set_exception(BrokenExecutor("the process of this executor was lost"))


def _serve(connection: Connection, threads: int, parent: int, stop: Any = None) -> None:
    watch_parent(parent, stop)
    sending = threading.Lock()

    def answer(number: int, future: Future[Any]) -> None:
        error = future.exception()
        if error is not None and not isinstance(error, Exception):
            return  # an end from outside: the other side sees that this process ends
        content = (number, None if error else future.result(), error)
        with sending, suppress(OSError):  # the other end is gone
            connection.send_bytes(_pickled(content))

    pool = ThreadPoolExecutor(threads)
    try:
        while (message := connection.recv()) is not None:
            number, fn, args, kwargs = message
            pool.submit(fn, *args, **kwargs).add_done_callback(partial(answer, number))
        pool.shutdown()  # an end from outside may come while the last runs are waited for
    except (EOFError, OSError, KeyboardInterrupt):  # the other end is gone, or ends
        end_batches()
    finally:
        pool.shutdown()


def _pickled(content: tuple[int, Any, Exception | None]) -> bytes:
    """Return an answer that the other side can read: nobody would wake who waits for another."""
    try:
        data = bytes(ForkingPickler.dumps(content))
        pickle.loads(data)  # errors with arguments of their own fail here
    except Exception as reason:
        number, _, error = content
        told = reason if error is None else error
        return bytes(ForkingPickler.dumps((number, None, RuntimeError(_words(told)))))
    return data


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
