"""Absolute free energies against exact ones, through the whole chain of stages and its record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from alchemlip.errors import InputError
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.einstein import centre_of_mass_free_energy, einstein_free_energy
from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings, frenkel_ladd_steps
from alchemlip.freeenergy.harmonic import harmonic_free_energy, mode_frequencies
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.records.runs import RunRecord
from harmonic_models import (
    HarmonicCalculator,
    LennardJonesCalculator,
    einstein_matrix,
    spring_network,
)

T = 300.0
SWITCHING = SwitchingSettings(
    equilibration_steps=100, switching_steps=250, repeats=6, checkpoint_interval=500, seed=3
)
SHORT = FrenkelLaddSettings(spring_equilibration_steps=150, spring_steps=500)


def skewed_salt() -> Atoms:
    """Return 16 atoms of very unequal masses in a cell without right angles."""
    atoms = bulk("NaCl", "rocksalt", 5.7).repeat(2)
    atoms.set_masses(np.where(atoms.numbers == 11, 10.0, 130.0))
    strain = np.array([[0.0, 0.1, 0.02], [0.0, 0.05, 0.0], [-0.04, 0.0, 0.0]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def solved(
    folder: Path,
    atoms: Atoms,
    calculator: Any,
    settings: FrenkelLaddSettings = SHORT,
    switching: SwitchingSettings = SWITCHING,
    **options: Any,
) -> dict[str, Any]:
    springs = options.pop("spring_constants", None)
    dynamics = DynamicsSettings(
        temperature_K=options.pop("temperature", T),
        timestep_fs=options.pop("timestep", 4.0),
        **options,
    )
    with RunRecord(folder / "run.sqlite", "frenkel-ladd", {"test": 1}) as record:
        return frenkel_ladd(
            atoms, calculator, dynamics, switching, settings, record, spring_constants=springs
        )


def check_sum(results: dict[str, Any]) -> None:
    assert sum(results["terms"].values()) == pytest.approx(
        results["free_energy_eV_per_atom"], abs=1e-12
    )


def test_a_coupled_crystal_equals_its_normal_modes(tmp_path: Path) -> None:
    atoms = skewed_salt()
    matrix = spring_network(atoms, 3.6, np.random.default_rng(21))
    results = solved(tmp_path, atoms, HarmonicCalculator(atoms, matrix, energy=-40.0))
    masses = atoms.get_masses()
    frequencies = mode_frequencies(matrix, masses)
    exact = harmonic_free_energy(
        frequencies, masses, atoms.get_volume(), T, results["n_primitive_cells"], -40.0
    )
    error = results["standard_error_eV_per_atom"]
    assert results["n_primitive_cells"] == 8
    assert 0 < error < 1e-3
    assert abs(results["free_energy_eV_per_atom"] - exact.total / 16) < 3 * error
    assert 0 < results["dissipation_eV_per_atom"] < 5e-3
    check_sum(results)
    # Equipartition: the energy of 3N - 3 classical modes, and 3/2 kT of momenta.
    kT = units.kB * T
    energy = (-40.0 + 0.5 * 45 * kT) / 16 + 1.5 * kT
    off = abs(results["enthalpy_eV_per_atom"] - energy)
    assert off < 3 * results["enthalpy_standard_error_eV_per_atom"]


def test_einstein_to_einstein_is_exact(tmp_path: Path) -> None:
    # The crystal is itself an Einstein crystal, held by its centre of mass: every term is known.
    atoms = skewed_salt()
    own = np.where(atoms.numbers == 11, 1.0, 3.0)
    springs = {"Na": 2.5, "Cl": 2.0}
    calculator = HarmonicCalculator(atoms, einstein_matrix(own))
    settings = FrenkelLaddSettings(springs="given")
    results = solved(tmp_path, atoms, calculator, settings, spring_constants=springs, timestep=8.0)
    masses, volume = atoms.get_masses(), atoms.get_volume()
    exact = (
        einstein_free_energy(own, masses, T) + centre_of_mass_free_energy(own, masses, volume, T, 8)
    ) / 16
    assert results["spring_constants_eV_per_A2"] == springs
    error = results["standard_error_eV_per_atom"]
    assert error < 1e-3
    assert abs(results["free_energy_eV_per_atom"] - exact) < 3 * error
    check_sum(results)


def test_equal_springs_need_no_work(tmp_path: Path) -> None:
    atoms = skewed_salt()
    own = np.where(atoms.numbers == 11, 1.0, 3.0)
    calculator = HarmonicCalculator(atoms, einstein_matrix(own), energy=-8.0)
    settings = FrenkelLaddSettings(springs="hessian", quantum="wigner-kirkwood")
    short = SWITCHING.model_copy(update={"switching_steps": 50, "equilibration_steps": 50})
    results = solved(tmp_path, atoms, calculator, settings, short, pressure_GPa=2.0)
    assert results["terms"]["work"] == pytest.approx(-8.0 / 16, abs=1e-12)
    assert results["dissipation_eV_per_atom"] == pytest.approx(0.0, abs=1e-12)
    pressed = 2.0 * units.GPa * atoms.get_volume() / 16
    assert results["terms"]["pressure_volume"] == pytest.approx(pressed, rel=1e-12)
    assert results["terms"]["quantum_correction"] > 0
    check_sum(results)


def test_sampled_springs_are_those_of_the_crystal(tmp_path: Path) -> None:
    atoms = skewed_salt()
    own = np.where(atoms.numbers == 11, 1.0, 3.0)
    short = SWITCHING.model_copy(update={"switching_steps": 50, "equilibration_steps": 50})
    settings = SHORT.model_copy(update={"spring_steps": 2500})
    calculator = HarmonicCalculator(atoms, einstein_matrix(own))
    results = solved(tmp_path, atoms, calculator, settings, short, timestep=8.0)
    found = results["spring_constants_eV_per_A2"]
    assert found["Na"] == pytest.approx(1.0, rel=0.1)
    assert found["Cl"] == pytest.approx(3.0, rel=0.1)


def test_conventions_of_the_centre_of_mass(tmp_path: Path) -> None:
    atoms = skewed_salt()
    calculator = HarmonicCalculator(atoms, einstein_matrix(np.full(16, 2.0)))
    short = SWITCHING.model_copy(
        update={"switching_steps": 20, "equilibration_steps": 20, "repeats": 2}
    )
    values = {}
    for name, changes in {
        "cell": {},
        "whole": {"centre_of_mass": "supercell"},
        "stated": {"n_primitive_cells": 2},
    }.items():
        settings = FrenkelLaddSettings(springs="hessian", **changes)  # type: ignore[arg-type]
        folder = tmp_path / name
        folder.mkdir()
        values[name] = solved(folder, atoms, calculator, settings, short)
    kT = units.kB * T
    whole = values["whole"]["free_energy_eV_per_atom"]
    assert values["cell"]["free_energy_eV_per_atom"] - whole == pytest.approx(
        kT * np.log(8) / 16, abs=1e-12
    )
    assert values["stated"]["free_energy_eV_per_atom"] - whole == pytest.approx(
        kT * np.log(2) / 16, abs=1e-12
    )
    assert "calphy" in values["whole"]["centre_of_mass_convention"]


def test_quantum_harmonic_correction_is_a_term(tmp_path: Path) -> None:
    atoms = skewed_salt()
    matrix = spring_network(atoms, 3.6, np.random.default_rng(22))
    settings = FrenkelLaddSettings(springs="hessian", quantum="harmonic")
    short = SWITCHING.model_copy(
        update={"switching_steps": 20, "equilibration_steps": 20, "repeats": 2}
    )
    results = solved(tmp_path, atoms, HarmonicCalculator(atoms, matrix), settings, short)
    masses = atoms.get_masses()
    exact = harmonic_free_energy(mode_frequencies(matrix, masses), masses, 1.0, T, 1)
    assert results["terms"]["quantum_correction"] == pytest.approx(
        exact.quantum_correction / 16, rel=1e-7
    )
    check_sum(results)


class StoppedError(Exception):
    """The run was cut off."""


ARGON = bulk("Ar", "fcc", 5.4).repeat(2)
OF_ARGON = (
    DynamicsSettings(temperature_K=20.0, timestep_fs=5.0, cell="volume", pressure_GPa=0.02),
    SwitchingSettings(
        equilibration_steps=20, switching_steps=40, repeats=2, checkpoint_interval=25
    ),
    FrenkelLaddSettings(
        cell_equilibration_steps=60, cell_steps=120, spring_equilibration_steps=60, spring_steps=160
    ),
)


def argon(folder: Path, limit: int = 1_000_000) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run all stages, or stop after a number of steps."""
    total = frenkel_ladd_steps(*OF_ARGON)
    assert total == 180 + 220 + 2 * 2 * 60
    seen: list[int] = []

    def report(done: int, of: int) -> None:
        assert of == total
        assert not seen or done >= seen[-1]
        seen.append(done)
        if done >= limit:
            raise StoppedError

    calculator = LennardJonesCalculator(3.4, 0.0104, 5.0)
    folder.mkdir(exist_ok=True)
    with RunRecord(folder / "run.sqlite", "frenkel-ladd", {}) as record:
        results = frenkel_ladd(ARGON, calculator, *OF_ARGON, record, on_progress=report)
        return results, record.samples()


@pytest.fixture(scope="module")
def uninterrupted(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[str, Any], dict[str, Any]]:
    return argon(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("stop_at", [100, 300, 450])
def test_a_run_cut_off_in_any_stage_ends_as_if_it_were_not(
    tmp_path: Path, uninterrupted: tuple[dict[str, Any], dict[str, Any]], stop_at: int
) -> None:
    expected, samples = uninterrupted
    with pytest.raises(StoppedError):
        argon(tmp_path, stop_at)
    found, again = argon(tmp_path)
    assert found == expected
    for name, column in samples.items():
        np.testing.assert_array_equal(again[name], column)


def test_the_mean_cell_is_that_of_the_pressure(
    uninterrupted: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    results, samples = uninterrupted
    sampled = samples["volume_A3"][samples["segment"] == "cell_sample"] / 8
    assert results["volume_A3_per_atom"] == pytest.approx(sampled.mean(), rel=2e-3)
    cell = np.array(results["cell_A"])  # still that of an fcc crystal
    np.testing.assert_allclose(cell, ARGON.cell.array * cell.max() / 5.4, atol=1e-9)
    pressed = 0.02 * units.GPa * results["volume_A3_per_atom"]
    assert results["terms"]["pressure_volume"] == pytest.approx(pressed, rel=1e-12)
    switched = samples["volume_A3"][samples["segment"] == "forward"] / 8
    np.testing.assert_allclose(switched, results["volume_A3_per_atom"], rtol=1e-12)
    check_sum(results)


def test_a_crystal_that_melts_is_refused(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", 5.4, cubic=True)
    free = HarmonicCalculator(atoms, np.zeros((12, 12)))
    with pytest.raises(InputError, match=r"melts or diffuses at 300 K: atom \d+ \(Ar\) moved"):
        solved(tmp_path, atoms, free)
    with RunRecord.read(tmp_path / "run.sqlite") as record:
        assert len(record.samples()["step"]) > 0


def test_a_crystal_that_melts_while_switching_is_refused(tmp_path: Path) -> None:
    atoms = bulk("Ar", "fcc", 5.4, cubic=True)
    free = HarmonicCalculator(atoms, np.zeros((12, 12)))
    settings = FrenkelLaddSettings(springs="given")
    with pytest.raises(InputError, match=r"melts or diffuses at 3000 K: atom \d+ \(Ar\) moved"):
        solved(tmp_path, atoms, free, settings, spring_constants=1.0, temperature=3000.0)


def test_springs_too_stiff_for_the_time_step_are_refused(tmp_path: Path) -> None:
    atoms = skewed_salt()
    calculator = HarmonicCalculator(atoms, einstein_matrix(np.full(16, 2.0)))
    with pytest.raises(InputError, match=r"spring of Na .* period of 2\d\.\d fs, too short"):
        solved(
            tmp_path, atoms, calculator, FrenkelLaddSettings(springs="given"), spring_constants=50.0
        )


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        ({"springs": "given"}, {}, "go together"),
        ({}, {"spring_constants": 1.0}, "go together"),
        ({"springs": "given"}, {"spring_constants": {"Na": 1.0}}, "classes of sites are Na, Cl"),
        ({"springs": "given"}, {"spring_constants": [1.0, 2.0]}, "16 sites"),
        ({"springs": "given"}, {"spring_constants": -1.0}, "not positive"),
        (
            {"springs": "given", "quantum": "wigner-kirkwood"},
            {"spring_constants": 1.0},
            "Wigner-Kirkwood",
        ),
        ({"mixing_entropy": True}, {}, "mixing entropy"),
    ],
)
def test_bad_input_is_refused(
    tmp_path: Path, settings: dict[str, Any], options: dict[str, Any], words: str
) -> None:
    atoms = skewed_salt()
    calculator = HarmonicCalculator(atoms, einstein_matrix(np.full(16, 2.0)))
    with pytest.raises(InputError, match=words):
        solved(tmp_path, atoms, calculator, FrenkelLaddSettings(**settings), **options)


def test_a_cluster_is_no_crystal(tmp_path: Path) -> None:
    atoms = skewed_salt()
    atoms.pbc = False
    calculator = HarmonicCalculator(atoms, einstein_matrix(np.full(16, 2.0)))
    with pytest.raises(InputError, match="no crystal"):
        solved(tmp_path, atoms, calculator)
