"""Alerts fire when what they are about is done to real members, and clear afterwards; none fires during changes."""

import contextlib
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from components.monitoring.alerts import ALERTS
from lab import Machine
from tests.support.alerting import Watched, watching
from tests.support.authority import OwnAuthority
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import OPTIONS, etcdctl, member_list, running_versions
from tests.support.machines import fill_disk
from tests.support.slow_disk import slow_syncs
from tests.support.stacks import machine_config

from .test_backups import leader, new_key
from .test_drill import SHARE, Members
from .test_space import QUOTA, fill_up
from .test_two_operators import KEY as CLAIM

VERSION = "3.7.3"
DROP_IN = "/run/systemd/system/etcd-maintenance.service.d"
NEVER_ELAPSES = (
    "place=/run/systemd/system/etcd-$timer.timer.d; mkdir -p $place; "
    "printf '[Timer]\nOnActiveSec=\nOnCalendar=2099-01-01\n' >$place/a.conf"
)
"""A stopped timer would be drift."""
CHANGED = "/etc/systemd/system/etcd.service"
CA = "/etc/etcd/pki/ca.crt"
PICTURE = "DASHBOARD_PICTURE"
"""Environment variable with the path of a PNG that a browser (chromium) draws; docs/dashboard.png is from it."""
ONLY_BY_PROMTOOL = {
    ("etcdMemberRestarts", "warning"),
    ("etcdMemberCommunicationSlow", "warning"),
    ("etcdVersionsDiffer", "warning"),
}
"""Six restarts, slow links and hours between two versions: tests/unit/test_monitoring_rules.py."""


def test_alerts_fire_and_clear_by_doing_the_thing_and_none_by_changes(
    bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped(5)
    for machine in found:
        machine.run(f"for timer in maintenance snapshot drill; do {NEVER_ELAPSES}; done", root=True)
    stack.config |= {"prometheus": True, "metrics": "private", "maintenance": {"recoverSpace": True}}
    stack.up()

    # A member is away for a second, and not for minutes. That it has no leader, it says for a second everywhere.
    with watching(stack, found[:3], speed=40, renewal_hours=20) as alerts, alerts.quiet():
        stack.config |= {"quota": f"{QUOTA}", "version": VERSION}
        stack.up()
        assert running_versions(found[:3]) == [VERSION] * 3
        stack.config["machines"] = [machine_config(machine) for machine in found]
        stack.config["certificates"] = {"validityHours": 100, "earlyRenewalHours": 20}
        stack.up()
    with watching(stack, found, speed=600) as alerts:
        # All certificates are as old as if nobody had run `pulumi up` for a year.
        due = ["etcdCertificateExpires", "etcdMachineDrift", "etcdCaExpires"]
        spoil(found)
        alerts.collect()
        alerts.fires(*due, "etcdClaimStuck", "etcdMaintenanceFails")
        said = found[1].run("etcd-node status", root=True).stdout
        assert f"Not as it was installed: {CHANGED} has mode 0666, not 0644. See `etcd-node drift`" in said
        found[0].run(f"rm -r {DROP_IN}; systemctl daemon-reload; systemctl start etcd-maintenance", root=True)
        etcdctl(found[0], "del", CLAIM)

        fill_up(found[0], 12)
        revision = json.loads(etcdctl(found[0], "get", "full", "--write-out=json"))["header"]["revision"]
        etcdctl(found[0], "compact", "--physical", str(revision))
        # Free pages are counted when the next writes are committed.
        etcdctl(found[0], "put", "written", "now")
        alerts.collect()
        alerts.fires(*due, "etcdDatabaseHighFragmentationRatio")
        fill_up(found[0], 60, until="space exceeded")
        alerts.collect()
        alerts.fires(*due, "etcdDatabaseQuotaLowSpace", "etcdAlarmRaised")
        found[0].run("etcd-node recover-space", root=True, timeout=120)
        alerts.collect()
        alerts.fires(*due)

        _, public = new_key(tmp_path)
        stack.config["certificates"] = {}
        stack.config["backup"] = {"schedule": "yearly", "drill": "yearly", "recipients": [public], "directory": SHARE}
        for machine in found:
            fill_disk(machine, SHARE, "64m")
        stack.up()
        members = Members(found)
        for machine in found:
            # As if drills had been wanted for years.
            machine.run("touch -d 2000-01-01 /etc/systemd/system/etcd-drill.timer", root=True)
        alerts.collect()
        alerts.fires("etcdSnapshotOld", "etcdRestoreNotProved")
        members.worker.run("etcd-node snapshot", root=True)
        assert "proved" in members.drill()
        alerts.collect()
        alerts.fires()
        alerts.shows_every_panel()
        if PICTURE in os.environ:
            alerts.draw(Path(os.environ[PICTURE]).absolute(), 60)
        members.worker.run("etcd-node snapshot", root=True)
        members.worker.run(f"truncate -s -100 {SHARE}/$(ls -t {SHARE} | head -1)", root=True)
        members.drill()
        alerts.collect()
        alerts.fires("etcdRestoreDrillFailed")
        members.worker.run("etcd-node snapshot", root=True)
        members.drill()
        alerts.collect()
        alerts.fires()

        found[0].run("systemctl stop etcd", root=True)
        alerts.fires("etcdMembersDown")
        found[1].run("systemctl stop etcd", root=True)
        alerts.fires("etcdMembersDown", "etcdQuorumAtRisk")
        found[2].run("systemctl stop etcd", root=True)
        alerts.fires("etcdMembersDown", "etcdInsufficientMembers", "etcdNoLeader")
        for machine in found[:3]:
            machine.run("systemctl start --no-block etcd", root=True)
        alerts.fires("etcdNodeMetricsOld")
        alerts.collect()
        change_leaders(alerts, found)
        alerts.fires()
        follower = next(machine for machine in found if machine.name != leader(found))
        with slow_syncs(follower, 1.2), again_and_again(found, "$etcdctl put written now"):
            alerts.fires("etcdHighFsyncDurations", "etcdHighCommitDurations")
        alerts.fires()
        alerts.collect()
        alerts.were_delivered()
    for (name, severity), summary in alerts.seen.items():
        print(f"{name} {severity}: {summary}")
    assert alerts.seen.keys() | ONLY_BY_PROMTOOL == {(each.name, each.severity) for each in ALERTS}


def spoil(found: list[Machine]) -> None:
    """Somebody writes the claim without a lease, changes a file, trusts one more CA, and breaks maintenance."""
    held = {"operator": "0123456789abcdef", "by": "somebody", "since": "2020-01-01T00:00:00Z"}
    etcdctl(found[0], "put", CLAIM, json.dumps(held))
    found[0].run(f"mkdir -p {DROP_IN}; printf '[Service]\nExecStart=\nExecStart=false\n' >{DROP_IN}/a.conf", root=True)
    found[0].run("systemctl daemon-reload; ! systemctl start etcd-maintenance", root=True)
    found[1].run(f"chmod 666 {CHANGED}", root=True)
    certificate, _ = OwnAuthority().issue("an-earlier-ca", life=timedelta(hours=1))
    found[2].run(f"cat >>{CA}", input=certificate, root=True)


def change_leaders(alerts: Watched, found: list[Machine]) -> None:
    """Hand leadership around until the alert fires."""
    ids = " ".join(f"{row['ID']:x}" for row in member_list(found[0]))
    with again_and_again(found, f"for id in {ids}; do $etcdctl move-leader $id; done"):
        alerts.fires("etcdHighNumberOfLeaderChanges")


@contextlib.contextmanager
def again_and_again(found: list[Machine], line: str) -> Iterator[None]:
    """Run a line with `$etcdctl` on the first of these machines, until the block ends."""
    endpoints = ",".join(f"https://{machine.address}:2379" for machine in found)
    loop = f"etcdctl='etcdctl {OPTIONS} --endpoints={endpoints}'; while :; do {line}; done"
    found[0].run(["systemd-run", "--unit=loop", "--collect", "sh", "-c", loop], root=True)
    try:
        yield
    finally:
        found[0].run("systemctl stop loop", root=True)
