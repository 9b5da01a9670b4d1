"""The pair interactions as a lattice model for icet, and its transition by Monte Carlo.

    model = lattice_model(interactions, cutoff=6.0)            # an icet ClusterExpansion
    model.write("model.ce")
    points = anneal(model, interactions, temperatures, rng)    # mchammer, canonical

Needs icet (pip install 'alchemlip[disorder]').
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.units import kB

from alchemlip.arrays import FloatArray, IntArray
from alchemlip.disorder.ordering import OrderingWave
from alchemlip.disorder.pair_interactions import PairInteractions
from alchemlip.disorder.patterns import site_counts
from alchemlip.errors import InputError
from alchemlip.mixture.species import VACANCY
from alchemlip.process_state import leaving_no_trace

if TYPE_CHECKING:
    from ase import Atoms

MATCH = 1e-3
"""Largest error in eV per site with which icet's clusters must reproduce the pair energies."""


@dataclass(frozen=True)
class MonteCarloPoint:
    """The lattice model at one temperature.

    Attributes:
        temperature: in K.
        energy: mean energy per mixed site, in eV.
        heat_capacity: of the arrangement, per mixed site, in k_B.
        order: sum over the ordering star of |(1/N) sum_i (q_i - c) exp(i k . r_i)|^2 over its
            value in a perfectly ordered crystal of the same star; near 0 in the disordered state.
        acceptance: share of exchanges that were accepted.
    """

    temperature: float
    energy: float
    heat_capacity: float
    order: float
    acceptance: float


def lattice_model(interactions: PairInteractions, cutoff: float, samples: int = 4) -> Any:
    """Return the pair interactions as an icet ``ClusterExpansion``, in eV per mixed site.

    icet's parameters follow from its cluster vectors and the pair energies of random arrangements
    by a linear solve that must be exact, so that nothing rests on conventions.

    Args:
        interactions: of a supercell.
        cutoff: largest distance of a pair, in Angstrom.
        samples: random arrangements for each parameter.

    Raises:
        InputError: if icet is missing, or the crystal's symmetry is lower than that of its mixed
            sites alone, so that the clusters cannot carry the interactions.
    """
    _require_icet()
    with leaving_no_trace():
        from icet import ClusterExpansion, ClusterSpace

    primitive = lattice_atoms(interactions)
    symbols = [_symbol(species) for species in interactions.species]
    space = ClusterSpace(primitive, [cutoff], [symbols] * len(primitive), symprec=1e-3)
    rng = np.random.default_rng(0)
    sample = primitive.repeat(_repeats(primitive, 2.0 * cutoff + 1.0))
    neighbours = _neighbours(interactions, sample, cutoff)
    sublattice = np.arange(len(sample)) % len(primitive)
    vectors, energies = [], []
    for _ in range(samples * len(space)):
        chosen = rng.integers(len(symbols), size=len(sample))
        arranged = sample.copy()
        arranged.symbols[:] = [symbols[index] for index in chosen]
        vectors.append(space.get_cluster_vector(arranged))
        energies.append(_pair_energy(interactions, chosen, sublattice, neighbours) / len(sample))
    parameters = np.linalg.lstsq(np.array(vectors), np.array(energies), rcond=None)[0]
    error = float(np.abs(np.array(vectors) @ parameters - np.array(energies)).max())
    if error > MATCH:
        raise InputError(
            f"icet's clusters of the mixed sites miss the pair energies by {1e3 * error:.1f} "
            "meV/site: the crystal's symmetry is lower than that of its mixed sites, which icet "
            "does not see; there is no lattice model to hand over"
        )
    return ClusterExpansion(space, parameters)


def lattice_atoms(interactions: PairInteractions) -> Atoms:
    """Return the mixed sites of the primitive cell as ASE atoms, all of the first species."""
    from ase import Atoms

    lattice = interactions.lattice
    return Atoms(
        [_symbol(interactions.species[0])] * lattice.n_sublattices,
        positions=lattice.basis,
        cell=lattice.cell,
        pbc=True,
    )


def anneal(
    model: Any,
    interactions: PairInteractions,
    temperatures: Sequence[float],
    rng: np.random.Generator,
    *,
    wave: OrderingWave | None = None,
    repeat: tuple[int, int, int] = (8, 8, 8),
    sweeps: int = 200,
    equilibration: int = 100,
    on_point: Callable[[MonteCarloPoint], None] | None = None,
) -> list[MonteCarloPoint]:
    """Cool the lattice model through its transition by icet's canonical Monte Carlo.

    Args:
        model: made by `lattice_model`.
        interactions: with the composition.
        temperatures: in K, visited in the given order: high to low.
        rng: source of the start and of mchammer's seed.
        wave: whose amplitude is the order parameter; none is measured if left out.
        repeat: of the primitive cell; it must hold the composition and the wave.
        sweeps: exchanges tried per site and temperature, measured.
        equilibration: sweeps before that.
        on_point: called after each temperature.

    Raises:
        InputError: if the cell cannot hold the composition.
    """
    _require_icet()
    with leaving_no_trace():  # mchammer seeds and draws from Python's own generator
        return _annealed(
            model, interactions, temperatures, rng, wave, repeat, sweeps, equilibration, on_point
        )


def _annealed(
    model: Any,
    interactions: PairInteractions,
    temperatures: Sequence[float],
    rng: np.random.Generator,
    wave: OrderingWave | None,
    repeat: tuple[int, int, int],
    sweeps: int,
    equilibration: int,
    on_point: Callable[[MonteCarloPoint], None] | None,
) -> list[MonteCarloPoint]:
    from mchammer.calculators import ClusterExpansionCalculator
    from mchammer.ensembles import CanonicalEnsemble

    cell = lattice_atoms(interactions).repeat(repeat)
    counts = site_counts(interactions.composition, len(cell), "of the Monte Carlo cell")
    symbols = np.array([_symbol(species) for species in interactions.species])
    cell.symbols[:] = symbols[rng.permutation(np.repeat(np.arange(len(counts)), counts))].tolist()
    points = []
    for temperature in temperatures:
        ensemble = CanonicalEnsemble(
            structure=cell,
            calculator=ClusterExpansionCalculator(cell, model),
            temperature=temperature,
            random_seed=int(rng.integers(2**31 - 1)),
            ensemble_data_write_interval=len(cell),
            boltzmann_constant=kB,
        )
        ensemble.run(equilibration * len(cell))
        first = len(ensemble.data_container.data)
        orders = []
        for _ in range(20):
            ensemble.run(max(1, sweeps // 20) * len(cell))
            if wave is not None:
                orders.append(_order(ensemble.structure, interactions, wave))
        data = ensemble.data_container.data.iloc[first:]
        energies = data["potential"].to_numpy(dtype=float)
        cell = ensemble.structure.copy()
        point = MonteCarloPoint(
            temperature=float(temperature),
            energy=float(energies.mean() / len(cell)),
            heat_capacity=float(energies.var() / (kB * temperature) ** 2 / len(cell)),
            order=float(np.mean(orders)) if orders else np.nan,
            acceptance=float(data["acceptance_ratio"].mean()),
        )
        points.append(point)
        if on_point is not None:
            on_point(point)
    return points


def transition_temperature(points: Sequence[MonteCarloPoint]) -> float:
    """Return the temperature in K of the largest heat capacity."""
    return max(points, key=lambda point: point.heat_capacity).temperature


def _order(atoms: Atoms, interactions: PairInteractions, wave: OrderingWave) -> float:
    """Return the strength of a star, 1 where every site's occupant is told by the waves alone."""
    symbols = np.array([_symbol(species) for species in interactions.species])
    holds = (np.array(atoms.get_chemical_symbols())[:, None] == symbols[None, :]).astype(float)
    change = holds - interactions.composition
    sublattice = np.arange(len(atoms)) % interactions.lattice.n_sublattices
    strength = 0.0
    for k, branches in zip(wave.star, wave.amplitudes, strict=True):
        turns = np.exp(-1j * atoms.positions @ interactions.lattice.cartesian(k))
        for branch in branches:
            shape = branch[sublattice] / np.sqrt(
                (np.abs(branch[sublattice]) ** 2).sum() * len(atoms)
            )
            strength += float(np.abs((shape.conj() * change * turns[:, None]).sum()) ** 2)
    # All of the fluctuation in the star would be 1.
    return strength / float((change**2).sum() / len(atoms))


def _neighbours(
    interactions: PairInteractions, atoms: Atoms, cutoff: float
) -> tuple[IntArray, IntArray, IntArray]:
    """Return first site, second site and the interaction between them, for all pairs."""
    from ase.neighborlist import neighbor_list
    from scipy.spatial import cKDTree

    n = interactions.lattice.n_sublattices
    i, j, d = neighbor_list("ijD", atoms, cutoff)
    near = np.linalg.norm(interactions.vectors, axis=1) <= cutoff + 1e-6
    known = np.flatnonzero(near)
    far = 1e3  # keeps pairs of sublattices apart in the search

    def keys(origin: IntArray, target: IntArray, vectors: FloatArray) -> FloatArray:
        return np.column_stack([vectors, far * origin, far * target])

    tree = cKDTree(
        keys(interactions.origin[known], interactions.target[known], interactions.vectors[known])
    )
    distance, found = tree.query(keys(i % n, j % n, d))
    present = distance < 0.05
    return i[present], j[present], known[found[present]]


def _pair_energy(
    interactions: PairInteractions,
    chosen: IntArray,
    sublattice: IntArray,
    neighbours: tuple[IntArray, IntArray, IntArray],
) -> float:
    """Return the energy of an arrangement in eV, against the mean field."""
    i, j, edge = neighbours
    change = np.eye(len(interactions.species))[chosen] - interactions.composition
    pairs = np.einsum(
        "ea,eab,eb,e->",
        change[i],
        interactions.couplings[edge],
        change[j],
        interactions.weights[edge],
        optimize=True,
    )
    return float(interactions.fields[sublattice, chosen].sum() + 0.5 * pairs)


def _repeats(atoms: Atoms, width: float) -> tuple[int, ...]:
    """Return repeats that make every height of the cell at least a width in Angstrom."""
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    return tuple(int(value) for value in np.ceil(width / heights))


def _symbol(species: str) -> str:
    return "X" if species == VACANCY else species


def _require_icet() -> None:
    if find_spec("icet") is None:
        raise InputError(
            "Monte Carlo on the pair interactions needs the package icet: "
            "pip install 'alchemlip[disorder]'"
        )
