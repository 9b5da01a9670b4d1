"""Rows of an energy's second derivatives, in occupancies, positions and strain.

Exact by double backward (one Hessian-vector product a row), or central differences of the gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from torch import Tensor

    from alchemlip.potential.graph import Graph
    from alchemlip.potential.potential import AlchemicalPotential

Method = Literal["auto", "double_backward", "differences"]
METHODS = ("auto", "double_backward", "differences")
Variable = Literal["positions", "strain", "composition"]
STEPS = {"float64": 1e-4, "float32": 2e-2}
"""Of a variable in central differences of the gradient: rounding against truncation."""
TOLERANCES = {"float64": 1e-4, "float32": 1e-2}
"""Between double backward and such a difference, in eV or relative: what is missing is gross."""


class SecondDerivatives:
    """First and second derivatives of one mixture's energy in a flat vector z of variables.

    z holds, in this order and as far as asked for, the positions (3 S, site by site), the strain
    (9, of which the symmetric part counts) and the flat composition (K).

    Args:
        mixture: where to differentiate; a group that is split has a composition for each site.
        potential: a loaded potential.
        variables: what z holds.

    Attributes:
        energy: in eV.
        gradient: (Z,) dE/dz.
        slices: where each variable is found in z.
    """

    def __init__(
        self,
        mixture: Mixture,
        potential: AlchemicalPotential,
        variables: Sequence[Variable] = ("composition",),
    ) -> None:
        self.potential = potential
        self._graph: Graph = potential.graph([mixture])
        sizes = {
            "positions": 3 * mixture.n_sites,
            "strain": 9,
            "composition": len(mixture.composition),
        }
        self.slices: dict[str, slice] = {}
        start = 0
        for name, size in sizes.items():
            if name in variables:
                self.slices[name] = slice(start, start + size)
                start += size
        self._origin = self._graph.positions.new_zeros(start)
        self._volume = abs(float(np.linalg.det(mixture.cell)))
        _, gradient, self.energy = self._evaluate(self._origin, twice=False)
        self.gradient: FloatArray = gradient.detach().cpu().numpy()
        self._dtype = str(potential.dtype).removeprefix("torch.")

    def pressure_volume_curvature(self, basis: FloatArray) -> FloatArray:
        """Return P d2V/de2 (M, M) in eV along symmetric strains (M, 9), P of this cell.

        P is minus the mean normal stress, the external pressure of a relaxed cell: with it the
        second derivative of the energy in the strain becomes that of the enthalpy.
        """
        tensors = basis.reshape(-1, 3, 3)
        pressure = -float(np.trace(self.gradient[self.slices["strain"]].reshape(3, 3)))
        pressure /= 3.0 * self._volume
        traces = np.trace(tensors, axis1=1, axis2=2)
        products = np.einsum("mxy,nyx->mn", tensors, tensors)
        # V = V0 det(1 + e).
        return np.asarray(pressure * self._volume * (np.outer(traces, traces) - products))

    def rows(
        self, indices: IntArray, method: Method = "auto", step: float | None = None
    ) -> tuple[FloatArray, str, str]:
        """Return d2E/dz_i dz for some i.

        Args:
            indices: (I,) positions in z.
            method: ``double_backward``, ``differences``, or ``auto``: the former where it works. A
                difference along one direction checks it.
            step: of the differences; 1e-4 in float64, 0.02 in float32 if None.

        Returns:
            The rows (I, Z), the method that was used, and why ``auto`` took differences (or "").

        Raises:
            InputError: if double backward is demanded of a potential that has none.
        """
        if method not in METHODS:
            raise InputError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
        h = STEPS[self._dtype] if step is None else step
        if not 0.0 < h < 1.0:
            raise InputError(f"a step of {h} in differences is no small part of 1: try 0.001")
        if method == "differences":
            return self._by_differences(indices, h), method, ""
        try:
            rows = self._by_double_backward(indices)
            note = self._flaw(rows, indices, h)
        except (RuntimeError, NotImplementedError) as error:
            if "memory" in str(error):  # a RuntimeError too, but no property of the potential
                raise
            note = (str(error).strip().splitlines() or ["refused"])[0]
        if not note:
            return rows, "double_backward", ""
        if method == "double_backward":
            raise InputError(
                f"the potential {self.potential.name!r} cannot be differentiated twice ({note}): "
                "use method='differences'"
            )
        return self._by_differences(indices, h), "differences", note

    def _evaluate(self, change: Tensor, twice: bool) -> tuple[Tensor, Tensor, float]:
        """Return the leaf, the gradient and the energy at a change of z from the mixture's."""
        import torch

        leaf = change.detach().clone().requires_grad_()
        graph = self._graph
        parts = {name: leaf[place] for name, place in self.slices.items()}
        positions = strain = composition = None
        if "positions" in parts:
            positions = graph.positions + parts["positions"].reshape(-1, 3)
        if "strain" in parts:
            strain = parts["strain"].reshape(1, 3, 3)
        if "composition" in parts:
            composition = graph.composition + parts["composition"]
        energy = self.potential.energies(graph, positions, strain, composition).sum()
        (gradient,) = torch.autograd.grad(
            energy, leaf, create_graph=twice, allow_unused=True, materialize_grads=True
        )
        return leaf, gradient, float(energy.detach())

    def _by_double_backward(self, indices: IntArray) -> FloatArray:
        import torch

        leaf, gradient, _ = self._evaluate(self._origin, twice=True)

        def row(index: int) -> Tensor:
            (values,) = torch.autograd.grad(
                gradient[index],
                leaf,
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            return values

        return self._rows(indices, row)

    def _by_differences(self, indices: IntArray, step: float) -> FloatArray:
        def row(index: int) -> Tensor:
            change = self._origin.clone()
            change[index] = step
            slopes = [self._evaluate(sign * change, twice=False)[1] for sign in (1.0, -1.0)]
            return (slopes[0] - slopes[1]) / (2.0 * step)

        return self._rows(indices, row)

    def _rows(self, indices: IntArray, row: Callable[[int], Tensor]) -> FloatArray:
        # One row at a time: memory is that of one gradient, however many are asked for.
        rows = np.empty((len(indices), len(self._origin)))
        for position, index in enumerate(indices.tolist()):
            rows[position] = row(index).detach().cpu().numpy()
        return rows

    def _flaw(self, rows: FloatArray, indices: IntArray, step: float) -> str:
        """Return how rows deviate from a difference along one direction; empty if they do not.

        Autograd visits only what leads to its inputs, so that a kernel without a second derivative
        need not raise: its part may be missing without a word.
        """
        weights = np.arange(1, len(indices) + 1) / len(indices)
        change = self._origin.clone()
        change[indices.tolist()] = step * change.new_tensor(weights)
        slopes = [self._evaluate(sign * change, twice=False)[1] for sign in (1.0, -1.0)]
        expected = ((slopes[0] - slopes[1]) / (2.0 * step)).cpu().numpy()
        error = float(np.abs(weights @ rows - expected).max())
        if error <= TOLERANCES[self._dtype] * max(1.0, float(np.abs(expected).max())):
            return ""
        return f"its second derivative is off by {error:.1e} from a difference"
