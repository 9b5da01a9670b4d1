"""A scan in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from alchemlip.cli.show import show_place, show_warnings, warn_unconverged

if TYPE_CHECKING:
    from alchemlip.calculations.result import Result


def show(result: Result) -> None:
    """Print how the points ended."""
    found = result.results
    Console().print(
        f"{found['n_converged']} of {found['n_points']} points converged, "
        f"{found['evaluations']} evaluations."
    )
    if found["n_converged"] < found["n_points"]:
        warn_unconverged("some points (marked in the picture)")
    show_warnings(result.record)
    show_place(result.folder, "scan.png")
