"""How many evaluations calculations take whose number nobody knows in advance: a guess with limits.

How many it takes is what such runs took in this project's own benchmarks (benchmarks/design.md,
benchmarks/random_supercells.md, results/scan_*.csv), unless the steps made already tell.
"""

from __future__ import annotations

from dataclasses import dataclass

Range = tuple[float, float]

RELAXATION: Range = (4, 70)
"""Evaluations: cubic crystals took 3 to 9, layered ones 14 to 70."""
RELAXED_AROUND: Range = (15, 50)
"""Evaluations of a supercell with whole atoms."""
COMPOSITIONS: Range = (2, 10)
"""Relaxed compositions of a design; four designs took 2 to 4."""
RESPONSE: Range = (2, 45)
"""Evaluations that the derivatives of a relaxed property are worth; a cubic crystal needs two."""
FLUCTUATION: Range = (25, 150)
"""Evaluations of the cell that second derivatives in wide enough supercells are worth."""
CELLS: Range = (8, 64)
"""Cells of a supercell that the run chooses itself."""
HESSIAN: Range = (3, 30)
"""Evaluations of the supercell: a few rows of second derivatives, ordered structures."""
FORCE_CONSTANTS: Range = (10, 100)
"""Evaluations of the supercell: some rows of force constants and products with them."""
SIZE_EFFECT: Range = (3, 6)
"""Times what the interactions cost without it."""
SEARCH: Range = (20, 100)
"""Evaluations of the supercell from one start."""


@dataclass(frozen=True)
class EvaluationCount:
    """How many evaluations a run takes, in units of one of its cell.

    Attributes:
        low, high: between which the number is likely to lie.
        typical: whether that is what others took, rather than what follows from the run's options.
    """

    low: float
    high: float
    typical: bool


@dataclass(frozen=True)
class TrialRelaxation:
    """A few steps from where a run starts.

    Attributes:
        seconds: of one evaluation, an optimiser's step included.
        evaluations: made.
        converged: whether they were enough.
    """

    seconds: float
    evaluations: int
    converged: bool

    @property
    def needed(self) -> Range:
        """Evaluations that a relaxation takes: as many as it took here, or a typical number."""
        if self.converged:
            return self.evaluations, self.evaluations
        return max(self.evaluations + 1, RELAXATION[0]), RELAXATION[1]


def times(a: Range, b: Range) -> Range:
    """Return the product of two ranges."""
    return a[0] * b[0], a[1] * b[1]


def plus(a: Range, b: Range) -> Range:
    """Return the sum of two ranges."""
    return a[0] + b[0], a[1] + b[1]
