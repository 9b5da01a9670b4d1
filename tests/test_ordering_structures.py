"""Ordered structures from waves, the path to them, and the gradient search against enumeration."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.disorder.ordered_structures import (
    OrderedStructure,
    ordered_energies,
    ordered_structures,
)
from alchemlip.disorder.ordering import ordering_waves
from alchemlip.disorder.ordering_path import equilibrium_order, ordering_path
from alchemlip.disorder.ordering_search import project, search_ordering
from alchemlip.disorder.pair_interactions import pair_interactions
from alchemlip.disorder.patterns import discretise, site_counts
from alchemlip.errors import InputError
from exchange_models import PairModel, alloy, exchange

J = 0.05
BCC, FCC = np.sqrt(3) / 2, np.sqrt(0.5)


def crystal(kind: str, repeat: int | tuple[int, int, int] = 2) -> Atoms:
    return bulk("Cu", kind, a=4.0, cubic=True).repeat(repeat)


def generated(model: PairModel, mixture: Mixture, count: int = 3) -> list[OrderedStructure]:
    hessian = model.hessian(mixture, mixture.groups[0].name)
    found = pair_interactions(hessian)
    return ordered_structures(hessian, found, ordering_waves(found, count))


@pytest.mark.parametrize(
    ("kind", "c", "shells", "name", "space_group", "atoms"),
    [
        ("bcc", 0.5, ((BCC, J),), "B2", 221, 2),
        ("bcc", 0.25, ((BCC, J), (1.0, 0.9 * J)), "D0_3", 225, 4),
        ("bcc", 0.5, ((BCC, 0.3 * J), (1.0, J)), "B32", 227, 4),
        ("fcc", 0.5, ((FCC, J), (1.0, -0.2 * J)), "L1_0", 123, 2),
        ("fcc", 0.25, ((FCC, J), (1.0, -0.2 * J)), "L1_2", 221, 4),
        ("fcc", 0.75, ((FCC, J), (1.0, -0.2 * J)), "L1_2", 221, 4),
        ("fcc", 0.25, ((FCC, J), (1.0, 0.2 * J)), "D0_22", 139, 4),
        ("fcc", 0.5, ((1.0, J),), "L1_1", 166, 2),
        ("sc", 0.5, ((1.0, J),), "rock salt", 225, 2),
        ("sc", 0.5, ((1.0, -J), (np.sqrt(2), J)), "layered", 123, 2),
        ("sc", 0.5, ((1.0, 0.0), (np.sqrt(2), J), (np.sqrt(3), -J)), "columnar", 123, 2),
        ("sc", 0.5, ((1.0, 0.5 * J), (np.sqrt(2), J)), "columnar", 123, 2),
    ],
)
def test_known_structures(
    kind: str,
    c: float,
    shells: tuple[tuple[float, float], ...],
    name: str,
    space_group: int,
    atoms: int,
) -> None:
    """Waves generate the ground state that the pair energies are known to have."""
    model = exchange(*[(4.0 * distance, value) for distance, value in shells])
    mixture = alloy(crystal(kind), {"Cu": 1 - c, "Au": c})
    structures = generated(model, mixture)
    best = structures[0]
    tied = [s.name for s in structures if s.expanded_energy < best.expanded_energy + 1e-9]
    assert name in tied
    chosen = structures[tied.index(name)]
    assert f"({space_group})" in chosen.space_group
    assert chosen.sublattice_space_group == space_group
    assert len(chosen.atoms) == atoms
    assert chosen.atoms.symbols.count("Au") == pytest.approx(c * atoms)


def test_pair_expansion_is_exact_for_pairs() -> None:
    model = exchange((4.0 * FCC, J), (4.0, -0.01))
    mixture = alloy(crystal("fcc"), {"Cu": 0.75, "Au": 0.25})
    structures = generated(model, mixture)
    assert len(structures) > 3
    np.testing.assert_allclose(
        [item.expanded_energy / mixture.n_sites for item in structures],
        ordered_energies(structures, model),  # type: ignore[arg-type]
        atol=1e-12,
    )


def test_primitive_cell_has_the_supercells_energy() -> None:
    """The written crystal is the one that was evaluated."""
    model = exchange((4.0 * BCC, J), (4.0, 0.9 * J))
    for item in generated(model, alloy(crystal("bcc"), {"Cu": 0.75, "Au": 0.25})):
        small = Mixture.from_elements(item.atoms, {})
        energy = model.evaluate(small).energy / len(item.atoms)
        assert energy == pytest.approx(item.expanded_energy / item.mixture.n_sites, abs=1e-10)


def test_three_species() -> None:
    """Ag takes the second-neighbour sublattices of bcc where Cu and Au fill the first: Heusler."""
    v1, v2 = np.zeros((3, 3)), np.zeros((3, 3))
    v1[0, 1] = v1[1, 0] = v1[0, 2] = v1[2, 0] = -0.05
    v2[1, 2] = v2[2, 1] = -0.03
    model = PairModel((29, 79, 47), {4.0 * BCC: v1, 4.0: v2}, np.zeros(3))
    mixture = alloy(crystal("bcc"), {"Cu": 0.5, "Au": 0.25, "Ag": 0.25})
    search = search_ordering(mixture, model, "Cu", np.random.default_rng(0), seeds=4)  # type: ignore[arg-type]
    per_site = search.energy / 16
    # Cu has 4 Au and 4 Ag around it; Au has 6 Ag at the second distance.
    assert per_site == pytest.approx(-0.5 * 8 * 0.05 - 0.25 * 6 * 0.03)
    assert min(item.expanded_energy for item in generated(model, mixture)) == pytest.approx(
        search.energy
    )


def test_composition_that_does_not_fit() -> None:
    with pytest.raises(InputError, match="cannot hold this composition"):
        generated(exchange((4.0, J)), alloy(crystal("sc"), {"Cu": 0.7, "Au": 0.3}))


def test_discretise_sees_ties() -> None:
    score = np.array([[0.0, 1.0], [0.0, 0.5], [0.0, 0.5], [0.0, 0.0]])
    chosen, unique = discretise(score, np.array([3, 1]))
    assert chosen.tolist() == [1, 0, 0, 0]
    assert unique
    assert not discretise(score, np.array([2, 2]))[1]
    with pytest.raises(InputError, match="repeat the cell"):
        site_counts(np.array([0.5, 0.5]), 3, "Cu")


def test_path_of_pairs_is_a_parabola() -> None:
    """E(eta) = E(0) + eta^2 (E(1) - E(0)) for pairs; its derivative agrees."""
    model = exchange((4.0 * BCC, J), (4.0, 0.01))
    mixture = alloy(crystal("bcc"), {"Cu": 0.5, "Au": 0.5})
    chosen = generated(model, mixture)[0].chosen
    points = ordering_path(mixture, model, "Cu", chosen, np.linspace(0, 1, 5))  # type: ignore[arg-type]
    gain = points[-1].energy - points[0].energy
    assert gain < 0
    for point in points:
        assert point.energy == pytest.approx(points[0].energy + gain * point.eta**2, abs=1e-12)
        assert point.derivative == pytest.approx(2 * gain * point.eta, abs=1e-12)
    assert points[0].entropy == pytest.approx(kB * np.log(2))
    assert points[-1].entropy == 0.0


def test_bragg_williams_transition() -> None:
    """The order of the path vanishes at the temperature of the ordering wave."""
    model = exchange((4.0 * BCC, J))
    mixture = alloy(crystal("bcc"), {"Cu": 0.5, "Au": 0.5})
    hessian = model.hessian(mixture, "Cu")
    critical = ordering_waves(pair_interactions(hessian))[0].critical_temperature
    chosen = generated(model, mixture)[0].chosen
    points = ordering_path(mixture, model, "Cu", chosen, np.linspace(0, 1, 201))  # type: ignore[arg-type]
    assert equilibrium_order(points, 1.01 * critical) == 0.0
    assert equilibrium_order(points, 0.97 * critical) > 0.2
    # eta = tanh(eta Tc / T), Bragg and Williams 1934.
    eta = equilibrium_order(points, 0.7 * critical)
    assert eta == pytest.approx(np.tanh(eta / 0.7), abs=0.01)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("kind", "repeat"), [("fcc", (1, 2, 2)), ("bcc", (3, 2, 1))])
def test_search_equals_enumeration(kind: str, repeat: tuple[int, int, int], seed: int) -> None:
    """Random interactions of three shells: the search finds the lowest of all arrangements."""
    rng = np.random.default_rng(seed)
    distances = (BCC, 1.0, np.sqrt(2)) if kind == "bcc" else (FCC, 1.0, np.sqrt(1.5))
    model = exchange(
        *[(4.0 * d, j) for d, j in zip(distances, rng.normal(0, 0.05, 3), strict=True)]
    )
    atoms = crystal(kind, repeat)
    n, few = len(atoms), len(atoms) // (2 + 2 * (seed % 2))
    mixture = alloy(atoms, {"Cu": 1 - few / n, "Au": few / n})
    matrix = model.matrix(mixture)
    lowest = np.inf
    for sites in combinations(range(n), few):
        p = np.eye(2)[np.isin(np.arange(n), sites).astype(int)]
        field = model.onsite + 0.5 * np.einsum("iajb,jb->ia", matrix, p)
        lowest = min(lowest, float((p * field).sum()))
    found = search_ordering(mixture, model, "Cu", np.random.default_rng(seed), seeds=4, steps=40)  # type: ignore[arg-type]
    assert found.energy == pytest.approx(lowest, abs=1e-9)
    assert model.evaluate(found.mixture).energy == pytest.approx(found.energy, abs=1e-9)


def test_projection_keeps_rows_and_columns() -> None:
    rng = np.random.default_rng(0)
    counts = np.array([6, 0, 2])
    p = project(rng.normal(scale=300.0, size=(3, 8, 3)), counts)
    np.testing.assert_allclose(p.sum(axis=-1), 1.0, atol=1e-12)
    np.testing.assert_allclose(p.sum(axis=-2), np.tile(counts, (3, 1)), atol=1e-6)


def test_brass_orders_as_b2(potential: AlchemicalPotential) -> None:
    """SevenNet-0: Cu-Zn on bcc orders at H, and B2 lies below the mean field."""
    if potential.name != "sevennet-0":
        pytest.skip("needs trained weights")
    mixture = Mixture.from_elements(
        bulk("Cu", "bcc", a=2.97, cubic=True).repeat(2), {"Cu": {"Cu": 0.5, "Zn": 0.5}}
    )
    hessian = occupancy_hessian(mixture, potential)
    found = pair_interactions(hessian)
    waves = ordering_waves(found)
    assert waves[0].label == "H"
    structures = ordered_structures(hessian, found, waves)
    energies = ordered_energies(structures, potential)
    assert structures[int(energies.argmin())].name == "B2"
    assert energies.min() < hessian.energy / mixture.n_sites
    # The path ends at the ordered structure, and its derivative is the slope of its energy.
    points = ordering_path(
        mixture, potential, "Cu", structures[0].chosen, [0.0, 0.499, 0.5, 0.501, 1.0]
    )
    assert points[0].energy == pytest.approx(hessian.energy / mixture.n_sites, abs=1e-9)
    assert points[-1].energy == pytest.approx(energies[0], abs=1e-9)
    slope = (points[3].energy - points[1].energy) / 0.002
    assert points[2].derivative == pytest.approx(slope, rel=1e-4)
