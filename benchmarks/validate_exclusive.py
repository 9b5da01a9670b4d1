"""Exclusive sites against explicit crystals: split magnesium, and the protons of ice Ih.

    python benchmarks/validate_exclusive.py     # results/exclusive.json, the page

Magnesium sits at one of two places; the explicit crystals have it at one or the other. In ice a
hydrogen bond holds one proton, at one of two places: `random_supercell` obeys that rule; crystals
that also obey the other ice rule, two protons for each oxygen, are made here.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk

from alchemlip import AlchemicalPotential, Mixture, load_potential, read_structure
from alchemlip.disorder.explicit import mean_and_error, random_supercell
from alchemlip.mixture.split_sites import exclusive_pairs
from environment import as_markdown, describe
from pages import fill, table

HERE = Path(__file__).parent
PAGE = HERE / "exclusive.md"
ICE = HERE.parent / "examples" / "structures" / "ice_Ih.cif"
MODELS = ("sevennet-0", "chgnet-0.3.0")
REPEATS = (2, 2, 1)
CELLS = 10


def energy(potential: AlchemicalPotential, mixture: Mixture) -> float:
    return potential.evaluate(
        mixture, forces=False, stress=False, composition_gradient=False
    ).energy


def magnesium(potential: AlchemicalPotential, distance: float = 0.6) -> dict[str, float]:
    """MgO, 8 atoms, one Mg at two half sites: energies in eV above that of one place alone."""
    atoms = bulk("MgO", "rocksalt", 4.21, cubic=True)
    one = atoms.copy()
    one.positions[0] += [distance / 2, 0, 0]
    split = one + Atoms("Mg", positions=[atoms.positions[0] - [distance / 2, 0, 0]])
    spec = {(0, len(atoms)): {"Mg": 0.5, "Va": 0.5}}
    independent = Mixture.from_elements(split, spec)
    concerted = Mixture.from_elements(split, spec, correlation="concerted")
    exclusive = independent.with_exclusive(exclusive_pairs(independent))
    alone = energy(potential, Mixture.from_atoms(one))
    return {
        "distance_A": distance,
        "explicit_eV": alone,
        "exclusive_eV": energy(potential, exclusive) - alone,
        "independent_eV": energy(potential, independent) - alone,
        "concerted_eV": energy(potential, concerted) - alone,
    }


def ice_by_the_rules(mixture: Mixture, rng: np.random.Generator) -> Mixture:
    """One proton for each bond, two for each oxygen: defects walk until they meet.

    Args:
        mixture: a supercell whose exclusive pairs are the bonds.
        rng: draws the first arrangement and the walk.
    """
    oxygens = np.flatnonzero([set(site) == {"O"} for site in mixture.occupancies()])
    between = mixture.to_atoms().get_all_distances(mic=True)
    bonds = mixture.exclusive.rows[:, :2]
    of_bond = between[bonds][:, :, oxygens].argmin(axis=2)
    side = rng.integers(0, 2, len(bonds))
    row = np.arange(len(bonds))
    protons = np.bincount(of_bond[row, side], minlength=len(oxygens))
    while (protons != 2).any():
        bond = int(rng.integers(len(bonds)))
        here, there = of_bond[bond, side[bond]], of_bond[bond, 1 - side[bond]]
        # (n - 2)^2 of both after the proton has moved, less that before.
        if 2 * (protons[there] - protons[here] + 1) <= 0 or rng.random() < 0.05:
            side[bond] = 1 - side[bond]
            protons[here] -= 1
            protons[there] += 1
    kept = np.concatenate([oxygens, bonds[row, side]])
    numbers = np.array([8] * len(oxygens) + [1] * len(bonds))
    return Mixture(numbers, mixture.positions[kept], mixture.cell, mixture.pbc)


def ice(potential: AlchemicalPotential) -> dict[str, float]:
    """Energies in eV per molecule, and standard errors of the means over explicit crystals."""
    independent = read_structure(ICE).with_exclusive(())
    exclusive = independent.with_exclusive(exclusive_pairs(independent, within_A=1.0))
    molecules = 4
    large = exclusive.repeat(REPEATS)
    many = molecules * int(np.prod(REPEATS))
    rng = np.random.default_rng(0)
    obeying = [
        energy(potential, random_supercell(exclusive, REPEATS, rng)) / many for _ in range(CELLS)
    ]
    by_rules = [energy(potential, ice_by_the_rules(large, rng)) / many for _ in range(CELLS)]
    means = {"one_per_bond": mean_and_error(obeying), "ice_rules": mean_and_error(by_rules)}
    return {
        "independent_eV": energy(potential, independent) / molecules,
        "exclusive_eV": energy(potential, exclusive) / molecules,
        **{f"{name}_eV": value for name, (value, _) in means.items()},
        **{f"{name}_error_eV": error for name, (_, error) in means.items()},
        "n_pairs": len(exclusive.exclusive),
    }


def main() -> None:
    found = {}
    for model in MODELS:
        potential = load_potential(model, device="cpu")
        found[model] = {"magnesium": magnesium(potential), "ice": ice(potential)}
        print(model, json.dumps(found[model], indent=1))
    (HERE / "results" / "exclusive.json").write_text(json.dumps(found, indent=1) + "\n")
    split = [
        [
            model,
            *(f"{values['magnesium'][f'{name}_eV']:+.3f}" for name in ("exclusive", "independent")),
            f"{values['magnesium']['concerted_eV']:+.1f}",
        ]
        for model, values in found.items()
    ]
    rows = [
        [
            model,
            *(f"{values['ice'][f'{name}_eV']:.3f}" for name in ("independent", "exclusive")),
            *(
                f"{values['ice'][f'{name}_eV']:.3f} ± {values['ice'][f'{name}_error_eV']:.3f}"
                for name in ("ice_rules", "one_per_bond")
            ),
        ]
        for model, values in found.items()
    ]
    fill(
        PAGE,
        {
            "magnesium": table(("potential", "exclusive", "independent", "concerted"), split),
            "ice": table(
                (
                    "potential",
                    "independent",
                    "exclusive",
                    "explicit, ice rules",
                    "explicit, one proton a bond",
                ),
                rows,
            ),
            "environment": as_markdown(describe()),
        },
    )


if __name__ == "__main__":
    main()
