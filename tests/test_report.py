"""Reports: numbers and states of runs, nothing from the network, nothing injected."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.errors import InputError
from alchemlip.reporting import write_report
from alchemlip.reporting.alloys import disorder_findings
from alchemlip.reporting.campaign import campaign_content
from alchemlip.reporting.content import power_of_ten, rounded, shown, table_of, text_of
from alchemlip.reporting.reading import RunFiles
from alchemlip.reporting.structure_view import (
    APART,
    sector,
    species_colours,
    structure_figure,
)
from campaign_runs import made_up
from report_runs import Page, switching_run, vacant_salt, write_result
from test_cli import LOOSE, Cli, assert_one_sentence, cli, files, result  # noqa: F401

FAST = ("--equilibrate", "0.006", "--repeats", "2", "--switch", "0.01", "-T", "300")
SALT = ("salt.cif", "--mix", "Na=Na0.75K0.25")


def page_of(folder: Path, file: Path | None = None) -> Page:
    return Page(write_report(folder, file).read_text(encoding="utf-8"))


def assert_sound(page: Page) -> None:
    """What holds of every page: structure for a screen reader, plots with numbers, no network."""
    assert page.named("html") == [{"lang": "en"}]
    assert [tag for tag, _ in page.tags].count("h1") == 1
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels)), levels
    for landmark in ("header", "main", "nav", "footer"):
        assert len(page.named(landmark)) == 1
    plots = [item for item in page.named("div") if item.get("role") == "img"]
    assert len(plots) == len(page.figures)
    for plot in plots:
        assert len(plot["aria-label"] or "") > 40
    identities = [item["id"] for _, item in page.tags if "id" in item]
    assert len(identities) == len(set(identities))
    for _, item in page.tags:
        for name in ("src", "href", "data", "srcset", "action"):
            assert re.match(r"#|data:,$", item.get(name) or "#"), item
    assert "url(" not in page.html.split("<style>")[1].split("</style>")[0]
    assert "@import" not in page.html.split("<style>")[1].split("</style>")[0]
    assert [item.get("type") for item in page.named("script")] == ["application/json", None, None]
    policy = next(item["content"] or "" for item in page.named("meta") if "http-equiv" in item)
    assert "default-src 'none'" in policy
    scripts = re.findall(r"<script>(.*?)</script>", page.html, re.DOTALL)
    for script in scripts:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy


# ---------------------------------------------------------------------- every kind of run

KINDS: dict[str, tuple[tuple[str, ...], str]] = {
    "energy": (("energy", *SALT), "energy_eV_per_atom"),
    "relax": (("relax", *SALT, *LOOSE), "energy_eV_per_atom"),
    "transmute": (
        ("transmute", "salt.cif", "--to", "Na=K", *FAST),
        "free_energy_eV_per_atom",
    ),
    "switch": (
        ("switch", "salt.cif", "--to", "Na=K", "--cell", "fixed", *FAST),
        "free_energy_eV_per_atom",
    ),
    "windows": (
        (
            *("transmute", "salt.cif", "--to", "Na=K", "--windows", "3", "--cell", "fixed"),
            *("--sample", "0.04", "--sample-interval", "1", "--exchange-interval", "2"),
            *("--equilibrate", "0.006", "--repeats", "1", "-T", "300"),
        ),
        "free_energy_eV_per_atom",
    ),
    "frenkel-ladd": (
        (
            *("frenkel-ladd", "salt.cif", "--cell", "fixed", "--springs", "given"),
            *("--spring", "Na=1.0", "--spring", "Cl=1.0", *FAST),
        ),
        "free_energy_eV_per_atom",
    ),
    "vacancy": (
        (
            *("vacancy", "salt.cif", "--repeat", "2,1,1", "--mu", "-1", "--cell", "fixed"),
            *("--spring", "2", "--no-static", *FAST),
        ),
        "free_energy_eV",
    ),
    "order": (
        (
            *("order", "bcc.cif", "--mix", "Cu=Cu0.5Zn0.5", "--repeat", "2,2,2", "--no-relax"),
            *("--structures", "1", "--waves", "1"),
        ),
        "critical_temperature_K",
    ),
    "concentration": (
        ("concentration", "--enthalpy", "1.2", "--entropy", "2"),
        "enthalpy_eV",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_number_is_the_result(cli: Cli, kind: str) -> None:  # noqa: F811
    arguments, key = KINDS[kind]
    bulk("Cu", "bcc", 2.95).write("bcc.cif")
    outcome = cli(*arguments, "--out", "run")
    assert outcome.code == 0, outcome.err
    before = files(Path("run"))
    assert cli("report", "run").code == 0
    after = files(Path("run"))
    assert {name: after[name] for name in before} == before
    page = Page(Path("run/report.html").read_text(encoding="utf-8"))
    assert_sound(page)
    record = result("run")
    wanted = record["results"][key]
    error = record["results"].get(key.replace("free_energy", "standard_error")) or 0.0
    assert page.headline() == pytest.approx(wanted, abs=max(0.1 * error, 6e-6 * abs(wanted), 5e-5))
    assert "finished" in page.text
    for word in arguments[1:]:
        assert word in page.text.replace("'", "")
    if kind != "concentration":
        assert record["inputs"]["potential_sha256"] in page.text
        assert record["source"]["potential_licence"] in page.text
        assert record["source"]["structure_sha256"] in page.text
        assert page.figure("structure")["solid"]


def test_a_scan_and_a_scan_cut_off(cli: Cli) -> None:  # noqa: F811
    cli("scan", "salt.cif", "--mix", "Na=Na,K", "--points", "3", *LOOSE, "--out", "run")
    page = page_of(Path("run"))
    assert_sound(page)
    points = sorted(result("run")["points"], key=lambda point: point["composition"]["Na:K"])
    mixing = [1e3 * point["mixing_energy_eV_per_atom"] for point in points]
    assert page.figure("mixing")["traces"][0]["y"] == pytest.approx(mixing)
    assert page.headline() == pytest.approx(max(mixing, key=abs), abs=0.006)
    record = result("run")
    record |= {"status": "interrupted", "reason": "the power went", "results": {}}
    del record["points"]
    Path("run/result.json").write_text(json.dumps(record))
    lines = Path("run/points.jsonl").read_text().splitlines(keepends=True)
    Path("run/points.jsonl").write_text("".join(lines[:2]) + lines[2][:40])
    page = page_of(Path("run"))
    assert_sound(page)
    assert "the power went" in page.text
    assert "2 of 3" in page.text


def test_a_triangle(cli: Cli) -> None:  # noqa: F811
    cli("scan", "salt.cif", "--mix", "Na=Na,K,Rb", "--points", "2", *LOOSE, "--out", "run")
    page = page_of(Path("run"))
    assert_sound(page)
    trace = page.figure("mixing")["traces"][0]
    assert np.sum([trace[corner] for corner in "abc"], axis=0) == pytest.approx(np.ones(3))


def test_vibrations_and_why_some_are_missing() -> None:
    point = {"mixing_energy_eV_per_atom": 0.01, "quasi_harmonic_note": "a mode is unstable"}
    content = {
        "status": "finished",
        "inputs": {"components": ["Na", "K"], "compositions": [[0.5, 0.5]]},
        "points": [point],
        "results": {
            "harmonic_critical_temperature_K": 974.3,
            "harmonic_critical_composition": 0.351,
            "with_vibrations": [{"temperature_K": 9000.0, "note": "take a wider range"}],
        },
    }
    found = disorder_findings(RunFiles(Path("made"), content, content["points"]))
    (shown,) = [item for item in found.quantities if item.label == "With vibrations, mixes above"]
    assert (shown.value, shown.unit) == ("974", "K")
    assert "0.351" in shown.note
    assert found.warnings == (
        "Vibrations: a mode is unstable.",
        "Vibrations: take a wider range.",
    )


def test_disorder_and_design(cli: Cli) -> None:  # noqa: F811
    mixed = ("disorder", "salt.cif", "--mix", "Na=Na,K", "--points", "3", "--supercell", "2,2,2")
    assert cli(*mixed, *LOOSE, "--temperature", "900", "--out", "mixed").code == 0
    page = page_of(Path("mixed"))
    assert_sound(page)
    energies = [point["mixing_energy_eV_per_atom"] for point in result("mixed")["points"]]
    assert page.headline() == pytest.approx(1e3 * max(energies, key=abs), abs=0.006)
    goal = ("--target", "volume=48~1", "--max-iterations", "3")
    assert cli("design", *SALT, *goal, *LOOSE, "--out", "designed").code == 0
    page = page_of(Path("designed"))
    assert_sound(page)
    assert "target volume (Å³) 48" in page.text
    weights = result("designed")["results"]["composition"]
    assert f"Na {weights['Na:Na']:.4f}, K {weights['Na:K']:.4f}" in page.text


def test_a_campaign(cli: Cli) -> None:  # noqa: F811
    Path("camp.yaml").write_text(
        "command: energy\nvary:\n  structure: [salt.cif]\n"
        "  mix: [Na=Na0.5K0.5, Na=Na0.9K0.1, Na=Na0.5Og0.5]\n"
    )
    cli("campaign", "run", "camp.yaml", "--out", "camp")
    page = page_of(Path("camp"), Path("camp.html"))
    assert_sound(page)
    assert page.headline() == 2
    assert "1 failed" in page.text
    assert "does not cover Og" in page.text


def test_a_campaign_shows_means_over_repeats_along_the_composition(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `collect` draws: x(K) across, a line a temperature, standard errors from the repeats."""
    monkeypatch.chdir(tmp_path)
    Path("salt.cif").write_text("")
    text = (
        "command: transmute\nreplicas: 3\noptions: {to: Na=K}\nvary:\n  structure: salt.cif\n"
        "  mix: [Na=Na0.9K0.1, Na=Na0.5K0.5]\n  temperature: [300, 600]\n"
    )

    def results(run: CampaignRun) -> dict[str, float]:
        weight = 0.1 if "0.1" in run.name else 0.5
        value = weight + run.varied["temperature"] / 1000.0 + 0.01 * run.varied["replica"]
        return {"free_energy_eV_per_atom": value, "standard_error_eV_per_atom": 0.5}

    folder, _ = made_up(text, results)
    (figure,) = next(
        section.figures
        for section in campaign_content(folder.path).findings.sections
        if section.title == "Results"
    )
    assert [trace["name"] for trace in figure.traces] == ["300", "600"]
    for trace, temperature in zip(figure.traces, (300.0, 600.0), strict=True):
        assert np.asarray(trace["x"]) == pytest.approx([0.1, 0.5])
        means = np.array([0.1, 0.5]) + temperature / 1000.0 + 0.01
        assert np.asarray(trace["y"]) == pytest.approx(means)
        assert np.asarray(trace["error_y"]["array"]) == pytest.approx(0.01 / np.sqrt(3.0))


# ---------------------------------------------------------------------- every state of a run


def test_a_run_that_goes_on_shows_its_estimate_so_far(tmp_path: Path) -> None:
    page = page_of(switching_run(tmp_path / "run", repeats=5, finished=False))
    assert_sound(page)
    assert "running" in page.text
    assert "so far" in page.text
    assert "4 of 5 repeats complete" in page.text
    assert "the path alone" in page.text


def test_a_failed_run_says_why(tmp_path: Path) -> None:
    write_result(tmp_path, status="failed", reason="the disk is full", command="relax")
    page = page_of(tmp_path)
    assert_sound(page)
    assert "the disk is full" in page.text
    assert "no results yet" in page.text


def test_an_empty_record_is_no_fault(tmp_path: Path) -> None:
    write_result(tmp_path, inputs={"dynamics": {"temperature_K": 300.0}})
    (tmp_path / "run.sqlite").write_bytes(b"")
    page = page_of(tmp_path)
    assert "cannot be shown" in page.text


def test_a_record_of_another_version_shows_its_plain_values(tmp_path: Path) -> None:
    write_result(tmp_path, status="finished", command="scan", results={"n_points": 17})
    page = page_of(tmp_path)
    assert_sound(page)
    assert "Only plain values" in page.text
    assert "17" in page.text


def test_a_cluster_has_no_cell(cli: Cli) -> None:  # noqa: F811
    assert cli("energy", "cluster.xyz", "--out", "run").code == 0
    page = page_of(Path("run"))
    assert_sound(page)
    assert "Volume" not in page.text
    names = {trace["name"] for trace in page.figure("structure")["traces"]}
    assert names == {"Na", "Cl"}


def test_little_overlap_stands_beside_the_number(tmp_path: Path) -> None:
    folder = switching_run(tmp_path / "run", repeats=3)
    record = result(folder)
    record["results"]["overlap"] = 1e-4
    (folder / "result.json").write_text(json.dumps(record))
    assert "hardly overlap" in page_of(folder).text


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "there is no result.json"), ("{", "is damaged"), ("[]", "is damaged")],
)
def test_bad_folders(cli: Cli, content: str | None, words: str) -> None:  # noqa: F811
    Path("run").mkdir()
    if content is not None:
        Path("run/result.json").write_text(content)
    assert_one_sentence(cli("report", "run"), words)
    assert_one_sentence(cli("report", "nowhere"), "there is no folder")


def test_a_page_that_cannot_be_written(cli: Cli, tmp_path: Path) -> None:  # noqa: F811
    folder = switching_run(tmp_path / "run", repeats=2)
    outcome = cli("report", str(folder), "--out", "nowhere/report.html")
    assert_one_sentence(outcome, "cannot write")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = switching_run(tmp_path / "run", repeats=2)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(InputError, match=r"pip install 'alchemlip\[report\]'"):
        write_report(folder)


# ---------------------------------------------------------------------- hostile names


def test_names_stay_text(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    folder = switching_run(
        tmp_path / "run",
        repeats=3,
        group=evil,
        structure_file=f'{evil}"onload="x.cif',
        potential_licence="</dd><a href='http://example.org'>here</a>",
    )
    page = page_of(folder)
    assert_sound(page)
    assert not page.named("img")
    assert evil in page.text
    for attributes in (item for _, item in page.tags):
        assert not [name for name in attributes if name.startswith("on")]
    assert "<script>alert" not in page.html
    assert "</script><img" not in page.html


# ---------------------------------------------------------------------- the structure


def solid_share(trace: dict[str, Any]) -> float:
    """Volume of a mesh in Angstrom^3."""
    points = np.stack([trace[axis] for axis in "xyz"], axis=1)
    a, b, c = (points[trace[corner]] for corner in "ijk")
    return float(np.einsum("ni,ni->", a, np.cross(b, c)) / 6.0)


def test_sectors_are_as_large_as_the_occupancies() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.7)
    mixture = Mixture.from_elements(atoms[:1], {"Na": {"Na": 0.55, "K": 0.35, "Va": 0.1}})
    mixture = Mixture(
        mixture.numbers, [[0, 0, 0]], np.zeros((3, 3)), [False] * 3, mixture.groups
    )  # no images
    meshes = {t["name"]: t for t in structure_figure(mixture).traces if t["type"] == "mesh3d"}
    volumes = {name: solid_share(mesh) for name, mesh in meshes.items()}
    total = sum(volumes.values())
    shares = {"Na": 0.55, "K": 0.35, "vacancy": 0.1}
    for name, share in shares.items():
        assert volumes[name] / total == pytest.approx(share, abs=0.01)
    assert meshes["vacancy"]["opacity"] < 0.5


@pytest.mark.parametrize("share", [0.05, 0.5, 1.0])
def test_a_sector_is_closed_and_faces_outward(share: float) -> None:
    vertices, triangles = sector(0.3, 0.3 + 2 * np.pi * share, 96, walls=share < 1)
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    volume = np.einsum("ni,ni->", a, np.cross(b, c)) / 6.0
    assert volume == pytest.approx(share * 4 / 3 * np.pi, rel=0.01)


def test_sites_on_faces_are_shown_on_every_face() -> None:
    mixture = Mixture.from_elements(bulk("Cu", "sc", 3.0), {"Cu": {"Cu": 0.5, "Au": 0.5}})
    mesh = structure_figure(mixture).traces[0]
    assert len(mesh["counts"]) == 8
    assert sum(mesh["counts"]) == len(mesh["x"])


def test_large_cells_are_points_of_mixed_colour() -> None:
    mixture = vacant_salt()
    figure = structure_figure(mixture, most_spheres=3)
    points = [t for t in figure.traces if t.get("mode") == "markers"]
    colours = species_colours(["Na", "K", "Va"])
    mean = 0.6 * colours["Na"] + 0.3 * colours["K"] + 0.1 * colours["Va"]
    shown_colour = [int(points[0]["marker"]["color"][i : i + 2], 16) for i in (1, 3, 5)]
    assert shown_colour == pytest.approx(255 * mean, abs=0.51)
    assert sum(len(t["x"]) for t in points) > 8


def test_colours_differ() -> None:
    """Jmol's Na and K, Ce and La, are hardly told apart."""
    chosen = species_colours(["Na", "K", "Rb", "Cs", "Ce", "La"])
    values = list(chosen.values())
    for i, first in enumerate(values):
        for second in values[:i]:
            assert np.linalg.norm(first - second) >= 0.7 * APART


# ---------------------------------------------------------------------- numbers as texts


def test_numbers_are_rounded_to_their_errors() -> None:
    assert rounded(-1.23456, 0.0123) == ("−1.235", "0.012")
    assert rounded(1234.5, 25.0) == ("1234", "25")
    assert rounded(0.5, float("nan"), 2) == ("0.50", "")
    assert shown(-1e-9, ".4f") == "0.0000"
    assert text_of(-2.5e-7) == "−2.5e−7"
    assert power_of_ten(-23.358) == "4.4 × 10⁻²⁴"
    assert power_of_ten(-0.0001) == "1.0 × 10⁰"


def test_long_tables_are_thinned_and_say_so() -> None:
    table = table_of("numbers", ("n",), [(n,) for n in range(1000)], most=11)
    assert [row[0] for row in table.rows][:2] == ["0", "100"]
    assert table.rows[-1] == ("999",)
    assert "11 of 1000" in table.note
