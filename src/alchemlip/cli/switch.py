"""``alchemlip switch``: the work of a path between compositions, or between potentials."""

from __future__ import annotations

from typing import Annotated

import typer

from alchemlip.cli import freeenergy as fe
from alchemlip.cli import options as opt
from alchemlip.cli import switched_run as run

ToModel = Annotated[
    str | None,
    typer.Option("--to-model", help="The potential at the end of the path.", metavar="NAME"),
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
    seed: fe.Seed = 0,
    record_interval: fe.RecordInterval = 1,
    checkpoint_interval: fe.CheckpointInterval = 100,
    trajectory_interval: fe.TrajectoryInterval = 0,
    model: opt.Model = opt.DEFAULT_MODEL,
    to_model: ToModel = None,
    modal: opt.Modal = None,
    head: opt.Head = None,
    trust_file: opt.Trust = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "float64",
    out: opt.Out = None,
    resume: fe.Resume = False,
    settings: opt.Settings = None,
) -> None:
    """Work of switching the composition, the potential, or both: the path and nothing added.

    The free energy is that of the potential part alone: no term for masses or mixing ('alchemlip
    transmute' adds them). --to-model takes the same crystal from one potential to another. Writes
    run.sqlite, result.json, switching.png.

    Example: alchemlip switch CsPbI3.cif --repeat 2,2,2 --to-model chgnet -T 300
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
        to_model is not None,
        models=[model] if to_model is None else [model, to_model],
        device=device,
        dtype=dtype,
    )
    run.run_path(
        "switch",
        path,
        structure,
        fe.dynamics_settings(
            temperature_K=temperature,
            timestep_fs=timestep,
            cell=cell,
            pressure_GPa=pressure,
            thermostat_fs=thermostat,
            barostat_fs=barostat,
        ),
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
        end_potential=None
        if to_model is None
        else opt.prepare_single_potential(
            to_model, device, dtype, None, None, trust_file, representation
        ),
        terms=False,
        out=out,
        resume=resume,
    )
