"""What ``switch`` and ``transmute`` share: the path from the settings, and its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.dynamics_parts import Switching
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import STRUCTURE, Representation
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.switching import SwitchingSettings
    from alchemlip.freeenergy.transmutation import TransmutationPath
    from alchemlip.freeenergy.windows import WindowSettings
    from alchemlip.potential.potential import AlchemicalPotential
    from alchemlip.records.runs import RunRecord

To = Annotated[
    list[str],
    Field(
        description="What a selection becomes, e.g. Pb=Sn, 0,3=Sn, Ce=Ce0.5Zr0.5. May be repeated."
    ),
    Option(STRUCTURE, metavar="SEL=FORMULA"),
]
EndState = Annotated[
    Path | None,
    Field(description="Instead of --to: a file with the same sites and other species."),
    Option(STRUCTURE),
]
SwitchedCorrelation = Annotated[
    Literal["concerted", "independent"],
    Field(
        description="concerted (all sites change together) or independent; partial compositions "
        "need independent."
    ),
    Option(STRUCTURE),
]


class Switched(Switching):
    """One that follows a path between two compositions of the same sites."""

    to: To = []
    end_state: EndState = None
    correlation: SwitchedCorrelation = "concerted"
    representation: Representation = "nodes"

    @model_validator(mode="after")
    def _has_one_end(self) -> Switched:
        ends = bool(self.to) + (self.end_state is not None)
        if ends > 1 or (ends == 0 and not self.composition_may_stay()):
            raise InputError(
                "it is not clear what the crystal becomes: give either --to, such as --to Pb=Sn, "
                "or --end-state FILE"
            )
        return self

    def composition_may_stay(self) -> bool:
        """Return whether something else changes."""
        return False

    def path(self) -> TransmutationPath:
        """Return the path between the two compositions.

        Raises:
            InputError: if a file or a text cannot be read, or they are no ends of a path.
        """
        from alchemlip.calculations.mixtures import mixed_by_options, refuse_scanned
        from alchemlip.freeenergy.transmutation import path_between, standing_path

        # Without --mix the sites that --group names are those that --to changes.
        named, switched = (self.group, []) if self.mix else ([], self.group)
        found = self.read(self.structure, self.mix, named)
        refuse_scanned(found.scanned)
        start, repeats = found.mixture, self.supercell()
        self.refuse_too_large(start, repeats)  # before larger cells are made
        if self.end_state is not None:
            end = self.read(self.end_state, [], []).mixture
        elif self.to:
            end, listed = mixed_by_options(start, self.to, switched, self.normalise, "--to")
            refuse_scanned(listed)
        else:
            return standing_path(start.repeat(repeats))
        return path_between(start.repeat(repeats), end.repeat(repeats), self.correlation)

    def switching_plan(
        self,
        path: TransmutationPath,
        potential: AlchemicalPotential,
        end_potential: AlchemicalPotential | None = None,
        *,
        terms: bool = True,
        mixing_entropy: bool = False,
    ) -> Plan:
        """Return the plan of switching along a path.

        Args:
            path: what changes into what.
            potential: at lambda = 0.
            end_potential: at lambda = 1, if another.
            terms: add the mass term and, if asked for, that of ideal mixing.
            mixing_entropy: whether it is.
        """
        from alchemlip.crystal.report import describe_potential
        from alchemlip.freeenergy.plotting import plot_switching
        from alchemlip.freeenergy.switching import run_switching
        from alchemlip.freeenergy.transmutation import path_results, switched_calculator

        dynamics, settings = self.dynamics(), self.switching()
        self.refuse(path, potential)
        calculator = switched_calculator(path, potential, end_potential)

        def work(record: RunRecord, folder: Path, progress: Progress) -> Mapping[str, Any]:
            atoms = path.atoms()
            run_switching(atoms, calculator, dynamics, settings, record, on_progress=progress)
            results = path_results(
                path, dynamics, settings, record, terms=terms, mixing_entropy=mixing_entropy
            )
            plot_switching(record, results, folder / "switching.png")
            return results

        inputs = self.inputs(path, {"switching": settings}, mixing_entropy, potential)
        if end_potential is not None:
            inputs["end_potential"] = describe_potential(end_potential)
        return self.recorded(inputs, potential, work)

    def refuse(self, path: TransmutationPath, potential: AlchemicalPotential) -> None:
        """Refuse an ensemble that the structure cannot have, and what the potential does not know.

        Raises:
            InputError: likewise.
        """
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.freeenergy.dynamics import check_ensemble

        check_ensemble(path.atoms(), self.dynamics())
        refuse_unusable(path.mixture, potential)

    def inputs(
        self,
        path: TransmutationPath,
        sampling: Mapping[str, SwitchingSettings | WindowSettings],
        mixing_entropy: bool,
        potential: AlchemicalPotential,
    ) -> dict[str, Any]:
        """Return all that determines a run; the settings of the sampling stand under their name."""
        from alchemlip.crystal.report import describe_potential
        from alchemlip.freeenergy.transmutation import analytic_terms

        # What has no value is refused before the run, not after.
        analytic_terms(path, self.temperature, mixing_entropy=mixing_entropy)
        return {
            "mixture": path.mixture.to_dict(),
            "start": path.start.tolist(),
            "end": path.end.tolist(),
            "dynamics": self.dynamics().model_dump(),
            **{name: settings.model_dump() for name, settings in sampling.items()},
            "mixing_entropy": mixing_entropy,
            **describe_potential(potential),
        }
