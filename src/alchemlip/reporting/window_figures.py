"""Plots of equilibrium windows: overlap, mean slopes, convergence in time, exchanges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.reporting.content import Figure, table_of
from alchemlip.reporting.figures import axes, numbers, series, span_of

if TYPE_CHECKING:
    from alchemlip.freeenergy.analysis import Analysis
    from alchemlip.records.runs import RunRecord


def window_figures(record: RunRecord, analysis: Analysis) -> list[Figure]:
    """Return the plots of the first set of windows of a run; none where there are no windows."""
    from alchemlip.freeenergy.recorded import windows_of
    from alchemlip.freeenergy.window_estimators import (
        estimate_from_energies,
        estimate_from_gradients,
    )

    if "windows, MBAR" not in analysis.estimates:
        return []
    first = windows_of(record)[0]
    temperature = analysis.temperature_K
    details = estimate_from_energies(first.couplings, first.energies_eV, temperature).details
    figures = []
    if "windows, TI" in analysis.estimates:
        figures.append(
            _slopes(estimate_from_gradients(first.couplings, first.dhdl_eV, temperature).details)
        )
    figures.append(_overlap(details))
    figures.append(_in_time(analysis.convergence["windows, MBAR"]))
    return figures


def exchange_figure(results: Mapping[str, Any]) -> Figure | None:
    """Return how often neighbouring windows exchanged; None if they never tried."""
    acceptance = results.get("acceptance") or []
    couplings = results.get("couplings") or []
    if not any(value is not None for value in acceptance):
        return None
    names = [f"{a:.3g}–{b:.3g}" for a, b in pairwise(couplings)]
    return Figure(
        "exchanges",
        "Exchanges between neighbouring windows",
        f"{span_of('The fraction accepted', acceptance, '')} Replicas went from the first window "
        f"to the last and back {results.get('round_trips', 0)} times.",
        (
            {
                "type": "bar",
                "x": names,
                "y": numbers(acceptance),
                "marker": {"color": "@line"},
                "name": "accepted",
            },
        ),
        axes(
            "neighbouring windows, λ",
            "fraction accepted",
            xaxis={"type": "category"},
            yaxis={"range": [0, 1]},
        ),
        table_of("Exchanges", ("windows, λ", "fraction accepted"), list(zip(names, acceptance))),  # noqa: B905
        height=280,
    )


def _slopes(details: Mapping[str, Any]) -> Figure:
    couplings, means = details["couplings"], details["mean_gradients_eV"]
    errors = details["gradient_standard_errors_eV"]
    return Figure(
        "window-slopes",
        "Mean slope in every window",
        span_of("The mean of dU/dλ", means, "eV") + " Bars are standard errors.",
        (series(couplings, means, "⟨dU/dλ⟩", error=errors),),
        axes("coupling λ", "⟨dU/dλ⟩ (eV)"),
        table_of(
            "Mean slope in every window",
            ("λ", "⟨dU/dλ⟩ (eV)", "standard error (eV)"),
            list(zip(couplings, means, errors, strict=True)),
        ),
        height=320,
    )


def _overlap(details: Mapping[str, Any]) -> Figure:
    matrix = np.asarray(details["overlap_matrix"])
    names = [f"{value:.3g}" for value in details["couplings"]]
    beside = float(np.min([np.diag(matrix, 1), np.diag(matrix, -1)]))
    cells = [[f"{value:.2f}" for value in row] for row in matrix.tolist()]
    trace = {
        "type": "heatmap",
        "x": names,
        "y": names,
        "z": [numbers(row) for row in matrix],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [[0, "@paper"], [1, "@line"]],
        "showscale": False,
        "xgap": 2,
        "ygap": 2,
        "hovertemplate": "from λ = %{y} to λ = %{x}: %{z:.3f}<extra></extra>",
    }
    if len(names) <= 12:
        trace |= {"text": cells, "texttemplate": "%{text}"}
    return Figure(
        "overlap",
        "Overlap of the windows",
        f"The share of each window's samples that belong to another. Neighbours share {beside:.2g} "
        "or more; errors can be trusted from 0.03 on.",
        (trace,),
        axes(
            "λ of the other window",
            "λ of the window",
            xaxis={"type": "category"},
            yaxis={"type": "category", "autorange": "reversed"},
        ),
        table_of(
            "Overlap of the windows",
            ("λ", *names),
            [(name, *row) for name, row in zip(names, matrix.tolist(), strict=True)],
        ),
        height=360,
    )


def _in_time(rows: Sequence[Mapping[str, float]]) -> Figure:
    fraction = [row["data_fraction"] for row in rows]
    sides = (("from_start", "from the start"), ("from_end", "from the end"))
    traces = [
        series(
            fraction,
            [row[f"{side}_eV"] for row in rows],
            label,
            number,
            error=[row[f"{side}_standard_error_eV"] for row in rows],
        )
        for number, (side, label) in enumerate(sides)
    ]
    half = rows[(len(rows) - 1) // 2]
    apart = abs(half["from_start_eV"] - half["from_end_eV"])
    return Figure(
        "in-time",
        "Estimate against the share of samples",
        "From the start on and from the end back, of the first repeat: they run together where a "
        f"run has converged. With {half['data_fraction']:.2g} of the samples they are {apart:.2g} "
        "eV apart.",
        tuple(traces),
        axes("fraction of the samples", "free energy difference (eV)"),
        table_of(
            "Estimate against the share of samples",
            ("fraction", "from the start (eV)", "± (eV)", "from the end (eV)", "± (eV)"),
            [tuple(row.values()) for row in rows],
        ),
        height=320,
    )
