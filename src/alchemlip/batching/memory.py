"""How much fits into one pass of a model: measured, not guessed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.potential import AlchemicalPotential

T = TypeVar("T")

CPU_BYTES = 2**28
"""Of tensors kept for the derivatives of one pass on a CPU. Beyond the caches more gains nothing,
and blocks this large go back to the system and come again, zeroed, with every pass
(benchmarks/batches.md)."""
CUDA_FRACTION = 0.6
"""Of the memory that is free on a GPU when a pass begins."""
MARGIN = 1.2
"""For structures with more neighbours than those that were measured."""


class PassSize:
    """What one pass of a potential takes, learnt from its passes.

    The measure is the bytes per node (a species on a site): on a GPU the peak of what the pass
    allocated, on a CPU the tensors that it kept for the derivatives.

    Args:
        potential: whose passes they are.
    """

    def __init__(self, potential: AlchemicalPotential) -> None:
        self.potential = potential
        self._bytes_per_node = 0.0
        self._largest = 0

    @property
    def measured(self) -> bool:
        """Whether there was a pass."""
        return self._largest > 0

    def fits(self, mixtures: Sequence[Mixture]) -> bool:
        """Whether mixtures fit into one pass."""
        return _nodes(mixtures) * self._bytes_per_node * MARGIN <= self._budget()

    def in_passes(
        self, mixtures: Sequence[Mixture], one_pass: Callable[[int, int], Sequence[T]]
    ) -> list[T]:
        """Return what passes over ranges of the mixtures give, joined.

        A pass that runs out of GPU memory is divided.

        Args:
            mixtures: in order.
            one_pass: called with the first index and the one after the last.
        """
        found: list[T] = []
        first = 0
        while first < len(mixtures):
            last = first + 1
            if self.measured:
                while last < len(mixtures) and self.fits(mixtures[first : last + 1]):
                    last += 1
            while True:
                try:
                    found += self._measured_pass(mixtures[first:last], first, last, one_pass)
                    break
                except torch.cuda.OutOfMemoryError:
                    if last == first + 1:
                        raise
                torch.cuda.empty_cache()
                last = first + (last - first) // 2
                self._bytes_per_node *= 1.5
            first = last
        return found

    def _measured_pass(
        self,
        mixtures: Sequence[Mixture],
        first: int,
        last: int,
        one_pass: Callable[[int, int], Sequence[T]],
    ) -> Sequence[T]:
        nodes = _nodes(mixtures)
        if self.potential.device.type == "cuda":
            device = self.potential.device
            torch.cuda.reset_peak_memory_stats(device)
            before = torch.cuda.memory_allocated(device)
            found = one_pass(first, last)
            self._learn(nodes, torch.cuda.max_memory_allocated(device) - before)
            return found
        if nodes <= 2 * self._largest:
            return one_pass(first, last)  # known well enough
        kept: dict[int, int] = {}

        def note(tensor: torch.Tensor) -> torch.Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            found = one_pass(first, last)
        self._learn(nodes, sum(kept.values()))
        return found

    def _learn(self, nodes: int, n_bytes: int) -> None:
        # The largest pass tells most: what every pass needs, however small, counts least there.
        if nodes > self._largest or n_bytes > nodes * self._bytes_per_node * MARGIN:
            self._largest = max(nodes, self._largest)
            self._bytes_per_node = n_bytes / nodes

    def _budget(self) -> float:
        if self.potential.device.type != "cuda":
            return CPU_BYTES
        device = self.potential.device
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return CUDA_FRACTION * (free + cached)


def _nodes(mixtures: Sequence[Mixture]) -> int:
    return sum(len(mixture.nodes.site) for mixture in mixtures)
