"""Talking to etcd: its own https pages, its JSON gateway, and etcdctl.

The pages (`/readyz` for clients, `/members` for peers) cost a few milliseconds and answer without a quorum, which is
what most questions need. What etcdctl is for is asked by the gateway first: the start of etcdctl costs more than its
question. Only what the gateway has done counts; after any other answer, etcdctl is asked instead.
"""

from __future__ import annotations

import email.utils
import errno
import http.client
import json
import re
import socket
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ..shared import paths
from ..shared.errors import NodeError, OverdueError
from ..shared.run import run
from ..shared.spec import Ports, Spec
from . import gateway, x509
from .versions import Seen

_R = TypeVar("_R")

REFUSED = "connection refused"
"""The error of a machine on which no etcd runs."""


RESET = "the connection was reset"
"""How a prepared machine without an etcd ends unknown requests; see `network`."""

UNREACHED = "the machine cannot be reached"
"""The error for a machine that is off or unreachable."""

EXPIRED = "certificate has expired"
"""OpenSSL's message for an expired certificate."""

_CLIENT = "kube-etcd-healthcheck-client"
"""Common name of this program's client certificate; with etcd's own authentication on, the name of the user."""
_READ_SECONDS = 1.0
_contexts: dict[tuple[tuple[str, int, int], ...], ssl.SSLContext] = {}
_loading = threading.Lock()
_LOCKED_OUT = ("permission denied", "user name is empty")


class SilentError(Exception):
    """A member did not answer; the text says why."""


class AlienError(Exception):
    """A member's address answers with a certificate that this CA does not verify, or refuses our certificate."""


class RefusedError(AlienError):
    """The server refuses our certificate."""


@dataclass(frozen=True)
class Member:
    """An entry of the member list."""

    id: int
    name: str
    """Empty until the member has been started once."""
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    """Empty until the member has been started once."""
    learner: bool

    @property
    def started(self) -> bool:
        """Whether it has ever run as a member of the cluster."""
        return bool(self.client_urls)


@dataclass(frozen=True)
class Membership:
    """The cluster as one member knows it."""

    cluster_id: int
    members: tuple[Member, ...]

    def by_id(self, member_id: int) -> Member | None:
        """The member with that ID."""
        return next((member for member in self.members if member.id == member_id), None)

    def of_slot(self, name: str, peer_url: str) -> tuple[Member, ...]:
        """The entries that have this name or this peer URL."""
        return tuple(member for member in self.members if member.name == name or peer_url in member.peer_urls)

    @property
    def voters(self) -> tuple[Member, ...]:
        """The members that vote."""
        return tuple(member for member in self.members if not member.learner)


@dataclass(frozen=True)
class Status:
    """A member's own status."""

    member_id: int
    cluster_id: int
    version: str
    leader: int
    """0 if it knows none."""
    raft_index: int
    applied_index: int
    db_size: int
    learner: bool
    errors: tuple[str, ...]
    """`alarm <kind> of <member>`, and the lack of a leader in etcd's words."""
    revision: int = 0
    """Index of the newest write that it has applied."""
    db_in_use: int = 0
    """Bytes of the database file that hold data; the rest is free for new ones."""
    downgrade_to: str = ""
    """The target of a downgrade in progress; empty if there is none, and always with etcd 3.5."""


@dataclass(frozen=True)
class Ready:
    """What /readyz said."""

    ok: bool
    said: str
    certificate: str
    """SHA-256 fingerprint of the server certificate that was presented."""

    @property
    def trouble(self) -> str:
        """Why the member is not ready; empty when it is."""
        return "" if self.ok else self.said or "not ready"


def _context(name: str, place: Path) -> ssl.SSLContext:
    """A context with these certificates, loaded once for all requests until a file is replaced."""
    authorities = place / "peer-ca.crt"
    # A machine of an earlier version of this program has one file for both.
    if name != "peer" or not authorities.exists():
        authorities = place / "ca.crt"
    read = (authorities, place / f"{name}.crt", place / f"{name}.key")
    try:
        found = [path.stat() for path in read]
        # Files are written anew and renamed (`files`), so another content is another inode, at another time.
        version = tuple((str(path), at.st_ino, at.st_mtime_ns) for path, at in zip(read, found))
        with _loading:
            if version not in _contexts:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.load_verify_locations(authorities)
                context.load_cert_chain(*read[1:])
                _contexts[version] = context
            return _contexts[version]
    except (OSError, ssl.SSLError) as error:
        raise NodeError(
            f"the certificates in {place} cannot be used ({error})", "Run `pulumi up`: converge writes them again."
        ) from None


def _get(
    address: str,
    port: int,
    path: str,
    client: str,
    limits: tuple[float, float],
    *,
    place: Path | None = None,
    content: Mapping[str, Any] | None = None,
) -> tuple[int, bytes, Mapping[str, str], str]:
    """Status, body, headers and the server certificate's fingerprint.

    Args:
        port: its client or peer port.
        client: whose certificate is presented.
        limits: seconds for the connection, and for the answer.
        place: where the certificates are. Default: where etcd's own are.
        content: request body, sent as JSON. Default: none (GET).

    Raises:
        SilentError: no connection, or no answer in time.
        AlienError: the certificate is wrong, on either side.
    """
    context = _context(client, place or paths.PKI)
    connection = http.client.HTTPSConnection(address, port, timeout=limits[0], context=context)
    connected = False
    try:
        # In two steps: the machine may be up while its etcd accepts no connection, for example while it waits for a
        # quorum.
        plain = socket.create_connection((address, port), limits[0])
        connected = True
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.sock = context.wrap_socket(plain, server_hostname=address)
        connection.sock.settimeout(limits[1])
        if content is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(content), {"Content-Type": "application/json"})
        sock = connection.sock
        der = sock.getpeercert(binary_form=True) if isinstance(sock, ssl.SSLSocket) else None
        response = connection.getresponse()
        body = response.read(4 << 20)
        return response.status, body, dict(response.headers), x509.fingerprint(der or b"")
    except ssl.SSLCertVerificationError as error:
        raise AlienError(
            f"it presents a certificate that this CA does not vouch for ({error.verify_message})"
        ) from None
    except ssl.SSLError as error:
        # With TLS 1.3 a refused client certificate shows only when the answer is read.
        if ("alert" in str(error).lower() and "certificate" in str(error).lower()) or "unknown_ca" in str(
            error
        ).lower():
            raise RefusedError(f"it refuses this member's certificate ({error.reason})") from None
        raise SilentError(f"TLS failed ({error.reason or error})") from None
    except (socket.timeout, TimeoutError):
        raise SilentError("no answer in time" if connected else UNREACHED) from None
    except ConnectionRefusedError:
        raise SilentError(REFUSED) from None
    except ConnectionResetError:
        raise SilentError(RESET) from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH):
            raise SilentError(UNREACHED) from None
        raise SilentError(str(error) or type(error).__name__) from None
    finally:
        connection.close()


def ready(
    spec: Ports, address: str, timeout: float = 5.0, place: Path | None = None, *, learner: bool = False
) -> Ready:
    """Asks a member whether it is ready: it has a leader and reads through the quorum.

    Args:
        place: where the certificates are. Default: where etcd's own are.
        learner: it does not vote yet, so etcd reports it as not ready, and a read through the quorum lasts until it has
            all data. So only its own state is asked.

    Raises:
        SilentError, AlienError: it gave no answer.
    """
    page = "/readyz?verbose" + ("&exclude=non_learner&exclude=linearizable_read" if learner else "")
    status, body, _, served = _get(
        address, spec.client_port, page, "healthcheck-client", (timeout, timeout), place=place or spec.pki
    )
    said = "; ".join(line for line in body.decode(errors="replace").splitlines() if not line.startswith("[+]"))
    return Ready(status == http.client.OK, said.strip()[:300], served)


def metrics(spec: Ports, address: str, timeout: float = 1.0) -> str:
    """A member's metrics at its client port, in Prometheus' text format.

    Raises:
        SilentError, AlienError: it gave no answer.
    """
    status, body, _, _ = _get(address, spec.client_port, "/metrics", "healthcheck-client", (timeout, timeout))
    if status != http.client.OK:
        raise SilentError(f"status {status}")
    return body.decode(errors="replace")


def has_everything(spec: Spec) -> bool | None:
    """Whether this machine's etcd has all data of the leader, even if it does not serve clients yet.

    It is asked at its metrics port, which is served from the start. A read through the quorum lasts until the member
    has caught up.

    Returns:
        None if it does not answer.
    """
    place = urllib.parse.urlsplit(spec.metrics_url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=_READ_SECONDS)
    try:
        connection.request("GET", "/readyz?exclude=non_learner")
        status = connection.getresponse().status
    except (socket.timeout, TimeoutError):
        return False
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return None if status == http.client.NOT_FOUND else status == http.client.OK


def peer_view(
    spec: Ports, address: str, timeout: float = 5.0, connect: float = 2.0, place: Path | None = None
) -> Membership:
    """Asks a member, as its peer, for the member list as it knows it itself; it answers without a quorum, too.

    Args:
        timeout: limit for its answer, in seconds.
        connect: limit for the connection, in seconds; an etcd that is still starting accepts none.
        place: where the certificates are. Default: where etcd's own are.

    Raises:
        SilentError, AlienError: it gave no answer.
    """
    status, body, headers, _ = _get(
        address, spec.peer_port, "/members", "peer", (connect, timeout), place=place or spec.pki
    )
    if status != http.client.OK:
        raise SilentError(f"/members: status {status}")
    try:
        cluster_id = int(headers["X-Etcd-Cluster-Id"], 16)
        return Membership(cluster_id, tuple(_member(each, "id") for each in json.loads(body)))
    except (KeyError, ValueError, TypeError):
        raise SilentError("/members: an answer that is not etcd's") from None


def seen(spec: Spec, address: str) -> Seen:
    """Asks a member for the versions of its program, of the cluster and of its data.

    Raises:
        SilentError, AlienError: it gave no answer, or the cluster has not decided on a version yet.
    """
    status, body, _, _ = _get(address, spec.client_port, "/version", "healthcheck-client", (2.0, 5.0), place=spec.pki)
    try:
        raw = json.loads(body)
        storage = str(raw.get("storage", ""))
        answer = Seen(str(raw["etcdserver"]), str(raw["etcdcluster"]), "" if storage == "unknown" else storage)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SilentError(f"/version: status {status}") from None
    if answer.cluster == "not_decided":
        raise SilentError("the cluster has not decided on its version yet")
    return answer


def clock(spec: Spec, address: str) -> float:
    """The clock of a member's machine, in seconds since the epoch; exact to a second.

    Raises:
        SilentError, AlienError: it gave no answer, or did not say.
    """
    _, _, headers, _ = _get(address, spec.client_port, "/version", "healthcheck-client", (2.0, 5.0), place=spec.pki)
    try:
        return email.utils.parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError):
        raise SilentError("/version: no date") from None


def goes_back(spec: Spec, address: str) -> bool:
    """Asks a member, as its peer, whether a downgrade of the cluster is in progress; it asks the quorum.

    Raises:
        SilentError, AlienError: it gave no answer.
    """
    status, body, _, _ = _get(address, spec.peer_port, "/downgrade/enabled", "peer", (2.0, 5.0), place=spec.pki)
    said = body.decode(errors="replace").strip()
    if status != http.client.OK or said not in ("true", "false"):
        raise SilentError(f"/downgrade/enabled: status {status}")
    return said == "true"


def _member(raw: Mapping[str, Any], id_key: str) -> Member:
    return Member(
        id=int(raw[id_key]),
        name=raw.get("name") or "",
        peer_urls=tuple(raw.get("peerURLs") or ()),
        client_urls=tuple(raw.get("clientURLs") or ()),
        learner=bool(raw.get("isLearner", False)),
    )


def each(ask: Callable[[str], _R], addresses: Mapping[str, str]) -> dict[str, _R | SilentError | AlienError]:
    """Asks all members in parallel; name -> the answer, or the error."""

    def one(address: str) -> _R | SilentError | AlienError:
        try:
            return ask(address)
        except (SilentError, AlienError) as error:
            return error

    if not addresses:
        return {}
    with ThreadPoolExecutor(len(addresses)) as pool:
        return dict(zip(addresses, pool.map(one, addresses.values())))


def troubles(spec: Spec, members: Mapping[str, str], timeout: float = 5.0) -> dict[str, str]:
    """Asks all these members whether they are ready: name -> why not, empty when it is.

    Args:
        timeout: limit in seconds for each.
    """
    answers = each(lambda address: ready(spec, address, timeout=timeout), members)
    return {name: answer.trouble if isinstance(answer, Ready) else str(answer) for name, answer in answers.items()}


def with_quorum(spec: Spec, members: Mapping[str, str]) -> tuple[list[tuple[str, Membership]], str]:
    """(address, member list) of the members that read through the quorum, and the errors of the others."""

    def ask(address: str) -> Membership:
        answer = ready(spec, address)
        if not answer.ok:
            raise SilentError(answer.said or "it is not ready")
        return peer_view(spec, address)

    answers = each(ask, members)
    good = [(members[name], answer) for name, answer in answers.items() if isinstance(answer, Membership)]
    silence = "; ".join(f"{name}: {answer}" for name, answer in answers.items() if not isinstance(answer, Membership))
    return good, silence


def etcdctl(
    spec: Spec,
    addresses: Sequence[str],
    words: Sequence[str],
    timeout: float = 10.0,
    *,
    check: bool = True,
    stdin: str = "",
) -> tuple[int, Any, str]:
    """Runs an etcdctl command as the machine's health check client, by the gateway if it can, else by etcdctl.

    Args:
        addresses: the members that it can use.
        check: raise an error if etcdctl fails.

    Returns:
        Exit code, what it printed as JSON (None if nothing), and its stderr.

    Raises:
        NodeError: it failed (with `check`) or took too long.
    """
    asked = gateway.request(words, stdin) if addresses else None
    if asked is not None:
        answer, said = None, "no answer"
        try:
            answer = _by_gateway(spec, addresses[0], *asked, timeout)
        except (SilentError, AlienError) as error:
            said = str(error)
        if answer is not None:
            return 0, answer, ""
        # A control plane has no etcdctl.
        if spec.pki is not None and not check:
            return 1, None, said
        if spec.pki is not None:
            raise NodeError(f"etcd did not do {' '.join(words[:2])}: {said}", remedy(said))
    pki = spec.pki or paths.PKI
    program = paths.RELEASES / f"v{spec.release.version}" / "etcdctl"
    argv = [
        str(program),
        f"--endpoints={','.join(spec.client_url(address) for address in addresses)}",
        f"--cacert={pki / 'ca.crt'}",
        f"--cert={pki / 'healthcheck-client.crt'}",
        f"--key={pki / 'healthcheck-client.key'}",
        f"--command-timeout={max(timeout - 1, 1):.0f}s",
        "--dial-timeout=2s",
        "--write-out=json",
        *words,
    ]
    done = run(argv, timeout * max(len(addresses), 1) + 2, check=False, env={"ETCDCTL_API": "3"}, stdin=stdin)
    said = _last_error(done.stderr)
    if check and done.returncode != 0:
        raise NodeError(f"etcdctl {' '.join(words[:2])} failed: {said}", remedy(said))
    try:
        value = json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError:
        value = None
    return done.returncode, value, said


def _by_gateway(spec: Spec, address: str, page: str, content: Mapping[str, Any], timeout: float) -> Any:
    """The gateway's answer if it has done the command; None if it has not, or that is unknown.

    It may be switched off, it does not support etcd's authentication, and it does not retry: etcdctl handles these
    cases. Each of these commands can be repeated, and the callers know etcdctl's errors for a command that was done
    before.

    Raises:
        SilentError, AlienError: it gave no answer.
    """
    try:
        status, body, _, _ = _get(
            address,
            spec.client_port,
            page,
            "healthcheck-client",
            (2.0, min(timeout, 5.0)),
            place=spec.pki,
            content=content,
        )
        if status != http.client.OK and spec.pki is not None:
            raise SilentError(body.decode(errors="replace")[:300])
        value = json.loads(body) if status == http.client.OK else None
    except OverdueError:
        raise
    except (NodeError, ValueError):
        return None
    # The answer to a stream (a lease that is kept) is one level deeper; a lease that is gone has no time left.
    if isinstance(value, dict) and page == gateway.KEEP_ALIVE:
        value = value.get("result")
        return value if isinstance(value, dict) and int(value.get("TTL", 0)) > 0 else None
    return value if isinstance(value, dict) else None


def remedy(said: str) -> str:
    """What to do about etcdctl's error."""
    if any(words in said for words in _LOCKED_OUT):
        return (
            f"Etcd's authentication is on, and the user {_CLIENT} must have the role root: as etcd's root, `etcdctl "
            f"user add {_CLIENT} --no-password`, `etcdctl user grant-role {_CLIENT} root`, then run again."
        )
    return "Run again. If it fails again, `etcd-node status` on the members shows more."


def _last_error(stderr: str) -> str:
    """The error message of etcdctl; its log lines are JSON with an error field, its last line is plain."""
    lines = [line for line in stderr.splitlines() if line.strip()]
    plain = [line for line in lines if not line.startswith("{")]
    if plain:
        return plain[-1][:400]
    try:
        return str(json.loads(lines[-1])["error"])[:400]
    except (ValueError, KeyError, TypeError, IndexError):
        return "it said nothing"


def statuses(spec: Spec, addresses: Mapping[str, str], timeout: float = 5.0) -> dict[str, Status]:
    """The status of every member that gives one, by name."""
    raw = each(lambda address: _by_gateway(spec, address, gateway.STATUS, {}, timeout), addresses)
    rows = {name: status for name, status in raw.items() if isinstance(status, dict)}
    # A member that does not answer here does not answer etcdctl either.
    left = {spec.client_url(addresses[name]): name for name, status in raw.items() if status is None}
    if left:
        asked = [addresses[name] for name in left.values()]
        _, told, _ = etcdctl(spec, asked, ["endpoint", "status"], timeout, check=False)
        rows |= {left[row["Endpoint"]]: row["Status"] for row in told or [] if row["Endpoint"] in left}
    names = {int(status["header"]["member_id"]): name for name, status in rows.items()}
    found = {}
    for name in addresses:
        status = rows.get(name)
        if status is not None:
            found[name] = Status(
                member_id=int(status["header"]["member_id"]),
                cluster_id=int(status["header"]["cluster_id"]),
                version=str(status.get("version", "")),
                leader=int(status.get("leader", 0)),
                raft_index=int(status.get("raftIndex", 0)),
                applied_index=int(status.get("raftAppliedIndex", 0)),
                db_size=int(status.get("dbSize", 0)),
                learner=bool(status.get("isLearner", False)),
                errors=tuple(_alarm_of(error, names) for error in status.get("errors") or ()),
                revision=int(status["header"].get("revision", 0)),
                db_in_use=int(status.get("dbSizeInUse", 0)),
                downgrade_to=str((status.get("downgradeInfo") or {}).get("targetVersion", "")),
            )
    return found


def _alarm_of(error: str, names: Mapping[int, str]) -> str:
    """An alarm with the name of its member instead of its number; every member reports all alarms."""
    alarm = re.match(r"memberID:(\d+)\s+alarm:(\w+)", error)
    if alarm is None:
        return error
    return f"alarm {alarm[2]} of {names.get(int(alarm[1])) or format(int(alarm[1]), 'x')}"


def member_list(spec: Spec, addresses: Sequence[str]) -> Membership:
    """The member list as the quorum knows it.

    Raises:
        NodeError: no member with a quorum answers.
    """
    _, value, _ = etcdctl(spec, addresses, ["member", "list"])
    return _membership(value)


def _membership(value: Any) -> Membership:
    return Membership(int(value["header"]["cluster_id"]), tuple(_member(raw, "ID") for raw in value["members"]))


def alarms(spec: Spec, addresses: Sequence[str]) -> list[tuple[int, str]]:
    """Active alarms: (member ID, kind).

    Raises:
        NodeError: no member with a quorum answers.
    """
    _, value, _ = etcdctl(spec, addresses, ["alarm", "list"])
    kinds = {1: "NOSPACE", 2: "CORRUPT"}
    return [
        (int(raw["memberID"]), kinds.get(raw.get("alarm", 0), str(raw.get("alarm"))))
        for raw in (value or {}).get("alarms") or []
    ]


def disarm_nospace(spec: Spec, address: str) -> None:
    """Ends the alarms NOSPACE, and no other: etcdctl would also end CORRUPT, and such a cluster must not serve.

    Raises:
        NodeError: there is another alarm, or etcd does not answer.
    """
    raised = alarms(spec, [address])
    if others := sorted({kind for _, kind in raised if kind != "NOSPACE"}):
        raise NodeError(
            f"there is another alarm ({', '.join(others)}); none was disarmed",
            'See docs/operations.md ("Data corruption (alarm CORRUPT)").',
        )
    for member_id, _ in raised:
        content = {"action": "DEACTIVATE", "memberID": str(member_id), "alarm": "NOSPACE"}
        # With etcd's authentication, only etcdctl can do it.
        if _by_gateway(spec, address, gateway.ALARM, content, 10.0) is None:
            etcdctl(spec, [address], ["alarm", "disarm"])
            return
