"""From the files of a folder to what its report says."""

from __future__ import annotations

import re
import shlex
from calendar import month_name
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from alchemlip.campaigns.folder import CAMPAIGN
from alchemlip.errors import InputError
from alchemlip.mixture import Mixture
from alchemlip.reporting.alloys import disorder_findings, order_findings
from alchemlip.reporting.campaign import campaign_content
from alchemlip.reporting.concentrations import concentration_findings
from alchemlip.reporting.content import (
    Figure,
    Findings,
    ReportContent,
    Table,
    in_words,
    table_of,
    text_of,
)
from alchemlip.reporting.designs import design_findings
from alchemlip.reporting.freeenergies import free_energy_findings
from alchemlip.reporting.reading import RunFiles, at, read_run, shown_mixture
from alchemlip.reporting.scans import scan_findings
from alchemlip.reporting.statics import energy_findings, relaxation_findings
from alchemlip.reporting.structure_view import real_species, structure_figure, words_of

FINDINGS: Mapping[str, Callable[[RunFiles], Findings]] = {
    "energy": energy_findings,
    "relax": relaxation_findings,
    "scan": scan_findings,
    "disorder": disorder_findings,
    "order": order_findings,
    "design": design_findings,
    "switch": free_energy_findings,
    "transmute": free_energy_findings,
    "frenkel-ladd": free_energy_findings,
    "vacancy": free_energy_findings,
    "concentration": concentration_findings,
}
TITLES = {
    "energy": "Energy of {}",
    "relax": "Relaxation of {}",
    "scan": "Scan of {}",
    "disorder": "Random alloy of {}",
    "order": "Ordering of {}",
    "design": "Composition of {} by design",
    "switch": "Switching of {}",
    "transmute": "Transmutation of {}",
    "frenkel-ladd": "Free energy of {}",
    "vacancy": "A vacancy in {}",
    "concentration": "Vacancies in equilibrium",
}


def content_of(folder: Path) -> ReportContent:
    """Return what the report of a run or a campaign says, whatever its status.

    Raises:
        InputError: if the folder holds neither.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r}: name the folder of a run")
    if (folder / CAMPAIGN).is_file():
        return campaign_content(folder)
    run = read_run(folder)
    try:
        findings = FINDINGS.get(run.command, _unknown)(run)
    except (KeyError, IndexError, TypeError, ValueError) as error:  # written by another version
        findings = _unknown(run)
        told = f"Only plain values can be shown; {type(error).__name__}: {error}."
        findings = replace(findings, warnings=(told,))
    source = run.record.get("source") or {}
    said = [*source.get("structure_warnings", ()), *run.record.get("warnings", ())]
    kept = [f"{sentence.rstrip('.')}." for sentence in dict.fromkeys(said)]
    findings = replace(findings, warnings=(*findings.warnings, *kept))
    structure, words, problem = _structure(run)
    if problem:
        findings = replace(findings, warnings=(*findings.warnings, problem))
    return ReportContent(
        title=_title(run),
        command=run.command,
        status=run.status,
        status_sentence=status_sentence(run.record, run.folder),
        findings=findings,
        facts=_facts(run),
        structure=structure,
        structure_text=(words,) if words else (),
        subtitle=_subtitle(run),
        command_line=command_line(run.record),
        reproduction=_reproduction(run),
    )


def status_sentence(record: Mapping[str, Any], folder: Path) -> str:
    """Say how a run stands, and when that was written."""
    status, started = record.get("status"), _when(record.get("started"))
    ended = _when(record.get("ended"))
    if status == "finished":
        took = _took(record)
        return f"Finished on {ended}{took}."
    if status in ("failed", "interrupted"):
        reason = str(record.get("reason") or "no reason is on record").rstrip(".")
        word = "Failed" if status == "failed" else "Interrupted"
        return (
            f"{word} on {ended}: {reason}. What it had finished is below; the same command goes on "
            "from there."
        )
    changed = max(
        (file.stat().st_mtime for file in folder.iterdir() if file.is_file()), default=0.0
    )
    last = _when(datetime.fromtimestamp(changed, UTC).isoformat())
    return (
        f"Started on {started} and not finished: at work, or cut off. Its files last changed on "
        f"{last}."
    )


def command_line(record: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what was typed, word by word, the program without its folder."""
    arguments = [str(item) for item in record.get("command_line") or []]
    return tuple(map(shlex.quote, ["alchemlip", *arguments[1:]]))


def _unknown(run: RunFiles) -> Findings:
    """Show the flat results of a command that has no report of its own."""
    from alchemlip.campaigns.table import flat
    from alchemlip.reporting.content import Section

    rows = list(flat(run.results).items())
    tables = (table_of("Results", ("quantity", "value"), rows),) if rows else ()
    return Findings(sections=(Section("Results", tables=tables),) if tables else ())


def _title(run: RunFiles) -> str:
    name = Path(str(run.source.get("structure_file") or run.folder.resolve().name)).stem
    title = TITLES.get(run.command, run.command + " of {}").format(name)
    if run.command == "scan" and "groups" in run.inputs:
        components = run.inputs["groups"][run.inputs["scanned_group"]]["components"]
        title += ": " + (" to " if len(components) == 2 else ", ").join(components)
    temperature = run.inputs.get("dynamics", {}).get("temperature_K")
    return title if temperature is None else f"{title} at {temperature:g} K"


def _structure(run: RunFiles) -> tuple[Figure | None, str, str]:
    """Return the picture of the crystal, which state it shows, and why there is none."""
    try:
        found = shown_mixture(run)
    except (InputError, KeyError, IndexError, ValueError, TypeError) as error:
        return None, "", f"The structure cannot be shown: {error}."
    if found is None:
        return None, "", ""
    mixture, words = found
    return structure_figure(mixture), words, ""


def _facts(run: RunFiles) -> tuple[tuple[str, str], ...]:
    inputs, source = run.inputs, run.source
    facts: list[tuple[str, str | None]] = [
        ("Calculation", f"alchemlip {run.command}"),
        ("Structure", _structure_words(run)),
        ("Composition", _composition(inputs)),
        ("Conditions", _conditions(inputs)),
        ("Goals", _goals(inputs)),
        ("Potential", _potential(inputs)),
        ("Weights", source.get("potential_weights")),
        ("Licence of the weights", source.get("potential_licence")),
        ("Checksum of the weights", _checksum(inputs.get("potential_sha256"))),
        ("Cite", source.get("potential_reference")),
        ("Precision", inputs.get("dtype")),
        ("Started", _when(run.record.get("started"))),
        ("Software", _software(run.record.get("versions") or {})),
    ]
    return tuple((name, _unbroken(str(value))) for name, value in facts if value)


def _subtitle(run: RunFiles) -> str:
    parts = (_composition(run.inputs), _potential(run.inputs))
    return _unbroken(" · ".join(part for part in parts if part))


def _unbroken(text: str) -> str:
    """Return a text whose numbers keep their units when the line breaks."""
    return re.sub(r"(?<=\d) (?=(K|GPa|fs|sites?|eV\S*)\b)", "\u00a0", text)


def _structure_words(run: RunFiles) -> str | None:
    file = run.source.get("structure_file")
    sites = None
    if "mixture" in run.inputs:
        sites = len(run.inputs["mixture"].get("symbols", ()))
    parts = [str(file) if file else None, _counted(sites) if sites else None]
    return ", ".join(part for part in parts if part) or None


def _composition(inputs: Mapping[str, Any]) -> str | None:
    parts = []
    groups = inputs.get("groups")
    if isinstance(groups, Mapping):  # a scan
        for name, group in groups.items():
            scanned = " (scanned)" if name == inputs.get("scanned_group") else ""
            parts.append(
                f"{name}: {', '.join(group['components'])}, {group['correlation']}{scanned}"
            )
    elif "components" in inputs:  # a random alloy
        parts.append(f"{inputs.get('group')}: {', '.join(inputs['components'])} at random")
    elif "mixture" in inputs:
        mixture = Mixture.from_dict(inputs["mixture"])
        if inputs.get("start") != inputs.get("end"):
            return _changes(mixture, inputs)
        for item in mixture.groups:
            weights = ", ".join(
                f"{label} {weight:.4g}"
                for label, weight in zip(item.components, item.composition, strict=True)
            )
            parts.append(
                f"{item.name} ({_counted(len(item.sites))}): {weights}, {item.correlation}"
            )
        if len(mixture.exclusive):
            n = len(mixture.exclusive)
            parts.append(f"at most one site filled of {n} pair{'s' if n > 1 else ''}")
    return "; ".join(parts) or None


def _counted(sites: int) -> str:
    return "1 site" if sites == 1 else f"{sites} sites"


def _goals(inputs: Mapping[str, Any]) -> str | None:
    goals = [
        f"{kind} {in_words(str(name))}" + ("" if value is None else f" {value:g}")
        for name, kind, value, *_ in inputs.get("goals") or []
    ]
    return "; ".join(goals) or None


def _changes(mixture: Mixture, inputs: Mapping[str, Any]) -> str:
    """Say what becomes what along a path."""
    ends = [
        [words_of(real_species(occupancy)) for occupancy in at(mixture, inputs[end]).occupancies()]
        for end in ("start", "end")
    ]
    counts = Counter(pair for pair in zip(*ends, strict=True) if pair[0] != pair[1])
    correlations = sorted({group.correlation for group in mixture.groups})
    changes = ", ".join(f"{a} becomes {b} on {_counted(n)}" for (a, b), n in counts.items())
    return f"{changes}; {', '.join(correlations)}"


def _conditions(inputs: Mapping[str, Any]) -> str | None:
    dynamics = inputs.get("dynamics")
    if isinstance(dynamics, Mapping) and "temperature_K" in dynamics:
        pressure = f", {dynamics.get('pressure_GPa', 0.0):g} GPa"
        cells = {"fixed": "constant cell", "volume": "constant pressure, isotropic cell"}
        cell = cells.get(str(dynamics.get("cell")), "constant pressure, free cell")
        step = dynamics.get("timestep_fs")
        return (
            f"{dynamics['temperature_K']:g} K, {cell}"
            + ("" if dynamics.get("cell") == "fixed" else pressure)
            + (f", time step {step:g} fs" if step else "")
        )
    relaxation = inputs.get("relaxation")
    if isinstance(relaxation, Mapping):
        return (
            f"relaxed (cell: {relaxation.get('cell')}) to {relaxation.get('fmax'):g} eV/Å and "
            f"{relaxation.get('smax'):g} GPa at {relaxation.get('pressure'):g} GPa"
        )
    return None


def _potential(inputs: Mapping[str, Any]) -> str | None:
    name = inputs.get("potential")
    if not name:
        return None
    variant = inputs.get("potential_variant")
    shown = f"{name} ({variant})" if variant else str(name)
    end = inputs.get("end_potential")
    if isinstance(end, Mapping):
        shown += f", to {end.get('potential')}"
        shown += f" ({end['potential_variant']})" if end.get("potential_variant") else ""
    return shown


def _checksum(sum_: Any) -> str | None:
    return f"SHA-256 {sum_}" if sum_ else None


def _software(versions: Mapping[str, Any]) -> str | None:
    shown = [name for name in ("alchemlip", "torch", "ase") if name in versions]
    return ", ".join(f"{name} {versions[name]}" for name in shown) or None


def _reproduction(run: RunFiles) -> tuple[Table, ...]:
    from alchemlip.campaigns.table import flat

    tables = []
    file = run.source.get("structure_file")
    if file:
        sum_ = run.source.get("structure_sha256") or "not on record"
        tables.append(table_of("Input files", ("file", "SHA-256"), [(file, sum_)]))
    left_out = ("mixture", "start", "end")
    settings = {key: value for key, value in run.inputs.items() if key not in left_out}
    rows = [(key, text_of(value)) for key, value in flat(settings).items()]
    if rows:
        tables.append(table_of("Settings, seed among them", ("setting", "value"), rows))
    versions = run.record.get("versions") or {}
    if versions:
        tables.append(table_of("Versions", ("package", "version"), list(versions.items())))
    continued = run.record.get("continued") or []
    if continued:
        runs = [
            (
                _when(item.get("started")),
                " ".join(command_line(item)),
                (item.get("versions") or {}).get("alchemlip"),
            )
            for item in continued
        ]
        tables.append(table_of("Continued", ("when", "command", "alchemlip"), runs))
    names = sorted(
        (item.name, item.stat().st_size) for item in run.folder.iterdir() if item.is_file()
    )
    rows_ = [(name, f"{size / 1024:.1f} kB") for name, size in names if not name.startswith(".")]
    tables.append(table_of("Files of the run", ("file", "size"), rows_))
    return tuple(tables)


def _when(text: Any) -> str:
    """Return a time as people write it: 21 November 2026, 18:54 UTC."""
    try:
        time = datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return "an unknown day"
    return f"{time.day} {month_name[time.month]} {time.year}, {time:%H:%M} UTC"


def _took(record: Mapping[str, Any]) -> str:
    if record.get("continued"):
        return f", in {len(record['continued']) + 1} parts"
    try:
        start, end = (datetime.fromisoformat(str(record[key])) for key in ("started", "ended"))
    except (KeyError, ValueError):
        return ""
    seconds = (end - start).total_seconds()
    if seconds < 1:
        return ", within a second"
    if seconds < 120:
        return f", after {seconds:.0f} s"
    if seconds < 7200:
        return f", after {seconds / 60:.0f} min"
    return f", after {seconds / 3600:.1f} h"
