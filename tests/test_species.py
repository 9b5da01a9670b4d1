"""Species and formulas: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from ase.data import chemical_symbols
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alchemlip.errors import InputError
from alchemlip.mixture.species import (
    VACANCY,
    check_weights,
    format_composition,
    parse_composition,
    parse_species,
    species_mass,
    species_number,
    species_symbol,
)

patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine an example may take long; that is no failure."""

SYMBOLS = [*chemical_symbols[1:], VACANCY]

raw_weights = st.dictionaries(
    st.sampled_from(SYMBOLS), st.floats(0.0, 1e6), min_size=1, max_size=8
).filter(lambda weights: sum(weights.values()) > 0)


@st.composite
def compositions(draw: st.DrawFn) -> dict[str, float]:
    return check_weights(draw(raw_weights), "a test", normalise=True)


almost_formulas = st.text("CeZrVaXO0123456789.+-eE ,", max_size=16)


@patient
@given(compositions())
@example({"Ce": 1 / 3, "Zr": 2 / 3})
@example({"Ce": 1.0, "Va": 0.0})
@example({"Ce": 1.0, "Es": 1e-320})
def test_a_formula_reads_back_exactly(weights: dict[str, float]) -> None:
    read = parse_composition(format_composition(weights))
    assert read == weights
    assert list(read) == list(weights)


@patient
@given(raw_weights)
def test_normalising_keeps_the_ratios(weights: dict[str, float]) -> None:
    read = parse_composition(format_composition(weights), normalise=True)
    total = sum(weights.values())
    assert sum(read.values()) == pytest.approx(1.0, abs=1e-12)
    for symbol, weight in weights.items():
        assert read[symbol] == pytest.approx(weight / total, abs=1e-12)


@patient
@given(compositions(), st.floats(1.1e-6, 10.0), st.booleans())
def test_a_sum_that_is_not_1_is_refused(
    weights: dict[str, float], excess: float, above: bool
) -> None:
    factor = 1 + excess if above else 1 / (1 + excess)
    scaled = {symbol: weight * factor for symbol, weight in weights.items()}
    with pytest.raises(InputError, match=r"sum to .*, not 1: .*--normalise"):
        parse_composition(format_composition(scaled))


@patient
@given(compositions(), st.floats(-9e-7, 9e-7))
def test_a_sum_within_the_tolerance_is_made_exact(weights: dict[str, float], excess: float) -> None:
    scaled = {symbol: weight * (1 + excess) for symbol, weight in weights.items()}
    assert math.fsum(check_weights(scaled, "a test").values()) == pytest.approx(1.0, abs=2e-12)


def accepted(read: Callable[[], Any]) -> Any:
    """Return what is read, or None where the text is refused in one line."""
    refusal = None
    try:
        return read()
    except InputError as error:
        refusal = str(error)
    assert refusal
    assert "\n" not in refusal
    return None


@patient
@given(st.one_of(st.text(max_size=20), almost_formulas), st.booleans())
@example("Ce1e308Zr1e308", True)
@example("Ce1e308Zr1e308", False)
@example("Ce1e999", True)
@example("Ce0.5\nZr0.5", False)
@example("Ce٠.٥Zr٠.٥", False)
def test_any_text_is_a_composition_or_an_input_error(text: str, normalise: bool) -> None:
    weights = accepted(lambda: parse_composition(text, normalise))
    if weights is not None:
        assert set(weights) <= {*SYMBOLS, "D", "T"}
        assert min(weights.values()) >= 0
        assert math.fsum(weights.values()) == pytest.approx(1.0, abs=2e-12)


@patient
@given(st.one_of(st.text(max_size=20), almost_formulas))
def test_any_text_is_a_species_list_or_an_input_error(text: str) -> None:
    species = accepted(lambda: parse_species(text))
    if species is not None:
        assert 0 < len(species) == len(set(species))
        assert set(species) <= {*SYMBOLS, "D", "T"}


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("Ce0.7Zr0.3", {"Ce": 0.7, "Zr": 0.3}),
        ("Zr0.3Ce0.7", {"Zr": 0.3, "Ce": 0.7}),
        (" Ce ", {"Ce": 1.0}),
        ("Cl.95Va.05", {"Cl": 0.95, "Va": 0.05}),
        ("Cl0.95X0.05", {"Cl": 0.95, "Va": 0.05}),
        ("C0.5O5e-1", {"C": 0.5, "O": 0.5}),
        ("Co0.5O0.5", {"Co": 0.5, "O": 0.5}),
        ("Na+1K0", {"Na": 1.0, "K": 0.0}),
    ],
)
def test_formulas(formula: str, expected: dict[str, float]) -> None:
    read = parse_composition(formula)
    assert read == expected
    assert list(read) == list(expected)


def test_normalising_a_formula_without_weights() -> None:
    assert parse_composition("CePrZr2", normalise=True) == {"Ce": 0.25, "Pr": 0.25, "Zr": 0.5}


@pytest.mark.parametrize(
    ("formula", "words"),
    [
        ("", "empty composition"),
        ("   ", "empty composition"),
        ("Qq0.5Ce0.5", "unknown species 'Qq'"),
        ("Ce0.7zr0.3", "cannot read the composition .* at 'zr0.3'"),
        ("Ce0.7 Zr0.3", "cannot read the composition"),
        ("0.7Ce", "cannot read the composition"),
        ("Ce0.5Ce0.5", "Ce occurs twice"),
        ("Va0.5X0.5", "Va occurs twice"),
        ("Ce1.2Zr-0.2", r"weight of Zr in .* is negative \(-0.2\)"),
        ("Ce0.7Zr0.2", "sum to 0.9, not 1"),
        ("Ce0.7Zr0.300002", "sum to 1.000002, not 1"),
        ("Ce0Zr0", "all weights of .* are zero"),
        ("Ce1e999", "weight of Ce in .* is inf"),
        ("Ce1e308Zr1e308", "too large"),
    ],
)
def test_bad_formulas_name_fault_and_place(formula: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        parse_composition(formula)


@pytest.mark.parametrize("weight", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite(weight: float) -> None:
    with pytest.raises(InputError, match=r"weight of Zr in the group is .*: give a finite number"):
        check_weights({"Ce": 0.5, "Zr": weight}, "the group", normalise=True)


@pytest.mark.parametrize(
    ("read", "text", "words"),
    [
        (parse_species, "", "no species"),
        (parse_species, " , ,", "no species"),
        (parse_species, "Ce,Qq", "unknown species 'Qq'"),
        (parse_species, "Ce,Zr,Ce", "occurs twice"),
        (parse_species, "Va,X", "occurs twice"),
        (parse_species, "Ce Zr", "unknown species 'Ce Zr'"),
        (species_number, "ce", "unknown species 'ce'"),
        (species_number, "", "unknown species ''"),
    ],
)
def test_bad_species(read: Callable[[str], object], text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read(text)


def test_species_list_keeps_its_order() -> None:
    assert parse_species("Zr, Ce,X") == ["Zr", "Ce", "Va"]


def test_symbols_and_numbers_are_inverse() -> None:
    for number in range(len(chemical_symbols)):
        assert species_number(species_symbol(number)) == number
    assert species_number("X") == species_number("Va") == 0


def test_only_the_vacancy_has_no_mass() -> None:
    assert species_mass(0) == 0.0
    assert species_mass(6) == pytest.approx(12.011)
    assert all(species_mass(number) > 0 for number in range(1, len(chemical_symbols)))
