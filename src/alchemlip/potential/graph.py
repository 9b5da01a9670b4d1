"""The graph of a batch of mixtures as tensors: site edges, nodes, and its message tables.

Geometry lives on *site edges*, one per pair of neighbouring sites whatever sits on them; what is
sent along them is the message tables' (`alchemlip.potential.messages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.exclusive import NO_PAIRS, ExclusivePairs
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.nodes import PURE
from alchemlip.potential.conditionals import ConditionalTable, conditional_table, edge_shells
from alchemlip.potential.messages import (
    Form,
    MessageTables,
    SiteArrays,
    expanded_tables,
    factorised_tables,
    site_tables,
)
from alchemlip.potential.neighbours import NeighbourList


@dataclass(frozen=True)
class Graph:
    """A batch of mixtures as tensors on one device; geometry and composition in float64.

    Attributes:
        n_structures, n_sites: B and S.
        positions: (S, 3). cells: (B, 3, 3). site_structure: (S,).
        receiver, sender, shift: (E,), (E,), (E, 3) site edges.
        node_site, node_number, node_structure: (N,).
        node_component: (N,) index into the batch's flat composition, K for pure sites.
        composition: (K,).
        site_counts, node_counts, component_counts: per structure, to split results.
        short_range: the conditional probabilities of short-range ordered groups, if there are any.
    """

    n_structures: int
    n_sites: int
    positions: Tensor
    cells: Tensor
    site_structure: Tensor
    receiver: Tensor
    sender: Tensor
    shift: Tensor
    node_site: Tensor
    node_number: Tensor
    node_structure: Tensor
    node_component: Tensor
    composition: Tensor
    site_counts: tuple[int, ...]
    node_counts: tuple[int, ...]
    component_counts: tuple[int, ...]
    arrays: SiteArrays
    short_range: ConditionalTable | None = None

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.positions.device

    def occupancies(self, composition: Tensor) -> Tensor:
        """Return the occupancy (N,) of each node: linear in the flat composition (K,)."""
        extended = torch.cat([composition, composition.new_ones(1)])
        return extended.index_select(0, self.node_component)

    def edge_vectors(self, positions: Tensor, cells: Tensor) -> Tensor:
        """Return the vectors (E, 3) from receiver to sender, differentiable in both arguments."""
        offset = torch.einsum("ex,exy->ey", self.shift, cells[self.site_structure[self.receiver]])
        return positions[self.sender] - positions[self.receiver] + offset

    @cached_property
    def factorised(self) -> MessageTables:
        """The tables of the factorised form."""
        return factorised_tables(self.arrays, self.device)

    @cached_property
    def expanded(self) -> MessageTables:
        """The tables of the expanded form."""
        return expanded_tables(self.arrays, self.device)

    @cached_property
    def embedding(self) -> MessageTables:
        """The tables of the embedding form: the plain graph of the sites."""
        return site_tables(self.arrays, self.device)

    @cached_property
    def uncorrelated(self) -> MessageTables:
        """The expanded tables, had every group been independent."""
        untied = replace(
            self.arrays, node_tie=np.full_like(self.arrays.node_tie, PURE), edge_shell=None
        )
        return expanded_tables(untied, self.device)

    def with_probabilities(self, composition: Tensor, parameters: Tensor) -> Graph:
        """Return the graph at a composition (K,) and Warren-Cowley parameters (A,).

        Only graphs with short-range order need it; they have the expanded form alone.
        """
        assert self.short_range is not None
        table = self.short_range.probabilities(composition, parameters)
        graph = replace(self)
        # The integer tables are kept from one evaluation to the next.
        graph.__dict__["expanded"] = replace(self.expanded, probabilities=table)
        return graph

    def tables(self, form: Form) -> MessageTables:
        """Return the tables of a form."""
        if form == "embedding":
            return self.embedding
        return self.factorised if form == "factorised" else self.expanded

    def site_attributes(self, column: Tensor, n_columns: int, occupancies: Tensor) -> Tensor:
        """Return the occupancies (S, n_columns) that stand in for a site's one-hot vector.

        Args:
            column: (N,) the model's column of the element of each node.
            n_columns: how many elements the model has.
            occupancies: (N,) of the nodes.
        """
        flat = occupancies.new_zeros(self.n_sites * n_columns)
        flat = flat.index_add(0, self.node_site * n_columns + column, occupancies)
        return flat.reshape(self.n_sites, n_columns)

    def on_sites(self, values: Tensor) -> Tensor:
        """Return the sum (S, ...) of values (N, ...) over the nodes of each site."""
        return values.new_zeros((self.n_sites, *values.shape[1:])).index_add(
            0, self.node_site, values
        )


def build_graph(
    mixtures: Sequence[Mixture],
    neighbour_lists: Sequence[NeighbourList],
    device: torch.device,
) -> Graph:
    """Return the graph of a batch of mixtures.

    Args:
        mixtures: the structures.
        neighbour_lists: one for each of them, kept by the caller between steps.
        device: where the tensors go.

    Raises:
        InputError: from the neighbour lists, for geometries that cannot be evaluated.
    """
    if not mixtures:
        raise InputError("an empty batch: give at least one structure")
    edges = [
        neighbours.edges(mixture.positions, mixture.cell, mixture.pbc, mixture.exclusive)
        for mixture, neighbours in zip(mixtures, neighbour_lists, strict=True)
    ]
    nodes = [mixture.nodes for mixture in mixtures]
    site_counts = [mixture.n_sites for mixture in mixtures]
    node_counts = [len(item) for item in nodes]
    component_counts = [item.n_components for item in nodes]
    group_counts = [len(mixture.groups) for mixture in mixtures]
    site_start, component_start, group_start = (
        np.concatenate([[0], np.cumsum(counts)])
        for counts in (site_counts, component_counts, group_counts)
    )
    n_components = int(component_start[-1])

    receiver = np.concatenate([e[0] + s for e, s in zip(edges, site_start[:-1], strict=True)])
    sender = np.concatenate([e[1] + s for e, s in zip(edges, site_start[:-1], strict=True)])
    shift = np.concatenate([e[2] for e in edges])
    node_site = np.concatenate([n.site + s for n, s in zip(nodes, site_start[:-1], strict=True)])
    node_component = np.concatenate(
        [
            np.where(n.component == PURE, n_components, n.component + s)
            for n, s in zip(nodes, component_start[:-1], strict=True)
        ]
    )
    node_tie = np.concatenate(
        [
            np.where(n.concerted, n.group + s, PURE)
            for n, s in zip(nodes, group_start[:-1], strict=True)
        ]
    )
    structure = np.arange(len(mixtures))
    short_range = conditional_table(mixtures, component_start, device)

    def integers(values: IntArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)

    def reals(values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=float)).to(device)

    return Graph(
        n_structures=len(mixtures),
        n_sites=int(site_start[-1]),
        positions=reals(np.concatenate([mixture.positions for mixture in mixtures])),
        cells=reals(np.stack([mixture.cell for mixture in mixtures])),
        site_structure=integers(np.repeat(structure, site_counts)),
        receiver=integers(receiver),
        sender=integers(sender),
        shift=reals(shift.reshape(-1, 3)),
        node_site=integers(node_site),
        node_number=integers(np.concatenate([n.number for n in nodes])),
        node_structure=integers(np.repeat(structure, node_counts)),
        node_component=integers(node_component),
        composition=reals(np.concatenate([mixture.composition for mixture in mixtures])),
        site_counts=tuple(site_counts),
        node_counts=tuple(node_counts),
        component_counts=tuple(component_counts),
        arrays=SiteArrays(
            int(site_start[-1]),
            receiver,
            sender,
            node_site,
            node_component,
            node_tie,
            n_components,
            frozenset(np.concatenate([n.number for n in nodes]).tolist()),
            None if short_range is None else edge_shells(mixtures, edges, component_start),
            ExclusivePairs(
                np.concatenate(
                    [
                        mixture.exclusive.with_offset(first)
                        for mixture, first in zip(mixtures, site_start.tolist(), strict=False)
                    ]
                )
            )
            if any(len(mixture.exclusive) for mixture in mixtures)
            else NO_PAIRS,
        ),
        short_range=short_range,
    )
