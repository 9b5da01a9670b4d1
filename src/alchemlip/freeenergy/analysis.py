"""What recorded runs say, finished or not: estimates of every path, and how far a run got.

analysis = analyse(RunRecord.read("transmute-CsPbI3"), rng)
analysis.estimates["switching"].value_eV, analysis.progress
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.errors import InputError
from alchemlip.files import read_json_object
from alchemlip.freeenergy.estimates import FreeEnergyEstimate, average_over_repeats
from alchemlip.freeenergy.estimators import convergence_over_repeats, estimate_from_work
from alchemlip.freeenergy.gibbs_helmholtz import FreeEnergyPoints
from alchemlip.freeenergy.recorded import Leg, legs_of, paths_of, windows_of, works_of
from alchemlip.freeenergy.window_estimators import (
    convergence_in_time,
    estimate_from_energies,
    estimate_from_gradients,
)
from alchemlip.records.results import RESULT

if TYPE_CHECKING:
    from alchemlip.records.runs import RunRecord

SWITCHING = "switching"
ABSOLUTE = ("frenkel-ladd",)
"""Commands whose free energies are absolute: of a crystal, not of a change."""


@dataclass(frozen=True)
class Analysis:
    """What one record says.

    Attributes:
        temperature_K: of the run.
        progress: how far the run got, one sentence.
        estimates: by name; ``switching`` (or the name of the path, where there are several),
            ``windows, MBAR`` and ``windows, TI``. Empty as long as nothing is complete.
        convergence: rows of a table for each of them, by the same names.
        switching_time_ps: of a leg, by path.
    """

    temperature_K: float
    progress: str
    estimates: dict[str, FreeEnergyEstimate]
    convergence: dict[str, list[dict[str, float]]]
    switching_time_ps: dict[str, float]


def analyse(record: RunRecord, rng: np.random.Generator) -> Analysis:
    """Estimate again from what a record holds, whatever its status.

    Only repeats with both legs complete count; windows enter as far as they were sampled.

    Args:
        record: opened for reading.
        rng: of the bootstrap.

    Raises:
        InputError: if the record does not tell its temperature.
    """
    temperature = temperature_of(record)
    legs = legs_of(record)
    estimates: dict[str, FreeEnergyEstimate] = {}
    convergence: dict[str, list[dict[str, float]]] = {}
    times: dict[str, float] = {}
    for path in paths_of(legs):
        forward, backward = works_of(legs, path)
        if len(forward) == 0:
            continue
        name = path or SWITCHING
        estimates[name] = estimate_from_work(forward, backward, temperature, rng)
        convergence[name] = convergence_over_repeats(forward, backward, temperature, rng)
        complete = [leg.duration_ps for leg in legs if leg.path == path and leg.complete]
        times[name] = float(np.mean(complete))
    windows = windows_of(record)
    if windows:
        names = ("windows, MBAR", "windows, TI")
        estimates[names[0]] = average_over_repeats(
            [estimate_from_energies(w.couplings, w.energies_eV, temperature) for w in windows]
        )
        if all(np.isfinite(g).all() for w in windows for g in w.dhdl_eV):
            estimates[names[1]] = average_over_repeats(
                [estimate_from_gradients(w.couplings, w.dhdl_eV, temperature) for w in windows]
            )
        first = windows[0]
        convergence[names[0]] = convergence_in_time(first.couplings, first.energies_eV, temperature)
    return Analysis(temperature, _progress(record, legs), estimates, convergence, times)


def estimate_rows(name: str, command: str, analysis: Analysis) -> list[dict[str, Any]]:
    """Return the estimates of a run as rows of a table, one a path, whole cell.

    Args:
        name: of the run.
        command: that made it.
        analysis: of its record.
    """
    rows = []
    for path, estimate in analysis.estimates.items():
        values = estimate.results()
        low, high = values.pop("interval_95_eV")
        rows.append(
            {
                "run": name,
                "command": command,
                "path": path,
                "temperature_K": analysis.temperature_K,
                "switching_time_ps": analysis.switching_time_ps.get(path),
                **values,
                "interval_low_eV": low,
                "interval_high_eV": high,
                **{
                    key: value
                    for key, value in estimate.details.items()
                    if isinstance(value, float) and key.endswith("_eV")
                },
            }
        )
    return rows


def whole_free_energy(record: RunRecord, analysis: Analysis) -> dict[str, Any] | None:
    """Return the free energy of a finished run with its path estimated anew; see `as_recorded`.

    None if it is not finished, or has several paths, of which none is the whole.
    """
    # Of windows MBAR comes first, integration beside it.
    one = len(analysis.estimates) == 1 or "windows, MBAR" in analysis.estimates
    if record.status != "finished" or not one:
        return None
    return as_recorded(record.results, next(iter(analysis.estimates.values())))


def timed_alike(
    rows: Sequence[Mapping[str, Any]], records: Sequence[RunRecord]
) -> list[dict[str, Any]]:
    """Return the rows of runs that differ in their switching time and in nothing else.

    Args:
        rows: of `estimate_rows`.
        records: of all the runs.

    Returns:
        Rows as `plotting.plot_switching_times` takes them; none if the runs differ otherwise.
    """
    own = [
        {key: value for key, value in record.inputs.items() if key != "switching"}
        for record in records
    ]
    timed = [row for row in rows if row["switching_time_ps"] is not None]
    times = {row["switching_time_ps"] for row in timed}
    paths = {row["path"] for row in timed}
    if len(times) < 2 or len(paths) > 1 or any(inputs != own[0] for inputs in own):
        return []
    return [
        {key.removesuffix("_eV"): value for key, value in row.items() if key != "run"}
        for row in timed
    ]


def temperature_of(record: RunRecord) -> float:
    """Return the temperature of a run in K.

    Raises:
        InputError: if neither its inputs nor its results name it.
    """
    dynamics = record.inputs.get("dynamics", {})
    found = dynamics.get("temperature_K", record.results.get("temperature_K"))
    if found is None:
        raise InputError(
            f"the record {str(record.path)!r} tells no temperature (dynamics: temperature_K): it "
            "is not the record of a free energy"
        )
    return float(found)


def as_recorded(results: Mapping[str, Any], estimate: FreeEnergyEstimate) -> dict[str, Any] | None:
    """Return a run's free energy with its path estimated anew, its other terms as recorded.

    Args:
        results: of the finished run.
        estimate: of its one path.

    Returns:
        The free energy and error under the run's own names, and ``terms``; None if the run has no
        terms of which one is the path's.
    """
    terms = results.get("terms") or {}
    path = next((name for name in ("work", "windows") if name in terms), None)
    if path is None:
        return None
    unit = "eV_per_atom" if "free_energy_eV_per_atom" in results else "eV"
    atoms = int(results["n_atoms"]) if unit == "eV_per_atom" else None
    own = estimate.results(atoms)
    # Frenkel-Ladd leads away from the crystal: the work enters with the other sign.
    new = {**terms, path: results.get("work_sign", 1.0) * own[f"free_energy_{unit}"]}
    return {
        f"free_energy_{unit}": sum(new.values()),
        f"standard_error_{unit}": own[f"standard_error_{unit}"],
        "terms": new,
    }


def read_results(folder: str | Path) -> dict[str, Any]:
    """Return ``result.json`` of a finished run.

    Raises:
        InputError: if there is none, or the run is not finished.
    """
    file = Path(folder) / RESULT
    try:
        content = read_json_object(file, "name the folder of another run")
        status = content["status"]
    except (OSError, KeyError) as error:
        raise InputError(
            f"there is no readable {RESULT} in {str(folder)!r}: name a run's folder"
        ) from error
    if status != "finished":
        raise InputError(
            f"the run in {str(folder)!r} is {status}, not finished: let it end (--resume), or "
            "leave it out"
        )
    return content


def check_one_pressure(folders: Sequence[str | Path]) -> None:
    """Refuse to compare free energies at different pressures.

    Args:
        folders: of finished runs; those at constant volume have no pressure, and are left out.

    Raises:
        InputError: naming two runs that differ.
    """
    first: tuple[str | Path, float] | None = None
    for folder in folders:
        pressure = read_results(folder)["results"].get("pressure_GPa")
        if pressure is None:
            continue
        if first is not None and abs(pressure - first[1]) > 1e-9:
            raise InputError(
                f"the runs in {str(first[0])!r} ({first[1]:g} GPa) and {str(folder)!r} "
                f"({pressure:g} GPa) differ in pressure, so that their Gibbs energies do not "
                "compare: name runs at one pressure"
            )
        first = first or (folder, float(pressure))


def phase_of(name: str, folders: Sequence[str | Path]) -> FreeEnergyPoints:
    """Return the free energies of one phase from the results folders of its runs.

    Args:
        name: of the phase.
        folders: of finished runs at different temperatures.

    Raises:
        InputError: if a run is not finished, gives no free energy per atom or no error, if absolute
            free energies and differences are mixed, or temperatures repeat.
    """
    contents = [read_results(folder) for folder in folders]
    kinds = {content.get("command") in ABSOLUTE for content in contents}
    if len(kinds) > 1:
        raise InputError(
            f"phase {name!r} mixes absolute free energies and differences: name runs of one kind"
        )
    results = [content["results"] for content in contents]
    for folder, result in zip(folders, results, strict=True):
        for key in ("free_energy_eV_per_atom", "temperature_K"):
            if result.get(key) is None:
                raise InputError(
                    f"the run in {str(folder)!r} has no {key}: a phase needs free energies per atom"
                )
    enthalpies = all(result.get("enthalpy_eV_per_atom") is not None for result in results)
    errors = _column(results, "enthalpy_standard_error_eV_per_atom")
    return FreeEnergyPoints(
        name,
        _column(results, "temperature_K"),
        _column(results, "free_energy_eV_per_atom"),
        _column(results, "standard_error_eV_per_atom"),
        _column(results, "enthalpy_eV_per_atom") if enthalpies else None,
        errors if enthalpies and np.isfinite(errors).all() else None,
        np.array([float(result.get("repeats", np.inf)) - 1.0 for result in results]),
        3.0 if kinds == {True} else 0.0,
    )


def _column(results: Sequence[Mapping[str, Any]], key: str) -> Any:
    values = [result.get(key) for result in results]
    return np.array([np.nan if value is None else float(value) for value in values])


def _progress(record: RunRecord, legs: Sequence[Leg]) -> str:
    """Say how far a run got."""
    # A process that was killed could not say so.
    parts = ["running, or cut off" if record.status == "running" else record.status]
    planned = record.inputs.get("switching", {}).get("repeats")
    if legs:
        counts = [len(works_of(legs, path)[0]) for path in paths_of(legs)]
        whole = f" of {planned}" if planned else ""
        parts.append(f"{min(counts)}{whole} repeats complete")
        last = legs[-1]
        if not last.complete:
            parts.append(
                f"repeat {last.repeat} is switching {last.direction}, lambda has gone "
                f"{100 * last.fraction:.0f} % of its way"
            )
    else:
        samples = record.samples()
        parts.append(f"{len(samples['step'])} samples")
    return "; ".join(parts)
