"""What the shell completes: names of potentials, and folders of campaigns. Loads nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path


def complete_model(incomplete: str) -> Iterator[str]:
    """Yield the known potentials whose name begins so, or else matching files and folders."""
    from alchemlip.backends.names import known_names

    known = [name for name in known_names() if name.startswith(incomplete.lower())]
    yield from known or _paths(incomplete)


def complete_campaign(incomplete: str) -> Iterator[str]:
    """Yield folders that begin so: those of campaigns, and those to look for one in."""
    from alchemlip.campaigns.folder import CAMPAIGN

    for text in _paths(incomplete):
        if Path(text).is_dir():
            yield text.rstrip("/") if (Path(text) / CAMPAIGN).is_file() else text


def _paths(incomplete: str) -> Iterator[str]:
    """Yield paths that begin so, as they would be typed; a folder ends in a slash."""
    typed, slash, begun = incomplete.rpartition("/")
    folder = Path(typed + slash or ".").expanduser()
    try:
        items = sorted(folder.iterdir())
    except OSError:
        return
    for item in items:
        if item.name.startswith(begun) and (begun or not item.name.startswith(".")):
            yield f"{typed}{slash}{item.name}" + ("/" if item.is_dir() else "")
