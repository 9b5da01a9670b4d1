"""Local relaxation: exact for springs; its derivatives, and what it refuses."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, relax
from alchemlip.crystal.second_derivatives import SecondDerivatives
from alchemlip.disorder.local_relaxation import local_relaxation
from pair_models import spring_potential

A = 3.0
SPRINGS = spring_potential(3.6, (11, 19, 37), stiffness=4.0, push={11: 0.10, 19: -0.15, 37: 0.3})


def simple_cubic(repeats: tuple[int, int, int], weights: dict[str, float]) -> Mixture:
    atoms = Atoms("Na", cell=[A, A, A], pbc=True)
    return Mixture.from_elements(atoms, {"Na": weights}).repeat(repeats)


def explicit_gain(mixture: Mixture, exact: bool, cell: bool = False) -> float:
    """Mean energy gained by minimising every arrangement, in eV."""
    group = mixture.groups[0]
    weights, gains = [], []
    for choice in itertools.product(range(len(group.components)), repeat=len(group.sites)):
        counts = np.bincount(choice, minlength=len(group.components))
        if exact and not np.allclose(counts, len(group.sites) * group.composition):
            continue
        numbers = mixture.numbers.copy()
        numbers[group.sites] = group.species[0][list(choice)]
        pure = Mixture(numbers, mixture.positions, mixture.cell, mixture.pbc)
        start = SPRINGS.evaluate(pure).energy
        end = relax(pure, SPRINGS, cell="full" if cell else "fixed", fmax=1e-6, smax=1e-4)
        assert end.converged
        gains.append(end.evaluation.energy - start)
        weights.append(1.0 if exact else float(np.prod(group.composition[list(choice)])))
    return float(np.average(gains, weights=weights))


BINARY = {"Na": 0.25, "K": 0.75}
TERNARY = {"Na": 0.25, "K": 0.25, "Rb": 0.5}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize(
    ("repeats", "weights"),
    [((4, 1, 1), BINARY), ((4, 1, 1), TERNARY), ((3, 2, 1), {"Na": 0.5, "K": 0.5})],
    ids=["chain", "chain of three species", "layer"],
)
def test_springs_are_exact(
    repeats: tuple[int, int, int], weights: dict[str, float], exact: bool
) -> None:
    """Forces linear in the occupancies, harmonic atoms: the mean over all arrangements."""
    mixture = simple_cubic(repeats, weights)
    result = local_relaxation(mixture, SPRINGS, exact_composition=exact)
    explicit = explicit_gain(mixture, exact)
    assert explicit < -1e-4
    assert result.energy == pytest.approx(explicit, rel=1e-4)
    assert result.method == "double_backward"


def test_symmetry_and_method_change_nothing() -> None:
    mixture = simple_cubic((3, 3, 2), BINARY)
    values = [
        local_relaxation(mixture, SPRINGS).energy,
        local_relaxation(mixture, SPRINGS, symmetry=False).energy,
        local_relaxation(mixture, SPRINGS, method="differences").energy,
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-6)


def by_brute_force(mixture: Mixture, potential: AlchemicalPotential, cell: bool) -> float:
    """-1/2 tr(C G^T A^-1 G) from every row, by the pseudo-inverse: nothing left to symmetry."""
    group = mixture.groups[0]
    n, k, m = mixture.n_sites, len(group.components), len(group.sites)
    variables = ("positions", "strain", "composition") if cell else ("positions", "composition")
    derivatives = SecondDerivatives(mixture.split_group(group.name), potential, variables)
    size = 3 * n + (9 if cell else 0)
    rows, _, _ = derivatives.rows(np.arange(size + m * k))
    if cell:
        # The supercell keeps its pressure P: d2(E + P V)/de2.
        pressure = -derivatives.gradient[derivatives.slices["strain"]].reshape(3, 3).trace() / 3
        flat = np.eye(3).reshape(9)
        symmetric = 0.5 * (np.eye(9) + np.eye(9).reshape(9, 3, 3).transpose(0, 2, 1).reshape(9, 9))
        rows[3 * n : size, 3 * n : size] += pressure * (np.outer(flat, flat) - symmetric)
    covariance = np.diag(group.composition) - np.outer(group.composition, group.composition)
    everywhere = np.kron(np.eye(m) - (np.ones((m, m)) - np.eye(m)) / (m - 1), covariance)
    push = rows[:size, size:]
    inverse = np.linalg.pinv(rows[:size, :size], rcond=1e-7, hermitian=True)
    return float(-0.5 * np.trace(everywhere @ push.T @ inverse @ push))


@pytest.mark.parametrize("cell", [False, True], ids=["cell fixed", "cell relaxed"])
def test_sevennet_against_all_rows(cell: bool, potential: AlchemicalPotential) -> None:
    """Rock salt, primitive supercell of 8 sites: 6 or so rows and symmetry give all of them."""
    atoms = bulk("NaCl", "rocksalt", 5.85)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}}).repeat((2, 2, 1))
    result = local_relaxation(mixture, potential, exact_composition=True, cell=cell)
    assert result.softest_mode > 0
    assert result.energy < -1e-4
    assert result.energy == pytest.approx(by_brute_force(mixture, potential, cell), rel=1e-3)


def test_d_forces_d_occupancy_is_a_difference(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(
        bulk("CeO2", "fluorite", 5.35), {"Ce": {"Ce": 0.5, "Zr": 0.5}}
    ).repeat((2, 1, 1))
    derivatives = SecondDerivatives(
        mixture.split_group("Ce"), potential, ("positions", "composition")
    )
    place = derivatives.slices["composition"].start
    exact, _, _ = derivatives.rows(np.array([place, 1]), "double_backward")
    numerical, _, _ = derivatives.rows(np.array([place, 1]), "differences")
    np.testing.assert_allclose(exact, numerical, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(
        exact[0, : 3 * mixture.n_sites].reshape(-1, 3).sum(axis=0), 0, atol=1e-9
    )


def refused(words: str, mixture: Mixture, potential: AlchemicalPotential, **options: bool) -> None:
    with pytest.raises(InputError, match=words):
        local_relaxation(mixture, potential, **options)


def test_bad_input(potential: AlchemicalPotential) -> None:
    unstable = spring_potential(3.6, (11, 19), stiffness=-4.0, push={})
    refused(
        r"eigenvalue -.* eV/A\^2.*relax the mixed supercell",
        simple_cubic((2, 2, 1), BINARY),
        unstable,
    )
    refused("cannot hold 0.25 Na", simple_cubic((3, 1, 1), BINARY), SPRINGS, exact_composition=True)
    atoms = bulk("NaCl", "rocksalt", 5.6)
    atoms.positions[1, 0] += 0.2
    mixture = Mixture.from_elements(atoms, {"Na": BINARY})
    refused("not relaxed .* relax the mixed cell first", mixture, potential)
