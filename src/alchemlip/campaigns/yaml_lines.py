"""YAML with the line of every entry, for sentences that say where a fault is."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from alchemlip.errors import InputError

Place = tuple[str | int, ...]
"""Keys and indices that lead to an entry."""


@dataclass(frozen=True)
class MarkedYaml:
    """The content of a YAML file, and where its entries stand.

    Attributes:
        file: it was read from.
        content: the outermost mapping.
        lines: line of every entry, counted from 1.
    """

    file: Path
    content: dict[str, Any]
    lines: Mapping[Place, int]

    def error(self, place: Place, words: str) -> InputError:
        """Return an error that says where the fault is.

        Args:
            place: of the entry; the nearest one above it counts if it is not in the file.
            words: what is wrong and what to do.
        """
        while place and place not in self.lines:
            place = place[:-1]
        return InputError(f"{str(self.file)!r}, line {self.lines.get(place, 1)}: {words}")


def choose(wrong: str, allowed: Iterable[str]) -> str:
    """Return words that name the allowed values, the likeliest one first."""
    names = list(allowed)
    close = difflib.get_close_matches(wrong, names, n=1)
    return f"choose one of {', '.join(close + [name for name in names if name not in close])}"


def read_yaml(file: Path) -> MarkedYaml:
    """Read a YAML file that holds one mapping.

    Raises:
        InputError: with the line, if the file is no valid YAML, names a key twice or is no mapping.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot read {str(file)!r} ({error.strerror}): check the path") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{str(file)!r} is no text in UTF-8: write it as such") from error
    lines: dict[Place, int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _mark(file, node, (), lines, ())
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f", line {mark.line + 1}"
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(
            f"{str(file)!r}{line}: this is no valid YAML ({problem}): write lines such as 'seed: 1'"
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{str(file)!r}, line 1: write lines such as 'command: relax'")
    return MarkedYaml(file, content, lines)


def _mark(
    file: Path, node: yaml.Node, place: Place, lines: dict[Place, int], above: tuple[yaml.Node, ...]
) -> None:
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if any(node is other for other in above):
        raise InputError(f"{str(file)!r}, line {line}: an alias holds itself: write its content")
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _mark(file, item, (*place, index), lines, (*above, node))
    elif isinstance(node, yaml.MappingNode):
        keys = set()
        for key, value in node.value:
            name = str(key.value)
            if name in keys:
                raise InputError(
                    f"{str(file)!r}, line {key.start_mark.line + 1}: {name!r} is given twice: "
                    "write it once"
                )
            keys.add(name)
            lines[(*place, name)] = key.start_mark.line + 1
            _mark(file, value, (*place, name), lines, (*above, node))
