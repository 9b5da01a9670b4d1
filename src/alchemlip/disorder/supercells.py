"""Supercells: repeats of ever wider ones, and what a cell is too small for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.groups import Group
from alchemlip.mixture.mixture import Mixture

Repeats = tuple[int, int, int]
INTEGER_TOLERANCE = 1e-6
"""Of a number of atoms, relative to the number of sites."""


def supercell_repeats(mixture: Mixture, width: float, max_sites: int) -> Iterator[Repeats]:
    """Yield repeats of ever wider supercells, as nearly isotropic as the cell allows.

    Args:
        mixture: the cell.
        width: smallest distance in Angstrom between opposite faces, in periodic directions.
        max_sites: of a supercell.
    """
    heights = _heights(mixture)
    wanted = width
    while True:
        counts = [
            max(1, int(np.ceil(wanted / height - 1e-9))) if periodic else 1
            for height, periodic in zip(heights.tolist(), mixture.pbc.tolist(), strict=True)
        ]
        if mixture.n_sites * int(np.prod(counts)) > max_sites:
            return
        yield (counts[0], counts[1], counts[2])
        if not mixture.pbc.any():
            return
        # The next width at which a count grows; slightly more, against rounding.
        grown = [
            count * height
            for count, height, periodic in zip(counts, heights, mixture.pbc, strict=True)
            if periodic
        ]
        wanted = float(min(grown)) * (1.0 + 1e-6)


def check_width(mixture: Mixture, repeats: Repeats, cutoff: float) -> None:
    """Refuse a supercell in which a fluctuating site would send messages to its own images.

    Raises:
        InputError: naming the width.
    """
    widths = (_heights(mixture) * np.array(repeats))[mixture.pbc]
    if len(widths) and widths.min() < cutoff:
        raise InputError(
            f"the supercell {'x'.join(map(str, repeats))} is {widths.min():.2f} A wide, less than "
            f"the potential's range of {cutoff:g} A: take more repeats"
        )


def _heights(mixture: Mixture) -> FloatArray:
    """Return (3,) distances in Angstrom between opposite faces; infinite where not periodic."""
    heights = np.full(3, np.inf)
    if mixture.pbc.all():
        heights = 1.0 / np.linalg.norm(np.linalg.inv(mixture.cell), axis=0)
    elif mixture.pbc.any():
        from ase.geometry import complete_cell

        cell = np.where(mixture.pbc[:, None], mixture.cell, 0.0)
        widths = 1.0 / np.linalg.norm(np.linalg.inv(complete_cell(cell)), axis=0)
        heights = np.where(mixture.pbc, widths, np.inf)
    return np.asarray(heights, dtype=np.float64)


def check_exact_composition(group: Group) -> None:
    """Refuse a group whose sites cannot be filled with whole atoms at its composition.

    Raises:
        InputError: naming the component at fault.
    """
    n = len(group.sites)
    for label, weight in zip(group.components, group.composition.tolist(), strict=True):
        if abs(n * weight - round(n * weight)) > INTEGER_TOLERANCE * n:
            raise InputError(
                f"{n} sites of group {group.name!r} cannot hold {weight:g} {label} exactly "
                f"({n * weight:g} atoms): take a larger supercell or another composition"
            )
