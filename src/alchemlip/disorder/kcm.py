"""Short-range order above the transition: Krivoglaz, Clapp and Moss.

alpha(k) = g / (1 + c(1-c) V(k) / k_B T), with g such that the mean over the Brillouin zone is 1
(Krivoglaz 1957; Clapp and Moss, Phys. Rev. 142, 418 (1966)). For several species or sublattices
the same with matrices: A(k) = N (1 + S(k) / k_B T)^-1 N, S of `alchemlip.disorder.ordering`, and N
such that every sublattice's own block of A has the mean 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.disorder.lattice import TIE
from alchemlip.disorder.ordering import (
    check_mixed,
    covariance_root,
    critical_temperature,
    stability,
    stability_branches,
)
from alchemlip.disorder.pair_interactions import PairInteractions
from alchemlip.errors import InputError


@dataclass(frozen=True)
class ShellOrder:
    """Warren-Cowley parameter of one shell.

    Attributes:
        distance: in Angstrom.
        multiplicity: neighbours of a site at that distance, averaged over sublattices.
        alpha: 1 - P(b | a) / p_b, averaged over the shell: negative where a and b attract.
    """

    distance: float
    multiplicity: float
    alpha: float


def short_range_order(
    interactions: PairInteractions,
    temperature: float,
    *,
    max_distance: float = np.inf,
    mesh: int = 16,
) -> dict[tuple[str, str], list[ShellOrder]]:
    """Return the Warren-Cowley parameters of every pair of species by shell.

    Args:
        interactions: of a supercell, with the composition.
        temperature: in K, above the mean-field transition.
        max_distance: of the shells, in Angstrom.
        mesh: points along each reciprocal vector for the average over the zone.

    Raises:
        InputError: if the temperature is not above the transition.
    """
    species, p = interactions.species, interactions.composition
    correlations, lengths = pair_correlations(interactions, temperature, mesh)
    order = np.argsort(lengths, kind="stable")
    shells = np.split(order, np.flatnonzero(np.diff(lengths[order]) > TIE) + 1)
    result: dict[tuple[str, str], list[ShellOrder]] = {}
    for a in range(len(species)):
        for b in range(a + 1, len(species)):
            if p[a] <= 0 or p[b] <= 0:
                continue
            alpha = -0.5 * (correlations[:, a, b] + correlations[:, b, a]) / (p[a] * p[b])
            result[species[a], species[b]] = [
                ShellOrder(
                    distance=float(lengths[shell].mean()),
                    multiplicity=len(shell) / interactions.lattice.n_sublattices,
                    alpha=float(alpha[shell].mean()),
                )
                for shell in shells
                if lengths[shell].mean() <= max_distance
            ]
    return result


def pair_correlations(
    interactions: PairInteractions, temperature: float, mesh: int = 16
) -> tuple[FloatArray, FloatArray]:
    """Return <dp_ia dp_jb> (E, K, K) of every pair of the interactions, and its length (E,) in A.

    Args:
        interactions: of a supercell, with the composition.
        temperature: in K.
        mesh: points along each reciprocal vector for the average over the zone.
    """
    waves = zone_mesh(mesh)
    lattice = interactions.lattice
    n, m = lattice.n_sublattices, len(interactions.species)
    matrix = correlation_matrix(interactions, temperature, waves)
    root = np.kron(np.eye(n), covariance_root(interactions.composition))
    blocks = (root @ matrix @ root).reshape(len(waves), n, m, n, m)
    # <u_i u_j> carries exp(i k . (r_i - r_j)): the opposite of the phase in V(k).
    phases = np.exp(-1j * lattice.cartesian(waves) @ interactions.vectors.T) / len(waves)
    result = np.zeros((len(interactions.vectors), m, m))
    for s in range(n):
        for t in range(n):
            pairs = (interactions.origin == s) & (interactions.target == t)
            result[pairs] = np.einsum("qe,qab->eab", phases[:, pairs], blocks[:, s, :, t]).real
    return result, np.linalg.norm(interactions.vectors, axis=1)


def correlation_matrix(
    interactions: PairInteractions, temperature: float, waves: FloatArray
) -> FloatArray:
    """Return A(k) (Q, B K, B K), whose mean over the given waves is 1 on every sublattice.

    For two species on one sublattice its one non-trivial eigenvalue is alpha(k).

    Args:
        interactions: of a supercell, with the composition.
        temperature: in K.
        waves: (Q, 3) fractional, filling the zone evenly (`zone_mesh`).

    Raises:
        InputError: if the temperature is not above the transition by any of these waves or of those
            that the supercell holds.
    """
    check_mixed(interactions)
    if not temperature > 0:
        raise InputError(f"the temperature is {temperature:g} K: give one above 0")
    # The mesh need not hold the waves of the supercell, by one of which the crystal orders.
    looked_at = np.concatenate([waves, interactions.lattice.commensurate_waves()])
    critical = critical_temperature(float(stability_branches(interactions, looked_at).min()))
    if temperature <= critical:
        raise InputError(
            f"short-range order exists above the mean-field transition at {critical:.0f} K, and "
            f"{temperature:g} K is below it: give a higher temperature"
        )
    size = interactions.lattice.n_sublattices * len(interactions.species)
    matrix = np.linalg.inv(np.eye(size) + stability(interactions, waves) / (kB * temperature))
    scale = np.zeros((size, size))
    m = len(interactions.species)
    for s in range(interactions.lattice.n_sublattices):
        own = slice(s * m, (s + 1) * m)
        values, vectors = np.linalg.eigh(matrix[:, own, own].mean(axis=0).real)
        scale[own, own] = (vectors / np.sqrt(values)) @ vectors.T
    return np.asarray(scale @ matrix @ scale)


def binary_alpha(
    interactions: PairInteractions, temperature: float, k: FloatArray, mesh: int = 16
) -> FloatArray:
    """Return alpha(k) (Q,) of two species on one sublattice, what diffuse scattering shows.

    Args:
        interactions: of a supercell, with the composition.
        temperature: in K.
        k: (Q, 3) fractional wave vectors.
        mesh: points along each reciprocal vector for the average over the zone.

    Raises:
        InputError: if there are more species or sublattices, or the temperature is not above the
            transition by any wave.
    """
    if interactions.lattice.n_sublattices != 1 or len(interactions.species) != 2:
        raise InputError(
            "alpha(k) is one number for two species on one sublattice only: use "
            "short_range_order() for the shells"
        )
    correlation_matrix(interactions, temperature, zone_mesh(mesh))  # checks
    scaled = stability_branches(interactions, zone_mesh(mesh))[:, 0] / (kB * temperature)
    g = 1.0 / (1.0 / (1.0 + scaled)).mean()
    here = stability_branches(interactions, np.atleast_2d(k))[:, 0] / (kB * temperature)
    if (here <= -1.0).any():
        wave = np.atleast_2d(k)[int(here.argmin())]
        raise InputError(
            f"the interpolated V(k) orders by the wave ({', '.join(f'{x:g}' for x in wave)}) below "
            f"{-float(here.min()) * temperature:.0f} K, and {temperature:g} K is not above: give a "
            "higher temperature"
        )
    return np.asarray(g / (1.0 + here))


def zone_mesh(mesh: int) -> FloatArray:
    """Return fractional waves (mesh^3, 3) that fill the Brillouin zone evenly, k = 0 included."""
    if mesh < 1:
        raise InputError(f"a mesh of {mesh} points is empty: give at least 1")
    steps = np.arange(mesh) / mesh
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
