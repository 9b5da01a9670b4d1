"""Which sites of a structure exclude one another: found by distance, or named.

pairs = exclusive_pairs(mixture)                 # too close for two atoms
print("\\n".join(describe_pairs(mixture, pairs)))
mixture = mixture.with_exclusive(pairs)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from alchemlip.errors import InputError
from alchemlip.mixture.exclusive import ExclusivePairs, Shift, full_cell
from alchemlip.mixture.near_pairs import pairs_within
from alchemlip.mixture.species import VACANCY, VACANCY_NUMBER, element_numbers

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture

TOO_CLOSE = 0.7
"""Of the sum of two covalent radii (as in `alchemlip.crystal.plausibility`): below every bond but a
few triple ones between metals, and above the distances of nearly all split sites."""
EQUALLY_NEAR = 0.01
"""Images whose distances differ by less (Angstrom) are equally near."""


class ExclusivePair(NamedTuple):
    """Two sites of which at most one is filled.

    Attributes:
        first, second: site indices.
        shift: cell of the second one, relative to the first one's.
        distance_A: between them, as it was found.
    """

    first: int
    second: int
    shift: Shift
    distance_A: float


PairLike: TypeAlias = ExclusivePair | tuple[int, int] | tuple[int, int, Sequence[int]]
"""``(i, j)`` for the nearest image of j (all that are equally near), or ``(i, j, cell shift)``."""


def exclusive_pairs(
    mixture: Mixture,
    factor: float = TOO_CLOSE,
    *,
    within_A: float | None = None,
    between: Callable[[int, int], bool] | None = None,
) -> list[ExclusivePair]:
    """Return the pairs of sites that can be empty and are too close for two atoms.

    Args:
        mixture: the structure.
        factor: of the sum of the covalent radii of the smallest species of the two sites (B.
            Cordero et al., Dalton Trans. 2008, 2832), below which they are too close.
        within_A: a distance in Angstrom instead, for example within a molecule that is disordered.
        between: whether two sites are to be looked at, for example members of different disorder
            groups; all if None.
    """
    from ase.data import covalent_radii

    smallest = np.zeros(mixture.n_sites)
    for group in mixture.groups:
        radii = np.where(
            group.species == VACANCY_NUMBER, np.inf, covalent_radii[element_numbers(group.species)]
        )
        can_be_empty = (group.species == VACANCY_NUMBER).any(axis=1)
        can_be_filled = np.isfinite(radii).any(axis=1)
        smallest[group.sites] = np.where(can_be_empty & can_be_filled, radii.min(axis=1), 0.0)
    sites = np.flatnonzero(smallest)
    if not len(sites):
        return []
    reach = 2.0 * factor * float(smallest.max()) if within_A is None else within_A
    i, j, shift = pairs_within(mixture.positions[sites], mixture.cell, mixture.pbc, reach)
    i, j = sites[i], sites[j]
    vectors = mixture.positions[j] + shift @ mixture.cell - mixture.positions[i]
    distances = np.linalg.norm(vectors, axis=1)
    close = distances < (factor * (smallest[i] + smallest[j]) if within_A is None else within_A)
    found = []
    for first, second, cell, distance in zip(
        i[close].tolist(),
        j[close].tolist(),
        shift[close].astype(int).tolist(),
        distances[close].tolist(),
        strict=True,
    ):
        step = (cell[0], cell[1], cell[2])
        once = (first, second, step) <= (second, first, _negative(step))
        if once and (between is None or between(first, second)):
            found.append(ExclusivePair(first, second, step, distance))
    return sorted(found)


def pairs_of(mixture: Mixture, pairs: Sequence[PairLike]) -> ExclusivePairs:
    """Return the pairs that ``Mixture.with_exclusive`` was given.

    Raises:
        InputError: if one cannot be read, or a site does not exist.
    """
    rows: list[list[int]] = []
    for pair in pairs:
        try:
            i, j = int(pair[0]), int(pair[1])
            cells = None if len(pair) == 2 else [[int(n) for n in pair[2]]]
            if cells is not None and len(cells[0]) != 3:
                raise ValueError
        except (TypeError, ValueError, IndexError) as error:
            raise InputError(
                f"{pair!r} is no exclusive pair: write (site, site), or (site, site, cell shift) "
                "such as (0, 1, (0, 0, -1))"
            ) from error
        if not (0 <= i < mixture.n_sites and 0 <= j < mixture.n_sites):
            raise InputError(
                f"an exclusive pair names the sites {i} and {j}, but the structure has sites 0 to "
                f"{mixture.n_sites - 1}: correct the index"
            )
        rows += [[i, j, *cell] for cell in (_nearest(mixture, i, j) if cells is None else cells)]
    return ExclusivePairs(np.array(rows, dtype=np.int64))


def describe_pairs(mixture: Mixture, pairs: Sequence[ExclusivePair] | None = None) -> list[str]:
    """Return one line for each kind of exclusive pair: species, distance, how many, which sites.

    Args:
        mixture: the structure.
        pairs: of `exclusive_pairs`; the mixture's own if None.
    """
    if pairs is None:
        pairs = mixture_pairs(mixture)
    names = [
        "/".join(symbol for symbol in sorted(site) if symbol != VACANCY)
        for site in mixture.occupancies()
    ]
    kinds: Counter[tuple[str, str, float]] = Counter()
    example: dict[tuple[str, str, float], ExclusivePair] = {}
    for pair in pairs:
        first, second = sorted((names[pair.first], names[pair.second]))
        kind = (first, second, round(pair.distance_A, 2))
        kinds[kind] += 1
        example.setdefault(kind, pair)
    lines = []
    for kind in sorted(kinds, key=lambda kind: (kind[2], kind)):
        count, pair = kinds[kind], example[kind]
        which = f"sites {pair.first} and {pair.second}" + (", ..." if count > 1 else "")
        many = f"{count} pair" + ("s" if count > 1 else "")
        lines.append(f"{kind[0]} and {kind[1]} {kind[2]:.2f} Å apart: {many} ({which})")
    return lines


def mixture_pairs(mixture: Mixture) -> list[ExclusivePair]:
    """Return the exclusive pairs of a mixture, with their distances."""
    rows = mixture.exclusive.rows
    vectors = (
        mixture.positions[rows[:, 1]] + rows[:, 2:] @ mixture.cell - mixture.positions[rows[:, 0]]
    )
    return [
        ExclusivePair(i, j, (a, b, c), distance)
        for (i, j, a, b, c), distance in zip(
            rows.tolist(), np.linalg.norm(vectors, axis=1).tolist(), strict=True
        )
    ]


def _nearest(mixture: Mixture, i: int, j: int) -> list[list[int]]:
    """Return the cell shifts of the nearest image of site j, seen from site i."""
    cell = full_cell(mixture.cell)
    difference = mixture.positions[j] - mixture.positions[i]
    home = np.where(mixture.pbc, -np.rint(np.linalg.solve(cell.T, difference)), 0.0)
    # As many cells around as a skewed cell may need.
    heights = 1.0 / np.linalg.norm(np.linalg.inv(cell), axis=0)
    length = float(np.linalg.norm(difference + home @ mixture.cell))
    if i == j and mixture.pbc.any():
        length = float(np.linalg.norm(mixture.cell[mixture.pbc], axis=1).min())
    reach = np.where(mixture.pbc, np.ceil(length / heights), 0).astype(int)
    around = np.stack(
        np.meshgrid(*(np.arange(-n, n + 1) for n in reach), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    shifts = around + home.astype(int)
    distances = np.linalg.norm(difference + shifts @ mixture.cell, axis=1)
    if i == j:
        distances[~shifts.any(axis=1)] = np.inf
    if not np.isfinite(distances).any():
        return [[0, 0, 0]]
    nearest: list[list[int]] = shifts[distances <= distances.min() + EQUALLY_NEAR].tolist()
    return nearest


def _negative(shift: Shift) -> Shift:
    return (-shift[0], -shift[1], -shift[2])
