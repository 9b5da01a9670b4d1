"""The random alloy to second order against explicit random supercells, with the same potential.

    python benchmarks/validate_disorder.py          # results/disorder.json, pictures, the page

Eight systems at three compositions on the fixed lattice of the mixed cell, and the relaxation of
atoms for some. A row is written when it is finished, and only what it lacks is made
(--again: from the start).
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from ase.io import read
from matplotlib.figure import Figure

from alchemlip import (
    AlchemicalPotential,
    InputError,
    Mixture,
    RelaxationSettings,
    load_potential,
    relax,
)
from alchemlip.disorder.explicit import mean_and_error, random_supercell
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.disorder.local_relaxation import local_relaxation
from alchemlip.disorder.random_alloy import random_alloy, second_order_energy
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STRUCTURES = HERE.parent / "examples" / "structures"
PAGE = HERE / "disorder.md"
FILE = RESULTS / "disorder.json"

SMALL = RelaxationSettings(fmax=1e-4, smax=1e-2, keep_symmetry=True)
ATOMS = RelaxationSettings(cell="fixed", fmax=0.02)
SEEDS = 20
RELAXED_SEEDS = 8
COMPOSITIONS = (0.25, 0.5, 0.75)
TARGET = 3.0  # meV/atom
FIXED_LATTICE = (
    "second_order_meV",
    "second_order_float32_meV",
    "single_site_float32_meV",
    "hessian_float32_meV",
    "explicit_meV",
)
"""What a finished row holds."""


@dataclass(frozen=True)
class System:
    """An alloy of ``host`` and ``guest`` on the host's sites of a small cell."""

    cell: Callable[[], Atoms]
    host: str
    guest: str
    repeats: tuple[int, int, int]
    relaxed: bool = False


SYSTEMS = {
    "NaCl-KCl": System(
        lambda: bulk("NaCl", "rocksalt", a=5.95, cubic=True), "Na", "K", (2, 2, 2), True
    ),
    "CeO2-ZrO2": System(
        lambda: bulk("CeO2", "fluorite", a=5.35, cubic=True), "Ce", "Zr", (2, 2, 2), True
    ),
    "Cu-Zn bcc": System(lambda: bulk("Cu", "bcc", a=2.95), "Cu", "Zn", (4, 4, 4)),
    "Cu-Au fcc": System(lambda: bulk("Cu", "fcc", a=3.85), "Cu", "Au", (4, 4, 4), True),
    "Ni-Al fcc": System(lambda: bulk("Ni", "fcc", a=3.7), "Ni", "Al", (4, 4, 4)),
    "GaN-AlN": System(lambda: read(STRUCTURES / "GaN_hex.cif"), "Ga", "Al", (3, 3, 2), True),
    "MgO-NiO": System(
        lambda: bulk("MgO", "rocksalt", a=4.2, cubic=True), "Mg", "Ni", (2, 2, 2), True
    ),
    "Si-Ge": System(lambda: bulk("Si", "diamond", a=5.6, cubic=True), "Si", "Ge", (2, 2, 2), True),
}


class Clock:
    """CPU seconds of this process, on a machine that others use too."""

    def __enter__(self) -> Clock:
        self._start, self._wall = process_time(), perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.cpu, self.wall = process_time() - self._start, perf_counter() - self._wall


def mixed_cell(system: System, x: float, potential: AlchemicalPotential) -> Mixture:
    """Return the mixed cell, relaxed in mean field within its space group."""
    start = Mixture.from_elements(
        system.cell(), {system.host: {system.host: 1.0 - x, system.guest: x}}
    )
    return relax(start, potential, SMALL).mixture


def ends(system: System, potential: AlchemicalPotential) -> list[float]:
    """Return the energies per atom of the relaxed ideal ends in eV."""
    energies = []
    for element in (system.host, system.guest):
        atoms = system.cell()
        atoms.numbers[atoms.numbers == atomic_numbers[system.host]] = atomic_numbers[element]
        pure = Mixture(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
        run = relax(pure, potential, SMALL)
        energies.append(run.evaluation.energy / len(atoms))
    return energies


def energy_of(mixture: Mixture, potential: AlchemicalPotential) -> float:
    result = potential.evaluate(mixture, forces=False, stress=False, composition_gradient=False)
    return result.energy


def fixed_lattice(
    name: str,
    x: float,
    double: AlchemicalPotential,
    single: AlchemicalPotential,
    row: dict[str, Any],
) -> dict[str, Any]:
    """Return one row: mean field, second order and explicit supercells on one geometry.

    Mixing energies in meV/atom. Explicit cells and the timed second order are in float32. What the
    row holds already is kept.
    """
    system = SYSTEMS[name]
    line = float(np.dot([1.0 - x, x], ends(system, double)))
    cell = mixed_cell(system, x, double)
    n = cell.n_sites
    n_atoms = n * int(np.prod(system.repeats))
    row = {"system": name, "x": x, "n_atoms": n_atoms} | row
    if "mean_field_meV" not in row:
        row["mean_field_meV"] = 1e3 * (energy_of(cell, double) / n - line)
    exact = {"repeats": system.repeats, "exact_composition": True}
    for key, potential, order in (
        ("second_order", double, "second"),
        ("second_order_float32", single, "second"),
        ("single_site_float32", single, "single_site"),
    ):
        if f"{key}_meV" in row:
            continue
        energy_of(cell.repeat(system.repeats), potential)  # a process pays once for compiling
        with Clock() as clock:
            alloy = random_alloy(cell, potential, order=order, **exact)
        row[f"{key}_meV"] = 1e3 * (alloy.random_energy / n - line)
        row[f"{key}_cpu_s"] = clock.cpu
    if "infinite_alloy_meV" not in row:
        infinite = random_alloy(cell, double, repeats=system.repeats)
        row["infinite_alloy_meV"] = 1e3 * (infinite.random_energy / n - line)
    if "hessian_float32_meV" not in row:
        with Clock() as clock:
            hessian = occupancy_hessian(cell.repeat(system.repeats), single)
        by_hessian = hessian.energy + second_order_energy(hessian, exact_composition=True)
        row["hessian_float32_meV"] = 1e3 * (by_hessian / n_atoms - line)
        row["hessian_float32_cpu_s"] = clock.cpu
    if "explicit_meV" not in row:
        values = []
        with Clock() as clock:
            for seed in range(SEEDS):
                made = random_supercell(cell, system.repeats, np.random.default_rng(seed))
                values.append(1e3 * (energy_of(made, single) / n_atoms - line))
        row["explicit_meV"], row["explicit_error_meV"] = mean_and_error(values)
        row["explicit_cells_meV"] = values
        row["explicit_cpu_s"] = clock.cpu
    return row


def atoms_relaxed(
    name: str,
    x: float,
    double: AlchemicalPotential,
    single: AlchemicalPotential,
    row: dict[str, Any],
) -> dict[str, Any]:
    """Return one row of the energy that atoms gain at constant cell, in meV/atom."""
    system = SYSTEMS[name]
    cell = mixed_cell(system, x, double)
    large = cell.repeat(system.repeats)
    row = {"system": name, "x": x, "n_atoms": large.n_sites} | row
    with Clock() as clock:
        try:
            result = local_relaxation(large, double, exact_composition=True)
            row["local_relaxation_meV"] = 1e3 * result.energy / large.n_sites
            row["softest_mode_eV_per_A2"] = result.softest_mode
        except InputError as error:
            row["local_relaxation_meV"], row["note"] = None, str(error)
    row["local_relaxation_cpu_s"] = clock.cpu
    gains, unconverged = [], 0
    with Clock() as clock:
        for seed in range(RELAXED_SEEDS):
            made = random_supercell(cell, system.repeats, np.random.default_rng(seed))
            start = energy_of(made, single)
            run = relax(made, single, ATOMS)
            unconverged += not run.converged
            gains.append(1e3 * (run.evaluation.energy - start) / large.n_sites)
    row["explicit_meV"], row["explicit_error_meV"] = mean_and_error(gains)
    row["explicit_cells_meV"] = gains
    row["explicit_unconverged"] = unconverged
    row["explicit_cpu_s"] = clock.cpu
    return row


# ---------------------------------------------------------------------- output


def meets(row: dict[str, Any], key: str = "second_order") -> bool:
    """Whether a value lies within two standard errors or 3 meV/atom of the explicit mean."""
    difference = abs(row[f"{key}_meV"] - row["explicit_meV"])
    return bool(difference <= max(2.0 * row["explicit_error_meV"], TARGET))


def lattice_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        lines.append(
            [
                f"{row['system']} ({row['n_atoms']})",
                f"{row['x']:g}",
                f"{row['mean_field_meV']:+.1f}",
                f"{row['second_order_meV']:+.1f}",
                f"{row['second_order_float32_meV']:+.1f}",
                f"{row['single_site_float32_meV']:+.1f}",
                f"{row['infinite_alloy_meV']:+.1f}",
                f"{row['explicit_meV']:+.1f} ± {row['explicit_error_meV']:.1f}",
                f"{row['second_order_meV'] - row['explicit_meV']:+.1f}",
                "yes" if meets(row) else "no",
                f"{row['second_order_float32_cpu_s']:.1f}",
                f"{row['explicit_cpu_s']:.1f}",
                f"{row['second_order_float32_cpu_s'] / row['explicit_cpu_s']:.2f}",
            ]
        )
    return table(
        [
            "system (atoms)",
            "x",
            "mean field",
            "second order",
            "(float32)",
            "single site",
            "infinite alloy",
            "explicit",
            "second order - explicit",
            "within 2 s.e. or 3 meV",
            "CPU s, second order",
            "CPU s, 20 explicit",
            "ratio",
        ],
        lines,
    )


def relaxed_table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        value = row["local_relaxation_meV"]
        lines.append(
            [
                f"{row['system']} ({row['n_atoms']})",
                f"{row['x']:g}",
                "unstable" if value is None else f"{value:+.1f}",
                f"{row['explicit_meV']:+.1f} ± {row['explicit_error_meV']:.1f}",
                f"{min(row['explicit_cells_meV']):.1f} to {max(row['explicit_cells_meV']):.1f}",
                f"{row['local_relaxation_cpu_s']:.0f}",
                f"{row['explicit_cpu_s']:.0f}",
            ]
        )
    return table(
        [
            "system (atoms)",
            "x",
            "second order",
            "explicit",
            "single cells",
            "CPU s, second order",
            f"CPU s, {RELAXED_SEEDS} explicit",
        ],
        lines,
    )


def summary(rows: list[dict[str, Any]]) -> str:
    """Return one paragraph of figures."""
    difference = {
        key: np.array([row[f"{key}_meV"] - row["explicit_meV"] for row in rows])
        for key in ("mean_field", "second_order", "single_site_float32")
    }
    hit = {key: sum(meets(row, key) for row in rows) for key in difference}
    noisiest = max(rows, key=lambda row: row["explicit_error_meV"])
    cells = SEEDS * noisiest["explicit_error_meV"] ** 2
    ratio = [row["second_order_float32_cpu_s"] / row["explicit_cpu_s"] for row in rows]
    rms = {key: float(np.sqrt(np.mean(values**2))) for key, values in difference.items()}
    return (
        f"Within two standard errors or 3 meV/atom of the explicit mean lie, of {len(rows)} rows: "
        f"mean field {hit['mean_field']}, second order {hit['second_order']}, single site "
        f"{hit['single_site_float32']}. "
        f"Root mean square deviation from the explicit mean: mean field {rms['mean_field']:.1f}, "
        f"second order {rms['second_order']:.1f}, single site {rms['single_site_float32']:.1f} "
        f"meV/atom. CPU time over that of 20 unrelaxed supercells, both float32: median "
        f"{np.median(ratio):.2f}, from {min(ratio):.2f} to {max(ratio):.2f}. The 20 supercells of "
        f"{noisiest['system']} at x = {noisiest['x']:g} leave a standard error of "
        f"{noisiest['explicit_error_meV']:.1f} meV/atom; 1 meV/atom would take about {cells:.0f}."
    )


def picture(rows: list[dict[str, Any]], file: Path) -> None:
    """Draw deviations from the explicit mean."""
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    axis = figure.subplots()
    place = np.arange(len(rows))
    errors = np.array([2 * row["explicit_error_meV"] for row in rows])
    axis.fill_between(place, -TARGET, TARGET, color="#1b6ca8", alpha=0.08, lw=0)
    axis.errorbar(
        place, 0 * errors, errors, fmt="none", ecolor="#9aa5b1", capsize=3, label="2 s.e."
    )
    for key, label, colour, mark in (
        ("mean_field", "mean field", "#c2410c", "s"),
        ("second_order", "second order", "#1b6ca8", "o"),
        ("single_site_float32", "single site", "#1f2933", "x"),
    ):
        values = [row[f"{key}_meV"] - row["explicit_meV"] for row in rows]
        axis.plot(place, values, mark, color=colour, ms=5, label=label)
    axis.set_xticks(
        place, [f"{row['system']} {row['x']:g}" for row in rows], rotation=90, fontsize=7
    )
    axis.set_ylabel("energy less the mean of 20 supercells (meV/atom)", fontsize=9)
    axis.set_yscale("symlog", linthresh=5)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, lw=0.6)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(file, dpi=160)


def write(record: dict[str, Any]) -> None:
    """Write results, the picture and the tables of the page."""
    RESULTS.mkdir(exist_ok=True)
    FILE.write_text(json.dumps(record, indent=1) + "\n")
    order = [f"{name} {x:g}" for name in SYSTEMS for x in COMPOSITIONS]
    found = [record["fixed_lattice"].get(key, {}) for key in order]
    rows = [row for row in found if all(value in row for value in FIXED_LATTICE)]
    relaxed = [record["relaxed"][key] for key in order if key in record["relaxed"]]
    if not rows:
        return
    picture(rows, RESULTS / "disorder.png")
    fill(
        PAGE,
        {
            "machine": as_markdown(record["environment"]),
            "summary": summary(rows),
            "lattice": lattice_table(rows),
            "relaxed": relaxed_table(relaxed),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--again", action="store_true", help="forget the finished rows")
    parser.add_argument("--only-write", action="store_true", help="page and picture of stored data")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    record: dict[str, Any] = {"fixed_lattice": {}, "relaxed": {}}
    if FILE.exists() and not arguments.again:
        record = json.loads(FILE.read_text())
    if arguments.only_write:
        write(record)
        return
    record["environment"] = describe()
    record["potential"] = "sevennet-0"
    record["settings"] = {
        "mixed_cell": SMALL.model_dump(),
        "relaxed_supercells": ATOMS.model_dump(),
        "seeds": SEEDS,
        "relaxed_seeds": RELAXED_SEEDS,
    }
    double, single = (
        load_potential("sevennet-0", device="cpu", dtype=dtype) for dtype in ("float64", "float32")
    )
    for part, work, needed, wanted in (
        (
            "fixed_lattice",
            fixed_lattice,
            FIXED_LATTICE,
            [(n, x) for n in SYSTEMS for x in COMPOSITIONS],
        ),
        ("relaxed", atoms_relaxed, (), [(n, 0.5) for n, s in SYSTEMS.items() if s.relaxed]),
    ):
        for name, x in wanted:
            key = f"{name} {x:g}"
            begin, row = perf_counter(), record[part].get(key, {})
            if row and all(value in row for value in needed):
                continue
            record[part][key] = work(name, x, double, single, row)
            print(part, key, f"{perf_counter() - begin:.0f} s", flush=True)
            write(record)


if __name__ == "__main__":
    main()
