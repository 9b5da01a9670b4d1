"""What a newcomer does wrong, and the very sentence that says so."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import pytest

from alchemlip.cli import INTERRUPTED
from test_cli import SCAN, Cli, assert_one_sentence, cli, files  # noqa: F401

UNKNOWN = "is neither a known potential nor a file"
FORMULA = "write each element with its capital letter and its weight behind it, such as Ce0.7Zr0.3"

SENTENCES = [
    # the structure
    ("energy none.cif", "there is no structure file 'none.cif': check the path"),
    ("energy folder", "'folder' is a folder: name a structure file in it"),
    (
        "energy unknown.cif",
        "'Xq1' in block 'image0' of 'unknown.cif', line 26, has the type symbol 'Xq', which names "
        "no element: write the element, or a row for each element on the site, with its occupancy",
    ),
    # what is mixed
    (
        "energy salt.cif --mix Na=Na0.7K0.4",
        "the weights of the composition 'Na0.7K0.4' sum to 1.1, not 1: correct them, or ask for "
        "normalisation (normalise=True, --normalise)",
    ),
    (
        "energy salt.cif --mix Xx=Na",
        "the selection 'Xx' is neither an element nor a named group: write an element symbol, or "
        "site indices",
    ),
    (
        "energy salt.cif --mix na=K",
        "the selection 'na' is neither an element nor a named group (did you mean Na?): write an "
        "element symbol, or site indices",
    ),
    (
        "energy salt.cif --mix Na=Xx",
        "unknown species 'Xx': write an element symbol such as Ce, or Va for a vacancy",
    ),
    (
        "scan salt.cif --mix Na=na,K",
        "unknown species 'na' (did you mean Na?): write an element symbol such as Ce, or Va for a "
        "vacancy",
    ),
    (
        "energy salt.cif --mix Na=0.7Na0.3K",
        f"cannot read the composition '0.7Na0.3K' at '0.7Na0.3K': {FORMULA}",
    ),
    (
        "energy salt.cif --mix Na:K",
        "cannot read --mix 'Na:K': write for example --mix Ce=Ce0.7Zr0.3",
    ),
    (
        "order salt.cif",
        "no sites are mixed, so nothing is disordered: mix at least two species, such as "
        "Ce=Ce0.5Zr0.5 (--mix)",
    ),
    # the potential
    (
        "energy salt.cif --model sevenet-0",
        f"'sevenet-0' {UNKNOWN} (did you mean sevennet-0 or sevennet-mf-0?): take a name that "
        "'alchemlip models' lists, or the path of a SevenNet, CHGNet or MACE model",
    ),
    (
        "energy salt.cif --model mace",
        f"'mace' {UNKNOWN} (did you mean mace-mp-small or mace-mp-medium or mace-mp-large?): take "
        "a name that 'alchemlip models' lists, or the path of a SevenNet, CHGNet or MACE model",
    ),
    (
        "energy salt.cif --model xyzzy",
        f"'xyzzy' {UNKNOWN}: take a name that 'alchemlip models' lists, or the path of a "
        "SevenNet, CHGNet or MACE model",
    ),
    ("energy salt.cif --device gpu", "unknown device 'gpu': choose cpu, cuda or auto"),
    # numbers
    (
        "transmute salt.cif --to Na=K -T -300",
        "--temperature -300 cannot be used: give a number from 0.001 to 100000 (K)",
    ),
    (
        "transmute salt.cif --to Na=K --timestep 0",
        "--timestep 0 cannot be used: give a number from 0.001 to 1000 (fs)",
    ),
    (
        "transmute salt.cif --to Na=K --repeats 0",
        "--repeats 0 cannot be used: give a whole number from 1 to 100000",
    ),
    (
        "transmute salt.cif --to Na=K --cell cubic",
        "--cell cubic cannot be used: give fixed, volume or full",
    ),
    (
        "transmute salt.cif --to Na=K --repeat 2",
        "--repeat 2 cannot be used: write three repeats up to 1000 such as 2,2,1",
    ),
    (
        "transmute salt.cif",
        "it is not clear what the crystal becomes: give either --to, such as --to Pb=Sn, or "
        "--end-state FILE",
    ),
    (
        "scan salt.cif --mix Na=Na,K --points 1",
        "--points 1 cannot be used: give a whole number from 2 to 1001",
    ),
    # folders and files
    ("analyze nowhere", "there is no run record 'nowhere': name a folder that holds one"),
    (
        "campaign status nowhere",
        "there is no campaign in 'nowhere': name the folder that 'alchemlip campaign run' made",
    ),
    (
        "campaign run nowhere.yaml",
        "cannot read 'nowhere.yaml' (No such file or directory): check the path",
    ),
    (
        "campaign run nowhere.yaml --workers 2 --threads 0",
        "--threads 0 cannot be used: give a whole number from 1 to 4096, or leave it out",
    ),
]


@pytest.mark.parametrize(("line", "sentence"), SENTENCES, ids=[line for line, _ in SENTENCES])
def test_sentence(cli: Cli, tmp_path: Path, line: str, sentence: str) -> None:  # noqa: F811
    (tmp_path / "folder").mkdir()
    text = (tmp_path / "salt.cif").read_text()
    (tmp_path / "unknown.cif").write_text(text.replace("Na", "Xq"))
    before = files(tmp_path)
    outcome = cli(*line.split())
    assert outcome.err == f"Error: {sentence}\n"
    assert_one_sentence(outcome, "")
    assert files(tmp_path) == before


def test_a_typo_in_a_settings_file(cli: Cli, tmp_path: Path) -> None:  # noqa: F811
    (tmp_path / "settings.yaml").write_text("fmaxx: 0.1\n")
    outcome = cli("relax", "salt.cif", "--settings", "settings.yaml")
    assert_one_sentence(outcome, r"unknown entry 'fmaxx' \(did you mean fmax\?\): the options of")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "cannot write 'points.jsonl' .*: free space, and run the same command"),
        (errno.EACCES, "cannot use 'points.jsonl' .*: correct its permissions"),
    ],
)
def test_a_disk_that_is_full_or_closed(
    cli: Cli,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    words: str,
) -> None:
    """One sentence instead of a trace; what was finished stays, and the command goes on."""

    def fail(*_: Any) -> None:
        raise OSError(number, os.strerror(number), "points.jsonl")

    with monkeypatch.context() as full:
        full.setattr("alchemlip.records.results.ResultFolder.append_point", fail)
        outcome = cli(*SCAN)
    assert outcome.code == 2
    assert "Traceback" not in outcome.err
    assert outcome.err.splitlines()[-1].startswith("Error: cannot ")
    assert re.search(words, outcome.err.splitlines()[-1])
    assert cli(*SCAN).code == 0


def test_too_little_memory(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    class OutOfMemoryError(RuntimeError): ...

    for error in (MemoryError(), OutOfMemoryError("CUDA out of memory")):

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr("alchemlip.mixture.structure_files.read_with_notes", fail)
        assert_one_sentence(cli("energy", "salt.cif"), "too little memory: take a smaller cell")


def test_other_errors_are_not_hidden(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """A fault of the program keeps its trace."""

    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("alchemlip.mixture.structure_files.read_with_notes", fail)
    with pytest.raises(RuntimeError, match="a fault"):
        cli("energy", "salt.cif")


def test_ctrl_c_says_how_to_go_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    from alchemlip.records.results import ResultFolder

    append = ResultFolder.append_point

    def interrupt(self: ResultFolder, point: Any) -> None:
        append(self, point)
        raise KeyboardInterrupt

    with monkeypatch.context() as pressed:
        pressed.setattr(ResultFolder, "append_point", interrupt)
        outcome = cli(*SCAN)
    assert outcome.code == 130
    assert outcome.err.endswith(INTERRUPTED + "\n")
    assert "the same command goes on" in INTERRUPTED
    outcome = cli(*SCAN)
    assert outcome.code == 0
    assert "1 of 3 compositions were finished before" in outcome.out
