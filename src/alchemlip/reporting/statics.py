"""What a report says of energies and relaxations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemlip.reporting.content import (
    Figure,
    Findings,
    Quantity,
    Section,
    rounded,
    shown,
    table_of,
)
from alchemlip.reporting.figures import axes, series, span_of
from alchemlip.reporting.reading import RunFiles

MEASURES = (
    ("enthalpy_eV_per_atom", "Enthalpy", "eV/site", ".6f"),
    ("external_pressure_GPa", "External pressure", "GPa", "g"),
    ("max_force_eV_per_A", "Largest force", "eV/Å", ".2e"),
    ("max_stress_deviation_GPa", "Largest stress deviation", "GPa", ".2e"),
    ("pressure_GPa", "Pressure", "GPa", ".4f"),
    ("volume_A3", "Volume", "Å³", ".4f"),
    ("space_group", "Space group", "", ""),
    ("largest_magnetic_moment_muB", "Largest magnetic moment", "μB", ".3f"),
)


def energy_findings(run: RunFiles) -> Findings:
    """Return energy and derivatives of one mixture."""
    results = run.results
    if not results:
        return Findings()
    quantities = [_energy(results), *_lattice(results), *_measures(results)]
    sections = [Section("Derivatives", tables=_derivatives(results), folded=_by_site(results))]
    return Findings(tuple(quantities), (), tuple(sections))


def relaxation_findings(run: RunFiles) -> Findings:
    """Return a relaxed mixture, and how its relaxation went."""
    results, sections, warnings = run.results, [], []
    quantities: list[Quantity] = []
    if results:
        quantities = [_energy(results), *_lattice(results), *_measures(results)]
        if not results.get("converged", True):
            warnings.append(
                "Not converged: the relaxation ran out of steps; raise --max-steps, or relax "
                "--fmax and --smax."
            )
    elif run.steps:
        last = run.steps[-1]
        value = rounded(float(last["energy_eV"]), digits=6)[0]
        quantities = [
            Quantity(f"Energy after step {last['step']}", value, "eV", note="Not relaxed yet."),
            Quantity("Largest force", shown(float(last["max_force_eV_per_A"]), ".2e"), "eV/Å"),
        ]
    if run.steps:
        sections.append(Section("Convergence", figures=tuple(_course(run))))
    if results:
        sections.append(Section("Derivatives", tables=_derivatives(results)))
        if "members" in results:
            rows = [(name, *item.values()) for name, item in results["members"].items()]
            columns = ("potential", *next(iter(results["members"].values())))
            members = table_of("Relaxed by each potential of the ensemble", columns, rows)
            sections.append(Section("Members of the ensemble", tables=(members,)))
    return Findings(tuple(quantities), tuple(warnings), tuple(sections))


def _energy(results: Mapping[str, Any]) -> Quantity:
    spread = results.get("energy_eV_per_atom_spread")
    value, error = rounded(float(results["energy_eV_per_atom"]), spread, 6)
    note = "1 site" if results["n_sites"] == 1 else f"{results['n_sites']} sites"
    if abs(results["n_atoms"] - results["n_sites"]) > 1e-9:
        note += f", {results['n_atoms']:g} atoms"
    if error:
        note += "; ± is the standard deviation over the potentials"
    return Quantity("Energy", value, "eV/site", error, note)


def _lattice(results: Mapping[str, Any]) -> list[Quantity]:
    found: list[Quantity] = []
    if "a_A" not in results:
        return found
    lengths = {key: float(results[f"{key}_A"]) for key in "abc"}
    names = " = ".join(lengths)
    if max(lengths.values()) - min(lengths.values()) < 1e-3:
        lengths = {names: float(np.mean(list(lengths.values())))}
    for key, value in lengths.items():
        spread = results.get(f"{key[0]}_A_spread")
        text, error = rounded(value, spread)
        found.append(Quantity(key, text, "Å", error))
    angles = [results[f"{name}_deg"] for name in ("alpha", "beta", "gamma")]
    if any(abs(angle - 90) > 0.005 for angle in angles):
        text = ", ".join(f"{angle:.2f}" for angle in angles)
        found.append(Quantity("α, β, γ", text, "°"))
    return found


def _measures(results: Mapping[str, Any]) -> list[Quantity]:
    return [
        Quantity(name, shown(results[key], form) if form else str(results[key]), unit)
        for key, name, unit, form in MEASURES
        if results.get(key) not in (None, "")
    ]


def _derivatives(results: Mapping[str, Any]) -> tuple[Any, ...]:
    tables = []
    gradient = results.get("composition_gradient_eV") or {}
    if gradient:
        composition = results.get("composition") or {}
        spread = results.get("composition_gradient_eV_spread") or {}
        rows = [
            (name, composition.get(name), value, spread.get(name))
            for name, value in gradient.items()
        ]
        columns = ["component", "weight", "dE/dx (eV)", "spread (eV)"]
        kept = 4 if spread else 3
        tables.append(
            table_of("Composition gradient", columns[:kept], [row[:kept] for row in rows])
        )
    names = ("xx", "yy", "zz", "yz", "xz", "xy")
    stress = [results.get(f"stress_{name}_GPa") for name in names]
    if any(value is not None for value in stress):
        tables.append(table_of("Stress", [f"{name} (GPa)" for name in names], [stress]))
    return tuple(tables)


def _by_site(results: Mapping[str, Any]) -> tuple[Any, ...]:
    forces = results.get("forces_eV_per_A")
    if not forces:
        return ()
    columns = ["site", "energy (eV)", "F_x (eV/Å)", "F_y (eV/Å)", "F_z (eV/Å)"]
    energies = results.get("site_energies_eV") or [None] * len(forces)
    rows = [[i, energies[i], *force] for i, force in enumerate(forces)]
    moments = results.get("magnetic_moments_muB")
    if moments:
        columns.append("moment (μB)")
        rows = [[*row, moment] for row, moment in zip(rows, moments, strict=True)]
    return (table_of("Energies and forces of the sites", columns, rows),)


def _course(run: RunFiles) -> list[Figure]:
    """Return force and energy against the step."""
    steps = [int(line["step"]) for line in run.steps]
    forces = [float(line["max_force_eV_per_A"]) for line in run.steps]
    stresses = [float(line["max_stress_deviation_GPa"]) for line in run.steps]
    energies = [float(line["energy_eV"]) for line in run.steps]
    limits = run.inputs.get("relaxation") or {}
    traces = []
    for number, (name, values, limit) in enumerate(
        (
            ("largest force (eV/Å)", forces, limits.get("fmax")),
            ("stress deviation (GPa)", stresses, limits.get("smax")),
        )
    ):
        if not any(values):
            continue
        traces.append(series(steps, [value or None for value in values], name, number))
        if limit:
            ends = [steps[0], steps[-1]]
            label = f"limit of the {name.split(' (')[0].split()[-1]}"
            traces.append(series(ends, [limit] * 2, label, number, mode="lines"))
            traces[-1]["line"] |= {"width": 1, "dash": "dot"}
    table = table_of(
        "Steps of the relaxation",
        ("step", "energy (eV)", "largest force (eV/Å)", "stress deviation (GPa)"),
        list(zip(steps, energies, forces, stresses, strict=True)),
    )
    told = f"{len(steps)} steps. {span_of('The largest force', forces, 'eV/Å')}"
    figures = [
        Figure(
            "residuals",
            "Force and stress, step by step",
            f"{told} {span_of('The stress deviation', stresses, 'GPa')}",
            tuple(traces),
            axes("step", "eV/Å, GPa", yaxis={"type": "log", "exponentformat": "power"}),
            table,
            height=320,
        )
    ]
    if len(steps) > 1:
        lowest = min(energies)
        above = [1e3 * (energy - lowest) for energy in energies]
        figures.append(
            Figure(
                "energy",
                "Energy, step by step",
                span_of("The energy above the lowest", above, "meV"),
                (series(steps, [value or None for value in above], "energy"),),
                axes(
                    "step",
                    "energy above the lowest (meV)",
                    yaxis={"type": "log", "exponentformat": "power"},
                ),
                height=280,
            )
        )
    return figures
