"""MACE: the published code's results, files that cannot be used, absent elements."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from alchemlip import AlchemicalPotential, Group, InputError, Mixture, load_potential
from alchemlip.testing import CRYSTALS

pytest.importorskip("mace")

from alchemlip.backends.mace import MACEBackend
from mace_models import NUMBERS, model_of, random_mace

GOLDEN = Path(__file__).parent / "data" / "golden"
CPU = torch.device("cpu")


def golden_model() -> Any:
    """Build the model of the published results."""
    modules = import_module("mace.modules")
    o3 = import_module("e3nn.o3")
    values = json.loads((GOLDEN / "golden.json").read_text())["model"]["hyperparameters"]
    block = modules.blocks.RealAgnosticResidualInteractionBlock
    kept = (
        *("r_max", "num_bessel", "num_polynomial_cutoff", "max_ell", "num_interactions"),
        *("avg_num_neighbors", "atomic_numbers", "correlation", "radial_MLP", "radial_type"),
        *("atomic_inter_scale", "atomic_inter_shift", "use_reduced_cg"),
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        model = modules.ScaleShiftMACE(
            interaction_cls=block,
            interaction_cls_first=block,
            num_elements=len(values["atomic_numbers"]),
            hidden_irreps=o3.Irreps(values["hidden_irreps"]),
            MLP_irreps=o3.Irreps(values["MLP_irreps"]),
            atomic_energies=np.array(values["atomic_energies"]),
            gate=torch.nn.functional.silu,
            **{name: values[name] for name in kept},
        )
    finally:
        torch.set_default_dtype(before)
    state = model.state_dict()
    saved = np.load(GOLDEN / "tiny_mace_state.npz")
    assert set(saved.files) <= set(state)
    for name in saved.files:
        state[name] = torch.tensor(saved[name]).reshape(state[name].shape)
    model.load_state_dict(state)
    return model


@pytest.mark.parametrize("form", ["factorised", "expanded"])
@pytest.mark.parametrize("name", ["CsPbI3", "NaCl"])
def test_published_code(name: str, form: Any) -> None:
    """Same weights, same structure, concerted: the published energy, forces, stress, gradient."""
    potential = AlchemicalPotential(MACEBackend("golden", golden_model(), CPU, torch.float64))
    archive = np.load(GOLDEN / "golden.npz")
    data = {key.partition("/")[2]: archive[key] for key in archive.files if key.startswith(name)}
    pairs = data["pairs_weight_atom_Z"]
    sites = np.unique(pairs[:, 1])
    species = np.zeros((len(sites), len(data["weights"])), dtype=int)
    species[np.searchsorted(sites, pairs[:, 1]), pairs[:, 0]] = pairs[:, 2]
    labels = tuple(f"weight {index}" for index in range(len(data["weights"])))
    group = Group("all", sites, labels, species, data["weights"], "concerted")
    mixture = Mixture(data["numbers"], data["positions"], data["cell"], data["pbc"], (group,))
    result = potential.evaluate(mixture, form=form)
    assert result.energy == pytest.approx(float(data["energy"]), abs=1e-9)
    np.testing.assert_allclose(result.forces, data["forces"], atol=1e-9)
    np.testing.assert_allclose(result.stress, data["stress"], atol=1e-9)
    np.testing.assert_allclose(result.composition_gradient, data["alchemical_grad"], atol=1e-9)


@pytest.mark.parametrize("blocks", [("", "Residual"), ("Density", "DensityResidual")])
def test_dropping_absent_elements_changes_nothing(blocks: tuple[str, str]) -> None:
    architecture = {"blocks": blocks}
    full, reduced = (
        AlchemicalPotential(
            MACEBackend("m", model_of(architecture), CPU, torch.float64, drop_absent=drop)
        )
        for drop in (False, True)
    )
    for crystal in CRYSTALS:
        mixture = crystal.mixture()
        one, other = full.evaluate(mixture), reduced.evaluate(mixture)
        assert one.energy == pytest.approx(other.energy, abs=1e-11)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-11)
        np.testing.assert_allclose(one.composition_gradient, other.composition_gradient, atol=1e-11)


def test_form_follows_from_the_architecture() -> None:
    """Factorised where messages are linear in the sender and know no receiver."""
    forms = {
        ("", "Residual"): ("factorised", "expanded", "embedding"),
        ("Density", "DensityResidual"): ("expanded", "embedding"),
        ("AttResidual", "AttResidual"): ("expanded", "embedding"),
        ("ResidualNonLinear", "ResidualNonLinear"): ("expanded", "embedding"),
    }
    for blocks, expected in forms.items():
        model = model_of({"blocks": blocks})
        assert MACEBackend("m", model, CPU, torch.float64).forms == expected
    agnesi = model_of({"blocks": ("", "Residual"), "transform": "Agnesi"})
    assert MACEBackend("m", agnesi, CPU, torch.float64).forms == ("expanded", "embedding")


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    torch.save(model_of({"blocks": ("", "Residual"), "heads": 2}), tmp_path / "two.model")
    return tmp_path / "two.model"


def test_local_file(model_file: Path) -> None:
    """Asks for trust; then the same potential as the model object, whatever the file's ending."""
    with pytest.raises(InputError, match=r"is a pickle.*trust=True"):
        load_potential(str(model_file))
    potential = load_potential(str(model_file), trust=True, head="second", device="cpu")
    assert potential.card.variant == "second"
    assert len(potential.card.sha256) == 64
    assert set(potential.backend.numbers) == set(NUMBERS)
    other = model_file.rename(model_file.with_suffix(".pth"))
    again = load_potential(str(other), trust=True, head="second", device="cpu")
    mixture = CRYSTALS[0].mixture()
    assert again.evaluate(mixture).energy == potential.evaluate(mixture).energy
    first = load_potential(str(other), trust=True, head="first", device="cpu")
    assert first.evaluate(mixture).energy != potential.evaluate(mixture).energy


def test_heads_and_fidelities_are_named(model_file: Path) -> None:
    for options, words in (
        ({}, "several heads: choose one of first, second"),
        ({"head": "third"}, "no head 'third': choose one of first, second"),
        ({"modal": "PBE"}, "has heads, not fidelities"),
    ):
        with pytest.raises(InputError, match=words):
            load_potential(str(model_file), trust=True, device="cpu", **options)


def test_files_that_are_no_energy_model(model_file: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "truncated.model"
    truncated.write_bytes(model_file.read_bytes()[:2000])
    weights = tmp_path / "weights.model"
    torch.save({"state": torch.zeros(3)}, weights)
    for file, words in ((truncated, "damaged"), (weights, "holds a dict, not a MACE energy model")):
        with pytest.raises(InputError, match=words):
            load_potential(str(file), trust=True, device="cpu")


def test_unknown_blocks_and_inputs_are_refused() -> None:
    model = random_mace(("", "Residual"))
    model.interactions[1].__class__ = type("SomethingNewBlock", (torch.nn.Module,), {})
    with pytest.raises(InputError, match="SomethingNewBlock"):
        MACEBackend("m", model, CPU, torch.float64)
    model = random_mace(("", "Residual"))
    model.embedding_specs = {"electric_field": {}}
    with pytest.raises(InputError, match="needs the input 'electric_field'"):
        MACEBackend("m", model, CPU, torch.float64)


def test_released_name_without_network(tmp_path: Path) -> None:
    """One sentence that says what to do; the download goes nowhere in this test."""
    code = (
        "import urllib.request, socket\n"
        "def refuse(*_, **__): raise OSError('no network')\n"
        "urllib.request.urlopen = socket.create_connection = refuse\n"
        "from alchemlip import InputError, load_potential\n"
        "try: load_potential('mace-mp-small')\n"
        "except InputError as error: print(error)\n"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "cannot download the potential 'mace-mp-small'" in done.stdout
    assert "trust=True" in done.stdout


def test_importing_mace_leaves_the_process_as_it_was() -> None:
    """mace switches off torch's protection against pickles for the whole process."""
    code = (
        "import os\n"
        "from alchemlip.backends.mace_files import mace_imports\n"
        "with mace_imports(): import mace.calculators\n"
        "print(os.environ.get('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'))\n"
    )
    name = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env={key: value for key, value in os.environ.items() if key != name},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "None"


@pytest.mark.parametrize(
    "architecture",
    [
        {"blocks": ("", "Residual")},
        {"blocks": ("Density", "DensityResidual")},
        {"blocks": ("ResidualNonLinear", "ResidualNonLinear"), "apply_cutoff": False},
    ],
    ids=lambda architecture: architecture["blocks"][1],
)
def test_cuequivariance_converted_models(architecture: dict[str, Any]) -> None:
    """A model converted by mace's own tool gives what the model before conversion gives."""
    pytest.importorskip("cuequivariance_torch")
    before = torch.get_default_dtype()
    try:
        convert = import_module("mace.cli.convert_e3nn_cueq")
        converted = convert.run(model_of(architecture), device="cpu")  # sets the default dtype
    finally:
        torch.set_default_dtype(before)
    assert type(converted.products[0].symmetric_contractions).__module__.startswith("cuequi")
    plain, fast = (
        AlchemicalPotential(MACEBackend("", model, CPU, torch.float64))
        for model in (model_of(architecture), converted)
    )
    assert fast.backend.forms == plain.backend.forms
    for crystal in (CRYSTALS[0], CRYSTALS[6]):
        for correlation in ("independent", "concerted"):
            mixture = crystal.mixture(correlation)  # type: ignore[arg-type]
            expected, found = plain.evaluate(mixture), fast.evaluate(mixture)
            np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-10)
            np.testing.assert_allclose(found.forces, expected.forces, atol=1e-10)
            np.testing.assert_allclose(
                found.composition_gradient, expected.composition_gradient, rtol=1e-10, atol=1e-10
            )
    mixture = CRYSTALS[0].mixture()
    expected, found = (p.with_representation("embedding").evaluate(mixture) for p in (plain, fast))
    np.testing.assert_allclose(found.energy, expected.energy, rtol=1e-10)
    np.testing.assert_allclose(found.composition_gradient, expected.composition_gradient, rtol=1e-9)
