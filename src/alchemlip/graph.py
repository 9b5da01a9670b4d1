"""The graph of a batch of mixtures: site edges, nodes, and the collapse/expand tables.

Geometry lives on *site edges*, one per pair of neighbouring sites whatever sits on them. What a
receiver (i, a) gets from a sender (j, b) is weighted by the conditional probability
P(b at j | a at i); `MessageTables` holds it in one of two forms:

    factorised   the weighted sum over the sender's species is taken before the message is made
    expanded     one edge per allowed pair of nodes, each with its weight (the reference)

A third, `embedding`, has no nodes: one row per site, whose one-hot element vector is replaced by
its occupancies. It is another path between the same end states, not another form of one energy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from vesin import NeighborList as VesinList

from alchemlip.conditionals import ABSENT, ConditionalTable, conditional_table, edge_shells
from alchemlip.errors import InputError
from alchemlip.groups import BoolArray, FloatArray, IntArray
from alchemlip.mixture import Mixture
from alchemlip.nodes import PURE

Form = Literal["factorised", "expanded", "embedding"]

SMALLEST_DISTANCE = 0.3
"""Sites closer than this (Angstrom) are refused: no potential was trained there."""


class NeighbourList:
    """Neighbours of one structure, with a Verlet skin (vesin).

    The edges depend on the configuration alone, not on when the skin was last rebuilt: they are
    filtered to the cutoff and sorted by (receiver, sender, shift).

    Args:
        cutoff: in Angstrom.
        skin: in Angstrom; the list is searched anew only when sites may have crossed it.
    """

    def __init__(self, cutoff: float, skin: float = 0.5) -> None:
        self.cutoff = cutoff
        self.skin = skin
        self._list = VesinList(cutoff=cutoff, full_list=True, skin=skin, n_threads=1)

    def __reduce__(self) -> tuple[type[NeighbourList], tuple[float, float]]:
        # vesin's list cannot be copied; a fresh one gives the same edges.
        return NeighbourList, (self.cutoff, self.skin)

    def edges(
        self, positions: FloatArray, cell: FloatArray, pbc: BoolArray
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """Return receiver (E,), sender (E,) and cell shift (E, 3) of every neighbour pair.

        The vector of an edge is ``positions[sender] + shift @ cell - positions[receiver]``.

        Raises:
            InputError: if positions are not finite, the cell is flat along a periodic direction,
                or two sites nearly coincide.
        """
        check_geometry(positions, cell, pbc)
        i, j, shift = self._list.compute(
            points=positions, box=cell, periodic=[bool(p) for p in pbc], quantities="ijS"
        )
        receiver, sender = i.astype(np.int64), j.astype(np.int64)
        shift = shift.astype(np.int64)
        order = np.lexsort((shift[:, 2], shift[:, 1], shift[:, 0], sender, receiver))
        receiver, sender, shift = receiver[order], sender[order], shift[order].astype(float)
        vectors = positions[sender] + shift @ cell - positions[receiver]
        squared = np.einsum("ex,ex->e", vectors, vectors)
        if len(squared) and squared.min() < SMALLEST_DISTANCE**2:
            edge = int(squared.argmin())
            raise InputError(
                f"sites {receiver[edge]} and {sender[edge]} are {np.sqrt(squared[edge]):.3f} A "
                f"apart, closer than {SMALLEST_DISTANCE} A: correct the positions or the cell"
            )
        return receiver, sender, shift


def check_geometry(positions: FloatArray, cell: FloatArray, pbc: BoolArray) -> None:
    """Refuse positions or cells that cannot be evaluated.

    Raises:
        InputError: naming the first site or direction at fault.
    """
    broken = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if len(broken):
        raise InputError(
            f"the position of site {broken[0]} is not finite ({positions[broken[0]]}): correct the "
            "structure, or use a smaller step if it came from dynamics"
        )
    if not np.isfinite(cell).all():
        raise InputError("a cell vector is not finite: correct the cell")
    periodic = cell[pbc]
    lengths = np.linalg.norm(periodic, axis=1)
    flat = len(periodic) > 0 and (
        lengths.min() < SMALLEST_DISTANCE
        or np.linalg.svd(periodic / lengths[:, None], compute_uv=False).min() < 1e-3
    )
    if flat:
        raise InputError(
            "the cell is flat: its periodic vectors span no length, area or volume "
            f"(lengths {', '.join(f'{length:.3g}' for length in lengths)} A): give a proper cell"
        )


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
    arrays: _Arrays
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
        return _factorised_tables(self.arrays, self.device)

    @cached_property
    def expanded(self) -> MessageTables:
        """The tables of the expanded form."""
        return _expanded_tables(self.arrays, self.device)

    @cached_property
    def embedding(self) -> MessageTables:
        """The tables of the embedding form: the plain graph of the sites."""
        return _site_tables(self.arrays, self.device)

    @cached_property
    def uncorrelated(self) -> MessageTables:
        """The expanded tables, had every group been independent."""
        untied = replace(
            self.arrays, node_tie=np.full_like(self.arrays.node_tie, PURE), edge_shell=None
        )
        return _expanded_tables(untied, self.device)

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


@dataclass(frozen=True)
class _Arrays:
    """The integer arrays that tables are made of (NumPy)."""

    n_sites: int
    receiver: IntArray
    sender: IntArray
    node_site: IntArray
    node_component: IntArray
    node_tie: IntArray  # concerted group of the node, unique in the batch, or PURE
    n_components: int  # the component index of pure nodes
    elements: frozenset[int]  # atomic numbers that are present
    edge_shell: IntArray | None = None  # (E, 3) of `edge_shells`; None without short-range order

    def sites(self) -> _Arrays:
        """Return the arrays of the same edges with one pure node on every site."""
        sites = np.arange(self.n_sites)
        pure = np.full(self.n_sites, PURE)
        free = np.full(self.n_sites, self.n_components)
        return replace(self, node_site=sites, node_component=free, node_tie=pure, edge_shell=None)

    @cached_property
    def site_tie(self) -> IntArray:
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
        neighbours.edges(mixture.positions, mixture.cell, mixture.pbc)
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
        arrays=_Arrays(
            int(site_start[-1]),
            receiver,
            sender,
            node_site,
            node_component,
            node_tie,
            n_components,
            frozenset(np.concatenate([n.number for n in nodes]).tolist()),
            None if short_range is None else edge_shells(mixtures, edges, component_start),
        ),
        short_range=short_range,
    )


def _factorised_tables(arrays: _Arrays, device: torch.device) -> MessageTables:
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


def _expanded_tables(arrays: _Arrays, device: torch.device) -> MessageTables:
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


def _site_tables(arrays: _Arrays, device: torch.device) -> MessageTables:
    return replace(_factorised_tables(arrays.sites(), device), form="embedding")


def _tensor(values: IntArray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)
