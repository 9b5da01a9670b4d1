"""Symmetry operations of a crystal as permutations of its sites.

Derivatives of the energy need computing for inequivalent sites alone; those of the other sites
follow by permuting (and rotating) the entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.mixture.mixture import Mixture
from alchemlip.process_state import import_spglib


@dataclass(frozen=True, eq=False)
class SiteSymmetry:
    """Inequivalent sites, and operations that carry them onto all others.

    Attributes:
        representatives: (R,) inequivalent sites among those asked for.
        multiplicities: (R,) how many sites each stands for.
        operation_of: (M, 2) for every site asked for, which representative and which operation
            carries that onto it.
        permutations: (P, S) site onto which each operation carries each site.
        rotations: (P, 3, 3) Cartesian rotation of each operation: ``r' = R r + t``.
    """

    representatives: IntArray
    multiplicities: IntArray
    operation_of: IntArray
    permutations: IntArray
    rotations: FloatArray


def site_symmetry(
    mixture: Mixture, sites: IntArray | None = None, symprec: float | None = 1e-3
) -> SiteSymmetry:
    """Find inequivalent sites with spglib.

    Sites are alike if they belong to the same group with the same species, or hold the same
    element. Only as many operations are kept as it takes to reach every site.

    Args:
        mixture: the structure.
        sites: (M,) the sites of interest, all by default; no operation may leave them.
        symprec: tolerance in Angstrom; None uses no symmetry. Where a direction is not periodic,
            none is used either: spglib knows crystals alone.
    """
    chosen = np.arange(mixture.n_sites) if sites is None else np.asarray(sites)
    rotations, translations = _operations(mixture, symprec)
    # A cluster has no fractional coordinates, nor operations that need them.
    crystal = symprec is not None and bool(mixture.pbc.all())
    fractional = _fractional(mixture) if crystal else None
    place = np.full(mixture.n_sites, -1)
    place[chosen] = np.arange(len(chosen))
    representatives: list[int] = []
    operation_of = np.full((len(chosen), 2), -1)
    kept: dict[int, int] = {}
    permutations: list[IntArray] = []
    for position, site in enumerate(chosen.tolist()):
        if operation_of[position, 0] >= 0:
            continue
        if fractional is None or len(rotations) == 1:
            images = np.array([site])
        else:
            images = _images(mixture, fractional, rotations, translations, site)
        for operation, image in enumerate(images.tolist()):
            target = place[image]
            if target < 0 or operation_of[target, 0] >= 0:
                continue
            if operation not in kept:
                permutation = _permutation(
                    mixture, fractional, rotations[operation], translations[operation], symprec
                )
                if permutation is None:
                    continue
                kept[operation] = len(permutations)
                permutations.append(permutation)
            operation_of[target] = (len(representatives), kept[operation])
        representatives.append(site)
    operations = np.array(list(kept), dtype=np.int64)
    basis = mixture.cell.T
    cartesian = np.array([np.eye(3)])
    if fractional is not None:
        cartesian = basis @ rotations[operations] @ np.linalg.inv(basis)
    return SiteSymmetry(
        representatives=np.array(representatives, dtype=np.int64),
        multiplicities=np.bincount(operation_of[:, 0], minlength=len(representatives)),
        operation_of=operation_of,
        permutations=np.array(permutations, dtype=np.int64),
        rotations=cartesian,
    )


def force_constants(found: SiteSymmetry, rows: FloatArray) -> FloatArray:
    """Return d2E/dr dr (3 S, 3 S) from the rows (3 R, 3 S) of inequivalent sites."""
    n = rows.shape[1] // 3
    blocks = rows.reshape(-1, 3, n, 3)
    full = np.empty((n, 3, n, 3))
    for site, (representative, operation) in enumerate(found.operation_of.tolist()):
        rotation = found.rotations[operation]
        turned = np.einsum("xa,ajb,yb->xjy", rotation, blocks[representative], rotation)
        full[site][:, found.permutations[operation], :] = turned
    matrix = full.reshape(3 * n, 3 * n)
    return 0.5 * (matrix + matrix.T)


def _operations(mixture: Mixture, symprec: float | None) -> tuple[IntArray, FloatArray]:
    """Return rotations (P, 3, 3) and translations (P, 3) in fractional coordinates.

    The identity comes first, then pure translations: these are exact symmetries of a potential,
    where constants that a checkpoint rounded break rotations by 1e-7.
    """
    identity = np.eye(3, dtype=np.int64)[None], np.zeros((1, 3))
    if symprec is None or not mixture.pbc.all():
        return identity
    spglib = import_spglib()

    fractional = _fractional(mixture)
    found: Any = spglib.get_symmetry_dataset(
        (mixture.cell, fractional, mixture.site_kinds), symprec=symprec
    )
    if found is None:
        return identity
    rotations = np.asarray(found.rotations, dtype=np.int64)
    translations = np.asarray(found.translations, dtype=float)
    turned = np.abs(rotations - np.eye(3, dtype=np.int64)).sum(axis=(1, 2))
    shifted = np.abs(translations - np.round(translations)).sum(axis=1) > 1e-6
    order = np.lexsort((shifted, turned))
    return rotations[order], translations[order]


def _fractional(mixture: Mixture) -> FloatArray:
    """Return fractional coordinates (S, 3)."""
    return np.asarray(np.linalg.solve(mixture.cell.T, mixture.positions.T).T, dtype=np.float64)


def _distances(mixture: Mixture, difference: FloatArray) -> FloatArray:
    """Return the lengths in Angstrom of fractional differences (..., 3), modulo the cell."""
    wrapped = difference - np.round(difference)
    return np.asarray(np.linalg.norm(wrapped @ mixture.cell, axis=-1))


def _images(
    mixture: Mixture,
    fractional: FloatArray,
    rotations: IntArray,
    translations: FloatArray,
    site: int,
) -> IntArray:
    """Return (P,) the site nearest to where each operation carries a site."""
    moved = fractional[site] @ rotations.transpose(0, 2, 1) + translations
    return np.array(
        [_distances(mixture, fractional - point).argmin() for point in moved], dtype=np.int64
    )


def _permutation(
    mixture: Mixture,
    fractional: FloatArray | None,
    rotation: IntArray,
    translation: FloatArray,
    symprec: float | None,
) -> IntArray | None:
    """Return (S,) the site onto which an operation carries each site; None if it is none."""
    identity = np.arange(mixture.n_sites)
    if fractional is None:
        return identity
    moved = fractional @ rotation.T + translation
    distances = _distances(mixture, moved[:, None] - fractional[None])
    images = distances.argmin(axis=1)
    close = distances[identity, images].max() <= 4 * (symprec or 0.0) + 1e-9
    is_permutation = bool((np.sort(images) == identity).all())
    return images if close and is_permutation else None
