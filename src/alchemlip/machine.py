"""The machine that a calculation runs on, as far as it can show in the last bits of a result."""

from __future__ import annotations

import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any


def describe_machine() -> dict[str, Any]:
    """Return the name of the machine, its processor, and torch's number of CPU threads.

    The number of threads is None as long as torch is not loaded.
    """
    torch = sys.modules.get("torch")
    return {
        "machine": platform.node(),
        "processor": processor_name(),
        "torch_threads": torch.get_num_threads() if torch else None,
    }


@cache
def processor_name() -> str:
    """Return the processor's name, or its architecture where the system tells no name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
