"""Checks of what runs where: precision, device, threads, and copies in other processes."""

from __future__ import annotations

import pickle

import numpy as np
import torch

from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.messages import Form
from alchemlip.potential.potential import AlchemicalPotential
from alchemlip.testing.checks import FORMS, check_node_energies
from alchemlip.testing.comparison import assert_as_serial, assert_equal, assert_same_evaluation
from alchemlip.testing.crystals import Crystal


def check_float32(
    potential: AlchemicalPotential,
    single: AlchemicalPotential,
    crystal: Crystal,
    rounding: float = 1e-6,
) -> None:
    """The same weights in single precision: energies to a few microelectronvolts per site.

    Args:
        potential: in float64.
        single: in float32.
        crystal: what is evaluated.
        rounding: energy allowed per site, relative to the largest node energy or 1 eV; ten times
            as much for forces and dE/dx.

    Raises:
        AssertionError: if energy, a force or dE/dx differs.
    """
    if single.dtype != torch.float32:
        raise AssertionError(f"the second potential is in {single.dtype}, not in float32")
    mixture = crystal.mixture()
    low, high = single.evaluate(mixture), potential.evaluate(mixture)
    # Random weights give energies of tens of eV a site, and rounding in proportion.
    scale = max(1.0, float(np.abs(high.node_energies).max()))
    where = f"in float32 ({crystal.name})"
    limits = {"energy": rounding * scale * mixture.n_sites, "forces": 10 * rounding * scale}
    for name, limit in limits.items():
        error = float(np.abs(getattr(low, name) - getattr(high, name)).max())
        if not error < limit:
            raise AssertionError(f"{name} {where} off by {error:.3g}, where {limit:.3g} is allowed")
    gradient = high.composition_gradient
    assert_equal(low.composition_gradient, gradient, 10 * rounding, f"dE/dx {where}")


def check_device(
    potential: AlchemicalPotential,
    elsewhere: AlchemicalPotential,
    crystal: Crystal,
    tolerance: float = 1e-8,
) -> None:
    """The same weights on another device give the same.

    Args:
        potential: in float64.
        elsewhere: in float64, on the other device.
        crystal: what is evaluated.
        tolerance: relative to the largest value, or to 1: sums come in another order.

    Raises:
        AssertionError: if anything differs, or if both are on one device.
    """
    if elsewhere.device == potential.device:
        raise AssertionError(f"both potentials are on {potential.device}")
    check_node_energies(elsewhere, crystal)
    mixture = crystal.mixture()
    where = f" on {elsewhere.device}, against {potential.device} ({crystal.name}),"
    there, here = elsewhere.evaluate(mixture), potential.evaluate(mixture)
    assert_same_evaluation(there, here, tolerance, where)


def compositions(crystal: Crystal, count: int = 5) -> list[Mixture]:
    """Return the crystal at several compositions of its first group."""
    mixture = crystal.mixture()
    group = mixture.groups[0]
    first, last = np.eye(len(group.components))[[0, -1]]
    return [
        mixture.with_composition(group.name, (1.0 - x) * first + x * last)
        for x in np.linspace(0.1, 0.9, count)
    ]


def check_threads(
    potential: AlchemicalPotential, crystal: Crystal, threads: int = 4, each: int = 8
) -> None:
    """Energies in every form and representation, alone and in batches, in several threads.

    Args:
        potential: shared by all threads.
        crystal: small.
        threads: that run together.
        each: evaluations of each thread.

    Raises:
        AssertionError: if a thread gets what one thread alone does not.
    """
    mixtures = compositions(crystal)
    forms: list[Form] = [form for form in FORMS if form in potential.backend.forms]
    vacant = any("Va" in group.components for group in mixtures[0].groups)
    embeds = "embedding" in potential.backend.forms and not vacant
    embedded = [potential.with_representation("embedding")] if embeds else []

    def energy(model: AlchemicalPotential, mixture: Mixture, form: Form | None = None) -> float:
        return model.evaluate(
            mixture, forces=False, stress=False, composition_gradient=False, form=form
        ).energy

    def energies(mixture: Mixture) -> list[float]:
        batch = potential.evaluate(
            [mixture, mixtures[0]], forces=False, stress=False, composition_gradient=False
        )
        return [
            *(result.energy for result in batch),
            *(energy(potential, mixture, form) for form in forms),
            *(energy(model, mixture) for model in embedded),
        ]

    assert_as_serial(energies, mixtures, threads, each)


def check_pickling(potential: AlchemicalPotential, crystal: Crystal) -> None:
    """A potential that comes out of a pickle, as in another process, gives the same.

    Raises:
        AssertionError: if anything differs.
        TypeError: if the potential was not made by `load_potential`, and cannot be pickled.
    """
    copy = pickle.loads(pickle.dumps(potential))
    mixture = crystal.mixture()
    where = f" after pickling ({crystal.name})"
    assert_same_evaluation(copy.evaluate(mixture), potential.evaluate(mixture), where=where)
