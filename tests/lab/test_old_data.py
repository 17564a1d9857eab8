"""A machine returns with outdated data, or with a kept data disk and a new system."""

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, etcdctl, lead, member_list, process_ids
from tests.support.machines import Machines
from tests.support.stacks import Stack, Stacks

# Everything but the data is removed. Another user then has the id of etcd's old user.
_INSTALLED_ANEW = """
systemctl stop etcd && systemctl disable etcd
number=$(id -u etcd)
rm -rf /var/lib/etcd-node /etc/etcd /opt/etcd /usr/local/lib/etcd-node /usr/local/sbin/etcd-node /usr/local/bin/etcd*
rm -f /etc/systemd/system/etcd.service && systemctl daemon-reload
userdel etcd && useradd --system --uid "$number" somebody
"""


def _another(stack: Stack, machine: Machine) -> None:
    for entry in stack.config["machines"]:
        if entry["name"] == machine.name:
            entry["identity"] = f"{entry.get('identity', '')}+"


def test_a_member_with_outdated_data_is_named_and_can_rejoin(bootstrapped: Bootstrapped) -> None:
    found, stack = bootstrapped()
    back, others = found[0], found[1:]
    before, ids = process_ids(others), {row["name"]: row["ID"] for row in member_list(back)}
    back.run("systemctl stop etcd; cp -a /var/lib/etcd /var/lib/old; systemctl start etcd", root=True)
    lead(found, others[0])
    for number in range(3):
        etcdctl(back, "put", f"later/{number}", "yes")
    back.run("systemctl stop etcd; rm -r /var/lib/etcd; mv /var/lib/old /var/lib/etcd", root=True)
    back.run("systemctl start --no-block etcd", root=True)

    stack.config["flags"] = {"max-txn-ops": "256"}
    run = stack.up(check=False)
    assert run.code != 0
    assert f"{back.name}: its data are older than what it has confirmed to the other members" in run.text
    assert "as after a snapshot of the machine or of its disk was restored" in run.text
    assert "another `identity`" in run.text
    assert process_ids(others) == before
    assert {row["name"]: row["ID"] for row in member_list(others[0])} == ids

    _another(stack, back)
    run = stack.up()
    assert f"{back.name}: data moved aside to" in run.text
    assert_serves_all_members(found)
    now = {row["name"]: row["ID"] for row in member_list(others[0])}
    assert {name for name in now if now[name] != ids[name]} == {back.name}
    assert etcdctl(back, "get", "later/", "--prefix", "--count-only", "--write-out=fields").count('"Count" : 3') == 1


@pytest.mark.parametrize("count", [1, 3])
def test_a_reinstalled_system_continues_with_its_data_disk(
    machines: Machines, stacks: Stacks, bootstrapped: Bootstrapped, count: int
) -> None:
    if count == 1:
        found = machines.fresh(1)
        stack = stacks.new(found)
        stack.up()
    else:
        found, stack = bootstrapped()
    again = found[-1]
    etcdctl(again, "put", "kept", "yes")
    ids = {row["name"]: row["ID"] for row in member_list(again)}
    again.run(_INSTALLED_ANEW, root=True)

    _another(stack, again)
    run = stack.up()

    assert f"{again.name}: /var/lib/etcd holds this member's data, from before this system was installed" in run.text
    assert {row["name"]: row["ID"] for row in member_list(again)} == ids
    assert etcdctl(again, "get", "kept", "--print-value-only").strip() == "yes"
    assert_serves_all_members(found)
    assert "somebody" not in again.run("find /var/lib/etcd -printf '%u\\n' | sort -u", root=True).stdout
    stack.up("--expect-no-changes")
