"""The absolute free energy of a crystal in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from alchemlip.cli import show_free_energy

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print the free energy, and the convention that it rests on."""
    from alchemlip.freeenergy.frenkel_ladd import older_formula

    found = result.results
    lacking = older_formula(result.inputs, found)
    show_free_energy.show(result, *([lacking] if lacking else []))
    typer.echo(
        f"Volume of the centre of mass: {found['centre_of_mass_convention']}; N_cells "
        f"{found['n_cells']}."
    )
