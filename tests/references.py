"""The potentials' own ASE calculators, cast to float64: the reference of the invariants."""

from __future__ import annotations

from functools import partial
from typing import Any
from unittest import mock

import torch


def sevennet_float64(name: str, modal: str | None = None) -> Any:
    """Return sevenn's calculator with weights, inputs and one-hot vectors in float64."""
    import sevenn._keys as KEY
    import sevenn.util
    from sevenn.calculator import SevenNetCalculator
    from sevenn.nn.node_embedding import OnehotEmbedding

    class Float64(SevenNetCalculator):
        def calculate(self, *args: Any, **kwargs: Any) -> None:
            # sevenn makes its tensors float32 here, and casts one-hot vectors in the network.
            exact = partial(sevenn.util.dtype_correct, float_dtype=torch.float64)
            with mock.patch("sevenn.util.dtype_correct", exact):
                super().calculate(*args, **kwargs)

    def cast(_: Any, __: Any, data: Any) -> None:
        for key in (KEY.NODE_FEATURE, KEY.NODE_ATTR):
            if data[key].is_floating_point():
                data[key] = data[key].double()

    calculator = Float64(name, device="cpu", modal=modal)
    calculator.model.double()
    for module in calculator.model.modules():
        if isinstance(module, OnehotEmbedding):
            module.register_forward_hook(cast)
    return calculator


def chgnet_float64(name: str) -> Any:
    """Return chgnet's own prediction as an ASE calculator, inputs and weights in float64."""
    import chgnet.graph.converter
    import chgnet.model.model
    from ase.calculators.calculator import Calculator, all_changes
    from ase.units import GPa
    from chgnet.model import CHGNet
    from pymatgen.io.ase import AseAtomsAdaptor

    model = CHGNet.load(model_name=name, use_device="cpu", verbose=False).double()
    model.graph_converter.set_isolated_atom_response("ignore")

    def fractions(graphs: Any) -> torch.Tensor:
        # chgnet counts elements in float32.
        counts = [torch.bincount(graph.atomic_number - 1, minlength=94) for graph in graphs]
        return torch.stack([count.double() / count.sum() for count in counts])

    model.composition_model._assemble_graphs = fractions

    class Float64(Calculator):  # type: ignore[misc]
        implemented_properties = ("energy", "forces", "stress", "magmoms")

        def calculate(
            self, atoms: Any = None, properties: Any = (), system_changes: Any = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            boxed = self.atoms.copy()
            if not boxed.pbc.any():  # chgnet knows crystals only
                boxed.center(vacuum=10.0)
                boxed.pbc = True
            structure = AseAtomsAdaptor.get_structure(boxed)
            with (
                mock.patch.object(chgnet.graph.converter, "TORCH_DTYPE", torch.float64),
                mock.patch.object(chgnet.model.model, "TORCH_DTYPE", torch.float64),
            ):
                found = model.predict_structure(structure, task="efsm")
            self.results = {
                "energy": float(found["e"]) * len(boxed),
                "forces": found["f"].astype(float),
                "stress": (found["s"] * GPa)[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]],
                "magmoms": found["m"],
            }

    return Float64()
