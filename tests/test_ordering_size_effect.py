"""The size effect against crystals that are actually relaxed."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk

from alchemlip import AlchemicalPotential, Mixture, relax
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.disorder.ordered_structures import with_site_classes
from alchemlip.disorder.ordering import ordering_waves
from alchemlip.disorder.pair_interactions import pair_interactions
from alchemlip.disorder.size_effect import separation_eigenvalue, size_effect

STEP = 0.02


@pytest.fixture(scope="module")
def salt(potential: AlchemicalPotential) -> Mixture:
    """Two primitive cells of rock salt: they hold the wave at L, along which anions move."""
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", a=6.0), {"Na": {"Na": 0.5, "K": 0.5}})
    relaxed = relax(mixture, potential, fmax=1e-5, smax=1e-5, keep_symmetry=True)
    return relaxed.mixture.repeat((2, 1, 1))


def curvature(
    mixture: Mixture, potential: AlchemicalPotential, classes: np.ndarray, cell: str
) -> float:
    """Second difference of the relaxed energy as occupancies of K change by +- STEP by class."""
    energies = []
    for change in (-STEP, 0.0, STEP):
        signed = np.array([[0.5 - change, 0.5 + change], [0.5 + change, 0.5 - change]])
        moved = with_site_classes(mixture, "Na", classes, signed)
        result = relax(moved, potential, cell=cell, fmax=1e-4, smax=1e-4)
        assert result.converged
        energies.append(result.evaluation.energy)
    return float((energies[0] - 2 * energies[1] + energies[2]) / STEP**2)


def test_wave_with_relaxing_atoms(potential: AlchemicalPotential, salt: Mixture) -> None:
    hessian = occupancy_hessian(salt, potential)
    effect = size_effect(salt, potential)
    classes = np.array([0, 1])
    change = np.array([[-1.0, 1.0], [1.0, -1.0]])
    fixed = np.einsum("ia,iajb,jb", change, hessian.full(), change)
    gain = np.einsum("ia,iajb,jb", change, effect.correction, change)
    assert gain < -0.1 * abs(fixed)
    expected = curvature(salt, potential, classes, "fixed")
    assert fixed + gain == pytest.approx(expected, rel=2e-3, abs=2e-3)
    np.testing.assert_allclose(
        effect.correction, effect.correction.transpose(2, 3, 0, 1), atol=1e-8
    )


def test_uniform_change_with_a_relaxing_cell(potential: AlchemicalPotential, salt: Mixture) -> None:
    hessian = occupancy_hessian(salt, potential)
    effect = size_effect(salt, potential)
    change = np.tile([-1.0, 1.0], (2, 1))
    fixed = np.einsum("ia,iajb,jb", change, hessian.full() + effect.correction, change)
    strain = 2 * change[0] @ effect.strain @ change[0]
    assert strain < 0
    expected = curvature(salt, potential, np.array([0, 0]), "full")
    assert fixed + strain == pytest.approx(expected, rel=5e-3, abs=5e-3)


def test_salt_separates(potential: AlchemicalPotential) -> None:
    """NaCl-KCl: with the size effect and a cell that relaxes, k = 0 is the unstable wave."""
    if potential.name != "sevennet-0":
        pytest.skip("needs trained weights")
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", a=6.0), {"Na": {"Na": 0.5, "K": 0.5}})
    mixture = relax(mixture, potential, keep_symmetry=True).mixture.repeat((2, 2, 2))
    effect = size_effect(mixture, potential)
    interactions = pair_interactions(occupancy_hessian(mixture, potential), effect.correction)
    others = ordering_waves(interactions, 10)
    at_zero = separation_eigenvalue(interactions, effect.strain)
    assert at_zero < 0
    assert at_zero < min(wave.eigenvalue for wave in others)
