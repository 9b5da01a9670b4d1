"""Cost of a mixed MACE evaluation over mace's own plain calculator.

    python benchmarks/mace_cost.py                                  # everything, some minutes
    python benchmarks/mace_cost.py --model small --cell NaCl-8      # one case; the others stay

Models of the two MACE-MP-0 architectures with random weights. Every round evaluates each way once,
in a random order, on freshly displaced atoms; ratios are of medians over rounds. Writes
results/mace_cost.json and mace_cost.md.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.backends.mace import MACEBackend
from alchemlip.potential.neighbours import NeighbourList
from environment import as_markdown, describe
from pages import table

HERE = Path(__file__).parent
STRUCTURES = HERE.parent / "examples" / "structures"
RESULTS = HERE / "results" / "mace_cost.json"
PUBLISHED = HERE / "results" / "published_code_timings.json"
MODELS = {"small": "128x0e", "medium": "128x0e + 128x1o"}
BATCH = 16
BATCHED_CELL = "NaCl-8"
UPSTREAM = "upstream plain"
WAYS = ("plain", "independent", "concerted", "independent, all elements", "concerted, all elements")
PARTS = ("neighbour list", "graph and tables", "forward", "backward")


@dataclass(frozen=True)
class Cell:
    """A structure, what is mixed in it, and the largest ratio that is aimed at."""

    atoms: Atoms
    spec: dict[Any, str]
    target: float


def cells() -> dict[str, Cell]:
    iron = bulk("Fe", "bcc", 2.87, cubic=True) * (3, 3, 3)
    perovskite = read(STRUCTURES / "CsPbI3_alpha.cif") * (3, 3, 3)
    return {
        "NaCl-8": Cell(read(STRUCTURES / "NaCl.cif"), {"Na": "Li0.2Na0.5K0.3"}, 0.85),
        "CeO2-12": Cell(read(STRUCTURES / "CeO2.cif"), {"Ce": "Ce0.5Zr0.5"}, 1.15),
        "Fe-54": Cell(iron, {0: "Fe0.5Va0.5"}, 1.0),
        "CsPbI3-135": Cell(perovskite, {"Pb": "Pb0.5Sn0.5"}, 0.85),
    }


def random_model(hidden: str, seed: int = 0) -> Any:
    """Return a MACE of the MACE-MP-0 architecture with random weights, in float32."""
    modules = import_module("mace.modules")
    o3 = import_module("e3nn.o3")
    torch.manual_seed(seed)
    elements = list(range(1, 90))
    block = modules.blocks.RealAgnosticResidualInteractionBlock
    return modules.ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=len(elements),
        hidden_irreps=o3.Irreps(hidden),
        MLP_irreps=o3.Irreps("16x0e"),
        atomic_energies=np.random.default_rng(seed).uniform(-8.0, -1.0, len(elements)),
        avg_num_neighbors=60.0,
        atomic_numbers=elements,
        correlation=3,
        gate=torch.nn.functional.silu,
        radial_MLP=[64, 64, 64],
        radial_type="bessel",
        atomic_inter_scale=0.8,
        atomic_inter_shift=0.16,
    )


def potential_of(model: Any, name: str, drop_absent: bool, device: str) -> AlchemicalPotential:
    backend = MACEBackend(
        name, deepcopy(model), torch.device(device), torch.float32, drop_absent=drop_absent
    )
    return AlchemicalPotential(backend)


def displaced(atoms: Atoms, rng: np.random.Generator) -> Atoms:
    moved = atoms.copy()
    moved.positions += rng.normal(0.0, 0.01, moved.positions.shape)
    return moved


def alternate(
    atoms: Atoms,
    ways: dict[str, Callable[[Atoms], None]],
    rounds: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    """Return the median time of each way in ms over rounds in which each runs once."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for index in range(rounds + 2):
        moved = displaced(atoms, rng)
        for name in rng.permutation(list(ways)).tolist():
            start = perf_counter()
            ways[name](moved)
            if index >= 2:  # the first rounds compile and warm up
                times[name].append(1e3 * (perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}


class TimedNeighbourList(NeighbourList):
    """A neighbour list that keeps the seconds of its last search."""

    seconds = 0.0

    def edges(self, *geometry: Any) -> Any:
        start = perf_counter()
        found = super().edges(*geometry)
        self.seconds = perf_counter() - start
        return found


def breakdown(
    potential: AlchemicalPotential, mixture: Mixture, atoms: Atoms, rounds: int
) -> dict[str, float]:
    """Return the median time in ms of the parts of one evaluation."""
    rng = np.random.default_rng(1)
    neighbours = TimedNeighbourList(potential.cutoff)
    times = np.zeros((rounds + 2, len(PARTS)))
    for row in times:
        moved = mixture.with_geometry(displaced(atoms, rng))
        clock = [perf_counter()]
        graph = potential.graph([moved], [neighbours])
        graph.tables(potential.backend.forms[0])
        clock.append(perf_counter())
        positions = graph.positions.requires_grad_()
        strain = torch.zeros_like(graph.cells).requires_grad_()
        composition = graph.composition.requires_grad_()
        energy = potential.energies(graph, positions, strain, composition).sum()
        clock.append(perf_counter())
        leaves = [leaf for leaf in (positions, strain, composition) if len(leaf)]
        torch.autograd.grad(energy, leaves)
        clock.append(perf_counter())
        prepared, forward, backward = np.diff(clock)
        row[:] = neighbours.seconds, prepared - neighbours.seconds, forward, backward
    return dict(zip(PARTS, (1e3 * np.median(times[2:], axis=0)).tolist(), strict=True))


def check_equal(
    dropping: AlchemicalPotential, whole: AlchemicalPotential, calculator: Any, atoms: Atoms
) -> None:
    """Refuse to time what is not equal to rounding in float32."""
    calculator.calculate(atoms)
    wanted = calculator.results
    for potential in (dropping, whole):
        found = potential.evaluate(Mixture.from_elements(atoms, {}))
        np.testing.assert_allclose(found.energy, wanted["energy"], rtol=2e-6)
        # Random weights give small forces: what counts is the error relative to the largest.
        for name in ("forces", "stress"):
            largest = float(np.abs(wanted[name]).max())
            np.testing.assert_allclose(
                getattr(found, name), wanted[name], rtol=0, atol=3e-4 * largest
            )


def time_cell(cell: Cell, model: Any, calculator: Any, rounds: int, device: str) -> dict[str, Any]:
    """Return medians in ms of every way to evaluate a cell, and the parts of each."""
    rng = np.random.default_rng(0)
    dropping, whole = (potential_of(model, "random", drop, device) for drop in (True, False))
    plain = Mixture.from_elements(cell.atoms, {})
    independent = Mixture.from_elements(cell.atoms, cell.spec)
    concerted = Mixture.from_elements(cell.atoms, cell.spec, correlation="concerted")
    runs = dict(
        zip(
            WAYS,
            (
                (dropping, plain),
                (dropping, independent),
                (dropping, concerted),
                (whole, independent),
                (whole, concerted),
            ),
            strict=True,
        )
    )

    check_equal(dropping, whole, calculator, displaced(cell.atoms, rng))

    def upstream(moved: Atoms) -> None:
        calculator.calculate(moved)

    def ours(
        potential: AlchemicalPotential, mixture: Mixture, lists: list[Any], moved: Atoms
    ) -> None:
        mixtures = [mixture.with_geometry(moved)] * len(lists)
        potential.evaluate(mixtures, neighbour_lists=lists)

    ways: dict[str, Callable[[Atoms], None]] = {UPSTREAM: upstream}
    for name, (potential, mixture) in runs.items():
        ways[name] = partial(ours, potential, mixture, [potential.neighbour_list()])
    result: dict[str, Any] = {
        "ms": alternate(cell.atoms, ways, rounds, rng),
        "parts_ms": {
            name: breakdown(potential, mixture, cell.atoms, rounds)
            for name, (potential, mixture) in runs.items()
            if "all elements" not in name
        },
    }
    return result


def time_batch(cell: Cell, model: Any, calculator: Any, rounds: int, device: str) -> dict[str, Any]:
    """Return medians in ms per cell of one upstream cell and of batches of mixtures."""
    potential = potential_of(model, "random", True, device)
    rng = np.random.default_rng(0)

    def batch(mixture: Mixture, lists: list[Any], moved: Atoms) -> None:
        mixtures = [mixture.with_geometry(displaced(moved, rng)) for _ in lists]
        potential.evaluate(mixtures, neighbour_lists=lists)

    ways: dict[str, Callable[[Atoms], None]] = {UPSTREAM: calculator.calculate}
    for correlation in ("independent", "concerted"):
        mixture = Mixture.from_elements(cell.atoms, cell.spec, correlation=correlation)
        lists = [potential.neighbour_list() for _ in range(BATCH)]
        ways[correlation] = partial(batch, mixture, lists)
    times = alternate(cell.atoms, ways, rounds, rng)
    return {name: t if name == UPSTREAM else t / BATCH for name, t in times.items()}


def page(record: dict[str, Any]) -> str:
    published = json.loads(PUBLISHED.read_text())
    lines = [
        "# Cost of a mixed MACE evaluation",
        "",
        "Energy, forces, stress and composition gradient, over energy, forces and stress of the plain",
        "potential through mace's own calculator; random weights of the MACE-MP-0 architectures (89",
        "elements), float32, medians of alternating rounds. Made by `make benchmark-mace`.",
        "",
        as_markdown(record["environment"]),
        "",
        "NaCl-8: Li, Na, K on 4 sites. CeO2-12: Ce, Zr on 4. Fe-54: one site vacant by half.",
        "CsPbI3-135: Pb, Sn on 27. All but the first column of times are ratios to it.",
        "*All elements* is `drop_absent=False`: the network's own contraction over all 89 elements.",
        "Energy, forces and stress are checked to be those of mace's calculator before they are timed.",
        f"*Published*: mixed over plain of the {published['origin']}.",
        "",
    ]
    rows, batches = [], []
    parts: list[list[str]] = []
    for model in MODELS:
        for name, cell in cells().items():
            case = record["cases"].get(f"{model} {name}")
            if case is None:
                continue
            base = case["ms"][UPSTREAM]
            ratio = published["mixed_over_plain"][model][name]
            rows.append(
                [f"{model}, {name}", f"{base:.1f}"]
                + [f"{case['ms'][way] / base:.2f}" for way in WAYS]
                + [f"{cell.target:.2f}", f"{ratio:.2f}"]
            )
            parts += [
                [f"{model}, {name}", way, *(f"{times[part]:.1f}" for part in PARTS)]
                for way, times in case["parts_ms"].items()
            ]
            if "batch_ms" in case:
                times = case["batch_ms"]
                batches.append(
                    [f"{model}, {name}", f"{times[UPSTREAM]:.1f}"]
                    + [
                        f"{times[way] / times[UPSTREAM]:.2f}"
                        for way in ("independent", "concerted")
                    ]
                )
    header = ["case", "upstream plain (ms)", *WAYS, "target", "published"]
    lines += [table(header, rows), ""]
    lines += [f"## Batches of {BATCH} cells", "", "Per cell, over one upstream evaluation.", ""]
    lines += [table(["case", "upstream plain (ms)", "independent", "concerted"], batches), ""]
    lines += ["## Where the time goes", "", "Medians in ms, measured by themselves.", ""]
    lines += [table(["case", "mixture", *PARTS], parts), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--model", choices=list(MODELS), action="append")
    parser.add_argument("--cell", choices=list(cells()), action="append")
    parser.add_argument("--rounds", type=int, default=7, help="three times as many below 20 sites")
    parser.add_argument("--threads", type=int, help="of torch; its own default if not given")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    from mace.calculators import MACECalculator

    suffix = "" if arguments.device == "cpu" else f"_{arguments.device}"
    results = RESULTS.with_stem(RESULTS.stem + suffix)
    record: dict[str, Any] = {"cases": {}}
    if results.exists():
        record = json.loads(results.read_text())
    record |= {"environment": describe(), "device": arguments.device, "unit": "ms, median"}
    for model_name in arguments.model or MODELS:
        model = random_model(MODELS[model_name])
        calculator = MACECalculator(
            models=[random_model(MODELS[model_name])],
            device=arguments.device,
            default_dtype="float32",
        )
        for name, cell in cells().items():
            if arguments.cell and name not in arguments.cell:
                continue
            rounds = arguments.rounds * (3 if len(cell.atoms) < 20 else 1)
            case = time_cell(cell, model, calculator, rounds, arguments.device)
            if name == BATCHED_CELL:
                case["batch_ms"] = time_batch(cell, model, calculator, rounds, arguments.device)
            record["cases"][f"{model_name} {name}"] = case
            base = case["ms"][UPSTREAM]
            ratios = {way: round(t / base, 3) for way, t in case["ms"].items()}
            print(model_name, name, f"{base:.1f} ms", ratios, flush=True)
            results.write_text(json.dumps(record, indent=1) + "\n")
    (HERE / f"mace_cost{suffix}.md").write_text(page(record))


if __name__ == "__main__":
    main()
