"""Which addresses a machine's rules admit besides the configured ones, and until when."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from components.node.machine import nftables, nftables_watch, ports
from components.node.protocol import etcd
from components.node.protocol.etcd import Membership
from components.node.shared import lock, paths
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec

from .node_support import a_member, a_spec

ONE, TWO, THREE, FOUR = (f"10.99.0.1{n}" for n in range(1, 5))
CLIENTS = "10.99.7.0/24"


def a_wanted(*addresses: str, **changes: Any) -> Spec:
    """The specification as `prepare` gets it: with rules for these members; the first one is this machine's."""
    rules = {
        "22": ["203.0.113.5/32"],
        "2379": [*(f"{address}/32" for address in addresses), CLIENTS],
        "2380": [f"{address}/32" for address in addresses],
        "2381": [f"{address}/32" for address in addresses],
    }
    members = {f"etcd-{address[-1]}": address for address in addresses}
    return a_spec(members=members, member=f"etcd-{addresses[0][-1]}", **{"firewall": rules, **changes})


class Machine:
    """A machine's firewall files, and the loaded rules."""

    def __init__(self, directory: Path) -> None:
        self.installed = directory / "installed.json"
        self.file = directory / "etcd" / "firewall.nft"
        self.calls: list[list[str]] = []
        self.cluster: Membership | None = None
        """The membership as its member reports it; None: it is not ready."""

    def run(self, argv: list[str], *_: object, **__: object) -> SimpleNamespace:
        self.calls.append(argv)
        return SimpleNamespace(returncode=0)

    def has(self, *addresses: str) -> None:
        """Record these members as those of the installed rules."""
        self.installed.write_text(json.dumps({"members": {f"etcd-{each[-1]}": each for each in addresses}}))

    def lets_in(self, port: int) -> list[str]:
        """The addresses that can connect to a port after a reboot, in order, without prefix lengths."""
        for line in self.file.read_text().splitlines():
            if line.endswith(f"dport {port} accept"):
                return sorted(
                    part.removesuffix("/32") for part in line[line.index("{") + 2 : line.index(" }")].split(", ")
                )
        return []


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    monkeypatch.setattr(paths, "INSTALLED", made.installed)
    for name in vars(paths):
        if name.startswith(("FIREWALL", "NARROW")) and isinstance(getattr(paths, name), Path):
            place = made.file if name == "FIREWALL" else tmp_path / "etcd" / name
            monkeypatch.setattr(paths, name, place)
    monkeypatch.setattr(paths, "FIREWALL_DROP_IN", tmp_path / "drop" / "in")
    monkeypatch.setattr(nftables, "run", made.run)
    monkeypatch.setattr(os, "fchown", lambda *_: None)

    def ready(*_: object) -> etcd.Ready:
        return etcd.Ready(made.cluster is not None, "", "")

    monkeypatch.setattr(etcd, "ready", ready)
    monkeypatch.setattr(etcd, "peer_view", lambda *_: made.cluster)
    monkeypatch.setattr(lock, "held", lambda _: contextlib.nullcontext())
    yield made


def cluster(*numbers: int) -> Membership:
    return Membership(77, tuple(a_member(number) for number in numbers))


def test_the_first_rules_refuse_to_interrupt_connected_clients(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    using = [ONE, TWO, "10.99.7.8"]
    peers = [ONE, TWO]
    monkeypatch.setattr(ports, "connected", lambda port: {2379: using, 2380: peers, 22: []}[port])
    nftables.install(a_wanted(ONE, TWO))
    nftables.remove()
    using.append("10.99.8.1")
    with pytest.raises(
        NodeError, match=r"10\.99\.8\.1 is connected to port 2379 of this machine and would be disconnected"
    ):
        nftables.install(a_wanted(ONE, TWO))
    assert not machine.file.exists()
    peers.append(using.pop())
    with pytest.raises(NodeError, match=r"10\.99\.8\.1 is connected to port 2380 .* not the address of a member"):
        nftables.install(a_wanted(ONE, TWO))
    assert not machine.file.exists()
    using.append(peers.pop())
    # A later change closes the port on purpose.
    using.pop()
    nftables.install(a_wanted(ONE, TWO))
    using.append("10.99.8.1")
    nftables.install(a_wanted(ONE, TWO))


@pytest.mark.parametrize(
    ("login", "refused"),
    [
        (("10.1.9.9", 22), True),
        (("203.0.113.5", 22), False),
        # sshd on a port without rules; one on a port of etcd; no login, as on the console.
        (("10.1.9.9", 2222), False),
        (("10.1.9.9", 2381), True),
        (None, False),
    ],
)
def test_rules_that_would_interrupt_their_own_run_are_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, login: tuple[str, int] | None, refused: bool
) -> None:
    nftables.install(a_wanted(ONE))
    before = machine.file.read_text()
    # Somebody else, who may be admitted or not, does not matter.
    monkeypatch.setattr(ports, "connected", lambda port: ["203.0.113.5", "198.51.100.7"] if port == 22 else [])
    monkeypatch.setattr(ports, "login", lambda: login)
    if refused:
        assert login is not None
        source, port = login
        with pytest.raises(NodeError, match=rf"to port {port} .* from {source}, .*locked out; nothing was loaded"):
            nftables.install(a_wanted(ONE, TWO))
    else:
        nftables.install(a_wanted(ONE, TWO))
    assert (machine.file.read_text() == before) == refused


_PRINT = """\
import sys
from components.node.machine import ports
ports.connected = lambda port: {22022: ["10.1.9.9"]}.get(port, [])
print(ports.login())
"""
_SUDO = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], env={}, check=True)"


@pytest.mark.parametrize(
    ("connection", "found"),
    [
        ("10.1.9.9 50123 10.99.0.11 22022", "('10.1.9.9', 22022)"),
        # A terminal that outlived its login.
        ("10.1.9.8 50123 10.99.0.11 22022", "None"),
        ("", "None"),
    ],
)
def test_the_login_of_a_run_is_found_behind_sudo(connection: str, found: str) -> None:
    environ = {"SSH_CONNECTION": connection} if connection else {}
    run = subprocess.run(
        [sys.executable, "-c", _SUDO, _PRINT], env=environ, capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == found


def test_only_a_new_program_restarts_long_running_processes(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The processes that watch the rules, and close ports after members have left."""
    units = ("etcd-firewall-watch.service", "etcd-firewall-narrow.service")
    machine.has(ONE, TWO)
    for program, verb in (("/place/1", "restart"), ("/place/1", "start"), ("/place/2", "restart")):
        monkeypatch.setattr("sys.argv", [program, "prepare"])
        machine.calls.clear()
        nftables.install(a_wanted(ONE))
        for unit in units:
            assert [call[1] for call in machine.calls if unit in call] == [verb]


def test_rules_without_ssh_belong_to_an_existing_machine(machine: Machine) -> None:
    """Other rules are a cloud's, and stay when the cluster is adopted by another platform."""
    assert not nftables.leaves_ssh_alone()
    nftables.install(a_wanted(ONE, firewall={"22": [], "2379": [f"{ONE}/32"]}))
    assert not nftables.leaves_ssh_alone()
    nftables.install(a_wanted(ONE, firewall={"2379": [f"{ONE}/32"]}))
    assert nftables.leaves_ssh_alone()


def test_removing_rules_keeps_etcd_running_and_foreign_units(machine: Machine) -> None:
    paths.FIREWALL_UNIT_FILE.parent.mkdir(parents=True)
    paths.FIREWALL_UNIT_FILE.write_text("[Unit]\nDescription=ours\n")
    nftables.remove()
    assert paths.FIREWALL_UNIT_FILE.exists()
    assert machine.calls == []
    nftables.install(a_wanted(ONE))
    machine.calls.clear()
    nftables.remove()
    # Unless the drop-in goes first, etcd stops with the unit that it requires.
    assert machine.calls[0] == ["systemctl", "daemon-reload"]
    assert not any(path.exists() for path in (paths.FIREWALL_UNIT_FILE, paths.FIREWALL_DROP_IN, machine.file))


def test_a_leaving_member_keeps_only_etcds_two_ports(machine: Machine) -> None:
    nftables.install(a_wanted(ONE, TWO, THREE))
    machine.has(ONE, TWO, THREE)
    assert not any("etcd-firewall-narrow.service" in call for call in machine.calls)
    nftables.install(a_wanted(ONE))
    assert machine.lets_in(2380) == [ONE, TWO, THREE]
    assert machine.lets_in(2379) == [ONE, TWO, THREE, CLIENTS]
    assert machine.lets_in(2381) == [ONE]
    assert ["systemctl", "restart", "--no-block", "etcd-firewall-narrow.service"] in machine.calls

    for now in (None, cluster(1, 2, 3), cluster(1, 3)):
        machine.cluster = now
        nftables.settle(a_wanted(ONE))
        assert machine.lets_in(2380) == [ONE, TWO, THREE]
    machine.cluster = cluster(1)
    nftables.settle(a_wanted(ONE))
    assert machine.lets_in(2380) == [ONE]
    assert machine.lets_in(2379) == [ONE, CLIENTS]
    assert not paths.FIREWALL_KEPT.exists()


def test_leaving_members_stay_admitted_until_a_later_run(machine: Machine) -> None:
    nftables.install(a_wanted(ONE, TWO, THREE))
    machine.has(ONE, TWO, THREE)
    nftables.install(a_wanted(ONE, TWO))
    nftables.install(a_wanted(ONE, TWO))
    assert machine.lets_in(2380) == [ONE, TWO, THREE]
    machine.cluster = cluster(1, 2)
    nftables.settle(a_wanted(ONE, TWO))
    # The record is narrowed after the rules, or by another run.
    nftables.install(a_wanted(ONE, TWO))
    assert machine.lets_in(2380) == [ONE, TWO]


def test_a_member_of_a_reverted_update_stays_admitted(machine: Machine) -> None:
    machine.has(ONE)
    nftables.install(a_wanted(ONE))
    nftables.install(a_wanted(ONE, TWO, THREE))
    nftables.install(a_wanted(ONE))
    assert machine.lets_in(2380) == [ONE, TWO, THREE]
    machine.cluster = cluster(1)
    nftables.settle(a_wanted(ONE))
    assert machine.lets_in(2380) == [ONE]


def test_removed_client_ranges_lose_access_immediately(machine: Machine) -> None:
    rules = {"22": [], "2379": [CLIENTS], "2380": [f"{ONE}/32", f"{TWO}/32", "10.99.8.0/24"]}
    machine.has(ONE, TWO)
    nftables.install(a_wanted(ONE, TWO, firewall=rules))
    nftables.install(a_wanted(ONE, firewall={"22": [], "2379": ["10.99.9.0/24"], "2380": [f"{ONE}/32"]}))
    assert machine.lets_in(2379) == ["10.99.9.0/24"]
    assert machine.lets_in(2380) == [ONE, TWO]


def test_a_listed_member_outside_the_rules_is_not_admitted(machine: Machine) -> None:
    machine.has(ONE, TWO)
    nftables.install(a_wanted(ONE, TWO))
    nftables.install(a_wanted(ONE, TWO, firewall={"2380": [f"{ONE}/32"]}))
    assert machine.lets_in(2380) == [ONE]


def test_an_address_inside_a_range_gets_no_second_rule(machine: Machine) -> None:
    machine.has(ONE, TWO, THREE)
    nftables.install(a_wanted(ONE, TWO, THREE))
    nftables.install(a_wanted(ONE, firewall={"2380": ["10.99.0.0/16"], "2379": ["10.99.0.0/16"]}))
    assert machine.lets_in(2380) == ["10.99.0.0/16"]
    assert not paths.FIREWALL_KEPT.exists()


def test_a_new_member_admits_leaving_peers_until_they_have_left(machine: Machine) -> None:
    spec = a_wanted(FOUR, ONE, TWO)
    nftables.install(spec)
    assert machine.lets_in(2380) == [ONE, TWO, FOUR]
    nftables.admit(spec, cluster(1, 2, 3, 4))
    assert machine.lets_in(2380) == [ONE, TWO, THREE, FOUR]
    assert machine.lets_in(2379) == [ONE, TWO, FOUR, CLIENTS]

    # This machine's update ends before that member leaves; the machine keeps checking, also while etcd is down.
    machine.cluster = cluster(1, 2, 3, 4)
    nftables.settle(spec)
    assert machine.lets_in(2380) == [ONE, TWO, THREE, FOUR]
    views = iter([None, cluster(1, 2, 3, 4), cluster(1, 2, 4), cluster(1, 2, 4)])
    machine.installed.write_text(json.dumps(spec.raw))

    def moment(_: float) -> None:
        machine.cluster = next(views)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "sleep", moment)
        nftables.narrow()
    assert machine.lets_in(2380) == [ONE, TWO, FOUR]


def test_unmanaged_ports_get_no_rules(machine: Machine) -> None:
    nftables.admit(a_spec(), cluster(1, 2, 3, 4))
    nftables.settle(a_spec())
    assert machine.calls == []
    assert not machine.file.exists()


class Kernel:
    """The loaded rules; `nft -f` loads the file."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.loads = 0
        self.table = ""

    def run(self, argv: list[str], *_: object, **__: object) -> SimpleNamespace:
        if argv[:2] == ["nft", "-f"]:
            self.loads += 1
            self.table = self.machine.file.read_text()
        return SimpleNamespace(returncode=0 if self.table else 1, stdout=self.table, stderr="")


def test_missing_or_changed_rules_are_loaded_again(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    nftables.install(a_wanted(ONE, TWO, THREE))
    assert ["systemctl", "restart", "--no-block", "etcd-firewall-watch.service"] in machine.calls
    kernel = Kernel(machine)
    monkeypatch.setattr(nftables_watch, "run", kernel.run)
    loaded = nftables_watch.restored("")
    assert (kernel.loads, nftables_watch.restored(loaded), kernel.loads) == (1, loaded, 1)
    for table in ("", "table inet external_etcd {\n}\n"):
        kernel.table = table
        loaded = nftables_watch.restored(loaded)
        assert kernel.table == machine.file.read_text()
    assert kernel.loads == 3
    # An update loaded other rules: from now on these are kept.
    nftables.install(a_wanted(ONE))
    kernel.table = machine.file.read_text()
    assert nftables_watch.restored(loaded) == kernel.table


def test_etcd_needs_the_rules_to_start_but_survives_their_unit(machine: Machine) -> None:
    nftables.install(a_wanted(ONE))
    drop_in, unit = paths.FIREWALL_DROP_IN.read_text(), paths.FIREWALL_UNIT_FILE.read_text()
    assert "\nExecStartPre=+/usr/sbin/nft -f " in drop_in
    for word in ("Requires=", "BindsTo=", "PartOf=", "Requisite="):
        assert word not in drop_in
        assert word not in unit
