"""The metrics of the operator's side, which etcd itself does not have: names, types and texts of HELP.

Each has the labels `cluster` and `member`, and those that its line names. The alerts and the dashboard
(`components/monitoring`) use these names.
"""

from __future__ import annotations

from collections.abc import Mapping

PREFIX = "etcd_node_"

METRICS: Mapping[str, str] = {
    "etcd_node_metrics_timestamp_seconds": "When these metrics were collected.",
    "etcd_node_collector_success": "Whether a part of these metrics (collector) could be collected.",
    "etcd_node_certificate_expiry_timestamp_seconds": (
        "When a certificate expires. kind: ca, member, client (a client's, known from the last update), or earlier "
        "(a client's from before its renewal). The first to expire of a file with several."
    ),
    "etcd_node_version_info": "The version of etcd that is installed (wanted), and that of the process (running).",
    "etcd_node_converged_timestamp_seconds": "When the member last reached its desired state in an update.",
    "etcd_node_alarms": "Alarms (kind: NOSPACE or CORRUPT) that this member knows of, of all members.",
    "etcd_node_claim_held_since_timestamp_seconds": "Since when an operator changes the cluster. Absent: nobody does.",
    "etcd_node_snapshot_last_timestamp_seconds": "When the last stored snapshot was taken, by any member. 0: none.",
    "etcd_node_snapshot_interval_seconds": "The longest time between snapshots by their schedule.",
    "etcd_node_drill_last_proved_timestamp_seconds": "When a restore was last proved, by any member. 0: never.",
    "etcd_node_drill_wanted_since_timestamp_seconds": "Since when this machine has the timer of drills.",
    "etcd_node_drill_failed": "Whether a drill has failed since, on any member.",
    "etcd_node_drill_interval_seconds": "The longest time between drills by their schedule.",
    "etcd_node_unit_failed": "Whether the last run of a unit (unit) that is started by a timer failed.",
    "etcd_node_drift_differences": (
        "Differences of this machine from what was installed; compared once an hour, every five minutes while there "
        "are some."
    ),
}
"""Name -> HELP. All are gauges."""
