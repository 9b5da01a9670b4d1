"""Second derivatives of the energy in the occupancies of single sites.

    hessian = occupancy_hessian(mixture.repeat((3, 3, 3)), potential)
    hessian.rows            # (R, K, M, K), for the inequivalent sites alone
    hessian.full()          # (M, K, M, K)

Every site of the group gets an occupancy vector of its own; the derivatives are raw, that is, in
each occupancy by itself, off the simplex too. In a cell that is not wide against the potential's
cutoff the row of a site also holds its own periodic images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.crystal.second_derivatives import Method, SecondDerivatives
from alchemlip.crystal.site_symmetry import site_symmetry
from alchemlip.errors import InputError
from alchemlip.mixture.groups import Group
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.potential.potential import AlchemicalPotential


@dataclass(frozen=True, eq=False)
class OccupancyHessian:
    """Second derivatives of the energy in the occupancies of one group, site by site.

    Attributes:
        mixture: the supercell, as given (the group still one group).
        group: name of the group.
        sites: (M,) sites of the group, in the mixture's order.
        species: (K,) components of the group.
        composition: (K,) weights.
        energy: mean-field energy E(p) in eV.
        gradient: (M, K) dE/dp_ia in eV.
        rows: (R, K, M, K) d2E/dp_ia dp_jb in eV, i over ``representatives``.
        representatives: (R,) positions in ``sites`` of the rows.
        multiplicities: (R,) how many sites each stands for; their sum is M.
        permutations: (P, M) position onto which each symmetry operation carries each site.
        operation_of: (M, 2) which representative and which operation carries it onto each site.
        method: ``double_backward`` or ``differences``, whichever was used.
        note: why ``auto`` fell back on differences; empty otherwise.
    """

    mixture: Mixture
    group: str
    sites: IntArray
    species: tuple[str, ...]
    composition: FloatArray
    energy: float
    gradient: FloatArray
    rows: FloatArray
    representatives: IntArray
    multiplicities: IntArray
    permutations: IntArray
    operation_of: IntArray
    method: str
    note: str = ""

    def full(self) -> FloatArray:
        """Return all second derivatives (M, K, M, K) in eV, from the rows by symmetry."""
        m, k = self.gradient.shape
        result = np.empty((m, k, m, k))
        for position, (representative, operation) in enumerate(self.operation_of.tolist()):
            permutation = self.permutations[operation]
            result[position][:, permutation, :] = self.rows[representative]
        return result


def occupancy_hessian(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str | None = None,
    *,
    method: Method = "auto",
    step: float | None = None,
    symmetry: bool = True,
    symprec: float = 1e-3,
) -> OccupancyHessian:
    """Differentiate the energy twice in the occupancies of a group's sites.

    Args:
        mixture: the supercell, at the composition of interest.
        potential: a loaded potential.
        group: name of the group; may be left out if there is one.
        method: ``double_backward`` takes each row as the exact gradient of a first derivative,
            ``differences`` as a central difference of the gradient; ``auto`` the former where it
            works. The result says which it was. A difference along one direction checks it.
        step: of an occupancy in the differences; 1e-4 in float64, 0.02 in float32 if None.
        symmetry: compute inequivalent sites alone, found by spglib.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the group is not clear, has one species, or is concerted, or if double
            backward is demanded of a potential that has none.
    """
    chosen = random_group(mixture, group)
    found = site_symmetry(mixture, chosen.sites, symprec if symmetry else None)
    place = np.full(mixture.n_sites, -1)
    place[chosen.sites] = np.arange(len(chosen.sites))
    representatives = place[found.representatives]
    # Only the split group's own block matters; the others' derivatives come along.
    by_site = mixture.split_group(chosen.name)
    derivatives = SecondDerivatives(by_site, potential)
    m, k = len(chosen.sites), len(chosen.components)
    first = site_components(by_site, chosen)
    indices = (first + k * representatives[:, None] + np.arange(k)).reshape(-1)
    rows, used, note = derivatives.rows(indices, method, step)
    block = slice(first, first + m * k)
    return OccupancyHessian(
        mixture=mixture,
        group=chosen.name,
        sites=chosen.sites,
        species=chosen.components,
        composition=chosen.composition,
        energy=derivatives.energy,
        gradient=derivatives.gradient[block].reshape(m, k),
        rows=rows[:, block].reshape(-1, k, m, k),
        representatives=representatives,
        multiplicities=found.multiplicities,
        permutations=place[found.permutations[:, chosen.sites]],
        operation_of=found.operation_of,
        method=used,
        note=note,
    )


def site_components(by_site: Mixture, group: Group) -> int:
    """Return where the compositions of a split group's sites begin in the flat composition."""
    first: int = by_site.components_of(f"{group.name}@{group.sites[0]}").start
    return first


def random_group(mixture: Mixture, name: str | None = None, *, exclusive: bool = False) -> Group:
    """Return the group whose sites are occupied at random.

    Args:
        mixture: the structure.
        name: of the group; may be left out if there is one.
        exclusive: whether its sites may exclude one another, so that they are not filled each by
            itself.

    Raises:
        InputError: if it is not clear which group is meant, if it has one species only, or if its
            sites change together.
    """
    if name is None:
        if not mixture.groups:
            raise InputError(
                "no sites are mixed, so nothing is disordered: mix at least two species, such as "
                "Ce=Ce0.5Zr0.5 (--mix)"
            )
        if len(mixture.groups) != 1:
            names = ", ".join(item.name for item in mixture.groups)
            raise InputError(
                f"which group is disordered is not clear (there are: {names}): name one"
            )
        name = mixture.groups[0].name
    group = mixture.group(name)
    if len(group.components) < 2:
        raise InputError(
            f"group {name!r} has one species, {group.components[0]}, so nothing is disordered: mix "
            "at least two, such as Ce=Ce0.5Zr0.5"
        )
    if group.correlation != "independent":
        raise InputError(
            f"the sites of group {name!r} depend on one another ({group.correlation}), so there is "
            "no random alloy: make the group independent"
        )
    if not exclusive and np.isin(group.sites, mixture.exclusive.partners).any():
        raise InputError(
            f"sites of group {name!r} exclude one another, so they are not filled each by itself, "
            "which this calculation takes for granted: use the mean field (energy, relax, scan), "
            "or average over random supercells (explicit_supercells)"
        )
    return group
