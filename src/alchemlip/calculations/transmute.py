"""The free energy of turning species into others."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator

from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.dynamics_parts import (
    LONGEST_PS,
    MOST_STEPS,
    SAMPLING,
    MixingEntropy,
)
from alchemlip.calculations.fields import Option
from alchemlip.calculations.switched import Switched

if TYPE_CHECKING:
    from alchemlip.freeenergy.windows import WindowSettings
    from alchemlip.records.runs import RunRecord


def _two_ends(value: int) -> int:
    if value == 1:
        raise ValueError("windows need two couplings or more; give 0 to switch instead")
    return value


Windows = Annotated[
    int,
    AfterValidator(_two_ends),
    Field(
        ge=0,
        le=1000,
        description="Sample so many couplings in equilibrium, side by side in one batch, with "
        "replica exchange, instead of switching.",
    ),
    Option(SAMPLING),
]
Sample = Annotated[
    float,
    Field(gt=0, le=LONGEST_PS, description="Sampling time of each window, ps."),
    Option(SAMPLING, unit="ps"),
]
SampleInterval = Annotated[
    int,
    Field(
        ge=1,
        le=MOST_STEPS,
        description="Steps between samples of the windows; each costs its energy at every "
        "coupling.",
    ),
    Option(SAMPLING),
]
ExchangeInterval = Annotated[
    int,
    Field(ge=0, le=MOST_STEPS, description="Steps between exchanges of windows; 0 for none."),
    Option(SAMPLING),
]


class Transmute(Switched):
    """Free energy of turning species into others, by switching or by equilibrium windows.

    Gibbs' at constant pressure, Helmholtz' with --cell fixed. Writes run.sqlite (all samples and
    the state, committed as it runs), result.json and a picture.

    Example: alchemlip transmute CsPbI3.cif --repeat 2,2,2 --to Pb=Sn -T 300
    """

    command: ClassVar[str] = "transmute"

    windows: Windows = 0
    sample: Sample = 10.0
    sample_interval: SampleInterval = 20
    exchange_interval: ExchangeInterval = 20
    mixing_entropy: MixingEntropy = False

    @model_validator(mode="after")
    def _samples_long_enough(self) -> Transmute:
        self.steps_of("sample")
        return self

    def sampling(self) -> WindowSettings:
        """Return how windows are sampled."""
        from alchemlip.freeenergy.windows import WindowSettings

        return WindowSettings.model_validate(
            {
                "couplings": self.windows,
                "equilibration_steps": self.steps_of("equilibrate"),
                "sampling_steps": self.steps_of("sample"),
                "sample_interval": self.sample_interval,
                "exchange_interval": self.exchange_interval or None,
                "repeats": self.repeats,
                "checkpoint_interval": self.checkpoint_interval,
                "seed": self.seed,
            }
        )

    def steps(self) -> int:
        """Return how many time steps it takes; those of windows are taken side by side."""
        return self.sampling().steps if self.windows else self.switching().steps

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        path = self.path()
        potential = self.potential()
        if not self.windows:
            return self.switching_plan(path, potential, mixing_entropy=self.mixing_entropy)
        from alchemlip.freeenergy.phase_plots import plot_recorded_windows
        from alchemlip.freeenergy.transmutation_windows import transmute_windows

        dynamics, settings = self.dynamics(), self.sampling()
        self.refuse(path, potential)

        def work(record: RunRecord, folder: Path, progress: Progress) -> Mapping[str, Any]:
            results = transmute_windows(
                path,
                potential,
                dynamics,
                settings,
                record,
                mixing_entropy=self.mixing_entropy,
                on_progress=progress,
            )
            plot_recorded_windows(record, dynamics.temperature_K, folder / "windows.png")
            return results

        inputs = self.inputs(path, {"windows": settings}, self.mixing_entropy, potential)
        return self.recorded(inputs, potential, work)
