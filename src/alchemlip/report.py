"""Evaluations and relaxations as flat records whose names carry their units."""

from __future__ import annotations

from typing import Any

import numpy as np

from alchemlip.mixture import Mixture
from alchemlip.potential import AlchemicalPotential, Evaluation
from alchemlip.relaxation import RelaxationResult


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
    return record


def describe_relaxation(result: RelaxationResult) -> dict[str, Any]:
    """Return the record of a relaxed mixture, with how its relaxation went."""
    record = describe_evaluation(result.mixture, result.evaluation)
    record["max_force_eV_per_A"] = result.max_force
    record["max_stress_deviation_GPa"] = result.max_stress
    record["converged"] = result.converged
    record["steps"] = result.steps
    record["evaluations"] = result.evaluations
    record["seconds"] = round(result.seconds, 3)
    return record


def describe_potential(potential: AlchemicalPotential) -> dict[str, Any]:
    """Return what tells a potential from all others: name, fidelity or head, weights, dtype."""
    return {
        "potential": potential.name,
        "potential_variant": potential.card.variant,
        "potential_sha256": potential.card.sha256,
        "dtype": str(potential.dtype).removeprefix("torch."),
    }


def flat_row(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record as one row of a table, its dictionaries spread over columns."""
    row: dict[str, Any] = {}
    for key, value in record.items():
        if key == "composition":
            row |= {f"x_{label}": weight for label, weight in value.items()}
        elif key == "composition_gradient_eV":
            row |= {f"gradient_{label}_eV": item for label, item in value.items()}
        else:
            row[key] = value
    return row
