"""The command line: results that last, and one sentence for every bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk
from ase.io import read

from alchemlip import AlchemicalPotential, Mixture, __version__, read_structure
from alchemlip.calculations.texts import parse_sites
from alchemlip.cli import INTERRUPTED, main
from alchemlip.errors import InputError

SALT = ("salt.cif", "--mix", "Na=Na0.75K0.25")
LOOSE = ("--fmax", "0.1", "--smax", "2")
SCAN = ("scan", "salt.cif", "--mix", "Na=Na,K", "--points", "3", *LOOSE)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Threads do not help cells of two atoms, and wait for one another where cores are busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


def write_structures(folder: Path) -> None:
    """Write structures, sound and broken, for the commands to read."""
    salt = bulk("NaCl", "rocksalt", 5.7)
    broken = {name: salt.copy() for name in ("nan", "flat", "close", "infinite")}
    broken["nan"].positions[1, 0] = np.nan
    broken["flat"].cell[2] = broken["flat"].cell[0] + broken["flat"].cell[1]
    broken["close"].positions[1] = (0.1, 0.1, 0.1)
    broken["infinite"].cell[0, 1] = np.inf
    for name, atoms in broken.items():
        atoms.write(folder / f"{name}.extxyz")
    salt.write(folder / "salt.cif")
    Atoms("NaCl", positions=[[0, 0, 0], [2.4, 0, 0]]).write(folder / "cluster.xyz")
    (folder / "zero.xyz").write_text("0\n\n")
    (folder / "empty.cif").write_text("")
    (folder / "text.cif").write_text("not a CIF at all\n")
    (folder / "binary.cif").write_bytes(bytes(range(256)))
    (folder / "notes").write_text("not a checkpoint\n")


def files(folder: Path) -> dict[str, bytes | None]:
    """Return the content of every file below a folder; None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in folder.rglob("*")
    }


def result(folder: str | Path) -> dict[str, Any]:
    """Return the record in a results folder."""
    record: dict[str, Any] = json.loads((Path(folder) / "result.json").read_text())
    return record


@pytest.fixture
def cli(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    potential: AlchemicalPotential,
) -> Cli:
    """Run a command in a folder of its own; the default potential is loaded once for all."""
    from alchemlip.backends.loading import load_potential

    def load(name: str, **options: Any) -> AlchemicalPotential:
        default = {"device": "auto", "dtype": "float64", "modal": None, "trust": False}
        default |= {"head": None, "representation": "nodes"}
        if options.get("device") == "cpu":  # which is what auto is here
            default["device"] = "cpu"
        if name == "sevennet-0" and options == default:
            return potential
        return load_potential(name, **options)

    monkeypatch.setattr("alchemlip.backends.loading.load_potential", load)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    write_structures(tmp_path)

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["alchemlip", *arguments])
        code = 0
        # Warnings that a person would see on stderr are part of what a command says.
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("ignore")
            for category in (UserWarning, RuntimeWarning, FutureWarning):
                warnings.simplefilter("always", category)
            try:
                main()
            except SystemExit as end:
                code = int(end.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err + "".join(f"{w.message}\n" for w in seen))

    return run


def assert_one_sentence(outcome: Outcome, words: str) -> None:
    """Exit code 2, and on stderr one sentence that names fault and remedy; nothing else."""
    assert outcome.code == 2
    assert re.fullmatch(r"Error: .+\n", outcome.err), outcome.err
    assert re.search(words, outcome.err), outcome.err
    assert not re.search(r"[.!?] [A-Z]", outcome.err)
    assert ": " in outcome.err.removeprefix("Error: ")
    assert "Traceback" not in outcome.out + outcome.err
    assert outcome.out == ""


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        # structures
        (("none.cif",), "no structure file 'none.cif'"),
        (("empty.cif",), "cannot read the structure file 'empty.cif'"),
        (("text.cif",), "cannot read the structure file 'text.cif'"),
        (("binary.cif",), "cannot read the structure file 'binary.cif'"),
        (("notes",), "cannot read the structure file 'notes'"),
        ((".",), "'.' is a folder: name a structure file in it"),
        (("zero.xyz",), "'zero.xyz' holds no atoms"),
        # what is mixed
        (("salt.cif", "--mix", "Na"), "cannot read --mix 'Na'"),
        (("salt.cif", "--mix", "Na="), "cannot read --mix 'Na='"),
        (("salt.cif", "--mix", "Na=Qq1"), "unknown species 'Qq'"),
        (("salt.cif", "--mix", "Qq=Na"), "selection 'Qq' is neither an element nor"),
        (("salt.cif", "--mix", "Na=Na1.2K-0.2"), "weight of K .* is negative"),
        (("salt.cif", "--mix", "Na=Na0.5K0.4"), "sum to 0.9, not 1: .*--normalise"),
        (("salt.cif", "--mix", "Na=Na0.5K0.500002"), "sum to 1.000002, not 1"),
        (("salt.cif", "--mix", "Na=Na,K"), "lists species without weights: .*alchemlip scan"),
        (("salt.cif", "--mix", "Ti=Na"), "selection 'Ti' matches no site"),
        (("salt.cif", "--mix", "7=Na"), "selects site 7, but the structure has sites 0 to 1"),
        (("salt.cif", "--mix", "1-0=Na"), "range '1-0' of site indices runs backwards"),
        (("salt.cif", "--mix", "0,=Na"), "cannot read the site indices '0,'"),
        (("salt.cif", "--mix", "0-²=Na"), "cannot read the site indices '0-²'"),
        (("salt.cif", "--mix", "Na=Na", "--mix", "0=K"), "'Na' and '0' overlap at site 0"),
        (("salt.cif", "--mix", "Na=Na", "--mix", "Na=K"), "--mix names 'Na' twice"),
        (("salt.cif", "--group", "a"), "cannot read --group 'a'"),
        (("salt.cif", "--group", "a=0", "--group", "a=1"), "--group names 'a' twice"),
        (("salt.cif", "--concerted", "Na"), "no group is called 'Na'"),
        # potentials
        (("salt.cif", "--mix", "Na=Na0.5Rn0.5"), r"does not cover Rn \(site 0\)"),
        (("salt.cif", "--model", "nothing"), "'nothing' is neither a known potential nor a file"),
        (("salt.cif", "--model", "notes"), "is a pickle, .*--trust-file"),
        (("salt.cif", "--model", "notes", "--trust-file"), "cannot read 'notes' as a SevenNet"),
        (("salt.cif", "--model", "sevennet-mf-0"), "several fidelities: choose one of .*--modal"),
        (("salt.cif", "--modal", "PBE"), "has one fidelity: leave out"),
        (("salt.cif", "--dtype", "float16"), "unknown dtype 'float16'"),
        (("salt.cif", "--device", "abacus"), "unknown device 'abacus'"),
        (("salt.cif", "--device", "meta"), "device 'meta' is not supported"),
    ],
)
def test_bad_input(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    before = files(tmp_path)
    assert_one_sentence(cli("energy", *arguments), words)
    assert files(tmp_path) == before


@pytest.mark.parametrize("command", [("energy",), ("relax",), ("scan", "--mix", "Na=Na,K")])
@pytest.mark.parametrize(
    ("structure", "words"),
    [
        ("nan.extxyz", "position of site 1 is not finite"),
        ("flat.extxyz", "the cell is flat"),
        ("infinite.extxyz", "cell vector is not finite"),
        ("close.extxyz", "sites 0 and 1 are 0.173 A apart, closer than 0.3 A"),
        ("zero.xyz", "holds no atoms"),
    ],
)
def test_bad_geometry_leaves_no_folder(
    cli: Cli, tmp_path: Path, command: tuple[str, ...], structure: str, words: str
) -> None:
    before = files(tmp_path)
    assert_one_sentence(cli(*command, structure), words)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("relax", "cluster.xyz"), "cell cannot be relaxed .*cell='fixed'"),
        (("relax", "cluster.xyz", "--cell", "fixed", "--keep-symmetry"), "space group .* cannot"),
        (
            ("relax", "salt.cif", "--fmax", "-1"),
            r"--fmax -1 cannot be used: give a number above 0, at most 1000 \(eV/A\)",
        ),
        (
            ("relax", "salt.cif", "--pressure", "nan"),
            "--pressure nan cannot be used: give a number from -10000 to 10000",
        ),
        (
            ("relax", "salt.cif", "--max-steps", "-1"),
            "--max-steps -1 cannot be used: give a whole number from 0",
        ),
        (("relax", "salt.cif", "--cell", "round"), "--cell round cannot be used: choose full"),
        (
            ("relax", "salt.cif", "--optimiser", "bfgs"),
            "--optimiser bfgs cannot be used: give BFGS, LBFGS or FIRE",
        ),
        (("relax", "salt.cif", "--mix", "Na=Na,K"), "species without weights"),
        (("scan", "salt.cif"), "a scan needs one group with two or three species"),
        (("scan", "salt.cif", "--mix", "Na=Na0.5K0.5"), "a scan needs one group"),
        (("scan", "salt.cif", "--mix", "Na=Li,Na,K,Rb"), "a scan needs one group"),
        (("scan", "salt.cif", "--mix", "Na=Na,K", "--mix", "Cl=Cl,Br"), "a scan needs one group"),
        (("scan", "salt.cif", "--mix", "Na=Na,Na"), "a species occurs twice"),
        (("scan", "salt.cif", "--mix", "Na=Na,Rn"), "does not cover Rn"),
        (
            ("scan", "salt.cif", "--mix", "Na=Na,K", "--points", "1"),
            "--points 1 cannot be used: give a whole number from 2 to 1001",
        ),
        (("scan", "cluster.xyz", "--mix", "Na=Na,K"), "cell cannot be relaxed"),
    ],
)
def test_bad_settings(cli: Cli, tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    before = files(tmp_path)
    assert_one_sentence(cli(*arguments), words)
    assert files(tmp_path) == before


def test_a_potential_that_is_not_installed(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The extra is named, and the list of potentials still works."""
    monkeypatch.setattr("alchemlip.backends.sevennet.find_spec", lambda _: None)
    before = files(tmp_path)
    # float32 is not the potential that this module has loaded already.
    outcome = cli("energy", *SALT, "--dtype", "float32")
    assert_one_sentence(outcome, r"needs the package sevenn: pip install 'alchemlip\[sevennet\]'")
    assert files(tmp_path) == before
    listed = json.loads(cli("models", "--json").out)
    entries = [entry for entry in listed if entry["extra"] == "sevennet"]
    assert entries
    assert not any(entry["installed"] or entry["card"] or entry["elements"] for entry in entries)
    assert "pip install 'alchemlip[sevennet]'" in cli("models").out


@pytest.fixture
def finished(cli: Cli) -> Path:
    """A results folder of a finished energy."""
    assert cli("energy", *SALT, "--out", "done").code == 0
    return Path("done")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("energy", "salt.cif", "--mix", "Na=Na0.7K0.3"), r"another run \(.*another mixture\)"),
        (("energy", *SALT, "--concerted", "Na"), "belongs to another run"),
        (("energy", *SALT, "--dtype", "float32"), r"another run \(.*another dtype\)"),
        (("relax", *SALT), r"another run \(it holds the results of 'energy'\)"),
        (("scan", "salt.cif", "--mix", "Na=Na,K"), "belongs to another run"),
    ],
)
def test_a_folder_of_another_run_is_left_alone(
    cli: Cli, finished: Path, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    before = files(tmp_path)
    assert_one_sentence(cli(*arguments, "--out", str(finished)), words)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    ("present", "out", "words"),
    [
        ({"out/thesis.tex": "precious"}, "out", "not empty and holds no result.json"),
        ({"out": "precious"}, "out", "is a file: name a folder"),
        ({"out": "precious"}, "out/deeper", "cannot write to the folder 'out/deeper'"),
        ({"out/result.json": "{cut"}, "out", "is damaged"),
        ({"out/result.json": "[]"}, "out", "is damaged"),
    ],
)
def test_folders_that_are_no_results(
    cli: Cli, tmp_path: Path, present: dict[str, str], out: str, words: str
) -> None:
    for name, text in present.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = files(tmp_path)
    assert_one_sentence(cli("energy", *SALT, "--out", out), words)
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "arguments",
    [("nan.extxyz",), ("salt.cif", "--mix", "Na=Na0.5K0.4"), ("text.cif",)],
    ids=["geometry", "formula", "file"],
)
def test_bad_input_of_the_installed_program(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """In a process of its own, with the potential loaded for real: nothing else is said."""
    write_structures(tmp_path)
    before = files(tmp_path)
    program = Path(sysconfig.get_path("scripts")) / "alchemlip"
    done = subprocess.run(
        [program, "energy", *arguments],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert_one_sentence(Outcome(done.returncode, done.stdout, done.stderr), "")
    assert files(tmp_path) == before


# ---------------------------------------------------------------------- results


def assert_record(record: dict[str, Any], command: str, structure: str = "salt.cif") -> None:
    """The shape that every command keeps."""
    assert record["status"] == "finished"
    assert record["command"] == command
    assert record["command_line"][1] == command
    assert record["source"]["structure_file"] == structure
    assert record["inputs"]["potential"] == "sevennet-0"
    assert re.fullmatch("[0-9a-f]{64}", record["inputs"]["potential_sha256"])
    assert record["inputs"]["dtype"] == "float64"
    assert record["versions"]["alchemlip"] == __version__
    assert {"python", "torch", "sevenn", "ase", "numpy"} <= set(record["versions"])
    assert record["started"] <= record["ended"]


LATTICE = ("a_A", "b_A", "c_A", "alpha_deg", "beta_deg", "gamma_deg", "volume_A3")


def test_energy(cli: Cli, potential: AlchemicalPotential) -> None:
    outcome = cli("energy", *SALT)
    assert (outcome.code, outcome.err) == (0, "")
    record = result("energy-salt")
    assert_record(record, "energy")
    found = record["results"]
    mixture = Mixture.from_elements(read_structure("salt.cif").to_atoms(), {"Na": "Na0.75K0.25"})
    expected = potential.evaluate(mixture)
    assert found["energy_eV"] == pytest.approx(expected.energy, abs=1e-9)
    assert found["energy_eV_per_atom"] == pytest.approx(expected.energy / 2, abs=1e-9)
    assert expected.composition_gradient is not None
    assert found["composition_gradient_eV"] == pytest.approx(
        dict(zip(("Na:Na", "Na:K"), expected.composition_gradient.tolist(), strict=True)), abs=1e-9
    )
    assert np.shape(found["forces_eV_per_A"]) == (2, 3)
    assert sum(found["site_energies_eV"]) == pytest.approx(expected.energy, abs=1e-9)
    assert found["composition"] == {"Na:Na": 0.75, "Na:K": 0.25}
    assert found["n_sites"] == found["n_atoms"] == 2
    assert {*LATTICE, "pressure_GPa", "stress_xx_GPa", "max_force_eV_per_A"} <= set(found)
    assert Mixture.from_dict(record["inputs"]["mixture"]).to_dict() == mixture.to_dict()
    assert f"{expected.energy:.6f}" in outcome.out


@pytest.mark.parametrize(
    ("arguments", "composition", "correlation"),
    [
        (("--mix", "Na=Na3K1", "--normalise"), {"Na": {"Na": 0.75, "K": 0.25}}, ["independent"]),
        (("--mix", "1=Cl0.9Va0.1"), {"1": {"Cl": 0.9, "Va": 0.1}}, ["independent"]),
        (
            ("--group", "both=0-1", "--mix", "both=Na0.5Cl0.5", "--concerted", "both"),
            {"both": {"Na": 0.5, "Cl": 0.5}},
            ["concerted"],
        ),
        (
            ("--mix", "Na=Na0.5K0.5", "--mix", "Cl=Cl0.5Br0.5", "--concerted", "all"),
            {"Na": {"Na": 0.5, "K": 0.5}, "Cl": {"Cl": 0.5, "Br": 0.5}},
            ["concerted", "concerted"],
        ),
        ((), {}, []),
    ],
)
def test_ways_to_say_what_is_mixed(
    cli: Cli, arguments: tuple[str, ...], composition: dict[str, Any], correlation: list[str]
) -> None:
    assert cli("energy", "salt.cif", *arguments).code == 0
    record = result("energy-salt")
    expected = {f"{g}:{c}": x for g, weights in composition.items() for c, x in weights.items()}
    assert record["results"]["composition"] == expected
    groups = record["inputs"]["mixture"]["groups"]
    assert [group["correlation"] for group in groups] == correlation


def test_names_with_brackets_are_shown_as_they_are(cli: Cli) -> None:
    """They are no markup for the terminal."""
    Path("salt.cif").rename("salt[red].cif")
    arguments = ("--group", "a[/b]=0", "--mix", "a[/b]=Na0.5K0.5", "--out", "out[bold]")
    outcome = cli("energy", "salt[red].cif", *arguments)
    assert outcome.code == 0
    for name in ("salt[red].cif", "a[/b]:K", "out[bold]"):
        assert name in outcome.out


def test_what_is_wrong_with_a_file_goes_to_terminal_record_and_report(cli: Cli) -> None:
    """Once each, and again where the finished result is shown; the choices are options."""
    from alchemlip.reporting.composing import content_of

    text = Path("salt.cif").read_text()
    Path("odd.cif").write_text(re.sub(r"_chemical_formula_sum .*", "", text).replace(
        "_cell_length_a", "_chemical_formula_sum 'Cl2 Na'\n_cell_length_a"))  # fmt: skip
    for _ in range(2):
        outcome = cli("energy", "odd.cif", "--out", "odd")
        assert outcome.code == 0
        assert outcome.err.count("has the formula Cl2 Na, but its sites add up to") == 1
    record = result("odd")
    (sentence,) = record["warnings"]
    assert sentence in record["source"]["structure_warnings"]
    shown = f"{sentence[:1].upper()}{sentence[1:]}."
    assert shown in content_of(Path("odd")).findings.warnings
    Path("lead.cif").write_text(Path("odd.cif").read_text().replace("Cl2 Na", "Cl Na Pb"))
    assert_one_sentence(cli("energy", "lead.cif"), "hold no Pb .*--accept-composition")
    assert cli("energy", "lead.cif", "--accept-composition").code == 0
    Path("two.cif").write_text(text + text.replace("data_", "data_second"))
    assert_one_sentence(cli("energy", "two.cif", "--block", "third"), "has no block 'third'")
    assert "holds several structures" in cli("energy", "two.cif").err
    assert cli("relax", "two.cif", "--block", "secondimage0", *LOOSE).err.count("several") == 0


def test_energy_of_a_cluster_has_no_cell(cli: Cli) -> None:
    assert cli("energy", "cluster.xyz").code == 0
    found = result("energy-cluster")["results"]
    assert not {*LATTICE, "pressure_GPa", "composition_gradient_eV"} & set(found)


def test_a_squeezed_crystal_is_warned_of_once(cli: Cli) -> None:
    atoms = read("salt.cif")
    atoms.set_cell(0.5 * atoms.cell.array, scale_atoms=True)
    atoms.write("squeezed.cif")
    for _ in range(2):  # the second shows what the first found
        outcome = cli("energy", "squeezed.cif")
        assert outcome.code == 0
        assert outcome.err.count("Warning: sites") == 1
        assert "sum of their covalent radii" in outcome.err
    (sentence,) = result("energy-squeezed")["warnings"]
    assert "(Na)" in sentence
    assert "warnings" not in result("energy-squeezed")["results"]


def test_relax(cli: Cli) -> None:
    """Partial occupancies survive in the relaxed structure, exactly in its JSON."""
    outcome = cli("relax", *SALT, *LOOSE, "--keep-symmetry")
    assert (outcome.code, outcome.err) == (0, "")
    record = result("relax-salt")
    assert_record(record, "relax")
    assert record["inputs"]["relaxation"]["fmax"] == 0.1
    found = record["results"]
    assert found["converged"] is True
    assert found["max_force_eV_per_A"] <= 0.1
    assert found["max_stress_deviation_GPa"] <= 2
    assert found["space_group"] == "Fm-3m (225)"
    exact = Mixture.from_dict(json.loads(Path("relax-salt/relaxed.json").read_text()))
    assert exact.composition_by_group == {"Na": {"Na": 0.75, "K": 0.25}}
    volume = abs(np.linalg.det(exact.cell))
    assert volume == pytest.approx(found["volume_A3"], rel=1e-12)
    from_cif = read_structure("relax-salt/relaxed.cif")
    assert {"Na": 0.75, "K": 0.25} in from_cif.occupancies()
    assert abs(np.linalg.det(from_cif.cell)) == pytest.approx(volume, rel=1e-9)


def test_a_relaxation_that_runs_out_of_steps_says_so(cli: Cli) -> None:
    outcome = cli("relax", *SALT, "--max-steps", "0", "--fmax", "1e-9", "--smax", "1e-9")
    assert outcome.code == 0
    assert "Not converged" in outcome.err
    assert result("relax-salt")["results"]["converged"] is False


def test_scan(cli: Cli) -> None:
    outcome = cli(*SCAN)
    assert (outcome.code, outcome.err) == (0, "")
    record = result("scan-salt")
    assert_record(record, "scan")
    found, points = record["results"], record["points"]
    assert found["n_points"] == found["n_converged"] == len(points) == 3
    assert not [value for value in found.values() if isinstance(value, dict | list)]
    assert found["evaluations"] == sum(point["evaluations"] for point in points)
    assert [point["composition"]["Na:K"] for point in points] == [0.0, 0.5, 1.0]
    for point in points:
        assert {*LATTICE, "energy_eV_per_atom", "composition_gradient_eV", "converged"} <= set(
            point
        )
    ends = [point["mixing_energy_eV_per_atom"] for point in (points[0], points[-1])]
    np.testing.assert_allclose(ends, 0.0, atol=1e-12)
    rows = Path("scan-salt/scan.csv").read_text().splitlines()
    assert len(rows) == 4
    assert {"x_Na:Na", "x_Na:K", "a_A", "gradient_Na:K_eV"} <= set(rows[0].split(","))
    names = sorted(file.name for file in Path("scan-salt/structures").iterdir())
    assert names == ["0-Na1.cif", "1-Na0.5K0.5.cif", "2-K1.cif"]
    middle = read_structure("scan-salt/structures/1-Na0.5K0.5.cif")
    assert middle.occupancies().count({"K": 0.5, "Na": 0.5}) == 1
    assert abs(np.linalg.det(middle.cell)) == pytest.approx(points[1]["volume_A3"], rel=1e-9)
    assert Path("scan-salt/scan.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_finished_scan_is_not_repeated(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cli(*SCAN).code == 0
    before = files(Path("scan-salt"))

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("a finished point is relaxed again")

    monkeypatch.setattr("alchemlip.crystal.scanning.relax_many", never)
    outcome = cli(*SCAN)
    assert outcome.code == 0
    assert "Finished before" in outcome.out
    assert files(Path("scan-salt")).keys() == before.keys()
    for name in ("result.json", "points.jsonl", "scan.csv"):
        assert files(Path("scan-salt"))[name] == before[name]


def test_the_record_is_there_before_the_result(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inputs and versions are written first; a failure is noted beside them."""
    seen: list[dict[str, Any]] = []

    def fail(*_: Any, **__: Any) -> None:
        seen.append(result("energy-salt"))
        raise RuntimeError("the processor melted")

    monkeypatch.setattr(AlchemicalPotential, "evaluate", fail)
    with pytest.raises(RuntimeError, match="melted"):
        cli("energy", *SALT)
    (early,) = seen
    assert (early["status"], early["results"]) == ("running", {})
    late = result("energy-salt")
    assert (late["status"], late["reason"]) == ("failed", "the processor melted")
    for key in ("inputs", "versions", "command", "command_line", "started"):
        assert early[key]
        assert late[key] == early[key]


def test_interrupted_by_hand(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C: a short note, exit code 130, and the record says so; the same command continues."""

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("alchemlip.crystal.scanning.relax_many", interrupt)
        outcome = cli(*SCAN)
    assert (outcome.code, outcome.err) == (130, INTERRUPTED + "\n")
    assert result("scan-salt")["status"] == "interrupted"
    assert cli(*SCAN).code == 0
    assert result("scan-salt")["status"] == "finished"


# ---------------------------------------------------------------------- settings file


def settings(text: str | bytes) -> tuple[str, str]:
    """Write a settings file and return the option that names it."""
    Path("run.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return "--settings", "run.yaml"


def test_settings_file(cli: Cli) -> None:
    """Options by name, hyphens or not; what may be repeated may be a list or one value."""
    option = settings("mix: Na=Na0.5K0.5\nmax-steps: 0\nsmax: 3\ncell: volume\nout: here\n")
    assert cli("relax", "salt.cif", *option).code == 0
    inputs = result("here")["inputs"]
    assert inputs["mixture"]["groups"][0]["composition"] == [0.5, 0.5]
    chosen = inputs["relaxation"]
    assert (chosen["max_steps"], chosen["smax"], chosen["cell"]) == (0, 3.0, "volume")
    option = settings("mix: [Na=Na0.5K0.5, Cl=Br1]\nnormalise: yes\n")
    assert cli("energy", "salt.cif", *option).code == 0
    assert list(result("energy-salt")["results"]["composition"]) == ["Na:Na", "Na:K", "Cl:Br"]


def test_the_command_line_wins_over_the_settings_file(cli: Cli) -> None:
    option = settings("mix: Na=Na0.5K0.5\nmax_steps: 0\nfmax: 0.5\n")
    assert cli("relax", *SALT, *option, "--fmax", "0.25").code == 0
    inputs = result("relax-salt")["inputs"]
    assert inputs["mixture"]["groups"][0]["composition"] == [0.75, 0.25]
    assert (inputs["relaxation"]["max_steps"], inputs["relaxation"]["fmax"]) == (0, 0.25)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fmx: 0.1", "unknown entry 'fmx' .*fmax.*: the options of this command are .*fmax"),
        ("points: 3", "unknown entry 'points'"),
        ("settings: other.yaml", "unknown entry 'settings'"),
        ("- fmax", "line 1, column 1: write lines such as 'points: 11'"),
        ("", "line 1, column 1: write lines such as 'points: 11'"),
        ("a: b: c", r"is no valid YAML \("),
        (b"\xff\xfe\x00", "is no text in UTF-8"),
        ("fmax: -1", "'run.yaml', line 1.*: --fmax -1 cannot be used"),
        ("mix: Na", "cannot read --mix 'Na'"),
    ],
)
def test_bad_settings_files(cli: Cli, tmp_path: Path, text: str | bytes, words: str) -> None:
    option = settings(text)
    before = files(tmp_path)
    assert_one_sentence(cli("relax", "salt.cif", *option), words)
    assert files(tmp_path) == before


def test_a_settings_file_that_is_not_there(cli: Cli) -> None:
    outcome = cli("relax", "salt.cif", "--settings", "none.yaml")
    assert_one_sentence(outcome, "cannot read 'none.yaml'")


# ---------------------------------------------------------------------- help, models, parsing


@pytest.mark.parametrize("command", ["energy", "relax", "scan", "models"])
def test_help_of_each_command(cli: Cli, command: str) -> None:
    outcome = cli(command, "--help")
    assert outcome.code == 0
    assert "Usage: alchemlip" in outcome.out
    if command in ("relax", "scan"):
        assert "eV/A" in outcome.out
        assert "GPa" in outcome.out


@pytest.mark.parametrize(
    "arguments", [("energy",), ("relax", "salt.cif", "--fmx", "1"), ("melt",), ("--colour",)]
)
def test_usage_errors_end_with_code_2(cli: Cli, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    before = files(tmp_path)
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert "Usage: alchemlip" in outcome.err
    assert "Traceback" not in outcome.err
    assert files(tmp_path) == before


def test_models(cli: Cli) -> None:
    outcome = cli("models", "--json")
    assert (outcome.code, outcome.err) == (0, "")
    entries = {entry["name"]: entry for entry in json.loads(outcome.out)}
    default = entries["sevennet-0"]
    assert default["installed"] is True
    assert {"H", "Na", "Ce", "Zr"} <= set(default["elements"])
    assert "Rn" not in default["elements"]
    assert re.fullmatch("[0-9a-f]{64}", default["card"]["sha256"])
    assert "MIT" in default["card"]["licence"]
    assert "sevenn wheel" in default["card"]["weights"]
    assert default["card"]["reference"]
    table = cli("models").out
    for name, entry in entries.items():
        assert name in table
        assert (entry["card"]["sha256"] if entry["card"] else "not installed") in table


@pytest.mark.parametrize(
    ("text", "sites"), [("0", [0]), ("0,2-5", [0, 2, 3, 4, 5]), (" 3 , 1-1", [3, 1])]
)
def test_site_indices(text: str, sites: list[int]) -> None:
    assert parse_sites(text) == sites


@pytest.mark.parametrize("text", ["", "a", "-1", "1-", "1-2-3", "0;1", "1.5", "²", "3-1"])
def test_bad_site_indices(text: str) -> None:
    with pytest.raises(InputError, match="site indices"):
        parse_sites(text)


def test_import_stays_light() -> None:
    """Neither the package nor its command line imports what is slow before it is needed."""
    heavy = ["torch", "sevenn", "e3nn", "ase.optimize", "pymatgen", "matplotlib", "scipy", "pandas"]
    code = f"""
import sys, alchemlip, alchemlip.cli
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_every_public_name_loads() -> None:
    import alchemlip

    for name in alchemlip.__all__:
        assert not isinstance(getattr(alchemlip, name), ModuleType), name
    assert dir(alchemlip) == sorted(alchemlip.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Alchemy'"):
        _ = alchemlip.Alchemy


def test_help_is_quick() -> None:
    program = Path(sysconfig.get_path("scripts")) / "alchemlip"
    before = os.times()
    done = subprocess.run(
        [program, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    after = os.times()
    # Processor time: what else the machine does is not the program's fault.
    spent = after.children_user + after.children_system
    assert spent - before.children_user - before.children_system < 1.0
    for command in ("energy", "relax", "scan", "models"):
        assert command in done.stdout
    assert done.stderr == ""


def test_a_magnetic_alloy_is_told(cli: Cli) -> None:
    """In the terminal, in result.json and in the report."""
    bulk("Fe", "bcc", 2.85).write("iron.cif")
    mixed = ("iron.cif", "--mix", "Fe=Fe0.5Cr0.5")
    for command, *options in (
        ("energy", *mixed),
        ("relax", *mixed, *LOOSE),
        ("scan", "iron.cif", "--mix", "Fe=Fe,Cr", "--points", "2", *LOOSE),
    ):
        outcome = cli(command, *options, "--out", command)
        assert outcome.code == 0, outcome.err
        assert "Cr and Fe are mixed" in " ".join(outcome.err.split())
        (sentence,) = result(command)["warnings"]
        assert "sign of a mixing energy" in sentence
        cli("report", command)
        assert "Cr and Fe are mixed" in Path(command, "report.html").read_text(encoding="utf-8")
