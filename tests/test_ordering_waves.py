"""Pair interactions, ordering waves and short-range order against models with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.units import kB

from alchemlip.disorder.fluctuations import occupancy_covariance
from alchemlip.disorder.kcm import (
    binary_alpha,
    correlation_matrix,
    pair_correlations,
    short_range_order,
    zone_mesh,
)
from alchemlip.disorder.ordering import (
    covariance_root,
    lowest_interpolated_wave,
    ordering_waves,
    stability_branches,
)
from alchemlip.disorder.pair_interactions import (
    PairInteractions,
    pair_interactions,
)
from alchemlip.disorder.size_effect import separation_eigenvalue
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from exchange_models import PairModel, alloy, exchange

J = 0.05
NEAR = {"bcc": np.sqrt(3) / 2, "fcc": np.sqrt(0.5), "sc": 1.0}
NEIGHBOURS = {"bcc": 8, "fcc": 12, "sc": 6}


def interactions(
    kind: str, c: float, *shells: tuple[float, float], repeat: int = 2, a: float = 4.0
) -> PairInteractions:
    """A cubic crystal with J at distances given in units of the lattice parameter."""
    mixture = alloy(bulk("Cu", kind, a=a, cubic=True).repeat(repeat), {"Cu": 1 - c, "Au": c})
    model = exchange(*[(a * distance, value) for distance, value in shells])
    return pair_interactions(model.hessian(mixture, "Cu"))


@pytest.mark.parametrize("kind", ["bcc", "fcc", "sc"])
def test_shells(kind: str) -> None:
    """J comes back by shell, images of a small cell told apart, whatever else pairs carry."""
    found = interactions(kind, 0.5, (NEAR[kind], J)).shells("Cu", "Au")
    assert found[0].distance == pytest.approx(4.0 * NEAR[kind])
    assert found[0].multiplicity == NEIGHBOURS[kind]
    assert found[0].interaction == pytest.approx(J, abs=1e-12)
    assert found[0].spread < 1e-12
    assert all(abs(shell.interaction) < 1e-12 for shell in found[1:])


@pytest.mark.parametrize(
    ("kind", "label", "largest"), [("bcc", "H", -8.0), ("fcc", "X", -4.0), ("sc", "R", -6.0)]
)
@pytest.mark.parametrize("c", [0.5, 0.25])
def test_ordering_wave_and_temperature(kind: str, label: str, largest: float, c: float) -> None:
    """Unlike neighbours: B2 at H, the L1_0 family at X, rock salt at R; T_c = -c(1-c) V/k_B."""
    model = interactions(kind, c, (NEAR[kind], J))
    first = ordering_waves(model)[0]
    assert first.label == label
    assert first.commensurate
    assert not first.separates
    v = model.exchange_fourier(first.star, "Cu", "Au")[:, 0, 0]
    np.testing.assert_allclose(v, largest * J, atol=1e-12)
    assert first.eigenvalue == pytest.approx(c * (1 - c) * largest * J, abs=1e-12)
    assert first.critical_temperature == pytest.approx(-c * (1 - c) * largest * J / kB)
    lowest = lowest_interpolated_wave(model)
    assert lowest.eigenvalue == pytest.approx(first.eigenvalue, abs=1e-9)


@pytest.mark.parametrize("kind", ["bcc", "fcc", "sc"])
def test_like_neighbours_separate(kind: str) -> None:
    first = ordering_waves(interactions(kind, 0.5, (NEAR[kind], -J)))[0]
    assert first.label == "G"
    assert first.separates
    assert first.critical_temperature == pytest.approx(0.25 * NEIGHBOURS[kind] * J / kB)


def test_fourier_is_the_lattice_sum() -> None:
    """V(k) is real, even, and its analytic sum on fcc: nearest neighbours fit into the cell."""
    a = 4.0
    model = interactions("fcc", 0.3, (NEAR["fcc"], J))
    k = np.random.default_rng(0).uniform(-0.5, 0.5, (20, 3))
    v = model.exchange_fourier(k, "Cu", "Au")[:, 0, 0]
    x, y, z = (model.lattice.cartesian(k) * a / 2).T
    expected = 4 * J * (np.cos(x) * np.cos(y) + np.cos(y) * np.cos(z) + np.cos(z) * np.cos(x))
    np.testing.assert_allclose(v, expected, atol=1e-12)
    np.testing.assert_allclose(model.fourier(-k), model.fourier(k).conj(), atol=1e-12)
    matrix = model.fourier(k)
    np.testing.assert_allclose(matrix, matrix.conj().transpose(0, 2, 1), atol=1e-14)


def test_commensurate_waves_are_exact() -> None:
    """At waves of the supercell V(k) is the quadratic form of the Hessian, folded or not."""
    a = 4.0
    mixture = alloy(bulk("Cu", "fcc", a=a, cubic=True).repeat((1, 2, 2)), {"Cu": 0.5, "Au": 0.5})
    model = exchange((a * NEAR["fcc"], J), (a, 0.03), (a * np.sqrt(1.5), -0.02))
    hessian = model.hessian(mixture, "Cu")
    found = pair_interactions(hessian)
    full = hessian.full()
    m = len(full)
    assert len(found.lattice.commensurate_waves()) == m
    # The images of a site of its own belong to the site.
    full[np.arange(m), :, np.arange(m), :] = 0.0
    waves = found.lattice.commensurate_waves()
    phases = np.exp(1j * found.lattice.positions @ found.lattice.cartesian(waves).T)
    expected = np.einsum("iq,iajb,jq->qab", phases.conj(), full, phases) / m
    np.testing.assert_allclose(found.fourier(waves), expected, atol=1e-11)


def test_two_sublattices() -> None:
    """Honeycomb-like pairs of sublattices: zinc blende's two fcc sublattices mixed as one group."""
    atoms = bulk("CuAu", "zincblende", a=5.0, cubic=True).repeat(2)
    atoms.numbers[:] = 29
    mixture = alloy(atoms, {"Cu": 0.5, "Au": 0.5})
    model = exchange((5.0 * np.sqrt(3) / 4, J))
    found = pair_interactions(model.hessian(mixture, "Cu"))
    assert found.lattice.n_sublattices == 2
    first = ordering_waves(found)[0]
    # The zinc-blende order itself is a wave of k = 0 that tells the sublattices apart.
    assert np.abs(first.k).max() == 0.0
    assert not first.separates
    assert first.critical_temperature == pytest.approx(0.25 * 4 * J / kB)
    assert first.amplitudes[0, 0, 0] == pytest.approx(-first.amplitudes[0, 0, 1])


def ternary(seed: int = 0) -> tuple[PairModel, Mixture]:
    """Three species on bcc with random pair energies of two shells."""
    rng = np.random.default_rng(seed)
    pairs = {}
    for distance in (3.0 * NEAR["bcc"], 3.0):
        v = rng.normal(scale=0.05, size=(3, 3))
        pairs[distance] = v + v.T
    model = PairModel((29, 79, 47), pairs, rng.normal(size=3))
    atoms = bulk("Cu", "bcc", a=3.0, cubic=True).repeat(2)
    return model, alloy(atoms, {"Cu": 0.5, "Au": 0.25, "Ag": 0.25})


def test_several_species() -> None:
    """T_c is where the Hessian of the free energy, E - TS, becomes singular."""
    model, mixture = ternary()
    hessian = model.hessian(mixture, "Cu")
    found = pair_interactions(hessian)
    lowest = ordering_waves(found)[0].eigenvalue
    assert lowest < 0
    full, p = hessian.full(), hessian.composition
    m = len(full)
    full[np.arange(m), :, np.arange(m), :] = 0.0
    entropy = np.kron(np.eye(m), np.diag(1.0 / p))
    # Variations that keep every site's sum.
    basis = np.kron(np.eye(m), np.linalg.svd(np.ones((1, 3)))[2][1:])
    stiffness = basis @ (full.reshape(3 * m, -1) - lowest * entropy) @ basis.T
    values = np.linalg.eigvalsh(stiffness)
    assert abs(values[0]) < 1e-10 * values[-1]


def test_covariance() -> None:
    p = np.array([0.2, 0.0, 0.8])
    root = covariance_root(p)
    np.testing.assert_allclose(root @ root, occupancy_covariance(p), atol=1e-14)
    np.testing.assert_allclose(occupancy_covariance(p).sum(axis=0), 0.0, atol=1e-15)


def test_kcm_sum_rule() -> None:
    """alpha_0 = 1: alpha(k) has the mean 1 over the zone."""
    model = interactions("fcc", 0.25, (NEAR["fcc"], J), (1.0, -0.01))
    alpha = binary_alpha(model, 1500.0, zone_mesh(16))
    assert alpha.mean() == pytest.approx(1.0, abs=1e-12)
    assert alpha.min() > 0
    # It is largest where the crystal is about to order.
    assert binary_alpha(model, 1500.0, ordering_waves(model)[0].star) == pytest.approx(
        [alpha.max()] * 3
    )


def test_kcm_high_temperature() -> None:
    """alpha = -c(1-c) J / k_B T to first order: the exact high-temperature limit."""
    c, temperature = 0.25, 1e6
    model = interactions("bcc", c, (NEAR["bcc"], J), (1.0, -0.02))
    shells = short_range_order(model, temperature)["Cu", "Au"]
    expected = -c * (1 - c) * np.array([J, -0.02]) / (kB * temperature)
    found = np.array([shell.alpha for shell in shells[:2]])
    np.testing.assert_allclose(found, expected, rtol=0.01)


def test_kcm_of_a_chain() -> None:
    """A chain: the zone average is an integral in closed form, alpha_n a geometric series."""
    atoms = bulk("Cu", "sc", a=3.0).repeat((1, 1, 32))
    atoms.set_cell(np.diag([30.0, 30.0, 96.0]))
    mixture = alloy(atoms, {"Cu": 0.5, "Au": 0.5})
    model = pair_interactions(exchange((3.0, J)).hessian(mixture, "Cu"))
    temperature = 400.0
    shells = short_range_order(model, temperature, max_distance=13.0, mesh=32)["Cu", "Au"]
    along = [shell.alpha for shell in shells]
    # 1/sqrt(1 - x^2) is the mean of 1/(1 + x cos k); its Fourier series is geometric.
    x = 2 * 0.25 * J / (kB * temperature)
    ratio = (np.sqrt(1 - x**2) - 1) / x
    np.testing.assert_allclose(along, ratio ** np.arange(1, 5), atol=1e-6)


def test_kcm_of_several_species() -> None:
    """What one species attracts, the others lose; a site by itself has the covariance C."""
    model, mixture = ternary()
    found = pair_interactions(model.hessian(mixture, "Cu"))
    temperature = 3.0 * ordering_waves(found)[0].critical_temperature
    correlations, _ = pair_correlations(found, temperature, mesh=8)
    np.testing.assert_allclose(correlations.sum(axis=1), 0.0, atol=1e-12)
    waves = zone_mesh(8)
    own = correlation_matrix(found, temperature, waves).mean(axis=0).real
    root = covariance_root(found.composition)
    np.testing.assert_allclose(
        root @ own @ root, occupancy_covariance(found.composition), atol=1e-12
    )
    shells = short_range_order(found, temperature, max_distance=3.1, mesh=8)
    assert set(shells) == {("Cu", "Au"), ("Cu", "Ag"), ("Au", "Ag")}
    assert [shell.multiplicity for shell in shells["Cu", "Ag"]] == [8, 6]


def test_kcm_refuses_low_temperatures() -> None:
    model = interactions("bcc", 0.5, (NEAR["bcc"], J))
    with pytest.raises(InputError, match="above the mean-field transition"):
        short_range_order(model, 1000.0)


def test_refused_inputs() -> None:
    model = exchange((3.0, J))
    one = alloy(bulk("Cu", "sc", a=3.0), {"Cu": 0.5, "Au": 0.5})
    with pytest.raises(InputError, match="own images"):
        pair_interactions(model.hessian(one, "Cu"))
    pure = alloy(bulk("Cu", "sc", a=3.0).repeat(2), {"Cu": 1.0, "Au": 0.0})
    with pytest.raises(InputError, match="nothing orders"):
        ordering_waves(pair_interactions(model.hessian(pure, "Cu")))


def test_kcm_knows_the_waves_of_the_supercell() -> None:
    """A triangular lattice orders at K = (1/3, 1/3, 0), which a mesh of 16 points does not hold."""
    layer = Atoms("Cu", cell=[3.0, 3.0, 12.0, 90, 90, 120], pbc=True)
    mixture = alloy(layer.repeat((3, 3, 1)), {"Cu": 0.5, "Au": 0.5})
    model = pair_interactions(exchange((3.0, J)).hessian(mixture, "Cu"))
    first = ordering_waves(model)[0]
    assert first.critical_temperature == pytest.approx(0.25 * 3 * J / kB)
    below = 0.999 * first.critical_temperature
    for function in (short_range_order, lambda *given: binary_alpha(*given, first.star)):
        with pytest.raises(InputError, match="above the mean-field transition at 435 K"):
            function(model, below)
    assert (binary_alpha(model, 1.001 * first.critical_temperature, first.star) > 100.0).all()


def test_alpha_of_a_wave_that_orders_first() -> None:
    """Between the waves of mesh and supercell V(k) may be lower still."""
    model = interactions("sc", 0.5, (1.0, J), (2.0, 0.8 * J), repeat=4)
    lowest = lowest_interpolated_wave(model, density=40)
    known = max(
        -stability_branches(model, waves).min() / kB
        for waves in (zone_mesh(2), model.lattice.commensurate_waves())
    )
    assert lowest.critical_temperature > 1.02 * known
    with pytest.raises(InputError, match=r"the interpolated V.k. orders by the wave"):
        binary_alpha(model, 1.01 * known, lowest.star, mesh=2)


def test_phase_separation_that_costs_energy() -> None:
    """c(1-c) V(0) > 0 of unlike neighbours: the null mode of equal changes is no wave."""
    model = interactions("bcc", 0.25, (NEAR["bcc"], J))
    assert separation_eigenvalue(model) == pytest.approx(0.25 * 0.75 * 8 * J, rel=1e-12)
    attracting = interactions("bcc", 0.25, (NEAR["bcc"], -J))
    assert separation_eigenvalue(attracting) == pytest.approx(-0.25 * 0.75 * 8 * J, rel=1e-12)


def test_sites_that_differ_have_no_transition() -> None:
    """The middle one of three sites has two neighbours, the others one."""
    atoms = Atoms("Cu3", [[0, 0, 0], [0, 0, 3], [0, 0, 6]], cell=[20, 20, 10], pbc=True)
    mixture = alloy(atoms.repeat((1, 1, 4)), {"Cu": 0.75, "Au": 0.25})
    model = pair_interactions(exchange((3.0, J)).hessian(mixture, "Cu"))
    for function in (ordering_waves, lowest_interpolated_wave, lambda m: short_range_order(m, 1e4)):
        with pytest.raises(InputError, match="not equivalent"):
            function(model)
