"""Names of potentials: which exist, which are installed, and how each is made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from alchemlip.backends import Backend, ModelCard
from alchemlip.errors import InputError


@dataclass(frozen=True)
class Entry:
    """A line of ``alchemlip models``.

    Attributes:
        name: what `load_potential` takes.
        installed: whether its package is here.
        extra: the extra that installs it.
        card: provenance, if installed.
        note: what else its use needs.
    """

    name: str
    installed: bool
    extra: str
    card: ModelCard | None
    note: str = ""


def known_potentials() -> list[Entry]:
    """Return every potential that alchemlip can load by name."""
    from alchemlip.backends import sevennet

    entries = []
    for name in sevennet.BUNDLED:
        here = sevennet.installed()
        card = sevennet.card(name, sevennet.bundled_file(name)) if here else None
        note = "needs modal= / --modal" if name == "sevennet-mf-0" else ""
        entries.append(Entry(name, here, "sevennet", card, note))
    return entries


def covered_elements(name: str) -> list[str]:
    """Return the symbols of the elements that an installed potential covers."""
    from alchemlip.backends import sevennet
    from alchemlip.species import species_symbol

    return [species_symbol(number) for number in sevennet.covered_numbers(name)]


def make_backend(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    modal: str | None = None,
    trust: bool = False,
) -> Backend:
    """Return the backend of a potential's name or of a local file.

    Raises:
        InputError: if the name is unknown, its package is missing, or a file is not trusted.
    """
    from alchemlip.backends import sevennet

    canonical = sevennet.ALIASES.get(name.lower(), name.lower())
    if canonical in sevennet.BUNDLED:
        file = sevennet.bundled_file(canonical)
        return sevennet.SevenNetBackend(canonical, file, device, dtype, modal)
    path = Path(name)
    if path.is_file():
        if not trust:
            raise InputError(
                f"the file {name!r} is a pickle, and loading one runs any code inside it: if you "
                "trust its origin, pass trust=True (--trust-file)"
            )
        return sevennet.SevenNetBackend(name, path, device, dtype, modal)
    raise InputError(
        f"{name!r} is neither a known potential nor a file: choose one of "
        f"{', '.join(sevennet.BUNDLED)}, or give the path of a SevenNet checkpoint"
    )
