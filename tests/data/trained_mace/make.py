"""Train a small MACE for Cs(Pb,Sn)I3 on labels of SevenNet-0.

    python make.py label FOLDER     where sevenn is installed: frames and labels
    python make.py train FOLDER     where mace-torch is installed: the model, and its errors

The two packages cannot share an environment. Beside this file the first step writes
``sevennet_lattice.json``, the second ``cspbsni3.model``, ``held_out.extxyz`` and ``errors.json``.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read, write
from ase.neighborlist import neighbor_list

HERE = Path(__file__).parent
N_TRAIN, N_VALID, N_HELD_OUT, N_COMMITTED = 600, 40, 100, 12
SEED = 20
LATTICE = {"Pb": 6.397, "Sn": 6.279}
"""Lattice parameters of the cubic ends by SevenNet-0 in Angstrom: frames are drawn around them."""
SUPERCELLS = ((1, 1, 1), (2, 1, 1), (1, 1, 2), (2, 2, 1), (1, 2, 2))
UNRATTLED = 0.15
CLOSEST = 2.4
"""Frames with atoms nearer than this, in Angstrom, are drawn again: a bond measures 3.2."""
ARCHITECTURE = {
    "model": "MACE",
    "r_max": 5.0,
    "num_radial_basis": 8,
    "num_interactions": 2,
    "hidden_irreps": "16x0e + 16x1o",
    "MLP_irreps": "16x0e",
    "max_ell": 2,
    "correlation": 2,
}
TRAINING = {
    "loss": "stress",
    "energy_weight": 300.0,
    "forces_weight": 100.0,
    "stress_weight": 3000.0,
    "batch_size": 5,
    "valid_batch_size": 40,
    "lr": 0.01,
    "scheduler": "ExponentialLR",
    "lr_scheduler_gamma": 0.96,
    "max_num_epochs": 61,
    "eval_interval": 10,
    "patience": 1000,
    "ema_decay": 0.99,
    "seed": SEED,
    "device": "cpu",
    "default_dtype": "float64",
    "num_workers": 0,
}


def perovskite(rng: np.random.Generator) -> Atoms:
    """Return a random frame of 5 to 20 atoms: Pb or Sn at each B site, strained and rattled.

    Volumes lie -6 to +8 % around the mean of the ends, strains within 3 %, displacements are
    Gaussian with a width of 0.02 to 0.25 A; some frames are left unrattled. Frames with atoms too
    near to one another are drawn again.
    """
    repeats = SUPERCELLS[rng.integers(len(SUPERCELLS))]
    atoms = cubic(1.0).repeat(repeats)
    sites = np.flatnonzero(atoms.symbols == "Pb")
    atoms.symbols[sites] = rng.choice(["Pb", "Sn"], len(sites))
    lattice = np.mean([LATTICE[atoms.symbols[site]] for site in sites])
    scale = lattice * rng.uniform(0.94, 1.08) ** (1 / 3)
    rattled = rng.random() > UNRATTLED
    strain = rng.uniform(-0.03, 0.03, (3, 3)) if rattled or rng.random() < 0.5 else np.zeros((3, 3))
    strain = (strain + strain.T) / 2
    strain -= np.eye(3) * np.trace(strain) / 3
    atoms.set_cell(atoms.cell.array * scale @ (np.eye(3) + strain), scale_atoms=True)
    if rattled:
        atoms.positions += rng.normal(0, rng.uniform(0.02, 0.25), atoms.positions.shape)
    shortest = neighbor_list("d", atoms, CLOSEST)
    return perovskite(rng) if len(shortest) else atoms


def label(folder: Path) -> None:
    """Write training, validation and held-out frames with labels of SevenNet-0 in float64."""
    from alchemlip import Mixture, load_potential

    potential = load_potential("sevennet-0", device="cpu", dtype="float64")
    rng = np.random.default_rng(SEED)
    folder.mkdir(parents=True, exist_ok=True)
    # mace takes its reference energies E0 from these.
    isolated = [Atoms(s, info={"config_type": "IsolatedAtom"}) for s in ("Cs", "Pb", "Sn", "I")]
    for name, count in (("train", N_TRAIN), ("valid", N_VALID), ("held_out", N_HELD_OUT)):
        frames = [perovskite(rng) for _ in range(count)] + (isolated if name == "train" else [])
        for atoms in frames:
            result = potential.evaluate(Mixture.from_elements(atoms, {}))
            atoms.info["REF_energy"] = result.energy
            atoms.arrays["REF_forces"] = result.forces
            if result.stress is not None:
                atoms.info["REF_stress"] = result.stress
        write(folder / f"{name}.extxyz", frames)
    write_lattice(potential)


def write_lattice(potential: Any) -> None:
    """Write the lattice parameter of cubic Cs(Pb,Sn)I3, random solid solution, against x."""
    from alchemlip import Mixture, RelaxationSettings, scan

    mixture = Mixture.from_elements(cubic(LATTICE["Pb"]), {"Pb": {"Pb": 1.0, "Sn": 0.0}})
    points = scan(mixture, potential, points=5, settings=RelaxationSettings(keep_symmetry=True))
    values = {
        "potential": potential.name,
        "x_Sn": [float(point.x[1]) for point in points],
        "a_A": [round(float(point.mixture.cell[0, 0]), 5) for point in points],
    }
    (HERE / "sevennet_lattice.json").write_text(json.dumps(values, indent=1) + "\n")


def cubic(lattice: float) -> Atoms:
    """Return cubic CsPbI3, 5 atoms."""
    fractional = [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    return Atoms("CsPbI3", scaled_positions=fractional, cell=lattice * np.eye(3), pbc=True)


def train(folder: Path) -> None:
    """Train with mace's own command, save the model in float32, with its errors."""
    from mace.cli.run_train import run
    from mace.tools import build_default_arg_parser

    options = {**ARCHITECTURE, **TRAINING, "name": "cspbsni3", "work_dir": folder}
    options |= {"train_file": folder / "train.extxyz", "valid_file": folder / "valid.extxyz"}
    words = [f"--{key}={value}" for key, value in options.items()]
    run(build_default_arg_parser().parse_args([*words, "--ema", "--error_table=PerAtomRMSE"]))

    import torch

    model: Any = torch.load(folder / "cspbsni3.model", map_location="cpu", weights_only=False)
    torch.save(model.float(), HERE / "cspbsni3.model")
    frames = read(folder / "held_out.extxyz", ":")
    write(HERE / "held_out.extxyz", frames[:N_COMMITTED])
    write_errors(folder)


def write_errors(folder: Path) -> None:
    """Write the errors on all held-out frames, and on those beside this file."""
    committed = HERE / "held_out.extxyz"
    values = {
        name: {"frames": len(frames), **errors(frames, HERE / "cspbsni3.model")}
        for name, frames in (
            ("all held-out frames", read(folder / "held_out.extxyz", ":")),
            (committed.name, read(committed, ":")),
        )
    }
    (HERE / "errors.json").write_text(json.dumps(values, indent=1) + "\n")


def errors(frames: list[Atoms], file: Path) -> dict[str, float]:
    """Return the root-mean-square errors of mace's own calculator in float64."""
    from mace.calculators import MACECalculator

    calculator = MACECalculator(model_paths=str(file), device="cpu", default_dtype="float64")
    energies, forces, stresses = [], [], []
    for atoms in frames:
        calculator.calculate(atoms)
        result = calculator.results
        energies.append((result["energy"] - atoms.info["REF_energy"]) / len(atoms))
        forces.append(result["forces"] - atoms.arrays["REF_forces"])
        stresses.append(result["stress"] - atoms.info["REF_stress"])

    def rms(values: list[Any]) -> float:
        flat = np.concatenate([np.ravel(value) for value in values])
        return round(float(1000 * np.sqrt(np.mean(flat**2))), 3)

    return {
        "energy_meV_per_atom": rms(energies),
        "forces_meV_per_A": rms(forces),
        "stress_meV_per_A3": rms(stresses),
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    {"label": label, "train": train}[sys.argv[1]](Path(sys.argv[2]))
