"""SevenNet: messages are linear in the sender, so occupancies enter before each convolution.

Hooks on the released modules do it all: node features are collapsed onto message rows before a
convolution and expanded onto nodes behind it; in the expanded form the output of the radial network
(`weight_nn`), which multiplies every path of the tensor product, is scaled by the edge's weight. In
the embedding form the one-hot vectors give way to occupancies, and energies are rescaled species by
species.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alchemlip.backends import ModelCard, file_checksum
from alchemlip.backends.forward_state import ForwardState
from alchemlip.backends.names import SEVENNET, missing_package
from alchemlip.errors import InputError
from alchemlip.potential.graph import Graph
from alchemlip.potential.messages import Form, MessageTables

REFERENCE = "Park et al., J. Chem. Theory Comput. 20, 4857 (2024)"
LICENCE = "MIT (with the sevenn wheel)"


def installed() -> bool:
    """Whether the sevenn package can be imported."""
    return find_spec("sevenn") is not None


def bundled_file(name: str) -> Path:
    """Return the checkpoint of a bundled model, without importing sevenn."""
    spec = find_spec("sevenn")
    if spec is None or spec.origin is None:
        raise InputError(missing_package(name, "sevenn", "sevennet"))
    return Path(spec.origin).parent / "pretrained_potentials" / SEVENNET[name]


def card(name: str, file: Path, modal: str | None = None) -> ModelCard:
    """Return the card of a bundled model or a local checkpoint."""
    bundled = name in SEVENNET
    return ModelCard(
        name=name,
        kind="SevenNet",
        weights=f"sevenn wheel, {SEVENNET[name]}" if bundled else str(file),
        licence=LICENCE if bundled else "that of the file",
        sha256=file_checksum(file),
        reference=REFERENCE,
        variant=modal or "",
    )


def covered_numbers(name: str) -> list[int]:
    """Return the atomic numbers that a bundled model covers."""
    import sevenn._keys as KEY
    from sevenn.checkpoint import SevenNetCheckpoint

    return sorted(SevenNetCheckpoint(bundled_file(name)).config[KEY.TYPE_MAP])


class SevenNetBackend:
    """A SevenNet checkpoint as a `Backend`.

    Args:
        name: name for the card.
        file: the checkpoint.
        device, dtype: of the weights.
        modal: fidelity of a multi-fidelity model.

    Raises:
        InputError: if the file is no SevenNet checkpoint, or the fidelity does not fit.
    """

    forms: tuple[Form, ...] = ("factorised", "expanded", "embedding")
    thread_safe = True

    def __init__(
        self,
        name: str,
        file: Path,
        device: torch.device,
        dtype: torch.dtype,
        modal: str | None = None,
    ) -> None:
        if not installed():
            raise InputError(missing_package(name, "sevenn", "sevennet"))
        self.card = card(name, file, modal)
        self.dtype = dtype
        self.device = device
        self._model, self.cutoff, type_map = _load_model(file, modal, name)
        self.numbers = frozenset(type_map)
        column = torch.zeros(max(type_map) + 1, dtype=torch.int64)
        column[list(type_map)] = torch.tensor(list(type_map.values()))
        self._column = column.to(device)
        self._n_columns = len(type_map)
        self._model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._forward: ForwardState[_Inputs] = ForwardState("SevenNet")
        self._hook()

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        """Return the energy of every node in eV, shape (N,); see `Backend`."""
        import sevenn._keys as KEY

        tables = graph.tables(form)
        numbers = graph.node_number
        if form == "embedding":
            # One species of each site stands in; the hooks bring in the others.
            numbers = numbers.new_zeros(graph.n_sites).index_copy(0, graph.node_site, numbers)
        data = {
            KEY.NODE_FEATURE: numbers,
            KEY.ATOMIC_NUMBERS: numbers,
            KEY.EDGE_IDX: torch.stack([tables.receiver, tables.sender]),
            KEY.EDGE_VEC: edge_vectors,
        }
        with self._forward.of(_Inputs(graph, tables, occupancies)):
            energies: Tensor = self._model(data)[KEY.ATOMIC_ENERGY]
        return energies.reshape(-1)

    def _hook(self) -> None:
        import sevenn._keys as KEY
        from sevenn.nn.convolution import IrrepsConvolution, IrrepsScatterGatterFusedConvolution
        from sevenn.nn.edge_embedding import EdgeEmbedding
        from sevenn.nn.node_embedding import OnehotEmbedding
        from sevenn.nn.scale import ModalWiseRescale, SpeciesWiseRescale

        def attributes(_: nn.Module, __: Any, data: dict[str, Tensor]) -> None:
            for key in (KEY.NODE_FEATURE, KEY.NODE_ATTR):
                if not data[key].is_floating_point():
                    continue
                if self._inputs.embedding:
                    data[key] = self._inputs.graph.site_attributes(
                        self._column[self._inputs.graph.node_number],
                        self._n_columns,
                        self._inputs.occupancies,
                    )
                else:  # sevenn casts its one-hot vectors to float32
                    data[key] = data[key].to(self.dtype)

        def angles_on_edges(_: nn.Module, __: Any, data: dict[str, Tensor]) -> None:
            data[KEY.EDGE_ATTR] = self._inputs.tables.on_edges(data[KEY.EDGE_ATTR])

        def radial_on_edges(_: nn.Module, __: Any, weight: Tensor) -> Tensor:
            weight = self._inputs.tables.on_edges(weight)
            scale = self._inputs.edge_weights
            return weight if scale is None else weight * scale

        def collapse(_: nn.Module, arguments: tuple[dict[str, Tensor], ...]) -> None:
            data = arguments[0]
            data[KEY.NODE_FEATURE] = self._inputs.tables.collapse(
                data[KEY.NODE_FEATURE], self._inputs.occupancies
            )

        def expand(_: nn.Module, __: Any, data: dict[str, Tensor]) -> None:
            data[KEY.NODE_FEATURE] = self._inputs.tables.expand(data[KEY.NODE_FEATURE])

        def by_species(module: Any, arguments: tuple[dict[str, Tensor], ...]) -> None:
            if self._inputs.embedding:
                data, graph = arguments[0], self._inputs.graph
                data[module.key_input] = data[module.key_input][graph.node_site]
                data[KEY.ATOM_TYPE] = self._column[graph.node_number]

        def summed(module: Any, _: Any, data: dict[str, Tensor]) -> None:
            if self._inputs.embedding:
                weighted = data[module.key_output] * self._inputs.occupancies.unsqueeze(1)
                data[module.key_output] = self._inputs.graph.on_sites(weighted)

        convolutions = 0
        for module in self._model.children():
            if isinstance(module, OnehotEmbedding):
                module.register_forward_hook(attributes)
            elif isinstance(module, EdgeEmbedding):
                module.register_forward_hook(angles_on_edges)
            elif isinstance(module, IrrepsConvolution | IrrepsScatterGatterFusedConvolution):
                module.weight_nn.register_forward_hook(radial_on_edges)
                module.register_forward_pre_hook(collapse)
                module.register_forward_hook(expand)
                convolutions += 1
            elif isinstance(module, SpeciesWiseRescale | ModalWiseRescale):
                module.register_forward_pre_hook(by_species)
                module.register_forward_hook(summed)
        if convolutions == 0:
            raise InputError(
                f"the SevenNet model {self.card.name!r} has no convolution that alchemlip knows: "
                "use sevenn 0.11 or newer"
            )

    @property
    def _inputs(self) -> _Inputs:
        return self._forward.inputs


class _Inputs:
    """What the hooks of one evaluation need."""

    def __init__(self, graph: Graph, tables: MessageTables, occupancies: Tensor) -> None:
        self.graph = graph
        self.tables = tables
        self.occupancies = occupancies
        self.edge_weights = tables.edge_weights(occupancies)
        self.embedding = tables.form == "embedding"


def _load_model(file: Path, modal: str | None, name: str) -> tuple[Any, float, dict[int, int]]:
    """Return the released network without its force head, its cutoff and its element table."""
    import sevenn._keys as KEY
    from sevenn.checkpoint import SevenNetCheckpoint

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            checkpoint = SevenNetCheckpoint(file)
            config = checkpoint.config
            if not config:
                raise ValueError("it holds no model configuration")
            model = checkpoint.build_model()
    except Exception as error:  # torch and pickle raise anything at all on a foreign file
        detail = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"cannot read {str(file)!r} as a SevenNet checkpoint ({detail[:160]}): give a .pth "
            "file that sevenn wrote"
        ) from error
    fidelities = list(model.modal_map or {})
    if fidelities:
        if modal not in fidelities:
            wrong = "" if modal is None else f", and {modal!r} is none of them"
            raise InputError(
                f"the potential {name!r} has several fidelities{wrong}: choose one of "
                f"{', '.join(fidelities)} (modal=, --modal)"
            )
        model.prepare_modal_deploy(modal)
    elif modal is not None:
        raise InputError(
            f"the potential {name!r} has one fidelity: leave out modal={modal!r} (--modal)"
        )
    # Energies are summed, and differentiated, by the potential in float64.
    model.delete_module_by_key("force_output")
    model.delete_module_by_key("reduce_total_enegy")
    model.key_grad = None
    model.set_is_batch_data(False)
    return model, float(config[KEY.CUTOFF]), dict(config[KEY.TYPE_MAP])
