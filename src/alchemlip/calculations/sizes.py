"""Whether a run fits into memory, before its potential is loaded."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from alchemlip.errors import Notice

if TYPE_CHECKING:
    from alchemlip.backends.memory import Derivatives
    from alchemlip.mixture.mixture import Mixture


def refuse_too_large(
    mixture: Mixture,
    models: Sequence[str],
    device: str,
    dtype: str,
    repeats: Sequence[int] = (1, 1, 1),
    derivatives: Derivatives = "first",
) -> None:
    """Refuse a cell that no memory here holds; tell what a large one takes.

    Args:
        mixture: the cell.
        models: names of the potentials, of which one is evaluated at a time.
        device, dtype: as on the command line.
        repeats: of the cell in the largest evaluation.
        derivatives: of the energy, once or twice.

    Raises:
        InputError: with the sizes.
    """
    from alchemlip.backends.memory import check_memory, size_of

    sizes = [
        size_of(mixture, model, dtype, repeats=repeats, derivatives=derivatives, device=device)
        for model in models
    ]
    known = [size for size in sizes if size is not None]
    if known:
        told = check_memory(max(known, key=lambda size: size.bytes), dtype)
        if told:
            warnings.warn(told, Notice, stacklevel=3)
