"""``alchemlip order``: pair interactions, ordering waves, and the structures they make."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.disorder.ordering_study import OrderingStudy
    from alchemlip.potential import AlchemicalPotential
    from alchemlip.results import ResultFolder


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    on: Annotated[
        str | None, typer.Option("--on", help="Group that orders, if several are mixed.")
    ] = None,
    repeat: Annotated[
        str | None,
        typer.Option("--repeat", help="Repeats of the cell, e.g. 4,4,4.", show_default="chosen"),
    ] = None,
    structures: Annotated[
        int, typer.Option("--structures", help="Ordered structures to evaluate at most.", min=1)
    ] = 8,
    waves: Annotated[
        int, typer.Option("--waves", help="Stars of waves that generate structures.", min=1)
    ] = 3,
    temperature: Annotated[
        float | None,
        typer.Option(
            "--temperature", help="Also give the short-range order at this temperature, K."
        ),
    ] = None,
    search: Annotated[
        int,
        typer.Option(
            "--search", help="Also search by gradients, from so many random starts.", min=0
        ),
    ] = 0,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the random starts.")] = 0,
    no_relax: Annotated[
        bool, typer.Option("--no-relax", help="Keep the cell and positions as given.")
    ] = False,
    size_effect: Annotated[
        bool, typer.Option("--size-effect", help="Add what relaxing atoms do to the interactions.")
    ] = False,
    group: opt.Groups = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    cell: opt.Cell = "full",
    fmax: opt.Fmax = 1e-3,
    smax: opt.Smax = 1e-3,
    pressure: opt.Pressure = 0.0,
    max_steps: opt.MaxSteps = 500,
    model: opt.Model = opt.DEFAULT_MODEL,
    modal: opt.Modal = None,
    head: opt.Head = None,
    trust_file: opt.Trust = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "float64",
    out: opt.Out = None,
    settings: opt.Settings = None,
) -> None:
    """Tell by which waves a disordered crystal orders, into what, and at what temperature.

    The mixed crystal is relaxed in its space group, then repeated. Writes result.json,
    pair_interactions.csv, order.png and the ordered structures (ordered/*.cif).

    Example: alchemlip order brass.cif --mix Cu=Cu0.5Zn0.5
    """
    from rich.console import Console
    from rich.markup import escape

    from alchemlip.cli.show import show_warnings, warn_unconverged
    from alchemlip.disorder.hessian import random_group
    from alchemlip.disorder.ordering_plots import plot_ordering
    from alchemlip.disorder.ordering_study import ordering_repeats, study_ordering
    from alchemlip.disorder.patterns import site_counts
    from alchemlip.plausibility import distance_warnings
    from alchemlip.relaxation import relax, relaxation_settings
    from alchemlip.report import describe_potential, describe_structure
    from alchemlip.results import ResultFolder
    from alchemlip.structure_files import write_exact_and_cif

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, [], normalise, (), block, accept_composition
    )
    opt.refuse_scanned(scanned)
    if not mixture.pbc.all():
        raise InputError(
            f"{str(structure)!r} is no crystal, periodic in three directions: ordering waves need "
            "one; give a cell with three periodic vectors"
        )
    name = random_group(mixture, on).name
    repeats = (
        ordering_repeats(mixture, name) if repeat is None else opt.parse_repeats(repeat, "--repeat")
    )
    larger = mixture.repeat(repeats).group(name)
    site_counts(larger.composition, len(larger.sites), name)
    chosen = relaxation_settings(
        cell=cell,
        fmax=fmax,
        smax=smax,
        pressure=pressure,
        keep_symmetry=True,
        max_steps=max_steps,
    )
    potential = opt.prepare_single_potential(model, device, dtype, modal, head, trust_file)
    opt.refuse_unusable(mixture, potential, None if no_relax else chosen)
    inputs: dict[str, Any] = {
        "mixture": mixture.to_dict(),
        "group": name,
        "repeats": list(repeats),
        "structures": structures,
        "waves": waves,
        "temperature_K": temperature,
        "size_effect": size_effect,
        "search_starts": search,
        "seed": seed,
        "relaxation": None if no_relax else chosen.model_dump(),
        **describe_potential(potential),
    }
    folder = ResultFolder(
        opt.results_folder(out, "order", structure),
        "order",
        inputs,
        opt.source(structure, potential),
    )
    console = Console()
    if folder.finished:
        console.print(f"Finished before: [bold]{escape(str(folder.path))}[/bold]", highlight=False)
        return
    with folder.noting_failure():
        converged = True
        if not no_relax:
            relaxed = relax(mixture, potential, chosen)
            mixture, converged = relaxed.mixture, relaxed.converged
            write_exact_and_cif(mixture, folder.path, "relaxed")
        study = study_ordering(
            mixture,
            potential,
            name,
            repeats=repeats,
            relaxed=size_effect,
            n_waves=waves,
            n_structures=structures,
        )
        results = {"converged": converged, **describe_structure(mixture)}
        results |= _results(study, potential, temperature, search, seed)
        _write_files(study, results, folder)
        plot_ordering(
            study.interactions,
            folder.path / "order.png",
            f"{structure.stem}, {name} sites ({potential.name})",
        )
        folder.finish(results, warnings=distance_warnings(mixture))
    show(study, results, console)
    if not converged:
        warn_unconverged("the mixed cell")
    show_warnings(folder.record)
    console.print(f"Results in [bold]{escape(str(folder.path))}[/bold]", highlight=False)


def _results(
    study: OrderingStudy,
    potential: AlchemicalPotential,
    temperature: float | None,
    search: int,
    seed: int,
) -> dict[str, Any]:
    """Return what result.json holds of a study, and of what was asked for besides."""
    import numpy as np

    from alchemlip.disorder.kcm import short_range_order
    from alchemlip.disorder.ordering_search import search_ordering
    from alchemlip.disorder.ordering_study import describe_ordering, describe_short_range_order

    results = describe_ordering(study)
    if temperature is not None:
        shells = short_range_order(study.interactions, temperature)
        results["short_range_order"] = describe_short_range_order(shells)
    if search:
        supercell, name = study.hessian.mixture, study.hessian.group
        rng = np.random.default_rng(seed)
        found = search_ordering(supercell, potential, name, rng, seeds=search)
        per_site = found.energy / supercell.n_sites
        results["search"] = {
            "energy_eV_per_atom": per_site,
            "ordering_energy_eV_per_atom": study.random_energy - per_site,
            "evaluations": found.evaluations,
            "structure": found.mixture.to_dict(),
        }
    return results


def _write_files(study: OrderingStudy, results: dict[str, Any], folder: ResultFolder) -> None:
    """Write the shells as a table and the ordered structures as CIFs."""
    from alchemlip.mixture import Mixture
    from alchemlip.structure_files import file_stem, write_structure

    rows = [
        {"pair": pair, **shell}
        for pair, shells in results["pair_interactions_meV"].items()
        for shell in shells
    ]
    folder.write_csv("pair_interactions.csv", rows)
    (folder.path / "ordered").mkdir(exist_ok=True)
    for item in study.structures:
        file = folder.path / "ordered" / f"{file_stem(item.name)}.cif"
        write_structure(Mixture.from_atoms(item.atoms), file)


def show(study: OrderingStudy, results: dict[str, Any], console: Any) -> None:
    """Print the shells, waves and structures as tables."""
    from rich.table import Table

    shells = Table(title="Pair interactions", title_justify="left")
    for column in ("pair", "distance (Å)", "neighbours", "J (meV)"):
        shells.add_column(column, justify="right")
    for pair, values in results["pair_interactions_meV"].items():
        for shell in values[:6]:
            shells.add_row(
                pair,
                f"{shell['distance_A']:.3f}",
                f"{shell['multiplicity']:g}",
                f"{shell['J_meV']:.2f}",
            )
    console.print(shells)
    table = Table(title="Ordering waves, most unstable first", title_justify="left")
    for column in ("point", "k", "arms", "eigenvalue (meV)", "mean-field T (K)"):
        table.add_column(column, justify="right")
    for wave in study.waves:
        table.add_row(
            f"{wave.label or '-'}{' (separates)' if wave.separates else ''}",
            " ".join(f"{x:.3f}" for x in wave.k),
            str(len(wave.star)),
            f"{1e3 * wave.eigenvalue:.2f}",
            f"{wave.critical_temperature:.0f}",
        )
    console.print(table)
    if study.relaxed:
        console.print(
            "Two phases side by side, each at its own lattice parameter (k = 0): mean-field T "
            f"{results['separation_temperature_K']:.0f} K."
        )
    elif (
        not study.lowest.commensurate and study.lowest.eigenvalue < study.waves[0].eigenvalue - 1e-4
    ):
        k = " ".join(f"{x:.3f}" for x in study.lowest.k)
        console.print(
            f"The interpolated V(k) is lower at k = {k} ({1e3 * study.lowest.eigenvalue:.2f} meV), "
            "which the supercell does not hold: try other repeats (--repeat)."
        )
    table = Table(title="Ordered structures", title_justify="left")
    for column in ("name", "space group", "energy (eV/site)", "random − ordered (meV/site)"):
        table.add_column(column, justify="right")
    for item in results["ordered_structures"]:
        table.add_row(
            item["name"],
            item["space_group"],
            f"{item['energy_eV_per_atom']:.5f}",
            f"{1e3 * item['ordering_energy_eV_per_atom']:.2f}",
        )
    console.print(table)
