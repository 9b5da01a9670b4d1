"""Composition design: targets are met, constraints kept, stops survived."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings, relax
from alchemlip.crystal.properties import energy, lattice_parameter
from alchemlip.crystal.property_names import property_of
from alchemlip.design.check import rounded
from alchemlip.design.constraints import CompositionConstraints
from alchemlip.design.design import Goal, design
from alchemlip.design.map import pareto_front, property_map
from alchemlip.design.plots import plot_map
from crystals import example

A = lattice_parameter("a")


@pytest.fixture
def salt() -> Mixture:
    """Almost pure; K has not begun."""
    return Mixture.from_elements(example("NaCl"), {"Na": {"Li": 0.001, "Na": 0.999, "K": 0.0}})


def test_lattice_match_from_a_vertex(salt: Mixture, potential: AlchemicalPotential) -> None:
    result = design(salt, potential, [Goal(A, "target", 5.9)])
    assert result.converged
    assert result.composition["Na:K"] > 0.2
    assert len(result.points) <= 6
    settings = RelaxationSettings(fmax=1e-4, smax=1e-4, keep_symmetry=True)
    again = relax(result.mixture, potential, settings)
    assert np.linalg.norm(again.mixture.cell[0]) == pytest.approx(5.9, abs=1.1e-3)


def test_two_targets_by_two_groups(potential: AlchemicalPotential) -> None:
    """As many goals as freedoms: lattice parameter and mixing of anions fixed by energy."""
    spec = {"Na": {"Na": 0.7, "K": 0.3}, "Cl": {"Cl": 0.8, "Br": 0.2}}
    mixture = Mixture.from_elements(example("NaCl"), spec)
    wanted = Mixture.from_elements(
        example("NaCl"), {"Na": {"Na": 0.4, "K": 0.6}, "Cl": {"Cl": 0.5, "Br": 0.5}}
    )
    settings = RelaxationSettings(fmax=1e-5, smax=1e-5, keep_symmetry=True)
    there = relax(wanted, potential, settings)
    goals = [
        Goal(A, "target", float(np.linalg.norm(there.mixture.cell[0])), tolerance=1e-5),
        Goal(energy(), "target", there.evaluation.energy / 8, tolerance=1e-5),
    ]
    result = design(mixture, potential, goals, settings=settings)
    assert result.converged
    assert list(result.composition.values()) == pytest.approx([0.4, 0.6, 0.5, 0.5], abs=2e-3)


def test_out_of_reach(salt: Mixture, potential: AlchemicalPotential) -> None:
    """The largest that there is, and where."""
    result = design(salt, potential, [Goal(A, "target", 7.9)])
    assert not result.converged
    assert result.composition["Na:K"] == pytest.approx(1.0)
    assert "out of reach" in result.message
    assert "a_A = 6.3" in result.message


def test_minimum_under_a_limit(salt: Mixture, potential: AlchemicalPotential) -> None:
    """The lowest energy is pure LiCl; a limit on a stops there, with a binding limit."""
    free = design(salt, potential, [Goal(energy(), "minimise")])
    assert free.converged
    assert free.composition["Na:Li"] == pytest.approx(1.0, abs=1e-6)
    goals = [Goal(energy(), "minimise"), Goal(A, "at least", 5.6)]
    bound = design(salt, potential, goals)
    assert bound.converged
    assert bound.values["a_A"] == pytest.approx(5.6, abs=1e-3)


def test_constraints_are_kept_exactly(salt: Mixture, potential: AlchemicalPotential) -> None:
    constraints = (
        CompositionConstraints(salt).bounded("Na:Li", 0.1, 0.1).related("Na:K - Na:Na <= 0.2")
    )
    result = design(salt, potential, [Goal(A, "target", 5.95)], constraints)
    assert result.converged
    assert result.violation <= 1e-12
    assert result.composition["Na:Li"] == pytest.approx(0.1, abs=1e-14)
    for point in result.points:
        assert constraints.violation(point.x) <= 1e-12


def test_charge_balance(potential: AlchemicalPotential) -> None:
    """Y3+ on Ce4+ sites is paid for by oxygen vacancies: [Va] = x(Y) / 4 per oxygen site."""
    mixture = Mixture.from_elements(
        example("CeO2"),
        {"Ce": {"Ce": 0.9, "Zr": 0.0, "Y": 0.1}, "O": {"O": 1.0, "Va": 0.0}},
    )
    charges = {"Ce": 4, "Zr": 4, "Y": 3, "O": -2}
    constraints = CompositionConstraints(mixture).charge_balanced(charges)
    start = constraints.nearest(mixture.composition)
    assert constraints.violation(start) <= 1e-12
    assert start[4] == pytest.approx(start[2] / 4, abs=1e-12)
    result = design(mixture, potential, [Goal(A, "target", 5.42)], constraints)
    assert result.converged
    assert result.violation <= 1e-12
    found = result.composition
    assert found["O:Va"] == pytest.approx(found["Ce:Y"] / 4, abs=1e-12)


def test_a_stopped_design_goes_on(
    salt: Mixture, potential: AlchemicalPotential, tmp_path: Path
) -> None:
    goals = [Goal(A, "target", 5.9, tolerance=1e-5)]
    whole = design(salt, potential, goals)
    seen = []

    def stop(point: object, _: float) -> None:
        seen.append(point)
        if len(seen) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        design(salt, potential, goals, folder=tmp_path / "run", on_point=stop)
    calls = []
    original = potential.evaluate
    potential.evaluate = lambda *a, **k: (calls.append(1), original(*a, **k))[1]  # type: ignore[method-assign,assignment]
    try:
        again = design(salt, potential, goals, folder=tmp_path / "run")
    finally:
        del potential.evaluate  # type: ignore[method-assign]
    assert again.composition == pytest.approx(whole.composition, abs=1e-9)
    assert len(calls) < whole.evaluations


def test_bad_input(salt: Mixture, potential: AlchemicalPotential) -> None:
    constraints = CompositionConstraints(salt)
    clash = constraints.bounded("Na:Li", 0.7, 1.0).related("Na:K >= 0.5")
    with pytest.raises(InputError, match=r"one of Na:Li >= 0.7; Na:K >= 0.5"):
        design(salt, potential, [Goal(A, "target", 5.9)], clash)
    with pytest.raises(InputError, match="no component 'Na:Rb'"):
        constraints.bounded("Na:Rb", 0, 1)
    with pytest.raises(InputError, match="cannot read"):
        constraints.related("Na:K is small")
    with pytest.raises(InputError, match="K has no oxidation state"):
        constraints.charge_balanced({"Na": 1, "Li": 1, "Cl": -1})
    with pytest.raises(InputError, match="needs a value"):
        Goal(A, "target")
    with pytest.raises(InputError, match="needs a goal"):
        design(salt, potential, [])
    loose = RelaxationSettings(max_steps=1)
    with pytest.raises(InputError, match=r"at Na:Li 0.0010, .* did not converge in 1 steps"):
        design(salt, potential, [Goal(property_of("volume"), "minimise")], settings=loose)


def test_map_and_its_arrows(potential: AlchemicalPotential, tmp_path: Path) -> None:
    """Values are the scan's; arrows, along an edge, predict the next value."""
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Li": 0.2, "Na": 0.5, "K": 0.3}})
    found = property_map(mixture, potential, [A], points=3, folder=tmp_path / "map")
    assert found.x.shape == (6, 3)
    assert np.abs(found.along_simplex().sum(axis=-1)).max() < 1e-12
    where = {tuple(x): index for index, x in enumerate(found.x.tolist())}
    edge = [where[1.0, 0.0, 0.0], where[0.5, 0.0, 0.5], where[0.0, 0.0, 1.0]]
    direction = np.array([-1.0, 0.0, 1.0])
    slopes = [found.gradients[index, 0] @ direction for index in edge]
    rise = found.values[edge[2], 0] - found.values[edge[0], 0]
    assert np.array([1, 4, 1]) @ slopes / 6 == pytest.approx(rise, rel=0.05)  # Simpson's rule
    picture = plot_map(found, 0, tmp_path / "map.png")
    assert picture.stat().st_size > 20_000


def test_pareto_front(potential: AlchemicalPotential) -> None:
    """Between the most stable and the widest salt nothing is better in both."""
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Li": 0.9, "Na": 0.0, "K": 0.1}})
    front = pareto_front(
        mixture,
        potential,
        Goal(energy(), "minimise"),
        Goal(A, "maximise"),
        points=3,
    )
    lowest, width = np.array([point.values for point in front]).T
    assert width[1] == pytest.approx((width[0] + width[2]) / 2, abs=2e-3)
    assert np.all(np.diff(lowest) > 0.0)
    with pytest.raises(InputError, match="two such goals"):
        pareto_front(mixture, potential, Goal(A, "target", 5.9), Goal(A, "maximise"))


def yttria(y: float) -> tuple[Mixture, CompositionConstraints]:
    """Charge-balanced (Ce,Y)(O,Va)2."""
    atoms = bulk("CeO2", "fluorite", 5.41)
    spec = {"Ce": {"Ce": 1 - y, "Y": y}, "O": {"O": 1 - y / 4, "Va": y / 4}}
    mixture = Mixture.from_elements(atoms, spec)
    limits = CompositionConstraints(mixture).charge_balanced({"Ce": 4, "Y": 3, "O": -2})
    assert limits.violation(mixture.composition) < 1e-12
    return mixture, limits


@pytest.mark.parametrize("repeats", [(2, 2, 1), (3, 2, 1), (3, 3, 1), (5, 2, 1), (3, 3, 3)])
def test_whole_atoms_meet_the_constraints(repeats: tuple[int, int, int]) -> None:
    """The nearest of all neutral counts; group by group (2, 2, 1) would be charged."""
    mixture, limits = yttria(0.23)
    found = rounded(mixture, repeats, limits)
    assert limits.violation(found.composition) < 1e-9
    cells = int(np.prod(repeats))
    sites = np.array([cells, cells, 2 * cells, 2 * cells])

    def away(x: np.ndarray) -> float:
        return float((np.abs(x - mixture.composition) * sites).sum())

    neutral = [
        away(np.array([cells - 2 * n, 2 * n, 2 * cells - n, n]) / sites)
        for n in range(cells // 2 + 1)
    ]
    assert away(found.composition) == pytest.approx(min(neutral), abs=1e-9)
    counts = found.composition * sites
    np.testing.assert_allclose(counts, np.rint(counts), atol=1e-9)
    if repeats == (2, 2, 1):
        assert limits.violation(rounded(mixture, repeats).composition) > 0.1


def test_a_supercell_without_whole_atoms_names_one_that_has() -> None:
    mixture, limits = yttria(0.23)
    limits = limits.bounded("Ce:Y", 0.2, 0.3)
    # Two yttrium atoms a vacancy: 2 of 7 cells are the first within.
    with pytest.raises(InputError, match=r"2,2,1 holds no whole atoms.*that does has 7 cells"):
        rounded(mixture, (2, 2, 1), limits)
    assert rounded(mixture, (1, 1, 7), limits).group("Ce").composition[1] == pytest.approx(2 / 7)
    with pytest.raises(InputError, match="none of up to 256 cells"):
        rounded(mixture, (2, 2, 1), limits.bounded("Ce:Y", 0.2311111, 0.2311111))
