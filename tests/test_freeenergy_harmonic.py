"""Normal modes, springs and mean cells against exact limits."""

from __future__ import annotations

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from alchemlip import AlchemicalCalculator, Mixture
from alchemlip.errors import InputError
from alchemlip.freeenergy.crystal_symmetry import (
    CrystalSymmetry,
    crystal_symmetry,
    nearest_neighbour_distances,
)
from alchemlip.freeenergy.einstein import HBAR, quantum_harmonic_correction
from alchemlip.freeenergy.harmonic import (
    crystal_force_constants,
    force_constants,
    harmonic_free_energy,
    mixture_force_constants,
    mode_frequencies,
)
from alchemlip.freeenergy.mean_cell import MeanCell, stretch, symmetrised
from alchemlip.freeenergy.springs import (
    Displacements,
    mean_anchors,
    springs_from_displacements,
    springs_from_hessian,
)
from harmonic_models import (
    HarmonicCalculator,
    LennardJonesCalculator,
    einstein_matrix,
    spring_network,
)
from pair_models import pair_potential

T = 300.0
KT = units.kB * T


def skewed_salt() -> Atoms:
    atoms = bulk("NaCl", "rocksalt", 5.7).repeat((2, 2, 1))
    strain = np.array([[0.0, 0.1, 0.02], [0.0, 0.05, 0.0], [-0.04, 0.0, 0.0]])
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms


def classes(*of_site: int) -> CrystalSymmetry:
    names = tuple(f"X{i}" for i in range(max(of_site) + 1))
    return CrystalSymmetry(np.array(of_site), names, 1, np.eye(3)[None], "P1 (1)")


# ------------------------------------------------------------------ symmetry


def test_classes_and_primitive_cells_of_known_crystals() -> None:
    copper = crystal_symmetry(bulk("Cu", "fcc", 3.6, cubic=True).repeat(2))
    assert copper.n_primitive_cells == 32
    assert copper.class_names == ("Cu",)
    assert len(copper.rotations) == 48
    salt = crystal_symmetry(bulk("NaCl", "rocksalt", 5.7).repeat((2, 1, 3)))
    assert salt.n_primitive_cells == 6
    assert salt.class_names == ("Na", "Cl")
    assert np.bincount(salt.class_of_site).tolist() == [6, 6]
    # Of a supercell that is longer one way, still the crystal's own point group.
    assert len(salt.rotations) == 48
    for rotation in salt.rotations:
        np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-10)


@pytest.mark.parametrize("left_handed", [False, True])
def test_symmetry_of_a_turned_hexagonal_crystal(left_handed: bool) -> None:
    atoms = bulk("ZnO", "wurtzite", 3.25, c=5.2).repeat((2, 2, 1))
    turn = Rotation.from_rotvec([0.3, -0.7, 0.5]).as_matrix()
    atoms.set_cell(atoms.cell.array @ turn.T, scale_atoms=True)
    if left_handed:
        swapped = atoms.get_scaled_positions()[:, [1, 0, 2]]
        atoms.set_cell(atoms.cell.array[[1, 0, 2]])
        atoms.set_scaled_positions(swapped)
    found = crystal_symmetry(atoms)
    assert found.n_primitive_cells == 4
    assert found.space_group == "P6_3mc (186)"
    assert found.class_names == ("Zn", "O")
    assert len(found.rotations) == 12
    # What is left of a strain: one number along c, one across it.
    axis = turn[:, 2]
    strain = np.random.default_rng(3).normal(size=(3, 3))
    left = symmetrised(strain + strain.T, found.rotations)
    along = axis @ left @ axis
    across = (np.trace(left) - along) / 2.0
    expected = across * np.eye(3) + (along - across) * np.outer(axis, axis)
    np.testing.assert_allclose(left, expected, atol=1e-10)


def test_masses_and_mixed_sites_divide_classes() -> None:
    atoms = bulk("Cu", "fcc", 3.6, cubic=True)
    masses = atoms.get_masses()
    masses[0] = 65.0
    atoms.set_masses(masses)
    marked = crystal_symmetry(atoms)
    assert marked.class_names == ("Cu1", "Cu2")
    assert marked.n_primitive_cells == 1
    mixture = Mixture.from_elements(bulk("Cu", "fcc", 3.6, cubic=True), {0: {"Cu": 0.5, "Au": 0.5}})
    mixed = mixture.to_atoms()
    mixed.calc = AlchemicalCalculator(pair_potential(), mixture)
    assert np.bincount(crystal_symmetry(mixed).class_of_site).tolist() == [1, 3]


def test_nearest_neighbours_count_images() -> None:
    np.testing.assert_allclose(
        nearest_neighbour_distances(bulk("Cu", "fcc", 3.6)), 3.6 / np.sqrt(2), rtol=1e-12
    )
    np.testing.assert_allclose(
        nearest_neighbour_distances(bulk("NaCl", "rocksalt", 5.7)), 5.7 / 2, rtol=1e-12
    )


# ------------------------------------------------------------------ normal modes


def test_pair_potential_of_the_tests_is_consistent() -> None:
    atoms = bulk("Ar", "fcc", 5.3).repeat(2)
    atoms.rattle(0.1, seed=1)
    atoms.calc = LennardJonesCalculator(3.4, 0.0104, 5.0)
    forces, stress = atoms.get_forces(), atoms.get_stress()
    numerical = calculate_numerical_forces(atoms, 1e-4, force_consistent=False)
    np.testing.assert_allclose(forces, numerical, atol=1e-8)
    numerical = calculate_numerical_stress(atoms, 1e-5, force_consistent=False)
    np.testing.assert_allclose(stress, numerical, atol=1e-8)


def test_force_constants_of_any_calculator() -> None:
    atoms = skewed_salt()
    matrix = spring_network(atoms, 3.4, np.random.default_rng(1))
    found = force_constants(atoms, HarmonicCalculator(atoms, matrix))
    np.testing.assert_allclose(found, matrix, atol=1e-10)


def test_exact_force_constants_of_a_mixture_equal_differences() -> None:
    potential = pair_potential()
    atoms = bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.6, "K": 0.4}}).repeat((2, 1, 1))
    exact = mixture_force_constants(mixture, potential)
    calculator = AlchemicalCalculator(potential, mixture)
    plain = force_constants(mixture.to_atoms(), calculator, 1e-3)
    np.testing.assert_array_equal(crystal_force_constants(mixture.to_atoms(), calculator), exact)
    np.testing.assert_allclose(exact, plain, atol=1e-5 * np.abs(exact).max())


def test_a_chain_has_its_textbook_frequencies() -> None:
    # Two masses on one spring along x, and the same across: w^2 = k / reduced mass.
    masses = np.array([20.0, 60.0])
    stiffness = np.array([3.0, 1.0, 0.5])
    matrix = np.zeros((2, 3, 2, 3))
    for i in range(2):
        for j in range(2):
            matrix[i, :, j, :] = (1.0 if i == j else -1.0) * np.diag(stiffness)
    found = mode_frequencies(matrix.reshape(6, 6), masses)
    np.testing.assert_allclose(found, np.sqrt(np.sort(stiffness) / 15.0), rtol=1e-12)


def test_harmonic_free_energy_is_the_integral_over_phase_space() -> None:
    # By brute force: the determinant over all coordinates with the centre of mass in V / N_cells.
    atoms = skewed_salt()
    masses = atoms.get_masses()
    matrix = spring_network(atoms, 3.4, np.random.default_rng(2))
    n, volume, cells = len(atoms), atoms.get_volume(), 4
    share = np.kron(masses / masses.sum(), np.eye(3))  # (3, 3N): r_cm = share u
    # Integral over u of exp(-u K u / 2kT) delta(share u), a stiff Gaussian for the delta.
    stiff = 1e8
    held = matrix / KT + stiff * share.T @ share
    log_det = np.linalg.slogdet(held / (2 * np.pi))[1]
    log_delta = 1.5 * np.log(stiff / (2 * np.pi))
    log_momenta = 1.5 * np.log(masses * KT / (2 * np.pi * HBAR**2)).sum()
    brute = -KT * (-0.5 * log_det + log_delta + log_momenta + np.log(volume / cells))
    found = harmonic_free_energy(
        mode_frequencies(matrix, masses), masses, volume, T, cells, potential_eV=-3.0
    )
    assert len(found.frequencies) == 3 * n - 3
    assert found.total == pytest.approx(brute - 3.0, abs=1e-6)
    correction = quantum_harmonic_correction(found.frequencies, T)
    assert found.quantum_total - found.total == pytest.approx(correction, rel=1e-12)


def test_an_unstable_mode_is_refused_by_name() -> None:
    atoms = skewed_salt()
    matrix = spring_network(atoms, 3.4, np.random.default_rng(3))
    direction = np.random.default_rng(4).normal(size=len(matrix))
    direction -= np.tile(direction.reshape(-1, 3).mean(axis=0), len(atoms))
    direction /= np.linalg.norm(direction)
    with pytest.raises(InputError, match=r"mode 0 .*imaginary frequency .*atom \d+"):
        mode_frequencies(matrix - 60.0 * np.outer(direction, direction), atoms.get_masses())


# ------------------------------------------------------------------ springs


def test_springs_of_an_exact_einstein_crystal() -> None:
    # Covariance with the centre of mass held, from a spring on it that is nearly rigid.
    springs = np.array([0.5, 0.5, 2.0, 2.0, 2.0, 7.0])
    masses = np.array([10.0, 10.0, 50.0, 50.0, 50.0, 200.0])
    share = masses / masses.sum()
    covariance = np.linalg.inv(np.diag(springs) / KT + 1e9 * np.outer(share, share))
    mean_squares = 3.0 * np.diag(covariance)
    crystal = classes(0, 0, 1, 1, 1, 2)
    found = springs_from_displacements(mean_squares, masses, T, crystal)
    np.testing.assert_allclose(found, springs, rtol=1e-5)
    # Without the correction the constants would be off by several per cent here.
    assert np.abs(3.0 * KT / mean_squares / springs - 1.0).max() > 0.05


def test_springs_of_equal_atoms_carry_one_minus_one_over_n() -> None:
    n = 4
    means = np.full(n, 3.0 * KT / 2.0 * (1.0 - 1.0 / n))
    found = springs_from_displacements(means, np.full(n, 60.0), T, classes(*[0] * n))
    np.testing.assert_allclose(found, 2.0, rtol=1e-10)


def sampled(
    atoms: Atoms, matrix: np.ndarray, seed: int, samples: int = 4000
) -> tuple[Displacements, HarmonicCalculator]:
    """Return displacements drawn from the canonical distribution of springs to sites."""
    rng = np.random.default_rng(seed)
    calculator = HarmonicCalculator(atoms, matrix)
    observer = Displacements(atoms, T)
    root = np.linalg.cholesky(np.linalg.inv(matrix) * KT)
    moved = atoms.copy()
    moved.calc = calculator
    for _ in range(samples):
        moved.positions = atoms.positions + (root @ rng.normal(size=len(root))).reshape(-1, 3)
        observer.observe(moved)
    return observer, calculator


def test_sampled_displacements_give_springs_and_curvatures() -> None:
    atoms = skewed_salt()
    springs = np.where(atoms.numbers == 11, 1.0, 3.0)
    observer, _ = sampled(atoms, einstein_matrix(springs), 5)
    crystal = crystal_symmetry(atoms)
    observer.check_crystal(crystal)
    found = springs_from_displacements(observer.mean_squares, atoms.get_masses(), T, crystal)
    # Drawn with a free centre of mass and shifted back, which is not quite holding it: 3 %.
    np.testing.assert_allclose(found, springs, rtol=0.03)
    np.testing.assert_allclose(crystal.class_means(observer.curvatures), [1.0, 3.0], rtol=0.02)


def test_displacements_continue_from_a_state() -> None:
    atoms = skewed_salt()
    springs = np.full(len(atoms), 2.0)
    whole, calculator = sampled(atoms, einstein_matrix(springs), 6, 100)
    rng = np.random.default_rng(6)
    root = np.linalg.cholesky(np.linalg.inv(calculator.matrix) * KT)
    moved = atoms.copy()
    moved.calc = calculator
    observer = Displacements(atoms, T)
    for step in range(100):
        moved.positions = atoms.positions + (root @ rng.normal(size=len(root))).reshape(-1, 3)
        observer.observe(moved)
        if step in (3, 40, 77):
            fresh = Displacements(atoms, T)
            lists = {
                key: value.tolist() if isinstance(value, np.ndarray) else value
                for key, value in observer.state().items()
            }
            fresh.restore(lists)
            observer = fresh
    np.testing.assert_array_equal(observer.mean_squares, whole.mean_squares)
    np.testing.assert_array_equal(observer.curvatures, whole.curvatures)


def test_springs_of_the_hessian() -> None:
    atoms = skewed_salt()
    springs = np.where(atoms.numbers == 11, 1.5, 4.0)
    calculator = HarmonicCalculator(atoms, einstein_matrix(springs))
    found = springs_from_hessian(atoms, calculator, crystal_symmetry(atoms))
    np.testing.assert_allclose(found, springs, rtol=1e-10)
    assert calculator.evaluations <= 2 * 6  # one atom of each class
    argon = bulk("Ar", "fcc", 5.3).repeat(3)
    lennard_jones = LennardJonesCalculator(3.4, 0.0104, 7.0)
    found = springs_from_hessian(argon, lennard_jones, crystal_symmetry(argon))
    full = force_constants(argon, lennard_jones).reshape(27, 3, 27, 3)
    np.testing.assert_allclose(found[0], np.trace(full[13, :, 13]) / 3.0, rtol=1e-8)


def test_an_atom_that_leaves_its_site_is_refused() -> None:
    atoms = skewed_salt()
    observer, calculator = sampled(atoms, einstein_matrix(np.full(len(atoms), 2.0)), 7, 50)
    moved = atoms.copy()
    moved.calc = calculator
    moved.positions[3] += [2.0, 0.0, 0.0]
    with pytest.raises(InputError, match=r"melts or diffuses at 300 K: atom 3 \(Cl\) moved"):
        observer.observe(moved)


def test_steady_diffusion_is_refused_before_an_atom_is_gone() -> None:
    atoms = skewed_salt()
    rng = np.random.default_rng(8)
    moved = atoms.copy()
    moved.calc = HarmonicCalculator(atoms, einstein_matrix(np.full(len(atoms), 2.0)))
    observer = Displacements(atoms, T)
    direction = rng.normal(size=(len(atoms), 3))
    direction /= np.linalg.norm(direction, axis=1)[:, None]
    for step in range(2000):
        # The mean square grows linearly, to (0.9 A)^2; half a bond is 1.4 A.
        along = 0.9 * np.sqrt(step / 2000) * direction
        moved.positions = atoms.positions + along + rng.normal(scale=0.05, size=along.shape)
        observer.observe(moved)
    with pytest.raises(InputError, match=r"melts or diffuses .* mean-square displacement of"):
        observer.check_crystal(crystal_symmetry(atoms))


def test_a_crystal_at_rest_in_noise_is_accepted() -> None:
    atoms = skewed_salt()
    for seed in range(10, 20):
        observer, _ = sampled(atoms, einstein_matrix(np.full(len(atoms), 2.0)), seed, 20)
        observer.check_crystal(crystal_symmetry(atoms))


def test_mean_anchors_move_only_where_symmetry_lets_them() -> None:
    salt = bulk("NaCl", "rocksalt", 5.7).repeat(2)
    observer, _ = sampled(salt, einstein_matrix(np.full(len(salt), 2.0)), 9, 20)
    fixed = salt.get_scaled_positions(wrap=False)
    np.testing.assert_allclose(mean_anchors(observer), fixed, atol=1e-12)
    # Wurtzite: the distance between the two sublattices along c is free.
    wurtzite = bulk("ZnO", "wurtzite", 3.25, c=5.2).repeat((2, 2, 1))
    away = wurtzite.copy()
    away.positions[away.numbers == 8, 2] += 0.05
    away.calc = HarmonicCalculator(away, einstein_matrix(np.full(len(away), 2.0)))
    observer = Displacements(wurtzite, T)
    observer.observe(away)
    moved = mean_anchors(observer) @ wurtzite.cell.array - wurtzite.positions
    oxygen = wurtzite.numbers == 8
    np.testing.assert_allclose(moved[:, :2], 0.0, atol=1e-10)
    np.testing.assert_allclose(moved[oxygen, 2].mean() - moved[~oxygen, 2].mean(), 0.05, atol=1e-10)


# ------------------------------------------------------------------ mean cell


@pytest.mark.parametrize("left_handed", [False, True])
def test_a_tumbling_cell_keeps_its_shape(left_handed: bool) -> None:
    rng = np.random.default_rng(10)
    cell = skewed_salt().cell.array.copy()
    if left_handed:
        cell = cell[[1, 0, 2]]
    observer = MeanCell(cell)
    for _ in range(20):
        turned = cell @ Rotation.random(random_state=int(rng.integers(1 << 30))).as_matrix()
        observer.observe(Atoms(cell=turned, pbc=True))
    np.testing.assert_allclose(observer.cell, cell, atol=1e-12)
    assert observer.volume == pytest.approx(abs(np.linalg.det(cell)), rel=1e-12)
    assert observer.volume_deviation == pytest.approx(0.0, abs=1e-5)


def test_stretch_is_symmetric_and_recovers_the_metric() -> None:
    rng = np.random.default_rng(11)
    reference = skewed_salt().cell.array
    cell = reference @ expm(0.1 * rng.normal(size=(3, 3)))
    found = stretch(cell, reference)
    np.testing.assert_allclose(found, found.T, atol=1e-13)
    mean = reference @ found
    np.testing.assert_allclose(mean @ mean.T, cell @ cell.T, rtol=1e-12)  # lengths and angles


def test_mean_of_a_sheared_cell_is_sheared() -> None:
    # Where a diagonal matrix would be taken, the shear would be lost.
    cell = np.array([[5.0, 0.0, 0.0], [2.5, 4.3, 0.0], [0.3, 0.2, 7.0]])
    observer = MeanCell(np.diag([5.0, 4.3, 7.0]))
    observer.observe(Atoms(cell=cell, pbc=True))
    np.testing.assert_allclose(observer.cell @ observer.cell.T, cell @ cell.T, rtol=1e-12)


def test_symmetrised_mean_of_a_cubic_crystal_is_cubic() -> None:
    atoms = bulk("Cu", "fcc", 3.6).repeat((2, 2, 3))
    rotations = crystal_symmetry(atoms).rotations
    rng = np.random.default_rng(12)
    observer = MeanCell(atoms.cell.array, rotations)
    traces = []
    for _ in range(5):
        strained = atoms.cell.array @ expm(0.05 * rng.normal(size=(3, 3)))
        observer.observe(Atoms(cell=strained, pbc=True))
        traces.append(np.trace(stretch(strained, atoms.cell.array)) / 3.0)
    np.testing.assert_allclose(observer.cell, np.mean(traces) * atoms.cell.array, atol=1e-12)
    strain = rng.normal(size=(3, 3))
    once = symmetrised(strain + strain.T, rotations)
    np.testing.assert_allclose(symmetrised(once, rotations), once, atol=1e-12)


def test_mean_cell_continues_from_a_state() -> None:
    rng = np.random.default_rng(13)
    cell = skewed_salt().cell.array
    cells = [cell @ expm(0.02 * rng.normal(size=(3, 3))) for _ in range(6)]
    whole, part = MeanCell(cell), MeanCell(cell)
    for index, item in enumerate(cells):
        whole.observe(Atoms(cell=item, pbc=True))
        part.observe(Atoms(cell=item, pbc=True))
        if index == 2:
            state = part.state()
            part = MeanCell(cell)
            part.restore(state)
    np.testing.assert_array_equal(whole.cell, part.cell)
    assert whole.volume == part.volume
    with pytest.raises(InputError, match="inside out"):
        whole.observe(Atoms(cell=cell[[1, 0, 2]], pbc=True))
    with pytest.raises(InputError, match="no cell"):
        _ = MeanCell(cell).cell
