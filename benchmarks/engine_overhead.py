"""Steps of the switching engine over bare evaluations of the potential, in turn.

    python benchmarks/engine_overhead.py            # results/engine_overhead.json

Blocks of switching steps through the engine (dynamics, coupling, samples and commits to the run
record) alternate with bare evaluations (energy, forces, stress where the cell moves, composition
gradient) at the very same configurations; the ratio is that of the medians of the blocks. The time is that of the processor,
on one thread, plus what the commits waited for the disk.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from ase import Atoms

from alchemlip import load_potential
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.switching import generator_of
from alchemlip.freeenergy.trajectory import Recording, Segment, run_trajectory
from alchemlip.freeenergy.transmutation import switched_calculator, transmutation
from alchemlip.mixture.compositions import with_flat_composition
from alchemlip.mixture.structure_files import read_structure
from alchemlip.records.runs import RunRecord
from environment import describe

HERE = Path(__file__).parent
STRUCTURE = HERE.parent / "examples" / "structures" / "CsPbI3_alpha.cif"
BLOCKS = 7
STEPS = 40


class Configurations:
    """Keeps where the atoms were."""

    def __init__(self) -> None:
        self.seen: list[Atoms] = []

    def observe(self, atoms: Atoms) -> None:
        self.seen.append(Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc))

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        del state


class Clock:
    """Processor time of this process and time spent waiting in commits, in seconds."""

    def __init__(self) -> None:
        self.waited = 0.0

    def __call__(self) -> float:
        return time.process_time() + self.waited

    def watch(self, record: RunRecord) -> None:
        """Count the wait in the commits of a record."""
        commit = record.checkpoint

        def timed(*args: Any, **kwargs: Any) -> None:
            wall, busy = time.perf_counter(), time.process_time()
            commit(*args, **kwargs)
            idle = time.perf_counter() - wall - (time.process_time() - busy)
            self.waited += max(0.0, idle)

        record.checkpoint = timed  # type: ignore[method-assign]


def overhead(model: str, dtype: str, cell: str, folder: Path) -> dict[str, Any]:
    potential = load_potential(model, device="cpu", dtype=dtype)
    path = transmutation(read_structure(STRUCTURE).repeat((2, 2, 2)), {"Pb": "Sn"})
    motion = DynamicsSettings(temperature_K=300.0, timestep_fs=4.0, cell=cell)  # type: ignore[arg-type]
    atoms = path.atoms()
    atoms.calc = switched_calculator(path, potential)
    neighbours = potential.neighbour_list(0.5)
    engine, bare = [], []
    clock = Clock()
    with RunRecord(folder / f"{model}-{dtype}-{cell}.sqlite", "overhead", {}) as record:
        clock.watch(record)
        for block in range(BLOCKS + 1):
            kept = Configurations()
            segment = Segment(f"block {block}", STEPS, 0.3, 0.7, "linear", derivative=True)
            begun = clock()
            run_trajectory(
                atoms,
                [segment],
                motion,
                generator_of(0, block),
                Recording(record, f"block {block}", block),
                observers={segment.name: [kept]},
            )
            middle = clock()
            for step, place in enumerate(kept.seen, start=1):
                coupling = segment.coupling(step)
                mixture = with_flat_composition(
                    path.mixture, (1 - coupling) * path.start + coupling * path.end
                )
                potential.evaluate(
                    [mixture.with_geometry(place)],
                    neighbour_lists=[neighbours],
                    stress=cell != "fixed",
                )
            # A block begins with an evaluation of its own.
            engine.append((middle - begun) / (STEPS + 1))
            bare.append((clock() - middle) / STEPS)
    engine, bare = engine[1:], bare[1:]
    return {
        "model": model,
        "dtype": dtype,
        "cell": cell,
        "atoms": len(atoms),
        "engine_s_per_step": float(np.median(engine)),
        "bare_s_per_evaluation": float(np.median(bare)),
        "ratio": float(np.median(engine) / np.median(bare)),
        "ratios_of_blocks": (np.array(engine) / np.array(bare)).round(4).tolist(),
    }


def main() -> None:
    torch.set_num_threads(1)
    rows = []
    with TemporaryDirectory() as folder:
        for model in ("chgnet", "sevennet-0"):
            for cell in ("fixed", "volume"):
                rows.append(overhead(model, "float32", cell, Path(folder)))
                print(json.dumps(rows[-1]), flush=True)
    file = HERE / "results" / "engine_overhead.json"
    file.write_text(json.dumps({"environment": describe(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
