"""The picture of a study of ordering: J by shell, and V(k) along the special points."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase.cell import Cell
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from alchemlip.arrays import FloatArray
from alchemlip.disorder.ordering import stability_branches
from alchemlip.disorder.pair_interactions import PairInteractions
from alchemlip.files import save_figure

INK = "#1f2933"
LINE = "#1b6ca8"
REFERENCE = "#9aa5b1"
COLOURS = ("#1b6ca8", "#c2410c", "#2f855a", "#6b46c1", "#b7791f", "#97266d")
POINTS = 160


def plot_ordering(
    interactions: PairInteractions,
    file: str | Path,
    title: str = "",
    max_distance: float = 9.0,
    *,
    level: str = "",
) -> Path:
    """Draw J of every pair of species by shell, and the stability of waves along a path.

    Args:
        interactions: with the composition.
        file: where the picture goes (its ending chooses the format).
        title: above the picture.
        max_distance: of the shells shown, in Angstrom.
        level: of theory, above the stability of waves.
    """
    figure = Figure(figsize=(8.6, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.25])
    _shells(left, interactions, max_distance)
    _path(right, interactions)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(colors=INK, labelsize=8)
    if level:
        right.set_title(level, fontsize=8, color=INK)
    if title:
        figure.suptitle(title, fontsize=10, color=INK)
    save_figure(figure, file, 200)
    return Path(file)


def _shells(axis: Axes, interactions: PairInteractions, max_distance: float) -> None:
    axis.axhline(0.0, ls="--", color=REFERENCE, lw=1.0)
    species = interactions.species
    pairs = [(a, b) for i, a in enumerate(species) for b in species[i + 1 :]]
    for (a, b), colour in zip(pairs, COLOURS * len(pairs), strict=False):
        shells = interactions.shells(a, b, max_distance)
        r = np.array([shell.distance for shell in shells])
        j = 1e3 * np.array([shell.interaction for shell in shells])
        folded = np.array([shell.folded for shell in shells], dtype=bool)
        axis.vlines(r, 0.0, j, color=colour, lw=1.2)
        axis.plot(r[~folded], j[~folded], "o", color=colour, ms=4, label=f"{a}-{b}")
        # Hollow: shared by equally near images.
        axis.plot(r[folded], j[folded], "o", color=colour, mfc="white", ms=4)
    axis.set_xlabel("distance (Å)", color=INK)
    axis.set_ylabel("J (meV)", color=INK)
    axis.legend(frameon=False, fontsize=8)


def _path(axis: Axes, interactions: PairInteractions) -> None:
    lattice = interactions.lattice
    path = Cell(lattice.cell).bandpath(npoints=POINTS)
    along, ticks, labels = path.get_linear_kpoint_axis()
    axis.axhline(0.0, ls="--", color=REFERENCE, lw=1.0)
    for branch in 1e3 * stability_branches(interactions, path.kpts).T:
        axis.plot(along, branch, color=LINE, lw=1.3)
    exact = _held(interactions, path.kpts)
    values = 1e3 * stability_branches(interactions, path.kpts[exact])
    for branch in values.T:
        axis.plot(np.asarray(along)[exact], branch, "o", color=LINE, ms=4)
    axis.set_xticks(ticks, [label.replace("G", "Γ") for label in labels])
    for tick in ticks:
        axis.axvline(tick, color=REFERENCE, lw=0.5)
    axis.set_xlim(along[0], along[-1])
    axis.set_ylabel("eigenvalue of C½ V(k) C½ (meV)", color=INK)


def _held(interactions: PairInteractions, waves: FloatArray) -> FloatArray:
    """Return which waves the supercell holds, where V(k) is exact."""
    turns = waves @ interactions.lattice.supercell.T
    return np.asarray(np.abs(turns - np.rint(turns)).max(axis=1) < 1e-4)
