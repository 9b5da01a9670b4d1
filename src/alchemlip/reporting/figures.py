"""Plots as plain Plotly dictionaries: traces that say what they are by more than their colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.reporting.content import Trace

SERIES = ("@line", "@warm", "@third", "@fourth")
SYMBOLS = ("circle", "square", "diamond", "triangle-up")
DASHES = ("solid", "dash", "dot", "dashdot")
POINTS_DRAWN = 400


def plain(text: str) -> str:
    """Return a text that Plotly shows as it is; it reads some HTML."""
    return escape(text, quote=False)


def numbers(values: Any) -> list[float | None]:
    """Return values as JSON numbers, None where there is none."""
    return [
        float(value) if value is not None and np.isfinite(value) else None
        for value in (list(values) if not isinstance(values, np.ndarray) else values.tolist())
    ]


def series(
    x: Any,
    y: Any,
    name: str,
    number: int = 0,
    *,
    mode: str = "lines+markers",
    error: Any = None,
    hollow: Sequence[bool] | None = None,
    **more: Any,
) -> Trace:
    """Return points or a line, told from others by colour, symbol and dash.

    Args:
        x, y: coordinates.
        name: in the legend.
        number: of the series, which chooses how it looks.
        mode: of Plotly.
        error: of y, drawn as bars.
        hollow: points drawn open.
        more: of Plotly.
    """
    colour = SERIES[number % len(SERIES)]
    symbol = SYMBOLS[number % len(SYMBOLS)]
    symbols: Any = symbol
    if hollow is not None:
        symbols = [f"{symbol}-open" if is_open else symbol for is_open in hollow]
    trace: Trace = {
        "type": "scatter",
        "x": numbers(x),
        "y": numbers(y),
        "name": plain(name),
        "mode": mode,
        "line": {"color": colour, "width": 2, "dash": DASHES[number % len(DASHES)]},
        "marker": {"color": colour, "size": 7, "symbol": symbols},
    }
    if error is not None:
        trace["error_y"] = {
            "array": numbers(error),
            "color": colour,
            "thickness": 1.5,
            "width": 4,
        }
    return trace | more


def band(x: Any, low: Any, high: Any, name: str) -> Trace:
    """Return the area between two lines."""
    low, high = numbers(low), numbers(high)
    along = numbers(x)
    return {
        "type": "scatter",
        "x": along + along[::-1],
        "y": high + low[::-1],
        "name": plain(name),
        "mode": "lines",
        "line": {"width": 0, "color": "@line"},
        "fill": "toself",
        "fillcolor": "@shade",
        "hoverinfo": "skip",
    }


def axes(x: str, y: str, **more: Any) -> dict[str, Any]:
    """Return a layout with titled axes.

    Args:
        x, y: titles, with units.
        more: of Plotly's layout; a dictionary for an axis is added to it.
    """
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": plain(x)}},
        "yaxis": {"title": {"text": plain(y)}},
    }
    for key, value in more.items():
        own = layout.get(key)
        layout[key] = own | value if isinstance(own, dict) else value
    return layout


def level(y: float = 0.0) -> dict[str, Any]:
    """Return a thin horizontal line over the whole width."""
    return {
        "type": "line",
        "xref": "paper",
        "x0": 0,
        "x1": 1,
        "y0": y,
        "y1": y,
        "line": {"color": "@faint", "width": 1, "dash": "dash"},
        "layer": "below",
    }


def upright(x: float, dash: str = "solid") -> dict[str, Any]:
    """Return a thin vertical line over the whole height."""
    return {
        "type": "line",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "x0": x,
        "x1": x,
        "line": {"color": "@ink", "width": 1.5, "dash": dash},
    }


def stripe(low: float, high: float) -> dict[str, Any]:
    """Return a shaded vertical stripe."""
    return {
        "type": "rect",
        "yref": "paper",
        "y0": 0,
        "y1": 1,
        "x0": low,
        "x1": high,
        "line": {"width": 0},
        "fillcolor": "@shade",
        "layer": "below",
    }


def thinned(count: int, most: int = POINTS_DRAWN) -> slice:
    """Return which of many points are drawn."""
    return slice(None, None, max(1, -(-count // most)))


def span_of(name: str, values: FloatArray | Sequence[float], unit: str) -> str:
    """Say from where to where values go, for the description of a plot."""
    finite = np.array([value for value in values if value is not None and np.isfinite(value)])
    if len(finite) == 0:
        return f"{name}: no values yet."
    low, high = f"{finite.min():.4g}", f"{finite.max():.4g}"
    unit = f" {unit}" if unit else ""
    if low == high:
        return f"{name} is {low}{unit} throughout.".replace("-", "−")
    return f"{name} goes from {low} to {high}{unit}.".replace("-", "−")


def ternary(
    x: FloatArray, values: Any, labels: Sequence[str], name: str, hollow: Sequence[bool]
) -> tuple[tuple[Trace, ...], dict[str, Any]]:
    """Return points in a composition triangle, coloured by a value that also stands beside them.

    Args:
        x: (P, 3) compositions.
        values: (P,).
        labels: of the corners.
        name: of the values, with unit.
        hollow: points drawn open.
    """
    corners: Mapping[str, Any] = {
        key: numbers(x[:, index]) for index, key in enumerate(("a", "b", "c"))
    }
    trace: Trace = {
        "type": "scatterternary",
        **corners,
        "mode": "markers+text",
        "text": [f"{value:.3g}".replace("-", "−") for value in values],
        "textposition": ["middle right" if row[0] == 1.0 else "top center" for row in x.tolist()],
        "textfont": {"size": 10},
        "name": plain(name),
        "marker": {
            "color": numbers(values),
            "colorscale": "Viridis",
            "showscale": True,
            "size": 13,
            "symbol": ["circle-open" if is_open else "circle" for is_open in hollow],
            "line": {"width": 1, "color": "@ink"},
            "colorbar": {"title": {"text": plain(name), "side": "right"}, "thickness": 12},
        },
        "hovertemplate": "<br>".join(
            f"{plain(label)} %{{{key}:.3f}}" for label, key in zip(labels, "abc", strict=True)
        )
        + "<br>%{text}<extra></extra>",
        "cliponaxis": False,
    }
    corners_named: Trace = {
        "type": "scatterternary",
        **{key: [float(key == corner) for corner in "abc"] for key in "abc"},
        "mode": "text",
        # A line between the name and the point.
        "text": [
            f"<b>{plain(label)}</b><br> " if first else f" <br><b>{plain(label)}</b>"
            for first, label in zip((True, False, False), labels, strict=True)
        ],
        "textposition": ["top center", "bottom center", "bottom center"],
        "textfont": {"size": 14},
        "hoverinfo": "skip",
        "showlegend": False,
        "cliponaxis": False,
    }
    # The values stand beside the points, where tick labels would be in their way.
    bare = {"showticklabels": False, "ticks": "", "title": {"text": ""}}
    layout = {
        "ternary": {"sum": 1, **{f"{key}axis": bare for key in "abc"}},
        "showlegend": False,
    }
    return (trace, corners_named), layout
