"""Which concentration wave a disordered crystal orders by, and its mean-field temperature.

Fluctuations of the occupancies have the free energy 1/2 sum_k u(k)^+ (k_B T + S(k)) u(k) with
S = C^1/2 V(k) C^1/2, C_ab = p_a delta_ab - p_a p_b. The disordered state loses its stability at
k_B T_c = -(smallest eigenvalue of S over k); for two species on one sublattice
k_B T_c = -c(1-c) V(k) (de Fontaine, Solid State Phys. 34, 73 (1979);
Khachaturyan, Theory of Structural Transformations in Solids, 1983).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.disorder.fluctuations import occupancy_covariance
from alchemlip.disorder.lattice import MixedLattice, distinct_waves
from alchemlip.disorder.pair_interactions import PairInteractions
from alchemlip.errors import InputError

DEGENERATE = 1e-6
"""Eigenvalues in eV that differ by less belong to one wave."""
UNEQUAL = 1e-3
"""Difference in eV between sublattices up to which they count as equivalent."""


@dataclass(frozen=True, eq=False)
class OrderingWave:
    """A concentration wave that lowers the energy of the disordered crystal.

    Attributes:
        k: (3,) fractional, in terms of the reciprocal of the primitive cell.
        star: (n, 3) the waves that symmetry makes equal to it, itself included.
        label: name of the special point (ASE's), or empty.
        eigenvalue: of C^1/2 V(k) C^1/2 in eV; negative where the wave grows on cooling.
        critical_temperature: mean-field, in K; 0 if the eigenvalue is not negative.
        amplitudes: (n, g, B, K) for every member of the star and each of its g degenerate
            branches the change dp of the occupancies; sums to 0 over species.
        commensurate: whether the supercell holds the wave, so that V(k) is exact there.
    """

    k: FloatArray
    star: FloatArray
    label: str
    eigenvalue: float
    critical_temperature: float
    amplitudes: FloatArray
    commensurate: bool

    @property
    def separates(self) -> bool:
        """Whether this is phase separation: a wave of infinite length that all sublattices share.

        At k = 0 sublattices of one crystal can also order against one another.
        """
        if np.abs(self.k).max() > 1e-9:
            return False
        mean = self.amplitudes[0, 0].mean(axis=0)
        return bool(np.linalg.norm(mean) > 0.5 * np.linalg.norm(self.amplitudes[0, 0][0]))


def covariance_root(composition: FloatArray) -> FloatArray:
    """Return C^1/2 (K, K); species of weight 0 drop out."""
    values, vectors = np.linalg.eigh(occupancy_covariance(composition))
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)


def stability(interactions: PairInteractions, k: FloatArray) -> FloatArray:
    """Return S(k) = C^1/2 V(k) C^1/2 in eV, (Q, B K, B K), complex Hermitian.

    Args:
        interactions: with the composition at which to look.
        k: (Q, 3) fractional wave vectors.
    """
    root = np.kron(
        np.eye(interactions.lattice.n_sublattices), covariance_root(interactions.composition)
    )
    return np.asarray(root @ interactions.fourier(k) @ root)


def stability_branches(interactions: PairInteractions, k: FloatArray) -> FloatArray:
    """Return the eigenvalues (Q, B (K - 1)) of S(k) in eV, smallest first.

    The one eigenvalue per sublattice that belongs to sum_a dp_a is 0 by construction and left out.
    """
    reduced = occupancy_directions(interactions)
    return np.asarray(np.linalg.eigvalsh(reduced @ stability(interactions, k) @ reduced.T))


def critical_temperature(eigenvalue: float) -> float:
    """Return -eigenvalue / k_B in K; 0 if the disordered state is stable at every temperature."""
    return max(0.0, -eigenvalue / float(kB))


def ordering_waves(interactions: PairInteractions, count: int = 3) -> list[OrderingWave]:
    """Return the most unstable waves that the supercell holds, one for each star.

    Args:
        interactions: of a supercell.
        count: how many stars at most.

    Returns:
        The waves in order of their eigenvalue, stable ones included.

    Raises:
        InputError: if a species has no weight left to order.
    """
    check_mixed(interactions)
    lattice = interactions.lattice
    waves = lattice.commensurate_waves()
    lowest = stability_branches(interactions, waves)[:, 0]
    left = list(np.argsort(lowest, kind="stable"))
    points = special_points(lattice)
    found: list[OrderingWave] = []
    while left and len(found) < count:
        first = left[0]
        star = lattice.star(waves[first])
        members = [index for index in left if _member(waves[index], star)]
        left = [index for index in left if index not in members]
        found.append(_wave(interactions, waves[first], star, points))
    return found


def lowest_interpolated_wave(interactions: PairInteractions, density: int = 12) -> OrderingWave:
    """Return the most unstable wave of the interpolated V(k), on a mesh and at special points.

    A wave that the supercell does not hold is a hint of a longer period: try a supercell that
    holds it.

    Args:
        interactions: of a supercell.
        density: points of the mesh along each reciprocal vector.
    """
    check_mixed(interactions)
    lattice = interactions.lattice
    points = special_points(lattice)
    steps = np.arange(density) / density
    mesh = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    waves = distinct_waves(
        np.concatenate([lattice.commensurate_waves(), np.array(list(points.values())), mesh])
    )
    lowest = stability_branches(interactions, waves)[:, 0]
    # Among equals the supercell's own, which come first, are preferred.
    best = int(np.flatnonzero(lowest < lowest.min() + DEGENERATE)[0])
    return _wave(interactions, waves[best], lattice.star(waves[best]), points)


def special_points(lattice: MixedLattice) -> dict[str, FloatArray]:
    """Return ASE's special points of the primitive cell by name, as fractional waves (3,)."""
    from ase.cell import Cell

    path = Cell(lattice.cell).bandpath(npoints=0)
    return {name: np.asarray(point) for name, point in path.special_points.items()}


def point_label(lattice: MixedLattice, k: FloatArray) -> str:
    """Return the name of the special point that a fractional wave (3,) is equal to, or ''."""
    return _label(lattice.star(k), special_points(lattice))


def check_mixed(interactions: PairInteractions) -> None:
    """Refuse a crystal whose disordered state does not order by a wave.

    Raises:
        InputError: if fewer than two species have weight, or the sublattices differ in which
            species they prefer: then equal occupancies are no equilibrium at any temperature.
    """
    if np.count_nonzero(interactions.composition > 0) < 2:
        raise InputError(
            "the mixed sites hold a single species, so nothing orders: give two species a weight"
        )
    fields = interactions.fields[:, interactions.composition > 0]
    # What all species of a sublattice have in common, or all sublattices, prefers nothing.
    fields = fields - fields.mean(axis=1, keepdims=True)
    unequal = float(np.ptp(fields, axis=0).max())
    if unequal > UNEQUAL:
        raise InputError(
            f"the sites of the group are not equivalent (the energies of their species differ by "
            f"{unequal:.2g} eV from one sublattice to another), so that they order at every "
            "temperature and have no transition from equal occupancies: mix one kind of site only"
        )


def _wave(
    interactions: PairInteractions, k: FloatArray, star: FloatArray, points: dict[str, FloatArray]
) -> OrderingWave:
    lattice = interactions.lattice
    n, m = lattice.n_sublattices, len(interactions.species)
    reduced = occupancy_directions(interactions)
    matrices = reduced @ stability(interactions, star) @ reduced.T
    back = np.kron(np.eye(n), covariance_root(interactions.composition)) @ reduced.T
    values, vectors = np.linalg.eigh(matrices)
    lowest = float(values[:, 0].min())
    branches = max(1, int((values[0] < values[0, 0] + DEGENERATE).sum()))
    amplitudes = np.einsum("xy,syg->sgx", back, vectors[:, :, :branches])
    return OrderingWave(
        k=np.array(k),
        star=star,
        label=_label(star, points),
        eigenvalue=lowest,
        critical_temperature=critical_temperature(lowest),
        amplitudes=np.asarray(amplitudes.reshape(len(star), branches, n, m)),
        commensurate=lattice.is_commensurate(k),
    )


def occupancy_directions(interactions: PairInteractions) -> FloatArray:
    """Return orthonormal rows (B (K' - 1), B K) that span what the occupancies can do.

    The rest, one direction per sublattice and one per species without weight, is null in S(k).

    K' counts the species that have weight.
    """
    values, vectors = np.linalg.eigh(occupancy_covariance(interactions.composition))
    rows = vectors[:, values > 1e-12].T
    return np.asarray(np.kron(np.eye(interactions.lattice.n_sublattices), rows))


def _label(star: FloatArray, points: dict[str, FloatArray]) -> str:
    for name, point in points.items():
        if _member(point, star):
            return name
    return ""


def _member(k: FloatArray, star: FloatArray) -> bool:
    apart = star - k
    return bool(np.abs(apart - np.rint(apart)).max(axis=1).min() < 1e-6)
