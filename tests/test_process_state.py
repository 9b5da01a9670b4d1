"""What the package does leaves no trace in the process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import expm

from alchemlip.crystal.matrix_logarithm import matrix_logarithm

PROBE = """
import os, random, sys, warnings
import numpy as np
import torch
import alchemlip
from alchemlip.process_state import NEEDED_LATER
from ase.build import bulk

def state():
    generator = np.random.get_state()
    environment = {k: v for k, v in os.environ.items() if k not in NEEDED_LATER}
    return {
        "numpy": (generator[1].tobytes(), *generator[2:]),
        "python": random.getstate(),
        "torch": torch.get_rng_state().numpy().tobytes(),
        "filters": list(warnings.filters),
        "shown by": warnings.showwarning,
        "dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "precision": torch.get_float32_matmul_precision(),
        "environment": environment,
        "error handling": np.geterr(),
        "printing": {k: v for k, v in np.get_printoptions().items()},
        "folder": os.getcwd(),
        "streams": (sys.stdout, sys.stderr),
        "command line": list(sys.argv),
        "hook": sys.excepthook,
    }

def untouched(name, call):
    before = state()
    result = call()
    after = state()
    for key in before:
        if before[key] != after[key]:
            print("TRACE", name, key)
    return result
"""

SMALL = (
    PROBE
    + """
from alchemlip import *

p = untouched("load_potential", lambda: load_potential(sys.argv[2], device="cpu"))
salt = untouched("mixture", lambda: Mixture.from_elements(
    bulk("NaCl", "rocksalt", a=5.6), {"Na": "Na0.5K0.5"}))
untouched("evaluate", lambda: p.evaluate(salt))
if p.has_magnetic_moments:
    untouched("magnetic moments", lambda: p.magnetic_moments(salt))
short = {"max_steps": 3}
for cell in ("full", "volume", "fixed"):
    untouched("relax " + cell, lambda: relax(salt, p, cell=cell, **short))
untouched("relax symmetry", lambda: relax(salt, p, keep_symmetry=True, **short))
untouched("relax_many", lambda: relax_many([salt, salt], p, **short))
file = sys.argv[1] + "/salt.cif"
untouched("write_structure", lambda: write_structure(salt, file))
untouched("read_structure", lambda: read_structure(file))
untouched("scan", lambda: scan(
    salt, p, points=3, settings=RelaxationSettings(max_steps=2), folder=sys.argv[1] + "/scan"))
atoms = salt.to_atoms()
def calculate():
    atoms.calc = AlchemicalCalculator(p, salt)
    atoms.get_stress()
untouched("calculator", calculate)
"""
)

SCIENCE = (
    PROBE
    + """
from alchemlip import *
from pair_models import pair_potential

p = pair_potential()
salt = Mixture.from_elements(bulk("NaCl", "rocksalt", a=5.6, cubic=True), {"Na": "Na0.5K0.5"})
rng = np.random.default_rng(0)

from alchemlip.disorder.explicit import explicit_supercells
from alchemlip.disorder.random_alloy import random_alloy
from alchemlip.disorder.ordering_study import study_ordering
from alchemlip.crystal.response import response
from importlib.util import find_spec
from alchemlip.crystal.property_names import property_of
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.estimators import estimate_from_work

untouched("random", lambda: random_alloy(salt, p, repeats=(1, 1, 1)))
untouched("explicit", lambda: explicit_supercells(salt, p, (1, 1, 1), 1, rng))
if find_spec("icet"):
    untouched("sqs", lambda: explicit_supercells(salt, p, (1, 1, 1), 1, rng, kind="sqs"))
study = untouched("order", lambda: study_ordering(salt, p, "Na", repeats=(1, 1, 1)))
if find_spec("icet"):
    from alchemlip.disorder.monte_carlo import anneal, lattice_model
    model = untouched("lattice model", lambda: lattice_model(study.interactions, cutoff=4.1))
    untouched("anneal", lambda: anneal(
        model, study.interactions, [500.0], rng, repeat=(2, 2, 2), sweeps=20, equilibration=1))
found = relax(salt, p)
untouched("response", lambda: response(found.mixture, p, [property_of("volume")]))
untouched("work", lambda: estimate_from_work(
    rng.normal(size=9), rng.normal(size=9), 300.0, rng))
"""
)


def traces(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return "\n".join(line for line in done.stdout.splitlines() if line.startswith("TRACE"))


def test_logarithm_of_a_matrix() -> None:
    """The inverse of the exponential; shears have no basis of eigenvectors."""
    rng = np.random.default_rng(0)
    for scale in (1e-9, 1e-4, 0.1, 0.6):
        exponent = scale * rng.normal(size=(3, 3))
        np.testing.assert_allclose(matrix_logarithm(expm(exponent)), exponent, rtol=0.0, atol=2e-14)
    shear = np.eye(3)
    shear[0, 1] = 0.7
    np.testing.assert_allclose(matrix_logarithm(shear), shear - np.eye(3), atol=1e-14)


@pytest.mark.parametrize(
    ("name", "package"),
    [("sevennet-0", "sevenn"), ("chgnet", "chgnet")],
    ids=["sevennet", "chgnet"],
)
def test_public_calls(name: str, package: str, tmp_path: Path) -> None:
    """Random states, warning filters, torch's settings, environment: as before each call."""
    pytest.importorskip(package)
    assert traces(SMALL, str(tmp_path), name) == ""


def test_calls_of_the_science() -> None:
    assert traces(SCIENCE) == ""
