"""Several potentials at once: their mean, and their spread as an uncertainty.

    ensemble = EnsemblePotential([load_potential("sevennet-0"), load_potential("chgnet")])
    result = ensemble.evaluate(mixture)
    result.energy, result.spread.energy, result.spread.composition_gradient

The spread is the sample standard deviation over the members. It says how far models that were
trained apart agree on a composition that none of them was trained on; errors that they share, those
of their reference data among them, it cannot show. Absolute energies compare only between models of
one reference (functional, pseudopotentials); mixing energies, which `scan` measures from each
member's own ends, compare always.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.errors import InputError
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.backend import ModelCard
from alchemlip.potential.evaluation import Evaluation
from alchemlip.potential.neighbours import NeighbourList
from alchemlip.potential.potential import AlchemicalPotential

if TYPE_CHECKING:
    import torch

MemberLists: TypeAlias = tuple[NeighbourList, ...]


@dataclass(frozen=True)
class Spread:
    """Sample standard deviations over the members, in the units of `Evaluation`."""

    energy: float
    site_energies: FloatArray
    forces: FloatArray | None
    stress: FloatArray | None
    composition_gradient: FloatArray | None


@dataclass(frozen=True)
class EnsembleEvaluation(Evaluation):
    """Means over the members of an ensemble.

    Attributes:
        members: what each member gives, in order.
        spread: how far they differ.
    """

    members: tuple[Evaluation, ...]
    spread: Spread


class EnsemblePotential:
    """The mean of several potentials, usable wherever one potential is.

    Args:
        members: loaded potentials, two or more, on one device.

    Raises:
        InputError: if there are fewer than two, or the same one twice.
    """

    def __init__(self, members: Sequence[AlchemicalPotential]) -> None:
        if len(members) < 2:
            raise InputError("an ensemble needs at least two potentials: give another one")
        self.members = tuple(members)
        self.names = tuple(_full_name(member) for member in members)
        for name in self.names:
            if self.names.count(name) > 1:
                raise InputError(f"the ensemble has {name!r} twice: give every potential once")

    def __deepcopy__(self, memo: dict[int, Any]) -> EnsemblePotential:
        return self  # as its members

    @property
    def name(self) -> str:
        """Names of the members, joined."""
        return " + ".join(self.names)

    @property
    def card(self) -> ModelCard:
        """Provenance: that of the members together."""
        cards = [member.card for member in self.members]
        sums = "".join(card.sha256 for card in cards)
        return ModelCard(
            name=self.name,
            kind="ensemble",
            weights="; ".join(card.weights for card in cards),
            licence="; ".join(card.licence for card in cards),
            sha256=hashlib.sha256(sums.encode()).hexdigest(),
            reference="; ".join(card.reference for card in cards),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the first member's weights."""
        return self.members[0].dtype

    @property
    def device(self) -> torch.device:
        """Where the first member's weights live."""
        return self.members[0].device

    @property
    def elements(self) -> tuple[str, ...]:
        """Symbols of the elements that every member covers."""
        shared = set(self.members[0].elements).intersection(*(m.elements for m in self.members))
        return tuple(symbol for symbol in self.members[0].elements if symbol in shared)

    def check(self, mixture: Mixture) -> None:
        """Refuse a mixture that a member cannot evaluate."""
        for member in self.members:
            member.check(mixture)

    def neighbour_list(self, skin: float = 0.5) -> MemberLists:
        """Return the neighbour lists of one structure, one for each member's cutoff."""
        return tuple(member.neighbour_list(skin) for member in self.members)

    @overload
    def evaluate(
        self,
        mixtures: Mixture,
        *,
        neighbour_lists: Sequence[MemberLists] | None = ...,
        forces: bool = ...,
        stress: bool = ...,
        composition_gradient: bool = ...,
    ) -> EnsembleEvaluation: ...

    @overload
    def evaluate(
        self,
        mixtures: Sequence[Mixture],
        *,
        neighbour_lists: Sequence[MemberLists] | None = ...,
        forces: bool = ...,
        stress: bool = ...,
        composition_gradient: bool = ...,
    ) -> list[EnsembleEvaluation]: ...

    def evaluate(
        self,
        mixtures: Mixture | Sequence[Mixture],
        *,
        neighbour_lists: Sequence[MemberLists] | None = None,
        forces: bool = True,
        stress: bool = True,
        composition_gradient: bool = True,
    ) -> EnsembleEvaluation | list[EnsembleEvaluation]:
        """Return mean and spread for one mixture, or for a batch; see `AlchemicalPotential`."""
        if isinstance(mixtures, Mixture):
            return self.evaluate(
                [mixtures],
                neighbour_lists=neighbour_lists,
                forces=forces,
                stress=stress,
                composition_gradient=composition_gradient,
            )[0]
        by_member = [
            member.evaluate(
                mixtures,
                neighbour_lists=None
                if neighbour_lists is None
                else [lists[index] for lists in neighbour_lists],
                forces=forces,
                stress=stress,
                composition_gradient=composition_gradient,
            )
            for index, member in enumerate(self.members)
        ]
        return [_combined(results) for results in zip(*by_member, strict=True)]


Potential: TypeAlias = AlchemicalPotential | EnsemblePotential
"""What a calculation runs on: one potential, or several."""


def members_of(potential: Potential) -> tuple[AlchemicalPotential, ...]:
    """Return the members of an ensemble, or the one potential."""
    if isinstance(potential, EnsemblePotential):
        return potential.members
    return (potential,)


def _full_name(potential: AlchemicalPotential) -> str:
    variant = potential.card.variant
    return f"{potential.name}@{variant}" if variant else potential.name


def _combined(results: tuple[Evaluation, ...]) -> EnsembleEvaluation:
    def over(function: Callable[..., Any], name: str) -> Any:
        values = [getattr(result, name) for result in results]
        return None if values[0] is None else function(values, axis=0)

    def deviation(values: Sequence[Any], axis: int) -> Any:
        return np.std(values, axis=axis, ddof=1)

    return EnsembleEvaluation(
        energy=float(over(np.mean, "energy")),
        node_energies=over(np.mean, "node_energies"),
        occupancies=results[0].occupancies,
        site_energies=over(np.mean, "site_energies"),
        forces=over(np.mean, "forces"),
        stress=over(np.mean, "stress"),
        composition_gradient=over(np.mean, "composition_gradient"),
        members=results,
        spread=Spread(
            energy=float(over(deviation, "energy")),
            site_energies=over(deviation, "site_energies"),
            forces=over(deviation, "forces"),
            stress=over(deviation, "stress"),
            composition_gradient=over(deviation, "composition_gradient"),
        ),
    )
