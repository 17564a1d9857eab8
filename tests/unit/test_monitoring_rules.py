"""Each alert fires for what it is about, and clears; none fires while a healthy cluster changes. promtool evaluates."""

import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.monitoring import alerts, dashboard, expressions, manual, rules
from components.monitoring.alerts import ALERTS, CRITICAL, WARNING
from components.node.shared.metric_names import METRICS
from tests.support.stacks import REPO
from tools.prometheus import ensure_prometheus

MEMBERS = ("etcd-1", "etcd-2", "etcd-3", "etcd-4", "etcd-5")
DAY = 86400


def promtool(*words: str) -> str:
    done = subprocess.run(
        [str(ensure_prometheus() / "promtool"), *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def series(name: str, values: str, member: str = "etcd-1", **labels: str) -> dict[str, str]:
    """One series of promtool, by default of etcd."""
    every = {"job": "etcd-prod", "cluster": "prod", "member": member, "instance": f"{member}:2379", **labels}
    shown = ",".join(f'{key}="{value}"' for key, value in every.items())
    return {"series": f"{name}{{{shown}}}", "values": values}


def node(name: str, values: str, **labels: str) -> dict[str, str]:
    """One series of a machine's own metrics, which come by node_exporter."""
    return series(f"etcd_node_{name}", values, job="node", instance="etcd-1:9100", **labels)


def all_up(count: int = 3, **others: str) -> list[dict[str, str]]:
    """`up` of so many members; others: member, with _ for -, -> values."""
    return [series("up", others.get(name.replace("-", "_"), "1x400"), name) for name in MEMBERS[:count]]


def histogram(name: str, slow: str, fast: str, **labels: str) -> list[dict[str, str]]:
    """A histogram with the bounds 0.001 s and 2.048 s: its observations are fast or slow."""
    return [
        series(f"{name}_bucket", fast, le="0.001", **labels),
        series(f"{name}_bucket", slow, le="2.048", **labels),
        series(f"{name}_bucket", slow, le="+Inf", **labels),
    ]


@dataclass(frozen=True)
class Case:
    """What makes an alert fire and clear; values are a minute apart, and promtool's clock begins in 1970."""

    alert: str
    severity: str
    given: Sequence[Mapping[str, str]]
    quiet: int
    """A minute at which its expression holds, but not for long enough."""
    fires: int
    clears: int
    others: tuple[str, ...] = ()
    """Severities of the same alert that fire with it."""


def slow(metric: str, **labels: str) -> list[dict[str, str]]:
    """Slow observations for half an hour, then fast ones."""
    return histogram(metric, "0+60x90", "0+0x29 0+60x60", **labels)


EXPIRES = "certificate_expiry_timestamp_seconds"

CASES = (
    Case("etcdMembersDown", WARNING, all_up(5, etcd_1="1x4 0x30 1x60"), 12, 25, 40),
    Case("etcdQuorumAtRisk", CRITICAL, all_up(3, etcd_1="1x4 0x14 1x60"), 7, 12, 22),
    Case(
        "etcdInsufficientMembers",
        CRITICAL,
        all_up(3, etcd_1="1x4 0x9 1x60", etcd_2="1x4 0x9 1x60"),
        6,
        9,
        16,
    ),
    Case("etcdNoLeader", CRITICAL, [series("etcd_server_has_leader", "1x4 0x9 1x60")], 5, 8, 16),
    Case(
        "etcdHighNumberOfLeaderChanges",
        WARNING,
        [
            series("etcd_server_leader_changes_seen_total", "1x9 1+1x10 11x60"),
            series("process_start_time_seconds", "5x90"),
        ],
        15,
        24,
        50,
    ),
    Case("etcdMemberRestarts", WARNING, [series("process_start_time_seconds", "5x4 5+60x9 605x90")], 8, 13, 60),
    Case("etcdHighFsyncDurations", WARNING, slow("etcd_disk_wal_fsync_duration_seconds"), 8, 20, 55, ("critical",)),
    Case("etcdHighFsyncDurations", CRITICAL, slow("etcd_disk_wal_fsync_duration_seconds"), 8, 20, 55, ("warning",)),
    Case("etcdHighCommitDurations", WARNING, slow("etcd_disk_backend_commit_duration_seconds"), 8, 20, 55),
    Case(
        "etcdMemberCommunicationSlow",
        WARNING,
        slow("etcd_network_peer_round_trip_time_seconds", To="8e9e05c52164694d"),
        8,
        20,
        55,
    ),
    Case(
        "etcdDatabaseQuotaLowSpace",
        WARNING,
        [
            series("etcd_mvcc_db_total_size_in_bytes", "85x30 20x60"),
            series("etcd_server_quota_backend_bytes", "100x90"),
        ],
        5,
        15,
        45,
    ),
    Case(
        "etcdDatabaseQuotaLowSpace",
        CRITICAL,
        [
            series("etcd_mvcc_db_total_size_in_bytes", "97x30 20x60"),
            series("etcd_server_quota_backend_bytes", "100x90"),
        ],
        5,
        15,
        45,
        ("warning",),
    ),
    Case(
        "etcdDatabaseHighFragmentationRatio",
        WARNING,
        [
            series("etcd_mvcc_db_total_size_in_bytes", "60x50 20x60"),
            series("etcd_mvcc_db_total_size_in_use_in_bytes", "20x110"),
            series("etcd_server_quota_backend_bytes", "100x110"),
        ],
        20,
        40,
        70,
    ),
    Case("etcdAlarmRaised", CRITICAL, [node("alarms", "0x4 1x9 0x60", kind="NOSPACE")], 3, 6, 16),
    Case(
        "etcdCertificateExpires",
        WARNING,
        [node(EXPIRES, f"{20 * DAY}x89 {365 * DAY}x60", certificate="server.crt", kind="member")],
        30,
        70,
        95,
    ),
    Case(
        "etcdCertificateExpires",
        CRITICAL,
        [node(EXPIRES, f"{6 * DAY}x89 {365 * DAY}x60", certificate="apiserver-etcd-client", kind="client")],
        30,
        70,
        95,
        ("warning",),
    ),
    Case(
        "etcdCaExpires",
        WARNING,
        [node(EXPIRES, f"{80 * DAY}x89 {3650 * DAY}x60", certificate="ca.crt", kind="ca")],
        30,
        70,
        95,
    ),
    Case(
        "etcdSnapshotOld",
        CRITICAL,
        # The clock begins with a snapshot; the next one is stored after five hours.
        [
            node("snapshot_last_timestamp_seconds", "0x300 18000x60"),
            node("snapshot_interval_seconds", "3600x400"),
        ],
        155,
        180,
        310,
    ),
    Case("etcdRestoreDrillFailed", CRITICAL, [node("drill_failed", "0x4 1x20 0x60")], 7, 15, 30),
    Case(
        "etcdRestoreNotProved",
        WARNING,
        [
            node("drill_last_proved_timestamp_seconds", "0x599 36000x60"),
            node("drill_wanted_since_timestamp_seconds", "0x700"),
            node("drill_interval_seconds", "3600x700"),
        ],
        500,
        570,
        610,
    ),
    Case("etcdMachineDrift", WARNING, [node("drift_differences", "2x50 0x60")], 20, 40, 60),
    Case("etcdClaimStuck", WARNING, [node("claim_held_since_timestamp_seconds", "60x220 _x60")], 182, 200, 230),
    Case(
        "etcdVersionsDiffer",
        WARNING,
        [
            series("etcd_server_version", "1x400", "etcd-1", server_version="3.6.16"),
            series("etcd_server_version", "1x150 _x200", "etcd-2", server_version="3.5.35"),
            series("etcd_server_version", "_x150 1x200", "etcd-2", server_version="3.6.16"),
        ],
        90,
        130,
        170,
    ),
    Case(
        "etcdMaintenanceFails", WARNING, [node("unit_failed", "1x50 0x60", unit="etcd-maintenance.service")], 20, 40, 60
    ),
    Case("etcdNodeMetricsOld", WARNING, [node("metrics_timestamp_seconds", "0x40 2460+60x60")], 15, 30, 50),
    # Where they are served: the endpoint fails, and the member does not.
    Case("etcdNodeMetricsOld", WARNING, [series("up", "1x9 0x30 1x60", job="machines"), *all_up()], 15, 30, 50),
)


def firing(minute: int, expected: Sequence[str]) -> dict[str, Any]:
    """A test of promtool: which alerts fire at a minute, as `name severity`."""
    shown = [dict(zip(("alertname", "severity"), each.split(), strict=True)) for each in sorted(expected)]
    return {
        "expr": 'count by (alertname, severity) (ALERTS{alertstate="firing",cluster="prod"})',
        "eval_time": f"{minute}m",
        "exp_samples": [
            {"labels": "{" + ",".join(f'{key}="{value}"' for key, value in each.items()) + "}", "value": 1}
            for each in shown
        ],
    }


def assert_pass(folder: Path, tests: Sequence[Mapping[str, Any]]) -> None:
    """Fail unless the rules pass these tests of promtool."""
    (folder / "rules.yml").write_text(rules.text(rules.groups("prod")))
    (folder / "test.yml").write_text(
        json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests})
    )
    promtool("test", "rules", str(folder / "test.yml"))


def test_every_alert_has_a_case() -> None:
    cases = dict.fromkeys((case.alert, case.severity) for case in CASES)
    assert list(cases) == [(alert.name, alert.severity) for alert in ALERTS]


def served(given: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """The series of node_exporter once more, as a machine serves the same file."""
    names = [(each, each["series"].replace("etcd-1:9100", "etcd-1:2382")) for each in given]
    found = [{**each, "series": name.replace('job="node"', 'job="machines"')} for each, name in names]
    return [each for each in found if each not in given]


def test_each_alert_fires_only_when_it_has_held_and_clears(tmp_path: Path) -> None:
    """Once, also if node_exporter and the machine itself deliver the same file."""
    tests = []
    for case in CASES:
        names = [f"{case.alert} {severity}" for severity in (case.severity, *case.others)]
        expected = [firing(case.quiet, []), firing(case.fires, names), firing(case.clears, [])]
        for more in ([], served(case.given)):
            given = [*case.given, *more]
            tests.append({"name": names[0], "interval": "1m", "input_series": given, "promql_expr_test": expected})
    assert_pass(tmp_path, tests)


def test_the_dashboard_shows_a_file_once_that_is_delivered_twice() -> None:
    found = [each for each in dashboard.expressions() if "etcd_node_" in each]
    assert len(found) > 8
    once = re.compile(r"(?:max|min)(?: by \([\w, ]+\) ?)?\(etcd_node_")
    assert [each for each in found if not once.search(each)] == []


def restarted(minute: int, gap: int, total: int = 60) -> str:
    """`up` of a member whose restart begins at a minute."""
    return f"1x{minute - 1} 0x{gap - 1} 1x{total - minute - gap}"


def test_a_first_restore_has_as_much_time_as_any_other(tmp_path: Path) -> None:
    """A clock that began long before the cluster: 0 for "never" must not be read as a time."""
    given = [
        node("drill_last_proved_timestamp_seconds", "_x1000 0x800"),
        node("drill_wanted_since_timestamp_seconds", "_x1000 60000x800"),
        node("drill_interval_seconds", "_x1000 3600x800"),
    ]
    expected = [firing(1100, []), firing(1470, []), firing(1550, ["etcdRestoreNotProved warning"])]
    assert_pass(tmp_path, [{"interval": "1m", "input_series": given, "promql_expr_test": expected}])


def test_no_alert_fires_while_a_healthy_cluster_is_upgraded_grown_and_rotated(tmp_path: Path) -> None:
    """Five members restart one after another, each down for two minutes and the leader changing with each; two
    versions run for half an hour; an operator holds the claim; certificates are in their renewal window; the database
    grows; one member's snapshot failed and another one stored it."""
    given = [
        *(series("up", restarted(5 + 5 * index, 2), name) for index, name in enumerate(MEMBERS)),
        *(series("etcd_server_has_leader", "1x60", name) for name in MEMBERS),
        *(
            series("process_start_time_seconds", f"1x{5 + 5 * index} {300 * (index + 1)}x60", name)
            for index, name in enumerate(MEMBERS)
        ),
        # The counter of a process begins anew: here each sees all changes after its own restart.
        *(
            series("etcd_server_leader_changes_seen_total", f"1x{5 + 5 * index} 1+0x4 2+0x4 3+0x4 4+0x60", name)
            for index, name in enumerate(MEMBERS)
        ),
        *(
            entry
            for index, name in enumerate(MEMBERS)
            for entry in (
                series("etcd_server_version", f"1x{5 + 5 * index} _x60", name, server_version="3.5.35"),
                series("etcd_server_version", f"_x{5 + 5 * index} 1x60", name, server_version="3.6.16"),
            )
        ),
        series("etcd_mvcc_db_total_size_in_bytes", "20+0.5x60"),
        series("etcd_mvcc_db_total_size_in_use_in_bytes", "18+0.1x60"),
        series("etcd_server_quota_backend_bytes", "100x60"),
        *histogram("etcd_disk_wal_fsync_duration_seconds", "0+60x5 360+600x2 1560+60x60", "0+60x5 360+0x2 360+60x60"),
        node("claim_held_since_timestamp_seconds", "120x50 _x10"),
        node(EXPIRES, f"{25 * DAY}x60", certificate="server.crt", kind="member"),
        node(EXPIRES, f"{3 * DAY}x60", certificate="prometheus-etcd-client, earlier", kind="earlier"),
        node("metrics_timestamp_seconds", "0+60x20 1200x4 1500+60x60"),
        node("collector_success", "1x10 0x3 1x60", collector="cluster"),
        node("snapshot_last_timestamp_seconds", "0x60"),
        node("snapshot_interval_seconds", "3600x60"),
        node("unit_failed", "1x60", unit="etcd-snapshot.service"),
        node("unit_failed", "0x10 1x10 0x60", unit="etcd-maintenance.service"),
        node("drift_differences", "0x10 3x8 0x60"),
        node("drill_failed", "0x60"),
    ]
    tests = [firing(minute, []) for minute in range(0, 60, 2)]
    assert_pass(tmp_path, [{"interval": "1m", "input_series": given, "promql_expr_test": tests}])


@pytest.mark.parametrize("name", ["prod", "1e3", "a" * 63])
def test_promtool_accepts_the_rules(name: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    for found in (rules.groups(name), rules.groups(name, speed=300)):
        file.write_text(rules.text(found))
        assert yaml.safe_load(file.read_text()) == {"groups": found}
        said = promtool("check", "rules", "--lint=all", "--lint-fatal", str(file))
        assert f"{len(ALERTS) + len(alerts.RECORDED)} rules found" in said


def test_rules_for_a_test_fire_within_seconds() -> None:
    (_, found) = rules.groups("prod", speed=300)
    assert {rule["alert"]: rule.get("for") for rule in found["rules"]}["etcdMembersDown"] == "3s"
    assert all(expressions.seconds(rule.get("for", "1s")) <= 24 for rule in found["rules"])
    # Prometheus scrapes each second then, and a rate needs several values.
    (recorded, _) = rules.groups("prod", speed=3000)
    assert {each for rule in recorded["rules"] for each in re.findall(r"\[\w+\]", rule["expr"])} == {"[5s]"}


def test_the_manual_tells_of_alerts_in_the_lab_by_their_names() -> None:
    assert manual.IN_THE_LAB.keys() <= {alert.name for alert in ALERTS}


def test_certificates_are_reported_by_the_time_in_which_they_are_renewed() -> None:
    (_, found) = rules.groups("prod", renewal_hours=100)
    said = [rule["expr"] for rule in found["rules"] if rule["alert"] == "etcdCertificateExpires"]
    assert [each.rpartition(" < ")[2] for each in said] == [str(70 * 3600), str(25 * 3600)]


def test_promtool_parses_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    targets = [target["expr"] for panel in dashboard.dashboard()["panels"] for target in panel.get("targets", ())]
    assert len(targets) == len(dashboard.expressions())
    chosen = [each.replace("$cluster", "prod").replace("$__rate_interval", "1m") for each in targets]
    assert not any("$" in each for each in chosen)
    recorded = [{"record": f"panel:{index}", "expr": each} for index, each in enumerate(chosen)]
    file = tmp_path / "panels.yml"
    file.write_text(rules.text([{"name": "panels", "rules": recorded}]))
    promtool("check", "rules", str(file))


def test_rules_and_dashboard_name_only_metrics_of_the_table() -> None:
    """That members really serve those of etcd is proved in the lab."""
    used = expressions.names([*alerts.RECORDED.values(), *(alert.expr for alert in ALERTS), *dashboard.expressions()])
    own = {name for name in used if name.startswith("etcd_node_")}
    assert own <= METRICS.keys()
    assert own | {"etcd_node_snapshot_interval_seconds"} == METRICS.keys()
    assert {name for name in used if ":" in name} <= alerts.RECORDED.keys()


def test_every_alert_names_a_heading_of_the_manual() -> None:
    for alert in ALERTS:
        page, _, anchor = alert.page.partition("#")
        headings = re.findall(r"^#+ (.+)$", (REPO / "docs" / page).read_text(), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}, alert.page


def test_the_dashboard_fits_its_columns_and_has_one_number_for_each_panel() -> None:
    panels = dashboard.dashboard()["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [
        (x, y) for at in places for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert json.loads(dashboard.text())["uid"] == dashboard.UID
