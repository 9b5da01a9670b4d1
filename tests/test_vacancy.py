"""A vacancy of an exactly harmonic crystal, whose free energy of formation is a ratio of modes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.md.verlet import VelocityVerlet
from typer.testing import CliRunner

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.cli import app
from alchemlip.crystal.relaxation import RelaxationSettings
from alchemlip.errors import InputError
from alchemlip.freeenergy.chemical_potential import (
    ChemicalPotential,
    chemical_potential_of_element,
)
from alchemlip.freeenergy.concentration import (
    concentration_results,
    concentration_table,
    formation_line,
    vacancy_concentration,
)
from alchemlip.freeenergy.dynamics import DynamicsSettings, make_integrator
from alchemlip.freeenergy.einstein import einstein_free_energy
from alchemlip.freeenergy.harmonic import (
    force_constants,
    harmonic_free_energy,
    mode_frequencies,
)
from alchemlip.freeenergy.hopping import HopCheck, HopError
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.freeenergy.vacancy import (
    VacancyPath,
    default_spring_constant,
    form_vacancy,
    vacancy_calculator,
    vacancy_path,
)
from alchemlip.freeenergy.vacancy_crystals import (
    formation_from_crystals,
    static_formation_energy,
    without_site,
)
from alchemlip.potential.calculator import AlchemicalCalculator
from alchemlip.records.runs import RunRecord
from pair_models import spring_potential

A = 3.0
STIFFNESS = 1.0
T = 200.0
PRESS = 1.06
"""Of the bonds: above 1 they push, and the neighbours of a vacancy relax into it."""


@pytest.fixture(scope="module")
def springs() -> AlchemicalPotential:
    """Bonds to first neighbours of a simple cubic crystal of Cu, exactly harmonic."""
    return spring_potential(
        1.24 * A, (11, 17, 29), STIFFNESS, dict.fromkeys((11, 17, 29), 0.5 * PRESS * STIFFNESS * A)
    )


def crystal(*repeats: int) -> Mixture:
    atoms = Atoms("Cu", cell=[A] * 3, pbc=True, scaled_positions=[[0.25, 0.0, 0.5]])
    return Mixture.from_atoms(atoms.repeat(repeats or (3, 3, 3)))


def rock_salt() -> Mixture:
    """Na and Cl on a simple cubic lattice, 64 sites."""
    return Mixture.from_atoms(bulk("NaCl", "rocksalt", 2 * A, cubic=True).repeat(2))


def at_rest(atoms: Atoms, calculator: Any) -> tuple[float, np.ndarray]:
    """Return the energy at the minimum of a harmonic crystal, and its force constants."""
    hessian = force_constants(atoms, calculator, 0.01)
    atoms = atoms.copy()
    atoms.calc = calculator
    forces = atoms.get_forces().reshape(-1)
    moved = np.linalg.pinv(hessian, rcond=1e-9) @ forces
    return atoms.get_potential_energy() - 0.5 * float(forces @ moved), hessian


def modes(mixture: Mixture, potential: AlchemicalPotential, n_cells: int) -> float:
    """Return the classical free energy of a harmonic crystal."""
    atoms = mixture.to_atoms()
    calculator = AlchemicalCalculator(potential, mixture, composition_gradient=False)
    energy, hessian = at_rest(atoms, calculator)
    frequencies = mode_frequencies(hessian, atoms.get_masses())
    return harmonic_free_energy(
        frequencies, atoms.get_masses(), atoms.get_volume(), T, n_cells, energy
    ).total


def exact_formation(mixture: Mixture, site: int, potential: AlchemicalPotential) -> float:
    """Return G_v - mu, by the modes of both crystals in the same V/N_cells."""
    cells = mixture.n_sites
    return modes(without_site(mixture, site), potential, cells) - modes(mixture, potential, cells)


def exact_work(path: VacancyPath, potential: AlchemicalPotential) -> float:
    """Return F(1) - F(0) of the path, by the force constants of its Hamiltonian at both ends."""
    calculator = vacancy_calculator(path, potential)
    ends = []
    for coupling in (0.0, 1.0):
        calculator.coupling = coupling
        energy, hessian = at_rest(path.atoms(), calculator)
        values = np.linalg.eigvalsh(hessian)
        assert np.abs(values[:3]).max() < 1e-8  # the whole may move
        ends.append(energy + 0.5 * units.kB * T * np.log(values[3:]).sum())
    return ends[1] - ends[0]


def displaced(atoms: Atoms, seed: int = 0, size: float = 0.1) -> Atoms:
    atoms = atoms.copy()
    atoms.positions += size * np.random.default_rng(seed).uniform(-1, 1, atoms.positions.shape)
    return atoms


class TestPath:
    def test_work_and_spring_are_the_modes_of_both_crystals(
        self, springs: AlchemicalPotential
    ) -> None:
        """G_v - mu = W - F_spring, whatever the spring, with the same V/N_cells for both."""
        mixture = crystal()
        expected = exact_formation(mixture, 4, springs)
        for constant in (0.7, 6.0):
            path = vacancy_path(mixture, 4, constant)
            spring = einstein_free_energy([constant], [path.mass], T)
            assert exact_work(path, springs) - spring == pytest.approx(expected, abs=1e-8)

    @pytest.mark.parametrize("repeats", [(2, 2, 2), (3, 3, 3), (2, 3, 1)])
    def test_anchor_sits_on_the_site(
        self, springs: AlchemicalPotential, repeats: tuple[int, int, int]
    ) -> None:
        mixture = crystal(*repeats)
        others = spring_energies = None
        for site in range(mixture.n_sites):
            path = vacancy_path(mixture, site, 2.0)
            atoms = displaced(path.atoms(), site)
            home = path.atoms().positions
            moved = atoms.positions - home
            expected = moved[site] - np.delete(moved, site, axis=0).mean(axis=0)
            np.testing.assert_allclose(path.spring().displacements(atoms)[0], expected, atol=1e-12)
            calculator = vacancy_calculator(path, springs)
            calculator.coupling = 1.0
            atoms.calc = calculator
            rest = without_site(mixture, site).with_geometry(
                atoms[[i for i in range(len(atoms)) if i != site]]
            )
            others = springs.evaluate(rest).energy
            spring_energies = 0.5 * 2.0 * float(expected @ expected)
            assert atoms.get_potential_energy() == pytest.approx(
                others + spring_energies, abs=1e-10
            )

    def test_whole_may_move_and_cell_may_deform(self, springs: AlchemicalPotential) -> None:
        path = vacancy_path(crystal(), 13, 3.0)
        calculator = vacancy_calculator(path, springs)
        calculator.coupling = 0.6
        atoms = displaced(path.atoms())
        atoms.calc = calculator
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        stress = atoms.get_stress(voigt=False)
        assert np.abs(forces.sum(axis=0)).max() < 1e-10
        drifted = atoms.copy()
        drifted.calc = calculator
        drifted.positions += [1.7, -0.4, 3.1]
        assert drifted.get_potential_energy() == pytest.approx(energy, abs=1e-10)
        step = 1e-4
        for i, j in ((0, 0), (1, 1), (0, 2)):
            strain = np.zeros((3, 3))
            strain[i, j] += 0.5 * step
            strain[j, i] += 0.5 * step
            sides = []
            for sign in (1, -1):
                strained = atoms.copy()
                strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * strain), scale_atoms=True)
                strained.calc = calculator
                sides.append(strained.get_potential_energy())
            slope = (sides[0] - sides[1]) / (2 * step * atoms.get_volume())
            assert stress[i, j] == pytest.approx(slope, abs=1e-7)

    def test_slope_is_the_difference(self, springs: AlchemicalPotential) -> None:
        path = vacancy_path(crystal(), 5, 3.0)
        calculator = vacancy_calculator(path, springs)
        atoms = displaced(path.atoms())
        atoms.calc = calculator
        values = {}
        for coupling in (0.3 - 1e-4, 0.3, 0.3 + 1e-4):
            calculator.coupling = coupling
            values[coupling] = atoms.get_potential_energy()
        calculator.coupling = 0.3
        low, _, high = values.values()
        slope = calculator.get_property("dhdl", atoms)
        assert slope == pytest.approx((high - low) / 2e-4, abs=1e-6)

    def test_momentum_is_conserved(self, springs: AlchemicalPotential) -> None:
        """Without a thermostat: springs on a fixed anchor would give momentum to the lattice."""
        path = vacancy_path(crystal(), 0, 6.0)
        calculator = vacancy_calculator(path, springs)
        calculator.coupling = 0.8
        atoms = path.atoms()
        atoms.calc = calculator
        rng = np.random.default_rng(3)
        atoms.set_momenta(rng.normal(size=(len(atoms), 3)) * 1.2)
        before = atoms.get_momenta().sum(axis=0)
        VelocityVerlet(atoms, 3 * units.fs).run(200)
        np.testing.assert_allclose(atoms.get_momenta().sum(axis=0), before, atol=1e-9)

    def test_atom_stays_at_its_site_of_a_drifting_lattice(
        self, springs: AlchemicalPotential
    ) -> None:
        """The lattice moves by far more than the atom does against it."""
        constant = 6.0
        path = vacancy_path(crystal(), 7, constant)
        calculator = vacancy_calculator(path, springs)
        calculator.coupling = 1.0
        atoms = path.atoms()
        atoms.calc = calculator
        settings = DynamicsSettings(temperature_K=T, timestep_fs=4.0)
        integrator = make_integrator(atoms, settings, np.random.default_rng(5))
        atoms.set_velocities(atoms.get_velocities() + np.array([0.08, 0.0, 0.0]))
        spring, farthest = path.spring(), 0.0
        for _ in range(400):
            integrator.step()
            farthest = max(farthest, float(np.linalg.norm(spring.displacements(atoms))))
        drift = (atoms.positions - path.atoms().positions).mean(axis=0)
        width = np.sqrt(3 * units.kB * T / constant)
        assert np.linalg.norm(drift) > 5 * width
        assert width < farthest < 4 * width

    def test_spring_by_default_is_the_curvature_of_the_site(
        self, springs: AlchemicalPotential
    ) -> None:
        """Six isotropic bonds."""
        assert default_spring_constant(crystal(), 3, springs) == pytest.approx(6 * STIFFNESS)


class TestRun:
    @pytest.fixture(scope="class")
    def run(
        self, springs: AlchemicalPotential, tmp_path_factory: pytest.TempPathFactory
    ) -> tuple[VacancyPath, dict[str, Any]]:
        mixture = crystal()
        path = vacancy_path(mixture, 4, default_spring_constant(mixture, 4, springs))
        record = RunRecord(tmp_path_factory.mktemp("vacancy") / "run.sqlite", "vacancy", {})
        settings = SwitchingSettings(equilibration_steps=60, switching_steps=150, repeats=6, seed=1)
        dynamics = DynamicsSettings(temperature_K=T, timestep_fs=5.0)
        mu = ChemicalPotential(-4.0, 0.001, source="stated")
        return path, form_vacancy(path, springs, mu, dynamics, settings, record)

    def test_equals_the_difference_of_modes(
        self, springs: AlchemicalPotential, run: tuple[VacancyPath, dict[str, Any]]
    ) -> None:
        path, results = run
        expected = exact_formation(crystal(), 4, springs) - 4.0
        error = results["standard_error_eV"]
        assert abs(results["free_energy_eV"] - expected) < 3 * error
        assert error < 0.01
        assert results["terms"]["work"] == pytest.approx(exact_work(path, springs), abs=3 * error)

    def test_names(self, run: tuple[VacancyPath, dict[str, Any]]) -> None:
        _, results = run
        assert set(results["terms"]) == {"work", "spring", "chemical_potential"}
        assert sum(results["terms"].values()) == pytest.approx(results["free_energy_eV"])
        low, high = results["interval_95_eV"]
        assert low < results["free_energy_eV"] < high
        assert results["dissipation_eV"] > -0.01
        assert results["method"].startswith("nonequilibrium switching")
        assert (results["species"], results["site"]) == ("Cu", 4)
        assert results["ensemble"] == "NVT"
        assert 0.01 < results["largest_displacement_over_nearest_neighbour"] < 0.5
        json.dumps(results, allow_nan=False)

    def test_cut_off_and_resumed_is_the_same(
        self, springs: AlchemicalPotential, tmp_path: Path
    ) -> None:
        mixture = crystal(2, 2, 2)
        path = vacancy_path(mixture, 0, 6.0)
        settings = SwitchingSettings(
            equilibration_steps=10, switching_steps=20, repeats=2, checkpoint_interval=7
        )
        dynamics = DynamicsSettings(temperature_K=T, timestep_fs=4.0, cell="volume")
        mu = ChemicalPotential(-4.0)

        def run(name: str, stop: int | None = None) -> dict[str, Any]:
            def progress(done: int, _: int) -> None:
                if stop is not None and done > stop:
                    raise KeyboardInterrupt

            record = RunRecord(tmp_path / name, "vacancy", {})
            try:
                return form_vacancy(
                    path, springs, mu, dynamics, settings, record, on_progress=progress
                )
            finally:
                record.close()

        whole = run("whole.sqlite")
        for stop in (15, 70):
            with pytest.raises(KeyboardInterrupt):
                run("parts.sqlite", stop)
        assert run("parts.sqlite") == whole

    def test_hopping_atom_is_named_and_the_record_is_whole(
        self, springs: AlchemicalPotential, tmp_path: Path
    ) -> None:
        path = vacancy_path(crystal(), 4, 6.0)
        settings = SwitchingSettings(
            equilibration_steps=400, switching_steps=400, repeats=1, checkpoint_interval=5
        )
        dynamics = DynamicsSettings(temperature_K=8000.0, timestep_fs=1.0)
        record = RunRecord(tmp_path / "run.sqlite", "vacancy", {})
        with (
            pytest.raises(HopError, match=r"vacancy hops at 8000 K: atom \d+ \(Cu\) moved 1\.5"),
            record.noting_failure(),
        ):
            form_vacancy(path, springs, ChemicalPotential(0.0), dynamics, settings, record)
        kept = RunRecord.read(tmp_path / "run.sqlite")
        assert kept.status == "failed"
        steps = kept.samples()["step"]
        state = kept.state()
        assert state is not None
        assert len(steps) > 0
        assert steps[-1] <= state["step"]


class TestTwoCrystals:
    def test_static_energy_is_exact(self, springs: AlchemicalPotential) -> None:
        """At constant cell, where the perfect crystal is at rest and the other one is harmonic."""
        mixture = crystal()
        settings = RelaxationSettings(cell="fixed", fmax=1e-7)
        found = static_formation_energy(mixture, 4, springs, settings)
        energies = []
        for part in (mixture, without_site(mixture, 4)):
            calculator = AlchemicalCalculator(springs, part, composition_gradient=False)
            energies.append(at_rest(part.to_atoms(), calculator)[0])
        expected = energies[1] - 26 / 27 * energies[0]
        assert found["static_formation_energy_eV"] == pytest.approx(expected, abs=1e-7)
        assert found["static_relaxation_energy_eV"] < -0.01

    def test_compound_needs_a_chemical_potential(self, springs: AlchemicalPotential) -> None:
        mixture = rock_salt()
        settings = RelaxationSettings(cell="fixed", fmax=1e-5)
        site = mixture.to_atoms().get_chemical_symbols().index("Cl")
        alone = static_formation_energy(mixture, site, springs, settings)
        assert alone["static_formation_energy_eV"] is None
        mu = ChemicalPotential(-2.5)
        stated = static_formation_energy(mixture, site, springs, settings, mu)
        assert stated["static_formation_energy_eV"] == pytest.approx(
            alone["static_removal_energy_eV"] - 2.5
        )
        assert vacancy_path(mixture, site, 1.0).species == "Cl"

    def test_free_energies_add_up(self, springs: AlchemicalPotential) -> None:
        """With the modes in place of Frenkel-Ladd runs, both paths agree."""
        mixture = crystal()
        full = modes(mixture, springs, 27)
        rest = modes(without_site(mixture, 4), springs, 27)
        perfect, vacant = crystal_results(full, 27), crystal_results(rest, 26)
        found = formation_from_crystals(perfect, vacant)
        path = vacancy_path(mixture, 4, 6.0)
        spring = einstein_free_energy([6.0], [path.mass], T)
        expected = exact_work(path, springs) - spring + full / 27
        assert found["free_energy_eV"] == pytest.approx(expected, abs=1e-8)
        assert found["standard_error_eV"] == pytest.approx(1e-3 * 26 * np.sqrt(2))
        assert sum(found["terms"].values()) == pytest.approx(found["free_energy_eV"])
        with pytest.raises(InputError, match="n_cells"):
            formation_from_crystals(perfect, {**vacant, "n_cells": 1})
        with pytest.raises(InputError, match="one atom less"):
            formation_from_crystals(perfect, perfect)

    def test_site_taken_out_of_a_mixture(self) -> None:
        mixture = rock_salt().mixed({"Na": {"Na": 0.4, "K": 0.6}})
        site = mixture.to_atoms().get_chemical_symbols().index("Cl")
        rest = without_site(mixture, site)
        before, after = mixture.occupancies(), rest.occupancies()
        assert after == before[:site] + before[site + 1 :]
        np.testing.assert_array_equal(rest.positions, np.delete(mixture.positions, site, axis=0))


def crystal_results(total: float, n_atoms: int) -> dict[str, Any]:
    value = total / n_atoms
    return {
        "free_energy_eV_per_atom": value,
        "standard_error_eV_per_atom": 1e-3,
        "interval_95_eV_per_atom": [value - 3e-3, value + 3e-3],
        "dissipation_eV_per_atom": 1e-4,
        "method": "Frenkel-Ladd",
        "terms": {"work": value},
        "cell_A": (3.0 * A * np.eye(3)).tolist(),
        "n_atoms": n_atoms,
        "n_cells": 27,
        "centre_of_mass_convention": "V/N_cells",
        "temperature_K": T,
        "pressure_GPa": 0.0,
    }


class TestConcentration:
    def test_few_and_many(self) -> None:
        kT = units.kB * 1000
        assert vacancy_concentration(1.5, 1000) == pytest.approx(np.exp(-1.5 / kT), rel=1e-6)
        assert vacancy_concentration(0.0, 1000) == 0.5
        results = {"free_energy_eV": 1.5, "interval_95_eV": [1.4, 1.6]}
        cold = concentration_results(results, 10)
        assert cold["concentration"] == 0.0
        assert cold["log10_concentration"] == pytest.approx(-1.5 / (units.kB * 10) / np.log(10))
        warm = concentration_results(results, 1000)
        low, high = warm["concentration_interval_95"]
        assert low < warm["concentration"] < high
        assert 10 ** warm["log10_concentration"] == pytest.approx(warm["concentration"])

    def test_line_gives_back_enthalpy_and_entropy(self) -> None:
        """Over noise of the stated size: H on average, and the covariance that is stated."""
        rng = np.random.default_rng(2)
        t = np.array([100.0, 300.0, 500.0, 900.0])
        errors = np.array([0.01, 0.02, 0.01, 0.03])
        fits = [
            formation_line(t, 1.6 - 2e-4 * t + errors * rng.normal(size=4), errors)
            for _ in range(2000)
        ]
        h = np.array([fit.enthalpy_eV for fit in fits])
        s = np.array([fit.entropy_eV_per_K for fit in fits])
        assert h.mean() == pytest.approx(1.6, abs=4 * h.std() / np.sqrt(2000))
        covariance = np.cov(h, s)
        np.testing.assert_allclose(covariance, fits[0].covariance, rtol=0.15)
        rows = concentration_table(fits[0], [200.0, 1000.0])
        assert rows[1]["concentration"] > rows[0]["concentration"]
        assert rows[0]["inverse_temperature_1_per_K"] == pytest.approx(1 / 200)

    def test_line_needs_two_temperatures(self) -> None:
        with pytest.raises(InputError, match="two temperatures"):
            formation_line([300.0, 300.0], [1.0, 1.0], [0.1, 0.1])
        with pytest.raises(InputError, match="no error"):
            formation_line([300.0, 400.0], [1.0, 1.0], [0.1, np.nan])


def reference(folder: Path, **changes: Any) -> Path:
    record: dict[str, Any] = {
        "command": "frenkel-ladd",
        "status": "finished",
        "inputs": {"mixture": crystal(1, 1, 2).to_dict(), "potential": "pair", "dtype": "float64"},
        "results": {
            **crystal_results(-54.0, 27),
            "interval_95_eV_per_atom": [-2.004, -1.996],
        },
    }
    for key, value in changes.items():
        place = record if key in record else record["results"]
        place[key] = value
    folder.mkdir()
    (folder / "result.json").write_text(json.dumps(record))
    return folder


class TestChemicalPotential:
    def test_of_a_reference(self, tmp_path: Path) -> None:
        folder = reference(tmp_path / "Cu")
        mu = chemical_potential_of_element(folder, "Cu", T, 0.0, {"potential": "pair"})
        assert mu.value_eV == -2.0
        assert mu.standard_error_eV == 1e-3
        assert mu.half_width_95_eV == pytest.approx(0.004)
        widened = mu.widen(
            {"free_energy_eV": 1.0, "standard_error_eV": 0.0, "interval_95_eV": [0.997, 1.003]}
        )
        np.testing.assert_allclose(widened["interval_95_eV"], [0.995, 1.005])
        assert widened["standard_error_eV"] == pytest.approx(1e-3)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"temperature_K": 300.0}, "temperature of 300 K, the vacancy 200 K"),
            ({"pressure_GPa": 1.0}, "pressure of 1 GPa"),
            ({"command": "transmute"}, "'transmute'"),
            ({"status": "running"}, "not finished"),
            ({"inputs": {"mixture": rock_salt().to_dict()}}, "crystal of Cl, Na, but Cu leaves"),
            ({"centre_of_mass_convention": "the whole V"}, "centre of mass"),
            ({"standard_error_eV_per_atom": None}, "one repeat"),
            ({"terms": {"quantum_correction": 0.1}}, "classical"),
        ],
    )
    def test_of_a_wrong_reference(
        self, tmp_path: Path, changes: dict[str, Any], message: str
    ) -> None:
        folder = reference(tmp_path / "wrong", **changes)
        with pytest.raises(InputError, match=message):
            chemical_potential_of_element(folder, "Cu", T)

    def test_of_another_potential(self, tmp_path: Path) -> None:
        folder = reference(tmp_path / "Cu")
        with pytest.raises(InputError, match="another potential"):
            chemical_potential_of_element(folder, "Cu", T, 0.0, {"potential": "chgnet-0.3.0"})
        with pytest.raises(InputError, match="cannot be read"):
            chemical_potential_of_element(tmp_path / "none", "Cu", T)


class TestBadInput:
    @pytest.mark.parametrize(
        ("site", "constant", "message"),
        [
            (27, 1.0, "no site 27: the cell has sites 0 to 26"),
            (-1, 1.0, "no site -1"),
            (0, 0.0, "spring constant is 0"),
            (0, float("nan"), "spring constant is nan"),
        ],
    )
    def test_site_and_spring(self, site: int, constant: float, message: str) -> None:
        with pytest.raises(InputError, match=message):
            vacancy_path(crystal(), site, constant)

    def test_occupants(self) -> None:
        with pytest.raises(InputError, match="holds a mixture"):
            vacancy_path(crystal().mixed({0: {"Cu": 0.5, "Au": 0.5}}), 0, 1.0)
        with pytest.raises(InputError, match="empty already"):
            vacancy_path(crystal().mixed({0: {"Va": 1.0}}), 0, 1.0)
        with pytest.raises(InputError, match="repeat it"):
            vacancy_path(crystal(1, 1, 1), 0, 1.0)
        with pytest.raises(InputError, match="give a number"):
            ChemicalPotential(float("nan"))

    def test_crystal_far_from_its_minimum(self) -> None:
        """Springs that push apart do not hold an atom."""
        repulsive = spring_potential(1.24 * A, (29,), -STIFFNESS, {})
        with pytest.raises(InputError, match="does not hold the atom on site 2"):
            default_spring_constant(crystal(), 2, repulsive)


class TestHopCheck:
    def test_drift_is_no_hop(self) -> None:
        atoms = crystal().to_atoms()
        check = HopCheck(atoms, 300.0)
        moved = atoms.copy()
        moved.positions += [5.0, 0.0, 0.0]
        moved.set_cell(1.3 * moved.cell.array, scale_atoms=True)
        check.observe(moved)
        assert check.largest < 1e-9

    def test_far_but_nearest_to_its_own_site_is_none(self) -> None:
        """Into the corner of its cell, as octahedra tilt: 0.78 of the distance of a neighbour."""
        atoms = crystal().to_atoms()
        check = HopCheck(atoms, 300.0, [i for i in range(27) if i != 5])
        atoms.positions[5] += 0.45 * A
        check.observe(atoms)
        assert check.largest == pytest.approx(0.45 * np.sqrt(3.0))
        atoms.positions[5] += 0.06 * A
        with pytest.raises(HopError, match="nearer to another one"):
            check.observe(atoms)

    def test_half_way_to_the_neighbour_is(self) -> None:
        atoms = crystal().to_atoms()
        check = HopCheck(atoms, 300.0, [i for i in range(27) if i != 5])
        atoms.positions[5, 1] += 0.49 * A
        check.observe(atoms)
        assert check.largest == pytest.approx(0.49)
        atoms.positions[5, 1] += 0.02 * A
        with pytest.raises(HopError, match=r"diffuses at 300 K: atom 5 \(Cu\) moved 1.53 A"):
            check.observe(atoms)


class TestCommand:
    @pytest.fixture(autouse=True)
    def place(
        self,
        springs: AlchemicalPotential,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A structure file, and bonds in place of a model."""
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(
            "alchemlip.calculations.potentials.prepare_single_potential", lambda *_: springs
        )
        crystal(1, 1, 1).to_atoms().write("Cu.cif")

    def run(self, *options: str) -> Any:
        short = ("--equilibrate", "0.04", "--switch", "0.08", "--repeats", "2")
        arguments = ["vacancy", "Cu.cif", "--repeat", "3,3,3", "--timestep", "4", *short]
        return CliRunner().invoke(app, [*arguments, "-T", "200", *options])

    def test_results_and_resuming(self) -> None:
        options = ("--site", "26", "--mu", "-4.0", "--cell", "fixed", "--out", "run")
        first = self.run(*options)
        assert first.exit_code == 0, first.output
        record = json.loads(Path("run/result.json").read_text())
        results = record["results"]
        assert record["status"] == "finished"
        assert set(results["terms"]) == {"work", "spring", "chemical_potential"}
        assert results["static_relaxation_energy_eV"] < 0
        assert results["spring_constant_eV_per_A2"] == pytest.approx(6 * STIFFNESS)
        assert "vacancies per site" in first.output
        again = self.run(*options, "--resume")
        assert again.exit_code == 0
        assert json.loads(Path("run/result.json").read_text()) == record
        other = self.run(*options, "--spring", "3")
        assert "another spring_constant" in str(other.exception)

    def test_one_repeat_has_no_error(self) -> None:
        done = self.run("--mu", "-4", "--cell", "fixed", "--no-static", "--repeats", "1")
        assert done.exit_code == 0, done.exception
        results = json.loads(Path("vacancy-Cu/result.json").read_text())["results"]
        assert results["standard_error_eV"] is None
        assert np.isfinite(results["free_energy_eV"])
        table = CliRunner().invoke(app, ["concentration", "vacancy-Cu"])
        assert "no error" in str(table.exception)

    def test_reference_and_two_crystals(self) -> None:
        reference(Path("perfect"))
        reference(Path("vacant"), n_atoms=26)
        done = self.run(
            *("--reference", "perfect", "--reference-cell", "--vacant-run", "vacant"),
            *("--cell", "fixed", "--no-static"),
        )
        assert done.exit_code == 0, done.exception
        results = json.loads(Path("vacancy-Cu/result.json").read_text())["results"]
        assert results["terms"]["chemical_potential"] == -2.0
        assert results["chemical_potential_standard_error_eV"] == 1e-3
        assert results["two_crystals"]["free_energy_eV"] == pytest.approx(0.0)
        assert "By two crystals" in done.output

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ((), "where the atom goes"),
            (("--mu", "-4", "--reference", "x"), "where the atom goes"),
            (("--mu", "-4", "--vacant-run", "x"), "need a frenkel-ladd run"),
            (("--mu", "-4", "--site", "27"), "no site 27"),
            (("--mu", "-4", "-T", "0"), "--temperature 0 cannot"),
            (("--mu", "-4", "--mix", "0=Cu0.5Na0.5"), "holds a mixture"),
            (("--mu", "-4", "--mix", "0=Ag"), "does not cover Ag"),
            (("--reference", "none"), "cannot be read"),
        ],
    )
    def test_bad_input_makes_no_folder(self, options: tuple[str, ...], message: str) -> None:
        failed = self.run(*options)
        assert isinstance(failed.exception, InputError)
        assert message in str(failed.exception)
        assert not Path("vacancy-Cu").exists()


class TestConcentrationCommand:
    def run(self, *options: str) -> Any:
        return CliRunner().invoke(app, ["concentration", *options])

    def test_table_of_runs(self, tmp_path: Path) -> None:
        runs = []
        for temperature in (300.0, 900.0):
            folder = tmp_path / f"{temperature:.0f}"
            folder.mkdir()
            results = {
                "species": "Fe",
                "temperature_K": temperature,
                "free_energy_eV": 1.6 - 2 * units.kB * temperature,
                "standard_error_eV": 0.01,
            }
            record = {"command": "vacancy", "status": "finished", "results": results}
            record["inputs"] = {"potential": "pair"}
            (folder / "result.json").write_text(json.dumps(record))
            runs.append(str(folder))
        out = tmp_path / "out"
        done = self.run(*runs, "--from", "1000", "--to", "1500", "--points", "2", "--out", str(out))
        assert done.exit_code == 0, done.exception
        found = json.loads((out / "result.json").read_text())
        assert found["results"]["enthalpy_eV"] == pytest.approx(1.6)
        assert found["results"]["entropy_kB"] == pytest.approx(2.0)
        expected = np.exp(2.0 - 1.6 / (units.kB * 1000.0))
        assert found["points"][0]["concentration"] == pytest.approx(expected, rel=1e-5)
        assert (out / "concentration.png").stat().st_size > 1000
        given = self.run("--enthalpy", "1.6", "--entropy", "2", "--out", str(tmp_path / "given"))
        assert given.exit_code == 0, given.exception

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ((), "either the folders"),
            (("--enthalpy", "1"), "either the folders"),
            (
                ("--enthalpy", "1", "--entropy", "1", "--from", "0"),
                "--from 0 cannot be used: give a number from 0.001",
            ),
            (("--enthalpy", "1", "--entropy", "1", "--from", "2000"), "lower one with --from"),
            (("--enthalpy", "nan", "--entropy", "1"), "--enthalpy nan cannot"),
            (("nowhere",), "no result.json in 'nowhere'"),
        ],
    )
    def test_bad_input(self, options: tuple[str, ...], message: str) -> None:
        failed = self.run(*options)
        assert isinstance(failed.exception, InputError)
        assert message in str(failed.exception)
