"""Settings and campaign files: plain YAML in one pass, with the place of every entry.

Plain means mappings, lists and scalars. Anchors, aliases, tags and directives are refused, and so
is whatever is given twice, so that a file says what a person reads in it. Scalars without quotes
are read by the core schema of YAML 1.2, in which ``1e-3`` is a number, and ``no``, ``on``,
``2026-01-01`` and ``12:30:00`` are texts; hexadecimal and octal numbers are texts here, too.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from alchemlip.errors import InputError
from alchemlip.files import read_bytes

Place = tuple[str | int, ...]
"""Keys and indices that lead to an entry."""

MOST_BYTES = 2**20
MOST_ENTRIES = 100_000
DEEPEST = 20
"""Levels of nesting; ours have five."""

WORDS: Mapping[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
}
WHOLE = re.compile(r"[-+]?[0-9]{1,300}")
NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

TRUST = re.compile(r"[-_\s]*trust([-_\s]*files?)?[-_\s]*", re.IGNORECASE)
UNTRUSTED = (
    "{!r} is not taken from a file, since whoever wrote the file could then run code here: leave "
    "it out, and give --trust-file on the command line"
)


@dataclass(frozen=True)
class MarkedYaml:
    """The content of a YAML file, and where its entries stand.

    Attributes:
        file: it was read from.
        content: the outermost mapping; its keys are texts as written.
        places: line and column of every entry, counted from 1.
        written: text of every scalar, quotes taken off.
    """

    file: Path
    content: dict[str, Any]
    places: Mapping[Place, tuple[int, int]]
    written: Mapping[Place, str]

    def error(self, place: Place, words: str) -> InputError:
        """Return an error that says where the fault is.

        Args:
            place: of the entry; the nearest one above it counts if it is not in the file.
            words: what is wrong and what to do.
        """
        while place and place not in self.places:
            place = place[:-1]
        return _error(self.file, self.places.get(place, (1, 1)), words)

    def as_written(self, place: Place) -> Any:
        """Return the text of a scalar, None where there is no value, and lists of those."""
        value: Any = self.content
        for step in place:
            value = value[step]
        if isinstance(value, list):
            return [self.as_written((*place, number)) for number in range(len(value))]
        return value if value is None or isinstance(value, dict) else self.written[place]


def choose(wrong: str, allowed: Iterable[str]) -> str:
    """Return words that name the allowed values, the likeliest one first."""
    names = list(allowed)
    close = difflib.get_close_matches(wrong, names, n=1)
    return f"choose one of {', '.join(close + [name for name in names if name not in close])}"


def read_yaml(file: Path, example: str = "seed: 1") -> MarkedYaml:
    """Read a YAML file that holds one mapping.

    Args:
        file: at most 1 MiB.
        example: a line of such a file.

    Raises:
        InputError: with line and column, if the file is no plain YAML, names a key twice, is no
            mapping, or grants trust.
    """
    lines = f"write lines such as {example!r}"
    try:
        content = read_bytes(file, MOST_BYTES)
    except OSError as error:
        raise InputError(f"cannot read {str(file)!r} ({error.strerror}): check the path") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{str(file)!r} is no text in UTF-8: write it as such") from error
    reading = _Reading(file, lines)
    try:
        found = reading.document(yaml.parse(text, Loader=yaml.SafeLoader))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        at = (before.count("\n") + 1, len(before) - before.rfind("\n"))
        words = f"the sign #x{error.character:02x} belongs into no text: take it out"
        raise _error(file, at, words) from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
        problem = error.problem or error.context
        raise _error(file, at, f"this is no valid YAML ({problem}): {lines}") from error
    if not isinstance(found, dict):
        raise _error(file, (1, 1), lines)
    return MarkedYaml(file, found, reading.places, reading.written)


def _error(file: Path, at: tuple[int, int], words: str) -> InputError:
    return InputError(f"{str(file)!r}, line {at[0]}, column {at[1]}: {words}")


@dataclass
class _Reading:
    """One pass over the events of a file."""

    file: Path
    lines: str
    places: dict[Place, tuple[int, int]] = field(default_factory=dict)
    written: dict[Place, str] = field(default_factory=dict)
    entries: int = 0

    def document(self, events: Iterator[yaml.Event]) -> Any:
        """Return the content of the one document."""
        found: Any = None
        documents = 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise self.error(event, "a second document begins here: write one")
                if event.version or event.tags:
                    raise self.error(event, "directives (%) are not read: leave them out")
                found = self.value(next(events), events, ())
        return found

    def value(self, event: yaml.Event, events: Iterator[yaml.Event], place: Place) -> Any:
        """Return the value that begins with an event."""
        self.check(event, place)
        if isinstance(event, yaml.ScalarEvent):
            self.written[place] = event.value
            return event.value if event.style else plain(event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            items: list[Any] = []
            while not isinstance(item := next(events), yaml.SequenceEndEvent):
                here = (*place, len(items))
                self.places[here] = _at(item)
                items.append(self.value(item, events, here))
            return items
        mapping: dict[str, Any] = {}
        while not isinstance(key := next(events), yaml.MappingEndEvent):
            name = self.key(key, mapping, place)
            here = (*place, name)
            self.places[here] = _at(key)
            mapping[name] = self.value(next(events), events, here)
        return mapping

    def key(self, event: yaml.Event, mapping: Mapping[str, Any], place: Place) -> str:
        """Return the text of a key."""
        self.check(event, place)
        if not isinstance(event, yaml.ScalarEvent):
            raise self.error(event, f"a list or mapping stands where a name should: {self.lines}")
        name: str = event.value
        if name in mapping:
            raise self.error(event, f"{name!r} is given twice: write it once")
        if TRUST.fullmatch(name):
            raise self.error(event, UNTRUSTED.format(name))
        return name

    def check(self, event: yaml.Event, place: Place) -> None:
        """Refuse what is not plain, too deep or too much."""
        self.entries += 1
        if isinstance(event, yaml.AliasEvent):
            raise self.error(event, f"the alias *{event.anchor} is not read: write its content")
        anchor, tag = getattr(event, "anchor", None), getattr(event, "tag", None)
        if anchor is not None:
            raise self.error(event, f"the anchor &{anchor} is not read: leave it out")
        if tag is not None:
            raise self.error(event, f"the tag {tag!r} is not read: write the plain value")
        if len(place) > DEEPEST:
            raise self.error(event, f"this is nested deeper than {DEEPEST} levels: {self.lines}")
        if self.entries > MOST_ENTRIES:
            raise self.error(event, f"there are more than {MOST_ENTRIES} entries: divide the file")
        if "\0" in getattr(event, "value", ""):
            raise self.error(event, "a text holds the sign \\0: take it out")

    def error(self, event: yaml.Event, words: str) -> InputError:
        """Return an error at an event."""
        return _error(self.file, _at(event), words)


def _at(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    return (1, 1) if mark is None else (mark.line + 1, mark.column + 1)


def plain(text: str) -> Any:
    """Return what a scalar without quotes stands for, by the core schema of YAML 1.2.

    A number that no float can hold stays a text.
    """
    if text in WORDS:
        return WORDS[text]
    if WHOLE.fullmatch(text):
        return int(text)
    if NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return text
