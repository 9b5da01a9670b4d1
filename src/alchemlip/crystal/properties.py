"""Properties of relaxed mixtures: what can be designed for, differentiated, or mapped.

A property is a name and a function of a `RelaxedState` written in torch:

    Property("c_over_a", lambda state: state.cell[2].norm() / state.cell[0].norm())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from alchemlip.errors import InputError
from alchemlip.mixture.groups import FloatArray

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


def _of_no_single_state(_: RelaxedState) -> Tensor:
    raise InputError("this property takes several relaxations: ask `response` or `design` for it")


def bulk_modulus(strain: float = 0.01) -> DerivedProperty:
    """Bulk modulus -V dP/dV in GPa, sites relaxed, the cell scaled as a whole.

    From the pressure at three volumes, V (1 - 3 s) to V (1 + 3 s) or so. Its derivative in the
    composition holds the exact derivatives of these pressures and of the relaxed volume, and the
    slope dP/dV of the same three points; that the shape of a cell that is not cubic changes with
    the composition is left out.

    Args:
        strain: s, of each cell vector.
    """

    def derived(
        mixture: Mixture, potential: Potential, settings: RelaxationSettings
    ) -> tuple[float, FloatArray]:
        import numpy as np

        from alchemlip.crystal.relaxation import relax
        from alchemlip.crystal.response import response

        at_rest = response(mixture, potential, [volume()], settings)[0]
        fixed = settings.model_copy(update={"cell": "fixed"})
        # Volume and pressure there, dP/dx at a fixed cell, and how the volume follows V(x).
        volumes, pressures, slopes, factors = [], [], [], []
        for scale in (1.0 - strain, 1.0, 1.0 + strain):
            atoms = mixture.to_atoms()
            atoms.set_cell(scale * mixture.cell, scale_atoms=True)
            moved = relax(mixture.with_geometry(atoms), potential, fixed).mixture
            found = response(moved, potential, [pressure()], fixed)[0]
            factors.append(scale**3)
            volumes.append(scale**3 * at_rest.value)
            pressures.append(found.value)
            slopes.append(found.gradient)
        # P(V) is the parabola through three points; B = -V P'(V) at the middle one.
        v, p = np.array(volumes), np.array(pressures)
        weights = _slope_weights(v)
        curve = np.polyfit(v - v[1], p, 2)
        slope_at = 2.0 * curve[0] * (v - v[1]) + curve[1]
        value = -v[1] * float(weights @ p)
        by_x = np.zeros_like(at_rest.gradient)
        for weight, own, scale_v, tilt in zip(weights, slopes, factors, slope_at, strict=True):
            by_x += weight * (own + tilt * scale_v * at_rest.gradient)
        # The weights go as 1 / V: V times them is constant along V(x).
        return value, np.asarray(-v[1] * by_x)

    return DerivedProperty("bulk_modulus_GPa", _of_no_single_state, "GPa", derived=derived)


def _slope_weights(v: FloatArray) -> FloatArray:
    """Return the weights (3,) of values at three points in the slope at the middle one."""
    import numpy as np

    low, high = v[0] - v[1], v[2] - v[1]
    return np.array(
        [
            -high / (low * (low - high)),
            -(low + high) / (low * high),
            -low / (high * (high - low)),
        ]
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


def property_of(text: str) -> Property:
    """Return the property that a short name means.

    Args:
        text: ``energy``, ``volume``, ``a`` ... ``gamma``, ``pressure``, ``bulk-modulus``,
            ``stress-xx`` ..., ``stress-in-plane``.

    Raises:
        InputError: listing the names that there are.
    """
    simple: dict[str, Callable[[], Property]] = {
        "energy": energy,
        "volume": volume,
        "pressure": pressure,
        "bulk-modulus": bulk_modulus,
    }
    if text in simple:
        return simple[text]()
    if text in LENGTHS or text in ANGLES:
        return lattice_parameter(text)
    if text.startswith("stress-"):
        return stress(text.removeprefix("stress-"))
    known = ", ".join(
        [*simple, *LENGTHS, *ANGLES, *(f"stress-{c}" for c in (*STRESSES, "in-plane"))]
    )
    raise InputError(f"there is no property {text!r}: choose one of {known}")
