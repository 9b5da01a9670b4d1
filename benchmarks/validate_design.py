"""Composition design: lattice matches, a charge-balanced oxide, and what the search costs.

    python benchmarks/validate_design.py      # results/design.json, pictures, design.md

Every entry of the results is written when it is finished, and not done again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from ase.io import read
from scipy.optimize import minimize

from alchemlip import AlchemicalPotential, Mixture, RelaxationSettings, load_potential, relax
from alchemlip.crystal.properties import lattice_parameter, pressure, stress
from alchemlip.crystal.response import response
from alchemlip.design.check import check_design
from alchemlip.design.constraints import CompositionConstraints
from alchemlip.design.design import DesignResult, Goal, design, with_flat_composition
from alchemlip.design.map import property_map
from alchemlip.design.plots import plot_design, plot_map
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
RESULTS = HERE / "results"
STRUCTURES = HERE.parent / "examples" / "structures"
FILE = RESULTS / "design.json"
PAGE = HERE / "design.md"
TIGHT = RelaxationSettings(fmax=1e-4, smax=1e-4, keep_symmetry=True, max_steps=1000)
ON_SUBSTRATE = TIGHT.model_copy(update={"cell": "zz"})
SUPERCELL = (3, 3, 2)  # of the 4-atom wurtzite cell: 72 atoms


def nitride_on_gan(potential: AlchemicalPotential, mixed: dict[str, float]) -> Mixture:
    """Return wurtzite AlN with other cations, its plane that of GaN with the same potential."""
    gan = relax(Mixture.from_elements(read(STRUCTURES / "GaN_hex.cif"), {}), potential, TIGHT)
    own = read(STRUCTURES / "AlN_hex.cif")
    cell = own.cell.array.copy()
    cell[:2] = gan.mixture.cell[:2]
    own.set_cell(cell, scale_atoms=True)
    return Mixture.from_elements(own, {"Al": mixed})


def summary(result: DesignResult, seconds: float) -> dict[str, Any]:
    return {
        "composition": result.composition,
        "property": result.values,
        "converged": result.converged,
        "iterations": len(result.points),
        "evaluations": result.evaluations,
        "seconds": round(seconds, 1),
    }


def nitride(name: str, mixed: dict[str, float], check: bool) -> dict[str, Any]:
    """In-plane stress zero on GaN, to 0.01 GPa, c and internal coordinates relaxed."""
    potential = load_potential(name, device="cpu")
    mixture = nitride_on_gan(potential, mixed)
    goal = Goal(stress("in-plane"), "target", 0.0, tolerance=0.01)
    start = perf_counter()
    result = design(mixture, potential, [goal], settings=ON_SUBSTRATE)
    record = summary(result, perf_counter() - start)
    record["a_GaN_A"] = float(np.linalg.norm(mixture.cell[0]))
    label = "".join(mixed)
    plot_design(result, [goal], RESULTS / f"design_{label}N_{name}.png", f"{label}N on GaN, {name}")
    if check:
        found = check_design(
            result.mixture,
            potential,
            [goal.property],
            SUPERCELL,
            np.random.default_rng(0),
            kind="sqs" if len(mixed) == 2 else "random",
            settings=ON_SUBSTRATE,
        )
        record["supercell_composition"] = found.composition
        record["supercell_predicted_property"] = found.predicted
        record["supercell_property"] = found.obtained
        # The same with the whole cell relaxed: the supercell's own in-plane lattice parameter.
        free = check_design(
            result.mixture,
            potential,
            [lattice_parameter("a"), lattice_parameter("b")],
            SUPERCELL,
            np.random.default_rng(0),
            kind="sqs" if len(mixed) == 2 else "random",
            settings=TIGHT,
        )
        record["supercell_lattice_predicted_A"] = free.predicted
        record["supercell_lattice_obtained_A"] = free.obtained
    return record


def published_scheme(name: str) -> dict[str, Any]:
    """The published notebook's descent for AlScN on GaN, its numbers, on this potential.

    Loss |sigma_xx + sigma_yy| in eV/A^3; rates 5e-3 for the weights (projected on the simplex) and
    1e-2 for the third cell vector's z, both along the gradient of the loss; at most 500 steps, until
    the loss is below 5e-4. One evaluation with its second derivatives a step.
    """
    potential = load_potential(name, device="cpu")
    gan = relax(Mixture.from_elements(read(STRUCTURES / "GaN_hex.cif"), {}), potential, TIGHT)
    mixed = Mixture.from_elements(gan.mixture.to_atoms(), {"Ga": {"Al": 0.999, "Sc": 0.001}})
    x = torch.tensor([0.999, 0.001], dtype=torch.float64)
    c = float(mixed.cell[2, 2])
    fractional = np.linalg.solve(mixed.cell.T, mixed.positions.T).T
    start = perf_counter()
    steps, loss = 0, np.inf
    while steps < 500:
        cell = mixed.cell.copy()
        cell[2, 2] = c
        atoms = mixed.to_atoms()
        atoms.set_cell(cell)
        atoms.positions = fractional @ cell
        graph = potential.graph([mixed.with_geometry(atoms)])
        weights = x.clone().requires_grad_()
        strain = torch.zeros_like(graph.cells).requires_grad_()
        # A strain along z moves c: d/dc = (d/d strain_zz) / c.
        stretch = torch.zeros((), dtype=torch.float64, requires_grad=True)
        along = torch.zeros_like(graph.cells)
        along[0, 2, 2] = 1.0
        energy = potential.energies(graph, strain=strain + stretch * along, composition=weights)
        (slope,) = torch.autograd.grad(energy.sum(), strain, create_graph=True)
        volume = abs(np.linalg.det(cell)) * (1.0 + stretch)
        value = ((slope[0, 0, 0] + slope[0, 1, 1]) / volume).abs()
        by_x, by_strain = torch.autograd.grad(value, (weights, stretch))
        steps, loss = steps + 1, float(value.detach())
        x = x - 5e-3 * (by_x - by_x.mean())
        c -= 1e-2 * float(by_strain) / c
        if loss < 5e-4:
            break
    seconds = perf_counter() - start
    atoms.set_cell(cell)
    final = mixed.with_geometry(atoms).with_composition("Ga", x.clamp(0, 1).numpy(), True)
    left = potential.evaluate(final)
    return {
        "x_Sc": float(x[1]),
        "steps": steps,
        "seconds": round(seconds, 1),
        "loss_eV_per_A3": loss,
        "in_plane_GPa": float(left.stress[:2].mean() * 160.21766),
        "out_of_plane_GPa": float(left.stress[2] * 160.21766),
        "max_force_eV_per_A": float(np.abs(left.forces).max()),
    }


def ceria() -> dict[str, Any]:
    """Ce, Zr and Y with oxygen vacancies that keep the crystal neutral: a = 5.38 A."""
    potential = load_potential("sevennet-0", device="cpu")
    mixture = Mixture.from_elements(
        read(STRUCTURES / "CeO2.cif"),
        {"Ce": {"Ce": 0.8, "Zr": 0.1, "Y": 0.1}, "O": {"O": 1.0, "Va": 0.0}},
    )
    charges = {"Ce": 4, "Zr": 4, "Y": 3, "O": -2}
    constraints = CompositionConstraints(mixture).charge_balanced(charges)
    constraints = constraints.bounded("Ce:Y", 0.05, 1.0)
    start = perf_counter()
    goal = Goal(lattice_parameter("a"), "target", 5.38)
    result = design(mixture, potential, [goal], constraints, settings=TIGHT)
    record = summary(result, perf_counter() - start)
    record["constraint_violation"] = result.violation
    return record


def cost() -> dict[str, Any]:
    """(Na,K)Cl with a = 5.9 A to 1e-3 A: gradients, a scan with interpolation, Nelder-Mead."""
    potential = load_potential("sevennet-0", device="cpu")
    mixture = Mixture.from_elements(
        read(STRUCTURES / "NaCl.cif"), {"Na": {"Na": 0.999, "K": 0.001}}
    )
    target = 5.9
    relax(mixture, potential, TIGHT)  # warm-up
    found: dict[str, Any] = {}

    start = perf_counter()
    result = design(
        mixture, potential, [Goal(lattice_parameter("a"), "target", target)], settings=TIGHT
    )
    found["gradients"] = {**summary(result, perf_counter() - start)}

    counted = 0

    def a_at(x: float) -> float:
        nonlocal counted
        run = relax(with_flat_composition(mixture, np.array([1 - x, x])), potential, TIGHT)
        counted += run.evaluations
        return float(np.linalg.norm(run.mixture.cell[0]))

    start = perf_counter()
    grid = np.linspace(0.0, 1.0, 21)
    values = [a_at(x) for x in grid]
    x = float(np.interp(target, values, grid))
    seconds = perf_counter() - start
    evaluations = counted
    found["21-point scan"] = {
        "x": x, "evaluations": evaluations, "seconds": round(seconds, 1), "a_A": a_at(x)
    }  # fmt: skip

    counted = 0
    start = perf_counter()
    search = minimize(
        lambda y: (a_at(float(np.clip(y[0], 0.0, 1.0))) - target) ** 2,
        [0.001],
        method="Nelder-Mead",
        options={"initial_simplex": [[0.001], [0.1]], "xatol": 1e-3, "fatol": 1e-6},
    )
    found["Nelder-Mead"] = {
        "x": float(search.x[0]),
        "evaluations": counted,
        "seconds": round(perf_counter() - start, 1),
        "a_A": float(np.sqrt(search.fun)) + target,
    }
    return found


def gradient_cost() -> dict[str, Any]:
    """Time of one property's gradient over one evaluation: 12 and 40 atoms, without and with symmetry."""
    potential = load_potential("sevennet-0", device="cpu")
    cells = {
        "CeO2, 12 sites": Mixture.from_elements(
            read(STRUCTURES / "CeO2.cif"), {"Ce": {"Ce": 0.5, "Zr": 0.5}}
        ),
        "BiSBr, 12 sites": Mixture.from_elements(
            read(STRUCTURES / "BiSBr.cif"), {"Br": {"Br": 0.6, "I": 0.4}}
        ),
        "CsPbI3, 40 sites": Mixture.from_elements(
            read(STRUCTURES / "CsPbI3_alpha.cif"), {"Pb": {"Pb": 0.5, "Sn": 0.5}}
        ).repeat((2, 2, 2)),
    }
    rows = {}
    for name, mixture in cells.items():
        run = relax(mixture, potential, TIGHT)
        for symmetry in (True, False):
            if not symmetry and name.startswith("CsPbI3"):
                continue  # cubic CsPbI3 is unstable against tilts, which symmetry forbids
            times: dict[str, list[float]] = {"gradient": [], "evaluation": []}
            products = 0
            for _ in range(3):
                start = perf_counter()
                products = response(
                    run.mixture, potential, [lattice_parameter("a")], TIGHT, use_symmetry=symmetry
                )[0].products
                times["gradient"].append(perf_counter() - start)
                start = perf_counter()
                potential.evaluate(run.mixture)
                times["evaluation"].append(perf_counter() - start)
            ratio = float(np.median(times["gradient"]) / np.median(times["evaluation"]))
            label = f"{name}, {'symmetry' if symmetry else 'no symmetry'}"
            rows[label] = {"products": products, "evaluations_worth": round(ratio, 1)}
    return rows


def maps() -> dict[str, Any]:
    """(Li,Na,K)Cl: lattice parameter, and pressure at the cell of NaCl, with gradient arrows."""
    potential = load_potential("sevennet-0", device="cpu")
    mixture = Mixture.from_elements(
        read(STRUCTURES / "NaCl.cif"), {"Na": {"Li": 0.2, "Na": 0.5, "K": 0.3}}
    )
    free = property_map(mixture, potential, [lattice_parameter("a")], points=7, settings=TIGHT)
    plot_map(free, 0, RESULTS / "design_map_a.png", "(Li,Na,K)Cl, relaxed")
    salt = relax(mixture.with_composition("Na", {"Na": 1.0}), potential, TIGHT).mixture
    held = TIGHT.model_copy(update={"cell": "fixed"})
    fixed = property_map(salt, potential, [pressure()], points=7, settings=held)
    plot_map(
        fixed, 0, RESULTS / "design_map_pressure.png", "(Li,Na,K)Cl at NaCl's cell", absolute=True
    )
    # Gradients at five random compositions against differences of whole relaxations.
    rng = np.random.default_rng(0)
    tight = TIGHT.model_copy(update={"fmax": 1e-6, "smax": 1e-6})
    worst = 0.0
    for _ in range(5):
        x = rng.dirichlet([2.0, 2.0, 2.0])
        direction = rng.dirichlet([1.0, 1.0, 1.0]) - x
        values = []
        for step in (-2e-3, -1e-3, 1e-3, 2e-3):
            run = relax(with_flat_composition(mixture, x + step * direction), potential, tight)
            values.append(float(np.linalg.norm(run.mixture.cell[0])))
        run = relax(with_flat_composition(mixture, x), potential, tight)
        exact = response(run.mixture, potential, [lattice_parameter("a")], tight)[0].gradient
        numerical = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / 0.012
        worst = max(worst, abs(float(exact @ direction) / numerical - 1.0))
    return {
        "a_A": [float(free.values.min()), float(free.values.max())],
        "pressure_GPa": [float(fixed.values.min()), float(fixed.values.max())],
        "worst_relative_error_of_gradient": worst,
    }


def binary_gradients(file: str, host: str, guest: str, names: str, grid: Sequence[float]) -> Any:
    """Gradients of relaxed lattice parameters along a line, against whole relaxations.

    SevenNet-0's cutoff envelope has jumps of its second derivative at 4.5 and 5 A; differences
    across one mean little, so the distance of the nearest neighbour to it stands beside the error.
    The step weighs that against what a relaxation leaves of a soft lattice parameter.
    """
    potential = load_potential("sevennet-0", device="cpu")
    tight = TIGHT.model_copy(update={"fmax": 1e-8, "smax": 1e-8, "max_steps": 1000})
    step = 2e-3
    rows = {}
    run = None
    for x in grid:
        mixture = Mixture.from_elements(read(STRUCTURES / file), {host: {host: 1 - x, guest: x}})
        run = relax(mixture, potential, tight)
        properties = [lattice_parameter(name) for name in names]
        exact = response(run.mixture, potential, properties, tight)
        values = {}
        for factor in (-2, -1, 1, 2):
            moved = run.mixture.with_composition(host, [1 - x - factor * step, x + factor * step])
            cell = relax(moved, potential, tight).mixture.cell
            values[factor] = np.linalg.norm(cell, axis=1)[["abc".index(name) for name in names]]
        numerical = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)
        assert run.converged
        errors = [
            float(abs((item.gradient[1] - item.gradient[0]) / number - 1.0))
            for item, number in zip(exact, numerical, strict=True)
        ]
        graph = potential.graph([run.mixture])
        lengths = torch.linalg.norm(graph.edge_vectors(graph.positions, graph.cells), dim=1)
        rows[f"{x:g}"] = {
            "worst_relative_error": max(errors),
            "nearest_to_jump_A": float(
                torch.minimum((lengths - 4.5).abs(), (lengths - 5.0).abs()).min()
            ),
        }
    return rows


JOBS: dict[str, Callable[[], dict[str, Any]]] = {
    "AlScN, sevennet-0": lambda: nitride("sevennet-0", {"Al": 0.999, "Sc": 0.001}, True),
    "AlScN, chgnet": lambda: nitride("chgnet", {"Al": 0.999, "Sc": 0.001}, True),
    "AlScYN, sevennet-0": lambda: nitride(
        "sevennet-0", {"Al": 0.998, "Sc": 0.001, "Y": 0.001}, False
    ),
    "published scheme, sevennet-0": lambda: published_scheme("sevennet-0"),
    "CeZrYO": ceria,
    "maps": maps,
    "BiSX gradients": lambda: binary_gradients(
        "BiSBr.cif", "Br", "I", "abc", (0.9, 0.7, 0.5, 0.3, 0.1)
    ),
    "wurtzite gradients": lambda: binary_gradients(
        "AlN_hex.cif", "Al", "Ga", "ac", (0.1, 0.3, 0.5, 0.7, 0.9)
    ),
    "cost": cost,
    "gradient cost": gradient_cost,
}


def page(found: dict[str, Any]) -> None:
    rows = []
    for name, record in found.items():
        if "composition" not in record:
            continue
        weights = ", ".join(f"{k.split(':')[1]} {v:.4f}" for k, v in record["composition"].items())
        values = ", ".join(f"{k} = {v:.4f}" for k, v in record["property"].items())
        check = ""
        if "supercell_property" in record:
            key = next(iter(record["property"]))
            check = (
                f"{record['supercell_property'][key]:+.3f} "
                f"({record['supercell_predicted_property'][key]:+.3f})"
            )
        rows.append(
            [name, weights, values, "yes" if record["converged"] else "no",
             str(record["iterations"]), str(record["evaluations"]), f"{record['seconds']:.0f}", check]
        )  # fmt: skip
    header = ["design", "composition", "property", "met", "compositions", "evaluations", "s",
              "72 whole atoms (predicted)"]  # fmt: skip
    blocks = {"designs": table(header, rows), "machine": as_markdown(describe())}
    if "published scheme, sevennet-0" in found:
        scheme = found["published scheme, sevennet-0"]
        blocks["scheme"] = (
            f"{scheme['steps']} steps, {scheme['seconds']:.0f} s: Sc {scheme['x_Sc']:.4f}, in-plane "
            f"stress {scheme['in_plane_GPa']:+.3f} GPa, out of plane "
            f"{scheme['out_of_plane_GPa']:+.2f} GPa, largest force "
            f"{scheme['max_force_eV_per_A']:.2f} eV/Å."
        )
    lines = [
        [name, x, f"{item['worst_relative_error']:.1e}", f"{item['nearest_to_jump_A']:.4f}"]
        for name, job in (("BiS(Br,I)", "BiSX gradients"), ("(Al,Ga)N", "wurtzite gradients"))
        for x, item in found.get(job, {}).items()
    ]
    blocks["chains"] = table(
        ["crystal", "x", "largest relative error", "neighbour nearest to a jump (Å)"], lines
    )
    if "maps" in found:
        worst = found["maps"]["worst_relative_error_of_gradient"]
        blocks["error"] = f"Largest relative error: {worst:.1e}."
    if "cost" in found:
        lines = [
            [name, str(item["evaluations"]), f"{item['seconds']:.1f}",
             f"{item.get('a_A', item.get('property', {}).get('a_A', 0.0)):.4f}"]
            for name, item in found["cost"].items()
        ]  # fmt: skip
        blocks["cost"] = table(["search", "evaluations", "s", "a reached (Å)"], lines)
    if "gradient cost" in found:
        lines = [
            [name, str(item["products"]), str(item["evaluations_worth"])]
            for name, item in found["gradient cost"].items()
        ]
        blocks["gradient"] = table(
            ["cell", "Hessian-vector products", "time over one evaluation"], lines
        )
    fill(PAGE, blocks)


def main() -> None:
    RESULTS.mkdir(exist_ok=True)
    found = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name, job in JOBS.items():
        if name not in found:
            found[name] = job()
            FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            print(name, found[name], flush=True)
    page(found)


if __name__ == "__main__":
    main()
