"""Harmonic springs in place of a model, for campaigns whose runs are to cost little.

Imported by a process, as by `dask worker --preload spring_crystal.py`, it makes every calculation there use them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from alchemlip import AlchemicalPotential
from alchemlip.calculations import potentials

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from pair_models import PairBackend

torch.set_num_threads(1)
# Of springs between neighbours in eV/A^2; a simple cubic crystal is held by its cell.
STIFFNESS = torch.zeros(100, dtype=torch.float64)
STIFFNESS[29], STIFFNESS[47] = 1.0, 1.6


def pair(a: Tensor, b: Tensor, vectors: Tensor) -> Tensor:
    return 0.25 * (STIFFNESS[a] + STIFFNESS[b]) * vectors.square().sum(dim=1)


SPRINGS = AlchemicalPotential(PairBackend(pair, 3.7, (29, 47)))


def springs(*_: Any) -> AlchemicalPotential:
    return SPRINGS


potentials.prepare_single_potential = springs
potentials.prepare_potential = springs
