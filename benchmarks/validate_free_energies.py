"""Free energies with real potentials: closed cycles, a harmonic limit, and what switching costs.

    python benchmarks/validate_free_energies.py                 # everything, then the page
    python benchmarks/validate_free_energies.py delta-nodes     # some of the runs
    python benchmarks/validate_free_energies.py --page          # tables of what is there

Every run has its record under benchmarks/runs/free_energies and goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase.build import bulk
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from alchemlip import AlchemicalCalculator, Mixture, load_potential
from alchemlip.crystal.plotting import LINE, clean
from alchemlip.crystal.plotting import WARM as WARM_COLOUR
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
from alchemlip.freeenergy.harmonic import (
    crystal_force_constants,
    harmonic_free_energy,
    mode_frequencies,
)
from alchemlip.freeenergy.plotting import plot_switching
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.freeenergy.transmutation import transmutation, transmute
from alchemlip.mixture.structure_files import read_structure
from alchemlip.potential.potential import AlchemicalPotential
from alchemlip.records.runs import RunRecord
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "free_energies.md"
RUNS = HERE / "runs" / "free_energies"
STRUCTURES = HERE.parent / "examples" / "structures"

SUPERCELLS = {"alpha": (2, 2, 2), "delta": (2, 1, 1)}
TEMPERATURES_K = {"alpha": 500.0, "delta": 300.0}
CELLS = {"alpha": "volume", "delta": "full"}
STEPS = {"delta-nodes": (150, 500)}


@cache
def potential(name: str, dtype: str, representation: str = "nodes") -> AlchemicalPotential:
    return load_potential(name, device="cpu", dtype=dtype, representation=representation)  # type: ignore[arg-type]


def perovskite(phase: str, element: str) -> Mixture:
    return read_structure(STRUCTURES / f"Cs{element}I3_{phase}.cif").repeat(SUPERCELLS[phase])


def dynamics(phase: str) -> DynamicsSettings:
    return DynamicsSettings(
        temperature_K=TEMPERATURES_K[phase],
        timestep_fs=5.0,
        cell=CELLS[phase],  # type: ignore[arg-type]
        thermostat_fs=200.0,
    )


def recorded(
    name: str, inputs: dict[str, Any], work: Callable[[RunRecord], dict[str, Any]]
) -> dict[str, Any]:
    """Run, or go on with, one run in its record; the seconds are those of this process."""
    RUNS.mkdir(parents=True, exist_ok=True)
    with RunRecord(RUNS / f"{name}.sqlite", "benchmark", inputs) as record:
        if not record.finished:
            begun = time.perf_counter()
            with record.noting_failure():
                results = work(record)
            record.finish({**results, "seconds": time.perf_counter() - begun})
        return record.results


def cycle_by_path(phase: str, representation: str) -> dict[str, Any]:
    """CsPbI3 -> CsSnI3 by alchemical switching in NPT."""
    equilibration, switching = STEPS.get(f"{phase}-{representation}", (100, 300))
    settings = SwitchingSettings(
        equilibration_steps=equilibration,
        switching_steps=switching,
        repeats=4,
        checkpoint_interval=50,
    )
    path = transmutation(perovskite(phase, "Pb"), {"Pb": "Sn"})
    model = potential("sevennet-0", "float32", representation)
    motion = dynamics(phase)
    return recorded(
        f"{phase}-{representation}",
        {"phase": phase, "representation": representation, "model": model.name}
        | {"dynamics": motion.model_dump(), "switching": settings.model_dump()},
        lambda record: transmute(
            path, model, motion, settings, record, on_progress=report(f"{phase}-{representation}")
        ),
    )


def cycle_by_frenkel_ladd(phase: str, element: str) -> dict[str, Any]:
    """G of CsPbI3 or CsSnI3 by switching to an Einstein crystal at the mean cell."""
    name = f"{phase}-frenkel-ladd-{element}"
    switching = SwitchingSettings(
        equilibration_steps=100, switching_steps=300, repeats=4, checkpoint_interval=50
    )
    settings = FrenkelLaddSettings(
        cell_equilibration_steps=300,
        cell_steps=800,
        spring_equilibration_steps=200,
        spring_steps=600,
        symprec=1e-2,
    )
    mixture = perovskite(phase, element)
    model = potential("sevennet-0", "float32")
    motion = dynamics(phase)
    calculator = AlchemicalCalculator(model, mixture, composition_gradient=False)
    return recorded(
        name,
        {"phase": phase, "element": element, "model": model.name}
        | {"dynamics": motion.model_dump(), "switching": switching.model_dump()}
        | {"frenkel_ladd": settings.model_dump()},
        lambda record: frenkel_ladd(
            mixture.to_atoms(),
            calculator,
            motion,
            switching,
            settings,
            record,
            on_progress=report(name),
        ),
    )


SALT_A = 6.0
LOW_K = 20.0
COLD = DynamicsSettings(temperature_K=LOW_K, timestep_fs=4.0, thermostat_fs=200.0)


def salt(cation: str) -> Mixture:
    """NaCl or KCl, both in the same cubic cell of 8 atoms."""
    return Mixture.from_atoms(bulk(f"{cation}Cl", "rocksalt", a=SALT_A, cubic=True))


def salt_modes(cation: str) -> dict[str, Any]:
    """Classical free energy of the normal modes and the energy at rest, exact at low T."""
    model = potential("sevennet-0", "float64")
    mixture = salt(cation)
    atoms = mixture.to_atoms()
    calculator = AlchemicalCalculator(model, mixture, composition_gradient=False)
    frequencies = mode_frequencies(crystal_force_constants(atoms, calculator), atoms.get_masses())
    atoms.calc = calculator
    found = harmonic_free_energy(
        frequencies, atoms.get_masses(), atoms.get_volume(), LOW_K, 4, atoms.get_potential_energy()
    )
    total = found.potential + found.classical + found.centre_of_mass
    return {"free_energy_eV_per_atom": total / len(atoms), "potential_eV": found.potential}


def salt_harmonic() -> dict[str, Any]:
    """The normal modes of both salts."""
    return recorded(
        "salt-harmonic",
        {"a_A": SALT_A, "temperature_K": LOW_K},
        lambda _: {cation: salt_modes(cation) for cation in ("Na", "K")},
    )


def salt_by_path() -> dict[str, Any]:
    """NaCl -> KCl by alchemical switching at low temperature, in a fixed cell."""
    settings = SwitchingSettings(equilibration_steps=100, switching_steps=250, repeats=4)
    path = transmutation(salt("Na"), {"Na": "K"})
    model = potential("sevennet-0", "float64")
    return recorded(
        "salt-nodes",
        {"a_A": SALT_A, "dynamics": COLD.model_dump(), "switching": settings.model_dump()},
        lambda record: transmute(
            path, model, COLD, settings, record, on_progress=report("salt-nodes")
        ),
    )


def salt_by_frenkel_ladd(cation: str) -> dict[str, Any]:
    """One salt by switching to an Einstein crystal, with springs of its Hessian."""
    switching = SwitchingSettings(equilibration_steps=100, switching_steps=250, repeats=4)
    settings = FrenkelLaddSettings(springs="hessian")
    model = potential("sevennet-0", "float64")
    mixture = salt(cation)
    calculator = AlchemicalCalculator(model, mixture, composition_gradient=False)
    name = f"salt-frenkel-ladd-{cation}"
    return recorded(
        name,
        {"a_A": SALT_A, "dynamics": COLD.model_dump(), "switching": switching.model_dump()}
        | {"cation": cation},
        lambda record: frenkel_ladd(
            mixture.to_atoms(),
            calculator,
            COLD,
            switching,
            settings,
            record,
            on_progress=report(name),
        ),
    )


LENGTHS = (50, 100, 200, 400)
WARM = DynamicsSettings(temperature_K=300.0, timestep_fs=4.0, thermostat_fs=200.0)


def convergence() -> dict[str, Any]:
    """NaCl -> KCl at 300 K in a fixed cell with CHGNet, by both ways, for several lengths of a leg."""
    model = potential("chgnet", "float32")
    rows = []
    for steps in LENGTHS:
        settings = SwitchingSettings(equilibration_steps=50, switching_steps=steps, repeats=6)
        path = transmutation(salt("Na"), {"Na": "K"})
        inputs = {"dynamics": WARM.model_dump(), "switching": settings.model_dump()}
        found = recorded(
            f"length-{steps}-nodes",
            inputs,
            lambda record, path=path, settings=settings: transmute(
                path, model, WARM, settings, record
            ),
        )
        rows.append({"steps": steps, "way": "nodes", **short(found)})
        for cation in ("Na", "K"):
            mixture = salt(cation)
            found = recorded(
                f"length-{steps}-frenkel-ladd-{cation}",
                inputs,
                lambda record, mixture=mixture, settings=settings: frenkel_ladd(
                    mixture.to_atoms(),
                    AlchemicalCalculator(model, mixture, composition_gradient=False),
                    WARM,
                    settings,
                    FrenkelLaddSettings(spring_equilibration_steps=50, spring_steps=200),
                    record,
                ),
            )
            rows.append({"steps": steps, "way": f"frenkel-ladd-{cation}", **short(found)})
        print(f"{steps} steps done", flush=True)
    return {"timestep_fs": WARM.timestep_fs, "rows": rows}


def short(results: dict[str, Any]) -> dict[str, Any]:
    names = (
        "free_energy_eV_per_atom",
        "standard_error_eV_per_atom",
        "dissipation_eV_per_atom",
        "dissipation_standard_error_eV_per_atom",
    )
    return {name: results[name] for name in names}


def report(name: str) -> Callable[[int, int], None]:
    begun = time.perf_counter()

    def on_progress(done: int, total: int) -> None:
        print(f"{name}: {done}/{total} steps, {time.perf_counter() - begun:.0f} s", flush=True)

    return on_progress


CASES: dict[str, Callable[[], dict[str, Any]]] = (
    {
        f"{phase}-{representation}": (
            lambda phase=phase, representation=representation: cycle_by_path(phase, representation)
        )
        for phase in ("delta", "alpha")
        for representation in ("nodes", "embedding")
    }
    | {
        f"{phase}-frenkel-ladd-{element}": (
            lambda phase=phase, element=element: cycle_by_frenkel_ladd(phase, element)
        )
        for phase in ("delta", "alpha")
        for element in ("Pb", "Sn")
    }
    | {
        "salt-harmonic": salt_harmonic,
        "salt-nodes": salt_by_path,
        "salt-frenkel-ladd-Na": lambda: salt_by_frenkel_ladd("Na"),
        "salt-frenkel-ladd-K": lambda: salt_by_frenkel_ladd("K"),
        "convergence": convergence,
    }
)


def finished(name: str) -> dict[str, Any] | None:
    """Return the results of a run, if it is finished."""
    file = RUNS / f"{name}.sqlite"
    if not file.exists():
        return None
    with RunRecord.read(file) as record:
        return record.results if record.status == "finished" else None


def difference(
    last: dict[str, Any] | None, first: dict[str, Any] | None
) -> tuple[float, float] | None:
    if last is None or first is None:
        return None
    value = last["free_energy_eV_per_atom"] - first["free_energy_eV_per_atom"]
    errors = [item["standard_error_eV_per_atom"] for item in (last, first)]
    return value, float(np.hypot(*errors))


def with_error(pair: tuple[float, float] | None) -> str:
    return "not finished" if pair is None else f"{1e3 * pair[0]:.2f} ± {1e3 * pair[1]:.2f}"


def value_of(results: dict[str, Any] | None) -> tuple[float, float] | None:
    if results is None:
        return None
    return results["free_energy_eV_per_atom"], results["standard_error_eV_per_atom"]


def dissipated(results: dict[str, Any] | None) -> str:
    return "" if results is None else f"{1e3 * results['dissipation_eV_per_atom']:.2f}"


PAPER = {"alpha": ("25.8", "25.6"), "delta": ("27.1", "27.1")}
"""arXiv:2404.10746 with MACE-MP-0 small, 1080 atoms, meV/atom: alchemical, Frenkel-Ladd."""


def cycle_rows() -> list[list[str]]:
    rows = []
    for phase in ("delta", "alpha"):
        lead, tin = (finished(f"{phase}-frenkel-ladd-{element}") for element in ("Pb", "Sn"))
        nodes, embedding = (finished(f"{phase}-{way}") for way in ("nodes", "embedding"))
        both = ", ".join(filter(None, (dissipated(lead), dissipated(tin))))
        start = f"{phase}, {TEMPERATURES_K[phase]:.0f} K"
        rows += [
            [start, "nodes", with_error(value_of(nodes)), dissipated(nodes), PAPER[phase][0]],
            ["", "embedding", with_error(value_of(embedding)), dissipated(embedding), ""],
            ["", "two Frenkel-Ladd", with_error(difference(tin, lead)), both, PAPER[phase][1]],
        ]
    return rows


def salt_rows() -> list[list[str]]:
    modes = finished("salt-harmonic")
    if modes is None:
        return []
    exact = {cation: modes[cation]["free_energy_eV_per_atom"] for cation in ("Na", "K")}
    sodium, potassium = (finished(f"salt-frenkel-ladd-{cation}") for cation in ("Na", "K"))
    rows = []
    for label, modes_value, found in (
        ("NaCl", exact["Na"], value_of(sodium)),
        ("KCl", exact["K"], value_of(potassium)),
        ("NaCl to KCl, two Frenkel-Ladd", exact["K"] - exact["Na"], difference(potassium, sodium)),
        ("NaCl to KCl, nodes", exact["K"] - exact["Na"], value_of(finished("salt-nodes"))),
    ):
        if found is not None:
            off = (found[0] - modes_value) / found[1]
            shown = [f"{1e3 * modes_value:.3f}", with_error(found), f"{off:+.1f}"]
            rows.append([label, *shown])
    return rows


def convergence_rows(rows: list[dict[str, Any]]) -> list[list[str]]:
    shown = []
    for steps in LENGTHS:
        own = {row["way"]: row for row in rows if row["steps"] == steps}
        nodes, first, last = (own[f] for f in ("nodes", "frenkel-ladd-Na", "frenkel-ladd-K"))
        shown.append(
            [
                f"{steps * WARM.timestep_fs / 1000:g}",
                with_error(value_of(nodes)),
                dissipated(nodes),
                with_error(difference(last, first)),
                f"{dissipated(first)}, {dissipated(last)}",
            ]
        )
    return shown


def page() -> None:
    """Write results/free_energies.json, the pictures, and the tables of the page."""
    names = sorted(file.stem for file in RUNS.glob("*.sqlite") if not file.stem.startswith("vac"))
    results = {name: finished(name) for name in names}
    RESULTS.mkdir(exist_ok=True)
    content = {"environment": describe(), "runs": {k: v for k, v in results.items() if v}}
    file = RESULTS / "free_energies.json"
    file.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    for name in ("delta-nodes", "delta-frenkel-ladd-Pb"):
        own = results.get(name)
        if own:
            with RunRecord.read(RUNS / f"{name}.sqlite") as record:
                plot_switching(record, own, RESULTS / f"free_energies_{name}.png")
    blocks = {
        "cycles": table(
            ["phase", "way", "ΔG (meV/atom)", "dissipation (meV/atom)", "paper (MACE)"],
            cycle_rows(),
        ),
        "salt": table(
            [
                "20 K",
                "normal modes (meV/atom)",
                "by dynamics (meV/atom)",
                "off, in standard errors",
            ],
            salt_rows(),
        ),
        "environment": as_markdown(describe()),
    }
    lengths = convergence() if all(finished(f"length-{n}-nodes") for n in LENGTHS) else None
    if lengths:
        header = [
            "a leg (ps)",
            "nodes (meV/atom)",
            "dissipation",
            "two Frenkel-Ladd",
            "dissipation",
        ]
        blocks["convergence"] = table(header, convergence_rows(lengths["rows"]))
        draw_convergence(lengths["rows"])
    overhead = RESULTS / "engine_overhead.json"
    if overhead.exists():
        rows = [
            [
                row["model"],
                "NVT" if row["cell"] == "fixed" else "NPT",
                f"{1 / row['engine_s_per_step']:.1f}",
                f"{row['ratio']:.3f}",
            ]
            for row in json.loads(overhead.read_text(encoding="utf-8"))["rows"]
        ]
        header = ["40 atoms, float32", "ensemble", "steps per second", "over bare evaluations"]
        blocks["overhead"] = table(header, rows)
    fill(PAGE, blocks)
    print("\n\n".join(blocks.values()))


def draw_convergence(rows: list[dict[str, Any]]) -> None:
    """Draw dissipation and standard error of both ways against the time of a leg."""
    figure = Figure(figsize=(9.0, 3.6), layout="constrained")
    time = np.array(LENGTHS) * WARM.timestep_fs / 1000.0
    for axis, key, label in zip(
        figure.subplots(1, 2),
        ("dissipation_eV_per_atom", "standard_error_eV_per_atom"),
        ("dissipation (meV/atom)", "standard error (meV/atom)"),
        strict=True,
    ):
        for way, colour, marker, name in (
            ("nodes", LINE, "o", "NaCl to KCl, alchemical"),
            ("frenkel-ladd-Na", WARM_COLOUR, "s", "NaCl, Frenkel-Ladd"),
            ("frenkel-ladd-K", "#0f766e", "^", "KCl, Frenkel-Ladd"),
        ):
            values = [1e3 * row[key] for row in rows if row["way"] == way]
            axis.plot(time, values, marker=marker, color=colour, label=name, lw=1.2, ms=5)
        axis.set_xscale("log")
        axis.set_xticks(time, [f"{value:g}" for value in time])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.axhline(0.0, color="#9ca3af", lw=0.8)
        axis.set_xlabel("time of a leg (ps)")
        axis.set_ylabel(label)
        clean(axis)
    axis.legend(frameon=False)
    figure.savefig(RESULTS / "free_energies_convergence.png", dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("cases", nargs="*", choices=[*CASES, []])
    parser.add_argument("--page", action="store_true", help="only the tables")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if not chosen.page:
        for name in chosen.cases or CASES:
            results = CASES[name]()
            print(name, json.dumps({k: v for k, v in results.items() if "work_eV" not in k}))
    if chosen.page or not chosen.cases:
        page()


if __name__ == "__main__":
    main()
