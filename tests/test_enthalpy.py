"""Under pressure what is mixed, compared or given a temperature is E + P V, and is called so."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase.build import bulk
from ase.units import GPa, kB

from alchemlip import AlchemicalPotential, InputError, Mixture, RelaxationSettings, relax, scan
from alchemlip.cli import main
from alchemlip.crystal.enthalpy import FORMULA, named
from alchemlip.crystal.properties import mixing_free_energy
from alchemlip.crystal.response import property_values, response
from alchemlip.crystal.scanning import composition_grid
from alchemlip.disorder.equation_of_state import equation_of_state
from alchemlip.disorder.explicit import explicit_supercells
from alchemlip.disorder.hessian import occupancy_hessian
from alchemlip.disorder.local_relaxation import local_relaxation
from alchemlip.disorder.mixing import BinaryMixing, fit_mixing
from alchemlip.disorder.ordered_structures import with_site_classes
from alchemlip.disorder.size_effect import size_effect
from alchemlip.disorder.study import disorder_settings, study_disorder
from alchemlip.freeenergy.analysis import check_one_pressure
from alchemlip.freeenergy.vacancy_crystals import static_formation_energy, without_site
from pair_models import sphere_potential

SPHERES = sphere_potential()
PRESSURE = 8.0
TIGHT = {"fmax": 1e-6, "smax": 1e-6, "keep_symmetry": True, "max_steps": 1000}
Run = Callable[..., dict[str, Any]]


def alloy(x: float) -> Mixture:
    return Mixture.from_elements(bulk("Cu", "fcc", 3.7), {"Cu": {"Cu": 1.0 - x, "Au": x}})


def relaxed(x: float, pressure: float) -> Any:
    return relax(alloy(x), SPHERES, pressure=pressure, **TIGHT)


# ---------------------------------------------------------------------- what follows from H


def curve(pressure: float) -> tuple[BinaryMixing, np.ndarray]:
    """Mixing enthalpy of a scan as a smooth curve, and the volumes (P,) per site."""
    settings = RelaxationSettings(pressure=pressure, **TIGHT)
    points = scan(alloy(0.5), SPHERES, points=7, settings=settings)
    x = np.array([point.x[1] for point in points])
    key = named("mixing_energy_eV_per_atom", pressure)
    energies = [point.record[key] for point in points]
    assert named("mixing_energy_eV_per_atom", not pressure) not in points[3].record
    return fit_mixing(x, energies), np.array([point.record["volume_A3"] for point in points])


def test_the_common_tangent_moves_with_pressure() -> None:
    """dT_c/dP and the tangent's ends follow from the excess volume: d(H_mix)/dP = V_mix."""
    low, middle, high = (curve(pressure) for pressure in (4.9, 5.0, 5.1))
    x = np.linspace(0.0, 1.0, 7)
    volumes = middle[1]
    excess = fit_mixing(x, volumes - volumes[0] - x * (volumes[-1] - volumes[0]))
    step = 0.2 * GPa
    slope = (high[0].coefficients - low[0].coefficients) / step
    assert slope == pytest.approx(excess.coefficients, rel=2e-3, abs=2e-3)
    temperature = 0.7 * middle[0].critical_point()[1]  # type: ignore[index]
    ends = [item[0].miscibility_gaps(temperature) for item in (low, middle, high)]
    ((a, b),) = ends[1]
    # At a common tangent F'' dx = -(dG/dP of the phase, above its tangent)' : Clausius-Clapeyron.
    mixing, h = middle[0], 1e-5
    tangent = (excess.energy(b) - excess.energy(a)) / (b - a)
    for place, end in enumerate((a, b)):
        own = (excess.energy(end + h) - excess.energy(end - h)) / (2 * h)
        moved = (tangent - own) / mixing.curvature(end, temperature)
        found = (ends[2][0][place] - ends[0][0][place]) / step
        assert found == pytest.approx(float(moved), rel=0.02)
        assert abs(found * GPa) > 1e-4  # per GPa: the pressure does move it


def test_an_alloy_of_spheres_at_two_pressures() -> None:
    """The random alloy's quantities follow E + P V at their own volumes."""
    settings = disorder_settings(
        supercell=(3, 3, 3), bulk_modulus=True, explicit=2, explicit_relax=True
    )
    relaxation = RelaxationSettings(pressure=PRESSURE, **TIGHT)
    grid = composition_grid(2, 3)
    mixture = Mixture.from_elements(alloy(0.5).to_atoms(), {"Cu": {"Cu": 2 / 3, "Au": 1 / 3}})
    grid[1] = mixture.composition
    points = study_disorder(mixture, SPHERES, "Cu", grid, settings, relaxation)
    records = [point.record for point in points]
    middle = records[1]
    assert middle["external_pressure_GPa"] == PRESSURE
    for kind, name in (("random", "mixing"), ("mean_field", "mean_field_mixing")):
        enthalpy = [
            record[f"{kind}_energy_eV_per_atom"] + PRESSURE * GPa * record["volume_A3"]
            for record in records
        ]
        above = enthalpy[1] - (2 * enthalpy[0] + enthalpy[2]) / 3
        assert middle[f"{name}_enthalpy_eV_per_atom"] == pytest.approx(above, abs=1e-9)
        assert f"{name}_energy_eV_per_atom" not in middle
    for record in (records[0], records[2]):
        assert record["equation_of_state_volume_A3"] == pytest.approx(record["volume_A3"], rel=1e-4)
    # The supercells are relaxed at the pressure, to an enthalpy below that of ideal sites.
    gained = (
        middle["explicit_enthalpy_eV_per_atom"] - middle["explicit_relaxed_enthalpy_eV_per_atom"]
    )
    assert 0.0 < gained < 0.1
    (cell,) = explicit_supercells(
        points[1].mixture, SPHERES, (3, 1, 1), 1, np.random.default_rng(0),
        relaxation=RelaxationSettings(pressure=PRESSURE),
    )  # fmt: skip
    assert cell.relaxed_enthalpy_per_site is not None
    assert cell.relaxed_energy_per_site is not None
    per_site = (cell.relaxed_enthalpy_per_site - cell.relaxed_energy_per_site) / (PRESSURE * GPa)
    assert per_site == pytest.approx(middle["volume_A3"], rel=0.03)


def test_equation_of_state() -> None:
    """The best volume is where the pressure is the external one, and B is that of this volume."""
    result = relaxed(0.0, 20.0)
    fit = equation_of_state(result.mixture, SPHERES, pressure=20.0)
    volume = abs(float(np.linalg.det(result.mixture.cell)))
    assert fit.volume == pytest.approx(volume, rel=1e-5)
    assert fit.enthalpy == pytest.approx(result.enthalpy, abs=1e-6)
    pressures, volumes = (19.0, 21.0), []
    for pressure in pressures:
        volumes.append(abs(np.linalg.det(relaxed(0.0, pressure).mixture.cell)))
    modulus = -volume * 2.0 / (volumes[1] - volumes[0])
    assert fit.bulk_modulus == pytest.approx(modulus, rel=5e-3)
    with pytest.raises(InputError, match="enthalpy is least at an end"):
        equation_of_state(result.mixture, SPHERES, pressure=-20.0)


def test_size_effect_is_the_curvature_of_the_enthalpy() -> None:
    """At 10 GPa: the cell relaxes at its pressure."""
    settings = RelaxationSettings(pressure=10.0, **TIGHT)
    start = relax(alloy(0.5), SPHERES, settings).mixture.repeat((2, 1, 1))
    change = np.tile([-1.0, 1.0], (2, 1))
    effect = size_effect(start, SPHERES)
    fixed = np.einsum(
        "ia,iajb,jb", change, occupancy_hessian(start, SPHERES).full() + effect.correction, change
    )
    total = fixed + 2 * change[0] @ effect.strain @ change[0]
    step, enthalpies = 0.02, []
    for moved in (-step, 0.0, step):
        signed = np.full((2, 2), [0.5 - moved, 0.5 + moved])
        mixture = with_site_classes(start, "Cu", np.array([0, 0]), signed)
        enthalpies.append(relax(mixture, SPHERES, settings).enthalpy)
    curvature = (enthalpies[0] - 2 * enthalpies[1] + enthalpies[2]) / step**2
    assert total == pytest.approx(curvature, rel=2e-3)
    # The same uniform change by way of the random alloy's relaxation with its cell.
    assert local_relaxation(start, SPHERES, cell=True).energy < local_relaxation(
        start, SPHERES
    ).energy - 1e-4  # fmt: skip


def test_vacancy_at_rest() -> None:
    """H(N-1) - (N-1)/N H(N), whose derivative in the pressure is the formation volume."""
    crystal = Mixture.from_atoms(bulk("Cu", "fcc", 3.55)).repeat((2, 2, 2))
    found = []
    for pressure in (7.9, 8.0, 8.1):
        settings = RelaxationSettings(pressure=pressure, fmax=1e-6, smax=1e-6)
        static = static_formation_energy(crystal, 0, SPHERES, settings)
        assert "static_formation_energy_eV" not in static
        found.append(static["static_formation_enthalpy_eV"])
    perfect = relax(crystal, SPHERES, settings)
    vacant = relax(without_site(perfect.mixture, 0), SPHERES, settings)
    assert found[2] == pytest.approx(vacant.enthalpy - 7 / 8 * perfect.enthalpy, abs=1e-8)
    volumes = [abs(np.linalg.det(item.mixture.cell)) for item in (vacant, perfect)]
    slope = (found[2] - found[0]) / (0.2 * GPa)
    assert slope == pytest.approx(volumes[0] - 7 / 8 * volumes[1], rel=5e-3)


def test_phases_at_two_pressures_do_not_compare(tmp_path: Path) -> None:
    folders = []
    for pressure in (None, 0.0, 1.0):
        folders.append(tmp_path / f"run-{pressure}")
        folders[-1].mkdir()
        record = {"status": "finished", "results": {"pressure_GPa": pressure}}
        (folders[-1] / "result.json").write_text(json.dumps(record))
    check_one_pressure(folders[:2])
    with pytest.raises(InputError, match=r"\(0 GPa\) and .*\(1 GPa\) differ in pressure"):
        check_one_pressure(folders)


def test_gibbs_energy_of_mixing_for_designs() -> None:
    settings = RelaxationSettings(pressure=PRESSURE, **TIGHT)
    wanted = mixing_free_energy(alloy(0.5), SPHERES, "Cu", 600.0, settings)
    assert wanted.name == "mixing_gibbs_energy_eV_per_atom"
    ends = [relaxed(x, PRESSURE).enthalpy for x in (0.0, 1.0)]
    values, step = [], 1e-3
    for x in (0.3 - step, 0.3, 0.3 + step):
        result = relaxed(x, PRESSURE)
        ideal = kB * 600.0 * (x * np.log(x) + (1 - x) * np.log(1 - x))
        values.append(result.enthalpy - (1 - x) * ends[0] - x * ends[1] + ideal)
        (found,) = property_values(result.mixture, SPHERES, [wanted])
        assert found == pytest.approx(values[-1], abs=1e-8)
    middle = relaxed(0.3, PRESSURE).mixture
    (exact,) = response(middle, SPHERES, [wanted], settings)
    slope = (values[2] - values[0]) / (2 * step)
    assert exact.gradient @ [-1.0, 1.0] == pytest.approx(slope, rel=1e-4)


# ---------------------------------------------------------------------- the commands


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command at a pressure of 8 GPa with the spheres; return its record."""

    def load(*_: Any, **__: Any) -> AlchemicalPotential:
        return SPHERES

    monkeypatch.setattr("alchemlip.backends.loading.load_potential", load)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    bulk("Cu", "fcc", 3.65).write("cu.cif")

    def call(command: str, *options: str, code: int = 0) -> dict[str, Any]:
        out = Path(f"run-{command}")
        arguments = [command, "cu.cif", *options, "--out", str(out)]
        if command not in ("energy",):
            arguments += ["--pressure", f"{PRESSURE:g}"]
        monkeypatch.setattr("sys.argv", ["alchemlip", *arguments])
        ended = 0
        try:
            main()
        except SystemExit as stop:
            ended = int(stop.code or 0)
        printed = capsys.readouterr()
        assert ended == code, printed.err
        record = json.loads((out / "result.json").read_text()) if out.exists() else {}
        return {**record, "printed": printed.out, "error": " ".join(printed.err.split())}

    return call


MIXED = ("--mix", "Cu=Cu,Au")
HALF = ("--mix", "Cu=Cu0.5Au0.5")
SHORT = ("-T", "300", "--timestep", "2", "--equilibrate", "0.006", "--repeats", "2")


def report_of(folder: str) -> str:
    from alchemlip.reporting import write_report
    from report_runs import Page

    return Page(write_report(Path(folder)).read_text(encoding="utf-8")).text


def test_relax(run: Run) -> None:
    record = run("relax", *HALF, "--keep-symmetry")
    results = record["results"]
    expected = relaxed(0.5, PRESSURE)
    assert results["external_pressure_GPa"] == PRESSURE
    assert results["enthalpy_eV"] == pytest.approx(expected.enthalpy, abs=1e-6)
    work = results["enthalpy_eV_per_atom"] - results["energy_eV_per_atom"]
    assert work == pytest.approx(PRESSURE * GPa * results["volume_A3"])
    assert "enthalpy per site" in record["printed"]
    assert "Enthalpy" in report_of("run-relax")


def test_scan(run: Run) -> None:
    record = run("scan", *MIXED, "--points", "3")
    middle = record["points"][1]
    ends = [relaxed(x, PRESSURE).enthalpy for x in (0.0, 1.0)]
    above = relaxed(0.5, PRESSURE).enthalpy - sum(ends) / 2
    assert middle["mixing_enthalpy_eV_per_atom"] == pytest.approx(above, abs=1e-6)
    assert "largest_mixing_enthalpy_eV_per_atom" in record["results"]
    assert "mixing_energy" not in json.dumps(record)
    assert "mixing_enthalpy_eV_per_atom" in Path("run-scan/scan.csv").read_text()
    assert "Mixing enthalpy" in record["printed"]
    page = report_of("run-scan")
    assert "Mixing enthalpy" in page
    assert "ixing energy" not in page


def test_disorder(run: Run) -> None:
    options = ("--points", "4", "--supercell", "3,3,3", "--temperature", "900")
    record = run("disorder", *MIXED, *options)
    results, points = record["results"], record["points"]
    enthalpy = [
        point["random_energy_eV_per_atom"] + PRESSURE * GPa * point["volume_A3"] for point in points
    ]
    x = np.linspace(0.0, 1.0, 4)
    above = enthalpy - (1 - x) * enthalpy[0] - x * enthalpy[-1]
    critical = fit_mixing(x, above).critical_point()
    assert critical is not None
    assert results["critical_temperature_K"] == pytest.approx(critical[1], rel=1e-5)
    (entry,) = results["at_temperature"]
    ideal = kB * 900.0 * (np.log(1 / 3) / 3 + 2 * np.log(2 / 3) / 3)
    gibbs = entry["gibbs_energy_of_mixing_eV_per_atom"]
    assert gibbs[1] == pytest.approx(above[1] + ideal, abs=1e-9)
    assert "mixing_energy" not in json.dumps(record)
    assert "free_energy_of" not in json.dumps(record)
    assert "mixing enthalpy at 8 GPa" in record["printed"]
    page = report_of("run-disorder")
    assert "Gibbs energy of mixing" in page
    assert "ixing energy" not in page
    error = run("disorder", *MIXED, "--geometry", "as-given", code=2)["error"]
    assert "the pressure acts on the cell, which --geometry as-given keeps" in error


def test_order(run: Run) -> None:
    record = run("order", *HALF, "--repeat", "2,2,2", "--size-effect", "--structures", "1")
    results = record["results"]
    start = relaxed(0.5, PRESSURE).mixture
    settings = RelaxationSettings(pressure=PRESSURE, **TIGHT)
    h = [relax(start.with_composition("Cu", [1 - x, x]), SPHERES, settings).enthalpy
         for x in (0.48, 0.5, 0.52)]  # fmt: skip
    curvature = (h[0] - 2 * h[1] + h[2]) / 0.02**2
    hessian = occupancy_hessian(start.repeat((2, 2, 2)), SPHERES).full()
    change = np.array([-1.0, 1.0])
    own = np.einsum("a,ab,b", change, hessian[0, :, 0, :], change)
    effect = size_effect(start.repeat((2, 2, 2)), SPHERES)
    own += np.einsum("a,ab,b", change, effect.correction[0, :, 0, :], change)
    # V(0) has no on-site part: that belongs to the random alloy.
    expected = max(0.0, -0.25 * (curvature - own) / kB)
    assert results["separation_temperature_K"] == pytest.approx(expected, rel=0.01)
    work = results["random_enthalpy_eV_per_atom"] - results["random_energy_eV_per_atom"]
    assert work == pytest.approx(PRESSURE * GPa * results["volume_A3"])
    error = run("order", *HALF, "--no-relax", code=2)["error"]
    assert "which --no-relax keeps" in error


def test_design(run: Run) -> None:
    record = run("design", "--mix", "Cu=Cu0.9Au0.1", "--target", "volume=10~0.001")
    assert record["results"]["converged"]
    x = record["results"]["composition"]["Cu:Au"]
    volume = abs(np.linalg.det(relaxed(x, PRESSURE).mixture.cell))
    assert volume == pytest.approx(10.0, abs=2e-3)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("transmute", ("--to", "Cu=Ag", "--repeat", "1,1,2")),
        ("switch", ("--to-model", "other", "--repeat", "3,3,3")),
        ("frenkel-ladd", ("--repeat", "3,3,3", "--cell-time", "0.02", "--springs", "hessian")),
        ("vacancy", ("--repeat", "3,3,3", "--mu", "-1", "--spring", "2", "--no-static")),
    ],
)
def test_dynamics(run: Run, command: str, options: tuple[str, ...]) -> None:
    record = run(command, *options, *SHORT, "--switch", "0.01", "--cell", "volume")
    results = record["results"]
    assert results["pressure_GPa"] == PRESSURE
    assert record["inputs"]["dynamics"]["pressure_GPa"] == PRESSURE


# ---------------------------------------------------------------------- records of earlier versions


def test_a_record_that_left_it_out(run: Run) -> None:
    """A finished one is shown with a warning; an unfinished one is not continued."""
    options = (*MIXED, "--points", "2")
    record = run("scan", *options)
    file = Path("run-scan/result.json")
    assert FORMULA in record["inputs"]["formulas"]
    kept = json.loads(file.read_text())
    del kept["inputs"]["formulas"]
    file.write_text(json.dumps(kept))
    again = run("scan", *options)
    assert "finished by an earlier version" in again["error"]
    assert again["results"] == record["results"]
    assert "left P V out" in report_of("run-scan")
    kept["status"] = "interrupted"
    file.write_text(json.dumps(kept))
    error = run("scan", *options, code=2)["error"]
    assert "an earlier version began" in error
    assert FORMULA in error


def test_no_volume_no_pressure() -> None:
    atoms = bulk("Cu", "fcc", 3.7, cubic=True)
    atoms.pbc = False
    atoms.cell = None
    with pytest.raises(InputError, match="without a volume has no pressure of 5 GPa"):
        relax(Mixture.from_atoms(atoms), SPHERES, cell="fixed", pressure=5.0)
