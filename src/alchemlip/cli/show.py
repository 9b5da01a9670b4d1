"""Records as tables in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result

LINES = (
    ("energy_eV", "energy", "eV", "{:.6f}"),
    ("energy_eV_per_atom", "energy per site", "eV", "{:.6f}"),
    ("external_pressure_GPa", "external pressure", "GPa", "{:g}"),
    ("enthalpy_eV_per_atom", "enthalpy per site", "eV", "{:.6f}"),
    ("n_sites", "sites", "", "{}"),
    ("n_atoms", "atoms", "", "{:g}"),
    ("a_A", "a", "Å", "{:.5f}"),
    ("b_A", "b", "Å", "{:.5f}"),
    ("c_A", "c", "Å", "{:.5f}"),
    ("alpha_deg", "alpha", "°", "{:.3f}"),
    ("beta_deg", "beta", "°", "{:.3f}"),
    ("gamma_deg", "gamma", "°", "{:.3f}"),
    ("volume_A3", "volume", "Å³", "{:.4f}"),
    ("space_group", "space group", "", "{}"),
    ("max_force_eV_per_A", "largest force", "eV/Å", "{:.2e}"),
    ("pressure_GPa", "pressure", "GPa", "{:.4f}"),
    ("max_stress_deviation_GPa", "largest stress deviation", "GPa", "{:.2e}"),
    ("largest_magnetic_moment_muB", "largest magnetic moment", "μB", "{:.3f}"),
    ("evaluations", "evaluations", "", "{}"),
    ("seconds", "wall time", "s", "{:.1f}"),
)


def show_record(record: Mapping[str, Any], title: str, folder: Path) -> None:
    """Print a record of `alchemlip.crystal.report` as a table."""
    console = Console()
    table = Table(title=escape(title), show_header=False, title_justify="left")
    for key, name, unit, form in LINES:
        if key in record and record[key] is not None:
            spread = record.get(f"{key}_spread")
            error = "" if spread is None else f" ± {form.format(spread)}"
            table.add_row(name, form.format(record[key]) + error, unit)
    if "energy_eV" not in record:  # of no single structure: what there is, by its name
        known = {line[0] for line in LINES}
        for key, value in record.items():
            if key not in known and isinstance(value, int | float | str) and value != "":
                shown = f"{value:.6g}" if isinstance(value, float) else str(value)
                table.add_row(escape(key.replace("_", " ")), escape(shown), "")
    spreads = record.get("composition_gradient_eV_spread", {})
    for label, value in record.get("composition_gradient_eV", {}).items():
        error = f" ± {spreads[label]:.6f}" if label in spreads else ""
        table.add_row(escape(f"dE/dx  {label}"), f"{value:.6f}{error}", "eV")
    if "forces_eV_per_A_spread" in record:
        error = f"{record['forces_eV_per_A_spread']:.2e}"
        table.add_row("largest spread of a force", error, "eV/Å")
    console.print(table)
    console.print(f"Results in [bold]{escape(str(folder))}[/bold]", highlight=False)


def warn_unconverged(what: str) -> None:
    """Say that a relaxation ended without reaching its limits."""
    Console(stderr=True).print(
        f"[yellow]Not converged: {what} ran out of steps; raise --max-steps, or relax --fmax and "
        "--smax.[/yellow]"
    )


def show_outdated(result: Result) -> None:
    """Print what has changed in the formulas since a run was finished."""
    if result.outdated:
        Console(stderr=True).print(
            "[yellow]Warning: this run was finished by an earlier version, and since then "
            f"{escape('; '.join(result.outdated))}: name a new folder (--out) to compute it "
            "anew.[/yellow]",
            highlight=False,
            soft_wrap=True,
        )


def show_warnings(record: Mapping[str, Any]) -> None:
    """Print what ``result.json`` says should not be trusted.

    Args:
        record: the content of ``result.json``.
    """
    read = record.get("source", {}).get("structure_warnings", ())  # printed when it was read
    print_warnings([sentence for sentence in record.get("warnings", ()) if sentence not in read])


def print_warnings(sentences: Sequence[str]) -> None:
    """Print sentences about what should not be trusted."""
    for sentence in sentences:
        Console(stderr=True).print(
            f"[yellow]Warning: {escape(sentence)}.[/yellow]", highlight=False, soft_wrap=True
        )


def show_result(result: Result) -> None:
    """Print the main results as a table, where they are, and what not to trust."""
    record = result.record
    file = Path(str(record.get("source", {}).get("structure_file") or result.folder)).name
    relaxed = "converged" in result.results
    potential = result.inputs.get("potential")
    words = f", {'relaxed with ' if relaxed else ''}{potential}" if potential else ""
    show_record(result.results, file + words, result.folder)
    show_warnings(record)
    if relaxed and not result.results["converged"]:
        warn_unconverged("the relaxation")


def show_place(folder: Path, picture: str | None = None) -> None:
    """Print where the results are.

    Args:
        folder: of the results.
        picture: file in it, if there is one.
    """
    drawn = "" if picture is None else f", picture {escape(str(folder / picture))}"
    Console().print(f"Results in [bold]{escape(str(folder))}[/bold]{drawn}", highlight=False)
