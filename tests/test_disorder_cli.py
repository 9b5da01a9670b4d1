"""``alchemlip disorder``: results that last, and one sentence for bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.units import kB

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings
from alchemlip.crystal.scanning import composition_grid
from alchemlip.disorder.study import disorder_settings, study_disorder
from pair_models import pair_potential, spring_potential
from test_cli import Cli, assert_one_sentence, cli, result  # noqa: F401

FAST = ("--geometry", "as-given", "--supercell", "2,2,2")
ALLOY = ("disorder", "salt.cif", "--mix", "Na=Na,K", *FAST)


def test_one_composition(cli: Cli, potential: AlchemicalPotential) -> None:  # noqa: F811
    outcome = cli(*ALLOY, "--at", "0.25", "--temperature", "300", "--out", "one")
    assert outcome.code == 0, outcome.err
    record = result("one")
    values = record["results"]
    atoms = bulk("NaCl", "rocksalt", 5.7)
    ends = {}
    for symbol in ("Na", "K"):
        atoms.symbols[0] = symbol
        pure = Mixture.from_atoms(atoms)
        ends[symbol] = potential.evaluate(pure).energy / 2
    atoms.symbols[0] = "Na"
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.75, "K": 0.25}})
    mean_field = potential.evaluate(mixture).energy / 2
    line = 0.75 * ends["Na"] + 0.25 * ends["K"]
    assert values["mean_field_energy_eV_per_atom"] == pytest.approx(mean_field, abs=1e-6)
    assert values["mean_field_mixing_energy_eV_per_atom"] == pytest.approx(
        mean_field - line, abs=1e-6
    )
    random = values["random_energy_eV_per_atom"]
    assert random - mean_field == pytest.approx(values["fluctuation_energy_eV_per_atom"], abs=1e-6)
    assert values["mixing_energy_eV_per_atom"] == pytest.approx(random - line, abs=1e-6)
    (entry,) = values["at_temperature"]
    ideal = 0.5 * kB * 300 * (0.25 * np.log(0.25) + 0.75 * np.log(0.75))
    free = entry["free_energy_of_mixing_eV_per_atom"][1]
    assert free == pytest.approx(values["mixing_energy_eV_per_atom"] + ideal, abs=1e-9)
    assert Path("one/disorder.png").stat().st_size > 5000
    assert len(list(Path("one/structures").glob("*.cif"))) == 3
    assert Path("one/disorder.csv").read_text().count("\n") == 4
    assert record["inputs"]["temperatures_K"] == [300.0]
    again = cli(*ALLOY, "--at", "0.25", "--temperature", "300", "--out", "one")
    assert again.code == 0
    assert "Finished before" in again.out
    assert result("one") == record
    assert_one_sentence(
        cli(*ALLOY, "--at", "0.5", "--out", "one"), "belongs to another run .* name a new folder"
    )


def test_three_species_and_the_choice_of_the_supercell(cli: Cli) -> None:  # noqa: F811
    options = ("--geometry", "as-given", "--points", "3", "--tolerance", "5", "--dtype", "float32")
    outcome = cli("disorder", "salt.cif", "--mix", "Na=Li,Na,K", *options, "--out", "three")
    assert outcome.code == 0, outcome.err
    points = result("three")["points"]
    assert len(points) == 6
    assert [point["supercell"] is None for point in points].count(True) == 3
    mixed = next(point for point in points if point["supercell"])
    trials = mixed["supercell_trials"]
    assert len(trials) > 1
    energies = [trial["random_energy_eV_per_atom"] for trial in trials]
    assert abs(energies[-1] - energies[-2]) < 5e-3
    assert mixed["random_energy_eV_per_atom"] == energies[-1]
    assert Path("three/disorder.png").stat().st_size > 5000


def test_bad_input(cli: Cli) -> None:  # noqa: F811
    def refused(words: str, *options: str) -> None:
        assert_one_sentence(cli("disorder", "salt.cif", *options), words)

    mix = ("--mix", "Na=Na,K")
    refused("needs one group with two or three species")
    refused("needs one group", "--mix", "Na=Na0.5K0.5")
    refused("needs one group", "--mix", "Na=Na")
    refused("--at 1.5 cannot be used: give a number above 0, below 1", *mix, "--at", "1.5")
    refused("of two species", "--mix", "Na=Na,K,Rb", "--at", "0.5")
    refused("of two species", "--mix", "Na=Na,K,Rb", "--temperature", "300")
    refused("--temperature -3 cannot be used: give a number from 0", *mix, "--temperature", "-3")
    refused("write three repeats", *mix, "--supercell", "2,2")
    refused(
        "--geometry best cannot be used: give mean-field, random or as-given",
        *mix,
        "--geometry",
        "best",
    )
    refused("--order third cannot be used: give second or single_site", *mix, "--order", "third")
    refused("--explicit -1 cannot be used: give a whole number from 0", *mix, "--explicit", "-1")
    assert not list(Path().glob("disorder-*"))


PAIR = pair_potential(cutoff=5.5)
SALT = Mixture.from_elements(
    bulk("NaCl", "rocksalt", 5.6, cubic=True), {"Na": {"Na": 0.5, "K": 0.5}}
)
NO_RELAXATION = RelaxationSettings(max_steps=0)


def study(**options: Any) -> list[dict[str, Any]]:
    settings = disorder_settings(geometry="as-given", supercell=(2, 1, 1), **options)
    points = study_disorder(SALT, PAIR, "Na", composition_grid(2, 3), settings, NO_RELAXATION)
    return [point.record for point in points]


def test_explicit_check_beside_the_second_order() -> None:
    """Eight sites, a pair potential: the average over arrangements is exact."""
    record = study(explicit=100, seed=3)[1]
    difference = (
        record["explicit_energy_eV_per_atom"] - record["finite_cell_random_energy_eV_per_atom"]
    )
    assert abs(difference) < 4 * record["explicit_standard_error_eV_per_atom"] + 1e-9
    assert record["explicit_cells"] == 100
    assert record["explicit_seconds"] > 0
    assert study(explicit=2, seed=3)[1]["explicit_energy_eV_per_atom"] != pytest.approx(
        study(explicit=2, seed=4)[1]["explicit_energy_eV_per_atom"], abs=1e-12
    )


def test_an_unstable_crystal_is_said_and_leaves_the_rest() -> None:
    springs = spring_potential(3.4, (11, 17, 19), stiffness=-3.0, push={19: 0.1})
    settings = disorder_settings(geometry="as-given", supercell=(1, 1, 1), local_relaxation=True)
    points = study_disorder(SALT, springs, "Na", composition_grid(2, 3), settings, NO_RELAXATION)
    middle = points[1].record
    assert middle["local_relaxation_energy_eV_per_atom"] is None
    assert "unstable" in middle["local_relaxation_note"]
    assert "relaxed_mixing_energy_eV_per_atom" not in middle
    assert np.isfinite(middle["mixing_energy_eV_per_atom"])


def test_compositions_that_a_supercell_cannot_hold() -> None:
    settings = disorder_settings(geometry="as-given", supercell=(1, 1, 1), explicit=1)
    with pytest.raises(InputError, match="cannot hold"):
        study_disorder(SALT, PAIR, "Na", composition_grid(2, 4), settings, NO_RELAXATION)


def test_random_geometry_has_no_random_stress(
    tmp_path: Path, potential: AlchemicalPotential
) -> None:
    """Relaxed under E_random the cell differs from the mean field's, and its pressure is E(p)'s."""
    atoms = bulk("Cu", "fcc", 3.87)
    mixture = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.5, "Au": 0.5}})
    relaxation = RelaxationSettings(cell="volume", smax=0.05)
    volumes = {}
    for geometry in ("mean-field", "random"):
        settings = disorder_settings(geometry=geometry, supercell=(3, 3, 3))
        (point,) = study_disorder(
            mixture, potential, "Cu", np.array([[0.5, 0.5]]), settings, relaxation
        )
        assert point.record["converged"]
        volumes[geometry] = point.record["volume_A3"]
        # Without the pure ends there is nothing to count from.
        assert "mixing_energy_eV_per_atom" not in point.record
    assert volumes["random"] < 0.998 * volumes["mean-field"]
    assert json.dumps(point.record)
