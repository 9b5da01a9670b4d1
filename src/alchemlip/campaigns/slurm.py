"""What a SLURM job for workers asks for, from a YAML file."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alchemlip.campaigns.yaml_lines import choose, read_yaml
from alchemlip.errors import InputError

# Workers whose scheduler does not answer end after this time.
DEATH_TIMEOUT_S = 60
MEMORY = r"^\d+ ?[KMGT]B$"


class SlurmSettings(BaseModel):
    """How many workers there are to be, and what each job asks SLURM for.

    Attributes:
        workers: that run at a time.
        workers_per_job: several where a job is to fill a node.
        cores: CPUs of each worker, for the threads of torch.
        memory: of each worker, such as ``4GB``.
        walltime: of a job, such as ``12:00:00``; a run that it cuts off goes on in another job.
        queue: partition; SLURM's own choice if None.
        account: likewise.
        interface: network interface that the workers reach this machine by, such as ``ib0``.
        python: interpreter of the workers; this one if None.
        local_directory: node-local folder for what Dask itself writes.
        job_extra_directives: further arguments of ``#SBATCH``.
        job_script_prologue: lines of shell before the worker starts.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    workers: int = Field(ge=1)
    workers_per_job: int = Field(default=1, ge=1)
    cores: int = Field(default=1, ge=1)
    memory: str = Field(pattern=MEMORY)
    walltime: str = Field(pattern=r"^(\d+-)?\d+(:\d\d?){0,2}$")
    queue: str | None = None
    account: str | None = None
    interface: str | None = None
    python: str | None = None
    local_directory: str | None = None
    job_extra_directives: list[str] = []
    job_script_prologue: list[str] = []


def read_slurm(file: str | Path) -> SlurmSettings:
    """Read and check a file of settings.

    Raises:
        InputError: one sentence with the line.
    """
    source = read_yaml(Path(file))
    try:
        return SlurmSettings.model_validate(source.content)
    except ValidationError as error:
        first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        name = str(first["loc"][0])
        if first["type"] == "extra_forbidden":
            words = f"unknown entry {name!r}: {choose(name, SlurmSettings.model_fields)}"
        elif first["type"] == "missing":
            words = f"{name!r} is missing: add a line such as '{name}: {EXAMPLES[name]}'"
        elif name == "memory":
            words = f"memory = {first['input']!r} cannot be used: write it as 4GB"
        elif name == "walltime":
            # 12:00:00 without quotes is a number to YAML.
            words = f"walltime = {first['input']!r} cannot be used: write it as '12:00:00', quoted"
        else:
            words = f"{name} = {first['input']!r} cannot be used: {first['msg']}"
        raise source.error(tuple(first["loc"]), words) from error


EXAMPLES = {"workers": "8", "memory": "4GB", "walltime": '"12:00:00"'}


def job_parameters(settings: SlurmSettings, logs: Path, runs: int = 1) -> dict[str, Any]:
    """Return the arguments of ``dask_jobqueue.SLURMCluster``.

    A worker has a thread for Dask and each run under way, one where runs do not advance together,
    since a run's output belongs to the process; torch has all its cores.

    Args:
        settings: of the jobs.
        logs: folder for what they print.
        runs: under way in a worker at a time.
    """
    number = settings.workers_per_job
    return {
        "job_name": "alchemlip",
        "cores": number * runs,
        "processes": number,
        "job_cpu": number * settings.cores,
        "memory": f"{number * int(settings.memory[:-2])}{settings.memory[-2:]}",
        "walltime": settings.walltime,
        "queue": settings.queue,
        "account": settings.account,
        "interface": settings.interface,
        "python": settings.python,
        "local_directory": settings.local_directory,
        "job_extra_directives": settings.job_extra_directives,
        "job_script_prologue": settings.job_script_prologue,
        "log_directory": str(logs.absolute()),
        "death_timeout": DEATH_TIMEOUT_S,
    }


@contextmanager
def keeping_interrupts() -> Iterator[None]:
    """Put back what handles Ctrl-C: dask-jobqueue's import makes a silent success of it."""
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    finally:
        changed = signal.getsignal(signal.SIGINT) is not before
        if changed and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def job_script(settings: SlurmSettings, logs: Path, runs: int = 1) -> str:
    """Return the script of a job, with a placeholder for the scheduler's address; makes nothing.

    Args:
        settings, logs, runs: as in `job_parameters`.

    Raises:
        InputError: if dask-jobqueue is missing.
    """
    try:
        with keeping_interrupts():
            from dask_jobqueue.slurm import SLURMJob
    except ImportError as error:
        raise InputError(
            "--slurm needs the package dask-jobqueue: install alchemlip with the extra [slurm]"
        ) from error
    parameters = job_parameters(settings, logs, runs)
    # dask-jobqueue makes the folder of the output when it is told of it.
    folder, parameters["log_directory"] = parameters["log_directory"], "."
    script: str = SLURMJob("tcp://SCHEDULER", name="WORKER", **parameters).job_script()
    for stream in ("-e", "-o"):
        script = script.replace(f"#SBATCH {stream} ./", f"#SBATCH {stream} {folder}/")
    return script
