"""Which species a CIF's type symbols and labels name.

A label's first part, up to a digit or sign, is the atom's type where no type symbol says it (CIF
core dictionary). ``HO1`` can then be holmium or a hydrogen of a hydroxide: the formula decides, or
the file is refused.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from alchemlip.errors import InputError
from alchemlip.mixture.species import VACANCY, is_element

_TYPE = re.compile(r"([A-Za-z]+)(?:[\d.]*[+-]?[\d.]*|\(\d*[+-]?\d*\))")
_LETTERS = re.compile(r"[A-Za-z]+")
GROUPS = {
    **dict.fromkeys(("OH", "OH2", "H2O", "HOH", "WAT", "WATER", "OW", "AQ", "H3O"), "O"),
    **dict.fromkeys(("NH", "NH2", "NH3", "NH4"), "N"),
    **dict.fromkeys(("CH", "CH2", "CH3", "CH4"), "C"),
}
"""Groups written in place of a type symbol, and the one atom of them that is not hydrogen."""
DUMMIES = ("X", "XX", "DUM", "DU", "DUMMY", "Q")


@dataclass(frozen=True)
class Named:
    """What a type symbol or label names.

    Attributes:
        symbol: of the species; empty for a dummy atom.
        group: the group of atoms that stood there in place of an element; else empty.
    """

    symbol: str
    group: str = ""


def named_species(
    symbol: str | None, label: str, formula: Mapping[str, float] | None, where: str
) -> Named:
    """Return the species of a row of the atom list.

    Args:
        symbol: its type symbol; None where there is none.
        label: its label.
        formula: the stated one, which decides where two elements are possible.
        where: words for messages, such as ``'Fe1' (block 'a' of 'b.cif', line 12)``.

    Raises:
        InputError: if it is no single element, or could be two.
    """
    text = label if symbol is None else symbol
    if re.match(rf"{VACANCY}c?\d*$", text):
        raise InputError(
            f"{where} lists vacancies ({VACANCY}) as if they were "
            "atoms: leave them out, a vacancy is what the occupancies of a site leave to 1"
        )
    if symbol is None:
        return _of_label(label, formula, where)
    if symbol.upper() in GROUPS or symbol.upper() in DUMMIES:
        return _not_an_element(symbol, formula, where)
    match = _TYPE.fullmatch(symbol)
    letters = match.group(1) if match else ""
    if match is None:
        several = len(set(filter(is_element, re.findall(r"[A-Z][a-z]?", symbol)))) > 1
        raise InputError(
            f"{where} has the type symbol {symbol!r}, which "
            + ("is several species" if several else "names no element")
            + ": write one row for each species, with its occupancy"
        )
    if is_element(letters):
        return Named(_tritium_or_site(letters, formula, where))
    if letters.upper() in GROUPS or letters.upper() in DUMMIES:
        return _not_an_element(letters, formula, where)
    return Named(_of_capitals(letters, formula, where))


def _of_label(label: str, formula: Mapping[str, float] | None, where: str) -> Named:
    match = _LETTERS.match(label)
    letters = match.group() if match else ""
    if letters[:3] == "Wat" and letters[3:4] in ("O", "H", "D"):
        return Named(letters[3])  # WatOW, WatH of a mineral database
    readings = _readings(letters)
    water = letters.upper() in ("WAT", "WATER")
    if water or (not readings and letters.upper() in DUMMIES):
        return _not_an_element(letters, formula, where)
    return Named(_one_of(letters, readings, formula, where))


def _of_capitals(letters: str, formula: Mapping[str, float] | None, where: str) -> str:
    """Return the element of a type symbol that is none as it is written: FE, fe; CO can be two."""
    symbol = letters.capitalize()
    pair = set(letters.upper())
    if not is_element(symbol):
        raise InputError(
            f"{where} has the type symbol {letters!r}, which names no element: write the element, "
            "or a row for each element on the site, with its occupancy"
        )
    if not (letters.isupper() and len(letters) == 2 and all(map(is_element, pair))):
        return symbol
    if formula is not None and symbol in formula and not pair <= set(formula):
        return symbol
    raise InputError(
        f"{where} has the type symbol {letters!r}, which can be {symbol} or {' and '.join(letters)}"
        f": write {symbol}, or a row for each element"
    )


def _readings(letters: str) -> list[str]:
    """Return the elements that the letters of a label can name, the plainest first.

    More letters may stand behind an element: HO1, CA, Oap.
    """
    two, one = letters[:2].capitalize(), letters[:1].upper()
    return [symbol for symbol in dict.fromkeys((two, one)) if is_element(symbol)]


def _one_of(
    letters: str,
    readings: list[str],
    formula: Mapping[str, float] | None,
    where: str,
) -> str:
    """Return the one reading that fits the formula, or is exactly what is written."""
    present = [symbol for symbol in readings if formula is None or symbol in formula]
    # Fe, and Si of SiT, but Ca of Cab can be C.
    whole = letters[:2] if not letters[2:].islower() else letters
    exact = [symbol for symbol in readings if symbol == whole]
    if len(present) == 1:
        return present[0]
    if exact and (formula is None or exact[0] in formula or not present):
        return _tritium_or_site(exact[0], formula, where)
    if not readings:
        raise InputError(
            f"{where} names no element ({letters or 'no letter'!r}): give it a type symbol "
            "(_atom_site_type_symbol) such as Fe"
        )
    if len(readings) == 1 and formula is None:
        return readings[0]
    raise InputError(
        f"the label of {where} can be {' or '.join(readings)}, and "
        + ("there is no formula to tell" if formula is None else "the formula does not tell")
        + ": write the element as its type symbol (_atom_site_type_symbol)"
    )


def _tritium_or_site(symbol: str, formula: Mapping[str, float] | None, where: str) -> str:
    """Return a symbol; T is tritium only where the formula has it, or says nothing."""
    if symbol == "T" and formula is not None and not {"T", "H", "D"} & set(formula):
        raise InputError(
            f"{where} is T, tritium, which the formula does not have: if T stands for tetrahedral "
            "sites, write a row for each element on them, with its occupancy"
        )
    return symbol


def _not_an_element(text: str, formula: Mapping[str, float] | None, where: str) -> Named:
    upper = text.upper()
    if upper in DUMMIES:
        return Named("", text)
    symbol = GROUPS[upper]
    if formula is not None and symbol not in formula:
        raise InputError(
            f"{where} is {text!r}, but the formula has no {symbol}: write the element as its type "
            "symbol (_atom_site_type_symbol)"
        )
    return Named(symbol, text)
