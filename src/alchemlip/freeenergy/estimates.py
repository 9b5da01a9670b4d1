"""What an estimate of a free energy holds, its 95 % interval, and the mean over repeats."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import stdtrit

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError


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

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the value with its error, and what it rests on."""
        from alchemlip.notebook import html_table

        low, high = self.interval_95_eV
        rows: list[tuple[str, Any]] = [
            ("free energy difference (eV)", self.value_eV),
            ("standard error (eV)", json_number(self.standard_error_eV)),
            ("95 % interval (eV)", f"{low:.6g} to {high:.6g}" if np.isfinite(high) else None),
            ("dissipation (eV)", json_number(self.dissipation_eV)),
            ("overlap, 0 to 1", json_number(self.overlap)),
        ]
        return html_table(self.method, (), [row for row in rows if row[1] is not None])

    def results(self, n_atoms: int | None = None) -> dict[str, Any]:
        """Return the estimate under the names of ``result.json``.

        Args:
            n_atoms: divide by it and name the values ``..._eV_per_atom``; else ``..._eV``.
        """
        share, unit = (1, "eV") if n_atoms is None else (n_atoms, "eV_per_atom")
        return {
            f"free_energy_{unit}": json_number(self.value_eV / share),
            f"standard_error_{unit}": json_number(self.standard_error_eV / share),
            f"interval_95_{unit}": [json_number(end / share) for end in self.interval_95_eV],
            f"dissipation_{unit}": json_number(self.dissipation_eV / share),
            f"dissipation_standard_error_{unit}": json_number(
                self.dissipation_standard_error_eV / share
            ),
            f"hysteresis_{unit}": json_number(self.hysteresis_eV / share),
            "overlap": json_number(self.overlap),
            "method": self.method,
        }


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
    error = max(standard_error_of_mean(values), 0.0 if np.isnan(propagated) else propagated)
    value = float(values.mean())
    losses = np.array([estimate.dissipation_eV for estimate in estimates])
    return FreeEnergyEstimate(
        value_eV=value,
        standard_error_eV=error,
        method=estimates[0].method,
        dissipation_eV=float(losses.mean()),
        dissipation_standard_error_eV=standard_error_of_mean(losses),
        hysteresis_eV=float(np.mean([estimate.hysteresis_eV for estimate in estimates])),
        overlap=float(min(estimate.overlap for estimate in estimates)),
        interval_95_eV=student_interval(value, error, len(values) - 1),
        details={
            "repeats": len(values),
            "values_eV": values.tolist(),
            "standard_errors_eV": errors.tolist(),
        },
    )


def check_temperature(temperature_K: float) -> None:
    """Raise InputError unless the temperature is positive."""
    if not temperature_K > 0:
        raise InputError(f"temperature {temperature_K:g} K is not positive: give one above 0")


def standard_error_of_mean(values: FloatArray) -> float:
    """Return the standard error of the mean; nan for a single value."""
    if len(values) < 2:
        return float("nan")
    return float(values.std(ddof=1) / np.sqrt(len(values)))


def json_number(value: float) -> float | None:
    """JSON has neither nan nor infinity."""
    return float(value) if np.isfinite(value) else None
