"""Lanes over Dask: a scheduler that runs already, workers on this machine, jobs under SLURM."""

from __future__ import annotations

import logging
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from alchemlip.campaigns.executors import Lane
from alchemlip.campaigns.slurm import SlurmSettings, job_parameters, keeping_interrupts
from alchemlip.errors import InputError

PATIENCE_S = 10.0
# How often jobs that ended, by their time limit or with their node, are submitted again.
RENEWAL_S = 20.0
# Runs beyond those at work, so that no worker waits for the next.
LEAST_WIDTH = 8


@contextmanager
def dask_cluster(address: str, width: int | None = None) -> Iterator[list[Lane]]:
    """Connect to a Dask scheduler and yield its lane.

    Args:
        address: of the scheduler, such as ``tcp://127.0.0.1:8786``.
        width: runs submitted at a time; twice the threads of all workers if None.

    Raises:
        InputError: if Dask is missing or the scheduler does not answer.
    """
    client = _client(address, "--scheduler")
    try:
        threads = sum(client.nthreads().values())
        yield [_lane(client, repr(address), width or max(2 * threads, LEAST_WIDTH))]
    finally:
        client.close()


@contextmanager
def dask_workers(workers: int, threads: int = 1) -> Iterator[list[Lane]]:
    """Start a Dask cluster of worker processes on this machine and yield its lane.

    Workers are replaced when they die, and end with this process, however it ends.

    Args:
        workers: how many.
        threads: of each, more than one for runs that advance together.

    Raises:
        InputError: if there is to be none, or Dask is missing.
    """
    if workers < 1:
        raise InputError(f"--dask-workers {workers} cannot be used: give at least 1")
    try:
        from distributed import LocalCluster
    except ImportError as error:
        raise InputError(_missing("--dask-workers", "distributed", "campaign")) from error
    with LocalCluster(
        n_workers=workers,
        threads_per_worker=threads,
        processes=True,
        dashboard_address=":0",  # any free port: the usual one may be another cluster's
        memory_limit=0,  # runs share the memory as they need it
        silence_logs=logging.CRITICAL,
    ) as cluster:
        client = _client(cluster, "--dask-workers")
        try:
            yield [_lane(client, "of this command", max(2 * workers * threads, LEAST_WIDTH))]
        finally:
            client.close()


@contextmanager
def slurm_cluster(settings: SlurmSettings, logs: Path, runs: int = 1) -> Iterator[list[Lane]]:
    """Yield a lane over SLURM jobs, each of them one or several Dask workers.

    The scheduler is in this process. Jobs are submitted with the first run, again when they end
    while there are runs left, and cancelled at the end.

    Args:
        settings: what each job asks for, and how many workers there are to be.
        logs: folder for what the jobs print; made with the first job.
        runs: under way in a worker at a time, more than one for runs that advance together.

    Raises:
        InputError: if dask-jobqueue or the command sbatch is missing, or, from the lane, if SLURM
            does not take a job.
    """
    parameters = job_parameters(settings, logs, runs)
    width = max(2 * settings.workers * runs, LEAST_WIDTH)
    try:
        with keeping_interrupts():
            from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise InputError(_missing("--slurm", "dask-jobqueue", "slurm")) from error
    if shutil.which("sbatch") is None:
        raise InputError(
            "--slurm needs SLURM's command sbatch, which is not on the PATH: run the campaign "
            "where jobs are submitted, usually a login node"
        )
    over, in_vain = threading.Event(), threading.Event()
    made: list[Any] = []

    def make() -> Executor:
        if not made:
            logs.mkdir(parents=True, exist_ok=True)
            cluster = SLURMCluster(
                scheduler_options={"dashboard_address": ":0"},
                silence_logs=logging.CRITICAL,
                **parameters,
            )
            made.append(cluster)
            _submit(cluster, settings.workers)
            threading.Thread(
                target=_renew, args=(cluster, settings.workers, over, in_vain), daemon=True
            ).start()
            made.append(_client(cluster, "--slurm"))
        executor: Executor = made[1].get_executor(pure=False)
        return executor

    def watch() -> None:
        if in_vain.is_set():
            raise InputError(
                f"the SLURM jobs ended before a worker began: look at what they printed in "
                f"{str(logs)!r}, correct the settings, and run the campaign again"
            )

    try:
        yield [Lane(make, width, watch=watch, lost=_lost())]
    finally:
        over.set()
        for item in reversed(made):
            # Distributed insists that every job has ended; one that was refused never began.
            with suppress(AssertionError):
                item.close()


def _submit(cluster: Any, workers: int) -> None:
    """Submit the first jobs; tell what SLURM says if it takes none."""

    async def submitted() -> None:
        cluster.scale(workers)
        await cluster

    try:
        cluster.sync(submitted)
    except (RuntimeError, ValueError, OSError) as error:
        # dask-jobqueue repeats sbatch's words at the end of a report of several lines.
        words = [line for line in str(error).splitlines() if line.strip()]
        raise InputError(
            f"SLURM did not take a job ({words[-1].strip() if words else error}): look at the job "
            "script with --dry-run and correct the settings"
        ) from error


def _renew(cluster: Any, workers: int, over: threading.Event, in_vain: threading.Event) -> None:
    """Submit ended jobs again, until it is over; tell if none of the first came to anything."""
    connected = False
    while not over.wait(RENEWAL_S):
        cluster.scale(workers)
        connected = connected or bool(cluster.scheduler_info["workers"])
        if not connected and not _any_in_queue([job.job_id for job in cluster.workers.values()]):
            in_vain.set()


def _any_in_queue(jobs: list[str]) -> bool:
    """Whether any of the jobs waits or runs; true where SLURM does not tell."""
    command = ["squeue", "--noheader", "--format=%A", f"--jobs={','.join(jobs)}"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return True
    # A job that ended a while ago is an invalid id to SLURM.
    known = told.returncode == 0 or "Invalid job id" in told.stderr
    return not known or bool(told.stdout.strip())


def _client(cluster: Any, flag: str) -> Any:
    """Return a client of a cluster or of the scheduler at an address."""
    try:
        from distributed import Client
    except ImportError as error:
        raise InputError(_missing(flag, "distributed", "campaign")) from error
    try:
        return Client(cluster, timeout=PATIENCE_S, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise InputError(
            f"the Dask scheduler {cluster!r} does not answer: start one (dask scheduler), and give "
            "its address such as tcp://127.0.0.1:8786"
        ) from error


def _lane(client: Any, name: str, width: int) -> Lane:
    def make() -> Executor:
        executor: Executor = client.get_executor(pure=False)
        return executor

    def check() -> None:
        try:
            client.scheduler_info(n_workers=0)
            answers = client.sync(client.scheduler.identity, n_workers=0) is not None
        except Exception:  # whatever a broken connection raises
            answers = False
        if not answers or client.status != "running":
            raise InputError(
                f"the Dask scheduler {name} no longer answers: start it and its workers "
                "again, and run the campaign again; what is finished is kept"
            )

    return Lane(make, width, check, lost=_lost())


def _lost() -> tuple[type[Exception], ...]:
    from distributed import KilledWorker

    return (KilledWorker,)


def _missing(flag: str, package: str, extra: str) -> str:
    return f"{flag} needs the package {package}: install alchemlip with the extra [{extra}]"
