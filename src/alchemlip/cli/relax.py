"""``alchemlip relax``: cell and positions at fixed composition."""

from __future__ import annotations

from contextlib import closing
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
    cell: opt.Cell = "full",
    fmax: opt.Fmax = 1e-3,
    smax: opt.Smax = 1e-3,
    pressure: opt.Pressure = 0.0,
    keep_symmetry: opt.KeepSymmetry = False,
    optimiser: opt.Optimiser = "BFGS",
    max_steps: opt.MaxSteps = 500,
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
    """Relax cell and positions at fixed composition.

    Writes result.json, relaxed.cif (partial occupancies) and relaxed.json (exact).

    Example: alchemlip relax CeO2.cif --mix Ce=Ce0.7Zr0.3 --keep-symmetry
    """
    from rich.console import Console

    from alchemlip.cli.show import show_record, show_warnings, warn_unconverged
    from alchemlip.plausibility import distance_warnings
    from alchemlip.relaxation import relax, relaxation_settings, space_group
    from alchemlip.report import describe_potential, describe_relaxation
    from alchemlip.results import ResultFolder
    from alchemlip.step_log import STEPS, StepLog
    from alchemlip.structure_files import write_exact_and_cif

    mixture, scanned = opt.prepare_mixture(
        structure, mix, group, concerted, normalise, exclusive, block, accept_composition
    )
    opt.refuse_scanned(scanned)
    chosen = relaxation_settings(
        cell=cell,
        fmax=fmax,
        smax=smax,
        pressure=pressure,
        keep_symmetry=keep_symmetry,
        optimiser=optimiser,
        max_steps=max_steps,
    )
    potential = opt.prepare_potential(model, device, dtype, modal, head, trust_file, representation)
    opt.refuse_unusable(mixture, potential, chosen)
    inputs: dict[str, Any] = {
        "mixture": mixture.to_dict(),
        "relaxation": chosen.model_dump(),
        **describe_potential(potential),
    }
    folder = ResultFolder(
        opt.results_folder(out, "relax", structure),
        "relax",
        inputs,
        opt.source(structure, potential),
    )
    title = f"{structure.name}, relaxed with {potential.name}"
    if not folder.finished:
        console = Console()
        with (
            folder.noting_failure(),
            console.status("relaxing") as status,
            closing(StepLog(folder.path / STEPS)) as log,
        ):

            def on_step(step: int, energy: float, force: float, stress: float) -> None:
                status.update(
                    f"step {step}: {energy:.6f} eV, largest force {force:.1e} eV/Å, "
                    f"stress deviation {stress:.1e} GPa"
                )
                log.add(
                    {
                        "step": step,
                        "energy_eV": energy,
                        "max_force_eV_per_A": force,
                        "max_stress_deviation_GPa": stress,
                    }
                )

            result = relax(mixture, potential, chosen, on_step=on_step)
            record = describe_relaxation(result)
            record["space_group"] = space_group(result.mixture)
            write_exact_and_cif(result.mixture, folder.path, "relaxed")
            folder.finish(record, warnings=distance_warnings(result.mixture))
    show_record(folder.record["results"], title, folder.path)
    show_warnings(folder.record)
    if not folder.record["results"]["converged"]:
        warn_unconverged("the relaxation")
