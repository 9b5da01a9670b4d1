"""A mixed crystal in three dimensions: spheres cut into sectors by occupancy.

A site that holds Ce 0.7, Zr 0.3 is a sphere of which Ce fills 0.7 of the turn; the sector of a
vacancy is glass. Sites on a face of the cell are shown on all its faces. Cells too large for
spheres are drawn as points in the mixed colour of what they hold.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY, element_number, species_number
from alchemlip.reporting.content import Figure, Table, Trace, table_of

MOST_SPHERES = 400
FACE = 1e-3
"""Fractional distance from a face at which a site is shown on it."""
EYE = (1.35, 0.95, 0.7)
"""Direction of the first view, in which every sphere is seen as a pie chart."""
LIGHT = {"x": -1.35e5, "y": -0.95e5, "z": -0.7e5}
"""Where Plotly's lamp stands so that it shines from behind the reader."""
MARGIN = 1.1
"""Space around the sites in Angstrom."""
SEEN = 1.75
"""Size of the crystal in the first view, in Plotly's units."""
GLASS = "#8fa3b8"
APART = 0.28
"""Distance in RGB (0 to 1 each) from which on two colours are told apart."""
OTHER_COLOURS = ("#e69f00", "#0072b2", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442")
"""For species whose usual colours are alike (Okabe and Ito's palette)."""


def structure_figure(mixture: Mixture, most_spheres: int = MOST_SPHERES) -> Figure:
    """Return the picture of a mixture, its occupancies in words and as a table.

    Args:
        mixture: with up to ``most_spheres`` sites, images on faces counted, it is drawn as spheres,
            else as points.
        most_spheres: see there.
    """
    sites, positions = _with_images(mixture)
    occupancies = mixture.occupancies()
    colours = species_colours({species for occupancy in occupancies for species in occupancy})
    spheres = len(sites) <= most_spheres
    draw = _sphere_traces if spheres else _point_traces
    traces = [*draw(sites, positions, occupancies, colours), *_cell_traces(mixture)]
    layout = {
        "scene": {
            **_box(mixture, positions),
            "camera": {
                "projection": {"type": "orthographic"},
                "eye": dict(zip("xyz", EYE, strict=True)),
            },
        },
        "hovermode": "closest",
    }
    return Figure(
        "structure",
        "Structure",
        _description(mixture, occupancies, spheres),
        tuple(traces),
        layout,
        _site_table(mixture, occupancies),
        height=440,
        solid=True,
        directions=_directions(mixture),
    )


def species_colours(species: Iterable[str]) -> dict[str, FloatArray]:
    """Return a colour (3,) for each species, from 0 to 1: Jmol's, others where two are alike.

    The vacancy is glass.
    """
    from ase.data.colors import jmol_colors

    colours: dict[str, FloatArray] = {}
    for symbol in sorted(set(species), key=species_number):
        element = element_number(species_number(symbol))
        usual = _rgb(GLASS) if symbol == VACANCY else np.array(jmol_colors[element])
        candidates = [usual, *map(_rgb, OTHER_COLOURS)]
        distances = [
            min((float(np.linalg.norm(c - used)) for used in colours.values()), default=np.inf)
            for c in candidates
        ]
        first = next((i for i, d in enumerate(distances) if d >= APART), int(np.argmax(distances)))
        colours[symbol] = candidates[first]
    return colours


def blended(occupancy: Mapping[str, float], colours: Mapping[str, FloatArray]) -> str:
    """Return the mean colour of what a site holds."""
    return _hex(
        np.sum([weight * colours[species] for species, weight in occupancy.items()], axis=0)
    )


def real_species(occupancy: Mapping[str, float]) -> dict[str, float]:
    """Return an occupancy without the species whose weight is 0."""
    return {species: weight for species, weight in occupancy.items() if weight > 1e-9}


def words_of(occupancy: Mapping[str, float]) -> str:
    """Return an occupancy in words, such as ``Ce 0.7, Zr 0.3``; a pure one is its species."""
    if len(occupancy) == 1:
        return next(iter(occupancy))
    return ", ".join(f"{species} {weight:.4g}" for species, weight in occupancy.items())


def _rgb(colour: str) -> FloatArray:
    return np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])


def _hex(rgb: FloatArray) -> str:
    return "#" + "".join(f"{round(255 * min(1.0, max(0.0, value))):02x}" for value in rgb.tolist())


def _radius(occupancy: Mapping[str, float]) -> float:
    """Return a radius in Angstrom that tells large atoms from small ones and hides neither."""
    from ase.data import covalent_radii

    real = [element_number(species_number(species)) for species in occupancy if species != VACANCY]
    return 0.35 + 0.22 * max((float(covalent_radii[number]) for number in real), default=1.2)


def _with_images(mixture: Mixture) -> tuple[IntArray, FloatArray]:
    """Return sites and positions in Angstrom, a site on a face of the cell once for every face."""
    every = np.arange(mixture.n_sites)
    if not mixture.pbc.any() or abs(np.linalg.det(mixture.cell)) < 1e-6:
        return every, np.array(mixture.positions)
    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    periodic = np.flatnonzero(mixture.pbc)
    fractional[:, periodic] -= np.floor(fractional[:, periodic] + FACE)
    sites, places = [every], [fractional]
    for shift in itertools.product(*((0, 1) if flag else (0,) for flag in mixture.pbc)):
        if not any(shift):
            continue
        moved = np.array(shift, dtype=bool)
        on_face = (np.abs(fractional[:, moved]) < FACE).all(axis=1)
        sites.append(every[on_face])
        places.append(fractional[on_face] + np.array(shift))
    return np.concatenate(sites), np.concatenate(places) @ mixture.cell


@dataclass
class _Mesh:
    """The triangles of one species, site after site."""

    vertices: list[FloatArray] = field(default_factory=list)
    triangles: list[IntArray] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    def add(self, vertices: FloatArray, triangles: IntArray, label: str) -> None:
        self.triangles.append(triangles + sum(self.counts))
        self.vertices.append(vertices)
        self.labels.append(label)
        self.counts.append(len(vertices))

    def trace(self, species: str, colour: FloatArray) -> Trace:
        x, y, z = (np.round(axis, 3).tolist() for axis in np.concatenate(self.vertices).T)
        i, j, k = (axis.tolist() for axis in np.concatenate(self.triangles).T)
        glass = species == VACANCY
        return {
            "type": "mesh3d",
            **{"x": x, "y": y, "z": z, "i": i, "j": j, "k": k},
            "name": "vacancy" if glass else species,
            "color": _hex(colour),
            "opacity": 0.25 if glass else 1.0,
            "flatshading": False,
            "lighting": {"ambient": 0.6, "diffuse": 0.5, "specular": 0.08, "roughness": 0.6},
            "lightposition": LIGHT,
            "showlegend": True,
            "hoverinfo": "text",
            # The page gives every vertex of a site the site's label.
            "labels": self.labels,
            "counts": self.counts,
        }


def _sphere_traces(
    sites: IntArray,
    positions: FloatArray,
    occupancies: Sequence[Mapping[str, float]],
    colours: Mapping[str, FloatArray],
) -> list[Trace]:
    turns = 24 if len(sites) <= 80 else 14
    right, up, eye = view_axes()
    towards_viewer = np.stack([right, up, eye])
    meshes: dict[str, _Mesh] = {}
    for site, centre in zip(sites.tolist(), positions, strict=True):
        occupancy = occupancies[site]
        label = f"site {site}: {words_of(occupancy)}"
        present = real_species(occupancy)
        walls = VACANCY in present and len(present) > 1
        end = np.pi / 2  # the top; species follow one another clockwise
        for species, weight in present.items():
            start = end - 2 * np.pi * weight
            vertices, triangles = sector(start, end, turns, walls and species != VACANCY)
            meshes.setdefault(species, _Mesh()).add(
                centre + _radius(occupancy) * vertices @ towards_viewer, triangles, label
            )
            end = start
    return [
        meshes[species].trace(species, colours[species])
        for species in sorted(meshes, key=species_number)
    ]


def sector(start: float, end: float, turns: int, walls: bool) -> tuple[FloatArray, IntArray]:
    """Return vertices (n, 3) and triangles (m, 3) of a sector of the unit sphere about z.

    Args:
        start, end: angles in rad that it lies between.
        turns: steps of a whole turn.
        walls: whether to close it with two half discs.
    """
    across = max(1, round(turns * (end - start) / (2 * np.pi)))
    down = turns // 2
    azimuth = np.linspace(start, end, across + 1)
    polar = np.linspace(0.0, np.pi, down + 1)
    vertices = np.stack(
        [
            np.outer(np.sin(polar), np.cos(azimuth)),
            np.outer(np.sin(polar), np.sin(azimuth)),
            np.outer(np.cos(polar), np.ones_like(azimuth)),
        ],
        axis=-1,
    ).reshape(-1, 3)
    width = across + 1
    row, column = (grid.ravel() for grid in np.mgrid[0:down, 0:across])
    corner = row * width + column
    upper = np.stack([corner, corner + width, corner + 1], axis=1)[row > 0]
    lower = np.stack([corner + 1, corner + width, corner + width + 1], axis=1)[row < down - 1]
    triangles = [upper, lower]
    if walls:
        centre = len(vertices)
        vertices = np.concatenate([vertices, np.zeros((1, 3))])
        for edge in (0, across):
            rim = np.arange(down + 1) * width + edge
            triangles.append(np.stack([rim[:-1], rim[1:], np.full(down, centre)], axis=1))
    return vertices, np.concatenate(triangles)


def _point_traces(
    sites: IntArray,
    positions: FloatArray,
    occupancies: Sequence[Mapping[str, float]],
    colours: Mapping[str, FloatArray],
) -> list[Trace]:
    kinds: dict[str, list[int]] = {}
    for row, site in enumerate(sites.tolist()):
        kinds.setdefault(words_of(occupancies[site]), []).append(row)
    traces = []
    for words, rows in kinds.items():
        x, y, z = np.round(positions[rows], 3).T.tolist()
        occupancy = occupancies[int(sites[rows[0]])]
        traces.append(
            {
                "type": "scatter3d",
                **{"x": x, "y": y, "z": z},
                "mode": "markers",
                "name": words.replace(VACANCY, "vacancy"),
                "marker": {
                    "size": 5,
                    "color": blended(occupancy, colours),
                    "opacity": 0.35 if set(occupancy) == {VACANCY} else 1.0,
                    "line": {"width": 0.5, "color": "#3a4654"},
                },
                "hoverinfo": "text",
                "text": [f"site {site}: {words}" for site in sites[rows].tolist()],
            }
        )
    return traces


def _cell_traces(mixture: Mixture) -> list[Trace]:
    if not mixture.pbc.any():
        return []
    corners = np.array(list(itertools.product((0, 1), repeat=3)))
    x: list[list[float | None]] = [[], [], []]
    for first, second in itertools.combinations(corners, 2):
        if np.abs(first - second).sum() != 1:
            continue
        for axis, ends in enumerate((np.stack([first, second]) @ mixture.cell).T):
            x[axis] += [*np.round(ends, 3).tolist(), None]
    edges: Trace = {
        "type": "scatter3d",
        **dict(zip("xyz", x, strict=True)),
        "mode": "lines",
        "line": {"color": "@faint", "width": 3},
        "name": "cell",
        "hoverinfo": "skip",
        "showlegend": False,
    }
    ends = np.round(1.08 * mixture.cell, 3).T.tolist()
    letters: Trace = {
        "type": "scatter3d",
        **dict(zip("xyz", ends, strict=True)),
        "mode": "text",
        "text": ["a", "b", "c"],
        "textfont": {"color": "@ink", "size": 14},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    return [edges, letters]


def view_axes() -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the unit vectors to the right, to the top and to the eye of the first view."""
    eye = np.array(EYE) / np.linalg.norm(EYE)
    right = np.cross([0.0, 0.0, 1.0], eye)
    right /= np.linalg.norm(right)
    return right, np.cross(eye, right), eye


def _box(mixture: Mixture, positions: FloatArray) -> dict[str, Any]:
    """Return the axes of a scene that holds all sites and the cell, alike in all directions."""
    corners = np.array(list(itertools.product((0.0, 1.08), repeat=3))) @ mixture.cell
    every = np.concatenate([positions, corners]) if mixture.pbc.any() else positions
    low, high = every.min(axis=0) - MARGIN, every.max(axis=0) + MARGIN
    right, up, _ = view_axes()
    seen = max(float(np.ptp(every @ axis)) for axis in (right, up)) + 2 * MARGIN
    extent = SEEN * (high - low) / seen
    hidden = {"visible": False, "showspikes": False}
    return {
        "aspectmode": "manual",
        "aspectratio": dict(zip("xyz", extent.round(4).tolist(), strict=True)),
        **{
            f"{name}axis": {**hidden, "range": [round(a, 3), round(b, 3)]}
            for name, a, b in zip("xyz", low.tolist(), high.tolist(), strict=True)
        },
    }


def _directions(mixture: Mixture) -> dict[str, list[float]]:
    found = {"first view": list(EYE)}
    if mixture.pbc.any():
        for name, vector in zip("abc", mixture.cell, strict=True):
            length = float(np.linalg.norm(vector))
            if length > 1e-6:
                found[f"along {name}"] = (2.0 * vector / length).round(4).tolist()
    return found


def _description(
    mixture: Mixture, occupancies: Sequence[Mapping[str, float]], spheres: bool
) -> str:
    from collections import Counter

    counts = Counter(words_of(occupancy) for occupancy in occupancies)
    kinds = "; ".join(
        f"{count} {'site' if count == 1 else 'sites'} of {words}" for words, count in counts.items()
    ).replace(VACANCY, "vacancy")
    how = (
        "Each site is a sphere, cut into sectors as large as the occupancies; vacancies are glass."
        if spheres
        else "Each site is a point in the mixed colour of what it holds."
    )
    total = "1 site" if mixture.n_sites == 1 else f"{mixture.n_sites} sites"
    return f"{total}: {kinds}. {how}"


def _site_table(mixture: Mixture, occupancies: Sequence[Mapping[str, float]]) -> Table:
    groups = {site: group.name for group in mixture.groups for site in group.sites.tolist()}
    rows = [
        (site, words_of(occupancy), groups.get(site), *position)
        for site, (occupancy, position) in enumerate(
            zip(occupancies, mixture.positions.tolist(), strict=True)
        )
    ]
    columns = ("site", "occupancy", "group", "x (Å)", "y (Å)", "z (Å)")
    return table_of("Sites", columns, rows)
