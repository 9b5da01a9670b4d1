"""``alchemlip campaign``: many runs of one command from one file."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alchemlip.calculations.fields import shown
from alchemlip.cli.completion import complete_campaign
from alchemlip.errors import InputError

if TYPE_CHECKING:
    from alchemlip.campaigns.description import Campaign
    from alchemlip.campaigns.execution import Tally
    from alchemlip.campaigns.executors import Lane
    from alchemlip.campaigns.folder import CampaignFolder
    from alchemlip.campaigns.slurm import SlurmSettings
    from alchemlip.campaigns.table import RunState
    from alchemlip.campaigns.worker import Outcome

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Many runs of one command, described in one file: init, plan, run, status, collect.",
)

MOST_SHOWN = 40
MOST_WORKERS = 4096

File = Annotated[Path, typer.Argument(help="Campaign file, YAML ('alchemlip campaign init').")]
Folder = Annotated[
    Path, typer.Argument(help="Folder of the campaign.", autocompletion=complete_campaign)
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Folder of the campaign.", show_default="campaign-FILE"),
]
Trust = Annotated[
    bool,
    typer.Option(
        "--trust-file",
        help="Allow the local checkpoints that the file names: pickles, which can run code.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("init")
def init(
    file: Annotated[Path, typer.Argument(help="File to write.")] = Path("campaign.yaml"),
    command: Annotated[str, typer.Option("--command", help="The calculation.")] = "transmute",
) -> None:
    """Write a campaign file with comments, to be filled in.

    Example: alchemlip campaign init mixing.yaml --command relax
    """
    from alchemlip.campaigns.commands import calculations
    from alchemlip.campaigns.description import template
    from alchemlip.files import write_atomically

    if command not in calculations():
        raise InputError(
            f"there is no calculation {command!r}: choose one of {', '.join(calculations())}"
        )
    if file.exists():
        raise InputError(f"{str(file)!r} exists: name a new file")
    try:
        write_atomically(file, template(command).encode())
    except OSError as error:
        raise InputError(
            f"cannot write {str(file)!r} ({error.strerror}): check the path"
        ) from error
    typer.echo(f"Wrote {file}: fill it in, then 'alchemlip campaign plan {file}'.")


@app.command("plan")
def plan(
    file: File,
    out: Out = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure",
            help="Estimate the time of each run from a few steps made now; a range where the "
            "number of steps is not known in advance.",
        ),
    ] = False,
    trust_file: Trust = False,
    json_: Json = False,
) -> None:
    """Show the runs of a campaign and what is done of them; the campaign's folder is not touched.

    Example: alchemlip campaign plan mixing.yaml --measure
    """
    from alchemlip.campaigns.cost import measured_costs
    from alchemlip.campaigns.description import read_campaign
    from alchemlip.campaigns.expansion import expand
    from alchemlip.campaigns.folder import CampaignFolder
    from alchemlip.campaigns.table import run_state
    from alchemlip.cli.campaign_cost import cost_record, show_costs, shown_time

    campaign = read_campaign(file)
    runs = expand(campaign)
    folder = CampaignFolder(_folder(out, file))
    folder.check(runs)
    states = [run_state(folder, run) for run in runs]
    costs = measured_costs(runs, campaign.base, trust_file=trust_file) if measure else []
    if json_:
        _print_json(
            [
                {
                    **run.to_dict(),
                    "state": state.state,
                    **(cost_record(costs[number]) if measure else {}),
                }
                for number, (run, state) in enumerate(zip(runs, states, strict=True))
            ]
        )
        return
    columns = list(dict.fromkeys(name for run in runs for name in run.varied))
    rows = [
        {
            "run": run.name,
            **{name: _shown(run.varied.get(name)) for name in columns},
            "seed": _shown(run.options.get("seed")),
            "state": state.state,
            **({"time": shown_time(costs[number])} if measure else {}),
        }
        for number, (run, state) in enumerate(zip(runs, states, strict=True))
    ]
    _table(rows, f"{len(runs)} runs of {campaign.command} in {folder.path}")
    if measure:
        show_costs(costs, states)


@app.command("run")
def run(
    file: File,
    out: Out = None,
    workers: Annotated[
        int,
        typer.Option("--workers", help="Worker processes on this machine; 0 runs in this process."),
    ] = 0,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            help="Torch threads of each worker.",
            show_default="1; all without workers",
        ),
    ] = None,
    dask_workers: Annotated[
        int,
        typer.Option(
            "--dask-workers", help="The same as workers of a Dask cluster that ends with this."
        ),
    ] = 0,
    scheduler: Annotated[
        str | None,
        typer.Option(
            "--scheduler",
            help="Address of a Dask scheduler, tcp://HOST:PORT, whose workers see this folder.",
        ),
    ] = None,
    slurm: Annotated[
        Path | None,
        typer.Option(
            "--slurm",
            help="YAML file of SLURM jobs to be submitted: workers, memory, walltime, queue ...",
        ),
    ] = None,
    batch: Annotated[
        str,
        typer.Option(
            "--batch",
            help="Runs that advance together in each process, with one evaluation of the potential "
            "for a step of all; auto for as many as its memory allows.",
        ),
    ] = "1",
    trust_file: Trust = False,
    retry: Annotated[
        bool, typer.Option("--retry", help="Try runs again that had failed three times.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Only tell what would be run, and show the job script of --slurm."
        ),
    ] = False,
) -> None:
    """Run a campaign, or what is left of it; the same command goes on where it was stopped.

    Finished runs are skipped, unfinished ones go on from their record. A run that fails three times
    is marked with its error and the others go on. Exit code 1 if there are such runs.

    Example: alchemlip campaign run mixing.yaml --workers 4
    """
    from alchemlip.campaigns.batch_lanes import batch_size
    from alchemlip.campaigns.description import read_campaign
    from alchemlip.campaigns.execution import run_campaign
    from alchemlip.campaigns.expansion import expand
    from alchemlip.campaigns.folder import CampaignFolder
    from alchemlip.campaigns.slurm import read_slurm

    given = {
        "--workers": workers != 0,
        "--dask-workers": dask_workers != 0,
        "--scheduler": scheduler is not None,
        "--slurm": slurm is not None,
    }
    chosen = [flag for flag, is_given in given.items() if is_given]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)} exclude one another: leave out all but one")
    counts = {"--workers": workers, "--dask-workers": dask_workers, "--threads": threads}
    for flag, count in counts.items():
        low = 1 if flag == "--threads" else 0
        if count is not None and not low <= count <= MOST_WORKERS:
            raise InputError(
                f"{flag} {shown(count)} cannot be used: give a whole number from {low} to "
                f"{MOST_WORKERS}, or leave it out"
            )
    together = batch_size(batch)
    settings = None if slurm is None else read_slurm(slurm)
    campaign = read_campaign(file)
    runs = expand(campaign)
    folder = CampaignFolder(_folder(out, file))
    folder.check(runs)
    if dry_run:
        _show_plan(folder, [item.name for item in runs], settings, together)
        return
    if threads is None and chosen:
        threads = 1 if settings is None else settings.cores
    with _lanes(workers, dask_workers, scheduler, settings, folder, together) as lanes:
        report = _reporter(len(runs))
        tally = run_campaign(
            campaign, lanes, folder, threads, retry, report, together, trust_file=trust_file
        )
    _show_end(campaign, folder.path, tally)


@app.command("status")
def status(folder: Folder, json_: Json = False) -> None:
    """Show where every run of a campaign is, also while it goes on.

    Example: alchemlip campaign status campaign-mixing
    """
    from dataclasses import asdict

    from alchemlip.campaigns.folder import CampaignFolder
    from alchemlip.campaigns.table import STATES, run_state

    campaign = CampaignFolder(folder)
    states = [run_state(campaign, item) for item in campaign.runs()]
    if json_:
        _print_json([asdict(state) for state in states])
        return
    counts = Counter(state.state for state in states)
    order = {name: number for number, name in enumerate(("failed", *STATES[2:], "finished"))}
    rows = [
        {
            "run": state.name,
            "state": state.state,
            "done": _done(state),
            "begun": str(state.attempts),
            "error": state.error,
        }
        for state in sorted(states, key=lambda state: order[state.state])
    ]
    words = ", ".join(f"{counts[name]} {name}" for name in STATES if counts[name])
    _table(rows, f"{len(states)} runs: {words}")


@app.command("collect")
def collect(
    folder: Folder,
    plot: Annotated[
        list[str],
        typer.Option("--plot", help="A column of the table to draw; repeatable.", metavar="COLUMN"),
    ] = [],
    against: Annotated[
        list[str],
        typer.Option(
            "--against",
            help="What to draw it against: a varied option, a composition such as Na:K, or a "
            "column; repeatable.",
            metavar="COLUMN",
        ),
    ] = [],
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="Draw pictures.")] = True,
) -> None:
    """Write one table of every run's varied options and results, and draw them.

    table.csv and .parquet; of repeats the means.csv with standard errors; of runs with points, such
    as scans, the points.csv; plots/*.png, the main results against every number that varied.

    Example: alchemlip campaign collect campaign-mixing --plot volume_A3 --against temperature
    """
    from alchemlip.campaigns.folder import CampaignFolder
    from alchemlip.campaigns.means import means, repeated
    from alchemlip.campaigns.table import collected, collected_points, write_tables

    campaign = CampaignFolder(folder)
    runs = campaign.runs()
    rows = collected(campaign, runs)
    written = write_tables(campaign, "table", rows)
    if repeated(runs):
        written += write_tables(campaign, "means", means(runs, rows))
    points = collected_points(campaign, runs)
    if points:
        written += write_tables(campaign, "points", points)
    if plots:
        from alchemlip.campaigns.pictures import draw_campaign

        written += draw_campaign(campaign.path, runs, rows, points, plot=plot, against=against)
    finished = sum(row["state"] == "finished" for row in rows)
    typer.echo(f"{finished} of {len(rows)} runs are finished: " + ", ".join(map(str, written)))
    if not any(file.suffix == ".parquet" for file in written):
        typer.echo("For parquet install alchemlip with the extra [freeenergy].")


def _done(state: RunState) -> str:
    if state.fraction is not None:
        return f"{state.fraction:.0%}"
    # How many a search takes is not known in advance.
    return "" if state.points is None else f"{state.points} points"


def _folder(out: Path | None, file: Path) -> Path:
    return out if out is not None else Path(f"campaign-{file.stem}")


def _lanes(
    workers: int,
    dask_workers: int,
    scheduler: str | None,
    settings: SlurmSettings | None,
    folder: CampaignFolder,
    batch: int | None,
) -> AbstractContextManager[list[Lane]]:
    from alchemlip.campaigns import dask_executors
    from alchemlip.campaigns.batch_lanes import lanes_of_batches, runs_under_way
    from alchemlip.campaigns.executors import in_this_process, processes

    if settings is not None:
        return dask_executors.slurm_cluster(settings, folder.job_logs, runs_under_way(batch))
    if scheduler is not None:
        return dask_executors.dask_cluster(scheduler)
    if dask_workers:
        return dask_executors.dask_workers(dask_workers, runs_under_way(batch))
    if batch is not None:
        return nullcontext(lanes_of_batches(workers, batch))
    return nullcontext(processes(workers) if workers else in_this_process())


def _show_plan(
    folder: CampaignFolder, names: list[str], settings: SlurmSettings | None, batch: int | None
) -> None:
    from alchemlip.campaigns.batch_lanes import runs_under_way
    from alchemlip.campaigns.slurm import job_script

    left = [
        name for name in names if not folder.finished(name) and not folder.attempts(name).given_up
    ]
    typer.echo(f"{len(left)} of {len(names)} runs would be run in {folder.path}.", err=True)
    if settings is not None:
        number = -(-settings.workers // settings.workers_per_job)
        typer.echo(f"{number} jobs would be submitted, each with this script:", err=True)
        typer.echo(job_script(settings, folder.job_logs, runs_under_way(batch)).rstrip())


def _reporter(total: int) -> Any:
    from rich.console import Console

    # This very stream: runs of this process send what they print elsewhere.
    console = Console(file=sys.stderr, highlight=False)

    def report(tally: Tally, outcome: Outcome | None) -> None:
        ended = f"{len(tally.finished)} finished, {len(tally.given_up)} failed of {total}"
        if outcome is None:
            console.print(ended, markup=False)
        else:
            words = f": {outcome.error}" if outcome.error else ""
            console.print(
                f"{ended}; {outcome.name} {outcome.ending} after {outcome.seconds:.1f} s{words}",
                markup=False,
            )

    return report


def _show_end(campaign: Campaign, folder: Path, tally: Tally) -> None:
    typer.echo(f"{len(tally.finished)} runs of {campaign.command} are finished in {folder}.")
    if tally.given_up:
        for name, reason in tally.given_up.items():
            typer.echo(f"Failed: {name}: {reason}", err=True)
        typer.echo("Mend the cause and run the campaign again with --retry.", err=True)
        raise typer.Exit(1)


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return "" if value is None else str(value)


def _table(rows: list[Mapping[str, str]] | list[dict[str, str]], title: str) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    shown = Table(title=escape(title), title_justify="left")
    for name in rows[0] if rows else ():
        shown.add_column(escape(name), overflow="fold")
    for row in rows[:MOST_SHOWN]:
        shown.add_row(*(escape(text) for text in row.values()))
    console = Console()
    console.print(shown)
    if len(rows) > MOST_SHOWN:
        console.print(f"and {len(rows) - MOST_SHOWN} more (--json shows all)", highlight=False)


def _print_json(value: Any) -> None:
    import json

    typer.echo(json.dumps(value, indent=1))
