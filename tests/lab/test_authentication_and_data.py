"""Etcd's authentication is on: snapshots, defragmentation, a full database and a restore work all the same."""

import json
from pathlib import Path

from tests.support.etcd import OPTIONS, assert_serves_all_members, etcdctl
from tests.support.machines import Machines, fill_disk
from tests.support.stacks import Stacks

from .test_authentication import BACKUP, User
from .test_backups import NEVER, fetched, new_key, opened, status

QUOTA = 32 << 20


def test_a_cluster_with_authentication_is_kept_and_restored_with_its_users(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    [machine] = found = machines.fresh(1)
    private, public = new_key(tmp_path)
    fill_disk(machine, "/mnt/share", "64m")
    stack = stacks.new(
        found,
        authentication=True,
        users=[BACKUP],
        quota=f"{QUOTA}",
        backup={"schedule": NEVER, "drill": "never", "recipients": [public], "directory": "/mnt/share"},
        maintenance={"defragment": True, "recoverSpace": True},
    )
    stack.up()
    machine.run("systemctl stop etcd-snapshot.timer etcd-maintenance.timer", root=True)
    outputs = stack.outputs()
    user = User(tmp_path / "backup-tool", outputs, outputs["users"]["backup-tool"])
    etcdctl(machine, "put", "/backup/1", "kept")
    machine.run("systemctl start etcd-snapshot", root=True)
    last = status(machine)["snapshots"]["last"]
    etcdctl(machine, "put", "/backup/1", "lost")
    assert user.may("get", "/backup/1")

    assert "MiB -> " in machine.run("etcd-node defragment --now", root=True).stderr
    put = f"etcdctl --endpoints=https://{machine.address}:2379 {OPTIONS} put full <value"
    fill = f"cd /tmp; head -c 786432 /dev/urandom | base64 -w0 >value; for n in $(seq 60); do {put} || exit 0; done"
    machine.run(f"{fill}; exit 1", root=True, timeout=120)
    assert "alarm:NOSPACE" in etcdctl(machine, "alarm", "list")
    machine.run("systemctl start etcd-maintenance", root=True)
    assert etcdctl(machine, "alarm", "list") == ""
    etcdctl(machine, "put", "/other/1", "1")
    machine.run("etcd-node snapshot", root=True)
    assert status(machine)["snapshots"]["last"]["revision"] > last["revision"]

    snapshot = opened(fetched(machine, f"/mnt/share/{last['name']}", tmp_path), private, tmp_path)
    stack.config["restore"] = {"from": str(snapshot), "confirm": "test"}
    stack.up()
    assert_serves_all_members(found)
    assert etcdctl(machine, "get", "/backup/1", "--print-value-only").strip() == "kept"
    assert etcdctl(machine, "get", "/other/1") == ""
    assert json.loads(etcdctl(machine, "auth", "status", "--write-out=json"))["enabled"]
    assert user.may("get", "/backup/1")
    assert not user.may("put", "/backup/1", "2")
    assert not user.may("get", "/other/1")
    machine.run("etcd-node snapshot", root=True)
    assert status(machine)["snapshots"]["last"]["revision"] > 1_000_000_000
