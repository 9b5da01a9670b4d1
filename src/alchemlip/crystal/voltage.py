"""Voltage of an insertion electrode, from the energies of its compositions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray

if TYPE_CHECKING:
    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.potential.ensemble import Potential


def mean_voltages(
    x: npt.ArrayLike, energies: npt.ArrayLike, n_sites: int, metal: float, charge: int
) -> FloatArray:
    """Return the mean voltage (P - 1,) in V between neighbouring compositions, against the metal.

    V = -[E(x2) - E(x1) - n (x2 - x1) mu] / [z n (x2 - x1)], with mu the energy of an atom of the
    metal (Aydinol et al., Phys. Rev. B 56, 1354 (1997)): the volume work and entropy are left out.

    Args:
        x: (P,) ions per site that can hold one, ascending or descending.
        energies: (P,) of the cell, in eV.
        n_sites: n, sites of the cell that can hold an ion.
        metal: mu in eV.
        charge: z of the ion.
    """
    inserted = n_sites * np.diff(np.asarray(x, dtype=float))
    gained = np.diff(np.asarray(energies, dtype=float)) - inserted * metal
    return np.asarray(-gained / (charge * inserted))


def metal_energy(symbol: str, potential: Potential, settings: RelaxationSettings) -> float:
    """Return the energy in eV of an atom of an element's crystal, relaxed with the potential.

    Args:
        symbol: of the element, in the structure that ASE knows for it.
        potential: a loaded potential.
        settings: of the relaxation; the whole cell is relaxed at no pressure.

    Raises:
        InputError: if ASE knows no crystal of it that a cell can be made of.
    """
    from ase.build import bulk

    from alchemlip.crystal.relaxation import relax
    from alchemlip.errors import InputError
    from alchemlip.mixture.mixture import Mixture

    try:
        atoms = bulk(symbol)
    except (RuntimeError, ValueError, NotImplementedError, KeyError) as error:
        raise InputError(
            f"no crystal of {symbol} is known: choose an ion whose metal has one"
        ) from error
    whole = settings.model_copy(update={"cell": "full", "pressure": 0.0, "keep_symmetry": True})
    return relax(Mixture.from_atoms(atoms), potential, whole).evaluation.energy / len(atoms)
