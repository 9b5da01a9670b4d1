"""``alchemlip transmute``: the free energy of turning species into others."""

from __future__ import annotations

from typing import Annotated

import typer

from alchemlip.cli import freeenergy as fe
from alchemlip.cli import options as opt
from alchemlip.cli import switched_run as run

Windows = Annotated[
    int,
    typer.Option(
        "--windows",
        help="Sample so many couplings in equilibrium, side by side in one batch, with replica "
        "exchange, instead of switching.",
    ),
]
Sample = Annotated[float, typer.Option("--sample", help="Sampling time of each window, ps.")]
SampleInterval = Annotated[
    int,
    typer.Option(
        "--sample-interval",
        help="Steps between samples of the windows; each costs its energy at every coupling.",
    ),
]
Exchange = Annotated[
    int,
    typer.Option("--exchange-interval", help="Steps between exchanges of windows; 0 for none."),
]
MixingEntropy = Annotated[
    bool, typer.Option("--mixing-entropy", help="Add the ideal mixing entropy as a term.")
]


def command(
    structure: opt.Structure,
    to: run.To = [],
    end_state: run.EndState = None,
    mix: opt.Mix = [],
    group: opt.Groups = [],
    normalise: opt.Normalise = False,
    repeat: fe.Supercell = "1,1,1",
    correlation: run.CorrelationOption = "concerted",
    representation: opt.Representation = "nodes",
    temperature: fe.Temperature = 300.0,
    cell: fe.Ensemble = "volume",
    pressure: opt.Pressure = 0.0,
    timestep: fe.Timestep = 2.0,
    thermostat: fe.Thermostat = 100.0,
    barostat: fe.Barostat = 1000.0,
    equilibrate: fe.Equilibrate = 2.0,
    switch: fe.Switch = 10.0,
    repeats: fe.Repeats = 4,
    function: fe.Function = "polynomial",
    windows: Windows = 0,
    sample: Sample = 10.0,
    sample_interval: SampleInterval = 20,
    exchange_interval: Exchange = 20,
    mixing_entropy: MixingEntropy = False,
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
    """Free energy of turning species into others, by switching or by equilibrium windows.

    Gibbs' at constant pressure, Helmholtz' with --cell fixed. Writes run.sqlite (all samples and
    the state, committed as it runs), result.json and a picture.

    Example: alchemlip transmute CsPbI3.cif --repeat 2,2,2 --to Pb=Sn -T 300
    """
    path = run.switched_path(
        structure,
        to,
        end_state,
        mix,
        group,
        normalise,
        repeat,
        correlation,
        models=[model],
        device=device,
        dtype=dtype,
    )
    dynamics = fe.dynamics_settings(
        temperature_K=temperature,
        timestep_fs=timestep,
        cell=cell,
        pressure_GPa=pressure,
        thermostat_fs=thermostat,
        barostat_fs=barostat,
    )
    if windows:
        run.run_windows(
            path,
            structure,
            dynamics,
            fe.window_settings(
                windows=windows,
                equilibrate_ps=equilibrate,
                sample_ps=sample,
                timestep_fs=timestep,
                repeats=repeats,
                sample_interval=sample_interval,
                exchange_interval=exchange_interval,
                checkpoint_interval=checkpoint_interval,
                seed=seed,
            ),
            opt.prepare_single_potential(
                model, device, dtype, modal, head, trust_file, representation
            ),
            mixing_entropy=mixing_entropy,
            out=out,
            resume=resume,
        )
        return
    run.run_path(
        "transmute",
        path,
        structure,
        dynamics,
        fe.switching_settings(
            equilibrate_ps=equilibrate,
            switch_ps=switch,
            timestep_fs=timestep,
            repeats=repeats,
            function=function,
            record_interval=record_interval,
            checkpoint_interval=checkpoint_interval,
            trajectory_interval=trajectory_interval,
            seed=seed,
        ),
        opt.prepare_single_potential(model, device, dtype, modal, head, trust_file, representation),
        mixing_entropy=mixing_entropy,
        out=out,
        resume=resume,
    )
