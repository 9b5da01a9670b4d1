"""Evaluations and relaxations as flat records whose names carry their units."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemlip.crystal.relaxation import RelaxationResult
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.ensemble import EnsembleEvaluation, Potential
from alchemlip.potential.evaluation import Evaluation


def describe_structure(mixture: Mixture) -> dict[str, Any]:
    """Return composition, size and cell: the fields ``composition``, ``a_A`` ... ``volume_A3``.

    Energies "per atom" are per lattice site; ``n_atoms`` stands beside ``n_sites`` for vacancies.
    """
    record: dict[str, Any] = {
        "composition": dict(
            zip(mixture.component_labels, mixture.composition.tolist(), strict=True)
        ),
        "n_sites": mixture.n_sites,
        "n_atoms": mixture.n_atoms,
    }
    if mixture.pbc.any():
        from ase.cell import Cell

        lengths_angles = Cell(mixture.cell).cellpar().tolist()
        names = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg")
        record |= dict(zip(names, lengths_angles, strict=True))
        record["volume_A3"] = abs(float(np.linalg.det(mixture.cell)))
    return record


def describe_evaluation(mixture: Mixture, evaluation: Evaluation) -> dict[str, Any]:
    """Return structure, energy, largest force, stress and composition gradient as one record."""
    from ase.units import GPa

    record = describe_structure(mixture)
    record["energy_eV"] = evaluation.energy
    record["energy_eV_per_atom"] = evaluation.energy / mixture.n_sites
    if evaluation.forces is not None:
        record["max_force_eV_per_A"] = float(np.linalg.norm(evaluation.forces, axis=1).max())
    if evaluation.stress is not None:
        names = ("xx", "yy", "zz", "yz", "xz", "xy")
        values = (evaluation.stress / GPa).tolist()
        record |= {f"stress_{name}_GPa": value for name, value in zip(names, values, strict=True)}
        record["pressure_GPa"] = -float(evaluation.stress[:3].mean() / GPa)
    if evaluation.composition_gradient is not None and mixture.groups:
        record["composition_gradient_eV"] = dict(
            zip(mixture.component_labels, evaluation.composition_gradient.tolist(), strict=True)
        )
    if isinstance(evaluation, EnsembleEvaluation):
        record |= _describe_spread(mixture, evaluation)
    return record


def _describe_spread(mixture: Mixture, evaluation: EnsembleEvaluation) -> dict[str, Any]:
    """Return the standard deviations over an ensemble's members."""
    from ase.units import GPa

    spread = evaluation.spread
    record: dict[str, Any] = {
        "energy_eV_spread": spread.energy,
        "energy_eV_per_atom_spread": spread.energy / mixture.n_sites,
        "energy_eV_of_members": [member.energy for member in evaluation.members],
    }
    if spread.forces is not None:
        record["forces_eV_per_A_spread"] = float(np.linalg.norm(spread.forces, axis=1).max())
    if evaluation.members[0].stress is not None:
        pressures = [-float(member.stress[:3].mean() / GPa) for member in evaluation.members]  # type: ignore[index]
        record["pressure_GPa_spread"] = float(np.std(pressures, ddof=1))
    if spread.composition_gradient is not None and mixture.groups:
        record["composition_gradient_eV_spread"] = dict(
            zip(mixture.component_labels, spread.composition_gradient.tolist(), strict=True)
        )
    return record


def describe_relaxation(result: RelaxationResult) -> dict[str, Any]:
    """Return the record of a relaxed mixture, with how its relaxation went."""
    record = describe_evaluation(result.mixture, result.evaluation)
    if result.pressure:
        record["external_pressure_GPa"] = result.pressure
        record["enthalpy_eV"] = result.enthalpy
        record["enthalpy_eV_per_atom"] = result.enthalpy / result.mixture.n_sites
    record["max_force_eV_per_A"] = result.max_force
    record["max_stress_deviation_GPa"] = result.max_stress
    record["converged"] = result.converged
    record["steps"] = result.steps
    record["evaluations"] = result.evaluations
    record["seconds"] = round(result.seconds, 3)
    if result.members:
        record |= _describe_members(result.members)
    return record


COMPARED = ("energy_eV_per_atom", "enthalpy_eV_per_atom", "volume_A3", "a_A", "b_A", "c_A")
ANGLES = ("alpha_deg", "beta_deg", "gamma_deg")


def _describe_members(members: Mapping[str, RelaxationResult]) -> dict[str, Any]:
    """Return what each member of an ensemble relaxed to, and the standard deviations."""
    found = {}
    for name, result in members.items():
        record = describe_structure(result.mixture)
        record["energy_eV_per_atom"] = result.evaluation.energy / result.mixture.n_sites
        if result.pressure:
            record["enthalpy_eV_per_atom"] = result.enthalpy / result.mixture.n_sites
        found[name] = {key: record[key] for key in (*COMPARED, *ANGLES) if key in record}
    spread = {
        f"{key}_spread": float(np.std([item[key] for item in found.values()], ddof=1))
        for key in next(iter(found.values()))
    }
    evaluations = sum(result.evaluations for result in members.values())
    return {**spread, "members": found, "evaluations_of_members": evaluations}


def describe_potential(potential: Potential) -> dict[str, Any]:
    """Return what tells a potential from all others: name, fidelity or head, weights, dtype."""
    card = potential.card
    record = {
        "potential": card.name,
        "potential_variant": card.variant,
        "potential_sha256": card.sha256,
        "dtype": str(potential.dtype).removeprefix("torch."),
    }
    if getattr(potential, "representation", "nodes") != "nodes":
        record["representation"] = "embedding"
    return record


def flat_row(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as one row of a table, its dictionaries spread over columns."""
    row: dict[str, Any] = {}
    for key, value in record.items():
        if key == "composition":
            row |= {f"x_{label}": weight for label, weight in value.items()}
        elif key == "composition_gradient_eV":
            row |= {f"gradient_{label}_eV": item for label, item in value.items()}
        elif key == "composition_gradient_eV_spread":
            row |= {f"gradient_{label}_eV_spread": item for label, item in value.items()}
        elif key == "energy_eV_of_members":
            continue  # stands per site among the members
        elif key == "members":
            for name, found in value.items():
                row |= {f"{quantity} {name}": item for quantity, item in found.items()}
        else:
            row[key] = value
    return row
