"""At which level of theory a number of mixing or ordering stands, and which way that errs.

    level = mixing_level(relaxed=False)
    level.name, level.errs

What is printed beside gaps, critical temperatures and free energies of mixing, so that none is read
without it. The factors are those of the benchmarks (SevenNet-0; benchmarks/mixing.md, ordering.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Level:
    """A level of theory.

    Attributes:
        name: what is in it and what is not.
        errs: which way that errs, with a measured case, and what is better.
    """

    name: str
    errs: str

    def to_dict(self, prefix: str = "") -> dict[str, str]:
        """Return plain values for the flat results of a record."""
        return {
            f"{prefix}level_of_theory": self.name,
            f"{prefix}level_of_theory_errs": self.errs,
        }


def mixing_level(relaxed: bool, vibrations: bool = False) -> Level:
    """Return the level of a random alloy's free energy of mixing.

    Args:
        relaxed: with the energy of local relaxation; otherwise atoms sit at the ideal sites.
        vibrations: with those of the mean-field crystal.
    """
    sites = "local relaxation to second order" if relaxed else "ideal sites"
    if vibrations:
        return Level(
            f"{sites}, ideal entropy, vibrations of the averaged crystal",
            "no short-range order, and an averaged crystal's vibrations can raise a gap that those "
            "of real arrangements lower (NaCl-KCl: top of the gap 1630 K with the former, 974 K "
            "with the latter, 765 K measured): compare with those of relaxed supercells",
        )
    if relaxed:
        return Level(
            f"{sites}, ideal entropy, no vibrations",
            "a gap comes out too wide and closes too high (NaCl-KCl: 1502 K, 765 K measured), as "
            "short-range order and vibrations are left out: compare with explicit supercells "
            "(--explicit, --explicit-relax) and their vibrations",
        )
    return Level(
        f"{sites}, ideal entropy, no vibrations",
        "a gap comes out far too wide and closes too high (NaCl-KCl: 2398 K, 1502 K with local "
        "relaxation, 765 K measured), as local relaxation, short-range order and vibrations are "
        "left out: --local-relaxation is better",
    )


def level_of_disorder(results: Mapping[str, Any]) -> Level:
    """Return the level of a recorded ``disorder`` run, of earlier versions too."""
    return mixing_level(bool(results.get("free_energy_includes_local_relaxation")))


def scan_level(correlation: str) -> Level:
    """Return the level of the mixing energies of a scan.

    Args:
        correlation: of the scanned group.
    """
    if correlation == "concerted":
        return Level(
            "all sites change together, at rest",
            "this is a path between the pure crystals and no solid solution: for one, leave out "
            "--concerted",
        )
    return Level(
        "mean field, ideal sites, at rest",
        "each site feels the average of its neighbours: fluctuations, local relaxation and entropy "
        "are left out, and mixing looks too costly (NaCl-KCl: top of the gap 2388 K from such "
        "energies, 765 K measured): 'alchemlip disorder' is better",
    )


def ordering_level(relaxed: bool, separates: bool = False) -> Level:
    """Return the level of a transition temperature from pair interactions.

    Args:
        relaxed: with the size effect; otherwise atoms sit at the ideal sites.
        separates: whether the wave is phase separation.
    """
    if relaxed:
        return Level(
            "mean field, size effect, no vibrations",
            "mean field comes out too high, 1.2 to 2.5 times on the same interactions",
        )
    missing = (
        "at ideal sites separation comes out far too low (NaCl-KCl: 36 K, 1108 K with the size "
        "effect, about 770 K measured)"
        if separates
        else "mean field at ideal sites comes out too high (Cu-Au: 1434 K, 662 K with the size "
        "effect, 683 K measured)"
    )
    return Level("mean field, ideal sites, no vibrations", f"{missing}: --size-effect is better")


def level_of_ordering(results: Mapping[str, Any]) -> Level:
    """Return the level of a recorded ``order`` run, of earlier versions too."""
    waves = results.get("ordering_waves") or [{}]
    return ordering_level(
        bool(results.get("size_effect")), bool(waves[0].get("phase_separation", False))
    )
