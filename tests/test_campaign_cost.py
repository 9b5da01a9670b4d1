"""What runs will cost, and how far they are."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from alchemlip.calculations import calculation
from alchemlip.calculations.base import Progress
from alchemlip.calculations.cost import EvaluationCount
from alchemlip.calculations.trial import trial_relaxation
from alchemlip.campaigns.commands import settings_of
from alchemlip.campaigns.cost import measured_costs
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.progress import fraction_done
from alchemlip.campaigns.table import run_state
from alchemlip.campaigns.worker import run_calculation
from alchemlip.records.results import POINTS
from campaign_runs import cheap_runs, cli, runs_of
from pair_models import pair_potential

DYNAMICS = "timestep: 4.0, equilibrate: 0.04, switch: 0.08, repeats: 2, checkpoint_interval: 5"
RUNS = {
    "windows": "command: transmute\noptions: {structure: salt.cif, to: 'Na=K', cell: fixed, "
    f"windows: 3, sample: 0.08, {DYNAMICS}}}\n",
    "transmute": "command: transmute\noptions: {structure: salt.cif, to: 'Na=K', cell: fixed, "
    f"{DYNAMICS}}}\n",
    "frenkel-ladd": "command: frenkel-ladd\noptions: {structure: salt.cif, repeat: '2,2,2', "
    f"temperature: 5, cell: volume, cell_time: 0.04, spring_time: 0.08, {DYNAMICS}}}\n",
    "vacancy": "command: vacancy\noptions: {structure: Cu.extxyz, repeat: '2,2,2', mu: -4, "
    f"static: false, temperature: 5, cell: fixed, {DYNAMICS}}}\n",
}


class StopError(Exception):
    """The run is stopped here."""


@pytest.fixture
def pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_runs(tmp_path, monkeypatch, pair_potential())


@pytest.fixture
def springs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cheap_runs(tmp_path, monkeypatch)


def stopping(after: int, told: list[float]) -> Progress:
    def watch(done: int, total: int | None, text: str = "", /) -> None:
        if done == 0 or total is None:
            return  # it says how far it was when it began
        told.append(done / total)
        if len(told) == after:
            raise StopError

    return watch


# ---------------------------------------------------------------------- how far


@pytest.mark.parametrize("after", [1, 3, 8, 11])
@pytest.mark.parametrize("kind", list(RUNS))
def test_the_fraction_is_what_the_run_told(
    kind: str, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is stopped at a commit is as far as its own progress bar was."""
    cheap_runs(tmp_path, monkeypatch, None if kind == "vacancy" else pair_potential())
    (run,) = runs_of(RUNS[kind])
    folder = CampaignFolder("campaign-mixing")
    folder.record(Path("mixing.yaml"), folder.check([run]))
    assert run_state(folder, run).fraction is None
    told: list[float] = []
    settings = settings_of(run.command, run.options, Path.cwd())
    with pytest.raises(StopError):
        run_calculation(run.command, settings, folder.results(run.name), stopping(after, told))
    state = run_state(folder, run)
    assert state.state == "stopped"
    assert state.fraction == pytest.approx(told[-1], abs=1e-12)
    assert 0.0 < told[-1] < 1.0
    assert f"{told[-1]:.0%}" in cli("status", "campaign-mixing").output


@pytest.mark.parametrize(
    ("text", "total"),
    [
        ("command: scan\noptions: {mix: 'Na=Na,K', points: 5, fmax: 0.1, smax: 2.0}\n", 5),
        ("command: scan\noptions: {mix: 'Na=Na,K,Cu', points: 3, fmax: 0.5, smax: 9.0}\n", 6),
        ("command: disorder\noptions: {mix: 'Na=Na,K', points: 3, geometry: as-given}\n", 3),
    ],
)
def test_finished_points_are_counted(pairs: None, text: str, total: int) -> None:
    (run,) = runs_of(text + "vary: {structure: salt.cif}\n")
    assert cli("run", "mixing.yaml").exit_code == 0
    folder = CampaignFolder("campaign-mixing")
    results, record = folder.results(run.name), folder.result(run.name)
    lines = (results / POINTS).read_bytes().splitlines(keepends=True)
    assert len(lines) == total
    # A line that is being written is no point yet.
    (results / POINTS).write_bytes(b"".join(lines[:2]) + lines[2][:-5])
    assert fraction_done(results, record) == pytest.approx(2 / total)
    (results / POINTS).unlink()
    assert fraction_done(results, record) == 0.0


def test_of_a_search_only_the_points_are_known(pairs: None) -> None:
    (run,) = runs_of("command: design\noptions: {structure: salt.cif, mix: x, target: a=5}\n")
    folder = CampaignFolder("campaign-mixing")
    folder.record(Path("mixing.yaml"), folder.check([run]))
    results = folder.results(run.name)
    results.mkdir(parents=True)
    record = {"status": "running", "command": "design", "inputs": {"goals": []}}
    (results / "result.json").write_text(json.dumps(record))
    (results / POINTS).write_text("{}\n{}\n")
    state = run_state(folder, run)
    assert (state.fraction, state.points) == (None, 2)
    assert "2 points" in cli("status", "campaign-mixing").output


# ---------------------------------------------------------------------- what it costs


def counted(run: CampaignRun) -> EvaluationCount:
    made: Any = calculation(run.command)(**settings_of(run.command, run.options, Path.cwd()))
    count: EvaluationCount = made.evaluations(trial_relaxation(made))
    return count


@pytest.mark.parametrize(
    "text",
    [
        "command: relax\noptions: {mix: 'Na=Na0.5K0.5', pressure: 1}\n",
        "command: relax\noptions: {mix: 'Na=Na0.5K0.5', pressure: 1, max_steps: 3}\n",
        "command: relax\noptions: {mix: 'Na=Na0.5K0.5', fmax: 0.5, smax: 9}\n",
        "command: scan\noptions: {mix: 'Na=Na,K', points: 3, fmax: 0.1, smax: 0.5}\n",
        "command: design\noptions: {mix: 'Na=Na0.5K0.5', target: a=5.878, max_iterations: 1, "
        "fmax: 0.01, smax: 0.05}\n",
    ],
)
def test_runs_take_as_many_evaluations_as_was_said(pairs: None, text: str) -> None:
    (run,) = runs_of(text + "vary: {structure: salt.cif}\n")
    count = counted(run)
    run_calculation(run.command, settings_of(run.command, run.options, Path.cwd()), Path("out"))
    taken = json.loads(Path("out/result.json").read_text())["results"]["evaluations"]
    assert count.low <= taken <= count.high
    assert count.typical or count.low == count.high


@pytest.mark.parametrize(
    ("command", "options", "more"),
    [
        ("energy", "mix: 'Na=Na0.5K0.5'", None),
        ("relax", "mix: 'Na=Na0.5K0.5'", None),
        ("scan", "mix: 'Na=Na,K', points: 3", "points: 9"),
        ("disorder", "mix: 'Na=Na,K', points: 3, supercell: '2,2,2'", "explicit: 10"),
        ("disorder", "mix: 'Na=Na,K', at: 0.5, geometry: as-given", "local_relaxation: true"),
        ("disorder", "mix: 'Na=Na,K', points: 3, supercell: '2,2,2'", "vibrations: true"),
        ("order", "mix: 'Na=Na0.5K0.5', repeat: '2,2,2'", "search: 20"),
        ("order", "mix: 'Na=Na0.5K0.5', no_relax: true", "size_effect: true"),
        ("design", "mix: 'Na=Na0.5K0.5', target: a=5.8", "supercell: '2,2,2'"),
    ],
)
def test_every_calculation_has_a_cost(
    pairs: None, command: str, options: str, more: str | None
) -> None:
    """Also where the number of steps is not known: a range, and what was measured of it."""
    text = f"command: {command}\noptions: {{structure: salt.cif, {options}}}\n"
    runs_of(text)
    planned = cli("plan", "mixing.yaml", "--measure", "--json")
    assert planned.exit_code == 0, planned.output
    (found,) = json.loads(planned.stdout)
    assert 0.0 < found["seconds_low"] <= found["seconds"] <= found["seconds_high"]
    assert "an evaluation, measured" in found["seconds_from"]
    assert ("typical" in found["seconds_from"]) == (command != "energy")
    assert not Path("campaign-mixing").exists()
    if more:
        key = more.partition(":")[0]
        kept = ", ".join(part for part in options.split(", ") if not part.startswith(key))
        (run,) = runs_of(text.replace(options, f"{kept}, {more}"))
        by_options = []
        for written in (text, text.replace(options, f"{kept}, {more}")):
            (run,) = runs_of(written)
            by_options.append(counted(run))
        assert by_options[0].low < by_options[1].low
        assert by_options[0].high < by_options[1].high


def test_runs_that_cannot_begin_say_why(pairs: None) -> None:
    text = "command: relax\nvary: {structure: salt.cif, mix: [Na=Na0.5Fe0.5, Na=Na0.5K0.5]}\n"
    runs = runs_of(text)
    unknown, known = measured_costs(runs, Path.cwd())
    assert math.isnan(unknown.low)
    assert unknown.seconds is None
    assert "does not cover Fe" in unknown.basis
    assert known.seconds is not None
    planned = cli("plan", "mixing.yaml", "--measure")
    assert planned.exit_code == 0
    assert "1 run: not measured: " in planned.output


def test_energies_at_rest_are_added(springs: None) -> None:
    text = RUNS["vacancy"]
    (without,) = measured_costs(runs_of(text), Path.cwd())
    (added,) = measured_costs(runs_of(text.replace("static: false", "static: true")), Path.cwd())
    assert without.low == without.high
    assert added.low < added.high
    assert "relaxations at rest, typical" in added.basis
