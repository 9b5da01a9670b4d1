"""The torch-sim model: batches equal single evaluations, and every system keeps its composition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from ase.build import bulk, molecule

ts = pytest.importorskip("torch_sim")

from alchemlip import AlchemicalPotential, InputError, Mixture, relax_many  # noqa: E402, I001
from alchemlip.potential.ensemble import EnsemblePotential  # noqa: E402
from alchemlip.batching.torch_sim import AlchemicalModel  # noqa: E402
from conftest import POTENTIALS, loaded, reference_calculator  # noqa: E402
from alchemlip.testing import CRYSTALS, deformed  # noqa: E402
from crystals import example  # noqa: E402
from torch_sim.models.interface import validate_model_outputs  # noqa: E402

VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def unequal_mixtures() -> list[Mixture]:
    """Crystals of 1 to 12 sites, one to two groups, independent and concerted, one left-handed."""
    periodic = [crystal for crystal in CRYSTALS if crystal.atoms.pbc.all()]
    mixtures = [crystal.mixture() for crystal in periodic]
    mixtures.append(periodic[0].mixture("concerted"))
    mirrored = deformed(example("NaCl"), seed=4)
    mirrored.set_cell(mirrored.cell.array[[1, 0, 2]])
    mixtures.append(Mixture.from_elements(mirrored, {"Na": "Na0.9K0.1"}))
    return mixtures


def assert_equal(found: Any, expected: Any) -> None:
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=1e-10 * scale)


def assert_state_agrees(model: AlchemicalModel, state: Any, output: Any) -> None:
    """What torch-sim holds of every system is what the potential says of its mixture alone."""
    forces = output["forces"].split(state.n_atoms_per_system.tolist())
    gradients = model.composition_gradients(state)
    for system, mixture in enumerate(model.mixtures_of(state)):
        single = model.potential.evaluate(mixture)
        assert_equal(output["energy"][system], single.energy)
        assert_equal(forces[system], single.forces)
        assert_equal([output["stress"][system][a, b] for a, b in VOIGT], single.stress)
        assert_equal(gradients[system], single.composition_gradient)


def test_a_batch_equals_single_evaluations(potential: AlchemicalPotential) -> None:
    """In any order, with repeats, and again after the atoms moved and systems left."""
    mixtures = unequal_mixtures()
    model = AlchemicalModel(potential, mixtures)
    rng = np.random.default_rng(0)
    order = [*rng.permutation(len(mixtures)).tolist(), 0, 0]
    state = model.initial_state(order)
    for _ in range(2):
        output = model(state)
        state.store_model_extras(output)
        assert_state_agrees(model, state, output)
        state.positions = state.positions + torch.from_numpy(
            0.05 * rng.normal(size=tuple(state.positions.shape))
        )
        left = [index for system, index in enumerate(order) if system not in (1, 3)]
        state.pop([1, 3])
        assert state.system_extras["mixture_index"].tolist() == left
        order = left


def test_states_are_those_of_torch_sim(potential: AlchemicalPotential) -> None:
    """Where nothing is mixed a state is the one that torch-sim makes of the ASE structures."""
    structures = [deformed(bulk("Mg", "hcp", a=3.21, c=5.21)), deformed(example("NaCl"))]
    model = AlchemicalModel(potential, [Mixture.from_elements(atoms, {}) for atoms in structures])
    ours, theirs = model.initial_state(), ts.initialize_state(structures, "cpu", model.dtype)
    for name in ("positions", "masses", "cell", "pbc", "atomic_numbers", "system_idx"):
        assert_equal(getattr(ours, name).double(), getattr(theirs, name).double().numpy())


def test_pure_mixtures_equal_the_plain_potential(potential: AlchemicalPotential) -> None:
    """At x = 1 the results are those of the potential's own calculator for the pure crystal."""
    atoms = deformed(bulk("Cu", "fcc", 3.7, cubic=True))
    gold = atoms.copy()
    gold.symbols[:] = "Au"
    model = AlchemicalModel(
        potential,
        [Mixture.from_elements(atoms, {"Cu": {"Cu": 1 - x, "Au": x}}) for x in (1.0, 0.0)],
    )
    output = model(model.initial_state())
    calculator = reference_calculator(POTENTIALS[0])
    for system, plain in enumerate((gold, atoms)):
        plain.calc = calculator
        assert_equal(output["energy"][system], plain.get_potential_energy())
        assert_equal(output["forces"][4 * system : 4 * system + 4], plain.get_forces())
        stress = output["stress"][system]
        assert_equal([stress[a, b] for a, b in VOIGT], plain.get_stress())


def test_torch_sim_accepts_the_model(potential: AlchemicalPotential) -> None:
    """Its own validation: shapes, detached outputs, single against batch, lattice translations."""
    structures = [
        bulk("Si", "diamond", a=5.43, cubic=True),
        bulk("Mg", "hcp", a=3.21, c=5.21).repeat([3, 2, 1]),
        bulk("Fe", "bcc", a=2.87),
        molecule("C6H6"),
    ]
    model = AlchemicalModel(potential, [Mixture.from_elements(atoms, {}) for atoms in structures])

    def with_index(state: Any) -> Any:
        by_element = {14: 0, 12: 1, 26: 2, 6: 3}
        first = state.n_atoms_per_system.cumsum(0) - state.n_atoms_per_system
        numbers = state.atomic_numbers[first].tolist()
        state.system_extras["mixture_index"] = torch.tensor([by_element[z] for z in numbers])
        return state

    validate_model_outputs(
        model, model.device, model.dtype, check_detached=True, state_modifier=with_index
    )


def test_relaxation_with_swaps_keeps_compositions(potential: AlchemicalPotential) -> None:
    """Converged systems leave and others enter; each ends where its own relaxation does."""
    salt, metal = bulk("NaCl", "rocksalt", 5.9), bulk("Cu", "fcc", 3.8)
    pair = deformed(bulk("CuAu", "cesiumchloride", 3.1))
    mixtures = [
        Mixture.from_elements(metal, {"Cu": "Cu0.2Au0.8"}),
        Mixture.from_elements(pair, {"Cu": "Cu0.5Ag0.3Au0.2"}),
        Mixture.from_elements(metal, {"Cu": "Cu0.7Au0.3"}),
        Mixture.from_elements(salt, {"Na": "Na0.2K0.8"}),
        Mixture.from_elements(metal, {}),
    ]
    model = AlchemicalModel(potential, mixtures)
    batcher = ts.InFlightAutoBatcher(model, memory_scales_with="n_atoms", max_memory_scaler=3)
    final = ts.optimize(
        model.initial_state(),
        model,
        optimizer=ts.Optimizer.fire,
        convergence_fn=ts.generate_force_convergence_fn(5e-3, include_cell_forces=True),
        autobatcher=batcher,
        max_steps=500,
        init_kwargs={"cell_filter": ts.CellFilter.frechet},
    )
    assert final.system_extras["mixture_index"].tolist() == list(range(len(mixtures)))
    assert_state_agrees(model, final, {name: getattr(final, name) for name in OUTPUTS})
    relaxed = relax_many(mixtures, potential, fmax=1e-4, smax=1e-3)
    for energy, cell, result in zip(final.energy, final.cell, relaxed, strict=True):
        assert float(energy) == pytest.approx(result.evaluation.energy, abs=2e-5)
        volume = abs(np.linalg.det(result.mixture.cell))
        assert float(torch.linalg.det(cell).abs()) == pytest.approx(volume, rel=5e-3)
    for before, after in zip(mixtures, model.mixtures_of(final), strict=True):
        np.testing.assert_array_equal(after.composition, before.composition)


OUTPUTS = ("energy", "forces", "stress")


def test_constant_energy(potential: AlchemicalPotential) -> None:
    """Energy and momentum are conserved while potential and kinetic energy are exchanged."""
    atoms = bulk("NaCl", "rocksalt", 5.9)
    model = AlchemicalModel(
        potential,
        [Mixture.from_elements(atoms, {"Na": {"Na": 1 - x, "K": x}}) for x in (0.3, 0.8)],
    )
    state = model.initial_state()
    state.rng = 0
    state = ts.nve_init(state, model, kT=600 * ts.units.MetalUnits.temperature)
    dt = 0.0015 * ts.units.MetalUnits.time  # ps
    momentum = state.momenta.clone()
    first = {"kinetic": kinetic(state), "total": kinetic(state) + state.energy}
    exchanged = drift = 0.0
    for _ in range(40):
        state = ts.nve_step(state, model, dt=dt)
        exchanged = max(exchanged, float((kinetic(state) - first["kinetic"]).abs().min()))
        drift = max(drift, float((kinetic(state) + state.energy - first["total"]).abs().max()))
    assert exchanged > 0.02  # eV, in both
    assert drift < 0.01 * exchanged
    change = (state.momenta - momentum).reshape(2, 2, 3).sum(dim=1)
    assert float(change.abs().max()) < 1e-8


def kinetic(state: Any) -> torch.Tensor:
    return ts.calc_kinetic_energy(
        masses=state.masses, momenta=state.momenta, system_idx=state.system_idx
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("nvt_langevin", {}), ("npt_langevin_isotropic", {"external_pressure": 0.0})],
)
def test_dynamics_in_bins_keeps_compositions(
    potential: AlchemicalPotential, name: str, options: dict[str, float]
) -> None:
    """Systems of unequal size are binned and put back in order."""
    mixtures = [
        Mixture.from_elements(deformed(bulk("Cu", "fcc", 3.8, cubic=True)), {"Cu": "Cu0.6Au0.4"}),
        Mixture.from_elements(deformed(bulk("NaCl", "rocksalt", 5.9)), {"Na": "Na0.2K0.8"}),
        Mixture.from_elements(deformed(bulk("NaCl", "rocksalt", 5.9)), {"Na": "Na0.8K0.2"}),
    ]
    model = AlchemicalModel(potential, mixtures)
    state = model.initial_state([1, 0, 2])
    state.rng = 0
    final = ts.integrate(
        state,
        model,
        integrator=ts.Integrator[name],
        n_steps=4,
        temperature=500,
        timestep=0.002,
        autobatcher=ts.BinningAutoBatcher(model, memory_scales_with="n_atoms", max_memory_scaler=5),
        **options,
    )
    assert final.system_extras["mixture_index"].tolist() == [1, 0, 2]
    assert float((final.positions - state.positions).abs().max()) > 1e-3
    if options:
        assert float((final.cell - state.cell).abs().max()) > 1e-4
    output = {**model(final), "energy": final.energy, "forces": final.forces}
    assert_state_agrees(model, final, output)


def test_static_results_carry_the_gradient(potential: AlchemicalPotential) -> None:
    mixtures = unequal_mixtures()[:3]
    model = AlchemicalModel(potential, mixtures)
    results = ts.static(model.initial_state(), model)
    for mixture, result in zip(mixtures, results, strict=True):
        (group,) = mixture.groups
        rows = result["composition_gradient"].numpy()
        expected = potential.evaluate(mixture).composition_gradient
        assert_equal(rows[group.sites], np.tile(expected, (len(group.sites), 1)))
        pure = np.setdiff1d(np.arange(mixture.n_sites), group.sites)
        assert np.isnan(rows[pure]).all()


def test_masses_are_the_mean_over_what_is_not_vacant(potential: AlchemicalPotential) -> None:
    mixture = Mixture.from_elements(
        example("NaCl"), {0: {"Na": 0.2, "K": 0.2, "Va": 0.6}, "Cl": "Cl0.5Br0.5"}
    )
    state = AlchemicalModel(potential, [mixture]).initial_state()
    assert_equal(state.masses, mixture.masses)
    assert float(state.masses[0]) == pytest.approx((22.98976928 + 39.0983) / 2)
    assert state.atomic_numbers[0] == 0  # the most abundant species shows


def test_clusters_have_no_stress(potential: AlchemicalPotential) -> None:
    cluster = Mixture.from_elements(molecule("C6H6"), {"H": "H0.5F0.5"})
    model = AlchemicalModel(potential, [cluster])
    output = model(model.initial_state())
    single = potential.evaluate(cluster)
    assert_equal(output["energy"][0], single.energy)
    assert_equal(output["forces"], single.forces)
    assert output["stress"].isnan().all()


def test_only_what_is_asked_for(potential: AlchemicalPotential) -> None:
    mixture = CRYSTALS[0].mixture()
    model = AlchemicalModel(
        potential, [mixture], compute_forces=False, compute_stress=False, composition_gradient=False
    )
    assert set(model(model.initial_state())) == {"energy"}
    model.compute_forces = model.compute_stress = True
    assert set(model(model.initial_state())) == {"energy", "forces", "stress"}


def test_single_precision() -> None:
    """States and outputs have the potential's dtype; results agree to its rounding."""
    mixture = CRYSTALS[0].mixture()
    exact = AlchemicalModel(loaded(POTENTIALS[0]), [mixture])
    rounded = AlchemicalModel(loaded(POTENTIALS[0], "float32"), [mixture])
    expected, found = exact(exact.initial_state()), rounded(rounded.initial_state())
    assert rounded.initial_state().positions.dtype == torch.float32
    for name, values in found.items():
        assert values.dtype == torch.float32
        torch.testing.assert_close(
            values.double(), expected[name], rtol=1e-5, atol=1e-4, equal_nan=True
        )


def test_an_ensemble_gives_its_mean() -> None:
    members = [loaded(case) for case in POTENTIALS[:2]]
    mixture = CRYSTALS[2].mixture()
    output = (model := AlchemicalModel(EnsemblePotential(members), [mixture]))(
        model.initial_state()
    )
    singles = [member.evaluate(mixture) for member in members]
    assert_equal(output["energy"][0], np.mean([single.energy for single in singles]))
    assert_equal(output["forces"], np.mean([single.forces for single in singles], axis=0))


def test_states_that_are_not_the_mixtures_are_refused(potential: AlchemicalPotential) -> None:
    mixtures = [CRYSTALS[0].mixture(), CRYSTALS[2].mixture()]
    model = AlchemicalModel(potential, mixtures)
    plain = ts.initialize_state(CRYSTALS[0].atoms, model.device, model.dtype)
    with pytest.raises(InputError, match="initial_state"):
        model(plain)
    state = model.initial_state()
    state.atomic_numbers[0] = 37
    with pytest.raises(InputError, match="elements of the state changed"):
        model(state)
    state = model.initial_state()
    state.system_extras["mixture_index"] = torch.tensor([1, 0])
    with pytest.raises(InputError, match="sites"):
        model(state)
    with pytest.raises(InputError, match="no mixture 2"):
        model.initial_state([0, 2])
    state = model.initial_state()
    state.pbc = False
    with pytest.raises(InputError, match="periodic"):
        model(state)
    with pytest.raises(InputError, match="no composition gradient"):
        model.composition_gradients(model.initial_state())


def test_bad_mixtures_are_refused(potential: AlchemicalPotential) -> None:
    with pytest.raises(InputError, match="at least one"):
        AlchemicalModel(potential, [])
    empty = Mixture.from_elements(example("NaCl"), {0: {"Na": 0.0, "Va": 1.0}})
    with pytest.raises(InputError, match="wholly vacant"):
        AlchemicalModel(potential, [empty])
    slab = CRYSTALS[0].atoms.copy()
    slab.pbc = (True, True, False)
    mixed = [CRYSTALS[0].mixture(), Mixture.from_elements(slab, {})]
    with pytest.raises(InputError, match="other directions"):
        AlchemicalModel(potential, mixed).initial_state()
