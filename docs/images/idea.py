"""The idea in one picture: idea-light.svg and idea-dark.svg.

    python docs/images/idea.py

The curves on the right are committed results: a(x) and dE/dx of Ce(1-x)Zr(x)O2, and the free
energy of CsPbI3 to CsSnI3 by three ways.
"""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import Circle, FancyArrowPatch, Wedge

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "benchmarks" / "results"
ZR = 0.3
ORANGE, BLUE, GREEN = "#e08a1e", "#3f7fd0", "#2f9e6e"


@dataclass(frozen=True)
class Look:
    """Colours of one version."""

    ink: str
    faint: str
    oxygen: str
    paper: str


LOOKS = {
    "light": Look("#1c2430", "#8a94a3", "#d7dce3", "#ffffff"),
    "dark": Look("#e6e9ee", "#7f8896", "#4a525e", "#131416"),
}


def site(axes: Axes, x: float, y: float, radius: float, look: Look) -> None:
    """Draw a mixed site: a disc divided by occupancy."""
    axes.add_patch(Wedge((x, y), radius, 90, 90 + 360 * (1 - ZR), color=ORANGE, lw=0))
    axes.add_patch(Wedge((x, y), radius, 90 + 360 * (1 - ZR), 450, color=BLUE, lw=0))
    axes.add_patch(Circle((x, y), radius, fill=False, ec=look.paper, lw=1.5))


def disc(axes: Axes, x: float, y: float, radius: float, colour: str, look: Look) -> None:
    """Draw a pure site or a node."""
    axes.add_patch(Circle((x, y), radius, fc=colour, ec=look.paper, lw=1.5))


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: object
) -> None:
    """Draw an arrow between two points."""
    keys = {"arrowstyle": "-|>", "mutation_scale": 11, "shrinkA": 0, "shrinkB": 0} | style
    axes.add_patch(FancyArrowPatch(start, end, **keys))


def crystal(axes: Axes, look: Look) -> None:
    """Draw the crystal: mixed cations in a net of anions."""
    for i in range(3):
        for j in range(3):
            x, y = 0.55 + 0.78 * i, 1.02 + 0.78 * j
            if (i + j) % 2 == 0:
                site(axes, x, y, 0.27, look)
            else:
                disc(axes, x, y, 0.19, look.oxygen, look)
                axes.text(x, y, "O", ha="center", va="center", fontsize=8, color=look.ink)
    axes.text(
        1.33, 3.3, "one small cell", ha="center", fontsize=11.5, weight="bold", color=look.ink
    )
    axes.text(
        1.33,
        0.32,
        "every cation site is\n70 % Ce and 30 % Zr",
        ha="center",
        va="center",
        fontsize=10,
        color=look.ink,
    )


def messages(axes: Axes, look: Look) -> None:
    """Draw two sites as nodes, and the weights of the messages between them."""
    axes.text(
        5.35,
        3.3,
        "each site becomes nodes",
        ha="center",
        fontsize=11.5,
        weight="bold",
        color=look.ink,
    )
    sender, receiver = 3.95, 6.75
    rows = {"Ce": (2.36, ORANGE, 1 - ZR), "Zr": (1.26, BLUE, ZR)}
    for x, label in ((sender, "site j"), (receiver, "site i")):
        axes.add_patch(
            mpl.patches.FancyBboxPatch(
                (x - 0.42, 0.82),
                0.84,
                2.0,
                boxstyle="round,pad=0,rounding_size=0.35",
                fc="none",
                ec=look.faint,
                lw=1.1,
                ls=(0, (3, 2)),
            )
        )
        axes.text(x, 2.95, label, ha="center", va="bottom", fontsize=9.5, color=look.faint)
        for name, (y, colour, _) in rows.items():
            disc(axes, x, y, 0.29, colour, look)
            axes.text(
                x, y, name, ha="center", va="center", fontsize=10, color="white", weight="bold"
            )
    for _, (start, colour, share) in rows.items():
        for _, (end, _, _) in rows.items():
            arrow(
                axes,
                (sender + 0.33, start),
                (receiver - 0.34, end),
                color=colour,
                lw=0.8 + 3.4 * share,
                alpha=0.9,
                mutation_scale=9 + 7 * share,
            )
    axes.text(5.35, 2.53, "× 0.7", ha="center", fontsize=10, color=ORANGE, weight="bold")
    axes.text(5.35, 0.99, "× 0.3", ha="center", fontsize=10, color=BLUE, weight="bold")
    axes.text(
        5.35,
        0.32,
        "a message counts by $P(b\\ \\mathrm{at}\\ j\\,|\\,a\\ \\mathrm{at}\\ i)$,\n"
        "an energy by $p_{ia}$:  $E = \\sum p_{ia}\\,\\varepsilon_{ia}$",
        ha="center",
        va="center",
        fontsize=10,
        color=look.ink,
    )


def small_axes(figure: mpl.figure.Figure, place: list[float], look: Look) -> Axes:
    """Return axes for a small curve."""
    axes = figure.add_axes(place)
    axes.set_facecolor("none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(look.faint)
    axes.tick_params(colors=look.faint, labelsize=7.5, length=2, pad=2)
    return axes


def curves(figure: mpl.figure.Figure, look: Look) -> None:
    """Draw what follows, from committed results."""
    with (RESULTS / "scan_CeO2-ZrO2.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    x = np.array([float(row["x_Ce:Zr"]) for row in rows])
    a = np.array([float(row["a_A"]) for row in rows])
    exchange = np.array(
        [(float(row["gradient_Ce:Zr_eV"]) - float(row["gradient_Ce:Ce_eV"])) / 4 for row in rows]
    )
    runs = json.loads((RESULTS / "free_energies.json").read_text(encoding="utf-8"))["runs"]
    left, width, height = 0.775, 0.205, 0.175

    top = small_axes(figure, [left, 0.755, width, height], look)
    top.plot(x, a, color=ORANGE, lw=2)
    top.set_ylabel("a (Å)", fontsize=8, color=look.ink)
    middle = small_axes(figure, [left, 0.435, width, height], look)
    middle.plot(x, exchange, color=BLUE, lw=2)
    middle.set_ylabel("eV / site", fontsize=8, color=look.ink)
    for axes in (top, middle):
        axes.set_xticks([0, 0.5, 1])
        axes.set_xlabel("x in Ce$_{1-x}$Zr$_x$O$_2$", fontsize=7.5, color=look.faint, labelpad=0)
    bottom = small_axes(figure, [left, 0.115, width, height], look)
    ways = ("nodes", "embedding")
    values = [1e3 * runs[f"delta-{way}"]["free_energy_eV_per_atom"] for way in ways]
    errors = [1e3 * runs[f"delta-{way}"]["standard_error_eV_per_atom"] for way in ways]
    two = [runs[f"delta-frenkel-ladd-{metal}"] for metal in ("Sn", "Pb")]
    values.append(1e3 * (two[0]["free_energy_eV_per_atom"] - two[1]["free_energy_eV_per_atom"]))
    errors.append(1e3 * float(np.hypot(*(run["standard_error_eV_per_atom"] for run in two))))
    bottom.errorbar(values, [2, 1, 0], xerr=errors, fmt="o", color=GREEN, ms=4, lw=1.6, capsize=2)
    bottom.set_yticks([2, 1, 0], ["nodes", "embedding", "2 × Frenkel-Ladd"])
    bottom.set_ylim(-0.6, 2.6)
    bottom.set_xlabel(
        "ΔG, CsPbI$_3$ → CsSnI$_3$, 300 K (meV/atom)", fontsize=7.5, color=look.faint, labelpad=1
    )
    for axes, title in (
        (top, "lattice parameters"),
        (middle, "dE/dx: Ce → Zr"),
        (bottom, "free energies"),
    ):
        axes.set_title(title, fontsize=10, weight="bold", color=look.ink, loc="left", pad=3)


def draw(look: Look, file: Path) -> None:
    """Draw one version."""
    figure = plt.figure(figsize=(11.5, 3.9))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 11.5)
    axes.set_ylim(-0.15, 3.75)
    axes.axis("off")
    crystal(axes, look)
    messages(axes, look)
    arrow(axes, (2.6, 1.8), (3.3, 1.8), color=look.faint, lw=2, mutation_scale=16)
    for y in (2.85, 1.8, 0.98):
        arrow(
            axes,
            (7.25, 1.8),
            (7.7, y),
            color=look.faint,
            lw=1.6,
            mutation_scale=12,
            connectionstyle=f"arc3,rad={0.12 * np.sign(1.8 - y):.2f}",
        )
    curves(figure, look)
    figure.savefig(file, transparent=True, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    mpl.rcParams |= {
        "svg.hashsalt": "alchemlip",
        "svg.fonttype": "path",
        "mathtext.fontset": "dejavusans",
    }
    for name, look in LOOKS.items():
        draw(look, HERE / f"idea-{name}.svg")
