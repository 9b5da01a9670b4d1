"""Campaigns of cheap runs: structure files, analytic potentials, results made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk
from typer.testing import CliRunner

from alchemlip import AlchemicalPotential
from alchemlip.campaigns.description import read_campaign
from alchemlip.campaigns.expansion import CampaignRun, expand
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.cli import app
from alchemlip.records.results import ResultFolder
from pair_models import pair_potential, spring_potential

VACANCIES = """\
command: vacancy
seed: 3
replicas: 2
options:
  repeat: 2,2,2
  mu: -4.0
  static: false
  cell: fixed
  timestep: 4.0
  equilibrate: 0.04
  switch: 0.08
  repeats: 1
  checkpoint_interval: 5
vary:
  structure: Cu.extxyz
  temperature: [100, 200]
"""

Results = Callable[[CampaignRun], Mapping[str, Any]]


def cheap_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, single: AlchemicalPotential | None = None
) -> None:
    """Work in a folder with structure files; commands of one potential take ``single``."""
    pairs = pair_potential()
    springs = single or spring_potential(3.7, (29,), 1.0, {29: 1.5})
    monkeypatch.setattr("alchemlip.calculations.potentials.prepare_potential", lambda *_: pairs)
    monkeypatch.setattr(
        "alchemlip.calculations.potentials.prepare_single_potential", lambda *_: springs
    )
    monkeypatch.chdir(folder)
    bulk("NaCl", "rocksalt", 5.7).write("salt.cif")
    bulk("NaCl", "rocksalt", 5.9).write("large.cif")
    Atoms("Cu", cell=[3.0] * 3, pbc=True).write("Cu.extxyz")


def cli(*arguments: str) -> Any:
    """Call ``alchemlip campaign``."""
    return CliRunner().invoke(app, ["campaign", *arguments])


def runs_of(text: str, name: str = "mixing.yaml") -> list[CampaignRun]:
    """Write a campaign file and return its runs."""
    Path(name).write_text(text)
    return expand(read_campaign(name))


def made_up(text: str, results: Results, leave_out: int = 0) -> tuple[CampaignFolder, Any]:
    """Record a campaign whose runs, but the last ones, are finished with given results."""
    runs = runs_of(text)
    folder = CampaignFolder("campaign-mixing")
    folder.record(Path("mixing.yaml"), folder.check(runs))
    for run in runs[: len(runs) - leave_out]:
        ResultFolder(folder.results(run.name), run.command, {}).finish(results(run))
    return folder, runs
