"""What a run record holds for the estimators: switching legs, and equilibrium windows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.estimators import work_of

if TYPE_CHECKING:
    from alchemlip.records.runs import RunRecord

FORWARD = "forward"
BACKWARD = "backward"


@dataclass(frozen=True)
class Leg:
    """Samples of one switching leg.

    Attributes:
        repeat: which repeat it belongs to.
        path: name of the path, of which the leg is one direction; empty where a run has one path.
        direction: ``forward`` (lambda from 0 to 1) or ``backward``.
        time_fs, coupling, dhdl_eV: (n,) each, in order of time.
    """

    repeat: int
    path: str
    direction: str
    time_fs: FloatArray
    coupling: FloatArray
    dhdl_eV: FloatArray

    @property
    def complete(self) -> bool:
        """Whether lambda has gone all the way."""
        ends = (0.0, 1.0) if self.direction == FORWARD else (1.0, 0.0)
        return len(self.coupling) > 1 and (self.coupling[0], self.coupling[-1]) == ends

    @property
    def fraction(self) -> float:
        """How far lambda has gone, 0 to 1."""
        return float(abs(self.coupling[-1] - self.coupling[0])) if len(self.coupling) else 0.0

    def work(self) -> float:
        """Return the work in eV done on the system along what is recorded."""
        return work_of({"coupling": self.coupling, "dhdl_eV": self.dhdl_eV})

    @property
    def duration_ps(self) -> float:
        """Time from the first to the last sample."""
        return float(self.time_fs[-1] - self.time_fs[0]) / 1000.0


@dataclass(frozen=True)
class Windows:
    """Equilibrium samples of one repeat at K fixed couplings.

    Attributes:
        repeat: which repeat.
        couplings: (K,) increasing.
        time_fs: K arrays (n_k,).
        dhdl_eV: K arrays (n_k,).
        energies_eV: K arrays (n_k, K), the energy of each sample at every window's coupling.
    """

    repeat: int
    couplings: FloatArray
    time_fs: list[FloatArray]
    dhdl_eV: list[FloatArray]
    energies_eV: list[FloatArray]


def legs_of(record: RunRecord) -> list[Leg]:
    """Return the switching legs of a record, finished or not, in order of repeat and time.

    A leg is a segment called ``forward`` or ``backward``, or ``PATH/forward`` and the like where a
    run switches along several paths.
    """
    samples = record.samples()
    legs = []
    for (repeat, segment), rows in _segments(samples).items():
        path, _, direction = segment.rpartition("/")
        if direction not in (FORWARD, BACKWARD):
            continue
        legs.append(
            Leg(
                repeat,
                path,
                direction,
                *(_column(samples, name)[rows] for name in ("time_fs", "coupling", "dhdl_eV")),
            )
        )
    return legs


def paths_of(legs: Sequence[Leg]) -> list[str]:
    """Return the names of the paths of some legs, in order of appearance."""
    return list(dict.fromkeys(leg.path for leg in legs))


def works_of(legs: Sequence[Leg], path: str = "") -> tuple[FloatArray, FloatArray]:
    """Return forward and backward works (R,) in eV of the repeats that have both legs complete."""
    works: dict[str, dict[int, float]] = {FORWARD: {}, BACKWARD: {}}
    for leg in legs:
        if leg.path == path and leg.complete:
            works[leg.direction][leg.repeat] = leg.work()
    both = sorted(set(works[FORWARD]) & set(works[BACKWARD]))
    forward, backward = ([works[name][r] for r in both] for name in (FORWARD, BACKWARD))
    return np.array(forward, dtype=np.float64), np.array(backward, dtype=np.float64)


def windows_of(record: RunRecord) -> list[Windows]:
    """Return the equilibrium windows of a record by repeat; empty if it has none.

    Window samples are those that carry the energies at every window's coupling.

    Raises:
        InputError: if a window moved, or has other energies than there are windows.
    """
    samples = record.samples()
    energies = _energies(samples)
    if energies is None:
        return []
    sampled = np.isfinite(energies).all(axis=1)
    found = []
    repeats, windows = np.asarray(samples["repeat"]), np.asarray(samples["window"])
    for repeat in np.unique(repeats[sampled]).tolist():
        rows = [
            np.flatnonzero(sampled & (repeats == repeat) & (windows == window))
            for window in range(energies.shape[1])
        ]
        if any(len(r) == 0 for r in rows):
            continue  # cut off before every window had a sample
        columns = {name: _column(samples, name) for name in ("time_fs", "coupling", "dhdl_eV")}
        couplings = np.array([columns["coupling"][r[0]] for r in rows])
        if any((columns["coupling"][r] != c).any() for r, c in zip(rows, couplings, strict=True)):
            raise InputError(
                f"the coupling of a window changes within repeat {repeat}: these are no samples "
                "of equilibrium windows"
            )
        if (np.diff(couplings) <= 0).any():
            raise InputError(
                f"the couplings of the windows of repeat {repeat} do not increase: number the "
                "windows from lambda = 0 to 1"
            )
        found.append(
            Windows(
                repeat,
                couplings,
                [columns["time_fs"][r] for r in rows],
                [columns["dhdl_eV"][r] for r in rows],
                [energies[r] for r in rows],
            )
        )
    return found


def _segments(samples: dict[str, Any]) -> dict[tuple[int, str], Any]:
    """Return the rows of each (repeat, segment), in order of appearance."""
    keys = list(zip(np.asarray(samples["repeat"]).tolist(), samples["segment"], strict=True))
    rows: dict[tuple[int, str], list[int]] = {}
    for row, (repeat, segment) in enumerate(keys):
        rows.setdefault((int(repeat), str(segment)), []).append(row)
    return {key: np.array(value) for key, value in rows.items()}


def _column(samples: dict[str, Any], name: str) -> FloatArray:
    return np.asarray(samples[name], dtype=np.float64)


def _energies(samples: dict[str, Any]) -> FloatArray | None:
    """Return (n, K) energies, nan where a sample has none; None if no sample has."""
    energies = np.asarray(samples["energies_eV"], dtype=np.float64)
    return energies if np.isfinite(energies).any() else None
