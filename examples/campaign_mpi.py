"""A campaign over MPI: one process gives out the runs, the others work.

    mpiexec -n 3 python -m mpi4py.futures examples/campaign_mpi.py mixing.yaml

Needs `pip install mpi4py` and an MPI. Run the same command again after an interruption, and it goes
on. MPI ends all processes when one dies; the campaign then goes on in the next job.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mpi4py import MPI
from mpi4py.futures import MPIPoolExecutor

from alchemlip.campaigns.description import read_campaign
from alchemlip.campaigns.execution import run_campaign
from alchemlip.campaigns.executors import Lane
from alchemlip.campaigns.folder import CampaignFolder


def main() -> None:
    """Run the campaign of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    given = parser.parse_args()
    folder = CampaignFolder(f"campaign-{given.file.stem}")
    lane = Lane(MPIPoolExecutor, width=2 * MPI.COMM_WORLD.Get_size())
    tally = run_campaign(read_campaign(given.file), [lane], folder)
    print(f"{len(tally.finished)} runs are finished, {len(tally.given_up)} failed in {folder.path}")


if __name__ == "__main__":
    main()
