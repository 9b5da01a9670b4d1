"""Atoms that leave their sites while a run assumes that they stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.errors import InputError
from alchemlip.freeenergy.crystal_symmetry import leaves_site, nearest_neighbour_distances
from alchemlip.freeenergy.springs import FARTHEST

if TYPE_CHECKING:
    from ase import Atoms


class HopError(InputError):
    """An atom left its site."""


class HopCheck:
    """Stops a trajectory whose atoms leave their sites, as an observer of the switching engine.

    Displacements count from the mean displacement of the lattice, so that a drifting crystal is not
    taken for a hopping atom. An atom has hopped when it is nearer to another site, the emptied one
    included, than to its own.

    Args:
        sites: the crystal, whose positions are the sites.
        temperature_K: for the message.
        lattice: (n,) sites whose mean displacement is the lattice's; all by default.
        vacant: the site that is or becomes empty, for the message.

    Attributes:
        largest: largest displacement so far over the distance of the nearest neighbour.
    """

    def __init__(
        self,
        sites: Atoms,
        temperature_K: float,
        lattice: Sequence[int] | None = None,
        vacant: int | None = None,
    ) -> None:
        self._symbols = list(sites.symbols)
        self._scaled = sites.get_scaled_positions(wrap=False)
        self._nearest = nearest_neighbour_distances(sites)
        self._lattice = np.arange(len(sites)) if lattice is None else np.asarray(lattice)
        self._temperature_K = temperature_K
        self._vacant = vacant
        self.largest = 0.0

    def observe(self, atoms: Atoms) -> None:
        """Look at a configuration.

        Raises:
            HopError: naming the atom, if one left its site.
        """
        moved = atoms.positions - self._scaled @ atoms.cell.array
        moved -= moved[self._lattice].mean(axis=0)
        distance = np.sqrt(np.einsum("ix,ix->i", moved, moved))
        ratio = distance / self._nearest
        self.largest = max(self.largest, float(ratio.max()))
        for atom in np.flatnonzero(ratio > FARTHEST).tolist():
            if not leaves_site(self._scaled, atoms.cell.array, atom, moved[atom]):
                continue
            what = "the crystal diffuses" if self._vacant is None else "the vacancy hops"
            beside = "" if self._vacant is None else f" while site {self._vacant} is emptied"
            raise HopError(
                f"{what} at {self._temperature_K:g} K: atom {atom} ({self._symbols[atom]}) moved "
                f"{distance[atom]:.2f} A from its site{beside} and is nearer to another one; lower "
                "the temperature, or switch in a shorter time with more repeats"
            )

    def state(self) -> dict[str, Any]:
        """Return what was seen, for a checkpoint."""
        return {"largest": self.largest}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what `state` returned."""
        self.largest = float(state["largest"])
