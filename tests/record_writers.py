"""A made-up run that writes a record, for tests that kill it or take its disk away.

python record_writers.py write|die|fill FILE [SAMPLES [PAUSE_S]]
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from alchemlip import InputError
from alchemlip.records.runs import Frame, RunRecord, Sample

COMMAND, INPUTS = "switch", {"temperature_K": 300.0, "steps": [1, 2]}
INTERVAL = 10
SEGMENTS = ("equilibrate_start", "forward", "backward")
SEGMENT_STEPS = 200


class Walk:
    """A random walk: each step depends on the whole state, generator included."""

    def __init__(self, state: dict[str, Any] | None) -> None:
        self.rng = np.random.default_rng(7)
        self.done = 0
        self.position = np.zeros((20, 3))
        if state is not None:
            self.rng.bit_generator.state = state["rng"]
            self.done, self.position = state["done"], state["position"]

    def state(self) -> dict[str, Any]:
        rng = self.rng.bit_generator.state
        return {"rng": rng, "done": self.done, "position": self.position}

    def step(self) -> Sample:
        self.position = 0.9 * self.position + self.rng.normal(size=self.position.shape)
        part, step = divmod(self.done, SEGMENT_STEPS)
        repeat, segment = divmod(part, len(SEGMENTS))
        self.done += 1
        return Sample(
            repeat,
            SEGMENTS[segment],
            step,
            time_fs=2.0 * step,
            coupling=step / SEGMENT_STEPS,
            dhdl_eV=float(self.position.sum()),
            energies_eV=self.position[0],
        )


class Deadly:
    """An array whose process is killed when it is read."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


def write(file: Path, samples: int, pause_s: float = 0.0) -> RunRecord:
    """Go on with a run up to a number of samples; say on standard output what is committed."""
    record = RunRecord(file, COMMAND, INPUTS)
    walk = Walk(record.state())
    print(walk.done, flush=True)
    while walk.done < samples:
        batch = [walk.step() for _ in range(INTERVAL)]
        last = batch[-1]
        frame = Frame(last.repeat, last.segment, last.step, positions=walk.position, cell=np.eye(3))
        record.checkpoint(batch, walk.state(), frames=[frame], notes={"done": walk.done})
        print(walk.done, flush=True)
        time.sleep(pause_s)
    return record


def die(file: Path, samples: int) -> None:
    """Be killed in a transaction that has partly reached the database."""
    record = write(file, samples)
    walk = Walk(record.state())
    # Without a cache, changed pages go to the disk before the transaction ends.
    record._connection.execute("PRAGMA cache_size = 1")
    batch = [walk.step() for _ in range(400)]
    deadly = Sample(99, "forward", 0, energies_eV=Deadly())  # type: ignore[arg-type]
    record.checkpoint([*batch, deadly], walk.state())


def fill(file: Path) -> None:
    """Write until the disk is full, free it, and go on."""
    ballast = file.with_name("ballast")
    ballast.write_bytes(bytes(40_000))
    try:
        with write(file, 0) as record, record.noting_failure():
            walk = Walk(record.state())
            while True:
                record.checkpoint([walk.step() for _ in range(INTERVAL)], walk.state())
    except InputError as error:
        print(error, flush=True)
    ballast.unlink()
    with write(file, Walk(RunRecord.read(file).state()).done + 5 * INTERVAL) as record:
        columns = record.samples()
        expected = Walk(None)
        values = [expected.step().dhdl_eV for _ in range(len(columns["step"]))]
        assert columns["dhdl_eV"].tolist() == values
        assert record.resumed
        record.finish({})
    print(len(values), "kept", flush=True)


if __name__ == "__main__":
    mode, path = sys.argv[1], Path(sys.argv[2])
    if mode == "fill":
        fill(path)
    elif mode == "die":
        die(path, int(sys.argv[3]))
    else:
        write(path, int(sys.argv[3]), *map(float, sys.argv[4:]))
