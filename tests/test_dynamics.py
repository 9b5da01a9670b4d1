"""The integrator against theory: canonical and isothermal-isobaric averages that are exact."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import physical_validation as pv
import pytest
from ase import units
from ase.constraints import FixAtoms
from ase.md.langevinbaoab import LangevinBAOAB
from pymbar import timeseries
from scipy.stats import chi2, kstest

from alchemlip.errors import InputError
from alchemlip.freeenergy.dynamics import (
    DynamicsSettings,
    Integrator,
    UnstableError,
    check_stability,
    make_integrator,
)
from solid_models import EinsteinSolid

TEMPERATURE = 300.0
KT = units.kB * TEMPERATURE
# Of a standard normal: a correct integrator fails one assertion in 16,000, and seeds are fixed.
SIGMAS = 4.0
PROBABILITY = 6e-5

# eV, Angstrom, eV/A^3 and fs in kJ/mol, nm, bar and ps.
PV_UNITS = pv.data.UnitData(
    kb=units.kB,
    energy_conversion=units.mol / units.kJ,
    length_conversion=0.1,
    volume_conversion=1e-3,
    temperature_conversion=1.0,
    pressure_conversion=1.0 / units.bar,
    time_conversion=1e-3,
)


def settings(cell: str, **options: Any) -> DynamicsSettings:
    return DynamicsSettings(cell=cell, **{"temperature_K": TEMPERATURE, **options})


def run(
    solid: EinsteinSolid,
    chosen: DynamicsSettings,
    steps: int,
    observe: Callable[[Integrator], tuple[float, ...]],
    seed: int = 0,
) -> np.ndarray:
    """Observables (quantity, step) of a trajectory, the first twentieth left out."""
    integrator = make_integrator(solid.atoms(), chosen, np.random.default_rng(seed))
    values = np.empty((steps, len(observe(integrator))))
    for step in range(steps):
        integrator.step()
        values[step] = observe(integrator)
    return values[steps // 20 :].T


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    """Mean and its standard error from the statistical inefficiency (pymbar)."""
    inefficiency = timeseries.statistical_inefficiency(values)
    return float(values.mean()), float(values.std() * np.sqrt(inefficiency / len(values)))


def assert_mean(values: np.ndarray, expected: float) -> None:
    mean, error = mean_and_error(values)
    assert abs(mean - expected) < SIGMAS * error, (mean, error, expected)


def energies(integrator: Integrator) -> tuple[float, ...]:
    atoms = integrator.atoms
    return atoms.get_potential_energy(), atoms.get_kinetic_energy()


def stretch(integrator: Integrator) -> tuple[float, ...]:
    """Relative volume and the part of tr E^2 that is no change of volume."""
    gradient, green = integrator.atoms.calc.strain(integrator.atoms)
    return float(np.linalg.det(gradient)), float(np.square(green).sum() - np.trace(green) ** 2 / 3)


# ---------------------------------------------------------------------- constant volume

CRYSTAL = EinsteinSolid(masses=tuple(np.linspace(5.0, 60.0, 40)))
"""Forty atoms, no two of the same mass."""


@pytest.mark.parametrize("fixed", [False, True], ids=["free", "centre-of-mass-fixed"])
def test_positions_are_canonical_at_any_time_step(fixed: bool) -> None:
    """<U> = N_f kT / 2 of a harmonic crystal, at half the longest stable time step."""
    frequency = np.sqrt(CRYSTAL.spring / CRYSTAL.masses[0])
    chosen = settings(
        "fixed",
        timestep_fs=1.0 / frequency / units.fs,
        thermostat_fs=30.0,
        fix_centre_of_mass=fixed,
    )
    potential, _ = run(CRYSTAL, chosen, 4000, energies)
    n_free = 3 * len(CRYSTAL.masses) - 3 * fixed
    assert_mean(potential, 0.5 * n_free * KT)
    assert_mean((potential - 0.5 * n_free * KT) ** 2, 0.5 * n_free * KT**2)


@pytest.mark.parametrize("fixed", [False, True], ids=["free", "centre-of-mass-fixed"])
def test_kinetic_energy_distribution(fixed: bool) -> None:
    """Mean and width of the kinetic energy by physical_validation."""
    chosen = settings("fixed", timestep_fs=2.0, thermostat_fs=15.0, fix_centre_of_mass=fixed)
    potential, kinetic = run(CRYSTAL, chosen, 10000, energies, seed=1)
    data = nvt_data(chosen, potential, kinetic)
    deviations = pv.kinetic_energy.distribution(data, verbosity=0, bootstrap_seed=1)
    assert max(deviations) < SIGMAS
    # The wrong number of degrees of freedom would show: 2.5 % of the mean.
    data.system.ndof_reduction_tra = 3 - 3 * fixed
    deviations = pv.kinetic_energy.distribution(data, verbosity=0, bootstrap_seed=1)
    assert max(deviations) > SIGMAS


def nvt_data(
    chosen: DynamicsSettings, potential: np.ndarray, kinetic: np.ndarray
) -> pv.data.SimulationData:
    n_atoms = len(CRYSTAL.masses)
    return pv.data.SimulationData(
        units=PV_UNITS,
        dt=chosen.timestep_fs,
        system=pv.data.SystemData(
            natoms=n_atoms,
            nconstraints=0,
            ndof_reduction_tra=3 * chosen.fix_centre_of_mass,
            ndof_reduction_rot=0,
            mass=np.array(CRYSTAL.masses),
        ),
        ensemble=pv.data.EnsembleData(
            "NVT", natoms=n_atoms, volume=CRYSTAL.edge**3, temperature=chosen.temperature_K
        ),
        observables=pv.data.ObservableData(kinetic_energy=kinetic, potential_energy=potential),
    )


def test_energies_at_two_temperatures() -> None:
    """P(U; T2) / P(U; T1) ~ exp(-(1/kT2 - 1/kT1) U) by physical_validation."""
    data = []
    for temperature in (300.0, 330.0):
        chosen = settings("fixed", temperature_K=temperature, timestep_fs=5.0, thermostat_fs=30.0)
        data.append(nvt_data(chosen, *run(CRYSTAL, chosen, 4000, energies, seed=2)))
    deviations = pv.ensemble.check(*data, verbosity=0, bootstrap_seed=1)
    assert max(np.abs(deviations)) < SIGMAS


# ---------------------------------------------------------------------- constant pressure

SOFT = EinsteinSolid(lame=2.0, shear=1.5)
"""Two atoms in a medium so soft that the volume fluctuates by a tenth."""

MOVING = {"timestep_fs": 4.0, "thermostat_fs": 50.0, "barostat_fs": 60.0}


def volume_weights(pressure: float, n_free: int) -> tuple[np.ndarray, np.ndarray]:
    """Relative volumes and the weights of the isothermal-isobaric ensemble."""
    volumes = np.linspace(0.2, 3.0, 5001)
    edges = np.repeat(volumes[:, None] ** (1 / 3), 3, axis=1)
    log_weights = SOFT.log_weight(edges, TEMPERATURE, pressure, n_free)
    return volumes, np.exp(log_weights - log_weights.max())


@pytest.mark.parametrize("fixed", [False, True], ids=["free", "centre-of-mass-fixed"])
def test_volume_distribution(fixed: bool) -> None:
    """The volume's distribution is exact, with N_f integrations over positions, not N_f +- 3."""
    volume, _ = run(SOFT, settings("volume", fix_centre_of_mass=fixed, **MOVING), 20000, stretch)
    n_free = 6 - 3 * fixed
    grid, weights = volume_weights(0.0, n_free)
    assert_mean(volume, np.average(grid, weights=weights))
    assert_mean(volume**2, np.average(grid**2, weights=weights))
    sample = volume[timeseries.subsample_correlated_data(volume)]
    assert len(sample) > 300
    cumulative = np.cumsum(weights) / weights.sum()
    assert kstest(sample, lambda v: np.interp(v, grid, cumulative)).pvalue > PROBABILITY
    wrong, other_weights = volume_weights(0.0, 3 + 3 * fixed)
    mean, error = mean_and_error(volume)
    assert abs(mean - np.average(wrong, weights=other_weights)) > 2 * SIGMAS * error


def test_volumes_at_two_pressures() -> None:
    """P(V; p2) / P(V; p1) ~ exp(-(p2 - p1) V / kT) by physical_validation."""
    data = []
    pressures = (0.0, 0.12 * KT)  # eV/A^3: about two widths of the volume apart
    for seed, pressure in enumerate(pressures):
        chosen = settings("volume", pressure_GPa=pressure / units.GPa, **MOVING)
        volume, _ = run(SOFT, chosen, 8000, stretch, seed=seed)
        data.append(
            pv.data.SimulationData(
                units=PV_UNITS,
                ensemble=pv.data.EnsembleData(
                    "NPT", natoms=2, pressure=pressure, temperature=TEMPERATURE
                ),
                observables=pv.data.ObservableData(
                    volume=volume * SOFT.edge**3, potential_energy=np.zeros_like(volume)
                ),
            )
        )
    deviations = pv.ensemble.check(*data, verbosity=0, bootstrap_seed=1)
    assert max(np.abs(deviations)) < SIGMAS


def cell_averages(solid: EinsteinSolid, n_free: int) -> tuple[float, float]:
    """<V> and <tr E^2 - (tr E)^2 / 3> over all cells, on a grid of principal stretches.

    The weight V dh / |det h|^3 in terms of C = F^T F is V |det C|^-2 dC, and dC is the product of
    |C_i - C_j| dC_i and a rotation.
    """
    edge = np.linspace(0.55, 1.6, 106)
    stretches = np.stack(np.meshgrid(edge, edge, edge, indexing="ij"), -1).reshape(-1, 3)
    squared = stretches**2
    volume = stretches.prod(axis=1)
    gaps = (
        (squared[:, 0] - squared[:, 1])
        * (squared[:, 1] - squared[:, 2])
        * (squared[:, 2] - squared[:, 0])
    )
    measure = np.abs(gaps) * stretches.prod(axis=1) * volume**-3
    log_weight = solid.log_weight(stretches, TEMPERATURE, 0.0, n_free)
    weights = np.exp(log_weight - log_weight.max()) * measure
    green = 0.5 * (squared - 1.0)
    shear = np.square(green).sum(axis=1) - green.sum(axis=1) ** 2 / 3
    return np.average(volume, weights=weights), np.average(shear, weights=weights)


def test_strain_distribution() -> None:
    """Volume and shear of a full cell fluctuate as exact integration over all cells says."""
    chosen = settings("full", timestep_fs=4.0, thermostat_fs=50.0, barostat_fs=80.0)

    def observe(integrator: Integrator) -> tuple[float, ...]:
        momentum = np.atleast_2d(integrator.p_eps)
        kinetic = np.square(momentum).sum() / integrator.barostat_mass
        asymmetry = np.abs(momentum - momentum.T).max() / (np.abs(momentum).max() + 1e-9)
        return (*stretch(integrator), kinetic, float(asymmetry))

    volume, shear, kinetic, asymmetry = run(SOFT, chosen, 15000, observe)
    expected = cell_averages(SOFT, 6)
    assert_mean(volume, expected[0])
    assert_mean(shear, expected[1])
    assert_mean(kinetic, 6 * KT)  # six momenta of a symmetric matrix
    assert asymmetry.max() < 1e-12  # or a step would rotate the cell


# ---------------------------------------------------------------------- order of the step


class UpstreamDrag(Integrator):
    """ASE's own drag: Tr(p)/N_f added to every element."""

    def _barostat_BAOAB_OU_gamma_mod(self) -> Any:  # noqa: N802
        return LangevinBAOAB._barostat_BAOAB_OU_gamma_mod(self)


class UpstreamOrder(Integrator):
    """ASE's own order: the force on the cell before the atoms' last half kick."""

    def complete(self) -> None:
        self._update_accel()
        self._update_force_eps()
        self._BAOAB_B()
        self._barostat_BAOAB_B()


def enthalpy_errors(kind: type[Integrator], cell: str, timestep_fs: float) -> tuple[float, float]:
    """Spread and drift of H = K + U + PV + Tr(p^T p) / 2W without noise, in units of kT."""
    solid = EinsteinSolid()
    atoms = solid.atoms()
    rng = np.random.default_rng(3)
    chosen = settings(cell, timestep_fs=timestep_fs, barostat_fs=80.0, pressure_GPa=0.5)
    atoms.positions += rng.normal(size=(2, 3)) * np.sqrt(KT / solid.spring)
    atoms.set_momenta(rng.normal(size=(2, 3)) * np.sqrt(KT * atoms.get_masses())[:, None])
    integrator = kind(atoms, chosen, rng)
    integrator.gamma = integrator.barostat_gamma = integrator.BAOAB_prefactor = 0.0
    noise = rng.normal(size=(3, 3))
    momentum = 1.0 if cell == "volume" else 0.5 * (noise + noise.T)
    integrator.p_eps = momentum * np.sqrt(integrator.barostat_mass * KT)
    values = []
    for _ in range(int(1200 / timestep_fs)):
        integrator.step()
        values.append(
            atoms.get_potential_energy()
            + atoms.get_kinetic_energy()
            + 0.5 * units.GPa * atoms.get_volume()
            + 0.5 * np.square(integrator.p_eps).sum() / integrator.barostat_mass
        )
    quarter = len(values) // 4
    start, end = np.array(values[:quarter]), np.array(values[-quarter:])
    return float(start.std() / KT), float(abs(end.mean() - start.mean()) / KT)


@pytest.mark.parametrize("cell", ["volume", "full"])
def test_enthalpy_is_conserved_to_second_order(cell: str) -> None:
    spread, drift = enthalpy_errors(Integrator, cell, 4.0)
    finer_spread, finer_drift = enthalpy_errors(Integrator, cell, 2.0)
    assert finer_spread < 0.003
    assert spread / finer_spread == pytest.approx(4.0, rel=0.05)
    assert max(drift, finer_drift) < 0.05 * finer_spread + 0.1 * spread


def test_upstream_drag_and_order_fail() -> None:
    """What the two corrections correct: without them the same measure does not converge."""
    spread, _ = enthalpy_errors(UpstreamDrag, "full", 4.0)
    finer_spread, _ = enthalpy_errors(UpstreamDrag, "full", 2.0)
    assert finer_spread > 0.9 * spread > 0.01
    _, drift = enthalpy_errors(UpstreamOrder, "volume", 4.0)
    _, finer_drift = enthalpy_errors(UpstreamOrder, "volume", 2.0)
    assert drift / finer_drift == pytest.approx(2.0, rel=0.1)
    assert finer_drift > 100 * enthalpy_errors(Integrator, "volume", 2.0)[1]


# ---------------------------------------------------------------------- state


@pytest.mark.parametrize("fixed", [False, True], ids=["free", "centre-of-mass-fixed"])
@pytest.mark.parametrize("cell", ["fixed", "volume", "full"])
@pytest.mark.parametrize("first", [0, 7])
def test_a_state_continues_bit_for_bit(cell: str, fixed: bool, first: int) -> None:
    """Fresh atoms, calculator and generator, and the very same trajectory."""
    chosen = settings(cell, timestep_fs=4.0, barostat_fs=80.0, fix_centre_of_mass=fixed)
    integrator = make_integrator(SOFT.atoms(), chosen, np.random.default_rng(1))
    for _ in range(first):
        integrator.step()
    state = copy.deepcopy(integrator.state())
    for _ in range(20):
        integrator.step()
    fresh = copy.deepcopy(SOFT).atoms()
    again = make_integrator(fresh, chosen, np.random.default_rng(9), state)
    for _ in range(20):
        again.step()
    for name, value in integrator.state().items():
        np.testing.assert_equal(again.state()[name], value, err_msg=name)
    assert integrator.atoms.get_volume() == again.atoms.get_volume()


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize("n_atoms", [1, 2, 5, 40, 1000])
def test_thermal_kinetic_energies_are_no_blow_up(n_atoms: int) -> None:
    """No false alarm in 1e5 independent configurations, but for one run in a thousand."""
    solid = EinsteinSolid(masses=(20.0,) * n_atoms)
    atoms = solid.atoms()
    chosen = settings("fixed")
    largest = chi2.isf(1e-8, 3 * n_atoms) / (3 * n_atoms)

    def heat(temperature: float) -> None:
        atoms.set_momenta(np.full((n_atoms, 3), np.sqrt(20.0 * units.kB * temperature)))

    heat(largest * TEMPERATURE)
    check_stability(atoms, chosen)
    heat(20 * TEMPERATURE)
    with pytest.raises(UnstableError, match="shorter time step than 2 fs"):
        check_stability(atoms, chosen)


@pytest.mark.parametrize("cell", ["fixed", "volume"])
def test_too_long_a_time_step_is_a_blow_up(cell: str) -> None:
    frequency = np.sqrt(CRYSTAL.spring / CRYSTAL.masses[0])
    chosen = settings(cell, timestep_fs=3.0 / frequency / units.fs)
    integrator = make_integrator(CRYSTAL.atoms(), chosen, np.random.default_rng(1))

    def steps() -> None:
        for _ in range(30):
            integrator.step()
            check_stability(integrator.atoms, chosen)

    with pytest.raises(UnstableError, match="blew up"):
        steps()


def test_no_energy_is_a_blow_up() -> None:
    atoms = SOFT.atoms()
    atoms.positions[0] = np.nan
    with pytest.raises(UnstableError, match="blew up"):
        check_stability(atoms, settings("fixed"))


def test_what_cannot_move_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match="supercell"):
        make_integrator(
            EinsteinSolid(masses=(20.0,)).atoms(), settings("fixed", fix_centre_of_mass=True), rng
        )
    atoms = SOFT.atoms()
    atoms.set_constraint(FixAtoms([0]))
    with pytest.raises(InputError, match="constraints"):
        make_integrator(atoms, settings("fixed", fix_centre_of_mass=True), rng)
    atoms = SOFT.atoms()
    atoms.pbc = False
    with pytest.raises(InputError, match="periodic"):
        make_integrator(atoms, settings("volume"), rng)
