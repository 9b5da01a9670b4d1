"""By which wave alloys order, into what, and at what temperature, against what is known of them.

    python benchmarks/validate_ordering.py       # results/ordering_*.json, ordering_*.png, the page

Each system is written when it is finished, and not computed again.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, load_potential, relax
from alchemlip.disorder.monte_carlo import anneal, lattice_model, transition_temperature
from alchemlip.disorder.ordering_plots import plot_ordering
from alchemlip.disorder.ordering_study import OrderingStudy, describe_ordering, study_ordering
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "ordering.md"
REPEATS = (4, 4, 4)
CUTOFF = 6.2  # Angstrom, of the pairs that Monte Carlo sees
TEMPERATURES = np.linspace(1.1, 0.3, 17)  # over the mean-field one


@dataclass(frozen=True)
class System:
    """An alloy, and what is known of it.

    Attributes:
        cell: the primitive cell, with the first species on the mixed sites.
        mix: what sits there.
        expected: ordered structure or behaviour.
        transition: measured, in K; None where the order lasts up to melting.
        note: on that.
    """

    cell: Callable[[], Atoms]
    mix: dict[str, dict[str, float]]
    expected: str
    transition: float | None
    note: str = ""


SYSTEMS = {
    "Cu-Zn": System(lambda: bulk("Cu", "bcc", a=2.97), {"Cu": {"Cu": 0.5, "Zn": 0.5}}, "B2", 741.0),
    "Cu-Au": System(
        lambda: bulk("Cu", "fcc", a=3.9), {"Cu": {"Cu": 0.5, "Au": 0.5}}, "L1_0", 683.0
    ),
    "Cu3Au": System(
        lambda: bulk("Cu", "fcc", a=3.8), {"Cu": {"Cu": 0.75, "Au": 0.25}}, "L1_2", 663.0
    ),
    "Ni3Al": System(
        lambda: bulk("Ni", "fcc", a=3.6),
        {"Ni": {"Ni": 0.75, "Al": 0.25}},
        "L1_2",
        None,
        "ordered up to melting, 1658 K",
    ),
    "NaCl-KCl": System(
        lambda: bulk("NaCl", "rocksalt", a=6.0),
        {"Na": {"Na": 0.5, "K": 0.5}},
        "separation",
        770.0,
        "top of the miscibility gap, about",
    ),
}


def measure(name: str, system: System, potential: AlchemicalPotential) -> dict[str, Any]:
    """Return the study of a system at its mixed geometry, with and without the size effect."""
    start = perf_counter()
    mixture = Mixture.from_elements(system.cell(), system.mix)
    relaxed = relax(mixture, potential, keep_symmetry=True)
    record: dict[str, Any] = {
        "system": name,
        "potential": potential.name,
        "converged": relaxed.converged,
        "volume_per_site_A3": abs(float(np.linalg.det(relaxed.mixture.cell)))
        / relaxed.mixture.n_sites,
    }
    group = next(iter(system.mix))
    study = study_ordering(relaxed.mixture, potential, group, repeats=REPEATS)
    record["fixed"] = describe_ordering(study)
    record["seconds_fixed"] = round(perf_counter() - start, 1)
    plot_ordering(
        study.interactions, RESULTS / f"ordering_{name}.png", f"{name} ({potential.name})"
    )
    record["monte_carlo"] = monte_carlo(study)
    start = perf_counter()
    try:
        effect = study_ordering(relaxed.mixture, potential, group, repeats=REPEATS, relaxed=True)
        record["relaxed"] = describe_ordering(effect)
    except InputError as error:
        record["relaxed_refused"] = str(error)
    record["seconds_relaxed"] = round(perf_counter() - start, 1)
    return record


def monte_carlo(study: OrderingStudy) -> dict[str, Any]:
    """Return the transition of the pair interactions by Monte Carlo, at fixed geometry."""
    if study.critical_temperature == 0 or study.waves[0].separates:
        return {"note": "no ordering wave"}
    start = perf_counter()
    model = lattice_model(study.interactions, CUTOFF)
    points = anneal(
        model,
        study.interactions,
        (TEMPERATURES * study.critical_temperature).tolist(),
        np.random.default_rng(0),
        wave=study.waves[0],
        repeat=(8, 8, 8),
        sweeps=200,
        equilibration=100,
    )
    return {
        "transition_temperature_K": transition_temperature(points),
        "cutoff_A": CUTOFF,
        "points": [asdict(point) for point in points],
        "seconds": round(perf_counter() - start, 1),
    }


def found_structure(record: dict[str, Any]) -> str:
    """Return the lowest structure's name, or that the crystal separates."""
    effect = record.get("relaxed")
    if effect and effect["separation_temperature_K"] > effect["critical_temperature_K"]:
        return "separation"
    structures = record["fixed"]["ordered_structures"]
    if not structures or structures[0]["ordering_energy_eV_per_atom"] <= 0:
        return "none below random"
    return str(structures[0]["name"])


def page(records: list[dict[str, Any]], environment: dict[str, str]) -> None:
    """Fill the page's tables."""
    rows, structures = [], []
    for record in records:
        system = SYSTEMS[record["system"]]
        fixed, effect = record["fixed"], record.get("relaxed")
        wave = fixed["ordering_waves"][0]
        monte = record["monte_carlo"].get("transition_temperature_K")
        rows.append(
            [
                record["system"],
                wave["label"] or str(wave["k"]),
                found_structure(record),
                system.expected,
                f"{fixed['critical_temperature_K']:.0f}",
                "–"
                if effect is None
                else f"{effect['critical_temperature_K']:.0f}"
                f" ({effect['ordering_waves'][0]['label'] or 'other'})",
                "–" if effect is None else f"{effect['separation_temperature_K']:.0f}",
                "–" if monte is None else f"{monte:.0f}",
                system.note
                if system.transition is None
                else f"{system.transition:.0f} {system.note}",
                f"{record['seconds_fixed']:.0f} / {record['seconds_relaxed']:.0f}",
            ]
        )
        structures += [
            [
                record["system"],
                item["name"],
                item["space_group"],
                f"{1e3 * item['ordering_energy_eV_per_atom']:.1f}",
            ]
            for item in fixed["ordered_structures"][:4]
        ]
    header = (
        "alloy",
        "wave",
        "lowest structure",
        "known",
        "T, fixed lattice (K)",
        "T, size effect (K)",
        "T of separation, cell relaxes (K)",
        "T, Monte Carlo, fixed lattice (K)",
        "experiment (K)",
        "time, fixed / size effect (s)",
    )
    fill(
        PAGE,
        {
            "machine": as_markdown(environment),
            "waves": table(header, rows),
            "structures": table(
                ("alloy", "structure", "space group", "random − ordered (meV/site)"), structures
            ),
        },
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systems", nargs="+", default=list(SYSTEMS), choices=list(SYSTEMS))
    parser.add_argument("--page-only", action="store_true")
    arguments = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    files = {name: RESULTS / f"ordering_{name}.json" for name in SYSTEMS}
    todo = [name for name in arguments.systems if not files[name].exists()]
    if todo and not arguments.page_only:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            potential = load_potential("sevennet-0", device="cpu", dtype="float64")
        for name in todo:
            record = measure(name, SYSTEMS[name], potential)
            record["environment"] = describe()
            files[name].write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            print(
                name,
                found_structure(record),
                record["fixed"]["critical_temperature_K"],
                record["monte_carlo"].get("transition_temperature_K"),
                flush=True,
            )
    records = [json.loads(file.read_text()) for file in files.values() if file.exists()]
    if records and PAGE.exists():
        page(records, records[0]["environment"])


if __name__ == "__main__":
    main()
