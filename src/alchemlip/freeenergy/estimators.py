"""Free energies from work values, gradients and energies: pymbar and alchemlyb, with honest errors.

Everything enters in eV. The estimators themselves (BAR, exponential averages, thermodynamic
integration, MBAR, statistical inefficiency) are those of pymbar and alchemlyb, loaded when first
used.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
from ase.units import kB
from scipy.special import stdtrit

from alchemlip.errors import InputError
from alchemlip.groups import FloatArray

REVERSIBLE_KT = 1e-9
"""Work values that agree this closely (in kT) are one reversible work."""


@dataclass(frozen=True)
class FreeEnergyEstimate:
    """A free energy difference F(lambda = 1) - F(lambda = 0) with its error.

    Attributes:
        value_eV: the estimate.
        standard_error_eV: its standard error; nan if a single repeat cannot tell.
        method: name of the estimator.
        dissipation_eV: mean of (W_f + W_r) / 2 over the repeats; nan at equilibrium windows.
        dissipation_standard_error_eV: its standard error.
        hysteresis_eV: what the mean forward work lies above minus the mean backward work, the area
            of the loop of dH/dlambda; nan at equilibrium windows.
        overlap: 0 to 1; of the forward and backward ensembles (`work_overlap`), or the smallest
            of two neighbouring windows (MBAR's overlap matrix beside its diagonal); nan for
            thermodynamic integration, which needs none.
        interval_95_eV: (low, high), holds the true value in 95 of 100 experiments. It is wider
            than +-1.96 standard errors where repeats are few; infinite for a single one.
        details: other estimators and diagnostics, plain JSON values.
    """

    value_eV: float
    standard_error_eV: float
    method: str
    dissipation_eV: float
    dissipation_standard_error_eV: float
    hysteresis_eV: float
    overlap: float
    interval_95_eV: tuple[float, float]
    details: dict[str, Any] = field(default_factory=dict)

    def results(self, n_atoms: int | None = None) -> dict[str, Any]:
        """Return the estimate under the names of ``result.json``.

        Args:
            n_atoms: divide by it and name the values ``..._eV_per_atom``; else ``..._eV``.
        """
        share, unit = (1, "eV") if n_atoms is None else (n_atoms, "eV_per_atom")
        return {
            f"free_energy_{unit}": _json_number(self.value_eV / share),
            f"standard_error_{unit}": _json_number(self.standard_error_eV / share),
            f"interval_95_{unit}": [_json_number(end / share) for end in self.interval_95_eV],
            f"dissipation_{unit}": _json_number(self.dissipation_eV / share),
            f"dissipation_standard_error_{unit}": _json_number(
                self.dissipation_standard_error_eV / share
            ),
            f"hysteresis_{unit}": _json_number(self.hysteresis_eV / share),
            "overlap": _json_number(self.overlap),
            "method": self.method,
        }


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
    about 80 % instead of 95 %) and BAR's asymptotic error means little. The interval is
    value +- t(0.975, R-1) s with Student's t and s the larger of two standard errors over repeats:
    the jackknife of BAR (leaving out one pair at a time, so that what correlates within a repeat is
    kept together), and that of the mean of (W_f - W_r)/2. In the limit of little dissipation both
    are the same and the interval is exact; the jackknife alone covers 90 to 92 % at 3 kT. It is
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
    mean_error = _standard_error_of_mean(half)
    jackknife = _jackknife_error(w_f / kt, w_r / kt) * kt
    # A nan (one repeat) stays a nan.
    error = float(np.maximum(jackknife, mean_error))
    exponential = _package("pymbar.other_estimators").exp
    details: dict[str, Any] = {
        "repeats": repeats,
        "temperature_K": float(temperature_K),
        "forward_work_eV": w_f.tolist(),
        "backward_work_eV": w_r.tolist(),
        "mean_of_pairs_eV": float(half.mean()),
        "mean_of_pairs_standard_error_eV": _json_number(mean_error),
        "jackknife_standard_error_eV": _json_number(jackknife),
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
        dissipation_standard_error_eV=_standard_error_of_mean(loss),
        hysteresis_eV=float(w_f.mean() + w_r.mean()),
        overlap=work_overlap(w_f / kt, w_r / kt),
        interval_95_eV=student_interval(value, error, repeats - 1),
        details=details,
    )


def bar(forward: FloatArray, backward: FloatArray) -> float:
    """Return pymbar's BAR estimate in kT from works in kT, also in the reversible limit.

    pymbar tells convergence relative to the result, so the works are shifted to a result near 1 kT.
    """
    pair_means = (forward - backward) / 2
    centre = float(pair_means.mean())
    spread = np.concatenate([forward - centre, backward + centre])
    if np.abs(spread).max() < REVERSIBLE_KT:
        # To first order in the spread every weight is 1/2.
        return centre
    estimators = _package("pymbar.other_estimators")
    arguments = {"compute_uncertainty": False, "relative_tolerance": 1e-10}
    shift = centre - 1.0
    # pymbar sets NumPy's handling of overflow for the whole process.
    with np.errstate(over="ignore"):
        found = estimators.bar(
            forward - shift, backward + shift, maximum_iterations=100_000, **arguments
        )
    return float(found["Delta_f"]) + shift


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
    solvers = _package("pymbar.mbar_solvers")
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


def student_interval(value: float, error: float, freedom: float) -> tuple[float, float]:
    """Return the 95 % interval value +- t(0.975, freedom) error; infinite without freedom."""
    if freedom <= 0 or not np.isfinite(error):
        return (-np.inf, np.inf)
    width = float(stdtrit(freedom, 0.975)) * error
    return (value - width, value + width)


def average_over_repeats(estimates: Sequence[FreeEnergyEstimate]) -> FreeEnergyEstimate:
    """Average estimates from independent repeats of the same calculation.

    The standard error is the larger of that of the mean of the values and the propagated ones; the
    first knows of what a repeat is not aware of itself (slow degrees of freedom), the second
    of what few repeats hide by chance. The interval is Student's t with R - 1 degrees of freedom.

    Raises:
        InputError: if there is none, or their methods differ.
    """
    if not estimates:
        raise InputError("no finished repeat to estimate from: let the run go on (--resume)")
    if len({estimate.method for estimate in estimates}) > 1:
        raise InputError("estimates by several methods cannot be averaged: name one method")
    if len(estimates) == 1:
        return estimates[0]
    values = np.array([estimate.value_eV for estimate in estimates])
    errors = np.array([estimate.standard_error_eV for estimate in estimates])
    propagated = float(np.sqrt(np.square(errors).sum())) / len(values)
    error = max(_standard_error_of_mean(values), 0.0 if np.isnan(propagated) else propagated)
    value = float(values.mean())
    losses = np.array([estimate.dissipation_eV for estimate in estimates])
    return FreeEnergyEstimate(
        value_eV=value,
        standard_error_eV=error,
        method=estimates[0].method,
        dissipation_eV=float(losses.mean()),
        dissipation_standard_error_eV=_standard_error_of_mean(losses),
        hysteresis_eV=float(np.mean([estimate.hysteresis_eV for estimate in estimates])),
        overlap=float(min(estimate.overlap for estimate in estimates)),
        interval_95_eV=student_interval(value, error, len(values) - 1),
        details={
            "repeats": len(values),
            "values_eV": values.tolist(),
            "standard_errors_eV": errors.tolist(),
        },
    )


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


def _json_number(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return float(value) if np.isfinite(value) else None


def check_temperature(temperature_K: float) -> None:
    """Raise InputError unless the temperature is positive."""
    if not temperature_K > 0:
        raise InputError(f"temperature {temperature_K:g} K is not positive")


def _standard_error_of_mean(values: FloatArray) -> float:
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def _jackknife_error(forward: FloatArray, backward: FloatArray) -> float:
    """Standard error of BAR by leaving out one pair at a time; nan for a single pair.

    Efron and Stein, Ann. Statist. 9, 586 (1981): (R-1)/R times the sum of squared deviations.
    """
    repeats = len(forward)
    if repeats < 2:
        return float("nan")
    without = np.array([bar(np.delete(forward, i), np.delete(backward, i)) for i in range(repeats)])
    return float(np.sqrt((repeats - 1) * without.var()))


def _package(name: str) -> Any:
    """Import a module of pymbar or alchemlyb, without what pymbar says about jax on import."""
    with _quiet("pymbar"):
        try:
            return import_module(name)
        except ImportError as error:
            raise InputError(
                f"free energy estimators need the package {name.split('.', maxsplit=1)[0]!r}: "
                "pip install 'alchemlip[freeenergy]'"
            ) from error


@contextmanager
def _quiet(logger_name: str) -> Iterator[None]:
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
