"""Runs that advance together are those that run alone, with fewer passes of the model."""

from __future__ import annotations

import signal
import sys
import threading
import warnings
from concurrent.futures import CancelledError, ThreadPoolExecutor, wait
from contextlib import redirect_stdout
from contextvars import copy_context
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import FIRE
from ase.parallel import DummyMPI, world

from alchemlip import AlchemicalCalculator, AlchemicalPotential, Mixture, load_potential
from alchemlip.batching.executor import BatchEndedError, BatchExecutor, run_together
from alchemlip.batching.memory import PassSize
from alchemlip.crystal.relaxation import relax
from alchemlip.errors import InputError
from pair_models import pair_potential, spring_potential


def salt(x: float = 0.5, edge: float = 5.6) -> Mixture:
    atoms = bulk("NaCl", "rocksalt", edge)
    atoms.rattle(0.05, seed=3)
    return Mixture.from_elements(atoms, {"Na": {"Na": x, "K": 1.0 - x}})


@pytest.fixture
def potential() -> AlchemicalPotential:
    return pair_potential()


def ase_relaxation(mixture: Mixture, potential: AlchemicalPotential) -> tuple[int, float]:
    """ASE's optimiser with a cell filter, as anybody would write it."""
    atoms = mixture.to_atoms()
    atoms.calc = AlchemicalCalculator(potential, mixture)
    optimiser = FIRE(FrechetCellFilter(atoms), logfile=None)
    optimiser.run(fmax=0.02, steps=30)
    return optimiser.nsteps, float(atoms.get_potential_energy())


def ase_dynamics(
    mixture: Mixture, potential: AlchemicalPotential, seed: int, steps: int
) -> np.ndarray:
    atoms = mixture.repeat((2, 1, 1)).to_atoms()
    atoms.calc = AlchemicalCalculator(potential, mixture.repeat((2, 1, 1)))
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of how ASE fixes the centre of mass
        dynamics = Langevin(
            atoms,
            2.0 * units.fs,
            temperature_K=100.0 * (seed + 1),
            friction=0.01 / units.fs,
            rng=rng,
        )
    dynamics.run(steps)
    return np.array(atoms.positions)


class TestAseUnchanged:
    def test_relaxations(self, potential: AlchemicalPotential, passes: list[int]) -> None:
        mixtures = [salt(x, edge) for x in (0.1, 0.5, 0.9) for edge in (5.4, 5.8)]
        alone = [ase_relaxation(mixture, potential) for mixture in mixtures]
        n_alone = len(passes)
        passes.clear()
        together = run_together([lambda m=m: ase_relaxation(m, potential) for m in mixtures])
        assert [steps for steps, _ in together] == [steps for steps, _ in alone]
        assert [e for _, e in together] == pytest.approx([e for _, e in alone], abs=1e-10)
        # As many passes as the longest takes, and the one that was measured.
        longest = max(steps for steps, _ in alone)
        assert len(passes) <= longest + 2
        assert sum(passes) == n_alone

    def test_dynamics_of_unequal_length(self, potential: AlchemicalPotential) -> None:
        todo = [(seed, 5 + 3 * seed) for seed in range(5)]
        alone = [ase_dynamics(salt(), potential, *item) for item in todo]
        together = run_together(
            [lambda item=item: ase_dynamics(salt(), potential, *item) for item in todo]
        )
        np.testing.assert_allclose(together, alone, atol=1e-10)
        assert np.abs(alone[0] - alone[1]).max() > 1e-3

    def test_a_real_potential(self) -> None:
        potential = load_potential("sevennet-0", device="cpu")
        mixtures = [salt(0.2), salt(0.8)]
        alone = [relax(m, potential, fmax=0.05, smax=1.0) for m in mixtures]
        together = run_together(
            [lambda m=m: relax(m, potential, fmax=0.05, smax=1.0) for m in mixtures]
        )
        for one, other in zip(alone, together, strict=True):
            assert other.steps == one.steps
            assert other.evaluation.energy == pytest.approx(one.evaluation.energy, abs=1e-9)
            np.testing.assert_allclose(other.mixture.cell, one.mixture.cell, atol=1e-9)


def test_each_gets_what_it_asks_for(potential: AlchemicalPotential, passes: list[int]) -> None:
    def ask(x: float, wanted: dict[str, bool]) -> Any:
        return potential.evaluate(salt(x), **wanted)

    asked = [
        {"stress": True, "composition_gradient": False},
        {"stress": False, "composition_gradient": True},
        {"stress": False, "composition_gradient": False},
        {"forces": False, "stress": False, "composition_gradient": False},
    ]
    alone = [ask(0.3, wanted) for wanted in asked]
    passes.clear()
    ask_first = [lambda: potential.evaluate(salt(0.3))]
    together = run_together(
        ask_first + [lambda wanted=wanted: ask(0.3, wanted) for wanted in asked]
    )[1:]
    assert sorted(passes) == [1, 1, 3]  # the measured one, energies alone, the others
    for one, other in zip(alone, together, strict=True):
        assert other.energy == pytest.approx(one.energy, abs=1e-12)
        for name in ("forces", "stress", "composition_gradient"):
            mine, theirs = getattr(one, name), getattr(other, name)
            assert (mine is None) == (theirs is None)
            if mine is not None:
                np.testing.assert_allclose(theirs, mine, atol=1e-12)


def test_a_bad_structure_fails_alone(potential: AlchemicalPotential) -> None:
    good = salt()
    bad = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6), {"Na": {"Na": 0.5, "U": 0.5}})
    few = AlchemicalPotential(potential.backend)
    few.backend.numbers = frozenset({11, 17, 19})
    with BatchExecutor() as executor:
        futures = [executor.submit(few.evaluate, mixture) for mixture in (good, bad, good)]
    assert futures[0].result().energy == pytest.approx(futures[2].result().energy)
    with pytest.raises(InputError, match="does not cover U"):
        futures[1].result()


def test_an_error_of_a_run_is_its_own(potential: AlchemicalPotential) -> None:
    def fails() -> float:
        potential.evaluate(salt())
        raise ZeroDivisionError

    with BatchExecutor() as executor:
        bad = executor.submit(fails)
        good = executor.submit(ase_relaxation, salt(), potential)
    assert good.result()[0] > 0
    assert isinstance(bad.exception(), ZeroDivisionError)
    with pytest.raises(ZeroDivisionError):
        run_together([fails])


def test_most_runs_and_refill(potential: AlchemicalPotential) -> None:
    under_way, most = set(), 0

    def run(number: int) -> int:
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        for _ in range(1 + number % 3):
            potential.evaluate(salt())
        under_way.remove(number)
        return number

    assert run_together([lambda n=n: run(n) for n in range(10)], most_runs=4) == list(range(10))
    assert most == 4


def test_streams_and_filters_stay_with_their_run(potential: AlchemicalPotential) -> None:
    before = sys.stdout, list(warnings.filters)

    def talk(name: str) -> str:
        text = StringIO()
        with redirect_stdout(text), warnings.catch_warnings():
            warnings.simplefilter("error" if name == "a" else "ignore")
            for _ in range(3):
                print(name)
                potential.evaluate(salt())
                assert warnings.filters[0][0] == ("error" if name == "a" else "ignore")
        return text.getvalue()

    assert run_together([lambda n=n: talk(n) for n in "abc"]) == [3 * f"{n}\n" for n in "abc"]
    assert (sys.stdout, list(warnings.filters)) == before


def test_a_shutdown_ends_runs_as_if_interrupted(potential: AlchemicalPotential) -> None:
    cleaned: list[int] = []
    begun = [threading.Event() for _ in range(3)]
    executor = BatchExecutor(most_runs=2)

    def endless(number: int) -> None:
        try:
            while True:
                begun[number].set()
                potential.evaluate(salt())
        finally:
            cleaned.append(number)

    futures = [executor.submit(endless, number) for number in range(3)]
    assert begun[1].wait(30.0)
    executor.shutdown(cancel_futures=True)
    assert sorted(cleaned) == [0, 1]
    assert all(isinstance(future.exception(), BatchEndedError) for future in futures[:2])
    with pytest.raises(CancelledError):
        futures[2].result()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(endless, 4)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_all_runs(potential: AlchemicalPotential) -> None:
    """Nothing goes on behind the back of who stopped it."""
    ended: list[int] = []

    def endless(number: int) -> None:
        try:
            for step in range(10_000):
                potential.evaluate(salt())
                if number == 0 and step == 5:
                    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        finally:
            ended.append(number)

    with pytest.raises(KeyboardInterrupt):
        run_together([lambda n=n: endless(n) for n in range(3)])
    assert sorted(ended) == [0, 1, 2]
    executor = BatchExecutor()

    def stopped_at_once() -> None:
        with executor:
            executor.submit(endless, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped_at_once()
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(endless, 1)


def test_a_failure_of_the_executor_reaches_every_future(
    potential: AlchemicalPotential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a device that does not say how much memory it has."""

    def broken(self: PassSize, mixtures: Any) -> bool:
        raise RuntimeError("device lost")

    monkeypatch.setattr(PassSize, "fits", broken)
    with BatchExecutor() as executor:
        futures = [executor.submit(ase_relaxation, salt(), potential) for _ in range(3)]
        for future in futures:
            with pytest.raises(RuntimeError, match="device lost"):
                future.result(timeout=30.0)
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(ase_relaxation, salt(), potential)


def test_a_run_without_a_thread_fails_alone(
    potential: AlchemicalPotential, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def limited(self: threading.Thread) -> None:
        if self.name == "batched run" and not refused:
            refused.append(self)
            raise RuntimeError("can't start new thread")
        start(self)

    refused: list[threading.Thread] = []
    monkeypatch.setattr(threading.Thread, "start", limited)
    with BatchExecutor() as executor:
        futures = [executor.submit(potential.evaluate, salt()) for _ in range(2)]
        with pytest.raises(RuntimeError, match="new thread"):
            futures[0].result(timeout=30.0)
        assert np.isfinite(futures[1].result(timeout=30.0).energy)


def test_threads_of_a_run_evaluate_by_themselves(potential: AlchemicalPotential) -> None:
    """Also those that inherit its context, as asyncio.to_thread makes them."""
    expected = potential.evaluate(salt()).energy

    def run() -> list[float]:
        context = copy_context()
        with ThreadPoolExecutor(2) as pool:
            inner = [pool.submit(context.copy().run, potential.evaluate, salt()) for _ in "ab"]
            here = potential.evaluate(salt()).energy
            return [here, *(future.result(timeout=30.0).energy for future in inner)]

    with BatchExecutor() as executor:
        futures = [executor.submit(run) for _ in range(2)]
        for future in futures:
            assert future.result(timeout=60.0) == pytest.approx([expected] * 3)


def test_batches_within_batches(potential: AlchemicalPotential) -> None:
    expected = potential.evaluate(salt()).energy

    def outer() -> list[float]:
        found = run_together([lambda: potential.evaluate(salt()).energy] * 2)
        return [*found, potential.evaluate(salt()).energy]

    assert run_together([outer] * 2) == [pytest.approx([expected] * 3)] * 2


def test_a_run_cannot_wait_for_its_own_executor(potential: AlchemicalPotential) -> None:
    with BatchExecutor() as executor:
        future = executor.submit(executor.shutdown)
        with pytest.raises(RuntimeError, match="cannot wait for its own executor"):
            future.result(timeout=30.0)


def test_callbacks_of_futures_may_evaluate(potential: AlchemicalPotential) -> None:
    found: list[float] = []
    with BatchExecutor() as executor:
        future = executor.submit(lambda: [potential.evaluate(salt()).energy for _ in range(3)])
        future.add_done_callback(lambda _: found.append(potential.evaluate(salt()).energy))
    assert found == pytest.approx(future.result()[:1])


def test_waiting_for_cancelled_runs_ends(potential: AlchemicalPotential) -> None:
    executor = BatchExecutor(most_runs=1)
    begun = threading.Event()

    def endless() -> None:
        begun.set()
        while True:
            potential.evaluate(salt())

    futures = [executor.submit(endless) for _ in range(2)]
    assert begun.wait(30.0)
    executor.shutdown(wait=False, cancel_futures=True)
    _, left = wait(futures, timeout=30.0)
    assert not left
    assert futures[1].cancelled()


def test_recorded_warnings_and_ase_world_stay_with_their_run(
    potential: AlchemicalPotential,
) -> None:
    """Runs that end in the order in which they began leave everything as it was."""
    before = warnings.showwarning, warnings._showwarnmsg_impl, world.comm

    def run(number: int) -> list[str]:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            mine, old = DummyMPI(), world.comm
            world.comm = mine
            for _ in range(2 + number):
                potential.evaluate(salt())
                warnings.warn(f"of run {number}", stacklevel=1)
                assert world.comm is mine
            world.comm = old
        return sorted({str(item.message) for item in told})

    together = run_together([lambda n=n: run(n) for n in range(3)])
    assert together == [[f"of run {n}"] for n in range(3)]
    assert (warnings.showwarning, warnings._showwarnmsg_impl, world.comm) == before


class TestPassSize:
    def test_measured_by_what_is_kept(self) -> None:
        """Twice the structures keep twice the tensors."""
        potential = load_potential("sevennet-0", device="cpu", dtype="float32")
        sizes = []
        for n in (4, 8):
            mixtures, size = n * [salt()], PassSize(potential)
            size._measured_pass(mixtures, 0, n, lambda a, b, m=mixtures: potential.evaluate(m))
            sizes.append(size._bytes_per_node)
        # The weights, which every pass keeps, are counted once.
        assert sizes[1] == pytest.approx(sizes[0], rel=0.1)
        assert sizes[0] > 1e5

    def test_budget_divides(
        self, potential: AlchemicalPotential, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        mixtures = [salt() for _ in range(20)]
        size = PassSize(potential)
        seen: list[tuple[int, int]] = []

        def one_pass(first: int, last: int) -> list[int]:
            seen.append((first, last))
            potential.evaluate(mixtures[first:last])
            return list(range(first, last))

        assert size.in_passes(mixtures, one_pass) == list(range(20))
        assert seen[0] == (0, 1)
        per_structure = size._bytes_per_node * len(mixtures[0].nodes.site)
        monkeypatch.setattr("alchemlip.batching.memory.CPU_BYTES", 6.5 * per_structure)
        seen.clear()
        assert size.in_passes(mixtures, one_pass) == list(range(20))
        assert max(last - first for first, last in seen) == 5  # 5 x 1.2 fits into 6.5

    def test_out_of_memory_divides_the_pass(self, potential: AlchemicalPotential) -> None:
        mixtures = [salt() for _ in range(16)]
        size = PassSize(potential)
        size.in_passes(mixtures[:1], lambda a, b: potential.evaluate(mixtures[a:b]))
        tried: list[int] = []

        def one_pass(first: int, last: int) -> list[int]:
            tried.append(last - first)
            if last - first > 4:
                raise torch.cuda.OutOfMemoryError
            return list(range(first, last))

        assert size.in_passes(mixtures, one_pass) == list(range(16))
        assert 16 in tried
        with pytest.raises(torch.cuda.OutOfMemoryError):
            size.in_passes(mixtures[:1], lambda a, b: one_pass(0, 5))


def test_numbers_below_one_are_refused() -> None:
    with pytest.raises(InputError, match="most_runs is 0: give 1 or more"):
        BatchExecutor(0)


def test_free_energies_together(tmp_path: Path) -> None:
    """Switching of two temperatures, each with its own record, equals that of each alone."""
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.hamiltonian import AlchemicalTerm, CoupledCalculator
    from alchemlip.freeenergy.switching import SwitchingSettings, run_switching
    from alchemlip.records.runs import RunRecord

    potential = spring_potential(3.7, (29, 47), 1.0, {29: 1.5, 47: 1.0})
    copper = Atoms("Cu", cell=[3.0] * 3, pbc=True).repeat(2)
    mixture = Mixture.from_elements(copper, {"Cu": {"Cu": 1.0, "Ag": 0.0}})
    settings = SwitchingSettings(equilibration_steps=6, switching_steps=9, repeats=2)

    def works(folder: str, temperature: float) -> np.ndarray:
        calculator = CoupledCalculator(
            {"crystal": AlchemicalTerm(potential, mixture, [1.0, 0.0], [0.0, 1.0])}
        )
        record = RunRecord(tmp_path / f"{folder}-{temperature:.0f}", "test", {"T": temperature})
        dynamics = DynamicsSettings(temperature_K=temperature, cell="volume")
        result = run_switching(copper, calculator, dynamics, settings, record)
        return np.concatenate([result.forward_work, result.backward_work])

    alone = [works("alone", temperature) for temperature in (50.0, 100.0)]
    together = run_together(
        [lambda t=temperature: works("together", t) for temperature in (50.0, 100.0)]
    )
    np.testing.assert_allclose(together, alone, atol=1e-9)
    assert np.ptp(alone) > 1e-6


def test_conserved_energy_in_a_batch(potential: AlchemicalPotential) -> None:
    def drift(seed: int) -> float:
        atoms = salt().to_atoms()
        atoms.calc = AlchemicalCalculator(potential, salt())
        atoms.set_momenta(np.random.default_rng(seed).normal(size=(2, 3)) * 0.5)
        first = atoms.get_total_energy()
        VelocityVerlet(atoms, 0.5 * units.fs).run(40)
        return float(atoms.get_total_energy() - first)

    drifts = run_together([lambda s=s: drift(s) for s in range(3)])
    assert np.abs(drifts).max() < 1e-4
