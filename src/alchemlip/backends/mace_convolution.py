"""MACE's convolution as matrix products over the neighbours of each receiver.

Upstream makes the message of every edge and adds the messages up. For channel u and path
(l1, l2 -> l3), with radial weights R, sender features h and spherical harmonics Y,

    M_i[u, k] = sum over neighbours j and m1  (R_ij[u] h_j[u, m1]) T_ij[m1, k]
    T_ij[m1, k] = sum over m2  C[m1, m2, k] Y_ij[m2]

is a product of a (channels, neighbours m1) and a (neighbours m1, k) matrix for every receiver
(Batatia et al., arXiv:2206.07697, eq. 8): nothing as large as edges x channels x components is
stored. Receivers of like numbers of neighbours share one batch, filled up with edges of T = 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from alchemlip.arrays import IntArray
from alchemlip.potential.messages import MessageTables

FILLING = 0.2
"""A batch may hold so large a part of empty edges before a second one is opened,"""
SMALL = 256
"""or so many: what one more batch costs."""


@dataclass(frozen=True)
class ReceiverBlocks:
    """The message edges in batches of receivers with equally many places for neighbours.

    Attributes:
        shapes: (receivers, places) of each batch; M' places in all.
        edge: (M',) message edge at each place, the number of message edges at empty places.
        site_edge: (M',) site edge at each place, the number of site edges at empty places; None
            where places are the site edges in order.
        sender, receiver: (M',) rows; a place without an edge has sender 0.
        position: (n_rows,) where each row stands in the batches; None if in order.
    """

    shapes: tuple[tuple[int, int], ...]
    edge: Tensor
    site_edge: Tensor | None
    sender: Tensor
    receiver: Tensor
    position: Tensor | None

    def on_places(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """Return values (E, F) of the site edges at the places (M', F), ``empty`` elsewhere."""
        if self.site_edge is None:
            return values
        return _extended(values, empty).index_select(0, self.site_edge)

    def messages_on_places(self, values: Tensor) -> Tensor:
        """Return values (M, F) of the message edges at the places (M', F), 0 elsewhere."""
        return _extended(values, 0.0).index_select(0, self.edge)


def _extended(values: Tensor, last: float) -> Tensor:
    return torch.cat([values, values.new_full((1, *values.shape[1:]), last)])


def receiver_blocks(tables: MessageTables, n_site_edges: int) -> ReceiverBlocks:
    """Return the batches of a table of messages."""
    device = tables.receiver.device
    receiver, sender = tables.receiver.cpu().numpy(), tables.sender.cpu().numpy()
    counts = np.bincount(receiver, minlength=tables.n_rows)
    batches = _batches(counts)
    site_edge = np.arange(n_site_edges)
    if tables.site_edge is not None:
        site_edge = tables.site_edge.cpu().numpy()
    n_edges = len(receiver)
    by_receiver = np.append(np.argsort(receiver, kind="stable"), n_edges)
    first = np.cumsum(counts) - counts
    edges = []
    for rows, places in batches:
        place = np.arange(places)
        filled = place < counts[rows, None]
        edges.append(by_receiver[np.where(filled, first[rows, None] + place, n_edges)].reshape(-1))
    edge = np.concatenate(edges)
    at_places = np.append(site_edge, n_site_edges)[edge]
    in_order = np.array_equal(at_places, np.arange(n_site_edges))
    position = None
    if len(batches) > 1:
        position = np.empty(tables.n_rows, dtype=np.int64)
        position[np.concatenate([rows for rows, _ in batches])] = np.arange(tables.n_rows)

    def tensor(values: IntArray) -> Tensor:
        return torch.from_numpy(values).to(device)

    return ReceiverBlocks(
        shapes=tuple((len(rows), places) for rows, places in batches),
        edge=tensor(edge),
        site_edge=None if in_order else tensor(at_places),
        sender=tensor(np.append(sender, 0)[edge]),
        receiver=tensor(np.concatenate([np.repeat(rows, places) for rows, places in batches])),
        position=None if position is None else tensor(position),
    )


def _batches(counts: IntArray) -> list[tuple[IntArray, int]]:
    """Return (rows, places) of batches in which few places stay empty."""
    order = np.argsort(-counts, kind="stable")
    ranked = counts[order]
    starts = [0]
    for index, count in enumerate(ranked.tolist()):
        places = int(ranked[starts[-1]])
        left = len(ranked) - index
        if places - count > FILLING * places and (places - count) * left > SMALL:
            starts.append(index)
    if len(starts) == 1:
        return [(np.arange(len(counts)), max(1, int(ranked[0])))]
    return [
        (order[start:end], max(1, int(ranked[start])))
        for start, end in zip(starts, [*starts[1:], len(ranked)], strict=True)
    ]


def can_fuse(product: Any) -> bool:
    """Whether a tensor product is e3nn's and goes channel by channel, with a weight for each."""
    return (
        type(product).__name__ == "TensorProduct"
        and type(product).__module__.startswith("e3nn.")
        and not product.internal_weights
        and all(mul == 1 for mul, _ in product.irreps_in2)
        and len({mul for mul, _ in product.irreps_in1}) == 1
        and all(i.connection_mode == "uvu" and i.has_weight for i in product.instructions)
        and len({i.i_out for i in product.instructions}) == len(product.irreps_out)
        and len(product.instructions) == len(product.irreps_out)
    )


class Convolution(nn.Module):
    """A tensor product and the sum over neighbours, as mace calls a fused one.

    Args:
        product: mace's own tensor product, for which `can_fuse` holds.
        blocks: returns the batches of the evaluation that runs; None for the plain sum over edges.
    """

    couplings: Tensor

    def __init__(self, product: Any, blocks: Callable[[], ReceiverBlocks | None]) -> None:
        super().__init__()
        self.product = product
        self.weight_numel = product.weight_numel
        self.channels = product.irreps_in1[0].mul
        self._blocks = blocks
        self.senders = [irrep.ir.dim for irrep in product.irreps_in1]
        # Of each path: the part of the sender's features, its (m1, k), and where its result goes.
        self.paths = [
            (i.i_in1, self.senders[i.i_in1], product.irreps_out[i.i_out].ir.dim, i.i_out)
            for i in product.instructions
        ]
        self.register_buffer("couplings", _couplings(product, self.paths), persistent=False)

    def forward(
        self, features: Tensor, harmonics: Tensor, weights: Tensor, edge_index: Tensor
    ) -> Tensor:
        """Return what each row receives (n_rows, F) from the features (n_rows, F') of all."""
        blocks = self._blocks()
        if blocks is None:
            messages: Tensor = self.product(features[edge_index[0]], harmonics, weights)
            rows = messages.new_zeros((len(features), messages.shape[1]))
            return rows.index_add(0, edge_index[1], messages)
        parts = torch.split(features, [self.channels * m for m in self.senders], dim=1)
        sent = [
            part.reshape(-1, self.channels, m).transpose(1, 2).index_select(0, edge_index[0])
            for part, m in zip(parts, self.senders, strict=True)
        ]
        angles = torch.split(harmonics @ self.couplings, [m * k for _, m, k, _ in self.paths], 1)
        radial = weights.reshape(-1, len(self.paths), self.channels).unbind(1)
        sizes = [n * places for n, places in blocks.shapes]
        results: list[Tensor] = [features] * len(self.paths)
        for weight, angle, (source, m, k, target) in zip(radial, angles, self.paths, strict=True):
            weighted = weight.unsqueeze(1) * sent[source]
            batches = [
                torch.bmm(
                    a.reshape(n, places * m, self.channels).transpose(1, 2),
                    t.reshape(n, places * m, k),
                )
                for a, t, (n, places) in zip(
                    torch.split(weighted, sizes),
                    torch.split(angle, sizes),
                    blocks.shapes,
                    strict=True,
                )
            ]
            results[target] = (batches[0] if len(batches) == 1 else torch.cat(batches)).flatten(1)
        received = torch.cat(results, dim=1)
        return received if blocks.position is None else received.index_select(0, blocks.position)


def _couplings(product: Any, paths: list[tuple[int, int, int, int]]) -> Tensor:
    """Return C (m2, all of m1 k of all paths) as the product itself has it, constants included."""
    channels = product.irreps_in1[0].mul
    n_first, n_second = product.irreps_in1.dim // channels, product.irreps_in2.dim
    parameter = next((b for b in product.buffers() if b.is_floating_point()), None)
    options: dict[str, Any] = {}
    if parameter is not None:
        options = {"device": parameter.device, "dtype": parameter.dtype}
    ones = torch.ones(1, product.weight_numel, **options).expand(n_first * n_second, -1)
    # One component of the first and one of the second argument at a time, in every channel.
    first = torch.zeros(n_first, product.irreps_in1.dim, **options)
    row = 0
    starts = []
    for piece, (_, ir) in zip(product.irreps_in1.slices(), product.irreps_in1, strict=True):
        starts.append(row)
        for m in range(ir.dim):
            first[row, piece.start + m : piece.stop : ir.dim] = 1.0
            row += 1
    second = torch.eye(n_second, **options)
    with torch.no_grad():
        table = product(
            first.repeat_interleave(n_second, dim=0), second.repeat(n_first, 1), ones
        ).reshape(n_first, n_second, -1)
    slices = product.irreps_out.slices()
    columns = [
        table[starts[source] : starts[source] + m, :, slices[target].start :][:, :, :k]
        for source, m, k, target in paths
    ]
    return torch.cat([c.transpose(0, 1).flatten(1) for c in columns], dim=1).contiguous()
