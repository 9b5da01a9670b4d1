"""Linear constraints on the composition of a mixture: what a design may not leave.

    constraints = CompositionConstraints(mixture)
    constraints = constraints.bounded("Ce:Zr", 0.0, 0.5).charge_balanced({"Ce": 4, "Y": 3, "O": -2})
    x = constraints.nearest(mixture.composition)

Every group's weights are between 0 and 1 and sum to 1. All else is added by name, so that what
contradicts what can be said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY, VACANCY_NUMBER, element_number, species_symbol

Sense = Literal["=", "<=", ">="]
FEASIBLE = 1e-10
"""Violation of a linear constraint that counts as none."""
TERM = re.compile(r"([+-]?)\s*(?:(\d+\.?\d*|\.\d+)\s*\*?\s*)?([A-Za-z_][\w,.-]*:[\w-]+)")


@dataclass(frozen=True)
class LinearConstraint:
    """``coefficients . x  sense  bound``, by name."""

    name: str
    coefficients: FloatArray
    sense: Sense
    bound: float

    def violation(self, x: FloatArray) -> float:
        """Return by how much a composition (K,) misses the constraint, 0 if it does not."""
        excess = float(self.coefficients @ x) - self.bound
        if self.sense == "=":
            return abs(excess)
        return max(0.0, excess if self.sense == "<=" else -excess)


@dataclass(frozen=True)
class CompositionConstraints:
    """Constraints on the flat composition of a mixture.

    Args:
        mixture: whose groups and components are meant.
        linear: further constraints.
    """

    mixture: Mixture
    linear: tuple[LinearConstraint, ...] = field(default=())

    @property
    def labels(self) -> list[str]:
        """Names of the components, ``group:component``."""
        return list(self.mixture.component_labels)

    def bounded(self, label: str, lower: float, upper: float) -> CompositionConstraints:
        """Keep a component's weight between two values; equal ones fix it."""
        if not 0.0 <= lower <= upper <= 1.0:
            raise InputError(
                f"the bounds {lower} and {upper} of {label!r} are no weights in order: give "
                "0 <= lower <= upper <= 1"
            )
        row = self._row({label: 1.0})
        if lower == upper:
            return self._with(LinearConstraint(f"{label} = {lower:g}", row, "=", lower))
        result = self
        if lower > 0.0:
            result = result._with(LinearConstraint(f"{label} >= {lower:g}", row, ">=", lower))
        if upper < 1.0:
            result = result._with(LinearConstraint(f"{label} <= {upper:g}", row, "<=", upper))
        return result

    def related(self, text: str) -> CompositionConstraints:
        """Add a linear relation written out, such as ``Ce:Y - 4 O:Va = 0`` or ``A:Li <= 0.3``.

        Raises:
            InputError: if it cannot be read, or names a component that there is not.
        """
        match = re.fullmatch(r"(.*?)(<=|>=|=)\s*([+-]?\d*\.?\d+(?:[eE][+-]?\d+)?)\s*", text)
        example = "write for example 'Ce:Y - 4 O:Va = 0'"
        if match is None:
            raise InputError(f"cannot read the relation {text!r}: {example}")
        left, sense, right = match.groups()
        rest = TERM.sub("", left).strip()
        if rest or not TERM.search(left):
            raise InputError(f"cannot read {rest or left!r} in the relation {text!r}: {example}")
        weights: dict[str, float] = {}
        for sign, number, label in TERM.findall(left):
            value = float(number or 1.0) * (-1.0 if sign == "-" else 1.0)
            weights[label] = weights.get(label, 0.0) + value
        row = self._row(weights)
        chosen: Sense = "=" if sense == "=" else "<=" if sense == "<=" else ">="
        return self._with(LinearConstraint(text.strip(), row, chosen, float(right)))

    def charge_balanced(self, oxidation_states: Mapping[str, float]) -> CompositionConstraints:
        """Keep the crystal neutral: the sum of oxidation states over all sites is 0.

        Args:
            oxidation_states: {element: charge} of every element of the mixture; a vacancy has 0.

        Raises:
            InputError: naming an element without a state.
        """
        states = {VACANCY: 0.0, **oxidation_states}

        def charge(number: int) -> float:
            symbol = species_symbol(element_number(number))
            if symbol not in states:
                raise InputError(
                    f"{symbol} has no oxidation state, so the charge cannot be balanced: give one "
                    f"(for example {symbol}=3)"
                )
            return states[symbol]

        pure = np.ones(self.mixture.n_sites, dtype=bool)
        row: list[float] = []
        for group in self.mixture.groups:
            pure[group.sites] = False
            row += [sum(charge(number) for number in column) for column in group.species.T.tolist()]
        rest = sum(charge(number) for number in self.mixture.numbers[pure].tolist())
        return self._with(LinearConstraint("charge balance", np.array(row), "=", -rest))

    def violation(self, x: FloatArray) -> float:
        """Return the largest violation of any constraint by a composition (K,)."""
        below_above = max(0.0, float((-x).max()), float((x - 1.0).max()))
        return max([below_above, *(item.violation(x) for item in self._all())])

    def check(self) -> None:
        """Refuse constraints that nothing fulfils.

        Raises:
            InputError: naming those of which one must go.
        """
        if self._is_feasible(self.linear):
            return
        guilty = [
            item.name
            for item in self.linear
            if self._is_feasible(tuple(other for other in self.linear if other is not item))
        ]
        named = "; ".join(guilty or [item.name for item in self.linear])
        raise InputError(
            f"no composition fulfils all constraints: give up or loosen one of {named}"
        )

    def nearest(self, x: FloatArray) -> FloatArray:
        """Return the feasible composition (K,) closest to a given one, exact to round-off.

        Raises:
            InputError: if there is none.
        """
        self.check()
        if self.violation(x) <= FEASIBLE:
            return self.polished(np.clip(x, 0.0, 1.0))
        from scipy.optimize import minimize

        found = minimize(
            lambda y: 0.5 * float(((y - x) ** 2).sum()),
            np.clip(x, 0.0, 1.0),
            jac=lambda y: y - x,
            method="SLSQP",
            bounds=[(0.0, 1.0)] * len(x),
            constraints=self.for_scipy(),
            options={"ftol": 1e-14, "maxiter": 500},
        )
        return self.polished(np.clip(found.x, 0.0, 1.0))

    def polished(self, x: FloatArray) -> FloatArray:
        """Return a nearly feasible composition made feasible to round-off, bounds kept."""
        x = x.copy()
        active = [i for i in self._all() if i.sense == "=" or i.violation(x) > 0.0]
        for _ in range(20):
            free = (x > 1e-12) & (x < 1.0 - 1e-12)
            if not active or not free.any():
                break
            rows = np.array([item.coefficients for item in active])
            left = np.array([item.bound for item in active]) - rows @ x
            if np.abs(left).max() < 1e-14:
                break
            x[free] += np.linalg.lstsq(rows[:, free], left, rcond=None)[0]
            x = np.clip(x, 0.0, 1.0)
        return x

    def for_scipy(self) -> list[dict[str, object]]:
        """Return the constraints as SciPy's minimisers take them, simplex included."""
        result: list[dict[str, object]] = []
        for item in self._all():
            sign = -1.0 if item.sense == "<=" else 1.0
            row, bound = sign * item.coefficients, sign * item.bound
            result.append(
                {
                    "type": "eq" if item.sense == "=" else "ineq",
                    "fun": lambda x, row=row, bound=bound: float(row @ x) - bound,
                    "jac": lambda _, row=row: row,
                }
            )
        return result

    def _with(self, item: LinearConstraint) -> CompositionConstraints:
        return replace(self, linear=(*self.linear, item))

    def _row(self, weights: Mapping[str, float]) -> FloatArray:
        row = np.zeros(len(self.labels))
        for label, weight in weights.items():
            if label not in self.labels:
                raise InputError(
                    f"there is no component {label!r}: choose one of {', '.join(self.labels)}"
                )
            row[self.labels.index(label)] += weight
        return row

    def _implied(self) -> list[LinearConstraint]:
        """Return what every composition obeys: weights sum to 1, exclusive sites hold one atom."""
        items = []
        for group in self.mixture.groups:
            row = np.zeros(len(self.labels))
            row[self.mixture.components_of(group.name)] = 1.0
            items.append(LinearConstraint(f"weights of {group.name!r} sum to 1", row, "=", 1.0))
        pairs = self.mixture.exclusive
        if len(pairs):
            # How each site is filled: by the weights of components, and 1 where nothing is mixed.
            filled = np.zeros((self.mixture.n_sites, len(self.labels) + 1))
            filled[:, -1] = 1.0
            for group in self.mixture.groups:
                filled[group.sites, -1] = 0.0
                filled[group.sites, self.mixture.components_of(group.name)] = (
                    group.species != VACANCY_NUMBER
                )
            sums = {
                tuple(filled[sites].sum(axis=0).tolist()): sites.tolist()
                for sites in (*pairs.rows[:, :2], *pairs.cliques)
            }
            for (*weights, alone), sites in sums.items():
                name = f"at most one of the sites {', '.join(map(str, sites))} is filled"
                items.append(LinearConstraint(name, np.array(weights), "<=", 1.0 - alone))
        return items

    def _all(self) -> list[LinearConstraint]:
        return [*self._implied(), *self.linear]

    def _is_feasible(self, linear: tuple[LinearConstraint, ...]) -> bool:
        from scipy.optimize import linprog

        items = [*self._implied(), *linear]
        equal = [item for item in items if item.sense == "="]
        rest = [(1.0 if i.sense == "<=" else -1.0, i) for i in items if i.sense != "="]
        found = linprog(
            np.zeros(len(self.labels)),
            A_ub=[sign * item.coefficients for sign, item in rest] or None,
            b_ub=[sign * item.bound for sign, item in rest] or None,
            A_eq=[item.coefficients for item in equal],
            b_eq=[item.bound for item in equal],
            bounds=(0.0, 1.0),
        )
        return bool(found.status == 0)
