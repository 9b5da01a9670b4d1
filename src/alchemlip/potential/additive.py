"""A sum of calculators that keeps composition alive.

ASE's ``SumCalculator`` caches on positions and cell alone, so it returns old results after the
composition changed, and it drops the composition gradient. This one does neither.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
    equal,
)

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY_NUMBER, element_numbers

if TYPE_CHECKING:
    from ase import Atoms


class AdditiveCalculator(Calculator):  # type: ignore[misc]
    """Sum of one alchemical calculator and further terms.

    Args:
        alchemical: the calculator that knows the composition.
        terms: ASE calculators whose energy does not depend on which element sits on a site
            (springs, walls, restraints). They see the atoms as they are and must implement energy
            and forces; a stress exists if all implement it.
        check_elements: evaluate every term once with each species of the mixed sites in turn, and
            refuse one whose energy follows. Leave out for terms that must not be called in vain.

    Raises:
        InputError: if a term lacks energy or forces, or depends on which elements are mixed.
    """

    def __init__(
        self, alchemical: Any, terms: Sequence[Calculator], *, check_elements: bool = True
    ) -> None:
        super().__init__()
        if not terms:
            raise InputError("no further terms: use the alchemical calculator by itself")
        self.alchemical = alchemical
        self.terms = list(terms)
        self._seen: Mixture | None = None
        self._parameters: list[dict[str, Any]] = [{} for _ in self.terms]
        shared = set(alchemical.implemented_properties)
        for term in self.terms:
            missing = {"energy", "forces"} - set(term.implemented_properties)
            if missing:
                raise InputError(
                    f"{type(term).__name__} does not compute {', '.join(sorted(missing))}: a term "
                    "needs energy and forces"
                )
            if "stress" not in term.implemented_properties:
                shared.discard("stress")
            if check_elements:
                refuse_element_dependence(term, alchemical.mixture)
        self.implemented_properties = [
            name
            for name in ("energy", "free_energy", "forces", "stress", "composition_gradient")
            if name in shared
        ]

    @property
    def mixture(self) -> Mixture:
        """What is mixed where, at the current composition."""
        mixture: Mixture = self.alchemical.mixture
        return mixture

    def set_composition(
        self, group: str, composition: Mapping[str, float] | npt.ArrayLike, normalise: bool = False
    ) -> None:
        """Change the composition of a group in place."""
        self.alchemical.set_composition(group, composition, normalise)

    def get_composition_gradient(self, atoms: Atoms | None = None) -> dict[str, dict[str, float]]:
        """Return raw dE/dx in eV as {group: {component: value}}; the further terms add nothing."""
        gradient: dict[str, dict[str, float]] = self.alchemical.get_composition_gradient(atoms)
        return gradient

    def check_state(self, atoms: Atoms, tol: float = 1e-15) -> list[str]:
        """Return what changed since the last calculation: composition and terms included.

        A term's ``parameters`` are watched; after changing anything else of it, call `reset`.
        """
        changes: list[str] = super().check_state(atoms, tol)
        if self._seen is not self.mixture:
            changes = [*changes, "composition"]
        for term, before in zip(self.terms, self._parameters, strict=True):
            if not equal(dict(term.parameters), before):
                term.reset()  # few calculators of ASE notice this themselves
                changes = [*changes, "terms"]
        return changes

    def reset(self) -> None:
        """Forget the results, those of the terms included."""
        super().reset()
        for term in (self.alchemical, *self.terms):
            term.reset()

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Sum the terms; called by ASE."""
        super().calculate(atoms, list(properties), list(system_changes))
        self._seen = self.mixture
        self._parameters = [copy.deepcopy(dict(term.parameters)) for term in self.terms]
        wanted: list[str] = [
            name for name in ("energy", "forces") if name in self.implemented_properties
        ]
        if "stress" in self.implemented_properties:
            wanted.append("stress")
        results: dict[str, float | FloatArray] = {}
        for name in wanted:
            try:
                value = self.alchemical.get_property(name, self.atoms)
                for term in self.terms:
                    value = value + term.get_property(name, self.atoms)
            except PropertyNotImplementedError:
                if name == "stress" and "stress" not in properties:
                    continue
                raise
            results[name] = value
        results["free_energy"] = results["energy"]
        if "composition_gradient" in properties:
            self.alchemical.get_property("composition_gradient", self.atoms)
        if "composition_gradient" in self.alchemical.results:
            gradient = self.alchemical.results["composition_gradient"]
            results["composition_gradient"] = np.array(gradient)
        self.results = results


def refuse_element_dependence(term: Calculator, mixture: Mixture) -> None:
    """Refuse a calculator whose energy depends on which species sits on a mixed site.

    A dispersion correction (D3, D4) or a charge model has no value at fractional occupancies: its
    coefficients belong to whole elements and to their coordination numbers.

    Args:
        term: the calculator; evaluated once per species of the mixed sites, then reset.
        mixture: what is mixed where.

    Raises:
        InputError: naming the term, a site and two species that it tells apart.
    """
    atoms = mixture.to_atoms()
    for group in mixture.groups:
        first: tuple[str, float] | None = None
        for species in group.species.T:
            shown = atoms.copy()
            shown.numbers[group.sites] = element_numbers(species)
            if (species == VACANCY_NUMBER).any():
                continue  # a placeholder that few calculators know
            name = str(shown.symbols[int(group.sites[0])])
            try:
                energy = float(term.get_potential_energy(shown))
            except Exception as error:  # a term may say in any way that it does not know an element
                raise InputError(
                    f"{type(term).__name__} cannot be added: evaluated with {name} on site "
                    f"{group.sites[0]} it fails ({str(error)[:120]}), so it depends on the elements"
                ) from error
            finally:
                term.reset()
            if first is None:
                first = (name, energy)
            elif abs(energy - first[1]) > 1e-9 * max(1.0, abs(energy)):
                raise InputError(
                    f"{type(term).__name__} cannot be added: its energy differs by "
                    f"{energy - first[1]:.3g} eV between {first[0]} and {name} on site "
                    f"{group.sites[0]}, so it is undefined in between; add it to the end states, "
                    "or use a potential whose training data include it"
                )
