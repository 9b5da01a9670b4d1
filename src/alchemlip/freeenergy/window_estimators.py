"""Free energies from equilibrium windows: thermodynamic integration and MBAR, by alchemlyb.

Samples of one window are correlated in time. All of them from equilibrium on enter the value; the
error counts only as many as are independent, by pymbar's statistical inefficiency (Chodera et al.,
J. Chem. Theory Comput. 3, 26 (2007)). To thin the series instead, as is often done, rounds the
inefficiency to whole samples, and its intervals are too narrow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.estimates import (
    FreeEnergyEstimate,
    check_temperature,
    student_interval,
)
from alchemlip.freeenergy.estimators import work_overlap
from alchemlip.freeenergy.export import energy_table, gradient_table
from alchemlip.freeenergy.packages import estimator_package, quiet_loguru

NOT_SWITCHED = float("nan")
CLEAR_GAIN = 1.5
LEAST_OVERLAP = 1e-4
"""Where two neighbours overlap less, MBAR's value and error mean nothing."""
MOST_ITERATIONS = 1000


@dataclass(frozen=True)
class Equilibrium:
    """Which part of a time series is at equilibrium, and how correlated it is.

    Attributes:
        start: first sample of equilibrium.
        count: samples from there on.
        inefficiency: statistical inefficiency, the samples behind each independent one, >= 1.
    """

    start: int
    count: int
    inefficiency: float

    @property
    def independent(self) -> float:
        """Number of independent samples, at least 1."""
        return max(1.0, self.count / self.inefficiency)


def equilibrium_of(series: FloatArray) -> Equilibrium:
    """Find the equilibrium part of a time series (n,) and its statistical inefficiency, by pymbar.

    pymbar looks for the start that leaves the most independent samples (Chodera, J. Chem. Theory
    Comput. 12, 1799 (2016)). In a series that is at equilibrium from the start this picks one by
    chance, next to a fluctuation, and biases the mean; so a start counts only if it leaves
    1.5 times the independent samples of the whole.
    """
    values = np.asarray(series, dtype=np.float64)
    n = len(values)
    if n < 4 or np.ptp(values) <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return Equilibrium(0, n, 1.0)
    timeseries = estimator_package("pymbar.timeseries")
    whole = float(timeseries.statistical_inefficiency(values))
    start, inefficiency, left = timeseries.detect_equilibration(values, nskip=max(1, n // 20))
    if left > CLEAR_GAIN * n / whole:
        return Equilibrium(int(start), n - int(start), float(inefficiency))
    return Equilibrium(0, n, whole)


def estimate_from_gradients(
    couplings: FloatArray,
    gradients_eV: Sequence[FloatArray],
    temperature_K: float,
    *,
    correlated: bool = True,
) -> FreeEnergyEstimate:
    """Integrate the mean dU/dlambda of equilibrium windows: thermodynamic integration by alchemlyb.

    Trapezoids between windows: what the curve bends between two windows is not in the error; add
    windows until the value stays. The 95 % interval is Student's t, its degrees of freedom after
    Welch and Satterthwaite (Biometrics Bull. 2, 110 (1946)).

    Args:
        couplings: (K,) increasing lambda of the windows.
        gradients_eV: K series (n_k,) in order of time.
        temperature_K: temperature.
        correlated: False if all samples are independent and at equilibrium.

    Raises:
        InputError: if a window has fewer than two independent samples, T <= 0, or alchemlyb is
            missing.
    """
    _check_windows(couplings, [np.asarray(g)[:, None] for g in gradients_eV], temperature_K)
    parts = [_part(gradients, correlated) for gradients in gradients_eV]
    kept = [g[part.start :] for g, part in zip(gradients_eV, parts, strict=True)]
    _check_enough(couplings, parts)
    fitted = (
        estimator_package("alchemlyb.estimators")
        .TI()
        .fit(gradient_table(couplings, kept, temperature_K))
    )
    kt = kB * temperature_K
    value = kt * float(fitted.delta_f_.iloc[0, -1])
    errors = np.array(
        [np.sqrt(np.var(k, ddof=1) / part.independent) for k, part in zip(kept, parts, strict=True)]
    )
    shares = np.square(_trapezoid_weights(couplings) * errors)
    error = float(np.sqrt(shares.sum()))
    freedoms = np.array([max(part.independent - 1.0, 1.0) for part in parts])
    against = float((shares**2 / freedoms).sum())
    freedom = float(shares.sum() ** 2 / against) if against > 0 else np.inf
    return FreeEnergyEstimate(
        value_eV=value,
        standard_error_eV=error,
        method="thermodynamic integration",
        dissipation_eV=NOT_SWITCHED,
        dissipation_standard_error_eV=NOT_SWITCHED,
        hysteresis_eV=NOT_SWITCHED,
        overlap=NOT_SWITCHED,
        interval_95_eV=student_interval(value, error, freedom),
        details={
            **_described(couplings, parts, temperature_K),
            "mean_gradients_eV": [float(k.mean()) for k in kept],
            "gradient_standard_errors_eV": errors.tolist(),
        },
    )


def estimate_from_energies(
    couplings: FloatArray,
    energies_eV: Sequence[FloatArray],
    temperature_K: float,
    *,
    correlated: bool = True,
    bootstraps: int = 0,
) -> FreeEnergyEstimate:
    """Estimate a free energy difference by MBAR over equilibrium windows, by alchemlyb.

    Shirts and Chodera, J. Chem. Phys. 129, 124105 (2008). The error is MBAR's asymptotic one, or
    from its bootstrap, times the square root of the mean statistical inefficiency. Neighbouring
    windows should overlap by 0.03 or more (Klimovich, Shirts and Mobley, J. Comput. Aided Mol.
    Des. 29, 397 (2015)), else the error is too small.

    Args:
        couplings: (K,) increasing lambda of the windows.
        energies_eV: K arrays (n_k, K), sample n of window k at the coupling of every window, in
            order of time.
        temperature_K: temperature.
        correlated: False if all samples are independent and at equilibrium.
        bootstraps: resamplings for the error; 0 takes the asymptotic one.

    Raises:
        InputError: if a window has fewer than two independent samples, neighbours hardly overlap,
            T <= 0, or alchemlyb is missing.
    """
    _check_windows(couplings, energies_eV, temperature_K, width=len(couplings))
    parts = [
        _part(_step_up(energies, window), correlated) for window, energies in enumerate(energies_eV)
    ]
    kept = [e[part.start :] for e, part in zip(energies_eV, parts, strict=True)]
    _check_enough(couplings, parts)
    check_neighbours(couplings, kept, temperature_K)
    table = energy_table(couplings, kept, temperature_K)
    # A common shift of a sample's energies changes nothing but the range of the exponentials.
    table = table.sub(table.mean(axis=1), axis=0)
    estimators = estimator_package("alchemlyb.estimators")
    fitted = estimators.MBAR(maximum_iterations=MOST_ITERATIONS, n_bootstraps=bootstraps).fit(table)
    kt = kB * temperature_K
    value = kt * float(fitted.delta_f_.iloc[0, -1])
    # With g samples behind each independent one, every variance is g times as large.
    scale = np.sqrt(np.mean([part.inefficiency for part in parts]))
    errors = kt * scale * fitted.d_delta_f_.iloc[0].to_numpy()
    error = float(errors[-1])
    matrix = np.asarray(fitted.overlap_matrix)
    freedom = sum(part.independent for part in parts) - len(parts)
    return FreeEnergyEstimate(
        value_eV=value,
        standard_error_eV=error,
        method="MBAR",
        dissipation_eV=NOT_SWITCHED,
        dissipation_standard_error_eV=NOT_SWITCHED,
        hysteresis_eV=NOT_SWITCHED,
        overlap=float(np.min([np.diag(matrix, 1), np.diag(matrix, -1)])),
        interval_95_eV=student_interval(value, error, freedom),
        details={
            **_described(couplings, parts, temperature_K),
            "free_energies_eV": (kt * fitted.delta_f_.iloc[0].to_numpy()).tolist(),
            "free_energy_standard_errors_eV": errors.tolist(),
            "overlap_matrix": matrix.tolist(),
        },
    )


def convergence_in_time(
    couplings: FloatArray,
    samples_eV: Sequence[FloatArray],
    temperature_K: float,
    *,
    method: Literal["MBAR", "TI"] = "MBAR",
    points: int = 10,
) -> list[dict[str, float]]:
    """Return the estimate against the fraction of the data, from the start and from the end.

    Klimovich, Shirts and Mobley (2015), by alchemlyb: both run together where a run has converged.

    Args:
        couplings: (K,) increasing lambda of the windows.
        samples_eV: energies, K arrays (n_k, K), for ``MBAR``; gradients, K arrays (n_k,), for
            ``TI``.
        temperature_K: temperature.
        method: the estimator.
        points: number of fractions, fewer where there are few samples.

    Returns:
        One row a fraction: ``data_fraction``, ``from_start_eV``, ``from_end_eV`` and their standard
        errors, which take every sample for independent.
    """
    if method == "MBAR":
        check_neighbours(couplings, samples_eV, temperature_K)
    make = energy_table if method == "MBAR" else gradient_table
    whole = make(couplings, samples_eV, temperature_K)
    parts = [part for _, part in whole.groupby(level=1)]
    # Every fraction holds two samples of each window at least.
    points = max(1, min(points, min(len(part) for part in parts) // 2))
    convergence = estimator_package("alchemlyb.convergence")
    with quiet_loguru("alchemlyb"):
        table = convergence.forward_backward_convergence(parts, method, num=points)
    kt = kB * temperature_K
    return [
        {
            "data_fraction": float(row["data_fraction"]),
            "from_start_eV": kt * float(row["Forward"]),
            "from_start_standard_error_eV": kt * float(row["Forward_Error"]),
            "from_end_eV": kt * float(row["Backward"]),
            "from_end_standard_error_eV": kt * float(row["Backward_Error"]),
        }
        for row in table.to_dict("records")
    ]


def check_neighbours(
    couplings: FloatArray, energies_eV: Sequence[FloatArray], temperature_K: float
) -> None:
    """Refuse windows of which two neighbours hardly overlap, before MBAR works on them.

    Args:
        couplings: (K,) of the windows.
        energies_eV: K arrays (n_k, K), as for `estimate_from_energies`.
        temperature_K: temperature.

    Raises:
        InputError: naming the neighbours that overlap least.
    """
    kt = kB * temperature_K
    overlaps = []
    for window in range(len(couplings) - 1):
        here, there = energies_eV[window], energies_eV[window + 1]
        up = (here[:, window + 1] - here[:, window]) / kt
        down = (there[:, window] - there[:, window + 1]) / kt
        overlaps.append(work_overlap(up, down))
    least = int(np.argmin(overlaps))
    if overlaps[least] < LEAST_OVERLAP:
        raise InputError(
            f"the windows at couplings {couplings[least]:g} and {couplings[least + 1]:g} hardly "
            f"overlap ({overlaps[least]:.1g}; 0.03 is the least that is trusted), so MBAR cannot "
            "tell their free energy: take more windows (--windows), or use switching"
        )


def _step_up(energies: FloatArray, window: int) -> FloatArray:
    """Energy difference to the next window, or from the one before: its correlation counts."""
    other = window + 1 if window + 1 < energies.shape[1] else window - 1
    return np.asarray(energies[:, other] - energies[:, window])


def _part(series: FloatArray, correlated: bool) -> Equilibrium:
    return equilibrium_of(series) if correlated else Equilibrium(0, len(series), 1.0)


def _trapezoid_weights(couplings: FloatArray) -> FloatArray:
    """Return the (K,) weights of the trapezoidal rule."""
    weights = np.zeros(len(couplings))
    weights[1:] += np.diff(couplings) / 2
    weights[:-1] += np.diff(couplings) / 2
    return weights


def _described(
    couplings: FloatArray, parts: Sequence[Equilibrium], temperature_K: float
) -> dict[str, Any]:
    return {
        "temperature_K": float(temperature_K),
        "couplings": [float(value) for value in couplings],
        "independent_samples": [part.independent for part in parts],
        "equilibration_samples": [part.start for part in parts],
        "statistical_inefficiencies": [part.inefficiency for part in parts],
    }


def _check_windows(
    couplings: FloatArray,
    samples: Sequence[FloatArray],
    temperature_K: float,
    width: int | None = None,
) -> None:
    check_temperature(temperature_K)
    count = len(couplings)
    if count < 2 or len(samples) != count or (np.diff(couplings) <= 0).any():
        raise InputError(
            f"{len(samples)} series of samples at {count} couplings: give at least two windows, in "
            "the order of increasing coupling, and one series for each"
        )
    for coupling, rows in zip(couplings, samples, strict=True):
        if width is not None and (rows.ndim != 2 or rows.shape[1] != width):
            raise InputError(
                f"the samples at coupling {coupling:g} have energies of shape {rows.shape}: give "
                f"each sample's energy at all {width} couplings"
            )
        if not np.isfinite(rows).all():
            raise InputError(
                f"a sample at coupling {coupling:g} is not a number: leave that sample out"
            )


def _check_enough(couplings: FloatArray, parts: Sequence[Equilibrium]) -> None:
    for coupling, part in zip(couplings, parts, strict=True):
        if part.count < 2 or part.independent < 2:
            raise InputError(
                f"the window at coupling {coupling:g} has {part.independent:.1f} independent "
                "samples: sample longer"
            )
