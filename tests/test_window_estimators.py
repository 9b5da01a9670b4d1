"""Thermodynamic integration, MBAR and the tables for alchemlyb, on springs with known answers."""

from pathlib import Path

import numpy as np
import pytest

from alchemlip.errors import InputError
from alchemlip.freeenergy.estimators import estimate_from_work
from alchemlip.freeenergy.export import (
    energy_table,
    export_record,
    gradient_table,
    hat_means,
)
from alchemlip.freeenergy.recorded import legs_of, windows_of, works_of
from alchemlip.freeenergy.window_estimators import (
    convergence_in_time,
    equilibrium_of,
    estimate_from_energies,
    estimate_from_gradients,
)
from recorded_runs import (
    EXACT,
    KT,
    RATIO,
    TEMPERATURE,
    spring_windows,
    switching_record,
    window_record,
)

pytest.importorskip("alchemlyb")


def test_both_estimators_give_the_spring() -> None:
    rng = np.random.default_rng(1)
    couplings = np.linspace(0.0, 1.0, 21) ** 2
    gradients, energies = spring_windows(couplings, 1000, 0.8, rng)
    for estimate in (
        estimate_from_gradients(couplings, gradients, TEMPERATURE),
        estimate_from_energies(couplings, energies, TEMPERATURE),
    ):
        assert abs(estimate.value_eV - EXACT) < 3 * estimate.standard_error_eV
        assert estimate.standard_error_eV < 0.05 * EXACT
        # (1 + m^2) / (1 - m^2) for the square of a series with memory m.
        assert np.mean(estimate.details["statistical_inefficiencies"]) == pytest.approx(
            4.6, rel=0.3
        )
    assert 0.02 < estimate.overlap < 0.1
    assert np.asarray(estimate.details["overlap_matrix"]).sum(axis=1) == pytest.approx(np.ones(21))


@pytest.mark.parametrize("method", ["TI", "MBAR"])
def test_window_intervals_cover(method: str) -> None:
    """100 experiments of 8 windows with correlated samples."""
    rng = np.random.default_rng(2)
    couplings = np.linspace(0.0, 1.0, 8) ** 1.5
    # What trapezoids over the exact mean give: TI's error does not claim to know the bend.
    mean = 1.5 * KT * (RATIO - 1.0) / (1.0 + (RATIO - 1.0) * couplings)
    truth = EXACT if method == "MBAR" else np.trapezoid(mean, couplings)
    held = 0
    for _ in range(100):
        gradients, energies = spring_windows(couplings, 80, 0.5, rng)
        estimate = (
            estimate_from_energies(couplings, energies, TEMPERATURE)
            if method == "MBAR"
            else estimate_from_gradients(couplings, gradients, TEMPERATURE)
        )
        low, high = estimate.interval_95_eV
        held += low <= truth <= high
    assert 90 <= held <= 99


def test_equilibration_is_dropped() -> None:
    rng = np.random.default_rng(5)
    series = rng.normal(size=600)
    assert equilibrium_of(series).start == 0
    series[:100] += np.linspace(20.0, 0.0, 100)
    found = equilibrium_of(series)
    assert 50 <= found.start <= 150
    assert found.start + found.count == 600
    constant = equilibrium_of(np.full(50, 1.5))
    assert (constant.start, constant.inefficiency, constant.independent) == (0, 1.0, 50.0)


@pytest.mark.parametrize("method", ["TI", "MBAR"])
def test_convergence_ends_at_the_whole(method: str) -> None:
    rng = np.random.default_rng(6)
    couplings = np.linspace(0.0, 1.0, 5)
    gradients, energies = spring_windows(couplings, 200, 0.0, rng)
    samples = energies if method == "MBAR" else gradients
    rows = convergence_in_time(couplings, samples, TEMPERATURE, method=method, points=4)
    estimate = (estimate_from_energies if method == "MBAR" else estimate_from_gradients)(
        couplings, samples, TEMPERATURE, correlated=False
    )
    assert [row["data_fraction"] for row in rows] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    for side in ("from_start_eV", "from_end_eV"):
        assert rows[-1][side] == pytest.approx(estimate.value_eV, rel=1e-5)


def test_windows_survive_the_way_through_parquet(tmp_path: Path) -> None:
    """Record -> parquet -> alchemlyb's own reader and estimators."""
    from alchemlyb.estimators import BAR, MBAR, TI
    from alchemlyb.parsing.parquet import extract_dHdl, extract_u_nk
    from alchemlyb.postprocessors.units import to_kJmol
    from alchemlyb.preprocessing import statistical_inefficiency

    couplings = np.array([0.0, 0.3, 0.6, 1.0])
    record = window_record(tmp_path / "run.sqlite", couplings)
    files = export_record(record, tmp_path / "out", TEMPERATURE)
    assert sorted(files) == ["dHdl", "u_nk"]
    u_nk = extract_u_nk(str(files["u_nk"]), T=TEMPERATURE)
    gradients = extract_dHdl(str(files["dHdl"]), T=TEMPERATURE)
    (windows,) = windows_of(record)
    for table, made in (
        (u_nk, energy_table(couplings, windows.energies_eV, TEMPERATURE)),
        (gradients, gradient_table(couplings, windows.dhdl_eV, TEMPERATURE)),
    ):
        assert table.attrs == {"temperature": TEMPERATURE, "energy_unit": "kT"}
        assert table.index.names == ["time", "fep-lambda"]
        np.testing.assert_array_equal(table.to_numpy(), made.to_numpy())
    assert list(u_nk.columns) == couplings.tolist()
    ours = estimate_from_energies(couplings, windows.energies_eV, TEMPERATURE, correlated=False)
    theirs = MBAR().fit(u_nk)
    assert KT * theirs.delta_f_.loc[0.0, 1.0] == pytest.approx(ours.value_eV, rel=1e-6)
    assert KT * BAR().fit(u_nk).delta_f_.loc[0.0, 1.0] == pytest.approx(EXACT, rel=0.2)
    ours = estimate_from_gradients(couplings, windows.dhdl_eV, TEMPERATURE, correlated=False)
    fitted = TI().fit(gradients)
    assert KT * fitted.delta_f_.loc[0.0, 1.0] == pytest.approx(ours.value_eV)
    # Unit conversion and subsampling find what they look for.
    joule = to_kJmol(fitted.delta_f_).loc[0.0, 1.0]
    assert joule == pytest.approx(96.485 * ours.value_eV, rel=1e-4)
    one = gradients.xs(0.3, level="fep-lambda", drop_level=False)
    assert len(statistical_inefficiency(one, series=one["fep"])) < len(one)


def test_switching_survives_the_way_through_parquet(tmp_path: Path) -> None:
    """alchemlyb's BAR over the exported works is BAR; its TI the mean of (W_f - W_r)/2."""
    from alchemlyb.estimators import BAR, MBAR, TI
    from alchemlyb.parsing.parquet import extract_dHdl, extract_u_nk

    record = switching_record(tmp_path / "run.sqlite", 5)
    works = works_of(legs_of(record))
    estimate = estimate_from_work(*works, TEMPERATURE, np.random.default_rng(0))
    files = export_record(record, tmp_path, TEMPERATURE, prefix="run_")
    assert files["u_nk"].name == "run_u_nk.parquet"
    u_nk = extract_u_nk(str(files["u_nk"]), T=TEMPERATURE)
    for estimator in (BAR(), MBAR()):
        fitted = KT * estimator.fit(u_nk).delta_f_.loc[0.0, 1.0]
        assert fitted == pytest.approx(estimate.value_eV, rel=1e-5)
    fitted = TI().fit(extract_dHdl(str(files["dHdl"]), T=TEMPERATURE))
    assert KT * fitted.delta_f_.loc[0.0, 1.0] == pytest.approx(estimate.details["mean_of_pairs_eV"])


def test_an_unfinished_leg_is_left_out(tmp_path: Path) -> None:
    record = switching_record(tmp_path / "run.sqlite", 3, cut=True)
    legs = legs_of(record)
    assert [leg.complete for leg in legs] == [True] * 5 + [False]
    assert 0.0 < legs[-1].fraction < 1.0
    forward, backward = works_of(legs)
    assert len(forward) == len(backward) == 2
    whole = works_of(legs_of(switching_record(tmp_path / "whole.sqlite", 3)))
    np.testing.assert_array_equal(forward, whole[0][:2])


def test_nothing_to_export_says_so(tmp_path: Path) -> None:
    record = switching_record(tmp_path / "run.sqlite", 1, cut=True)
    with pytest.raises(InputError, match="no repeat is complete"):
        export_record(record, tmp_path, TEMPERATURE)


def test_grid_means_keep_the_work() -> None:
    rng = np.random.default_rng(7)
    coupling = np.sort(rng.uniform(size=60))
    coupling[[0, -1]] = 0.0, 1.0
    gradient = rng.normal(size=60)
    grid = np.linspace(0.0, 1.0, 21)
    on_grid = np.trapezoid(hat_means(coupling, gradient, grid), grid)
    assert on_grid == pytest.approx(np.trapezoid(gradient, coupling))
    smooth = hat_means(coupling, 2.0 - coupling, grid)
    np.testing.assert_allclose(smooth[1:-1], 2.0 - grid[1:-1])


@pytest.mark.parametrize(
    ("couplings", "counts", "message"),
    [([0.0], [10], "at least two windows"), ([0.0, 1.0], [10, 1], "1.0 independent samples")],
)
def test_bad_windows_are_refused(couplings: list[float], counts: list[int], message: str) -> None:
    gradients = [np.arange(n, dtype=float) for n in counts]
    with pytest.raises(InputError, match=message):
        estimate_from_gradients(np.array(couplings), gradients, TEMPERATURE, correlated=False)
    with pytest.raises(InputError, match="not a number"):
        estimate_from_gradients(np.array([0.0, 1.0]), [np.full(5, np.nan)] * 2, TEMPERATURE)
    with pytest.raises(InputError, match="at all 2 couplings"):
        estimate_from_energies(np.array([0.0, 1.0]), [np.ones((5, 3))] * 2, TEMPERATURE)
