"""``alchemlip order``: what it writes, and what it refuses."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import read

from alchemlip import AlchemicalPotential
from alchemlip.cli import main

BRASS = ("brass.cif", "--mix", "Cu=Cu0.5Zn0.5", "--repeat", "2,2,2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, potential: AlchemicalPotential) -> Path:
    """A folder with a crystal; the default potential is loaded once for all."""

    def load(name: str, **_: object) -> AlchemicalPotential:
        assert name == "sevennet-0"
        return potential

    if potential.name == "sevennet-0":
        monkeypatch.setattr("alchemlip.backends.loading.load_potential", load)
    else:
        pytest.skip("the command's default potential is not here")
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.chdir(tmp_path)
    bulk("Cu", "bcc", a=2.97).write("brass.cif")
    return tmp_path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["alchemlip", "order", *arguments])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def test_brass(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *BRASS, "--temperature", "4000", "--search", "1") == 0
    out = capsys.readouterr().out
    assert "B2" in out
    results = json.loads((folder / "order-brass" / "result.json").read_text())["results"]
    assert results["ordering_waves"][0]["label"] == "H"
    assert 500 < results["critical_temperature_K"] < 4000
    first = results["ordered_structures"][0]
    assert first["name"] == "B2"
    assert first["space_group"] == "Pm-3m (221)"
    assert first["ordering_energy_eV_per_atom"] == pytest.approx(
        results["random_energy_eV_per_atom"] - first["energy_eV_per_atom"]
    )
    assert results["search"]["energy_eV_per_atom"] == pytest.approx(first["energy_eV_per_atom"])
    shells = results["pair_interactions_meV"]["Cu-Zn"]
    assert shells[0]["multiplicity"] == 8
    assert results["short_range_order"]["Cu-Zn"][0]["alpha"] < 0
    with (folder / "order-brass" / "pair_interactions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["J_meV"]) == pytest.approx(shells[0]["J_meV"])
    assert (folder / "order-brass" / "relaxed.cif").is_file()
    ordered = read(folder / "order-brass" / "ordered" / "B2.cif")
    assert sorted(ordered.get_chemical_symbols()) == ["Cu", "Zn"]
    assert (folder / "order-brass" / "order.png").stat().st_size > 10_000
    # The same command again is done already.
    assert run(monkeypatch, *BRASS, "--temperature", "4000", "--search", "1") == 0
    assert "Finished before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("brass.cif",), "no sites are mixed, so nothing is disordered"),
        (("brass.cif", "--mix", "Cu=Cu,Zn"), "lists species without weights"),
        (("brass.cif", "--mix", "Cu=Cu0.7Zn0.3", "--repeat", "2,2,2"), "cannot hold"),
        (("brass.cif", "--mix", "Cu=Cu0.37Zn0.63"), "no even supercell"),
        (("brass.cif", "--mix", "Cu=Cu0.5Zn0.5", "--repeat", "2,2"), "write three repeats"),
        (("cluster.xyz", "--mix", "Cu=Cu0.5Zn0.5"), "no crystal"),
    ],
)
def test_refused(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    words: str,
) -> None:
    (folder / "cluster.xyz").write_text("2\n\nCu 0 0 0\nCu 0 0 2.5\n")
    assert run(monkeypatch, *arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert words in error
    assert not list(folder.glob("order-*"))


def test_short_range_order_below_the_transition(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, *BRASS, "--no-relax", "--temperature", "100") == 2
    assert "give a higher temperature" in capsys.readouterr().err
    record = json.loads((folder / "order-brass" / "result.json").read_text())
    assert record["status"] == "failed"
