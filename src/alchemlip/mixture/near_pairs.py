"""Pairs of points within a distance under periodic boundaries, however near they are to another.

For reading structures, where neither torch nor a neighbour list of dynamics is needed.
"""

from __future__ import annotations

import numpy as np

from alchemlip.arrays import BoolArray, FloatArray, IntArray

_MARGIN = 1e-9


def pairs_within(
    positions: FloatArray, cell: FloatArray, pbc: BoolArray, distance: float
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the pairs of sites within a distance (A), each seen from both ends.

    Args:
        positions: (S, 3) in A.
        cell: (3, 3) rows are the cell vectors, zero where there is none.
        pbc: (3,) periodic directions.
        distance: in A.

    Returns:
        First (E,) and second site (E,) and cell shift (E, 3), sorted; the vector of a pair is
        ``positions[second] + shift @ cell - positions[first]``.
    """
    from scipy.spatial import cKDTree

    from alchemlip.mixture.exclusive import full_cell

    whole = full_cell(cell)
    inverse = np.linalg.inv(whole)
    fractional = positions @ inverse
    home = np.where(pbc, np.floor(fractional), 0.0)
    inside = fractional - home
    margin = distance * np.linalg.norm(inverse, axis=0) + _MARGIN
    reach = np.where(pbc, np.ceil(margin), 0).astype(int)
    around = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    image = inside[None] + around[:, None]
    near = ((image > -margin) & (image < 1.0 + margin) | ~np.asarray(pbc)).all(axis=2)
    cells, sites = np.nonzero(near)
    tree = cKDTree(inside @ whole)
    found = tree.sparse_distance_matrix(
        cKDTree(image[cells, sites] @ whole), distance, output_type="ndarray"
    )
    first, shown = found["i"].astype(np.int64), found["j"].astype(np.int64)
    second = sites[shown]
    shift = around[cells[shown]] + home[first] - home[second]
    itself = (first == second) & ~shift.any(axis=1)
    first, second, shift = first[~itself], second[~itself], shift[~itself]
    order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], second, first))
    return first[order], second[order], shift[order]
