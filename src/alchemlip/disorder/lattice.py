"""The lattice of the mixed sites: primitive cell, sublattices, and the waves of a supercell.

Cartesian wave vectors carry the factor 2 pi; fractional ones refer to the reciprocal of the
primitive cell, so that the phase of a lattice vector n is exp(2 pi i k . n).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.process_state import import_spglib

TIE = 1e-3
"""Distances in Angstrom that differ by less are one shell; images closer than this are the same."""


@dataclass(frozen=True, eq=False)
class MixedLattice:
    """Where the sites of a group lie in terms of the smallest cell that repeats the crystal.

    Attributes:
        cell: (3, 3) primitive cell, rows in Angstrom, oriented as the supercell.
        basis: (B, 3) positions of one mixed site for each sublattice (inequivalent by translation).
        sublattice: (M,) sublattice of each site of the group.
        positions: (M, 3) of the sites in the supercell, in Angstrom.
        supercell: (3, 3) integers, supercell vectors in terms of the primitive ones.
        rotations: (O, 3, 3) Cartesian point-group operations of the crystal.
    """

    cell: FloatArray
    basis: FloatArray
    sublattice: IntArray
    positions: FloatArray
    supercell: IntArray
    rotations: FloatArray

    @property
    def n_sublattices(self) -> int:
        """B, the mixed sites of the primitive cell."""
        return len(self.basis)

    @property
    def n_cells(self) -> int:
        """How many primitive cells the supercell holds."""
        return round(abs(float(np.linalg.det(self.supercell))))

    @property
    def reciprocal(self) -> FloatArray:
        """(3, 3) reciprocal vectors in rows, 2 pi included, in 1/Angstrom."""
        return np.asarray(2.0 * np.pi * np.linalg.inv(self.cell).T)

    def cartesian(self, k: FloatArray) -> FloatArray:
        """Return fractional wave vectors (..., 3) in 1/Angstrom."""
        return np.asarray(k @ self.reciprocal)

    def commensurate_waves(self) -> FloatArray:
        """Return the N fractional wave vectors (N, 3) in [0, 1) that repeat with the supercell."""
        generators = np.linalg.inv(self.supercell).T
        found = {(0, 0, 0): np.zeros(3)}
        frontier = [np.zeros(3)]
        scale = self.n_cells
        while frontier:
            k = frontier.pop()
            for generator in generators:
                new = k + generator
                key = tuple((np.rint(new * scale).astype(int) % scale).tolist())
                if key not in found:
                    found[key] = np.array(key) / scale
                    frontier.append(found[key])
        return np.array([found[key] for key in sorted(found)])

    def is_commensurate(self, k: FloatArray, tolerance: float = 1e-6) -> bool:
        """Whether a fractional wave vector (3,) repeats with the supercell."""
        turns = self.supercell @ k
        return bool(np.abs(turns - np.rint(turns)).max() < tolerance)

    def star(self, k: FloatArray) -> FloatArray:
        """Return the symmetry-equivalent fractional wave vectors (n, 3) of one, in [0, 1)."""
        turned = np.einsum("oxy,y->ox", self.rotations, self.cartesian(k)) @ self.cell.T
        return distinct_waves(turned / (2.0 * np.pi))

    def shortest_images(self, site: int) -> tuple[IntArray, FloatArray, FloatArray]:
        """Return the shortest vectors from a site to every other site of the group.

        Args:
            site: position in the group, 0 to M - 1.

        Returns:
            target (E,), vectors (E, 3) in Angstrom, and weights (E,), which share a site between
            its equally near images and sum to 1 for each of the M - 1 targets.
        """
        from ase.geometry import minkowski_reduce

        reduced, _ = minkowski_reduce(self.supercell @ self.cell)
        shifts = np.array(list(product(range(-2, 3), repeat=3))) @ reduced
        between = self.positions - self.positions[site]
        # Bring the vectors into the reduced cell, where the nearest images are near.
        between -= np.rint(between @ np.linalg.inv(reduced)) @ reduced
        vectors = between[:, None, :] + shifts[None, :, :]
        lengths = np.linalg.norm(vectors, axis=2)
        nearest = lengths < lengths.min(axis=1, keepdims=True) + TIE
        nearest[site] = False
        target, image = np.nonzero(nearest)
        weights = 1.0 / nearest.sum(axis=1)[target]
        return target, vectors[target, image], weights


def distinct_waves(waves: FloatArray, tolerance: float = 1e-6) -> FloatArray:
    """Return fractional wave vectors (n, 3) without repetition modulo the reciprocal lattice."""
    inside = np.mod(np.asarray(waves) + tolerance, 1.0) - tolerance
    _, first = np.unique(np.rint(inside / (10 * tolerance)).astype(int), axis=0, return_index=True)
    kept = inside[np.sort(first)]
    kept[np.abs(kept) <= tolerance] = 0.0
    return np.asarray(kept)


def mixed_lattice(mixture: Mixture, group: str, symprec: float = 1e-3) -> MixedLattice:
    """Return the lattice of a group's sites; symmetry by spglib.

    Args:
        mixture: a crystal, usually a supercell, with equal occupancies throughout the group.
        group: name of the group.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the structure is no crystal, or its symmetry is not found.
    """
    spglib = import_spglib()

    sites = mixture.group(group).sites
    if not mixture.pbc.all():
        raise InputError(
            "ordering waves need a crystal, periodic in three directions: give a cell with three "
            "periodic vectors"
        )
    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    labels = mixture.site_labels
    found = spglib.standardize_cell(
        (mixture.cell, fractional, labels), to_primitive=True, no_idealize=True, symprec=symprec
    )
    symmetry = None if found is None else spglib.get_symmetry(found, symprec=symprec)
    if found is None or symmetry is None:
        raise InputError(
            "spglib finds no symmetry in this crystal: correct the structure, or change symprec"
        )
    cell = np.asarray(found[0], dtype=float)
    matrix = mixture.cell @ np.linalg.inv(cell)
    supercell = np.rint(matrix).astype(np.int64)
    if np.abs(matrix - supercell).max() > 0.01:
        raise InputError(
            "the primitive cell that spglib finds does not tile the supercell: raise symprec, or "
            "build the supercell by repeating a relaxed cell"
        )
    cell = np.linalg.solve(supercell.astype(float), mixture.cell)
    turns = np.asarray(symmetry["rotations"], dtype=float)
    rotations = cell.T @ turns @ np.linalg.inv(cell.T)
    positions = mixture.positions[sites]
    sublattice, first = _sublattices(positions, cell, 10 * symprec)
    return MixedLattice(
        cell=cell,
        basis=positions[first],
        sublattice=sublattice,
        positions=np.array(positions),
        supercell=supercell,
        rotations=rotations,
    )


def _sublattices(
    positions: FloatArray, cell: FloatArray, tolerance: float
) -> tuple[IntArray, IntArray]:
    """Return the sublattice (M,) of each site and the first site (B,) of each sublattice."""
    label = np.full(len(positions), -1)
    first: list[int] = []
    for site in range(len(positions)):
        if label[site] >= 0:
            continue
        turns = (positions - positions[site]) @ np.linalg.inv(cell)
        apart = np.linalg.norm((turns - np.rint(turns)) @ cell, axis=1)
        label[apart < tolerance] = len(first)
        first.append(site)
    return label, np.array(first)
