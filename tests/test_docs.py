"""The documentation: its Python runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import os
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from mace_models import random_mace

ROOT = Path(__file__).resolve().parents[1]
DOCS = sorted(file for file in (ROOT / "docs").rglob("*.md") if "_build" not in file.parts)
PAGES = [ROOT / "README.md", *DOCS]
LINKED = [*PAGES, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "benchmarks").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>not run|needs): (?P<said>[^\n]+) -->\n+)?"
    r"^```(?P<language>\w+)\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block; ``<!-- not run: reason -->`` or ``<!-- needs: x -->`` may precede it."""

    language: str
    text: str
    line: int
    mark: str | None
    said: str


def blocks(page: Path) -> Iterator[Block]:
    content = page.read_text(encoding="utf-8")
    for found in FENCE.finditer(content):
        line = content.count("\n", 0, found.start("text"))
        said = found["said"] or ""
        yield Block(found["language"], found["text"], line, found["mark"], said)


def runnable(page: Path) -> list[Block]:
    python = [block for block in blocks(page) if block.language == "python"]
    return [block for block in python if block.mark != "not run"]


def requirements(page: Path) -> set[str]:
    """What the page's code needs beside the package itself."""
    chosen = runnable(page)
    text = "".join(block.text for block in chosen)
    named = {block.said for block in chosen if block.mark == "needs"}
    return named | ({"sevenn"} if "sevennet" in text else set())


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def commands() -> list[tuple[str, str]]:
    """Every ``alchemlip ...`` of the console blocks, comments and continuations taken off."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            if block.language in ("console", "bash"):
                for line in block.text.replace("\\\n", " ").splitlines():
                    if line.startswith("alchemlip ") and not line.startswith("alchemlip --"):
                        found.append((name(page), line))
    return found


@pytest.mark.parametrize("page", [p for p in PAGES if runnable(p)], ids=name)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = sorted(package for package in requirements(page) if not find_spec(package))
    if missing:
        pytest.skip(f"{', '.join(missing)} is not installed")
    for folder in ("examples", "benchmarks"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    if "mace" in requirements(page):
        import torch

        torch.save(random_mace(("Residual", "Residual")), "my.model")
    namespace: dict[str, object] = {"__name__": "page"}
    for block in runnable(page):
        code = "\n" * block.line + block.text
        exec(compile(code, str(page), "exec"), namespace)


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda value: str(value)[:60])
def test_commands_exist(page: str, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Command, options and the types of their values are the command line's own."""
    from typer.main import get_command

    from alchemlip.cli import app

    monkeypatch.setenv("COLUMNS", "200")
    arguments = shlex.split(line, comments=True)[1:]
    command = get_command(app)
    parent = command.make_context("alchemlip", [], resilient_parsing=True)
    while hasattr(command, "commands"):
        assert arguments[0] in command.commands, f"{page}: no command {arguments[0]!r}"
        command = command.commands[arguments.pop(0)]
    for parameter in command.params:
        if parameter.name == "settings":
            parameter.callback = None  # the file is the reader's
    command.make_context(command.name, arguments, parent=parent)


@pytest.mark.parametrize("page", LINKED, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"^```\w*\n.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"(https?|mailto):", target):
            continue
        file = target.partition("#")[0]
        assert not file or (page.parent / file).exists(), f"{name(page)} links to {target}"


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=name)
def test_names_exist(page: Path) -> None:
    """Modules and what is in them, as ``alchemlip.room.module.name``."""
    for found in sorted(set(re.findall(r"\balchemlip(?:\.[A-Za-z_]\w*)+", page.read_text()))):
        parts = found.split(".")
        if (ROOT / "src" / Path(*parts)).with_suffix(".py").exists():
            continue
        module = ".".join(parts[: 1 if len(parts) == 2 else -1])
        try:
            held: object = import_module(module)
        except ImportError as error:
            if "needs the package" in str(error):
                continue
            raise
        named = hasattr(held, parts[-1]) or find_spec(found) is not None
        assert named, f"{name(page)} names {found}, which is not there"


def test_rooms_are_those_that_are_there() -> None:
    """The page on architecture has a line for every folder, in the order of the layers."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    told = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    layers = settings["tool"]["importlinter"]["contracts"][0]["layers"]
    source = ROOT / "src" / "alchemlip"
    rooms = [room.strip() for layer in layers for room in layer.split("|")]
    assert told == [room for room in rooms if (source / room).is_dir()]
    assert set(told) == {file.parent.name for file in source.glob("*/__init__.py")}


def test_every_page_is_in_the_contents() -> None:
    entries: set[Path] = set()
    for page in DOCS:
        for found in re.finditer(r"^```\{toctree\}\n(.*?)^```$", page.read_text(), re.M | re.S):
            for line in found[1].splitlines():
                if line and not line.startswith(":"):
                    entries |= set(page.parent.glob(f"{line}.md"))
    resolved = {Path(os.path.normpath(entry)) for entry in entries}
    assert {page for page in DOCS if page.name != "index.md" or page.parent.name != "docs"} <= {
        *resolved
    }
