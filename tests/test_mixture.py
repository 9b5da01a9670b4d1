"""Mixtures: what is mixed where, its checks, and its way through every format."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_masses
from ase.io import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymatgen.core import (
    Composition,
    DummySpecies,
    Lattice,
    Molecule,
    PeriodicSite,
    Species,
    Structure,
)

from alchemlip import Group, InputError, Mixture, read_structure, write_structure
from alchemlip.mixture.nodes import PURE
from alchemlip.mixture.species import VACANCY, check_weights, species_number, species_symbol
from alchemlip.mixture.structure_files import can_be_cif, write_point_cifs
from crystals import example

# ---------------------------------------------------------------------- random mixtures

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine an example may take long; that is no failure."""

NUMBERS = (0, 1, 6, 11, 17, 40, 58)


@st.composite
def weight_lists(draw: st.DrawFn, length: int) -> list[float]:
    """Weights on the simplex; some of them exactly 0."""
    raw = draw(
        st.lists(
            st.one_of(st.just(0.0), st.floats(1e-6, 1.0)), min_size=length, max_size=length
        ).filter(any)
    )
    return list(
        check_weights(dict(zip(map(str, range(length)), raw, strict=True)), "a test", True).values()
    )


@st.composite
def mixtures(draw: st.DrawFn) -> Mixture:
    """A few sites in several groups: of single species, or of end states that differ by site."""
    n = draw(st.integers(1, 7))
    owner = draw(st.lists(st.integers(-1, 2), min_size=n, max_size=n))
    groups = []
    for label in sorted(set(owner) - {-1}):
        sites = [site for site in range(n) if owner[site] == label]
        k = draw(st.integers(1, 4))
        if draw(st.booleans()):
            row = draw(st.lists(st.sampled_from(NUMBERS), min_size=k, max_size=k, unique=True))
            rows, components = [row] * len(sites), [species_symbol(number) for number in row]
        else:
            row_lists = st.lists(st.sampled_from(NUMBERS), min_size=k, max_size=k)
            rows, components = [draw(row_lists) for _ in sites], [f"state {i}" for i in range(k)]
        groups.append(
            Group(
                f"group {label}",
                np.array(sites),
                tuple(components),
                np.array(rows),
                np.array(draw(weight_lists(k))),
                draw(st.sampled_from(["independent", "concerted"])),
            )
        )
    coordinate = st.floats(-20, 20)
    positions = draw(st.lists(st.tuples(*[coordinate] * 3), min_size=n, max_size=n))
    cell = np.diag(draw(st.tuples(*[st.floats(1.0, 30.0)] * 3))) + np.eye(3, k=1)
    pbc = draw(st.tuples(*[st.booleans()] * 3))
    numbers = draw(st.lists(st.sampled_from(NUMBERS[1:]), min_size=n, max_size=n))
    return Mixture(
        np.array(numbers),
        np.array(positions),
        cell,
        np.array(pbc),
        tuple(draw(st.permutations(groups))),
    )


@st.composite
def mixtures_with_mass(draw: st.DrawFn) -> Mixture:
    """Mixtures in which every site can hold an atom."""
    return draw(
        mixtures().filter(
            lambda m: all((group.species > 0).any(axis=1).all() for group in m.groups)
        )
    )


def groups_of(mixture: Mixture) -> Any:
    """Everything that a mixture says of its groups, as plain values."""
    return mixture.to_dict()["groups"]


# ---------------------------------------------------------------------- occupancies


@patient
@given(mixtures(), st.data())
def test_occupancies_are_linear_in_the_composition(mixture: Mixture, data: st.DataObject) -> None:
    """Also off the simplex: the derivative is the constant matrix of zeros and ones."""
    nodes, k = mixture.nodes, len(mixture.composition)
    vectors = st.lists(st.floats(-2, 2), min_size=k, max_size=k).map(np.array)
    x, y = data.draw(vectors), data.draw(vectors)
    pure = (nodes.component == PURE).astype(float)
    np.testing.assert_array_equal(nodes.occupancies(x), nodes.matrix @ x + pure)
    np.testing.assert_allclose(
        nodes.occupancies(3 * x - 2 * y),
        3 * nodes.occupancies(x) - 2 * nodes.occupancies(y),
        atol=1e-12,
    )


@patient
@given(mixtures())
def test_occupancies_of_a_site_sum_to_1_with_the_vacancy(mixture: Mixture) -> None:
    """The nodes say the same as the table by site; only the vacancy has no node."""
    nodes = mixture.nodes
    occupancy = nodes.occupancies(mixture.composition)
    for site, species in enumerate(mixture.occupancies()):
        assert sum(species.values()) == pytest.approx(1.0, abs=1e-12)
        here = nodes.site == site
        found: dict[str, float] = {}
        for number, p in zip(nodes.number[here].tolist(), occupancy[here].tolist(), strict=True):
            symbol = species_symbol(number)
            found[symbol] = found.get(symbol, 0.0) + p
        assert {s: p for s, p in species.items() if s != VACANCY} == found
    expected = sum(sum(s.values()) - s.get(VACANCY, 0.0) for s in mixture.occupancies())
    assert mixture.n_atoms == pytest.approx(expected, abs=1e-12)


@patient
@given(mixtures())
def test_nodes(mixture: Mixture) -> None:
    """Sorted by site, none for a vacancy, labelled by group, component and correlation."""
    nodes = mixture.nodes
    assert (np.diff(nodes.site) >= 0).all()
    assert (nodes.number > 0).all()
    mixed = np.concatenate([np.zeros(0, dtype=int), *(group.sites for group in mixture.groups)])
    pure = nodes.group == PURE
    assert sorted(nodes.site[pure]) == sorted(set(range(mixture.n_sites)) - set(mixed.tolist()))
    np.testing.assert_array_equal(nodes.number[pure], mixture.numbers[nodes.site[pure]])
    assert not nodes.concerted[pure].any()
    start = 0
    for index, group in enumerate(mixture.groups):
        own = nodes.group == index
        assert own.sum() == np.count_nonzero(group.species)
        assert (nodes.concerted[own] == (group.correlation == "concerted")).all()
        row = np.searchsorted(group.sites, nodes.site[own])
        component = nodes.component[own] - start
        np.testing.assert_array_equal(nodes.number[own], group.species[row, component])
        start += len(group.components)
    assert nodes.n_components == start == len(mixture.component_labels)


@patient
@given(mixtures())
def test_flat_arrays_have_names(mixture: Mixture) -> None:
    flat = {
        f"{group}:{component}": value
        for group, values in mixture.by_group(np.arange(len(mixture.composition))).items()
        for component, value in values.items()
    }
    assert tuple(flat) == mixture.component_labels
    assert list(flat.values()) == list(range(len(flat)))
    for group in mixture.groups:
        assert list(mixture.composition_by_group[group.name].values()) == list(group.composition)


@patient
@given(mixtures_with_mass())
def test_mean_masses(mixture: Mixture) -> None:
    """Over the non-vacant species, and never 0, whatever the occupancies."""
    for mass, occupancy in zip(mixture.masses, mixture.occupancies(), strict=True):
        real = {atomic_masses[species_number(s)]: p for s, p in occupancy.items() if s != VACANCY}
        assert min(real) * (1 - 1e-12) <= mass <= max(real) * (1 + 1e-12)
        if sum(real.values()) > 0:
            mean = sum(m * p for m, p in real.items()) / sum(real.values())
            assert mass == pytest.approx(mean, rel=1e-9)


def test_mass_does_not_depend_on_how_much_is_vacant() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6)
    masses = [
        Mixture.from_elements(atoms, {"Cl": {"Cl": 3 * p, "Br": p, "Va": 1 - 4 * p}}).masses[1]
        for p in (0.25, 0.1, 1e-3)
    ]
    np.testing.assert_allclose(masses, 0.75 * 35.45 + 0.25 * 79.904, rtol=1e-9)
    empty = Mixture.from_elements(atoms, {"Cl": {"Cl": 0.0, "Va": 1.0}})
    assert empty.masses[1] == pytest.approx(35.45)
    with pytest.raises(InputError, match="site 1 of group 'Cl' can only be vacant"):
        _ = Mixture.from_elements(atoms, {"Cl": {"Va": 1.0}}).masses


# ---------------------------------------------------------------------- selections and checks


@pytest.fixture
def oxide() -> Atoms:
    """CeO2: sites 0 to 3 are Ce, 4 to 11 O."""
    return example("CeO2")


HALF = {"Ce": 0.5, "Zr": 0.5}


@pytest.mark.parametrize(
    ("selection", "named", "name", "sites"),
    [
        ("Ce", {}, "Ce", [0, 1, 2, 3]),
        (2, {}, "2", [2]),
        (np.int64(2), {}, "2", [2]),
        ((3, 0), {}, "3,0", [0, 3]),
        ("cations", {"cations": [1, 2]}, "cations", [1, 2]),
        ("Ce", {"Ce": [1, 7]}, "Ce", [1, 7]),
    ],
)
def test_selections(
    oxide: Atoms, selection: Any, named: dict[str, list[int]], name: str, sites: list[int]
) -> None:
    mixture = Mixture.from_elements(oxide, {selection: HALF}, groups=named)
    (group,) = mixture.groups
    assert group.name == name
    assert group.sites.tolist() == sites
    assert group.components == ("Ce", "Zr")
    assert mixture.component_labels == (f"{name}:Ce", f"{name}:Zr")


def test_several_groups_with_correlations_of_their_own(oxide: Atoms) -> None:
    mixture = Mixture.from_elements(
        oxide,
        {(0, 1): "Ce0.7Zr0.3", 2: {"Zr": 2, "Sn": 6}, "O": {"O": 3, "Va": 1}},
        correlation={"O": "concerted"},
        normalise=True,
    )
    assert mixture.composition_by_group == {
        "0,1": {"Ce": 0.7, "Zr": 0.3},
        "2": {"Zr": 0.25, "Sn": 0.75},
        "O": {"O": 0.75, "Va": 0.25},
    }
    assert [group.correlation for group in mixture.groups] == [
        "independent",
        "independent",
        "concerted",
    ]
    assert mixture.n_sites == 12
    assert mixture.n_atoms == pytest.approx(4 + 6)
    assert mixture.group("2").sites.tolist() == [2]


def test_mixing_further_sites_keeps_the_groups_that_are_there(oxide: Atoms) -> None:
    first = Mixture.from_elements(oxide, {"Ce": HALF}, groups={})
    second = first.mixed({"O": "O0.9Va0.1", "Ce": "Sn1"})
    assert second.composition_by_group == {"Ce": {"Sn": 1.0}, "O": {"O": 0.9, "Va": 0.1}}
    assert first.composition_by_group == {"Ce": HALF}


@pytest.mark.parametrize(
    ("composition", "options", "words"),
    [
        ({"Ti": HALF}, {}, "selection 'Ti' matches no site: the structure holds O, Ce"),
        ({"cations": HALF}, {}, "'cations' is neither an element nor a named group"),
        ({"cations": HALF}, {"groups": {"anions": [5]}}, "or one of anions"),
        ({12: HALF}, {}, "selects site 12, but the structure has sites 0 to 11"),
        ({-1: HALF}, {}, "selects site -1, but"),
        ({(): HALF}, {}, "has no sites"),
        ({"empty": HALF}, {"groups": {"empty": []}}, "group 'empty' has no sites"),
        ({(1, 1): HALF}, {}, "names a site twice"),
        ({"Ce": HALF, 2: HALF}, {}, "groups 'Ce' and '2' overlap at site 2"),
        ({"a": HALF, "b": HALF}, {"groups": {"a": [0, 5], "b": [5]}}, "'a' and 'b' overlap .* 5"),
        ({"Ce": {"Ce": 0.5, "Qq": 0.5}}, {}, "unknown species 'Qq'"),
        ({"Ce": {}}, {}, "empty composition for group 'Ce'"),
        ({"Ce": {"Ce": 0.5}}, {}, "weights of group 'Ce' sum to 0.5, not 1"),
        ({"Ce": {"Ce": 1.5, "Zr": -0.5}}, {"normalise": True}, "Zr in group 'Ce' is negative"),
        ({"Ce": {"Va": 0.5, "X": 0.5}}, {}, "two components of the same label"),
        ({"Ce": HALF}, {"correlation": "ordered"}, "unknown correlation 'ordered' of group 'Ce'"),
        ({"Ce": HALF}, {"correlation": {"Ce": "no"}}, "unknown correlation 'no'"),
        ({"Ce": HALF}, {"correlation": {"Zr": "concerted"}}, "given for 'Zr', which is no group"),
    ],
)
def test_bad_specifications_name_fault_and_place(
    oxide: Atoms, composition: Any, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        Mixture.from_elements(oxide, composition, **options)


def make_group(**changes: Any) -> Group:
    values: dict[str, Any] = {
        "name": "g",
        "sites": [0, 1],
        "components": ("a", "b"),
        "species": [[6, 7], [6, 7]],
        "composition": [0.5, 0.5],
    }
    return Group(**values | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"components": ("a", "a")}, "two components of the same label"),
        ({"species": [[6, 7]]}, r"species of shape \(1, 2\), but 2 sites and 2 components"),
        ({"composition": [1.0]}, "2 components but 1 weights"),
        ({"composition": [0.5, np.nan]}, "weight of b in group 'g' is nan"),
    ],
)
def test_bad_groups(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make_group(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"numbers": [], "positions": []}, "has no atoms"),
        ({"numbers": [6]}, "1 sites but 2 positions"),
        ({"numbers": [6, 0]}, r"site 1 is empty \(X\) but in no group"),
        ({"groups": (make_group(sites=[0, 2]),)}, "selects site 2"),
        ({"groups": (make_group(), make_group())}, "two groups are called 'g'"),
    ],
)
def test_bad_mixtures(changes: dict[str, Any], words: str) -> None:
    values: dict[str, Any] = {
        "numbers": [6, 6],
        "positions": np.eye(3)[:2],
        "cell": np.zeros((3, 3)),
        "pbc": np.zeros(3),
    }
    with pytest.raises(InputError, match=words):
        Mixture(**values | changes)


def test_an_empty_site_of_a_group_is_a_site() -> None:
    atoms = Atoms("CX", positions=[[0, 0, 0], [2, 0, 0]])
    mixture = Mixture.from_elements(atoms, {1: "H0.2Va0.8"})
    assert mixture.n_atoms == pytest.approx(1.2)


# ---------------------------------------------------------------------- end states


def test_end_states_mix_the_sites_that_differ() -> None:
    """A salt whose two sublattices change together, with one empty site in the second state."""
    a = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    b = a.copy()
    b.symbols[0], b.symbols[1], b.symbols[2] = "K", "Br", "X"
    mixture = Mixture.from_end_states({"pure": a, "doped": b}, {"pure": 0.25, "doped": 0.75})
    (group,) = mixture.groups
    assert group.sites.tolist() == [0, 1, 2]
    assert group.correlation == "concerted"
    assert mixture.component_labels == ("end states:pure", "end states:doped")
    assert mixture.occupancies()[:4] == [
        {"Na": 0.25, "K": 0.75},
        {"Cl": 0.25, "Br": 0.75},
        {"Na": 0.25, "Va": 0.75},
        {"Cl": 1.0},
    ]
    everywhere = Mixture.from_end_states(
        {"pure": a, "doped": b}, {"doped": 3, "pure": 1}, all_sites=True, normalise=True, name="all"
    )
    assert everywhere.group("all").sites.tolist() == list(range(8))
    assert everywhere.occupancies() == mixture.occupancies()


@pytest.mark.parametrize(
    ("states", "weights", "words"),
    [
        ({}, {}, "no end states"),
        ({"a": "Cu", "b": "Au"}, {"a": 1.0}, "weights for a do not match"),
        ({"a": "Cu", "b": "Cu2"}, {"a": 0.5, "b": 0.5}, "'b' has 2 sites, 'a' has 1"),
        ({"a": "Cu", "b": "Cu"}, {"a": 0.5, "b": 0.5}, "same structure"),
        ({"a": "Cu", "b": "Au"}, {"a": 0.5, "b": 0.6}, "weights of the end states sum to 1.1"),
    ],
)
def test_bad_end_states(states: dict[str, str], weights: dict[str, float], words: str) -> None:
    structures = {label: Atoms(formula) for label, formula in states.items()}
    with pytest.raises(InputError, match=words):
        Mixture.from_end_states(structures, weights)


# ---------------------------------------------------------------------- changes


@patient
@given(mixtures().filter(lambda m: m.groups), st.data())
def test_with_composition_changes_one_group_alone(mixture: Mixture, data: st.DataObject) -> None:
    before = mixture.to_dict()
    group = data.draw(st.sampled_from(mixture.groups))
    x = data.draw(weight_lists(len(group.components)))
    changed = mixture.with_composition(group.name, x)
    expected = json.loads(json.dumps(before))
    expected["groups"][mixture.groups.index(group)]["composition"] = x
    assert changed.to_dict() == expected
    assert mixture.to_dict() == before
    fresh = Mixture.from_dict(expected)
    np.testing.assert_array_equal(
        changed.nodes.occupancies(changed.composition), fresh.nodes.occupancies(fresh.composition)
    )


def test_components_left_out_get_no_weight(oxide: Atoms) -> None:
    mixture = Mixture.from_elements(oxide, {"Ce": "Ce0.5Zr0.3Sn0.2"})
    changed = mixture.with_composition("Ce", {"Zr": 3, "Ce": 1}, normalise=True)
    assert changed.composition.tolist() == [0.25, 0.75, 0.0]


@pytest.mark.parametrize(
    ("group", "composition", "words"),
    [
        ("Zr", {"Ce": 1.0}, "no group is called 'Zr': the groups are Ce"),
        ("Ce", {"Ti": 1.0}, "group 'Ce' has no component 'Ti': its components are Ce, Zr"),
        ("Ce", {"Ce": 0.4}, "sum to 0.4, not 1"),
        ("Ce", [1.2, -0.2], "weight of Zr in group 'Ce' is negative"),
        ("Ce", [0.2, 0.3, 0.5], "2 components but 3 weights"),
    ],
)
def test_bad_changes_of_composition(oxide: Atoms, group: str, composition: Any, words: str) -> None:
    mixture = Mixture.from_elements(oxide, {"Ce": HALF})
    with pytest.raises(InputError, match=words):
        mixture.with_composition(group, composition)


def test_split_group_gives_every_site_a_composition_of_its_own(oxide: Atoms) -> None:
    mixture = Mixture.from_elements(oxide, {"Ce": HALF, "O": "O0.9Va0.1"}, correlation="concerted")
    split = mixture.split_group("Ce")
    assert [group.name for group in split.groups] == ["Ce@0", "Ce@1", "Ce@2", "Ce@3", "O"]
    assert {group.correlation for group in split.groups} == {"concerted"}
    assert split.occupancies() == mixture.occupancies()
    changed = split.with_composition("Ce@2", {"Zr": 1.0})
    assert [site["Zr"] for site in changed.occupancies()[:4]] == [0.5, 0.5, 1.0, 0.5]
    with pytest.raises(InputError, match="no group is called 'Zr'"):
        mixture.split_group("Zr")


@patient
@given(mixtures_with_mass(), st.tuples(*[st.integers(1, 3)] * 3))
def test_repeat_orders_sites_as_ase_does(mixture: Mixture, repeats: tuple[int, int, int]) -> None:
    """Geometry, species and group are those of the repeated ASE structure, site for site."""
    big, atoms = mixture.repeat(repeats), mixture.to_atoms().repeat(repeats)
    np.testing.assert_allclose(big.positions, atoms.positions, atol=1e-12)
    np.testing.assert_allclose(big.cell, atoms.cell.array, atol=1e-12)
    np.testing.assert_array_equal(big.pbc, atoms.pbc)
    np.testing.assert_array_equal(big.masses, atoms.get_masses())
    assert big.occupancies() == mixture.occupancies() * int(np.prod(repeats))
    assert big.component_labels == mixture.component_labels
    assert groups_of(Mixture.from_atoms(atoms)) == groups_of(big)


def test_repeat_by_one_number(oxide: Atoms) -> None:
    mixture = Mixture.from_elements(oxide, {"Ce": HALF})
    assert mixture.repeat(2).to_dict() == mixture.repeat((2, 2, 2)).to_dict()


def test_with_geometry_needs_the_same_sites(oxide: Atoms) -> None:
    mixture = Mixture.from_elements(oxide, {"Ce": HALF})
    moved = oxide.copy()
    moved.rattle(0.1, seed=1)
    changed = mixture.with_geometry(moved)
    np.testing.assert_array_equal(changed.positions, moved.positions)
    assert groups_of(changed) == groups_of(mixture)
    with pytest.raises(InputError, match="11 atoms, but the mixture has 12 sites"):
        mixture.with_geometry(oxide[:-1])


# ---------------------------------------------------------------------- dictionary and JSON


@patient
@given(mixtures())
def test_json_round_trip_is_exact(mixture: Mixture) -> None:
    data = mixture.to_dict()
    text = json.dumps(data)
    assert json.loads(text) == data
    again = Mixture.from_dict(json.loads(text))
    assert again.to_dict() == data
    for name in ("numbers", "positions", "cell", "pbc", "composition"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mixture, name))


def test_a_dictionary_with_a_missing_key(oxide: Atoms) -> None:
    data = Mixture.from_elements(oxide, {"Ce": HALF}).to_dict()
    del data["cell_A"]
    with pytest.raises(InputError, match="lacks the key 'cell_A'"):
        Mixture.from_dict(data)


# ---------------------------------------------------------------------- ASE


@patient
@given(mixtures_with_mass())
def test_ase_round_trip_is_exact(mixture: Mixture) -> None:
    again = Mixture.from_atoms(mixture.to_atoms())
    assert groups_of(again) == groups_of(mixture)
    assert again.occupancies() == mixture.occupancies()
    np.testing.assert_array_equal(again.positions, mixture.positions)
    np.testing.assert_array_equal(again.cell, mixture.cell)
    np.testing.assert_array_equal(again.pbc, mixture.pbc)


@pytest.fixture
def doped(oxide: Atoms) -> Mixture:
    """Two groups named against the order of their sites, one concerted, one with vacancies."""
    return Mixture.from_elements(
        oxide,
        {"anions": {"O": 0.9, "Va": 0.1}, "cations": {"Ce": 1 / 3, "Zr": 2 / 3}},
        groups={"anions": [5, 7, 11], "cations": [0, 1, 3]},
        correlation={"cations": "concerted"},
    )


def test_atoms_show_the_most_abundant_species_and_mean_masses(doped: Mixture) -> None:
    atoms = doped.to_atoms()
    assert str(atoms.symbols) == "Zr2CeZrO8"
    assert atoms.get_masses()[0] == pytest.approx((140.116 + 2 * 91.224) / 3)
    # ASE's convention: a vacancy is what is missing to 1.
    assert atoms.info["occupancy"][str(atoms.arrays["spacegroup_kinds"][5])] == {"O": 0.9}


@pytest.mark.parametrize("repeats", [(1, 1, 1), (2, 1, 2)])
def test_round_trip_through_extxyz(
    doped: Mixture, tmp_path: Path, repeats: tuple[int, int, int]
) -> None:
    file = tmp_path / "mixture.extxyz"
    doped.to_atoms().repeat(repeats).write(file)
    again = Mixture.from_atoms(read(file))
    expected = doped.repeat(repeats)
    assert groups_of(again) == groups_of(expected)
    np.testing.assert_allclose(again.positions, expected.positions, atol=1e-7)
    write_structure(expected, file)
    assert groups_of(read_structure(file)) == groups_of(expected)


def test_a_format_that_loses_half_of_it_is_refused(doped: Mixture, tmp_path: Path) -> None:
    """ASE's trajectories keep the occupancies, but not which atom has which."""
    doped.to_atoms().write(tmp_path / "mixture.traj")
    with pytest.raises(InputError, match="spacegroup_kinds"):
        read_structure(tmp_path / "mixture.traj")


def test_plain_atoms_are_pure(oxide: Atoms) -> None:
    mixture = Mixture.from_atoms(oxide)
    assert mixture.groups == ()
    assert mixture.composition.shape == (0,)
    assert mixture.n_atoms == 12
    np.testing.assert_allclose(mixture.masses, oxide.get_masses())


def alloy_atoms(occupancy: Mapping[Any, Mapping[str, float]], kinds: list[int]) -> Atoms:
    """Atoms in ASE's own convention, as its CIF reader leaves them."""
    atoms = Atoms(["Cu"] * len(kinds), positions=2.5 * np.eye(3)[: len(kinds)], cell=[5, 5, 5])
    atoms.info["occupancy"] = dict(occupancy)
    atoms.set_array("spacegroup_kinds", np.array(kinds))
    return atoms


def test_occupancies_in_ases_own_convention() -> None:
    """Integer keys, groups by equal occupancies, and what is missing to 1 is a vacancy."""
    occupancy = {0: {"Cu": 0.6, "Au": 0.3}, 1: {"Cu": 1.0}, 2: {"Au": 0.3, "Cu": 0.6}}
    mixture = Mixture.from_atoms(alloy_atoms(occupancy, [0, 1, 2]))
    (group,) = mixture.groups
    assert group.sites.tolist() == [0, 2]
    assert group.components == ("Cu", "Au", "Va")
    np.testing.assert_allclose(group.composition, [0.6, 0.3, 0.1], atol=1e-15)


@pytest.mark.parametrize(
    ("occupancy", "words"),
    [
        ({0: {"Cu": 0.6, "Au": 0.5}, 1: {"Cu": 1.0}}, "occupancies of site 0 sum to 1.1"),
        ({1: {"Cu": 1.0}}, "no entry '0', the kind of site 0"),
        ({0: {"Cu": 1.3, "Au": -0.3}, 1: {"Cu": 1.0}}, "weight of Au .* is negative"),
        ({0: {"Qq": 0.5, "Cu": 0.5}, 1: {"Cu": 1.0}}, "unknown species 'Qq'"),
        ({0: {"Cu": 0.5, "Au": 0.5}, 1: {"Au": 1.0}}, "site 1 is Cu, but .* says Au"),
    ],
)
def test_bad_occupancies_of_atoms(occupancy: dict[int, dict[str, float]], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Mixture.from_atoms(alloy_atoms(occupancy, [0, 1]))


def test_occupancies_without_kinds_are_refused() -> None:
    atoms = alloy_atoms({0: {"Cu": 0.5, "Au": 0.5}}, [0])
    del atoms.arrays["spacegroup_kinds"]
    with pytest.raises(InputError, match="spacegroup_kinds"):
        Mixture.from_atoms(atoms)


@pytest.mark.parametrize(
    ("site", "occupancy", "words"),
    [
        (0, {"Ce": 0.5, "Zr": 0.5}, "disagree about site 0"),
        (2, {"Ce": 0.5, "Zr": 0.5}, "mixes species on site 2"),
        (2, {"Ce": 0.9}, "mixes species on site 2"),
        (2, {"Zr": 1.0}, "site 2 is Ce, but .* says Zr"),
    ],
)
def test_occupancies_edited_by_hand_do_not_pass_unseen(
    doped: Mixture, site: int, occupancy: dict[str, float], words: str
) -> None:
    atoms = doped.to_atoms()
    kind = str(atoms.arrays["spacegroup_kinds"][site])
    atoms.info["occupancy"][kind] = occupancy
    with pytest.raises(InputError, match=words):
        Mixture.from_atoms(atoms)


def test_edited_occupancies_count_once_the_notes_are_deleted(doped: Mixture) -> None:
    atoms = doped.to_atoms()
    atoms.info["occupancy"][str(atoms.arrays["spacegroup_kinds"][0])] = {"Ce": 0.5, "Sn": 0.5}
    del atoms.info["alchemlip_groups"]
    assert Mixture.from_atoms(atoms).occupancies()[3] == {"Ce": 0.5, "Sn": 0.5}


# ---------------------------------------------------------------------- pymatgen


def salt(cation: Mapping[Any, float]) -> Structure:
    """Rock salt, two formula units, the cation sites alike."""
    return Structure(
        Lattice.tetragonal(4.0, 5.6),
        [dict(cation), dict(cation), "Cl", "Cl"],
        [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0, 0.5], [0.5, 0.5, 0]],
    )


@pytest.mark.parametrize(
    ("cation", "expected"),
    [
        ({"Na": 0.7, "K": 0.3}, {"Na": 0.7, "K": 0.3}),
        ({Species("Na", 1): 0.7, Species("K", 1): 0.3}, {"Na": 0.7, "K": 0.3}),
        ({Species("Fe", 2): 0.5, Species("Fe", 3): 0.2, "K": 0.3}, {"Fe": 0.7, "K": 0.3}),
        ({"Na": 0.7, "K": 0.2}, {"Na": 0.7, "K": 0.2, "Va": 0.1}),
        ({"Na": 0.4}, {"Va": 0.6, "Na": 0.4}),
        ({"Na": 0.7, DummySpecies("X"): 0.3}, {"Na": 0.7, "Va": 0.3}),
    ],
)
def test_structures_of_pymatgen(cation: dict[Any, float], expected: dict[str, float]) -> None:
    """Oxidation states are dropped, and what is missing to 1 is a vacancy."""
    structure = salt(cation)
    mixture = Mixture.from_structure(structure, correlation="concerted")
    (group,) = mixture.groups
    assert group.sites.tolist() == [0, 1]
    assert group.correlation == "concerted"
    assert group.components == tuple(expected)
    np.testing.assert_allclose(group.composition, list(expected.values()), atol=1e-12)
    np.testing.assert_allclose(mixture.positions, structure.cart_coords, atol=1e-12)
    np.testing.assert_array_equal(mixture.cell, structure.lattice.matrix)
    assert mixture.occupancies()[2] == {"Cl": 1.0}


def test_sites_of_different_occupancies_are_different_groups() -> None:
    structure = salt({"Na": 0.7, "K": 0.3})
    structure[1] = {"Na": 0.6, "K": 0.4}
    structure[2] = {"Cl": 0.9}
    mixture = Mixture.from_structure(structure)
    assert [(group.name, group.sites.tolist()) for group in mixture.groups] == [
        ("Na/K", [0]),
        ("Na/K 2", [1]),
        ("Cl/Va", [2]),
    ]


def test_ordered_structures_and_molecules_are_pure() -> None:
    assert Mixture.from_structure(salt({"Na": 1.0})).groups == ()
    molecule = Mixture.from_structure(Molecule(["C", "O"], [[0, 0, 0], [0, 0, 1.13]]))
    assert molecule.groups == ()
    assert not molecule.pbc.any()


def test_occupancies_above_1() -> None:
    structure = salt({"Na": 1.0})
    structure[0] = PeriodicSite(
        Composition({"Na": 0.9, "K": 0.6}), [0, 0, 0], structure.lattice, skip_checks=True
    )
    with pytest.raises(InputError, match=r"site 0 sum to 1\.5, more than 1"):
        Mixture.from_structure(structure)
    mixture = Mixture.from_structure(structure, normalise=True)
    assert mixture.occupancies()[0] == pytest.approx({"Na": 0.6, "K": 0.4})


def test_a_rounded_file_is_pointed_out() -> None:
    """0.33 + 0.33 + 0.33 is more likely a rounded third than a vacancy."""
    structure = salt({"Na": 0.33, "K": 0.33, "Rb": 0.33})
    with pytest.warns(UserWarning, match="leave 0.01 to a vacancy"):
        Mixture.from_structure(structure)
    thirds = Mixture.from_structure(structure, normalise=True)
    np.testing.assert_allclose(thirds.groups[0].composition, 1 / 3, atol=1e-12)


def test_structure_round_trip(doped: Mixture) -> None:
    again = Mixture.from_structure(doped.to_structure())
    for old, new in zip(doped.occupancies(), again.occupancies(), strict=True):
        assert new == pytest.approx(old, abs=1e-12)
    np.testing.assert_allclose(again.positions, doped.positions, atol=1e-12)


# ---------------------------------------------------------------------- CIF

OXIDE_CIF = """
data_oxide
_cell_length_a 5.40
_cell_length_b 5.40
_cell_length_c 5.40
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_symmetry_space_group_name_H-M 'F m -3 m'
_symmetry_Int_Tables_number 225
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Ce1 Ce4+ 0 0 0 {ce}
Zr1 Zr4+ 0 0 0 {zr}
O1 O2- 0.25 0.25 0.25 {o}
"""


@pytest.mark.parametrize(
    ("ce", "zr", "o", "cation", "anion"),
    [
        ("0.7", "0.3", "1", {"Ce": 0.7, "Zr": 0.3}, {"O": 1.0}),
        ("0.70(2)", "0.30(2)", "0.95", {"Ce": 0.7, "Zr": 0.3}, {"O": 0.95, "Va": 0.05}),
        ("0.7", "0.1", "1.", {"Ce": 0.7, "Va": 0.2, "Zr": 0.1}, {"O": 1.0}),
    ],
)
def test_disordered_cif(
    tmp_path: Path, ce: str, zr: str, o: str, cation: dict[str, float], anion: dict[str, float]
) -> None:
    """Symmetry, shared sites, oxidation states, uncertainties and vacancies of a CIF."""
    file = tmp_path / "oxide.cif"
    file.write_text(OXIDE_CIF.format(ce=ce, zr=zr, o=o))
    mixture = read_structure(file)
    occupancies = mixture.occupancies()
    assert mixture.n_sites == 12
    assert sum(site == pytest.approx(cation, abs=1e-9) for site in occupancies) == 4
    assert sum(site == pytest.approx(anion, abs=1e-9) for site in occupancies) == 8
    assert len(mixture.groups) == 1 + (len(anion) > 1)


def test_disordered_cif_read_by_ase(tmp_path: Path) -> None:
    file = tmp_path / "oxide.cif"
    file.write_text(OXIDE_CIF.format(ce="0.7", zr="0.3", o="0.95"))
    by_ase, ours = Mixture.from_atoms(read(file)), read_structure(file)
    key = partial(sorted, key=lambda site: sorted(site.items()))
    for a, b in zip(key(by_ase.occupancies()), key(ours.occupancies()), strict=True):
        assert a == pytest.approx(b, abs=1e-12)


def test_cif_with_too_much_on_a_site(tmp_path: Path) -> None:
    file = tmp_path / "oxide.cif"
    file.write_text(OXIDE_CIF.format(ce="0.7", zr="0.4", o="1"))
    with pytest.raises(
        InputError, match=r"oxide.cif', lines 18 and 19, sum to more than 1 \(1.1\)"
    ):
        read_structure(file)


@pytest.mark.parametrize("missing", [".", "?"])
@pytest.mark.parametrize("ce", ["1", "0.7"])
def test_cif_with_a_missing_occupancy(tmp_path: Path, ce: str, missing: str) -> None:
    """No site is dropped in silence."""
    file = tmp_path / "oxide.cif"
    file.write_text(OXIDE_CIF.format(ce=ce, zr="0", o=missing))
    with pytest.raises(InputError, match="for an occupancy: write a number"):
        read_structure(file)


def by_place(mixture: Mixture) -> list[tuple[tuple[float, ...], dict[str, float]]]:
    """Occupancies by fractional position, in an order that does not depend on the site order."""
    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    places = np.round(fractional, 6) % 1.0
    return sorted(
        zip((tuple(place) for place in places.tolist()), mixture.occupancies(), strict=True),
        key=lambda item: item[0],
    )


@pytest.mark.parametrize(
    ("structure", "composition"),
    [
        ("CeO2", {"Ce": {"Ce": 1 / 3, "Zr": 2 / 3}}),
        ("CeO2", {(0, 1): "Ce0.7Zr0.3", 2: "Zr0.2Sn0.8", "O": "O0.95Va0.05"}),
        ("CsPbI3_alpha", {"Cs": "Cs0.123456789Rb0.876543211", "Pb": "Pb0.5Sn0.25Va0.25"}),
        ("GaN_hex", {"Ga": "Ga0.5Al0.5"}),
        ("NaCl", {}),
    ],
)
def test_cif_round_trip(tmp_path: Path, structure: str, composition: dict[Any, Any]) -> None:
    mixture = Mixture.from_elements(example(structure), composition)
    file = tmp_path / "mixture.cif"
    assert can_be_cif(mixture)
    write_structure(mixture, file)
    again = read_structure(file)
    assert again.n_atoms == pytest.approx(mixture.n_atoms, abs=1e-9)
    for (place, old), (same_place, new) in zip(by_place(mixture), by_place(again), strict=True):
        np.testing.assert_allclose(same_place, place, atol=1e-5)
        assert new == pytest.approx(old, abs=1e-9)
    np.testing.assert_allclose(
        abs(np.linalg.det(again.cell)), abs(np.linalg.det(mixture.cell)), rtol=1e-9
    )


def test_labels_alone_name_the_elements_of_a_cif(tmp_path: Path) -> None:
    """Old files have no type symbols: Ce1 and O2- say the element."""
    text = OXIDE_CIF.replace("_atom_site_type_symbol\n", "")
    text = text.replace("Ce1 Ce4+", "Ce1").replace("Zr1 Zr4+", "Zr1").replace("O1 O2-", "O2-")
    (tmp_path / "labels.cif").write_text(text.format(ce="0.7", zr="0.3", o="0.95"))
    (tmp_path / "types.cif").write_text(OXIDE_CIF.format(ce="0.7", zr="0.3", o="0.95"))
    by_label, by_type = (read_structure(tmp_path / f"{n}.cif") for n in ("labels", "types"))
    assert by_label.occupancies() == by_type.occupancies()


def test_json_of_a_pymatgen_structure(doped: Mixture, tmp_path: Path) -> None:
    structure = doped.to_structure()
    structure.to(filename=str(tmp_path / "structure.json"))
    again = read_structure(tmp_path / "structure.json")
    for old, new in zip(doped.occupancies(), again.occupancies(), strict=True):
        assert new == pytest.approx(old, abs=1e-12)
    np.testing.assert_allclose(again.positions, doped.positions, atol=1e-9)


def test_ase_itself_writes_a_cif_with_vacancies(doped: Mixture, tmp_path: Path) -> None:
    """ASE's convention has no vacancy: it is what the occupancies leave to 1."""
    doped.to_atoms().write(tmp_path / "by_ase.cif")
    again = read_structure(tmp_path / "by_ase.cif")
    assert again.n_atoms == pytest.approx(doped.n_atoms, abs=1e-3)  # ASE writes four digits
    for (_, old), (_, new) in zip(by_place(doped), by_place(again), strict=True):
        assert new == pytest.approx(old, abs=1e-4)


def test_labels_of_end_states_survive_every_format_that_keeps_them(tmp_path: Path) -> None:
    """Components may have any name; with a vacancy, and several groups."""
    ends = {"A": bulk("NaCl", "rocksalt", 5.6), "1": Atoms("KX", positions=np.zeros((2, 3)))}
    pair = Mixture.from_end_states(ends, {"A": 0.3, "1": 0.7}, name="x y")
    for ending in ("json", "extxyz"):
        write_structure(pair, tmp_path / f"pair.{ending}")
        again = read_structure(tmp_path / f"pair.{ending}")
        assert groups_of(again) == groups_of(pair)
        assert again.composition_by_group == {"x y": {"A": 0.3, "1": 0.7}}
    write_structure(pair, tmp_path / "pair.cif")
    occupancies = read_structure(tmp_path / "pair.cif").occupancies()
    assert occupancies == [
        pytest.approx({"K": 0.7, "Na": 0.3}),
        pytest.approx({"Va": 0.7, "Cl": 0.3}),
    ]


def test_vacancies_listed_as_atoms_are_not_vanadium(tmp_path: Path) -> None:
    text = OXIDE_CIF.format(ce="0.7", zr="0.3", o="0.9") + "Va1 Va 0.25 0.25 0.25 0.1\n"
    (tmp_path / "va.cif").write_text(text)
    with pytest.raises(InputError, match="lists vacancies"):
        read_structure(tmp_path / "va.cif")


def test_cifs_of_a_series_are_named_by_composition(tmp_path: Path) -> None:
    """The wholly vacant end fits into no CIF."""
    salt = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6), {"Cl": "Cl0.5Va0.5"})
    series = [salt.with_composition("Cl", [1 - x, x]) for x in (0.0, 0.25, 1.0)]
    write_point_cifs(series, "Cl", tmp_path)
    assert sorted(file.name for file in (tmp_path / "structures").iterdir()) == [
        "0-Cl1.cif",
        "1-Cl0.75Va0.25.cif",
    ]
    again = read_structure(tmp_path / "structures" / "1-Cl0.75Va0.25.cif")
    assert again.n_atoms == pytest.approx(1.75)


def test_what_a_cif_cannot_hold(oxide: Atoms, tmp_path: Path) -> None:
    empty = Mixture.from_elements(oxide, {0: {"Ce": 0.0, "Va": 1.0}})
    cluster = Mixture.from_elements(Atoms("CeO", positions=[[0, 0, 0], [2, 0, 0]]), {"Ce": HALF})
    for mixture, words in ((empty, "site 0 is wholly vacant"), (cluster, "three cell vectors")):
        assert not can_be_cif(mixture)
        with pytest.raises(InputError, match=words):
            write_structure(mixture, tmp_path / "no.cif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.cif", None, "no structure file"),
        ("empty.cif", b"", "cannot read the structure file"),
        ("text.cif", b"not a CIF at all\n", "cannot read the structure file"),
        ("binary.cif", bytes(range(256)), "cannot read the structure file"),
        ("noatoms.cif", OXIDE_CIF.partition("loop_")[0].encode(), "cannot read|holds no atoms"),
        ("noatoms.xyz", b"0\n\n", "holds no atoms"),
        ("POSCAR", b"broken\n1.0\n", "cannot read the structure file"),
        ("notes.unknown", b"1 2 3\n", "cannot read the structure file"),
    ],
)
def test_unreadable_structures(
    tmp_path: Path, name: str, content: bytes | None, words: str
) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(InputError, match=words) as refusal:
        read_structure(file)
    assert name in str(refusal.value)
    assert "\n" not in str(refusal.value)


# ---------------------------------------------------------------------- what must not happen


def test_a_mixture_shares_no_memory_with_its_source() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms, {"Na": "Na0.5K0.5"})
    before = mixture.to_dict()
    atoms.positions += 1.0
    atoms.set_cell(atoms.cell * 2)
    assert mixture.to_dict() == before
    group = mixture.groups[0]
    for array in (mixture.positions, mixture.cell, group.composition, group.sites, group.species):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0
    mixture.composition[0] = 9.0  # a fresh array every time
    assert mixture.to_dict() == before


def test_mixtures_can_be_compared_and_kept_in_sets() -> None:
    mixture = Mixture.from_elements(bulk("Cu"), {"Cu": "Cu0.5Au0.5"})
    assert mixture == mixture  # noqa: PLR0124
    assert mixture != Mixture.from_dict(mixture.to_dict())
    assert len({mixture, mixture}) == 1


def test_partial_occupancies_of_the_atoms_stay_when_more_is_mixed() -> None:
    first = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.7), {"Na": "Na0.5K0.5"})
    second = Mixture.from_elements(first.to_atoms(), {"Cl": "Cl0.25Br0.75"})
    assert second.occupancies() == [{"Na": 0.5, "K": 0.5}, {"Cl": 0.25, "Br": 0.75}]


def test_symbols_of_pure_sites_win_over_old_notes() -> None:
    """Atoms read from a CIF carry its occupancies along when their symbols are changed."""
    atoms = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.7), {}).to_atoms()
    atoms.symbols[1] = "Br"
    mixture = Mixture.from_elements(atoms, {"Na": "Na0.5K0.5"})
    assert mixture.occupancies()[1] == {"Br": 1.0}
    with pytest.raises(InputError, match="site 1 is Br"):
        Mixture.from_atoms(atoms)


def test_new_species_keep_the_correlation_of_a_group() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms, {"Na": "Na0.5K0.5"}, correlation="concerted")
    assert mixture.mixed({"Na": "Na0.5Li0.5"}).groups[0].correlation == "concerted"
    changed = mixture.mixed({"Na": "Na0.5Li0.5"}, correlation="independent")
    assert changed.groups[0].correlation == "independent"


@pytest.mark.parametrize(
    ("composition", "options", "words"),
    [
        ({"Na": {"Na": "0.5", "K": 0.5}}, {}, "the composition of 'Na' is"),
        ({"Na": {"Na": None}}, {}, "the composition of 'Na' is"),
        ({"Na": ["Na"]}, {}, "the composition of 'Na' is"),
        ({1.5: "Na1"}, {}, "the selection 1.5 is no element"),
        ({(0.7,): "Na1"}, {}, r"the selection \(0.7,\) is no element"),
        ({"g": "Na1"}, {"groups": {"g": [True, False]}}, "is no element, group, site index"),
        ({"Na": "Na1"}, {"groups": {"g": [1]}}, "named group 'g' is given no composition"),
    ],
)
def test_input_of_the_wrong_type_is_named(composition: Any, options: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Mixture.from_elements(bulk("NaCl", "rocksalt", 5.7), composition, **options)


@pytest.mark.parametrize(
    "change", [{"cell_A": [[1, 2, 3]]}, {"pbc": [True]}, {"positions_A": "here"}, {"groups": [3]}]
)
def test_damaged_dictionaries_are_named(change: dict[str, Any]) -> None:
    data = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.7), {"Na": "Na0.5K0.5"}).to_dict()
    with pytest.raises(InputError):
        Mixture.from_dict({**data, **change})


@pytest.mark.parametrize("name", ["a.vasp", "POSCAR", "a.traj", "a.xyz"])
def test_formats_without_occupancies_are_refused(name: str, tmp_path: Path) -> None:
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.7), {"Na": "Na0.5K0.5"})
    with pytest.raises(InputError, match="cannot hold partial occupancies"):
        write_structure(mixture, tmp_path / name)
    assert not (tmp_path / name).exists()
    write_structure(Mixture.from_elements(bulk("Cu"), {}), tmp_path / "a.vasp")


def test_json_file_is_exact(tmp_path: Path) -> None:
    atoms = bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms, {"Na": "Na0.3K0.7"}, correlation="concerted")
    write_structure(mixture, tmp_path / "a.json")
    assert read_structure(tmp_path / "a.json").to_dict() == mixture.to_dict()


def test_a_mixture_in_words() -> None:
    mixture = Mixture.from_elements(
        bulk("NaCl", "rocksalt", 5.6, cubic=True), {"Na": {"Na": 0.75, "Va": 0.25}}
    )
    first, second = str(mixture).splitlines()
    assert first == "8 sites, 7 atoms, 1 mixed group"
    assert second == "Na (4 sites, independent): Na 0.75, Va 0.25"
