"""Undirected bonds and triplets of nodes, for models with three-body messages (CHGNet).

A triplet is a centre (i, a) with two of its bonds, to (j, b) and (k, c). What the bond between the
first two receives from (k, c) is weighted by P(c at k | a at i, b at j): the component that i or j
implies where k is tied to one of them, 0 where k and j exclude one another, else the occupancy of
(k, c). The product of two bond weights would count the occupancy of (j, b) twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alchemlip.arrays import BoolArray, IntArray
from alchemlip.mixture.nodes import PURE
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form, MessageTables


@dataclass(frozen=True)
class Bonds:
    """Message edges paired with their reverses, and the triplets of short bonds.

    Attributes:
        receiver, sender: (M,) rows (nodes, or sites in the embedding form) of each directed bond.
        undirected: (M,) index of the undirected bond of each directed one.
        site_edge: (U,) site edge that gives each undirected bond its geometry.
        weight_node: (M,) node whose occupancy weights the message of a directed bond, the number of
            nodes for weight 1; None where all are 1.
        centre: (T,) row of the centre of each triplet.
        first, second: (T,) undirected bonds of each triplet: the one that receives, the other.
        first_edge, second_edge: (T,) site edges of the two, both received by the centre.
        third_node: (T,) node whose occupancy weights the triplet, as ``weight_node``.
    """

    receiver: Tensor
    sender: Tensor
    undirected: Tensor
    site_edge: Tensor
    weight_node: Tensor | None
    centre: Tensor
    first: Tensor
    second: Tensor
    first_edge: Tensor
    second_edge: Tensor
    third_node: Tensor | None


def bonds(graph: Graph, form: Form, edge_lengths: Tensor, cutoff: float) -> Bonds:
    """Return the bonds of a graph.

    Args:
        graph: nodes and site edges.
        form: ``expanded`` or ``embedding``.
        edge_lengths: (E,) in Angstrom.
        cutoff: bonds shorter than this, in Angstrom, form triplets.
    """
    device = graph.device
    tables = graph.tables(form)
    lengths = edge_lengths.detach().cpu().numpy()
    receiver, sender, edge = _directed(graph, tables)
    node_weight = None if tables.weight_node is None else _array(tables.weight_node)
    reverse = _reverse_edges(graph)
    # A pair at the cutoff may have been found from one end only; its messages vanish there.
    kept = reverse[edge] >= 0
    if not kept.all():
        receiver, sender, edge = receiver[kept], sender[kept], edge[kept]
        node_weight = None if node_weight is None else node_weight[kept]
    undirected, representative = _undirected(receiver, sender, edge, reverse)
    first, second = _triplets(receiver, np.flatnonzero(lengths[edge] < cutoff))
    third = None
    if node_weight is not None:
        allowed, third = _third(graph, sender, edge, node_weight, first, second)
        first, second, third = first[allowed], second[allowed], third[allowed]

    def tensor(values: IntArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.int64)).to(device)

    return Bonds(
        receiver=tensor(receiver),
        sender=tensor(sender),
        undirected=tensor(undirected),
        site_edge=tensor(edge[representative]),
        weight_node=None if node_weight is None else tensor(node_weight),
        centre=tensor(receiver[first]),
        first=tensor(undirected[first]),
        second=tensor(undirected[second]),
        first_edge=tensor(edge[first]),
        second_edge=tensor(edge[second]),
        third_node=None if third is None else tensor(third),
    )


def _array(values: Tensor) -> IntArray:
    return np.asarray(values.cpu().numpy())


def _directed(graph: Graph, tables: MessageTables) -> tuple[IntArray, IntArray, IntArray]:
    edge = (
        np.arange(len(graph.arrays.receiver))
        if tables.site_edge is None
        else _array(tables.site_edge)
    )
    return _array(tables.receiver), _array(tables.sender), edge


def _reverse_edges(graph: Graph) -> IntArray:
    """Return for every site edge the same pair seen from the other end, -1 where there is none."""
    receiver, sender = graph.arrays.receiver, graph.arrays.sender
    if len(receiver) == 0:
        return receiver
    shift = np.rint(graph.shift.cpu().numpy()).astype(np.int64)
    reach = int(np.abs(shift).max())
    base = 2 * reach + 1

    def keys(first: IntArray, second: IntArray, sign: int) -> IntArray:
        digits = sign * shift + reach
        packed = (digits[:, 0] * base + digits[:, 1]) * base + digits[:, 2]
        return np.asarray((first * graph.n_sites + second) * base**3 + packed)

    own, mirrored = keys(receiver, sender, 1), keys(sender, receiver, -1)
    order = np.argsort(own)
    place = np.minimum(np.searchsorted(own, mirrored, sorter=order), len(own) - 1)
    found = order[place]
    reverse: IntArray = np.where(own[found] == mirrored, found, -1)
    return reverse


def _undirected(
    receiver: IntArray, sender: IntArray, edge: IntArray, reverse: IntArray
) -> tuple[IntArray, IntArray]:
    """Number pairs of opposite bonds; return (M,) numbers and one directed bond of each."""
    rows = int(max(receiver.max(initial=0), sender.max(initial=0))) + 1
    forward = edge < reverse[edge]
    # The canonical end of a pair is the one whose site edge comes first.
    canonical_edge = np.where(forward, edge, reverse[edge])
    high = np.where(forward, receiver, sender)
    low = np.where(forward, sender, receiver)
    keys = (canonical_edge * rows + high) * rows + low
    _, representative, numbers = np.unique(keys, return_index=True, return_inverse=True)
    return numbers.reshape(-1), representative


def _triplets(receiver: IntArray, short: IntArray) -> tuple[IntArray, IntArray]:
    """Return all ordered pairs of different short directed bonds with the same receiver."""
    short = short[np.argsort(receiver[short], kind="stable")]
    centres, counts = np.unique(receiver[short], return_counts=True)
    start = np.concatenate([[0], np.cumsum(counts)])[:-1] if len(centres) else counts
    per_bond = np.repeat(counts, counts)
    first = np.repeat(np.arange(len(short)), per_bond)
    offset = np.arange(len(first)) - np.repeat(np.cumsum(per_bond) - per_bond, per_bond)
    second = np.repeat(np.repeat(start, counts), per_bond) + offset
    different = first != second
    return short[first[different]], short[second[different]]


def _third(
    graph: Graph,
    sender: IntArray,
    edge: IntArray,
    node_weight: IntArray,
    first: IntArray,
    second: IntArray,
) -> tuple[BoolArray, IntArray]:
    """Return which triplets can occur, and the node that weights each.

    The two bonds may lead to different species at one and the same site, which cannot both be
    there: their site edges are the same. Nor can atoms of two sites that exclude one another.
    """
    arrays = graph.arrays
    allowed = edge[first] != edge[second]
    tie = arrays.node_tie
    j, k = sender[first], sender[second]
    tied = (tie[j] != PURE) & (tie[j] == tie[k])
    same = arrays.node_component[j] == arrays.node_component[k]
    allowed &= ~tied | same
    if len(arrays.exclusive):
        shift = np.rint(graph.shift.cpu().numpy())
        apart = shift[edge[second]] - shift[edge[first]]
        allowed &= ~arrays.exclusive.contain(arrays.node_site[j], arrays.node_site[k], apart)
    return allowed, np.where(tied, len(arrays.node_site), node_weight[second])
