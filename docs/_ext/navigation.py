"""Captions in the navigation are headings with a level, as readers of screens need it."""

from __future__ import annotations

from typing import Any

from sphinx.application import Sphinx

LEVEL = 'role="heading" aria-level="2"'


def name_level(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: object
) -> None:
    """Give the headings that Sphinx makes of captions the level that it leaves out."""
    del app, page, template, doctree
    for name in ("furo_navigation_tree", "body"):
        if isinstance(context.get(name), str):
            context[name] = context[name].replace('role="heading">', f"{LEVEL}>")


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect after the theme."""
    app.connect("html-page-context", name_level, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
