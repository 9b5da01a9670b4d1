"""Checks that every backend must pass: each raises AssertionError with one sentence.

A potential is checked in float64, against the ASE calculator that its own package has for it, in
float64, too. Derivatives are in `alchemlip.testing.derivatives`, precision, device, threads and
copies in `alchemlip.testing.running`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase.calculators.calculator import Calculator

from alchemlip.mixture.groups import Correlation, Group
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.messages import Form
from alchemlip.potential.potential import AlchemicalPotential
from alchemlip.testing.comparison import (
    TOLERANCE,
    assert_equal,
    assert_matches,
    assert_same_evaluation,
    given,
)
from alchemlip.testing.crystals import Crystal, pure_atoms

CORRELATIONS: tuple[Correlation, ...] = ("independent", "concerted")
FORMS: tuple[Form, ...] = ("factorised", "expanded")


def one_hot(mixture: Mixture, which: int) -> Mixture:
    """Return the mixture with one component of every group at 1 (modulo its number of them)."""
    sizes = {group.name: len(group.components) for group in mixture.groups}
    # At once: of two sites that exclude one another, one empties as the other fills.
    return mixture.with_compositions({name: np.eye(k)[which % k] for name, k in sizes.items()})


def check_one_hot(
    potential: AlchemicalPotential,
    calculator: Calculator,
    crystal: Crystal,
    correlation: Correlation = "independent",
    form: Form | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """Occupancies 0 and 1 give the potential's own result; dead nodes cost no accuracy.

    Args:
        potential: in float64.
        calculator: the potential's own ASE calculator, in float64.
        crystal: taken at the first and the last component of every group.
        correlation: of the groups.
        form: of the message tables; the model's preferred one if None.
        tolerance: relative to the largest value, or to 1 (eV, eV/A, eV/A^3).

    Raises:
        AssertionError: if energy, a force or the stress differs.
    """
    for which in (0, -1):
        mixture = one_hot(crystal.mixture(correlation), which)
        occupied = [max(site, key=lambda s: site[s]) != "Va" for site in mixture.occupancies()]
        result = potential.evaluate(mixture, form=form)
        if any(occupied):
            where = f" at occupancies 0 and 1 ({crystal.name}, {correlation})"
            kept = np.array(occupied)
            atoms = pure_atoms(mixture)
            assert_matches(result, atoms, kept, calculator, tolerance, where)
        elif result.energy != 0.0:
            raise AssertionError(f"a crystal of vacancies has the energy {result.energy} eV")
        if result.forces is None or result.forces[~np.array(occupied)].any():
            raise AssertionError(f"a force acts on what is not there ({crystal.name})")


def check_split(
    potential: AlchemicalPotential,
    calculator: Calculator,
    crystal: Crystal,
    correlation: Correlation = "independent",
    form: Form | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """An atom written as two nodes of the same element with p and 1 - p changes nothing.

    Finds every place where a weight enters nonlinearly. Arguments and error as in `check_one_hot`.
    """
    atoms = crystal.atoms
    sites = np.arange(0, len(atoms), 2)
    twice = np.repeat(atoms.numbers[sites, None], 2, axis=1)
    group = Group("halves", sites, ("p", "1-p"), twice, np.array([0.3, 0.7]), correlation)
    mixture = Mixture(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, (group,))
    if len(mixture.nodes) != len(atoms) + len(sites):
        raise AssertionError("halves of an atom were merged: this would check nothing")
    result = potential.evaluate(mixture, form=form)
    where = f" of atoms split in two of the same element ({crystal.name}, {correlation})"
    assert_matches(result, atoms, slice(None), calculator, tolerance, where)


def check_concerted_sum(
    potential: AlchemicalPotential,
    calculator: Calculator,
    crystal: Crystal,
    with_vacancy: bool = False,
    form: Form | None = None,
    tolerance: float = TOLERANCE,
) -> None:
    """One concerted group over all sites gives sum_k x_k E_k of the pure end states.

    Args:
        potential, calculator, form, tolerance: as in `check_one_hot`.
        crystal: one end state is its structure, the other holds ``crystal.others``.
        with_vacancy: whether the other end state lacks an atom.

    Raises:
        AssertionError: if energy, a force, the stress or a component of dE/dx differs.
    """
    first = crystal.atoms
    second = first.copy()
    one, other = crystal.others
    second.symbols[:] = [one if z == first.numbers[0] else other for z in first.numbers]
    if with_vacancy and len(first) > 1:
        second.symbols[1] = "X"
    mixture = Mixture.from_end_states(
        {"A": first, "B": second}, {"A": 0.35, "B": 0.65}, all_sites=True
    )
    result = potential.evaluate(mixture, form=form)

    energies, forces, stress = [], np.zeros((len(first), 3)), np.zeros(6)
    for weight, atoms in ((0.35, first), (0.65, second)):
        kept = atoms.numbers > 0
        pure = atoms[kept]
        pure.calc = calculator
        energies.append(pure.get_potential_energy())
        forces[kept] += weight * pure.get_forces()
        if first.pbc.all():
            stress += weight * pure.get_stress()
    where = f" of a concerted group, against the sum of its end states ({crystal.name})"
    assert_equal(result.energy, np.dot([0.35, 0.65], energies), tolerance, f"the energy{where}")
    assert_equal(result.forces, forces, tolerance, f"a force{where}")
    assert_equal(result.composition_gradient, energies, tolerance, f"dE/dx{where}")
    if first.pbc.all():
        assert_equal(result.stress, stress, tolerance, f"the stress{where}")


def check_factorised_equals_expanded(
    potential: AlchemicalPotential,
    crystal: Crystal,
    correlation: Correlation | Mapping[str, Correlation] = "independent",
) -> None:
    """Both forms give one result, to 1e-12.

    Args:
        potential: that has both.
        crystal: what is evaluated.
        correlation: of the groups, or of each by name.

    Raises:
        AssertionError: if anything differs.
    """
    mixture = Mixture.from_elements(crystal.atoms, crystal.spec, correlation=correlation)
    mixture = mixture.with_exclusive(crystal.exclusive)
    fast = potential.evaluate(mixture, form="factorised")
    slow = potential.evaluate(mixture, form="expanded")
    where = f" in factorised form, against the expanded one ({crystal.name}, {correlation})"
    assert_same_evaluation(fast, slow, 1e-12, where)


def check_batch(potential: AlchemicalPotential, crystals: Sequence[Crystal]) -> None:
    """Crystals in one pass give what each gives alone, in either correlation.

    Args:
        potential: in float64.
        crystals: of different sizes, for choice.

    Raises:
        AssertionError: if anything differs.
    """
    mixtures = [crystal.mixture(k) for crystal in crystals for k in CORRELATIONS]
    together = potential.evaluate(mixtures)
    for index, (mixture, result) in enumerate(zip(mixtures, together, strict=True)):
        name = crystals[index // len(CORRELATIONS)].name
        single = potential.evaluate(mixture)
        assert_same_evaluation(result, single, where=f" of {name} in a batch, against it alone,")


def check_node_energies(potential: AlchemicalPotential, crystal: Crystal) -> None:
    """The model returns one energy a node, on its device and in its dtype; they sum to E.

    Raises:
        AssertionError: if shape, device or dtype is another, or E not sum_ia p_ia eps_ia.
    """
    mixture = crystal.mixture()
    graph = potential.graph([mixture])
    values = potential.node_energies(graph, graph.positions, graph.cells, graph.composition)
    if values.shape != (len(mixture.nodes),):
        raise AssertionError(
            f"the model returns energies of shape {tuple(values.shape)} for "
            f"{len(mixture.nodes)} nodes ({crystal.name})"
        )
    if values.device.type != potential.device.type or values.dtype != potential.dtype:
        raise AssertionError(
            f"the model says {potential.device}, {potential.dtype} and returns energies in "
            f"{values.device}, {values.dtype}"
        )
    result = potential.evaluate(mixture)
    weighted = result.occupancies @ result.node_energies
    what = f"the sum of node energies ({crystal.name})"
    assert_equal(weighted, result.energy, 1e-13, what)
    assert_equal(result.site_energies.sum(), result.energy, 1e-13, what.replace("node", "site"))


def split_site(crystal: Crystal, cell: float = 1.0) -> tuple[Mixture, Mixture]:
    """Return one atom at one of two places: as exclusive sites, and as one concerted group.

    Args:
        crystal: with one exclusive pair.
        cell: factor of its cell; 8 leaves no image in range.
    """
    (here, there) = crystal.exclusive[0]
    first = next(iter(crystal.spec[here]))
    atoms = crystal.atoms.copy()
    atoms.set_cell(cell * atoms.cell.array)
    both: dict[Any, dict[str, float]] = {
        here: {first: 0.45, "Va": 0.55},
        there: {"Va": 0.55, first: 0.45},
    }
    exclusive = Mixture.from_elements(atoms, both).with_exclusive([(here, there)])
    number = atoms.numbers[here]
    group = Group(
        "split",
        np.array([here, there]),
        (str(here), str(there), "none"),
        np.array([[number, 0, 0], [0, number, 0]]),
        np.array([0.45, 0.45, 0.1]),
        "concerted",
    )
    concerted = Mixture(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, (group,))
    return exclusive, concerted


def check_exclusive(potential: AlchemicalPotential, crystal: Crystal) -> None:
    """Two sites of which one is filled are a concerted group, where no image is in range.

    Args:
        potential: in float64.
        crystal: with one exclusive pair.

    Raises:
        AssertionError: if energy, a force, the stress or dE/dx differs, or if independent sites
            give the same energy.
    """
    exclusive, concerted = split_site(crystal, cell=8.0)
    got, expected = potential.evaluate(exclusive), potential.evaluate(concerted)
    where = " of two exclusive sites, against one concerted group,"
    for name in ("energy", "forces", "stress"):
        assert_equal(getattr(got, name), getattr(expected, name), what=f"{name}{where}")
    # Of the first site filled, and of the second.
    gradient = given(got.composition_gradient)[[0, 3]]
    assert_equal(gradient, given(expected.composition_gradient)[:2], what=f"dE/dx{where}")
    independent = potential.evaluate(exclusive.with_exclusive(()))
    if abs(independent.energy - got.energy) <= 1e-6:
        raise AssertionError("exclusive and independent sites have one energy: nothing is checked")
