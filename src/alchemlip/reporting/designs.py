"""What a report says of a design."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemlip.reporting.content import (
    Figure,
    Findings,
    Quantity,
    Section,
    in_words,
    rounded,
    table_of,
)
from alchemlip.reporting.figures import axes, level, series, span_of
from alchemlip.reporting.reading import RunFiles


def design_findings(run: RunFiles) -> Findings:
    """Return the composition that was sought, and the way to it."""
    results, warnings, quantities = run.results, [], []
    goals = run.inputs.get("goals") or []
    if results:
        if not results.get("converged", True):
            warnings.append(f"The design did not converge: {results['message']}.")
        quantities = _designed(results)
    sections = []
    trail = [point for point in run.points if "x" in point]
    if trail:
        steps = list(range(1, len(trail) + 1))
        figures = [_weights_figure(run, trail, steps)]
        for index, goal in enumerate(goals):
            figures.append(_goal_figure(goal, [p["values"][index] for p in trail], steps, index))
        sections.append(Section("The way there", figures=tuple(figures)))
    if results.get("supercell_property"):
        rows = [
            (in_words(name), results["supercell_predicted_property"][name], value)
            for name, value in results["supercell_property"].items()
        ]
        columns = ("property", "predicted", "with whole atoms")
        table = table_of("Checked with whole atoms in a supercell", columns, rows)
        if not results.get("supercell_converged", True):
            warnings.append("The supercell of whole atoms did not relax to the limits.")
        sections.append(Section("Check", tables=(table,)))
    return Findings(tuple(quantities), tuple(warnings), tuple(sections))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _designed(results: Mapping[str, Any]) -> list[Quantity]:
    weights = ", ".join(
        f"{label.rpartition(':')[2]} {weight:.4f}"
        for label, weight in results["composition"].items()
    )
    found = [Quantity("Composition", weights, note=_sentence(results["message"]))]
    for name, value in results["property"].items():
        target = results["target"][name]
        wanted = target if isinstance(target, str) else f"wanted {target:g}"
        found.append(Quantity(in_words(name), rounded(float(value), digits=5)[0], note=wanted))
    found.append(Quantity("Relaxed compositions", str(results["iterations"])))
    return found


def _weights_figure(run: RunFiles, trail: Sequence[Mapping[str, Any]], steps: list[int]) -> Figure:
    from alchemlip.mixture.mixture import Mixture

    names = Mixture.from_dict(trail[0]["mixture"]).component_labels
    weights = np.array([point["x"] for point in trail])
    traces = [
        series(steps, column, name, number)
        for number, (name, column) in enumerate(zip(names, weights.T, strict=True))
    ]
    last = ", ".join(
        f"{name} {weight:.4g}" for name, weight in zip(names, weights[-1], strict=True)
    )
    return Figure(
        "weights",
        "Composition",
        f"{len(steps)} relaxed compositions, the last {last}.",
        tuple(traces),
        axes("relaxed composition", "weight", yaxis={"range": [-0.03, 1.03]}),
        table_of(
            "Composition",
            ("step", *names),
            [(step, *row) for step, row in zip(steps, weights.tolist(), strict=True)],
        ),
        height=320,
    )


def _goal_figure(goal: Sequence[Any], values: list[float], steps: list[int], index: int) -> Figure:
    name, kind, wanted = in_words(str(goal[0])), str(goal[1]), goal[2]
    shapes = [] if wanted is None else [level(float(wanted))]
    limit = "" if wanted is None else f" {wanted:g}, the dashed line"
    return Figure(
        f"goal-{index}",
        name,
        f"{span_of(name, values, '')} Goal: {kind}{limit}.",
        (series(steps, values, name),),
        axes("relaxed composition", name, shapes=shapes),
        table_of(name, ("step", name), list(zip(steps, values, strict=True))),
        height=280,
    )
