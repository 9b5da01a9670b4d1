"""One potential in several threads gives what it gives in one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from alchemlip import AdditiveCalculator, AlchemicalCalculator, AlchemicalPotential, Mixture
from alchemlip.potential.ensemble import EnsemblePotential
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form
from alchemlip.testing import CRYSTALS, assert_as_serial, check_threads, compositions, in_threads
from conftest import CHGNET, SEVENNET, PotentialCase, installed, loaded
from harmonic_models import HarmonicCalculator
from pair_models import PairBackend


def test_evaluations(any_potential: AlchemicalPotential, case: PotentialCase) -> None:
    """Energies in every form and representation; `benchmarks/reliability.py` takes 200 each."""
    if case.again:
        pytest.skip("other weights of the same model")
    assert {"expanded", "embedding"} <= set(any_potential.backend.forms)
    check_threads(any_potential, case.crystal("one-atom-cell"))


def test_calculators_that_share_a_potential(
    any_potential: AlchemicalPotential, case: PotentialCase
) -> None:
    """Forces, stress and composition gradient, each thread with calculators of its own."""
    if case.again:
        pytest.skip("other weights of the same model")
    crystal = case.crystal("one-atom-cell")

    def everything(mixture: Mixture) -> np.ndarray:
        atoms = crystal.atoms.copy()
        atoms.calc = AlchemicalCalculator(any_potential, mixture)
        gradient = atoms.calc.get_property("composition_gradient", atoms)
        forces, stress = atoms.get_forces().ravel(), atoms.get_stress()
        return np.concatenate([[atoms.get_potential_energy()], forces, stress, gradient])

    assert_as_serial(everything, compositions(crystal, 3))


def test_ensembles_and_sums_of_calculators() -> None:
    """Members and terms behind calculators of each thread's own."""
    if not (installed("sevenn") and installed("chgnet")):
        pytest.skip("two potentials are needed")
    ensemble = EnsemblePotential([loaded(SEVENNET[0]), loaded(CHGNET[0])])
    crystal = CRYSTALS[3]

    def everything(mixture: Mixture) -> list[float]:
        atoms = crystal.atoms.copy()
        alchemical = AlchemicalCalculator(ensemble, mixture)
        springs = HarmonicCalculator(atoms, np.eye(3 * len(atoms)))
        atoms.calc = AdditiveCalculator(alchemical, [springs])
        atoms.positions += 0.1
        energy = atoms.get_potential_energy()
        return [energy, alchemical.results["energy_spread"], *atoms.get_forces().ravel()]

    assert_as_serial(everything, compositions(crystal, 3))


def test_magnetic_moments(any_potential: AlchemicalPotential, case: PotentialCase) -> None:
    if case.again or not any_potential.has_magnetic_moments:
        pytest.skip("no magnetic moments, or other weights of the same model")
    mixtures = compositions(case.crystal("one-atom-cell"))
    energies = [any_potential.evaluate(mixture).energy for mixture in mixtures]

    def both(mixture: Mixture) -> list[float]:
        return [float(any_potential.magnetic_moments(mixture)[0]), *energies]

    expected = [both(mixture) for mixture in mixtures]
    for found in in_threads(both, mixtures):
        np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


class Forgetful(PairBackend):
    """A backend that keeps what it works on between two steps, as many models do."""

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        self._now = occupancies
        torch.linalg.eigh(torch.eye(60, dtype=torch.float64))  # lets other threads go on
        return super().node_energies(graph, edge_vectors, self._now, form)


def test_a_backend_that_says_nothing_is_called_by_one_thread_at_a_time() -> None:
    from ase.build import bulk

    def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
        return (a * b).double() * torch.exp(-vectors.norm(dim=1)) * 1e-3

    potential = AlchemicalPotential(Forgetful(pair, 4.0, (29, 79)))
    again = AlchemicalPotential(potential.backend)  # the same model by another way
    copper = Mixture.from_elements(bulk("Cu", "fcc", 3.7), {"Cu": "Cu0.5Au0.5"})
    mixtures = [copper.with_composition("Cu", [x, 1 - x]) for x in np.linspace(0.1, 0.9, 5)]
    chosen = {id(mixture): (potential, again)[n % 2] for n, mixture in enumerate(mixtures)}
    assert_as_serial(lambda mixture: chosen[id(mixture)].evaluate(mixture).energy, mixtures)


def test_one_neighbour_list_in_several_threads() -> None:
    """What is kept for the skin belongs to one search at a time."""
    from ase.build import bulk

    from alchemlip.potential.neighbours import NeighbourList

    shared = NeighbourList(4.0, skin=0.5)
    cells = [bulk("Cu", "fcc", a, cubic=True) for a in (3.3, 3.6, 4.2)]

    def count(atoms: Any) -> int:
        return len(shared.edges(atoms.positions, atoms.cell.array, atoms.pbc)[0])

    assert_as_serial(count, cells)
