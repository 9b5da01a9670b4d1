"""A campaign on a Dask cluster whose workers and scheduler are killed: is anything lost, twice, or other?

    python benchmarks/campaign_cluster.py       # results/campaign_cluster.json, campaigns.md

A scheduler and four worker processes, over sockets of this machine, do the forty runs of
data/campaign_cluster.yaml by `alchemlip campaign run --scheduler`. At random moments a random worker gets
SIGKILL and another one is started. Once half of the runs are finished the scheduler gets SIGKILL as well;
it is started again with new workers, and the same command is given again. The potential is a harmonic crystal, so
that a run takes seconds. The records are compared with those of
the same campaign run in one process (afterwards, or what is left of it).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.records.runs import RunRecord
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
CAMPAIGN = HERE / "data" / "campaign_cluster.yaml"
RESULTS = HERE / "results" / "campaign_cluster.json"
WORKERS = 4
RUN_S = 2.0
PYTHON = [sys.executable, "-m"]
ALCHEMLIP = [sys.executable, "-c", "import spring_crystal; from alchemlip.cli import main; main()"]


def environment() -> dict[str, str]:
    """Return the environment of processes that find spring_crystal.py, on one thread."""
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }


def start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as stream:
        return subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment())


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path, port: int) -> None:
        self.address = f"tcp://127.0.0.1:{port}"
        self._port = port
        self._folder = folder
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        command = [*PYTHON, "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        command += ["--port", str(self._port), "--no-dashboard"]
        self.scheduler = start(command, self._folder / "scheduler.log")
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self._port)) == 0:
                    break
            time.sleep(0.2)
        for _ in range(WORKERS):
            self.add_worker()

    def add_worker(self) -> None:
        command = [*PYTHON, "distributed.cli.dask_worker", self.address, "--nthreads", "1"]
        command += ["--no-nanny", "--no-dashboard", "--local-directory", str(self._folder / "dask")]
        command += ["--preload", "spring_crystal"]
        self.workers.append(start(command, self._folder / "workers.log"))

    def kill_worker(self, number: int) -> int:
        worker = self.workers.pop(number)
        worker.kill()
        worker.wait()
        return worker.pid

    def kill_scheduler(self) -> None:
        assert self.scheduler is not None
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = None

    def stop(self) -> None:
        while self.workers:
            self.kill_worker(0)
        if self.scheduler is not None:
            self.kill_scheduler()


def run_command(out: Path, *arguments: str) -> list[str]:
    return [*ALCHEMLIP, "campaign", "run", str(CAMPAIGN), "--out", str(out), *arguments]


def finished(folder: CampaignFolder) -> int:
    return sum(folder.finished(run.name) for run in folder.runs())


def folder_finished(folder: CampaignFolder) -> int:
    return finished(folder) if (folder.path / "campaign.json").exists() else 0


def at_work(folder: CampaignFolder) -> set[int]:
    """Return the processes that are at a run."""
    found = set()
    for file in (folder.path / "attempts").glob("*.jsonl"):
        lines = [line for line in file.read_text().splitlines() if line]
        if lines and json.loads(lines[-1])["event"] == "begun":
            found.add(json.loads(lines[-1])["process"])
    return found


def disturbed(work: Path, rng: np.random.Generator, mean_s: float) -> dict[str, Any]:
    """Run the campaign with kills; return what was done to it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = CampaignFolder(work / "cluster")
    shutil.rmtree(folder.path, ignore_errors=True)
    cluster = Cluster(work, port)
    kills: list[dict[str, Any]] = []
    scheduler_kills = 0
    command: subprocess.Popen[bytes] | None = None
    begun = time.monotonic()
    try:
        cluster.start()
        command = start(run_command(folder.path, "--scheduler", cluster.address), work / "run.log")
        while command.poll() is None:
            # Whether the machine is fast or slow: after some time, or when some more runs have ended.
            due = time.monotonic() + rng.exponential(mean_s)
            more = folder_finished(folder) + rng.geometric(0.6)
            while (
                command.poll() is None and time.monotonic() < due and folder_finished(folder) < more
            ):
                time.sleep(0.1)
            time.sleep(rng.uniform(0.0, RUN_S))
            if command.poll() is not None or not (folder.path / "campaign.json").exists():
                continue
            busy = at_work(folder)
            victim = cluster.kill_worker(int(rng.integers(len(cluster.workers))))
            kills.append({"after_s": time.monotonic() - begun, "at_work": victim in busy})
            cluster.add_worker()
            total = len(folder.runs())
            print(
                f"{len(kills)} workers killed, {finished(folder)} of {total} finished", flush=True
            )
            if not scheduler_kills and finished(folder) >= total // 2:
                done = finished(folder)
                cluster.kill_scheduler()
                scheduler_kills += 1
                code = command.wait()
                said = (work / "run.log").read_text().strip().splitlines()[-1]
                print(f"scheduler killed at {done}; exit code {code}: {said}", flush=True)
                if code == 0:
                    raise RuntimeError("the command did not tell that its scheduler was lost")
                cluster.stop()
                cluster.start()
                command = start(
                    run_command(folder.path, "--scheduler", cluster.address), work / "run.log"
                )
        if command.returncode != 0:
            raise RuntimeError(
                f"the campaign ended with {command.returncode}: see {work / 'run.log'}"
            )
    finally:
        if command is not None:
            command.kill()
        cluster.stop()
    return {
        "seconds": time.monotonic() - begun,
        "worker_kills": len(kills),
        "worker_kills_at_work": sum(kill["at_work"] for kill in kills),
        "scheduler_kills": scheduler_kills,
        "kills": kills,
    }


def compared(serial: CampaignFolder, cluster: CampaignFolder) -> dict[str, Any]:
    """Return how the records of two campaigns agree, and what the second one went through."""
    runs = cluster.runs()
    identical = once = samples = resumed = anew = 0
    results = 0
    for run in runs:
        with RunRecord.read(serial.results(run.name)) as one:
            alone = one.samples()
        with RunRecord.read(cluster.results(run.name)) as one:
            killed, starts = one.samples(), one.starts
            complete = one.finished
        keys = list(
            zip(*(killed[name] for name in ("repeat", "segment", "window", "step")), strict=True)
        )
        once += complete and len(set(keys)) == len(keys) == len(alone["step"])
        samples += len(keys)
        identical += all(
            alone[name].tobytes() == killed[name].tobytes()
            if alone[name].dtype != object
            else list(alone[name]) == list(killed[name])
            for name in alone
        )
        first, second = (folder.result(run.name)["results"] for folder in (serial, cluster))
        results += all(
            first[name] == second[name] for name in first if name.startswith("free_energy")
        )
        if cluster.attempts(run.name).begun > 1:
            if any(start["checkpoints"] for start in starts[:-1]):
                resumed += 1
            else:
                anew += 1
    return {
        "runs": len(runs),
        "finished": finished(cluster),
        "complete_each_sample_once": once,
        "samples": samples,
        "records_identical_to_serial": identical,
        "results_identical_to_serial": results,
        "begun_more_than_once": resumed + anew,
        "resumed_from_record": resumed,
        "begun_anew": anew,
        "attempts": sum(cluster.attempts(run.name).begun for run in runs),
        "failures": sum(cluster.attempts(run.name).failures for run in runs),
    }


def run_seconds(folder: CampaignFolder) -> float:
    """Return the time in s that the runs of an undisturbed campaign took."""
    from datetime import datetime

    total = 0.0
    for run in folder.runs():
        text = (folder.path / "attempts" / f"{run.name}.jsonl").read_text()
        events = [json.loads(line) for line in text.splitlines() if line]
        times = {event["event"]: datetime.fromisoformat(event["time"]) for event in events}
        total += (times["finished"] - times["begun"]).total_seconds()
    return total


def page(found: dict[str, Any]) -> str:
    kills, records = found["disturbed"], found["records"]
    rows = [
        ("runs; samples in their records", f"{records['runs']}; {records['samples']}"),
        (
            "workers killed (at a run; idle or starting)",
            f"{kills['worker_kills']} ({kills['worker_kills_at_work']}; "
            f"{kills['worker_kills'] - kills['worker_kills_at_work']})",
        ),
        ("schedulers killed", str(kills["scheduler_kills"])),
        ("runs begun more than once", str(records["begun_more_than_once"])),
        ("... that went on from their record", str(records["resumed_from_record"])),
        ("... cut off before their first commit, begun anew", str(records["begun_anew"])),
        ("attempts; failures of runs", f"{records['attempts']}; {records['failures']}"),
        ("runs finished, complete, each sample once", str(records["complete_each_sample_once"])),
        (
            "records equal to those of one process, bit for bit",
            str(records["records_identical_to_serial"]),
        ),
        (
            "time with kills; of the runs in one process",
            f"{kills['seconds'] / 60:.1f} min; {found['serial_seconds'] / 60:.1f} min",
        ),
    ]
    return "\n".join([table(("", ""), rows), "", as_markdown(found["environment"])])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--mean", type=float, default=25.0, help="time between kills, s")
    parser.add_argument("--work", type=Path, default=HERE / "runs" / "campaign_cluster")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no worker is left
    given.work.mkdir(parents=True, exist_ok=True)
    for log in given.work.glob("*.log"):
        log.unlink()
    serial = CampaignFolder(given.work / "serial")
    kills = disturbed(given.work, np.random.default_rng(given.seed), given.mean)
    subprocess.run(run_command(serial.path, "--threads", "1"), check=True, env=environment())
    found = {
        "environment": describe(),
        "serial_seconds": run_seconds(serial),
        "disturbed": kills,
        "records": compared(serial, CampaignFolder(given.work / "cluster")),
    }
    RESULTS.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    fill(HERE / "campaigns.md", {"cluster": page(found)})
    print(json.dumps(found["records"], indent=1))


if __name__ == "__main__":
    main()
