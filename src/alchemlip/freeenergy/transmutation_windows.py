"""Transmutation by equilibrium windows instead of switching."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alchemlip.freeenergy.dynamics import DynamicsSettings
from alchemlip.freeenergy.trajectory import Progress
from alchemlip.freeenergy.transmutation import (
    TransmutationPath,
    analytic_terms,
    switched_calculator,
)
from alchemlip.freeenergy.window_summary import windows_summary
from alchemlip.freeenergy.windows import WindowSettings, sample_windows
from alchemlip.records.runs import RunRecord

if TYPE_CHECKING:
    from alchemlip.potential.potential import AlchemicalPotential


def transmute_windows(
    path: TransmutationPath,
    potential: AlchemicalPotential,
    dynamics: DynamicsSettings,
    settings: WindowSettings,
    record: RunRecord,
    *,
    mixing_entropy: bool = False,
    on_progress: Progress | None = None,
) -> dict[str, Any]:
    """Return the free energy of a transmutation from equilibrium windows, as a flat record.

    Args:
        path: what changes into what.
        potential: in the ``nodes`` or the ``embedding`` representation.
        dynamics: temperature, pressure, time step.
        settings: couplings, lengths, exchange.
        record: where everything is written; what is there already is not run again.
        mixing_entropy: add the ideal mixing entropy of partial compositions.
        on_progress: called with steps done and steps in all.

    Raises:
        UnstableError: if the dynamics blow up.
        InputError: if a window has too few independent samples.
    """
    calculator = switched_calculator(path, potential)
    terms = analytic_terms(path, dynamics.temperature_K, mixing_entropy=mixing_entropy)
    sample_windows(path.atoms(), calculator, dynamics, settings, record, on_progress=on_progress)
    n_sites = path.mixture.n_sites
    return {
        **windows_summary(record, settings, dynamics.temperature_K, terms, n_atoms=n_sites),
        **dynamics.describe_ensemble(),
        "n_atoms": n_sites,
    }
