"""A few steps of what a calculation begins with, to tell what all of it will cost."""

from __future__ import annotations

from time import perf_counter

from alchemlip.calculations.cost import TrialRelaxation
from alchemlip.calculations.parts import OfStructure, WithPotential, WithPotentials
from alchemlip.calculations.potentials import refuse_unusable

TEST_STEPS = 6


def trial_relaxation(calculation: OfStructure) -> TrialRelaxation:
    """Return what a few steps of a calculation's first relaxation took, or an evaluation.

    Raises:
        InputError: from the calculation's settings.
    """
    from alchemlip.crystal.relaxation import relax

    assert isinstance(calculation, WithPotential | WithPotentials)
    mixture, _ = calculation.mixture_to_scan()
    potential = calculation.potential()
    refuse_unusable(mixture, potential)
    # The first evaluation warms up what is compiled.
    potential.evaluate(mixture)
    settings = calculation.first_relaxation()
    if settings is None:
        begun = perf_counter()
        potential.evaluate(mixture)
        return TrialRelaxation(perf_counter() - begun, 1, True)
    short = settings.model_copy(update={"max_steps": min(TEST_STEPS, settings.max_steps)})
    result = relax(mixture, potential, short)
    ended = result.converged or settings.max_steps <= TEST_STEPS
    return TrialRelaxation(result.seconds / result.evaluations, result.evaluations, ended)
