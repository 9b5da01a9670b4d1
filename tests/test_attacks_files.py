"""File systems and records as they should not be: one sentence each, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import resource
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alchemlip import InputError, Mixture, write_structure
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.failures import sentence_of
from alchemlip.files import is_partial, parse_json, replacing, write_atomically
from alchemlip.records.results import ResultFolder, read_record
from alchemlip.records.runs import RunRecord
from alchemlip.records.serialization import unpack
from alchemlip.records.step_log import StepLog
from recorded_runs import switching_record
from test_cli import SALT, Cli, assert_one_sentence, cli, files  # noqa: F401

LONG = "x" * 256
DEEP = b'{"a":' * 1000 + b"1" + b"}" * 1000
AGAIN = "run the same command again, which goes on from what is finished"

# ---------------------------------------------------------------------- what the system refuses

SENTENCES = [
    (errno.EFBIG, "cannot write 'f' (File too large): raise the limit on the size of files"),
    (errno.EMFILE, f"too many files are open: raise their number (ulimit -n), and {AGAIN}"),
    (errno.ENFILE, f"too many files are open: raise their number (ulimit -n), and {AGAIN}"),
    (errno.ENAMETOOLONG, "the name 'f' is too long for the file system: choose a shorter one"),
    (errno.ELOOP, "cannot use 'f' (Too many levels of symbolic links): correct the symbolic links"),
    (errno.ENOTDIR, "cannot use 'f' (Not a directory): name another one"),
    (errno.EISDIR, "cannot use 'f' (Is a directory): name another one"),
    (errno.EIO, "the disk does not take or give 'f' (Input/output error): look at it"),
    (errno.ENOMEM, "there is too little memory: take a smaller cell"),
]


@pytest.mark.parametrize(("number", "words"), SENTENCES)
def test_refusals_of_the_system(
    cli: Cli,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "f")

    monkeypatch.setattr("alchemlip.records.results.ResultFolder.finish", refuse)
    outcome = cli("energy", *SALT)
    assert outcome.err.startswith(f"Error: {words}")
    assert_one_sentence(outcome, "")
    # The record says the same, not a number of the system.
    assert read_record(Path("energy-salt"))["reason"].startswith(words)


@pytest.mark.parametrize(
    "line",
    [
        f"energy {LONG}",
        f"energy salt.cif --out {LONG}",
        f"energy salt.cif --model {LONG}",
        f"energy salt.cif --settings {LONG}",
        f"transmute salt.cif --to Na=K --repeat 1,1,1 -T 300 --out {LONG}",
        f"transmute salt.cif --end-state {LONG} -T 300",
        f"campaign run {LONG}",
        f"campaign run c.yaml --out {LONG}",
        f"campaign init {LONG}",
        f"campaign status {LONG}",
        f"analyze {LONG}",
        f"watch {LONG}",
        f"report {LONG}",
    ],
)
def test_names_of_256_characters(cli: Cli, tmp_path: Path, line: str) -> None:  # noqa: F811
    Path("c.yaml").write_text("command: energy\nvary: {structure: salt.cif}\n")
    before = files(tmp_path)
    outcome = cli(*line.split())
    assert_one_sentence(outcome, "too long|File name")
    assert files(tmp_path) == before


def test_a_limit_on_the_size_of_files(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    record = RunRecord(tmp_path / "run.sqlite", "switch", {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match="large") as error:
            write_atomically(tmp_path / "large", bytes(10_000))
        with pytest.raises(InputError, match=r"limit on the size of files \(ulimit -f\)"):
            record.checkpoint([], {"a": np.zeros(100_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    record.close()
    assert "ulimit -f" in str(sentence_of(error.value))
    assert not [item for item in tmp_path.iterdir() if is_partial(item.name)]


def test_too_many_open_files(tmp_path: Path) -> None:
    switching_record(tmp_path / "run.sqlite", 1).close()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
    try:
        error: OSError | None = None
        while error is None:
            try:
                opened.append(os.open(tmp_path / "run.sqlite", os.O_RDONLY))
            except OSError as reason:
                error = reason
        with pytest.raises(InputError, match="too many files are open: raise their number"):
            RunRecord.read(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for number in opened:
            os.close(number)
    assert "ulimit -n" in str(sentence_of(error))


# ---------------------------------------------------------------------- what stands in the way


def folder(path: Path) -> None:
    path.mkdir()


def pipe(path: Path) -> None:
    os.mkfifo(path)


def deep(path: Path) -> None:
    path.write_bytes(DEEP)


def very_deep(path: Path) -> None:
    path.write_bytes(b"[" * 100_000)


def digits(path: Path) -> None:
    path.write_bytes(b'{"a": ' + b"1" * 10_000 + b"}")


def bytes_(path: Path) -> None:
    path.write_bytes(b'{"a": "\xff"}')


def listed(path: Path) -> None:
    path.write_text("[1]")


@pytest.mark.parametrize("make", [folder, pipe, deep, very_deep, digits, bytes_, listed])
@pytest.mark.parametrize(
    "line",
    [
        "energy salt.cif --out here",
        "watch here --once",
        "report here",
        "concentration here",
        "vacancy salt.cif --site 0 -T 300 --reference here",
    ],
)
def test_a_result_that_is_none(
    cli: Cli,  # noqa: F811
    line: str,
    make: Callable[[Path], None],
) -> None:
    """No reader waits for ever on a pipe, and none ends in a traceback."""
    Path("here").mkdir()
    make(Path("here/result.json"))
    done: list[Any] = []
    thread = threading.Thread(target=lambda: done.append(cli(*line.split())), daemon=True)
    thread.start()
    thread.join(60)
    assert done, "it waits"
    assert_one_sentence(
        done[0], "is (damaged|no result|a folder, not a file|a named pipe, not a file)"
    )


@pytest.mark.parametrize("make", [folder, pipe, deep, digits, listed])
def test_a_campaign_that_is_none(cli: Cli, make: Callable[[Path], None]) -> None:  # noqa: F811
    Path("camp").mkdir()
    make(Path("camp/campaign.json"))
    for line in ("campaign status camp", "campaign collect camp", "watch camp --once"):
        assert_one_sentence(cli(*line.split()), "damaged|not a file|no campaign|no result.json")
    with pytest.raises(InputError):
        CampaignFolder("camp").runs()


# ---------------------------------------------------------------------- damaged run databases

VALUES = ["[" * 5000, DEEP.decode(), "{", "1" * 10_000, "[1]", "7", "null", "\x00"]


@pytest.mark.parametrize("name", ["command", "inputs", "source", "versions", "status", "results"])
@pytest.mark.parametrize("value", VALUES, ids=[value[:8] for value in VALUES])
def test_damaged_values_in_a_run_record(tmp_path: Path, name: str, value: str) -> None:
    file = tmp_path / "run.sqlite"
    switching_record(file, 1).close()
    with sqlite3.connect(file) as connection:
        connection.execute("UPDATE run SET value = ? WHERE name = ?", (value, name))
    connection.close()

    def read() -> None:
        with RunRecord.read(file) as record:
            _ = record.status, record.results, record.inputs

    with pytest.raises(InputError, match=r"the record .* is damaged: name a new folder"):
        read()


@pytest.mark.parametrize("column", ["command_line", "versions", "machine"])
@pytest.mark.parametrize("value", VALUES, ids=[value[:8] for value in VALUES])
def test_damaged_starts_and_notes(tmp_path: Path, column: str, value: str) -> None:
    file = tmp_path / "run.sqlite"
    switching_record(file, 1).close()
    with sqlite3.connect(file) as connection:
        connection.execute(f"UPDATE starts SET {column} = ?", (value,))
        connection.execute("INSERT INTO notes VALUES ('a', ?)", (DEEP.decode(),))
        connection.execute("UPDATE state SET content = 'text'")
    connection.close()
    with RunRecord.read(file) as record:
        if (column, value) != ("command_line", "[1]"):
            with pytest.raises(InputError, match="is damaged"):
                _ = record.starts
        for read in (record.notes, lambda: record.noted("a"), record.state):
            with pytest.raises(InputError, match="is damaged"):
                read()


@pytest.mark.parametrize(
    "text",
    [DEEP, b'{"a": {"$array": ["<f8", [1e99], "C"]}}', b'{"a": {"$array": 7}}', b"{", b"\xff"],
)
def test_a_damaged_state_with_its_checksum(text: bytes) -> None:
    from alchemlip.records.serialization import _checksum

    data = len(text).to_bytes(8, "little") + text
    with pytest.raises(ValueError, match=r".+"):
        unpack(_checksum(data) + data)


def test_json_as_deep_as_records_are() -> None:
    assert parse_json("[" * 90 + "]" * 90)
    for text in ("[" * 200 + "]" * 200, "[" * 10**6):
        with pytest.raises(ValueError, match="too deep"):
            parse_json(text)


# ---------------------------------------------------------------------- labels


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (["Na", 7], r"damaged \(the components .* are no texts\)"),
        (["Na", None], r"damaged \(the components .* are no texts\)"),
        (["Na", {}], r"damaged \(the components .* are no texts\)"),
        ("Na", "damaged|component"),
        ([], "component"),
    ],
)
def test_labels_that_are_no_texts(tmp_path: Path, labels: Any, words: str) -> None:
    mixture = Mixture.from_dict(SALT_MIXTURE)
    data = mixture.to_dict()
    data["groups"][0]["components"] = labels
    with pytest.raises(InputError, match=words):
        Mixture.from_dict(data)
    file = tmp_path / "salt.json"
    file.write_text(json.dumps(data))
    from alchemlip import read_structure

    with pytest.raises(InputError, match=words):
        read_structure(file)


SALT_MIXTURE = {
    "symbols": ["Na", "Cl"],
    "positions_A": [[0.0, 0.0, 0.0], [2.8, 2.8, 2.8]],
    "cell_A": [[0.0, 2.8, 2.8], [2.8, 0.0, 2.8], [2.8, 2.8, 0.0]],
    "pbc": [True, True, True],
    "groups": [
        {
            "name": "cations",
            "sites": [0],
            "components": ["Na", "K"],
            "species": [["Na", "K"]],
            "composition": [0.5, 0.5],
            "correlation": "independent",
        }
    ],
}


@pytest.mark.parametrize(
    "line",
    [
        "disorder odd.json --mix cations=Na,K --points 3",
        "order odd.json --no-relax --repeat 1,1,2",
        "transmute odd.json --to cations=K -T 300",
        "design odd.json --target a=5",
    ],
)
def test_labels_that_are_no_elements(cli: Cli, line: str) -> None:  # noqa: F811
    data = json.loads(json.dumps(SALT_MIXTURE))
    data["groups"][0]["components"] = ["first", "<b>second</b>"]
    Path("odd.json").write_text(json.dumps(data))
    outcome = cli(*line.split())
    assert "Traceback" not in outcome.err
    if outcome.code:
        assert_one_sentence(outcome, "")


# ---------------------------------------------------------------------- partial files and links


def test_partial_files_are_new_and_unguessable(tmp_path: Path) -> None:
    """Whatever lies under a name that could be guessed is neither used nor followed."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("out.json.partial", ".out.json.partial", "out.json.tmp"):
        (tmp_path / name).symlink_to(victim)
    (tmp_path / "out.json").symlink_to(victim)
    names = set()
    for _ in range(3):
        with replacing(tmp_path / "out.json") as partial:
            names.add(partial.name)
            assert is_partial(partial.name)
            assert partial.suffix == ".json"
            partial.write_text("new")
    assert len(names) == 3
    assert victim.read_text() == "mine"
    assert not (tmp_path / "out.json").is_symlink()
    assert (tmp_path / "out.json").read_text() == "new"


def test_a_partial_file_is_never_one_that_exists(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alchemlip.files.secrets.token_hex", lambda _: "0" * 16)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / f".out.{'0' * 16}.partial.json").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_atomically(tmp_path / "out.json", b"new")
    assert victim.read_text() == "mine"
    assert not (tmp_path / "out.json").exists()


def test_everything_written_at_once_goes_the_same_way(tmp_path: Path) -> None:
    """Structures and pictures replace a link, and leave what it points to."""
    from matplotlib.figure import Figure

    from alchemlip.files import save_figure

    mixture = Mixture.from_dict(SALT_MIXTURE)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("a.json", "a.cif", "a.extxyz", "a.png"):
        (tmp_path / name).symlink_to(victim)
        if name == "a.png":
            save_figure(Figure(), tmp_path / name, 50)
        else:
            write_structure(mixture, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 100
    assert victim.read_text() == "mine"
    assert not [item for item in tmp_path.iterdir() if is_partial(item.name)]


def test_nothing_is_added_through_a_link(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    run = ResultFolder(tmp_path / "run", "scan", {})
    (tmp_path / "run/points.jsonl").symlink_to(victim)
    (tmp_path / "run/steps.jsonl").symlink_to(victim)
    with pytest.raises(InputError, match="symbolic link, through which nothing is written"):
        run.append_point({"x": 1})
    with pytest.raises(InputError, match="symbolic link, through which nothing is written"):
        StepLog(tmp_path / "run/steps.jsonl")
    run.close()
    campaign = CampaignFolder(tmp_path / "campaign")
    (tmp_path / "campaign/attempts").mkdir(parents=True)
    (tmp_path / "campaign/attempts/a.jsonl").symlink_to(victim)
    with pytest.raises(InputError, match="symbolic link"):
        campaign.note("a", "begun")
    assert victim.read_text() == "mine"


def test_what_a_killed_process_had_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / f".result.{'a' * 16}.partial.json").write_text("{")
    (tmp_path / "result.json.partial").write_text("{")  # by version 0.1
    run = ResultFolder(tmp_path, "scan", {})
    assert not [item for item in tmp_path.iterdir() if is_partial(item.name)]
    run.finish({})
