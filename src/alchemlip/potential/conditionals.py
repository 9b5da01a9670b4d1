"""Conditional probabilities of short-range ordered groups as tensors, for the message weights.

A batch has one flat table of P(b | a): group by group, shell by shell, a in rows. It is a smooth
function of the composition and of the Warren-Cowley parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.mixture.mixture import Mixture

ABSENT = -1


@dataclass(frozen=True)
class ConditionalTable:
    """How the flat table of a batch follows from its composition and parameters.

    Attributes:
        groups: for each group its first component, its parameters' place in the flat vector
            (D, K, K), the last entry of which, 0, stands on the diagonal.
        parameters: (A,) Warren-Cowley parameters of the batch, as the mixtures have them.
        counts: how many of them each structure has.
    """

    groups: tuple[tuple[int, Tensor], ...]
    parameters: Tensor
    counts: tuple[int, ...]

    def probabilities(self, composition: Tensor, parameters: Tensor) -> Tensor:
        """Return the flat table (T,) at a composition (K,) and parameters (A,)."""
        extended = torch.cat([parameters, parameters.new_zeros(1)])
        tables = []
        for start, index in self.groups:
            k = index.shape[-1]
            p = composition[start : start + k]
            alpha = extended[index]
            eye = torch.eye(k, dtype=p.dtype, device=p.device)
            # b = a: what the others do not take.
            own = (p + alpha @ p).unsqueeze(-1) * eye
            tables.append((own + (p * (1.0 - alpha)) * (1.0 - eye)).reshape(-1))
        return torch.cat(tables)


def conditional_table(
    mixtures: Sequence[Mixture], component_start: IntArray, device: torch.device
) -> ConditionalTable | None:
    """Return the table of a batch; None if nothing in it is short-range ordered."""
    groups: list[tuple[int, Tensor]] = []
    parameters: list[FloatArray] = []
    counts = []
    for mixture, first in zip(mixtures, component_start.tolist(), strict=False):
        start, count = first, 0
        for group in mixture.groups:
            k = len(group.components)
            if group.short_range_order is not None:
                values = group.short_range_order.parameters
                before = sum(len(item) for item in parameters)
                index = np.full(group.short_range_order.alpha.shape, ABSENT)
                upper = np.triu_indices(k, 1)
                place = before + np.arange(len(values)).reshape(len(index), -1)
                index[:, upper[0], upper[1]] = index[:, upper[1], upper[0]] = place
                groups.append((start, torch.from_numpy(index).to(device)))
                parameters.append(values)
                count += len(values)
            start += k
        counts.append(count)
    if not groups:
        return None
    flat = torch.from_numpy(np.concatenate(parameters)).to(device)
    return ConditionalTable(tuple(groups), flat, tuple(counts))


def edge_shells(
    mixtures: Sequence[Mixture],
    edges: Sequence[tuple[IntArray, IntArray, FloatArray]],
    component_start: IntArray,
) -> IntArray:
    """Return where each site edge finds its probabilities, (E, 3), ``ABSENT`` where it has none.

    Columns: the offset of its shell in the flat table, the number of components, and the first
    component of the group.

    Args:
        mixtures: of the batch.
        edges: receiver, sender and cell shift of each mixture's site edges.
        component_start: first component of each mixture in the batch.
    """
    parts = []
    offset = 0
    for mixture, (receiver, sender, shift), first in zip(
        mixtures, edges, component_start.tolist(), strict=False
    ):
        found = np.full((len(receiver), 3), ABSENT)
        start = first
        vectors = mixture.positions[sender] + shift @ mixture.cell - mixture.positions[receiver]
        lengths = np.linalg.norm(vectors, axis=1)
        for group in mixture.groups:
            k = len(group.components)
            order = group.short_range_order
            if order is not None:
                member = np.zeros(mixture.n_sites, dtype=bool)
                member[group.sites] = True
                shell = np.searchsorted(order.radii, lengths)
                near = member[receiver] & member[sender] & (shell < len(order.radii))
                found[near, 0] = offset + shell[near] * k * k
                found[near, 1] = k
                found[near, 2] = start
                offset += order.alpha.size
            start += k
        parts.append(found)
    return np.concatenate(parts)
