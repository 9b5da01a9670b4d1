"""A free energy in the terminal: its terms one by one, its error, what not to trust."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alchemlip.cli.show import show_place, show_warnings
from alchemlip.freeenergy.overlap import overlap_warning

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result, *warnings: str) -> None:
    """Print the free energy of a path in a crystal.

    Args:
        result: of a run.
        warnings: beside those that are on record.
    """
    show_free_energy(result, under_which_conditions(result), *warnings)


def under_which_conditions(result: Result) -> str:
    """Return structure, temperature and potential in words."""
    structure = Path(str(result.record.get("source", {}).get("structure_file", result.folder))).name
    temperature = result.inputs["dynamics"]["temperature_K"]
    return f"{structure} at {temperature:g} K with {result.inputs['potential']}"


def show_free_energy(result: Result, title: str, *warnings: str) -> None:
    """Print a free energy with its error, and its terms one by one.

    Args:
        result: with ``free_energy_eV`` or ``free_energy_eV_per_atom``.
        title: above the table.
        warnings: beside those that are on record.
    """
    results: Mapping[str, Any] = result.results
    unit = "eV" if "free_energy_eV" in results else "eV_per_atom"
    shown = unit.replace("_per_", "/")
    table = Table(title=escape(title), show_header=False, title_justify="left")
    for name, value in results["terms"].items():
        table.add_row(escape(name.replace("_", " ")), f"{value:.6f}", shown)
    error = results.get(f"standard_error_{unit}")
    plus = "" if error is None else f" ± {error:.6f}"
    value = f"[bold]{results[f'free_energy_{unit}']:.6f}{plus}[/bold]"
    table.add_row("[bold]free energy[/bold]", value, shown)
    low, high = results.get(f"interval_95_{unit}") or (None, None)
    if low is not None and high is not None:
        table.add_row("95 % interval", f"{low:.6f} to {high:.6f}", shown)
    if results.get(f"dissipation_{unit}") is not None:
        table.add_row("dissipation", f"{results[f'dissipation_{unit}']:.6f}", shown)
    table.add_row("method", escape(str(results["method"])), "")
    Console().print(table)
    # Records of 0.1 do not hold it.
    overlap = overlap_warning(results)
    told = [*result.warnings, *([overlap] if overlap else []), *warnings]
    show_warnings({"warnings": list(dict.fromkeys(told))})
    show_place(result.folder)
