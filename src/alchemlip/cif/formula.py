"""The formula that a CIF states, and what its sites add up to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from alchemlip.species import element_symbol, is_element

_PART = re.compile(r"\s*([A-Z][A-Za-z]?)\s*(\d+\.?\d*|\.\d+)?(?:\(\d*\))?(?=\s|[A-Z]|$)")


def parse_formula(text: str | None) -> dict[str, float] | None:
    """Return the amounts of a formula such as ``H K0.5 Na0.5 O``; None if it is no plain one.

    Args:
        text: of ``_chemical_formula_sum``; spaces between its parts may be missing.
    """
    if text is None:
        return None
    amounts: dict[str, float] = {}
    position, text = 0, text.strip()
    while position < len(text):
        match = _PART.match(text, position)
        if match is None:
            return None
        symbol = match.group(1)
        if not is_element(symbol):
            symbol = symbol.capitalize()
            # Old files are in capitals: FE2 O3, but OH is oxygen and hydrogen.
            if not is_element(symbol):
                return None
        amounts[symbol] = amounts.get(symbol, 0.0) + float(match.group(2) or 1.0)
        position = match.end()
    return {symbol: amount for symbol, amount in amounts.items() if amount > 0} or None


def hydrogen_together(amounts: Mapping[str, float]) -> dict[str, float]:
    """Return amounts of elements: formulas often do not tell D and T from hydrogen."""
    result: dict[str, float] = {}
    for symbol, amount in amounts.items():
        name = element_symbol(symbol)
        result[name] = result.get(name, 0.0) + amount
    return result


def written(amounts: Mapping[str, float]) -> str:
    """Return amounts as a formula, C and H first and the others by name (Hill)."""
    order = sorted(amounts, key=lambda symbol: ({"C": 0, "H": 1, "D": 2}.get(symbol, 3), symbol))
    return " ".join(
        symbol if abs(amounts[symbol] - 1) < 5e-5 else f"{symbol}{amounts[symbol]:.4g}"
        for symbol in order
        if amounts[symbol] > 0
    )


def scaled(amounts: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    """Return amounts times one factor, such that the elements shared with another formula agree.

    The factor is the median over shared elements but hydrogen (if there are others), weighted by
    amount, so that one wrong element does not move it.
    """
    shared = [symbol for symbol in amounts if other.get(symbol, 0) > 0 and amounts[symbol] > 0]
    heavy = [symbol for symbol in shared if symbol != "H"] or shared
    if not heavy:
        total = sum(amounts.values())
        return {symbol: x * sum(other.values()) / total for symbol, x in amounts.items()}
    ratios = sorted((other[symbol] / amounts[symbol], other[symbol]) for symbol in heavy)
    half, passed = 0.5 * sum(weight for _, weight in ratios), 0.0
    for ratio, weight in ratios:
        passed += weight
        if passed >= half:
            return {symbol: amount * ratio for symbol, amount in amounts.items()}
    raise AssertionError("the weights of ratios sum to more than half of themselves")


def differing(found: Mapping[str, float], stated: Mapping[str, float]) -> list[str]:
    """Return the elements whose amounts differ beyond rounding, both in the stated formula's units.

    A hundredth of the amount or 0.02 of an atom, whichever is more, is rounding.
    """
    result = []
    for symbol in dict.fromkeys([*stated, *found]):
        a, b = found.get(symbol, 0.0), stated.get(symbol, 0.0)
        if abs(a - b) > max(0.02, 0.01 * max(a, b)) or (min(a, b) == 0 and max(a, b) > 1e-3):
            result.append(symbol)
    return result
