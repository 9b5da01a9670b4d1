"""Volume and energy of mixing at x = 1/2: alchemical cells against explicit random supercells.

    python benchmarks/validate_random_supercells.py      # results/random_supercells.*, the page

Mixing quantities per atom, from the relaxed ends A and B of the same potential:
    dE = E(mixed) - (E_A + E_B) / 2,    dV = V(mixed) - (V_A + V_B) / 2.
Small cells in float64, supercells in float32. Each system is written when it is finished.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers
from ase.io import read
from ase.units import GPa
from matplotlib.figure import Figure

from alchemlip import AlchemicalPotential, Mixture, RelaxationSettings, load_potential, relax
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STRUCTURES = HERE.parent / "examples" / "structures"
PAGE = HERE / "random_supercells.md"

SMALL = RelaxationSettings(fmax=1e-4, smax=1e-3, keep_symmetry=True)
LARGE = RelaxationSettings(fmax=0.02, smax=0.01)
VOLUME_ERROR = 5e-5  # of ln V, where the search for the best volume stops: pressure / bulk modulus
RATTLE = 0.05  # Angstrom, standard deviation
LARGE_SEEDS = 8  # random cells of the larger size
STEP = 0.05  # of an occupancy, in central differences

METHODS = {
    "concerted": "alchemical, concerted",
    "independent": "alchemical, independent",
    "independent_fluctuation": "independent + fluctuation",
    "unrelaxed": "random cells, ideal sites",
    "unrelaxed_large": "larger random cells, ideal sites",
    "relaxed": "random cells, relaxed",
}


@dataclass(frozen=True)
class System:
    """An alloy A(1/2)B(1/2).

    Attributes:
        cell: makes the small cell, with A on the mixed sites.
        host, guest: elements A and B.
        repeats: of the small cell, for the supercells and for the larger ones.
    """

    cell: Callable[[], Atoms]
    host: str
    guest: str
    repeats: tuple[int, int, int]
    repeats_large: tuple[int, int, int]


SYSTEMS = {
    "NaCl-KCl": System(
        lambda: bulk("NaCl", "rocksalt", a=5.7, cubic=True), "Na", "K", (2, 2, 2), (3, 3, 3)
    ),
    "CeO2-ZrO2": System(
        lambda: bulk("CeO2", "fluorite", a=5.47, cubic=True), "Ce", "Zr", (2, 2, 2), (3, 3, 3)
    ),
    "Cu-Au": System(lambda: bulk("Cu", "fcc", a=3.65), "Cu", "Au", (4, 4, 4), (6, 6, 6)),
    "GaN-AlN": System(lambda: read(STRUCTURES / "GaN_hex.cif"), "Ga", "Al", (3, 3, 2), (5, 5, 3)),
}


@dataclass(frozen=True)
class Row:
    """One relaxed cell; energies and volumes per atom, mixing quantities from the ideal ends."""

    system: str
    method: str
    seed: int | None
    n_atoms: int
    energy_eV: float
    volume_A3: float
    mixing_energy_meV: float
    mixing_volume_A3: float
    mixing_volume_percent: float
    evaluations: int
    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Cell:
    """A cell at its best geometry, and what it took."""

    mixture: Mixture
    energy: float
    evaluations: int
    converged: bool
    wall_s: float
    cpu_s: float

    @property
    def energy_per_atom(self) -> float:
        return self.energy / self.mixture.n_sites

    @property
    def volume_per_atom(self) -> float:
        return abs(float(np.linalg.det(self.mixture.cell))) / self.mixture.n_sites


def relaxed(mixture: Mixture, potential: AlchemicalPotential, how: RelaxationSettings) -> Cell:
    """Relax cell and positions."""
    wall, cpu = perf_counter(), process_time()
    run = relax(mixture, potential, how)
    if not run.converged:
        print(f"  not converged: {run.max_force:.1e} eV/A, {run.max_stress:.1e} GPa", flush=True)
    times = (perf_counter() - wall, process_time() - cpu)
    return Cell(run.mixture, run.evaluation.energy, run.evaluations, run.converged, *times)


def scaled(mixture: Mixture, factor: float) -> Mixture:
    """Return the mixture with its volume multiplied, at the same fractional coordinates."""
    atoms = mixture.to_atoms()
    atoms.set_cell(mixture.cell * np.cbrt(factor), scale_atoms=True)
    return mixture.with_geometry(atoms)


def best_volume(mixture: Mixture, potential: AlchemicalPotential, bulk_modulus: float) -> Cell:
    """Minimise E(V) at fixed fractional coordinates and shape: secant steps in ln V on p = 0.

    p = -tr(stress) / 3, the stress being the exact derivative of E; the first step takes
    the bulk modulus (GPa) for -dp/d(ln V).
    """
    wall, cpu = perf_counter(), process_time()
    slope = -bulk_modulus
    before: tuple[float, float] | None = None
    log_volume = 0.0
    for count in range(1, 12):
        moved = scaled(mixture, float(np.exp(log_volume)))
        result = potential.evaluate(moved, composition_gradient=False)
        assert result.stress is not None
        pressure = -float(result.stress[:3].mean()) / GPa
        if abs(pressure) < VOLUME_ERROR * bulk_modulus:
            times = (perf_counter() - wall, process_time() - cpu)
            return Cell(moved, result.energy, count, True, *times)
        if before is not None:
            slope = (pressure - before[1]) / (log_volume - before[0])
        before = (log_volume, pressure)
        log_volume -= pressure / slope
    raise RuntimeError("the best volume was not found")


def measured_bulk_modulus(mixture: Mixture, potential: AlchemicalPotential) -> float:
    """Return the bulk modulus in GPa at fixed fractional coordinates and shape."""
    step = np.log(1.015)
    stresses = [potential.evaluate(scaled(mixture, float(np.exp(s)))).stress for s in (-step, step)]
    low, high = (float(stress[:3].mean()) / GPa for stress in stresses if stress is not None)
    return (high - low) / (2 * step)


def with_numbers(mixture: Mixture, numbers: np.ndarray) -> Mixture:
    """Return the geometry with pure sites of the given elements."""
    return Mixture(numbers, mixture.positions, mixture.cell, mixture.pbc)


def random_cell(mixture: Mixture, repeats: tuple[int, int, int], seed: int) -> Mixture:
    """Return a supercell with B on a random half of the mixed sites, and A on the others."""
    large = mixture.repeat(repeats)
    group = large.groups[0]
    host, guest = group.species[0]
    chosen = np.random.default_rng(seed).permutation(group.sites)[: len(group.sites) // 2]
    numbers = large.numbers.copy()
    numbers[group.sites] = host
    numbers[chosen] = guest
    return with_numbers(large, numbers)


def rattled(mixture: Mixture, seed: int) -> Mixture:
    """Return the mixture with displaced atoms."""
    atoms = mixture.to_atoms()
    atoms.positions += np.random.default_rng(seed).normal(0.0, RATTLE, atoms.positions.shape)
    return mixture.with_geometry(atoms)


def fluctuation_energy(
    mixture: Mixture, repeats: tuple[int, int, int], potential: AlchemicalPotential
) -> np.ndarray:
    """Return the second-order energy of random occupation in eV/atom, at fixed geometry.

    q_i is the weight of B on site i, n the number of mixed sites of the supercell:
        on site        1/2 q (1 - q) d2E/dq_i^2
        exact content  on site - 1/2 q (1 - q) sum_(j != i) d2E/(dq_i dq_j) / (n - 1)
    The first is the infinite alloy's, the second that of a supercell with exactly q n atoms B.
    """
    large = mixture.repeat(repeats)
    by_site = large.split_group(large.groups[0].name)
    n = len(by_site.groups)
    first = by_site.groups[0].name

    def slopes(q: float) -> np.ndarray:
        moved = by_site.with_composition(first, [1.0 - q, q])
        gradient = potential.evaluate(moved, forces=False, stress=False).composition_gradient
        assert gradient is not None
        return gradient.reshape(n, 2) @ [-1.0, 1.0]

    row = (slopes(0.5 + STEP) - slopes(0.5 - STEP)) / (2 * STEP)
    factor = 0.5 * 0.25 * n / large.n_sites
    own, others = float(row[0]), float(row[1:].sum())
    return factor * np.array([own, own - others / (n - 1)])


def fluctuation(
    mean_field: Cell,
    repeats: tuple[int, int, int],
    potential: AlchemicalPotential,
    bulk_modulus: float,
) -> dict[str, float]:
    """Return what the second-order energy F does to energy and volume at zero pressure.

    d(ln V) = -(dF/d(ln V)) / (B V),    dE = F - (B V / 2) (d(ln V))^2,    all per atom.
    """
    wall, cpu = perf_counter(), process_time()
    step = np.log(1.015)
    low, middle, high = (
        fluctuation_energy(scaled(mean_field.mixture, float(np.exp(shift))), repeats, potential)
        for shift in (-step, 0.0, step)
    )
    stiffness = bulk_modulus * GPa * mean_field.volume_per_atom
    log_volume = -(high - low) / (2 * step) / stiffness
    energy = 1e3 * (middle - 0.5 * stiffness * log_volume**2)
    return {
        "on_site_meV": float(energy[0]),
        "exact_content_meV": float(energy[1]),
        "on_site_volume_percent": float(100 * log_volume[0]),
        "exact_content_volume_percent": float(100 * log_volume[1]),
        "wall_s": perf_counter() - wall,
        "cpu_s": process_time() - cpu,
    }


def mean_and_error(values: Sequence[float]) -> dict[str, float]:
    """Return the mean and its standard error (0 for a single value)."""
    array = np.array(values)
    error = array.std(ddof=1) / np.sqrt(len(array)) if len(array) > 1 else 0.0
    return {"mean": float(array.mean()), "standard_error": float(error)}


def validate(
    name: str, small: AlchemicalPotential, large: AlchemicalPotential, seeds: int
) -> tuple[list[Row], dict[str, Any]]:
    """Return the rows of one system, and its summary."""
    system = SYSTEMS[name]
    atoms = system.cell()
    pair = {system.host: 0.5, system.guest: 0.5}
    start = Mixture.from_elements(atoms, {system.host: pair})
    sites = start.groups[0].sites

    def pure(element: str) -> Mixture:
        numbers = start.numbers.copy()
        numbers[sites] = atomic_numbers[element]
        return with_numbers(start, numbers)

    ends = [relaxed(pure(element), small, SMALL) for element in (system.host, system.guest)]
    energy_line = float(np.mean([end.energy_per_atom for end in ends]))
    volume_line = float(np.mean([end.volume_per_atom for end in ends]))
    rows: list[Row] = []

    def note(method: str, seed: int | None, cell: Cell) -> None:
        rows.append(
            Row(
                name,
                method,
                seed,
                cell.mixture.n_sites,
                cell.energy_per_atom,
                cell.volume_per_atom,
                1e3 * (cell.energy_per_atom - energy_line),
                cell.volume_per_atom - volume_line,
                100.0 * (cell.volume_per_atom / volume_line - 1.0),
                cell.evaluations,
                cell.wall_s,
                cell.cpu_s,
            )
        )
        print(f"  {rows[-1]}", flush=True)

    mean_field = relaxed(start, small, SMALL)
    concerted = Mixture.from_elements(atoms, {system.host: pair}, correlation="concerted")
    note("concerted", None, relaxed(concerted, small, SMALL))
    note("independent", None, mean_field)

    bulk_modulus = measured_bulk_modulus(mean_field.mixture, small)

    precision = []
    for seed in range(seeds):
        cell = best_volume(
            random_cell(mean_field.mixture, system.repeats, seed), large, bulk_modulus
        )
        note("unrelaxed", seed, cell)
        note("relaxed", seed, relaxed(cell.mixture, large, LARGE))
        if seed == 0:
            exact = small.evaluate(cell.mixture, composition_gradient=False).energy
            precision.append(1e3 * abs(exact - cell.energy) / cell.mixture.n_sites)
    for seed in range(LARGE_SEEDS):
        cell = random_cell(mean_field.mixture, system.repeats_large, seed)
        note("unrelaxed_large", seed, best_volume(cell, large, bulk_modulus))

    # Are the ends themselves stable, where the supercell gives them the room to distort?
    free = [
        relaxed(rattled(end.mixture.repeat(system.repeats), seed), large, LARGE)
        for seed, end in enumerate(ends)
    ]
    summary: dict[str, Any] = {
        "ends": {
            element: {
                "energy_eV": end.energy_per_atom,
                "volume_A3": end.volume_per_atom,
                "distortion_meV": 1e3 * (other.energy_per_atom - end.energy_per_atom),
                "distorted_volume_A3": other.volume_per_atom,
            }
            for element, end, other in zip((system.host, system.guest), ends, free, strict=True)
        },
        "bulk_modulus_GPa": bulk_modulus,
        "float32_error_meV": max(precision),
        "fluctuation": fluctuation(mean_field, system.repeats, small, bulk_modulus),
        "methods": {},
    }
    for method in METHODS:
        found = [row for row in rows if row.method == method]
        if not found:
            continue
        summary["methods"][method] = {
            "cells": len(found),
            "n_atoms": found[0].n_atoms,
            "mixing_energy_meV": mean_and_error([row.mixing_energy_meV for row in found]),
            "mixing_volume_A3": mean_and_error([row.mixing_volume_A3 for row in found]),
            "mixing_volume_percent": mean_and_error([row.mixing_volume_percent for row in found]),
            "evaluations_per_cell": float(np.mean([row.evaluations for row in found])),
            "wall_s": sum(row.wall_s for row in found),
            "cpu_s": sum(row.cpu_s for row in found),
        }
    return rows, summary


# ---------------------------------------------------------------------- output


def number(value: dict[str, float], digits: int) -> str:
    """Return ``mean ± standard error``."""
    text = f"{value['mean']:+.{digits}f}"
    error = value["standard_error"]
    return f"{text} ± {error:.{digits + (error < 0.1)}f}" if error else text


def infinite(name: str, item: dict[str, Any]) -> float:
    """Return dE of the larger random cells in meV/atom, freed from their exact content.

    Exact content shifts the energy by s / (N - 1), N mixed sites; s is known from the smaller cell.
    """
    atoms = SYSTEMS[name].cell()
    share = atoms.get_chemical_symbols().count(SYSTEMS[name].host) / len(atoms)
    small, large = (
        share * item["methods"][key]["n_atoms"] for key in ("unrelaxed", "unrelaxed_large")
    )
    terms = item["fluctuation"]
    shift = (terms["exact_content_meV"] - terms["on_site_meV"]) * (small - 1) / (large - 1)
    return float(item["methods"]["unrelaxed_large"]["mixing_energy_meV"]["mean"] - shift)


def energy_table(systems: dict[str, Any]) -> str:
    rows = []
    for name, item in systems.items():
        methods = item["methods"]
        base = methods["independent"]["mixing_energy_meV"]["mean"]
        own = base + item["fluctuation"]["on_site_meV"]
        exact = base + item["fluctuation"]["exact_content_meV"]
        lowered = float(np.mean([end["distortion_meV"] for end in item["ends"].values()]))
        shown = {key: number(methods[key]["mixing_energy_meV"], 1) for key in methods}
        rows.append(
            [
                name,
                shown["concerted"],
                shown["independent"],
                f"{own:+.1f} ({exact:+.1f})",
                f"{shown['unrelaxed']} ({methods['unrelaxed']['n_atoms']})",
                f"{shown['unrelaxed_large']} ({methods['unrelaxed_large']['n_atoms']})",
                f"{infinite(name, item):+.1f}",
                shown["relaxed"],
                f"{methods['relaxed']['mixing_energy_meV']['mean'] - lowered:+.1f}",
            ]
        )
    return table(
        [
            "dE (meV/atom)",
            "concerted",
            "independent",
            "+ fluctuation (exact content)",
            "random, ideal sites (atoms)",
            "larger, ideal sites (atoms)",
            "without exact content",
            "random, relaxed",
            "the same, from distorted ends",
        ],
        rows,
    )


def volume_table(systems: dict[str, Any]) -> str:
    rows = []
    for name, item in systems.items():
        cells = {
            key: f"{number(values['mixing_volume_A3'], 3)} "
            f"({values['mixing_volume_percent']['mean']:+.2f} %)"
            for key, values in item["methods"].items()
        }
        base = item["methods"]["independent"]["mixing_volume_percent"]["mean"]
        own = base + item["fluctuation"]["on_site_volume_percent"]
        columns = ("unrelaxed", "unrelaxed_large", "relaxed")
        rows.append(
            [
                name,
                cells["concerted"],
                cells["independent"],
                f"({own:+.2f} %)",
                *(cells[key] for key in columns),
            ]
        )
    return table(
        [
            "dV (Å³/atom)",
            "concerted",
            "independent",
            "+ fluctuation",
            "random, ideal sites",
            "larger, ideal sites",
            "random, relaxed",
        ],
        rows,
    )


def ends_table(systems: dict[str, Any]) -> str:
    rows = []
    for name, item in systems.items():
        for element, end in item["ends"].items():
            rows.append(
                [
                    f"{name}, {element} end",
                    f"{end['energy_eV']:.5f}",
                    f"{end['volume_A3']:.4f}",
                    f"{end['distortion_meV']:+.2f}",
                    f"{end['distorted_volume_A3']:.3f}",
                ]
            )
    return table(
        [
            "end",
            "E (eV/atom)",
            "V (Å³/atom)",
            "after a rattle, E (meV/atom)",
            "V (Å³/atom)",
        ],
        rows,
    )


def cost_table(systems: dict[str, Any]) -> str:
    rows = []
    for name, item in systems.items():
        methods = item["methods"]
        cell, ideal, full = (methods[key] for key in ("independent", "unrelaxed", "relaxed"))
        rows.append(
            [
                name,
                f"{cell['cpu_s']:.1f} s ({cell['evaluations_per_cell']:.0f})",
                f"{item['fluctuation']['cpu_s']:.1f} s",
                f"{ideal['cpu_s']:.0f} s ({ideal['evaluations_per_cell']:.1f})",
                f"{full['cpu_s']:.0f} s ({full['evaluations_per_cell']:.1f})",
                f"{item['float32_error_meV']:.4f}",
            ]
        )
    return table(
        [
            "CPU time (evaluations of one cell)",
            "alchemical cell",
            "fluctuation term",
            "all random cells, ideal sites",
            "all random cells, relaxed",
            "float32 - float64 (meV/atom)",
        ],
        rows,
    )


def picture(rows: Sequence[Row], systems: dict[str, Any], file: Path) -> None:
    """Draw energy and volume of mixing of every cell, method by method."""
    keys = [key for key in METHODS if key != "unrelaxed_large"]
    labels = [METHODS[key].replace(", ", ",\n").replace(" + ", "\n+ ") for key in keys]
    colours = dict(zip(keys, ("#c2410c", "#1b6ca8", "#5b9bd5", "#6b7280", "#1f2933"), strict=True))
    figure = Figure(figsize=(3.1 * len(systems), 6.4), layout="constrained")
    axes = figure.subplots(2, len(systems), sharex=True, squeeze=False)
    quantities = (
        ("mixing_energy_meV", "energy of mixing (meV/atom)"),
        ("mixing_volume_percent", "volume of mixing (%)"),
    )
    for column, (name, item) in enumerate(systems.items()):
        for line, (quantity, label) in enumerate(quantities):
            axis = axes[line, column]
            axis.axhline(0.0, ls="--", color="#9aa5b1", lw=1.0)
            for place, key in enumerate(keys):
                values = [
                    getattr(row, quantity)
                    for row in rows
                    if row.system == name and row.method == key
                ]
                if key == "independent_fluctuation":
                    base = item["methods"]["independent"][quantity]["mean"]
                    added = ("on_site_meV", "on_site_volume_percent")[line]
                    values = [base + item["fluctuation"][added]]
                if not values:
                    continue
                if len(values) > 1:
                    shifts = place + np.linspace(-0.22, 0.22, len(values))
                    axis.plot(shifts, values, "o", ms=3.5, color=colours[key], alpha=0.45, mew=0)
                    axis.plot(
                        [place - 0.3, place + 0.3],
                        [np.mean(values)] * 2,
                        color=colours[key],
                        lw=2.2,
                    )
                else:
                    axis.plot(place, values[0], "D", ms=7, color=colours[key])
            axis.set_xlim(-0.6, len(keys) - 0.4)
            axis.margins(y=0.12)
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", alpha=0.25, lw=0.6)
            axis.tick_params(labelsize=8)
            if column == 0:
                axis.set_ylabel(label, fontsize=9)
            if line == 0:
                atoms = item["methods"]["relaxed"]["n_atoms"]
                axis.set_title(f"{name}, x = 1/2 ({atoms} atoms)", fontsize=10)
            else:
                axis.set_xticks(range(len(keys)), labels, rotation=90, fontsize=8)
    figure.savefig(file, dpi=160)


def write(rows: Sequence[Row], record: dict[str, Any]) -> None:
    """Write the table, the summary, the picture, and the tables of the page."""
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / "random_supercells.csv").open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(Row.__annotations__), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            values = asdict(row).items()
            writer.writerow(
                {key: round(item, 8) if isinstance(item, float) else item for key, item in values}
            )
    (RESULTS / "random_supercells.json").write_text(json.dumps(record, indent=1) + "\n")
    systems = record["systems"]
    picture(rows, systems, RESULTS / "random_supercells.png")
    if PAGE.exists():
        fill(
            PAGE,
            {
                "machine": as_markdown(record["environment"]),
                "energy": energy_table(systems),
                "volume": volume_table(systems),
                "ends": ends_table(systems),
                "cost": cost_table(systems),
            },
        )


def stored() -> tuple[list[Row], dict[str, Any]]:
    """Return the rows and the record of the last run."""
    record = json.loads((RESULTS / "random_supercells.json").read_text())
    rows = []
    with (RESULTS / "random_supercells.csv").open(encoding="utf-8") as file:
        for line in csv.DictReader(file):
            kinds = {"system": str, "method": str, "n_atoms": int, "evaluations": int}
            values: dict[str, Any] = {
                key: kinds.get(key, float)(value) for key, value in line.items() if key != "seed"
            }
            rows.append(Row(seed=int(line["seed"]) if line["seed"] else None, **values))
    return rows, record


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", type=int, default=8, help="random cells of each system")
    parser.add_argument("--only-write", action="store_true", help="page and picture of stored data")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    if arguments.only_write:
        write(*stored())
        return
    small, large = (
        load_potential("sevennet-0", device="cpu", dtype=dtype) for dtype in ("float64", "float32")
    )
    rows: list[Row] = []
    record: dict[str, Any] = {"systems": {}}
    if set(arguments.systems) != set(SYSTEMS) and (RESULTS / "random_supercells.json").exists():
        rows, record = stored()
    begin = perf_counter()
    for name in arguments.systems:
        print(name, flush=True)
        found, summary = validate(name, small, large, arguments.seeds)
        rows = [row for row in rows if row.system != name] + found
        record = {
            "environment": describe(),
            "potential": "sevennet-0",
            "settings": {
                "small_cells": SMALL.model_dump(),
                "supercells": LARGE.model_dump(),
                "best_volume_error_of_ln_V": VOLUME_ERROR,
                "rattle_A": RATTLE,
                "seeds": list(range(arguments.seeds)),
                "seeds_large": list(range(LARGE_SEEDS)),
                "generator": "numpy.random.default_rng(seed).permutation(sites)[: n / 2] hold B",
            },
            "systems": {
                key: summary if key == name else record["systems"][key]
                for key in SYSTEMS
                if key == name or key in record["systems"]
            },
            "wall_s": perf_counter() - begin,
        }
        write(rows, record)
    print(f"{perf_counter() - begin:.0f} s", flush=True)


if __name__ == "__main__":
    main()
