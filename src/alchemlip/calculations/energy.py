"""Energy and derivatives of one mixture."""

from __future__ import annotations

from typing import Any, ClassVar

from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.parts import Correlated, Represented, WithPotentials
from alchemlip.records.results import ResultFolder


class Energy(Represented, WithPotentials, Correlated):
    """Energy (eV), forces (eV/Å), stress (GPa) and composition gradient (eV) as given.

    With several --model: their mean, and the standard deviation over them.

    Example: alchemlip energy CeO2.cif --mix Ce=Ce0.7Zr0.3
    """

    command: ClassVar[str] = "energy"
    unit: ClassVar[str] = "evaluations"

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.crystal.plausibility import mixture_warnings, spread_warnings
        from alchemlip.crystal.report import describe_evaluation, describe_potential
        from alchemlip.potential.potential import AlchemicalPotential

        mixture = self.mixture()
        self.refuse_too_large(mixture)
        potential = self.potential()
        refuse_unusable(mixture, potential)

        def compute(store: ResultFolder, progress: Progress) -> None:
            evaluation = potential.evaluate(mixture)
            record: dict[str, Any] = describe_evaluation(mixture, evaluation)
            assert evaluation.forces is not None
            record["forces_eV_per_A"] = evaluation.forces.tolist()
            record["site_energies_eV"] = evaluation.site_energies.tolist()
            if isinstance(potential, AlchemicalPotential) and potential.has_magnetic_moments:
                moments = potential.magnetic_moments(mixture)
                record["magnetic_moments_muB"] = moments.tolist()
                record["largest_magnetic_moment_muB"] = float(moments.max())
            told = [*mixture_warnings(mixture), *spread_warnings([record])]
            store.finish(record, warnings=told)

        inputs = {"mixture": mixture.to_dict(), **describe_potential(potential)}
        return Plan(inputs, compute, self.source(potential))

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount:
        """Return one."""
        return EvaluationCount(1, 1, False)
