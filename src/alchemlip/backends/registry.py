"""Names of potentials: which exist, which are installed, and how each is made."""

from __future__ import annotations

import pickletools
import zipfile
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
        card: provenance, if the package is here.
        elements: symbols of the elements covered, where they can be told without a download.
        note: what else its use needs.
    """

    name: str
    installed: bool
    extra: str
    card: ModelCard | None
    elements: tuple[str, ...]
    note: str = ""


def known_potentials() -> list[Entry]:
    """Return every potential that alchemlip can load by name."""
    from alchemlip.backends import mace_files, sevennet
    from alchemlip.species import species_symbol

    entries = []
    here = sevennet.installed()
    for name in sevennet.BUNDLED:
        numbers = sevennet.covered_numbers(name) if here else []
        entries.append(
            Entry(
                name,
                here,
                "sevennet",
                sevennet.card(name, sevennet.bundled_file(name)) if here else None,
                tuple(species_symbol(number) for number in numbers),
                "needs modal= / --modal" if name == "sevennet-mf-0" else "",
            )
        )
    here = mace_files.installed()
    for name in mace_files.RELEASED:
        card = mace_files.card(name, None) if here else None
        note = "downloaded by mace on first use"
        if name.startswith("mace-mh"):
            note += "; needs head= / --head"
        entries.append(Entry(name, here, "mace", card, (), note))
    return entries


def make_backend(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    modal: str | None = None,
    head: str | None = None,
    trust: bool = False,
) -> Backend:
    """Return the backend of a potential's name or of a local file.

    Raises:
        InputError: if the name is unknown, its package is missing, an option does not belong to
            its kind, or a file is not trusted.
    """
    from alchemlip.backends import mace, mace_files, sevennet

    canonical = sevennet.ALIASES.get(name.lower(), name.lower())
    path = Path(name)
    kind = ""
    if canonical in sevennet.BUNDLED:
        kind, name, path = "SevenNet", canonical, sevennet.bundled_file(canonical)
    elif canonical in mace_files.RELEASED:
        kind, name, path = "MACE", canonical, mace_files.released_file(canonical)
    elif path.is_file():
        if not trust:
            raise InputError(
                f"the file {name!r} is a pickle, and loading one runs any code inside it: if you "
                "trust its origin, pass trust=True (--trust-file)"
            )
        kind = "MACE" if _holds_mace(path) else "SevenNet"
    if kind == "SevenNet":
        if head is not None:
            raise InputError(f"the potential {name!r} has no heads: leave out head={head!r}")
        return sevennet.SevenNetBackend(name, path, device, dtype, modal)
    if kind == "MACE":
        if modal is not None:
            raise InputError(
                f"the potential {name!r} has heads, not fidelities: use head= (--head) instead of "
                f"modal={modal!r}"
            )
        return mace.MACEBackend(name, path, device, dtype, head)
    if canonical.startswith("chgnet"):
        raise InputError(f"the potential {name!r} is not supported yet: choose another")
    known = ", ".join((*sevennet.BUNDLED, *mace_files.RELEASED))
    raise InputError(
        f"{name!r} is neither a known potential nor a file: choose one of {known}, or give the "
        "path of a SevenNet checkpoint or MACE model"
    )


def _holds_mace(file: Path) -> bool:
    """Tell a MACE model by the classes that its pickle names, without running the pickle."""
    if file.suffix == ".model":
        return True
    try:
        with zipfile.ZipFile(file) as archive:
            pickle = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            content = archive.read(pickle)
        return any(
            operation.name == "GLOBAL" and str(argument).startswith("mace.")
            for operation, argument, _ in pickletools.genops(content)
        )
    except (zipfile.BadZipFile, StopIteration, ValueError):
        return False
