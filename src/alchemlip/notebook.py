"""Small tables that notebooks show in place of an object's text."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

MOST_ROWS = 60


def html_table(caption: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Return an HTML table; all texts are escaped, and long tables end after 60 rows.

    Args:
        caption: above it.
        columns: headings; none for a table of names and values.
        rows: texts and numbers; None is an empty cell.
    """
    parts = [f"<table><caption>{escape(caption)}</caption>"]
    if columns:
        heads = "".join(f'<th scope="col">{escape(column)}</th>' for column in columns)
        parts.append(f"<thead><tr>{heads}</tr></thead>")
    parts.append("<tbody>")
    for row in rows[:MOST_ROWS]:
        first, *others = (escape(_text(value)) for value in row)
        cells = "".join(f"<td>{cell}</td>" for cell in others)
        parts.append(f'<tr><th scope="row">{first}</th>{cells}</tr>')
    parts.append("</tbody></table>")
    if len(rows) > MOST_ROWS:
        parts.append(f"<p>and {len(rows) - MOST_ROWS} more</p>")
    return "".join(parts)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
