"""Vacancies in equilibrium in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from alchemlip.cli.show import show_place

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print the concentration against temperature, and the line that it follows."""
    title = str(result.record.get("source", {}).get("title", result.command))
    table = Table("T (K)", "G (eV)", "per site", title=escape(title), title_justify="left")
    for row in result.points:
        table.add_row(
            f"{row['temperature_K']:.0f}",
            f"{row['free_energy_eV']:.4f} ± {row['standard_error_eV']:.4f}",
            f"{row['concentration']:.2e}",
        )
    console = Console()
    console.print(table)
    found = result.results
    console.print(
        f"H {found['enthalpy_eV']:.4f} ± {found['enthalpy_standard_error_eV']:.4f} eV, "
        f"S {found['entropy_kB']:.2f} ± {found['entropy_standard_error_kB']:.2f} k_B",
        highlight=False,
    )
    show_place(result.folder)
