"""The quasi-harmonic crystal: normal modes, thermal expansion, isotopes that mix ideally."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.units import GPa, kB
from torch import Tensor

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings, relax
from alchemlip.crystal.scanning import composition_grid
from alchemlip.disorder.conclusions import vibrational_results
from alchemlip.disorder.quasiharmonic import (
    QuasiHarmonicCrystal,
    fit_vibrational_mixing,
    quasi_harmonic,
)
from alchemlip.disorder.study import disorder_settings, study_disorder
from alchemlip.freeenergy.einstein import HBAR
from alchemlip.freeenergy.harmonic import mixture_force_constants, mode_frequencies
from pair_models import PairBackend
from test_cli import Cli, assert_one_sentence, cli  # noqa: F401

LENGTH, DEPTH, STEEPNESS = 3.0, 0.3, 1.4
REPEATS = (3, 2, 2)


def morse_potential(sizes: dict[int, float] | None = None) -> AlchemicalPotential:
    """Morse bonds between first neighbours; those of an element may prefer another length."""
    longer = torch.zeros(100, dtype=torch.float64)
    for number, value in (sizes or {}).items():
        longer[number] = value

    def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
        stretch = vectors.norm(dim=1) - LENGTH - 0.5 * (longer[a] + longer[b])
        return DEPTH * (1.0 - torch.exp(-STEEPNESS * stretch)).square()

    return AlchemicalPotential(PairBackend(pair, 3.7, (11, 37)))


def crystal(weights: dict[str, float]) -> Mixture:
    atoms = bulk("Na", "fcc", LENGTH * np.sqrt(2.0))
    return Mixture.from_elements(atoms, {"Na": weights})


def test_harmonic_free_energy_is_that_of_the_modes() -> None:
    potential = morse_potential()
    mixture = crystal({"Na": 1.0})
    found = quasi_harmonic(mixture, potential, REPEATS, displacement=None)
    large = mixture.repeat(REPEATS)
    frequencies = mode_frequencies(mixture_force_constants(large, potential), large.masses)
    kT = kB * 300.0
    expected = 3.0 * kT * np.log(HBAR * frequencies / kT).mean()
    assert found.free_energy(300.0, expansion=False) == pytest.approx(expected, abs=2e-5)
    assert found.energy() == pytest.approx(0.0, abs=1e-5)
    assert found.volume(0.0) == pytest.approx(LENGTH**3 / np.sqrt(2.0), rel=1e-4)


def test_displacements_approach_the_curvature() -> None:
    """Central differences: the error is of second order in the displacement."""
    mixture, potential = crystal({"Na": 0.5, "Rb": 0.5}), morse_potential({37: 0.12})
    options = {"expansions": (-0.02, 0.0, 0.02, 0.04)}
    exact = quasi_harmonic(mixture, potential, REPEATS, displacement=None, **options)
    errors = []
    for displacement in (0.1, 0.05):
        found = quasi_harmonic(mixture, potential, REPEATS, displacement=displacement, **options)
        errors.append(found.log_stiffness - exact.log_stiffness)
        assert found.relaxation_energies.max() < -1e-4
    np.testing.assert_allclose(errors[0], 4.0 * errors[1], rtol=0.05)
    assert np.abs(errors[0]).min() > 1e-4


def test_thermal_expansion_follows_gruneisen() -> None:
    """To first order V/V_0 - 1 = 3 k T gamma / (B V_0), gamma = -1/2 d<ln l>/d ln V."""
    found = quasi_harmonic(crystal({"Na": 1.0}), morse_potential(), REPEATS)
    least = found.volume(0.0)
    h = 0.003
    energies = [found._at((1.0 + s * h) * least, 0.0) for s in (-1, 0, 1)]
    modulus = (energies[0] - 2.0 * energies[1] + energies[2]) / (h**2 * least)
    slope = np.polyfit(np.log(found.volumes), found.log_stiffness, 2)
    gruneisen = -0.5 * np.polyval(np.polyder(slope), np.log(least))
    assert gruneisen > 1.0
    temperature = 20.0
    expected = 3.0 * kB * temperature * gruneisen / (modulus * least)
    assert found.volume(temperature) / least - 1.0 == pytest.approx(expected, rel=0.05)
    assert found.free_energy(300.0) < found.free_energy(300.0, expansion=False)


def test_isotopes_mix_ideally() -> None:
    """Elements that differ in mass alone: no classical free energy of mixing but the entropy."""
    potential = morse_potential()
    x = [0.0, 0.25, 0.5, 1.0]
    crystals = [
        quasi_harmonic(crystal({"Na": 1.0 - value, "Rb": value}), potential, REPEATS) for value in x
    ]
    assert crystals[0].free_energy(300.0) - crystals[-1].free_energy(300.0) == pytest.approx(
        1.5 * kB * 300.0 * (crystals[-1].log_mass - crystals[0].log_mass), abs=1e-12
    )
    curve = fit_vibrational_mixing(x, crystals, 300.0)
    np.testing.assert_allclose(curve.energy(np.array(x)), 0.0, atol=1e-9)


def test_study_and_results_of_different_sizes() -> None:
    """Local relaxation lowers the mixing energy; the gap with vibrations is of these energies."""
    potential = morse_potential({37: 0.12})
    settings = disorder_settings(vibrations=True, supercell=REPEATS)
    mixture = crystal({"Na": 0.5, "Rb": 0.5})
    group = mixture.groups[0].name
    grid = composition_grid(2, 5)
    points = study_disorder(
        mixture, potential, group, grid, settings, RelaxationSettings(keep_symmetry=True)
    )
    records = [point.record for point in points]
    x = grid[:, 1]
    results = vibrational_results(x.tolist(), records, [50.0, 9000.0], 1.0)
    below, above = results["with_vibrations"]
    crystals = [QuasiHarmonicCrystal.from_dict(record["quasi_harmonic"]) for record in records]
    assert crystals[0].relaxation_energies.max() == 0.0
    assert crystals[2].relaxation_energies.max() < -1e-4
    values = np.array([item.free_energy(50.0) for item in crystals])
    ideal = kB * 50.0 * np.log(0.5)
    assert below["free_energy_of_mixing_eV_per_atom"][2] == pytest.approx(
        values[2] - 0.5 * (values[0] + values[-1]) + ideal, abs=2e-5
    )
    assert "wider range" in above["note"]
    assert results["harmonic_critical_temperature_K"] > 50.0


def test_under_pressure() -> None:
    """dG/dP = V, and G is F of the volume that the pressure makes, plus P V."""
    potential = morse_potential()
    pressures = (1.9, 2.0, 2.1)
    found = []
    for pressure in pressures:
        settings = RelaxationSettings(pressure=pressure, keep_symmetry=True)
        mixture = relax(crystal({"Na": 1.0}), potential, settings).mixture
        found.append(quasi_harmonic(mixture, potential, REPEATS, relaxation=settings))
    values = [item.free_energy(200.0) for item in found]
    slope = (values[2] - values[0]) / (0.2 * GPa)
    assert slope == pytest.approx(found[1].volume(200.0), rel=1e-4)
    assert found[1].volume(0.0) < 0.97 * LENGTH**3 / np.sqrt(2.0)
    assert found[1].energy() > 2.0 * GPa * found[1].volume(0.0)  # the least energy is 0


def refused(words: str, weights: dict[str, float], **options: Any) -> None:
    with pytest.raises(InputError, match=words):
        quasi_harmonic(crystal(weights), morse_potential(), REPEATS, **options)


def test_bad_input(cli: Cli) -> None:  # noqa: F811
    refused("vacant have no vibrations", {"Na": 0.5, "Va": 0.5})
    refused("4 volumes or more in ascending order, not 2", {"Na": 1.0}, expansions=(0.0, 0.1))
    refused("unstable", {"Na": 1.0}, expansions=(0.3, 0.5, 0.7, 0.8))
    found = quasi_harmonic(crystal({"Na": 1.0}), morse_potential(), REPEATS)
    with pytest.raises(InputError, match=r"least at the largest .* lower temperature"):
        found.free_energy(9000.0)
    outcome = cli("disorder", "salt.cif", "--mix", "Na=Na,K", "--vibrations")
    assert_one_sentence(outcome, "one supercell: give --supercell")
    atoms = bulk("Na", "fcc", LENGTH * np.sqrt(2.0), cubic=True)
    atoms.rattle(0.1, seed=1)
    moved = Mixture.from_elements(atoms, {"Na": {"Na": 1.0}})
    short = RelaxationSettings(max_steps=1)
    with pytest.raises(InputError, match="at -4 % of volume the atoms are not at rest after 1"):
        quasi_harmonic(moved, morse_potential(), (1, 1, 1), relaxation=short)


def test_larger_volumes_that_are_unstable_are_left_out() -> None:
    expansions = (-0.04, 0.0, 0.04, 0.08, 0.75)
    found = quasi_harmonic(crystal({"Na": 1.0}), morse_potential(), REPEATS, expansions=expansions)
    assert len(found.volumes) == 4
    assert "from +75 % on" in found.note
