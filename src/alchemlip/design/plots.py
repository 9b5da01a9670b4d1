"""Pictures of a design: its course, and maps with gradient arrows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from alchemlip.crystal.plotting import INK, LINE, REFERENCE, WARM, clean
from alchemlip.errors import InputError
from alchemlip.files import save_figure

if TYPE_CHECKING:
    from alchemlip.design.design import DesignPoint, DesignResult, Goal
    from alchemlip.design.map import PropertyMap


def plot_design(
    result: DesignResult, goals: Sequence[Goal], file: str | Path, title: str = ""
) -> Path:
    """Draw how a design went: composition and properties at every relaxed composition.

    Args:
        result: of the design.
        goals: its goals.
        file: where the picture goes.
        title: above the picture.
    """
    steps = np.arange(1, len(result.points) + 1)
    figure = Figure(figsize=(5.2, 1.3 + 1.8 * (len(goals) + 1)), layout="constrained")
    axes = figure.subplots(len(goals) + 1, 1, sharex=True, squeeze=False)[:, 0]
    weights = np.array([point.x for point in result.points])
    for label, column in zip(result.mixture.component_labels, weights.T, strict=True):
        axes[0].plot(steps, column, "o-", ms=3, lw=1.3, label=label)
    axes[0].set_ylabel("weight")
    axes[0].legend(frameon=False, fontsize=7, ncols=3)
    for index, (axis, goal) in enumerate(zip(axes[1:], goals, strict=True)):
        values = [point.values[index] for point in result.points]
        if goal.value is not None:
            axis.axhline(goal.value, ls="--", color=REFERENCE, lw=1.2, label=goal.kind)
            axis.legend(frameon=False, fontsize=7)
        axis.plot(steps, values, "o-", color=LINE, ms=4, lw=1.5)
        axis.set_ylabel(goal.property.name, fontsize=8)
    for axis in axes:
        clean(axis)
    axes[-1].set_xlabel("relaxed composition")
    axes[-1].xaxis.get_major_locator().set_params(integer=True)
    if title:
        axes[0].set_title(title, fontsize=10, color=INK)
    figure.align_ylabels(axes)
    save_figure(figure, file, 200)
    return Path(file)


def plot_trail(result: DesignResult, group: str, file: str | Path, title: str = "") -> Path:
    """Draw the way of a design through the triangle of a group of three components.

    Args:
        result: of the design.
        group: name of the group.
        file: where the picture goes.
        title: above it.

    Raises:
        InputError: if the group has not three components.
    """
    import mpltern  # noqa: F401  registers the ternary projection

    labels = result.mixture.group(group).components
    if len(labels) != 3:
        raise InputError(f"group {group!r} has {len(labels)} components: a triangle has three")
    place = result.mixture.components_of(group)
    path = np.array([point.x[place] for point in result.points]).T
    figure = Figure(figsize=(4.6, 4.2))
    figure.subplots_adjust(left=0.1, right=0.9, bottom=0.1, top=0.84)
    axis: Any = figure.add_subplot(1, 1, 1, projection="ternary")
    axis.plot(*path, "-", color=REFERENCE, lw=1.2)
    axis.scatter(*path, c=np.arange(path.shape[1]), cmap="viridis", s=18, zorder=5, clip_on=False)
    axis.scatter(*path[:, -1:], marker="*", s=120, color=WARM, zorder=6, clip_on=False)
    for setter, label in zip(
        (axis.set_tlabel, axis.set_llabel, axis.set_rlabel), labels, strict=True
    ):
        setter(label)
    for side in (axis.taxis, axis.laxis, axis.raxis):
        side.set_label_rotation_mode("horizontal")
    axis.grid(alpha=0.3, lw=0.6)
    axis.tick_params(labelsize=7)
    figure.suptitle(title or "first to last (star)", fontsize=10, color=INK)
    save_figure(figure, file, 200)
    return Path(file)


def plot_map(
    found: PropertyMap,
    index: int,
    file: str | Path,
    title: str = "",
    absolute: bool = False,
    trail: Sequence[DesignPoint] = (),
) -> Path:
    """Draw one property of a map with its gradient along the simplex.

    Args:
        found: a map of two or three components.
        index: of the property.
        file: where the picture goes.
        title: above it.
        absolute: draw the size of the property (of a stress, say), arrows downhill.
        trail: compositions of a design, drawn on a triangle.
    """
    values = found.values[:, index]
    slopes = found.along_simplex()[:, index]
    if absolute:
        # Arrows lead to zero.
        slopes = -np.sign(values)[:, None] * slopes
        values = np.abs(values)
    name = f"|{found.names[index]}|" if absolute else found.names[index]
    if len(found.labels) == 2:
        figure = Figure(figsize=(5.2, 3.6), layout="constrained")
        axis: Any = figure.subplots()
        order = np.argsort(found.x[:, 1])
        x = found.x[order, 1]
        axis.plot(x, values[order], "o-", color=LINE, ms=4, lw=1.5)
        tilt = (slopes[:, 1] - slopes[:, 0])[order]
        reach = 0.25 * float(np.diff(x).min())
        for at, value, slope in zip(x, values[order], tilt, strict=True):
            axis.plot(
                [at - reach, at + reach],
                [value - slope * reach, value + slope * reach],
                color=WARM,
                lw=2.5,
                solid_capstyle="round",
            )
        axis.set_xlabel(f"x, from {found.labels[0]} (0) to {found.labels[1]} (1)")
        axis.set_ylabel(name)
        clean(axis)
    else:
        import mpltern  # noqa: F401  registers the ternary projection

        figure = Figure(figsize=(5.4, 4.4))
        figure.subplots_adjust(left=0.08, right=0.86, bottom=0.08, top=0.84)
        axis = figure.add_subplot(1, 1, 1, projection="ternary")
        filled = axis.tricontourf(*found.x.T, values, levels=24, cmap="viridis")
        size = float(np.abs(slopes).max()) or 1.0
        axis.quiver(
            *found.x.T, *(slopes.T / size), color="white", scale=12.0, width=0.006, zorder=5
        )
        if trail:
            path = np.array([point.x for point in trail]).T
            axis.plot(*path, "o-", color=WARM, ms=4, lw=1.5, zorder=6)
        for setter, label in zip(
            (axis.set_tlabel, axis.set_llabel, axis.set_rlabel), found.labels, strict=True
        ):
            setter(label)
        axis.tick_params(labelsize=7)
        bar = figure.colorbar(filled, ax=axis, shrink=0.8, pad=0.14)
        bar.set_label(name, fontsize=9)
        bar.ax.tick_params(labelsize=7)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    save_figure(figure, file, 200)
    return Path(file)
