"""The GPU and the threads that torch has here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

DRIVER = Path("/proc/driver/nvidia/gpus")


@dataclass(frozen=True)
class Gpu:
    """A device that torch can use.

    Attributes:
        name: of the device.
        memory_GiB: in all.
    """

    name: str
    memory_GiB: float


@dataclass(frozen=True)
class ComputeState:
    """What torch computes on.

    Attributes:
        torch: its version.
        cuda: version of CUDA it was built for; None if it was built without.
        gpus: that it can use.
        threads: that it uses on the CPU.
        cores: that this process may use.
        remarks: sentences on what is there but not used well.
    """

    torch: str
    cuda: str | None
    gpus: tuple[Gpu, ...]
    threads: int
    cores: int
    remarks: tuple[str, ...]


def compute_state(driver: Path = DRIVER) -> ComputeState:
    """Return the GPU, the build of torch and the threads.

    Args:
        driver: folder in which NVIDIA's driver lists its devices.
    """
    import torch

    gpus = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            gpus.append(Gpu(found.name, found.total_memory / 2**30))
    cuda = torch.version.cuda
    threads, cores = torch.get_num_threads(), usable_cores()
    remarks = []
    if not gpus and driver.is_dir() and any(driver.iterdir()):
        remarks.append(
            f"a GPU is here, but torch {torch.__version__} is built without CUDA: install a build "
            "of torch with CUDA"
            if cuda is None
            else f"a GPU is here, but torch {torch.__version__} cannot use it: update its "
            f"driver to one for CUDA {cuda}, and look at CUDA_VISIBLE_DEVICES"
        )
    if threads > cores:
        remarks.append(
            f"torch uses {threads} threads on {cores} cores, which is slow: set "
            f"OMP_NUM_THREADS={cores}"
        )
    return ComputeState(torch.__version__, cuda, tuple(gpus), threads, cores, tuple(remarks))


def usable_cores() -> int:
    """Return the number of cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
