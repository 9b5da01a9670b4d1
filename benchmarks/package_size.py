"""What alchemlip costs to have: time to start, size of the wheel, packages that come with it.

    python benchmarks/package_size.py            # results/package.json and package.md

Times are over processes of their own, in turn, after one that warms the disk's cache up.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from packaging.requirements import Requirement

from environment import as_markdown, describe

HERE = Path(__file__).parent
ROOT = HERE.parent
REPEATS = 9
LISTED = re.compile(r"^\| (?P<packages>[a-z][^|]*?) \| (?P<why>[^|]+?) \|$", re.MULTILINE)
HEAVY = ("torch", "numpy", "ase", "pymatgen", "matplotlib", "scipy", "sevenn", "mace", "chgnet")


def reasons(readme: str) -> dict[str, str]:
    """Return package -> why, from the table of a README."""
    table = readme.partition("## What is installed, and why")[2].partition("\n## ")[0]
    found = {}
    for row in LISTED.finditer(table):
        if row["packages"] == "package":
            continue
        names = row["packages"].partition(" (")[0]
        found.update(dict.fromkeys((name.strip() for name in names.split(",")), row["why"]))
    return found


def declared(project: dict[str, Any]) -> dict[str, list[str]]:
    """Return extra -> packages that users install, the package itself under an empty name."""
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    return {
        extra: [Requirement(line).name for line in lines]
        for extra, lines in extras.items()
        if extra not in ("docs", "test")
    }


def closure(names: Sequence[str]) -> set[str]:
    """Return the packages that come along with some, as far as they are installed here."""
    found: set[str] = set()
    left = [canonical(name) for name in names]
    while left:
        name = left.pop()
        if name in found:
            continue
        try:
            lines = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        found.add(name)
        wanted = [Requirement(line) for line in lines]
        left += [
            canonical(item.name)
            for item in wanted
            if item.marker is None or item.marker.evaluate({"extra": ""})
        ]
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def megabytes(name: str) -> float:
    """Return the size of an installed package's files, without compiled Python."""
    package = distribution(name)
    sizes = [
        Path(str(package.locate_file(file))).stat().st_size
        for file in package.files or []
        if file.suffix != ".pyc" and Path(str(package.locate_file(file))).is_file()
    ]
    return sum(sizes) / 1e6


def seconds(commands: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Return the least wall and the median processor time of commands, run in turn."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    for number in range(REPEATS + 1):
        for name, command in commands.items():
            start = perf_counter(), processor_time()
            command()
            if number:
                times[name].append((perf_counter() - start[0], processor_time() - start[1]))
    return {
        name: {"wall": min(w for w, _ in values), "processor": median(p for _, p in values)}
        for name, values in times.items()
    }


def processor_time() -> float:
    """Return the processor time in s that ended child processes took."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def process(*arguments: str, **environment: str) -> Callable[[], object]:
    return lambda: subprocess.run(
        arguments, check=True, capture_output=True, env={**os.environ, **environment}
    )


def start_times() -> dict[str, dict[str, float]]:
    program = str(Path(sysconfig.get_path("scripts")) / "alchemlip")
    completing = {
        "_ALCHEMLIP_COMPLETE": "complete_bash",
        "COMP_WORDS": "alchemlip energy x.cif --model sev",
        "COMP_CWORD": "4",
    }
    return seconds(
        {
            "python, nothing imported": process(sys.executable, "-c", "pass"),
            "import alchemlip": process(sys.executable, "-c", "import alchemlip"),
            "alchemlip --help": process(program, "--help"),
            "completion of --model": process(program, **completing),
        }
    )


def loaded_by_import() -> list[str]:
    """Return the heavy packages that importing alchemlip and its command line loads."""
    code = f"import sys, alchemlip.cli; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def wheel_kilobytes() -> float:
    with TemporaryDirectory() as folder:
        command = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, str(ROOT)]
        subprocess.run([sys.executable, *command], check=True, capture_output=True)
        (wheel,) = Path(folder).glob("*.whl")
        return wheel.stat().st_size / 1e3


def measure() -> dict[str, Any]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = declared(project)
    base = closure(packages[""])
    groups = {}
    for extra, names in packages.items():
        here = closure(names)
        complete = {canonical(name) for name in names} <= here
        added = here if not extra else here - base
        groups[extra or "alchemlip"] = {
            "declared": sorted(names),
            "installed_packages": len(added) if complete else None,
            "installed_MB": round(sum(map(megabytes, added)), 1) if complete else None,
        }
    return {
        "environment": describe(),
        "seconds": start_times(),
        "loaded_by_import": loaded_by_import(),
        "wheel_kB": wheel_kilobytes(),
        "torch_MB": megabytes("torch"),
        "packages": groups,
    }


def page(found: dict[str, Any], why: dict[str, str]) -> str:
    """Return the page of the figures."""
    base = found["packages"]["alchemlip"]
    lines = [
        "# What alchemlip costs to have",
        "",
        "Written by `python benchmarks/package_size.py` (`make benchmark`). "
        f"{as_markdown(found['environment'])}",
        "",
        f"Of {REPEATS} processes each, the quickest, since other work on the machine shows in wall "
        "times, and the median of the processor time. Importing alchemlip and its command "
        f"line loads {', '.join(found['loaded_by_import']) or 'none'} of "
        f"{', '.join(HEAVY)}.",
        "",
        "| | wall time, s | processor time, s |",
        "|---|---|---|",
        *(
            f"| {name} | {time['wall']:.2f} | {time['processor']:.2f} |"
            for name, time in found["seconds"].items()
        ),
        "",
        f"The wheel has {found['wheel_kB']:.0f} kB. alchemlip declares {len(base['declared'])} "
        f"packages; with what these ask for, {base['installed_packages']} are installed, "
        f"{base['installed_MB']:.0f} MB, of which torch here is {found['torch_MB']:.0f} MB "
        "(a build with CUDA is several times that).",
        "",
        "| extra | declares | adds packages | adds MB |",
        "|---|---|---|---|",
    ]
    for name, group in found["packages"].items():
        if name != "alchemlip":
            count, size = group["installed_packages"], group["installed_MB"]
            shown = ("-", "-") if count is None else (str(count), f"{size:.0f}")
            lines.append(f"| {name} | {', '.join(group['declared'])} | {' | '.join(shown)} |")
    lines += [
        "",
        "-: not in the environment that was measured. An extra's figures leave out what alchemlip "
        "itself brings.",
        "",
        "| package | why |",
        "|---|---|",
        *(f"| {name} | {reason} |" for name, reason in why.items()),
        "",
        "The reasons are the README's, held to `pyproject.toml` by `tests/test_package.py`.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    found = measure()
    (HERE / "results" / "package.json").write_text(json.dumps(found, indent=1) + "\n")
    why = reasons((ROOT / "README.md").read_text(encoding="utf-8"))
    (HERE / "package.md").write_text(page(found, why), encoding="utf-8")


if __name__ == "__main__":
    main()
