"""The energy that atoms of a random alloy gain by relaxing around their actual neighbours.

    relaxation = local_relaxation(mixture.repeat((2, 2, 2)), potential)
    relaxation.energy / relaxation.mixture.n_sites          # eV per site, negative

To second order in the occupancies, atoms harmonic about the mean-field crystal:

    E_relax = -1/2 tr(C G^T A^-1 G) = -1/2 sum_i sum_ab C_ab G_ia . A^-1 . G_ib

symbol    here
G_ia      d(forces)/dp_ia, (3 S,)
A         force constants of the mean-field crystal, (3 S, 3 S), translations projected out
C_ab      p_a delta_ab - p_a p_b; at exact composition also -C_ab / (n - 1) between two sites

The longest wave is that of the supercell. With ``cell=True`` the six strains are variables like the
displacements: for comparison with a periodic cell that relaxes as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.second_derivatives import Method, SecondDerivatives, Variable
from alchemlip.crystal.site_symmetry import SiteSymmetry, force_constants, site_symmetry
from alchemlip.disorder.fluctuations import occupancy_covariance
from alchemlip.disorder.hessian import random_group, site_components
from alchemlip.disorder.supercells import check_exact_composition
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import refuse_constraints
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.potential.potential import AlchemicalPotential

LARGEST_FORCE = 0.05
"""Of the mean-field crystal, in eV/A: beyond it there is no crystal to be harmonic about."""
SOFTEST = 1e-4
"""Of an eigenvalue of the force constants, relative to the largest: below it a mode is unstable."""
SYMMETRIC_STRAINS = np.array(
    [
        np.outer(*np.eye(3)[[a, b]]) + np.outer(*np.eye(3)[[b, a]])
        for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
    ]
).reshape(6, 9)


@dataclass(frozen=True, eq=False)
class LocalRelaxation:
    """What atoms gain by relaxing around random neighbours.

    Attributes:
        mixture: the supercell, as given.
        group: the disordered group.
        energy: of the supercell in eV, never positive.
        softest_mode: least eigenvalue of the force constants in eV/A^2, translations left out.
        stiffness: (3 S - 3,) these eigenvalues, ascending; with strains among them if the cell
            relaxed.
        method: of the derivatives, ``double_backward`` or ``differences``.
        note: why ``auto`` fell back on differences; empty otherwise.
    """

    mixture: Mixture
    group: str
    energy: float
    softest_mode: float
    stiffness: FloatArray
    method: str
    note: str = ""


def local_relaxation(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str | None = None,
    *,
    exact_composition: bool = False,
    cell: bool = False,
    method: Method = "auto",
    displacement: float | None = None,
    symmetry: bool = True,
    symprec: float = 1e-3,
) -> LocalRelaxation:
    """Return the energy of local relaxation of a random alloy's supercell.

    Args:
        mixture: the supercell, relaxed in mean field.
        potential: a loaded potential; float64 is advised.
        group: name of the disordered group; may be left out if there is one.
        exact_composition: average over arrangements of the supercell's exact composition.
        cell: also let the strain of the supercell relax, at the pressure that its cell has.
        method: of the derivatives, as in `occupancy_hessian`.
        displacement: force constants by central differences of so many Angstrom, the size of the
            displacements to come, where the curvature at the ideal sites says little of them.
        symmetry: compute inequivalent sites alone.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the mean-field crystal is not relaxed or not stable, or the supercell cannot
            hold its composition.
    """
    refuse_constraints(mixture, "local relaxation")
    chosen = random_group(mixture, group)
    if exact_composition:
        check_exact_composition(chosen)
    if cell and not mixture.pbc.all():
        raise InputError("the cell relaxes in crystals alone: leave out cell, or set pbc")
    by_site = mixture.split_group(chosen.name)
    variables: tuple[Variable, ...] = ("positions", "composition")
    derivatives = SecondDerivatives(
        by_site, potential, (*variables, "strain") if cell else variables
    )
    positions = derivatives.slices["positions"]
    _refuse_unrelaxed(derivatives.gradient[positions].reshape(-1, 3))
    tolerance = symprec if symmetry else None
    everywhere = site_symmetry(mixture, None, tolerance)
    of_group = site_symmetry(mixture, chosen.sites, tolerance)
    k = len(chosen.components)
    place = np.searchsorted(chosen.sites, of_group.representatives)
    first = derivatives.slices["composition"].start + site_components(by_site, chosen)
    atom_rows = (3 * everywhere.representatives[:, None] + np.arange(3)).reshape(-1)
    occupancy_rows = (first + k * place[:, None] + np.arange(k)).reshape(-1)
    strain_rows = np.arange(9) + derivatives.slices["strain"].start if cell else atom_rows[:0]
    if cell and displacement is not None:
        raise InputError("the strain has no displacement in Angstrom: leave out one of the two")
    atoms_exact = atom_rows if displacement is None else atom_rows[:0]
    rows, used, note = derivatives.rows(
        np.concatenate([atoms_exact, occupancy_rows, strain_rows]), method
    )
    at_atoms, at_occupancies, at_strains = np.split(
        rows, [len(atoms_exact), len(atoms_exact) + len(occupancy_rows)]
    )
    if displacement is not None:
        at_atoms, _, _ = derivatives.rows(atom_rows, "differences", displacement)
    stiffness = force_constants(everywhere, at_atoms[:, positions])
    # Sum over the sites of -G; the signs cancel below.
    push = at_occupancies[:, positions].reshape(len(place), k, -1)
    total = _sum_over_sites(of_group, push)
    if cell:
        strain = derivatives.slices["strain"]
        basis = SYMMETRIC_STRAINS / np.linalg.norm(SYMMETRIC_STRAINS, axis=1)[:, None]
        coupling = basis @ at_strains[:, positions]
        elastic = basis @ at_strains[:, strain] @ basis.T
        elastic = elastic + derivatives.pressure_volume_curvature(basis)
        stiffness = np.block([[stiffness, coupling.T], [coupling, elastic]])
        pull = at_occupancies[:, strain].reshape(len(place), k, 9)
        # Strains are tensors: the sum over equivalent sites turns them.
        total = np.concatenate([total, _sum_of_strains(of_group, pull) @ basis.T], axis=-1)
        push = np.concatenate([push, pull @ basis.T], axis=-1)
    values, modes = stable_modes(stiffness, mixture.n_sites)
    along, along_total = push @ modes, total @ modes
    covariance = occupancy_covariance(chosen.composition)
    n = len(chosen.sites)
    share = 1.0 / (n - 1) if exact_composition and n > 1 else 0.0

    own = np.einsum("ab,ram,m,rbm->r", covariance, along, 1.0 / values, along)
    mixed = np.einsum("ab,ram,m,bm->r", covariance, along, 1.0 / values, along_total)
    trace = float(of_group.multiplicities @ ((1.0 + share) * own - share * mixed))
    return LocalRelaxation(
        mixture=mixture,
        group=chosen.name,
        energy=-0.5 * trace,
        softest_mode=float(values.min()),
        stiffness=values,
        method=used,
        note=note,
    )


def _refuse_unrelaxed(gradient: FloatArray) -> None:
    largest = float(np.linalg.norm(gradient, axis=1).max())
    if largest > LARGEST_FORCE:
        raise InputError(
            f"the mean-field crystal is not relaxed (largest force {largest:.2g} eV/A): relax the "
            "mixed cell first"
        )


def _sum_over_sites(found: SiteSymmetry, push: FloatArray) -> FloatArray:
    """Return the sum (K, 3 S) over a group's sites, from the inequivalent ones (R, K, 3 S)."""
    by_site = push.reshape(*push.shape[:2], -1, 3)
    total = np.zeros(by_site.shape[1:])
    for representative, operation in found.operation_of.tolist():
        turned = by_site[representative] @ found.rotations[operation].T
        total[:, found.permutations[operation]] += turned
    return total.reshape(push.shape[1], -1)


def _sum_of_strains(found: SiteSymmetry, pull: FloatArray) -> FloatArray:
    """Return the sum (K, 9) over a group's sites of tensors (R, K, 9) of the inequivalent ones."""
    total = np.zeros((pull.shape[1], 3, 3))
    tensors = pull.reshape(*pull.shape[:2], 3, 3)
    for representative, operation in found.operation_of.tolist():
        rotation = found.rotations[operation]
        total += np.einsum("xa,kab,yb->kxy", rotation, tensors[representative], rotation)
    return total.reshape(-1, 9)


def stable_modes(stiffness: FloatArray, n_sites: int) -> tuple[FloatArray, FloatArray]:
    """Return eigenvalues (M,) and eigenvectors (Z, M) without the three translations.

    Raises:
        InputError: naming the eigenvalue of an unstable mode.
    """
    size = len(stiffness)
    translations = np.zeros((size, 3))
    translations[: 3 * n_sites] = np.tile(np.eye(3), (n_sites, 1)) / np.sqrt(n_sites)
    projector = np.eye(size) - translations @ translations.T
    largest = float(np.abs(stiffness).max())
    # Translations go to the top of the spectrum, out of the way.
    shifted = projector @ stiffness @ projector + 1e3 * largest * translations @ translations.T
    values, modes = np.linalg.eigh(shifted)
    values, modes = values[:-3], modes[:, :-3]
    if len(values) and values[0] < SOFTEST * values[-1]:
        raise InputError(
            f"the mean-field crystal is unstable: its force constants have the eigenvalue "
            f"{values[0]:.3g} eV/A^2, where relaxing is no small displacement: relax the mixed "
            "supercell without its symmetry (from displaced atoms), or take a smaller volume or "
            "another composition"
        )
    return values, modes
