"""The command line: ``alchemlip energy | relax | scan | ... | transmute | models``.

One module a command; this one is the screen that shows them all.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from alchemlip import __version__
from alchemlip.calculations import REGISTERED, calculation
from alchemlip.cli import (
    campaign,
    doctor,
    models,
    report,
    watch,
)
from alchemlip.cli.commands import command_of
from alchemlip.errors import InputError
from alchemlip.failures import sentence_of
from alchemlip.signals import ending_on_signals

app = typer.Typer(
    name="alchemlip",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Units: eV, Angstrom, GPa for pressure and stress. Energies per atom are per lattice "
    "site. Every command takes --settings FILE.yaml with its options by name.",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"alchemlip {__version__}")
        raise typer.Exit


@app.callback()
def common_options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Any composition on any site of a machine-learning interatomic potential."""


for _name in REGISTERED:
    app.command(_name)(command_of(calculation(_name)))
app.add_typer(campaign.app, name="campaign")
app.command("watch")(watch.command)
app.command("report")(report.command)
app.command("models")(models.command)
app.command("doctor")(doctor.command)


INTERRUPTED = "Interrupted: finished work is kept, and the same command goes on from there."


def main() -> None:
    """Run the command line; bad input ends with one sentence and exit code 2."""
    with ending_on_signals() as received:
        try:
            _run()
        except SystemExit as end:
            # By a shell's convention; typer's own is that of Ctrl-C.
            if end.code == 130 and received.number is not None:
                sys.exit(128 + received.number)
            raise


def _run() -> None:
    try:
        app(prog_name="alchemlip")
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    except (OSError, MemoryError, RuntimeError, ImportError) as error:
        sentence = sentence_of(error)
        if sentence is None:
            raise
        print(f"Error: {sentence}", file=sys.stderr)
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        # Typer turns Ctrl-C into a silent exit with code 130.
        if isinstance(end, SystemExit) and end.code != 130:
            raise
        print(INTERRUPTED, file=sys.stderr)
        sys.exit(130)
