"""Positions in the cell: the rows of a CIF repeated by its symmetry, and rows that share sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.cif.blocks import Block
from alchemlip.mixture.cif.rows import Row
from alchemlip.mixture.cif.symmetry import Operations
from alchemlip.mixture.near_pairs import pairs_within

LEAST = 0.005
"""In A: positions closer than this are one, whatever their digits."""
MOST = 0.1
"""In A: positions farther apart are two, however few their digits (split sites are)."""
MOST_SHARED = 0.05
"""In A: the same for two rows, which mostly agree to the last digit where they share a site."""


@dataclass(frozen=True, eq=False)
class Expanded:
    """The sites of a cell.

    Attributes:
        fractional: (S, 3) in 0 to 1.
        rows: for each site the rows that share it.
        operation: (S,) index of the symmetry operation that made the site of its first row.
        multiplicity: of each row.
        images: (R, M) site that each operation takes each row to.
    """

    fractional: FloatArray
    rows: Sequence[tuple[int, ...]]
    operation: IntArray
    multiplicity: IntArray
    images: IntArray


def expand(rows: Sequence[Row], operations: Operations, cell: FloatArray, block: Block) -> Expanded:
    """Return the sites that symmetry makes of the rows.

    Positions that symmetry takes to within their rounding of themselves are special: they get the
    mean of these images.

    Args:
        rows: of the atom list.
        operations: of the space group.
        cell: (3, 3) in A.
        block: for messages.

    Raises:
        InputError: if a position is neither special nor general, or two rows share only a part of
            their positions.
    """
    given = np.array([row.position for row in rows])
    lengths = np.linalg.norm(cell, axis=1)
    hidden = 2.0 * np.array([row.rounding for row in rows]) @ lengths
    within = np.clip(hidden, LEAST, MOST)
    orbits = [
        _orbit(given[i], operations, cell, within[i], rows[i], block) for i in range(len(rows))
    ]
    owner = np.repeat(np.arange(len(rows)), [len(points) for points, _, _ in orbits])
    points = np.concatenate([points for points, _, _ in orbits])
    starts = np.concatenate([[0], np.cumsum([len(points) for points, _, _ in orbits])])
    host = _shared(rows, points, owner, starts, np.clip(within, 0, MOST_SHARED), cell, block)
    kept = np.array([site for site in range(len(points)) if host[site] == site])
    new = np.full(len(points), -1)
    new[kept] = np.arange(len(kept))
    members: list[list[int]] = [[] for _ in kept]
    for site in range(len(points)):
        members[new[host[site]]].append(int(owner[site]))
    images = np.stack([new[host[starts[i] + image]] for i, (_, _, image) in enumerate(orbits)])
    made = np.concatenate([first_by for _, first_by, _ in orbits])
    return Expanded(
        points[kept],
        [tuple(rows_here) for rows_here in members],
        made[kept],
        np.diff(starts),
        images,
    )


def _orbit(
    position: FloatArray,
    operations: Operations,
    cell: FloatArray,
    within: float,
    row: Row,
    block: Block,
) -> tuple[FloatArray, IntArray, IntArray]:
    """Return the points (P, 3), the first operation of each, and the point of each operation."""
    images = operations.rotations @ position + operations.translations
    if len(operations) == 1:
        return wrapped(images), np.zeros(1, dtype=int), np.zeros(1, dtype=int)
    difference = images - position
    difference -= np.rint(difference)
    own = np.linalg.norm(difference @ cell, axis=1) < within
    n_own = int(own.sum())
    if np.abs(difference[own]).max() > 1e-9:
        position = position + difference[own].mean(axis=0)
        images = operations.rotations @ position + operations.translations
    images = wrapped(images)
    if n_own == 1:
        return images, np.arange(len(images)), np.arange(len(images))
    points: list[int] = []
    place = np.zeros(len(images), dtype=int)
    for index in range(len(images)):
        apart = images[points] - images[index]
        apart -= np.rint(apart)
        near = np.flatnonzero(np.linalg.norm(apart @ cell, axis=1) < within)
        if len(near):
            place[index] = near[0]
        else:
            place[index] = len(points)
            points.append(index)
    if len(points) * n_own != len(images):
        raise InputError(
            f"the position of {row.label!r} in {block.title}, line {row.line}, is near a special "
            f"one, but rounded too much to tell ({len(points)} positions, {n_own} of "
            f"{len(images)} operations keep it): write more digits"
        )
    return images[points], np.array(points), place


def wrapped(fractional: FloatArray) -> FloatArray:
    """Return fractional coordinates from 0 to 1, 1 excluded."""
    return np.asarray(fractional % 1.0 % 1.0)  # twice: -1e-17 % 1.0 is 1.0


def _shared(
    rows: Sequence[Row],
    points: FloatArray,
    owner: IntArray,
    starts: IntArray,
    within: FloatArray,
    cell: FloatArray,
    block: Block,
) -> IntArray:
    """Return for each point the first point that is the same site."""
    host = np.arange(len(points))
    i, j = close_pairs(points, cell, float(within.max()))
    if not len(i):
        return host
    apart = points[j] - points[i]
    apart -= np.rint(apart)
    same = np.linalg.norm(apart @ cell, axis=1) < np.maximum(within[owner[i]], within[owner[j]])
    same &= owner[i] != owner[j]
    partners: dict[tuple[int, int], int] = {}
    for a, b in zip(i[same].tolist(), j[same].tolist(), strict=True):
        low, high = min(a, b), max(a, b)
        host[high] = min(host[high], host[low])
        key = (int(owner[low]), int(owner[high]))
        partners[key] = partners.get(key, 0) + 1
    sizes = np.diff(starts)
    for (first, second), n_pairs in partners.items():
        if not n_pairs == sizes[first] == sizes[second]:
            a, b = rows[first], rows[second]
            raise InputError(
                f"{a.label!r} and {b.label!r} in {block.title}, lines {a.line} and {b.line}, share "
                "some of their positions but not all: their coordinates are rounded too much, or "
                "the symmetry is another; correct them"
            )
    for point in range(len(points)):
        host[point] = host[host[point]]
    return host


def close_pairs(points: FloatArray, cell: FloatArray, within: float) -> tuple[IntArray, IntArray]:
    """Return the pairs i < j of fractional points that are closer than a distance in A."""
    i, j, _ = pairs_within(points @ cell, cell, np.ones(3, dtype=bool), within)
    return i[i < j], j[i < j]
