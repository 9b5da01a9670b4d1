"""A potential whose composition is a differentiable degree of freedom.

    potential = load_potential("sevennet-0", dtype="float64")
    result = potential.evaluate(mixture)             # or a list of mixtures, in one pass
    result.energy, result.forces, result.stress, result.composition_gradient

The energy is E = sum over nodes of p_ia eps_ia, with eps the model's own node energy, summed in
float64 (arXiv:2404.10746, eq. 3, with the message weights of `alchemlip.potential.messages`).

With ``representation="embedding"`` there is one node per site instead, whose one-hot element vector
is replaced by the occupancies: exact at the ends, cheaper, and another path in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, get_args, overload

import numpy as np
import torch
from torch import Tensor

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.mixture.species import VACANCY_NUMBER, species_symbol
from alchemlip.potential.backend import Backend, ModelCard
from alchemlip.potential.evaluation import Evaluation, evaluations
from alchemlip.potential.graph import Graph, build_graph
from alchemlip.potential.messages import Form
from alchemlip.potential.neighbours import NeighbourList
from alchemlip.potential.turns import Wanted, waiting_run

Representation = Literal["nodes", "embedding"]

# For models that do not say how they behave in several threads; also of other packages, which may
# share what they keep between calls.
_ONE_AT_A_TIME = threading.RLock()


class AlchemicalPotential:
    """A model evaluated at continuous occupancies, from any number of threads.

    Args:
        backend: the model.
        source: arguments with which `load_potential` makes it again, in another process.
        representation: ``nodes``, or ``embedding`` for a switching path at the plain model's cost.
        reload: makes it again from ``source``; without both it cannot be pickled.

    Raises:
        InputError: if the model has no such representation.
    """

    def __init__(
        self,
        backend: Backend,
        source: Mapping[str, Any] | None = None,
        representation: Representation = "nodes",
        reload: Callable[[Mapping[str, Any]], AlchemicalPotential] | None = None,
    ) -> None:
        if representation not in get_args(Representation):
            raise InputError(
                f"unknown representation {representation!r}: choose "
                f"{' or '.join(get_args(Representation))}"
            )
        if representation == "embedding" and "embedding" not in backend.forms:
            raise InputError(
                f"the potential {backend.card.name!r} has no embedding representation: use "
                "representation='nodes' (--representation nodes)"
            )
        self.backend = backend
        self.representation: Representation = representation
        safe = bool(getattr(backend, "thread_safe", False))
        self._turn: AbstractContextManager[Any] = nullcontext() if safe else _ONE_AT_A_TIME
        self._source = None if source is None else dict(source)
        self._reload = reload

    def __deepcopy__(self, memo: dict[int, Any]) -> AlchemicalPotential:
        # Nothing in a potential changes: copies of calculators share the weights.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        if self._source is None or self._reload is None:
            raise TypeError("a potential that was not made by load_potential cannot be pickled")
        return self._reload, (self._source,)

    @property
    def can_be_pickled(self) -> bool:
        """Whether the potential knows how another process makes it."""
        return self._source is not None and self._reload is not None

    def with_representation(self, representation: Representation) -> AlchemicalPotential:
        """Return the same weights, shared, in another representation."""
        source = self._source
        if source is not None:
            source = {**source, "representation": representation}
        return AlchemicalPotential(self.backend, source, representation, self._reload)

    @property
    def name(self) -> str:
        """Name of the weights."""
        return self.backend.card.name

    @property
    def card(self) -> ModelCard:
        """Provenance of the weights."""
        return self.backend.card

    @property
    def cutoff(self) -> float:
        """Largest distance of a message, in Angstrom."""
        return self.backend.cutoff

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the weights."""
        return self.backend.dtype

    @property
    def device(self) -> torch.device:
        """Where the weights live."""
        return self.backend.device

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements that the model covers."""
        return tuple(species_symbol(number) for number in sorted(self.backend.numbers))

    def check(self, mixture: Mixture) -> None:
        """Refuse a mixture that the potential cannot evaluate.

        Raises:
            InputError: naming the element that the model does not cover and where it is, or the
                vacancy that the embedding representation cannot hold.
        """
        if self.representation == "embedding":
            for group in mixture.groups:
                if (group.species == VACANCY_NUMBER).any():
                    raise InputError(
                        f"group {group.name!r} has vacancies, whose end state would still hold an "
                        "atom in the embedding representation: use representation='nodes' "
                        "(--representation nodes)"
                    )
        if any(group.short_range_order is not None for group in mixture.groups):
            self._check_short_range()
        if self.backend.numbers.issuperset(mixture.nodes.number.tolist()):
            return  # every step comes through here
        for number, site in zip(
            mixture.nodes.number.tolist(), mixture.nodes.site.tolist(), strict=True
        ):
            if number not in self.backend.numbers:
                raise InputError(
                    f"the potential {self.name!r} does not cover {species_symbol(number)} (site "
                    f"{site}): choose another potential (alchemlip models) or another species"
                )

    def _check_short_range(self) -> None:
        if self.representation == "embedding":
            raise InputError(
                "the embedding representation knows no correlation of neighbours: use "
                "representation='nodes' (--representation nodes) for short-range order"
            )
        if not getattr(self.backend, "short_range_order", True):
            raise InputError(
                f"the potential {self.name!r} has three-body messages, for which short-range order "
                "is not written yet: use a SevenNet or MACE potential"
            )

    def neighbour_list(self, skin: float = 0.5) -> NeighbourList:
        """Return a neighbour list with the model's cutoff, to keep between evaluations."""
        return NeighbourList(self.cutoff, skin)

    def graph(
        self,
        mixtures: Sequence[Mixture],
        neighbour_lists: Sequence[NeighbourList] | None = None,
    ) -> Graph:
        """Return the graph of a batch of mixtures on the model's device."""
        for mixture in mixtures:
            self.check(mixture)
        if neighbour_lists is None:
            neighbour_lists = [NeighbourList(self.cutoff, skin=0.0) for _ in mixtures]
        return build_graph(mixtures, neighbour_lists, self.device)

    def node_energies(
        self,
        graph: Graph,
        positions: Tensor,
        cells: Tensor,
        composition: Tensor,
        form: Form | None = None,
        short_range: Tensor | None = None,
    ) -> Tensor:
        """Return the energy of every node (N,) in eV, differentiable in all arguments.

        In the embedding representation: of every site (S,).

        Args:
            graph: the topology.
            positions: (S, 3) in Angstrom, float64.
            cells: (B, 3, 3) in Angstrom, float64.
            composition: (K,) flat composition of the batch, float64; off the simplex is allowed.
            form: of the message tables; the model's preferred one if None.
            short_range: (A,) Warren-Cowley parameters instead of the graph's own.
        """
        if graph.short_range is not None:
            if form == "factorised":
                raise InputError(
                    "short-range order has no factorised form, since what a site receives depends "
                    "on what sits there: leave out the form, or use 'expanded'"
                )
            form = "expanded"
            parameters = graph.short_range.parameters if short_range is None else short_range
            graph = graph.with_probabilities(composition, parameters)
        chosen = self._form(form)
        vectors = graph.edge_vectors(positions, cells).to(self.dtype)
        occupancies = graph.occupancies(composition).to(self.dtype)
        with self._turn:
            return self.backend.node_energies(graph, vectors, occupancies, chosen)

    def energies(
        self,
        graph: Graph,
        positions: Tensor | None = None,
        strain: Tensor | None = None,
        composition: Tensor | None = None,
        form: Form | None = None,
        short_range: Tensor | None = None,
    ) -> Tensor:
        """Return the energy of every structure (B,) in eV, differentiable, in float64.

        Args:
            graph: the batch.
            positions: (S, 3) instead of the graph's own.
            strain: (B, 3, 3) strain, symmetrised here, applied to positions and cells alike.
            composition: (K,) instead of the graph's own.
            form: of the message tables.
            short_range: (A,) Warren-Cowley parameters instead of the graph's own.
        """
        positions = graph.positions if positions is None else positions
        composition = graph.composition if composition is None else composition
        _, by_site = self._site_energies(graph, positions, strain, composition, form, short_range)
        return by_site.new_zeros(graph.n_structures).index_add(0, graph.site_structure, by_site)

    def magnetic_moments(self, mixture: Mixture) -> FloatArray:
        """Return the magnetic moment (S,) of every site in Bohr magnetons, weighted by occupancy.

        Raises:
            InputError: if the model has none.
        """
        moments = getattr(self.backend, "node_magnetic_moments", None)
        if moments is None:
            raise InputError(
                f"the potential {self.name!r} has no magnetic moments: use one that has (chgnet)"
            )
        graph = self.graph([mixture])
        with torch.no_grad():
            vectors = graph.edge_vectors(graph.positions, graph.cells).to(self.dtype)
            occupancies = graph.occupancies(graph.composition)
            form = self._form(None)
            with self._turn:
                values = moments(graph, vectors, occupancies.to(self.dtype), form).double()
            by_site = values if form == "embedding" else graph.on_sites(values * occupancies)
        return np.asarray(by_site.cpu().numpy())

    @property
    def has_magnetic_moments(self) -> bool:
        """Whether `magnetic_moments` can be asked for."""
        return hasattr(self.backend, "node_magnetic_moments")

    def _form(self, form: Form | None) -> Form:
        if self.representation == "embedding":
            if form not in (None, "embedding"):
                raise InputError(f"the embedding representation has no {form} form: leave form out")
            return "embedding"
        offered = tuple(name for name in self.backend.forms if name != "embedding")
        chosen = offered[0] if form is None else form
        if chosen not in offered:
            raise InputError(
                f"the potential {self.name!r} has no {chosen} form: use {' or '.join(offered)}"
            )
        return chosen

    def _site_energies(
        self,
        graph: Graph,
        positions: Tensor,
        strain: Tensor | None,
        composition: Tensor,
        form: Form | None,
        short_range: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the energies of every node (unweighted) and of every site, in float64."""
        cells = graph.cells
        if strain is not None:
            positions, cells = apply_strain(graph, positions, cells, strain)
        values = self.node_energies(
            graph, positions, cells, composition, form, short_range
        ).double()
        if self.representation == "embedding":
            return values[graph.node_site], values
        return values, graph.on_sites(values * graph.occupancies(composition))

    @overload
    def evaluate(
        self,
        mixtures: Mixture,
        *,
        neighbour_lists: Sequence[NeighbourList] | None = ...,
        forces: bool = ...,
        stress: bool = ...,
        composition_gradient: bool = ...,
        form: Form | None = ...,
    ) -> Evaluation: ...

    @overload
    def evaluate(
        self,
        mixtures: Sequence[Mixture],
        *,
        neighbour_lists: Sequence[NeighbourList] | None = ...,
        forces: bool = ...,
        stress: bool = ...,
        composition_gradient: bool = ...,
        form: Form | None = ...,
    ) -> list[Evaluation]: ...

    def evaluate(
        self,
        mixtures: Mixture | Sequence[Mixture],
        *,
        neighbour_lists: Sequence[NeighbourList] | None = None,
        forces: bool = True,
        stress: bool = True,
        composition_gradient: bool = True,
        form: Form | None = None,
    ) -> Evaluation | list[Evaluation]:
        """Return energy and derivatives of one mixture, or of a batch in one pass.

        Args:
            mixtures: one mixture, or several.
            neighbour_lists: one per mixture, kept by the caller between steps.
            forces, stress, composition_gradient: what to differentiate for.
            form: ``factorised`` or ``expanded``; the model's preferred one if None.

        Raises:
            InputError: if an element is not covered or a geometry cannot be evaluated.
        """
        if isinstance(mixtures, Mixture):
            return self.evaluate(
                [mixtures],
                neighbour_lists=neighbour_lists,
                forces=forces,
                stress=stress,
                composition_gradient=composition_gradient,
                form=form,
            )[0]
        run = waiting_run()
        if run is not None:
            asked = Wanted(forces, stress, composition_gradient, form)
            return run.evaluate(self, mixtures, neighbour_lists, asked)
        graph = self.graph(mixtures, neighbour_lists)
        # Where every site is pure there is nothing to differentiate for.
        mixed = len(graph.composition) > 0
        positions = graph.positions.requires_grad_(forces)
        strain = torch.zeros_like(graph.cells).requires_grad_(stress)
        composition = graph.composition.requires_grad_(composition_gradient and mixed)
        leaves = [positions, strain, composition]
        alpha = None
        if graph.short_range is not None:
            alpha = graph.short_range.parameters.requires_grad_(composition_gradient)
            leaves.append(alpha)
        nodes, by_site = self._site_energies(graph, positions, strain, composition, form, alpha)

        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        gradients: dict[int, Tensor] = {}
        if wanted:
            found = torch.autograd.grad(
                by_site.sum(), wanted, allow_unused=True, materialize_grads=True
            )
            gradients = {id(leaf): value for leaf, value in zip(wanted, found, strict=True)}
        return evaluations(
            graph,
            mixtures,
            nodes.detach(),
            by_site.detach(),
            -gradients[id(positions)] if forces else None,
            gradients[id(strain)] if stress else None,
            gradients.get(id(composition)) if mixed else composition.detach(),
            composition_gradient,
            None if alpha is None else gradients.get(id(alpha)),
        )


def apply_strain(
    graph: Graph, positions: Tensor, cells: Tensor, strain: Tensor
) -> tuple[Tensor, Tensor]:
    """Return positions and cells under a strain (B, 3, 3), of which the symmetric part counts."""
    symmetric = 0.5 * (strain + strain.transpose(1, 2))
    moved = positions + torch.einsum("sx,sxy->sy", positions, symmetric[graph.site_structure])
    return moved, cells + cells @ symmetric
