"""The chemical potential of an atom that leaves a crystal: stated, or that of a reference crystal.

mu = ChemicalPotential(-8.21, source="bcc Fe")
mu = chemical_potential_of_element("frenkel-ladd-Fe", "Fe", 100.0, potential="sevennet-0")
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from alchemlip.errors import InputError
from alchemlip.files import parse_json, read_bytes
from alchemlip.mixture.mixture import Mixture
from alchemlip.records.results import RESULT

SAME_TEMPERATURE_K = 1e-6
SAME_PRESSURE_GPA = 1e-9


@dataclass(frozen=True)
class ChemicalPotential:
    """What an atom costs in its reservoir.

    Attributes:
        value_eV: free energy per atom, on the energy scale of the potential.
        standard_error_eV: of it.
        half_width_95_eV: half of its 95 % interval; 1.96 standard errors by default.
        source: where it comes from.
    """

    value_eV: float
    standard_error_eV: float = 0.0
    half_width_95_eV: float | None = None
    source: str = "stated"

    def __post_init__(self) -> None:
        if not np.isfinite(self.value_eV):
            raise InputError(f"the chemical potential is {self.value_eV}: give a number in eV")

    def widen(self, results: Mapping[str, Any]) -> dict[str, Any]:
        """Return the results of a defect, whose value holds mu, with errors that hold mu's.

        Both are independent, so standard errors, and half the widths of the 95 % intervals, add in
        quadrature.

        Args:
            results: with ``free_energy_eV``, ``standard_error_eV`` and ``interval_95_eV``.
        """
        own = self.half_width_95_eV
        own = 1.96 * self.standard_error_eV if own is None else own
        value = results["free_energy_eV"]
        low, high = results["interval_95_eV"]
        return {
            **results,
            "standard_error_eV": float(
                np.hypot(results["standard_error_eV"], self.standard_error_eV)
            ),
            "interval_95_eV": [
                value - float(np.hypot(value - low, own)),
                value + float(np.hypot(high - value, own)),
            ],
            "chemical_potential_standard_error_eV": self.standard_error_eV,
        }


def frenkel_ladd_results(folder: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return inputs and results of a finished Frenkel-Ladd run.

    Raises:
        InputError: if there is none, it is not finished, or has no error of its own.
    """
    shown = _shown(folder)
    record = _read(Path(folder), shown)
    if record.get("command") != "frenkel-ladd":
        raise InputError(
            f"{shown} holds the results of {record.get('command')!r}: give the folder of an "
            "'alchemlip frenkel-ladd' run"
        )
    if record.get("status") != "finished":
        raise InputError(f"{shown} is not finished: continue it first (--resume)")
    results: dict[str, Any] = record["results"]
    numbers = [results["standard_error_eV_per_atom"], *results["interval_95_eV_per_atom"]]
    if any(number is None or not np.isfinite(number) for number in numbers):
        raise InputError(f"{shown} has one repeat and so no error: run it with two or more")
    return record["inputs"], results


def chemical_potential_of_element(
    folder: str | Path,
    symbol: str,
    temperature_K: float,
    pressure_GPa: float = 0.0,
    potential: Mapping[str, Any] | None = None,
) -> ChemicalPotential:
    """Return mu = G(N)/N of an element from a Frenkel-Ladd run of its crystal.

    Args:
        folder: of the run.
        symbol: the element whose atom leaves.
        temperature_K: that the run must have.
        pressure_GPa: likewise.
        potential: what tells the potential (`alchemlip.crystal.report.describe_potential`); checked
            against the run's inputs if given.

    Raises:
        InputError: if the run is not finished, or of another calculation, element, temperature,
            pressure or potential, or has its centre of mass in another convention.
    """
    shown = _shown(folder)
    inputs, results = frenkel_ladd_results(folder)
    elements = _elements(inputs)
    if elements != {symbol}:
        raise InputError(
            f"{shown} is a crystal of {', '.join(sorted(elements))}, but {symbol} leaves: give the "
            f"run of a crystal of {symbol} alone, or state the chemical potential (--mu)"
        )
    for name, value, wanted, tolerance, unit in (
        ("temperature", results["temperature_K"], temperature_K, SAME_TEMPERATURE_K, "K"),
        ("pressure", results["pressure_GPa"], pressure_GPa, SAME_PRESSURE_GPA, "GPa"),
    ):
        if abs(value - wanted) > tolerance:
            raise InputError(
                f"{shown} has a {name} of {value:g} {unit}, the vacancy {wanted:g} {unit}: run "
                "the reference under the same conditions"
            )
    for name, mine in (potential or {}).items():
        if name != "dtype" and inputs.get(name, mine) != mine:
            raise InputError(
                f"{shown} was made with another {name.replace('_', ' ')} ({inputs[name]}): "
                f"energies of potentials cannot be mixed; use {mine}"
            )
    convention = str(results.get("centre_of_mass_convention", "V/N_cells"))
    if not convention.startswith("V/N_cells"):
        raise InputError(
            f"{shown} lets the centre of mass visit {convention}: a chemical potential needs "
            "V/N_cells; run it with the convention of the primitive cell"
        )
    if "quantum_correction" in results["terms"]:
        raise InputError(
            f"{shown} has a quantum correction, but the work of the vacancy is classical: run the "
            "reference without it"
        )
    low, high = results["interval_95_eV_per_atom"]
    return ChemicalPotential(
        float(results["free_energy_eV_per_atom"]),
        float(results["standard_error_eV_per_atom"]),
        0.5 * float(high - low),
        f"G/N of {symbol} by Frenkel-Ladd, {Path(folder).name}",
    )


def in_reference_cell(mixture: Mixture, folder: str | Path) -> Mixture:
    """Return a crystal in the mean cell of a Frenkel-Ladd run of the same supercell.

    Raises:
        InputError: if the run has another number of atoms, or another cell by more than 10 %.
    """
    _, results = frenkel_ladd_results(folder)
    cell = np.array(results["cell_A"], dtype=float)
    same = results["n_atoms"] == mixture.n_sites
    strain = np.linalg.solve(mixture.cell, cell) - np.eye(3) if same else np.ones(1)
    if np.abs(strain).max() > 0.1:
        raise InputError(
            f"{_shown(folder)} has {results['n_atoms']} atoms in another cell than these "
            f"{mixture.n_sites} sites: run it with the same structure and --repeat, or take the "
            "cell of the file"
        )
    atoms = mixture.to_atoms()
    atoms.set_cell(cell, scale_atoms=True)
    return mixture.with_geometry(atoms)


def _shown(folder: str | Path) -> str:
    return f"the reference {str(folder)!r}"


def _read(folder: Path, shown: str) -> dict[str, Any]:
    file = folder / RESULT if folder.is_dir() else folder
    try:
        record = parse_json(read_bytes(file))
    except OSError as error:
        raise InputError(f"{shown} cannot be read ({error.strerror}): check the path") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{shown} is damaged: run it again") from error
    if not isinstance(record, dict):
        raise InputError(f"{shown} is no result of alchemlip: give the folder of a run")
    return record


def _elements(inputs: Mapping[str, Any]) -> set[str]:
    """Return the species on the sites of a run's structure, by its inputs."""
    mixture = inputs["mixture"]
    present = set()
    grouped = set()
    for group in mixture["groups"]:
        for site, row in zip(group["sites"], group["species"], strict=True):
            grouped.add(site)
            present |= {s for s, p in zip(row, group["composition"], strict=True) if p > 0}
    return present | {s for i, s in enumerate(mixture["symbols"]) if i not in grouped}
