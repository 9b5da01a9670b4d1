"""Enthalpies at an external pressure, and what results are called there.

    result.enthalpy                                           # E + P V in eV
    named("mixing_energy_eV_per_atom", 5.0)                   # mixing_enthalpy_eV_per_atom

At P = 0 the enthalpy is the energy, and results are called energies. At any other pressure what is
mixed, compared or given a temperature is H = E + P V at the external pressure, each composition at
its own volume, and is called an enthalpy; with an entropy it is a Gibbs energy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from alchemlip.mixture.mixture import Mixture
from alchemlip.records.results import FORMULAS

FORMULA = "at pressure mixing quantities are enthalpies, E + P V"
"""Noted in the inputs of runs at pressure: earlier versions left P V out."""


def pressure_volume(mixture: Mixture, pressure: float) -> float:
    """Return P V of a cell in eV.

    Args:
        mixture: with a volume, unless the pressure is 0.
        pressure: external, in GPa.
    """
    from ase.units import GPa

    return pressure * float(GPa) * abs(float(np.linalg.det(mixture.cell))) if pressure else 0.0


def named(name: str, pressure: float | bool) -> str:
    """Return what a result or its words are called at a pressure in GPa, or at one at all.

    ``free energy`` becomes ``Gibbs energy`` (``gibbs_energy`` in names), ``energy`` ``enthalpy``.
    """
    if not pressure:
        return name
    for energy, enthalpy in (
        ("free_energy", "gibbs_energy"),
        ("free energy", "Gibbs energy"),
        ("energy", "enthalpy"),
    ):
        if energy in name:
            return name.replace(energy, enthalpy)
    return name


def found_name(name: str, record: Mapping[str, Any]) -> str:
    """Return the enthalpy's name where a record has one, else the name as it is."""
    at_pressure = named(name, 1.0)
    return at_pressure if at_pressure in record else name


def external_pressure(inputs: Mapping[str, Any]) -> float:
    """Return the external pressure in GPa of a recorded run's relaxations; 0 without any."""
    relaxation = inputs.get("relaxation")
    return float(relaxation.get("pressure", 0.0)) if isinstance(relaxation, Mapping) else 0.0


def formulas(pressure: float) -> dict[str, list[str]]:
    """Return what a run's inputs note of the formulas that have changed: at pressure alone."""
    return {FORMULAS: [FORMULA]} if pressure else {}
