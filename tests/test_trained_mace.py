"""A MACE with a meaningful surface: what it says of Cs(Pb,Sn)I3, against what it learnt from."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.io import read

from alchemlip import AlchemicalPotential, Mixture, RelaxationSettings, load_potential, relax, scan
from alchemlip.testing import DIFFERENCE, assert_equal, central_difference, deformed
from conftest import installed
from crystals import example
from trained_mace import FOLDER, trained_mace_float64, trained_mace_potential

needs_mace = pytest.mark.skipif(not installed("mace"), reason="needs mace-torch")
LATTICE = json.loads((FOLDER / "sevennet_lattice.json").read_text())


@pytest.fixture(scope="module")
def trained() -> AlchemicalPotential:
    return trained_mace_potential()


@pytest.fixture(scope="module")
def own_calculator() -> Any:
    return trained_mace_float64()


def cubic_mixture() -> Mixture:
    return Mixture.from_elements(example("CsPbI3_alpha"), {"Pb": {"Pb": 1.0, "Sn": 0.0}})


def rattled() -> Atoms:
    """Return 20 atoms of CsPbI3, strained and displaced, within what the model was trained on."""
    return deformed(example("CsPbI3_alpha").repeat((2, 2, 1)), seed=7, rattle=0.15)


@needs_mace
def test_errors_on_held_out_frames(trained: AlchemicalPotential) -> None:
    """As ``errors.json`` states them, and small beside what varies between the frames."""
    stated = json.loads((FOLDER / "errors.json").read_text())["held_out.extxyz"]
    frames = read(FOLDER / "held_out.extxyz", ":")
    assert len(frames) == stated["frames"]
    results = trained.evaluate([Mixture.from_elements(atoms, {}) for atoms in frames])
    labels = {
        "energy_meV_per_atom": [atoms.info["REF_energy"] / len(atoms) for atoms in frames],
        "forces_meV_per_A": [atoms.arrays["REF_forces"] for atoms in frames],
        "stress_meV_per_A3": [atoms.info["REF_stress"] for atoms in frames],
    }
    predicted = {
        "energy_meV_per_atom": [
            result.energy / len(atoms) for result, atoms in zip(results, frames, strict=True)
        ],
        "forces_meV_per_A": [result.forces for result in results],
        "stress_meV_per_A3": [result.stress for result in results],
    }
    for name, values in labels.items():
        label, value = (
            1000 * np.concatenate([np.ravel(part) for part in parts])
            for parts in (values, predicted[name])
        )
        error = np.sqrt(np.mean((value - label) ** 2))
        assert error == pytest.approx(stated[name], rel=1e-3, abs=1e-3)
        assert error < 0.2 * label.std()
    assert stated["forces_meV_per_A"] < 60.0


@needs_mace
def test_transmutation_of_lead_into_tin(trained: AlchemicalPotential, own_calculator: Any) -> None:
    """Every Pb turns into Sn: the ends are the model's own, and the curve between is smooth."""
    atoms = rattled()
    mixture = Mixture.from_elements(atoms, {"Pb": {"Pb": 1, "Sn": 0}}, correlation="concerted")

    def at(x: float) -> Any:
        return trained.evaluate(mixture.with_composition("Pb", {"Pb": 1 - x, "Sn": x}))

    energies = []
    for x, symbol in ((0.0, "Pb"), (1.0, "Sn")):
        end = atoms.copy()
        end.symbols[end.symbols == "Pb"] = symbol
        end.calc = own_calculator
        energies.append(end.get_potential_energy())
        assert_equal(at(x).energy, energies[-1])
        assert_equal(at(x).forces, end.get_forces())

    # Gauss-Legendre quadrature converges this fast only for a smooth exchange potential.
    points, weights = np.polynomial.legendre.leggauss(10)
    slopes = [np.diff(at((1 + point) / 2).composition_gradient).item() for point in points]
    change = energies[1] - energies[0]
    assert weights @ slopes / 2 == pytest.approx(change, abs=1e-7)
    assert np.ptp(slopes) > 0.1  # iodine between the two feels both: no straight line


@needs_mace
@pytest.mark.parametrize("correlation", ["independent", "concerted"])
def test_exchange_potential(correlation: Any, trained: AlchemicalPotential) -> None:
    """dE/dx of both components against differences."""
    spec = {"Pb": {"Pb": 0.65, "Sn": 0.35}}
    mixture = Mixture.from_elements(rattled(), spec, correlation=correlation)
    graph = trained.graph([mixture])
    gradient = trained.evaluate(mixture).composition_gradient
    for index, analytic in enumerate(gradient):

        def energy(h: float, index: int = index) -> float:
            moved = graph.composition.clone()
            moved[index] += h
            return trained.energies(graph, composition=moved).item()

        assert_equal(analytic, central_difference(energy, 1e-3), DIFFERENCE)


@needs_mace
def test_lattice_parameter_against_composition(trained: AlchemicalPotential) -> None:
    """It falls from CsPbI3 to CsSnI3, and stays within 0.5 % of SevenNet-0's at every x."""
    settings = RelaxationSettings(keep_symmetry=True)
    points = scan(cubic_mixture(), trained, points=len(LATTICE["x_Sn"]), settings=settings)
    assert all(point.record["converged"] for point in points)
    np.testing.assert_allclose([point.x[1] for point in points], LATTICE["x_Sn"])
    lattice = np.array([point.mixture.cell[0, 0] for point in points])
    assert np.all(np.diff(lattice) < 0)
    np.testing.assert_allclose(lattice, LATTICE["a_A"], rtol=0.005)


@pytest.mark.skipif(not installed("sevenn"), reason="needs sevenn")
def test_committed_lattice_parameters_are_those_of_sevennet() -> None:
    potential = load_potential("sevennet-0", device="cpu", dtype="float64")
    for index in (0, -1):
        x = LATTICE["x_Sn"][index]
        mixture = cubic_mixture().with_composition("Pb", {"Pb": 1 - x, "Sn": x})
        relaxed = relax(mixture, potential, keep_symmetry=True).mixture
        assert relaxed.cell[0, 0] == pytest.approx(LATTICE["a_A"][index], abs=5e-4)
