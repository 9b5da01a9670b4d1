"""What recorded runs say, in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alchemlip.cli.show import show_warnings

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result

OTHERS = (
    ("mean of (W_f - W_r)/2", "mean_of_pairs_eV"),
    ("Crooks, crossing of Gaussians", "crooks_gaussian_crossing_eV"),
    ("Jarzynski, forward", "jarzynski_forward_eV"),
    ("Jarzynski, backward", "jarzynski_backward_eV"),
)
"""Estimators that stand below the first, and their columns."""


def show(result: Result) -> None:
    """Print every run, and where phases cross."""
    for run in result.results.get("runs", []):
        _show_run(run)
    show_warnings(result.record)
    for sentence in result.results.get("crossings", []):
        typer.echo(sentence)
    typer.echo(f"Tables and pictures in {result.folder}")


def _show_run(run: Mapping[str, Any]) -> None:
    """Print a run's progress, its estimates side by side, and its terms."""
    console = Console()
    console.print(
        f"[bold]{escape(run['run'])}[/bold] ({run['command']}): {escape(run['progress'])}"
    )
    for row in run["estimates"]:
        console.print(_table(row))
    whole = run["whole"]
    if whole is not None:
        unit = "eV_per_atom" if "free_energy_eV_per_atom" in whole else "eV"
        terms = ", ".join(f"{key} {value:.6f}" for key, value in whole["terms"].items())
        console.print(
            f"free energy {whole[f'free_energy_{unit}']:.6f} {unit.replace('_per_', '/')}: "
            f"{escape(terms)}",
            highlight=False,
        )
    elif run["estimates"] and run["status"] != "finished":
        console.print("The path alone; the other terms come when the run is finished.")
    if run["exported"]:
        typer.echo(f"Exported: {', '.join(run['exported'])}")


def _table(row: Mapping[str, Any]) -> Table:
    table = Table(
        title=escape(f"{row['path']}, {row['temperature_K']:g} K, eV for the whole cell"),
        show_header=False,
        title_justify="left",
    )
    value = f"{row['free_energy_eV']:.5f}{_plus_minus(row['standard_error_eV'])}"
    table.add_row(f"[bold]{row['method']}[/bold]", f"[bold]{value}[/bold]")
    low, high = row["interval_low_eV"], row["interval_high_eV"]
    told = "none: a single repeat" if high is None else f"{low:.5f} to {high:.5f}"
    table.add_row("95 % interval", told)
    for label, key in OTHERS:
        if row.get(key) is not None:
            table.add_row(label, f"{row[key]:.5f}")
    if row["dissipation_eV"] is not None:
        plus = _plus_minus(row["dissipation_standard_error_eV"])
        table.add_row("dissipation", f"{row['dissipation_eV']:.5f}{plus}")
    if row["overlap"] is not None:
        table.add_row("overlap", f"{row['overlap']:.3f}")
    return table


def _plus_minus(error: float | None) -> str:
    return "" if error is None else f" ± {error:.5f}"
