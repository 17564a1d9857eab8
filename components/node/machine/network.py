"""The network between members, rehearsed before it is needed.

Etcd waits silently for a member that it cannot reach, and refuses one whose connection comes from an address that is
not in its certificate. So both are tried before an etcd depends on them.

Before a cluster is bootstrapped: `prepare` has each machine answer on its client and peer ports for a while (`listen`:
a transient unit that runs `answer`). `bootstrap` begins when all machines are prepared. It asks every other machine
from which address this one comes, and whom that machine reaches itself. So each initial member knows of every pair of
machines, in whatever order the engine starts them, and none starts its etcd if one pair is closed.

Before a member joins: this machine must reach the members (`refuse_closed`), and they must reach it (`Doorbell`): it
listens on its peer port before it is added as a learner, because etcd dials a new member the moment it hears of it.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import json
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..shared import paths
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, until
from ..shared.spec import Spec
from . import measured

LISTEN_SECONDS = 1800
"""How long a prepared machine answers: longer than the slowest of the other machines takes until it is prepared."""
_PATIENCE_SECONDS = 10.0
"""How long a refused connection is tried again: the other machine may be about to listen, or to start its etcd."""
_CONNECT_SECONDS = 3.5
"""Longer than TCP takes for a second retry."""
_PROMPT_SECONDS = 0.8
"""A firewall rejects at once. An address without a machine is known after three neighbour requests, one per second."""
_HELLO_SECONDS = 2.0
_REPORT_SECONDS = 30.0
_FRESH_SECONDS = 1.0
_KNOCK_SECONDS = 10.0
_NOBODY = 65534
_TASKS = 100
"""Limit of answering threads: several times what seven members need."""
_OPEN_SECONDS = 60.0
"""How long the report of an initial member that all pairs are open is valid."""
_HELLO, _REPORT, _OPEN = "hello", "report", "open"
_GREETING = b"external-etcd "
_LONGEST = 128
_MOST = 1 << 16
_RTT_AT = 68
"""Offset of `tcpi_rtt`, in microseconds, in the kernel's `struct tcp_info`."""
_REFUSED = "refused: nothing listens there, or a firewall on {} rejects it"
_SOURCE = "its certificate will be refused"
_REMEDY_SOURCE = (
    "A member must reach the others from its own address: correct the source address of its route (`ip route get "
    "ADDRESS` shows it), or give the slot the address from which the machine connects, or add that to its "
    "`extraNames`, or, with etcd 3.6 and later, set the flag `feature-gates: SetMemberLocalAddr=true`."
)
_CHOOSES_SOURCE = "SetMemberLocalAddr=true"
"""With this gate etcd itself binds its connections to the member's address."""


class _ClosedError(Exception):
    """A connection could not be made; the text says why, with {} for the other machine."""


@dataclass(frozen=True)
class Here:
    """This machine, among those that must reach each other."""

    member: str
    members: Mapping[str, str]
    """Name -> address of all."""
    ports: tuple[int, int]
    """Client port and peer port of each."""
    extra: tuple[str, ...] = ()
    """Additional addresses in this machine's certificate."""

    @property
    def address(self) -> str:
        """This machine's own address."""
        return self.members[self.member]

    @property
    def others(self) -> dict[str, str]:
        """The other members, name -> address."""
        return {name: address for name, address in self.members.items() if name != self.member}


@dataclass(frozen=True)
class _Seen:
    """What a machine sees of another one."""

    source: str
    """The address from which it reaches the other one, if that refuses it."""
    faults: Sequence[str]
    """Other problems, one line each."""
    links: Mapping[tuple[str, str], float]
    """(member, other member) -> round trip in ms, as far as the two have measured it."""


# -- dialling ----------------------------------------------------------------------------------------------------------


Settled = Callable[[], bool]
"""Says whether another initial member has seen that all pairs are open: then it is about to start its etcd, and its
ports may be closed for a moment."""


def _connect(address: str, port: int, patience: float, settled: Settled) -> socket.socket:
    for _ in until(patience, every=0.05):
        begin = time.monotonic()
        try:
            return socket.create_connection((address, port), _CONNECT_SECONDS)
        except ConnectionRefusedError:
            if settled():
                break
        except OSError as error:
            raise _ClosedError(_reason(error, time.monotonic() - begin)) from None
    raise _ClosedError(_REFUSED)


def _reason(error: OSError, seconds: float) -> str:
    """Why a connection could not be made, in words."""
    if isinstance(error, (socket.timeout, TimeoutError)):
        return "dropped: a firewall on {} or between the two?"
    if error.errno in (errno.EPERM, errno.EACCES):
        return "forbidden by its own firewall"
    if error.errno == errno.EHOSTUNREACH and seconds < _PROMPT_SECONDS:
        return "rejected: a firewall on {}?"
    if error.errno == errno.EHOSTUNREACH:
        return "no machine answers at the address of {}: is it off, or in another network?"
    if error.errno == errno.ENETUNREACH:
        return "there is no route to {}"
    return error.strerror or str(error)


def _round_trip(line: socket.socket) -> float:
    """The round trip that the kernel has measured at the handshake, in ms: no program's turn to run is in it."""
    return float(struct.unpack_from("=I", line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104), _RTT_AT)[0]) / 1000


def _ask(
    address: str, port: int, question: bytes, patience: float = 0.0, settled: Settled = lambda: False
) -> tuple[str, dict[str, Any], float]:
    """The source address of this machine, the answer to a question (empty: only the connection is tried), and the
    round trip in ms.

    An answer is empty where an etcd runs already: the run that started it has seen that all pairs are open.

    Raises:
        _ClosedError: the port cannot be reached.
    """
    with _connect(address, port, patience, settled) as line:
        own, trip = str(line.getsockname()[0]), _round_trip(line)
        answer: dict[str, Any] = {}
        if question:
            line.settimeout(_REPORT_SECONDS if _REPORT.encode() in question else _HELLO_SECONDS)
            with contextlib.suppress(OSError, ValueError, TypeError):
                line.sendall(question)
                found = json.loads(_read(line))
                answer = found if isinstance(found, dict) else {}
        return str(answer.get("you") or own), answer, trip


def _question(word: str, member: str) -> bytes:
    return _GREETING + f"{word} {member}\n".encode()


def _read(line: socket.socket) -> bytes:
    """All that comes until the other side ends it."""
    data = b""
    while len(data) < _MOST and (more := line.recv(4096)):
        data += more
    return data


def _of_one(here: Here, other: tuple[str, str], word: str, settled: Settled) -> _Seen:
    """What is wrong between this machine and another one, and how far they are apart."""
    name, address = other
    client, peer = here.ports
    faults, trips = [], []
    source, answer, patience = "", {"you": ""}, _PATIENCE_SECONDS
    for port in (peer, client):
        # The client port of a running etcd may be silent: it is served only with a leader.
        asked = _question(word if port == peer else _HELLO, here.member) if answer else b""
        try:
            came, said, trip = _ask(address, port, asked, patience, settled)
        except _ClosedError as error:
            if str(error) == _REFUSED and settled():
                continue
            patience = 0.0  # it has been waited for
            faults.append(f"{here.member} cannot reach {name}:{port} ({str(error).format(name)})")
            continue
        trips.append(trip)
        if port == peer:
            fits = said.get("takes") is True or any(_same(came, each) for each in (here.address, *here.extra))
            source, answer = "" if fits else came, said
            faults += [_printable(each) for each in answer.get("faults") or ()]
    # Another one may have waited for the address of a neighbour, or for a lost packet.
    own = {(here.member, name): min(trips)} if trips else {}
    return _Seen(source, faults, {**_reported(here, name, answer.get("links")), **own})


def _reported(here: Here, name: str, links: object) -> dict[tuple[str, str], float]:
    """The round trips that another machine has measured; what came over the network may be anything."""
    found = links.items() if isinstance(links, dict) else ()
    return {
        (name, other): float(trip) for other, trip in found if other in here.members and isinstance(trip, (int, float))
    }


def _printable(text: object) -> str:
    """A line that came over the network."""
    return "".join(char for char in str(text)[:400] if char.isprintable())


def _from_here(here: Here, word: str, settled: Settled) -> tuple[list[str], dict[tuple[str, str], float]]:
    """What is wrong with the network as this machine sees it, a line each, and the round trips as in `_Seen`.

    Args:
        word: `_HELLO`, or `_REPORT` to include what the others see.
    """
    others = here.others
    with ThreadPoolExecutor(len(others)) as pool:
        found = dict(zip(others, pool.map(lambda each: _of_one(here, each, word, settled), others.items())))
    sources = {name: seen.source for name, seen in found.items()}
    lines = _of_sources(here.member, here.address, sources) + [line for seen in found.values() for line in seen.faults]
    return lines, {pair: trip for seen in found.values() for pair, trip in seen.links.items()}


def _of_sources(member: str, address: str, sources: Mapping[str, str]) -> list[str]:
    """The lines about other addresses than its own from which a member reaches others.

    Args:
        sources: name of another one -> address from which it is reached and refuses the member; empty: it does not.
    """
    lines = []
    for source in sorted(set(sources.values()) - {""}):
        reached = [name for name, each in sources.items() if each == source]
        who = "the others" if len(reached) == len(sources) > 1 else ", ".join(reached)
        lines.append(f"{member} reaches {who} from {_printable(source)}, not from its address {address}: {_SOURCE}")
    return lines


def _same(one: str, other: str) -> bool:
    try:
        return _address(one) == _address(other)
    except ValueError:
        return False


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(text.partition("%")[0])
    return getattr(found, "ipv4_mapped", None) or found


# -- before a cluster is bootstrapped ----------------------------------------------------------------------------------


def listen(spec: Spec) -> None:
    """Has this machine answer on its client and peer ports for a while, in a unit of its own; does not wait for it.

    Args:
        spec: with all members; a cluster of one needs no answers.
    """
    if not spec.others:
        return
    # Only names, addresses and numbers: systemd would expand $ and %.
    given = {"member": spec.member, "members": dict(spec.members), "ports": [spec.client_port, spec.peer_port]}
    given["extra"] = list(spec.extra_addresses.get(spec.member, ()))
    options = [f"--unit={paths.NETWORK_UNIT}", "--collect", "--quiet", "--no-block"]
    options += [f"--property=RuntimeMaxSec={LISTEN_SECONDS}", "--property=NoNewPrivileges=yes"]
    options += [f"--property=TasksMax={_TASKS}"]
    command = ["systemd-run", *options, str(paths.WRAPPER), "answer", json.dumps(given)]
    if run(command, 30, check=False).returncode != 0:
        end()  # it still answers for an earlier run
        run(command, 30)


def wait_until_it_listens(spec: Spec) -> None:
    """Waits until this machine answers.

    Raises:
        NodeError: it does not.
    """
    if not spec.others:
        return
    phase("wait until this machine answers the other members")
    try:
        _ask(spec.address, spec.peer_port, b"", _PATIENCE_SECONDS)
    except _ClosedError as error:
        raise NodeError(
            f"this machine does not answer on its own port {spec.peer_port} ({str(error).format(spec.member)})",
            f"See `journalctl -u {paths.NETWORK_UNIT}` on the machine, then run again.",
        ) from None


def end() -> None:
    """Ends what `listen` has begun: etcd needs the ports."""
    run(["systemctl", "stop", paths.NETWORK_UNIT], 60, check=False)


def listen_again(spec: Spec) -> None:
    """Has this machine answer if it does not: an earlier run prepared it, too long ago.

    Raises:
        NodeError: it does not.
    """
    try:
        _ask(spec.address, spec.peer_port, b"")
    except _ClosedError:
        listen(spec)
        wait_until_it_listens(spec)


def somebody_runs(spec: Spec) -> bool:
    """Whether an etcd answers at another member's peer port: it speaks TLS, and a prepared machine does not."""
    import ssl  # noqa: PLC0415  `answer` has no use for it

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE

    def runs(address: str) -> bool:
        with contextlib.suppress(_ClosedError, OSError), _connect(address, spec.peer_port, 0, lambda: True) as line:
            line.settimeout(_HELLO_SECONDS)
            context.wrap_socket(line).close()
            return True
        return False

    with ThreadPoolExecutor(max(len(spec.others), 1)) as pool:
        return any(pool.map(runs, spec.others.values()))


def rehearse(spec: Spec) -> dict[str, float]:
    """Refuses to start an initial member before all of them reach each other, each from its own address.

    Returns:
        Other member -> round trip in ms.

    Raises:
        NodeError: they do not, or a round trip is too long; says which pair and why. No etcd was started anywhere.
    """
    members = {name: spec.members[name] for name in spec.initial_members if name in spec.members}
    if len(members) < 2:
        return {}
    phase("rehearse the network between the members")
    here = Here(spec.member, members, (spec.client_port, spec.peer_port), spec.extra_addresses.get(spec.member, ()))

    def settled() -> bool:
        with contextlib.suppress(_ClosedError):
            return _ask(spec.address, spec.peer_port, _question(_HELLO, spec.member))[1].get("open") is True
        return False

    if settled():
        return round_trips(spec)
    lines, links = _from_here(here, _REPORT, settled)
    faults = _judged(spec, sorted(set(lines)))
    if faults:
        raise NodeError(
            "the members cannot reach each other as etcd requires; no etcd was started:\n"
            + "".join(f"  {line}\n" for line in faults),
            _remedy(here.ports, faults, len(members)),
        )
    measured.check_links(spec, links)
    for address in here.others.values():
        with contextlib.suppress(_ClosedError, OSError), _connect(address, spec.peer_port, 0, settled) as line:
            line.sendall(_question(_OPEN, spec.member))
    return _from(spec.member, links)


def _from(member: str, links: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """Other member -> round trip from this one."""
    return {other: trip for (one, other), trip in links.items() if one == member}


def round_trips(spec: Spec) -> dict[str, float]:
    """Other member -> round trip in ms, without those that cannot be reached now. Running ones are not affected."""

    def trips(address: str) -> list[float]:
        ways = [_way_to(address, port) for port in (spec.peer_port, spec.client_port)]
        return [trip for _, why, trip in ways if not why]

    with ThreadPoolExecutor(max(len(spec.others), 1)) as pool:
        found = dict(zip(spec.others, pool.map(trips, spec.others.values())))
    return {name: min(each) for name, each in found.items() if each}


def _judged(spec: Spec, faults: Sequence[str]) -> list[str]:
    """The faults that prevent etcd from working with its settings."""
    bound = _CHOOSES_SOURCE in spec.flags.get("--feature-gates", "").split(",")
    return [line for line in faults if not (bound and line.endswith(_SOURCE))]


def _remedy(ports: Sequence[int], faults: Iterable[str], count: int) -> str:
    text = " ".join(faults)
    said = []
    if "cannot reach" in text:
        said.append(f"On every member, ports {ports[0]} and {ports[1]} must be open to all members.")
    if _REFUSED.partition("{}")[0] in text:
        said.append(
            f"If no firewall rejects the connection, the other machine was not ready: run again, with `--parallel "
            f"{count}` or more."
        )
    if _SOURCE in text:
        said.append(_REMEDY_SOURCE)
    return " ".join([*said, "Then run again."])


def answer(text: str) -> None:
    """Answers on this machine's ports until it is ended.

    A hello is answered with the address from which it comes, and whether etcd takes that for the member's. A report,
    for members alone, says what this machine sees of the others. An initial member that has seen all pairs open says so
    before it starts its etcd, and later ones need not check. Nothing else is answered, and no request changes anything.
    """
    given = json.loads(text)
    client, peer = given["ports"]
    here = Here(given["member"], given["members"], (client, peer), tuple(given["extra"]))
    sockets = [_listener(here.address, port) for port in here.ports]
    os.setgroups([])
    os.setgid(_NOBODY)
    os.setuid(_NOBODY)
    serve(here, sockets)


def serve(here: Here, sockets: Sequence[socket.socket]) -> None:
    """Answers at these sockets until they are closed."""
    opened: list[float] = []

    def settled() -> bool:
        return bool(opened) and time.monotonic() - opened[-1] < _OPEN_SECONDS

    report = _Report(lambda: _from_here(here, _HELLO, settled))

    def one(line: socket.socket, source: str) -> None:
        with contextlib.suppress(OSError), line:
            line.settimeout(_HELLO_SECONDS)
            word, name = _read_question(line)
            takes = name in here.members and (_same(source, here.members[name]) or _has_name(source, name))
            if word == _OPEN and takes:
                opened.append(time.monotonic())
            if word not in (_HELLO, _REPORT):
                return
            said: dict[str, Any] = {"you": str(_address(source)), "takes": takes, "open": settled()}
            if word == _REPORT and takes:
                said["faults"], links = report.now()
                said["links"] = _from(here.member, links)
            line.sendall(json.dumps(said).encode() + b"\n")

    threads = [threading.Thread(target=_accept, args=(each, one)) for each in sockets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _read_question(line: socket.socket) -> tuple[str, str]:
    """A question's word and the member that asks; both empty if it is not a question."""
    data = b""
    # Do not wait for anything that does not begin like a question (a TLS handshake).
    while len(data) < _LONGEST and not data.endswith(b"\n") and (_GREETING.startswith(data[: len(_GREETING)])):
        more = line.recv(_LONGEST - len(data))
        data += more
        if not more:
            break
    words = data.decode(errors="replace").split()
    return (words[1], words[2]) if data.startswith(_GREETING) and len(words) == 3 else ("", "")


def _has_name(source: str, name: str) -> bool:
    """Whether a member's name leads to that address here: its certificate has the name, and etcd looks it up, too."""
    try:
        return any(_same(source, str(found[4][0])) for found in socket.getaddrinfo(name, None))
    except OSError:
        return False


class _Report:
    """What this machine sees of the others, checked once for all that ask at about the same time."""

    def __init__(self, look: Callable[[], tuple[list[str], dict[tuple[str, str], float]]]) -> None:
        self._look = look
        self._lock = threading.Lock()
        self._seen: tuple[list[str], dict[tuple[str, str], float]] = [], {}
        self._at = -_FRESH_SECONDS

    def now(self) -> tuple[list[str], dict[tuple[str, str], float]]:
        """The lines and the round trips."""
        with self._lock:
            if time.monotonic() - self._at >= _FRESH_SECONDS:
                self._seen = self._look()
                self._at = time.monotonic()
            return self._seen


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.create_server((address, port), family=family, backlog=64)


def _accept(listener: socket.socket, serve: Callable[[socket.socket, str], None]) -> None:
    while True:
        try:
            line, source = listener.accept()
        except OSError:
            return  # closed
        try:
            threading.Thread(target=serve, args=(line, str(source[0])), daemon=True).start()
        except RuntimeError:
            line.close()  # too many at once


# -- before a member joins ---------------------------------------------------------------------------------------------


def refuse_closed(spec: Spec) -> dict[str, float]:
    """Refuses to continue if this machine, which has no data yet, cannot reach running members.

    A member that is silent on both ports may be off or have no etcd: the quorum rules decide about it.

    Returns:
        Other member -> round trip in ms.

    Raises:
        NodeError: a port is closed, this machine connects from another address than its own, or a round trip is too
            long; nothing was changed.
    """
    with ThreadPoolExecutor(max(len(spec.others), 1)) as pool:
        found = dict(zip(spec.others, pool.map(lambda each: _ways_to(spec, each[0], each[1]), spec.others.items())))
    faults = _of_sources(spec.member, spec.address, {name: seen.source for name, seen in found.items()})
    faults = _judged(spec, [*faults, *(line for seen in found.values() for line in seen.faults)])
    if faults:
        raise NodeError(
            f"{spec.member} cannot join: {'; '.join(faults)}; nothing was changed",
            _remedy((spec.client_port, spec.peer_port), faults, len(spec.members)),
        )
    links = {pair: trip for seen in found.values() for pair, trip in seen.links.items()}
    measured.check_links(spec, links)
    return _from(spec.member, links)


def _ways_to(spec: Spec, name: str, address: str) -> _Seen:
    """What is wrong between this machine and a member, as `_of_one` says it."""
    source, peer, trip = _way_to(address, spec.peer_port)
    if source and (_same(source, spec.address) or _takes(spec, address)):
        source = ""
    _, client, other = _way_to(address, spec.client_port)
    trips = [each for each, why in ((trip, peer), (other, client)) if not why]
    closed = {port: text for port, text in ((spec.peer_port, peer), (spec.client_port, client)) if text}
    # A machine that rejects, or that answers at one port, is there.
    there = len(closed) == 1 or any(text.startswith(("rejected", "forbidden")) for text in closed.values())
    faults = [f"{spec.member} cannot reach {name}:{port} ({text.format(name)})" for port, text in closed.items()]
    return _Seen(source, faults if there else [], {(spec.member, name): min(trips)} if trips else {})


def _takes(spec: Spec, address: str) -> bool:
    """Whether a member's etcd accepts this machine's connection as that of its member."""
    from ..protocol import etcd  # noqa: PLC0415  `answer` has no use for it, and starts in half the time

    try:
        etcd.peer_view(spec, address)
    except (etcd.SilentError, etcd.AlienError):
        return False
    return True


def _way_to(address: str, port: int) -> tuple[str, str, float]:
    """From which address this machine reaches that port, else why it does not, and the round trip in ms."""
    try:
        source, _, trip = _ask(address, port, b"")
    except _ClosedError as error:
        return "", str(error), 0.0
    return source, "", trip


def unreachable(members: Mapping[str, str], ports: Sequence[int]) -> list[str]:
    """Which ports of prepared machines this one, which is none of them, cannot reach, and why.

    A machine that refuses at all ports has ended `listen`: whether a firewall is there, too, is unknown.

    Args:
        members: name -> address of each machine.
        ports: of etcd.

    Returns:
        Such as "etcd-1:2379 (rejected: a firewall on etcd-1?)"; empty: none is known to be closed.
    """
    ways = [(name, port) for name in members for port in ports]
    with ThreadPoolExecutor(len(ways)) as pool:
        said = dict(zip(ways, pool.map(lambda way: _way_to(members[way[0]], way[1])[1], ways)))
    unknown = {name for name in members if all(said[name, port] == _REFUSED for port in ports)}
    return [f"{name}:{port} ({why.format(name)})" for (name, port), why in said.items() if why and name not in unknown]


class Doorbell:
    """Listens on this machine's peer port, and records which addresses connected.

    Raises:
        NodeError: the port is taken.
    """

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._came: set[str] = set()
        end()
        try:
            self._listener = _listener(spec.address, spec.peer_port)
        except OSError as error:
            raise NodeError(
                f"port {spec.peer_port} of {spec.address} cannot be used ({error.strerror})",
                "Stop the program that uses it (`ss -tlnp`), then run again.",
            ) from None
        threading.Thread(target=_accept, args=(self._listener, self._knock), daemon=True).start()

    def _knock(self, line: socket.socket, source: str) -> None:
        line.close()
        self._came.add(str(_address(source)))

    def unheard(self, expected: Mapping[str, str]) -> list[str]:
        """Waits a little for connections of all these members (name -> address).

        Returns:
            A line for each that did not come; empty: all are there.
        """
        phase("wait until the other members connect")
        for _ in until(_KNOCK_SECONDS, every=0.01):
            late = [name for name, address in expected.items() if not self._has_come(name, address)]
            if not late:
                return []
        strangers = sorted(self._came - {str(_address(address)) for address in self._spec.members.values()})
        also = f"; connections came from {', '.join(strangers)}" if strangers else ""
        return [
            f"{name} cannot reach {self._spec.member}:{self._spec.peer_port} (no connection came from "
            f"{expected[name]} within {_KNOCK_SECONDS:.0f} s{also}: a firewall on {self._spec.member} or between the "
            "two?)"
            for name in late
        ]

    def _has_come(self, name: str, address: str) -> bool:
        """From an address that etcd takes for this member's."""
        came = list(self._came)
        taken = (address, *self._spec.extra_addresses.get(name, ()))
        return any(_same(each, one) for each in came for one in taken) or any(_has_name(each, name) for each in came)

    def close(self) -> None:
        """Frees the port."""
        # Closing the socket alone would not wake the waiting thread.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
