"""What a report says of a campaign: where its runs are, and what the finished ones found."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alchemlip.campaigns.expansion import CampaignRun
from alchemlip.campaigns.folder import CAMPAIGN, CampaignFolder
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

MAIN_RESULTS = (
    ("free_energy_eV_per_atom", "standard_error_eV_per_atom", "free energy (eV/atom)"),
    ("free_energy_eV", "standard_error_eV", "free energy (eV)"),
    ("energy_eV_per_atom", "", "energy (eV/site)"),
    ("critical_temperature_K", "", "critical temperature (K)"),
    ("largest_mixing_energy_eV_per_atom", "", "largest mixing energy (eV/site)"),
)
"""Result, its error, and its name, the first that a campaign has."""
IN_WORDS = {
    "finished": "finished",
    "failed": "failed",
    "begun": "at work or cut off",
    "waiting": "waiting",
}
MOST_COLUMNS = 14
MOST_SERIES = 4


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
    if counts["failed"] and not (counts["begun"] or counts["waiting"]):
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
    figure = _figure(rows, runs)
    return Section("Results", text, (figure,) if figure else (), (table,))


def _figure(rows: Sequence[Mapping[str, Any]], runs: Sequence[CampaignRun]) -> Figure | None:
    """Return the main result against the first number that varies; None if there is none."""
    main = next((item for item in MAIN_RESULTS if any(item[0] in row for row in rows)), None)
    names = [
        name for name in dict.fromkeys(n for run in runs for n in run.varied) if name != "replica"
    ]
    along = next((n for n in names if all(_is_number(row.get(n)) for row in rows)), None)
    if main is None or along is None or len(rows) < 2:
        return None
    key, error, label = main
    others = [name for name in names if name != along]
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if _is_number(row.get(key)):
            groups.setdefault(", ".join(str(row.get(name)) for name in others), []).append(row)
    if len(groups) > MOST_SERIES:
        groups = {"all runs": [row for group in groups.values() for row in group]}
    traces: list[Trace] = []
    for number, (name, group) in enumerate(groups.items()):
        ordered = sorted(group, key=lambda row: row[along])
        errors = [row.get(error) for row in ordered] if error else None
        traces.append(
            series(
                [row[along] for row in ordered],
                [row[key] for row in ordered],
                name or label,
                number,
                mode="markers" if name == "all runs" else "lines+markers",
                error=errors,
                showlegend=len(groups) > 1,
            )
        )
    values = [row[key] for group in groups.values() for row in group]
    return Figure(
        "results",
        f"{label[:1].upper()}{label[1:]} against {along}",
        span_of(label.split(" (")[0].capitalize(), values, label.rpartition("(")[2].rstrip(")")),
        tuple(traces),
        axes(along, label),
        table_of(
            f"{label} against {along}",
            ("run", along, label, "standard error"),
            [(row["run"], row[along], row.get(key), row.get(error)) for row in rows],
        ),
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
