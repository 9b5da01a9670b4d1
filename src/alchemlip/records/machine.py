"""The machine that a calculation runs on, as far as it can show in the last bits of a result."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

# Packages that have no part in where atoms go.
NO_PART = {"system", "icet", "pymatgen", "pymbar", "alchemlyb", "pandas"}


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


def what_shows_in_bits(machine: Mapping[str, Any], versions: Mapping[str, str]) -> dict[str, Any]:
    """Return by name what decides about the last bits of a sum on a CPU, as far as it is known.

    Args:
        machine: as of `describe_machine`.
        versions: of the packages.
    """
    found = {name: machine.get(name) for name in ("processor", "torch_threads")}
    found |= {name: version for name, version in versions.items() if name not in NO_PART}
    return {name: value for name, value in found.items() if value is not None}
