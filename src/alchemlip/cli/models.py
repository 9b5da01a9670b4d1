"""``alchemlip models``: the potentials that are known by name."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

import typer


def command(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List potentials: installed or not, elements covered, weights, licence, checksum."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from alchemlip.backends.registry import known_potentials

    entries = known_potentials()
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
        return
    table = Table(show_header=False, show_lines=True)
    table.add_column(overflow="fold")
    table.add_column(overflow="fold")
    for entry in entries:
        card = entry.card
        if entry.error:
            table.add_row(escape(entry.name), escape(entry.error))
            continue
        if not entry.installed:
            remedy = f"not installed: pip install 'alchemlip[{entry.extra}]'"
            table.add_row(escape(entry.name), escape(remedy))
            continue
        lines = []
        if card is not None:
            lines = [card.kind, f"weights: {card.weights}", f"licence: {card.licence}"]
        if card is not None and card.sha256:
            lines.append(f"sha256: {card.sha256}")
        if entry.elements:
            lines.append(f"{len(entry.elements)} elements: {' '.join(entry.elements)}")
        if entry.note:
            lines.append(entry.note)
        if card is not None:
            lines.append(f"cite: {card.reference}")
        table.add_row(f"[bold]{escape(entry.name)}[/bold]", escape("\n".join(lines)))
    console = Console()
    console.print(table)
    console.print("A path to a SevenNet checkpoint or MACE model works too (with --trust-file).")
