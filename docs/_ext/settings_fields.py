"""Fields of settings (pydantic models) in the API reference, with their descriptions.

A page that holds the line ``<!-- calculations -->`` gets every calculation there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx

PLACE = "<!-- calculations -->"


def add_fields(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Append the fields of a settings class to its docstring."""
    if what != "class" or not (isinstance(obj, type) and issubclass(obj, BaseModel)):
        return
    if any(line.startswith(":ivar") for line in lines):
        return  # its docstring has them
    lines[:] = [code(line) for line in lines]
    lines.append("")
    for field, details in obj.model_fields.items():
        value = details.get_default(call_default_factory=True)
        default = "required" if details.is_required() else f"default ``{value!r}``"
        lines.append(f":ivar {field}: {code(details.description or '')} ({default})")
    lines.append("")


def code(text: str) -> str:
    """Return a line with its commands and options as code: two hyphens are no dash."""
    if found := re.match(r"Example: (alchemlip .*)", text):
        return f"Example: ``{found[1]}``"
    return re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"``\g<0>``", text)


def entries() -> str:
    """Return the entries of the calculations in Markdown, in the order of the help."""
    from alchemlip.calculations import REGISTERED, calculation

    return "\n".join(
        f"## {name}\n\n```{{eval-rst}}\n"
        f".. autoclass:: {calculation(command).__module__}.{name}(**settings)\n```\n"
        for command, name in REGISTERED.items()
    )


def insert(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the calculations where a page asks for them."""
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, entries())
        for file in Path(app.srcdir, "src", "alchemlip", "calculations").glob("*.py"):
            app.env.note_dependency(str(file))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of pages and docstrings."""
    app.connect("source-read", insert)
    app.connect("autodoc-process-docstring", add_fields, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
