"""The MACE trained for Cs(Pb,Sn)I3 that ``data/trained_mace`` holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from alchemlip import AlchemicalPotential, load_potential

FOLDER = Path(__file__).parent / "data" / "trained_mace"
MODEL = FOLDER / "cspbsni3.model"


def trained_mace_potential(dtype: str = "float64") -> AlchemicalPotential:
    """Return it as a user would load it."""
    return load_potential(str(MODEL), trust=True, device="cpu", dtype=dtype)


def trained_mace_float64() -> Any:
    """Return mace's own calculator of it."""
    from mace.calculators import MACECalculator

    model = torch.load(MODEL, map_location="cpu", weights_only=False)
    return MACECalculator(models=[model.double()], device="cpu", default_dtype="float64")
