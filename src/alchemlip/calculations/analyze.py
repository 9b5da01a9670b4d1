"""What recorded runs say, finished or not, and which phase is stable."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from alchemlip.calculations.base import Calculation, Progress, silent
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import HIGHEST_TEMPERATURE_K, Seed
from alchemlip.calculations.result import Result
from alchemlip.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from alchemlip.records.runs import RunRecord

MOST_TEMPERATURES = 10**5


def parse_phase(text: str) -> tuple[str, list[Path]]:
    """Read a phase and the folders of its runs, such as ``alpha=run-300K,run-400K``.

    Raises:
        ValueError: if the text is anything else.
    """
    name, equals, folders = text.partition("=")
    parts = [part.strip() for part in folders.split(",") if part.strip()]
    if not equals or not name.strip() or not parts:
        raise ValueError("write a name and folders, for example alpha=run-300K,run-400K")
    return name.strip(), [Path(part) for part in parts]


def parse_temperatures(text: str) -> list[float]:
    """Read evenly spaced temperatures in K, FIRST,LAST,NUMBER such as ``300,600,31``.

    Raises:
        ValueError: if the text is anything else.
    """
    import numpy as np

    try:
        first, last, number = text.split(",")
        low, high, count = float(first), float(last), int(number)
    except ValueError:
        low, high, count = 0.0, 0.0, 0
    if not 0 < low < high <= HIGHEST_TEMPERATURE_K or not 2 <= count <= MOST_TEMPERATURES:
        raise ValueError("write FIRST,LAST,NUMBER in K, for example 300,600,31")
    return [float(value) for value in np.linspace(low, high, count)]


def _phase(text: str) -> str:
    parse_phase(text)
    return text


def _temperatures(text: str) -> str:
    parse_temperatures(text)
    return text


Folders = Annotated[
    list[Path],
    Field(description="Results folders of runs, finished or not."),
    Option(argument=True),
]
Phases = Annotated[
    list[Annotated[str, AfterValidator(_phase)]],
    Field(
        description="Runs of one phase at several temperatures; give it for every phase. With "
        "numbers as names, 0.25=FOLDER,..., they are compositions x."
    ),
    Option(metavar="NAME=FOLDER,FOLDER..."),
]
Temperatures = Annotated[
    Annotated[str, AfterValidator(_temperatures)] | None,
    Field(description="Temperatures of the table of phases, FIRST,LAST,NUMBER in K."),
    Option(shown_default="all that the runs cover"),
]
Export = Annotated[bool, Field(description="Write u_nk and dHdl, which alchemlyb reads (parquet).")]


class Analyze(Calculation):
    """Estimate again from run records, and compare phases.

    Reads runs of 'switch', 'transmute', 'frenkel-ladd' and 'vacancy', also while they run. Writes
    estimates.csv, convergence and pictures of each run; with --phases phases.csv and phases.png.
    Files that are there are replaced.

    Example: alchemlip analyze run-300K --phases alpha=a-300K,a-400K --phases delta=d-300K,d-400K
    """

    command: ClassVar[str] = "analyze"
    unit: ClassVar[str] = "runs"
    default_folder: ClassVar[str] = "analysis"

    folders: Folders = []
    phases: Phases = []
    temperatures: Temperatures = None
    export: Export = False
    seed: Seed = 0

    @model_validator(mode="after")
    def _names_runs(self) -> Analyze:
        if not self.folders and not self.phases:
            raise InputError(
                "nothing to analyze: name results folders, or --phases NAME=FOLDER,..."
            )
        if self.export and not self.folders:
            raise InputError("--export writes tables of runs: name their folders before --phases")
        return self

    def run(self, folder: str | Path | None = None, progress: Progress = silent) -> Result:
        """Analyse the runs as they are now; nothing is kept from before.

        Args:
            folder: where tables and pictures go.
            progress: is told how many runs are read.

        Raises:
            InputError: if a run cannot be read, or the folder not be written.
        """
        import numpy as np

        from alchemlip.records.runs import RunRecord

        out = self.folder(folder)
        rng = np.random.default_rng(self.seed)
        results: dict[str, Any] = {}
        rows: list[dict[str, Any]] = []
        told: list[str] = []
        with ExitStack() as opened:
            records = []
            for run in self.folders:
                records.append(RunRecord.read(run))
                opened.callback(records[-1].close)
            try:
                out.mkdir(parents=True, exist_ok=True)
                if records:
                    results["runs"], rows = self._estimate(records, out, rng, progress)
                if self.phases:
                    results["crossings"], compared, told = self._compare(out, rng)
                    rows = rows or compared
            except OSError as error:
                raise InputError(
                    f"cannot write to the folder {str(out)!r} ({error.strerror}): name another "
                    "one (--out)"
                ) from error
        record = {
            "status": "finished",
            "command": self.command,
            "inputs": self.model_dump(mode="json"),
            "results": results,
            "points": rows,
            "warnings": told,
        }
        return Result(out, record)

    def _estimate(
        self, records: Sequence[RunRecord], out: Path, rng: np.random.Generator, progress: Progress
    ) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """Write and draw what every run says; return that, and the rows of all estimates."""
        from alchemlip.freeenergy.analysis import (
            analyse,
            estimate_rows,
            timed_alike,
            whole_free_energy,
        )
        from alchemlip.freeenergy.export import export_record
        from alchemlip.freeenergy.phase_plots import plot_recorded_windows
        from alchemlip.freeenergy.plotting import plot_switching, plot_switching_times
        from alchemlip.freeenergy.recorded import legs_of
        from alchemlip.records.results import write_table

        runs: list[dict[str, Any]] = []
        rows: list[dict[str, Any]] = []
        for name, record in zip(short_names(self.folders), records, strict=True):
            progress(len(runs), len(records), name)
            analysis = analyse(record, rng)
            own = estimate_rows(name, record.command, analysis)
            temperature = analysis.temperature_K
            if legs_of(record):
                plot_switching(
                    record, {"temperature_K": temperature}, out / f"{name}-switching.png"
                )
            if "windows, TI" in analysis.estimates:
                plot_recorded_windows(record, temperature, out / f"{name}-windows.png")
            for path, table in analysis.convergence.items():
                ending = path.replace(", ", "-").replace("/", "-")
                write_table(out / f"{name}-convergence-{ending}.csv", table)
            exported = []
            if self.export:
                written = export_record(record, out, temperature, prefix=f"{name}-")
                exported = [file.name for file in written.values()]
            runs.append(
                {
                    "run": name,
                    "command": record.command,
                    "status": record.status,
                    "progress": analysis.progress,
                    "estimates": own,
                    "whole": whole_free_energy(record, analysis),
                    "exported": exported,
                }
            )
            rows += own
        if rows:
            write_table(out / "estimates.csv", rows)
        timed = timed_alike(rows, records)
        if timed:
            plot_switching_times(timed, out / "switching_time.png")
        return runs, rows

    def _compare(
        self, out: Path, rng: np.random.Generator
    ) -> tuple[list[str], list[dict[str, Any]], list[str]]:
        """Write and draw G(T) of phases; return sentences of crossings, rows, warnings."""
        from alchemlip.freeenergy.analysis import check_one_pressure, phase_of
        from alchemlip.freeenergy.comparison import compare_phases
        from alchemlip.freeenergy.phase_plots import plot_compositions, plot_phases
        from alchemlip.records.results import write_table

        phases = [parse_phase(text) for text in self.phases]
        points = [phase_of(name, folders) for name, folders in phases]
        check_one_pressure([folder for _, folders in phases for folder in folders])
        grid = None if self.temperatures is None else parse_temperatures(self.temperatures)
        found = compare_phases(points, rng, grid)
        if found.compositions is not None:
            write_table(out / "compositions.csv", found.rows)
            plot_compositions(found.rows, out / "compositions.png")
        else:
            write_table(out / "phases.csv", found.rows)
            plot_phases(found.phases, found.curves, found.crossings, out / "phases.png")
        crossings = [f"{' and '.join(item.phases)}: {item.sentence()}" for item in found.crossings]
        return crossings, list(found.rows), list(found.disagreements)


def short_names(folders: Sequence[Path]) -> list[str]:
    """Return names of runs by their folders, with a number behind where two are called alike."""
    names = [folder.resolve().name for folder in folders]
    return [
        name if names.count(name) == 1 else f"{name}-{names[: index + 1].count(name)}"
        for index, name in enumerate(names)
    ]
