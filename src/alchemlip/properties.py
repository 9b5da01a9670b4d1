"""Properties of relaxed mixtures: what can be designed for, differentiated, or mapped.

A property is a name and a function of a `RelaxedState` written in torch:

    Property("c_over_a", lambda state: state.cell[2].norm() / state.cell[0].norm())
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

    from alchemlip.response import RelaxedState

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
    """

    name: str
    function: Callable[[RelaxedState], Tensor]
    unit: str = ""


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
        text: ``energy``, ``volume``, ``a`` ... ``gamma``, ``pressure``, ``stress-xx`` ...,
            ``stress-in-plane``.

    Raises:
        InputError: listing the names that there are.
    """
    simple = {"energy": energy, "volume": volume, "pressure": pressure}
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
