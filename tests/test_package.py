"""What the package asks for is what its README explains, and starting it stays light."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from alchemlip import __version__  # noqa: E402
from package_size import declared, loaded_by_import, reasons  # noqa: E402


def test_every_dependency_has_its_reason_in_the_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {name.lower() for names in declared(project).values() for name in names}
    explained = set(reasons((ROOT / "README.md").read_text()))
    names = {"sevennet": "sevenn"}
    assert {"pyyaml", "torch", "sevenn"} <= asked
    # The README calls a family by one name.
    asked -= {"cuequivariance-torch"}
    assert {names.get(name, name) for name in explained} == asked


def test_starting_loads_nothing_heavy() -> None:
    """Nor does the command line, which the shell starts at every completion."""
    assert loaded_by_import() == []


def test_version() -> None:
    program = Path(sysconfig.get_path("scripts")) / "alchemlip"
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"alchemlip {__version__}\n"
