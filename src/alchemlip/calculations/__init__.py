"""Calculations: settings, run, result, cost; one file each.

from alchemlip.calculations import Scan
result = Scan(structure="CeO2.cif", mix=["Ce=Ce,Zr"]).run("folder")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemlip.calculations.base import Calculation

REGISTERED = {
    "energy": "Energy",
    "relax": "Relax",
    "scan": "Scan",
    "voltage": "Voltage",
    "disorder": "Disorder",
    "order": "Order",
    "design": "Design",
    "switch": "Switch",
    "transmute": "Transmute",
    "frenkel-ladd": "FrenkelLadd",
    "vacancy": "Vacancy",
    "concentration": "Concentration",
    "analyze": "Analyze",
}
"""Class of every calculation by its command, in the order of the help; the file is named alike."""

__all__ = ["REGISTERED", "calculation"]


def calculation(command: str) -> type[Calculation]:
    """Return the class of a calculation.

    Args:
        command: its name on the command line.

    Raises:
        KeyError: if there is none of that name.
    """
    module = import_module(f"alchemlip.calculations.{command.replace('-', '_')}")
    found: type[Calculation] = getattr(module, REGISTERED[command])
    return found


def __getattr__(name: str) -> Any:
    for command, known in REGISTERED.items():
        if known == name:
            return calculation(command)
    raise AttributeError(f"module 'alchemlip.calculations' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *REGISTERED.values()])
