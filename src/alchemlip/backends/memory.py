"""How much memory a run takes, told from sites and neighbours before anything is loaded.

What a pass needs is proportional to the edges between sites and to the nodes on them; the numbers
of each potential are measured (benchmarks/memory.md). They are all that is to be changed when a
potential's convolution changes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from alchemlip.backends.names import ALIASES
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.neighbours import NeighbourList

Derivatives = Literal["first", "second"]

TOLD = 2e9
"""Bytes from which on the estimate is told before a run."""
MARGIN = 1.3
"""How much less than estimated a run may take: what is refused cannot fit."""


@dataclass(frozen=True)
class PassMemory:
    """Memory of one pass of a potential, in float64.

    Attributes:
        cutoff: in Angstrom.
        bytes_per_edge: for each directed pair of neighbours, with first derivatives.
        bytes_per_node: for each species on each site.
        second: times as much for second derivatives in the occupancies.
        expanded: whether edges and angles are those between nodes rather than sites.
        bytes_per_angle: for each pair of neighbours of a node within ``bond_cutoff``.
        bond_cutoff: in Angstrom.
    """

    cutoff: float
    bytes_per_edge: float
    bytes_per_node: float
    second: float = 1.0
    expanded: bool = False
    bytes_per_angle: float = 0.0
    bond_cutoff: float = 0.0

    def bytes(self, mixture: Mixture, derivatives: Derivatives = "first") -> tuple[int, float]:
        """Return the number of site edges of a mixture, and the bytes of its evaluation."""
        receiver, sender, shift = NeighbourList(self.cutoff, skin=0.0).edges(
            mixture.positions, mixture.cell, mixture.pbc
        )
        sites = mixture.n_sites
        species = np.bincount(mixture.nodes.site, minlength=sites)
        nodes = float(species.sum())
        weights = species if self.expanded else np.ones(sites, dtype=np.int64)
        edges = float((weights[receiver] * weights[sender]).sum())
        vectors = mixture.positions[sender] + shift @ mixture.cell - mixture.positions[receiver]
        near = np.linalg.norm(vectors, axis=1) < self.bond_cutoff
        bonds = np.bincount(receiver[near], weights[sender[near]], minlength=sites)
        angles = float((weights * bonds**2).sum())
        total = edges * self.bytes_per_edge + nodes * self.bytes_per_node
        total += angles * self.bytes_per_angle
        return len(receiver), total * (self.second if derivatives == "second" else 1.0)


SEVENNET = PassMemory(5.0, 240e3, 250e3)
CHGNET = PassMemory(
    6.0, 70e3, 0.0, second=3.0, expanded=True, bytes_per_angle=20e3, bond_cutoff=3.0
)
MACE_SMALL = PassMemory(6.0, 11.5e3, 1.22e6, second=1.8)

MODELS: dict[str, PassMemory] = {
    **dict.fromkeys(("sevennet-0", "sevennet-0-22may2024"), SEVENNET),
    **dict.fromkeys(("chgnet-0.3.0", "chgnet-0.2.0", "chgnet-r2scan"), CHGNET),
    **dict.fromkeys(("mace-mp-small", "mace-mp-small-0b", "mace-mp-small-0b2"), MACE_SMALL),
}
"""The potentials whose memory is measured."""


@dataclass(frozen=True)
class Size:
    """What a run's largest pass holds, and what it takes.

    Attributes:
        sites, edges: of the crystal; edges are directed pairs of sites.
        bytes: needed, estimated.
        free: bytes that are free.
        where: whose memory it is.
    """

    sites: int
    edges: int
    bytes: float
    free: float
    where: str

    @property
    def words(self) -> str:
        """The size in words."""
        return f"{self.sites:,} sites with {self.edges:,} neighbours"


def size_of(
    mixture: Mixture,
    model: str,
    dtype: str,
    *,
    repeats: Sequence[int] = (1, 1, 1),
    derivatives: Derivatives = "first",
    device: str = "cpu",
) -> Size | None:
    """Estimate what the evaluation of a supercell takes; None for a potential not measured.

    Args:
        mixture: its cell, whose sites are counted rather than those of the supercell.
        model: name of a potential; a fidelity or head may follow.
        dtype: of the weights.
        repeats: of the cell.
        derivatives: of the energy, once or twice.
        device: cpu, cuda or auto.
    """
    name = model.lower().rpartition("@")[0] or model.lower()
    known = MODELS.get(ALIASES.get(name, name))
    if known is None or mixture.n_sites == 0:
        return None
    edges, needed = known.bytes(mixture, derivatives)
    cells = math.prod(repeats)
    where, free = free_memory(device)
    half = 2 if dtype == "float32" else 1
    return Size(cells * mixture.n_sites, cells * edges, cells * needed / half, free, where)


def check_memory(size: Size, dtype: str) -> str | None:
    """Refuse a size that cannot fit.

    Returns:
        What should be told of a large one; None of others.

    Raises:
        InputError: with the sizes.
    """
    needed = f"{size.words} take about {_gigabytes(size.bytes)} in {dtype}"
    if size.bytes > MARGIN * size.free:
        less = ", --dtype float32" if dtype == "float64" else ""
        raise InputError(
            f"{needed}, and {_gigabytes(size.free)} of {size.where} are free: take a smaller "
            f"cell{less}, or a machine with more"
        )
    if size.bytes < TOLD:
        return None
    return f"{needed}; {_gigabytes(size.free)} of {size.where} are free."


def free_memory(device: str) -> tuple[str, float]:
    """Return whose memory a device uses, and how many bytes of it are free."""
    if device != "cpu":
        import torch

        if torch.cuda.is_available():
            return "the GPU's memory", float(torch.cuda.mem_get_info()[0])
    return "memory", min(_of_machine(), _of_group())


def _of_machine() -> float:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return 1024.0 * float(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return math.inf  # another system: nothing is known, and nothing refused


def _of_group() -> float:
    """Return what the control group of this process (a container, a job) leaves."""
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ):
        try:
            return float(Path(limit).read_text()) - float(Path(used).read_text())
        except (OSError, ValueError):  # none, or "max"
            continue
    return math.inf


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:.3g} GB"
