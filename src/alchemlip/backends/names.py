"""Names of potentials, read without loading torch: for shell completion and the list of models."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.metadata import entry_points
from importlib.util import find_spec

GROUP = "alchemlip.backends"
"""Entry points of other packages."""

MIT = "MIT"
ASL = "Academic Software License (no commercial use)"

SEVENNET = {
    "sevennet-0": "SevenNet_0__11Jul2024/checkpoint_sevennet_0.pth",
    "sevennet-0-22may2024": "SevenNet_0__22May2024/checkpoint_sevennet_0.pth",
    "sevennet-l3i5": "SevenNet_l3i5/checkpoint_l3i5.pth",
    "sevennet-mf-0": "SevenNet_MF_0/checkpoint_sevennet_mf_0.pth",
}
"""Checkpoints that travel in the sevenn wheel, below its folder of pretrained potentials."""

CHGNET = {
    "chgnet-0.3.0": "0.3.0/chgnet_0.3.0_e29f68s314m37.pth.tar",
    "chgnet-0.2.0": "0.2.0/chgnet_0.2.0_e30f77s348m32.pth.tar",
    "chgnet-r2scan": "r2scan/chgnet_r2scan_transfer_learning_e15f36s161m23.pth.tar",
}
"""Checkpoints that travel in the chgnet wheel, below its folder ``pretrained``."""

MACE: dict[str, tuple[str, str]] = {
    "mace-mp-small": ("small", MIT),
    "mace-mp-medium": ("medium", MIT),
    "mace-mp-large": ("large", MIT),
    "mace-mp-small-0b": ("small-0b", MIT),
    "mace-mp-medium-0b": ("medium-0b", MIT),
    "mace-mp-small-0b2": ("small-0b2", MIT),
    "mace-mp-medium-0b2": ("medium-0b2", MIT),
    "mace-mp-large-0b2": ("large-0b2", MIT),
    "mace-mp-medium-0b3": ("medium-0b3", MIT),
    "mace-mpa-0-medium": ("medium-mpa-0", MIT),
    "mace-omat-0-small": ("small-omat-0", ASL),
    "mace-omat-0-medium": ("medium-omat-0", ASL),
    "mace-matpes-pbe-0": ("mace-matpes-pbe-0", ASL),
    "mace-matpes-r2scan-0": ("mace-matpes-r2scan-0", ASL),
    "mace-mh-0": ("mh-0", "see its release page"),
    "mace-mh-1": ("mh-1", "see its release page"),
    "mace-off-small": ("off:small", ASL),
    "mace-off-medium": ("off:medium", ASL),
    "mace-off-large": ("off:large", ASL),
}
"""alchemlip's name -> (the name in mace's own loader, licence of the weights)."""

ALIASES = {
    "7net-0": "sevennet-0",
    "7net-0_11july2024": "sevennet-0",
    "sevennet-0_11july2024": "sevennet-0",
    "7net-0_22may2024": "sevennet-0-22may2024",
    "sevennet-0_22may2024": "sevennet-0-22may2024",
    "7net-l3i5": "sevennet-l3i5",
    "7net-mf-0": "sevennet-mf-0",
    "chgnet": "chgnet-0.3.0",
    "chgnet-mptrj": "chgnet-0.3.0",
}

EXAMPLE_VARIANTS = {"sevennet-mf-0": "PBE"}
"""A fidelity of each potential that has several and travels in a wheel."""


def known_names() -> tuple[str, ...]:
    """Return the name of every potential that can be loaded by name."""
    return (*SEVENNET, *CHGNET, *MACE)


def is_known(name: str) -> bool:
    """Whether a name, a fidelity or head behind it or not, is that of a potential of a package."""
    names = {*known_names(), *ALIASES}
    names |= {item.name.lower() for item in entry_points(group=GROUP)}
    lower = name.lower()
    return lower in names or lower.rpartition("@")[0] in names


def closest_names(name: str) -> list[str]:
    """Return known names, at most three, that begin or are spelt like this one."""
    begun = [known for known in known_names() if name and known.startswith(name.lower())]
    spelt = get_close_matches(name.lower(), (*known_names(), *ALIASES), n=2, cutoff=0.7)
    return list(dict.fromkeys(ALIASES.get(match, match) for match in begun or spelt))[:3]


def missing_package(name: str, package: str, extra: str) -> str:
    """Return the sentence that says which package a potential needs, and how to get it."""
    other = {"sevennet": "mace", "mace": "sevenn"}.get(extra)
    beside = ""
    if other is not None and find_spec(other) is not None:
        beside = f", in another environment, since {package} and the {other} here need different "
        beside += "versions of e3nn"
    return (
        f"the potential {name!r} needs the package {package}: "
        f"pip install 'alchemlip[{extra}]'{beside}"
    )
