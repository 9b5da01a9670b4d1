"""Small analytic potentials whose averages over arrangements are known exactly.

Energy E = sum_i sum_a p_ia [ e_a + 1/2 sum_j sum_b P(b at j | a at i) v_ab(d_ij) ]: linear in the
occupancy of every site.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from alchemlip import AlchemicalPotential
from alchemlip.backends import ModelCard
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form

Pair = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Energy (E,) in eV of receiver number (E,), sender number (E,) and edge vector (E, 3)."""


class PairBackend:
    """A pair potential as a `Backend`.

    Args:
        pair: energy of an ordered pair of neighbours.
        cutoff: in Angstrom.
        numbers: elements covered.
        on_site: energy in eV by atomic number.
    """

    forms: tuple[Form, ...] = ("expanded",)

    def __init__(
        self,
        pair: Pair,
        cutoff: float,
        numbers: Sequence[int],
        on_site: Callable[[Tensor], Tensor] | None = None,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.card = ModelCard("pair", "pair", "analytic", "", "", "")
        self.cutoff = cutoff
        self.numbers = frozenset(numbers)
        self.dtype = dtype
        self.device = torch.device("cpu")
        self._pair = pair
        self._on_site = on_site

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        tables = graph.tables(form)
        numbers = graph.node_number
        values = 0.5 * self._pair(
            numbers[tables.receiver], numbers[tables.sender], tables.on_edges(edge_vectors)
        )
        weights = tables.edge_weights(occupancies)
        if weights is not None:
            values = values * weights[:, 0]
        energies = torch.zeros(len(numbers), dtype=self.dtype)
        if self._on_site is not None:
            energies = energies + self._on_site(numbers)
        return energies.index_add(0, tables.receiver, values)


def symmetric_table(seed: int, size: int = 100) -> Tensor:
    """Return a random symmetric table (size, size) in eV."""
    values = np.random.default_rng(seed).normal(size=(size, size))
    return torch.from_numpy(values + values.T)


def pair_potential(
    cutoff: float = 4.2, numbers: Sequence[int] = (11, 17, 19, 29, 37, 79)
) -> AlchemicalPotential:
    """Return a potential of smooth pair energies between all elements, random in strength."""
    depth, size = symmetric_table(1), symmetric_table(2)

    def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
        r = vectors.norm(dim=1)
        smooth = (1.0 - (r / cutoff) ** 2).clamp(min=0.0) ** 4
        return smooth * (5.0 + depth[a, b] * (2.0 + size[a, b] * (r - 2.5)))

    def on_site(number: Tensor) -> Tensor:
        return -0.1 * number.double()

    return AlchemicalPotential(PairBackend(pair, cutoff, numbers, on_site))


SIZES = {29: 1.28, 47: 1.36, 79: 1.44}
"""Half of the best distance between two atoms in Angstrom, by atomic number: Cu, Ag, Au."""


def sphere_potential(
    depth: float = 0.35, cutoff: float = 5.5, sizes: dict[int, float] | None = None
) -> AlchemicalPotential:
    """Return Morse spheres of different sizes: close-packed crystals that stay stable when mixed.

    v_ab(d) = D [e^(-2 k (d - s)) - 2 e^(-k (d - s))], s = size_a + size_b, made smooth at a cutoff.
    """
    sizes = SIZES if sizes is None else sizes
    size = torch.zeros(100, dtype=torch.float64)
    for number, value in sizes.items():
        size[number] = value

    def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
        r = vectors.norm(dim=1)
        bond = torch.exp(-1.5 * (r - size[a] - size[b]))
        smooth = (1.0 - (r / cutoff) ** 2).clamp(min=0.0) ** 3
        return depth * smooth * (bond * bond - 2.0 * bond)

    return AlchemicalPotential(PairBackend(pair, cutoff, tuple(sizes)))


def spring_potential(
    cutoff: float, numbers: Sequence[int], stiffness: float, push: dict[int, float]
) -> AlchemicalPotential:
    """Return springs exactly harmonic about a simple cubic crystal, cutoff past first neighbours.

    v_ab(d) = k |d|^2 / 2 - (g_a + g_b) max(|d_x|, |d_y|, |d_z|): the second term is linear in the
    displacements while a bond stays along its axis, and the forces are linear in occupancies.
    """
    strength = torch.zeros(100, dtype=torch.float64)
    for number, value in push.items():
        strength[number] = value

    def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
        longest = vectors.abs().max(dim=1).values
        return 0.5 * stiffness * vectors.square().sum(dim=1) - (strength[a] + strength[b]) * longest

    return AlchemicalPotential(PairBackend(pair, cutoff, numbers))
