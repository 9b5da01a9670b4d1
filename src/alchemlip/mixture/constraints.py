"""Atoms that do not move: ASE's constraints on the way into a mixture and out of it.

``FixAtoms`` is kept as `Mixture.fixed`: relaxations leave these sites where they are, and where the
cell relaxes they follow it, their fractional coordinates fixed, as with ASE's cell filters. What
other constraints ask for is not done, so their names are kept and everything that relaxes refuses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.mixture.mixture import Mixture


def constraints_of(atoms: Atoms) -> dict[str, Any]:
    """Return the fields ``fixed`` (N,) and ``other_constraints`` of a mixture of these atoms."""
    from ase.constraints import FixAtoms, FixCartesian, FixCom

    fixed = np.zeros(len(atoms), dtype=bool)
    others: list[str] = []
    for constraint in atoms.constraints:
        whole = isinstance(constraint, FixCartesian) and bool(np.all(constraint.mask))
        if isinstance(constraint, FixAtoms) or whole:
            fixed[constraint.index] = True
        elif not isinstance(constraint, FixCom):  # the energy does not know where the crystal is
            others.append(type(constraint).__name__)
    return {"fixed": fixed, "other_constraints": tuple(dict.fromkeys(others))}


def constraints_of_structure(structure: Any) -> dict[str, Any]:
    """Return the same for a pymatgen ``Structure``, from ``selective_dynamics`` of its sites."""
    may_move = [site.properties.get("selective_dynamics") for site in structure]
    moves = np.array([[True] * 3 if item is None else np.asarray(item) for item in may_move])
    fixed = np.logical_not(moves.any(axis=1))
    partly = (moves.any(axis=1) & ~moves.all(axis=1)).any()
    return {"fixed": fixed, "other_constraints": ("selective dynamics of axes",) if partly else ()}


def refuse_other_constraints(mixture: Mixture) -> None:
    """Refuse constraints that a relaxation does not honour.

    Raises:
        InputError: naming the first.
    """
    if mixture.other_constraints:
        raise InputError(
            f"the structure has a constraint ({mixture.other_constraints[0]}) that relaxations do "
            "not honour, only FixAtoms: remove it, or relax with ASE's own optimiser and the "
            "AlchemicalCalculator"
        )


def refuse_constraints(mixture: Mixture, what: str) -> None:
    """Refuse fixed atoms and other constraints where all atoms count.

    Args:
        mixture: the structure.
        what: that moves all atoms, such as "local relaxation".

    Raises:
        InputError: naming a fixed site.
    """
    refuse_other_constraints(mixture)
    if mixture.fixed.any():
        raise InputError(
            f"site {int(np.flatnonzero(mixture.fixed)[0])} is fixed (FixAtoms), but {what} moves "
            "all atoms: give the structure without constraints"
        )
