"""The composition whose relaxed crystal has a wanted property."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from alchemlip.calculations import cost
from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.fields import Option
from alchemlip.calculations.goals import constraints_of, goals_of
from alchemlip.calculations.parts import (
    Correlated,
    Fmax,
    KeptSymmetry,
    Relaxing,
    RepeatsText,
    Seed,
    Smax,
    WithPotentials,
)
from alchemlip.calculations.texts import parse_repeats
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder

if TYPE_CHECKING:
    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.design.constraints import CompositionConstraints
    from alchemlip.design.design import DesignPoint, DesignResult, Goal
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.ensemble import Potential

PROPERTIES = (
    "energy, volume, a, b, c, alpha, beta, gamma, pressure, bulk-modulus, stress-xx .., "
    "stress-in-plane"
)


class Design(WithPotentials, Relaxing, Correlated):
    """Search the composition whose relaxed crystal has a wanted property, by exact gradients.

    The formulas of --mix are the start; a weight of 0 is no obstacle. Writes result.json,
    design.csv, design.png and designed.json (.cif). The same command goes on from where it was
    stopped.

    Example: alchemlip design film.cif --mix Al=Al0.999Sc0.001 --cell zz --target stress-in-plane=0
    """

    command: ClassVar[str] = "design"

    target: Annotated[
        list[str],
        Field(
            description=f"PROPERTY=VALUE, with ~TOLERANCE if not 0.001. Properties: {PROPERTIES}."
        ),
        Option(metavar="P=V"),
    ] = []
    minimise: Annotated[
        list[str], Field(description="A property to make small."), Option(metavar="P")
    ] = []
    maximise: Annotated[
        list[str], Field(description="A property to make large."), Option(metavar="P")
    ] = []
    at_most: Annotated[
        list[str], Field(description="A highest value of a property."), Option(metavar="P=V")
    ] = []
    at_least: Annotated[
        list[str], Field(description="A lowest value of a property."), Option(metavar="P=V")
    ] = []
    bound: Annotated[
        list[str],
        Field(description="Weights allowed, e.g. Ce:Zr=0:0.5."),
        Option(metavar="GROUP:SPECIES=LOW:HIGH"),
    ] = []
    relation: Annotated[
        list[str],
        Field(description="A linear relation of weights, e.g. 'Ce:Y - 4 O:Va = 0'."),
        Option(metavar="TEXT"),
    ] = []
    charge: Annotated[
        list[str],
        Field(description="Oxidation state; with one for every element the crystal stays neutral."),
        Option(metavar="ELEMENT=STATE"),
    ] = []
    max_iterations: Annotated[
        int, Field(ge=1, le=10000, description="Most relaxed compositions.")
    ] = 50
    supercell: Annotated[
        RepeatsText | None,
        Field(description="Check with whole atoms in so many repeats, e.g. 3,3,2."),
    ] = None
    supercell_kind: Annotated[
        Literal["random", "sqs"], Field(description="random, or sqs (needs icet).")
    ] = "random"
    seed: Seed = 0
    fmax: Fmax = 1e-4
    smax: Smax = 1e-4
    keep_symmetry: KeptSymmetry = True

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.design.check import rounded
        from alchemlip.design.design import design_inputs

        mixture = self.mixture()
        if not mixture.groups:
            raise InputError(
                "nothing is mixed, so there is no composition to design: write for example --mix "
                "Ce=Ce0.9Zr0.1"
            )
        goals = goals_of(self.target, self.minimise, self.maximise, self.at_most, self.at_least)
        constraints = constraints_of(mixture, self.bound, self.relation, self.charge)
        repeats = None if self.supercell is None else parse_repeats(self.supercell, "--supercell")
        constraints.check()
        if repeats is not None:
            rounded(mixture, repeats, constraints)
        relaxing = self.relaxation()
        self.refuse_too_large(mixture, repeats or (1, 1, 1))
        potential = self.potential()
        refuse_unusable(mixture, potential, relaxing)

        def compute(store: ResultFolder, progress: Progress) -> None:
            from alchemlip.design.design import design

            progress(len(store.points()), None)

            def on_point(point: DesignPoint, violation: float) -> None:
                weights = ", ".join(
                    f"{label} {weight:.4f}"
                    for label, weight in zip(mixture.component_labels, point.x, strict=True)
                )
                values = ", ".join(
                    f"{goal.property.name} = {value:.6g}"
                    for goal, value in zip(goals, point.values, strict=True)
                )
                said = f"{weights}: {values} (constraints to {violation:.0e})"
                progress(len(store.points()), None, said)

            result = design(
                mixture,
                potential,
                goals,
                constraints,
                settings=relaxing,
                max_iterations=self.max_iterations,
                folder=store,
                on_point=on_point,
            )
            self._finish(result, mixture, goals, constraints, potential, relaxing, store)

        inputs: dict[str, Any] = {
            **design_inputs(mixture, potential, goals, constraints, relaxing),
            "supercell": None
            if repeats is None
            else [list(repeats), self.supercell_kind, self.seed],
        }
        return Plan(inputs, compute, self.source(potential))

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount:
        """Return what a few compositions, and the supercell, typically take."""
        most = float(self.max_iterations)
        compositions = (min(cost.COMPOSITIONS[0], most), min(cost.COMPOSITIONS[1], most))
        total = cost.times(compositions, cost.plus(trial.needed, cost.RESPONSE))
        if self.supercell is not None:
            cells = (float(math.prod(parse_repeats(self.supercell, "--supercell"))),) * 2
            total = cost.plus(total, cost.times(cells, cost.RELAXED_AROUND))
        return EvaluationCount(*total, True)

    def _finish(
        self,
        result: DesignResult,
        mixture: Mixture,
        goals: Sequence[Goal],
        constraints: CompositionConstraints,
        potential: Potential,
        relaxing: RelaxationSettings,
        store: ResultFolder,
    ) -> None:
        """Write structures, table, pictures and the record."""
        from alchemlip.crystal.plausibility import mixture_warnings
        from alchemlip.crystal.report import describe_structure
        from alchemlip.design.plots import plot_design, plot_trail
        from alchemlip.mixture.structure_files import write_exact_and_cif

        write_exact_and_cif(result.mixture, store.path, "designed")
        names = [goal.property.name for goal in goals]
        rows = [
            {
                **dict(zip(mixture.component_labels, point.x.tolist(), strict=True)),
                **dict(zip(names, point.values.tolist(), strict=True)),
                "evaluations": point.evaluations,
            }
            for point in result.points
        ]
        store.write_csv("design.csv", rows)
        plot_design(result, goals, store.path / "design.png", self.structure.stem)
        for item in mixture.groups:
            if len(item.components) == 3:
                plot_trail(result, item.name, store.path / f"trail-{item.name}.png")
        record: dict[str, Any] = {
            **describe_structure(result.mixture),
            "composition": result.composition,
            "property": result.values,
            "target": {
                goal.property.name: goal.kind if goal.value is None else goal.value
                for goal in goals
            },
            "iterations": len(result.points),
            "evaluations": result.evaluations,
            "converged": result.converged,
            "message": result.message,
            "constraint_violation": result.violation,
        }
        if self.supercell is not None:
            record |= self._checked(result, goals, constraints, potential, relaxing, store)
        store.finish(record, warnings=mixture_warnings(result.mixture))

    def _checked(
        self,
        result: DesignResult,
        goals: Sequence[Goal],
        constraints: CompositionConstraints,
        potential: Potential,
        relaxing: RelaxationSettings,
        store: ResultFolder,
    ) -> dict[str, Any]:
        """Return what a supercell with whole atoms has, and write it."""
        import numpy as np

        from alchemlip.design.check import check_design
        from alchemlip.mixture.structure_files import write_exact_and_cif

        assert self.supercell is not None
        check = check_design(
            result.mixture,
            potential,
            [goal.property for goal in goals],
            parse_repeats(self.supercell, "--supercell"),
            np.random.default_rng(self.seed),
            constraints=constraints,
            kind=self.supercell_kind,
            settings=relaxing,
        )
        write_exact_and_cif(check.structure, store.path, "supercell")
        return {
            "supercell_composition": check.composition,
            "supercell_predicted_property": check.predicted,
            "supercell_property": check.obtained,
            "supercell_converged": check.converged,
        }
