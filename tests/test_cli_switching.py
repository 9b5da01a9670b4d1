"""``alchemlip transmute`` and ``switch``: runs that last, and one sentence for bad input."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alchemlip import AlchemicalPotential
from alchemlip.calculations import Transmute
from alchemlip.freeenergy.overlap import overlap_warning
from alchemlip.records.runs import RunRecord
from test_cli import Cli, assert_one_sentence, cli, result, write_structures  # noqa: F401

SHORT = ("-T", "300", "--timestep", "2", "--equilibrate", "0.006", "--repeats", "2")
SALT = ("transmute", "salt.cif", "--to", "Na=K", "--switch", "0.01", *SHORT)


def test_a_transmutation_and_its_continuation(cli: Cli) -> None:  # noqa: F811
    outcome = cli(*SALT, "--out", "run")
    assert outcome.code == 0, outcome.err
    record = result("run")
    values = record["results"]
    assert set(values["terms"]) == {"work", "mass"}
    assert sum(values["terms"].values()) == pytest.approx(values["free_energy_eV_per_atom"])
    for name in (
        "standard_error_eV_per_atom",
        "dissipation_eV_per_atom",
        "method",
        "temperature_K",
        "enthalpy_eV_per_atom",
        "n_atoms",
    ):
        assert values[name] is not None, name
    assert "mass" in outcome.out
    assert "free energy" in outcome.out
    assert Path("run/switching.png").stat().st_size > 5000
    again = cli(*SALT, "--out", "run", "--resume")
    assert again.code == 0
    assert result("run") == record
    assert_one_sentence(cli(*SALT, "--seed", "1", "--out", "run"), "belongs to another run")


def test_windows(cli: Cli) -> None:  # noqa: F811
    outcome = cli(
        *SALT,
        *("--windows", "3", "--sample", "0.04", "--sample-interval", "1", "--cell", "fixed"),
        *("--exchange-interval", "2", "--repeats", "1", "--out", "run"),
    )
    assert outcome.code == 0, outcome.err
    values = result("run")["results"]
    assert set(values["terms"]) == {"windows", "mass"}
    assert values["couplings"] == [0.0, 0.5, 1.0]
    assert len(values["acceptance"]) == 2
    assert Path("run/windows.png").stat().st_size > 5000


def test_from_one_potential_to_another(cli: Cli) -> None:  # noqa: F811
    """The bare path, in one direction and back: no term is added."""
    arguments = ("switch", "salt.cif", "--to-model", "sevennet-mf-0@PBE", "--switch", "0.01")
    outcome = cli(*arguments, *SHORT, "--cell", "fixed", "--out", "run")
    assert outcome.code == 0, outcome.err
    values = result("run")["results"]
    assert set(values["terms"]) == {"work"}
    with RunRecord.read("run") as record:
        slopes = record.samples(segment="forward")["dhdl_eV"]
    # dU/d(lambda) is the difference of the potentials' energies: it varies little in a crystal.
    assert np.ptp(slopes) < 0.5 * abs(slopes).mean()
    assert values["free_energy_eV_per_atom"] * 2 == pytest.approx(slopes.mean(), rel=0.3)


def test_little_overlap_is_told() -> None:
    assert overlap_warning({"overlap": 0.2}) is None
    assert overlap_warning({"overlap": None}) is None
    assert "more slowly" in str(overlap_warning({"overlap": 1e-9}))
    assert "more --windows" in str(overlap_warning({"overlap": 1e-9, "couplings": [0.0, 1.0]}))


def cut_off(patch: pytest.MonkeyPatch, after: int) -> None:
    """Press Ctrl-C at a commit."""
    commit, made = RunRecord.checkpoint, 0

    def checkpoint(self: RunRecord, *given: Any, **named: Any) -> None:
        nonlocal made
        commit(self, *given, **named)
        made += 1
        if made == after:
            raise KeyboardInterrupt

    patch.setattr(RunRecord, "checkpoint", checkpoint)


def test_a_run_that_was_cut_off_goes_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    """From its last commit, to the very result; what differs from before is told."""
    words = (*SALT, "--cell", "fixed", "--checkpoint-interval", "4")
    with monkeypatch.context() as pressed:
        cut_off(pressed, after=3)
        assert cli(*words, "--out", "run").code == 130
    for status in (result("run")["status"], RunRecord.read("run").status):
        assert status == "interrupted"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(torch, "get_num_threads", lambda: 3)
        cut_off(elsewhere, after=1)
        outcome = cli(*words, "--out", "run", "--resume")
    assert "not bit for bit" in " ".join(outcome.err.split())
    outcome = cli(*words, "--out", "run", "--resume")
    assert outcome.code == 0, outcome.err
    assert re.search(r"^\d+ of 32 steps were finished before", outcome.out)
    assert cli(*words, "--out", "whole").code == 0
    assert result("run")["results"] == result("whole")["results"]
    with RunRecord.read("run") as record:
        lines = [start["command_line"] for start in record.starts]
    assert [line[:2] for line in lines] == [["alchemlip", "transmute"]] * 3
    assert "--resume" in lines[-1]
    assert "--out=run" in lines[-1]


def test_a_run_in_python_says_how_far_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    potential: AlchemicalPotential,
) -> None:
    """From 0 to its steps; whoever is told may end it, and both records say so."""
    monkeypatch.setattr(
        "alchemlip.calculations.potentials.prepare_single_potential", lambda *_: potential
    )
    write_structures(tmp_path)
    short = {"equilibrate": 0.004, "switch": 0.008, "repeats": 1, "checkpoint_interval": 3}
    run = Transmute(structure=tmp_path / "salt.cif", to="Na=K", cell="fixed", **short)
    told: list[tuple[int, int | None]] = []

    def enough(done: int, total: int | None, text: str = "", /) -> None:
        told.append((done, total))
        if done >= 3:
            raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        run.run(tmp_path / "run", enough)
    assert told == [(0, run.steps()), (2, run.steps()), (5, run.steps())]
    assert result(tmp_path / "run")["status"] == "failed"
    with RunRecord.read(tmp_path / "run") as record:
        assert record.reason == "enough"
    told.clear()
    done = run.run(tmp_path / "run", lambda *given: told.append(given[:2]))
    assert (told[0], told[-1]) == ((5, 12), (12, 12))
    assert "free energy" in str(done)
    windows = Transmute(structure=tmp_path / "salt.cif", to="Na=K", windows=3, sample=0.02, **short)
    assert windows.steps() == 2 + 10


def test_a_finished_record_in_an_unfinished_folder(cli: Cli) -> None:  # noqa: F811
    """The process was killed between both: the results are there, and are taken."""
    words = (*SALT, "--cell", "fixed", "--out", "run")
    assert cli(*words).code == 0
    before = result("run")
    Path("run/result.json").write_text(json.dumps({**before, "status": "running", "results": {}}))
    outcome = cli(*words)
    assert outcome.code == 0, outcome.err
    assert result("run")["results"] == before["results"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("salt.cif",), "not clear what the crystal becomes"),
        (("salt.cif", "--to", "Na=K", "--end-state", "salt.cif"), "either --to"),
        (("salt.cif", "--to", "Na"), "cannot read --to 'Na'"),
        (("salt.cif", "--to", "Na=Na"), "are the same"),
        (("salt.cif", "--to", "Na=Qq"), "unknown species 'Qq'"),
        (("salt.cif", "--to", "Na=Va"), "alchemlip vacancy"),
        (("salt.cif", "--to", "Na=Na0.5K0.5"), "partial composition.*independent"),
        (("salt.cif", "--end-state", "cluster.xyz", "--repeat", "2,1,1"), "no cell vector"),
        (("salt.cif", "--end-state", "cluster.xyz"), "are the same"),
        (("salt.cif", "--to", "Na=K", "-T", "0"), "--temperature 0 cannot"),
        (("salt.cif", "--to", "Na=K", "-T", "-5"), "--temperature -5 cannot"),
        (("salt.cif", "--to", "Na=K", "--timestep", "0"), "--timestep 0 cannot"),
        (
            ("salt.cif", "--to", "Na=K", "--switch", "0"),
            r"--switch 0 cannot be used: give a number above 0, at most 1e\+06 \(ps\)",
        ),
        (("salt.cif", "--to", "Na=K", "--switch", "0.002"), "0.002 ps is less than 2 time steps"),
        (("salt.cif", "--to", "Na=K", "--sample", "1e-9"), "--sample 1e-09 ps is less than one"),
        (("salt.cif", "--to", "Na=K", "--switch", "1e300"), "--switch 1e300 cannot"),
        (("salt.cif", "--to", "Na=K", "-T", "inf"), "--temperature inf cannot"),
        (("salt.cif", "--to", "Na=K", "--cell", "round"), "--cell round cannot"),
        (("salt.cif", "--to", "Na=K", "--function", "cubic"), "--function cubic cannot"),
        (("salt.cif", "--to", "Na=K", "--repeats", "0"), "--repeats 0 cannot"),
        (("salt.cif", "--to", "Na=K", "--correlation", "none"), "--correlation none cannot"),
        (("salt.cif", "--to", "Na=K", "--windows", "1"), "two couplings or more"),
        (("salt.cif", "--to", "Na=K", "--resume"), "no run to resume"),
        (("salt.cif", "--to", "Na=Og"), "does not cover Og"),
        (("cluster.xyz", "--to", "Na=K"), "constant pressure needs a crystal"),
    ],
)
def test_bad_input(cli: Cli, arguments: tuple[str, ...], words: str) -> None:  # noqa: F811
    assert_one_sentence(cli("transmute", *arguments, "--out", "run"), words)
    assert not Path("run").exists()


def test_a_time_step_too_long(cli: Cli) -> None:  # noqa: F811
    outcome = cli(*SALT, "--timestep", "150", "--equilibrate", "3", "--switch", "3", "--out", "run")
    assert outcome.code == 2
    assert "shorter time step than 150 fs" in outcome.err or "not finite" in outcome.err
    assert result("run")["status"] == "failed"
    with RunRecord.read("run") as record:
        assert record.status == "failed"
