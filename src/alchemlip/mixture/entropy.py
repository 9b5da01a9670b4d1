"""The entropy of ideal mixing."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray


def ideal_mixing_entropy(x: npt.ArrayLike, disordered_fraction: float = 1.0) -> FloatArray:
    """Return -c k_B sum_a x_a ln x_a (...,) in eV/K per lattice site.

    Args:
        x: (..., K) compositions.
        disordered_fraction: c, disordered sites over all sites.
    """
    from ase.units import kB

    x = np.asarray(x, dtype=float)
    logarithm = np.log(np.where(x > 0, x, 1.0))
    return np.asarray(-disordered_fraction * kB * (x * logarithm).sum(axis=-1), dtype=np.float64)
