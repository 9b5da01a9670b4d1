"""The three invariants that every potential must keep, for every correlation and form.

Reference values come from the potential's own calculator, cast to float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ase import Atoms

from alchemlip import AlchemicalPotential, Evaluation, Group, Mixture
from alchemlip.mixture.mixture import Correlation
from alchemlip.potential.messages import Form
from conftest import PotentialCase
from crystals import CRYSTALS, Crystal, pure_atoms

TOLERANCE = 1e-10
CORRELATIONS: tuple[Correlation, ...] = ("independent", "concerted")
FORMS: tuple[Form, ...] = ("factorised", "expanded")

every_crystal = pytest.mark.parametrize("crystal", CRYSTALS, ids=repr, indirect=True)
every_correlation = pytest.mark.parametrize("correlation", CORRELATIONS)
every_form = pytest.mark.parametrize("form", FORMS)


def need(form: Form, potential: AlchemicalPotential) -> None:
    """Skip a form that a model cannot have; every model has the expanded one."""
    assert "expanded" in potential.backend.forms
    if form not in potential.backend.forms:
        pytest.skip(f"{potential.name} has no {form} form")


def assert_equal(got: Any, expected: Any, tolerance: float = TOLERANCE) -> None:
    scale = max(1.0, float(np.abs(expected).max()))
    assert np.abs(np.asarray(got) - np.asarray(expected)).max() <= tolerance * scale


def assert_matches(result: Evaluation, atoms: Atoms, kept: Any, calculator: Any) -> None:
    """Compare energy, forces and stress with the calculator's on an ordinary structure."""
    atoms = atoms.copy()
    atoms.calc = calculator
    assert_equal(result.energy, atoms.get_potential_energy())
    assert_equal(result.forces[kept], atoms.get_forces())
    if atoms.pbc.all():
        assert_equal(result.stress, atoms.get_stress())


def one_hot(mixture: Mixture, which: int) -> Mixture:
    sizes = {group.name: len(group.components) for group in mixture.groups}
    # At once: of two sites that exclude one another, one empties as the other fills.
    return mixture.with_compositions({name: np.eye(k)[which % k] for name, k in sizes.items()})


@every_crystal
@every_correlation
@every_form
def test_one_hot(
    crystal: Crystal,
    correlation: Correlation,
    form: Form,
    any_potential: AlchemicalPotential,
    reference: Any,
) -> None:
    """Occupancies 0 and 1 give the potential's own result; dead nodes cost no accuracy."""
    need(form, any_potential)
    for which in (0, -1):
        mixture = one_hot(crystal.mixture(correlation), which)
        occupied = [max(site, key=lambda s: site[s]) != "Va" for site in mixture.occupancies()]
        result = any_potential.evaluate(mixture, form=form)
        if not any(occupied):
            assert result.energy == 0.0
            assert not result.forces.any()
            continue
        assert_matches(result, pure_atoms(mixture), np.array(occupied), reference)
        # Nothing pulls on what is not there.
        assert not result.forces[~np.array(occupied)].any()


@every_crystal
@every_correlation
@every_form
def test_split(
    crystal: Crystal,
    correlation: Correlation,
    form: Form,
    any_potential: AlchemicalPotential,
    reference: Any,
) -> None:
    """An atom written as two nodes of the same element with p and 1 - p changes nothing."""
    need(form, any_potential)
    atoms = crystal.atoms
    sites = np.arange(0, len(atoms), 2)
    twice = np.repeat(atoms.numbers[sites, None], 2, axis=1)
    group = Group("halves", sites, ("p", "1-p"), twice, np.array([0.3, 0.7]), correlation)
    mixture = Mixture(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, (group,))
    assert len(mixture.nodes) == len(atoms) + len(sites)
    result = any_potential.evaluate(mixture, form=form)
    assert_matches(result, atoms, slice(None), reference)


@every_form
@pytest.mark.parametrize("with_vacancy", [False, True])
@every_crystal
def test_concerted_sum(
    crystal: Crystal,
    with_vacancy: bool,
    form: Form,
    any_potential: AlchemicalPotential,
    reference: Any,
) -> None:
    """One concerted group over all sites gives sum_k x_k E_k of the pure end states."""
    need(form, any_potential)
    first = crystal.atoms
    second = first.copy()
    one, other = crystal.others
    second.symbols[:] = [one if z == first.numbers[0] else other for z in first.numbers]
    if with_vacancy and len(first) > 1:
        second.symbols[1] = "X"
    mixture = Mixture.from_end_states(
        {"A": first, "B": second}, {"A": 0.35, "B": 0.65}, all_sites=True
    )
    result = any_potential.evaluate(mixture, form=form)

    energy, forces, stress = 0.0, np.zeros((len(first), 3)), np.zeros(6)
    energies = []
    for weight, atoms in ((0.35, first), (0.65, second)):
        kept = atoms.numbers > 0
        pure = atoms[kept]
        pure.calc = reference
        energies.append(pure.get_potential_energy())
        energy += weight * energies[-1]
        forces[kept] += weight * pure.get_forces()
        stress += weight * pure.get_stress()
    assert_equal(result.energy, energy)
    assert_equal(result.forces, forces)
    assert_equal(result.composition_gradient, energies)
    if first.pbc.all():
        assert_equal(result.stress, stress)


@every_crystal
@every_correlation
def test_factorised_equals_expanded(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential
) -> None:
    need("factorised", any_potential)
    mixture = crystal.mixture(correlation)
    fast = any_potential.evaluate(mixture, form="factorised")
    slow = any_potential.evaluate(mixture, form="expanded")
    assert_equal(fast.energy, slow.energy, 1e-12)
    assert_equal(fast.node_energies, slow.node_energies, 1e-12)
    assert_equal(fast.forces, slow.forces, 1e-12)
    assert_equal(fast.composition_gradient, slow.composition_gradient, 1e-12)
    if slow.stress is not None:
        assert_equal(fast.stress, slow.stress, 1e-12)


def test_mixed_correlations(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """A concerted and an independent group in one structure: both forms agree."""
    crystal = case.crystal("both-sublattices")
    cation = next(iter(crystal.spec))
    mixture = Mixture.from_elements(crystal.atoms, crystal.spec, correlation={cation: "concerted"})
    fast = any_potential.evaluate(mixture)
    slow = any_potential.evaluate(mixture, form="expanded")
    assert_equal(fast.energy, slow.energy, 1e-12)
    assert_equal(fast.composition_gradient, slow.composition_gradient, 1e-12)
    for other in CORRELATIONS:
        assert abs(any_potential.evaluate(crystal.mixture(other)).energy - fast.energy) > 1e-4
