"""The potentials that the suite runs over, and fixtures that load each once."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from alchemlip import AlchemicalPotential, load_potential
from alchemlip.testing import CRYSTALS, Crystal
from mace_models import mace_float64, mace_potential
from references import chgnet_float64, sevennet_float64
from trained_mace import trained_mace_float64, trained_mace_potential

# Cells this small gain nothing from a second thread, and two spin where cores are few.
torch.set_num_threads(1)


CRYSTALS_AGAIN = ("one-atom-cell", "both-sublattices", "vacancy", "cluster")


@dataclass(frozen=True)
class PotentialCase:
    """A potential of the suite.

    Attributes:
        name: what it is called here.
        load: makes it in a dtype.
        reference: makes the potential's own ASE calculator, cast to float64.
        rounding: of float32, relative to the largest node energy.
        step: of differences, small enough for the model's shortest waves.
        elements: that stand for those of the crystals, where the potential covers few.
        again: other weights of a model that is here already: the crystals of `CRYSTALS_AGAIN` do.
    """

    name: str
    load: Callable[[str], AlchemicalPotential]
    reference: Callable[[], Any]
    rounding: float = 1e-6
    step: float = 1e-3
    elements: Mapping[str, str] = field(default_factory=dict, hash=False)
    again: bool = False

    def crystals(self) -> tuple[Crystal, ...]:
        """Return the crystals of the suite, in elements that the potential covers."""
        return tuple(crystal.with_elements(self.elements) for crystal in CRYSTALS)

    def crystal(self, name: str) -> Crystal:
        return next(crystal for crystal in self.crystals() if crystal.name == name)


def sevennet(name: str, upstream: str, modal: str | None = None) -> PotentialCase:
    """A checkpoint of the sevenn wheel."""
    return PotentialCase(
        name,
        lambda dtype: load_potential(name, device="cpu", dtype=dtype, modal=modal),
        lambda: sevennet_float64(upstream, modal),
    )


def chgnet(version: str) -> PotentialCase:
    """A checkpoint of the chgnet wheel."""
    name = f"chgnet-{version}"
    return PotentialCase(
        name,
        lambda dtype: load_potential(name, device="cpu", dtype=dtype),
        lambda: chgnet_float64(version),
        rounding=3e-6,
        step=2e-5,  # up to 31 radial and 15 angular waves
    )


def mace(name: str, **architecture: Any) -> PotentialCase:
    """A MACE model with random weights, made here; the architectures are mace's own."""
    return PotentialCase(
        name,
        lambda dtype: mace_potential(name, architecture, dtype),
        lambda: mace_float64(architecture),
        # Between these random weights mace's own calculator in float32 is off by up to 1.1e-5.
        rounding=1e-5,
    )


def installed(package: str) -> bool:
    return find_spec(package) is not None


IN_CS_PB_SN_I = {
    **{"Li": "Cs", "Na": "Pb", "K": "Sn", "Rb": "I", "Ag": "Cs"},
    **{"Cu": "Pb", "Au": "Sn", "Ce": "Pb", "Zr": "Sn", "O": "I", "Cl": "I", "Br": "Sn"},
}
"""The crystals' elements, in those of the trained MACE, which covers four."""


# A new backend, or another set of weights, gets the whole suite by one line here.
SEVENNET = (
    sevennet("sevennet-0", "7net-0"),
    replace(sevennet("sevennet-mf-0", "7net-mf-0", "PBE"), again=True),
)
CHGNET = (chgnet("0.3.0"), replace(chgnet("0.2.0"), again=True))
MACE = (
    mace("mace-plain", blocks=("", ""), scaled=False),
    mace("mace-residual-3", blocks=("Residual", "Residual"), layers=3),
    mace("mace-residual-agnesi-zbl", blocks=("", "Residual"), transform="Agnesi", zbl=True),
    mace("mace-density-zbl-heads", blocks=("Density", "DensityResidual"), zbl=True, heads=2),
    # With apply_cutoff its messages do not vanish at the cutoff: no energy to differentiate.
    mace("mace-attention-1", blocks=("AttResidual", "AttResidual"), layers=1, apply_cutoff=False),
    mace("mace-nonlinear", blocks=("ResidualNonLinear", "ResidualNonLinear"), apply_cutoff=False),
    PotentialCase(
        "mace-trained", trained_mace_potential, trained_mace_float64, elements=IN_CS_PB_SN_I
    ),
)
POTENTIALS = (
    (SEVENNET if installed("sevenn") else ())
    + (CHGNET if installed("chgnet") and installed("sevenn") else ())
    + (MACE if installed("mace") else ())
)


@cache
def loaded(case: PotentialCase, dtype: str = "float64") -> AlchemicalPotential:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return case.load(dtype)


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


@pytest.fixture
def crystal(request: pytest.FixtureRequest, case: PotentialCase) -> Crystal:
    """A crystal of the suite (`every_crystal`), in elements that the potential covers."""
    if case.again and request.param.name not in CRYSTALS_AGAIN:
        pytest.skip("other weights of the same model take this crystal")
    return request.param.with_elements(case.elements)


@pytest.fixture(scope="session")
def any_potential(case: PotentialCase) -> AlchemicalPotential:
    """Every potential of the suite in turn, in float64."""
    return loaded(case)


@pytest.fixture(scope="session")
def step(case: PotentialCase) -> float:
    """The step of differences that suits ``any_potential``."""
    return case.step


@pytest.fixture(scope="session")
def reference(case: PotentialCase) -> Any:
    """The own calculator of ``any_potential``, cast to float64."""
    return reference_calculator(case)


@pytest.fixture(scope="session")
def potential() -> AlchemicalPotential:
    """The default potential, for tests of what does not depend on the potential."""
    return loaded(POTENTIALS[0])


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Let Ctrl-C interrupt, also in workers of pytest, which ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the passes of models that are made from now on."""
    sizes: list[int] = []
    graph = AlchemicalPotential.graph

    def counted(self: AlchemicalPotential, mixtures: Any, lists: Any = None) -> Any:
        sizes.append(len(mixtures))
        return graph(self, mixtures, lists)

    monkeypatch.setattr(AlchemicalPotential, "graph", counted)
    return sizes
