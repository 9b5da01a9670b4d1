"""Thermodynamics of mixing from energies on a grid of compositions; NumPy and SciPy only.

    curve = fit_mixing(x, mixing_energy, disordered_fraction=1 / 3)
    curve.free_energy(0.3, 800.0), curve.miscibility_gaps(800.0), curve.spinodal(800.0)

    F(x, T) = E_mix(x) - T S(x),    S = -c k_B sum_a x_a ln x_a,
    E_mix(x) = x (1 - x) sum_m L_m (1 - 2 x)^m         (Redlich and Kister, 1948; x of the second)

with c the share of lattice sites that are disordered. Energies are per lattice site; the entropy is
that of ideal mixing: no short-range order. Vibrations may stand in E_mix, which then depends on T
(`alchemlip.disorder.quasiharmonic`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from ase.units import kB
from numpy.polynomial import Polynomial
from scipy.optimize import brentq, root

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.entropy import ideal_mixing_entropy

GRID = 2001
"""Compositions on which the lower hull is searched before it is made exact."""
LARGEST_ORDER = 4
"""Most Redlich-Kister coefficients taken by default."""


def mixing_energies(
    x: FloatArray, energies: FloatArray, ends: FloatArray | None = None
) -> FloatArray:
    """Return energies (P,) above the plane through the pure ends.

    Args:
        x: (P, K) compositions.
        energies: (P,) in eV per site.
        ends: (K,) energies of the pure components; taken from the grid's own pure points if None.

    Raises:
        InputError: if an end is missing.
    """
    x, energies = np.asarray(x, dtype=float), np.asarray(energies, dtype=float)
    if ends is None:
        found = np.full(x.shape[1], np.nan)
        for point, energy in zip(x, energies.tolist(), strict=True):
            if point.max() == 1.0:
                found[int(point.argmax())] = energy
        ends = found
    missing = np.flatnonzero(~np.isfinite(ends))
    if len(missing):
        raise InputError(
            f"the energy of pure component {missing[0]} is missing: add that end to the grid"
        )
    return np.asarray(energies - x @ ends, dtype=np.float64)


def free_energy_of_mixing(
    x: npt.ArrayLike,
    mixing_energy: npt.ArrayLike,
    temperature: float,
    disordered_fraction: float = 1.0,
) -> FloatArray:
    """Return E_mix - T S (P,) in eV per lattice site, S of ideal mixing.

    Args:
        x: (P, K) compositions.
        mixing_energy: (P,) in eV per lattice site.
        temperature: in K.
        disordered_fraction: disordered sites over all sites.

    Raises:
        InputError: if the temperature is negative or not finite.
    """
    check_temperature(temperature)
    entropy = ideal_mixing_entropy(x, disordered_fraction)
    return np.asarray(np.asarray(mixing_energy, dtype=float) - temperature * entropy)


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that is none.

    Raises:
        InputError: if it is negative or not finite.
    """
    if not np.isfinite(temperature) or temperature < 0.0:
        raise InputError(f"a temperature of {temperature:g} K does not exist: give K, at least 0")


@dataclass(frozen=True, eq=False)
class BinaryMixing:
    """A smooth mixing energy of two components; x is the weight of the second.

    Attributes:
        coefficients: (M,) Redlich-Kister coefficients L in eV per lattice site.
        disordered_fraction: disordered sites over all sites.
        residual: root mean square deviation of the fit in eV per site.
    """

    coefficients: FloatArray
    disordered_fraction: float = 1.0
    residual: float = 0.0

    def energy(self, x: npt.ArrayLike) -> FloatArray:
        """Return the mixing energy in eV per site."""
        return np.asarray(self._polynomial(np.asarray(x, dtype=float)), dtype=np.float64)

    def free_energy(self, x: npt.ArrayLike, temperature: float) -> FloatArray:
        """Return the free energy of mixing in eV per site at a temperature in K."""
        x = np.asarray(x, dtype=float)
        both = np.stack([1.0 - x, x], axis=-1)
        return free_energy_of_mixing(both, self.energy(x), temperature, self.disordered_fraction)

    def slope(self, x: npt.ArrayLike, temperature: float) -> FloatArray:
        """Return dF/dx in eV per site, 0 < x < 1."""
        x = np.asarray(x, dtype=float)
        thermal = self.disordered_fraction * kB * temperature
        return np.asarray(self._polynomial.deriv()(x) + thermal * np.log(x / (1.0 - x)))

    def curvature(self, x: npt.ArrayLike, temperature: float) -> FloatArray:
        """Return d2F/dx2 in eV per site, 0 < x < 1."""
        x = np.asarray(x, dtype=float)
        thermal = self.disordered_fraction * kB * temperature
        return np.asarray(self._polynomial.deriv(2)(x) + thermal / (x * (1.0 - x)))

    def spinodal(self, temperature: float) -> list[float]:
        """Return the compositions where d2F/dx2 = 0, in order; none above all gaps.

        They are the roots of the polynomial x (1 - x) E_mix'' + c k_B T.
        """
        check_temperature(temperature)
        x = Polynomial([0.0, 1.0])
        thermal = self.disordered_fraction * kB * temperature
        return _roots_between(self._polynomial.deriv(2) * x * (1 - x) + thermal)

    def critical_point(self) -> tuple[float, float] | None:
        """Return (composition, temperature in K) of the highest spinodal; None without a gap."""
        x = Polynomial([0.0, 1.0])
        reach = -self._polynomial.deriv(2) * x * (1 - x)
        candidates = _roots_between(reach.deriv())
        heights: list[float] = np.asarray(reach(np.array(candidates)), dtype=float).tolist()
        if not heights or max(heights) <= 0.0:
            return None
        best = int(np.argmax(heights))
        return candidates[best], heights[best] / (self.disordered_fraction * kB)

    def miscibility_gaps(self, temperature: float) -> list[tuple[float, float]]:
        """Return the pairs of coexisting compositions, by common tangents.

        The lower convex hull on a grid finds them; equal slopes and intercepts make them exact,
        except where a phase is too dilute for these equations and stays at the grid's end. At 0 K
        they are the grid's.
        """
        check_temperature(temperature)
        grid = np.linspace(0.0, 1.0, GRID)
        hull = _lower_hull(grid, self.free_energy(grid, temperature))
        gaps = [(float(grid[a]), float(grid[b])) for a, b in itertools.pairwise(hull) if b - a > 1]
        if temperature == 0.0:
            return gaps
        return [self._exact_tangent(left, right, temperature) for left, right in gaps]

    def _exact_tangent(self, left: float, right: float, temperature: float) -> tuple[float, float]:
        # In ln x/(1-x) a dilute phase is as well resolved as any other.
        edge = 1e-9

        def distance(y: FloatArray) -> FloatArray:
            a, b = 1.0 / (1.0 + np.exp(-y))
            slope = self.slope(a, temperature)
            rise = self.free_energy(b, temperature) - self.free_energy(a, temperature)
            return np.array([self.slope(b, temperature) - slope, rise - slope * (b - a)])

        guess = np.clip([left, right], edge, 1.0 - edge)
        start = np.log(guess / (1.0 - guess))
        found = root(distance, start, tol=1e-13)
        if not found.success and np.abs(distance(found.x)).max() > 1e-9:
            return left, right
        a, b = (1.0 / (1.0 + np.exp(-found.x))).tolist()
        return float(a), float(b)

    @property
    def _polynomial(self) -> Polynomial:
        x = Polynomial([0.0, 1.0])
        total = Polynomial([0.0])
        for power, value in enumerate(self.coefficients.tolist()):
            total = total + value * (1 - 2 * x) ** power
        return x * (1 - x) * total


def consolute_point(
    mixing_at: Callable[[float], BinaryMixing], lowest: float = 10.0, highest: float = 5000.0
) -> tuple[float, float] | None:
    """Return (composition, temperature in K) where the gap closes of energies that depend on T.

    Args:
        mixing_at: the mixing energy (entropy of ideal mixing left out) at a temperature in K.
        lowest, highest: temperatures in K between which to look.

    Returns:
        The highest temperature at which a critical point of the curve is its own; None if there is
        no gap at ``lowest``, or still one at ``highest``.
    """

    def excess(temperature: float) -> float:
        critical = mixing_at(temperature).critical_point()
        return (0.0 if critical is None else critical[1]) - temperature

    grid = np.geomspace(lowest, highest, 41)
    values = np.array([excess(temperature) for temperature in grid.tolist()])
    closing = np.flatnonzero((values[:-1] > 0.0) & (values[1:] <= 0.0))
    if not len(closing) or values[-1] > 0.0:
        return None
    low, high = grid[closing[-1] : closing[-1] + 2].tolist()
    temperature = float(brentq(excess, low, high, xtol=1e-6))
    critical = mixing_at(temperature).critical_point()
    return None if critical is None else (critical[0], temperature)


def fit_mixing(
    x: npt.ArrayLike,
    mixing_energy: npt.ArrayLike,
    disordered_fraction: float = 1.0,
    order: int | None = None,
) -> BinaryMixing:
    """Fit Redlich-Kister coefficients to mixing energies of two components.

    Args:
        x: (P,) weights of the second component; the ends may be left out.
        mixing_energy: (P,) in eV per site.
        disordered_fraction: disordered sites over all sites.
        order: number of coefficients; at most 4 if None.

    Raises:
        InputError: if there are fewer points between the ends than coefficients.
    """
    x, energies = np.asarray(x, dtype=float), np.asarray(mixing_energy, dtype=float)
    between = (x > 0.0) & (x < 1.0)
    count = min(LARGEST_ORDER, int(between.sum())) if order is None else order
    if count < 1 or int(between.sum()) < count:
        raise InputError(
            f"{int(between.sum())} compositions between the ends do not determine {count} "
            "coefficients: add compositions"
        )
    x, energies = x[between], energies[between]
    basis = (x * (1.0 - x))[:, None] * (1.0 - 2.0 * x)[:, None] ** np.arange(count)
    coefficients, *_ = np.linalg.lstsq(basis, energies, rcond=None)
    residual = float(np.sqrt(np.mean((basis @ coefficients - energies) ** 2)))
    return BinaryMixing(coefficients, disordered_fraction, residual)


def _roots_between(polynomial: Polynomial) -> list[float]:
    """Return the real roots between 0 and 1, in order."""
    roots = np.asarray(polynomial.roots(), dtype=complex)
    real = roots.real[(np.abs(roots.imag) < 1e-9) & (roots.real > 0.0) & (roots.real < 1.0)]
    found: list[float] = np.sort(real).tolist()
    return found


def _lower_hull(x: FloatArray, y: FloatArray) -> list[int]:
    """Return the indices of the lower convex hull of points sorted by x (monotone chain)."""
    hull: list[int] = []
    for index in range(len(x)):
        while len(hull) > 1:
            a, b = hull[-2], hull[-1]
            turn = (x[b] - x[a]) * (y[index] - y[a]) - (y[b] - y[a]) * (x[index] - x[a])
            if turn > 0:
                break
            hull.pop()
        hull.append(index)
    return hull
