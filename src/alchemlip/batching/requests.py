"""What runs of a batch ask potentials for, and the passes that answer it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from alchemlip.potential.turns import Wanted

if TYPE_CHECKING:
    from alchemlip.batching.memory import PassSize
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.evaluation import Evaluation
    from alchemlip.potential.neighbours import NeighbourList
    from alchemlip.potential.potential import AlchemicalPotential


@dataclass
class Request:
    """An evaluation that a run waits for."""

    potential: AlchemicalPotential
    mixtures: Sequence[Mixture]
    neighbour_lists: Sequence[NeighbourList] | None
    wanted: Wanted
    answers: list[Evaluation | None] = field(default_factory=list)
    error: BaseException | None = None


def answer(requests: Sequence[Request], size: PassSize) -> None:
    """Evaluate requests of one potential in as few passes as memory allows."""
    potential = size.potential
    items = [
        (request, index, mixture)
        for request in requests
        for index, mixture in enumerate(request.mixtures)
    ]
    wanted = Wanted(
        requests[0].wanted.forces,
        any(request.wanted.stress for request in requests),
        any(request.wanted.composition_gradient for request in requests),
        requests[0].wanted.form,
    )

    def one_pass(first: int, last: int) -> list[Evaluation]:
        part = items[first:last]
        return potential.evaluate(
            [mixture for _, _, mixture in part],
            neighbour_lists=[
                potential.neighbour_list(0.0)
                if request.neighbour_lists is None
                else request.neighbour_lists[index]
                for request, index, _ in part
            ],
            forces=wanted.forces,
            stress=wanted.stress,
            composition_gradient=wanted.composition_gradient,
            form=wanted.form,
        )

    found = size.in_passes([mixture for _, _, mixture in items], one_pass)
    for request in requests:
        request.answers = []
    for (request, _, _), result in zip(items, found, strict=True):
        request.answers.append(_only(result, request.wanted))


def _only(result: Evaluation, wanted: Wanted) -> Evaluation:
    """Return a result without what other requests of the pass had asked for."""
    if not wanted.stress:
        result = replace(result, stress=None)
    if not wanted.composition_gradient:
        result = replace(result, composition_gradient=None, short_range_gradient=None)
    return result
