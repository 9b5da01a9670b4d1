"""Crystals whose free energy is exact: springs between atoms, and springs to sites."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import Calculator, all_changes
from ase.neighborlist import neighbor_list
from ase.stress import full_3x3_to_voigt_6_stress


class HarmonicCalculator(Calculator):  # type: ignore[misc]
    """U = U_0 + 1/2 u K u about the positions of a structure, in its cell."""

    implemented_properties: Sequence[str] = ("energy", "forces")

    def __init__(self, sites: Atoms, force_constants: np.ndarray, energy: float = 0.0) -> None:
        super().__init__()
        self.sites = sites.positions.copy()
        self.matrix = force_constants
        self.rest = energy
        self.evaluations = 0

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        self.evaluations += 1
        moved = (self.atoms.positions - self.sites).reshape(-1)
        pull = self.matrix @ moved
        energy = self.rest + 0.5 * float(moved @ pull)
        self.results: dict[str, Any] = {"energy": energy, "forces": -pull.reshape(-1, 3)}


class LennardJonesCalculator(Calculator):  # type: ignore[misc]
    """A cut and shifted pair potential that depends on the configuration alone.

    ASE's own keeps a neighbour list with a skin, so that its sums depend on where it was made.
    """

    implemented_properties: Sequence[str] = ("energy", "forces", "stress")

    def __init__(self, sigma: float, epsilon: float, cutoff: float) -> None:
        super().__init__()
        self.sigma, self.epsilon, self.cutoff = sigma, epsilon, cutoff

    def calculate(
        self,
        atoms: Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = tuple(all_changes),
    ) -> None:
        super().calculate(atoms, list(properties), list(system_changes))
        first, vectors = neighbor_list("iD", self.atoms, self.cutoff)
        squared = np.einsum("ex,ex->e", vectors, vectors)
        sixth = (self.sigma**2 / squared) ** 3
        smooth = (1.0 - squared / self.cutoff**2) ** 2
        plain = 4.0 * self.epsilon * (sixth**2 - sixth)
        # d(energy)/d(r^2) of an ordered pair, which is half a bond.
        slope = 0.5 * (
            smooth * 4.0 * self.epsilon * (3.0 * sixth - 6.0 * sixth**2) / squared
            - plain * 2.0 * (1.0 - squared / self.cutoff**2) / self.cutoff**2
        )
        pull = 2.0 * slope[:, None] * vectors
        forces = np.zeros((len(self.atoms), 3))
        np.add.at(forces, first, 2.0 * pull)
        stress = vectors.T @ pull / self.atoms.get_volume()
        self.results = {
            "energy": 0.5 * float(smooth @ plain),
            "forces": forces,
            "stress": full_3x3_to_voigt_6_stress(0.5 * (stress + stress.T)),
        }


def einstein_matrix(spring_constants: np.ndarray) -> np.ndarray:
    """Return the force constants of atoms on springs to their sites."""
    return np.diag(np.repeat(spring_constants, 3))


def spring_network(atoms: Atoms, cutoff: float, rng: np.random.Generator) -> np.ndarray:
    """Return random force constants (3N, 3N) between neighbours: stable, translation invariant.

    Every bond has a random symmetric positive matrix, stiffest along itself.
    """
    n = len(atoms)
    matrix = np.zeros((n, 3, n, 3))
    first, second, vectors = neighbor_list("ijD", atoms, cutoff)
    for i, j, vector in zip(first, second, vectors, strict=True):
        if i >= j:
            continue
        along = vector / np.linalg.norm(vector)
        noise = rng.normal(size=(3, 3))
        bond = rng.uniform(1.0, 3.0) * np.outer(along, along) + 0.1 * noise @ noise.T
        matrix[i, :, i, :] += bond
        matrix[j, :, j, :] += bond
        matrix[i, :, j, :] -= bond
        matrix[j, :, i, :] -= bond
    return matrix.reshape(3 * n, 3 * n)
