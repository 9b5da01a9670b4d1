"""Free energy over a range of temperatures from one run, by reversible scaling.

A run at temperature T0 in which the potential is scaled, H = K + s V, samples at every scale s the
configurations of the unscaled crystal at T = T0 / s. With the work of scaling from 1 to s,
W(s) = int_1^s <V> ds',

    F(T0 / s) = [F(T0) + W(s)] / s + (f / 2) k (T0 / s) ln s ,

f momenta (3N, or 3N - 3 with the centre of mass fixed). De Koning, Antonelli and Yip, Phys. Rev.
Lett. 83, 3973 (1999), eqs. 4 to 6. At constant pressure P the run's pressure is s P, and V + P Vol
takes the place of V (de Koning, Cai, Antonelli and Yip, J. Chem. Phys. 115, 11025 (2001)).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.estimates import check_temperature, standard_error_of_mean
from alchemlip.freeenergy.gibbs_helmholtz import FreeEnergyPoints

Leg = tuple[FloatArray, FloatArray]
"""Scale s (n,) and unscaled potential energy or enthalpy V + P Vol (n,) in eV, in order of time."""


def reversible_scaling(
    forward: Sequence[Leg],
    backward: Sequence[Leg],
    free_energy_eV: float,
    standard_error_eV: float,
    temperature_K: float,
    degrees_of_freedom: int,
    at_K: FloatArray,
    *,
    name: str = "scaled",
    n_atoms: int = 1,
) -> FreeEnergyPoints:
    """Return F(T) from runs that scale the potential from 1 to T0 / T_end and back.

    Args:
        forward: R legs from scale 1 away. With `CalculatorTerm(start=1, end=s)` the scale is
            1 + (s - 1) lambda and the potential energy dhdl / (s - 1).
        backward: R legs back to scale 1, same repeats.
        free_energy_eV, standard_error_eV: F(T0) of the whole cell, from elsewhere.
        temperature_K: T0, of the run.
        degrees_of_freedom: momenta f of the cell.
        at_K: (M,) temperatures, T0 / s for scales that were reached.
        name: of the phase.
        n_atoms: results are divided by it.

    Returns:
        Free energies with standard errors, from the mean of forward and backward work of each
        repeat: what dissipates the same way in both cancels.

    Raises:
        InputError: if a temperature was not reached, or legs are missing.
    """
    check_temperature(temperature_K)
    if len(forward) == 0 or len(forward) != len(backward):
        raise InputError(
            f"{len(forward)} forward and {len(backward)} backward legs: give both of every repeat"
        )
    scales = temperature_K / np.asarray(at_K, dtype=np.float64)
    works = np.array(
        [
            (_work_to(out, scales) + _work_to((back[0][::-1], back[1][::-1]), scales)) / 2
            for out, back in zip(forward, backward, strict=True)
        ]
    )
    kinetic = 0.5 * degrees_of_freedom * kB * temperature_K / scales * np.log(scales)
    values = (free_energy_eV + works.mean(axis=0)) / scales + kinetic
    if len(works) > 1:
        own = np.array([standard_error_of_mean(column) for column in works.T])
    else:
        own = np.where(scales == 1.0, 0.0, np.nan)
    errors = np.hypot(standard_error_eV, own) / scales
    return FreeEnergyPoints(name, np.asarray(at_K), values / n_atoms, errors / n_atoms)


def _work_to(leg: Leg, scales: FloatArray) -> FloatArray:
    """Return int_1^s V ds along a leg that begins at scale 1, at (M,) scales."""
    scale, potential = (np.asarray(column, dtype=np.float64) for column in leg)
    if (
        len(scale) < 2
        or abs(scale[0] - 1.0) > 1e-9
        or (np.diff(scale) * np.sign(scale[-1] - 1) < 0).any()
    ):
        raise InputError(
            "a leg of reversible scaling must go from scale 1 in one direction: give complete legs"
        )
    steps = np.diff(scale) * (potential[1:] + potential[:-1]) / 2
    work = np.concatenate([[0.0], np.cumsum(steps)])
    low, high = sorted((scale[0], scale[-1]))
    if (scales < low * (1 - 1e-12)).any() or (scales > high * (1 + 1e-12)).any():
        raise InputError(
            f"scales from {scales.min():g} to {scales.max():g} are asked for, but the run went "
            f"from {low:g} to {high:g}: choose temperatures within"
        )
    order = slice(None) if scale[-1] > scale[0] else slice(None, None, -1)
    return np.asarray(np.interp(scales, scale[order], work[order]))
