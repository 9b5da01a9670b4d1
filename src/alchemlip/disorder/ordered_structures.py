"""Ordered structures that ordering waves generate, and what the potential says of them.

waves = ordering_waves(interactions)
structures = ordered_structures(hessian, interactions, waves)
energies = ordered_energies(structures, potential)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.ordering import OrderingWave
from alchemlip.disorder.pair_interactions import Hessian, PairInteractions
from alchemlip.disorder.patterns import site_counts, wave_patterns
from alchemlip.disorder.structure_names import decorated_symmetry, structure_name
from alchemlip.errors import InputError
from alchemlip.mixture.groups import Group
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import ISOTOPE, VACANCY_NUMBER, element_numbers, species_mass
from alchemlip.process_state import import_spglib

if TYPE_CHECKING:
    from ase import Atoms

    from alchemlip.potential.potential import AlchemicalPotential


@dataclass(frozen=True, eq=False)
class OrderedStructure:
    """One arrangement of the species on the mixed sites.

    Attributes:
        name: Strukturbericht symbol or usual word where known, else the space group.
        group: of the mixture that is ordered.
        chosen: (M,) component on each site of the group.
        mixture: the supercell with every site of the group decided.
        atoms: the primitive cell of the ordered crystal.
        space_group: symbol and number of the whole crystal, such as ``Pm-3m (221)``.
        sublattice_space_group: number of the space group of the decorated mixed sites alone.
        sites_per_cell: mixed sites in their primitive cell.
        waves: indices of the ordering waves that made it.
        expanded_energy: second-order estimate of the supercell's energy in eV, from the Hessian.
    """

    name: str
    group: str
    chosen: IntArray
    mixture: Mixture
    atoms: Atoms
    space_group: str
    sublattice_space_group: int
    sites_per_cell: int
    waves: tuple[int, ...]
    expanded_energy: float


def ordered_structures(
    hessian: Hessian,
    interactions: PairInteractions,
    waves: Sequence[OrderingWave],
    *,
    count: int = 8,
    symprec: float = 1e-3,
) -> list[OrderedStructure]:
    """Return the ordered structures that waves generate, lowest second-order energy first.

    Args:
        hessian: of the disordered supercell.
        interactions: made of it.
        waves: that the supercell holds; a single wave of k = 0 gives nothing on one sublattice.
        count: how many structures at most.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the supercell cannot hold the composition or a wave.
    """
    mixture, name = hessian.mixture, hessian.group
    counts = site_counts(interactions.composition, len(mixture.group(name).sites), name)
    ordering = [(index, wave) for index, wave in enumerate(waves) if not wave.separates]
    patterns = wave_patterns(interactions.lattice, [wave for _, wave in ordering], counts)
    full = hessian.full()
    ranked = sorted(
        ((expanded_energy(hessian, full, chosen), chosen, made) for chosen, made in patterns),
        key=lambda item: item[0],
    )
    structures = []
    for energy, chosen, made in ranked[:count]:
        number, size = decorated_symmetry(interactions.lattice, chosen, symprec)
        ordered = decided(mixture, name, chosen)
        atoms, group = primitive_atoms(ordered, symprec)
        title = structure_name(interactions.lattice, chosen, symprec)
        structures.append(
            OrderedStructure(
                name=title or f"{group.replace(' ', '')} on {size} sites",
                group=name,
                chosen=chosen,
                mixture=ordered,
                atoms=atoms,
                space_group=group,
                sublattice_space_group=number,
                sites_per_cell=size,
                waves=tuple(ordering[index][0] for index in made),
                expanded_energy=energy,
            )
        )
    return _distinctly_named(structures)


def ordered_energies(
    structures: Sequence[OrderedStructure], potential: AlchemicalPotential
) -> FloatArray:
    """Return the energy per site (n,) in eV of ordered structures, at the supercell's geometry."""
    if not structures:
        return np.zeros(0)
    results = potential.evaluate(
        [structure.mixture for structure in structures],
        forces=False,
        stress=False,
        composition_gradient=False,
    )
    return np.array(
        [
            result.energy / structure.mixture.n_sites
            for result, structure in zip(results, structures, strict=True)
        ]
    )


def expanded_energy(hessian: Hessian, full: FloatArray, chosen: IntArray) -> float:
    """Return E + g . d + 1/2 d . H . d in eV for an arrangement (M,), d = 1-hot - p."""
    n_species = len(hessian.species)
    change = np.eye(n_species)[chosen] - np.asarray(hessian.composition)
    second = np.einsum("ia,iajb,jb->", change, full, change, optimize=True)
    return float(hessian.energy + (hessian.gradient * change).sum() + 0.5 * second)


def decided(mixture: Mixture, group: str, chosen: IntArray) -> Mixture:
    """Return a mixture in which every site of a group holds one component.

    The group becomes one group for each component in use, called ``group@component``.

    Args:
        mixture: the supercell.
        group: name of the group.
        chosen: (M,) component of each site.
    """
    old = mixture.group(group)
    return with_site_classes(mixture, group, chosen, np.eye(len(old.components)))


def with_site_classes(
    mixture: Mixture, group: str, classes: IntArray, compositions: FloatArray
) -> Mixture:
    """Return a mixture whose group is split into classes of sites of equal composition.

    Args:
        mixture: the supercell.
        group: name of the group to split.
        classes: (M,) class of each site, an index of the component the class is called after.
        compositions: (K, K) composition of each class.
    """
    old = mixture.group(group)
    if np.asarray(classes).shape != old.sites.shape:
        raise InputError(
            f"an arrangement of {np.size(classes)} sites was given for group {group!r} of "
            f"{len(old.sites)}: give one component per site"
        )
    made: list[Group] = []
    for item in mixture.groups:
        if item.name != group:
            made.append(item)
            continue
        for label in np.unique(classes).tolist():
            members = classes == label
            made.append(
                replace(
                    old,
                    name=f"{group}@{old.components[label]}",
                    sites=old.sites[members],
                    species=old.species[members],
                    composition=compositions[label],
                )
            )
    return replace(mixture, groups=tuple(made))


def primitive_atoms(mixture: Mixture, symprec: float = 1e-3) -> tuple[Atoms, str]:
    """Return the primitive cell of a decided mixture as ASE atoms, and its space group.

    Other groups keep their occupancies, in ``atoms.info["occupancy"]``.

    Raises:
        InputError: if symmetry is not found.
    """
    spglib = import_spglib()

    from alchemlip.crystal.relaxation import space_group

    fractional = np.linalg.solve(mixture.cell.T, mixture.positions.T).T
    found = spglib.get_symmetry_dataset(
        (mixture.cell, fractional, mixture.site_labels), symprec=symprec
    )
    if found is None:
        raise InputError("spglib finds no symmetry in an ordered structure: change symprec")
    _, kept, place = np.unique(found.mapping_to_primitive, return_index=True, return_inverse=True)
    cell = np.asarray(found.primitive_lattice, dtype=float)
    groups = []
    for group in mixture.groups:
        members = np.isin(group.sites, kept)
        if members.any():
            groups.append(
                replace(
                    group,
                    sites=np.searchsorted(kept, group.sites[members]),
                    species=group.species[members],
                )
            )
    pairs = mixture.exclusive.reduced(kept, kept[place], mixture.positions, mixture.cell, cell)
    small = Mixture(
        mixture.numbers[kept],
        mixture.positions[kept],
        cell,
        mixture.pbc,
        tuple(groups),
        pairs,
        mixture.fixed[kept],
        mixture.other_constraints,
    )
    if all(group.composition.max() == 1.0 for group in groups):
        return plain_atoms(small), space_group(mixture, symprec)
    return small.to_atoms(), space_group(mixture, symprec)


def plain_atoms(mixture: Mixture) -> Atoms:
    """Return ordinary ASE atoms of a mixture without choice left; vacant sites are left out."""
    from ase import Atoms

    numbers = np.array(mixture.numbers)
    for group in mixture.groups:
        numbers[group.sites] = group.species[:, int(group.composition.argmax())]
    kept = numbers != VACANCY_NUMBER
    isotopes = (numbers >= ISOTOPE).any()
    return Atoms(
        numbers=element_numbers(numbers[kept]),
        positions=mixture.positions[kept],
        cell=mixture.cell,
        pbc=mixture.pbc,
        masses=[species_mass(number) for number in numbers[kept].tolist()] if isotopes else None,
    )


def _distinctly_named(structures: list[OrderedStructure]) -> list[OrderedStructure]:
    """Number structures of the same name, in order of energy."""
    names = [structure.name for structure in structures]
    return [
        replace(item, name=f"{item.name} #{names[:index].count(item.name) + 1}")
        if names.count(item.name) > 1
        else item
        for index, item in enumerate(structures)
    ]
