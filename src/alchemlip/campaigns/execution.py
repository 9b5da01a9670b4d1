"""Running a campaign: every run once, lost ones again, hopeless ones marked."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    wait,
)
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from alchemlip.campaigns.commands import settings_of
from alchemlip.campaigns.description import Campaign
from alchemlip.campaigns.executors import Lane
from alchemlip.campaigns.expansion import CampaignRun, expand
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.worker import Job, Outcome, perform, perform_together
from alchemlip.errors import InputError

BUSY_WAIT_S = 2.0
# Workers that die without beginning a run die of something else than the runs.
MOST_IDLE_LOSSES = 5


@dataclass
class Tally:
    """What became of the runs.

    Attributes:
        finished: names of those that are finished, now or before.
        given_up: reason by name of those that are not tried again.
    """

    finished: list[str] = field(default_factory=list)
    given_up: dict[str, str] = field(default_factory=dict)


Report = Callable[[Tally, Outcome | None], None]


def run_campaign(
    campaign: Campaign,
    lanes: Sequence[Lane],
    folder: CampaignFolder,
    threads: int | None = 1,
    retry: bool = False,
    report: Report | None = None,
    batch: int | None = None,
    trust_file: bool = False,
) -> Tally:
    """Run a campaign, or what is left of it.

    Args:
        campaign: as `read_campaign` returns it.
        lanes: where the runs go.
        folder: of the campaign; made if need be.
        threads: of torch in each worker; None leaves them.
        retry: try runs again that were given up.
        report: called when a run has ended, and once before the first.
        batch: most runs that advance together in a process, whose lane must give it as many
            threads; 0 for as many as memory allows, None for one by one.
        trust_file: let local checkpoints run code.

    Raises:
        InputError: if another process runs it, or the runs on record differ from the campaign's.
    """
    with folder.lock():
        runs = expand(campaign)
        folder.record(campaign.source.file, folder.check(runs))
        if retry:
            for run in runs:
                if folder.attempts(run.name).given_up:
                    folder.note(run.name, "forgotten")
        todo = jobs(folder, runs, campaign.base, threads, batch, trust_file)
        return run_jobs(folder, todo, lanes, report)


def jobs(
    folder: CampaignFolder,
    runs: Sequence[CampaignRun],
    base: Path,
    threads: int | None,
    batch: int | None = None,
    trust_file: bool = False,
) -> list[Job]:
    """Return runs as they travel to workers.

    Args:
        folder: of the campaign.
        runs: any of its runs.
        base: folder that relative paths in options start from.
        threads: of torch in each worker; None leaves them.
        batch: most runs that advance together in a process; None for one by one.
        trust_file: let local checkpoints run code.
    """
    path = folder.path.absolute()
    return [
        Job(
            str(path),
            run.name,
            run.command,
            settings_of(run.command, run.options, base, trust_file=trust_file),
            threads,
            tuple((str((base / written).absolute()), sum_) for written, sum_ in run.files.items()),
            batch,
        )
        for run in runs
    ]


def run_jobs(
    folder: CampaignFolder, todo: Sequence[Job], lanes: Sequence[Lane], report: Report | None = None
) -> Tally:
    """Run jobs until each is finished or given up.

    Finished runs are skipped, unfinished ones go on from their record. A run whose worker is lost
    is submitted again; one that fails goes to the end of the queue, three times at most.

    Args:
        folder: of the campaign, locked by the caller.
        todo: the jobs.
        lanes: where they go.
        report: called when a run has ended, and once before the first.

    Raises:
        InputError: if workers die without beginning any run.
    """
    return _Execution(folder, todo, lanes, report).run()


@dataclass
class _Lane:
    """A lane at work."""

    plan: Lane
    executor: Executor | None = None
    idle_losses: int = 0

    def submit(self, job: Job) -> Future[Outcome]:
        if self.executor is None:
            self.executor = self.plan.make()
        return self.executor.submit(perform if job.batch is None else perform_together, job)

    def drop(self) -> None:
        if self.executor is not None:
            # Dask's complains without its scheduler; what is told is why the campaign ended.
            with suppress(Exception):
                self.executor.shutdown(wait=False)
            self.plan.ended()
        self.executor = None


class _Execution:
    def __init__(
        self,
        folder: CampaignFolder,
        todo: Sequence[Job],
        lanes: Sequence[Lane],
        report: Report | None,
    ) -> None:
        self.folder = folder
        self.queue: deque[Job] = deque()
        self.waiting: list[tuple[float, Job]] = []
        self.lanes = [_Lane(lane) for lane in lanes]
        self.at_work: dict[Future[Outcome], tuple[_Lane, Job, int, Executor | None]] = {}
        self.tally = Tally()
        self.report = report
        for job in todo:
            self._enqueue(job)

    def run(self) -> Tally:
        self._tell(None)
        try:
            while self.queue or self.at_work or self.waiting:
                self._wake()
                self._submit()
                done, _ = wait(self.at_work, timeout=BUSY_WAIT_S, return_when=FIRST_COMPLETED)
                for future in done:
                    self._settle(future)
                if not done:
                    for lane in self.lanes:
                        lane.plan.watch()
                if not self.at_work and not self.queue and self.waiting:
                    time.sleep(0.1 * BUSY_WAIT_S)
        except BaseException as error:
            if not isinstance(error, Exception):  # Ctrl-C may have reached this process alone
                for lane in self.lanes:
                    lane.plan.interrupt()
            raise
        finally:
            for future in self.at_work:
                with suppress(NotImplementedError):  # Parsl's cannot be
                    future.cancel()
            for lane in self.lanes:
                lane.drop()
        return self.tally

    def _enqueue(self, job: Job) -> None:
        """Queue a job unless there is nothing left to do."""
        if self.folder.finished(job.name):
            self.tally.finished.append(job.name)
            return
        attempts = self.folder.attempts(job.name)
        if attempts.given_up:
            self.tally.given_up[job.name] = attempts.reason
        else:
            self.queue.append(job)

    def _wake(self) -> None:
        now = time.monotonic()
        self.queue.extend(job for due, job in self.waiting if due <= now)
        self.waiting = [(due, job) for due, job in self.waiting if due > now]

    def _submit(self) -> None:
        for lane in self.lanes:
            while self.queue and self._busy(lane) < lane.plan.width:
                job = self.queue.popleft()
                begun = self.folder.attempts(job.name).begun
                try:
                    future = lane.submit(job)
                except BrokenExecutor:  # its process died between two runs
                    self.queue.appendleft(job)
                    self._count_idle_loss(lane)
                    lane.drop()
                    continue
                self.at_work[future] = (lane, job, begun, lane.executor)
                if future.done():  # ran in this process: tell before the next
                    self._settle(future)

    def _busy(self, lane: _Lane) -> int:
        return sum(of is lane for of, *_ in self.at_work.values())

    def _settle(self, future: Future[Outcome]) -> None:
        lane, job, begun, executor = self.at_work.pop(future)
        outcome: Outcome | None = None
        try:
            outcome = future.result()
        except BrokenExecutor:
            if lane.executor is executor:
                lane.drop()
        except CancelledError:
            lane.plan.check()
        except Exception as error:
            lane.plan.check()
            # The executor's own: perform returns the run's errors. Dask raises KilledWorker when
            # several workers died that held a run, which may only have waited there.
            lost = isinstance(error, lane.plan.lost)
            if not lost and self.folder.attempts(job.name).begun == begun:
                self.folder.note(job.name, "begun", process=os.getpid())
                self.folder.note(job.name, "failed", error=f"{type(error).__name__}: {error}")
        if outcome is None:
            if self.folder.attempts(job.name).begun > begun:
                lane.idle_losses = 0
            else:
                self._count_idle_loss(lane)
        else:
            lane.idle_losses = 0
        if outcome is not None and outcome.ending == "busy":
            self.waiting.append((time.monotonic() + BUSY_WAIT_S, job))
        else:
            self._enqueue(job)
        self._tell(outcome)

    @staticmethod
    def _count_idle_loss(lane: _Lane) -> None:
        lane.idle_losses += 1
        if lane.idle_losses > MOST_IDLE_LOSSES:
            raise InputError(
                "workers end before they begin a run: look at memory and at what they print, and "
                "run the campaign again"
            )

    def _tell(self, outcome: Outcome | None) -> None:
        if self.report is not None:
            self.report(self.tally, outcome)
