"""G(T) and crossings of harmonic crystals, whose free energies are known at every temperature."""

import numpy as np
import pytest
from ase.units import _hbar, _k, kB

from alchemlip.errors import InputError
from alchemlip.freeenergy.gibbs_helmholtz import (
    FreeEnergyPoints,
    curve_of,
    free_energy_curves,
    misfit,
)
from alchemlip.freeenergy.phase_stability import (
    composition_table,
    find_crossing,
    stability_table,
)
from alchemlip.freeenergy.reversible_scaling import reversible_scaling


def harmonic(
    energy: float, frequency_THz: float, temperature_K: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Free energy and energy per atom of a classical Einstein crystal: exact."""
    kt = kB * temperature_K
    quantum = _hbar * 2e12 * np.pi * frequency_THz / (_k * temperature_K)
    return energy + 3 * kt * np.log(quantum), energy + 3 * kt


def points(
    name: str,
    energy: float,
    frequency_THz: float,
    temperature_K: np.ndarray,
    *,
    error: float = 0.0,
    enthalpies: bool = True,
    rng: np.random.Generator | None = None,
    freedom: float | None = None,
) -> FreeEnergyPoints:
    free, enthalpy = harmonic(energy, frequency_THz, temperature_K)
    errors = np.full(len(temperature_K), error)
    if rng is not None:
        free = free + error * rng.normal(size=len(free))
    return FreeEnergyPoints(
        name,
        temperature_K,
        free,
        errors,
        enthalpy if enthalpies else None,
        freedom=None if freedom is None else np.full(len(free), freedom),
    )


STIFF = (0.0, 5.0)
SOFT = (0.03, 3.5)
EXACT_K = 0.03 / (3 * kB * np.log(5.0 / 3.5))
"""Energies differ by 0.03 eV, entropies by 3 k ln(5/3.5): crossing at 325 K."""


@pytest.mark.parametrize("enthalpies", [True, False])
@pytest.mark.parametrize(("anharmonic", "tolerance"), [(0.0, 1e-11), (3e-8, 3e-4)])
def test_curves_follow_gibbs_helmholtz(
    enthalpies: bool, anharmonic: float, tolerance: float
) -> None:
    """A harmonic crystal exactly; with -a T^2 in G (7.5 meV at 500 K), + a T^2 in H, closely."""
    given = np.array([200.0, 300.0, 400.0, 500.0])
    at = np.linspace(200.0, 500.0, 31)

    def free_energy(temperature_K: np.ndarray) -> np.ndarray:
        return harmonic(-3.0, 5.0, temperature_K)[0] - anharmonic * temperature_K**2

    enthalpy = harmonic(-3.0, 5.0, given)[1] + anharmonic * given**2
    phase = FreeEnergyPoints(
        "phase", given, free_energy(given), np.zeros(4), enthalpy if enthalpies else None
    )
    assert np.abs(curve_of(phase, at) - free_energy(at)).max() < tolerance


@pytest.mark.parametrize("enthalpies", [True, False])
def test_the_error_of_the_interpolation_is_told(enthalpies: bool) -> None:
    """Precise values of a heat capacity that changes: the curve is off by more than its ±."""
    given = np.array([200.0, 350.0, 500.0])
    at = np.linspace(200.0, 500.0, 61)

    def free_energy(temperature_K: np.ndarray) -> np.ndarray:
        return harmonic(-3.0, 5.0, temperature_K)[0] - 3e-8 * temperature_K**2

    enthalpy = harmonic(-3.0, 5.0, given)[1] + 3e-8 * given**2
    phase = FreeEnergyPoints(
        "phase", given, free_energy(given), np.full(3, 1e-7), enthalpy if enthalpies else None
    )
    (curve,) = free_energy_curves([phase], at, np.random.default_rng(2))
    off = np.abs(curve.free_energy_eV - free_energy(at))
    assert off.max() > 3 * curve.standard_error_eV.max()
    allowed = curve.interpolation_error_eV + 4 * curve.standard_error_eV + 1e-6
    assert (off < allowed).all()
    assert curve.interpolation_error_eV < 20 * off.max()
    rows = stability_table([curve])
    assert rows[20]["phase_interpolation_error_eV_per_atom"] == curve.interpolation_error_eV


def test_a_constant_heat_capacity_has_an_unknown_error() -> None:
    phases = [points(name, -3.0, 5.0, np.array([300.0])) for name in ("a", "b")]
    (curve, _) = free_energy_curves(phases, np.array([250.0, 350.0]), np.random.default_rng(0))
    assert np.isnan(curve.interpolation_error_eV)
    crossing = find_crossing(
        points("a", -3.0, 5.0, np.array([300.0])),
        points("b", -3.01, 6.0, np.array([300.0])),
        np.random.default_rng(0),
    )
    assert "the error of a constant heat capacity is not in it" in crossing.sentence()


def test_one_point_goes_along_its_enthalpy() -> None:
    at = np.array([250.0, 300.0, 350.0])
    phase = points("phase", -3.0, 5.0, np.array([300.0]))
    np.testing.assert_allclose(curve_of(phase, at), harmonic(-3.0, 5.0, at)[0], atol=1e-11)
    with pytest.raises(InputError, match="no enthalpy"):
        curve_of(points("phase", -3.0, 5.0, np.array([300.0]), enthalpies=False), at)


def test_precise_enthalpies_smooth_noisy_values() -> None:
    """The curve's shape comes from the enthalpies, and only its height from all values together."""
    rng = np.random.default_rng(9)
    given = np.array([200.0, 300.0, 400.0, 500.0])
    exact, enthalpy = harmonic(-3.0, 5.0, given)
    phase = FreeEnergyPoints(
        "phase",
        given,
        exact + 2e-3 * rng.normal(size=4),
        np.full(4, 2e-3),
        enthalpy,
        np.full(4, 1e-5),
    )
    off = (curve_of(phase, given) - exact) / given
    assert np.ptp(off) < 1e-7
    chi, freedom = misfit(phase)
    assert freedom == 4
    assert 0.2 < chi < 15.0
    (curve,) = free_energy_curves([phase], given, rng, draws=8000)
    # One height of G/T from four values, weighted by T / error: the error of the weighted mean.
    expected = given / np.sqrt(np.square(given / 2e-3).sum())
    np.testing.assert_allclose(curve.standard_error_eV, expected, rtol=0.05)


def test_misfit_finds_wrong_enthalpies() -> None:
    """Without the kinetic energy 3/2 kT, enthalpies disagree with absolute free energies."""
    given = np.array([200.0, 300.0, 400.0, 500.0])
    good = points("good", -3.0, 5.0, given, error=1e-3)
    assert misfit(good)[0] == pytest.approx(0.0, abs=1e-6)
    enthalpy = harmonic(-3.0, 5.0, given)[1] - 1.5 * kB * given
    bad = FreeEnergyPoints("bad", given, good.free_energy_eV, good.standard_error_eV, enthalpy)
    assert misfit(bad)[0] > 20 * misfit(bad)[1]


def test_crossing_of_single_points() -> None:
    rng = np.random.default_rng(8)
    phases = [
        points(name, *crystal, np.array([300.0]), error=1e-3)
        for name, crystal in (("stiff", STIFF), ("soft", SOFT))
    ]
    crossing = find_crossing(*phases, rng)
    assert crossing.temperature_K == pytest.approx(EXACT_K, abs=0.01)
    assert crossing.range_K == (150.0, 450.0)


@pytest.mark.parametrize("enthalpies", [True, False])
def test_crossing_of_two_harmonic_crystals(enthalpies: bool) -> None:
    rng = np.random.default_rng(0)
    given = np.array([200.0, 300.0, 400.0, 500.0])
    stiff = points("stiff", *STIFF, given, error=1e-3, enthalpies=enthalpies)
    soft = points("soft", *SOFT, given[:3], error=1e-3, enthalpies=enthalpies)
    crossing = find_crossing(stiff, soft, rng)
    assert crossing.temperature_K == pytest.approx(EXACT_K, abs=0.5)
    assert (crossing.stable_below, crossing.stable_above) == ("stiff", "soft")
    assert crossing.range_K == (200.0, 400.0)
    # At most the error of a difference of two points over the difference of the entropies.
    single = np.sqrt(2) * 1e-3 / (3 * kB * np.log(5.0 / 3.5))
    assert crossing.standard_error_K is not None
    assert 0.4 * single < crossing.standard_error_K < 1.1 * single
    other = find_crossing(soft, stiff, rng)
    assert other.temperature_K == pytest.approx(crossing.temperature_K)
    assert other.stable_below == "stiff"
    assert "stiff is stable below and soft above 325" in crossing.sentence()


@pytest.mark.parametrize("freedom", [None, 3.0])
def test_crossing_intervals_cover(freedom: float | None) -> None:
    rng = np.random.default_rng(1)
    given = np.array([250.0, 325.0, 400.0])
    held = 0
    for _ in range(100):
        phases = []
        for name, crystal in (("stiff", STIFF), ("soft", SOFT)):
            exact, enthalpy = harmonic(*crystal, given)
            if freedom is None:
                values, errors = exact + 1e-3 * rng.normal(size=3), np.full(3, 1e-3)
            else:
                repeats = exact[:, None] + 2e-3 * rng.normal(size=(3, 4))
                values, errors = repeats.mean(axis=1), repeats.std(axis=1, ddof=1) / 2
            known = None if freedom is None else np.full(3, freedom)
            phases.append(FreeEnergyPoints(name, given, values, errors, enthalpy, freedom=known))
        low, high = find_crossing(*phases, rng, draws=400).interval_95_K
        held += low <= EXACT_K <= high
    assert 90 <= held <= 99


def test_no_crossing_says_so() -> None:
    rng = np.random.default_rng(2)
    given = np.array([400.0, 500.0])
    stiff = points("stiff", *STIFF, given, error=1e-4)
    soft = points("soft", *SOFT, given, error=1e-4)
    crossing = find_crossing(stiff, soft, rng)
    assert crossing.temperature_K is None
    assert crossing.probability < 0.01
    assert crossing.sentence().startswith("no crossing between 400 and 500 K: soft is stable")


def test_a_crossing_near_the_edge_has_an_open_end() -> None:
    rng = np.random.default_rng(3)
    given = np.array([200.0, 326.0])
    stiff = points("stiff", *STIFF, given, error=1e-3)
    crossing = find_crossing(stiff, points("soft", *SOFT, given, error=1e-3), rng)
    assert crossing.temperature_K == pytest.approx(EXACT_K, abs=0.5)
    assert crossing.interval_95_K[1] == np.inf
    assert crossing.interval_95_K[0] > 200.0
    assert 0.3 < crossing.probability < 0.7


def test_phases_without_common_range_are_refused() -> None:
    rng = np.random.default_rng(4)
    low = points("low", *STIFF, np.array([100.0, 200.0]))
    high = points("high", *SOFT, np.array([300.0, 400.0]))
    with pytest.raises(InputError, match="no temperature range in common"):
        find_crossing(low, high, rng)


def test_tables_hold_curves_and_differences() -> None:
    rng = np.random.default_rng(5)
    given = np.array([250.0, 350.0, 450.0])
    at = np.array([250.0, 325.0, 450.0])
    phases = [
        points("stiff", *STIFF, given, error=3e-3),
        points("soft", *SOFT, given, error=4e-3),
    ]
    rows = stability_table(free_energy_curves(phases, at, rng, draws=20000))
    assert [row["stable"] for row in rows] == ["stiff", "stiff", "soft"]
    first = rows[0]
    exact = harmonic(*SOFT, at)[0][0] - harmonic(*STIFF, at)[0][0]
    assert first["soft_minus_stiff_eV_per_atom"] == pytest.approx(exact)
    assert first["soft_minus_stiff_standard_error_eV_per_atom"] == pytest.approx(
        np.hypot(
            first["soft_standard_error_eV_per_atom"], first["stiff_standard_error_eV_per_atom"]
        )
    )


def test_composition_table_measures_from_the_line() -> None:
    rng = np.random.default_rng(6)
    given = np.array([300.0, 400.0])
    curves = free_energy_curves(
        [
            points(str(x), energy, 4.0, given, error=1e-3)
            for x, energy in ((0.0, 0.0), (0.5, -0.2), (1.0, 0.1))
        ],
        given,
        rng,
    )
    rows = composition_table([0.0, 0.5, 1.0], curves)
    mixing = {
        (row["x"], row["temperature_K"]): row["mixing_free_energy_eV_per_atom"] for row in rows
    }
    assert mixing[0.0, 300.0] == pytest.approx(0.0, abs=1e-12)
    assert mixing[0.5, 400.0] == pytest.approx(-0.25)
    errors = [row["mixing_standard_error_eV_per_atom"] for row in rows if row["x"] == 0.5]
    single = [row["standard_error_eV_per_atom"] for row in rows if row["x"] == 0.5]
    assert errors == pytest.approx(np.sqrt(1.5) * np.array(single), rel=0.1)


@pytest.mark.parametrize("end", [0.5, 2.0])
def test_reversible_scaling_of_a_harmonic_crystal(end: float) -> None:
    """V at scale s is a sum of f/2 squares of kT0/s: exact F(T) from noisy legs."""
    rng = np.random.default_rng(7)
    freedom, t0, repeats = 24, 300.0, 5
    scale = np.linspace(1.0, end, 4001)
    legs = []
    for _ in range(2 * repeats):
        legs.append(0.5 * kB * t0 / scale * rng.chisquare(freedom, size=len(scale)))
    forward = [(scale, leg) for leg in legs[:repeats]]
    backward = [(scale[::-1], leg[::-1]) for leg in legs[repeats:]]
    free = freedom / 3 * harmonic(0.0, 5.0, np.array([t0]))[0][0]
    at = t0 / np.linspace(min(1.0, end), max(1.0, end), 7)
    found = reversible_scaling(forward, backward, free, 0.0, t0, freedom, at, n_atoms=freedom // 3)
    exact = harmonic(0.0, 5.0, found.temperature_K)[0]
    away = np.abs(found.temperature_K - t0) > 1.0
    deviation = np.abs(found.free_energy_eV - exact)
    assert deviation[~away] == pytest.approx(0.0, abs=1e-10)
    assert (deviation[away] < 4 * found.standard_error_eV[away]).all()
    assert (found.standard_error_eV < 1e-3).all()
    # Without the term of the momenta the result is off by far more than its error.
    kinetic = 1.5 * kB * found.temperature_K * np.log(t0 / found.temperature_K)
    assert (np.abs(kinetic)[away] > 10 * found.standard_error_eV[away]).all()


def test_reversible_scaling_beyond_the_run_is_refused() -> None:
    scale = np.linspace(1.0, 0.5, 11)
    leg, back = (scale, np.ones(11)), (scale[::-1], np.ones(11))
    with pytest.raises(InputError, match="choose temperatures within"):
        reversible_scaling([leg], [back], 0.0, 0.0, 300.0, 3, np.array([700.0]))
    with pytest.raises(InputError, match="complete legs"):
        reversible_scaling([back], [leg], 0.0, 0.0, 300.0, 3, np.array([400.0]))


def test_bad_points_are_refused() -> None:
    ones = np.ones(2)
    with pytest.raises(InputError, match="each once"):
        FreeEnergyPoints("a", np.array([300.0, 300.0]), ones, ones)
    with pytest.raises(InputError, match="not a number"):
        FreeEnergyPoints("a", np.array([300.0, 400.0]), ones, np.array([np.nan, 1.0]))
    with pytest.raises(InputError, match="one value each"):
        FreeEnergyPoints("a", np.array([300.0, 400.0]), ones, np.ones(3))
