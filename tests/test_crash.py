"""A run killed at random moments ends with the samples of one that was never killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from ase.build import bulk

from alchemlip.errors import InputError
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.hamiltonian import CoupledCalculator, SpringTerm
from alchemlip.freeenergy.switching import SwitchingSettings, run_switching
from alchemlip.records.runs import RunRecord

KILLS = 20
MOTION = DynamicsSettings(temperature_K=300.0, timestep_fs=4.0, cell="volume")
SETTINGS = SwitchingSettings(
    equilibration_steps=300,
    switching_steps=700,
    repeats=2,
    checkpoint_interval=20,
    trajectory_interval=100,
)


def run(file: Path, marker: Path | None = None) -> None:
    """Run, or go on; the marker tells the killer that work has begun."""
    atoms = bulk("Cu", cubic=True) * (2, 2, 2)
    springs = SpringTerm(atoms.get_scaled_positions(wrap=False), 2.0, 5.0)
    with RunRecord(file, "crash", {}) as record:
        if record.finished:
            return

        def begun(done: int, total: int) -> None:
            del done, total
            if marker is not None:
                marker.touch()

        run_switching(
            atoms,
            CoupledCalculator({"springs": springs}),
            MOTION,
            SETTINGS,
            record,
            on_progress=begun,
        )
        record.finish({})


def everything(file: Path) -> dict[str, np.ndarray]:
    with RunRecord.read(file) as record:
        samples = record.samples()
        frames = list(record.frames())
    samples["frame_step"] = np.array([frame.step for frame in frames])
    samples["frame_positions"] = np.array([frame.positions for frame in frames])
    return samples


def test_killed_at_random_moments(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole.sqlite", tmp_path / "cut.sqlite"
    run(whole)
    fork = multiprocessing.get_context("fork")
    rng = np.random.default_rng(0)
    kills = 0
    for attempt in range(10 * KILLS):
        marker = tmp_path / f"begun-{attempt}"
        child = fork.Process(target=run, args=(cut, marker))
        child.start()
        deadline = time.monotonic() + 60.0
        while child.is_alive() and not marker.exists() and time.monotonic() < deadline:
            time.sleep(1e-4)
        # A run takes about a second in all, so that this falls anywhere in a step or a commit.
        time.sleep(float(rng.uniform(0.0, 0.04)))
        if kills < KILLS and child.is_alive():
            assert child.pid is not None
            os.kill(child.pid, signal.SIGKILL)
        child.join(120.0)
        if child.exitcode == 0:
            break
        assert child.exitcode == -signal.SIGKILL
        kills += 1
    assert kills == KILLS
    expected, found = everything(whole), everything(cut)
    assert len(expected["step"]) > 2 * 2 * 700
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def test_a_full_disk_in_the_middle_of_a_run(tmp_path: Path) -> None:
    """The run stops with one sentence; with space again it goes on to the same samples."""
    whole, cut = tmp_path / "whole.sqlite", tmp_path / "cut.sqlite"
    run(whole)
    RunRecord(cut, "crash", {}).close()
    pages = 60
    with pytest.MonkeyPatch.context() as patch:
        limited(patch, pages)
        with pytest.raises(InputError, match=r"disk is full.*--resume"):
            run(cut)
    assert 0 < len(everything(cut)["step"]) < len(everything(whole)["step"])
    run(cut)
    expected, found = everything(whole), everything(cut)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=name)


def limited(patch: pytest.MonkeyPatch, pages: int) -> None:
    """Let SQLite find the disk full when a record has so many pages."""
    from alchemlip.records import run_database

    opened = run_database.open_to_write

    def open_limited(path: Path) -> object:
        connection = opened(path)
        connection.execute(f"PRAGMA max_page_count = {pages}")
        return connection

    patch.setattr(run_database, "open_to_write", open_limited)
