"""Vacancy formation: an atom leaves one site, by switching its occupancy off and a spring on.

    k = default_spring_constant(mixture, 0, potential)
    path = vacancy_path(mixture, site=0, spring_constant=k)
    mu = ChemicalPotential(-8.2)
    results = form_vacancy(path, potential, mu, dynamics, settings, record)

    G_v = W - F_spring + mu,      F_spring = 3 kT ln(hbar w / kT),  w = sqrt(k/m)

While lambda goes 0 -> 1, the occupancy p of the leaving atom goes 1 -> 0 and a spring on it 0 -> k
(arXiv:2404.10746, the partial Frenkel-Ladd path). W is the reversible work of the potential part.

Why this is exact. The spring pulls at u = r_s - a - d, where a is a point of the cell and d the
mean displacement of all other atoms from their sites. At lambda = 1 the energy is
U_(N-1)(others) + k u^2 / 2. The substitution r_s -> u has the Jacobian 1, so the integral over r_s
is that of a free oscillator of constant k whatever the others do: the end state is the crystal of
N - 1 atoms plus an Einstein atom, F(1) = F_(N-1) + F_spring, in any cell, and so at constant
pressure too.

Path. Occupancy and spring are both linear in lambda. The integrand of an insertion diverges where
its place is taken. Here the spring keeps the leaving atom on its own site, and dU/d(lambda) stays
finite and smooth up to lambda = 1 (the picture in benchmarks/vacancy.md), so that no part of the
path needs slowing down.

Centre of mass. At every lambda the energy is that of the configuration moved as a whole. Let s be
such a move: the integral over configurations is the volume that s may visit times an integral over
the rest. The volume, and that of the total momentum (the masses are constant), are the same factors
at both ends. They cancel in W, whether the centre of mass is held, of the atoms or of the sites, or
free: W does not depend on it.

Convention for mu. G_v belongs to a vacancy on one given site; that it may sit on any of the N sites
is what turns exp(-G_v/kT) into a concentration. For N atoms on N sites, moving the crystal by one
of its lattice vectors only renames the atoms: s has the volume V/N_cells of one primitive cell, and
G(N) counts every configuration once. The crystal with the vacancy has the same volume for s, with
N_cells of the perfect lattice: the vacancy moved by a lattice vector is a vacancy on another site.
So mu = G(N)/N comes from a Frenkel-Ladd run with F_cm of V/N_cells. With the whole V it would be
lower by kT ln(N_cells)/N (0.6 meV for 54 atoms of bcc Fe at 100 K), which goes with 1/N.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.chemical_potential import ChemicalPotential
from alchemlip.freeenergy.concentration import concentration_results
from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.einstein import einstein_free_energy
from alchemlip.freeenergy.hamiltonian import AlchemicalTerm, CoupledCalculator, SpringTerm
from alchemlip.freeenergy.harmonic import force_constant_block
from alchemlip.freeenergy.hopping import HopCheck
from alchemlip.freeenergy.summary import switching_summary
from alchemlip.freeenergy.switching import (
    SwitchingSettings,
    generator_of,
    run_switching,
    switching_result,
)
from alchemlip.freeenergy.trajectory import Progress
from alchemlip.mixture.compositions import with_flat_composition
from alchemlip.mixture.groups import Group
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY, VACANCY_NUMBER, species_mass, species_number
from alchemlip.potential.calculator import AlchemicalCalculator
from alchemlip.records.runs import RunRecord

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.potential import AlchemicalPotential

GROUP = "leaving atom"
SPRING_NOTE = "spring constant"


@dataclass(frozen=True, eq=False)
class VacancyPath:
    """A crystal, the site that is emptied, and the spring that takes over the leaving atom.

    Attributes:
        mixture: the crystal, with one group more: the leaving atom or a vacancy on its site.
        site: index of the site.
        spring_constant: in eV/A^2.
        start, end: (K,) flat compositions at lambda = 0 and 1.
    """

    mixture: Mixture
    site: int
    spring_constant: float
    start: FloatArray
    end: FloatArray

    @property
    def species(self) -> str:
        """Symbol of the leaving atom."""
        return self.mixture.group(GROUP).components[0]

    @property
    def mass(self) -> float:
        """Mass of the leaving atom in amu."""
        return species_mass(species_number(self.species))

    def atoms(self) -> Atoms:
        """Return the crystal as ASE atoms, with the constant masses of the dynamics."""
        return with_flat_composition(self.mixture, self.start).to_atoms()

    def spring(self) -> SpringTerm:
        """Return the spring, anchored to its site, which follows cell and lattice."""
        scaled = self.atoms().get_scaled_positions(wrap=False)
        return SpringTerm(scaled, [0.0], [self.spring_constant], [self.site], frame="lattice")

    def hop_check(self, temperature_K: float) -> HopCheck:
        """Return an observer that stops a run in which an atom leaves its site."""
        others = np.setdiff1d(np.arange(self.mixture.n_sites), [self.site])
        return HopCheck(self.atoms(), temperature_K, others.tolist(), self.site)


def vacancy_path(mixture: Mixture, site: int, spring_constant: float) -> VacancyPath:
    """Return the path along which an atom leaves a crystal.

    Args:
        mixture: the crystal with the atom; other sites may be mixed.
        site: index of the atom's site.
        spring_constant: of the spring at the end, in eV/A^2. The free energy does not depend on
            it, the dissipation does: `default_spring_constant`.

    Raises:
        InputError: if there is no such site, it does not hold one species alone, or the spring is
            not positive.
    """
    check_site(mixture, site)
    if not (np.isfinite(spring_constant) and spring_constant > 0):
        raise InputError(
            f"the spring constant is {spring_constant:g} eV/A^2: the leaving atom needs a positive "
            "one, about the curvature of the energy at its site"
        )
    (symbol,) = (label for label, p in mixture.occupancies()[site].items() if p > 0)
    kept = []
    for group in mixture.groups:
        rows = group.sites != site
        if rows.any():
            kept.append(replace(group, sites=group.sites[rows], species=group.species[rows]))
    leaving = Group(
        GROUP,
        np.array([site]),
        (symbol, VACANCY),
        np.array([[species_number(symbol), VACANCY_NUMBER]]),
        np.array([1.0, 0.0]),
        "concerted",
    )
    rest = [group.composition for group in kept]
    return VacancyPath(
        replace(mixture, groups=(leaving, *kept)),
        site,
        float(spring_constant),
        np.concatenate([[1.0, 0.0], *rest]),
        np.concatenate([[0.0, 1.0], *rest]),
    )


def check_site(mixture: Mixture, site: int) -> None:
    """Refuse a site that no single atom can leave.

    Raises:
        InputError: naming the site.
    """
    if not 0 <= site < mixture.n_sites:
        raise InputError(f"there is no site {site}: the cell has sites 0 to {mixture.n_sites - 1}")
    if mixture.n_sites < 2:
        raise InputError("the cell has one site: repeat it before an atom can leave it")
    present = {label: p for label, p in mixture.occupancies()[site].items() if p > 0}
    if len(present) > 1:
        shown = ", ".join(f"{label} {p:g}" for label, p in present.items())
        raise InputError(
            f"site {site} holds a mixture ({shown}): give it one species, which then leaves"
        )
    if VACANCY in present:
        raise InputError(f"site {site} is empty already: name a site with an atom")


def default_spring_constant(mixture: Mixture, site: int, potential: AlchemicalPotential) -> float:
    """Return a spring constant in eV/A^2 with which the leaving atom moves as it did.

    tr(d2U/dr_s dr_s) / 3: the curvature of the energy when the atom moves alone, by differences.

    Args:
        mixture: the crystal, near its minimum.
        site: of the leaving atom.
        potential: a loaded potential.

    Raises:
        InputError: if the site does not hold the atom.
    """
    check_site(mixture, site)
    calculator = AlchemicalCalculator(potential, mixture, composition_gradient=False)
    block = force_constant_block(mixture.to_atoms(), calculator, site)[:, site]
    constant = float(np.trace(block)) / 3.0
    if not constant > 0:
        raise InputError(
            f"the energy does not hold the atom on site {site} (mean curvature {constant:.2g} "
            "eV/A^2): relax the crystal first, or give the spring constant"
        )
    return constant


def noted_spring_constant(
    record: RunRecord, mixture: Mixture, site: int, potential: AlchemicalPotential
) -> float:
    """Return `default_spring_constant`, computed once and kept in the record."""
    kept = record.noted(SPRING_NOTE)
    if kept is None:
        kept = default_spring_constant(mixture, site, potential)
        record.note(SPRING_NOTE, kept)
    return float(kept)


def vacancy_calculator(path: VacancyPath, potential: AlchemicalPotential) -> CoupledCalculator:
    """Return U(lambda) of a path as a calculator, of the terms ``potential`` and ``spring``."""
    alchemical = AlchemicalTerm(potential, path.mixture, path.start, path.end)
    return CoupledCalculator({"potential": alchemical, "spring": path.spring()})


def form_vacancy(
    path: VacancyPath,
    potential: AlchemicalPotential,
    mu: ChemicalPotential,
    dynamics: DynamicsSettings,
    settings: SwitchingSettings,
    record: RunRecord,
    *,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the free energy of formation of a vacancy as a flat record, every term by itself.

    Gibbs' at constant pressure. At constant cell Helmholtz', which is the same up to terms of 1/N
    where the cell is the crystal's own at this temperature and pressure.

    Args:
        path: which atom leaves which crystal.
        potential: in the ``nodes`` representation.
        mu: of the leaving atom.
        dynamics: temperature, pressure, time step.
        settings: lengths and repeats.
        record: where everything is written; what is there already is not run again.
        on_progress: called with steps done and steps in all.

    Raises:
        UnstableError: if the dynamics blow up.
        HopError: if an atom leaves its site; either way the record keeps the last commit before.
    """
    calculator = vacancy_calculator(path, potential)
    check = path.hop_check(dynamics.temperature_K)
    run_switching(
        path.atoms(),
        calculator,
        dynamics,
        settings,
        record,
        observers=lambda: {segment.name: [check] for segment in settings.segments()},
        on_progress=on_progress,
    )
    results = vacancy_results(path, mu, dynamics, settings, record)
    return results | {"largest_displacement_over_nearest_neighbour": check.largest}


def vacancy_results(
    path: VacancyPath,
    mu: ChemicalPotential,
    dynamics: DynamicsSettings,
    settings: SwitchingSettings,
    record: RunRecord,
) -> dict[str, Any]:
    """Return the results of the repeats that are finished in a record; see `form_vacancy`.

    Names: ``free_energy_eV`` with ``standard_error_eV`` and ``interval_95_eV``, those of work and
    chemical potential together; ``dissipation_eV``; ``terms``: ``work``, ``spring``
    (-F_spring) and ``chemical_potential``; ``concentration`` per site of the species.
    """
    temperature = dynamics.temperature_K
    switched = switching_result(record, settings.repeats, temperature)
    spring = einstein_free_energy([path.spring_constant], [path.mass], temperature)
    terms = {"spring": -spring, "chemical_potential": mu.value_eV}
    rng = generator_of(settings.seed, settings.repeats)
    results = mu.widen(switching_summary(switched, terms, rng))
    return (
        results
        | concentration_results(results, temperature)
        | {
            "species": path.species,
            "site": path.site,
            "spring_constant_eV_per_A2": path.spring_constant,
            "chemical_potential_source": mu.source,
            **dynamics.describe_ensemble(),
            "n_sites": path.mixture.n_sites,
            "volume_A3": np.mean(switched.volume_A3, axis=1).tolist(),
        }
    )
