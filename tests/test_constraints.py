"""Fixed atoms: kept on every way in, honoured by whatever relaxes, refused where all atoms move."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.constraints import FixAtoms, FixCartesian, FixCom, FixedPlane
from ase.optimize import BFGS
from torch import Tensor

from alchemlip import (
    AlchemicalCalculator,
    AlchemicalPotential,
    InputError,
    Mixture,
    RelaxationSettings,
    read_structure,
    relax,
    scan,
)
from alchemlip.crystal.properties import lattice_parameter
from alchemlip.crystal.response import response
from alchemlip.disorder.explicit import random_supercell
from alchemlip.disorder.local_relaxation import local_relaxation
from alchemlip.freeenergy.dynamics import DynamicsSettings, check_ensemble
from alchemlip.freeenergy.vacancy_crystals import without_site
from alchemlip.mixture.structure_files import write_structure
from pair_models import PairBackend

SPEC = {"Na": {"Na": 0.5, "K": 0.5}}
HELD = [0, 3, 5, 6]


def metal() -> AlchemicalPotential:
    """Morse bonds of which potassium wants longer ones: a stable close-packed crystal."""

    def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
        r = vectors.norm(dim=1)
        smooth = (1.0 - (r / 4.0) ** 2).clamp(min=0.0) ** 3
        decay = torch.exp(-1.5 * (r - 2.8 - 0.1 * ((a == 19).double() + (b == 19).double())))
        return 3.0 * smooth * (decay.square() - 2.0 * decay)

    return AlchemicalPotential(PairBackend(pair, 4.0, (11, 19)))


def crystal() -> Atoms:
    return bulk("Na", "fcc", 4.0, cubic=True)


def displaced() -> Atoms:
    """Off its sites, four atoms of eight fixed."""
    atoms = crystal().repeat((2, 1, 1))
    atoms.rattle(0.05, seed=1)
    atoms.set_constraint(FixAtoms(HELD))
    return atoms


def other_end() -> Atoms:
    atoms = displaced()
    atoms.numbers[:] = 19
    return atoms


def written(folder: Path, name: str, **options: Any) -> Mixture:
    displaced().write(folder / name, **options)
    return read_structure(folder / name)


WAYS: dict[str, Callable[[Path], Mixture]] = {
    "from_atoms": lambda _: Mixture.from_atoms(displaced()),
    "from_elements": lambda _: Mixture.from_elements(displaced(), SPEC),
    "from_end_states": lambda _: Mixture.from_end_states(
        {"a": displaced(), "b": other_end()}, {"a": 0.5, "b": 0.5}
    ),
    "extxyz": lambda folder: written(folder, "a.extxyz"),
    "traj": lambda folder: written(folder, "a.traj"),
    "dictionary": lambda _: Mixture.from_dict(Mixture.from_atoms(displaced()).to_dict()),
    "to_atoms": lambda _: Mixture.from_atoms(Mixture.from_atoms(displaced()).to_atoms()),
    "pymatgen": lambda _: Mixture.from_structure(Mixture.from_atoms(displaced()).to_structure()),
    "mixed": lambda _: Mixture.from_atoms(displaced()).mixed(SPEC).with_composition("Na", [1, 0]),
}


@pytest.mark.parametrize("way", WAYS)
def test_fixed_atoms_are_kept(way: str, tmp_path: Path) -> None:
    assert np.flatnonzero(WAYS[way](tmp_path).fixed).tolist() == HELD


def test_selective_dynamics(tmp_path: Path) -> None:
    atoms = displaced()
    atoms.write(tmp_path / "POSCAR", sort=False)
    assert np.flatnonzero(read_structure(tmp_path / "POSCAR").fixed).tolist() == HELD
    # One axis of one atom alone.
    lines = (tmp_path / "POSCAR").read_text().splitlines()
    row = next(i for i, line in enumerate(lines) if line.split()[3:] == ["T", "T", "T"])
    lines[row] = lines[row].rsplit("T", 1)[0] + "F"
    (tmp_path / "POSCAR").write_text("\n".join(lines) + "\n")
    mixture = read_structure(tmp_path / "POSCAR")
    with pytest.raises(InputError, match="relaxations do not honour"):
        relax(mixture, metal(), cell="fixed")


def test_files_of_our_own(tmp_path: Path) -> None:
    mixture = Mixture.from_elements(displaced(), SPEC)
    for name in ("a.json", "a.extxyz"):
        write_structure(mixture, tmp_path / name)
        assert (read_structure(tmp_path / name).fixed == mixture.fixed).all()


def test_parts_and_supercells() -> None:
    mixture = Mixture.from_elements(displaced(), SPEC)
    assert np.flatnonzero(mixture.repeat((1, 1, 2)).fixed).tolist() == [*HELD, 8, 11, 13, 14]
    filled = random_supercell(mixture, (1, 1, 2), np.random.default_rng(0))
    assert np.flatnonzero(filled.fixed).tolist() == [*HELD, 8, 11, 13, 14]
    left = without_site(Mixture.from_atoms(displaced()), 1)
    assert np.flatnonzero(left.fixed).tolist() == [0, 2, 4, 5]


@pytest.mark.parametrize("cell", ["fixed", "full"])
@pytest.mark.parametrize("optimiser", ["BFGS", "FIRE"])
def test_relaxation(cell: str, optimiser: str) -> None:
    """Fixed atoms stay, in units of the cell if it relaxes; all else comes to rest."""
    potential = metal()
    mixture = Mixture.from_elements(displaced(), SPEC)
    result = relax(mixture, potential, cell=cell, optimiser=optimiser, fmax=1e-4, max_steps=2000)
    assert result.converged
    before, after = (
        np.linalg.solve(item.cell.T, item.positions.T).T for item in (mixture, result.mixture)
    )
    np.testing.assert_allclose(after[HELD], before[HELD], atol=1e-12)
    assert np.abs(after - before).max() > 1e-3
    assert (result.mixture.fixed == mixture.fixed).all()
    forces = potential.evaluate(result.mixture).forces
    assert np.linalg.norm(forces[HELD], axis=1).min() > 1e-2
    assert np.linalg.norm(np.delete(forces, HELD, axis=0), axis=1).max() <= 1e-4
    # Without them there is a lower minimum.
    free = Mixture.from_elements(crystal().repeat((2, 1, 1)), SPEC)
    assert relax(free, potential, cell=cell).evaluation.energy < result.evaluation.energy - 1e-3


def test_scan() -> None:
    mixture = Mixture.from_elements(displaced(), SPEC)
    found = scan(mixture, metal(), points=3, settings=RelaxationSettings(cell="fixed"))
    for point in found:
        np.testing.assert_array_equal(point.mixture.positions[HELD], mixture.positions[HELD])


def test_symmetry_with_fixed_atoms() -> None:
    """The atoms that are fixed and those that are not count as kinds of their own."""
    atoms = crystal()
    atoms.set_constraint(FixAtoms([0]))
    result = relax(Mixture.from_elements(atoms, SPEC), metal(), keep_symmetry=True, cell="full")
    assert result.converged
    lengths = np.linalg.norm(result.mixture.cell, axis=1)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-9)


def test_derivatives_of_relaxed_properties() -> None:
    """d a/dx with four atoms held, against differences of whole relaxations."""
    potential = metal()
    options: dict[str, Any] = {"cell": "full", "fmax": 1e-7, "smax": 1e-7, "max_steps": 2000}
    wanted = [lattice_parameter("a")]
    start = relax(Mixture.from_elements(displaced(), SPEC), potential, **options).mixture
    settings = RelaxationSettings(**options)
    exact = response(start, potential, wanted, settings)[0].gradient @ [1.0, -1.0]
    values = []
    for step in (1e-3, -1e-3):
        moved = start.with_composition("Na", [0.5 + step, 0.5 - step])
        values.append(np.linalg.norm(relax(moved, potential, settings).mixture.cell[0]))
    assert exact == pytest.approx((values[0] - values[1]) / 2e-3, rel=1e-4)


@pytest.mark.parametrize("way", [Mixture.from_atoms, lambda a: Mixture.from_elements(a, SPEC)])
def test_other_constraints_are_refused(way: Callable[[Atoms], Mixture]) -> None:
    atoms = displaced()
    atoms.set_constraint([FixAtoms(HELD), FixedPlane(1, (0, 0, 1))])
    with pytest.raises(InputError, match="FixedPlane"):
        relax(way(atoms), metal(), cell="fixed")
    again = Mixture.from_dict(way(atoms).to_dict())
    with pytest.raises(InputError, match="FixedPlane"):
        response(again, metal(), [lattice_parameter("a")])
    # Held along all axes, and the centre of mass, are nothing else.
    atoms.set_constraint([FixCartesian([2]), FixCom()])
    assert np.flatnonzero(way(atoms).fixed).tolist() == [2]
    assert not way(atoms).other_constraints


def test_optimisers_of_ase_keep_theirs() -> None:
    atoms = displaced()
    atoms.set_constraint([FixAtoms(HELD), FixedPlane(1, (0, 0, 1))])
    before = atoms.positions.copy()
    atoms.calc = AlchemicalCalculator(metal(), Mixture.from_elements(atoms, SPEC))
    BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    np.testing.assert_array_equal(atoms.positions[HELD], before[HELD])
    assert atoms.positions[1, 2] == pytest.approx(before[1, 2], abs=1e-12)
    assert np.abs(atoms.positions - before).max() > 1e-3


def test_where_all_atoms_move() -> None:
    mixture = Mixture.from_elements(displaced(), SPEC)
    with pytest.raises(InputError, match=r"site 0 is fixed .FixAtoms., but local relaxation"):
        local_relaxation(mixture, metal())
    with pytest.raises(InputError, match="in dynamics all atoms move"):
        check_ensemble(mixture.to_atoms(), DynamicsSettings(temperature_K=300.0))
