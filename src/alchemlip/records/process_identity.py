"""Which process is at work: its host, number and start, so that a dead one is told from a live one.

Numbers of processes are given again; together with the start they are not.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def this_process() -> dict[str, Any]:
    """Return what a record notes of this process: ``host``, ``process`` and ``process_start``."""
    number = os.getpid()
    return {"host": socket.gethostname(), "process": number, "process_start": start_of(number)}


def is_alive(noted: Mapping[str, Any]) -> bool | None:
    """Tell whether a process on record is still there; None where that cannot be told from here.

    Args:
        noted: what `this_process` returned there and then.
    """
    number = noted.get("process")
    if not isinstance(number, int) or noted.get("host") != socket.gethostname():
        return None
    now = start_of(number)
    before = noted.get("process_start")
    if now is None:
        return _answers(number)
    return before is None or now == before


def start_of(number: int) -> str | None:
    """Return when a process began, in words of this system; None if it is gone, or not told."""
    try:
        text = Path(f"/proc/{number}/stat").read_text()
        # The name, in brackets, may hold anything; the 22nd field is the start since boot.
        state, *fields = text.rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if state == "Z" else f"{fields[18]} {boot}"
    except (OSError, IndexError):
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        found = subprocess.run(
            ["ps", "-o", "lstart=", "-p", str(number)], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return found.stdout.strip() or None


def _answers(number: int) -> bool:
    if Path("/proc/self/stat").exists():
        return False  # this system would have told its start
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
