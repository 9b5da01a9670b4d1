"""``alchemlip frenkel-ladd``: the absolute free energy of a crystal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import freeenergy as fe
from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.freeenergy.trajectory import Progress
    from alchemlip.mixture import Mixture
    from alchemlip.potential import AlchemicalPotential

CellTime = Annotated[
    float, typer.Option("--cell-time", help="Sampling of the mean cell, ps; not with --cell fixed.")
]
KeepSymmetry = Annotated[
    bool,
    typer.Option(help="Give the mean cell the point group of the structure."),
]
Springs = Annotated[
    str,
    typer.Option(
        "--springs",
        help="displacements (mean-square, sampled), hessian, or given (with --spring).",
    ),
]
Spring = Annotated[
    list[str],
    typer.Option(
        "--spring",
        help="A given spring constant in eV/A^2 of a class of sites, e.g. Cs=0.3. May be repeated.",
        metavar="CLASS=K",
    ),
]
SpringTime = Annotated[
    float, typer.Option("--spring-time", help="Sampling of the displacements, ps.")
]
CentreOfMassOption = Annotated[
    str,
    typer.Option(
        "--centre-of-mass",
        help="Volume that it visits: that of a primitive-cell (Freitas et al.), or of the whole "
        "supercell (calphy).",
    ),
]
PrimitiveCells = Annotated[
    int | None,
    typer.Option(
        "--primitive-cells", help="Primitive cells in the crystal; found by spglib if left out."
    ),
]
Quantum = Annotated[
    str,
    typer.Option(
        "--quantum",
        help="Quantum correction: none, harmonic (all normal modes) or wigner-kirkwood (leading "
        "term).",
    ),
]
MixingEntropy = Annotated[
    bool, typer.Option("--mixing-entropy", help="Add the ideal mixing entropy as a term.")
]


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    group: opt.Groups = [],
    concerted: opt.Concerted = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    repeat: fe.Supercell = "1,1,1",
    representation: opt.Representation = "nodes",
    temperature: fe.Temperature = 300.0,
    cell: fe.Ensemble = "volume",
    pressure: opt.Pressure = 0.0,
    cell_time: CellTime = 10.0,
    keep_symmetry: KeepSymmetry = True,
    springs: Springs = "displacements",
    spring: Spring = [],
    spring_time: SpringTime = 10.0,
    centre_of_mass: CentreOfMassOption = "primitive-cell",
    primitive_cells: PrimitiveCells = None,
    quantum: Quantum = "none",
    mixing_entropy: MixingEntropy = False,
    timestep: fe.Timestep = 2.0,
    thermostat: fe.Thermostat = 100.0,
    barostat: fe.Barostat = 1000.0,
    equilibrate: fe.Equilibrate = 2.0,
    switch: fe.Switch = 10.0,
    repeats: fe.Repeats = 4,
    function: fe.Function = "polynomial",
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
    """Absolute free energy of a crystal, by switching to an Einstein crystal.

    First the mean cell at the pressure, then the springs, then the switching. Give the ideal or
    relaxed crystal. Writes run.sqlite (all samples and the state, committed as it runs),
    result.json, switching.png.

    Example: alchemlip frenkel-ladd CsPbI3.cif --repeat 2,2,2 -T 500
    """
    from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, concerted, normalise, (), block, accept_composition
    )
    opt.refuse_scanned(scanned)
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
    stages = fe.checked(
        FrenkelLaddSettings,
        {
            "cell_equilibration_steps": switching.equilibration_steps,
            "cell_steps": fe.steps_of(cell_time, timestep, "--cell-time"),
            "spring_equilibration_steps": switching.equilibration_steps,
            "spring_steps": fe.steps_of(spring_time, timestep, "--spring-time"),
            "springs": springs,
            "keep_symmetry": keep_symmetry,
            "centre_of_mass": centre_of_mass,
            "n_primitive_cells": primitive_cells,
            "quantum": quantum,
            "mixing_entropy": mixing_entropy,
        },
    )
    _run(
        structure,
        mixture.repeat(opt.parse_repeats(repeat, "--repeat")),
        opt.prepare_single_potential(model, device, dtype, modal, head, trust_file, representation),
        dynamics,
        switching,
        stages,
        parse_springs(spring),
        out,
        resume,
    )


def parse_springs(texts: Sequence[str]) -> dict[str, float] | None:
    """Read given spring constants such as ``Cs=0.3``; None if there are none.

    Raises:
        InputError: if a text is anything else.
    """
    constants: dict[str, float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            constants[name.strip()] = float(value)
        except ValueError as error:
            raise InputError(f"cannot read --spring {text!r}: write for example Cs=0.3") from error
    return constants or None


def _run(
    structure: Path,
    mixture: Mixture,
    potential: AlchemicalPotential,
    dynamics: DynamicsSettings,
    switching: SwitchingSettings,
    stages: FrenkelLaddSettings,
    spring_constants: dict[str, float] | None,
    out: Path | None,
    resume: bool,
) -> None:
    from alchemlip.calculator import AlchemicalCalculator
    from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
    from alchemlip.freeenergy.frenkel_ladd_settings import check_frenkel_ladd
    from alchemlip.freeenergy.plotting import plot_switching
    from alchemlip.report import describe_potential

    atoms = mixture.to_atoms()
    calculator = AlchemicalCalculator(potential, mixture, composition_gradient=False)
    check_frenkel_ladd(atoms, calculator, stages, spring_constants)
    inputs: dict[str, Any] = {
        "mixture": mixture.to_dict(),
        "dynamics": dynamics.model_dump(),
        "switching": switching.model_dump(),
        "frenkel_ladd": stages.model_dump(),
        "spring_constants": spring_constants,
        **describe_potential(potential),
    }

    def compute(run: fe.Run, report: Progress) -> dict[str, Any]:
        results = frenkel_ladd(
            atoms,
            calculator,
            dynamics,
            switching,
            stages,
            run.record,
            spring_constants=spring_constants,
            on_progress=report,
        )
        plot_switching(run.record, results, run.folder.path / "switching.png")
        return results

    run = fe.completed_run(
        "frenkel-ladd", structure, inputs, compute, potential=potential, out=out, resume=resume
    )
    results = run.folder.record["results"]
    title = f"{structure.name} at {dynamics.temperature_K:g} K with {potential.name}"
    fe.show_free_energy(results, title, run.folder.path)
    convention = results["centre_of_mass_convention"]
    typer.echo(f"Volume of the centre of mass: {convention}; N_cells {results['n_cells']}.")
