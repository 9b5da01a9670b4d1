"""``alchemlip relax``: cell and positions at fixed composition."""

from __future__ import annotations

from typing import Any

from alchemlip.cli import options as opt


def command(
    structure: opt.Structure,
    mix: opt.Mix = [],
    group: opt.Groups = [],
    concerted: opt.Concerted = [],
    normalise: opt.Normalise = False,
    cell: opt.Cell = "full",
    fmax: opt.Fmax = 1e-3,
    smax: opt.Smax = 1e-3,
    pressure: opt.Pressure = 0.0,
    keep_symmetry: opt.KeepSymmetry = False,
    optimiser: opt.Optimiser = "BFGS",
    max_steps: opt.MaxSteps = 500,
    model: opt.Model = "sevennet-0",
    modal: opt.Modal = None,
    trust_file: opt.Trust = False,
    device: opt.Device = "auto",
    dtype: opt.Dtype = "float64",
    out: opt.Out = None,
    settings: opt.Settings = None,
) -> None:
    """Relax cell and positions at fixed composition.

    Writes result.json, relaxed.cif (partial occupancies) and relaxed.json (exact).

    Example: alchemlip relax CeO2.cif --mix Ce=Ce0.7Zr0.3 --keep-symmetry
    """
    import json

    from rich.console import Console

    from alchemlip.cli.show import show_record
    from alchemlip.relaxation import relax, space_group
    from alchemlip.report import describe_relaxation
    from alchemlip.results import ResultFolder, fingerprint, write_atomically
    from alchemlip.structures import can_be_cif, write_structure

    mixture, scanned = opt.prepare_mixture(structure, mix, group, concerted, normalise)
    opt.refuse_scanned(scanned)
    chosen = opt.relaxation_settings(
        cell=cell,
        fmax=fmax,
        smax=smax,
        pressure=pressure,
        keep_symmetry=keep_symmetry,
        optimiser=optimiser,
        max_steps=max_steps,
    )
    potential = opt.prepare_potential(model, device, dtype, modal, trust_file)
    opt.refuse_unusable(mixture, potential, chosen)
    inputs: dict[str, Any] = {
        "structure_file": str(structure),
        "structure": fingerprint(mixture.to_dict()),
        "mixture": mixture.to_dict(),
        "relaxation": chosen.model_dump(),
        **opt.potential_inputs(potential),
    }
    folder = ResultFolder(opt.results_folder(out, "relax", structure), "relax", inputs)
    console = Console()
    with folder.noting_failure(), console.status("relaxing") as status:

        def on_step(step: int, energy: float, force: float, stress: float) -> None:
            status.update(
                f"step {step}: {energy:.6f} eV, largest force {force:.1e} eV/Å, "
                f"stress deviation {stress:.1e} GPa"
            )

        result = relax(mixture, potential, chosen, on_step=on_step)
        record = describe_relaxation(result)
        record["space_group"] = space_group(result.mixture)
        relaxed = json.dumps(result.mixture.to_dict(), indent=1).encode()
        write_atomically(folder.path / "relaxed.json", relaxed)
        if can_be_cif(result.mixture):
            write_structure(result.mixture, folder.path / "relaxed.cif")
        folder.finish(record)
    show_record(record, f"{structure.name}, relaxed with {potential.name}", folder.path)
    if not result.converged:
        console.print(
            f"[yellow]Not converged after {result.steps} steps: raise --max-steps, or relax "
            "--fmax and --smax.[/yellow]"
        )
