"""A calculation: settings that are checked, and what follows from them.

From the settings alone come the command and its help, settings files, campaigns, the record of
inputs, the reference page and the Python call:

    result = Scan(structure="CeO2.cif", mix=["Ce=Ce,Zr"], points=5).run("folder")

Adding one is a file here and a line in `alchemlip.calculations.REGISTERED`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.fields import SettingsField, fields_of
from alchemlip.calculations.result import Result
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder

if TYPE_CHECKING:
    from alchemlip.crystal.relaxation import RelaxationSettings


class Progress(Protocol):
    """Is told how far a calculation is; may end it by raising."""

    def __call__(self, done: int, total: int | None, text: str = "", /) -> None:
        """Take note.

        Args:
            done: of the calculation's units, compositions or steps.
            total: of them; None where nobody knows.
            text: what was done last.
        """


def silent(done: int, total: int | None, text: str = "", /) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Plan:
    """A calculation that was checked as a whole: nothing is written yet.

    Attributes:
        inputs: all that determines the result, as plain values.
        compute: does the work in a results folder and finishes its record.
        source: what is worth noting but does not.
        draw: draws pictures of a finished record, into its folder; again if it was finished before.
    """

    inputs: Mapping[str, Any]
    compute: Callable[[ResultFolder, Progress], None]
    source: Mapping[str, Any] = field(default_factory=dict)
    draw: Callable[[Result], None] | None = None


class Calculation(BaseModel):
    """Settings of a calculation; subclasses say what it is and plan it.

    Raises:
        InputError: one sentence naming the first setting that is unknown or cannot be used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    command: ClassVar[str]
    """Name on the command line and in records."""
    unit: ClassVar[str] = "compositions"
    """Of progress."""
    default_folder: ClassVar[str] = ""
    """Of results where none is named; the command's name, with the structure's, if empty."""

    def __init__(self, /, **settings: Any) -> None:
        known = fields_of(type(self))
        for name in settings:
            if name not in known:
                raise unknown_setting(self.command, name, known)
        for name, item in known.items():
            if item.required and name not in settings:
                raise InputError(f"{self.command} needs {item.flag}: {item.help}")
        given = {name: known[name].checked(value) for name, value in settings.items()}
        try:
            super().__init__(**given)
        except ValidationError as error:  # of several settings together
            message = error.errors()[0]["msg"].removeprefix("Value error, ")
            raise InputError(message) from None

    @classmethod
    def fields(cls) -> Mapping[str, SettingsField]:
        """Return the settings by name."""
        return fields_of(cls)

    def plan(self) -> Plan:
        """Check everything and load what is needed; nothing is written.

        Raises:
            InputError: if the calculation cannot be done.
        """
        raise NotImplementedError

    def run(self, folder: str | Path | None = None, progress: Progress = silent) -> Result:
        """Do the calculation in a results folder, or what is left of it there.

        Args:
            folder: of the results; named after the calculation and its structure if left out.
            progress: is told how far it is.

        Raises:
            InputError: if the settings cannot be used, or the folder belongs to another run.
        """
        plan = self.plan()
        words = self.command_line() + ([] if folder is None else [f"--out={folder}"])
        store = ResultFolder(self.folder(folder), self.command, plan.inputs, plan.source, words)
        before = store.finished
        if not before:
            with store.noting_failure():
                plan.compute(store, progress)
        result = Result(store.path, store.record, before=before, outdated=store.outdated)
        if plan.draw is not None:
            plan.draw(result)
        return result

    def folder(self, given: str | Path | None = None) -> Path:
        """Return the results folder: the one given, or one named after the calculation."""
        return Path(given or self.default_folder or self.command)

    def command_line(self) -> list[str]:
        """Return the command that does the same, as words."""
        words = ["alchemlip", self.command]
        for name, item in self.fields().items():
            value = getattr(self, name)
            if item.required or value != item.default:
                words += item.arguments(value)
        return words

    def first_relaxation(self) -> RelaxationSettings | None:
        """Return how it relaxes its structure at the start; None if it does not."""
        return None

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount | None:
        """Return how many evaluations of the potential it takes; None for runs of dynamics.

        Args:
            trial: a few steps of its first relaxation.
        """
        return None


def unknown_setting(command: str, name: str, known: Mapping[str, SettingsField]) -> InputError:
    """Return the sentence for a setting that a calculation does not have."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return InputError(
        f"{command} has no setting {name!r}{meant}: its settings are {', '.join(known)}"
    )
