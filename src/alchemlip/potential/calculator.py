"""The ASE calculator: any optimiser, filter or dynamics of ASE on a mixture.

atoms.calc = AlchemicalCalculator(potential, mixture)
atoms.get_potential_energy()
atoms.calc.get_composition_gradient()              # {group: {component: eV}}
atoms.calc.set_composition("Ce", {"Ce": 0.5, "Zr": 0.5})
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from ase.calculators.calculator import (
    Calculator,
    PropertyNotImplementedError,
    all_changes,
)

from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.threads import quiet_blas_threads

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.ensemble import Potential
    from alchemlip.potential.evaluation import Evaluation

STRESS_UNDEFINED = (
    "the stress is undefined here: a cluster has none, and a slab or wire needs a cell with a "
    "volume; set pbc and all three cell vectors"
)


class AlchemicalCalculator(Calculator):  # type: ignore[misc]
    """ASE calculator of a potential at the composition of a mixture.

    Results beyond ASE's: ``composition_gradient``, (K,) raw dE/dx in eV in the order of
    ``mixture.component_labels``. ``energies`` holds the energy of each site. Of an ensemble also
    ``energy_spread``, ``forces_spread``, ``stress_spread`` and ``composition_gradient_spread``:
    standard deviations over its members. ``magmoms``, where the model has them, are computed when
    asked for.

    The atoms that it is attached to give positions and cell; what sits on mixed sites is the
    mixture's, whatever element they show. Changing the composition discards the results.

    Args:
        potential: a loaded potential, or an ensemble.
        mixture: what is mixed where; its sites are the atoms, in order.
        skin: Verlet skin of the neighbour list, in Angstrom.
        composition_gradient: compute it with every evaluation; otherwise when it is asked for.
        blas_threads: limit NumPy's and SciPy's BLAS threads in this process, which otherwise spin
            against torch's between steps; None leaves them alone.
    """

    implemented_properties: Sequence[str] = (
        "energy",
        "free_energy",
        "energies",
        "forces",
        "stress",
        "composition_gradient",
    )

    def __init__(
        self,
        potential: Potential,
        mixture: Mixture,
        *,
        skin: float = 0.5,
        composition_gradient: bool = True,
        blas_threads: int | None = 1,
    ) -> None:
        super().__init__()
        quiet_blas_threads(blas_threads)
        potential.check(mixture)
        self.potential = potential
        self.with_gradient = composition_gradient
        self._mixture = mixture
        self._neighbours: Any = potential.neighbour_list(skin)
        self.evaluation: Evaluation | None = None
        if getattr(potential, "has_magnetic_moments", False):
            self.implemented_properties = (*self.implemented_properties, "magmoms")

    @property
    def mixture(self) -> Mixture:
        """What is mixed where, at the current composition."""
        return self._mixture

    def set_composition(
        self, group: str, composition: Mapping[str, float] | npt.ArrayLike, normalise: bool = False
    ) -> None:
        """Change the composition of a group in place; nothing is loaded again.

        A calculator does not own its atoms, which keep the masses they have: before dynamics write
        ``atoms.set_masses(calculator.mixture.masses)``. Free energies of this package take the
        masses of mixed sites from the mixture.

        Args:
            group: name of the group.
            composition: {component: weight}, components left out being 0, or an array.
            normalise: divide by the sum.
        """
        self.set_mixture(self._mixture.with_composition(group, composition, normalise))

    def set_mixture(self, mixture: Mixture) -> None:
        """Replace the mixture, and with it every cached result."""
        if mixture.n_sites != self._mixture.n_sites:
            raise InputError(
                f"the new mixture has {mixture.n_sites} sites, the old one "
                f"{self._mixture.n_sites}: make a new calculator"
            )
        self.potential.check(mixture)
        self._mixture = mixture
        self.evaluation = None
        self.results: dict[str, Any] = {}  # the atoms stay, so that results can be asked for again

    def get_composition_gradient(self, atoms: Atoms | None = None) -> dict[str, dict[str, float]]:
        """Return raw dE/dx in eV as {group: {component: value}}, not projected on the simplex.

        Args:
            atoms: where; by default the atoms of the last calculation, or, before the first, the
                mixture's own geometry.
        """
        if atoms is None and self.atoms is None:
            atoms = self._mixture.to_atoms()
        return self._mixture.by_group(self.get_property("composition_gradient", atoms))

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        """Evaluate the potential; called by ASE.

        Raises:
            InputError: if the atoms are not the mixture's sites, or cannot be evaluated.
            PropertyNotImplementedError: if a stress is asked for where there is none.
        """
        super().calculate(atoms, list(properties), list(system_changes))
        located = self.located_mixture(self.atoms)
        gradient = self.with_gradient or "composition_gradient" in properties
        result = self.potential.evaluate(
            [located], neighbour_lists=[self._neighbours], composition_gradient=gradient
        )[0]
        self.store(result)
        if "magmoms" in properties:
            self.results["magmoms"] = self.potential.magnetic_moments(located)  # type: ignore[union-attr]
        if "stress" in properties and result.stress is None:
            raise PropertyNotImplementedError(STRESS_UNDEFINED)

    def located_mixture(self, atoms: Atoms) -> Mixture:
        """Return the mixture at the positions and cell of the atoms, checked to be its sites."""
        mixture = self._mixture.with_geometry(atoms)
        nodes = mixture.nodes
        pure = nodes.group < 0
        changed = np.flatnonzero(atoms.numbers[nodes.site[pure]] != nodes.number[pure])
        if len(changed):
            site = int(nodes.site[pure][changed[0]])
            raise InputError(
                f"site {site} is {atoms.symbols[site]} in the atoms but another, unmixed element "
                "in the mixture: make a mixture of these atoms"
            )
        return mixture

    def store(self, result: Evaluation) -> None:
        """Take an evaluation of the current atoms as this calculator's results."""
        self.evaluation = result
        self.results = {
            "energy": result.energy,
            "free_energy": result.energy,
            "energies": result.site_energies,
        }
        for name in ("forces", "stress", "composition_gradient"):
            value = getattr(result, name)
            if value is not None:
                self.results[name] = value
        spread = getattr(result, "spread", None)
        for name in ("energy", "forces", "stress", "composition_gradient"):
            if getattr(spread, name, None) is not None:
                self.results[f"{name}_spread"] = getattr(spread, name)


def evaluate_together(structures: Sequence[Atoms]) -> None:
    """Evaluate the alchemical calculators of several structures in one batch.

    Afterwards each calculator holds the results of its atoms, as if it had been asked by itself.
    All must share one potential. Structures whose results are up to date are left alone.
    """
    stale = [atoms for atoms in structures if _is_stale(atoms)]
    if not stale:
        return
    calculators: list[AlchemicalCalculator] = [atoms.calc for atoms in stale]
    potential = calculators[0].potential
    if any(calculator.potential is not potential for calculator in calculators):
        raise InputError("structures evaluated together must share one potential object")
    results = potential.evaluate(
        [c.located_mixture(atoms) for c, atoms in zip(calculators, stale, strict=True)],
        neighbour_lists=[calculator._neighbours for calculator in calculators],
        composition_gradient=any(calculator.with_gradient for calculator in calculators),
    )
    for calculator, atoms, result in zip(calculators, stale, results, strict=True):
        calculator.atoms = atoms.copy()
        calculator.store(result)


def _is_stale(atoms: Any) -> bool:
    calculator: AlchemicalCalculator = atoms.calc
    return bool(calculator.check_state(atoms)) or "energy" not in calculator.results
