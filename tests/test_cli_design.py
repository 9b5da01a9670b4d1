"""``alchemlip design``: results that last, and one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alchemlip import AlchemicalPotential, read_structure
from alchemlip.cli import main
from crystals import STRUCTURES

SALT = str(STRUCTURES / "NaCl.cif")


@pytest.fixture
def run(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    potential: AlchemicalPotential,
    tmp_path: Path,
):
    """Return a function that runs the command and gives (code, output, error)."""
    monkeypatch.setattr("alchemlip.backends.loading.load_potential", lambda *_, **__: potential)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["alchemlip", "design", *arguments])
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return call


def test_design_with_a_supercell(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    arguments = [SALT, "--mix", "Na=Na0.9K0.1", "--target", "a=5.9", "--supercell", "2,1,1"]
    code, out, _ = run(*arguments, "--out", "match")
    assert code == 0
    assert "all goals are met" in out
    folder = tmp_path / "match"
    results = json.loads((folder / "result.json").read_text())["results"]
    assert results["converged"]
    assert results["property"]["a_A"] == pytest.approx(5.9, abs=1e-3)
    assert results["target"] == {"a_A": 5.9}
    # Eight cation sites hold eighths.
    weights = results["supercell_composition"]
    assert weights["Na:K"] * 8 == pytest.approx(round(weights["Na:K"] * 8))
    predicted = results["supercell_predicted_property"]["a_A"]
    # The cell is 2 x 1 x 1: its first vector is that of two unit cells.
    assert results["supercell_property"]["a_A"] == pytest.approx(predicted, rel=0.02)
    assert (folder / "design.png").stat().st_size > 10_000
    designed = read_structure(folder / "designed.json")
    assert designed.group("Na").composition[1] == pytest.approx(results["composition"]["Na:K"])
    assert read_structure(folder / "supercell.json").n_sites == 16
    # Asked again, the folder answers.
    code, again, _ = run(*arguments, "--out", "match")
    assert code == 0
    assert "all goals are met" in again


def test_constraints_on_the_command_line(run, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    code, _, _ = run(
        *(SALT, "--mix", "Na=Li0.1Na0.6K0.3", "--target", "a=5.85~0.01"),
        *("--bound", "Na:Li=0.1:0.1", "--relation", "Na:K - Na:Na <= 0", "--out", "bound"),
    )
    assert code == 0
    results = json.loads((tmp_path / "bound" / "result.json").read_text())["results"]
    assert results["composition"]["Na:Li"] == pytest.approx(0.1, abs=1e-12)
    assert results["composition"]["Na:K"] <= results["composition"]["Na:Na"] + 1e-12
    assert (tmp_path / "bound" / "trail-Na.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "needs a goal"),
        (("--target", "a"), "cannot read --target 'a'"),
        (("--target", "hardness=3"), "no property 'hardness'"),
        (("--target", "a=5.9", "--bound", "Na:K=x"), "cannot read --bound"),
        (("--target", "a=5.9", "--charge", "Na=1"), "has no oxidation state"),
        (("--target", "a=5.9", "--relation", "Na:K = 2"), "no composition fulfils"),
        (("--target", "a=5.9", "--supercell", "2"), "--supercell 2 cannot be used"),
    ],
)
def test_bad_input(run, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:  # type: ignore[no-untyped-def]
    code, _, error = run(SALT, "--mix", "Na=Na0.9K0.1", *arguments, "--out", "none")
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "none").exists()
