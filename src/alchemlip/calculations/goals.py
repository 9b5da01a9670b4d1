"""Goals and constraints of a design, from the texts of settings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.design.constraints import CompositionConstraints
    from alchemlip.design.design import Goal, Kind
    from alchemlip.mixture.mixture import Mixture


def goals_of(
    target: Sequence[str],
    minimise: Sequence[str],
    maximise: Sequence[str],
    at_most: Sequence[str],
    at_least: Sequence[str],
) -> list[Goal]:
    """Return the goals that texts such as ``a=5.6~0.01`` set.

    Args:
        target, at_most, at_least: PROPERTY=VALUE, perhaps with ~TOLERANCE.
        minimise, maximise: PROPERTY.

    Raises:
        InputError: if a text cannot be read, or the goals contradict each other.
    """
    from alchemlip.crystal.property_names import property_of
    from alchemlip.design.design import Goal, check_goals

    goals = [Goal(property_of(name), "minimise") for name in minimise]
    goals += [Goal(property_of(name), "maximise") for name in maximise]
    kinds: tuple[tuple[Kind, str, Sequence[str]], ...] = (
        ("target", "--target", target),
        ("at most", "--at-most", at_most),
        ("at least", "--at-least", at_least),
    )
    for kind, option, texts in kinds:
        for text in texts:
            name, _, rest = text.partition("=")
            value, tilde, tolerance = rest.partition("~")
            try:
                numbers = _finite(value), _finite(tolerance) if tilde else 1e-3
            except ValueError as error:
                raise InputError(
                    f"cannot read {option} {text!r}: write for example {option} a=5.6 or a=5.6~0.01"
                ) from error
            goals.append(Goal(property_of(name.strip()), kind, numbers[0], numbers[1]))
    if not goals:
        raise InputError("a design needs a goal: give --target, --minimise or --maximise")
    check_goals(goals)
    return goals


def constraints_of(
    mixture: Mixture, bound: Sequence[str], relation: Sequence[str], charge: Sequence[str]
) -> CompositionConstraints:
    """Return the constraints that texts set.

    Args:
        mixture: whose composition they bind.
        bound: GROUP:SPECIES=LOW:HIGH. relation: linear ones. charge: ELEMENT=STATE.

    Raises:
        InputError: if a text cannot be read.
    """
    from alchemlip.design.constraints import CompositionConstraints

    constraints = CompositionConstraints(mixture)
    for text in bound:
        label, _, limits = text.partition("=")
        low, _, high = limits.partition(":")
        try:
            constraints = constraints.bounded(label.strip(), _finite(low), _finite(high or low))
        except ValueError as error:
            raise InputError(
                f"cannot read --bound {text!r}: write for example --bound Ce:Zr=0:0.5"
            ) from error
    for text in relation:
        constraints = constraints.related(text)
    if charge:
        states = {}
        for text in charge:
            element, _, state = text.partition("=")
            try:
                states[element.strip()] = _finite(state)
            except ValueError as error:
                raise InputError(
                    f"cannot read --charge {text!r}: write for example --charge Ce=4"
                ) from error
        constraints = constraints.charge_balanced(states)
    return constraints


def _finite(text: str) -> float:
    """Return a number.

    Raises:
        ValueError: if it is none, or not finite.
    """
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value
