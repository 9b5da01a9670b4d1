"""The potentials that the suite runs over, and fixtures that load each once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch

from alchemlip import AlchemicalPotential, load_potential
from references import sevennet_float64

# Cells this small gain nothing from a second thread, and two spin where cores are few.
torch.set_num_threads(1)


@dataclass(frozen=True)
class PotentialCase:
    """A potential of the suite.

    Attributes:
        name: what `load_potential` takes.
        reference: makes the potential's own ASE calculator, cast to float64.
        options: further arguments of `load_potential`.
    """

    name: str
    reference: Callable[[], Any]
    options: tuple[tuple[str, str], ...] = ()


# A new backend, or another set of weights, gets the whole suite by one line here.
POTENTIALS = (
    PotentialCase("sevennet-0", lambda: sevennet_float64("7net-0")),
    PotentialCase(
        "sevennet-mf-0", lambda: sevennet_float64("7net-mf-0", modal="PBE"), (("modal", "PBE"),)
    ),
)


@cache
def loaded(case: PotentialCase, dtype: str = "float64") -> AlchemicalPotential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load_potential(case.name, device="cpu", dtype=dtype, **dict(case.options))


@cache
def reference_calculator(case: PotentialCase) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return case.reference()


@pytest.fixture(scope="session", params=POTENTIALS, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> PotentialCase:
    """One potential of the suite."""
    chosen: PotentialCase = request.param
    return chosen


@pytest.fixture(scope="session")
def any_potential(case: PotentialCase) -> AlchemicalPotential:
    """Every potential of the suite in turn, in float64."""
    return loaded(case)


@pytest.fixture(scope="session")
def reference(case: PotentialCase) -> Any:
    """The own calculator of ``any_potential``, cast to float64."""
    return reference_calculator(case)


@pytest.fixture(scope="session")
def potential() -> AlchemicalPotential:
    """The default potential, for tests of what does not depend on the potential."""
    return loaded(POTENTIALS[0])
