"""Gradient search for the arrangement of lowest energy at fixed composition.

Occupancies p_ia start near the disordered state and follow exponentiated gradient (mirror) descent
of E(p) - tau S(p), S their entropy, while tau is annealed (mean-field annealing: Bilbro et al.,
Adv. Neural Inf. Process. Syst. 1, 91 (1988); exponentiated gradient: Kivinen and Warmuth, Inf.
Comput. 132, 1 (1997)). After every step rows are scaled to 1 and columns to the composition
(Sinkhorn, Ann. Math. Stat. 35, 876 (1964)). At the end every site takes one species, and exchanges
that the gradient proposes are tried until none helps. Seeds run in one batch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.ordered_structures import decided
from alchemlip.disorder.patterns import discretise, site_counts
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.potential import AlchemicalPotential

FLOOR = 1e-12
"""Smallest occupancy, so that logarithms stay finite."""
COLDEST = 0.02
"""Last temperature of the annealing over the first."""
NOISE = 0.3
"""Noise on the fields, over the temperature."""
RATE = 0.3
"""Step of the descent times the temperature: 1 would jump to the mean-field fixed point."""
TRIALS = 8
"""Exchanges that are tried in one pass for each seed."""


@dataclass(frozen=True, eq=False)
class OrderingSearch:
    """What a search found.

    Attributes:
        mixture: the best arrangement, every site of the group decided.
        chosen: (M,) component on each site there.
        energy: of the supercell there, in eV.
        seed_energies: (n,) of the best arrangement of each seed, in eV.
        seed_arrangements: (n, M).
        evaluations: of single structures.
    """

    mixture: Mixture
    chosen: IntArray
    energy: float
    seed_energies: FloatArray
    seed_arrangements: IntArray
    evaluations: int


def search_ordering(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str,
    rng: np.random.Generator,
    *,
    seeds: int = 8,
    steps: int = 60,
    rounds: int = 20,
) -> OrderingSearch:
    """Search the arrangement of lowest energy of a group at its composition.

    Args:
        mixture: the disordered supercell.
        potential: a loaded potential.
        group: name of the group.
        rng: source of the starts.
        seeds: starts, followed in one batch.
        steps: of the annealing.
        rounds: of exchanges at most, at the end.

    Raises:
        InputError: if the supercell cannot hold the composition.
    """
    if seeds < 1 or steps < 1:
        raise InputError(f"{seeds} seeds and {steps} steps find nothing: give at least 1 of each")
    old = mixture.group(group)
    counts = site_counts(old.composition, len(old.sites), group)
    fields = _Fields(mixture, potential, group)
    logits = _anneal(fields, counts, rng, seeds, steps)
    arrangements = np.array([discretise(item, counts)[0] for item in logits])
    arrangements, energies = _exchange(fields, arrangements, rounds)
    best = int(energies.argmin())
    return OrderingSearch(
        mixture=decided(mixture, group, arrangements[best]),
        chosen=arrangements[best],
        energy=float(energies[best]),
        seed_energies=energies,
        seed_arrangements=arrangements,
        evaluations=fields.evaluations,
    )


def project(logarithms: FloatArray, counts: IntArray, tolerance: float = 1e-12) -> FloatArray:
    """Return the occupancies (..., M, K) of given row and column sums nearest to exp(logarithms).

    Rows sum to 1, columns to the counts.

    Args:
        logarithms: (..., M, K); nearest is meant in relative entropy.
        counts: (K,) sites of each species, sum M.
        tolerance: of the column sums, relative to M.
    """
    # What a whole row or column has in common scales away; exponentials of it would overflow.
    used = np.where(counts > 0, logarithms, np.nan)
    centred = used - used.mean(axis=-2, keepdims=True)
    centred -= np.nanmax(centred, axis=-1, keepdims=True)
    p = np.exp(np.where(counts > 0, centred, -np.inf))
    for _ in range(2000):
        p = np.maximum(p, FLOOR * (counts > 0))
        columns = p.sum(axis=-2, keepdims=True)
        p = p * np.divide(counts, columns, out=np.zeros_like(columns), where=columns > 0)
        rows = p.sum(axis=-1, keepdims=True)
        p = p / rows
        if np.abs(p.sum(axis=-2) - counts).max() < tolerance * p.shape[-2]:
            break
    return np.asarray(p)


class _Fields:
    """Energies and site gradients of batches of occupancies, counted."""

    def __init__(self, mixture: Mixture, potential: AlchemicalPotential, group: str) -> None:
        self.potential = potential
        self.k = len(mixture.group(group).components)
        self.split = mixture.split_group(group)
        self.mine = [item.name.startswith(f"{group}@") for item in self.split.groups]
        self.evaluations = 0

    def __call__(self, occupancies: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return energies (n,) and gradients (n, M, K) in eV of occupancies (n, M, K)."""
        mixtures = [self._mixture(p) for p in occupancies]
        self.evaluations += len(mixtures)
        results = self.potential.evaluate(mixtures, forces=False, stress=False)
        own = np.concatenate(
            [
                np.full(len(group.components), mine)
                for group, mine in zip(self.split.groups, self.mine, strict=True)
            ]
        )
        gradients = []
        for result in results:
            assert result.composition_gradient is not None
            gradients.append(result.composition_gradient[own].reshape(-1, self.k))
        return np.array([result.energy for result in results]), np.array(gradients)

    def _mixture(self, p: FloatArray) -> Mixture:
        rows = iter(p / p.sum(axis=1, keepdims=True))
        groups = tuple(
            replace(group, composition=next(rows)) if mine else group
            for group, mine in zip(self.split.groups, self.mine, strict=True)
        )
        return replace(self.split, groups=groups)


def _anneal(
    fields: _Fields, counts: IntArray, rng: np.random.Generator, seeds: int, steps: int
) -> FloatArray:
    """Return ln p (n, M, K) at the end of the annealing."""
    m, k = int(counts.sum()), len(counts)
    starts = np.stack([rng.permutation(np.repeat(np.arange(k), counts)) for _ in range(seeds)])
    _, gradients = fields(np.eye(k)[starts])
    # The spread of the fields among random arrangements is the scale of temperature.
    used = gradients[:, :, counts > 0]
    centred = used - used.mean(axis=(0, 1))
    hot = max(float(np.ptp(centred, axis=2).mean()), 1e-6)
    p = project(rng.normal(scale=0.1, size=(seeds, m, k)) + np.log(counts / m + FLOOR), counts)
    for step in range(steps):
        tau = hot * COLDEST ** (step / max(1, steps - 1))
        _, gradients = fields(p)
        logarithms = np.log(np.maximum(p, FLOOR))
        # Noise of the size of the temperature keeps seeds apart until they have chosen.
        noise = NOISE * tau * rng.normal(size=p.shape)
        pull = (gradients + noise) / tau + logarithms
        p = project(logarithms - RATE * pull, counts)
    return np.log(np.maximum(p, FLOOR))


def _exchange(fields: _Fields, arrangements: IntArray, rounds: int) -> tuple[IntArray, FloatArray]:
    """Exchange pairs of sites while that lowers the energy; return arrangements and energies."""
    best = arrangements.copy()
    identity = np.eye(fields.k)
    energies, gradients = fields(identity[best])
    active = list(range(len(best)))
    for _ in range(rounds):
        trials: list[IntArray] = []
        owners: list[int] = []
        for seed in active:
            for i, j in _proposals(gradients[seed], best[seed]):
                trial = best[seed].copy()
                trial[[i, j]] = trial[[j, i]]
                trials.append(trial)
                owners.append(seed)
        if not trials:
            break
        tried, fields_there = fields(identity[np.array(trials)])
        going = []
        for seed in active:
            mine = [index for index, owner in enumerate(owners) if owner == seed]
            if not mine:
                continue
            lowest = min(mine, key=lambda index: tried[index])
            if tried[lowest] < energies[seed] - 1e-9:
                best[seed], energies[seed] = trials[lowest], tried[lowest]
                gradients[seed] = fields_there[lowest]
                going.append(seed)
        active = going
    return best, energies


def _proposals(gradient: FloatArray, chosen: IntArray) -> list[tuple[int, int]]:
    """Return the exchanges of two sites that lower the energy most, to first order."""
    given = gradient[:, chosen]
    own = np.diag(given)
    change = given + given.T - own[:, None] - own[None, :]
    i, j = np.nonzero(np.triu(chosen[:, None] != chosen[None, :]))
    order = np.argsort(change[i, j], kind="stable")[:TRIALS]
    return [(int(i[index]), int(j[index])) for index in order]
