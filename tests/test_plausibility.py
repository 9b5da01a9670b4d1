"""Warnings are rare, and come where they must."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from alchemlip import Mixture
from alchemlip.crystal.plausibility import closest_contact, distance_warnings, spread_warnings
from alchemlip.testing import CRYSTALS, Crystal
from crystals import STRUCTURES, example


@pytest.mark.parametrize("crystal", CRYSTALS, ids=str)
def test_the_crystals_of_the_tests_are_plausible(crystal: Crystal) -> None:
    """Rattled by 0.08 A and strained by 2 %."""
    assert distance_warnings(crystal.mixture()) == []


@pytest.mark.parametrize("name", sorted(file.stem for file in STRUCTURES.glob("*.cif")))
def test_the_examples_are_plausible(name: str) -> None:
    assert distance_warnings(Mixture.from_atoms(example(name))) == []


@pytest.mark.parametrize("name", ["H2", "N2", "CO", "C2H2", "HF", "H2O", "CH4", "LiF", "O2"])
def test_the_shortest_bonds_are_plausible(name: str) -> None:
    """Double and triple bonds are bonds."""
    assert distance_warnings(Mixture.from_atoms(molecule(name))) == []


def test_the_bound_in_covalent_radii() -> None:
    """C-C: radii of 0.76 A, so 0.912 A."""
    for distance, n in ((0.91, 1), (0.92, 0)):
        pair = Mixture.from_atoms(Atoms("C2", positions=[[0, 0, 0], [distance, 0, 0]]))
        assert len(distance_warnings(pair)) == n
        contact = closest_contact(pair)
        assert contact is not None
        assert contact[0] == pytest.approx(distance / 1.52)


def test_squeezed_crystals_are_told_by_their_closest_pair() -> None:
    """In rock salt at 55 % of its lattice parameter: Na-Cl, 1.55 A over 1.66 + 1.02 A."""
    atoms = bulk("NaCl", "rocksalt", 5.64)
    atoms.set_cell(0.55 * atoms.cell.array, scale_atoms=True)
    mixture = Mixture.from_elements(atoms, {"Na": "Na0.5K0.5"})
    (sentence,) = distance_warnings(mixture)
    assert "1.55 Å apart, 0.58 of" in sentence  # of Na, the smaller of the two
    assert "(Na)" in sentence
    assert "(Cl)" in sentence
    assert distance_warnings(mixture.with_composition("Na", {"K": 1.0})) != []


def brute_force(mixture: Mixture) -> float:
    """Smallest distance over sum of radii, over all pairs, images and species."""
    from ase.data import atomic_numbers as number
    from ase.data import covalent_radii

    best = np.inf
    images = np.array(np.meshgrid(*[range(-2, 3)] * 3)).reshape(3, -1).T @ mixture.cell
    for i, here in enumerate(mixture.occupancies()):
        for j, there in enumerate(mixture.occupancies()):
            d = np.linalg.norm(mixture.positions[j] + images - mixture.positions[i], axis=1)
            shortest = d[d > 1e-9].min()
            # The smallest species of each site: the most that can be said for the pair.
            radii = [
                min(covalent_radii[number[s]] for s, p in site.items() if s != "Va" and p > 0)
                for site in (here, there)
            ]
            best = min(best, shortest / sum(radii))
    return best


@pytest.mark.parametrize("name", ["rock-salt", "two-groups", "both-sublattices", "one-atom-cell"])
def test_closest_contact_against_all_pairs(name: str) -> None:
    crystal = next(item for item in CRYSTALS if item.name == name)
    mixture = crystal.mixture()
    found = closest_contact(mixture)
    expected = brute_force(mixture)
    if found is None:
        assert expected >= 1.0
    else:
        assert found[0] == pytest.approx(expected, rel=1e-9)


def split_site(correlation: Any) -> Mixture:
    """Two places of one atom, 0.7 A apart, of which one is taken."""
    one = Atoms("CuX", positions=[[0, 0, 0], [0.7, 0, 0]], cell=[6, 6, 6], pbc=True)
    other = Atoms("XCu", positions=one.positions, cell=[6, 6, 6], pbc=True)
    weights = {"left": 0.5, "right": 0.5}
    return Mixture.from_end_states({"left": one, "right": other}, weights, correlation=correlation)


def test_split_sites_are_told_unless_they_exclude_one_another() -> None:
    (sentence,) = distance_warnings(split_site("independent"))
    assert "if at most one of them is filled, say so with Mixture.with_exclusive()" in sentence
    assert distance_warnings(split_site("concerted")) == []
    atoms = split_site("independent").to_atoms()[:2]
    listed = Mixture.from_elements(
        Atoms("Cu2", positions=atoms.positions, cell=atoms.cell, pbc=True),
        {"Cu": {"Cu": 0.5, "Va": 0.5}},
    )
    assert len(distance_warnings(listed)) == 1
    assert distance_warnings(listed.with_exclusive([(0, 1)])) == []
    # Another image of the partner is a contact like any other.
    short = listed.with_exclusive([(0, 1, (0, 0, 1))])
    assert "0.70 Å apart" in distance_warnings(short)[0]


def test_what_is_never_there_is_not_told() -> None:
    pair = split_site("independent")
    assert distance_warnings(pair.with_composition("end states", [1.0, 0.0])) == []
    alone = Mixture.from_atoms(Atoms("He"))
    assert closest_contact(alone) is None


def mixing(value: float, spread: float, x: float = 0.5) -> dict[str, Any]:
    return {
        "composition": {"Na:Na": 1 - x, "Na:K": x},
        "mixing_energy_eV_per_atom": value,
        "mixing_energy_eV_per_atom_spread": spread,
    }


def test_spread_of_the_mixing_energy() -> None:
    assert spread_warnings([mixing(0.03, 0.005), mixing(0.0, 0.0, 0.0)]) == []
    assert spread_warnings([mixing(0.001, 0.003)]) == []  # small in any case
    (sentence,) = spread_warnings([mixing(0.01, 0.012), mixing(0.001, 0.004, 0.1)])
    assert "Na:K 0.5" in sentence
    assert "10.0 ± 12.0 meV" in sentence


def test_spread_of_forces() -> None:
    def forces(value: float, spread: float) -> dict[str, Any]:
        return {"max_force_eV_per_A": value, "forces_eV_per_A_spread": spread}

    assert spread_warnings([forces(1.0, 0.2)]) == []
    assert spread_warnings([forces(0.0, 0.05)]) == []
    (sentence,) = spread_warnings([forces(0.5, 0.4)])
    assert "0.40 eV/Å" in sentence
    relaxed = {**forces(0.0, 0.4), "max_stress_deviation_GPa": 0.0}
    assert spread_warnings([relaxed]) == []
    assert spread_warnings([{"energy_eV": 1.0}]) == []
