"""From one mixed cell to how it orders: everything that ``alchemlip order`` reports.

study = study_ordering(mixture, potential)
study.waves[0].label, study.critical_temperature, study.structures[0].name
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import pressure_volume
from alchemlip.crystal.level import ordering_level
from alchemlip.disorder.hessian import OccupancyHessian, occupancy_hessian, random_group
from alchemlip.disorder.kcm import ShellOrder
from alchemlip.disorder.ordered_structures import (
    OrderedStructure,
    ordered_energies,
    ordered_structures,
)
from alchemlip.disorder.ordering import (
    OrderingWave,
    critical_temperature,
    lowest_interpolated_wave,
    ordering_waves,
)
from alchemlip.disorder.pair_interactions import PairInteractions, pair_interactions
from alchemlip.disorder.patterns import site_counts
from alchemlip.disorder.random_alloy import second_order_energy
from alchemlip.disorder.size_effect import separation_eigenvalue, size_effect
from alchemlip.disorder.supercells import Repeats, supercell_repeats
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.potential import AlchemicalPotential

WIDTH = 7.5
"""Smallest width of a supercell in Angstrom that is chosen without being asked for."""
MAX_SITES = 400


@dataclass(frozen=True, eq=False)
class OrderingStudy:
    """How a disordered crystal orders; energies at the geometry as given.

    Attributes:
        hessian: of the disordered supercell.
        interactions: between its sites.
        waves: the most unstable ones that the supercell holds, in order.
        lowest: the most unstable one of the interpolated V(k), which the supercell may not hold.
        structures: that the waves generate, lowest energy first.
        energies: (n,) of the structures per site, in eV.
        random_energy: of the random alloy per site, in eV, to second order.
        separation_eigenvalue: of k = 0 in eV, with the cell's own relaxation if ``relaxed``:
            incoherent phase separation where it is negative.
        relaxed: whether the interactions hold the size effect.
    """

    hessian: OccupancyHessian
    interactions: PairInteractions
    waves: list[OrderingWave]
    lowest: OrderingWave
    structures: list[OrderedStructure]
    energies: FloatArray
    random_energy: float
    separation_eigenvalue: float
    relaxed: bool

    @property
    def critical_temperature(self) -> float:
        """Mean-field transition temperature in K; 0 if nothing orders."""
        return self.waves[0].critical_temperature

    @property
    def ordering_energies(self) -> FloatArray:
        """(n,) E(random) - E(ordered) per site in eV: positive where order pays."""
        return np.asarray(self.random_energy - self.energies)


def study_ordering(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str | None = None,
    *,
    repeats: Repeats | None = None,
    relaxed: bool = False,
    n_waves: int = 3,
    n_structures: int = 8,
    symprec: float = 1e-3,
) -> OrderingStudy:
    """Find how a mixed crystal orders.

    Args:
        mixture: a cell of the disordered crystal, at the geometry of interest.
        potential: a loaded potential.
        group: name of the group that orders; may be left out if there is one.
        repeats: of the cell; the smallest even ones that are wide enough and hold the composition
            if None.
        relaxed: add the size effect, that of atoms which relax, to the interactions; the
            structures' energies stay those of the given geometry.
        n_waves: stars of waves that generate structures.
        n_structures: evaluated by the potential, those of lowest second-order energy.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the group is not clear, or no supercell holds the composition.
    """
    name = random_group(mixture, group).name
    supercell = mixture.repeat(ordering_repeats(mixture, name) if repeats is None else repeats)
    site_counts(supercell.group(name).composition, len(supercell.group(name).sites), name)
    hessian = occupancy_hessian(supercell, potential, name, symprec=symprec)
    effect = size_effect(supercell, potential, name, symprec=symprec) if relaxed else None
    interactions = pair_interactions(
        hessian, None if effect is None else effect.correction, symprec
    )
    waves = ordering_waves(interactions, n_waves)
    structures = ordered_structures(
        hessian, interactions, waves, count=n_structures, symprec=symprec
    )
    energies = ordered_energies(structures, potential)
    order = np.argsort(energies, kind="stable")
    random = (hessian.energy + second_order_energy(hessian)) / supercell.n_sites
    return OrderingStudy(
        hessian=hessian,
        interactions=interactions,
        waves=waves,
        lowest=lowest_interpolated_wave(interactions),
        structures=[structures[index] for index in order.tolist()],
        energies=energies[order],
        random_energy=random,
        separation_eigenvalue=separation_eigenvalue(
            interactions, None if effect is None else effect.strain
        ),
        relaxed=relaxed,
    )


def ordering_repeats(mixture: Mixture, group: str, width: float = WIDTH) -> Repeats:
    """Return even repeats of a cell that are wide enough and hold the composition.

    Even repeats hold the waves at the zone boundary, by which most crystals order.

    Args:
        mixture: the cell.
        group: name of the group that orders.
        width: between opposite faces, in Angstrom.

    Raises:
        InputError: if none up to 400 sites does.
    """
    composition = mixture.group(group).composition
    n_sites = len(mixture.group(group).sites)
    for repeats in supercell_repeats(mixture, width, MAX_SITES):
        even = tuple(count + count % 2 for count in repeats)
        n = n_sites * int(np.prod(even))
        if mixture.n_sites * int(np.prod(even)) > MAX_SITES:
            break
        if np.abs(composition * n - np.rint(composition * n)).max() < 1e-6 * n:
            return even[0], even[1], even[2]
    raise InputError(
        f"no even supercell of up to {MAX_SITES} sites holds the composition of group {group!r} "
        "in whole atoms: choose a composition such as 1/2 or 1/4, or give the repeats"
    )


def describe_ordering(study: OrderingStudy) -> dict[str, Any]:
    """Return the study as plain values whose names carry their units."""
    n = study.hessian.mixture.n_sites
    level = ordering_level(study.relaxed, study.waves[0].separates)
    return {
        **level.to_dict(),
        "group": study.hessian.group,
        "n_sites": n,
        "mean_field_energy_eV_per_atom": study.hessian.energy / n,
        "random_energy_eV_per_atom": study.random_energy,
        "critical_temperature_K": study.critical_temperature,
        "ordering_waves": [describe_wave(wave) for wave in study.waves],
        "size_effect": study.relaxed,
        "separation_temperature_K": critical_temperature(study.separation_eigenvalue),
        "lowest_interpolated_wave": describe_wave(study.lowest),
        "pair_interactions_meV": {
            f"{a}-{b}": [
                {
                    "distance_A": shell.distance,
                    "multiplicity": shell.multiplicity,
                    "J_meV": 1e3 * shell.interaction,
                    "spread_meV": 1e3 * shell.spread,
                    "shared_by_images": shell.folded,
                }
                for shell in study.interactions.shells(a, b)
            ]
            for a, b in combinations(study.interactions.species, 2)
        },
        "ordered_structures": [
            {
                "name": structure.name,
                "energy_eV_per_atom": float(energy),
                "ordering_energy_eV_per_atom": float(gain),
                "space_group": structure.space_group,
                "formula": structure.atoms.get_chemical_formula(),
                "waves": list(structure.waves),
            }
            for structure, energy, gain in zip(
                study.structures, study.energies, study.ordering_energies, strict=True
            )
        ],
    }


def random_enthalpy(study: OrderingStudy, pressure: float) -> dict[str, float]:
    """Return the random alloy's enthalpy at an external pressure in GPa; nothing at none.

    What orders at the given geometry has the same P V, so that energies of ordering are enthalpies.
    """
    if not pressure:
        return {}
    mixture = study.hessian.mixture
    work = pressure_volume(mixture, pressure) / mixture.n_sites
    return {
        "external_pressure_GPa": pressure,
        "random_enthalpy_eV_per_atom": study.random_energy + work,
    }


def describe_wave(wave: OrderingWave) -> dict[str, Any]:
    """Return an ordering wave as plain values."""
    return {
        "k": wave.k.tolist(),
        "label": wave.label,
        "arms": len(wave.star),
        "eigenvalue_meV": 1e3 * wave.eigenvalue,
        "critical_temperature_K": wave.critical_temperature,
        "held_by_the_supercell": wave.commensurate,
        "phase_separation": wave.separates,
    }


def describe_short_range_order(
    shells: dict[tuple[str, str], list[ShellOrder]],
) -> dict[str, list[dict[str, float]]]:
    """Return Warren-Cowley parameters as plain values, by pair of species."""
    return {
        f"{a}-{b}": [
            {
                "distance_A": shell.distance,
                "multiplicity": shell.multiplicity,
                "alpha": shell.alpha,
            }
            for shell in found
        ]
        for (a, b), found in shells.items()
    }
