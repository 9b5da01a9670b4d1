"""``alchemlip design``: the composition whose relaxed crystal has a wanted property."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.composition_constraints import CompositionConstraints
    from alchemlip.design import Goal, Kind
    from alchemlip.mixture import Mixture

PROPERTIES = (
    "energy, volume, a, b, c, alpha, beta, gamma, pressure, bulk-modulus, stress-xx .., "
    "stress-in-plane"
)


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    target: Annotated[
        list[str],
        typer.Option(
            "--target",
            help=f"PROPERTY=VALUE, with ~TOLERANCE if not 0.001. Properties: {PROPERTIES}.",
            metavar="P=V",
        ),
    ] = [],
    minimise: Annotated[
        list[str], typer.Option("--minimise", help="A property to make small.", metavar="P")
    ] = [],
    maximise: Annotated[
        list[str], typer.Option("--maximise", help="A property to make large.", metavar="P")
    ] = [],
    at_most: Annotated[
        list[str], typer.Option("--at-most", help="A highest value of a property.", metavar="P=V")
    ] = [],
    at_least: Annotated[
        list[str], typer.Option("--at-least", help="A lowest value of a property.", metavar="P=V")
    ] = [],
    bound: Annotated[
        list[str],
        typer.Option(
            "--bound", help="Weights allowed, e.g. Ce:Zr=0:0.5.", metavar="GROUP:SPECIES=LOW:HIGH"
        ),
    ] = [],
    relation: Annotated[
        list[str],
        typer.Option(
            "--relation",
            help="A linear relation of weights, e.g. 'Ce:Y - 4 O:Va = 0'.",
            metavar="TEXT",
        ),
    ] = [],
    charge: Annotated[
        list[str],
        typer.Option(
            "--charge",
            help="Oxidation state; with one for every element the crystal stays neutral.",
            metavar="ELEMENT=STATE",
        ),
    ] = [],
    max_iterations: Annotated[
        int, typer.Option("--max-iterations", help="Most relaxed compositions.")
    ] = 50,
    supercell: Annotated[
        str | None,
        typer.Option("--supercell", help="Check with whole atoms in so many repeats, e.g. 3,3,2."),
    ] = None,
    supercell_kind: Annotated[
        str, typer.Option("--supercell-kind", help="random, or sqs (needs icet).")
    ] = "random",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the atoms in the supercell.")] = 0,
    group: opt.Groups = [],
    concerted: opt.Concerted = [],
    exclusive: opt.Exclusive = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    cell: opt.Cell = "full",
    fmax: opt.Fmax = 1e-4,
    smax: opt.Smax = 1e-4,
    pressure: opt.Pressure = 0.0,
    keep_symmetry: Annotated[
        bool, typer.Option("--keep-symmetry/--break-symmetry", help="Keep the space group.")
    ] = True,
    optimiser: opt.Optimiser = "BFGS",
    max_steps: opt.MaxSteps = 500,
    model: opt.Models = [opt.DEFAULT_MODEL],
    modal: opt.Modal = None,
    head: opt.Head = None,
    trust_file: opt.Trust = False,
    device: opt.Device = "auto",
    out: opt.Out = None,
    settings: opt.Settings = None,
) -> None:
    """Search the composition whose relaxed crystal has a wanted property, by exact gradients.

    The formulas of --mix are the start; a weight of 0 is no obstacle. Writes result.json,
    design.csv, design.png and designed.json (.cif). The same command goes on from where it was
    stopped.

    Example: alchemlip design film.cif --mix Al=Al0.999Sc0.001 --cell zz --target stress-in-plane=0
    """
    from rich.console import Console
    from rich.markup import escape

    from alchemlip.cli.show import show_warnings
    from alchemlip.design import DesignPoint, design, design_inputs
    from alchemlip.design_plots import plot_design, plot_trail
    from alchemlip.plausibility import distance_warnings
    from alchemlip.relaxation import relaxation_settings
    from alchemlip.report import describe_structure
    from alchemlip.results import ResultFolder
    from alchemlip.structure_files import write_exact_and_cif

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, concerted, normalise, exclusive, block, accept_composition
    )
    opt.refuse_scanned(scanned)
    goals = _goals(target, minimise, maximise, at_most, at_least)
    constraints = _constraints(mixture, bound, relation, charge)
    repeats = None if supercell is None else opt.parse_repeats(supercell, "--supercell")
    if supercell_kind not in ("random", "sqs"):
        raise InputError(f"unknown --supercell-kind {supercell_kind!r}: choose random or sqs")
    relaxing = relaxation_settings(
        cell=cell,
        fmax=fmax,
        smax=smax,
        pressure=pressure,
        keep_symmetry=keep_symmetry,
        optimiser=optimiser,
        max_steps=max_steps,
    )
    constraints.check()
    potential = opt.prepare_potential(model, device, "float64", modal, head, trust_file, "nodes")
    opt.refuse_unusable(mixture, potential, relaxing)
    inputs: dict[str, Any] = {
        **design_inputs(mixture, potential, goals, constraints, relaxing),
        "supercell": None if repeats is None else [list(repeats), supercell_kind, seed],
    }
    folder = ResultFolder(
        opt.results_folder(out, "design", structure),
        "design",
        inputs,
        opt.source(structure, potential),
    )
    console = Console()
    if not folder.finished:

        def on_point(point: DesignPoint, violation: float) -> None:
            weights = ", ".join(
                f"{label} {weight:.4f}"
                for label, weight in zip(mixture.component_labels, point.x, strict=True)
            )
            values = ", ".join(
                f"{goal.property.name} = {value:.6g}"
                for goal, value in zip(goals, point.values, strict=True)
            )
            console.print(f"{weights}: {values} (constraints to {violation:.0e})", highlight=False)

        result = design(
            mixture,
            potential,
            goals,
            constraints,
            settings=relaxing,
            max_iterations=max_iterations,
            folder=folder,
            on_point=on_point,
        )
        with folder.noting_failure():
            write_exact_and_cif(result.mixture, folder.path, "designed")
            rows = [
                {
                    **dict(zip(mixture.component_labels, point.x.tolist(), strict=True)),
                    **{
                        goal.property.name: value
                        for goal, value in zip(goals, point.values.tolist(), strict=True)
                    },
                    "evaluations": point.evaluations,
                }
                for point in result.points
            ]
            folder.write_csv("design.csv", rows)
            plot_design(result, goals, folder.path / "design.png", structure.stem)
            for item in mixture.groups:
                if len(item.components) == 3:
                    plot_trail(result, item.name, folder.path / f"trail-{item.name}.png")
            record: dict[str, Any] = {
                **describe_structure(result.mixture),
                "composition": result.composition,
                "property": result.values,
                "target": {
                    goal.property.name: goal.kind if goal.value is None else goal.value
                    for goal in goals
                },
                "iterations": len(result.points),
                "evaluations": result.evaluations,
                "converged": result.converged,
                "message": result.message,
                "constraint_violation": result.violation,
            }
            if repeats is not None:
                import numpy as np

                from alchemlip.design_check import check_design

                check = check_design(
                    result.mixture,
                    potential,
                    [goal.property for goal in goals],
                    repeats,
                    np.random.default_rng(seed),
                    kind="sqs" if supercell_kind == "sqs" else "random",
                    settings=relaxing,
                )
                write_exact_and_cif(check.structure, folder.path, "supercell")
                record |= {
                    "supercell_composition": check.composition,
                    "supercell_predicted_property": check.predicted,
                    "supercell_property": check.obtained,
                    "supercell_converged": check.converged,
                }
            folder.finish(record, warnings=distance_warnings(result.mixture))
    _show(folder.record["results"], console)
    show_warnings(folder.record)
    console.print(f"Results in [bold]{escape(str(folder.path))}[/bold]", highlight=False)


def _show(results: dict[str, Any], console: Any) -> None:
    weights = ", ".join(f"{label} {weight:.5f}" for label, weight in results["composition"].items())
    console.print(f"{results['message']}: {weights}", highlight=False)
    for name, value in results["property"].items():
        line = f"  {name} = {value:.6g} ({results['target'][name]})"
        if "supercell_property" in results:
            line += (
                f"; with whole atoms {results['supercell_property'][name]:.6g}, predicted "
                f"{results['supercell_predicted_property'][name]:.6g}"
            )
        console.print(line, highlight=False)
    console.print(
        f"  {results['iterations']} compositions, {results['evaluations']} evaluations",
        highlight=False,
    )


def _goals(
    target: Sequence[str],
    minimise: Sequence[str],
    maximise: Sequence[str],
    at_most: Sequence[str],
    at_least: Sequence[str],
) -> list[Goal]:
    from alchemlip.design import Goal
    from alchemlip.properties import property_of

    goals = [Goal(property_of(name), "minimise") for name in minimise]
    goals += [Goal(property_of(name), "maximise") for name in maximise]
    kinds: tuple[tuple[Kind, str, Sequence[str]], ...] = (
        ("target", "--target", target),
        ("at most", "--at-most", at_most),
        ("at least", "--at-least", at_least),
    )
    for kind, option, texts in kinds:
        for text in texts:
            name, _, rest = text.partition("=")
            value, tilde, tolerance = rest.partition("~")
            try:
                numbers = float(value), float(tolerance) if tilde else 1e-3
            except ValueError as error:
                raise InputError(
                    f"cannot read {option} {text!r}: write for example {option} a=5.6 or a=5.6~0.01"
                ) from error
            goals.append(Goal(property_of(name.strip()), kind, numbers[0], numbers[1]))
    if not goals:
        raise InputError("a design needs a goal: give --target, --minimise or --maximise")
    return goals


def _constraints(
    mixture: Mixture, bound: Sequence[str], relation: Sequence[str], charge: Sequence[str]
) -> CompositionConstraints:
    from alchemlip.composition_constraints import CompositionConstraints

    constraints = CompositionConstraints(mixture)
    for text in bound:
        label, _, limits = text.partition("=")
        low, _, high = limits.partition(":")
        try:
            constraints = constraints.bounded(label.strip(), float(low), float(high or low))
        except ValueError as error:
            raise InputError(
                f"cannot read --bound {text!r}: write for example --bound Ce:Zr=0:0.5"
            ) from error
    for text in relation:
        constraints = constraints.related(text)
    if charge:
        states = {}
        for text in charge:
            element, _, state = text.partition("=")
            try:
                states[element.strip()] = float(state)
            except ValueError as error:
                raise InputError(
                    f"cannot read --charge {text!r}: write for example --charge Ce=4"
                ) from error
        constraints = constraints.charge_balanced(states)
    return constraints
