"""`alchemlip doctor` finds what is broken, and nothing where nothing is."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch

from alchemlip import AlchemicalPotential
from alchemlip.backends import registry
from alchemlip.cli import main
from alchemlip.doctor.folder import folder_state
from alchemlip.doctor.machine import compute_state
from alchemlip.doctor.packages import PackageState, package_states
from alchemlip.doctor.potentials import TOLERANCE, check_potential, names_here, small_crystals
from conftest import installed

needs_sevenn = pytest.mark.skipif(not installed("sevenn"), reason="sevenn is not installed")


@pytest.fixture
def loaded(potential: AlchemicalPotential, monkeypatch: pytest.MonkeyPatch) -> AlchemicalPotential:
    """The default potential, loaded once for all."""
    monkeypatch.setattr("alchemlip.backends.loading.load_potential", lambda *_, **__: potential)
    return potential


# ---------------------------------------------------------------------- packages


def test_packages_that_are_missing_or_too_old() -> None:
    states = package_states(
        [
            "numpy>=1.0",
            "numpy>=999",
            "surely-not-there>=2",
            "surely-not-there-either; extra == 'mace'",
            "of-another-python; python_version < '3'",
            "a-test-package; extra == 'test'",
        ]
    )
    here, old, missing, extra = states
    assert (here.fits, here.version, here.remedy) == (True, version("numpy"), "")
    assert (old.fits, old.version) == (False, version("numpy"))
    assert old.remedy == "pip install 'numpy>=999'"
    assert (missing.fits, missing.version) == (False, None)
    assert missing.remedy == "pip install 'surely-not-there>=2'"
    assert (extra.fits, extra.extra) == (False, "mace")
    assert extra.remedy.startswith("pip install 'alchemlip[mace]'")


def test_extras_that_exclude_one_another_go_into_environments_of_their_own() -> None:
    alone, beside = (
        package_states([f"{sevenn}; extra == 'sevennet'", "surely-not-there; extra == 'mace'"])[1]
        for sevenn in ("not-there-either", "numpy")
    )
    assert "environment of its own" not in alone.remedy
    assert "environment of its own" in beside.remedy


def test_every_dependency_of_this_very_package_fits() -> None:
    base = [state for state in package_states() if not state.extra]
    assert {"torch", "ase", "numpy", "typer"} <= {state.name for state in base}
    assert all(state.fits for state in base)


# ---------------------------------------------------------------------- potentials


@needs_sevenn
def test_a_sound_potential_agrees_with_its_own_package(loaded: AlchemicalPotential) -> None:
    state = check_potential("sevennet-0", "cpu")
    assert (state.works, state.reason) == (True, "")
    assert state.one_hot_error_eV_per_atom is not None
    assert 0 <= state.one_hot_error_eV_per_atom < 0.1 * TOLERANCE
    assert state.evaluation_ms is not None
    assert state.evaluation_ms > 0


@needs_sevenn
@pytest.mark.parametrize("shift", [1e-3, float("nan")])
def test_a_potential_that_disagrees_is_found(
    loaded: AlchemicalPotential, monkeypatch: pytest.MonkeyPatch, shift: float
) -> None:
    class Shifted:
        def __init__(self, own: Any) -> None:
            self.own = own

        def get_potential_energy(self, atoms: Any = None, **_: Any) -> float:
            return float(self.own.get_potential_energy(atoms)) + shift * len(atoms)

    sound = registry.own_calculator
    monkeypatch.setattr(
        "alchemlip.backends.registry.own_calculator", lambda *given: Shifted(sound(*given))
    )
    state = check_potential("sevennet-0", "cpu")
    assert not state.works
    assert "off that of its own package" in state.reason


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ImportError("no symbol\nmore lines"), r"cannot be used \(ImportError: no symbol\)"),
        (RuntimeError(""), r"cannot be used \(RuntimeError: \)"),
    ],
)
def test_a_broken_package_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("alchemlip.backends.loading.load_potential", fail)
    state = check_potential("anything")
    assert not state.works
    assert "\n" not in state.reason
    assert re.search(words, state.reason)


@pytest.mark.parametrize("elements", [("Na", "Cl", "K", "H"), ("H", "C", "N"), ("H", "C"), ("Si",)])
def test_crystals_for_any_elements(elements: tuple[str, ...]) -> None:
    """What is compared has occupancies of 0 and 1, of elements that the potential covers."""
    pure, mixed = small_crystals(elements)
    assert set(pure.to_atoms().symbols) <= set(elements)
    assert {weight for site in pure.occupancies() for weight in site.values()} <= {0.0, 1.0}
    assert any(0.5 in site.values() for site in mixed.occupancies())
    assert pure.n_sites == mixed.n_sites == 8


@needs_sevenn
def test_potentials_here_come_with_a_fidelity_where_they_need_one() -> None:
    found = names_here()
    assert "sevennet-0" in found
    assert "sevennet-mf-0@PBE" in found


# ---------------------------------------------------------------------- machine, folder


def test_a_gpu_that_torch_cannot_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("alchemlip.doctor.machine.usable_cores", lambda: 10**6)
    assert compute_state(tmp_path / "none").remarks == ()
    (tmp_path / "0000:01:00.0").mkdir()
    monkeypatch.setattr(torch.version, "cuda", None)
    assert "built without CUDA" in compute_state(tmp_path).remarks[0]
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    assert "driver" in compute_state(tmp_path).remarks[0]


def test_more_threads_than_cores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alchemlip.doctor.machine.usable_cores", lambda: 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert any("OMP_NUM_THREADS=2" in remark for remark in compute_state(tmp_path).remarks)


def test_a_sound_folder_is_left_as_it_was(tmp_path: Path) -> None:
    state = folder_state(tmp_path)
    assert state.locks
    assert state.records
    assert state.problems == ()
    assert state.sync_ms is not None
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_that_ignores_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Ignored:
        def release(self) -> None: ...

    monkeypatch.setattr("alchemlip.doctor.folder.lock_folder", lambda *_: Ignored())
    state = folder_state(tmp_path)
    assert not state.locks
    assert "lets two processes hold one lock" in state.problems[0]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("alchemlip.doctor.folder.write_atomically", fail)
    (problem,) = folder_state(tmp_path).problems
    assert os.strerror(number) in problem
    assert str(tmp_path) in problem
    assert list(tmp_path.iterdir()) == []


# ---------------------------------------------------------------------- the command


def run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["alchemlip", "doctor", *arguments])
    monkeypatch.setenv("COLUMNS", "200")
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    return code, capsys.readouterr().out


def test_quick(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It loads nothing, its JSON is plain, and the same facts are in the tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("alchemlip.backends.loading.load_potential", None)
    code, out = run(monkeypatch, capsys, "--quick", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["potentials"] == found["problems"] == []
    assert found["compute"]["torch"] == torch.__version__
    assert found["folder"]["locks"] is True
    code, out = run(monkeypatch, capsys, "--quick")
    assert code == 0
    assert "No problem found" in out
    assert torch.__version__ in out


@needs_sevenn
def test_what_was_asked_for_decides_and_nothing_is_downloaded(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    loaded: AlchemicalPotential,
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the network was asked for")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    code, out = run(monkeypatch, capsys, "--model", "sevennet-0", "--device", "cpu", "--json")
    found = json.loads(out)
    assert (code, found["problems"]) == (0, [])
    assert [state["name"] for state in found["potentials"]] == ["sevennet-0"]


def test_an_unknown_potential_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out = run(monkeypatch, capsys, "--model", "sevenet-0")
    assert code == 1
    assert "Problem: sevenet-0: " in out
    assert "did you mean sevennet-0" in out


@pytest.mark.parametrize(("package", "code"), [("mace-torch", 0), ("numpy", 1)])
def test_an_environment_without_weights(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    package: str,
    code: int,
) -> None:
    """Without any potential nothing can be done; mace downloads its models on first use."""
    monkeypatch.chdir(tmp_path)
    here = PackageState(package, "", "mace" if "mace" in package else "", "1.0", "")
    monkeypatch.setattr("alchemlip.doctor.packages.package_states", lambda: [here])
    monkeypatch.setattr("alchemlip.doctor.potentials.names_here", list)
    found = run(monkeypatch, capsys)
    assert found[0] == code
    assert ("no potential is installed" in found[1]) == (code == 1)
    assert ("downloads it" in found[1]) == (code == 0)
