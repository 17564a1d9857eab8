"""What a cloud adds: `pulumi up` on the emulated Hetzner Cloud, against as many machines that are ready."""

import datetime
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from lab.clouds import HetznerCloud
from tests.support.cloud_stacks import UP_SECONDS
from tests.support.clouds import finish, new_client, ready, server
from tests.support.hetzner_stacks import HetznerStacks
from tests.support.machines import Machines, temporary_lab
from tests.support.stacks import REPO, Stacks
from tests.support.versions import DEFAULT_ETCD
from tools.etcd import ensure_etcd

SIZES = (3, 5)
RUNS = 3


def measure(sizes: tuple[int, ...] = SIZES, runs: int = RUNS) -> dict[str, Any]:
    """Medians, in seconds, by number of members.

    `ready`: `pulumi up` on machines that are there; `cloud`: on the empty account of an emulated cloud, whose servers
    boot meanwhile; `boot`: from the request for one server until it has done its first boot, without Pulumi; `apart`:
    between the first and the last request for a server, which is near zero where they are made in parallel.
    """
    rows = []
    with temporary_lab("bench") as lab, temporary_lab("bench-cloud") as cloud_lab, tempfile.TemporaryDirectory() as at:
        machines, stacks = Machines(lab), Stacks(Path(at))
        cloud = HetznerCloud(cloud_lab.dir).start()
        try:
            clouds = HetznerStacks(cloud, Path(at) / "cloud")
            boot = [_boot(clouds) for _ in range(runs)]
            for count in sizes:
                there, whole, apart = [], [], []
                for run in range(runs):  # in turn, so that a slow minute of the computer hits both
                    there.append(stacks.new(machines.fresh(count)).up().seconds)
                    machines.lab.kill(*machines.lab.machines)
                    stack = clouds.new(f"bench-{count}-{run}", slots=count)
                    whole.append(stack.up(timeout=UP_SECONDS).seconds)
                    apart.append(_apart(cloud))
                    stack.destroy()
                rows.append(
                    {
                        "members": count,
                        "ready": statistics.median(there),
                        "cloud": statistics.median(whole),
                        "apart": statistics.median(apart),
                    }
                )
                print(f"{count} members: ready {there}, cloud {whole}, apart {apart}", file=sys.stderr, flush=True)
        finally:
            cloud.stop()
    return {"runs": runs, "boot": statistics.median(boot), "hetzner": rows}


def _boot(clouds: HetznerStacks) -> float:
    client = new_client(clouds.cloud)
    start = time.monotonic()
    made = server(client, "boot")
    ready(clouds.cloud, made)
    seconds = time.monotonic() - start
    finish(made.delete())
    return seconds


def _apart(cloud: HetznerCloud) -> float:
    """Seconds between the first and the last server that was asked for."""
    made = [datetime.datetime.fromisoformat(row["created"]) for row in cloud.call("GET", "/servers")["servers"]]
    return (max(made) - min(made)).total_seconds()


def _table(result: dict[str, Any]) -> str:
    lines = ["members   ready machines   emulated cloud   it adds   servers asked for within"]
    lines += [
        f"{row['members']:7.0f} {row['ready']:14.1f} s {row['cloud']:14.1f} s {row['cloud'] - row['ready']:7.1f} s "
        f"{row['apart']:24.0f} s"
        for row in result["hetzner"]
    ]
    lines.append(f"one server alone, from the request to the end of its first boot: {result['boot']:.1f} s")
    lines.append(f"medians of {result['runs']} runs")
    return "\n".join(lines)


def main() -> None:
    """Measures, prints the table, writes `docs/benchmark-hetzner.json`."""
    ensure_etcd(DEFAULT_ETCD)
    result = measure()
    print(_table(result))
    (REPO / "docs" / "benchmark-hetzner.json").write_text(json.dumps(result, indent=2) + "\n")
