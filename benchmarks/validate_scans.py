"""Lattice parameters along compositions: ends, bounds, smoothness, and branches where there are any.

    python benchmarks/validate_scans.py          # results/scan_*, results/scans.json, the page

SevenNet-0 in float64. Each system is written when it is finished.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.io import read
from ase.optimize import BFGS
from matplotlib.figure import Figure

from alchemlip import (
    AlchemicalCalculator,
    AlchemicalPotential,
    Mixture,
    RelaxationSettings,
    load_potential,
    relax,
    relax_many,
    scan,
)
from alchemlip.crystal.plotting import plot_scan
from alchemlip.crystal.relaxation import symmetry_constraint
from alchemlip.crystal.report import describe_relaxation, flat_row
from alchemlip.crystal.scanning import ScanPoint
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STRUCTURES = HERE.parent / "examples" / "structures"
PAGE = HERE / "scans.md"

DEFAULT = RelaxationSettings()
SOFT = RelaxationSettings(fmax=2e-4, smax=5e-5, keep_symmetry=True)
"""For BiSX: along c, 1e-3 GPa is up to 0.1 Angstrom."""
END_TOLERANCE = 1e-4  # Angstrom
TIGHT = RelaxationSettings(fmax=1e-4, smax=1e-5, keep_symmetry=True)
"""Shows what of a curve's roughness is noise of the default settings."""
ENVELOPE_START = 4.5
"""Angstrom, where SevenNet-0's XPLOR envelope sets in: d2E/dr2 jumps there."""
SHELLS = {"metal-O": np.sqrt(11) / 4, "O-O": np.sqrt(3) / 2}
"""Distances of fluorite, over a, that pass the start of the envelope in these alloys."""
SHORT, LONG = 11.5, 12.8  # starts along c in Angstrom, one in each basin
BETWEEN = 12.3  # Angstrom, on the ridge
PROFILE_C = np.arange(10.4, 13.6, 0.2)

FLUORITE = {"CeO2-ZrO2": ("Ce", "Zr"), "CeO2-SnO2": ("Ce", "Sn")}
CHALCOHALIDES = {"BiSCl-BiSBr": ("Cl", "Br"), "BiSBr-BiSI": ("Br", "I"), "BiSCl-BiSI": ("Cl", "I")}
TERNARY = ("Li", "Na", "K")
SYSTEMS = (*FLUORITE, "LiCl-NaCl-KCl", "BiSX")


# ---------------------------------------------------------------------- checks


def second_differences(values: np.ndarray) -> np.ndarray:
    """f(i-1) - 2 f(i) + f(i+1) at the inner points."""
    return values[:-2] - 2.0 * values[1:-1] + values[2:]


def smoothness(values: Sequence[float]) -> dict[str, Any]:
    """Return how smooth and how monotonic an equidistant curve is.

    ``largest_jump_A`` is the largest second difference minus the mean of its two neighbours: for
    a smooth curve it falls with the fourth power of the step, noise and kinks stay.
    """
    array = np.asarray(values)
    second = second_differences(array)
    jumps = second[1:-1] - 0.5 * (second[:-2] + second[2:])
    steps = np.diff(array)
    low, high = sorted((array[0], array[-1]))
    return {
        "first_A": float(array[0]),
        "last_A": float(array[-1]),
        "monotonic": bool((steps > 0).all() or (steps < 0).all()),
        "between_ends": bool((array[1:-1] > low).all() and (array[1:-1] < high).all()),
        "largest_step_A": float(np.abs(steps).max()),
        "largest_second_difference_A": float(np.abs(second).max()),
        "largest_jump_A": float(np.abs(jumps).max()),
        "largest_from_vegard_A": float(
            max(array - np.linspace(array[0], array[-1], len(array)), key=abs)
        ),
    }


def plain_lattice(atoms: Atoms, potential: AlchemicalPotential) -> float:
    """Return a of a cubic compound, relaxed as a structure without any mixed site."""
    run = relax(Mixture.from_elements(atoms, {}), potential, DEFAULT)
    return float(np.linalg.norm(run.mixture.cell[0]))


# ---------------------------------------------------------------------- output


def write_points(name: str, points: Sequence[Mapping[str, Any]]) -> None:
    """Write records as results/scan_NAME.csv."""
    rows = [flat_row(dict(point)) for point in points]
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "seconds"))
    with (RESULTS / f"scan_{name}.csv").open("w", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for row in rows:
            writer.writerow(
                {key: round(v, 8) if isinstance(v, float) else v for key, v in row.items()}
            )


def draw(points: Sequence[ScanPoint], labels: Sequence[str], name: str, title: str) -> None:
    """Draw a scan with the package's own picture."""
    x = np.array([point.x for point in points])
    records = [point.record for point in points]
    plot_scan(x, labels, records, RESULTS / f"scan_{name}.png", title)


# ---------------------------------------------------------------------- cubic systems


def kink(
    near: Mixture, labels: Sequence[str], x: float, potential: AlchemicalPotential
) -> dict[str, Any]:
    """Return where the slope da/dx of a cubic alloy changes most within 0.04 of a composition."""
    grid = np.linspace(x - 0.04, x + 0.04, 17)
    starts = [
        near.with_composition("Ce", dict(zip(labels, (1.0 - t, t), strict=True)))
        for t in grid.tolist()
    ]
    runs = relax_many(starts, potential, TIGHT)
    a = np.array([np.linalg.norm(run.mixture.cell[0]) for run in runs])
    slopes = np.diff(a) / np.diff(grid)
    changes = np.abs(np.diff(slopes))
    worst = int(changes.argmax())
    return {
        "expected_x": x,
        "x": float(grid[worst + 1]),
        "a_A": float(a[worst + 1]),
        "slope_A": float(slopes.mean()),
        "median_slope_change_A": float(np.median(changes)),
        "largest_slope_change_A": float(changes.max()),
    }


def validate_fluorite(name: str, potential: AlchemicalPotential, points: int) -> dict[str, Any]:
    """Scan a(x) of a fluorite and compare its ends with the plain compounds."""
    pair = FLUORITE[name]
    atoms = read(STRUCTURES / "CeO2.cif")
    mixture = Mixture.from_elements(atoms, {"Ce": {pair[0]: 1.0, pair[1]: 0.0}})
    begin = process_time()
    found = scan(mixture, potential, "Ce", points=points, settings=DEFAULT)
    cpu = process_time() - begin
    write_points(name, [point.record for point in found])
    draw(found, pair, name, f"{name}, cubic fluorite, SevenNet-0")
    a = [point.record["a_A"] for point in found]
    plain = [
        plain_lattice(bulk(f"{element}O2", "fluorite", a=5.2, cubic=True), potential)
        for element in pair
    ]
    tight = [
        float(point.record["a_A"])
        for point in scan(mixture, potential, "Ce", points=points, settings=TIGHT)
    ]
    x = np.linspace(0.0, 1.0, points)
    kinks = {}
    for shell, ratio in SHELLS.items():
        crossing = float(np.interp(ENVELOPE_START / ratio, tight[::-1], x[::-1]))
        near = found[round(crossing * (points - 1))].mixture
        kinks[shell] = kink(near, pair, crossing, potential)
    unequal = max(
        abs(point.record[key] - point.record["a_A"]) for point in found for key in ("b_A", "c_A")
    )
    ends = [abs(a[0] - plain[0]), abs(a[-1] - plain[1])]
    return {
        "points": points,
        "settings": DEFAULT.model_dump(),
        "a_plain_compounds_A": plain,
        "ends_minus_plain_A": ends,
        "ends_agree": max(ends) < END_TOLERANCE,
        "largest_a_minus_b_c_A": unequal,
        "a": smoothness(a),
        "a_tight": smoothness(tight),
        "largest_default_minus_tight_A": float(np.abs(np.array(a) - tight).max()),
        "kinks": kinks,
        "mixing_energy_at_half_meV_per_atom": 1e3
        * found[points // 2].record["mixing_energy_eV_per_atom"],
        "converged": sum(point.record["converged"] for point in found),
        "evaluations": sum(point.record["evaluations"] for point in found),
        "cpu_s": cpu,
    }


def validate_ternary(name: str, potential: AlchemicalPotential, points: int) -> dict[str, Any]:
    """Scan a over the triangle of a rock salt with three cations."""
    atoms = read(STRUCTURES / "NaCl.cif")
    mixture = Mixture.from_elements(atoms, {"Na": {"Li": 0.25, "Na": 0.5, "K": 0.25}})
    begin = process_time()
    found = scan(mixture, potential, "Na", points=points, settings=DEFAULT)
    cpu = process_time() - begin
    write_points(name, [point.record for point in found])
    draw(found, TERNARY, name, "(Li,Na,K)Cl, rock salt, SevenNet-0")
    x = np.array([point.x for point in found])
    a = np.array([point.record["a_A"] for point in found])
    plain = [
        plain_lattice(bulk(f"{element}Cl", "rocksalt", a=5.6, cubic=True), potential)
        for element in TERNARY
    ]
    ends = [
        float(abs(a[int(np.flatnonzero(x[:, k] == 1.0)[0])] - value))
        for k, value in enumerate(plain)
    ]
    # A full cubic in two variables has 10 terms: what it leaves of 21 points is roughness.
    u, v = x[:, 1], x[:, 2]
    basis = np.stack([u**i * v**j for i in range(4) for j in range(4 - i)], axis=1)
    residual = a - basis @ np.linalg.lstsq(basis, a, rcond=None)[0]
    vegard = a - x @ np.array(plain)
    inner = x.max(axis=1) < 1.0
    farthest = int(np.abs(vegard).argmax())
    return {
        "points": len(found),
        "settings": DEFAULT.model_dump(),
        "a_plain_compounds_A": plain,
        "ends_minus_plain_A": ends,
        "ends_agree": max(ends) < END_TOLERANCE,
        "between_ends": bool((a[inner] > min(plain)).all() and (a[inner] < max(plain)).all()),
        "largest_residual_of_cubic_surface_A": float(np.abs(residual).max()),
        "largest_from_vegard_A": float(vegard[farthest]),
        "largest_from_vegard_at": dict(zip(TERNARY, x[farthest].tolist(), strict=True)),
        "largest_mixing_energy_meV_per_atom": 1e3
        * max(point.record["mixing_energy_eV_per_atom"] for point in found),
        "converged": sum(point.record["converged"] for point in found),
        "evaluations": sum(point.record["evaluations"] for point in found),
        "cpu_s": cpu,
    }


# ---------------------------------------------------------------------- BiSX


def halides(weights: Mapping[str, float], c: float) -> Mixture:
    """Return BiSX with a mixed halide site, stretched to a lattice parameter c."""
    atoms = read(STRUCTURES / "BiSBr.cif")
    stretch(atoms, c)
    return Mixture.from_elements(atoms, {"Br": dict(weights)})


def stretch(atoms: Atoms, c: float) -> None:
    """Scale the third cell vector, with the atoms, to a length."""
    cell = atoms.cell.array.copy()
    cell[2] *= c / np.linalg.norm(cell[2])
    atoms.set_cell(cell, scale_atoms=True)


def at_fixed_c(mixture: Mixture, potential: AlchemicalPotential) -> tuple[Mixture, float]:
    """Relax positions, a and b at fixed c in the space group; return it and its energy in eV."""
    atoms = mixture.to_atoms()
    atoms.calc = AlchemicalCalculator(potential, mixture)
    atoms.set_constraint(symmetry_constraint(mixture, 1e-3))
    target = FrechetCellFilter(atoms, mask=[1, 1, 0, 0, 0, 0], exp_cell_factor=2.0)
    BFGS(target, logfile=None).run(fmax=0.003, steps=150)
    return mixture.with_geometry(atoms), float(atoms.get_potential_energy())


def profile(weights: Mapping[str, float], potential: AlchemicalPotential) -> list[float]:
    """Return E(c) in meV/atom above its lowest value, everything but c relaxed."""
    energies = []
    mixture = halides(weights, float(PROFILE_C[0]))
    for c in PROFILE_C.tolist():
        atoms = mixture.to_atoms()
        stretch(atoms, c)
        mixture, energy = at_fixed_c(mixture.with_geometry(atoms), potential)
        energies.append(1e3 * energy / mixture.n_sites)
    return (np.array(energies) - min(energies)).tolist()


def minima(element: str, potential: AlchemicalPotential) -> dict[str, Mixture]:
    """Return the minima of a pure compound that starts in either basin of c lead to."""
    found: dict[str, Mixture] = {}
    for c in (SHORT, LONG):
        start, _ = at_fixed_c(halides({element: 1.0}, c), potential)
        run = relax(start, potential, SOFT)
        found[basin_of(float(np.linalg.norm(run.mixture.cell[2])))] = run.mixture
    return found


def basin_of(c: float) -> str:
    return "long" if c > BETWEEN else "short"


def continuations(
    potential: AlchemicalPotential, points: int
) -> tuple[dict[str, list[dict[str, Any]]], dict[str, dict[str, float]]]:
    """Follow every minimum of every end to the other end, each point starting from the last.

    Returns the records by ``pair | direction | basin`` in the order of x, and c of the minima.
    """
    x = np.linspace(0.0, 1.0, points)
    pure = {element: minima(element, potential) for element in ("Cl", "Br", "I")}
    chains: dict[str, Mixture] = {}
    weights: dict[str, Callable[[float], list[float]]] = {}
    for name, (first, second) in CHALCOHALIDES.items():
        for direction, element in (("up", first), ("down", second)):
            for basin, mixture in pure[element].items():
                key = f"{name} | {direction} | {basin}"
                chains[key] = mixture.mixed({"Br": {first: 1.0, second: 0.0}})
                weights[key] = (
                    (lambda t: [1.0 - t, t]) if direction == "up" else (lambda t: [t, 1.0 - t])
                )
    records: dict[str, list[dict[str, Any]]] = {key: [] for key in chains}
    for t in x.tolist():
        starts = [chains[key].with_composition("Br", weights[key](t)) for key in chains]
        for key, run in zip(chains, relax_many(starts, potential, SOFT), strict=True):
            chains[key] = run.mixture
            x_here = t if " up " in key else 1.0 - t
            records[key].append({"x": round(x_here, 6), **describe_relaxation(run)})
        print(f"  step {t:.2f}", flush=True)
    ordered = {key: found if " up " in key else found[::-1] for key, found in records.items()}
    where = {
        element: {basin: float(np.linalg.norm(m.cell[2])) for basin, m in found.items()}
        for element, found in pure.items()
    }
    return ordered, where


def validate_chalcohalides(potential: AlchemicalPotential, points: int) -> dict[str, Any]:
    """Follow the branches of BiS(X,Y), compare the shipped scan with them, and profile E(c)."""
    begin = process_time()
    branches, where = continuations(potential, points)
    rows = [
        {"pair": parts[0], "direction": parts[1], "basin": parts[2], **record}
        for key, found in branches.items()
        for parts in [key.split(" | ")]
        for record in found
    ]
    for row in rows:  # differently named in every pair; x says it
        row.pop("composition")
        row.pop("composition_gradient_eV", None)
    write_points("BiSX_branches", rows)
    shipped = {}
    for name, pair in CHALCOHALIDES.items():
        start = Mixture.from_elements(
            read(STRUCTURES / "BiSBr.cif"), {"Br": {pair[0]: 1.0, pair[1]: 0.0}}
        )
        found = scan(start, potential, points=points, settings=SOFT)
        write_points(name, [point.record for point in found])
        draw(found, pair, name, f"BiS({pair[0]},{pair[1]}), scan from BiSBr.cif, SevenNet-0")
        shipped[name] = found
        print(f"  scan {name}", flush=True)
    profiles = {
        label: profile(weights, potential)
        for label, weights in {
            "BiSCl": {"Cl": 1.0},
            "BiSBr": {"Br": 1.0},
            "BiSI": {"I": 1.0},
            "BiSCl0.5Br0.5": {"Cl": 0.5, "Br": 0.5},
            "BiSBr0.5I0.5": {"Br": 0.5, "I": 0.5},
            "BiSCl0.5I0.5": {"Cl": 0.5, "I": 0.5},
        }.items()
    }
    draw_branches(branches, shipped, RESULTS / "scan_BiSX_branches.png")
    draw_profiles(profiles, RESULTS / "scan_BiSX_profiles.png")

    lowest = {
        name: lowest_branch([found for key, found in branches.items() if key.startswith(name)])
        for name in CHALCOHALIDES
    }
    ends = {}
    for key, found in branches.items():
        name, direction, _ = key.split(" | ")
        last, element = (-1, 1) if direction == "up" else (0, 0)
        pure = where[CHALCOHALIDES[name][element]].values()
        ends[key] = min((found[last]["c_A"] - c for c in pure), key=abs)

    def summary(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {
            **{key: smoothness([record[f"{key}_A"] for record in records]) for key in "abc"},
            "c_A": [round(record["c_A"], 4) for record in records],
            "energy_eV_per_atom": [round(record["energy_eV_per_atom"], 7) for record in records],
            "converged": sum(bool(record["converged"]) for record in records),
        }

    return {
        "points": points,
        "settings": SOFT.model_dump(),
        "minima_c_A": where,
        "far_end_minus_nearest_minimum_c_A": ends,
        "lowest": lowest,
        "branches": {key: summary(found) for key, found in branches.items()},
        "scan": {name: summary([p.record for p in found]) for name, found in shipped.items()},
        "profile_c_A": PROFILE_C.round(2).tolist(),
        "profile_meV_per_atom": {
            key: [round(value, 3) for value in values] for key, values in profiles.items()
        },
        "cpu_s": process_time() - begin,
    }


def lowest_branch(branches: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, list[Any]]:
    """Return energy and c of the lowest of several branches at every composition."""
    chosen = [
        min(records, key=lambda r: r["energy_eV_per_atom"])
        for records in zip(*branches, strict=True)
    ]
    return {
        "energy_eV_per_atom": [record["energy_eV_per_atom"] for record in chosen],
        "c_A": [round(record["c_A"], 4) for record in chosen],
        "basin": [basin_of(record["c_A"]) for record in chosen],
    }


COLOURS = {"short": "#1b6ca8", "long": "#c2410c"}


def draw_branches(
    branches: Mapping[str, Sequence[Mapping[str, Any]]],
    shipped: Mapping[str, Sequence[ScanPoint]],
    file: Path,
) -> None:
    """Draw a, b, c and the energy of every branch, a column for each pair."""
    figure = Figure(figsize=(11.0, 9.0), layout="constrained")
    axes = figure.subplots(4, len(CHALCOHALIDES), sharex=True, sharey="row", squeeze=False)
    for column, (name, pair) in enumerate(CHALCOHALIDES.items()):
        own = {key: found for key, found in branches.items() if key.startswith(f"{name} |")}
        lowest = np.array(lowest_branch(list(own.values()))["energy_eV_per_atom"])
        for key, found in own.items():
            _, direction, basin = key.split(" | ")
            x = np.linspace(0.0, 1.0, len(found))
            energy = 1e3 * (np.array([r["energy_eV_per_atom"] for r in found]) - lowest)
            curves = [np.array([r[f"{axis}_A"] for r in found]) for axis in "abc"] + [energy]
            arrow = "from x = 0" if direction == "up" else "from x = 1"
            for axis, values in zip(axes[:, column], curves, strict=True):
                axis.plot(
                    x,
                    values,
                    ">-" if direction == "up" else "<--",
                    color=COLOURS[basin],
                    mfc=COLOURS[basin] if direction == "up" else "white",
                    ms=5,
                    lw=1.2,
                    label=f"{arrow}, {basin} c",
                )
        x = np.array([point.x[1] for point in shipped[name]])
        for axis, symbol in zip(axes[:3, column], "abc", strict=True):
            axis.plot(
                x,
                [point.record[f"{symbol}_A"] for point in shipped[name]],
                "x",
                color="#1f2933",
                ms=7,
                label="scan()",
            )
        axes[0, column].set_title(f"BiS({pair[0]},{pair[1]})", fontsize=11)
        axes[-1, column].set_xlabel(f"x, from BiS{pair[0]} (0) to BiS{pair[1]} (1)", fontsize=9)
    for axis, label in zip(
        axes[:, 0],
        ("a (Å)", "b (Å)", "c (Å)", "E above the lowest\nbranch (meV/atom)"),
        strict=True,
    ):
        axis.set_ylabel(label, fontsize=9)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, lw=0.6)
        axis.tick_params(labelsize=8)
    handles = {}
    for axis in axes[0]:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=5,
        frameon=False,
        fontsize=9,
    )
    figure.savefig(file, dpi=160)


def draw_profiles(profiles: Mapping[str, Sequence[float]], file: Path) -> None:
    """Draw E(c) of ends and midpoints."""
    figure = Figure(figsize=(8.6, 3.6), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    palette = ("#1b6ca8", "#c2410c", "#4d7c0f")
    for axis, title in zip(axes, ("pure", "x = 1/2"), strict=True):
        chosen = [key for key in profiles if ("0.5" in key) == (title != "pure")]
        for colour, key in zip(palette, chosen, strict=True):
            axis.plot(PROFILE_C, profiles[key], "o-", ms=4, lw=1.3, color=colour, label=key)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("c (Å), all else relaxed", fontsize=9)
        axis.legend(frameon=False, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, lw=0.6)
        axis.tick_params(labelsize=8)
        axis.set_ylim(-0.2, 6.5)
    axes[0].set_ylabel("E above its minimum (meV/atom)", fontsize=9)
    figure.savefig(file, dpi=160)


# ---------------------------------------------------------------------- page


def yes(value: bool) -> str:
    return "yes" if value else "no"


def cubic_table(systems: Mapping[str, Any]) -> str:
    rows = []
    for name in FLUORITE:
        if name not in systems:
            continue
        item = systems[name]
        curve = item["a"]
        rows.append(
            [
                name,
                f"{curve['first_A']:.5f}, {curve['last_A']:.5f}",
                ", ".join(f"{value:.1e}" for value in item["ends_minus_plain_A"]),
                yes(curve["between_ends"]),
                yes(curve["monotonic"]),
                f"{curve['largest_from_vegard_A']:+.4f}",
                f"{curve['largest_second_difference_A']:.1e}",
                f"{item['a_tight']['largest_jump_A']:.1e}",
                f"{item['largest_default_minus_tight_A']:.1e}",
                f"{item['mixing_energy_at_half_meV_per_atom']:+.1f}",
            ]
        )
    return table(
        [
            "system",
            "a at the ends (Å)",
            "ends - plain compounds (Å)",
            "between the ends",
            "monotonic",
            "largest a - Vegard (Å)",
            "largest second difference (Å)",
            "change of it to its neighbours, tight (Å)",
            "default - tight settings (Å)",
            "dE at 1/2 (meV/atom)",
        ],
        rows,
    )


def kink_table(systems: Mapping[str, Any]) -> str:
    rows = [
        [
            name,
            shell,
            f"{ENVELOPE_START / SHELLS[shell]:.3f}",
            f"{item['a_A']:.3f} (x = {item['x']:.3f})",
            f"{item['slope_A']:.4f}",
            f"{item['largest_slope_change_A']:.4f}",
            f"{item['median_slope_change_A']:.5f}",
        ]
        for name in FLUORITE
        if name in systems
        for shell, item in systems[name]["kinks"].items()
    ]
    return table(
        [
            "system",
            "distance",
            "a where it is 4.5 Å",
            "a of the largest change of slope (Å)",
            "da/dx (Å)",
            "largest change in a step of 0.005",
            "median change",
        ],
        rows,
    )


def ternary_table(item: Mapping[str, Any]) -> str:
    at = ", ".join(f"{key} {value:.1f}" for key, value in item["largest_from_vegard_at"].items())
    rows = [
        ["a of LiCl, NaCl, KCl (Å)", ", ".join(f"{v:.5f}" for v in item["a_plain_compounds_A"])],
        ["corners - plain (Å)", ", ".join(f"{v:.1e}" for v in item["ends_minus_plain_A"])],
        ["all inner points between LiCl and KCl", yes(item["between_ends"])],
        [
            "largest residual of a cubic surface (Å)",
            f"{item['largest_residual_of_cubic_surface_A']:.1e}",
        ],
        ["largest a - Vegard (Å)", f"{item['largest_from_vegard_A']:+.4f} at {at}"],
        [
            "largest energy of mixing (meV/atom)",
            f"{item['largest_mixing_energy_meV_per_atom']:+.1f}",
        ],
    ]
    return table(["quantity", "value"], rows)


def branch_table(item: Mapping[str, Any]) -> str:
    rows = []
    ends = item["far_end_minus_nearest_minimum_c_A"]
    for key, curve in [*item["branches"].items(), *item["scan"].items()]:
        parts = key.split(" | ")
        start = "scan()" if len(parts) == 1 else f"{parts[1]}, {parts[2]}"
        rows.append(
            [
                parts[0],
                start,
                "" if len(parts) == 1 else f"{ends[key]:+.4f}",
                *(f"{curve[k]['largest_jump_A']:.4f}" for k in "abc"),
                yes(curve["a"]["monotonic"] and curve["b"]["monotonic"]),
                ", ".join(f"{value:.2f}" for value in curve["c_A"]),
            ]
        )
    return table(
        [
            "pair",
            "path",
            "c at its far end - the pure compound's (Å)",
            "jump in a (Å)",
            "in b",
            "in c",
            "a and b monotonic",
            "c(x), x = 0 to 1 (Å)",
        ],
        rows,
    )


def write(record: Mapping[str, Any]) -> None:
    """Write the checks, and the tables of the page."""
    (RESULTS / "scans.json").write_text(json.dumps(record, indent=1) + "\n")
    systems = record["systems"]
    if not PAGE.exists():
        return
    blocks = {"machine": as_markdown(record["environment"]), "cubic": cubic_table(systems)}
    blocks["kinks"] = kink_table(systems)
    if "LiCl-NaCl-KCl" in systems:
        blocks["ternary"] = ternary_table(systems["LiCl-NaCl-KCl"])
    if "BiSX" in systems:
        blocks["branches"] = branch_table(systems["BiSX"])
    fill(PAGE, blocks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", nargs="*", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--only-write", action="store_true", help="tables of stored data")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / "scans.json"
    systems: dict[str, Any] = json.loads(file.read_text())["systems"] if file.exists() else {}
    if arguments.only_write:
        write(json.loads(file.read_text()))
        return
    potential = load_potential("sevennet-0", device="cpu", dtype="float64")
    for name in arguments.systems:
        if name in FLUORITE:
            systems[name] = validate_fluorite(name, potential, points=21)
        elif name == "BiSX":
            systems[name] = validate_chalcohalides(potential, points=11)
        else:
            systems[name] = validate_ternary(name, potential, points=6)
        print(f"{name}: {systems[name]['cpu_s']:.0f} s of CPU time", flush=True)
        ordered = {key: systems[key] for key in SYSTEMS if key in systems}
        write({"environment": describe(), "potential": "sevennet-0", "systems": ordered})


if __name__ == "__main__":
    main()
