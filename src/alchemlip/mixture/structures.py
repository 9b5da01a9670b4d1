"""ASE atoms and pymatgen structures to mixtures, and back."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import constraints_of, constraints_of_structure
from alchemlip.mixture.exclusive import NO_PAIRS, ExclusivePairs, pairs_from_note, pairs_note
from alchemlip.mixture.groups import Correlation, Group
from alchemlip.mixture.short_range_order import ShortRangeOrder
from alchemlip.mixture.species import (
    HYDROGEN_MASSES,
    SUM_TOLERANCE,
    VACANCY,
    VACANCY_NUMBER,
    check_weights,
    element_numbers,
    element_symbol,
    isotope_number,
    species_number,
    species_symbol,
)

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.mixture.mixture import Mixture

Parts = dict[str, Any]
"""Arguments of a `Mixture`, by name."""

OCCUPANCY = "occupancy"
KINDS = "spacegroup_kinds"
GROUPS = "alchemlip_groups"
EXCLUSIVE = "alchemlip_exclusive"
SITE = "alchemlip_site"
ROUNDING = 0.02
"""A missing occupancy below this is more likely a rounded file than a vacancy: warn."""


# ---------------------------------------------------------------------- pymatgen


def parts_of_structure(
    structure: Any, correlation: Correlation = "independent", normalise: bool = False
) -> Parts:
    """Read a pymatgen ``Structure``; sites of equal occupancies form one group.

    Args:
        structure: a pymatgen ``Structure`` (or ``Molecule``), ordered or not.
        correlation: of every group.
        normalise: divide occupancies by their sum where it is above 1, or 1 but for rounding; what
            is missing to 1 elsewhere is a vacancy.

    Raises:
        InputError: if the occupancies of a site exceed 1.
    """
    numbers = []
    kinds: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for index, site in enumerate(structure):
        occupancy: dict[str, float] = {}
        for species, weight in site.species.items():
            # Species, Element and DummySpecies all hold their symbol without the oxidation state;
            # that of D and T is H.
            element = getattr(species, "element", species)
            name = getattr(element, "name", "")
            symbol = name if name in HYDROGEN_MASSES else str(element.symbol)
            symbol = VACANCY if symbol in ("X", VACANCY) else symbol
            occupancy[symbol] = occupancy.get(symbol, 0.0) + float(weight)
        occupancy = _complete(occupancy, f"site {index}", normalise)
        numbers.append(species_number(max(occupancy, key=lambda s: (occupancy[s], s))))
        if len(occupancy) > 1:
            kinds.setdefault(tuple(occupancy.items()), []).append(index)
    groups = named_groups(kinds, correlation)
    lattice = getattr(structure, "lattice", None)
    cell = np.zeros((3, 3)) if lattice is None else np.array(lattice.matrix)
    pbc = np.zeros(3, dtype=bool) if lattice is None else np.array(lattice.pbc)
    kept = constraints_of_structure(structure)
    return _parts(np.array(numbers), structure.cart_coords, cell, pbc, groups) | kept


def structure_from_mixture(mixture: Mixture) -> Any:
    """Return a pymatgen ``Structure`` with partial occupancies; a vacancy is what is missing to 1.

    Raises:
        InputError: if the cell does not span space, or a site is wholly vacant.
    """
    from pymatgen.core import Lattice, Structure

    if abs(np.linalg.det(mixture.cell)) < 1e-9:
        raise InputError(
            "a pymatgen structure or CIF needs three cell vectors: give the slab or cluster a box"
        )
    species = []
    for index, occupancy in enumerate(mixture.occupancies()):
        present: dict[str, float] = {}
        for symbol, p in occupancy.items():
            if symbol != VACANCY and p > 0:
                # pymatgen knows D and T; other masses are no part of its structures.
                name = symbol if symbol in HYDROGEN_MASSES else element_symbol(symbol)
                present[name] = present.get(name, 0.0) + p
        if not present:
            raise InputError(
                f"site {index} is wholly vacant, which a CIF cannot hold: remove the site"
            )
        species.append(present)
    lattice = Lattice(mixture.cell, pbc=tuple(bool(p) for p in mixture.pbc))
    kept = {"selective_dynamics": [[not held] * 3 for held in mixture.fixed.tolist()]}
    return Structure(
        lattice,
        species,
        mixture.positions,
        coords_are_cartesian=True,
        site_properties=kept if mixture.fixed.any() else None,
    )


def _complete(occupancy: dict[str, float], where: str, normalise: bool) -> dict[str, float]:
    """Return `completed` occupancies; a warning about them is Python's."""
    result, note = completed(occupancy, where, normalise)
    if note:
        warnings.warn(note, stacklevel=2)
    return result


def completed(
    occupancy: Mapping[str, float], where: str, normalise: bool
) -> tuple[dict[str, float], str]:
    """Return occupancies, most abundant first, whose rest to 1 is the vacancy.

    Args:
        occupancy: of each species of a site.
        where: words for the site.
        normalise: divide by a sum that is above 1, or 1 but for rounding.

    Returns:
        The occupancies, and a sentence if they look rounded, or an empty text.

    Raises:
        InputError: if they exceed 1.
    """
    total, note, result = sum(occupancy.values()), "", dict(occupancy)
    if normalise and total > 1.0 - ROUNDING - SUM_TOLERANCE:
        result = {symbol: p / total for symbol, p in occupancy.items()}
    elif total > 1.0 + SUM_TOLERANCE:
        raise InputError(
            f"the occupancies of {where} sum to {total:.6g}, more than 1: correct the file, or "
            "ask for normalisation"
        )
    elif total < 1.0 - SUM_TOLERANCE:
        missing = 1.0 - total
        if missing < ROUNDING and VACANCY not in occupancy:
            note = (
                f"the occupancies of {where} leave {missing:.4g} to a vacancy; if the file was "
                "rounded, ask for normalisation (normalise=True)"
            )
        result[VACANCY] = result.get(VACANCY, 0.0) + missing
    return dict(sorted(result.items(), key=lambda item: (-item[1], item[0]))), note


def _by_element(occupancy: Mapping[str, float]) -> dict[str, float]:
    """Return the occupancies of elements: isotopes together, the vacancy left out."""
    result: dict[str, float] = {}
    for symbol, p in occupancy.items():
        if symbol != VACANCY:
            element = element_symbol(symbol)
            result[element] = result.get(element, 0.0) + p
    return result


def named_groups(
    kinds: dict[tuple[tuple[str, float], ...], list[int]], correlation: Correlation
) -> tuple[Group, ...]:
    """Return one group for each kind of mixed site, called after its species."""
    groups: list[Group] = []
    used: dict[str, int] = {}
    for occupancy, sites in kinds.items():
        stem = "/".join(symbol for symbol, _ in occupancy)
        used[stem] = used.get(stem, 0) + 1
        name = stem if used[stem] == 1 else f"{stem} {used[stem]}"
        groups.append(Group.of_species(name, sites, dict(occupancy), correlation))
    return tuple(groups)


# ---------------------------------------------------------------------- ASE


def atoms_from_mixture(mixture: Mixture) -> Atoms:
    """Return ASE atoms that say everything the mixture does; see ``Mixture.to_atoms``."""
    from ase import Atoms
    from ase.constraints import FixAtoms

    kinds = np.zeros(mixture.n_sites, dtype=int)
    occupancies: dict[str, dict[str, float]] = {}
    details: dict[str, dict[str, Any]] = {}
    known: dict[tuple[Any, ...], int] = {}
    owner = {site: (group, row) for group in mixture.groups for row, site in enumerate(group.sites)}
    order = {group.name: index for index, group in enumerate(mixture.groups)}
    numbers = mixture.numbers.copy()
    for site, occupancy in enumerate(mixture.occupancies()):
        group, row = owner.get(site, (None, 0))
        species = () if group is None else tuple(group.species[row].tolist())
        key = (group.name if group else "", species, tuple(occupancy))
        kind = known.setdefault(key, len(known))
        kinds[site] = kind
        # ASE's convention knows no vacancy, which is what is missing to 1, and no isotopes.
        occupancies[str(kind)] = _by_element(occupancy)
        numbers[site] = species_number(max(occupancy, key=lambda s: (occupancy[s], s)))
        if group is not None:
            details[str(kind)] = {
                "name": group.name,
                "order": order[group.name],
                "components": list(group.components),
                "species": [species_symbol(number) for number in species],
                "composition": group.composition.tolist(),
                "correlation": group.correlation,
            }
            if group.short_range_order is not None:
                details[str(kind)]["short_range_order"] = group.short_range_order.to_dict()
    numbers = element_numbers(numbers)
    atoms = Atoms(numbers=numbers, positions=mixture.positions, cell=mixture.cell, pbc=mixture.pbc)
    atoms.set_masses(mixture.masses)
    if mixture.fixed.any():
        atoms.set_constraint(FixAtoms(mask=mixture.fixed))
    atoms.set_array(KINDS, kinds)
    atoms.info[OCCUPANCY] = occupancies
    if details:
        atoms.info[GROUPS] = details
    if len(mixture.exclusive):
        atoms.info[EXCLUSIVE] = pairs_note(mixture)
        atoms.set_array(SITE, np.arange(mixture.n_sites))
    return atoms


def parts_of_atoms(atoms: Atoms) -> Parts:
    """Read ASE atoms; see ``Mixture.from_atoms``."""
    groups = groups_from_atoms(atoms)
    occupied = {site for group in groups for site in group.sites.tolist()}
    if OCCUPANCY in atoms.info:
        _check_shown(atoms, [site for site in range(len(atoms)) if site not in occupied])
    numbers, pairs = species_of_atoms(atoms, groups), pairs_from_atoms(atoms)
    kept = constraints_of(atoms)
    parts = _parts(numbers, atoms.positions, atoms.cell.array, atoms.pbc, groups)
    return parts | {"exclusive": pairs} | kept


def species_of_atoms(atoms: Atoms, groups: Sequence[Group] = ()) -> IntArray:
    """Return the species (S,) of ASE atoms: isotopes where their masses are no standard ones.

    Args:
        atoms: whose masses count if they were set.
        groups: on whose sites the masses are means, and say nothing.

    Raises:
        InputError: if a mass is not positive.
    """
    numbers = np.array(atoms.numbers, dtype=np.int64)
    if not atoms.has("masses"):
        return numbers
    mixed = {site for group in groups for site in group.sites.tolist()}
    for site, (number, mass) in enumerate(
        zip(numbers.tolist(), atoms.get_masses().tolist(), strict=True)
    ):
        if site in mixed or number == VACANCY_NUMBER or _of_another_element(number, mass):
            continue
        if not (np.isfinite(mass) and 0 < mass < 1e4):
            raise InputError(f"the mass of site {site} is {mass:g} amu: give a positive one")
        numbers[site] = isotope_number(number, mass)
    return numbers


def _of_another_element(number: int, mass: float) -> bool:
    """Whether a mass was left behind when the atom's symbol was changed."""
    from ase.data import atomic_masses

    return bool((np.abs(np.delete(atomic_masses, [0, number]) - mass) < 1e-9).any())


def parts_of_end_states(
    end_states: Mapping[str, Atoms],
    composition: Mapping[str, float],
    name: str,
    correlation: Correlation,
    all_sites: bool,
    normalise: bool,
) -> Parts:
    """Interpolate between ASE structures; see ``Mixture.from_end_states``."""
    labels = tuple(end_states)
    if not labels:
        raise InputError("there are no end states: give at least two structures")
    if set(labels) != set(composition):
        raise InputError(
            f"end states {', '.join(labels)} and weights for {', '.join(composition)} do not "
            "match: give one weight per end state"
        )
    first = end_states[labels[0]]
    for label, atoms in end_states.items():
        if len(atoms) != len(first):
            raise InputError(
                f"end state {label!r} has {len(atoms)} sites, {labels[0]!r} has {len(first)}: "
                "give all the same sites, with X for an empty one"
            )
    species = np.stack([species_of_atoms(atoms) for atoms in end_states.values()], axis=1)
    differ = np.ones(len(first), dtype=bool)
    if not all_sites:
        differ = (species != species[:, :1]).any(axis=1)
    sites = np.flatnonzero(differ)
    if len(sites) == 0:
        raise InputError("the end states are the same structure: nothing would be mixed")
    weights = check_weights(
        {label: composition[label] for label in labels}, "the end states", normalise
    )
    group = Group(
        name, sites, labels, species[sites], np.array(list(weights.values())), correlation
    )
    parts = _parts(species[:, 0], first.positions, first.cell.array, first.pbc, (group,))
    return parts | constraints_of(first)


def _parts(numbers: Any, positions: Any, cell: Any, pbc: Any, groups: tuple[Group, ...]) -> Parts:
    return {
        "numbers": numbers,
        "positions": positions,
        "cell": cell,
        "pbc": pbc,
        "groups": groups,
    }


def groups_from_atoms(atoms: Atoms) -> tuple[Group, ...]:
    """Return the groups that ``info["occupancy"]`` describes; none without it.

    Raises:
        InputError: if ``info["occupancy"]`` does not fit the atoms, or disagrees with what
            ``Mixture.to_atoms`` noted beside it.
    """
    if OCCUPANCY not in atoms.info:
        return ()
    if KINDS not in atoms.arrays:
        raise InputError(
            f'atoms.info["{OCCUPANCY}"] is there but atoms.arrays["{KINDS}"] is not: set it to the '
            "occupancy key of each atom, as ASE's CIF reader does"
        )
    kinds = atoms.arrays[KINDS]
    table = {str(kind): dict(value) for kind, value in atoms.info[OCCUPANCY].items()}
    details = {str(kind): value for kind, value in atoms.info.get(GROUPS, {}).items()}
    sites_of: dict[str, list[int]] = {}
    for site, kind in enumerate(kinds.tolist()):
        if str(kind) not in table:
            raise InputError(
                f'atoms.info["{OCCUPANCY}"] has no entry {str(kind)!r}, the kind of site {site}: '
                "add it"
            )
        sites_of.setdefault(str(kind), []).append(site)
    plain: dict[tuple[tuple[str, float], ...], list[int]] = {}
    for kind, sites in sites_of.items():
        if kind in details:
            continue
        shares = _complete(table[kind], f"site {sites[0]}", normalise=False)
        if len(shares) == 1:
            continue  # a pure site is what its symbol says
        if details:
            raise InputError(
                f'atoms.info["{OCCUPANCY}"] mixes species on site {sites[0]}, but '
                f'atoms.info["{GROUPS}"] does not know it: delete the latter'
            )
        plain.setdefault(tuple(shares.items()), []).extend(sites)
    return _groups_with_details(table, details, sites_of) or named_groups(plain, "independent")


def pairs_from_atoms(atoms: Atoms) -> ExclusivePairs:
    """Return the exclusive pairs that ``Mixture.to_atoms`` noted; none without a note.

    Raises:
        InputError: if sites were left out or repeated since.
    """
    if EXCLUSIVE not in atoms.info:
        return NO_PAIRS
    if SITE not in atoms.arrays:
        raise InputError(
            f'atoms.info["{EXCLUSIVE}"] is there but atoms.arrays["{SITE}"] is not: keep both, or '
            "delete both"
        )
    return pairs_from_note(
        atoms.info[EXCLUSIVE], atoms.arrays[SITE], atoms.positions, atoms.cell.array, atoms.pbc
    )


def _check_shown(atoms: Atoms, sites: list[int]) -> None:
    """Refuse pure sites that show another element than their occupancy says."""
    table = {str(kind): list(value) for kind, value in atoms.info[OCCUPANCY].items()}
    for site in sites:
        said = table[str(atoms.arrays[KINDS][site])]
        if atoms.numbers[site] not in [species_number(element_symbol(symbol)) for symbol in said]:
            raise InputError(
                f'site {site} is {atoms.symbols[site]}, but atoms.info["{OCCUPANCY}"] says '
                f"{said[0]}: correct one of them"
            )


def _groups_with_details(
    table: dict[str, dict[str, float]],
    details: dict[str, dict[str, Any]],
    sites_of: dict[str, list[int]],
) -> tuple[Group, ...]:
    """Return the groups noted by ``atoms_from_mixture``, checked against the occupancies."""
    members: dict[str, list[tuple[int, list[int]]]] = {}
    notes: dict[str, dict[str, Any]] = {}
    for kind, sites in sites_of.items():
        note = details.get(kind)
        if note is None:
            continue
        expected: dict[str, float] = {}
        for symbol, weight in zip(note["species"], note["composition"], strict=True):
            expected[symbol] = expected.get(symbol, 0.0) + float(weight)
        given = table[kind]
        expected, given = _by_element(expected), _by_element(given)
        names = set(expected) | set(given)
        if any(abs(expected.get(s, 0.0) - given.get(s, 0.0)) > SUM_TOLERANCE for s in names):
            raise InputError(
                f'atoms.info["{OCCUPANCY}"] and atoms.info["{GROUPS}"] disagree about site '
                f"{sites[0]}: delete the latter if you changed the occupancies"
            )
        species = [species_number(symbol) for symbol in note["species"]]
        members.setdefault(note["name"], []).extend((site, species) for site in sites)
        notes[note["name"]] = note
    groups = []
    for name, rows in sorted(members.items(), key=lambda item: notes[item[0]].get("order", 0)):
        note = notes[name]
        groups.append(
            Group(
                name,
                np.array([site for site, _ in rows]),
                tuple(note["components"]),
                np.array([row for _, row in rows]),
                np.array(note["composition"], dtype=float),
                note["correlation"],
                ShortRangeOrder.from_dict(note["short_range_order"])
                if "short_range_order" in note
                else None,
            )
        )
    return tuple(groups)
