"""Small crystals on which a potential is checked: no symmetry that could hide an error."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import atomic_numbers, covalent_radii

from alchemlip.mixture.groups import Correlation
from alchemlip.mixture.mixture import Mixture


def deformed(atoms: Atoms, seed: int = 0, rattle: float = 0.08, strain: float = 0.02) -> Atoms:
    """Return a copy with random displacements (Angstrom) and a random strain of the cell."""
    rng = np.random.default_rng(seed)
    atoms = atoms.copy()
    if atoms.pbc.any():
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + strain * rng.uniform(-1, 1, (3, 3))), scale_atoms=True
        )
    atoms.positions += rattle * rng.uniform(-1, 1, atoms.positions.shape)
    return atoms


@dataclass(frozen=True)
class Crystal:
    """A structure, what is mixed in it, and two elements of another structure in its place.

    Attributes:
        name: what it is called in tests.
        atoms: the structure.
        spec: what sits where, as `Mixture.from_elements` takes it.
        others: elements that stand in the place of the first atom's element and of all others in
            the second end state of `check_concerted_sum`.
        exclusive: pairs of sites of which at most one is filled.
    """

    name: str
    atoms: Atoms
    spec: Mapping[Any, Mapping[str, float]]
    others: tuple[str, str] = ("Ag", "Br")
    exclusive: tuple[tuple[int, int], ...] = ()

    def mixture(self, correlation: Correlation = "independent") -> Mixture:
        """Return the mixture, all of whose groups have this correlation."""
        mixture = Mixture.from_elements(self.atoms, self.spec, correlation=correlation)
        return mixture.with_exclusive(self.exclusive)

    def with_elements(self, names: Mapping[str, str]) -> Crystal:
        """Return the crystal of other elements, as much larger as these are (covalent radii)."""
        atoms = self.atoms.copy()
        atoms.symbols[:] = [names.get(symbol, symbol) for symbol in atoms.symbols]
        scale = covalent_radii[atoms.numbers].sum() / covalent_radii[self.atoms.numbers].sum()
        atoms.positions *= scale
        atoms.cell *= scale
        spec = {
            names.get(site, site): {names.get(s, s): p for s, p in species.items()}
            for site, species in self.spec.items()
        }
        first, second = (names.get(symbol, symbol) for symbol in self.others)
        return replace(self, atoms=atoms, spec=spec, others=(first, second))

    def in_elements(self, covered: Collection[str]) -> Crystal | None:
        """Return the crystal in elements that a potential covers, or None if they are too few.

        Elements that are covered stay. Others become the covered ones of closest covalent radius,
        such that the elements of a site differ, and those of the structure.
        """
        hosts = list(dict.fromkeys(self.atoms.symbols))
        sites = [[s for s in species if s != "Va"] for species in self.spec.values()]
        together = [set(hosts), *map(set, sites)]
        needed = list(dict.fromkeys([*hosts, *itertools.chain(*sites)]))
        names = _assigned(needed, together, covered, {})
        if names is None:
            return None
        for symbol, instead_of in zip(self.others, (hosts[:1], hosts[1:]), strict=True):
            taken = {names[host] for host in instead_of}
            candidates = _candidates(symbol, covered, names)
            free = [name for name in candidates if name not in taken]
            names.setdefault(symbol, (free or candidates)[0])
        return self.with_elements(names)

    def __repr__(self) -> str:
        return self.name


def _candidates(symbol: str, covered: Collection[str], names: Mapping[str, str]) -> list[str]:
    """Return the element itself, or else the covered ones, unused and close in radius first."""
    if symbol in covered:
        return [symbol]
    radius = {name: covalent_radii[atomic_numbers[name]] for name in (*covered, symbol)}
    used = set(names.values())
    return sorted(covered, key=lambda c: (c in used, abs(radius[c] - radius[symbol])))


def _assigned(
    needed: Sequence[str],
    together: Sequence[set[str]],
    covered: Collection[str],
    names: Mapping[str, str],
) -> dict[str, str] | None:
    """Return names for all needed elements, such that those that stand together differ."""
    if not needed:
        return dict(names)
    symbol, *rest = needed
    rivals = set().union(*(some for some in together if symbol in some))
    taken = {names[rival] for rival in rivals if rival in names}
    for candidate in _candidates(symbol, covered, names):
        if candidate not in taken:
            found = _assigned(rest, together, covered, {**names, symbol: candidate})
            if found is not None:
                return found
    return None


def pure_atoms(mixture: Mixture) -> Atoms:
    """Return the ordinary structure of a mixture whose occupancies are all 0 or 1."""
    symbols = [max(site, key=lambda s: site[s]) for site in mixture.occupancies()]
    kept = [index for index, symbol in enumerate(symbols) if symbol != "Va"]
    return Atoms(
        [symbols[index] for index in kept],
        positions=mixture.positions[kept],
        cell=mixture.cell,
        pbc=mixture.pbc,
    )


_FACES = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]


def _cubic(symbols: str, scaled: Any, a: float) -> Atoms:
    return Atoms(symbols, scaled_positions=scaled, cell=a * np.eye(3), pbc=True)


def _rock_salt() -> Atoms:
    anions = [[0, 0, 0.5], [0, 0.5, 0], [0.5, 0, 0], [0.5, 0.5, 0.5]]
    return _cubic("Na4Cl4", [*_FACES, *anions], 5.683047)


def _fluorite() -> Atoms:
    quarters = ["133", "311", "111", "333", "331", "113", "313", "131"]
    anions = [[int(digit) / 4 for digit in site] for site in quarters]
    return _cubic("Ce4O8", [*_FACES, *anions], 5.46789)


def _perovskite() -> Atoms:
    faces = [[0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return _cubic("CsI3Pb", [[0, 0, 0], *faces, [0.5, 0.5, 0.5]], 6.379042)


def _cluster() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
    atoms.pbc = False
    atoms.cell = None
    return atoms


def _split_site() -> Atoms:
    """Rock salt whose cation sits at one of two places."""
    atoms = bulk("NaCl", "rocksalt", 5.6)
    return atoms + Atoms("Na", positions=[[0.9, 0.7, -0.6]])


CRYSTALS = (
    Crystal("rock-salt", deformed(_rock_salt()), {"Na": {"Na": 0.3, "K": 0.7}}),
    Crystal("fluorite", deformed(_fluorite()), {"Ce": {"Ce": 0.6, "Zr": 0.4}}),
    Crystal(
        "fcc-alloy", deformed(bulk("Cu", "fcc", 3.8, cubic=True)), {"Cu": {"Cu": 0.5, "Au": 0.5}}
    ),
    # One atom per cell: every neighbour is an image of the site itself.
    Crystal("one-atom-cell", deformed(bulk("Cu", "fcc", 3.8)), {"Cu": {"Cu": 0.4, "Au": 0.6}}),
    Crystal(
        "two-groups",
        deformed(_perovskite()),
        {"Cs": {"Cs": 0.2, "Rb": 0.8}, "Pb": {"Pb": 0.7, "Sn": 0.3}},
    ),
    # Two groups that are nearest neighbours of one another, each also of itself.
    Crystal(
        "both-sublattices",
        deformed(_rock_salt(), 3),
        {"Na": {"Na": 0.3, "K": 0.7}, "Cl": {"Cl": 0.6, "Br": 0.4}},
    ),
    Crystal("vacancy", deformed(_rock_salt(), 1), {"Cl": {"Cl": 0.8, "Br": 0.15, "Va": 0.05}}),
    # No pure site, and one node a site: its weight must not be forgotten. No neighbour may sit at
    # 4.5 A, where SevenNet's cutoff sets in with a jump of the second derivative: differences of
    # step 1e-3 see it.
    Crystal(
        "elemental-vacancies",
        deformed(bulk("Cu", "fcc", 3.8, cubic=True), 6),
        {"Cu": {"Cu": 0.9, "Va": 0.1}},
    ),
    Crystal("cluster", deformed(_cluster()), {"Na": {"Na": 0.5, "K": 0.5}}),
    Crystal("three-species", deformed(_rock_salt(), 2), {"Na": {"Li": 0.2, "Na": 0.5, "K": 0.3}}),
    # At most one of the two cation sites is filled, in each of their states.
    Crystal(
        "split-site",
        deformed(_split_site(), 7),
        {0: {"Na": 0.3, "K": 0.2, "Va": 0.5}, 2: {"Va": 0.6, "Na": 0.4}},
        exclusive=((0, 2),),
    ),
)
"""From one to twelve sites: every kind of mixing, of cell and of vacancy."""
