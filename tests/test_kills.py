"""Commands killed at random moments end with the results of one that was never killed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))

from reliability import COMMANDS, Command, kill, write_structures

NEVER_KILLED_BEFORE = ("disorder --explicit", "order", "transmute --windows")


@pytest.mark.parametrize(
    "command",
    [
        command
        for command in COMMANDS
        if command.name in NEVER_KILLED_BEFORE and command.potential != "springs"
    ],
    ids=lambda command: f"{command.name}, {command.potential}",
)
def test_killed_and_run_again(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`benchmarks/reliability.py` does this with all commands, and more often."""
    if command.potential == "sevennet-0":
        pytest.importorskip("sevenn")
    monkeypatch.chdir(tmp_path)
    write_structures()
    kills = 1 if command.potential == "sevennet-0" else 2
    found = kill(command, kills, seed=1, twice=False)
    assert found["kills"] == kills
    assert found["values"] > 20
    assert found["largest_difference"] == 0.0
