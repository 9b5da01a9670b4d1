"""Arrangements in which at most one site of every exclusive pair is filled.

Drawn by simulated annealing (S. Kirkpatrick et al., Science 220, 671 (1983)) of the number of pairs
with both sites filled, from a random arrangement, by exchanges of the occupants of two sites of one
group. Composition stays exact. Where atoms have room, all arrangements that obey come out about
alike often; close to the densest filling they are what the annealing finds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alchemlip.errors import InputError
from alchemlip.groups import Group, IntArray
from alchemlip.mixture import Mixture
from alchemlip.species import VACANCY_NUMBER

SWEEPS = 60
"""Exchanges tried per site while the temperature falls, and again with the sites of pairs left."""
START, END = 1.0, 0.08
"""Temperatures of the annealing, in units of one pair."""
TRIES = 20
"""Annealings before giving up."""


def obeying(
    mixture: Mixture,
    groups: Sequence[Group],
    drawn: Sequence[IntArray],
    rng: np.random.Generator,
) -> list[IntArray]:
    """Return an arrangement that fills at most one site of every exclusive pair.

    Args:
        mixture: the supercell, with its exclusive pairs.
        groups: disordered ones of it.
        drawn: for each, the component (M,) on each of its sites, at random.
        rng: draws the exchanges.

    Raises:
        InputError: if none is found.
    """
    for _ in range(TRIES):
        arrangement = _Arrangement(mixture, groups, drawn)
        if arrangement.anneal(rng):
            return [np.array(held) for held in arrangement.held]
        drawn = [rng.permutation(components) for components in drawn]
    raise InputError(
        f"no arrangement was found in {TRIES} annealings that fills at most one site of every "
        "exclusive pair: take a larger supercell, or a composition with fewer atoms"
    )


class _Arrangement:
    """What sits where, in plain lists: an annealing makes many small changes."""

    def __init__(
        self, mixture: Mixture, groups: Sequence[Group], drawn: Sequence[IntArray]
    ) -> None:
        self.sites: list[list[int]] = [group.sites.tolist() for group in groups]
        self.held: list[list[int]] = [components.tolist() for components in drawn]
        self._atoms = [(group.species != VACANCY_NUMBER).tolist() for group in groups]
        self._filled = np.ones(mixture.n_sites, dtype=int).tolist()
        self._partners: list[list[int]] = [[] for _ in range(mixture.n_sites)]
        for i, j in mixture.exclusive.directed[:, :2].tolist():
            self._partners[i].append(j)
        for g, sites in enumerate(self.sites):
            for row, site in enumerate(sites):
                self._fill(g, row, site)

    def anneal(self, rng: np.random.Generator) -> bool:
        """Exchange until no pair has both sites filled; return whether that was reached."""
        sizes = np.array([len(sites) for sites in self.sites])
        steps = SWEEPS * int(sizes.sum())
        which = rng.choice(len(sizes), size=steps, p=sizes / sizes.sum())
        rows = (rng.random((steps, 2)) * sizes[which, None]).astype(int)
        temperatures = START * (END / START) ** np.linspace(0.0, 1.0, steps)
        limits = -temperatures * np.log(rng.random(steps))
        for g, (a, b), limit in zip(which.tolist(), rows.tolist(), limits.tolist(), strict=True):
            self._exchange(g, a, b, limit)
        # The last pairs are rare: exchange with their own sites, instead of waiting for chance.
        place = {
            site: (g, row) for g, sites in enumerate(self.sites) for row, site in enumerate(sites)
        }
        doubtful = list(place)
        last = (-END * np.log(rng.random(steps))).tolist()
        for (x, y), limit in zip(rng.random((steps, 2)).tolist(), last, strict=True):
            while doubtful:
                index = int(x * len(doubtful))
                if self._pairs_at(doubtful[index]):
                    break
                doubtful[index] = doubtful[-1]
                doubtful.pop()
            if not doubtful:
                break
            site = doubtful[index]
            g, a = place[site]
            b = int(y * sizes[g])
            if self._exchange(g, a, b, limit):
                other = self.sites[g][b]
                near = [other, *self._partners[other], *self._partners[site]]
                doubtful += [member for member in near if member in place]
        return not any(map(self._pairs_at, range(len(self._filled))))

    def _fill(self, g: int, row: int, site: int) -> None:
        self._filled[site] = int(self._atoms[g][row][self.held[g][row]])

    def _pairs_at(self, site: int) -> int:
        if not self._filled[site]:
            return 0
        return sum(self._filled[other] for other in self._partners[site])

    def _exchange(self, g: int, a: int, b: int, limit: float) -> bool:
        """Exchange two occupants if that makes no more than ``limit`` pairs; return whether."""
        held = self.held[g]
        if held[a] == held[b]:
            return False
        i, j = self.sites[g][a], self.sites[g][b]
        change = -self._pairs_at(i) - self._pairs_at(j)
        held[a], held[b] = held[b], held[a]
        self._fill(g, a, i)
        self._fill(g, b, j)
        change += self._pairs_at(i) + self._pairs_at(j)
        if change <= limit:
            return True
        held[a], held[b] = held[b], held[a]
        self._fill(g, a, i)
        self._fill(g, b, j)
        return False
