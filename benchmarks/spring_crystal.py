"""Harmonic springs in place of a model, for campaigns whose runs are to cost little.

Imported by a process, as by `dask worker --preload spring_crystal.py`, it makes every calculation there use them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

from alchemlip import AlchemicalPotential
from alchemlip.cli import options

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from pair_models import spring_potential

torch.set_num_threads(1)
SPRINGS = spring_potential(3.7, (29, 47), 1.0, {29: 1.5, 47: 1.0})


def springs(*_: Any) -> AlchemicalPotential:
    return SPRINGS


options.prepare_single_potential = springs
options.prepare_potential = springs
