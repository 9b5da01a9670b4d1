"""Lines of JSON that a calculation adds while it goes on, and how anybody reads them meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

from alchemlip.files import open_anew, parse_json, read_bytes

STEPS = "steps.jsonl"


class StepLog:
    """The steps of one relaxation, begun anew each time: a relaxation starts again from its start.

    Args:
        file: replaced.
    """

    def __init__(self, file: Path) -> None:
        self._stream = os.fdopen(open_anew(file), "w", encoding="utf-8")
        self._start = perf_counter()

    def add(self, values: Mapping[str, Any]) -> None:
        """Add a line, with the ``seconds`` since the start; readers see it at once."""
        line = {**values, "seconds": round(perf_counter() - self._start, 3)}
        self._stream.write(json.dumps(line) + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Close the file; `contextlib.closing` does so at the end of a block."""
        self._stream.close()


def read_lines(file: Path) -> list[dict[str, Any]]:
    """Return the whole lines of a file that may still grow; none if there is no file.

    A last line that is not finished, or that a crash cut off, is left out, and so is whatever is no
    JSON object.
    """
    try:
        content = read_bytes(file)
    except FileNotFoundError:
        return []
    lines = []
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            value = parse_json(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines
