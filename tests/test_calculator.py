"""The ASE calculator: no stale results, every ASE tool, honest refusals."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.emt import EMT
from ase.calculators.harmonic import SpringCalculator
from ase.calculators.lj import LennardJones
from ase.calculators.mixing import SumCalculator
from ase.filters import FrechetCellFilter
from ase.io import Trajectory, read
from ase.md.langevin import Langevin
from ase.md.verlet import VelocityVerlet
from ase.optimize import BFGS, FIRE, LBFGS
from threadpoolctl import threadpool_info

from alchemlip import (
    AdditiveCalculator,
    AlchemicalCalculator,
    AlchemicalPotential,
    InputError,
    Mixture,
)
from alchemlip.potential.calculator import evaluate_together
from alchemlip.testing import deformed
from crystals import example

SPEC = {"Na": {"Na": 0.4, "K": 0.6}}


@pytest.fixture
def atoms() -> Atoms:
    return deformed(example("NaCl"))


@pytest.fixture
def mixed(atoms: Atoms, potential: AlchemicalPotential) -> Atoms:
    atoms.calc = AlchemicalCalculator(potential, Mixture.from_elements(atoms, SPEC))
    return atoms


def test_results_are_the_potentials(mixed: Atoms, potential: AlchemicalPotential) -> None:
    expected = potential.evaluate(mixed.calc.mixture)
    assert mixed.get_potential_energy() == expected.energy
    np.testing.assert_array_equal(mixed.get_forces(), expected.forces)
    np.testing.assert_array_equal(mixed.get_stress(), expected.stress)
    np.testing.assert_array_equal(mixed.get_potential_energies(), expected.site_energies)
    gradient = mixed.calc.results["composition_gradient"]
    np.testing.assert_array_equal(gradient, expected.composition_gradient)
    assert mixed.calc.get_composition_gradient() == {"Na": {"Na": gradient[0], "K": gradient[1]}}


def test_no_stale_results_after_the_composition_changed(
    mixed: Atoms, potential: AlchemicalPotential
) -> None:
    before = mixed.get_potential_energy()
    mixed.calc.set_composition("Na", {"Na": 1.0})
    assert mixed.calc.results == {}
    plain = potential.evaluate(Mixture.from_elements(mixed, {}))
    assert mixed.get_potential_energy() == pytest.approx(plain.energy, abs=1e-10)
    assert abs(mixed.get_potential_energy() - before) > 0.1
    mixed.calc.set_composition("Na", [0.4, 0.6])
    assert mixed.get_potential_energy() == before


def test_no_stale_results_after_the_atoms_moved(mixed: Atoms) -> None:
    before = mixed.get_potential_energy()
    mixed.positions[0, 0] += 0.1
    assert mixed.get_potential_energy() != before
    mixed.positions[0, 0] -= 0.1
    assert mixed.get_potential_energy() == pytest.approx(before, abs=1e-12)


def test_gradient_right_after_the_composition_changed(
    atoms: Atoms, potential: AlchemicalPotential
) -> None:
    """Without naming atoms: at the mixture's own geometry, then at that of the last atoms."""
    mixture = Mixture.from_elements(atoms, SPEC)
    calculator = AlchemicalCalculator(potential, mixture)
    assert calculator.get_composition_gradient() == mixture.by_group(
        potential.evaluate(mixture).composition_gradient
    )
    atoms.positions[0] += 0.1
    atoms.calc = calculator
    atoms.get_potential_energy()
    calculator.set_composition("Na", {"K": 1.0})
    moved = mixture.with_geometry(atoms).with_composition("Na", {"K": 1.0})
    assert calculator.get_composition_gradient() == mixture.by_group(
        potential.evaluate(moved).composition_gradient
    )


def test_copies_and_pickles(mixed: Atoms) -> None:
    """A deep copy shares the weights and nothing else; a pickle loads them again."""
    energy = mixed.get_potential_energy()
    twin = mixed.copy()
    twin.calc = copy.deepcopy(mixed.calc)
    assert twin.calc.potential is mixed.calc.potential
    twin.calc.set_composition("Na", {"K": 1.0})
    assert twin.get_potential_energy() != energy
    assert mixed.get_potential_energy() == energy
    again = pickle.loads(pickle.dumps(mixed.calc))
    again.results = {}
    assert again.get_property("energy", mixed) == energy


def test_gradient_on_demand(atoms: Atoms, potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(atoms, SPEC)
    atoms.calc = AlchemicalCalculator(potential, mixture, composition_gradient=False)
    atoms.get_forces()
    assert "composition_gradient" not in atoms.calc.results
    expected = potential.evaluate(mixture).composition_gradient
    np.testing.assert_array_equal(
        list(atoms.calc.get_composition_gradient()["Na"].values()), expected
    )


@pytest.mark.parametrize("optimiser", [BFGS, LBFGS, FIRE])
def test_optimisers_and_cell_filter(mixed: Atoms, optimiser: type) -> None:
    start = mixed.get_potential_energy()
    optimiser(FrechetCellFilter(mixed), logfile=None).run(fmax=0.05, steps=6)
    assert mixed.get_potential_energy() < start


def test_dynamics_conserves_energy(mixed: Atoms) -> None:
    """Velocity Verlet with the mean masses: the total energy drifts by less than 1 meV."""
    mixed.set_masses(mixed.calc.mixture.masses)
    rng = np.random.default_rng(0)
    mixed.set_momenta(
        rng.normal(size=(8, 3)) * np.sqrt(300 * units.kB * mixed.get_masses())[:, None]
    )
    total = []
    dynamics = VelocityVerlet(mixed, 1.0 * units.fs)
    dynamics.attach(lambda: total.append(mixed.get_total_energy()))
    dynamics.run(25)
    assert np.ptp(total) < 1e-3
    assert np.ptp([mixed.get_kinetic_energy(), 0.0]) > 1e-2


def test_langevin_and_trajectory_files(mixed: Atoms, tmp_path: Path) -> None:
    """ASE's writers accept the extra results, and read back energies and forces."""
    dynamics = Langevin(
        mixed, 1.0 * units.fs, temperature_K=300, friction=0.01, rng=np.random.default_rng(1)
    )
    with Trajectory(tmp_path / "run.traj", "w", mixed) as trajectory:
        dynamics.attach(trajectory.write)
        dynamics.run(2)
    last = read(tmp_path / "run.traj")
    assert last.get_potential_energy() == mixed.get_potential_energy()
    mixed.write(tmp_path / "last.extxyz")
    np.testing.assert_allclose(
        read(tmp_path / "last.extxyz").get_forces(), mixed.get_forces(), atol=1e-7
    )


def test_stress_of_a_cluster_is_refused(potential: AlchemicalPotential) -> None:
    cluster = Atoms("NaCl", positions=[[0, 0, 0], [2.4, 0, 0]])
    cluster.calc = AlchemicalCalculator(potential, Mixture.from_elements(cluster, SPEC))
    assert np.isfinite(cluster.get_potential_energy())
    with pytest.raises(PropertyNotImplementedError, match="stress is undefined"):
        cluster.get_stress()
    assert cluster.get_forces().shape == (2, 3)


def test_atoms_of_another_structure_are_refused(
    mixed: Atoms, potential: AlchemicalPotential
) -> None:
    other = mixed.copy()
    other.symbols[-1] = "Br"
    other.calc = mixed.calc
    with pytest.raises(InputError, match=r"site \d is Br in the atoms"):
        other.get_potential_energy()
    short = mixed[:-1]
    short.calc = mixed.calc
    with pytest.raises(InputError, match="7 atoms, but the mixture has 8 sites"):
        short.get_potential_energy()


def test_uncovered_element_is_refused(atoms: Atoms, potential: AlchemicalPotential) -> None:
    with pytest.raises(InputError, match="does not cover Rn"):
        AlchemicalCalculator(potential, Mixture.from_elements(atoms, {"Na": "Na0.5Rn0.5"}))


def test_broken_composition_leaves_the_calculator_as_it_was(mixed: Atoms) -> None:
    energy = mixed.get_potential_energy()
    for group, composition in (("Na", {"Na": 0.5}), ("Na", {"Li": 1.0}), ("Mg", {"Na": 1.0})):
        with pytest.raises(InputError):
            mixed.calc.set_composition(group, composition)
    assert mixed.calc.results["energy"] == energy


def test_evaluate_together_fills_every_calculator(potential: AlchemicalPotential) -> None:
    structures = []
    for seed, x in enumerate((0.1, 0.5, 0.9)):
        atoms = deformed(example("NaCl"), seed)
        mixture = Mixture.from_elements(atoms, {"Na": {"Na": x, "K": 1 - x}})
        atoms.calc = AlchemicalCalculator(potential, mixture)
        structures.append(atoms)
    evaluate_together(structures)
    for atoms in structures:
        held = dict(atoms.calc.results)
        assert held["energy"] == atoms.get_potential_energy()  # no new calculation
        single = potential.evaluate(atoms.calc.mixture)
        assert held["energy"] == pytest.approx(single.energy, abs=1e-10)
    structures[1].positions[0] += 0.05
    before = structures[0].calc.evaluation
    evaluate_together(structures)
    assert structures[0].calc.evaluation is before
    assert structures[1].calc.evaluation.energy != pytest.approx(held["energy"])


def test_blas_threads_are_limited(mixed: Atoms) -> None:
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    assert all(pool["num_threads"] == 1 for pool in pools)


def spring_to(atoms: Atoms) -> SpringCalculator:
    return SpringCalculator(atoms.positions - 0.1, 2.0)


def test_additive_terms_keep_the_composition_alive(mixed: Atoms) -> None:
    """Springs on top: energies and forces add up, at every composition, with the gradient."""
    alchemical = mixed.calc
    mixed.calc = AdditiveCalculator(alchemical, [spring_to(mixed)])
    for weights in ({"Na": 1.0}, {"K": 1.0}):
        mixed.calc.set_composition("Na", weights)
        bare, tied = mixed.copy(), mixed.copy()
        bare.calc, tied.calc = alchemical, spring_to(mixed)
        energy = bare.get_potential_energy() + tied.get_potential_energy()
        assert mixed.get_potential_energy() == pytest.approx(energy, abs=1e-12)
        np.testing.assert_allclose(
            mixed.get_forces(), bare.get_forces() + tied.get_forces(), atol=1e-12
        )
        assert mixed.calc.get_composition_gradient() == alchemical.get_composition_gradient(bare)
        assert mixed.calc.results["composition_gradient"] is not None
    with pytest.raises(PropertyNotImplementedError):
        mixed.get_stress()  # springs to fixed points have none


def test_additive_terms_evaluate_the_potential_once(
    atoms: Atoms, potential: AlchemicalPotential, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step costs one evaluation, with the gradient left out, and sees changed terms."""
    calls = []
    evaluate = potential.evaluate
    monkeypatch.setattr(
        potential, "evaluate", lambda *a, **k: (calls.append(k), evaluate(*a, **k))[1]
    )
    mixture = Mixture.from_elements(atoms, SPEC)
    bare = AlchemicalCalculator(potential, mixture, composition_gradient=False)
    pair = LennardJones(sigma=2.0, epsilon=0.01, rc=4.0)
    atoms.calc = AdditiveCalculator(bare, [pair])
    before = atoms.get_potential_energy()
    atoms.get_forces()
    atoms.get_stress()
    assert len(calls) == 1
    assert "composition_gradient" not in atoms.calc.results
    pair.set(epsilon=0.1)
    assert atoms.get_potential_energy() != before
    assert len(calls) == 1
    assert atoms.calc.get_composition_gradient()
    assert len(calls) == 2


def test_additive_stress(mixed: Atoms) -> None:
    alchemical = mixed.calc
    terms = LennardJones(sigma=2.0, epsilon=0.01, rc=4.0)
    mixed.calc = AdditiveCalculator(alchemical, [terms])
    bare, pair = mixed.copy(), mixed.copy()
    bare.calc, pair.calc = alchemical, LennardJones(sigma=2.0, epsilon=0.01, rc=4.0)
    np.testing.assert_allclose(
        mixed.get_stress(), bare.get_stress() + pair.get_stress(), atol=1e-14
    )


def test_terms_that_depend_on_the_elements_are_refused(potential: AlchemicalPotential) -> None:
    """A dispersion correction, say: its coefficients belong to whole elements. EMT stands in."""
    atoms = bulk("Cu", "fcc", 3.75, cubic=True)
    mixture = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.5, "Au": 0.5}})
    alchemical = AlchemicalCalculator(potential, mixture)
    with pytest.raises(
        InputError, match=r"EMT cannot be added: its energy differs by .* Cu and Au"
    ):
        AdditiveCalculator(alchemical, [EMT()])
    unknown = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.5, "Zn": 0.5}})
    with pytest.raises(InputError, match="with Zn on site 0 it fails"):
        AdditiveCalculator(AlchemicalCalculator(potential, unknown), [EMT()])
    # Where nothing that it tells apart is mixed, it is an ordinary term.
    pure = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.9, "Va": 0.1}})
    AdditiveCalculator(AlchemicalCalculator(potential, pure), [EMT()])


def test_why_ases_own_sum_is_not_enough(mixed: Atoms) -> None:
    """ASE's SumCalculator returns the old energy after the composition changed."""
    alchemical = mixed.calc
    mixed.calc = SumCalculator([alchemical, spring_to(mixed)])
    before = mixed.get_potential_energy()
    alchemical.set_composition("Na", {"Na": 1.0})
    assert mixed.get_potential_energy() == before
    mixed.calc = AdditiveCalculator(alchemical, [spring_to(mixed)])
    assert mixed.get_potential_energy() != before


def test_one_element_cell_of_one_atom(potential: AlchemicalPotential) -> None:
    """The smallest mixture works through the calculator too."""
    atoms = bulk("Cu", "fcc", 3.75)
    mixture = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.5, "Au": 0.5}})
    atoms.calc = AlchemicalCalculator(potential, mixture)
    assert np.abs(atoms.get_forces()).max() < 1e-10
    off = atoms.get_stress()[3:]
    assert np.abs(off).max() < 1e-9
