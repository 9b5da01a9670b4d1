"""The vacancy of bcc Fe with SevenNet-0 at 100 K: at rest, by the partial path, by two crystals.

    python benchmarks/validate_vacancy.py               # results/vacancy.json, picture, the page
    python benchmarks/validate_vacancy.py --length 0.1  # a tenth of the steps, to see that it works
    python benchmarks/validate_vacancy.py --page        # the page from what is there

54 atoms, in the perfect crystal's mean cell at 100 K and no pressure. Lengths are chosen for at most
25 minutes on one core that does 2.5 evaluations a second. Every run has its record under
benchmarks/runs/free_energies and goes on where it was cut off.
"""

from __future__ import annotations

import argparse
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from alchemlip import Mixture, RelaxationSettings, load_potential, relax
from alchemlip.freeenergy.chemical_potential import ChemicalPotential
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
from alchemlip.freeenergy.plotting import plot_switching
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.freeenergy.vacancy import form_vacancy, noted_spring_constant, vacancy_path
from alchemlip.freeenergy.vacancy_crystals import (
    formation_from_crystals,
    static_formation_energy,
    without_site,
)
from alchemlip.mixture.structure_files import read_structure
from alchemlip.potential.calculator import AlchemicalCalculator
from alchemlip.potential.potential import AlchemicalPotential
from alchemlip.records.runs import RunRecord
from environment import as_markdown, describe
from pages import fill, table
from validate_free_energies import RUNS, recorded, report

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PAGE = HERE / "vacancy.md"
FE = HERE.parent / "examples" / "structures" / "Fe.cif"

MODEL, DTYPE = "sevennet-0", "float32"
SITE = 0
T = 100.0
PARTIAL = {"equilibration": 40, "switching": 120, "repeats": 4}
EINSTEIN = {"equilibration": 35, "switching": 140, "repeats": 3}
RELAXATION = RelaxationSettings(cell="volume", fmax=5e-3, smax=2e-2)
PAPER = {"alchemical": (1.5405, 0.0018), "two crystals": (1.5475, 0.0060)}
"""arXiv:2404.10746 at 100 K, MACE-MP-0 small, 250 atoms: other values belong to other potentials."""


@cache
def potential() -> AlchemicalPotential:
    return load_potential(MODEL, device="cpu", dtype=DTYPE)


class Study:
    """The runs, at a fraction of their lengths."""

    def __init__(self, length: float) -> None:
        self.length = length
        suffix = "" if length == 1.0 else f"-{length:g}"
        self.names = {
            part: f"vacancy-Fe-{part}{suffix}"
            for part in ("static", "perfect", "partial", "vacant")
        }
        # The fastest mode of bcc Fe takes 150 fs, and BAOAB's positions of a harmonic crystal are
        # canonical whatever the step; the short runs want a quick barostat.
        self.still = DynamicsSettings(temperature_K=T, timestep_fs=6.0, barostat_fs=300.0)

    def steps(self, full: int) -> int:
        return max(2, round(self.length * full))

    def switching(self, lengths: dict[str, int]) -> SwitchingSettings:
        # In the harmonic image of this crystal the polynomial had 2 to 2.5 times the spread.
        return SwitchingSettings(
            equilibration_steps=self.steps(lengths["equilibration"]),
            switching_steps=self.steps(lengths["switching"]),
            repeats=lengths["repeats"],
            function="linear",
            checkpoint_interval=20,
        )

    def inputs(self, **more: Any) -> dict[str, Any]:
        return {"potential": MODEL, "dtype": DTYPE, "site": SITE, "length": self.length, **more}

    @cache  # noqa: B019
    def crystal(self) -> Mixture:
        """The crystal at rest."""
        return relax(read_structure(FE), potential(), RELAXATION).mixture.repeat((3, 3, 3))

    def static(self) -> dict[str, Any]:
        return recorded(
            self.names["static"],
            self.inputs(relaxation=RELAXATION.model_dump()),
            lambda _: static_formation_energy(self.crystal(), SITE, potential(), RELAXATION),
        )

    def frenkel_ladd(self, part: str, mixture: Mixture, moving: bool) -> dict[str, Any]:
        """One crystal; N_cells is that of the perfect lattice for both."""
        motion = self.still.model_copy(update={"cell": "volume"}) if moving else self.still
        switching = self.switching(EINSTEIN)
        stages = FrenkelLaddSettings(
            springs="hessian",
            cell_equilibration_steps=self.steps(60),
            cell_steps=self.steps(200),
            n_primitive_cells=54,
        )
        calculator = AlchemicalCalculator(potential(), mixture, composition_gradient=False)
        return recorded(
            self.names[part],
            self.inputs(
                dynamics=motion.model_dump(),
                switching=switching.model_dump(),
                stages=stages.model_dump(),
            ),
            lambda record: frenkel_ladd(
                mixture.to_atoms(),
                calculator,
                motion,
                switching,
                stages,
                record,
                on_progress=report(self.names[part]),
            ),
        )

    def in_cell(self, cell: list[list[float]]) -> Mixture:
        """The perfect crystal in its mean cell."""
        atoms = self.crystal().to_atoms()
        atoms.set_cell(cell, scale_atoms=True)
        return self.crystal().with_geometry(atoms)

    def partial(self, mixture: Mixture, mu: ChemicalPotential) -> dict[str, Any]:
        switching = self.switching(PARTIAL)

        def work(record: RunRecord) -> dict[str, Any]:
            constant = noted_spring_constant(record, mixture, SITE, potential())
            path = vacancy_path(mixture, SITE, constant)
            progress = report(self.names["partial"])
            return form_vacancy(
                path, potential(), mu, self.still, switching, record, on_progress=progress
            )

        return recorded(
            self.names["partial"],
            self.inputs(
                dynamics=self.still.model_dump(),
                switching=switching.model_dump(),
                mu=mu.value_eV,
                cell=mixture.cell.tolist(),
            ),
            work,
        )

    def run(self) -> dict[str, Any]:
        """Return the results of all parts."""
        static = self.static()
        perfect = self.frenkel_ladd("perfect", self.crystal(), moving=True)
        mixture = self.in_cell(perfect["cell_A"])
        low, high = perfect["interval_95_eV_per_atom"]
        mu = ChemicalPotential(
            perfect["free_energy_eV_per_atom"],
            perfect["standard_error_eV_per_atom"],
            0.5 * (high - low),
            "G/N of the perfect crystal",
        )
        partial = self.partial(mixture, mu)
        emptied = without_site(mixture, SITE)
        rest = relax(emptied, potential(), RELAXATION.model_copy(update={"cell": "fixed"}))
        vacant = self.frenkel_ladd("vacant", rest.mixture, moving=False)
        return {
            "temperature_K": T,
            "static": static,
            "perfect": perfect,
            "partial": partial,
            "vacant": vacant,
            "two_crystals": formation_from_crystals(perfect, vacant),
        }


def rows(results: dict[str, Any]) -> list[list[str]]:
    """Return the table of the page."""
    found = [["at rest, 0 K", f"{results['static']['static_formation_energy_eV']:.4f}", *[""] * 4]]
    seconds = {name: results[name]["seconds"] for name in ("perfect", "partial", "vacant")}
    for label, name, spent, paper in (
        (
            "partial path, and mu",
            "partial",
            seconds["partial"] + seconds["perfect"],
            PAPER["alchemical"],
        ),
        (
            "two crystals",
            "two_crystals",
            seconds["perfect"] + seconds["vacant"],
            PAPER["two crystals"],
        ),
    ):
        own = results[name]
        low, high = own["interval_95_eV"]
        found.append(
            [
                label,
                f"{own['free_energy_eV']:.4f} ± {own['standard_error_eV']:.4f}",
                f"{low:.4f} to {high:.4f}",
                f"{1e3 * own['dissipation_eV']:.1f}",
                f"{spent / 60:.1f}",
                f"{paper[0]:.4f} ± {paper[1]:.4f}",
            ]
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--length", type=float, default=1.0, help="fraction of the steps")
    parser.add_argument("--page", action="store_true", help="only the page")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    study = Study(chosen.length)
    file = RESULTS / "vacancy.json"
    if chosen.page:
        results = json.loads(file.read_text(encoding="utf-8"))
    else:
        results = {**study.run(), "environment": describe()}
    header = ["", "G_v (eV)", "95 % interval (eV)", "dissipation (meV)", "minutes", "paper (eV)"]
    shown = table(header, rows(results))
    print(shown)
    if chosen.length != 1.0:
        return
    file.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    with np.errstate(all="ignore"):
        record = RunRecord.read(RUNS / f"{study.names['partial']}.sqlite")
        plot_switching(record, results["partial"], RESULTS / "vacancy_switching.png")
    fill(PAGE, {"table": shown, "environment": as_markdown(results["environment"])})


if __name__ == "__main__":
    main()
