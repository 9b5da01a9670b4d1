"""Pictures of phase stability, G(T) and crossings, and of equilibrium windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemlip.arrays import FloatArray
from alchemlip.crystal.plotting import INK, LINE, REFERENCE, WARM, clean
from alchemlip.files import save_figure
from alchemlip.freeenergy.gibbs_helmholtz import FreeEnergyCurve, FreeEnergyPoints
from alchemlip.freeenergy.phase_stability import Crossing
from alchemlip.records.runs import RunRecord

PALETTE = (LINE, WARM, "#0f766e", "#7c3aed", "#ca8a04", "#4b5563")
MARKERS = "osD^vP"


def plot_phases(
    phases: Sequence[FreeEnergyPoints],
    curves: Sequence[FreeEnergyCurve],
    crossings: Sequence[Crossing],
    file: str | Path,
    title: str = "",
) -> Path:
    """Draw G(T) of several phases, and below G relative to the first, with error bands.

    Args:
        phases: computed points, drawn with their errors.
        curves: of the same phases.
        crossings: drawn as lines, with their 95 % intervals as bands.
        file: where the picture goes (its ending chooses the format).
        title: above the picture.
    """
    figure = Figure(figsize=(5.6, 6.4), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    base = curves[0]
    for index, (phase, curve) in enumerate(zip(phases, curves, strict=True)):
        style = {"color": PALETTE[index % len(PALETTE)]}
        marker = MARKERS[index % len(MARKERS)]
        upper.plot(curve.temperature_K, curve.free_energy_eV, lw=1.4, **style)
        upper.errorbar(
            phase.temperature_K,
            phase.free_energy_eV,
            phase.standard_error_eV,
            fmt=marker,
            ms=4.5,
            capsize=3,
            label=phase.name,
            **style,
        )
        common = np.isin(curve.temperature_K, base.temperature_K)
        at = curve.temperature_K[common]
        difference = 1e3 * (curve.free_energy_eV[common] - _on(base, at))
        error = 1e3 * curve.standard_error_eV[common]
        lower.plot(at, difference, lw=1.4, **style)
        lower.fill_between(at, difference - error, difference + error, alpha=0.2, lw=0, **style)
        inside = (phase.temperature_K >= base.temperature_K[0]) & (
            phase.temperature_K <= base.temperature_K[-1]
        )
        lower.errorbar(
            phase.temperature_K[inside],
            1e3 * (phase.free_energy_eV[inside] - _on(base, phase.temperature_K[inside])),
            1e3 * phase.standard_error_eV[inside],
            fmt=marker,
            ms=4.5,
            capsize=3,
            **style,
        )
    for crossing in crossings:
        if crossing.temperature_K is None:
            continue
        low, high = np.clip(crossing.interval_95_K, *crossing.range_K)
        for axis in (upper, lower):
            axis.axvspan(low, high, color=REFERENCE, alpha=0.22, lw=0)
            axis.axvline(crossing.temperature_K, color=INK, lw=1.1, ls=":")
        error_text = (
            "" if crossing.standard_error_K is None else f" ± {crossing.standard_error_K:.0f}"
        )
        lower.annotate(
            f"{crossing.temperature_K:.0f}{error_text} K",
            (crossing.temperature_K, 1.0),
            (4, -4),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            fontsize=8,
            color=INK,
        )
    upper.set_ylabel("free energy (eV/atom)")
    upper.legend(frameon=False, fontsize=8)
    lower.set_ylabel(f"relative to {phases[0].name}\n(meV/atom, band: ± standard error)")
    lower.set_xlabel("temperature (K)")
    if title:
        upper.set_title(title, fontsize=10, color=INK)
    for axis in (upper, lower):
        clean(axis)
    figure.align_ylabels([upper, lower])
    save_figure(figure, file, 160)
    return Path(file)


def plot_recorded_windows(record: RunRecord, temperature_K: float, file: str | Path) -> Path:
    """Draw the first set of windows of a record; see `plot_windows`.

    Args:
        record: of `sample_windows`.
        temperature_K: of the run.
        file: where the picture goes.
    """
    from alchemlip.freeenergy.recorded import windows_of
    from alchemlip.freeenergy.window_estimators import (
        convergence_in_time,
        estimate_from_energies,
        estimate_from_gradients,
    )

    first = windows_of(record)[0]
    return plot_windows(
        estimate_from_energies(first.couplings, first.energies_eV, temperature_K).details,
        estimate_from_gradients(first.couplings, first.dhdl_eV, temperature_K).details,
        convergence_in_time(first.couplings, first.energies_eV, temperature_K),
        file,
    )


def plot_windows(
    details: Mapping[str, Any],
    gradients: Mapping[str, Any],
    convergence: Sequence[Mapping[str, float]],
    file: str | Path,
) -> Path:
    """Draw equilibrium windows: overlap matrix, mean dU/dlambda, estimate against fraction of data.

    Args:
        details: of `estimate_from_energies`.
        gradients: of `estimate_from_gradients`.
        convergence: of `convergence_in_time`.
        file: where the picture goes.
    """
    figure = Figure(figsize=(11.5, 3.8), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    _draw_overlap(left, np.asarray(details["overlap_matrix"]), np.asarray(details["couplings"]))
    middle.errorbar(
        gradients["couplings"],
        gradients["mean_gradients_eV"],
        gradients["gradient_standard_errors_eV"],
        fmt="o-",
        color=LINE,
        ms=4,
        lw=1.2,
        capsize=3,
    )
    middle.set_xlabel("coupling λ")
    middle.set_ylabel("⟨dU/dλ⟩ (eV, ± standard error)")
    clean(middle)
    fraction = [row["data_fraction"] for row in convergence]
    for side, colour, marker, label in (
        ("from_start", LINE, "o", "from the start"),
        ("from_end", WARM, "s", "from the end"),
    ):
        right.errorbar(
            fraction,
            [row[f"{side}_eV"] for row in convergence],
            [row[f"{side}_standard_error_eV"] for row in convergence],
            fmt=f"{marker}-",
            color=colour,
            ms=4,
            lw=1.2,
            capsize=3,
            label=label,
        )
    right.set_xlabel("fraction of the samples")
    right.set_ylabel("free energy difference (eV)")
    right.legend(frameon=False, fontsize=8)
    clean(right)
    save_figure(figure, file, 160)
    return Path(file)


def _draw_overlap(axis: Axes, matrix: FloatArray, couplings: FloatArray) -> None:
    axis.imshow(matrix, cmap="Blues", vmin=0.0, vmax=float(matrix.max()))
    size = len(matrix)
    if size <= 12:
        for (row, column), value in np.ndenumerate(matrix):
            if value >= 0.005:
                shade = "white" if value > 0.6 * matrix.max() else INK
                axis.text(
                    column, row, f"{value:.2f}", ha="center", va="center", fontsize=6.5, color=shade
                )
    shown = np.arange(0, size, -(-size // 6))
    labels = [f"{couplings[i]:.2g}" for i in shown]
    axis.set_xticks(shown, labels)
    axis.set_yticks(shown, labels)
    axis.set_xlabel("coupling λ of the window")
    axis.set_ylabel("coupling λ of the sample")
    axis.set_title("overlap", fontsize=9, color=INK)
    axis.tick_params(colors=INK, labelsize=8)


def _on(curve: FreeEnergyCurve, at_K: FloatArray) -> FloatArray:
    return np.interp(at_K, curve.temperature_K, curve.free_energy_eV)


def plot_compositions(rows: Sequence[Mapping[str, float]], file: str | Path) -> Path:
    """Draw dG(x, T) of a transmutation against x, at up to six temperatures.

    Args:
        rows: of `composition_table`; what lies above the line between the ends, if they have it.
        file: where the picture goes.
    """
    mixing = all("mixing_free_energy_eV_per_atom" in row for row in rows)
    key = f"{'mixing_' if mixing else ''}free_energy_eV_per_atom"
    error = f"{'mixing_' if mixing else ''}standard_error_eV_per_atom"
    temperatures = np.unique([row["temperature_K"] for row in rows])
    chosen = temperatures[np.unique(np.linspace(0, len(temperatures) - 1, 6).astype(int))]
    figure = Figure(figsize=(5.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for index, temperature in enumerate(chosen):
        own = [row for row in rows if row["temperature_K"] == temperature]
        axis.errorbar(
            [row["x"] for row in own],
            [1e3 * row[key] for row in own],
            [1e3 * row[error] for row in own],
            fmt=f"{MARKERS[index]}-",
            color=PALETTE[index],
            ms=4,
            lw=1.2,
            capsize=3,
            label=f"{temperature:.0f} K",
        )
    axis.set_xlabel("composition x")
    axis.set_ylabel(("free energy of mixing" if mixing else "free energy") + " (meV/atom)")
    axis.legend(frameon=False, fontsize=8)
    clean(axis)
    save_figure(figure, file, 160)
    return Path(file)
