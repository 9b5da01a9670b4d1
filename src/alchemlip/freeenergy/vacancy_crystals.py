"""The crystal with a vacancy beside the perfect one: at rest, and by two Frenkel-Ladd runs.

    static_formation_energy(mixture, 0, potential)
    formation_from_crystals(perfect_results, vacancy_results)

    E_v = E(N-1) - (N-1)/N E(N)          G_v = G(N-1) - (N-1)/N G(N)

for an element, whose mu is E(N)/N or G(N)/N; for a compound E(N-1) - E(N) + mu. See
`alchemlip.freeenergy.vacancy` for the centre of mass: both runs share N_cells of the perfect
lattice, not the one cell that the crystal with the vacancy has by its own symmetry.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.errors import InputError
from alchemlip.freeenergy.chemical_potential import ChemicalPotential
from alchemlip.freeenergy.concentration import concentration_results
from alchemlip.freeenergy.vacancy import check_site
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.crystal.relaxation import RelaxationResult, RelaxationSettings
    from alchemlip.potential.potential import AlchemicalPotential


def without_site(mixture: Mixture, site: int) -> Mixture:
    """Return the mixture with one site taken out; the sites behind it move up by one.

    Raises:
        InputError: if there is no such site, or it does not hold one species alone.
    """
    check_site(mixture, site)
    kept = np.delete(np.arange(mixture.n_sites), site)
    groups = []
    for group in mixture.groups:
        rows = group.sites != site
        if rows.any():
            sites = group.sites[rows]
            groups.append(replace(group, sites=sites - (sites > site), species=group.species[rows]))
    return Mixture(
        mixture.numbers[kept],
        mixture.positions[kept],
        mixture.cell,
        mixture.pbc,
        tuple(groups),
        mixture.exclusive.of_sites(kept),
        mixture.fixed[kept],
        mixture.other_constraints,
    )


def element_of(mixture: Mixture) -> str | None:
    """Return the element that alone makes up a crystal; None for a compound or an alloy."""
    present = {label for site in mixture.occupancies() for label, p in site.items() if p > 0}
    return present.pop() if len(present) == 1 else None


def relaxed_crystals(
    mixture: Mixture, site: int, potential: AlchemicalPotential, settings: RelaxationSettings
) -> tuple[RelaxationResult, RelaxationResult]:
    """Relax the perfect crystal, and from there the one without the atom on a site.

    Raises:
        InputError: if one of them does not converge.
    """
    from alchemlip.crystal.relaxation import relax

    perfect = relax(mixture, potential, settings)
    vacant = relax(without_site(perfect.mixture, site), potential, settings)
    for result, name in ((perfect, "perfect crystal"), (vacant, "crystal with the vacancy")):
        if not result.converged:
            raise InputError(
                f"the {name} did not relax in {settings.max_steps} steps (largest force "
                f"{result.max_force:.2g} eV/A): allow more steps, or larger forces"
            )
    return perfect, vacant


def static_formation_energy(
    mixture: Mixture,
    site: int,
    potential: AlchemicalPotential,
    settings: RelaxationSettings,
    mu: ChemicalPotential | None = None,
) -> dict[str, Any]:
    """Return the formation energy of a vacancy at rest at 0 K, at pressure its enthalpy.

    Args:
        mixture: the crystal with the atom.
        site: of the leaving atom.
        potential: a loaded potential.
        settings: of both relaxations.
        mu: of the leaving atom; needed for a compound, and not used for an element.

    Returns:
        ``static_formation_energy_eV`` (None for a compound without mu),
        ``static_removal_energy_eV``, E(N-1) - E(N), and its relaxation,
        ``static_relaxation_energy_eV``; at pressure these are enthalpies E + P V, and the names say
        ``enthalpy``.
    """
    from alchemlip.crystal.enthalpy import named, pressure_volume

    perfect, vacant = relaxed_crystals(mixture, site, potential, settings)
    unrelaxed = potential.evaluate(
        without_site(perfect.mixture, site), forces=False, stress=False, composition_gradient=False
    )
    removal = vacant.enthalpy - perfect.enthalpy
    before = unrelaxed.energy + pressure_volume(perfect.mixture, settings.pressure)
    if element_of(mixture) is not None:
        reference: float | None = perfect.enthalpy / mixture.n_sites
    else:
        reference = None if mu is None else mu.value_eV
    found = {
        "static_formation_energy_eV": None if reference is None else removal + reference,
        "static_removal_energy_eV": removal,
        "static_relaxation_energy_eV": vacant.enthalpy - before,
    }
    return {named(name, settings.pressure): value for name, value in found.items()}


def formation_from_crystals(
    perfect: Mapping[str, Any],
    vacant: Mapping[str, Any],
    mu: ChemicalPotential | None = None,
) -> dict[str, Any]:
    """Return the free energy of formation from two Frenkel-Ladd runs, every term by itself.

    Args:
        perfect: results of the crystal of N atoms.
        vacant: results of the crystal of N-1 atoms, with the same number of primitive cells.
        mu: of the leaving atom; None for an element, whose mu is G(N)/N.

    Returns:
        Names as in `alchemlip.freeenergy.vacancy.vacancy_results`.

    Raises:
        InputError: if the runs do not belong together.
    """
    n = perfect["n_atoms"]
    if vacant["n_atoms"] != n - 1:
        raise InputError(
            f"the perfect crystal has {n} atoms and the other one {vacant['n_atoms']}: a vacancy "
            "needs one atom less"
        )
    for name in ("temperature_K", "pressure_GPa", "n_cells", "centre_of_mass_convention"):
        if perfect[name] != vacant[name]:
            raise InputError(
                f"the two runs differ in {name} ({perfect[name]} and {vacant[name]}): run both "
                "crystals alike, the one with the vacancy with the number of primitive cells of "
                "the perfect one"
            )

    def total(results: Mapping[str, Any], count: int) -> tuple[float, float, float]:
        value = results["free_energy_eV_per_atom"]
        low, high = results["interval_95_eV_per_atom"]
        error = results["standard_error_eV_per_atom"]
        return count * value, count * error, count * 0.5 * (high - low)

    full, full_error, full_width = total(perfect, n)
    rest, rest_error, rest_width = total(vacant, n - 1)
    # With mu = G(N)/N the error of G(N) enters by (N-1)/N.
    share = 1.0 if mu is not None else (n - 1) / n
    chemical_potential = full / n if mu is None else mu.value_eV
    value = rest - full + chemical_potential
    width = float(np.hypot(rest_width, share * full_width))
    lost = "dissipation_eV_per_atom"
    results = {
        "free_energy_eV": value,
        "standard_error_eV": float(np.hypot(rest_error, share * full_error)),
        "interval_95_eV": [value - width, value + width],
        "dissipation_eV": (n - 1) * vacant[lost] + n * perfect[lost],
        "terms": {
            "crystal_with_vacancy": rest,
            "perfect_crystal": -full,
            "chemical_potential": chemical_potential,
        },
        "terms_unit": "eV",
        "method": f"two crystals: {perfect['method']}",
        "temperature_K": perfect["temperature_K"],
        "n_sites": n,
        "chemical_potential_source": "G/N of the perfect crystal" if mu is None else mu.source,
    }
    results = results if mu is None else mu.widen(results)
    return results | concentration_results(results, perfect["temperature_K"])
