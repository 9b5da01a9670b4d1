"""Warnings where a result should not be trusted: geometries and disagreements that are far out.

    for sentence in distance_warnings(mixture): ...

An element that a potential does not cover is an error (`AlchemicalPotential.check`). What is here
is rarer and softer: sites so close that no potential can have been trained there, and members of an
ensemble that differ by as much as what they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.mixture.groups import Group
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY_NUMBER, element_number, species_symbol

SHORTEST_BOND = 0.6
"""Of the sum of two covalent radii (B. Cordero et al., Dalton Trans. 2008, 2832; as in ASE).

The radii are fitted to measured bond lengths, so single bonds are near 1; the triple bonds of N2
and CO are near 0.78 (1.10 and 1.13 A over 1.42 A), and the shortest metal-metal bonds known, of two
Cr at about 1.7 A, at 0.61.
"""
MAGNETIC = ("Cr", "Mn", "Fe", "Co", "Ni")
"""3d metals whose alloys are magnetic."""
ANIONS = ("N", "O", "F", "S", "Cl", "Se", "Br", "Te", "I")
"""Elements whose compounds are no alloys."""
KNOWN_MISTAKE = "bcc Fe-Cr at 1/2: -25 meV/site by SevenNet-0, about +60 measured"
"""Measured at 1529 K: Dench, Trans. Faraday Soc. 59, 1279 (1963)."""
LARGE_SPREAD = 0.5
"""Of the value, at which a standard deviation over an ensemble is large."""
NOTABLE_FORCE = 0.1
"""In eV/A: a smaller spread of forces is within what such potentials are off by."""
NOTABLE_MIXING_ENERGY = 0.005
"""In eV per site: a smaller spread of mixing energies changes few conclusions."""


def distance_warnings(mixture: Mixture) -> list[str]:
    """Return one sentence if two sites that can be occupied at once are too close; else nothing.

    The measure is the distance over the sum of the covalent radii of the smallest species that can
    sit there together, below `SHORTEST_BOND`. Split sites of a disordered CIF are told in this way,
    unless they exclude one another.

    Args:
        mixture: the structure.
    """
    found = closest_contact(mixture, SHORTEST_BOND)
    if found is None:
        return []
    ratio, i, j, distance, first, second = found
    return [
        f"sites {i} ({first}) and {j} ({second}) are {distance:.2f} Å apart, {ratio:.2f} of the "
        f"sum of their covalent radii; known bonds are above {SHORTEST_BOND:g}, so no potential "
        "was trained there: correct the structure, or, if at most one of them is filled, say so "
        "with Mixture.with_exclusive() (--exclusive auto)"
    ]


def mixture_warnings(mixture: Mixture) -> list[str]:
    """Return what is implausible of a mixture: its distances, and its magnetic metals."""
    return [*distance_warnings(mixture), *magnetic_warnings(mixture)]


def magnetic_warnings(mixture: Mixture) -> list[str]:
    """Return one sentence if an alloy mixes two or more magnetic 3d metals; else nothing.

    Compounds with oxygen, sulphur, a halogen and the like are no alloys. Species of weight 0 count,
    as they do where a composition is scanned or designed.

    Args:
        mixture: the structure.
    """
    names = {
        str(species_symbol(number))
        for number in [*mixture.numbers.tolist(), *mixture.nodes.number.tolist()]
        if number != VACANCY_NUMBER
    }
    mixed = [
        {str(species_symbol(number)) for number in np.unique(group.species).tolist()}
        for group in mixture.groups
        if len(group.components) > 1
    ]
    found = [metal for metal in MAGNETIC if any(metal in species for species in mixed)]
    if len(found) < 2 or names & set(ANIONS):
        return []
    return [
        f"{', '.join(found[:-1])} and {found[-1]} are mixed, whose alloys are magnetic, and the "
        "potential has no magnetic moments to set: even the sign of a mixing energy may be wrong "
        f"({KNOWN_MISTAKE}), and what follows from it, such as gaps and ordering temperatures, "
        "with it; compare with spin-polarised first principles or measurements"
    ]


def closest_contact(
    mixture: Mixture, within: float = 1.0
) -> tuple[float, int, int, float, str, str] | None:
    """Return the closest pair of sites, measured by covalent radii.

    Args:
        mixture: the structure.
        within: distance over the sum of radii below which a pair counts.

    Returns:
        Distance over the sum of the radii of the smallest species that can sit there together, the
        two sites, their distance in A and these species; None if no pair counts.
    """
    from ase.data import covalent_radii

    from alchemlip.potential.neighbours import NeighbourList

    nodes = mixture.nodes
    present = nodes.number[nodes.occupancies(mixture.composition) > 0]
    if not len(present):
        return None
    largest = float(2.0 * covalent_radii[present].max())
    receiver, sender, shift = NeighbourList(within * largest, skin=0.0).edges(
        mixture.positions, mixture.cell, mixture.pbc, mixture.exclusive
    )
    vectors = mixture.positions[sender] + shift @ mixture.cell - mixture.positions[receiver]
    distances = np.linalg.norm(vectors, axis=1)
    owner = {site: (group, row) for group in mixture.groups for row, site in enumerate(group.sites)}
    found: tuple[float, int, int, float, str, str] | None = None
    known: dict[tuple[int, int], tuple[float, int, int] | None] = {}
    for edge in np.argsort(distances).tolist():
        if found is not None and distances[edge] / largest >= found[0]:
            break  # no pair has larger radii
        i, j = int(receiver[edge]), int(sender[edge])
        if (i, j) not in known:
            together = [
                (float(covalent_radii[a] + covalent_radii[b]), a, b)
                for a, b in _together(mixture, owner, i, j)
            ]
            known[i, j] = min(together, default=None)
        pair = known[i, j]
        if pair is None:
            continue
        ratio = float(distances[edge] / pair[0])
        if ratio < (within if found is None else found[0]):
            names = species_symbol(pair[1]), species_symbol(pair[2])
            found = (ratio, i, j, float(distances[edge]), *names)
    return found


def _together(
    mixture: Mixture, owner: Mapping[int, tuple[Group, int]], i: int, j: int
) -> set[tuple[int, int]]:
    """Return the pairs of elements that can sit on two sites at once."""
    (group, row), (other, column) = (owner.get(site, (None, 0)) for site in (i, j))
    if group is not None and group is other and group.correlation == "concerted":
        pairs = set(
            zip(
                group.species[row][group.composition > 0].tolist(),
                group.species[column][group.composition > 0].tolist(),
                strict=True,
            )
        )
    else:
        firsts, seconds = (
            [int(mixture.numbers[site])]
            if held is None
            else held.species[place][held.composition > 0].tolist()
            for site, held, place in ((i, group, row), (j, other, column))
        )
        pairs = {(a, b) for a in firsts for b in seconds}
    return {
        (element_number(a), element_number(b)) for a, b in pairs if VACANCY_NUMBER not in (a, b)
    }


def spread_warnings(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return sentences where the members of an ensemble disagree by as much as the value.

    Judged are the point of the largest mixing energy and the point of the largest spread of a
    force; records without spreads give nothing.

    Args:
        records: of `alchemlip.crystal.report`, one or many.
    """
    warnings = []
    name = found_name("mixing_energy_eV_per_atom", records[0]) if records else ""
    words = named("mixing energy", "enthalpy" in name)
    mixing = [record for record in records if f"{name}_spread" in record]
    if mixing:
        point = max(mixing, key=lambda record: abs(record[name]) + record[f"{name}_spread"])
        value, spread = point[name], point[f"{name}_spread"]
        if spread > max(LARGE_SPREAD * abs(value), NOTABLE_MIXING_ENERGY):
            warnings.append(
                f"the potentials disagree: the {words} at {_composition(point)} is "
                f"{1e3 * value:.1f} ± {1e3 * spread:.1f} meV per site over the ensemble, so its "
                "size is not known"
            )
    # At a minimum of the mean energy the mean force is 0 and says nothing about the spread.
    forces = [
        record
        for record in records
        if "forces_eV_per_A_spread" in record and "max_stress_deviation_GPa" not in record
    ]
    if forces:
        point = max(forces, key=lambda record: record["forces_eV_per_A_spread"])
        value, spread = point["max_force_eV_per_A"], point["forces_eV_per_A_spread"]
        if spread > max(LARGE_SPREAD * value, NOTABLE_FORCE):
            warnings.append(
                f"the potentials disagree: forces differ by {spread:.2f} eV/Å (standard deviation "
                f"over the ensemble) where the largest is {value:.2f} eV/Å"
            )
    return warnings


def _composition(record: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {x:.3g}" for label, x in record.get("composition", {}).items())
