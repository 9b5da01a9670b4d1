"""What a report says, as plain data: no HTML, no files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

Trace = dict[str, Any]
"""A trace as Plotly describes it; colours may be the names of `COLOURS`."""

COLOURS = ("ink", "faint", "line", "warm", "third", "fourth")
"""Colours that the page defines for its light and its dark face, written ``@line`` in a trace."""


@dataclass(frozen=True)
class Quantity:
    """A result in large type.

    Attributes:
        label: what it is.
        value: the number, rounded to what is known of it.
        unit: of it.
        error: its standard error, if it has one.
        note: what else a reader should know, one sentence.
    """

    label: str
    value: str
    unit: str = ""
    error: str = ""
    note: str = ""


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        caption: what it shows.
        columns: headings, with units.
        rows: cells.
        note: what is left out of it, if anything.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A plot.

    Attributes:
        name: unique in a report; letters, digits and dashes.
        title: short.
        description: what is to be seen, for who cannot see it.
        traces: of Plotly.
        layout: of Plotly; fonts, colours and margins are the page's.
        table: the numbers.
        height: in pixels.
        solid: whether it is drawn in three dimensions.
        directions: of a solid figure, views by name: the direction that one looks from.
    """

    name: str
    title: str
    description: str
    traces: tuple[Trace, ...]
    layout: dict[str, Any]
    table: Table | None = None
    height: int = 380
    solid: bool = False
    directions: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """A part of a report.

    Attributes:
        title: its heading.
        text: paragraphs.
        figures: plots.
        tables: shown at once.
        folded: tables shown on demand.
    """

    title: str
    text: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    folded: tuple[Table, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether it says nothing."""
        return not (self.text or self.figures or self.tables or self.folded)


@dataclass(frozen=True)
class Findings:
    """What one kind of calculation found.

    Attributes:
        quantities: in large type, the first the largest.
        warnings: sentences.
        sections: plots and tables.
    """

    quantities: tuple[Quantity, ...] = ()
    warnings: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()


@dataclass(frozen=True)
class ReportContent:
    """All that a report says.

    Attributes:
        title: what was calculated of what.
        command: name of the calculation.
        status: ``running``, ``finished``, ``failed`` or ``interrupted``.
        status_sentence: what that means here.
        findings: results.
        facts: what was run, (name, value).
        structure: the crystal, if there is one.
        command_line: that runs the same again, word by word, quoted where a shell needs it.
        reproduction: tables of versions, settings and files.
        structure_text: what is to be said of the crystal.
        subtitle: composition and potential.
    """

    title: str
    command: str
    status: str
    status_sentence: str
    findings: Findings
    facts: tuple[tuple[str, str], ...]
    structure: Figure | None
    command_line: tuple[str, ...]
    reproduction: tuple[Table, ...]
    structure_text: tuple[str, ...] = ()
    subtitle: str = ""


def table_of(
    caption: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    most: int = 200,
) -> Table:
    """Return a table of values as texts, thinned evenly if there are too many.

    Args:
        caption: what it shows.
        columns: headings.
        rows: numbers, texts, None for an empty cell.
        most: rows shown.
    """
    chosen, note = list(rows), ""
    if len(rows) > most:
        step = (len(rows) - 1) / (most - 1)
        chosen = [rows[round(step * i)] for i in range(most)]
        note = f"{most} of {len(rows)} rows, evenly spaced; the files of the run hold all."
    return Table(caption, tuple(columns), tuple(tuple(map(text_of, row)) for row in chosen), note)


def text_of(value: Any) -> str:
    """Return a value as a person reads it: 6 digits, a true minus sign."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}".replace("e-0", "e-").replace("-", "−")
    if isinstance(value, int):
        return str(value).replace("-", "−")
    if isinstance(value, list | tuple):
        return ", ".join(text_of(item) for item in value)
    return str(value)


def rounded(value: float, error: float | None = None, digits: int = 4) -> tuple[str, str]:
    """Return a value and its error as texts, both to two digits of the error.

    Args:
        value: the number.
        error: its standard error; without one, the value has ``digits`` decimals.
        digits: decimals.
    """
    import math

    if error is None or not math.isfinite(error) or error <= 0:
        return shown(value, f".{digits}f"), ""
    decimals = max(0, min(8, 1 - math.floor(math.log10(error))))
    return shown(value, f".{decimals}f"), f"{error:.{decimals}f}"


UNITS = (
    ("_eV_per_A2", "eV/Å²"),
    ("_eV_per_A", "eV/Å"),
    ("_eV_per_atom", "eV/site"),
    ("_eV", "eV"),
    ("_GPa", "GPa"),
    ("_A3", "Å³"),
    ("_A", "Å"),
    ("_deg", "°"),
    ("_K", "K"),
    ("_kB", "k_B"),
)


def in_words(name: str) -> str:
    """Return a name that ends in its unit as people write it: ``volume_A3`` is ``volume (Å³)``."""
    for ending, unit in UNITS:
        if name.endswith(ending):
            return f"{name.removesuffix(ending).replace('_', ' ')} ({unit})"
    return name.replace("_", " ")


def power_of_ten(exponent: float) -> str:
    """Return 10 to an exponent as people write it, such as 4.4 × 10⁻²⁴."""
    import math

    whole = math.floor(exponent)
    mantissa = f"{10 ** (exponent - whole):.1f}"
    if mantissa == "10.0":
        mantissa, whole = "1.0", whole + 1
    raised = str(whole).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{raised}"


def shown(value: float, form: str) -> str:
    """Return a formatted number with a true minus sign, and none before a zero."""
    text = format(value, form)
    if text.startswith("-") and not any(digit in text for digit in "123456789"):
        text = text[1:]
    return text.replace("-", "−")
