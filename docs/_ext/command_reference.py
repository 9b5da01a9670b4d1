"""The command reference, written from the command line itself.

A page that holds the line ``<!-- commands -->`` gets a section for every command there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

PLACE = "<!-- commands -->"


def reference() -> str:
    """Return the reference in Markdown."""
    from typer.main import get_command

    from alchemlip.cli import app

    return "\n".join(
        line for name, command in commands(get_command(app)) for line in section(name, command)
    )


def commands(parent: Any, prefix: str = "alchemlip") -> Iterator[tuple[str, Any]]:
    """Yield (full name, command) of every command, those of a group behind it."""
    for name, command in parent.commands.items():
        full = f"{prefix} {name}"
        yield full, command
        if hasattr(command, "commands"):
            yield from commands(command, full)


def section(name: str, command: Any) -> Iterator[str]:
    """Yield the Markdown lines of one command."""
    yield from (f"## {name}", "")
    is_group = hasattr(command, "commands")
    if not is_group:
        arguments = [p.name.upper() for p in command.params if p.param_type_name == "argument"]
        yield from ("```text", " ".join((name, *arguments, "[OPTIONS]")), "```", "")
    for paragraph in (command.help or "").strip().split("\n\n"):
        yield from (example(paragraph) or plain(paragraph), "")
    if is_group:
        return
    yield from ("| argument or option | default | |", "|---|---|---|")
    for parameter in command.params:
        yield f"| {spelling(parameter)} | {default(parameter)} | {plain(parameter.help or '')} |"
    yield ""


def example(paragraph: str) -> str:
    """Return a paragraph ``Example: ...`` as a code block; empty for any other."""
    found = re.match(r"Examples?:\s+(?=alchemlip)(.*)", paragraph, re.DOTALL)
    if not found:
        return ""
    lines = re.sub(r"\s*\n\s*(?!alchemlip)", " ", found[1])
    return f"```console\n{lines.strip()}\n```"


def spelling(parameter: Any) -> str:
    """Return how a parameter is written, `--option VALUE`."""
    if parameter.param_type_name == "argument":
        return f"`{parameter.name.upper()}`"
    flags = ", ".join(f"`{flag}`" for flag in (*parameter.opts, *parameter.secondary_opts))
    return flags + ("" if parameter.is_flag or not parameter.metavar else f" `{parameter.metavar}`")


def default(parameter: Any) -> str:
    """Return a parameter's default; empty where there is none."""
    if parameter.required:
        return "required"
    shown = parameter.show_default
    value = shown if isinstance(shown, str) else parameter.default
    if value is None or value is False or value in ([], ""):
        return ""
    if isinstance(value, list | tuple):
        value = " ".join(map(str, value))
    return f"`{value}`"


def plain(text: str) -> str:
    """Return help text as Markdown: no markup of the terminal, nothing taken for a table."""
    text = re.sub(r"\[/?(bold|italic|dim|[a-z]+ [a-z]+)\]", "", text)
    for sign in "\\|<>*_$":
        text = text.replace(sign, "\\" + sign)
    text = re.sub(r"(?<![\w`-])--[a-z][a-z-]*", r"`\g<0>`", text)
    return re.sub(r"\s*\n\s*", " ", text)


def insert(app: Sphinx, name: str, source: list[str]) -> None:
    """Put the reference where a page asks for it."""
    if PLACE in source[0]:
        source[0] = source[0].replace(PLACE, reference())
        for room in ("calculations", "cli"):
            for file in Path(app.srcdir, "src", "alchemlip", room).glob("*.py"):
                app.env.note_dependency(str(file))


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect to the reading of pages."""
    app.connect("source-read", insert)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
