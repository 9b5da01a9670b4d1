"""``alchemlip analyze``: what recorded runs say, finished or not, and which phase is stable."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.analysis import Analysis
    from alchemlip.runs import RunRecord

Folders = Annotated[
    list[Path] | None, typer.Argument(help="Results folders of runs, finished or not.")
]
Phases = Annotated[
    list[str],
    typer.Option(
        "--phases",
        help="Runs of one phase at several temperatures; give it for every phase. With numbers as "
        "names, 0.25=FOLDER,..., they are compositions x.",
        metavar="NAME=FOLDER,FOLDER...",
    ),
]
Temperatures = Annotated[
    str | None,
    typer.Option(
        "--temperatures",
        help="Temperatures of the table of phases, FIRST,LAST,NUMBER in K.",
        show_default="all that the runs cover",
    ),
]
Export = Annotated[
    bool, typer.Option("--export", help="Write u_nk and dHdl, which alchemlyb reads (parquet).")
]
AnalysisOut = Annotated[
    Path, typer.Option("--out", help="Where tables and pictures go; files there are replaced.")
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of the bootstrap and of drawn errors.")]


def command(
    folders: Folders = None,
    phases: Phases = [],
    temperatures: Temperatures = None,
    export: Export = False,
    seed: Seed = 0,
    out: AnalysisOut = Path("analysis"),
    settings: opt.Settings = None,
) -> None:
    """Estimate again from run records, and compare phases.

    Reads runs of 'switch', 'transmute', 'frenkel-ladd' and 'vacancy', also while they run. Writes
    estimates.csv, convergence and pictures of each run; with --phases phases.csv and phases.png.

    Example: alchemlip analyze run-300K --phases alpha=a-300K,a-400K --phases delta=d-300K,d-400K
    """
    import numpy as np

    from alchemlip.runs import RunRecord

    chosen = list(folders or [])
    if not chosen and not phases:
        raise InputError("nothing to analyze: name results folders, or --phases NAME=FOLDER,...")
    if export and not chosen:
        raise InputError("--export writes tables of runs: name their folders before --phases")
    compared = [_parse_phase(text) for text in phases]
    at = None if temperatures is None else _parse_temperatures(temperatures)
    rng = np.random.default_rng(seed)
    records = [RunRecord.read(folder) for folder in chosen]
    try:
        out.mkdir(parents=True, exist_ok=True)
        if records:
            _analyze_records(chosen, records, out, export, rng)
        if compared:
            _compare(compared, at, out, rng)
    except OSError as error:
        raise InputError(
            f"cannot write to the folder {str(out)!r} ({error.strerror}): name another one (--out)"
        ) from error
    finally:
        for record in records:
            record.close()
    typer.echo(f"Tables and pictures in {out}")


def _analyze_records(
    folders: Sequence[Path], records: Sequence[RunRecord], out: Path, export: bool, rng: Any
) -> None:
    from alchemlip.freeenergy.analysis import analyse
    from alchemlip.freeenergy.export import export_record
    from alchemlip.freeenergy.phase_plots import plot_recorded_windows
    from alchemlip.freeenergy.plotting import plot_switching
    from alchemlip.freeenergy.recorded import legs_of
    from alchemlip.results import write_table

    rows = []
    for name, record in zip(_short_names(folders), records, strict=True):
        analysis = analyse(record, rng)
        _show(name, record, analysis)
        rows += _estimate_rows(name, record, analysis)
        if legs_of(record):
            plot_switching(
                record, {"temperature_K": analysis.temperature_K}, out / f"{name}-switching.png"
            )
        if "windows, TI" in analysis.estimates:
            plot_recorded_windows(record, analysis.temperature_K, out / f"{name}-windows.png")
        for path, table in analysis.convergence.items():
            ending = path.replace(", ", "-").replace("/", "-")
            write_table(out / f"{name}-convergence-{ending}.csv", table)
        if export:
            files = export_record(record, out, analysis.temperature_K, prefix=f"{name}-")
            typer.echo(f"Exported: {', '.join(file.name for file in files.values())}")
    if rows:
        write_table(out / "estimates.csv", rows)
    _plot_times(rows, records, out / "switching_time.png")


def _estimate_rows(name: str, record: RunRecord, analysis: Analysis) -> list[dict[str, Any]]:
    return [
        {
            "run": name,
            "command": record.command,
            "path": path,
            "temperature_K": analysis.temperature_K,
            "switching_time_ps": analysis.switching_time_ps.get(path),
            **{
                key: value
                for key, value in estimate.results().items()
                if not key.startswith("interval")
            },
            "interval_low_eV": estimate.results()["interval_95_eV"][0],
            "interval_high_eV": estimate.results()["interval_95_eV"][1],
            **{
                key: value
                for key, value in estimate.details.items()
                if isinstance(value, float) and key.endswith("_eV")
            },
        }
        for path, estimate in analysis.estimates.items()
    ]


def _show(name: str, record: RunRecord, analysis: Analysis) -> None:
    """Print a run's progress, its estimates side by side, and its terms."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alchemlip.freeenergy.analysis import as_recorded

    console = Console()
    console.print(f"[bold]{escape(name)}[/bold] ({record.command}): {escape(analysis.progress)}")
    for path, estimate in analysis.estimates.items():
        table = Table(
            title=escape(f"{path}, {analysis.temperature_K:g} K, eV for the whole cell"),
            show_header=False,
            title_justify="left",
        )
        plus = _plus_minus(estimate.standard_error_eV)
        table.add_row(
            f"[bold]{estimate.method}[/bold]", f"[bold]{estimate.value_eV:.5f}{plus}[/bold]"
        )
        low, high = estimate.interval_95_eV
        told = f"{low:.5f} to {high:.5f}" if isfinite(high) else "none: a single repeat"
        table.add_row("95 % interval", told)
        others = (
            ("mean of (W_f - W_r)/2", "mean_of_pairs_eV"),
            ("Crooks, crossing of Gaussians", "crooks_gaussian_crossing_eV"),
            ("Jarzynski, forward", "jarzynski_forward_eV"),
            ("Jarzynski, backward", "jarzynski_backward_eV"),
        )
        for label, key in others:
            if estimate.details.get(key) is not None:
                table.add_row(label, f"{estimate.details[key]:.5f}")
        if isfinite(estimate.dissipation_eV):
            plus = _plus_minus(estimate.dissipation_standard_error_eV)
            table.add_row("dissipation", f"{estimate.dissipation_eV:.5f}{plus}")
        if isfinite(estimate.overlap):
            table.add_row("overlap", f"{estimate.overlap:.3f}")
        console.print(table)
    if record.status == "finished" and analysis.estimates:
        # Of windows MBAR comes first, integration beside it; of several paths none is the whole.
        one = len(analysis.estimates) == 1 or "windows, MBAR" in analysis.estimates
        first = next(iter(analysis.estimates.values()))
        whole = as_recorded(record.results, first) if one else None
        if whole is not None:
            unit = "eV_per_atom" if "free_energy_eV_per_atom" in whole else "eV"
            terms = ", ".join(f"{key} {value:.6f}" for key, value in whole["terms"].items())
            console.print(
                f"free energy {whole[f'free_energy_{unit}']:.6f} {unit.replace('_per_', '/')}: "
                f"{escape(terms)}",
                highlight=False,
            )
    elif analysis.estimates:
        console.print("The path alone; the other terms come when the run is finished.")


def _plus_minus(error: float) -> str:
    return f" ± {error:.5f}" if isfinite(error) else ""


def _plot_times(rows: Sequence[dict[str, Any]], records: Sequence[RunRecord], file: Path) -> None:
    """Draw dF against switching time where runs differ in nothing else."""
    from alchemlip.freeenergy.plotting import plot_switching_times

    own = [
        {key: value for key, value in record.inputs.items() if key != "switching"}
        for record in records
    ]
    timed = [row for row in rows if row["switching_time_ps"] is not None]
    paths = {row["path"] for row in timed}
    if len(timed) < 2 or len(paths) > 1 or any(inputs != own[0] for inputs in own):
        return
    if len({row["switching_time_ps"] for row in timed}) < 2:
        return
    plot_switching_times(
        [
            {key.removesuffix("_eV"): value for key, value in row.items() if key != "run"}
            for row in timed
        ],
        file,
    )


def _compare(phases: Sequence[tuple[str, list[Path]]], at_K: Any, out: Path, rng: Any) -> None:
    """Write and draw G(T) of phases, and print their crossings."""
    from itertools import combinations

    import numpy as np

    from alchemlip.freeenergy.analysis import check_one_pressure, phase_of
    from alchemlip.freeenergy.gibbs_helmholtz import free_energy_curves, misfit
    from alchemlip.freeenergy.phase_plots import plot_compositions, plot_phases
    from alchemlip.freeenergy.phase_stability import (
        common_temperatures,
        composition_table,
        find_crossing,
        stability_table,
    )
    from alchemlip.results import write_table

    points = [phase_of(name, folders) for name, folders in phases]
    check_one_pressure([folder for _, folders in phases for folder in folders])
    if len({phase.heat_capacity for phase in points}) > 1:
        raise InputError(
            "the phases mix absolute free energies (frenkel-ladd) and differences: compare runs of "
            "one kind"
        )
    for phase in points:
        chi, freedom = misfit(phase)
        if freedom and chi > freedom + 4 * np.sqrt(2 * freedom):
            typer.echo(
                f"Warning: free energies and enthalpies of {phase.name} disagree beyond their "
                f"errors (chi^2 {chi:.0f} for {freedom} degrees of freedom).",
                err=True,
            )
    grid = common_temperatures(points) if at_K is None else at_K
    curves = free_energy_curves(points, grid, rng)
    compositions = _as_numbers([phase.name for phase in points])
    if compositions is not None:
        rows = composition_table(compositions, curves)
        write_table(out / "compositions.csv", rows)
        plot_compositions(rows, out / "compositions.png")
        return
    table = stability_table(curves)
    write_table(out / "phases.csv", table)
    crossings = [find_crossing(a, b, rng) for a, b in combinations(points, 2)]
    for crossing in crossings:
        typer.echo(f"{' and '.join(crossing.phases)}: {crossing.sentence()}")
    plot_phases(points, curves, crossings, out / "phases.png")


def _parse_phase(text: str) -> tuple[str, list[Path]]:
    name, equals, folders = text.partition("=")
    parts = [part.strip() for part in folders.split(",") if part.strip()]
    if not equals or not name.strip() or not parts:
        raise InputError(
            f"cannot read --phases {text!r}: write for example --phases alpha=run-300K,run-400K"
        )
    return name.strip(), [Path(part) for part in parts]


def _parse_temperatures(text: str) -> Any:
    import numpy as np

    try:
        first, last, number = text.split(",")
        low, high, count = float(first), float(last), int(number)
    except ValueError as error:
        raise InputError(
            f"cannot read --temperatures {text!r}: write FIRST,LAST,NUMBER such as 300,600,31"
        ) from error
    if not 0 < low < high or count < 2:
        raise InputError(
            f"--temperatures {text!r} is no range: write FIRST,LAST,NUMBER such as 300,600,31"
        )
    return np.linspace(low, high, count)


def _as_numbers(names: Sequence[str]) -> list[float] | None:
    try:
        return [float(name) for name in names]
    except ValueError:
        return None


def _short_names(folders: Sequence[Path]) -> list[str]:
    """Name runs by their folders, with a number behind where two are called alike."""
    names = [folder.resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else f"{name}-{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]
