"""What a SLURM job for workers asks for, from a YAML file."""

from __future__ import annotations

import re
import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
)

from alchemlip.campaigns.yaml_files import choose, read_yaml
from alchemlip.errors import InputError

# Workers whose scheduler does not answer end after this time.
DEATH_TIMEOUT_S = 60
MEMORY = r"^\d+ ?[KMGT]B$"
ONE_LINE = r"^[^\x00-\x1f\x7f]+$"
OneLine = Annotated[str, StringConstraints(pattern=ONE_LINE)]

# In double quotes a shell still puts in $VARIABLES, and nothing else.
_PLAIN = re.compile(r"[A-Za-z0-9_./~${}:@%+=,-]+")
_SPECIAL = re.compile(r'([\\"`]|\$(?![A-Za-z_{]))')


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
    queue: OneLine | None = None
    account: OneLine | None = None
    interface: OneLine | None = None
    python: OneLine | None = None
    local_directory: OneLine | None = None
    job_extra_directives: list[str] = []
    job_script_prologue: list[str] = []

    @field_validator("job_extra_directives")
    @classmethod
    def _words(cls, directives: list[str]) -> list[str]:
        for directive in directives:
            if not re.fullmatch(ONE_LINE, directive) or not shlex.split(directive):
                raise ValueError("write each argument in one line")
        return directives


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
        elif first["type"] == "string_pattern_mismatch" and name not in EXAMPLES:
            words = f"{name} = {first['input']!r} cannot be used: write it in one line"
        elif name == "memory":
            words = f"memory = {first['input']!r} cannot be used: write it as 4GB"
        elif name == "walltime":
            words = f"walltime = {first['input']!r} cannot be used: write it as 12:00:00"
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
        "queue": quoted(settings.queue),
        "account": quoted(settings.account),
        "interface": settings.interface and shlex.quote(settings.interface),
        "python": _for_shell(settings.python or sys.executable),
        "local_directory": settings.local_directory and _for_shell(settings.local_directory),
        "job_extra_directives": [
            *(
                f"{stream} {quoted(str(logs.absolute() / f'alchemlip-%J.{ending}'))}"
                for stream, ending in (("-e", "err"), ("-o", "out"))
            ),
            *(shlex.join(shlex.split(item)) for item in settings.job_extra_directives),
        ],
        "job_script_prologue": settings.job_script_prologue,
        "death_timeout": DEATH_TIMEOUT_S,
    }


def quoted(text: str | None) -> str | None:
    """Return a text as one word of a line ``#SBATCH``, whose quotes are the shell's."""
    return None if text is None else shlex.quote(text)


def _for_shell(path: str) -> str:
    """Return a path as one word for a shell, which may put in ``$VARIABLES`` and ``~``."""
    if _PLAIN.fullmatch(path):
        return path
    return '"' + _SPECIAL.sub(r"\\\1", path) + '"'


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
    script: str = SLURMJob("tcp://SCHEDULER", name="WORKER", **parameters).job_script()
    return script
