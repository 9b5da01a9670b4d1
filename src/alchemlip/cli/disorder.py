"""``alchemlip disorder``: the random alloy's energy, free energy of mixing, miscibility gap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.disorder.study import DisorderPoint
    from alchemlip.results import ResultFolder


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    points: Annotated[
        int, typer.Option("--points", help="Compositions along an edge, both ends included.")
    ] = 5,
    at: Annotated[
        list[float],
        typer.Option("--at", help="Weight of the second species instead of --points; repeatable."),
    ] = [],
    geometry: Annotated[
        str,
        typer.Option(
            "--geometry",
            help="Relax the cell in mean-field, under the random alloy's own forces (random), or "
            "take it as-given.",
        ),
    ] = "mean-field",
    supercell: Annotated[
        str | None,
        typer.Option("--supercell", help="Repeats, e.g. 2,2,2; chosen by --tolerance if left out."),
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option(
            "--tolerance",
            help="Change of the energy at which the supercell is large enough, meV per site.",
        ),
    ] = 1.0,
    order: Annotated[
        str,
        typer.Option("--order", help="second, or single_site: all orders of one site at a time."),
    ] = "second",
    local_relaxation: Annotated[
        bool, typer.Option("--local-relaxation", help="Energy of relaxing around neighbours.")
    ] = False,
    bulk_modulus: Annotated[
        bool, typer.Option("--bulk-modulus", help="Volume and bulk modulus of the random alloy.")
    ] = False,
    vibrations: Annotated[
        bool,
        typer.Option(
            "--vibrations",
            help="Quasi-harmonic free energy with local relaxation; needs --supercell.",
        ),
    ] = False,
    displacement: Annotated[
        float,
        typer.Option("--displacement", help="Of the force constants of --vibrations, A."),
    ] = 0.2,
    temperature: Annotated[
        list[float],
        typer.Option(
            "--temperature", help="Free energy of mixing and gap at this many K; repeatable."
        ),
    ] = [],
    explicit: Annotated[
        int, typer.Option("--explicit", help="Explicit supercells to check against.")
    ] = 0,
    explicit_kind: Annotated[
        str, typer.Option("--explicit-kind", help="random, or sqs (needs icet).")
    ] = "random",
    explicit_relax: Annotated[
        bool, typer.Option("--explicit-relax", help="Also relax the explicit supercells.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the explicit supercells.")] = 0,
    group: opt.Groups = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    cell: opt.Cell = "full",
    fmax: opt.Fmax = 1e-3,
    smax: opt.Smax = 1e-2,
    pressure: opt.Pressure = 0.0,
    keep_symmetry: Annotated[
        bool, typer.Option("--keep-symmetry/--break-symmetry", help="Keep the space group.")
    ] = True,
    optimiser: opt.Optimiser = "BFGS",
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
    """Energy of the random alloy to second order, from one small mixed cell.

    Writes result.json, disorder.csv and disorder.png. The same command continues a run that was
    stopped.

    Example: alchemlip disorder CeO2.cif --mix Ce=Ce,Zr --points 5 --temperature 1000
    """
    import numpy as np
    from rich.console import Console

    from alchemlip.disorder.mixing import check_temperature
    from alchemlip.disorder.study import disorder_settings, study_disorder, study_inputs
    from alchemlip.relaxation import relaxation_settings
    from alchemlip.results import ResultFolder

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, [], normalise, (), block, accept_composition
    )
    if len(scanned) != 1 or len(scanned[0].species) not in (2, 3):
        raise InputError(
            "a random alloy needs one group with two or three species: write one --mix such as "
            "Ce=Ce,Zr (and --at 0.5 for one composition), and the others as formulas"
        )
    name, species = scanned[0].group, scanned[0].species
    compositions = _compositions(len(species), points, at)
    for value in temperature:
        check_temperature(value)
    if vibrations:
        _check_vibrations(supercell, pressure)
    if temperature and len(species) != 2:
        raise InputError("--temperature draws common tangents of two species: give two")
    chosen = disorder_settings(
        geometry=geometry,
        order=order,
        supercell=None if supercell is None else opt.parse_repeats(supercell, "--supercell"),
        tolerance=1e-3 * tolerance,
        bulk_modulus=bulk_modulus,
        local_relaxation=local_relaxation,
        vibrations=vibrations,
        displacement=displacement,
        explicit=explicit,
        explicit_kind=explicit_kind,
        explicit_relax=explicit_relax,
        seed=seed,
    )
    relaxing = relaxation_settings(
        cell=cell,
        fmax=fmax,
        smax=smax,
        pressure=pressure,
        keep_symmetry=keep_symmetry,
        optimiser=optimiser,
        max_steps=max_steps,
    )
    potential = opt.prepare_single_potential(model, device, dtype, modal, head, trust_file)
    opt.refuse_unusable(mixture, potential, None if geometry == "as-given" else relaxing)
    x = np.array(compositions)
    inputs = study_inputs(mixture, potential, name, x, chosen, relaxing)
    inputs["temperatures_K"] = list(temperature)
    folder = ResultFolder(
        opt.results_folder(out, "disorder", structure),
        "disorder",
        inputs,
        opt.source(structure, potential),
    )
    console = Console()
    if folder.resumed:
        console.print(f"{len(folder.points())} of {len(x)} points were finished before.")
    with console.status("random alloy") as status:

        def on_point(point: DisorderPoint, done: int, total: int) -> None:
            text = " ".join(f"{s} {w:.3f}" for s, w in zip(species, point.x, strict=True))
            status.update(f"{done} of {total} compositions, last {text}")

        finished = study_disorder(mixture, potential, name, x, chosen, relaxing, folder, on_point)
    fraction = len(mixture.group(name).sites) / mixture.n_sites
    results, curve = _results(finished, at, temperature, fraction)
    if not folder.finished:
        _finish(folder, finished, name, results)
    title = f"{structure.stem}, {'/'.join(species)} on the {name} sites ({potential.name})"
    picture = folder.path / "disorder.png"
    records = [point.record for point in finished]
    if len(species) == 2:
        from alchemlip.disorder.plotting import plot_disorder

        plot_disorder(
            x[:, 1],
            species,
            records,
            picture,
            curve=curve,
            temperatures=temperature,
            title=title,
        )
    else:
        from alchemlip.plotting import plot_scan

        plot_scan(x, species, records, picture, title)
    _show(console, finished, species, folder)


def _finish(
    folder: ResultFolder, finished: Sequence[DisorderPoint], name: str, results: dict[str, Any]
) -> None:
    """Write the table, the mixed cells as CIFs, and the record."""
    from alchemlip.plausibility import distance_warnings
    from alchemlip.structure_files import write_point_cifs

    named = [{"index": i, **point.record} for i, point in enumerate(finished)]
    folder.write_csv("disorder.csv", [_table_row(row) for row in named])
    write_point_cifs([point.mixture for point in finished], name, folder.path)
    told = [text for point in finished for text in distance_warnings(point.mixture)]
    folder.finish(results, named, told)


def _table_row(record: dict[str, Any]) -> dict[str, Any]:
    from alchemlip.report import flat_row

    nested = ("supercell_trials", "quasi_harmonic")
    row = flat_row({key: value for key, value in record.items() if key not in nested})
    return row | {"supercell": "x".join(map(str, record["supercell"] or []))}


def _compositions(n_species: int, points: int, at: Sequence[float]) -> list[list[float]]:
    """Return the grid, or the pure ends and the compositions asked for."""
    from alchemlip.scanning import composition_grid

    if not at:
        grid: list[list[float]] = composition_grid(n_species, points).tolist()
        return grid
    if n_species != 2:
        raise InputError("--at gives the weight of the second of two species: use --points")
    for value in at:
        if not 0.0 < value < 1.0:
            raise InputError(f"--at {value:g} lies outside 0 to 1: give a weight in between")
    return [[1.0, 0.0], *([1.0 - value, value] for value in sorted(set(at))), [0.0, 1.0]]


def _results(
    finished: Sequence[DisorderPoint],
    at: Sequence[float],
    temperatures: Sequence[float],
    fraction: float,
) -> tuple[dict[str, Any], Any]:
    """Return the flat results, and the smooth mixing energy where there is one."""
    import numpy as np

    from alchemlip.disorder.mixing import fit_mixing

    records = [point.record for point in finished]
    mixed = [point.record for point in finished if point.x.max() < 1.0]
    energies = [record["mixing_energy_eV_per_atom"] for record in records]
    results: dict[str, Any] = {
        "n_points": len(records),
        "n_converged": sum(bool(record["converged"]) for record in records),
        "largest_mixing_energy_eV_per_atom": max(energies),
        "smallest_mixing_energy_eV_per_atom": min(energies),
        "seconds": sum(record["seconds"] for record in records),
    }
    if len(mixed) == 1:
        # One composition: its own values are the results.
        results |= {key: value for key, value in mixed[0].items() if key != "seconds"}
    curve = None
    if mixed and len(finished[0].x) == 2:
        x = np.array([point.x[1] for point in finished])
        relaxed = all("relaxed_mixing_energy_eV_per_atom" in record for record in records)
        if relaxed:
            energies = [record["relaxed_mixing_energy_eV_per_atom"] for record in records]
        curve = fit_mixing(x, energies, fraction)
        results["free_energy_includes_local_relaxation"] = relaxed
        results["redlich_kister_eV_per_atom"] = curve.coefficients.tolist()
        results["redlich_kister_residual_eV_per_atom"] = curve.residual
        critical = curve.critical_point()
        results["critical_composition"] = critical[0] if critical else None
        results["critical_temperature_K"] = critical[1] if critical else None
        results["at_temperature"] = [
            {
                "temperature_K": temperature,
                "x": x.tolist(),
                "free_energy_of_mixing_eV_per_atom": (
                    np.array(energies) + curve.free_energy(x, temperature) - curve.energy(x)
                ).tolist(),
                "miscibility_gaps": [list(gap) for gap in curve.miscibility_gaps(temperature)],
                "spinodal": curve.spinodal(temperature),
            }
            for temperature in temperatures
        ]
        if all("quasi_harmonic" in record for record in records):
            results |= _vibrational_results(x.tolist(), records, temperatures, fraction)
    return results, curve


def _check_vibrations(supercell: str | None, pressure: float) -> None:
    if supercell is None:
        raise InputError(
            "--vibrations are compared between compositions in one supercell: give --supercell"
        )
    if pressure:
        raise InputError("--vibrations are those at no pressure: leave out --pressure, or them")


def _vibrational_results(
    x: list[float], records: Sequence[dict[str, Any]], temperatures: Sequence[float], share: float
) -> dict[str, Any]:
    """Return gaps with vibrations at the temperatures where there is a free energy."""
    from alchemlip.disorder.mixing import consolute_point
    from alchemlip.disorder.quasiharmonic import QuasiHarmonicCrystal, fit_vibrational_mixing

    if any(record["quasi_harmonic"] is None for record in records):
        return {"vibrations_note": "a crystal is unstable: see its point"}
    crystals = [QuasiHarmonicCrystal.from_dict(record["quasi_harmonic"]) for record in records]

    def harmonic(temperature: float) -> Any:
        return fit_vibrational_mixing(x, crystals, temperature, share, expansion=False)

    try:
        critical = consolute_point(harmonic)
    except InputError as error:
        return {"vibrations_note": str(error)}
    results: dict[str, Any] = {
        "harmonic_critical_composition": critical[0] if critical else None,
        "harmonic_critical_temperature_K": critical[1] if critical else None,
        "with_vibrations": [],
    }
    for temperature in temperatures:
        row: dict[str, Any] = {"temperature_K": temperature}
        try:
            curve = fit_vibrational_mixing(x, crystals, temperature, share)
        except InputError as error:
            results["with_vibrations"].append(row | {"note": str(error)})
            continue
        row["volume_A3_per_atom"] = [crystal.volume(temperature) for crystal in crystals]
        row["free_energy_of_mixing_eV_per_atom"] = curve.free_energy(x, temperature).tolist()
        row["miscibility_gaps"] = [list(gap) for gap in curve.miscibility_gaps(temperature)]
        row["spinodal"] = curve.spinodal(temperature)
        results["with_vibrations"].append(row)
    return results


def _show(
    console: Any,
    finished: Sequence[DisorderPoint],
    species: Sequence[str],
    folder: ResultFolder,
) -> None:
    from rich.markup import escape
    from rich.table import Table

    from alchemlip.cli.show import show_warnings, warn_unconverged

    results = folder.record["results"]

    columns = (
        ("mean_field_mixing_energy_eV_per_atom", "mean field"),
        ("mixing_energy_eV_per_atom", "random"),
        ("local_relaxation_energy_eV_per_atom", "local"),
        ("relaxed_mixing_energy_eV_per_atom", "both"),
    )
    records = [point.record for point in finished]
    shown = [column for column in columns if any(column[0] in record for record in records)]
    explicit = any("explicit_energy_eV_per_atom" in record for record in records)
    table = Table(title="mixing energy, meV per site", title_justify="left")
    for heading in ("x", *(label for _, label in shown), "cells"):
        table.add_column(heading)
    if explicit:
        table.add_column("explicit*")
        table.add_column("seconds*")
    for point in finished:
        record = point.record
        # The first species is the rest.
        cells = [" ".join(f"{s} {w:.3f}" for s, w in list(zip(species, point.x, strict=True))[1:])]
        cells += [_millielectronvolts(record.get(key)) for key, _ in shown]
        cells.append("x".join(map(str, record["supercell"] or [])))
        if explicit and "explicit_energy_eV_per_atom" in record:
            difference = (
                record["explicit_energy_eV_per_atom"]
                - record["finite_cell_random_energy_eV_per_atom"]
            )
            error = record["explicit_standard_error_eV_per_atom"] or 0.0
            cells.append(f"{1e3 * difference:+.2f} ± {1e3 * error:.2f}")
            cells.append(f"{record['explicit_seconds']:.1f}, {record['finite_cell_seconds']:.1f}")
        table.add_row(*cells)
    console.print(table)
    if explicit:
        console.print(
            "* mean of the explicit supercells less the second order of the same finite cells, and "
            "the seconds of both"
        )
    for note in dict.fromkeys(record.get("local_relaxation_note") for record in records):
        if note:
            console.print(f"[yellow]No local relaxation somewhere: {escape(note)}[/yellow]")
    for entry in results.get("at_temperature", ()):
        gaps = "; ".join(f"{a:.3f} to {b:.3f}" for a, b in entry["miscibility_gaps"]) or "none"
        console.print(f"{entry['temperature_K']:g} K: miscibility gap {gaps}")
    for entry in results.get("with_vibrations", ()):
        note = entry.get("note")
        if note:
            console.print(f"[yellow]No vibrations at {escape(note)}[/yellow]")
            continue
        gaps = "; ".join(f"{a:.3f} to {b:.3f}" for a, b in entry["miscibility_gaps"]) or "none"
        console.print(f"{entry['temperature_K']:g} K with vibrations: miscibility gap {gaps}")
    if results["n_converged"] < results["n_points"]:
        warn_unconverged("some points")
    console.print(f"Results in [bold]{escape(str(folder.path))}[/bold]", highlight=False)
    show_warnings(folder.record)


def _millielectronvolts(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:+.2f}"
