"""Campaigns whose runs advance together: the results of one by one, in fewer passes."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.campaigns import worker
from alchemlip.campaigns.batch_lanes import ThreadsOfProcess, batch_size, lanes_of_batches
from alchemlip.campaigns.execution import jobs, run_jobs
from alchemlip.campaigns.executors import Lane, in_this_process
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.table import collected
from alchemlip.campaigns.worker import end_batches
from alchemlip.errors import InputError
from alchemlip.records.runs import RunRecord
from campaign_runs import VACANCIES, cheap_runs, cli, runs_of
from pair_models import pair_potential

RUNS = VACANCIES.replace("cell: fixed", "cell: volume")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = torch.get_num_threads()
    cheap_runs(tmp_path, monkeypatch)
    yield tmp_path
    end_batches()
    torch.set_num_threads(before)


def done(name: str, lanes: list[Lane], batch: int | None) -> tuple[CampaignFolder, Any]:
    runs = runs_of(RUNS)
    made = CampaignFolder(name)
    made.record(Path("mixing.yaml"), made.check(runs))
    tally = run_jobs(made, jobs(made, runs, Path.cwd(), 1, batch), lanes)
    assert sorted(tally.finished) == sorted(run.name for run in runs)
    return made, runs


def samples(made: CampaignFolder, run: CampaignRun) -> dict[str, np.ndarray]:
    with RunRecord.read(made.results(run.name)) as record:
        return record.samples()


def endless_in_a_batch(file: str) -> None:
    """Evaluate for ever in the batch that `end_batches` ends."""
    potential, atoms = pair_potential(), bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}})

    def run() -> None:
        while True:
            potential.evaluate(mixture)
            Path(file).touch()

    worker._batch(None, 1).submit(run).result()


def test_a_batch_gives_the_results_of_one_by_one(passes: list[int]) -> None:
    alone, runs = done("alone", in_this_process(), None)
    n_alone, structures = len(passes), sum(passes)
    passes.clear()
    together, _ = done("together", lanes_of_batches(0, 0), 0)
    assert sum(passes) == structures
    assert len(passes) < 0.35 * n_alone  # four runs, of equal length
    for run in runs:
        one, other = samples(alone, run), samples(together, run)
        for column, values in one.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values, other[column], atol=1e-8, err_msg=column)
            else:
                np.testing.assert_array_equal(values, other[column])
        # What a run prints stays with it.
        for made in (alone, together):
            assert made.log(run.name).read_text().count("finished, in") == 1
    for one, other in zip(collected(alone, runs), collected(together, runs), strict=True):
        assert one["free_energy_eV"] == pytest.approx(other["free_energy_eV"], abs=1e-8)


def test_from_the_command_line() -> None:
    Path("mixing.yaml").write_text(RUNS)
    result = cli("run", "mixing.yaml", "--batch", "auto")
    assert result.exit_code == 0, result.output
    assert "4 runs of vacancy are finished" in result.output
    bad = cli("run", "mixing.yaml", "--out", "other", "--batch", "many")
    assert "give a number of runs, or auto" in str(bad.exception)
    assert not Path("other").exists()


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_batch_goes_on_from_its_records(monkeypatch: pytest.MonkeyPatch) -> None:
    commits = 0
    checkpoint = RunRecord.checkpoint

    def ends(self: RunRecord, *arguments: Any, **named: Any) -> None:
        nonlocal commits
        checkpoint(self, *arguments, **named)
        commits += 1
        if commits == 12:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
            while worker._BATCHES:  # until it is heard
                time.sleep(0.01)

    monkeypatch.setattr(RunRecord, "checkpoint", ends)
    with pytest.raises(KeyboardInterrupt):
        done("stopped", lanes_of_batches(0, 0), 0)
    monkeypatch.setattr(RunRecord, "checkpoint", checkpoint)
    stopped = CampaignFolder("stopped")
    attempts = [stopped.attempts(run.name) for run in runs_of(RUNS)]
    assert all(item.begun == 1 and item.losses == 0 for item in attempts)
    statuses = [stopped.result(run.name)["status"] for run in runs_of(RUNS)]
    assert statuses == ["interrupted"] * 4
    stopped, runs = done("stopped", lanes_of_batches(0, 0), 0)
    alone, _ = done("alone", in_this_process(), None)
    for run in runs:
        one, other = samples(alone, run), samples(stopped, run)
        np.testing.assert_array_equal(one["step"], other["step"])
        np.testing.assert_allclose(one["potential_eV"], other["potential_eV"], atol=1e-8)


def test_a_lost_process_breaks_its_futures() -> None:
    executor = ThreadsOfProcess(3)
    process = executor.submit(os.getpid).result()
    assert process != os.getpid()
    waiting = [executor.submit(signal.pause), executor.submit(signal.pause)]
    with pytest.raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result()
    os.kill(process, signal.SIGKILL)
    for future in waiting:
        with pytest.raises(BrokenExecutor):
            future.result(timeout=30.0)
    with pytest.raises(BrokenExecutor):
        executor.submit(os.getpid)
    executor.shutdown()
    other = ThreadsOfProcess(1)
    future = other.submit(os.getpid)
    other.shutdown()  # what it was given is done first
    assert future.result() > 0


class UnreadableError(Exception):
    """Can be sent, but not made again from its arguments."""

    def __init__(self, place: str, reason: str) -> None:
        super().__init__(f"{place}: {reason}")


def unreadable() -> None:
    raise UnreadableError("here", "no reason")


def test_answers_that_cannot_be_sent_are_told() -> None:
    """Whoever waits for one would wait for ever."""
    executor = ThreadsOfProcess(2)
    with pytest.raises(RuntimeError, match="UnreadableError: here: no reason"):
        executor.submit(unreadable).result(timeout=30.0)
    with pytest.raises(RuntimeError, match="pickle"):
        executor.submit(threading.Lock).result(timeout=30.0)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        executor.submit(lambda: 1)
    assert executor.submit(divmod, 7, 2).result(timeout=30.0) == (3, 1)
    executor.shutdown()


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupted_process_is_a_lost_one(tmp_path: Path) -> None:
    """Its runs are neither failures nor the end of the campaign."""
    executor = ThreadsOfProcess(2)
    process = executor.submit(os.getpid).result(timeout=30.0)
    future = executor.submit(endless_in_a_batch, str(tmp_path / "begun"))
    while not (tmp_path / "begun").exists():
        time.sleep(0.01)
    os.kill(process, signal.SIGINT)
    with pytest.raises(BrokenExecutor):
        future.result(timeout=30.0)
    executor.shutdown()


@pytest.mark.parametrize(("text", "runs"), [("1", None), ("16", 16), ("auto", 0)])
def test_sizes(text: str, runs: int | None) -> None:
    assert batch_size(text) == runs


@pytest.mark.parametrize("text", ["0", "-2", "1.5", "all", ""])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InputError, match="give a number of runs, or auto"):
        batch_size(text)
