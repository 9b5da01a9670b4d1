"""Cells that no memory holds: refused with their sizes before anything is loaded or written."""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk

from alchemlip import InputError, Mixture
from alchemlip.backends.memory import (
    CHGNET,
    MACE_SMALL,
    MODELS,
    SEVENNET,
    PassMemory,
    check_memory,
    size_of,
)
from alchemlip.errors import Notice
from alchemlip.failures import TOO_LITTLE_MEMORY, is_out_of_memory
from test_cli import Cli, assert_one_sentence, cli, files  # noqa: F401

GB = 1e9


@pytest.fixture
def twenty_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemlip.backends.memory.free_memory", lambda _: ("memory", 20 * GB))


@pytest.mark.usefixtures("twenty_gigabytes")
@pytest.mark.parametrize(
    "line",
    [
        "order gold.extxyz --mix Cu=Cu0.5Au0.5 --repeat 24,24,24",
        "disorder gold.extxyz --mix Cu=Cu,Au --supercell 24,24,24",
        "transmute gold.extxyz --to Cu=Au -T 300 --repeat 24,24,24",
        "switch gold.extxyz --to-model chgnet -T 300 --repeat 24,24,24",
        "frenkel-ladd gold.extxyz -T 300 --repeat 24,24,24",
        "vacancy gold.extxyz --site 0 -T 300 --mu -3 --repeat 24,24,24",
        "design gold.extxyz --mix Cu=Cu0.5Au0.5 --target a=3.9 --supercell 24,24,24",
        "energy large.extxyz",
        "relax large.extxyz",
        "scan large.extxyz --mix Cu=Cu,Au --points 3",
    ],
)
def test_55296_sites_are_refused_at_once(
    cli: Cli,  # noqa: F811
    tmp_path: Path,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    copper = bulk("Cu", a=3.8, cubic=True)
    copper.write("gold.extxyz")
    if "large" in line:
        copper.repeat(24).write("large.extxyz")

    def load(*_: Any, **__: Any) -> None:
        raise AssertionError("loaded before its size was checked")

    monkeypatch.setattr("alchemlip.backends.loading.load_potential", load)
    before = files(tmp_path)
    begun = time.process_time()
    outcome = cli(*line.split())
    assert time.process_time() - begun < 5.0
    assert_one_sentence(
        outcome, r"55,296 sites with [\d,]+ neighbours take about \d+ GB in float64, and 20 GB of"
    )
    assert "take a smaller cell" in outcome.err
    assert files(tmp_path) == before


@pytest.mark.usefixtures("twenty_gigabytes")
def test_what_a_large_cell_takes_is_told() -> None:
    from alchemlip.calculations.sizes import refuse_too_large

    copper = Mixture.from_atoms(bulk("Cu", a=3.8, cubic=True))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        refuse_too_large(copper, ["sevennet-0"], "cpu", "float64")
        refuse_too_large(copper, ["one-of-another-package"], "cpu", "float64", (99, 99, 99))
    words = r"^500 sites with 21,000 neighbours take about 5\..*20 GB of memory are free\.$"
    with pytest.warns(Notice, match=words):
        refuse_too_large(copper, ["7net-0", "chgnet"], "cpu", "float64", (5, 5, 5))


def test_sizes_add_up() -> None:
    """Proportional to the cells, the same for a cell and its supercell, half in float32."""
    mixture = Mixture.from_atoms(bulk("Cu", a=3.8, cubic=True))
    mixed = mixture.mixed({"Cu": {"Cu": 0.5, "Au": 0.5}})
    for model in MODELS:
        one = size_of(mixed, model, "float64")
        many = size_of(mixed, f"{model}@any", "float64", repeats=(2, 3, 2))
        whole = size_of(mixed.repeat((2, 3, 2)), model, "float64")
        half = size_of(mixed, model, "float32")
        assert one is not None
        assert many is not None
        assert whole is not None
        assert half is not None
        assert (many.sites, many.edges) == (whole.sites, whole.edges) == (48, 12 * one.edges)
        assert many.bytes == pytest.approx(whole.bytes)
        assert many.bytes == pytest.approx(12 * one.bytes)
        assert half.bytes == pytest.approx(one.bytes / 2)
        pure = size_of(mixture, model, "float64")
        assert pure is not None
        assert one.bytes > pure.bytes
    assert size_of(mixture, "mine.pth", "float64") is None


@pytest.mark.parametrize(
    ("model", "mixed", "cells", "derivatives", "measured"),
    [
        # peak of a process beyond what the loaded potential has, GB (benchmarks/memory.md)
        (SEVENNET, True, 5, "first", 5.30),
        (SEVENNET, False, 5, "first", 5.17),
        (SEVENNET, True, 4, "second", 2.57),
        (CHGNET, False, 4, "first", 1.72),
        (CHGNET, True, 3, "first", 4.16),
        (CHGNET, True, 3, "second", 12.6),
        (MACE_SMALL, False, 4, "first", 0.472),
        (MACE_SMALL, True, 4, "first", 0.786),
        (MACE_SMALL, True, 3, "second", 0.589),
    ],
)
def test_estimates_are_near_what_was_measured(
    model: PassMemory, mixed: bool, cells: int, derivatives: Any, measured: float
) -> None:
    mixture = Mixture.from_atoms(bulk("Cu", a=3.8, cubic=True))
    if mixed:
        mixture = mixture.mixed({"Cu": {"Cu": 0.5, "Au": 0.5}})
    _, found = model.bytes(mixture, derivatives)
    assert cells**3 * found / GB == pytest.approx(measured, rel=0.15)


def test_the_sentence_of_a_size() -> None:
    mixture = Mixture.from_atoms(bulk("Cu", a=3.8, cubic=True))
    size = size_of(mixture, "sevennet-0", "float32", repeats=(30, 30, 30))
    assert size is not None
    with pytest.raises(InputError, match=r"in float32, and .* free: take a smaller cell, or"):
        check_memory(size, "float32")


def test_out_of_memory_on_a_cpu(
    cli: Cli,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Torch's own error, real, and what the command line makes of it."""
    with pytest.raises(RuntimeError) as error:
        torch.empty(2**55, dtype=torch.float64)
    assert is_out_of_memory(error.value)
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes differ"))

    def exhaust(*_: Any, **__: Any) -> None:
        raise error.value

    monkeypatch.setattr("alchemlip.potential.potential.AlchemicalPotential.evaluate", exhaust)
    outcome = cli("energy", "salt.cif")
    assert outcome.err == f"Error: {TOO_LITTLE_MEMORY}\n"
    assert outcome.code == 2
    assert "torch.cuda" not in sys.modules or not torch.cuda.is_initialized()
