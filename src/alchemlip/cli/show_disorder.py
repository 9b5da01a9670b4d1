"""A random alloy in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alchemlip.cli.show import show_place, show_warnings, warn_unconverged
from alchemlip.crystal.enthalpy import external_pressure, named
from alchemlip.crystal.level import level_of_disorder, mixing_level

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print the mixing energies, the gaps and what to make of them."""
    console = Console()
    results, records = result.results, result.points
    # Of earlier versions, whose energies leave P V out, also at pressure.
    pressure = 0.0 if result.outdated else external_pressure(result.inputs)
    columns = (
        ("mean_field_mixing_energy_eV_per_atom", "mean field"),
        ("mixing_energy_eV_per_atom", "random"),
        ("local_relaxation_energy_eV_per_atom", "local"),
        ("relaxed_mixing_energy_eV_per_atom", "both"),
    )
    names = [(named(key, pressure), label) for key, label in columns]
    shown = [column for column in names if any(column[0] in record for record in records)]
    explicit = any("explicit_energy_eV_per_atom" in record for record in records)
    title = named("mixing energy", pressure) + (f" at {pressure:g} GPa" if pressure else "")
    table = Table(title=f"{title}, meV per site, at rest", title_justify="left")
    for heading in ("x", *(label for _, label in shown), "cells"):
        table.add_column(heading)
    if explicit:
        table.add_column("explicit*")
        table.add_column("seconds*")
    group = result.inputs["group"]
    for record in records:
        # The first species is the rest.
        weights = [
            f"{label.rpartition(':')[2]} {weight:.3f}"
            for label, weight in record["composition"].items()
            if label.rpartition(":")[0] == group
        ]
        cells = [" ".join(weights[1:])]
        cells += [_millielectronvolts(record.get(key)) for key, _ in shown]
        cells.append("x".join(map(str, record["supercell"] or [])))
        if explicit and "explicit_energy_eV_per_atom" in record:
            difference = (
                record["explicit_energy_eV_per_atom"]
                - record["finite_cell_random_energy_eV_per_atom"]
            )
            error = record["explicit_standard_error_eV_per_atom"] or 0.0
            cells.append(f"{1e3 * difference:+.2f} ± {1e3 * error:.2f}")
            cells.append(f"{record['explicit_seconds']:.1f}, {record['finite_cell_seconds']:.1f}")
        table.add_row(*cells)
    console.print(table)
    if explicit:
        console.print(
            "* mean of the explicit supercells less the second order of the same finite cells, and "
            "the seconds of both"
        )
    for note in dict.fromkeys(record.get("local_relaxation_note") for record in records):
        if note:
            console.print(f"[yellow]No local relaxation somewhere: {escape(note)}[/yellow]")
    _show_gaps(console, results)
    if results["n_converged"] < results["n_points"]:
        warn_unconverged("some points")
    show_warnings(result.record)
    show_place(result.folder, "disorder.png")


def _show_gaps(console: Console, results: Mapping[str, Any]) -> None:
    """Print the miscibility gaps, each with its level of theory."""
    level = level_of_disorder(results)
    for entry in results.get("at_temperature", ()):
        gaps = "; ".join(f"{a:.3f} to {b:.3f}" for a, b in entry["miscibility_gaps"]) or "none"
        console.print(
            f"{entry['temperature_K']:g} K: miscibility gap {gaps} ({level.beside()})",
            soft_wrap=True,
        )
    if results.get("at_temperature"):
        console.print(f"Better: {level.better}.", soft_wrap=True)
    level = mixing_level(relaxed=True, vibrations=True)
    for entry in results.get("with_vibrations", ()):
        note = entry.get("note")
        if note:
            console.print(f"[yellow]No vibrations at {escape(note)}[/yellow]")
            continue
        gaps = "; ".join(f"{a:.3f} to {b:.3f}" for a, b in entry["miscibility_gaps"]) or "none"
        console.print(
            f"{entry['temperature_K']:g} K with vibrations: miscibility gap {gaps} "
            f"({level.beside()})",
            soft_wrap=True,
        )


def _millielectronvolts(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:+.2f}"
