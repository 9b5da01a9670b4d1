"""What a Frenkel-Ladd calculation is told, and whether it fits the crystal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.crystal_symmetry import CrystalSymmetry, crystal_symmetry, site_labels
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.einstein import CentreOfMass
from alchemlip.freeenergy.switching import SwitchingSettings
from alchemlip.freeenergy.trajectory import Segment
from alchemlip.mixture.species import VACANCY

if TYPE_CHECKING:
    from ase import Atoms

CELL_STAGE, SPRING_STAGE = "cell", "springs"

SpringConstants = Mapping[str, float] | npt.ArrayLike


class FrenkelLaddSettings(BaseModel):
    """What comes before the switching, and which terms are added.

    Attributes:
        cell_equilibration_steps, cell_steps: of the mean cell, where the cell is not fixed.
        spring_equilibration_steps, spring_steps: of the mean-square displacements.
        springs: from mean-square ``displacements``, from the ``hessian``, or ``given``.
        keep_symmetry: give the mean cell the point group of the crystal.
        centre_of_mass: ``primitive-cell`` or ``supercell``, see `alchemlip.freeenergy.einstein`.
        n_primitive_cells: of the structure; by default as spglib finds them.
        quantum: ``none``, ``harmonic`` (all normal modes, 6 N evaluations) or ``wigner-kirkwood``.
        mixing_entropy: add that of ideal mixing, for a mixture's calculator.
        symprec: tolerance of the symmetry search in Angstrom.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    cell_equilibration_steps: int = Field(default=1000, ge=1)
    cell_steps: int = Field(default=5000, ge=1)
    spring_equilibration_steps: int = Field(default=1000, ge=1)
    spring_steps: int = Field(default=5000, ge=1)
    springs: Literal["displacements", "hessian", "given"] = "displacements"
    keep_symmetry: bool = True
    centre_of_mass: CentreOfMass = "primitive-cell"
    n_primitive_cells: int | None = Field(default=None, ge=1)
    quantum: Literal["none", "harmonic", "wigner-kirkwood"] = "none"
    mixing_entropy: bool = False
    symprec: float = Field(default=1e-3, gt=0)

    def stage_segments(self, stage: str) -> tuple[Segment, Segment]:
        """Return the two segments of the first or the second stage."""
        steps = {
            CELL_STAGE: (self.cell_equilibration_steps, self.cell_steps),
            SPRING_STAGE: (self.spring_equilibration_steps, self.spring_steps),
        }[stage]
        # Samples are for looking at; what counts is observed at every step.
        return (
            Segment(f"{stage}_equilibrate", steps[0], 0.0, 0.0, record_interval=10),
            Segment(f"{stage}_sample", steps[1], 0.0, 0.0, record_interval=10),
        )

    def n_cells(self, crystal: CrystalSymmetry) -> int:
        """Return N_cells of the centre-of-mass term."""
        if self.centre_of_mass == "supercell":
            return 1
        return self.n_primitive_cells or crystal.n_primitive_cells

    def steps(self, stage: str) -> int:
        """Return the number of time steps of the first or the second stage."""
        return sum(segment.steps for segment in self.stage_segments(stage))


def frenkel_ladd_steps(
    dynamics: DynamicsSettings, switching: SwitchingSettings, settings: FrenkelLaddSettings
) -> int:
    """Return the number of time steps of all stages."""
    total = switching.steps
    if dynamics.cell != "fixed":
        total += settings.steps(CELL_STAGE)
    if settings.springs == "displacements":
        total += settings.steps(SPRING_STAGE)
    return total


def check_frenkel_ladd(
    atoms: Atoms,
    calculator: Any,
    settings: FrenkelLaddSettings,
    spring_constants: SpringConstants | None = None,
) -> tuple[CrystalSymmetry, IntArray]:
    """Return the symmetry of a crystal and its site labels, before anything is run.

    Args:
        atoms, calculator, settings, spring_constants: as in `frenkel_ladd`.

    Raises:
        InputError: if the structure is no crystal, a site may be empty, or settings do not fit.
    """
    mixture = getattr(calculator, "mixture", None)
    for site, occupancy in enumerate([] if mixture is None else mixture.occupancies()):
        if occupancy.get(VACANCY, 0.0) > 0.0:
            raise InputError(
                f"site {site} is vacant in part, and what is not there has no spring: give a "
                "crystal without vacancies ('alchemlip vacancy' forms one)"
            )
    labels = site_labels(atoms, calculator)
    crystal = crystal_symmetry(atoms, labels, settings.symprec)
    if spring_constants is not None:
        given_springs(spring_constants, crystal)
    given = settings.springs == "given"
    if given != (spring_constants is not None):
        raise InputError("spring constants and springs='given' go together: give both, or neither")
    if given and settings.quantum == "wigner-kirkwood":
        raise InputError(
            "the Wigner-Kirkwood correction needs the curvature of the energy, which given springs "
            "do not tell: use springs from displacements or the Hessian, or quantum='harmonic'"
        )
    if settings.mixing_entropy and mixture is None:
        raise InputError(
            "mixing entropy belongs to a mixture, and this calculator has none: leave it out"
        )
    return crystal, labels


def given_springs(values: SpringConstants, crystal: CrystalSymmetry) -> FloatArray:
    """Return spring constants (N,) from one number, {class: value}, or one value a site.

    Raises:
        InputError: if a class is missing or unknown, or a value is not positive.
    """
    names = crystal.class_names
    if isinstance(values, Mapping):
        if set(values) != set(names):
            raise InputError(
                f"spring constants are given for {', '.join(values) or 'nothing'}, but the "
                f"classes of sites are {', '.join(names)}: give one for each"
            )
        constants = np.array([float(values[name]) for name in names])[crystal.class_of_site]
    else:
        constants = np.asarray(values, dtype=float)
        if constants.shape not in ((), crystal.class_of_site.shape):
            raise InputError(
                f"{constants.size} spring constants are given for {len(crystal.class_of_site)} "
                "sites: give one number, one per class, or one per site"
            )
        constants = np.broadcast_to(constants, crystal.class_of_site.shape).copy()
    if not (constants > 0).all() or not np.isfinite(constants).all():
        raise InputError("a given spring constant is not positive: give eV/A^2 above 0")
    return constants
