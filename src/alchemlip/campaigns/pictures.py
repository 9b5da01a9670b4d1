"""Which pictures a campaign's results make: against each number that varied, and points by run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemlip.campaigns.coordinates import Coordinate, axes_of, coordinates
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.plots import plot_results
from alchemlip.campaigns.quantities import POINTS, drawn, is_error, label, numeric_columns
from alchemlip.errors import InputError

FOLDER = "plots"
COMPOSITION = "composition."

Rows = Sequence[Mapping[str, Any]]


def draw_campaign(
    path: Path,
    runs: Sequence[CampaignRun],
    rows: Rows,
    points: Rows,
    *,
    plot: Sequence[str] = (),
    against: Sequence[str] = (),
) -> list[Path]:
    """Draw the results of the finished runs; what cannot be drawn yet is left out.

    Args:
        path: folder of the campaign; pictures go to ``plots``.
        runs: of the campaign.
        rows: their rows of the table, in the same order.
        points: rows of the points of scans, with the names of their runs.
        plot: results to draw; those of `quantities.drawn` if none.
        against: varied options, compositions such as ``Na:K``, or results; every number that
            varied if none, and where there is none the texts.

    Returns:
        The files written.

    Raises:
        InputError: if a result or a coordinate does not exist.
    """
    places = coordinates(runs)
    finished = [n for n, row in enumerate(rows) if row["state"] == "finished"]
    if not finished:
        return []
    done = [rows[n] for n in finished]
    where = [places[n] for n in finished]
    options = {name for run in runs for name in run.varied} | {"run", "state", "seed"}
    columns = [name for name in numeric_columns(done) if name not in options]
    of_points = [name for name in numeric_columns(points) if name not in options]
    _refuse_unknown(plot, [*columns, *of_points], "result")
    _refuse_unknown(against, [*where[0], *columns], "quantity that varied")
    command = runs[0].command
    chosen = [name for name in plot if name in columns] if plot else drawn(command, columns)
    files = []
    for name in against or axes_of(where):
        shown = [column for column in chosen if column != name]
        values = [place.get(name, row.get(name)) for place, row in zip(where, done, strict=True)]
        if shown and len(set(values) - {None, ""}) > 1:
            file = _file(path, f"against-{name}")
            title = f"{command} of {_material(runs)}, against {label(name)}"
            title = title.partition(" (")[0]
            files.append(plot_results(shown, name, done, where, file, title))
    chosen = [name for name in plot or POINTS if name in of_points]
    files += _draw_points(path, runs, places, points, chosen, command)
    return files


def _draw_points(
    path: Path,
    runs: Sequence[CampaignRun],
    places: Sequence[Mapping[str, Coordinate]],
    points: Rows,
    columns: Sequence[str],
    command: str,
) -> list[Path]:
    """Overlay the points of all runs along the one composition that they scan, if it is one."""
    along = _scanned(points)
    if not columns or along is None:
        return []
    by_name = {run.name: place for run, place in zip(runs, places, strict=True)}
    file = _file(path, "points")
    title = f"{command} of {_material(runs)}"
    named = [{**row, along: row[COMPOSITION + along]} for row in points]
    where: list[dict[str, Coordinate]] = [
        {**by_name[row["run"]], along: float(row[along])} for row in named
    ]
    return [plot_results(columns, along, named, where, file, title)]


def _scanned(points: Rows) -> str | None:
    """Return the component whose weight goes along a line in every run; None for triangles."""
    by_run: dict[str, list[Mapping[str, Any]]] = {}
    for row in points:
        by_run.setdefault(row["run"], []).append(row)
    found = set()
    for rows in by_run.values():
        names = [name for name in rows[0] if name.startswith(COMPOSITION)]
        changing = [name for name in names if len({row.get(name) for row in rows}) > 1]
        if len(changing) != 2:
            return None
        found.add(changing[1].removeprefix(COMPOSITION))
    return found.pop() if len(found) == 1 else None


def _material(runs: Sequence[CampaignRun]) -> str:
    names = list(dict.fromkeys(Path(str(run.options["structure"])).stem for run in runs))
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} structures"


def _file(path: Path, name: str) -> Path:
    folder = path / FOLDER
    folder.mkdir(exist_ok=True)
    return folder / f"{re.sub(r'[^A-Za-z0-9.+-]+', '-', name)}.png"


def _refuse_unknown(asked: Iterable[str], known: Sequence[str], what: str) -> None:
    for name in asked:
        if name not in known:
            names = [item for item in dict.fromkeys(known) if not is_error(item)]
            close = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
            listed = ", ".join([*close, *(item for item in names if item not in close)][:12])
            raise InputError(
                f"there is no {what} {name!r} in this campaign: choose one of {listed}"
                + (", ..." if len(names) > 12 else "")
            )
