"""The free energy of formation of a vacancy in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from alchemlip.cli.show_free_energy import show_free_energy, under_which_conditions
from alchemlip.crystal.enthalpy import found_name

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print it, and what stands beside: at rest, two crystals, concentration."""
    found = result.results
    which = f"{found['species']} vacancy on site {result.inputs['site']}"
    show_free_energy(result, f"{which} of {under_which_conditions(result)}")
    static = found_name("static_formation_energy_eV", found)
    if found.get(static) is not None:
        words = ", enthalpy" if "enthalpy" in static else ""
        typer.echo(f"At rest, 0 K{words}: {found[static]:.6f} eV.")
    two = found["two_crystals"]
    if two is not None:
        value, error = two["free_energy_eV"], two["standard_error_eV"]
        typer.echo(f"By two crystals: {value:.6f} ± {error:.6f} eV.")
    exponent = found["log10_concentration"]
    typer.echo(f"Equilibrium concentration: 10^{exponent:.2f} vacancies per site.")
