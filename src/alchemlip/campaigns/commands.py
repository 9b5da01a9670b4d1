"""The calculations of the command line, their options, and how values become arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from alchemlip.backends.names import is_known
from alchemlip.errors import InputError

SET_BY_CAMPAIGN = ("out", "resume", "settings", "help", "trust_file")
"""Options that a campaign gives to its runs itself."""

HINTS = {int: "a whole number", float: "a number", bool: "true or false"}

YES_NO = {"yes": True, "no": False, "on": True, "off": False}


@dataclass(frozen=True)
class CommandOption:
    """An option or argument of a command.

    Attributes:
        name: as in settings files.
        flag: as on the command line; empty for an argument.
        negation: the flag that says no, where there is one.
        kind: ``bool``, ``int``, ``float``, ``str`` or ``Path``.
        many: whether it may be repeated.
    """

    name: str
    flag: str
    negation: str
    kind: type
    many: bool

    def checked(self, value: Any) -> Any:
        """Return a value from a YAML file as a plain JSON value of the option's kind.

        Raises:
            InputError: if it is of another kind.
        """
        if self.many:
            return [self._one(item) for item in (value if isinstance(value, list) else [value])]
        return self._one(value)

    def _one(self, value: Any) -> Any:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if self.kind is bool and isinstance(value, bool):
            return value
        if self.kind is bool and str(value).lower() in YES_NO:
            return YES_NO[value.lower()]
        if self.kind is int and number and _is_finite(value) and value == int(value):
            return int(value)
        if self.kind is float and _is_finite(value):
            return float(value)
        if self.kind in (str, Path) and isinstance(value, str) and value:
            return value
        hint = HINTS.get(self.kind, "a text; put it in quotes")
        raise InputError(f"{self.name} cannot be {value!r}: give {hint}")

    def arguments(self, value: Any) -> list[str]:
        """Return a checked value as arguments of the command line."""
        if not self.flag:
            return [str(value)]
        if self.kind is bool:
            chosen = self.flag if value else self.negation
            return [chosen] if chosen else []
        values = value if self.many else [value]
        return [f"{self.flag}={item}" for item in values]


@cache
def calculations() -> Mapping[str, Mapping[str, CommandOption]]:
    """Return the commands that make a results folder from a structure, and their options."""
    from typer.main import get_command

    from alchemlip.cli import app

    parsed = get_command(app).commands  # type: ignore[attr-defined]
    found: dict[str, dict[str, CommandOption]] = {}
    for registered in app.registered_commands:
        assert registered.name is not None
        assert registered.callback is not None
        hints = get_type_hints(registered.callback, include_extras=True)
        parameters = {parameter.name: parameter for parameter in parsed[registered.name].params}
        if not {"structure", "out"} <= set(parameters):
            continue
        found[registered.name] = {
            name: CommandOption(
                name,
                "" if parameter.param_type_name == "argument" else _longest(parameter.opts),
                _longest(parameter.secondary_opts),
                *_kind(hints[name]),
            )
            for name, parameter in parameters.items()
            if name not in SET_BY_CAMPAIGN
        }
    return found


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except (OverflowError, TypeError, ValueError):
        return False


def _longest(flags: list[str]) -> str:
    return max(flags, key=len, default="")


def _kind(hint: Any) -> tuple[type, bool]:
    """Return the plain type behind an annotation, and whether there is a list of it."""
    if get_origin(hint) is Annotated:
        return _kind(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return _kind(next(part for part in get_args(hint) if part is not type(None)))
    if get_origin(hint) is list:
        return _kind(get_args(hint)[0])[0], True
    return hint, False


def run_arguments(
    command: str, options: Mapping[str, Any], out: Path, base: Path, trust: bool = False
) -> list[str]:
    """Return the command line of a run, without the program's name.

    Args:
        command: its name.
        options: checked values by name.
        out: results folder.
        base: folder that relative paths start from.
        trust: allow local checkpoints, as only the person at the command line can.
    """
    known = calculations()[command]
    arguments = [command, "--trust-file"] if trust else [command]
    for name, value in options.items():
        arguments += known[name].arguments(_resolved(known[name], value, base))
    return [*arguments, f"--out={out}"]


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


def _resolved(option: CommandOption, value: Any, base: Path) -> Any:
    if isinstance(value, list):
        return [_resolved(option, item, base) for item in value]
    if option.kind is Path or _checkpoint(option, value, base) is not None:
        return str((base / value).absolute())
    return value


def _checkpoint(option: CommandOption, value: Any, base: Path) -> str | None:
    """Return the file that a text names as a local potential; None if it names none.

    A released potential comes first, whatever files lie beside: ``./NAME`` names such a file.
    """
    if option.kind is not str or "model" not in option.name or is_known(value):
        return None
    if (base / value).is_file():
        return str(value)
    file, _, variant = value.rpartition("@")
    return file if variant and file and (base / file).is_file() else None
