"""From concentration waves to arrangements of species on the sites of a supercell.

p(r) = c + eta sum Re[e exp(i k . r + i phi)] (Khachaturyan, Theory of Structural Transformations
in Solids, 1983), made discrete: the sites where the waves raise a species most get it, as many as
the composition says. Waves that leave a tie do not order the crystal by themselves and are dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, product

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.lattice import TIE, MixedLattice
from alchemlip.disorder.ordering import OrderingWave
from alchemlip.errors import InputError

PHASES = (0.0, 0.25 * np.pi, 0.5 * np.pi)
"""Of waves whose double is no reciprocal lattice vector; the others have a sign only."""
MAX_ARMS = 4
FEW_ARMS = 6
"""Stars of more real arms are combined in twos only: the number of combinations explodes."""


def site_counts(composition: FloatArray, n_sites: int, group: str) -> IntArray:
    """Return how many sites (K,) each species gets.

    Raises:
        InputError: if the supercell cannot hold the composition.
    """
    exact = np.asarray(composition) * n_sites
    counts = np.rint(exact).astype(np.int64)
    if np.abs(exact - counts).max() > 1e-6 * n_sites or counts.sum() != n_sites:
        wanted = ", ".join(f"{value:g}" for value in exact)
        raise InputError(
            f"the {n_sites} sites of group {group!r} cannot hold this composition ({wanted} sites "
            "of its species): repeat the cell until these are whole numbers, or change the "
            "composition"
        )
    return counts


def discretise(score: FloatArray, counts: IntArray) -> tuple[IntArray, bool]:
    """Return the species (M,) of each site that maximises the summed score.

    Args:
        score: (M, K) how much each site wants each species.
        counts: (K,) how many sites each species gets, sum M.

    Returns:
        The arrangement, and whether no exchange of two sites scores the same.
    """
    from scipy.optimize import linear_sum_assignment

    slots = np.repeat(np.arange(len(counts)), counts)
    rows, columns = linear_sum_assignment(-score[:, slots])
    chosen = np.empty(len(score), dtype=np.int64)
    chosen[rows] = slots[columns]
    given = score[:, chosen]  # score of site i with what site j holds
    own = np.diag(given)
    loss = own[:, None] + own[None, :] - given - given.T
    differ = chosen[:, None] != chosen[None, :]
    scale = max(1e-12, float(np.ptp(score)))
    return chosen, bool((loss[differ] > 1e-6 * scale).all())


def wave_patterns(
    lattice: MixedLattice, waves: Sequence[OrderingWave], counts: IntArray
) -> list[tuple[IntArray, tuple[int, ...]]]:
    """Return the arrangements that ordering waves generate, each once.

    Arms of one star are combined up to four at a time, and single arms of different stars in
    twos, with either sign and, where the wave allows it, several phases. Arrangements count as
    equal if they have the same pairs in every shell.

    Args:
        lattice: of the mixed sites of the supercell.
        waves: that repeat with the supercell.
        counts: (K,) how many sites each species gets.

    Returns:
        Arrangements (M,), each with the indices of the waves that made it.
    """
    fields = [_arms(lattice, wave) for wave in waves]
    shells = _shell_matrices(lattice)
    found: dict[tuple[int, ...], tuple[IntArray, tuple[int, ...]]] = {}
    for field, sources in _sums(fields):
        chosen, unique = discretise(field, counts)
        if not unique:
            continue
        found.setdefault(pair_counts(chosen, len(counts), shells), (chosen, sources))
    return list(found.values())


def pair_counts(chosen: IntArray, n_species: int, shells: FloatArray) -> tuple[int, ...]:
    """Return the number of pairs of every two species in every shell.

    Args:
        chosen: (M,) the arrangement.
        n_species: K.
        shells: (D, M, M) number of images of j in the shell about i.
    """
    holds = np.eye(n_species)[chosen]
    counts = np.einsum("ia,dij,jb->dab", holds, shells, holds, optimize=True)
    return tuple(np.rint(counts).astype(int).ravel().tolist())


def _sums(fields: list[list[list[FloatArray]]]) -> list[tuple[FloatArray, tuple[int, ...]]]:
    """Return sums of arms (M, K), each with the stars it is made of."""
    sums: list[tuple[FloatArray, tuple[int, ...]]] = []
    for index, arms in enumerate(fields):
        most = min(MAX_ARMS if len(arms) <= FEW_ARMS else 2, len(arms))
        for size in range(1, most + 1):
            # All phases for one or two arms, the first phase with both signs for more.
            for chosen in combinations(range(len(arms)), size):
                choices = [arms[arm] if size <= 2 else arms[arm][:2] for arm in chosen]
                sums += [(np.sum(parts, axis=0), (index,)) for parts in product(*choices)]
    for (i, first), (j, second) in combinations(enumerate(fields), 2):
        for one, other in product(first, second):
            sums += [(a + b, (i, j)) for a, b in product(one, other)]
    return sums


def _arms(lattice: MixedLattice, wave: OrderingWave) -> list[list[FloatArray]]:
    """Return for every real arm of a star the fields (M, K) of its signs and phases."""
    if not wave.commensurate:
        raise InputError(
            "the supercell does not hold the wave "
            f"({', '.join(f'{x:g}' for x in wave.k)}): repeat the cell so that it does"
        )
    arms: list[list[FloatArray]] = []
    done: list[FloatArray] = []
    for k, branches in zip(wave.star, wave.amplitudes, strict=True):
        if any(np.abs(k + other - np.rint(k + other)).max() < 1e-6 for other in done):
            continue  # exp(-i k . r) is the same real wave
        done.append(k)
        turns = np.exp(1j * lattice.positions @ lattice.cartesian(k))
        for branch in branches:
            field = branch[lattice.sublattice] * turns[:, None]
            largest = field.ravel()[int(np.abs(field).argmax())]
            field = field * (abs(largest) / largest)
            real = np.abs(field.imag).max() < 1e-6 * np.abs(field).max()
            field = field / np.abs(field).max()
            phases = PHASES[:1] if real else PHASES
            arms.append(
                [sign * (field * np.exp(1j * phi)).real for phi in phases for sign in (1.0, -1.0)]
            )
    return arms


def _shell_matrices(lattice: MixedLattice) -> FloatArray:
    """Return the number of images of j in the shell about i, (D, M, M), for the first shells."""
    m = len(lattice.positions)
    lengths, pairs = [], []
    for site in range(m):
        target, vectors, _ = lattice.shortest_images(site)
        lengths.append(np.linalg.norm(vectors, axis=1))
        pairs.append(np.stack([np.full(len(target), site), target]))
    length, (i, j) = np.concatenate(lengths), np.concatenate(pairs, axis=1)
    order = np.argsort(length, kind="stable")
    shell = np.empty(len(length), dtype=np.int64)
    shell[order] = np.concatenate([[0], np.cumsum(np.diff(length[order]) > TIE)])
    matrices = np.zeros((int(shell.max()) + 1, m, m))
    np.add.at(matrices, (shell, i, j), 1.0)
    return matrices
