"""``alchemlip watch``: a running calculation, live in the terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.reporting.watching import Snapshot

MOST_PARTS = 12
STYLES = {
    "running": "cyan",
    "finished": "green",
    "failed": "red",
    "interrupted": "yellow",
    "stopped": "yellow",
}

Folder = Annotated[Path, typer.Argument(help="Results folder of a run, or folder of a campaign.")]
Once = Annotated[bool, typer.Option("--once", help="Print how things stand, and end.")]
LONGEST_INTERVAL_S = 86400.0
Interval = Annotated[float, typer.Option("--interval", help="Seconds between looks.")]


def command(folder: Folder, once: Once = False, interval: Interval = 1.0) -> None:
    """Show a calculation while it runs: progress, last values, estimate so far, time left.

    It only reads, and ends with q, Ctrl-C, or the calculation.

    Example: alchemlip watch transmute-CsPbI3
    """
    from rich.console import Console
    from rich.live import Live

    from alchemlip.reporting.watching import Watch

    if not 0.0 < interval <= LONGEST_INTERVAL_S:
        raise InputError(
            f"--interval {interval:g} cannot be used: give a number above 0, at most "
            f"{LONGEST_INTERVAL_S:g} (s)"
        )
    console = Console()
    watch = Watch(folder)
    snapshot = watch.look()
    speed = Speed()
    if once or snapshot.ended:
        console.print(frame(snapshot, speed.of(snapshot, time.time()), time.time()))
        return
    with pressed_keys() as pressed, Live(console=console, auto_refresh=False) as live:
        try:
            while True:
                now = time.time()
                live.update(frame(snapshot, speed.of(snapshot, now), now), refresh=True)
                if snapshot.ended or "q" in pressed(interval):
                    return
                snapshot = watch.look()
        except KeyboardInterrupt:
            return


class Speed:
    """Points or steps a second: since the first look, or over the whole run where that is known."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def of(self, snapshot: Snapshot, now: float) -> float | None:
        """Return the speed; None where it cannot be told yet."""
        progress = snapshot.progress
        if progress is None or snapshot.ended:
            return None
        if self._first is None:
            self._first = (now, progress.done)
        since, before = self._first
        if progress.done > before and now > since:
            return (progress.done - before) / (now - since)
        if snapshot.started is not None and progress.done and now > snapshot.started:
            return progress.done / (now - snapshot.started)
        return None


def frame(snapshot: Snapshot, speed: float | None, now: float) -> Any:
    """Return one picture of a calculation for the terminal.

    Args:
        snapshot: how things stand.
        speed: points or steps a second, if known.
        now: seconds since 1970.
    """
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    title = Text(snapshot.name, style="bold")
    title.append(f"  {snapshot.command}  ", style="dim")
    title.append(snapshot.status, style=STYLES.get(snapshot.status, ""))
    lines: list[Any] = [title]
    if snapshot.reason:
        lines.append(Text(snapshot.reason, style=STYLES.get(snapshot.status, "")))
    progress = snapshot.progress
    if progress is not None:
        bar = Table.grid()  # a bar by itself does not end its line
        bar.add_row(ProgressBar(total=max(1, progress.total), completed=progress.done, width=48))
        lines.append(bar)
        words = f"{progress.done} of {progress.total} {progress.unit}, {progress.fraction:.0%}"
        if speed:
            left = (progress.total - progress.done) / speed
            pace = f"{speed:.3g} {progress.unit}/s"
            if speed < 0.5:
                pace = f"{1 / speed:.3g} s for one of the {progress.unit}"
            words += f"; {pace}; about {duration(left)} left"
        lines.append(Text(words))
    table = Table.grid(padding=(0, 3))
    for name, value in (*snapshot.values, *snapshot.estimate):
        table.add_row(Text(name, style="dim"), Text(value))
    if table.row_count:
        lines.append(table)
    for name, text, fraction in snapshot.parts[:MOST_PARTS]:
        share = "" if fraction is None else f"{fraction:.0%}  "
        lines.append(Text(f"  {name}  {share}{text}"))
    if len(snapshot.parts) > MOST_PARTS:
        lines.append(Text(f"  and {len(snapshot.parts) - MOST_PARTS} more"))
    if not snapshot.ended and snapshot.changed:
        ago = duration(max(0.0, now - snapshot.changed))
        lines.append(Text(f"last written {ago} ago; q ends this view", style="dim"))
    return Group(*lines)


def duration(seconds: float) -> str:
    """Return a time as people say it: 45 s, 12 min, 3.5 h, 2.1 days."""
    for limit, divisor, unit, form in (
        (120.0, 1.0, "s", ".0f"),
        (7200.0, 60.0, "min", ".0f"),
        (172800.0, 3600.0, "h", ".1f"),
    ):
        if seconds < limit:
            return f"{seconds / divisor:{form}} {unit}"
    return f"{seconds / 86400.0:.1f} days"


@contextmanager
def pressed_keys() -> Iterator[Callable[[float], str]]:
    """Yield a function that waits so many seconds for keys and returns those pressed.

    Where the standard input is no terminal it only waits.
    """
    try:
        import termios
        import tty
    except ImportError:  # not a Unix
        termios = None  # type: ignore[assignment]
    if termios is None or not sys.stdin.isatty():

        def wait(seconds: float) -> str:
            time.sleep(seconds)
            return ""

        yield wait
        return
    import os
    import select

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)

    def read(seconds: float) -> str:
        ready, _, _ = select.select([number], [], [], seconds)
        return os.read(number, 64).decode(errors="replace") if ready else ""

    tty.setcbreak(number)
    try:
        yield read
    finally:
        termios.tcsetattr(number, termios.TCSADRAIN, before)
