"""The results folder: one calculation, one process at a time, and nothing finished is lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings, scan
from alchemlip.crystal.scanning import ScanPoint
from alchemlip.files import write_atomically
from alchemlip.records.results import ResultFolder

INPUTS = {"x": 1, "list": (1, 2)}


def record_of(folder: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return record


def test_record_opens_with_its_inputs_and_ends_with_how_it_ended(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "out", "energy", INPUTS, {"structure_file": "a.cif"})
    record = record_of(folder.path)
    assert record["status"] == "running"
    assert record["inputs"] == {"x": 1, "list": [1, 2]}
    assert record["source"] == {"structure_file": "a.cif"}
    folder.finish({"energy_eV": -1.0})
    record = record_of(folder.path)
    assert (record["status"], record["results"]) == ("finished", {"energy_eV": -1.0})
    assert "ended" in record


def test_a_finished_record_is_left_alone(tmp_path: Path) -> None:
    ResultFolder(tmp_path, "energy", INPUTS).finish({"energy_eV": -1.0})
    before = (tmp_path / "result.json").read_bytes()
    again = ResultFolder(tmp_path, "energy", INPUTS, {"structure_file": "elsewhere/a.cif"})
    assert again.resumed
    assert again.finished
    assert (tmp_path / "result.json").read_bytes() == before


def test_continuing_keeps_where_it_began(tmp_path: Path) -> None:
    """Points made before keep the versions that they were made with."""
    ResultFolder(tmp_path, "scan", INPUTS).stop("interrupted", "by hand")
    first = record_of(tmp_path)
    first["versions"]["torch"] = "1.0"
    write_atomically(tmp_path / "result.json", json.dumps(first).encode())
    ResultFolder(tmp_path, "scan", INPUTS).finish({})
    record = record_of(tmp_path)
    assert record["versions"]["torch"] == "1.0"
    assert record["started"] == first["started"]
    assert record["continued"][0]["versions"]["torch"] != "1.0"
    assert record["status"] == "finished"
    assert "reason" not in record


def test_two_processes_do_not_share_a_folder(tmp_path: Path) -> None:
    """While one works, another is told; when it is killed, the folder is free."""
    code = (
        "import sys, time; from alchemlip.records.results import ResultFolder;"
        "f = ResultFolder(sys.argv[1], 'scan', {'x': 1}); print('ready', flush=True);"
        "time.sleep(60)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "out")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        before = (tmp_path / "out" / "result.json").read_bytes()
        with pytest.raises(InputError, match="another process is at work"):
            ResultFolder(tmp_path / "out", "scan", {"x": 1})
        assert (tmp_path / "out" / "result.json").read_bytes() == before
        other.kill()
    assert ResultFolder(tmp_path / "out", "scan", {"x": 1}).resumed


def test_points_are_on_the_disk_one_by_one(potential: AlchemicalPotential, tmp_path: Path) -> None:
    """Also within a batch, in which the others still relax."""
    seen = []

    def look(point: ScanPoint, done: int, _: int) -> None:
        lines = (tmp_path / "out" / "points.jsonl").read_text().splitlines()
        assert len(lines) == done
        assert json.loads(lines[-1])["index"] == point.index
        seen.append(point.index)

    mixture = Mixture.from_elements(bulk("NaCl", "rocksalt", 5.8), {"Na": "Na0.5K0.5"})
    settings = RelaxationSettings(fmax=0.1, smax=0.5)
    scan(
        mixture,
        potential,
        points=7,
        folder=tmp_path / "out",
        settings=settings,
        batch_sites=1000,
        on_point=look,
    )
    assert sorted(seen) == list(range(7))
    assert set(seen[:2]) == {0, 6}  # the ends first
    assert seen[2] == 3  # then the middle, from which the finer levels start


def test_fidelities_do_not_share_a_folder(tmp_path: Path) -> None:
    """Two fidelities of one checkpoint are two potentials."""
    from alchemlip.crystal.report import describe_potential
    from conftest import SEVENNET, loaded

    case = next(case for case in SEVENNET if case.name == "sevennet-mf-0")
    inputs = describe_potential(loaded(case))
    assert inputs["potential_variant"] == "PBE"
    ResultFolder(tmp_path, "energy", inputs).finish({})
    with pytest.raises(InputError, match="another potential_variant"):
        ResultFolder(tmp_path, "energy", {**inputs, "potential_variant": "R2SCAN"})


def test_where_the_scanned_group_starts_does_not_matter(
    potential: AlchemicalPotential, tmp_path: Path
) -> None:
    atoms = bulk("NaCl", "rocksalt", 5.8)
    settings = RelaxationSettings(fmax=0.1, smax=2.0)
    for start in ("Na0.5K0.5", "Na0.9K0.1"):
        mixture = Mixture.from_elements(atoms, {"Na": start})
        scan(mixture, potential, points=2, folder=tmp_path, settings=settings)
    assert len((tmp_path / "points.jsonl").read_text().splitlines()) == 2


def test_a_full_disk_does_not_hide_why_a_run_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(file: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    folder = ResultFolder(tmp_path, "scan", INPUTS)
    monkeypatch.setattr("alchemlip.records.results.write_atomically", full)
    with pytest.raises(RuntimeError, match="too hot"), folder.noting_failure():
        raise RuntimeError("too hot")
    monkeypatch.undo()
    assert ResultFolder(tmp_path, "scan", INPUTS).resumed  # nor does it keep the lock


def test_results_are_valid_json(tmp_path: Path) -> None:
    """A single repeat has no error: nan and infinity become null."""
    folder = ResultFolder(tmp_path / "run", "switch", {})
    folder.finish({"error": float("nan"), "interval": [-float("inf"), 1.0], "n": {"a": (1, None)}})

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = (tmp_path / "run" / "result.json").read_text()
    results = json.loads(text, parse_constant=refuse)["results"]
    assert results == {"error": None, "interval": [None, 1.0], "n": {"a": [1, None]}}
