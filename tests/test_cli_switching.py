"""``alchemlip transmute`` and ``switch``: runs that last, and one sentence for bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from alchemlip.cli.freeenergy import overlap_warning, start_run

from alchemlip.runs import RunRecord
from test_cli import Cli, assert_one_sentence, cli, result  # noqa: F401

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


def test_another_number_of_threads_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run goes on, but not bit for bit."""
    for threads, words in ((1, ""), (1, ""), (3, "not bit for bit")):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        run = start_run(tmp_path / "run", "transmute", {"a": 1}, {}, resume=threads == 3)
        said = " ".join(capsys.readouterr().err.split())
        assert bool(said) == bool(words)
        assert words in said
        run.record.checkpoint([], {"step": 1})
        run.record.close()
        run.folder.close()


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
        (("salt.cif", "--to", "Na=K", "--switch", "0"), "--switch 0 ps is less than one"),
        (("salt.cif", "--to", "Na=K", "--cell", "round"), "--cell round cannot"),
        (("salt.cif", "--to", "Na=K", "--function", "cubic"), "--function cubic cannot"),
        (("salt.cif", "--to", "Na=K", "--repeats", "0"), "--repeats 0 cannot"),
        (("salt.cif", "--to", "Na=K", "--correlation", "none"), "unknown correlation"),
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
