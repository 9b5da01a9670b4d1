"""What a report says of vacancies in equilibrium."""

from __future__ import annotations

import numpy as np

from alchemlip.reporting.content import (
    Figure,
    Findings,
    Quantity,
    Section,
    power_of_ten,
    rounded,
    table_of,
)
from alchemlip.reporting.figures import axes, band, series, span_of
from alchemlip.reporting.reading import RunFiles


def concentration_findings(run: RunFiles) -> Findings:
    """Return vacancies in equilibrium against temperature."""
    results, rows = run.results, list(run.record.get("points") or [])
    if not results or not rows:
        return Findings()
    enthalpy = rounded(results["enthalpy_eV"], results.get("enthalpy_standard_error_eV"))
    entropy = rounded(results["entropy_kB"], results.get("entropy_standard_error_kB"), 2)
    last = rows[-1]
    share = power_of_ten(float(np.log10(last["concentration"])))
    quantities = (
        Quantity("Enthalpy of formation", enthalpy[0], "eV", enthalpy[1]),
        Quantity("Entropy of formation", entropy[0], "k_B", entropy[1]),
        Quantity(f"Vacancies at {last['temperature_K']:.0f} K", share, "per site"),
    )
    inverse = [1000.0 * row["inverse_temperature_1_per_K"] for row in rows]
    values = [row["concentration"] for row in rows]
    traces = [series(inverse, values, "concentration", mode="lines")]
    if any(row["concentration_low"] != row["concentration_high"] for row in rows):
        low, high = ([row[f"concentration_{side}"] for row in rows] for side in ("low", "high"))
        traces.insert(0, band(inverse, low, high, "± standard error of G"))
    figure = Figure(
        "concentration",
        "Vacancies in equilibrium",
        span_of("The concentration", values, "per site")
        + f" {rows[0]['temperature_K']:.0f} to {rows[-1]['temperature_K']:.0f} K.",
        tuple(traces),
        axes(
            "1000 K / T",
            "vacancies per site",
            yaxis={"type": "log", "exponentformat": "power"},
        ),
        table_of(
            "Vacancies in equilibrium",
            ("T (K)", "G (eV)", "± (eV)", "per site"),
            [
                (
                    row["temperature_K"],
                    row["free_energy_eV"],
                    row["standard_error_eV"],
                    row["concentration"],
                )
                for row in rows
            ],
        ),
    )
    return Findings(quantities, (), (Section("Against temperature", figures=(figure,)),))
