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

SWEEPS = 120
"""Exchanges tried per site in one annealing."""
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
    fillable = np.ones(mixture.n_sites, dtype=bool)
    for group in mixture.groups:
        fillable[group.sites] = ((group.species != VACANCY_NUMBER) & (group.composition > 0)).any(
            axis=1
        )
    partners: list[list[int]] = [[] for _ in range(mixture.n_sites)]
    for i, j in mixture.exclusive.directed[:, :2].tolist():
        if fillable[i] and fillable[j]:
            partners[i].append(j)
    for _ in range(TRIES):
        found = _annealed(mixture.n_sites, groups, drawn, partners, rng)
        if found is not None:
            return found
        drawn = [rng.permutation(components) for components in drawn]
    raise InputError(
        f"no arrangement was found in {TRIES} annealings that fills at most one site of every "
        "exclusive pair: take a larger supercell, or a composition with fewer atoms"
    )


def _annealed(
    n_sites: int,
    groups: Sequence[Group],
    drawn: Sequence[IntArray],
    partners: Sequence[Sequence[int]],
    rng: np.random.Generator,
) -> list[IntArray] | None:
    """Return an arrangement without a pair of filled sites; None if the annealing left one."""
    filled = [1] * n_sites
    state = [components.tolist() for components in drawn]
    atoms = [(group.species != VACANCY_NUMBER).tolist() for group in groups]
    for group, components, real in zip(groups, state, atoms, strict=True):
        for row, site in enumerate(group.sites.tolist()):
            filled[site] = int(real[row][components[row]])

    def pairs_at(site: int) -> int:
        # Of a site that excludes its own image every filled copy counts.
        return sum(filled[other] for other in partners[site]) if filled[site] else 0

    sites = [group.sites.tolist() for group in groups]
    sizes = np.array([len(group.sites) for group in groups])
    steps = SWEEPS * int(sizes.sum())
    which = rng.choice(len(groups), size=steps, p=sizes / sizes.sum())
    one, other = (rng.random((2, steps)) * sizes[which]).astype(int)
    temperatures = START * (END / START) ** np.linspace(0.0, 1.0, steps)
    limits = -temperatures * np.log(rng.random(steps))
    for g, a, b, limit in zip(
        which.tolist(), one.tolist(), other.tolist(), limits.tolist(), strict=True
    ):
        held = state[g]
        if held[a] == held[b]:
            continue
        i, j = sites[g][a], sites[g][b]
        before = pairs_at(i) + pairs_at(j)
        old = filled[i], filled[j]
        held[a], held[b] = held[b], held[a]
        filled[i], filled[j] = int(atoms[g][a][held[a]]), int(atoms[g][b][held[b]])
        change = pairs_at(i) + pairs_at(j) - before
        if change > limit:
            held[a], held[b] = held[b], held[a]
            filled[i], filled[j] = old
    return None if any(map(pairs_at, range(n_sites))) else [np.array(held) for held in state]
