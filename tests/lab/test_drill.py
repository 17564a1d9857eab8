"""The drill proves that the newest stored snapshot can be restored, and finds one that cannot."""

import json
from pathlib import Path

from lab import Machine
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import etcdctl, process_ids
from tests.support.machines import fill_disk
from tests.support.prober import probing

from .test_backups import NEVER, leader, new_key, status

SHARE, KEPT = "/mnt/share", "/root/kept"
KEY = "/run/etcd-node-drill-key.json"
LEFT = f"ls -d /var/lib/etcd.snapshots/drill /run/etcd-drill {KEY} 2>/dev/null; pgrep -fa client-urls=[u]nix"
# Everything is stopped when the scratch etcd has created its socket, so it is there when everything is killed.
KILL = (
    "systemctl start --no-block etcd-drill; "
    "for n in $(seq 1500); do [ -S /run/etcd-drill/clients:1 ] && break; sleep 0.02; done; "
    "systemctl kill --signal=STOP etcd-drill; "
    "pgrep -f client-urls=[u]nix && test -d /var/lib/etcd.snapshots/drill/data || exit 1; "
    "systemctl kill --signal=KILL etcd-drill; "
    "until systemctl is-failed -q etcd-drill; do sleep 0.05; done"
)
FLIP = """python3 - <<'end'
with open("{path}", "r+b") as file:
    file.seek({at})
    byte = file.read(1)[0]
    file.seek({at})
    file.write(bytes([byte ^ 1]))
end"""
AGE = "/opt/etcd/backup/age-v1.3.1"


class Members:
    """Three members; one of the followers stores a snapshot in its directory."""

    def __init__(self, found: list[Machine]) -> None:
        self.all = found
        self.worker = next(machine for machine in found if machine.name != leader(found))
        self.other = next(machine for machine in found if machine is not self.worker)

    def drill(self) -> str:
        """What `etcd-node drill` says. A failure must also be in `status`, there and on the others."""
        done = self.worker.run("etcd-node drill", root=True, check=False)
        failed = self.metrics()["etcd_node_drill_failed"]
        assert failed == int(done.returncode != 0)
        hints = {machine: [hint for hint in status(machine)["hints"] if "drill" in hint] for machine in self.all}
        if done.returncode == 0:
            assert not any(hints.values()), hints
            return done.stdout
        for machine, found in hints.items():
            where = "on this machine" if machine is self.worker else f"on {self.worker.name}"
            assert [hint for hint in found if f"The drill failed {where}" in hint], found
        [hint] = hints[self.worker]
        assert hint.split(" ago: ")[1] in done.stderr
        return done.stderr

    def metrics(self) -> dict[str, float]:
        """The metrics of another machine than that of the drill: name -> the last value."""
        lines = self.other.run("etcd-node metrics", root=True).stdout.splitlines()
        return {line.partition("{")[0]: float(line.split()[-1]) for line in lines if not line.startswith("#")}

    def left(self) -> list[str]:
        """What a drill has left on the machine."""
        return self.worker.run(LEFT, root=True, check=False).stdout.split()


def test_a_drill_restores_the_newest_snapshot_and_finds_one_that_is_not_what_was_stored(
    bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped()
    _, public = new_key(tmp_path)
    stack.config["backup"] = {"schedule": NEVER, "drill": NEVER, "recipients": [public], "directory": SHARE}
    stack.up()
    for machine in found:
        assert machine.run("systemctl is-active etcd-drill.timer", root=True).stdout.strip() == "active"
        # The timer would take a snapshot a minute after it was set up.
        machine.run("systemctl stop etcd-snapshot.timer", root=True)
    members, before = Members(found), process_ids(found)
    worker = members.worker
    fill_disk(worker, SHARE, "64m")

    with probing(stack, found, tmp_path, "drill"):
        worker.run("etcd-node snapshot", root=True)
        # The first one is restored at once. This waits for it.
        assert "proved" in members.drill()
    first = status(worker)["snapshots"]["last"]
    for machine in found:
        proved = status(machine)["snapshots"]["drill"]["proved"]
        assert (proved["name"], proved["member"]) == (first["name"], worker.name)
        assert {key: proved[key] for key in ("revision", "keys", "hash")} == {
            key: first[key] for key in ("revision", "keys", "hash")
        }
        assert (
            f"restore  proved 0 min ago by {worker.name}: {first['name']}"
            in machine.run("etcd-node status", root=True).stdout
        )
    assert members.left() == []
    known = members.metrics()
    assert known["etcd_node_snapshot_last_timestamp_seconds"] == first["taken"]
    assert known["etcd_node_drill_last_proved_timestamp_seconds"] == proved["at"]
    assert known["etcd_node_unit_failed"] == 0

    worker.run("etcd-node snapshot", root=True)
    second = status(worker)["snapshots"]["last"]["name"]
    assert worker.run(f"stat -c %a,%U {KEY}; stat -f -c %T {KEY}", root=True).stdout.split() == ["600,root", "tmpfs"]
    assert members.left() == [KEY]
    said = members.other.run("etcd-node drill", root=True).stdout
    assert f"{worker.name} has the key of the newest snapshot, {second}" in said
    worker.run(KILL, root=True)
    assert members.left() == [KEY]
    assert [hint for hint in status(worker)["hints"] if f"the drill of {second} has begun and not ended" in hint]

    path = f"{SHARE}/{second}"
    size = int(worker.run(f"cp {path} {KEPT}; stat -c %s {path}", root=True).stdout)
    worker.run(FLIP.format(path=path, at=size // 2), root=True)
    assert f"{second} is damaged or not complete: age says: failed to decrypt" in members.drill()
    worker.run(f"cp {KEPT} {path}; truncate -s -100 {path}", root=True)
    assert f"{second} is damaged or not complete" in members.drill()

    # Another cluster's, for its recipients; then even for this key.
    etcdctl(worker, "put", "external-etcd/cluster", "production")
    etcdctl(worker, "snapshot", "save", "/root/other.db")
    etcdctl(worker, "put", "external-etcd/cluster", "test")
    worker.run(f"gzip -c /root/other.db | {AGE} -r {public} -o {path}", root=True)
    assert f"{second} does not decrypt with this private key" in members.drill()
    identity = json.loads(worker.run(f"cat {KEY}", root=True).stdout)["identity"]
    recipient = f"$(echo {identity} | {AGE.replace('age-v', 'age-keygen-v')} -y)"
    worker.run(f"gzip -c /root/other.db | {AGE} -r {recipient} -o {path}", root=True)
    assert f"{second} is not what was stored under that name: it is a snapshot of the cluster 'production'" in (
        members.drill()
    )
    assert members.left() == [KEY]
    assert status(members.other)["snapshots"]["drill"]["proved"]["name"] == first["name"]

    worker.run(f"cp {KEPT} {path}", root=True)
    assert f"the restore of {second} is proved" in members.drill()
    assert members.left() == []
    assert process_ids(found) == before

    stack.config["backup"]["drill"] = "never"
    stack.up()
    assert stack.outputs()["backup"]["drill"]["proved"]["name"] == second
    assert all(0 < row["in_use_bytes"] <= row["database_bytes"] for row in stack.outputs()["members"])
    look = "ls /etc/systemd/system /run/systemd/system.control | grep drill"
    assert worker.run(look, root=True, check=False).stdout == ""
