"""Names of ordered structures, from what they look like."""

from __future__ import annotations

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.lattice import TIE, MixedLattice
from alchemlip.process_state import import_spglib

# Bravais lattice of the mixed sites and their number in its cell, space group of the decorated
# sites, their number in the ordered cell, and unlike nearest neighbours of a minority site.
NAMES: dict[tuple[str, int, int, int, int], str] = {
    ("BCC", 1, 221, 2, 8): "B2",
    ("BCC", 1, 227, 4, 4): "B32",
    ("BCC", 1, 225, 4, 8): "D0_3",
    ("FCC", 1, 123, 2, 8): "L1_0",
    ("FCC", 1, 166, 2, 6): "L1_1",
    ("FCC", 1, 141, 4, 8): "phase 40",
    ("FCC", 1, 221, 4, 12): "L1_2",
    ("FCC", 1, 139, 4, 12): "D0_22",
    ("CUB", 1, 225, 2, 6): "rock salt",
    ("CUB", 1, 123, 2, 2): "layered",
    ("CUB", 1, 123, 2, 4): "columnar",
    ("HEX", 2, 194, 8, 12): "D0_19",
    ("HEX", 2, 51, 4, 8): "B19",
}
"""Strukturbericht symbols, and the usual words for orderings of a simple cubic lattice."""


def structure_name(lattice: MixedLattice, chosen: IntArray, symprec: float = 1e-3) -> str:
    """Return the name of an arrangement, or an empty string if it has none here.

    Args:
        lattice: of the mixed sites.
        chosen: (M,) species of each site.
        symprec: tolerance of the symmetry search in Angstrom.
    """
    from ase.cell import Cell

    if len(np.unique(chosen)) != 2:
        return ""
    number, size = decorated_symmetry(lattice, chosen, symprec)
    bravais = Cell(lattice.cell).get_bravais_lattice(eps=2e-3).name
    key = (bravais, lattice.n_sublattices, number, size, _unlike_neighbours(lattice, chosen))
    return NAMES.get(key, "")


def decorated_symmetry(
    lattice: MixedLattice, chosen: IntArray, symprec: float = 1e-3
) -> tuple[int, int]:
    """Return space group number and sites per primitive cell of the decorated mixed sites alone."""
    spglib = import_spglib()

    cell: FloatArray = lattice.supercell @ lattice.cell
    fractional = lattice.positions @ np.linalg.inv(cell)
    found = spglib.get_symmetry_dataset((cell, fractional, chosen + 1), symprec=symprec)
    return int(found.number), len(np.unique(found.mapping_to_primitive))


def _unlike_neighbours(lattice: MixedLattice, chosen: IntArray) -> int:
    """Return how many nearest neighbours of a minority site hold another species."""
    labels, counts = np.unique(chosen, return_counts=True)
    site = int(np.flatnonzero(chosen == labels[counts.argmin()])[0])
    target, vectors, _ = lattice.shortest_images(site)
    lengths = np.linalg.norm(vectors, axis=1)
    near = lengths < lengths.min() + TIE
    return int((chosen[target[near]] != chosen[site]).sum())
