"""A CIF's own numbers against its sites: formula, Z, volume, density, multiplicities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.cif.blocks import Block, last_digit, number
from alchemlip.mixture.cif.expansion import Expanded
from alchemlip.mixture.cif.formula import (
    differing,
    hydrogen_together,
    parse_formula,
    scaled,
    written,
)
from alchemlip.mixture.cif.rows import AtomList, Row
from alchemlip.mixture.species import species_mass, species_number

FORMULA = "_chemical_formula_sum"
Z = "_cell_formula_units_z"
VOLUME = "_cell_volume"
DENSITY = "_exptl_crystal_density_diffrn"

VOLUME_TOLERANCE = 0.005
DENSITY_TOLERANCE = 0.02
_G_PER_CM3 = 1.66053906660  # of 1 amu/A^3 (CODATA 2018)


@dataclass(frozen=True)
class Stated:
    """What a block says of its contents.

    Attributes:
        formula: as written; None where there is none.
        amounts: of its elements; None where it is no plain formula.
        units: formula units in the cell; None where not stated.
        volume: in A^3, and half a unit of its last digit.
        density: in g/cm^3.
    """

    formula: str | None
    amounts: Mapping[str, float] | None
    units: float | None
    volume: tuple[float, float] | None
    density: float | None


def stated(block: Block) -> Stated:
    """Return what a block says of its contents."""
    formula = block.value(FORMULA)
    units = number(block.value(Z) or "")
    volume_text = block.value(VOLUME) or ""
    volume = number(volume_text)
    density = number(block.value(DENSITY) or "")
    return Stated(
        None if formula is None else " ".join(formula.split()),
        parse_formula(formula),
        units if units and units > 0 else None,
        (volume, last_digit(volume_text)) if volume and volume > 0 else None,
        density if density and density > 0 else None,
    )


def cell_amounts(rows: Sequence[Row], expanded: Expanded) -> dict[str, float]:
    """Return how many atoms of each species the cell holds."""
    amounts: dict[str, float] = {}
    for row, n in zip(rows, expanded.multiplicity.tolist(), strict=True):
        amounts[row.species] = amounts.get(row.species, 0.0) + n * row.occupancy
    return amounts


def contradictions(
    said: Stated, rows: Sequence[Row], expanded: Expanded, volume: float
) -> tuple[int, int]:
    """Return how many statements a reading of the symmetry contradicts, and how many it meets.

    Hydrogen, which lists often lack, does not count.
    """
    multiplicities = _multiplicities_fit(rows, expanded)
    judged = [] if multiplicities is None else [multiplicities]
    found = cell_amounts(rows, expanded)
    if said.amounts is not None:
        heavy, wanted = (
            {s: x for s, x in hydrogen_together(a).items() if s != "H"}
            for a in (found, said.amounts)
        )
        if heavy and wanted:
            judged.append(not differing(scaled(heavy, wanted), wanted))
            if said.units is not None:
                judged.append(not differing({s: x / said.units for s, x in heavy.items()}, wanted))
    if said.density is not None:
        judged.append(abs(_density(found, volume) / said.density - 1.0) < 0.1)
    return judged.count(False), judged.count(True)


def composition_notes(
    block: Block,
    said: Stated,
    atoms: AtomList,
    expanded: Expanded,
    accept_composition: bool,
) -> list[str]:
    """Return sentences where the sites do not add up to the stated formula.

    Args:
        block: for messages.
        said: what it states.
        atoms: its rows.
        expanded: their sites.
        accept_composition: read on where an element but hydrogen is missing.

    Raises:
        InputError: if one is, and that is not accepted.
    """
    attached = float(
        np.dot(atoms.attached_hydrogens, expanded.multiplicity) if len(atoms.rows) else 0.0
    )
    cell = hydrogen_together(cell_amounts(atoms.rows, expanded))
    if said.amounts is None:
        if said.formula is not None:
            return [
                f"{block.title} has the formula {said.formula!r}, which cannot be read, so the "
                f"composition of its sites, {written(cell)}, is unchecked"
            ]
        return _attached_note(block, attached)
    wanted = hydrogen_together(said.amounts)
    missing = [symbol for symbol in wanted if symbol != "H" and not cell.get(symbol)]
    units = said.units
    found = {s: x / units for s, x in cell.items()} if units else scaled(cell, wanted)
    different = differing(found, wanted)
    ratios = scaled(cell, wanted)
    if units and different and not differing(ratios, wanted):
        if not differing(cell, wanted) and _divisible(wanted, units):
            return []  # the formula is that of the cell, as some programs write it
        first = next(iter(cell))
        return [
            f"{block.title} states {units:g} formula units {written(wanted)} in the cell "
            f"(_cell_formula_units_Z), but its sites are {cell[first] / wanted[first]:.4g} of "
            "them: check the space group, the cell and Z"
        ]
    if len(differing(ratios, wanted)) < len(different):
        # Z counts something else: the ratios are what can be compared by eye.
        found, different = ratios, differing(ratios, wanted)
    if missing and not accept_composition:
        raise InputError(
            f"{block.title} has the formula {written(wanted)}, but its sites hold no "
            f"{' and no '.join(missing)} ({written(found)}): correct the list of atoms, or accept "
            "what it holds (--accept-composition)"
        )
    return [_difference(block, found, wanted, different)] if different else []


def _difference(
    block: Block,
    found: Mapping[str, float],
    wanted: Mapping[str, float],
    different: Sequence[str],
) -> str:
    """Say how what was found differs from the formula, of the hydrogens alone by themselves."""
    if different == ["H"] and found.get("H", 0.0) < wanted.get("H", 0.0):
        n_missing = wanted["H"] - found.get("H", 0.0)
        return (
            f"{block.title} has the formula {written(wanted)}, of whose hydrogens {n_missing:.4g} "
            f"in a formula unit are not in the list of atoms ({written(found)} are): the "
            "structure is read without them; add them for any energy"
        )
    return (
        f"{block.title} has the formula {written(wanted)}, but its sites add up to "
        f"{written(found)}: check occupancies, positions and symmetry"
    )


def _divisible(amounts: Mapping[str, float], units: float) -> bool:
    return all(abs(x / units - round(x / units)) < 1e-3 for x in amounts.values())


def _attached_note(block: Block, attached: float) -> list[str]:
    if attached < 1e-6:
        return []
    return [
        f"{block.title} counts {attached:.4g} hydrogens in the cell that its list of atoms does "
        "not place (_atom_site_attached_hydrogens): the structure is read without them; add them "
        "for any energy"
    ]


def size_notes(
    block: Block,
    said: Stated,
    rows: Sequence[Row],
    expanded: Expanded,
    cell: FloatArray,
    complete: bool,
) -> list[str]:
    """Return sentences where volume, density or multiplicities are not the stated ones.

    Args:
        block: for messages.
        said: what it states.
        rows: its atoms.
        expanded: their sites.
        cell: (3, 3) in A.
        complete: whether the composition is the stated one; else its density means nothing.
    """
    notes = []
    volume = float(abs(np.linalg.det(cell)))
    if said.volume is not None:
        value, rounding = said.volume
        if abs(volume - value) > VOLUME_TOLERANCE * volume + rounding:
            notes.append(
                f"the cell of {block.title} has a volume of {volume:.2f} Å³, but the file states "
                f"{value:.2f} (_cell_volume): check lengths and angles"
            )
    if _multiplicities_fit(rows, expanded) is False:
        row, n = next(
            (row, n)
            for row, n in zip(rows, expanded.multiplicity.tolist(), strict=True)
            if row.multiplicity not in (None, n)
        )
        notes.append(
            f"{row.label!r} in {block.title}, line {row.line}, has {n} positions in the cell, but "
            f"the file states {row.multiplicity}: check its coordinates and the space group"
        )
    found = cell_amounts(rows, expanded)
    if said.density is not None and complete:
        density = _density(found, volume)
        if abs(density / said.density - 1.0) > DENSITY_TOLERANCE:
            notes.append(
                f"the sites of {block.title} ({written(found)} in the cell) have a density of "
                f"{density:.3f} g/cm³, but the file states {said.density:.3f} ({DENSITY}): check "
                "occupancies, symmetry and cell"
            )
    return notes


def _multiplicities_fit(rows: Sequence[Row], expanded: Expanded) -> bool | None:
    """Whether the stated multiplicities are met; None where there are none.

    Many files state the order of the site symmetry under this name: 1 for a general position.
    """
    stated_ = [
        (row.multiplicity, int(n))
        for row, n in zip(rows, expanded.multiplicity, strict=True)
        if row.multiplicity is not None
    ]
    if not stated_:
        return None
    order = expanded.images.shape[1]
    return all(m == n for m, n in stated_) or all(m * n == order for m, n in stated_)


def _density(amounts: Mapping[str, float], volume: float) -> float:
    mass = sum(species_mass(species_number(symbol)) * x for symbol, x in amounts.items())
    return mass * _G_PER_CM3 / volume
