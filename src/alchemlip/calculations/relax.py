"""Cell and positions at fixed composition."""

from __future__ import annotations

from contextlib import closing
from typing import ClassVar

from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.parts import Correlated, Relaxing, Represented, WithPotentials
from alchemlip.records.results import ResultFolder


class Relax(Represented, WithPotentials, Relaxing, Correlated):
    """Relax cell and positions at fixed composition.

    Writes result.json, relaxed.cif (partial occupancies) and relaxed.json (exact).

    Example: alchemlip relax CeO2.cif --mix Ce=Ce0.7Zr0.3 --keep-symmetry
    """

    command: ClassVar[str] = "relax"
    unit: ClassVar[str] = "steps"

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.crystal.plausibility import mixture_warnings
        from alchemlip.crystal.relaxation import relax, space_group
        from alchemlip.crystal.report import describe_potential, describe_relaxation
        from alchemlip.mixture.structure_files import write_exact_and_cif
        from alchemlip.records.step_log import STEPS, StepLog

        mixture = self.mixture()
        chosen = self.relaxation()
        self.refuse_too_large(mixture)
        potential = self.potential()
        refuse_unusable(mixture, potential, chosen)

        def compute(store: ResultFolder, progress: Progress) -> None:
            with closing(StepLog(store.path / STEPS)) as log:

                def on_step(step: int, energy: float, force: float, stress: float) -> None:
                    progress(
                        step,
                        None,
                        f"{energy:.6f} eV, largest force {force:.1e} eV/Å, stress deviation "
                        f"{stress:.1e} GPa",
                    )
                    log.add(
                        {
                            "step": step,
                            "energy_eV": energy,
                            "max_force_eV_per_A": force,
                            "max_stress_deviation_GPa": stress,
                        }
                    )

                result = relax(mixture, potential, chosen, on_step=on_step)
                record = describe_relaxation(result)
                record["space_group"] = space_group(result.mixture)
                write_exact_and_cif(result.mixture, store.path, "relaxed")
                store.finish(record, warnings=mixture_warnings(result.mixture))

        inputs = {
            "mixture": mixture.to_dict(),
            "relaxation": chosen.model_dump(),
            **describe_potential(potential),
        }
        return Plan(inputs, compute, self.source(potential))

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount:
        """Return as many as the trial took, or what crystals typically take."""
        return EvaluationCount(*trial.needed, not trial.converged)
