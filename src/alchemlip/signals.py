"""SIGTERM and SIGHUP as an orderly end: the run is interrupted, and its record says by what."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

REASONS = {
    "SIGTERM": "ended by SIGTERM (kill, a time limit, a shutdown)",
    "SIGHUP": "ended by SIGHUP (its terminal was closed)",
}


class EndedBySignalError(KeyboardInterrupt):
    """The process was asked to end, as by Ctrl-C."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(REASONS[signal.Signals(number).name])


class Received:
    """The signal that a block received, if any."""

    number: int | None = None


@contextmanager
def ending_on_signals() -> Iterator[Received]:
    """Raise `EndedBySignalError` in the block when the process is asked to end.

    A signal that the process was started to ignore, as by nohup, stays ignored; in other threads
    than the main one, which receives signals, the block runs as it is.
    """
    received = Received()
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def end(number: int, _: FrameType | None) -> None:
        received.number = number
        raise EndedBySignalError(number)

    before = {}
    for name in REASONS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, end)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
