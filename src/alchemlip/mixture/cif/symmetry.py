"""The symmetry operations of a CIF: those it lists, or else those of its Hall or H-M symbol.

What a symbol leaves open (origin choice, rhombohedral axes) comes back as several candidates; the
file's own numbers decide between them in `alchemlip.mixture.cif.reading`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.cif.blocks import UNKNOWN, Block, number

LISTED = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
SYMBOLS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m_ref",
    "_space_group_name_h-m_full",
    "_space_group_name_h-m",
    "_symmetry_space_group_name_h-m_alt",
)
NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
SUPERSPACE = (
    "_cell_modulation_dimension",
    "_cell_wave_vector",
    "_cell_subsystems_number",
    "_space_group_ssg",
    "_space_group_symop_ssg",
    "_symmetry_ssg",
    "_atom_site_displace_fourier",
    "_atom_site_occ_fourier",
)
MAGNETIC = (
    "_space_group_magn",
    "_space_group_symop_magn",
    "_space_group_symop_magn_operation",
    "_symmetry_magn",
    "_parent_space_group",
)
METRIC_TOLERANCE = 0.02
"""Relative deviation of the metric at which a cell no longer has a group's shape."""
MOST_OPERATIONS = 1536
"""More than any space group has in a cell of its own (192), with room for larger cells."""
_SUFFIX = re.compile(r"\s*(?::\s*|\(?\borigin(?:\s+choice)?\s*|O)\s*([12HhRr])\)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Operations:
    """The operations of one reading of a file's symmetry.

    Attributes:
        name: what messages call it, such as ``F d -3 m:2``.
        rotations: (M, 3, 3) on fractional coordinates.
        translations: (M, 3).
        notes: sentences about how the file was understood.
    """

    name: str
    rotations: IntArray
    translations: FloatArray
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rotations)

    def same_as(self, other: Operations) -> bool:
        """Whether two are the same set, whatever the order."""
        return self._keys() == other._keys()

    def within(self, other: Operations) -> bool:
        """Whether these are some of the other's."""
        return self._keys() < other._keys()

    def _keys(self) -> set[tuple[int, ...]]:
        shifts = np.rint(24 * self.translations).astype(int) % 24
        return {
            (*r.reshape(-1).tolist(), *t.tolist())
            for r, t in zip(self.rotations, shifts, strict=True)
        }


def refuse_other_symmetry(block: Block) -> None:
    """Refuse modulated and magnetic structures, whose symmetry is no space group's.

    Raises:
        InputError: naming the data item.
    """
    for name in block.names():
        said = block.value(name) or (None if name in block.values else "a loop")
        if said in (None, "0"):
            continue
        if name.startswith(SUPERSPACE):
            raise InputError(
                f"{block.title} is a modulated structure ({name}{_line(block, name)}), which no "
                "three-dimensional cell holds: give a commensurate approximant"
            )
        if name.startswith(MAGNETIC):
            raise InputError(
                f"{block.title} has magnetic symmetry ({name}{_line(block, name)}), whose "
                "operations are not read: give the structure in P1, or with the operations of its "
                "space group (_space_group_symop_operation_xyz)"
            )


def candidate_operations(block: Block, metric: FloatArray) -> list[Operations]:
    """Return the readings of a block's symmetry that fit its cell; none if it says nothing.

    Args:
        block: of the file.
        metric: (3, 3) scalar products of the cell vectors.

    Raises:
        InputError: if the symmetry is unknown, contradicts itself or the cell, or is no group.
    """
    listed = _listed(block)
    named = _named(block, metric, needed=listed is None)
    if listed is None:
        return named
    _refuse_unfitting([listed], block, metric)
    if any(listed.same_as(other) for other in named) or not named:
        return [listed]
    larger = next((other for other in named if listed.within(other)), None)
    if len(named) and named[0].name and len(listed) != len(named[0]):
        note = (
            f"{block.title} lists {len(listed)} symmetry operations but names {named[0].name}, "
            f"which has {len(named[0])}: the listed ones were taken"
        )
        first = Operations(listed.name, listed.rotations, listed.translations, (note,))
        return [first, *([larger] if larger else [])]
    return [listed]


def _listed(block: Block) -> Operations | None:
    """Return the operations that a block lists; None if it lists none."""
    import gemmi

    name = next((name for name in LISTED if name in block.names()), None)
    if name is None:
        return None
    table = block.table(name)
    assert table is not None
    found = []
    for text, line in zip(table.columns[name], table.lines, strict=True):
        if text.strip() in UNKNOWN:
            continue
        try:
            found.append(gemmi.Op(re.sub(r"['\"\s]", "", text).lower()).wrap())
        except (RuntimeError, ValueError) as error:
            raise InputError(
                f"{block.title} lists the symmetry operation {text!r} at line {line}, which cannot "
                "be read: write it such as -x,y+1/2,-z"
            ) from error
    if not found:
        return None
    unique = list({op.triplet(): op for op in found}.values())
    rotations = np.array([op.rot for op in unique]) // gemmi.Op.DEN
    listed = Operations("its listed operations", rotations, _shifts(unique))
    _check_group(listed, block, table.lines[0])
    return listed


def _check_group(listed: Operations, block: Block, line: int) -> None:
    """Refuse operations that are no group: one of them is missing or mistyped."""
    keys = listed._keys()
    place = f"the symmetry operations that {block.title} lists from line {line} on"
    identity = (*np.eye(3, dtype=int).reshape(-1).tolist(), 0, 0, 0)
    if len(listed) > MOST_OPERATIONS:
        raise InputError(f"{place} are {len(listed)}, more than any space group has: correct them")
    shifts = np.rint(24 * listed.translations).astype(int)
    good = identity in keys and all(abs(round(np.linalg.det(r))) == 1 for r in listed.rotations)
    if good:
        r = listed.rotations
        products = np.einsum("aij,bjk->abik", r, r).reshape(-1, 9)
        moved = (np.einsum("aij,bj->abi", r, shifts) + shifts[:, None, :]) % 24
        rows = np.concatenate([products, moved.reshape(-1, 3)], axis=1)
        good = {tuple(row) for row in np.unique(rows, axis=0).tolist()} == keys
    if not good:
        raise InputError(
            f"{place} are no group: one is missing or mistyped; list all of them, or leave the "
            "list out and name the space group"
        )


def _named(block: Block, metric: FloatArray, *, needed: bool) -> list[Operations]:
    """Return the readings of the Hall symbol, the H-M symbol or the number."""
    import gemmi

    hall = block.value(*HALL)
    symbol = block.value(*SYMBOLS)
    it_number = block.value(*NUMBERS)
    found: list[Operations] = []
    if hall is not None:
        try:
            operations = list(gemmi.symops_from_hall(hall))
            found = [Operations(f"the Hall symbol {hall!r}", *_arrays(operations))]
        except (RuntimeError, ValueError) as error:
            if needed and symbol is None:
                raise InputError(
                    f"{block.title} has the Hall symbol {hall!r}{_line(block, *HALL)}, which is "
                    "unknown: list the symmetry operations (_space_group_symop_operation_xyz)"
                ) from error
    if not found and symbol is not None:
        groups = _groups_of(symbol, metric)
        if not groups and needed:
            raise InputError(
                f"{block.title} has the space group {symbol!r}{_line(block, *SYMBOLS)}, which is "
                "unknown, and lists no symmetry operations: correct the symbol, or list them "
                "(_space_group_symop_operation_xyz)"
            )
        if it_number is not None and groups and needed:
            value = number(it_number)
            if value is not None and all(group.number != value for group in groups):
                raise InputError(
                    f"{block.title} names the space group {symbol!r} and the number {it_number}, "
                    f"which is another ({groups[0].xhm()} is {groups[0].number}): correct one"
                )
        found = [Operations(group.xhm(), *_arrays(list(group.operations()))) for group in groups]
    if not found and symbol is None and it_number is not None:
        value = number(it_number)
        standard = gemmi.find_spacegroup_by_number(int(value)) if value else None
        groups = [] if standard is None else _settings(standard)
        if not groups and needed:
            raise InputError(
                f"{block.title} has the space group number {it_number}{_line(block, *NUMBERS)}, "
                "but there are 1 to 230: correct it"
            )
        found = [Operations(group.xhm(), *_arrays(list(group.operations()))) for group in groups]
    return _refuse_unfitting(found, block, metric) if needed and found else found


def _settings(group: Any) -> list[Any]:
    """Return a group with every origin and axes that its symbol leaves open."""
    import gemmi

    return [other for other in gemmi.spacegroup_table() if other.hm == group.hm]


def _groups_of(symbol: str, metric: FloatArray) -> list[Any]:
    """Return the settings that an H-M symbol can mean, of gemmi's table."""
    import gemmi

    # P 2_1/c and P2(1)/c are P 21/c.
    text = re.sub(r"\((\d)\)", r"\1", symbol.replace("_", "")).strip()
    choice = ""
    match = _SUFFIX.search(text)
    if match:
        choice, text = match.group(1).upper(), text[: match.start()]
    elif len(text.split()) > 1 and text.split()[-1] in ("S", "Z", "H", "R", "HR", "RS"):
        # The ICSD's: S and Z for the first and second origin, H and R for the axes.
        *words, last = text.split()
        choice = {"S": "1", "Z": "2", "HR": "H", "RS": "R"}.get(last, last)
        text = " ".join(words)
    lengths = np.sqrt(np.diag(metric))
    cosines = [metric[1, 2] / lengths[1] / lengths[2], metric[0, 1] / lengths[0] / lengths[1]]
    alpha, gamma = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
    try:
        group = gemmi.find_spacegroup_by_name(text, float(alpha), float(gamma))
    except (RuntimeError, ValueError):
        return []
    if group is None:
        return []
    settings = _settings(group)
    named = [other for other in settings if choice and other.ext == choice]
    if choice and not named and len(settings) > 1:
        return []
    return named or settings


def _refuse_unfitting(
    found: Sequence[Operations], block: Block, metric: FloatArray
) -> list[Operations]:
    """Return the readings whose rotations keep the cell's metric.

    Raises:
        InputError: if none does.
    """
    fitting = [item for item in found if _misfit(item, metric) < METRIC_TOLERANCE]
    if not fitting:
        a, b, c = np.sqrt(np.diag(metric))
        raise InputError(
            f"the cell of {block.title} ({a:.4g}, {b:.4g}, {c:.4g} Å) does not have the symmetry "
            f"of {found[0].name}: correct the cell or the symmetry"
        )
    return fitting


def _misfit(operations: Operations, metric: FloatArray) -> float:
    r = operations.rotations
    turned = np.einsum("aji,jk,akl->ail", r, metric, r)
    scale = np.sqrt(np.outer(np.diag(metric), np.diag(metric)))
    return float(np.abs((turned - metric) / scale).max())


def _arrays(operations: Sequence[Any]) -> tuple[IntArray, FloatArray]:
    import gemmi

    wrapped = [op.wrap() for op in operations]
    return np.array([op.rot for op in wrapped]) // gemmi.Op.DEN, _shifts(wrapped)


def _shifts(operations: Sequence[Any]) -> FloatArray:
    import gemmi

    return np.array([op.tran for op in operations], dtype=float) / gemmi.Op.DEN


def _line(block: Block, *names: str) -> str:
    line = max((block.line_of(name) for name in names), default=0)
    return f", line {line}" if line else ""
