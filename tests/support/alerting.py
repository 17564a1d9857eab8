"""Rules, dashboard and the machines' own metrics, with a real Prometheus on this computer."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from components.monitoring import alerts, dashboard, expressions, rules
from components.monitoring.prometheus import DIRECTORY
from components.node.shared import paths
from lab import Machine
from tools.prometheus import ensure_prometheus

from .alertmanager import Delivered, alertmanager
from .dashboard_picture import picture
from .prometheus import asked, assert_all_are_scraped, free_port, queried, rules_of, running, written
from .stacks import Stack
from .waiting import every

_ELSEWHERE = ("etcd_node_claim", "etcd_node_drill", "etcd_node_snapshot", "etcd_node_unit_failed")
"""Metrics that a cluster without snapshots and timers at rest has not. test_drill and test_two_operators show them."""
_BUSY = {"etcdHighFsyncDurations", "etcdHighCommitDurations", "etcdMemberCommunicationSlow"}
"""Alerts whose expressions can hold for a moment on the computer of a test."""
_OLD = {"etcdNodeMetricsOld"}
"""A test collects metrics when it has changed something. With rules for a test, they are old after five seconds."""
_PAUSE = 2.0
"""Seconds between collections during a change. A real timer collects once a minute, and rules are faster here."""


def assert_prometheus_scrapes(stack: Stack, machines: Sequence[Machine]) -> None:
    """Fail unless a Prometheus with the stack's outputs scrapes the members on these machines, and nothing else; and
    its rules and each panel of the dashboard find what they name, in etcd and in what the machines write."""
    with written(stack) as scrape:
        assert stack.outputs()["prometheus"] == scrape.read_text().replace(str(scrape.parents[1]), DIRECTORY)
        folder = scrape.with_name("machines")
        copy_metrics(machines, folder)
        with node_exporter(folder) as node, running(f"{rules_of(scrape)}{scrape.read_text()}{node}") as address:
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
    shown = [each for each in _shown(outputs, cluster) if not any(name in each for name in absent)]
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
def node_exporter(folder: Path) -> Iterator[str]:
    """A node_exporter with the files of this folder, and nothing else, as a part of `scrape_configs`."""
    address, program = f"127.0.0.1:{free_port()}", ensure_prometheus() / "prometheus-node-exporter"
    only = ["--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={folder}"]
    command = [str(program), *only, f"--web.listen-address={address}"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"  - job_name: node\n    static_configs: [{{targets: [{json.dumps(address)}]}}]\n"
    finally:
        process.kill()
        process.wait()


def collect(machines: Sequence[Machine]) -> None:
    """Have these machines write their metrics now, with drift."""

    def one(machine: Machine) -> None:
        machine.run(f"rm -f {paths.DRIFT}; systemctl start {paths.METRICS_UNIT}", root=True)

    with ThreadPoolExecutor() as pool:
        list(pool.map(one, machines))


def copy_metrics(machines: Sequence[Machine], folder: Path) -> None:
    """Have these machines write their metrics now, and copy them to the folder."""
    collect(machines)
    folder.mkdir()
    for machine in machines:
        # As a user without rights, like node_exporter's.
        text = machine.run(f"setpriv --reuid=65534 --clear-groups cat {paths.METRICS}/{paths.METRICS_FILE}", root=True)
        (folder / f"{machine.name}.prom").write_text(text.stdout)


class Watched:
    """A Prometheus that evaluates the rules of a cluster, faster than those of the outputs."""

    def __init__(
        self, address: str, stack: Stack, machines: Sequence[Machine], cluster: str, delivered: Delivered
    ) -> None:
        self.machines, self._delivered, self._start = [*machines], delivered, time.monotonic()
        self._address, self._stack, self._cluster = address, stack, cluster
        self.seen: dict[tuple[str, str], str] = {}
        """Name and severity of each alert that `fires` has found -> its summary."""

    def collect(self) -> None:
        """Have the machines write what etcd does not know."""
        collect(self.machines)

    def fires(self, *names: str, seconds: float = 60) -> None:
        """Wait until these alerts fire, in each of their severities, and no others but those that a test can cause."""
        wanted = {(each.name, each.severity) for each in alerts.ALERTS if each.name in names}
        left_out = (_BUSY | _OLD) - {*names}
        for _ in every(0.3, seconds=seconds):
            found = [each for each in asked(self._address, "alerts")["alerts"] if each["state"] == "firing"]
            said = {(each["labels"]["alertname"], each["labels"]["severity"]): each["annotations"] for each in found}
            if {each for each in said if each[0] not in left_out} == wanted:
                print(f"{time.monotonic() - self._start:.0f} s: {names}")
                self.seen |= {each: said[each]["summary"] for each in wanted}
                return
        raise AssertionError(f"{sorted(said)} fire, and not {sorted(wanted)}: {found}")

    @contextlib.contextmanager
    def quiet(self) -> Iterator[None]:
        """Collect metrics again and again during the block, in which no alert may fire but those of a busy computer."""
        ends = threading.Event()

        def go_on() -> None:
            while not ends.wait(_PAUSE):
                self.collect()

        with ThreadPoolExecutor() as pool:
            collecting = pool.submit(go_on)
            try:
                yield
            finally:
                ends.set()
            collecting.result()
        fired = queried(self._address, 'count by (alertname) (count_over_time(ALERTS{alertstate="firing"}[1h]))')
        names = {row["metric"]["alertname"] for row in fired} - _BUSY
        assert names == set(), f"{names} fired"
        changed = queried(self._address, 'changes(process_start_time_seconds{job=~"etcd-.+"}[1h])')
        assert all(row["value"][1] != "0" for row in changed), f"otherwise it would prove nothing: {changed}"
        print(queried(self._address, "max by (alertname) (count_over_time(ALERTS[1h]))"))

    def were_delivered(self) -> None:
        """Fail unless Alertmanager has delivered each alert that `fires` has found, and its end."""
        wanted = {(*each, status) for each in self.seen for status in ("firing", "resolved")}
        assert any(wanted <= self._delivered for _ in every(0.3, seconds=30)), wanted - self._delivered

    def shows_every_panel(self) -> None:
        """Fail unless each expression of the dashboard finds something."""
        shown = _shown(self._stack.outputs(), self._cluster)
        for _ in every(0.5, seconds=30):
            if not (empty := [each for each in shown if not queried(self._address, each)]):
                return
        raise AssertionError(f"{empty} find nothing")

    def draw(self, target: Path, seconds: int) -> None:
        """A picture of the dashboard, of so many seconds until now."""
        panels = json.loads(self._stack.outputs()["grafana_dashboard"])["panels"]
        picture(self._address, panels, self._cluster, target, seconds=seconds)


@contextlib.contextmanager
def watching(
    stack: Stack, machines: Sequence[Machine], *, speed: float, renewal_hours: int = expressions.RENEWAL_HOURS
) -> Iterator[Watched]:
    """A Prometheus with the stack's members, whose machines serve their own metrics, and rules that fire so many times
    faster."""
    with written(stack) as scrape:
        cluster = scrape.parent.name
        collect(machines)
        groups = rules.groups(cluster, speed=speed, renewal_hours=renewal_hours)
        scrape.with_name("rules.yml").write_text(rules.text(groups))
        with (
            alertmanager() as (sends, delivered),
            running(f"{rules_of(scrape)}{sends}{scrape.read_text()}") as address,
        ):
            # Prometheus begins after some five seconds.
            assert any(len(queried(address, "up == 1")) == 2 * len(machines) for _ in every(0.2, seconds=30))
            yield Watched(address, stack, machines, cluster, delivered)


def _shown(outputs: Mapping[str, Any], cluster: str) -> list[str]:
    """The expressions of the dashboard for a cluster."""
    panels = json.loads(outputs["grafana_dashboard"])["panels"]
    shown = [target["expr"] for panel in panels for target in panel.get("targets", ())]
    return [each.replace("$cluster", cluster).replace("$__rate_interval", "10s") for each in shown]
