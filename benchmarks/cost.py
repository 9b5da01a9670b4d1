"""Cost of a mixed evaluation over the plain potential's, and of one relaxation.

    python benchmarks/cost.py            # writes results/cost.json and cost.md

Every round evaluates each case once, in a random order, on freshly displaced atoms; ratios are of
medians over rounds. "Upstream" is the potential's own ASE calculator.
"""

from __future__ import annotations

import argparse
import json
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS

from alchemlip import (
    AlchemicalCalculator,
    AlchemicalPotential,
    Mixture,
    load_potential,
    relax,
    scan,
)
from alchemlip.potential.threads import quiet_blas_threads
from environment import as_markdown, describe

HERE = Path(__file__).parent
STRUCTURES = HERE.parent / "examples" / "structures"
TARGETS = {"Cu-Au 32": 1.25}
DEFAULT_TARGET = 1.10


def cases() -> dict[str, tuple[Atoms, dict[str, str]]]:
    perovskite = read(STRUCTURES / "CsPbI3_alpha.cif")
    return {
        "NaCl 8": (read(STRUCTURES / "NaCl.cif"), {"Na": "Na0.5K0.5"}),
        "CeO2 12": (read(STRUCTURES / "CeO2.cif"), {"Ce": "Ce0.5Zr0.5"}),
        "CsPbI3 40": (perovskite * (2, 2, 2), {"Pb": "Pb0.5Sn0.5"}),
        "Cu-Au 32": (bulk("Cu", "fcc", 3.85, cubic=True) * (2, 2, 2), {"Cu": "Cu0.5Au0.5"}),
        "CsPbI3 135": (perovskite * (3, 3, 3), {"Pb": "Pb0.5Sn0.5"}),
    }


def upstream_calculator(device: str) -> Any:
    from sevenn.calculator import SevenNetCalculator

    return SevenNetCalculator("7net-0", device=device)


def time_case(
    atoms: Atoms,
    spec: dict[str, str],
    potential: AlchemicalPotential,
    calculator: Any,
    rounds: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return the median time in ms of each way to evaluate one structure."""
    atoms = atoms.copy()
    plain = Mixture.from_elements(atoms, {})
    independent = Mixture.from_elements(atoms, spec)
    concerted = Mixture.from_elements(atoms, spec, correlation="concerted")
    lists = {name: [potential.neighbour_list()] for name in ("plain", "i", "c", "e")}

    def upstream(moved: Atoms) -> None:
        moved = moved.copy()
        moved.calc = calculator
        moved.get_potential_energy()
        moved.get_forces()
        moved.get_stress()

    def mixed(mixture: Mixture, key: str, form: str | None = None) -> Callable[[Atoms], None]:
        def run(moved: Atoms) -> None:
            potential.evaluate(
                [mixture.with_geometry(moved)], neighbour_lists=lists[key], form=form
            )

        return run

    ways: dict[str, Callable[[Atoms], None]] = {
        "upstream plain": upstream,
        "alchemlip plain": mixed(plain, "plain"),
        "independent": mixed(independent, "i"),
        "concerted": mixed(concerted, "c"),
        "expanded": mixed(independent, "e", "expanded"),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 2):
        moved = atoms.copy()
        moved.positions += rng.normal(0.0, 0.01, moved.positions.shape)
        for name in rng.permutation(list(ways)).tolist():
            start = perf_counter()
            ways[name](moved)
            if index >= 2:  # the first rounds compile and warm up
                times[name].append(1e3 * (perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


def time_relaxation() -> dict[str, float]:
    """Return seconds and evaluations of one CeO2-ZrO2 composition and of an 11-point scan."""
    potential = load_potential("sevennet-0", dtype="float64", device="cpu")
    mixture = Mixture.from_elements(read(STRUCTURES / "CeO2.cif"), {"Ce": "Ce0.5Zr0.5"})
    potential.evaluate(mixture)
    runs = [relax(mixture, potential) for _ in range(5)]
    result: dict[str, float] = {
        "relax_s": float(np.median([run.seconds for run in runs])),
        "relax_evaluations": runs[0].evaluations,
    }
    sizes = {"one_by_one": 1, "default_batches": None, "all_in_one_batch": 10_000}
    taken: dict[str, list[float]] = {name: [] for name in sizes}
    for _ in range(3):
        for name, size in sizes.items():
            start = perf_counter()
            scan(mixture, potential, points=11, batch_sites=size)
            taken[name].append(perf_counter() - start)
    return result | {f"scan_{name}_s": float(np.median(t)) for name, t in taken.items()}


def time_blas_threads() -> dict[str, float]:
    """Return seconds of 25 optimiser steps with NumPy's BLAS threads limited to one, or left alone."""
    potential = load_potential("sevennet-0", dtype="float64", device="cpu")
    mixture = Mixture.from_elements(read(STRUCTURES / "BiSBr.cif"), {"Br": "Cl0.5Br0.5"})
    taken: dict[str, list[float]] = {"one": [], "all": []}
    for _ in range(5):
        for name, threads in (("one", 1), ("all", os.cpu_count())):
            atoms = mixture.to_atoms()
            atoms.calc = AlchemicalCalculator(potential, mixture, blas_threads=threads)
            start = perf_counter()
            BFGS(FrechetCellFilter(atoms), logfile=None).run(fmax=0.0, steps=25)
            taken[name].append(perf_counter() - start)
    quiet_blas_threads(1)
    return {f"blas_{name}_s": float(np.median(values)) for name, values in taken.items()}


def page(record: dict[str, Any]) -> str:
    ways = ("upstream plain", "alchemlip plain", "independent", "concerted", "expanded")
    lines = [
        "# Cost of a mixed evaluation",
        "",
        "Energy, forces, stress and composition gradient with two species, over energy, forces and",
        "stress of the plain potential through its own ASE calculator; SevenNet-0, float32, median of",
        f"{record['rounds']} alternating rounds (twice as many below 20 sites). Made by `make benchmark`.",
        "",
        as_markdown(record["environment"]),
        "",
        "| case | upstream plain (ms) | alchemlip plain | independent | concerted | expanded | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, times in record["cases"].items():
        base = times["upstream plain"]
        ratios = " | ".join(f"{times[way] / base:.2f}" for way in ways[1:])
        target = TARGETS.get(name, DEFAULT_TARGET)
        lines.append(f"| {name} | {base:.1f} | {ratios} | {target:.2f} |")
    relaxation = record["relaxation"]
    lines += [
        "",
        "Columns from `alchemlip plain` on are ratios to the first. `independent` and `concerted` are in",
        "the factorised form; `expanded` is the independent mixture in the expanded form. The target is",
        "for the factorised form. In Cu-Au every site is mixed and every neighbour belongs to the same",
        "group: `concerted` there is two whole crystals at once, and costs what two crystals cost.",
        "",
        "## One relaxation",
        "",
        f"CeO2-ZrO2 at x = 1/2, 12 sites, float64, once loaded: {relaxation['relax_s']:.2f} s,",
        f"{relaxation['relax_evaluations']:.0f} evaluations (cell and positions, to 1e-3 eV/Å and 1e-3 GPa).",
        "",
        f"A scan of 11 compositions: {relaxation['scan_one_by_one_s']:.1f} s point by point,",
        f"{relaxation['scan_default_batches_s']:.1f} s in the default batches,",
        f"{relaxation['scan_all_in_one_batch_s']:.1f} s all inner points in one batch (which then have",
        "no finished neighbours to start from but the ends).",
        "",
        "## BLAS threads",
        "",
        "25 BFGS steps of cell and positions of BiS(Cl,Br), 12 sites, float64, alternating:",
        f"{record['blas']['blas_one_s']:.2f} s with NumPy's and SciPy's BLAS threads limited to one, as",
        f"`AlchemicalCalculator` does, {record['blas']['blas_all_s']:.2f} s with all of them:",
        f"a ratio of {record['blas']['blas_all_s'] / record['blas']['blas_one_s']:.2f}.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=25, help="twice as many below 20 sites")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    potential = load_potential("sevennet-0", device=arguments.device, dtype="float32")
    calculator = upstream_calculator(arguments.device)
    measured = {}
    for name, (atoms, spec) in cases().items():
        rounds = arguments.rounds * (2 if len(atoms) < 20 else 1)
        measured[name] = time_case(atoms, spec, potential, calculator, rounds, rng)
        base = measured[name]["upstream plain"]
        print(name, {way: round(t / base, 3) for way, t in measured[name].items()}, flush=True)
    record = {
        "environment": describe(),
        "device": arguments.device,
        "rounds": arguments.rounds,
        "unit": "ms, median",
        "cases": measured,
        "relaxation": time_relaxation(),
        "blas": time_blas_threads(),
    }
    suffix = "" if arguments.device == "cpu" else f"_{arguments.device}"
    (HERE / "results" / f"cost{suffix}.json").write_text(json.dumps(record, indent=1) + "\n")
    (HERE / f"cost{suffix}.md").write_text(page(record))


if __name__ == "__main__":
    main()
