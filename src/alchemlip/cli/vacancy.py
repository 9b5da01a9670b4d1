"""``alchemlip vacancy``: the free energy of formation of a vacancy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import freeenergy as fe
from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.chemical_potential import ChemicalPotential
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.freeenergy.trajectory import Progress
    from alchemlip.mixture import Mixture
    from alchemlip.potential import AlchemicalPotential
    from alchemlip.relaxation import RelaxationSettings
    from alchemlip.runs import RunRecord

STATIC_NOTE = "static"

Site = Annotated[
    int, typer.Option("--site", help="Index of the atom that leaves, in the supercell.")
]
Mu = Annotated[
    float | None,
    typer.Option(
        "--mu", help="Chemical potential of the atom, eV: what it is worth in its reservoir."
    ),
]
Reference = Annotated[
    Path | None,
    typer.Option(
        "--reference",
        help="Instead of --mu: folder of a frenkel-ladd run of the element's crystal, mu = G/N.",
    ),
]
ReferenceCell = Annotated[
    bool,
    typer.Option(
        "--reference-cell", help="Take the mean cell of --reference, of the same supercell."
    ),
]
VacantRun = Annotated[
    Path | None,
    typer.Option(
        "--vacant-run",
        help="Folder of a frenkel-ladd run of the crystal with the vacancy (with "
        "--primitive-cells of the perfect one): the two-crystal value beside, from it and "
        "--reference of the same supercell.",
    ),
]
Spring = Annotated[
    float | None,
    typer.Option(
        "--spring",
        help="Spring constant of the leaving atom, eV/A^2.",
        show_default="the curvature of the energy at its site",
    ),
]
Static = Annotated[
    bool,
    typer.Option(help="Also relax both crystals, for the formation energy at rest (0 K)."),
]


@dataclass(frozen=True)
class Vacancy:
    """What is to be run: the crystal, the site, what the atom is worth."""

    mixture: Mixture
    site: int
    spring_constant: float | None
    mu: ChemicalPotential
    potential: AlchemicalPotential
    dynamics: DynamicsSettings
    switching: SwitchingSettings
    relaxation: RelaxationSettings | None
    two_crystals: Mapping[str, Any] | None

    def inputs(self) -> dict[str, Any]:
        """Return all that determines the result."""
        from dataclasses import asdict

        from alchemlip.report import describe_potential

        return {
            "mixture": self.mixture.to_dict(),
            "site": self.site,
            "spring_constant": self.spring_constant,
            "chemical_potential": asdict(self.mu),
            "dynamics": self.dynamics.model_dump(),
            "switching": self.switching.model_dump(),
            "static": None if self.relaxation is None else self.relaxation.model_dump(),
            "two_crystals": self.two_crystals,
            **describe_potential(self.potential),
        }


def command(
    structure: opt.Structure,
    site: Site = 0,
    mu: Mu = None,
    reference: Reference = None,
    reference_cell: ReferenceCell = False,
    vacant_run: VacantRun = None,
    mix: opt.Mix = [],
    group: opt.Groups = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    repeat: fe.Supercell = "1,1,1",
    spring: Spring = None,
    temperature: fe.Temperature = 300.0,
    cell: fe.Ensemble = "volume",
    pressure: opt.Pressure = 0.0,
    timestep: fe.Timestep = 2.0,
    thermostat: fe.Thermostat = 100.0,
    barostat: fe.Barostat = 1000.0,
    equilibrate: fe.Equilibrate = 2.0,
    switch: fe.Switch = 10.0,
    repeats: fe.Repeats = 4,
    function: fe.Function = "smoothstep",
    static: Static = True,
    fmax: opt.Fmax = 5e-3,
    smax: opt.Smax = 2e-2,
    seed: fe.Seed = 0,
    record_interval: fe.RecordInterval = 1,
    checkpoint_interval: fe.CheckpointInterval = 100,
    trajectory_interval: fe.TrajectoryInterval = 0,
    model: opt.Model = opt.DEFAULT_MODEL,
    modal: opt.Modal = None,
    head: opt.Head = None,
    trust_file: opt.Trust = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "float64",
    out: opt.Out = None,
    resume: fe.Resume = False,
    settings: opt.Settings = None,
) -> None:
    """Free energy of formation of a vacancy, by switching an atom off and a spring on.

    Gibbs' at constant pressure, Helmholtz' with --cell fixed: then give the crystal's own cell at
    this temperature (--reference-cell). Writes run.sqlite, result.json, switching.png.

    Example: alchemlip vacancy Fe.cif --repeat 3,3,3 --site 0 -T 100 --reference frenkel-ladd-Fe
    """
    if (mu is None) == (reference is None):
        raise InputError(
            "it is not clear where the atom goes: give its chemical potential, either --mu EV or "
            "--reference FOLDER of a frenkel-ladd run"
        )
    if reference is None and (reference_cell or vacant_run is not None):
        raise InputError(
            "--reference-cell and --vacant-run need a frenkel-ladd run: name its folder "
            "(--reference)"
        )
    dynamics = fe.dynamics_settings(
        temperature_K=temperature,
        timestep_fs=timestep,
        cell=cell,
        pressure_GPa=pressure,
        thermostat_fs=thermostat,
        barostat_fs=barostat,
    )
    switching = fe.switching_settings(
        equilibrate_ps=equilibrate,
        switch_ps=switch,
        timestep_fs=timestep,
        repeats=repeats,
        function=function,
        record_interval=record_interval,
        checkpoint_interval=checkpoint_interval,
        trajectory_interval=trajectory_interval,
        seed=seed,
    )
    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, [], normalise, (), block, accept_composition
    )
    opt.refuse_scanned(scanned)
    potential = opt.prepare_single_potential(model, device, dtype, modal, head, trust_file)
    vacancy = _vacancy(
        mixture.repeat(opt.parse_repeats(repeat, "--repeat")),
        site,
        spring,
        mu,
        reference,
        reference_cell,
        vacant_run,
        potential,
        dynamics,
        switching,
    )
    if static:
        from dataclasses import replace

        from alchemlip.relaxation import relaxation_settings

        relaxation = relaxation_settings(cell=cell, fmax=fmax, smax=smax, pressure=pressure)
        vacancy = replace(vacancy, relaxation=relaxation)
    _run(vacancy, structure, out, resume)


def _vacancy(
    mixture: Mixture,
    site: int,
    spring: float | None,
    mu_eV: float | None,
    reference: Path | None,
    reference_cell: bool,
    vacant_run: Path | None,
    potential: AlchemicalPotential,
    dynamics: DynamicsSettings,
    switching: SwitchingSettings,
) -> Vacancy:
    """Check everything before a folder is made."""
    from alchemlip.freeenergy.chemical_potential import (
        ChemicalPotential,
        chemical_potential_of_element,
        frenkel_ladd_results,
        in_reference_cell,
    )
    from alchemlip.freeenergy.vacancy import vacancy_path
    from alchemlip.freeenergy.vacancy_crystals import formation_from_crystals
    from alchemlip.report import describe_potential

    path = vacancy_path(mixture, site, 1.0 if spring is None else spring)
    opt.refuse_unusable(path.mixture, potential)
    two_crystals = None
    if reference is None:
        assert mu_eV is not None
        mu = ChemicalPotential(mu_eV)
    else:
        mu = chemical_potential_of_element(
            reference,
            path.species,
            dynamics.temperature_K,
            dynamics.pressure_GPa,
            describe_potential(potential),
        )
        if reference_cell:
            mixture = in_reference_cell(mixture, reference)
        if vacant_run is not None:
            perfect, vacant = (frenkel_ladd_results(run)[1] for run in (reference, vacant_run))
            two_crystals = formation_from_crystals(perfect, vacant)
    return Vacancy(mixture, site, spring, mu, potential, dynamics, switching, None, two_crystals)


def _run(vacancy: Vacancy, structure: Path, out: Path | None, resume: bool) -> None:
    from alchemlip.freeenergy.plotting import plot_switching
    from alchemlip.freeenergy.vacancy import form_vacancy, noted_spring_constant, vacancy_path

    mixture, site, potential = vacancy.mixture, vacancy.site, vacancy.potential

    def compute(run: fe.Run, report: Progress) -> dict[str, Any]:
        constant = vacancy.spring_constant
        if constant is None:
            constant = noted_spring_constant(run.record, mixture, site, potential)
        static = _static(vacancy, run.record)
        results = form_vacancy(
            vacancy_path(mixture, site, constant),
            potential,
            vacancy.mu,
            vacancy.dynamics,
            vacancy.switching,
            run.record,
            on_progress=report,
        )
        plot_switching(run.record, results, run.folder.path / "switching.png")
        return {**results, **static, "two_crystals": vacancy.two_crystals}

    run = fe.completed_run(
        "vacancy", structure, vacancy.inputs(), compute, potential=potential, out=out, resume=resume
    )
    results = run.folder.record["results"]
    title = (
        f"{results['species']} vacancy on site {site} of {structure.name} at "
        f"{vacancy.dynamics.temperature_K:g} K with {potential.name}"
    )
    fe.show_free_energy(results, title, run.folder.path)
    _show_beside(results)


def _static(vacancy: Vacancy, record: RunRecord) -> dict[str, Any]:
    """Return the energies at rest, computed once and kept in the record."""
    from alchemlip.freeenergy.vacancy_crystals import static_formation_energy

    if vacancy.relaxation is None:
        return {}
    kept: dict[str, Any] | None = record.noted(STATIC_NOTE)
    if kept is None:
        kept = static_formation_energy(
            vacancy.mixture, vacancy.site, vacancy.potential, vacancy.relaxation, vacancy.mu
        )
        record.note(STATIC_NOTE, kept)
    return kept


def _show_beside(results: Mapping[str, Any]) -> None:
    """Print what stands beside the free energy: at rest, two crystals, concentration."""
    if "static_formation_energy_eV" in results:
        typer.echo(f"At rest, 0 K: {results['static_formation_energy_eV']:.6f} eV.")
    two = results["two_crystals"]
    if two is not None:
        value, error = two["free_energy_eV"], two["standard_error_eV"]
        typer.echo(f"By two crystals: {value:.6f} ± {error:.6f} eV.")
    exponent = results["log10_concentration"]
    typer.echo(f"Equilibrium concentration: 10^{exponent:.2f} vacancies per site.")
