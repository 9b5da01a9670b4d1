"""What is CHGNet's own: three-body weights, magnetic moments, every bundled checkpoint, files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

pytest.importorskip("chgnet")

from alchemlip import AlchemicalPotential, InputError, Mixture, load_potential
from alchemlip.backends import chgnet
from alchemlip.potential.triplets import bonds
from alchemlip.testing import CRYSTALS, assert_equal, deformed
from conftest import chgnet as chgnet_case
from conftest import loaded
from references import chgnet_float64


@pytest.fixture(scope="module")
def potential() -> AlchemicalPotential:
    return loaded(chgnet_case("0.3.0"))


@pytest.mark.parametrize("version", ["0.3.0", "0.2.0", "r2scan"])
def test_every_bundled_checkpoint(version: str) -> None:
    """Energy, forces, stress and magnetic moments are chgnet's own, moments at x = 0 and 1 too."""
    potential = loaded(chgnet_case(version))
    atoms = deformed(bulk("NiO", "rocksalt", a=4.2, cubic=True), 2)
    plain = atoms.copy()
    plain.calc = chgnet_float64(version)
    mixture = Mixture.from_elements(atoms, {"Ni": {"Ni": 1.0, "Mg": 0.0}})
    result = potential.evaluate(mixture)
    assert_equal(result.energy, plain.get_potential_energy())
    assert_equal(result.forces, plain.get_forces())
    assert_equal(result.stress, plain.get_stress())
    assert_equal(potential.magnetic_moments(mixture), plain.get_magnetic_moments(), 1e-6)
    assert plain.get_magnetic_moments().max() > 0.5


def test_magnetic_moments_are_weighted_by_occupancy(potential: AlchemicalPotential) -> None:
    """Of two halves of one atom, and of concerted end states at fixed geometry."""
    atoms = deformed(bulk("NiO", "rocksalt", a=4.2, cubic=True), 3)
    other = atoms.copy()
    other.symbols[other.symbols == "Ni"] = "Co"
    mixture = Mixture.from_end_states(
        {"Ni": atoms, "Co": other}, {"Ni": 0.3, "Co": 0.7}, all_sites=True
    )
    ends = [potential.magnetic_moments(Mixture.from_elements(a, {})) for a in (atoms, other)]
    assert_equal(potential.magnetic_moments(mixture), 0.3 * ends[0] + 0.7 * ends[1])


def test_triplet_weights_are_conditional() -> None:
    """All triplets of a bond sum to the number of its neighbours, whoever sits on them."""
    crystal = next(item for item in CRYSTALS if item.name == "fcc-alloy")
    potential = loaded(chgnet_case("0.3.0"))
    for correlation in ("independent", "concerted"):
        graph = potential.graph([crystal.mixture(correlation)])  # type: ignore[arg-type]
        lengths = torch.linalg.norm(graph.edge_vectors(graph.positions, graph.cells), dim=1)
        found = bonds(graph, "expanded", lengths, 3.0)
        extended = torch.cat([graph.occupancies(graph.composition), torch.ones(1).double()])
        weights = extended[found.third_node]
        short = lengths < 3.0
        per_site = torch.bincount(graph.receiver[short], minlength=graph.n_sites)
        # A bond sees the other bonds of both its ends.
        sums = torch.zeros(len(found.site_edge)).double().index_add(0, found.first, weights)
        edge = found.site_edge
        both = (per_site[graph.receiver[edge]] + per_site[graph.sender[edge]] - 2) * short[edge]
        assert torch.allclose(sums, both.double(), atol=1e-12)


def test_no_angles_and_no_neighbours(potential: AlchemicalPotential) -> None:
    pair = Atoms("NaCl", positions=[[0, 0, 0], [4.0, 0, 0]])
    result = potential.evaluate(Mixture.from_elements(pair, {"Na": {"Na": 0.5, "K": 0.5}}))
    assert np.isfinite(result.energy)
    assert_equal(result.forces.sum(axis=0), np.zeros(3))


def test_local_checkpoint_needs_no_trust() -> None:
    """It is read as weights only."""
    file = chgnet.bundled_file("chgnet-0.3.0")
    local = load_potential(str(file), device="cpu")
    assert local.card.kind == "CHGNet"
    mixture = CRYSTALS[0].mixture()
    assert local.evaluate(mixture).energy == pytest.approx(
        load_potential("chgnet", device="cpu").evaluate(mixture).energy, abs=1e-12
    )


def test_bad_input(tmp_path, potential: AlchemicalPotential) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(InputError, match="no heads"):
        load_potential("chgnet", head="a")
    with pytest.raises(InputError, match="one fidelity"):
        load_potential("chgnet", modal="PBE")
    content = chgnet.bundled_file("chgnet-0.3.0").read_bytes()
    (tmp_path / "cut.pth.tar").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="cannot read"):
        load_potential(str(tmp_path / "cut.pth.tar"), trust=True)
    with pytest.raises(InputError, match="no factorised form"):
        potential.evaluate(CRYSTALS[0].mixture(), form="factorised")
