"""Switching with every potential of the suite: what must hold at every step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alchemlip import AlchemicalPotential, Mixture
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.freeenergy.transmutation import TransmutationPath, transmute
from alchemlip.mixture.groups import Group
from alchemlip.records.runs import RunRecord
from conftest import PotentialCase


@pytest.mark.parametrize("cell", ["fixed", "volume"])
def test_an_element_into_itself(
    tmp_path: Path, case: PotentialCase, any_potential: AlchemicalPotential, cell: str
) -> None:
    """dU/d(lambda) is 0 at every step: the split invariant along a trajectory."""
    atoms = case.crystal("rock-salt").atoms
    mixture = Mixture(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc)
    number = int(mixture.numbers[0])
    sites = np.flatnonzero(mixture.numbers == number)
    group = Group(
        "itself",
        sites,
        ("start", "end"),
        np.full((len(sites), 2), number),
        np.array([1.0, 0.0]),
        "concerted",
    )
    ends = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    path = TransmutationPath(replace(mixture, groups=(group,)), *ends)
    dynamics = DynamicsSettings(temperature_K=300.0, timestep_fs=1.0, cell=cell)  # type: ignore[arg-type]
    settings = SwitchingSettings(equilibration_steps=2, switching_steps=6, repeats=1)
    with RunRecord(tmp_path / "run.sqlite", "test", {}) as record:
        results = transmute(path, any_potential, dynamics, settings, record)
        slopes = record.samples()["dhdl_eV"]
    slopes = slopes[np.isfinite(slopes)]
    assert len(slopes) == 14
    np.testing.assert_allclose(slopes, 0.0, atol=1e-10)
    assert results["terms"]["work"] == pytest.approx(0.0, abs=1e-10)
    assert results["terms"]["mass"] == pytest.approx(0.0, abs=1e-14)
