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
