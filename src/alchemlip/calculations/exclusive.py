"""``--exclusive``: sites of which at most one is filled."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import combinations

from alchemlip.errors import InputError, Notice
from alchemlip.mixture.mixture import Mixture

AUTO, NONE = "auto", "none"


def with_exclusive_by_options(mixture: Mixture, texts: Sequence[str]) -> Mixture:
    """Return a mixture with the exclusive pairs that options name, and say which they are.

    Args:
        mixture: with the pairs that its file names; they stay unless told otherwise.
        texts: each ``auto``, ``none`` or site indices such as ``4,7``.

    Raises:
        InputError: if one cannot be read, or no arrangement obeys.
    """
    from alchemlip.calculations.texts import parse_sites
    from alchemlip.mixture.split_sites import (
        PairLike,
        describe_pairs,
        exclusive_pairs,
        mixture_pairs,
    )

    if not texts:
        return mixture
    if NONE in texts and len(texts) > 1:
        raise InputError("--exclusive none leaves no pairs: give it alone, or leave it out")
    pairs: list[PairLike] = [] if NONE in texts else [*mixture_pairs(mixture)]
    for text in texts:
        if text == AUTO:
            pairs += exclusive_pairs(mixture)
        elif text != NONE:
            sites = parse_sites(text)
            if len(sites) < 2:
                raise InputError(
                    f"--exclusive {text!r} names one site: name two or more, such as 4,7, of which "
                    "at most one is filled"
                )
            pairs += combinations(sites, 2)
    mixture = mixture.with_exclusive(pairs)
    for line in describe_pairs(mixture):
        warnings.warn(f"At most one is filled: {line}", Notice, stacklevel=3)
    if AUTO in texts and not len(mixture.exclusive):
        words = "No sites that can be empty are too close for two atoms."
        warnings.warn(words, Notice, stacklevel=3)
    return mixture
