"""A scan in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from alchemlip.cli.show import show_place, show_warnings, warn_unconverged
from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.crystal.level import scan_level

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print how the points ended."""
    found = result.results
    Console().print(
        f"{found['n_converged']} of {found['n_points']} points converged, "
        f"{found['evaluations']} evaluations."
    )
    key = found_name("smallest_mixing_energy_eV_per_atom", found)
    low, high = (1e3 * found[key.replace("smallest", end)] for end in ("smallest", "largest"))
    group = result.inputs["groups"][result.inputs["scanned_group"]]
    level = scan_level(group["correlation"])
    Console().print(
        f"{named('Mixing energy', 'enthalpy' in key)} {low:+.1f} to {high:+.1f} meV/site "
        f"({level.beside()})",
        highlight=False,
        soft_wrap=True,
    )
    if found["n_converged"] < found["n_points"]:
        warn_unconverged("some points (marked in the picture)")
    show_warnings(result.record)
    show_place(result.folder, "scan.png")
