"""Results folders for the tests of reports, made without a potential."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.freeenergy.estimators import estimate_from_work
from alchemlip.freeenergy.recorded import legs_of, works_of
from recorded_runs import TEMPERATURE, switching_record

SOURCE = {
    "structure_file": "salt.cif",
    "structure_sha256": "ab" * 32,
    "potential_weights": "made here",
    "potential_licence": "MIT",
    "potential_reference": "nobody",
}


def vacant_salt(group: str = "cations") -> Mixture:
    """Rocksalt whose cations are Na 0.6, K 0.3, vacancy 0.1."""
    atoms = bulk("NaCl", "rocksalt", 5.7, cubic=True)
    return Mixture.from_elements(
        atoms,
        {group: {"Na": 0.6, "K": 0.3, "Va": 0.1}},
        groups={group: [0, 2, 4, 6]},
    )


def write_result(folder: Path, **values: Any) -> None:
    """Write ``result.json`` of a run."""
    record = {
        "status": "running",
        "command": "transmute",
        "started": "2026-01-02T03:04:05+00:00",
        "command_line": ["/usr/bin/alchemlip", "transmute", "salt.cif", "--seed", "3"],
        "versions": {"alchemlip": "0.1.0", "python": "3.11.7"},
        "source": SOURCE,
        "inputs": {},
        "results": {},
        **values,
    }
    (folder / "result.json").write_text(json.dumps(record))


def switching_run(
    folder: Path, *, repeats: int = 14, finished: bool = True, group: str = "cations", **source: str
) -> Path:
    """A transmutation with random works, finished or cut off in its last leg."""
    folder.mkdir()
    record = switching_record(folder / "run.sqlite", repeats, cut=not finished)
    forward, backward = works_of(legs_of(record))
    record.close()
    estimate = estimate_from_work(forward, backward, TEMPERATURE, np.random.default_rng(0))
    results = {
        **estimate.results(),
        "terms": {"work": estimate.value_eV, "mass": 0.0},
        "temperature_K": TEMPERATURE,
        "repeats": len(forward),
        "method": "nonequilibrium switching, BAR",
    }
    write_result(
        folder,
        status="finished" if finished else "running",
        ended="2026-01-02T04:05:06+00:00",
        source=SOURCE | source,
        inputs={
            "mixture": vacant_salt(group).to_dict(),
            "dynamics": {"temperature_K": TEMPERATURE, "timestep_fs": 2.0, "cell": "fixed"},
            "switching": {"repeats": repeats, "seed": 3},
            "potential": "pair",
            "potential_variant": "",
            "potential_sha256": "cd" * 32,
            "dtype": "float64",
        },
        results=results if finished else {},
    )
    return folder


class Page(HTMLParser):
    """What a test asks of a page.

    Attributes:
        tags: (name, attributes) in order.
        texts: text by the element that it stands in, scripts and style left out.
        scripts: content of the script elements.
    """

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.scripts: list[str] = []
        self._stack: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br", "img"):
            self._stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._stack and self._stack.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        here = self._stack[-1] if self._stack else ""
        if here == "script":
            self.scripts.append(data)
        elif here != "style" and data.strip():
            self.texts.append((here, " ".join(data.split())))

    @property
    def text(self) -> str:
        """All that a person reads."""
        return " ".join(text for _, text in self.texts)

    @property
    def figures(self) -> list[dict[str, Any]]:
        """The plots, as the page's script reads them."""
        found: list[dict[str, Any]] = json.loads(self.scripts[0])
        return found

    def figure(self, name: str) -> dict[str, Any]:
        return next(figure for figure in self.figures if figure["name"] == name)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def headline(self) -> float:
        """The number in the largest type."""
        start = self.html.index('class="value"')
        text = self.html[start:].split(">", 1)[1].split("<", 1)[0]
        return float(text.strip().replace("−", "-"))
