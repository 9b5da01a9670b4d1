"""A campaign over Parsl: pilot jobs of any batch system that Parsl knows, or processes here.

    python examples/campaign_parsl.py mixing.yaml --workers 2

Needs `pip install parsl`. Run the same command again after an interruption, and it goes on.
"""

from __future__ import annotations

import argparse
from concurrent.futures import Executor
from pathlib import Path

from parsl.concurrent import ParslPoolExecutor
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import LocalProvider

from alchemlip.campaigns.description import read_campaign
from alchemlip.campaigns.execution import run_campaign
from alchemlip.campaigns.executors import Lane
from alchemlip.campaigns.folder import CampaignFolder


def main() -> None:
    """Run the campaign of a file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    folder = CampaignFolder(f"campaign-{given.file.stem}")

    def make() -> Executor:
        pool = HighThroughputExecutor(
            label="campaign",
            address="127.0.0.1",
            max_workers_per_node=given.workers,
            # On a cluster: SlurmProvider(partition=..., nodes_per_block=..., walltime=...).
            provider=LocalProvider(init_blocks=1, max_blocks=1),
        )
        return ParslPoolExecutor(Config(executors=[pool], run_dir=str(folder.path / "parsl")))

    lane = Lane(make, width=2 * given.workers)
    tally = run_campaign(read_campaign(given.file), [lane], folder)
    print(f"{len(tally.finished)} runs are finished, {len(tally.given_up)} failed in {folder.path}")


if __name__ == "__main__":
    main()
