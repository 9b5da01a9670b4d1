"""What is calculated with exclusive sites: split atoms, derivatives, arrangements, refusals."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from alchemlip import (
    AlchemicalCalculator,
    AlchemicalPotential,
    InputError,
    Mixture,
    RelaxationSettings,
    relax,
    write_structure,
)
from alchemlip.batching.executor import run_together
from alchemlip.crystal.properties import lattice_parameter, mixing_free_energy
from alchemlip.crystal.relaxation import space_group
from alchemlip.crystal.scanning import scan
from alchemlip.design.constraints import CompositionConstraints
from alchemlip.disorder.explicit import random_supercell, sqs_supercell
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.freeenergy.einstein import ideal_mixing_free_energy
from alchemlip.freeenergy.vacancy_crystals import without_site
from alchemlip.mixture.split_sites import exclusive_pairs
from alchemlip.testing import assert_equal
from crystals import example
from test_response import check_against_relaxations


def split_magnesium(distance: float) -> tuple[Mixture, Atoms, Atoms]:
    """MgO, one Mg of which sits at two half sites; and the crystals with it at either."""
    atoms = bulk("MgO", "rocksalt", 4.21, cubic=True)
    one, other = atoms.copy(), atoms.copy()
    one.positions[0] += [distance / 2, 0, 0]
    other.positions[0] -= [distance / 2, 0, 0]
    both = one + Atoms("Mg", positions=[other.positions[0]])
    half = Mixture.from_elements(both, {(0, len(atoms)): {"Mg": 0.5, "Va": 0.5}})
    return half, one, other


def test_magnesium_at_two_half_sites(potential: AlchemicalPotential) -> None:
    """One atom at one of two places costs what it costs at each; other relations put two there.

    Independent sites are both filled in a quarter of the cells, sites of one concerted component in
    half of them.
    """
    half, one, other = split_magnesium(0.6)
    energies = [potential.evaluate(Mixture.from_atoms(atoms)).energy for atoms in (one, other)]
    assert energies[0] == pytest.approx(energies[1])
    (pair,) = exclusive_pairs(half)
    assert pair.distance_A == pytest.approx(0.6)
    exclusive = potential.evaluate(half.with_exclusive([pair])).energy
    assert abs(exclusive - np.mean(energies)) < 0.01
    independent = potential.evaluate(half).energy
    assert independent - exclusive > 1.0
    together = half.mixed({half.groups[0].name: {"Mg": 0.5, "Va": 0.5}}, correlation="concerted")
    assert potential.evaluate(together).energy - exclusive > 10.0


def test_relaxation_and_dynamics_keep_the_relation(potential: AlchemicalPotential) -> None:
    """The two halves of an atom fall into the one place that it has."""
    half, _, _ = split_magnesium(0.6)
    mixture = half.with_exclusive(exclusive_pairs(half))
    settings = RelaxationSettings(cell="fixed", fmax=1e-4)
    result, again = run_together([lambda: relax(mixture, potential, settings)] * 2)
    assert result.converged
    assert len(result.mixture.exclusive) == 1
    assert np.linalg.norm(result.mixture.positions[0] - result.mixture.positions[8]) < 5e-3
    perfect = Mixture.from_atoms(bulk("MgO", "rocksalt", 4.21, cubic=True))
    # One site of a kind of its own, at the corners of a cube.
    assert space_group(result.mixture, 0.01) == "Pm-3m (221)"
    with pytest.raises(InputError, match="sites 0 and 8, of which at most one is filled, are at"):
        relax(result.mixture, potential, RelaxationSettings(keep_symmetry=True, symprec=0.01))
    assert abs(result.evaluation.energy - potential.evaluate(perfect).energy) < 1e-3
    assert_equal(again.evaluation.energy, result.evaluation.energy, 1e-8)
    atoms = mixture.to_atoms()
    atoms.calc = AlchemicalCalculator(potential, mixture)
    before = atoms.get_potential_energy()
    atoms.positions[8] += atoms.cell[1]
    assert_equal(atoms.get_potential_energy(), before)


def split_salt() -> Mixture:
    """Chlorine's cages filled with less than one cation for two of them along z."""
    atoms = example("CeO2")
    atoms.symbols[:] = ["Cl" if symbol == "Ce" else "Na" for symbol in atoms.symbols]
    atoms.set_cell([5.8] * 3, scale_atoms=True)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.35, "K": 0.1, "Va": 0.55}})
    places = np.rint(4 * atoms.get_scaled_positions()).astype(int)
    cages = [i for i, symbol in enumerate(atoms.symbols) if symbol == "Na"]
    above = [(i, j) for i in cages for j in cages if (places[j] - places[i] == [0, 0, 2]).all()]
    return mixture.with_exclusive([(i, j, (0, 0, 0)) for i, j in above])


def test_derivatives_of_relaxed_properties(potential: AlchemicalPotential) -> None:
    """d(a)/dx and d(c)/dx of a crystal of split sites, against whole relaxations."""
    settings = RelaxationSettings(fmax=1e-6, smax=1e-6, keep_symmetry=True, max_steps=1000)
    mixture = split_salt()
    assert len(mixture.exclusive) == 4
    check_against_relaxations(
        mixture, potential, [lattice_parameter("a"), lattice_parameter("c")], settings
    )


def test_symmetry_knows_the_pairs(potential: AlchemicalPotential) -> None:
    """Four sites on a line, equally far apart: pairs 0-1 and 2-3 halve its translations."""
    atoms = Atoms("Li4", positions=[[0, 0, 2.0 * k] for k in range(4)], cell=[5, 5, 8], pbc=True)
    line = Mixture.from_elements(atoms, {"Li": {"Li": 0.4, "Va": 0.6}})
    assert len(set(line.site_labels.tolist())) == 1
    ends = line.with_exclusive([(0, 1, (0, 0, 0)), (1, 2, (0, 0, 0))])
    assert len(set(ends.site_labels.tolist())) == 3
    assert len(set(ends.site_kinds.tolist())) == 3
    assert ends.site_labels[0] == ends.site_labels[2]
    whole = line.with_exclusive([(0, 1), (1, 2), (2, 3), (3, 0)])
    assert space_group(whole) == space_group(line)
    # What symmetry leaves equal, the potential finds equal.
    forces = potential.evaluate(ends).forces
    np.testing.assert_allclose(forces[0], -forces[2], atol=1e-7)


def test_random_supercells_obey() -> None:
    """Exact composition, and never two of a pair, up to every pair holding one."""
    rng = np.random.default_rng(2)
    for fraction in (0.25, 0.5):
        atoms = Atoms("Li2", positions=[[0, 0, 0], [0, 0, 1.2]], cell=[4, 4, 5], pbc=True)
        mixture = Mixture.from_elements(atoms, {"Li": {"Li": fraction, "Va": 1 - fraction}})
        mixture = mixture.with_exclusive(exclusive_pairs(mixture))
        for _ in range(5):
            cell = random_supercell(mixture, (2, 2, 2), rng)
            assert cell.n_sites == 16 * fraction
            distances = cell.to_atoms().get_all_distances(mic=True) + 9 * np.eye(cell.n_sites)
            assert distances.min() > 2.0
    with pytest.raises(InputError, match="use random supercells"):
        sqs_supercell(mixture, (2, 2, 2), 0)


def test_random_supercells_are_alike_often() -> None:
    """Two atoms on a ring of six sites, no neighbours both filled: nine arrangements."""
    atoms = Atoms("Li6", positions=[[0, 0, 2.0 * k] for k in range(6)], cell=[9, 9, 12], pbc=True)
    ring = Mixture.from_elements(atoms, {"Li": {"Li": 1 / 3, "Va": 2 / 3}})
    ring = ring.with_exclusive([(k, (k + 1) % 6) for k in range(6)])
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, ...], int] = {}
    for _ in range(450):
        cell = random_supercell(ring, (1, 1, 1), rng)
        places = tuple(sorted(np.rint(cell.positions[:, 2] / 2).astype(int).tolist()))
        seen[places] = seen.get(places, 0) + 1
    allowed = {
        (a, b) for a, b in product(range(6), repeat=2) if a < b and (b - a) % 6 not in (1, 5)
    }
    assert set(seen) == allowed
    # Chi squared of nine equal parts, 8 degrees of freedom: beyond 26 in one of a thousand.
    assert sum((n - 50) ** 2 / 50 for n in seen.values()) < 26


def test_constraints_of_compositions() -> None:
    """What a design may choose: the weights of exclusive sites sum to at most 1."""
    atoms = Atoms("Li3", positions=[[0, 0, 0], [0, 0, 1], [0, 1, 0]], cell=[9] * 3, pbc=True)
    mixture = Mixture.from_elements(atoms, {i: {"Li": 0.3, "Va": 0.7} for i in range(3)})
    mixture = mixture.with_exclusive([(0, 1), (1, 2), (0, 2)])
    constraints = CompositionConstraints(mixture)
    assert constraints.violation(np.array([0.5, 0.5, 0.5, 0.5, 0.0, 1.0])) == pytest.approx(0.0)
    assert constraints.violation(np.array([0.5, 0.5] * 3)) == pytest.approx(0.5)
    nearest = constraints.nearest(np.array([0.5, 0.5] * 3))
    np.testing.assert_allclose(nearest[::2], 1 / 3, atol=1e-6)
    with pytest.raises(InputError, match="no composition fulfils all constraints"):
        constraints.bounded("0:Li", 0.8, 1.0).bounded("2:Li", 0.5, 1.0).check()


def test_refused(potential: AlchemicalPotential) -> None:
    """Sums over sites that are filled each by itself do not hold here."""
    half, _, _ = split_magnesium(0.6)
    mixture = half.with_exclusive(exclusive_pairs(half))
    with pytest.raises(InputError, match="exclude one another, so they are not filled each"):
        occupancy_hessian(mixture, potential)
    with pytest.raises(InputError, match="entropy of ideal mixing is not theirs"):
        ideal_mixing_free_energy(mixture, 300.0)
    name = mixture.groups[0].name
    with pytest.raises(InputError, match="entropy of ideal mixing is not theirs"):
        mixing_free_energy(mixture, potential, name, 300.0, RelaxationSettings())
    with pytest.raises(InputError, match="together more than 1"):
        scan(mixture, potential, name, points=3)


def test_a_site_taken_out() -> None:
    """The sites behind it move up, and so do the pairs."""
    half, _, _ = split_magnesium(0.6)
    mixture = half.with_exclusive([(0, 8)])
    assert without_site(mixture, 3).exclusive.rows.tolist() == [[0, 7, 0, 0, 0]]


def test_command_line(tmp_path: Path) -> None:
    from alchemlip.cli import app

    half, _, _ = split_magnesium(0.6)
    file = tmp_path / "split.json"
    write_structure(half, file)
    runner = CliRunner()

    def energy(out: str, *options: str) -> tuple[str, dict[str, object]]:
        folder = tmp_path / out
        told = runner.invoke(app, ["energy", str(file), "--out", str(folder), *options])
        assert told.exit_code == 0, told.output
        return told.output, json.loads((folder / "result.json").read_text())

    output, plain = energy("plain")
    assert "--exclusive auto" in str(plain["warnings"])
    output, found = energy("auto", "--exclusive", "auto")
    assert "At most one is filled: Mg and Mg 0.60 Å apart: 1 pair (sites 0 and 8)" in output
    assert "warnings" not in found
    _, named = energy("named", "--exclusive", "0,8")
    assert named["results"]["energy_eV"] == found["results"]["energy_eV"]  # type: ignore[index]
    assert found["results"]["energy_eV"] < plain["results"]["energy_eV"] - 1.0  # type: ignore[index]
    write_structure(half.with_exclusive([(0, 8)]), file)
    _, kept = energy("kept")
    assert kept["results"]["energy_eV"] == found["results"]["energy_eV"]  # type: ignore[index]
    _, none = energy("none", "--exclusive", "none")
    assert none["results"]["energy_eV"] == plain["results"]["energy_eV"]  # type: ignore[index]
