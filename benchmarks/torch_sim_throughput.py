"""Langevin dynamics of 16 mixtures of 8 atoms in torch-sim: in one batch, and one by one.

    python benchmarks/torch_sim_throughput.py            # results/torch_sim.json

NVT steps of NaCl-KCl at 16 compositions on one thread. Ways alternate, and the median of their
blocks counts: torch-sim with the alchemical model, all systems in a batch or one after the other;
ASE's Langevin with the alchemical calculator, one after the other; torch-sim with sevenn's own
model on 16 pure crystals, in a batch. Beside them the part of a batched step that runs on the
host's NumPy whatever the device: moving geometry there, neighbour lists, nodes and message tables.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch_sim as ts
from ase.build import bulk
from ase.md.langevin import Langevin
from ase.units import fs
from sevenn.torchsim import SevenNetModel

from alchemlip import AlchemicalCalculator, Mixture, load_potential
from alchemlip.batching.torch_sim import AlchemicalModel
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
SYSTEMS = 16
STEPS = 4
BLOCKS = 5
DTYPE = "float32"  # all that sevenn's own model has
TIMESTEP_PS = 0.002
TEMPERATURE_K = 300.0


def mixtures() -> list[Mixture]:
    atoms = bulk("NaCl", "rocksalt", 5.9, cubic=True)
    return [
        Mixture.from_elements(atoms, {"Na": {"Na": 1 - x, "K": x}})
        for x in np.linspace(0.05, 0.95, SYSTEMS)
    ]


class TorchSimSteps:
    """NVT steps of a state in torch-sim."""

    def __init__(self, state: Any, model: Any) -> None:
        state.rng = 0
        self.model = model
        self.kT = TEMPERATURE_K * ts.units.MetalUnits.temperature
        self.dt = TIMESTEP_PS * ts.units.MetalUnits.time
        self.state = ts.nvt_langevin_init(state, model, kT=self.kT)

    def __call__(self) -> None:
        for _ in range(STEPS):
            self.state = ts.nvt_langevin_step(self.state, self.model, dt=self.dt, kT=self.kT)


class AseSteps:
    """The same with ASE."""

    def __init__(self, mixture: Mixture, potential: Any) -> None:
        atoms = mixture.to_atoms()
        atoms.calc = AlchemicalCalculator(potential, mixture)
        self.dynamics = Langevin(
            atoms,
            1000 * TIMESTEP_PS * fs,
            temperature_K=TEMPERATURE_K,
            friction=0.01 / fs,
            fixcm=False,
            rng=np.random.RandomState(0),
        )

    def __call__(self) -> None:
        self.dynamics.run(STEPS)


def one_after_the_other(steps: list[Callable[[], None]]) -> Callable[[], None]:
    def run() -> None:
        for step in steps:
            step()

    return run


def host_seconds(model: AlchemicalModel, state: Any) -> float:
    """Return the time of the parts of an evaluation that stay on the host."""
    begun = time.process_time()
    lists = model._neighbour_lists(state)
    graph = model.potential.graph(model.mixtures_of(state), lists)
    graph.tables(model.potential.backend.forms[0])
    return time.process_time() - begun


def measure() -> dict[str, Any]:
    potential = load_potential("sevennet-0", device="cpu", dtype=DTYPE)
    model = AlchemicalModel(potential, mixtures())
    plain = SevenNetModel("7net-0", device="cpu")
    batch = TorchSimSteps(model.initial_state(), model)
    ways: dict[str, Callable[[], None]] = {
        "torch-sim, batch": batch,
        "torch-sim, one by one": one_after_the_other(
            [
                TorchSimSteps(single.initial_state(), single)
                for single in (AlchemicalModel(potential, [item]) for item in mixtures())
            ]
        ),
        "ASE, one by one": one_after_the_other([AseSteps(item, potential) for item in mixtures()]),
    }
    crystals = [bulk("NaCl", "rocksalt", 5.9, cubic=True)] * SYSTEMS
    state = ts.initialize_state(crystals, plain.device, plain.dtype)
    ways["torch-sim, sevenn's own model on pure crystals, batch"] = TorchSimSteps(state, plain)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    host = []
    for _ in range(BLOCKS + 1):
        for name, run in ways.items():
            begun = time.process_time()
            run()
            seconds[name].append((time.process_time() - begun) / STEPS / SYSTEMS)
        host.append(host_seconds(model, batch.state) / SYSTEMS)
    return {
        "dtype": DTYPE,
        "systems": SYSTEMS,
        "atoms_per_system": 8,
        "ms_per_system_step": {
            name: round(1000 * float(np.median(values[1:])), 2) for name, values in seconds.items()
        },
        "ms_per_system_step_on_host": round(1000 * float(np.median(host[1:])), 2),
    }


def main() -> None:
    torch.set_num_threads(1)
    row = measure()
    environment = describe() | {"torch-sim-atomistic": ts.__version__}
    file = HERE / "results" / "torch_sim.json"
    file.write_text(json.dumps({"environment": environment, **row}, indent=1) + "\n")
    fill(HERE.parent / "docs" / "torch_sim.md", {"throughput": page(row, environment)})


def page(row: dict[str, Any], environment: dict[str, str]) -> str:
    """Return the table of the page."""
    costs = row["ms_per_system_step"]
    lines = [[name, f"{cost:.1f}"] for name, cost in costs.items()]
    host = f"{row['ms_per_system_step_on_host']:.2f}"
    lines.append(["of a batched step: geometry, neighbour lists and tables on the host", host])
    return (
        table(
            ["NVT Langevin, 16 systems of 8 atoms, " + row["dtype"], "ms per system and step"],
            lines,
        )
        + f"\n\n{as_markdown(environment)}"
    )


if __name__ == "__main__":
    main()
