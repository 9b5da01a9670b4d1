"""Tables that alchemlyb reads: reduced energies ``u_nk`` and gradients ``dHdl``, as parquet files.

    files = export_record(record, "exported", temperature_K=300.0)
    u_nk = alchemlyb.parsing.parquet.extract_u_nk(files["u_nk"], T=300.0)
    alchemlyb.estimators.MBAR().fit(u_nk)

Rows are indexed by ``time`` (ps) and ``fep-lambda``; values are in kT. Of equilibrium windows the
samples themselves are written. Of switching legs, which alchemlyb has no table for:

``u_nk``: the two end states, one row for each leg, W_f/kT and W_r/kT in place of energy
    differences. BAR over it is BAR over the works.
``dHdl``: the mean dU/dlambda of each leg around the points of a grid, such that TI over it gives
    the mean of (W_f - W_r)/2. Its error by TI takes neighbouring points for independent and is too
    small; that of BAR is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.estimates import check_temperature
from alchemlip.freeenergy.packages import estimator_package
from alchemlip.freeenergy.recorded import Leg, legs_of, paths_of, windows_of, works_of

if TYPE_CHECKING:
    import pandas as pd

    from alchemlip.records.runs import RunRecord

LAMBDA = "fep-lambda"
GRID = 21


def energy_table(
    couplings: FloatArray,
    energies_eV: Sequence[FloatArray],
    temperature_K: float,
    times_ps: Sequence[FloatArray] | None = None,
) -> pd.DataFrame:
    """Return samples of K windows as alchemlyb's ``u_nk`` in kT.

    Args:
        couplings: (K,) lambda of the windows.
        energies_eV: K arrays (n_k, K), sample n of window k at the coupling of every window.
        temperature_K: temperature.
        times_ps: K arrays (n_k,); the number of the sample by default.
    """
    check_temperature(temperature_K)
    lambdas = [float(value) for value in couplings]
    reduced = np.concatenate(list(energies_eV)) / (kB * temperature_K)
    return _table(reduced, lambdas, lambdas, [len(e) for e in energies_eV], temperature_K, times_ps)


def gradient_table(
    couplings: FloatArray,
    gradients_eV: Sequence[FloatArray],
    temperature_K: float,
    times_ps: Sequence[FloatArray] | None = None,
) -> pd.DataFrame:
    """Return samples of dU/dlambda at K couplings as alchemlyb's ``dHdl`` in kT.

    Args:
        couplings: (K,) lambda of the windows.
        gradients_eV: K arrays (n_k,).
        temperature_K: temperature.
        times_ps: K arrays (n_k,); the number of the sample by default.
    """
    check_temperature(temperature_K)
    lambdas = [float(value) for value in couplings]
    reduced = np.concatenate(list(gradients_eV))[:, None] / (kB * temperature_K)
    counts = [len(gradients) for gradients in gradients_eV]
    return _table(reduced, ["fep"], lambdas, counts, temperature_K, times_ps)


def work_table(forward: FloatArray, backward: FloatArray, temperature_K: float) -> pd.DataFrame:
    """Return switching works (R,) in eV as a ``u_nk`` of the two end states."""
    from_start = np.stack([np.zeros_like(forward), forward], axis=1)
    from_end = np.stack([backward, np.zeros_like(backward)], axis=1)
    return energy_table(np.array([0.0, 1.0]), [from_start, from_end], temperature_K)


def leg_gradient_table(
    legs: Sequence[Leg], temperature_K: float, points: int = GRID
) -> pd.DataFrame:
    """Return complete switching legs as a ``dHdl`` on a uniform grid of couplings.

    The value at grid point k is int g phi_k dlambda / int phi_k dlambda, g = dU/dlambda and phi_k
    the hat function of the point. Hat functions sum to 1, so trapezoids over the grid give the work
    of the leg.
    """
    grid = np.linspace(0.0, 1.0, points)
    rows = np.array([hat_means(leg.coupling, leg.dhdl_eV, grid) for leg in legs])
    return gradient_table(grid, list(rows.T), temperature_K)


def hat_means(coupling: FloatArray, gradient: FloatArray, grid: FloatArray) -> FloatArray:
    """Return means of a gradient weighted by the hat functions of a grid; see above.

    Args:
        coupling, gradient: (n,) samples, coupling running from one end of the grid to the other.
        grid: (M,) increasing.
    """
    if coupling[0] > coupling[-1]:
        coupling, gradient = coupling[::-1], gradient[::-1]
    # With the grid points among the samples, every piece lies within one cell of the grid, where
    # g phi is quadratic and Simpson's rule exact.
    fine = np.sort(np.concatenate([coupling, grid]))
    g = np.interp(fine, coupling, gradient)
    middle = (fine[1:] + fine[:-1]) / 2
    cell = np.clip(np.searchsorted(grid, middle, side="right") - 1, 0, len(grid) - 2)
    widths = np.diff(grid)
    shares = np.zeros(len(grid))
    for side in (0, 1):
        hats = [np.abs(x - grid[cell + 1 - side]) / widths[cell] for x in (fine[:-1], fine[1:])]
        between = (g[:-1] + g[1:]) * (hats[0] + hats[1])
        pieces = np.diff(fine) / 6 * (g[:-1] * hats[0] + g[1:] * hats[1] + between)
        np.add.at(shares, cell + side, pieces)
    integrals = np.zeros(len(grid))
    integrals[1:] += widths / 2
    integrals[:-1] += widths / 2
    return np.asarray(shares / integrals)


def export_record(
    record: RunRecord, folder: str | Path, temperature_K: float, prefix: str = ""
) -> dict[str, Path]:
    """Write what a record holds as parquet files that alchemlyb reads.

    Args:
        record: of a finished or unfinished run; only complete legs are written.
        folder: where; made if it does not exist.
        temperature_K: of the run.
        prefix: before the names of the files.

    Returns:
        The files by table: ``u_nk`` and ``dHdl``, with ``_PATH`` or ``_repeatN`` behind them where
        a record has several.

    Raises:
        InputError: if the record has neither windows nor a repeat with both legs complete.
    """
    tables: dict[str, pd.DataFrame] = {}
    windows = windows_of(record)
    for group in windows:
        ending = f"_repeat{group.repeat}" if len(windows) > 1 else ""
        times = [time / 1000.0 for time in group.time_fs]
        data = (group.couplings, group.energies_eV, temperature_K, times)
        tables[f"u_nk{ending}"] = energy_table(*data)
        if all(np.isfinite(gradient).all() for gradient in group.dhdl_eV):
            tables[f"dHdl{ending}"] = gradient_table(
                group.couplings, group.dhdl_eV, temperature_K, times
            )
    legs = legs_of(record)
    for path in paths_of(legs):
        forward, backward = works_of(legs, path)
        if len(forward) == 0:
            continue
        ending = f"_{path.replace('/', '-')}" if path else ""
        chosen = [leg for leg in legs if leg.path == path and leg.complete]
        tables[f"u_nk{ending}"] = work_table(forward, backward, temperature_K)
        tables[f"dHdl{ending}"] = leg_gradient_table(chosen, temperature_K)
    if not tables:
        raise InputError(
            "the record has nothing to export: no repeat is complete; let the run go on (--resume)"
        )
    estimator_package("pyarrow")
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = {name: Path(folder) / f"{prefix}{name}.parquet" for name in tables}
    for name, table in tables.items():
        table.to_parquet(files[name], index=True)
    return files


def _table(
    values: FloatArray,
    columns: Sequence[float | str],
    lambdas: Sequence[float],
    counts: Sequence[int],
    temperature_K: float,
    times_ps: Sequence[FloatArray] | None,
) -> pd.DataFrame:
    pandas = estimator_package("pandas")
    times = [np.arange(n, dtype=np.float64) for n in counts] if times_ps is None else times_ps
    index = pandas.MultiIndex.from_arrays(
        [np.concatenate(list(times)), np.repeat(lambdas, counts)], names=["time", LAMBDA]
    )
    table: pd.DataFrame = pandas.DataFrame(values, columns=list(columns), index=index)
    table.attrs = {"temperature": float(temperature_K), "energy_unit": "kT"}
    return table
