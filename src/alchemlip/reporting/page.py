"""The content of a report as one HTML page that loads nothing from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from alchemlip import __version__
from alchemlip.errors import InputError
from alchemlip.files import write_atomically
from alchemlip.records.results import now
from alchemlip.reporting.content import Figure, ReportContent, Table

MARKS = {"finished": "■", "running": "…", "failed": "✕", "interrupted": "‖"}


def write_report(folder: str | Path, file: str | Path | None = None) -> Path:
    """Write the report of a run or a campaign; the folder's own files are only read.

    Args:
        folder: results folder of a run in any state, or folder of a campaign.
        file: where the page goes; ``report.html`` in the folder if None.

    Returns:
        The file written.

    Raises:
        InputError: if the folder holds no run, the file cannot be written, or plotly or jinja2 is
            not installed.
    """
    from alchemlip.reporting.composing import content_of

    target = Path(folder) / "report.html" if file is None else Path(file)
    page = render(content_of(Path(folder)))
    try:
        write_atomically(target, page.encode())
    except OSError as error:
        raise InputError(
            f"cannot write {str(target)!r} ({error.strerror}): name another file (--out)"
        ) from error
    return target


def render(content: ReportContent) -> str:
    """Return the page of a report.

    Raises:
        InputError: if plotly or jinja2 is not installed.
    """
    environment, plotly = _packages()
    script = _asset("report.js")
    figures = [figure for section in content.findings.sections for figure in section.figures]
    if content.structure is not None:
        figures.append(content.structure)
    from markupsafe import Markup

    page: str = environment.from_string(_asset("report.html.j2")).render(
        content=content,
        parts=_parts(content),
        mark=MARKS.get(content.status, ""),
        version=__version__,
        written=now().replace("T", " ").removesuffix("+00:00") + " UTC",
        policy=_policy(plotly, script),
        style=Markup(_asset("report.css")),
        figures=Markup(embedded([_plain(figure) for figure in figures])),
        plotly=Markup(plotly),
        script=Markup(script),
    )
    return page


def embedded(value: Any) -> str:
    """Return JSON that no content can end the script element of."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def is_numeric(table: Table, column: int) -> bool:
    """Whether a column of a table holds numbers alone, which stand to the right."""
    cells = [row[column] for row in table.rows]
    shown = [cell for cell in cells if cell != "–"]
    return bool(shown) and all(_is_number(cell) for cell in shown)


def _is_number(text: str) -> bool:
    try:
        float(text.partition(" ± ")[0].replace("−", "-"))
    except ValueError:
        return False
    return True


def _plain(figure: Figure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "traces": figure.traces,
        "layout": figure.layout,
        "height": figure.height,
        "solid": figure.solid,
    }


def _parts(content: ReportContent) -> list[tuple[str, str]]:
    parts = [
        (f"part-{number}", section.title)
        for number, section in enumerate(content.findings.sections, start=1)
    ]
    if content.structure is not None:
        parts.append(("crystal", "The structure"))
    return [*parts, ("run", "What was run"), ("again", "How to run it again")]


def _policy(*scripts: str) -> str:
    """Return a policy under which the browser runs these scripts alone and loads nothing."""
    sums = " ".join(
        "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
        for text in scripts
    )
    return (
        f"default-src 'none'; script-src {sums}; style-src 'unsafe-inline'; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return files("alchemlip.reporting").joinpath(name).read_text(encoding="utf-8")


def _packages() -> tuple[Any, str]:
    """Return a template environment that escapes everything, and Plotly's script."""
    try:
        from jinja2 import Environment, StrictUndefined
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise InputError(
            f"reports need the package {error.name}: pip install 'alchemlip[report]'"
        ) from error
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=False, keep_trailing_newline=True
    )
    environment.filters["is_numeric"] = is_numeric
    plotly = str(get_plotlyjs())
    if "</script" in plotly.lower():  # else it would end its own element
        plotly = plotly.replace("</script", "<\\/script")
    return environment, plotly


__all__: Sequence[str] = ["embedded", "is_numeric", "render", "write_report"]
