"""A results folder as it is: read, never written, whatever the status of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from alchemlip.mixture.mixture import Mixture
from alchemlip.records.results import POINTS, read_record
from alchemlip.records.step_log import STEPS, read_lines

RECORD = "run.sqlite"


@dataclass(frozen=True)
class RunFiles:
    """What a results folder holds.

    Attributes:
        folder: where.
        record: ``result.json``.
        points: lines of ``points.jsonl``, or the points of ``result.json``.
        steps: lines of ``steps.jsonl``.
        has_samples: whether there is a run record, ``run.sqlite``.
    """

    folder: Path
    record: Mapping[str, Any]
    points: Sequence[Mapping[str, Any]] = ()
    steps: Sequence[Mapping[str, Any]] = field(default=())
    has_samples: bool = False

    @property
    def command(self) -> str:
        """Name of the calculation."""
        return str(self.record.get("command", ""))

    @property
    def status(self) -> str:
        """``running``, ``finished``, ``failed`` or ``interrupted``."""
        return str(self.record.get("status", "running"))

    @property
    def inputs(self) -> Mapping[str, Any]:
        """What determines the result."""
        return self._mapping("inputs")

    @property
    def results(self) -> Mapping[str, Any]:
        """What was found; empty before the end."""
        return self._mapping("results")

    @property
    def source(self) -> Mapping[str, Any]:
        """Where structure and potential came from."""
        return self._mapping("source")

    def _mapping(self, key: str) -> Mapping[str, Any]:
        value = self.record.get(key)
        return value if isinstance(value, Mapping) else {}


def read_run(folder: Path) -> RunFiles:
    """Read a results folder, also while its run goes on.

    Raises:
        InputError: if there is no readable result.json.
    """
    record = read_record(folder)
    points = read_lines(folder / POINTS) or list(record.get("points") or [])
    return RunFiles(folder, record, points, read_lines(folder / STEPS), (folder / RECORD).is_file())


def shown_mixture(run: RunFiles) -> tuple[Mixture, str] | None:
    """Return the crystal that a report shows, and what state of it that is; None if there is none.

    Raises:
        InputError: if a file of the run that holds it is damaged.
    """
    from alchemlip.mixture.structure_files import read_structure

    for name, words in (("relaxed.json", "Relaxed."), ("designed.json", "As designed, relaxed.")):
        if (run.folder / name).is_file():
            return read_structure(run.folder / name), words
    with_mixture = [point for point in run.points if "mixture" in point]
    if with_mixture:
        return _most_mixed(run, with_mixture)
    if "mixture" not in run.inputs:
        return None
    mixture = Mixture.from_dict(run.inputs["mixture"])
    if run.command == "vacancy":
        return _half_vacant(mixture, int(run.inputs["site"])), (
            "The atom that leaves is shown half there, as it is halfway along the path."
        )
    if "start" in run.inputs and run.inputs["start"] != run.inputs["end"]:
        middle = (np.array(run.inputs["start"]) + np.array(run.inputs["end"])) / 2
        return at(mixture, middle), "As it is halfway along the path, at λ = 1/2."
    return mixture, "As given."


def _most_mixed(run: RunFiles, points: Sequence[Mapping[str, Any]]) -> tuple[Mixture, str]:
    """Return the point nearest to equal weights."""
    mixtures = [Mixture.from_dict(point["mixture"]) for point in points]
    chosen = max(mixtures, key=lambda mixture: (mixture.composition**2).sum() * -1.0)
    weights = ", ".join(
        f"{label.rpartition(':')[2]} {weight:.3g}"
        for label, weight in zip(chosen.component_labels, chosen.composition, strict=True)
    )
    return chosen, f"Relaxed, one composition of those calculated: {weights}."


def at(mixture: Mixture, composition: npt.ArrayLike) -> Mixture:
    """Return a mixture at a composition given flat, in the order of its component labels."""
    values = np.asarray(composition, dtype=float)
    weights = {group.name: values[mixture.components_of(group.name)] for group in mixture.groups}
    return mixture.with_compositions(weights)


def _half_vacant(mixture: Mixture, site: int) -> Mixture:
    occupancies = mixture.occupancies()[site]
    if len(occupancies) != 1:  # a mixed site shows its own species
        return mixture
    species = next(iter(occupancies))
    return mixture.mixed({(site,): {species: 0.5, "Va": 0.5}})
