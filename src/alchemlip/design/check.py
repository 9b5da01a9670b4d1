"""From an optimum to a structure that can exist: whole atoms in a supercell, relaxed again.

check = check_design(result.mixture, potential, properties, (3, 3, 2), rng, constraints=limits)
check.predicted, check.obtained, check.composition
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from alchemlip.arrays import IntArray
from alchemlip.crystal.properties import Property
from alchemlip.crystal.relaxation import RelaxationSettings, relax
from alchemlip.design.constraints import CompositionConstraints
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.potential.ensemble import Potential

Repeats = tuple[int, int, int]
WHOLE = 1e-9
"""Violation of a constraint by whole atoms that counts as none."""
MOST_CELLS = 256
"""Of the supercells among which one that meets the constraints is looked for."""


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


def rounded(
    mixture: Mixture, repeats: Repeats, constraints: CompositionConstraints | None = None
) -> Mixture:
    """Return a mixture at the nearest composition that a supercell holds in whole atoms.

    All groups are rounded at once: the fewest sites differ from the composition asked for, under
    the constraints. Without any, every group is rounded by largest remainders.

    Raises:
        InputError: if the supercell holds no composition that meets the constraints, naming the
            smallest one that does.
    """
    parts = int(np.prod(repeats))
    counts = _largest_remainders(mixture, parts)
    if constraints is not None and not _meets(constraints, mixture, parts, counts):
        found = _nearest_counts(mixture, parts, constraints)
        if found is None:
            raise InputError(_none_held(mixture, repeats, constraints))
        counts = found
    return mixture.with_compositions(
        {
            group.name: counts[mixture.components_of(group.name)] / (len(group.sites) * parts)
            for group in mixture.groups
        }
    )


def _sites(mixture: Mixture, parts: int) -> IntArray:
    """Return (K,) the sites in a supercell of each component's group."""
    return np.concatenate(
        [np.full(len(group.components), len(group.sites) * parts) for group in mixture.groups]
    )


def _largest_remainders(mixture: Mixture, parts: int) -> IntArray:
    found = []
    for group in mixture.groups:
        total = len(group.sites) * parts
        wanted = group.composition * total
        counts = np.floor(wanted + 1e-9).astype(np.int64)
        missing = total - int(counts.sum())
        order = np.argsort(-(wanted - counts), kind="stable")
        counts[order[:missing]] += 1
        found.append(counts)
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _meets(
    constraints: CompositionConstraints, mixture: Mixture, parts: int, counts: IntArray
) -> bool:
    return constraints.violation(counts / _sites(mixture, parts)) <= WHOLE


def _nearest_counts(
    mixture: Mixture, parts: int, constraints: CompositionConstraints
) -> IntArray | None:
    """Return the counts (K,) that meet the constraints at the least sum of |n - wanted|, or None.

    A mixed-integer linear program over (n, d) with d >= |n - wanted|.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp

    sites = _sites(mixture, parts)
    wanted = mixture.composition * sites
    size = len(sites)
    unit, none = np.eye(size), np.zeros(size)
    rows = [
        LinearConstraint(np.hstack([unit, -unit]), -np.inf, wanted),
        LinearConstraint(np.hstack([unit, unit]), wanted, np.inf),
    ]
    for group in mixture.groups:
        own = none.copy()
        own[mixture.components_of(group.name)] = 1.0
        total = len(group.sites) * parts
        rows.append(LinearConstraint(np.hstack([own, none]), total, total))
    for item in constraints.linear:
        low = -np.inf if item.sense == "<=" else item.bound - WHOLE
        high = np.inf if item.sense == ">=" else item.bound + WHOLE
        rows.append(LinearConstraint(np.hstack([item.coefficients / sites, none]), low, high))
    found = milp(
        np.concatenate([none, np.ones(size)]),
        integrality=np.concatenate([np.ones(size), none]),
        bounds=Bounds(0.0, np.concatenate([sites, np.full(size, np.inf)])),
        constraints=rows,
    )
    if found.x is None:
        return None
    counts = np.rint(found.x[:size]).astype(np.int64)
    # The solver's own tolerance is wider than ours.
    return counts if _meets(constraints, mixture, parts, counts) else None


def _none_held(mixture: Mixture, repeats: Repeats, constraints: CompositionConstraints) -> str:
    """Say that a supercell holds no composition of the constraints, and which one does."""
    shown = ",".join(str(count) for count in repeats)
    named = "; ".join(item.name for item in constraints.linear)
    said = f"the supercell {shown} holds no whole atoms that meet the constraints ({named})"
    for parts in range(1, MOST_CELLS + 1):
        if _nearest_counts(mixture, parts, constraints) is not None:
            smallest = ",".join(str(count) for count in _compact(mixture, parts))
            return f"{said}: the smallest that does has {parts} cells, such as {smallest}"
    return f"{said}, and none of up to {MOST_CELLS} cells does: loosen the constraints"


def _compact(mixture: Mixture, parts: int) -> Repeats:
    """Return the repeats of so many cells whose three lengths differ least."""
    lengths = np.linalg.norm(mixture.cell, axis=1)
    choices = [
        (a, b, parts // (a * b))
        for a in range(1, parts + 1)
        for b in range(1, parts // a + 1)
        if parts % (a * b) == 0
    ]
    return min(choices, key=lambda item: float(np.ptp(np.log(lengths * np.array(item)))))


def check_design(
    mixture: Mixture,
    potential: Potential,
    properties: Sequence[Property],
    repeats: Repeats,
    rng: np.random.Generator,
    *,
    constraints: CompositionConstraints | None = None,
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
        constraints: on the composition, which whole atoms must meet, too; as in the design.
        kind: ``random``, or ``sqs`` by icet (one group).
        settings: of the mixed cell's relaxation, as in the design.
        supercell_settings: of the supercell's; by default the same free strains, without symmetry,
            to 0.01 eV/A and 0.01 GPa.

    Raises:
        InputError: if icet is missing, several groups are to be an SQS, or the supercell holds no
            composition that meets the constraints.
    """
    from alchemlip.crystal.response import property_values
    from alchemlip.disorder.explicit import random_supercell, sqs_supercell

    if min(repeats) < 1:
        raise InputError(f"a supercell of {repeats} parts is none: give three positive numbers")
    settings = settings or RelaxationSettings(fmax=1e-4, smax=1e-4, keep_symmetry=True)
    if supercell_settings is None:
        loose = {"fmax": 0.01, "smax": 0.01, "keep_symmetry": False, "max_steps": 1000}
        supercell_settings = settings.model_copy(update=loose)
    near = relax(rounded(mixture, repeats, constraints), potential, settings)
    names = [item.name for item in properties]
    predicted = property_values(near.mixture, potential, properties, settings=settings)
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
    obtained = property_values(run.mixture, potential, properties, repeats, supercell_settings)
    return DesignCheck(
        structure=run.mixture,
        composition=dict(
            zip(near.mixture.component_labels, near.mixture.composition.tolist(), strict=True)
        ),
        predicted=dict(zip(names, predicted, strict=True)),
        obtained=dict(zip(names, obtained, strict=True)),
        converged=run.converged and near.converged,
    )
