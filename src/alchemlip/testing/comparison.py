"""What the checks compare with: equality, an ASE calculator, differences, one thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from ase import Atoms

from alchemlip.arrays import FloatArray
from alchemlip.mixture.mixture import Mixture
from alchemlip.potential.evaluation import Evaluation
from alchemlip.potential.potential import AlchemicalPotential

TOLERANCE = 1e-10
"""Error allowed to what is exact, relative to the largest value (or to 1, if that is smaller)."""

DIFFERENCE = 2e-7
"""Error allowed to a fourth-order difference, likewise."""


def assert_equal(
    got: Any, expected: Any, tolerance: float = TOLERANCE, what: str = "the value"
) -> None:
    """Compare numbers, or arrays element by element.

    Args:
        got, expected: what broadcasts against one another.
        tolerance: allowed difference, relative to the largest expected value or to 1.
        what: they are, for the sentence.

    Raises:
        AssertionError: with the largest difference; NaN equals nothing.
    """
    found, right = np.asarray(got), np.asarray(expected)
    scale = max(1.0, float(np.abs(right).max()))
    error = float(np.abs(found - right).max())
    if not error <= tolerance * scale:
        raise AssertionError(
            f"{what} is off by {error:.3g}, where {tolerance * scale:.3g} is allowed: "
            f"got {found}, expected {right}"
        )


def assert_matches(
    result: Evaluation,
    atoms: Atoms,
    kept: Any,
    calculator: Any,
    tolerance: float = TOLERANCE,
    where: str = "",
) -> None:
    """Compare energy, forces and stress with a calculator's on an ordinary structure.

    Args:
        result: of the mixture.
        atoms: the ordinary structure.
        kept: selects its atoms among the mixture's sites.
        calculator: an ASE calculator, in float64.
        tolerance: as for `assert_equal`.
        where: for the sentence, such as `` of Na at 1``.
    """
    atoms = atoms.copy()
    atoms.calc = calculator
    own = f"{where}, against the potential's own calculator,"
    assert_equal(result.energy, atoms.get_potential_energy(), tolerance, f"the energy{own}")
    assert_equal(given(result.forces)[kept], atoms.get_forces(), tolerance, f"the force{own}")
    if atoms.pbc.all():
        stress = atoms.get_stress()
        assert_equal(given(result.stress), stress, tolerance, f"the stress{own}")


def assert_same_evaluation(
    got: Evaluation, expected: Evaluation, tolerance: float = TOLERANCE, where: str = ""
) -> None:
    """Compare all that two evaluations of one mixture give."""
    assert_equal(got.energy, expected.energy, tolerance, f"the energy{where}")
    if len(got.node_energies) != len(expected.node_energies):
        raise AssertionError(f"the number of node energies{where} differs")
    assert_equal(got.node_energies, expected.node_energies, tolerance, f"a node energy{where}")
    for name, word in (
        ("forces", "a force"),
        ("stress", "the stress"),
        ("composition_gradient", "dE/dx"),
    ):
        one, other = getattr(got, name), getattr(expected, name)
        if (one is None) != (other is None):
            raise AssertionError(f"{word}{where} is there in one of two evaluations only")
        if other is not None and other.size:
            assert_equal(one, other, tolerance, f"{word}{where}")


def central_difference(function: Callable[[float], float], step: float) -> float:
    """Return the derivative of a function of one number at 0, by a fourth-order difference."""
    near = function(step) - function(-step)
    far = function(2 * step) - function(-2 * step)
    return float((8 * near - far) / (12 * step))


def numerical_stress(
    mixture: Mixture, potential: AlchemicalPotential, step: float = 1e-3
) -> FloatArray:
    """Return 1/V dE/d(strain) of cell and positions together, (6,) in eV/A^3, by differences."""
    volume = abs(np.linalg.det(mixture.cell))
    values = []
    for a, b in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
        strain = np.zeros((3, 3))
        strain[a, b] += 0.5
        strain[b, a] += 0.5

        def energy(h: float, strain: FloatArray = strain) -> float:
            deform = np.eye(3) + h * strain
            atoms = Atoms(
                mixture.numbers,
                positions=mixture.positions @ deform,
                cell=mixture.cell @ deform,
                pbc=mixture.pbc,
            )
            return potential.evaluate(mixture.with_geometry(atoms)).energy

        values.append(central_difference(energy, step) / volume)
    return np.array(values)


def in_threads(
    function: Callable[[Any], Any], arguments: Sequence[Any], threads: int = 4, each: int = 8
) -> list[list[Any]]:
    """Call a function with every argument in turn, in every thread; each begins elsewhere.

    Args:
        function: returns numbers.
        arguments: what it is called with.
        threads: that run together.
        each: calls of each thread.

    Returns:
        Of each thread the values, in the order of the arguments.

    Raises:
        AssertionError: if a call fails, or one thread gets two values for one argument.
    """
    together = threading.Barrier(threads)
    calls = max(each, len(arguments))

    def work(first: int) -> list[Any]:
        together.wait()
        found: dict[int, Any] = {}
        for index in ((first + n) % len(arguments) for n in range(calls)):
            try:
                value = function(arguments[index])
            except Exception as error:
                raise AssertionError(
                    f"beside {threads - 1} other threads a call failed ({error!r})"
                ) from error
            if index in found and not np.allclose(value, found[index], rtol=0.0, atol=1e-9):
                raise AssertionError(
                    f"beside {threads - 1} other threads one call gave {found[index]}, and {value} "
                    "when it was made again"
                )
            found[index] = value
        return [found[index] for index in range(len(arguments))]

    with ThreadPoolExecutor(threads) as executor:
        return list(executor.map(work, range(threads)))


def assert_as_serial(
    function: Callable[[Any], Any], arguments: Sequence[Any], threads: int = 4, each: int = 8
) -> None:
    """Compare a function's values in several threads with those in one.

    Args:
        function: returns numbers, the first of which depends on the argument; called by one thread
            first.
        arguments: what it is called with.
        threads: that run together.
        each: calls of each thread.

    Raises:
        AssertionError: if a value differs by more than 1e-9.
    """
    expected = [function(argument) for argument in arguments]
    if len(np.unique(np.round([np.ravel(value)[0] for value in expected], 6))) < 2:
        raise AssertionError("all arguments give one value: threads that mix them up go unseen")
    for found in in_threads(function, arguments, threads, each):
        for value, right in zip(found, expected, strict=True):
            if not np.allclose(value, right, rtol=0.0, atol=1e-9):
                raise AssertionError(f"{threads} threads give {value}, one gives {right}")


def given(value: FloatArray | None) -> FloatArray:
    """Return forces, stress or dE/dx of an evaluation, which must be there."""
    if value is None:
        raise AssertionError("forces, dE/dx, or the stress of a periodic crystal are missing")
    return value
