"""The example structures, for tests; crystals of the checks are in `alchemlip.testing`."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.io import read

STRUCTURES = Path(__file__).parent.parent / "examples" / "structures"


def example(name: str) -> Atoms:
    """Return one of the example structures."""
    return read(STRUCTURES / f"{name}.cif")
