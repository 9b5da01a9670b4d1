"""The random alloy's energy, free energy of mixing, miscibility gap."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from alchemlip.calculations import cost
from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.fields import Option
from alchemlip.calculations.parts import (
    HIGHEST_TEMPERATURE_K,
    KeptSymmetry,
    OfStructure,
    Points,
    Relaxing,
    RepeatsText,
    Seed,
    Smax,
    WithPotential,
    refuse_pressure,
)
from alchemlip.calculations.result import Result
from alchemlip.calculations.texts import parse_repeats
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder

if TYPE_CHECKING:
    from alchemlip.arrays import FloatArray
    from alchemlip.calculations.mixtures import Scanned
    from alchemlip.crystal.relaxation import RelaxationSettings
    from alchemlip.disorder.study import DisorderPoint, DisorderSettings
    from alchemlip.mixture.mixture import Mixture


class Disorder(WithPotential, Relaxing, OfStructure):
    """Energy of the random alloy to second order, from one small mixed cell.

    Writes result.json, disorder.csv and disorder.png. The same command continues a run that was
    stopped.

    Example: alchemlip disorder CeO2.cif --mix Ce=Ce,Zr --points 5 --temperature 1000
    """

    command: ClassVar[str] = "disorder"

    points: Points = 5
    at: Annotated[
        list[Annotated[float, Field(gt=0, lt=1)]],
        Field(description="Weight of the second species instead of --points; repeatable."),
    ] = []
    geometry: Annotated[
        Literal["mean-field", "random", "as-given"],
        Field(
            description="Relax the cell in mean-field, under the random alloy's own forces "
            "(random), or take it as-given."
        ),
    ] = "mean-field"
    supercell: Annotated[
        RepeatsText | None,
        Field(description="Repeats, e.g. 2,2,2; chosen by --tolerance if left out."),
    ] = None
    tolerance: Annotated[
        float,
        Field(
            gt=0,
            le=1e4,
            description="Change of the energy at which the supercell is large enough, meV per "
            "site.",
        ),
        Option(unit="meV per site"),
    ] = 1.0
    order: Annotated[
        Literal["second", "single_site"],
        Field(description="second, or single_site: all orders of one site at a time."),
    ] = "second"
    local_relaxation: Annotated[
        bool, Field(description="Energy of relaxing around neighbours.")
    ] = False
    bulk_modulus: Annotated[
        bool, Field(description="Volume and bulk modulus of the random alloy.")
    ] = False
    vibrations: Annotated[
        bool,
        Field(description="Quasi-harmonic free energy with local relaxation; needs --supercell."),
    ] = False
    displacement: Annotated[
        float,
        Field(gt=0, le=1, description="Of the force constants of --vibrations, A."),
        Option(unit="A"),
    ] = 0.2
    temperature: Annotated[
        list[Annotated[float, Field(ge=0, le=HIGHEST_TEMPERATURE_K)]],
        Field(description="Free energy of mixing and gap at this many K; repeatable."),
        Option(unit="K"),
    ] = []
    explicit: Annotated[
        int, Field(ge=0, le=10000, description="Explicit supercells to check against.")
    ] = 0
    explicit_kind: Annotated[
        Literal["random", "sqs"], Field(description="random, or sqs (needs icet).")
    ] = "random"
    explicit_relax: Annotated[bool, Field(description="Also relax the explicit supercells.")] = (
        False
    )
    seed: Seed = 0
    smax: Smax = 1e-2
    keep_symmetry: KeptSymmetry = True

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.disorder.study import study_disorder, study_inputs

        mixture, scanned = self._scanned()
        name, species = scanned.group, scanned.species
        x = self._compositions(len(species))
        self._check(len(species))
        chosen, relaxing = self.study(), self.relaxation()
        self.refuse_too_large(mixture, chosen.supercell or (1, 1, 1), "second")
        potential = self.potential()
        refuse_unusable(mixture, potential, self.first_relaxation())
        fraction = len(mixture.group(name).sites) / mixture.n_sites
        title = f"{self.structure.stem}, {'/'.join(species)} on the {name} sites ({potential.name})"

        def compute(store: ResultFolder, progress: Progress) -> None:
            progress(len(store.points()), len(x))

            def on_point(point: DisorderPoint, done: int, total: int) -> None:
                text = " ".join(f"{s} {w:.3f}" for s, w in zip(species, point.x, strict=True))
                progress(done, total, text)

            finished = study_disorder(
                mixture, potential, name, x, chosen, relaxing, store, on_point
            )
            self._finish(finished, name, x, fraction, store)

        def draw(result: Result) -> None:
            self._draw(result, x, species, fraction, title)

        inputs = study_inputs(mixture, potential, name, x, chosen, relaxing)
        inputs["temperatures_K"] = list(self.temperature)
        return Plan(inputs, compute, self.source(potential), draw)

    def study(self) -> DisorderSettings:
        """Return what is computed at every composition."""
        from alchemlip.disorder.study import disorder_settings

        repeats = None if self.supercell is None else parse_repeats(self.supercell, "--supercell")
        return disorder_settings(
            geometry=self.geometry,
            order=self.order,
            supercell=repeats,
            tolerance=1e-3 * self.tolerance,
            bulk_modulus=self.bulk_modulus,
            local_relaxation=self.local_relaxation,
            vibrations=self.vibrations,
            displacement=self.displacement,
            explicit=self.explicit,
            explicit_kind=self.explicit_kind,
            explicit_relax=self.explicit_relax,
            seed=self.seed,
        )

    def first_relaxation(self) -> RelaxationSettings | None:
        """Return how the mixed cell is relaxed."""
        return None if self.geometry == "as-given" else self.relaxation()

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount:
        """Return what the compositions typically take."""
        from alchemlip.disorder.quasiharmonic import EXPANSIONS

        relaxing = trial.needed if self.first_relaxation() is not None else (1.0, 1.0)
        ends = len(self._scanned()[1].species)
        points = len(self._compositions(ends))
        mixed = points - ends
        total = cost.times((points, points), relaxing)
        each = cost.FLUCTUATION
        if self.geometry == "random":
            each = cost.plus(each, cost.times(relaxing, cost.FLUCTUATION))
        if self.bulk_modulus:
            each = cost.plus(each, cost.times((5, 9), cost.FLUCTUATION))
        cells = cost.CELLS
        if self.supercell is not None:
            cells = (float(math.prod(parse_repeats(self.supercell, "--supercell"))),) * 2
        if self.local_relaxation:
            each = cost.plus(each, cost.times(cells, cost.FORCE_CONSTANTS))
        if self.explicit:
            one = cost.RELAXED_AROUND if self.explicit_relax else (2.0, 3.0)
            number = float(self.explicit)
            each = cost.plus(each, cost.times(cost.times((number, number), one), cells))
        total = cost.plus(total, cost.times((mixed, mixed), each))
        if self.vibrations:
            # Of pure crystals, too, at every volume.
            volume = cost.plus(relaxing, cost.times(cells, cost.FORCE_CONSTANTS))
            volumes = (float(len(EXPANSIONS)),) * 2
            total = cost.plus(total, cost.times((points, points), cost.times(volumes, volume)))
            each = cost.times(volumes, cost.FLUCTUATION)
            total = cost.plus(total, cost.times((mixed, mixed), each))
        return EvaluationCount(*total, True)

    def _scanned(self) -> tuple[Mixture, Scanned]:
        mixture, scanned = self.mixture_to_scan()
        if len(scanned) != 1 or len(scanned[0].species) not in (2, 3):
            raise InputError(
                "a random alloy needs one group with two or three species: write one --mix such "
                "as Ce=Ce,Zr (and --at 0.5 for one composition), and the others as formulas"
            )
        return mixture, scanned[0]

    def _compositions(self, n_species: int) -> FloatArray:
        """Return the grid, or the pure ends and the compositions asked for."""
        import numpy as np

        from alchemlip.crystal.scanning import composition_grid

        if not self.at:
            return composition_grid(n_species, self.points)
        if n_species != 2:
            raise InputError("--at gives the weight of the second of two species: use --points")
        inside = [[1.0 - value, value] for value in sorted(set(self.at))]
        return np.array([[1.0, 0.0], *inside, [0.0, 1.0]])

    def _check(self, n_species: int) -> None:
        refuse_pressure(self.pressure, "--geometry as-given" if self.geometry == "as-given" else "")
        if self.vibrations and self.supercell is None:
            raise InputError(
                "--vibrations are compared between compositions in one supercell: give --supercell"
            )
        if self.temperature and n_species != 2:
            raise InputError("--temperature draws common tangents of two species: give two")

    def _finish(
        self,
        finished: list[DisorderPoint],
        group: str,
        x: FloatArray,
        fraction: float,
        store: ResultFolder,
    ) -> None:
        """Write the table, the mixed cells as CIFs, and the record."""
        from alchemlip.crystal.plausibility import mixture_warnings
        from alchemlip.disorder.conclusions import concluded
        from alchemlip.mixture.structure_files import write_point_cifs

        records = [point.record for point in finished]
        results, _ = concluded(x, records, self.temperature, fraction)
        named = [{"index": i, **record} for i, record in enumerate(records)]
        store.write_csv("disorder.csv", [_table_row(row) for row in named])
        write_point_cifs([point.mixture for point in finished], group, store.path)
        told = [text for point in finished for text in mixture_warnings(point.mixture)]
        store.finish(results, named, told)

    def _draw(
        self, result: Result, x: FloatArray, species: list[str], fraction: float, title: str
    ) -> None:
        from alchemlip.disorder.conclusions import concluded

        picture, records = result.folder / "disorder.png", list(result.points)
        if len(species) == 2:
            from alchemlip.disorder.plotting import plot_disorder

            _, curve = concluded(x, records, (), fraction)
            plot_disorder(
                x[:, 1],
                species,
                records,
                picture,
                curve=curve,
                temperatures=self.temperature,
                title=title,
            )
        else:
            from alchemlip.crystal.plotting import plot_scan

            level = "random alloy at ideal sites, at rest"
            plot_scan(x, species, records, picture, title, level)


def _table_row(record: dict[str, Any]) -> dict[str, Any]:
    from alchemlip.crystal.report import flat_row

    nested = ("supercell_trials", "quasi_harmonic")
    row = flat_row({key: value for key, value in record.items() if key not in nested})
    return row | {"supercell": "x".join(map(str, record["supercell"] or []))}
