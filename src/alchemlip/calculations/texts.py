"""Texts of settings: site indices, repeats, ``LEFT=RIGHT``."""

from __future__ import annotations

from alchemlip.errors import InputError


def parse_sites(text: str) -> list[int]:
    """Read site indices such as ``0,2-5``.

    Raises:
        InputError: if the text is anything else.
    """
    sites: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"cannot read the site indices {text!r}: write for example 0,2-5")
        if dash and int(last) < int(first):
            raise InputError(
                f"the range {part.strip()!r} of site indices runs backwards: write the smaller "
                "index first"
            )
        sites += range(int(first), int(last if dash else first) + 1)
    return sites


def parse_repeats(text: str, option: str) -> tuple[int, int, int]:
    """Read repeats of a supercell such as ``2,2,1`` or ``2x2x1``.

    Raises:
        InputError: naming the option, if the text is anything else.
    """
    parts = text.replace("x", ",").split(",")
    few = len(parts) == 3 and all(part.strip().isdecimal() and len(part) < 5 for part in parts)
    if not few or not all(0 < int(part) <= 1000 for part in parts):
        raise InputError(f"cannot read {option} {text!r}: write three repeats such as 2,2,1")
    a, b, c = (int(part) for part in parts)
    return a, b, c


def split_text(text: str, option: str, example: str) -> tuple[str, str]:
    """Return both sides of ``LEFT=RIGHT``.

    Raises:
        InputError: with an example, if the text is anything else.
    """
    left, equals, right = text.partition("=")
    if not equals or not left.strip() or not right.strip():
        raise InputError(f"cannot read {option} {text!r}: write for example {option} {example}")
    return left.strip(), right.strip()
