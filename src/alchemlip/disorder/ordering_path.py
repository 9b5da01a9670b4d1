"""From the disordered crystal to an ordered one by one continuous order parameter.

p_i(eta) = (1 - eta) p + eta (what the ordered structure puts on site i): the composition stays
what it is, and E(eta) is the mean-field energy of the partly ordered crystal (Bragg and Williams,
Proc. R. Soc. A 145, 699 (1934), with the potential in place of their pair energies).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.ordered_structures import with_site_classes
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.potential import AlchemicalPotential

STEPS = tuple(index / 10 for index in range(11))
MAX_BATCH = 2000
"""Most sites evaluated in one pass."""


@dataclass(frozen=True)
class OrderingPoint:
    """The crystal at one degree of order.

    Attributes:
        eta: order parameter, 0 disordered, 1 ordered.
        energy: mean-field energy per site, in eV.
        derivative: dE/d(eta) per site, in eV.
        entropy: ideal configurational entropy per site, in eV/K.
    """

    eta: float
    energy: float
    derivative: float
    entropy: float

    def free_energy(self, temperature: float) -> float:
        """Return the Bragg-Williams free energy E - T S per site in eV, temperature in K."""
        return self.energy - temperature * self.entropy


def partly_ordered(mixture: Mixture, group: str, chosen: IntArray, eta: float) -> Mixture:
    """Return the mixture at an order parameter, its group split into ``group@component``.

    Args:
        mixture: the disordered supercell.
        group: name of the group that orders.
        chosen: (M,) component on each site of the ordered structure.
        eta: 0 to 1.

    Raises:
        InputError: if eta is outside, or the ordered structure has another composition.
    """
    if not 0.0 <= eta <= 1.0:
        raise InputError(f"the order parameter is {eta:g}: give one from 0 to 1")
    p = mixture.group(group).composition
    k = len(p)
    if np.abs(np.bincount(chosen, minlength=k) / len(chosen) - p).max() > 1e-6:
        raise InputError(
            f"the ordered structure has another composition than group {group!r}: give the group "
            "the ordered structure's"
        )
    return with_site_classes(mixture, group, chosen, (1.0 - eta) * p + eta * np.eye(k))


def ordering_path(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str,
    chosen: IntArray,
    etas: npt.ArrayLike = STEPS,
) -> list[OrderingPoint]:
    """Return the energy and its derivative along the way to an ordered structure.

    Args:
        mixture: the disordered supercell.
        potential: a loaded potential.
        group: name of the group that orders.
        chosen: (M,) component on each site of the ordered structure.
        etas: order parameters, 0 to 1.
    """
    values = np.asarray(etas, dtype=float).reshape(-1).tolist()
    mixtures = [partly_ordered(mixture, group, chosen, eta) for eta in values]
    per_pass = max(1, MAX_BATCH // mixture.n_sites)
    points = []
    for start in range(0, len(mixtures), per_pass):
        batch = mixtures[start : start + per_pass]
        results = potential.evaluate(batch, forces=False, stress=False)
        for eta, mixed, result in zip(
            values[start : start + per_pass], batch, results, strict=True
        ):
            assert result.composition_gradient is not None
            change = _direction(mixed, mixture, group)
            points.append(
                OrderingPoint(
                    eta=eta,
                    energy=result.energy / mixture.n_sites,
                    derivative=float(result.composition_gradient @ change) / mixture.n_sites,
                    entropy=_entropy(mixed, group) / mixture.n_sites,
                )
            )
    return points


def _direction(mixed: Mixture, mixture: Mixture, group: str) -> FloatArray:
    """Return d(flat composition)/d(eta) (K,)."""
    p = mixture.group(group).composition
    parts: list[FloatArray] = []
    for item in mixed.groups:
        if _is_part(item.name, group):
            target = item.components.index(item.name.removeprefix(f"{group}@"))
            parts.append(np.eye(len(p))[target] - p)
        else:
            parts.append(np.zeros(len(item.components)))
    return np.concatenate(parts)


def _entropy(mixed: Mixture, group: str) -> float:
    """Return -k_B sum p ln p over the sites of a split group, in eV/K."""
    from ase.units import kB

    total = 0.0
    for item in mixed.groups:
        if _is_part(item.name, group):
            p = item.composition[item.composition > 0]
            total -= float(kB * len(item.sites) * (p * np.log(p)).sum())
    return total


def _is_part(name: str, group: str) -> bool:
    return name.startswith(f"{group}@")


def equilibrium_order(points: Sequence[OrderingPoint], temperature: float) -> float:
    """Return the order parameter of lowest Bragg-Williams free energy, among the given points.

    Args:
        points: of an ordering path, finely spaced.
        temperature: in K.
    """
    return min(points, key=lambda point: point.free_energy(temperature)).eta
