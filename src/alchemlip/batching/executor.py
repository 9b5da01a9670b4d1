"""Independent runs that advance together: one batched evaluation for a step of all of them.

    with BatchExecutor() as executor:
        futures = [executor.submit(run, seed) for seed in range(16)]
    results = [future.result() for future in futures]

A run is any function: ASE dynamics, an optimiser, a whole calculation of this package. It is not
changed for the batch. Each has a thread of its own, of which exactly one goes at a time: when a run
asks a potential for an evaluation it pauses and the next goes on. Once all wait, what they asked
for is evaluated in as few passes of the model as memory allows, and they go on in order. So a run
sees what it would see alone: its standard output, its warning filters, its results up to the
round-off of a larger batch. Runs leave the batch when they end, and further ones take their place.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future
from contextvars import copy_context
from types import TracebackType
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from alchemlip.batching.requests import Request, answer
from alchemlip.batching.surroundings import Surroundings
from alchemlip.errors import InputError
from alchemlip.potential.turns import Wanted, set_waiting_run, waiting_run

if TYPE_CHECKING:
    from alchemlip.batching.memory import PassSize
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.evaluation import Evaluation
    from alchemlip.potential.messages import Form
    from alchemlip.potential.neighbours import NeighbourList
    from alchemlip.potential.potential import AlchemicalPotential

P = ParamSpec("P")
T = TypeVar("T")


class BatchEndedError(BaseException):
    """Raised inside runs whose executor is shut down before they end."""


def run_together(functions: Sequence[Callable[[], T]], *, most_runs: int | None = None) -> list[T]:
    """Call functions, advancing together, and return what they return, in order.

    Args:
        functions: independent of one another.
        most_runs: how many are under way at a time; by memory if None.

    Raises:
        Exception: the first function's that raised one, after all have ended. Ctrl-C ends all at
            their next evaluation.
    """
    with BatchExecutor(most_runs) as executor:
        futures = [executor.submit(function) for function in functions]
    return [future.result() for future in futures]


class BatchExecutor(Executor):
    """Runs what it is given side by side, with one batched evaluation for a step of all.

    As a context manager it waits for all runs at the end; Ctrl-C ends them at their next
    evaluation. A run must not wait for another run of the same executor, whose turn would never
    come.

    Args:
        most_runs: how many are under way at a time. If None, as many as one pass of the model has
            memory for: the first evaluation is measured, on its own, before others begin.
        torch_threads: of the evaluations; None leaves torch's own choice.

    Raises:
        InputError: if a number is below 1.
    """

    def __init__(self, most_runs: int | None = None, torch_threads: int | None = None) -> None:
        for name, value in (("most_runs", most_runs), ("torch_threads", torch_threads)):
            if value is not None and value < 1:
                raise InputError(f"{name} is {value}: give 1 or more, or None")
        self.most_runs = most_runs
        self.torch_threads = torch_threads
        self._queue: deque[BatchedRun] = deque()
        self._active: list[BatchedRun] = []
        self._sizes: dict[int, PassSize] = {}
        self._changed = threading.Condition()
        self._baton = threading.Semaphore(0)
        self._driver: threading.Thread | None = None
        self._over = threading.Event()
        self._closed = False
        self._ending = False
        self._surroundings = Surroundings.now()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Without this, a first Ctrl-C would wait for runs of hours, and a second leave them alone.
        interrupted = error is not None and not isinstance(error, Exception)
        try:
            self.shutdown(cancel_futures=interrupted)
        except BaseException:  # Ctrl-C, or what a handler of signals makes of it
            self.shutdown(cancel_futures=True)
            raise

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Queue a run and return its future.

        Raises:
            RuntimeError: after `shutdown`, or if a failure of the executor itself has ended it.
        """
        future: Future[T] = Future()
        with self._changed:
            if self._closed:
                raise RuntimeError("cannot submit after shutdown")
            self._queue.append(BatchedRun(self, future, lambda: fn(*args, **kwargs)))
            if self._driver is None:
                self._driver = threading.Thread(target=self._drive, name="batch", daemon=True)
                self._driver.start()
            self._changed.notify()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more runs.

        Args:
            wait: until all have ended.
            cancel_futures: cancel those that have not begun, and end the others at their next
                evaluation, as if interrupted.

        Raises:
            RuntimeError: if one of its own runs is to wait.
        """
        run = waiting_run()
        if wait and isinstance(run, BatchedRun) and run.belongs_to(self):
            raise RuntimeError("a run cannot wait for its own executor to shut down")
        with self._changed:
            self._closed = True
            self._ending = self._ending or cancel_futures
            self._changed.notify()
        if wait and self._driver is not None and self._driver is not threading.current_thread():
            self._over.wait()  # a join that Ctrl-C ends takes the thread for ended, too

    def _drive(self) -> None:
        try:
            self._serve()
        except BaseException as error:
            self._give_up(error)
        finally:
            self._over.set()

    def _give_up(self, error: BaseException) -> None:
        """Tell everybody who waits of an error that is no run's own."""
        with self._changed:
            self._closed = True
            queued, self._queue = list(self._queue), deque()
        for run in queued:
            if run.future.set_running_or_notify_cancel():
                run.future.set_exception(error)
        for run in self._active:
            while not run.ended:  # it may ask once more while it cleans up
                run.go(error)
                self._baton.acquire()
        self._active = []

    def _serve(self) -> None:
        if self.torch_threads is not None:
            import torch

            torch.set_num_threads(self.torch_threads)
        while True:
            self._begin()
            for run in list(self._active):
                self._advance(run)
            self._active = [run for run in self._active if not run.ended]
            if self._active:
                if not self._ending:
                    self._evaluate([run.request for run in self._active if run.request])
                continue
            with self._changed:
                if self._queue:
                    continue
                if self._closed:
                    return
                self._changed.wait()

    def _begin(self) -> None:
        """Begin runs while there is room; each goes to its first evaluation."""
        while True:
            with self._changed:
                if self._ending:
                    while self._queue:
                        future = self._queue.popleft().future
                        if future.cancel():
                            future.set_running_or_notify_cancel()  # for those in `wait`
                if not self._queue or not self._has_room():
                    return
                run = self._queue.popleft()
            try:
                begun = run.begin()
            except Exception as error:  # the system has no more threads
                run.future.set_exception(error)
                continue
            if begun:
                self._active.append(run)
                self._advance(run)
                if run.ended:
                    self._active.remove(run)

    def _has_room(self) -> bool:
        if not self._active:
            return True
        if self.most_runs is not None:
            return len(self._active) < self.most_runs
        last = self._active[-1].request
        # What has not been measured yet is measured alone.
        size = None if last is None else self._sizes.get(id(last.potential))
        if size is None or not size.measured:
            return False
        waiting = [m for run in self._active if run.request for m in run.request.mixtures]
        return size.fits([*waiting, *last.mixtures] if last is not None else waiting)

    def _advance(self, run: BatchedRun) -> None:
        """Let a run go on to its next evaluation, or its end, if it has its answer."""
        if run.request is not None and not run.answered and not self._ending:
            return
        ending = BatchEndedError("the batch was ended before this run") if self._ending else None
        run.go(ending)
        self._baton.acquire()

    def _evaluate(self, requests: Sequence[Request]) -> None:
        from alchemlip.batching.memory import PassSize

        together: dict[tuple[int, bool, Form | None], list[Request]] = {}
        for request in requests:
            key = (id(request.potential), request.wanted.forces, request.wanted.form)
            together.setdefault(key, []).append(request)
        for (identity, *_), alike in together.items():
            # Kept with the potential, so that its id is not given to another.
            size = self._sizes.setdefault(identity, PassSize(alike[0].potential))
            try:
                answer(alike, size)
            except Exception:
                # One structure that cannot be evaluated is not the others' error.
                for request in alike:
                    try:
                        answer([request], size)
                    except Exception as error:
                        request.error = error


class BatchedRun:
    """A run under way in a `BatchExecutor`."""

    def __init__(
        self, executor: BatchExecutor, future: Future[Any], function: Callable[[], Any]
    ) -> None:
        self.future = future
        self.request: Request | None = None
        self.ended = False
        self._executor = executor
        self._function = function
        self._context = copy_context()
        self._turn = threading.Semaphore(0)
        self._ended_by: BaseException | None = None
        self._surroundings = executor._surroundings

    @property
    def answered(self) -> bool:
        """Whether the evaluation that the run waits for is done."""
        assert self.request is not None
        return self.request.error is not None or bool(self.request.answers)

    def begin(self) -> bool:
        """Start the run's thread, which waits for its turn; False if it was cancelled."""
        if not self.future.set_running_or_notify_cancel():
            return False
        threading.Thread(
            target=self._context.run, args=(self._main,), name="batched run", daemon=True
        ).start()
        return True

    def belongs_to(self, executor: BatchExecutor) -> bool:
        """Whether it is a run of this executor."""
        return self._executor is executor

    def go(self, ended_by: BaseException | None) -> None:
        """Give the run its turn; with an error, that is raised where the run waits."""
        self._ended_by = ended_by
        self._turn.release()

    def evaluate(
        self,
        potential: AlchemicalPotential,
        mixtures: Sequence[Mixture],
        neighbour_lists: Sequence[NeighbourList] | None,
        wanted: Wanted,
    ) -> list[Evaluation]:
        """Ask for an evaluation and pause until it has been made with those of the other runs."""
        if not mixtures:
            return []
        self.request = Request(potential, mixtures, neighbour_lists, wanted)
        self._surroundings = Surroundings.now()
        self._executor._surroundings.restore()
        self._executor._baton.release()
        self._take_turn()
        request, self.request = self.request, None
        if request.error is not None:
            raise request.error
        return [answer for answer in request.answers if answer is not None]

    def _take_turn(self) -> None:
        self._turn.acquire()
        self._surroundings.restore()
        if self._ended_by is not None:
            raise self._ended_by

    def _main(self) -> None:
        set_waiting_run(self)
        result, error = None, None
        try:
            self._take_turn()
            result = self._function()
        except BaseException as raised:
            error = raised
        # What is called when the future is done is no part of the run.
        set_waiting_run(None)
        self.ended = True
        try:
            self._executor._surroundings.restore()
            if error is None:
                self.future.set_result(result)
            else:
                self.future.set_exception(error)
        finally:
            self._executor._baton.release()
