"""What the fluctuation of one site's occupancy adds to the energy of a mixed cell.

The on-site term ``1/2 v H v`` is a central difference in the occupancies of one site,
``[E(p + h v) - 2 E(p) + E(p - h v)] / 2 h^2``: two energies instead of one Hessian row. The same
differences of forces and stresses are the exact derivatives of that energy, where double backward
would need a third derivative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.site_symmetry import SiteSymmetry
from alchemlip.disorder.supercells import Repeats, check_exact_composition
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.evaluation import Evaluation
from alchemlip.potential.potential import AlchemicalPotential

Order = Literal["second", "single_site"]

STEPS = {"float64": 0.05, "float32": 0.5}
"""h of the central differences: rounding over h^2 (in float32 1e-4 eV for 64 sites) against
truncation (0.1 meV per site at 0.5 in Cu-Au)."""


@dataclass(frozen=True)
class Fluctuation:
    """What fluctuations add to a cell: energy in eV, forces (S, 3), virial (6,) in eV."""

    energy: float
    forces: FloatArray
    virial: FloatArray


def occupancy_covariance(composition: FloatArray) -> FloatArray:
    """Return C (K, K), the covariance of one site's occupancies: p_a delta_ab - p_a p_b."""
    p = np.asarray(composition, dtype=float)
    return np.asarray(np.diag(p) - np.outer(p, p), dtype=np.float64)


def on_site_fluctuation(
    mixture: Mixture,
    potential: AlchemicalPotential,
    name: str,
    site: int,
    repeats: Repeats,
    order: Order,
    derivatives: bool,
    mean_field: Evaluation,
) -> Fluctuation:
    """Return what the fluctuation of one site adds to an otherwise uniform supercell.

    Forces come folded onto the cell as given: the same site fluctuates in every copy of it.

    Args:
        mixture: the cell as given.
        potential: a loaded potential.
        name: of the group. site: of the group, that fluctuates.
        repeats: of the supercell.
        order: ``second`` or ``single_site``.
        derivatives: also forces and virial.
        mean_field: evaluation of the cell as given.
    """
    copies = int(np.prod(repeats))
    # The first copy of a site has the site's own index.
    supercell = mixture.repeat(repeats).split_group(name)
    factors, compositions = stencil(
        mixture.group(name).composition, order, str(potential.dtype).removeprefix("torch.")
    )
    nothing = Fluctuation(0.0, np.zeros((mixture.n_sites, 3)), np.zeros(6))
    if not len(factors):
        return nothing
    results = potential.evaluate(
        [supercell.with_composition(f"{name}@{site}", x) for x in compositions],
        forces=derivatives,
        stress=derivatives,
        composition_gradient=False,
    )
    rest = -float(factors.sum()) * copies
    energy: float = rest * mean_field.energy + sum(
        factor * result.energy for factor, result in zip(factors, results, strict=True)
    )
    if not derivatives:
        return replace(nothing, energy=float(energy))
    volume = abs(float(np.linalg.det(mixture.cell)))
    forces = rest * cast(FloatArray, mean_field.forces)
    virial = np.zeros(6)
    if mean_field.stress is not None:
        virial = rest * volume * mean_field.stress
    for factor, result in zip(factors, results, strict=True):
        by_copy = cast(FloatArray, result.forces).reshape(copies, mixture.n_sites, 3)
        forces = forces + factor * by_copy.sum(axis=0)
        if result.stress is not None:
            virial = virial + factor * copies * volume * result.stress
    return Fluctuation(float(energy), forces, virial)


def stencil(composition: FloatArray, order: Order, dtype: str) -> tuple[FloatArray, FloatArray]:
    """Return how a site's fluctuation is an average over compositions of that site.

    Its term is ``sum_m f_m [ E(x_m) - E(p) ]``.

    Args:
        composition: (K,) p.
        order: ``second``: x = p +- h v_k with C = sum_k v_k v_k^T and f = 1 / 2 h^2;
            ``single_site``: x one-hot and f = p.
        dtype: of the potential, which sets h.

    Returns:
        Factors f (M,) and compositions x (M, K) on the simplex; none for a pure site.
    """
    p = np.asarray(composition, dtype=float)
    if order == "single_site":
        present = np.flatnonzero(p)
        if len(present) == 1:
            present = present[:0]
        return p[present], np.eye(len(p))[present]
    values, vectors = np.linalg.eigh(occupancy_covariance(p))
    kept = values > 1e-14
    directions = (vectors[:, kept] * np.sqrt(values[kept])).T
    # |v_a| <= sqrt(p_a): below this step no occupancy becomes negative.
    present = p[p > 0]
    h = min(STEPS[dtype], 0.9 * float(np.sqrt(present.min())))
    compositions = np.concatenate([p + h * directions, p - h * directions])
    # A species of no weight has no direction but rounding's.
    compositions = np.where(p > 0, compositions, 0.0)
    factors = np.full(len(compositions), 0.5 / h**2)
    return factors, compositions / compositions.sum(axis=1, keepdims=True)


def exact_composition_term(
    mixture: Mixture,
    potential: AlchemicalPotential,
    name: str,
    repeats: Repeats,
    mean_field: Evaluation,
    on_site: float,
) -> float:
    """Return -1/2 sum_(i != j) sum_ab C_ab H_ia,jb / (n - 1), in eV per cell as given.

    The sum over all pairs, i = j included, is the second derivative in the cell's one composition.

    Args:
        mixture, potential, name, repeats, mean_field: as in `on_site_fluctuation`.
        on_site: the sum over i = j, 1/2 sum_i sum_ab C_ab H_ia,ib of the cell as given, in eV.

    Raises:
        InputError: if the supercell cannot hold its composition exactly.
    """
    group = mixture.repeat(repeats).group(name)
    check_exact_composition(group)
    n = len(group.sites)
    if n == 1:
        return 0.0
    dtype = str(potential.dtype).removeprefix("torch.")
    factors, compositions = stencil(group.composition, "second", dtype)
    if not len(factors):
        return 0.0
    results = potential.evaluate(
        [mixture.with_composition(name, x) for x in compositions],
        forces=False,
        stress=False,
        composition_gradient=False,
    )
    everything = sum(
        factor * (result.energy - mean_field.energy)
        for factor, result in zip(factors, results, strict=True)
    )
    return float(-(everything - on_site) / (n - 1))


def over_equivalent_sites(found: SiteSymmetry, index: int, term: Fluctuation) -> Fluctuation:
    """Return the sum of an inequivalent site's term over all sites that it stands for."""
    voigt = ((0, 1, 2, 1, 0, 0), (0, 1, 2, 2, 2, 1))
    virial = np.empty((3, 3))
    virial[voigt] = virial[voigt[::-1]] = term.virial
    forces, total = np.zeros_like(term.forces), np.zeros((3, 3))
    for representative, operation in found.operation_of.tolist():
        if representative != index:
            continue
        rotation = found.rotations[operation]
        forces[found.permutations[operation]] += term.forces @ rotation.T
        total += rotation @ virial @ rotation.T
    count = float(found.multiplicities[index])
    return Fluctuation(count * term.energy, forces, total[voigt])
