"""Structures of the physics tests, deformed and rattled so that no symmetry hides an error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii
from ase.io import read

from alchemlip import Mixture
from alchemlip.mixture.mixture import Correlation

STRUCTURES = Path(__file__).parent.parent / "examples" / "structures"


def example(name: str) -> Atoms:
    """Return one of the example structures."""
    return read(STRUCTURES / f"{name}.cif")


def deformed(atoms: Atoms, seed: int = 0, rattle: float = 0.08, strain: float = 0.02) -> Atoms:
    """Return a copy with random displacements (A) and a random strain of the cell."""
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
    """A structure, what is mixed in it, and two elements of another structure in its place."""

    name: str
    atoms: Atoms
    spec: Mapping[Any, Mapping[str, float]]
    others: tuple[str, str] = ("Ag", "Br")
    exclusive: tuple[tuple[int, int], ...] = ()

    def mixture(self, correlation: Correlation = "independent") -> Mixture:
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

    def __repr__(self) -> str:
        return self.name


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
    Crystal("rock-salt", deformed(example("NaCl")), {"Na": {"Na": 0.3, "K": 0.7}}),
    Crystal("fluorite", deformed(example("CeO2")), {"Ce": {"Ce": 0.6, "Zr": 0.4}}),
    Crystal(
        "fcc-alloy", deformed(bulk("Cu", "fcc", 3.8, cubic=True)), {"Cu": {"Cu": 0.5, "Au": 0.5}}
    ),
    # One atom per cell: every neighbour is an image of the site itself.
    Crystal("one-atom-cell", deformed(bulk("Cu", "fcc", 3.8)), {"Cu": {"Cu": 0.4, "Au": 0.6}}),
    Crystal(
        "two-groups",
        deformed(example("CsPbI3_alpha")),
        {"Cs": {"Cs": 0.2, "Rb": 0.8}, "Pb": {"Pb": 0.7, "Sn": 0.3}},
    ),
    # Two groups that are nearest neighbours of one another, each also of itself.
    Crystal(
        "both-sublattices",
        deformed(example("NaCl"), 3),
        {"Na": {"Na": 0.3, "K": 0.7}, "Cl": {"Cl": 0.6, "Br": 0.4}},
    ),
    Crystal("vacancy", deformed(example("NaCl"), 1), {"Cl": {"Cl": 0.8, "Br": 0.15, "Va": 0.05}}),
    # No pure site, and one node a site: its weight must not be forgotten. No neighbour may sit at
    # 4.5 A, where SevenNet's cutoff sets in with a jump of the second derivative: differences of
    # step 1e-3 see it.
    Crystal(
        "elemental-vacancies",
        deformed(bulk("Cu", "fcc", 3.8, cubic=True), 6),
        {"Cu": {"Cu": 0.9, "Va": 0.1}},
    ),
    Crystal("cluster", deformed(_cluster()), {"Na": {"Na": 0.5, "K": 0.5}}),
    Crystal(
        "three-species", deformed(example("NaCl"), 2), {"Na": {"Li": 0.2, "Na": 0.5, "K": 0.3}}
    ),
    # At most one of the two cation sites is filled, in each of their states.
    Crystal(
        "split-site",
        deformed(_split_site(), 7),
        {0: {"Na": 0.3, "K": 0.2, "Va": 0.5}, 2: {"Va": 0.6, "Na": 0.4}},
        exclusive=((0, 2),),
    ),
)


IN_CS_PB_SN_I = {
    **{"Li": "Cs", "Na": "Pb", "K": "Sn", "Rb": "I", "Ag": "Cs"},
    **{"Cu": "Pb", "Au": "Sn", "Ce": "Pb", "Zr": "Sn", "O": "I", "Cl": "I", "Br": "Sn"},
}
"""The crystals' elements, in those of a potential that covers four."""


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
