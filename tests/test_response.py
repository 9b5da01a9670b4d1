"""Derivatives of relaxed properties against differences of whole relaxations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings, relax
from alchemlip.crystal.properties import Property, lattice_parameter, mixing_free_energy, stress
from alchemlip.crystal.property_names import property_of
from alchemlip.crystal.response import Response, property_values, response
from conftest import POTENTIALS, loaded
from crystals import example
from pair_models import sphere_potential

TIGHT = {"fmax": 1e-6, "smax": 1e-6, "keep_symmetry": True, "max_steps": 1000}
SPHERES = sphere_potential()


def relaxed_response(
    mixture: Mixture,
    potential: AlchemicalPotential,
    properties: Sequence[Property],
    settings: RelaxationSettings,
) -> tuple[Mixture, list[Response]]:
    result = relax(mixture, potential, settings)
    assert result.converged
    return result.mixture, response(result.mixture, potential, properties, settings)


def check_against_relaxations(
    mixture: Mixture,
    potential: AlchemicalPotential,
    properties: Sequence[Property],
    settings: RelaxationSettings,
    step: float = 2e-3,
) -> list[Response]:
    """Along an exchange of the first and last component, to 1e-4 relative."""
    group = mixture.groups[0]
    direction = np.zeros(len(group.components))
    direction[[0, -1]] = 1.0, -1.0
    relaxed, exact = relaxed_response(mixture, potential, properties, settings)
    values = {}
    for factor in (-2, -1, 1, 2):
        x = group.composition + factor * step * direction
        moved = relaxed.with_composition(group.name, x)
        _, found = relaxed_response(moved, potential, properties, settings)
        values[factor] = np.array([item.value for item in found])
    numerical = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)
    for item, expected in zip(exact, numerical, strict=True):
        slope = item.gradient[: len(direction)] @ direction
        assert slope == pytest.approx(expected, rel=1e-4), item.name
    return exact


def test_cubic_crystal(potential: AlchemicalPotential) -> None:
    """One free coordinate: symmetry makes every adjoint a single product."""
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Li": 0.2, "Na": 0.5, "K": 0.3}})
    settings = RelaxationSettings(**TIGHT)
    names = ("a", "volume", "energy")
    exact = check_against_relaxations(
        mixture, potential, [property_of(name) for name in names], settings
    )
    assert max(item.products for item in exact) == 1
    # At a minimum only the explicit part of the energy is left (Hellmann and Feynman).
    np.testing.assert_allclose(exact[2].gradient, exact[2].fixed, rtol=1e-5)
    # Without symmetry the same, by more products.
    relaxed = relax(mixture, potential, settings).mixture
    plain = response(relaxed, potential, [lattice_parameter("a")], settings, use_symmetry=False)
    assert plain[0].gradient == pytest.approx(exact[0].gradient, rel=1e-5)


def test_under_pressure(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Na": 0.6, "K": 0.4}})
    settings = RelaxationSettings(pressure=3.0, **TIGHT)
    properties = [property_of("volume"), property_of("energy")]
    check_against_relaxations(mixture, potential, properties, settings)


def layers() -> Mixture:
    """Layers Cu, (Cu, Au), Au, Au of an fcc crystal: tetragonal, and nothing keeps a layer."""
    atoms = Atoms(
        "CuAgAuAu",
        scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.25], [0, 0, 0.5], [0.5, 0.5, 0.75]],
        cell=[2.75, 2.75, 7.9],
        pbc=True,
    )
    return Mixture.from_elements(atoms, {"Ag": {"Cu": 0.6, "Au": 0.4}})


@pytest.mark.parametrize("pressure", [0.0, 5.0])
@pytest.mark.parametrize("cell", ["full", "volume", "fixed", "zz", "xx,yy"])
def test_stress_of_a_cell_that_relaxes(cell: str, pressure: float) -> None:
    """The stress turns and scales with the cell: its slope over V is that of no strain alone."""
    settings = RelaxationSettings(cell=cell, pressure=pressure, **TIGHT)
    names = ("stress-xx", "stress-zz", "pressure", "stress-in-plane", "a", "c", "volume", "energy")
    relaxed = relax(layers(), SPHERES, settings).mixture
    properties = [property_of(name) for name in names]
    if cell in ("volume", "fixed", "zz"):
        (found, *_) = response(relaxed, SPHERES, properties[:1], settings)
        assert abs(found.value) > 0.5  # a stress that is not the external one
    exact = {item.name: item for item in response(relaxed, SPHERES, properties, settings)}
    step = 2e-3
    values = []
    for shift in (-step, step):
        moved = relaxed.with_composition("Ag", [0.6 - shift, 0.4 + shift])
        moved = relax(moved, SPHERES, settings).mixture
        values.append(response(moved, SPHERES, properties, settings))
    for low, high in zip(*values, strict=True):
        slope = exact[low.name].gradient @ [-1.0, 1.0]
        numerical = (high.value - low.value) / (2 * step)
        assert slope == pytest.approx(numerical, rel=1e-3, abs=1e-3), low.name
    if cell == "full":
        assert exact["pressure_GPa"].gradient @ [-1.0, 1.0] == pytest.approx(0.0, abs=1e-5)


def test_wurtzite_with_internal_coordinate(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(example("AlN_hex"), {"Al": {"Al": 0.7, "Ga": 0.3}})
    ratio = Property("c_over_a", lambda state: state.cell[2].norm() / state.cell[0].norm())
    check_against_relaxations(
        mixture,
        potential,
        [lattice_parameter("a"), lattice_parameter("c"), ratio],
        RelaxationSettings(**TIGHT),
    )


def test_epitaxial_stress(potential: AlchemicalPotential) -> None:
    """In-plane stress at a fixed substrate, c and internal coordinates relaxed."""
    mixture = Mixture.from_elements(example("AlN_hex"), {"Al": {"Al": 0.7, "Ga": 0.3}})
    settings = RelaxationSettings(cell="zz", **TIGHT)
    exact = check_against_relaxations(
        mixture, potential, [stress("in-plane"), lattice_parameter("c")], settings
    )
    assert abs(exact[0].value) > 0.1


def test_fixed_cell(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(example("CeO2"), {"Ce": {"Ce": 0.5, "Zr": 0.5}})
    settings = RelaxationSettings(**{**TIGHT, "cell": "fixed"})
    check_against_relaxations(
        mixture, potential, [property_of("pressure"), property_of("stress-xx")], settings
    )


def test_free_sites_and_vacancies(potential: AlchemicalPotential) -> None:
    """Two groups, one on half of its element's sites: less symmetry, inner relaxation."""
    atoms = example("CeO2")
    mixture = Mixture.from_elements(
        atoms, {(0, 1): {"Ce": 0.6, "Zr": 0.4}, "O": {"O": 0.95, "Va": 0.05}}
    )
    settings = RelaxationSettings(**TIGHT)
    exact = check_against_relaxations(
        mixture, potential, [lattice_parameter("a"), lattice_parameter("c")], settings
    )
    assert abs(exact[0].value - exact[1].value) > 1e-3


def test_one_element_is_no_change(potential: AlchemicalPotential) -> None:
    """Turning an atom into its own element moves nothing: the exchange derivative is 0."""
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Na": 0.5, "K": 0.5}})
    group = mixture.groups[0]
    numbers = np.array([[11, 11]] * len(group.sites))
    twice = replace(mixture, groups=(replace(group, species=numbers, components=("p", "q")),))
    settings = RelaxationSettings(**TIGHT)
    _, found = relaxed_response(
        twice, potential, [property_of("a"), property_of("energy")], settings
    )
    for item in found:
        assert item.gradient[0] == pytest.approx(item.gradient[1], abs=1e-8)


def test_bad_input(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Na": 0.5, "K": 0.5}})
    with pytest.raises(InputError, match="need float64"):
        response(mixture, loaded(POTENTIALS[0], "float32"), [property_of("a")])
    with pytest.raises(InputError, match="no single number"):
        response(mixture, potential, [Property("cell", lambda state: state.cell)])
    with pytest.raises(InputError, match="there is no property 'b/a'"):
        property_of("b/a")
    # Far beyond its equilibrium volume a crystal has no restoring force.
    atoms = example("NaCl")
    atoms.set_cell(1.25 * atoms.cell.array, scale_atoms=True)
    with pytest.raises(InputError, match="unstable"):
        response(mixture.with_geometry(atoms), potential, [property_of("a")])


def test_bulk_modulus(potential: AlchemicalPotential) -> None:
    """Against E''(V), and its derivative against differences, to a few percent."""
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Na": 0.6, "K": 0.4}})
    settings = RelaxationSettings(**TIGHT)
    wanted = property_of("bulk-modulus")
    relaxed, (found,) = relaxed_response(mixture, potential, [wanted], settings)
    volume = abs(np.linalg.det(relaxed.cell))
    energies = []
    scales = np.array([0.99, 1.0, 1.01])
    for scale in scales:
        atoms = relaxed.to_atoms()
        atoms.set_cell(scale * relaxed.cell, scale_atoms=True)
        energies.append(potential.evaluate(relaxed.with_geometry(atoms)).energy)
    second = 2 * np.polyfit(volume * scales**3, energies, 2)[0]
    assert found.value == pytest.approx(160.2177 * volume * second, rel=0.02)
    values = []
    for shift in (-0.02, 0.02):
        moved = relaxed.with_composition("Na", [0.6 - shift, 0.4 + shift])
        values.append(relaxed_response(moved, potential, [wanted], settings)[1][0].value)
    exchange = found.gradient[1] - found.gradient[0]
    assert exchange == pytest.approx((values[1] - values[0]) / 0.04, rel=0.05)


@pytest.mark.parametrize("cell", ["full", "volume", "fixed"])
def test_bulk_modulus_under_pressure(cell: str) -> None:
    """The derivative against differences: the parabola through three volumes is good to 2 %."""
    atoms = bulk("Cu", "fcc", 3.7)
    mixture = Mixture.from_elements(atoms, {"Cu": {"Cu": 0.6, "Au": 0.4}})
    settings = RelaxationSettings(cell=cell, pressure=10.0, **TIGHT)
    wanted = [property_of("bulk-modulus")]
    relaxed, (found,) = relaxed_response(mixture, SPHERES, wanted, settings)
    assert property_values(relaxed, SPHERES, wanted, settings=settings) == [found.value]
    values = []
    for shift in (-0.01, 0.01):
        moved = relaxed.with_composition("Cu", [0.6 - shift, 0.4 + shift])
        values.append(relaxed_response(moved, SPHERES, wanted, settings)[1][0].value)
    exchange = found.gradient[1] - found.gradient[0]
    assert exchange == pytest.approx((values[1] - values[0]) / 0.02, rel=0.03)


def test_mixing_free_energy(potential: AlchemicalPotential) -> None:
    """Zero at the ends, entropy alone for an element with itself, and its exact derivative."""
    settings = RelaxationSettings(**TIGHT)
    mixture = Mixture.from_elements(example("NaCl"), {"Na": {"Na": 0.7, "K": 0.3}})
    wanted = mixing_free_energy(mixture, potential, "Na", 900.0, settings)
    for end in ([1.0, 0.0], [0.0, 1.0]):
        at_end = relax(mixture.with_composition("Na", end), potential, settings).mixture
        assert property_values(at_end, potential, [wanted])[0] == pytest.approx(0.0, abs=1e-7)
    check_against_relaxations(mixture, potential, [wanted], settings)
    group = mixture.groups[0]
    numbers = np.full_like(group.species, 11)
    twice = replace(mixture, groups=(replace(group, species=numbers, components=("p", "q")),))
    itself = mixing_free_energy(twice, potential, "Na", 900.0, settings)
    relaxed = relax(twice, potential, settings).mixture
    ideal = 8.617333e-5 * 900.0 * (0.7 * np.log(0.7) + 0.3 * np.log(0.3)) / 2
    assert property_values(relaxed, potential, [itself])[0] == pytest.approx(ideal, abs=1e-7)
