"""Options that commands share, and how their texts become a mixture and a potential."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.cli.completion import complete_model
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.ensemble import Potential
    from alchemlip.mixture import Mixture
    from alchemlip.potential import AlchemicalPotential


def _load_settings(context: typer.Context, file: Path | None) -> Path | None:
    """Make the values of a YAML file the defaults of this command's options."""
    if file is None:
        return None
    import yaml

    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the settings file {str(file)!r}: check the path") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        detail = str(error).splitlines()[0]
        raise InputError(
            f"the settings file {str(file)!r} is no valid YAML ({detail}): write lines such as "
            "'points: 11'"
        ) from error
    if not isinstance(values, dict):
        raise InputError(f"the settings file {str(file)!r} must hold lines such as 'points: 11'")
    names = {parameter.name: parameter for parameter in context.command.params}
    defaults: dict[str, Any] = {}
    for key, value in values.items():
        name = str(key).replace("-", "_")
        if name not in names or name in ("settings", "help"):
            known = sorted(str(n) for n in names if n not in ("settings", "help", None))
            close = get_close_matches(name, known, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            raise InputError(
                f"the settings file {str(file)!r} has an unknown entry {key!r}{meant}: the options "
                f"of this command are {', '.join(known)}"
            )
        many = getattr(names[name], "multiple", False)
        defaults[name] = [value] if many and not isinstance(value, list) else value
    context.default_map = {**(context.default_map or {}), **defaults}
    return file


Structure = Annotated[
    Path, typer.Argument(help="CIF (partial occupancies are read), POSCAR, or any file ASE reads.")
]
Mix = Annotated[
    list[str],
    typer.Option(
        "--mix",
        help="What sits where, SELECTION=FORMULA, e.g. Ce=Ce0.7Zr0.3, 0,2-5=Cl0.9Va0.1. "
        "SELECTION: an element, a group, or site indices. Va is a vacancy. May be repeated.",
        metavar="SEL=FORMULA",
    ),
]
Groups = Annotated[
    list[str],
    typer.Option("--group", help="Name site indices, e.g. cations=0,2-5.", metavar="NAME=SITES"),
]
Concerted = Annotated[
    list[str],
    typer.Option(
        "--concerted",
        help="Group whose sites all change together (transmutation); others are a random "
        "solution. 'all' means every group. May be repeated.",
        metavar="GROUP",
    ),
]
Exclusive = Annotated[
    list[str],
    typer.Option(
        "--exclusive",
        help="Sites of which at most one is filled (split sites), e.g. 4,7; 'auto': all that can "
        "be empty and are closer than 0.7 of their covalent radii; 'none': not even those that "
        "the file names. May be repeated.",
        metavar="SITES",
    ),
]
Normalise = Annotated[
    bool,
    typer.Option(
        "--normalise",
        help="Divide the weights of a formula by their sum; occupancies of a file only where the "
        "sum is above 1, or 1 but for rounding.",
    ),
]
Block = Annotated[
    str | None,
    typer.Option(
        "--block", help="Data block of a CIF; the first with atoms by default.", metavar="NAME"
    ),
]
AcceptComposition = Annotated[
    bool,
    typer.Option(
        "--accept-composition",
        help="Read a CIF although no site holds an element of its formula.",
    ),
]
STRUCTURE_NOTES: dict[Path, list[str]] = {}
"""What the reader said of each structure file, until a results folder takes it."""
DEFAULT_MODEL = "sevennet-0"
Model = Annotated[
    str,
    typer.Option(
        "--model",
        help="Name of a potential ('alchemlip models') or a checkpoint; a fidelity or head may "
        "follow: sevennet-mf-0@PBE.",
        metavar="NAME",
        autocompletion=complete_model,
    ),
]
Models = Annotated[
    list[str],
    typer.Option(
        "--model",
        help="Name of a potential ('alchemlip models') or a checkpoint; a fidelity or head may "
        "follow: sevennet-mf-0@PBE. Repeated: an ensemble, with error bars.",
        metavar="NAME",
        autocompletion=complete_model,
    ),
]
Representation = Annotated[
    str,
    typer.Option(
        "--representation",
        help="nodes, or embedding: occupancies in place of the one-hot element vector.",
    ),
]
Modal = Annotated[
    str | None, typer.Option("--modal", help="Fidelity of a multi-fidelity SevenNet potential.")
]
Head = Annotated[str | None, typer.Option("--head", help="Head of a multi-head MACE potential.")]
Trust = Annotated[
    bool,
    typer.Option("--trust-file", help="Allow a local checkpoint: a pickle, which can run code."),
]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda, or auto.")]
Dtype = Annotated[str, typer.Option("--dtype", help="float64, or float32 for speed.")]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Results folder.", show_default="COMMAND-STRUCTURE"),
]
Settings = Annotated[
    Path | None,
    typer.Option(
        "--settings",
        help="YAML file with this command's options by name; the command line wins.",
        callback=_load_settings,
        is_eager=True,
    ),
]
Cell = Annotated[
    str, typer.Option("--cell", help="Relax shape and volume (full), volume, or nothing (fixed).")
]
Fmax = Annotated[float, typer.Option("--fmax", help="Largest force allowed, eV/A.")]
Smax = Annotated[
    float,
    typer.Option("--smax", help="Largest stress deviation allowed, GPa; less for soft crystals."),
]
Pressure = Annotated[float, typer.Option("--pressure", help="External pressure, GPa.")]
KeepSymmetry = Annotated[bool, typer.Option("--keep-symmetry", help="Keep the space group.")]
MaxSteps = Annotated[int, typer.Option("--max-steps", help="Most steps of one relaxation.")]
Optimiser = Annotated[str, typer.Option("--optimiser", help="BFGS, LBFGS or FIRE (ASE's).")]


@dataclass(frozen=True)
class Scanned:
    """A group over which a scan runs, and its species."""

    group: str
    species: list[str]


def prepare_mixture(
    structure: Path,
    mix: Sequence[str],
    groups: Sequence[str],
    concerted: Sequence[str],
    normalise: bool,
    exclusive: Sequence[str] = (),
    block: str | None = None,
    accept_composition: bool = False,
) -> tuple[Mixture, list[Scanned]]:
    """Return the mixture that the options describe, and the groups given as species lists.

    What is to be checked in the file is printed, and kept for `source`.
    """
    from alchemlip.cli.exclusive import with_exclusive_by_options
    from alchemlip.cli.show import print_warnings
    from alchemlip.structure_files import read_with_notes

    mixture, notes = read_with_notes(
        structure, normalise=normalise, block=block, accept_composition=accept_composition
    )
    STRUCTURE_NOTES[structure] = notes
    print_warnings(notes)
    mixture, scanned = mixed_by_options(mixture, mix, groups, normalise, "--mix")
    mixture = _with_correlations(mixture, concerted)
    return with_exclusive_by_options(mixture, exclusive), scanned


def mixed_by_options(
    mixture: Mixture, mix: Sequence[str], groups: Sequence[str], normalise: bool, option: str
) -> tuple[Mixture, list[Scanned]]:
    """Return a mixture with further groups, and those of them given as species lists.

    Args:
        mixture: as it is.
        mix: ``SELECTION=FORMULA``, or ``SELECTION=A,B`` for a species list.
        groups: ``NAME=SITES``.
        normalise: divide weights by their sum.
        option: what ``mix`` is called on the command line.
    """
    from alchemlip.species import parse_composition, parse_species

    named = {}
    for text in groups:
        name, sites = _split(text, "--group", "cations=0,2-5")
        if name in named:
            raise InputError(f"--group names {name!r} twice: give every group its own name")
        named[name] = parse_sites(sites)
    compositions: dict[Any, Mapping[str, float]] = {}
    scanned = []
    known = {group.name for group in mixture.groups} | set(named)
    for text in mix:
        left, right = _split(text, option, "Ce=Ce0.7Zr0.3")
        selection: Any = left
        if left not in known and left[:1].isdecimal():
            selection = tuple(parse_sites(left))
        name = left if isinstance(selection, str) else ",".join(map(str, selection))
        if selection in compositions:
            raise InputError(f"{option} names {left!r} twice: give every selection once")
        if "," in right:
            species = parse_species(right)
            scanned.append(Scanned(name, species))
            compositions[selection] = dict.fromkeys(species, 1.0 / len(species))
        else:
            compositions[selection] = parse_composition(right, normalise)
    return mixture.mixed(compositions, groups=named, normalise=normalise), scanned


def _with_correlations(mixture: Mixture, concerted: Sequence[str]) -> Mixture:
    from dataclasses import replace

    chosen = set(concerted)
    if "all" in chosen:
        chosen = {group.name for group in mixture.groups}
    for name in chosen:
        mixture.group(name)
    groups = tuple(
        replace(group, correlation="concerted") if group.name in chosen else group
        for group in mixture.groups
    )
    return replace(mixture, groups=groups)


def parse_sites(text: str) -> list[int]:
    """Read site indices such as ``0,2-5``.

    Raises:
        InputError: if the text is anything else.
    """
    sites: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise InputError(f"cannot read the site indices {text!r}: write for example 0,2-5")
        if dash and int(last) < int(first):
            raise InputError(
                f"the range {part.strip()!r} of site indices runs backwards: write the smaller "
                "index first"
            )
        sites += range(int(first), int(last if dash else first) + 1)
    return sites


def parse_repeats(text: str, option: str) -> tuple[int, int, int]:
    """Read repeats of a supercell such as ``2,2,1`` or ``2x2x1``.

    Raises:
        InputError: naming the option, if the text is anything else.
    """
    parts = text.replace("x", ",").split(",")
    if len(parts) != 3 or not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise InputError(f"cannot read {option} {text!r}: write three repeats such as 2,2,1")
    a, b, c = (int(part) for part in parts)
    return a, b, c


def _split(text: str, option: str, example: str) -> tuple[str, str]:
    left, equals, right = text.partition("=")
    if not equals or not left.strip() or not right.strip():
        raise InputError(f"cannot read {option} {text!r}: write for example {option} {example}")
    return left.strip(), right.strip()


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
    from alchemlip.ensemble import load_potentials

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
    from alchemlip.ensemble import members_of

    return members_of(
        prepare_potential([model], device, dtype, modal, head, trust, representation)
    )[0]


def refuse_unusable(mixture: Mixture, potential: Potential, settings: Any = None) -> None:
    """Refuse, before a folder is made, what the potential cannot evaluate or relax."""
    from alchemlip.ensemble import members_of

    for member in members_of(potential):
        member.graph([mixture])
    if settings is not None:
        from alchemlip.relaxation import check_settings

        check_settings(mixture, settings)


def source(structure: Path, potential: Potential) -> dict[str, Any]:
    """Return what is noted of where a structure and a potential came from."""
    import hashlib

    card = potential.card
    notes = STRUCTURE_NOTES.get(structure)
    return {
        "structure_file": str(structure),
        "structure_sha256": hashlib.sha256(structure.read_bytes()).hexdigest(),
        "potential_weights": card.weights,
        "potential_licence": card.licence,
        "potential_reference": card.reference,
        **({"structure_warnings": list(notes)} if notes else {}),
    }


def refuse_scanned(scanned: Sequence[Scanned]) -> None:
    """Refuse a list of species where a composition is needed."""
    if scanned:
        first = scanned[0]
        raise InputError(
            f"--mix {first.group}={','.join(first.species)} lists species without weights: write "
            "a formula such as Ce0.7Zr0.3, or use 'alchemlip scan'"
        )


def results_folder(out: Path | None, command: str, structure: Path) -> Path:
    """Return the results folder: the one asked for, or one named after command and structure."""
    return out if out is not None else Path(f"{command}-{structure.stem}")
