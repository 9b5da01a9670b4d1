"""Pictures of a random alloy against composition; figures are made without pyplot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.crystal.level import mixing_level
from alchemlip.crystal.plotting import INK, LINE, REFERENCE, WARM
from alchemlip.disorder.mixing import BinaryMixing
from alchemlip.files import save_figure

GRID = np.linspace(0.0, 1.0, 401)


def plot_disorder(
    x: FloatArray,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    file: str | Path,
    *,
    curve: BinaryMixing | None = None,
    temperatures: Sequence[float] = (),
    title: str = "",
) -> Path:
    """Draw mixing energies of two components, and free energies with their common tangents.

    Args:
        x: (P,) weights of the second component.
        labels: names of the two components.
        records: (P,) of `alchemlip.disorder.study`.
        file: where the picture goes (its ending chooses the format).
        curve: smooth mixing energy, drawn through the points.
        temperatures: in K, of the free energies.
        title: above the picture.
    """
    thermal = curve is not None and len(temperatures) > 0
    figure = Figure(figsize=(5.4, 6.2 if thermal else 3.6), layout="constrained")
    axes = figure.subplots(2 if thermal else 1, 1, sharex=True, squeeze=False)[:, 0]
    axis = axes[0]
    order = np.argsort(x)
    series = (
        ("mean_field_mixing_energy_eV_per_atom", "mean field", REFERENCE, "s"),
        ("mixing_energy_eV_per_atom", "random alloy", LINE, "o"),
        ("relaxed_mixing_energy_eV_per_atom", "with local relaxation", WARM, "D"),
    )
    axis.axhline(0.0, ls="--", color=REFERENCE, lw=1.0)
    pressed = "mixing_enthalpy_eV_per_atom" in records[0]
    relaxed = all(named(series[-1][0], pressed) in record for record in records)
    for at_rest, label, colour, marker in series if relaxed else series[:-1]:
        key = named(at_rest, pressed)
        values = 1e3 * np.array([record[key] for record in records])
        axis.plot(x[order], values[order], marker, color=colour, ms=5, label=label)
    if curve is not None:
        colour = WARM if relaxed else LINE
        axis.plot(GRID, 1e3 * curve.energy(GRID), color=colour, lw=1.4)
    _explicit(axis, x, records)
    axis.set_ylabel(f"{named('mixing energy', pressed)} (meV/site)")
    axis.legend(frameon=False, fontsize=8)
    if thermal and curve is not None:
        shades = np.linspace(0.35, 1.0, len(temperatures))
        for temperature, shade in zip(temperatures, shades.tolist(), strict=True):
            free = 1e3 * curve.free_energy(GRID, temperature)
            axes[1].plot(GRID, free, color=WARM, alpha=shade, lw=1.5, label=f"{temperature:g} K")
            for gap in curve.miscibility_gaps(temperature):
                ends = 1e3 * curve.free_energy(np.array(gap), temperature)
                axes[1].plot(gap, ends, "o--", color=INK, ms=4, lw=1.0)
        axes[1].axhline(0.0, ls="--", color=REFERENCE, lw=1.0)
        axes[1].set_ylabel(f"{named('free energy', pressed)} of mixing\n(meV/site)")
        axes[1].legend(frameon=False, fontsize=8)
        axes[1].set_title(mixing_level(relaxed).name, fontsize=8, color=INK)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=8)
        axis.grid(alpha=0.25, lw=0.6)
    axes[-1].set_xlabel(f"x, from {labels[0]} (0) to {labels[1]} (1)")
    axes[-1].set_xlim(-0.02, 1.02)
    if title:
        axes[0].set_title(title, fontsize=10, color=INK)
    save_figure(figure, file, 200)
    return Path(file)


def _explicit(axis: Any, x: FloatArray, records: Sequence[Mapping[str, Any]]) -> None:
    """Draw the means of explicit supercells, measured from the same ends."""
    mixing, random = (
        found_name(name, records[0])
        for name in ("mixing_energy_eV_per_atom", "random_energy_eV_per_atom")
    )
    for at_rest, label, colour in (
        ("explicit_energy_eV_per_atom", "explicit supercells", INK),
        ("explicit_relaxed_energy_eV_per_atom", "explicit, relaxed", WARM),
    ):
        kind = named(at_rest, "enthalpy" in mixing)
        shown = [index for index, record in enumerate(records) if kind in record]
        if not shown:
            continue
        # Mixing energy minus energy is minus the line between the ends.
        values = [records[i][kind] + records[i][mixing] - records[i][random] for i in shown]
        errors = [records[i][at_rest.replace("energy", "standard_error")] or 0.0 for i in shown]
        axis.errorbar(
            x[shown], 1e3 * np.array(values), 1e3 * np.array(errors), fmt="x", color=colour,
            ms=6, capsize=3, label=label,
        )  # fmt: skip
