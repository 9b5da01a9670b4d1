"""Neighbour lists: complete, sorted, and free of memory of the skin's history."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alchemlip import InputError
from alchemlip.potential.neighbours import NeighbourList
from alchemlip.testing import CRYSTALS, deformed
from crystals import example

CUTOFF = 5.0


def edges_of(atoms: Atoms, neighbours: NeighbourList | None = None) -> np.ndarray:
    neighbours = neighbours or NeighbourList(CUTOFF)
    return np.column_stack(neighbours.edges(atoms.positions, atoms.cell.array, atoms.pbc))


def brute_force(atoms: Atoms, images: int = 5) -> np.ndarray:
    """All pairs within the cutoff, by trying every image."""
    ranges = [range(-images, images + 1) if periodic else (0,) for periodic in atoms.pbc]
    rows = []
    for shift in itertools.product(*ranges):
        offset = np.array(shift) @ atoms.cell.array
        vectors = atoms.positions[None, :] + offset - atoms.positions[:, None]
        close = np.linalg.norm(vectors, axis=-1) < CUTOFF
        if not any(shift):
            np.fill_diagonal(close, False)
        rows += [(i, j, *shift) for i, j in np.argwhere(close).tolist()]
    return np.array(sorted(rows), dtype=float).reshape(-1, 5)


def left_handed() -> Atoms:
    atoms = deformed(example("CeO2"))
    atoms.cell[[0, 1]] = atoms.cell[[1, 0]]
    return atoms


def open_slab() -> Atoms:
    """A slab whose third cell vector is missing."""
    atoms = deformed(example("NaCl"))
    atoms.pbc = (True, True, False)
    atoms.cell[2] = 0.0
    return atoms


@pytest.mark.parametrize(
    "atoms",
    [crystal.atoms for crystal in CRYSTALS] + [left_handed(), open_slab()],
    ids=[crystal.name for crystal in CRYSTALS] + ["left-handed", "open-slab"],
)
def test_edges_are_all_pairs_within_the_cutoff_in_order(atoms: Atoms) -> None:
    np.testing.assert_array_equal(edges_of(atoms), brute_force(atoms))


def test_edges_do_not_depend_on_the_history_of_the_skin() -> None:
    """A list that followed a long random walk of cell and atoms equals a fresh one."""
    rng = np.random.default_rng(0)
    atoms = example("CsPbI3_alpha") * (2, 2, 1)
    walker = NeighbourList(CUTOFF, skin=1.0)
    for _ in range(60):
        atoms.positions += rng.normal(0, 0.03, atoms.positions.shape)
        atoms.set_cell(
            atoms.cell.array @ (np.eye(3) + rng.normal(0, 0.003, (3, 3))), scale_atoms=True
        )
        np.testing.assert_array_equal(edges_of(atoms, walker), edges_of(atoms))


def test_list_is_reused_for_another_structure_of_the_same_object() -> None:
    """A jump to an unrelated structure is noticed."""
    neighbours = NeighbourList(CUTOFF, skin=1.0)
    first, second = bulk("Cu", "fcc", 3.7, cubic=True), bulk("Cu", "fcc", 4.6, cubic=True)
    for atoms in (first, second, first):
        np.testing.assert_array_equal(edges_of(atoms, neighbours), brute_force(atoms))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: a.positions.__setitem__((2, 0), np.nan), "site 2 is not finite"),
        (lambda a: a.positions.__setitem__(1, a.positions[0] + 0.1), "sites 0 and 1 are 0.173 A"),
        (lambda a: a.cell.__setitem__(2, 0.0), "cell is flat"),
        (lambda a: a.cell.__setitem__(2, a.cell[0] + a.cell[1]), "cell is flat"),
        (lambda a: a.cell.__setitem__((0, 0), np.inf), "cell vector is not finite"),
    ],
)
def test_geometries_that_cannot_be_evaluated(change, words: str) -> None:  # type: ignore[no-untyped-def]
    atoms = bulk("Cu", "fcc", 3.7, cubic=True)
    change(atoms)
    with pytest.raises(InputError, match=words):
        edges_of(atoms)


def test_own_image_too_close() -> None:
    atoms = bulk("Cu", "fcc", 3.7, cubic=True)
    atoms.set_cell([3.7, 3.7, 0.31])
    atoms.positions[:, 2] = 0.0
    edges_of(atoms)
    atoms.set_cell([3.7, 3.7, 0.29])
    with pytest.raises(InputError):
        edges_of(atoms)
