"""The campaign file: one command, what all runs share, and what varies."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from alchemlip.calculations.fields import SettingsField
from alchemlip.campaigns.commands import SET_BY_CAMPAIGN, calculations, plain
from alchemlip.campaigns.yaml_files import MarkedYaml, Place, choose, read_yaml

NAME = "name"

TEMPLATE = """\
# A campaign: one command, what all runs share, and what varies. Fill in, then
#   alchemlip campaign plan FILE       shows the runs
#   alchemlip campaign run FILE        runs them; again, it goes on where it was stopped
# Paths start from the folder of this file.

command: {command}
# one of {commands}

seed: 0                      # every run's own seed follows from this one and the run's name

options:                     # for all runs, named as in --settings files
  model: sevennet-0
# {options}

vary:                        # every combination of these values is a run
  structure: [NaCl.cif]      # several values of an option stand in a list
  {vary}

# replicas: 4                # every run so often, each with a seed of its own

# Instead of all combinations, vary may be a list of blocks, each expanded by itself:
# vary:
#   - {{structure: NaCl.cif, mix: [Na=Na0.5K0.5, Na=Na0.9K0.1]}}
#   - {{name: silver, structure: AgCl.cif, mix: Ag=Ag0.5Na0.5}}   # runs named 'silver'
"""


EXAMPLES = {
    "temperature": "temperature: [300, 600]    # K",
    "pressure": "pressure: [0.0, 5.0]       # GPa",
    "mix": "mix: [Na=Na0.5K0.5, Na=Na0.9K0.1]",
}


def template(command: str) -> str:
    """Return a campaign file with comments for a calculation."""
    known = calculations()
    varied = next((name for name in EXAMPLES if name in known[command]), "mix")
    names = [name for name in known[command] if name not in ("structure", "model", varied)]
    wrapped = textwrap.wrap("others: " + ", ".join(names), 98)
    return TEMPLATE.format(
        command=command,
        commands=", ".join(known),
        options="\n# ".join(wrapped),
        vary=EXAMPLES[varied],
    )


class _Fields(BaseModel):
    """The outermost keys of a campaign file."""

    model_config = ConfigDict(extra="forbid", strict=True)

    command: str
    seed: int = Field(default=0, ge=0)
    replicas: int | None = Field(default=None, ge=1)
    options: dict[str, Any] = {}
    vary: list[dict[str, Any]] = [{}]

    @field_validator("options", mode="before")
    @classmethod
    def _nothing(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("vary", mode="before")
    @classmethod
    def _one_block(cls, value: Any) -> Any:
        return [value or {}] if value is None or isinstance(value, dict) else value


@dataclass(frozen=True)
class Block:
    """What varies together: every combination of the values is a run.

    Attributes:
        place: in the file.
        name: given to the runs instead of the options that have one value.
        values: checked values of each option, in the order of the file.
        listed: options whose values were written as a list.
    """

    place: Place
    name: str | None
    values: dict[str, list[Any]]
    listed: frozenset[str]


@dataclass(frozen=True)
class Campaign:
    """A checked campaign file.

    Attributes:
        source: the file.
        command: of every run.
        seed: from which those of the runs follow.
        replicas: runs of each combination; None for one, without a number in its name.
        options: checked, common to all runs.
        blocks: what varies.
    """

    source: MarkedYaml
    command: str
    seed: int
    replicas: int | None
    options: dict[str, Any]
    blocks: tuple[Block, ...]

    @property
    def base(self) -> Path:
        """Folder that relative paths start from."""
        return self.source.file.absolute().parent


def read_campaign(file: str | Path) -> Campaign:
    """Read and check a campaign file.

    Raises:
        InputError: one sentence with the line and the allowed values.
    """
    source = read_yaml(Path(file))
    try:
        fields = _Fields.model_validate(source.content)
    except ValidationError as error:
        # A misspelt key comes before the one that is missing for it.
        first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
        place = first["loc"]
        if first["type"] == "extra_forbidden":
            raise source.error(
                place, f"unknown entry {place[0]!r}: {choose(str(place[0]), _Fields.model_fields)}"
            ) from error
        if first["type"] == "missing":
            raise source.error((), f"{place[0]!r} is missing: write 'command: relax'") from error
        raise source.error(
            place,
            f"{place[0]} = {first['input']!r} cannot be used ({first['msg'].lower()}): correct it",
        ) from error
    commands = calculations()
    if fields.command not in commands:
        raise source.error(
            ("command",),
            f"there is no calculation {fields.command!r}: {choose(fields.command, commands)}",
        )
    options: dict[str, Any] = {}
    for key, value in fields.options.items():
        place = ("options", key)
        option = _option(source, place, fields.command)
        if option.name in options:
            raise source.error(place, f"{option.name!r} is given twice: write it once")
        options[option.name] = _checked(source, place, option, value)
    single = isinstance(source.content.get("vary"), dict)
    blocks = tuple(
        _block(source, ("vary",) if single else ("vary", number), fields.command, block, options)
        for number, block in enumerate(fields.vary)
    )
    if not blocks:
        raise source.error(("vary",), "the list of blocks is empty: write one, or leave out 'vary'")
    for block in blocks:
        given = options.keys() | block.values.keys()
        if "structure" not in given:
            raise source.error(block.place, "'structure' is missing: give it in options or vary")
        if fields.replicas is not None and "seed" not in commands[fields.command]:
            raise source.error(
                ("replicas",),
                f"{fields.command!r} has no seed, so that replicas would all be the same: leave "
                "out 'replicas'",
            )
        if fields.replicas is not None and "seed" in given:
            raise source.error(
                ("replicas",),
                "with a given 'seed' replicas would all be the same: leave out one of them",
            )
    return Campaign(source, fields.command, fields.seed, fields.replicas, options, blocks)


def _block(
    source: MarkedYaml, place: Place, command: str, written: dict[str, Any], common: dict[str, Any]
) -> Block:
    name: str | None = None
    values: dict[str, list[Any]] = {}
    listed = set()
    for key, value in written.items():
        here = (*place, key)
        if key == NAME:
            if not isinstance(value, str) or not value:
                raise source.error(here, f"name cannot be {value!r}: give a text")
            name = value
            continue
        option = _option(source, here, command)
        if option.name in common or option.name in values:
            raise source.error(
                here, f"{option.name!r} is given twice: write it in options or in vary"
            )
        if isinstance(value, list):
            listed.add(option.name)
            if not value:
                raise source.error(here, f"{option.name!r} has no values: give some")
            values[option.name] = [
                _checked(source, (*here, number), option, item) for number, item in enumerate(value)
            ]
        else:
            values[option.name] = [_checked(source, here, option, value)]
    return Block(place, name, values, frozenset(listed))


def _option(source: MarkedYaml, place: Place, command: str) -> SettingsField:
    known = calculations()[command]
    written = str(place[-1])
    name = written.replace("-", "_")
    if name in SET_BY_CAMPAIGN:
        raise source.error(
            place, f"the campaign gives {written!r} to its runs itself: leave it out"
        )
    if name not in known:
        raise source.error(
            place, f"{command!r} has no option {written!r}: {choose(name, sorted(known))}"
        )
    return known[name]


def _checked(source: MarkedYaml, place: Place, option: SettingsField, value: Any) -> Any:
    if option.kind in (str, Path):
        value = source.as_written(place)  # 1.10 is no 1.1 there
    try:
        checked = plain(option.checked(value))
    except ValueError as error:
        raise source.error(place, str(error)) from error
    if option.kind is Path:
        file = source.file.absolute().parent / checked
        if not file.exists():
            raise source.error(place, f"there is no file {str(file)!r}: check the path")
    return checked
