"""Message tables: which rows a model's convolution runs on, and what weights a message.

What a receiver (i, a) gets from a sender (j, b) is weighted by the conditional probability
P(b at j | a at i), in one of two forms:

    factorised   the weighted sum over the sender's species is taken before the message is made
    expanded     one edge per allowed pair of nodes, each with its weight (the reference)

A third, `embedding`, has no nodes: one row per site, whose one-hot element vector is replaced by
its occupancies. It is another path between the same end states, not another form of one energy.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from alchemlip.arrays import BoolArray, IntArray
from alchemlip.mixture.exclusive import NO_PAIRS, ExclusivePairs
from alchemlip.mixture.nodes import PURE
from alchemlip.potential.conditionals import ABSENT

Form = Literal["factorised", "expanded", "embedding"]


@dataclass(frozen=True)
class MessageTables:
    """How node features become messages and back, in one of the two forms.

    Rows are what a model's convolution runs on. In the factorised form there is one row per site,
    holding the occupancy-weighted mean of its nodes, and one more per node of a concerted group
    with neighbours in its own group, holding that node alone. In the expanded form rows are nodes,
    in the embedding form sites.

    Attributes:
        form: ``factorised``, ``expanded`` or ``embedding``.
        n_rows: number of rows.
        receiver, sender: (M,) rows of each message edge.
        site_edge: (M,) site edge that gives each message edge its geometry; None if they are the
            site edges in order.
        weight_node: (M,) expanded form: node whose occupancy weights the edge, -1 for weight 1.
        node_site: (N,) site of each node.
        tied_nodes: (T,) factorised form: the nodes that have a row of their own.
        trivial: whether every site has one node of fixed weight, so that nothing needs collapsing.
        probabilities: (T,) expanded form: conditional probabilities of short-range order, to which
            entries of ``weight_node`` beyond the nodes point.
    """

    form: Form
    n_rows: int
    receiver: Tensor
    sender: Tensor
    site_edge: Tensor | None
    weight_node: Tensor | None
    node_site: Tensor
    tied_nodes: Tensor | None
    trivial: bool
    probabilities: Tensor | None = None

    def collapse(self, features: Tensor, occupancies: Tensor) -> Tensor:
        """Return row features (n_rows, F) from node features (N, F) and occupancies (N,)."""
        if self.trivial or self.form == "expanded":
            return features
        n_sites = self.n_rows - (0 if self.tied_nodes is None else len(self.tied_nodes))
        rows = features.new_zeros((n_sites, features.shape[1]))
        rows = rows.index_add(0, self.node_site, features * occupancies.unsqueeze(1))
        if self.tied_nodes is not None:
            rows = torch.cat([rows, features.index_select(0, self.tied_nodes)])
        return rows

    def expand(self, messages: Tensor) -> Tensor:
        """Return what each node receives (N, F) from what each row received (n_rows, F)."""
        if self.form == "expanded" or self.trivial:
            return messages
        received = messages.index_select(0, self.node_site)
        if self.tied_nodes is not None:
            own = messages[self.n_rows - len(self.tied_nodes) :]
            received = received.index_add(0, self.tied_nodes, own)
        return received

    def on_edges(self, values: Tensor) -> Tensor:
        """Return values (E, F) of the site edges on the message edges (M, F)."""
        return values if self.site_edge is None else values.index_select(0, self.site_edge)

    def edge_weights(self, occupancies: Tensor) -> Tensor | None:
        """Return the weight (M, 1) of each message edge; None where all are 1."""
        if self.weight_node is None:
            return None
        parts = [occupancies, occupancies.new_ones(1)]
        if self.probabilities is not None:
            parts.append(self.probabilities.to(occupancies.dtype))
        return torch.cat(parts).index_select(0, self.weight_node).unsqueeze(1)


@dataclass(frozen=True)
class SiteArrays:
    """The integer arrays of site edges and nodes that tables are made of (NumPy)."""

    n_sites: int
    receiver: IntArray
    sender: IntArray
    node_site: IntArray
    node_component: IntArray
    node_tie: IntArray  # concerted group of the node, unique in the batch, or PURE
    n_components: int  # the component index of pure nodes
    elements: frozenset[int]  # atomic numbers that are present
    edge_shell: IntArray | None = None  # (E, 3) of `edge_shells`; None without short-range order
    exclusive: ExclusivePairs = NO_PAIRS  # at most one of two sites is filled: no edges

    def sites(self) -> SiteArrays:
        """Return the arrays of the same edges with one pure node on every site."""
        sites = np.arange(self.n_sites)
        pure = np.full(self.n_sites, PURE)
        free = np.full(self.n_sites, self.n_components)
        return replace(self, node_site=sites, node_component=free, node_tie=pure, edge_shell=None)

    @cached_property
    def site_tie(self) -> IntArray:
        """(S,) concerted group of each site, or PURE."""
        tie = np.full(self.n_sites, PURE)
        tie[self.node_site] = self.node_tie
        return tie

    @cached_property
    def tied(self) -> BoolArray:
        """(E,) whether both ends of a site edge belong to the same concerted group."""
        tie = self.site_tie[self.receiver]
        return np.asarray((tie != PURE) & (tie == self.site_tie[self.sender]))

    @cached_property
    def first_node(self) -> IntArray:
        """(S + 1,) first node of each site; nodes are sorted by site."""
        return np.searchsorted(self.node_site, np.arange(self.n_sites + 1))

    def receiving(self, edges: IntArray) -> tuple[IntArray, IntArray]:
        """Return (edge, node of its receiver) for every node of every edge's receiver."""
        return self._nodes_at(edges, self.receiver[edges])

    def sending(self, edges: IntArray) -> tuple[IntArray, IntArray]:
        """Return (position in ``edges``, node of its sender) for every node of every sender."""
        return self._nodes_at(np.arange(len(edges)), self.sender[edges])

    def _nodes_at(self, labels: IntArray, sites: IntArray) -> tuple[IntArray, IntArray]:
        first = self.first_node[sites]
        count = self.first_node[sites + 1] - first
        start = np.repeat(first - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        return np.repeat(labels, count), start + np.arange(int(count.sum()))

    def tied_pairs(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return (site edge, receiving node, sending node) of equal components on tied edges."""
        edge, node = self.receiving(np.flatnonzero(self.tied))
        stride = self.n_components + 1
        keys = self.node_site * stride + self.node_component
        wanted = self.sender[edge] * stride + self.node_component[node]
        found = np.searchsorted(keys, wanted)
        # A component that leaves the sender's site vacant has no node there.
        present = keys[np.minimum(found, len(keys) - 1)] == wanted
        return edge[present], node[present], found[present]


def factorised_tables(arrays: SiteArrays, device: torch.device) -> MessageTables:
    """Return the tables of the factorised form."""
    n_sites, n_nodes = arrays.n_sites, len(arrays.node_site)
    # A site with one node still carries a weight where that node's occupancy is free (a vacancy).
    trivial = (
        n_nodes == n_sites
        and bool((arrays.node_component == arrays.n_components).all())
        and bool((arrays.node_site == np.arange(n_sites)).all())
    )
    receiver, sender = arrays.receiver, arrays.sender
    n_rows = n_sites
    site_edge = tied_nodes = None
    if arrays.tied.any():
        free = np.flatnonzero(~arrays.tied)
        edge, receiving, sending = arrays.tied_pairs()
        tied = np.flatnonzero(arrays.node_tie != PURE)
        row = np.full(n_nodes, PURE)
        row[tied] = n_sites + np.arange(len(tied))
        n_rows = n_sites + len(tied)
        site_edge = _tensor(np.concatenate([free, edge]), device)
        tied_nodes = _tensor(tied, device)
        receiver = np.concatenate([receiver[free], row[receiving]])
        sender = np.concatenate([sender[free], row[sending]])
        trivial = False
    return MessageTables(
        form="factorised",
        n_rows=n_rows,
        receiver=_tensor(receiver, device),
        sender=_tensor(sender, device),
        site_edge=site_edge,
        weight_node=None,
        node_site=_tensor(arrays.node_site, device),
        tied_nodes=tied_nodes,
        trivial=trivial,
    )


def expanded_tables(arrays: SiteArrays, device: torch.device) -> MessageTables:
    """Return the tables of the expanded form."""
    n_nodes = len(arrays.node_site)
    free_edge, free_receiver = arrays.receiving(np.flatnonzero(~arrays.tied))
    pair, free_sender = arrays.sending(free_edge)
    tied_edge, tied_receiver, tied_sender = arrays.tied_pairs()
    free_weight = free_sender
    if arrays.edge_shell is not None:
        offset, width, start = arrays.edge_shell[free_edge[pair]].T
        a = arrays.node_component[free_receiver[pair]] - start
        b = arrays.node_component[free_sender] - start
        # Behind the nodes' occupancies and the 1 of tied edges.
        place = n_nodes + 1 + offset + a * width + b
        free_weight = np.where(offset == ABSENT, free_sender, place)
    weight = np.concatenate([free_weight, np.full(len(tied_edge), n_nodes)])
    return MessageTables(
        form="expanded",
        n_rows=n_nodes,
        receiver=_tensor(np.concatenate([free_receiver[pair], tied_receiver]), device),
        sender=_tensor(np.concatenate([free_sender, tied_sender]), device),
        site_edge=_tensor(np.concatenate([free_edge[pair], tied_edge]), device),
        weight_node=_tensor(weight, device),
        node_site=_tensor(arrays.node_site, device),
        tied_nodes=None,
        trivial=False,
    )


def site_tables(arrays: SiteArrays, device: torch.device) -> MessageTables:
    """Return the tables of the embedding form."""
    return replace(factorised_tables(arrays.sites(), device), form="embedding")


def _tensor(values: IntArray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)
