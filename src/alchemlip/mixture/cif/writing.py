"""Mixtures as CIFs: every site in P1, to 12 digits, with partial occupancies."""

from __future__ import annotations

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.cif.alternatives import PAIR, PAIRS
from alchemlip.mixture.cif.expansion import wrapped
from alchemlip.mixture.cif.rows import MASS
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import (
    HYDROGEN_MASSES,
    ISOTOPE,
    VACANCY,
    element_symbol,
    species_mass,
    species_number,
)


def cif_text(mixture: Mixture, name: str) -> str:
    """Return a mixture as the text of a CIF that `alchemlip.read_structure` reads back.

    A vacancy is what the occupancies of a site leave to 1. Group names and correlations have no
    place in a CIF; exclusive pairs and masses stand under names of our own, which others skip.

    Args:
        mixture: with three cell vectors.
        name: of the data block.

    Raises:
        InputError: if the cell does not span space, or a site is wholly vacant.
    """
    cell = mixture.cell
    if abs(np.linalg.det(cell)) < 1e-9:
        raise InputError("a CIF needs three cell vectors: give the slab or cluster a box")
    lengths = np.linalg.norm(cell, axis=1)
    unit = cell / lengths[:, None]
    angles = np.degrees(np.arccos([unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]))
    inside: FloatArray = np.linalg.solve(cell.T, mixture.positions.T).T.astype(float)
    fractional = wrapped(inside.round(12))
    rows, masses, count = [], [], dict[str, int]()
    amounts: dict[str, float] = {}
    for site, occupancy in enumerate(mixture.occupancies()):
        present = {s: p for s, p in occupancy.items() if s != VACANCY and p > 0}
        if not present:
            raise InputError(
                f"site {site} is wholly vacant, which a CIF cannot hold: remove the site"
            )
        place = " ".join(f"{x:.12f}" for x in fractional[site])
        for species, p in present.items():
            symbol = species if species in HYDROGEN_MASSES else element_symbol(species)
            count[symbol] = count.get(symbol, 0) + 1
            amounts[symbol] = amounts.get(symbol, 0.0) + p
            rows.append(f"{symbol}{count[symbol]} {symbol} {place} {p:.12g}")
            number = species_number(species)
            other = number >= ISOTOPE and species not in HYDROGEN_MASSES
            masses.append(f"{species_mass(number):.6f}" if other else ".")
    columns = ["label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy"]
    names = [f"_atom_site_{column}" for column in columns]
    if any(mass != "." for mass in masses):
        names.append(MASS)
        rows = [f"{row} {mass}" for row, mass in zip(rows, masses, strict=True)]
    order = sorted(amounts)
    formula = " ".join(f"{symbol}{amounts[symbol]:.10g}" for symbol in order)
    block = "".join(c if c.isascii() and c.isprintable() and c != " " else "_" for c in name)
    lines = [
        f"data_{block or 'mixture'}",
        *(f"_cell_length_{x} {value:.12f}" for x, value in zip("abc", lengths, strict=True)),
        *(
            f"_cell_angle_{x} {value:.12f}"
            for x, value in zip(("alpha", "beta", "gamma"), angles, strict=True)
        ),
        f"_cell_volume {abs(np.linalg.det(cell)):.8f}",
        "_space_group_name_H-M_alt 'P 1'",
        "_space_group_IT_number 1",
        f"_chemical_formula_sum '{formula}'",
        "_cell_formula_units_Z 1",
        "loop_",
        " _space_group_symop_operation_xyz",
        " 'x, y, z'",
        "loop_",
        *(f" {column}" for column in names),
        *(f" {row}" for row in rows),
        *_pairs(mixture, np.rint(inside - fractional).astype(int)),
    ]
    return "\n".join(lines) + "\n"


def _pairs(mixture: Mixture, cells: IntArray) -> list[str]:
    """Return the lines of the exclusive pairs, of sites that were moved into the cell by (S, 3)."""
    if not mixture.groups:
        return []
    rows = mixture.exclusive.rows.copy()
    rows[:, 2:] += cells[rows[:, 1]] - cells[rows[:, 0]]
    lines = [f"{PAIRS} {len(rows)}"]
    if len(rows):
        lines += ["loop_", *(f" {name}" for name in PAIR)]
        lines += [" " + " ".join(map(str, row)) for row in rows.tolist()]
    return lines
