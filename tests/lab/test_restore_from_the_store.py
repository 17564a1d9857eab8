"""A cluster is restored from the store of its snapshots: by the machines, with a private key that they do not keep."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import assert_serves_all_members, etcdctl, process_ids
from tests.support.machines import Machines
from tests.support.manual import manual_lines
from tests.support.s3_server import BUCKET, KEY, SECRET, S3Server
from tests.support.stacks import Run, Stack, Stacks

from .test_backups import NEVER, PREFIX, new_key, store

__all__ = ["store"]

_STAGED = "test -f /var/lib/etcd.etcd-restored/member/.restored"


def test_a_cluster_that_lost_everything_is_restored_from_the_store(
    machines: Machines, stacks: Stacks, bootstrapped: Bootstrapped, store: S3Server, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    (tmp_path / "other").mkdir()
    (private, public), (other, _) = new_key(tmp_path), new_key(tmp_path / "other")
    login = {"accessKeyId": KEY, "secretAccessKey": SECRET}
    s3 = {"endpoint": store.endpoint, "bucket": BUCKET, "prefix": PREFIX, "region": "us-east-1", **login}
    stack.config["backup"] = backup = {"schedule": NEVER, "drill": "never", "recipients": [public], "s3": s3}
    stack.up()
    for machine in found:
        # It would also take one a minute after it was set up.
        machine.run("systemctl stop etcd-snapshot.timer", root=True)
    foreign = _snapshot(found[0], store, "external-etcd/cluster", "of-another")
    etcdctl(found[0], "put", "external-etcd/cluster", "test")
    newest = _snapshot(found[0], store, "kept", "yes")
    etcdctl(found[0], "put", "kept", "no")

    # While the members serve: nothing happens to them.
    before = process_ids(found)
    stack.config["restore"] = {"from": foreign, "confirm": "test", "identity": private.read_text()}
    assert "is a snapshot of the cluster 'of-another', not of test; nothing was changed" in _refused(stack)
    assert process_ids(found) == before
    assert _values(found) == ["no"] * 3

    found = _wiped(machines, found)
    stack.config["restore"] |= {"from": "newest", "number": 2, "identity": other.read_text()}
    assert f"{newest} does not decrypt with this private key" in _refused(stack)
    assert all(machine.run("ls /var/lib/etcd/member", root=True, check=False).returncode for machine in found)
    stack.config["restore"]["identity"] = private.read_text()
    stack.up_killed_when(lambda: found[0].run(_STAGED, root=True, check=False).returncode == 0)
    # One that is stored meanwhile is not taken: the restore goes on with the one with which it began.
    later = store.bucket / PREFIX / foreign.replace(foreign[5:13], "20990101")
    later.write_bytes(b"not a snapshot")
    stack.up()
    later.unlink()
    assert_serves_all_members(found)
    assert _values(found) == ["yes"] * 3
    for machine in found:
        told = json.loads(machine.run("cat /var/lib/etcd-node/restored.json", root=True).stdout)
        assert told["from"] == newest
        _assert_no_key(machine, private)
    _snapshot(found[1], store, "kept", "again")

    # Nothing is left but the snapshots and the private key. The new account has five machines.
    found = machines.fresh(5)
    written = manual_lines("Restore from nothing", 0, "backups.md", "yaml").replace("production", "test")
    edit = {key.removeprefix("external-etcd:"): value for key, value in yaml.safe_load(written)["config"].items()}
    anew = stacks.new(found, backup=backup, **edit)
    anew.config["restore"]["identity"] = private.read_text()
    _assert_as_in_the_manual(anew.up())
    assert_serves_all_members(found)
    assert _values(found) == ["again"] * 5
    assert "AGE-SECRET-KEY" not in json.dumps(anew.export())
    assert [name for name in _commands(anew) if name.endswith(("-stage", "-find"))] != []

    # The next update removes the key from the state, and touches no machine.
    before = process_ids(found)
    del anew.config["restore"]["identity"]
    anew.up()
    assert [name for name in _commands(anew) if name.endswith(("-stage", "-find"))] == []
    anew.up("--expect-no-changes")
    assert process_ids(found) == before


def _wiped(machines: Machines, found: Sequence[Machine]) -> list[Machine]:
    """The same machines, newly installed."""
    machines.lab.wipe(*[machine.name for machine in found])
    return [machines.lab.machine(machine.name) for machine in found]


def _snapshot(machine: Machine, store: S3Server, key: str, value: str) -> str:
    """Name of a snapshot that has this value."""
    etcdctl(machine, "put", key, value)
    before = store.names(PREFIX)
    machine.run("etcd-node snapshot", root=True)
    [name] = [each for each in store.names(PREFIX) if each not in before]
    return name


def _refused(stack: Stack) -> str:
    done = stack.up(check=False)
    assert done.code != 0
    return done.text


def _values(machines: Sequence[Machine]) -> list[str]:
    return [etcdctl(machine, "get", "kept", "--print-value-only").strip() for machine in machines]


def _assert_as_in_the_manual(run: Run) -> None:
    shown = manual_lines("Restore from nothing", 0, "backups.md", "text")
    ours = {
        "s3:etcd-backups/production": f"s3:{BUCKET}/{PREFIX}",
        "etcd-2, etcd-3": "etcd-2, etcd-3, etcd-4, etcd-5",
        "etcd-5: no member stops": "etcd-5: no member stops; a slow disk is accepted",
        "3 voters, tolerates 1 failure": "5 voters, tolerates 2 failures",
        "0 of 3 voters": "0 of 5 voters",
    }
    for line in shown.splitlines():
        for theirs, text in ours.items():
            line = line.replace(theirs, text)  # noqa: PLW2901
        assert line.strip() in run.text


def _assert_no_key(machine: Machine, private: Path) -> None:
    """No file of the machine has the private key, and no decrypted snapshot is left."""
    [key] = [line for line in private.read_text().splitlines() if line.startswith("AGE-SECRET-KEY")]
    places = "/etc /home /opt /root /run/etcd-node /tmp /usr/local /var"
    # From standard input, so that grep does not find its own command line in a journal.
    assert machine.run(f"grep -rlF -f - {places}", root=True, check=False, input=key).stdout == ""
    assert machine.run("find /var/lib/etcd.snapshots -type f", root=True).stdout == ""


def _commands(stack: Stack) -> list[str]:
    rows: list[dict[str, Any]] = stack.export()["deployment"]["resources"]
    return [row["urn"].split("::")[-1] for row in rows if row["type"] == "command:remote:Command"]
