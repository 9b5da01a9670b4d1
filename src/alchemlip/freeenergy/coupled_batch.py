"""Coupled Hamiltonians of many configurations at once: the potential in one batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.freeenergy.hamiltonian import AlchemicalTerm, CoupledCalculator, Term, TermResult

if TYPE_CHECKING:
    from ase import Atoms


def evaluate_batch(
    atoms: Sequence[Atoms],
    calculators: Sequence[CoupledCalculator],
    couplings: Sequence[float],
    *,
    stress: bool,
    derivative: bool,
) -> list[dict[str, TermResult]]:
    """Return the terms of each configuration at a coupling, the alchemical ones from one batch.

    Args:
        atoms: (R,) configurations.
        calculators: (R,) copies of one calculator; their own coupling does not matter.
        couplings: (R,) where to evaluate.
        stress, derivative: what is wanted beside energy and forces.
    """
    names = list(calculators[0].terms) if calculators else []
    by_name = {
        name: _evaluate_terms(
            [calculator.terms[name] for calculator in calculators],
            atoms,
            couplings,
            stress=stress,
            derivative=derivative,
        )
        for name in names
    }
    return [{name: by_name[name][i] for name in names} for i in range(len(atoms))]


def _evaluate_terms(
    terms: Sequence[Term],
    atoms: Sequence[Atoms],
    couplings: Sequence[float],
    *,
    stress: bool,
    derivative: bool,
) -> list[TermResult]:
    alchemical = [term for term in terms if isinstance(term, AlchemicalTerm)]
    if len(alchemical) < len(terms):
        return [
            term.evaluate(item, coupling, stress=stress, derivative=derivative)
            for term, item, coupling in zip(terms, atoms, couplings, strict=True)
        ]
    found = alchemical[0].potential.evaluate(
        [
            term.located(item, coupling, derivative=derivative)
            for term, item, coupling in zip(alchemical, atoms, couplings, strict=True)
        ],
        neighbour_lists=[term.neighbours for term in alchemical],
        stress=stress,
        composition_gradient=derivative,
    )
    return [
        term.term_result(result, stress=stress, derivative=derivative)
        for term, result in zip(alchemical, found, strict=True)
    ]


def energies_at_couplings(
    atoms: Atoms, calculator: CoupledCalculator, couplings: Sequence[float]
) -> FloatArray:
    """Return the energy (W,) of one configuration at several couplings, in eV, in one batch.

    Args:
        atoms: the configuration.
        calculator: its coupling does not matter, and its results stay.
        couplings: (W,).
    """
    energies = np.zeros(len(couplings))
    for term in calculator.terms.values():
        if isinstance(term, AlchemicalTerm):
            found = term.potential.evaluate(
                [term.located(atoms, coupling, derivative=False) for coupling in couplings],
                neighbour_lists=[term.neighbours] * len(couplings),
                forces=False,
                stress=False,
                composition_gradient=False,
            )
            energies += [result.energy for result in found]
        else:
            energies += [
                term.evaluate(atoms, coupling, stress=False, derivative=False).energy
                for coupling in couplings
            ]
    return energies
