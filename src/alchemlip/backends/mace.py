"""MACE: which form a model can run on follows from what it is made of, not from its name.

Hooks on the released modules do it all. Every interaction block multiplies its tensor-product
weights and its edge density by the ``cutoff`` that the radial embedding returns: in the expanded
form the weight of a message edge goes there. Where a message is linear in the sender and does not
depend on the receiver (the plain and the residual block, without a distance transform), the output
of ``linear_up`` is collapsed onto message rows and the message expanded onto nodes behind it: the
factorised form, in which mace's own interface for fused convolutions takes the sum over neighbours.
"""

from __future__ import annotations

import copy
import threading
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alchemlip.backends.forward_state import ForwardState
from alchemlip.backends.mace_convolution import (
    Convolution,
    ReceiverBlocks,
    can_fuse,
    receiver_blocks,
)
from alchemlip.backends.mace_elements import keep_elements
from alchemlip.backends.mace_files import card, load_model
from alchemlip.errors import InputError
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form, MessageTables

LINEAR_BLOCKS = ("RealAgnosticInteractionBlock", "RealAgnosticResidualInteractionBlock")
WEIGHTED_BLOCKS = (
    *LINEAR_BLOCKS,
    "RealAgnosticDensityInteractionBlock",
    "RealAgnosticDensityResidualInteractionBlock",
    "RealAgnosticAttResidualInteractionBlock",
    "RealAgnosticResidualNonLinearInteractionBlock",
)
GRAPH_FEATURES = {"total_charge": 0.0, "total_spin": 1.0}
"""Inputs for whole structures, where a model takes them: neutral, singlet (mace's defaults)."""


class MACEBackend:
    """A MACE model as a `Backend`.

    Args:
        name: name for the card.
        file: the model file, or a model object.
        device, dtype: of the weights.
        head: which head of a multi-head model.
        drop_absent: evaluate with the weights of the elements that are present (exact, faster).

    Raises:
        InputError: if the file is no MACE model that can be mixed, or there is no such head.
    """

    thread_safe = True

    def __init__(
        self,
        name: str,
        file: Path | nn.Module,
        device: torch.device,
        dtype: torch.dtype,
        head: str | None = None,
        drop_absent: bool = True,
    ) -> None:
        self.dtype = dtype
        self.device = device
        if isinstance(file, nn.Module):
            model: Any = file
        else:
            model = load_model(file, name)
        self.card = card(name, file if isinstance(file, Path) else None, head)
        blocks = {type(block).__name__ for block in model.interactions}
        unknown = blocks.difference(WEIGHTED_BLOCKS)
        if unknown:
            raise InputError(
                f"the MACE model {name!r} has interaction blocks that cannot be mixed "
                f"({', '.join(sorted(unknown))}): use a model of the published blocks"
            )
        features = getattr(model, "embedding_specs", None) or {}
        foreign = sorted(set(features).difference(GRAPH_FEATURES))
        if foreign:
            raise InputError(
                f"the MACE model {name!r} needs the input {foreign[0]!r}, which a mixture does not "
                "have: use another model"
            )
        transform = hasattr(model.radial_embedding, "distance_transform")
        linear = blocks.issubset(LINEAR_BLOCKS) and not transform
        nodes: tuple[Form, ...] = ("factorised", "expanded") if linear else ("expanded",)
        self.forms = (*nodes, "embedding")
        self.head = _head(list(getattr(model, "heads", None) or ["Default"]), head, name)
        self._model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.cutoff = float(model.r_max)
        numbers = model.atomic_numbers.tolist()
        self.numbers = frozenset(numbers)
        self._column = torch.full((max(numbers) + 1,), -1, dtype=torch.int64)
        self._column[numbers] = torch.arange(len(numbers))
        self._column = self._column.to(device)
        self._columns = {number: column for column, number in enumerate(numbers)}
        self._drop_absent = drop_absent
        self._hooked: dict[tuple[int, ...], _HookedModel] = {}
        self._making = threading.Lock()

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        """Return the energy of every node in eV, shape (N,); see `Backend`."""
        present = tuple(sorted({self._columns[z] for z in graph.arrays.elements}))
        columns = self._column[graph.node_number]
        one_hot = torch.nn.functional.one_hot(columns, len(self.numbers)).to(self.dtype)
        hooked = self._hooked_model(present if self._drop_absent else ())
        return hooked.node_energies(graph, edge_vectors, occupancies, one_hot, form)

    def _hooked_model(self, present: tuple[int, ...]) -> _HookedModel:
        """Return the network for some columns of elements, made when it is first asked for."""
        with self._making:
            found = self._hooked.get(present)
            if found is None:
                model = self._model
                model = keep_elements(model, list(present)) if present else copy.deepcopy(model)
                if len(self._hooked) >= 8:  # a search over many elements must not pile up models
                    self._hooked.pop(next(iter(self._hooked)))
                found = self._hooked[present] = _HookedModel(model, self.head, self.forms[0])
        return found


def _head(heads: list[str], wanted: str | None, name: str) -> int:
    if wanted is None and len(heads) > 1:
        raise InputError(
            f"the MACE model {name!r} has several heads: choose one of {', '.join(heads)} "
            "(head=, --head)"
        )
    if wanted is not None and wanted not in heads:
        raise InputError(
            f"the MACE model {name!r} has no head {wanted!r}: choose one of "
            f"{', '.join(heads)} (head=, --head)"
        )
    return heads.index(wanted) if wanted is not None else 0


class _HookedModel:
    """A MACE network with the hooks that put occupancies into its messages."""

    def __init__(self, model: Any, head: int, preferred: Form) -> None:
        self._model = model
        self._head = head
        self._preferred = preferred
        self._forward: ForwardState[_Inputs] = ForwardState("MACE")
        self._hook()

    def node_energies(
        self,
        graph: Graph,
        edge_vectors: Tensor,
        occupancies: Tensor,
        one_hot: Tensor,
        form: Form,
    ) -> Tensor:
        # The form that is only the reference of another keeps to mace's own convolution.
        batched = form in (self._preferred, "embedding")
        inputs = _Inputs(graph, edge_vectors, occupancies, one_hot, form, batched)
        attributes = one_hot
        if form == "embedding":
            attributes = graph.on_sites(one_hot * occupancies.unsqueeze(1))
        n_nodes = len(attributes)
        none = edge_vectors.new_zeros((0, 3))
        whole = torch.zeros(1, dtype=torch.int64, device=edge_vectors.device)
        # Geometry and edges come in through the hooks; mace sees one structure without edges.
        data = {
            "node_attrs": attributes,
            "positions": edge_vectors.new_zeros((n_nodes, 3)),
            "cell": edge_vectors.new_zeros((3, 3)),
            "shifts": none,
            "unit_shifts": none,
            "edge_index": torch.zeros((2, 0), dtype=torch.int64, device=edge_vectors.device),
            "batch": whole.expand(n_nodes),
            "ptr": torch.tensor([0, n_nodes], device=edge_vectors.device),
            "head": whole + self._head,
            **{name: edge_vectors.new_full((1,), value) for name, value in GRAPH_FEATURES.items()},
        }
        with self._forward.of(inputs):
            energies: Tensor = self._model(
                data, compute_force=False, compute_virials=False, compute_stress=False
            )["node_energy"]
        if inputs.embedding_energy is not None:
            energies = energies + inputs.embedding_energy
        return energies

    @property
    def _inputs(self) -> _Inputs:
        return self._forward.inputs

    def _hook(self) -> None:
        model = self._model
        model.spherical_harmonics.register_forward_pre_hook(
            # MACE's vectors point from the sender to the receiver.
            lambda _, __: (-self._inputs.edge_vectors,)
        )
        model.spherical_harmonics.register_forward_hook(
            lambda _, __, angles: self._inputs.on_edges(angles)
        )
        model.radial_embedding.register_forward_pre_hook(self._lengths)
        model.radial_embedding.register_forward_hook(self._radial)
        for block in model.interactions:
            block.register_forward_pre_hook(self._edges, with_kwargs=True)
            if can_fuse(block.conv_tp):
                block.conv_tp = Convolution(block.conv_tp, lambda: self._inputs.blocks)
                block.conv_fusion = True  # mace then leaves the sum to conv_tp
            if type(block).__name__ in LINEAR_BLOCKS:
                block.linear_up.register_forward_hook(
                    lambda _, __, features: self._inputs.tables.collapse(
                        features, self._inputs.occupancies
                    )
                )
            if type(block).__name__ == "RealAgnosticInteractionBlock":
                # Its selector tensor product mixes the message with what the node is.
                block.skip_tp.register_forward_pre_hook(
                    lambda _, arguments: (
                        self._inputs.tables.expand(arguments[0]),
                        *arguments[1:],
                    )
                )
            elif type(block).__name__ == "RealAgnosticResidualInteractionBlock":
                block.reshape.register_forward_pre_hook(
                    lambda _, arguments: (self._inputs.tables.expand(arguments[0]),)
                )
        for product in model.products:
            # It may look up a node's element: in the embedding form once for every species.
            product.symmetric_contractions.register_forward_pre_hook(self._on_nodes)
            product.symmetric_contractions.register_forward_hook(self._on_sites)
        if hasattr(model.radial_embedding, "distance_transform"):
            model.radial_embedding.distance_transform.register_forward_pre_hook(self._transform)
            model.radial_embedding.distance_transform.register_forward_hook(self._transformed)
        if hasattr(model, "pair_repulsion_fn"):
            model.pair_repulsion_fn.register_forward_pre_hook(self._pairs)
            model.pair_repulsion_fn.register_forward_hook(self._pair_energies)
        if hasattr(model, "embedding_readout"):
            model.embedding_readout.register_forward_hook(self._keep_embedding_energy)

    def _lengths(self, module: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        inputs = self._inputs
        if hasattr(module, "distance_transform"):
            # It depends on which elements meet: one length per message edge.
            lengths = inputs.on_edges(inputs.lengths, empty=1.0)
            return (lengths, arguments[1], inputs.edge_index, arguments[3])
        return (inputs.lengths, *arguments[1:])

    def _radial(
        self, module: Any, _: Any, output: tuple[Tensor, Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        inputs = self._inputs
        features, cutoff = output
        if not hasattr(module, "distance_transform"):
            features = inputs.on_edges(features)
            cutoff = None if cutoff is None else inputs.on_edges(cutoff)
        weights = inputs.edge_weights()
        if weights is None:
            return features, cutoff
        return features, weights if cutoff is None else cutoff * weights

    def _edges(
        self, _: Any, arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return arguments, {**named, "edge_index": self._inputs.edge_index}

    def _on_nodes(self, _: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        inputs = self._inputs
        if not inputs.embedding:
            return arguments
        element = inputs.one_hot
        if arguments[1].dim() == 1:  # cuEquivariance's takes the columns
            element = element.argmax(dim=1).to(arguments[1].dtype)
        return (arguments[0].index_select(0, inputs.graph.node_site), element)

    def _on_sites(self, _: Any, __: Any, output: Tensor) -> Tensor:
        inputs = self._inputs
        if not inputs.embedding:
            return output
        return inputs.graph.on_sites(output * inputs.occupancies.unsqueeze(1))

    def _transform(self, _: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """In the embedding form, transform the length of every pair of nodes."""
        inputs = self._inputs
        if not inputs.embedding:
            return arguments
        tables = inputs.pairs
        index = torch.stack([tables.sender, tables.receiver])
        return (tables.on_edges(inputs.lengths), inputs.one_hot, index, arguments[3])

    def _transformed(self, _: Any, __: Any, output: Tensor) -> Tensor:
        """Average the transformed lengths over the species at both ends of a site edge."""
        inputs = self._inputs
        if not inputs.embedding:
            return output
        tables = inputs.pairs
        weights = tables.edge_weights(inputs.occupancies)
        assert weights is not None
        assert tables.site_edge is not None
        both = weights * inputs.occupancies[tables.receiver].unsqueeze(1)
        averaged = output.new_zeros(inputs.lengths.shape)
        return inputs.on_edges(averaged.index_add(0, tables.site_edge, output * both), empty=1.0)

    def _pairs(self, _: Any, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Make every node edge a pair of its own, so that the module returns energies by edge."""
        inputs = self._inputs
        tables = inputs.pairs
        receiver, sender = tables.receiver, tables.sender
        attributes = torch.cat([inputs.one_hot[receiver], inputs.one_hot[sender]])
        pair = torch.arange(len(receiver), device=receiver.device)
        lengths = tables.on_edges(inputs.lengths)
        return (lengths, attributes, torch.stack([pair + len(pair), pair]), arguments[3])

    def _pair_energies(self, _: Any, __: Any, by_edge: Tensor) -> Tensor:
        inputs = self._inputs
        tables = inputs.pairs
        weights = tables.edge_weights(inputs.occupancies)
        assert weights is not None
        weighted = by_edge[: len(tables.receiver)] * weights.squeeze(1)
        by_node = weighted.new_zeros(tables.n_rows).index_add(0, tables.receiver, weighted)
        if not inputs.embedding:
            return by_node
        return inputs.graph.on_sites(by_node * inputs.occupancies)

    def _keep_embedding_energy(self, _: Any, __: Any, output: Tensor) -> None:
        self._inputs.embedding_energy = output[:, self._head]


class _Inputs:
    """What the hooks of one evaluation need."""

    def __init__(
        self,
        graph: Graph,
        edge_vectors: Tensor,
        occupancies: Tensor,
        one_hot: Tensor,
        form: Form,
        batched: bool,
    ) -> None:
        self.graph = graph
        self.edge_vectors = edge_vectors
        self.occupancies = occupancies
        self.one_hot = one_hot
        self.embedding = form == "embedding"
        self.tables: MessageTables = graph.tables(form)
        self.lengths = torch.linalg.norm(edge_vectors, dim=1, keepdim=True)
        self.embedding_energy: Tensor | None = None  # which the network leaves out of its own
        self.blocks: ReceiverBlocks | None = None
        if batched:
            self.blocks = receiver_blocks(self.tables, len(edge_vectors))
        rows = self.blocks or self.tables
        self.edge_index = torch.stack([rows.sender, rows.receiver])

    @property
    def pairs(self) -> MessageTables:
        """Pairs of nodes, for what looks up the elements of both; sites have no correlation."""
        return self.graph.uncorrelated if self.embedding else self.graph.expanded

    def on_edges(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """Return values (E, F) of the site edges on the edges that the network sees."""
        if self.blocks is not None:
            return self.blocks.on_places(values, empty)
        return self.tables.on_edges(values)

    def edge_weights(self) -> Tensor | None:
        """Return the weight of each edge that the network sees, 0 where there is none."""
        weights = self.tables.edge_weights(self.occupancies)
        if weights is None or self.blocks is None:
            return weights
        return self.blocks.messages_on_places(weights)
