"""Names of potentials: which exist, which are installed, and how each is made."""

from __future__ import annotations

import pickletools
import zipfile
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import IO, Any

import torch

from alchemlip.backends import Backend, ModelCard
from alchemlip.backends.names import (
    ALIASES,
    CHGNET,
    MACE,
    SEVENNET,
    closest_names,
    is_known,
    known_names,
)
from alchemlip.backends.plugins import load_factory, make_registered, package_of, registered
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
        error: why it cannot be used although it is installed; one sentence.
    """

    name: str
    installed: bool
    extra: str
    card: ModelCard | None
    elements: tuple[str, ...]
    note: str = ""
    error: str = ""


def known_potentials() -> list[Entry]:
    """Return every potential that alchemlip can load by name."""
    from alchemlip.backends import chgnet, mace_files, sevennet
    from alchemlip.mixture.species import species_symbol

    entries = []
    here = sevennet.installed()
    for name in SEVENNET:
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
    here = chgnet.installed()
    symbols = tuple(species_symbol(number) for number in range(1, chgnet.N_ELEMENTS + 1))
    for name in CHGNET:
        released = chgnet.card(name, chgnet.bundled_file(name)) if here else None
        entries.append(Entry(name, here, "chgnet", released, symbols if here else ()))
    here = mace_files.installed()
    for name in MACE:
        card = mace_files.card(name, None) if here else None
        note = "downloaded by mace on first use"
        if name.startswith("mace-mh"):
            note += "; needs head= / --head"
        entries.append(Entry(name, here, "mace", card, (), note))
    return entries + [_registered_entry(name, items) for name, items in registered().items()]


def _registered_entry(name: str, items: list[EntryPoint]) -> Entry:
    """Return the line of a potential that another package brings."""
    from alchemlip.mixture.species import species_symbol

    package = " and ".join(package_of(item) for item in items)
    try:
        factory = load_factory(name, items, (*known_names(), *ALIASES))
    except InputError as error:
        return Entry(name, True, "", None, (), f"package {package}", str(error))
    card = getattr(factory, "card", None)
    numbers = getattr(factory, "numbers", None)
    symbols: tuple[str, ...] = ()
    if isinstance(numbers, frozenset | set | list | tuple | range):
        symbols = tuple(species_symbol(int(number)) for number in sorted(numbers))
    known = card if isinstance(card, ModelCard) else None
    return Entry(name, True, "", known, symbols, f"package {package}")


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
    from alchemlip.backends import chgnet, mace, sevennet

    plain, variant = _variant(name)
    others = _of_other_packages(plain)
    if others:
        chosen = _only_variant(plain, variant, modal, head)
        return make_registered(plain.lower(), others, device, dtype, chosen)
    found = _resolve(name, trust)
    modal, head = _modal_and_head(found.kind, found.name, found.variant, modal, head)
    if found.kind == "SevenNet":
        return sevennet.SevenNetBackend(found.name, found.file, device, dtype, modal)
    if found.kind == "CHGNet":
        return chgnet.CHGNetBackend(found.name, found.file, device, dtype)
    return mace.MACEBackend(found.name, found.file, device, dtype, head)


def own_calculator(name: str, trust: bool = False) -> Any:
    """Return the ASE calculator that a potential's own package makes, on the CPU.

    Args:
        name: of the potential, its fidelity or head behind it, or a local file.
        trust: allow a local file.

    Raises:
        InputError: as `make_backend` does.
    """
    from alchemlip.backends import own_calculators

    if _of_other_packages(_variant(name)[0]):
        raise InputError(
            f"the potential {name!r} comes from a package that registers no calculator of its own: "
            "compare it with that package's by hand"
        )
    found = _resolve(name, trust)
    modal, head = _modal_and_head(found.kind, found.name, found.variant, None, None)
    if found.kind == "SevenNet":
        return own_calculators.sevennet_calculator(found.file, modal)
    if found.kind == "CHGNet":
        return own_calculators.chgnet_calculator(found.name, found.file)
    return own_calculators.mace_calculator(found.file, head)


def _of_other_packages(name: str) -> list[EntryPoint]:
    """Return the entry points of a name; none for alchemlip's own names, which come first."""
    lower = name.lower()
    return [] if lower in (*known_names(), *ALIASES) else registered().get(lower, [])


@dataclass(frozen=True)
class _Found:
    """What a name stands for."""

    kind: str
    name: str
    file: Path
    variant: str | None


def _resolve(name: str, trust: bool) -> _Found:
    """Return what a known name, an alias or the path of a local file stands for."""
    from alchemlip.backends import chgnet, mace_files, sevennet

    name, variant = _variant(name)
    canonical = ALIASES.get(name.lower(), name.lower())
    path = Path(name)
    if canonical in SEVENNET:
        return _Found("SevenNet", canonical, sevennet.bundled_file(canonical), variant)
    if canonical in CHGNET:
        return _Found("CHGNet", canonical, chgnet.bundled_file(canonical), variant)
    if canonical in MACE:
        return _Found("MACE", canonical, mace_files.released_file(canonical), variant)
    if not path.is_file():
        close = closest_names(name)
        meant = f" (did you mean {' or '.join(close)}?)" if close else ""
        raise InputError(
            f"{name!r} is neither a known potential nor a file{meant}: take a name that "
            "'alchemlip models' lists, or the path of a SevenNet, CHGNet or MACE model"
        )
    kind = _kind(path)
    if kind != "CHGNet" and not trust:  # CHGNet's are read without running anything
        raise InputError(
            f"the file {name!r} is a pickle, and loading one runs any code inside it: if you "
            "trust its origin, pass trust=True (--trust-file)"
        )
    return _Found(kind, name, path, variant)


def _variant(name: str) -> tuple[str, str | None]:
    """Split ``name@variant``; a file's name may hold any sign, but a known name comes first."""
    if "@" not in name or (not is_known(name) and Path(name).is_file()):
        return name, None
    name, _, variant = name.rpartition("@")
    return name, variant


def _only_variant(
    name: str, variant: str | None, modal: str | None, head: str | None
) -> str | None:
    """Return the variant that is named behind the name, as a fidelity or as a head."""
    named = [value for value in (variant, modal, head) if value is not None]
    if len(named) > 1:
        raise InputError(f"the variant of {name!r} is given twice: write it behind the name alone")
    return named[0] if named else None


def _modal_and_head(
    kind: str, name: str, variant: str | None, modal: str | None, head: str | None
) -> tuple[str | None, str | None]:
    """Return fidelity and head, checked to fit the kind of model."""
    if variant is not None:
        if modal or head:
            raise InputError(
                f"the fidelity or head of {name!r} is given twice: write it behind the name or as "
                "an option"
            )
        modal, head = (None, variant) if kind == "MACE" else (variant, None)
    if kind != "MACE" and head is not None:
        raise InputError(f"the potential {name!r} has no heads: leave out head={head!r} (--head)")
    if kind == "MACE" and modal is not None:
        raise InputError(
            f"the potential {name!r} has heads, not fidelities: use head= (--head) instead of "
            f"modal={modal!r}"
        )
    if kind == "CHGNet" and modal is not None:
        raise InputError(f"the potential {name!r} has one fidelity: leave out {modal!r} (--modal)")
    return modal, head


def _kind(file: Path) -> str:
    """Tell a model's kind by what its pickle names, without running or unpacking anything."""
    if file.suffix == ".model":
        return "MACE"
    try:
        with zipfile.ZipFile(file) as archive:
            items = archive.infolist()
            if sum(item.file_size for item in items) > file.stat().st_size:
                # torch compresses nothing.
                raise InputError(
                    f"{str(file)!r} would unpack to more than it has, as no model does: fetch the "
                    "model again from where it was published"
                )
            pickle = next(item for item in items if item.filename.endswith("data.pkl"))
            with archive.open(pickle) as content:
                return _kind_named_in(content)
    except InputError:
        raise
    except Exception:  # whatever a damaged file makes of the readers
        return "SevenNet"  # an older format of torch; its loader says what is wrong with others


def _kind_named_in(pickle: IO[bytes]) -> str:
    for operation, argument, _ in pickletools.genops(pickle):
        if operation.name == "GLOBAL" and str(argument).startswith("mace."):
            return "MACE"
        if argument == "bond_conv_layers.0.mlp_out.layers.1.weight":
            return "CHGNet"
    return "SevenNet"
