"""Every option of every command is fed what no person means: it is inside its range, or refused.

Refused means exit code 2, one sentence, nothing written. The potential is never loaded: whoever
gets that far has passed all checks of single options.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alchemlip.calculations import REGISTERED, calculation
from alchemlip.calculations.fields import SettingsField
from alchemlip.errors import InputError
from test_cli import Cli, assert_one_sentence, cli, files  # noqa: F401

STRANGE = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "0",
    "1e300",
    "-1e300",
    "",
    "[1, 2]",
    "9" * 400,
    "x" * 100_000,
)
LOADED = "the potential would be loaded now: all options were taken"
NEEDED = {
    "energy": ["--mix", "Na=Na0.5K0.5"],
    "relax": ["--mix", "Na=Na0.5K0.5"],
    "scan": ["--mix", "Na=Na,K"],
    "disorder": ["--mix", "Na=Na,K"],
    "order": ["--mix", "Na=Na0.5K0.5", "--repeat", "2,2,2"],
    "design": ["--mix", "Na=Na0.5K0.5", "--target", "a=5.9"],
    "switch": ["--to", "Na=K"],
    "transmute": ["--to", "Na=K"],
    "frenkel-ladd": [],
    "vacancy": ["--mu", "-1"],
}


def cases() -> Iterator[Any]:
    """Yield every option with every value."""
    for command in REGISTERED:
        for field in calculation(command).fields().values():
            if field.kind is not bool:
                yield pytest.param(command, field, id=f"{command}-{field.name}")


def taken(field: SettingsField, value: str) -> bool:
    try:
        field.checked(value)
    except InputError:
        return False
    return True


@pytest.mark.parametrize(("command", "field"), cases())
def test_strange_values(
    cli: Cli,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    field: SettingsField,
) -> None:
    def load(*_: Any) -> None:
        raise InputError(LOADED)

    for name in ("prepare_potential", "prepare_single_potential"):
        monkeypatch.setattr(f"alchemlip.calculations.potentials.{name}", load)
    before = files(tmp_path)
    for value in STRANGE:
        words = [command, "salt.cif", *NEEDED.get(command, [])]
        if field.option.argument:
            words = [command, value, *words[2:]] if value.strip("-") == value else words
        else:
            words.append(f"{field.flag}={value}")
        outcome = cli(*words)
        assert_one_sentence(outcome, "")
        assert len(outcome.err) < 1000
        assert files(tmp_path) == before
        if field.kind in (int, float) and not taken(field, value):
            assert outcome.err.startswith(f"Error: {field.flag} "), outcome.err
            assert "cannot be used: give a" in outcome.err


@pytest.mark.parametrize(("command", "field"), cases())
def test_numbers_have_a_range(command: str, field: SettingsField) -> None:
    """No number is taken however large it is, and the sentence says what may be given."""
    if field.kind not in (int, float):
        return
    for value in ("nan", "inf", "-inf", "1e300", "-1e300", "9" * 400):
        assert not taken(field, value), value
    assert any(word in field.expected for word in (" from ", "above", "at most"))
    assert field.option.unit or field.kind is int or "weight" in field.help.lower(), field.name
    if field.default is not None and not field.many:
        assert taken(field, field.default)


def test_what_is_in_range_is_taken() -> None:
    """A seed of 0 and a negative pressure are what they say."""
    for command in REGISTERED:
        fields = calculation(command).fields()
        assert "seed" not in fields or taken(fields["seed"], "0")
        assert "pressure" not in fields or taken(fields["pressure"], "-1")


def test_settings_in_python_are_checked_alike() -> None:
    scan = calculation("scan")
    with pytest.raises(InputError, match="--fmax -1 cannot be used: give a number above 0"):
        scan(structure="salt.cif", fmax=-1)
    with pytest.raises(InputError, match=r"scan has no setting 'fmx' \(did you mean fmax\?\)"):
        scan(structure="salt.cif", fmx=1)
    with pytest.raises(InputError, match="scan needs structure"):
        scan()
    made: Any = scan(structure="salt.cif", mix={"Na": "Na,K"}, points=3)
    assert made.mix == ["Na=Na,K"]
    assert made.command_line() == ["alchemlip", "scan", "salt.cif", "--mix=Na=Na,K", "--points=3"]


def test_each_is_imported_by_name() -> None:
    """Whatever was imported before, its parts among them."""
    import alchemlip.calculations.base as part
    from alchemlip import calculations

    for command, name in REGISTERED.items():
        found = getattr(calculations, name)
        assert found is calculation(command)
        assert issubclass(found, part.Calculation)
        assert found.command == command


OTHERS: dict[str, tuple[list[str], list[str]]] = {
    # Command: what it needs, and its options that take a value.
    "campaign run": (["runs.yaml", "--dry-run"], ["workers", "threads", "dask-workers", "batch"]),
    "campaign plan": (["runs.yaml"], []),
    "watch": ([".", "--once"], ["interval"]),
    "doctor": ([], []),
}


@pytest.mark.parametrize(
    ("command", "option"),
    [(command, option) for command, (_, options) in OTHERS.items() for option in options],
)
def test_strange_values_of_other_commands(
    cli: Cli,  # noqa: F811
    tmp_path: Path,
    command: str,
    option: str,
) -> None:
    """Refused with exit code 2 and no trace of Python, or taken for what they say."""
    (tmp_path / "runs.yaml").write_text("command: energy\noptions: {structure: salt.cif}\n")
    before = files(tmp_path)
    for value in STRANGE:
        outcome = cli(*command.split(), *OTHERS[command][0], f"--{option}={value}")
        assert outcome.code in ((0, 2) if value == "0" else (2,)), (value, outcome)
        assert "Traceback" not in outcome.out + outcome.err
        assert files(tmp_path) == before


def test_every_number_of_other_commands_is_tried() -> None:
    from typer.main import get_command

    from alchemlip.cli import app

    def numbers(parent: Any, above: str = "") -> Iterator[tuple[str, str]]:
        for name, item in parent.commands.items():
            full = f"{above} {name}".strip()
            if hasattr(item, "commands"):
                yield from numbers(item, full)
            elif name not in REGISTERED:
                for parameter in item.params:
                    if parameter.type_descriptor.annotation in (int, float):
                        yield full, parameter.opts[0].removeprefix("--")

    found = list(numbers(get_command(app)))
    assert ("campaign run", "workers") in found
    assert set(found) <= {
        (command, option) for command, (_, options) in OTHERS.items() for option in options
    }
