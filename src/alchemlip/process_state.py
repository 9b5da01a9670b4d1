"""Leaving the process as it was: other packages change what is everybody's.

Building a network draws random numbers, importing adds filters of warnings and environment
variables, icet seeds Python's generator.
"""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

# threadpoolctl's: OpenMP libraries that are loaded later look for it.
NEEDED_LATER = ("KMP_DUPLICATE_LIB_OK",)


@contextmanager
def leaving_no_trace() -> Iterator[None]:
    """Undo what the block changes in the process.

    Put back are the states of the global random generators (Python, NumPy, torch on the CPU) and
    torch's default dtype; filters of warnings and environment variables that were added are gone.
    """
    drawn = random.getstate(), np.random.get_state()
    filters, environment = list(warnings.filters), dict(os.environ)
    torch = sys.modules.get("torch")
    if torch is not None:
        generator, dtype = torch.get_rng_state(), torch.get_default_dtype()
    try:
        yield
    finally:
        random.setstate(drawn[0])
        np.random.set_state(drawn[1])
        if torch is not None:
            torch.set_rng_state(generator)
            torch.set_default_dtype(dtype)
        _drop_filters(filters)
        for name in set(os.environ) - set(environment) - set(NEEDED_LATER):
            del os.environ[name]
        os.environ.update(
            {name: value for name, value in environment.items() if os.environ.get(name) != value}
        )


def import_spglib() -> Any:
    """Return the module spglib, whose import adds a filter of warnings."""
    with leaving_no_trace():
        import spglib
    return spglib


def _drop_filters(before: Sequence[object]) -> None:
    """Take out filters that were added; others may have been taken out meanwhile."""
    added = [item for item in warnings.filters if item not in before]
    if not added:
        return
    kept = [item for item in warnings.filters if item in before]
    warnings.filters[:] = kept  # type: ignore[index]
    warnings._filters_mutated()  # type: ignore[attr-defined]
