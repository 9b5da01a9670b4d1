"""Pictures of what the runs of a campaign gave, over what varied.

Repeats, runs that differ in their seeds only, are one point with the standard error of their mean;
each of them is a faint point beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from alchemlip.campaigns.coordinates import Coordinate
from alchemlip.campaigns.lines import Line, known, lines_of, panels, stacks
from alchemlip.campaigns.quantities import label, level_of_theory, scaled
from alchemlip.crystal.plotting import INK, REFERENCE, clean
from alchemlip.files import save_figure

# Told apart by those who see few colours, too (Okabe and Ito, 2008); the markers help.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1f2933", "#8c6d31")
MARKERS = "osD^vP*X"
MOST_IN_LEGEND = 16
MOST_SHADES_IN_LEGEND = 8
FAINT = 0.35


def plot_results(
    columns: Sequence[str],
    against: str,
    rows: Sequence[Mapping[str, Any]],
    places: Sequence[Mapping[str, Coordinate]],
    file: str | Path,
    title: str = "",
) -> Path:
    """Save the picture that `draw_results` draws; the file's ending chooses the format."""
    save_figure(draw_results(columns, against, rows, places, title), file, 180)
    return Path(file)


def draw_results(
    columns: Sequence[str],
    against: str,
    rows: Sequence[Mapping[str, Any]],
    places: Sequence[Mapping[str, Coordinate]],
    title: str = "",
) -> Figure:
    """Draw results over one coordinate, a panel each, a line for every value of the others.

    Args:
        columns: names of the results.
        against: name of the coordinate, or of a result.
        rows: results of the finished runs, or of points.
        places: coordinates of each row, repeats aside.
        title: above the panels.
    """
    joined = [{**row, **place} for row, place in zip(rows, places, strict=True)]
    joined = [row for row in joined if row.get(against) not in (None, "")]
    others = [name for name in (places[0] if places else ()) if name != against]
    lines = lines_of(joined, others)
    shown = panels(columns, joined)
    figure = _figure(len(shown))
    axes = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0].tolist()
    texts = sorted({str(row[against]) for row in joined if isinstance(row[against], str)})
    at = {text: float(number) for number, text in enumerate(texts)}
    colours = _colours(lines)
    notes: dict[str, None] = {}
    for axis, (column, name) in zip(axes, shown, strict=True):
        largest = max((abs(row[column]) for row in joined if known(row, column)), default=0.0)
        factor, words = scaled(column, largest)
        # Lattice parameters that agree are called a = b.
        axis.set_ylabel(words.replace(words.partition(" (")[0], name) if name else words)
        for number, line in enumerate(lines):
            # Texts have room beside them, where points do not hide one another.
            aside = (number - (len(lines) - 1) / 2) * min(0.08, 0.6 / len(lines))
            places_of = {text: place + aside for text, place in at.items()}
            style = (colours[number], _marker(number))
            notes |= dict.fromkeys(_draw(axis, line, column, against, places_of, factor, style))
        level = level_of_theory(column, joined)
        if level:
            notes[f"{words.partition(' (')[0]}: {level}"] = None
        axis.ticklabel_format(axis="y", useOffset=False)
        axis.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
        clean(axis)
    axes[-1].set_xlabel(label(against), color=INK)
    if texts:
        turned = max(map(len, texts)) * len(texts) > 45
        axes[-1].set_xticks(
            list(at.values()),
            texts,
            rotation=30 if turned else 0,
            ha="right" if turned else "center",
        )
        axes[-1].set_xlim(-0.5, len(texts) - 0.5)
        for axis in axes:
            axis.grid(visible=False, axis="x")
    if title:
        axes[0].set_title(title, fontsize=10, color=INK, loc="left")
    if notes:
        figure.supxlabel("; ".join(notes), fontsize=7.5, color="#52606d")
    figure.align_ylabels(axes)
    _tell_lines(figure, axes, lines, others, colours)
    return figure


def _figure(panels: int) -> Figure:
    return Figure(figsize=(5.6, 1.4 + 2.0 * panels), layout="constrained")


def _colours(lines: Sequence[Line]) -> list[Any]:
    if len(lines) < 2 or lines[0].number is None:
        return [COLOURS[number % len(COLOURS)] for number in range(len(lines))]
    from matplotlib import colormaps

    shade = Normalize(lines[0].number, lines[-1].number)
    # Without the brightest yellow, which white paper swallows.
    return [colormaps["viridis"](0.88 * float(shade(line.number or 0.0))) for line in lines]


def _marker(number: int) -> str:
    # Where colours begin again, other markers go with them.
    return MARKERS[(number + number // len(COLOURS)) % len(MARKERS)]


def _draw(
    axis: Axes,
    line: Line,
    column: str,
    against: str,
    at: Mapping[str, float],
    factor: float,
    style: tuple[Any, str],
) -> list[str]:
    """Draw a line and return what is to be said of it."""
    colour, marker = style
    notes: list[str] = []
    x: list[float] = []
    y: list[float] = []
    bars: list[float] = []
    hollow: list[int] = []
    for stack in stacks(line, column, against):
        place = at[stack.place] if isinstance(stack.place, str) else stack.place
        if len(stack.values) > 1:
            single = factor * np.array(stack.values)
            axis.plot([place] * len(single), single, marker, color=colour, ms=4, alpha=FAINT, mew=0)
            notes.append(f"{stack.told}; faint: each of them")
        elif stack.told:
            notes.append(stack.told)
        x.append(place)
        y.append(factor * stack.mean)
        bars.append(factor * stack.bar)
        if not stack.converged:
            hollow.append(len(x) - 1)
            notes.append("hollow: not converged")
    axis.errorbar(
        x,
        y,
        bars if any(bars) else None,
        fmt=marker if at else f"{marker}-",
        color=colour,
        ms=5,
        lw=1.3,
        elinewidth=1.1,
        capsize=2.5,
    )
    for index in hollow:
        axis.plot(x[index], y[index], marker, color=colour, mfc="white", ms=5, zorder=3)
    return notes


def _tell_lines(
    figure: Figure,
    axes: Sequence[Axes],
    lines: Sequence[Line],
    others: Sequence[str],
    colours: Sequence[Any],
) -> None:
    """Say beside the panels, where no data is, what tells the lines from one another."""
    if len(lines) < 2:
        return
    from matplotlib.cm import ScalarMappable
    from matplotlib.lines import Line2D

    first, last = lines[0].number, lines[-1].number
    if first is not None and last is not None and len(lines) > MOST_SHADES_IN_LEGEND:
        from matplotlib.colors import ListedColormap

        shades = ListedColormap(_ramp())
        bar = figure.colorbar(
            ScalarMappable(Normalize(first, last), shades), ax=list(axes), aspect=30
        )
        bar.set_label(label(others[0]), fontsize=9, color=INK)
        bar.ax.tick_params(labelsize=8)
        return
    shown = lines[:MOST_IN_LEGEND]
    handles = [
        Line2D([], [], color=colours[n], marker=_marker(n), ms=5, label=line.name)
        for n, line in enumerate(shown)
    ]
    if len(lines) > len(shown):
        handles.append(
            Line2D([], [], ls="", color=REFERENCE, label=f"and {len(lines) - len(shown)} more")
        )
    heading = ", ".join(label(name) for name in others)
    legend = figure.legend(
        handles=handles,
        title=heading,
        loc="outside right upper",
        frameon=False,
        fontsize=8,
        title_fontsize=8,
        alignment="left",
    )
    legend.get_title().set_color(INK)
    longest = max(len(line.name) for line in shown)
    widest = max(longest + 5, len(heading))
    figure.set_figwidth(figure.get_figwidth() + 0.3 + 0.062 * widest)


def _ramp() -> list[Any]:
    from matplotlib import colormaps

    return [colormaps["viridis"](value) for value in np.linspace(0.0, 0.88, 256)]
