"""Formats of ``result.json``, and the way up from older ones.

1: of alchemlip 0.1; it has no number.
2: `format` is noted; the words of the command begin with ``alchemlip`` and say what the settings
   were, in whatever way the run was started; `inputs` note formulas that have changed.

A record is brought up to date as it is read; its file stays as it is unless its run goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from alchemlip.errors import InputError

Record = dict[str, Any]

RESULT_FORMAT = 2


def from_1_to_2(record: Mapping[str, Any]) -> Record:
    """Return a record of 0.1 in format 2: the program is called by its name, not by its path."""
    found = {**record, "format": 2}
    for place in (found, *(found.get("continued") or ())):
        words = place.get("command_line")
        if isinstance(words, list) and words:
            place["command_line"] = ["alchemlip", *words[1:]]
    return found


STEPS: Mapping[int, Callable[[Mapping[str, Any]], Record]] = {1: from_1_to_2}
"""By the format that each begins from."""


def upgraded(record: Mapping[str, Any], file: Path) -> Record:
    """Return a record in the newest format.

    Args:
        record: as it was read.
        file: it was read from.

    Raises:
        InputError: if a newer alchemlip wrote it, or its format is no number.
    """
    found = dict(record)
    number = found.get("format", 1)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise InputError(f"{str(file)!r} is damaged: its format is {number!r}, which is none")
    if number > RESULT_FORMAT:
        raise InputError(
            f"{str(file)!r} was written by a newer alchemlip (format {number}, this one reads up "
            f"to {RESULT_FORMAT}): update alchemlip, or name another folder"
        )
    while number < RESULT_FORMAT:
        found = STEPS[number](found)
        number += 1
    return found
