"""What a run of dynamics yields step by step, samples and frames, and their rows in its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError

KEYS = ("repeat", "segment", "window", "step")
NUMBERS = (
    "time_fs",
    "coupling",
    "dhdl_eV",
    "potential_eV",
    "kinetic_eV",
    "temperature_K",
    "volume_A3",
)


@dataclass(frozen=True, eq=False)
class Sample:
    """What is known of one step.

    Attributes:
        repeat: number of the repeat.
        segment: name of the part of the run, such as ``forward``.
        step: within the segment.
        window: number of the window, where several couplings are sampled side by side.
        time_fs: since the segment's start.
        coupling: lambda, from 0 to 1.
        dhdl_eV: derivative of the energy by lambda.
        potential_eV: potential energy.
        kinetic_eV: kinetic energy.
        temperature_K: of the momenta.
        volume_A3: of the cell.
        energies_eV: (W,) potential energy of this configuration at the coupling of every window.
    """

    repeat: int
    segment: str
    step: int
    window: int = 0
    time_fs: float | None = None
    coupling: float | None = None
    dhdl_eV: float | None = None
    potential_eV: float | None = None
    kinetic_eV: float | None = None
    temperature_K: float | None = None
    volume_A3: float | None = None
    energies_eV: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Frame:
    """One configuration of a trajectory.

    Attributes:
        repeat: number of the repeat.
        segment: name of the part of the run.
        step: within the segment.
        window: number of the window.
        positions: (N, 3) in Angstrom.
        cell: (3, 3) rows are cell vectors, in Angstrom.
    """

    repeat: int
    segment: str
    step: int
    window: int = 0
    positions: FloatArray = field(kw_only=True)
    cell: FloatArray = field(kw_only=True)


def sample_row(sample: Sample, segments: Mapping[str, int]) -> tuple[Any, ...]:
    """Return a sample as the row of a table; segments are numbered."""
    numbers = (getattr(sample, name) for name in NUMBERS)
    energies = sample.energies_eV
    return (
        *_key(sample, segments),
        *(None if number is None else float(number) for number in numbers),
        None if energies is None else _bytes(energies),
    )


def frame_row(frame: Frame, segments: Mapping[str, int]) -> tuple[Any, ...]:
    """Return a frame as the row of a table; segments are numbered."""
    return (*_key(frame, segments), _bytes(frame.positions), _bytes(frame.cell))


def frame_of(row: Sequence[Any], segments: Mapping[int, str]) -> Frame:
    """Return the frame of a row."""
    repeat, segment, window, step, positions, cell = row
    return Frame(
        repeat,
        segments[segment],
        step,
        window,
        positions=_array(positions).reshape(-1, 3),
        cell=_array(cell).reshape(3, 3),
    )


def sample_columns(
    batches: Iterable[Sequence[Sequence[Any]]], segments: Mapping[int, str]
) -> dict[str, np.ndarray[Any, Any]]:
    """Return rows of samples, which come in batches, as columns by name.

    Returns:
        The attributes of `Sample`, each (n,), and ``energies_eV`` (n, W); what was not given is
        nan, and W is 0 if no sample has energies.
    """
    first_number, energies_column = len(KEYS), len(KEYS) + len(NUMBERS)
    keys = [np.zeros((len(KEYS), 0), dtype=np.int64)]
    numbers = [np.zeros((len(NUMBERS), 0))]
    energies: list[bytes | None] = []
    for rows in batches:
        columns = list(zip(*rows, strict=True))
        keys.append(np.array(columns[:first_number], dtype=np.int64))
        # None becomes nan.
        numbers.append(np.array(columns[first_number:energies_column], dtype=np.float64))
        energies.extend(columns[energies_column])
    found = dict(zip(KEYS, np.concatenate(keys, axis=1), strict=True))
    names = np.array([segments.get(i, "") for i in range(max(segments, default=0) + 1)])
    return {
        **found,
        "segment": names[found["segment"]],
        **dict(zip(NUMBERS, np.concatenate(numbers, axis=1), strict=True)),
        "energies_eV": _energies(energies),
    }


def _energies(rows: Sequence[bytes | None]) -> FloatArray:
    lengths = {len(row) for row in rows if row is not None}
    if len(lengths) > 1:
        raise InputError(
            "the samples have energies at different numbers of windows: read one segment at a time"
        )
    size = lengths.pop() if lengths else 0
    missing = np.full(size // 8, np.nan).astype("<f8").tobytes()
    content = b"".join(missing if row is None else row for row in rows)
    return _array(content).reshape(len(rows), size // 8)


def _key(item: Sample | Frame, segments: Mapping[str, int]) -> tuple[int, int, int, int]:
    return int(item.repeat), segments[item.segment], int(item.window), int(item.step)


def _bytes(values: FloatArray) -> bytes:
    return np.asarray(values, dtype="<f8").tobytes()


def _array(content: bytes) -> FloatArray:
    return np.frombuffer(content, dtype="<f8").astype(np.float64)
