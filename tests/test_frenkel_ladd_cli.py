"""``alchemlip frenkel-ladd``: a run that lasts, and one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alchemlip.calculations import FrenkelLadd
from alchemlip.calculations.frenkel_ladd import parse_springs
from alchemlip.errors import InputError
from alchemlip.records.runs import RunRecord
from test_cli import Cli, assert_one_sentence, cli, result  # noqa: F401

SHORT = ("--timestep", "2", "--equilibrate", "0.01", "--switch", "0.02", "--springs", "hessian")
SALT = ("frenkel-ladd", "salt.cif", "-T", "100", "--cell", "fixed", "--repeats", "2", *SHORT)


def test_a_crystal_of_a_mixture(cli: Cli) -> None:  # noqa: F811
    mixed = (
        *SALT,
        "--repeat",
        "2,1,1",
        "--mix",
        "Na=Na0.5K0.5",
        "--mixing-entropy",
        "--pressure",
        "1",
        "--out",
        "run",
    )
    outcome = cli(*mixed)
    assert outcome.code == 0, outcome.err
    record = result("run")
    values = record["results"]
    assert sum(values["terms"].values()) == pytest.approx(values["free_energy_eV_per_atom"])
    assert set(values["terms"]) == {
        "work",
        "einstein",
        "centre_of_mass",
        "pressure_volume",
        "mass",
        "ideal_mixing",
    }
    assert set(values["spring_constants_eV_per_A2"]) == {"Na", "Cl"}
    assert values["n_primitive_cells"] == 2
    assert values["volume_A3_per_atom"] == pytest.approx(5.7**3 / 8, rel=1e-6)
    assert "ideal mixing" in outcome.out
    assert "Freitas" in outcome.out
    assert Path("run/switching.png").stat().st_size > 5000
    with RunRecord.read("run") as run:
        assert run.finished
        assert set(run.noted("springs")) == set(values["spring_constants_eV_per_A2"].values())
    again = cli(*mixed, "--resume")
    assert again.code == 0
    assert result("run") == record
    assert "older formula" not in again.err
    assert_one_sentence(cli(*mixed[:-2], "-T", "120", "--out", "run"), "belongs to another run")
    # A finished run of the formula without the masses of mixed sites opens, and says so.
    lacks = record["results"]["terms"].pop("mass")
    Path("run/result.json").write_text(json.dumps(record))
    older = cli(*mixed)
    assert older.code == 0
    assert "older formula" in older.err
    assert f"{lacks:.6f} eV/atom are to be added" in " ".join(older.err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("salt.cif", "-T", "0"), "--temperature 0 cannot"),
        (("salt.cif", "--springs", "soft"), "--springs soft cannot be used"),
        (("salt.cif", "--springs", "given"), "go together"),
        (("salt.cif", "--spring", "Na"), "--spring Na cannot be used: write a class of sites"),
        (("salt.cif", "--springs", "given", "--spring", "Na=1"), "classes of sites are Na, Cl"),
        (
            ("salt.cif", "--spring-time", "0"),
            "--spring-time 0 cannot be used: give a number above 0",
        ),
        (
            ("salt.cif", "--spring-time", "1e-9"),
            "--spring-time 1e-09 ps is less than one time step",
        ),
        (("salt.cif", "--springs", "given", "--spring", "Na=nan"), "a number above 0, at most"),
        (("salt.cif", "--primitive-cells", "0"), "--primitive-cells 0 cannot"),
        (("salt.cif", "--mix", "Cl=Cl0.9Va0.1"), "site 1 is vacant in part"),
        (("cluster.xyz",), "no crystal"),
        (("salt.cif", "--resume"), "no run to resume"),
        (("salt.cif", "--centre-of-mass", "moon"), "--centre-of-mass moon cannot"),
    ],
)
def test_bad_input(cli: Cli, arguments: tuple[str, ...], words: str) -> None:  # noqa: F811
    assert_one_sentence(cli("frenkel-ladd", *arguments, "--out", "run"), words)
    assert not Path("run").exists()


def test_springs_as_text() -> None:
    assert parse_springs([]) is None
    assert parse_springs(["Cs=0.3", "I1 = 1"]) == {"Cs": 0.3, "I1": 1.0}
    for text in ("Cs:0.3", "Cs=-1", "Cs=inf", "=1"):
        with pytest.raises(InputError, match=f"--spring {text} cannot be used"):
            FrenkelLadd(structure="salt.cif", spring=text)
