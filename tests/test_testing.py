"""The checks for other packages: the backend of the page passes them, one with a fault does not."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from alchemlip import AlchemicalPotential
from alchemlip import testing as kit
from test_docs import ROOT, runnable

PAGE = [block.text for block in runnable(ROOT / "docs" / "howto" / "new_backend.md")]
BACKEND, CALCULATOR, SUITE = (
    next(text for text in PAGE if word in text)
    for word in ("class SecondMomentBackend", "class SecondMoment(", "class TestSecondMoment")
)


def made(backend: str) -> tuple[AlchemicalPotential, Any]:
    """Return the page's potential, of this text, and its calculator."""
    names: dict[str, Any] = {"__name__": "page"}
    exec(backend + CALCULATOR, names)
    return names["potential"], names["SecondMoment"]()


def crystal(name: str = "both-sublattices") -> kit.Crystal:
    found = next(item for item in kit.CRYSTALS if item.name == name).in_elements(["Cu", "Au"])
    assert found is not None
    return found


Check = Callable[[AlchemicalPotential, Any], None]
RETURN = "return repulsion - torch.sqrt(density + 1e-12)"
DENSITY = "weighted * xi**2"
FAULTS: dict[str, tuple[str, str, Check, str]] = {
    "a constant in single precision": (
        "torch.tensor(values, dtype=self.dtype)",
        "torch.tensor(values)",
        lambda p, c: kit.check_one_hot(p, c, crystal()),
        "the energy at occupancies 0 and 1",
    ),
    "a weight squared": (
        DENSITY,
        "weighted * weighted * xi**2 / smooth.clamp(min=1e-30)",
        lambda p, c: kit.check_split(p, c, crystal()),
        "the energy of atoms split in two",
    ),
    "weighted by its own occupancy": (
        RETURN,
        f"{RETURN[:7]}occupancies * ({RETURN[7:]})",
        lambda p, c: kit.check_concerted_sum(p, c, crystal()),
        "the energy of a concerted group",
    ),
    "occupancies without a gradient": (
        "edge_weights(occupancies)",
        "edge_weights(occupancies.detach())",
        lambda p, c: kit.check_composition_gradient(p, crystal()),
        "dE/dx .*, against differences, is off",
    ),
    "distances of which some have no gradient": (
        "torch.exp(-p * x)",
        "torch.exp(-p * x.detach())",
        lambda p, c: kit.check_forces(p, crystal()),
        "the forces .*, against differences, is off",
    ),
    "a length that depends on the direction": (
        ".norm(dim=1)  # geometry",
        ".mul(torch.tensor([1.0, 1.0, 1.001])).norm(dim=1)  # geometry",
        lambda p, c: kit.check_rotation(p, crystal()),
        "the energy of a turned crystal",
    ),
    "no second derivative": (
        DENSITY,
        "Once.apply(weighted) * xi**2",
        lambda p, c: kit.check_second_derivatives(p, crystal()),
        "against differences, is off",
    ),
    "a mean over the batch": (
        RETURN,
        RETURN.replace("density", "density - density.mean() * 1e-6"),
        lambda p, c: kit.check_batch(p, [crystal(), crystal("one-atom-cell")]),
        "of .* in a batch, against it alone",
    ),
    "an energy for every edge": (
        RETURN,
        "return weighted",
        lambda p, c: kit.check_node_energies(p, crystal()),
        "energies of shape",
    ),
    "a state that threads share": (
        "edge_weights(occupancies)",
        "edge_weights(self.kept(occupancies))",
        lambda p, c: kit.check_threads(p, crystal("one-atom-cell")),
        "threads",
    ),
}
MORE = """
import time


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient.detach()


def kept(self, occupancies):
    self.now = occupancies
    time.sleep(0.002)
    return self.now


SecondMomentBackend.kept = kept
SecondMomentBackend.thread_safe = True
potential = AlchemicalPotential(potential.backend)
"""


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str) -> None:
    right, wrong, check, words = FAULTS[fault]
    assert right in BACKEND
    check(*made(BACKEND))
    with pytest.raises(AssertionError, match=words) as found:
        check(*made(BACKEND.replace(right, wrong) + MORE))
    assert len(str(found.value).split(": got")[0].splitlines()) == 1


def test_precision_and_device_and_copies() -> None:
    """A potential in float32 is refused for differences, and never taken for the other one."""
    potential, _ = made(BACKEND)
    single, _ = made(BACKEND.replace("dtype = torch.float64", "dtype = torch.float32"))
    assert single.dtype == torch.float32
    kit.check_float32(potential, single, crystal(), rounding=3e-6)
    worse, _ = made(BACKEND.replace("torch.float64", "torch.float32").replace("0.0855", "0.0856"))
    with pytest.raises(AssertionError, match="energy in float32"):
        kit.check_float32(potential, worse, crystal(), rounding=3e-6)
    with pytest.raises(AssertionError, match="not in float32"):
        kit.check_float32(potential, potential, crystal())
    with pytest.raises(AssertionError, match="make it in float64"):
        kit.check_forces(single, crystal())
    with pytest.raises(AssertionError, match="both potentials are on cpu"):
        kit.check_device(potential, potential, crystal())
    # The same processor by another name is another device, where there is no other.
    other = BACKEND.replace('torch.device("cpu")', 'torch.device("cpu", 0)')
    kit.check_device(potential, made(other)[0], crystal())
    with pytest.raises(AssertionError, match=r"the energy on cpu:0, against cpu .* is off"):
        kit.check_device(potential, made(other.replace("0.0855", "0.0856"))[0], crystal())
    assert not potential.can_be_pickled
    with pytest.raises(TypeError, match="load_potential"):
        kit.check_pickling(potential, crystal())


def test_pickling(potential: AlchemicalPotential) -> None:
    if not potential.can_be_pickled:
        pytest.skip("MACE of random weights is made by the tests")
    kit.check_pickling(potential, kit.CRYSTALS[0])


def test_crystals_in_few_elements() -> None:
    """Elements of a site differ, those covered stay, and what cannot be filled is left out."""
    for item in kit.CRYSTALS:
        covered = {*item.atoms.symbols, *item.others}
        covered |= {s for site in item.spec.values() for s in site if s != "Va"}
        same = item.in_elements(covered)
        assert same is not None
        assert (same.atoms == item.atoms, same.spec) == (True, item.spec)
    alloy = [item.in_elements(["Cu", "Au"]) for item in kit.CRYSTALS]
    assert sum(item is not None for item in alloy) == 9
    for item in alloy:
        if item is not None:
            assert set(item.atoms.symbols) <= {"Cu", "Au"}
            assert item.mixture().groups
    one = [item.name for item in kit.CRYSTALS if item.in_elements(["Ar"]) is not None]
    assert one == ["elemental-vacancies"]


def run_suite(text: str, folder: Path) -> str:
    (folder / "test_page.py").write_text(text)
    arguments = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error"]
    done = subprocess.run(
        [*arguments, "test_page.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.stdout + done.stderr


def test_the_class_of_the_page(tmp_path: Path) -> None:
    """It passes all that applies; a class without a potential says what is missing."""
    empty = "\nclass TestNothing(PotentialSuite):\n    pass\n"
    said = run_suite(BACKEND + CALCULATOR + SUITE + empty, tmp_path)
    last = said.splitlines()[-1]
    assert "failed" not in last, said
    passed = re.search(r"(\d+) passed", last)
    assert passed, said
    assert int(passed[1]) >= 130
    assert "FAILED" not in said
    assert "override the fixture `potential`" in said
    assert "ERROR test_page.py::TestSecondMoment" not in said
