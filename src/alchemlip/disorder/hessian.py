"""Second derivatives of the energy in the occupancies of single sites.

    hessian = occupancy_hessian(mixture.repeat((3, 3, 3)), potential)
    hessian.rows            # (R, K, M, K), for the inequivalent sites alone
    hessian.full()          # (M, K, M, K)

Every site of the group gets an occupancy vector of its own; the derivatives are raw, that is, in
each occupancy by itself, off the simplex too. In a cell that is not wide against the potential's
cutoff the row of a site also holds its own periodic images.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from alchemlip.disorder.site_symmetry import site_symmetry
from alchemlip.errors import InputError
from alchemlip.groups import FloatArray, Group, IntArray
from alchemlip.mixture import Mixture

if TYPE_CHECKING:
    from torch import Tensor

    from alchemlip.graph import Graph
    from alchemlip.potential import AlchemicalPotential

Method = Literal["auto", "double_backward", "differences"]
METHODS = ("auto", "double_backward", "differences")
STEPS = {"float64": 1e-3, "float32": 2e-2}
"""Of an occupancy in central differences of the gradient: rounding against truncation."""

TOLERANCES = {"float64": 1e-4, "float32": 1e-2}
"""Between double backward and such a difference, in eV or relative: what is missing is gross."""


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
        step: of an occupancy in the differences; 1e-3 in float64, 0.02 in float32 if None.
        symmetry: compute inequivalent sites alone, found by spglib.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the group is not clear, has one species, or is concerted, or if double
            backward is demanded of a potential that has none.
    """
    chosen = random_group(mixture, group)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    found = site_symmetry(mixture, chosen.sites, symprec if symmetry else None)
    place = np.full(mixture.n_sites, -1)
    place[chosen.sites] = np.arange(len(chosen.sites))
    representatives = place[found.representatives]
    slopes = _Slopes(mixture, potential, chosen)
    h = STEPS[str(potential.dtype).removeprefix("torch.")] if step is None else step
    note, used = "", "double_backward"
    if method == "differences":
        used, rows = "differences", slopes.rows_by_differences(representatives, h)
    else:
        try:
            rows = slopes.rows_by_double_backward(representatives)
            note = slopes.flaw(rows[0], int(representatives[0]), h)
        except (RuntimeError, NotImplementedError) as error:
            if "memory" in str(error):  # a RuntimeError too, but no property of the potential
                raise
            note = (str(error).strip().splitlines() or ["refused"])[0]
        if note and method == "double_backward":
            raise InputError(
                f"the potential {potential.name!r} cannot be differentiated twice ({note}): use "
                "method='differences'"
            )
        if note:
            used, rows = "differences", slopes.rows_by_differences(representatives, h)
    return OccupancyHessian(
        mixture=mixture,
        group=chosen.name,
        sites=chosen.sites,
        species=chosen.components,
        composition=chosen.composition,
        energy=slopes.energy,
        gradient=slopes.gradient(),
        rows=rows,
        representatives=representatives,
        multiplicities=found.multiplicities,
        permutations=place[found.permutations[:, chosen.sites]],
        operation_of=found.operation_of,
        method=used,
        note=note,
    )


def random_group(mixture: Mixture, name: str | None = None) -> Group:
    """Return the group whose sites are occupied at random.

    Args:
        mixture: the structure.
        name: of the group; may be left out if there is one.

    Raises:
        InputError: if it is not clear which group is meant, if it has one species only, or if its
            sites change together.
    """
    if name is None:
        if len(mixture.groups) != 1:
            names = ", ".join(item.name for item in mixture.groups) or "none"
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
            f"the sites of group {name!r} change together (concerted), so there is no random "
            "alloy: make the group independent"
        )
    return group


class _Slopes:
    """First derivatives of one supercell's energy in the occupancies of single sites."""

    def __init__(self, mixture: Mixture, potential: AlchemicalPotential, group: Group) -> None:
        by_site = mixture.split_group(group.name)
        self.potential = potential
        self.shape = (len(group.sites), len(group.components))
        self.graph: Graph = potential.graph([by_site])
        names = [f"{group.name}@{site}" for site in group.sites.tolist()]
        start, first = 0, 0
        for item in by_site.groups:
            if item.name == names[0]:
                first = start
            start += len(item.components)
        # The groups of the single sites follow one another.
        self.block = slice(first, first + self.shape[0] * self.shape[1])
        _, gradient, self.energy = self._evaluate(self.graph.composition, False)
        self._gradient = gradient.detach()

    def gradient(self) -> FloatArray:
        """Return dE/dp_ia (M, K) in eV."""
        values: FloatArray = self._gradient[self.block].cpu().numpy().reshape(self.shape)
        return values

    def _evaluate(self, composition: Tensor, twice: bool) -> tuple[Tensor, Tensor, float]:
        """Return the leaf, the gradient (all components) and the energy."""
        import torch

        leaf = composition.detach().clone().requires_grad_()
        energy = self.potential.energies(self.graph, composition=leaf).sum()
        (gradient,) = torch.autograd.grad(
            energy, leaf, create_graph=twice, allow_unused=True, materialize_grads=True
        )
        return leaf, gradient, float(energy.detach())

    def rows_by_double_backward(self, representatives: IntArray) -> FloatArray:
        """Return (R, K, M, K): each row the gradient of one first derivative."""
        import torch

        leaf, gradient, _ = self._evaluate(self.graph.composition, True)

        def row(index: int) -> Tensor:
            (values,) = torch.autograd.grad(
                gradient[index],
                leaf,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            return values

        return self._rows(representatives, row)

    def flaw(self, rows: FloatArray, site: int, step: float) -> str:
        """Return how a site's rows (K, M, K) deviate from a difference; empty if they do not.

        Autograd visits only what leads to its inputs, so that a kernel without a second derivative
        need not raise: its part may be missing without a word.
        """
        m, k = self.shape
        direction = np.arange(1, k + 1) / k
        first = self.block.start + site * k

        def gradient(sign: float) -> FloatArray:
            composition = self.graph.composition.detach().clone()
            composition[first : first + k] += sign * step * composition.new_tensor(direction)
            values = self._evaluate(composition, False)[1][self.block]
            return np.asarray(values.cpu().numpy().reshape(m, k), dtype=np.float64)

        expected = (gradient(1.0) - gradient(-1.0)) / (2.0 * step)
        error = float(np.abs(np.tensordot(direction, rows, axes=1) - expected).max())
        tolerance = TOLERANCES[str(self.potential.dtype).removeprefix("torch.")]
        if error <= tolerance * max(1.0, float(np.abs(expected).max())):
            return ""
        return f"its second derivative is off by {error:.1e} eV from a difference"

    def rows_by_differences(self, representatives: IntArray, step: float) -> FloatArray:
        """Return (R, K, M, K): each row a central difference of the gradient."""
        if not 0.0 < step < 1.0:
            raise InputError(f"a step of {step} of an occupancy is no small part of 1: try 0.001")

        def row(index: int) -> Tensor:
            def moved(change: float) -> Tensor:
                composition = self.graph.composition.detach().clone()
                composition[index] += change
                return self._evaluate(composition, False)[1]

            return (moved(step) - moved(-step)) / (2.0 * step)

        return self._rows(representatives, row)

    def _rows(self, representatives: IntArray, row: Callable[[int], Tensor]) -> FloatArray:
        # One row at a time: memory is that of one gradient, whatever the number of sites.
        m, k = self.shape
        rows = np.empty((len(representatives), k, m, k))
        for position, site in enumerate(representatives.tolist()):
            for component in range(k):
                values = row(self.block.start + site * k + component)[self.block]
                rows[position, component] = values.detach().cpu().numpy().reshape(m, k)
        return rows
