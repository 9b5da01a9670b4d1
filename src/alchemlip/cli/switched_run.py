"""What ``switch`` and ``transmute`` share: the path from the options, and its run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from alchemlip.cli import freeenergy as fe
from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.freeenergy.transmutation import TransmutationPath
    from alchemlip.freeenergy.windows import WindowSettings
    from alchemlip.potential import AlchemicalPotential

To = Annotated[
    list[str],
    typer.Option(
        "--to",
        help="What a selection becomes, e.g. Pb=Sn, 0,3=Sn, Ce=Ce0.5Zr0.5. May be repeated.",
        metavar="SEL=FORMULA",
    ),
]
EndState = Annotated[
    Path | None,
    typer.Option(
        "--end-state", help="Instead of --to: a file with the same sites and other species."
    ),
]
CorrelationOption = Annotated[
    str,
    typer.Option(
        "--correlation",
        help="concerted (all sites change together) or independent; partial compositions need "
        "independent.",
    ),
]


def switched_path(
    structure: Path,
    to: Sequence[str],
    end_state: Path | None,
    mix: Sequence[str],
    group: Sequence[str],
    normalise: bool,
    repeat: str,
    correlation: str,
    may_stay: bool = False,
) -> TransmutationPath:
    """Return the path that the options describe.

    Args:
        structure, mix, group, normalise, repeat: the start.
        to: what selections become. end_state: or a file of the end.
        correlation: of the sites that change.
        may_stay: whether the composition may be left as it is.

    Raises:
        InputError: if no end is given, or two.
    """
    from alchemlip.freeenergy.transmutation import path_between, standing_path
    from alchemlip.groups import Correlation

    if (to and end_state is not None) or not (to or end_state is not None or may_stay):
        raise InputError(
            "it is not clear what the crystal becomes: give either --to, such as --to Pb=Sn, or "
            "--end-state FILE"
        )
    if correlation not in ("concerted", "independent"):
        known = " or ".join(name for name in get_args(Correlation) if name != "short-range")
        raise InputError(f"unknown correlation {correlation!r}: choose {known}")
    start, scanned = opt.prepare_mixture(structure, mix, group if mix else [], [], normalise)
    opt.refuse_scanned(scanned)
    repeats = opt.parse_repeats(repeat, "--repeat")
    if end_state is not None:
        end, _ = opt.prepare_mixture(end_state, [], [], [], normalise)
    elif to:
        end, listed = opt.mixed_by_options(start, to, [] if mix else group, normalise, "--to")
        opt.refuse_scanned(listed)
    else:
        return standing_path(start.repeat(repeats))
    return path_between(
        start.repeat(repeats),
        end.repeat(repeats),
        correlation,  # type: ignore[arg-type]
    )


def run_path(
    name: str,
    path: TransmutationPath,
    structure: Path,
    dynamics: DynamicsSettings,
    settings: SwitchingSettings,
    potential: AlchemicalPotential,
    *,
    end_potential: AlchemicalPotential | None = None,
    terms: bool = True,
    mixing_entropy: bool = False,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Run a switching path in a results folder and show its free energy.

    Args:
        name: of the command.
        path, dynamics, settings, potential: as in `freeenergy.transmutation.transmute`.
        structure: the file, for names.
        end_potential: at lambda = 1, if another.
        terms: add the mass term and, if asked for, that of ideal mixing.
        mixing_entropy: whether it is.
        out, resume: the results folder.
    """
    from alchemlip.freeenergy.dynamics import check_ensemble
    from alchemlip.freeenergy.plotting import plot_switching
    from alchemlip.freeenergy.switching import run_switching
    from alchemlip.freeenergy.transmutation import (
        path_results,
        switched_calculator,
    )
    from alchemlip.report import describe_potential

    check_ensemble(path.atoms(), dynamics)
    opt.refuse_unusable(path.mixture, potential)
    calculator = switched_calculator(path, potential, end_potential)
    inputs: dict[str, Any] = {
        "mixture": path.mixture.to_dict(),
        "start": path.start.tolist(),
        "end": path.end.tolist(),
        "dynamics": dynamics.model_dump(),
        "switching": settings.model_dump(),
        "mixing_entropy": mixing_entropy,
        **describe_potential(potential),
    }
    if end_potential is not None:
        inputs["end_potential"] = describe_potential(end_potential)
    folder = opt.results_folder(out, name, structure)
    run = fe.start_run(folder, name, inputs, opt.source(structure, potential), resume=resume)
    if not run.folder.finished:
        with run.noting_failure(), fe.progress_bar(f"{name} {structure.stem}") as report:
            run_switching(
                path.atoms(), calculator, dynamics, settings, run.record, on_progress=report
            )
            results = path_results(
                path, dynamics, settings, run.record, terms=terms, mixing_entropy=mixing_entropy
            )
            plot_switching(run.record, results, run.folder.path / "switching.png")
            run.finish(results)
    title = f"{structure.name} at {dynamics.temperature_K:g} K with {potential.name}"
    fe.show_free_energy(run.folder.record["results"], title, run.folder.path)


def run_windows(
    path: TransmutationPath,
    structure: Path,
    dynamics: DynamicsSettings,
    settings: WindowSettings,
    potential: AlchemicalPotential,
    *,
    mixing_entropy: bool = False,
    out: Path | None = None,
    resume: bool = False,
) -> None:
    """Sample a transmutation by equilibrium windows and show its free energy; see `run_path`."""
    from alchemlip.freeenergy.dynamics import check_ensemble
    from alchemlip.freeenergy.phase_plots import plot_recorded_windows
    from alchemlip.freeenergy.transmutation_windows import transmute_windows
    from alchemlip.report import describe_potential

    check_ensemble(path.atoms(), dynamics)
    opt.refuse_unusable(path.mixture, potential)
    inputs: dict[str, Any] = {
        "mixture": path.mixture.to_dict(),
        "start": path.start.tolist(),
        "end": path.end.tolist(),
        "dynamics": dynamics.model_dump(),
        "windows": settings.model_dump(),
        "mixing_entropy": mixing_entropy,
        **describe_potential(potential),
    }
    folder = opt.results_folder(out, "transmute", structure)
    run = fe.start_run(folder, "transmute", inputs, opt.source(structure, potential), resume=resume)
    if not run.folder.finished:
        with run.noting_failure(), fe.progress_bar(f"windows {structure.stem}") as report:
            results = transmute_windows(
                path,
                potential,
                dynamics,
                settings,
                run.record,
                mixing_entropy=mixing_entropy,
                on_progress=report,
            )
            file = run.folder.path / "windows.png"
            plot_recorded_windows(run.record, dynamics.temperature_K, file)
            run.finish(results)
    title = f"{structure.name} at {dynamics.temperature_K:g} K with {potential.name}"
    fe.show_free_energy(run.folder.record["results"], title, run.folder.path)
