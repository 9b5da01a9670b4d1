"""Sites of which at most one is filled: exact limits, symmetries, and what is refused."""

from __future__ import annotations

import json
import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from scipy.optimize import linprog

from alchemlip import AlchemicalPotential, Evaluation, Group, InputError, Mixture
from alchemlip.mixture.compositions import with_flat_composition
from alchemlip.mixture.exclusive import ExclusivePairs
from alchemlip.mixture.split_sites import describe_pairs, exclusive_pairs, mixture_pairs
from alchemlip.testing import CRYSTALS, assert_equal, check_exclusive, split_site
from conftest import PotentialCase


def assert_same(got: Evaluation, expected: Evaluation, tolerance: float = 1e-10) -> None:
    assert_equal(got.energy, expected.energy, tolerance)
    assert_equal(got.forces, expected.forces, tolerance)
    if expected.stress is not None:
        assert_equal(got.stress, expected.stress, tolerance)


def test_one_set_is_a_concerted_group(
    case: PotentialCase, any_potential: AlchemicalPotential
) -> None:
    """No image in range: (atom, Va) and (Va, atom) change together, exactly."""
    check_exclusive(any_potential, case.crystal("split-site"))


def test_images_are_other_sets(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """In a small cell the images of the partner are there with p_jb, unlike in a concerted group.

    So a cell and its supercells agree.
    """
    exclusive, concerted = split_site(case.crystal("split-site"))
    small = any_potential.evaluate(exclusive)
    large = any_potential.evaluate(exclusive.repeat((2, 1, 2)))
    assert_equal(large.energy, 4 * small.energy)
    assert_equal(large.stress, small.stress)
    assert_equal(large.composition_gradient, 4 * small.composition_gradient)
    assert abs(any_potential.evaluate(concerted).energy - small.energy) > 1e-6


def test_wrapped_and_permuted(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """Positions in another cell, moved, and in another order: the same crystal."""
    mixture = case.crystal("split-site").mixture()
    expected = any_potential.evaluate(mixture)
    atoms = mixture.to_atoms()
    atoms.positions[2] += atoms.cell[0] - 2 * atoms.cell[2]
    atoms.positions += [0.4, -3.3, 7.7]
    for moved in (mixture.with_geometry(atoms), Mixture.from_atoms(atoms)):
        assert_same(any_potential.evaluate(moved), expected)
    atoms.wrap()
    assert_same(any_potential.evaluate(mixture.with_geometry(atoms)), expected)
    order = [1, 2, 0]
    shuffled = any_potential.evaluate(Mixture.from_atoms(atoms[order]))
    assert_equal(shuffled.energy, expected.energy)
    assert_equal(shuffled.forces, expected.forces[order])


def test_redundant_in_a_concerted_crystal(
    case: PotentialCase, any_potential: AlchemicalPotential, reference: Any
) -> None:
    """One concerted group over all sites never fills both: the exact sum stays what it is."""
    crystal = case.crystal("split-site")
    first, second = crystal.atoms.copy(), crystal.atoms.copy()
    first.symbols[2] = second.symbols[0] = "X"
    mixture = Mixture.from_end_states(
        {"A": first, "B": second}, {"A": 0.4, "B": 0.6}, all_sites=True
    ).with_exclusive([(0, 2)])
    result = any_potential.evaluate(mixture)
    energies = []
    for atoms in (first, second):
        pure = atoms[atoms.numbers > 0]
        pure.calc = reference
        energies.append(pure.get_potential_energy())
    assert_equal(result.energy, np.dot([0.4, 0.6], energies))
    assert_equal(result.composition_gradient, energies)


def test_split_in_two_of_the_same(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """An atom that is there with 0.45, as 0.25 and 0.2 of the same element."""
    once, _ = split_site(case.crystal("split-site"))
    number = int(once.group("0").species.max())
    twice = Group(
        "0", np.array([0]), ("a", "b", "Va"), np.array([[number, number, 0]]), [0.25, 0.2, 0.55]
    )
    mixture = Mixture(
        once.numbers, once.positions, once.cell, once.pbc, (twice, once.group("2")), once.exclusive
    )
    assert_same(any_potential.evaluate(mixture), any_potential.evaluate(once))


def test_three_of_a_network(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """A chain of exclusive pairs is no set: its ends see one another.

    With the middle site empty the ends are independent, whatever excludes the middle.
    """
    crystal = case.crystal("split-site")
    first = next(iter(crystal.spec[0]))
    atoms = crystal.atoms + Atoms(first, positions=[crystal.atoms.positions[0] - [0.8, 0.9, 0.9]])
    spec = {site: {first: 0.4, "Va": 0.6} for site in (0, 2, 3)}
    network = Mixture.from_elements(atoms, spec).with_exclusive([(0, 2), (0, 3)])
    ends = network.with_composition("0", {"Va": 1.0})
    assert_same(any_potential.evaluate(ends), any_potential.evaluate(ends.with_exclusive(())))
    other = network.with_composition("3", {"Va": 1.0})
    assert_same(
        any_potential.evaluate(other), any_potential.evaluate(other.with_exclusive([(0, 2)]))
    )


def test_sites_at_one_place(potential: AlchemicalPotential) -> None:
    """Exclusive sites may coincide: two elements listed apart are two on one site."""
    atoms = bulk("NaCl", "rocksalt", 5.6)
    expected = potential.evaluate(Mixture.from_elements(atoms, {0: {"Na": 0.3, "K": 0.7}}))
    listed = atoms + Atoms("K", positions=[atoms.positions[0]])
    mixture = Mixture.from_elements(listed, {0: {"Na": 0.3, "Va": 0.7}, 2: {"K": 0.7, "Va": 0.3}})
    with pytest.raises(InputError, match=r"closer than 0\.3 A"):
        potential.evaluate(mixture)
    got = potential.evaluate(mixture.with_exclusive([(0, 2)]))
    assert_equal(got.energy, expected.energy)
    assert_equal(got.stress, expected.stress)
    assert_equal(got.forces[0] + got.forces[2], expected.forces[0])


# ---------------------------------------------------------------------- copies


def copies(mixture: Mixture) -> Sequence[Mixture]:
    return (
        Mixture.from_dict(json.loads(json.dumps(mixture.to_dict()))),
        Mixture.from_atoms(mixture.to_atoms()),
        pickle.loads(pickle.dumps(mixture)),
        mixture.with_composition("0", mixture.group("0").composition),
        mixture.split_group("0"),
    )


def test_copies_keep_the_pairs(potential: AlchemicalPotential, tmp_path: Any) -> None:
    from alchemlip import read_structure, write_structure

    mixture = next(item for item in CRYSTALS if item.exclusive).mixture()
    expected = potential.evaluate(mixture)
    found = list(copies(mixture))
    for ending in ("json", "extxyz"):
        write_structure(mixture, tmp_path / f"a.{ending}")
        found.append(read_structure(tmp_path / f"a.{ending}"))
    for copy in found:
        np.testing.assert_array_equal(copy.exclusive.rows, mixture.exclusive.rows)
        # A file of text keeps 8 digits.
        assert_same(potential.evaluate(copy), expected, 1e-6)
    with pytest.raises(InputError, match="another choice of sites"):
        Mixture.from_atoms(mixture.to_atoms().repeat((2, 1, 1)))


def test_canonical_rows() -> None:
    """A pair is the same from both of its ends, and a self-image pair from both sides."""
    one = ExclusivePairs(np.array([[3, 1, 0, 1, 0], [1, 3, 0, -1, 0], [2, 2, 0, 0, 1]]))
    other = ExclusivePairs(np.array([[1, 3, 0, -1, 0], [2, 2, 0, 0, -1]]))
    np.testing.assert_array_equal(one.rows, other.rows)
    with pytest.raises(InputError, match="paired with itself"):
        ExclusivePairs(np.array([[2, 2, 0, 0, 0]]))


def test_supercell_of_pairs_is_found_again() -> None:
    """Repeating and searching by distance commute, for pairs across the cell's faces, too."""
    rng = np.random.default_rng(0)
    for _ in range(5):
        atoms = Atoms("Li4", cell=3.0 * np.eye(3) + rng.uniform(-0.5, 0.5, (3, 3)), pbc=True)
        atoms.set_scaled_positions(rng.uniform(0, 1, (4, 3)))
        mixture = Mixture.from_elements(atoms, {"Li": {"Li": 0.01, "Va": 0.99}})
        mixture = mixture.with_exclusive(exclusive_pairs(mixture))
        assert len(mixture.exclusive)
        large = mixture.repeat((2, 3, 1))
        np.testing.assert_array_equal(
            large.exclusive.rows, large.with_exclusive(exclusive_pairs(large)).exclusive.rows
        )


def test_nearest_images() -> None:
    """(i, j) is the nearest image, or all that are equally near."""
    atoms = Atoms("Li2", positions=[[0.1, 0, 0], [3.9, 0, 0]], cell=[4, 9, 9], pbc=True)
    mixture = Mixture.from_elements(atoms, {"Li": {"Li": 0.3, "Va": 0.7}})
    assert mixture.with_exclusive([(0, 1)]).exclusive.rows.tolist() == [[0, 1, -1, 0, 0]]
    atoms.positions[1] = [2.1, 0, 0]
    halfway = mixture.with_geometry(atoms).with_exclusive([(1, 0)])
    assert halfway.exclusive.rows.tolist() == [[0, 1, -1, 0, 0], [0, 1, 0, 0, 0]]
    own = mixture.with_exclusive([(0, 0)])
    assert own.exclusive.rows.tolist() == [[0, 0, -1, 0, 0]]
    cluster = Atoms("Li2", positions=[[0, 0, 0], [0, 0, 1.5]])
    free = Mixture.from_elements(cluster, {"Li": {"Li": 0.3, "Va": 0.7}}).with_exclusive([(0, 1)])
    assert free.exclusive.rows.tolist() == [[0, 1, 0, 0, 0]]


def test_found_by_distance() -> None:
    """Below 0.7 of the covalent radii (Li: 1.28 A), among sites that can be empty."""
    places = [[0, 0, 0], [1.7, 0, 0], [-1.85, 0, 0], [0, 5, 0]]
    atoms = Atoms("Li3O", positions=places, cell=[20] * 3, pbc=True)
    mixture = Mixture.from_elements(atoms, {"Li": {"Li": 0.3, "Va": 0.7}})
    pairs = exclusive_pairs(mixture)
    assert [(p.first, p.second) for p in pairs] == [(0, 1)]
    assert describe_pairs(mixture, pairs) == ["Li and Li 1.70 Å apart: 1 pair (sites 0 and 1)"]
    wide = exclusive_pairs(mixture, within_A=2.0)
    assert [(p.first, p.second) for p in wide] == [(0, 1), (0, 2)]
    chosen = exclusive_pairs(mixture, within_A=2.0, between=lambda i, j: i + j == 2)
    assert [(p.first, p.second) for p in chosen] == [(0, 2)]
    assert [p[:3] for p in mixture_pairs(mixture.with_exclusive(wide))] == [p[:3] for p in wide]


# ---------------------------------------------------------------------- refused


def three(weights: Sequence[float]) -> Mixture:
    """Three sites in a triangle, filled so far."""
    places = [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    atoms = Atoms("Li3", positions=places, cell=[9] * 3, pbc=True)
    return Mixture.from_elements(
        atoms, {site: {"Li": p, "Va": 1 - p} for site, p in enumerate(weights)}
    )


def test_more_than_one_is_refused() -> None:
    with pytest.raises(InputError, match=r"sites 0 and 1 .* 0\.6 and 0\.5, together more than 1"):
        three((0.6, 0.5, 0.1)).with_exclusive([(0, 1)])
    allowed = three((0.5, 0.5, 0.5)).with_exclusive([(0, 1), (1, 2)])
    # Each pair is possible, but not three that all exclude one another.
    with pytest.raises(InputError, match=r"sites 0, 1, 2 .* filled by 1\.5"):
        allowed.with_exclusive([(0, 1), (1, 2), (2, 0)])
    three((1 / 3, 1 / 3, 1 / 3)).with_exclusive([(0, 1), (1, 2), (2, 0)])
    with pytest.raises(InputError, match="sites 0 and 1"):
        allowed.with_composition("0", {"Li": 0.6, "Va": 0.4})
    # Set at once, in any order, one empties as the other fills.
    for flat in ([1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 0, 1]):
        allowed = with_flat_composition(allowed, flat)


def test_cliques_are_those_of_all_arrangements() -> None:
    """What passes can be arranged, where all cliques are sets: linear programming over them."""
    rng = np.random.default_rng(1)
    pairs = [(0, 1), (1, 2), (2, 0)]
    states = np.vstack([np.zeros(3), np.eye(3)]).T
    for weights in rng.uniform(0, 0.6, (20, 3)):
        possible = linprog(
            np.zeros(4),
            A_eq=np.vstack([states, np.ones(4)]),
            b_eq=np.append(weights, 1.0),
        ).success
        try:
            three(weights).with_exclusive(pairs)
        except InputError:
            assert not possible
        else:
            assert possible


def test_bad_pairs_are_refused() -> None:
    mixture = three((0.3, 0.3, 0.3))
    for pairs, message in (
        ([(0, 7)], "sites 0 and 7, but the structure has sites 0 to 2"),
        ([(0, 1, 2, 3)], "no exclusive pair"),
        (["a"], "no exclusive pair"),
        ([(0, 0, (0, 0, 0))], "paired with itself"),
    ):
        with pytest.raises(InputError, match=message):
            mixture.with_exclusive(pairs)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="short-range ordered"):
        Mixture.from_elements(mixture.to_atoms(), {}).with_short_range_order(
            "0", (3.0,), {}
        ).with_exclusive([(0, 1)])
    both = Mixture.from_elements(
        Atoms("Li2", positions=[[0, 0, 0], [1, 0, 0]], cell=[9] * 3, pbc=True),
        {"Li": {"Li": 0.4, "Va": 0.6}},
        correlation="concerted",
    )
    with pytest.raises(InputError, match="fills both of the sites 0 and 1"):
        both.with_exclusive([(0, 1)])
    slab = molecule("H2")
    slab.pbc = False
    flat = Mixture.from_elements(slab, {"H": {"H": 0.4, "Va": 0.6}})
    with pytest.raises(InputError, match="not periodic"):
        flat.with_exclusive([(0, 1, (1, 0, 0))])
