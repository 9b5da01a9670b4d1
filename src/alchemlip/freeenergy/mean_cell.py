"""The average of a fluctuating cell, its rotations left out.

Cell vectors are rows. Against a reference h0 every cell is h = h0 G, and by polar decomposition

    G = S R,       S = (G G^T)^(1/2) symmetric, R a rotation

S stretches the reference, R turns the whole. The mean cell is h0 <S>: no direction of a sheared
cell is lost, and a cell that tumbles keeps its shape. With the rotations Q of the crystal's point
group <S> becomes the mean of Q <S> Q^T over the group.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


def stretch(cell: npt.ArrayLike, reference: npt.ArrayLike) -> FloatArray:
    """Return the symmetric stretch S (3, 3) of a cell against a reference.

    Args:
        cell: (3, 3) rows are the cell vectors, in Angstrom.
        reference: (3, 3), of the same handedness.

    Raises:
        InputError: if the two are of different handedness, or flat.
    """
    gradient = np.linalg.solve(np.asarray(reference, dtype=float), np.asarray(cell, dtype=float))
    if not np.linalg.det(gradient) > 0:
        raise InputError(
            "a cell of the average is turned inside out against the reference: give cells of one "
            "handedness and with a volume"
        )
    values, vectors = np.linalg.eigh(gradient @ gradient.T)
    return np.asarray((vectors * np.sqrt(values)) @ vectors.T)


def symmetrised(tensor: npt.ArrayLike, rotations: npt.ArrayLike) -> FloatArray:
    """Return the mean of Q T Q^T (3, 3) over the rotations (P, 3, 3) of a point group."""
    turns = np.asarray(rotations, dtype=float)
    return np.asarray(np.einsum("pia,ab,pjb->ij", turns, np.asarray(tensor), turns) / len(turns))


class MeanCell:
    """Accumulates the mean cell of a run, as an observer of the switching engine.

    Args:
        reference: (3, 3) cell to compare with, in Angstrom; the mean cell has its orientation.
        rotations: (P, 3, 3) Cartesian point group to average over; None takes the mean as it is.
    """

    def __init__(self, reference: npt.ArrayLike, rotations: npt.ArrayLike | None = None) -> None:
        self.reference: FloatArray = np.array(reference, dtype=float)
        self.rotations = None if rotations is None else np.array(rotations, dtype=float)
        self.count = 0
        self._stretch = np.zeros((3, 3))
        self._volume = 0.0
        self._volume_squared = 0.0

    def observe(self, atoms: Atoms) -> None:
        """Add the cell of a configuration."""
        cell = atoms.cell.array
        volume = abs(float(np.linalg.det(cell)))
        self._stretch += stretch(cell, self.reference)
        self._volume += volume
        self._volume_squared += volume**2
        self.count += 1

    @property
    def cell(self) -> FloatArray:
        """The mean cell (3, 3) in Angstrom."""
        mean = self._stretch / self._checked_count()
        if self.rotations is not None:
            mean = symmetrised(mean, self.rotations)
        return np.asarray(self.reference @ mean)

    @property
    def volume(self) -> float:
        """The mean volume in A^3; that of the mean cell differs by the fluctuations, squared."""
        return self._volume / self._checked_count()

    @property
    def volume_deviation(self) -> float:
        """The standard deviation of the volume in A^3."""
        variance = self._volume_squared / self._checked_count() - self.volume**2
        return float(np.sqrt(max(variance, 0.0)))

    def _checked_count(self) -> int:
        if not self.count:
            raise InputError("no cell was observed: take at least one sample")
        return self.count

    def state(self) -> dict[str, Any]:
        """Return the sums, for a checkpoint."""
        return {
            "count": self.count,
            "stretch": self._stretch.copy(),
            "volume": self._volume,
            "volume_squared": self._volume_squared,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the sums of a checkpoint."""
        self.count = int(state["count"])
        self._stretch = np.array(state["stretch"], dtype=float)
        self._volume = float(state["volume"])
        self._volume_squared = float(state["volume_squared"])
