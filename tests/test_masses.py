"""Masses drop out of mixing: species that interact alike mix ideally by every route."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.einstein import (
    ideal_mixing_free_energy,
    log_masses,
    mean_mass_term,
)
from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
from alchemlip.freeenergy.harmonic import harmonic_free_energy, mode_frequencies
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.freeenergy.transmutation import (
    mass_term,
    path_between,
    standing_path,
    transmute,
)
from alchemlip.freeenergy.transmutation_windows import transmute_windows
from alchemlip.freeenergy.vacancy import vacancy_path
from alchemlip.freeenergy.windows import WindowSettings
from alchemlip.records.runs import RunRecord
from harmonic_models import HarmonicCalculator, einstein_matrix, spring_network
from pair_models import PairBackend

T = 300.0
SWITCHING = SwitchingSettings(
    equilibration_steps=20, switching_steps=40, repeats=2, checkpoint_interval=50, seed=1
)
GIVEN = FrenkelLaddSettings(springs="given")


def gold_in_copper(x: float) -> Mixture:
    """Four sites, all alike."""
    atoms = bulk("Cu", "fcc", 3.9, cubic=True)
    return Mixture.from_elements(atoms, {"Cu": {"Cu": 1.0 - x, "Au": x}})


class EinsteinCrystal(HarmonicCalculator):
    """Springs to the sites of a mixture, the same whatever sits there."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__(mixture.to_atoms(), einstein_matrix(np.full(mixture.n_sites, 3.0)))
        self.mixture = mixture


def absolute(
    folder: Path,
    mixture: Mixture,
    settings: FrenkelLaddSettings = GIVEN,
    atoms: Atoms | None = None,
) -> dict[str, Any]:
    """Return the free energy of an Einstein crystal by switching to itself: no work at all."""
    dynamics = DynamicsSettings(temperature_K=T, timestep_fs=2.0)
    springs = 3.0 if settings.springs == "given" else None
    folder.mkdir(exist_ok=True)
    with RunRecord(folder / "run.sqlite", "frenkel-ladd", {"test": 1}) as record:
        return frenkel_ladd(
            mixture.to_atoms() if atoms is None else atoms,
            EinsteinCrystal(mixture),
            dynamics,
            SWITCHING,
            settings,
            record,
            spring_constants=springs,
        )


def above_the_line(values: list[float]) -> float:
    """Return the value at x = 1/2 above the straight line of x = 0 and 1."""
    pure, half, other = values
    return half - 0.5 * (pure + other)


@pytest.mark.parametrize("quantum", ["none", "wigner-kirkwood"])
def test_frenkel_ladd(tmp_path: Path, quantum: Any) -> None:
    settings = FrenkelLaddSettings(springs="hessian", quantum=quantum, mixing_entropy=True)
    found = [
        absolute(tmp_path / str(x), gold_in_copper(x), settings)["free_energy_eV_per_atom"]
        for x in (0.0, 0.5, 1.0)
    ]
    ideal = -units.kB * T * np.log(2.0)
    assert above_the_line(found) == pytest.approx(ideal, abs=1e-12)


def test_a_stale_mass_stays_out(tmp_path: Path) -> None:
    """The atoms of a calculator keep their masses when its composition changes."""
    mixture = gold_in_copper(0.5)
    expected = absolute(tmp_path / "new", mixture)
    stale = gold_in_copper(0.0).to_atoms()
    assert stale.get_masses()[0] < 70.0 < mixture.masses[0]
    found = absolute(tmp_path / "old", mixture, atoms=stale)
    assert found["free_energy_eV_per_atom"] == expected["free_energy_eV_per_atom"]
    assert stale.get_masses()[0] < 70.0


def test_isotopes_of_pure_sites_count(tmp_path: Path) -> None:
    pure = Mixture.from_atoms(bulk("Cu", "fcc", 3.9, cubic=True))
    heavy = pure.to_atoms()
    heavy.set_masses(2.0 * pure.masses)
    found = [
        absolute(tmp_path / name, pure, atoms=atoms)["free_energy_eV_per_atom"]
        for name, atoms in (("light", pure.to_atoms()), ("heavy", heavy))
    ]
    assert found[1] - found[0] == pytest.approx(-1.5 * units.kB * T * np.log(2.0), rel=1e-12)


def test_normal_modes() -> None:
    """With mean masses and the term that belongs to them; masses alone would give -24 meV here."""
    atoms = bulk("Cu", "fcc", 3.9, cubic=True)
    matrix = spring_network(atoms.repeat((2, 1, 1)), 3.0, np.random.default_rng(4))
    found, bare = [], []
    for x in (0.0, 0.5, 1.0):
        mixture = gold_in_copper(x).repeat((2, 1, 1))
        frequencies = mode_frequencies(matrix, mixture.masses)
        modes = harmonic_free_energy(frequencies, mixture.masses, 100.0, T, 8).total
        bare.append(modes)
        found.append(modes + mean_mass_term(mixture, T))
    assert above_the_line(found) == pytest.approx(0.0, abs=1e-11)
    assert above_the_line(bare) < -0.02


def alike() -> AlchemicalPotential:
    """Springs between first neighbours that do not know the elements."""

    def pair(a: Any, b: Any, vectors: Any) -> Any:
        return 1.5 * (vectors.norm(dim=1) - 2.7).square()

    return AlchemicalPotential(PairBackend(pair, 3.3, (11, 19, 29, 79)))


def test_transmutation_by_switching_and_by_windows(tmp_path: Path) -> None:
    dynamics = DynamicsSettings(temperature_K=T, timestep_fs=2.0)
    windows = WindowSettings(
        couplings=(0.0, 1.0), equilibration_steps=20, sampling_steps=80, sample_interval=2
    )
    start, half, end = (gold_in_copper(x).repeat((2, 1, 1)) for x in (0.0, 0.5, 1.0))
    by_route: dict[str, list[float]] = {"switching": [], "windows": []}
    for name, target in (("half", half), ("end", end)):
        path = path_between(start, target, "independent")
        with RunRecord(tmp_path / f"{name}.sqlite", "transmute", {}) as record:
            results = transmute(path, alike(), dynamics, SWITCHING, record, mixing_entropy=True)
            by_route["switching"].append(results["free_energy_eV_per_atom"])
        with RunRecord(tmp_path / f"{name}-windows.sqlite", "transmute", {}) as record:
            results = transmute_windows(
                path, alike(), dynamics, windows, record, mixing_entropy=True
            )
            by_route["windows"].append(results["free_energy_eV_per_atom"])
    ideal = -units.kB * T * np.log(2.0)
    for halfway, whole in by_route.values():
        assert halfway - 0.5 * whole == pytest.approx(ideal, abs=1e-12)
        assert whole == pytest.approx(1.5 * units.kB * T * np.log(63.546 / 196.96657), rel=1e-6)


def test_switching_at_a_composition_and_vacancies() -> None:
    """A switch between potentials has no masses; a spring has that of the atom that leaves."""
    mixture = gold_in_copper(0.5)
    assert mass_term(standing_path(mixture), T) == 0.0
    salt = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6), {"Na": {"Na": 0.5, "K": 0.5}})
    assert vacancy_path(salt.repeat((2, 1, 1)), 1, 2.0).mass == pytest.approx(35.45)


def test_a_term_per_species_and_none_for_vacancies() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6)
    weights = {"Na": 0.5, "K": 0.3, "Va": 0.2}
    mixture = Mixture.from_elements(atoms, {"Na": weights})
    expected = 0.5 * np.log(22.98976928) + 0.3 * np.log(39.0983)
    np.testing.assert_allclose(log_masses(mixture), [expected, np.log(35.45)], rtol=1e-12)
    mean = (0.5 * 22.98976928 + 0.3 * 39.0983) / 0.8
    term = 1.5 * units.kB * T * (0.8 * np.log(mean) - expected)
    assert mean_mass_term(mixture, T) == pytest.approx(term, rel=1e-12)
    assert mean_mass_term(Mixture.from_atoms(atoms), T) == 0.0


def test_records_of_the_older_formula(tmp_path: Path) -> None:
    """An unfinished run of a mixture whose record knows nothing of it is not continued."""
    mixture = gold_in_copper(0.5)
    file = tmp_path / "run.sqlite"
    with RunRecord(file, "frenkel-ladd", {"test": 1}) as record:
        record.note("springs", [3.0] * 4)
    with pytest.raises(InputError, match="older formula, in which mixed sites"):
        absolute(tmp_path, mixture)
    # A pure crystal's formula is what it was.
    absolute(tmp_path, Mixture.from_atoms(bulk("Cu", "fcc", 3.9, cubic=True)))


def test_tied_sites_draw_once() -> None:
    """Four sites that change together have two arrangements, not sixteen."""
    atoms = bulk("Cu", "fcc", 3.9, cubic=True)
    half = {"Cu": {"Cu": 0.5, "Au": 0.5}}
    tied = Mixture.from_elements(atoms, half, correlation="concerted")
    kT = units.kB * T
    assert ideal_mixing_free_energy(tied, T) == pytest.approx(-kT * np.log(2.0), rel=1e-12)
    free = Mixture.from_elements(atoms, half)
    assert ideal_mixing_free_energy(free, T) == pytest.approx(-4.0 * kT * np.log(2.0), rel=1e-12)
    with pytest.raises(InputError, match="short-range order"):
        ideal_mixing_free_energy(free.with_short_range_order("Cu", [3.2], {("Cu", "Au"): [0.1]}), T)


@pytest.mark.parametrize(
    ("cell", "pressed", "kind"),
    [("fixed", 0.0, "Helmholtz"), ("fixed", 0.1, "Gibbs"), ("volume", 0.0, "Gibbs")],
)
def test_a_sum_with_pressure_is_no_helmholtz_energy(cell: str, pressed: float, kind: str) -> None:
    from alchemlip.reporting.freeenergies import _quantities

    results = {
        "free_energy_eV_per_atom": -1.0,
        "standard_error_eV_per_atom": 0.01,
        "terms": {"work": -1.0 - pressed, "pressure_volume": pressed},
        "method": "BAR",
    }
    run = SimpleNamespace(inputs={"dynamics": {"cell": cell}}, command="frenkel-ladd")
    assert _quantities(run, results)[0].label.startswith(kind)  # type: ignore[arg-type]
