"""A random alloy at one composition or along a grid of them: the work of ``alchemlip disorder``.

    points = study_disorder(mixture, potential, "Ce", composition_grid(2, 5), DisorderSettings())

At every composition the mixed cell is relaxed, the random alloy's energy added, and what else was
asked for. With a folder, each point is on the disk when it finishes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import formulas, found_name, named, pressure_volume
from alchemlip.crystal.relaxation import RelaxationSettings, relax
from alchemlip.crystal.report import describe_potential, describe_structure
from alchemlip.disorder.equation_of_state import equation_of_state
from alchemlip.disorder.explicit import explicit_supercells, mean_and_error
from alchemlip.disorder.fluctuations import Order
from alchemlip.disorder.local_relaxation import local_relaxation
from alchemlip.disorder.mixing import mixing_energies
from alchemlip.disorder.quasiharmonic import DISPLACEMENT, quasi_harmonic
from alchemlip.disorder.random_alloy import RandomAlloy, RandomAlloyPotential, random_alloy
from alchemlip.disorder.supercells import Repeats, check_exact_composition
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.records.results import ResultFolder, fingerprint

if TYPE_CHECKING:
    from alchemlip.potential.potential import AlchemicalPotential

EXPLICIT_RELAXATION = RelaxationSettings(fmax=0.02, smax=0.02)


class DisorderSettings(BaseModel):
    """What is computed at every composition."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    geometry: Literal["as-given", "mean-field", "random"] = Field(
        default="mean-field",
        description="as-given: no relaxation; mean-field: relax E(p); random: relax E_random",
    )
    order: Order = Field(default="second", description="second or single_site")
    supercell: Repeats | None = Field(default=None, description="repeats; chosen if None")
    tolerance: float = Field(default=1e-3, gt=0, description="of the supercell, eV per site")
    bulk_modulus: bool = Field(default=False, description="volume and bulk modulus of E_random")
    local_relaxation: bool = Field(default=False, description="relaxation around neighbours")
    vibrations: bool = Field(default=False, description="quasi-harmonic, of the mean field")
    displacement: float = Field(
        default=DISPLACEMENT, gt=0, le=1, description="of the force constants of vibrations, A"
    )
    explicit: int = Field(default=0, ge=0, description="number of explicit supercells")
    explicit_kind: Literal["random", "sqs"] = Field(default="random")
    explicit_relax: bool = Field(default=False, description="also relax the explicit supercells")
    seed: int = Field(default=0, ge=0, description="of the explicit supercells")


def disorder_settings(**options: Any) -> DisorderSettings:
    """Return checked settings.

    Raises:
        InputError: naming the first option that is unknown or out of range.
    """
    try:
        return DisorderSettings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        message = first["msg"][:1].lower() + first["msg"][1:]
        raise InputError(
            f"{'.'.join(map(str, first['loc'][:1]))} cannot be {first['input']!r}: {message}"
        ) from error


@dataclass(frozen=True, eq=False)
class DisorderPoint:
    """A finished composition.

    Attributes:
        x: (K,) composition of the group.
        mixture: the mixed cell, as relaxed.
        record: flat, names with units; energies per lattice site, and enthalpies at pressure.
    """

    x: FloatArray
    mixture: Mixture
    record: dict[str, Any]


def study_disorder(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str,
    compositions: FloatArray,
    settings: DisorderSettings,
    relaxation: RelaxationSettings,
    folder: ResultFolder | None = None,
    on_point: Callable[[DisorderPoint, int, int], None] | None = None,
) -> list[DisorderPoint]:
    """Compute a random alloy at several compositions of one group.

    Args:
        mixture: the start.
        potential: a loaded potential.
        group: name of the group whose composition varies.
        compositions: (P, K); with all pure ends among them, mixing energies are given.
        settings: what to compute.
        relaxation: of the mixed cell.
        folder: where points are kept as they finish; those there are not repeated.
        on_point: called with (point, number finished, number of all).

    Returns:
        The points in the order of the compositions.

    Raises:
        InputError: if explicit supercells cannot hold a composition, or from the calculations.
    """
    if settings.explicit and settings.supercell:
        for x in compositions:
            large = mixture.with_composition(group, x).repeat(settings.supercell)
            check_exact_composition(large.group(group))
    done: dict[int, DisorderPoint] = {}
    for saved in folder.points() if folder else []:
        index = int(saved["index"])
        kept = Mixture.from_dict(saved["mixture"])
        done[index] = DisorderPoint(compositions[index], kept, saved["record"])
    with folder.noting_failure() if folder else nullcontext():
        for index, x in enumerate(compositions):
            if index in done:
                continue
            start = mixture.with_composition(group, x)
            point = disorder_point(start, potential, settings, relaxation, x)
            done[index] = point
            if folder:
                folder.append_point(
                    {"index": index, "mixture": point.mixture.to_dict(), "record": point.record}
                )
            if on_point:
                on_point(point, len(done), len(compositions))
    return with_mixing_energies([done[index] for index in range(len(compositions))])


def study_inputs(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str,
    compositions: FloatArray,
    settings: DisorderSettings,
    relaxation: RelaxationSettings,
) -> dict[str, Any]:
    """Return everything that determines a study, as plain values."""
    pure = {mixture.group(group).components[0]: 1.0}
    return {
        # Where the varied group starts does not matter.
        "structure": fingerprint(mixture.with_composition(group, pure).to_dict()),
        "formula": str(mixture.to_atoms().symbols),
        "group": group,
        "components": list(mixture.group(group).components),
        "compositions": np.asarray(compositions).tolist(),
        **describe_potential(potential),
        "disorder": settings.model_dump(mode="json"),
        "relaxation": relaxation.model_dump(),
        **formulas(relaxation.pressure),
    }


def disorder_point(
    mixture: Mixture,
    potential: AlchemicalPotential,
    settings: DisorderSettings,
    relaxation: RelaxationSettings,
    x: FloatArray,
) -> DisorderPoint:
    """Compute a random alloy at the composition of a mixture.

    Args:
        mixture: the start.
        potential: a loaded potential.
        settings: what to compute.
        relaxation: of the mixed cell.
        x: (K,) composition, noted in the point.
    """
    begin = perf_counter()
    converged = True
    if settings.geometry != "as-given":
        run = relax(mixture, potential, relaxation)
        mixture, converged = run.mixture, run.converged
    pure = all(group.composition.max() == 1.0 for group in mixture.groups)
    alloy = None if pure else _alloy(mixture, potential, settings)
    random: AlchemicalPotential = potential
    if alloy is not None and (settings.geometry == "random" or settings.bulk_modulus):
        random = RandomAlloyPotential(potential, alloy.repeats, order=settings.order)
    if alloy is not None and settings.geometry == "random":
        run = relax(mixture, random, relaxation)
        mixture, converged = run.mixture, run.converged
        fixed = settings.model_copy(update={"supercell": alloy.repeats})
        alloy = replace(_alloy(mixture, potential, fixed), trials=alloy.trials)
    n = mixture.n_sites
    if alloy is None:
        mean_field = potential.evaluate(mixture, composition_gradient=False).energy
        fluctuation = 0.0
    else:
        mean_field, fluctuation = alloy.mean_field_energy, alloy.fluctuation_energy
    record = describe_structure(mixture)
    record |= {
        "mean_field_energy_eV_per_atom": mean_field / n,
        "fluctuation_energy_eV_per_atom": fluctuation / n,
        "random_energy_eV_per_atom": (mean_field + fluctuation) / n,
        "supercell": None if alloy is None else list(alloy.repeats),
        "supercell_sites": None if alloy is None else n * int(np.prod(alloy.repeats)),
        "converged": converged,
    }
    record |= _enthalpies(mixture, relaxation.pressure, record)
    if alloy is not None and alloy.trials:
        # How the supercell was chosen.
        record["supercell_trials"] = [
            {
                "repeats": list(trial.repeats),
                "random_energy_eV_per_atom": trial.random_energy_per_site,
            }
            for trial in alloy.trials
        ]
    if settings.bulk_modulus:
        fit = equation_of_state(mixture, random, pressure=relaxation.pressure)
        record["equation_of_state_volume_A3"] = fit.volume
        record["bulk_modulus_GPa"] = fit.bulk_modulus
    record["seconds"] = perf_counter() - begin
    if settings.local_relaxation:
        if alloy is None:
            record["local_relaxation_energy_eV_per_atom"] = 0.0
        else:
            record |= _local_relaxation(mixture.repeat(alloy.repeats), potential)
    if settings.vibrations:
        record |= _quasi_harmonic(mixture, potential, settings, relaxation)
    if alloy is not None and settings.explicit:
        record |= _explicit(mixture, potential, alloy.repeats, settings, relaxation.pressure)
    return DisorderPoint(np.asarray(x, dtype=float), mixture, record)


def _enthalpies(mixture: Mixture, pressure: float, record: dict[str, Any]) -> dict[str, float]:
    """Return the enthalpies beside a record's energies; nothing at no pressure."""
    if not pressure:
        return {}
    work = pressure_volume(mixture, pressure) / mixture.n_sites
    names = ("mean_field_energy_eV_per_atom", "random_energy_eV_per_atom")
    return {
        "external_pressure_GPa": pressure,
        **{named(name, pressure): record[name] + work for name in names},
    }


def _alloy(
    mixture: Mixture, potential: AlchemicalPotential, settings: DisorderSettings
) -> RandomAlloy:
    return random_alloy(
        mixture,
        potential,
        repeats=settings.supercell,
        order=settings.order,
        tolerance=settings.tolerance,
    )


def _local_relaxation(supercell: Mixture, potential: AlchemicalPotential) -> dict[str, Any]:
    """Return the energy, or None and why: an unstable point leaves the other points their own."""
    begin = perf_counter()
    try:
        result = local_relaxation(supercell, potential)
    except InputError as error:
        return {
            "local_relaxation_energy_eV_per_atom": None,
            "local_relaxation_note": str(error),
        }
    return {
        "local_relaxation_energy_eV_per_atom": result.energy / supercell.n_sites,
        "local_relaxation_derivatives": result.method,
        "softest_mode_eV_per_A2": result.softest_mode,
        "local_relaxation_seconds": perf_counter() - begin,
    }


def _quasi_harmonic(
    mixture: Mixture,
    potential: AlchemicalPotential,
    settings: DisorderSettings,
    relaxation: RelaxationSettings,
) -> dict[str, Any]:
    """Return the crystal at several volumes, or None and why: as for the local relaxation."""
    if settings.supercell is None:
        raise InputError(
            "vibrations are compared between compositions, in one supercell: give --supercell"
        )
    begin = perf_counter()
    try:
        crystal = quasi_harmonic(
            mixture,
            potential,
            settings.supercell,
            order=settings.order,
            displacement=settings.displacement,
            relaxation=relaxation,
        )
    except InputError as error:
        return {"quasi_harmonic": None, "quasi_harmonic_note": str(error)}
    return {
        "quasi_harmonic": crystal.to_dict(),
        "quasi_harmonic_seconds": perf_counter() - begin,
    }


def _explicit(
    mixture: Mixture,
    potential: AlchemicalPotential,
    repeats: Repeats,
    settings: DisorderSettings,
    pressure: float,
) -> dict[str, Any]:
    """Return mean and standard error of explicit supercells, with the second order for these."""
    relaxation = EXPLICIT_RELAXATION.model_copy(update={"pressure": pressure})
    cells = explicit_supercells(
        mixture,
        potential,
        repeats,
        settings.explicit,
        np.random.default_rng(settings.seed),
        kind=settings.explicit_kind,
        relaxation=relaxation if settings.explicit_relax else None,
    )
    begin = perf_counter()
    exact = random_alloy(
        mixture, potential, repeats=repeats, exact_composition=True, order=settings.order
    )
    seconds = perf_counter() - begin
    mean, error = mean_and_error([cell.energy_per_site for cell in cells])
    record: dict[str, Any] = {
        "explicit_kind": settings.explicit_kind,
        "explicit_cells": len(cells),
        "explicit_energy_eV_per_atom": mean,
        "explicit_standard_error_eV_per_atom": None if np.isnan(error) else error,
        "explicit_seconds": sum(cell.seconds for cell in cells),
        # Of the same finite cells, at exact composition.
        "finite_cell_random_energy_eV_per_atom": exact.random_energy / mixture.n_sites,
        "finite_cell_seconds": seconds,
    }
    if pressure:
        work = pressure_volume(mixture, pressure) / mixture.n_sites
        record["explicit_enthalpy_eV_per_atom"] = record["explicit_energy_eV_per_atom"] + work
    if settings.explicit_relax:
        relaxed = [cell.relaxed_enthalpy_per_site for cell in cells]
        mean, error = mean_and_error([value for value in relaxed if value is not None])
        record[named("explicit_relaxed_energy_eV_per_atom", pressure)] = mean
        record["explicit_relaxed_standard_error_eV_per_atom"] = None if np.isnan(error) else error
        record["explicit_relaxation_seconds"] = sum(cell.relaxation_seconds for cell in cells)
        record["explicit_unconverged"] = sum(not cell.converged for cell in cells)
    return record


def with_mixing_energies(points: Sequence[DisorderPoint]) -> list[DisorderPoint]:
    """Return the points with energies above the plane of the ends, where all ends are there.

    At pressure these are enthalpies: ``mixing_enthalpy_eV_per_atom`` and so on.
    """
    x = np.array([point.x for point in points])
    ends = {int(row.argmax()) for row in x if row.max() == 1.0}
    if len(ends) < x.shape[1]:
        return list(points)
    finished = []
    first = points[0].record
    names = {
        found_name(f"{of}_energy_eV_per_atom", first): named(
            f"{prefix}mixing_energy_eV_per_atom", float(first.get("external_pressure_GPa", 0.0))
        )
        for of, prefix in (("random", ""), ("mean_field", "mean_field_"))
    }
    above = {
        new: mixing_energies(x, np.array([point.record[old] for point in points]))
        for old, new in names.items()
    }
    for index, point in enumerate(points):
        record = point.record | {name: float(values[index]) for name, values in above.items()}
        gained = record.get("local_relaxation_energy_eV_per_atom")
        if gained is not None:
            # At the fixed cell, so that P V is that of the mean-field crystal.
            key = found_name("mixing_energy_eV_per_atom", record)
            record[f"relaxed_{key}"] = record[key] + gained
        finished.append(DisorderPoint(point.x, point.mixture, record))
    return finished
