"""What a report says of a campaign: where its runs are, and what the finished ones found."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemlip.campaigns.coordinates import axes_of, coordinates
from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.folder import CAMPAIGN, CampaignFolder
from alchemlip.campaigns.lines import Line, lines_of, panels, stacks
from alchemlip.campaigns.quantities import (
    drawn,
    label,
    level_of_theory,
    numeric_columns,
    scaled,
)
from alchemlip.campaigns.table import RunState, collected, run_state
from alchemlip.files import read_json_object
from alchemlip.reporting.content import (
    Figure,
    Findings,
    Quantity,
    ReportContent,
    Section,
    Trace,
    in_words,
    table_of,
)
from alchemlip.reporting.figures import axes, series, span_of

IN_WORDS = {
    "finished": "finished",
    "failed": "failed",
    "begun": "at work",
    "stopped": "begun, and nobody at work",
    "waiting": "waiting",
}
MOST_COLUMNS = 14
MOST_FIGURES = 4


def campaign_content(path: Path) -> ReportContent:
    """Return what the report of a campaign says, also while it goes on.

    Raises:
        InputError: if its record is damaged.
    """
    folder = CampaignFolder(path)
    runs = folder.runs()
    record = read_json_object(path / CAMPAIGN, "name the folder of another campaign")
    states = [run_state(folder, run) for run in runs]
    counts = Counter(state.state for state in states)
    finished = counts["finished"]
    status = "finished" if finished == len(runs) else "running"
    if counts["failed"] and not (counts["begun"] or counts["stopped"] or counts["waiting"]):
        status = "failed"
    failures = [state for state in states if state.state == "failed"]
    warnings = [
        f"{state.name} failed after {state.attempts} attempts: {state.error.rstrip('.')}."
        for state in failures[:5]
    ]
    if len(failures) > 5:
        warnings.append(f"{len(failures) - 5} more runs failed; the table below names them.")
    sections = [_results(folder, runs), Section("Where the runs are", tables=(_states(states),))]
    commands = ", ".join(sorted({run.command for run in runs}))
    file = str(record.get("file", ""))
    return ReportContent(
        title=f"Campaign {Path(file).stem or path.resolve().name}",
        command="campaign",
        status=status,
        status_sentence=", ".join(
            f"{counts[name]} {words}" for name, words in IN_WORDS.items() if counts[name]
        )
        + f" of {len(runs)} runs.",
        findings=Findings(
            (
                Quantity("Runs finished", str(finished), f"of {len(runs)}"),
                *(
                    Quantity(words[:1].upper() + words[1:], str(counts[name]))
                    for name, words in list(IN_WORDS.items())[1:]
                    if counts[name]
                ),
            ),
            tuple(warnings),
            tuple(section for section in sections if not section.empty),
        ),
        facts=_facts(folder, runs, commands, file, record),
        structure=None,
        command_line=tuple(
            map(shlex.quote, ["alchemlip", "campaign", "run", file, "--out", str(path)])
        ),
        reproduction=_reproduction(runs),
    )


def _facts(
    folder: CampaignFolder,
    runs: Sequence[CampaignRun],
    commands: str,
    file: str,
    record: Mapping[str, Any],
) -> tuple[tuple[str, str], ...]:
    facts = [("Calculation", commands), ("Campaign file", file)]
    varied = dict.fromkeys(name for run in runs for name in run.varied)
    if varied:
        facts.append(("What varies", ", ".join(varied)))
    for run in runs:
        found = folder.result(run.name)
        inputs, source = found.get("inputs") or {}, found.get("source") or {}
        if inputs.get("potential"):
            facts.append(("Potential of the first run", str(inputs["potential"])))
            facts.append(("Licence of the weights", str(source.get("potential_licence") or "")))
            facts.append(("Checksum of the weights", f"SHA-256 {inputs.get('potential_sha256')}"))
            break
    facts.append(("Written", str(record.get("written", ""))))
    return tuple((name, value) for name, value in facts if value)


def _results(folder: CampaignFolder, runs: Sequence[CampaignRun]) -> Section:
    rows = [row for row in collected(folder, runs) if row["state"] == "finished"]
    if not rows:
        return Section("Results")
    columns = list(dict.fromkeys(key for row in rows for key in row if key != "state"))
    chosen = columns[:MOST_COLUMNS]
    headings = [in_words(column) for column in chosen]
    table = table_of(
        "Results of the finished runs", headings, [[row.get(c) for c in chosen] for row in rows]
    )
    text = (
        ()
        if len(chosen) == len(columns)
        else (
            f"The table has the first {MOST_COLUMNS} of {len(columns)} columns; 'alchemlip "
            "campaign collect' writes all.",
        )
    )
    return Section("Results", text, _figures(rows, runs), (table,))


def _figures(rows: Sequence[Mapping[str, Any]], runs: Sequence[CampaignRun]) -> tuple[Figure, ...]:
    """Return what `alchemlip campaign collect` draws, against the first coordinate that varies."""
    places = {run.name: place for run, place in zip(runs, coordinates(runs), strict=True)}
    joined = [{**row, **places[str(row["run"])]} for row in rows]
    along = next(iter(axes_of([places[str(row["run"])] for row in rows])), None)
    if along is None or len({row[along] for row in joined} - {""}) < 2:
        return ()
    options = {name for run in runs for name in run.varied} | {"run", "state", "seed"}
    columns = drawn(runs[0].command, [n for n in numeric_columns(rows) if n not in options])
    others = [name for name in next(iter(places.values())) if name != along]
    lines = lines_of(joined, others)
    return tuple(
        _figure(column, name, along, lines, number)
        for number, (column, name) in enumerate(panels(columns, joined)[:MOST_FIGURES])
    )


def _figure(column: str, name: str, along: str, lines: Sequence[Line], number: int) -> Figure:
    found = [(line.name, stacks(line, column, along)) for line in lines]
    means = [stack.mean for _, line in found for stack in line]
    factor, words = scaled(column, max(map(abs, means), default=0.0))
    if name:
        words = words.replace(words.partition(" (")[0], name)
    quantity, _, unit = words.partition(" (")
    heading = f"Lattice parameter {name}" if name else quantity[:1].upper() + quantity[1:]
    traces: list[Trace] = [
        series(
            [stack.place for stack in line],
            [factor * stack.mean for stack in line],
            title or quantity,
            index,
            error=[factor * s.bar for s in line] if any(s.bar for s in line) else None,
            hollow=[not stack.converged for stack in line],
            showlegend=len(found) > 1,
        )
        for index, (title, line) in enumerate(found)
    ]
    told = dict.fromkeys(stack.told for _, line in found for stack in line if stack.told)
    text = span_of(heading, [factor * m for m in means], unit[:-1])
    level = level_of_theory(column, [row for line in lines for row in line.rows])
    if level:
        text += f" Level of theory: {level}."
    if told:
        text += f" Bars: {'; '.join(told)}."
    return Figure(
        f"results-{number}",
        f"{heading} against {label(along).partition(' (')[0]}",
        text,
        tuple(traces),
        axes(label(along), words),
        table_of(
            f"{heading} against {label(along)}",
            ("line", label(along), words, "±", "runs"),
            [
                (title or "all", s.place, factor * s.mean, factor * s.bar or None, len(s.values))
                for title, line in found
                for s in line
            ],
        ),
    )


def _states(states: Sequence[RunState]) -> Any:
    rows = [
        (
            state.name,
            IN_WORDS[state.state],
            None if state.fraction is None else f"{state.fraction:.0%}",
            state.attempts,
            state.error or None,
        )
        for state in states
    ]
    return table_of("Runs", ("run", "state", "done", "attempts", "error"), rows, most=500)


def _reproduction(runs: Sequence[CampaignRun]) -> tuple[Any, ...]:
    files = {name: sum_ for run in runs for name, sum_ in run.files.items()}
    tables = []
    if files:
        tables.append(table_of("Input files", ("file", "SHA-256"), list(files.items())))
    rows = [
        (run.name, run.options.get("seed"), ", ".join(f"{k} {v}" for k, v in run.varied.items()))
        for run in runs
    ]
    tables.append(table_of("Seeds and what varies", ("run", "seed", "varied"), rows))
    return tuple(tables)
