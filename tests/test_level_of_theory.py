"""No gap, critical temperature or free energy of mixing is read without its level of theory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.calculations.result import Result
from alchemlip.campaigns.quantities import level_of_theory
from alchemlip.crystal.level import mixing_level, ordering_level, scan_level
from alchemlip.crystal.plausibility import magnetic_warnings
from alchemlip.reporting import write_report
from report_runs import Page
from test_enthalpy import HALF, MIXED, Run, run  # noqa: F401


def line_with(text: str, words: str) -> str:
    """Return the one line that holds some words."""
    (line,) = [line for line in text.splitlines() if words in line]
    return line


def page(folder: str) -> str:
    return Page(write_report(Path(folder)).read_text(encoding="utf-8")).text


@pytest.mark.parametrize("relaxed", [False, True])
def test_a_gap(run: Run, relaxed: bool) -> None:  # noqa: F811
    options = ("--points", "3", "--supercell", "3,3,3", "--temperature", "900")
    options += ("--local-relaxation",) if relaxed else ()
    record = run("disorder", *MIXED, *options)
    level = mixing_level(relaxed)
    line = line_with(record["printed"], "900 K: miscibility gap")
    assert level.name in line
    assert "too wide" in line
    assert "measured 765 K" in line
    assert ("ideal sites" in line) != relaxed
    results = record["results"]
    assert results["level_of_theory"] == level.name
    assert results["level_of_theory_errs"] == level.errs
    # In the headline, and beside the gap; also for a record that does not name its level.
    for kept in (results, {k: v for k, v in results.items() if not k.startswith("level")}):
        file = Path("run-disorder/result.json")
        file.write_text(json.dumps(json.loads(file.read_text()) | {"results": kept}))
        text = page("run-disorder")
        assert f"Mixes at every composition above ({level.name})" in text
        assert level.errs in text
        assert "✓" not in text
    assert level_of_theory("critical_temperature_K", [results, results]) == level.name
    assert level_of_theory("energy_eV_per_atom", [results]) == ""


@pytest.mark.parametrize("relaxed", [False, True])
def test_an_ordering_temperature(run: Run, relaxed: bool) -> None:  # noqa: F811
    options = ("--repeat", "2,2,2", "--structures", "1", *(["--size-effect"] if relaxed else []))
    record = run("order", *HALF, *options)
    level = ordering_level(relaxed)
    results = record["results"]
    assert not results["ordering_waves"][0]["phase_separation"]
    assert results["level_of_theory"] == level.name
    printed = " ".join(record["printed"].split())
    assert f"most unstable first ({level.name})" in printed
    assert level.errs in printed
    if relaxed:
        assert level.name in line_with(record["printed"], "(k = 0): mean-field T")
    text = page("run-order")
    assert f"below which it orders ({level.name})" in text
    assert level.errs in text


def test_a_separation_temperature_errs_the_other_way() -> None:
    assert "too low" in ordering_level(relaxed=False, separates=True).errs
    assert "too high" in ordering_level(relaxed=False, separates=False).errs


def test_a_scan(run: Run) -> None:  # noqa: F811
    record = run("scan", *MIXED, "--points", "3")
    level = scan_level("independent")
    line = line_with(record["printed"], "Mixing enthalpy")
    assert level.name in line
    assert level.errs in line
    assert record["results"]["level_of_theory"] == level.name
    text = page("run-scan")
    assert f"Mixing enthalpy ({level.name})" in text
    assert "no solid solution" in scan_level("concerted").errs


# ---------------------------------------------------------------------- magnetic alloys


@pytest.mark.parametrize(
    ("weights", "metals"),
    [
        ({"Fe": 0.5, "Cr": 0.5}, "Cr and Fe"),
        ({"Cr": 0.2, "Mn": 0.2, "Fe": 0.2, "Co": 0.2, "Ni": 0.2}, "Cr, Mn, Fe, Co and Ni"),
        ({"Fe": 1.0, "Ni": 0.0}, "Fe and Ni"),
    ],
)
def test_magnetic_alloys_are_told(weights: dict[str, float], metals: str) -> None:
    mixture = Mixture.from_elements(bulk("Fe", "bcc", 2.86), {"Fe": weights})
    (sentence,) = magnetic_warnings(mixture)
    assert sentence.startswith(f"{metals} are mixed")
    assert "the sign" in sentence


def test_metals_on_sites_of_their_own() -> None:
    """Each mixed with another metal, on two sublattices: Fe and Co count together."""
    atoms = bulk("FeCo", "cesiumchloride", 2.86)
    both = {"Fe": {"Fe": 0.9, "Al": 0.1}, "Co": {"Co": 0.9, "Ti": 0.1}}
    assert magnetic_warnings(Mixture.from_elements(atoms, both)) != []
    # An ordered compound of them, or one of them mixed with another metal, says nothing.
    assert magnetic_warnings(Mixture.from_atoms(atoms)) == []
    one = Mixture.from_elements(bulk("Ni", "fcc", 3.5), {"Ni": {"Ni": 0.5, "Cu": 0.5}})
    assert magnetic_warnings(one) == []
    oxide = Mixture.from_elements(bulk("NiO", "rocksalt", 4.2), {"Ni": {"Ni": 0.5, "Co": 0.5}})
    assert magnetic_warnings(oxide) == []


def test_a_result_in_words(tmp_path: Path) -> None:
    found = {"critical_temperature_K": 2185.5, **mixing_level(relaxed=False).to_dict()}
    record = {"command": "disorder", "status": "finished", "results": found}
    line = line_with(str(Result(tmp_path, record)), "critical temperature 2185.5 K")
    assert mixing_level(relaxed=False).name in line
