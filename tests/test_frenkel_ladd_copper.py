"""The copper example, with an analytic potential in the same file format."""

from __future__ import annotations

import time
from importlib import util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.eam import EAM

from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
from alchemlip.freeenergy.harmonic import (
    force_constants,
    harmonic_free_energy,
    mode_frequencies,
)
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.records.runs import RunRecord

EXAMPLE = Path(__file__).parents[1] / "examples" / "frenkel_ladd_copper.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = util.spec_from_file_location("frenkel_ladd_copper", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def potential(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write copper in the second-moment approximation as a table.

    Cleri and Rosato, Phys. Rev. B 48, 22 (1993), made to vanish smoothly from 4 to 5 A.
    """
    pair, bond, p, q, nearest, cutoff = 0.0855, 1.224, 10.96, 2.278, 2.556, 5.0
    points = 1000
    r = np.linspace(0.0, cutoff, points)
    s = np.clip(cutoff - r, 0.0, 1.0)
    smooth = s**3 * (10.0 - 15.0 * s + 6.0 * s**2)
    density = bond**2 * np.exp(-2.0 * q * (r / nearest - 1.0)) * smooth
    phi = 2.0 * pair * np.exp(-p * (r / nearest - 1.0)) * smooth
    rho = np.linspace(0.0, 60.0, points)
    lines = ["copper", "second-moment approximation", "", "1 Cu"]
    lines += [f"{points} {rho[1]:.16e} {points} {r[1]:.16e} {cutoff:.16e}"]
    lines += ["29 63.546 3.615 fcc"]
    for table in (-np.sqrt(rho), density, r * phi):
        lines += [" ".join(f"{value:.16e}" for value in row) for row in table.reshape(-1, 5)]
    file = tmp_path_factory.mktemp("eam") / "Cu.eam.alloy"
    file.write_text("\n".join(lines) + "\n")
    return file


def copper(repeat: int) -> Atoms:
    return bulk("Cu", "fcc", 3.62).repeat(repeat)


def test_all_pairs_at_once_give_what_ase_gives(example: ModuleType, potential: Path) -> None:
    ours = copper(3)
    ours.rattle(0.1, seed=1)
    theirs = ours.copy()
    ours.calc = example.CopperEAM(potential)
    theirs.calc = EAM(potential=str(potential))
    energy = theirs.get_potential_energy()
    assert ours.get_potential_energy() == pytest.approx(energy, rel=1e-12)
    np.testing.assert_allclose(ours.get_forces(), theirs.get_forces(), atol=1e-10)
    np.testing.assert_allclose(ours.get_stress(), theirs.get_stress(), atol=1e-10)


def test_all_pairs_at_once_are_ten_times_as_fast(example: ModuleType, potential: Path) -> None:
    """In processor time; 40 times for 27 atoms, and the ratio grows with them."""

    def fastest(calculator: Calculator) -> float:
        atoms = copper(3)
        atoms.calc = calculator
        times = []
        for seed in range(4):
            atoms.rattle(0.02, seed=seed)
            begun = time.process_time()
            atoms.get_forces()
            times.append(time.process_time() - begun)
        return min(times)

    assert fastest(EAM(potential=str(potential))) > 10 * fastest(example.CopperEAM(potential))


def test_the_example_runs_and_resumes(
    example: ModuleType, potential: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny = [str(potential), "--out", str(tmp_path / "copper"), "--repeat", "1"]
    tiny += ["--sample", "0.1", "--equilibrate", "0.02", "--switch", "0.04", "--repeats", "2"]
    results = example.main(tiny)
    assert results["n_atoms"] == 4
    assert results["n_cells"] == 1
    assert sum(results["terms"].values()) == pytest.approx(results["free_energy_eV_per_atom"])
    assert "calphy" in capsys.readouterr().out
    assert example.main(tiny)["free_energy_eV_per_atom"] == results["free_energy_eV_per_atom"]


def test_copper_at_low_temperature_is_harmonic(
    example: ModuleType, potential: Path, tmp_path: Path
) -> None:
    atoms = copper(2)
    calculator = example.CopperEAM(potential)
    temperature = 30.0
    switching = SwitchingSettings(equilibration_steps=100, switching_steps=200, repeats=4, seed=1)
    settings = FrenkelLaddSettings(spring_equilibration_steps=100, spring_steps=300)
    with RunRecord(tmp_path / "run.sqlite", "frenkel-ladd", {}) as record:
        results = frenkel_ladd(
            atoms,
            calculator,
            DynamicsSettings(temperature_K=temperature, timestep_fs=4.0),
            switching,
            settings,
            record,
        )
    masses = atoms.get_masses()
    frequencies = mode_frequencies(force_constants(atoms, calculator, 0.005), masses)
    rest = calculator.get_potential_energy(atoms)
    harmonic = harmonic_free_energy(frequencies, masses, atoms.get_volume(), temperature, 8, rest)
    error = results["standard_error_eV_per_atom"]
    assert error < 2e-4
    assert abs(results["free_energy_eV_per_atom"] - harmonic.total / 8) < 3 * error + 5e-5
