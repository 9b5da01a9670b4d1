"""What an evaluation gives, cut from a batch's tensors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from alchemlip.arrays import FloatArray
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.graph import Graph


@dataclass(frozen=True)
class Evaluation:
    """Energy and derivatives of one mixture.

    Attributes:
        energy: in eV.
        node_energies: (N,) energy eps of each node of ``mixture.nodes`` in eV, unweighted; in the
            embedding representation, where nodes have no energy of their own, that of their site.
        occupancies: (N,) occupancy of each node.
        site_energies: (S,) sum of p eps over the nodes of each site, in eV.
        forces: (S, 3) in eV/A; None if not asked for.
        stress: (6,) xx, yy, zz, yz, xz, xy in eV/A^3, positive in tension; None if not asked for,
            or if undefined: without periodic directions, or where the cell has no volume.
        composition_gradient: (K,) raw dE/dx in eV, in the order of ``mixture.component_labels``;
            None if not asked for.
        short_range_gradient: (A,) dE/d(alpha) in eV, group by group in the order of
            ``ShortRangeOrder.parameters``; None without short-range order, or if no composition
            gradient was asked for.
    """

    energy: float
    node_energies: FloatArray
    occupancies: FloatArray
    site_energies: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None
    composition_gradient: FloatArray | None
    short_range_gradient: FloatArray | None = field(default=None, kw_only=True)


def stress_is_defined(mixture: Mixture) -> bool:
    """Whether a stress exists: some direction is periodic, and the cell has a volume.

    A slab or wire whose cell has a volume (vacuum included) has one, referred to that volume, as
    everywhere in ASE. A cluster has none, nor has a cell with missing vectors.
    """
    return bool(mixture.pbc.any()) and abs(float(np.linalg.det(mixture.cell))) > 1e-6


def evaluations(
    graph: Graph,
    mixtures: Sequence[Mixture],
    nodes: Tensor,
    site: Tensor,
    forces: Tensor | None,
    virial: Tensor | None,
    gradient: Tensor | None,
    composition_gradient: bool,
    short_range_gradient: Tensor | None = None,
) -> list[Evaluation]:
    """Return the batch's tensors as one `Evaluation` per mixture."""
    energies = site.new_zeros(graph.n_structures).index_add(0, graph.site_structure, site)
    occupancies = graph.occupancies(graph.composition.detach())

    def parts(values: Tensor, counts: tuple[int, ...]) -> list[FloatArray]:
        array = values.detach().cpu().numpy()
        return np.split(array, np.cumsum(counts)[:-1])

    node_parts = parts(nodes, graph.node_counts)
    occupancy_parts = parts(occupancies, graph.node_counts)
    site_parts = parts(site, graph.site_counts)
    force_parts = None if forces is None else parts(forces, graph.site_counts)
    gradient_parts = None
    if composition_gradient and gradient is not None:
        gradient_parts = parts(gradient, graph.component_counts)
    alpha_parts = None
    if short_range_gradient is not None and graph.short_range is not None:
        alpha_parts = parts(short_range_gradient, graph.short_range.counts)
    virials = None if virial is None else virial.detach().cpu().numpy()
    totals = energies.cpu().numpy()

    results = []
    for index, mixture in enumerate(mixtures):
        voigt = None
        if virials is not None and stress_is_defined(mixture):
            # The volume is unsigned: left-handed cells are cells.
            tensor = virials[index] / abs(float(np.linalg.det(mixture.cell)))
            voigt = np.array([tensor[a, b] for a, b in _VOIGT])
        results.append(
            Evaluation(
                energy=float(totals[index]),
                node_energies=node_parts[index],
                occupancies=occupancy_parts[index],
                site_energies=site_parts[index],
                forces=None if force_parts is None else force_parts[index],
                stress=voigt,
                composition_gradient=None if gradient_parts is None else gradient_parts[index],
                short_range_gradient=None
                if alpha_parts is None or not len(alpha_parts[index])
                else alpha_parts[index],
            )
        )
    return results


_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
