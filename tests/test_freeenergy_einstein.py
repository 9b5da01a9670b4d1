"""Free energies known in closed form, against a published run's digits and exact limits."""

from __future__ import annotations

import numpy as np
import pytest
from ase import units
from ase.build import bulk
from ase.data import atomic_masses
from scipy.integrate import quad

from alchemlip import Mixture
from alchemlip.errors import InputError
from alchemlip.freeenergy.einstein import (
    HBAR,
    centre_of_mass_free_energy,
    einstein_free_energy,
    ideal_mixing_free_energy,
    mass_free_energy,
    quantum_harmonic_correction,
    quantum_harmonic_energy_correction,
    wigner_kirkwood_correction,
)

# Baseline B1 of the tests of calphy 2: Cu, Cu01.eam.alloy (Mishin 2001), fcc, P = 0.
N_ATOMS = 500
TEMPERATURE = 500.0
SPRING = 1.846571
VOLUME = 12.10123  # per atom
CALPHY = {"F_einstein": -0.176230, "F_cm": -0.001802, "work": -3.465824, "F": -3.643856}


def copper() -> tuple[np.ndarray, np.ndarray]:
    return np.full(N_ATOMS, SPRING), np.full(N_ATOMS, atomic_masses[29])


def test_einstein_crystal_has_the_published_digits() -> None:
    value = einstein_free_energy(*copper(), TEMPERATURE) / N_ATOMS
    assert round(value, 6) == CALPHY["F_einstein"]


def test_centre_of_mass_has_the_published_digits() -> None:
    value = centre_of_mass_free_energy(*copper(), VOLUME * N_ATOMS, TEMPERATURE, 1) / N_ATOMS
    assert round(value, 6) == CALPHY["F_cm"]


def test_terms_add_up_to_the_published_sum() -> None:
    springs, masses = copper()
    total = (
        einstein_free_energy(springs, masses, TEMPERATURE)
        + centre_of_mass_free_energy(springs, masses, VOLUME * N_ATOMS, TEMPERATURE, 1)
    ) / N_ATOMS + CALPHY["work"]
    assert total == pytest.approx(CALPHY["F"], abs=1.01e-6)  # the last digit of four roundings


def test_conventions_of_the_centre_of_mass_differ_by_the_number_of_cells() -> None:
    springs, masses = copper()
    whole, cell = (
        centre_of_mass_free_energy(springs, masses, VOLUME * N_ATOMS, TEMPERATURE, cells)
        for cells in (1, N_ATOMS)
    )
    assert (cell - whole) / N_ATOMS == pytest.approx(0.000536, abs=5e-7)
    # Freitas et al. 2016 for one atom a cell: kT ln[ N/V (2 pi kT / N k)^(3/2) ].
    kT = units.kB * TEMPERATURE
    expected = kT * np.log((2 * np.pi * kT / (N_ATOMS * SPRING)) ** 1.5 / VOLUME)
    assert cell == pytest.approx(expected, rel=1e-12)


def test_planck_constant_is_in_the_units_of_the_frequencies() -> None:
    # CODATA 2014, as ASE's units: 1 eV A^-2 amu^-1 is (98.227 THz rad)^2.
    seconds = 1.0 / units.s
    assert HBAR * seconds == pytest.approx(6.582119514e-16, rel=1e-6)


def test_quantum_correction_closes_the_classical_to_the_quantum_oscillator() -> None:
    temperature = 300.0
    kT = units.kB * temperature
    energies = np.array([1e-4, 0.01, 0.1, 1.0])  # hbar w in eV
    for energy in energies:
        levels = np.exp(-(np.arange(200_000) * energy) / kT).sum() if energy > 1e-3 else None
        quantum = (
            0.5 * energy - kT * np.log(levels)
            if levels is not None
            else kT * np.log(2 * np.sinh(0.5 * energy / kT))
        )
        classical = kT * np.log(energy / kT)
        found = quantum_harmonic_correction([energy / HBAR], temperature)
        assert found == pytest.approx(quantum - classical, rel=1e-9, abs=1e-15)


def test_energy_correction_is_the_gibbs_helmholtz_derivative() -> None:
    frequencies = np.array([0.02, 0.3, 1.1])
    step, temperature = 0.1, 250.0
    over_t = [
        quantum_harmonic_correction(frequencies, t) / t
        for t in (temperature + step, temperature - step)
    ]
    expected = -(temperature**2) * (over_t[0] - over_t[1]) / (2 * step)
    found = quantum_harmonic_energy_correction(frequencies, temperature)
    assert found == pytest.approx(expected, rel=1e-6)


def test_wigner_kirkwood_is_the_leading_term() -> None:
    springs, masses = np.array([1.0, 4.0]), np.array([60.0, 30.0])
    frequencies = np.repeat(np.sqrt(springs / masses), 3)
    for temperature, tolerance in ((1000.0, 2e-3), (4000.0, 2e-4)):
        exact = quantum_harmonic_correction(frequencies, temperature)
        leading = wigner_kirkwood_correction(springs, masses, temperature)
        assert leading == pytest.approx(exact, rel=tolerance)


def test_classical_oscillator_by_integration_of_its_phase_space() -> None:
    temperature, spring, mass = 400.0, 2.5, 27.0
    kT = units.kB * temperature
    width_x, width_p = np.sqrt(kT / spring), np.sqrt(mass * kT)
    in_x, _ = quad(lambda x: np.exp(-spring * x**2 / (2 * kT)), -12 * width_x, 12 * width_x)
    in_p, _ = quad(lambda p: np.exp(-(p**2) / (2 * mass * kT)), -12 * width_p, 12 * width_p)
    one = -kT * np.log(in_x * in_p / (2 * np.pi * HBAR))
    found = einstein_free_energy([spring, spring], [mass, mass], temperature)
    assert found == pytest.approx(6 * one, rel=1e-10)


def test_mass_term_is_what_the_einstein_crystal_gains() -> None:
    springs = np.array([1.0, 2.0, 3.0])
    light, heavy = np.array([10.0, 20.0, 30.0]), np.array([15.0, 90.0, 30.0])
    change = einstein_free_energy(springs, heavy, 350.0) - einstein_free_energy(
        springs, light, 350.0
    )
    assert mass_free_energy(light, heavy, 350.0) == pytest.approx(change, rel=1e-12)


def test_ideal_mixing_counts_arrangements() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.7).repeat((2, 2, 2))
    mixture = Mixture.from_elements(
        atoms, {"Na": {"Na": 0.5, "K": 0.5}, "Cl": {"Cl": 0.75, "Va": 0.25}}
    )
    kT = units.kB * 700.0
    expected = 8 * kT * (np.log(0.5) + 0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert ideal_mixing_free_energy(mixture, 700.0) == pytest.approx(expected, rel=1e-12)
    pure = Mixture.from_elements(atoms, {"Na": {"Na": 1.0, "K": 0.0}})
    assert ideal_mixing_free_energy(pure, 700.0) == 0.0


@pytest.mark.parametrize(
    ("springs", "masses", "temperature", "words"),
    [
        ([1.0], [10.0], 0.0, "temperature"),
        ([1.0], [10.0], -5.0, "temperature"),
        ([1.0, -1.0], [10.0, 10.0], 300.0, "atom 1"),
        ([1.0, 1.0], [10.0], 300.0, "one per atom"),
    ],
)
def test_bad_input_is_refused(
    springs: list[float], masses: list[float], temperature: float, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        einstein_free_energy(springs, masses, temperature)
