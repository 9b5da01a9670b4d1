"""All checks as one pytest class, which the author of a backend derives a class from."""

from __future__ import annotations

import pytest
from ase.calculators.calculator import Calculator

from alchemlip.mixture.groups import Correlation
from alchemlip.potential.messages import Form
from alchemlip.potential.potential import AlchemicalPotential
from alchemlip.testing import checks, derivatives, running
from alchemlip.testing.comparison import TOLERANCE
from alchemlip.testing.crystals import CRYSTALS, Crystal

every_correlation = pytest.mark.parametrize("correlation", checks.CORRELATIONS)
every_form = pytest.mark.parametrize("form", checks.FORMS)
every_crystal = pytest.mark.parametrize("crystal", CRYSTALS, ids=repr, indirect=True)


def only(*names: str) -> pytest.MarkDecorator:
    """Take these crystals."""
    chosen = [crystal for crystal in CRYSTALS if crystal.name in names]
    return pytest.mark.parametrize("crystal", chosen, ids=repr, indirect=True)


class PotentialSuite:
    """Checks of one potential, over small crystals in elements that it covers.

        class TestMine(PotentialSuite):
            @pytest.fixture(scope="class")
            @classmethod
            def potential(cls): ...

            @pytest.fixture(scope="class")
            @classmethod
            def calculator(cls): ...

    A derived class overrides the fixtures `potential` and `calculator`; where it can, `single` and
    `elsewhere`, whose checks are skipped otherwise. Crystals that the potential's elements cannot
    fill are skipped, and so is the factorised form of a model without it.

    Attributes:
        tolerance: of what is exact, relative to the largest value or 1.
        rounding: of energies in float32, relative to the largest node energy.
        step: of differences; smaller for a model with shorter waves.
    """

    tolerance = TOLERANCE
    rounding = 1e-6
    step = 1e-3

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> AlchemicalPotential:
        """Return the potential in float64."""
        raise NotImplementedError("override the fixture `potential`: the potential in float64")

    @pytest.fixture(scope="class")
    @classmethod
    def calculator(cls) -> Calculator:
        """Return the model's own ASE calculator, in float64, which knows nothing of alchemlip."""
        raise NotImplementedError("override the fixture `calculator`: the model's own, for ASE")

    @pytest.fixture(scope="class")
    @classmethod
    def single(cls) -> AlchemicalPotential | None:
        """Return the same weights in float32, if there are."""
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def elsewhere(cls) -> AlchemicalPotential | None:
        """Return the same weights in float64 on another device, if there is one."""
        return None

    @pytest.fixture
    def crystal(self, request: pytest.FixtureRequest, potential: AlchemicalPotential) -> Crystal:
        """Return a crystal of the parameters, in elements that the potential covers."""
        chosen: Crystal = request.param
        fitted = chosen.in_elements(potential.elements)
        if fitted is None:
            pytest.skip(f"{potential.name} covers too few elements for {chosen.name}")
        return fitted

    @pytest.fixture
    def crystals(self, potential: AlchemicalPotential) -> list[Crystal]:
        """Return all crystals that the potential's elements can fill."""
        fitted = (crystal.in_elements(potential.elements) for crystal in CRYSTALS)
        return [crystal for crystal in fitted if crystal is not None]

    def need(self, form: Form, potential: AlchemicalPotential) -> None:
        """Skip a form that a model cannot have; every model has the expanded one."""
        if form not in potential.backend.forms:
            pytest.skip(f"{potential.name} has no {form} form")

    def test_there_is_something_to_check(
        self, potential: AlchemicalPotential, crystals: list[Crystal]
    ) -> None:
        """A model has the expanded form, and covers enough elements for a crystal."""
        if "expanded" not in potential.backend.forms:
            raise AssertionError(f"{potential.name} does not offer the expanded form")
        if not crystals:
            raise AssertionError(f"{potential.name} covers no element: {potential.elements}")

    @every_crystal
    @every_correlation
    @every_form
    def test_one_hot(
        self,
        potential: AlchemicalPotential,
        calculator: Calculator,
        crystal: Crystal,
        correlation: Correlation,
        form: Form,
    ) -> None:
        """Occupancies 0 and 1."""
        self.need(form, potential)
        checks.check_one_hot(potential, calculator, crystal, correlation, form, self.tolerance)

    @every_crystal
    @every_correlation
    @every_form
    def test_split(
        self,
        potential: AlchemicalPotential,
        calculator: Calculator,
        crystal: Crystal,
        correlation: Correlation,
        form: Form,
    ) -> None:
        """Atoms as two nodes of the same element."""
        self.need(form, potential)
        checks.check_split(potential, calculator, crystal, correlation, form, self.tolerance)

    @every_form
    @pytest.mark.parametrize("with_vacancy", [False, True])
    @every_crystal
    def test_concerted_sum(
        self,
        potential: AlchemicalPotential,
        calculator: Calculator,
        crystal: Crystal,
        with_vacancy: bool,
        form: Form,
    ) -> None:
        """One concerted group over all sites."""
        self.need(form, potential)
        checks.check_concerted_sum(
            potential, calculator, crystal, with_vacancy, form, self.tolerance
        )

    @every_crystal
    @every_correlation
    def test_factorised_equals_expanded(
        self, potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation
    ) -> None:
        """Both forms."""
        self.need("factorised", potential)
        checks.check_factorised_equals_expanded(potential, crystal, correlation)

    def test_batch(self, potential: AlchemicalPotential, crystals: list[Crystal]) -> None:
        """All crystals in one pass."""
        checks.check_batch(potential, crystals)

    @every_crystal
    def test_node_energies(self, potential: AlchemicalPotential, crystal: Crystal) -> None:
        """One energy a node."""
        checks.check_node_energies(potential, crystal)

    @only("split-site")
    def test_exclusive(self, potential: AlchemicalPotential, crystal: Crystal) -> None:
        """Two sites of which one is filled."""
        checks.check_exclusive(potential, crystal)

    @every_crystal
    @every_correlation
    def test_composition_gradient(
        self, potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation
    ) -> None:
        """dE/dx."""
        derivatives.check_composition_gradient(potential, crystal, correlation, self.step)

    @every_crystal
    @every_correlation
    def test_forces(
        self, potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation
    ) -> None:
        """Forces."""
        derivatives.check_forces(potential, crystal, correlation, self.step)

    @every_crystal
    @every_correlation
    def test_stress(
        self, potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation
    ) -> None:
        """The stress."""
        derivatives.check_stress(potential, crystal, correlation, self.step)

    @only("both-sublattices", "elemental-vacancies")
    @every_correlation
    def test_second_derivatives(
        self, potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation
    ) -> None:
        """Derivatives in the composition of all others."""
        derivatives.check_second_derivatives(potential, crystal, correlation, self.step)

    @only("both-sublattices", "elemental-vacancies")
    @every_correlation
    def test_symmetries_of_space(
        self, potential: AlchemicalPotential, crystal: Crystal, correlation: Correlation
    ) -> None:
        """Translation, permutation, supercells."""
        derivatives.check_symmetries_of_space(potential, crystal, correlation)

    @only("both-sublattices", "elemental-vacancies")
    def test_rotation(self, potential: AlchemicalPotential, crystal: Crystal) -> None:
        """A turned crystal."""
        derivatives.check_rotation(potential, crystal)

    @only("cluster", "elemental-vacancies")
    def test_isolated_atom(self, potential: AlchemicalPotential, crystal: Crystal) -> None:
        """A site without neighbours."""
        derivatives.check_isolated_atom(potential, crystal)

    @only("one-atom-cell", "elemental-vacancies")
    def test_threads(self, potential: AlchemicalPotential, crystal: Crystal) -> None:
        """Several threads."""
        running.check_threads(potential, crystal)

    @every_crystal
    def test_float32(
        self,
        potential: AlchemicalPotential,
        single: AlchemicalPotential | None,
        crystal: Crystal,
    ) -> None:
        """Single precision."""
        if single is None:
            pytest.skip("override the fixture `single` to check float32")
        running.check_float32(potential, single, crystal, self.rounding)

    @every_crystal
    def test_device(
        self,
        potential: AlchemicalPotential,
        elsewhere: AlchemicalPotential | None,
        crystal: Crystal,
    ) -> None:
        """Another device."""
        if elsewhere is None:
            pytest.skip("override the fixture `elsewhere` to check another device")
        running.check_device(potential, elsewhere, crystal)

    @only("both-sublattices", "elemental-vacancies")
    def test_pickling(self, potential: AlchemicalPotential, crystal: Crystal) -> None:
        """Another process."""
        if not potential.can_be_pickled:
            pytest.skip(f"{potential.name} was not made by load_potential")
        running.check_pickling(potential, crystal)
