"""Run records of a spring 1 -> 4, whose free energy is known, without any dynamics."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kB

from alchemlip.records.runs import RunRecord, Sample

TEMPERATURE = 400.0
KT = kB * TEMPERATURE
RATIO = 4.0
EXACT = 1.5 * KT * np.log(RATIO)
"""Three directions of a spring 1 -> RATIO."""


def spring_windows(
    couplings: np.ndarray, samples: int, memory: float, rng: np.random.Generator
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Gradients (n,) and energies (n, K) in eV of a spring in 3D, samples correlated by memory."""
    springs = 1.0 + (RATIO - 1.0) * couplings
    gradients, energies = [], []
    for spring in springs:
        noise = rng.normal(size=(samples, 3))
        x = np.empty_like(noise)
        x[0] = noise[0]
        for n in range(1, samples):
            x[n] = memory * x[n - 1] + np.sqrt(1 - memory**2) * noise[n]
        half_square = 0.5 * KT / spring * np.square(x).sum(axis=1)
        gradients.append((RATIO - 1.0) * half_square)
        energies.append(half_square[:, None] * springs)
    return gradients, energies


DYNAMICS = {"temperature_K": TEMPERATURE}


def switching_record(
    file: Path, repeats: int, cut: bool = False, interval_fs: float = 2.0
) -> RunRecord:
    """A record of switching legs with random gradients; the last backward leg may be cut off."""
    rng = np.random.default_rng(3)
    settings = {"repeats": repeats, "interval_fs": interval_fs}
    record = RunRecord(file, "switch", {"switching": settings, "dynamics": DYNAMICS})
    couplings = np.linspace(0.0, 1.0, 101) ** 2
    for repeat in range(repeats):
        for segment, path in (("forward", couplings), ("backward", 1.0 - couplings)):
            last = cut and repeat == repeats - 1 and segment == "backward"
            count = 40 if last else len(path)
            gradients = 0.5 - path + 0.1 * rng.normal() + 0.05 * rng.normal(size=len(path))
            rows = [
                Sample(repeat, segment, n, time_fs=interval_fs * n, coupling=c, dhdl_eV=g)
                for n, (c, g) in enumerate(zip(path[:count], gradients[:count], strict=True))
            ]
            record.checkpoint(rows, {})
    return record


def window_record(file: Path, couplings: np.ndarray) -> RunRecord:
    """A record of 200 samples of a spring at each of some windows."""
    rng = np.random.default_rng(4)
    gradients, energies = spring_windows(couplings, 200, 0.5, rng)
    record = RunRecord(file, "windows", {"dynamics": DYNAMICS})
    for window, coupling in enumerate(couplings):
        rows = [
            Sample(
                0,
                "sample",
                n,
                window,
                time_fs=10.0 * n,
                coupling=float(coupling),
                dhdl_eV=float(gradients[window][n]),
                energies_eV=energies[window][n],
            )
            for n in range(200)
        ]
        record.checkpoint(rows, {})
    return record


def finished_run(folder: Path, command: str, results: dict[str, Any]) -> Path:
    """A results folder with nothing but ``result.json``."""
    folder.mkdir()
    content = {"status": "finished", "command": command, "inputs": {}, "results": results}
    (folder / "result.json").write_text(json.dumps(content))
    return folder
