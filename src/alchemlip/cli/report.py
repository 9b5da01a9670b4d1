"""``alchemlip report``: a run or a campaign as one HTML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Folder = Annotated[
    Path, typer.Argument(help="Results folder of a run, finished or not, or of a campaign.")
]
File = Annotated[
    Path | None, typer.Option("--out", help="The page.", show_default="FOLDER/report.html")
]


def command(folder: Folder, out: File = None) -> None:
    """Write a page with the result, interactive plots, the structure and how to run it again.

    One HTML file that needs no network. Needs the extra [report].

    Example: alchemlip report transmute-CsPbI3 --out CsPbI3.html
    """
    from alchemlip.reporting import write_report

    file = write_report(folder, out)
    typer.echo(f"Report in {file} ({file.stat().st_size / 1e6:.1f} MB)")
