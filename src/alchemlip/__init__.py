"""alchemlip: any composition on any site of a machine-learning interatomic potential.

    from alchemlip import Mixture, AlchemicalCalculator, load_potential

Names load when first used, so that importing the package stays fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alchemlip.additive import AdditiveCalculator
    from alchemlip.calculator import AlchemicalCalculator
    from alchemlip.errors import InputError
    from alchemlip.evaluation import Evaluation
    from alchemlip.groups import Group
    from alchemlip.mixture import Mixture
    from alchemlip.potential import AlchemicalPotential, load_potential
    from alchemlip.relaxation import RelaxationResult, RelaxationSettings, relax, relax_many
    from alchemlip.scanning import composition_grid, scan
    from alchemlip.structure_files import read_structure, write_structure

__version__ = "0.1.0"

_HOME = {
    "AdditiveCalculator": "additive",
    "AlchemicalCalculator": "calculator",
    "AlchemicalPotential": "potential",
    "Evaluation": "evaluation",
    "Group": "groups",
    "InputError": "errors",
    "Mixture": "mixture",
    "RelaxationResult": "relaxation",
    "RelaxationSettings": "relaxation",
    "composition_grid": "scanning",
    "load_potential": "potential",
    "read_structure": "structure_files",
    "relax": "relaxation",
    "relax_many": "relaxation",
    "scan": "scanning",
    "write_structure": "structure_files",
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
