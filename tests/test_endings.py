"""How runs end that are asked to end, and what is told of those that were killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

pytest.importorskip("sevenn")

from alchemlip import InputError
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.table import run_state
from alchemlip.freeenergy.estimators import bar
from alchemlip.freeenergy.window_estimators import convergence_in_time, estimate_from_energies
from alchemlip.records.process_identity import is_alive, this_process
from alchemlip.records.results import ResultFolder
from alchemlip.reporting.watching import Watch
from recorded_runs import KT, TEMPERATURE

LONG = ("scan", "copper.cif", "--mix", "Cu=Cu,Au", "--points", "200", "--out", "run")


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[str]:
    """Start the command line in a process group of its own."""
    program = "from alchemlip.cli import main; main()"
    bulk("Cu", "fcc", 3.8).write(folder / "copper.cif")
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def until(met: Callable[[], Any], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def record(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return content


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_interrupts_with_the_reason(name: str, tmp_path: Path) -> None:
    process = start(LONG, tmp_path)
    until((tmp_path / "run" / "points.jsonl").exists)
    assert Watch(tmp_path / "run").look().status == "running"
    number = signal.Signals[name]
    process.send_signal(number)
    printed, _ = process.communicate(timeout=30.0)
    assert process.returncode == 128 + number
    assert "Interrupted" in printed
    assert "Traceback" not in printed
    found = record(tmp_path / "run")
    assert (found["status"], name in found["reason"]) == ("interrupted", True)


def test_a_killed_run_is_told_from_one_at_work(tmp_path: Path) -> None:
    process = start(LONG, tmp_path)
    until((tmp_path / "run" / "points.jsonl").exists)
    process.kill()
    process.wait()
    assert record(tmp_path / "run")["status"] == "running"
    snapshot = Watch(tmp_path / "run").look()
    assert (snapshot.status, snapshot.ended) == ("stopped", True)
    assert f"({process.pid} on " in snapshot.reason


def test_numbers_of_processes_are_given_again(tmp_path: Path) -> None:
    """A process with the number of a dead one, and one of another host, are not taken for it."""
    here = this_process()
    assert is_alive(here)
    assert is_alive({**here, "process_start": "another"}) is False
    assert is_alive({**here, "host": "elsewhere"}) is None
    assert is_alive({}) is None
    folder = ResultFolder(tmp_path / "run", "relax", {})
    assert Watch(folder.path).look().status == "running"
    folder.record["process_start"] = "another"
    folder.append_point({})
    folder._write()
    assert Watch(folder.path).look().status == "stopped"
    folder.close()


@pytest.mark.parametrize("batch", [(), ("--batch", "2")], ids=["processes", "batches"])
def test_ctrl_c_of_the_main_process_alone_ends_a_campaign(
    batch: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / "many.yaml").write_text(
        "command: scan\noptions:\n  structure: copper.cif\n  mix: ['Cu=Cu,Au']\n  points: 200\n"
        "vary:\n  fmax: [0.001, 0.002]\n"
    )
    arguments = ("campaign", "run", "many.yaml", "--workers", "2", *batch)
    process = start(arguments, tmp_path)
    folder = CampaignFolder(tmp_path / "campaign-many")

    def at_work() -> bool:
        assert process.poll() is None, process.communicate()[0]
        runs = folder.path / "runs"
        return len(list(runs.glob("*/points.jsonl"))) == 2 if runs.exists() else False

    until(at_work)
    runs = folder.runs()
    assert {run_state(folder, run).state for run in runs} == {"begun"}
    os.kill(process.pid, signal.SIGINT)
    begun = time.monotonic()
    process.communicate(timeout=30.0)
    assert time.monotonic() - begun < 10.0
    assert process.returncode == 130
    until(lambda: not group(process.pid), 15.0)
    assert {run_state(folder, run).state for run in runs} == {"stopped"}
    assert Watch(folder.path).look().status == "stopped"
    for run in runs:
        assert record(folder.results(run.name))["status"] == "interrupted"


def group(number: int) -> list[str]:
    """Processes of a group that are left."""
    found = subprocess.run(
        ["ps", "-e", "-o", "pgid=,stat="], capture_output=True, text=True, check=True
    )
    lines = [line.split() for line in found.stdout.splitlines()]
    return [state for pgid, state in lines if int(pgid) == number and not state.startswith("Z")]


def test_windows_that_hardly_overlap_are_refused_at_once() -> None:
    """MBAR worked for minutes on such windows, or gave 95 eV with an error of 1 meV for 2 eV."""
    rng = np.random.default_rng(0)
    couplings = np.linspace(0.0, 1.0, 4)
    springs = 1.0 + 1e4 * couplings
    energies = []
    for spring in springs:
        half_square = 0.5 * KT / spring * np.square(rng.normal(size=(300, 12))).sum(axis=1)
        energies.append(half_square[:, None] * springs)
    begun = time.monotonic()
    for call in (estimate_from_energies, convergence_in_time):
        with pytest.raises(InputError, match=r"couplings 0 and 0\.333333 hardly overlap"):
            call(couplings, energies, TEMPERATURE)
    assert time.monotonic() - begun < 5.0


def test_works_that_do_not_overlap_have_a_free_energy_between_them() -> None:
    """pymbar's iteration does not converge here; Bennett's equation has a root all the same."""
    rng = np.random.default_rng(0)
    forward, backward = 400.0 * rng.normal(size=(2, 9))
    found = bar(forward, backward)
    left = 1.0 / (1.0 + np.exp(np.clip(forward - found, -700, 700)))
    right = 1.0 / (1.0 + np.exp(np.clip(backward + found, -700, 700)))
    assert left.sum() == pytest.approx(right.sum(), rel=1e-6)
