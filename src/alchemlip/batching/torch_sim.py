"""Mixtures in torch-sim: batched relaxations and dynamics, each system at its own composition.

    model = AlchemicalModel(potential, mixtures)
    relaxed = torch_sim.optimize(model.initial_state(), model, optimizer=torch_sim.Optimizer.fire)
    model.mixtures_of(relaxed), model.composition_gradients(relaxed)

Needs the package torch-sim-atomistic (extra ``torch-sim``), which needs Python 3.12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from torch import Tensor

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import refuse_constraints
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.evaluation import Evaluation

try:
    from torch_sim.models.interface import ModelInterface
    from torch_sim.state import SimState
except ImportError as error:
    raise ImportError(
        "alchemlip.batching.torch_sim needs the package torch-sim-atomistic: pip install "
        "'alchemlip[torch-sim]' under Python 3.12 or newer"
    ) from error

if TYPE_CHECKING:
    from alchemlip.potential.ensemble import Potential

MIXTURE_INDEX = "mixture_index"
"""The system extra (B,) that says which of the model's mixtures each system is."""
COMPOSITION_GRADIENT = "composition_gradient"
"""The atom extra (N, C) that the model's output leaves in a state."""


class AlchemicalModel(ModelInterface):  # type: ignore[misc]
    """A potential at the compositions of mixtures, as a model of torch-sim.

    States are made by `initial_state`. Each of their systems carries the index of its mixture, a
    system extra that torch-sim splits, reorders and merges with it; what sits on a site is the
    mixture's, whatever element the state shows there.

    Args:
        potential: a loaded potential, or an ensemble, whose means are used.
        mixtures: what is mixed where, and the positions and cells of the start.
        compute_forces, compute_stress: what the output holds beside the energy; may be changed.
        composition_gradient: whether the output holds it.
        skin: Verlet skin of the neighbour lists, in Angstrom.

    Raises:
        InputError: if the potential does not cover a mixture, or a site is wholly vacant.
    """

    def __init__(
        self,
        potential: Potential,
        mixtures: Sequence[Mixture],
        *,
        compute_forces: bool = True,
        compute_stress: bool = True,
        composition_gradient: bool = True,
        skin: float = 0.5,
    ) -> None:
        super().__init__()
        if not mixtures:
            raise InputError("there are no mixtures: give at least one")
        for index, mixture in enumerate(mixtures):
            potential.check(mixture)
            _check_occupied(index, mixture)
        self.potential = potential
        self.mixtures = tuple(mixtures)
        self.composition_gradient = composition_gradient
        self.skin = skin
        self._device = potential.device
        self._dtype = potential.dtype
        self._compute_forces = compute_forces
        self._compute_stress = compute_stress
        self._memory_scales_with = "n_atoms_x_density"
        # Of the last batch alone; a list that meets another geometry is searched anew.
        self._neighbours: dict[tuple[int, int], Any] = {}
        self._hosts = [mixture.to_atoms().numbers for mixture in mixtures]
        self._n_columns = max(
            (len(group.components) for mixture in mixtures for group in mixture.groups), default=0
        )

    @property
    def compute_forces(self) -> bool:
        """Whether the output holds forces."""
        return self._compute_forces

    @compute_forces.setter
    def compute_forces(self, value: bool) -> None:
        self._compute_forces = value

    @property
    def compute_stress(self) -> bool:
        """Whether the output holds stresses."""
        return self._compute_stress

    @compute_stress.setter
    def compute_stress(self, value: bool) -> None:
        self._compute_stress = value

    def initial_state(self, indices: Sequence[int] | None = None) -> SimState:
        """Return a state of torch-sim at the positions and cells of the mixtures.

        Mixed sites show their most abundant species and have its mean mass (over what is not
        vacant).

        Args:
            indices: which mixture each system is, in any order and number; all, once each, by
                default.

        Raises:
            InputError: if there is no such mixture, or they differ in their periodic directions,
                which a state of torch-sim has once for all its systems.
        """
        chosen = range(len(self.mixtures)) if indices is None else indices
        self._check_indices(chosen)
        if not len(chosen):
            raise InputError("the state would be empty: name at least one mixture")
        mixtures = [self.mixtures[index] for index in chosen]
        for mixture in mixtures:
            refuse_constraints(mixture, "a state of torch-sim")
        for index, mixture in zip(chosen, mixtures, strict=True):
            if (mixture.pbc != mixtures[0].pbc).any():
                raise InputError(
                    f"mixture {index} is periodic along other directions than mixture {chosen[0]}, "
                    "and a state of torch-sim has one periodicity: make a state for each"
                )
        counts = [mixture.n_sites for mixture in mixtures]
        return SimState(
            positions=self._tensor(np.concatenate([mixture.positions for mixture in mixtures])),
            masses=self._tensor(np.concatenate([mixture.masses for mixture in mixtures])),
            # torch-sim's cell vectors are columns.
            cell=self._tensor(np.stack([mixture.cell.T for mixture in mixtures])),
            pbc=torch.from_numpy(mixtures[0].pbc.copy()).to(self._device),
            atomic_numbers=self._integers(np.concatenate([self._hosts[i] for i in chosen])),
            system_idx=self._integers(np.repeat(np.arange(len(mixtures)), counts)),
            _system_extras={MIXTURE_INDEX: self._integers(np.array(chosen))},
        )

    def forward(self, state: SimState, **_: Any) -> dict[str, Tensor]:
        """Return energy and derivatives of every system of a state.

        Args:
            state: made by `initial_state`, or what torch-sim made of such a state.

        Returns:
            ``energy`` (B,) in eV; ``forces`` (N, 3) in eV/A; ``stress`` (B, 3, 3) in eV/A^3,
            positive in tension, NaN for systems that have none (clusters);
            ``composition_gradient`` (N, C): in the row of a mixed site, raw dE/dx in eV for the
            components of the group that it belongs to, the same on all sites of the group; NaN in
            the rows of pure sites and behind the last component. C is the largest number of
            components of a group of this model. `composition_gradients` sorts it by system.

        Raises:
            InputError: if a system is not one of the mixtures, or cannot be evaluated.
        """
        mixtures = self.mixtures_of(state)
        results = self.potential.evaluate(
            mixtures,
            neighbour_lists=self._neighbour_lists(state),
            forces=self._compute_forces,
            stress=self._compute_stress,
            composition_gradient=self.composition_gradient,
        )
        output = {"energy": self._tensor(np.array([result.energy for result in results]))}
        if self._compute_forces:
            forces = np.concatenate(
                [result.forces for result in results if result.forces is not None]
            )
            output["forces"] = self._tensor(forces)
        if self._compute_stress:
            output["stress"] = self._tensor(np.stack([_stress_tensor(item) for item in results]))
        if self.composition_gradient and self._n_columns:
            rows = [
                _gradient_rows(mixture, result.composition_gradient, self._n_columns)
                for mixture, result in zip(mixtures, results, strict=True)
            ]
            output[COMPOSITION_GRADIENT] = self._tensor(np.concatenate(rows))
        return output

    def mixtures_of(self, state: SimState) -> list[Mixture]:
        """Return the mixture of every system at its positions and cell in a state.

        Raises:
            InputError: if a system is not one of the model's mixtures.
        """
        indices = self._indices(state)
        counts = state.n_atoms_per_system.tolist()
        pbc = state.pbc.cpu().numpy()
        for system, (index, count) in enumerate(zip(indices, counts, strict=True)):
            if count != self.mixtures[index].n_sites:
                raise InputError(
                    f"system {system} has {count} atoms, but mixture {index} has "
                    f"{self.mixtures[index].n_sites} sites: make the state with initial_state()"
                )
            if (self.mixtures[index].pbc != pbc).any():
                raise InputError(
                    f"the state and mixture {index} (system {system}) are periodic along different "
                    "directions: make the state with initial_state()"
                )
        shown = state.atomic_numbers.cpu().numpy()
        if (shown != np.concatenate([self._hosts[index] for index in indices])).any():
            raise InputError(
                "the elements of the state changed, but here the mixtures say what sits where: "
                "change the compositions of the mixtures instead"
            )
        positions = np.split(_array(state.positions), np.cumsum(counts)[:-1])
        return [
            self.mixtures[index].with_geometry(
                Atoms(self._hosts[index], place, cell=cell.T, pbc=self.mixtures[index].pbc)
            )
            for index, place, cell in zip(indices, positions, _array(state.cell), strict=True)
        ]

    def composition_gradients(self, state: SimState) -> list[FloatArray]:
        """Return raw dE/dx of every system in eV, as of the last evaluation of a state.

        Args:
            state: of an optimiser or integrator of torch-sim, or one into which
                ``state.store_model_extras(model(state))`` put an output.

        Returns:
            For each system (K,), in the order of ``mixture.component_labels``.

        Raises:
            InputError: if the state holds no composition gradient.
        """
        rows = state.atom_extras.get(COMPOSITION_GRADIENT)
        if rows is None:
            raise InputError(
                "the state holds no composition gradient: evaluate it with a model that has mixed "
                "sites and composition_gradient=True"
            )
        parts = np.split(_array(rows), np.cumsum(state.n_atoms_per_system.tolist())[:-1])
        return [
            np.concatenate(
                [
                    part[group.sites[0], : len(group.components)]
                    for group in self.mixtures[index].groups
                ]
                or [np.zeros(0)]
            )
            for index, part in zip(self._indices(state), parts, strict=True)
        ]

    def _indices(self, state: SimState) -> list[int]:
        carried = state.system_extras.get(MIXTURE_INDEX)
        if carried is None:
            raise InputError(
                f"the state has no system extra {MIXTURE_INDEX!r}, so the composition of its "
                "systems is unknown: make the state with initial_state()"
            )
        indices: list[int] = carried.tolist()
        self._check_indices(indices)
        return indices

    def _check_indices(self, indices: Sequence[int]) -> None:
        for index in indices:
            if not 0 <= index < len(self.mixtures):
                raise InputError(
                    f"there is no mixture {index}: this model has 0 to {len(self.mixtures) - 1}"
                )

    def _neighbour_lists(self, state: SimState) -> list[Any]:
        """Return a list for every system, kept for it while the batch stays as it is."""
        seen: dict[int, int] = {}
        kept: dict[tuple[int, int], Any] = {}
        for index in self._indices(state):
            key = (index, seen.get(index, 0))
            seen[index] = key[1] + 1
            kept[key] = self._neighbours.get(key) or self.potential.neighbour_list(self.skin)
        self._neighbours = kept
        return list(kept.values())

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(values).to(device=self._device, dtype=self._dtype)

    def _integers(self, values: Any) -> Tensor:
        return torch.from_numpy(values.astype(np.int64)).to(self._device)


def _check_occupied(index: int, mixture: Mixture) -> None:
    """Refuse a site without atoms: nothing would hold it in dynamics."""
    nodes = mixture.nodes
    held = np.bincount(
        nodes.site, weights=nodes.occupancies(mixture.composition), minlength=mixture.n_sites
    )
    empty = np.flatnonzero(held == 0)
    if len(empty):
        raise InputError(
            f"site {empty[0]} of mixture {index} is wholly vacant, so it has no mass: remove the "
            "site, or leave it a small occupancy"
        )


def _stress_tensor(result: Evaluation) -> FloatArray:
    """Return the stress (3, 3) in eV/A^3, NaN where there is none."""
    if result.stress is None:
        return np.full((3, 3), np.nan)
    full: FloatArray = result.stress[np.array([[0, 5, 4], [5, 1, 3], [4, 3, 2]])]
    return full


def _gradient_rows(mixture: Mixture, gradient: FloatArray | None, n_columns: int) -> FloatArray:
    """Return the composition gradient (K,) of a mixture as rows (S, n_columns) of its sites."""
    rows = np.full((mixture.n_sites, n_columns), np.nan)
    if gradient is not None:
        for group in mixture.groups:
            rows[group.sites, : len(group.components)] = gradient[mixture.components_of(group.name)]
    return rows


def _array(values: Tensor) -> FloatArray:
    return np.asarray(values.detach().double().cpu().numpy())
