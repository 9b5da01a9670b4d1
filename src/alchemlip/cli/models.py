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

    from alchemlip.backends.registry import covered_elements, known_potentials

    entries = known_potentials()
    covered = {e.name: covered_elements(e.name) if e.installed else [] for e in entries}
    if as_json:
        print(json.dumps([{**asdict(e), "elements": covered[e.name]} for e in entries], indent=1))
        return
    table = Table(show_header=False, show_lines=True)
    for entry in entries:
        card = entry.card
        if card is None:
            remedy = f"not installed: pip install 'alchemlip[{entry.extra}]'"
            table.add_row(entry.name, escape(remedy))
            continue
        lines = (
            f"{card.kind}, {len(covered[entry.name])} elements",
            f"weights: {card.weights}",
            f"licence: {card.licence}",
            f"sha256: {card.sha256}",
            f"cite: {card.reference}",
        )
        name = f"[bold]{entry.name}[/bold]" + (f"\n{entry.note}" if entry.note else "")
        table.add_row(name, escape("\n".join(lines)))
    console = Console()
    console.print(table)
    console.print("A path to a SevenNet checkpoint is a model too (with --trust-file).")
