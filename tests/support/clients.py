"""Clients that connect to every member again and again during certificate changes: which are accepted, and when."""

import contextlib
import http.client
import itertools
import ssl
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from lab import Machine
from lab.probe import client_tls

IN, OUT = "in", "out"
_REST_SECONDS = 0.5


class Knocking:
    """The results of clients that made a new connection to every member, again and again."""

    def __init__(self) -> None:
        self.seen: dict[str, dict[str, list[str]]] = {}

    def turns(self, client: str) -> dict[str, list[str]]:
        """Member -> results in order, without repetitions: whether the client was accepted."""
        return {member: [kind for kind, _ in itertools.groupby(said)] for member, said in self.seen[client].items()}


class Held:
    """One connection to every member that is reused and never reopened.

    `lost` lists the members whose connection has ended.
    """

    def __init__(self, tls: ssl.SSLContext, machines: Sequence[Machine]) -> None:
        self._connections = {machine.name: _connection(machine, tls) for machine in machines}
        self.lost: list[str] = []
        self.use()

    def use(self) -> None:
        """Send a request to every member over its connection."""
        for member, connection in self._connections.items():
            if member in self.lost:
                continue
            try:
                connection.request("GET", "/version")
                assert connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                self.lost.append(member)


def tls_of(directory: Path, name: str, bundle: Sequence[str], pair: tuple[str, str]) -> ssl.SSLContext:
    """The TLS settings of a client: the CAs that it trusts, and its certificate and key."""
    files = {"ca": "".join(bundle), "crt": pair[0], "key": pair[1]}
    for kind, content in files.items():
        (directory / f"{name}.{kind}").write_text(content)
    return client_tls(*(directory / f"{name}.{kind}" for kind in files))


@contextlib.contextmanager
def knocking(clients: Mapping[str, ssl.SSLContext], machines: Sequence[Machine]) -> Iterator[Knocking]:
    """Let the clients connect during the block, and once after it."""
    result = Knocking()
    stop = threading.Event()

    def knock(client: str) -> None:
        seen = result.seen[client] = {machine.name: [] for machine in machines}
        last = False
        while not last:
            last = stop.is_set()
            for machine in machines:
                said = _knock(machine, clients[client])
                if said is not None:
                    seen[machine.name].append(said)
            stop.wait(_REST_SECONDS)

    threads = [threading.Thread(target=knock, args=(client,), daemon=True) for client in clients]
    for thread in threads:
        thread.start()
    try:
        yield result
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)


def _connection(machine: Machine, tls: ssl.SSLContext) -> http.client.HTTPSConnection:
    return http.client.HTTPSConnection(machine.address, 2379, timeout=2, context=tls)


def _knock(machine: Machine, tls: ssl.SSLContext) -> str | None:
    """Whether the member accepts the client on a new connection; None without an answer, as during a restart."""
    connection = _connection(machine, tls)
    try:
        connection.request("GET", "/version")
        return IN if connection.getresponse().status == http.client.OK else None
    except ssl.SSLError as error:
        # With TLS 1.3 a refused client certificate shows only when the answer is read. A connection that just ends
        # belongs to a process that ends.
        return OUT if "CERTIFICATE" in str(error).upper() or "UNKNOWN_CA" in str(error).upper() else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def speaks_to_peers(machine: Machine, certificate: Path, key: Path) -> bool:
    """Whether the member's peer port accepts this certificate as a peer's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # This checks whom the member trusts, not the member's identity.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    connection = http.client.HTTPSConnection(machine.address, 2380, timeout=5, context=context)
    try:
        connection.request("GET", "/members")
        return connection.getresponse().status == http.client.OK
    except (ssl.SSLError, ConnectionResetError):
        return False
    finally:
        connection.close()
