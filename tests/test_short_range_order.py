"""Warren-Cowley short-range order: the invariants, its limits, and its derivatives."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, Group, InputError, Mixture
from alchemlip.mixture.short_range_order import ShortRangeOrder
from alchemlip.testing import CRYSTALS, Crystal, pure_atoms
from conftest import PotentialCase

RADII = (3.2, 4.6, 5.5)
TOLERANCE = 1e-10


@pytest.fixture
def ordering_potential(any_potential: AlchemicalPotential) -> AlchemicalPotential:
    if not getattr(any_potential.backend, "short_range_order", True):
        pytest.skip("three-body messages know no short-range order")
    return any_potential


def ordered(mixture: Mixture, scale: float = 0.1, seed: int = 0) -> Mixture:
    """Every group short-range ordered by random parameters that its composition allows."""
    rng = np.random.default_rng(seed)
    for group in mixture.groups:
        pairs = {
            (a, b): rng.uniform(-scale, scale, len(RADII))
            for i, a in enumerate(group.components)
            for b in group.components[i + 1 :]
        }
        mixture = mixture.with_short_range_order(group.name, RADII, pairs)
    return mixture


# Exclusive pairs are refused beside short-range order.
PLAIN = [crystal for crystal in CRYSTALS if not crystal.exclusive]
every_crystal = pytest.mark.parametrize("crystal", PLAIN, ids=repr, indirect=True)


def close(got: Any, expected: Any, tolerance: float = TOLERANCE) -> bool:
    scale = max(1.0, float(np.abs(expected).max()))
    return bool(np.abs(np.asarray(got) - np.asarray(expected)).max() <= tolerance * scale)


@every_crystal
def test_no_order_is_independent(crystal: Any, ordering_potential: AlchemicalPotential) -> None:
    plain = crystal.mixture()
    expected = ordering_potential.evaluate(plain, form="expanded")
    result = ordering_potential.evaluate(ordered(plain, 0.0))
    assert close(result.energy, expected.energy, 1e-12)
    assert close(result.forces, expected.forces, 1e-12)
    assert close(result.composition_gradient, expected.composition_gradient, 1e-12)


@every_crystal
def test_one_hot(crystal: Any, ordering_potential: AlchemicalPotential, reference: Any) -> None:
    mixture = ordered(crystal.mixture(), 0.04)
    for which in (0, -1):
        chosen = mixture
        for group in chosen.groups:
            weights = np.zeros(len(group.components))
            weights[which] = 1.0
            chosen = chosen.with_composition(group.name, weights)
        shown = [max(site, key=lambda s: site[s]) for site in chosen.occupancies()]
        occupied = np.array([symbol != "Va" for symbol in shown])
        if not occupied.any():
            continue
        result = ordering_potential.evaluate(chosen)
        atoms = pure_atoms(chosen)
        atoms.calc = reference
        assert close(result.energy, atoms.get_potential_energy())
        assert close(result.forces[occupied], atoms.get_forces())


@every_crystal
def test_split(crystal: Any, ordering_potential: AlchemicalPotential, reference: Any) -> None:
    atoms = crystal.atoms
    sites = np.arange(0, len(atoms), 2)
    twice = np.repeat(atoms.numbers[sites, None], 2, axis=1)
    group = Group("halves", sites, ("p", "1-p"), twice, np.array([0.3, 0.7]))
    mixture = Mixture(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, (group,))
    mixture = mixture.with_short_range_order("halves", RADII, {("p", "1-p"): (-0.3, 0.2, 0.1)})
    result = ordering_potential.evaluate(mixture)
    atoms = atoms.copy()
    atoms.calc = reference
    assert close(result.energy, atoms.get_potential_energy())
    assert close(result.forces, atoms.get_forces())
    assert close(result.short_range_gradient, 0.0)


def test_full_order_is_the_ordered_crystal(
    case: PotentialCase, ordering_potential: AlchemicalPotential, reference: Any
) -> None:
    """alpha = -1 to the nearest and 1 to the second neighbours: two sites see B2 around them."""
    atoms = bulk("Cu", "bcc", a=3.0, cubic=True)
    alloy = Crystal("alloy", atoms, {"Cu": {"Cu": 0.5, "Au": 0.5}}).with_elements(case.elements)
    mixture = alloy.mixture()
    group, a = mixture.groups[0], mixture.cell[0, 0]
    # Every shell within reach belongs to the same or to the other sublattice.
    shells = sorted(
        {round(a * np.sqrt(x * x + y * y + z * z), 6) for x, y, z in product(range(5), repeat=3)}
        - {0.0}
        | {
            round(a * np.sqrt((x + 0.5) ** 2 + (y + 0.5) ** 2 + (z + 0.5) ** 2), 6)
            for x, y, z in product(range(4), repeat=3)
        }
    )
    shells = [s for s in shells if s < ordering_potential.cutoff + 1.0]
    halves = [abs((s / a) ** 2 * 4 % 4 - 3.0) < 1e-3 for s in shells]
    alpha = [-1.0 if half else 1.0 for half in halves]
    radii = [s + 0.01 for s in shells]
    mixture = mixture.with_short_range_order(group.name, radii, {group.components: alpha})
    ordered_crystal = Atoms(
        group.components, positions=mixture.positions, cell=mixture.cell, pbc=True
    )
    ordered_crystal.calc = reference
    energy = ordering_potential.evaluate(mixture).energy
    assert close(energy, ordered_crystal.get_potential_energy())


def test_derivatives(
    case: PotentialCase, ordering_potential: AlchemicalPotential, step: float
) -> None:
    """dE/d(alpha) and dE/dx against central differences; a batch is its parts."""
    names = ("both-sublattices", "three-species", "vacancy")
    mixtures = [ordered(case.crystal(name).mixture(), 0.04) for name in names]
    rng = np.random.default_rng(0)
    for mixture, together in zip(mixtures, ordering_potential.evaluate(mixtures), strict=True):
        result = ordering_potential.evaluate(mixture)
        assert close(result.energy, together.energy)
        assert close(result.short_range_gradient, together.short_range_gradient)
        graph = ordering_potential.graph([mixture])
        assert graph.short_range is not None
        parameters, composition = graph.short_range.parameters, graph.composition
        for name, values, gradient in (
            ("short_range", parameters, result.short_range_gradient),
            ("composition", composition, result.composition_gradient),
        ):
            direction = rng.normal(size=len(values))
            direction *= 0.1 / np.linalg.norm(direction)
            up, down = (
                float(
                    ordering_potential.energies(
                        graph, **{name: values + sign * step * values.new_tensor(direction)}
                    ).detach()
                )
                for sign in (1.0, -1.0)
            )
            assert gradient @ direction == pytest.approx(
                (up - down) / (2 * step), rel=2e-6, abs=1e-7
            )


def test_supercell(case: PotentialCase, ordering_potential: AlchemicalPotential) -> None:
    """Images are told by their shell: a cell and its supercell agree."""
    plain = case.crystal("one-atom-cell").mixture()
    group = plain.groups[0]
    mixture = plain.with_short_range_order(group.name, RADII, {group.components: (-0.3, 0.2, 0.1)})
    small = ordering_potential.evaluate(mixture)
    large = ordering_potential.evaluate(mixture.repeat((2, 1, 2)))
    assert close(large.energy, 4 * small.energy)
    independent = ordering_potential.evaluate(plain)
    assert abs(small.energy - independent.energy) > 1e-6


def test_conditional_probabilities() -> None:
    """Rows sum to 1, and detailed balance holds: p_a P(b|a) = p_b P(a|b)."""
    order = ShortRangeOrder.of_pairs(
        ("A", "B", "Va"), (3.0, 4.0), {("A", "B"): (-0.1, 0.2), ("B", "Va"): (0.3, -0.2)}
    )
    p = np.array([0.5, 0.3, 0.2])
    table = order.conditional(p)
    np.testing.assert_allclose(table.sum(axis=2), 1.0, atol=1e-15)
    joint = p[:, None] * table
    np.testing.assert_allclose(joint, joint.transpose(0, 2, 1), atol=1e-15)
    again = order.with_parameters(order.parameters)
    np.testing.assert_array_equal(again.alpha, order.alpha)


def test_round_trips() -> None:
    mixture = ordered(CRYSTALS[0].mixture())
    for copy in (Mixture.from_dict(mixture.to_dict()), Mixture.from_atoms(mixture.to_atoms())):
        group, expected = copy.groups[0], mixture.groups[0]
        assert group.correlation == "short-range"
        assert group.short_range_order is not None
        assert expected.short_range_order is not None
        np.testing.assert_array_equal(
            group.short_range_order.alpha, expected.short_range_order.alpha
        )
        np.testing.assert_array_equal(group.short_range_order.radii, RADII)


def test_refused() -> None:
    mixture = CRYSTALS[0].mixture()
    with pytest.raises(InputError, match=r"probability of Na beside Na -0\.[0-9]+ in shell 2"):
        mixture.with_short_range_order("Na", (3.0, 4.0), {("Na", "K"): (0.0, -0.9)})
    with pytest.raises(InputError, match="probability of K beside Na"):
        mixture.with_short_range_order("Na", (3.0,), {("Na", "K"): (1.2,)})
    with pytest.raises(InputError, match="no component"):
        mixture.with_short_range_order("Na", (3.0,), {("Na", "Li"): (0.1,)})
    with pytest.raises(InputError, match="do not ascend"):
        mixture.with_short_range_order("Na", (4.0, 3.0), {("Na", "K"): (0.1, 0.1)})
    with pytest.raises(InputError, match="one per shell"):
        mixture.with_short_range_order("Na", (3.0,), {("Na", "K"): (0.1, 0.1)})
    with pytest.raises(InputError, match="with_short_range_order"):
        CRYSTALS[0].mixture("short-range")
    with pytest.raises(InputError, match="make it independent"):
        ordered(mixture, 0.1).split_group("Na")
    allowed = mixture.with_short_range_order("Na", (3.0,), {("Na", "K"): (-0.4,)})
    with pytest.raises(InputError, match="probability"):
        allowed.with_composition("Na", {"Na": 0.05, "K": 0.95})


def test_factorised_form_is_refused(potential: AlchemicalPotential) -> None:
    with pytest.raises(InputError, match="no factorised form"):
        potential.evaluate(ordered(CRYSTALS[0].mixture()), form="factorised")
    with pytest.raises(InputError, match="embedding"):
        potential.with_representation("embedding").evaluate(ordered(CRYSTALS[0].mixture()))
