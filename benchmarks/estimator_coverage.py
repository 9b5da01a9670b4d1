"""How often the 95 % intervals of a free energy hold the exact value: 1000 experiments each.

    python benchmarks/estimator_coverage.py     # results/estimator_coverage.csv and the page

Work comes from exact Gaussians, and from a driven oscillator whose dissipation differs both ways.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from ase.units import kB

from alchemlip.freeenergy.estimators import estimate_from_work
from alchemlip.records.results import write_table
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests"))
from exact_work import gaussian_work, oscillator_work  # noqa: E402

EXPERIMENTS = 1000
REPEATS = (4, 8)
DISSIPATIONS_KT = (0.01, 0.1, 1.0, 3.0, 5.0)
OSCILLATOR_STEPS = (3, 10, 100)
DIRECTIONS = 3
RATIO = 4.0
KT = kB * 300.0
BOOTSTRAPS = 40
BOOTSTRAPPED = 100
"""Experiments that are also bootstrapped, which costs most."""


def experiments(
    works: tuple[np.ndarray, np.ndarray], exact_kt: float, rng: np.random.Generator
) -> dict[str, float]:
    """Estimate (N, R) works in kT one experiment at a time; coverage in %, errors in kT."""
    values, errors, held, plain = [], [], 0, 0
    for number, (w_f, w_r) in enumerate(zip(*works, strict=True)):
        draws = BOOTSTRAPS if number < BOOTSTRAPPED else 0
        estimate = estimate_from_work(w_f * KT, w_r * KT, 300.0, rng, bootstraps=draws)
        low, high = estimate.interval_95_eV
        held += low <= exact_kt * KT <= high
        bootstrap = estimate.details.get("bootstrap_standard_error_eV", 0.0)
        plain += draws > 0 and abs(estimate.value_eV - exact_kt * KT) <= 1.96 * bootstrap
        values.append(estimate.value_eV / KT - exact_kt)
        errors.append(estimate.standard_error_eV / KT)
    return {
        "dissipation_kT": float((works[0] + works[1]).mean() / 2),
        "bias_kT": float(np.mean(values)),
        "true_error_kT": float(np.std(values)),
        "mean_standard_error_kT": float(np.mean(errors)),
        "coverage_percent": 100 * held / len(values),
        "plain_bootstrap_percent": 100 * plain / BOOTSTRAPPED,
    }


def main() -> None:
    """Run all, write the table, fill the page."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for repeats in REPEATS:
        shape = (EXPERIMENTS, repeats)
        for dissipation in DISSIPATIONS_KT:
            works = gaussian_work(5.0, dissipation, shape, rng)
            rows.append({"work": "Gaussian", "repeats": repeats, **experiments(works, 5.0, rng)})
            print(rows[-1], flush=True)
        for steps in OSCILLATOR_STEPS:
            drawn = oscillator_work(RATIO, steps, (*shape, DIRECTIONS), rng)
            works = (drawn[0].sum(axis=-1), drawn[1].sum(axis=-1))
            exact = 0.5 * DIRECTIONS * np.log(RATIO)
            name = f"oscillator, {steps} steps"
            rows.append({"work": name, "repeats": repeats, **experiments(works, exact, rng)})
            print(rows[-1], flush=True)
    write_table(HERE / "results" / "estimator_coverage.csv", rows)
    header = (
        "work",
        "repeats",
        "dissipation (kT)",
        "bias (kT)",
        "scatter (kT)",
        "mean standard error (kT)",
        "95 % interval holds (%)",
        "plain bootstrap holds (%)",
    )
    lines = [
        (
            row["work"],
            str(row["repeats"]),
            f"{row['dissipation_kT']:.2f}",
            f"{row['bias_kT']:+.3f}",
            f"{row['true_error_kT']:.3f}",
            f"{row['mean_standard_error_kT']:.3f}",
            f"{row['coverage_percent']:.1f}",
            f"{row['plain_bootstrap_percent']:.1f}",
        )
        for row in rows
    ]
    blocks = {"table": table(header, lines), "environment": as_markdown(describe())}
    fill(HERE / "estimator_coverage.md", blocks)


if __name__ == "__main__":
    main()
