"""Free energy estimators against exact limits, and their intervals against many experiments."""

import numpy as np
import pytest
from ase.units import kB

from alchemlip.errors import InputError
from alchemlip.freeenergy.estimates import FreeEnergyEstimate, average_over_repeats
from alchemlip.freeenergy.estimators import (
    convergence_over_repeats,
    estimate_from_work,
    gaussian_crossing,
    work_of,
)
from exact_work import gaussian_work, oscillator_work

pytest.importorskip("pymbar")

TEMPERATURE = 300.0
KT = kB * TEMPERATURE


def coverage(forward: np.ndarray, backward: np.ndarray, truth: float) -> float:
    """Fraction of experiments (rows, kT) whose 95 % interval holds the truth."""
    rng = np.random.default_rng(0)
    held = 0
    for w_f, w_r in zip(forward, backward, strict=True):
        estimate = estimate_from_work(w_f * KT, w_r * KT, TEMPERATURE, rng, bootstraps=0)
        low, high = estimate.interval_95_eV
        held += low <= truth * KT <= high
    return held / len(forward)


@pytest.mark.parametrize(
    ("repeats", "dissipation"),
    [(4, 0.01), (4, 0.3), (4, 3.0), (8, 0.01), (8, 0.3), (8, 3.0), (20, 0.3)],
)
def test_intervals_cover_gaussian_work(repeats: int, dissipation: float) -> None:
    rng = np.random.default_rng(20 + repeats)
    works = gaussian_work(5.0, dissipation, (100, repeats), rng)
    assert 0.90 <= coverage(*works, 5.0) <= 0.99


@pytest.mark.parametrize(("repeats", "steps"), [(4, 10), (4, 100), (8, 30)])
def test_intervals_cover_a_driven_oscillator(repeats: int, steps: int) -> None:
    """Not Gaussian, and dissipation differs both ways: dF = 3/2 kT ln(k2/k1) for 3 directions."""
    rng = np.random.default_rng(repeats + steps)
    works = oscillator_work(4.0, steps, (100, repeats, 3), rng)
    truth = 1.5 * np.log(4.0)
    assert 0.90 <= coverage(*(w.sum(axis=-1) for w in works), truth) <= 0.99


def test_bar_is_right_where_the_mean_of_pairs_is_not() -> None:
    """A sudden change of spring: the two dissipations differ, BAR still gives 1/2 kT ln(k2/k1)."""
    rng = np.random.default_rng(4)
    works = oscillator_work(4.0, 1, (1500,), rng)
    estimate = estimate_from_work(*(w * KT for w in works), TEMPERATURE, rng, bootstraps=0)
    truth = 0.5 * np.log(4.0) * KT
    assert abs(estimate.value_eV - truth) < 3 * estimate.standard_error_eV
    assert abs(estimate.details["mean_of_pairs_eV"] - truth) > 5 * estimate.standard_error_eV


def test_every_estimator_agrees_on_much_data() -> None:
    rng = np.random.default_rng(5)
    works = gaussian_work(-2.0, 0.5, (800,), rng)
    estimate = estimate_from_work(*(w * KT for w in works), TEMPERATURE, rng, bootstraps=50)
    names = (
        "mean_of_pairs_eV",
        "crooks_gaussian_crossing_eV",
        "jarzynski_forward_eV",
        "jarzynski_backward_eV",
    )
    for value in (estimate.value_eV, *(estimate.details[name] for name in names)):
        assert abs(value / KT + 2.0) < 0.15
    assert abs(estimate.dissipation_eV / KT - 0.5) < 0.1
    assert estimate.hysteresis_eV == pytest.approx(2 * estimate.dissipation_eV)
    errors = [
        estimate.details[f"{name}_standard_error_eV"]
        for name in ("mean_of_pairs", "jackknife", "bootstrap")
    ]
    assert max(errors) < 1.4 * min(errors)
    assert 0.5 < estimate.overlap < 0.9


@pytest.mark.parametrize("spread", [0.0, 1e-15, 1e-12, 1e-7])
def test_a_reversible_path_gives_its_work(spread: float) -> None:
    rng = np.random.default_rng(6)
    forward = 0.7 + spread * rng.normal(size=4)
    backward = -0.7 + spread * rng.normal(size=4)
    estimate = estimate_from_work(forward, backward, TEMPERATURE, rng)
    assert estimate.value_eV == pytest.approx(0.7, abs=spread + 1e-15)
    assert estimate.standard_error_eV <= spread
    assert estimate.overlap == pytest.approx(1.0)


def test_exchange_of_the_ends_changes_the_sign() -> None:
    rng = np.random.default_rng(7)
    w_f, w_r = (w * KT for w in gaussian_work(1.0, 2.0, (6,), rng))
    one = estimate_from_work(w_f, w_r, TEMPERATURE, rng, bootstraps=0)
    two = estimate_from_work(w_r, w_f, TEMPERATURE, rng, bootstraps=0)
    assert one.value_eV == pytest.approx(-two.value_eV, abs=1e-10)
    assert one.standard_error_eV == pytest.approx(two.standard_error_eV)
    crossing = [estimate.details["crooks_gaussian_crossing_eV"] for estimate in (one, two)]
    assert crossing[0] == pytest.approx(-crossing[1])


def test_crossing_is_where_both_gaussians_are_equal() -> None:
    rng = np.random.default_rng(8)
    forward, backward = rng.normal(3.0, 1.0, 7), rng.normal(-1.0, 1.7, 7)
    crossing = gaussian_crossing(forward, backward)
    assert crossing is not None

    def log_density(values: np.ndarray) -> float:
        width = values.std(ddof=1)
        return float(-np.log(width) - 0.5 * ((crossing - values.mean()) / width) ** 2)

    assert log_density(forward) == pytest.approx(log_density(-backward))


@pytest.mark.parametrize("dissipation", [20.0, 400.0])
def test_works_that_do_not_overlap_have_a_wide_interval(dissipation: float) -> None:
    rng = np.random.default_rng(9)
    works = gaussian_work(1.0, dissipation, (4,), rng)
    estimate = estimate_from_work(*(w * KT for w in works), TEMPERATURE, rng)
    low, high = estimate.interval_95_eV
    assert low < KT < high
    assert estimate.overlap < 0.01


def test_a_single_repeat_claims_no_error() -> None:
    rng = np.random.default_rng(10)
    estimate = estimate_from_work(np.array([1.1]), np.array([-0.9]), TEMPERATURE, rng)
    assert estimate.value_eV == pytest.approx(1.0)
    assert np.isnan(estimate.standard_error_eV)
    assert estimate.interval_95_eV == (-np.inf, np.inf)
    assert estimate.results()["standard_error_eV"] is None
    assert estimate.results(n_atoms=4)["free_energy_eV_per_atom"] == pytest.approx(0.25)


def test_work_is_the_integral_over_the_coupling() -> None:
    coupling = np.linspace(0.0, 1.0, 41) ** 2
    samples = {"coupling": coupling, "dhdl_eV": 3.0 - 2.0 * coupling}
    assert work_of(samples) == pytest.approx(2.0)
    back = {name: column[::-1] for name, column in samples.items()}
    assert work_of(back) == pytest.approx(-2.0)
    thinned = {name: column[::5] for name, column in samples.items()}
    assert work_of(thinned) == pytest.approx(2.0)


def test_convergence_ends_at_the_estimate() -> None:
    rng = np.random.default_rng(11)
    works = tuple(w * KT for w in gaussian_work(1.0, 0.5, (5,), rng))
    rows = convergence_over_repeats(*works, TEMPERATURE, rng)
    whole = estimate_from_work(*works, TEMPERATURE, rng)
    assert [row["repeats"] for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1]["free_energy_eV"] == whole.value_eV


def test_average_of_repeats_keeps_the_larger_error() -> None:
    def equilibrium(value: float, error: float) -> FreeEnergyEstimate:
        nan = float("nan")
        return FreeEnergyEstimate(value, error, "MBAR", nan, nan, nan, 0.3, (0.0, 0.0))

    agreeing = average_over_repeats([equilibrium(1.0, 0.2), equilibrium(1.0, 0.2)])
    assert agreeing.standard_error_eV == pytest.approx(0.2 / np.sqrt(2))
    differing = average_over_repeats([equilibrium(1.0, 0.01), equilibrium(2.0, 0.01)])
    assert differing.value_eV == pytest.approx(1.5)
    assert differing.standard_error_eV == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("forward", "backward", "temperature", "message"),
    [
        ([1.0, 2.0], [1.0], 300.0, "one value each per repeat"),
        ([], [], 300.0, "one value each per repeat"),
        ([1.0, np.nan], [1.0, 2.0], 300.0, "not a number"),
        ([1.0], [1.0], 0.0, "not positive"),
        ([1.0], [1.0], float("nan"), "not positive"),
    ],
)
def test_bad_works_are_refused(
    forward: list[float], backward: list[float], temperature: float, message: str
) -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(InputError, match=message):
        estimate_from_work(np.array(forward), np.array(backward), temperature, rng)


def test_an_unfinished_leg_gives_no_work() -> None:
    with pytest.raises(InputError, match="two samples"):
        work_of({"coupling": [0.0], "dhdl_eV": [1.0]})
    with pytest.raises(InputError, match="without coupling or dH/dlambda"):
        work_of({"coupling": [0.0, 1.0], "dhdl_eV": [1.0, np.nan]})
