"""From an optimum to a structure that can exist: whole atoms in a supercell, relaxed again.

check = check_design(result.mixture, potential, properties, (3, 3, 2), rng)
check.predicted, check.obtained, check.composition
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from alchemlip.errors import InputError
from alchemlip.mixture import Mixture
from alchemlip.properties import Property
from alchemlip.relaxation import RelaxationSettings, relax

if TYPE_CHECKING:
    from alchemlip.ensemble import Potential

Repeats = tuple[int, int, int]


@dataclass(frozen=True)
class DesignCheck:
    """A designed crystal with whole atoms.

    Attributes:
        structure: the relaxed supercell.
        composition: {component: weight} that the supercell could hold.
        predicted: {property: value} of the mixed cell at that composition, relaxed.
        obtained: {property: value} of the supercell, per unit cell.
        converged: whether the supercell's relaxation reached its limits.
    """

    structure: Mixture
    composition: dict[str, float]
    predicted: dict[str, float]
    obtained: dict[str, float]
    converged: bool


def rounded(mixture: Mixture, repeats: Repeats) -> Mixture:
    """Return a mixture at the nearest composition that a supercell holds in whole atoms.

    Every group is rounded by largest remainders.
    """
    parts = int(np.prod(repeats))
    nearest = {}
    for group in mixture.groups:
        total = len(group.sites) * parts
        wanted = group.composition * total
        counts = np.floor(wanted + 1e-9).astype(int)
        missing = total - int(counts.sum())
        order = np.argsort(-(wanted - counts), kind="stable")
        counts[order[:missing]] += 1
        nearest[group.name] = counts / total
    return mixture.with_compositions(nearest)


def check_design(
    mixture: Mixture,
    potential: Potential,
    properties: Sequence[Property],
    repeats: Repeats,
    rng: np.random.Generator,
    *,
    kind: Literal["random", "sqs"] = "random",
    settings: RelaxationSettings | None = None,
    supercell_settings: RelaxationSettings | None = None,
) -> DesignCheck:
    """Fill a supercell with whole atoms, relax it, and compare its properties.

    Args:
        mixture: the optimum, relaxed.
        potential: the same as in the design.
        properties: to compare.
        repeats: of the supercell.
        rng: places the atoms, or seeds icet.
        kind: ``random``, or ``sqs`` by icet (one group).
        settings: of the mixed cell's relaxation, as in the design.
        supercell_settings: of the supercell's; by default the same free strains, without symmetry,
            to 0.01 eV/A and 0.01 GPa.

    Raises:
        InputError: if icet is missing, or several groups are to be an SQS.
    """
    from alchemlip.disorder.explicit import random_supercell, sqs_supercell
    from alchemlip.response import property_values

    if min(repeats) < 1:
        raise InputError(f"a supercell of {repeats} parts is none: give three positive numbers")
    settings = settings or RelaxationSettings(fmax=1e-4, smax=1e-4, keep_symmetry=True)
    if supercell_settings is None:
        loose = {"fmax": 0.01, "smax": 0.01, "keep_symmetry": False, "max_steps": 1000}
        supercell_settings = settings.model_copy(update=loose)
    near = relax(rounded(mixture, repeats), potential, settings)
    names = [item.name for item in properties]
    predicted = property_values(near.mixture, potential, properties)
    # A group at a corner of its simplex is not disordered.
    mixed = tuple(group for group in near.mixture.groups if group.composition.max() < 1.0)
    pure = [group for group in near.mixture.groups if group.composition.max() == 1.0]
    numbers = near.mixture.numbers.copy()
    for group in pure:
        numbers[group.sites] = group.species[:, int(group.composition.argmax())]
    cell = replace(near.mixture, numbers=numbers, groups=mixed)
    if not mixed:
        filled = cell.repeat(repeats)
    elif kind == "random":
        filled = random_supercell(cell, repeats, rng)
    else:
        filled = sqs_supercell(cell, repeats, int(rng.integers(2**31)))
    run = relax(filled, potential, supercell_settings)
    obtained = property_values(run.mixture, potential, properties, repeats)
    return DesignCheck(
        structure=run.mixture,
        composition=dict(
            zip(near.mixture.component_labels, near.mixture.composition.tolist(), strict=True)
        ),
        predicted=dict(zip(names, predicted, strict=True)),
        obtained=dict(zip(names, obtained, strict=True)),
        converged=run.converged and near.converged,
    )
