"""`pulumi up` on new machines ends with a cluster that serves through every member."""

import itertools
import re

import pytest

from tests.support.etcd import assert_serves_all_members, etcdctl_here, write_client_files
from tests.support.machines import Machines, turned_away
from tests.support.stacks import Stacks
from tests.support.versions import ETCD_VERSIONS

# Each size and each version once; `make soak` tests every pair.
OLDEST, MIDDLE, NEWEST = ETCD_VERSIONS
MANY = 7
ONCE = {(1, NEWEST), (3, OLDEST), (5, MIDDLE), (7, MIDDLE)}
PAIRS = [
    pytest.param(*pair, marks=() if pair in ONCE else pytest.mark.soak)
    for pair in itertools.product((1, 3, 5, 7), ETCD_VERSIONS)
]
# Runs as root on a member: each request by etcd's gateway, and by etcdctl.
GATEWAY_AND_ETCDCTL = """
import glob, sys
from dataclasses import replace
sys.path.insert(0, glob.glob("/usr/local/lib/etcd-node/*")[0])
from etcd_node.cluster import lease as leases, roster
from etcd_node.protocol import etcd, gateway
from etcd_node.shared import spec
here = spec.parse(open("/var/lib/etcd-node/installed.json").read())
at = [here.address]
def answers():
    lease = int(etcd.etcdctl(here, at, ["lease", "grant", "60"])[1]["ID"])
    etcd.etcdctl(here, at, ["put", "asked", "an answer"])
    renewed = leases.renew(here, at, lease)
    leases.give_back(here, at, lease)
    # What changes from one look to the next one is only there.
    states = {
        name: replace(state, raft_index=0, applied_index=0, revision=0, db_size=1, db_in_use=1)
        for name, state in etcd.statuses(here, here.members).items()
        if state.db_size >= state.db_in_use > 0
    }
    return [
        etcd.member_list(here, at), etcd.alarms(here, at), roster.noted(here, at), renewed,
        states, leases.find(here, at, "asked"),
        etcd.etcdctl(here, at, ["del", "asked"])[0], leases.find(here, at, "asked"),
    ]
def keys():
    key = "external-etcd/asked"
    one, two = (leases.take(here, at, key, {"by": by}, 60) for by in ("one", "two"))
    assert one == two == leases.find(here, at, key) and one.value == {"by": "one"}, (one, two)
    leases.give_back(here, at, one.lease)
    assert leases.find(here, at, key) is None
    roster.forget(here, at, here.member)
    roster.settle(here, at)
    assert roster.noted(here, at) == here.members
runs, run = [], etcd.run
etcd.run = lambda *words, **options: runs.append(1) or run(*words, **options)
keys()
by_gateway, processes = answers(), len(runs)
etcd._by_gateway = lambda *_: None
assert by_gateway == answers(), (by_gateway, answers())
keys()
assert processes == 0 and len(runs) > 16, (processes, runs)
"""


@pytest.mark.parametrize(("count", "version"), PAIRS)
def test_a_new_cluster_serves_through_every_member(
    machines: Machines, stacks: Stacks, count: int, version: str
) -> None:
    found = machines.fresh(count)
    stack = stacks.new(found, version=version)
    if count == MANY:
        # All connections use one machine, whose sshd drops logins when more than ten are pending.
        bastion = {"host": found[0].address, "user": "operator", "hostKey": found[0].host_key}
        stack.config["ssh"] = {"bastion": bastion}
    before = [turned_away(machine) for machine in found]
    stack.up()
    # On a busy computer a door may be checked, but only once.
    assert all(turned_away(machine) - had <= 1 for machine, had in zip(found, before, strict=True))
    assert_serves_all_members(found)
    outputs = stack.outputs()
    assert outputs["endpoints"] == [f"https://{machine.address}:2379" for machine in found]
    assert [row["version"] for row in outputs["members"]] == [version] * count
    found[-1].run("python3 -I -", input=GATEWAY_AND_ETCDCTL, root=True)
    line = outputs["etcdctl"]
    for machine in found:
        assert len(re.findall(rf"[|│]\s*{version}\s*[|│]", machine.run(f"sudo -n {line}").stdout)) == count, line


def test_the_exported_client_certificate_works_at_every_endpoint(
    machines: Machines, stacks: Stacks, tmp_path_factory: pytest.TempPathFactory
) -> None:
    found = machines.fresh(3)
    stack = stacks.new(found)
    stack.up()
    outputs = stack.outputs()
    options = write_client_files(tmp_path_factory.mktemp("client"), outputs)
    for endpoint in outputs["endpoints"]:
        done = etcdctl_here(*options, f"--endpoints={endpoint}", "endpoint", "health")
        assert done.returncode == 0, done.stderr
