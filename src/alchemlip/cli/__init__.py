"""The command line: ``alchemlip energy | relax | scan | ... | transmute | models``.

One module a command; this one is the screen that shows them all.
"""

from __future__ import annotations

import sys

import typer

from alchemlip.cli import (
    analyze,
    campaign,
    concentration,
    design,
    disorder,
    doctor,
    energy,
    frenkel_ladd,
    models,
    order,
    relax,
    scan,
    switch,
    transmute,
    vacancy,
)
from alchemlip.errors import InputError

app = typer.Typer(
    name="alchemlip",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Any composition on any site of a machine-learning interatomic potential.",
    epilog="Units: eV, Angstrom, GPa for pressure and stress. Energies per atom are per lattice "
    "site. Every command takes --settings FILE.yaml with its options by name.",
)
app.command("energy")(energy.command)
app.command("relax")(relax.command)
app.command("scan")(scan.command)
app.command("disorder")(disorder.command)
app.command("order")(order.command)
app.command("design")(design.command)
app.command("switch")(switch.command)
app.command("transmute")(transmute.command)
app.command("frenkel-ladd")(frenkel_ladd.command)
app.command("vacancy")(vacancy.command)
app.command("concentration")(concentration.command)
app.command("analyze")(analyze.command)
app.add_typer(campaign.app, name="campaign")
app.command("models")(models.command)
app.command("doctor")(doctor.command)


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2."""
    try:
        app(prog_name="alchemlip")
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns Ctrl-C into a silent exit with code 130.
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        print("Interrupted; finished work is kept.", file=sys.stderr)
        sys.exit(130)
