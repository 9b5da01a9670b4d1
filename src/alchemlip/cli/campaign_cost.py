"""How ``alchemlip campaign plan --measure`` shows what runs will cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from alchemlip.campaigns.cost import Cost
    from alchemlip.campaigns.table import RunState

MOST_KINDS = 20
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


def cost_record(cost: Cost) -> dict[str, Any]:
    """Return what JSON says of the cost of a run; null where nothing is known."""
    known = cost.seconds is not None
    return {
        "seconds": cost.seconds,
        "seconds_low": cost.low if known else None,
        "seconds_high": cost.high if known else None,
        "seconds_from": cost.basis,
    }


def shown_time(cost: Cost) -> str:
    """Return a time, or the range it is likely to lie in, in fitting units."""
    return "?" if cost.seconds is None else _between(cost.low, cost.high)


def show_costs(costs: Sequence[Cost], states: Sequence[RunState]) -> None:
    """Print what the times of each kind of run rest on, and what is left in all."""
    for basis, count in Counter(cost.basis for cost in costs).most_common(MOST_KINDS):
        typer.echo(f"{count} {'run' if count == 1 else 'runs'}: {basis}.")
    left = [
        cost
        for cost, state in zip(costs, states, strict=True)
        if state.state in ("begun", "stopped", "waiting") and cost.seconds is not None
    ]
    time = _between(sum(cost.low for cost in left), sum(cost.high for cost in left))
    typer.echo(
        f"About {time} of one process with the threads of this one are left, at the speed of some "
        "steps just made; begun runs count as a whole."
    )


def _between(low: float, high: float) -> str:
    unit, size = next((item for item in UNITS if high >= item[1]), UNITS[-1])
    texts = [f"{float(f'{value / size:.2g}'):g}" for value in (low, high)]
    return f"{texts[0] if texts[0] == texts[1] else ' to '.join(texts)} {unit}"
