"""From a campaign to its runs: stable names, stable seeds, the files they read."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alchemlip.campaigns.commands import calculations, input_files
from alchemlip.campaigns.description import Block, Campaign
from alchemlip.errors import InputError

LONGEST_NAME = 120
REPLICA = "replica"


@dataclass(frozen=True)
class CampaignRun:
    """One run of a campaign.

    Attributes:
        name: of its folder.
        command: of the command line.
        options: all that it is given, checked, by name; paths as written.
        varied: what makes it differ from the other runs.
        files: checksum of every input file, by what it is called in the options.
    """

    name: str
    command: str
    options: dict[str, Any]
    varied: dict[str, Any]
    files: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; `CampaignRun(**...)` takes them."""
        return dict(vars(self))


def expand(campaign: Campaign) -> list[CampaignRun]:
    """Return the runs of a campaign, in the order of the file.

    A run's name is made from what varies, in whatever order the runs stand, and its seed from the
    campaign's seed and its name: more values give further runs and leave those before as they are.

    Raises:
        InputError: if two runs have one name.
    """
    runs: dict[str, CampaignRun] = {}
    checksums: dict[Path, str] = {}
    for block in campaign.blocks:
        for values in itertools.product(*block.values.values()):
            chosen = dict(zip(block.values, values, strict=True))
            for replica in [None] if campaign.replicas is None else range(campaign.replicas):
                run = _run(campaign, block, chosen, replica, checksums)
                if run.name in runs:
                    raise campaign.source.error(
                        block.place,
                        f"two runs have the name {run.name!r}: give every value once, and blocks "
                        "that differ in folders or signs only a 'name' each",
                    )
                runs[run.name] = run
    return list(runs.values())


def _run(
    campaign: Campaign,
    block: Block,
    chosen: dict[str, Any],
    replica: int | None,
    checksums: dict[Path, str],
) -> CampaignRun:
    name = _name(campaign.command, block, chosen, replica)
    options = {**campaign.options, **chosen}
    if "seed" in calculations()[campaign.command] and "seed" not in options:
        options["seed"] = seed_of(campaign.seed, name)
    varied = dict(chosen) if replica is None else {**chosen, REPLICA: replica}
    files = {}
    for written, file in input_files(campaign.command, options, campaign.base).items():
        if file.is_file():
            if file not in checksums:
                checksums[file] = checksum(file)
            files[written] = checksums[file]
    return CampaignRun(name, campaign.command, options, varied, files)


def seed_of(seed: int, name: str) -> int:
    """Return the seed of a run, 31 bits of SHA-256 over the campaign's seed and the run's name."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1


def _name(command: str, block: Block, chosen: Mapping[str, Any], replica: int | None) -> str:
    parts = [] if block.name is None else [_clean(block.name)]
    for option, value in chosen.items():
        if block.name is not None and option not in block.listed:
            continue
        if option == "structure":
            parts.append(_clean(Path(value).stem))
        else:
            parts.append(f"{option}-{_clean(_text(value))}")
    if replica is not None:
        parts.append(f"{REPLICA}-{replica}")
    name = "_".join(parts) or command
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 17]}-{hashlib.sha256(name.encode()).hexdigest()[:16]}"
    return name


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(map(_text, value))
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _clean(text: str) -> str:
    # What may not stand in a folder's name, or has a meaning to a shell, becomes a dash.
    return re.sub(r"[^A-Za-z0-9.,+-]+", "-", text).lstrip(".") or "-"


def checksum(file: Path) -> str:
    """Return the SHA-256 of a file.

    Raises:
        InputError: if it cannot be read.
    """
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise InputError(
            f"cannot read {str(file)!r} ({error.strerror}): check its permissions"
        ) from error
