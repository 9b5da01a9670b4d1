"""Warren-Cowley short-range order: how likely b sits at a distance from a.

P(b at j | a at i) = p_b (1 - alpha_ab(s))                      b != a, distance in shell s
                   = p_a + sum over b != a of p_b alpha_ab(s)   b = a

(Cowley, Phys. Rev. 77, 669 (1950); de Fontaine, J. Appl. Cryst. 4, 15 (1971) for several
species). alpha < 0: a and b attract; alpha = 0: the random solid solution.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from alchemlip.errors import InputError

NEGATIVE = 1e-12
"""Weights above minus this are zero but for rounding."""


@dataclass(frozen=True, eq=False)
class ShortRangeOrder:
    """Warren-Cowley parameters by shell of distance.

    Attributes:
        radii: (D,) outer radius of each shell in Angstrom, ascending. Two sites belong to the first
            shell that reaches them; beyond the last they are independent. Put the radii between the
            shells: energy and forces are not smooth where a distance crosses one.
        alpha: (D, K, K) symmetric; the diagonal does not count.
    """

    radii: npt.NDArray[np.float64]
    alpha: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        radii = np.array(self.radii, dtype=float).reshape(-1)
        alpha = np.array(self.alpha, dtype=float)
        if alpha.ndim != 3 or alpha.shape[0] != len(radii) or alpha.shape[1] != alpha.shape[2]:
            raise InputError(
                f"Warren-Cowley parameters have shape {alpha.shape} for {len(radii)} shells: give "
                "an array of shape (shells, components, components)"
            )
        if not (np.isfinite(radii).all() and np.isfinite(alpha).all()):
            raise InputError("a Warren-Cowley parameter or radius is not finite: correct it")
        if (np.diff(radii) <= 0).any() or (radii <= 0).any():
            raise InputError(
                f"the shell radii {radii.tolist()} do not ascend from above 0: sort them"
            )
        if len(radii) and np.abs(alpha - alpha.transpose(0, 2, 1)).max() > 1e-12:
            raise InputError(
                "Warren-Cowley parameters differ between a-b and b-a: give a symmetric array"
            )
        diagonal = np.arange(alpha.shape[1])
        alpha[:, diagonal, diagonal] = 0.0
        for name, values in (("radii", radii), ("alpha", alpha)):
            values.setflags(write=False)
            object.__setattr__(self, name, values)

    @classmethod
    def of_pairs(
        cls,
        components: Sequence[str],
        radii: Sequence[float],
        alpha: Mapping[tuple[str, str], Sequence[float]],
    ) -> ShortRangeOrder:
        """Return parameters given by pair of components.

        Args:
            components: (K,) labels of the group.
            radii: (D,) outer radius of each shell in Angstrom.
            alpha: {(a, b): D values}; pairs left out are 0.

        Raises:
            InputError: if a label is unknown, or a pair has another number of shells.
        """
        matrix = np.zeros((len(radii), len(components), len(components)))
        for pair, values in alpha.items():
            for label in pair:
                if label not in components:
                    raise InputError(
                        f"Warren-Cowley parameters are given for {label!r}, which is no component: "
                        f"the components are {', '.join(components)}"
                    )
            if len(values) != len(radii):
                raise InputError(
                    f"{pair[0]}-{pair[1]} has {len(values)} Warren-Cowley parameters for "
                    f"{len(radii)} shells: give one per shell"
                )
            i, j = components.index(pair[0]), components.index(pair[1])
            matrix[:, i, j] = matrix[:, j, i] = values
        return cls(np.asarray(radii, dtype=float), matrix)

    @property
    def parameters(self) -> npt.NDArray[np.float64]:
        """(A,) the free parameters: alpha_ab with a < b, shell by shell, A = D K (K - 1) / 2."""
        upper = np.triu_indices(self.alpha.shape[1], 1)
        return np.asarray(self.alpha[:, upper[0], upper[1]].reshape(-1))

    def parameter_labels(self, components: Sequence[str]) -> tuple[str, ...]:
        """Return ``a-b shell s`` for every entry of `parameters`, shells counted from 1."""
        upper = np.triu_indices(len(components), 1)
        return tuple(
            f"{components[a]}-{components[b]} shell {shell + 1}"
            for shell in range(len(self.radii))
            for a, b in zip(upper[0].tolist(), upper[1].tolist(), strict=True)
        )

    def with_parameters(self, parameters: npt.ArrayLike) -> ShortRangeOrder:
        """Return the same shells with other free parameters (A,)."""
        k = self.alpha.shape[1]
        upper = np.triu_indices(k, 1)
        alpha = np.zeros_like(self.alpha)
        values = np.asarray(parameters, dtype=float).reshape(len(self.radii), -1)
        alpha[:, upper[0], upper[1]] = values
        alpha[:, upper[1], upper[0]] = values
        return ShortRangeOrder(self.radii, alpha)

    def conditional(self, composition: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return P(b | a) (D, K, K), a in rows, at a composition (K,)."""
        p = np.asarray(composition, dtype=float)
        table = p * (1.0 - self.alpha)
        diagonal = np.arange(len(p))
        table[:, diagonal, diagonal] = p + self.alpha @ p
        return np.asarray(table)

    def check(
        self, composition: npt.NDArray[np.float64], components: Sequence[str], name: str
    ) -> None:
        """Refuse parameters that make a probability negative.

        Raises:
            InputError: naming the pair and the shell.
        """
        k = len(components)
        if self.alpha.shape[1] != k:
            raise InputError(
                f"group {name!r} has {k} components, but Warren-Cowley parameters of "
                f"{self.alpha.shape[1]}: give one for every pair of components"
            )
        table = self.conditional(composition)
        # Where a is absent nobody asks what surrounds it.
        table[:, np.asarray(composition) <= 0] = 0.0
        if not table.size or table.min() >= -NEGATIVE:
            return
        shell, a, b = (int(x) for x in np.unravel_index(table.argmin(), table.shape))
        raise InputError(
            f"the Warren-Cowley parameters of group {name!r} make the probability of "
            f"{components[b]} beside {components[a]} {table.min():.3g} in shell {shell + 1}: at "
            "this composition alpha must be closer to 0"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values that `from_dict` reads back exactly."""
        return {"radii_A": self.radii.tolist(), "alpha": self.alpha.tolist()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ShortRangeOrder:
        """Make parameters of what `to_dict` returned."""
        return cls(np.array(data["radii_A"], dtype=float), np.array(data["alpha"], dtype=float))
