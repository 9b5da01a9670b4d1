"""The blocks of a CIF as its text gives them: values by name, loops by row, and their lines.

    blocks = read_blocks(text, "NaCl.cif")
    block, others = chosen_block(blocks, "NaCl.cif", None)
    block.value("_cell_length_a"), block.table("_atom_site")

Nothing is interpreted here. Names are lower case, and the dots of DDLm names are underscores, so
that ``_cell.length_a`` of a new dictionary is ``_cell_length_a`` of the old one.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError

UNKNOWN = ("?", ".")
"""What a CIF writes for a value that is unknown, or that does not apply."""
STRUCTURAL = ("_cell_", "_atom_site_", "_symmetry_", "_space_group_", "_chemical_formula_sum")
"""Beginnings of the names that decide what the structure is: none may say two things."""
COORDINATES = ("_atom_site_fract_x", "_atom_site_fract_y", "_atom_site_fract_z")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_UNCERTAINTY = re.compile(r"\(\d*\.?\d*\)$")
_PLACE = re.compile(r"^[^:]*:(\d+)(?::\d+\(\d+\))?(?: in [^:]*)?:?\s*(.*)$", re.DOTALL)


@dataclass(frozen=True)
class Table:
    """A loop, or the single row that names without a loop make.

    Attributes:
        columns: values of each name, as texts without their quotes.
        lines: line of each row.
    """

    columns: Mapping[str, Sequence[str]]
    lines: Sequence[int]

    def __len__(self) -> int:
        return len(self.lines)

    def cell(self, name: str, row: int) -> str:
        """Return a value; ``?`` where the loop has no such column."""
        column = self.columns.get(name)
        return "?" if column is None else column[row]


@dataclass(frozen=True)
class Block:
    """A data block.

    Attributes:
        file: name of the file, for messages.
        name: of the block.
        line: where it begins; 0 where that cannot be told.
        values: (value, line) of each name outside a loop.
        loops: its loops.
    """

    file: str
    name: str
    line: int
    values: Mapping[str, tuple[str, int]]
    loops: Sequence[Table]

    @property
    def title(self) -> str:
        """What messages call the block."""
        return f"block {self.name!r} of {self.file!r}"

    def names(self) -> list[str]:
        """Return every name that the block uses."""
        return [*self.values, *(name for loop in self.loops for name in loop.columns)]

    def value(self, *names: str) -> str | None:
        """Return the first known value of some names; a loop of one row counts."""
        for name in names:
            found = self.values.get(name)
            if found is None:
                loop = self.loop_of(name)
                found = (loop.columns[name][0], 0) if loop is not None and len(loop) == 1 else None
            if found is not None and found[0].strip() not in ("", *UNKNOWN):
                return found[0].strip()
        return None

    def line_of(self, name: str) -> int:
        """Return the line of a name; 0 where that cannot be told."""
        if name in self.values:
            return self.values[name][1]
        loop = self.loop_of(name)
        return loop.lines[0] if loop is not None and len(loop) else 0

    def loop_of(self, name: str) -> Table | None:
        """Return the loop that has a column of this name."""
        return next((loop for loop in self.loops if name in loop.columns), None)

    def table(self, *names: str) -> Table | None:
        """Return the loop, or the single row, that holds one of some names."""
        for name in names:
            loop = self.loop_of(name)
            if loop is not None:
                return loop
        present = [name for name in names if name in self.values]
        if not present:
            return None
        prefix = present[0].rpartition("fract_x")[0] or present[0]
        alone = {name: [pair[0]] for name, pair in self.values.items() if name.startswith(prefix)}
        return Table(alone, [self.values[present[0]][1]])


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a CIF.

    Raises:
        InputError: if the text is no CIF; the sentence names the line.
    """
    from gemmi import cif

    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"cannot read the structure file {str(path)!r} ({error}): check it"
        ) from error
    text = _decoded(data)
    file = path.name
    if not text.strip():
        raise InputError(f"cannot read the structure file {str(path)!r}: it is empty")
    try:
        document = cif.read_string(text, 0)  # what occurs twice is judged below
        return [_block(file, block, text.splitlines()) for block in document]
    except InputError:
        raise
    except (ValueError, RuntimeError, UnicodeDecodeError) as error:
        match = _PLACE.match(str(error).strip())
        line, reason = match.groups() if match else ("", str(error).strip())
        place = f" at line {line}" if line and line != "0" else ""
        raise InputError(
            f"cannot read the structure file {str(path)!r}: it is no CIF{place} "
            f"({' '.join(reason.split()) or 'damaged'}); correct it there"
        ) from error


def _decoded(data: bytes) -> str:
    for name in ("utf-8-sig", "cp1252"):
        try:
            text = data.decode(name)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = data.decode("latin-1")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    # CIF 1.1 is ASCII; accents stand in names of authors, which nothing here reads.
    return "".join(
        character if character < "\x7f" else "-" if character in "\u2212\u2013" else "_"
        for character in text
    )


def _block(file: str, block: Any, lines: Sequence[str]) -> Block:
    from gemmi import cif

    values: dict[str, tuple[str, int]] = {}
    loops = []
    for item in block:
        if item.pair is not None:
            name, value = item.pair
            text = cif.as_string(value) if quoted(value) else value
            old = values.get(plain(name), (text, item.line_number))
            if old[0].strip() in UNKNOWN or not old[0].strip():
                old = (text, item.line_number)
            said = text.strip() not in ("", *UNKNOWN)
            if said and old[0] != text and plain(name).startswith(STRUCTURAL):
                raise InputError(
                    f"the block {block.name.strip()!r} of {file!r} has {name} twice, {old[0]!r} "
                    f"(line {old[1]}) and {text!r} (line {item.line_number}): delete one"
                )
            values[plain(name)] = old
        elif item.loop is not None:
            loops.append(_table(item, lines))
    names = [*values, *(name for loop in loops for name in loop.columns)]
    twice = [name for name in set(names) if names.count(name) > 1 and name.startswith(STRUCTURAL)]
    if twice:
        raise InputError(
            f"the block {block.name.strip()!r} of {file!r} has {min(twice)} twice: delete one of "
            "its lists"
        )
    first = min((pair[1] for pair in values.values()), default=0)
    return Block(file, block.name.strip(), first, values, loops)


def _table(item: Any, lines: Sequence[str]) -> Table:
    from gemmi import cif

    tags = [plain(tag) for tag in item.loop.tags]
    texts = [cif.as_string(v) if quoted(v) else v for v in item.loop.values]
    width = len(tags)
    if len(set(tags)) < width:
        twice = max(tags, key=tags.count)
        raise InputError(f"a loop at line {item.line_number} has the column {twice} twice")
    columns = {tag: texts[i::width] for i, tag in enumerate(tags)}
    return Table(columns, _row_lines(columns[tags[0]], item.line_number, lines))


def _row_lines(first: Sequence[str], start: int, lines: Sequence[str]) -> list[int]:
    """Return the line of each row: the next one that begins with the row's first value."""
    result = []
    at = start  # lines count from 1: this is the one behind loop_
    for value in first:
        there = at
        while there < len(lines):
            words = lines[there].split(None, 1)
            there += 1
            if words and words[0].strip("'\"") == (value.split() or [""])[0]:
                at = there
                break
        result.append(at)
    return result


def plain(name: str) -> str:
    """Return the name of a data item without regard to case and dictionary."""
    return name.lower().replace(".", "_")


def quoted(value: str) -> bool:
    """Whether a raw value stands in quotes or in a text field."""
    return value[:1] in ("'", '"', ";")


def number(text: str) -> float | None:
    """Return a number without its standard uncertainty, ``0.33(2)``; None for any other text."""
    bare = _UNCERTAINTY.sub("", text.strip())
    if not _NUMBER.fullmatch(bare):
        return None
    value = float(bare)
    return value if abs(value) < 1e15 else None


def last_digit(text: str) -> float:
    """Return half a unit of the last digit of a number: what its rounding hides."""
    bare = _UNCERTAINTY.sub("", text.strip()).lower()
    mantissa, _, exponent = bare.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(0.5 * 10.0 ** min(int(exponent or 0) - decimals, 0))


def _places_atoms(block: Block) -> bool:
    """Whether a block has coordinates, and not only places for them."""
    table = block.table(*COORDINATES)
    columns = [] if table is None else [table.columns.get(name, ()) for name in COORDINATES]
    return any(text.strip() not in ("", *UNKNOWN) for column in columns for text in column)


def coordinate(text: str) -> float | None:
    """Return a number, also one such as 1/4."""
    first, slash, second = text.partition("/")
    if slash and first.lstrip("-").isdecimal() and second.isdecimal() and int(second) > 0:
        return int(first) / int(second)
    return number(text)


def chosen_block(
    blocks: Sequence[Block], path: Path, wanted: str | None
) -> tuple[Block, list[str]]:
    """Return the block to read, and the names of the others that hold a structure.

    Raises:
        InputError: if there is none, or none of the name wanted.
    """
    holding = [block for block in blocks if _places_atoms(block)]
    if wanted is not None:
        name = wanted.removeprefix("data_").lower()
        found = [block for block in blocks if block.name.lower() == name]
        if not found:
            known = ", ".join(block.name for block in holding) or "none with atoms"
            raise InputError(
                f"the structure file {str(path)!r} has no block {wanted!r}: its blocks are {known}"
            )
        return found[0], []
    if not holding:
        names = [name for block in blocks for name in block.names()]
        if any(name.startswith("_atom_site_cartn") for name in names):
            raise InputError(
                f"the structure file {str(path)!r} gives Cartesian positions "
                "(_atom_site.Cartn_x), as files of macromolecules do: give fractional ones "
                "(_atom_site_fract_x)"
            )
        raise InputError(
            f"the structure file {str(path)!r} holds no atoms (no _atom_site_fract_x with "
            "numbers): give another file"
        )
    return holding[0], [block.name for block in holding[1:]]
