"""The lattice model that is handed to icet, and its transition."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.disorder.monte_carlo import anneal, lattice_atoms, lattice_model
from alchemlip.disorder.ordering import ordering_waves
from alchemlip.disorder.pair_interactions import pair_interactions
from alchemlip.errors import InputError
from exchange_models import PairModel, alloy, exchange

J = 0.05
needs_icet = pytest.mark.skipif(find_spec("icet") is None, reason="icet is not installed")


@needs_icet
@pytest.mark.parametrize("n_species", [2, 3])
def test_lattice_model_has_the_pair_energies(n_species: int) -> None:
    """Energies of arrangements differ between icet and the model as they should: exactly."""
    rng = np.random.default_rng(n_species)
    pairs = {}
    for distance in (3.0 * np.sqrt(3) / 2, 3.0):
        v = rng.normal(scale=0.05, size=(n_species, n_species))
        pairs[distance] = v + v.T
    model = PairModel((29, 79, 47)[:n_species], pairs, rng.normal(size=n_species))
    weights = {"Cu": 0.5, "Au": 0.5} if n_species == 2 else {"Cu": 0.5, "Au": 0.25, "Ag": 0.25}
    atoms = bulk("Cu", "bcc", a=3.0, cubic=True).repeat(3)
    small = alloy(bulk("Cu", "bcc", a=3.0, cubic=True).repeat((4, 4, 4)), weights)
    interactions = pair_interactions(model.hessian(small, "Cu"))
    expansion = lattice_model(interactions, 3.1)
    differences = []
    for _ in range(3):
        symbols = np.array(list(weights))[rng.integers(n_species, size=len(atoms))]
        atoms.symbols[:] = symbols.tolist()
        exact = model.evaluate(Mixture.from_elements(atoms, {}))
        predicted = expansion.predict(atoms)
        differences.append(exact.energy / len(atoms) - predicted)
    # icet counts from the mean field.
    assert np.ptp(differences) < 1e-9


@needs_icet
def test_transition_of_the_bcc_lattice_gas() -> None:
    """Nearest neighbours on bcc: T_c is 0.794 of the mean field (series expansions: 6.354 of 8)."""
    mixture = alloy(bulk("Cu", "bcc", a=3.0, cubic=True).repeat(2), {"Cu": 0.5, "Au": 0.5})
    interactions = pair_interactions(exchange((3.0 * np.sqrt(3) / 2, J)).hessian(mixture, "Cu"))
    wave = ordering_waves(interactions)[0]
    critical = wave.critical_temperature
    points = anneal(
        lattice_model(interactions, 2.7),
        interactions,
        [1.0 * critical, 0.79 * critical, 0.6 * critical],
        np.random.default_rng(0),
        wave=wave,
        repeat=(6, 6, 6),
        sweeps=100,
        equilibration=50,
    )
    hot, near, cold = points
    assert near.heat_capacity > 1.3 * max(hot.heat_capacity, cold.heat_capacity)
    assert hot.order < 0.1
    assert cold.order > 0.6
    assert cold.energy < near.energy < hot.energy < 0.0
    assert len(lattice_atoms(interactions)) == 1


@needs_icet
def test_cell_that_cannot_hold_the_composition() -> None:
    mixture = alloy(bulk("Cu", "bcc", a=3.0, cubic=True).repeat(2), {"Cu": 0.5, "Au": 0.5})
    interactions = pair_interactions(exchange((3.0 * np.sqrt(3) / 2, J)).hessian(mixture, "Cu"))
    with pytest.raises(InputError, match="repeat the cell"):
        anneal(
            lattice_model(interactions, 2.7),
            interactions,
            [1000.0],
            np.random.default_rng(0),
            repeat=(3, 3, 3),
        )
