"""A campaign on a Dask cluster: real sockets, workers and scheduler killed."""

from __future__ import annotations

import asyncio
import multiprocessing
import multiprocessing.process
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms

from alchemlip.campaigns.dask_executors import dask_cluster
from alchemlip.campaigns.description import read_campaign
from alchemlip.campaigns.execution import jobs, run_jobs
from alchemlip.campaigns.executors import in_this_process
from alchemlip.campaigns.expansion import CampaignRun, expand
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.worker import Job, Outcome
from alchemlip.errors import InputError
from alchemlip.records.runs import RunRecord
from pair_models import spring_potential

pytest.importorskip("distributed")

CAMPAIGN = """\
command: vacancy
replicas: 3
options:
  repeat: 2,2,2
  mu: -4.0
  static: false
  cell: fixed
  timestep: 4.0
  equilibrate: 0.04
  switch: 0.16
  repeats: 2
  checkpoint_interval: 5
vary:
  structure: Cu.extxyz
  temperature: [100, 200]
"""


def springs(*_: Any) -> Any:
    return spring_potential(3.7, (29,), 1.0, {29: 1.5})


def serve_scheduler(port: int) -> None:
    from distributed import Scheduler

    async def serve() -> None:
        async with Scheduler(host="127.0.0.1", port=port, dashboard=False) as scheduler:
            await scheduler.finished()

    asyncio.run(serve())


def serve_worker(address: str, folder: str) -> None:
    from distributed import Worker

    from alchemlip.calculations import potentials

    potentials.prepare_single_potential = springs
    torch.set_num_threads(1)

    async def serve() -> None:
        async with Worker(address, nthreads=1, local_directory=folder) as worker:
            await worker.finished()

    asyncio.run(serve())


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{self._port}"
        self._folder = str(folder)
        # Torch is imported once, and every process forks from there, where no thread runs.
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(
            ["alchemlip.calculations.vacancy", "pair_models", "distributed"]
        )
        self.scheduler: multiprocessing.process.BaseProcess | None = None
        self.workers: list[multiprocessing.process.BaseProcess] = []

    def start(self, workers: int) -> None:
        self.scheduler = self._context.Process(target=serve_scheduler, args=(self._port,))
        self.scheduler.start()
        deadline = time.monotonic() + 90.0
        while not self._listens() and time.monotonic() < deadline:
            time.sleep(0.1)
        for _ in range(workers):
            self.add_worker()

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def add_worker(self) -> None:
        worker = self._context.Process(target=serve_worker, args=(self.address, self._folder))
        worker.start()
        self.workers.append(worker)

    def kill_worker(self) -> None:
        worker = self.workers.pop(0)
        worker.kill()
        worker.join()

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.join()

    def stop(self) -> None:
        for process in [*self.workers, *([self.scheduler] if self.scheduler else [])]:
            process.kill()
            process.join()
        self.workers.clear()


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setattr("alchemlip.calculations.potentials.prepare_single_potential", springs)
    monkeypatch.chdir(tmp_path)
    Atoms("Cu", cell=[3.0] * 3, pbc=True).write("Cu.extxyz")
    Path("campaign.yaml").write_text(CAMPAIGN)
    made = Cluster(tmp_path / "dask")
    yield made
    made.stop()
    torch.set_num_threads(before)


def prepared(out: str) -> tuple[CampaignFolder, list[CampaignRun], list[Job]]:
    campaign = read_campaign("campaign.yaml")
    runs = expand(campaign)
    folder = CampaignFolder(out)
    folder.record(campaign.source.file, folder.check(runs))
    return folder, runs, jobs(folder, runs, campaign.base, 1)


def samples(folder: CampaignFolder, run: CampaignRun) -> dict[str, np.ndarray[Any, Any]]:
    with RunRecord.read(folder.results(run.name)) as record:
        return record.samples()


def test_workers_and_then_the_scheduler_killed(cluster: Cluster) -> None:
    """The campaign ends complete, each sample once, bit for bit as in one process."""
    folder, runs, todo = prepared("out")
    cluster.start(2)
    kills: list[str] = []

    def report(_: Any, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        kills.append(outcome.name)
        if len(kills) == 1:
            cluster.kill_worker()
            cluster.add_worker()
        elif len(kills) == 3:
            cluster.kill_scheduler()

    with (
        dask_cluster(cluster.address) as lanes,
        pytest.raises(InputError, match="no longer answers"),
    ):
        run_jobs(folder, todo, lanes, report)
    cluster.stop()
    done = [run.name for run in runs if folder.finished(run.name)]
    assert 3 <= len(done) < len(runs)

    cluster.start(2)
    with dask_cluster(cluster.address) as lanes:
        tally = run_jobs(folder, todo, lanes)
    assert sorted(tally.finished) == sorted(run.name for run in runs)
    assert sum(folder.attempts(run.name).begun for run in runs) > len(runs)
    assert not any(folder.attempts(run.name).failures for run in runs)

    serial, _, todo = prepared("serial")
    run_jobs(serial, todo, in_this_process())
    for run in runs:
        alone, killed = samples(serial, run), samples(folder, run)
        for column, values in alone.items():
            np.testing.assert_array_equal(values, killed[column])


def test_a_scheduler_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemlip.campaigns.dask_executors.PATIENCE_S", 1.0)
    for address in ("tcp://127.0.0.1:1", "nowhere", "tcp://127.0.0.1:high"):
        with pytest.raises(InputError, match="does not answer"), dask_cluster(address):
            pass
