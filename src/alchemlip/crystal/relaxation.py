"""Relaxation of cell and positions at fixed composition, one structure or a batch in lock-step.

    result = relax(mixture, potential, cell="full", keep_symmetry=True)
    result.mixture, result.evaluation.energy, result.converged

Optimisers and cell filters are ASE's. In a batch every structure has an optimiser of its own, and
one evaluation of the potential serves a step of all of them. Fixed sites stay; where the cell
relaxes they follow it, as with ASE's filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from alchemlip.arrays import BoolArray, FloatArray
from alchemlip.crystal.matrix_logarithm import matrix_logarithm
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import refuse_other_constraints
from alchemlip.mixture.mixture import Mixture
from alchemlip.process_state import import_spglib, leaving_no_trace

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.ensemble import Potential
    from alchemlip.potential.evaluation import Evaluation

CELL_MODES = ("full", "volume", "fixed")
STRAINS = {"xx": (0, 0), "yy": (1, 1), "zz": (2, 2), "yz": (1, 2), "xz": (0, 2), "xy": (0, 1)}
CELL_STIFFNESS = 0.5
"""Guess of an elastic constant in eV/A^3 (80 GPa), which scales cell steps to atomic ones."""
OPTIMISER_STIFFNESS = 70.0
"""Curvature in eV/A^2 that ASE's BFGS assumes at its start."""


class RelaxationSettings(BaseModel):
    """How to relax, and when to stop."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    cell: str = Field(
        default="full",
        description="full: shape and volume; volume: volume alone; fixed: positions alone; or the "
        "strains that are free, such as zz or xx,yy",
    )
    fmax: float = Field(default=1e-3, gt=0, description="largest force allowed, eV/A")
    smax: float = Field(
        default=1e-3, gt=0, description="largest deviation of the stress allowed, GPa"
    )
    pressure: float = Field(default=0.0, description="external pressure, GPa")
    keep_symmetry: bool = Field(default=False, description="keep the space group of the start")
    symprec: float = Field(default=1e-3, gt=0, description="tolerance of the symmetry search, A")
    optimiser: Literal["BFGS", "LBFGS", "FIRE"] = Field(
        default="BFGS", description="ASE's optimiser"
    )
    max_steps: int = Field(default=500, ge=0, description="most steps before giving up")

    @field_validator("cell")
    @classmethod
    def _known_cell_mode(cls, value: str) -> str:
        return known_cell_mode(value)


def known_cell_mode(value: str) -> str:
    """Return what may relax of a cell, as it was given.

    Raises:
        ValueError: if it is neither a mode nor a list of strains.
    """
    if value not in CELL_MODES and not set(value.split(",")) <= set(STRAINS):
        raise ValueError(f"choose {', '.join(CELL_MODES)}, or free strains such as zz or xx,yy")
    return value


def relaxation_settings(**options: Any) -> RelaxationSettings:
    """Return checked settings.

    Raises:
        InputError: naming the first option that is unknown or out of range.
    """
    try:
        return RelaxationSettings(**options)
    except ValidationError as error:
        first = error.errors()[0]
        name, message = first["loc"][0], first["msg"].removeprefix("Value error, ")
        if first["type"] == "extra_forbidden":
            known = ", ".join(RelaxationSettings.model_fields)
            raise InputError(
                f"a relaxation has no option {name!r}: its options are {known}"
            ) from error
        raise InputError(
            f"{name} cannot be {first['input']!r}: {message[:1].lower()}{message[1:]}"
        ) from error


@dataclass(frozen=True)
class RelaxationResult:
    """A relaxed mixture.

    Attributes:
        mixture: at the relaxed positions and cell.
        evaluation: energy and derivatives there.
        converged: whether forces and stress reached the limits.
        steps: of the optimiser.
        evaluations: of the potential for this structure.
        max_force: in eV/A. max_stress: deviation from the external pressure, in GPa.
        seconds: wall time since the start of the batch.
        pressure: external, in GPa.
        members: with an ensemble, by name: the same relaxation by each of its members, from the
            minimum of the mean energy. How far they differ is the error bar of what was relaxed.
    """

    mixture: Mixture
    evaluation: Evaluation
    converged: bool
    steps: int
    evaluations: int
    max_force: float
    max_stress: float
    seconds: float
    members: Mapping[str, RelaxationResult] = field(default_factory=dict)
    pressure: float = 0.0

    @property
    def enthalpy(self) -> float:
        """E + P V at the external pressure in eV: what the relaxation made least."""
        from alchemlip.crystal.enthalpy import pressure_volume

        return self.evaluation.energy + pressure_volume(self.mixture, self.pressure)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: energy, cell, and how it converged."""
        from alchemlip.notebook import html_table

        lengths = self.mixture.to_atoms().cell.lengths().tolist()
        rows = [
            ("energy (eV)", self.evaluation.energy),
            ("energy (eV/site)", self.evaluation.energy / self.mixture.n_sites),
            *(
                [("enthalpy (eV/site)", self.enthalpy / self.mixture.n_sites)]
                if self.pressure
                else []
            ),
            ("a, b, c (Å)", ", ".join(f"{length:.5f}" for length in lengths)),
            ("largest force (eV/Å)", self.max_force),
            ("largest stress deviation (GPa)", self.max_stress),
            ("converged", self.converged),
            ("steps", self.steps),
        ]
        return html_table("Relaxed mixture", (), rows)


def relax(
    mixture: Mixture,
    potential: Potential,
    settings: RelaxationSettings | None = None,
    *,
    on_step: Callable[[int, float, float, float], None] | None = None,
    **options: Any,
) -> RelaxationResult:
    """Relax one mixture at fixed composition.

    Args:
        mixture: the start.
        potential: a loaded potential, or an ensemble, whose mean energy is minimised.
        settings: how, and when to stop.
        on_step: called after every step with (step, energy in eV, largest force in eV/A, largest
            stress deviation in GPa).
        options: fields of `RelaxationSettings`, instead of ``settings``.

    Raises:
        InputError: if the cell is to be relaxed where there is no stress.
    """
    report = None
    if on_step is not None:

        def report(_: int, step: int, energy: float, force: float, stress: float) -> None:
            on_step(step, energy, force, stress)

    return relax_many([mixture], potential, settings, on_step=report, **options)[0]


def relax_many(
    mixtures: Sequence[Mixture],
    potential: Potential,
    settings: RelaxationSettings | None = None,
    *,
    on_step: Callable[[int, int, float, float, float], None] | None = None,
    on_done: Callable[[int, RelaxationResult], None] | None = None,
    **options: Any,
) -> list[RelaxationResult]:
    """Relax several mixtures in lock-step, each at its own composition.

    Args:
        mixtures: the starts; they may differ in anything.
        potential: a loaded potential, or an ensemble.
        settings: how, and when to stop.
        on_step: as in `relax`, with the index of the structure first.
        on_done: called with (index, result) as soon as a structure is done.
        options: fields of `RelaxationSettings`, instead of ``settings``.
    """
    from alchemlip.potential.ensemble import EnsemblePotential

    if settings is None:
        settings = relaxation_settings(**options)
    elif options:
        raise InputError("give either settings or their fields by name, not both")
    if not isinstance(potential, EnsemblePotential):
        return _relax_together(mixtures, potential, settings, on_step, on_done)
    results = _relax_together(mixtures, potential, settings, on_step, None)
    starts = [result.mixture for result in results]
    by_member = {
        name: _relax_together(starts, member, settings, None, None)
        for name, member in zip(potential.names, potential.members, strict=True)
    }
    for index, result in enumerate(results):
        members = {name: found[index] for name, found in by_member.items()}
        results[index] = replace(
            result,
            members=members,
            converged=result.converged and all(item.converged for item in members.values()),
            seconds=result.seconds + sum(item.seconds for item in members.values()),
        )
        if on_done is not None:
            on_done(index, results[index])
    return results


def _relax_together(
    mixtures: Sequence[Mixture],
    potential: Potential,
    settings: RelaxationSettings,
    on_step: Callable[[int, int, float, float, float], None] | None,
    on_done: Callable[[int, RelaxationResult], None] | None,
) -> list[RelaxationResult]:
    from alchemlip.potential.calculator import evaluate_together

    start = perf_counter()
    results: dict[int, RelaxationResult] = {}
    runs = [_Run(mixture, potential, settings) for mixture in mixtures]
    active = list(range(len(runs)))
    while active:
        evaluate_together([runs[index].atoms for index in active])
        going = []
        for index in active:
            run = runs[index]
            run.measure()
            if on_step is not None:
                energy = run.atoms.calc.results["energy"]
                on_step(index, run.steps, energy, run.max_force, run.max_stress)
            if not run.converged and run.steps < settings.max_steps:
                run.step()
                going.append(index)
                continue
            results[index] = run.result(perf_counter() - start)
            if on_done is not None:
                on_done(index, results[index])
        active = going
    return [results[index] for index in range(len(runs))]


class _Run:
    """One structure on its way down."""

    def __init__(
        self, mixture: Mixture, potential: Potential, settings: RelaxationSettings
    ) -> None:
        from alchemlip.potential.calculator import AlchemicalCalculator

        check_settings(mixture, settings)
        self.settings = settings
        self.with_cell = settings.cell != "fixed"
        self.atoms = mixture.to_atoms()
        self.calculator = AlchemicalCalculator(potential, mixture)
        self.atoms.calc = self.calculator
        self.strained = cell_mask(mixture, settings)
        if settings.keep_symmetry:
            kept = symmetry_constraint(mixture, settings.symprec)
            self.atoms.set_constraint([*self.atoms.constraints, kept])
        self.optimiser = self._make_optimiser()
        self.steps = 0
        self.evaluations = 0
        self.max_force = self.max_stress = np.inf

    def _make_optimiser(self) -> Any:
        from ase.optimize import BFGS, FIRE, LBFGS
        from ase.units import GPa

        target: Any = self.atoms
        if self.with_cell:
            # The optimiser's first step assumes one curvature for all its variables.
            volume = self.atoms.get_volume()
            factor = np.sqrt(volume * CELL_STIFFNESS / OPTIMISER_STIFFNESS)
            target = _cell_filter(
                self.atoms,
                mask=self.strained.astype(float),
                exp_cell_factor=max(factor, 1.0),
                hydrostatic_strain=self.settings.cell == "volume",
                scalar_pressure=self.settings.pressure * GPa,
            )
        kinds = {"BFGS": BFGS, "LBFGS": LBFGS, "FIRE": FIRE}
        return kinds[self.settings.optimiser](target, logfile=None)

    def measure(self) -> None:
        """Read forces and stress of the current structure, as constrained."""
        from ase.units import GPa

        self.evaluations += 1
        forces = self.atoms.get_forces()
        self.max_force = float(np.linalg.norm(forces, axis=1).max())
        self.max_stress = 0.0
        if self.with_cell:
            excess = self.atoms.get_stress(voigt=False) / GPa
            excess = excess + self.settings.pressure * np.eye(3)
            if self.settings.cell == "volume":
                self.max_stress = abs(float(np.trace(excess))) / 3.0
            else:
                self.max_stress = float(np.abs(excess * self.strained).max())

    @property
    def converged(self) -> bool:
        return self.max_force <= self.settings.fmax and self.max_stress <= self.settings.smax

    def step(self) -> None:
        self.optimiser.step()
        self.steps += 1

    def result(self, seconds: float) -> RelaxationResult:
        mixture = self.calculator.mixture.with_geometry(self.atoms)
        evaluation = self.calculator.evaluation
        assert evaluation is not None
        return RelaxationResult(
            mixture=mixture,
            evaluation=evaluation,
            converged=self.converged,
            steps=self.steps,
            evaluations=self.evaluations,
            max_force=self.max_force,
            max_stress=self.max_stress,
            seconds=seconds,
            pressure=self.settings.pressure,
        )


def check_settings(mixture: Mixture, settings: RelaxationSettings) -> None:
    """Refuse settings that do not fit a mixture.

    Raises:
        InputError: if the cell is to be relaxed where there is no stress, symmetry kept where
            there is no cell, a pressure given where there is no volume, or the mixture has
            constraints other than fixed sites.
    """
    from alchemlip.potential.calculator import STRESS_UNDEFINED
    from alchemlip.potential.evaluation import stress_is_defined

    refuse_other_constraints(mixture)
    if settings.cell != "fixed" and not stress_is_defined(mixture):
        raise InputError(
            f"the cell cannot be relaxed (use cell='fixed', --cell fixed): {STRESS_UNDEFINED}"
        )
    if settings.pressure and abs(float(np.linalg.det(mixture.cell))) < 1e-6:
        raise InputError(
            f"a structure without a volume has no pressure of {settings.pressure:g} GPa: leave out "
            "the pressure, or give the structure three cell vectors"
        )
    if settings.keep_symmetry and abs(float(np.linalg.det(mixture.cell))) < 1e-6:
        raise InputError(
            "the space group of a structure without three cell vectors cannot be kept: leave out "
            "keep_symmetry, or give the structure a cell with a volume"
        )


def cell_mask(mixture: Mixture, settings: RelaxationSettings) -> FloatArray:
    """Return (3, 3), 1 where a strain component is relaxed, else 0.

    Strain is a degree of freedom only between periodic directions.
    """
    if settings.cell == "fixed":
        return np.zeros((3, 3))
    mask = strain_mask(mixture.pbc)
    if settings.cell in CELL_MODES:
        return mask
    chosen = np.zeros((3, 3))
    for name in settings.cell.split(","):
        i, j = STRAINS[name]
        chosen[i, j] = chosen[j, i] = 1.0
    return mask * chosen


def strain_mask(pbc: BoolArray) -> FloatArray:
    """Return (3, 3), 1 where a strain component joins two periodic directions, else 0."""
    periodic = np.asarray(pbc, dtype=float)
    return np.outer(periodic, periodic)


def symmetry_constraint(mixture: Mixture, symprec: float) -> Any:
    """Return ASE's ``FixSymmetry`` for a mixture, whose mixed sites differ by their occupancies.

    Args:
        mixture: the structure.
        symprec: tolerance in Angstrom.
    """
    from ase import Atoms

    first, second = mixture.exclusive.at_one_place(mixture.positions, mixture.cell, symprec)
    if len(first):
        raise InputError(
            f"the sites {first[0]} and {second[0]}, of which at most one is filled, are at one "
            "place, where no symmetry is found: make one site of them, or relax without symmetry"
        )
    # Two sites are alike if they hold the same species with the same weights, whatever they show,
    # and both may move, or neither.
    labelled: Atoms = Atoms(
        numbers=2 * mixture.site_labels - mixture.fixed,
        positions=mixture.positions,
        cell=mixture.cell,
        pbc=mixture.pbc,
    )
    return fix_symmetry(labelled, symprec)


def fix_symmetry(labelled: Atoms, symprec: float) -> Any:
    """Return ASE's ``FixSymmetry`` for atoms whose numbers are labels of alike sites."""
    with leaving_no_trace():
        from ase.constraints import FixSymmetry

        return FixSymmetry(labelled, symprec=symprec)


def _cell_filter(atoms: Atoms, **options: Any) -> Any:
    """Return ASE's ``FrechetCellFilter`` with a logarithm that draws no random numbers."""
    from ase.filters import FrechetCellFilter

    found = FrechetCellFilter(atoms, **options)
    found._utility.logm = matrix_logarithm
    return found


def space_group(mixture: Mixture, symprec: float = 1e-3) -> str:
    """Return symbol and number of a mixture's space group, such as ``Fm-3m (225)``.

    Args:
        mixture: a structure with three periodic directions.
        symprec: tolerance in Angstrom.
    """
    spglib = import_spglib()

    if not mixture.pbc.all():
        return ""
    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    labels = mixture.site_labels
    # Split sites that came to one place are one site of another kind.
    first, second = mixture.exclusive.at_one_place(mixture.positions, mixture.cell, symprec)
    labels[first] += labels.max()
    kept = np.setdiff1d(np.arange(mixture.n_sites), second)
    symbol: str | None = spglib.get_spacegroup(
        (mixture.cell, fractional[kept], labels[kept]), symprec=symprec
    )
    return symbol or ""
