"""What is mixed where: sites, species, groups, correlations and occupancies.

    mixture = Mixture.from_elements(atoms, {"Ce": {"Ce": 0.7, "Zr": 0.3}})
    mixture = mixture.with_composition("Ce", {"Ce": 0.5, "Zr": 0.5})
    mixture.component_labels, mixture.composition, mixture.nodes.occupancies(mixture.composition)

NumPy only. A mixture is immutable: every change returns a new one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from alchemlip.arrays import BoolArray, FloatArray, IntArray
from alchemlip.errors import InputError
from alchemlip.mixture.constraints import constraints_of
from alchemlip.mixture.exclusive import NO_PAIRS, ExclusivePairs
from alchemlip.mixture.groups import (
    Correlation,
    Correlations,
    Group,
    Selection,
    frozen,
    mixed_groups,
)
from alchemlip.mixture.nodes import Nodes, nodes_of, site_kinds
from alchemlip.mixture.short_range_order import ShortRangeOrder
from alchemlip.mixture.species import (
    VACANCY_NUMBER,
    check_weights,
    species_mass,
    species_number,
    species_symbol,
)
from alchemlip.mixture.split_sites import PairLike, pairs_of
from alchemlip.mixture.structures import (
    atoms_from_mixture,
    groups_from_atoms,
    pairs_from_atoms,
    parts_of_atoms,
    parts_of_end_states,
    parts_of_structure,
    species_of_atoms,
    structure_from_mixture,
)

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True, eq=False)
class Mixture:
    """A structure whose sites may hold several species at once.

    Attributes:
        numbers: (S,) species of each site as given (an atomic number, or an isotope's, see
            `alchemlip.mixture.species`); on a mixed site only a host label.
        positions: (S, 3) in Angstrom.
        cell: (3, 3) rows are the cell vectors, in Angstrom.
        pbc: (3,) periodic directions.
        groups: the mixed sites.
        exclusive: pairs of sites of which at most one is filled, such as split sites.
        fixed: (S,) sites that relaxations leave where they are (ASE's ``FixAtoms``); none if left
            out. Where the cell relaxes, their fractional coordinates stay.
        other_constraints: names of further constraints, with which nothing is relaxed.
    """

    numbers: IntArray
    positions: FloatArray
    cell: FloatArray
    pbc: BoolArray
    groups: tuple[Group, ...] = field(default=())
    exclusive: ExclusivePairs = NO_PAIRS
    fixed: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=bool))
    other_constraints: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        set_ = object.__setattr__
        numbers = np.asarray(self.numbers, dtype=np.int64).reshape(-1)
        set_(self, "numbers", frozen(numbers))
        for name, kind, shape in (
            ("positions", float, (-1, 3)),
            ("cell", float, (3, 3)),
            ("pbc", bool, (3,)),
        ):
            values = np.asarray(getattr(self, name), dtype=kind)
            if values.size % 3 or (-1 not in shape and values.size != np.prod(shape)):
                raise InputError(
                    f"the {name} have shape {values.shape}: give an array of shape "
                    f"{'(sites, 3)' if shape[0] == -1 else shape}"
                )
            set_(self, name, frozen(values.reshape(shape)))
        set_(self, "groups", tuple(self.groups))
        if self.n_sites == 0:
            raise InputError("the structure has no atoms: give a structure with at least one site")
        if len(self.positions) != self.n_sites:
            raise InputError(
                f"the structure has {self.n_sites} sites but {len(self.positions)} positions: give "
                "one position per site"
            )
        fixed = np.asarray(self.fixed, dtype=bool).reshape(-1)
        if fixed.size not in (0, self.n_sites):
            raise InputError(
                f"the structure has {self.n_sites} sites but {fixed.size} values of fixed: give "
                "one per site"
            )
        set_(self, "fixed", frozen(fixed if fixed.size else np.zeros(self.n_sites, dtype=bool)))
        set_(self, "other_constraints", tuple(self.other_constraints))
        owner: dict[int, str] = {}
        names: set[str] = set()
        for group in self.groups:
            if group.name in names:
                raise InputError(f"two groups are called {group.name!r}: give each its own name")
            names.add(group.name)
            for site in group.sites.tolist():
                if not 0 <= site < self.n_sites:
                    raise InputError(
                        f"group {group.name!r} selects site {site}, but the structure has sites 0 "
                        f"to {self.n_sites - 1}: correct the index"
                    )
                if site in owner:
                    raise InputError(
                        f"groups {owner[site]!r} and {group.name!r} overlap at site {site}: put "
                        "every site into one group"
                    )
                owner[site] = group.name
        for site in np.flatnonzero(self.numbers == VACANCY_NUMBER).tolist():
            if site not in owner:
                raise InputError(
                    f"site {site} is empty (X) but in no group: name what can be there"
                )
        self.exclusive.check(self.n_sites, self.pbc, self.groups)

    # ------------------------------------------------------------------ constructors

    @classmethod
    def from_elements(
        cls,
        atoms: Atoms,
        composition: Mapping[Selection, Mapping[str, float] | str],
        *,
        groups: Mapping[str, Sequence[int]] | None = None,
        correlation: Correlations = None,
        normalise: bool = False,
    ) -> Mixture:
        """Mix species on chosen sites of a structure.

        Args:
            atoms: the structure (ASE); partial occupancies in ``atoms.info`` stay, and so do atoms
                fixed by ``FixAtoms``.
            composition: for each selection of sites the weight of each species, as a dictionary or
                a formula (``"Ce0.7Zr0.3"``). A selection is an element symbol (all its sites), a
                name from ``groups``, one site index, or a tuple of indices.
            groups: named selections, each a list of site indices.
            correlation: for all groups given here, or by group name; ``independent`` by default.
            normalise: divide weights by their sum.

        Raises:
            InputError: if a selection matches nothing, groups overlap, or a composition is bad.
        """
        present = groups_from_atoms(atoms)
        numbers = species_of_atoms(atoms, present)
        made = mixed_groups(numbers, present, composition, groups, correlation, normalise)
        pairs, kept = pairs_from_atoms(atoms), constraints_of(atoms)
        return cls(numbers, atoms.positions, atoms.cell.array, atoms.pbc, made, pairs, **kept)

    @classmethod
    def from_end_states(
        cls,
        end_states: Mapping[str, Atoms],
        composition: Mapping[str, float],
        *,
        name: str = "end states",
        correlation: Correlation = "concerted",
        all_sites: bool = False,
        normalise: bool = False,
    ) -> Mixture:
        """Interpolate between structures that differ only in what sits on their sites.

        Args:
            end_states: label -> structure with the same sites in the same order; ``X`` marks an
                empty site. The first gives positions and cell.
            composition: weight of each end state.
            name: name of the one group that is made.
            correlation: ``concerted`` by default: all sites change together.
            all_sites: also put sites on which all end states agree into the group; then the energy
                with ``concerted`` is exactly the weighted sum of the end states' energies.
            normalise: divide weights by their sum.

        Raises:
            InputError: if the structures have different numbers of sites or do not differ.
        """
        parts = parts_of_end_states(
            end_states, composition, name, correlation, all_sites, normalise
        )
        return cls(**parts)

    @classmethod
    def from_structure(
        cls,
        structure: Any,
        *,
        correlation: Correlation = "independent",
        normalise: bool = False,
    ) -> Mixture:
        """Make a mixture of a pymatgen ``Structure`` with partial occupancies.

        Sites of equal occupancies form one group. Occupancies that sum to less than 1 leave the
        rest to the vacancy; oxidation states are dropped.
        """
        return cls(**parts_of_structure(structure, correlation, normalise))

    @classmethod
    def from_atoms(cls, atoms: Atoms) -> Mixture:
        """Make a mixture of ASE atoms with partial occupancies in ``atoms.info["occupancy"]``.

        ``atoms.info["occupancy"]`` and ``atoms.arrays["spacegroup_kinds"]`` are ASE's own
        convention, as its CIF reader fills them. Atoms fixed by ``FixAtoms`` are fixed in
        relaxations, which other constraints refuse.
        """
        return cls(**parts_of_atoms(atoms))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Mixture:
        """Make a mixture of the plain dictionary that ``to_dict`` returns."""
        try:
            groups = tuple(Group.from_dict(entry) for entry in data["groups"])
            numbers = np.array([species_number(symbol) for symbol in data["symbols"]])
            pairs = ExclusivePairs(data["exclusive"]) if "exclusive" in data else NO_PAIRS
            fixed = np.zeros(len(numbers), dtype=bool)
            fixed[data.get("fixed_sites", [])] = True
            return cls(
                numbers,
                data["positions_A"],
                data["cell_A"],
                data["pbc"],
                groups,
                pairs,
                fixed,
                tuple(data.get("other_constraints", ())),
            )
        except (AttributeError, IndexError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"the mixture's dictionary is damaged ({error}): write it with Mixture.to_dict()"
            ) from error
        except KeyError as error:
            raise InputError(
                f"the mixture's dictionary lacks the key {error}: write it with Mixture.to_dict()"
            ) from error

    # ------------------------------------------------------------------ what it holds

    @property
    def n_sites(self) -> int:
        """Number of sites, empty ones included."""
        return len(self.numbers)

    @property
    def n_atoms(self) -> float:
        """Expected number of atoms: the sum of all occupancies but the vacancies'."""
        return float(self.nodes.occupancies(self.composition).sum())

    @property
    def component_labels(self) -> tuple[str, ...]:
        """``group:component`` for every entry of the flat composition."""
        return tuple(f"{group.name}:{label}" for group in self.groups for label in group.components)

    @property
    def composition(self) -> FloatArray:
        """(K,) the flat composition: the groups' weights one after the other."""
        if not self.groups:
            return np.zeros(0)
        return np.concatenate([group.composition for group in self.groups])

    @property
    def composition_by_group(self) -> dict[str, dict[str, float]]:
        """The composition as {group: {component: weight}}."""
        return self.by_group(self.composition)

    def by_group(self, values: npt.ArrayLike) -> dict[str, dict[str, float]]:
        """Return a flat array (K,) as {group: {component: value}}."""
        flat = np.asarray(values, dtype=float)
        return {
            group.name: dict(
                zip(group.components, flat[self.components_of(group.name)].tolist(), strict=True)
            )
            for group in self.groups
        }

    def components_of(self, name: str) -> slice:
        """Return where the weights of a group stand in flat arrays (K,)."""
        size = len(self.group(name).components)
        start = 0
        for group in self.groups:
            if group.name == name:
                break
            start += len(group.components)
        return slice(start, start + size)

    def group(self, name: str) -> Group:
        """Return the group of a name.

        Raises:
            InputError: if there is none.
        """
        for group in self.groups:
            if group.name == name:
                return group
        known = ", ".join(group.name for group in self.groups) or "none"
        raise InputError(f"no group is called {name!r}: the groups are {known}")

    @cached_property
    def nodes(self) -> Nodes:
        """The (site, species) pairs; they do not depend on the composition."""
        return nodes_of(self.numbers, self.groups)

    def occupancies(self) -> list[dict[str, float]]:
        """Return for each site the occupancy of each species that can sit there."""
        result = [{species_symbol(number): 1.0} for number in self.numbers.tolist()]
        for group in self.groups:
            for site, occupancy in zip(group.sites.tolist(), group.occupancies(), strict=True):
                result[site] = occupancy
        return result

    @property
    def masses(self) -> FloatArray:
        """(S,) mean mass of each site over its non-vacant species, in amu; never 0.

        A site that is wholly vacant gets the plain mean over the species it could hold.
        """
        masses = np.array([species_mass(number) for number in self.numbers.tolist()])
        for group in self.groups:
            for site, row in zip(group.sites.tolist(), group.species, strict=True):
                real = row != VACANCY_NUMBER
                if not real.any():
                    raise InputError(
                        f"site {site} of group {group.name!r} can only be vacant, so it has no "
                        "mass: remove the site"
                    )
                weights = np.where(real, group.composition, 0.0)
                if weights.sum() == 0:
                    weights = real.astype(float)
                values = np.array([species_mass(number) for number in row.tolist()])
                masses[site] = float(weights @ values / weights.sum())
        return masses

    @property
    def site_labels(self) -> IntArray:
        """(S,) integers, equal on sites that the energy cannot tell apart (for symmetry).

        Sites that vary independently are told by their occupancies alone. Sites of a correlated
        group are tied to one another, so the group and what each component places count as well.
        """
        keys: list[tuple[Any, ...]] = [
            tuple(sorted((symbol, round(p, 10)) for symbol, p in occupancy.items() if p > 0))
            for occupancy in self.occupancies()
        ]
        for index, group in enumerate(self.groups):
            if group.correlation != "independent":
                for site, row in zip(group.sites.tolist(), group.species.tolist(), strict=True):
                    keys[site] = (index, *row, *group.composition.round(10).tolist())
        known: dict[tuple[Any, ...], int] = {}
        labels = np.array([known.setdefault(key, len(known) + 1) for key in keys])
        return self.exclusive.refined(labels, self.positions, self.cell)

    @property
    def site_kinds(self) -> IntArray:
        """(S,) integers, equal on sites of one group with the same species, or of one element.

        Finer than ``site_labels``, which goes by occupancies: derivatives in a composition belong
        to groups, whatever their weights happen to be.
        """
        kinds = site_kinds(self.numbers, self.groups)
        return self.exclusive.refined(kinds, self.positions, self.cell)

    # ------------------------------------------------------------------ changes

    def mixed(
        self,
        composition: Mapping[Selection, Mapping[str, float] | str],
        *,
        groups: Mapping[str, Sequence[int]] | None = None,
        correlation: Correlations = None,
        normalise: bool = False,
    ) -> Mixture:
        """Return the mixture with further groups; the arguments are those of `from_elements`.

        A selection may also name a group that is there already: its species are replaced, and its
        correlation kept unless one is given.
        """
        made = mixed_groups(self.numbers, self.groups, composition, groups, correlation, normalise)
        return replace(self, groups=made)

    def with_composition(
        self, group: str, composition: Mapping[str, float] | npt.ArrayLike, normalise: bool = False
    ) -> Mixture:
        """Return the mixture with another composition of one group.

        Args:
            group: name of the group.
            composition: {component: weight}, components left out being 0, or an array (K,).
            normalise: divide by the sum.

        Raises:
            InputError: if a component is unknown or the weights do not lie on the simplex.
        """
        return self.with_compositions({group: composition}, normalise)

    def with_compositions(
        self,
        compositions: Mapping[str, Mapping[str, float] | npt.ArrayLike],
        normalise: bool = False,
    ) -> Mixture:
        """Return the mixture with other compositions of several groups, set at once.

        Args:
            compositions: {group: composition}, each as `with_composition` takes it.
            normalise: divide each by its sum.

        Raises:
            InputError: if a group or component is unknown, or weights do not lie on the simplex.
        """
        new = {
            name: self._recomposed(name, composition, normalise)
            for name, composition in compositions.items()
        }
        groups = tuple(new.get(item.name, item) for item in self.groups)
        return self._sharing_nodes(replace(self, groups=groups))

    def _recomposed(
        self, group: str, composition: Mapping[str, float] | npt.ArrayLike, normalise: bool
    ) -> Group:
        old = self.group(group)
        if isinstance(composition, Mapping):
            unknown = [label for label in composition if label not in old.components]
            if unknown:
                raise InputError(
                    f"group {group!r} has no component {unknown[0]!r}: its components are "
                    f"{', '.join(old.components)}"
                )
            values = [float(composition.get(label, 0.0)) for label in old.components]
        else:
            values = np.asarray(composition, dtype=float).reshape(-1).tolist()
        if len(values) == len(old.components):
            labelled = dict(zip(old.components, values, strict=True))
            values = list(check_weights(labelled, f"group {group!r}", normalise).values())
        return replace(old, composition=np.array(values))

    def with_short_range_order(
        self,
        group: str,
        radii: Sequence[float],
        alpha: Mapping[tuple[str, str], Sequence[float]],
    ) -> Mixture:
        """Return the mixture with Warren-Cowley short-range order in one group.

        Args:
            group: name of the group; its correlation becomes ``short-range``.
            radii: (D,) outer radius of each shell in Angstrom, between the shells.
            alpha: {(a, b): D values} for pairs of components, 1 - P(b | a) / p_b: negative where
                they attract; pairs left out are 0.

        Raises:
            InputError: if a probability would be negative.
        """
        old = self.group(group)
        order = ShortRangeOrder.of_pairs(old.components, radii, alpha)
        new = replace(old, correlation="short-range", short_range_order=order)
        groups = tuple(new if item.name == group else item for item in self.groups)
        return replace(self, groups=groups)

    def with_exclusive(self, pairs: ExclusivePairs | Sequence[PairLike]) -> Mixture:
        """Return the mixture in which at most one site of each of these pairs is filled.

        They take the place of the pairs that the mixture had; none are left with ``()``. See
        `alchemlip.mixture.split_sites.exclusive_pairs`, which finds them by distance.

        Args:
            pairs: ``(i, j)`` for two sites, of whose images the nearest exclude one another, or
                ``(i, j, (n1, n2, n3))`` for one image of j, by its cell.

        Raises:
            InputError: if sites of a pair, or of a set that all exclude one another, are filled by
                more than 1 together.
        """
        made = pairs if isinstance(pairs, ExclusivePairs) else pairs_of(self, pairs)
        return self._sharing_nodes(replace(self, exclusive=made))

    def with_geometry(self, atoms: Atoms) -> Mixture:
        """Return the mixture with the positions, cell and periodicity of an ASE structure.

        Positions may have been wrapped into the cell, or out of it: exclusive pairs stay with the
        images that are nearest to where they were.
        """
        if len(atoms) != self.n_sites:
            raise InputError(
                f"the structure has {len(atoms)} atoms, but the mixture has {self.n_sites} sites: "
                "give the same sites in the same order"
            )
        positions, cell = atoms.positions.copy(), atoms.cell.array.copy()
        pairs = self.exclusive
        if len(pairs):
            before = pairs.fractional(self.positions, self.cell)
            pairs = pairs.followed(before, positions, cell, np.asarray(atoms.pbc))
        changed = replace(self, positions=positions, cell=cell, pbc=atoms.pbc, exclusive=pairs)
        return self._sharing_nodes(changed)

    def repeat(self, repeats: int | tuple[int, int, int]) -> Mixture:
        """Return a supercell, its sites in the order of ``ase.Atoms.repeat``.

        Raises:
            InputError: if the structure has no cell vector along a repeated direction.
        """
        along = np.broadcast_to(np.asarray(repeats), (3,))
        if ((along != 1) & ~self.cell.any(axis=1)).any():
            raise InputError(
                "the structure has no cell vector along a direction that is to be repeated: set "
                "its cell, or leave that direction alone"
            )
        atoms = self._host_atoms().repeat(repeats)
        copies = len(atoms) // self.n_sites
        offsets = self.n_sites * np.arange(copies)
        groups = tuple(
            replace(
                group,
                sites=(offsets[:, None] + group.sites[None, :]).reshape(-1),
                species=np.tile(group.species, (copies, 1)),
            )
            for group in self.groups
        )
        return Mixture(
            atoms.numbers,
            atoms.positions,
            atoms.cell.array,
            atoms.pbc,
            groups,
            self.exclusive.repeated(along.tolist(), self.n_sites),
            np.tile(self.fixed, copies),
            self.other_constraints,
        )

    def split_group(self, name: str) -> Mixture:
        """Return the mixture with one group for each site of a group: compositions by site.

        The new groups are called ``name@site``.
        """
        groups: list[Group] = []
        for group in self.groups:
            if group.name != name:
                groups.append(group)
                continue
            if group.correlation == "short-range":
                raise InputError(
                    f"group {name!r} is short-range ordered, which sites with a composition of "
                    "their own are not: make it independent first"
                )
            groups += [
                replace(
                    group, name=f"{name}@{site}", sites=np.array([site]), species=row.reshape(1, -1)
                )
                for site, row in zip(group.sites.tolist(), group.species, strict=True)
            ]
        self.group(name)
        return replace(self, groups=tuple(groups))

    def _sharing_nodes(self, changed: Mixture) -> Mixture:
        # Nodes depend on groups and species alone; dynamics must not rebuild them every step.
        changed.__dict__["nodes"] = self.nodes
        return changed

    # ------------------------------------------------------------------ conversions

    def to_dict(self) -> dict[str, Any]:
        """Return a plain dictionary (JSON) that ``from_dict`` reads back exactly."""
        values: dict[str, Any] = {
            "symbols": [species_symbol(number) for number in self.numbers.tolist()],
            "positions_A": self.positions.tolist(),
            "cell_A": self.cell.tolist(),
            "pbc": self.pbc.tolist(),
            "groups": [group.to_dict() for group in self.groups],
            **({"fixed_sites": np.flatnonzero(self.fixed).tolist()} if self.fixed.any() else {}),
            **(
                {"other_constraints": list(self.other_constraints)}
                if self.other_constraints
                else {}
            ),
        }
        if len(self.exclusive):
            values["exclusive"] = self.exclusive.rows.tolist()
        return values

    def to_atoms(self) -> Atoms:
        """Return ASE atoms with the occupancies in ``info["occupancy"]`` and the mean masses.

        A mixed site shows its most abundant species. ``info["alchemlip_groups"]`` keeps what
        occupancies alone cannot say: group names, components and correlations;
        ``info["alchemlip_exclusive"]`` the exclusive pairs. Fixed sites have ``FixAtoms``.
        """
        return atoms_from_mixture(self)

    def to_structure(self) -> Any:
        """Return a pymatgen ``Structure`` with partial occupancies."""
        return structure_from_mixture(self)

    def __str__(self) -> str:
        """Return a line for the whole and a line for every group."""
        groups = f"{len(self.groups)} mixed group{'s' * (len(self.groups) != 1)}"
        lines = [f"{self.n_sites} sites, {self.n_atoms:g} atoms, {groups}"]
        for group in self.groups:
            weights = ", ".join(
                f"{name} {weight:.4g}"
                for name, weight in zip(group.components, group.composition, strict=True)
            )
            lines.append(f"{group.name} ({len(group.sites)} sites, {group.correlation}): {weights}")
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the groups, and how many sites are pure."""
        from alchemlip.notebook import html_table

        rows = [
            (
                group.name,
                len(group.sites),
                ", ".join(
                    f"{label} {weight:.6g}"
                    for label, weight in zip(group.components, group.composition, strict=True)
                ),
                group.correlation,
            )
            for group in self.groups
        ]
        pure = self.n_sites - sum(len(group.sites) for group in self.groups)
        caption = f"Mixture of {self.n_sites} sites, {pure} of them pure"
        if len(self.exclusive):
            caption += f"; at most one site filled of {len(self.exclusive)} pairs"
        return html_table(caption, ("group", "sites", "composition", "correlation"), rows)

    def _host_atoms(self) -> Atoms:
        from ase import Atoms

        return Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
