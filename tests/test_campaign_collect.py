"""Collected results: where runs stand, averages over repeats, pictures."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from alchemlip.campaigns.coordinates import coordinates, numeric
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.means import mean_and_errors, means
from alchemlip.campaigns.plots import draw_results
from alchemlip.campaigns.quantities import drawn, error_of, label, scaled
from alchemlip.campaigns.table import collected
from alchemlip.errors import InputError
from campaign_runs import cheap_runs, cli, made_up, runs_of

TRANSMUTATIONS = """\
command: transmute
replicas: 3
options: {structure: salt.cif}
vary:
  to: [Na=Na0.75K0.25, Na=Na0.5K0.5]
  temperature: [300, 600, 900]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cheap_runs(tmp_path, monkeypatch)
    return tmp_path


def free_energy(run: CampaignRun) -> Mapping[str, Any]:
    """A straight line in temperature, with a known scatter of the replicas."""
    value = -1e-4 * run.options["temperature"] + 0.01 * (run.varied["replica"] - 1)
    return {
        "free_energy_eV_per_atom": value,
        "standard_error_eV_per_atom": 0.006,
        "interval_95_eV_per_atom": [value - 0.01, value + 0.01],
        "n_atoms": 2,
        "method": "by hand",
    }


# ---------------------------------------------------------------------- where runs stand


def test_compositions_become_weights() -> None:
    """Weights of a mixture sum to 1: of n components that vary, n - 1 are coordinates."""
    text = "command: energy\nvary: {structure: salt.cif, mix: [Na=Na, Na=Na0.5K0.5, Na=K]}\n"
    places = coordinates(runs_of(text))
    assert [place["Na:K"] for place in places] == [0.0, 0.5, 1.0]
    assert numeric(places) == ["Na:K"]
    three = text.replace("Na=K]", "Na=Na0.2K0.3Cu0.5]")
    places = coordinates(runs_of(three))
    assert [tuple(place.values()) for place in places] == [(0.0, 0.0), (0.5, 0.0), (0.3, 0.5)]
    assert list(places[0]) == ["Na:K", "Na:Cu"]
    listed = "command: scan\nvary: {structure: salt.cif, mix: ['Na=Na,K', 'Na=Na,Cu']}\n"
    assert [place["mix"] for place in coordinates(runs_of(listed))] == ["Na=Na,K", "Na=Na,Cu"]


def test_coordinates_leave_out_repeats_and_what_is_the_same() -> None:
    runs = runs_of(TRANSMUTATIONS)
    places = coordinates(runs)
    assert list(places[0]) == ["Na:K", "temperature"]
    assert len({tuple(place.values()) for place in places}) == len(runs) // 3
    cells = "command: vacancy\nvary: {structure: Cu.extxyz, repeat: ['2,2,2', 3x3x3], mu: -4}\n"
    assert coordinates(runs_of(cells)) == [{"repeat": 8.0}, {"repeat": 27.0}]
    shapes = cells.replace("3x3x3", "'4,2,1'")  # as many cells, in another shape
    assert coordinates(runs_of(shapes))[1] == {"repeat": "4,2,1"}


# ---------------------------------------------------------------------- means


def test_both_errors_of_a_mean_agree_where_the_runs_are_right() -> None:
    """Values drawn with the error that each states: both variances have the same expectation."""
    rng = np.random.default_rng(0)
    errors = [0.5, 1.0, 1.5]
    found = np.array(
        [mean_and_errors(rng.normal(0.0, errors).tolist(), errors) for _ in range(4000)],
        dtype=float,
    )
    exact = math.sqrt(sum(error**2 for error in errors)) / 3
    assert np.std(found[:, 0]) == pytest.approx(exact, rel=0.05)
    assert math.sqrt(np.mean(found[:, 1] ** 2)) == pytest.approx(exact, rel=0.05)
    assert found[:, 2] == pytest.approx(exact, rel=1e-12)


def test_one_value_has_no_scatter() -> None:
    assert mean_and_errors([2.0], [0.3]) == (2.0, None, pytest.approx(0.3))
    assert mean_and_errors([2.0, 4.0], [0.3]) == (3.0, pytest.approx(1.0), None)


def test_repeats_are_averaged_into_a_table() -> None:
    made_up(TRANSMUTATIONS, free_energy, leave_out=2)
    assert cli("collect", "campaign-mixing", "--no-plots").exit_code == 0
    assert not Path("campaign-mixing/plots").exists()
    table = pd.read_csv("campaign-mixing/means.csv")
    assert list(table["replicas"]) == [3, 3, 3, 3, 3, 1]
    assert list(table["temperature"]) == [300.0, 600.0, 900.0] * 2
    value = table["free_energy_eV_per_atom"]
    assert list(value[:3]) == pytest.approx([-0.03, -0.06, -0.09], abs=1e-12)
    error = table["free_energy_eV_per_atom_standard_error"]
    assert list(error[:5]) == pytest.approx([0.01 / math.sqrt(3)] * 5)
    assert math.isnan(error[5])
    own = table["free_energy_eV_per_atom_standard_error_of_runs"]
    assert list(own) == pytest.approx([0.006 / math.sqrt(3)] * 5 + [0.006])
    assert list(table["n_atoms"]) == [2.0] * 6
    assert not any("interval" in name or name == "seed" for name in table.columns)


def test_a_spread_over_potentials_does_not_shrink_with_repeats() -> None:
    results = {"energy_eV": 1.0, "energy_eV_spread": 0.2}
    text = "command: disorder\nreplicas: 4\noptions: {structure: salt.cif}\n"
    made, runs = made_up(text, lambda run: {**results, "a_A": float(run.varied["replica"])})
    (row,) = means(runs, collected(made, runs))
    assert row["energy_eV_spread"] == pytest.approx(0.2)
    assert "energy_eV_standard_error_of_runs" not in row
    assert row["a_A"] == 1.5


def test_without_repeats_there_is_no_table_of_means() -> None:
    text = "command: energy\nvary: {structure: [salt.cif, large.cif]}\n"
    made_up(text, lambda _: {"energy_eV_per_atom": -1.0})
    assert cli("collect", "campaign-mixing", "--no-plots").exit_code == 0
    assert not Path("campaign-mixing/means.csv").exists()


# ---------------------------------------------------------------------- names


def test_errors_belong_to_their_results() -> None:
    columns = ["free_energy_eV", "standard_error_eV", "enthalpy_eV_per_atom", "a_A", "a_A_spread"]
    columns += ["enthalpy_standard_error_eV_per_atom", "explicit_standard_error_eV_per_atom"]
    assert error_of("free_energy_eV", columns) == "standard_error_eV"
    assert error_of("enthalpy_eV_per_atom", columns) == "enthalpy_standard_error_eV_per_atom"
    assert error_of("explicit_energy_eV_per_atom", columns) == "explicit_standard_error_eV_per_atom"
    assert error_of("a_A", columns) == "a_A_spread"
    assert error_of("volume_A3", columns) is None


def test_axes_carry_units() -> None:
    assert label("volume_A3_per_atom") == "volume (Å³/atom)"
    assert label("temperature") == "temperature (K)"
    assert label("Na:K") == label("composition.Na:K") == "x(K)"
    assert scaled("mixing_energy_eV_per_atom", 0.004) == (1e3, "mixing energy (meV/atom)")
    assert scaled("energy_eV_per_atom", 4.0) == (1.0, "energy (eV/atom)")
    assert drawn("melt", ["n_sites", "energy_eV"]) == ["energy_eV"]
    assert drawn("design", ["evaluations", "property.a_A"]) == ["property.a_A"]


# ---------------------------------------------------------------------- pictures


def drawn_points(figure: Figure, panel: int = 0) -> list[tuple[list[float], list[float]]]:
    """Return x and y of every line of means."""
    containers = figure.axes[panel].containers
    return [
        (list(item.lines[0].get_xdata()), list(item.lines[0].get_ydata())) for item in containers
    ]


def test_a_line_for_every_value_of_the_others() -> None:
    made, runs = made_up(TRANSMUTATIONS, free_energy)
    rows, places = collected(made, runs), coordinates(runs)
    figure = draw_results(["free_energy_eV_per_atom"], "temperature", rows, places)
    lines = drawn_points(figure)
    assert len(lines) == 2
    for x, y in lines:
        assert x == [300.0, 600.0, 900.0]
        assert y == pytest.approx([-0.03, -0.06, -0.09])
    # Three faint points at every temperature of every line.
    faint = [line for line in figure.axes[0].lines if line.get_alpha() is not None]
    assert sum(len(line.get_xdata()) for line in faint) == len(runs)
    # Half a bar is the standard error of the mean.
    bars = figure.axes[0].containers[0].lines[2][0].get_segments()
    assert np.ptp(bars[0][:, 1]) == pytest.approx(2 * 0.01 / math.sqrt(3))
    assert len(drawn_points(draw_results(["n_atoms"], "Na:K", rows, places))) == 3


@pytest.mark.parametrize("count", [2, 7, 12, 30])
@pytest.mark.parametrize("numbers", [True, False])
def test_what_tells_lines_apart_stands_beside_the_data(count: int, numbers: bool) -> None:
    places = [
        {"temperature": float(t), "other": float(n) if numbers else f"a rather long name {n}"}
        for n in range(count)
        for t in (300, 600)
    ]
    rows = [{"energy_eV": 1.0 + n} for n in range(len(places))]
    figure = draw_results(["energy_eV"], "temperature", rows, places, "a title")
    FigureCanvasAgg(figure).draw()
    panel = figure.axes[0].get_window_extent()
    assert panel.width > 300  # room is made beside the panel, not taken from it
    for legend in figure.legends:
        beside = legend.get_window_extent()
        assert beside.x0 >= panel.x1
        assert beside.x1 <= figure.bbox.x1 + 1
        assert beside.y0 >= figure.bbox.y0
    assert bool(figure.legends) != (numbers and count > 8)  # then a colour bar


def test_unfinished_runs_and_unknown_values_are_left_out() -> None:
    text = "command: relax\nvary: {structure: salt.cif, pressure: [0, 1, 2, 3]}\n"

    def relaxed(run: CampaignRun) -> dict[str, Any]:
        pressure = run.options["pressure"]
        return {"a_A": None if pressure == 1 else 5.0 - pressure, "converged": pressure < 2}

    made, runs = made_up(text, relaxed, leave_out=1)
    rows = collected(made, runs)
    done = [row for row in rows if row["state"] == "finished"]
    figure = draw_results(["a_A"], "pressure", done, coordinates(runs)[:3])
    assert drawn_points(figure) == [([0.0, 2.0], [5.0, 3.0])]
    hollow = [line for line in figure.axes[0].lines if line.get_markerfacecolor() == "white"]
    assert [line.get_xdata()[0] for line in hollow] == [2.0]


def test_pictures_from_the_command_line() -> None:
    text = "command: energy\nvary:\n  structure: [salt.cif, large.cif]\n"
    runs_of(text + "  mix: [Na=Na0.5K0.5, Na=Na0.9K0.1]\n")
    assert cli("run", "mixing.yaml").exit_code == 0
    plots = Path("campaign-mixing/plots")
    assert cli("collect", "campaign-mixing").exit_code == 0
    assert [file.name for file in plots.iterdir()] == ["against-Na-K.png"]
    chosen = ("--plot", "volume_A3", "--against", "pressure_GPa", "--against", "structure")
    assert cli("collect", "campaign-mixing", *chosen).exit_code == 0
    assert {file.name for file in plots.iterdir()} == {
        "against-Na-K.png",
        "against-pressure-GPa.png",
        "against-structure.png",
    }
    for option, words in (("--plot", "no result 'volume'"), ("--against", "no quantity that vari")):
        refused = cli("collect", "campaign-mixing", option, "volume")
        assert isinstance(refused.exception, InputError)
        assert words in str(refused.exception)
        assert "choose one of volume_A3" in str(refused.exception)


def test_points_of_scans_are_overlaid() -> None:
    scan = "command: scan\noptions: {mix: 'Na=Na,K', points: 3, fmax: 0.1, smax: 2.0}\n"
    runs_of(scan + "vary: {structure: [salt.cif], pressure: [0, 1]}\n")
    assert cli("run", "mixing.yaml").exit_code == 0
    assert cli("collect", "campaign-mixing").exit_code == 0
    assert {file.name for file in Path("campaign-mixing/plots").iterdir()} == {
        "against-pressure.png",
        "points.png",
    }


def test_nothing_finished_is_nothing_drawn() -> None:
    made_up(TRANSMUTATIONS, free_energy, leave_out=18)
    assert cli("collect", "campaign-mixing").exit_code == 0
    assert not Path("campaign-mixing/plots").exists()
