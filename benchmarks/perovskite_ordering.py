"""Which double perovskites A2BB'O6 order: the alchemical ordering energy against experiment.

    python benchmarks/perovskite_ordering.py             # results/perovskite_ordering_*.csv, the page

For each of 60 compounds, from an ideal cubic cell of 40 atoms whose lattice parameter is that of
zero pressure of the mixed cell (half B, half B'): E(random) to second order in the occupancies,
minus E(rock salt). A compound that was finished is not computed again. Nothing is fitted.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from itertools import combinations
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from matplotlib.figure import Figure

from alchemlip import AlchemicalPotential, Mixture, load_potential, relax
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.disorder.ordered_structures import decided
from alchemlip.disorder.random_alloy import second_order_energy
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
DATA = HERE / "data" / "perovskite_ordering_60.csv"
PAGE = HERE / "perovskite_ordering.md"

ORDERINGS = ("layered", "claw", "4-path", "3-path", "columnar", "rock salt")
COUNTS = np.array([6, 8, 24, 24, 6, 2])
DEGREES = {
    (2, 2, 2, 2): 0,
    (1, 1, 1, 3): 1,
    (1, 1, 2, 2): 2,
    (0, 1, 1, 2): 3,
    (1, 1, 1, 1): 4,
    (0, 0, 0, 0): 5,
}
"""How many like neighbours the four B of a 2x2x2 cell have, sorted -> ordering."""
RESAMPLES = 20_000


def compounds() -> list[dict[str, Any]]:
    """Return the reference data."""
    with DATA.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def perovskite(a_site: str, b: str, b_prime: str, a: float) -> Mixture:
    """Return the ideal cubic cell of 5 atoms with half B and half B'."""
    atoms = Atoms(
        [a_site, b, "O", "O", "O"],
        scaled_positions=[
            (0.5, 0.5, 0.5),
            (0, 0, 0),
            (0.5, 0, 0),
            (0, 0.5, 0),
            (0, 0, 0.5),
        ],
        cell=[a, a, a],
        pbc=True,
    )
    return Mixture.from_elements(atoms, {"B": {b: 0.5, b_prime: 0.5}}, groups={"B": [1]})


def arrangements(mixture: Mixture) -> tuple[list[np.ndarray], np.ndarray]:
    """Return one arrangement (8,) of each of the six orderings, and how often each occurs."""
    positions = mixture.positions[mixture.group("B").sites]
    corner = np.rint(positions / (mixture.cell[0, 0] / 2)).astype(int)
    near = np.abs(corner[:, None] - corner[None]).sum(axis=2) == 1
    found: dict[int, np.ndarray] = {}
    counts = np.zeros(6, dtype=int)
    for sites in combinations(range(8), 4):
        degrees = tuple(sorted(near[np.ix_(sites, sites)].sum(axis=1).tolist()))
        kind = DEGREES[degrees]
        counts[kind] += 1
        chosen = np.ones(8, dtype=int)
        chosen[list(sites)] = 0
        found.setdefault(kind, chosen)
    return [found[kind] for kind in range(6)], counts


def measure(potential: AlchemicalPotential, compound: dict[str, Any]) -> dict[str, Any]:
    """Return lattice parameter, random and ordered energies of one compound."""
    start = perf_counter()
    cell = perovskite(compound["A"], compound["B"], compound["Bp"], 4.0)
    # Cubic symmetry holds every atom in place: only the volume is free.
    relaxed = relax(cell, potential, cell="volume", keep_symmetry=True, fmax=1e-3, smax=1e-3)
    mixture = relaxed.mixture.repeat((2, 2, 2))
    hessian = occupancy_hessian(mixture, potential, "B")
    random = hessian.energy + second_order_energy(hessian, exact_composition=True)
    chosen, counts = arrangements(mixture)
    assert (counts == COUNTS).all()
    orderings = potential.evaluate(
        [decided(mixture, "B", item) for item in chosen],
        forces=False,
        stress=False,
        composition_gradient=False,
    )
    energies = np.array([result.energy for result in orderings]) / mixture.n_sites
    return {
        "formula": compound["formula"],
        "a_A": float(np.linalg.norm(relaxed.mixture.cell[0])),
        "converged": relaxed.converged,
        "mean_field_eV_per_atom": hessian.energy / mixture.n_sites,
        "random_eV_per_atom": random / mixture.n_sites,
        "enumerated_random_eV_per_atom": float(energies @ COUNTS / COUNTS.sum()),
        **{f"E{i}_eV_per_atom": float(energy) for i, energy in enumerate(energies)},
        "seconds": round(perf_counter() - start, 2),
    }


def finished(file: Path) -> dict[str, dict[str, str]]:
    """Return the rows that are there, by formula."""
    if not file.exists():
        return {}
    with file.open(encoding="utf-8") as stream:
        return {row["formula"]: row for row in csv.DictReader(stream)}


def run(name: str, file: Path) -> None:
    """Compute what is missing of a potential's table."""
    done = finished(file)
    todo = [item for item in compounds() if item["formula"] not in done]
    if not todo:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        potential = load_potential(name, device="cpu", dtype="float64")
    for compound in todo:
        missing = {compound["A"], compound["B"], compound["Bp"]} - set(potential.elements)
        if missing:
            print(f"{compound['formula']}: {name} does not cover {', '.join(sorted(missing))}")
            continue
        row = measure(potential, compound)
        new = not file.exists()
        with file.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            if new:
                writer.writeheader()
            writer.writerow(row)
        ordering = row["random_eV_per_atom"] - row["E5_eV_per_atom"]
        print(
            f"{row['formula']:>20} {1e3 * ordering:8.2f} meV/atom {row['seconds']:6.1f} s",
            flush=True,
        )


def roc_area(score: np.ndarray, ordered: np.ndarray) -> float:
    """Return the area under the ROC curve: how often an ordered compound scores higher."""
    difference = score[ordered][:, None] - score[~ordered][None, :]
    return float(((difference > 0) + 0.5 * (difference == 0)).mean())


def bootstrap(scores: np.ndarray, ordered: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return ROC areas (RESAMPLES, n) of scores (n, N) over the same resampled compounds."""
    areas = []
    while len(areas) < RESAMPLES:
        drawn = rng.integers(len(ordered), size=len(ordered))
        if 0 < ordered[drawn].sum() < len(drawn):
            areas.append([roc_area(score[drawn], ordered[drawn]) for score in scores])
    return np.array(areas)


def analyse(name: str, file: Path) -> dict[str, Any]:
    """Return the figures of one potential against experiment and DFT."""
    from scipy.stats import spearmanr

    rows = finished(file)
    reference = [item for item in compounds() if item["formula"] in rows]
    mine = [rows[item["formula"]] for item in reference]
    ordered = np.array([item["exp_label"] == "rs" for item in reference])

    def energies(source: list[dict[str, str]]) -> np.ndarray:
        return np.array([[float(row[f"E{i}_eV_per_atom"]) for i in range(6)] for row in source])

    dft, own = energies(reference), energies(mine)
    weights = COUNTS / COUNTS.sum()
    random = np.array([float(row["random_eV_per_atom"]) for row in mine])
    scores = {
        "second order": random - own[:, 5],
        "enumerated": own @ weights - own[:, 5],
        "DFT": dft @ weights - dft[:, 5],
    }
    areas = bootstrap(
        np.array([scores["second order"], scores["DFT"]]), ordered, np.random.default_rng(0)
    )
    gain = areas[:, 0] - areas[:, 1]
    parameter = np.array([float(item["exp_order_param"]) for item in reference])
    return {
        "potential": name,
        "compounds": len(reference),
        "ordered": int(ordered.sum()),
        "area": {key: roc_area(score, ordered) for key, score in scores.items()},
        "area_interval": np.quantile(areas[:, 0], [0.025, 0.975]).tolist(),
        "area_interval_DFT": np.quantile(areas[:, 1], [0.025, 0.975]).tolist(),
        "gain": float(scores_gain(scores, ordered)),
        "gain_interval": np.quantile(gain, [0.025, 0.975]).tolist(),
        "probability_of_gain": float((gain > 0).mean()),
        "rank_correlation_with_DFT": float(
            spearmanr(scores["second order"], scores["DFT"]).statistic
        ),
        "rank_correlation_with_measured_order": float(
            spearmanr(scores["second order"], parameter).statistic
        ),
        "rank_correlation_of_DFT_with_measured_order": float(
            spearmanr(scores["DFT"], parameter).statistic
        ),
        "second_order_error_meV": {
            "mean_absolute": float(1e3 * np.abs(random - own @ weights).mean()),
            "largest": float(1e3 * np.abs(random - own @ weights).max()),
        },
        "same_ground_state_as_DFT": int((own.argmin(axis=1) == dft.argmin(axis=1)).sum()),
        "rock_salt_lowest": int((own.argmin(axis=1) == 5).sum()),
        "rock_salt_lowest_in_DFT": int((dft.argmin(axis=1) == 5).sum()),
        "median_seconds": float(np.median([float(row["seconds"]) for row in mine])),
    }


def scores_gain(scores: dict[str, np.ndarray], ordered: np.ndarray) -> float:
    """Return the difference of the ROC areas on all compounds."""
    return roc_area(scores["second order"], ordered) - roc_area(scores["DFT"], ordered)


def draw(file: Path, picture: Path, name: str) -> None:
    """Draw ordering energies, ours against DFT's, by what experiment says."""
    rows = finished(file)
    figure = Figure(figsize=(5.0, 4.2), layout="constrained")
    axis = figure.subplots()
    weights = COUNTS / COUNTS.sum()
    for label, colour, text in (("rs", "#1b6ca8", "ordered"), ("d", "#c2410c", "disordered")):
        chosen = [
            item
            for item in compounds()
            if item["formula"] in rows and (item["exp_label"] == "rs") == (label == "rs")
        ]
        theirs = [
            1e3
            * (
                np.array([float(item[f"E{i}_eV_per_atom"]) for i in range(6)]) @ weights
                - float(item["E5_eV_per_atom"])
            )
            for item in chosen
        ]
        ours = [
            1e3
            * (
                float(rows[item["formula"]]["random_eV_per_atom"])
                - float(rows[item["formula"]]["E5_eV_per_atom"])
            )
            for item in chosen
        ]
        axis.plot(
            theirs, ours, "o", color=colour, ms=4.5, alpha=0.85, label=f"{text} in experiment"
        )
    axis.set_xlabel("DFT, mean of the arrangements − rock salt (meV/atom)")
    axis.set_ylabel(f"{name}, random − rock salt (meV/atom)")
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, lw=0.6)
    axis.legend(frameon=False, fontsize=8)
    figure.savefig(picture, dpi=200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["sevennet-0", "chgnet"])
    parser.add_argument("--page-only", action="store_true")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    summaries = []
    for name in arguments.models:
        file = RESULTS / f"perovskite_ordering_{name}.csv"
        if not arguments.page_only:
            run(name, file)
        if file.exists():
            summaries.append(analyse(name, file))
            draw(file, RESULTS / f"perovskite_ordering_{name}.png", name)
    environment = describe()
    content = {"environment": environment, "potentials": summaries}
    (RESULTS / "perovskite_ordering.json").write_text(json.dumps(content, indent=1) + "\n")
    if not PAGE.exists():
        return
    rows = [
        [
            item["potential"],
            f"{item['compounds']} ({item['ordered']})",
            f"{item['area']['enumerated']:.3f}",
            f"{item['area']['second order']:.3f} ({item['area_interval'][0]:.2f}–{item['area_interval'][1]:.2f})",
            f"{item['area']['DFT']:.3f} ({item['area_interval_DFT'][0]:.2f}–{item['area_interval_DFT'][1]:.2f})",
            f"{item['gain']:+.3f} ({item['gain_interval'][0]:+.2f} to {item['gain_interval'][1]:+.2f})",
            f"{100 * item['probability_of_gain']:.0f} %",
            f"{item['rank_correlation_with_DFT']:.2f}",
            f"{item['same_ground_state_as_DFT']}",
            f"{item['second_order_error_meV']['mean_absolute']:.2f}",
            f"{item['median_seconds']:.1f}",
        ]
        for item in summaries
    ]
    header = (
        "potential",
        "compounds (ordered)",
        "ROC area, six orderings enumerated",
        "ROC area, second order (95 %)",
        "DFT's",
        "gain, paired bootstrap (95 %)",
        "resamples with a gain",
        "rank correlation with DFT",
        "same lowest of six orderings as DFT",
        "second order − enumeration (meV/atom)",
        "s per compound",
    )
    fill(PAGE, {"machine": as_markdown(environment), "areas": table(header, rows)})


if __name__ == "__main__":
    main()
