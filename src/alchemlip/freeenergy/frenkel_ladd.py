"""Absolute free energies of crystals: switching to an Einstein crystal (Frenkel and Ladd, 1984).

    results = frenkel_ladd(atoms, calculator, dynamics, switching, settings, record)
    results["free_energy_eV_per_atom"], results["terms"]

    G = F_E + F_cm - W + P V        (+ quantum correction, + ideal mixing, if asked for)
      + 3/2 kT sum_i [ln M_i - sum_a p_ia ln m_a]       (of mixed sites, M their mean mass)

W is the work of switching from the crystal to the Einstein crystal in a fixed cell with the centre
of mass held, F_E and F_cm those of `alchemlip.freeenergy.einstein`. Any ASE calculator will do; an
`AlchemicalCalculator` gives the crystal of its composition.

Three stages, each in the record and resumed from it: the mean cell at constant pressure (left out
where the cell is fixed), the springs, the switching.

Frenkel and Ladd, J. Chem. Phys. 81, 3188 (1984); Freitas, Asta and de Koning, Comput. Mater. Sci.
112, 333 (2016).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import units

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.crystal_symmetry import CrystalSymmetry
from alchemlip.freeenergy.dynamics import DynamicsSettings, check_ensemble
from alchemlip.freeenergy.einstein import (
    CENTRE_OF_MASS_CONVENTIONS,
    centre_of_mass_free_energy,
    einstein_free_energy,
    ideal_mixing_free_energy,
    mean_mass_term,
    quantum_harmonic_correction,
    quantum_harmonic_energy_correction,
    wigner_kirkwood_correction,
)
from alchemlip.freeenergy.frenkel_ladd_settings import (
    CELL_STAGE,
    SPRING_STAGE,
    FrenkelLaddSettings,
    SpringConstants,
    check_frenkel_ladd,
    frenkel_ladd_steps,
    given_springs,
)
from alchemlip.freeenergy.hamiltonian import CalculatorTerm, CoupledCalculator, SpringTerm
from alchemlip.freeenergy.harmonic import crystal_force_constants, mode_frequencies
from alchemlip.freeenergy.mean_cell import MeanCell
from alchemlip.freeenergy.springs import (
    Displacements,
    mean_anchors,
    springs_from_displacements,
    springs_from_hessian,
)
from alchemlip.freeenergy.summary import switching_summary
from alchemlip.freeenergy.switching import (
    EQUILIBRATE_START,
    SwitchingResult,
    SwitchingSettings,
    generator_of,
    run_switching,
)
from alchemlip.freeenergy.trajectory import Progress, Recording, run_trajectory
from alchemlip.mixture.species import species_mass, species_number
from alchemlip.records.runs import RunRecord

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.mixture.mixture import Mixture

# Repeats draw from the keys (0,), (1,), ...
SEED_KEYS = {CELL_STAGE: (0, 0), SPRING_STAGE: (0, 1)}

MASSES, MASSES_OF_SPECIES = "masses_of_mixed_sites", "sum of p ln m"
"""Key and value of the note that tells a mixture's record from older ones."""

STEPS_PER_PERIOD = 8.0
"""Of a spring: below it the springs would be integrated with errors, and soon blow up."""


@dataclass(frozen=True)
class EinsteinReference:
    """The Einstein crystal to which a crystal is switched.

    Attributes:
        atoms: at the anchors, in the mean cell.
        spring_constants: (N,) in eV/A^2.
        curvatures: (N,) mean curvature of the crystal's energy at each atom, in eV/A^2; None if the
            springs were given.
        mean_squares: (N,) mean-square displacements in A^2, if they were sampled.
    """

    atoms: Atoms
    spring_constants: FloatArray
    curvatures: FloatArray | None = None
    mean_squares: FloatArray | None = None


def frenkel_ladd(
    atoms: Atoms,
    calculator: Any,
    dynamics: DynamicsSettings,
    switching: SwitchingSettings,
    settings: FrenkelLaddSettings,
    record: RunRecord,
    *,
    spring_constants: SpringConstants | None = None,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the free energy of a crystal as a flat record, every term by itself.

    Args:
        atoms: the crystal, ideal or relaxed, with the masses that count; not changed. The masses
            of mixed sites are those of the calculator's mixture, whatever the atoms have.
        calculator: any ASE calculator with forces (and stress, if the cell is to move).
        dynamics: temperature and time step; ``cell`` and ``pressure_GPa`` are those of the first
            stage, which ``fixed`` leaves out: then the cell is the given one, at that pressure.
        switching: lengths and repeats.
        settings: of the stages before, and the terms.
        record: where everything is written; what is there already is not run again.
        spring_constants: in eV/A^2, for ``springs="given"``: one number, {class: value}, or (N,).
        on_progress: called with steps done and steps in all.

    Returns:
        Names as in ``result.json``: docs/free_energies.md lists them.

    Raises:
        InputError: if the structure is no crystal, or melts or diffuses at this temperature; or the
            record of a mixture was begun before masses dropped out of mixing.
        UnstableError: if the dynamics blow up; the record keeps the last commit before.
    """
    check_ensemble(atoms, dynamics)
    start = atoms.copy()
    start.set_constraint()
    mixture = getattr(calculator, "mixture", None)
    if mixture is not None:
        _take_masses(start, mixture)
        refuse_older_formula(record, mixture)
        if mixture.groups and record.noted(MASSES) is None:
            record.note(MASSES, MASSES_OF_SPECIES)
    crystal, labels = check_frenkel_ladd(start, calculator, settings, spring_constants)
    run = _Stages(calculator, dynamics, switching, settings, record, on_progress)
    located = run.mean_cell(start, crystal)
    reference = run.reference(located, crystal, labels, spring_constants)
    _refuse_stiff_springs(reference, crystal, dynamics.timestep_fs)
    switched = run.switch(reference)
    terms, energy = _terms(reference, calculator, crystal, dynamics, settings, record)
    n = len(start)
    rng = generator_of(switching.seed, switching.repeats)
    results = switching_summary(switched, terms, rng, n_atoms=n, work_sign=-1.0)
    results["method"] = f"Frenkel-Ladd, {results['method']}"
    return {
        **results,
        **_enthalpy(switched, terms["pressure_volume"] + energy, n),
        "pressure_GPa": dynamics.pressure_GPa,
        "n_atoms": n,
        "volume_A3_per_atom": reference.atoms.get_volume() / n,
        "cell_A": reference.atoms.cell.array.tolist(),
        "space_group": crystal.space_group,
        "n_primitive_cells": settings.n_primitive_cells or crystal.n_primitive_cells,
        "n_cells": settings.n_cells(crystal),
        "centre_of_mass_convention": CENTRE_OF_MASS_CONVENTIONS[settings.centre_of_mass],
        "spring_constants_eV_per_A2": _by_class(crystal, reference.spring_constants),
        "mean_square_displacements_A2": None
        if reference.mean_squares is None
        else _by_class(crystal, reference.mean_squares),
    }


def _take_masses(atoms: Atoms, mixture: Mixture) -> None:
    """Give mixed sites the mean masses of the mixture as it is now."""
    masses = atoms.get_masses()
    for group in mixture.groups:
        masses[group.sites] = mixture.masses[group.sites]
    atoms.set_masses(masses)


def refuse_older_formula(record: RunRecord, mixture: Mixture) -> None:
    """Refuse to go on with a run that was begun before masses dropped out of mixing.

    Raises:
        InputError: if it was.
    """
    if not mixture.groups or record.noted(MASSES) == MASSES_OF_SPECIES:
        return
    if record.state() is not None or record.notes():
        raise InputError(
            f"the unfinished run {str(record.path)!r} was begun with an older formula, in which "
            "mixed sites count with their mean mass, so that masses do not drop out of mixing: "
            "name a new folder (--out)"
        )


def older_formula(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> str | None:
    """Return a sentence if a run was finished before masses dropped out of mixing.

    Args:
        inputs: of the run.
        results: of the run.
    """
    from alchemlip.mixture.mixture import Mixture

    mixture = Mixture.from_dict(inputs["mixture"])
    if not mixture.groups or "mass" in results["terms"]:
        return None
    lacks = mean_mass_term(mixture, results["temperature_K"]) / mixture.n_sites
    return (
        "this run was finished with an older formula, in which mixed sites count with their "
        f"mean mass: {lacks:.6f} eV/atom are to be added, so that masses drop out of mixing"
    )


class _Stages:
    """The stages that run dynamics, one after the other in one record."""

    def __init__(
        self,
        calculator: Any,
        dynamics: DynamicsSettings,
        switching: SwitchingSettings,
        settings: FrenkelLaddSettings,
        record: RunRecord,
        on_progress: Progress | None,
    ) -> None:
        self.calculator = calculator
        self.dynamics = dynamics
        self.held = dynamics.model_copy(update={"cell": "fixed", "fix_centre_of_mass": True})
        self.switching = switching
        self.settings = settings
        self.record = record
        self._on_progress = on_progress
        self._before = 0
        self._total = frenkel_ladd_steps(dynamics, switching, settings)

    def mean_cell(self, start: Atoms, crystal: CrystalSymmetry) -> Atoms:
        """Return the crystal in its mean cell at the pressure asked for."""
        if self.dynamics.cell == "fixed":
            return start
        rotations = crystal.rotations if self.settings.keep_symmetry else None
        cell = MeanCell(start.cell.array, rotations)
        displacements = Displacements(start, self.dynamics.temperature_K)
        self._sample(CELL_STAGE, start, self.dynamics, [cell, displacements])
        displacements.check_crystal(crystal)
        located = start.copy()
        located.set_cell(cell.cell, scale_atoms=True)
        return located

    def reference(
        self,
        atoms: Atoms,
        crystal: CrystalSymmetry,
        labels: IntArray,
        spring_constants: SpringConstants | None,
    ) -> EinsteinReference:
        """Return anchors and springs."""
        if self.settings.springs == "given":
            assert spring_constants is not None
            return EinsteinReference(atoms, given_springs(spring_constants, crystal))
        if self.settings.springs == "hessian":
            kept = self.record.noted(SPRING_STAGE)
            if kept is None:
                kept = springs_from_hessian(atoms, self.calculator, crystal).tolist()
                self.record.note(SPRING_STAGE, kept)
            constants = np.array(kept)
            return EinsteinReference(atoms, constants, curvatures=constants)
        displacements = Displacements(atoms, self.dynamics.temperature_K)
        self._sample(SPRING_STAGE, atoms, self.held, [displacements])
        displacements.check_crystal(crystal)
        anchored = atoms.copy()
        anchored.set_scaled_positions(mean_anchors(displacements, labels, self.settings.symprec))
        constants = springs_from_displacements(
            displacements.mean_squares, atoms.get_masses(), self.dynamics.temperature_K, crystal
        )
        return EinsteinReference(
            anchored, constants, displacements.curvatures, displacements.mean_squares
        )

    def switch(self, reference: EinsteinReference) -> SwitchingResult:
        """Switch to the springs and back; the atoms start on the anchors."""
        anchors = reference.atoms.get_scaled_positions(wrap=False)
        constants = reference.spring_constants
        springs = SpringTerm(anchors, np.zeros_like(constants), constants)
        hamiltonian = CoupledCalculator(
            {"crystal": CalculatorTerm(self.calculator, 1.0, 0.0), "springs": springs}
        )
        temperature = self.dynamics.temperature_K

        def watching() -> dict[str, list[Displacements]]:
            # Ends the run if an atom leaves; on the way to the springs it cannot.
            return {EQUILIBRATE_START: [Displacements(reference.atoms, temperature)]}

        return run_switching(
            reference.atoms,
            hamiltonian,
            self.held,
            self.switching,
            self.record,
            observers=watching,
            on_progress=self._report,
        )

    def _sample(
        self, stage: str, atoms: Atoms, dynamics: DynamicsSettings, observers: list[Any]
    ) -> None:
        segments = self.settings.stage_segments(stage)
        moving = atoms.copy()
        moving.calc = CoupledCalculator({"crystal": CalculatorTerm(self.calculator, 1.0, 1.0)})
        run_trajectory(
            moving,
            segments,
            dynamics,
            generator_of(self.switching.seed, *SEED_KEYS[stage]),
            Recording(self.record, stage, checkpoint_interval=self.switching.checkpoint_interval),
            observers={segments[1].name: observers},
            on_progress=self._report,
        )
        self._before += self.settings.steps(stage)

    def _report(self, done: int, _: int) -> None:
        if self._on_progress is not None:
            self._on_progress(self._before + done, self._total)


def _refuse_stiff_springs(
    reference: EinsteinReference, crystal: CrystalSymmetry, timestep_fs: float
) -> None:
    """Refuse springs too stiff for the time step, as displacements sampled too briefly give."""
    frequencies = np.sqrt(reference.spring_constants / reference.atoms.get_masses())
    period_fs = 2.0 * np.pi / float(frequencies.max()) / units.fs
    if period_fs < STEPS_PER_PERIOD * timestep_fs:
        site = int(frequencies.argmax())
        name = crystal.class_names[crystal.class_of_site[site]]
        raise InputError(
            f"the spring of {name} ({reference.spring_constants[site]:.3g} eV/A^2) has a period of "
            f"{period_fs:.3g} fs, too short for a time step of {timestep_fs:g} fs: take a shorter "
            "one, or sample the displacements for longer"
        )


def _terms(
    reference: EinsteinReference,
    calculator: Any,
    crystal: CrystalSymmetry,
    dynamics: DynamicsSettings,
    settings: FrenkelLaddSettings,
    record: RunRecord,
) -> tuple[dict[str, float], float]:
    """Return what is added to the work, by name, and the quantum correction of the mean energy."""
    atoms, temperature = reference.atoms, dynamics.temperature_K
    constants, masses, volume = (
        reference.spring_constants,
        atoms.get_masses(),
        atoms.get_volume(),
    )
    terms = {
        "einstein": einstein_free_energy(constants, masses, temperature),
        "centre_of_mass": centre_of_mass_free_energy(
            constants, masses, volume, temperature, settings.n_cells(crystal)
        ),
        "pressure_volume": dynamics.pressure_GPa * units.GPa * volume,
    }
    mixture = getattr(calculator, "mixture", None)
    if mixture is not None and mixture.groups:
        terms["mass"] = mean_mass_term(mixture, temperature)
        masses = _quantum_masses(masses, mixture)
    energy = 0.0
    if settings.quantum == "harmonic":
        kept = record.noted("frequencies")
        if kept is None:
            kept = mode_frequencies(crystal_force_constants(atoms, calculator), masses).tolist()
            record.note("frequencies", kept)
        terms["quantum_correction"] = quantum_harmonic_correction(kept, temperature)
        energy = quantum_harmonic_energy_correction(kept, temperature)
    elif settings.quantum == "wigner-kirkwood":
        assert reference.curvatures is not None
        correction = wigner_kirkwood_correction(reference.curvatures, masses, temperature)
        terms["quantum_correction"] = correction
        energy = 2.0 * correction  # it goes as 1/T
    if settings.mixing_entropy:
        terms["ideal_mixing"] = ideal_mixing_free_energy(calculator.mixture, temperature)
    return terms, energy


def _quantum_masses(masses: FloatArray, mixture: Mixture) -> FloatArray:
    """Return masses (N,) with M of 1/M = sum_a p_a / m_a on mixed sites.

    The leading quantum correction is linear in 1/m, so these drop out of mixing like the classical
    ones, as far as it reaches.
    """
    masses = masses.copy()
    occupancies = mixture.occupancies()
    for group in mixture.groups:
        for site in group.sites.tolist():
            masses[site] = 1.0 / sum(
                p / species_mass(species_number(label))
                for label, p in occupancies[site].items()
                if p > 0
            )
    return masses


def _enthalpy(switched: SwitchingResult, added: float, n_atoms: int) -> dict[str, Any]:
    """Return the mean enthalpy of the crystal with its error over repeats, for Gibbs-Helmholtz."""
    kinetic = 1.5 * units.kB * switched.temperature_K
    potential = switched.potential_eV[0]
    repeats = len(potential)
    error = float(np.std(potential, ddof=1) / np.sqrt(repeats)) / n_atoms if repeats > 1 else None
    return {
        "enthalpy_eV_per_atom": (float(np.mean(potential)) + added) / n_atoms + kinetic,
        "enthalpy_standard_error_eV_per_atom": error,
    }


def _by_class(crystal: CrystalSymmetry, values: FloatArray) -> dict[str, float]:
    return dict(zip(crystal.class_names, crystal.class_means(values).tolist(), strict=True))
