"""Campaigns on SLURM through dask-jobqueue, and the choice of an executor from the command line."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from ase.build import bulk
from typer.testing import CliRunner

from alchemlip.campaigns import dask_executors
from alchemlip.campaigns.dask_executors import dask_workers, slurm_cluster
from alchemlip.campaigns.description import read_campaign
from alchemlip.campaigns.execution import run_campaign
from alchemlip.campaigns.executors import InThisProcess, Lane, in_this_process
from alchemlip.campaigns.expansion import expand
from alchemlip.campaigns.folder import CampaignFolder
from alchemlip.campaigns.slurm import SlurmSettings, job_script, keeping_interrupts, read_slurm
from alchemlip.cli import app
from alchemlip.errors import InputError
from pair_models import pair_potential

SLURM = """\
workers: 3
workers_per_job: 2
cores: 4
memory: 3GB
walltime: 01:30:00
queue: long
account: physics
interface: ib0
job_extra_directives: ['--constraint=avx2']
job_script_prologue: ['module load python']
"""
CAMPAIGN = """\
command: energy
vary:
  structure: salt.cif
  mix: [Na=Na0.1K0.9, Na=Na0.2K0.8, Na=Na0.4K0.6, Na=Na0.5K0.5, Na=Na0.7K0.3, Na=Na0.9K0.1]
"""
# A worker of a job is a new interpreter: it takes the analytic potential from here.
ANALYTIC = """\
from alchemlip.calculations import potentials
from pair_models import pair_potential
pairs = pair_potential()
potentials.prepare_potential = lambda *_: pairs
"""
SBATCH = """\
#!/bin/sh
# Starts the script at once, and says what sbatch says.
count=1
while ! mkdir "$FAKE_SLURM/$count" 2>/dev/null; do count=$((count + 1)); done
cp "$1" "$FAKE_SLURM/$count.sh"
setsid sh "$FAKE_SLURM/$count.sh" > "$FAKE_SLURM/$count.out" 2>&1 < /dev/null &
echo $! > "$FAKE_SLURM/$count.pid"
echo "Submitted batch job $count"
"""
SCANCEL = """\
#!/bin/sh
kill -KILL -- -$(cat "$FAKE_SLURM/$1.pid") 2>/dev/null
echo "$1" >> "$FAKE_SLURM/cancelled"
"""


@pytest.fixture(autouse=True)
def campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    pairs = pair_potential()
    monkeypatch.setattr("alchemlip.calculations.potentials.prepare_potential", lambda *_: pairs)
    monkeypatch.chdir(tmp_path)
    bulk("NaCl", "rocksalt", 5.7).write("salt.cif")
    Path("campaign.yaml").write_text(CAMPAIGN)
    Path("slurm.yaml").write_text(SLURM)
    yield tmp_path
    torch.set_num_threads(before)


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of jobs, and commands that stand for SLURM's."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    commands(tmp_path / "bin", sbatch=SBATCH, scancel=SCANCEL)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    return folder


def commands(folder: Path, **scripts: str) -> None:
    folder.mkdir()
    for name, text in scripts.items():
        (folder / name).write_text(text)
        (folder / name).chmod(stat.S_IRWXU)


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["campaign", "run", "campaign.yaml", *arguments])


def settings(**values: Any) -> SlurmSettings:
    return SlurmSettings(**{"workers": 2, "memory": "1GB", "walltime": "00:10:00", **values})


def results(folder: CampaignFolder) -> list[dict[str, Any]]:
    return [folder.result(item.name)["results"] for item in expand(read_campaign("campaign.yaml"))]


def job_queue() -> Any:
    """Return the package, if it is there, without what it does to Ctrl-C in other tests."""
    with keeping_interrupts():
        return pytest.importorskip("dask_jobqueue")


# ---------------------------------------------------------------------- the job script


def test_the_job_asks_for_what_the_settings_say() -> None:
    cluster = job_queue()
    script = job_script(read_slurm("slurm.yaml"), Path("logs"))
    logs = Path("logs").absolute()
    for line in (
        "-p long",
        "-A physics",
        "--cpus-per-task=8",
        "--mem=6G",
        "-t 01:30:00",
        "--constraint=avx2",
        f"-o {logs}/alchemlip-%J.out",
        f"-e {logs}/alchemlip-%J.err",
    ):
        assert f"#SBATCH {line}\n" in script
    assert "\nmodule load python\n" in script
    worker = script.splitlines()[-1]
    assert worker.startswith(f"{sys.executable} -m distributed.cli.dask_worker ")
    # One thread for Dask in each of two processes, each with its share of the memory.
    for words in ("--nthreads 1 ", "--nworkers 2 ", "--interface ib0", "--memory-limit 2.79GiB"):
        assert words in worker
    assert not logs.exists()
    # It is what dask-jobqueue would submit, but for the names.
    from alchemlip.campaigns.slurm import job_parameters

    parameters = {**job_parameters(read_slurm("slurm.yaml"), Path("logs")), "interface": None}
    with cluster.SLURMCluster(scheduler_options={"dashboard_address": ":0"}, **parameters) as made:
        submitted = made.job_script()
    unnamed = [
        re.sub(r"tcp://\S+|--name \S+| --interface ib0", "", text) for text in (script, submitted)
    ]
    assert unnamed[0].split() == unnamed[1].split()


def test_runs_that_advance_together_have_threads_in_their_job() -> None:
    """Not one after another, and with no more CPUs."""
    job_queue()
    script = job_script(read_slurm("slurm.yaml"), Path("logs"), 16)
    assert "--nthreads 16 " in script
    assert "--nworkers 2 " in script
    assert "#SBATCH --cpus-per-task=8\n" in script
    shown = run("--slurm", "slurm.yaml", "--dry-run", "--batch", "5")
    assert "--nthreads 5 " in shown.output


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_stays_ctrl_c() -> None:
    """In a new process, where nothing has imported dask-jobqueue before."""
    job_queue()
    code = (
        "import signal\nfrom pathlib import Path\n"
        "from alchemlip.campaigns.slurm import job_script, read_slurm\n"
        "job_script(read_slurm('slurm.yaml'), Path('logs'))\n"
        "try:\n    signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "interrupted\n"


def test_a_dry_run_shows_the_script_and_makes_nothing() -> None:
    job_queue()
    shown = run("--slurm", "slurm.yaml", "--dry-run")
    assert shown.exit_code == 0, shown.output
    assert "6 of 6 runs would be run" in shown.stderr
    assert "2 jobs would be submitted" in shown.stderr
    assert shown.stdout.startswith("#!")
    assert "#SBATCH -p long" in shown.stdout
    assert not Path("campaign-campaign").exists()
    assert "6 of 6 runs" in run("--dry-run").stderr


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "workers: 2\nmemory: 1GB\n",
            1,
            "'walltime' is missing: add a line such as 'walltime: \"12",
        ),
        ("workers: 0\n", 1, "workers = 0 cannot be used"),
        ("workers: 1\nmemory: 4\nwalltime: '1:00:00'\n", 2, "memory = 4 cannot be used: write it"),
        ("workers: 1\nmemory: lots\nwalltime: '1:00:00'\n", 2, "memory = 'lots' cannot be used"),
        ("workers: 1\nmemory: 1GB\nwalltime: soon\n", 3, "walltime = 'soon' cannot be used"),
        ("workers: 1\npartition: long\n", 2, "unknown entry 'partition': choose one of"),
        ("worker: 1\n", 1, "unknown entry 'worker': choose one of workers"),
        ("memory: 1GB\nwalltime: '1'\nworkers: 1\nqueue: [a]\n", 4, "queue = .* cannot be used"),
    ],
)
def test_bad_settings_get_one_sentence_with_the_line(text: str, line: int, words: str) -> None:
    Path("slurm.yaml").write_text(text)
    with pytest.raises(InputError, match=words) as error:
        read_slurm("slurm.yaml")
    assert f"'slurm.yaml', line {line}, column 1: " in str(error.value)


# ---------------------------------------------------------------------- running


def test_a_campaign_through_jobs(queue: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """Real jobs of dask-jobqueue; one is killed as by its time limit, another one takes over."""
    job_queue()
    monkeypatch.setattr(dask_executors, "RENEWAL_S", 1.0)
    import dask

    (tmp_path / "analytic.py").write_text(ANALYTIC)
    here = os.pathsep.join([str(tmp_path), *sys.path])
    prologue = [f"export PYTHONPATH='{here}'"]
    asked = settings(
        interface="lo",
        job_script_prologue=prologue,
        local_directory=str(tmp_path / "scratch"),
    )
    folder = CampaignFolder("out")
    killed: list[int] = []

    def report(_: Any, outcome: Any) -> None:
        if outcome is not None and not killed:
            # The job whose worker began a run: processes of a job are one group.
            killed.append(os.getpgid(min(processes_of(folder))))
            os.killpg(killed[0], signal.SIGKILL)

    preload = {
        "jobqueue.slurm.worker-extra-args": ["--preload", "analytic"],
        "distributed.deploy.lost-worker-timeout": "1s",
    }
    with dask.config.set(preload), slurm_cluster(asked, folder.job_logs) as lanes:
        tally = run_campaign(read_campaign("campaign.yaml"), lanes, folder, report=report)
        assert len(tally.finished) == 6
        assert killed
        deadline = time.monotonic() + 60.0
        while not (queue / "3.pid").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
    assert (queue / "3.pid").exists()  # submitted again
    submitted = {file.stem for file in queue.glob("*.pid")}
    cancelled = set((queue / "cancelled").read_text().split())
    assert submitted == cancelled
    serial = CampaignFolder("serial")
    run_campaign(read_campaign("campaign.yaml"), in_this_process(), serial)
    assert [item["energy_eV"] for item in results(folder)] == [
        item["energy_eV"] for item in results(serial)
    ]


def test_a_job_that_slurm_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job_queue()
    refuse = "#!/bin/sh\necho 'sbatch: error: invalid partition specified: long' >&2\nexit 1\n"
    commands(tmp_path / "bin", sbatch=refuse, scancel="#!/bin/sh\n")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    folder = CampaignFolder("out")
    with (
        pytest.raises(InputError, match=r"did not take a job .*invalid partition specified: long"),
        slurm_cluster(settings(interface="lo"), folder.job_logs) as lanes,
    ):
        run_campaign(read_campaign("campaign.yaml"), lanes, folder)


def test_jobs_that_end_before_a_worker_begins(
    queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_queue()
    monkeypatch.setattr(dask_executors, "RENEWAL_S", 0.5)
    squeue = tmp_path / "bin" / "squeue"
    squeue.write_text(
        '#!/bin/sh\nfor f in "$FAKE_SLURM"/*.pid; do ps -o pid= -p $(cat $f); done\nexit 0\n'
    )
    squeue.chmod(stat.S_IRWXU)
    folder = CampaignFolder("out")
    wrong = settings(interface="lo", job_script_prologue=["exit 3"])
    with (
        pytest.raises(InputError, match=r"jobs ended before a worker began: .*logs/jobs"),
        slurm_cluster(wrong, folder.job_logs) as lanes,
    ):
        run_campaign(read_campaign("campaign.yaml"), lanes, folder)
    assert not any(folder.attempts(item.name).begun for item in folder.runs())


def test_workers_on_this_machine_are_replaced(tmp_path: Path, monkeypatch: Any) -> None:
    """A Dask cluster of the command's own: a killed worker changes no result; all end with it."""
    pytest.importorskip("distributed")
    import dask

    (tmp_path / "analytic.py").write_text(ANALYTIC)
    monkeypatch.syspath_prepend(tmp_path)  # which spawned processes take over
    folder = CampaignFolder("out")
    victims: list[int] = []

    def kill() -> None:
        deadline = time.monotonic() + 60.0
        while not victims and time.monotonic() < deadline:
            time.sleep(0.05)
            for file in folder.path.glob("attempts/*.jsonl"):
                begun = re.search(r'"process": (\d+)', file.read_text())
                if begun and not victims:
                    victims.append(int(begun[1]))
                    os.kill(victims[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    preload = {"distributed.worker.preload": ["analytic"]}
    with dask.config.set(preload), dask_workers(2) as lanes:
        killer.start()
        tally = run_campaign(read_campaign("campaign.yaml"), lanes, folder)
        killer.join()
    assert victims
    assert len(tally.finished) == 6
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes_of(folder))
    serial = CampaignFolder("serial")
    run_campaign(read_campaign("campaign.yaml"), in_this_process(), serial)
    assert [item["energy_eV"] for item in results(folder)] == [
        item["energy_eV"] for item in results(serial)
    ]


def processes_of(folder: CampaignFolder) -> set[int]:
    """Return the processes that began runs."""
    texts = [file.read_text() for file in folder.path.glob("attempts/*.jsonl")]
    return {int(found) for text in texts for found in re.findall(r'"process": (\d+)', text)}


def test_processes_of_mpi_do_not_wait_for_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """ASE reads files together with all processes of MPI, of which each has another run."""
    from ase.parallel import world

    class Others:
        rank, size = 1, 2

        def broadcast(self, *_: Any) -> Any:
            raise AssertionError("waits for the others")

    monkeypatch.setattr(world, "comm", others := Others())
    folder = CampaignFolder("out")
    tally = run_campaign(read_campaign("campaign.yaml"), in_this_process(), folder)
    assert len(tally.finished) == 6
    assert world.comm is others


# ---------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--workers", "2", "--dask-workers", "2"), "--workers and --dask-workers exclude"),
        (("--workers", "2", "--scheduler", "tcp://a:1"), "--workers and --scheduler exclude"),
        (("--scheduler", "tcp://a:1", "--slurm", "slurm.yaml"), "--scheduler and --slurm exclude"),
        (("--dask-workers", "-1"), "--dask-workers -1 cannot be used: give a whole number from 0"),
        (("--workers", "-1"), "--workers -1 cannot be used: give a whole number from 0"),
        (("--slurm", "none.yaml"), "cannot read 'none.yaml'"),
    ],
)
def test_executors_that_cannot_be(arguments: tuple[str, ...], words: str) -> None:
    refused = run(*arguments)
    assert isinstance(refused.exception, InputError)
    assert words in str(refused.exception)
    assert not Path("campaign-campaign").exists()


@pytest.mark.parametrize(
    ("arguments", "module", "words"),
    [
        (("--slurm", "slurm.yaml"), "dask_jobqueue", r"dask-jobqueue: install .* \[slurm\]"),
        (("--slurm", "slurm.yaml", "--dry-run"), "dask_jobqueue.slurm", r"extra \[slurm\]"),
        (("--dask-workers", "2"), "distributed", r"distributed: install .* \[campaign\]"),
        (("--scheduler", "tcp://a:1"), "distributed", r"--scheduler needs .* \[campaign\]"),
    ],
)
def test_a_missing_extra(
    arguments: tuple[str, ...], module: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    refused = run(*arguments)
    assert isinstance(refused.exception, InputError)
    assert re.search(words, str(refused.exception))
    assert not Path("campaign-campaign").exists()


def test_a_machine_without_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    job_queue()
    monkeypatch.setenv("PATH", "")
    refused = run("--slurm", "slurm.yaml")
    assert isinstance(refused.exception, InputError)
    assert "SLURM's command sbatch, which is not on the PATH" in str(refused.exception)
    assert not Path("campaign-campaign").exists()


def test_what_is_lost_is_told_and_not_what_follows_from_it() -> None:
    """Dask's executor cannot be shut down any more once its scheduler is gone."""

    class Lost(ThreadPoolExecutor):
        def submit(self, *_: Any) -> Future[Any]:  # type: ignore[override]
            future: Future[Any] = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

        def shutdown(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("the client is closed")

    def check() -> None:
        raise InputError("the scheduler no longer answers")

    with pytest.raises(InputError, match="no longer answers"):
        run_campaign(
            read_campaign("campaign.yaml"), [Lane(Lost, check=check)], CampaignFolder("out")
        )


def test_a_run_that_waited_where_workers_died_is_no_failure() -> None:
    left = [KeyError("died")] * 4

    class Dying(InThisProcess):
        def submit(self, *arguments: Any) -> Future[Any]:  # type: ignore[override]
            if not left:
                return super().submit(*arguments)
            future: Future[Any] = Future()
            future.set_exception(left.pop())
            return future

    folder = CampaignFolder("out")
    tally = run_campaign(read_campaign("campaign.yaml"), [Lane(Dying, lost=(KeyError,))], folder)
    assert len(tally.finished) == 6
    assert not left
    assert not any(folder.attempts(item.name).failures for item in folder.runs())


def test_a_structure_changed_while_the_campaign_runs() -> None:
    """A run never begins with another structure than the one on record."""
    folder = CampaignFolder("out")
    before = Path("salt.cif").read_bytes()

    def change(_: Any, outcome: Any) -> None:
        if outcome is not None:
            bulk("NaCl", "rocksalt", 5.8).write("salt.cif")

    tally = run_campaign(read_campaign("campaign.yaml"), in_this_process(), folder, report=change)
    assert len(tally.finished) == 1
    assert len(tally.given_up) == 5
    assert all("was changed while the campaign ran" in why for why in tally.given_up.values())
    with pytest.raises(InputError, match=r"another content of 'salt\.cif'"):
        run_campaign(read_campaign("campaign.yaml"), in_this_process(), folder, retry=True)
    Path("salt.cif").write_bytes(before)
    again = run_campaign(read_campaign("campaign.yaml"), in_this_process(), folder, retry=True)
    assert len(again.finished) == 6


def test_the_campaign_file_changed_while_the_campaign_runs() -> None:
    """What runs stays what was put on record; the next start is refused."""
    folder = CampaignFolder("out")
    before = expand(read_campaign("campaign.yaml"))

    def change(_: Any, outcome: Any) -> None:
        Path("campaign.yaml").write_text(CAMPAIGN + "options: {concerted: all}\n")

    tally = run_campaign(read_campaign("campaign.yaml"), in_this_process(), folder, report=change)
    assert len(tally.finished) == 6
    assert folder.runs() == before
    refused = run("--out", "out")
    assert "the campaign file was changed" in str(refused.exception)
