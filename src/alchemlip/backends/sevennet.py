"""SevenNet: messages are linear in the sender, so occupancies enter before each convolution.

Hooks on the released modules do it all: node features are collapsed onto message rows before a
convolution and expanded onto nodes behind it; in the expanded form the output of the radial network
(`weight_nn`), which multiplies every path of the tensor product, is scaled by the edge's weight.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from alchemlip.backends import ModelCard, file_checksum
from alchemlip.errors import InputError
from alchemlip.graph import Form, Graph, MessageTables

REFERENCE = "Park et al., J. Chem. Theory Comput. 20, 4857 (2024)"
LICENCE = "MIT (with the sevenn wheel)"

BUNDLED = {
    "sevennet-0": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "sevennet-0-22may2024": "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
    "sevennet-l3i5": "SevenNet_l3i5/checkpoint_l3i5.pth",
    "sevennet-mf-0": "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
}
"""Checkpoints that travel in the sevenn wheel, below its folder of pretrained potentials."""

ALIASES = {
    "7net-0": "sevennet-0",
    "7net-0_11july2024": "sevennet-0",
    "sevennet-0_11july2024": "sevennet-0",
    "7net-0_22may2024": "sevennet-0-22may2024",
    "sevennet-0_22may2024": "sevennet-0-22may2024",
    "7net-l3i5": "sevennet-l3i5",
    "7net-mf-0": "sevennet-mf-0",
}


def installed() -> bool:
    """Whether the sevenn package can be imported."""
    return find_spec("sevenn") is not None


def bundled_file(name: str) -> Path:
    """Return the checkpoint of a bundled model, without importing sevenn."""
    spec = find_spec("sevenn")
    if spec is None or spec.origin is None:
        raise InputError(
            f"the potential {name!r} needs the package sevenn: pip install 'alchemlip[sevennet]'"
        )
    return Path(spec.origin).parent / "pretrained_potentials" / BUNDLED[name]


def card(name: str, file: Path, modal: str | None = None) -> ModelCard:
    """Return the card of a bundled model or a local checkpoint."""
    bundled = name in BUNDLED
    return ModelCard(
        name=name,
        kind="SevenNet",
        weights=f"sevenn wheel, {BUNDLED[name]}" if bundled else str(file),
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

    forms: tuple[Form, ...] = ("factorised", "expanded")

    def __init__(
        self,
        name: str,
        file: Path,
        device: torch.device,
        dtype: torch.dtype,
        modal: str | None = None,
    ) -> None:
        if not installed():
            raise InputError(
                f"the potential {name!r} needs the package sevenn: "
                "pip install 'alchemlip[sevennet]'"
            )
        self.card = card(name, file, modal)
        self.dtype = dtype
        self.device = device
        self._model, self.cutoff, type_map = _load_model(file, modal, name)
        self.numbers = frozenset(type_map)
        self._model.to(device=device, dtype=dtype).eval().requires_grad_(False)
        self._tables: MessageTables | None = None
        self._occupancies: Tensor | None = None
        self._edge_weights: Tensor | None = None
        self._hook()

    def node_energies(
        self, graph: Graph, edge_vectors: Tensor, occupancies: Tensor, form: Form
    ) -> Tensor:
        """Return the energy of every node in eV, shape (N,); see `Backend`."""
        import sevenn._keys as KEY

        tables = graph.tables(form)
        self._tables, self._occupancies = tables, occupancies
        self._edge_weights = tables.edge_weights(occupancies)
        data = {
            KEY.NODE_FEATURE: graph.node_number,
            KEY.ATOMIC_NUMBERS: graph.node_number,
            KEY.EDGE_IDX: torch.stack([tables.receiver, tables.sender]),
            KEY.EDGE_VEC: edge_vectors,
        }
        try:
            energies: Tensor = self._model(data)[KEY.ATOMIC_ENERGY]
        finally:
            self._tables = self._occupancies = self._edge_weights = None
        return energies.reshape(-1)

    def _hook(self) -> None:
        import sevenn._keys as KEY
        from sevenn.nn.convolution import IrrepsConvolution, IrrepsScatterGatterFusedConvolution
        from sevenn.nn.edge_embedding import EdgeEmbedding
        from sevenn.nn.node_embedding import OnehotEmbedding

        def one_hot_in_dtype(_: nn.Module, __: Any, data: dict[str, Tensor]) -> None:
            # sevenn casts its one-hot vectors to float32.
            for key in (KEY.NODE_FEATURE, KEY.NODE_ATTR):
                if data[key].is_floating_point():
                    data[key] = data[key].to(self.dtype)

        def angles_on_edges(_: nn.Module, __: Any, data: dict[str, Tensor]) -> None:
            data[KEY.EDGE_ATTR] = self._active.on_edges(data[KEY.EDGE_ATTR])

        def radial_on_edges(_: nn.Module, __: Any, weight: Tensor) -> Tensor:
            weight = self._active.on_edges(weight)
            return weight if self._edge_weights is None else weight * self._edge_weights

        def collapse(_: nn.Module, arguments: tuple[dict[str, Tensor], ...]) -> None:
            data = arguments[0]
            assert self._occupancies is not None
            data[KEY.NODE_FEATURE] = self._active.collapse(
                data[KEY.NODE_FEATURE], self._occupancies
            )

        def expand(_: nn.Module, __: Any, data: dict[str, Tensor]) -> None:
            data[KEY.NODE_FEATURE] = self._active.expand(data[KEY.NODE_FEATURE])

        convolutions = 0
        for module in self._model.children():
            if isinstance(module, OnehotEmbedding):
                module.register_forward_hook(one_hot_in_dtype)
            elif isinstance(module, EdgeEmbedding):
                module.register_forward_hook(angles_on_edges)
            elif isinstance(module, IrrepsConvolution | IrrepsScatterGatterFusedConvolution):
                module.weight_nn.register_forward_hook(radial_on_edges)
                module.register_forward_pre_hook(collapse)
                module.register_forward_hook(expand)
                convolutions += 1
        if convolutions == 0:
            raise InputError(
                f"the SevenNet model {self.card.name!r} has no convolution that alchemlip knows: "
                "use sevenn 0.11 or newer"
            )

    @property
    def _active(self) -> MessageTables:
        if self._tables is None:
            raise RuntimeError("the hooked SevenNet model was called outside node_energies()")
        return self._tables


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
            raise InputError(
                f"the potential {name!r} has several fidelities and modal={modal!r} is none of "
                f"them: choose one of {', '.join(fidelities)}"
            )
        model.prepare_modal_deploy(modal)
    elif modal is not None:
        raise InputError(f"the potential {name!r} has one fidelity: leave out modal={modal!r}")
    # Energies are summed, and differentiated, by the potential in float64.
    model.delete_module_by_key("force_output")
    model.delete_module_by_key("reduce_total_enegy")
    model.key_grad = None
    model.set_is_batch_data(False)
    return model, float(config[KEY.CUTOFF]), dict(config[KEY.TYPE_MAP])
