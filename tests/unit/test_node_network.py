"""The network rehearsal between members: closed ports, source addresses, and what it does not judge."""

import errno
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from components.node.machine import network
from components.node.protocol import etcd
from components.node.shared.errors import NodeError
from components.node.shared.spec import Spec

from .node_support import a_spec

MEMBERS = {"etcd-1": "127.0.0.11", "etcd-2": "127.0.0.12", "etcd-3": "127.0.0.13"}
_connect = socket.create_connection


def _ports() -> tuple[int, int]:
    """Two ports that are free at all addresses."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("", 0))
        two.bind(("", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _initial_member(member: str, ports: tuple[int, int]) -> Spec:
    return a_spec(
        member=member,
        members=MEMBERS,
        initial_members=list(MEMBERS),
        token="t-1",
        client_port=ports[0],
        peer_port=ports[1],
    )


class _Machines:
    """Three machines on this computer, each with its own address, and optionally another source address.

    Attributes:
        closed: (from, to, port) -> error of a connection.
        sources: member -> source address, if it is not its own.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ports = _ports()
        self.closed: dict[tuple[str, str, int], OSError] = {}
        self.sources: dict[str, str] = {}
        self._local = threading.local()
        of_one = network._of_one

        def as_member(here: network.Here, *rest: Any) -> Any:
            self._local.member = here.member
            return of_one(here, *rest)

        monkeypatch.setattr(network, "_of_one", as_member)
        monkeypatch.setattr(socket, "create_connection", self._connect)
        monkeypatch.setattr(network, "_PATIENCE_SECONDS", 0.3)

    def _connect(self, target: tuple[str, int], timeout: float) -> socket.socket:
        member = getattr(self._local, "member", "")
        to = next(name for name, address in MEMBERS.items() if address == target[0])
        if (member, to, target[1]) in self.closed:
            raise self.closed[member, to, target[1]]
        own = self.sources.get(member, MEMBERS.get(member, target[0]))
        return _connect(target, timeout, source_address=(own, 0))

    @contextmanager
    def up(self, *members: str) -> Iterator[None]:
        threads, listeners = [], []
        for member in members:
            sockets = [network._listener(MEMBERS[member], port) for port in self.ports]
            listeners += sockets
            threads.append(threading.Thread(target=network.serve, args=(self.here(member), sockets)))
            threads[-1].start()
        try:
            yield
        finally:
            for each in listeners:
                each.shutdown(socket.SHUT_RDWR)
                each.close()
            for thread in threads:
                thread.join(5)

    def here(self, member: str) -> network.Here:
        return network.Here(member, MEMBERS, self.ports)

    def rehearse(self, member: str) -> str:
        """The refusal of this member's rehearsal; empty if it succeeds."""
        self._local.member = member
        try:
            network.rehearse(_initial_member(member, self.ports))
        except NodeError as error:
            return str(error)
        return ""


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> _Machines:
    return _Machines(monkeypatch)


def test_a_fully_open_network_passes(machines: _Machines) -> None:
    with machines.up(*MEMBERS):
        assert [machines.rehearse(member) for member in MEMBERS] == ["", "", ""]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EHOSTUNREACH, "No route to host"), "rejected: a firewall on etcd-2?"),
        (TimeoutError(), "dropped: a firewall on etcd-2 or between the two?"),
        (ConnectionRefusedError(), "refused: nothing listens there, or a firewall on etcd-2 rejects it"),
        (OSError(errno.ENETUNREACH, "Network is unreachable"), "there is no route to etcd-2"),
        (PermissionError(errno.EPERM, "Operation not permitted"), "forbidden by its own firewall"),
    ],
)
def test_every_member_reports_a_closed_pair(machines: _Machines, error: OSError, said: str) -> None:
    """No member starts an etcd, not even one with all ports open."""
    peer = machines.ports[1]
    machines.closed["etcd-1", "etcd-2", peer] = error
    with machines.up(*MEMBERS):
        for member in MEMBERS:
            refusal = machines.rehearse(member)
            assert f"etcd-1 cannot reach etcd-2:{peer} ({said})" in refusal
            assert "no etcd was started" in refusal
            assert f"ports {machines.ports[0]} and {peer} must be open" in refusal


def test_an_address_without_a_machine_is_not_a_firewall(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "_PROMPT_SECONDS", -1.0)
    said = network._reason(OSError(errno.EHOSTUNREACH, "No route to host"), 3.1)
    assert said.format("etcd-2") == "no machine answers at the address of etcd-2: is it off, or in another network?"


def test_every_member_reports_a_wrong_source_address(machines: _Machines) -> None:
    machines.sources["etcd-3"] = "127.0.0.21"
    with machines.up(*MEMBERS):
        for member in MEMBERS:
            said = "etcd-3 reaches the others from 127.0.0.21, not from its address 127.0.0.13"
            assert f"{said}: its certificate will be refused" in machines.rehearse(member)


def test_a_source_address_that_the_name_resolves_to_is_accepted(
    machines: _Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines.sources["etcd-3"] = "127.0.0.21"
    with monkeypatch.context() as patched:
        found = [(2, 1, 6, "", ("127.0.1.1", 0)), (2, 1, 6, "", ("127.0.0.21", 0))]
        patched.setattr(socket, "getaddrinfo", lambda *_: found)
        assert network._has_name("127.0.0.21", "etcd-3")
        assert not network._has_name("127.0.0.13", "etcd-3")
        patched.setattr(socket, "getaddrinfo", mock.Mock(side_effect=socket.gaierror))
        assert not network._has_name("127.0.0.21", "etcd-3")
    monkeypatch.setattr(network, "_has_name", lambda source, name: (source, name) == ("127.0.0.21", "etcd-3"))
    with machines.up(*MEMBERS):
        assert [machines.rehearse(member) for member in MEMBERS] == ["", "", ""]


def test_a_bound_source_address_is_accepted(machines: _Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    flags = {"--feature-gates": "InitialCorruptCheck=true,SetMemberLocalAddr=true"}
    machines.sources["etcd-3"] = "127.0.0.21"
    with machines.up(*MEMBERS):
        for member in MEMBERS:
            network.rehearse(replace(_initial_member(member, machines.ports), flags=flags))
    _newcomer(monkeypatch, {}, source="10.99.0.222")
    monkeypatch.setattr(etcd, "peer_view", mock.Mock(side_effect=etcd.SilentError("the connection was reset")))
    network.refuse_closed(a_spec(flags=flags))


def test_a_running_etcd_counts_as_an_open_machine(machines: _Machines) -> None:
    client, peer = (network._listener(MEMBERS["etcd-2"], port) for port in machines.ports)
    accepted: list[socket.socket] = []
    # The peer port closes connections without TLS, and the client port is silent until there is a leader.
    threading.Thread(target=network._accept, args=(peer, lambda line, _: line.close()), daemon=True).start()
    threading.Thread(target=network._accept, args=(client, lambda line, _: accepted.append(line)), daemon=True).start()
    with machines.up("etcd-1", "etcd-3"):
        assert machines.rehearse("etcd-1") == ""
        assert machines.rehearse("etcd-3") == ""
    for each in (client, peer, *accepted):
        each.close()


def test_a_late_member_trusts_another_members_complete_report(
    machines: _Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machines.up("etcd-2", "etcd-3"):
        with machines.up("etcd-1"):
            assert machines.rehearse("etcd-1") == ""
        # Its ports are closed now, and there is no etcd yet.
        look = mock.Mock(side_effect=AssertionError)
        with monkeypatch.context() as patched:
            patched.setattr(network, "_from_here", look)
            assert machines.rehearse("etcd-2") == ""
        monkeypatch.setattr(network, "_OPEN_SECONDS", 0.0)
        assert "etcd-2 cannot reach etcd-1" in machines.rehearse("etcd-2"), "the rehearsal fails without that report"


def test_a_waiting_member_hears_of_a_complete_report(machines: _Machines) -> None:
    told, first = iter([False, False, True]), ("etcd-1", MEMBERS["etcd-1"])
    with pytest.raises(network._ClosedError):
        network._connect(MEMBERS["etcd-1"], machines.ports[1], 10.0, lambda: next(told))
    assert next(told, None) is None
    assert network._of_one(machines.here("etcd-2"), first, "hello", lambda: True).faults == []
    machines.closed["etcd-2", "etcd-1", machines.ports[1]] = TimeoutError()
    assert network._of_one(machines.here("etcd-2"), first, "hello", lambda: True).faults != []


def test_a_member_that_listens_a_little_later_is_waited_for(
    machines: _Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(network, "_PATIENCE_SECONDS", 10.0)
    with ExitStack() as stack:
        stack.enter_context(machines.up("etcd-1", "etcd-3"))
        late = threading.Timer(0.2, lambda: stack.enter_context(machines.up("etcd-2")))
        late.start()
        assert machines.rehearse("etcd-1") == ""
        late.join()


def test_strangers_and_invalid_requests_get_no_report(machines: _Machines) -> None:
    look = mock.Mock(return_value=([], {}))
    stranger = b'{"you": "127.0.0.99", "takes": false, "open": false}\n'
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(network, "_from_here", look)
        with machines.up("etcd-1"):
            for question, answer in (
                (b"external-etcd report etcd-2\n", stranger),
                (b"external-etcd report nobody\n", stranger),
                (b"external-etcd open etcd-2\n", b""),
                (b"external-etcd hello etcd-2\n", stranger),
                (b"external-etcd hello etcd-2 more\n", b""),
                (b"external-etcd hell" + b"o" * 200, b""),
                (b"GET / HTTP/1.1\r\n\r\n", b""),
                (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b""),
            ):
                with _connect(("127.0.0.11", machines.ports[1]), 5, source_address=("127.0.0.99", 0)) as line:
                    line.sendall(question)
                    got = b""
                    with suppress(ConnectionResetError):
                        got = network._read(line)
                assert got == answer, question
    look.assert_not_called()


def test_a_machine_with_only_the_rehearsal_has_no_etcd(machines: _Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(etcd, "_context", lambda *_: ssl.create_default_context())
    with machines.up("etcd-1"), pytest.raises(etcd.SilentError, match=etcd.RESET):
        etcd._get(MEMBERS["etcd-1"], machines.ports[1], "/members", "peer", (5, 5))


def test_an_etcd_is_told_from_a_prepared_machine(
    machines: _Machines, own_authority: dict[str, str], tmp_path: Path
) -> None:
    """If one runs, the cluster was begun: then the network is not tested again."""
    first = _initial_member("etcd-1", machines.ports)
    assert not network.somebody_runs(first)
    with machines.up("etcd-2"):
        assert not network.somebody_runs(first)
        pair = tmp_path / "pair.pem"
        pair.write_text(own_authority["certificate"] + own_authority["private_key"])
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server.load_cert_chain(pair)
        with server.wrap_socket(network._listener(MEMBERS["etcd-3"], machines.ports[1]), server_side=True) as etcd_3:

            def accept() -> None:
                with etcd_3.accept()[0]:
                    pass

            answering = threading.Thread(target=accept)
            answering.start()
            assert network.somebody_runs(first)
            answering.join(5)


def test_a_cluster_of_one_rehearses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "run", mock.Mock(side_effect=AssertionError))
    alone = a_spec(members={"etcd-1": "127.0.0.11"}, initial_members=["etcd-1"], token="t-1")
    network.listen(alone)
    network.wait_until_it_listens(alone)
    network.rehearse(alone)


def test_systemd_arguments_contain_nothing_to_expand(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[list[str]] = []

    def run(words: list[str], *_: object, **__: object) -> mock.Mock:
        said.append(words)
        return mock.Mock(returncode=len(said) == 1)

    monkeypatch.setattr(network, "run", run)
    network.listen(a_spec(release={"version": "3.6.16", "mirror": "https://a.example/$HOME%h", "sha256": {}}))
    assert [words[0] for words in said] == ["systemd-run", "systemctl", "systemd-run"], "the old unit is stopped"
    assert not any(char in word for word in said[-1] for char in "$%")
    assert f"--property=RuntimeMaxSec={network.LISTEN_SECONDS}" in said[-1]


# -- before a member joins ---------------------------------------------------------------------------------------------


def _newcomer(
    monkeypatch: pytest.MonkeyPatch,
    ways: Mapping[tuple[str, int], str],
    source: str = "10.99.0.11",
    trips: Mapping[str, float] = {},
) -> None:
    """This machine's connections: (address, port) -> why it is closed; all others are open."""

    def ask(address: str, port: int, *_: object) -> tuple[str, dict[str, Any], float]:
        if (address, port) in ways:
            raise network._ClosedError(ways[address, port])
        return source, {}, trips.get(address, 0.2)

    monkeypatch.setattr(network, "_ask", ask)


REJECTED, DROPPED, REFUSED = "rejected: a firewall on {}?", "dropped: a firewall on {} or between the two?", "refused"


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ({}, None),
        ({("10.99.0.12", 2380): REJECTED}, "etcd-1 cannot reach etcd-2:2380 (rejected: a firewall on etcd-2?)"),
        ({("10.99.0.12", 2380): DROPPED}, "etcd-1 cannot reach etcd-2:2380 (dropped"),
        ({("10.99.0.12", 2379): DROPPED}, "etcd-1 cannot reach etcd-2:2379 (dropped"),
        ({("10.99.0.12", 2380): REJECTED, ("10.99.0.12", 2379): REJECTED}, "etcd-2:2379"),
        # Off, or without an etcd: another check judges how many members remain.
        ({("10.99.0.12", 2380): DROPPED, ("10.99.0.12", 2379): DROPPED}, None),
        ({("10.99.0.12", 2380): REFUSED, ("10.99.0.12", 2379): REFUSED}, None),
    ],
)
def test_a_member_that_cannot_reach_a_running_one_does_not_join(
    monkeypatch: pytest.MonkeyPatch, ways: dict[tuple[str, int], str], said: str | None
) -> None:
    _newcomer(monkeypatch, ways)
    if said is None:
        network.refuse_closed(a_spec())
        return
    with pytest.raises(NodeError) as refused:
        network.refuse_closed(a_spec())
    assert said in str(refused.value)
    assert "nothing was changed" in str(refused.value)


@pytest.mark.parametrize(
    ("ways", "said"),
    [
        ({}, []),
        ({("10.99.0.12", 2379): REJECTED}, ["etcd-2:2379 (rejected: a firewall on etcd-2?)"]),
        ({("10.99.0.11", 2380): DROPPED}, ["etcd-1:2380 (dropped: a firewall on etcd-1 or between the two?)"]),
        ({("10.99.0.12", 2380): DROPPED, ("10.99.0.12", 2379): network._REFUSED}, ["etcd-2:2379", "etcd-2:2380"]),
        ({("10.99.0.13", 2379): network._REFUSED}, ["etcd-3:2379 (refused: nothing listens there, or a firewall on"]),
        # It was prepared long ago.
        ({("10.99.0.12", 2380): network._REFUSED, ("10.99.0.12", 2379): network._REFUSED}, []),
    ],
)
def test_the_closed_ports_of_prepared_machines_are_named(
    monkeypatch: pytest.MonkeyPatch, ways: dict[tuple[str, int], str], said: list[str]
) -> None:
    _newcomer(monkeypatch, ways)
    found = network.unreachable(a_spec().members, (2379, 2380))
    assert len(found) == len(said)
    assert all(line.startswith(begin) for line, begin in zip(found, said, strict=True))


def test_a_member_with_a_wrong_source_address_does_not_join(monkeypatch: pytest.MonkeyPatch) -> None:
    _newcomer(monkeypatch, {}, source="10.99.0.222")
    view = mock.Mock(side_effect=etcd.SilentError("the connection was reset"))
    monkeypatch.setattr(etcd, "peer_view", view)
    with pytest.raises(NodeError, match=r"reaches the others from 10\.99\.0\.222, not from its address 10\.99\.0\.11"):
        network.refuse_closed(a_spec())
    view.side_effect = None  # the certificate has the member's name
    network.refuse_closed(a_spec())


def test_a_member_at_the_end_of_a_slow_link_does_not_join(monkeypatch: pytest.MonkeyPatch) -> None:
    _newcomer(monkeypatch, {}, trips={"10.99.0.13": 150.0})
    with pytest.raises(NodeError, match=r"too long: etcd-1 to etcd-3 150 ms; .* must not exceed 100 ms"):
        network.refuse_closed(a_spec())
    measured = {"etcd-2": 0.2, "etcd-3": 150.0}
    assert network.refuse_closed(a_spec(acknowledge=["slow-link"])) == measured
    assert network.refuse_closed(a_spec(auto_timers=True)) == measured
    assert network.refuse_closed(a_spec(flags={"--election-timeout": "1500"})) == measured


def test_a_slow_link_is_refused_on_every_initial_member(machines: _Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on the member that is at neither end of it: none starts its etcd."""

    def round_trip(line: socket.socket) -> float:
        ends = {str(line.getsockname()[0]), str(line.getpeername()[0])}
        return 101.0 if ends == {MEMBERS["etcd-2"], MEMBERS["etcd-3"]} else 0.2

    monkeypatch.setattr(network, "_round_trip", round_trip)
    machines.sources = dict(MEMBERS)
    with machines.up(*MEMBERS):
        for member in MEMBERS:
            assert "etcd-2 to etcd-3 101 ms" in machines.rehearse(member)
        machines._local.member = "etcd-1"
        found = network.rehearse(replace(_initial_member("etcd-1", machines.ports), acknowledge=("slow-link",)))
    assert found == {"etcd-2": 0.2, "etcd-3": 0.2}


@pytest.mark.parametrize("links", [None, [], {"etcd-1": "x", "nobody": 1.0}])
def test_a_report_with_unusable_round_trips_is_ignored(machines: _Machines, links: object) -> None:
    assert network._reported(machines.here("etcd-2"), "etcd-1", links) == {}


def test_equivalent_spellings_of_an_address_are_equal() -> None:
    assert network._same("::ffff:10.0.0.1", "10.0.0.1")
    assert network._same("fd00::1%eth0", "FD00:0::1")
    assert not network._same("fd00::1", "fd00::2")
    assert not network._same("nonsense", "10.0.0.1")


def test_members_that_do_not_connect_to_a_new_one_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "end", lambda: None)
    monkeypatch.setattr(network, "_KNOCK_SECONDS", 0.5)
    port = _ports()[0]
    spec = a_spec(member="etcd-1", members=MEMBERS, peer_port=port, extra_addresses={"etcd-3": ["127.0.0.99"]})
    bell = network.Doorbell(spec)
    expected = {name: MEMBERS[name] for name in ("etcd-2", "etcd-3")}
    try:
        for source in ("127.0.0.12", "127.0.0.98"):
            _connect((MEMBERS["etcd-1"], port), 5, source_address=(source, 0)).close()
        late = bell.unheard(expected)
        assert len(late) == 1
        assert f"etcd-3 cannot reach etcd-1:{port} (no connection came from 127.0.0.13 within" in late[0]
        assert "connections came from 127.0.0.98" in late[0]
        # Etcd accepts any address in its certificate.
        _connect((MEMBERS["etcd-1"], port), 5, source_address=("127.0.0.99", 0)).close()
        assert bell.unheard(expected) == []
    finally:
        bell.close()
    network._listener(MEMBERS["etcd-1"], port).close()


def test_a_peer_port_in_use_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "end", lambda: None)
    port = _ports()[0]
    with network._listener(MEMBERS["etcd-1"], port), pytest.raises(NodeError, match=f"port {port} of 127.0.0.11"):
        network.Doorbell(a_spec(members=MEMBERS, peer_port=port))
