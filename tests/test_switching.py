"""Switching against exact free energies, and paths that must be exact at every step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.errors import InputError
from alchemlip.freeenergy.dynamics import DynamicsSettings, UnstableError
from alchemlip.freeenergy.hamiltonian import CoupledCalculator, SpringTerm
from alchemlip.freeenergy.switching import (
    SwitchingSettings,
    generator_of,
    run_switching,
    switching_result,
)
from alchemlip.freeenergy.trajectory import SWITCHING_FUNCTIONS, Recording, Segment, run_trajectory
from alchemlip.freeenergy.transmutation import (
    mass_term,
    mixing_term,
    path_between,
    standing_path,
    switched_calculator,
    transmutation,
)
from alchemlip.records.runs import RunRecord
from conftest import CHGNET, SEVENNET, loaded, reference_calculator

HOT = DynamicsSettings(temperature_K=300.0, timestep_fs=4.0, thermostat_fs=50.0)


def einstein(atoms: Atoms, first: float, last: float) -> CoupledCalculator:
    anchors = atoms.get_scaled_positions(wrap=False)
    return CoupledCalculator({"springs": SpringTerm(anchors, first, last)})


@pytest.mark.parametrize("function", sorted(SWITCHING_FUNCTIONS))
def test_switching_functions_go_from_0_to_1_and_mirror(function: str) -> None:
    t = np.linspace(0.0, 1.0, 101)
    values = np.array([SWITCHING_FUNCTIONS[function](float(x)) for x in t])
    assert values[0] == pytest.approx(0.0, abs=1e-15)
    assert values[-1] == pytest.approx(1.0, abs=1e-12)
    assert (np.diff(values) > 0).all()
    # The backward leg is the forward leg in reverse.
    np.testing.assert_allclose(values + values[::-1], 1.0, atol=1e-12)


@pytest.mark.parametrize("function", sorted(SWITCHING_FUNCTIONS))
def test_stiffening_springs(tmp_path: Path, function: str) -> None:
    """dF = 3/2 kT ln(k2 / k1) per atom, whatever the switching function."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    settings = SwitchingSettings(
        equilibration_steps=150,
        switching_steps=600,
        repeats=6,
        function=function,  # type: ignore[arg-type]
        seed=3,
    )
    with RunRecord(tmp_path / "run.sqlite", "test", {"function": function}) as record:
        result = run_switching(atoms, einstein(atoms, 2.0, 5.0), HOT, settings, record)
    exact = 1.5 * units.kB * 300.0 * np.log(2.5) * len(atoms)
    half = 0.5 * (result.forward_work - result.backward_work)
    error = half.std(ddof=1) / np.sqrt(len(half))
    assert abs(half.mean() - exact) < 3 * error + 0.002 * exact
    assert error < 0.03 * exact
    # The second law, within its error.
    lost = 0.5 * (result.forward_work + result.backward_work)
    assert lost.mean() > -3 * lost.std(ddof=1) / np.sqrt(len(lost))


def test_work_against_the_thermodynamic_integral(tmp_path: Path) -> None:
    """Mean energies at the ends are the equipartition's, as the enthalpy needs them."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    settings = SwitchingSettings(equilibration_steps=1500, switching_steps=50, repeats=4, seed=1)
    with RunRecord(tmp_path / "run.sqlite", "test", {}) as record:
        result = run_switching(atoms, einstein(atoms, 2.0, 5.0), HOT, settings, record)
    expected = 1.5 * units.kB * 300.0 * len(atoms)
    np.testing.assert_allclose(result.potential_eV.mean(axis=1), expected, rtol=0.05)
    np.testing.assert_allclose(result.volume_A3, atoms.get_volume())


def rocksalt() -> Mixture:
    return Mixture.from_atoms(bulk("NaCl", "rocksalt", a=5.64, cubic=True))


def test_mass_term() -> None:
    """3/2 kT ln(m_A / m_B) a site, of pure and of partial ends."""
    path = transmutation(rocksalt(), {"Na": "K"})
    one = 1.5 * units.kB * 300.0 * np.log(22.98976928 / 39.0983)
    assert mass_term(path, 300.0) == pytest.approx(4 * one, rel=1e-12)
    half = transmutation(rocksalt(), {"Na": {"Na": 0.5, "K": 0.5}}, correlation="independent")
    assert mass_term(half, 300.0) == pytest.approx(2 * one, rel=1e-12)
    assert mixing_term(half, 300.0) == pytest.approx(-4 * units.kB * 300 * np.log(2), rel=1e-12)
    assert mixing_term(path, 300.0) == 0.0


def test_several_elements_at_once() -> None:
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True)
    other = atoms.copy()
    other.numbers = np.where(atoms.numbers == 11, 19, 35)
    path = path_between(Mixture.from_atoms(atoms), Mixture.from_atoms(other))
    assert len(path.mixture.groups) == 1
    assert path.end_mixture.nodes.number[path.mixture.nodes.component % 2 == 1].tolist() == [
        19 if number == 11 else 35 for number in atoms.numbers
    ]
    independent = path_between(Mixture.from_atoms(atoms), Mixture.from_atoms(other), "independent")
    assert [group.components for group in independent.mixture.groups] == [
        ("Na", "K"),
        ("Cl", "Br"),
    ]


def test_chosen_sites_and_a_mixed_background_stay() -> None:
    mixture = rocksalt().mixed({"Cl": {"Cl": 0.75, "Br": 0.25}})
    path = transmutation(mixture, {(0, 2): "K"})
    assert path.mixture.groups[0].sites.tolist() == [0, 2]
    assert path.mixture.groups[1].name == "Cl"
    np.testing.assert_array_equal(path.start, [1, 0, 0.75, 0.25])
    np.testing.assert_array_equal(path.end, [0, 1, 0.75, 0.25])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: transmutation(rocksalt(), {"Na": "Na"}), "the same"),
        (lambda: path_between(rocksalt(), rocksalt().repeat((2, 1, 1))), "8 sites and the end 16"),
        (lambda: transmutation(rocksalt(), {"Na": "Na0.9Va0.1"}), "alchemlip vacancy"),
        (lambda: transmutation(rocksalt(), {"Na": "Na0.5K0.5"}), "partial composition"),
    ],
)
def test_paths_that_are_refused(make: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("correlation", ["concerted", "independent"])
def test_the_ends_of_a_path_are_the_pure_compounds(correlation: str) -> None:
    case = SEVENNET[0]
    potential = loaded(case)
    path = transmutation(rocksalt(), {"Na": "K"}, correlation=correlation)  # type: ignore[arg-type]
    for model in (potential, potential.with_representation("embedding")):
        calculator = switched_calculator(path, model)
        atoms = path.atoms()
        atoms.rattle(0.1, seed=2)
        atoms.calc = calculator
        for coupling, cation in ((0.0, "Na"), (1.0, "K")):
            plain = atoms.copy()
            plain.symbols[plain.numbers != 17] = cation
            plain.calc = reference_calculator(case)
            for derivative in (False, True):
                calculator.coupling = coupling
                calculator.with_derivative = derivative
                calculator.reset()
                assert atoms.get_potential_energy() == pytest.approx(
                    plain.get_potential_energy(), abs=1e-10
                )
                np.testing.assert_allclose(atoms.get_forces(), plain.get_forces(), atol=1e-10)


@pytest.mark.parametrize("cation", ["Na", "K"])
def test_between_potentials(cation: str) -> None:
    """U = (1 - lambda) U_1 + lambda U_2 and its derivative, the species changing or not."""
    first, second = loaded(SEVENNET[0]), loaded(CHGNET[0])
    path = standing_path(rocksalt()) if cation == "Na" else transmutation(rocksalt(), {"Na": "K"})
    calculator = switched_calculator(path, first, second)
    atoms = path.atoms()
    atoms.rattle(0.1, seed=2)
    atoms.calc = calculator
    calculator.coupling = 0.3
    end = rocksalt().to_atoms()
    end.symbols[end.numbers == 11] = cation
    ends = (rocksalt(), Mixture(end.numbers, end.positions, end.cell.array, end.pbc))
    energies = [
        model.evaluate(mixture.with_geometry(atoms)).energy
        for model, mixture in zip((first, second), ends, strict=True)
    ]
    expected = 0.7 * energies[0] + 0.3 * energies[1]
    assert atoms.get_potential_energy() == pytest.approx(expected, abs=1e-10)
    slope = calculator.get_property("dhdl", atoms)
    assert slope == pytest.approx(energies[1] - energies[0], abs=1e-10)


def samples_of(file: Path) -> dict[str, np.ndarray]:
    with RunRecord.read(file) as record:
        return record.samples()


@pytest.mark.parametrize("cell", ["fixed", "volume", "full"])
def test_continuing_gives_the_same_trajectory(tmp_path: Path, cell: str) -> None:
    """A run cut off in any segment continues bit for bit."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    dynamics = HOT.model_copy(update={"cell": cell, "pressure_GPa": 1.0})
    settings = SwitchingSettings(
        equilibration_steps=20, switching_steps=30, repeats=2, checkpoint_interval=7
    )
    pressed = {"springs": SpringTerm(atoms.get_scaled_positions(wrap=False), 2.0, 5.0)}

    def go_on(file: Path, stop_after: int | None) -> None:
        calls = 0

        def on_progress(done: int, total: int) -> None:
            nonlocal calls
            calls += 1
            if stop_after is not None and calls > stop_after:
                raise KeyboardInterrupt

        with RunRecord(file, "test", {"cell": cell}) as record:
            run_switching(
                atoms,
                CoupledCalculator(pressed),
                dynamics,
                settings,
                record,
                on_progress=on_progress,
            )

    go_on(tmp_path / "whole.sqlite", None)
    whole = samples_of(tmp_path / "whole.sqlite")
    assert len(whole["step"]) == 2 * 2 * (21 + 31)
    for attempt in range(40):
        try:
            go_on(tmp_path / "cut.sqlite", attempt % 5)
            break
        except KeyboardInterrupt:
            continue
    else:
        pytest.fail("the run never ended")
    assert attempt > 5
    cut = samples_of(tmp_path / "cut.sqlite")
    for name, values in whole.items():
        np.testing.assert_array_equal(cut[name], values, err_msg=name)


def test_a_blow_up_keeps_the_record(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    wild = HOT.model_copy(update={"timestep_fs": 76.0})
    settings = SwitchingSettings(
        equilibration_steps=500, switching_steps=10, repeats=1, checkpoint_interval=1
    )
    file = tmp_path / "run.sqlite"
    with (
        RunRecord(file, "test", {}) as record,
        pytest.raises(UnstableError, match="shorter time step than 76 fs"),
        record.noting_failure(),
    ):
        run_switching(atoms, einstein(atoms, 5.0, 5.0), wild, settings, record)
    with RunRecord.read(file) as record:
        assert record.status == "failed"
        assert record.reason is not None
        assert "blew up" in record.reason
        state = record.state()
        assert state is not None
        assert np.isfinite(state["dynamics"]["positions"]).all()


def test_repeats_are_independent_and_reproducible() -> None:
    first = generator_of(0, 1).normal(size=5)
    assert (generator_of(0, 2).normal(size=5) != first).all()
    np.testing.assert_array_equal(generator_of(0, 1).normal(size=5), first)


def test_observers_come_back_from_a_finished_trajectory(tmp_path: Path) -> None:
    class Count:
        def __init__(self) -> None:
            self.n = 0
            self.total = np.zeros(3)

        def observe(self, atoms: Atoms) -> None:
            self.n += 1
            self.total = self.total + atoms.positions.sum(axis=0)

        def state(self) -> dict[str, object]:
            return {"n": self.n, "total": self.total}

        def restore(self, state: object) -> None:
            self.n = state["n"]  # type: ignore[index]
            self.total = np.array(state["total"])  # type: ignore[index]

    atoms = bulk("Cu", cubic=True)
    segments = (Segment("wait", 5, 0.0, 0.0), Segment("watch", 7, 0.0, 0.0))
    seen = []
    with RunRecord(tmp_path / "run.sqlite", "test", {}) as record:
        for _ in range(2):
            moving = atoms.copy()
            moving.calc = einstein(atoms, 2.0, 2.0)
            counter = Count()
            run_trajectory(
                moving,
                segments,
                HOT,
                generator_of(0),
                Recording(record, "one"),
                observers={"watch": [counter]},
            )
            seen.append(counter)
    assert seen[0].n == seen[1].n == 7
    np.testing.assert_array_equal(seen[0].total, seen[1].total)


def test_results_so_far_of_an_unfinished_run(tmp_path: Path) -> None:
    atoms = bulk("Cu", cubic=True)
    settings = SwitchingSettings(equilibration_steps=20, switching_steps=20, repeats=3)
    with RunRecord(tmp_path / "run.sqlite", "test", {}) as record:
        done = settings.model_copy(update={"repeats": 2})
        run_switching(atoms, einstein(atoms, 2.0, 5.0), HOT, done, record)
        assert len(switching_result(record, 3, 300.0).forward_work) == 2


def test_works_that_differ_by_rounding_are_drawn() -> None:
    """A reversible path gives one work each time; bars cannot divide what rounding leaves."""
    from matplotlib.figure import Figure

    from alchemlip.freeenergy.estimators import estimate_from_work
    from alchemlip.freeenergy.plotting import draw_works

    works = np.where(np.arange(12) % 2, 9.0, np.nextafter(9.0, 10.0))
    axis = Figure().subplots()
    estimate = estimate_from_work(works, -works, 300.0, np.random.default_rng(0))
    draw_works(axis, works, -works, estimate)
    low, high = axis.get_xlim()
    assert low < 9.0 < high
