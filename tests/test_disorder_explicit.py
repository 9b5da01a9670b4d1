"""Explicit supercells: exact composition, and the second order's own average."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings
from alchemlip.disorder import explicit
from alchemlip.disorder.explicit import (
    explicit_supercells,
    mean_and_error,
    random_supercell,
    sqs_supercell,
)
from alchemlip.disorder.random_alloy import random_alloy
from pair_models import pair_potential

PAIR = pair_potential(cutoff=5.5)
SALT = Mixture.from_elements(
    bulk("NaCl", "rocksalt", 5.6, cubic=True), {"Na": {"Na": 0.75, "K": 0.25}}
)
needs_icet = pytest.mark.skipif(find_spec("icet") is None, reason="icet is not installed")


def test_mean_of_random_supercells_is_the_second_order() -> None:
    """A pair potential, 400 arrangements: within four standard errors, which are small."""
    alloy = random_alloy(SALT, PAIR, repeats=(2, 1, 1), exact_composition=True)
    cells = explicit_supercells(SALT, PAIR, (2, 1, 1), 400, np.random.default_rng(0))
    mean, error = mean_and_error([cell.energy_per_site for cell in cells])
    expected = alloy.random_energy / SALT.n_sites
    assert abs(mean - expected) < 4 * error
    assert abs(alloy.mean_field_energy / SALT.n_sites - expected) > 8 * error


def test_random_supercells_hold_the_composition() -> None:
    both = Mixture.from_elements(
        bulk("NaCl", "rocksalt", 5.6, cubic=True),
        {"Na": {"Na": 0.75, "K": 0.25}, "Cl": {"Cl": 0.5, "Br": 0.25, "Va": 0.25}},
    )
    rng = np.random.default_rng(1)
    first, second = random_supercell(both, (2, 1, 1), rng), random_supercell(both, (2, 1, 1), rng)
    for cell in (first, second):
        assert np.bincount(cell.numbers)[[11, 19, 17, 35]].tolist() == [6, 2, 4, 2]
        assert not cell.groups
    assert (first.positions.shape != second.positions.shape) or (
        first.positions.tolist() != second.positions.tolist()
        or first.numbers.tolist() != second.numbers.tolist()
    )


@needs_icet
def test_sqs_has_the_correlations_of_a_random_alloy() -> None:
    """Cu-Au, 32 sites: nearest-neighbour unlike pairs nearer to 1/2 than random cells are."""
    atoms = bulk("Cu", "fcc", 3.8, cubic=True)
    mixture = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.5, "Au": 0.5}})

    def unlike(cell: Mixture) -> float:
        distances = cell.to_atoms().get_all_distances(mic=True)
        near = (distances > 0.1) & (distances < 3.0)
        return float((cell.numbers[:, None] != cell.numbers[None])[near].mean())

    sqs = sqs_supercell(mixture, (2, 2, 2), seed=0, steps=3000)
    assert (sqs.numbers == 79).sum() == 16
    np.testing.assert_allclose(sqs.positions, mixture.repeat((2, 2, 2)).positions)
    rng = np.random.default_rng(0)
    random = [abs(unlike(random_supercell(mixture, (2, 2, 2), rng)) - 0.5) for _ in range(10)]
    assert abs(unlike(sqs) - 0.5) < np.mean(random)


@needs_icet
def test_sqs_with_vacancies() -> None:
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6), {"Cl": {"Cl": 0.5, "Va": 0.5}})
    sqs = sqs_supercell(mixture, (2, 2, 2), seed=0, steps=500)
    assert np.bincount(sqs.numbers)[[11, 17]].tolist() == [8, 4]


def test_relaxed_cells(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.9), {"Na": {"Na": 0.5, "K": 0.5}})
    settings = RelaxationSettings(cell="fixed", fmax=0.02)
    (cell,) = explicit_supercells(
        mixture, potential, (4, 2, 1), 1, np.random.default_rng(0), relaxation=settings
    )
    assert cell.converged
    assert cell.relaxed_energy_per_site < cell.energy_per_site  # type: ignore[operator]
    assert cell.evaluations > 1


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    third = SALT.with_composition("Na", [2 / 3, 1 / 3])
    with pytest.raises(InputError, match=r"cannot hold 0\.666667 Na exactly"):
        random_supercell(third, (2, 1, 1), rng)
    with pytest.raises(InputError, match="ask for at least 1"):
        explicit_supercells(SALT, PAIR, (1, 1, 1), 0, rng)
    with pytest.raises(InputError, match="unknown kind"):
        explicit_supercells(SALT, PAIR, (1, 1, 1), 1, rng, kind="best")  # type: ignore[arg-type]
    monkeypatch.setattr(explicit, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'alchemlip\[disorder\]'"):
        sqs_supercell(SALT, (1, 1, 1), 0)
    monkeypatch.undo()
    both = SALT.mixed({"Cl": {"Cl": 0.5, "Br": 0.5}})
    if find_spec("icet") is not None:
        with pytest.raises(InputError, match="use random supercells"):
            sqs_supercell(both, (1, 1, 1), 0)
