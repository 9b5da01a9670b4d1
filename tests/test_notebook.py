"""What notebooks show of objects: their numbers, and names as text."""

from __future__ import annotations

import re

import numpy as np
from ase.build import bulk

from alchemlip import Mixture
from alchemlip.crystal.relaxation import relax
from alchemlip.crystal.scanning import scan
from alchemlip.freeenergy.estimators import estimate_from_work
from alchemlip.notebook import html_table
from pair_models import pair_potential


def numbers(html: str) -> list[float]:
    return [float(cell) for cell in re.findall(r"<td>(-?[0-9.e+-]+)</td>", html)]


def salt() -> Mixture:
    return Mixture.from_elements(bulk("NaCl", "rocksalt", 5.6), {"Na": {"Na": 0.75, "K": 0.25}})


def test_a_mixture_shows_its_groups_and_runs_nothing() -> None:
    atoms = bulk("NaCl", "rocksalt", 5.6)
    evil = "<script>alert(1)</script>"
    mixture = Mixture.from_elements(atoms, {evil: {"Na": 0.75, "K": 0.25}}, groups={evil: [0]})
    html = mixture._repr_html_()
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert "Na 0.75, K 0.25" in html
    assert "2 sites, 1 of them pure" in html


def test_relaxations_and_scans_show_their_numbers() -> None:
    potential = pair_potential()
    result = relax(salt(), potential, cell="fixed", max_steps=3)
    shown = numbers(result._repr_html_())
    assert np.isclose(shown[0], result.evaluation.energy, rtol=1e-5)
    assert np.isclose(shown[1], result.evaluation.energy / 2, rtol=1e-5)
    points = scan(salt(), potential, points=3)
    html = points._repr_html_()
    assert html.count('scope="row"') == len(points) == 3
    for point in points:
        assert f"{point.record['energy_eV_per_atom']:.6g}" in html


def test_an_estimate_shows_its_error() -> None:
    works = np.array([0.11, 0.09, 0.1])
    estimate = estimate_from_work(works, works - 0.18, 300.0, np.random.default_rng(0))
    html = estimate._repr_html_()
    assert f"{estimate.value_eV:.6g}" in html
    assert f"{estimate.standard_error_eV:.6g}" in html
    single = estimate_from_work(works[:1], works[:1], 300.0, np.random.default_rng(0))
    assert "standard error" not in single._repr_html_()


def test_long_tables_end() -> None:
    html = html_table("many", ("n",), [(n,) for n in range(100)])
    assert html.count("<tr>") == 61
    assert "and 40 more" in html
