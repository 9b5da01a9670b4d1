"""The rooms of the package and the way of the data: rooms-light.svg and rooms-dark.svg.

    python docs/images/rooms.py

The floors are those of the contract in pyproject.toml, which is read: the script refuses to draw
other rooms than there are.
"""

from __future__ import annotations

import tomllib

import matplotlib as mpl
from idea import BLUE, GREEN, HERE, LOOKS, ORANGE, Look, arrow
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch

FLOORS = (  # from the top; rooms of one floor, and what they are for
    (("cli", "doctor"), "commands, and what works here"),
    (("reporting",), "pages, figures, watching"),
    (("campaigns",), "many calculations"),
    (("calculations", "testing"), "settings, run, result"),
    (("design", "disorder", "freeenergy"), "the science"),
    (("batching",), "many at a time on one device"),
    (("crystal",), "relaxation, response, scans"),
    (("backends",), "where weights enter a model"),
    (("potential",), "graph, messages, derivatives"),
    (("mixture",), "what sits where; files"),
    (("records",), "results folder, run record"),
)
BELOW = {"failures", "notebook", "process_state", "signals", "files", "arrays", "errors"}
STATIONS = {  # x, floor, colour
    "structure file": (5.45, 9, None),
    "Mixture": (6.75, 9, ORANGE),
    "graph": (6.1, 8, ORANGE),
    "node energies": (6.75, 7, ORANGE),
    "E, forces, stress, dE/dx": (7.85, 8, ORANGE),
    "relaxed crystal": (7.05, 6, ORANGE),
    "alloy, order, design, ΔF": (7.05, 4, BLUE),
    "Result": (7.05, 3, BLUE),
    "result.json, run.sqlite": (10.2, 10, BLUE),
    "one table of all": (10.2, 2, GREEN),
    "page, plots": (10.2, 1, GREEN),
    "table in the terminal": (10.2, 0, GREEN),
}
WAY = (  # from, to, and how far beside their middles the arrow ends
    ("structure file", "Mixture", 0.0, 0.0),
    ("Mixture", "graph", -0.1, 0.1),
    ("graph", "node energies", 0.1, -0.15),
    ("node energies", "E, forces, stress, dE/dx", 0.2, -0.3),
    ("E, forces, stress, dE/dx", "relaxed crystal", 0.3, 0.4),
    ("relaxed crystal", "alloy, order, design, ΔF", 0.0, 0.0),
    ("alloy, order, design, ΔF", "Result", 0.0, 0.0),
    ("result.json, run.sqlite", "one table of all", 0.0, 0.0),
    ("one table of all", "page, plots", 0.0, 0.0),
    ("page, plots", "table in the terminal", 0.0, 0.0),
)


def height(floor: int) -> float:
    """Return the middle of a floor, the first one on top."""
    return 0.55 * (len(FLOORS) - floor) + 0.15


def check() -> None:
    """Refuse to draw other rooms than there are."""
    settings = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    there = [room.strip() for layer in layers for room in layer.split("|")]
    drawn = [room for rooms, _ in FLOORS for room in rooms]
    assert [room for room in there if room not in BELOW] == drawn, "draw the rooms that there are"


def house(axes: Axes, look: Look) -> None:
    """Draw the floors with their rooms."""
    for floor, (rooms, words) in enumerate(FLOORS):
        y = height(floor)
        axes.add_patch(
            FancyBboxPatch(
                (0.15, y - 0.22),
                11.2,
                0.44,
                boxstyle="round,pad=0,rounding_size=0.08",
                fc=look.oxygen,
                ec="none",
                alpha=0.45,
            )
        )
        name = "  ".join(rooms)
        axes.text(0.3, y, name, va="center", fontsize=10.5, weight="bold", color=look.ink)
        axes.text(2.95, y, words, va="center", fontsize=9.5, color=look.ink)
    axes.text(
        0.3,
        0.22,
        "below: files, errors, signals: what every room may use",
        va="center",
        fontsize=9.5,
        color=look.ink,
    )


def way(axes: Axes, look: Look) -> None:
    """Draw the way of the data through the floors."""
    for start, end, out, into in WAY:
        (x, floor, _), (to_x, to_floor, _) = STATIONS[start], STATIONS[end]
        up = 0.16 if floor > to_floor else -0.16
        ends = (x + out, height(floor) + up), (to_x + into, height(to_floor) - up)
        if floor == to_floor:
            ends = (x + 0.5, height(floor)), (to_x - 0.4, height(floor))
        arrow(axes, *ends, color=look.faint, lw=1.6, mutation_scale=12)
    corner = 9.1  # down to the records, beside everything
    axes.plot([7.35, corner, corner], [height(3), height(3), height(10)], color=look.faint, lw=1.6)
    into = (corner, height(10)), (9.36, height(10))
    arrow(axes, *into, color=look.faint, lw=1.6, mutation_scale=12)
    box = {"boxstyle": "round,pad=0.25", "ec": "none"}
    for words, (x, floor, colour) in STATIONS.items():
        axes.text(
            x,
            height(floor),
            words,
            ha="center",
            va="center",
            fontsize=9,
            color=look.ink,
            weight="bold",
            bbox=box | {"fc": look.paper, "ec": colour or look.faint, "lw": 1.4},
        )


def draw(look: Look, name: str) -> None:
    """Draw one version."""
    figure = plt.figure(figsize=(11.5, 6.6))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 11.5)
    axes.set_ylim(0, 6.6)
    axes.axis("off")
    house(axes, look)
    way(axes, look)
    figure.savefig(HERE / f"rooms-{name}.svg", transparent=True, metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    check()
    mpl.rcParams |= {"svg.hashsalt": "alchemlip", "svg.fonttype": "path"}
    for name, look in LOOKS.items():
        draw(look, name)
