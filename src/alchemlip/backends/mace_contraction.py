"""MACE's symmetric contraction of nodes whose element is known, as one polynomial per element.

The contraction of correlation order n turns the features x of a node and channel, l numbers, into

    B_w = sum over d = 1..n, paths k, indices i1..id of  W_d[e, k, c] U_d[w, i1..id, k] x_i1 .. x_id

(Batatia et al., arXiv:2206.07697, eqs. 10 and 11; e the element, c the channel). With X = (x, 1)
that is a homogeneous polynomial of degree n in l + 1 variables, whose coefficients C are symmetric
and, the weights being fixed, can be summed over paths beforehand:

    G_wi = sum over p  C[e, c, w, i, p] q_p(X)      q_p: the distinct products of n - 1 of the X
    B_w = sum over i  G_wi X_i                      dB_w / dX_i = n G_wi     (Euler)

One matrix product gives the value and the derivative. All paths, elements and equal products that
a contraction by one-hot vectors would carry along are gone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations_with_replacement, permutations
from math import factorial
from typing import Any

import torch
from torch import Tensor, nn

LARGEST = 2**28
"""Coefficients of one contraction take at most so many bytes (256 MiB)."""


def polynomial_bytes(contraction: Any, n_elements: int) -> int:
    """Return the size in bytes of a contraction's coefficients for a number of elements."""
    part = contraction.contractions[0]
    order = int(part.correlation)
    width = part.U_tensors(1).shape[-2] + 1
    products = factorial(width + order - 2) // (factorial(order - 1) * factorial(width - 1))
    outputs = sum(irrep.ir.dim for irrep in contraction.irreps_out)
    channels = part.weights_max.shape[-1]
    item = part.weights_max.element_size()
    return int(n_elements * channels * outputs * width * products * item)


class ElementContraction(nn.Module):
    """The symmetric contraction of a MACE network, for some of its elements.

    Args:
        contraction: mace's own module, which is left alone.
        columns: positions of the elements to keep in the one-hot vectors.
    """

    coefficients: Tensor
    products: Tensor
    columns: Tensor

    def __init__(self, contraction: Any, columns: Sequence[int]) -> None:
        super().__init__()
        parts = list(contraction.contractions)
        self.order = int(parts[0].correlation)
        self.sizes = [irrep.ir.dim for irrep in contraction.irreps_out]
        width = parts[0].U_tensors(1).shape[-2] + 1
        products = list(combinations_with_replacement(range(width), self.order - 1))
        folded = [_coefficients(part, columns, width, products) for part in parts]
        weight = parts[0].weights_max
        coefficients = torch.cat(folded, dim=2).flatten(2, 3).transpose(2, 3)
        used = (coefficients != 0).transpose(2, 3).flatten(0, 2).any(dim=0)
        indices = torch.tensor(products, dtype=torch.int64).reshape(len(products), self.order - 1)
        coefficients = coefficients[:, :, used].to(device=weight.device, dtype=weight.dtype)
        for name, values in (
            ("coefficients", coefficients.contiguous()),
            ("products", indices[used].T.contiguous().to(weight.device)),
            ("columns", torch.tensor(list(columns), device=weight.device)),
        ):
            self.register_buffer(name, values, persistent=False)

    def forward(self, features: Tensor, one_hot: Tensor) -> Tensor:
        """Return (N, sum of channels times components) from (N, channels, l) and one-hot (N, Z)."""
        kind = one_hot.index_select(1, self.columns).argmax(dim=1)
        order = torch.argsort(kind, stable=True)
        counts = torch.bincount(kind, minlength=len(self.coefficients)).tolist()
        apply: Callable[..., Tensor] = _Contract.apply
        result = apply(features, self.coefficients, self.products, order, counts, self.order)
        split = torch.split(result, self.sizes, dim=2)
        return torch.cat([part.flatten(1) for part in split], dim=1)


def _coefficients(
    part: Any, columns: Sequence[int], width: int, products: list[tuple[int, ...]]
) -> Tensor:
    """Return C (elements, channels, w, i, p) of one irrep, in float64, on the CPU.

    The count of equal orderings of a product is in it.
    """
    order = int(part.correlation)
    weights = (part.weights_max, *part.weights)  # of degree n, n - 1, .., 1
    # Where each product p and one more index i sit in the tensor of (l + 1)^n entries.
    index = torch.tensor([[(*p, i) for p in products] for i in range(width)])
    where: list[slice | Tensor] = [slice(None), *index.unbind(-1)]
    total: Tensor | None = None
    for degree, weight in zip(range(order, 0, -1), weights, strict=True):
        couplings = part.U_tensors(degree).detach().cpu().double()
        if couplings.dim() == degree + 1:  # scalars have no axis of components
            couplings = couplings.unsqueeze(0)
        # The other n - d indices are those of the 1 in X.
        padded = couplings.new_zeros((len(couplings), *[width] * order, couplings.shape[-1]))
        inner: list[slice | int] = [slice(width - 1)] * degree
        padded[(slice(None), *inner, *[width - 1] * (order - degree))] = couplings
        symmetric = torch.zeros_like(padded)
        for axes in permutations(range(1, order + 1)):
            symmetric += padded.permute(0, *axes, order + 1)
        symmetric /= factorial(order)
        chosen = symmetric[tuple(where)]
        kept = weight.detach().cpu().double()[list(columns)]
        term = torch.einsum("wipk,ekc->ecwip", chosen, kept)
        total = term if total is None else total + term
    assert total is not None
    orderings = [len(set(permutations(p))) for p in products]
    return total * torch.tensor(orderings, dtype=torch.float64)


def _partials(inputs: Tensor, coefficients: Tensor, products: Tensor, counts: list[int]) -> Tensor:
    """Return G (channels, N, w i) of inputs X (channels, N, l + 1), nodes sorted by element."""
    # Components first: products are then taken along whole rows.
    inputs = inputs.permute(2, 0, 1).contiguous()
    results = []
    for values, weights in zip(torch.split(inputs, counts, dim=2), coefficients, strict=True):
        if values.shape[2] == 0:
            continue
        # The last of X is 1: what no product needs.
        power = values[-1:]
        for step, index in enumerate(products):
            factor = values.index_select(0, index)
            power = factor if step == 0 else power * factor
        results.append(torch.bmm(power.permute(1, 2, 0), weights))
    return results[0] if len(results) == 1 else torch.cat(results, dim=1)


def _sorted_inputs(features: Tensor, order: Tensor) -> Tensor:
    """Return X (channels, N, l + 1) from x (N, channels, l), nodes in a given order."""
    values = features.index_select(0, order).transpose(0, 1)
    return torch.cat([values, torch.ones_like(values[..., :1])], dim=2)


class _Contract(torch.autograd.Function):
    """B (N, channels, w), with the derivative that the forward pass already has."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        coefficients: Tensor,
        products: Tensor,
        order: Tensor,
        counts: list[int],
        degree: int,
    ) -> Tensor:
        inputs = _sorted_inputs(features, order)
        partials = _partials(inputs, coefficients, products, counts)
        # (channels, N, w, i)
        partials = partials.reshape(*partials.shape[:2], -1, inputs.shape[2])
        values = torch.matmul(partials, inputs.unsqueeze(3)).squeeze(3)
        ctx.save_for_backward(features, coefficients, products, order, partials)
        ctx.counts, ctx.degree = counts, degree
        result = values.new_empty((len(features), len(values), values.shape[2]))
        return result.index_copy_(0, order, values.transpose(0, 1))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        features, coefficients, products, order, partials = ctx.saved_tensors
        if torch.is_grad_enabled():  # a second derivative is wanted: G must depend on x
            inputs = _sorted_inputs(features, order)
            partials = _partials(inputs, coefficients, products, ctx.counts)
            partials = partials.reshape(*partials.shape[:2], -1, inputs.shape[2])
        incoming = ctx.degree * gradient.index_select(0, order).transpose(0, 1).unsqueeze(2)
        # (channels, N, i), of which the last belongs to the 1
        values = torch.matmul(incoming, partials)[:, :, 0, :-1]
        back = torch.zeros_like(features).index_copy(0, order, values.transpose(0, 1))
        return back, None, None, None, None, None
