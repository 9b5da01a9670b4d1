"""Sites of a CIF of which at most one is filled: disorder groups, and sites too close for two."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from math import prod

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.cif.blocks import Block, number
from alchemlip.mixture.cif.expansion import Expanded
from alchemlip.mixture.cif.rows import Row
from alchemlip.mixture.exclusive import NO_PAIRS, ExclusivePairs, filled_parts
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import SUM_TOLERANCE
from alchemlip.mixture.split_sites import TOO_CLOSE, describe_pairs, exclusive_pairs

MANY = 5000
"""Sets of alternatives from which on only those close to one another are looked at."""
PAIRS = "_alchemlip_exclusive_pairs"
"""How many there are, in files of this package: where it stands, nothing is looked for."""
PAIR = tuple(f"_alchemlip_exclusive_{name}" for name in ("first", "second", "a", "b", "c"))
CLOSE = 3.0
"""In A: how far apart such alternatives may be."""


def with_alternatives(
    mixture: Mixture, block: Block, rows: Sequence[Row], expanded: Expanded
) -> tuple[Mixture, list[str]]:
    """Return a mixture whose alternative sites exclude one another, and sentences that say so.

    Alternatives are atoms of one disorder assembly and of different disorder groups, where one
    symmetry operation makes both, and sites that can be empty and are closer than `TOO_CLOSE` of
    their covalent radii.

    Args:
        mixture: of the block's sites.
        block: for messages.
        rows: of its atom list.
        expanded: their sites.
    """
    if not mixture.groups:
        return mixture, []
    if block.value(PAIRS) is not None:
        return mixture.with_exclusive(_written(block)), []
    grouped = _of_disorder_groups(rows, expanded, mixture.cell)
    close = [(p.first, p.second, *p.shift) for p in exclusive_pairs(mixture)]
    pairs = ExclusivePairs(np.concatenate([grouped, np.reshape(close, (-1, 5)).astype(int)]))
    pairs, overfull = _possible(mixture, pairs)
    notes = []
    if overfull:
        i, j, total = overfull
        notes.append(
            f"{block.title} has sites that are too close, or alternatives, but hold more than one "
            f"atom together (sites {i} and {j}, and those close to both: {total:.4g} atoms), so "
            "they are read as ordinary sites: correct the occupancies, or name the pairs of which "
            "at most one is filled (--exclusive)"
        )
    if not len(pairs):
        return mixture, notes
    mixture = mixture.with_exclusive(pairs)
    lines = describe_pairs(mixture)
    more = f"; and {len(lines) - 3} more kinds" if len(lines) > 3 else ""
    reason = f"closer than {TOO_CLOSE:g} of the sum of their covalent radii"
    if len(grouped):
        reason = "of different disorder groups" + (f", or {reason}" if close else "")
    notes.append(
        f"{block.title} has sites of which at most one is filled, {reason}: "
        f"{'; '.join(lines[:3])}{more} (--exclusive none makes them ordinary sites)"
    )
    return mixture, notes


def _written(block: Block) -> ExclusivePairs:
    """Return the pairs that a file of this package lists.

    Raises:
        InputError: if the list is damaged.
    """
    table = block.table(PAIR[0])
    if table is None:
        return NO_PAIRS
    values = [[number(table.cell(name, row)) for name in PAIR] for row in range(len(table))]
    if any(value is None or abs(value) > 1e6 or value % 1 for row in values for value in row):
        raise InputError(
            f"{block.title} has a damaged list of exclusive pairs ({PAIR[0]}, line "
            f"{table.lines[0]}): delete it, and {PAIRS}"
        )
    return ExclusivePairs(np.array(values, dtype=float).astype(int))


def _of_disorder_groups(rows: Sequence[Row], expanded: Expanded, cell: FloatArray) -> IntArray:
    """Return the pairs (P, 5) of sites that disorder groups make alternatives."""
    assemblies: dict[str, dict[str, list[int]]] = {}
    for index, row in enumerate(rows):
        if row.disorder is not None and row.occupancy < 1.0:
            assembly, group = row.disorder
            assemblies.setdefault(assembly, {}).setdefault(group, []).append(index)
    found = []
    for groups in assemblies.values():
        sets = prod(len(members) for members in groups.values()) * expanded.images.shape[1]
        for one, other in combinations(groups.values(), 2):
            first = np.repeat(one, len(other))
            second = np.tile(other, len(one))
            i, j = expanded.images[first].ravel(), expanded.images[second].ravel()
            apart = expanded.fractional[j] - expanded.fractional[i]
            shift = -np.rint(apart).astype(int)
            kept = i != j
            if len(groups) > 2 and sets > MANY:
                kept &= np.linalg.norm((apart + shift) @ cell, axis=1) < CLOSE
            found.append(np.column_stack([i, j, shift])[kept])
    return np.concatenate(found) if found else np.zeros((0, 5), dtype=int)


def _possible(
    mixture: Mixture, pairs: ExclusivePairs
) -> tuple[ExclusivePairs, tuple[int, int, float] | None]:
    """Return the pairs that the occupancies allow, and the first of the others with its sum."""
    filled = filled_parts(mixture.n_sites, mixture.groups)
    rows = pairs.rows
    sums = filled[rows[:, :2]].sum(axis=1)
    good = sums <= 1.0 + SUM_TOLERANCE
    worst: tuple[int, int, float] | None = None
    if not good.all():
        first = int(np.flatnonzero(~good)[0])
        worst = (int(rows[first, 0]), int(rows[first, 1]), float(sums[first]))
    kept = ExclusivePairs(rows[good])
    for clique in kept.cliques:
        total = float(filled[clique].sum())
        if total > 1.0 + SUM_TOLERANCE:
            inside = np.isin(kept.rows[:, :2], clique).all(axis=1)
            kept = ExclusivePairs(kept.rows[~inside])
            worst = worst or (int(clique[0]), int(clique[1]), total)
    return kept, worst
