"""The metrics of the operator's side: what they say, what a failing part costs, and when they are written."""

import json
import os
import re
import stat
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from components.node.backup import proof, turn
from components.node.cluster import claim, lease
from components.node.machine import nftables, ports
from components.node.protocol import etcd, exposition, x509
from components.node.service import conflicts, metrics_timer, systemd
from components.node.shared import paths, spec
from components.node.shared import run as real
from components.node.shared.errors import NodeError
from components.node.shared.metric_names import METRICS
from components.node.steps import drift
from components.node.verbs import metrics, status
from components.plan.backup import BackupPlan, S3Plan, backup_spec
from components.plan.releases import DEFAULT_MIRROR
from tests.support.authority import OwnAuthority
from tools.prometheus import ensure_prometheus

from .node_support import a_spec, a_status, raw_spec

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
BACKUP = backup_spec(BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu")), DEFAULT_MIRROR)
STORED = {"name": "a", "place": "s3:etcd", "member": "etcd-2", "taken": 1795970102, "keys": 7}
PROVED = {"name": "a", "place": "s3:etcd", "member": "etcd-2", "at": 1795970200, "taken": 1, "keys": 7, "seconds": 3}
FAILED = {"name": "b", "member": "etcd-3", "cause": "it does not decrypt", "at": 1795970300}
CLAIM = {"operator": "1", "by": "me", "since": "2026-11-29T16:00:00Z"}
UNITS = """Result=success
Id=etcd-snapshot.service
LoadState=loaded

Result=success
Id=etcd-drill.service
LoadState=not-found

Result=exit-code
Id=etcd-maintenance.service
LoadState=loaded
"""


@pytest.fixture
def held() -> dict[str, dict[str, Any]]:
    """The program's keys in etcd."""
    return {claim.KEY: CLAIM, turn.LAST: STORED, proof.LAST: {"proved": PROVED, "failed": FAILED}}


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, held: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with certificates, whose etcd answers, after an update and a comparison."""
    for name in ("PKI", "CLIENTS", "INSTALLED", "CONVERGED", "DRIFT", "DRILL_TIMER_FILE"):
        monkeypatch.setattr(paths, name, tmp_path / name)
    authorities = [OwnAuthority(), OwnAuthority()]
    paths.PKI.mkdir()
    for name in spec.CERTIFICATES:
        (paths.PKI / name).write_text("".join(each.certificate for each in authorities))
    paths.CLIENTS.write_text(
        json.dumps(
            {
                "apiserver-etcd-client": [
                    {"expires": "2027-11-29T10:00:00Z", "issuer": "1"},
                    {"expires": "2126-12-29T10:00:00Z", "issuer": "1"},
                    {"expires": "2126-12-30T10:00:00Z", "issuer": "1"},
                ]
            }
        )
    )
    paths.INSTALLED.write_text(json.dumps(raw_spec(backup=BACKUP, cluster="prod")))
    paths.CONVERGED.touch()
    paths.DRILL_TIMER_FILE.touch()
    paths.DRIFT.write_text(json.dumps({"at": int(time.time()), "differences": ["a", "b"]}))
    status = replace(a_status(1), errors=("alarm NOSPACE of etcd-1", "alarm NOSPACE of etcd-2"))
    monkeypatch.setattr(etcd, "statuses", lambda *_: {"etcd-1": status})
    monkeypatch.setattr(lease, "find_all", lambda *_: {key: lease.Held(value, lease=1) for key, value in held.items()})
    answered(monkeypatch, lambda _: UNITS)
    return tmp_path


def answered(monkeypatch: pytest.MonkeyPatch, systemctl: Callable[[Sequence[str]], str]) -> None:
    """Replaces systemctl; other programs run."""

    def run(words: Sequence[str], *rest: Any, **more: Any) -> Any:
        if words[0] == "systemctl":
            return subprocess.CompletedProcess(words, 0, systemctl(words), "")
        return real.run(words, *rest, **more)

    monkeypatch.setattr(metrics, "run", run)


def values(name: str) -> dict[str, float]:
    """Further labels -> value of each sample."""
    rows = re.findall(
        rf'^etcd_node_{name}{{cluster="prod",member="etcd-1",?(.*)}} (\S+)$', metrics.metrics(), re.MULTILINE
    )
    return {labels: float(value) for labels, value in rows}


def test_every_metric_of_the_table_is_there_and_promtool_accepts_the_text() -> None:
    text = metrics.metrics()
    assert set(re.findall(r"^# TYPE (\S+) gauge$", text, re.MULTILINE)) == METRICS.keys()
    checked = subprocess.run(
        [str(ensure_prometheus() / "promtool"), "check", "metrics"],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (checked.returncode, checked.stderr) == (0, "")
    assert set(values("collector_success").values()) == {1}


def test_certificates_are_reported_by_file_and_the_first_to_expire_counts() -> None:
    found = values("certificate_expiry_timestamp_seconds")
    kinds = {"ca.crt": "ca", "peer-ca.crt": "ca", "server.crt": "member", "peer.crt": "member"}
    kinds["healthcheck-client.crt"] = "member"
    for name, kind in kinds.items():
        ends = [x509.expires(der).timestamp() for der in x509.der_of((paths.PKI / name).read_text())]
        assert len(ends) == 2
        assert found.pop(f'certificate="{name}",kind="{kind}"') == min(ends)
    assert found == {
        'certificate="apiserver-etcd-client",kind="client"': 1827482400,
        'certificate="apiserver-etcd-client",kind="earlier"': 4954212000,
    }


def test_what_the_cluster_remembers_is_reported(held: dict[str, dict[str, Any]]) -> None:
    assert values("claim_held_since_timestamp_seconds") == {"": 1795968000}
    assert values("snapshot_last_timestamp_seconds") == {"": 1795970102}
    assert values("drill_last_proved_timestamp_seconds") == {"": 1795970200}
    assert values("drill_failed") == {"": 1}
    held.clear()
    assert values("claim_held_since_timestamp_seconds") == {}
    assert values("snapshot_last_timestamp_seconds") == values("drill_last_proved_timestamp_seconds") == {"": 0}
    assert values("drill_failed") == {"": 0}
    held[claim.KEY] = {"written": "by hand"}
    assert values("claim_held_since_timestamp_seconds") == {"": 0}


def test_without_snapshots_there_are_no_metrics_of_them() -> None:
    paths.INSTALLED.write_text(json.dumps(raw_spec()))
    assert not re.search("snapshot_|drill_", metrics.metrics().replace("etcd-snapshot", ""))


def test_alarms_and_versions_are_those_of_the_member() -> None:
    assert values("alarms") == {'kind="NOSPACE"': 2, 'kind="CORRUPT"': 0}
    assert values("version_info") == {'wanted="3.6.16",running="3.6.16"': 1}


def test_a_unit_is_reported_if_the_machine_has_it() -> None:
    assert values("unit_failed") == {'unit="etcd-snapshot.service"': 0, 'unit="etcd-maintenance.service"': 1}


@pytest.mark.parametrize(
    ("schedule", "seconds"),
    [
        ("hourly", 3600),
        ("*:0/15", 900),
        ("Mon..Fri 03:40", 3 * 86400),
        ("*-*-* 03,04:00", 23 * 3600),
        ("2199-01-01", 0),
    ],
)
def test_the_longest_time_of_a_schedule_counts(schedule: str, seconds: int) -> None:
    changed = {**BACKUP, "schedule": schedule}
    paths.INSTALLED.write_text(json.dumps(raw_spec(backup=changed, cluster="prod")))
    found = values("snapshot_interval_seconds")
    assert found == ({"": seconds} if seconds else {})
    assert set(values("collector_success").values()) == {1}


@pytest.mark.parametrize(
    ("age", "before", "now"),
    [(1, ["a"], 1), (301, ["a"], 0), (-5, ["a"], 0), (3590, [], 0), (3601, [], 2)],
    ids=["fresh", "differed", "another clock", "hourly", "an hour ago"],
)
def test_a_machine_is_compared_seldom(age: int, before: list[str], now: int, monkeypatch: pytest.MonkeyPatch) -> None:
    look = mock.Mock(return_value=["x"] * now)
    monkeypatch.setattr(drift, "found", look)
    paths.DRIFT.write_text(json.dumps({"at": int(time.time()) - age, "differences": before}))
    for _ in range(2):
        assert values("drift_differences") == {"": now}
    assert look.call_count == (age in (301, -5, 3601))


def test_a_part_that_fails_takes_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: Any) -> Any:
        raise NodeError("no quorum", "Wait.")

    monkeypatch.setattr(lease, "find_all", silent)
    monkeypatch.setattr(etcd, "statuses", lambda *_: {})
    paths.DRIFT.write_text("{}")
    failed = {labels for labels, value in values("collector_success").items() if not value}
    assert failed == {'collector="cluster"', 'collector="member"', 'collector="drift"'}
    assert len(values("certificate_expiry_timestamp_seconds")) == 7
    assert values("snapshot_last_timestamp_seconds") == {}


def test_a_value_cannot_break_the_text() -> None:
    text = exposition.text([exposition.Sample("a", 1, {"b": 'c"\\\n'})], {"a": "h"}, {})
    assert text == '# HELP a h\n# TYPE a gauge\na{b="c\\"\\\\\\n"} 1\n'


def test_everyone_can_read_the_file_and_a_directory_of_others_keeps_its_mode(tmp_path: Path) -> None:
    for name, mode in (("own", 0o755), ("theirs", 0o2775)):
        directory = tmp_path / name
        if name == "theirs":
            directory.mkdir()
            directory.chmod(mode)
        metrics.write(directory)
        assert stat.S_IMODE(directory.stat().st_mode) == mode
        assert [path.name for path in directory.iterdir()] == ["etcd-node.prom"]
        assert stat.S_IMODE((directory / "etcd-node.prom").stat().st_mode) == 0o644


def test_a_link_in_a_directory_of_others_does_not_choose_what_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "theirs").mkdir()
    for name in ("etcd-node.prom", ".etcd-node.prom.new"):
        (tmp_path / "theirs" / name).symlink_to(tmp_path / "precious")
    metrics.write(tmp_path / "theirs")
    assert (tmp_path / "precious").read_text() == "precious"
    (written,) = (tmp_path / "theirs").iterdir()
    assert not written.is_symlink()


def test_a_machine_without_a_member_has_no_metrics(tmp_path: Path) -> None:
    paths.INSTALLED.unlink()
    with pytest.raises(NodeError, match="no member"):
        metrics.write(tmp_path / "own")
    assert not (tmp_path / "own").exists()


def test_timer_and_socket_are_there_only_when_they_are_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[str] = []
    units = ("TIMER_FILE", "TIMER_WANTED", "UNIT_FILE", "SOCKET_FILE", "SOCKET_WANTED", "ANSWER_FILE")
    for name in ("METRICS", *(f"METRICS_{each}" for each in units)):
        monkeypatch.setattr(paths, name, tmp_path / name.lower() / "unit")
        (tmp_path / name.lower()).mkdir()
    paths.CONVERGED.unlink()

    def run(argv: list[str], *_: Any, **__: Any) -> Any:
        ran.append(argv[1])
        return subprocess.CompletedProcess(argv, 0, "ActiveState=active\nNeedDaemonReload=no\n", "")

    def settle(**settings: Any) -> list[str]:
        ran.clear()
        metrics_timer.settle(spec.parse(json.dumps(raw_spec(**settings))))
        return [*ran]

    monkeypatch.setattr(systemd, "run", run)
    assert settle() == []
    assert settle(textfile=True) == ["daemon-reload", "restart"]
    assert settle(textfile=True) == ["show"]
    assert paths.METRICS_TIMER_WANTED.resolve() == paths.METRICS_TIMER_FILE
    metrics.write(paths.METRICS)
    assert settle(textfile=True, metrics_port=2382) == ["daemon-reload", "restart", "show"]
    assert "\nListenStream=10.99.0.11:2382\n" in paths.METRICS_SOCKET_FILE.read_text()
    assert paths.METRICS_SOCKET_WANTED.resolve() == paths.METRICS_SOCKET_FILE
    assert settle(textfile=True, metrics_port=2382) == ["show", "show"]
    assert settle(textfile=True, metrics_port=2383) == ["daemon-reload", "restart", "show"]
    assert settle(textfile=True) == ["stop", "daemon-reload", "stop", "show"]
    assert not any(tmp_path.glob("metrics_[sa]*/*"))
    assert settle() == ["stop", "daemon-reload", "stop"]
    assert not any(tmp_path.glob("metrics*/*"))
    assert not paths.CONVERGED.exists()


def test_an_interrupted_removal_is_completed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing starts a socket again that is stopped, as its file is gone by then; and its link stays until it is."""
    link, file = tmp_path / "wants" / "x.socket", tmp_path / "x.socket"
    link.parent.mkdir()
    file.touch()
    link.symlink_to(file)
    ran: list[str] = []

    def run(argv: Sequence[str], *_: Any, **__: Any) -> None:
        ran.append(argv[1])
        if len(ran) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(systemd, "run", run)
    with pytest.raises(KeyboardInterrupt):
        systemd.take_down((link, file), "x.socket")
    assert (link.is_symlink(), file.exists()) == (True, False)
    for _ in range(2):
        systemd.take_down((link, file), "x.socket")
        assert ran == ["stop", "daemon-reload", "stop"] * 2
        assert not link.is_symlink()


def test_only_its_own_socket_may_have_the_port(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "METRICS_SOCKET_FILE", tmp_path / "unit")
    taken: list[ports.Listener] = []

    def listeners(wanted: Sequence[int], addresses: Sequence[str]) -> list[ports.Listener]:
        return [each for each in taken if each.port in wanted and each.address in addresses]

    def check(address: str, pid: int, **settings: Any) -> None:
        taken[:] = [ports.Listener(address, 2382, pid, "/usr/bin/program")]
        conflicts.check_ports(spec.parse(json.dumps(raw_spec(**settings))))

    monkeypatch.setattr(ports, "foreign_listeners", listeners)
    check("10.99.0.11", 4711)
    check("127.0.0.1", 4711, textfile=True, metrics_port=2382)
    refused = pytest.raises(NodeError, match=r"port 2382 at 10\.99\.0\.11 is taken by process")
    with refused:
        check("10.99.0.11", 1, textfile=True, metrics_port=2382)
    paths.METRICS_SOCKET_FILE.touch()
    check("10.99.0.11", 1, textfile=True, metrics_port=2382)
    with refused:
        check("10.99.0.11", 4711, textfile=True, metrics_port=2382)


RED_HATS_NFTABLES = """[Unit]
Wants=network-pre.target
Before=network-pre.target
[Service]
Type=oneshot
ExecStart=/bin/true
"""


@pytest.mark.parametrize("address", ["10.99.0.11", "fd00::11"])
def test_systemd_finds_no_fault_in_the_units(address: str, tmp_path: Path) -> None:
    """Nor a cycle of their order, which it would break by leaving out others' sockets or the firewall."""
    wanted = spec.parse(json.dumps(raw_spec(members={"etcd-1": address}, metrics_port=2382)))
    firewall = nftables.UNIT.replace("/usr/sbin/nft", "/bin/true")
    for target, name, text in (
        ("sockets", paths.METRICS_SOCKET, metrics_timer.socket_unit(wanted)),
        ("sysinit", paths.FIREWALL_UNIT, firewall),
        ("multi-user", "nftables.service", RED_HATS_NFTABLES),
        ("", paths.METRICS_ANSWER_FILE.name, metrics_timer.answer_unit()),
    ):
        (tmp_path / name).write_text(text)
        if target:
            (tmp_path / f"{target}.target.wants").mkdir()
            (tmp_path / f"{target}.target.wants" / name).symlink_to(tmp_path / name)
    said = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "multi-user.target", paths.METRICS_SOCKET],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert [line for line in said.stderr.splitlines() if re.search("etcd|cycle", line)] == []


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ("GET /metrics HTTP/1.1\r\nHost: 10.0.0.11:2382\r\nAccept: */*\r\n\r\n", "200 OK"),
        ("GET /metrics?x=$(id) HTTP/1.1\r\n\r\n", "200 OK"),
        ("HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK"),
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/../../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("", "404 Not Found"),
    ],
)
def test_a_connection_gets_the_metrics_and_nothing_else(
    sent: str, status: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(paths, "METRICS", tmp_path / "own")
    metrics.write(paths.METRICS)
    body = (paths.METRICS / paths.METRICS_FILE).read_text() if status == "200 OK" else "only /metrics is here\n"
    head, _, text = answered_to(sent).partition("\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status}\r\n")
    assert f"Content-Length: {len(body)}\r\n" in f"{head}\r\n"
    assert text == ("" if sent.startswith("HEAD") else body)


def test_metrics_that_were_not_written_yet_are_unavailable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(paths, "METRICS", tmp_path / "own")
    assert answered_to("GET /metrics HTTP/1.1\r\n\r\n").startswith("HTTP/1.1 503 Service Unavailable\r\n")


def test_status_names_the_port_on_which_the_machine_serves_them() -> None:
    assert "machine_metrics" not in status._ports(a_spec())
    assert status._ports(a_spec(metrics_port=2382))["machine_metrics"] == 2382


def answered_to(sent: str) -> str:
    """What the shell in the unit answers, as systemd starts it."""
    (script,) = re.findall(r"ExecStart=/bin/sh -c '(.*?)'\n", metrics_timer.answer_unit(), re.DOTALL)
    # systemd's own rules: lines that go on, and its escapes.
    script = script.replace("\\\n", " ").replace("$$", "$").replace("%%", "%").replace("\\\\", "\\")
    done = subprocess.run(
        ["sh", "-c", script], input=sent.encode(), capture_output=True, timeout=20, check=False, env={"LC_ALL": "C"}
    )
    return done.stdout.decode()
