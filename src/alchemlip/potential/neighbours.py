"""Neighbour lists (vesin) whose edges depend on the configuration alone."""

from __future__ import annotations

import threading

import numpy as np
from vesin import NeighborList as VesinList

from alchemlip.arrays import BoolArray, FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.exclusive import NO_PAIRS, ExclusivePairs

SMALLEST_DISTANCE = 0.3
"""Sites closer than this (Angstrom) are refused: no potential was trained there."""


class NeighbourList:
    """Neighbours of one structure, with a Verlet skin (vesin).

    The edges depend on the configuration alone, not on when the skin was last rebuilt: they are
    filtered to the cutoff and sorted by (receiver, sender, shift).

    Args:
        cutoff: in Angstrom.
        skin: in Angstrom; the list is searched anew only when sites may have crossed it.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self._list = VesinList(cutoff=cutoff, full_list=True, skin=skin, n_threads=1)
        self._turn = threading.Lock()

    def __reduce__(self) -> tuple[type[NeighbourList], tuple[float, float]]:
        # vesin's list cannot be copied; a fresh one gives the same edges.
        return NeighbourList, (self.cutoff, self.skin)

    def edges(
        self,
        positions: FloatArray,
        cell: FloatArray,
        pbc: BoolArray,
        exclusive: ExclusivePairs = NO_PAIRS,
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """Return receiver (E,), sender (E,) and cell shift (E, 3) of every neighbour pair.

        The vector of an edge is ``positions[sender] + shift @ cell - positions[receiver]``.
        Exclusive pairs, of which at most one is there, are no neighbours.

        Raises:
            InputError: if positions are not finite, the cell is flat along a periodic direction,
                or two sites nearly coincide.
        """
        check_geometry(positions, cell, pbc)
        with self._turn:  # what is kept for the skin belongs to one search at a time
            i, j, shift = self._list.compute(
                points=positions, box=cell, periodic=[bool(p) for p in pbc], quantities="ijS"
            )
        receiver, sender = i.astype(np.int64), j.astype(np.int64)
        shift = shift.astype(np.int64)
        if len(exclusive):
            kept = ~exclusive.contain(receiver, sender, shift)
            receiver, sender, shift = receiver[kept], sender[kept], shift[kept]
        order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], sender, receiver))
        receiver, sender, shift = receiver[order], sender[order], shift[order].astype(float)
        vectors = positions[sender] + shift @ cell - positions[receiver]
        squared = np.einsum("ex,ex->e", vectors, vectors)
        if len(squared) and squared.min() < SMALLEST_DISTANCE**2:
            edge = int(squared.argmin())
            raise InputError(
                f"sites {receiver[edge]} and {sender[edge]} are {np.sqrt(squared[edge]):.3f} A "
                f"apart, closer than {SMALLEST_DISTANCE} A: correct the positions or the cell"
            )
        return receiver, sender, shift


def check_geometry(positions: FloatArray, cell: FloatArray, pbc: BoolArray) -> None:
    """Refuse positions or cells that cannot be evaluated.

    Raises:
        InputError: naming the first site or direction at fault.
    """
    broken = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(broken):
        raise InputError(
            f"the position of site {broken[0]} is not finite ({positions[broken[0]]}): correct the "
            "structure, or use a smaller step if it came from dynamics"
        )
    if not np.isfinite(cell).all():
        raise InputError("a cell vector is not finite: correct the cell")
    periodic = cell[pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    flat = len(periodic) > 0 and (
        lengths.min() < SMALLEST_DISTANCE
        or np.linalg.svd(periodic / lengths[:, None], compute_uv=False).min() < 1e-3
    )
    if flat:
        raise InputError(
            "the cell is flat: its periodic vectors span no length, area or volume "
            f"(lengths {', '.join(f'{length:.3g}' for length in lengths)} A): give a proper cell"
        )
