"""The table of recorded series and alerts: rules, the dashboard and the manual are made from it.

Names and thresholds are those of etcd's own mixin (etcd's `contrib/mixin`) where it has the alert; `source` says so.
How long an expression must hold is longer than a healthy cluster needs for a rolling change, an upgrade or a growth:
docs/decisions/monitoring.md has the reasons.
"""

from dataclasses import dataclass, replace
from typing import Any

from ..plan.maintenance import IN_USE_PERCENT, QUOTA_PERCENT
from . import MACHINES_JOB

WARNING, CRITICAL = "warning", "critical"

FSYNC = "member:etcd_wal_fsync_seconds:p99_5m"
COMMIT = "member:etcd_backend_commit_seconds:p99_5m"
ROUND_TRIP = "member:etcd_peer_round_trip_seconds:p99_5m"
OF_QUOTA = "member:etcd_database_of_quota:ratio"
IN_USE = "member:etcd_database_in_use:ratio"
LEADER_CHANGES = "cluster:etcd_unplanned_leader_changes:increase_15m"
SPARE = "cluster:etcd_spare_members:count"

_MEMBER = "job, cluster, member"
_MIXIN = "etcd's mixin"
_STATUS = "sudo etcd-node status"
_LOG = "journalctl -u etcd -n 100 --no-pager"
_EXPIRY = "min by (cluster, certificate) (etcd_node_certificate_expiry_timestamp_seconds{NODE,kind%s}) - time()"
_SLOW_DISK = ("sudo etcd-node top --once", "cat /proc/pressure/io", "systemd-cgtop --order=io -n 2 --batch")


def _p99(metric: str, *more: str) -> str:
    by = ", ".join([_MEMBER, *more, "le"])
    return f"histogram_quantile(0.99, sum by ({by}) (rate({metric}_bucket{{ETCD}}[5m])))"


RECORDED: dict[str, str] = {
    FSYNC: _p99("etcd_disk_wal_fsync_duration_seconds"),
    COMMIT: _p99("etcd_disk_backend_commit_duration_seconds"),
    ROUND_TRIP: _p99("etcd_network_peer_round_trip_time_seconds", "To"),
    OF_QUOTA: "etcd_mvcc_db_total_size_in_bytes{ETCD} / etcd_server_quota_backend_bytes{ETCD}",
    IN_USE: "etcd_mvcc_db_total_size_in_use_in_bytes{ETCD} / etcd_mvcc_db_total_size_in_bytes{ETCD}",
    # A restart of a member is seen as one change by itself, and may be one of the leader.
    LEADER_CHANGES: (
        "max by (job, cluster) (increase(etcd_server_leader_changes_seen_total{ETCD}[15m])) - "
        "sum by (job, cluster) (changes(process_start_time_seconds{ETCD}[15m]))"
    ),
    # Members that run beyond half of them: 1 is the smallest quorum.
    SPARE: "sum by (job, cluster) (up{ETCD}) - floor(count by (job, cluster) (up{ETCD}) / 2) - 1",
}
"""Recorded series -> expression."""


@dataclass(frozen=True)
class Alert:
    """An alert, and what its reader needs to know."""

    name: str
    severity: str
    expr: str
    """It fires if this has a result,"""
    hold: str
    """for so long."""
    source: str
    """Of name and threshold."""
    when: str
    """When it fires, for the manual."""
    summary: str
    """One line; may have Prometheus' templates."""
    cause: str
    """What the cause usually is."""
    consequence: str
    """What happens if nobody acts."""
    commands: tuple[str, str, str]
    """The first three, on a member if they do not say `pulumi`."""
    page: str
    """In `docs/`, with the heading's anchor."""


def _also_critical(warning: Alert, **differs: Any) -> tuple[Alert, Alert]:
    """An alert, and the critical one of its name, which differs in these fields."""
    return warning, replace(warning, severity=CRITICAL, **differs)


ALERTS = (
    Alert(
        "etcdMembersDown",
        WARNING,
        "up{ETCD} == 0",
        "15m",
        f"{_MIXIN} has 20 min",
        "Prometheus does not reach a member",
        "etcd member {{ $labels.member }} is down.",
        "Its etcd does not run, its machine is down, or Prometheus does not reach it. Or it has left the cluster, and "
        "Prometheus still has the old targets.",
        "The cluster tolerates one failure less.",
        (_STATUS, _LOG, "systemctl status etcd --no-pager"),
        "operations.md#a-lost-machine-or-disk",
    ),
    Alert(
        "etcdQuorumAtRisk",
        CRITICAL,
        f"{SPARE}{{ETCD}} == 0 and on (job, cluster) count by (job, cluster) (up{{ETCD}} == 0) > 0",
        "5m",
        "as few members as a quorum needs, while others are down",
        "One more failure stops the cluster",
        "etcd cluster {{ $labels.cluster }} does not tolerate another failure.",
        "As many members are down as the cluster tolerates.",
        "If one more member fails, nothing can be written. No update restarts a member until the others are back.",
        (_STATUS, _LOG, "systemctl status etcd --no-pager"),
        "operations.md#a-lost-machine-or-disk",
    ),
    Alert(
        "etcdInsufficientMembers",
        CRITICAL,
        f"{SPARE}{{ETCD}} < 0",
        "3m",
        _MIXIN,
        "Prometheus reaches less than a quorum",
        "etcd cluster {{ $labels.cluster }} has no quorum.",
        "A majority of the members is down, or Prometheus' network to them.",
        "Nothing can be written or read. Pods go on, and Kubernetes changes nothing.",
        (_STATUS, _LOG, "systemctl status etcd --no-pager"),
        "operations.md#a-majority-was-lost",
    ),
    Alert(
        "etcdNoLeader",
        CRITICAL,
        "etcd_server_has_leader{ETCD} == 0",
        "1m",
        _MIXIN,
        "A member knows no leader",
        "etcd member {{ $labels.member }} has no leader.",
        "The member does not reach a majority: by its network, or because the others are down.",
        "Clients of this member get errors. If all members say so, so do all clients.",
        (_STATUS, _LOG, "ss -tn state established '( sport = :2380 or dport = :2380 )'"),
        "operations.md#a-majority-was-lost",
    ),
    Alert(
        "etcdHighNumberOfLeaderChanges",
        WARNING,
        f"{LEADER_CHANGES}{{ETCD}} >= 4",
        "5m",
        f"{_MIXIN}, without changes that restarts explain",
        "The leader has changed four times in 15 min, restarts not counted",
        "etcd cluster {{ $labels.cluster }} has changed its leader {{ $value | humanize }} times in 15 min.",
        "Heartbeats arrive late: the disk, the CPU or the network of the leader is too slow, or its machine pauses.",
        "Each change delays requests, and can lose a proposal that its client then has to repeat.",
        ("sudo etcd-node top --once", "cat /proc/pressure/cpu /proc/pressure/io", _LOG),
        "alerts.md#etcdhighnumberofleaderchanges",
    ),
    Alert(
        "etcdMemberRestarts",
        WARNING,
        "changes(process_start_time_seconds{ETCD}[30m]) > 5",
        "0s",
        "a rolling change restarts a member once",
        "etcd has started more than five times in 30 min",
        "etcd member {{ $labels.member }} restarts again and again.",
        "etcd ends by itself: a full disk, too little memory, or damaged data.",
        "While it restarts, the cluster tolerates one failure less.",
        (_LOG, "df -h", "journalctl -k --grep 'out of memory' --no-pager"),
        "operations.md#a-lost-machine-or-disk",
    ),
    *_also_critical(
        Alert(
            "etcdHighFsyncDurations",
            WARNING,
            f"{FSYNC}{{ETCD}} > 0.5",
            "10m",
            f"{_MIXIN}; etcd's FAQ wants less than 10 ms",
            "p99 of syncs of the log is above 500 ms",
            "etcd member {{ $labels.member }} waits {{ $value | humanizeDuration }} for its disk (p99, log).",
            "The disk is slow, or something else writes to it.",
            "Every write waits for it. Heartbeats of a leader are late, and others elect a new one.",
            _SLOW_DISK,
            "alerts.md#etcdhighfsyncdurations",
        ),
        expr=f"{FSYNC}{{ETCD}} > 1",
        source=_MIXIN,
        when="p99 of syncs of the log is above 1 s",
    ),
    Alert(
        "etcdHighCommitDurations",
        WARNING,
        f"{COMMIT}{{ETCD}} > 0.25",
        "10m",
        f"{_MIXIN}; etcd's FAQ wants less than 25 ms",
        "p99 of commits of the database is above 250 ms",
        "etcd member {{ $labels.member }} waits {{ $value | humanizeDuration }} for its disk (p99, database).",
        "The disk is slow, or something else writes to it, or the database is large and fragmented.",
        "Requests are slow, and snapshots and compactions take long.",
        _SLOW_DISK,
        "alerts.md#etcdhighcommitdurations",
    ),
    Alert(
        "etcdMemberCommunicationSlow",
        WARNING,
        f"{ROUND_TRIP}{{ETCD}} > 0.15",
        "10m",
        _MIXIN,
        "p99 of round trips between two members is above 150 ms",
        "etcd member {{ $labels.member }} waits {{ $value | humanizeDuration }} for member {{ $labels.To }} (p99).",
        "The link is slow or loses packets, or one of the two machines has no CPU left.",
        "Every write waits for a majority. Near the election timeout, leaders change.",
        ("sudo etcd-node top --once", "nstat -az TcpRetransSegs", "ping -c 20 ADDRESS-OF-THE-OTHER"),
        "alerts.md#etcdmembercommunicationslow",
    ),
    *_also_critical(
        Alert(
            "etcdDatabaseQuotaLowSpace",
            WARNING,
            f"{OF_QUOTA}{{ETCD}} > 0.8",
            "10m",
            "time to act before the next one",
            "The database has 80 % of its quota",
            "etcd member {{ $labels.member }}: the database has {{ $value | humanizePercentage }} of its quota.",
            "Clients store more (events, custom resources), or the file has free space that only a defragmentation "
            "gives back.",
            "At 100 % etcd refuses all writes (alarm NOSPACE).",
            (_STATUS, "sudo etcd-node defragment", "pulumi config set quota 8GiB"),
            "operations.md#free-space-in-the-database-defragmentation",
        ),
        expr=f"{OF_QUOTA}{{ETCD}} > 0.95",
        source=_MIXIN,
        when="The database has 95 % of its quota",
        page="operations.md#the-database-is-full-alarm-nospace",
    ),
    Alert(
        "etcdDatabaseHighFragmentationRatio",
        WARNING,
        f"{IN_USE}{{ETCD}} < {IN_USE_PERCENT / 100} and {OF_QUOTA}{{ETCD}} > {QUOTA_PERCENT / 100}",
        "30m",
        f"{_MIXIN} for the share in use; the size is the default rule of `maintenance`",
        f"Less than {IN_USE_PERCENT} % of a database above {QUOTA_PERCENT} % of the quota is in use",
        "etcd member {{ $labels.member }}: only {{ $value | humanizePercentage }} of the database file is in use.",
        "Much was deleted and compacted. The file never shrinks by itself.",
        "The file counts for the quota, and takes memory and time in every snapshot.",
        (_STATUS, "sudo etcd-node defragment", "pulumi config set --path maintenance.defragment true"),
        "operations.md#free-space-in-the-database-defragmentation",
    ),
    Alert(
        "etcdAlarmRaised",
        CRITICAL,
        "max by (cluster, kind) (etcd_node_alarms{NODE}) > 0",
        "0s",
        "no healthy cluster has one",
        "etcd has raised NOSPACE or CORRUPT",
        "etcd cluster {{ $labels.cluster }} has raised the alarm {{ $labels.kind }}.",
        "NOSPACE: a database has reached its quota. CORRUPT: the data of a member differ from those of the others.",
        "NOSPACE: etcd refuses writes. CORRUPT: data may be wrong, and updates are refused.",
        (_STATUS, "sudo etcd-node recover-space   # NOSPACE", _LOG),
        "operations.md#the-database-is-full-alarm-nospace",
    ),
    *_also_critical(
        Alert(
            "etcdCertificateExpires",
            WARNING,
            _EXPIRY % '=~"member|client"' + " < RENEWAL(70)",
            "1h",
            "70 % of the time in which `pulumi up` renews it (`earlyRenewalHours`)",
            "A certificate of a member or client expires in 21 days",
            "{{ $labels.certificate }} of the etcd cluster {{ $labels.cluster }} expires in "
            "{{ $value | humanizeDuration }}.",
            "No `pulumi up` has run in the last days.",
            "Without it, members or API servers get no connection.",
            (_STATUS, "pulumi up", "pulumi stack output certificates"),
            "operations.md#renew-certificates",
        ),
        expr=_EXPIRY % '=~"member|client"' + " < RENEWAL(25)",
        source="25 % of that time",
        when="A certificate of a member or client expires in 7 days",
        cause="No `pulumi up` has run in the last weeks, or it fails.",
    ),
    Alert(
        "etcdCaExpires",
        WARNING,
        _EXPIRY % '="ca"' + " < AGE(90d)",
        "1h",
        "time for three updates, and for clients to follow each",
        "A CA that members trust expires in 90 days",
        "A CA in {{ $labels.certificate }} of the etcd cluster {{ $labels.cluster }} expires in "
        "{{ $value | humanizeDuration }}.",
        "CAs are not renewed by themselves. Or the old one is still trusted after it was replaced.",
        "All certificates that it has issued end with it: members and clients get no connection.",
        (_STATUS, "pulumi preview", "pulumi stack output certificates"),
        "operations.md#replace-the-ca",
    ),
    Alert(
        "etcdSnapshotOld",
        CRITICAL,
        "time() - max by (cluster) (etcd_node_snapshot_last_timestamp_seconds{NODE}) > "
        "1.5 * max by (cluster) (etcd_node_snapshot_interval_seconds{NODE}) + AGE(1h)",
        "15m",
        "one and a half times the schedule, and an hour for a slow store",
        "The last stored snapshot is older than the schedule allows",
        "etcd cluster {{ $labels.cluster }}: {{ if gt $value 1e9 }}no snapshot was stored yet"
        "{{ else }}the last stored snapshot is {{ $value | humanizeDuration }} old{{ end }}.",
        "The store cannot be reached or refuses, it is full, or the timers do not run.",
        "What was written since can not be restored if all members are lost.",
        (_STATUS, "journalctl -u etcd-snapshot -n 50 --no-pager", "sudo etcd-node snapshot"),
        "backups.md#when-it-fails",
    ),
    Alert(
        "etcdRestoreDrillFailed",
        CRITICAL,
        "max by (cluster) (etcd_node_drill_failed{NODE}) > 0",
        "5m",
        "a snapshot that cannot be restored is none",
        "The last drill failed",
        "etcd cluster {{ $labels.cluster }}: the newest snapshot could not be restored.",
        "The stored file is damaged or was changed, or the machine had too little memory or disk for the drill.",
        "There may be no snapshot that can be restored.",
        (_STATUS, "journalctl -u etcd-drill -n 50 --no-pager", "sudo etcd-node snapshot"),
        "backups.md#when-it-fails",
    ),
    Alert(
        "etcdRestoreNotProved",
        WARNING,
        # A new cluster has the same time for its first one.
        "time() - max by (cluster) (etcd_node_drill_last_proved_timestamp_seconds{NODE} > 0 "
        "or etcd_node_drill_wanted_since_timestamp_seconds{NODE}) > "
        "2 * max by (cluster) (etcd_node_drill_interval_seconds{NODE}) + AGE(6h)",
        "1h",
        "two drills were missed",
        "No restore was proved for two drills",
        "etcd cluster {{ $labels.cluster }}: no restore was proved for {{ $value | humanizeDuration }}.",
        "Drills wait or fail: see `restore` in the status.",
        "Nobody knows whether the snapshots can be restored.",
        (_STATUS, "journalctl -u etcd-drill -n 50 --no-pager", "sudo etcd-node drill"),
        "backups.md#the-drill",
    ),
    Alert(
        "etcdMachineDrift",
        WARNING,
        "max by (cluster, member) (etcd_node_drift_differences{NODE}) > 0",
        "30m",
        "an update takes minutes",
        "A machine differs from what was installed",
        "The machine of the etcd member {{ $labels.member }} differs from what was installed.",
        "Somebody, or a program, has changed a unit, a file, a firewall rule or a flag.",
        "The next restart may behave differently, or the machine is less protected than configured.",
        ("sudo etcd-node drift", "pulumi config set driftCheck NEW-TEXT", "pulumi up"),
        "operations.md#what-others-have-changed-on-a-machine-drift",
    ),
    Alert(
        "etcdClaimStuck",
        WARNING,
        "time() - min by (cluster) (etcd_node_claim_held_since_timestamp_seconds{NODE}) > AGE(3h)",
        "5m",
        "a claim expires 4 min after its run; updates with much data take up to an hour a member",
        "An operator has been changing the cluster for three hours",
        "An operator has been changing the etcd cluster {{ $labels.cluster }} for {{ $value | humanizeDuration }}.",
        "A run hangs, or somebody has written the claim without a lease.",
        "Updates by others are refused, and machines do no maintenance.",
        (_STATUS, "ps -ef | grep '[e]tcd-node'", "pulumi cancel"),
        "alerts.md#etcdclaimstuck",
    ),
    Alert(
        "etcdVersionsDiffer",
        WARNING,
        "count by (job, cluster) (count by (job, cluster, server_version) (etcd_server_version{ETCD})) > 1",
        "2h",
        "an upgrade takes minutes",
        "Members run different versions",
        "Members of the etcd cluster {{ $labels.cluster }} run {{ $value }} different versions.",
        "An upgrade or downgrade was interrupted, or a member has returned to its old release.",
        "The cluster serves the features of the oldest member, and no member can be removed.",
        (_STATUS, "pulumi preview", "pulumi up"),
        "operations.md#change-the-version",
    ),
    Alert(
        "etcdMaintenanceFails",
        WARNING,
        'max by (cluster, member) (etcd_node_unit_failed{NODE,unit="etcd-maintenance.service"}) > 0',
        "30m",
        "its timer goes off every two to three minutes",
        "Defragmentation or recovery by the timer fails",
        "The maintenance of the etcd member {{ $labels.member }} fails.",
        "A defragmentation or the recovery from a full database was refused or failed.",
        "The database grows until it is full.",
        ("journalctl -u etcd-maintenance -n 50 --no-pager", _STATUS, "sudo etcd-node defragment"),
        "operations.md#free-space-in-the-database-defragmentation",
    ),
    Alert(
        "etcdNodeMetricsOld",
        WARNING,
        "time() - max by (cluster, member) (etcd_node_metrics_timestamp_seconds{NODE}) > AGE(10m) "
        "or min by (cluster, member) (etcd_node_collector_success{NODE}) == 0 "
        # Where they are served. That the whole machine is away has its own alert.
        f'or min by (cluster, member) (up{{NODE,job="{MACHINES_JOB}"}}) == 0 '
        "and on (cluster, member) up{ETCD} == 1",
        "10m",
        "they are collected every minute",
        "A machine's own metrics are old or not complete",
        "Metrics of the machine of the etcd member {{ $labels.member }} are old or not complete.",
        "Their timer does not run, the member does not answer, or Prometheus does not reach port 2382.",
        "No alert about certificates, snapshots, claims and alarms can be relied on.",
        ("systemctl list-units --all 'etcd-metrics.*'", "sudo etcd-node metrics", _STATUS),
        "monitoring.md#what-etcd-does-not-know",
    ),
)
