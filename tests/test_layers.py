"""Data flows one way: the contracts in pyproject.toml hold, and notice what breaks them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.skipif(find_spec("importlinter") is None, reason="needs import-linter")


def linted(source: Path) -> subprocess.CompletedProcess[str]:
    """Check the package in a folder against the contracts."""
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-logo",
            "--no-cache",
            "--config",
            str(ROOT / "pyproject.toml"),
        ],
        env={**os.environ, "PYTHONPATH": str(source)},
        cwd=source,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package, to be broken."""
    folder = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "src" / "alchemlip", folder / "alchemlip")
    return folder


def test_the_contracts_hold(copy: Path) -> None:
    done = linted(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 kept, 0 broken" in done.stdout


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("mixture/species.py", "import alchemlip.cli.progress", "Data flows one way"),
        ("crystal/relaxation.py", "import alchemlip.crystal.scanning", "No circles"),
        ("mixture/nodes.py", "import torch", "What is mixed needs no torch"),
    ],
)
def test_what_breaks_one_is_noticed(copy: Path, module: str, line: str, contract: str) -> None:
    file = copy / "alchemlip" / module
    before = file.read_text()
    file.write_text(f"{before}\n{line}\n")
    try:
        done = linted(copy)
    finally:
        file.write_text(before)
    assert done.returncode != 0
    assert f"{contract}" in done.stdout.partition("Broken contracts")[2], done.stdout
