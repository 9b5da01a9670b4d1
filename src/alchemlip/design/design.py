"""Composition design: the composition whose relaxed crystal has a wanted property.

    goals = [Goal(lattice_parameter("a"), "target", 5.9, tolerance=1e-3)]
    result = design(mixture, potential, goals)
    result.composition, result.values, result.converged

Every evaluation relaxes the crystal, from the last one, and takes the exact derivative of each
property (`alchemlip.crystal.response`). Targets alone are met by Gauss-Newton steps; minima,
maxima and limits go to SciPy's SLSQP. All steps obey the constraints. A raw gradient exists at
weight 0 too, so a pure start can take up a new element.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import FORMULA
from alchemlip.crystal.properties import Property
from alchemlip.crystal.relaxation import RelaxationSettings, relax
from alchemlip.crystal.report import describe_potential
from alchemlip.design.constraints import FEASIBLE, CompositionConstraints
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.records.results import FORMULAS, ResultFolder, fingerprint

if TYPE_CHECKING:
    from alchemlip.potential.ensemble import Potential

Kind = Literal["target", "minimise", "maximise", "at most", "at least"]
SIGNS = {"minimise": 1.0, "maximise": -1.0}
POSSIBLE = {"Å": (0.0, math.inf), "Å³": (0.0, math.inf), "°": (0.0, 180.0)}
"""Values that a property can have, by its unit."""
SMALLEST_STEP = 1e-7
"""Change of a composition below which a search has come to rest."""
NEARBY = 1e-3
"""Weight of staying near, relative to the targets: chooses among many solutions."""


@dataclass(frozen=True)
class Goal:
    """What is wanted of a property.

    Attributes:
        property: of the relaxed crystal.
        kind: reach a value, minimise, maximise, or keep below or above a limit.
        value: the target or limit.
        tolerance: a target or limit is met within this; for minima and maxima the property's scale.
        weight: relative to other goals.
    """

    property: Property
    kind: Kind
    value: float | None = None
    tolerance: float = 1e-3
    weight: float = 1.0

    def __post_init__(self) -> None:
        needs = self.kind in ("target", "at most", "at least")
        if needs and self.value is None:
            raise InputError(f"the goal on {self.property.name!r} needs a value: give one")
        numbers = [self.tolerance, self.weight, *([] if self.value is None else [self.value])]
        if not np.isfinite(numbers).all():
            raise InputError(
                f"the goal on {self.property.name!r} holds a number that is not finite: give "
                "ordinary numbers"
            )
        if self.tolerance <= 0.0 or self.weight <= 0.0:
            raise InputError(
                f"tolerance and weight of the goal on {self.property.name!r} must be positive: "
                "give numbers above 0"
            )

    def miss(self, value: float) -> float:
        """Return by how much a value misses the target or limit; 0 for minima and maxima."""
        if self.value is None:
            return 0.0
        excess = value - self.value
        if self.kind == "target":
            return abs(excess)
        return max(0.0, excess if self.kind == "at most" else -excess)


def check_goals(goals: Sequence[Goal]) -> None:
    """Refuse goals that no crystal can meet.

    Args:
        goals: of one design.

    Raises:
        InputError: if there is none, a length or volume is to be negative, or two goals on one
            property contradict each other.
    """
    if not goals:
        raise InputError("a design needs a goal: give a target, a minimum or a maximum")
    limits: dict[str, tuple[float, float]] = {}
    directions: dict[str, str] = {}
    for goal in goals:
        name, value = goal.property.name, goal.value
        low, high = POSSIBLE.get(goal.property.unit, (-math.inf, math.inf))
        if value is not None and not low < value < high:
            raise InputError(
                f"{name} = {value:g} does not exist: give a value "
                + (f"above {low:g}" if high == math.inf else f"between {low:g} and {high:g}")
            )
        if value is None:
            if directions.setdefault(name, goal.kind) != goal.kind:
                raise InputError(f"{name} is to be small and large at once: leave out one of both")
            continue
        if goal.kind == "target":
            low, high = value - goal.tolerance, value + goal.tolerance
        else:
            low, high = (-math.inf, value) if goal.kind == "at most" else (value, math.inf)
        before = limits.get(name, (-math.inf, math.inf))
        limits[name] = max(low, before[0]), min(high, before[1])
        if limits[name][0] > limits[name][1]:
            raise InputError(
                f"the goals on {name} contradict each other (above {limits[name][0]:g}, below "
                f"{limits[name][1]:g}): leave out one of them"
            )


@dataclass(frozen=True)
class DesignPoint:
    """A relaxed composition on the way.

    Attributes:
        x: (K,) flat composition.
        values: (G,) of the goals' properties. gradients: (G, K) their total derivatives.
        evaluations: of the potential, Hessian-vector products included.
        mixture: relaxed.
    """

    x: FloatArray
    values: FloatArray
    gradients: FloatArray
    evaluations: int
    mixture: Mixture


@dataclass(frozen=True)
class DesignResult:
    """Where a design came to rest.

    Attributes:
        mixture: relaxed there.
        composition: {component: weight}.
        values: {property: value}.
        converged: whether every target and limit is met and the search at rest.
        message: what happened, in one sentence.
        points: all relaxed compositions, in order.
        violation: of the linear constraints.
    """

    mixture: Mixture
    composition: dict[str, float]
    values: dict[str, float]
    converged: bool
    message: str
    points: tuple[DesignPoint, ...]
    violation: float

    def _repr_html_(self) -> str:
        """Return what a notebook shows: composition and properties."""
        from alchemlip.notebook import html_table

        rows = [*self.composition.items(), *self.values.items(), ("converged", self.converged)]
        return html_table(self.message, (), rows)

    @property
    def evaluations(self) -> int:
        """Evaluations of the potential in all."""
        return sum(point.evaluations for point in self.points)


def design(
    mixture: Mixture,
    potential: Potential,
    goals: Sequence[Goal],
    constraints: CompositionConstraints | None = None,
    *,
    settings: RelaxationSettings | None = None,
    max_iterations: int = 50,
    folder: str | Path | ResultFolder | None = None,
    on_point: Callable[[DesignPoint, float], None] | None = None,
) -> DesignResult:
    """Search the composition that fulfils the goals.

    Args:
        mixture: the start; its composition is taken to the nearest that obeys the constraints.
        potential: in float64, or an ensemble.
        goals: what is wanted; several are weighed.
        constraints: on the composition; the simplex of every group if None.
        settings: of the relaxations.
        max_iterations: most relaxed compositions.
        folder: keeps every relaxed composition; a design that was stopped goes on from it.
        on_point: called with (point, violation of the linear constraints) after each.

    Raises:
        InputError: for contradictory constraints or goals, a relaxation that does not converge or
            an unstable structure, naming the composition. Points found until then are kept.
    """
    check_goals(goals)
    if not mixture.groups:
        raise InputError("nothing is mixed, so there is nothing to design: mix a site first")
    constraints = constraints or CompositionConstraints(mixture)
    settings = settings or RelaxationSettings(fmax=1e-4, smax=1e-4, keep_symmetry=True)
    start = constraints.nearest(mixture.composition)
    if isinstance(folder, ResultFolder) or folder is None:
        store = folder
    else:
        inputs = design_inputs(mixture, potential, goals, constraints, settings)
        store = ResultFolder(folder, "design", inputs)
    trail = _Trail(mixture, potential, goals, settings, store, constraints, on_point)
    trail.limit = max_iterations
    with store.noting_failure() if store else nullcontext():
        try:
            if all(goal.kind == "target" for goal in goals):
                at_rest = _gauss_newton(trail, start, constraints)
            else:
                at_rest = _slsqp(trail, start, constraints)
        except _OutOfIterationsError:
            at_rest = False
    return _result(trail, goals, constraints, at_rest)


def design_inputs(
    mixture: Mixture,
    potential: Potential,
    goals: Sequence[Goal],
    constraints: CompositionConstraints,
    settings: RelaxationSettings,
) -> dict[str, Any]:
    """Return everything that determines a design, as plain values."""
    return {
        "structure": fingerprint(mixture.to_dict()),
        "formula": str(mixture.to_atoms().symbols),
        "goals": [
            [goal.property.name, goal.kind, goal.value, goal.tolerance, goal.weight]
            for goal in goals
        ],
        "constraints": [item.name for item in constraints.linear],
        **describe_potential(potential),
        "relaxation": settings.model_dump(),
        **_changed_formulas(goals, settings),
    }


STRESS_FORMULA = "the derivative of a stress or pressure holds that of the cell's own strain"


def _changed_formulas(goals: Sequence[Goal], settings: RelaxationSettings) -> dict[str, list[str]]:
    """Return which formulas behind the points of a design are others than in earlier versions."""
    names = [goal.property.name for goal in goals]
    changed = []
    stressed = settings.cell != "fixed" and (settings.cell != "full" or settings.pressure)
    if stressed and any(name.startswith(("stress_", "pressure_")) for name in names):
        changed.append(STRESS_FORMULA)
    if any(name.startswith("mixing_gibbs") for name in names):
        changed.append(FORMULA)
    return {FORMULAS: changed} if changed else {}


class _OutOfIterationsError(Exception):
    """The most compositions were relaxed."""


class _Trail:
    """The relaxed compositions so far; each is relaxed once, and read from the folder if there."""

    def __init__(
        self,
        mixture: Mixture,
        potential: Potential,
        goals: Sequence[Goal],
        settings: RelaxationSettings,
        store: ResultFolder | None,
        constraints: CompositionConstraints,
        on_point: Callable[[DesignPoint, float], None] | None,
    ) -> None:
        self.points: list[DesignPoint] = []
        self.goals = list(goals)
        self.limit = 0
        self._mixture = mixture
        self._potential = potential
        self._settings = settings
        self._store = store
        self._constraints = constraints
        self._on_point = on_point
        # The search is deterministic: it asks again for what it asked before.
        self._saved = {tuple(entry["x"]): entry for entry in (store.points() if store else [])}

    def at(self, x: FloatArray) -> DesignPoint:
        """Return the relaxed crystal at a composition (K,)."""
        for point in self.points:
            if np.array_equal(point.x, x):
                return point
        if len(self.points) >= self.limit:
            raise _OutOfIterationsError
        entry = self._saved.get(tuple(x.tolist()))
        if entry is not None:
            point = DesignPoint(
                x,
                np.array(entry["values"]),
                np.array(entry["gradients"]),
                entry["evaluations"],
                Mixture.from_dict(entry["mixture"]),
            )
        else:
            point = self._relaxed(x)
            if self._store:
                self._store.append_point(
                    {
                        "x": x.tolist(),
                        "values": point.values.tolist(),
                        "gradients": point.gradients.tolist(),
                        "evaluations": point.evaluations,
                        "mixture": point.mixture.to_dict(),
                    }
                )
        self.points.append(point)
        if self._on_point:
            self._on_point(point, self._constraints.violation(x))
        return point

    def _relaxed(self, x: FloatArray) -> DesignPoint:
        from alchemlip.crystal.response import response

        near = min(self.points, key=lambda point: float(np.abs(point.x - x).sum()), default=None)
        start = with_flat_composition(near.mixture if near else self._mixture, x)
        where = ", ".join(
            f"{label} {weight:.4f}"
            for label, weight in zip(start.component_labels, x.tolist(), strict=True)
        )
        relaxed = relax(start, self._potential, self._settings)
        if not relaxed.converged:
            raise InputError(
                f"the relaxation at {where} did not converge in {relaxed.steps} steps (force "
                f"{relaxed.max_force:.1e} eV/A, stress {relaxed.max_stress:.1e} GPa): raise "
                "max_steps, or loosen fmax and smax"
            )
        try:
            found = response(
                relaxed.mixture,
                self._potential,
                [goal.property for goal in self.goals],
                self._settings,
            )
        except InputError as error:
            raise InputError(f"at {where}: {error}") from error
        return DesignPoint(
            x=x,
            values=np.array([item.value for item in found]),
            gradients=np.array([item.gradient for item in found]),
            # A double backward pass costs about what an evaluation does.
            evaluations=relaxed.evaluations + sum(item.products + 1 for item in found),
            mixture=relaxed.mixture,
        )


def with_flat_composition(mixture: Mixture, x: FloatArray) -> Mixture:
    """Return a mixture at a flat composition (K,), which obeys every simplex to round-off."""
    weights = {
        group.name: np.clip(x[mixture.components_of(group.name)], 0.0, 1.0)
        for group in mixture.groups
    }
    return mixture.with_compositions({name: w / w.sum() for name, w in weights.items()})


def _gauss_newton(trail: _Trail, x: FloatArray, constraints: CompositionConstraints) -> bool:
    """Meet targets: linear least squares in the properties, under the constraints, repeated."""
    goals = trail.goals
    scale = np.array([np.sqrt(goal.weight) / goal.tolerance for goal in goals])
    targets = np.array([goal.value for goal in goals], dtype=float)
    point = trail.at(x)
    while True:
        missed = scale * (point.values - targets)
        if np.abs(point.values - targets).max(initial=0.0) <= 0.0 or all(
            goal.miss(value) <= goal.tolerance
            for goal, value in zip(goals, point.values, strict=True)
        ):
            return True
        slope = scale[:, None] * point.gradients
        step = _constrained_step(point.x, missed, slope, constraints)
        fraction = 1.0
        while True:
            if np.abs(fraction * step).max() < SMALLEST_STEP:
                return True  # nothing feasible comes closer
            following = trail.at(constraints.polished(point.x + fraction * step))
            better = float((scale**2 * (following.values - targets) ** 2).sum())
            if better < float(missed @ missed):
                break
            fraction *= 0.5
        moved = float(np.abs(following.x - point.x).max())
        gained = 1.0 - better / float(missed @ missed)
        point = following
        if moved < SMALLEST_STEP or gained < 1e-9:
            return True


def _constrained_step(
    x: FloatArray, missed: FloatArray, slope: FloatArray, constraints: CompositionConstraints
) -> FloatArray:
    """Return the feasible step that meets the linearised targets best, and the shortest such."""
    from scipy.optimize import minimize

    size = float(np.linalg.norm(slope)) or 1.0
    residual, matrix = missed / size, slope / size

    def objective(y: FloatArray) -> tuple[float, FloatArray]:
        step = y - x
        left = residual + matrix @ step
        value = 0.5 * float(left @ left) + 0.5 * NEARBY**2 * float(step @ step)
        return value, matrix.T @ left + NEARBY**2 * step

    found = minimize(
        objective,
        x,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(x),
        constraints=constraints.for_scipy(),
        options={"ftol": 1e-15, "maxiter": 500},
    )
    return constraints.polished(np.clip(found.x, 0.0, 1.0)) - x


def _slsqp(trail: _Trail, x: FloatArray, constraints: CompositionConstraints) -> bool:
    """Minimise, maximise, keep limits: SciPy's SLSQP with exact gradients."""
    from scipy.optimize import minimize

    goals = trail.goals
    point = trail.at(x)
    # One unit of the objective is what a whole change of composition is worth at the start.
    first = _objective(point, goals)[1]
    size = float(np.abs(first - first.mean()).max()) or 1.0

    def objective(y: FloatArray) -> tuple[float, FloatArray]:
        value, gradient = _objective(trail.at(constraints.polished(y)), goals)
        return value / size, gradient / size

    limits: list[dict[str, object]] = []
    for index, goal in enumerate(goals):
        if goal.kind in ("at most", "at least"):
            limits.append(_limit(trail, index, point, constraints))
    found = minimize(
        objective,
        point.x,
        jac=True,
        method="SLSQP",
        bounds=[(0.0, 1.0)] * len(x),
        constraints=[*constraints.for_scipy(), *limits],
        options={"ftol": 1e-7, "maxiter": trail.limit},
    )
    trail.at(constraints.polished(np.clip(found.x, 0.0, 1.0)))
    return bool(found.success)


def _limit(
    trail: _Trail, index: int, first: DesignPoint, constraints: CompositionConstraints
) -> dict[str, object]:
    """Return a limit on a property as SciPy takes it, on the scale of compositions."""
    goal = trail.goals[index]
    assert goal.value is not None
    bound = goal.value
    slope = first.gradients[index]
    scale = float(np.abs(slope - slope.mean()).max()) or goal.tolerance
    if goal.kind == "at most":
        scale = -scale

    def room(y: FloatArray) -> float:
        return (float(trail.at(constraints.polished(y)).values[index]) - bound) / scale

    def by_composition(y: FloatArray) -> FloatArray:
        return np.asarray(trail.at(constraints.polished(y)).gradients[index] / scale)

    return {"type": "ineq", "fun": room, "jac": by_composition}


def _objective(point: DesignPoint, goals: Sequence[Goal]) -> tuple[float, FloatArray]:
    value, gradient = 0.0, np.zeros(len(point.x))
    for goal, found, slope in zip(goals, point.values, point.gradients, strict=True):
        if goal.kind in SIGNS:
            factor = SIGNS[goal.kind] * goal.weight
            value += factor * found
            gradient = gradient + factor * slope
        elif goal.kind == "target":
            assert goal.value is not None
            excess = (found - goal.value) / goal.tolerance
            value += goal.weight * excess**2
            gradient = gradient + 2.0 * goal.weight * excess / goal.tolerance * slope
    return float(value), gradient


def _result(
    trail: _Trail,
    goals: Sequence[Goal],
    constraints: CompositionConstraints,
    at_rest: bool,
) -> DesignResult:
    def merit(point: DesignPoint) -> tuple[float, float]:
        missed = max(
            max(0.0, goal.miss(value) / goal.tolerance - 1.0) if goal.kind != "target" else 0.0
            for goal, value in zip(goals, point.values, strict=True)
        )
        return missed, _objective(point, goals)[0]

    best = min(trail.points, key=merit)
    open_goals = [
        f"{goal.property.name} = {value:.6g} misses {goal.kind} {goal.value:g} by "
        f"{goal.miss(value):.3g}"
        for goal, value in zip(goals, best.values, strict=True)
        if goal.miss(value) > goal.tolerance
    ]
    violation = constraints.violation(best.x)
    converged = at_rest and not open_goals and violation <= FEASIBLE
    if not at_rest:
        message = f"stopped after {len(trail.points)} compositions: allow more iterations"
    elif open_goals:
        message = (
            "out of reach of these elements and constraints; the best that was found: "
            + "; ".join(open_goals)
        )
    else:
        message = "all goals are met"
    labels = best.mixture.component_labels
    return DesignResult(
        mixture=best.mixture,
        composition=dict(zip(labels, best.x.tolist(), strict=True)),
        values={
            goal.property.name: float(value) for goal, value in zip(goals, best.values, strict=True)
        },
        converged=converged,
        message=message,
        points=tuple(trail.points),
        violation=violation,
    )
