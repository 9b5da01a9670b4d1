"""Transmutation: the free energy of turning the species of a crystal into others.

    path = transmutation(mixture, {"Pb": {"Sn": 1.0}})
    result = transmute(path, potential, dynamics, settings, record)

    dG = W + 3/2 kT sum_sites sum_species (p_A - p_B) ln m     (+ ideal mixing, if asked for)

W is the work of switching the composition linearly from A to B (`alchemlip.freeenergy.switching`),
p the occupancies of both ends and m the masses; for pure ends the second term is 3/2 kT ln(m_A/m_B)
a site (arXiv:2404.10746, eq. 10). The masses of the dynamics are constant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.einstein import (
    ideal_mixing_free_energy,
    log_masses,
    mass_free_energy,
)
from alchemlip.freeenergy.hamiltonian import AlchemicalTerm, CalculatorTerm, CoupledCalculator
from alchemlip.freeenergy.summary import enthalpy_difference, switching_summary
from alchemlip.freeenergy.switching import (
    SwitchingSettings,
    generator_of,
    run_switching,
    switching_result,
)
from alchemlip.freeenergy.trajectory import Progress
from alchemlip.mixture.compositions import with_flat_composition
from alchemlip.mixture.groups import Correlation, Group, Selection
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import species_number
from alchemlip.potential.calculator import AlchemicalCalculator
from alchemlip.records.runs import RunRecord

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.potential import AlchemicalPotential


@dataclass(frozen=True)
class TransmutationPath:
    """Sites, and the compositions between which they change.

    Attributes:
        mixture: the sites with all species of both ends.
        start, end: (K,) flat compositions at lambda = 0 and 1.
    """

    mixture: Mixture
    start: FloatArray
    end: FloatArray

    @property
    def start_mixture(self) -> Mixture:
        """The mixture at lambda = 0."""
        return with_flat_composition(self.mixture, self.start)

    @property
    def end_mixture(self) -> Mixture:
        """The mixture at lambda = 1."""
        return with_flat_composition(self.mixture, self.end)

    def atoms(self) -> Atoms:
        """Return the sites as ASE atoms, with the constant masses of the dynamics.

        They are the mean masses halfway; free energies do not depend on them, since the mass term
        is analytic.
        """
        halfway = with_flat_composition(self.mixture, 0.5 * (self.start + self.end))
        return halfway.to_atoms()


def transmutation(
    mixture: Mixture,
    end: Mapping[Selection, Mapping[str, float] | str],
    *,
    groups: Mapping[str, Sequence[int]] | None = None,
    correlation: Correlation = "concerted",
) -> TransmutationPath:
    """Return the path from a mixture as it is to one with other species on chosen sites.

    Args:
        mixture: the start.
        end: for each selection of sites what sits there at the end, ``{"Pb": "Sn"}`` or
            ``{"Pb": {"Sn": 1.0}}``; a selection is an element, a group, or site indices, as in
            `Mixture.from_elements`.
        groups: named selections, each a list of site indices.
        correlation: of the sites that change, see `path_between`.

    Raises:
        InputError: as `path_between` does.
    """
    return path_between(mixture, mixture.mixed(end, groups=groups), correlation)


def path_between(
    start: Mixture, end: Mixture, correlation: Correlation = "concerted"
) -> TransmutationPath:
    """Return the path between two mixtures of the same sites, at the geometry of the first.

    Args:
        start, end: what sits where at lambda = 0 and 1.
        correlation: ``concerted``, all sites change together, for ends that are pure where they
            differ; or ``independent``. The ends are the same, and so is the free energy.

    Raises:
        InputError: if the numbers of sites differ, nothing changes, a vacancy appears or goes, or
            sites of a partial composition are to change together.
    """
    if start.n_sites != end.n_sites:
        raise InputError(
            f"the start has {start.n_sites} sites and the end {end.n_sites}: a transmutation needs "
            "the same sites in the same order ('alchemlip vacancy' removes an atom)"
        )
    before, after = start.occupancies(), end.occupancies()
    changed = [i for i in range(start.n_sites) if before[i] != after[i]]
    if not changed:
        raise InputError("the start and the end are the same: name species that change")
    for site in changed:
        if before[site].get("Va", 0.0) != after[site].get("Va", 0.0):
            raise InputError(
                f"the occupancy of a vacancy changes on site {site}: a transmutation keeps the "
                "number of atoms; use 'alchemlip vacancy'"
            )
    if correlation == "concerted":
        partial = [i for i in changed if max(len(before[i]), len(after[i])) > 1]
        if partial:
            raise InputError(
                f"site {partial[0]} has a partial composition, whose species cannot change "
                "together with other sites: use correlation 'independent'"
            )
        species = [[next(iter(before[i])), next(iter(after[i]))] for i in changed]
        numbers = np.array([[species_number(s) for s in row] for row in species])
        made = [
            Group(
                "transmuted",
                np.array(changed),
                ("start", "end"),
                numbers,
                np.array([1.0, 0.0]),
                "concerted",
            )
        ]
        weights = [(np.array([1.0, 0.0]), np.array([0.0, 1.0]))]
    else:
        made, weights = _independent_groups(before, after, changed)
    kept = []
    for group in start.groups:
        sites = np.setdiff1d(group.sites, changed)
        rows = np.isin(group.sites, sites)
        if rows.any():
            kept.append(replace(group, sites=group.sites[rows], species=group.species[rows]))
            weights.append((group.composition, group.composition))
    return TransmutationPath(
        replace(start, groups=(*made, *kept)),
        np.concatenate([pair[0] for pair in weights]),
        np.concatenate([pair[1] for pair in weights]),
    )


def _independent_groups(
    before: Sequence[Mapping[str, float]], after: Sequence[Mapping[str, float]], changed: list[int]
) -> tuple[list[Group], list[tuple[FloatArray, FloatArray]]]:
    """Return one group for each kind of change, and its weights at both ends."""
    kinds: dict[tuple[tuple[tuple[str, float], ...], ...], list[int]] = {}
    for site in changed:
        key = tuple(tuple(sorted(side[site].items())) for side in (before, after))
        kinds.setdefault(key, []).append(site)
    groups, weights = [], []
    for (first, last), sites in kinds.items():
        labels = tuple(dict.fromkeys([label for label, _ in (*first, *last)]))
        row = [species_number(label) for label in labels]
        pair = tuple(
            np.array([dict(side).get(label, 0.0) for label in labels]) for side in (first, last)
        )
        name = f"{'+'.join(label for label, _ in first)}->{'+'.join(label for label, _ in last)}"
        groups.append(
            Group(
                f"{name}@{sites[0]}",
                np.array(sites),
                labels,
                np.tile(row, (len(sites), 1)),
                pair[0],
                "independent",
            )
        )
        weights.append((pair[0], pair[1]))
    return groups, weights


def mass_term(path: TransmutationPath, temperature_K: float) -> float:
    """Return 3/2 kT sum over sites and species of (p_A - p_B) ln m, in eV for all sites."""
    start, end = (np.exp(log_masses(item)) for item in (path.start_mixture, path.end_mixture))
    return mass_free_energy(start, end, temperature_K)


def mixing_term(path: TransmutationPath, temperature_K: float) -> float:
    """Return kT sum over sites and species of (p_B ln p_B - p_A ln p_A), in eV for all sites."""
    return ideal_mixing_free_energy(path.end_mixture, temperature_K) - ideal_mixing_free_energy(
        path.start_mixture, temperature_K
    )


def analytic_terms(
    path: TransmutationPath,
    temperature_K: float,
    *,
    mass: bool = True,
    mixing_entropy: bool = False,
) -> dict[str, float]:
    """Return what is added to the work by name, in eV for all sites.

    Args:
        path: what changes into what.
        temperature_K: of the thermostat.
        mass: whether `mass_term` is there, as ``mass``.
        mixing_entropy: whether `mixing_term` is, as ``ideal_mixing``.
    """
    terms = {"mass": mass_term(path, temperature_K)} if mass else {}
    if mixing_entropy:
        terms["ideal_mixing"] = mixing_term(path, temperature_K)
    return terms


def switched_calculator(
    path: TransmutationPath,
    potential: AlchemicalPotential,
    end_potential: AlchemicalPotential | None = None,
) -> CoupledCalculator:
    """Return U(lambda) of a path as a calculator.

    Args:
        path: the composition at both ends.
        potential: at lambda = 0.
        end_potential: at lambda = 1, if it is another: U = (1 - lambda) U_1 + lambda U_2, each at
            the composition of lambda = 0 and 1.
    """
    if end_potential is None:
        term = AlchemicalTerm(potential, path.mixture, path.start, path.end)
        return CoupledCalculator({"potential": term})
    ends = ((potential, path.start_mixture, 1.0, 0.0), (end_potential, path.end_mixture, 0.0, 1.0))
    return CoupledCalculator(
        {
            label: CalculatorTerm(
                AlchemicalCalculator(model, mixture, composition_gradient=False),
                first,
                last,
            )
            for label, (model, mixture, first, last) in zip(
                ("potential", "end potential"), ends, strict=True
            )
        }
    )


def transmute(
    path: TransmutationPath,
    potential: AlchemicalPotential,
    dynamics: DynamicsSettings,
    settings: SwitchingSettings,
    record: RunRecord,
    *,
    mixing_entropy: bool = False,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the free energy of a transmutation as a flat record, every term by itself.

    Gibbs' at constant pressure, Helmholtz' at constant cell.

    Args:
        path: what changes into what.
        potential: in the ``nodes`` or the ``embedding`` representation.
        dynamics: temperature, pressure, time step.
        settings: lengths and repeats.
        record: where everything is written; what is there already is not run again.
        mixing_entropy: add the ideal mixing entropy of partial compositions.
        on_progress: called with steps done and steps in all.

    Raises:
        UnstableError: if the dynamics blow up.
    """
    # What has no value is refused before the run, not after.
    analytic_terms(path, dynamics.temperature_K, mixing_entropy=mixing_entropy)
    calculator = switched_calculator(path, potential)
    run_switching(path.atoms(), calculator, dynamics, settings, record, on_progress=on_progress)
    return path_results(path, dynamics, settings, record, mixing_entropy=mixing_entropy)


def path_results(
    path: TransmutationPath,
    dynamics: DynamicsSettings,
    settings: SwitchingSettings,
    record: RunRecord,
    *,
    terms: bool = True,
    mixing_entropy: bool = False,
) -> dict[str, Any]:
    """Return the results of the repeats that are finished in a record; see `transmute`.

    Args:
        path, dynamics, settings, record: of the run.
        terms: add the mass term.
        mixing_entropy: and that of ideal mixing.
    """
    temperature = dynamics.temperature_K
    switched = switching_result(record, settings.repeats, temperature)
    added = analytic_terms(path, temperature, mass=terms, mixing_entropy=mixing_entropy)
    n_sites = path.mixture.n_sites
    rng = generator_of(settings.seed, settings.repeats)
    return {
        **switching_summary(switched, added, rng, n_atoms=n_sites),
        **dynamics.describe_ensemble(),
        "n_atoms": n_sites,
        **enthalpy_difference(switched, dynamics, n_sites),
    }


def standing_path(mixture: Mixture) -> TransmutationPath:
    """Return the path along which no composition changes, for a switch between potentials."""
    return TransmutationPath(mixture, mixture.composition, mixture.composition)
