"""The nodes of a mixture: pairs of a site and what can sit there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import BoolArray, FloatArray, IntArray
from alchemlip.mixture.groups import Group
from alchemlip.mixture.species import VACANCY_NUMBER, element_numbers

PURE = -1
"""Group and component index of the node of a pure site."""


@dataclass(frozen=True, eq=False)
class Nodes:
    """The (site, species) pairs of a mixture, sorted by site; vacancies have none.

    Attributes:
        site: (N,) site of each node.
        number: (N,) atomic number of each node, also of an isotope.
        group: (N,) group of each node, ``PURE`` on pure sites.
        component: (N,) index into the flat composition, ``PURE`` on pure sites.
        concerted: (N,) whether the node belongs to a concerted group.
        n_components: length of the flat composition.
    """

    site: IntArray
    number: IntArray
    group: IntArray
    component: IntArray
    concerted: BoolArray
    n_components: int

    def __len__(self) -> int:
        return len(self.site)

    def occupancies(self, composition: npt.ArrayLike) -> FloatArray:
        """Return the occupancy (N,) of each node: linear in the flat composition (K,)."""
        extended = np.append(np.asarray(composition, dtype=float), 1.0)
        return np.asarray(extended[self.component])

    @cached_property
    def matrix(self) -> FloatArray:
        """d(occupancy)/d(composition), shape (N, K)."""
        matrix = np.zeros((len(self), self.n_components))
        mixed = np.flatnonzero(self.component != PURE)
        matrix[mixed, self.component[mixed]] = 1.0
        return matrix


def nodes_of(hosts: IntArray, groups: Sequence[Group]) -> Nodes:
    """Return the nodes of sites with atomic numbers (S,) and groups among them."""
    pure = np.ones(len(hosts), dtype=bool)
    parts: list[tuple[IntArray, IntArray, IntArray, IntArray, BoolArray]] = []
    start = 0
    for index, group in enumerate(groups):
        pure[group.sites] = False
        n, k = group.species.shape
        sites = np.repeat(group.sites, k)
        components = np.tile(np.arange(start, start + k), n)
        numbers = group.species.reshape(-1)
        real = numbers != VACANCY_NUMBER
        parts.append(
            (
                sites[real],
                element_numbers(numbers[real]),
                np.full(int(real.sum()), index),
                components[real],
                np.full(int(real.sum()), group.correlation == "concerted"),
            )
        )
        start += k
    rest = np.flatnonzero(pure)
    label = np.full(len(rest), PURE)
    numbers = element_numbers(hosts[rest])
    parts.append((rest, numbers, label, label, np.zeros(len(rest), dtype=bool)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    order = np.lexsort((columns[3], columns[0]))
    site, number, group_, component, concerted = (column[order] for column in columns)
    return Nodes(site, number, group_, component, concerted, start)


def site_kinds(hosts: IntArray, groups: Sequence[Group]) -> IntArray:
    """Return (S,) integers, equal on sites of one group with the same species, or of one element.

    Args:
        hosts: (S,) atomic numbers, which count where nothing is mixed.
        groups: of the mixture.
    """
    kinds: list[tuple[int, ...]] = [(-1, number) for number in hosts.tolist()]
    for index, group in enumerate(groups):
        for site, species in zip(group.sites.tolist(), group.species.tolist(), strict=True):
            kinds[site] = (index, *species)
    known: dict[tuple[int, ...], int] = {}
    return np.array([known.setdefault(kind, len(known) + 1) for kind in kinds])
