"""A Grafana dashboard for all clusters that one Prometheus scrapes. It needs no plugin.

Its expressions name the metrics themselves and not recorded series, so it works without the rules. Those of machines
give one number also where both node_exporter and port 2382 deliver them.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .alerts import COMMIT, FSYNC, IN_USE, LEADER_CHANGES, OF_QUOTA, RECORDED, ROUND_TRIP
from .expressions import filled

UID = "external-etcd"
_CLUSTER = "$cluster"
"""Grafana puts the chosen cluster in its place."""
_SCHEMA = 39
"""Of Grafana 10.4; later versions migrate it when they load it."""
_COLUMNS, _HEIGHT = 24, 7
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RANGE = "[$__rate_interval]"


@dataclass(frozen=True)
class Panel:
    """A graph, or with `stat` one number for each series."""

    title: str
    unit: str
    """Of Grafana: `s`, `bytes`, `percentunit`, `short`."""
    queries: tuple[tuple[str, str], ...]
    """Expression and legend of each."""
    width: int = 8
    """Of 24 columns."""
    stat: bool = False
    limits: tuple[float, ...] = ()
    """From the first one on it is yellow, from the second one on red."""
    about: str = ""


def _rate(metric: str, more: str = "") -> str:
    return f"rate({metric}{{ETCD{more}}}{_RANGE})"


_UNARY = _rate("grpc_server_handled_total", ',grpc_type="unary"')
_LEFT = "{{member}}"
_AGE = "time() - max({}{{NODE}} > 0)"

ROWS: dict[str, tuple[Panel, ...]] = {
    "Cluster": (
        Panel("Members that are up", "short", (("sum(up{ETCD})", "up"), ("count(up{ETCD})", "of")), 4, stat=True),
        Panel("Has a leader", "short", (("min(etcd_server_has_leader{ETCD})", ""),), 4, stat=True, about="1: yes"),
        Panel("Leader", "short", (("etcd_server_is_leader{ETCD} == 1", _LEFT),), 4, stat=True),
        Panel(
            "Versions",
            "short",
            (("count by (server_version) (etcd_server_version{ETCD})", "{{server_version}}"),),
            4,
            True,
        ),
        Panel(
            "Unplanned changes of the leader, 15 min",
            "short",
            ((RECORDED[LEADER_CHANGES], ""),),
            4,
            True,
            limits=(2, 4),
        ),
        Panel(
            "Alarms", "short", (("max by (kind) (etcd_node_alarms{NODE})", "{{kind}}"),), 4, stat=True, limits=(1, 1)
        ),
    ),
    "Disk and network": (
        Panel(
            "Sync of the log, p99",
            "s",
            ((RECORDED[FSYNC], _LEFT),),
            limits=(0.01, 0.5),
            about="etcd's FAQ: below 10 ms",
        ),
        Panel(
            "Commit of the database, p99",
            "s",
            ((RECORDED[COMMIT], _LEFT),),
            limits=(0.025, 0.25),
            about="etcd's FAQ: below 25 ms",
        ),
        Panel(
            "Round trip to another member, p99",
            "s",
            ((RECORDED[ROUND_TRIP], "{{member}} to {{To}}"),),
            limits=(0.05, 0.15),
        ),
        Panel("Size of the database", "bytes", (("etcd_mvcc_db_total_size_in_bytes{ETCD}", _LEFT),)),
        Panel("Database, share of the quota", "percentunit", ((RECORDED[OF_QUOTA], _LEFT),), limits=(0.8, 0.95)),
        Panel("Database, share in use", "percentunit", ((RECORDED[IN_USE], _LEFT),)),
        Panel("Sent to members", "Bps", ((f"sum by (member) ({_rate('etcd_network_peer_sent_bytes_total')})", _LEFT),)),
        Panel("Received from clients", "Bps", ((_rate("etcd_network_client_grpc_received_bytes_total"), _LEFT),)),
        Panel("Sent to clients", "Bps", ((_rate("etcd_network_client_grpc_sent_bytes_total"), _LEFT),)),
    ),
    "Requests": (
        Panel(
            "Requests, the ten most frequent",
            "reqps",
            ((f"topk(10, sum by (grpc_method) ({_UNARY}))", "{{grpc_method}}"),),
        ),
        Panel("Proposals, committed", "ops", ((_rate("etcd_server_proposals_committed_total"), _LEFT),)),
        Panel(
            "Proposals, pending and failed",
            "short",
            (
                ("etcd_server_proposals_pending{ETCD}", "pending {{member}}"),
                ("increase(etcd_server_proposals_failed_total{ETCD}[5m])", "failed {{member}}, 5 min"),
            ),
        ),
    ),
    "Process": (
        Panel("CPU", "percentunit", ((_rate("process_cpu_seconds_total"), _LEFT),)),
        Panel("Memory", "bytes", (("process_resident_memory_bytes{ETCD}", _LEFT),)),
        Panel("Running since", "s", (("time() - process_start_time_seconds{ETCD}", _LEFT),)),
    ),
    "What etcd does not know": (
        Panel(
            "Certificates: time left",
            "s",
            (
                (
                    # An earlier certificate of a client has the same name as its renewed one.
                    "min by (certificate) "
                    '(etcd_node_certificate_expiry_timestamp_seconds{NODE,kind!="earlier"}) - time()',
                    "{{certificate}}",
                ),
            ),
            24,
            stat=True,
        ),
        Panel(
            "Last stored snapshot", "s", ((_AGE.format("etcd_node_snapshot_last_timestamp_seconds"), "age"),), 4, True
        ),
        Panel(
            "Last proved restore",
            "s",
            ((_AGE.format("etcd_node_drill_last_proved_timestamp_seconds"), "age"),),
            4,
            True,
        ),
        Panel("Drill failed", "short", (("max(etcd_node_drill_failed{NODE})", ""),), 4, True, limits=(1, 1)),
        Panel(
            "An operator changes the cluster since",
            "s",
            (("time() - min(etcd_node_claim_held_since_timestamp_seconds{NODE}) or vector(0)", ""),),
            4,
            stat=True,
        ),
        Panel(
            "Drift",
            "short",
            (("max by (member) (etcd_node_drift_differences{NODE})", _LEFT),),
            4,
            stat=True,
            limits=(1, 1),
        ),
        Panel(
            "Jobs that failed",
            "short",
            (("sum by (unit) (max by (member, unit) (etcd_node_unit_failed{NODE}))", "{{unit}}"),),
            4,
            True,
        ),
        Panel(
            "Installed and running version",
            "short",
            (
                (
                    "max by (member, wanted, running) (etcd_node_version_info{NODE})",
                    "{{member}}: {{wanted}}, runs {{running}}",
                ),
            ),
            12,
            stat=True,
        ),
        Panel(
            "Last update of the member",
            "s",
            (("time() - max by (member) (etcd_node_converged_timestamp_seconds{NODE})", _LEFT),),
            12,
            True,
        ),
    ),
}
"""Title of a row -> its panels."""


def dashboard() -> dict[str, Any]:
    """The dashboard, as Grafana imports it and reads it from a file."""
    return {
        "uid": UID,
        "title": "etcd (external-etcd)",
        "tags": ["etcd"],
        "schemaVersion": _SCHEMA,
        "editable": True,
        "time": {"from": "now-3h", "to": "now"},
        "refresh": "30s",
        "templating": {"list": [_datasource(), _cluster()]},
        "panels": list(_panels()),
    }


def text() -> str:
    """The dashboard as JSON."""
    return json.dumps(dashboard(), indent=2) + "\n"


def expressions() -> list[str]:
    """The expressions of all panels, from the table."""
    return [expression for panels in ROWS.values() for panel in panels for expression, _ in panel.queries]


def _datasource() -> dict[str, Any]:
    return {"type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus"}


def _cluster() -> dict[str, Any]:
    query = 'label_values(etcd_server_has_leader{job=~"etcd-.+"}, cluster)'
    return {
        "type": "query",
        "name": "cluster",
        "label": "Cluster",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "cluster"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
    }


def _panels() -> Iterator[dict[str, Any]]:
    number, top = 0, 0
    for title, panels in ROWS.items():
        number, left = number + 1, 0
        place = {"h": 1, "w": _COLUMNS, "x": 0, "y": top}
        yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
        top += 1
        for panel in panels:
            if left + panel.width > _COLUMNS:
                top, left = top + _HEIGHT, 0
            number += 1
            place = {"h": _HEIGHT, "w": panel.width, "x": left, "y": top}
            yield {"id": number, "gridPos": place, **_panel(panel)}
            left += panel.width
        top += _HEIGHT


def _panel(panel: Panel) -> dict[str, Any]:
    colours: list[dict[str, Any]] = [{"color": "green", "value": None}]
    colours += [
        {"color": colour, "value": limit} for colour, limit in zip(("yellow", "red"), panel.limits, strict=False)
    ]
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0, "thresholds": {"mode": "absolute", "steps": colours}}
    if panel.limits and not panel.stat:
        defaults["custom"] = {"thresholdsStyle": {"mode": "dashed"}}
    options: dict[str, Any] = {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}}
    if panel.stat:
        options = {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value_and_name" if any(legend for _, legend in panel.queries) else "value",
            "colorMode": "value",
            "graphMode": "none",
        }
    return {
        "type": "stat" if panel.stat else "timeseries",
        "title": panel.title,
        "description": panel.about,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "expr": filled(expression, _CLUSTER),
                "legendFormat": legend or "__auto",
                "instant": panel.stat,
                "range": not panel.stat,
            }
            for index, (expression, legend) in enumerate(panel.queries)
        ],
    }
