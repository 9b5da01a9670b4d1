"""Records say their format: older ones are brought up to date, newer ones are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alchemlip.errors import InputError
from alchemlip.records.formats import RESULT_FORMAT, STEPS, from_1_to_2, upgraded
from alchemlip.records.results import ResultFolder, read_record

OLD = Path(__file__).parent / "data" / "records_0_1" / "finished"


def test_every_older_format_has_a_way_up() -> None:
    assert sorted(STEPS) == list(range(1, RESULT_FORMAT))


def test_records_of_0_1_are_read_in_the_newest_format() -> None:
    for file in sorted(OLD.rglob("result.json")):
        before = json.loads(file.read_text())
        assert "format" not in before
        found = read_record(file.parent)
        assert found["format"] == RESULT_FORMAT
        assert found["command_line"][0] == "alchemlip"
        assert found["command_line"][1:] == before["command_line"][1:]
        kept = {key: value for key, value in found.items() if key not in ("format", "command_line")}
        assert kept == {key: value for key, value in before.items() if key != "command_line"}
        assert json.loads(file.read_text()) == before


def test_words_of_each_part_of_a_run() -> None:
    part = {"command_line": ["/opt/bin/alchemlip", "scan", "a.cif"]}
    found = from_1_to_2({**part, "continued": [dict(part), {"started": "then"}]})
    assert found["continued"][0]["command_line"] == ["alchemlip", "scan", "a.cif"]
    assert found["continued"][1] == {"started": "then"}


@pytest.mark.parametrize("number", [RESULT_FORMAT + 1, 0, -1, "two", True, None, 1.5])
def test_other_formats_are_refused(tmp_path: Path, number: Any) -> None:
    record = {"format": number, "status": "finished", "command": "energy", "inputs": {}}
    (tmp_path / "result.json").write_text(json.dumps(record))
    newer = isinstance(number, int) and number > RESULT_FORMAT
    words = "by a newer alchemlip .*: update" if newer else "damaged: its format"
    with pytest.raises(InputError, match=words):
        read_record(tmp_path)
    with pytest.raises(InputError, match=words):
        ResultFolder(tmp_path, "energy", {})
    assert json.loads((tmp_path / "result.json").read_text()) == record


def test_new_records_say_theirs(tmp_path: Path) -> None:
    ResultFolder(tmp_path / "new", "energy", {}).finish({})
    record = json.loads((tmp_path / "new" / "result.json").read_text())
    assert record["format"] == RESULT_FORMAT
    assert upgraded(record, tmp_path) == record
