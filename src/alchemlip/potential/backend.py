"""What a model must give to be evaluated at continuous occupancies, and what is known of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:  # so that names of potentials can be completed without loading torch
    import torch
    from torch import Tensor

    from alchemlip.potential.graph import Graph
    from alchemlip.potential.messages import Form


@dataclass(frozen=True)
class ModelCard:
    """What a person should know about a set of weights.

    Attributes:
        name: name that `load_potential` takes.
        kind: the architecture.
        weights: where the weights come from.
        licence: of the weights.
        sha256: checksum of the weights' file.
        reference: publication to cite.
        variant: fidelity or head in use, where a model has several.
    """

    name: str
    kind: str
    weights: str
    licence: str
    sha256: str
    reference: str
    variant: str = ""


class Backend(Protocol):
    """A model whose node energies depend on occupancies.

    Attributes:
        card: what the weights are.
        cutoff: largest distance of a message, in Angstrom.
        numbers: atomic numbers that the model covers.
        forms: forms of the message tables it can run on, the preferred first; ``embedding``, if it
            is among them, last.
        dtype, device: of the weights.

    A backend whose calls in several threads at once do not disturb one another says so by
    ``thread_safe = True``; any other is called by one thread at a time. Hooks that find the inputs
    of the evaluation by `alchemlip.backends.forward_state.ForwardState` are safe.

    A model with magnetic moments also has ``node_magnetic_moments``, which takes the arguments of
    ``node_energies`` and returns the moment (N,) of every node in Bohr magnetons.
    """

    card: ModelCard
    cutoff: float
    numbers: frozenset[int]
    forms: tuple[Form, ...]
    dtype: torch.dtype
    device: torch.device

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        """Return the energy of every node in eV, shape (N,), reference energies included.

        In the embedding form: of every site, shape (S,).

        Args:
            graph: nodes, site edges, and ``graph.tables(form)``.
            edge_vectors: (E, 3) from receiver to sender in Angstrom, in the model's dtype.
            occupancies: (N,) in the model's dtype.
            form: one of ``forms``.

        The result must be differentiable, twice, in edge vectors and occupancies, and must not
        weight a node's energy by its own occupancy: the potential does that, in float64.
        """
        ...
