"""Equilibrium windows: sampling at fixed couplings side by side, with replica exchange.

    result = sample_windows(atoms, calculator, dynamics, WindowSettings(), record)
    windows = windows_of(record)[0]                          # alchemlip.freeenergy.recorded
    estimate_from_energies(windows.couplings, windows.energies_eV, temperature_K)         # MBAR

Every window has a replica of the crystal, and all replicas take each step together, so that the
potential sees one batch a step. At an interval neighbouring windows exchange their couplings
(`alchemlip.freeenergy.replica_exchange`), and samples carry their energy at the coupling of every
window. The samples of window k are those at its coupling, whichever replica they come from.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units
from pydantic import BaseModel, ConfigDict, Field, field_validator

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.freeenergy.coupled_batch import energies_at_couplings, evaluate_batch
from alchemlip.freeenergy.dynamics import (
    DynamicsSettings,
    Integrator,
    check_stability,
    make_integrator,
)
from alchemlip.freeenergy.hamiltonian import CoupledCalculator
from alchemlip.freeenergy.replica_exchange import ReplicaExchange
from alchemlip.freeenergy.switching import generator_of
from alchemlip.freeenergy.trajectory import Progress, Recording, sample_of
from alchemlip.records.runs import RunRecord, Sample

if TYPE_CHECKING:
    from ase import Atoms

EQUILIBRATE = "equilibrate_windows"
WINDOWS = "windows"


class WindowSettings(BaseModel):
    """Where, how long and how often to sample.

    Attributes:
        couplings: of the windows, increasing from 0 to 1; or their number, evenly spaced.
        equilibration_steps: of each window, before its samples count.
        sampling_steps: of each window.
        sample_interval: steps between samples, each of which costs an energy at every coupling.
        exchange_interval: steps between attempts to exchange; None samples without exchange.
        repeats: independent sets of windows.
        checkpoint_interval: steps between commits.
        seed: of all random numbers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    couplings: tuple[float, ...] = Field(default=11, validate_default=True)
    equilibration_steps: int = Field(default=500, ge=1)
    sampling_steps: int = Field(default=5000, ge=1)
    sample_interval: int = Field(default=20, ge=1)
    exchange_interval: int | None = Field(default=20, ge=1)
    repeats: int = Field(default=1, ge=1)
    checkpoint_interval: int = Field(default=100, ge=1)
    seed: int = Field(default=0, ge=0)

    @field_validator("couplings", mode="before")
    @classmethod
    def _spaced(cls, value: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return tuple(np.linspace(0.0, 1.0, max(value, 0)).tolist())
        return value

    @field_validator("couplings")
    @classmethod
    def _from_0_to_1(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(value) < 2:
            raise ValueError("windows need two couplings or more")
        if value[0] != 0.0 or value[-1] != 1.0 or min(np.diff(value)) <= 0.0:
            raise ValueError("the couplings of the windows must increase from 0 to 1")
        return value

    @property
    def steps(self) -> int:
        """Time steps of all repeats together, each of all windows."""
        return self.repeats * (self.equilibration_steps + self.sampling_steps)


@dataclass(frozen=True)
class WindowsResult:
    """How the windows of the finished repeats exchanged.

    Attributes:
        couplings: (K,) of the windows.
        attempts, accepted: (K - 1,) exchanges between neighbouring windows, while sampling.
        round_trips: (K,) by replica: from the first window to the last and back, while sampling.
    """

    couplings: FloatArray
    attempts: IntArray
    accepted: IntArray
    round_trips: IntArray

    @property
    def acceptance(self) -> FloatArray:
        """(K - 1,) fraction of accepted exchanges; not a number where none was attempted."""
        attempts = np.where(self.attempts > 0, self.attempts, np.nan)
        return np.asarray(self.accepted / attempts)


def sample_windows(
    atoms: Atoms,
    calculator: CoupledCalculator,
    dynamics: DynamicsSettings,
    settings: WindowSettings,
    record: RunRecord,
    *,
    on_progress: Progress | None = None,
) -> WindowsResult:
    """Sample all windows of all repeats, or what is left of them.

    Args:
        atoms: where every window starts, with the masses of the dynamics; not changed.
        calculator: the Hamiltonian; each replica works with a copy of it.
        dynamics: temperature, pressure, time step.
        settings: couplings, lengths, intervals.
        record: where samples and state are written.
        on_progress: called with steps done and steps in all.

    Raises:
        UnstableError: if the dynamics blow up; the record keeps the last commit before.
        InputError: if the record cannot be written.
    """
    per_repeat = settings.equilibration_steps + settings.sampling_steps
    for repeat in range(settings.repeats):
        recording = Recording(record, f"windows {repeat}", repeat, settings.checkpoint_interval)
        if recording.finished:
            continue
        run = _Windows(atoms, calculator, dynamics, settings, recording)
        for done in run.run():
            if on_progress is not None:
                on_progress(repeat * per_repeat + done, settings.steps)
    return windows_result(record, settings)


def windows_result(record: RunRecord, settings: WindowSettings) -> WindowsResult:
    """Return the exchanges of the repeats that are finished in a record."""
    notes = [record.noted(f"finished/windows {repeat}") for repeat in range(settings.repeats)]
    done = [note["exchanges"] for note in notes if note is not None]
    n = len(settings.couplings)

    def total(name: str, size: int) -> IntArray:
        counts = np.array([note[name] for note in done], dtype=np.int64).reshape(-1, size)
        return np.asarray(counts.sum(axis=0))

    return WindowsResult(
        np.array(settings.couplings),
        total("attempts", n - 1),
        total("accepted", n - 1),
        total("round_trips", n),
    )


class _Windows:
    """The replicas of one repeat, begun or continued."""

    def __init__(
        self,
        atoms: Atoms,
        calculator: CoupledCalculator,
        dynamics: DynamicsSettings,
        settings: WindowSettings,
        recording: Recording,
    ) -> None:
        self.dynamics, self.settings, self.recording = dynamics, settings, recording
        n = len(settings.couplings)
        self.exchanges = ReplicaExchange(
            n, units.kB * dynamics.temperature_K, generator_of(settings.seed, recording.repeat, n)
        )
        self.segment, self.step = EQUILIBRATE, 0
        state = recording.record.state()
        if state is not None and state["trajectory"] != recording.name:
            state = None
        if state is not None:
            self.segment, self.step = str(state["segment"]), int(state["step"])
            self.exchanges.restore(state["exchanges"])
        replicas = None if state is None else state["replicas"]
        self.atoms = [_replica(atoms, calculator) for _ in range(n)]
        if replicas is not None:
            for item, kept in zip(self.atoms, replicas, strict=True):
                item.set_cell(kept["cell"], scale_atoms=False)
                item.set_positions(kept["positions"], apply_constraint=False)
        # Now, so that making the integrators finds the results of one batch.
        self._evaluate()
        self.integrators: list[Integrator] = [
            make_integrator(
                item,
                dynamics,
                generator_of(settings.seed, recording.repeat, index),
                None if replicas is None else replicas[index],
            )
            for index, item in enumerate(self.atoms)
        ]

    def run(self) -> Iterator[int]:
        """Take all steps that are left, yielding the number of steps done at every commit."""
        settings = self.settings
        lengths = {EQUILIBRATE: settings.equilibration_steps, WINDOWS: settings.sampling_steps}
        samples: list[Sample] = []
        before = 0
        for segment, steps in lengths.items():
            if segment == self.segment:
                while self.step < steps:
                    self._advance(samples)
                    last = self.step == steps
                    if last or self.step % settings.checkpoint_interval == 0:
                        self._commit(samples, ended=last and segment == WINDOWS)
                        yield before + self.step
                if segment == EQUILIBRATE:
                    self.segment, self.step = WINDOWS, 0
                    self.exchanges.forget()
            before += steps

    def _advance(self, samples: list[Sample]) -> None:
        for integrator in self.integrators:
            integrator.propagate()
        self.step += 1
        sampled = self.segment == WINDOWS and self.step % self.settings.sample_interval == 0
        self._evaluate(derivative=sampled)
        for integrator in self.integrators:
            integrator.complete()
            check_stability(integrator.atoms, self.dynamics)
        if sampled:
            samples.extend(self._sample(window) for window in range(len(self.atoms)))
        interval = self.settings.exchange_interval
        if interval is not None and self.step % interval == 0:
            self._exchange()

    def _evaluate(self, *, derivative: bool = False) -> None:
        couplings = [self.settings.couplings[window] for window in self.exchanges.window]
        calculators = [item.calc for item in self.atoms]
        parts = evaluate_batch(
            self.atoms, calculators, couplings, stress=self._stress, derivative=derivative
        )
        for item, coupling, part in zip(self.atoms, couplings, parts, strict=True):
            _take(item, coupling, part)

    def _exchange(self) -> None:
        couplings = self.settings.couplings
        partners: dict[int, int] = {}
        for x, y in self.exchanges.pairs():
            partners |= {x: y, y: x}
        replicas = list(partners)
        at = [couplings[self.exchanges.window[partners[replica]]] for replica in replicas]
        atoms = [self.atoms[replica] for replica in replicas]
        # With forces, so that an exchange that is accepted needs no further evaluation.
        parts = evaluate_batch(
            atoms, [item.calc for item in atoms], at, stress=self._stress, derivative=False
        )
        own = np.array([item.calc.results["energy"] for item in self.atoms])
        other = np.full(len(own), np.nan)
        other[replicas] = [sum(result.energy for result in part.values()) for part in parts]
        for pair in self.exchanges.exchange(own, other):
            for replica in pair:
                index = replicas.index(replica)
                _take(self.atoms[replica], at[index], parts[index])
                self.integrators[replica].take_forces()

    @property
    def _stress(self) -> bool:
        return self.dynamics.cell != "fixed"

    def _sample(self, window: int) -> Sample:
        atoms = self.atoms[int(self.exchanges.replica[window])]
        return sample_of(
            atoms,
            self.segment,
            self.step,
            self.recording,
            self.dynamics,
            derivative=True,
            window=window,
            energies_eV=energies_at_couplings(atoms, atoms.calc, self.settings.couplings),
        )

    def _commit(self, samples: list[Sample], *, ended: bool) -> None:
        exchanges = self.exchanges.state()
        state = {
            "trajectory": self.recording.name,
            "segment": self.segment,
            "step": self.step,
            "exchanges": exchanges,
            "replicas": [integrator.state() for integrator in self.integrators],
        }
        counts = {name: exchanges[name] for name in ("attempts", "accepted", "round_trips")}
        notes = {f"finished/{self.recording.name}": {"exchanges": counts}} if ended else None
        self.recording.record.checkpoint(samples, state, notes=notes)
        samples.clear()


def _replica(atoms: Atoms, calculator: CoupledCalculator) -> Atoms:
    replica = atoms.copy()
    # A copy has a neighbour list of its own, and shares the weights of the potential.
    replica.calc = copy.deepcopy(calculator)
    return replica


def _take(atoms: Atoms, coupling: float, parts: Mapping[str, Any]) -> None:
    """Give an atoms' calculator the terms that a batch found for it."""
    calculator: CoupledCalculator = atoms.calc
    calculator.coupling = coupling
    calculator.atoms = atoms.copy()
    calculator.store(parts)
