"""Where a batch of runs takes over: an evaluation inside of one waits for its turn.

A potential asks `waiting_run` before it evaluates; `alchemlip.batching` lets its runs be found.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.evaluation import Evaluation
    from alchemlip.potential.messages import Form
    from alchemlip.potential.neighbours import NeighbourList
    from alchemlip.potential.potential import AlchemicalPotential

# Of this very thread: a thread that a run starts may inherit its context, but not its turn.
_RUN = threading.local()


@dataclass(frozen=True)
class Wanted:
    """What a run asks a potential for, beside the energy."""

    forces: bool
    stress: bool
    composition_gradient: bool
    form: Form | None


class WaitingRun(Protocol):
    """A run that is advanced together with others."""

    def evaluate(
        self,
        potential: AlchemicalPotential,
        mixtures: Sequence[Mixture],
        neighbour_lists: Sequence[NeighbourList] | None,
        wanted: Wanted,
        /,
    ) -> list[Evaluation]:
        """Return evaluations when the batch has made them."""
        ...


def waiting_run() -> WaitingRun | None:
    """Return the run of a batch that this is called from, None outside of any.

    Threads that a run starts are none of the batch: what they evaluate is evaluated at once.
    """
    return getattr(_RUN, "run", None)


def set_waiting_run(run: WaitingRun | None) -> None:
    """Let evaluations of this thread wait for a batch, or no longer."""
    _RUN.run = run
