"""Free energies from the work of switching: BAR by pymbar, with errors honest for few repeats.

Everything enters in eV. `alchemlip.freeenergy.window_estimators` has thermodynamic integration and
MBAR over equilibrium windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.estimates import (
    FreeEnergyEstimate,
    check_temperature,
    json_number,
    standard_error_of_mean,
    student_interval,
)
from alchemlip.freeenergy.packages import estimator_package

REVERSIBLE_KT = 1e-9
"""Work values that agree this closely (in kT) are one reversible work."""


def work_of(samples: Mapping[str, Any]) -> float:
    """Return the work in eV done on the system along one leg, int dU/dlambda dlambda.

    Trapezoids over the recorded coupling, so the interval of recording does not matter; on the way
    back, lambda decreases and the work is that of going from 1 to 0.

    Args:
        samples: columns ``coupling`` (n,) and ``dhdl_eV`` (n,) of the leg, in order of time.

    Raises:
        InputError: if there are fewer than two samples, or one is not a number.
    """
    coupling = np.asarray(samples["coupling"], dtype=np.float64)
    gradient = np.asarray(samples["dhdl_eV"], dtype=np.float64)
    if len(coupling) < 2:
        raise InputError(
            f"a switching leg needs at least two samples, this one has {len(coupling)}: "
            "finish the run (--resume)"
        )
    if not (np.isfinite(coupling).all() and np.isfinite(gradient).all()):
        raise InputError(
            "a switching leg holds a sample without coupling or dH/dlambda: only legs that were "
            "recorded with the derivative give a work"
        )
    return float(np.trapezoid(gradient, coupling))


def estimate_from_work(
    forward: FloatArray,
    backward: FloatArray,
    temperature_K: float,
    rng: np.random.Generator,
    *,
    bootstraps: int = 200,
) -> FreeEnergyEstimate:
    """Estimate a free energy difference by BAR on the work of forward and backward switchings.

    Repeat i is the pair (W_f[i], W_r[i]), W_r being the work done on the system on the way back.
    BAR (Bennett, J. Comput. Phys. 22, 245 (1976); Shirts et al., Phys. Rev. Lett. 91, 140601
    (2003)) rests on Crooks' theorem and nothing else. The mean of (W_f - W_r)/2, in the details, is
    unbiased only where forward and backward dissipation are equal, as in the Gaussian limit of
    slow switching.

    Error: repeats are few (4 is usual), where a plain bootstrap's interval is too narrow (4 values:
    70 to 85 % instead of 95 %) and BAR's asymptotic error means little. The interval is
    value +- t(0.975, R-1) s with Student's t and s the larger of two standard errors over repeats:
    the jackknife of BAR (leaving out one pair at a time, so that what correlates within a repeat is
    kept together), and that of the mean of (W_f - W_r)/2. In the limit of little dissipation both
    are the same and the interval is exact; at some kT the jackknife alone is too narrow. It is
    checked on exact Gaussian work and a driven oscillator in tests/test_estimators.py and
    benchmarks/estimator_coverage.py.

    Args:
        forward: (R,) work in eV, lambda from 0 to 1.
        backward: (R,) work in eV, lambda from 1 to 0, same repeats.
        temperature_K: temperature.
        rng: draws the bootstrap of the details.
        bootstraps: resamplings of the repeats for ``bootstrap_standard_error_eV``; 0 for none.

    Raises:
        InputError: if the works are not two equally long series of numbers, T <= 0, or pymbar is
            missing.
    """
    w_f, w_r = _check_works(forward, backward, temperature_K)
    kt = kB * temperature_K
    repeats = len(w_f)
    half = (w_f - w_r) / 2
    loss = (w_f + w_r) / 2
    value = kt * bar(w_f / kt, w_r / kt)
    mean_error = standard_error_of_mean(half)
    jackknife = _jackknife_error(w_f / kt, w_r / kt) * kt
    # A nan (one repeat) stays a nan.
    error = float(np.maximum(jackknife, mean_error))
    exponential = estimator_package("pymbar.other_estimators").exp
    details: dict[str, Any] = {
        "repeats": repeats,
        "temperature_K": float(temperature_K),
        "forward_work_eV": w_f.tolist(),
        "backward_work_eV": w_r.tolist(),
        "mean_of_pairs_eV": float(half.mean()),
        "mean_of_pairs_standard_error_eV": json_number(mean_error),
        "jackknife_standard_error_eV": json_number(jackknife),
        "crooks_gaussian_crossing_eV": gaussian_crossing(w_f, w_r),
        "jarzynski_forward_eV": kt * float(exponential(w_f / kt, False)["Delta_f"]),
        "jarzynski_backward_eV": -kt * float(exponential(w_r / kt, False)["Delta_f"]),
    }
    if repeats > 1 and bootstraps > 0:
        draws = rng.integers(repeats, size=(bootstraps, repeats))
        resampled = [bar(w_f[draw] / kt, w_r[draw] / kt) for draw in draws]
        details["bootstrap_standard_error_eV"] = kt * float(np.std(resampled, ddof=1))
    return FreeEnergyEstimate(
        value_eV=value,
        standard_error_eV=error,
        method="BAR",
        dissipation_eV=float(loss.mean()),
        dissipation_standard_error_eV=standard_error_of_mean(loss),
        hysteresis_eV=float(w_f.mean() + w_r.mean()),
        overlap=work_overlap(w_f / kt, w_r / kt),
        interval_95_eV=student_interval(value, error, repeats - 1),
        details=details,
    )


def bar(forward: FloatArray, backward: FloatArray) -> float:
    """Return pymbar's BAR estimate in kT from works in kT, also in the reversible limit.

    pymbar tells convergence relative to the result, so the works are shifted to a result near 1 kT.
    Where the two directions hardly overlap its iteration stalls; the same equation, which has one
    root, is then solved between bounds.
    """
    centre = float(forward.mean() - backward.mean()) / 2
    spread = np.concatenate([forward - centre, backward + centre])
    if np.abs(spread).max() < REVERSIBLE_KT:
        # To first order in the spread every weight is 1/2.
        return centre
    estimators = estimator_package("pymbar.other_estimators")
    stalls = estimator_package("pymbar.utils").ConvergenceError
    arguments = {"compute_uncertainty": False, "relative_tolerance": 1e-10}
    shift = centre - 1.0
    try:
        # pymbar sets NumPy's handling of overflow for the whole process.
        with np.errstate(over="ignore"):
            found = estimators.bar(
                forward - shift, backward + shift, maximum_iterations=1000, **arguments
            )
    except stalls:
        return _bracketed_bar(forward, backward)
    return float(found["Delta_f"]) + shift


def _bracketed_bar(forward: FloatArray, backward: FloatArray) -> float:
    """Return the root of Bennett's equation in kT by Brent's method.

    sum 1 / (1 + exp(M + W_f - C)) = sum 1 / (1 + exp(-M + W_r + C)), M = ln(n_f / n_r): the left
    side grows with C and the right one falls.
    """
    from scipy.optimize import brentq
    from scipy.special import expit

    ratio = np.log(len(forward) / len(backward))

    def excess(free_energy: float) -> float:
        left = expit(free_energy - ratio - forward).sum()
        return float(left - expit(ratio - backward - free_energy).sum())

    works = np.concatenate([forward, -backward])
    # Beyond all works by so much that one side is below the rounding of the other.
    low, high = works.min() - abs(ratio) - 50.0, works.max() + abs(ratio) + 50.0
    return float(brentq(excess, low, high, xtol=1e-10, maxiter=500))


def gaussian_crossing(forward: FloatArray, backward: FloatArray) -> float | None:
    """Return where Gaussians through P(W_f) and P(-W_r) cross, in the unit of the works.

    Crooks' theorem puts the free energy there. Of the two crossings the one nearer to the middle
    of the means is meant. Goette and Grubmueller, J. Comput. Chem. 30, 447 (2009), eq. 11.

    Returns:
        The crossing; None for fewer than two repeats, or if a leg does not spread.
    """
    if len(forward) < 2:
        return None
    mean_f, mean_b = float(forward.mean()), float(-backward.mean())
    sd_f, sd_b = float(forward.std(ddof=1)), float(backward.std(ddof=1))
    if min(sd_f, sd_b) == 0.0:
        return None
    middle = (mean_f + mean_b) / 2
    # a W^2 + b W + c = 0 with W from the middle.
    f, b = mean_f - middle, mean_b - middle
    quadratic = 1 / sd_f**2 - 1 / sd_b**2
    linear = -2 * (f / sd_f**2 - b / sd_b**2)
    constant = f**2 / sd_f**2 - b**2 / sd_b**2 + 2 * np.log(sd_f / sd_b)
    if abs(quadratic) * max(sd_f, sd_b) ** 2 < 1e-12:
        return middle
    root = np.sqrt(max(linear**2 - 4 * quadratic * constant, 0.0))
    # The root nearest to 0, in the form that does not cancel.
    denominator = linear + np.copysign(root, linear)
    return middle + float(-2 * constant / denominator) if denominator != 0 else middle


def work_overlap(forward: FloatArray, backward: FloatArray) -> float:
    """Return the overlap of the ensembles behind two sets of works in kT, by pymbar.

    1 minus the smaller eigenvalue of MBAR's 2x2 overlap matrix (Klimovich, Shirts and
    Mobley, J. Comput. Aided Mol. Des. 29, 397 (2015)): 1 if reversible, 0 if nothing overlaps.
    From a handful of repeats it is a rough guide.
    """
    shift = bar(forward, backward)
    n_f, n_r = len(forward), len(backward)
    reduced = np.zeros((2, n_f + n_r))
    reduced[1, :n_f] = forward - shift
    reduced[0, n_f:] = backward + shift
    # BAR solves MBAR's equations for two states: after the shift both free energies are 0.
    counts = np.array([n_f, n_r])
    solvers = estimator_package("pymbar.mbar_solvers")
    weights = np.asarray(solvers.mbar_W_nk(reduced, counts, np.zeros(2)))
    matrix = weights.T @ weights * counts
    # Its largest eigenvalue is 1, so the other one is the trace less 1.
    return float(np.clip(2.0 - np.trace(matrix), 0.0, 1.0))


def convergence_over_repeats(
    forward: FloatArray, backward: FloatArray, temperature_K: float, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Return the estimate from the first 1, 2, ... R repeats, one row each, in eV."""
    rows = []
    for count in range(1, len(forward) + 1):
        estimate = estimate_from_work(
            forward[:count], backward[:count], temperature_K, rng, bootstraps=0
        )
        low, high = estimate.interval_95_eV
        rows.append(
            {
                "repeats": float(count),
                "free_energy_eV": estimate.value_eV,
                "standard_error_eV": estimate.standard_error_eV,
                "interval_low_eV": low,
                "interval_high_eV": high,
                "dissipation_eV": estimate.dissipation_eV,
            }
        )
    return rows


def _check_works(
    forward: FloatArray, backward: FloatArray, temperature_K: float
) -> tuple[FloatArray, FloatArray]:
    w_f = np.asarray(forward, dtype=np.float64)
    w_r = np.asarray(backward, dtype=np.float64)
    if w_f.ndim != 1 or w_f.shape != w_r.shape or len(w_f) == 0:
        raise InputError(
            f"forward and backward work must be one value each per repeat, not {w_f.shape} and "
            f"{w_r.shape}: leave out repeats that lack a leg"
        )
    if not (np.isfinite(w_f).all() and np.isfinite(w_r).all()):
        raise InputError("a work value is not a number: leave out the repeat that gave it")
    check_temperature(temperature_K)
    return w_f, w_r


def _jackknife_error(forward: FloatArray, backward: FloatArray) -> float:
    """Standard error of BAR by leaving out one pair at a time; nan for a single pair.

    Efron and Stein, Ann. Statist. 9, 586 (1981): (R-1)/R times the sum of squared deviations.
    """
    repeats = len(forward)
    if repeats < 2:
        return float("nan")
    without = np.array([bar(np.delete(forward, i), np.delete(backward, i)) for i in range(repeats)])
    return float(np.sqrt((repeats - 1) * without.var()))
