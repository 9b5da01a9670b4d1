"""Maps of relaxed properties over compositions, with their exact gradients; Pareto fronts.

found = property_map(mixture, potential, [lattice_parameter("a")], points=6)
front = pareto_front(mixture, potential, Goal(a, "minimise"), Goal(b, "maximise"), points=5)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.properties import Property
from alchemlip.crystal.relaxation import RelaxationSettings
from alchemlip.crystal.response import property_values, response
from alchemlip.crystal.scanning import ScanPoint, scan
from alchemlip.design.constraints import CompositionConstraints
from alchemlip.design.design import DesignResult, Goal, Kind, design
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.potential.ensemble import Potential
    from alchemlip.records.results import ResultFolder


@dataclass(frozen=True)
class PropertyMap:
    """Properties over a line or a triangle.

    Attributes:
        labels: (K,) components of the mapped group.
        names: (G,) of the properties.
        x: (P, K) compositions.
        values: (P, G).
        gradients: (P, G, K) total derivatives in the group's composition, raw.
        converged: (P,) whether the relaxations reached their limits.
    """

    labels: tuple[str, ...]
    names: tuple[str, ...]
    x: FloatArray
    values: FloatArray
    gradients: FloatArray
    converged: tuple[bool, ...]

    def along_simplex(self) -> FloatArray:
        """Return the gradients (P, G, K) without their part that leaves the simplex."""
        return np.asarray(self.gradients - self.gradients.mean(axis=-1, keepdims=True))


def property_map(
    mixture: Mixture,
    potential: Potential,
    properties: Sequence[Property],
    group: str | None = None,
    *,
    points: int = 6,
    settings: RelaxationSettings | None = None,
    folder: str | Path | ResultFolder | None = None,
    on_point: Callable[[ScanPoint, int, int], None] | None = None,
) -> PropertyMap:
    """Return properties and their gradients at every composition of a grid.

    Args:
        mixture: whose group of two or three components is mapped.
        potential: in float64, or an ensemble.
        properties: what is mapped.
        group: may be left out if there is one.
        points: along an edge.
        settings: of the relaxations; tight by default, as derivatives need.
        folder: of the scan that the map is made of; one that was stopped goes on.
        on_point: as in `scan`.
    """
    settings = settings or RelaxationSettings(fmax=1e-4, smax=1e-4, keep_symmetry=True)
    name = group or (mixture.groups[0].name if len(mixture.groups) == 1 else None)
    found = scan(
        mixture,
        potential,
        name,
        points=points,
        settings=settings,
        folder=folder,
        on_point=on_point,
    )
    assert name is not None  # scan has refused
    place = mixture.components_of(name)
    responses = [response(point.mixture, potential, properties, settings) for point in found]
    return PropertyMap(
        labels=tuple(mixture.group(name).components),
        names=tuple(item.name for item in properties),
        x=np.array([point.x for point in found]),
        values=np.array([[item.value for item in line] for line in responses]),
        gradients=np.array([[item.gradient[place] for item in line] for line in responses]),
        converged=tuple(bool(point.record["converged"]) for point in found),
    )


@dataclass(frozen=True)
class ParetoPoint:
    """A composition on a front.

    Attributes:
        composition: {component: weight}.
        values: of the first and the second property.
        result: of the design that found it.
    """

    composition: dict[str, float]
    values: tuple[float, float]
    result: DesignResult


def pareto_front(
    mixture: Mixture,
    potential: Potential,
    first: Goal,
    second: Goal,
    constraints: CompositionConstraints | None = None,
    *,
    points: int = 5,
    settings: RelaxationSettings | None = None,
    max_iterations: int = 50,
) -> list[ParetoPoint]:
    """Return the best of one property for values of another between their two extremes.

    Args:
        mixture: the start.
        potential: in float64, or an ensemble.
        first, second: what is minimised or maximised; the extreme of each is sought first, then the
            best ``first`` while ``second`` keeps to limits in between (epsilon constraint).
        constraints: on the composition.
        points: on the front, both extremes included.
        settings: of the relaxations.
        max_iterations: most relaxed compositions for each point.

    Raises:
        InputError: if a goal is neither a minimum nor a maximum, or fewer than two points.
    """
    if any(goal.kind not in ("minimise", "maximise") for goal in (first, second)) or points < 2:
        raise InputError(
            "a Pareto front lies between two minima or maxima: give two such goals and two points "
            "or more"
        )

    def best(goals: Sequence[Goal], start: Mixture) -> ParetoPoint:
        result = design(
            start,
            potential,
            goals,
            constraints,
            settings=settings,
            max_iterations=max_iterations,
        )
        wanted = [first.property, second.property]
        values = property_values(result.mixture, potential, wanted, settings=settings)
        return ParetoPoint(result.composition, (values[0], values[1]), result)

    ends = [best([first], mixture), best([second], mixture)]
    kind: Kind = "at most" if second.kind == "minimise" else "at least"
    front = [ends[0]]
    for limit in np.linspace(ends[0].values[1], ends[1].values[1], points)[1:-1].tolist():
        goals = [first, Goal(second.property, kind, limit, second.tolerance)]
        front.append(best(goals, front[-1].result.mixture))
    return [*front, ends[1]]
