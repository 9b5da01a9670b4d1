"""Relaxed properties along a line or over a triangle of compositions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from alchemlip.calculations.base import Plan, Progress
from alchemlip.calculations.cost import EvaluationCount, TrialRelaxation
from alchemlip.calculations.parts import (
    Correlated,
    Points,
    Relaxing,
    Represented,
    WithPotentials,
)
from alchemlip.calculations.result import Result
from alchemlip.errors import InputError
from alchemlip.records.results import ResultFolder

if TYPE_CHECKING:
    from alchemlip.calculations.mixtures import Scanned
    from alchemlip.crystal.scanning import Conclude, ScanPoint
    from alchemlip.mixture.mixture import Mixture
    from alchemlip.potential.ensemble import Potential


class Scan(Represented, WithPotentials, Relaxing, Correlated):
    """Relax every composition on a line (two species) or a triangle (three).

    Writes result.json, scan.csv and scan.png. The same command continues a scan that was stopped.

    Example: alchemlip scan CeO2.cif --mix Ce=Ce,Zr --points 11
    """

    command: ClassVar[str] = "scan"

    points: Points = 11

    def plan(self) -> Plan:
        """Check everything and load the potential."""
        from alchemlip.calculations.potentials import refuse_unusable
        from alchemlip.crystal.scanning import composition_grid, scan, scan_inputs

        mixture, scanned = self.scanned()
        name, species = scanned.group, scanned.species
        chosen = self.relaxation()
        self.refuse_too_large(mixture)
        potential = self.potential()
        refuse_unusable(mixture, potential, chosen)
        title = f"{self.structure.stem}, {'/'.join(species)} on the {name} sites ({potential.name})"

        def compute(store: ResultFolder, progress: Progress) -> None:
            total = len(composition_grid(len(species), self.points))
            progress(len(store.points()), total)

            def on_point(point: ScanPoint, done: int, total: int) -> None:
                text = " ".join(f"{s} {x:.3f}" for s, x in zip(species, point.x, strict=True))
                progress(done, total, text)

            scan(
                mixture,
                potential,
                name,
                points=self.points,
                folder=store,
                settings=chosen,
                on_point=on_point,
                conclude=self.conclusion(mixture, scanned, potential),
            )

        def draw(result: Result) -> None:
            from alchemlip.crystal.level import scan_level
            from alchemlip.crystal.plotting import plot_scan

            x = composition_grid(len(species), self.points)
            level = scan_level(mixture.group(name).correlation).name
            plot_scan(x, species, list(result.points), result.folder / "scan.png", title, level)

        inputs = scan_inputs(mixture, potential, name, self.points, chosen)
        inputs |= self.further_inputs()
        return Plan(inputs, compute, self.source(potential), draw)

    def evaluations(self, trial: TrialRelaxation) -> EvaluationCount:
        """Return what the points take, which start from their neighbours' cells."""
        from alchemlip.crystal.scanning import composition_grid

        points = len(composition_grid(len(self.scanned()[1].species), self.points))
        low, high = trial.needed
        return EvaluationCount(points * max(1.0, 0.5 * low), points * 2 * high, True)

    def further_inputs(self) -> dict[str, Any]:
        """Return what determines the result beside the scan."""
        return {}

    def conclusion(
        self, mixture: Mixture, scanned: Scanned, potential: Potential
    ) -> Conclude | None:
        """Return the function that gives further results of the finished points; None for none."""
        return None

    def scanned(self) -> tuple[Mixture, Scanned]:
        """Return the mixture, and the group whose species are listed.

        Raises:
            InputError: if there is not one such group, or it has too many species.
        """
        mixture, scanned = self.mixture_to_scan()
        if len(scanned) != 1 or len(scanned[0].species) not in (2, 3):
            raise InputError(
                "a scan needs one group with two or three species: write one --mix such as "
                "Ce=Ce,Zr, and the others as formulas"
            )
        return mixture, scanned[0]
