"""What ``switch`` and ``transmute`` share: the path from the options, and its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from alchemlip.cli import freeenergy as fe
from alchemlip.cli import options as opt
from alchemlip.cli.sizes import refuse_too_large
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.dynamics import DynamicsSettings
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.freeenergy.trajectory import Progress
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
    *,
    models: Sequence[str],
    device: str,
    dtype: str,
) -> TransmutationPath:
    """Return the path that the options describe.

    Args:
        structure, mix, group, normalise, repeat: the start.
        to: what selections become. end_state: or a file of the end.
        correlation: of the sites that change.
        may_stay: whether the composition may be left as it is.
        models, device, dtype: of the potentials, in whose memory the path is to fit.

    Raises:
        InputError: if no end is given, or two, or if it does not fit.
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
    # The start alone, before the supercell is made; the path has more species on its sites.
    refuse_too_large(start, models, device, dtype, repeats)
    if end_state is not None:
        end, _ = opt.prepare_mixture(end_state, [], [], [], normalise)
    elif to:
        end, listed = opt.mixed_by_options(start, to, [] if mix else group, normalise, "--to")
        opt.refuse_scanned(listed)
    else:
        return standing_path(start.repeat(repeats))
    path = path_between(
        start.repeat(repeats),
        end.repeat(repeats),
        correlation,  # type: ignore[arg-type]
    )
    refuse_too_large(path.mixture, models, device, dtype)
    return path


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
    inputs = _inputs(path, dynamics, {"switching": settings}, mixing_entropy, potential)
    if end_potential is not None:
        inputs["end_potential"] = describe_potential(end_potential)

    def compute(run: fe.Run, report: Progress) -> dict[str, Any]:
        atoms = path.atoms()
        run_switching(atoms, calculator, dynamics, settings, run.record, on_progress=report)
        results = path_results(
            path, dynamics, settings, run.record, terms=terms, mixing_entropy=mixing_entropy
        )
        plot_switching(run.record, results, run.folder.path / "switching.png")
        return results

    run = fe.completed_run(
        name, structure, inputs, compute, potential=potential, out=out, resume=resume
    )
    _show(run, structure, dynamics, potential)


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

    check_ensemble(path.atoms(), dynamics)
    opt.refuse_unusable(path.mixture, potential)
    inputs = _inputs(path, dynamics, {"windows": settings}, mixing_entropy, potential)

    def compute(run: fe.Run, report: Progress) -> dict[str, Any]:
        results = transmute_windows(
            path,
            potential,
            dynamics,
            settings,
            run.record,
            mixing_entropy=mixing_entropy,
            on_progress=report,
        )
        plot_recorded_windows(run.record, dynamics.temperature_K, run.folder.path / "windows.png")
        return results

    run = fe.completed_run(
        "transmute",
        structure,
        inputs,
        compute,
        potential=potential,
        out=out,
        resume=resume,
        shown_as="windows",
    )
    _show(run, structure, dynamics, potential)


def _inputs(
    path: TransmutationPath,
    dynamics: DynamicsSettings,
    sampling: Mapping[str, SwitchingSettings | WindowSettings],
    mixing_entropy: bool,
    potential: AlchemicalPotential,
) -> dict[str, Any]:
    """Return all that determines a run; the settings of the sampling stand under their name."""
    from alchemlip.report import describe_potential

    return {
        "mixture": path.mixture.to_dict(),
        "start": path.start.tolist(),
        "end": path.end.tolist(),
        "dynamics": dynamics.model_dump(),
        **{name: settings.model_dump() for name, settings in sampling.items()},
        "mixing_entropy": mixing_entropy,
        **describe_potential(potential),
    }


def _show(
    run: fe.Run, structure: Path, dynamics: DynamicsSettings, potential: AlchemicalPotential
) -> None:
    title = f"{structure.name} at {dynamics.temperature_K:g} K with {potential.name}"
    fe.show_free_energy(run.folder.record["results"], title, run.folder.path)
