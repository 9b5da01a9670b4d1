"""Settings that runs of dynamics share, and the run record in which they are done."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from alchemlip.calculations.base import Plan, Progress, silent
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import (
    HIGHEST_PRESSURE_GPA,
    HIGHEST_TEMPERATURE_K,
    STRUCTURE,
    OfStructure,
    RepeatsText,
    Seed,
    WithPotential,
)
from alchemlip.calculations.result import Result
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder

if TYPE_CHECKING:
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.potential.potential import AlchemicalPotential
    from alchemlip.records.runs import RunRecord

DYNAMICS, SAMPLING, RECORDING = "Dynamics", "Sampling", "Record"
"""Panels of the help."""

LONGEST_PS = 1e6
MOST_STEPS = 10**9
"""Between two samples, commits or frames."""

Work = Callable[["RunRecord", Path, Progress], Mapping[str, Any]]
"""What a run does in its record, with pictures in its folder; gives the results."""

Supercell = Annotated[
    RepeatsText,
    Field(description="Supercell of the structure, such as 2,2,2."),
    Option(STRUCTURE, metavar="A,B,C"),
]
Temperature = Annotated[
    float,
    Field(ge=1e-3, le=HIGHEST_TEMPERATURE_K, description="Temperature, K."),
    Option(DYNAMICS, unit="K", short="-T"),
]
Ensemble = Annotated[
    Literal["fixed", "volume", "full"],
    Field(description="fixed (NVT), volume (isotropic NPT) or full (all of the cell)."),
    Option(DYNAMICS),
]
BarostatPressure = Annotated[
    float,
    Field(ge=-HIGHEST_PRESSURE_GPA, le=HIGHEST_PRESSURE_GPA, description="External pressure, GPa."),
    Option(DYNAMICS, unit="GPa"),
]
Timestep = Annotated[
    float, Field(ge=1e-3, le=1e3, description="Time step, fs."), Option(DYNAMICS, unit="fs")
]
Thermostat = Annotated[
    float,
    Field(ge=1e-3, le=1e9, description="Inverse friction of the thermostat, fs."),
    Option(DYNAMICS, unit="fs"),
]
Barostat = Annotated[
    float,
    Field(ge=1e-3, le=1e9, description="Time constant of the barostat, fs."),
    Option(DYNAMICS, unit="fs"),
]
Equilibrate = Annotated[
    float,
    Field(gt=0, le=LONGEST_PS, description="Equilibration before each leg, ps."),
    Option(SAMPLING, unit="ps"),
]
Switch = Annotated[
    float,
    Field(gt=0, le=LONGEST_PS, description="Switching time of each leg, ps."),
    Option(SAMPLING, unit="ps"),
]
Repeats = Annotated[
    int,
    Field(ge=1, le=10**5, description="Independent repeats, from which the error bar comes."),
    Option(SAMPLING),
]
Function = Annotated[
    Literal["polynomial", "linear", "smoothstep"],
    Field(description="Coupling against time: polynomial, linear or smoothstep."),
    Option(SAMPLING),
]
RecordInterval = Annotated[
    int,
    Field(ge=1, le=MOST_STEPS, description="Steps between samples while switching."),
    Option(RECORDING),
]
CheckpointInterval = Annotated[
    int,
    Field(ge=1, le=MOST_STEPS, description="Steps between commits to the record."),
    Option(RECORDING),
]
TrajectoryInterval = Annotated[
    int,
    Field(ge=0, le=MOST_STEPS, description="Steps between stored frames; 0 for none."),
    Option(RECORDING),
]
Resume = Annotated[
    bool,
    Field(
        description="Continue a run that was cut off, and refuse to begin a new one. Without it "
        "the same command continues as well."
    ),
    Option(RECORDING),
]
MixingEntropy = Annotated[bool, Field(description="Add the ideal mixing entropy as a term.")]


class Dynamic(WithPotential, OfStructure):
    """One that runs dynamics, in a run record beside its ``result.json``."""

    unit: ClassVar[str] = "steps"

    repeat: Supercell = "1,1,1"
    temperature: Temperature = 300.0
    cell: Ensemble = "volume"
    pressure: BarostatPressure = 0.0
    timestep: Timestep = 2.0
    thermostat: Thermostat = 100.0
    barostat: Barostat = 1000.0
    equilibrate: Equilibrate = 2.0
    repeats: Repeats = 4
    seed: Seed = 0
    checkpoint_interval: CheckpointInterval = 100
    resume: Resume = False

    def steps(self) -> int:
        """Return how many time steps it takes."""
        raise NotImplementedError

    def dynamics(self) -> DynamicsSettings:
        """Return how atoms and cell move."""
        from alchemlip.freeenergy.dynamics import DynamicsSettings

        return DynamicsSettings(
            temperature_K=self.temperature,
            timestep_fs=self.timestep,
            cell=self.cell,
            pressure_GPa=self.pressure,
            thermostat_fs=self.thermostat,
            barostat_fs=self.barostat,
        )

    def steps_of(self, setting: str, least: int = 1) -> int:
        """Return the number of time steps in a setting that is a time in ps.

        Args:
            setting: its name.
            least: number of steps.

        Raises:
            InputError: if there are fewer.
        """
        time: float = getattr(self, setting)
        steps = round(1000.0 * time / self.timestep)
        if steps < least:
            few = "one time step" if least == 1 else f"{least} time steps"
            raise InputError(
                f"{self.fields()[setting].flag} {time:g} ps is less than {few} of "
                f"{self.timestep:g} fs: give a longer time"
            )
        return steps

    def supercell(self) -> tuple[int, int, int]:
        """Return the repeats of the structure.

        Raises:
            InputError: if they cannot be read.
        """
        from alchemlip.calculations.texts import parse_repeats

        return parse_repeats(self.repeat, "--repeat")

    def recorded(
        self, inputs: Mapping[str, Any], potential: AlchemicalPotential, work: Work
    ) -> Plan:
        """Return the plan of a run that is done in its record.

        Args:
            inputs: all that determines the result.
            potential: whose origin and licence are noted.
            work: is done in the record.
        """
        noted = self.source(potential)

        def compute(store: ResultFolder, progress: Progress) -> None:
            from alchemlip.freeenergy.overlap import overlap_warning
            from alchemlip.records.results import finite

            results = _in_record(store, self.command, inputs, noted, work, progress)
            told = overlap_warning(finite(dict(results)))
            store.finish(results, warnings=[told] if told else [])

        return Plan(inputs, compute, noted)

    def run(self, folder: str | Path | None = None, progress: Progress = silent) -> Result:
        """Do the calculation in a results folder, or what is left of it there.

        Raises:
            InputError: also if there is nothing to resume where that was asked for.
        """
        from alchemlip.records.runs import RECORD

        place = self.folder(folder)
        if self.resume and not (place / RECORD).exists():
            raise InputError(f"there is no run to resume in {str(place)!r}: leave out --resume")
        _refuse_lost_samples(place, self.command)
        return super().run(folder, progress)


class Switching(Dynamic):
    """One that switches forward and back."""

    switch: Switch = 10.0
    function: Function = "polynomial"
    record_interval: RecordInterval = 1
    trajectory_interval: TrajectoryInterval = 0

    @model_validator(mode="after")
    def _are_long_enough(self) -> Switching:
        self.steps_of("equilibrate")
        self.steps_of("switch", least=2)
        return self

    def switching(self) -> SwitchingSettings:
        """Return how long and how often it switches."""
        from alchemlip.freeenergy.switching import SwitchingSettings

        return SwitchingSettings(
            equilibration_steps=self.steps_of("equilibrate"),
            switching_steps=self.steps_of("switch", least=2),
            repeats=self.repeats,
            function=self.function,
            record_interval=self.record_interval,
            checkpoint_interval=self.checkpoint_interval,
            trajectory_interval=self.trajectory_interval or None,
            seed=self.seed,
        )

    def steps(self) -> int:
        """Return how many time steps it takes."""
        return self.switching().steps


def _refuse_lost_samples(place: Path, command: str) -> None:
    """Refuse a finished run whose samples are gone: it would be run again, unasked."""
    from alchemlip.records.results import RESULT, read_record
    from alchemlip.records.runs import RunRecord

    if not (place / RESULT).is_file():
        return
    found = read_record(place)
    if (found.get("command"), found.get("status")) != (command, "finished"):
        return
    try:
        RunRecord.read(place).close()
    except InputError as error:
        raise InputError(
            f"the run in {str(place)!r} is finished by its result.json, but {error}; put the "
            "record back, or name a new folder (--out)"
        ) from error


def _in_record(
    store: ResultFolder,
    command: str,
    inputs: Mapping[str, Any],
    source: Mapping[str, Any],
    work: Work,
    progress: Progress,
) -> Mapping[str, Any]:
    """Return the results of a run, which is begun or continued in its record."""
    from alchemlip.freeenergy.planned_steps import planned_steps, steps_done
    from alchemlip.records.runs import RECORD, RunRecord

    file = store.path / RECORD
    with closing(RunRecord(file, command, inputs, source, store.command_line)) as record:
        if record.finished:
            return record.results
        if record.resumed:
            record.continues_exactly()
        with record.noting_failure():
            planned = planned_steps(inputs)
            if planned is not None:
                before = steps_done(planned, record.state()) or 0
                progress = _beginning(progress, before, sum(map(sum, planned.values())))
            results = work(record, store.path, progress)
            record.finish(results)
    return results


def _beginning(progress: Progress, before: int, total: int) -> Progress:
    """Tell how much was done before, ahead of the first step."""
    begun = False

    def told(done: int, of: int | None, text: str = "", /) -> None:
        nonlocal begun
        if not begun:
            begun = True
            progress(before, total)
        progress(done, of, text)

    return told
