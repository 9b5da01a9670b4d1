"""Free energy of mixing and miscibility gap from the collected points of a campaign.

    python miscibility.py campaign-NaCl-KCl/points.csv --components NaCl KCl --fraction 0.5 \
        --temperatures 300 500 765 900 1050 --out NaCl-KCl

Writes OUT.json, with the consolute point of every level of theory that the points allow, and
OUT.png. Energies are in eV per lattice site, x the weight of the second component.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from ase.units import kB
from matplotlib.figure import Figure

from alchemlip.disorder.mixing import BinaryMixing, consolute_point, fit_mixing
from alchemlip.disorder.quasiharmonic import (
    DISPLACEMENT,
    QuasiHarmonicCrystal,
    fit_vibrational_mixing,
)
from alchemlip.errors import InputError

Row = dict[str, str]
ORDER = 3
"""Redlich-Kister coefficients."""
DRAWS = 400
"""Of the supercells' means within their errors, for the error of a consolute temperature."""
DRAWS_OF_FITS = 20
"""The same where every temperature needs a fit."""
HOTTEST = 6000.0
INK, BEST, FAINT = "#1f2933", "#c2410c", "#9aa5b1"
LEVELS = ("#9aa5b1", "#1b6ca8", "#6d5aa8", "#2f855a", "#b7791f", "#0e7490", "#7f1d1d")


@dataclass(frozen=True)
class Level:
    """A level of theory: its mixing energy at a temperature, and the highest that it allows."""

    name: str
    mixing_at: Callable[[float], BinaryMixing]
    hottest: float = HOTTEST
    error: float | None = None


def number(row: Row, name: str) -> float | None:
    """Return a value of the table, None where it is empty."""
    return float(row[name]) if row.get(name) else None


def composition(row: Row) -> float:
    """Return x: the last composition column is that of the second component."""
    return float(row[[name for name in row if name.startswith("composition.")][-1]])


def crystal(row: Row) -> QuasiHarmonicCrystal:
    """Return the crystal at several volumes that a row holds."""

    def values(name: str) -> np.ndarray:
        found = [number(row, f"quasi_harmonic.{name}.{index}") for index in range(6)]
        return np.array([value for value in found if value is not None])

    names = ("volumes", "energies", "relaxation_energies", "log_stiffness")
    return QuasiHarmonicCrystal(
        *(values(name) for name in names), float(row["quasi_harmonic.log_mass"])
    )


def constant(curve: BinaryMixing) -> Callable[[float], BinaryMixing]:
    """Return the same curve for every temperature."""
    return lambda temperature: curve


def static_levels(rows: Sequence[Row], fraction: float) -> list[Level]:
    """Return mean field and random alloy on the ideal lattice."""
    levels = []
    for name, column in (
        ("mean field", "mean_field_mixing_energy_eV_per_atom"),
        ("random alloy, ideal lattice", "mixing_energy_eV_per_atom"),
    ):
        found = {composition(row): number(row, column) for row in rows}
        x = sorted(found)
        curve = fit_mixing(x, [found[value] for value in x], fraction, ORDER)
        levels.append(Level(name, constant(curve)))
    return levels


@dataclass(frozen=True)
class Supercells:
    """Relaxed explicit supercells: mixing energies (P,) and standard errors (P,) in eV a site."""

    x: np.ndarray
    energies: np.ndarray
    errors: np.ndarray
    fraction: float

    def curve(self, rng: np.random.Generator | None = None) -> BinaryMixing:
        """Return the smooth mixing energy, of means drawn within their errors if asked."""
        noise = 0.0 if rng is None else rng.normal(size=len(self.x)) * self.errors
        return fit_mixing(self.x, self.energies + noise, self.fraction, ORDER)


def supercells(rows: Sequence[Row], fraction: float) -> Supercells | None:
    """Return the relaxed supercells of a table, measured from its ideal ends."""
    found: dict[float, list[tuple[int, float, float]]] = {}
    for row in rows:
        energy = number(row, "explicit_relaxed_energy_eV_per_atom")
        if energy is None:
            continue
        line = float(row["random_energy_eV_per_atom"]) - float(row["mixing_energy_eV_per_atom"])
        error = number(row, "explicit_relaxed_standard_error_eV_per_atom") or 0.0
        cells = int(float(row["explicit_cells"]))
        found.setdefault(composition(row), []).append((cells, energy - line, error))
    if not found:
        return None
    x = sorted(found)
    counts, means, squares = [], [], 0.0
    for value in x:
        n, mean, error = np.array(found[value]).T
        counts.append(float(n.sum()))
        means.append(float(n @ mean / n.sum()))
        squares += float((n * (n - 1.0) * error**2 + n * (mean - means[-1]) ** 2).sum())
    # Few cells a composition: one variance for all of them.
    variance = squares / (sum(counts) - len(counts))
    errors = np.sqrt(variance / np.array(counts))
    return Supercells(np.array(x), np.array(means), errors, fraction)


def vibrational(
    x: Sequence[float],
    crystals: Sequence[QuasiHarmonicCrystal],
    fraction: float,
    expansion: bool,
) -> Callable[[float], BinaryMixing]:
    """Return F of mixing at a temperature beyond the energies of the atoms at rest."""
    rest = static_curve(x, crystals, fraction)

    @cache
    def at(temperature: float) -> BinaryMixing:
        whole = fit_vibrational_mixing(
            x, crystals, temperature, fraction, expansion=expansion, order=ORDER
        )
        return BinaryMixing(whole.coefficients - rest.coefficients, fraction)

    return at


def static_curve(
    x: Sequence[float], crystals: Sequence[QuasiHarmonicCrystal], fraction: float
) -> BinaryMixing:
    """Return the mixing energy at rest, local relaxation to second order included."""
    energies = np.array([item.energy() for item in crystals])
    ends = energies[0] + np.array(x) * (energies[-1] - energies[0])
    return fit_mixing(x, energies - ends, fraction, ORDER)


def hottest_crystal(crystals: Sequence[QuasiHarmonicCrystal]) -> float:
    """Return the temperature in K up to which every crystal has a volume of least free energy."""
    temperatures = np.arange(50.0, 1500.0, 10.0)
    for previous, temperature in itertools.pairwise(temperatures.tolist()):
        try:
            for item in crystals:
                item.volume(temperature)
        except InputError:
            return previous
    return temperature


def vibrating(rows: Sequence[Row]) -> dict[str, tuple[list[float], list[QuasiHarmonicCrystal]]]:
    """Return compositions and crystals of every run with vibrations, by its displacement in A."""
    found: dict[str, dict[float, QuasiHarmonicCrystal]] = {}
    for row in rows:
        if row.get("quasi_harmonic.log_mass"):
            displacement = row.get("displacement") or str(DISPLACEMENT)
            found.setdefault(displacement, {})[composition(row)] = crystal(row)
    return {
        displacement: (sorted(held), [held[x] for x in sorted(held)])
        for displacement, held in sorted(found.items())
    }


def levels_of(rows: Sequence[Row], fraction: float, own: float | None) -> list[Level]:
    """Return all levels of theory that a table allows, the best last.

    Args:
        rows: of the table.
        fraction: disordered sites over all sites.
        own: mean logarithm of the stiffness of a relaxed supercell at x = 1/2, if known.
    """
    rng = np.random.default_rng(0)
    levels = static_levels(rows, fraction)
    sets = vibrating(rows)
    for displacement, (x, crystals) in sets.items():
        name = f"relaxed to second order ({displacement} Å)"
        levels.append(Level(name, constant(static_curve(x, crystals, fraction))))
    cells = supercells(rows, fraction)
    if cells:
        levels.append(supercell_level("relaxed supercells", cells, None, rng))
    for expansion, kind in ((True, "quasi-harmonic"), (False, "harmonic")):
        for displacement, (x, crystals) in sets.items():
            limit = hottest_crystal(crystals) if expansion else HOTTEST
            at = vibrational(x, crystals, fraction, expansion)
            if cells:
                name = f"supercells, {kind} mean field ({displacement} Å)"
                levels.append(supercell_level(name, cells, at, rng, limit))
    if sets and cells and own is not None:
        x, crystals = next(iter(sets.values()))
        ends = [crystals[0].log_stiffness_at_rest(), crystals[-1].log_stiffness_at_rest()]
        excess = own - 0.5 * (ends[0] + ends[1])

        def at(temperature: float) -> BinaryMixing:
            # Known at x = 1/2 alone: a regular solution's x (1 - x).
            coefficients = np.zeros(ORDER)
            coefficients[0] = 4.0 * 1.5 * kB * temperature * excess
            return BinaryMixing(coefficients, fraction)

        levels.append(supercell_level("supercells, their own vibrations", cells, at, rng))
    return levels


def supercell_level(
    name: str,
    cells: Supercells,
    vibrations: Callable[[float], BinaryMixing] | None,
    rng: np.random.Generator,
    hottest: float = HOTTEST,
) -> Level:
    """Return a level that stands on supercells, with the error of its consolute temperature."""

    def added(static: BinaryMixing) -> Callable[[float], BinaryMixing]:
        def at(temperature: float) -> BinaryMixing:
            if vibrations is None:
                return static
            more = vibrations(temperature)
            return BinaryMixing(static.coefficients + more.coefficients, cells.fraction)

        return at

    if vibrations is None:
        drawn = [cells.curve(rng).critical_point() for _ in range(DRAWS)]
    else:
        drawn = [
            consolute_point(added(cells.curve(rng)), highest=hottest) for _ in range(DRAWS_OF_FITS)
        ]
    found = [point[1] for point in drawn if point is not None]
    error = float(np.std(found)) if found else None
    return Level(name, added(cells.curve()), hottest, error)


def describe(level: Level, temperatures: Sequence[float]) -> dict[str, object]:
    """Return the consolute point, and gap and spinodal at the temperatures."""
    point = consolute_point(level.mixing_at, highest=level.hottest)
    rows = []
    for temperature in temperatures:
        if temperature > level.hottest:
            continue
        curve = level.mixing_at(temperature)
        grid = np.linspace(0.0, 1.0, 21)
        rows.append(
            {
                "temperature_K": temperature,
                "x": grid.tolist(),
                "free_energy_of_mixing_eV_per_atom": curve.free_energy(grid, temperature).tolist(),
                "miscibility_gaps": curve.miscibility_gaps(temperature),
                "spinodal": curve.spinodal(temperature),
            }
        )
    return {
        "level": level.name,
        "consolute_composition": point[0] if point else None,
        "consolute_temperature_K": point[1] if point else None,
        "standard_error_K": level.error,
        "highest_temperature_K": level.hottest if level.hottest < HOTTEST else None,
        "at_temperature": rows,
    }


def solvus(level: Level, temperature: float, lower_end: float) -> float | None:
    """Return the x of the solution in equilibrium with another phase of the pure second component.

    The tangent of F_mix at x meets x = 1 at -lower_end: F + (1 - x) dF/dx = -lower_end.

    Args:
        level: of the solution.
        temperature: in K.
        lower_end: how far that phase lies below the second end, eV per site.
    """
    curve = level.mixing_at(temperature)
    x = np.linspace(1e-4, 0.999, 4000)
    meets = curve.free_energy(x, temperature) + (1.0 - x) * curve.slope(x, temperature)
    beyond = np.flatnonzero(meets > -lower_end)
    return float(x[beyond[0]]) if len(beyond) and beyond[0] else None


def boundary(level: Level, top: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return temperatures (N,), and binodal (N, 2) and spinodal (N, 2) below a temperature."""
    temperatures = top * (1.0 - np.linspace(0.0, 1.0, 60)[::-1] ** 2 * 0.8) - 0.05
    kept, binodal, spinodal = [], [], []
    for temperature in temperatures.tolist():
        curve = level.mixing_at(temperature)
        gaps, inner = curve.miscibility_gaps(temperature), curve.spinodal(temperature)
        if gaps and len(inner) >= 2:
            kept.append(temperature)
            binodal.append(max(gaps, key=lambda gap: gap[1] - gap[0]))
            spinodal.append((inner[0], inner[-1]))
    return np.array(kept), np.array(binodal), np.array(spinodal)


def draw(
    levels: Sequence[Level],
    results: Sequence[dict[str, object]],
    temperatures: Sequence[float],
    components: Sequence[str],
    marks: Sequence[Sequence[float]],
    other: tuple[str, float] | None,
    file: Path,
) -> None:
    """Draw F_mix(x, T) of the best level, and the gaps of all; ``other``: as of `solvus`."""
    figure = Figure(figsize=(9.6, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    best = levels[-1]
    grid = np.linspace(0.0, 1.0, 401)
    shades = np.linspace(0.3, 1.0, len(temperatures)).tolist()
    for temperature, shade in zip(temperatures, shades, strict=True):
        curve = best.mixing_at(temperature)
        free = 1e3 * curve.free_energy(grid, temperature)
        left.plot(grid, free, color=BEST, alpha=shade, lw=1.6, label=f"{temperature:g} K")
        for gap in curve.miscibility_gaps(temperature):
            ends = 1e3 * curve.free_energy(np.array(gap), temperature)
            left.plot(gap, ends, "o--", color=INK, ms=3.5, lw=0.9)
    left.axhline(0.0, color=FAINT, lw=0.8, ls="--")
    left.set_ylabel("free energy of mixing (meV/site)")
    left.set_title(best.name, fontsize=9, color=INK)
    left.legend(frameon=False, fontsize=8, ncols=3, loc="upper center", bbox_to_anchor=(0.5, -0.13))
    for index, (level, result) in enumerate(zip(levels, results, strict=True)):
        top = result["consolute_temperature_K"] or level.hottest
        if result["consolute_temperature_K"] is None:
            continue
        at, binodal, spinodal = boundary(level, top)
        last = level is best
        colour = BEST if last else LEVELS[index % len(LEVELS)]
        for side in (0, 1) if len(at) else ():
            label = level.name if side == 0 else None
            right.plot(binodal[:, side], at, color=colour, lw=2.2 if last else 1.2, label=label)
            if last:
                label = "its spinodal" if side == 0 else None
                right.plot(spinodal[:, side], at, color=colour, lw=1.2, ls=":", label=label)
    if other is not None:
        at = np.linspace(300.0, 2600.0, 93)
        found = [(solvus(best, t, other[1]), t) for t in at.tolist()]
        kept = np.array([pair for pair in found if pair[0] is not None])
        label = f"saturated with {other[0]}"
        right.plot(kept[:, 0], kept[:, 1], color=INK, lw=1.6, ls="--", label=label)
    for index, (x, temperature) in enumerate(marks):
        label = "experiment" if index == 0 else None
        right.plot(x, temperature, "*", color=INK, ms=9, label=label)
    right.set_ylabel("temperature (K)")
    right.set_ylim(bottom=0.0)
    right.legend(
        frameon=False, fontsize=7.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.13)
    )
    for axis in (left, right):
        axis.set_xlabel(f"x, from {components[0]} (0) to {components[1]} (1)")
        axis.set_xlim(0.0, 1.0)
        axis.grid(alpha=0.25, lw=0.6)
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=8)
    figure.savefig(file, dpi=180)


def main() -> None:
    """Read a table, write results and picture, print the consolute points."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("points", type=Path, help="points.csv of alchemlip campaign collect")
    parser.add_argument("--components", nargs=2, required=True)
    parser.add_argument("--fraction", type=float, required=True, help="disordered sites over all")
    parser.add_argument("--temperatures", type=float, nargs="+", required=True, help="K")
    parser.add_argument("--end", type=Path, help="table.csv with a lower state of the second end")
    parser.add_argument("--end-name", default="the relaxed end", help="what it is called")
    parser.add_argument("--vibrations", type=Path, help="of a supercell, supercell_vibrations.py")
    parser.add_argument("--mark", action="append", default=[], help="measured x,T; repeatable")
    parser.add_argument("--out", type=Path, required=True, help="of OUT.json and OUT.png")
    options = parser.parse_args()
    rows = list(csv.DictReader(options.points.open()))
    lower = 0.0
    if options.end:
        (end,) = csv.DictReader(options.end.open())
        pure = next(row for row in rows if composition(row) == 1.0)
        lower = float(pure["random_energy_eV_per_atom"]) - float(end["energy_eV_per_atom"])
    own = None
    if options.vibrations:
        own = float(json.loads(options.vibrations.read_text())["log_stiffness"])
    levels = levels_of(rows, options.fraction, own)
    results = [describe(level, options.temperatures) for level in levels]
    other = (options.end_name, lower) if options.end else None
    marks = [tuple(map(float, mark.split(","))) for mark in options.mark]
    out = options.out
    out.parent.mkdir(parents=True, exist_ok=True)
    if other is not None:
        results.append(
            {
                "level": f"{levels[-1].name}, saturated with {other[0]}",
                "lower_end_eV_per_atom": lower,
                "solvus": [
                    {"temperature_K": t, "x": solvus(levels[-1], t, lower)}
                    for t in options.temperatures
                ],
            }
        )
    out.with_name(out.name + ".json").write_text(json.dumps(results, indent=1) + "\n")
    draw(
        levels, results[: len(levels)], options.temperatures, options.components, marks, other,
        out.with_name(out.name + ".png"),
    )  # fmt: skip
    print("| level of theory | x_c | T_c (K) |\n| --- | --- | --- |")
    for result in results[: len(levels)]:
        x, temperature = result["consolute_composition"], result["consolute_temperature_K"]
        error = result["standard_error_K"]
        if temperature is None:
            print(f"| {result['level']} | | above {result['highest_temperature_K']:g} |")
            continue
        spread = f" ± {error:.0f}" if error is not None else ""
        print(f"| {result['level']} | {x:.2f} | {temperature:.0f}{spread} |")
    for row in results[-1].get("solvus", ()):
        print(f"{row['temperature_K']:g} K, saturated with {other[0]}: x = {row['x']}")


if __name__ == "__main__":
    main()
