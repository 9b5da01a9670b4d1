"""Fields of settings (pydantic models) in the API reference, with their descriptions."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from sphinx.application import Sphinx


def add_fields(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Append the fields of a settings class to its docstring."""
    if what != "class" or not (isinstance(obj, type) and issubclass(obj, BaseModel)):
        return
    if any(line.startswith(":ivar") for line in lines):
        return  # its docstring has them
    lines.append("")
    for field, details in obj.model_fields.items():
        default = "required" if details.is_required() else f"default ``{details.default!r}``"
        lines.append(f":ivar {field}: {details.description or ''} ({default})")
    lines.append("")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of docstrings."""
    app.connect("autodoc-process-docstring", add_fields, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
