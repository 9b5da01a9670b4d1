"""``alchemlip energy``: energy and derivatives of one mixture."""

from __future__ import annotations

from typing import Any

from alchemlip.cli import options as opt


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    group: opt.Groups = [],
    concerted: opt.Concerted = [],
    exclusive: opt.Exclusive = [],
    normalise: opt.Normalise = False,
    block: opt.Block = None,
    accept_composition: opt.AcceptComposition = False,
    model: opt.Models = [opt.DEFAULT_MODEL],
    modal: opt.Modal = None,
    head: opt.Head = None,
    trust_file: opt.Trust = False,
    representation: opt.Representation = "nodes",
    device: opt.Device = "auto",
    dtype: opt.Dtype = "float64",
    out: opt.Out = None,
    settings: opt.Settings = None,
) -> None:
    """Energy (eV), forces (eV/Å), stress (GPa) and composition gradient (eV) as given.

    With several --model: their mean, and the standard deviation over them.

    Example: alchemlip energy CeO2.cif --mix Ce=Ce0.7Zr0.3
    """
    from alchemlip.cli.show import show_record, show_warnings
    from alchemlip.plausibility import distance_warnings, spread_warnings
    from alchemlip.potential import AlchemicalPotential
    from alchemlip.report import describe_evaluation, describe_potential
    from alchemlip.results import ResultFolder

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, concerted, normalise, exclusive, block, accept_composition
    )
    opt.refuse_scanned(scanned)
    potential = opt.prepare_potential(model, device, dtype, modal, head, trust_file, representation)
    opt.refuse_unusable(mixture, potential)
    inputs: dict[str, Any] = {
        "mixture": mixture.to_dict(),
        **describe_potential(potential),
    }
    folder = ResultFolder(
        opt.results_folder(out, "energy", structure),
        "energy",
        inputs,
        opt.source(structure, potential),
    )
    if folder.finished:
        show_record(folder.record["results"], f"{structure.name}, {potential.name}", folder.path)
        show_warnings(folder.record)
        return
    with folder.noting_failure():
        evaluation = potential.evaluate(mixture)
        record = describe_evaluation(mixture, evaluation)
        assert evaluation.forces is not None
        record["forces_eV_per_A"] = evaluation.forces.tolist()
        record["site_energies_eV"] = evaluation.site_energies.tolist()
        if isinstance(potential, AlchemicalPotential) and potential.has_magnetic_moments:
            moments = potential.magnetic_moments(mixture)
            record["magnetic_moments_muB"] = moments.tolist()
            record["largest_magnetic_moment_muB"] = float(moments.max())
        told = [*distance_warnings(mixture), *spread_warnings([record])]
        folder.finish(record, warnings=told)
    show_record(record, f"{structure.name}, {potential.name}", folder.path)
    show_warnings(folder.record)
