"""The parts of the manual that come from the table of alerts and from the metrics of `etcd-node`."""

from collections.abc import Iterable, Mapping
from itertools import groupby

from ..node.shared.metric_names import METRICS
from .alerts import ALERTS, Alert

IN_THE_LAB: Mapping[str, str] = {
    "etcdMembersDown": ("`systemctl stop etcd` on one of five members. It said: *etcd member etcd-3 is down.*"),
    "etcdQuorumAtRisk": (
        "`systemctl stop etcd` on two of five members. It said: *etcd cluster test does not tolerate another failure.*"
    ),
    "etcdInsufficientMembers": (
        "`systemctl stop etcd` on three of five members. It said: *etcd cluster test has no quorum.*"
    ),
    "etcdNoLeader": ("The two members that were left said so. It said: *etcd member etcd-4 has no leader.*"),
    "etcdHighNumberOfLeaderChanges": (
        "`etcdctl move-leader` from one to the next, without a pause. "
        "It said: *etcd cluster test has changed its leader 12.07 times in 15 min.*"
    ),
    "etcdHighFsyncDurations": (
        "Each sync of one member was delayed by 1.2 s. "
        "It said: *etcd member etcd-2 waits 2.038s for its disk (p99, log).*"
    ),
    "etcdHighCommitDurations": (
        "The same delays. It said: *etcd member etcd-2 waits 4.076s for its disk (p99, database).*"
    ),
    "etcdDatabaseQuotaLowSpace": (
        "One key was written until a quota of 32 MiB was full; `etcd-node recover-space` ended it. "
        "It said: *etcd member etcd-3: the database has 97.11% of its quota.*"
    ),
    "etcdDatabaseHighFragmentationRatio": (
        "A key was written a dozen times, with a MiB each, and compacted; more writes ended it. "
        "It said: *etcd member etcd-3: only 12.67% of the database file is in use.*"
    ),
    "etcdAlarmRaised": ("The same full database. It said: *etcd cluster test has raised the alarm NOSPACE.*"),
    "etcdCertificateExpires": (
        "Certificates for 100 hours; `pulumi up` with the default renewed them. "
        "It said: *apiserver-etcd-client of the etcd cluster test expires in 4d 3h 59m 26s.*"
    ),
    "etcdCaExpires": (
        "A CA with one hour left, added to `ca.crt` of one member; the next update removed it. "
        "It said: *A CA in ca.crt of the etcd cluster test expires in 59m 40s.*"
    ),
    "etcdSnapshotOld": (
        "Snapshots were configured, and none was stored; `etcd-node snapshot` ended it. "
        "It said: *etcd cluster test: no snapshot was stored yet.*"
    ),
    "etcdRestoreDrillFailed": (
        "100 bytes were cut off a stored snapshot; the drill of the next one ended it. "
        "It said: *etcd cluster test: the newest snapshot could not be restored.*"
    ),
    "etcdRestoreNotProved": (
        "Drills were configured, as if for years, and none had run; the drill after the first snapshot ended it. "
        "It said: *etcd cluster test: no restore was proved for 9830d 0h 52m 45s.*"
    ),
    "etcdMachineDrift": (
        "`chmod 666` of the unit; the next update put it right. "
        "It said: *The machine of the etcd member etcd-2 differs from what was installed.*"
    ),
    "etcdClaimStuck": (
        "A claim of 2020, written by hand without a lease, until it was deleted. "
        "It said: *An operator has been changing the etcd cluster test for 2525d 0h 45m 13s.*"
    ),
    "etcdMaintenanceFails": (
        "Its unit ran `false`, until a run that succeeded. It said: *The maintenance of the etcd member etcd-1 fails.*"
    ),
    "etcdNodeMetricsOld": (
        "No metrics were collected for some seconds. "
        "It said: *Metrics of the machine of the etcd member etcd-3 are old or not complete.*"
    ),
}
"""Alert -> what was done to a cluster in tests/lab/test_alerts.py, and what the alert then said."""


def alert_table() -> str:
    """A row for each alert, Markdown."""
    rows = [("Alert", "Severity", "Fires when", "For", "Name and threshold")]
    rows += [
        (f"[{each.name}](alerts.md#{each.name.lower()})", each.severity, each.when, each.hold, each.source)
        for each in ALERTS
    ]
    return _table(rows)


def metric_table() -> str:
    """A row for each metric of `etcd-node`, Markdown."""
    return _table([("Metric", "Meaning"), *((f"`{name}`", text) for name, text in METRICS.items())])


def alert_sections() -> str:
    """A section for each alert, Markdown."""
    return "\n".join(_section(list(found)) for _, found in groupby(ALERTS, lambda each: each.name))


def _section(found: list[Alert]) -> str:
    last = found[-1]
    said = [
        f"**{each.severity.capitalize()}.** {each.when}, {'at once' if each.hold == '0s' else f'for {each.hold}'}."
        for each in found
    ]
    page, _, anchor = last.page.partition("#")
    more = [] if page == "alerts.md" else [f"More: [{page}]({page}#{anchor})", ""]
    words = [*said, f"**Cause.** {last.cause}", f"**Consequence.** {last.consequence}"]
    if last.name in IN_THE_LAB:
        words.append(f"**In the lab.** {IN_THE_LAB[last.name]}")
    return "\n".join([f"## {last.name}", "", "\n\n".join(words), "", "```sh", *last.commands, "```", "", *more])


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    head, *rest = rows
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *rest))
