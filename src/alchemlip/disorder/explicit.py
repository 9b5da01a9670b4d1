"""Explicit supercells of a random alloy, to check the second order against, and what they cost.

    rng = np.random.default_rng(0)
    cells = explicit_supercells(mixture, potential, (2, 2, 2), count=20, rng=rng)
    mean_and_error([cell.energy_per_site for cell in cells])

Random arrangements of exact composition, or special quasi-random structures (SQS: one supercell
whose correlations are as near as it can to the random alloy's; Zunger et al., Phys. Rev. Lett. 65,
353 (1990)) by icet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from alchemlip.crystal.relaxation import RelaxationSettings, relax
from alchemlip.disorder.exclusive_arrangements import obeying
from alchemlip.disorder.random_alloy import disordered_groups
from alchemlip.disorder.supercells import Repeats, check_exact_composition
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY_NUMBER, species_number
from alchemlip.process_state import leaving_no_trace

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.potential import AlchemicalPotential

Kind = Literal["random", "sqs"]
SQS_CUTOFFS = (6.0, 4.0)
"""Longest pair and triplet in Angstrom whose correlations an SQS is fitted to."""


@dataclass(frozen=True, eq=False)
class ExplicitCell:
    """One explicit supercell.

    Attributes:
        kind: ``random`` or ``sqs``.
        n_sites: lattice sites, vacancies included.
        energy_per_site: at the mixed crystal's own geometry, in eV.
        relaxed_energy_per_site: in eV; None if it was not relaxed.
        relaxed_enthalpy_per_site: E + P V at the pressure of its relaxation, likewise.
        converged: whether the relaxation reached its limits; True without one.
        evaluations: of the potential.
        seconds: wall time of making and evaluating the cell, without its relaxation.
        relaxation_seconds: wall time of the relaxation.
    """

    kind: Kind
    n_sites: int
    energy_per_site: float
    relaxed_energy_per_site: float | None
    converged: bool
    evaluations: int
    seconds: float
    relaxation_seconds: float
    relaxed_enthalpy_per_site: float | None = None


def explicit_supercells(
    mixture: Mixture,
    potential: AlchemicalPotential,
    repeats: Repeats,
    count: int,
    rng: np.random.Generator,
    *,
    kind: Kind = "random",
    relaxation: RelaxationSettings | None = None,
    on_cell: Callable[[ExplicitCell], None] | None = None,
) -> list[ExplicitCell]:
    """Evaluate explicit supercells of a random alloy.

    Args:
        mixture: the mixed cell, at the composition and geometry of interest.
        potential: a loaded potential.
        repeats: of the supercell.
        count: number of supercells.
        rng: draws the arrangements, or the seeds of icet's.
        kind: ``random`` or ``sqs``.
        relaxation: also relax each cell so; without it sites stay ideal.
        on_cell: called after each.

    Raises:
        InputError: if the supercell cannot hold its composition, or icet is missing.
    """
    if count < 1:
        raise InputError(f"{count} explicit supercells say nothing: ask for at least 1")
    if kind not in ("random", "sqs"):
        raise InputError(f"unknown kind {kind!r} of supercells: choose random or sqs")
    cells = []
    for _ in range(count):
        start = perf_counter()
        if kind == "random":
            cell = random_supercell(mixture, repeats, rng)
        else:
            cell = sqs_supercell(mixture, repeats, int(rng.integers(2**31)))
        n_sites = mixture.n_sites * int(np.prod(repeats))
        energy = potential.evaluate(
            cell, forces=False, stress=False, composition_gradient=False
        ).energy
        seconds = perf_counter() - start
        relaxed, enthalpy, converged, evaluations, relaxing = None, None, True, 1, 0.0
        if relaxation is not None:
            run = relax(cell, potential, relaxation)
            relaxed, enthalpy = run.evaluation.energy / n_sites, run.enthalpy / n_sites
            converged, relaxing = run.converged, run.seconds
            evaluations += run.evaluations
        cells.append(
            ExplicitCell(
                kind,
                n_sites,
                energy / n_sites,
                relaxed,
                converged,
                evaluations,
                seconds,
                relaxing,
                enthalpy,
            )
        )
        if on_cell is not None:
            on_cell(cells[-1])
    return cells


def random_supercell(mixture: Mixture, repeats: Repeats, rng: np.random.Generator) -> Mixture:
    """Return a supercell whose disordered sites hold whole atoms, drawn at exact composition.

    Vacant sites are left out. Of sites that exclude one another at most one is filled.

    Raises:
        InputError: if the supercell cannot hold its composition.
    """
    large = mixture.repeat(repeats)
    numbers = large.numbers.copy()
    groups = [large.group(name) for name in disordered_groups(mixture, exclusive=True)]
    drawn = []
    for group in groups:
        check_exact_composition(group)
        counts = np.rint(group.composition * len(group.sites)).astype(int)
        drawn.append(rng.permutation(np.repeat(np.arange(len(counts)), counts)))
    if len(large.exclusive):
        drawn = obeying(large, groups, drawn, rng)
    for group, components in zip(groups, drawn, strict=True):
        numbers[group.sites] = group.species[np.arange(len(group.sites)), components]
    return _filled(large, numbers)


def sqs_supercell(
    mixture: Mixture,
    repeats: Repeats,
    seed: int,
    cutoffs: Sequence[float] = SQS_CUTOFFS,
    steps: int | None = None,
) -> Mixture:
    """Return a special quasi-random structure made by icet.

    Args:
        mixture: the mixed cell, one group of it disordered.
        repeats: of the supercell.
        seed: of icet's simulated annealing.
        cutoffs: longest pair, triplet ... in Angstrom.
        steps: of the annealing; icet's choice if None.

    Raises:
        InputError: if icet is missing, several groups are disordered, or the supercell cannot hold
            its composition.
    """
    if find_spec("icet") is None:
        raise InputError(
            "special quasi-random structures need the package icet: pip install "
            "'alchemlip[disorder]'"
        )
    if len(mixture.exclusive):
        raise InputError(
            "some sites exclude one another, which special quasi-random structures know nothing "
            "of: use random supercells"
        )
    names = disordered_groups(mixture)
    if len(names) != 1:
        raise InputError(
            f"the groups {', '.join(names)} are disordered, and an SQS is made for one: use random "
            "supercells"
        )
    large = mixture.repeat(repeats)
    group = large.group(names[0])
    check_exact_composition(group)
    labels = [_icet_symbol(symbol) for symbol in group.components]
    atoms = sqs_atoms(
        mixture.to_atoms(),
        mixture.group(names[0]).sites.tolist(),
        large.to_atoms(),
        dict(zip(labels, group.composition.tolist(), strict=True)),
        cutoffs,
        steps,
        seed,
    )
    # icet keeps positions, though not by contract their order.
    difference = large.positions[:, None] - atoms.positions[None]
    fractional = np.linalg.solve(large.cell.T, difference.reshape(-1, 3).T).T
    wrapped = (fractional - np.round(fractional)) @ large.cell
    order = np.linalg.norm(wrapped, axis=1).reshape(large.n_sites, -1).argmin(axis=1)
    numbers = large.numbers.copy()
    numbers[group.sites] = atoms.numbers[order[group.sites]]
    return _filled(large, numbers)


def sqs_atoms(
    primitive: Atoms,
    sites: Sequence[int],
    supercell: Atoms,
    concentrations: dict[str, float],
    cutoffs: Sequence[float],
    steps: int | None,
    seed: int,
) -> Atoms:
    """Return icet's special quasi-random structure in one supercell, ``X`` for a vacancy.

    Args:
        primitive: the cell, every site showing some species.
        sites: of the disordered group in it.
        supercell: that is filled.
        concentrations: by symbol; they sum to 1.
        cutoffs, steps, seed: as in `sqs_supercell`.
    """
    disordered = set(sites)
    allowed = [
        list(concentrations) if index in disordered else [symbol]
        for index, symbol in enumerate(primitive.symbols)
    ]
    plain = primitive.copy()
    plain.info.clear()
    host = supercell.copy()
    host.info.clear()
    with leaving_no_trace():  # mchammer seeds and draws from Python's own generator
        import logging

        from icet import ClusterSpace
        from icet.input_output.logging_tools import set_log_config
        from icet.tools.structure_generation import generate_sqs_from_supercells

        set_log_config(level=logging.WARNING)
        space = ClusterSpace(plain, list(cutoffs), allowed)
        return generate_sqs_from_supercells(
            space, [host], concentrations, n_steps=steps, random_seed=seed
        )


def mean_and_error(values: Sequence[float]) -> tuple[float, float]:
    """Return the mean and its standard error (nan for one value)."""
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return float(array.mean()), float("nan")
    return float(array.mean()), float(array.std(ddof=1) / np.sqrt(len(array)))


def _icet_symbol(component: str) -> str:
    number = species_number(component)
    return "X" if number == VACANCY_NUMBER else component


def _filled(large: Mixture, numbers: np.ndarray) -> Mixture:
    """Return ordinary atoms on the sites that are not vacant; other groups stay mixed."""
    mixed = {site for group in large.groups for site in group.sites.tolist()}
    names = disordered_groups(large, exclusive=True)
    disordered = {site for name in names for site in large.group(name).sites}
    kept = np.flatnonzero(numbers != VACANCY_NUMBER)
    if mixed - disordered:
        raise InputError(
            "a group changes together (concerted), which explicit supercells cannot: give it one "
            "species"
        )
    return Mixture(
        numbers[kept],
        large.positions[kept],
        large.cell,
        large.pbc,
        fixed=large.fixed[kept],
        other_constraints=large.other_constraints,
    )
