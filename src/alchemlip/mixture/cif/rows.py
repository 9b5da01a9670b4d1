"""The atom list of a CIF, row by row: species, position, occupancy and disorder group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from alchemlip.errors import InputError
from alchemlip.mixture.cif.blocks import (
    COORDINATES,
    UNKNOWN,
    Block,
    Table,
    coordinate,
    last_digit,
    number,
)
from alchemlip.mixture.cif.labels import named_species
from alchemlip.mixture.species import SUM_TOLERANCE

LABEL = "_atom_site_label"
TYPE = "_atom_site_type_symbol"
OCCUPANCY = "_atom_site_occupancy"
ASSEMBLY = "_atom_site_disorder_assembly"
DISORDER = "_atom_site_disorder_group"
HYDROGENS = "_atom_site_attached_hydrogens"
KIND = "_atom_site_calc_flag"
MULTIPLICITIES = ("_atom_site_site_symmetry_multiplicity", "_atom_site_symmetry_multiplicity")
MASS = "_atom_site_alchemlip_mass"
"""Of isotopes but D and T, for which no CIF has a place: in amu, in files of this package alone."""
MATTERING = (
    *COORDINATES,
    LABEL,
    TYPE,
    OCCUPANCY,
    ASSEMBLY,
    DISORDER,
    *(f"_cell_{name}" for name in ("length_a", "length_b", "length_c")),
    *(f"_cell_angle_{name}" for name in ("alpha", "beta", "gamma")),
)
"""Names whose misspelling would change the structure."""
ALLOWED = (
    *MULTIPLICITIES,
    "_atom_site_label_component_0",
    "_atom_site_occupancy_su",
    "_atom_site_refinement_flags_occupancy",
    "_atom_site_occ_special_func",
    "_atom_site_occ_special_func_id",
)
_EXACT = 24.0
"""Coordinates that are multiples of 1/24 and short are no rounded ones: 0.5, 0.125."""


@dataclass(frozen=True)
class Row:
    """One atom of the list, not yet repeated by symmetry.

    Attributes:
        label, species: as read; isotopes keep their symbol.
        line: in the file.
        position: fractional.
        rounding: what the last digits of the position hide, per axis.
        occupancy: from 0 to 1, or above where the file is wrong.
        has_occupancy: whether the file states it.
        disorder: assembly and group; None where no group is given.
        multiplicity: stated number of positions in the cell; None where it is not.
    """

    label: str
    species: str
    line: int
    position: tuple[float, float, float]
    rounding: tuple[float, float, float]
    occupancy: float
    has_occupancy: bool
    disorder: tuple[str, str] | None
    multiplicity: int | None


@dataclass(frozen=True)
class AtomList:
    """The rows of a block and what is to be said of them.

    Attributes:
        rows: the atoms.
        notes: sentences about what was left out or guessed.
        attached_hydrogens: that the list counts but does not place, times occupancy, per row.
    """

    rows: Sequence[Row]
    notes: Sequence[str]
    attached_hydrogens: Sequence[float]


def atom_list(block: Block, formula: Mapping[str, float] | None) -> AtomList:
    """Return the atoms that a block lists.

    Args:
        block: of the file.
        formula: the stated one, for labels that can be two elements.

    Raises:
        InputError: naming the label and line of a row that cannot be read.
    """
    table = block.table(*COORDINATES)
    if table is None:
        raise InputError(f"{block.title} holds no atoms (no _atom_site_fract_x): give another")
    refuse_misspelt(block)
    for name in COORDINATES:
        if name not in table.columns:
            raise InputError(f"{block.title} has no {name}: add this column to its list of atoms")
    if TYPE not in table.columns and LABEL not in table.columns:
        raise InputError(
            f"the atoms of {block.title} have neither labels nor type symbols: add a column "
            "_atom_site_type_symbol"
        )
    rows, hydrogens = [], []
    groups: dict[str, list[str]] = {}
    dummies: list[str] = []
    for index in range(len(table)):
        symbol = table.cell(TYPE, index).strip()
        label = table.cell(LABEL, index).strip()
        label = symbol if label in ("", *UNKNOWN) else label
        where = f"{label!r} in {block.title}, line {table.lines[index]},"
        if table.cell(KIND, index).strip() == "dum":
            dummies.append(label)
            continue
        named = named_species(None if symbol in ("", *UNKNOWN) else symbol, label, formula, where)
        if not named.symbol:
            dummies.append(label)
            continue
        row = _row(table, index, label, _isotope(table, index, named.symbol), where)
        if row.occupancy == 0:
            continue
        if named.group:
            groups.setdefault(f"{named.group} as {named.symbol}", []).append(label)
        rows.append(row)
        count = number(table.cell(HYDROGENS, index))
        hydrogens.append(max(count or 0.0, 0.0) * row.occupancy)
    return AtomList(rows, [*_group_notes(block, groups), *_dummy_notes(block, dummies)], hydrogens)


def _row(table: Table, index: int, label: str, species: str, where: str) -> Row:
    texts = [table.cell(name, index).strip() for name in COORDINATES]
    values = []
    for name, text in zip(COORDINATES, texts, strict=True):
        value = coordinate(text)
        if value is None or abs(value) > 1e6:
            raise InputError(
                f"{where} has {text!r} for the coordinate {name}: write a number, or leave the "
                "row out"
            )
        values.append(value)
    text = table.cell(OCCUPANCY, index).strip() if OCCUPANCY in table.columns else "1"
    occupancy = number(text)
    if occupancy is None:
        raise InputError(f"{where} has {text!r} for an occupancy: write a number from 0 to 1")
    if occupancy < 0:
        raise InputError(
            f"{where} has the negative occupancy {text}: write a number from 0 to 1, or leave the "
            "row out"
        )
    rounding = [
        0.0 if _is_exact(value, text) else last_digit(text)
        for value, text in zip(values, texts, strict=True)
    ]
    group, assembly = table.cell(DISORDER, index).strip(), table.cell(ASSEMBLY, index).strip()
    multiplicity = next(
        (number(table.cell(name, index)) for name in MULTIPLICITIES if name in table.columns), None
    )
    return Row(
        label,
        species,
        table.lines[index],
        (values[0], values[1], values[2]),
        (rounding[0], rounding[1], rounding[2]),
        1.0 if abs(occupancy - 1.0) < SUM_TOLERANCE else occupancy,
        OCCUPANCY in table.columns,
        None if group in ("", "0", *UNKNOWN) else (assembly, group),
        None if multiplicity is None else round(multiplicity),
    )


def _is_exact(value: float, text: str) -> bool:
    short = len(text.partition(".")[2]) <= 4 and "e" not in text.lower()
    return "/" in text or (short and abs(_EXACT * value - round(_EXACT * value)) < 1e-9)


def _isotope(table: Table, index: int, symbol: str) -> str:
    mass = number(table.cell(MASS, index))
    return symbol if not mass or mass < 0 else f"{symbol}[{mass:.6f}]"


def refuse_misspelt(block: Block) -> None:
    """Refuse names that are nearly those of the dictionary: a misspelt column would not be read.

    Raises:
        InputError: naming it.
    """
    names = block.names()
    absent = [name for name in MATTERING if name not in names]
    for name in names:
        if name in MATTERING or name in ALLOWED:
            continue
        close = get_close_matches(name, absent, n=1, cutoff=0.92)
        occupancy = name.startswith("_atom_site_") and (
            name.removeprefix("_atom_site_").startswith(("occ", "sof", "site_occ"))
        )
        if close or (occupancy and OCCUPANCY in absent):
            raise InputError(
                f"{block.title} has {name}{_at(block, name)}, which no CIF dictionary has: did you "
                f"mean {(close or [OCCUPANCY])[0]}? Correct the name"
            )


def _at(block: Block, name: str) -> str:
    line = block.line_of(name)
    return f" (line {line})" if line else ""


def _group_notes(block: Block, groups: Mapping[str, Sequence[str]]) -> list[str]:
    if not groups:
        return []
    listed = "; ".join(f"{_some(labels)}: {kind}" for kind, labels in groups.items())
    return [
        f"{block.title} has groups of atoms for type symbols ({listed}): their hydrogens are "
        "there only if the file lists them by themselves; add the others"
    ]


def _dummy_notes(block: Block, dummies: Sequence[str]) -> list[str]:
    if not dummies:
        return []
    return [
        f"{block.title} has dummy atoms ({_some(dummies)}), which were left out: give the type "
        "symbol of an element to those that are atoms"
    ]


def _some(labels: Sequence[str]) -> str:
    """Return a few labels, and how many more there are."""
    more = f" and {len(labels) - 4} more" if len(labels) > 4 else ""
    return ", ".join(labels[:4]) + more
