"""Chemical species as text and as numbers, and compositions written as formulas.

A species is a chemical element, an isotope or the vacancy ``Va``. Inside arrays an element is its
atomic number, and the vacancy is 0 (the number that ASE gives its dummy atom ``X``). An isotope,
``D``, ``T`` or an element at any mass such as ``Li[6.015]``, is the atomic number plus `ISOTOPE`
times the mass in 1e-6 amu: a potential sees the element (`element_number`), dynamics and free
energies the mass.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import cache

import numpy as np
import numpy.typing as npt

from alchemlip.errors import InputError

VACANCY = "Va"
VACANCY_NUMBER = 0
SUM_TOLERANCE = 1e-6
"""Largest distance from 1 at which the weights of a composition still count as summing to 1."""

ISOTOPE = 1000
HYDROGEN_MASSES = {"D": 2.014102, "T": 3.016049}
"""In amu (AME2020, M. Wang et al., Chin. Phys. C 45, 030003), of the isotopes with symbols."""
SAME_MASS = 1e-3
"""Masses that differ by less, in amu, are not told apart: tables differ by as much."""

_ISOTOPE = re.compile(r"([A-Z][a-z]?)\[(\d+\.?\d*)\]")
_TERM = re.compile(r"([A-Z][a-z]?(?:\[[\d.]+\])?)([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)?")


@cache
def _elements() -> dict[str, int]:
    from ase.data import atomic_numbers

    return {str(symbol): int(number) for symbol, number in atomic_numbers.items() if symbol != "X"}


def is_element(symbol: str) -> bool:
    """Whether a text is the symbol of an element, D and T included, as it is written."""
    return symbol in HYDROGEN_MASSES or symbol in _elements()


def species_number(symbol: str) -> int:
    """Return the number of a species; 0 for the vacancy (``Va`` or ASE's ``X``).

    Raises:
        InputError: if the symbol is no element.
    """
    if symbol in (VACANCY, "X"):
        return VACANCY_NUMBER
    if symbol in HYDROGEN_MASSES:
        return isotope_number(1, HYDROGEN_MASSES[symbol])
    number = _elements().get(symbol)
    match = _ISOTOPE.fullmatch(symbol) if number is None else None
    if match is not None and match.group(1) in _elements() and 0 < float(match.group(2)) < 1e4:
        return isotope_number(_elements()[match.group(1)], float(match.group(2)))
    if number is None:
        raise InputError(
            f"unknown species {symbol!r}{meant_element(symbol)}: write an element symbol such "
            f"as Ce, or {VACANCY} for a vacancy"
        )
    return number


def isotope_number(element: int, mass: float) -> int:
    """Return the species of an element with a mass in amu; the element itself at its own mass."""
    if abs(mass - species_mass(element)) < SAME_MASS:
        return element
    known = [m for m in HYDROGEN_MASSES.values() if element == 1 and abs(mass - m) < SAME_MASS]
    return element + ISOTOPE * round(1e6 * (known[0] if known else mass))


def element_number(species: int) -> int:
    """Return the atomic number of a species; 0 for the vacancy."""
    return species % ISOTOPE


def element_numbers(species: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the atomic numbers of an array of species, whatever its shape."""
    return species % ISOTOPE


def meant_element(text: str) -> str:
    """Return ``(did you mean Ce?)`` for ``ce``, and nothing for what is no element at all."""
    symbol = text.capitalize()
    return f" (did you mean {symbol}?)" if symbol != text and symbol in _elements() else ""


def species_symbol(number: int) -> str:
    """Return the symbol of a species; ``Va`` for 0."""
    if number == VACANCY_NUMBER:
        return VACANCY
    from ase.data import chemical_symbols

    element, mass = str(chemical_symbols[number % ISOTOPE]), number // ISOTOPE
    if not mass:
        return element
    for symbol, value in HYDROGEN_MASSES.items():
        if number == 1 + ISOTOPE * round(1e6 * value):
            return symbol
    return f"{element}[{mass / 1e6:.6f}]"


def element_symbol(symbol: str) -> str:
    """Return the element of a species' symbol: H for D; the vacancy stays."""
    return species_symbol(element_number(species_number(symbol)))


def species_mass(number: int) -> float:
    """Return the mass in amu, an element's standard one; 0 for the vacancy."""
    if number >= ISOTOPE:
        return number // ISOTOPE / 1e6
    from ase.data import atomic_masses

    return 0.0 if number == VACANCY_NUMBER else float(atomic_masses[number])


def check_weights(
    weights: Mapping[str, float], where: str, normalise: bool = False
) -> dict[str, float]:
    """Return the weights of a composition, checked to lie on the simplex.

    Args:
        weights: one weight per component label.
        where: what the composition belongs to, for the error message.
        normalise: divide by the sum instead of demanding that it is 1.

    Returns:
        The weights; a sum that is 1 within ``SUM_TOLERANCE`` is made exact.

    Raises:
        InputError: if a weight is negative or not finite, or the sum is not 1.
    """
    if not weights:
        raise InputError(
            f"empty composition for {where}: give at least one species, such as Ce0.7Zr0.3"
        )
    for label, weight in weights.items():
        if not math.isfinite(weight):
            raise InputError(f"the weight of {label} in {where} is {weight}: give a finite number")
        if weight < 0:
            raise InputError(
                f"the weight of {label} in {where} is negative ({weight:g}): weights are "
                "probabilities, from 0 to 1"
            )
    total = sum(weights.values())
    if not math.isfinite(total):
        raise InputError(f"the weights of {where} are too large to be summed: give numbers near 1")
    if total <= 0:
        raise InputError(f"all weights of {where} are zero: give at least one species a weight")
    if abs(total - 1.0) > SUM_TOLERANCE and not normalise:
        raise InputError(
            f"the weights of {where} sum to {total:.8g}, not 1: correct them, or ask for "
            "normalisation (normalise=True, --normalise)"
        )
    if abs(total - 1.0) > 1e-12:
        return {label: weight / total for label, weight in weights.items()}
    return {label: float(weight) for label, weight in weights.items()}


def parse_composition(formula: str, normalise: bool = False) -> dict[str, float]:
    """Read a composition written as a formula, such as ``Ce0.7Zr0.3`` or ``Cl0.95Va0.05``.

    Args:
        formula: element symbols and ``Va``, each followed by its weight (1 where left out).
        normalise: divide by the sum, so that ``CePrZr2`` is accepted.

    Returns:
        The weight of each species, in the order of the formula.

    Raises:
        InputError: if the text is no formula, names an unknown or repeated species, or its weights
            are negative or do not sum to 1.
    """
    text = formula.strip()
    weights: dict[str, float] = {}
    position = 0
    while position < len(text):
        match = _TERM.match(text, position)
        if match is None:
            raise InputError(
                f"cannot read the composition {formula!r} at {text[position:]!r}: write each "
                "element with its capital letter and its weight behind it, such as Ce0.7Zr0.3"
            )
        symbol, weight = match.group(1), match.group(2)
        if species_number(symbol) == VACANCY_NUMBER:
            symbol = VACANCY
        if symbol in weights:
            raise InputError(
                f"{symbol} occurs twice in the composition {formula!r}: name each species once"
            )
        weights[symbol] = float(weight) if weight else 1.0
        position = match.end()
    return check_weights(weights, f"the composition {formula!r}", normalise)


def format_composition(weights: Mapping[str, float]) -> str:
    """Write a composition as a formula that ``parse_composition`` reads back exactly."""
    return "".join(f"{symbol}{float(weight)!r}" for symbol, weight in weights.items())


def parse_species(text: str) -> list[str]:
    """Read a comma-separated list of species, such as ``Ce,Zr,Va``.

    Raises:
        InputError: if a species is unknown or repeated, or the list is empty.
    """
    symbols = [part.strip() for part in text.split(",") if part.strip()]
    if not symbols:
        raise InputError(f"no species in {text!r}: write for example Ce,Zr")
    symbols = [species_symbol(species_number(symbol)) for symbol in symbols]
    if len(set(symbols)) != len(symbols):
        raise InputError(f"a species occurs twice in {text!r}: name each species once")
    return symbols
