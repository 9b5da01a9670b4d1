"""Relaxed properties along a binary line or over a ternary triangle of compositions.

    points = scan(mixture, potential, "Ce", points=11, folder="CeZrO2")

The grid is done in levels, each finer than the one before. Every point starts from its nearest
points of the coarser levels, whatever else is finished, so that a scan that was stopped goes on to
the same numbers. Points of a level are relaxed in batches. With a folder, each point is on the disk
when it finishes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import formulas, found_name, named
from alchemlip.crystal.level import scan_level
from alchemlip.crystal.plausibility import mixture_warnings, spread_warnings
from alchemlip.crystal.relaxation import RelaxationResult, RelaxationSettings, relax_many
from alchemlip.crystal.report import describe_potential, describe_relaxation, flat_row
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.structure_files import write_point_cifs
from alchemlip.records.results import FORMULAS, ResultFolder, fingerprint

if TYPE_CHECKING:
    from alchemlip.potential.ensemble import Potential

START_RULE = "points start from the nearest points of coarser levels alone"
BATCH_SITES_CPU = 24
BATCH_SITES_CUDA = 2048


@dataclass(frozen=True)
class ScanPoint:
    """A finished point.

    Attributes:
        index: position in the grid.
        x: (K,) composition of the scanned group.
        mixture: relaxed.
        record: its properties, flat, names with units; ``mixing_energy_eV_per_atom`` is measured
            from the straight line (plane) between the pure ends once these are there, and
            ``mixing_enthalpy_eV_per_atom`` takes its place at pressure. With an
            ensemble, names that end in ``_spread`` are standard deviations over its members, each
            relaxed by itself and its mixing energy measured from its own ends.
    """

    index: int
    x: FloatArray
    mixture: Mixture
    record: dict[str, Any]


Conclude = Callable[[Sequence[ScanPoint]], dict[str, Any]]
"""Further results of the finished points of a scan."""


class ScanResult(list[ScanPoint]):
    """The points of a scan in the order of the grid: a list that notebooks show as a table."""

    def _repr_html_(self) -> str:
        """Return one row a point."""
        from alchemlip.notebook import html_table

        keys = {
            "energy_eV_per_atom": "energy (eV/site)",
            "mixing_energy_eV_per_atom": "mixing energy (eV/site)",
            "mixing_enthalpy_eV_per_atom": "mixing enthalpy (eV/site)",
            "a_A": "a (Å)",
            "b_A": "b (Å)",
            "c_A": "c (Å)",
            "converged": "converged",
        }
        columns = [key for key in keys if any(key in point.record for point in self)]
        rows = [
            (
                ", ".join(f"{weight:.4g}" for weight in point.x),
                *(point.record.get(key) for key in columns),
            )
            for point in self
        ]
        return html_table("Scan", ("x", *(keys[key] for key in columns)), rows)


def composition_grid(n_components: int, points: int) -> FloatArray:
    """Return the compositions (P, n_components) of a regular grid on the simplex.

    Args:
        n_components: 2 for a line, 3 for a triangle.
        points: number along an edge, ends included; a triangle has points (points + 1) / 2.

    Raises:
        InputError: for fewer than two points or components.
    """
    if n_components < 2:
        raise InputError("a scan needs at least two species: write for example Ce=Ce,Zr")
    if points < 2:
        raise InputError(f"a scan with {points} points has no ends: ask for at least 2 (--points)")
    steps = points - 1
    counts = [
        combination
        for combination in itertools.product(range(steps, -1, -1), repeat=n_components)
        if sum(combination) == steps
    ]
    return np.array(counts, dtype=float) / steps


def scan(
    mixture: Mixture,
    potential: Potential,
    group: str | None = None,
    *,
    points: int = 11,
    folder: str | Path | ResultFolder | None = None,
    settings: RelaxationSettings | None = None,
    batch_sites: int | None = None,
    on_point: Callable[[ScanPoint, int, int], None] | None = None,
    conclude: Conclude | None = None,
) -> ScanResult:
    """Relax a mixture at every composition of a grid.

    Args:
        mixture: the start; the scanned group may have two or three components.
        potential: a loaded potential, or an ensemble.
        group: name of the scanned group; may be left out if there is one group.
        points: along an edge of the grid, ends included.
        folder: where to keep points and results; a folder with unfinished points of the same scan
            is continued.
        settings: of the relaxations.
        batch_sites: most sites in one batch; chosen by the device if None.
        on_point: called with (point, number finished, number of all) after each point.
        conclude: gives further results of all points, for the folder.

    Returns:
        The points in the order of the grid.

    Raises:
        InputError: if there is no such group, or the folder belongs to another run.
    """
    settings = settings or RelaxationSettings()
    name = _scanned_group(mixture, group)
    grid = composition_grid(len(mixture.group(name).components), points)
    if isinstance(folder, ResultFolder) or folder is None:
        store = folder
    else:
        store = ResultFolder(
            folder, "scan", scan_inputs(mixture, potential, name, points, settings)
        )
    if batch_sites is None:
        batch_sites = BATCH_SITES_CUDA if potential.device.type == "cuda" else BATCH_SITES_CPU

    done: dict[int, ScanPoint] = {}
    for saved in store.points() if store else []:
        index = int(saved["index"])
        relaxed = Mixture.from_dict(saved["mixture"])
        done[index] = ScanPoint(index, grid[index], relaxed, saved["record"])
    levels = _levels(grid)
    with store.noting_failure() if store else nullcontext():
        for batch, coarser in _batches(levels, set(done), max(1, batch_sites // mixture.n_sites)):
            before = [done[index] for index in coarser]
            starts = [_start(mixture, name, grid[index], before) for index in batch]

            def on_done(member: int, result: RelaxationResult, batch: list[int] = batch) -> None:
                index = batch[member]
                record = describe_relaxation(result)
                done[index] = ScanPoint(index, grid[index], result.mixture, record)
                if store:
                    entry = {"index": index, "record": record, "mixture": result.mixture.to_dict()}
                    store.append_point(entry)
                    _write_table(store, with_mixing_energy(done, grid))
                if on_point:
                    on_point(done[index], len(done), len(grid))

            relax_many(starts, potential, settings, on_done=on_done)
    finished = with_mixing_energy(done, grid)
    if store and not store.finished:
        level = scan_level(mixture.group(name).correlation)
        _write_table(store, finished)
        write_point_cifs([point.mixture for point in finished], name, store.path)
        told = [text for point in finished for text in mixture_warnings(point.mixture)]
        told += spread_warnings([point.record for point in finished])
        results = scan_summary(finished) | level.to_dict()
        if conclude is not None:
            with store.noting_failure():
                results |= conclude(finished)
        store.finish(results, [_named(point) for point in finished], told)
    return ScanResult(finished)


def scan_inputs(
    mixture: Mixture,
    potential: Potential,
    group: str,
    points: int,
    settings: RelaxationSettings,
) -> dict[str, Any]:
    """Return everything that determines a scan, as plain values."""
    pure = {mixture.group(group).components[0]: 1.0}
    return {
        # Where the scanned group starts does not matter.
        "structure": fingerprint(mixture.with_composition(group, pure).to_dict()),
        "formula": str(mixture.to_atoms().symbols),
        "groups": {
            item.name: {
                "sites": item.sites.tolist(),
                "components": list(item.components),
                "correlation": item.correlation,
            }
            for item in mixture.groups
        },
        "scanned_group": group,
        "points": points,
        **describe_potential(potential),
        "relaxation": settings.model_dump(),
        FORMULAS: [START_RULE, *formulas(settings.pressure).get(FORMULAS, ())],
    }


def scan_summary(points: Sequence[ScanPoint]) -> dict[str, Any]:
    """Return the flat ``results`` of a finished scan."""
    records = [point.record for point in points]
    key = found_name("mixing_energy_eV_per_atom", records[0])
    energies = [record[key] for record in records]
    return {
        "n_points": len(points),
        "n_converged": sum(bool(record["converged"]) for record in records),
        "evaluations": sum(int(record["evaluations"]) for record in records),
        f"largest_{key}": max(energies),
        f"smallest_{key}": min(energies),
    }


def _scanned_group(mixture: Mixture, group: str | None) -> str:
    if group is not None:
        return mixture.group(group).name
    if not mixture.groups:
        raise InputError("no sites are mixed, so there is nothing to scan: mix a site first")
    if len(mixture.groups) != 1:
        names = ", ".join(item.name for item in mixture.groups)
        raise InputError(f"which group is scanned is not clear (there are: {names}): name one")
    return mixture.groups[0].name


def _levels(grid: FloatArray) -> list[list[int]]:
    """Return the points in levels: the pure ends first, then ever finer in between.

    The next point is always the one farthest from those before it, so that later points lie between
    earlier ones; a level ends where the distances have halved.
    """
    ends = [int(index) for index in np.flatnonzero(grid.max(axis=1) == 1.0)]
    levels: list[list[int]] = [list(ends)]
    order = list(ends)
    first = 0.0
    while len(order) < len(grid):
        distance = np.linalg.norm(grid[:, None] - grid[None, order], axis=-1).min(axis=1)
        index = int(distance.argmax())
        if len(order) == len(ends) or distance[index] < 0.51 * first:
            first = float(distance[index])
            levels.append([])
        order.append(index)
        levels[-1].append(index)
    return levels


def _batches(
    levels: Sequence[Sequence[int]], done: set[int], size: int
) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the points to do in batches, each with all points of the coarser levels."""
    coarser: list[int] = []
    for level in levels:
        left = [index for index in level if index not in done]
        for start in range(0, len(left), size):
            yield left[start : start + size], coarser
        # In the order of the grid: means are summed alike whenever the points were done.
        coarser = sorted([*coarser, *level])


def _start(mixture: Mixture, group: str, x: FloatArray, finished: Sequence[ScanPoint]) -> Mixture:
    """Return a mixture at a composition, with the mean geometry of its nearest finished points."""
    start = mixture.with_composition(group, x)
    if not finished:
        return start
    distance = np.array([np.linalg.norm(point.x - x) for point in finished])
    near = [finished[i].mixture for i in np.flatnonzero(distance < distance.min() + 1e-9).tolist()]
    cell = np.mean([item.cell for item in near], axis=0)
    if not mixture.pbc.all():
        positions = np.mean([item.positions for item in near], axis=0)
    else:
        fractional = [np.linalg.solve(item.cell.T, item.positions.T).T for item in near]
        positions = np.mean(fractional, axis=0) @ cell
    atoms = start.to_atoms()
    atoms.set_cell(cell)
    atoms.positions = positions
    return start.with_geometry(atoms)


def with_mixing_energy(done: dict[int, ScanPoint], grid: FloatArray) -> list[ScanPoint]:
    """Return the finished points in order, with their mixing energies where the ends are there."""
    ends: dict[int, dict[str, Any]] = {}
    for point in done.values():
        if point.x.max() == 1.0:
            ends[int(point.x.argmax())] = point.record
    points = []
    for index in sorted(done):
        point = done[index]
        record = dict(point.record)
        if len(ends) == grid.shape[1]:
            pressure = float(record.get("external_pressure_GPa", 0.0))
            key = named("mixing_energy_eV_per_atom", pressure)
            record[key] = _above_line(record, ends, point.x)
            if "members" in record:
                by_member = [
                    _above_line(
                        found, {k: end["members"][name] for k, end in ends.items()}, point.x
                    )
                    for name, found in record["members"].items()
                ]
                record[f"{key}_spread"] = float(np.std(by_member, ddof=1))
        points.append(ScanPoint(index, point.x, point.mixture, record))
    return points


def _above_line(record: dict[str, Any], ends: dict[int, dict[str, Any]], x: FloatArray) -> float:
    """Return E, at pressure H, per atom from the straight line (plane) between the ends in eV."""
    key = found_name("energy_eV_per_atom", record)
    line = sum(weight * ends[k][key] for k, weight in enumerate(x.tolist()))
    return float(record[key] - line)


def _named(point: ScanPoint) -> dict[str, Any]:
    return {"index": point.index, **point.record}


def _write_table(store: ResultFolder, points: Sequence[ScanPoint]) -> None:
    store.write_csv("scan.csv", [flat_row(_named(point)) for point in points])
