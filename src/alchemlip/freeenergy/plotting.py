"""Pictures of switching runs: hysteresis, works and their crossing, dF against switching time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from alchemlip.arrays import FloatArray
from alchemlip.crystal.plotting import INK, LINE, REFERENCE, WARM, clean
from alchemlip.files import save_figure
from alchemlip.freeenergy.estimates import FreeEnergyEstimate
from alchemlip.freeenergy.estimators import estimate_from_work
from alchemlip.freeenergy.export import hat_means
from alchemlip.freeenergy.recorded import BACKWARD, FORWARD, Leg, legs_of, paths_of, works_of

if TYPE_CHECKING:
    from alchemlip.records.runs import RunRecord

COLOURS = {FORWARD: LINE, BACKWARD: WARM}
SIGNS = {FORWARD: 1.0, BACKWARD: -1.0}
POINTS_DRAWN = 400
SMOOTH_POINTS = 61
ENOUGH_FOR_BARS = 12
"""Works from which on a histogram shows more than ticks do."""


def plot_switching(record: RunRecord, results: Mapping[str, Any], file: str | Path) -> Path:
    """Draw the legs of a run: coupling in time, dU/dlambda both ways, the works and dF.

    Args:
        record: of a finished or unfinished run; one row of panels for each path of it.
        results: of the run; only its ``temperature_K`` is used.
        file: where the picture goes (its ending chooses the format).
    """
    legs = legs_of(record)
    paths = paths_of(legs) or [""]
    figure = Figure(figsize=(10.5, 3.4 * len(paths)), layout="constrained")
    rows = figure.subplots(len(paths), 3, squeeze=False)
    for axes, path in zip(rows, paths, strict=True):
        own = [leg for leg in legs if leg.path == path and len(leg.coupling) > 1]
        _draw_coupling(axes[0], own)
        _draw_gradients(axes[1], own)
        forward, backward = works_of(own, path)
        if len(forward):
            rng = np.random.default_rng(0)
            estimate = estimate_from_work(
                forward, backward, float(results["temperature_K"]), rng, bootstraps=0
            )
            draw_works(axes[2], forward, backward, estimate)
        else:
            axes[2].set_axis_off()
            axes[2].text(0.5, 0.5, "no repeat is complete yet", ha="center", color=INK)
        if path:
            axes[1].set_title(path, fontsize=10, color=INK)
    save_figure(figure, file, 160)
    return Path(file)


def plot_switching_times(
    rows: Sequence[Mapping[str, float]], file: str | Path, *, unit: str = "eV"
) -> Path:
    """Draw free energy and dissipation against the switching time of a leg.

    Args:
        rows: with ``switching_time_ps``, ``free_energy``, ``standard_error``, ``interval_low``,
            ``interval_high``, ``dissipation`` and ``dissipation_standard_error``.
        file: where the picture goes.
        unit: of the energies, for the labels.
    """
    ordered = sorted(rows, key=lambda row: row["switching_time_ps"])
    column = {
        key: np.array([np.nan if row[key] is None else row[key] for row in ordered])
        for key in ordered[0]
    }
    time = column["switching_time_ps"]
    figure = Figure(figsize=(5.4, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    span = np.array(
        [
            column["free_energy"] - column["interval_low"],
            column["interval_high"] - column["free_energy"],
        ]
    )
    known = np.isfinite(span).all(axis=0)
    upper.errorbar(
        time[known],
        column["free_energy"][known],
        span[:, known],
        fmt="o",
        color=LINE,
        ms=4,
        capsize=3,
        lw=1.2,
        label="BAR, 95 % interval",
    )
    upper.plot(
        time[~known],
        column["free_energy"][~known],
        "o",
        color=LINE,
        mfc="white",
        ms=5,
        label=None if known.all() else "one repeat: no error",
    )
    upper.set_ylabel(f"free energy difference ({unit})")
    upper.legend(frameon=False, fontsize=8)
    loss = column["dissipation"]
    positive = loss > 0
    error = np.minimum(np.nan_to_num(column["dissipation_standard_error"]), 0.9 * np.abs(loss))
    lower.errorbar(
        time[positive],
        loss[positive],
        error[positive],
        fmt="s",
        color=WARM,
        ms=4,
        capsize=3,
        lw=1.2,
        label="dissipation ± standard error",
    )
    if positive.any():
        longest = np.flatnonzero(positive)[-1]
        lower.plot(
            time,
            loss[longest] * time[longest] / time,
            "--",
            color=REFERENCE,
            lw=1.1,
            label="1 / switching time",
        )
    lower.set_xscale("log")
    lower.set_yscale("log")
    _plain_ticks(lower, time)
    lower.set_ylabel(f"dissipation ({unit})")
    lower.set_xlabel("switching time of a leg (ps)")
    lower.legend(frameon=False, fontsize=8)
    for axis in (upper, lower):
        clean(axis)
    figure.align_ylabels([upper, lower])
    save_figure(figure, file, 160)
    return Path(file)


def draw_works(
    axis: Axes, forward: FloatArray, backward: FloatArray, estimate: FreeEnergyEstimate
) -> None:
    """Draw works as a histogram or, if few, as ticks, with Gaussians and the free energy.

    Args:
        axis: where.
        forward, backward: (R,) works in eV; W_f and -W_r share the axis.
        estimate: from these works.
    """
    series = {FORWARD: forward, BACKWARD: -backward}
    every = np.concatenate(list(series.values()))
    bars = len(forward) >= ENOUGH_FOR_BARS
    # Works that differ by rounding alone have no width that bars could divide.
    reach = max(float(np.ptp(every)), 1e-9 * max(1.0, float(np.abs(every).max())))
    middle = 0.5 * float(every.min() + every.max())
    edges = np.histogram_bin_edges(
        every,
        bins=max(8, int(np.sqrt(len(every)) * 2)),
        range=(middle - 0.5 * reach, middle + 0.5 * reach),
    )
    margin = 0.35 * reach
    grid = np.linspace(every.min() - margin, every.max() + margin, 400)
    for name, values in series.items():
        label = "forward, $W_f$" if name == FORWARD else "backward, $-W_r$"
        colour = COLOURS[name]
        if bars:
            axis.hist(values, edges.tolist(), density=True, color=colour, alpha=0.35, label=label)
        else:
            height = 0.04 if name == FORWARD else 0.12
            transform = axis.get_xaxis_transform()
            axis.plot(
                values,
                np.full(len(values), height),
                "|",
                color=colour,
                ms=11,
                mew=1.8,
                transform=transform,
                label=label,
            )
        width = values.std(ddof=1) if len(values) > 1 else 0.0
        if width > 0:
            density = (
                np.exp(-0.5 * ((grid - values.mean()) / width) ** 2) / width / np.sqrt(2 * np.pi)
            )
            axis.plot(grid, density, color=colour, lw=1.3)
    low, high = estimate.interval_95_eV
    if np.isfinite([low, high]).all():
        axis.axvspan(low, high, color=REFERENCE, alpha=0.25, lw=0, label="BAR, 95 % interval")
    axis.axvline(estimate.value_eV, color=INK, lw=1.3, label="BAR")
    crossing = estimate.details.get("crooks_gaussian_crossing_eV")
    if crossing is not None:
        axis.axvline(crossing, color=INK, lw=1.2, ls=":", label="crossing of the Gaussians")
    axis.set_xlim(grid[0], grid[-1])
    axis.set_ylim(bottom=0.0)
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set_xlabel("work, $W_f$ and $-W_r$ (eV)")
    if len(forward) > 1:
        axis.set_ylabel("density (1/eV)")
    else:
        axis.set_yticks([])
    axis.legend(frameon=False, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    clean(axis)


def _draw_coupling(axis: Axes, legs: Sequence[Leg]) -> None:
    drawn = set()
    for leg in legs:
        time = (leg.time_fs - leg.time_fs[0]) / 1000.0
        chosen = _thinned(len(time))
        axis.plot(
            time[chosen],
            leg.coupling[chosen],
            color=COLOURS[leg.direction],
            lw=1.4,
            label=None if leg.direction in drawn else leg.direction,
        )
        drawn.add(leg.direction)
    axis.set_xlabel("time of the leg (ps)")
    axis.set_ylabel("coupling λ")
    if drawn:
        axis.legend(frameon=False, fontsize=8, loc="center right")
    clean(axis)


def _draw_gradients(axis: Axes, legs: Sequence[Leg]) -> None:
    """Single legs faint, their mean on a grid bold: the area between both means is the loss."""
    grid = np.linspace(0.0, 1.0, SMOOTH_POINTS)
    for direction, colour in COLOURS.items():
        own = [leg for leg in legs if leg.direction == direction]
        for leg in own:
            chosen = _thinned(len(leg.coupling))
            axis.plot(
                leg.coupling[chosen],
                leg.dhdl_eV[chosen],
                color=colour,
                lw=0.4,
                alpha=0.25,
                rasterized=True,
            )
        whole = [leg for leg in own if leg.complete]
        if whole:
            means = np.mean([hat_means(leg.coupling, leg.dhdl_eV, grid) for leg in whole], axis=0)
            axis.plot(grid, means, color=colour, lw=1.8, label=f"{direction}, mean")
    axis.set_xlabel("coupling λ")
    axis.set_ylabel("dU/dλ (eV)")
    axis.set_xlim(0.0, 1.0)
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, fontsize=8)
    clean(axis)


def _thinned(count: int) -> Any:
    return slice(None, None, max(1, count // POINTS_DRAWN))


def _plain_ticks(axis: Axes, values: FloatArray) -> None:
    """Write the switching times themselves below, and 1, 2, 5 beside logarithmic axes."""
    axis.set_xticks(values, [f"{value:g}" for value in values])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_locator(NullLocator())
