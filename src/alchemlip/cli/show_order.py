"""An ordering study in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from alchemlip.cli.show import show_place, show_warnings, warn_unconverged
from alchemlip.crystal.level import level_of_ordering

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print the shells, waves and structures as tables."""
    results = result.results
    console = Console()
    shells = Table(title="Pair interactions", title_justify="left")
    for column in ("pair", "distance (Å)", "neighbours", "J (meV)"):
        shells.add_column(column, justify="right")
    for pair, values in results["pair_interactions_meV"].items():
        for shell in values[:6]:
            shells.add_row(
                pair,
                f"{shell['distance_A']:.3f}",
                f"{shell['multiplicity']:g}",
                f"{shell['J_meV']:.2f}",
            )
    console.print(shells)
    level = level_of_ordering(results)
    table = Table(
        title=f"Ordering waves, most unstable first ({level.name})",
        title_justify="left",
        caption=f"T {level.errs}. Better: {level.better}.",
        caption_justify="left",
    )
    for column in ("point", "k", "arms", "eigenvalue (meV)", "mean-field T (K)"):
        table.add_column(column, justify="right")
    for wave in results["ordering_waves"]:
        table.add_row(
            f"{wave['label'] or '-'}{' (separates)' if wave['phase_separation'] else ''}",
            " ".join(f"{x:.3f}" for x in wave["k"]),
            str(wave["arms"]),
            f"{wave['eigenvalue_meV']:.2f}",
            f"{wave['critical_temperature_K']:.0f}",
        )
    console.print(table)
    lowest = results["lowest_interpolated_wave"]
    if results["size_effect"]:
        console.print(
            "Two phases side by side, each at its own lattice parameter (k = 0): mean-field T "
            f"{results['separation_temperature_K']:.0f} K ({level.beside()}).",
            soft_wrap=True,
        )
    elif (
        not lowest["held_by_the_supercell"]
        and lowest["eigenvalue_meV"] < results["ordering_waves"][0]["eigenvalue_meV"] - 0.1
    ):
        k = " ".join(f"{x:.3f}" for x in lowest["k"])
        console.print(
            f"The interpolated V(k) is lower at k = {k} ({lowest['eigenvalue_meV']:.2f} meV), "
            "which the supercell does not hold: try other repeats (--repeat)."
        )
    table = Table(title="Ordered structures", title_justify="left")
    for column in ("name", "space group", "energy (eV/site)", "random − ordered (meV/site)"):
        table.add_column(column, justify="right")
    for item in results["ordered_structures"]:
        table.add_row(
            item["name"],
            item["space_group"],
            f"{item['energy_eV_per_atom']:.5f}",
            f"{1e3 * item['ordering_energy_eV_per_atom']:.2f}",
        )
    console.print(table)
    if not results["converged"]:
        warn_unconverged("the mixed cell")
    show_warnings(result.record)
    show_place(result.folder)
