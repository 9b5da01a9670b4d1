"""A MACE network without the weights of absent elements: exact, and faster.

The symmetric contraction and the selector tensor products multiply one-hot vectors of all elements
that a model covers (89 in released models) with weights of each. Keeping the columns of the
elements that are present changes no result. The contraction becomes one polynomial per element,
unless so many are present that their coefficients would fill the memory.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from alchemlip.backends.mace_contraction import LARGEST, ElementContraction, polynomial_bytes


def keep_elements(model: Any, columns: list[int]) -> Any:
    """Return a copy of a MACE network that holds the weights of some elements only.

    Args:
        model: the network, which is left alone.
        columns: positions of the elements to keep in ``model.atomic_numbers``.

    Returns:
        A network that takes the same inputs, one-hot vectors of all elements included. Parts in
        other implementations (cuEquivariance) are kept as they are.
    """
    reduced = copy.deepcopy(model)
    for block in reduced.interactions:
        selector = getattr(block, "skip_tp", None)
        if type(selector).__name__ == "FullyConnectedTensorProduct" and _is_e3nn(selector):
            block.skip_tp = _OnElements(_reduced_selector(selector, columns), columns)
    for product in reduced.products:
        contraction = product.symmetric_contractions
        if not hasattr(contraction, "contractions"):
            continue
        agnostic = getattr(product, "use_agnostic_product", False)
        kept = [0] if agnostic else columns
        if polynomial_bytes(contraction, len(kept)) <= LARGEST:
            product.symmetric_contractions = ElementContraction(contraction, kept)
        elif not agnostic:
            _reduce_contraction(contraction, columns)
            product.symmetric_contractions = _OnElements(contraction, columns)
    return reduced


class _OnElements(nn.Module):
    """A module of features and one-hot vectors, given the columns of some elements."""

    columns: Tensor

    def __init__(self, module: nn.Module, columns: list[int]) -> None:
        super().__init__()
        self.module = module
        device = next(iter(module.parameters())).device
        self.register_buffer("columns", torch.tensor(columns, device=device), persistent=False)

    def forward(self, features: Tensor, one_hot: Tensor) -> Tensor:
        result: Tensor = self.module(features, one_hot.index_select(1, self.columns))
        return result


def _is_e3nn(module: Any) -> bool:
    return type(module).__module__.startswith("e3nn.")


def _reduced_selector(full: Any, columns: list[int]) -> Any:
    """Return e3nn's fully connected tensor product with fewer scalars in its second argument.

    e3nn divides by the square root of the number of weights that meet in an output; the weights
    make up for their smaller number.
    """
    from e3nn import o3

    total = full.irreps_in2.dim
    reduced = o3.FullyConnectedTensorProduct(
        full.irreps_in1, o3.Irreps([(len(columns), (0, 1))]), full.irreps_out
    )
    weight = full.weight
    parts = []
    start = 0
    for instruction in full.instructions:
        first, _, last = instruction.path_shape
        size = first * total * last
        part = weight[start : start + size].reshape(first, total, last)[:, columns]
        parts.append((part * (len(columns) / total) ** 0.5).reshape(-1))
        start += size
    reduced = reduced.to(device=weight.device, dtype=weight.dtype)
    with torch.no_grad():
        reduced.weight.copy_(torch.cat(parts))
    return reduced.requires_grad_(False)


def _reduce_contraction(contraction: Any, columns: list[int]) -> None:
    def kept(weight: Tensor) -> nn.Parameter:
        return nn.Parameter(weight[columns].clone(), requires_grad=False)

    for part in contraction.contractions:
        if part.weights_max.dim() == 3 and part.weights_max.shape[0] > 1:
            part.weights_max = kept(part.weights_max)
        for index, weight in enumerate(part.weights):
            if weight.dim() == 3 and weight.shape[0] > 1:
                part.weights[index] = kept(weight)
