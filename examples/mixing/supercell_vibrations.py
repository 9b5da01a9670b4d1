"""Stiffness of one relaxed special quasi-random supercell, to check the mean field's against.

    python supercell_vibrations.py supercell_NaCl-KCl.json

Na0.5K0.5Cl, 64 atoms. Force constants are central differences over 0.2 Å, as in the campaign; the
mean logarithm of their eigenvalues, l, gives F_vib = 3 kT <ln l>/2 + ... per site.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ase.io
import numpy as np

from alchemlip import Mixture, load_potential, relax
from alchemlip.disorder.explicit import sqs_supercell
from alchemlip.disorder.local_relaxation import stable_modes
from alchemlip.disorder.quasiharmonic import DISPLACEMENT
from alchemlip.disorder.study import EXPLICIT_RELAXATION
from alchemlip.freeenergy.harmonic import mixture_force_constants

STRUCTURE = Path(__file__).parents[1] / "structures" / "NaCl.cif"
START_A = 6.04
"""Lattice parameter of the mean-field crystal."""


def main() -> None:
    """Relax the supercell and write what it came to."""
    atoms = ase.io.read(STRUCTURE)
    atoms.set_cell(START_A * np.eye(3), scale_atoms=True)
    mixture = Mixture.from_elements(atoms, {"Na": {"Na": 0.5, "K": 0.5}})
    potential = load_potential("sevennet-0", dtype="float32")
    relaxed = relax(sqs_supercell(mixture, (2, 2, 2), seed=0), potential, EXPLICIT_RELAXATION)
    cell = relaxed.mixture
    matrix = mixture_force_constants(cell, potential, None, DISPLACEMENT)
    stiffness, _ = stable_modes(matrix, cell.n_sites)
    result = {
        "x": 0.5,
        "n_sites": cell.n_sites,
        "volume_A3_per_atom": abs(float(np.linalg.det(cell.cell))) / cell.n_sites,
        "energy_eV_per_atom": relaxed.evaluation.energy / cell.n_sites,
        "displacement_A": DISPLACEMENT,
        "log_stiffness": float(np.log(stiffness).mean()),
        "softest_mode_eV_per_A2": float(stiffness[0]),
    }
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + "\n")
    print(result)


if __name__ == "__main__":
    main()
