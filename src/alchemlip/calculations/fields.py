"""One field of a calculation's settings: its kind, range and unit, and the sentence when it is bad.

Everything that needs to know the settings reads them here: the command line, settings files,
campaigns, the reference page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from alchemlip.errors import InputError

LONGEST_SHOWN = 60
"""Of a value in a sentence, in characters."""
LONGEST_TEXT = 4096
"""Of a text that is taken, in characters: sites can be given as ranges."""


@dataclass(frozen=True)
class Option:
    """How a field is written on the command line; stands in its annotation.

    Attributes:
        panel: of the help page.
        unit: in which a number is given.
        metavar: what stands for the value in the help.
        flag: instead of ``--name``.
        short: a second flag of one letter.
        negative: the flag that says no.
        shown_default: words for a default that is worked out.
        completes: what the shell completes, if it knows more than files.
        argument: whether it stands without a flag.
        trusts: whether it lets foreign code run, so that no file may set it.
    """

    panel: str = "Options"
    unit: str = ""
    metavar: str | None = None
    flag: str | None = None
    short: str | None = None
    negative: str | None = None
    shown_default: str | None = None
    completes: Literal["model"] | None = None
    argument: bool = False
    trusts: bool = False


@dataclass(frozen=True)
class SettingsField:
    """A field as people meet it.

    Attributes:
        name: in Python, in settings files and in campaigns.
        kind: ``bool``, ``int``, ``float``, ``str`` or ``Path``.
        many: whether it holds several values.
        optional: whether it may be None.
        choices: the words allowed; empty if any are.
        option: how it is written on the command line.
        info: pydantic's own.
    """

    name: str
    kind: type
    many: bool
    optional: bool
    choices: tuple[str, ...]
    option: Option
    info: FieldInfo

    @property
    def flag(self) -> str:
        """How it is called in sentences: ``--fmax``, or the argument's name."""
        if self.option.argument:
            return self.name
        return self.option.flag or "--" + self.name.replace("_", "-")

    @property
    def help(self) -> str:
        """What it means, in one or two sentences."""
        return self.info.description or ""

    @property
    def required(self) -> bool:
        """Whether it has no default."""
        return self.info.is_required()

    @property
    def default(self) -> Any:
        """Its value if nothing is given."""
        return self.info.get_default(call_default_factory=True)

    def checked(self, value: Any) -> Any:
        """Return a value as the settings hold it.

        Args:
            value: as typed, or from a YAML file; where several may be given also {key: value} for
                ``KEY=VALUE``, such as ``{"Ce": {"Ce": 0.7, "Zr": 0.3}}`` for ``Ce=Ce0.7Zr0.3``.

        Raises:
            InputError: one sentence with the value and what to give, if it cannot be used.
        """
        if self.many:
            items = list(value) if isinstance(value, list | tuple) else [value]
            if isinstance(value, Mapping) and self.kind is str:
                items = [f"{key}={_formula(item)}" for key, item in value.items()]
            return [self._one(item) for item in items]
        return self._one(value)

    def arguments(self, value: Any) -> list[str]:
        """Return a checked value as words of the command line."""
        if self.option.argument:
            return [str(item) for item in (value if self.many else [value])]
        if value is None:
            return []
        if self.kind is bool:
            flag = self.flag if value else self.option.negative
            return [flag] if flag else []
        return [f"{self.flag}={item}" for item in (value if self.many else [value])]

    def _one(self, value: Any) -> Any:
        if value is None and self.optional:
            return None
        given = value
        if self.kind in (str, Path):
            if isinstance(value, int | float) and not isinstance(value, bool):
                given = f"{value:g}" if isinstance(value, float) else str(value)
            elif not isinstance(value, str | Path) or not 0 < len(str(value)) <= LONGEST_TEXT:
                raise self.error(value)
        elif isinstance(value, bool) != (self.kind is bool) and not isinstance(value, str):
            raise self.error(value)
        try:
            return self._adapter.validate_python(given)
        except ValidationError as error:
            raise self.error(value, error) from None
        except (OverflowError, RecursionError):
            raise self.error(value) from None

    def error(self, value: Any, error: ValidationError | None = None) -> InputError:
        """Return the sentence that refuses a value.

        Args:
            value: as it was given.
            error: why, where it was not its kind or range.
        """
        own = "" if error is None else error.errors()[0]["msg"]
        reason = own.removeprefix("Value error, ") if own.startswith("Value error, ") else ""
        return InputError(
            f"{self.flag} {shown(value)} cannot be used: {reason or 'give ' + self.expected}"
        )

    @property
    def expected(self) -> str:
        """Words for what may be given: ``a number above 0 and at most 100 (GPa)``."""
        if self.choices:
            return " or ".join((", ".join(self.choices[:-1]) or self.choices[0], self.choices[-1]))
        words = {bool: "true or false", int: "a whole number", float: "a number"}
        words |= {str: f"a text of up to {LONGEST_TEXT} characters"}
        words |= {Path: "the path of a file or folder"}
        unit = f" ({self.option.unit})" if self.option.unit else ""
        return words[self.kind] + _range(self._bounds) + unit

    @property
    def _bounds(self) -> list[Any]:
        kinds = (Gt, Ge, Lt, Le)
        found = [item for item in self.info.metadata if isinstance(item, kinds)]
        hint = self.info.annotation
        while hint is not None and not found:
            inner = [part for part in get_args(hint) if part is not type(None)]
            found = [item for item in inner if isinstance(item, kinds)]
            found += [
                bound
                for item in inner
                if isinstance(item, FieldInfo)
                for bound in item.metadata
                if isinstance(bound, kinds)
            ]
            hint = inner[0] if inner and not isinstance(inner[0], str) else None
        return sorted(found, key=lambda item: isinstance(item, Lt | Le))

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        if self.many:
            # Of one item; limits on their number belong to the settings as a whole.
            return TypeAdapter(get_args(self.info.annotation)[0])
        annotated: Any = Annotated
        return TypeAdapter(annotated[self.info.annotation, self.info])


def _formula(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f"{species}{weight}" for species, weight in value.items())
    return str(value)


def _range(bounds: list[Any]) -> str:
    """Return words for limits, the lower one first: `` from 2 to 1001``."""
    said = {"gt": "above", "ge": "of at least", "lt": "below", "le": "at most"}
    if [type(bound) for bound in bounds] == [Ge, Le]:
        return f" from {_plain(bounds[0].ge)} to {_plain(bounds[1].le)}"
    parts = [
        f"{said[key]} {_plain(getattr(bound, key))}"
        for bound in bounds
        for key in said
        if hasattr(bound, key)
    ]
    return f" {', '.join(parts)}" if parts else ""


def _plain(number: Any) -> str:
    return str(number) if isinstance(number, int) else f"{number:g}"


def shown(value: Any) -> str:
    """Return a value as it stands in a sentence: short, and visible if it is empty."""
    text = f"{value:g}" if isinstance(value, float) else str(value)
    if len(text) > LONGEST_SHOWN:
        text = f"{text[: LONGEST_SHOWN - 1]}…"
    plain = text and text.isprintable() and not set(text) & set(" '\"")
    return text if plain else repr(text)


@cache
def fields_of(model: type[BaseModel]) -> Mapping[str, SettingsField]:
    """Return the fields of settings by name, arguments first."""
    found = {name: _field(name, info) for name, info in model.model_fields.items()}
    first = sorted(found, key=lambda name: not found[name].option.argument)
    return {name: found[name] for name in first}


def _field(name: str, info: FieldInfo) -> SettingsField:
    option = next((item for item in info.metadata if isinstance(item, Option)), Option())
    kind, many, optional, choices = _kind(info.annotation)
    return SettingsField(name, kind, many, optional, choices, option, info)


def _kind(hint: Any) -> tuple[type, bool, bool, tuple[str, ...]]:
    """Return the plain type behind an annotation, whether there are many, or None, and choices."""
    origin = get_origin(hint)
    if origin is Annotated:
        return _kind(get_args(hint)[0])
    if origin is Literal:
        return str, False, False, tuple(map(str, get_args(hint)))
    if origin in (Union, UnionType):
        parts = [part for part in get_args(hint) if part is not type(None)]
        kind, many, _, choices = _kind(parts[0])
        return kind, many, len(parts) < len(get_args(hint)), choices
    if origin is list:
        kind, _, _, choices = _kind(get_args(hint)[0])
        return kind, True, False, choices
    return hint, False, False, ()
