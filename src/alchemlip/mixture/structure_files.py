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
from alchemlip.files import parse_json, read_bytes, replacing, write_atomically
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY
from alchemlip.mixture.structures import (
    atoms_from_mixture,
)
from alchemlip.process_state import leaving_no_trace

HOLDS_OCCUPANCIES = (".cif", ".json", ".extxyz")
"""Endings of files that say which species share a site."""
CIF_ENDINGS = (".cif", ".mcif", ".cif.gz", ".mcif.gz")


@leaving_no_trace()
def read_structure(
    path: str | Path,
    *,
    normalise: bool = False,
    block: str | None = None,
    accept_composition: bool = False,
) -> Mixture:
    """Read a structure file; partial occupancies in it become groups.

    What is to be checked in it, such as a composition that is not the formula's, is a warning.

    Args:
        path: a CIF, a JSON file of `write_structure` or of a pymatgen ``Structure``, or any file
            that ASE reads (POSCAR, extended XYZ, ...).
        normalise: divide the occupancies of a site by their sum where it is above 1, or 1 but for
            rounding; what is missing to 1 elsewhere is a vacancy.
        block: of a CIF with several; the first with atoms where left out.
        accept_composition: read a CIF although no site holds an element of its formula.

    Raises:
        InputError: if the file cannot be read right, or holds no atoms.
    """
    mixture, notes = read_with_notes(
        path, normalise=normalise, block=block, accept_composition=accept_composition
    )
    for note in notes:
        warnings.warn(note, stacklevel=2)
    return mixture


def read_with_notes(
    path: str | Path,
    *,
    normalise: bool = False,
    block: str | None = None,
    accept_composition: bool = False,
) -> tuple[Mixture, list[str]]:
    """Read a structure file, and return what is to be checked in it as sentences.

    The arguments are those of `read_structure`.

    Raises:
        InputError: if the file cannot be read right, or holds no atoms.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{str(path)!r} is a folder: name a structure file in it")
    if not path.is_file():
        raise InputError(f"there is no structure file {str(path)!r}: check the path")
    if path.name.lower().endswith(CIF_ENDINGS):
        from alchemlip.mixture.cif.reading import read_cif

        return read_cif(
            path, block=block, normalise=normalise, accept_composition=accept_composition
        )
    if block is not None:
        raise InputError(
            f"{str(path)!r} is no CIF, so it has no block {block!r}: leave out --block"
        )
    return _read_other(path, normalise)


def _read_other(path: Path, normalise: bool) -> tuple[Mixture, list[str]]:
    """Read a file that is no CIF."""
    from ase import Atoms

    parsed: Any = None
    try:
        with warnings.catch_warnings():
            # The parsers' warnings speak of their own internals.
            warnings.simplefilter("ignore")
            parsed = _parsed(path)
    except InputError:
        raise
    except Exception as error:  # parsers raise anything at all on a damaged file
        raise InputError(
            f"cannot read the structure file {str(path)!r} ({_reason(error)}): give a CIF, POSCAR "
            "or any file that ASE reads"
        ) from error
    if isinstance(parsed, Mixture):
        return parsed, []
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        if not isinstance(parsed, Atoms):
            mixture = Mixture.from_structure(parsed, normalise=normalise)
        elif not len(parsed):
            raise InputError(f"the structure file {str(path)!r} holds no atoms: give another file")
        else:
            mixture = Mixture.from_atoms(parsed)
    notes = [str(warning.message) for warning in told]
    return mixture, notes


def _parsed(path: Path) -> Any:
    """Return a `Mixture`, pymatgen structure or ASE atoms, as the file's format gives them."""
    if path.suffix.lower() == ".json":
        data = parse_json(read_bytes(path))
        if isinstance(data, dict) and "groups" in data:
            return Mixture.from_dict(data)
        if isinstance(data, dict) and data.get("@class") in ("Structure", "Molecule"):
            from pymatgen import core

            return getattr(core, data["@class"]).from_dict(data)
    from ase.io import read

    return read(path, index=-1)  # the last of a trajectory


@leaving_no_trace()
def write_structure(mixture: Mixture, path: str | Path) -> None:
    """Write a mixture: exactly as ``.json``, with partial occupancies as ``.cif`` or ``.extxyz``.

    A CIF keeps species and occupancies, but no group names, correlations or fixed sites. Other
    endings are ASE's formats and hold unmixed structures only.

    Raises:
        InputError: if the format cannot say what is mixed.
    """
    path = Path(path)
    ending = path.suffix.lower()
    if ending == ".json":
        write_atomically(path, (json.dumps(mixture.to_dict(), indent=1) + "\n").encode())
    elif ending == ".cif":
        from alchemlip.mixture.cif.writing import cif_text

        write_atomically(path, cif_text(mixture, path.stem).encode())
    elif mixture.groups and ending not in HOLDS_OCCUPANCIES:
        raise InputError(
            f"a file {path.name!r} cannot hold partial occupancies: choose one of "
            f"{', '.join(HOLDS_OCCUPANCIES)}"
        )
    else:
        atoms = atoms_from_mixture(mixture)
        with replacing(path) as partial:
            atoms.write(partial)


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
