"""Commands of the terminal, made from the settings of calculations."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.calculations.fields import SettingsField
from alchemlip.cli.completion import complete_model
from alchemlip.errors import InputError, Notice, StructureWarning

if TYPE_CHECKING:
    from alchemlip.calculations.base import Calculation
    from alchemlip.calculations.result import Result
    from alchemlip.campaigns.yaml_files import MarkedYaml

OUTPUT = "Output"
METAVARS = {int: "INTEGER", float: "NUMBER", str: "TEXT", Path: "PATH"}


def command_of(calculation: type[Calculation]) -> Callable[..., None]:
    """Return the function of a command: its signature is the settings, its help their docstring."""

    def command(**given: Any) -> None:
        out, _ = given.pop("out"), given.pop("settings")
        run(calculation(**given), out)

    out = Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Results folder.",
            show_default=_default_folder(calculation),
            rich_help_panel=OUTPUT,
        ),
    ]
    settings = Annotated[
        Path | None,
        typer.Option(
            "--settings",
            help="YAML file with this command's options by name; the command line wins.",
            callback=_settings_reader(calculation),
            is_eager=True,
            rich_help_panel=OUTPUT,
        ),
    ]
    fields = calculation.fields().values()
    keyword = inspect.Parameter.KEYWORD_ONLY
    parameters = [
        inspect.Parameter(
            field.name,
            keyword,
            annotation=Annotated[_hint(field), _parameter(field)],
            default=inspect.Parameter.empty if field.required else field.default,
        )
        for field in fields
    ]
    parameters += [
        inspect.Parameter(name, keyword, annotation=hint, default=None)
        for name, hint in (("out", out), ("settings", settings))
    ]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {item.name: item.annotation for item in parameters}
    command.__doc__ = calculation.__doc__
    return command


def run(calculation: Calculation, out: Path | None) -> None:
    """Run a calculation with its progress on the terminal, and show what it found."""
    from alchemlip.cli.progress import shown_progress
    from alchemlip.cli.show import show_outdated, show_result

    with _telling_warnings(), shown_progress(calculation) as progress:
        result = calculation.run(out, progress)
    if result.before:
        typer.echo("Finished before; this is what it found.")
        show_outdated(result)
    name = f"alchemlip.cli.show_{calculation.command.replace('-', '_')}"
    show: Callable[[Result], None] = show_result
    if find_spec(name) is not None:
        show = import_module(name).show
    show(result)


@contextmanager
def _telling_warnings() -> Iterator[None]:
    """Print the sentences that are meant for a person, and nothing around them."""
    from rich.console import Console
    from rich.markup import escape

    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        others = warnings.showwarning

        def show(message: Any, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Notice):
                text = escape(str(message))
                if issubclass(category, StructureWarning):
                    text = f"Warning: {text}."
                Console(stderr=True).print(
                    f"[yellow]{text}[/yellow]", highlight=False, soft_wrap=True
                )
            else:
                others(message, category, *place, **more)

        warnings.showwarning = show
        yield


def _default_folder(calculation: type[Calculation]) -> str:
    """Return words for the results folder where none is named."""
    of_structure = "-STRUCTURE" if "structure" in calculation.fields() else ""
    return calculation.default_folder or calculation.command + of_structure


def _hint(field: SettingsField) -> Any:
    # The type that Typer sees decides only between flags, values and repeated values.
    plain: Any = bool if field.kind is bool else str
    hint = list[plain] if field.many else plain
    return hint | None if field.optional else hint


def _parameter(field: SettingsField) -> Any:
    option = field.option
    shared: dict[str, Any] = {"help": field.help}
    if option.completes == "model":
        shared["autocompletion"] = complete_model
    if field.kind is not bool:
        shared["metavar"] = option.metavar or METAVARS[field.kind]
    if option.argument:
        return typer.Argument(**shared | {"metavar": field.name.upper()})
    if option.shown_default is not None:
        shared["show_default"] = option.shown_default
    flags = [field.flag, *([option.short] if option.short else [])]
    if option.negative:
        flags[0] += f"/{option.negative}"
    return typer.Option(*flags, rich_help_panel=option.panel, **shared)


def _settings_reader(calculation: type[Calculation]) -> Callable[..., Any]:
    def read(context: typer.Context, file: Path | None) -> Path | None:
        if file is not None:
            values = settings_of_file(file, calculation.fields())
            context.default_map = {**(context.default_map or {}), **values}
        return file

    return read


def settings_of_file(file: Path, fields: Mapping[str, SettingsField]) -> dict[str, Any]:
    """Return the checked settings in a YAML file; ``out`` may stand among them.

    Raises:
        InputError: with the line, if an entry is unknown or cannot be used.
    """
    from difflib import get_close_matches

    from alchemlip.campaigns.yaml_files import read_yaml

    source = read_yaml(file, "points: 11")
    found: dict[str, Any] = {}
    for key in source.content:
        name = key.replace("-", "_")
        if name != "out" and name not in fields:
            close = get_close_matches(name, fields, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            known = ", ".join(sorted([*fields, "out"]))
            raise source.error(
                (key,), f"unknown entry {key!r}{meant}: the options of this command are {known}"
            )
        if name in found:
            raise source.error((key,), f"{name!r} is given twice: write it once")
        if name == "out":
            found[name] = source.as_written((key,))
            continue
        try:
            found[name] = fields[name].checked(_written(source, key, fields[name]))
        except InputError as error:
            if str(error).startswith(repr(str(file))):  # its place is told
                raise
            raise source.error((key,), str(error)) from error
    return found


def _written(source: MarkedYaml, key: str, field: SettingsField) -> Any:
    """Return an entry: one value, or a list where the option may be repeated."""
    # Of a text the signs count: 1.10 is no 1.1 there.
    found = source.as_written((key,)) if field.kind in (str, Path) else source.content[key]
    for number, item in enumerate(found if isinstance(found, list) else [found]):
        place = (key, number) if isinstance(found, list) else (key,)
        if item is None:
            raise source.error(place, f"{key!r} has no value: write one, or leave the line out")
        if isinstance(item, dict | list):
            raise source.error(place, f"{key!r} holds a list or mapping: write one value")
    if isinstance(found, list) and not field.many:
        raise source.error((key,), f"{key!r} takes one value, not a list: write one")
    return found
