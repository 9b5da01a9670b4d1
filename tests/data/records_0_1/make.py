"""Write the results folders of this folder; run with alchemlip 0.1.0 on a CPU:

    python make.py [NAME ...]

Every run of ``RUNS`` is made twice: under ``finished/`` as it ends, and under ``unfinished/``
stopped after some points, steps or samples. The commands run in this folder, with relative paths.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import shutil
import signal
import socket
import sqlite3
import sys
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MACHINE = "machine"
SYSTEM = "Linux-x86_64"

Stop = tuple[str, int]
"""A function, ``module:attribute``, and after how many of its calls the run is stopped."""

EVALUATED: Stop = ("alchemlip.potential:AlchemicalPotential.evaluate", 1)
STEPS: Stop = ("alchemlip.step_log:StepLog.add", 3)
POINTS: Stop = ("alchemlip.results:ResultFolder.append_point", 2)
COMMITTED: Stop = ("alchemlip.runs:RunRecord.checkpoint", 7)
ORDERED: Stop = ("alchemlip.disorder.ordering_study:occupancy_hessian", 1)
TABLE: Stop = ("alchemlip.results:ResultFolder.write_csv", 1)


@dataclass(frozen=True)
class Run:
    """A command line without ``--out``, and what stops its unfinished twin.

    Attributes:
        text: of the command line.
        stop: the function after whose call it is stopped; None for no unfinished twin.
        interrupted: stopped as by Ctrl-C, and not killed.
    """

    text: str
    stop: Stop | None
    interrupted: bool = False


LOOSE = "--fmax 0.01 --smax 0.05 --device cpu"
DYNAMICS = (
    "--timestep 4 --equilibrate 0.016 --switch 0.032 --repeats 2 --checkpoint-interval 4 "
    "--seed 3 --device cpu"
)
VACANCY = "vacancy Cu.cif --repeat 2,1,1 --cell fixed --fmax 0.05"

RUNS = {
    "energy": Run("energy NaCl.cif --mix Na=Na0.6K0.4 --device cpu", EVALUATED),
    "relax": Run(f"relax NaCl.cif --mix Na=Na0.6K0.4 {LOOSE}", STEPS),
    # Killed between points of one level: two ends, then 1/2, then 1/4 and 3/4.
    "scan": Run(f"scan NaCl.cif --mix Na=Na,K --points 5 {LOOSE}", (POINTS[0], 4)),
    "scan-three": Run(f"scan NaCl.cif --mix Na=Li,Na,K --points 3 {LOOSE}", (POINTS[0], 4)),
    "scan-pressure": Run(f"scan NaCl.cif --mix Na=Na,K --points 3 --pressure 2 {LOOSE}", POINTS),
    "disorder": Run(
        "disorder NaCl.cif --mix Na=Na,K --points 3 --supercell 2,2,2 --temperature 600 "
        f"--temperature 900 {LOOSE}",
        POINTS,
    ),
    "disorder-explicit": Run(
        "disorder NaCl.cif --mix Na=Na,K --at 0.5 --supercell 2,2,2 --local-relaxation "
        f"--explicit 2 --explicit-relax --seed 3 {LOOSE}",
        POINTS,
    ),
    "disorder-random": Run(
        "disorder NaCl.cif --mix Na=Na,K --points 3 --supercell 2,2,2 --geometry random "
        f"--bulk-modulus --order single_site {LOOSE}",
        POINTS,
    ),
    "disorder-pressure": Run(
        "disorder NaCl.cif --mix Na=Na,K --points 3 --supercell 2,2,2 --pressure 2 "
        f"--temperature 600 {LOOSE}",
        POINTS,
    ),
    "order": Run(
        "order NaCl.cif --mix Na=Na0.5K0.5 --repeat 2,1,1 --temperature 900 --size-effect "
        f"--structures 2 {LOOSE}",
        ORDERED,
    ),
    "design": Run(
        "design NaCl.cif --mix Na=Na0.8K0.2 --target volume=52~0.1 --supercell 2,1,1 --seed 3 "
        f"{LOOSE}",
        POINTS,
    ),
    "switch": Run(f"switch NaCl.cif --to Na=K -T 300 --cell fixed {DYNAMICS}", COMMITTED),
    "transmute": Run(
        "transmute NaCl.cif --mix Na=Na0.75K0.25 --to Na=Na0.5K0.5 --correlation independent "
        f"--mixing-entropy --pressure 1 -T 300 --trajectory-interval 4 {DYNAMICS}",
        COMMITTED,
        interrupted=True,
    ),
    "transmute-windows": Run(
        "transmute NaCl.cif --to Na=K --windows 3 --sample 0.096 --sample-interval 2 "
        f"--exchange-interval 4 -T 900 {DYNAMICS}",
        (COMMITTED[0], 11),
    ),
    "frenkel-ladd": Run(
        "frenkel-ladd Cu.cif --repeat 2,1,1 --cell-time 0.024 --spring-time 0.04 -T 600 "
        f"{DYNAMICS}",
        COMMITTED,
    ),
    "frenkel-ladd-mixed": Run(
        "frenkel-ladd Cu.cif --mix Cu=Cu0.5Au0.5 --repeat 2,1,1 --cell fixed --springs hessian "
        f"--quantum harmonic -T 300 {DYNAMICS}",
        COMMITTED,
    ),
    "vacancy": Run(f"{VACANCY} --mu -4 -T 300 {DYNAMICS}", COMMITTED),
    "vacancy-reference": Run(
        f"{VACANCY} --reference finished/frenkel-ladd --reference-cell --no-static -T 600 "
        f"{DYNAMICS}",
        None,  # differs from the one above in what it reads, not in how it goes on
    ),
    "concentration": Run(
        "concentration finished/vacancy finished/vacancy-reference --points 5", TABLE
    ),
    "campaign-relax": Run("campaign run relax.yaml", (STEPS[0], 5)),
    "campaign-switch": Run("campaign run switch.yaml", (COMMITTED[0], 20)),
}


def main(names: Iterable[str]) -> None:
    import torch

    from alchemlip import __version__
    from alchemlip.potential import keeping_potentials, load_potential

    if __version__ != "0.1.0":
        raise SystemExit(f"this is alchemlip {__version__}: these folders are those of 0.1.0")
    os.chdir(HERE)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    platform.node = socket.gethostname = lambda: MACHINE
    platform.platform = lambda *_, **__: SYSTEM
    write_structures()
    fork = multiprocessing.get_context("fork")
    with keeping_potentials({}):
        load_potential("sevennet-0", device="cpu", dtype="float64")
        for name in names or RUNS:
            states = ("finished", "unfinished") if RUNS[name].stop else ("finished",)
            for state in states:
                folder = Path(state) / name
                shutil.rmtree(folder, ignore_errors=True)
                folder.parent.mkdir(exist_ok=True)
                process = fork.Process(target=run, args=(RUNS[name], folder))
                process.start()
                process.join()
                ended = 0 if state == "finished" else -signal.SIGKILL
                if state == "unfinished" and RUNS[name].interrupted:
                    ended = 130
                if process.exitcode != ended:
                    raise SystemExit(f"{folder} ended with {process.exitcode} instead of {ended}")
                neutralise(folder)


def write_structures() -> None:
    from ase.build import bulk

    bulk("NaCl", "rocksalt", 5.7).write("NaCl.cif")
    bulk("Cu", "fcc", 3.63).write("Cu.cif")


def run(chosen: Run, folder: Path) -> None:
    """Run a command to its end, or until it is stopped if its folder is for unfinished ones."""
    from alchemlip.cli import main

    sys.argv = ["alchemlip", *chosen.text.split(), "--out", str(folder)]
    if folder.parts[0] == "unfinished" and chosen.stop:
        stop_after(*chosen.stop, chosen.interrupted)
    main()


def stop_after(function: str, calls: int, interrupted: bool) -> None:
    """End this process when a function has been called so often."""
    module, _, path = function.partition(":")
    owner: Any = import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original: Callable[..., Any] = getattr(owner, name)
    left = calls

    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal left
        found = original(*args, **kwargs)
        left -= 1
        if left == 0:
            if interrupted:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    setattr(owner, name, counted)


def neutralise(folder: Path) -> None:
    """Leave out pictures, and make the absolute paths that campaigns write relative."""
    place = f"{HERE.resolve()}/"
    for file in sorted(item for item in folder.rglob("*") if item.is_file()):
        if file.suffix in (".png", ".parquet"):
            file.unlink()
        elif place.encode() not in file.read_bytes():
            continue
        elif file.suffix == ".sqlite":
            journal = file.with_name(f"{file.name}-journal")
            cut = journal.exists()
            connection = sqlite3.connect(file, isolation_level=None)
            for table, column in (("run", "value"), ("starts", "command_line")):
                connection.execute(
                    f"UPDATE {table} SET {column} = replace({column}, ?, '')", (place,)
                )
            connection.execute("VACUUM")  # nothing of it is left in unused pages
            connection.close()
            if cut:
                journal.touch()  # empty, as the stopped run left it
        else:
            file.write_bytes(file.read_bytes().replace(place.encode(), b""))


if __name__ == "__main__":
    main(sys.argv[1:])
