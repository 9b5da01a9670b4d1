"""A CIF as a mixture, or a refusal with its reason; never a wrong structure in silence.

    mixture, notes = read_cif(Path("garnet.cif"))

The order is: block, atom list, symmetry, expansion by it, shared sites, the file's own numbers.
What the symmetry leaves open is decided by these numbers, or the file is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.cif.alternatives import with_alternatives
from alchemlip.mixture.cif.blocks import Block, chosen_block, number, read_blocks
from alchemlip.mixture.cif.checks import (
    Stated,
    composition_notes,
    contradictions,
    size_notes,
    stated,
)
from alchemlip.mixture.cif.expansion import Expanded, expand
from alchemlip.mixture.cif.rows import AtomList, Row, atom_list
from alchemlip.mixture.cif.symmetry import Operations, candidate_operations, refuse_other_symmetry
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import SUM_TOLERANCE, species_number
from alchemlip.mixture.structures import completed, named_groups


def read_cif(
    path: Path,
    *,
    block: str | None = None,
    normalise: bool = False,
    accept_composition: bool = False,
) -> tuple[Mixture, list[str]]:
    """Return the structure of a CIF, and sentences about what to check in it.

    Args:
        path: of the file.
        block: name of the data block; the first with atoms where left out.
        normalise: divide occupancies by their sum where it is above 1, or 1 but for rounding.
        accept_composition: read on where the formula has an element, but hydrogen, that no site
            holds.

    Raises:
        InputError: naming what is wrong, where, and what to do.
    """
    chosen, others = chosen_block(read_blocks(path), path, block)
    try:
        mixture, notes = _read(chosen, normalise, accept_composition)
    except InputError as error:
        if not others:
            raise
        raise InputError(
            f"{error} (the file also has {_blocks(others)}, which --block {others[0]!r} reads)"
        ) from error
    if others:
        notes.insert(
            0,
            f"{path.name!r} holds several structures: the block {chosen.name!r} was read, not "
            f"{_blocks(others)}, which --block {others[0]!r} reads",
        )
    return mixture, notes


def _blocks(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"the block{'s' if len(names) > 1 else ''} {shown}{more}"


def _read(block: Block, normalise: bool, accept_composition: bool) -> tuple[Mixture, list[str]]:
    refuse_other_symmetry(block)
    said = stated(block)
    atoms = atom_list(block, said.amounts)
    cell = cell_vectors(block)
    if not atoms.rows:
        raise InputError(
            f"{block.title} holds no atoms that are there (dummies and occupancies of 0 are not): "
            "give another file"
        )
    operations, expanded = _symmetry(block, said, atoms.rows, cell)
    notes = [*operations.notes, *atoms.notes]
    about = composition_notes(block, said, atoms, expanded, accept_composition)
    notes += about
    notes += size_notes(block, said, atoms.rows, expanded, cell, complete=not about)
    mixture, shares = _mixture(block, atoms, expanded, cell, normalise)
    mixture, told = with_alternatives(mixture, block, atoms.rows, expanded)
    return mixture, notes + shares + told


def cell_vectors(block: Block) -> FloatArray:
    """Return the cell (3, 3) in A of a block: a along x, b in the plane of x and y.

    Raises:
        InputError: if a length or angle is missing or impossible.
    """
    values = []
    for name in (*(f"_cell_length_{x}" for x in "abc"), *(f"_cell_angle_{x}" for x in _ANGLES)):
        text = block.value(name)
        value = None if text is None else number(text)
        angle = "angle" in name
        if value is None or not 0 < value < (180 if angle else 1e4):
            raise InputError(
                f"{block.title} has {'no ' + name if text is None else f'{text!r} for {name}'}: "
                f"write the {'angle in degrees' if angle else 'length in Angstrom'}"
            )
        values.append(value)
    cos_a, cos_b, cos_c = np.cos(np.radians(values[3:]))
    if 1.0 - cos_a**2 - cos_b**2 - cos_c**2 + 2.0 * cos_a * cos_b * cos_c < 1e-6:
        raise InputError(
            f"the angles of {block.title} ({values[3]:g}, {values[4]:g}, {values[5]:g}) close no "
            "cell: correct them"
        )
    from ase.geometry.cell import cellpar_to_cell

    return np.asarray(cellpar_to_cell(values), dtype=float)


_ANGLES = ("alpha", "beta", "gamma")


def _symmetry(
    block: Block, said: Stated, rows: Sequence[Row], cell: FloatArray
) -> tuple[Operations, Expanded]:
    """Return the operations and the sites they make: of several readings the one that fits."""
    candidates = candidate_operations(block, cell @ cell.T)
    volume = float(abs(np.linalg.det(cell)))
    if not candidates:
        return _without_symmetry(block, said, rows, cell, volume)
    if len(candidates) == 1:
        return candidates[0], expand(rows, candidates[0], cell, block)
    judged: list[tuple[tuple[int, int], Operations, Expanded]] = []
    problems = []
    for operations in candidates:
        try:
            expanded = expand(rows, operations, cell, block)
        except InputError as error:
            problems.append(error)
            continue
        against, met = contradictions(said, rows, expanded, volume)
        crowded = _crowded(rows, expanded)
        judged.append(((against + crowded, -met), operations, expanded))
    if not judged:
        raise problems[0]
    if candidates[0].notes:
        # Listed operations and those of a symbol: the list counts, unless the file's own numbers
        # say that it is incomplete.
        first = next((item for item in judged if item[1] is candidates[0]), None)
        best = min(judged, key=lambda item: item[0])
        if first is None or best[0][0] < first[0][0]:
            raise InputError(
                f"{block.title} lists {len(candidates[0])} symmetry operations, but its formula, "
                f"Z, density or multiplicities are those of {best[1].name}, which has "
                f"{len(best[1])}: list all operations, or leave the list out"
            )
        return first[1], first[2]
    judged.sort(key=lambda item: item[0])
    if len(judged) > 1 and judged[0][0][0] == judged[1][0][0]:
        names = " or ".join(repr(item[1].name) for item in judged)
        raise InputError(
            f"{block.title} does not say which origin or axes its space group has, and its own "
            f"formula and multiplicities do not tell: write {names} for "
            "_space_group_name_H-M_alt, or list the operations"
        )
    return judged[0][1], judged[0][2]


def _without_symmetry(
    block: Block, said: Stated, rows: Sequence[Row], cell: FloatArray, volume: float
) -> tuple[Operations, Expanded]:
    """Return P1 where the formula and Z say that the list is the whole cell."""
    identity = Operations("P 1", np.eye(3, dtype=int)[None], np.zeros((1, 3)))
    expanded = expand(rows, identity, cell, block)
    against, met = contradictions(replace(said, density=None), rows, expanded, volume)
    if said.units is None or against or met < 2:
        raise InputError(
            f"{block.title} names no space group and lists no symmetry operations: write "
            "_space_group_name_H-M_alt, 'P 1' if the list of atoms is the whole cell"
        )
    return identity, expanded


def _crowded(rows: Sequence[Row], expanded: Expanded) -> int:
    """Return 1 if more than one atom would be on a site, which speaks against a reading."""
    sums = [sum(rows[row].occupancy for row in members) for members in expanded.rows]
    return int(max(sums) > 1.5)


def _mixture(
    block: Block,
    atoms: AtomList,
    expanded: Expanded,
    cell: FloatArray,
    normalise: bool,
) -> tuple[Mixture, list[str]]:
    """Return the sites with their occupancies as a mixture, and sentences about their sums."""
    rows = atoms.rows
    notes: list[str] = []
    known: dict[tuple[int, ...], dict[str, float]] = {}
    kinds: dict[tuple[tuple[str, float], ...], list[int]] = {}
    numbers = []
    for site, members in enumerate(expanded.rows):
        if members not in known:
            known[members], note = _occupancy([rows[i] for i in members], block, normalise)
            notes += [note] if note else []
        occupancy = known[members]
        numbers.append(species_number(max(occupancy, key=lambda s: (occupancy[s], s))))
        if len(occupancy) > 1:
            kinds.setdefault(tuple(occupancy.items()), []).append(site)
    groups = named_groups(kinds, "independent")
    positions = expanded.fractional @ cell
    return Mixture(np.array(numbers), positions, cell, np.ones(3, dtype=bool), groups), notes


def _occupancy(
    members: Sequence[Row], block: Block, normalise: bool
) -> tuple[dict[str, float], str]:
    occupancy: dict[str, float] = {}
    for row in members:
        occupancy[row.species] = occupancy.get(row.species, 0.0) + row.occupancy
    total = sum(occupancy.values())
    names = " and ".join(repr(row.label) for row in members)
    lines = " and ".join(str(row.line) for row in members)
    place = f"{names} in {block.title}, line{'s' if len(members) > 1 else ''} {lines}"
    if total > 1.0 + SUM_TOLERANCE and not normalise:
        if len(members) > 1 and all(row.occupancy == 1 for row in members):
            raise InputError(
                f"{place}, are both wholly on one position: give their occupancies "
                "(_atom_site_occupancy), or leave one out"
            )
        raise InputError(
            f"the occupancies of {place}, sum to more than 1 ({total:.6g}): correct the file, or "
            "ask for normalisation (--normalise)"
        )
    return completed(occupancy, f"{place},", normalise)
