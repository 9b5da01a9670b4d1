"""The free energy of copper by Frenkel-Ladd, beside the number of another code.

    python examples/frenkel_ladd_copper.py Cu01.eam.alloy --out copper

The file is the potential of Mishin et al., Phys. Rev. B 63, 224106 (2001), to be had from the NIST
Interatomic Potentials Repository (https://www.ctcms.nist.gov/potentials, "Cu01.eam.alloy") or from
OpenKIM. calphy 2 finds for it, with 500 atoms at 500 K, P = 0 and 5 ps of switching (a baseline of
its tests):

    volume                  12.10123 A^3/atom        spring constant   1.846571 eV/A^2
    Einstein crystal        -0.176230 eV/atom
    centre of mass          -0.001802 eV/atom        with the whole volume
    work                    -3.465824 eV/atom
    free energy             -3.643856 eV/atom        +- 0.000068

The work depends on the springs, the free energy does not. Any correct calculation should meet the
free energy to about 1 meV/atom. Run the same command again after an interruption, and it goes on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.eam import EAM
from ase.stress import full_3x3_to_voigt_6_stress
from vesin import NeighborList

from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.records.results import fingerprint
from alchemlip.records.runs import RunRecord

CALPHY = {
    "volume_A3_per_atom": 12.10123,
    "einstein": -0.176230,
    "centre_of_mass": -0.001802,
    "work": -3.465824,
    "free_energy_eV_per_atom": -3.643856,
}
LATTICE_PARAMETER = 3.615
TIMESTEP = 2.0


class CopperEAM(Calculator):
    """The splines of ASE's EAM for one element, evaluated for all pairs at once.

    ASE's own goes through the atoms one by one, which takes more than ten times as long. The result
    depends on the configuration alone, so that a run continues bit for bit.

    Args:
        file: in the ``eam.alloy`` format.
    """

    implemented_properties = ("energy", "free_energy", "forces", "stress")

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.splines = EAM(potential=str(file))

    def calculate(
        self,
        atoms: Any = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate energy, forces and stress; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))
        first, second, r, vectors = NeighborList(
            cutoff=self.splines.cutoff, full_list=True
        ).compute(
            points=self.atoms.positions,
            box=self.atoms.cell.array,
            periodic=True,
            quantities="ijdD",
        )
        n = len(self.atoms)
        eam = self.splines
        density = np.bincount(first, weights=eam.electron_density[0](r), minlength=n)
        energy = eam.embedded_energy[0](density).sum() + 0.5 * eam.phi[0, 0](r).sum()
        embedding = eam.d_embedded_energy[0](density)
        slope = (embedding[first] + embedding[second]) * eam.d_electron_density[0](r)
        slope += eam.d_phi[0, 0](r)
        pull = (slope / r)[:, None] * vectors
        forces = np.stack([np.bincount(first, weights=p, minlength=n) for p in pull.T], axis=1)
        stress = 0.5 * vectors.T @ pull / self.atoms.get_volume()
        self.results = {
            "energy": float(energy),
            "free_energy": float(energy),
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(0.5 * (stress + stress.T)),
        }


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Run, print the terms beside calphy's, and return the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("potential", type=Path, help="file in the eam.alloy format")
    parser.add_argument("--out", type=Path, default=Path("frenkel-ladd-copper"))
    parser.add_argument("--repeat", type=int, default=5, help="cubic cells along each edge")
    parser.add_argument("--temperature", type=float, default=500.0, help="K")
    parser.add_argument("--sample", type=float, default=10.0, help="ps, of cell and springs")
    parser.add_argument("--equilibrate", type=float, default=2.0, help="ps")
    parser.add_argument("--switch", type=float, default=5.0, help="ps")
    parser.add_argument("--repeats", type=int, default=4)
    chosen = parser.parse_args(arguments)

    def steps(time_ps: float) -> int:
        return round(1000.0 * time_ps / TIMESTEP)

    atoms = bulk("Cu", "fcc", LATTICE_PARAMETER, cubic=True).repeat(chosen.repeat)
    dynamics = DynamicsSettings(
        temperature_K=chosen.temperature, timestep_fs=TIMESTEP, cell="volume"
    )
    switching = SwitchingSettings(
        equilibration_steps=steps(chosen.equilibrate),
        switching_steps=steps(chosen.switch),
        repeats=chosen.repeats,
    )
    settings = FrenkelLaddSettings(
        cell_equilibration_steps=steps(chosen.equilibrate),
        cell_steps=steps(chosen.sample),
        spring_equilibration_steps=steps(chosen.equilibrate),
        spring_steps=steps(chosen.sample),
        centre_of_mass="supercell",  # calphy's convention
    )
    inputs = {
        "potential": fingerprint(chosen.potential.read_text(encoding="utf-8")),
        "atoms": len(atoms),
        "dynamics": dynamics.model_dump(),
        "switching": switching.model_dump(),
        "frenkel_ladd": settings.model_dump(),
    }
    chosen.out.mkdir(parents=True, exist_ok=True)
    with RunRecord(chosen.out / "run.sqlite", "frenkel-ladd copper", inputs) as record:
        if record.finished:
            results = record.results
        else:
            with record.noting_failure():
                results = frenkel_ladd(
                    atoms,
                    CopperEAM(chosen.potential),
                    dynamics,
                    switching,
                    settings,
                    record,
                    on_progress=show_progress,
                )
                record.finish(results)
    show(results)
    return results


def show_progress(done: int, total: int) -> None:
    """Print how far the run is, over the last such line."""
    print(f"\r{done} of {total} steps", end="" if done < total else "\n", flush=True)


def show(results: dict[str, Any]) -> None:
    """Print the results in eV/atom beside calphy's."""
    values = {**results["terms"], **results}
    print(f"{'':24s}{'here':>12s}{'calphy':>12s}")
    for name, published in CALPHY.items():
        print(f"{name:24s}{values[name]:12.6f}{published:12.6f}")
    print(f"standard error          {results['standard_error_eV_per_atom']:12.6f}")
    print(f"dissipation             {results['dissipation_eV_per_atom']:12.6f}")
    print(f"spring constant         {results['spring_constants_eV_per_A2']['Cu']:12.6f} eV/A^2")


if __name__ == "__main__":
    main()
