"""Backends: where occupancies enter one kind of model. Nothing else knows a model's name.

To add a potential, write a module with a class that satisfies `Backend` and a function that makes
it, and name it in `registry.py`. The test suite runs over every entry.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from alchemlip.potential.backend import Backend, ModelCard

__all__ = ["Backend", "ModelCard", "file_checksum"]


def file_checksum(file: Path) -> str:
    """Return the SHA-256 checksum of a file."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
