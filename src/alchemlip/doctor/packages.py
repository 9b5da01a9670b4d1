"""Packages that alchemlip and its extras ask for: which are here, and how to get the others."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

DEVELOPMENT = ("docs", "test")
APART = {"mace": "sevennet", "sevennet": "mace"}
"""Extras that need different versions of e3nn."""


@dataclass(frozen=True)
class PackageState:
    """A package that is asked for.

    Attributes:
        name: of the package.
        wanted: versions asked for; empty for any.
        extra: that asks for it; empty for alchemlip itself.
        version: that is here; None if there is none.
        remedy: how to get it if it is missing or has another version, else empty.
    """

    name: str
    wanted: str
    extra: str
    version: str | None
    remedy: str

    @property
    def fits(self) -> bool:
        """Whether a version that is asked for is here."""
        return not self.remedy


def package_states(requirements: Iterable[str] | None = None) -> list[PackageState]:
    """Return every package that alchemlip and its extras for users ask for.

    Args:
        requirements: as of a package's metadata; alchemlip's own if None.
    """
    lines = requires("alchemlip") or [] if requirements is None else requirements
    asked = []
    for line in lines:
        wanted = Requirement(line)
        extra = _extra(wanted)
        if extra in DEVELOPMENT:
            continue
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": extra}):
            continue  # of another Python
        asked.append((wanted, extra))
    here = {extra for wanted, extra in asked if extra and _version(wanted.name) is not None}
    return [_state(wanted, extra, here) for wanted, extra in asked]


def _extra(wanted: Requirement) -> str:
    found = re.search(r"extra == [\"']([^\"']+)", str(wanted.marker or ""))
    return found[1] if found else ""


def _state(wanted: Requirement, extra: str, here: set[str]) -> PackageState:
    found = _version(wanted.name)
    fits = found is not None and wanted.specifier.contains(found, prereleases=True)
    remedy = ""
    if not fits:
        remedy = f"pip install 'alchemlip[{extra}]'" if extra else f"pip install '{_plain(wanted)}'"
        if APART.get(extra) in here:
            remedy += ", in an environment of its own: sevenn and mace-torch need different e3nn"
    return PackageState(wanted.name, str(wanted.specifier), extra, found, remedy)


def _plain(wanted: Requirement) -> str:
    return f"{wanted.name}{wanted.specifier}"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
