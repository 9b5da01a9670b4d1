"""What a crystal's symmetry says of its sites: classes of alike ones, and how many cells there are.

crystal = crystal_symmetry(atoms)
crystal.class_names, crystal.class_of_site, crystal.n_primitive_cells
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class CrystalSymmetry:
    """Symmetry of a crystal in its (super)cell.

    Attributes:
        class_of_site: (N,) class of each site, in the order of first appearance.
        class_names: (C,) element of each class, with a number where several have the same one.
        n_primitive_cells: how many primitive cells the cell holds.
        rotations: (P, 3, 3) Cartesian point group, ``r' = R r``.
        space_group: such as ``Fm-3m (225)``.
    """

    class_of_site: IntArray
    class_names: tuple[str, ...]
    n_primitive_cells: int
    rotations: FloatArray
    space_group: str

    def class_means(self, values: npt.ArrayLike) -> FloatArray:
        """Return (C,) the mean over each class of one value (N,) a site."""
        per_site = np.asarray(values, dtype=float)
        count = np.bincount(self.class_of_site)
        return np.asarray(np.bincount(self.class_of_site, weights=per_site) / count)

    def members(self, index: int) -> IntArray:
        """Return the sites of a class."""
        return np.flatnonzero(self.class_of_site == index)


def crystal_symmetry(
    atoms: Atoms, labels: npt.ArrayLike | None = None, symprec: float = 1e-3
) -> CrystalSymmetry:
    """Find classes of alike sites, primitive cells and the point group with spglib.

    Args:
        atoms: a crystal; its ideal or relaxed structure, not a snapshot.
        labels: (N,) integers, equal on sites that hold the same; by default element and mass, and
            for a mixture's calculator the occupancies.
        symprec: tolerance in Angstrom.

    Raises:
        InputError: if the structure is no crystal, or spglib finds no symmetry at all.
    """
    import spglib

    if not atoms.pbc.all() or abs(float(np.linalg.det(atoms.cell.array))) < 1e-6:
        raise InputError("the structure is no crystal: give three periodic cell vectors")
    kinds = site_labels(atoms) if labels is None else np.asarray(labels, dtype=np.int64)
    cell = (atoms.cell.array, atoms.get_scaled_positions(wrap=False), kinds)
    found: Any = spglib.get_symmetry_dataset(cell, symprec=symprec)
    primitive: Any = spglib.standardize_cell(
        cell, to_primitive=True, no_idealize=True, symprec=symprec
    )
    if found is None or primitive is None:
        raise InputError(
            "spglib finds no symmetry in the structure: give the ideal or relaxed crystal, without "
            "atoms on top of one another"
        )
    lattice = np.asarray(primitive[0]).T
    of_primitive: Any = spglib.get_symmetry(primitive, symprec=symprec)
    rotations = lattice @ np.asarray(of_primitive["rotations"]) @ np.linalg.inv(lattice)
    _, first, class_of_site = np.unique(
        np.asarray(found.crystallographic_orbits), return_index=True, return_inverse=True
    )
    order = np.argsort(np.argsort(first))
    class_of_site = order[class_of_site]
    return CrystalSymmetry(
        class_of_site=class_of_site,
        class_names=_names(atoms, np.sort(first)),
        n_primitive_cells=round(len(atoms) / len(primitive[2])),
        rotations=np.unique(np.round(rotations, 12), axis=0),
        space_group=f"{found.international} ({found.number})",
    )


def site_labels(atoms: Atoms, calculator: Any = None) -> IntArray:
    """Return (N,) integers, equal on sites of the same occupants and mass.

    Args:
        atoms: the structure.
        calculator: a mixture's tells what sits where; by default that of the atoms.
    """
    mixture = getattr(calculator or atoms.calc, "mixture", None)
    kinds = atoms.numbers if mixture is None else mixture.site_labels
    keys = [
        (int(kind), round(float(m), 6)) for kind, m in zip(kinds, atoms.get_masses(), strict=True)
    ]
    known: dict[tuple[int, float], int] = {}
    return np.array([known.setdefault(key, len(known) + 1) for key in keys], dtype=np.int64)


def _names(atoms: Atoms, first: IntArray) -> tuple[str, ...]:
    symbols = [atoms.symbols[site] for site in first.tolist()]
    names = []
    for index, symbol in enumerate(symbols):
        rank = symbols[: index + 1].count(symbol)
        names.append(symbol if symbols.count(symbol) == 1 else f"{symbol}{rank}")
    return tuple(names)


def leaves_site(
    scaled_sites: FloatArray, cell: FloatArray, atom: int, displacement: FloatArray
) -> bool:
    """Return whether an atom displaced from its site is nearer to another one, or to an image.

    Args:
        scaled_sites: (N, 3) sites in units of the cell vectors.
        cell: (3, 3) rows are the cell vectors.
        atom: index of the atom.
        displacement: (3,) from its own site, in Angstrom.
    """
    from ase.geometry import find_mic

    sites = scaled_sites @ cell
    _, distances = find_mic(sites - sites[atom] - displacement, cell, pbc=True)
    return bool(distances.min() < float(np.linalg.norm(displacement)) - 1e-9)


def nearest_neighbour_distances(atoms: Atoms) -> FloatArray:
    """Return (N,) the distance in Angstrom of each site to its nearest neighbour or image."""
    from vesin import NeighborList

    # Even in the densest packing the nearest distance is 1.12 times the cube root of this volume.
    cutoff = 1.5 * float(np.cbrt(atoms.get_volume() / len(atoms)))
    distances = np.full(len(atoms), np.inf)
    while not np.isfinite(distances).all():
        found = NeighborList(cutoff=cutoff, full_list=True).compute(
            points=atoms.positions, box=atoms.cell.array, periodic=True, quantities="id"
        )
        np.minimum.at(distances, found[0], found[1])
        cutoff *= 1.5
    return distances
