"""The free energy of formation of a vacancy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.dynamics_parts import Function, Switching
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import Fmax, Smax
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.freeenergy.chemical_potential import ChemicalPotential
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.potential import AlchemicalPotential
    from alchemlip.records.runs import RunRecord

STATIC_NOTE = "static"
STATIC_ENTHALPY_NOTE = "static enthalpy"
"""At pressure, where earlier versions noted energies."""
VACANCY = "Vacancy"

Site = Annotated[
    int,
    Field(ge=0, le=10**9, description="Index of the atom that leaves, in the supercell."),
    Option(VACANCY),
]
Mu = Annotated[
    float | None,
    Field(
        ge=-1e6,
        le=1e6,
        description="Chemical potential of the atom, eV: what it is worth in its reservoir.",
    ),
    Option(VACANCY, unit="eV"),
]
Reference = Annotated[
    Path | None,
    Field(
        description="Instead of --mu: folder of a frenkel-ladd run of the element's crystal, "
        "mu = G/N."
    ),
    Option(VACANCY),
]
ReferenceCell = Annotated[
    bool,
    Field(description="Take the mean cell of --reference, of the same supercell."),
    Option(VACANCY),
]
VacantRun = Annotated[
    Path | None,
    Field(
        description="Folder of a frenkel-ladd run of the crystal with the vacancy (with "
        "--primitive-cells of the perfect one): the two-crystal value beside, from it and "
        "--reference of the same supercell."
    ),
    Option(VACANCY),
]
Spring = Annotated[
    float | None,
    Field(gt=0, le=1e6, description="Spring constant of the leaving atom, eV/A^2."),
    Option(VACANCY, unit="eV/A^2", shown_default="the curvature of the energy at its site"),
]
Static = Annotated[
    bool,
    Field(description="Also relax both crystals, for the formation energy at rest (0 K)."),
    Option(VACANCY, negative="--no-static"),
]


class Vacancy(Switching):
    """Free energy of formation of a vacancy, by switching an atom off and a spring on.

    Gibbs' at constant pressure, Helmholtz' with --cell fixed: then give the crystal's own cell at
    this temperature (--reference-cell). Writes run.sqlite, result.json, switching.png.

    Example: alchemlip vacancy Fe.cif --repeat 3,3,3 --site 0 -T 100 --reference frenkel-ladd-Fe
    """

    command: ClassVar[str] = "vacancy"

    site: Site = 0
    mu: Mu = None
    reference: Reference = None
    reference_cell: ReferenceCell = False
    vacant_run: VacantRun = None
    spring: Spring = None
    function: Function = "smoothstep"
    static: Static = True
    fmax: Fmax = 5e-3
    smax: Smax = 2e-2

    @model_validator(mode="after")
    def _knows_where_the_atom_goes(self) -> Vacancy:
        if (self.mu is None) == (self.reference is None):
            raise InputError(
                "it is not clear where the atom goes: give its chemical potential, either --mu EV "
                "or --reference FOLDER of a frenkel-ladd run"
            )
        if self.reference is None and (self.reference_cell or self.vacant_run is not None):
            raise InputError(
                "--reference-cell and --vacant-run need a frenkel-ladd run: name its folder "
                "(--reference)"
            )
        return self

    def relaxation(self) -> RelaxationSettings | None:
        """Return how both crystals are relaxed; None if they are not."""
        from alchemlip.crystal.relaxation import relaxation_settings

        if not self.static:
            return None
        return relaxation_settings(
            cell=self.cell, fmax=self.fmax, smax=self.smax, pressure=self.pressure
        )

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from dataclasses import asdict

        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.crystal.report import describe_potential
        from alchemlip.freeenergy.chemical_potential import in_reference_cell
        from alchemlip.freeenergy.plotting import plot_switching
        from alchemlip.freeenergy.vacancy import (
            form_vacancy,
            noted_spring_constant,
            vacancy_path,
        )

        mixture = self.mixture()
        self.refuse_too_large(mixture, self.supercell())
        mixture = mixture.repeat(self.supercell())
        dynamics, switching, relaxation = self.dynamics(), self.switching(), self.relaxation()
        potential = self.potential()
        path = vacancy_path(mixture, self.site, 1.0 if self.spring is None else self.spring)
        refuse_unusable(path.mixture, potential)
        mu = self._chemical_potential(path.species, potential)
        if self.reference_cell:
            assert self.reference is not None
            mixture = in_reference_cell(mixture, self.reference)
        beside = self._two_crystals()

        def work(record: RunRecord, folder: Path, progress: Progress) -> Mapping[str, Any]:
            constant = self.spring
            if constant is None:
                constant = noted_spring_constant(record, mixture, self.site, potential)
            at_rest = _at_rest(record, mixture, self.site, potential, relaxation, mu)
            results = form_vacancy(
                vacancy_path(mixture, self.site, constant),
                potential,
                mu,
                dynamics,
                switching,
                record,
                on_progress=progress,
            )
            plot_switching(record, results, folder / "switching.png")
            return {**results, **at_rest, "two_crystals": beside}

        inputs = {
            "mixture": mixture.to_dict(),
            "site": self.site,
            "spring_constant": self.spring,
            "chemical_potential": asdict(mu),
            "dynamics": dynamics.model_dump(),
            "switching": switching.model_dump(),
            "static": None if relaxation is None else relaxation.model_dump(),
            "two_crystals": beside,
            **describe_potential(potential),
        }
        return self.recorded(inputs, potential, work)

    def _chemical_potential(
        self, species: str, potential: AlchemicalPotential
    ) -> ChemicalPotential:
        from alchemlip.crystal.report import describe_potential
        from alchemlip.freeenergy.chemical_potential import (
            ChemicalPotential,
            chemical_potential_of_element,
        )

        if self.reference is None:
            assert self.mu is not None
            return ChemicalPotential(self.mu)
        return chemical_potential_of_element(
            self.reference,
            species,
            self.temperature,
            self.pressure,
            describe_potential(potential),
        )

    def _two_crystals(self) -> dict[str, Any] | None:
        """Return the value from Frenkel-Ladd runs of both crystals, where they are given."""
        from alchemlip.freeenergy.chemical_potential import frenkel_ladd_results
        from alchemlip.freeenergy.vacancy_crystals import formation_from_crystals

        if self.reference is None or self.vacant_run is None:
            return None
        perfect, vacant = (
            frenkel_ladd_results(run)[1] for run in (self.reference, self.vacant_run)
        )
        return formation_from_crystals(perfect, vacant)


def _at_rest(
    record: RunRecord,
    mixture: Mixture,
    site: int,
    potential: AlchemicalPotential,
    relaxation: RelaxationSettings | None,
    mu: ChemicalPotential,
) -> dict[str, Any]:
    """Return the energies at rest, computed once and kept in the record."""
    from alchemlip.freeenergy.vacancy_crystals import static_formation_energy

    if relaxation is None:
        return {}
    note = STATIC_ENTHALPY_NOTE if relaxation.pressure else STATIC_NOTE
    kept: dict[str, Any] | None = record.noted(note)
    if kept is None:
        kept = static_formation_energy(mixture, site, potential, relaxation, mu)
        record.note(note, kept)
    return kept
