"""The formula that a CIF states, and what its sites add up to."""

from __future__ import annotations

import re
from collections.abc import Mapping

from alchemlip.mixture.species import element_symbol, is_element

_PART = re.compile(r"\s*([A-Z][A-Za-z]?)\s*(\d+\.?\d*|\.\d+)?(?:\(\d+\))?(?=[\s\[\]()]|[A-Z]|$)\s*")
_CLOSE = re.compile(r"\s*[)\]]\s*(\d+\.?\d*|\.\d+)?\s*")


def parse_formula(text: str | None) -> dict[str, float] | None:
    """Return the amounts of a formula such as ``H K0.5 Na0.5 O``; None if it is no plain one.

    Args:
        text: of ``_chemical_formula_sum``; spaces between its parts may be missing.
    """
    if text is None:
        return None
    # Brackets around parts, (Al1.94 Fe0.06)2 or (OH)2, each with what it counts.
    levels: list[dict[str, float]] = [{}]
    position, text = 0, text.strip()
    while position < len(text):
        if text[position] in "([":
            levels.append({})
            position += 1
            continue
        close = _CLOSE.match(text, position)
        if close is not None:
            if len(levels) < 2:
                return None
            inner, times = levels.pop(), float(close.group(1) or 1.0)
            for symbol, amount in inner.items():
                levels[-1][symbol] = levels[-1].get(symbol, 0.0) + times * amount
            position = close.end()
            continue
        match = _PART.match(text, position)
        if match is None:
            return None
        parts = _symbols(match.group(1))
        for symbol in parts[:-1]:
            levels[-1][symbol] = levels[-1].get(symbol, 0.0) + 1.0
        if not parts:
            return None
        amount = float(match.group(2) or 1.0)
        levels[-1][parts[-1]] = levels[-1].get(parts[-1], 0.0) + amount
        position = match.end()
    amounts = {symbol: amount for symbol, amount in levels[0].items() if amount > 0}
    return amounts if amounts and len(levels) == 1 else None


def _symbols(text: str) -> list[str]:
    """Return the elements of letters: Fe, FE of old files, but O and H of OH."""
    if is_element(text):
        return [text]
    if is_element(text.capitalize()):
        return [text.capitalize()]
    return [*text] if text.isupper() and all(map(is_element, text)) else []


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
    """Return amounts times the factor at which most elements agree with another formula.

    Args:
        amounts: of the cell.
        other: of a formula unit.
    """
    total = sum(amounts.values())
    ratios = {other[s] / x for s, x in amounts.items() if x > 0 and other.get(s, 0.0) > 0}
    # All together, where no element is shared; the most abundant element first among equals.
    most = max(amounts, key=lambda s: (amounts[s] if other.get(s) else 0.0, s))
    first = other[most] / amounts[most] if other.get(most) else sum(other.values()) / total
    factors = [first, *sorted(ratios)]
    candidates = [{s: x * factor for s, x in amounts.items()} for factor in factors]
    return min(candidates, key=lambda found: len(differing(found, other)))


def differing(found: Mapping[str, float], stated: Mapping[str, float]) -> list[str]:
    """Return the elements whose amounts differ beyond rounding, both in the stated formula's units.

    A hundredth of the amount or 0.02 of an atom, whichever is more, is rounding.
    """
    result = []
    for symbol in dict.fromkeys([*stated, *found]):
        a, b = found.get(symbol, 0.0), stated.get(symbol, 0.0)
        if abs(a - b) > max(0.02, 0.01 * max(a, b)) + 1e-9 or (min(a, b) == 0 and max(a, b) > 1e-3):
            result.append(symbol)
    return result
