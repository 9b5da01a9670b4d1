"""What the free-energy commands share: options of dynamics and switching, the record, progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError
from alchemlip.freeenergy.overlap import overlap_warning

if TYPE_CHECKING:
    from alchemlip.ensemble import Potential
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.freeenergy.windows import WindowSettings
    from alchemlip.results import ResultFolder
    from alchemlip.runs import RunRecord

RECORD = "run.sqlite"
Settings = TypeVar("Settings")

_WATCH: ContextVar[Callable[[int, int], None] | None] = ContextVar("watch", default=None)

Temperature = Annotated[float, typer.Option("--temperature", "-T", help="Temperature, K.")]
Ensemble = Annotated[
    str,
    typer.Option("--cell", help="fixed (NVT), volume (isotropic NPT) or full (all of the cell)."),
]
Timestep = Annotated[float, typer.Option("--timestep", help="Time step, fs.")]
Thermostat = Annotated[
    float, typer.Option("--thermostat", help="Inverse friction of the thermostat, fs.")
]
Barostat = Annotated[float, typer.Option("--barostat", help="Time constant of the barostat, fs.")]
Equilibrate = Annotated[
    float, typer.Option("--equilibrate", help="Equilibration before each leg, ps.")
]
Switch = Annotated[float, typer.Option("--switch", help="Switching time of each leg, ps.")]
Repeats = Annotated[
    int, typer.Option("--repeats", help="Independent repeats, from which the error bar comes.")
]
Function = Annotated[
    str,
    typer.Option("--function", help="Coupling against time: polynomial, linear or smoothstep."),
]
Seed = Annotated[int, typer.Option("--seed", help="Seed of all random numbers.")]
RecordInterval = Annotated[
    int, typer.Option("--record-interval", help="Steps between samples while switching.")
]
CheckpointInterval = Annotated[
    int, typer.Option("--checkpoint-interval", help="Steps between commits to the record.")
]
TrajectoryInterval = Annotated[
    int, typer.Option("--trajectory-interval", help="Steps between stored frames; 0 for none.")
]
Resume = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Continue a run that was cut off, and refuse to begin a new one. Without it the same "
        "command continues as well.",
    ),
]
Supercell = Annotated[
    str, typer.Option("--repeat", help="Supercell of the structure, such as 2,2,2.")
]


def dynamics_settings(**values: Any) -> DynamicsSettings:
    """Return checked settings of the dynamics.

    Raises:
        InputError: one sentence naming the first bad value.
    """
    from alchemlip.freeenergy.dynamics import DynamicsSettings

    return checked(DynamicsSettings, values)


def switching_settings(
    *, equilibrate_ps: float, switch_ps: float, timestep_fs: float, **values: Any
) -> SwitchingSettings:
    """Return checked settings of the switching; times in ps become numbers of steps.

    Raises:
        InputError: one sentence naming the first bad value.
    """
    from alchemlip.freeenergy.switching import SwitchingSettings

    values["trajectory_interval"] = values.get("trajectory_interval") or None
    values["equilibration_steps"] = steps_of(equilibrate_ps, timestep_fs, "--equilibrate")
    values["switching_steps"] = steps_of(switch_ps, timestep_fs, "--switch")
    return checked(SwitchingSettings, values)


def window_settings(
    *,
    windows: int,
    equilibrate_ps: float,
    sample_ps: float,
    timestep_fs: float,
    exchange_interval: int,
    **values: Any,
) -> WindowSettings:
    """Return checked settings of equilibrium windows; times in ps become numbers of steps.

    Raises:
        InputError: one sentence naming the first bad value.
    """
    from alchemlip.freeenergy.windows import WindowSettings

    values["couplings"] = windows
    values["exchange_interval"] = exchange_interval or None
    values["equilibration_steps"] = steps_of(equilibrate_ps, timestep_fs, "--equilibrate")
    values["sampling_steps"] = steps_of(sample_ps, timestep_fs, "--sample")
    return checked(WindowSettings, values)


def steps_of(time_ps: float, timestep_fs: float, option: str) -> int:
    """Return the number of time steps in a time given by an option.

    Raises:
        InputError: if there is not even one.
    """
    if timestep_fs <= 0:
        raise InputError(f"--timestep {timestep_fs:g} is not positive: give the time step in fs")
    steps = round(1000.0 * time_ps / timestep_fs)
    if steps < 1:
        raise InputError(f"{option} {time_ps:g} ps is less than one time step: give a longer time")
    return steps


def checked(model: type[Settings], values: Mapping[str, Any]) -> Settings:
    """Return settings made of values.

    Raises:
        InputError: one sentence naming the first bad value.
    """
    from pydantic import ValidationError

    try:
        return model(**values)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
        wanted = "it " + message if message.startswith("should") else message
        value = first.get("input")
        shown = f"{value:g}" if isinstance(value, float) else str(value)
        raise InputError(f"{option_of(first['loc'])} {shown} cannot be used: {wanted}") from error


OPTIONS = {
    "equilibration_steps": "--equilibrate",
    "switching_steps": "--switch",
    "sampling_steps": "--sample",
    "couplings": "--windows",
}
UNIT = re.compile("_(K|fs|GPa)$")


def option_of(place: tuple[int | str, ...]) -> str:
    """Return the option that sets a field of the settings."""
    if not place:
        return "this combination of options"
    name = str(place[0])
    return OPTIONS.get(name, "--" + UNIT.sub("", name).replace("_", "-"))


@dataclass(frozen=True)
class Run:
    """A results folder and the run record in it."""

    folder: ResultFolder
    record: RunRecord

    @contextmanager
    def noting_failure(self) -> Iterator[None]:
        """Note in both how the calculation ended if it raises."""
        with self.folder.noting_failure(), self.record.noting_failure():
            yield

    def finish(self, results: Mapping[str, Any]) -> None:
        """Complete both."""
        self.record.finish(results)
        self.folder.finish(results)


def start_run(
    out: Path,
    command: str,
    inputs: Mapping[str, Any],
    source: Mapping[str, Any],
    *,
    resume: bool,
) -> Run:
    """Make or continue the results folder of a run and its record.

    Raises:
        InputError: if the folder belongs to another run, or there is none to resume.
    """
    from alchemlip.results import ResultFolder
    from alchemlip.runs import RunRecord

    if resume and not (out / RECORD).exists():
        raise InputError(f"there is no run to resume in {str(out)!r}: leave out --resume")
    folder = ResultFolder(out, command, inputs, source)
    try:
        if folder.finished:
            _check_samples(out)
        record = RunRecord(folder.path / RECORD, command, inputs, source)
        if record.resumed and not record.finished:
            _tell_what_differs(record)
    except BaseException:
        folder.close()
        raise
    return Run(folder, record)


def _check_samples(out: Path) -> None:
    """Refuse a finished run whose samples are gone: it would be run again, unasked."""
    from alchemlip.runs import RunRecord

    try:
        with RunRecord.read(out):
            return
    except InputError as error:
        raise InputError(
            f"the run in {str(out)!r} is finished by its result.json, but {error}; put the record "
            "back, or name a new folder (--out)"
        ) from error


def completed_run(
    command: str,
    structure: Path,
    inputs: Mapping[str, Any],
    compute: Callable[[Run, Callable[[int, int], None]], Mapping[str, Any]],
    *,
    potential: Potential,
    out: Path | None,
    resume: bool,
    shown_as: str | None = None,
) -> Run:
    """Make or continue a run in its results folder, with progress; a finished one is left alone.

    Args:
        command: its name.
        structure: the file, for names.
        inputs: all that determines the results.
        compute: gives the results; called with the run and what is told steps done and in all.
        potential: whose origin and licence are noted.
        out, resume: the results folder.
        shown_as: beside the progress bar, if not the command.

    Raises:
        InputError: as `start_run` does.
    """
    folder = opt.results_folder(out, command, structure)
    run = start_run(folder, command, inputs, opt.source(structure, potential), resume=resume)
    if not run.folder.finished:
        title = f"{shown_as or command} {structure.stem}"
        with run.noting_failure(), progress_bar(title) as report:
            run.finish(compute(run, report))
    return run


def _tell_what_differs(record: RunRecord) -> None:
    """Say why a run does not go on bit for bit, if it does not."""
    import warnings

    from rich.console import Console
    from rich.markup import escape

    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        record.continues_exactly()
    for warning in told:
        Console(stderr=True).print(f"[yellow]{escape(str(warning.message))}[/yellow]")


@contextmanager
def watching_progress(watch: Callable[[int, int], None]) -> Iterator[None]:
    """Have steps, (done, total), told to a function too, which may end the run by raising."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show steps done, speed and time left; yields what is to be called with (done, total)."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    with bar:
        task = bar.add_task(title, total=None)

        watch = _WATCH.get()

        def report(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)
            if watch is not None:
                watch(done, total)

        yield report


def show_free_energy(results: Mapping[str, Any], title: str, folder: Path) -> None:
    """Print a free energy with its error, and its terms one by one."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    unit = "eV" if "free_energy_eV" in results else "eV_per_atom"
    shown = unit.replace("_per_", "/")
    table = Table(title=escape(title), show_header=False, title_justify="left")
    for name, value in results["terms"].items():
        table.add_row(escape(name.replace("_", " ")), f"{value:.6f}", shown)
    error = results.get(f"standard_error_{unit}")
    plus = "" if error is None else f" ± {error:.6f}"
    value = f"[bold]{results[f'free_energy_{unit}']:.6f}{plus}[/bold]"
    table.add_row("[bold]free energy[/bold]", value, shown)
    low, high = results.get(f"interval_95_{unit}") or (None, None)
    if low is not None and high is not None:
        table.add_row("95 % interval", f"{low:.6f} to {high:.6f}", shown)
    if results.get(f"dissipation_{unit}") is not None:
        table.add_row("dissipation", f"{results[f'dissipation_{unit}']:.6f}", shown)
    table.add_row("method", escape(str(results["method"])), "")
    console = Console()
    console.print(table)
    warning = overlap_warning(results)
    if warning is not None:
        Console(stderr=True).print(f"[yellow]{warning}[/yellow]")
    console.print(f"Results in [bold]{escape(str(folder))}[/bold]", highlight=False)
