"""Campaigns: what a file expands to, and that every run is done once, whatever happens."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ase.build import bulk
from typer.main import get_command
from typer.testing import CliRunner

from alchemlip import AlchemicalPotential
from alchemlip.backends.loading import keeping_potentials, load_potential
from alchemlip.calculations import calculation
from alchemlip.campaigns.commands import calculations, settings_of
from alchemlip.campaigns.description import read_campaign, template
from alchemlip.campaigns.execution import jobs, run_jobs
from alchemlip.campaigns.executors import Lane, in_this_process, processes
from alchemlip.campaigns.expansion import CampaignRun, expand
from alchemlip.campaigns.folder import MOST_FAILURES, CampaignFolder
from alchemlip.campaigns.table import collected, flat, run_state
from alchemlip.campaigns.worker import Job, Outcome, perform, run_calculation
from alchemlip.cli import app
from alchemlip.errors import InputError
from alchemlip.records.results import lock_folder
from alchemlip.records.runs import RunRecord
from campaign_runs import VACANCIES, cheap_runs
from pair_models import pair_potential, spring_potential

ENERGIES = """\
command: energy
vary:
  structure: [salt.cif, large.cif]
  mix: [Na=Na0.5K0.5, Na=Na0.9K0.1]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Structure files, and analytic potentials in place of models."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    cheap_runs(tmp_path, monkeypatch)
    yield tmp_path
    torch.set_num_threads(before)


def cli(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["campaign", *arguments])


def write(text: str, name: str = "mixing.yaml") -> Path:
    Path(name).write_text(text)
    return Path(name)


def names(text: str) -> list[str]:
    return [run.name for run in expand(read_campaign(write(text)))]


def prepared(text: str, out: str) -> tuple[CampaignFolder, list[CampaignRun], list[Job]]:
    """Return a folder with the campaign on record, its runs and jobs."""
    campaign = read_campaign(write(text))
    runs = expand(campaign)
    made = CampaignFolder(out)
    made.record(campaign.source.file, made.check(runs))
    return made, runs, jobs(made, runs, campaign.base, 1)


def analytic(deadly: bool = False) -> None:
    """Give a worker the analytic potentials; a deadly one dies of one of the runs."""
    from alchemlip.calculations import potentials
    from alchemlip.campaigns import worker

    pairs, springs = pair_potential(), spring_potential(3.7, (29,), 1.0, {29: 1.5})
    potentials.prepare_potential = lambda *_: pairs
    potentials.prepare_single_potential = lambda *_: springs
    if deadly:

        def run(command: str, settings: Any, out: Path) -> Any:
            if "salt.cif" in str(settings) and "K0.5" in str(settings):
                os.kill(os.getpid(), signal.SIGKILL)
            return run_calculation(command, settings, out)

        worker.run_calculation = run


def forked(deadly: bool = False) -> Executor:
    """A pool of one process, forked from one where torch is loaded and no thread runs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["alchemlip.calculations.vacancy", "pair_models"])
    return ProcessPoolExecutor(1, mp_context=context, initializer=analytic, initargs=(deadly,))


# ---------------------------------------------------------------------- expansion


def test_every_combination_is_a_run() -> None:
    assert names(ENERGIES) == [
        "salt_mix-Na-Na0.5K0.5",
        "salt_mix-Na-Na0.9K0.1",
        "large_mix-Na-Na0.5K0.5",
        "large_mix-Na-Na0.9K0.1",
    ]


def test_blocks_are_expanded_by_themselves() -> None:
    text = """\
command: relax
options: {fmax: 1e-2}
vary:
  - {structure: salt.cif, pressure: [0, 5.0]}
  - {name: other, structure: large.cif, mix: [[Na=K, Cl=Cl0.9Va0.1]], smax: 1}
"""
    runs = expand(read_campaign(write(text)))
    assert [run.name for run in runs] == [
        "salt_pressure-0",
        "salt_pressure-5",
        "other_mix-Na-K+Cl-Cl0.9Va0.1",
    ]
    assert runs[2].options["mix"] == ["Na=K", "Cl=Cl0.9Va0.1"]
    assert runs[0].options["fmax"] == 0.01  # which YAML takes for a text


def test_names_and_seeds_do_not_depend_on_order() -> None:
    runs = {run.name: run for run in expand(read_campaign(write(VACANCIES)))}
    more = VACANCIES.replace("[100, 200]", "[300, 200, 100]").replace("replicas: 2", "replicas: 6")
    later = {run.name: run for run in expand(read_campaign(write(more)))}
    assert len(runs) == 4
    assert len(later) == 18
    assert all(later[name] == run for name, run in runs.items())
    seeds = [run.options["seed"] for run in later.values()]
    assert len(set(seeds)) == len(seeds)
    other = expand(read_campaign(write(VACANCIES.replace("seed: 3", "seed: 4"))))
    assert not {run.options["seed"] for run in other} & set(seeds)


def test_a_given_seed_is_kept() -> None:
    text = VACANCIES.replace("replicas: 2\n", "") + "  seed: [1, 2]\n"
    seeds = [run.options["seed"] for run in expand(read_campaign(write(text)))]
    assert seeds == [1, 2, 1, 2]


def test_settings_reach_the_calculation_as_they_were_meant() -> None:
    """What a run is given is what the campaign file says; its command line says it again."""
    options = {"structure": "Cu.extxyz", "mu": -4.5, "static": False, "mix": ["a=b", "c=d"]}
    options |= {"reference_cell": False, "repeats": 3, "repeat": "2,2,2"}
    made = calculation("vacancy")(**settings_of("vacancy", options, Path.cwd()))
    for name, value in options.items():
        wanted = Path("Cu.extxyz").absolute() if name == "structure" else value
        assert getattr(made, name) == wanted
    words = made.command_line()
    assert words[:3] == ["alchemlip", "vacancy", str(Path("Cu.extxyz").absolute())]
    assert {"--mu=-4.5", "--no-static", "--mix=a=b", "--mix=c=d", "--repeats=3"} <= set(words)
    command = get_command(app).commands["vacancy"]  # type: ignore[attr-defined]
    parsed = command.make_context("vacancy", words[2:]).params
    del parsed["out"], parsed["settings"]
    assert calculation("vacancy")(**parsed) == made


def test_the_template_of_every_calculation_is_a_campaign() -> None:
    bulk("NaCl", "rocksalt", 5.7).write("NaCl.cif")
    assert {"energy", "relax", "scan", "transmute", "frenkel-ladd"} <= set(calculations())
    assert not {"models", "analyze"} & set(calculations())
    for command in calculations():
        assert len(expand(read_campaign(write(template(command))))) == 2
    assert cli("init", "new.yaml").exit_code == 0
    assert len(names(Path("new.yaml").read_text())) == 2
    again = cli("init", "new.yaml")
    assert isinstance(again.exception, InputError)


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("command: melt\nvary: {structure: salt.cif}\n", 1, "no calculation 'melt': choose one of"),
        ("\ncomand: relax\n", 2, "unknown entry 'comand': choose one of command"),
        ("seed: 1\n", 1, "'command' is missing"),
        ("command: relax\nseed: -1\n", 2, "seed = -1 cannot be used"),
        ("command: relax\nseed: one\n", 2, "seed = 'one' cannot be used"),
        ("command: relax\nvary:\n  presure: 1\n", 3, "has no option 'presure': choose one of pres"),
        ("command: relax\noptions:\n  out: x\n", 3, "gives 'out' to its runs itself"),
        (
            "command: relax\nvary:\n  pressure:\n  - 1\n  - high\n",
            5,
            "--pressure high cannot be used: give a number",
        ),
        (
            "command: relax\nvary:\n  max_steps: 1.5\n",
            3,
            "--max-steps 1.5 cannot be used: give a whole",
        ),
        ("command: relax\noptions: {cell: ~}\n", 2, "--cell None cannot be used: give a text"),
        ("command: relax\nvary:\n  structure: none.cif\n", 3, "there is no file"),
        ("command: relax\nvary:\n  structure: []\n", 3, "'structure' has no values"),
        ("command: relax\nvary:\n  pressure: 1\n", 2, "'structure' is missing"),
        ("command: relax\nvary: []\n", 2, "the list of blocks is empty|'structure' is missing"),
        ("command: relax\nseed: 1\nseed: 2\n", 3, "'seed' is given twice"),
        ("command: relax\noptions: {fmax: 1}\nvary:\n  fmax: 2\n", 4, "'fmax' is given twice"),
        ("command: relax\nreplicas: 2\nvary: {structure: salt.cif}\n", 2, "'relax' has no seed"),
        ("command: relax\nvary: [\n", 3, "no valid YAML"),
        ("command: relax\nvary: &a\n  mix: [*a]\n", 2, "the anchor &a is not read"),
        ("- relax\n", 1, "write lines such as"),
        ("", 1, "write lines such as"),
        (
            "command: relax\nvary:\n  structure: salt.cif\n  pressure: [1, 1.0]\n",
            2,
            "two runs have the name 'salt_pressure-1'",
        ),
        (
            "command: relax\nvary:\n - structure: salt.cif\n - structure: ./salt.cif\n",
            4,
            "two runs have the name 'salt'",
        ),
    ],
)
def test_bad_files_get_one_sentence_with_the_line(text: str, line: int, words: str) -> None:
    with pytest.raises(InputError, match=words) as error:
        names(text)
    assert f"'mixing.yaml', line {line}, column " in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read 'none\.yaml'"):
        read_campaign("none.yaml")
    Path("bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no text in UTF-8"):
        read_campaign("bytes.yaml")
    with pytest.raises(InputError, match="there is no campaign in"):
        CampaignFolder(tmp_path).runs()


# ---------------------------------------------------------------------- running


def test_a_campaign_from_the_command_line() -> None:
    write(ENERGIES)
    planned = json.loads(cli("plan", "mixing.yaml", "--json").output)
    assert [run["state"] for run in planned] == ["waiting"] * 4
    assert not Path("campaign-mixing").exists()
    done = cli("run", "mixing.yaml")
    assert done.exit_code == 0, done.output
    states = json.loads(cli("status", "campaign-mixing", "--json").output)
    assert [state["state"] for state in states] == ["finished"] * 4
    before = {
        file: file.stat().st_mtime_ns for file in Path("campaign-mixing/runs").rglob("*.json")
    }
    assert cli("run", "mixing.yaml").exit_code == 0
    assert before == {file: file.stat().st_mtime_ns for file in before}

    assert cli("collect", "campaign-mixing").exit_code == 0
    table = pd.read_csv("campaign-mixing/table.csv")
    parquet = pd.read_parquet("campaign-mixing/table.parquet")
    assert list(table.columns) == list(parquet.columns)
    assert list(table["mix"]) == ["Na=Na0.5K0.5", "Na=Na0.9K0.1"] * 2
    assert list(table["structure"]) == ["salt.cif"] * 2 + ["large.cif"] * 2
    for row, other in zip(table.itertuples(), parquet.itertuples(), strict=True):
        results = json.loads(Path(f"campaign-mixing/runs/{row.run}/result.json").read_text())
        assert row.energy_eV == results["results"]["energy_eV"] == other.energy_eV
        # The record shows a command line that makes the same run.
        assert results["command_line"][:2] == ["alchemlip", "energy"]


def test_points_of_scans_make_a_table() -> None:
    scan = "command: scan\noptions: {mix: 'Na=Na,K', points: 3, fmax: 0.1, smax: 2.0}\n"
    write(scan + "vary: {structure: [salt.cif], pressure: [0, 1]}\n")
    assert cli("run", "mixing.yaml").exit_code == 0
    assert cli("collect", "campaign-mixing").exit_code == 0
    points = pd.read_csv("campaign-mixing/points.csv")
    assert len(points) == 6
    assert sorted(set(points["pressure"])) == [0.0, 1.0]


def test_results_become_flat() -> None:
    nested = {"a": 1.0, "b": {"c": [1, 2], "d": None}, "e": list(range(9)), "f": "text"}
    assert flat(nested) == {"a": 1.0, "b.c.0": 1, "b.c.1": 2, "b.d": None, "f": "text"}


def test_what_fails_three_times_is_marked_and_the_rest_goes_on() -> None:
    text = ENERGIES + "  normalise: false\n"
    made, runs, todo = prepared(text.replace("Na=Na0.5K0.5", "Na=Na0.5Fe0.5"), "campaign-mixing")
    tally = run_jobs(made, todo, in_this_process())
    assert len(tally.finished) == 2
    assert len(tally.given_up) == 2
    for name, reason in tally.given_up.items():
        assert "does not cover Fe" in reason
        assert made.attempts(name).failures == MOST_FAILURES
        assert run_state(made, next(run for run in runs if run.name == name)).state == "failed"
    # A campaign that is started again knows.
    assert run_jobs(made, todo, in_this_process()).given_up == tally.given_up
    assert all(made.attempts(name).begun == MOST_FAILURES for name in tally.given_up)
    ended = cli("run", "mixing.yaml")
    assert ended.exit_code == 1
    assert "does not cover Fe" in ended.output
    assert cli("run", "mixing.yaml", "--retry").exit_code == 1
    assert all(made.attempts(name).begun == MOST_FAILURES for name in tally.given_up)


def samples(made: CampaignFolder, run: CampaignRun) -> dict[str, np.ndarray[Any, Any]]:
    with RunRecord.read(made.results(run.name)) as record:
        assert record.finished
        return record.samples()


def test_killed_workers_change_nothing() -> None:
    """Workers killed at random: each sample is there once, as in one process, bit for bit."""
    serial, runs, todo = prepared(VACANCIES, "serial")
    assert len(run_jobs(serial, todo, in_this_process()).finished) == 4
    parallel, _, todo = prepared(VACANCIES, "parallel")
    kills: list[int] = []
    over = threading.Event()

    def kill() -> None:
        rng = random.Random(0)
        while not over.is_set() and len(kills) < 4:
            over.wait(0.01)
            text = "".join(file.read_text() for file in (parallel.path / "attempts").iterdir())
            begun = {json.loads(line).get("process") for line in text.splitlines() if line}
            for victim in begun - {None, *kills}:
                over.wait(rng.uniform(0.0, 0.3))  # anywhere in a run
                os.kill(victim, signal.SIGKILL)
                kills.append(victim)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        tally = run_jobs(parallel, todo, [Lane(forked), Lane(forked)])
    finally:
        over.set()
        killer.join()
    assert len(kills) > 2
    assert not tally.given_up
    assert sorted(tally.finished) == sorted(run.name for run in runs)
    assert sum(parallel.attempts(run.name).begun for run in runs) > len(runs)
    for run in runs:
        alone, killed = samples(serial, run), samples(parallel, run)
        for column, values in alone.items():
            np.testing.assert_array_equal(values, killed[column])
    rows = [collected(made, runs) for made in (serial, parallel)]
    assert rows[0] == rows[1]
    assert len({row["free_energy_eV"] for row in rows[0]}) == len(runs)


def test_a_run_that_kills_its_worker_does_not_hold_up_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("alchemlip.campaigns.folder.MOST_LOSSES", 3)
    made, _, todo = prepared(ENERGIES, "out")
    tally = run_jobs(made, todo, [Lane(lambda: forked(True)), Lane(lambda: forked(True))])
    assert len(tally.finished) == 3
    assert list(tally.given_up) == ["salt_mix-Na-Na0.5K0.5"]
    assert "its worker was lost" in tally.given_up["salt_mix-Na-Na0.5K0.5"]


def test_workers_that_die_before_any_run_are_told() -> None:
    made, _, todo = prepared(ENERGIES, "out")

    def make() -> Executor:
        context = multiprocessing.get_context("forkserver")
        return ProcessPoolExecutor(1, mp_context=context, initializer=os._exit, initargs=(3,))

    with pytest.raises(InputError, match="workers end before they begin a run"):
        run_jobs(made, todo, [Lane(make)])
    assert not any(made.attempts(job.name).begun for job in todo)


def test_a_folder_in_use_is_waited_for() -> None:
    """A worker that was lost but lives is not a failure of the run."""
    made, runs, todo = prepared(ENERGIES, "out")
    name = runs[0].name
    lock = lock_folder(made.results(name), ".lock")
    endings: list[str] = []

    def report(_: Any, outcome: Outcome | None) -> None:
        if outcome is not None and outcome.name == name:
            endings.append(outcome.ending)
            if outcome.ending == "busy":
                lock.release()

    tally = run_jobs(made, todo, in_this_process(), report)
    assert endings == ["busy", "finished"]
    assert len(tally.finished) == 4
    assert made.attempts(name).failures == made.attempts(name).losses == 0


def test_a_run_killed_while_its_first_file_was_written_goes_on() -> None:
    made, _, todo = prepared(ENERGIES, "out")
    results = made.results(todo[0].name)
    results.mkdir(parents=True)
    (results / "result.json.partial").write_text("{")
    assert perform(todo[0]).ending == "finished"


def test_any_executor_serves() -> None:
    made, _, todo = prepared(ENERGIES, "out")
    # Threads share what is printed and sys.argv: one at a time.
    tally = run_jobs(made, todo, [Lane(lambda: ThreadPoolExecutor(1), width=4)])
    assert len(tally.finished) == 4


def test_spawned_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Workers whose scheduler is killed end, so that a restarted campaign finds no one at work."""
    made, _, _ = prepared(ENERGIES, "out")
    del made
    parent = multiprocessing.get_context("spawn").Process(target=_leave_worker, args=(tmp_path,))
    parent.start()
    marker = tmp_path / "worker"
    deadline = time.monotonic() + 60.0
    while not (marker.exists() and marker.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    worker = int(marker.read_text())
    parent.kill()
    parent.join()
    deadline = time.monotonic() + 30.0
    while _alive(worker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _alive(worker)


def _leave_worker(folder: Path) -> None:
    executor = processes(1)[0].make()
    (folder / "worker").write_text(str(executor.submit(os.getpid).result()))
    executor.submit(time.sleep, 60.0).result()


def _alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_measured_cost_is_that_of_the_run() -> None:
    """Steps of a run are alike: some tell the time of all, within what a busy machine adds."""
    write(VACANCIES.replace("switch: 0.08", "switch: 0.6"))
    planned = cli("plan", "mixing.yaml", "--measure", "--json")
    assert planned.exit_code == 0, planned.output
    seconds = {run["seconds"] for run in json.loads(planned.stdout)}
    assert len(seconds) == 1  # temperature and seed do not matter
    assert not Path("campaign-mixing").exists()
    _, _, todo = prepared(Path("mixing.yaml").read_text(), "campaign-mixing")
    perform(todo[0])  # imports what only the end of a run needs
    taken = perform(todo[1]).seconds
    assert 0.1 < seconds.pop() / taken < 10.0


# ---------------------------------------------------------------------- a changed campaign


def test_a_changed_file_is_refused_and_a_longer_one_accepted() -> None:
    write(ENERGIES)
    assert cli("run", "mixing.yaml").exit_code == 0
    record = Path("campaign-mixing/campaign.json")
    before = record.read_bytes()
    write(ENERGIES + "options: {concerted: all}\n")
    refused = cli("run", "mixing.yaml")
    assert isinstance(refused.exception, InputError)
    assert "the campaign file was changed: run 'salt_mix-Na-Na0.5K0.5'" in str(refused.exception)
    assert "with another concerted" in str(refused.exception)
    assert record.read_bytes() == before
    write(ENERGIES.replace("mix: [", "mix: [Na=Na0.2K0.8, "))
    assert cli("run", "mixing.yaml").exit_code == 0
    assert len(CampaignFolder("campaign-mixing").runs()) == 6
    # Runs that the file no longer names stay on record.
    write(ENERGIES.replace("[salt.cif, large.cif]", "salt.cif"))
    assert cli("run", "mixing.yaml").exit_code == 0
    assert len(CampaignFolder("campaign-mixing").runs()) == 6


def test_a_changed_structure_is_refused() -> None:
    write(ENERGIES)
    assert cli("run", "mixing.yaml").exit_code == 0
    bulk("NaCl", "rocksalt", 6.0).write("large.cif")
    with pytest.raises(InputError, match=r"another content of 'large.cif'"):
        CampaignFolder("campaign-mixing").check(expand(read_campaign("mixing.yaml")))


def test_folders_of_others_are_left_alone() -> None:
    write(ENERGIES)
    Path("other").mkdir()
    Path("other/notes").write_text("mine")
    for out in ("other", "mixing.yaml"):
        refused = cli("run", "mixing.yaml", "--out", out)
        assert isinstance(refused.exception, InputError)
    assert [item.name for item in Path("other").iterdir()] == ["notes"]


def test_two_at_once_are_refused() -> None:
    write(ENERGIES)
    lock = CampaignFolder("campaign-mixing").lock()
    refused = cli("run", "mixing.yaml")
    lock.release()
    assert "another process is at work" in str(refused.exception)
    assert cli("run", "mixing.yaml").exit_code == 0


@pytest.mark.filterwarnings("ignore:flock not supported")
@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_file_system_without_locks_is_refused(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in place of a lock would stay behind when its process is killed."""

    def refuse(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    write(ENERGIES)
    refused = cli("run", "mixing.yaml")
    assert isinstance(refused.exception, InputError)
    assert "has no file locks" in str(refused.exception)


def test_attempts_survive_a_line_that_was_cut_off() -> None:
    made, runs, _ = prepared(ENERGIES, "out")
    name = runs[0].name
    made.note(name, "begun")
    made.note(name, "failed", error="first")
    file = made.path / "attempts" / f"{name}.jsonl"
    file.write_bytes(file.read_bytes() + b'{"event": "beg')
    made.note(name, "begun")
    attempts = made.attempts(name)
    assert (attempts.begun, attempts.failures, attempts.losses) == (2, 1, 1)
    assert attempts.error == "first"


def test_potentials_are_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def make(name: str, *_: Any) -> Any:
        made.append(name)
        return pair_potential().backend

    monkeypatch.setattr("alchemlip.backends.loading.make_backend", make)
    kept: dict[str, AlchemicalPotential] = {}
    for _ in range(2):
        with keeping_potentials(kept):
            first = load_potential("one", "cpu")
            assert load_potential("one", "cpu") is first
            assert load_potential("one", "cpu", "float32") is not first
    assert load_potential("one", "cpu") is not first
    # A local checkpoint that was written again is another one.
    Path("one").write_text("weights")
    with keeping_potentials(kept):
        assert load_potential("one", "cpu") is not first
    assert made == ["one"] * 4


def test_a_job_runs_in_this_process() -> None:
    made, runs, todo = prepared(ENERGIES, "out")
    outcome = perform(todo[0])
    assert (outcome.ending, outcome.error) == ("finished", "")
    assert made.finished(runs[0].name)
    assert "energy" in made.log(runs[0].name).read_text()
