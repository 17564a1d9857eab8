"""What machines measure: links with a real delay, and the timers that `auto` derives from round trips."""

import json
import subprocess
import sys

from components.plan.timers import derive, longest
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import command_line, process_ids
from tests.support.machines import slow_links

TRIPS = {0.2: 100, 5: 100, 40: 100, 80: 120}
"""Round trip in ms -> the heartbeat interval for it."""


def test_the_kernel_sees_how_long_a_link_is() -> None:
    words = ["unshare", "--net", sys.executable, "-m", "tests.support.delayed_links", *map(str, TRIPS)]
    found = json.loads(subprocess.run(words, check=True, capture_output=True, timeout=60).stdout)
    for trip, measured in zip(TRIPS, found, strict=True):
        assert trip <= measured < trip + 10
        links = {"etcd-1": {"round_trips_ms": {"etcd-2": measured}, "round_trips_ms_at": 0}}
        heartbeat = derive(longest(links, ["etcd-1", "etcd-2"]) or 0).heartbeat_ms
        assert TRIPS[trip] <= heartbeat <= TRIPS[trip] + 20


def test_timers_follow_the_round_trips_that_an_update_has_measured(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    before = process_ids(found)
    for machine in found:
        slow_links(machine, 80)
    stack.config["heartbeatIntervalMs"] = "auto"
    first = stack.up()
    assert process_ids(found) == before, "members run with etcd's defaults until the round trips are known"
    assert "call for a heartbeat interval of 120 ms and an election timeout of 1200 ms" in first.text

    for machine in found:
        slow_links(machine, 150)  # what was measured stays until somebody asks anew
    second = stack.up()
    assert f"{found[0].name} restarts" in second.text
    assert "call for a heartbeat interval" not in second.text
    for machine in found:
        assert {"--heartbeat-interval=120", "--election-timeout=1200"} <= set(command_line(machine).split())
        assert "80.0 ms to" in machine.run("etcd-node status", root=True).stdout
    stack.up("--expect-no-changes")
