"""Voltages: closed cycles of energies, and a scan whose energies are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.crystal.voltage import mean_voltages
from test_cli import LOOSE, Cli, assert_one_sentence, cli, one_thread, result  # noqa: F401

VOLTAGE = ("voltage", "salt.cif", "--mix", "Na=Na,Va", "--points", "3", "--cell", "fixed", *LOOSE)


def test_a_straight_line_has_one_voltage() -> None:
    """E = x n (mu - z V): every step, and all of them together, give V."""
    x, metal, voltage, n, charge = np.array([0.0, 0.2, 0.7, 1.0]), -1.9, 3.7, 4, 2
    energies = -50.0 + x * n * (metal - charge * voltage)
    np.testing.assert_allclose(mean_voltages(x, energies, n, metal, charge), voltage, atol=1e-12)
    backwards = mean_voltages(x[::-1], energies[::-1], n, metal, charge)
    np.testing.assert_allclose(backwards, voltage, atol=1e-12)


def test_steps_add_up_to_the_whole() -> None:
    """Charge times voltage over all steps is the energy between the ends."""
    rng = np.random.default_rng(0)
    x = np.sort(rng.uniform(size=7))
    energies = rng.normal(size=7)
    steps = mean_voltages(x, energies, 3, -2.0, 1)
    whole = mean_voltages(x[[0, -1]], energies[[0, -1]], 3, -2.0, 1)
    assert (steps * np.diff(x)).sum() == pytest.approx(whole[0] * (x[-1] - x[0]), abs=1e-12)


def test_the_command(cli: Cli, potential: AlchemicalPotential) -> None:  # noqa: F811
    """The ends are the salt and its chlorine alone, the metal is by the same potential."""
    outcome = cli(*VOLTAGE)
    assert outcome.code == 0, outcome.err
    record = result("voltage-salt")
    found = record["results"]
    energies = [point["energy_eV"] for point in record["points"]]
    line = Path("voltage-salt/points.jsonl").read_text().splitlines()[0]
    salt = Mixture.from_dict(json.loads(line)["mixture"])
    assert potential.evaluate(salt).energy in [pytest.approx(e, abs=1e-6) for e in energies]
    metal = found["metal_energy_eV_per_atom"]
    assert -1.5 < metal < -1.1  # sodium, PBE: -1.31 eV
    assert found["mean_voltage_V"] == pytest.approx(-(energies[0] - energies[-1] - metal), abs=1e-9)
    assert np.mean(found["voltages_V"]) == pytest.approx(found["mean_voltage_V"], abs=1e-9)
    assert "mean field" in found["level_of_theory"]
    assert f"{found['mean_voltage_V']:.6g}" in outcome.out


def test_bad_input(cli: Cli) -> None:  # noqa: F811
    for options in (
        ("--mix", "Na=Na,K"),
        ("--mix", "Na=Na,K,Va"),
        ("--mix", "Na=Na,Va", "--pressure", "1"),
    ):
        outcome = cli("voltage", "salt.cif", *options)
        assert_one_sentence(outcome, "one ion and its vacancy, without pressure: write for example")
    outcome = cli("voltage", "salt.cif", "--mix", "Na=Na,Va", "--charge", "0")
    assert_one_sentence(outcome, "--charge 0 cannot be used: give a whole number from 1 to 4")
