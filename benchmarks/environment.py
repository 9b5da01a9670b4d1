"""The machine and the versions that a result was made with."""

from __future__ import annotations

import os

from alchemlip.records.machine import processor_name
from alchemlip.records.results import versions


def describe() -> dict[str, str]:
    """Return processor, cores, memory, torch threads and package versions as plain text."""
    import torch

    found = versions()
    return {
        "processor": processor_name(),
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
