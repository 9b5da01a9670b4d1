"""Runs that are killed, and potentials that threads share: the same results?

    python benchmarks/reliability.py            # results/reliability.json, reliability.md
    python benchmarks/reliability.py kills --only scan,relax
    .venv-mace/bin/python benchmarks/reliability.py threads      # adds MACE's rows

Each command is killed (SIGKILL) at random ways and run again by the same command until it ends, and its results are
compared with those of a run that was never killed. Potentials evaluate compositions in four threads at once.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from alchemlip import (
    AdditiveCalculator,
    AlchemicalCalculator,
    AlchemicalPotential,
    Mixture,
    load_potential,
)
from alchemlip.calculations import potentials as loaders
from alchemlip.cli import main as command_line
from alchemlip.potential.ensemble import EnsemblePotential
from alchemlip.records.runs import RunRecord
from environment import as_markdown, describe
from harmonic_models import HarmonicCalculator
from pages import fill, table
from pair_models import PairBackend, pair_potential, spring_potential

HERE = Path(__file__).parent
FILE = HERE / "results" / "reliability.json"
KILLS = 20
KILLS_A_ROUND = 5
THREADS, EACH = 4, 200
SHORT = ("-T", "300", "--timestep", "2", "--equilibrate", "0.1", "--checkpoint-interval", "5")
SALT = ("salt.cif", "--mix", "Na=Na0.5K0.5")

CAMPAIGN = """\
command: vacancy
seed: 3
replicas: 2
options:
  repeat: 2,2,2
  mu: -4.0
  static: false
  cell: fixed
  timestep: 4.0
  equilibrate: 0.08
  switch: 0.16
  repeats: 1
  checkpoint_interval: 5
vary:
  structure: Cu.extxyz
  temperature: [100, 200]
"""


@dataclass(frozen=True)
class Command:
    """A command that makes a record.

    Attributes:
        name: on the page.
        arguments: of the command line.
        potential: analytic, or SevenNet-0.
    """

    name: str
    arguments: tuple[str, ...]
    potential: str = "pairs"


COMMANDS = (
    Command("energy", ("energy", *SALT)),
    Command("relax", ("relax", *SALT)),
    Command("scan", ("scan", "salt.cif", "--mix", "Na=Na,K", "--points", "9")),
    Command("disorder", ("disorder", "cubic.cif", "--mix", "Na=Na,K", "--points", "5", "--supercell", "1,1,1")),
    Command(
        "disorder --explicit",
        (
            *("disorder", "cubic.cif", "--mix", "Na=Na,K", "--points", "5", "--supercell", "1,1,1"),
            *("--explicit", "2", "--explicit-relax"),
        ),
    ),
    Command("order", ("order", "cubic.cif", "--mix", "Na=Na0.5K0.5", "--repeat", "1,1,1", "--no-relax")),
    Command("design", ("design", *SALT, "--minimise", "energy")),
    Command("transmute", ("transmute", "Cu.extxyz", "--repeat", "2,2,2", "--to", "Cu=Na", "--switch", "0.4", "--cell", "fixed", *SHORT), "springs"),
    Command(
        "transmute --windows",
        (
            *("transmute", "Cu.extxyz", "--repeat", "2,2,2", "--to", "Cu=Na", "--cell", "fixed", *SHORT),
            *("--windows", "3", "--sample", "0.2", "--sample-interval", "2", "--exchange-interval", "4", "--repeats", "1"),
        ),
        "springs",
    ),
    Command("switch", ("switch", "Cu.extxyz", "--repeat", "2,2,2", "--to-model", "other", "--switch", "0.4", "--cell", "fixed", *SHORT), "springs"),
    Command("frenkel-ladd", ("frenkel-ladd", "Cu.extxyz", "--repeat", "2,2,2", "--springs", "hessian", "--switch", "0.4", "--cell", "fixed", *SHORT), "springs"),
    Command("vacancy", ("vacancy", "Cu.extxyz", "--repeat", "2,2,2", "--mu", "-4.0", "--no-static", "--switch", "0.4", "--cell", "fixed", *SHORT), "springs"),
    Command("campaign", ("campaign", "run", "many.yaml"), "springs"),
    Command("scan", ("scan", "salt.cif", "--mix", "Na=Na,K", "--points", "5", "--fmax", "0.01", "--smax", "0.05"), "sevennet-0"),
    Command(
        "transmute --windows",
        (
            *("transmute", "salt.cif", "--to", "Na=K", "--cell", "fixed", "-T", "300", "--timestep", "2"),
            *("--equilibrate", "0.01", "--windows", "3", "--sample", "0.04", "--sample-interval", "1"),
            *("--exchange-interval", "2", "--repeats", "1", "--checkpoint-interval", "2"),
        ),
        "sevennet-0",
    ),
)  # fmt: skip


def write_structures() -> None:
    """Write the structure files into the working folder."""
    bulk("NaCl", "rocksalt", 5.7).write("salt.cif")
    bulk("NaCl", "rocksalt", 5.7, cubic=True).write("cubic.cif")
    Atoms("Cu", cell=[3.0] * 3, pbc=True).write("Cu.extxyz")
    Path("many.yaml").write_text(CAMPAIGN)


def potentials(kind: str) -> dict[str, AlchemicalPotential]:
    """Return what the command line is given by the name of its model."""
    if kind == "sevennet-0":
        return {kind: load_potential(kind, device="cpu")}
    if kind == "pairs":
        return {"sevennet-0": pair_potential()}
    # Below the second neighbours of the simple cubic crystal in reach.
    one = spring_potential(3.7, (11, 29), 1.0, {11: 1.1, 29: 1.5})
    other = spring_potential(3.7, (11, 29), 1.3, {11: 1.1, 29: 1.5})
    assert isinstance(other.backend, PairBackend)
    other.backend.card = replace(other.backend.card, name="other")
    return {"sevennet-0": one, "other": other}


def fork(arguments: tuple[str, ...], given: dict[str, AlchemicalPotential]) -> int:
    """Run the command line in a child process and return its number."""
    number = os.fork()
    if number:
        return number
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    log = os.open("stderr.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 2)
    code = 1
    try:
        loaders.prepare_potential = lambda model, *_: given[
            model if isinstance(model, str) else model[0]
        ]
        loaders.prepare_single_potential = loaders.prepare_potential
        sys.argv = ["alchemlip", *arguments]
        warnings.simplefilter("ignore")
        command_line()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def ended(number: int, seconds: float | None) -> bool:
    """Wait so long for a process, kill it, and tell whether it had ended by itself."""
    if seconds is not None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            found, status = os.waitpid(number, os.WNOHANG)
            if found:
                break
            time.sleep(0.001)
        else:
            os.kill(number, signal.SIGKILL)
            found, status = os.waitpid(number, 0)
    else:
        found, status = os.waitpid(number, 0)
    if os.WIFSIGNALED(status):
        return False
    if os.waitstatus_to_exitcode(status) != 0:
        raise SystemExit(f"the command failed: {Path('stderr.log').read_text()[-2000:]}")
    return True


def numbers(folder: Path) -> dict[str, Any]:
    """Return all that a folder holds as results, by name; times left out."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("result.json")):
        content = json.loads(file.read_text())
        assert content["status"] == "finished", file
        for key, value in leaves([content["results"], content.get("points")]):
            if "seconds" not in key:
                found[f"{file.relative_to(folder)} {key}"] = value
    for file in sorted(folder.rglob("run.sqlite")):
        with RunRecord.read(file) as record:
            for key, column in record.samples().items():
                found[f"{file.relative_to(folder)} {key}"] = column
    return found


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the single values in nested ones, with their path."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, f"{name}/{key}")
    else:
        yield name, value


def largest_difference(found: dict[str, Any], expected: dict[str, Any]) -> float:
    """Return the largest difference of two sets of results; infinite if they differ otherwise."""
    if found.keys() != expected.keys():
        return math.inf
    largest = 0.0
    for key, right in expected.items():
        value = found[key]
        if isinstance(right, float) and isinstance(value, float):
            largest = max(largest, abs(value - right))
        elif (
            isinstance(right, np.ndarray) and right.dtype.kind == "f" and value.shape == right.shape
        ):
            gaps = np.abs(value - right)[np.isfinite(right)]
            same = np.array_equal(np.isfinite(value), np.isfinite(right))
            largest = max(largest, float(gaps.max(initial=0.0)) if same else math.inf)
        elif not np.array_equal(value, right):
            return math.inf
    return largest


def kill(command: Command, kills: int, seed: int, twice: bool = True) -> dict[str, Any]:
    """Run a command without kills (``twice``: to see what differs anyway) and with, in the working folder."""
    rng = np.random.default_rng(seed)
    given = potentials(command.potential)
    if twice:
        ended(fork((*command.arguments, "--out", "first"), given), None)
    begun = time.monotonic()
    assert ended(fork((*command.arguments, "--out", "whole"), given), None)
    duration = time.monotonic() - begun
    expected = numbers(Path("whole"))
    differences = [largest_difference(numbers(Path("first")), expected) if twice else 0.0]
    done = rounds = resumed = 0
    while done < kills:
        folder = f"cut-{rounds}"
        in_round = 0
        over = False
        while not over and in_round < KILLS_A_ROUND and done < kills:
            resumed += in_round > 0
            over = ended(
                fork((*command.arguments, "--out", folder), given),
                rng.uniform(0.05, 0.95) * duration,
            )
            in_round += not over
            done += not over
        if not over:
            assert ended(fork((*command.arguments, "--out", folder), given), None)
        differences.append(largest_difference(numbers(Path(folder)), expected))
        rounds += 1
    return {
        "command": command.name,
        "potential": command.potential,
        "seconds": duration,
        "kills": done,
        "rounds": rounds,
        "values": len(expected),
        "identical": sum(difference == 0.0 for difference in differences[1:]),
        "largest_difference": max(differences[1:]),
        "largest_difference_without_kills": differences[0],
    }


def kill_table(only: list[str], kills: int) -> list[dict[str, Any]]:
    """Kill every command that was asked for."""
    rows = []
    for number, command in enumerate(COMMANDS):
        label = (
            f"{command.name} ({command.potential})"
            if command.potential == "sevennet-0"
            else command.name
        )
        if only and label not in only:
            continue
        with TemporaryDirectory() as folder:
            before = Path.cwd()
            os.chdir(folder)
            try:
                write_structures()
                rows.append(kill(command, kills, number))
            finally:
                os.chdir(before)
        print(json.dumps(rows[-1]), flush=True)
    return rows


def thread_table(only: list[str], each: int) -> list[dict[str, Any]]:
    """Evaluate every potential in several threads, and every way to ask it."""
    from conftest import POTENTIALS, loaded
    from test_threads import compositions

    rows = []
    for case in POTENTIALS:
        if only and case.name not in only:
            continue
        potential = loaded(case)
        crystal = case.crystal("one-atom-cell")
        mixtures = compositions(crystal, 10)

        def energy(mixture: Mixture, potential: AlchemicalPotential = potential) -> list[float]:
            return [potential.evaluate(mixture, stress=False).energy]

        rows.append(
            {
                "potential": case.name,
                "asked": "energies and forces",
                **in_threads(energy, mixtures, each),
            }
        )
        embedded = potential.with_representation("embedding")
        ways = [("embedding", lambda m, p=embedded: energy(m, p))]

        def calculator(
            mixture: Mixture, potential: AlchemicalPotential = potential, crystal: Any = crystal
        ) -> list[float]:
            atoms = crystal.atoms.copy()
            atoms.calc = AlchemicalCalculator(potential, mixture)
            return [atoms.get_potential_energy(), *atoms.get_stress()]

        ways.append(("ASE calculators", calculator))

        def batch(
            mixture: Mixture, potential: AlchemicalPotential = potential, mixtures: Any = mixtures
        ) -> list[float]:
            return [
                item.energy for item in potential.evaluate([mixture, mixtures[0], mixtures[-1]])
            ]

        ways.append(("batches of 3", batch))
        if potential.has_magnetic_moments:
            ways.append(("magnetic moments", lambda m, p=potential: p.magnetic_moments(m).tolist()))
        for asked, function in ways:
            rows.append(
                {
                    "potential": case.name,
                    "asked": asked,
                    **in_threads(function, mixtures, max(1, each // 10)),
                }
            )
        print(json.dumps(rows[-1]), flush=True)
    both = find_spec("sevenn") and find_spec("chgnet")
    if both and (not only or "ensemble" in only):
        members = [load_potential(name, device="cpu") for name in ("sevennet-0", "chgnet")]
        ensemble = EnsemblePotential(members)
        crystal = POTENTIALS[0].crystal("one-atom-cell")

        def summed(mixture: Mixture) -> list[float]:
            atoms = crystal.atoms.copy()
            alchemical = AlchemicalCalculator(ensemble, mixture)
            springs = HarmonicCalculator(atoms, np.eye(3 * len(atoms)))
            atoms.calc = AdditiveCalculator(alchemical, [springs])
            energy = atoms.get_potential_energy()
            return [energy, alchemical.results["energy_spread"]]

        found = in_threads(summed, compositions(crystal, 10), max(1, each // 10))
        rows.append(
            {"potential": "SevenNet-0 and CHGNet", "asked": "an ensemble and springs", **found}
        )
    return rows


def in_threads(
    function: Callable[[Any], list[float]], mixtures: list[Mixture], each: int
) -> dict[str, Any]:
    """Compare what threads find with what one finds."""
    expected = [np.array(function(mixture)) for mixture in mixtures]
    begun = time.perf_counter()
    for n in range(20):
        function(mixtures[n % len(mixtures)])
    serial = (time.perf_counter() - begun) / 20

    def work(first: int) -> list[float]:
        differences = []
        for n in range(each):
            index = (first + n) % len(mixtures)
            try:
                found = np.array(function(mixtures[index]))
            except RuntimeError:
                differences.append(math.inf)
                continue
            differences.append(float(np.abs(found - expected[index]).max()))
        return differences

    begun = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as executor:
        differences = np.concatenate(list(executor.map(work, range(THREADS))))
    seconds = time.perf_counter() - begun
    return {
        "evaluations": len(differences),
        "wrong": int(np.sum((differences > 1e-9) & np.isfinite(differences))),
        "raised": int(np.sum(~np.isfinite(differences))),
        "largest_difference": float(differences[np.isfinite(differences)].max(initial=0.0)),
        "serial_ms": 1e3 * serial,
        "threads_ms": 1e3 * seconds / len(differences),
    }


def merged(
    before: list[dict[str, Any]], new: list[dict[str, Any]], keys: tuple[str, str]
) -> list[dict[str, Any]]:
    """Return rows with those that were made anew in their place."""
    by_key = {tuple(row[key] for key in keys): row for row in [*before, *new]}
    return list(by_key.values())


def option_counts() -> list[tuple[str, str, str, str]]:
    """Return rows of the generated test of options: how many there are, and what they refuse."""
    from alchemlip.calculations import REGISTERED, calculation
    from test_options import STRANGE, taken

    rows, totals = [], [0, 0, 0]
    for command in REGISTERED:
        fields = [f for f in calculation(command).fields().values() if f.kind is not bool]
        refused = sum(not taken(field, value) for field in fields for value in STRANGE)
        counts = [len(fields), len(fields) * len(STRANGE), refused]
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
        rows.append((f"`{command}`", *map(str, counts)))
    return [*rows, ("all", *map(str, totals))]


def write_page(content: dict[str, Any]) -> None:
    """Fill the tables of reliability.md."""
    order = {(command.name, command.potential): number for number, command in enumerate(COMMANDS)}
    kills = sorted(
        content.get("kills", []), key=lambda row: order[row["command"], row["potential"]]
    )
    killed = table(
        ("command", "potential", "seconds of a whole run", "kills", "runs ended", "identical", "values compared", "largest difference"),
        [
            (
                f"`{row['command']}`",
                "SevenNet-0" if row["potential"] == "sevennet-0" else "analytic",
                f"{row['seconds']:.1f}",
                str(row["kills"]),
                str(row["rounds"]),
                str(row["identical"]),
                str(row["values"]),
                f"{row['largest_difference']:.0e}" if row["largest_difference"] else "0",
            )
            for row in kills
        ],
    )  # fmt: skip
    threads = table(
        ("potential", "asked for", "evaluations", "wrong", "raised", "largest difference", "ms, one thread", "ms, four threads"),
        [
            (
                row["potential"],
                row["asked"],
                str(row["evaluations"]),
                str(row["wrong"]),
                str(row["raised"]),
                f"{row['largest_difference']:.0e}" if row["largest_difference"] else "0",
                f"{row['serial_ms']:.1f}",
                f"{row['threads_ms']:.1f}",
            )
            for row in content.get("threads", [])
        ],
    )  # fmt: skip
    options = table(
        ("command", "options with a value", "values tried", "refused by the option itself"), option_counts()
    )  # fmt: skip
    environments = "\n\n".join(as_markdown(found) for found in content["environments"].values())
    blocks = {"kills": killed, "threads": threads, "options": options, "environment": environments}
    fill(HERE / "reliability.md", blocks)


def main() -> None:
    """Run what is asked for, keep the rest, write data and page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="?", choices=("kills", "threads", "page"))
    parser.add_argument("--only", default="", help="commands or potentials, separated by commas")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--each", type=int, default=EACH)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    only = [name for name in chosen.only.split(",") if name]
    killed, threads = [], []
    if chosen.part in (None, "kills"):
        killed = kill_table(only, chosen.kills)
    if chosen.part in (None, "threads"):
        threads = thread_table(only, chosen.each)
    content: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    content["kills"] = merged(content.get("kills", []), killed, ("command", "potential"))
    content["threads"] = merged(content.get("threads", []), threads, ("potential", "asked"))
    if chosen.part != "page":
        found = describe()
        kind = "MACE" if "mace-torch" in found else "SevenNet and CHGNet"
        content.setdefault("environments", {})[kind] = found
        FILE.write_text(json.dumps(content, indent=1) + "\n")
    write_page(content)


if __name__ == "__main__":
    main()
