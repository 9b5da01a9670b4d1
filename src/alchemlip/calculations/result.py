"""What a calculation found: its record, as tables and in a few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemlip.records.results import read_record

if TYPE_CHECKING:
    import pandas

MAIN = (
    ("free_energy_eV_per_atom", "standard_error_eV_per_atom", "free energy", "eV/atom"),
    ("free_energy_eV", "standard_error_eV", "free energy", "eV"),
    ("critical_temperature_K", "", "critical temperature", "K"),
    ("largest_mixing_energy_eV_per_atom", "", "largest mixing energy", "eV/site"),
    ("largest_mixing_enthalpy_eV_per_atom", "", "largest mixing enthalpy", "eV/site"),
    ("energy_eV_per_atom", "energy_eV_per_atom_spread", "energy", "eV/site"),
)
"""Result, its error, its name and unit; the first that is there is shown."""


class Result:
    """A results folder of a calculation, finished or not.

    Args:
        folder: where it is.
        record: content of its ``result.json``; read if left out.
        before: whether it was finished before it was asked for.
        outdated: what has changed in the formulas since then, a sentence each.

    Attributes:
        folder, record, before, outdated: as given.

    Raises:
        InputError: if there is none, or it is damaged.
    """

    def __init__(
        self,
        folder: str | Path,
        record: Mapping[str, Any] | None = None,
        *,
        before: bool = False,
        outdated: Sequence[str] = (),
    ) -> None:
        self.folder = Path(folder)
        self.before = before
        self.outdated = tuple(outdated)
        self.record: Mapping[str, Any] = read_record(self.folder) if record is None else record

    @property
    def command(self) -> str:
        """Name of the calculation."""
        return str(self.record.get("command", ""))

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return str(self.record.get("status", "running"))

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What determines the result."""
        return dict(self.record.get("inputs") or {})

    @property
    def results(self) -> Mapping[str, Any]:
        """What was found; names carry units."""
        return dict(self.record.get("results") or {})

    @property
    def points(self) -> Sequence[Mapping[str, Any]]:
        """Compositions or temperatures, where there are several."""
        return list(self.record.get("points") or [])

    @property
    def warnings(self) -> Sequence[str]:
        """Sentences about what not to trust."""
        return list(self.record.get("warnings") or [])

    def to_dataframe(self) -> pandas.DataFrame:
        """Return the points as a table, or the results as one row; units are in the names.

        Raises:
            ModuleNotFoundError: if pandas is not installed.
        """
        import pandas

        from alchemlip.crystal.report import flat_row

        rows = [flat_row(dict(point)) for point in self.points or [self.results]]
        return pandas.DataFrame(rows)

    def __repr__(self) -> str:
        return f"Result({str(self.folder)!r})"

    def __str__(self) -> str:
        potential = self.inputs.get("potential")
        using = f" with {potential}" if potential else ""
        lines = [f"{self.command}{using}, {self.status}, in {self.folder}"]
        for key, error, name, unit in MAIN:
            value = self.results.get(key)
            if isinstance(value, int | float):
                spread = self.results.get(error)
                plus = f" ± {spread:.2g}" if isinstance(spread, int | float) else ""
                level = self.results.get("level_of_theory")
                told = f" ({level})" if level else ""
                lines.append(f"{name} {value:.6g}{plus} {unit}{told}")
                break
        if self.warnings:
            count = len(self.warnings)
            lines.append(f"{count} warning{'s' if count > 1 else ''}: {self.warnings[0]}")
        return "\n".join(lines)


def open_result(folder: str | Path) -> Result:
    """Return what a results folder holds, whatever the state of its run.

    Args:
        folder: that a calculation made.

    Raises:
        InputError: if there is no readable result in it.
    """
    return Result(folder)
