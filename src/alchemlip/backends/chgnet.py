"""CHGNet: messages depend on both ends, so they run on pairs of nodes (the expanded form).

Hooks on the released modules do it all: rows of each `AtomConv.twoBody_atom` are scaled by
P(neighbour | centre), rows of each `BondConv.twoBody_bond` by P(third | both ends of the bond).
Bond features are symmetric in their ends and carry no weight.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alchemlip.backends import ModelCard, file_checksum
from alchemlip.backends.forward_state import ForwardState
from alchemlip.backends.names import CHGNET, missing_package
from alchemlip.errors import InputError
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form
from alchemlip.potential.triplets import Bonds, bonds

REFERENCE = "Deng et al., Nat. Mach. Intell. 5, 1031 (2023)"
LICENCE = "BSD-3-Clause (with the chgnet wheel)"

N_ELEMENTS = 94
"""CHGNet's tables hold hydrogen to plutonium, in the order of their atomic numbers."""


def installed() -> bool:
    """Whether the chgnet package can be imported."""
    return find_spec("chgnet") is not None


def bundled_file(name: str) -> Path:
    """Return the checkpoint of a bundled model, without importing chgnet."""
    spec = find_spec("chgnet")
    if spec is None or spec.origin is None:
        raise InputError(missing_package(name, "chgnet", "chgnet"))
    return Path(spec.origin).parent / "pretrained" / CHGNET[name]


def card(name: str, file: Path) -> ModelCard:
    """Return the card of a bundled model or a local checkpoint."""
    bundled = name in CHGNET
    return ModelCard(
        name=name,
        kind="CHGNet",
        weights=f"chgnet wheel, {CHGNET[name]}" if bundled else str(file),
        licence=LICENCE if bundled else "that of the file",
        sha256=file_checksum(file),
        reference=REFERENCE,
    )


class CHGNetBackend:
    """A CHGNet checkpoint as a `Backend`.

    Args:
        name: name for the card.
        file: the checkpoint.
        device, dtype: of the weights.

    Raises:
        InputError: if the file is no CHGNet checkpoint, or its readout has no site energies.
    """

    forms: tuple[Form, ...] = ("expanded", "embedding")
    thread_safe = True
    short_range_order = False  # of three-body messages: not written yet
    numbers = frozenset(range(1, N_ELEMENTS + 1))

    def __init__(self, name: str, file: Path, device: torch.device, dtype: torch.dtype) -> None:
        if not installed():
            raise InputError(missing_package(name, "chgnet", "chgnet"))
        self.card = card(name, file)
        self.dtype = dtype
        self.device = device
        model = load_network(name, file)
        if not model.mlp_first:
            raise InputError(
                f"the CHGNet model {name!r} pools atoms before its readout, so it has no site "
                "energies that could be weighted: use one trained with mlp_first=True"
            )
        self._model = model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self.cutoff = float(model.graph_converter.atom_graph_cutoff)
        self._bond_cutoff = float(model.graph_converter.bond_graph_cutoff)
        self._forward: ForwardState[_Inputs] = ForwardState("CHGNet")
        self._hook()

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        """Return the energy of every node in eV, shape (N,); see `Backend`."""
        found = self._run(graph, edge_vectors, occupancies, form, return_site_energies=True)
        energies: Tensor = torch.cat(found["site_energies"])
        composition_model = self._model.composition_model
        if composition_model is None:
            return energies
        # chgnet's own way to these reference energies goes through float32.
        reference: Tensor = composition_model.fc.weight[0]
        if form == "embedding":
            return energies + self._attributes(graph, occupancies) @ reference
        return energies + reference[graph.node_number - 1]

    def node_magnetic_moments(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        """Return the magnetic moment of every node in Bohr magnetons, shape (N,)."""
        found = self._run(graph, edge_vectors, occupancies, form, compute_magmom=True)
        return torch.cat(found["m"])

    def _run(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form, **task: bool
    ) -> dict[str, Any]:
        from chgnet.model.model import BatchedGraph

        model = self._model
        lengths = torch.linalg.norm(edge_vectors, dim=1)
        directions = edge_vectors / lengths.unsqueeze(1)
        found = bonds(graph, form, lengths, self._bond_cutoff)
        n_rows = graph.tables(form).n_rows
        bond_lengths = lengths[found.site_edge]
        expand = model.bond_basis_expansion
        numbers = graph.node_number
        if form == "embedding":
            numbers = numbers.new_ones(n_rows)  # stand-ins: the hook gives the features
        batch = BatchedGraph(
            atomic_numbers=numbers,
            bond_bases_ag=expand.rbf_expansion_ag(bond_lengths),
            bond_bases_bg=expand.rbf_expansion_bg(bond_lengths),
            angle_bases=model.angle_basis_expansion(
                directions[found.first_edge], directions[found.second_edge]
            ),
            batched_atom_graph=torch.stack([found.receiver, found.sender], dim=1),
            batched_bond_graph=torch.stack([found.centre, found.first, found.second], dim=1),
            # One owner for all: sums over structures are the potential's, in float64.
            atom_owners=torch.zeros(n_rows, dtype=torch.int64, device=self.device),
            directed2undirected=found.undirected,
            atom_positions=[],
            strains=[],
            volumes=edge_vectors.new_ones(1),
        )
        with self._forward.of(_Inputs(graph, occupancies, found, form)):
            outputs: dict[str, Any] = model._compute(batch, **task)
        return outputs

    def _attributes(self, graph: Graph, occupancies: Tensor) -> Tensor:
        return graph.site_attributes(graph.node_number - 1, N_ELEMENTS, occupancies)

    @property
    def _inputs(self) -> _Inputs:
        return self._forward.inputs

    def _hook(self) -> None:
        def neighbours(_: nn.Module, __: Any, messages: Tensor) -> Tensor:
            weights = self._inputs.bond_weights
            return messages if weights is None else messages * weights

        def thirds(_: nn.Module, __: Any, updates: Tensor) -> Tensor:
            weights = self._inputs.triplet_weights
            return updates if weights is None else updates * weights

        def mixed_features(module: nn.Module, _: Any, features: Tensor) -> Tensor:
            inputs = self._inputs
            if inputs.form != "embedding":
                return features
            table: Tensor = module.embedding.weight  # type: ignore[assignment, union-attr]
            return self._attributes(inputs.graph, inputs.occupancies) @ table

        def only_with_angles(_: nn.Module, __: Any, update: Tensor) -> Tensor:
            # chgnet leaves the bonds of a structure without angles alone, bias included; in a batch
            # they must be left alone as well.
            inputs = self._inputs
            return update * inputs.has_angles

        for layer in self._model.atom_conv_layers:
            layer.twoBody_atom.register_forward_hook(neighbours)
        for layer in self._model.bond_conv_layers:
            if layer is None:
                continue
            layer.twoBody_bond.register_forward_hook(thirds)
            if any(name.endswith("bias") for name, _ in layer.mlp_out.named_parameters()):
                layer.mlp_out.register_forward_hook(only_with_angles)
        self._model.atom_embedding.register_forward_hook(mixed_features)


class _Inputs:
    """What the hooks of one evaluation need."""

    def __init__(self, graph: Graph, occupancies: Tensor, found: Bonds, form: Form) -> None:
        self.graph = graph
        self.occupancies = occupancies
        self.form = form
        self._bonds = found
        extended = torch.cat([occupancies, occupancies.new_ones(1)])
        self.bond_weights = self.triplet_weights = None
        if found.weight_node is not None and found.third_node is not None:
            self.bond_weights = extended[found.weight_node].unsqueeze(1)
            self.triplet_weights = extended[found.third_node].unsqueeze(1)

    @property
    def has_angles(self) -> Tensor:
        """(U, 1) whether the structure of each bond has triplets that exist, as 0 or 1."""
        found, graph = self._bonds, self.graph
        structure = graph.site_structure[graph.receiver[found.site_edge]]
        exists = torch.ones(len(structure), dtype=torch.bool, device=structure.device)
        if self.form == "expanded":
            there = self.occupancies.detach() != 0.0
            exists[found.undirected] = there[found.receiver] & there[found.sender]
        both = exists[found.first] & exists[found.second]
        flags = self.occupancies.new_zeros(graph.n_structures)
        flags[structure[found.first[both]]] = 1.0
        return flags[structure].unsqueeze(1)


def load_network(name: str, file: Path) -> Any:
    """Return chgnet's own network of a checkpoint, without running anything in the file.

    Raises:
        InputError: if the file is no CHGNet checkpoint.
    """
    from chgnet.model import CHGNet

    try:
        # Tensors and plain Python data: nothing in the file is run.
        state = torch.load(file, map_location="cpu", weights_only=True)["model"]
        # A file does not say that its output layers have biases; they are in its weights.
        biased = any("mlp_out" in key and key.endswith("bias") for key in state["state_dict"])
        # chgnet announces itself on standard output.
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            return CHGNet.from_dict(state, mlp_out_bias=biased)
    except Exception as error:  # torch raises anything at all on a foreign file
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot read {str(file)!r} as a CHGNet checkpoint ({detail[:160]}): give a .pth.tar "
            "file that chgnet wrote"
        ) from error
