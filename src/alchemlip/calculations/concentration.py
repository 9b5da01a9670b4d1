"""Vacancies in equilibrium against temperature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field, model_validator

from alchemlip.calculations.base import Calculation, Plan, Progress
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import HIGHEST_TEMPERATURE_K
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder, read_record

if TYPE_CHECKING:
    from alchemlip.freeenergy.concentration import FormationLine

Runs = Annotated[
    list[Path],
    Field(description="Folders of finished 'alchemlip vacancy' runs at two temperatures or more."),
    Option(argument=True),
]
Enthalpy = Annotated[
    float | None,
    Field(ge=-1e4, le=1e4, description="Instead of runs: enthalpy of formation, eV."),
    Option(unit="eV"),
]
Entropy = Annotated[
    float | None,
    Field(ge=-1e4, le=1e4, description="Instead of runs: entropy of formation, k_B."),
    Option(unit="k_B"),
]
Lowest = Annotated[
    float,
    Field(ge=1e-3, le=HIGHEST_TEMPERATURE_K, description="Lowest temperature of the table, K."),
    Option(flag="--from", unit="K"),
]
Highest = Annotated[
    float,
    Field(ge=1e-3, le=HIGHEST_TEMPERATURE_K, description="Highest temperature of the table, K."),
    Option(flag="--to", unit="K"),
]
Temperatures = Annotated[int, Field(ge=2, le=10**5, description="Temperatures in the table.")]


class Concentration(Calculation):
    """Equilibrium concentration of vacancies against temperature.

    Enthalpy and entropy of formation are those of a straight line G = H - T S through the runs, or
    given. Writes concentration.csv, concentration.png, result.json.

    Example: alchemlip concentration vacancy-300K vacancy-600K vacancy-900K --to 1500
    """

    command: ClassVar[str] = "concentration"
    unit: ClassVar[str] = "temperatures"

    runs: Runs = []
    enthalpy: Enthalpy = None
    entropy: Entropy = None
    lowest: Lowest = 300.0
    highest: Highest = 1500.0
    points: Temperatures = 25

    @model_validator(mode="after")
    def _says_one_line(self) -> Concentration:
        given = self.enthalpy is not None and self.entropy is not None
        if given == bool(self.runs) or (self.enthalpy is None) != (self.entropy is None):
            raise InputError(
                "it is not clear what vacancies cost: give either the folders of vacancy runs, or "
                "both --enthalpy (eV) and --entropy (k_B)"
            )
        if self.lowest > self.highest:
            raise InputError(
                f"the table has temperatures from {self.lowest:g} to {self.highest:g} K: give the "
                "lower one with --from"
            )
        return self

    def plan(self) -> Plan:
        """Read the runs, if there are any."""
        import numpy as np
        from ase import units

        from alchemlip.freeenergy.concentration import (
            FormationLine,
            concentration_table,
            plot_concentration,
        )

        if self.enthalpy is not None and self.entropy is not None:
            measured: list[tuple[float, float, float]] = []
            line = FormationLine(self.enthalpy, self.entropy * units.kB, np.zeros((2, 2)))
            title = f"H {self.enthalpy:g} eV, S {self.entropy:g} k_B"
        else:
            line, measured, title = _line(self.runs)
        errors = np.sqrt(np.diag(line.covariance))
        results = {
            "enthalpy_eV": line.enthalpy_eV,
            "enthalpy_standard_error_eV": float(errors[0]),
            "entropy_kB": line.entropy_eV_per_K / units.kB,
            "entropy_standard_error_kB": float(errors[1]) / units.kB,
        }

        def compute(store: ResultFolder, progress: Progress) -> None:
            temperatures = np.linspace(self.lowest, self.highest, self.points).tolist()
            rows = concentration_table(line, temperatures)
            store.write_csv("concentration.csv", rows)
            shown = [(t, g) for t, g, _ in measured]
            plot_concentration(rows, store.path / "concentration.png", shown, title)
            store.finish(results, rows)

        inputs = {
            "enthalpy_eV": results["enthalpy_eV"],
            "entropy_kB": results["entropy_kB"],
            "runs": measured,
            "temperatures_K": [self.lowest, self.highest, self.points],
        }
        return Plan(inputs, compute, {"runs": [str(run) for run in self.runs], "title": title})


def _line(
    runs: Sequence[Path],
) -> tuple[FormationLine, list[tuple[float, float, float]], str]:
    """Return G(T) through runs; T (K), G and its error (eV) of each; and what they are of."""
    from alchemlip.freeenergy.concentration import formation_line

    species, potentials, measured = set(), set(), []
    for run in runs:
        record = _finished(run)
        results = record["results"]
        if results["standard_error_eV"] is None:
            raise InputError(
                f"{str(run)!r} has one repeat and so no error: run it with two or more"
            )
        species.add(results["species"])
        potentials.add(record["inputs"]["potential"])
        measured.append(
            (
                float(results["temperature_K"]),
                float(results["free_energy_eV"]),
                float(results["standard_error_eV"]),
            )
        )
    for found, name in ((species, "species"), (potentials, "potentials")):
        if len(found) > 1:
            raise InputError(
                f"the runs are of several {name} ({', '.join(sorted(found))}): give those of one"
            )
    t, g, error = (list(column) for column in zip(*measured, strict=True))
    title = f"{species.pop()} vacancies, {potentials.pop()}"
    return formation_line(t, g, error), measured, title


def _finished(run: Path) -> dict[str, Any]:
    record = read_record(run)
    if record.get("command") != "vacancy" or record.get("status") != "finished":
        raise InputError(
            f"{str(run)!r} is no finished vacancy run ({record.get('command')}, "
            f"{record.get('status')}): finish it first, or leave it out"
        )
    return record
