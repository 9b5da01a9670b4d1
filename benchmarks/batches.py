"""Throughput of independent runs advancing together over the same runs one by one.

    python benchmarks/batches.py                                     # SevenNet-0 and CHGNet
    python benchmarks/batches.py --model sevennet-0 --device cuda
    python benchmarks/batches.py --model random-mace                 # where mace-torch is installed

Three jobs, each timed both ways in turn: a scan of 66 compositions of (Li,Na,K)Cl, 8 atoms, every
one relaxed from the same start; 16 repeats of NVT dynamics, CsPbI3-CsSnI3, 40 atoms, each with its
own record; 16 replica-exchange windows, NaCl-KCl, 8 atoms. With random weights, which do not hold a
crystal together, 66 evaluations stand for the relaxations and nothing moves. Ratios are of medians.
Writes results/batches.json and batches.md; rows of other models and devices stay.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from alchemlip import AlchemicalPotential, Mixture, load_potential
from alchemlip.batching.executor import run_together
from alchemlip.crystal.relaxation import RelaxationResult, relax
from alchemlip.crystal.scanning import composition_grid
from alchemlip.freeenergy import windows
from alchemlip.freeenergy.coupled_batch import evaluate_batch
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.switching import generator_of
from alchemlip.freeenergy.trajectory import Recording, Segment, run_trajectory
from alchemlip.freeenergy.transmutation import switched_calculator, transmutation
from alchemlip.mixture.compositions import with_flat_composition
from alchemlip.mixture.structure_files import read_structure
from alchemlip.records.runs import RunRecord
from environment import as_markdown, describe
from pages import table

HERE = Path(__file__).parent
STRUCTURES = HERE.parent / "examples" / "structures"
RESULTS = HERE / "results" / "batches.json"
REPEATS = 16
STEPS = 5
RANDOM = "random-mace"

Job = Callable[[], Any]


def ternary(structure: str, mixed: str, species: tuple[str, ...]) -> list[Mixture]:
    """The 66 compositions of a triangle."""
    atoms = read_structure(STRUCTURES / structure).to_atoms()
    return [
        Mixture.from_elements(atoms, {mixed: dict(zip(species, x, strict=True))})
        for x in composition_grid(3, 11).tolist()
    ]


def scan_job(potential: AlchemicalPotential) -> tuple[Job, Job]:
    mixtures = ternary("NaCl.cif", "Na", ("Li", "Na", "K"))

    def one(mixture: Mixture) -> RelaxationResult:
        return relax(mixture, potential, fmax=0.01, smax=0.05)

    return (
        lambda: [one(mixture) for mixture in mixtures],
        lambda: run_together([partial(one, mixture) for mixture in mixtures]),
    )


def evaluation_job(potential: AlchemicalPotential) -> tuple[Job, Job]:
    mixtures = ternary("NaCl.cif", "Na", ("Li", "Na", "K"))
    return (
        lambda: [potential.evaluate(mixture) for mixture in mixtures],
        lambda: run_together([partial(potential.evaluate, mixture) for mixture in mixtures]),
    )


def dynamics_job(potential: AlchemicalPotential) -> tuple[Job, Job]:
    mixture = read_structure(STRUCTURES / "CsPbI3_alpha.cif").repeat((2, 2, 2))
    path = transmutation(mixture, {"Pb": "Sn"})
    dynamics = DynamicsSettings(temperature_K=300.0)
    segment = Segment("forward", STEPS, 0.0, 1.0, derivative=True)

    def one(folder: str, repeat: int) -> None:
        atoms = with_flat_composition(path.mixture, path.start).to_atoms()
        atoms.calc = switched_calculator(path, potential)
        file = Path(folder) / f"{repeat}.sqlite"
        with RunRecord(file, "benchmark", {"repeat": repeat}) as record:
            recording = Recording(record, "repeat 0", 0)
            run_trajectory(atoms, [segment], dynamics, generator_of(0, repeat), recording)

    def alone() -> None:
        with TemporaryDirectory() as folder:
            for repeat in range(REPEATS):
                one(folder, repeat)

    def together() -> None:
        with TemporaryDirectory() as folder:
            run_together([partial(one, folder, repeat) for repeat in range(REPEATS)])

    return alone, together


def windows_job(potential: AlchemicalPotential) -> tuple[Job, Job]:
    path = transmutation(read_structure(STRUCTURES / "NaCl.cif"), {"Na": "K"})
    settings = windows.WindowSettings(
        couplings=REPEATS, equilibration_steps=STEPS, sampling_steps=STEPS, exchange_interval=STEPS
    )

    def sample() -> None:
        atoms = with_flat_composition(path.mixture, path.start).to_atoms()
        calculator = switched_calculator(path, potential)
        with (
            TemporaryDirectory() as folder,
            RunRecord(Path(folder) / "run.sqlite", "benchmark", {}) as record,
        ):
            dynamics = DynamicsSettings(temperature_K=300.0)
            windows.sample_windows(atoms, calculator, dynamics, settings, record)

    def one_by_one(atoms: Any, calculators: Any, couplings: Any, **wanted: bool) -> Any:
        return [
            evaluate_batch([a], [c], [x], **wanted)[0]
            for a, c, x in zip(atoms, calculators, couplings, strict=True)
        ]

    def alone() -> None:
        windows.evaluate_batch = one_by_one  # type: ignore[assignment]
        try:
            sample()
        finally:
            windows.evaluate_batch = evaluate_batch

    return alone, sample


def seconds(job: Job, clock: Callable[[], float], device: str) -> float:
    begun = clock()
    job()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return clock() - begun


def compared(jobs: tuple[Job, Job], rounds: int, device: str) -> dict[str, float]:
    """Return medians of both ways, timed in turn."""
    # Where other processes share the cores, the wall clock counts their work too.
    clock = time.perf_counter if device.startswith("cuda") else time.process_time
    times = np.array([[seconds(job, clock, device) for job in jobs] for _ in range(rounds)])
    alone, together = np.median(times, axis=0).tolist()
    return {"alone_s": alone, "together_s": together, "ratio": alone / together}


def load(name: str, device: str, dtype: str) -> AlchemicalPotential:
    if name != RANDOM:
        return load_potential(name, device=device, dtype=dtype)
    from mace_cost import MODELS, potential_of, random_model

    return potential_of(random_model(MODELS["small"]), "small", True, device)


def page(record: dict[str, Any]) -> str:
    rows = [
        [row["model"], row["dtype"], row["device"], row["job"]]
        + [f"{row[key]:.1f}" for key in ("alone_s", "together_s")]
        + [f"{row['ratio']:.2f}"]
        for row in record["rows"]
    ]
    head = ["potential", "dtype", "device", "job", "one by one, s", "together, s", "ratio"]
    return f"""# Runs that advance together

Made by `python benchmarks/batches.py`, which says what the jobs are. On a CPU the time is that of the
processor, on one thread: work that is saved, not cores that are used.

{table(head, rows)}

A batch saves what a pass of the model costs apart from its arithmetic. On one CPU thread that is two
thirds of a small cell's time with MACE, less than half with CHGNet and a fifth at most with SevenNet, which
are bound by arithmetic from eight atoms on: there, use the cores first
(`alchemlip campaign run FILE --workers N`).

{as_markdown(record["environment"])}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    record = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"rows": []}
    for name in chosen.model or ["sevennet-0", "chgnet"]:
        potential = load(name, chosen.device, chosen.dtype)
        jobs = {
            "66 relaxations of 8 atoms": scan_job,
            "16 NVT repeats of 40 atoms": dynamics_job,
            "16 windows of 8 atoms": windows_job,
        }
        if name == RANDOM:
            jobs = {"66 evaluations of 8 atoms": evaluation_job}
        for title, make in jobs.items():
            row = {"model": name, "dtype": chosen.dtype, "device": chosen.device, "job": title}
            found = compared(make(potential), chosen.rounds, chosen.device)
            print(row, found, flush=True)
            kept = [old for old in record["rows"] if any(old[key] != row[key] for key in row)]
            record = {"environment": describe(), "rows": [*kept, {**row, **found}]}
            RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    (HERE / "batches.md").write_text(page(record))


if __name__ == "__main__":
    main()
