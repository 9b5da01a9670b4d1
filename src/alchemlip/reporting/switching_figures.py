"""Plots of switching: slopes both ways, works, the estimate repeat by repeat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.freeenergy.export import hat_means
from alchemlip.freeenergy.recorded import BACKWARD, FORWARD, Leg, legs_of, paths_of, works_of
from alchemlip.reporting.content import Figure, Trace, table_of
from alchemlip.reporting.figures import (
    axes,
    level,
    numbers,
    series,
    span_of,
    stripe,
    thinned,
    upright,
)

if TYPE_CHECKING:
    from alchemlip.freeenergy.analysis import Analysis
    from alchemlip.records.runs import RunRecord

GRID = np.linspace(0.0, 1.0, 61)
LEGS_DRAWN = 8
ENOUGH_FOR_BARS = 12
"""Works from which on a histogram shows more than single points do."""


def path_figures(record: RunRecord, analysis: Analysis | None) -> list[Figure]:
    """Return the plots of every path that a run switches along."""
    from alchemlip.freeenergy.analysis import SWITCHING

    legs = [leg for leg in legs_of(record) if len(leg.coupling) > 1]
    figures = []
    for number, path in enumerate(paths_of(legs)):
        own = [leg for leg in legs if leg.path == path]
        suffix, words = f"-{number}", f", {path}" if path else ""
        figures.append(_slopes(own, suffix, words))
        estimate = None if analysis is None else analysis.estimates.get(path or SWITCHING)
        forward, backward = works_of(own, path)
        if len(forward) and estimate is not None:
            figures.append(_works(forward, backward, estimate, suffix, words))
        convergence = [] if analysis is None else analysis.convergence.get(path or SWITCHING, [])
        if len(convergence) > 1:
            figures.append(_running(convergence, suffix, words))
    return figures


def _slopes(legs: Sequence[Leg], suffix: str, words: str) -> Figure:
    traces: list[Trace] = []
    means: dict[str, FloatArray] = {}
    for number, direction in enumerate((FORWARD, BACKWARD)):
        own = [leg for leg in legs if leg.direction == direction]
        for leg in own[:LEGS_DRAWN]:
            chosen = thinned(len(leg.coupling), 150)
            traces.append(
                series(
                    leg.coupling[chosen],
                    leg.dhdl_eV[chosen],
                    f"{direction}, repeat {leg.repeat}",
                    number,
                    mode="lines",
                    showlegend=False,
                    opacity=0.45,
                    hoverinfo="skip",
                )
            )
            traces[-1]["line"]["width"] = 1
        whole = [leg for leg in own if leg.complete]
        if whole:
            means[direction] = np.mean(
                [hat_means(leg.coupling, leg.dhdl_eV, GRID) for leg in whole], axis=0
            )
            traces.append(
                series(GRID, means[direction], f"{direction}, mean", number, mode="lines")
            )
            traces[-1]["line"]["width"] = 3
    description = " ".join(
        span_of(f"The mean of dU/dλ {direction}", values, "eV")
        for direction, values in means.items()
    )
    whole_legs = sum(leg.complete for leg in legs)
    columns = ("λ", *(f"{direction} (eV)" for direction in means))
    return Figure(
        f"slopes{suffix}",
        f"Slope of the energy along the path{words}",
        f"{description or 'No leg is complete yet.'} {whole_legs} complete legs.",
        tuple(traces),
        axes("coupling λ", "dU/dλ (eV)", xaxis={"range": [0, 1]}),
        table_of(
            "Mean slope",
            columns,
            [
                (float(x), *(float(values[i]) for values in means.values()))
                for i, x in enumerate(GRID)
            ],
        )
        if means
        else None,
    )


def _works(
    forward: FloatArray, backward: FloatArray, estimate: Any, suffix: str, words: str
) -> Figure:
    both = {"forward, W_f": forward, "backward, −W_r": -backward}
    bars = len(forward) >= ENOUGH_FOR_BARS
    traces: list[Trace] = []
    layout = axes("work, W_f and −W_r (eV)", "repeats" if bars else "")
    edges = np.histogram_bin_edges(
        np.concatenate(list(both.values())), bins=max(8, 2 * int(np.sqrt(2 * len(forward))))
    )
    for number, (name, values) in enumerate(both.items()):
        if bars:
            counts, _ = np.histogram(values, edges)
            traces.append(
                {
                    "type": "bar",
                    "x": numbers((edges[1:] + edges[:-1]) / 2),
                    "y": numbers(counts),
                    "name": name,
                    "opacity": 0.75,
                    "marker": {
                        "color": ("@line", "@warm")[number],
                        "pattern": {"shape": ("", "/")[number]},
                    },
                }
            )
        else:
            rows = np.full(len(values), 2.0 - number)
            traces.append(series(values, rows, name, number, mode="markers"))
            traces[-1]["marker"] |= {"size": 12, "opacity": 0.8}
    if bars:
        layout |= {"barmode": "overlay", "bargap": 0.04}
    else:
        layout["yaxis"] |= {
            "range": [0.4, 2.6],
            "tickvals": [1, 2],
            "ticktext": ["backward", "forward"],
            "showgrid": False,
        }
    low, high = estimate.interval_95_eV
    shapes = [upright(estimate.value_eV)]
    told = (
        f"The free energy difference by {estimate.method}, {estimate.value_eV:.4g} eV, is the line"
    )
    if np.isfinite([low, high]).all():
        shapes.append(stripe(low, high))
        told += f", its 95 % interval ({low:.4g} to {high:.4g} eV) the band"
    layout["shapes"] = shapes
    description = (
        f"{span_of('The forward work', forward, 'eV')} "
        f"{span_of('Minus the backward work', -backward, 'eV')} {told}."
    ).replace(" -", " −")
    return Figure(
        f"works{suffix}",
        f"Work of both directions{words}",
        description,
        tuple(traces),
        layout,
        table_of(
            "Work of every repeat",
            ("repeat", "W_f (eV)", "−W_r (eV)", "(W_f − W_r)/2 (eV)", "(W_f + W_r)/2 (eV)"),
            [
                (i, float(f), float(-r), float(f - r) / 2, float(f + r) / 2)
                for i, (f, r) in enumerate(zip(forward, backward, strict=True))
            ],
        ),
        height=380 if bars else 260,
    )


def _running(rows: Sequence[dict[str, float]], suffix: str, words: str) -> Figure:
    repeats = [row["repeats"] for row in rows]
    values = [row["free_energy_eV"] for row in rows]
    half = [row["interval_high_eV"] - row["free_energy_eV"] for row in rows]
    loss = [row["dissipation_eV"] for row in rows]
    # Two repeats have an interval of 12.7 standard errors, which would hide all others.
    shown = [
        h if np.isfinite(h) and count > 2 else None for h, count in zip(half, repeats, strict=True)
    ]
    trace = series(repeats, values, "estimate, 95 % interval", error=shown)
    return Figure(
        f"running{suffix}",
        f"Estimate as repeats come in{words}",
        f"{span_of('The estimate', values, 'eV')} With all {len(rows)} repeats it is "
        f"{values[-1]:.4g} eV.".replace("-", "−")
        + (" Intervals are shown from three repeats on." if len(rows) > 2 else ""),
        (trace,),
        axes(
            "repeats",
            "free energy difference (eV)",
            xaxis={"dtick": max(1, len(rows) // 10)},
            shapes=[level(values[-1])],
        ),
        table_of(
            "Estimate as repeats come in",
            ("repeats", "estimate (eV)", "half of the 95 % interval (eV)", "dissipation (eV)"),
            [
                (int(n), v, h if np.isfinite(h) else None, d)
                for n, v, h, d in zip(repeats, values, half, loss, strict=True)
            ],
        ),
        height=320,
    )
