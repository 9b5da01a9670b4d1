"""What a report says of random alloys and of ordering."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemlip.crystal.enthalpy import external_pressure, found_name, named
from alchemlip.crystal.level import Level, level_of_disorder, level_of_ordering, mixing_level
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

ENERGIES = (
    ("mean_field_mixing_energy_eV_per_atom", "mean field"),
    ("mixing_energy_eV_per_atom", "random alloy"),
    ("relaxed_mixing_energy_eV_per_atom", "with local relaxation"),
)
"""By their names at no pressure; at pressure they are enthalpies."""
GRID = np.linspace(0.0, 1.0, 101)
LONGEST_PAIR_A = 9.0


def disorder_findings(run: RunFiles) -> Findings:
    """Return the energy of a random alloy, and its free energy of mixing."""
    labels = [str(label) for label in run.inputs["components"]]
    records, x = _disorder_records(run)
    if not records:
        return Findings()
    results, warnings = run.results, []
    mixing, vibrating = _mixing_words(records[0]), mixing_level(relaxed=True, vibrations=True)
    pressure = external_pressure(run.inputs)
    failed = sum(not record.get("converged", True) for record in records)
    if failed:
        warnings.append(f"{failed} of {len(records)} cells did not relax to the limits.")
    notes = dict.fromkeys(record.get("local_relaxation_note") for record in records)
    warnings += [f"No local relaxation somewhere: {note}." for note in notes if note]
    warnings += _vibration_warnings(records, results)
    random, relaxed = (found_name(key, records[0]) for key, _ in ENERGIES[1:])
    key = relaxed if all(relaxed in record for record in records) else random
    quantities = []
    if all(key in record for record in records):
        energies = 1e3 * np.array([record[key] for record in records])
        at = int(np.abs(energies).argmax())
        where = ", ".join(f"{label} {w:.3g}" for label, w in zip(labels, x[at], strict=True))
        value = rounded(float(energies[at]), digits=2)[0]
        value = value if value.startswith("−") else f"+{value}"
        kind = "with local relaxation" if key == relaxed else "at fixed lattice sites"
        note = f"Random alloy {kind}, at rest; the largest in size, at {where}."
        quantities.append(Quantity(mixing, value, "meV/site", note=note))
    at_rest = level_of_disorder(results)
    if results.get("critical_temperature_K"):
        quantities.append(
            Quantity(
                f"Mixes at every composition above ({at_rest.name})",
                f"{results['critical_temperature_K']:.0f}",
                "K",
                note=f"Critical point at x = {results['critical_composition']:.3f}; "
                f"{at_rest.errs}.",
            )
        )
    if results.get("harmonic_critical_temperature_K"):
        quantities.append(
            Quantity(
                "With vibrations, mixes above",
                f"{results['harmonic_critical_temperature_K']:.0f}",
                "K",
                note=f"Critical point at x = {results['harmonic_critical_composition']:.3f}; "
                f"harmonic, at the volumes of least energy; {vibrating.name}: {vibrating.errs}.",
            )
        )
    total = len(run.inputs["compositions"])
    quantities.append(Quantity("Compositions", f"{len(records)} of {total}"))
    if len(labels) == 2:
        figures = [
            _mixing_figure(x[:, 1], labels, records, results, mixing),
            *_thermal(labels, results, at_rest),
        ]
    elif all(key in record for record in records):
        values = 1e3 * np.array([record[key] for record in records])
        traces, layout = ternary(x, values, labels, "meV/site", [False] * len(records))
        rows = [(*row, value) for row, value in zip(x.tolist(), values.tolist(), strict=True)]
        table = table_of(mixing, (*labels, f"{mixing.lower()} (meV/site)"), rows)
        told = span_of(f"The {mixing.lower()}", values, "meV/site")
        figures = [Figure("mixing", mixing, told, traces, layout, table, height=440)]
    else:
        figures = []
    sections = (
        Section(f"{named('energy', pressure).capitalize()} of mixing", figures=tuple(figures)),
        Section("The cells behind it", tables=(_cells(labels, x, records),)),
    )
    return Findings(tuple(quantities), tuple(warnings), sections)


def _mixing_words(record: Mapping[str, Any]) -> str:
    """Return what the mixing energy of a record is called: ``Mixing energy`` or ``enthalpy``."""
    return named("Mixing energy", float("mixing_enthalpy_eV_per_atom" in record))


def _vibration_warnings(
    records: Sequence[Mapping[str, Any]], results: Mapping[str, Any]
) -> list[str]:
    """Return why vibrations, or a part of them, are missing."""
    texts = [record.get("quasi_harmonic_note") for record in records]
    texts += [(record.get("quasi_harmonic") or {}).get("note") for record in records]
    entries = results.get("with_vibrations") or []
    texts += [results.get("vibrations_note"), *(entry.get("note") for entry in entries)]
    return [f"Vibrations: {text}." for text in dict.fromkeys(texts) if text]


def _disorder_records(run: RunFiles) -> tuple[list[Mapping[str, Any]], Any]:
    from alchemlip.disorder.study import DisorderPoint, with_mixing_energies
    from alchemlip.mixture.mixture import Mixture

    compositions = np.array(run.inputs["compositions"])
    if run.status == "finished":
        return list(run.record.get("points") or []), compositions
    points = [
        DisorderPoint(
            compositions[int(saved["index"])],
            Mixture.from_dict(saved["mixture"]),
            dict(saved["record"]),
        )
        for saved in sorted(run.points, key=lambda saved: int(saved["index"]))
    ]
    if not points:
        return [], compositions[:0]
    found = with_mixing_energies(points)
    return [point.record for point in found], np.array([point.x for point in found])


def _mixing_figure(
    x: Any,
    labels: Sequence[str],
    records: Sequence[Mapping[str, Any]],
    results: Mapping[str, Any],
    mixing: str,
) -> Figure:
    from alchemlip.disorder.mixing import BinaryMixing

    traces, told, columns = [], [], ["x"]
    rows: list[list[Any]] = [[value] for value in x.tolist()]
    for number, (at_rest, name) in enumerate(ENERGIES):
        key = found_name(at_rest, records[0])
        if not all(key in record for record in records):
            continue
        values = 1e3 * np.array([record[key] for record in records])
        traces.append(series(x, values, name, number, mode="markers"))
        told.append(span_of(f"The {mixing.lower()} ({name})", values, "meV/site"))
        columns.append(f"{name} (meV/site)")
        rows = [[*row, value] for row, value in zip(rows, values.tolist(), strict=True)]
    coefficients = results.get("redlich_kister_eV_per_atom")
    if coefficients:
        curve = 1e3 * BinaryMixing(np.array(coefficients)).energy(GRID)
        number = 2 if results.get("free_energy_includes_local_relaxation") else 1
        traces.append(series(GRID, curve, "smooth curve", number, mode="lines"))
    return Figure(
        "mixing",
        mixing,
        " ".join(told) or "The pure ends are not there yet.",
        tuple(traces),
        axes(
            f"x, from {labels[0]} (0) to {labels[1]} (1)",
            f"{mixing.lower()} (meV/site)",
            shapes=[level()],
        ),
        table_of(mixing, columns, rows),
    )


def _thermal(labels: Sequence[str], results: Mapping[str, Any], at: Level) -> list[Figure]:
    entries = results.get("at_temperature") or []
    if not entries:
        return []
    traces, told, rows = [], [], []
    for number, entry in enumerate(entries):
        key = found_name("free_energy_of_mixing_eV_per_atom", entry)
        free = 1e3 * np.array(entry[key])
        name = f"{entry['temperature_K']:g} K"
        traces.append(series(entry["x"], free, name, number))
        gaps = "; ".join(f"{a:.3f} to {b:.3f}" for a, b in entry["miscibility_gaps"])
        told.append(f"At {name} the miscibility gap is {gaps or 'none'} ({at.name}).")
        spinodal = entry["spinodal"]
        rows += [(name, a, b, "miscibility gap") for a, b in entry["miscibility_gaps"]]
        if spinodal:
            flat = np.ravel(np.array(spinodal, dtype=float)).tolist()
            rows += [(name, a, b, "spinodal") for a, b in zip(flat[::2], flat[1::2], strict=False)]
    words = named("free energy of mixing", float(key.startswith("gibbs")))
    return [
        Figure(
            "free-energy",
            f"{words[:1].upper()}{words[1:]} ({at.name})",
            f"{' '.join(told)} {at.errs[:1].upper()}{at.errs[1:]}.",
            tuple(traces),
            axes(
                f"x, from {labels[0]} (0) to {labels[1]} (1)",
                f"{words} (meV/site)",
                shapes=[level()],
            ),
            table_of(
                f"Where the alloy separates ({at.name})",
                ("temperature", "from x", "to x", "what"),
                rows,
            )
            if rows
            else None,
        )
    ]


def _cells(labels: Sequence[str], x: Any, records: Sequence[Mapping[str, Any]]) -> Any:
    rows = []
    for weights, record in zip(x.tolist(), records, strict=True):
        explicit = record.get("explicit_energy_eV_per_atom")
        rows.append(
            (
                *weights,
                record.get("mean_field_energy_eV_per_atom"),
                record.get("random_energy_eV_per_atom"),
                "×".join(map(str, record.get("supercell") or [])) or None,
                record.get("converged"),
                explicit,
                record.get("explicit_standard_error_eV_per_atom"),
            )
        )
    columns = (
        *(f"x({label})" for label in labels),
        "mean field (eV/site)",
        "random (eV/site)",
        "supercell",
        "converged",
        "explicit cells (eV/site)",
        "± (eV/site)",
    )
    if all(row[-2] is None for row in rows):
        columns, rows = columns[:-2], [row[:-2] for row in rows]
    return table_of("Energies of the cells", columns, rows)


def order_findings(run: RunFiles) -> Findings:
    """Return by which waves a crystal orders, into what, and at what temperature."""
    results = run.results
    if not results:
        return Findings()
    warnings = []
    if not results.get("converged", True):
        warnings.append("The mixed cell did not relax to the limits: raise --max-steps.")
    waves = results["ordering_waves"]
    quantities = []
    if results.get("critical_temperature_K") is not None:
        first, at = waves[0], level_of_ordering(results)
        point = first["label"] or "k = " + " ".join(f"{k:.3f}" for k in first["k"])
        verb = "separates" if first["phase_separation"] else "orders"
        quantities.append(
            Quantity(
                f"Temperature below which it {verb} ({at.name})",
                f"{results['critical_temperature_K']:.0f}",
                "K",
                note=f"By the waves of {point}; {at.errs}.",
            )
        )
    structures = results["ordered_structures"]
    if structures:
        best = max(structures, key=lambda item: item["ordering_energy_eV_per_atom"])
        gain = rounded(1e3 * best["ordering_energy_eV_per_atom"], digits=2)[0]
        note = f"{best['name']}, {best['space_group']}; below the random alloy."
        quantities.append(Quantity("Best ordered structure gains", gain, "meV/site", note=note))
    random = rounded(results["random_energy_eV_per_atom"], digits=5)[0]
    quantities.append(Quantity("Random alloy", random, "eV/site"))
    wave_rows = [
        (
            wave["label"] or "–",
            " ".join(f"{k:.3f}" for k in wave["k"]),
            wave["arms"],
            wave["eigenvalue_meV"],
            wave["critical_temperature_K"],
        )
        for wave in waves
    ]
    structure_rows = [
        (
            item["name"],
            item["formula"],
            item["space_group"],
            item["energy_eV_per_atom"],
            1e3 * item["ordering_energy_eV_per_atom"],
        )
        for item in structures
    ]
    sections = [
        Section(
            "Ordering waves",
            tables=(
                table_of(
                    f"Most unstable first ({level_of_ordering(results).name})",
                    ("point", "k", "arms", "eigenvalue (meV)", "mean-field T (K)"),
                    wave_rows,
                ),
            ),
        ),
        Section(
            "Ordered structures",
            tables=(
                table_of(
                    "Structures made by these waves",
                    ("name", "formula", "space group", "energy (eV/site)", "gain (meV/site)"),
                    structure_rows,
                ),
            ),
        ),
        Section("Pair interactions", figures=(_pairs(results),)),
    ]
    order = results.get("short_range_order")
    if order:
        columns = list(next(iter(order.values()))[0])
        rows = [(pair, *shell.values()) for pair, shells in order.items() for shell in shells]
        table = table_of("Warren-Cowley parameters by shell", ("pair", *columns), rows)
        sections.append(Section("Short-range order", folded=(table,)))
    return Findings(tuple(quantities), tuple(warnings), tuple(sections))


def _pairs(results: Mapping[str, Any]) -> Figure:
    traces, told, rows = [], [], []
    for number, (pair, shells) in enumerate(results["pair_interactions_meV"].items()):
        near = [shell for shell in shells if shell["distance_A"] <= LONGEST_PAIR_A]
        distances = [shell["distance_A"] for shell in near]
        values = [shell["J_meV"] for shell in near]
        hollow = [bool(shell["shared_by_images"]) for shell in near]
        traces.append(series(distances, values, pair, number, mode="markers", hollow=hollow))
        told.append(span_of(f"J of {pair}", values, "meV"))
        rows += [(pair, s["distance_A"], s["multiplicity"], s["J_meV"]) for s in shells]
    return Figure(
        "pairs",
        "Effective pair interactions",
        " ".join(told) + " Open points are shared by equally near images of the supercell.",
        tuple(traces),
        axes("distance (Å)", "J (meV)", shapes=[level()]),
        table_of(
            "Effective pair interactions",
            ("pair", "distance (Å)", "neighbours", "J (meV)"),
            rows,
        ),
    )
