"""The run record: what was committed is there exactly, once, whatever ends the process."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from alchemlip import InputError
from alchemlip.records.runs import RECORD, Frame, RunRecord, Sample
from alchemlip.records.serialization import pack, unpack
from record_writers import COMMAND, INPUTS, INTERVAL, SEGMENTS, Walk

WRITER = Path(__file__).with_name("record_writers.py")


def start(mode: str, file: Path, *args: Any, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, str(WRITER), mode, str(file), *map(str, args)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **options)


def open_record(file: Path) -> RunRecord:
    return RunRecord(file, COMMAND, INPUTS)


def assert_is_the_walk(record: RunRecord) -> int:
    """Samples, frames, notes and state are those of a walk that was never stopped."""
    state = record.state()
    columns = record.samples()
    n = 0 if state is None else state["done"]
    walk = Walk(None)
    expected = [walk.step() for _ in range(n)]
    keys = list(zip(columns["repeat"], columns["segment"], columns["step"], strict=True))
    assert keys == [(item.repeat, item.segment, item.step) for item in expected]
    assert columns["dhdl_eV"].tolist() == [item.dhdl_eV for item in expected]
    assert len(list(record.frames())) == n // INTERVAL
    assert record.noted("done") == (n or None)
    if state is not None:
        assert state["rng"] == walk.rng.bit_generator.state
        assert state["position"].tobytes() == walk.position.tobytes()
    return n


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, in type and in the order of memory."""
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray | np.generic):
        flags = [(x.flags.c_contiguous, x.flags.f_contiguous) for x in map(np.asarray, (a, b))]
        return (
            type(a) is type(b)
            and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
            and flags[0] == flags[1]
        )
    return type(a) is type(b) and repr(a) == repr(b)


# ---------------------------------------------------------------------------- the state as bytes

ARRAYS = npst.arrays(
    st.sampled_from(["<f8", ">f8", "<f4", "<c16", "<i8", "|u1", "|b1", "<U3"]),
    npst.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
STATES = st.dictionaries(
    st.text(max_size=3).filter(lambda key: not key.startswith("$")),
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(min_value=-(2**130), max_value=2**130)
        | st.floats()
        | st.text(max_size=5)
        | ARRAYS
        | ARRAYS.map(np.asfortranarray),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@settings(max_examples=200, deadline=None)
@given(STATES)
def test_a_state_is_read_back_to_the_bit(state: dict[str, Any]) -> None:
    assert same(unpack(pack(state)), state)


@pytest.mark.parametrize("name", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_a_generator_goes_on_where_it_was(name: str) -> None:
    one = np.random.Generator(getattr(np.random, name)(3))
    one.normal(size=7)
    one.integers(5, dtype=np.int32)  # leaves half a draw behind
    other = np.random.Generator(getattr(np.random, name)(4))
    other.bit_generator.state = unpack(pack(one.bit_generator.state))
    assert other.normal(size=50).tolist() == one.normal(size=50).tolist()


@pytest.mark.parametrize(
    "value", [{1, 2}, np.array([None]), b"bytes", {3: 1}, {"$array": 1}, object()]
)
def test_what_cannot_be_kept_exactly_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"state\.deep\[1\]"):
        pack({"deep": [1, value]})


def test_arrays_can_be_changed_after_reading() -> None:
    array = unpack(pack({"a": np.zeros(3)}))["a"]
    array += 1
    assert array.tolist() == [1, 1, 1]


# ------------------------------------------------------------------------------- what is recorded


def test_inputs_and_versions_come_first(tmp_path: Path) -> None:
    record = RunRecord(tmp_path / "new" / RECORD, COMMAND, INPUTS, {"structure_file": "a.cif"})
    read = RunRecord.read(tmp_path / "new")
    assert (read.command, read.inputs, read.source) == (
        COMMAND,
        INPUTS,
        {"structure_file": "a.cif"},
    )
    assert read.versions["numpy"] == np.__version__
    assert (read.status, read.results, read.state(), read.notes()) == ("running", {}, None, {})
    assert read.samples()["energies_eV"].shape == (0, 0)
    record.finish({"free_energy_eV": -1.0})
    assert (read.status, read.results) == ("finished", {"free_energy_eV": -1.0})
    assert sorted(os.listdir(tmp_path / "new")) == sorted([RECORD, f".{RECORD}.lock"])


def test_samples_come_back_as_columns(tmp_path: Path) -> None:
    """Exact, in the order of repeat, segment as they came, window, step; nan where not given."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(2, 2, 2, 3)) * 10.0 ** rng.integers(-300, 300, size=(2, 2, 2, 3))
    given_samples = [
        Sample(repeat, segment, step, window, dhdl_eV=numbers[repeat, s, window, step])
        for repeat in range(2)
        for s, segment in enumerate(["z", "a"])
        for step in range(3)
        for window in range(2)
    ]
    with open_record(tmp_path / RECORD) as record:
        record.checkpoint(given_samples[:5], {})
        record.checkpoint(given_samples[5:], {})
        columns = record.samples()
        assert columns["segment"].tolist() == 2 * (6 * ["z"] + 6 * ["a"])
        assert columns["window"].tolist() == 4 * [0, 0, 0, 1, 1, 1]
        assert columns["step"].tolist() == 8 * [0, 1, 2]
        assert columns["dhdl_eV"].tolist() == numbers.ravel().tolist()
        assert np.isnan(columns["volume_A3"]).all()
        part = record.samples(repeat=1, segment="a", window=1)
        assert part["dhdl_eV"].tolist() == numbers[1, 1, 1].tolist()
        assert len(record.samples(segment="unknown")["step"]) == 0


def test_energies_of_windows_and_frames(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    energies, positions, cell = rng.normal(size=(2, 4)), rng.normal(size=(5, 3)), np.eye(3) / 3
    samples = [
        Sample(0, "sample", 0, energies_eV=energies[0], coupling=np.float32(0.5)),
        Sample(0, "sample", 1),
        Sample(np.int64(0), "sample", np.int64(2), energies_eV=energies[1]),
    ]
    with open_record(tmp_path / RECORD) as record:
        frame = Frame(0, "sample", 1, positions=positions, cell=cell)
        record.checkpoint(samples, {}, frames=[frame])
        found = record.samples()["energies_eV"]
        (read,) = record.frames(repeat=0, segment="sample", window=0)
        assert list(record.frames(window=1)) == []
    assert found[[0, 2]].tolist() == energies.tolist()
    assert np.isnan(found[1]).all()
    assert (read.step, read.window) == (1, 0)
    assert read.positions.tolist() == positions.tolist()
    assert read.cell.tolist() == cell.tolist()


def test_notes_are_replaced_by_key(tmp_path: Path) -> None:
    with open_record(tmp_path / RECORD) as record:
        record.note("repeat 0/springs", {"k": np.array([1.5, 2.5]), "n": np.int64(3)})
        record.checkpoint([], {}, notes={"repeat 0/springs": [1], "b": None})
        assert record.notes() == {"repeat 0/springs": [1], "b": None}
        assert record.noted("unknown") is None


def test_no_sample_is_written_twice(tmp_path: Path) -> None:
    """And nothing else of a checkpoint that fails: neither its other samples nor its state."""
    with open_record(tmp_path / RECORD) as record:
        record.checkpoint([Sample(0, "forward", 0)], {"n": 1})
        with pytest.raises(ValueError, match="already"):
            record.checkpoint(
                [Sample(0, "forward", 1), Sample(0, "forward", 0)], {"n": 2}, notes={"n": 2}
            )
        assert record.samples()["step"].tolist() == [0]
        assert (record.state(), record.notes()) == ({"n": 1}, {})


def test_samples_are_read_fast(tmp_path: Path) -> None:
    with open_record(tmp_path / RECORD) as record:
        record.checkpoint([Sample(0, "forward", i, 0, 1.0, 2.0, 3.0) for i in range(100_000)], {})
        begin = time.perf_counter()
        assert len(record.samples()["step"]) == 100_000
        assert time.perf_counter() - begin < 2.0  # a million in 4 s here


# --------------------------------------------------------------------------- ending and going on


def test_a_run_goes_on_to_the_same_samples(tmp_path: Path) -> None:
    file = tmp_path / RECORD
    for samples in (30, 250, 900):
        writer = start("write", file, samples)
        writer.communicate()
        assert writer.returncode == 0
    with open_record(file) as record:
        assert record.resumed
        assert not record.finished
        assert assert_is_the_walk(record) == 900
        assert [item["checkpoints"] for item in record.starts] == [3, 22, 65, 0]
        assert record.samples()["segment"].tolist()[::200] == [*SEGMENTS, *SEGMENTS[:2]]


def test_how_a_run_ended_is_noted(tmp_path: Path) -> None:
    record = open_record(tmp_path / RECORD)
    with pytest.raises(RuntimeError), record.noting_failure():
        raise RuntimeError("too hot")
    assert (record.status, record.reason) == ("failed", "too hot")
    record = open_record(tmp_path / RECORD)
    assert (record.status, record.reason) == ("running", None)
    with pytest.raises(KeyboardInterrupt), record.noting_failure():
        raise KeyboardInterrupt
    assert record.status == "interrupted"
    with pytest.raises(ValueError, match="only to be read"):
        record.checkpoint([], {})


def test_a_finished_record_is_left_alone(tmp_path: Path) -> None:
    record = open_record(tmp_path / RECORD)
    record.checkpoint([Sample(0, "forward", 0)], {"n": 1})
    record.finish({"free_energy_eV": 1.0})
    record.stop("failed", "afterwards")
    before = (tmp_path / RECORD).read_bytes()
    again = open_record(tmp_path / RECORD)
    assert (again.resumed, again.finished, again.state()) == (True, True, {"n": 1})
    assert again.results == {"free_energy_eV": 1.0}
    assert (tmp_path / RECORD).read_bytes() == before


def test_exact_continuation_takes_the_same_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = {"machine": "a", "processor": "P", "torch_threads": 1}
    for module in ("runs", "recorded_run"):
        monkeypatch.setattr(f"alchemlip.records.{module}.describe_machine", lambda: machine)
    with open_record(tmp_path / RECORD) as record:
        record.checkpoint([], {})
    machine |= {"machine": "b"}  # another of the same kind
    with open_record(tmp_path / RECORD) as record:
        assert record.continues_exactly()
    machine |= {"torch_threads": 2}
    with (
        open_record(tmp_path / RECORD) as record,  # computes nothing
        pytest.warns(UserWarning, match="torch threads 2 where it had 1"),
    ):
        assert not record.continues_exactly()
    machine |= {"torch_threads": 1, "processor": "Q"}
    with (
        open_record(tmp_path / RECORD) as record,
        pytest.warns(UserWarning, match="processor Q where it had P"),
    ):
        assert not record.continues_exactly()


# ------------------------------------------------------------------------------------- bad input


def test_a_record_of_another_run_is_refused_untouched(tmp_path: Path) -> None:
    file = tmp_path / RECORD
    open_record(file).stop("interrupted", "by hand")
    before = file.read_bytes()
    with pytest.raises(InputError, match="made with another temperature_K"):
        RunRecord(file, COMMAND, {**INPUTS, "temperature_K": 400.0})
    with pytest.raises(InputError, match="holds the results of 'switch'"):
        RunRecord(file, "vacancy", INPUTS)
    assert file.read_bytes() == before


def test_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    file = tmp_path / RECORD
    open_record(file).stop("interrupted", "by hand")
    connection = sqlite3.connect(file)
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    before = file.read_bytes()
    for attempt in (open_record, RunRecord.read):
        with pytest.raises(InputError, match="newer alchemlip"):
            attempt(file)
    assert file.read_bytes() == before


def test_other_files_are_refused_untouched(tmp_path: Path) -> None:
    text, foreign = tmp_path / "a.txt", tmp_path / "b.sqlite"
    text.write_text("structure\n" * 1000)
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE mine (x)")
    connection.close()
    for file in (text, foreign):
        before = file.read_bytes()
        for attempt in (open_record, RunRecord.read):
            with pytest.raises(InputError, match="is no run record"):
                attempt(file)
        assert file.read_bytes() == before
    with pytest.raises(InputError, match="is a folder"):
        open_record(tmp_path)
    with pytest.raises(InputError, match="there is no run record"):
        RunRecord.read(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "b.sqlite"]


def test_a_damaged_record_gives_one_sentence(tmp_path: Path) -> None:
    """Cut anywhere, a record is refused; with bytes changed it is refused or readable."""
    start("write", tmp_path / RECORD, 300).communicate()
    whole = (tmp_path / RECORD).read_bytes()
    rng = random.Random(1)
    file = tmp_path / "damaged.sqlite"
    for _ in range(20):
        file.write_bytes(whole[: rng.randrange(1, len(whole))])
        for attempt in (open_record, RunRecord.read):
            with pytest.raises(InputError, match=r"is damaged|is no run record"):
                attempt(file)
    for _ in range(20):
        changed = bytearray(whole)
        for place in rng.choices(range(100, len(whole)), k=100):
            changed[place] = rng.randrange(256)
        file.write_bytes(changed)
        try:
            with RunRecord.read(file) as record:
                record.samples(), record.state(), record.notes(), list(record.frames())
        except InputError as error:
            assert "is damaged" in str(error)  # noqa: PT017


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    with open_record(tmp_path / RECORD) as record:
        record.checkpoint([], {"position": np.full(100, 0.1)})
    content = bytearray((tmp_path / RECORD).read_bytes())
    content[content.index(np.full(4, 0.1).tobytes()) + 3] ^= 1
    (tmp_path / RECORD).write_bytes(content)
    with open_record(tmp_path / RECORD) as record, pytest.raises(InputError, match="is damaged"):
        record.state()


def test_two_processes_do_not_write_one_record(tmp_path: Path) -> None:
    with start("write", tmp_path / RECORD, 10**9) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(InputError, match="another process is at work"):
            open_record(tmp_path / RECORD)
        other.kill()
    with open_record(tmp_path / RECORD):
        pass


# ---------------------------------------------------------------------------------------- crashes


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """Nothing that was committed is lost, nothing is there twice, and the run goes on exactly."""
    file, rng, done = tmp_path / RECORD, random.Random(5), 0
    for _ in range(20):
        with start("write", file, 10**9) as writer:
            assert writer.stdout is not None
            assert int(writer.stdout.readline()) >= done
            time.sleep(rng.uniform(0.0, 0.03))
            writer.kill()
            committed = [
                int(line)
                for line in writer.stdout.read().splitlines(keepends=True)
                if line.endswith("\n")
            ]
        content = {item.name: item.read_bytes() for item in tmp_path.iterdir()}
        with RunRecord.read(file) as record:
            found = assert_is_the_walk(record)
        # Reading leaves even a half-written transaction as it is.
        assert content == {item.name: item.read_bytes() for item in tmp_path.iterdir()}
        assert found >= max([done, *committed])
        done = found
    with start("write", file, done + 100) as writer:
        writer.communicate()
    with open_record(file) as record:
        assert assert_is_the_walk(record) == done + 100


def hot(folder: Path) -> Path:
    """Return a record whose process was killed with a transaction partly in the database."""
    file = folder / RECORD
    with start("die", file, 300) as writer:
        writer.communicate()
    assert writer.returncode < 0
    assert file.with_name(RECORD + "-journal").stat().st_size > 0
    return file


def test_a_transaction_cut_off_is_undone(tmp_path: Path) -> None:
    """Also if the file ends in the middle of a page that it was adding."""
    file = hot(tmp_path)
    start("write", tmp_path / "intact" / RECORD, 300).communicate()
    before = (tmp_path / "intact" / RECORD).stat().st_size
    assert file.stat().st_size > before + 4096
    for cut in (0, 1, 3000):
        copy = tmp_path / str(cut)
        copy.mkdir()
        shutil.copy(file, copy)
        shutil.copy(file.with_name(RECORD + "-journal"), copy)
        os.truncate(copy / RECORD, file.stat().st_size - cut)
        with RunRecord.read(copy) as record:
            assert assert_is_the_walk(record) == 300
        with open_record(copy / RECORD) as record:
            assert assert_is_the_walk(record) == 300
        with start("write", copy / RECORD, 500) as writer:
            writer.communicate()
        with open_record(copy / RECORD) as record:
            assert assert_is_the_walk(record) == 500


def test_the_journal_is_what_undoes_it(tmp_path: Path) -> None:
    """Without it the database is not what was committed: the last test can fail."""
    file = hot(tmp_path)
    file.with_name(RECORD + "-journal").unlink()
    with pytest.raises((InputError, AssertionError)), open_record(file) as record:
        assert_is_the_walk(record)


def test_killed_before_anything_was_written(tmp_path: Path) -> None:
    (tmp_path / RECORD).touch()
    with pytest.raises(InputError, match="is empty"):
        RunRecord.read(tmp_path)
    with open_record(tmp_path / RECORD) as record:
        assert not record.resumed


# -------------------------------------------------------------------------------------- full disk


def test_a_full_database_keeps_what_it_has(tmp_path: Path) -> None:
    record = open_record(tmp_path / RECORD)
    walk = Walk(None)
    record._connection.execute("PRAGMA max_page_count = 30")
    sentence = "the disk is full: free space and continue with --resume; .* up to step"
    state = walk.state()

    def fill() -> None:
        nonlocal state
        while True:
            record.checkpoint([walk.step() for _ in range(INTERVAL)], walk.state())
            state = walk.state()

    with pytest.raises(InputError, match=sentence) as caught, record.noting_failure():
        fill()
    with open_record(tmp_path / RECORD) as record:
        found = record.state()
        columns = record.samples()
    assert found is not None
    assert found["done"] == state["done"] == len(columns["step"])
    assert f"up to step {columns['step'][-1]} of {str(columns['segment'][-1])!r}" in str(
        caught.value
    )


def test_a_limit_on_the_file_is_an_error_of_the_disk(tmp_path: Path) -> None:
    """What a quota does: the system refuses to write in the middle of a transaction."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    with start("write", tmp_path / RECORD, 10**9, stderr=subprocess.PIPE, preexec_fn=limit) as run:
        out, err = run.communicate()
    assert run.returncode == 1
    assert "InputError: the disk does not take or give data (SQLITE_IOERR_WRITE)" in err
    with open_record(tmp_path / RECORD) as record:
        assert assert_is_the_walk(record) == int(out.splitlines()[-1])


def test_a_small_disk(tmp_path: Path) -> None:
    """A file system of 200 kB in a name space of its own fills up; freed, the run goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    script = (
        f"mount -t tmpfs -o size=200k none {disk} || exit 77; "
        f"exec {sys.executable} {WRITER} fill {disk / RECORD}"
    )
    try:
        unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script]
        run = subprocess.run(unshare, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if run.returncode == 77 or run.stderr.startswith("unshare"):
        pytest.skip("nothing can be mounted here")
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert any(line.startswith("the disk is full: free space and continue") for line in lines)
    kept, word = lines[-1].split()
    assert word == "kept"
    assert int(kept) > 500


# ---------------------------------------------------------------------------------------- reading


def test_reading_while_another_process_writes(tmp_path: Path) -> None:
    """Every look sees whole checkpoints; the writer is not held up, and no file is made."""
    with start("write", tmp_path / RECORD, 10**9, 0.02) as writer:
        assert writer.stdout is not None
        writer.stdout.readline()
        seen = []
        for _ in range(50):
            with RunRecord.read(tmp_path) as record:
                seen.append(len(record.samples()["step"]))
                frames = record.frames()  # begun and left
                next(frames, None)
                time.sleep(0.01)
        names = sorted(os.listdir(tmp_path))
        writer.kill()
        committed = [int(line) for line in writer.stdout.read().split()]
    assert names == sorted([RECORD, f"{RECORD}-journal", f".{RECORD}.lock"])
    assert all(n % INTERVAL == 0 for n in seen)
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert len(committed) >= len(set(seen)) - 1
    with RunRecord.read(tmp_path) as record:
        assert_is_the_walk(record)
        with pytest.raises(ValueError, match="only to be read"):
            record.note("a", 1)


def test_a_record_opens_by_the_tools_of_sqlite(tmp_path: Path) -> None:
    """Plain tables, so that a record outlives this package."""
    start("write", tmp_path / RECORD, 50).communicate()
    connection = sqlite3.connect(tmp_path / RECORD)
    rows = connection.execute(
        "SELECT name, step, coupling FROM samples JOIN segments ON segment = segments.id"
    ).fetchall()
    assert rows == [(SEGMENTS[0], step, step / 200) for step in range(50)]
    (inputs,) = connection.execute("SELECT value FROM run WHERE name = 'inputs'").fetchone()
    connection.close()
    assert json.loads(inputs) == INPUTS
