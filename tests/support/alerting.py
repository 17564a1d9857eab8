"""Rules, dashboard and the machines' own metrics, with a real Prometheus and node_exporter on this computer."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from components.monitoring import alerts, dashboard, expressions, rules
from components.monitoring.prometheus import DIRECTORY
from components.node.shared import paths
from lab import Machine
from tools.prometheus import ensure_prometheus

from .prometheus import asked, assert_all_are_scraped, free_port, queried, rules_of, running, written
from .stacks import Stack
from .waiting import every

_ELSEWHERE = ("etcd_node_claim", "etcd_node_drill", "etcd_node_snapshot", "etcd_node_unit_failed")
"""Metrics that a cluster without snapshots and timers at rest has not. test_drill and test_two_operators show them."""
_BUSY = {"etcdHighFsyncDurations", "etcdHighCommitDurations", "etcdMemberCommunicationSlow"}
"""Alerts whose expressions can hold for a moment on the computer of a test."""


def assert_prometheus_scrapes(stack: Stack, machines: Sequence[Machine]) -> None:
    """Fail unless a Prometheus with the stack's outputs scrapes the members on these machines, and nothing else; and
    its rules and each panel of the dashboard find what they name, in etcd and in what the machines write."""
    with written(stack) as scrape:
        assert stack.outputs()["prometheus"] == scrape.read_text().replace(str(scrape.parents[1]), DIRECTORY)
        with node_exporter(machines) as node, running(f"{rules_of(scrape)}{scrape.read_text()}{node}") as address:
            assert_all_are_scraped(address, scrape.parent.name, machines)
            assert_rules_find_what_they_name(address, len(machines), scrape.parent.name, stack.outputs())


def assert_rules_find_what_they_name(address: str, members: int, cluster: str, outputs: Mapping[str, Any]) -> None:
    """Fail unless each metric that a rule or panel names exists; rules can be evaluated, and none holds.

    Args:
        address: of a Prometheus with rules, members and their machines' own metrics.
    """
    texts = [*alerts.RECORDED.values(), *(each.expr for each in alerts.ALERTS), *dashboard.expressions()]
    absent = (*_ELSEWHERE, *(("etcd_network_peer_", alerts.ROUND_TRIP) if members == 1 else ()))
    named = {name for name in expressions.names(texts) if not name.startswith(absent)}
    panels = json.loads(outputs["grafana_dashboard"])["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    shown = [each.replace("$cluster", cluster).replace("$__rate_interval", "10s") for each in shown]
    shown = [each for each in shown if not any(name in each for name in absent)]
    for _ in every(0.5, seconds=30):
        found = queried(address, f'group by (__name__) ({{__name__=~"{"|".join(named)}"}})')
        missing = named - {row["metric"]["__name__"] for row in found}
        empty = [each for each in shown if not missing and not queried(address, each)]
        if not missing and not empty:
            break
    assert (missing, empty) == (set(), [])
    known = [rule for group in asked(address, "rules")["groups"] for rule in group["rules"]]
    assert len(known) == len(alerts.RECORDED) + len(alerts.ALERTS)
    assert [rule for rule in known if rule["health"] == "err"] == []
    assert {row["metric"]["alertname"] for row in queried(address, "ALERTS")} <= _BUSY


@contextlib.contextmanager
def node_exporter(machines: Sequence[Machine]) -> Iterator[str]:
    """A node_exporter with the files that these machines write now, and nothing else, as a part of `scrape_configs`."""
    address, program = f"127.0.0.1:{free_port()}", ensure_prometheus() / "prometheus-node-exporter"
    with TemporaryDirectory() as folder:
        for machine in machines:
            machine.run(f"systemctl start {paths.METRICS_UNIT}", root=True)
            # As a user without rights, like node_exporter's.
            text = machine.run(f"cat {paths.METRICS}/{paths.METRICS_FILE}").stdout
            Path(folder, f"{machine.name}.prom").write_text(text)
        only = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
        command = [str(program), *only, f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"  - job_name: node\n    static_configs: [{{targets: [{json.dumps(address)}]}}]\n"
        finally:
            process.kill()
            process.wait()


class Watched:
    """A Prometheus that evaluates the rules of a cluster, faster than those of the outputs."""

    def __init__(self, address: str) -> None:
        self._address = address

    def fires(self, *names: str, seconds: float = 60) -> None:
        """Wait until these alerts fire and no others, but those that a busy computer can cause."""
        for _ in every(0.3, seconds=seconds):
            found = {row["metric"]["alertname"] for row in queried(self._address, 'ALERTS{alertstate="firing"}')}
            if found - _BUSY == {*names}:
                return
        raise AssertionError(f"{found} fire, and not {names}")


@contextlib.contextmanager
def watching(stack: Stack, *, speed: float) -> Iterator[Watched]:
    """A Prometheus with the stack's members, and rules that fire so many times faster."""
    with written(stack) as scrape:
        scrape.with_name("rules.yml").write_text(rules.text(rules.groups(scrape.parent.name, speed=speed)))
        with running(f"{rules_of(scrape)}{scrape.read_text()}") as address:
            yield Watched(address)
