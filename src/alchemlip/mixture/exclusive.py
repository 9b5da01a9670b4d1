"""Pairs of sites of which at most one is filled: split sites, and alternatives of a disorder group.

The relation is one of site edges: a pair of sites and the cell shift between them. Another image of
the partner, at another distance, is an ordinary neighbour. No message passes between two atoms that
exclude one another, P(b at j | a at i) = 0; elsewhere the partner is there with p_jb.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import BoolArray, FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.groups import Group, frozen
from alchemlip.mixture.species import SUM_TOLERANCE, VACANCY_NUMBER

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture

Shift = tuple[int, int, int]
SAME_DISTANCE = 0.01
"""Of pairs that symmetry may carry onto one another, in Angstrom."""
Member = tuple[int, Shift]
"""A site, and in which cell."""


@dataclass(frozen=True, eq=False)
class ExclusivePairs:
    """The exclusive pairs of one structure, or of a batch.

    Attributes:
        rows: (P, 5) the two sites and the three cell shifts of the second, each pair once, sorted.
    """

    rows: IntArray

    def __post_init__(self) -> None:
        rows = np.asarray(self.rows, dtype=np.int64).reshape(-1, 5)
        same = (rows[:, 0] == rows[:, 1]) & ~rows[:, 2:].any(axis=1)
        if same.any():
            raise InputError(
                f"site {rows[same][0, 0]} is paired with itself: an exclusive pair has two sites"
            )
        turned = np.column_stack([rows[:, 1], rows[:, 0], -rows[:, 2:]])
        different = rows != turned
        first = different.argmax(axis=1)
        at = np.arange(len(rows))
        smaller = rows[at, first] <= turned[at, first]
        canonical = np.where(smaller[:, None], rows, turned)
        object.__setattr__(self, "rows", frozen(np.unique(canonical, axis=0)))

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def directed(self) -> IntArray:
        """(2P, 5) every pair seen from both of its ends."""
        rows = self.rows
        return np.concatenate([rows, np.column_stack([rows[:, 1], rows[:, 0], -rows[:, 2:]])])

    def contain(self, first: IntArray, second: IntArray, shift: FloatArray | IntArray) -> BoolArray:
        """Return which pairs (E,), (E,), (E, 3) are among these; their order does not count."""
        found = np.zeros(len(first), dtype=bool)
        if not len(self) or not len(first):
            return found
        shift = np.rint(shift).astype(np.int64)
        directed = self.directed
        reach, n_sites = int(np.abs(directed[:, 2:]).max()), int(directed[:, :2].max()) + 1
        near = (np.abs(shift) <= reach).all(axis=1) & (first < n_sites) & (second < n_sites)
        base = 2 * reach + 1

        def keys(i: IntArray, j: IntArray, cell: IntArray) -> IntArray:
            digits = cell + reach
            packed = (digits[:, 0] * base + digits[:, 1]) * base + digits[:, 2]
            return np.asarray((i * n_sites + j) * base**3 + packed)

        own = keys(directed[:, 0], directed[:, 1], directed[:, 2:])
        found[near] = np.isin(keys(first[near], second[near], shift[near]), own)
        return found

    @cached_property
    def cliques(self) -> tuple[IntArray, ...]:
        """Largest sets of more than two sites that all exclude one another: their site indices."""
        neighbours: dict[int, list[Member]] = {}
        for i, j, *cell in self.directed.tolist():
            neighbours.setdefault(i, []).append((j, (cell[0], cell[1], cell[2])))

        def around(member: Member) -> set[Member]:
            site, cell = member
            return {(j, _sum(cell, step)) for j, step in neighbours[site]}

        found: set[tuple[int, ...]] = set()
        for site in neighbours:
            origin: Member = (site, (0, 0, 0))
            for clique in _cliques({origin}, around(origin), set(), around):
                if len(clique) > 2:
                    found.add(tuple(sorted(j for j, _ in clique)))
        return tuple(np.array(members) for members in sorted(found))

    @property
    def partners(self) -> IntArray:
        """(...,) the sites that are part of a pair."""
        return np.unique(self.rows[:, :2])

    def with_offset(self, sites: int) -> IntArray:
        """Return the rows with larger site indices, for a batch."""
        rows = self.rows.copy()
        rows[:, :2] += sites
        return rows

    def repeated(self, repeats: Sequence[int], n_sites: int) -> ExclusivePairs:
        """Return the pairs of a supercell, whose sites are in the order of ``ase.Atoms.repeat``."""
        counts = np.asarray(repeats, dtype=np.int64)
        cells = np.stack(np.meshgrid(*map(np.arange, counts), indexing="ij"), axis=-1)
        cells = cells.reshape(-1, 1, 3)
        far = cells + self.rows[None, :, 2:]
        within, shift = far % counts, far // counts

        def copy(cell: IntArray) -> IntArray:
            return np.asarray((cell[..., 0] * counts[1] + cell[..., 1]) * counts[2] + cell[..., 2])

        first = copy(cells) * n_sites + self.rows[None, :, 0]
        second = copy(within) * n_sites + self.rows[None, :, 1]
        return ExclusivePairs(np.dstack([first, second, shift]).reshape(-1, 5))

    def of_sites(self, kept: IntArray, first: int = 0) -> ExclusivePairs:
        """Return the pairs among some sites, whose new indices are their places in ``kept``."""
        place = np.full(int(max(kept.max(initial=0), self.rows[:, :2].max(initial=0))) + 1, -1)
        place[kept] = np.arange(first, first + len(kept))
        rows = self.rows.copy()
        rows[:, :2] = place[rows[:, :2]]
        return ExclusivePairs(rows[(rows[:, :2] >= 0).all(axis=1)])

    def fractional(self, positions: FloatArray, cell: FloatArray) -> FloatArray:
        """Return the vectors (P, 3) from first to second site, in fractions of the cell vectors."""
        i, j = self.rows[:, 0], self.rows[:, 1]
        inside = np.linalg.solve(full_cell(cell).T, (positions[j] - positions[i]).T).T
        return np.asarray(inside + self.rows[:, 2:])

    def followed(
        self, before: FloatArray, positions: FloatArray, cell: FloatArray, pbc: BoolArray
    ) -> ExclusivePairs:
        """Return the pairs whose shifts are those of the images nearest to where they were.

        Positions that were wrapped into the cell are other positions, of the same atoms.

        Args:
            before: (P, 3) of `fractional`, at the positions that the pairs were made for.
            positions, cell, pbc: now.
        """
        jump = np.where(pbc, np.rint(self.fractional(positions, cell) - before), 0.0)
        if not jump.any():
            return self
        rows = self.rows.copy()
        rows[:, 2:] -= jump.astype(np.int64)
        return ExclusivePairs(rows)

    def refined(self, labels: IntArray, positions: FloatArray, cell: FloatArray) -> IntArray:
        """Return labels (S,) of alike sites, told apart by their partners as well.

        For searches of symmetry, which know nothing of pairs.
        """
        if not len(self):
            return labels
        i, j = self.directed[:, 0], self.directed[:, 1]
        vectors = positions[j] + self.directed[:, 2:] @ cell - positions[i]
        distances = np.linalg.norm(vectors, axis=1)
        order = np.argsort(distances)
        # Distances that rounding tells apart are one.
        steps = np.diff(distances[order], prepend=distances[order[0]]) > SAME_DISTANCE
        kinds = np.empty(len(order), dtype=np.int64)
        kinds[order] = np.cumsum(steps)
        partners: list[list[tuple[int, int]]] = [[] for _ in labels]
        for site, other, kind in zip(i.tolist(), labels[j].tolist(), kinds.tolist(), strict=True):
            partners[site].append((other, kind))
        known: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}
        return np.array(
            [
                known.setdefault((label, tuple(sorted(mine))), len(known) + 1)
                for label, mine in zip(labels.tolist(), partners, strict=True)
            ]
        )

    def at_one_place(
        self, positions: FloatArray, cell: FloatArray, tolerance: float
    ) -> tuple[IntArray, IntArray]:
        """Return the sites (Q,) of pairs that are no farther apart than a tolerance (A)."""
        i, j = self.rows[:, 0], self.rows[:, 1]
        vectors = positions[j] + self.rows[:, 2:] @ cell - positions[i]
        near = np.linalg.norm(vectors, axis=1) <= tolerance
        return i[near], j[near]

    def reduced(
        self,
        kept: IntArray,
        image: IntArray,
        positions: FloatArray,
        cell: FloatArray,
        smaller: FloatArray,
    ) -> ExclusivePairs:
        """Return the pairs of a smaller cell of the same crystal.

        Args:
            kept: sites of the larger cell that make up the smaller one, ascending.
            image: (S,) the one of them that each site is a translated image of.
            positions, cell: of the larger cell.
            smaller: (3, 3) the smaller cell.
        """
        rows = self.directed[np.isin(self.directed[:, 0], kept)]
        i, j = rows[:, 0], rows[:, 1]
        vectors = positions[j] + rows[:, 2:] @ cell - positions[image[j]]
        shift = np.rint(np.linalg.solve(smaller.T, vectors.T).T).astype(np.int64)
        first, second = np.searchsorted(kept, i), np.searchsorted(kept, image[j])
        return ExclusivePairs(np.column_stack([first, second, shift]))

    def check(self, n_sites: int, pbc: BoolArray, groups: Sequence[Group]) -> None:
        """Refuse pairs that no arrangement of atoms can obey at the groups' compositions.

        Raises:
            InputError: naming the sites.
        """
        if not len(self):
            return
        if self.rows[:, :2].min() < 0 or self.rows[:, :2].max() >= n_sites:
            wrong = self.rows[((self.rows[:, :2] < 0) | (self.rows[:, :2] >= n_sites)).any(axis=1)]
            raise InputError(
                f"an exclusive pair names the sites {wrong[0, 0]} and {wrong[0, 1]}, but the "
                f"structure has sites 0 to {n_sites - 1}: correct the index"
            )
        if (self.rows[:, 2:] != 0)[:, ~pbc].any():
            raise InputError(
                "an exclusive pair reaches into another cell along a direction that is not "
                "periodic: give it no cell shift there"
            )
        filled = filled_parts(n_sites, groups)
        sums = filled[self.rows[:, :2]].sum(axis=1)
        if sums.max() > 1.0 + SUM_TOLERANCE:
            worst = int(sums.argmax())
            i, j = self.rows[worst, :2].tolist()
            raise InputError(
                f"at most one of the sites {i} and {j} can be filled, but they are filled by "
                f"{filled[i]:.6g} and {filled[j]:.6g}, together more than 1: correct the "
                "occupancies, or take this pair out of the exclusive ones"
            )
        for clique in self.cliques:
            total = float(filled[clique].sum())
            if total > 1.0 + SUM_TOLERANCE:
                raise InputError(
                    f"at most one of the sites {', '.join(map(str, clique.tolist()))} can be "
                    f"filled, but together they are filled by {total:.6g}, more than 1: correct "
                    "the occupancies, or take pairs out of the exclusive ones"
                )
        for group in groups:
            self._check_group(group)

    def refuse_ideal_mixing(self) -> None:
        """Refuse the entropy of sites that are filled each by itself, which these are not.

        Raises:
            InputError: if there is a pair.
        """
        if len(self):
            i, j = self.rows[0, :2].tolist()
            raise InputError(
                f"sites exclude one another (such as {i} and {j}), so the entropy of ideal mixing "
                "is not theirs: leave it out"
            )

    def _check_group(self, group: Group) -> None:
        member = np.isin(self.rows[:, :2], group.sites)
        if group.correlation == "short-range" and member.any():
            site = int(self.rows[:, :2][member][0])
            raise InputError(
                f"site {site} of group {group.name!r} is in an exclusive pair, and the group is "
                "short-range ordered: the two cannot be combined, make the group independent"
            )
        if group.correlation == "concerted" and member.all(axis=1).any():
            rows = np.searchsorted(group.sites, self.rows[member.all(axis=1)][:, :2])
            atoms = (group.species != VACANCY_NUMBER) & (group.composition > 0)
            both = (atoms[rows[:, 0]] & atoms[rows[:, 1]]).any(axis=1)
            if both.any():
                i, j = group.sites[rows[both][0]].tolist()
                raise InputError(
                    f"a component of the concerted group {group.name!r} fills both of the sites "
                    f"{i} and {j}, of which at most one can be filled: make the group independent"
                )


NO_PAIRS = ExclusivePairs(np.zeros((0, 5), dtype=np.int64))


def filled_parts(n_sites: int, groups: Sequence[Group]) -> FloatArray:
    """Return the part (S,) to which each site is filled: all that is not its vacancy."""
    filled = np.ones(n_sites)
    for group in groups:
        filled[group.sites] = (group.species != VACANCY_NUMBER) @ group.composition
    return filled


def pairs_note(mixture: Mixture) -> dict[str, Any]:
    """Return plain values from which `pairs_from_note` finds the pairs in ASE atoms again."""
    vectors = mixture.exclusive.fractional(mixture.positions, mixture.cell)
    return {"pairs": mixture.exclusive.rows.tolist(), "fractional": vectors.tolist()}


def pairs_from_note(
    note: Any, labels: IntArray, positions: FloatArray, cell: FloatArray, pbc: BoolArray
) -> ExclusivePairs:
    """Return the pairs that were noted by `pairs_note`.

    Args:
        note: its values.
        labels: (S,) what index each site had then; sites may have changed their order since.
        positions, cell, pbc: now; positions may have been wrapped since.

    Raises:
        InputError: if sites were left out or repeated.
    """
    noted = ExclusivePairs(np.array(note["pairs"], dtype=np.int64))
    if len(labels) != len(np.unique(labels)) or not np.isin(noted.partners, labels).all():
        raise InputError(
            "the exclusive pairs of these atoms belong to another choice of sites: repeat or cut "
            "the Mixture instead, or delete atoms.info['alchemlip_exclusive']"
        )
    place = np.zeros(int(labels.max()) + 1, dtype=np.int64)
    place[labels] = np.arange(len(labels))
    rows = np.array(note["pairs"], dtype=np.int64).reshape(-1, 5)
    i, j = place[rows[:, 0]], place[rows[:, 1]]
    inside = np.linalg.solve(full_cell(cell).T, (positions[j] - positions[i]).T).T
    shift = np.rint(np.array(note["fractional"], dtype=float).reshape(-1, 3) - inside)
    return ExclusivePairs(np.column_stack([i, j, np.where(pbc, shift, 0.0).astype(np.int64)]))


def full_cell(cell: FloatArray) -> FloatArray:
    """Return a cell whose missing vectors are there, at right angles."""
    from ase.geometry import complete_cell

    return np.asarray(cell if cell.any(axis=1).all() else complete_cell(cell), dtype=float)


def _sum(first: Shift, second: Shift) -> Shift:
    return (first[0] + second[0], first[1] + second[1], first[2] + second[2])


def _cliques(
    clique: set[Member],
    candidates: set[Member],
    done: set[Member],
    around: Callable[[Member], set[Member]],
) -> Iterator[set[Member]]:
    """Yield the maximal cliques that contain one (C. Bron, J. Kerbosch, CACM 16, 575 (1973))."""
    if not candidates and not done:
        yield clique
        return
    candidates, done = set(candidates), set(done)
    pivot = max(candidates | done, key=lambda member: len(candidates & around(member)))
    for member in sorted(candidates - around(pivot)):
        near = around(member)
        yield from _cliques(clique | {member}, candidates & near, done & near, around)
        candidates.remove(member)
        done.add(member)
