"""`pulumi destroy` leaves existing machines as they were, with the data moved aside."""

import re

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, etcdctl
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual
from tests.support.stacks import Stacks

# Changes on a machine that happen by themselves, or at a login.
_ALIVE = (
    "/run/",
    "/proc/",
    "/sys/",
    "/dev/",
    "/tmp/",
    "/var/log/",
    "/var/lib/systemd/",
    "/var/tmp/",
    "/home/",
    "/root/",
    "/var/lib/private",
)


def tree(machine: Machine) -> set[str]:
    """Every path on the machine's disk with owner, mode and (for files in /etc) content."""
    listed = machine.run(
        "find / -xdev \\( -path /proc -o -path /sys \\) -prune -o -printf '%p %U:%G %m %y %l\\n'",
        root=True,
        timeout=120,
    )
    # Backup copies of the account tools and Python's caches do not count.
    own = re.compile(r"^/etc/(passwd|group|shadow|gshadow|subuid|subgid)- |__pycache__|^/etc/\.pwd\.lock ")
    return {line for line in listed.stdout.splitlines() if not line.startswith(_ALIVE) and not own.search(line)}


def accounts(machine: Machine) -> str:
    return machine.run("cat /etc/passwd /etc/group", root=True).stdout


def test_destroy_stops_etcd_deletes_keys_and_keeps_the_data(machines: Machines, stacks: Stacks) -> None:
    found = machines.fresh(3)
    before = {machine.name: tree(machine) for machine in found}
    users = {machine.name: accounts(machine) for machine in found}
    # None of its steps needs a permission in etcd.
    stack = stacks.new(found, authentication=True)
    stack.up()
    etcdctl(found[0], "put", "kept", "yes")
    # As a version change leaves it.
    found[0].run("mkdir -m 700 /var/lib/etcd.snapshots && touch /var/lib/etcd.snapshots/test.db", root=True)

    assert_as_in_the_manual(stack, "Take the cluster down", stack.pulumi("destroy", "--preview-only"))
    print(f"{stack.destroy().seconds:.1f} s")

    for machine in found:
        left = tree(machine) - before[machine.name]
        kept = re.compile(r"^/var/lib/etcd(\.snapshots)?\.test-retired-\d{8}T\d{6}Z(/| )")
        assert [line for line in left if not kept.match(line)] == []
        assert any("/member/wal " in line for line in left), "the data is kept"
        assert any("/test.db " in line for line in left) == (machine is found[0]), "snapshots are data"
        assert before[machine.name] - tree(machine) == set()
        assert accounts(machine) == users[machine.name]
        assert machine.run("systemctl cat etcd.service", check=False).returncode != 0
        assert machine.run("pgrep -x etcd", check=False).returncode != 0

    stack.up()
    assert_serves_all_members(found)
    assert etcdctl(found[0], "get", "kept", "--print-value-only") == "", "it is a new cluster"


def test_a_destroy_that_failed_on_a_machine_can_be_completed(machines: Machines, bootstrapped: Bootstrapped) -> None:
    """It is the first machine, where the deletion of only a part of the cluster would be refused."""
    found, stack = bootstrapped()
    machines.lab.kill(found[0].name)
    run = stack.destroy(check=False)
    assert run.code != 0
    assert found[0].name in run.text
    left = {resource["urn"].rsplit("::", 1)[1] for resource in stack.export()["deployment"]["resources"]}
    assert {"test-pki-1-ca", "test-bootstrap", f"test-{found[0].name}-prepare"} <= left
    for machine in found[1:]:
        assert machine.run("systemctl cat etcd.service", check=False).returncode != 0
    machines.lab.start(found[0].name)
    # The majority has retired, so no update can continue this cluster.
    run = stack.up(check=False)
    for machine in found[1:]:
        assert f"{machine.name}: etcd-node has not arrived whole" in run.text
    assert "If a pulumi destroy has removed it here and was not completed, complete that first" in run.text
    stack.destroy()
    assert found[0].run("systemctl cat etcd.service", check=False).returncode != 0
    stack.up()
    assert_serves_all_members(found)
