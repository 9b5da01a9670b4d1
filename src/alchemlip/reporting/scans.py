"""What a report says of a scan across compositions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.crystal.level import Level, scan_level
from alchemlip.crystal.plotting import lattice_parameters
from alchemlip.reporting.content import (
    Figure,
    Findings,
    Quantity,
    Section,
    rounded,
    table_of,
)
from alchemlip.reporting.figures import axes, level, series, span_of, ternary
from alchemlip.reporting.reading import RunFiles


def scan_findings(run: RunFiles) -> Findings:
    """Return relaxed properties across compositions."""
    inputs = run.inputs
    name = str(inputs["scanned_group"])
    labels = [str(label) for label in inputs["groups"][name]["components"]]
    records, total = _scan_records(run, name, labels)
    if not records:
        return Findings()
    x = np.array(
        [[record["composition"][f"{name}:{label}"] for label in labels] for record in records]
    )
    open_points = [not record.get("converged", True) for record in records]
    at = scan_level(str(inputs["groups"][name]["correlation"]))
    warnings = []
    if any(open_points):
        warnings.append(
            f"{sum(open_points)} of {len(records)} points ran out of steps (drawn open): raise "
            "--max-steps, or relax --fmax and --smax."
        )
    quantities = [
        *_extremes(x, labels, records, at),
        Quantity(
            "Compositions", f"{len(records)} of {total}" if total > len(records) else str(total)
        ),
        Quantity("Converged", f"{len(records) - sum(open_points)} of {len(records)}"),
    ]
    figures = (
        _line_figures(x[:, 1], labels, records, open_points)
        if len(labels) == 2
        else _triangle_figures(x, labels, records, open_points)
    )
    rows = [
        (
            *weights,
            record[found_name("energy_eV_per_atom", record)],
            record.get("max_force_eV_per_A"),
            record.get("max_stress_deviation_GPa"),
            record.get("steps"),
            record.get("converged"),
        )
        for weights, record in zip(x.tolist(), records, strict=True)
    ]
    columns = (
        *(f"x({label})" for label in labels),
        f"{named('energy', 'enthalpy_eV_per_atom' in records[0])} (eV/site)",
        "largest force (eV/Å)",
        "stress deviation (GPa)",
        "steps",
        "converged",
    )
    convergence = table_of("How each composition relaxed", columns, rows)
    sections = (
        Section("Across compositions", figures=tuple(figures)),
        Section("Convergence", tables=(convergence,)),
    )
    return Findings(tuple(quantities), tuple(warnings), sections)


def _scan_records(
    run: RunFiles, group: str, labels: Sequence[str]
) -> tuple[list[Mapping[str, Any]], int]:
    """Return the finished points in the order of the grid, and how many there are to be."""
    from alchemlip.crystal.scanning import ScanPoint, composition_grid, with_mixing_energy
    from alchemlip.mixture.mixture import Mixture

    grid = composition_grid(len(labels), int(run.inputs["points"]))
    if run.status == "finished":
        return list(run.record.get("points") or []), len(grid)
    done = {}
    for saved in run.points:
        index = int(saved["index"])
        mixture = Mixture.from_dict(saved["mixture"])
        done[index] = ScanPoint(index, grid[index], mixture, dict(saved["record"]))
    return [point.record for point in with_mixing_energy(done, grid)], len(grid)


def _extremes(
    x: FloatArray, labels: Sequence[str], records: Sequence[Mapping[str, Any]], level: Level
) -> list[Quantity]:
    """Return the mixing energy that is farthest from 0, and the range of the lattice."""
    found = []
    key, mixing = _mixing(records)
    if all(key in record for record in records):
        energies = 1e3 * np.array([record[key] for record in records])
        at = int(np.abs(energies).argmax())
        spread = records[at].get(f"{key}_spread")
        value, error = rounded(float(energies[at]), None if spread is None else 1e3 * spread, 2)
        value = value if value.startswith("−") else f"+{value}"
        where = ", ".join(f"{label} {w:.3g}" for label, w in zip(labels, x[at], strict=True))
        note = f"The largest in size, at {where}; above the line between the pure ends."
        if len(labels) > 2:
            note = note.replace("line", "plane")
        note = f"{note} {level.errs[:1].upper()}{level.errs[1:]}."
        found.append(Quantity(f"{mixing} ({level.name})", value, "meV/site", error, note))
    for name, values in lattice_parameters(records).items():
        found.append(Quantity(name, f"{values.min():.4f} to {values.max():.4f}", "Å"))
    return found


def _mixing(records: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Return name and words of the mixing energy, at pressure of the mixing enthalpy."""
    key = found_name("mixing_energy_eV_per_atom", records[0])
    return key, named("Mixing energy", "enthalpy" in key)


def _line_figures(
    x: FloatArray,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    open_points: Sequence[bool],
) -> list[Figure]:
    order = np.argsort(x)
    along, hollow = x[order], [open_points[i] for i in order]
    title_x = f"x, from {labels[0]} (0) to {labels[1]} (1)"
    figures = []
    key, mixing = _mixing(records)
    if all(key in record for record in records):
        energy = 1e3 * np.array([records[i][key] for i in order])
        figures.append(
            Figure(
                "mixing",
                mixing,
                span_of(f"The {mixing.lower()}", energy, "meV/site"),
                (
                    series(
                        along,
                        energy,
                        mixing.lower(),
                        error=_spreads(records, order, key, 1e3),
                        hollow=hollow,
                    ),
                ),
                axes(title_x, f"{mixing.lower()} (meV/site)", shapes=[level()]),
                table_of(
                    mixing,
                    ("x", f"{mixing.lower()} (meV/site)"),
                    list(zip(along.tolist(), energy.tolist(), strict=True)),
                ),
                height=340,
            )
        )
    for number, (name, values) in enumerate(lattice_parameters(records).items()):
        ordered = values[order]
        whole = {0.0, 1.0} <= {float(along[0]), float(along[-1])}
        traces = [
            series(
                along,
                ordered,
                "relaxed",
                error=_spreads(records, order, f"{name[0]}_A"),
                hollow=hollow,
            )
        ]
        columns, rows = (
            ["x", f"{name} (Å)"],
            [list(row) for row in zip(along.tolist(), ordered.tolist(), strict=True)],
        )
        told = ""
        if whole:
            line = np.interp(along, [0.0, 1.0], [ordered[0], ordered[-1]])
            traces.append(series(along, line, "Vegard's line", 1, mode="lines"))
            columns.append("from Vegard's line (10⁻³ Å)")
            beyond = 1e3 * (ordered - line)
            rows = [[*row, value] for row, value in zip(rows, beyond.tolist(), strict=True)]
            told = " " + span_of("The distance from Vegard's line", beyond, "10⁻³ Å")
        figures.append(
            Figure(
                f"lattice-{number}",
                f"Lattice parameter {name}",
                span_of(f"{name}", ordered, "Å") + told,
                tuple(traces),
                axes(title_x, f"{name} (Å)"),
                table_of(f"Lattice parameter {name}", columns, rows),
                height=340,
            )
        )
    return figures


def _triangle_figures(
    x: FloatArray,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    open_points: Sequence[bool],
) -> list[Figure]:
    quantities: list[tuple[str, str, str, FloatArray]] = []
    key, mixing = _mixing(records)
    if all(key in record for record in records):
        energy = 1e3 * np.array([record[key] for record in records])
        quantities.append(("mixing", mixing, "meV/site", energy))
    lattice = lattice_parameters(records)
    if len(lattice) == 1:
        name, values = next(iter(lattice.items()))
        quantities.append(("lattice", f"Lattice parameter {name}", "Å", values))
    elif lattice:
        size = np.cbrt([record["volume_A3"] for record in records])
        quantities.append(("lattice", "Cube root of the cell volume", "Å", size))
    figures = []
    for name, title, unit, values in quantities:
        traces, layout = ternary(x, values, labels, unit, open_points)
        figures.append(
            Figure(
                name,
                title,
                f"{span_of(title, values, unit)} Corners are the pure {', '.join(labels)}.",
                traces,
                layout,
                table_of(
                    title,
                    (*(f"x({label})" for label in labels), f"{title.lower()} ({unit})"),
                    [(*row, value) for row, value in zip(x.tolist(), values.tolist(), strict=True)],
                ),
                height=440,
            )
        )
    return figures


def _spreads(
    records: Sequence[Mapping[str, Any]], order: Any, key: str, scale: float = 1.0
) -> FloatArray | None:
    if f"{key}_spread" not in records[0]:
        return None
    return scale * np.array([records[i][f"{key}_spread"] for i in order])
