"""Pictures of a scan: lattice parameters and energy against composition.

Figures are made without pyplot: no global state, no display needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.files import save_figure

INK = "#1f2933"
LINE = "#1b6ca8"
REFERENCE = "#9aa5b1"
WARM = "#c2410c"
LATTICE = {"a_A": "a", "b_A": "b", "c_A": "c"}


def plot_scan(
    x: FloatArray,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    file: str | Path,
    title: str = "",
    level: str = "",
) -> Path:
    """Draw a binary line or a ternary triangle, by the number of components.

    Args:
        x: (P, K) compositions, K = 2 or 3.
        labels: (K,) names of the components.
        records: (P,) properties as `alchemlip.crystal.report` names them.
        file: where the picture goes (its ending chooses the format).
        title: above the picture.
        level: of theory of the mixing energy, beside it.
    """
    draw = plot_line if len(labels) == 2 else plot_triangle
    figure = draw(x, labels, records, title, level)
    save_figure(figure, file, 200)
    return Path(file)


def lattice_parameters(records: Sequence[Mapping[str, Any]]) -> dict[str, FloatArray]:
    """Return the lattice parameters in Angstrom that differ from one another, by name.

    Parameters that agree within 1e-3 A at every composition are shown once: ``a = b = c``.
    """
    distinct: dict[str, FloatArray] = {}
    for key, symbol in LATTICE.items():
        if key not in records[0]:  # a cluster
            continue
        values = np.array([record[key] for record in records])
        for name, earlier in distinct.items():
            if np.abs(earlier - values).max() < 1e-3:
                distinct[f"{name} = {symbol}"] = distinct.pop(name)
                break
        else:
            distinct[symbol] = values
    return distinct


def plot_line(
    x: FloatArray,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    title: str = "",
    level: str = "",
) -> Figure:
    """Draw lattice parameters with their straight (Vegard) lines, and the mixing energy."""
    along = x[:, 1]
    order = np.argsort(along)
    lattice = lattice_parameters(records)
    # With one parameter there is room to show by how much it leaves Vegard's line.
    deviation = len(lattice) == 1
    panels = len(lattice) + 1 + deviation
    figure = Figure(figsize=(5.2, 1.3 + 1.8 * panels), layout="constrained")
    axes = figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0]
    for axis, (name, values) in zip(axes, lattice.items(), strict=False):
        ends = np.interp([0.0, 1.0], along[order], values[order])
        axis.plot([0, 1], ends, "--", color=REFERENCE, lw=1.2, label="Vegard's line")
        error = _spread(records, f"{name[0]}_A")
        _with_error_bars(axis, along[order], values[order], error, order, LINE, "relaxed")
        axis.set_ylabel(f"{name} (Å)")
        clean(axis)
        _mark_unconverged(axis, along, values, records, LINE)
        if deviation:
            beyond = 1e3 * (values - ends[0] - along * (ends[1] - ends[0]))
            axes[1].axhline(0.0, ls="--", color=REFERENCE, lw=1.2)
            _with_error_bars(axes[1], along[order], beyond[order], None, order, LINE)
            axes[1].set_ylabel("a − Vegard\n(10⁻³ Å)")
            clean(axes[1])
    key = found_name("mixing_energy_eV_per_atom", records[0])
    energy = 1e3 * np.array([record[key] for record in records])
    axes[-1].axhline(0.0, ls="--", color=REFERENCE, lw=1.2)
    error = _spread(records, key, 1e3)
    _with_error_bars(axes[-1], along[order], energy[order], error, order, WARM)
    _mark_unconverged(axes[-1], along, energy, records, WARM)
    axes[-1].set_ylabel(f"{named('mixing energy', 'enthalpy' in key)}\n(meV/site)")
    if level:
        axes[-1].set_title(level, fontsize=8, color=INK)
    axes[-1].set_xlabel(f"x, from {labels[0]} (0) to {labels[1]} (1)")
    axes[-1].set_xlim(-0.02, 1.02)
    clean(axes[-1])
    if lattice:
        axes[0].legend(frameon=False, fontsize=8)
    if title:
        axes[0].set_title(title, fontsize=10, color=INK)
    figure.align_ylabels(axes)
    return figure


def plot_triangle(
    x: FloatArray,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    title: str = "",
    level: str = "",
) -> Figure:
    """Draw the cube root of the cell volume and the mixing energy over a composition triangle."""
    import mpltern  # noqa: F401  registers the ternary projection

    lattice = lattice_parameters(records)
    key = found_name("mixing_energy_eV_per_atom", records[0])
    energy = 1e3 * np.array([record[key] for record in records])
    panels = [(energy, f"{named('mixing energy', 'enthalpy' in key)} (meV/site)", "magma")]
    if len(lattice) == 1:
        panels.insert(0, (next(iter(lattice.values())), f"{next(iter(lattice))} (Å)", "viridis"))
    elif lattice:
        size = np.cbrt([record["volume_A3"] for record in records])
        panels.insert(0, (size, "cube root of the cell volume (Å)", "viridis"))
    figure = Figure(figsize=(4.8 * len(panels), 3.9))
    figure.subplots_adjust(left=0.07, right=0.93, bottom=0.08, top=0.82, wspace=0.35)
    for index, (values, name, colours) in enumerate(panels):
        axis: Any = figure.add_subplot(1, len(panels), index + 1, projection="ternary")
        corners = (x[:, 0], x[:, 1], x[:, 2])
        filled = axis.tricontourf(*corners, values, levels=24, cmap=colours)
        # Points of relaxations that ran out of steps are dark.
        fill = ["white" if record.get("converged", True) else INK for record in records]
        axis.scatter(*corners, s=7, c=fill, lw=0.4, edgecolor=INK, clip_on=False, zorder=5)
        for setter, label in zip(
            (axis.set_tlabel, axis.set_llabel, axis.set_rlabel), labels, strict=True
        ):
            setter(label)
        for side in (axis.taxis, axis.laxis, axis.raxis):
            side.set_label_rotation_mode("horizontal")
        axis.tick_params(labelsize=7)
        bar = figure.colorbar(filled, ax=axis, shrink=0.8, pad=0.16)
        bar.set_label(name, fontsize=9)
        bar.ax.tick_params(labelsize=7)
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    if level:
        figure.text(0.5, 0.01, f"mixing: {level}", ha="center", fontsize=8, color=INK)
    return figure


def _spread(
    records: Sequence[Mapping[str, Any]], key: str, scale: float = 1.0
) -> FloatArray | None:
    """Return the standard deviations over an ensemble, if the records have them."""
    if f"{key}_spread" not in records[0]:
        return None
    return scale * np.array([record[f"{key}_spread"] for record in records])


def _with_error_bars(
    axis: Axes,
    x: FloatArray,
    y: FloatArray,
    error: FloatArray | None,
    order: npt.NDArray[np.intp],
    colour: str,
    label: str | None = None,
) -> None:
    bars = None if error is None else error[order]
    if label and error is not None:
        label = f"{label} (± spread of the ensemble)"
    axis.errorbar(
        x, y, bars, fmt="o-", color=colour, ms=4, lw=1.5, elinewidth=1.0, capsize=2.5, label=label
    )


def _mark_unconverged(
    axis: Axes,
    x: FloatArray,
    values: FloatArray,
    records: Sequence[Mapping[str, Any]],
    colour: str,
) -> None:
    """Make the points of relaxations that ran out of steps hollow."""
    open_points = np.array([not record.get("converged", True) for record in records])
    axis.plot(x[open_points], values[open_points], "o", color=colour, mfc="white", ms=4)


def clean(axis: Axes) -> None:
    """Take off what does not help to read an axis."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(colors=INK, labelsize=8)
    axis.yaxis.label.set_color(INK)
    axis.grid(alpha=0.25, lw=0.6)
