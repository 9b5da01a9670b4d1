"""A crystal of pairwise interactions, whose orderings and temperatures are known exactly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import neighbor_list

from alchemlip import Mixture
from alchemlip.potential.evaluation import Evaluation


@dataclass(frozen=True, eq=False)
class PairModel:
    """E = sum_i e . p_i + 1/2 sum_ij p_i . v(r_ij) . p_j, periodic images included.

    Attributes:
        species: atomic numbers.
        pairs: {distance in Angstrom: (K, K) in eV}.
        onsite: (K,) in eV.
    """

    species: tuple[int, ...]
    pairs: Mapping[float, np.ndarray]
    onsite: np.ndarray

    def matrix(self, mixture: Mixture) -> np.ndarray:
        """d2E/dp_ia dp_jb over all sites, (S, K, S, K); i = j holds a site's own images."""
        key = (mixture.positions.tobytes(), mixture.cell.tobytes())
        if key not in self._matrices:
            self._matrices[key] = self._matrix(mixture)
        return self._matrices[key]

    @cached_property
    def _matrices(self) -> dict[tuple[bytes, bytes], np.ndarray]:
        return {}

    def _matrix(self, mixture: Mixture) -> np.ndarray:
        atoms = Atoms(
            positions=mixture.positions,
            cell=mixture.cell,
            pbc=mixture.pbc,
            numbers=[1] * mixture.n_sites,
        )
        i, j, d = neighbor_list("ijd", atoms, max(self.pairs) + 0.01)
        k = len(self.species)
        result = np.zeros((mixture.n_sites, k, mixture.n_sites, k))
        for distance, v in self.pairs.items():
            near = np.abs(d - distance) < 0.01
            np.add.at(result.transpose(0, 2, 1, 3), (i[near], j[near]), v)
        return result

    def evaluate(self, mixtures: Any, **_: Any) -> Any:
        """Stand in for `AlchemicalPotential.evaluate`."""
        if isinstance(mixtures, Sequence):
            return [self.evaluate(mixture) for mixture in mixtures]
        nodes = mixtures.nodes
        occupancies = nodes.occupancies(mixtures.composition)
        column = np.array([self.species.index(z) for z in nodes.number.tolist()])
        p = np.zeros((mixtures.n_sites, len(self.species)))
        np.add.at(p, (nodes.site, column), occupancies)
        field = np.einsum("iajb,jb->ia", self.matrix(mixtures), p)
        energy = float((p * (self.onsite + 0.5 * field)).sum())
        gradient = nodes.matrix.T @ (self.onsite + field)[nodes.site, column]
        return Evaluation(
            energy=energy,
            node_energies=np.zeros(len(nodes)),
            occupancies=occupancies,
            site_energies=np.zeros(mixtures.n_sites),
            forces=None,
            stress=None,
            composition_gradient=gradient,
        )

    def hessian(self, mixture: Mixture, group: str) -> PairHessian:
        """The exact occupancy Hessian."""
        return PairHessian(self, mixture, group)


@dataclass(frozen=True, eq=False)
class PairHessian:
    """An occupancy Hessian filled from a pair model whose species are the group's, in order."""

    model: PairModel
    mixture: Mixture
    group: str

    @property
    def sites(self) -> np.ndarray:
        return self.mixture.group(self.group).sites

    @property
    def species(self) -> tuple[str, ...]:
        return self.mixture.group(self.group).components

    @property
    def composition(self) -> np.ndarray:
        return self.mixture.group(self.group).composition

    @property
    def energy(self) -> float:
        return float(self.model.evaluate(self.mixture).energy)

    @property
    def gradient(self) -> np.ndarray:
        matrix = self.model.matrix(self.mixture)
        p = np.tile(self.composition, (self.mixture.n_sites, 1))
        return (self.model.onsite + np.einsum("iajb,jb->ia", matrix, p))[self.sites]

    @cached_property
    def _full(self) -> np.ndarray:
        return self.model.matrix(self.mixture)[self.sites][:, :, self.sites]

    def full(self) -> np.ndarray:
        return self._full


def exchange(*shells: tuple[float, float]) -> PairModel:
    """Cu and Au with exchange energies J (eV) at distances (Angstrom): J = v_bb + v_aa - 2 v_ab.

    Like pairs also carry something that J does not see.
    """
    pairs = {distance: np.array([[0.11, -0.05], [-0.05, j - 0.21]]) for distance, j in shells}
    return PairModel((29, 79), pairs, np.array([0.3, -0.2]))


def alloy(atoms: Atoms, composition: str | dict[str, float]) -> Mixture:
    """All sites of a crystal of copper mixed."""
    return Mixture.from_elements(atoms, {"Cu": composition})
