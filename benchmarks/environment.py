"""The machine and the versions that a result was made with."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from alchemlip.results import versions


def describe() -> dict[str, str]:
    """Return processor, cores, memory, torch threads and package versions as plain text."""
    import torch

    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        processor = names[0].partition(":")[2].strip() if names else processor
    found = versions()
    return {
        "processor": processor,
        "cores": str(os.cpu_count()),
        "torch_threads": str(torch.get_num_threads()),
        **{key: value for key, value in found.items() if key != "system"},
    }


def as_markdown(environment: dict[str, str]) -> str:
    """Return one line for a page."""
    packages = ("alchemlip", "torch", "sevenn", "mace-torch", "chgnet", "e3nn", "ase", "numpy")
    listed = ", ".join(f"{name} {environment[name]}" for name in packages if name in environment)
    return (
        f"Machine: {environment['cores']} cores ({environment['processor']}), "
        f"{environment['torch_threads']} torch threads. Python {environment['python']}, {listed}."
    )
