"""What results are called on an axis, which error belongs to them, which of them a plot shows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

FREE_ENERGY = ("free_energy_eV_per_atom", "free_energy_eV")
LATTICE = ("a_A", "b_A", "c_A")

MAIN: Mapping[str, tuple[str, ...]] = {
    "energy": ("energy_eV_per_atom", "pressure_GPa"),
    "relax": (*LATTICE, "energy_eV_per_atom", "enthalpy_eV_per_atom"),
    "scan": (
        "smallest_mixing_energy_eV_per_atom",
        "largest_mixing_energy_eV_per_atom",
        "smallest_mixing_enthalpy_eV_per_atom",
        "largest_mixing_enthalpy_eV_per_atom",
    ),
    "disorder": (
        "mixing_energy_eV_per_atom",
        "relaxed_mixing_energy_eV_per_atom",
        "mixing_enthalpy_eV_per_atom",
        "relaxed_mixing_enthalpy_eV_per_atom",
        "critical_temperature_K",
    ),
    "order": ("critical_temperature_K", "separation_temperature_K", *LATTICE),
    "switch": FREE_ENERGY,
    "transmute": FREE_ENERGY,
    "frenkel-ladd": (*FREE_ENERGY, "volume_A3_per_atom"),
    "vacancy": (*FREE_ENERGY, "log10_concentration"),
}
"""Results that are drawn, by command; those of a design are named after what it was asked for."""

POINTS = (
    *LATTICE,
    "mixing_energy_eV_per_atom",
    "relaxed_mixing_energy_eV_per_atom",
    "mixing_enthalpy_eV_per_atom",
    "relaxed_mixing_enthalpy_eV_per_atom",
)
"""Properties of single points that are drawn."""

UNITS = {
    "eV_per_atom": "eV/atom",
    "eV_per_A2": "eV/Å²",
    "eV_per_A": "eV/Å",
    "A3_per_atom": "Å³/atom",
    "eV": "eV",
    "meV": "meV",
    "A3": "Å³",
    "A2": "Å²",
    "A": "Å",
    "GPa": "GPa",
    "K": "K",
    "deg": "°",
    "muB": "µ_B",
    "seconds": "s",
}
OPTION_UNITS = {
    "temperature": "K",
    "pressure": "GPa",
    "timestep": "fs",
    "thermostat": "fs",
    "barostat": "fs",
    "equilibrate": "ps",
    "switch": "ps",
    "sample": "ps",
    "cell_time": "ps",
    "spring_time": "ps",
    "mu": "eV",
    "fmax": "eV/Å",
    "smax": "GPa",
    "tolerance": "meV/atom",
    "spring": "eV/Å²",
    "repeat": "cells",
    "supercell": "cells",
}


def drawn(command: str, columns: Collection[str]) -> list[str]:
    """Return the results that are drawn where nothing else is asked for.

    Args:
        command: the calculation.
        columns: numeric results at hand.

    Returns:
        Those of `MAIN`; of another command a free energy, an energy, or else the first number.
    """
    if command == "design":
        chosen = [name for name in columns if name.startswith(("composition.", "property."))]
    else:
        chosen = [name for name in MAIN.get(command, ()) if name in columns]
    if chosen:
        return chosen
    usual = (*FREE_ENERGY, "energy_eV_per_atom", "energy_eV")
    return [name for name in (*usual, *columns) if name in columns and not is_error(name)][:1]


def is_error(name: str) -> bool:
    """Whether a column says how sure another one is."""
    return "standard_error" in name or name.endswith("_spread") or name.startswith("interval_")


def error_of(name: str, columns: Collection[str]) -> str | None:
    """Return the column with the error of another one, if there is any.

    ``free_energy_eV`` has ``standard_error_eV``, ``enthalpy_eV_per_atom`` has
    ``enthalpy_standard_error_eV_per_atom``, and a mean over potentials ``..._spread``.
    """
    quantity, unit = split_unit(name)
    ending = f"_{unit}" if unit else ""
    candidates = [f"{name}_standard_error", f"{quantity}_standard_error{ending}"]
    if quantity == "free_energy":
        candidates.append(f"standard_error{ending}")
    for word in ("_energy", "_enthalpy"):
        if quantity.endswith(word):
            candidates.append(f"{quantity.removesuffix(word)}_standard_error{ending}")
    return next((item for item in (*candidates, f"{name}_spread") if item in columns), None)


def split_unit(name: str) -> tuple[str, str]:
    """Return a result's name without its unit, and the unit as written there; "" for none."""
    for unit in UNITS:
        if name.endswith(f"_{unit}"):
            return name.removesuffix(f"_{unit}"), unit
    return name, ""


def label(name: str) -> str:
    """Return words and unit for an axis: of a result, a varied option or a composition."""
    group, colon, component = name.removeprefix("composition.").partition(":")
    if colon:
        return f"x({component})" if component != group else f"x({group})"
    if name in OPTION_UNITS:
        return f"{name.replace('_', ' ')} ({OPTION_UNITS[name]})"
    quantity, unit = split_unit(name.removeprefix("property."))
    words = quantity.replace("_", " ").replace(".", " ")
    return f"{words} ({UNITS[unit]})" if unit else words


def scaled(name: str, largest: float) -> tuple[float, str]:
    """Return a factor for an axis and its label: small energies are shown in meV.

    Args:
        name: of the column.
        largest: of its absolute values.
    """
    text = label(name)
    if "(eV" in text and 0.0 < largest < 0.1:
        return 1e3, text.replace("(eV", "(meV")
    return 1.0, text


def level_of_theory(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return at which levels of theory a temperature or mixing quantity stands; "" for others."""
    if not ("critical_temperature" in name or "separation_temperature" in name or "mixing" in name):
        return ""
    key = f"{'vibrations_' if name.startswith('harmonic') else ''}level_of_theory"
    return "; or ".join(dict.fromkeys(str(row[key]) for row in rows if row.get(key)))


def numeric_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns that hold numbers, in order of appearance."""
    found: dict[str, bool] = {}
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str | bool):
                found[name] = False
            elif value is not None:
                found.setdefault(name, True)
    return [name for name, good in found.items() if good]
