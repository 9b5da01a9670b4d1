"""What sits where, from the texts of settings: ``Ce=Ce0.7Zr0.3`` and the like."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemlip.calculations.exclusive import with_exclusive_by_options
from alchemlip.calculations.texts import parse_sites, split_text
from alchemlip.errors import InputError, StructureWarning

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture


@dataclass(frozen=True)
class Scanned:
    """A group over which a scan runs, and its species."""

    group: str
    species: list[str]


@dataclass(frozen=True)
class Prepared:
    """What settings say of a structure.

    Attributes:
        mixture: every site with a composition.
        scanned: groups that were given as lists of species.
        notes: what is to be checked in the structure's file.
    """

    mixture: Mixture
    scanned: list[Scanned]
    notes: list[str]


def prepare_mixture(
    structure: Path,
    mix: Sequence[str],
    groups: Sequence[str],
    concerted: Sequence[str],
    normalise: bool,
    exclusive: Sequence[str] = (),
    block: str | None = None,
    accept_composition: bool = False,
) -> Prepared:
    """Return the mixture that the settings describe, and warn of what is to be checked.

    Args:
        structure: the file.
        mix, groups, concerted, exclusive: as texts.
        normalise: divide weights by their sum.
        block: of a CIF.
        accept_composition: read a CIF although an element of its formula is missing.

    Raises:
        InputError: if the file or a text cannot be read.
    """
    from alchemlip.mixture.structure_files import read_with_notes

    mixture, notes = read_with_notes(
        structure, normalise=normalise, block=block, accept_composition=accept_composition
    )
    for note in notes:
        warnings.warn(note, StructureWarning, stacklevel=2)
    mixture, scanned = mixed_by_options(mixture, mix, groups, normalise, "--mix")
    mixture = _with_correlations(mixture, concerted)
    return Prepared(with_exclusive_by_options(mixture, exclusive), scanned, notes)


def mixed_by_options(
    mixture: Mixture, mix: Sequence[str], groups: Sequence[str], normalise: bool, option: str
) -> tuple[Mixture, list[Scanned]]:
    """Return a mixture with further groups, and those of them given as species lists.

    Args:
        mixture: as it is.
        mix: ``SELECTION=FORMULA``, or ``SELECTION=A,B`` for a species list.
        groups: ``NAME=SITES``.
        normalise: divide weights by their sum.
        option: what ``mix`` is called on the command line.
    """
    from alchemlip.mixture.species import parse_composition, parse_species

    named = {}
    for text in groups:
        name, sites = split_text(text, "--group", "cations=0,2-5")
        if name in named:
            raise InputError(f"--group names {name!r} twice: give every group its own name")
        named[name] = parse_sites(sites)
    compositions: dict[Any, Mapping[str, float]] = {}
    scanned = []
    known = {group.name for group in mixture.groups} | set(named)
    for text in mix:
        left, right = split_text(text, option, "Ce=Ce0.7Zr0.3")
        selection: Any = left
        if left not in known and left[:1].isdecimal():
            selection = tuple(parse_sites(left))
        name = left if isinstance(selection, str) else ",".join(map(str, selection))
        if selection in compositions:
            raise InputError(f"{option} names {left!r} twice: give every selection once")
        if "," in right:
            species = parse_species(right)
            scanned.append(Scanned(name, species))
            compositions[selection] = dict.fromkeys(species, 1.0 / len(species))
        else:
            compositions[selection] = parse_composition(right, normalise)
    return mixture.mixed(compositions, groups=named, normalise=normalise), scanned


def _with_correlations(mixture: Mixture, concerted: Sequence[str]) -> Mixture:
    from dataclasses import replace

    chosen = set(concerted)
    if "all" in chosen:
        chosen = {group.name for group in mixture.groups}
    for name in chosen:
        mixture.group(name)
    groups = tuple(
        replace(group, correlation="concerted") if group.name in chosen else group
        for group in mixture.groups
    )
    return replace(mixture, groups=groups)


def refuse_scanned(scanned: Sequence[Scanned]) -> None:
    """Refuse a list of species where a composition is needed."""
    if scanned:
        first = scanned[0]
        raise InputError(
            f"--mix {first.group}={','.join(first.species)} lists species without weights: write "
            "a formula such as Ce0.7Zr0.3, or use 'alchemlip scan'"
        )
