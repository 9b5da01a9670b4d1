"""Settings and campaign files as somebody might send them: the sentence, with line and column."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from alchemlip import InputError
from alchemlip.campaigns.commands import calculations, settings_of
from alchemlip.campaigns.description import read_campaign
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.yaml_files import read_yaml
from test_cli import Cli, assert_one_sentence, cli, files, result  # noqa: F401

BOMB = "a: &a [x, x]\n" + "".join(
    f"{new}: &{new} [*{old}, *{old}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
TRUSTED = "is not taken from a file, since whoever wrote the file could then run code here"

ATTACKS = [
    ("fmax: !!float foo", "line 1, column 7: the tag 'tag:yaml.org,2002:float' is not read"),
    ("fmax: !!python/object/apply:os.system [ls]", "line 1, column 7: the tag .* is not read"),
    ("fmax: ! 1", "line 1, column 7: the tag '!' is not read"),
    ("!!map {fmax: 1}", "line 1, column 1: the tag .* is not read"),
    ("fmax: &x 1", "line 1, column 7: the anchor &x is not read: leave it out"),
    ("mix:\n- &x Na=K\n- *x", "line 2, column 3: the anchor &x is not read"),
    ("fmax: *x", "line 1, column 7: the alias \\*x is not read: write its content"),
    (BOMB, "line 1, column 4: the anchor &a is not read"),
    ("<<: *x", "line 1, column 5: the alias"),
    ("mix: " + "[" * 5000, "line 1, column 26: this is nested deeper than 20 levels"),
    ("mix:\n" + "- " * 2000 + "x", "column .*: this is nested deeper than 20 levels"),
    ("{" * 1000, "line 1, column .*: a list or mapping stands where a name should"),
    ("? [a]\n: 1", "line 1, column 3: a list or mapping stands where a name should"),
    ("fmax: 1\nfmax: 2", "line 2, column 1: 'fmax' is given twice: write it once"),
    ("max-steps: 1\nmax_steps: 2", "line 2, column 1: 'max_steps' is given twice"),
    ("fmax: 1\n---\nfmax: 2", "line 2, column 1: a second document begins here: write one"),
    ("%YAML 1.1\n---\nfmax: 1", "line 1, column 1: directives \\(%\\) are not read"),
    ("fmax: 1\nsmax: \x01", "line 2, column 7: the sign #x01 belongs into no text: take it out"),
    ('cell: "a\\0b"', "line 1, column 7: a text holds the sign \\\\0: take it out"),
    ("fmax: 1\n\tsmax: 1", "line 2, column 1: this is no valid YAML"),
    ("fmax: {a: 1}", "line 1, column 1: 'fmax' holds a list or mapping: write one value"),
    ("fmax: [1, 2]", "line 1, column 1: 'fmax' takes one value, not a list: write one"),
    ("mix: [[Na=K]]", "line 1, column 7: 'mix' holds a list or mapping"),
    ("fmax:", "line 1, column 1: 'fmax' has no value: write one, or leave the line out"),
    ("mix: [~]", "line 1, column 7: 'mix' has no value"),
    ("x" * 2**21, "has more than 1 MiB, which nobody writes by hand: name the right file"),
    ("mix:\n" + "- a\n" * 100_001, "there are more than 100000 entries: divide the file"),
    ("trust_file: true", f"line 1, column 1: 'trust_file' {TRUSTED}"),
    ("trust-file: true", f"'trust-file' {TRUSTED}"),
    ("--trust-file: true", f"'--trust-file' {TRUSTED}"),
    ("TRUST_FILE: no", f"'TRUST_FILE' {TRUSTED}"),
    ("trust: yes", f"'trust' {TRUSTED}"),
    ('"trust\\u005ffile": true', f"'trust_file' {TRUSTED}"),
    ("mix: [{trust_file: true}]", f"line 1, column 8: 'trust_file' {TRUSTED}"),
]


@pytest.mark.parametrize(("text", "words"), ATTACKS, ids=[text[:24] for text, _ in ATTACKS])
def test_settings_files(cli: Cli, tmp_path: Path, text: str, words: str) -> None:  # noqa: F811
    Path("run.yaml").write_text(text)
    before = files(tmp_path)
    begun = time.perf_counter()
    outcome = cli("relax", "salt.cif", "--settings", "run.yaml")
    assert time.perf_counter() - begun < 20.0
    assert_one_sentence(outcome, words)
    assert outcome.err.startswith("Error: 'run.yaml'")
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("command: relax\noptions: {trust_file: true}\n", "line 2, column 11"),
        ("command: relax\nvary:\n  trust-file: [true]\n", "line 3, column 3"),
        ("command: relax\nvary:\n- structure: a\n  trust: 1\n", "line 4, column 3"),
        ("command: relax\nTrust File: true\n", "line 2, column 1"),
        ("command: relax\noptions: {model: {trustfile: x}}\n", "line 2, column 19"),
    ],
)
def test_no_campaign_file_grants_trust(tmp_path: Path, text: str, place: str) -> None:
    file = tmp_path / "c.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=f"{place}: .*{TRUSTED}"):
        read_campaign(file)


def test_only_the_command_line_of_a_campaign_grants_trust(tmp_path: Path) -> None:
    """No option of a run carries it, no value becomes a flag, and no record brings it back."""
    for command, options in calculations().items():
        assert "trust_file" not in options
        given = {"structure": "--trust-file", "model": ["--trust-file"]}
        kept = {k: v if options[k].many else str(v) for k, v in given.items() if k in options}
        kept["model"] = given["model"] if options["model"].many else "--trust-file"
        assert "trust_file" not in settings_of(command, kept, tmp_path)
        assert settings_of(command, kept, tmp_path, trust_file=True)["trust_file"] is True
    run = {"name": "a", "command": "relax", "varied": {}, "files": {}}
    record = {"format": 1, "runs": [run | {"options": {"trust_file": True, "fmax": 1.0}}]}
    (tmp_path / "campaign.json").write_text(json.dumps(record))
    (found,) = CampaignFolder(tmp_path).runs()
    assert found.options == {"fmax": 1.0}


READ = [
    ("1e-3", 1e-3),
    ("1.E+3", 1e3),
    (".5", 0.5),
    ("-7", -7),
    ("010", 10),
    ("0x1F", "0x1F"),
    ("0o17", "0o17"),
    ("1_000", "1_000"),
    ("12:30:00", "12:30:00"),
    ("2020-13-45", "2020-13-45"),
    ("2026-01-01", "2026-01-01"),
    ("no", "no"),
    ("on", "on"),
    ("Yes", "Yes"),
    ("true", True),
    ("~", None),
    ("1e999", "1e999"),
    ("9" * 5000, "9" * 5000),
    ("'1'", "1"),
    ("=", "="),
    ("Na=Na0.5K0.5", "Na=Na0.5K0.5"),
]


@pytest.mark.parametrize(("text", "value"), READ, ids=[text[:12] for text, _ in READ])
def test_what_is_written_is_what_is_read(tmp_path: Path, text: str, value: Any) -> None:
    """YAML 1.2's core schema, with the text kept: 1.10 is no 1.1 where a text is meant."""
    file = tmp_path / "a.yaml"
    file.write_text(f"on: {text}\n")
    source = read_yaml(file)
    assert source.content == {"on": value}
    assert type(source.content["on"]) is type(value)
    if value is not None:
        assert source.as_written(("on",)) == text.strip("'")


def test_numbers_and_texts_reach_their_options(cli: Cli) -> None:  # noqa: F811
    Path("run.yaml").write_text("mix: Na=Na0.5K0.5\nmax_steps: 0\nfmax: 2e-3\nout: 1.10\n")
    assert cli("relax", "salt.cif", "--settings", "run.yaml").code == 0
    assert result("1.10")["inputs"]["relaxation"]["fmax"] == 2e-3
    Path("c.yaml").write_text(
        "command: relax\noptions: {fmax: 1e-3, keep_symmetry: yes, model: 1.10}\n"
        "vary: {structure: salt.cif}\n"
    )
    options = read_campaign("c.yaml").options
    assert options == {"fmax": 1e-3, "keep_symmetry": True, "model": "1.10"} | (
        {} if isinstance(options["model"], str) else {"model": ["1.10"]}
    )
