"""The YAML file of ``--settings``: a command's options by name."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path
from typing import Any

import typer

from alchemlip.yaml_files import MarkedYaml, read_yaml

NOT_IN_FILES = ("settings", "help")


def load_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Make the values of a YAML file the defaults of this command's options.

    The options get their texts as if they stood on the command line.

    Raises:
        InputError: with line and column of what is no option of the command or no value.
    """
    if file is None:
        return None
    source = read_yaml(file, "points: 11")
    names = {parameter.name: parameter for parameter in context.command.params}
    known = sorted(str(n) for n in names if n is not None and n not in NOT_IN_FILES)
    defaults: dict[str, Any] = {}
    for key in source.content:
        name = key.replace("-", "_")
        if name not in known:
            close = get_close_matches(name, known, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise source.error(
                (key,),
                f"unknown entry {key!r}{meant}: the options of this command are {', '.join(known)}",
            )
        if name in defaults:
            raise source.error((key,), f"{name!r} is given twice: write it once")
        defaults[name] = _texts(source, key, many=getattr(names[name], "multiple", False))
    context.default_map = {**(context.default_map or {}), **defaults}
    return file


def _texts(source: MarkedYaml, key: str, *, many: bool) -> Any:
    """Return an entry as texts: one, or a list where the option may be repeated."""
    found = source.as_written((key,))
    for number, item in enumerate(found if isinstance(found, list) else [found]):
        place = (key, number) if isinstance(found, list) else (key,)
        if item is None:
            raise source.error(place, f"{key!r} has no value: write one, or leave the line out")
        if not isinstance(item, str):
            raise source.error(place, f"{key!r} holds a list or mapping: write one value")
    if isinstance(found, list) and not many:
        raise source.error((key,), f"{key!r} takes one value, not a list: write one")
    return [found] if many and not isinstance(found, list) else found
