"""Docstrings as the package writes them, in reStructuredText.

Indented lines are formulas or code, lines in columns are a table from symbol to variable: both
stay as they are. Bars are absolute values.
"""

from __future__ import annotations

import ast
import re
from itertools import groupby
from textwrap import dedent
from typing import Any

from sphinx.application import Sphinx

SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Example|Examples|Note|Notes):$")
COLUMNS = re.compile(r"^\S.*\S {2,}\S")


def prepare(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Rewrite a docstring before napoleon reads it."""
    end = next((i for i, line in enumerate(lines) if SECTION.match(line)), len(lines))
    text, sections = lines[:end], lines[end:]
    prepared: list[str] = []
    for blank, group in groupby(text, key=lambda line: not line.strip()):
        paragraph = list(group)
        if not blank and (paragraph[0][:1] == " " or is_table(paragraph)):
            prepared += literal(paragraph)
        elif not blank and any(line[:2] == "  " for line in paragraph[1:]):
            first = next(i for i, line in enumerate(paragraph) if line[:2] == "  ")
            prepared += [*map(escaped, paragraph[:first]), "", *literal(paragraph[first:])]
        else:
            prepared += map(escaped, paragraph)
    lines[:] = [*prepared, *map(escaped, sections)]


def literal(paragraph: list[str]) -> list[str]:
    """Return lines as a block of code, Python where they are."""
    try:
        ast.parse(dedent("\n".join(paragraph)))
        language = "python"
    except SyntaxError:
        language = "text"
    return [f".. code-block:: {language}", "", *("    " + line for line in paragraph), ""]


def is_table(paragraph: list[str]) -> bool:
    """Return whether most lines stand in columns."""
    return sum(bool(COLUMNS.match(line)) for line in paragraph) > max(1, len(paragraph) // 3)


def escaped(line: str) -> str:
    """Return a line whose bars, outside of literals, are no substitutions."""
    parts = line.split("``")
    parts[::2] = [part.replace("|", "\\|") for part in parts[::2]]
    return "``".join(parts)


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of docstrings, before napoleon."""
    app.connect("autodoc-process-docstring", prepare, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
