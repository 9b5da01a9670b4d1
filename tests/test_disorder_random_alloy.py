"""The random alloy against averages over every arrangement, and its derivatives."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, relax
from alchemlip.disorder.equation_of_state import equation_of_state, with_volume
from alchemlip.disorder.fluctuations import occupancy_covariance, stencil
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.disorder.random_alloy import (
    RandomAlloyPotential,
    disordered_groups,
    random_alloy,
    second_order_energy,
)
from alchemlip.disorder.supercells import supercell_repeats
from alchemlip.testing import deformed
from conftest import POTENTIALS, loaded
from pair_models import PairBackend, pair_potential

PAIR = pair_potential(cutoff=7.0)


def arrangements(mixture: Mixture) -> list[tuple[Mixture, float]]:
    """Return every way to fill the one group with atoms, with its independent probability."""
    group = mixture.groups[0]
    found = []
    for choice in itertools.product(range(len(group.components)), repeat=len(group.sites)):
        numbers = mixture.numbers.copy()
        numbers[group.sites] = [group.species[k, c] for k, c in enumerate(choice)]
        weight = float(np.prod(group.composition[list(choice)]))
        found.append((Mixture(numbers, mixture.positions, mixture.cell, mixture.pbc), weight))
    return found


def averages(mixture: Mixture, potential: AlchemicalPotential) -> tuple[float, float]:
    """Return the mean energy over all arrangements, and over those of exact composition."""
    group = mixture.groups[0]
    every, exact = 0.0, []
    for arrangement, weight in arrangements(mixture):
        energy = potential.evaluate(arrangement).energy
        every += weight * energy
        numbers = arrangement.numbers[group.sites]
        counts = [(numbers == z).sum() for z in group.species[0]]
        if np.allclose(counts, len(group.sites) * group.composition):
            exact.append(energy)
    return every, float(np.mean(exact))


BINARY = {"Na": {"Na": 0.25, "K": 0.75}}
CELLS = {
    "rock salt": Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6, cubic=True), BINARY),
    # Inequivalent sites and no symmetry; images of a site lie within the range.
    "low symmetry": Mixture.from_elements(
        deformed(bulk("NaCl", "rocksalt", 5.4, cubic=True), 7), BINARY
    ),
    "every site": Mixture.from_elements(
        bulk("Na", "fcc", 5.0, cubic=True), {"Na": {"Na": 0.5, "Au": 0.5}}
    ),
    "three species": Mixture.from_elements(
        bulk("NaCl", "rocksalt", 5.6, cubic=True), {"Na": {"Na": 0.25, "K": 0.25, "Rb": 0.5}}
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_second_order_is_the_exact_average(name: str) -> None:
    """Pair potential, linear in each occupancy: all arrangements of 4 sites, both ensembles."""
    mixture = CELLS[name]
    hessian = occupancy_hessian(mixture, PAIR)
    independent, exact = averages(mixture, PAIR)
    free = hessian.energy + second_order_energy(hessian)
    fixed = hessian.energy + second_order_energy(hessian, exact_composition=True)
    assert free == pytest.approx(independent, abs=1e-9)
    assert fixed == pytest.approx(exact, abs=1e-9)
    # The terms are there: without them the mean field is off.
    assert abs(hessian.energy - independent) > 1e-3
    assert abs(hessian.energy - exact) > 1e-3


@pytest.mark.parametrize("order", ["second", "single_site"])
@pytest.mark.parametrize("name", CELLS)
def test_random_alloy_of_a_finite_cell(name: str, order) -> None:  # type: ignore[no-untyped-def]
    """The differences in the occupancies of one site give the same."""
    mixture = CELLS[name]
    alloy = random_alloy(mixture, PAIR, repeats=(1, 1, 1), exact_composition=True, order=order)
    assert alloy.random_energy == pytest.approx(averages(mixture, PAIR)[1], abs=1e-8)


def test_supercell_of_a_finite_cell() -> None:
    """One mixed atom a cell, four in the supercell: all arrangements of these."""
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6), {"Na": {"Na": 0.5, "K": 0.5}})
    alloy = random_alloy(mixture, PAIR, repeats=(2, 2, 1), exact_composition=True)
    exact = averages(mixture.repeat((2, 2, 1)), PAIR)[1]
    assert 4 * alloy.random_energy == pytest.approx(exact, abs=1e-8)


def test_infinite_alloy_of_pairs_is_the_mean_field() -> None:
    """A pair potential has no on-site term where a site's images are out of reach."""
    alloy = random_alloy(CELLS["rock salt"], PAIR)
    assert alloy.fluctuation_energy == pytest.approx(0.0, abs=1e-8)
    assert alloy.trials[-1].n_sites > alloy.trials[0].n_sites


class SquareBackend(PairBackend):
    """e_i = w (sum of neighbours' numbers)^2: its average needs the on-site term of a neighbour."""

    def node_energies(self, graph, edge_vectors, occupancies, form):  # type: ignore[no-untyped-def]
        tables = graph.tables(form)
        r = tables.on_edges(edge_vectors).norm(dim=1)
        smooth = (1.0 - (r / self.cutoff) ** 2).clamp(min=0.0) ** 4
        weights = tables.edge_weights(occupancies)
        sent = smooth * graph.node_number[tables.sender].double() / 20.0
        if weights is not None:
            sent = sent * weights[:, 0]
        density = torch.zeros(len(occupancies), dtype=self.dtype)
        return density.index_add(0, tables.receiver, sent) ** 2


SQUARE = AlchemicalPotential(SquareBackend(lambda a, b, d: d[:, 0], 3.2, (11, 17, 19, 37)))


def test_quadratic_potential_by_hand() -> None:
    """Simple cubic, density of six neighbours squared: on-site term 6 w^2 var(z), per site."""
    a = 3.0
    mixture = Mixture.from_elements(Atoms("Na", cell=[a] * 3, pbc=True), {"Na": BINARY["Na"]})
    w = (1.0 - (a / 3.2) ** 2) ** 4 / 20.0
    p, z = np.array([0.25, 0.75]), np.array([11.0, 19.0])
    variance = p @ z**2 - (p @ z) ** 2
    alloy = random_alloy(mixture, SQUARE)
    assert alloy.mean_field_energy == pytest.approx((6 * w * (p @ z)) ** 2, rel=1e-12)
    assert alloy.fluctuation_energy == pytest.approx(6 * w**2 * variance, rel=1e-7)


def test_stencil_spans_the_covariance() -> None:
    """sum_m f_m d_m d_m^T = C / 2 with d = x - p, on the simplex; one-hot averages to p."""
    for weights in ([0.3, 0.7], [0.2, 0.5, 0.3], [1e-4, 1 - 1e-4], [0.5, 0.0, 0.5]):
        p = np.array(weights)
        factors, x = stencil(p, "second", "float64")
        d = x - p
        np.testing.assert_allclose(
            np.einsum("m,ma,mb->ab", factors, d, d), occupancy_covariance(p), atol=1e-9
        )
        assert (x >= 0).all()
        assert (x[:, p == 0] == 0).all()
        np.testing.assert_allclose(x.sum(axis=1), 1.0, atol=1e-12)
        factors, x = stencil(p, "single_site", "float64")
        np.testing.assert_allclose(factors @ x, p, atol=1e-12)
    for order in ("second", "single_site"):
        assert len(stencil(np.array([1.0, 0.0]), order, "float64")[0]) == 0  # type: ignore[arg-type]


def test_pure_ends_have_no_fluctuation(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(bulk("Cu", "fcc", 3.7), {"Cu": {"Cu": 1.0, "Au": 0.0}})
    alloy = random_alloy(mixture, potential, repeats=(3, 3, 3))
    assert alloy.fluctuation_energy == 0.0


def test_hessian_and_differences_agree(potential: AlchemicalPotential) -> None:
    """SevenNet-0, three species: exact rows against the differences in one site's occupancies."""
    atoms = bulk("NaCl", "rocksalt", 5.8)
    mixture = Mixture.from_elements(atoms, {"Na": {"Li": 0.25, "Na": 0.25, "K": 0.5}})
    alloy = random_alloy(mixture, potential, repeats=(2, 2, 1), exact_composition=True)
    hessian = occupancy_hessian(mixture.repeat((2, 2, 1)), potential)
    exact = second_order_energy(hessian, exact_composition=True)
    assert 4 * alloy.fluctuation_energy == pytest.approx(exact, abs=1e-5)


def test_float32_is_good_to_a_fraction_of_a_millielectronvolt() -> None:
    single, double = (loaded(POTENTIALS[0], dtype) for dtype in ("float32", "float64"))
    mixture = Mixture.from_elements(bulk("Cu", "fcc", 3.8), {"Cu": {"Cu": 0.5, "Au": 0.5}})
    low, high = (random_alloy(mixture, item, repeats=(3, 3, 3)) for item in (single, double))
    assert low.fluctuation_energy == pytest.approx(high.fluctuation_energy, abs=5e-4)
    assert abs(high.fluctuation_energy) > 2e-3


def low_symmetry() -> Mixture:
    """Two inequivalent disordered sites, and equivalent ones, none on a special position."""
    atoms = Atoms(
        "Na4Cl2",
        scaled_positions=[
            [0.02, 0, 0], [0.98, 0, 0], [0.5, 0.55, 0.1], [0.5, 0.45, 0.9], [0, 0.5, 0.45],
            [0, 0.5, 0.55],
        ],
        cell=[6.0, 5.7, 6.4],
        pbc=True,
    )  # fmt: skip
    atoms.positions[1] += [0, 0, 3.0]
    atoms.positions[0] += [0, 0, 3.4]
    return Mixture.from_elements(atoms, {"Na": {"Na": 0.3, "K": 0.7}})


@pytest.mark.parametrize("make", [low_symmetry], ids=["low symmetry"])
def test_forces_and_stress_are_derivatives(make) -> None:  # type: ignore[no-untyped-def]
    """Against central differences of E_random itself."""
    square = AlchemicalPotential(SquareBackend(lambda a, b, d: d[:, 0], 5.0, (11, 17, 19, 37)))
    mixture = make()
    alloy = random_alloy(mixture, square, repeats=(2, 2, 2), forces=True, stress=True)
    assert abs(alloy.fluctuation_energy) > 1e-4

    def energy(atoms: Atoms) -> float:
        # Displacements below the tolerance of the symmetry search would go unnoticed.
        moved = mixture.with_geometry(atoms)
        return random_alloy(moved, square, repeats=(2, 2, 2), symprec=1e-6).random_energy

    rng = np.random.default_rng(0)
    direction, strain = rng.normal(size=(mixture.n_sites, 3)), rng.normal(size=(3, 3))
    strain = strain + strain.T
    h, found = 1e-4, []
    for sign in (1, -1):
        moved = mixture.to_atoms()
        moved.positions += sign * h * direction
        bent = mixture.to_atoms()
        bent.set_cell(bent.cell.array @ (np.eye(3) + sign * h * strain), scale_atoms=True)
        found.append((energy(moved), energy(bent)))
    slopes = (np.array(found[0]) - np.array(found[1])) / (2 * h)
    assert alloy.forces is not None
    assert alloy.stress is not None
    assert -(alloy.forces * direction).sum() == pytest.approx(slopes[0], abs=1e-6)
    volume = mixture.to_atoms().get_volume()
    voigt = alloy.stress * [1, 1, 1, 2, 2, 2] * volume
    components = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]
    assert voigt @ components == pytest.approx(slopes[1], abs=1e-6)
    # The disorder's own part is not lost in the mean field's.
    mean_field = square.evaluate(mixture)
    assert np.abs(alloy.forces - mean_field.forces).max() > 1e-5
    assert np.abs(alloy.stress - mean_field.stress).max() > 1e-7


def test_relaxed_random_alloy(potential: AlchemicalPotential) -> None:
    """Relaxed volume and bulk modulus of E_random, against an equation of state."""
    mixture = Mixture.from_elements(bulk("Cu", "fcc", 3.86), {"Cu": {"Cu": 0.5, "Au": 0.5}})
    random = RandomAlloyPotential(potential, (3, 3, 3))
    result = relax(mixture, random, cell="volume", smax=0.02, keep_symmetry=True)
    assert result.converged
    volume = abs(np.linalg.det(result.mixture.cell))
    fit = equation_of_state(result.mixture, random, strain=0.03, points=5)
    assert fit.volume == pytest.approx(volume, rel=1e-3)
    plain = relax(mixture, potential, cell="volume", smax=0.02)
    assert abs(volume / abs(np.linalg.det(plain.mixture.cell)) - 1) > 3e-3
    # B = V d2E/dV2 from the stress of E_random.
    pressures = [
        -random.evaluate(with_volume(result.mixture, s * volume)).stress[:3].mean()
        for s in (0.99, 1.01)
    ]
    modulus = (pressures[0] - pressures[1]) / 0.02 * 160.21766
    assert fit.bulk_modulus == pytest.approx(modulus, rel=0.02)


def test_cluster_by_hand() -> None:
    """Three sites in a row, density squared: the neighbours of a fluctuating site feel it."""
    atoms = Atoms("Na3", positions=[[0, 0, 0], [2.5, 0, 0], [5.0, 0, 0]])
    mixture = Mixture.from_elements(atoms, {"Na": BINARY["Na"]})
    alloy = random_alloy(mixture, SQUARE, forces=True)
    w = (1.0 - (2.5 / 3.2) ** 2) ** 4 / 20.0
    p, z = np.array([0.25, 0.75]), np.array([11.0, 19.0])
    variance = p @ z**2 - (p @ z) ** 2
    # The ends have one neighbour, the middle two.
    assert alloy.fluctuation_energy == pytest.approx(4 * w**2 * variance, rel=1e-7)
    assert alloy.repeats == (1, 1, 1)
    assert alloy.stress is None
    assert np.abs(alloy.forces.sum(axis=0)).max() < 1e-9  # type: ignore[union-attr]


def test_supercells_grow_evenly() -> None:
    cubic = CELLS["rock salt"]
    assert list(supercell_repeats(cubic, 5.0, 300)) == [(1, 1, 1), (2, 2, 2), (3, 3, 3)]
    flat = Mixture.from_elements(
        Atoms("Na", cell=[3, 3, 9], pbc=(True, True, False)), {"Na": BINARY["Na"]}
    )
    assert list(supercell_repeats(flat, 5.0, 20)) == [(2, 2, 1), (3, 3, 1), (4, 4, 1)]


def test_two_disordered_groups(potential: AlchemicalPotential) -> None:
    """Occupants of different groups are independent: their on-site terms add."""
    mixture = Mixture.from_elements(
        bulk("NaCl", "rocksalt", 5.9), {"Na": {"Na": 0.5, "K": 0.5}, "Cl": {"Cl": 0.5, "Br": 0.5}}
    )
    both, one, other = (
        random_alloy(mixture, potential, repeats=(2, 2, 2), groups=names).fluctuation_energy
        for names in (None, ["Na"], ["Cl"])
    )
    assert both == pytest.approx(one + other, abs=1e-9)
    assert disordered_groups(mixture) == ("Na", "Cl")


def refused(words: str, mixture: Mixture, **options: object) -> None:
    with pytest.raises(InputError, match=words):
        random_alloy(mixture, PAIR, **options)  # type: ignore[arg-type]


def test_bad_input() -> None:
    salt = bulk("NaCl", "rocksalt", 5.6)
    mixture = Mixture.from_elements(salt, {"Na": {"Na": 0.3, "K": 0.7}})
    exact = {"exact_composition": True}
    refused("cannot hold 0.3 Na exactly", mixture, repeats=(2, 2, 1), **exact)
    refused("needs a finite cell", mixture, **exact)
    refused("infinite alloy", mixture, repeats=(2, 2, 1), forces=True, **exact)
    refused("3.23 A wide, less than .* 7 A: take more", mixture, repeats=(1, 2, 2))
    refused("up to 8 sites", mixture, max_sites=8)
    refused("unknown order", mixture, order="third")
    refused("one species", Mixture.from_elements(salt, {"Na": {"K": 1.0}}))
    refused("concerted", Mixture.from_elements(salt, BINARY, correlation="concerted"))
    refused("no sites are mixed, so nothing is disordered", Mixture.from_atoms(salt))
    with pytest.raises(InputError, match="float64"):
        RandomAlloyPotential(
            AlchemicalPotential(
                PairBackend(lambda a, b, d: d[:, 0], 3.0, (11,), dtype=torch.float32)
            ),
            (1, 1, 1),
        )
    with pytest.raises(InputError, match="least at an end"):
        equation_of_state(Mixture.from_elements(salt, BINARY), SQUARE)
