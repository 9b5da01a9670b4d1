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
        errs: which way that errs, with a measured case.
        better: what is better.
    """

    name: str
    errs: str
    better: str

    def beside(self) -> str:
        """Return what stands in one line with a number."""
        return f"{self.name}: {self.errs}"

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
    own = "compare with explicit supercells and their own vibrations (NaCl-KCl: 974 K)"
    if vibrations:
        return Level(
            f"{sites}, ideal entropy, vibrations of the averaged crystal",
            "a gap can come out too wide and close too high (NaCl-KCl: 1630 K, measured 765 K)",
            own,
        )
    if relaxed:
        return Level(
            f"{sites}, ideal entropy, no vibrations",
            "a gap comes out too wide and closes too high (NaCl-KCl: 1502 K, measured 765 K)",
            own,
        )
    return Level(
        f"{sites}, ideal entropy, no vibrations",
        "a gap comes out far too wide and closes too high (NaCl-KCl: 2398 K, measured 765 K)",
        "--local-relaxation takes atoms off the ideal sites (NaCl-KCl: 1502 K)",
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
            "a path between the pure crystals, no solid solution",
            "without --concerted the sites are those of a solid solution",
        )
    return Level(
        "mean field, at rest",
        "a solid solution has fluctuations (CeO2-ZrO2: +14 meV/site at 1/2) and local relaxation "
        "(NaCl-KCl: -19), which are left out",
        "'alchemlip disorder --local-relaxation' adds both",
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
            "comes out too high, as mean field does: 1.4 to 2.5 times Monte Carlo at fixed sites",
            "Monte Carlo on the same interactions (alchemlip.disorder.monte_carlo)",
        )
    errs = (
        "comes out far too low (NaCl-KCl: 36 K, 1108 K with the size effect, measured about 770 K)"
        if separates
        else "comes out too high (Cu-Au: 1434 K, 662 K with the size effect, measured 683 K)"
    )
    return Level(
        "mean field, ideal sites, no vibrations", errs, "--size-effect lets the atoms relax"
    )


def level_of_ordering(results: Mapping[str, Any]) -> Level:
    """Return the level of a recorded ``order`` run, of earlier versions too."""
    waves = results.get("ordering_waves") or [{}]
    return ordering_level(
        bool(results.get("size_effect")), bool(waves[0].get("phase_separation", False))
    )
