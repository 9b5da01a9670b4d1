"""Structure files to mixtures, and back."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from alchemlip.errors import InputError
from alchemlip.mixture import Mixture
from alchemlip.process_state import leaving_no_trace
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


@leaving_no_trace()
def read_structure(path: str | Path, *, normalise: bool = False) -> Mixture:
    """Read a structure file; partial occupancies in it become groups.

    Args:
        path: a CIF (its first structure), a JSON file of `write_structure` or of a pymatgen
            ``Structure``, or any file that ASE reads (POSCAR, extended XYZ, ...).
        normalise: divide the occupancies of a site by their sum; otherwise what is missing to 1 is
            a vacancy.

    Raises:
        InputError: if the file cannot be read or holds no atoms.
    """
    from ase import Atoms

    path = Path(path)
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name a structure file in it")
    if not path.is_file():
        raise InputError(f"there is no structure file {str(path)!r}: check the path")
    parsed: Any = None
    notes: list[warnings.WarningMessage] = []
    try:
        # The parsers' warnings speak of their own internals.
        with warnings.catch_warnings(record=True) as notes:
            warnings.simplefilter("always")
            parsed = _parsed(path, normalise)
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
    if isinstance(parsed, Mixture):
        return parsed
    if not isinstance(parsed, Atoms):
        return mixture_from_structure(parsed, normalise=normalise)
    if not len(parsed):
        raise InputError(f"the structure file {str(path)!r} holds no atoms: give another file")
    if parsed.constraints:
        warnings.warn(
            f"the constraints in {str(path)!r} are not kept: every site may move", stacklevel=2
        )
    return mixture_from_atoms(parsed)


def _parsed(path: Path, normalise: bool) -> Any:
    """Return a `Mixture`, pymatgen structure or ASE atoms, as the file's format gives them."""
    if path.suffix.lower() == ".json":
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, dict) and "groups" in data:
            return Mixture.from_dict(data)
        if isinstance(data, dict) and data.get("@class") in ("Structure", "Molecule"):
            from pymatgen import core

            return getattr(core, data["@class"]).from_dict(data)
    if path.suffix.lower() == ".cif" and _has_partial_occupancy(path):
        from pymatgen.io.cif import CifParser

        tolerance = 1e6 if normalise else 1.0 + SUM_TOLERANCE
        parser = CifParser(path, occupancy_tolerance=tolerance)
        return parser.parse_structures(primitive=False)[0]
    from ase.io import read

    # Of several structures in a CIF the first counts, of a trajectory the last.
    return read(path, index=0 if path.suffix.lower() == ".cif" else -1)


@leaving_no_trace()
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


def write_exact_and_cif(mixture: Mixture, folder: Path, stem: str) -> None:
    """Write ``stem.json`` (exact), and ``stem.cif`` where a CIF can hold the mixture."""
    write_structure(mixture, folder / f"{stem}.json")
    if can_be_cif(mixture):
        write_structure(mixture, folder / f"{stem}.cif")


def write_point_cifs(mixtures: Sequence[Mixture], group: str, folder: Path) -> None:
    """Write one CIF for each composition of a group, such as ``structures/03-Ce0.7Zr0.3.cif``.

    Compositions that no CIF can hold are left out; the exact mixtures stand in ``points.jsonl``.

    Args:
        mixtures: in the order of the points.
        group: whose composition names the files.
        folder: of the results.
    """
    digits = len(str(max(len(mixtures) - 1, 0)))
    place = folder / "structures"
    for index, mixture in enumerate(mixtures):
        if can_be_cif(mixture):
            place.mkdir(exist_ok=True)
            chosen = mixture.group(group)
            parts = zip(chosen.components, chosen.composition.tolist(), strict=True)
            name = "".join(f"{label}{weight:.4g}" for label, weight in parts if weight > 0)
            write_structure(mixture, place / f"{index:0{digits}d}-{file_stem(name)}.cif")


def file_stem(name: str) -> str:
    """Return a name of letters, digits, dots, plus and minus signs that any file system takes."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).strip("_")


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

    blocks = list(parse_cif(str(path)))
    for block in blocks:
        symbols = block.get("_atom_site_type_symbol") or block.get("_atom_site_label") or []
        if any(re.match(rf"{VACANCY}\d*$", str(symbol)) for symbol in symbols):
            # pymatgen takes it for vanadium.
            raise InputError(
                f"the structure file {str(path)!r} lists vacancies ({VACANCY}) as if they were "
                "atoms: leave them out, a vacancy is what the occupancies of a site leave to 1"
            )
    values = [value for block in blocks for value in block.get("_atom_site_occupancy", [])]
    missing = [value for value in values if not isinstance(value, int | float)]
    if missing:
        # pymatgen drops such a site without a word.
        raise InputError(
            f"the structure file {str(path)!r} has {missing[0]!r} for an occupancy: write a number"
        )
    return any(value < 1.0 - SUM_TOLERANCE for value in values)
