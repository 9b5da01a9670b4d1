"""How smooth the potential's force constants of KCl are, with volume and displacement.

    python curvature.py curvature_KCl.json

For K and Cl, the force that pulls an atom back along x over its displacement, eV/Å²: the exact
curvature at its site, and central differences over displacements of thermal size.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import ase.io
import numpy as np

from alchemlip import Mixture, load_potential
from alchemlip.disorder.equation_of_state import with_volume
from alchemlip.crystal.second_derivatives import SecondDerivatives

STRUCTURE = Path(__file__).parents[1] / "structures" / "NaCl.cif"
VOLUME_A3 = 258.7
"""Of the conventional cell, relaxed."""


def main() -> None:
    """Write one row for every volume."""
    potential = load_potential("sevennet-0", dtype="float32")
    cell = Mixture.from_elements(ase.io.read(STRUCTURE), {"Na": {"K": 1.0}})
    symbols = [next(iter(site)) for site in cell.occupancies()]
    rows = []
    for expansion in (-0.02, 0.02, 0.06):
        large = with_volume(cell, VOLUME_A3 * (1.0 + expansion)).repeat((2, 2, 2))
        derivatives = SecondDerivatives(large, potential, ("positions",))
        indices = np.array([3 * symbols.index("K"), 3 * symbols.index("Cl")])
        row: dict[str, object] = {"expansion": expansion}
        for displacement in (None, 0.15, 0.3):
            method = "double_backward" if displacement is None else "differences"
            found, _, _ = derivatives.rows(indices, method, displacement)
            name = "exact" if displacement is None else f"over_{displacement}_A"
            row[name] = [float(found[place, index]) for place, index in enumerate(indices)]
        rows.append(row)
        print(row, flush=True)
    Path(sys.argv[1]).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
