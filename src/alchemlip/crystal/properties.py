"""Properties of relaxed mixtures: what can be designed for, differentiated, or mapped.

A property is a name and a function of a `RelaxedState` written in torch:

    Property("c_over_a", lambda state: state.cell[2].norm() / state.cell[0].norm())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.crystal.response import RelaxedState
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.ensemble import Potential

LENGTHS = {"a": 0, "b": 1, "c": 2}
ANGLES = {"alpha": (1, 2), "beta": (0, 2), "gamma": (0, 1)}
STRESSES = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
EV_PER_A3_IN_GPA = 160.21766208


@dataclass(frozen=True)
class Property:
    """A number that a relaxed structure has.

    Attributes:
        name: with its unit, as results carry it.
        function: of a `RelaxedState`; returns a scalar tensor, differentiable.
        unit: for people.

    A property that no function of one structure gives (`bulk_modulus`) is a `DerivedProperty`.
    """

    name: str
    function: Callable[[RelaxedState], Tensor]
    unit: str = ""


@dataclass(frozen=True)
class DerivedProperty(Property):
    """A property that takes further relaxations.

    Attributes:
        derived: of (relaxed mixture, potential, settings); returns the value and its total
            derivative (K,) in the flat composition.
    """

    derived: Callable[[Mixture, Potential, RelaxationSettings], tuple[float, FloatArray]] = field(
        kw_only=True
    )


def mixing_free_energy(
    mixture: Mixture,
    potential: Potential,
    group: str,
    temperature: float,
    settings: RelaxationSettings,
) -> Property:
    """Free energy of mixing in mean field, in eV per site: H(x) - sum_k x_k H_k + k_B T sum x ln x.

    H = E + P V at the pressure of the relaxations; where it is not 0, the name says Gibbs energy.
    Atoms at ideal or relaxed mean-field sites: the level of `alchemlip scan`, whose gaps come out
    too wide. The ends are relaxed here, once. Ideal entropy of the group's sites; no vibrations, no
    short-range order.

    Args:
        mixture: whose group mixes; other groups keep their composition.
        potential: a loaded potential.
        group: name of the group.
        temperature: in K.
        settings: of the relaxations.

    Raises:
        InputError: for a temperature below 0, or if some sites exclude one another.
    """
    import numpy as np
    from ase.units import kB

    from alchemlip.crystal.enthalpy import named
    from alchemlip.crystal.relaxation import relax

    if not temperature >= 0.0:
        raise InputError(f"a temperature of {temperature} K does not exist: give 0 or more")
    mixture.exclusive.refuse_ideal_mixing()
    chosen = mixture.group(group)
    size = len(chosen.components)
    ends = [
        relax(mixture.with_composition(group, np.eye(size)[k]), potential, settings).enthalpy
        for k in range(size)
    ]
    place = mixture.components_of(group)
    n_mixing = len(chosen.sites)

    def function(state: RelaxedState) -> Tensor:
        import torch

        x = state.composition[place]
        reference = (x * x.new_tensor(ends)).sum()
        # x ln x is 0 at x = 0, where it falls without bound: at T > 0 a new species always pays.
        entropy = (x * torch.log(x.clamp_min(1e-12))).sum()
        free = state.enthalpy(settings.pressure) - reference + kB * temperature * n_mixing * entropy
        result: Tensor = free / state.n_sites
        return result

    return Property(named("mixing_free_energy_eV_per_atom", settings.pressure), function, "eV")


def energy() -> Property:
    """Energy per lattice site, in eV."""
    return Property("energy_eV_per_atom", lambda state: state.energy / state.n_sites, "eV")


def volume() -> Property:
    """Volume of the cell, in A^3."""
    return Property("volume_A3", lambda state: state.volume, "Å³")


def lattice_parameter(which: str) -> Property:
    """Length of a cell vector (a, b, c) in A, or an angle (alpha, beta, gamma) in degrees.

    Raises:
        InputError: if there is no such parameter.
    """
    if which in LENGTHS:
        row = LENGTHS[which]
        return Property(f"{which}_A", lambda state: state.cell[row].norm(), "Å")
    if which in ANGLES:
        first, second = ANGLES[which]

        def angle(state: RelaxedState) -> Tensor:
            import torch

            one, other = state.cell[first], state.cell[second]
            cosine = (one @ other) / (one.norm() * other.norm())
            return torch.rad2deg(torch.acos(cosine))

        return Property(f"{which}_deg", angle, "°")
    raise InputError(
        f"there is no lattice parameter {which!r}: choose a, b, c, alpha, beta or gamma"
    )


def pressure() -> Property:
    """Minus the mean of the normal stresses, in GPa."""
    return Property(
        "pressure_GPa", lambda state: -EV_PER_A3_IN_GPA * state.stress.trace() / 3.0, "GPa"
    )


def stress(component: str) -> Property:
    """A component of the stress, or ``in-plane``, the mean of xx and yy; GPa, positive in tension.

    Raises:
        InputError: if there is no such component.
    """
    if component == "in-plane":
        return Property(
            "stress_in_plane_GPa",
            lambda state: 0.5 * EV_PER_A3_IN_GPA * (state.stress[0, 0] + state.stress[1, 1]),
            "GPa",
        )
    if component not in STRESSES:
        raise InputError(
            f"there is no stress component {component!r}: choose in-plane, {', '.join(STRESSES)}"
        )
    i, j = STRESSES[component]
    return Property(
        f"stress_{component}_GPa", lambda state: EV_PER_A3_IN_GPA * state.stress[i, j], "GPa"
    )
