"""``alchemlip analyze`` on recorded runs, finished, unfinished and being written."""

import csv
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.units import kB

from alchemlip.calculations import Analyze
from alchemlip.cli import main
from alchemlip.freeenergy.analysis import analyse, as_recorded
from alchemlip.freeenergy.estimators import estimate_from_work
from alchemlip.freeenergy.recorded import legs_of, works_of
from recorded_runs import EXACT, TEMPERATURE, finished_run, switching_record, window_record

pytest.importorskip("alchemlyb")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["alchemlip", "analyze", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return call


def rows(file: str) -> list[dict[str, str]]:
    with Path(file).open() as stream:
        return list(csv.DictReader(stream))


def test_a_run_being_written_is_analyzed(run: Run, tmp_path: Path) -> None:
    """The writer holds its lock; what is complete counts, and the rest is said."""
    (tmp_path / "moving").mkdir()
    record = switching_record(tmp_path / "moving" / "run.sqlite", 4, cut=True)
    code, out, err = run("moving", "--export")
    assert (code, err) == (0, "")
    assert "running, or cut off; 3 of 4 repeats complete" in out
    assert re.search(r"repeat 3 is switching backward, lambda has gone 1\d %", out)
    (row,) = rows("analysis/estimates.csv")
    works = works_of(legs_of(record))
    estimate = estimate_from_work(*works, TEMPERATURE, np.random.default_rng(0))
    assert float(row["free_energy_eV"]) == estimate.value_eV
    assert float(row["standard_error_eV"]) == estimate.standard_error_eV
    assert float(row["mean_of_pairs_eV"]) == estimate.details["mean_of_pairs_eV"]
    assert len(rows("analysis/moving-convergence-switching.csv")) == 3
    for name in ("moving-switching.png", "moving-u_nk.parquet", "moving-dHdl.parquet"):
        assert (tmp_path / "analysis" / name).stat().st_size > 1000
    assert "the other terms come when the run is finished" in out


def test_runs_of_several_lengths_are_drawn_against_time(run: Run, tmp_path: Path) -> None:
    for name, interval in (("short", 2.0), ("long", 8.0)):
        (tmp_path / name).mkdir()
        switching_record(tmp_path / name / "run.sqlite", 3, interval_fs=interval).close()
    code, _, err = run("short", "long", "--out", "both")
    assert (code, err) == (0, "")
    times = [float(row["switching_time_ps"]) for row in rows("both/estimates.csv")]
    assert times == pytest.approx([0.2, 0.8])
    assert (tmp_path / "both" / "switching_time.png").exists()


def test_windows_give_both_estimators(run: Run, tmp_path: Path) -> None:
    (tmp_path / "windows").mkdir()
    window_record(tmp_path / "windows" / "run.sqlite", np.linspace(0, 1, 6)).close()
    code, out, err = run("windows")
    assert (code, err) == (0, "")
    found = {row["method"]: row for row in rows("analysis/estimates.csv")}
    assert set(found) == {"MBAR", "thermodynamic integration"}
    assert float(found["MBAR"]["free_energy_eV"]) == pytest.approx(EXACT, rel=0.2)
    assert "overlap" in out
    assert (tmp_path / "analysis" / "windows-windows.png").exists()


def test_terms_stay_as_recorded(tmp_path: Path) -> None:
    record = switching_record(tmp_path / "run.sqlite", 3)
    (estimate,) = analyse(record, np.random.default_rng(0)).estimates.values()
    results: dict[str, Any] = {
        "free_energy_eV_per_atom": 0.0,
        "n_atoms": 4,
        "work_sign": -1.0,
        "terms": {"work": -estimate.value_eV / 4, "einstein": 0.3, "mass": 0.1},
    }
    whole = as_recorded(results, estimate)
    assert whole is not None
    assert whole["terms"]["work"] == pytest.approx(-estimate.value_eV / 4)
    assert whole["free_energy_eV_per_atom"] == pytest.approx(0.4 - estimate.value_eV / 4)
    assert as_recorded({"terms": {}}, estimate) is None


def phase_runs(
    folder: Path, name: str, energy: float, ratio: float, command: str = "frenkel-ladd"
) -> str:
    """Runs at three temperatures of a harmonic crystal, G = E + 3 kT ln(ratio T0 / T)."""
    made = []
    for temperature in (300.0, 400.0, 500.0):
        results = {
            "free_energy_eV_per_atom": energy + 3 * kB * temperature * np.log(ratio / temperature),
            "standard_error_eV_per_atom": 1e-4,
            "enthalpy_eV_per_atom": energy + 3 * kB * temperature,
            "temperature_K": temperature,
            "repeats": 8,
            "n_atoms": 40,
        }
        made.append(finished_run(folder / f"{name}-{temperature:.0f}", command, results))
    return f"{name}=" + ",".join(str(path) for path in made)


def test_phases_cross_where_they_should(run: Run, tmp_path: Path) -> None:
    exact = 0.03 / (3 * kB * np.log(250.0 / 175.0))
    alpha = phase_runs(tmp_path, "alpha", 0.0, 250.0)
    delta = phase_runs(tmp_path, "delta", 0.03, 175.0)
    code, out, err = run("--phases", alpha, "--phases", delta, "--temperatures", "300,400,11")
    assert (code, err) == (0, "")
    assert f"alpha is stable below and delta above {exact:.0f} ± 1 K" in out
    table = rows("analysis/phases.csv")
    assert [float(row["temperature_K"]) for row in table] == pytest.approx(
        np.linspace(300, 400, 11)
    )
    assert [row["stable"] for row in table] == [
        "alpha" if t < exact else "delta" for t in np.linspace(300, 400, 11)
    ]
    assert (tmp_path / "analysis" / "phases.png").exists()
    code, out, _ = run("--phases", alpha, "--phases", phase_runs(tmp_path, "high", 0.5, 250.0))
    assert code == 0
    assert "no crossing between 300 and 500 K: alpha is stable" in out


def test_numbers_are_compositions(run: Run, tmp_path: Path) -> None:
    phases = []
    for x, energy in ((0.0, 0.0), (0.5, 0.08), (1.0, 0.1)):
        phases += ["--phases", phase_runs(tmp_path, f"{x}", energy, 250.0)]
    code, _, err = run(*phases)
    assert (code, err) == (0, "")
    table = rows("analysis/compositions.csv")
    mixing = {float(r["mixing_free_energy_eV_per_atom"]) for r in table if r["x"] == "0.5"}
    assert sorted(mixing) == pytest.approx([0.03] * len(mixing))
    assert (tmp_path / "analysis" / "compositions.png").exists()


def test_in_python(tmp_path: Path) -> None:
    """The rows of the tables, as pandas has them."""
    (tmp_path / "run").mkdir()
    record = switching_record(tmp_path / "run" / "run.sqlite", 3)
    told: list[tuple[Any, ...]] = []
    found = Analyze(folders=tmp_path / "run").run(tmp_path / "out", lambda *g: told.append(g))
    (row,) = found.to_dataframe().to_dict("records")
    estimate = estimate_from_work(*works_of(legs_of(record)), TEMPERATURE, np.random.default_rng(0))
    assert row["free_energy_eV"] == estimate.value_eV
    assert told == [(0, 1, "run")]
    phases = [phase_runs(tmp_path, "alpha", 0.0, 250.0), phase_runs(tmp_path, "delta", 0.03, 175.0)]
    compared = Analyze(phases=phases, temperatures="300,400,11").run(tmp_path / "out")
    assert len(compared.to_dataframe()) == 11
    assert "alpha is stable below" in compared.results["crossings"][0]


def test_enthalpies_that_disagree_are_told(run: Run, tmp_path: Path) -> None:
    """Named as absolute, but G is that of a crystal whose enthalpies lack a part."""
    good = phase_runs(tmp_path, "good", 0.0, 250.0)
    bad = phase_runs(tmp_path, "bad", 0.03, 175.0)
    for folder in bad.removeprefix("bad=").split(","):
        file = Path(folder) / "result.json"
        file.write_text(re.sub(r'("enthalpy_eV_per_atom": )', r"\g<1>-", file.read_text()))
    _, _, err = run("--phases", good, "--phases", bad)
    assert re.search(r"Warning: free energies and enthalpies of bad disagree", err)
    assert "good" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to analyze"),
        (["missing"], "no run record"),
        (["--phases", "alpha"], "--phases alpha cannot be used: write a name and folders"),
        (["--phases", "alpha=missing"], "no readable result.json"),
        (
            ["--phases", "alpha=a-300", "--temperatures", "1,2"],
            "--temperatures 1,2 cannot be used: write FIRST,LAST,NUMBER",
        ),
        (["--phases", "alpha=a-300", "--temperatures", "1,inf,3"], "--temperatures 1,inf,3 cannot"),
        (["absolute", "--seed", "-1"], "--seed -1 cannot"),
        (["--phases", "alpha=running"], "is running, not finished"),
        (["--phases", "alpha=defect"], "no free_energy_eV_per_atom"),
        (["--phases", "alpha=single"], "run more repeats"),
        (["--phases", "alpha=absolute,change"], "mixes absolute free energies and differences"),
        (["--export", "--phases", "alpha=absolute"], "--export writes tables of runs"),
        (["started", "--export"], "no repeat is complete"),
    ],
)
def test_bad_input_gets_one_sentence(
    run: Run, tmp_path: Path, arguments: list[str], words: str
) -> None:
    point = {
        "free_energy_eV_per_atom": 1.0,
        "standard_error_eV_per_atom": 0.1,
        "temperature_K": 300.0,
    }
    finished_run(tmp_path / "absolute", "frenkel-ladd", point)
    finished_run(tmp_path / "change", "transmute", {**point, "temperature_K": 400.0})
    single = {**point, "standard_error_eV_per_atom": None}
    finished_run(tmp_path / "single", "frenkel-ladd", single)
    finished_run(tmp_path / "defect", "vacancy", {"free_energy_eV": 1.0, "temperature_K": 300.0})
    running = finished_run(tmp_path / "running", "transmute", point) / "result.json"
    running.write_text(running.read_text().replace("finished", "running"))
    (tmp_path / "started").mkdir()
    switching_record(tmp_path / "started" / "run.sqlite", 1, cut=True).close()
    code, _, err = run(*arguments)
    assert code == 2
    assert re.fullmatch(r"Error: .+\n", err), err
    assert words in err
