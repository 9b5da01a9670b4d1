"""Second derivatives in the occupancies of single sites: against differences, and by symmetry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture
from alchemlip.crystal.site_symmetry import site_symmetry
from alchemlip.disorder.hessian import OccupancyHessian, occupancy_hessian
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form
from alchemlip.testing import deformed
from conftest import PotentialCase
from crystals import example
from pair_models import PairBackend, pair_potential


def rock_salt(a: float = 5.9) -> Mixture:
    return Mixture.from_elements(
        bulk("NaCl", "rocksalt", a, cubic=True), {"Na": {"Na": 0.3, "K": 0.7}}
    )


def gradient_at(
    mixture: Mixture, potential: AlchemicalPotential, site: int, component: int, change: float
) -> np.ndarray:
    """dE/dp (M, K) of a mixture of one group, one occupancy moved by itself."""
    group = mixture.groups[0]
    graph = potential.graph([mixture.split_group(group.name)])
    k = len(group.components)
    leaf = graph.composition.clone()
    leaf[site * k + component] += change
    leaf.requires_grad_()
    (gradient,) = torch.autograd.grad(
        potential.energies(graph, composition=leaf).sum(), leaf, materialize_grads=True
    )
    return gradient.numpy().reshape(len(group.sites), k)


CELLS = {
    "rock salt": rock_salt(),
    "fcc": Mixture.from_elements(
        bulk("Cu", "fcc", 3.9, cubic=True), {"Cu": {"Cu": 0.4, "Au": 0.6}}
    ),
    "three species": Mixture.from_elements(
        deformed(example("NaCl"), 2), {"Na": {"Li": 0.2, "Na": 0.5, "K": 0.3}}
    ),
    "vacancy": Mixture.from_elements(
        deformed(example("NaCl"), 1), {"Cl": {"Cl": 0.8, "Br": 0.15, "Va": 0.05}}
    ),
}


@pytest.mark.parametrize("name", CELLS)
def test_rows_are_differences_of_the_gradient(name: str, potential: AlchemicalPotential) -> None:
    """Fourth-order differences of step 0.01, each occupancy moved by itself."""
    mixture = CELLS[name]
    hessian = occupancy_hessian(mixture, potential)
    assert hessian.method == "double_backward"
    full = hessian.full()
    h = 0.01
    for site in (0, len(hessian.sites) - 1):
        for component in range(len(hessian.species)):
            values = [
                gradient_at(mixture, potential, site, component, s * h) for s in (-2, -1, 1, 2)
            ]
            numerical = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
            scale = max(1.0, np.abs(numerical).max())
            # Symmetry turns some rows; constants rounded to float32 break rotations by 1e-7.
            np.testing.assert_allclose(full[site, component], numerical, atol=1e-6 * scale)


def test_double_backward_is_exact_for_every_potential(
    case: PotentialCase, any_potential: AlchemicalPotential, step: float
) -> None:
    """One row in a deformed cell, against a difference of fourth order."""
    step = 10 * step
    mixture = case.crystal("rock-salt").mixture()
    hessian = occupancy_hessian(mixture, any_potential)
    assert hessian.method == "double_backward", hessian.note
    values = [gradient_at(mixture, any_potential, 0, 1, s * step) for s in (-2, -1, 1, 2)]
    numerical = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
    scale = max(1.0, np.abs(numerical).max())
    np.testing.assert_allclose(hessian.full()[0, 1], numerical, atol=1e-5 * scale)


def test_symmetry_changes_nothing(potential: AlchemicalPotential) -> None:
    mixture = rock_salt().repeat((2, 1, 1))
    few = occupancy_hessian(mixture, potential)
    all_rows = occupancy_hessian(mixture, potential, symmetry=False)
    assert len(few.representatives) == 1
    assert few.multiplicities.tolist() == [8]
    assert len(all_rows.representatives) == 8
    np.testing.assert_allclose(few.full(), all_rows.full(), atol=1e-6)
    np.testing.assert_allclose(all_rows.full(), all_rows.full().transpose(2, 3, 0, 1), atol=1e-10)
    assert few.energy == pytest.approx(all_rows.energy, abs=1e-10)


def test_differences_agree_with_double_backward(potential: AlchemicalPotential) -> None:
    mixture = rock_salt()
    exact = occupancy_hessian(mixture, potential, method="double_backward")
    numerical = occupancy_hessian(mixture, potential, method="differences")
    assert numerical.method == "differences"
    np.testing.assert_allclose(numerical.rows, exact.rows, atol=1e-5)


def test_supercell_adds_up_to_the_cell(potential: AlchemicalPotential) -> None:
    """All sites of the supercell that are copies of one: the small cell's own row."""
    mixture = rock_salt()
    small = occupancy_hessian(mixture, potential).full()
    large = occupancy_hessian(mixture.repeat((1, 1, 2)), potential).full()
    np.testing.assert_allclose(large[0, :, :4] + large[0, :, 4:], small[0], atol=1e-6)


def test_gradient_and_other_groups(potential: AlchemicalPotential) -> None:
    """The chosen group's block among several groups; the rest of the composition stays."""
    mixture = Mixture.from_elements(
        deformed(example("CsPbI3_alpha")),
        {"Cs": {"Cs": 0.2, "Rb": 0.8}, "Pb": {"Pb": 0.7, "Sn": 0.3}},
    )
    hessian = occupancy_hessian(mixture, potential, "Pb")
    result = potential.evaluate(mixture)
    assert hessian.energy == pytest.approx(result.energy, abs=1e-10)
    np.testing.assert_allclose(
        hessian.gradient.sum(axis=0), result.composition_gradient[2:], atol=1e-9
    )


def test_inequivalent_sites_of_equal_species() -> None:
    """Symmetry tells apart sites that only look alike: here two Na environments."""
    atoms = Atoms("NaNaCl", positions=[[0, 0, 0], [0, 0, 2.5], [2, 2, 1.0]], cell=[4, 4, 7], pbc=1)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}})
    found = site_symmetry(mixture, mixture.groups[0].sites)
    assert found.representatives.tolist() == [0, 1]
    found = site_symmetry(mixture.repeat((2, 1, 1)), mixture.repeat((2, 1, 1)).groups[0].sites)
    assert found.multiplicities.tolist() == [2, 2]


def test_operations_are_symmetries() -> None:
    """Each permutation, with its rotation, keeps all distances between sites."""
    mixture = rock_salt().repeat((2, 1, 1))
    found = site_symmetry(mixture)
    inverse = np.linalg.inv(mixture.cell)
    for permutation, rotation in zip(found.permutations, found.rotations, strict=True):
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-10)
        moved = mixture.positions @ rotation.T
        shift = mixture.positions[permutation] - moved
        fractional = (shift - shift[0]) @ inverse
        np.testing.assert_allclose(fractional, np.round(fractional), atol=1e-8)
        assert (mixture.numbers[permutation] == mixture.numbers).all()
    for site, (representative, operation) in enumerate(found.operation_of.tolist()):
        assert found.permutations[operation, found.representatives[representative]] == site


def test_open_boundaries_use_no_symmetry() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.pbc = (True, True, False)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}})
    found = site_symmetry(mixture, mixture.groups[0].sites)
    assert len(found.representatives) == 4


def test_linear_potential_has_no_own_second_derivative() -> None:
    """Pair potential, cell wider than the range: H_ii = 0, H_ij = v_ab(r_ij)."""
    potential = pair_potential(cutoff=5.5)
    hessian = occupancy_hessian(rock_salt().repeat((2, 2, 2)), potential)
    assert np.abs(hessian.rows[0, :, hessian.representatives[0]]).max() < 1e-12
    distances = hessian.mixture.to_atoms().get_distances(0, hessian.sites, mic=True)
    near = np.flatnonzero(distances < 5.0)[1:]
    far = np.flatnonzero(distances > 5.0)
    # Double counting: each ordered pair carries half of v, twice.
    assert np.abs(hessian.rows[0, :, near] - hessian.rows[0, :, near[0]]).max() < 1e-12
    assert np.abs(hessian.rows[0, :, near[0]]).max() > 1e-3
    assert np.abs(hessian.rows[0, :, far]).max() < 1e-12


class OnceDifferentiable(torch.autograd.Function):
    """The square, by a kernel without a second derivative."""

    @staticmethod
    def forward(ctx, x):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, slope):  # type: ignore[no-untyped-def]
        (x,) = ctx.saved_tensors
        return 2 * x * slope


class OnceBackend(PairBackend):
    def node_energies(
        self, graph: Graph, edge_vectors: torch.Tensor, occupancies: torch.Tensor, form: Form
    ) -> torch.Tensor:
        return OnceDifferentiable.apply(occupancies)


def test_auto_says_when_it_had_to_take_differences() -> None:
    """E = sum_i sum_a p^3: the second derivative is 6 p on the diagonal."""
    once = AlchemicalPotential(OnceBackend(lambda a, b, d: d[:, 0], 3.0, (11, 17, 19)))
    mixture = rock_salt()
    hessian = occupancy_hessian(mixture, once)
    assert hessian.method == "differences"
    assert "off by" in hessian.note  # autograd drops such a part without a word
    own = hessian.rows[0, :, hessian.representatives[0]]
    np.testing.assert_allclose(own, np.diag(6 * hessian.composition), atol=1e-6)
    with pytest.raises(InputError, match="cannot be differentiated twice"):
        occupancy_hessian(mixture, once, method="double_backward")


def test_bad_input(potential: AlchemicalPotential) -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6)
    plain = Mixture.from_atoms(atoms)
    both = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}, "Cl": {"Cl": 0.5, "Br": 0.5}})
    single = Mixture.from_elements(atoms, {"Na": {"K": 1.0}})
    tied = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}}, correlation="concerted")

    def refused(mixture: Mixture, words: str, **options: object) -> None:
        with pytest.raises(InputError, match=words):
            occupancy_hessian(mixture, potential, **options)  # type: ignore[arg-type]

    refused(plain, "no sites are mixed, so nothing is disordered")
    refused(both, "not clear")
    refused(single, "one species")
    refused(tied, "concerted")
    refused(rock_salt(), "unknown method", method="guess")
    refused(rock_salt(), "no small part", method="differences", step=0.0)


def test_result_is_a_hessian(potential: AlchemicalPotential) -> None:
    hessian = occupancy_hessian(rock_salt(), potential)
    assert isinstance(hessian, OccupancyHessian)
    assert hessian.rows.shape == (1, 2, 4, 2)
    assert hessian.full().shape == (4, 2, 4, 2)
    assert hessian.species == ("Na", "K")
