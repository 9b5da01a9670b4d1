"""A warning where the ensembles of an estimate hardly overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SMALL_OVERLAP = 0.03
"""Overlap of neighbouring ensembles below which errors are too small (Klimovich, Shirts and Mobley,
J. Comput. Aided Mol. Des. 29, 397 (2015))."""


def overlap_warning(results: Mapping[str, Any]) -> str | None:
    """Return a sentence if the ends of a run hardly overlap, so that its error says too little."""
    overlap = results.get("overlap")
    if overlap is None or overlap >= SMALL_OVERLAP:
        return None
    if "couplings" in results:
        return (
            f"Neighbouring windows hardly overlap ({overlap:.1g}): the error is too small; take "
            "more --windows"
        )
    return (
        f"Forward and backward work hardly overlap ({overlap:.1g}): value and error rest on tails; "
        "switch more slowly (--switch)"
    )
