"""``alchemlip watch``: what a running calculation has done, without its noticing."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from alchemlip.campaigns.progress import Progress, progress_of
from alchemlip.cli.watch import Speed, duration
from alchemlip.records.results import ResultFolder
from alchemlip.records.step_log import STEPS, StepLog, read_lines
from alchemlip.reporting.watching import Snapshot, Watch
from report_runs import switching_run, write_result
from test_cli import LOOSE, Cli, assert_one_sentence, cli, files, result  # noqa: F401


def test_a_running_transmutation(cli: Cli, tmp_path: Path) -> None:  # noqa: F811
    folder = switching_run(tmp_path / "run", repeats=5, finished=False)
    before = files(folder)
    outcome = cli("watch", str(folder), "--once")
    assert outcome.code == 0, outcome.err
    assert files(folder) == before
    for words in ("running", "backward", "repeat", "eV for the whole cell", "last written"):
        assert words in outcome.out


def test_a_locked_folder_is_watched(tmp_path: Path) -> None:
    folder = ResultFolder(tmp_path / "run", "relax", {"a": 1})
    with closing(StepLog(folder.path / STEPS)) as log:
        for step in range(3):
            log.add(
                {
                    "step": step,
                    "energy_eV": -1.0 - step,
                    "max_force_eV_per_A": 0.1,
                    "max_stress_deviation_GPa": 0.0,
                }
            )
            assert dict(Watch(folder.path).look().values)["step"] == str(step)
    snapshot = Watch(folder.path).look()
    assert not snapshot.ended
    assert dict(snapshot.values)["energy"] == "-3.000000 eV"
    folder.stop("failed", "the disk is full")
    assert Watch(folder.path).look().reason == "the disk is full"
    assert Watch(folder.path).look().ended


def test_points_of_a_scan_count(cli: Cli) -> None:  # noqa: F811
    cli("scan", "salt.cif", "--mix", "Na=Na,K", "--points", "3", *LOOSE, "--out", "run")
    lines = Path("run/points.jsonl").read_text().splitlines(keepends=True)
    Path("run/points.jsonl").write_text("".join(lines[:2]) + lines[2][:50])
    Path("run/result.json").write_text(json.dumps(result("run") | {"status": "running"}))
    assert Watch(Path("run")).look().progress == Progress(2, 3, "points")
    outcome = cli("watch", "run", "--once")
    assert "2 of 3 points" in outcome.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("transmute", "salt.cif", "--to", "Na=K"),
        (
            *("transmute", "salt.cif", "--to", "Na=K", "--windows", "3", "--sample", "0.02"),
            *("--sample-interval", "1", "--exchange-interval", "2"),
        ),
        ("frenkel-ladd", "salt.cif", "--springs", "given", "--spring", "Na=1", "--spring", "Cl=1"),
    ],
    ids=["switching", "windows", "frenkel-ladd"],
)
def test_a_finished_run_is_done_wholly(cli: Cli, arguments: tuple[str, ...]) -> None:  # noqa: F811
    fast = ("--equilibrate", "0.006", "--switch", "0.01", "--repeats", "2", "--cell", "fixed")
    assert cli(*arguments, *fast, "-T", "300", "--out", "run").code == 0
    progress = progress_of(Path("run"), result("run"))
    assert progress is not None
    assert progress.fraction == 1.0
    assert progress.done == progress.total


def test_a_folder_that_is_none(cli: Cli) -> None:  # noqa: F811
    assert_one_sentence(cli("watch", "nowhere", "--once"), "there is no result.json")
    assert_one_sentence(
        cli("watch", "nowhere", "--interval", "0"), "give a number above 0, at most"
    )


def test_speed_is_that_of_now() -> None:
    """A run that was continued has no speed before the second look."""
    speed = Speed()

    def seen(done: int, started: float | None) -> Snapshot:
        return Snapshot(
            "run", "switch", "running", progress=Progress(done, 100, ""), started=started
        )

    assert speed.of(seen(50, None), 1000.0) is None
    assert speed.of(seen(60, None), 1010.0) == pytest.approx(1.0)
    assert Speed().of(seen(50, 900.0), 1000.0) == pytest.approx(0.5)


def test_times_as_people_say_them() -> None:
    said = [duration(t) for t in (45.0, 600.0, 9000.0, 1e6)]
    assert said == ["45 s", "10 min", "2.5 h", "11.6 days"]


def test_a_line_that_is_still_written_is_left_out(tmp_path: Path) -> None:
    file = tmp_path / "steps.jsonl"
    file.write_text('{"step": 1}\n[2]\nbroken\n{"step": 3}\n{"step": 4')
    assert read_lines(file) == [{"step": 1}, {"step": 3}]
    assert read_lines(tmp_path / "nothing") == []


def test_q_ends_the_view_and_gives_the_terminal_back(tmp_path: Path) -> None:
    write_result(tmp_path, command="relax")
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from alchemlip.cli import main; main()", "watch", str(tmp_path)],
        stdin=child,
        stdout=child,
        stderr=child,
    )
    os.close(child)
    seen, deadline = b"", time.monotonic() + 60.0
    while b"running" not in seen and time.monotonic() < deadline:
        if select.select([parent], [], [], 0.5)[0]:
            seen += os.read(parent, 4096)
    os.write(parent, b"q")
    try:
        assert process.wait(timeout=60.0) == 0
    finally:
        process.kill()
        os.close(parent)
    assert b"running" in seen
