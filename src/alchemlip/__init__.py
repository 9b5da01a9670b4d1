"""alchemlip: any composition on any site of a machine-learning interatomic potential.

    from alchemlip import Mixture, AlchemicalCalculator, load_potential

Names load when first used, so that importing the package stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemlip.backends.loading import load_potential
    from alchemlip.calculations.result import open_result
    from alchemlip.crystal.relaxation import RelaxationResult, RelaxationSettings, relax, relax_many
    from alchemlip.crystal.scanning import composition_grid, scan
    from alchemlip.errors import InputError
    from alchemlip.mixture.groups import Group
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.mixture.structure_files import read_structure, write_structure
    from alchemlip.potential.additive import AdditiveCalculator
    from alchemlip.potential.calculator import AlchemicalCalculator
    from alchemlip.potential.evaluation import Evaluation
    from alchemlip.potential.potential import AlchemicalPotential

__version__ = "0.1.0"

_HOME = {
    "AdditiveCalculator": "potential.additive",
    "AlchemicalCalculator": "potential.calculator",
    "AlchemicalPotential": "potential.potential",
    "Evaluation": "potential.evaluation",
    "Group": "mixture.groups",
    "InputError": "errors",
    "Mixture": "mixture.mixture",
    "RelaxationResult": "crystal.relaxation",
    "RelaxationSettings": "crystal.relaxation",
    "composition_grid": "crystal.scanning",
    "load_potential": "backends.loading",
    "open_result": "calculations.result",
    "read_structure": "mixture.structure_files",
    "relax": "crystal.relaxation",
    "relax_many": "crystal.relaxation",
    "scan": "crystal.scanning",
    "write_structure": "mixture.structure_files",
}

__all__ = [
    "AdditiveCalculator",
    "AlchemicalCalculator",
    "AlchemicalPotential",
    "Evaluation",
    "Group",
    "InputError",
    "Mixture",
    "RelaxationResult",
    "RelaxationSettings",
    "__version__",
    "composition_grid",
    "load_potential",
    "open_result",
    "read_structure",
    "relax",
    "relax_many",
    "scan",
    "write_structure",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'alchemlip' has no attribute {name!r}")
    value = getattr(import_module(f"alchemlip.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
