"""Results folders of version 0.1.0 (``data/records_0_1``): finished ones open, others go on.

A change of a formula, a mass or a start rule makes an unfinished run one that cannot go on: then
its line in ``OUTCOMES`` becomes the reason that is given.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.table import run_state
from alchemlip.records.runs import RunRecord
from conftest import installed
from test_cli import Cli, assert_one_sentence, cli, files, one_thread, result  # noqa: F401

RECORDS = Path(__file__).parent / "data" / "records_0_1"

pytestmark = pytest.mark.skipif(not installed("sevenn"), reason="the runs are of SevenNet-0")

ROUNDING = 1e-7
"""Of another processor or another order of sums, over a few steps."""

LEVELS = "since then points start from the nearest points of coarser levels alone"
ENTHALPIES = "at pressure mixing quantities are enthalpies"

OUTCOMES: dict[str, float | str] = {
    # How far, relative to the finished run, numbers may be off; or what the refusal says.
    "energy": ROUNDING,
    "relax": ROUNDING,
    "scan": LEVELS,
    "scan-three": LEVELS,
    "scan-pressure": f"{LEVELS}; {ENTHALPIES}",
    "disorder": ROUNDING,
    "disorder-explicit": ROUNDING,
    "disorder-random": 1e-6,  # the equation of state is fitted by another way of the same
    "disorder-pressure": ENTHALPIES,
    "order": 1e-4,  # the separation's eigenvalue leaves out the null mode now
    "design": ROUNDING,
    "switch": ROUNDING,
    "transmute": ROUNDING,
    "transmute-windows": ROUNDING,
    "frenkel-ladd": ROUNDING,
    "frenkel-ladd-mixed": "begun with an older formula, in which mixed sites count with their mean",
    "vacancy": ROUNDING,
    "concentration": ROUNDING,
    "campaign-relax": ROUNDING,
    "campaign-switch": ROUNDING,
}

SAID_SINCE = ("level_of_theory", "level_of_theory_errs", "level_of_theory_better")
"""What results tell now, and did not in 0.1."""

RUNS = sorted(folder.name for folder in (RECORDS / "finished").iterdir())
CAMPAIGNS = [name for name in RUNS if name.startswith("campaign-")]
SINGLE = [name for name in RUNS if name not in CAMPAIGNS]
SAMPLED = [name for name in SINGLE if (RECORDS / "finished" / name / "run.sqlite").exists()]


def copied(state: str, name: str) -> Path:
    """Copy a folder here, with the files and folders that its command reads."""
    for item in RECORDS.iterdir():
        if item.suffix in (".cif", ".yaml"):
            shutil.copy(item, item.name)
    folder = Path(state) / name
    shutil.copytree(RECORDS / folder, folder)
    for argument in [] if name in CAMPAIGNS else command_of(folder):
        if (RECORDS / argument).is_dir() and not Path(argument).exists():
            shutil.copytree(RECORDS / argument, argument)
    return folder


def command_of(folder: Path) -> list[str]:
    """Return the arguments by which a folder was made."""
    if folder.name in CAMPAIGNS:
        kind = folder.name.removeprefix("campaign-")
        return ["campaign", "run", f"{kind}.yaml", "--out", str(folder)]
    arguments: list[str] = result(folder)["command_line"][1:]
    return arguments


def contents(folder: Path) -> dict[str, bytes | None]:
    """Return what a folder holds, but pictures and what campaigns write each time."""
    anew = (".png", ".log", "campaign.json")
    return {name: text for name, text in files(folder).items() if not name.endswith(anew)}


def numbers(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of results by their path, without what they cost."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            if "seconds" not in key and key not in ("evaluations", "steps"):
                yield from numbers(value, f"{name}/{key}")
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from numbers(value, f"{name}/{index}")
    else:
        yield name, values


def assert_same_results(found: Path, expected: Path, tolerance: float) -> None:
    """Compare the results of two runs, and their samples."""
    for part in ("results", "points", "warnings"):
        values = dict(numbers(result(found).get(part)))
        wanted = dict(numbers(result(expected).get(part)))
        new = [name for name in values if name not in wanted]
        assert set(new) <= {f"/{name}" for name in SAID_SINCE}
        assert [name for name in values if name in wanted] == list(wanted)
        for name, value in wanted.items():
            if isinstance(value, float):
                assert values[name] == pytest.approx(value, rel=tolerance, abs=tolerance), name
            else:
                assert values[name] == value, name
    if (expected / "run.sqlite").exists():
        with RunRecord.read(found) as one, RunRecord.read(expected) as other:
            samples, wanted = one.samples(), other.samples()
        for name, column in wanted.items():
            if column.dtype.kind == "f":
                np.testing.assert_allclose(
                    samples[name], column, rtol=tolerance, atol=tolerance, err_msg=name
                )
            else:
                np.testing.assert_array_equal(samples[name], column, err_msg=name)


def test_every_kind_has_an_outcome() -> None:
    assert {folder.name for folder in (RECORDS / "unfinished").iterdir()} == set(OUTCOMES)


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize("name", SINGLE)
def test_a_run_is_shown(name: str, state: str, cli: Cli) -> None:  # noqa: F811
    if not (RECORDS / state / name).exists():
        pytest.skip("has no unfinished twin")
    folder = copied(state, name)
    record = result(folder)
    assert (record["status"] == "finished") == (state == "finished")
    before = files(folder)
    watched = cli("watch", str(folder), "--once")
    assert watched.code == 0, watched.err
    assert record["status"] in watched.out
    reported = cli("report", str(folder), "--out", "report.html")
    assert reported.code == 0, reported.err
    assert record["command"] in Path("report.html").read_text()
    assert files(folder) == before


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize("name", SAMPLED)
def test_samples_are_analysed(name: str, state: str, cli: Cli) -> None:  # noqa: F811
    if not (RECORDS / state / name).exists():
        pytest.skip("has no unfinished twin")
    folder = copied(state, name)
    before = files(folder)
    with RunRecord.read(folder) as record:
        assert len(record.samples()["step"]) > 0
        assert record.finished == (state == "finished")
        assert record.inputs == result(folder)["inputs"]
        if record.finished:
            assert dict(numbers(record.results)) == dict(numbers(result(folder)["results"]))
    export = ["--export"] if state == "finished" else []
    analysed = cli("analyze", str(folder), *export, "--out", "analysis")
    assert analysed.code == 0, analysed.err
    assert files(folder) == before


@pytest.mark.parametrize("name", RUNS)
def test_a_finished_run_is_left_alone(name: str, cli: Cli) -> None:  # noqa: F811
    folder = copied("finished", name)
    before = contents(folder)
    again = cli(*command_of(folder))
    assert again.code == 0, again.err
    assert contents(folder) == before


@pytest.mark.parametrize("name", OUTCOMES)
def test_an_unfinished_run_goes_on_or_says_why_not(name: str, cli: Cli) -> None:  # noqa: F811
    folder = copied("unfinished", name)
    before = files(folder)
    outcome = OUTCOMES[name]
    again = cli(*command_of(folder))
    if isinstance(outcome, str) and name not in CAMPAIGNS:
        assert_one_sentence(again, outcome)
        assert files(folder) == before
        return
    if isinstance(outcome, str):
        assert again.code == 1
        shown = cli("campaign", "status", str(folder), "--json")
        assert re.search(outcome, shown.out)
        return
    assert again.code == 0, again.err
    finished = RECORDS / "finished" / name
    places = sorted(finished.glob("runs/*")) if name in CAMPAIGNS else [finished]
    for place in places:
        own = folder / place.relative_to(finished)
        assert result(own)["status"] == "finished"
        assert_same_results(own, place, outcome)


@pytest.mark.parametrize("state", ["finished", "unfinished"])
@pytest.mark.parametrize("name", CAMPAIGNS)
def test_a_campaign_is_shown(name: str, state: str, cli: Cli) -> None:  # noqa: F811
    folder = copied(state, name)
    campaign = CampaignFolder(folder)
    states = [run_state(campaign, run).state for run in campaign.runs()]
    if state == "finished":
        assert set(states) == {"finished"}
    else:
        assert states[:2] == ["finished", "begun"]
        assert set(states[2:]) <= {"waiting"}
    status = cli("campaign", "status", str(folder))
    assert status.code == 0, status.err
    assert f"{states.count('finished')} finished" in status.out
    watched = cli("watch", str(folder), "--once")
    assert watched.code == 0, watched.err
    assert f"{states.count('finished')} of {len(states)} runs" in watched.out
    reported = cli("report", str(folder), "--out", "report.html")
    assert reported.code == 0, reported.err
    collected = cli("campaign", "collect", str(folder), "--no-plots")
    assert collected.code == 0, collected.err
    rows = (folder / "table.csv").read_text().splitlines()
    assert len(rows) == 1 + len(states)
