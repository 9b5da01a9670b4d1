"""Mean insertion voltage against composition, from a scan of an ion and its vacancy."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from alchemlip.calculations.scan import Scan
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.calculations.mixtures import Scanned
    from alchemlip.crystal.scanning import Conclude, ScanPoint
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.ensemble import Potential


class Voltage(Scan):
    """Mean voltage of an insertion electrode between compositions, against the ion's metal.

    The ion and its vacancy share a group: --mix Li=Li,Va. Its metal is relaxed with the same
    potential. Mean field at rest: the order of the ions, which makes steps, and entropy are left
    out. Writes result.json, scan.csv and scan.png.

    Example: alchemlip voltage LiCoO2.cif --mix Li=Li,Va --points 5
    """

    command: ClassVar[str] = "voltage"

    charge: Annotated[int, Field(ge=1, le=4, description="Charge of the ion.")] = 1

    def further_inputs(self) -> dict[str, Any]:
        """Return what determines the result beside the scan."""
        return {"charge": self.charge}

    def conclusion(self, mixture: Mixture, scanned: Scanned, potential: Potential) -> Conclude:
        """Return the function that turns the points into voltages."""
        from alchemlip.crystal.voltage import mean_voltages, metal_energy

        place = scanned.species.index("Va")
        ion = scanned.species[1 - place]
        n_sites = len(mixture.group(scanned.group).sites)

        def conclude(points: Sequence[ScanPoint]) -> dict[str, Any]:
            metal = metal_energy(ion, potential, self.relaxation())
            x = [1.0 - float(point.x[place]) for point in points]
            energies = [point.record["energy_eV"] for point in points]
            whole = [x[0], x[-1]], [energies[0], energies[-1]]
            steps = mean_voltages(x, energies, n_sites, metal, self.charge)
            return {
                "ion": ion,
                "mean_voltage_V": float(mean_voltages(*whole, n_sites, metal, self.charge)[0]),
                "voltages_V": steps.tolist(),
                "between_x": [list(pair) for pair in pairwise(x)],
                "metal_energy_eV_per_atom": metal,
            }

        return conclude

    def scanned(self) -> tuple[Mixture, Scanned]:
        """Return the mixture, and the group of the ion and its vacancy."""
        mixture, scanned = super().scanned()
        if len(scanned.species) != 2 or "Va" not in scanned.species or self.pressure:
            raise InputError(
                "a voltage is that of one ion and its vacancy, without pressure: write for example "
                "--mix Li=Li,Va"
            )
        return mixture, scanned
