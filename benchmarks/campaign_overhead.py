"""What a campaign adds to its runs, how that grows with their number, and what commits to a record cost.

    python benchmarks/campaign_overhead.py      # results/campaign_overhead.json, campaigns.md

The runs are `energy` of a harmonic crystal (spring_crystal.py), whose own cost is next to nothing. Times are those of the
processor plus what was waited for the disk (fsync), so that other processes of the machine count little.
"""

from __future__ import annotations

import argparse
import functools
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from ase import Atoms

import spring_crystal  # noqa: F401
from alchemlip.campaigns import execution, worker
from alchemlip.campaigns.dask_executors import dask_workers
from alchemlip.campaigns.description import Campaign, read_campaign
from alchemlip.campaigns.executors import Lane, in_this_process
from alchemlip.campaigns.expansion import expand
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.table import run_state
from alchemlip.records.runs import RunRecord, Sample
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "campaign_overhead.json"
NUMBERS = (10, 100, 1000)
COMMITS = 60
ATOMS = (8, 64, 512)


class Clock:
    """Processor time of this process and time waited for the disk, in s, and who took it."""

    def __init__(self) -> None:
        self.synced = 0.0
        self.syncs = 0
        self.taken: dict[str, float] = defaultdict(float)
        self.calls: dict[str, int] = defaultdict(int)

    def now(self) -> float:
        return time.process_time() + self.synced

    def sync(self, fsync: Callable[[int], None], file: int) -> None:
        wall, busy = time.perf_counter(), time.process_time()
        fsync(file)
        self.synced += max(0.0, time.perf_counter() - wall - (time.process_time() - busy))
        self.syncs += 1

    def timed(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(call)
        def inner(*args: Any, **kwargs: Any) -> Any:
            begun = self.now()
            try:
                return call(*args, **kwargs)
            finally:
                self.taken[name] += self.now() - begun
                self.calls[name] += 1

        return inner


@contextmanager
def watched() -> Iterator[Clock]:
    """Count the time of the parts of a campaign in this process."""
    clock = Clock()
    parts = [
        ("command", worker, "run_calculation"),
        ("attempts", CampaignFolder, "note"),
        ("attempts read", CampaignFolder, "attempts"),
        ("results read", CampaignFolder, "result"),
        ("campaign.json", CampaignFolder, "record"),
        ("check", CampaignFolder, "check"),
        ("expand", execution, "expand"),
    ]
    before = [(place, name, getattr(place, name)) for _, place, name in parts]
    fsync = os.fsync
    os.fsync = functools.partial(clock.sync, fsync)  # type: ignore[assignment]
    for part, place, name in parts:
        setattr(place, name, clock.timed(part, getattr(place, name)))
    try:
        yield clock
    finally:
        os.fsync = fsync
        for place, name, call in before:
            setattr(place, name, call)


def energies(folder: Path, number: int) -> Campaign:
    """Return a campaign of so many energies."""
    Atoms("Cu", cell=[3.0] * 3, pbc=True).write(folder / "Cu.extxyz")
    mixes = ", ".join(
        f"Cu=Cu{share:.6f}Ag{1 - share:.6f}" for share in np.linspace(0.1, 0.9, number)
    )
    file = folder / f"energies-{number}.yaml"
    file.write_text(f"command: energy\nvary:\n  structure: Cu.extxyz\n  mix: [{mixes}]\n")
    return read_campaign(file)


def spawned() -> Executor:
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=use_springs)


def use_springs() -> None:
    __import__("spring_crystal")


def in_process(folder: Path, number: int) -> dict[str, Any]:
    """Return the parts of the time of a campaign in this process, ms per run."""
    campaign = energies(folder, number)
    with watched() as clock:
        begun = clock.now()
        execution.run_campaign(campaign, in_this_process(), CampaignFolder(folder / "out"))
        whole = clock.now() - begun
    parts = {name: 1e3 * taken / number for name, taken in clock.taken.items()}
    overhead = 1e3 * whole / number - parts["command"]
    # check and record read nothing that is counted elsewhere; what is left is the queue and the log.
    rest = overhead - sum(taken for name, taken in parts.items() if name != "command")
    return {
        "runs": number,
        "whole_ms": 1e3 * whole / number,
        "overhead_ms": overhead,
        "parts_ms": {**parts, "rest": rest},
        "fsyncs": clock.syncs / number,
        "fsync_ms": 1e3 * clock.synced / max(clock.syncs, 1),
    }


def over_processes(folder: Path, number: int, kind: str) -> dict[str, Any]:
    """Return what runs in two workers cost the process that gives them out, and the wall time."""
    import dask
    import distributed  # noqa: F401 - whose settings stand beside the one set here

    campaign = energies(folder, number)
    outcomes: list[tuple[float, float, float]] = []

    def report(_: Any, outcome: Any) -> None:
        if outcome is not None:
            outcomes.append((time.perf_counter(), time.process_time(), outcome.seconds))

    with dask.config.set({"distributed.worker.preload": ["spring_crystal"]}):
        lanes = nullcontext([Lane(spawned)] * 2) if kind == "workers" else dask_workers(2)
        with lanes as chosen:
            execution.run_campaign(campaign, chosen, CampaignFolder(folder / "out"), report=report)
    wall, busy, seconds = np.array(outcomes).T
    # The first runs of both workers load what all runs need.
    first = min(4, number // 2)
    steady = number - first
    return {
        "runs": number,
        "kind": kind,
        "giver_ms": 1e3 * (busy[-1] - busy[first - 1]) / steady,
        "wall_ms": 2e3 * (wall[-1] - wall[first - 1]) / steady,
        "run_ms": 1e3 * float(np.mean(seconds[first:])),
    }


def scaling(folder: Path, number: int) -> dict[str, Any]:
    """Return the time in ms per run of what a campaign does with all its runs, none of them begun."""
    found: dict[str, float] = {}
    clock = time.process_time
    begun = clock()
    campaign = energies(folder, number)
    found["read"] = clock() - begun
    begun = clock()
    runs = expand(campaign)
    found["expand"] = clock() - begun
    made = CampaignFolder(folder / "out")
    begun = clock()
    made.record(campaign.source.file, made.check(runs))
    found["record"] = clock() - begun
    begun = clock()
    made.check(runs)
    found["check"] = clock() - begun
    begun = clock()
    todo = execution.jobs(made, runs, campaign.base, 1)
    found["jobs"] = clock() - begun
    begun = clock()
    execution._Execution(made, todo, [], None)
    found["queue"] = clock() - begun
    begun = clock()
    for run in made.runs():
        run_state(made, run)
    found["status"] = clock() - begun
    return {"runs": number, **{f"{name}_ms": 1e3 * taken / number for name, taken in found.items()}}


def commits(folder: Path, atoms: int, samples: int, synchronous: str) -> dict[str, Any]:
    """Return wall time and bytes of commits to a run record."""
    rng = np.random.default_rng(0)
    file = folder / f"{atoms}-{samples}-{synchronous}.sqlite"
    times = []
    with RunRecord(file, "commits", {}) as record:
        record._connection.execute(f"PRAGMA synchronous = {synchronous}")
        size = file.stat().st_size
        for number in range(COMMITS):
            state = {
                "positions": rng.normal(size=(atoms, 3)),
                "momenta": rng.normal(size=(atoms, 3)),
            }
            new = [
                Sample(
                    repeat=0,
                    segment="forward",
                    step=number * samples + k,
                    time_fs=2.0 * k,
                    coupling=0.5,
                    dhdl_eV=rng.normal(),
                    potential_eV=rng.normal(),
                    kinetic_eV=rng.normal(),
                    temperature_K=rng.normal(),
                    volume_A3=rng.normal(),
                )
                for k in range(samples)
            ]
            begun = time.perf_counter()
            record.checkpoint(new, state)
            times.append(time.perf_counter() - begun)
        size = file.stat().st_size - size
    return {
        "atoms": atoms,
        "samples_per_commit": samples,
        "synchronous": synchronous,
        "median_ms": 1e3 * float(np.median(times)),
        "ten_percent_ms": 1e3 * float(np.quantile(times, 0.1)),
        "ninety_percent_ms": 1e3 * float(np.quantile(times, 0.9)),
        # Pages of a file that is made hold some samples already.
        "bytes_per_sample": size / (COMMITS * samples) if samples > 1 else None,
    }


def syncs_per_commit() -> float | None:
    """Return how often SQLite waits for the disk at a commit, where strace can count it."""
    if shutil.which("strace") is None:
        return None
    code = (
        "import sys; from pathlib import Path; from alchemlip import run_database as d; "
        "c = d.open_to_write(Path(sys.argv[1])); c.execute('CREATE TABLE t (a)'); "
        "[c.execute('INSERT INTO t VALUES (1)') for _ in range(int(sys.argv[2]))]"
    )
    found = []
    with TemporaryDirectory() as folder:
        for number in (0, 20):
            trace = Path(folder) / f"trace-{number}"
            file = Path(folder) / f"{number}.sqlite"
            command = ["strace", "-f", "-o", str(trace), "-e", "trace=fsync,fdatasync"]
            subprocess.run(
                [*command, sys.executable, "-c", code, str(file), str(number)], check=True
            )
            found.append(sum("sync(" in line for line in trace.read_text().splitlines()))
    return (found[1] - found[0]) / 20


def commit_page(rows: list[dict[str, Any]]) -> str:
    shown = []
    by = {
        (row["disk"], row["atoms"], row["samples_per_commit"], row["synchronous"]): row
        for row in rows
    }
    for (disk, atoms, samples, synchronous), row in by.items():
        if synchronous == "FULL":
            bare = by[disk, atoms, samples, "OFF"]
            shown.append(
                (
                    disk,
                    str(atoms),
                    str(samples),
                    f"{row['median_ms']:.1f} ({row['ten_percent_ms']:.1f} to {row['ninety_percent_ms']:.1f})",
                    f"{bare['median_ms']:.1f}",
                    f"{row['bytes_per_sample']:.0f}" if row["bytes_per_sample"] else "",
                    *(
                        f"{max(1, np.ceil(row['median_ms'] / (0.01 * step))):.0f}"
                        for step in (10, 100)
                    ),
                )
            )
    header = (
        "disk",
        "atoms",
        "samples a commit",
        "ms a commit, median (10 % to 90 %)",
        "without fsync",
        "bytes a sample",
    )
    return table((*header, "1 % at 10 ms a step: interval", "at 100 ms"), shown)


def overhead_page(found: dict[str, Any]) -> str:
    rows = []
    for row in found["in_process"]:
        parts = row["parts_ms"]
        once = sum(parts[name] for name in ("expand", "check", "campaign.json"))
        read = parts["attempts read"] + parts["results read"]
        numbers = (
            row["overhead_ms"],
            parts["attempts"],
            read,
            once,
            parts["rest"],
            parts["command"],
        )
        rows.append((str(row["runs"]), *(f"{number:.1f}" for number in numbers)))
    header = (
        "runs",
        "overhead, ms a run",
        "attempts' lines",
        "queue: states read",
        "file, record",
        "rest",
    )
    first = table((*header, "the command itself"), rows)
    rows = [
        (
            row["kind"],
            str(row["runs"]),
            *(f"{row[name]:.1f}" for name in ("giver_ms", "wall_ms", "run_ms")),
        )
        for row in found["over_processes"]
    ]
    header = (
        "two workers",
        "runs",
        "processor of the giver, ms a run",
        "wall time of a worker, ms a run",
    )
    second = table((*header, "of which the run"), rows)
    names = [name for name in found["scaling"][0] if name != "runs"]
    rows = [(str(row["runs"]), *(f"{row[name]:.3f}" for name in names)) for row in found["scaling"]]
    third = table(("runs", *(name.removesuffix("_ms") for name in names)), rows)
    last = found["in_process"][-1]
    words = f"A run makes {last['fsyncs']:.1f} fsyncs, {last['fsync_ms']:.1f} ms each."
    return "\n\n".join(
        [
            first,
            words,
            second,
            "What is done for all runs at the start, ms a run:",
            third,
            as_markdown(found["environment"]),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--most", type=int, default=NUMBERS[-1], help="runs of the largest campaign"
    )
    given = parser.parse_args()
    numbers = [number for number in NUMBERS if number <= given.most]
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [str(HERE), os.environ.get("PYTHONPATH", "")])
    )
    found: dict[str, Any] = {"environment": describe()}

    def temporary(parent: str | None = None) -> TemporaryDirectory[str]:
        return TemporaryDirectory(prefix="alchemlip-", dir=parent)

    disks = {"this machine's": None}
    if Path("/dev/shm").is_dir():
        disks["memory"] = "/dev/shm"
    found["syncs_per_commit"] = syncs_per_commit()
    found["commits"] = []
    for disk, parent in disks.items():
        with temporary(parent) as folder:
            for atoms in ATOMS:
                for samples in (1, 100):
                    for synchronous in ("FULL", "OFF"):
                        row = commits(Path(folder), atoms, samples, synchronous)
                        found["commits"].append({"disk": disk, **row})
    print(commit_page(found["commits"]), flush=True)
    found["scaling"] = []
    for number in (*numbers, 10 * numbers[-1]):
        with temporary() as folder:
            found["scaling"].append(scaling(Path(folder), number))
            print(json.dumps(found["scaling"][-1]), flush=True)
    with temporary() as folder:  # what is imported and compiled once
        in_process(Path(folder), 3)
    found["in_process"] = []
    for number in numbers:
        with temporary() as folder:
            found["in_process"].append(in_process(Path(folder), number))
            print(json.dumps(found["in_process"][-1]), flush=True)
    found["over_processes"] = []
    for kind in ("workers", "dask-workers"):
        for number in numbers:
            with temporary() as folder:
                found["over_processes"].append(over_processes(Path(folder), number, kind))
                print(json.dumps(found["over_processes"][-1]), flush=True)
    words = (
        f"\n\nA commit waits for the disk {found['syncs_per_commit']:.0f} times."
        if found["syncs_per_commit"]
        else ""
    )
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    fill(
        HERE / "campaigns.md",
        {"overhead": overhead_page(found), "commits": commit_page(found["commits"]) + words},
    )


if __name__ == "__main__":
    main()
