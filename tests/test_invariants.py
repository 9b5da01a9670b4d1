"""The three invariants that every potential must keep, for every correlation and form.

Reference values come from the potential's own calculator, cast to float64. The checks are those of
`alchemlip.testing`, which other packages use, too.
"""

from __future__ import annotations

from typing import Any

import pytest

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.mixture.mixture import Correlation
from alchemlip.potential.messages import Form
from alchemlip.testing import (
    CORRELATIONS,
    CRYSTALS,
    FORMS,
    Crystal,
    check_concerted_sum,
    check_factorised_equals_expanded,
    check_one_hot,
    check_split,
)
from conftest import PotentialCase

every_crystal = pytest.mark.parametrize("crystal", CRYSTALS, ids=repr, indirect=True)
every_correlation = pytest.mark.parametrize("correlation", CORRELATIONS)
every_form = pytest.mark.parametrize("form", FORMS)


def need(form: Form, potential: AlchemicalPotential) -> None:
    """Skip a form that a model cannot have; every model has the expanded one."""
    assert "expanded" in potential.backend.forms
    if form not in potential.backend.forms:
        pytest.skip(f"{potential.name} has no {form} form")


@every_crystal
@every_correlation
@every_form
def test_one_hot(
    crystal: Crystal,
    correlation: Correlation,
    form: Form,
    any_potential: AlchemicalPotential,
    reference: Any,
) -> None:
    need(form, any_potential)
    check_one_hot(any_potential, reference, crystal, correlation, form)


@every_crystal
@every_correlation
@every_form
def test_split(
    crystal: Crystal,
    correlation: Correlation,
    form: Form,
    any_potential: AlchemicalPotential,
    reference: Any,
) -> None:
    need(form, any_potential)
    check_split(any_potential, reference, crystal, correlation, form)


@every_form
@pytest.mark.parametrize("with_vacancy", [False, True])
@every_crystal
def test_concerted_sum(
    crystal: Crystal,
    with_vacancy: bool,
    form: Form,
    any_potential: AlchemicalPotential,
    reference: Any,
) -> None:
    need(form, any_potential)
    check_concerted_sum(any_potential, reference, crystal, with_vacancy, form)


@every_crystal
@every_correlation
def test_factorised_equals_expanded(
    crystal: Crystal, correlation: Correlation, any_potential: AlchemicalPotential
) -> None:
    need("factorised", any_potential)
    check_factorised_equals_expanded(any_potential, crystal, correlation)


def test_mixed_correlations(case: PotentialCase, any_potential: AlchemicalPotential) -> None:
    """A concerted and an independent group in one structure: both forms agree."""
    crystal = case.crystal("both-sublattices")
    cation, anion = crystal.spec
    correlation: dict[str, Correlation] = {cation: "concerted", anion: "independent"}
    if "factorised" in any_potential.backend.forms:
        check_factorised_equals_expanded(any_potential, crystal, correlation)
    mixture = Mixture.from_elements(crystal.atoms, crystal.spec, correlation=correlation)
    energy = any_potential.evaluate(mixture).energy
    for other in CORRELATIONS:
        assert abs(any_potential.evaluate(crystal.mixture(other)).energy - energy) > 1e-4
