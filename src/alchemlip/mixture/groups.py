"""Groups of sites that share one composition, and how a selection of sites becomes one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.short_range_order import ShortRangeOrder
from alchemlip.mixture.species import (
    check_weights,
    meant_element,
    parse_composition,
    species_number,
    species_symbol,
)

Correlation = Literal["independent", "concerted", "short-range"]
Selection = str | int | tuple[int, ...]
"""Sites of a group: an element symbol, the name of a given group, a site index, or indices."""
Correlations = Correlation | Mapping[str, Correlation] | None
"""One for all groups, or by group name; ``independent`` where left out."""


@dataclass(frozen=True, eq=False)
class Group:
    """Sites that share one composition vector.

    Attributes:
        name: what the group is called, unique in a mixture.
        sites: (n,) site indices.
        components: labels of the K components, unique in the group.
        species: (n, K) species that each component places on each site: an atomic number, an
            isotope's, or 0 for the vacancy (`alchemlip.mixture.species`).
        composition: (K,) weight of each component, on the simplex.
        correlation: how the occupants of two sites of the group depend on one another:
            ``independent`` (random solid solution), ``concerted`` (all sites change together), or
            ``short-range`` (neighbours prefer one another as ``short_range_order`` says).
        short_range_order: Warren-Cowley parameters of a ``short-range`` group; None elsewhere.
    """

    name: str
    sites: IntArray
    components: tuple[str, ...]
    species: IntArray
    composition: FloatArray
    correlation: Correlation = "independent"
    short_range_order: ShortRangeOrder | None = None

    def __post_init__(self) -> None:
        sites = np.asarray(self.sites, dtype=np.int64).reshape(-1)
        species = np.asarray(self.species, dtype=np.int64)
        if len(sites) == 0:
            raise InputError(f"group {self.name!r} has no sites: select at least one")
        if len(np.unique(sites)) != len(sites):
            raise InputError(f"group {self.name!r} names a site twice: list every site once")
        if len(set(self.components)) != len(self.components):
            raise InputError(
                f"group {self.name!r} has two components of the same label: rename one"
            )
        if species.shape != (len(sites), len(self.components)):
            raise InputError(
                f"group {self.name!r} has species of shape {species.shape}, but "
                f"{len(sites)} sites and {len(self.components)} components: give one species for "
                "every site and component"
            )
        if self.correlation not in get_args(Correlation):
            raise InputError(
                f"unknown correlation {self.correlation!r} of group {self.name!r}: choose one of "
                f"{', '.join(get_args(Correlation))}"
            )
        values = np.asarray(self.composition, dtype=float).reshape(-1)
        if len(values) != len(self.components):
            raise InputError(
                f"group {self.name!r} has {len(self.components)} components but {len(values)} "
                "weights: give one weight per component"
            )
        weights = check_weights(
            dict(zip(self.components, values.tolist(), strict=True)), f"group {self.name!r}"
        )
        self._check_short_range_order(np.array(list(weights.values())))
        order = np.argsort(sites, kind="stable")
        object.__setattr__(self, "sites", frozen(sites[order]))
        object.__setattr__(self, "species", frozen(species[order]))
        object.__setattr__(self, "composition", frozen(np.array(list(weights.values()))))

    def _check_short_range_order(self, composition: FloatArray) -> None:
        if self.correlation != "short-range":
            if self.short_range_order is not None:
                raise InputError(
                    f"group {self.name!r} is {self.correlation}, but has Warren-Cowley parameters: "
                    "make its correlation 'short-range', or leave them out"
                )
            return
        if self.short_range_order is None:
            raise InputError(
                f"group {self.name!r} is short-range ordered, but has no Warren-Cowley parameters: "
                "give them with Mixture.with_short_range_order()"
            )
        self.short_range_order.check(composition, self.components, self.name)

    @classmethod
    def of_species(
        cls,
        name: str,
        sites: Sequence[int] | IntArray,
        weights: Mapping[str, float],
        correlation: Correlation = "independent",
        normalise: bool = False,
    ) -> Group:
        """Return a group whose components are single species, the same on all its sites."""
        checked = check_weights(weights, f"group {name!r}", normalise)
        numbers = [species_number(symbol) for symbol in checked]
        labels = tuple(species_symbol(number) for number in numbers)
        species = np.tile(np.array(numbers, dtype=np.int64), (len(sites), 1))
        return cls(
            name, np.asarray(sites), labels, species, np.array(list(checked.values())), correlation
        )

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Group:
        """Make a group of what `to_dict` returned."""
        listed = isinstance(data["components"], list | tuple)
        if not listed or not all(isinstance(label, str) for label in data["components"]):
            raise TypeError(f"the components {data['components']!r} are no texts")
        return cls(
            str(data["name"]),
            np.array(data["sites"]),
            tuple(data["components"]),
            np.array([[species_number(symbol) for symbol in row] for row in data["species"]]),
            np.array(data["composition"]),
            data["correlation"],
            ShortRangeOrder.from_dict(data["short_range_order"])
            if "short_range_order" in data
            else None,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain values (JSON) that `from_dict` reads back exactly."""
        values: dict[str, Any] = {
            "name": self.name,
            "sites": self.sites.tolist(),
            "components": list(self.components),
            "species": [[species_symbol(z) for z in row] for row in self.species.tolist()],
            "composition": self.composition.tolist(),
            "correlation": self.correlation,
        }
        if self.short_range_order is not None:
            values["short_range_order"] = self.short_range_order.to_dict()
        return values

    def occupancies(self) -> list[dict[str, float]]:
        """Return for each site of the group the occupancy of each species."""
        result = []
        for row in self.species:
            site: dict[str, float] = {}
            for number, weight in zip(row.tolist(), self.composition.tolist(), strict=True):
                symbol = species_symbol(number)
                site[symbol] = site.get(symbol, 0.0) + weight
            result.append(site)
        return result


def frozen(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return a copy that nobody can write to: a mixture shares no memory with its source."""
    copy = np.array(values)
    copy.setflags(write=False)
    return copy


def species_number_or_none(label: str) -> int:
    """Return the atomic number of a label that is a species; -1 for any other label."""
    try:
        return species_number(label)
    except InputError:
        return -1


def mixed_groups(
    numbers: IntArray,
    present: tuple[Group, ...],
    composition: Mapping[Selection, Mapping[str, float] | str],
    groups: Mapping[str, Sequence[int]] | None,
    correlation: Correlations,
    normalise: bool,
) -> tuple[Group, ...]:
    """Return the groups of a mixture with further ones; see `Mixture.mixed`."""
    named = dict(groups or {})
    made = list(present)
    for selection, value in composition.items():
        old = next((group for group in made if group.name == selection), None)
        name, sites = (old.name, old.sites) if old else _select(numbers, selection, named)
        chosen = correlation.get(name) if isinstance(correlation, Mapping) else correlation
        group = Group.of_species(
            name,
            sites,
            _weights(value, name, normalise),
            chosen or (old.correlation if old else "independent"),
            normalise,
        )
        if old:
            made[made.index(old)] = group
        else:
            made.append(group)
    unused = [name for name in named if name not in composition]
    if unused:
        raise InputError(
            f"the named group {unused[0]!r} is given no composition: name it in the mix, or leave "
            "it out"
        )
    known = [group.name for group in made]
    for name in correlation if isinstance(correlation, Mapping) else ():
        if name not in known:
            raise InputError(
                f"a correlation is given for {name!r}, which is no group: name one of "
                f"{', '.join(known)}"
            )
    return tuple(made)


def _weights(value: Any, name: str, normalise: bool) -> Mapping[str, float]:
    """Return the weights of a composition given as a dictionary or a formula."""
    if isinstance(value, str):
        return parse_composition(value, normalise)
    if isinstance(value, Mapping) and all(
        isinstance(symbol, str) and isinstance(weight, Real) for symbol, weight in value.items()
    ):
        return value
    raise InputError(
        f"the composition of {name!r} is {value!r}: write a formula such as 'Ce0.7Zr0.3', or a "
        "dictionary such as {'Ce': 0.7, 'Zr': 0.3}"
    )


def _select(
    numbers: IntArray, selection: Selection, named: Mapping[str, Sequence[int]]
) -> tuple[str, IntArray]:
    """Return the name and the sites of a selection."""
    if isinstance(selection, str):
        if selection in named:
            return selection, _select(numbers, tuple(named[selection]), {})[1]
        number = species_number_or_none(selection)
        if number < 0:
            known = f" or one of {', '.join(named)}" if named else ""
            raise InputError(
                f"the selection {selection!r} is neither an element nor a named "
                f"group{meant_element(selection)}: write an element symbol{known}, or site indices"
            )
        sites = np.flatnonzero(numbers == number)
        if len(sites) == 0:
            present = ", ".join(species_symbol(z) for z in np.unique(numbers).tolist())
            raise InputError(
                f"the selection {selection!r} matches no site: the structure holds "
                f"{present or 'no atoms'}"
            )
        return selection, sites
    indices = (selection,) if isinstance(selection, Integral) else selection
    if not isinstance(indices, Sequence) or not all(
        isinstance(index, Integral) and not isinstance(index, bool) for index in indices
    ):
        raise InputError(
            f"the selection {selection!r} is no element, group, site index or tuple of indices: "
            "write for example 'Ce', 3 or (0, 2, 5)"
        )
    return ",".join(str(index) for index in indices), np.array(indices, dtype=np.int64)
