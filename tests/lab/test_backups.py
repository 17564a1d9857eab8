"""Snapshots that are kept elsewhere: one member at a time takes one, and failures are noticed and lose nothing."""

import contextlib
import gzip
import json
import subprocess
from base64 import b64decode
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import OPTIONS, assert_no_drift, etcdctl, member_list, process_ids
from tests.support.machines import Machines, fill_disk
from tests.support.prober import probing
from tests.support.s3_server import BUCKET, KEY, SECRET, S3Server
from tests.support.stacks import Stacks
from tests.support.versions import DEFAULT_ETCD
from tests.support.waiting import every
from tools.backups import age_program
from tools.etcd import etcd_binary

PREFIX = "clusters/lab"
UNIT = "etcd-snapshot.service"
NEVER = "2099-01-01"


@pytest.fixture
def store(machines: Machines, tmp_path: Path) -> Iterator[S3Server]:
    machines.lab.open()
    found = S3Server(tmp_path, machines.lab.address)
    found.start()
    try:
        yield found
    finally:
        found.close()


def new_key(directory: Path) -> tuple[Path, str]:
    """A private key of age, and its public key."""
    path = directory / "key.txt"
    subprocess.run([age_program("age-keygen"), "-o", path], check=True, capture_output=True)
    said = subprocess.run([age_program("age-keygen"), "-y", path], check=True, capture_output=True, text=True)
    return path, said.stdout.strip()


@contextlib.contextmanager
def all_at_once(machines: Sequence[Machine]) -> Iterator[None]:
    """Their timers go off; after the block, wait until all services have ended."""
    command = f"systemctl start {UNIT}"
    with ThreadPoolExecutor() as pool:
        runs = [pool.submit(each.run, command, root=True, timeout=90, check=False) for each in machines]
        yield
        for run in runs:
            run.result()


def status(machine: Machine) -> dict[str, Any]:
    return dict(json.loads(machine.run("etcd-node status --json", root=True).stdout))


def refused(machine: Machine) -> str:
    """What `etcd-node snapshot` says when it fails; `status` must say it too."""
    done = machine.run("etcd-node snapshot", root=True, check=False)
    assert done.returncode == 1, done.stdout
    hints = [hint for hint in status(machine)["hints"] if "The snapshot of " in hint]
    assert len(hints) == 1, hints
    assert hints[0].split(" failed on this machine: ")[1] in done.stderr
    return str(hints[0])


def waiting(machine: Machine) -> list[str]:
    """Snapshots on the machine that have not been stored."""
    return machine.run("ls /var/lib/etcd.snapshots/backup", root=True).stdout.split()


def test_snapshots_are_taken_by_one_member_and_survive_failures(
    stacks: Stacks, bootstrapped: Bootstrapped, store: S3Server, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    private, public = new_key(tmp_path)
    login = {"accessKeyId": KEY, "secretAccessKey": SECRET}
    s3 = {"endpoint": store.endpoint, "bucket": BUCKET, "prefix": PREFIX, "region": "us-east-1", **login}
    before = process_ids(found)
    never = {"schedule": NEVER, "drill": "never", "recipients": [public]}
    stack.config["backup"] = {**never, "s3": s3, "keep": {"hourly": 2}}
    run = stack.up()
    assert SECRET not in run.text + json.dumps(stack.export())
    assert process_ids(found) == before
    assert stack.outputs()["backup"] == {}
    kept = store.bucket / PREFIX
    kept.mkdir(parents=True)
    long_ago = [f"test-2020010{day}T0{hour}0000Z-r1.db.gz.age" for day in (1, 2) for hour in (1, 2)]
    for name in [*long_ago, "other-20200101T000000Z-r1.db.gz.age"]:
        (kept / name).write_bytes(b"x")
    for machine in found:
        # The timer would also take one a minute after it was set up.
        assert machine.run("systemctl is-active etcd-snapshot.timer", root=True).stdout.strip() == "active"
        machine.run("systemctl stop etcd-snapshot.timer", root=True)
        assert machine.run("stat -c %a,%U /var/lib/etcd-node/rclone.conf", root=True).stdout.strip() == "600,root"
    etcd = f"etcdctl {OPTIONS} --endpoints=https://{found[0].address}:2379"
    found[0].run(f"head -c 100000 /dev/urandom | base64 | {etcd} put random", root=True)

    with probing(stack, found, tmp_path, "snapshots"):
        with all_at_once(found):
            pass
        last = status(found[0])["snapshots"]["last"]
        assert last["member"] != leader(found)
        # Two hours with a snapshot: this one and the last of those before; and what is not this cluster's.
        assert store.names(PREFIX) == sorted([long_ago[-1], "other-20200101T000000Z-r1.db.gz.age", last["name"]])
        for machine in found:
            said = status(machine)
            assert said["snapshots"]["last"] == last
            assert "cause" not in said["snapshots"]["attempt"]
        assert decrypted(kept / last["name"], private, tmp_path)["revision"] == last["revision"]

        # As if the last snapshot had been taken an hour ago.
        earlier = {**last, "taken": last["taken"] - 3600}
        etcdctl(found[0], "put", "external-etcd/snapshot-last", json.dumps(earlier))
        with all_at_once(found), store.holding():
            assert store.held.wait(30)
            worker = json.loads(etcdctl(found[0], "get", "external-etcd/snapshot-turn", "--print-value-only"))["member"]
            victim = next(machine for machine in found if machine.name == worker)
            victim.run(f"systemctl kill --signal=KILL {UNIT}", root=True)
    again = status(found[0])["snapshots"]["last"]
    assert again["member"] != worker
    assert again["name"] in store.names(PREFIX)
    decrypted(kept / again["name"], private, tmp_path)

    machine = found[1]
    store.start(secret="another-secret-access-key")
    assert "refuses the credentials" in refused(machine)
    assert len(waiting(machine)) == 1
    store.start()
    with store.flipping():
        assert "does not hold what was stored there" in refused(machine)
    store.stop()
    assert "cannot be reached" in refused(machine)
    [left] = waiting(machine)
    assert status(machine)["snapshots"]["last"] == again
    decrypted(fetched(machine, f"/var/lib/etcd.snapshots/backup/{left}", tmp_path), private, tmp_path)
    store.start()
    machine.run("etcd-node snapshot", root=True)
    assert waiting(machine) == []
    assert not [hint for hint in status(machine)["hints"] if "The snapshot of " in hint]
    third = status(machine)["snapshots"]["last"]

    stack.config["backup"] = {**never, "directory": "/mnt/share"}
    stack.up()
    assert stack.outputs()["backup"]["name"] == third["name"]
    assert SECRET not in machine.run("cat /var/lib/etcd-node/rclone.conf", root=True).stdout
    assert "no directory /mnt/share" in refused(machine)
    machine.run("mkdir /mnt/share", root=True)
    assert "on the file system of etcd's data" in refused(machine)
    fill_disk(machine, "/mnt/share", "4k")
    assert "The destination is full" in refused(machine)
    machine.run("mount -o remount,size=64m /mnt/share", root=True)
    machine.run("etcd-node snapshot", root=True)
    stored = [status(machine)["snapshots"]["last"]["name"]]
    assert machine.run("ls /mnt/share", root=True).stdout.split() == stored

    # One cannot be stored, and an attempt that was killed has left one that was not encrypted yet.
    fill_disk(found[2], "/mnt/share", "4k")
    assert "The destination is full" in refused(found[2])
    [left] = waiting(found[2])
    found[2].run("touch /var/lib/etcd.snapshots/backup/.snapshot.db", root=True)
    assert_no_drift(found[:2])
    del stack.config["backup"]
    stack.up()
    assert_no_drift(found)
    places = "/etc/systemd/system /var/lib/etcd-node /opt/etcd /run/lock /run"
    look = f"find {places} -maxdepth 2 -name '*etcd*snapshot*' -o -name '*rclone*' -o -name 'backup*'"
    for each in found:
        assert each.run(look, root=True).stdout == ""
        assert each.run("systemctl is-active etcd-snapshot.timer", root=True, check=False).stdout == "inactive\n"
        assert SECRET not in each.run("cat /var/lib/etcd-node/*", root=True).stdout
    assert machine.run("ls /mnt/share", root=True).stdout.split() == stored
    assert found[2].run("ls -A /var/lib/etcd.snapshots/backup", root=True).stdout.split() == [left]
    assert third["name"] in store.names(PREFIX)
    assert "backup" not in stack.outputs()
    assert process_ids(found) == before


def test_at_a_tick_of_the_timers_one_member_works_and_another_one_when_it_loses_power(
    machines: Machines, bootstrapped: Bootstrapped, store: S3Server, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    _, public = new_key(tmp_path)
    login = {"accessKeyId": KEY, "secretAccessKey": SECRET}
    s3 = {"endpoint": store.endpoint, "bucket": BUCKET, "prefix": PREFIX, "region": "us-east-1", **login}
    with store.holding():
        stack.config["backup"] = {"schedule": "*:*:0/5", "drill": "never", "recipients": [public], "s3": s3}
        stack.up()
        assert store.held.wait(30)
        ask = f"systemctl show -P ActiveState {UNIT}"
        assert any(all(each.run(ask).stdout == "activating\n" for each in found) for _ in every(0.2, seconds=30)), (
            "all timers have gone off, and nobody has ended"
        )
        worker = json.loads(etcdctl(found[0], "get", "external-etcd/snapshot-turn", "--print-value-only"))["member"]
        assert worker != leader(found)
        assert {each.name: journal(each).count("snapshot taken") for each in found} == {
            each.name: each.name == worker for each in found
        }
        machines.lab.kill(worker)
    others = [each for each in found if each.name != worker]
    wait = f"until etcdctl {OPTIONS} --endpoints=https://{others[0].address}:2379 get external-etcd/snapshot-last"
    others[0].run(f"{wait} | grep taken; do sleep 0.5; done", root=True, timeout=60)
    last = status(others[0])["snapshots"]["last"]
    assert last["member"] in [each.name for each in others]
    assert last["name"] in store.names(PREFIX)
    for each in others:
        if each.name != last["member"]:
            said = f"{last['member']} has stored {last['name']}"
            assert any(said in journal(each) for _ in every(0.5, seconds=20))
        assert journal(each).count("snapshot taken") == (each.name == last["member"])


def journal(machine: Machine) -> str:
    """What the timer's service has said there."""
    return machine.run(f"journalctl -u {UNIT} -o cat --no-pager", root=True).stdout


def leader(machines: Sequence[Machine]) -> str:
    """Name of the member that leads."""
    said = json.loads(etcdctl(machines[0], "endpoint", "status", "--write-out=json"))[0]["Status"]
    return str(next(row["name"] for row in member_list(machines[0]) if row["ID"] == said["leader"]))


def decrypted(path: Path, private: Path, directory: Path) -> dict[str, Any]:
    """What `etcdutl snapshot status` says of it, after the private key has opened it; it can also be restored."""
    snapshot = opened(path, private, directory)
    etcdutl = etcd_binary(DEFAULT_ETCD, "etcdutl")
    restore = [str(etcdutl), "snapshot", "restore", str(snapshot), f"--data-dir={directory / path.name}.data"]
    subprocess.run(restore, capture_output=True, check=True)
    said = subprocess.run(
        [etcdutl, "snapshot", "status", snapshot, "--write-out=json"], capture_output=True, check=True, text=True
    )
    return dict(json.loads(said.stdout))


def opened(path: Path, private: Path, directory: Path) -> Path:
    """The snapshot in a file that was stored."""
    plain = subprocess.run([age_program("age"), "-d", "-i", private, path], capture_output=True, check=True).stdout
    snapshot = directory / f"{path.name}.db"
    snapshot.write_bytes(gzip.decompress(plain))
    return snapshot


def fetched(machine: Machine, path: str, directory: Path) -> Path:
    """A copy of a machine's file, on this computer."""
    copy = directory / Path(path).name
    copy.write_bytes(b64decode(machine.run(f"base64 {path}", root=True).stdout))
    return copy
