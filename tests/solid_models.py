"""Einstein solids whose energy under strain, and so every average, is known exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.stress import full_3x3_to_voigt_6_stress


@dataclass(frozen=True)
class EinsteinSolid:
    """An isotropic elastic medium with atoms on springs.

    U = 1/2 l (tr E)^2 + m tr E^2 + 1/2 k V^-g sum_i |u_i|^2, with E = (C - 1) / 2 the Green strain
    of the cell, C = F^T F, V its volume relative to the reference's and u_i the displacement from
    an anchor that moves with the cell. A whole ASE calculator, without its bookkeeping.

    Attributes:
        edge: of the cubic reference cell in Angstrom.
        lame: l in eV.
        shear: m in eV.
        spring: k in eV/A^2.
        softening: g; 2/3 makes the springs those of a crystal whose sites scale with the cell.
        masses: of the atoms, one by one.
    """

    edge: float = 4.0
    lame: float = 6.0
    shear: float = 4.0
    spring: float = 1.0
    softening: float = 2.0
    masses: tuple[float, ...] = (10.0, 30.0)

    implemented_properties = ("energy", "forces", "stress")

    @property
    def anchors(self) -> np.ndarray:
        """Scaled positions (N, 3)."""
        steps = np.arange(len(self.masses))
        return np.stack([steps * 0.21 % 1.0, steps * 0.37 % 1.0, steps * 0.53 % 1.0], axis=1)

    def atoms(self) -> Atoms:
        """The atoms at rest."""
        n = len(self.masses)
        atoms = Atoms(f"H{n}", cell=3 * [self.edge], pbc=True, masses=self.masses)
        atoms.set_scaled_positions(self.anchors)
        atoms.calc = self
        return atoms

    def strain(self, atoms: Atoms) -> tuple[np.ndarray, np.ndarray]:
        """Deformation gradient F and Green strain E."""
        gradient = atoms.cell.array.T / self.edge
        return gradient, 0.5 * (gradient.T @ gradient - np.eye(3))

    def get_potential_energy(self, atoms: Atoms, force_consistent: bool = False) -> float:
        gradient, green = self.strain(atoms)
        return float(
            self.elastic(green)
            + 0.5 * self._spring(gradient) * np.square(self._displacements(atoms)).sum()
        )

    def get_forces(self, atoms: Atoms) -> np.ndarray:
        return -self._spring(self.strain(atoms)[0]) * self._displacements(atoms)

    def get_stress(self, atoms: Atoms) -> np.ndarray:
        gradient, green = self.strain(atoms)
        second = self.lame * np.trace(green) * np.eye(3) + 2.0 * self.shear * green
        moved = self._displacements(atoms)
        pull = moved.T @ moved - 0.5 * self.softening * np.square(moved).sum() * np.eye(3)
        virial = gradient @ second @ gradient.T + self._spring(gradient) * pull
        volume = np.linalg.det(gradient) * self.edge**3
        return full_3x3_to_voigt_6_stress(virial / volume)

    def get_property(self, name: str, atoms: Atoms) -> Any:
        """What ASE's calculators call it, for a term of a Hamiltonian."""
        found = {
            "energy": self.get_potential_energy,
            "forces": self.get_forces,
            "stress": self.get_stress,
        }
        return found[name](atoms)

    def elastic(self, green: np.ndarray) -> np.ndarray:
        """Energy of the medium at Green strains (..., 3, 3)."""
        trace = np.trace(green, axis1=-2, axis2=-1)
        return 0.5 * self.lame * trace**2 + self.shear * np.square(green).sum(axis=(-2, -1))

    def _displacements(self, atoms: Atoms) -> np.ndarray:
        return atoms.positions - self.anchors @ atoms.cell.array

    def _spring(self, gradient: np.ndarray) -> float:
        return float(self.spring * np.linalg.det(gradient) ** -self.softening)

    # ------------------------------------------------------------------ exact averages

    def log_weight(
        self, stretches: np.ndarray, temperature: float, pressure: float, n_free: int
    ) -> np.ndarray:
        """Log of the weight of a cell with principal stretches (..., 3), atoms integrated out.

        The springs give (k T / k(V))^(n_free / 2); temperature in K, pressure in eV/A^3.
        """
        volume = stretches.prod(axis=-1)
        green = 0.5 * (np.square(stretches)[..., None] * np.eye(3) - np.eye(3))
        enthalpy = self.elastic(green) + pressure * volume * self.edge**3
        beta = 1.0 / (units.kB * temperature)
        return -beta * enthalpy + 0.5 * n_free * self.softening * np.log(volume)
