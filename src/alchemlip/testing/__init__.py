"""Checks that any backend must pass, as functions and as one pytest class.

from alchemlip.testing import CRYSTALS, check_one_hot
check_one_hot(potential, calculator, CRYSTALS[0])

from alchemlip.testing import PotentialSuite   # needs pytest

class TestMine(PotentialSuite):
    @pytest.fixture(scope="class")
    def potential(self):
        return load_potential("mine", device="cpu", dtype="float64")

    @pytest.fixture(scope="class")
    def calculator(self):
        return MyCalculator()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alchemlip.testing.checks import (
    CORRELATIONS,
    FORMS,
    check_batch,
    check_concerted_sum,
    check_exclusive,
    check_factorised_equals_expanded,
    check_node_energies,
    check_one_hot,
    check_split,
    one_hot,
    split_site,
)
from alchemlip.testing.comparison import (
    DIFFERENCE,
    TOLERANCE,
    assert_as_serial,
    assert_equal,
    assert_matches,
    assert_same_evaluation,
    central_difference,
    in_threads,
    numerical_stress,
)
from alchemlip.testing.crystals import CRYSTALS, Crystal, deformed, pure_atoms
from alchemlip.testing.derivatives import (
    check_composition_gradient,
    check_forces,
    check_isolated_atom,
    check_rotation,
    check_second_derivatives,
    check_stress,
    check_symmetries_of_space,
)
from alchemlip.testing.running import (
    check_device,
    check_float32,
    check_pickling,
    check_threads,
    compositions,
)

if TYPE_CHECKING:
    from alchemlip.testing.suite import PotentialSuite

__all__ = [
    "CORRELATIONS",
    "CRYSTALS",
    "DIFFERENCE",
    "FORMS",
    "TOLERANCE",
    "Crystal",
    "PotentialSuite",
    "assert_as_serial",
    "assert_equal",
    "assert_matches",
    "assert_same_evaluation",
    "central_difference",
    "check_batch",
    "check_composition_gradient",
    "check_concerted_sum",
    "check_device",
    "check_exclusive",
    "check_factorised_equals_expanded",
    "check_float32",
    "check_forces",
    "check_isolated_atom",
    "check_node_energies",
    "check_one_hot",
    "check_pickling",
    "check_rotation",
    "check_second_derivatives",
    "check_split",
    "check_stress",
    "check_symmetries_of_space",
    "check_threads",
    "compositions",
    "deformed",
    "in_threads",
    "numerical_stress",
    "one_hot",
    "pure_atoms",
    "split_site",
]


def __getattr__(name: str) -> Any:
    if name == "PotentialSuite":  # the functions need no pytest
        from alchemlip.testing.suite import PotentialSuite

        return PotentialSuite
    raise AttributeError(f"module 'alchemlip.testing' has no attribute {name!r}")
