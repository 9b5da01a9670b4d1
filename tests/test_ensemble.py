"""Several potentials at once: means, spreads, and how relaxations and scans carry them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sevenn")
pytest.importorskip("chgnet")

from alchemlip import AlchemicalCalculator, InputError, Mixture, relax, scan
from alchemlip.backends.loading import load_potentials
from alchemlip.cli import main
from alchemlip.potential.ensemble import EnsemblePotential
from alchemlip.testing import CRYSTALS, assert_equal, central_difference
from conftest import CHGNET, SEVENNET, loaded
from crystals import STRUCTURES, example


@pytest.fixture(scope="module")
def ensemble() -> EnsemblePotential:
    return EnsemblePotential([loaded(SEVENNET[0]), loaded(CHGNET[0])])


def test_mean_and_spread(ensemble: EnsemblePotential) -> None:
    mixtures = [CRYSTALS[0].mixture(), CRYSTALS[4].mixture("concerted")]
    for mixture, result in zip(mixtures, ensemble.evaluate(mixtures), strict=True):
        first, second = (member.evaluate(mixture) for member in ensemble.members)
        for name in ("energy", "forces", "stress", "composition_gradient", "site_energies"):
            a, b = getattr(first, name), getattr(second, name)
            assert_equal(getattr(result, name), (np.asarray(a) + b) / 2)
            # The sample standard deviation of two numbers.
            assert_equal(getattr(result.spread, name), np.abs(np.asarray(a) - b) / np.sqrt(2))
        assert result.spread.energy > 1e-3


def test_calculator_of_an_ensemble(ensemble: EnsemblePotential) -> None:
    """ASE sees the mean surface, whose derivatives are consistent, and the spreads beside it."""
    crystal = CRYSTALS[0]
    atoms = crystal.atoms.copy()
    atoms.calc = AlchemicalCalculator(ensemble, crystal.mixture())
    direction = np.random.default_rng(0).normal(size=atoms.positions.shape)
    slope = -(atoms.get_forces() * direction).sum()

    def energy(h: float) -> float:
        moved = atoms.copy()
        moved.positions += h * direction
        moved.calc = atoms.calc
        return float(moved.get_potential_energy())

    assert_equal(slope, central_difference(energy, 2e-5), 1e-6)
    atoms.get_potential_energy()
    expected = ensemble.evaluate(crystal.mixture()).spread
    assert_equal(atoms.calc.results["energy_spread"], expected.energy)
    assert_equal(atoms.calc.results["composition_gradient_spread"], expected.composition_gradient)


def test_relaxation_of_every_member(ensemble: EnsemblePotential) -> None:
    mixture = Mixture.from_elements(example("CeO2"), {"Ce": {"Ce": 0.5, "Zr": 0.5}})
    result = relax(mixture, ensemble, fmax=1e-2, smax=1e-2)
    assert list(result.members) == ["sevennet-0", "chgnet-0.3.0"]
    for name, member in zip(result.members, ensemble.members, strict=True):
        alone = relax(mixture, member, fmax=1e-2, smax=1e-2)
        found = result.members[name].mixture
        assert_equal(np.linalg.norm(found.cell, axis=1), np.linalg.norm(alone.mixture.cell, axis=1),
                     1e-4)  # fmt: skip
    lengths = [np.linalg.norm(item.mixture.cell[0]) for item in result.members.values()]
    assert min(lengths) < np.linalg.norm(result.mixture.cell[0]) < max(lengths)


def test_scan_has_error_bars(ensemble: EnsemblePotential, tmp_path: Path) -> None:
    """The spread of mixing energies is over members measured from their own ends: 0 at the ends."""
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Na": 0.5, "K": 0.5}})
    points = scan(mixture, ensemble, points=3, folder=tmp_path / "scan")
    spreads = [point.record["mixing_energy_eV_per_atom_spread"] for point in points]
    assert_equal(spreads[0], 0.0)
    assert_equal(spreads[2], 0.0)
    assert spreads[1] > 0.0
    by_member = []
    for name in ensemble.names:
        energies = [point.record["members"][name]["energy_eV_per_atom"] for point in points]
        by_member.append(energies[1] - (energies[0] + energies[2]) / 2)
    assert_equal(spreads[1], np.std(by_member, ddof=1))
    assert "a_A_spread" in (tmp_path / "scan" / "scan.csv").read_text().splitlines()[0]
    # From the folder, the same.
    again = scan(mixture, ensemble, points=3, folder=tmp_path / "scan")
    assert [point.record for point in again] == [point.record for point in points]


def test_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "energy"
    arguments = ["energy", str(STRUCTURES / "CeO2.cif"), "--mix", "Ce=Ce0.7Zr0.3"]
    arguments += ["--model", "sevennet-mf-0@PBE", "--model", "chgnet", "--device", "cpu"]
    monkeypatch.setattr("sys.argv", ["alchemlip", *arguments, "--out", str(out)])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code in (0, None)
    printed = capsys.readouterr().out
    assert "±" in printed
    record = json.loads((out / "result.json").read_text())
    assert record["inputs"]["potential"] == "sevennet-mf-0@PBE + chgnet-0.3.0"
    results = record["results"]
    energies = results["energy_eV_of_members"]
    assert results["energy_eV"] == pytest.approx(np.mean(energies))
    assert results["energy_eV_spread"] == pytest.approx(np.std(energies, ddof=1))
    assert set(results["composition_gradient_eV_spread"]) == {"Ce:Ce", "Ce:Zr"}


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least two"):
        EnsemblePotential([loaded(SEVENNET[0])])
    with pytest.raises(InputError, match="twice"):
        load_potentials(["sevennet-0", "7net-0"], device="cpu")
    with pytest.raises(InputError, match="given twice"):
        load_potentials(["sevennet-mf-0@PBE"], modal="PBE")
    with pytest.raises(InputError, match="no potential is named"):
        load_potentials([])
