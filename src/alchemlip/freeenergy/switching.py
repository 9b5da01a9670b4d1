"""Nonequilibrium switching: equilibrate, switch forward, equilibrate, switch back, repeat.

    result = run_switching(atoms, calculator, dynamics, settings, record)
    result.forward_work, result.backward_work        # (R,) each, eV

The work of one leg is W = integral of dU/d(lambda) d(lambda) of the potential part. Masses stay
constant while switching. Half the difference of both works is the free energy difference where the
dissipation is the same both ways; `alchemlip.freeenergy.estimators` makes more of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from alchemlip.arrays import FloatArray
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.hamiltonian import CoupledCalculator
from alchemlip.freeenergy.trajectory import (
    Observer,
    Progress,
    Recording,
    Segment,
    run_trajectory,
)
from alchemlip.records.runs import RunRecord

if TYPE_CHECKING:
    from ase import Atoms

EQUILIBRATE_START = "equilibrate_start"
FORWARD = "forward"
EQUILIBRATE_END = "equilibrate_end"
BACKWARD = "backward"


class SwitchingSettings(BaseModel):
    """How long and how often to switch.

    Attributes:
        equilibration_steps: before either leg, at constant coupling.
        switching_steps: of either leg.
        repeats: independent trajectories; the error comes from them.
        function: coupling against time, of `trajectory.SWITCHING_FUNCTIONS`.
        record_interval: steps between samples while switching.
        checkpoint_interval: steps between commits.
        trajectory_interval: steps between frames; none by default.
        seed: every repeat draws its own random numbers from it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    equilibration_steps: int = Field(default=1000, ge=1)
    switching_steps: int = Field(default=5000, ge=2)
    repeats: int = Field(default=4, ge=1)
    function: Literal["polynomial", "linear", "smoothstep"] = "polynomial"
    record_interval: int = Field(default=1, ge=1)
    checkpoint_interval: int = Field(default=100, ge=1)
    trajectory_interval: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)

    def segments(self) -> tuple[Segment, ...]:
        """Return the four segments of one repeat."""
        quiet = max(1, min(10, self.equilibration_steps // 20))
        waiting, moving = self.equilibration_steps, self.switching_steps
        return (
            Segment(EQUILIBRATE_START, waiting, 0.0, 0.0, record_interval=quiet),
            Segment(FORWARD, moving, 0.0, 1.0, self.function, True, self.record_interval),
            Segment(EQUILIBRATE_END, waiting, 1.0, 1.0, record_interval=quiet),
            Segment(BACKWARD, moving, 1.0, 0.0, self.function, True, self.record_interval),
        )

    @property
    def steps(self) -> int:
        """Time steps of all repeats together."""
        return self.repeats * 2 * (self.equilibration_steps + self.switching_steps)


@dataclass(frozen=True)
class SwitchingResult:
    """Work of every finished repeat, and means over the equilibrated ends.

    Attributes:
        forward_work, backward_work: (R,) work done on the system in eV; about dF and -dF.
        temperature_K: of the thermostat.
        potential_eV: (2, R) mean potential energy at lambda = 0 and 1.
        volume_A3: (2, R) mean volume there; not a number for a cluster.
    """

    forward_work: FloatArray
    backward_work: FloatArray
    temperature_K: float
    potential_eV: FloatArray
    volume_A3: FloatArray


def generator_of(seed: int, *key: int) -> np.random.Generator:
    """Return the random generator of one part of a run, independent of every other part's.

    Args:
        seed: of the run.
        key: of the part, such as the number of the repeat.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def run_switching(
    atoms: Atoms,
    calculator: CoupledCalculator,
    dynamics: DynamicsSettings,
    settings: SwitchingSettings,
    record: RunRecord,
    *,
    observers: Callable[[], Mapping[str, Sequence[Observer]]] | None = None,
    on_progress: Progress | None = None,
) -> SwitchingResult:
    """Run all repeats, or what is left of them, and return their works.

    Args:
        atoms: where every repeat starts, with the masses of the dynamics; not changed.
        calculator: the Hamiltonian.
        dynamics: temperature, pressure, time step.
        settings: lengths and repeats.
        record: where everything is written.
        observers: makes those of one repeat, by segment.
        on_progress: called with steps done and steps in all.

    Raises:
        UnstableError: if the dynamics blow up; the record keeps the last commit before.
    """
    per_repeat = settings.steps // settings.repeats
    for repeat in range(settings.repeats):
        moving = atoms.copy()
        moving.calc = calculator

        def report(done: int, _: int, before: int = repeat * per_repeat) -> None:
            if on_progress is not None:
                on_progress(before + done, settings.steps)

        run_trajectory(
            moving,
            settings.segments(),
            dynamics,
            generator_of(settings.seed, repeat),
            Recording(
                record,
                f"repeat {repeat}",
                repeat,
                settings.checkpoint_interval,
                settings.trajectory_interval,
            ),
            observers=None if observers is None else observers(),
            on_progress=report,
        )
    return switching_result(record, settings.repeats, dynamics.temperature_K)


def finished_repeats(record: RunRecord, repeats: int) -> list[int]:
    """Return the numbers of the repeats that are complete in a record."""
    return [r for r in range(repeats) if Recording(record, f"repeat {r}", r).finished]


def switching_result(record: RunRecord, repeats: int, temperature_K: float) -> SwitchingResult:
    """Return the works of the repeats that are finished in a record.

    The means at the ends leave out the first fifth of each equilibration.
    """
    from alchemlip.freeenergy.estimators import work_of

    done = finished_repeats(record, repeats)
    ends = (EQUILIBRATE_START, EQUILIBRATE_END)
    waits = [[record.samples(repeat=r, segment=name) for r in done] for name in ends]

    def means(column: str) -> FloatArray:
        return np.array(
            [[float(np.mean(w[column][len(w[column]) // 5 :])) for w in side] for side in waits]
        )

    return SwitchingResult(
        np.array([work_of(record.samples(repeat=r, segment=FORWARD)) for r in done]),
        np.array([work_of(record.samples(repeat=r, segment=BACKWARD)) for r in done]),
        temperature_K,
        means("potential_eV"),
        means("volume_A3"),
    )
