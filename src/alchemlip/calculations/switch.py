"""The work of a path between compositions, or between potentials."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from alchemlip.calculations.base import Plan
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import POTENTIAL
from alchemlip.calculations.switched import Switched

ToModel = Annotated[
    str | None,
    Field(description="The potential at the end of the path."),
    Option(POTENTIAL, metavar="NAME", completes="model"),
]


class Switch(Switched):
    """Work of switching the composition, the potential, or both: the path and nothing added.

    The free energy is that of the potential part alone: no term for masses or mixing ('alchemlip
    transmute' adds them). --to-model takes the same crystal from one potential to another. Writes
    run.sqlite, result.json, switching.png.

    Example: alchemlip switch CsPbI3.cif --repeat 2,2,2 --to-model chgnet -T 300
    """

    command: ClassVar[str] = "switch"

    to_model: ToModel = None

    def composition_may_stay(self) -> bool:
        """Return whether the potential changes."""
        return self.to_model is not None

    def plan(self) -> Plan:
        """Check everything and load the potential, or both."""
        from alchemlip.calculations import potentials

        path = self.path()
        end = None
        if self.to_model is not None:
            end = potentials.prepare_single_potential(
                self.to_model,
                self.device,
                self.dtype,
                None,
                None,
                self.trust_file,
                self.representation,
            )
        return self.switching_plan(path, self.potential(), end, terms=False)
