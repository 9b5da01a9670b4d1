"""SevenNet-0 and CHGNet side by side, and what their spread says.

    python benchmarks/validate_ensemble.py     # results/ensemble_*.csv, pictures, the page

Scans of an ensemble of the two: each is relaxed by itself at every composition. The picture shows
both, and their mean with the spread as its error bar.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.io import read
from matplotlib.figure import Figure

from alchemlip import Mixture, RelaxationSettings, scan
from alchemlip.backends.loading import load_potentials
from alchemlip.crystal.plotting import INK, plot_scan
from alchemlip.crystal.scanning import scan_inputs
from alchemlip.records.results import ResultFolder
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STRUCTURES = HERE.parent / "examples" / "structures"
PAGE = HERE / "ensemble.md"
MODELS = ("sevennet-0", "chgnet-0.3.0")
COLOURS = ("#1b6ca8", "#0f766e")


@dataclass(frozen=True)
class Line:
    """A binary line: structure file, mixed element, its two species, how to relax."""

    file: str
    element: str
    species: tuple[str, str]
    smax: float


LINES = {
    "CeO2-ZrO2": Line("CeO2.cif", "Ce", ("Ce", "Zr"), 1e-3),
    "BiSBr-BiSI": Line("BiSBr.cif", "Br", ("Br", "I"), 1e-3),
    "BiSBr-BiSCl": Line("BiSBr.cif", "Br", ("Br", "Cl"), 1e-3),
}


def picture(name: str, species: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    """Draw both members: lattice parameters relative to their own first end, mixing energy."""
    x = np.linspace(0.0, 1.0, len(records))
    keys = [key for key in ("a_A", "b_A", "c_A") if key in records[0]]
    if all(abs(record["a_A"] - record["c_A"]) < 1e-2 for record in records):
        keys = ["a_A"]
    figure = Figure(figsize=(3.2 * (len(keys) + 1), 3.0), layout="constrained")
    axes = figure.subplots(1, len(keys) + 1)
    for axis, key in zip(axes, keys, strict=False):
        for model, colour in zip(MODELS, COLOURS, strict=True):
            values = [record["members"][model][key] for record in records]
            axis.plot(x, values, "o-", ms=3, lw=1.2, color=colour, label=model)
        axis.set_ylabel(f"{key[0]} (Å)")
    for model, colour in zip(MODELS, COLOURS, strict=True):
        energies = np.array([r["members"][model]["energy_eV_per_atom"] for r in records])
        above = 1e3 * (energies - energies[0] - x * (energies[-1] - energies[0]))
        axes[-1].plot(x, above, "o-", ms=3, lw=1.2, color=colour)
    axes[-1].set_ylabel("mixing energy (meV/site)")
    for axis in axes:
        axis.set_xlabel(f"x, {species[0]} to {species[1]}", fontsize=9)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, lw=0.6)
        axis.tick_params(labelsize=8)
    axes[0].legend(frameon=False, fontsize=8)
    figure.suptitle(name, fontsize=10, color=INK)
    figure.savefig(RESULTS / f"ensemble_{name}_members.png", dpi=150)


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    ensemble = load_potentials(MODELS, device="cpu")
    rows = []
    for name, line in LINES.items():
        mixture = Mixture.from_elements(
            read(STRUCTURES / line.file), {line.element: dict.fromkeys(line.species, 0.5)}
        )
        settings = RelaxationSettings(fmax=2e-3, smax=line.smax, keep_symmetry=True, max_steps=300)
        folder = HERE / "runs" / f"ensemble-{name}"
        inputs = scan_inputs(mixture, ensemble, line.element, 11, settings)
        store = ResultFolder(folder, "scan", inputs)
        points = scan(mixture, ensemble, points=11, folder=store, settings=settings)
        points = sorted(points, key=lambda point: point.x[1])
        records = [point.record for point in points]
        plot_scan(
            np.array([point.x for point in points]),
            line.species,
            records,
            RESULTS / f"ensemble_{name}.png",
            f"{name}: mean of {' and '.join(MODELS)}",
        )
        picture(name, line.species, records)
        shutil.copy(folder / "scan.csv", RESULTS / f"ensemble_{name}.csv")
        middle = records[5]
        ends = [
            [records[k]["members"][model]["a_A"] for model in MODELS] for k in (0, len(records) - 1)
        ]
        energies = {
            model: np.array([r["members"][model]["energy_eV_per_atom"] for r in records])
            for model in MODELS
        }
        mixing = [1e3 * (e[5] - (e[0] + e[-1]) / 2) for e in energies.values()]
        rows.append(
            [
                name,
                " / ".join(f"{value:.3f}" for value in ends[0]),
                " / ".join(f"{value:.3f}" for value in ends[1]),
                " / ".join(f"{value:.1f}" for value in mixing),
                f"{1e3 * middle['mixing_energy_eV_per_atom']:.1f} ± "
                f"{1e3 * middle['mixing_energy_eV_per_atom_spread']:.1f}",
                f"{sum(record['converged'] for record in records)} of {len(records)}",
                str(sum(r["evaluations"] + r["evaluations_of_members"] for r in records)),
            ]
        )
    environment = describe()
    (RESULTS / "ensemble.json").write_text(
        json.dumps({"environment": environment, "rows": rows}, indent=1) + "\n", encoding="utf-8"
    )
    header = [
        "line",
        "a at x = 0 (Å)",
        "a at x = 1 (Å)",
        "mixing energy at 1/2 (meV/site)",
        "ensemble",
        "converged",
        "evaluations",
    ]
    fill(PAGE, {"table": table(header, rows), "environment": as_markdown(environment)})


if __name__ == "__main__":
    main()
