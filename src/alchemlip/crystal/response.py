"""Exact derivatives of relaxed properties in the composition.

    result = relax(mixture, potential, keep_symmetry=True)
    found = response(result.mixture, potential, [lattice_parameter("a"), volume()])
    found[0].value, found[0].gradient          # (K,), in the order of mixture.component_labels

A property f(z, x) at the relaxed coordinates z(x), where dH/dz = 0, has by the implicit function
theorem the total derivative

    df/dx = f_x - lambda . H_zx,       H_zz lambda = f_z

    H       enthalpy E + P V at the external pressure P
    z       atomic displacements and those strains that are relaxed
    H_zz    force constants, inner and elastic together
    lambda  the adjoint, found by conjugate gradients with Hessian-vector products

No relaxation is repeated, and no matrix stored. f_z is first projected on what the symmetry of the
crystal leaves free: H_zx lies there, so the rest of f_z cannot matter, and fewer steps are needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from alchemlip.arrays import FloatArray
from alchemlip.crystal.properties import DerivedProperty, Property
from alchemlip.crystal.relaxation import RelaxationSettings, cell_mask
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import refuse_other_constraints
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.ensemble import Potential, members_of
from alchemlip.potential.potential import apply_strain

SOLVED = 1e-8
"""Residual of the adjoint, relative to its right-hand side, at which it is solved."""
STIFFNESS_RATIO = 20.0
"""Guess of force constant over elastic constant in A, which puts strains on the scale of atoms."""


@dataclass(frozen=True)
class Response:
    """A property at a relaxed structure, and its derivative along the relaxed structures.

    Attributes:
        name: of the property, with its unit.
        value: there.
        gradient: (K,) total derivative in the flat composition, in the order of
            ``mixture.component_labels``; raw, as the composition gradient.
        fixed: (K,) the part at fixed coordinates, f_x.
        products: Hessian-vector products that its adjoint took.
        residual: of the adjoint, relative.
    """

    name: str
    value: float
    gradient: FloatArray
    fixed: FloatArray
    products: int
    residual: float


class RelaxedState:
    """What a property is a function of, as tensors that are differentiable.

    Attributes:
        cell: (3, 3) in Angstrom. positions: (S, 3) in Angstrom. composition: (K,).
        energy: in eV.
        n_sites: number of lattice sites, S.
        mixture: what is mixed where.

    Args:
        repeats: of a supercell, whose ``cell`` and ``volume`` are those of one of its parts.
    """

    def __init__(
        self,
        mixture: Mixture,
        cell: Tensor,
        positions: Tensor,
        composition: Tensor,
        energy: Tensor,
        strain: Tensor,
        repeats: Sequence[int] = (1, 1, 1),
    ) -> None:
        self.mixture = mixture
        self.cell = cell / cell.new_tensor(list(repeats)).unsqueeze(1)
        self._whole_volume = torch.linalg.det(cell).abs()
        self.positions = positions
        self.composition = composition
        self.energy = energy
        self.n_sites = mixture.n_sites
        self._strain = strain

    @cached_property
    def volume(self) -> Tensor:
        """Of the cell, in A^3."""
        volume: Tensor = torch.linalg.det(self.cell).abs()
        return volume

    def enthalpy(self, pressure: float) -> Tensor:
        """Return E + P V of the whole cell in eV, at an external pressure in GPa."""
        from ase.units import GPa

        return self.energy + pressure * float(GPa) * self._whole_volume if pressure else self.energy

    @cached_property
    def stress(self) -> Tensor:
        """(3, 3) in eV/A^3, positive in tension."""
        (slope,) = torch.autograd.grad(self.energy, self._strain, create_graph=True)
        # (1/V) dE/dF F^T with F = 1 + strain: the factor F is 1 here, but its derivative is not 0,
        # and carries the stress itself into that of the stress.
        symmetric = 0.5 * (self._strain[0] + self._strain[0].T)
        turned = slope[0] + slope[0] @ symmetric
        stress: Tensor = 0.5 * (turned + turned.T) / self._whole_volume
        return stress


def response(
    mixture: Mixture,
    potential: Potential,
    properties: Sequence[Property],
    settings: RelaxationSettings | None = None,
    *,
    use_symmetry: bool = True,
    residual: float = SOLVED,
) -> list[Response]:
    """Return properties of a relaxed mixture with their exact derivatives in the composition.

    Args:
        mixture: relaxed, with the same settings; forces that are left enter the derivative.
        potential: in float64, or an ensemble of such.
        properties: functions of a `RelaxedState` (`alchemlip.crystal.properties`, or your own).
        settings: of the relaxation: which strains were relaxed, and at what pressure.
        use_symmetry: project on what the crystal's symmetry leaves free. The symmetry is that of
            geometry and groups, whatever the composition.
        residual: at which an adjoint counts as solved.

    Raises:
        InputError: if the potential is not in float64, a mode is unstable, or an adjoint does not
            converge.
    """
    settings = settings or RelaxationSettings()
    refuse_other_constraints(mixture)
    if any(member.dtype != torch.float64 for member in members_of(potential)):
        raise InputError(
            "derivatives of relaxed properties need float64: load the potential with "
            "dtype='float64' (--dtype float64)"
        )
    plain = [item for item in properties if not isinstance(item, DerivedProperty)]
    found = _Adjoint(mixture, potential, settings, use_symmetry).solve(plain, residual)
    by_name = {item.name: item for item in found}
    for item in properties:
        if isinstance(item, DerivedProperty):
            value, gradient = item.derived(mixture, potential, settings)
            nothing = np.zeros_like(gradient)
            by_name[item.name] = Response(item.name, value, gradient, nothing, 0, 0.0)
    return [by_name[item.name] for item in properties]


def property_values(
    mixture: Mixture,
    potential: Potential,
    properties: Sequence[Property],
    repeats: Sequence[int] = (1, 1, 1),
    settings: RelaxationSettings | None = None,
) -> list[float]:
    """Return properties of a structure as it is, relaxed or not, without derivatives.

    Args:
        mixture: the structure; it may be pure.
        potential: a loaded potential, or an ensemble.
        properties: what is asked for.
        repeats: of a supercell; lattice parameters and volumes are then those of one part.
        settings: of the relaxation, where a property takes further ones (`bulk_modulus`).
    """
    members = members_of(potential)
    graphs = [member.graph([mixture]) for member in members]
    strain = torch.zeros_like(graphs[0].cells).requires_grad_()
    energy = torch.stack(
        [
            member.energies(graph, strain=strain).sum()
            for member, graph in zip(members, graphs, strict=True)
        ]
    ).mean()
    first = graphs[0]
    state = RelaxedState(
        mixture, first.cells[0], first.positions, first.composition, energy, strain, repeats
    )
    return [
        item.derived(mixture, potential, settings or RelaxationSettings())[0]
        if isinstance(item, DerivedProperty)
        else float(item.function(state).detach())
        for item in properties
    ]


class _Adjoint:
    """One relaxed structure with its Hessian-vector products, shared by all properties."""

    def __init__(
        self,
        mixture: Mixture,
        potential: Potential,
        settings: RelaxationSettings,
        use_symmetry: bool,
    ) -> None:
        self.mixture = mixture
        self._mask = torch.from_numpy(cell_mask(mixture, settings)) > 0
        self._volume_only = settings.cell == "volume"
        members = members_of(potential)
        device = members[0].device
        self._mask = self._mask.to(device)
        volume = abs(float(np.linalg.det(mixture.cell)))
        # One unit of a scaled strain costs about what one Angstrom of a displacement does.
        self._scale = max(np.sqrt(volume / STIFFNESS_RATIO), 1.0)
        n = 3 * mixture.n_sites
        self._n_atoms = n
        graphs = [member.graph([mixture]) for member in members]
        origin = graphs[0]
        self.leaf = torch.zeros(n + 9, dtype=torch.float64, device=device, requires_grad=True)
        self.composition = origin.composition.clone().requires_grad_()
        strain = (self.leaf[n:] / self._scale).reshape(1, 3, 3)
        positions = origin.positions + self.leaf[:n].reshape(-1, 3)
        energy = torch.stack(
            [
                member.energies(graph, positions, strain, self.composition).sum()
                for member, graph in zip(members, graphs, strict=True)
            ]
        ).mean()
        moved, cells = apply_strain(origin, positions, origin.cells, strain)
        self.state = RelaxedState(mixture, cells[0], moved, self.composition, energy, strain)
        enthalpy = self.state.enthalpy(settings.pressure)
        (self._slope,) = torch.autograd.grad(enthalpy, self.leaf, create_graph=True)
        self._symmetry = _symmetry(mixture, settings.symprec) if use_symmetry else None
        # Fixed sites hold the crystal where it is.
        rigid = _rigid_motions(mixture)
        self._translations = rigid[:0] if mixture.fixed.any() else rigid
        self.products = 0

    def project(self, vector: Tensor) -> Tensor:
        """Return the part of a vector in z that symmetry and the relaxed strains leave free."""
        n = self._n_atoms
        atoms = vector[:n].reshape(-1, 3).detach().cpu().numpy().copy()
        strain = vector[n:].reshape(3, 3)
        strain = 0.5 * (strain + strain.T)
        if self._volume_only:
            strain = torch.eye(3, dtype=strain.dtype, device=strain.device) * strain.trace() / 3.0
        strain = torch.where(self._mask, strain, torch.zeros_like(strain))
        tensor = strain.detach().cpu().numpy().copy()
        if self._symmetry is not None:
            atoms, tensor = self._symmetry(atoms, tensor)
        flat = atoms.reshape(-1)
        flat = flat - self._translations.T @ (self._translations @ flat)
        flat[np.repeat(self.mixture.fixed, 3)] = 0.0
        joined = np.concatenate([flat, tensor.reshape(-1)])
        return torch.from_numpy(joined).to(vector.device)

    def product(self, vector: Tensor) -> Tensor:
        """Return H_zz times a vector, projected."""
        self.products += 1
        (result,) = torch.autograd.grad(self._slope @ vector, self.leaf, retain_graph=True)
        return self.project(result)

    def solve(self, properties: Sequence[Property], tolerance: float) -> list[Response]:
        responses = []
        for wanted in properties:
            value = wanted.function(self.state)
            if value.dim() != 0:
                raise InputError(
                    f"the property {wanted.name!r} is no single number (shape "
                    f"{tuple(value.shape)}): return a scalar tensor"
                )
            by_z, by_x = torch.autograd.grad(
                value,
                (self.leaf, self.composition),
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            before = self.products
            adjoint, left = self._conjugate_gradients(self.project(by_z), tolerance, wanted.name)
            gradient = by_x
            if bool(adjoint.any()):
                (mixed,) = torch.autograd.grad(
                    self._slope @ adjoint,
                    self.composition,
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )
                gradient = by_x - mixed
            responses.append(
                Response(
                    name=wanted.name,
                    value=float(value.detach()),
                    gradient=gradient.detach().cpu().numpy(),
                    fixed=by_x.detach().cpu().numpy(),
                    products=self.products - before,
                    residual=left,
                )
            )
        return responses

    def _conjugate_gradients(
        self, right: Tensor, tolerance: float, name: str
    ) -> tuple[Tensor, float]:
        solution = torch.zeros_like(right)
        size = float(right.norm())
        if size < 1e-12:
            return solution, 0.0
        left, direction = right.clone(), right.clone()
        squared = float(left @ left)
        for _ in range(3 * len(right)):
            image = self.product(direction)
            curvature = float(direction @ image)
            if curvature <= 0.0:
                stiffness = curvature / float(direction @ direction)
                raise InputError(
                    f"the structure is unstable (a mode of curvature {stiffness:.3g} eV/A^2 in the "
                    f"response of {name!r}), so its relaxed properties have no derivative: relax "
                    "it further, or from displaced sites without keep_symmetry"
                )
            step = squared / curvature
            solution = solution + step * direction
            left = left - step * image
            following = float(left @ left)
            if following <= (tolerance * size) ** 2:
                return solution, float(np.sqrt(following)) / size
            direction = left + (following / squared) * direction
            squared = following
        raise InputError(
            f"the response of {name!r} did not converge (residual {np.sqrt(squared) / size:.1e}): "
            "relax the structure further (smaller fmax, smax), or accept a larger residual"
        )


def _rigid_motions(mixture: Mixture) -> FloatArray:
    """Return orthonormal rows (3 or 6, 3 S) of displacements that cost nothing."""
    n = mixture.n_sites
    rows = [np.tile(axis, n) for axis in np.eye(3)]
    if not mixture.pbc.any():
        centred = mixture.positions - mixture.positions.mean(axis=0)
        rows += [np.cross(axis, centred).reshape(-1) for axis in np.eye(3)]
    basis, values, _ = np.linalg.svd(np.array(rows).T, full_matrices=False)
    return np.asarray(basis[:, values > 1e-8 * values.max()].T)


def _symmetry(
    mixture: Mixture, symprec: float
) -> Callable[[FloatArray, FloatArray], tuple[FloatArray, FloatArray]] | None:
    """Return the mean over the space group of (displacements, strain), None without a cell.

    Sites are alike that belong to one group with the same species, or are pure of one element.
    """
    if not mixture.pbc.all():
        return None
    from ase import Atoms

    from alchemlip.crystal.relaxation import fix_symmetry

    labels = 2 * mixture.site_kinds - mixture.fixed
    atoms = Atoms(numbers=labels, positions=mixture.positions, cell=mixture.cell, pbc=True)
    constraint = fix_symmetry(atoms, symprec)

    def mean(displacements: FloatArray, strain: FloatArray) -> tuple[FloatArray, FloatArray]:
        constraint.adjust_forces(atoms, displacements)
        voigt = strain[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]].copy()
        constraint.adjust_stress(atoms, voigt)
        xx, yy, zz, yz, xz, xy = voigt
        return displacements, np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])

    return mean
