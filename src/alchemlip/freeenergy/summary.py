"""Results of switching as a flat record: value, errors, dissipation, and every term by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import units

from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.switching import SwitchingResult


def switching_summary(
    switched: SwitchingResult,
    terms: Mapping[str, float],
    rng: np.random.Generator,
    *,
    n_atoms: int | None = None,
    work_sign: float = 1.0,
) -> dict[str, Any]:
    """Return the free energy of a switched path and its further terms.

    Args:
        switched: the works.
        terms: what is added to the work, {name: eV}, for the whole cell.
        rng: of the bootstrap.
        n_atoms: divide by it; names then end in ``_eV_per_atom``, else in ``_eV``.
        work_sign: -1 where the path leads away from the state whose free energy is wanted.

    Returns:
        ``free_energy_*``, ``standard_error_*``, ``interval_95_*``, ``dissipation_*``,
        ``dissipation_standard_error_*``, ``hysteresis_*``, ``overlap``, ``terms`` (each by name,
        the work among them), ``method`` and the works of the repeats. A single repeat has no error
        (nan; null in the file).
    """
    from alchemlip.freeenergy.estimators import estimate_from_work

    estimate = estimate_from_work(
        switched.forward_work, switched.backward_work, switched.temperature_K, rng
    )
    unit, divisor = ("eV", 1) if n_atoms is None else ("eV_per_atom", n_atoms)
    work = work_sign * estimate.value_eV
    added = sum(terms.values())
    low, high = sorted(work_sign * value for value in estimate.interval_95_eV)
    return {
        f"free_energy_{unit}": (work + added) / divisor,
        f"standard_error_{unit}": estimate.standard_error_eV / divisor,
        f"interval_95_{unit}": [(low + added) / divisor, (high + added) / divisor],
        f"dissipation_{unit}": estimate.dissipation_eV / divisor,
        f"dissipation_standard_error_{unit}": estimate.dissipation_standard_error_eV / divisor,
        f"hysteresis_{unit}": estimate.hysteresis_eV / divisor,
        "overlap": estimate.overlap,
        "terms": {name: value / divisor for name, value in {"work": work, **terms}.items()},
        "terms_unit": unit,
        "work_sign": work_sign,
        "method": f"nonequilibrium switching, {estimate.method}",
        "temperature_K": switched.temperature_K,
        "repeats": len(switched.forward_work),
        "forward_work_eV": switched.forward_work.tolist(),
        "backward_work_eV": switched.backward_work.tolist(),
    }


def enthalpy_difference(
    switched: SwitchingResult, dynamics: DynamicsSettings, n_atoms: int
) -> dict[str, Any]:
    """Return the difference of the enthalpies of both ends per atom, for Gibbs-Helmholtz.

    <U>_B - <U>_A + P (<V>_B - <V>_A), from the equilibrations before each leg; the kinetic parts
    are the same. At constant cell it is the difference of the energies.
    """
    difference = switched.potential_eV[1] - switched.potential_eV[0]
    if dynamics.cell != "fixed":
        change = switched.volume_A3[1] - switched.volume_A3[0]
        difference = difference + dynamics.pressure_GPa * units.GPa * change
    repeats = len(difference)
    error = float(np.std(difference, ddof=1) / np.sqrt(repeats)) if repeats > 1 else None
    return {
        "enthalpy_eV_per_atom": float(np.mean(difference)) / n_atoms,
        "enthalpy_standard_error_eV_per_atom": None if error is None else error / n_atoms,
        "volume_A3_per_atom": (np.mean(switched.volume_A3, axis=1) / n_atoms).tolist(),
    }
