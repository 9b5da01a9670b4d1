"""What a study of a random alloy concludes: critical point, gaps, free energies of mixing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from alchemlip.arrays import FloatArray
from alchemlip.crystal.enthalpy import found_name, named
from alchemlip.crystal.level import level_of_disorder, mixing_level
from alchemlip.disorder.mixing import BinaryMixing, consolute_point, fit_mixing
from alchemlip.disorder.quasiharmonic import QuasiHarmonicCrystal, fit_vibrational_mixing
from alchemlip.errors import InputError


def concluded(
    compositions: FloatArray,
    records: Sequence[Mapping[str, Any]],
    temperatures: Sequence[float],
    fraction: float,
) -> tuple[dict[str, Any], BinaryMixing | None]:
    """Return the flat results of a study, and the smooth mixing energy where there is one.

    Args:
        compositions: (P, K) of the points.
        records: (P,) of the points, mixing energies among them.
        temperatures: in K, of free energies of mixing.
        fraction: of the sites that are mixed.
    """
    mixed = [record for x, record in zip(compositions, records, strict=True) if x.max() < 1.0]
    mixing = found_name("mixing_energy_eV_per_atom", records[0])
    free = named("free_energy_of_mixing_eV_per_atom", mixing != "mixing_energy_eV_per_atom")
    energies = [record[mixing] for record in records]
    results: dict[str, Any] = {
        "n_points": len(records),
        "n_converged": sum(bool(record["converged"]) for record in records),
        f"largest_{mixing}": max(energies),
        f"smallest_{mixing}": min(energies),
        "seconds": sum(record["seconds"] for record in records),
    }
    if len(mixed) == 1:
        # One composition: its own values are the results.
        results |= {key: value for key, value in mixed[0].items() if key != "seconds"}
    curve = None
    if mixed and compositions.shape[1] == 2:
        x = compositions[:, 1]
        relaxed = all(f"relaxed_{mixing}" in record for record in records)
        if relaxed:
            energies = [record[f"relaxed_{mixing}"] for record in records]
        curve = fit_mixing(x, energies, fraction)
        results["free_energy_includes_local_relaxation"] = relaxed
        results |= level_of_disorder(results).to_dict()
        results["redlich_kister_eV_per_atom"] = curve.coefficients.tolist()
        results["redlich_kister_residual_eV_per_atom"] = curve.residual
        critical = curve.critical_point()
        results["critical_composition"] = critical[0] if critical else None
        results["critical_temperature_K"] = critical[1] if critical else None
        results["at_temperature"] = [
            {
                "temperature_K": temperature,
                "x": x.tolist(),
                free: (
                    np.array(energies) + curve.free_energy(x, temperature) - curve.energy(x)
                ).tolist(),
                "miscibility_gaps": [list(gap) for gap in curve.miscibility_gaps(temperature)],
                "spinodal": curve.spinodal(temperature),
            }
            for temperature in temperatures
        ]
        if all("quasi_harmonic" in record for record in records):
            results |= vibrational_results(x.tolist(), records, temperatures, fraction)
    return results, curve


def vibrational_results(
    x: Sequence[float],
    records: Sequence[Mapping[str, Any]],
    temperatures: Sequence[float],
    share: float,
) -> dict[str, Any]:
    """Return gaps with vibrations at the temperatures where there is a free energy.

    Args:
        x: (P,) weights of the second component.
        records: (P,) of the points, with quasi-harmonic crystals.
        temperatures: in K.
        share: of the sites that are mixed.
    """
    if any(record["quasi_harmonic"] is None for record in records):
        return {"vibrations_note": "a crystal is unstable: see its point"}
    crystals = [QuasiHarmonicCrystal.from_dict(record["quasi_harmonic"]) for record in records]

    def harmonic(temperature: float) -> Any:
        return fit_vibrational_mixing(x, crystals, temperature, share, expansion=False)

    try:
        critical = consolute_point(harmonic)
    except InputError as error:
        return {"vibrations_note": str(error)}
    results: dict[str, Any] = {
        "harmonic_critical_composition": critical[0] if critical else None,
        "harmonic_critical_temperature_K": critical[1] if critical else None,
        "with_vibrations": [],
        **mixing_level(relaxed=True, vibrations=True).to_dict("vibrations_"),
    }
    for temperature in temperatures:
        row: dict[str, Any] = {"temperature_K": temperature}
        try:
            curve = fit_vibrational_mixing(x, crystals, temperature, share)
        except InputError as error:
            results["with_vibrations"].append(row | {"note": str(error)})
            continue
        row["volume_A3_per_atom"] = [crystal.volume(temperature) for crystal in crystals]
        row[named("free_energy_of_mixing_eV_per_atom", crystals[0].pressure_GPa)] = (
            curve.free_energy(x, temperature).tolist()
        )
        row["miscibility_gaps"] = [list(gap) for gap in curve.miscibility_gaps(temperature)]
        row["spinodal"] = curve.spinodal(temperature)
        results["with_vibrations"].append(row)
    return results
