"""`prepare` reports everything that would keep etcd from starting, or from its data, before any etcd starts."""

import re
from dataclasses import dataclass

from components.plan import ClusterPlan, MemberPlan, member_specs, spec_text
from lab import Machine
from tests.support.etcd import assert_serves_all_members
from tests.support.machines import Machines, slow_disk
from tests.support.stacks import Stacks

PROGRAM = "/opt/etcd/v3.6.16/etcd"
DROP_IN = "/etc/systemd/system/etcd.service.d/others.conf"


@dataclass(frozen=True)
class Fault:
    """A problem that keeps etcd from starting with this data directory."""

    cause: str
    """Shell lines."""
    cure: str
    says: tuple[str, ...]
    data: str = "/var/lib/etcd"


def _others(setting: str) -> str:
    place = DROP_IN.rpartition("/")[0]
    return f"mkdir -p {place}; printf '[Service]\n{setting}\n' >{DROP_IN}; systemctl daemon-reload"


NO_OTHERS = f"rm {DROP_IN}; systemctl daemon-reload"
FAULTS = {
    "a directory above is closed": Fault(
        "mkdir -m 0700 /data", "rm -r /data", ("cannot enter /data", "mode 0700", "chmod o+x /data"), "/data/etcd"
    ),
    "a link leads where the unit hides it": Fault(
        "mkdir -p /home/etcd; ln -s /home/etcd /srv/link",
        "rm /srv/link",
        ("/srv/link, which leads to /home/etcd", "the unit hides /home"),
        "/srv/link/data",
    ),
    "a link leads into the program's own directory": Fault(
        "mkdir /opt/etcd/data; ln -s /opt/etcd/data /srv/link",
        "rm -r /srv/link /opt/etcd/data",
        ("leads to /opt/etcd/data", "pulumi destroy"),
        "/srv/link",
    ),
    "a link leads to a disk that is not mounted": Fault(
        "ln -s /mnt/disk/etcd /srv/link",
        "rm /srv/link",
        ("/srv/link is a link to /mnt/disk/etcd, which does not exist", "Mount the disk"),
        "/srv/link",
    ),
    "a file system in memory": Fault(
        "mount -t tmpfs -o size=3g memory /mnt", "umount /mnt", ("in memory (tmpfs at /mnt)", "reboot"), "/mnt/etcd"
    ),
    "the program must not be executed": Fault(
        "mount --bind /opt/etcd /opt/etcd; mount -o remount,bind,noexec /opt/etcd",
        "umount /opt/etcd",
        (f"may not execute {PROGRAM}", "noexec"),
    ),
    "a directory above the program is closed": Fault(
        "chmod 0700 /opt", "chmod 0755 /opt", (f"cannot execute {PROGRAM}", "/opt is closed", "chmod o+x /opt")
    ),
    "a group that is missing": Fault(_others("Group=missing"), NO_OTHERS, ("does not find", "getent group")),
    "others made the data directory read-only": Fault(
        _others("ReadWritePaths=\\nReadOnlyPaths=/var/lib"), NO_OTHERS, ("cannot write to /var/lib/etcd", "read-only")
    ),
}


def _prepare(machine: Machine, data: str) -> tuple[int, str]:
    """Exit code and output of `etcd-node prepare`, run like `pulumi up` does."""
    plan = ClusterPlan(
        name="test",
        members=[MemberPlan(machine.name, machine.address, data)],
        program="",
        release_mirror="http://releases.lab",
    )
    spec = spec_text({**member_specs(plan)[machine.name], "flags": {}})
    done = machine.run(["etcd-node", "prepare", spec], root=True, check=False)
    return done.returncode, done.stdout + done.stderr


def test_prepare_names_every_obstacle_to_etcds_start(machines: Machines, stacks: Stacks) -> None:
    """One machine with one fault after another. It had a group etcd without a user before, which must stay."""
    (machine,) = machines.fresh(1)
    machine.run("groupadd etcd", root=True)
    before = machine.run("getent group etcd", root=True).stdout
    stack = stacks.new([machine])
    for number, (name, fault) in enumerate(FAULTS.items()):
        machine.run(fault.cause, root=True)
        if number == 0:
            stack.config["dataDirectory"] = fault.data
            run = stack.up(check=False)
            code, text = run.code, run.text
        else:
            code, text = _prepare(machine, fault.data)
        assert code != 0, name
        for words in (machine.name, *fault.says):
            assert words in text, f"{name}: no {words!r} in\n{text}"
        assert "226/NAMESPACE" not in text, name
        assert machine.run("pgrep -x etcd", root=True, check=False).stdout == "", name
        machine.run(fault.cure, root=True)

    slow_disk(machine, 30)
    code, text = _prepare(machine, "/var/lib/etcd")
    assert code != 0
    assert "etcd requires at least 50 of them per second" in text
    assert "acknowledge: [slow-disk]" in text
    assert machine.run("ls /var/lib/etcd", root=True).stdout == ""

    del stack.config["dataDirectory"]
    # As after a power cut that lost unsynced files: the next prepare repairs them.
    machine.run(f": >{PROGRAM}; for f in /usr/local/lib/etcd-node/*/*main__.py; do : >$f; done", root=True)
    run = stack.up()
    assert "no member starts yet; a slow disk is accepted [1 voter" in run.text
    assert "a synced write of 2300 bytes" in run.text
    assert "etcd recommends" not in run.text, "it is acknowledged, as in every stack of these tests"
    assert re.search(r"disk +\d\d\.\d ms per synced write", machine.run("etcd-node status", root=True).stdout)
    assert_serves_all_members([machine])
    stack.config["flags"] = {"max-txn-ops": 256}
    noted = rf"Slow disks when last measured: {machine.name} \(p99 [\d.]+ ms, average [\d.]+ ms\)\. .*: yes\."
    assert re.search(noted, stack.preview().text)
    del stack.config["flags"]
    assert "rehearsal" not in machine.run("ls -A /var/lib/etcd /run/systemd/system /run", root=True).stdout
    pid = machine.run("systemctl show etcd -p MainPID --value", root=True).stdout
    code, text = _prepare(machine, "/var/lib/etcd")
    assert code == 0, text
    assert machine.run("systemctl show etcd -p MainPID --value", root=True).stdout == pid
    stack.destroy()
    assert machine.run("getent group etcd; getent passwd etcd", root=True, check=False).stdout == before
