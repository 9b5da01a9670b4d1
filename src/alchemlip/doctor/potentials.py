"""Whether potentials load here, agree with their own package, and how fast they are."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.potential import AlchemicalPotential

TOLERANCE = 1e-5
"""Largest deviation from the potential's own package, relative to the energy per atom or 1 eV: some
ten times the rounding of float32, in which sevenn and chgnet calculate."""

TIMED = 5


@dataclass(frozen=True)
class PotentialState:
    """What became of a potential.

    Attributes:
        name: as it was asked for.
        works: whether it loads, and agrees with its own package.
        reason: one sentence if it does not.
        device: it was loaded on.
        load_s: time to load it.
        one_hot_error_eV_per_atom: deviation of the energy of a crystal whose occupancies are 0 and
            1 from that of the potential's own package.
        evaluation_ms: median time of energy, forces, stress and composition gradient of a mixed
            rocksalt cell of 8 sites, in float64.
    """

    name: str
    works: bool
    reason: str = ""
    device: str = ""
    load_s: float | None = None
    one_hot_error_eV_per_atom: float | None = None
    evaluation_ms: float | None = None


def names_here() -> list[str]:
    """Return the potentials whose weights are on this machine, ready for `check_potential`."""
    from alchemlip.backends import chgnet, mace_files, names, sevennet

    found = []
    if sevennet.installed():
        found += list(names.SEVENNET)
    if chgnet.installed():
        found += list(names.CHGNET)
    if mace_files.installed():
        with _quietly():
            try:
                found += [name for name in names.MACE if mace_files.downloaded_file(name)]
            except Exception:  # a broken package; loading by name tells what is wrong
                found.append(next(iter(names.MACE)))
    variants = names.EXAMPLE_VARIANTS
    return [f"{name}@{variants[name]}" if name in variants else name for name in found]


def check_potential(name: str, device: str = "auto", trust: bool = False) -> PotentialState:
    """Load a potential, compare it with its own package on one crystal, and time it.

    Args:
        name: as for `load_potential`.
        device: cpu, cuda or auto.
        trust: allow a local file.

    Returns:
        Its state; whatever goes wrong is a sentence in it.
    """
    try:
        with _quietly():
            return _checked(name, device, trust)
    except InputError as error:
        return PotentialState(name, False, str(error))
    except Exception as error:  # broken packages raise anything at all
        text = (str(error).strip().splitlines() or [""])[0][:160]
        return PotentialState(
            name,
            False,
            f"it cannot be used ({type(error).__name__}: {text}): install its package again, in "
            "the version that the extra asks for",
        )


def _checked(name: str, device: str, trust: bool) -> PotentialState:
    from alchemlip.backends.loading import load_potential
    from alchemlip.backends.registry import own_calculator

    start = perf_counter()
    potential = load_potential(name, device=device, trust=trust)
    load_s = perf_counter() - start
    pure, mixed = small_crystals(potential.elements)
    energy = finite_energy(potential, pure)
    atoms = pure.to_atoms()
    atoms.info.clear()
    atoms.calc = own_calculator(name, trust)
    own = float(atoms.get_potential_energy())
    error = abs(energy - own) / len(atoms)
    agrees = error <= TOLERANCE * max(1.0, abs(own) / len(atoms))
    reason = (
        ""
        if agrees
        else f"its energy is {error:.2g} eV/atom off that of its own package: install versions "
        "that alchemlip is tested with (constraints.txt)"
    )
    finite_energy(potential, mixed)  # also warms up
    return PotentialState(
        name, agrees, reason, str(potential.device), load_s, error, _milliseconds(potential, mixed)
    )


def small_crystals(elements: Sequence[str]) -> tuple[Mixture, Mixture]:
    """Return a rocksalt crystal of 8 sites with occupancies of 0 and 1, and the same half mixed.

    Args:
        elements: that the potential covers; NaCl and K are taken where they are among them.
    """
    from ase.build import bulk
    from ase.data import atomic_numbers, covalent_radii

    from alchemlip.mixture.mixture import Mixture

    salt = ["Na", "Cl", "K"]
    a, b, other = salt if set(salt) <= set(elements) else _three(elements)
    radii = covalent_radii[atomic_numbers[a]] + covalent_radii[atomic_numbers[b]]
    atoms = bulk(a + b, "rocksalt", 2.1 * radii, cubic=True) if a != b else None
    if atoms is None:
        atoms = bulk(a, "sc", 1.1 * radii).repeat(2)
    atoms.rattle(0.02, seed=1)  # no force is zero by symmetry
    pure = Mixture.from_elements(atoms, {a: {a: 1.0, other: 0.0}})
    return pure, Mixture.from_elements(atoms, {a: {a: 0.5, other: 0.5}})


def _three(elements: Sequence[str]) -> tuple[str, str, str]:
    """Return two elements of a crystal and a species to mix in, a vacancy if there are no more."""
    first = elements[0]
    second = elements[1] if len(elements) > 1 else first
    return first, second, elements[2] if len(elements) > 2 else "Va"


def finite_energy(potential: AlchemicalPotential, mixture: Mixture) -> float:
    """Return the energy in eV of a mixture.

    Raises:
        InputError: if energy, forces or stress are not finite.
    """
    import numpy as np

    found = potential.evaluate(mixture)
    for what, values in (
        ("energy", found.energy),
        ("forces", found.forces),
        ("stress", found.stress),
    ):
        if not np.isfinite(np.asarray(values, dtype=float)).all():
            raise InputError(
                f"the {what} of a small crystal is not finite: install the potential's package "
                "again, or try --device cpu"
            )
    return float(found.energy)


def _milliseconds(potential: AlchemicalPotential, mixture: Mixture) -> float:
    times = []
    for _ in range(TIMED):
        start = perf_counter()
        potential.evaluate(mixture)  # its arrays are on the CPU: a GPU has finished
        times.append(1e3 * (perf_counter() - start))
    return median(times)


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep what upstream packages print and warn of away from the report."""
    with (
        open(os.devnull, "w") as nowhere,
        redirect_stdout(nowhere),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
