"""Relaxation: equilibrium is reached, the space group kept, a batch equals its members."""

from __future__ import annotations

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa

from alchemlip import AlchemicalPotential, InputError, Mixture, relax, relax_many
from alchemlip.crystal.relaxation import space_group
from alchemlip.testing import deformed
from crystals import example

SPEC = {"Na": {"Na": 0.5, "K": 0.5}}


def test_full_relaxation_ends_at_equilibrium(potential: AlchemicalPotential) -> None:
    """Neither a strain nor a displacement lowers the energy further."""
    mixture = Mixture.from_elements(example("NaCl"), SPEC)
    result = relax(mixture, potential)
    assert result.converged
    assert space_group(result.mixture) == "Fm-3m (225)"
    fresh = potential.evaluate(result.mixture)
    assert np.abs(fresh.stress).max() / GPa < 1e-3
    assert np.abs(fresh.forces).max() < 1e-3
    assert fresh.energy == pytest.approx(result.evaluation.energy, abs=1e-9)
    for factor in (0.99, 1.01):
        atoms = result.mixture.to_atoms()
        atoms.set_cell(atoms.cell * factor, scale_atoms=True)
        assert potential.evaluate(result.mixture.with_geometry(atoms)).energy > fresh.energy


def test_result_does_not_depend_on_the_start(potential: AlchemicalPotential) -> None:
    cell = bulk("NaCl", "rocksalt", 5.6)
    lengths = []
    for scale in (0.97, 1.03):
        atoms = cell.copy()
        atoms.set_cell(atoms.cell * scale, scale_atoms=True)
        relaxed = relax(Mixture.from_elements(atoms, SPEC), potential).mixture
        lengths.append(np.linalg.norm(relaxed.cell[0]))
    assert lengths[0] == pytest.approx(lengths[1], abs=1e-4)


def test_pressure(potential: AlchemicalPotential) -> None:
    """Under 2 GPa the stress is -2 GPa on the diagonal, and the cell is smaller."""
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.9), SPEC)
    free, pressed = (relax(mixture, potential, pressure=p) for p in (0.0, 2.0))
    np.testing.assert_allclose(pressed.evaluation.stress[:3] / GPa, -2.0, atol=1.1e-3)
    np.testing.assert_allclose(pressed.evaluation.stress[3:] / GPa, 0.0, atol=1.1e-3)
    volumes = [abs(np.linalg.det(item.mixture.cell)) for item in (free, pressed)]
    assert volumes[1] < 0.97 * volumes[0]


def test_volume_mode_keeps_the_shape(potential: AlchemicalPotential) -> None:
    atoms = example("GaN_hex")
    atoms.set_cell(atoms.cell * [[1.0], [1.0], [1.03]], scale_atoms=True)
    mixture = Mixture.from_elements(atoms, {"Ga": "Ga0.5Al0.5"})
    result = relax(mixture, potential, cell="volume")
    assert result.converged
    ratio = result.mixture.cell / np.where(mixture.cell == 0, np.inf, mixture.cell)
    scales = ratio[np.abs(mixture.cell) > 1e-6]
    np.testing.assert_allclose(scales, scales[0], rtol=1e-9)
    assert abs(result.evaluation.stress[:3].mean()) / GPa < 1e-3


def test_fixed_mode_moves_atoms_alone(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(deformed(example("NaCl"), strain=0.0), SPEC)
    result = relax(mixture, potential, cell="fixed", fmax=5e-3)
    assert result.converged
    np.testing.assert_array_equal(result.mixture.cell, mixture.cell)
    assert np.abs(result.mixture.positions - mixture.positions).max() > 0.01


def test_symmetry_is_kept_and_mixed_sites_count_as_kinds_of_their_own(
    potential: AlchemicalPotential,
) -> None:
    """Mixing one of two equal sites lowers the symmetry; the relaxation keeps what is left."""
    atoms = bulk("Cu", "fcc", 3.75, cubic=True)
    mixture = Mixture.from_elements(atoms, {0: {"Cu": 0.5, "Au": 0.5}})
    assert space_group(mixture) == "Pm-3m (221)"  # Cu3Au, although every site shows Cu
    result = relax(mixture, potential, keep_symmetry=True)
    assert result.converged
    assert space_group(result.mixture, symprec=1e-6) == "Pm-3m (221)"
    tetragonal = Mixture.from_elements(atoms, {(0, 1): {"Cu": 0.5, "Au": 0.5}})
    result = relax(tetragonal, potential, keep_symmetry=True)
    assert "P4/mmm" in space_group(result.mixture, symprec=1e-5)
    lengths = np.linalg.norm(result.mixture.cell, axis=1)
    assert np.ptp(lengths) > 1e-3


def test_symmetry_of_concerted_sites_counts_their_components(
    potential: AlchemicalPotential,
) -> None:
    """Half of each of two L1_0 orderings: every site is Cu0.5Au0.5, the crystal is not cubic."""
    first = bulk("Cu", "fcc", 3.9, cubic=True)
    second = first.copy()
    first.symbols[[1, 2]] = "Au"
    second.symbols[[0, 3]] = "Au"
    mixture = Mixture.from_end_states({"A": first, "B": second}, {"A": 0.5, "B": 0.5})
    assert "P4/mmm" in space_group(mixture)
    kept, free = (relax(mixture, potential, keep_symmetry=keep) for keep in (True, False))
    assert np.abs(potential.evaluate(kept.mixture).stress).max() / GPa < 1e-3
    assert kept.evaluation.energy == pytest.approx(free.evaluation.energy, abs=1e-5)


def test_symmetry_survives_a_soft_start(potential: AlchemicalPotential) -> None:
    """An asymmetric force field of noise cannot break what is constrained."""
    mixture = Mixture.from_elements(example("CsPbI3_alpha"), {"Pb": "Pb0.5Sn0.5"})
    result = relax(mixture, potential, keep_symmetry=True)
    assert space_group(result.mixture, symprec=1e-5) == "Pm-3m (221)"


def test_batch_equals_singles(potential: AlchemicalPotential) -> None:
    """Lock-step changes nothing: same steps, same energies, whatever else is in the batch."""
    starts = [
        Mixture.from_elements(bulk("NaCl", "rocksalt", 5.8), {"Na": {"Na": 1 - x, "K": x}})
        for x in (0.0, 0.4, 1.0)
    ] + [Mixture.from_elements(bulk("Cu", "fcc", 3.7), {"Cu": "Cu0.5Au0.5"})]
    together = relax_many(starts, potential)
    for start, result in zip(starts, together, strict=True):
        single = relax(start, potential)
        assert result.steps == single.steps
        assert result.evaluation.energy == pytest.approx(single.evaluation.energy, abs=1e-8)
        np.testing.assert_allclose(result.mixture.cell, single.mixture.cell, atol=1e-6)


def test_running_out_of_steps_is_said(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 6.2), SPEC)
    steps = []
    result = relax(mixture, potential, max_steps=1, on_step=lambda *args: steps.append(args))
    assert not result.converged
    assert result.steps == 1
    assert len(steps) == result.evaluations == 2


def test_slab_relaxes_in_its_plane_alone(potential: AlchemicalPotential) -> None:
    atoms = bulk("NaCl", "rocksalt", 5.8, cubic=True)
    atoms.pbc = (True, True, False)
    atoms.cell[2, 2] = 20.0
    result = relax(Mixture.from_elements(atoms, SPEC), potential, fmax=0.01, smax=0.01)
    assert result.converged
    np.testing.assert_allclose(result.mixture.cell[2], atoms.cell[2], atol=1e-9)
    assert abs(result.mixture.cell[0, 0] - atoms.cell[0, 0]) > 0.01


def test_cluster_has_no_cell_to_relax(potential: AlchemicalPotential) -> None:
    atoms = bulk("NaCl", "rocksalt", 5.8, cubic=True)
    atoms.pbc = False
    mixture = Mixture.from_elements(atoms, SPEC)
    with pytest.raises(InputError, match="cell='fixed'"):
        relax(mixture, potential)
    assert relax(mixture, potential, cell="fixed", fmax=0.05).converged


@pytest.mark.parametrize("bad", [{"fmax": -1.0}, {"cell": "round"}, {"max_step": 3}])
def test_bad_settings_are_refused(bad: dict[str, object], potential: AlchemicalPotential) -> None:
    with pytest.raises(InputError):
        relax(Mixture.from_elements(bulk("Cu"), {}), potential, **bad)


def test_pure_ends_equal_pure_compounds(potential: AlchemicalPotential) -> None:
    """CeO2-ZrO2 at x = 0 and 1 relaxes to the lattice parameters of the pure oxides."""
    for weights, symbol in (({"Ce": 1.0, "Zr": 0.0}, "Ce"), ({"Ce": 0.0, "Zr": 1.0}, "Zr")):
        atoms = example("CeO2")
        mixed = relax(Mixture.from_elements(atoms, {"Ce": weights}), potential)
        atoms.symbols[atoms.symbols == "Ce"] = symbol
        pure = relax(Mixture.from_elements(atoms, {}), potential)
        assert mixed.mixture.cell[0, 0] == pytest.approx(pure.mixture.cell[0, 0], abs=1e-4)
