"""One trajectory through segments of constant or changing coupling, recorded and resumable.

A segment is a number of steps over which the coupling goes from ``start`` to ``end`` by a switching
function. Samples and the whole state are committed together (`alchemlip.records.runs`), so a
trajectory continues bit for bit from its last commit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.freeenergy.dynamics import (
    DynamicsSettings,
    check_stability,
    make_integrator,
)
from alchemlip.freeenergy.hamiltonian import CoupledCalculator
from alchemlip.records.runs import Frame, RunRecord, Sample

if TYPE_CHECKING:
    from ase import Atoms

SwitchingFunction = Callable[[float], float]


def polynomial(t: float) -> float:
    """Return t^5 (70 t^4 - 315 t^3 + 540 t^2 - 420 t + 126): flat at both ends to fourth order.

    de Koning and Antonelli, Phys. Rev. E 53, 465 (1996).
    """
    return t**5 * (70.0 * t**4 - 315.0 * t**3 + 540.0 * t**2 - 420.0 * t + 126.0)


def linear(t: float) -> float:
    """Return t."""
    return t


def smoothstep(t: float) -> float:
    """Return t^2 (3 - 2 t): flat at both ends to first order."""
    return t * t * (3.0 - 2.0 * t)


SWITCHING_FUNCTIONS: dict[str, SwitchingFunction] = {
    "polynomial": polynomial,
    "linear": linear,
    "smoothstep": smoothstep,
}


@dataclass(frozen=True)
class Segment:
    """A part of a trajectory.

    Attributes:
        name: under which its samples are recorded.
        steps: number of time steps.
        start, end: coupling at its first and last step.
        function: a name of `SWITCHING_FUNCTIONS`.
        derivative: whether dU/d(lambda) is recorded.
        record_interval: steps between samples; the last step is always recorded.
    """

    name: str
    steps: int
    start: float
    end: float
    function: str = "polynomial"
    derivative: bool = False
    record_interval: int = 1

    def coupling(self, step: int) -> float:
        """Return lambda after a step, 0 to ``steps``; exactly ``start`` and ``end`` at the ends."""
        if self.start == self.end or step <= 0:
            return self.start
        if step >= self.steps:
            return self.end
        moved = SWITCHING_FUNCTIONS[self.function](step / self.steps)
        value = self.start + (self.end - self.start) * moved
        return min(max(value, 0.0), 1.0)

    def recorded(self, step: int) -> bool:
        """Whether a sample is taken after a step."""
        return step % self.record_interval == 0 or step == self.steps


class Observer(Protocol):
    """Something accumulated along a segment, kept in the checkpoint."""

    def observe(self, atoms: Atoms) -> None:
        """Take note of a configuration, after every step."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what was accumulated."""
        ...

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state` returned; its arrays may have become lists."""
        ...


Progress = Callable[[int, int], None]
"""Called with the steps done and the steps in all of a trajectory."""


@dataclass(frozen=True)
class Recording:
    """How a trajectory is written.

    Attributes:
        record: where.
        name: of the trajectory, unique in the record.
        repeat: number under which its samples stand.
        checkpoint_interval: steps between commits of samples and state.
        trajectory_interval: steps between frames; None keeps none.
    """

    record: RunRecord
    name: str
    repeat: int = 0
    checkpoint_interval: int = 100
    trajectory_interval: int | None = None

    @property
    def finished(self) -> bool:
        """Whether the trajectory is complete in the record."""
        return self.record.noted(f"finished/{self.name}") is not None


def run_trajectory(
    atoms: Atoms,
    segments: Sequence[Segment],
    dynamics: DynamicsSettings,
    rng: np.random.Generator,
    recording: Recording,
    *,
    observers: Mapping[str, Sequence[Observer]] | None = None,
    on_progress: Progress | None = None,
) -> None:
    """Run a trajectory, or the rest of it; one that is finished is left alone.

    At every step the atoms move, the coupling takes its next value, and energy, forces, stress and
    (where recorded) dU/d(lambda) come from one evaluation.

    Args:
        atoms: with a `CoupledCalculator`; moved in place. A finished trajectory does not move them:
            what is needed afterwards belongs in an observer or in the record.
        segments: one after the other.
        dynamics: temperature, pressure, time step.
        rng: of this trajectory alone; its state is part of the checkpoint.
        recording: where it is written.
        observers: by segment name; what they saw is kept in the record when the trajectory ends,
            and given back to them where it had ended before.
        on_progress: called at every checkpoint.

    Raises:
        UnstableError: if the dynamics blow up; the record keeps the last commit before.
        InputError: if the record cannot be written.
    """
    watching = {name: tuple(items) for name, items in (observers or {}).items()}
    record = recording.record
    ended = record.noted(f"finished/{recording.name}")
    if ended is not None:
        _restore_observers(watching, ended["observers"])
        return
    calculator: CoupledCalculator = atoms.calc
    total = sum(segment.steps for segment in segments)
    state = record.state()
    if state is not None and state["trajectory"] != recording.name:
        state = None
    first, begun = (0, -1) if state is None else (int(state["segment"]), int(state["step"]))
    _couple(calculator, segments[first], max(begun, 0), dynamics)
    integrator = make_integrator(atoms, dynamics, rng, None if state is None else state["dynamics"])
    if state is not None:
        _restore_observers(watching, state["observers"])

    samples: list[Sample] = []
    frames: list[Frame] = []

    def sample(segment: Segment, step: int) -> Sample:
        name, derivative = segment.name, segment.derivative
        return sample_of(atoms, name, step, recording, dynamics, derivative=derivative)

    def commit(index: int, step: int, *, last: bool = False) -> None:
        seen = _observed(watching)
        notes = {f"finished/{recording.name}": {"observers": seen}} if last else None
        now = {
            "trajectory": recording.name,
            "segment": index,
            "step": step,
            "dynamics": integrator.state(),
            "observers": seen,
        }
        record.checkpoint(samples, now, frames=frames, notes=notes)
        samples.clear()
        frames.clear()
        if on_progress is not None:
            on_progress(sum(part.steps for part in segments[:index]) + step, total)

    for index in range(first, len(segments)):
        segment = segments[index]
        before = begun if index == first else -1
        if before < 0:
            before = 0
            _couple(calculator, segment, 0, dynamics)
            samples.append(sample(segment, 0))
        for step in range(before + 1, segment.steps + 1):
            integrator.propagate()
            _couple(calculator, segment, step, dynamics)
            integrator.complete()
            check_stability(atoms, dynamics)
            for observer in watching.get(segment.name, ()):
                observer.observe(atoms)
            if segment.recorded(step):
                samples.append(sample(segment, step))
            every = recording.trajectory_interval
            if every is not None and step % every == 0:
                frames.append(
                    Frame(
                        recording.repeat,
                        segment.name,
                        step,
                        positions=atoms.positions.copy(),
                        cell=atoms.cell.array.copy(),
                    )
                )
            if step % recording.checkpoint_interval == 0 and step < segment.steps:
                commit(index, step)
        commit(index, segment.steps, last=index == len(segments) - 1)


def _couple(
    calculator: CoupledCalculator, segment: Segment, step: int, dynamics: DynamicsSettings
) -> None:
    calculator.coupling = segment.coupling(step)
    calculator.with_derivative = segment.derivative and segment.recorded(step)
    calculator.with_stress = dynamics.cell != "fixed"


def sample_of(
    atoms: Atoms,
    segment: str,
    step: int,
    recording: Recording,
    dynamics: DynamicsSettings,
    *,
    derivative: bool,
    window: int = 0,
    energies_eV: FloatArray | None = None,
) -> Sample:
    """Return what is recorded of the atoms after a step.

    Args:
        atoms: with a `CoupledCalculator`.
        segment, step: where in the trajectory.
        recording: whose repeat it is.
        dynamics: of the time step.
        derivative: whether dU/d(lambda) is recorded.
        window: number of the window, of windows side by side.
        energies_eV: (W,) at the coupling of every window.
    """
    return Sample(
        recording.repeat,
        segment,
        step,
        window,
        time_fs=step * dynamics.timestep_fs,
        coupling=atoms.calc.coupling,
        dhdl_eV=float(atoms.calc.get_property("dhdl", atoms)) if derivative else None,
        potential_eV=float(atoms.get_potential_energy()),
        kinetic_eV=float(atoms.get_kinetic_energy()),
        temperature_K=float(atoms.get_temperature()),
        volume_A3=abs(float(np.linalg.det(atoms.cell.array))) if atoms.pbc.any() else None,
        energies_eV=energies_eV,
    )


def _observed(observers: Mapping[str, Sequence[Observer]]) -> dict[str, list[dict[str, Any]]]:
    return {name: [item.state() for item in items] for name, items in observers.items()}


def _restore_observers(
    observers: Mapping[str, Sequence[Observer]], kept: Mapping[str, Sequence[Mapping[str, Any]]]
) -> None:
    for name, items in observers.items():
        for observer, state in zip(items, kept[name], strict=True):
            observer.restore(state)
