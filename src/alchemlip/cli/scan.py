"""``alchemlip scan``: relaxed properties along a line or over a triangle of compositions."""

from __future__ import annotations

from typing import Annotated

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    points: Annotated[
        int, typer.Option("--points", help="Compositions along an edge, both ends included.")
    ] = 11,
    group: opt.Groups = [],
    concerted: opt.Concerted = [],
    exclusive: opt.Exclusive = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    cell: opt.Cell = "full",
    fmax: opt.Fmax = 1e-3,
    smax: opt.Smax = 1e-3,
    pressure: opt.Pressure = 0.0,
    keep_symmetry: opt.KeepSymmetry = False,
    optimiser: opt.Optimiser = "BFGS",
    max_steps: opt.MaxSteps = 500,
    model: opt.Models = [opt.DEFAULT_MODEL],
    modal: opt.Modal = None,
    head: opt.Head = None,
    trust_file: opt.Trust = False,
    representation: opt.Representation = "nodes",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "float64",
    out: opt.Out = None,
    settings: opt.Settings = None,
) -> None:
    """Relax every composition on a line (two species) or a triangle (three).

    Writes result.json, scan.csv and scan.png. The same command continues a scan that was stopped.

    Example: alchemlip scan CeO2.cif --mix Ce=Ce,Zr --points 11
    """
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeElapsedColumn as Elapsed
    from rich.progress import TimeRemainingColumn as Remaining

    from alchemlip.cli.show import show_warnings, warn_unconverged
    from alchemlip.plotting import plot_scan
    from alchemlip.relaxation import relaxation_settings
    from alchemlip.results import ResultFolder
    from alchemlip.scanning import ScanPoint, composition_grid, scan, scan_inputs

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, concerted, normalise, exclusive, block, accept_composition
    )
    if len(scanned) != 1 or len(scanned[0].species) not in (2, 3):
        raise InputError(
            "a scan needs one group with two or three species: write one --mix such as Ce=Ce,Zr, "
            "and the others as formulas"
        )
    name, species = scanned[0].group, scanned[0].species
    chosen = relaxation_settings(
        cell=cell,
        fmax=fmax,
        smax=smax,
        pressure=pressure,
        keep_symmetry=keep_symmetry,
        optimiser=optimiser,
        max_steps=max_steps,
    )
    total = len(composition_grid(len(species), points))
    potential = opt.prepare_potential(model, device, dtype, modal, head, trust_file, representation)
    opt.refuse_unusable(mixture, potential, chosen)
    inputs = scan_inputs(mixture, potential, name, points, chosen)
    folder = ResultFolder(
        opt.results_folder(out, "scan", structure), "scan", inputs, opt.source(structure, potential)
    )
    console = Console()
    before = len(folder.points())
    if folder.resumed:
        console.print(f"{before} of {total} points were finished before.")
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Elapsed(),
        Remaining(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("scan", total=total, completed=before)

        def on_point(point: ScanPoint, done: int, _: int) -> None:
            text = " ".join(f"{s} {x:.3f}" for s, x in zip(species, point.x, strict=True))
            progress.update(task, completed=done, description=text)

        finished = scan(
            mixture,
            potential,
            name,
            points=points,
            folder=folder,
            settings=chosen,
            on_point=on_point,
        )
    import numpy as np

    picture = plot_scan(
        np.array([point.x for point in finished]),
        species,
        [point.record for point in finished],
        folder.path / "scan.png",
        f"{structure.stem}, {'/'.join(species)} on the {name} sites ({potential.name})",
    )
    results = folder.record["results"]
    console.print(
        f"{results['n_converged']} of {results['n_points']} points converged, "
        f"{results['evaluations']} evaluations."
    )
    if results["n_converged"] < results["n_points"]:
        warn_unconverged("some points (marked in the picture)")
    show_warnings(folder.record)
    place = f"Results in [bold]{escape(str(folder.path))}[/bold], picture {escape(str(picture))}"
    console.print(place, highlight=False)
