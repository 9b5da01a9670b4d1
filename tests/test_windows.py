"""Equilibrium windows with replica exchange against exact free energies and distributions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from pydantic import ValidationError
from pymbar import timeseries
from scipy.stats import gamma, kstest

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.freeenergy.coupled_batch import energies_at_couplings, evaluate_batch
from alchemlip.freeenergy.dynamics import DynamicsSettings, UnstableError
from alchemlip.freeenergy.estimates import FreeEnergyEstimate
from alchemlip.freeenergy.hamiltonian import (
    AlchemicalTerm,
    CalculatorTerm,
    CoupledCalculator,
    SpringTerm,
)
from alchemlip.freeenergy.recorded import Windows, windows_of
from alchemlip.freeenergy.replica_exchange import ReplicaExchange
from alchemlip.freeenergy.transmutation import transmutation
from alchemlip.freeenergy.transmutation_windows import transmute_windows
from alchemlip.freeenergy.window_estimators import estimate_from_energies, estimate_from_gradients
from alchemlip.freeenergy.windows import WindowSettings, WindowsResult, sample_windows
from alchemlip.records.runs import RunRecord
from alchemlip.testing import deformed
from pair_models import pair_potential
from solid_models import EinsteinSolid

TEMPERATURE = 300.0
KT = units.kB * TEMPERATURE
NVT = DynamicsSettings(temperature_K=TEMPERATURE, timestep_fs=6.0, thermostat_fs=20.0)
NPT = DynamicsSettings(
    temperature_K=TEMPERATURE,
    timestep_fs=4.0,
    cell="volume",
    thermostat_fs=30.0,
    barostat_fs=60.0,
)


def sampled(
    folder: Path,
    atoms: Atoms,
    calculator: CoupledCalculator,
    dynamics: DynamicsSettings,
    settings: WindowSettings,
    **options: Any,
) -> tuple[Windows, WindowsResult]:
    with RunRecord(folder / "run.sqlite", "windows", {"a": 1}) as record:
        result = sample_windows(atoms, calculator, dynamics, settings, record, **options)
        return windows_of(record)[0], result


def assert_estimate(estimate: FreeEnergyEstimate, exact: float, largest_error: float) -> None:
    assert estimate.standard_error_eV < largest_error
    assert abs(estimate.value_eV - exact) < 4 * estimate.standard_error_eV


# ---------------------------------------------------------------------- springs


def springs(n_atoms: int) -> tuple[Atoms, CoupledCalculator]:
    atoms = Atoms(f"Al{n_atoms}", cell=[9.0, 9.0, 9.0], pbc=True)
    anchors = np.random.default_rng(0).uniform(size=(n_atoms, 3))
    atoms.set_scaled_positions(anchors)
    return atoms, CoupledCalculator({"springs": SpringTerm(anchors, 2.0, 8.0)})


def independent(values: np.ndarray) -> np.ndarray:
    return values[timeseries.subsample_correlated_data(values)]


SLOW = DynamicsSettings(temperature_K=TEMPERATURE, timestep_fs=6.0, thermostat_fs=60.0)
"""So slow that replicas remember other windows when they are sampled."""


@pytest.mark.parametrize("exchange", [2, None], ids=["exchange", "no-exchange"])
def test_springs(tmp_path: Path, exchange: int | None) -> None:
    """dF = 3/2 kT ln(k2 / k1) per atom by MBAR, and each window's energies as they must be.

    U / kT of 3 n harmonic degrees of freedom has the gamma distribution of 3 n / 2, in every
    window, exchanges or none.
    """
    settings = WindowSettings(
        couplings=(0.0, 0.1, 0.3, 0.6, 1.0),
        equilibration_steps=100,
        sampling_steps=3000,
        sample_interval=5,
        exchange_interval=exchange,
        checkpoint_interval=500,
        seed=1,
    )
    windows, result = sampled(tmp_path, *springs(3), SLOW, settings)
    exact = 4.5 * KT * np.log(4.0)
    estimate = estimate_from_energies(windows.couplings, windows.energies_eV, TEMPERATURE)
    assert_estimate(estimate, exact, 0.02 * exact)
    stiffness = 2.0 + 6.0 * windows.couplings
    means = [float(np.mean(series)) for series in windows.dhdl_eV]
    np.testing.assert_allclose(means, 4.5 * KT * 6.0 / stiffness, rtol=0.12)
    for window, energies in enumerate(windows.energies_eV):
        own = independent(energies[:, window])
        assert len(own) > 150
        assert kstest(own / KT, gamma(4.5).cdf).pvalue > 1e-4
    if exchange is None:
        assert result.attempts.sum() == 0
        assert np.isnan(result.acceptance).all()
    else:
        assert (result.attempts >= 749).all()
        assert ((result.acceptance > 0.4) & (result.acceptance < 0.95)).all()
        assert result.round_trips.sum() >= 10


def test_thermodynamic_integration(tmp_path: Path) -> None:
    """TI takes the same windows; its trapezoids are too long for a curve that bends."""
    couplings = tuple((np.geomspace(2.0, 8.0, 9) - 2.0) / 6.0)
    couplings = (0.0, *couplings[1:-1], 1.0)
    settings = WindowSettings(
        couplings=couplings, equilibration_steps=100, sampling_steps=2000, sample_interval=5, seed=2
    )
    windows, _ = sampled(tmp_path, *springs(3), NVT, settings)
    estimate = estimate_from_gradients(windows.couplings, windows.dhdl_eV, TEMPERATURE)
    slopes = 4.5 * KT * 6.0 / (2.0 + 6.0 * windows.couplings)
    assert_estimate(estimate, np.trapezoid(slopes, windows.couplings), 0.03 * 4.5 * KT)


def test_exchanges_that_ignore_energies_are_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The distributions of the first test fail where every exchange is accepted."""
    honest = ReplicaExchange.exchange
    monkeypatch.setattr(
        ReplicaExchange, "exchange", lambda self, own, other: honest(self, own * 0, own * 0)
    )
    settings = WindowSettings(
        couplings=(0.0, 0.1, 0.3, 0.6, 1.0),
        equilibration_steps=100,
        sampling_steps=3000,
        sample_interval=5,
        exchange_interval=2,
        seed=1,
    )
    windows, result = sampled(tmp_path, *springs(3), SLOW, settings)
    assert (result.acceptance == 1.0).all()
    pvalues = [
        kstest(independent(energies[:, window]) / KT, gamma(4.5).cdf).pvalue
        for window, energies in enumerate(windows.energies_eV)
    ]
    assert min(pvalues) < 1e-6


# ---------------------------------------------------------------------- constant pressure


def test_constant_pressure(tmp_path: Path) -> None:
    """dG between two media of different size, stiffness and springs, by integration over volume."""
    first = EinsteinSolid(lame=6.0, shear=4.0, spring=1.0)
    last = EinsteinSolid(lame=3.0, shear=6.0, spring=2.5, edge=4.25)
    calculator = CoupledCalculator(
        {
            "first": CalculatorTerm(first, 1.0, 0.0),
            "last": CalculatorTerm(last, 0.0, 1.0),
        }
    )
    pressure = 0.02
    dynamics = NPT.model_copy(update={"pressure_GPa": pressure / units.GPa})
    settings = WindowSettings(
        couplings=4,
        equilibration_steps=200,
        sampling_steps=3000,
        sample_interval=10,
        exchange_interval=10,
        seed=4,
    )
    windows, result = sampled(tmp_path, first.atoms(), calculator, dynamics, settings)
    assert (result.acceptance > 0.2).all()
    gibbs = []
    for solid in (first, last):
        volumes = np.linspace(0.3, 2.5, 20001) * 64.0
        stretches = np.repeat((volumes[:, None] ** (1 / 3)) / solid.edge, 3, axis=1)
        log_weights = solid.log_weight(stretches, TEMPERATURE, pressure, 6)
        top = log_weights.max()
        integral = np.exp(log_weights - top).sum() * solid.spring ** (-3.0)
        gibbs.append(-KT * (top + np.log(integral)))
    estimate = estimate_from_energies(windows.couplings, windows.energies_eV, TEMPERATURE)
    assert_estimate(estimate, gibbs[1] - gibbs[0], 0.15 * KT)
    assert abs(gibbs[1] - gibbs[0]) > 10 * estimate.standard_error_eV


# ---------------------------------------------------------------------- an alchemical pair


def dimer() -> tuple[Atoms, CoupledCalculator]:
    """Two atoms on springs, which turn from Cu to Au together in mean field."""
    atoms = Atoms("Cu2", positions=[[4.0, 4.0, 4.0], [6.6, 4.0, 4.0]], cell=3 * [14.0], pbc=True)
    mixture = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.5, "Au": 0.5}})
    return atoms, CoupledCalculator(
        {
            "potential": AlchemicalTerm(pair_potential(), mixture, [1.0, 0.0], [0.0, 1.0]),
            "springs": SpringTerm(atoms.get_scaled_positions(), 1.0, 1.0),
        }
    )


def dimer_free_energy(potential: AlchemicalPotential, symbol: str) -> float:
    """Direct integration over the vector between the atoms; their mean position drops out."""
    nodes, weights = np.polynomial.hermite.hermgauss(48)
    width = np.sqrt(4.0 * KT)  # 1/4 k d^2 of the relative displacement d, k = 1 eV/A^2
    x, y = width * nodes, width * nodes
    # The energy depends on the distance alone: a table of it serves all nodes.
    distances = np.linspace(0.5, 5.5, 1501)
    pairs = [
        Mixture.from_atoms(
            Atoms(f"{symbol}2", positions=[[0, 0, 0], [r, 0, 0]], cell=3 * [14.0], pbc=True)
        )
        for r in distances
    ]
    table = [found.energy for found in potential.evaluate(pairs, forces=False, stress=False)]
    r = np.sqrt((2.6 + x[:, None, None]) ** 2 + y[:, None] ** 2 + y**2)
    inside = np.interp(r, distances, table)
    weight = weights[:, None, None] * weights[:, None] * weights
    low = inside.min()
    return float(low - KT * np.log((weight * np.exp(-(inside - low) / KT)).sum()))


def test_alchemical_pair(tmp_path: Path) -> None:
    """MBAR over windows of a mean-field path equals direct integration of both ends."""
    atoms, calculator = dimer()
    settings = WindowSettings(
        couplings=5, equilibration_steps=100, sampling_steps=1000, sample_interval=8, seed=3
    )
    windows, _ = sampled(tmp_path, atoms, calculator, NVT, settings)
    potential = pair_potential()
    exact = dimer_free_energy(potential, "Au") - dimer_free_energy(potential, "Cu")
    estimate = estimate_from_energies(windows.couplings, windows.energies_eV, TEMPERATURE)
    assert_estimate(estimate, exact, 0.4 * KT)
    for window, energies in enumerate(windows.energies_eV):
        assert np.ptp(energies[:, window]) > KT / 2


# ---------------------------------------------------------------------- exchanges alone


def test_exchange_keeps_a_discrete_distribution() -> None:
    """Detailed balance without dynamics: windows over few states, resampled between exchanges."""
    rng = np.random.default_rng(5)
    energies = rng.normal(size=(4, 6))  # window, state; kT = 1
    exact = np.exp(-energies) / np.exp(-energies).sum(axis=1, keepdims=True)
    exchanges = ReplicaExchange(4, 1.0, rng)
    state = np.array([rng.choice(6, p=p) for p in exact])  # of each replica
    counts = np.zeros((4, 6))
    for _ in range(30000):
        other = np.full(4, np.nan)
        for x, y in exchanges.pairs():
            other[x] = energies[exchanges.window[y], state[x]]
            other[y] = energies[exchanges.window[x], state[y]]
        exchanges.exchange(energies[exchanges.window, state], other)
        # One replica a step meets its window's heat bath.
        one = rng.integers(4)
        state[one] = rng.choice(6, p=exact[exchanges.window[one]])
        counts[exchanges.window, state] += 1
    np.testing.assert_allclose(counts / 30000, exact, atol=0.02)
    assert (exchanges.round_trips > 50).all()
    assert sorted(exchanges.window) == [0, 1, 2, 3]


def test_round_trips() -> None:
    """Equal energies: all exchanges happen, and replicas walk up and down."""
    exchanges = ReplicaExchange(3, 1.0, np.random.default_rng(0))
    visited = []
    for _ in range(6):
        exchanges.exchange(np.zeros(3), np.zeros(3))
        visited.append(exchanges.window.tolist())
    assert visited == [[1, 0, 2], [2, 0, 1], [2, 1, 0], [1, 2, 0], [0, 2, 1], [0, 1, 2]]
    # The first went up and came back; the second waited below, and is still on its way.
    assert exchanges.round_trips.tolist() == [1, 0, 0]
    assert (exchanges.attempts == exchanges.accepted).all()


# ---------------------------------------------------------------------- batches


def test_a_batch_is_its_parts(potential: AlchemicalPotential) -> None:
    """One pass of the default potential for all windows; each as if it were alone."""
    atoms = bulk("NaCl", "rocksalt", 5.7, cubic=True)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}})
    anchors = atoms.get_scaled_positions()

    def calculator() -> CoupledCalculator:
        return CoupledCalculator(
            {
                "potential": AlchemicalTerm(potential, mixture, [1.0, 0.0], [0.0, 1.0]),
                "springs": SpringTerm(anchors, 0.0, 2.0),
            }
        )

    couplings = [0.0, 0.5, 1.0]
    images = [deformed(atoms, seed=seed) for seed in range(3)]
    calculators = [calculator() for _ in images]
    for derivative in (False, True):
        parts = evaluate_batch(images, calculators, couplings, stress=True, derivative=derivative)
        for image, coupling, found in zip(images, couplings, parts, strict=True):
            for name, term in calculator().terms.items():
                alone = term.evaluate(image, coupling, stress=True, derivative=derivative)
                assert found[name].energy == pytest.approx(alone.energy, abs=1e-10)
                np.testing.assert_allclose(found[name].forces, alone.forces, atol=1e-10)
                np.testing.assert_allclose(found[name].stress, alone.stress, atol=1e-10)
                assert found[name].dhdl == pytest.approx(alone.dhdl, abs=1e-10)
    single = calculator()
    energies = energies_at_couplings(images[1], single, couplings)
    for coupling, energy in zip(couplings, energies, strict=True):
        single.coupling = coupling
        image = images[1].copy()
        image.calc = single
        assert energy == pytest.approx(image.get_potential_energy(), abs=1e-10)


def test_one_evaluation_of_all_windows_a_step(tmp_path: Path) -> None:
    atoms, calculator = dimer()
    potential = calculator.terms["potential"].potential  # type: ignore[attr-defined]
    sizes: list[int] = []
    original = potential.evaluate

    def counting(mixtures: Any, **options: Any) -> Any:
        sizes.append(len(mixtures))
        return original(mixtures, **options)

    potential.evaluate = counting
    settings = WindowSettings(
        couplings=4,
        equilibration_steps=3,
        sampling_steps=8,
        sample_interval=100,
        exchange_interval=None,
    )
    with RunRecord(tmp_path / "run.sqlite", "windows", {"a": 1}) as record:
        sample_windows(atoms, calculator, NVT, settings, record)
    assert sizes == [4] * 12


# ---------------------------------------------------------------------- the record


class Cut(Exception):  # noqa: N818
    """Stands for a crash."""


@pytest.mark.parametrize("cell", ["fixed", "volume", "full"])
def test_a_cut_run_continues_bit_for_bit(tmp_path: Path, cell: str) -> None:
    """Cut at any commit, in equilibration, between segments and repeats: the same samples."""
    medium = CalculatorTerm(EinsteinSolid(edge=14.0, spring=0.1), 1.0, 0.5)
    dynamics = DynamicsSettings(temperature_K=TEMPERATURE, timestep_fs=4.0, cell=cell)
    settings = WindowSettings(
        couplings=3,
        equilibration_steps=10,
        sampling_steps=20,
        sample_interval=3,
        exchange_interval=2,
        checkpoint_interval=7,
        repeats=2,
    )

    def run(file: str, cut_after: int | None) -> tuple[dict[str, Any], WindowsResult | None]:
        commits = 0

        def progress(done: int, total: int) -> None:
            nonlocal commits
            assert 0 < done <= total == 60
            commits += 1
            if commits == cut_after:
                raise Cut

        atoms, calculator = dimer()
        calculator.terms["medium"] = medium
        with RunRecord(tmp_path / file, "windows", {"a": 1}) as record:
            try:
                result = sample_windows(
                    atoms, calculator, dynamics, settings, record, on_progress=progress
                )
            except Cut:
                return {}, None
            return record.samples(), result

    whole, expected = run("whole.sqlite", None)
    assert len(whole["step"]) == 2 * 3 * 6
    for cut in (1, 2, 4):
        for _ in range(20):
            samples, result = run(f"cut{cut}.sqlite", cut)
            if result is not None:
                break
        for name, column in whole.items():
            np.testing.assert_array_equal(samples[name], column, err_msg=name)
        assert expected is not None
        assert result is not None
        np.testing.assert_array_equal(result.accepted, expected.accepted)
        np.testing.assert_array_equal(result.round_trips, expected.round_trips)


def test_samples_say_what_they_are(tmp_path: Path) -> None:
    """The own column of the energies is the potential energy; couplings stay with windows."""
    atoms, calculator = dimer()
    settings = WindowSettings(
        couplings=3, equilibration_steps=10, sampling_steps=40, sample_interval=4
    )
    with RunRecord(tmp_path / "run.sqlite", "windows", {"a": 1}) as record:
        sample_windows(atoms, calculator, NVT, settings, record)
        samples = record.samples()
    window = samples["window"]
    np.testing.assert_array_equal(samples["coupling"], np.array([0.0, 0.5, 1.0])[window])
    own = samples["energies_eV"][np.arange(len(window)), window]
    np.testing.assert_allclose(own, samples["potential_eV"], atol=1e-10)
    # U is quadratic in the coupling: differences of its values give the slopes.
    low, middle, high = samples["energies_eV"].T
    slopes = np.stack([4 * middle - 3 * low - high, high - low, 3 * high + low - 4 * middle], 1)
    np.testing.assert_allclose(
        samples["dhdl_eV"], slopes[np.arange(len(window)), window], atol=1e-9
    )


def test_a_transmutation_by_windows(tmp_path: Path) -> None:
    """The flat record: MBAR and the mass term, integration beside it, in eV per atom."""
    mixture = Mixture.from_atoms(dimer()[0])
    path = transmutation(mixture, {"Cu": "Au"})
    settings = WindowSettings(
        couplings=3, equilibration_steps=100, sampling_steps=600, sample_interval=10
    )
    with RunRecord(tmp_path / "run.sqlite", "windows", {"a": 1}) as record:
        bound = NVT.model_copy(update={"fix_centre_of_mass": True})
        results = transmute_windows(path, pair_potential(), bound, settings, record)
    mass = 1.5 * KT * np.log(63.546 / 196.96657)
    assert results["terms"]["mass"] == pytest.approx(mass, rel=1e-6)
    assert results["free_energy_eV_per_atom"] == pytest.approx(sum(results["terms"].values()))
    # Concerted: the energy is linear in the coupling, but its mean slope is not constant.
    error = results["standard_error_eV_per_atom"] + 0.1 * KT
    integral = results["thermodynamic_integration_eV_per_atom"]
    assert abs(results["free_energy_eV_per_atom"] - integral) < 4 * error
    assert len(results["acceptance"]) == 2
    assert results["samples"] == 180
    assert results["ensemble"] == "NVT"
    json.dumps(results)


# ---------------------------------------------------------------------- bad input


def test_settings_that_are_refused() -> None:
    for couplings in (
        1,
        (0.0,),
        (0.0, 0.5),
        (0.1, 1.0),
        (0.0, 0.7, 0.3, 1.0),
        (0.0, 0.5, 0.5, 1.0),
    ):
        with pytest.raises(ValidationError, match="windows"):
            WindowSettings(couplings=couplings)
    assert WindowSettings().couplings == tuple(np.linspace(0, 1, 11))


def test_a_blow_up_keeps_the_record(tmp_path: Path) -> None:
    atoms, calculator = springs(3)
    settings = WindowSettings(couplings=3, equilibration_steps=50, sampling_steps=50)
    wild = NVT.model_copy(update={"timestep_fs": 60.0})
    with RunRecord(tmp_path / "run.sqlite", "windows", {"a": 1}) as record:
        with pytest.raises(UnstableError, match="blew up"):
            sample_windows(atoms, calculator, wild, settings, record)
        assert record.state() is None
