"""A design in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from alchemlip.cli.show import show_place, show_warnings

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print the composition, what its crystal has, and what a supercell has."""
    results = result.results
    console = Console()
    weights = ", ".join(f"{label} {weight:.5f}" for label, weight in results["composition"].items())
    console.print(f"{results['message']}: {weights}", highlight=False)
    for name, value in results["property"].items():
        line = f"  {name} = {value:.6g} ({results['target'][name]})"
        if "supercell_property" in results:
            line += (
                f"; with whole atoms {results['supercell_property'][name]:.6g}, predicted "
                f"{results['supercell_predicted_property'][name]:.6g}"
            )
        console.print(line, highlight=False)
    console.print(
        f"  {results['iterations']} compositions, {results['evaluations']} evaluations",
        highlight=False,
    )
    show_warnings(result.record)
    show_place(result.folder)
