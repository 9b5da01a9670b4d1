"""What a report says of a free energy: its value, its terms, and how far to trust it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.errors import InputError
from alchemlip.freeenergy.overlap import overlap_warning
from alchemlip.reporting.content import (
    Findings,
    Quantity,
    Section,
    Table,
    power_of_ten,
    rounded,
    table_of,
)
from alchemlip.reporting.reading import RunFiles
from alchemlip.reporting.switching_figures import path_figures
from alchemlip.reporting.window_figures import exchange_figure, window_figures

if TYPE_CHECKING:
    from alchemlip.freeenergy.analysis import Analysis
    from alchemlip.records.runs import RunRecord

NAMES = {
    "transmute": "of the transmutation",
    "switch": "of the path",
    "frenkel-ladd": "of the crystal",
    "vacancy": "of formation of the vacancy",
}
UNITS = {"eV": "eV", "eV_per_atom": "eV/atom"}


def free_energy_findings(run: RunFiles) -> Findings:
    """Return what a run of switching or windows found, or has found so far."""
    import numpy as np

    from alchemlip.records.runs import RunRecord

    results, sections, warnings = run.results, [], []
    quantities = _quantities(run, results) if results else []
    if results:
        warnings += [f"{text}." for text in (overlap_warning(results),) if text]
        if results.get("repeats") == 1 and results.get("couplings") is None:
            warnings.append("A single repeat has no error bar: run several (--repeats).")
        sections.append(
            Section(
                "Terms", tables=(_terms(results), *_springs(results)), text=_conventions(results)
            )
        )
    if not run.has_samples:
        return Findings(tuple(quantities), tuple(warnings), tuple(sections))
    try:
        with RunRecord.read(run.folder) as record:
            analysis = _analysed(record, np.random.default_rng(0), warnings)
            if not results and analysis is not None:
                quantities = _so_far(analysis)
                warnings.append(
                    f"The run is not finished: {analysis.progress}. Values so far are of the path "
                    "alone, without further terms."
                )
            sections += _trust(record, analysis, results)
    except InputError as error:
        warnings.append(f"The samples cannot be shown: {error}.")
    return Findings(tuple(quantities), tuple(warnings), tuple(sections))


def _analysed(record: RunRecord, rng: Any, warnings: list[str]) -> Analysis | None:
    from alchemlip.freeenergy.analysis import analyse

    try:
        return analyse(record, rng)
    except InputError as error:
        warnings.append(f"There is no estimate from the samples: {error}.")
        return None


def _quantities(run: RunFiles, results: Mapping[str, Any]) -> list[Quantity]:
    unit = "eV" if "free_energy_eV" in results else "eV_per_atom"
    value = results.get(f"free_energy_{unit}")
    if value is None:
        return []
    fixed = run.inputs.get("dynamics", {}).get("cell") == "fixed"
    # A Frenkel-Ladd run adds P V in a fixed cell, too.
    pressed = results.get("terms", {}).get("pressure_volume", 0.0) != 0.0
    kind = "Helmholtz" if fixed and not pressed else "Gibbs"
    error = results.get(f"standard_error_{unit}")
    low, high = results.get(f"interval_95_{unit}") or (None, None)
    note = ""
    if low is not None and high is not None:
        ends = [rounded(end, error, 5)[0] for end in (low, high)]
        note = f"95 % interval {ends[0]} to {ends[1]} {UNITS[unit]}; {results['method']}."
    shown, plus = rounded(value, error, 5)
    temperature = f" at {results['temperature_K']:g} K" if "temperature_K" in results else ""
    label = f"{kind} free energy {NAMES.get(run.command, '')}{temperature}"
    found = [Quantity(label, shown, UNITS[unit], plus, note)]
    if results.get("log10_concentration") is not None:
        share = power_of_ten(results["log10_concentration"])
        limits = results.get("concentration_interval_95") or ()
        note = ""
        if len(limits) == 2 and all(limit is not None and limit > 0 for limit in limits):
            least, most = (power_of_ten(math.log10(limit)) for limit in limits)
            note = f"95 % interval {least} to {most}."
        found.append(Quantity("Vacancies in equilibrium", share, "per site", note=note))
    key = found_name("static_formation_energy_eV", results)
    if results.get(key) is not None:
        static = rounded(results[key])[0]
        label = named("Formation energy at rest, 0 K", "enthalpy" in key)
        found.append(Quantity(label, static, "eV"))
    two = results.get("two_crystals")
    if two:
        by_two = rounded(two["free_energy_eV"], two.get("standard_error_eV"))
        found.append(Quantity("By two crystals", by_two[0], "eV", by_two[1]))
    if results.get(f"dissipation_{unit}") is not None:
        loss = rounded(
            results[f"dissipation_{unit}"], results.get(f"dissipation_standard_error_{unit}")
        )
        found.append(Quantity("Dissipation of a leg", loss[0], UNITS[unit], loss[1]))
    if results.get(f"thermodynamic_integration_{unit}") is not None:
        integrated = rounded(
            results[f"thermodynamic_integration_{unit}"],
            results.get(f"thermodynamic_integration_standard_error_{unit}"),
        )
        label = "By thermodynamic integration"
        found.append(Quantity(label, integrated[0], UNITS[unit], integrated[1]))
    if results.get("overlap") is not None:
        label = "Smallest overlap" if "couplings" in results else "Overlap of both directions"
        found.append(Quantity(f"{label} (0 to 1)", f"{results['overlap']:.2g}"))
    if "repeats" in results:
        found.append(Quantity("Independent repeats", str(results["repeats"])))
    return found


def _so_far(analysis: Analysis) -> list[Quantity]:
    found = []
    for name, estimate in analysis.estimates.items():
        value, error = rounded(estimate.value_eV, estimate.standard_error_eV, 5)
        label = f"{name[:1].upper()}{name[1:]}, so far, at {analysis.temperature_K:g} K"
        found.append(Quantity(label, value, "eV", error, "For the whole cell, the path alone."))
    return found


def _terms(results: Mapping[str, Any]) -> Table:
    unit = "eV" if "free_energy_eV" in results else "eV_per_atom"
    rows = [(name.replace("_", " "), float(value)) for name, value in results["terms"].items()]
    rows.append(("sum: free energy", float(results[f"free_energy_{unit}"])))
    return table_of("What adds up to the free energy", ("term", UNITS[unit]), rows)


def _conventions(results: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what has to be known to compare the number with another."""
    text = [f"Method: {results['method']}."]
    if "centre_of_mass_convention" in results:
        text.append(
            f"Volume of the centre of mass: {results['centre_of_mass_convention']}, with "
            f"{results['n_cells']} cells."
        )
    if results.get("chemical_potential_source"):
        text.append(
            f"Chemical potential of {results['species']}: {results['chemical_potential_source']}."
        )
    return tuple(text)


def _springs(results: Mapping[str, Any]) -> tuple[Table, ...]:
    constants = results.get("spring_constants_eV_per_A2")
    if not constants:
        return ()
    squares = results.get("mean_square_displacements_A2") or {}
    rows = [(name, value, squares.get(name)) for name, value in constants.items()]
    columns = ("sites", "spring constant (eV/Å²)", "mean square displacement (Å²)")
    return (table_of("Springs of the Einstein crystal", columns, rows),)


def _trust(
    record: RunRecord, analysis: Analysis | None, results: Mapping[str, Any]
) -> list[Section]:
    """Return the sections that show how the estimate came about."""
    sections = []
    switched = path_figures(record, analysis)
    if switched:
        sections.append(
            Section(
                "Switching and convergence",
                (
                    "Each repeat switches forward and back. The area between both mean curves is "
                    "the loss; the estimate holds where the works of both directions overlap.",
                ),
                tuple(switched),
            )
        )
    windows = window_figures(record, analysis) if analysis is not None else []
    exchanges = exchange_figure(results)
    if exchanges is not None:
        windows.append(exchanges)
    table = _segments(record)
    folded = () if table is None else (table,)
    if windows:
        sections.append(Section("Windows and convergence", figures=tuple(windows), folded=folded))
    elif sections:
        sections[-1] = replace(sections[-1], folded=folded)
    elif folded:
        sections.append(Section("Trajectories", folded=folded))
    return sections


def _segments(record: RunRecord) -> Table | None:
    """Return means over every part of the run."""
    import numpy as np

    samples = record.samples()
    if len(samples["step"]) == 0:
        return None
    rows = []
    keys = np.stack([samples["repeat"], np.asarray(samples["segment"]).astype(str)]).T
    _, first = np.unique(keys, axis=0, return_index=True)
    for index in np.sort(first).tolist():
        chosen = (keys == keys[index]).all(axis=1)
        row: list[Any] = [int(samples["repeat"][index]), str(samples["segment"][index])]
        row.append(int(chosen.sum()))
        for name in ("temperature_K", "potential_eV", "volume_A3"):
            values = samples[name][chosen]
            values = values[np.isfinite(values)]
            row.append(float(values.mean()) if len(values) else None)
        rows.append(row)
    columns = (
        "repeat",
        "part",
        "samples",
        "mean temperature (K)",
        "mean potential energy (eV)",
        "mean volume (Å³)",
    )
    return table_of("Means over every part of the run", columns, rows)
