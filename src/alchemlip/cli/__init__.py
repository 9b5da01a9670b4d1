"""The command line: ``alchemlip energy | relax | scan | ... | transmute | models``.

One module a command; this one is the screen that shows them all.
"""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from alchemlip import __version__
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
    report,
    scan,
    switch,
    transmute,
    vacancy,
    watch,
)
from alchemlip.errors import InputError
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
    except (OSError, MemoryError, RuntimeError) as error:
        sentence = _what_the_machine_lacks(error)
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


def _what_the_machine_lacks(error: Exception) -> str | None:
    """Return a sentence for a full disk, a folder that is closed, too little memory; else None."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"cannot write{_file(error)} ({error.strerror}): free space, and run the same command "
            "again, which goes on from what is finished"
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return (
            f"cannot use{_file(error) or ' a file'} ({error.strerror}): correct its permissions, "
            "or name another folder (--out)"
        )
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return (
            "there is too little memory: take a smaller cell, --dtype float32, or on a GPU also "
            "--device cpu, and run the same command again"
        )
    return None


def _file(error: OSError) -> str:
    return f" {str(error.filename)!r}" if error.filename is not None else ""
