"""Potentials that other packages register."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.build import bulk

from alchemlip import InputError, Mixture, load_potential
from alchemlip.backends.registry import known_potentials

MODULE = """
import torch
from alchemlip.backends import ModelCard


class Pairs:
    card = ModelCard("pairs", "pair potential", "analytic", "MIT", "", "none")
    cutoff = 4.0
    numbers = frozenset({29, 79})
    forms = ("expanded",)

    def __init__(self, name, device, dtype, variant):
        self.device, self.dtype = device, dtype
        self.strength = float(variant or 1)

    def node_energies(self, graph, edge_vectors, occupancies, form):
        tables = graph.tables(form)
        r = tables.on_edges(edge_vectors).norm(dim=1)
        number = graph.node_number.to(self.dtype)
        pair = number[tables.sender] * (1 - r / self.cutoff).clamp(min=0) ** 3
        weights = tables.edge_weights(occupancies)
        if weights is not None:
            pair = pair * weights[:, 0]
        zero = r.new_zeros(len(number))
        return self.strength * zero.index_add(0, tables.receiver, pair)


def unnamed(name, device, dtype, variant):
    return Pairs(name, device, dtype, variant)


def nothing(name, device, dtype, variant):
    return object()


def fails(name, device, dtype, variant):
    raise RuntimeError("no weights here")


number = 3
"""


def distribution(folder: Path, name: str, lines: dict[str, str]) -> None:
    """Write what an installed package leaves: its metadata, with entry points."""
    info = folder / f"{name}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    entries = "".join(f"{key} = {value}\n" for key, value in lines.items())
    (info / "entry_points.txt").write_text(f"[alchemlip.backends]\n{entries}")


@pytest.fixture
def others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "pairs_plugin.py").write_text(MODULE)
    (tmp_path / "damaged_plugin.py").write_text("import a_package_that_is_not_there\n")
    (tmp_path / "exits_plugin.py").write_text("raise SystemExit(3)\n")
    monkeypatch.syspath_prepend(tmp_path)
    inside = {name: f"pairs_plugin:{name}" for name in ("unnamed", "nothing", "fails", "number")}
    inside |= {"pairs": "pairs_plugin:Pairs", "gone": "pairs_plugin:gone"}
    distribution(tmp_path, "pairs-package", inside)
    distribution(tmp_path, "damaged-package", {"damaged": "damaged_plugin:Pairs"})
    distribution(tmp_path, "exiting-package", {"exits": "exits_plugin:Pairs"})
    distribution(tmp_path, "greedy-package", {"sevennet-0": "pairs_plugin:Pairs"})
    for name in ("one", "other"):
        distribution(tmp_path, name, {"twice": "pairs_plugin:Pairs"})
    importlib.invalidate_caches()
    yield tmp_path
    sys.modules.pop("pairs_plugin", None)


def test_a_registered_potential_is_loaded_by_name(others: Path) -> None:
    copper = Mixture.from_elements(bulk("Cu", "fcc", 3.6), {"Cu": "Cu0.5Au0.5"})
    single, double = (load_potential(name, device="cpu") for name in ("pairs", "pairs@2"))
    energy = single.evaluate(copper).energy
    assert energy > 0
    assert double.evaluate(copper).energy == pytest.approx(2 * energy, rel=1e-12)
    by_head = load_potential("Pairs", device="cpu", head="2")
    assert by_head.evaluate(copper).energy == pytest.approx(2 * energy, rel=1e-12)
    with pytest.raises(InputError, match="does not cover Na"):
        single.evaluate(Mixture.from_atoms(bulk("Na")))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("damaged", r"damaged-package 1.2 cannot be loaded \(ModuleNotFoundError"),
        ("exits", r"exiting-package 1.2 cannot be loaded \(SystemExit: 3\)"),
        ("gone", r"pairs-package 1.2 cannot be loaded \(AttributeError"),
        ("number", "cannot be called"),
        ("nothing", "is no backend .it has no card, cutoff"),
        ("fails", "cannot be loaded .RuntimeError: no weights here"),
        ("twice", "(one 1.2 and other 1.2|other 1.2 and one 1.2): uninstall all but one"),
        ("unheard-of", "neither a known potential nor a file"),
    ],
)
def test_a_broken_package_gets_one_sentence(others: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as refusal:
        load_potential(name, device="cpu")
    assert "\n" not in str(refusal.value)


def test_variants_are_given_once(others: Path) -> None:
    with pytest.raises(InputError, match="given twice"):
        load_potential("pairs@2", device="cpu", head="3")


def test_a_broken_package_harms_no_other(others: Path) -> None:
    entries = known_potentials()
    assert "sevennet-0" in {e.name for e in entries if not e.note.startswith("package")}
    by_name = {entry.name: entry for entry in entries if entry.note.startswith("package")}
    pairs = by_name["pairs"]
    assert pairs.card is not None
    assert (pairs.elements, pairs.error) == (("Cu", "Au"), "")
    assert by_name["unnamed"].error == ""
    broken = {name for name, entry in by_name.items() if entry.error}
    assert broken == {"damaged", "exits", "gone", "number", "twice", "sevennet-0"}
    assert "a name of alchemlip's own" in by_name["sevennet-0"].error


def test_models_lists_them(others: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from alchemlip.cli.models import command

    command(as_json=True)
    names = [entry["name"] for entry in json.loads(capsys.readouterr().out)]
    assert {"pairs", "damaged", "unnamed"} <= set(names)
    command(as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    assert "pair potential" in shown
    assert "pairs-package 1.2" in shown
    assert "damaged-package" in shown
