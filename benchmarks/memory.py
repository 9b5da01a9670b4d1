"""Memory of one evaluation, each measured in a process of its own, beside what runs are told.

    python benchmarks/memory.py sevennet-0 3 first mixed float64
    python benchmarks/memory.py MODEL-FILE 4 second mixed float64

Prints a line of JSON: sites, neighbours, and the peak of the process beyond what the potential
takes with one cell of copper (fcc, 3.8 A; mixed: half gold on every site). A file is trusted.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from time import perf_counter

import torch
from ase.build import bulk

from alchemlip import Mixture, load_potential
from alchemlip.disorder.hessian import occupancy_hessian


def peak() -> int:
    """Return the largest memory of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(name: str, repeats: str, derivatives: str, kind: str, dtype: str) -> None:
    """Measure one case."""
    torch.set_num_threads(1)
    potential = load_potential(name, dtype=dtype, device="cpu", trust=True)
    mixture = Mixture.from_atoms(bulk("Cu", a=3.8, cubic=True))
    if kind == "mixed":
        mixture = mixture.mixed({"Cu": {"Cu": 0.5, "Au": 0.5}})
    potential.evaluate(mixture)
    gc.collect()
    before = peak()
    large = mixture.repeat(int(repeats))
    begun = perf_counter()
    if derivatives == "second":
        occupancy_hessian(large, potential)
    else:
        potential.evaluate(large)
    seconds = perf_counter() - begun
    found = {
        "potential": name,
        "derivatives": derivatives,
        "dtype": dtype,
        "kind": kind,
        "sites": large.n_sites,
        "neighbours": len(potential.graph([large]).receiver),
        "peak_GB": round((peak() - before) / 1e9, 3),
        "seconds": round(seconds, 1),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
