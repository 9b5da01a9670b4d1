"""Thermodynamics of mixing against the regular solution, whose gap is known in closed form."""

from __future__ import annotations

import numpy as np
import pytest
from ase.units import kB
from scipy.optimize import brentq

from alchemlip import InputError
from alchemlip.disorder.mixing import (
    BinaryMixing,
    consolute_point,
    fit_mixing,
    free_energy_of_mixing,
    mixing_energies,
)
from alchemlip.mixture.entropy import ideal_mixing_entropy

OMEGA = 0.1  # eV; T_c = OMEGA / 2 k_B
X = np.linspace(0.0, 1.0, 9)


def regular(fraction: float = 1.0) -> BinaryMixing:
    return fit_mixing(X, OMEGA * X * (1 - X), fraction)


@pytest.mark.parametrize("fraction", [1.0, 1 / 3])
@pytest.mark.parametrize("reduced", [0.3, 0.7, 0.98])
def test_regular_solution(reduced: float, fraction: float) -> None:
    """Binodal ln(x/(1-x)) = (2x-1) Omega / k T, spinodal x (1-x) = k T / 2 Omega."""
    curve = regular(fraction)
    x_c, t_c = curve.critical_point()  # type: ignore[misc]
    assert x_c == pytest.approx(0.5, abs=1e-6)
    assert t_c == pytest.approx(OMEGA / (2 * kB * fraction), rel=1e-9)
    temperature = reduced * t_c
    thermal = fraction * kB * temperature

    def tangent(x: float) -> float:
        return np.log(x / (1 - x)) - (2 * x - 1) * OMEGA / thermal

    low = brentq(tangent, 1e-12, 0.5 - 1e-3, xtol=1e-14)
    ((left, right),) = curve.miscibility_gaps(temperature)
    assert left == pytest.approx(low, rel=1e-6)
    assert right == pytest.approx(1 - low, abs=1e-7)
    half = np.sqrt(0.25 - thermal / (2 * OMEGA))
    np.testing.assert_allclose(curve.spinodal(temperature), [0.5 - half, 0.5 + half], atol=1e-9)


def test_above_the_critical_point_nothing_separates() -> None:
    curve = regular()
    t_c = OMEGA / (2 * kB)
    assert curve.miscibility_gaps(1.01 * t_c) == []
    assert curve.spinodal(1.01 * t_c) == []
    mixing = fit_mixing(X, -OMEGA * X * (1 - X))
    assert mixing.critical_point() is None
    assert mixing.miscibility_gaps(0.0) == []
    assert curve.miscibility_gaps(0.0) == [(0.0, 1.0)]


def test_consolute_point_with_an_excess_entropy() -> None:
    """E = (Omega - T sigma) x (1 - x): T_c = Omega / (2 k + sigma)."""
    sigma = 0.7 * kB
    found = consolute_point(lambda t: BinaryMixing(np.array([OMEGA - t * sigma])))
    assert found is not None
    assert found[0] == pytest.approx(0.5, abs=1e-6)
    assert found[1] == pytest.approx(OMEGA / (2 * kB + sigma), rel=1e-6)
    assert consolute_point(lambda t: BinaryMixing(np.array([-OMEGA]))) is None
    # Still a gap at the highest temperature: where it closes is not known.
    assert consolute_point(lambda t: BinaryMixing(np.array([OMEGA])), highest=300.0) is None


def test_asymmetric_gap_is_a_common_tangent() -> None:
    curve = BinaryMixing(np.array([0.1, -0.04, 0.01]), 0.5)
    ((left, right),) = curve.miscibility_gaps(700.0)
    slope = (curve.free_energy(right, 700.0) - curve.free_energy(left, 700.0)) / (right - left)
    h = 1e-6
    for x in (left, right):
        numerical = (curve.free_energy(x + h, 700.0) - curve.free_energy(x - h, 700.0)) / (2 * h)
        assert numerical == pytest.approx(slope, abs=1e-7)
    grid = np.linspace(1e-6, 1 - 1e-6, 5001)
    line = curve.free_energy(left, 700.0) + slope * (grid - left)
    assert (curve.free_energy(grid, 700.0) - line).min() > -1e-9
    assert abs(left - (1 - right)) > 0.02


def test_derivatives_are_derivatives() -> None:
    curve = BinaryMixing(np.array([0.1, -0.04, 0.01]), 0.5)
    h = 1e-4
    for x in (0.1, 0.5, 0.85):
        low, middle, high = (curve.free_energy(x + s * h, 600.0) for s in (-1, 0, 1))
        assert curve.slope(x, 600.0) == pytest.approx((high - low) / (2 * h), abs=1e-7)
        second = (high - 2 * middle + low) / h**2
        assert curve.curvature(x, 600.0) == pytest.approx(second, abs=1e-5)


def test_fit_finds_its_coefficients() -> None:
    true = BinaryMixing(np.array([0.05, 0.02, -0.01]))
    found = fit_mixing(X, true.energy(X), order=3)
    np.testing.assert_allclose(found.coefficients, true.coefficients, atol=1e-12)
    assert found.residual < 1e-12
    assert fit_mixing(X, true.energy(X), order=1).residual > 1e-4


def test_entropy_and_reference_plane() -> None:
    assert ideal_mixing_entropy([0.5, 0.5], 0.5) == pytest.approx(0.5 * kB * np.log(2))
    assert ideal_mixing_entropy([1.0, 0.0]) == 0.0
    assert ideal_mixing_entropy([1 / 3] * 3) == pytest.approx(kB * np.log(3))
    x = np.array([[1.0, 0.0, 0.0], [0, 1, 0], [0, 0, 1], [0.2, 0.3, 0.5]])
    energies = np.array([-1.0, -2.0, -4.0, -2.8 + 0.07])
    np.testing.assert_allclose(mixing_energies(x, energies), [0, 0, 0, 0.07], atol=1e-12)
    free = free_energy_of_mixing(x, [0, 0, 0, 0.07], 1000.0)
    assert free[3] == pytest.approx(0.07 - 1000.0 * ideal_mixing_entropy([0.2, 0.3, 0.5]))


def test_bad_input() -> None:
    with pytest.raises(InputError, match="pure component 1 is missing"):
        mixing_energies(np.array([[1.0, 0.0], [0.5, 0.5]]), np.zeros(2))
    with pytest.raises(InputError, match="add compositions"):
        fit_mixing([0.0, 1.0], [0.0, 0.0])
    with pytest.raises(InputError, match="-5 K does not exist"):
        regular().miscibility_gaps(-5.0)
