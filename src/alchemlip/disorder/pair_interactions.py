"""Effective pair interactions from the occupancy Hessian, by shell and as a lattice Fourier series.

    interactions = pair_interactions(hessian)
    interactions.shells("Cu", "Au")                  # J by shell
    interactions.fourier(k)                          # V(k), (Q, B K, B K)

A supercell knows each J_ij summed over the images of j. V(k) is therefore exact at the wave
vectors that repeat with the supercell; between them it is interpolated by giving each J_ij to the
shortest images of j, in equal parts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.lattice import TIE, MixedLattice, mixed_lattice
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture


class Hessian(Protocol):
    """What is needed of `alchemlip.disorder.hessian.OccupancyHessian`."""

    @property
    def energy(self) -> float:
        """Mean-field energy in eV."""

    @property
    def gradient(self) -> FloatArray:
        """The first derivatives dE/dp_ia in eV, (M, K)."""

    @property
    def mixture(self) -> Mixture:
        """The supercell."""

    @property
    def group(self) -> str:
        """Name of the mixed group."""

    @property
    def species(self) -> tuple[str, ...]:
        """(K,) components of the group."""

    @property
    def composition(self) -> FloatArray:
        """(K,) weights."""

    def full(self) -> FloatArray:
        """Return d2E/dp_ia dp_jb in eV, (M, K, M, K)."""


@dataclass(frozen=True)
class Shell:
    """The interaction of two sites at one distance.

    Attributes:
        distance: in Angstrom.
        multiplicity: neighbours of a site at that distance, averaged over sublattices.
        interaction: J = d2E/dq_i dq_j in eV, averaged over the shell.
        spread: largest minus smallest J within the shell, in eV: 0 where symmetry makes them one.
        folded: whether the supercell is too small to tell this shell's images apart, so that J
            is shared between them.
    """

    distance: float
    multiplicity: float
    interaction: float
    spread: float
    folded: bool


@dataclass(frozen=True, eq=False)
class PairInteractions:
    """Second derivatives of the energy between different sites of a lattice.

    Attributes:
        lattice: of the mixed sites.
        species: (K,) symbols.
        composition: (K,) weights.
        origin, target: (E,) sublattices of the two sites.
        vectors: (E, 3) from the first to the second, in Angstrom.
        weights: (E,) share of each image among equally near ones.
        couplings: (E, K, K) d2E/dp_ia dp_jb in eV, before that share is taken.
        fields: (B, K) energy of one site's own occupant against the mean, in eV: the first
            derivative and half the site's own second one.
    """

    lattice: MixedLattice
    species: tuple[str, ...]
    composition: FloatArray
    origin: IntArray
    target: IntArray
    vectors: FloatArray
    weights: FloatArray
    couplings: FloatArray
    fields: FloatArray

    def exchange(self, a: str, b: str) -> FloatArray:
        """Return J (E,) = H_aa + H_bb - H_ab - H_ba of every pair in eV.

        It is d2E/dq_i dq_j with q the occupancy of b and 1 - q that of a; negative where unlike
        neighbours raise the energy.
        """
        i, j = _species_index(self.species, a), _species_index(self.species, b)
        h = self.couplings
        return np.asarray(h[:, i, i] + h[:, j, j] - h[:, i, j] - h[:, j, i])

    def shells(
        self, a: str | None = None, b: str | None = None, max_distance: float = np.inf
    ) -> list[Shell]:
        """Return J of two species by shell of distance, nearest first.

        Args:
            a, b: the species; the first two of the group if left out.
            max_distance: in Angstrom.
        """
        a, b = a or self.species[0], b or self.species[1]
        values = self.exchange(a, b)
        lengths = np.linalg.norm(self.vectors, axis=1)
        order = np.argsort(lengths, kind="stable")
        breaks = np.flatnonzero(np.diff(lengths[order]) > TIE) + 1
        shells = []
        for part in np.split(order, breaks):
            distance = float(lengths[part].mean())
            if distance > max_distance:
                break
            shares = self.weights[part]
            shells.append(
                Shell(
                    distance=distance,
                    multiplicity=len(part) / self.lattice.n_sublattices,
                    # J of one image: a folded value is shared by the images.
                    interaction=float((shares * values[part]).mean()),
                    spread=float(np.ptp(shares * values[part])),
                    folded=bool((shares < 0.999).any()),
                )
            )
        return shells

    def fourier(self, k: FloatArray) -> FloatArray:
        """Return V(k) = sum_(j != i) H_ij exp(i k . (r_j - r_i)), (Q, B K, B K), complex, in eV.

        Args:
            k: (Q, 3) fractional wave vectors. Rows and columns of V run over sublattices and,
                within them, species. V is Hermitian, real for one sublattice with inversion; its
                eigenvector e stands for the wave e_s exp(i k . r) on sublattice s.
        """
        waves = self.lattice.cartesian(np.atleast_2d(np.asarray(k, dtype=float)))
        phases = np.exp(1j * waves @ self.vectors.T) * self.weights
        n, m = self.lattice.n_sublattices, len(self.species)
        result = np.zeros((len(waves), n, n, m, m), dtype=complex)
        for s in range(n):
            for t in range(n):
                pairs = (self.origin == s) & (self.target == t)
                result[:, s, t] = np.einsum("qe,eab->qab", phases[:, pairs], self.couplings[pairs])
        matrix = result.transpose(0, 1, 3, 2, 4).reshape(len(waves), n * m, n * m)
        return np.asarray(0.5 * (matrix + matrix.conj().transpose(0, 2, 1)))

    def exchange_fourier(self, k: FloatArray, a: str, b: str) -> FloatArray:
        """Return V(k) (Q, B, B) of the exchange of two species in eV, complex.

        Args:
            k: (Q, 3) fractional wave vectors.
            a, b: the species that are exchanged.
        """
        matrix = self.fourier(k)
        n, m = self.lattice.n_sublattices, len(self.species)
        blocks = matrix.reshape(len(matrix), n, m, n, m)
        i, j = _species_index(self.species, a), _species_index(self.species, b)
        change = np.zeros(m)
        change[i], change[j] = -1.0, 1.0
        return np.asarray(np.einsum("a,qsatb,b->qst", change, blocks, change))

    def with_composition(self, composition: FloatArray) -> PairInteractions:
        """Return the same interactions at another composition (K,)."""
        return replace(self, composition=np.asarray(composition, dtype=float))


def pair_interactions(
    hessian: Hessian, correction: FloatArray | None = None, symprec: float = 1e-3
) -> PairInteractions:
    """Return the pair interactions that an occupancy Hessian holds.

    Args:
        hessian: of a supercell in which the images of a site are out of reach of one another.
        correction: (M, K, M, K) in eV, added to the Hessian: that of
            `alchemlip.disorder.size_effect`.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the group has one species or one site.
    """
    sites = hessian.mixture.group(hessian.group).sites
    if len(hessian.species) < 2:
        raise InputError(
            f"group {hessian.group!r} has one species, so nothing orders: mix at least two"
        )
    if len(sites) < 2:
        raise InputError(
            f"group {hessian.group!r} has one site, which only sees its own images: repeat the cell"
        )
    lattice = mixed_lattice(hessian.mixture, hessian.group, symprec)
    full = hessian.full()
    if correction is not None:
        full = full + correction
    parts: list[tuple[IntArray, IntArray, FloatArray, FloatArray, FloatArray]] = []
    fields = []
    change = np.eye(len(hessian.species)) - np.asarray(hessian.composition)
    for sublattice in range(lattice.n_sublattices):
        site = int(np.flatnonzero(lattice.sublattice == sublattice)[0])
        target, vectors, weights = lattice.shortest_images(site)
        own = np.einsum("xa,ab,xb->x", change, full[site, :, site, :], change)
        fields.append(change @ hessian.gradient[site] + 0.5 * own)
        parts.append(
            (
                np.full(len(target), sublattice),
                lattice.sublattice[target],
                vectors,
                weights,
                full[site].transpose(1, 0, 2)[target],
            )
        )
    origin, target, vectors, weights, couplings = (
        np.concatenate([part[column] for part in parts]) for column in range(5)
    )
    return PairInteractions(
        lattice=lattice,
        species=tuple(hessian.species),
        composition=np.asarray(hessian.composition, dtype=float),
        origin=origin,
        target=target,
        vectors=vectors,
        weights=weights,
        couplings=couplings,
        fields=np.array(fields),
    )


def _species_index(species: tuple[str, ...], symbol: str) -> int:
    if symbol not in species:
        raise InputError(
            f"the mixed sites do not hold {symbol!r}: choose among {', '.join(species)}"
        )
    return species.index(symbol)
