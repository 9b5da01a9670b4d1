"""``alchemlip concentration``: vacancies in equilibrium against temperature."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli import options as opt
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.freeenergy.concentration import FormationLine

Runs = Annotated[
    list[Path],
    typer.Argument(
        help="Folders of finished 'alchemlip vacancy' runs at two temperatures or more.",
        show_default=False,
    ),
]
Enthalpy = Annotated[
    float | None, typer.Option("--enthalpy", help="Instead of runs: enthalpy of formation, eV.")
]
Entropy = Annotated[
    float | None, typer.Option("--entropy", help="Instead of runs: entropy of formation, k_B.")
]
Lowest = Annotated[float, typer.Option("--from", help="Lowest temperature of the table, K.")]
Highest = Annotated[float, typer.Option("--to", help="Highest temperature of the table, K.")]
Points = Annotated[int, typer.Option("--points", help="Temperatures in the table.")]
OutFolder = Annotated[Path, typer.Option("--out", help="Results folder.")]


def command(
    runs: Runs = [],
    enthalpy: Enthalpy = None,
    entropy: Entropy = None,
    lowest: Lowest = 300.0,
    highest: Highest = 1500.0,
    points: Points = 25,
    out: OutFolder = Path("concentration"),
    settings: opt.Settings = None,
) -> None:
    """Equilibrium concentration of vacancies against temperature.

    Enthalpy and entropy of formation are those of a straight line G = H - T S through the runs, or
    given. Writes concentration.csv, concentration.png, result.json.

    Example: alchemlip concentration vacancy-300K vacancy-600K vacancy-900K --to 1500
    """
    import numpy as np
    from ase import units

    from alchemlip.freeenergy.concentration import (
        FormationLine,
        concentration_table,
        plot_concentration,
    )
    from alchemlip.results import ResultFolder

    given = enthalpy is not None and entropy is not None
    if given == bool(runs) or (enthalpy is None) != (entropy is None):
        raise InputError(
            "give either the folders of vacancy runs, or both --enthalpy (eV) and --entropy (k_B)"
        )
    if not 0 < lowest <= highest or points < 2:
        raise InputError(
            f"the table has {points} temperatures from {lowest:g} to {highest:g} K: give two or "
            "more, and a range of positive temperatures"
        )
    measured: list[tuple[float, float, float]] = []
    if enthalpy is not None and entropy is not None:
        line = FormationLine(enthalpy, entropy * units.kB, np.zeros((2, 2)))
        title = f"H {enthalpy:g} eV, S {entropy:g} k_B"
    else:
        line, measured, title = _line(runs)
    inputs = {
        "enthalpy_eV": line.enthalpy_eV,
        "entropy_kB": line.entropy_eV_per_K / units.kB,
        "runs": measured,
        "temperatures_K": [lowest, highest, points],
    }
    folder = ResultFolder(out, "concentration", inputs, {"runs": [str(run) for run in runs]})
    rows = concentration_table(line, np.linspace(lowest, highest, points).tolist())
    if not folder.finished:
        with folder.noting_failure():
            folder.write_csv("concentration.csv", rows)
            points_shown = [(t, g) for t, g, _ in measured]
            plot_concentration(rows, folder.path / "concentration.png", points_shown, title)
            errors = np.sqrt(np.diag(line.covariance))
            folder.finish(
                {
                    "enthalpy_eV": line.enthalpy_eV,
                    "enthalpy_standard_error_eV": float(errors[0]),
                    "entropy_kB": line.entropy_eV_per_K / units.kB,
                    "entropy_standard_error_kB": float(errors[1]) / units.kB,
                },
                rows,
            )
    _show(rows, folder.record["results"], title, folder.path)


def _line(runs: Sequence[Path]) -> tuple[FormationLine, list[tuple[float, float, float]], str]:
    """Return G(T) through the runs, their points, and what they are of."""
    from alchemlip.freeenergy.concentration import formation_line

    species, potentials, measured = set(), set(), []
    for run in runs:
        record = _record(run)
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


def _record(run: Path) -> dict[str, Any]:
    from alchemlip.results import read_record

    record = read_record(run)
    if record.get("command") != "vacancy" or record.get("status") != "finished":
        raise InputError(
            f"{str(run)!r} is no finished vacancy run ({record.get('command')}, "
            f"{record.get('status')}): finish it first, or leave it out"
        )
    return record


def _show(
    rows: Sequence[dict[str, float]], results: dict[str, Any], title: str, folder: Path
) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("T (K)", "G (eV)", "per site", title=escape(title), title_justify="left")
    for row in rows:
        table.add_row(
            f"{row['temperature_K']:.0f}",
            f"{row['free_energy_eV']:.4f} ± {row['standard_error_eV']:.4f}",
            f"{row['concentration']:.2e}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"H {results['enthalpy_eV']:.4f} ± {results['enthalpy_standard_error_eV']:.4f} eV, "
        f"S {results['entropy_kB']:.2f} ± {results['entropy_standard_error_kB']:.2f} k_B",
        highlight=False,
    )
    console.print(f"Results in [bold]{escape(str(folder))}[/bold]", highlight=False)
