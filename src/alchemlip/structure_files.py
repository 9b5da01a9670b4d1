"""Structure files to mixtures, and back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from alchemlip.errors import InputError
from alchemlip.mixture import Mixture
from alchemlip.results import write_atomically
from alchemlip.species import SUM_TOLERANCE, VACANCY
from alchemlip.structures import (
    atoms_from_mixture,
    mixture_from_atoms,
    mixture_from_structure,
    structure_from_mixture,
)

HOLDS_OCCUPANCIES = (".cif", ".json", ".extxyz")
"""Endings of files that say which species share a site."""


def read_structure(path: str | Path, *, normalise: bool = False) -> Mixture:
    """Read a structure file; partial occupancies in it become groups.

    Args:
        path: a CIF (its first structure), a JSON file that `write_structure` wrote, or any file
            that ASE reads (POSCAR, extended XYZ, ...).
        normalise: divide the occupancies of a site by their sum; otherwise what is missing to 1 is
            a vacancy.

    Raises:
        InputError: if the file cannot be read or holds no atoms.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name a structure file in it")
    if not path.is_file():
        raise InputError(f"there is no structure file {str(path)!r}: check the path")
    structure: Any = None
    atoms: Any = None
    notes: list[warnings.WarningMessage] = []
    try:
        # The parsers' warnings speak of their own internals.
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            if path.suffix.lower() == ".json":
                data = json.loads(path.read_text(encoding="utf-8"))
                if isinstance(data, dict) and "groups" in data:
                    return Mixture.from_dict(data)
            if path.suffix.lower() == ".cif" and _has_partial_occupancy(path):
                from pymatgen.io.cif import CifParser

                tolerance = 1e6 if normalise else 1.0 + SUM_TOLERANCE
                parser = CifParser(path, occupancy_tolerance=tolerance)
                structure = parser.parse_structures(primitive=False)[0]
            else:
                from ase.io import read

                # Of several structures in a CIF the first counts, of a trajectory the last.
                atoms = read(path, index=0 if path.suffix.lower() == ".cif" else -1)
    except InputError:
        raise
    except Exception as error:  # parsers raise anything at all on a damaged file
        above = [str(note.message) for note in notes if "sum to > 1" in str(note.message)]
        if above:
            values = above[0].partition("([")[2].partition("])")[0]
            raise InputError(
                f"the occupancies of a site in the structure file {str(path)!r} sum to more than 1 "
                f"({values}): correct the file, or ask for normalisation (--normalise)"
            ) from error
        raise InputError(
            f"cannot read the structure file {str(path)!r} ({_reason(error)}): give a CIF, POSCAR "
            "or any file that ASE reads"
        ) from error
    if structure is not None:
        return mixture_from_structure(structure, normalise=normalise)
    if not len(atoms):
        raise InputError(f"the structure file {str(path)!r} holds no atoms: give another file")
    if atoms.constraints:
        warnings.warn(
            f"the constraints in {str(path)!r} are not kept: every site may move", stacklevel=2
        )
    return mixture_from_atoms(atoms)


def write_structure(mixture: Mixture, path: str | Path) -> None:
    """Write a mixture: exactly as ``.json``, with partial occupancies as ``.cif`` or ``.extxyz``.

    A CIF keeps species and occupancies, but no group names or correlations. Other endings are
    ASE's formats and hold unmixed structures only.

    Raises:
        InputError: if the format cannot say what is mixed.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".json":
        write_atomically(path, (json.dumps(mixture.to_dict(), indent=1) + "\n").encode())
    elif ending == ".cif":
        from pymatgen.io.cif import CifWriter

        CifWriter(structure_from_mixture(mixture), significant_figures=12).write_file(path)
    elif mixture.groups and ending not in HOLDS_OCCUPANCIES:
        raise InputError(
            f"a file {path.name!r} cannot hold partial occupancies: choose one of "
            f"{', '.join(HOLDS_OCCUPANCIES)}"
        )
    else:
        atoms_from_mixture(mixture).write(path)


def _reason(error: Exception) -> str:
    text = (str(error).strip().splitlines() or [""])[0]
    if isinstance(error, KeyError):
        return f"it names {text}, which is unknown"
    return text or f"it is damaged: {type(error).__name__}"


def can_be_cif(mixture: Mixture) -> bool:
    """Whether a mixture fits into a CIF: three cell vectors, and no site wholly vacant."""
    occupied = all(
        any(p > 0 for symbol, p in occupancy.items() if symbol != VACANCY)
        for occupancy in mixture.occupancies()
    )
    return occupied and abs(float(np.linalg.det(mixture.cell))) > 1e-9


def _has_partial_occupancy(path: Path) -> bool:
    from ase.io.cif import parse_cif

    values = [
        value for block in parse_cif(str(path)) for value in block.get("_atom_site_occupancy", [])
    ]
    missing = [value for value in values if not isinstance(value, int | float)]
    if missing:
        # pymatgen drops such a site without a word.
        raise InputError(
            f"the structure file {str(path)!r} has {missing[0]!r} for an occupancy: write a number"
        )
    return any(value < 1.0 - SUM_TOLERANCE for value in values)
