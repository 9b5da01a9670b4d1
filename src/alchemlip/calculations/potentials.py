"""Potentials from the texts of settings, and what is noted of them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.ensemble import Potential
    from alchemlip.potential.potential import AlchemicalPotential


def prepare_potential(
    models: Sequence[str],
    device: str,
    dtype: str,
    modal: str | None,
    head: str | None,
    trust: bool,
    representation: str,
) -> Potential:
    """Load one potential, or an ensemble, for the command line."""
    from alchemlip.backends.loading import load_potentials

    if len(models) > 1 and (modal or head):
        raise InputError(
            "with several potentials it is not clear whose fidelity or head is meant: write it "
            "behind the name, --model sevennet-mf-0@PBE"
        )
    with warnings.catch_warnings():
        # Upstream packages warn about their own internals, which a user cannot act on.
        warnings.filterwarnings("ignore", module=r"(chgnet|e3nn|mace|torch|sevenn|torch_geometric)")
        return load_potentials(
            models,
            device=device,
            dtype=dtype,
            modal=modal,
            head=head,
            trust=trust,
            representation=representation,
        )


def prepare_single_potential(
    model: str,
    device: str,
    dtype: str,
    modal: str | None,
    head: str | None,
    trust: bool,
    representation: str = "nodes",
) -> AlchemicalPotential:
    """Load a potential for a command that takes one."""
    from alchemlip.potential.ensemble import members_of

    return members_of(
        prepare_potential([model], device, dtype, modal, head, trust, representation)
    )[0]


def refuse_unusable(mixture: Mixture, potential: Potential, settings: Any = None) -> None:
    """Refuse, before a folder is made, what the potential cannot evaluate or relax."""
    from alchemlip.potential.ensemble import members_of

    for member in members_of(potential):
        member.graph([mixture])
    if settings is not None:
        from alchemlip.crystal.relaxation import check_settings

        check_settings(mixture, settings)


def source(structure: Path, potential: Potential, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return what is noted of where a structure and a potential came from.

    Args:
        structure: the file. potential: loaded.
        notes: what is to be checked in the file.
    """
    import hashlib

    card = potential.card
    return {
        "structure_file": str(structure),
        "structure_sha256": hashlib.sha256(structure.read_bytes()).hexdigest(),
        "potential_weights": card.weights,
        "potential_licence": card.licence,
        "potential_reference": card.reference,
        **({"structure_warnings": list(notes)} if notes else {}),
    }
