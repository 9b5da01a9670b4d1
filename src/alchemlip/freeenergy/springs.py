"""Spring constants of an Einstein crystal that moves much as the crystal does.

From mean-square displacements, averaged over each symmetry class:  k = 3 kT / <u^2> for an atom
by itself. With the centre of mass held (sum_i mu_i u_i = 0, mu_i = m_i / sum m) the atoms of an
Einstein crystal are no longer independent, and by conditioning a Gaussian

    <u_i^2> = 3 a_i (1 - mu_i^2 a_i / sum_j mu_j^2 a_j),      a_i = kT / k_i

which is solved for the a_i. For N equal atoms the bracket is 1 - 1/N.

From the Hessian: k_i = tr(d2U/dr_i dr_i) / 3, which is stiffer, because neighbours stand still.

Any positive constants give the right free energy; good ones keep the dissipation small (Freitas,
Asta and de Koning, Comput. Mater. Sci. 112, 333 (2016)).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.freeenergy.crystal_symmetry import (
    CrystalSymmetry,
    leaves_site,
    nearest_neighbour_distances,
)
from alchemlip.freeenergy.einstein import thermal_energy

if TYPE_CHECKING:
    from ase import Atoms

BLOCKS = 16
"""Most blocks of time that are kept apart, to see whether displacements grow."""
FARTHEST = 0.5
"""Displacement over the distance of the nearest neighbour, up to which an atom is surely nearest to
its own site."""
GROWTH = 1.0
"""Largest rise of a mean-square displacement over a run, over its mean; 2 for pure diffusion."""
LINDEMANN = 0.2
"""Root-mean-square displacement over the distance of the nearest neighbour, below which growth is
settling; crystals melt at 0.1 to 0.2 (Lindemann, Phys. Z. 11, 609 (1910))."""
REMEDY = "lower the temperature, or give a structure that is stable there"
SIGNIFICANT = 5.0
"""Rise over its standard error from which on it is believed."""


class Displacements:
    """Accumulates displacements from lattice sites, as an observer of the switching engine.

    Displacements are taken with the centre of mass where that of the sites is. An atom that leaves
    its site ends the run.

    Args:
        sites: the ideal crystal, whose positions are the lattice sites.
        temperature_K: of the dynamics.
    """

    def __init__(self, sites: Atoms, temperature_K: float) -> None:
        self.sites = sites.copy()
        self.temperature_K = temperature_K
        self._scaled = sites.get_scaled_positions(wrap=False)
        self._share = sites.get_masses() / sites.get_masses().sum()
        self._allowed = np.square(FARTHEST * nearest_neighbour_distances(sites))
        n = len(sites)
        self.count = 0
        self._sum = np.zeros((n, 3))
        self._force_squared = np.zeros(n)
        self._block_size = 1
        self._blocks = np.zeros((0, n))
        self._open = np.zeros(n)
        self._open_count = 0

    def observe(self, atoms: Atoms) -> None:
        """Add a configuration with its forces.

        Raises:
            InputError: naming the atom, if one is nearer to another site than to its own.
        """
        moved = atoms.positions - self._scaled @ atoms.cell.array
        moved -= self._share @ moved
        squared = np.einsum("ix,ix->i", moved, moved)
        self._sum += moved
        for atom in np.flatnonzero(squared > self._allowed).tolist():
            # Half the way to the nearest neighbour, but not necessarily towards it.
            if leaves_site(self._scaled, atoms.cell.array, atom, moved[atom]):
                raise InputError(
                    f"{self._diffusing}: atom {atom} ({atoms.symbols[atom]}) moved "
                    f"{np.sqrt(squared[atom]):.2f} A from its site and is nearer to another one; "
                    f"{REMEDY}"
                )
        forces = atoms.get_forces(apply_constraint=False)
        self._force_squared += np.einsum("ix,ix->i", forces, forces)
        self.count += 1
        self._open += squared
        self._open_count += 1
        if self._open_count == self._block_size:
            self._blocks = np.vstack([self._blocks, self._open / self._open_count])
            self._open = np.zeros(len(squared))
            self._open_count = 0
        if len(self._blocks) == 2 * BLOCKS:
            self._blocks = 0.5 * (self._blocks[::2] + self._blocks[1::2])
            self._block_size *= 2

    @property
    def mean_displacements(self) -> FloatArray:
        """(N, 3) mean displacement of each atom in Angstrom."""
        return np.asarray(self._sum / self._checked_count())

    @property
    def mean_squares(self) -> FloatArray:
        """(N,) mean-square displacement of each atom about its mean position, in A^2."""
        about_sites = (
            self._block_size * self._blocks.sum(axis=0) + self._open
        ) / self._checked_count()
        return np.asarray(about_sites - np.square(self.mean_displacements).sum(axis=1))

    @property
    def curvatures(self) -> FloatArray:
        """(N,) mean curvature <F_i^2> / (3 kT) of each atom's energy, in eV/A^2."""
        kT = thermal_energy(self.temperature_K)
        return np.asarray(self._force_squared / self._checked_count() / (3.0 * kT))

    def check_crystal(self, crystal: CrystalSymmetry) -> None:
        """Refuse a crystal whose atoms are on their way from their sites.

        Raises:
            InputError: naming the atom that is farthest away, if the mean-square displacement of
                its class grows steadily.
        """
        self._checked_count()
        if len(self._blocks) < BLOCKS // 2:
            return
        for index in range(len(crystal.class_names)):
            members = crystal.members(index)
            in_time = self._blocks[:, members].mean(axis=1)
            rise, error = _rise(in_time)
            nearest = float(np.sqrt(self._allowed[members]).mean()) / FARTHEST
            far = in_time[-1] > (LINDEMANN * nearest) ** 2
            if far and rise > GROWTH * in_time.mean() and rise > SIGNIFICANT * error:
                last = self._blocks[-1, members]
                atom = int(members[last.argmax()])
                raise InputError(
                    f"{self._diffusing}: the mean-square displacement of "
                    f"{crystal.class_names[index]} grew by {rise:.2g} A^2 while sampling, most at "
                    f"atom {atom} ({self.sites.symbols[atom]}); {REMEDY}, or equilibrate for "
                    "longer if it is only settling"
                )

    @property
    def _diffusing(self) -> str:
        return f"the crystal melts or diffuses at {self.temperature_K:g} K"

    def _checked_count(self) -> int:
        if not self.count:
            raise InputError("no displacement was observed: take at least one sample")
        return self.count

    def state(self) -> dict[str, Any]:
        """Return the sums, for a checkpoint."""
        return {
            "count": self.count,
            "sum": self._sum.copy(),
            "force_squared": self._force_squared.copy(),
            "block_size": self._block_size,
            "blocks": self._blocks.copy(),
            "open": self._open.copy(),
            "open_count": self._open_count,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up the sums of a checkpoint."""
        n = len(self.sites)
        self.count = int(state["count"])
        self._sum = np.array(state["sum"], dtype=float)
        self._force_squared = np.array(state["force_squared"], dtype=float)
        self._block_size = int(state["block_size"])
        self._blocks = np.array(state["blocks"], dtype=float).reshape(-1, n)
        self._open = np.array(state["open"], dtype=float)
        self._open_count = int(state["open_count"])


def _rise(values: FloatArray) -> tuple[float, float]:
    """Return how much a straight line through values rises over them, and its standard error.

    Neighbouring values are correlated: the error grows as that of an autoregressive series.
    """
    time = np.linspace(-0.5, 0.5, len(values))
    slope = float(time @ values / (time @ time))
    left = values - values.mean() - slope * time
    error = float(np.sqrt(left @ left / (len(values) - 2) / (time @ time)))
    memory = float(left[1:] @ left[:-1] / (left @ left)) if left.any() else 0.0
    memory = min(max(memory, 0.0), 0.9)
    return slope, error * float(np.sqrt((1.0 + memory) / (1.0 - memory)))


def springs_from_displacements(
    mean_squares: npt.ArrayLike,
    masses: npt.ArrayLike,
    temperature_K: float,
    crystal: CrystalSymmetry,
) -> FloatArray:
    """Return spring constants (N,) in eV/A^2, equal within each symmetry class.

    Args:
        mean_squares: (N,) mean-square displacements in A^2, three directions together, sampled with
            the centre of mass held.
        masses: (N,) in amu.
        temperature_K: in K.
        crystal: its classes.

    Raises:
        InputError: if no constants belong to these displacements.
    """
    kT = thermal_energy(temperature_K)
    of_site = crystal.class_of_site
    means = crystal.class_means(mean_squares)[of_site] / 3.0
    if not (means > 0).all() or not np.isfinite(means).all():
        raise InputError(
            f"atom {int(np.argmin(means))} did not move while sampling: take more samples"
        )
    share = np.asarray(masses, dtype=float) / np.sum(masses)
    widths = means.copy()
    for _ in range(10_000):
        before = widths
        weights = share**2 * widths
        bracket = 1.0 - weights / weights.sum()
        if not (bracket > 0).all():
            break
        widths = means / crystal.class_means(bracket)[of_site]
        if np.abs(widths / before - 1.0).max() < 1e-13:
            return np.asarray(kT / widths)
    raise InputError(
        "the mean-square displacements fit no Einstein crystal with its centre of mass held (one "
        "atom carries nearly all of it): take a larger supercell, or the springs of the Hessian"
    )


def springs_from_hessian(
    atoms: Atoms,
    calculator: Any,
    crystal: CrystalSymmetry,
    displacement_A: float = 0.01,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> FloatArray:
    """Return spring constants (N,) in eV/A^2 of atoms that move alone, class by class.

    Args:
        atoms: the relaxed crystal.
        calculator: any ASE calculator with forces.
        crystal: its classes; one atom of each is displaced, to both sides along three axes.
        displacement_A: in Angstrom.
        on_progress: called with (classes done, classes).

    Raises:
        InputError: naming the atom, if one is not held at its site.
    """
    from alchemlip.freeenergy.harmonic import force_constant_block

    constants = np.zeros(len(atoms))
    n_classes = len(crystal.class_names)
    for index, name in enumerate(crystal.class_names):
        members = crystal.members(index)
        site = int(members[0])
        block = force_constant_block(atoms, calculator, site, displacement_A)[:, site]
        constant = float(np.trace(block)) / 3.0
        if not constant > 0:
            raise InputError(
                f"atom {site} ({name}) is not held at its site (mean curvature {constant:.2g} "
                "eV/A^2): relax the crystal, or take the springs of mean-square displacements"
            )
        constants[members] = constant
        if on_progress is not None:
            on_progress(index + 1, n_classes)
    return constants


def mean_anchors(
    displacements: Displacements, labels: npt.ArrayLike | None = None, symprec: float = 1e-3
) -> FloatArray:
    """Return scaled mean positions (N, 3) of a crystal, with the symmetry of its sites.

    Positions that symmetry fixes stay; internal coordinates go where the temperature puts them.

    Args:
        displacements: as sampled.
        labels: (N,) integers, equal on sites that hold the same; by default element and mass.
        symprec: tolerance of the symmetry search in Angstrom.
    """
    from alchemlip.crystal.relaxation import fix_symmetry
    from alchemlip.freeenergy.crystal_symmetry import site_labels

    sites = displacements.sites
    labelled = sites.copy()
    labelled.numbers = site_labels(sites) if labels is None else np.asarray(labels)
    moved = displacements.mean_displacements.copy()
    fix_symmetry(labelled, symprec).adjust_forces(labelled, moved)
    scaled = sites.get_scaled_positions(wrap=False)
    return np.asarray(scaled + np.linalg.solve(sites.cell.array.T, moved.T).T)
