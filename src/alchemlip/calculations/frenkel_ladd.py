"""The absolute free energy of a crystal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from alchemlip.calculations.base import Plan, Progress, silent
from alchemlip.calculations.dynamics_parts import (
    LONGEST_PS,
    SAMPLING,
    MixingEntropy,
    Switching,
)
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import Correlated, Representation
from alchemlip.calculations.result import Result

if TYPE_CHECKING:
    from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings
    from alchemlip.records.runs import RunRecord

REFERENCE = "Einstein crystal"
STIFFEST_eV_PER_A2 = 1e6


def _one_spring(text: str) -> str:
    name, _, value = text.partition("=")
    try:
        constant = float(value)
    except ValueError:
        raise ValueError("write a class of sites and eV/A^2, for example Cs=0.3") from None
    if not name.strip() or not 0 < constant <= STIFFEST_eV_PER_A2 or math.isnan(constant):
        raise ValueError(
            f"write a class of sites and a number above 0, at most {STIFFEST_eV_PER_A2:g} "
            "(eV/A^2), for example Cs=0.3"
        )
    return text


CellTime = Annotated[
    float,
    Field(
        gt=0,
        le=LONGEST_PS,
        description="Sampling of the mean cell, ps; not with --cell fixed.",
    ),
    Option(SAMPLING, unit="ps"),
]
KeepPointGroup = Annotated[
    bool,
    Field(description="Give the mean cell the point group of the structure."),
    Option(REFERENCE, negative="--no-keep-symmetry"),
]
Springs = Annotated[
    Literal["displacements", "hessian", "given"],
    Field(description="displacements (mean-square, sampled), hessian, or given (with --spring)."),
    Option(REFERENCE),
]
Spring = Annotated[
    list[Annotated[str, AfterValidator(_one_spring)]],
    Field(
        description="A given spring constant in eV/A^2 of a class of sites, e.g. Cs=0.3. May be "
        "repeated."
    ),
    Option(REFERENCE, metavar="CLASS=K"),
]
SpringTime = Annotated[
    float,
    Field(gt=0, le=LONGEST_PS, description="Sampling of the displacements, ps."),
    Option(SAMPLING, unit="ps"),
]
CentreOfMass = Annotated[
    Literal["primitive-cell", "supercell"],
    Field(
        description="Volume that it visits: that of a primitive-cell (Freitas et al.), or of the "
        "whole supercell (calphy)."
    ),
    Option(REFERENCE),
]
PrimitiveCells = Annotated[
    int | None,
    Field(
        ge=1,
        le=10**9,
        description="Primitive cells in the crystal; found by spglib if left out.",
    ),
    Option(REFERENCE),
]
Quantum = Annotated[
    Literal["none", "harmonic", "wigner-kirkwood"],
    Field(
        description="Quantum correction: none, harmonic (all normal modes) or wigner-kirkwood "
        "(leading term)."
    ),
    Option(REFERENCE),
]


class FrenkelLadd(Switching, Correlated):
    """Absolute free energy of a crystal, by switching to an Einstein crystal.

    First the mean cell at the pressure, then the springs, then the switching. Give the ideal or
    relaxed crystal. Writes run.sqlite (all samples and the state, committed as it runs),
    result.json, switching.png.

    Example: alchemlip frenkel-ladd CsPbI3.cif --repeat 2,2,2 -T 500
    """

    command: ClassVar[str] = "frenkel-ladd"

    representation: Representation = "nodes"
    cell_time: CellTime = 10.0
    keep_symmetry: KeepPointGroup = True
    springs: Springs = "displacements"
    spring: Spring = []
    spring_time: SpringTime = 10.0
    centre_of_mass: CentreOfMass = "primitive-cell"
    primitive_cells: PrimitiveCells = None
    quantum: Quantum = "none"
    mixing_entropy: MixingEntropy = False

    @model_validator(mode="after")
    def _samples_long_enough(self) -> FrenkelLadd:
        for setting in ("cell_time", "spring_time"):
            self.steps_of(setting)
        return self

    def stages(self) -> FrenkelLaddSettings:
        """Return what comes before the switching, and which terms are added."""
        from alchemlip.freeenergy.frenkel_ladd_settings import FrenkelLaddSettings

        return FrenkelLaddSettings(
            cell_equilibration_steps=self.steps_of("equilibrate"),
            cell_steps=self.steps_of("cell_time"),
            spring_equilibration_steps=self.steps_of("equilibrate"),
            spring_steps=self.steps_of("spring_time"),
            springs=self.springs,
            keep_symmetry=self.keep_symmetry,
            centre_of_mass=self.centre_of_mass,
            n_primitive_cells=self.primitive_cells,
            quantum=self.quantum,
            mixing_entropy=self.mixing_entropy,
        )

    def steps(self) -> int:
        """Return how many time steps all stages take."""
        from alchemlip.freeenergy.frenkel_ladd_settings import frenkel_ladd_steps

        return frenkel_ladd_steps(self.dynamics(), self.switching(), self.stages())

    def run(self, folder: str | Path | None = None, progress: Progress = silent) -> Result:
        """Do the calculation in a results folder, or what is left of it there.

        Raises:
            InputError: also for an unfinished run of an older formula, which is left as it is.
        """
        from alchemlip.freeenergy.frenkel_ladd import refuse_older_formula
        from alchemlip.mixture.mixture import Mixture
        from alchemlip.records.runs import RECORD, RunRecord

        if (self.folder(folder) / RECORD).is_file():
            with RunRecord.read(self.folder(folder)) as record:
                if record.command == self.command and record.status != "finished":
                    refuse_older_formula(record, Mixture.from_dict(record.inputs["mixture"]))
        return super().run(folder, progress)

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.crystal.report import describe_potential
        from alchemlip.freeenergy.frenkel_ladd import frenkel_ladd
        from alchemlip.freeenergy.frenkel_ladd_settings import check_frenkel_ladd
        from alchemlip.freeenergy.plotting import plot_switching
        from alchemlip.potential.calculator import AlchemicalCalculator

        mixture = self.mixture()
        self.refuse_too_large(mixture, self.supercell())
        mixture = mixture.repeat(self.supercell())
        dynamics, switching, stages = self.dynamics(), self.switching(), self.stages()
        constants = parse_springs(self.spring)
        potential = self.potential()
        atoms = mixture.to_atoms()
        calculator = AlchemicalCalculator(potential, mixture, composition_gradient=False)
        check_frenkel_ladd(atoms, calculator, stages, constants)

        def work(record: RunRecord, folder: Path, progress: Progress) -> Mapping[str, Any]:
            results = frenkel_ladd(
                atoms,
                calculator,
                dynamics,
                switching,
                stages,
                record,
                spring_constants=constants,
                on_progress=progress,
            )
            plot_switching(record, results, folder / "switching.png")
            return results

        inputs = {
            "mixture": mixture.to_dict(),
            "dynamics": dynamics.model_dump(),
            "switching": switching.model_dump(),
            "frenkel_ladd": stages.model_dump(),
            "spring_constants": constants,
            **describe_potential(potential),
        }
        return self.recorded(inputs, potential, work)


def parse_springs(texts: Sequence[str]) -> dict[str, float] | None:
    """Return given spring constants by class of sites; None if there are none.

    Args:
        texts: such as ``Cs=0.3``.
    """
    pairs = [text.partition("=") for text in texts]
    return {name.strip(): float(value) for name, _, value in pairs} or None
