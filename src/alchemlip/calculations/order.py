"""Pair interactions, ordering waves, and the structures they make."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from alchemlip.calculations import cost
from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import (
    HIGHEST_TEMPERATURE_K,
    RELAXATION,
    Cell,
    Fmax,
    MaxSteps,
    OfStructure,
    Pressure,
    RepeatsText,
    Seed,
    Smax,
    WithPotential,
    refuse_pressure,
)
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder

if TYPE_CHECKING:
    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.disorder.ordering_study import OrderingStudy
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.potential import AlchemicalPotential


class Order(WithPotential, OfStructure):
    """Tell by which waves a disordered crystal orders, into what, and at what temperature.

    The mixed crystal is relaxed in its space group, then repeated. Writes result.json,
    pair_interactions.csv, order.png and, in ordered/, the ordered structures as CIFs.

    Example: alchemlip order brass.cif --mix Cu=Cu0.5Zn0.5
    """

    command: ClassVar[str] = "order"
    unit: ClassVar[str] = "stages"

    on: Annotated[str | None, Field(description="Group that orders, if several are mixed.")] = None
    repeat: Annotated[
        RepeatsText | None,
        Field(description="Repeats of the cell, e.g. 4,4,4."),
        Option(shown_default="chosen"),
    ] = None
    structures: Annotated[
        int, Field(ge=1, le=1000, description="Ordered structures to evaluate at most.")
    ] = 8
    waves: Annotated[
        int, Field(ge=1, le=1000, description="Stars of waves that generate structures.")
    ] = 3
    temperature: Annotated[
        float | None,
        Field(
            gt=0,
            le=HIGHEST_TEMPERATURE_K,
            description="Also give the short-range order at this temperature, K.",
        ),
        Option(unit="K"),
    ] = None
    search: Annotated[
        int,
        Field(ge=0, le=10000, description="Also search by gradients, from so many random starts."),
    ] = 0
    seed: Seed = 0
    no_relax: Annotated[
        bool, Field(description="Keep the cell and positions as given."), Option(RELAXATION)
    ] = False
    size_effect: Annotated[
        bool, Field(description="Add what relaxing atoms do to the interactions.")
    ] = False
    cell: Cell = "full"
    fmax: Fmax = 1e-3
    smax: Smax = 1e-3
    pressure: Pressure = 0.0
    max_steps: MaxSteps = 500

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.crystal.enthalpy import formulas
        from alchemlip.crystal.report import describe_potential
        from alchemlip.disorder.patterns import site_counts

        mixture = self.mixture()
        if not mixture.pbc.all():
            raise InputError(
                f"{str(self.structure)!r} is no crystal, periodic in three directions: ordering "
                "waves need one; give a cell with three periodic vectors"
            )
        refuse_pressure(self.pressure, "--no-relax" if self.no_relax else "")
        name, repeats = self._supercell(mixture)
        larger = mixture.repeat(repeats).group(name)
        site_counts(larger.composition, len(larger.sites), name)
        chosen = self.first_relaxation()
        self.refuse_too_large(mixture, repeats, "second")
        potential = self.potential()
        refuse_unusable(mixture, potential, chosen)

        def compute(store: ResultFolder, progress: Progress) -> None:
            self._compute(mixture, potential, name, repeats, store, progress)

        inputs: dict[str, Any] = {
            "mixture": mixture.to_dict(),
            "group": name,
            "repeats": list(repeats),
            "structures": self.structures,
            "waves": self.waves,
            "temperature_K": self.temperature,
            "size_effect": self.size_effect,
            "search_starts": self.search,
            "seed": self.seed,
            "relaxation": None if chosen is None else chosen.model_dump(),
            **describe_potential(potential),
            **(formulas(self.pressure) if self.size_effect else {}),
        }
        return Plan(inputs, compute, self.source(potential))

    def first_relaxation(self) -> RelaxationSettings | None:
        """Return how the mixed crystal is relaxed."""
        from alchemlip.crystal.relaxation import relaxation_settings

        if self.no_relax:
            return None
        return relaxation_settings(
            cell=self.cell,
            fmax=self.fmax,
            smax=self.smax,
            pressure=self.pressure,
            keep_symmetry=True,
            max_steps=self.max_steps,
        )

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount:
        """Return what second derivatives of the supercell, and a search, typically take."""
        _, repeats = self._supercell(self.mixture())
        cells = (float(math.prod(repeats)),) * 2
        each = cost.times(cost.HESSIAN, cost.SIZE_EFFECT) if self.size_effect else cost.HESSIAN
        if self.search:
            each = cost.plus(each, cost.times((float(self.search),) * 2, cost.SEARCH))
        relaxing = (1.0, 1.0) if self.no_relax else trial.needed
        return EvaluationCount(*cost.plus(relaxing, cost.times(cells, each)), True)

    def _supercell(self, mixture: Mixture) -> tuple[str, tuple[int, int, int]]:
        """Return the group that orders, and the repeats."""
        from alchemlip.calculations.texts import parse_repeats
        from alchemlip.disorder.hessian import random_group
        from alchemlip.disorder.ordering_study import ordering_repeats

        name = random_group(mixture, self.on).name
        if self.repeat is None:
            return name, ordering_repeats(mixture, name)
        return name, parse_repeats(self.repeat, "--repeat")

    def _compute(
        self,
        mixture: Mixture,
        potential: AlchemicalPotential,
        group: str,
        repeats: tuple[int, int, int],
        store: ResultFolder,
        progress: Progress,
    ) -> None:
        from alchemlip.crystal.level import level_of_ordering
        from alchemlip.crystal.plausibility import mixture_warnings
        from alchemlip.crystal.relaxation import relax
        from alchemlip.crystal.report import describe_structure
        from alchemlip.disorder.ordering_plots import plot_ordering
        from alchemlip.disorder.ordering_study import random_enthalpy, study_ordering
        from alchemlip.mixture.structure_files import write_exact_and_cif

        chosen = self.first_relaxation()
        converged = True
        if chosen is not None:
            progress(0, 3, "relaxing the mixed cell")
            relaxed = relax(mixture, potential, chosen)
            mixture, converged = relaxed.mixture, relaxed.converged
            write_exact_and_cif(mixture, store.path, "relaxed")
        progress(1, 3, "second derivatives and ordered structures")
        study = study_ordering(
            mixture,
            potential,
            group,
            repeats=repeats,
            relaxed=self.size_effect,
            n_waves=self.waves,
            n_structures=self.structures,
        )
        progress(2, 3, "what was asked for besides")
        results = {"converged": converged, **describe_structure(mixture)}
        results |= random_enthalpy(study, self.pressure) | self._results(study, potential)
        _write_files(study, results, store)
        title = f"{self.structure.stem}, {group} sites ({potential.name})"
        plot_ordering(
            study.interactions,
            store.path / "order.png",
            title,
            level=level_of_ordering(results).name,
        )
        store.finish(results, warnings=mixture_warnings(mixture))

    def _results(self, study: OrderingStudy, potential: AlchemicalPotential) -> dict[str, Any]:
        """Return what result.json holds of a study, and of what was asked for besides."""
        import numpy as np

        from alchemlip.disorder.kcm import short_range_order
        from alchemlip.disorder.ordering_search import search_ordering
        from alchemlip.disorder.ordering_study import (
            describe_ordering,
            describe_short_range_order,
        )

        results = describe_ordering(study)
        if self.temperature is not None:
            shells = short_range_order(study.interactions, self.temperature)
            results["short_range_order"] = describe_short_range_order(shells)
        if self.search:
            supercell, name = study.hessian.mixture, study.hessian.group
            rng = np.random.default_rng(self.seed)
            found = search_ordering(supercell, potential, name, rng, seeds=self.search)
            per_site = found.energy / supercell.n_sites
            results["search"] = {
                "energy_eV_per_atom": per_site,
                "ordering_energy_eV_per_atom": study.random_energy - per_site,
                "evaluations": found.evaluations,
                "structure": found.mixture.to_dict(),
            }
        return results


def _write_files(study: OrderingStudy, results: dict[str, Any], store: ResultFolder) -> None:
    """Write the shells as a table and the ordered structures as CIFs."""
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.mixture.structure_files import file_stem, write_structure

    rows = [
        {"pair": pair, **shell}
        for pair, shells in results["pair_interactions_meV"].items()
        for shell in shells
    ]
    store.write_csv("pair_interactions.csv", rows)
    (store.path / "ordered").mkdir(exist_ok=True)
    for item in study.structures:
        file = store.path / "ordered" / f"{file_stem(item.name)}.cif"
        write_structure(Mixture.from_atoms(item.atoms), file)
