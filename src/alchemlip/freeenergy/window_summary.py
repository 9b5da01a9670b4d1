"""Results of equilibrium windows as a flat record: value, errors, overlap and exchanges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemlip.freeenergy.estimates import average_over_repeats, json_number
from alchemlip.freeenergy.recorded import windows_of
from alchemlip.freeenergy.window_estimators import estimate_from_energies, estimate_from_gradients
from alchemlip.freeenergy.windows import WindowSettings, windows_result
from alchemlip.records.runs import RunRecord


def windows_summary(
    record: RunRecord,
    settings: WindowSettings,
    temperature_K: float,
    terms: Mapping[str, float],
    *,
    n_atoms: int | None = None,
) -> dict[str, Any]:
    """Return the free energy from the windows of a record and its further terms.

    MBAR over the windows, averaged over repeats; thermodynamic integration over the same samples
    stands beside it.

    Args:
        record: of `sample_windows`.
        settings: of the run.
        temperature_K: of the thermostat.
        terms: what is added, {name: eV}, for the whole cell.
        n_atoms: divide by it; names then end in ``_eV_per_atom``, else in ``_eV``.

    Returns:
        ``free_energy_*``, ``standard_error_*``, ``interval_95_*``, ``terms``, ``method``,
        ``overlap``, ``thermodynamic_integration_*``, and of the exchanges ``couplings``,
        ``acceptance`` and ``round_trips``.

    Raises:
        InputError: if a window has too few independent samples.
    """
    repeats = windows_of(record)
    mbar = average_over_repeats(
        [estimate_from_energies(w.couplings, w.energies_eV, temperature_K) for w in repeats]
    )
    integrated = average_over_repeats(
        [estimate_from_gradients(w.couplings, w.dhdl_eV, temperature_K) for w in repeats]
    )
    exchanged = windows_result(record, settings)
    unit, share = ("eV", 1) if n_atoms is None else ("eV_per_atom", n_atoms)
    added = sum(terms.values())
    return {
        f"free_energy_{unit}": (mbar.value_eV + added) / share,
        f"standard_error_{unit}": json_number(mbar.standard_error_eV / share),
        f"interval_95_{unit}": [json_number((end + added) / share) for end in mbar.interval_95_eV],
        "terms": {
            name: value / share for name, value in {"windows": mbar.value_eV, **terms}.items()
        },
        "terms_unit": unit,
        "method": f"equilibrium windows, {mbar.method}",
        "temperature_K": temperature_K,
        "repeats": len(repeats),
        "overlap": json_number(mbar.overlap),
        f"thermodynamic_integration_{unit}": (integrated.value_eV + added) / share,
        f"thermodynamic_integration_standard_error_{unit}": json_number(
            integrated.standard_error_eV / share
        ),
        "couplings": list(settings.couplings),
        "samples": int(sum(np.size(series) for windows in repeats for series in windows.dhdl_eV)),
        "acceptance": [json_number(value) for value in exchanged.acceptance],
        "round_trips": int(exchanged.round_trips.sum()),
    }
