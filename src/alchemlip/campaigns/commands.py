"""The calculations that campaigns run, and how checked values become one of them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from alchemlip.backends.names import is_known
from alchemlip.calculations import REGISTERED, calculation
from alchemlip.calculations.fields import SettingsField
from alchemlip.calculations.parts import OfStructure

SET_BY_CAMPAIGN = ("out", "resume", "settings", "help", "trust_file")
"""Options that a campaign gives to its runs itself."""


@cache
def calculations() -> Mapping[str, Mapping[str, SettingsField]]:
    """Return the calculations that start from a structure, and the settings that files may give."""
    found = {command: calculation(command) for command in REGISTERED}
    return {
        command: {
            name: field
            for name, field in item.fields().items()
            if name not in SET_BY_CAMPAIGN and not field.option.trusts
        }
        for command, item in found.items()
        if issubclass(item, OfStructure)
    }


def settings_of(
    command: str, options: Mapping[str, Any], base: Path, *, trust_file: bool = False
) -> dict[str, Any]:
    """Return the settings of a run's calculation, paths absolute.

    Args:
        command: its name.
        options: checked values by name.
        base: folder that relative paths start from.
        trust_file: let local checkpoints run code.
    """
    known = calculations()[command]  # all have --trust-file, as they have a potential
    settings = {name: _resolved(known[name], value, base) for name, value in options.items()}
    return settings | ({"trust_file": True} if trust_file else {})


def input_files(command: str, options: Mapping[str, Any], base: Path) -> dict[str, Path]:
    """Return the files and folders that options name, by what they are called there."""
    known = calculations()[command]
    found = {}
    for name, value in options.items():
        for item in value if isinstance(value, list) else [value]:
            file = item if known[name].kind is Path else _checkpoint(known[name], item, base)
            if file is not None:
                found[file] = base / file
    return found


def plain(value: Any) -> Any:
    """Return a checked value as JSON has it."""
    if isinstance(value, list):
        return [plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def _resolved(field: SettingsField, value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_resolved(field, item, base) for item in value]
    if field.kind is Path or _checkpoint(field, value, base) is not None:
        return str((base / value).absolute())
    return value


def _checkpoint(field: SettingsField, value: Any, base: Path) -> str | None:
    """Return the file that a text names as a local potential; None if it names none.

    A released potential comes first, whatever files lie beside: ``./NAME`` names such a file.
    """
    if field.option.completes != "model" or is_known(value):
        return None
    if (base / value).is_file():
        return str(value)
    file, _, variant = value.rpartition("@")
    return file if variant and file and (base / file).is_file() else None
