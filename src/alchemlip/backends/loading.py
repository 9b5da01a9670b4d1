"""Potentials by name or file, with their released weights.

potential = load_potential("sevennet-0", dtype="float64")
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import torch

from alchemlip.backends.registry import make_backend
from alchemlip.errors import InputError
from alchemlip.potential.ensemble import EnsemblePotential, Potential
from alchemlip.potential.potential import AlchemicalPotential, Representation
from alchemlip.process_state import leaving_no_trace

DTYPES = {"float32": torch.float32, "float64": torch.float64}

# What loading changes in the process, and puts back, is not each thread's own.
_LOADING = threading.RLock()

_KEPT: ContextVar[dict[str, AlchemicalPotential] | None] = ContextVar("kept", default=None)


def load_potential(
    name: str = "sevennet-0",
    device: str = "auto",
    dtype: str = "float64",
    *,
    modal: str | None = None,
    head: str | None = None,
    trust: bool = False,
    representation: Representation = "nodes",
) -> AlchemicalPotential:
    """Load a potential with its released weights.

    Args:
        name: a known name (``alchemlip models`` lists them) or the path of a checkpoint; a fidelity
            or head may follow a known name: ``sevennet-mf-0@PBE``.
        device: ``cpu``, ``cuda``, ``cuda:1``, or ``auto`` (CUDA where there is one).
        dtype: ``float64`` for relaxations and derivatives, ``float32`` for speed.
        modal: fidelity of a multi-fidelity SevenNet model.
        head: head of a multi-head MACE model.
        trust: allow a local file, which is a pickle and can run code when it is read.
        representation: ``nodes``, or ``embedding``: see `AlchemicalPotential`.

    Raises:
        InputError: if the name, device or dtype is unknown, or the potential's package is missing.
    """
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}: choose float32 or float64")
    source: dict[str, Any] = {"name": name, "device": device, "dtype": dtype}
    source |= {"modal": modal, "head": head, "trust": trust, "representation": representation}
    kept = _KEPT.get()
    key = repr((source, _state_of_file(Path(name))))
    if kept is not None and key in kept:
        return kept[key]
    with _LOADING, leaving_no_trace():
        backend = make_backend(str(name), _device(device), DTYPES[dtype], modal, head, trust)
    potential = AlchemicalPotential(backend, source, representation, _reload)
    if kept is not None:
        kept[key] = potential
    return potential


@contextmanager
def keeping_potentials(kept: dict[str, AlchemicalPotential]) -> Iterator[None]:
    """Let `load_potential` load every potential once, for work that asks for it again and again.

    Args:
        kept: what was loaded, by its source; the caller keeps it for the next time.
    """
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)


def _state_of_file(file: Path) -> tuple[str, int, int] | None:
    """Return what tells whether a local checkpoint is still the same."""
    if not file.is_file():
        return None
    state = file.stat()
    return str(file.absolute()), state.st_mtime_ns, state.st_size


def _reload(source: Mapping[str, Any]) -> AlchemicalPotential:
    return load_potential(**source)


def load_potentials(names: Sequence[str], **options: Any) -> Potential:
    """Load one potential, or an ensemble of several.

    Args:
        names: as for `load_potential`; a fidelity or head follows its name: ``sevennet-mf-0@PBE``.
        options: of `load_potential`.

    Raises:
        InputError: from `load_potential`, or if the same potential is named twice.
    """
    if not names:
        raise InputError("no potential is named: give the name of one (alchemlip models)")
    loaded = [load_potential(name, **options) for name in names]
    return loaded[0] if len(loaded) == 1 else EnsemblePotential(loaded)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise InputError(f"unknown device {name!r}: choose cpu, cuda or auto") from error
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not supported: choose cpu, cuda or auto")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r} is not available here: use cpu or auto ('alchemlip doctor' "
            "tells what torch sees)"
        )
    return device
