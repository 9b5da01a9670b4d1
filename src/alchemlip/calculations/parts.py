"""Settings that calculations share; a calculation inherits the parts that it has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, Field, PrivateAttr

from alchemlip.calculations.base import Calculation
from alchemlip.calculations.fields import Option
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.backends.memory import Derivatives
    from alchemlip.calculations.mixtures import Prepared, Scanned
    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.ensemble import Potential
    from alchemlip.potential.potential import AlchemicalPotential

STRUCTURE, RELAXATION, POTENTIAL = "Structure", "Relaxation", "Potential"
"""Panels of the help."""

HIGHEST_PRESSURE_GPA = 1e4
HIGHEST_TEMPERATURE_K = 1e5
MOST_POINTS = 1001
MOST_REPEATS = 1000
LARGEST_SEED = 2**63 - 1

Structure = Annotated[
    Path,
    Field(description="CIF (partial occupancies are read), POSCAR, or any file ASE reads."),
    Option(argument=True),
]
Mix = Annotated[
    list[str],
    Field(
        description="What sits where, SELECTION=FORMULA, e.g. Ce=Ce0.7Zr0.3, 0,2-5=Cl0.9Va0.1. "
        "SELECTION: an element, a group, or site indices. Va is a vacancy. May be repeated."
    ),
    Option(STRUCTURE, metavar="SEL=FORMULA"),
]
Groups = Annotated[
    list[str],
    Field(description="Name site indices, e.g. cations=0,2-5."),
    Option(STRUCTURE, metavar="NAME=SITES"),
]
Concerted = Annotated[
    list[str],
    Field(
        description="Group whose sites all change together (transmutation); others are a random "
        "solution. 'all' means every group. May be repeated."
    ),
    Option(STRUCTURE, metavar="GROUP"),
]
Exclusive = Annotated[
    list[str],
    Field(
        description="Sites of which at most one is filled (split sites), e.g. 4,7; 'auto': all "
        "that can be empty and are closer than 0.7 of their covalent radii; 'none': not even those "
        "that the file names. May be repeated."
    ),
    Option(STRUCTURE, metavar="SITES"),
]
Normalise = Annotated[
    bool,
    Field(
        description="Divide the weights of a formula by their sum; occupancies of a file only "
        "where the sum is above 1, or 1 but for rounding."
    ),
    Option(STRUCTURE),
]
Block = Annotated[
    str | None,
    Field(description="Data block of a CIF; the first with atoms by default."),
    Option(STRUCTURE, metavar="NAME"),
]
AcceptComposition = Annotated[
    bool,
    Field(description="Read a CIF although no site holds an element of its formula."),
    Option(STRUCTURE),
]


def _known_cell(value: str) -> str:
    from alchemlip.crystal.relaxation import known_cell_mode

    return known_cell_mode(value)


Cell = Annotated[
    str,
    AfterValidator(_known_cell),
    Field(
        description="Relax shape and volume (full), volume, nothing (fixed), or free strains such "
        "as zz or xx,yy."
    ),
    Option(RELAXATION),
]
Fmax = Annotated[
    float,
    Field(gt=0, le=1e3, description="Largest force allowed, eV/A."),
    Option(RELAXATION, unit="eV/A"),
]
Smax = Annotated[
    float,
    Field(
        gt=0,
        le=1e4,
        description="Largest stress deviation allowed, GPa; less for soft crystals.",
    ),
    Option(RELAXATION, unit="GPa"),
]
Pressure = Annotated[
    float,
    Field(ge=-HIGHEST_PRESSURE_GPA, le=HIGHEST_PRESSURE_GPA, description="External pressure, GPa."),
    Option(RELAXATION, unit="GPa"),
]
KeepSymmetry = Annotated[bool, Field(description="Keep the space group."), Option(RELAXATION)]
KeptSymmetry = Annotated[
    bool,
    Field(description="Keep the space group."),
    Option(RELAXATION, negative="--break-symmetry"),
]
Optimiser = Annotated[
    Literal["BFGS", "LBFGS", "FIRE"], Field(description="ASE's optimiser."), Option(RELAXATION)
]
MaxSteps = Annotated[
    int,
    Field(ge=0, le=10**7, description="Most steps of one relaxation."),
    Option(RELAXATION),
]

DEFAULT_MODEL = "sevennet-0"
_MODEL = (
    "Name of a potential ('alchemlip models') or a checkpoint; a fidelity or head may follow: "
    "sevennet-mf-0@PBE."
)
_MODEL_OPTION = Option(POTENTIAL, metavar="NAME", completes="model")
Model = Annotated[str, Field(description=_MODEL), _MODEL_OPTION]
Models = Annotated[
    list[str],
    Field(min_length=1, description=f"{_MODEL} Repeated: an ensemble, with error bars."),
    _MODEL_OPTION,
]
Representation = Annotated[
    Literal["nodes", "embedding"],
    Field(description="nodes, or embedding: occupancies in place of the one-hot element vector."),
    Option(POTENTIAL),
]
Modal = Annotated[
    str | None,
    Field(description="Fidelity of a multi-fidelity SevenNet potential."),
    Option(POTENTIAL),
]
Head = Annotated[
    str | None, Field(description="Head of a multi-head MACE potential."), Option(POTENTIAL)
]
Trust = Annotated[
    bool,
    Field(description="Allow a local checkpoint: a pickle, which can run code."),
    Option(POTENTIAL, trusts=True),
]
Device = Annotated[str, Field(description="cpu, cuda, or auto."), Option(POTENTIAL)]
Dtype = Annotated[str, Field(description="float64, or float32 for speed."), Option(POTENTIAL)]


def _three_repeats(value: str) -> str:
    from alchemlip.calculations.texts import parse_repeats

    try:
        parse_repeats(value, "")
    except ValueError:
        raise ValueError(f"write three repeats up to {MOST_REPEATS} such as 2,2,1") from None
    return value


RepeatsText = Annotated[str, AfterValidator(_three_repeats)]
"""Repeats of a supercell as text, ``2,2,1``."""

Points = Annotated[
    int,
    Field(ge=2, le=MOST_POINTS, description="Compositions along an edge, both ends included."),
]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED, description="Seed of all random numbers.")]


def refuse_pressure(pressure: float, kept_by: str) -> None:
    """Refuse a pressure in GPa where an option keeps the cell, on which it would act.

    Args:
        pressure: in GPa.
        kept_by: the option; empty if the cell may change.

    Raises:
        InputError: if there is one.
    """
    if pressure and kept_by:
        raise InputError(
            f"the pressure acts on the cell, which {kept_by} keeps: leave out one of them"
        )


class OfStructure(Calculation):
    """A calculation that starts from a structure file."""

    structure: Structure
    mix: Mix = []
    group: Groups = []
    normalise: Normalise = False
    block: Block = None
    accept_composition: AcceptComposition = False

    _notes: list[str] = PrivateAttr(default_factory=list)

    def folder(self, given: str | Path | None = None) -> Path:
        """Return the results folder: the one given, or one named after what is done to what."""
        return Path(f"{self.command}-{self.structure.stem}") if given is None else Path(given)

    def mixture(self) -> Mixture:
        """Return the mixture, every site with a composition.

        Raises:
            InputError: if the file cannot be read, or a list of species stands where a composition
                is needed.
        """
        from alchemlip.calculations.mixtures import refuse_scanned

        mixture, scanned = self.mixture_to_scan()
        refuse_scanned(scanned)
        return mixture

    def mixture_to_scan(self) -> tuple[Mixture, list[Scanned]]:
        """Return the mixture, and the groups that were given as lists of species."""
        found = self.read(self.structure, self.mix, self.group)
        return found.mixture, found.scanned

    def read(self, file: Path, mix: Sequence[str], groups: Sequence[str]) -> Prepared:
        """Read a structure file as the settings say, and keep what is to be checked in it."""
        from alchemlip.calculations.mixtures import prepare_mixture

        found = prepare_mixture(
            file,
            mix,
            groups,
            getattr(self, "concerted", []),
            self.normalise,
            getattr(self, "exclusive", []),
            self.block if file == self.structure else None,
            self.accept_composition,
        )
        self._notes.extend(note for note in found.notes if note not in self._notes)
        return found

    def source(self, potential: Potential) -> dict[str, Any]:
        """Return what is noted of where structure and potential came from."""
        from alchemlip.calculations.potentials import source

        return source(self.structure, potential, self._notes)


class Correlated(OfStructure):
    """One whose groups may change together, or exclude one another."""

    concerted: Concerted = []
    exclusive: Exclusive = []


class Relaxing(Calculation):
    """One that relaxes crystals."""

    cell: Cell = "full"
    fmax: Fmax = 1e-3
    smax: Smax = 1e-3
    pressure: Pressure = 0.0
    keep_symmetry: KeepSymmetry = False
    optimiser: Optimiser = "BFGS"
    max_steps: MaxSteps = 500

    def relaxation(self, **changes: Any) -> RelaxationSettings:
        """Return the settings of the relaxations.

        Args:
            changes: to them.
        """
        from alchemlip.crystal.relaxation import RelaxationSettings, relaxation_settings

        own = {name: getattr(self, name) for name in Relaxing.model_fields}
        assert set(own) <= set(RelaxationSettings.model_fields)
        return relaxation_settings(**(own | changes))

    def first_relaxation(self) -> RelaxationSettings | None:
        """Return how it relaxes its structure at the start."""
        return self.relaxation()


class Evaluating(Calculation):
    """One that evaluates a potential."""

    def refuse_too_large(
        self,
        mixture: Mixture,
        repeats: Sequence[int] = (1, 1, 1),
        derivatives: Derivatives = "first",
    ) -> None:
        """Refuse a cell that no memory here holds, before a potential is loaded.

        Args:
            mixture: the cell.
            repeats: of it in the largest evaluation.
            derivatives: of the energy, once or twice.

        Raises:
            InputError: with the sizes.
        """
        from alchemlip.calculations.sizes import refuse_too_large

        models = self.model  # type: ignore[attr-defined]
        refuse_too_large(
            mixture,
            [models] if isinstance(models, str) else models,
            self.device,  # type: ignore[attr-defined]
            getattr(self, "dtype", "float64"),
            repeats,
            derivatives,
        )


class WithPotential(Evaluating):
    """One with one potential."""

    model: Model = DEFAULT_MODEL
    modal: Modal = None
    head: Head = None
    trust_file: Trust = False
    device: Device = "auto"
    dtype: Dtype = "float64"

    def potential(self) -> AlchemicalPotential:
        """Load it.

        Raises:
            InputError: if there is none of that name, or its package is missing.
        """
        from alchemlip.calculations import potentials

        return potentials.prepare_single_potential(
            self.model,
            self.device,
            self.dtype,
            self.modal,
            self.head,
            self.trust_file,
            getattr(self, "representation", "nodes"),
        )


class WithPotentials(Evaluating):
    """One with a potential, or an ensemble of them."""

    model: Models = [DEFAULT_MODEL]
    modal: Modal = None
    head: Head = None
    trust_file: Trust = False
    device: Device = "auto"

    def potential(self) -> Potential:
        """Load it, or them.

        Raises:
            InputError: if there is none of that name, or its package is missing.
        """
        from alchemlip.calculations import potentials

        return potentials.prepare_potential(
            self.model,
            self.device,
            getattr(self, "dtype", "float64"),
            self.modal,
            self.head,
            self.trust_file,
            getattr(self, "representation", "nodes"),
        )


class Represented(Calculation):
    """One whose potential may be in another representation or precision."""

    representation: Representation = "nodes"
    dtype: Dtype = "float64"
