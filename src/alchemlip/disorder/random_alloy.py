"""The energy of a random alloy to second order in the occupancies, with forces and stress.

    alloy = random_alloy(mixture, potential)         # the infinite alloy, from one small mixed cell
    alloy.random_energy, alloy.repeats, alloy.trials
    relaxed = relax(mixture, RandomAlloyPotential(potential, alloy.repeats), keep_symmetry=True)

    E_random = E(p) + 1/2 sum_i sum_ab C_ab [ H_ia,ib - sum_(j != i) H_ia,jb / (n - 1) ],
    H = d2E/dp dp,    C_ab = p_a delta_ab - p_a p_b,    n sites of the group

symbol             here
C                  occupancy_covariance(composition) = sum_k v_k v_k^T
first sum          the on-site term: one site fluctuates in the mean field of all others
second sum         only at exact composition in a finite cell: one more A here, one less there
E(p)               mean_field_energy

The terms come from `alchemlip.disorder.fluctuations`; `second_order_energy` gives the same from a
Hessian.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.site_symmetry import site_symmetry
from alchemlip.disorder.fluctuations import (
    Order,
    exact_composition_term,
    occupancy_covariance,
    on_site_fluctuation,
    over_equivalent_sites,
)
from alchemlip.disorder.hessian import OccupancyHessian, random_group
from alchemlip.disorder.supercells import (
    Repeats,
    check_exact_composition,
    check_width,
    supercell_repeats,
)
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.evaluation import Evaluation
from alchemlip.potential.potential import AlchemicalPotential

TOLERANCE = 1e-3
"""Change of E_random in eV per site below which a supercell is large enough."""
MAX_SITES = 400
SYMPREC = 1e-5
"""Of sites taken for equivalent along a relaxation, in Angstrom: energy and forces must agree."""


@dataclass(frozen=True)
class SupercellTrial:
    """What one supercell gave.

    Attributes:
        repeats: of the cell. n_sites: of the supercell.
        random_energy_per_site: in eV.
    """

    repeats: Repeats
    n_sites: int
    random_energy_per_site: float


@dataclass(frozen=True, eq=False)
class RandomAlloy:
    """A random alloy; extensive values are those of the cell as given.

    Attributes:
        mixture: the cell as given.
        repeats: of the supercell in which one site fluctuates.
        mean_field_energy: E(p) in eV.
        fluctuation_energy: what disorder adds, in eV.
        forces: (S, 3) of E_random in eV/A; None if not asked for.
        stress: (6,) of E_random in eV/A^3; None if not asked for or undefined.
        trials: the supercells that were tried, in order of size.
    """

    mixture: Mixture
    repeats: Repeats
    mean_field_energy: float
    fluctuation_energy: float
    forces: FloatArray | None = None
    stress: FloatArray | None = None
    trials: tuple[SupercellTrial, ...] = ()

    @property
    def random_energy(self) -> float:
        """E_random of the cell in eV."""
        return self.mean_field_energy + self.fluctuation_energy


def second_order_energy(hessian: OccupancyHessian, exact_composition: bool = False) -> float:
    """Return what random occupation of the cell adds to E(p), in eV, to second order.

    Args:
        hessian: of the cell. A site's own row holds its periodic images: right for a periodic
            cell, not for the infinite alloy unless the cell is wide.
        exact_composition: average over arrangements with exactly the composition's numbers of
            atoms; otherwise every site is drawn by itself.

    Raises:
        InputError: if the cell cannot hold its composition exactly.
    """
    covariance = occupancy_covariance(hessian.composition)
    n = len(hessian.sites)
    if exact_composition:
        check_exact_composition(hessian.mixture.group(hessian.group))
    total = 0.0
    for row, site, count in zip(
        hessian.rows, hessian.representatives.tolist(), hessian.multiplicities.tolist(), strict=True
    ):
        by_site = np.einsum("ab,ajb->j", covariance, row)
        value = float(by_site[site])
        if exact_composition and n > 1:
            value -= float(by_site.sum() - by_site[site]) / (n - 1)
        total += 0.5 * count * value
    return total


def random_alloy(
    mixture: Mixture,
    potential: AlchemicalPotential,
    *,
    groups: Sequence[str] | None = None,
    repeats: Repeats | None = None,
    exact_composition: bool = False,
    order: Order = "second",
    forces: bool = False,
    stress: bool = False,
    tolerance: float = TOLERANCE,
    max_sites: int = MAX_SITES,
    symprec: float = 1e-3,
) -> RandomAlloy:
    """Return the energy of the random alloy of a mixed cell.

    Args:
        mixture: a cell, at the composition and geometry of interest; a small one will do.
        potential: a loaded potential.
        groups: names of the disordered groups; all with several species by default.
        repeats: of the supercell; chosen so that E_random moves by less than ``tolerance`` if None.
        exact_composition: the average over all arrangements of the finite periodic supercell
            ``repeats`` at exact composition, instead of the infinite alloy.
        order: ``second`` order in the occupancies, or ``single_site``: all orders in the
            occupancies of one site at a time, ``sum_a p_a E(a on site i) - E(p)`` in place of the
            on-site term.
        forces, stress: whether to differentiate; of the infinite alloy alone.
        tolerance: eV per site.
        max_sites: of a supercell, before giving up.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if no group is disordered, the supercell is too narrow for the potential or
            cannot hold the composition, or no supercell was large enough.
    """
    names = disordered_groups(mixture, groups)
    if order not in ("second", "single_site"):
        raise InputError(f"unknown order {order!r}: choose second or single_site")
    if exact_composition:
        if repeats is None:
            raise InputError(
                "an exact composition needs a finite cell: give the repeats of the supercell"
            )
        if forces or stress:
            raise InputError(
                "forces and stress are those of the infinite alloy: leave out exact_composition"
            )
        return _alloy(mixture, potential, names, repeats, order, False, symprec, exact=True)
    derivatives = forces or stress
    if repeats is not None:
        check_width(mixture, repeats, potential.cutoff)
        return _alloy(mixture, potential, names, repeats, order, derivatives, symprec)
    trials: list[SupercellTrial] = []
    for candidate in supercell_repeats(mixture, potential.cutoff, max_sites):
        alloy = _alloy(mixture, potential, names, candidate, order, derivatives, symprec)
        per_site = float(alloy.random_energy) / mixture.n_sites
        n_sites = mixture.n_sites * int(np.prod(candidate))
        trials.append(SupercellTrial(candidate, n_sites, per_site))
        if not mixture.pbc.any():
            break  # a cluster has no images
        if len(trials) > 1 and abs(per_site - trials[-2].random_energy_per_site) < tolerance:
            break
    else:
        if len(trials) < 2:
            found = "fewer than two supercells fit"
        else:
            moved = abs(trials[-1].random_energy_per_site - trials[-2].random_energy_per_site)
            found = f"E_random still moves by {1e3 * moved:.2g} meV per site"
        raise InputError(
            f"{found} up to {max_sites} sites: raise max_sites or the tolerance, or start from a "
            "smaller cell"
        )
    return replace(alloy, trials=tuple(trials))


def disordered_groups(
    mixture: Mixture, names: Sequence[str] | None = None, *, exclusive: bool = False
) -> tuple[str, ...]:
    """Return the names of the groups whose sites are occupied at random.

    Args:
        mixture: the structure.
        names: all with several species if None.
        exclusive: whether sites may exclude one another.

    Raises:
        InputError: if there is none, or one that is named cannot be disordered.
    """
    if names is None:
        names = [
            group.name
            for group in mixture.groups
            if group.correlation == "independent" and len(group.components) > 1
        ]
        if not names:
            random_group(
                mixture, exclusive=exclusive
            )  # says what is wrong with the only group there is
            raise InputError("no group is disordered: mix at least two species on some sites")
    return tuple(random_group(mixture, name, exclusive=exclusive).name for name in names)


class RandomAlloyPotential(AlchemicalPotential):
    """A potential whose ``evaluate`` gives a random alloy's energy, forces and stress.

    For `alchemlip.relax` and whatever else asks for these: the disordered crystal's own cell and
    positions. The composition gradient is not given.

    Args:
        potential: a loaded potential, in float64.
        repeats: of the supercell in which one site fluctuates; `random_alloy` finds them.
        groups: names of the disordered groups; all with several species by default.
        order: as in `random_alloy`.

    Raises:
        InputError: if the potential is in float32, too coarse for the differences of forces.
    """

    def __init__(
        self,
        potential: AlchemicalPotential,
        repeats: Repeats,
        groups: Sequence[str] | None = None,
        order: Order = "second",
    ) -> None:
        super().__init__(potential.backend)
        if str(potential.dtype) != "torch.float64":
            raise InputError(
                "forces of a random alloy are small differences: load the potential in "
                "float64 (--dtype float64)"
            )
        self.repeats = repeats
        self._potential = potential
        self._groups = groups
        self._order: Order = order

    def energies(self, *args: Any, **options: Any) -> Any:
        """Refuse: there is no differentiable energy of the random alloy here."""
        raise NotImplementedError("a RandomAlloyPotential has evaluate() alone")

    def evaluate(self, mixtures: Any, **options: Any) -> Any:
        """Return energy, forces and stress of the random alloy; see `AlchemicalPotential`.

        ``site_energies`` and ``node_energies`` are those of the mean field.
        """
        if isinstance(mixtures, Mixture):
            return self.evaluate([mixtures], **options)[0]
        return [self._evaluate(mixture) for mixture in mixtures]

    def _evaluate(self, mixture: Mixture) -> Evaluation:
        names = disordered_groups(mixture, self._groups)
        check_width(mixture, self.repeats, self.cutoff)
        mean_field = self._potential.evaluate(mixture, composition_gradient=False)
        alloy = _alloy(
            mixture, self._potential, names, self.repeats, self._order, True, SYMPREC, mean_field
        )
        return replace(
            mean_field, energy=alloy.random_energy, forces=alloy.forces, stress=alloy.stress
        )


def _alloy(
    mixture: Mixture,
    potential: AlchemicalPotential,
    names: Sequence[str],
    repeats: Repeats,
    order: Order,
    derivatives: bool,
    symprec: float,
    mean_field: Evaluation | None = None,
    exact: bool = False,
) -> RandomAlloy:
    """Return the alloy as one supercell gives it."""
    if mean_field is None:
        mean_field = potential.evaluate(
            mixture, forces=derivatives, stress=derivatives, composition_gradient=False
        )
    energy = 0.0
    forces, virial = np.zeros((mixture.n_sites, 3)), np.zeros(6)
    for name in names:
        found = site_symmetry(mixture, mixture.group(name).sites, symprec)
        own = 0.0
        for index, site in enumerate(found.representatives.tolist()):
            term = on_site_fluctuation(
                mixture, potential, name, site, repeats, order, derivatives, mean_field
            )
            own += float(found.multiplicities[index]) * term.energy
            if derivatives:
                spread = over_equivalent_sites(found, index, term)
                forces, virial = forces + spread.forces, virial + spread.virial
        energy += own
        if exact:
            if order != "second":
                plain = _alloy(
                    mixture, potential, [name], repeats, "second", False, symprec, mean_field
                )
                own = plain.fluctuation_energy
            energy += exact_composition_term(mixture, potential, name, repeats, mean_field, own)
    stress = None
    if derivatives and mean_field.stress is not None:
        stress = mean_field.stress + virial / abs(float(np.linalg.det(mixture.cell)))
    return RandomAlloy(
        mixture=mixture,
        repeats=repeats,
        mean_field_energy=mean_field.energy,
        fluctuation_energy=energy,
        forces=None if mean_field.forces is None else mean_field.forces + forces,
        stress=stress,
    )
