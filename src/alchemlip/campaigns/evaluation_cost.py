"""What runs cost whose number of evaluations nobody knows in advance: a guess with its limits.

The time of an evaluation is measured, in a few steps of the relaxation that the run begins with.
How many it takes is what such runs took in this project's own benchmarks (benchmarks/design.md,
benchmarks/random_supercells.md, results/scan_*.csv), unless the steps made already tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

from alchemlip.campaigns.expansion import CampaignRun

if TYPE_CHECKING:
    from alchemlip.cli.options import Scanned
    from alchemlip.ensemble import Potential
    from alchemlip.mixture import Mixture

TEST_STEPS = 6

Range = tuple[float, float]

RELAXATION: Range = (4, 70)
"""Evaluations: cubic crystals took 3 to 9, layered ones 14 to 70."""
RELAXED_AROUND: Range = (15, 50)
"""Evaluations of a supercell with whole atoms."""
COMPOSITIONS: Range = (2, 10)
"""Relaxed compositions of a design; four designs took 2 to 4."""
RESPONSE: Range = (2, 45)
"""Evaluations that the derivatives of a relaxed property are worth; a cubic crystal needs two."""
FLUCTUATION: Range = (25, 150)
"""Evaluations of the cell that second derivatives in wide enough supercells are worth."""
CELLS: Range = (8, 64)
"""Cells of a supercell that the run chooses itself."""
HESSIAN: Range = (3, 30)
"""Evaluations of the supercell: a few rows of second derivatives, ordered structures."""
FORCE_CONSTANTS: Range = (10, 100)
"""Evaluations of the supercell: some rows of force constants and products with them."""
SIZE_EFFECT: Range = (3, 6)
"""Times what the interactions cost without it."""
SEARCH: Range = (20, 100)
"""Evaluations of the supercell from one start."""


@dataclass(frozen=True)
class EvaluationCount:
    """How many evaluations a run takes, in units of one of its cell.

    Attributes:
        low, high: between which the number is likely to lie.
        typical: whether that is what others took, rather than what follows from the run's options.
    """

    low: float
    high: float
    typical: bool


@dataclass(frozen=True)
class TrialRelaxation:
    """A few steps from where a run starts.

    Attributes:
        seconds: of one evaluation, an optimiser's step included.
        evaluations: made.
        converged: whether they were enough.
    """

    seconds: float
    evaluations: int
    converged: bool

    @property
    def needed(self) -> Range:
        """Evaluations that a relaxation takes: as many as it took here, or a typical number."""
        if self.converged:
            return self.evaluations, self.evaluations
        return max(self.evaluations + 1, RELAXATION[0]), RELAXATION[1]


def measured_evaluation(
    options: Mapping[str, Any], command: str
) -> tuple[TrialRelaxation, EvaluationCount]:
    """Measure some evaluations of a run's structure, and say how many it will take.

    Args:
        options: of the command line as its command gets them, defaults included.
        command: its name.

    Raises:
        InputError: from the run's options.
    """
    mixture, scanned, potential = _prepared(options)
    test = _test(mixture, potential, options, relaxing=_relaxes(command, options))
    return test, evaluation_count(command, options, mixture, scanned, test)


def evaluation_count(
    command: str,
    options: Mapping[str, Any],
    mixture: Mixture,
    scanned: Sequence[Scanned],
    test: TrialRelaxation,
) -> EvaluationCount:
    """Return between what numbers of evaluations of its cell a run is likely to take.

    Args:
        command, options: of the run.
        mixture: its structure.
        scanned: groups given as lists of species.
        test: some steps made with it.
    """
    relaxing = test.needed if _relaxes(command, options) else (1.0, 1.0)
    if command == "energy":
        return EvaluationCount(1, 1, False)
    if command == "relax":
        return EvaluationCount(*relaxing, not test.converged)
    if command == "scan":
        # Other compositions start from their neighbours' cells and differ from this one.
        points = _points(scanned, options)
        return EvaluationCount(points * max(1.0, 0.5 * relaxing[0]), points * 2 * relaxing[1], True)
    counted = {"disorder": _disorder, "order": _order, "design": _design}[command]
    low, high = counted(options, mixture, scanned, relaxing)
    return EvaluationCount(low, high, True)


def _disorder(
    options: Mapping[str, Any], mixture: Mixture, scanned: Sequence[Scanned], relaxing: Range
) -> Range:
    from alchemlip.disorder.quasiharmonic import EXPANSIONS

    at = options.get("at") or ()
    ends = len(scanned[0].species)
    points = len(set(at)) + ends if at else _points(scanned, options)
    mixed = points - ends
    total = _times((points, points), relaxing)
    each = FLUCTUATION
    if options.get("geometry") == "random":
        each = _plus(each, _times(relaxing, FLUCTUATION))
    if options.get("bulk_modulus"):
        each = _plus(each, _times((5, 9), FLUCTUATION))
    cells = _cells(options.get("supercell"))
    if options.get("local_relaxation"):
        each = _plus(each, _times(cells, FORCE_CONSTANTS))
    if options.get("explicit"):
        one = RELAXED_AROUND if options.get("explicit_relax") else (2.0, 3.0)
        number = float(options["explicit"])
        each = _plus(each, _times(_times((number, number), one), cells))
    total = _plus(total, _times((mixed, mixed), each))
    if options.get("vibrations"):
        # Of pure crystals, too, at every volume.
        volume = _plus(relaxing, _times(cells, FORCE_CONSTANTS))
        volumes = (float(len(EXPANSIONS)),) * 2
        total = _plus(total, _times((points, points), _times(volumes, volume)))
        total = _plus(total, _times((mixed, mixed), _times(volumes, FLUCTUATION)))
    return total


def _order(
    options: Mapping[str, Any], mixture: Mixture, scanned: Sequence[Scanned], relaxing: Range
) -> Range:
    from alchemlip.disorder.hessian import random_group
    from alchemlip.disorder.ordering_study import ordering_repeats

    cells = _cells(options.get("repeat"))
    if options.get("repeat") is None:
        repeats = ordering_repeats(mixture, random_group(mixture, options.get("on")).name)
        cells = (float(math.prod(repeats)),) * 2
    each = _times(HESSIAN, SIZE_EFFECT) if options.get("size_effect") else HESSIAN
    if options.get("search"):
        each = _plus(each, _times((float(options["search"]),) * 2, SEARCH))
    return _plus(relaxing, _times(cells, each))


def _design(
    options: Mapping[str, Any], mixture: Mixture, scanned: Sequence[Scanned], relaxing: Range
) -> Range:
    most = float(options["max_iterations"])
    compositions = (min(COMPOSITIONS[0], most), min(COMPOSITIONS[1], most))
    total = _times(compositions, _plus(relaxing, RESPONSE))
    if options.get("supercell") is None:
        return total
    return _plus(total, _times(_cells(options["supercell"]), RELAXED_AROUND))


def _points(scanned: Sequence[Scanned], options: Mapping[str, Any]) -> int:
    from alchemlip.scanning import composition_grid

    return len(composition_grid(len(scanned[0].species), options["points"]))


def _cells(text: str | None) -> Range:
    from alchemlip.cli.options import parse_repeats

    if text is None:
        return CELLS
    cells = float(math.prod(parse_repeats(text, "--supercell")))
    return cells, cells


def _times(a: Range, b: Range) -> Range:
    return a[0] * b[0], a[1] * b[1]


def _plus(a: Range, b: Range) -> Range:
    return a[0] + b[0], a[1] + b[1]


def _relaxes(command: str, options: Mapping[str, Any]) -> bool:
    return not (
        command == "energy" or options.get("no_relax") or options.get("geometry") == "as-given"
    )


def _prepared(options: Mapping[str, Any]) -> tuple[Mixture, list[Scanned], Potential]:
    """Return structure and potential as the commands make them."""
    from alchemlip.cli import options as opt

    mixture, scanned = opt.prepare_mixture(
        options["structure"],
        options["mix"],
        options["group"],
        options.get("concerted") or [],
        options["normalise"],
        options.get("exclusive") or [],
        options.get("block"),
        bool(options.get("accept_composition")),
    )
    how = (
        options["device"],
        options.get("dtype", "float64"),
        options["modal"],
        options["head"],
        options["trust_file"],
        options.get("representation", "nodes"),
    )
    model = options["model"]
    potential: Potential
    if isinstance(model, str):
        potential = opt.prepare_single_potential(model, *how)
    else:
        potential = opt.prepare_potential(model, *how)
    opt.refuse_unusable(mixture, potential)
    return mixture, scanned, potential


def _test(
    mixture: Mixture, potential: Potential, options: Mapping[str, Any], *, relaxing: bool
) -> TrialRelaxation:
    from alchemlip.relaxation import relax, relaxation_settings

    # The first evaluation warms up what is compiled.
    potential.evaluate(mixture)
    if not relaxing:
        begun = perf_counter()
        potential.evaluate(mixture)
        return TrialRelaxation(perf_counter() - begun, 1, True)
    names = ("cell", "fmax", "smax", "pressure", "optimiser")
    settings = relaxation_settings(
        **{name: options[name] for name in names if name in options},
        keep_symmetry=options.get("keep_symmetry", True),
        max_steps=min(TEST_STEPS, options["max_steps"]),
    )
    result = relax(mixture, potential, settings)
    ended = result.converged or options["max_steps"] <= TEST_STEPS
    return TrialRelaxation(result.seconds / result.evaluations, result.evaluations, ended)


def parsed_options(run: CampaignRun, arguments: Sequence[str]) -> dict[str, Any]:
    """Return the options that a run's command gets, defaults included.

    Args:
        run: of a campaign.
        arguments: its command line, without the program's name.
    """
    from typer.main import get_command

    from alchemlip.cli import app

    command = get_command(app).commands[run.command]  # type: ignore[attr-defined]
    context = command.make_context(run.command, list(arguments[1:]))
    return dict(context.params)
