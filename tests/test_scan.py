"""Scans: every finished point survives, none is repeated, and pictures are pictures."""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.image import imread

from alchemlip import (
    AlchemicalPotential,
    InputError,
    Mixture,
    RelaxationSettings,
    composition_grid,
    scan,
)
from alchemlip.crystal.plotting import lattice_parameters, plot_scan
from alchemlip.crystal.scanning import ScanPoint

LOOSE = RelaxationSettings(fmax=0.1, smax=1.0)
QUICK = RelaxationSettings(max_steps=1)
"""Where it does not matter how far a point gets."""


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads do not help cells of two atoms, and wait for one another where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def alloy(*symbols: str) -> Mixture:
    """A one-atom cell of equal parts."""
    weights = dict.fromkeys(symbols, 1 / len(symbols))
    return Mixture.from_elements(bulk("Cu", "fcc", 3.8), {"Cu": weights})


CU_AU = alloy("Cu", "Au")


def lines(folder: Path) -> list[bytes]:
    return (folder / "points.jsonl").read_bytes().splitlines(keepends=True)


def status(folder: Path) -> str:
    return str(json.loads((folder / "result.json").read_text())["status"])


def after(count: int, action: Callable[[], None]) -> Callable[[ScanPoint, int, int], None]:
    """Return an ``on_point`` that acts once a number of points is finished."""

    def on_point(_: ScanPoint, done: int, __: int) -> None:
        if done == count:
            action()

    return on_point


def interrupt() -> None:
    raise KeyboardInterrupt


def fail() -> None:
    raise RuntimeError("the disk is full")


# ---------------------------------------------------------------------- the grid


@settings(deadline=None)
@given(st.integers(2, 4), st.integers(2, 9))
def test_grid_covers_the_simplex_evenly(components: int, points: int) -> None:
    grid = composition_grid(components, points)
    assert len(grid) == math.comb(points - 2 + components, components - 1)
    assert len(np.unique(grid, axis=0)) == len(grid)
    assert (grid >= 0).all()
    np.testing.assert_allclose(grid.sum(axis=1), 1.0, atol=1e-14)
    steps = grid * (points - 1)
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-12)


def test_line_and_triangle() -> None:
    np.testing.assert_array_equal(composition_grid(2, 3), [[1, 0], [0.5, 0.5], [0, 1]])
    np.testing.assert_array_equal(
        composition_grid(3, 3),
        [[1, 0, 0], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 1, 0], [0, 0.5, 0.5], [0, 0, 1]],
    )


@pytest.mark.parametrize(
    ("components", "points", "words"), [(1, 5, "at least two species"), (2, 1, "with 1 points")]
)
def test_bad_grids(components: int, points: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        composition_grid(components, points)


# ---------------------------------------------------------------------- results


def test_points_come_in_the_order_of_the_grid(potential: AlchemicalPotential) -> None:
    calls: list[tuple[int, int]] = []
    points = scan(
        CU_AU,
        potential,
        points=5,
        settings=LOOSE,
        on_point=lambda _, done, total: calls.append((done, total)),
    )
    assert calls == [(done, 5) for done in range(1, 6)]
    assert [point.index for point in points] == list(range(5))
    for point, x in zip(points, composition_grid(2, 5), strict=True):
        np.testing.assert_array_equal(point.x, x)
        np.testing.assert_array_equal(point.mixture.composition, x)
        assert point.record["composition"] == dict(zip(("Cu:Cu", "Cu:Au"), x, strict=True))
        assert point.record["converged"]
        cell = abs(np.linalg.det(point.mixture.cell))
        assert point.record["volume_A3"] == pytest.approx(cell, rel=1e-12)
    energies = np.array([point.record["energy_eV_per_atom"] for point in points])
    mixing = np.array([point.record["mixing_energy_eV_per_atom"] for point in points])
    straight = np.linspace(energies[0], energies[-1], 5)
    np.testing.assert_allclose(mixing, energies - straight, atol=1e-12)


@pytest.mark.parametrize(
    ("group", "words"),
    [(None, r"not clear \(there are: Na, Cl\)"), ("K", "no group is called 'K'")],
)
def test_which_group_is_scanned(
    potential: AlchemicalPotential, group: str | None, words: str
) -> None:
    atoms = bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms, {"Na": "Na0.5K0.5", "Cl": "Cl0.5Br0.5"})
    with pytest.raises(InputError, match=words):
        scan(mixture, potential, group)


# ---------------------------------------------------------------------- interruptions

KILLED_SCAN = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from alchemlip import load_potential, scan
from test_scan import CU_AU, QUICK, after

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

potential = load_potential("sevennet-0", device="cpu", dtype="float64")
scan(CU_AU, potential, points=5, folder={folder!r}, settings=QUICK, batch_sites=1,
     on_point=after(3, kill))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL on this system")
def test_a_killed_scan_keeps_its_points_and_goes_on(
    potential: AlchemicalPotential, tmp_path: Path
) -> None:
    """kill -9 loses nothing, the next run repeats nothing, and ends like one never killed."""
    folder = tmp_path / "killed"
    code = KILLED_SCAN.format(tests=str(Path(__file__).parent), folder=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = lines(folder)
    assert len(kept) == 3
    assert status(folder) == "running"

    new: list[int] = []
    options: dict[str, Any] = {"points": 5, "settings": QUICK, "batch_sites": 1}
    points = scan(
        CU_AU,
        potential,
        folder=folder,
        on_point=lambda point, *_: new.append(point.index),
        **options,
    )
    assert lines(folder)[:3] == kept
    indices = [json.loads(line)["index"] for line in lines(folder)]
    assert sorted(indices) == list(range(5))
    assert new == indices[3:]
    assert status(folder) == "finished"
    assert len((folder / "scan.csv").read_text().splitlines()) == 6

    for point, straight in zip(points, scan(CU_AU, potential, **options), strict=True):
        for key in ("energy_eV_per_atom", "mixing_energy_eV_per_atom", "a_A"):
            assert point.record[key] == pytest.approx(straight.record[key], abs=1e-8)


@pytest.mark.parametrize(
    ("action", "error", "expected", "reason"),
    [
        (interrupt, KeyboardInterrupt, "interrupted", "ended by Ctrl-C"),
        (fail, RuntimeError, "failed", "the disk is full"),
    ],
)
def test_an_early_end_is_noted_and_can_be_continued(
    potential: AlchemicalPotential,
    tmp_path: Path,
    action: Callable[[], None],
    error: type[BaseException],
    expected: str,
    reason: str,
) -> None:
    folder = tmp_path / "scan"
    options: dict[str, Any] = {"points": 3, "folder": folder, "settings": QUICK, "batch_sites": 1}
    with pytest.raises(error):
        scan(CU_AU, potential, on_point=after(2, action), **options)
    record = json.loads((folder / "result.json").read_text())
    assert (record["status"], record["reason"]) == (expected, reason)
    assert record["inputs"]["points"] == 3
    assert record["versions"]["alchemlip"]
    kept = lines(folder)
    assert len(kept) == 2
    scan(CU_AU, potential, **options)
    record = json.loads((folder / "result.json").read_text())
    assert record["status"] == "finished"
    assert "reason" not in record
    assert len(record["points"]) == 3
    assert lines(folder)[:2] == kept


@pytest.fixture
def finished(potential: AlchemicalPotential, tmp_path: Path) -> Path:
    """The folder of a finished scan of three points."""
    folder = tmp_path / "finished"
    scan(CU_AU, potential, points=3, folder=folder, settings=QUICK, batch_sites=1)
    return folder


def unfinish(folder: Path) -> None:
    """Put a folder back to where a crash before the end would have left it."""
    record = json.loads((folder / "result.json").read_text())
    record |= {"status": "running", "results": {}}
    del record["points"]
    (folder / "result.json").write_text(json.dumps(record))


@pytest.mark.parametrize("cut", [-1, -40, 2], ids=["no-newline", "no-end", "a-start"])
def test_a_line_cut_off_by_a_crash_is_dropped(
    potential: AlchemicalPotential, finished: Path, cut: int
) -> None:
    whole = lines(finished)
    (finished / "points.jsonl").write_bytes(b"".join(whole[:-1]) + whole[-1][:cut])
    unfinish(finished)
    new: list[int] = []
    scan(
        CU_AU,
        potential,
        points=3,
        folder=finished,
        settings=QUICK,
        batch_sites=1,
        on_point=lambda point, *_: new.append(point.index),
    )
    assert new == [json.loads(whole[-1])["index"]]
    assert lines(finished)[:-1] == whole[:-1]
    again, before = json.loads(lines(finished)[-1]), json.loads(whole[-1])
    assert again["index"] == before["index"]
    energy = before["record"]["energy_eV"]
    assert again["record"]["energy_eV"] == pytest.approx(energy, abs=1e-8)
    assert status(finished) == "finished"


def test_a_damaged_line_is_not_guessed_at(potential: AlchemicalPotential, finished: Path) -> None:
    whole = lines(finished)
    (finished / "points.jsonl").write_bytes(b"".join([whole[0], b"\0\0\0\n", whole[2]]))
    unfinish(finished)
    with pytest.raises(InputError, match=r"points\.jsonl' is damaged"):
        scan(CU_AU, potential, points=3, folder=finished, settings=QUICK)


def test_a_finished_scan_is_read_and_not_run(
    potential: AlchemicalPotential, finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.read_bytes() for path in finished.iterdir() if path.is_file()}
    monkeypatch.setattr("alchemlip.crystal.scanning.relax_many", lambda *_, **__: fail())
    points = scan(CU_AU, potential, points=3, folder=finished, settings=QUICK)
    assert {path: path.read_bytes() for path in finished.iterdir() if path.is_file()} == before
    record = json.loads((finished / "result.json").read_text())
    assert [{"index": point.index, **point.record} for point in points] == record["points"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"points": 5}, "another points"),
        ({"settings": RelaxationSettings(max_steps=0)}, "another relaxation"),
        ({"mixture": alloy("Cu", "Ag")}, "another"),
        ({"mixture": CU_AU.repeat((2, 1, 1))}, "another"),
    ],
)
def test_a_folder_of_another_run_is_refused_and_untouched(
    potential: AlchemicalPotential, finished: Path, changes: dict[str, Any], words: str
) -> None:
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in finished.iterdir()
        if path.is_file()
    }
    arguments: dict[str, Any] = {"mixture": CU_AU, "points": 3, "settings": QUICK} | changes
    with pytest.raises(InputError, match=rf"belongs to another run \(it was made with {words}"):
        scan(potential=potential, folder=finished, **arguments)
    after_ = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in finished.iterdir()
        if path.is_file()
    }
    assert after_ == before


# ---------------------------------------------------------------------- pictures


def assert_picture(file: Path, smallest: int = 400) -> None:
    """A PNG that can be decoded, is large enough to read, and is not blank."""
    assert file.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    pixels = imread(file)
    assert min(pixels.shape[:2]) >= smallest
    assert len(np.unique(pixels.reshape(-1, pixels.shape[2]), axis=0)) > 10


FIXED = RelaxationSettings(cell="fixed", max_steps=0)
PAIR = Atoms("CuAu", positions=[[0, 0, 0], [2.6, 0, 0]])


@pytest.mark.parametrize(
    ("mixture", "points", "settings"),
    [
        (CU_AU, 4, LOOSE),
        (alloy("Cu", "Au", "Ag"), 4, QUICK),
        (alloy("Cu", "Au", "Ag"), 2, QUICK),
        (alloy("Cu", "Au", "Ag"), 3, FIXED),
        (Mixture.from_elements(PAIR, {"Cu": "Cu0.5Ag0.5"}), 3, FIXED),
        (Mixture.from_elements(PAIR, {"Cu": "Cu0.5Ag0.25Pd0.25"}), 3, FIXED),
    ],
    ids=["line", "triangle", "corners", "fixed-cell", "cluster-line", "cluster-triangle"],
)
def test_pictures(
    potential: AlchemicalPotential,
    tmp_path: Path,
    mixture: Mixture,
    points: int,
    settings: RelaxationSettings,
) -> None:
    found = scan(mixture, potential, points=points, settings=settings)
    labels = mixture.groups[0].components
    file = plot_scan(
        np.array([point.x for point in found]),
        labels,
        [point.record for point in found],
        tmp_path / "scan.png",
        "a title",
    )
    assert_picture(file)


def test_equal_lattice_parameters_are_shown_once() -> None:
    records = [{"a_A": 4.0 + x, "b_A": 4.0 + x, "c_A": 5.0} for x in (0.0, 0.1)]
    distinct = lattice_parameters(records)
    assert set(distinct) == {"a = b", "c"}
    np.testing.assert_allclose(distinct["a = b"], [4.0, 4.1])
    assert lattice_parameters([{"volume_A3": 1.0}]) == {}


def test_numbers_do_not_depend_on_the_order_of_finishing(
    potential: AlchemicalPotential, tmp_path: Path
) -> None:
    """A point starts from coarser levels alone, whichever points are there when it begins."""
    options: dict[str, Any] = {"points": 9, "settings": QUICK, "batch_sites": 1}
    whole = tmp_path / "whole"
    expected = scan(CU_AU, potential, folder=whole, **options)
    kept = {json.loads(line)["index"]: line for line in lines(whole)}
    for missing in ((1, 3), (7, 5, 4), (0, 1)):
        folder = tmp_path / "-".join(map(str, missing))
        shutil.copytree(whole, folder)
        left = [line for index, line in kept.items() if index not in missing]
        # In another order, too, as from several workers.
        (folder / "points.jsonl").write_bytes(b"".join(left[::-1]))
        unfinish(folder)
        again = scan(CU_AU, potential, folder=folder, **options)
        for point, right in zip(again, expected, strict=True):
            assert point.record | {"seconds": 0} == right.record | {"seconds": 0}
            np.testing.assert_array_equal(point.mixture.positions, right.mixture.positions)
    # Nor on how many points are relaxed at once, but for the round-off of a larger batch.
    together = scan(CU_AU, potential, **options | {"batch_sites": 4})
    for point, right in zip(together, expected, strict=True):
        assert point.record["a_A"] == pytest.approx(right.record["a_A"], abs=1e-9)


def test_an_unfinished_scan_of_another_start_rule_is_refused(
    potential: AlchemicalPotential, finished: Path
) -> None:
    record = json.loads((finished / "result.json").read_text())
    del record["inputs"]["formulas"]
    (finished / "result.json").write_text(json.dumps(record))
    options: dict[str, Any] = {"points": 3, "settings": QUICK}
    assert len(scan(CU_AU, potential, folder=finished, **options)) == 3
    unfinish(finished)
    with pytest.raises(InputError, match=r"since then points start from .* coarser levels alone"):
        scan(CU_AU, potential, folder=finished, **options)
