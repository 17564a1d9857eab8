"""What a cloud adds: `pulumi up` with new machines of an emulated cloud, next to the same on existing machines."""

import contextlib
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from lab.clouds import AwsCloud, HetznerCloud
from tests.support.aws_stacks import AwsStacks
from tests.support.cloud_stacks import UP_SECONDS
from tests.support.hetzner_stacks import HetznerStacks
from tests.support.machines import Machines, temporary_lab
from tests.support.stacks import REPO, Stacks
from tests.support.versions import DEFAULT_ETCD
from tools.etcd import ensure_etcd

SIZES = (3,)
RUNS = 3
# Stacks on a cloud, and a function that returns when each machine was requested.
_Place = tuple[AwsStacks | HetznerStacks, Callable[[], list[datetime]]]


def main() -> None:
    """Measure, print the table, write `docs/benchmark-clouds.json`."""
    ensure_etcd(DEFAULT_ETCD)
    rows = [row for name, cloud in (("aws", _aws), ("hetzner", _hetzner)) for row in _measure(name, cloud)]
    print(_table(rows))
    result = {"runs": RUNS, "clouds": rows}
    (REPO / "docs" / "benchmark-clouds.json").write_text(json.dumps(result, indent=2) + "\n")


@contextlib.contextmanager
def _aws(scratch: Path) -> Iterator[_Place]:
    with temporary_lab("bench-aws") as lab:
        cloud = AwsCloud(lab.dir).start()

        def launched() -> list[datetime]:
            found = cloud.client().describe_instances()["Reservations"]
            rows = [row for one in found for row in one["Instances"]]
            return [row["LaunchTime"] for row in rows if row["State"]["Name"] == "running"]

        try:
            yield AwsStacks(cloud, scratch), launched
        finally:
            cloud.stop()


@contextlib.contextmanager
def _hetzner(scratch: Path) -> Iterator[_Place]:
    with temporary_lab("bench-hetzner") as lab:
        cloud = HetznerCloud(lab.dir).start()
        try:
            yield (
                HetznerStacks(cloud, scratch),
                lambda: [datetime.fromisoformat(row["created"]) for row in cloud.call("GET", "/servers")["servers"]],
            )
        finally:
            cloud.stop()


def _measure(name: str, cloud: Callable[[Path], contextlib.AbstractContextManager[_Place]]) -> Iterator[dict[str, Any]]:
    """Medians in seconds, by number of members.

    `ready`: `pulumi up` on existing machines. `cloud`: on the empty account of an emulated cloud, including the boot of
    its machines. `apart`: time between the first and the last machine request, near zero if they are parallel.
    """
    with temporary_lab("bench") as lab, tempfile.TemporaryDirectory() as at, cloud(Path(at) / name) as (clouds, asked):
        machines, stacks = Machines(lab), Stacks(Path(at))
        for count in SIZES:
            there, whole, apart = [], [], []
            for run in range(RUNS):  # alternating, so that a slow minute of the computer affects both
                there.append(stacks.new(machines.fresh(count)).up().seconds)
                machines.lab.kill(*machines.lab.machines)
                stack = clouds.new(f"bench-{count}-{run}", slots=count)
                whole.append(stack.up(timeout=UP_SECONDS).seconds)
                apart.append((max(asked()) - min(asked())).total_seconds())
                stack.destroy()
            print(f"{name}, {count} members: ready {there}, cloud {whole}, apart {apart}", file=sys.stderr, flush=True)
            figures = {"ready": there, "cloud": whole, "apart": apart}
            yield {
                "cloud_name": name,
                "members": count,
                **{key: statistics.median(values) for key, values in figures.items()},
            }


def _table(rows: list[dict[str, Any]]) -> str:
    lines = ["cloud     members   ready machines   emulated cloud   it adds   machines asked for within"]
    lines += [
        f"{row['cloud_name']:8} {row['members']:8.0f} {row['ready']:14.1f} s {row['cloud']:14.1f} s "
        f"{row['cloud'] - row['ready']:7.1f} s {row['apart']:25.0f} s"
        for row in rows
    ]
    lines.append(f"medians of {RUNS} runs")
    return "\n".join(lines)
