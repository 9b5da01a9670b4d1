"""How many vacancies a crystal has in equilibrium, at one temperature or over many.

    c = 1 / (1 + exp(G_v/kT)),   nearly exp(-G_v/kT);   G_v(T) = H - T S

Sites that are empty or not independently of one another, in contact with the reservoir to which the
chemical potential in G_v belongs (Allnatt and Lidiard, Atomic Transport in Solids, 1993, ch. 3).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ase import units
from scipy.special import expit

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.files import save_figure
from alchemlip.freeenergy.einstein import thermal_energy


def vacancy_concentration(free_energy_eV: float, temperature_K: float) -> float:
    """Return the fraction of sites that are empty in equilibrium; see the module's head.

    Args:
        free_energy_eV: of formation of a vacancy on one site.
        temperature_K: in K.
    """
    return float(expit(-free_energy_eV / thermal_energy(temperature_K)))


def concentration_results(results: Mapping[str, Any], temperature_K: float) -> dict[str, Any]:
    """Return the equilibrium concentration per site of a defect's results, as a flat record.

    Args:
        results: with ``free_energy_eV`` and ``interval_95_eV``.
        temperature_K: in K.
    """
    value = float(results["free_energy_eV"])
    low, high = results["interval_95_eV"]
    exponent = value / thermal_energy(temperature_K)
    return {
        "concentration": vacancy_concentration(value, temperature_K),
        "concentration_interval_95": [
            vacancy_concentration(float(end), temperature_K) for end in (high, low)
        ],
        # Far below the smallest number there is, at low temperatures.
        "log10_concentration": float(-np.logaddexp(0.0, exponent) / np.log(10.0)),
    }


@dataclass(frozen=True)
class FormationLine:
    """G_v(T) = H - T S, with H and S constant over the temperatures.

    Attributes:
        enthalpy_eV: H.
        entropy_eV_per_K: S.
        covariance: (2, 2) of H and S.
    """

    enthalpy_eV: float
    entropy_eV_per_K: float
    covariance: FloatArray

    def free_energy(self, temperature_K: float) -> tuple[float, float]:
        """Return G_v and its standard error in eV."""
        along = np.array([1.0, -temperature_K])
        value = self.enthalpy_eV - temperature_K * self.entropy_eV_per_K
        return value, float(np.sqrt(along @ self.covariance @ along))


def formation_line(
    temperatures_K: npt.ArrayLike,
    free_energies_eV: npt.ArrayLike,
    standard_errors_eV: npt.ArrayLike,
) -> FormationLine:
    """Fit enthalpy and entropy of formation to free energies, weighted by their errors.

    Args:
        temperatures_K: (M,) at least two different ones.
        free_energies_eV: (M,) G_v.
        standard_errors_eV: (M,) of G_v.

    Raises:
        InputError: if there are fewer than two temperatures, or an error is not positive.
    """
    t = np.asarray(temperatures_K, dtype=float)
    g = np.asarray(free_energies_eV, dtype=float)
    errors = np.asarray(standard_errors_eV, dtype=float)
    if t.shape != g.shape or t.shape != errors.shape or t.ndim != 1:
        raise InputError("give one free energy and one standard error for each temperature")
    if len(np.unique(t)) < 2:
        raise InputError(
            "enthalpy and entropy of formation need runs at two temperatures or more; give both "
            "for a single run"
        )
    if not (np.isfinite(errors).all() and (errors > 0).all()):
        raise InputError("a free energy of formation has no error: run two repeats or more")
    design = np.stack([np.ones_like(t), -t], axis=1) / errors[:, None]
    covariance = np.linalg.inv(design.T @ design)
    enthalpy, entropy = covariance @ design.T @ (g / errors)
    return FormationLine(float(enthalpy), float(entropy), covariance)


def concentration_table(
    line: FormationLine, temperatures_K: Sequence[float]
) -> list[dict[str, float]]:
    """Return rows of T, 1/T, G_v with its error and the concentration, low and high by one error.

    Args:
        line: G_v(T).
        temperatures_K: of the rows.
    """
    rows = []
    for temperature in temperatures_K:
        value, error = line.free_energy(temperature)
        rows.append(
            {
                "temperature_K": float(temperature),
                "inverse_temperature_1_per_K": 1.0 / thermal_energy(temperature) * units.kB,
                "free_energy_eV": value,
                "standard_error_eV": error,
                "concentration": vacancy_concentration(value, temperature),
                "concentration_low": vacancy_concentration(value + error, temperature),
                "concentration_high": vacancy_concentration(value - error, temperature),
            }
        )
    return rows


def plot_concentration(
    rows: Sequence[dict[str, Any]],
    file: str | Path,
    measured: Sequence[tuple[float, float]] = (),
    title: str = "",
) -> None:
    """Draw the logarithm of the concentration against 1000/T.

    Args:
        rows: of `concentration_table`.
        file: of the picture.
        measured: (T in K, G_v in eV) of the runs, drawn as points.
        title: of the picture.
    """
    from matplotlib.figure import Figure

    from alchemlip.crystal.plotting import INK

    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axis = figure.subplots()
    x = [1000.0 * row["inverse_temperature_1_per_K"] for row in rows]
    axis.plot(x, [row["concentration"] for row in rows], color="#1b6ca8")
    low, high = ([row[f"concentration_{side}"] for row in rows] for side in ("low", "high"))
    axis.fill_between(x, low, high, color="#1b6ca8", alpha=0.2, lw=0)
    if measured:
        points = [(1000.0 / t, vacancy_concentration(g, t)) for t, g in measured]
        axis.plot(*zip(*points, strict=True), "o", ms=4, color=INK)
    axis.set_yscale("log")
    axis.set_xlabel("1000 K / T")
    axis.set_ylabel("vacancies per site")
    axis.set_title(title, fontsize=10)
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.25, lw=0.6)
    save_figure(figure, file, 150)
