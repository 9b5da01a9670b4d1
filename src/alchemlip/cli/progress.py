"""How far a calculation is: a bar on a terminal, plain lines with times elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alchemlip.calculations.base import Calculation, Progress

SECONDS_BETWEEN_LINES = 30.0
"""Where the output is no terminal."""


@contextmanager
def shown_progress(calculation: Calculation) -> Iterator[Progress]:
    """Show progress on stderr; yields what is to be told."""
    from rich.console import Console

    console = Console(stderr=True)
    if console.is_terminal:
        with _bar(calculation, console) as progress:
            yield _telling_the_start(calculation, progress)
    else:
        yield _telling_the_start(calculation, _lines(calculation))


def _telling_the_start(calculation: Calculation, progress: Progress) -> Progress:
    """Say once how much was finished before."""
    first = True

    def told(done: int, total: int | None, text: str = "", /) -> None:
        nonlocal first
        if first and done > 0 and not text and total is not None:
            print(f"{done} of {total} {calculation.unit} were finished before.")
        first = False
        progress(done, total, text)

    return told


def _lines(calculation: Calculation) -> Progress:
    begun = last = monotonic()

    def progress(done: int, total: int | None, text: str = "", /) -> None:
        nonlocal last
        now = monotonic()
        if now - last < SECONDS_BETWEEN_LINES:
            return
        last = now
        of = "" if total is None else f" of {total}"
        left = ""
        if total is not None and 0 < done < total:
            left = f", about {_time((now - begun) * (total - done) / done)} left"
        said = f" ({text})" if text else ""
        print(
            f"{calculation.command}: {done}{of} {calculation.unit} after "
            f"{_time(now - begun)}{left}{said}",
            file=sys.stderr,
            flush=True,
        )

    return progress


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


@contextmanager
def _bar(calculation: Calculation, console: object) -> Iterator[Progress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    assert isinstance(console, Console)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(calculation.unit),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console) as bar:
        task = bar.add_task(calculation.command, total=None)

        def progress(done: int, total: int | None, text: str = "", /) -> None:
            said = f"{calculation.command} {escape(text)}".rstrip()
            bar.update(task, completed=done, total=total, description=said)

        yield progress
