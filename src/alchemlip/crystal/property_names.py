"""Properties by their short names, the bulk modulus among them, which takes several relaxations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.properties import (
    ANGLES,
    LENGTHS,
    STRESSES,
    DerivedProperty,
    Property,
    energy,
    lattice_parameter,
    pressure,
    stress,
    volume,
)
from alchemlip.crystal.relaxation import RelaxationSettings, relax
from alchemlip.crystal.response import RelaxedState, response
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from torch import Tensor

    from alchemlip.potential.ensemble import Potential


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
    low, high = v[0] - v[1], v[2] - v[1]
    return np.array(
        [
            -high / (low * (low - high)),
            -(low + high) / (low * high),
            -low / (high * (high - low)),
        ]
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
