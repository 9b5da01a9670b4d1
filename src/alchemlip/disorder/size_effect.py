"""What relaxing atoms add to the pair interactions: the size effect.

    effect = size_effect(supercell, potential)
    interactions = pair_interactions(hessian, effect.correction)

symbol           here
G                d(forces)/dp of every site of the group
A                force constants of the mixed crystal
- G A^-1 G^T     correction; in reciprocal space V(k) - G(k)^+ A(k)^-1 G(k) at the waves that
                 repeat with the supercell (Khachaturyan, Theory of Structural Transformations in
                 Solids, 1983; Cook and de Fontaine, Acta Metall. 17, 915 (1969))

At k = 0 proper the crystal can also change its cell: two phases side by side, each at its own
lattice parameter (incoherent). `SizeEffect.strain` is what that adds at k = 0 alone. Under pressure
it is the second derivative of the enthalpy: that of the elastic energy holds P d2V/de2 too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.second_derivatives import Method, SecondDerivatives
from alchemlip.crystal.site_symmetry import SiteSymmetry, force_constants, site_symmetry
from alchemlip.disorder.hessian import random_group, site_components
from alchemlip.disorder.lattice import mixed_lattice
from alchemlip.disorder.local_relaxation import SYMMETRIC_STRAINS, stable_modes
from alchemlip.disorder.ordering import covariance_root, occupancy_directions
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import refuse_constraints
from alchemlip.mixture.mixture import Mixture

if TYPE_CHECKING:
    from alchemlip.disorder.pair_interactions import PairInteractions
    from alchemlip.potential.potential import AlchemicalPotential


@dataclass(frozen=True, eq=False)
class SizeEffect:
    """How relaxation changes the second derivatives in the occupancies.

    Attributes:
        correction: (M, K, M, K) in eV, at the fixed cell, to be added to the occupancy Hessian.
        strain: (B K, B K) in eV, to be added to V(k = 0) where the cell relaxes as well, at the
            pressure that the mixture's cell has.
        softest_mode: least eigenvalue of the force constants in eV/A^2, translations left out.
    """

    correction: FloatArray
    strain: FloatArray
    softest_mode: float


def size_effect(
    mixture: Mixture,
    potential: AlchemicalPotential,
    group: str | None = None,
    *,
    method: Method = "auto",
    symprec: float = 1e-3,
) -> SizeEffect:
    """Return the size effect of a mixed supercell.

    Args:
        mixture: the supercell, cell and positions relaxed in mean field.
        potential: a loaded potential; float64 is advised.
        group: name of the group that orders; may be left out if there is one.
        method: of the derivatives, as in `occupancy_hessian`.
        symprec: tolerance of the symmetry search in Angstrom.

    Raises:
        InputError: if the mixed crystal is not stable.
    """
    refuse_constraints(mixture, "the size effect")
    chosen = random_group(mixture, group)
    lattice = mixed_lattice(mixture, chosen.name, symprec)
    by_site = mixture.split_group(chosen.name)
    derivatives = SecondDerivatives(by_site, potential, ("positions", "composition", "strain"))
    positions, strain = derivatives.slices["positions"], derivatives.slices["strain"]
    everywhere = site_symmetry(mixture, None, symprec)
    of_group = site_symmetry(mixture, chosen.sites, symprec)
    k = len(chosen.components)
    place = np.searchsorted(chosen.sites, of_group.representatives)
    first = derivatives.slices["composition"].start + site_components(by_site, chosen)
    atom_rows = (3 * everywhere.representatives[:, None] + np.arange(3)).reshape(-1)
    occupancy_rows = (first + k * place[:, None] + np.arange(k)).reshape(-1)
    rows, _, _ = derivatives.rows(
        np.concatenate([atom_rows, occupancy_rows, np.arange(9) + strain.start]), method
    )
    at_atoms, at_occupancies, at_strains = np.split(
        rows, [len(atom_rows), len(atom_rows) + len(occupancy_rows)]
    )
    stiffness = force_constants(everywhere, at_atoms[:, positions])
    pull, tension = _by_site(
        of_group,
        at_occupancies[:, positions].reshape(len(place), k, -1, 3),
        at_occupancies[:, strain].reshape(len(place), k, 3, 3),
    )
    m = len(chosen.sites)
    values, modes = stable_modes(stiffness, mixture.n_sites)
    along = pull.reshape(m * k, -1) @ modes
    correction = -(along / values) @ along.T

    # Uniform waves: every cell alike, so that positions within the cell and the strain relax.
    basis = SYMMETRIC_STRAINS / np.linalg.norm(SYMMETRIC_STRAINS, axis=1)[:, None]
    members = np.eye(lattice.n_sublattices)[lattice.sublattice]
    uniform = np.einsum("is,iax->sax", members, pull.reshape(m, k, -1)).reshape(-1, len(stiffness))
    tensions = np.einsum("is,iax->sax", members, tension.reshape(m, k, 9) @ basis.T)
    coupling = basis @ at_strains[:, positions]
    inner = (coupling @ modes) / values
    # Of strain with the atoms relaxed along.
    elastic = basis @ at_strains[:, strain] @ basis.T - inner @ (coupling @ modes).T
    # At pressure the crystal keeps its pressure, not its volume: the enthalpy is what is least.
    elastic = elastic + derivatives.pressure_volume_curvature(basis)
    stretch = tensions.reshape(-1, 6) - (uniform @ modes) @ inner.T
    least = float(np.linalg.eigvalsh(0.5 * (elastic + elastic.T))[0])
    if least <= 0:
        raise InputError(
            f"the mixed crystal is elastically unstable (an elastic constant of {least:.3g} eV per "
            "cell): relax its shape in a lower symmetry, or leave out the size effect"
        )
    relaxed = -stretch @ np.linalg.solve(elastic, stretch.T) / lattice.n_cells
    return SizeEffect(
        correction=correction.reshape(m, k, m, k),
        strain=np.asarray(relaxed),
        softest_mode=float(values.min()),
    )


def separation_eigenvalue(
    interactions: PairInteractions, strain: FloatArray | None = None
) -> float:
    """Return the lowest eigenvalue of C^1/2 V(0) C^1/2 in eV: incoherent phase separation.

    Changes that the occupancies cannot make, whose eigenvalue is 0 by construction, do not count.

    Args:
        interactions: with the size effect, if it was asked for.
        strain: (B K, B K) in eV, from `SizeEffect`.
    """
    matrix = interactions.fourier(np.zeros((1, 3)))[0].real
    if strain is not None:
        matrix = matrix + strain
    root = np.kron(
        np.eye(interactions.lattice.n_sublattices), covariance_root(interactions.composition)
    )
    possible = occupancy_directions(interactions) @ root
    return float(np.linalg.eigvalsh(possible @ matrix @ possible.T)[0])


def _by_site(
    found: SiteSymmetry, pull: FloatArray, tension: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return second derivatives of all sites from those of the inequivalent ones.

    Args:
        found: symmetry of the group's sites.
        pull: (R, K, S, 3) in occupancy and position. tension: (R, K, 3, 3) in occupancy and strain.

    Returns:
        (M, K, S, 3) and (M, K, 3, 3).
    """
    m = len(found.operation_of)
    pulls = np.empty((m, *pull.shape[1:]))
    tensions = np.empty((m, *tension.shape[1:]))
    for site, (representative, operation) in enumerate(found.operation_of.tolist()):
        rotation = found.rotations[operation]
        pulls[site][:, found.permutations[operation]] = pull[representative] @ rotation.T
        tensions[site] = rotation @ tension[representative] @ rotation.T
    return pulls, tensions
