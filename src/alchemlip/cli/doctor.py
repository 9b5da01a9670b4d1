"""``alchemlip doctor``: what works on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli.completion import complete_model

if TYPE_CHECKING:
    from alchemlip.doctor.folder import FolderState
    from alchemlip.doctor.machine import ComputeState
    from alchemlip.doctor.packages import PackageState
    from alchemlip.doctor.potentials import PotentialState

Chosen = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="Check this potential, and no other. May be repeated.",
        metavar="NAME",
        show_default="all that are installed",
        autocompletion=complete_model,
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Load no potential.")]


def command(
    model: Chosen = [],
    trust_file: Annotated[
        bool,
        typer.Option(
            "--trust-file", help="Allow a local checkpoint: a pickle, which can run code."
        ),
    ] = False,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")] = "auto",
    quick: Quick = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell what works here: packages, potentials, GPU, threads, and the current folder.

    Loads every installed potential, compares it with its own package on a crystal, and times it.
    Nothing is downloaded. Exit code 1 if something that is installed or asked for does not work.

    Example: alchemlip doctor --model sevennet-0
    """
    from alchemlip import __version__
    from alchemlip.doctor.folder import folder_state
    from alchemlip.doctor.machine import compute_state
    from alchemlip.doctor.packages import package_states

    packages = package_states()
    compute = compute_state()
    folder = folder_state(Path.cwd())
    potentials = [] if quick else _potentials(model, device, trust_file)
    problems = _problems(packages, folder, potentials, quick)
    remarks = [*compute.remarks, *folder.remarks]
    if not quick and not potentials and _mace_here(packages):
        remarks.append(
            "mace is installed, but none of its models is here yet: the first --model "
            "mace-mp-small downloads it"
        )
    if as_json:
        print(
            json.dumps(
                {
                    "alchemlip": __version__,
                    "python": _python(),
                    "packages": [asdict(package) for package in packages],
                    "compute": asdict(compute),
                    "folder": asdict(folder),
                    "potentials": [asdict(potential) for potential in potentials],
                    "problems": problems,
                    "remarks": remarks,
                },
                indent=1,
            )
        )
    else:
        _show(packages, compute, folder, potentials)
        _conclude(problems, remarks)
    if problems:
        raise typer.Exit(1)


def _potentials(model: Sequence[str], device: str, trust: bool) -> list[PotentialState]:
    from rich.console import Console

    from alchemlip.doctor.potentials import check_potential, names_here

    with Console(stderr=True).status("") as status:
        found = []
        for name in model or names_here():
            status.update(f"loading {name}")
            found.append(check_potential(name, device, trust))
    return found


def _problems(
    packages: Sequence[PackageState],
    folder: FolderState,
    potentials: Sequence[PotentialState],
    quick: bool,
) -> list[str]:
    """Return a sentence for each thing that does not work."""
    found = []
    for package in packages:
        missing = package.version is None
        if package.fits or (missing and package.extra):
            continue  # an extra that was not asked for
        fault = "is missing" if missing else f"{package.version} is not {package.wanted}"
        found.append(f"the package {package.name} {fault}: {package.remedy}")
    found += folder.problems
    found += [f"{state.name}: {state.reason}" for state in potentials if not state.works]
    if not quick and not potentials and not _mace_here(packages):
        found.append("no potential is installed: pip install 'alchemlip[sevennet]'")
    return found


def _mace_here(packages: Sequence[PackageState]) -> bool:
    return any(state.name == "mace-torch" and state.version is not None for state in packages)


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))


def _show(
    packages: Sequence[PackageState],
    compute: ComputeState,
    folder: FolderState,
    potentials: Sequence[PotentialState],
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alchemlip import __version__

    console = Console()
    table = Table(title=f"alchemlip {__version__}, Python {_python()}", title_justify="left")
    for column in ("for", "packages", "remedy"):
        table.add_column(column, overflow="fold")
    base = [package for package in packages if not package.extra]
    missing = [package for package in base if not package.fits]
    table.add_row("alchemlip", f"{len(base) - len(missing)} of {len(base)} are here", "")
    for package in missing:
        table.add_row("alchemlip", escape(_with_version(package)), escape(package.remedy))
    for extra in dict.fromkeys(package.extra for package in packages if package.extra):
        members = [package for package in packages if package.extra == extra]
        remedy = next((member.remedy for member in members if not member.fits), "")
        shown = ", ".join(map(_with_version, members))
        table.add_row(escape(f"[{extra}]"), escape(shown), escape(remedy))
    console.print(table)

    table = Table(title="This machine", title_justify="left", show_header=False)
    build = f"CUDA {compute.cuda}" if compute.cuda else "CPU only"
    table.add_row("torch", f"{compute.torch} ({build})")
    gpus = ", ".join(f"{gpu.name}, {gpu.memory_GiB:.0f} GiB" for gpu in compute.gpus)
    table.add_row("GPU", escape(gpus) or "none")
    table.add_row("threads", f"{compute.threads} of torch on {compute.cores} cores")
    table.add_row("folder", escape(folder.path))
    table.add_row("file locks", _works(folder.locks))
    table.add_row("run records", _works(folder.records))
    sync = "-" if folder.sync_ms is None else f"{folder.sync_ms:.1f} ms"
    table.add_row("a small file on the disk", sync)
    table.add_row("free space", f"{folder.free_GiB:.1f} GiB")
    console.print(table)

    if not potentials:
        return
    table = Table(title="Potentials", title_justify="left")
    table.add_column("potential", no_wrap=True)
    for column in ("works", "device", "load, s", "off its package, eV/atom", "ms"):
        table.add_column(column, overflow="fold")
    for state in potentials:
        table.add_row(
            escape(state.name),
            _works(state.works),
            state.device or "-",
            _number(state.load_s, "{:.1f}"),
            _number(state.one_hot_error_eV_per_atom, "{:.1e}"),
            _number(state.evaluation_ms, "{:.1f}"),
        )
    console.print(table)
    console.print(
        "ms: energy, forces, stress and composition gradient of 8 mixed sites, in float64."
    )


def _conclude(problems: Sequence[str], remarks: Sequence[str]) -> None:
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    for remark in remarks:
        console.print(f"[yellow]Note: {escape(remark)}[/yellow]", highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"[red]Problem: {escape(problem)}[/red]", highlight=False, soft_wrap=True)
    if not problems:
        console.print("No problem found.")


def _with_version(package: PackageState) -> str:
    return f"{package.name} {package.version or 'missing'}"


def _works(value: bool) -> str:
    return "yes" if value else "[red]no[/red]"


def _number(value: Any, form: str) -> str:
    return "-" if value is None else form.format(value)
