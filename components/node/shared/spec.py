"""The desired state of a member, as it arrives: the SPEC argument, and certificates and keys on standard input."""

from __future__ import annotations

import base64
import bz2
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from .backup import Backup
from .backup import parse as parse_backup
from .errors import NodeError

FORMAT = 1
CERTIFICATES = ("ca.crt", "peer-ca.crt", "server.crt", "peer.crt", "healthcheck-client.crt")
KEYS = ("server.key", "peer.key", "healthcheck-client.key")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_NODE = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_VERSION = re.compile(r"\d{1,4}\.\d{1,4}\.\d{1,4}")
_FLAG = re.compile(r"--[a-z][a-z0-9-]*")
# Conservative on purpose: these become words of a unit file, and the whole directory is moved aside.
_DIRECTORY = re.compile(r"(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*){2,}")
_OPERATOR = re.compile(r"[A-Za-z0-9._@-]{1,200}")
_PREFIX = re.compile(r"(?!-)[!-~]{1,200}")
_PERMISSION = re.compile(r"read|write|readwrite")
_IMAGE = re.compile(r"https?://[!-~]+#sha256=[0-9a-f]{64}|[A-Za-z0-9\[][^#\s]+@sha256:[0-9a-f]{64}", re.ASCII)
_DEVICE = re.compile(r"/dev(/[A-Za-z0-9_.:+@-]+)+")
_REMEDY = (
    "Run `pulumi up` with the external-etcd that wrote it; by hand, compare with /var/lib/etcd-node/installed.json."
)
_REQUIRED = (
    "format",
    "cluster",
    "member",
    "members",
    "release",
    "data_directory",
    "client_port",
    "peer_port",
    "metrics_url",
    "quota_bytes",
    "flags",
    "program",
)
# Both only for `bootstrap`, whose command stays in the state for ever: it is not told what it does not need.
_INITIAL = ("token", "initial_members")
_UNTOLD: dict[str, Any] = {
    "release": {"version": "0.0.0", "mirror": "https://-", "sha256": {}},
    "metrics_url": "http://-",
    "quota_bytes": 1,
    "flags": {},
    "program": "",
}
# The first four are only for `prepare`, if the platform has them; `restore` is only for `stage` and `restore`; `users`
# is only for `converge` and `health`, with authentication on. The others are for readers: a preview shows a changed CA
# by its name. The certificates themselves decide what is done.
_OPTIONAL = (
    "data_device",
    "firewall",
    "root_only",
    "reads",
    "trusted",
    "issuer",
    "peer_trusted",
    "peer_issuer",
    "extra_addresses",
    "restore",
    "users",
    "stacked",
    "backup",
    "maintenance",
    "textfile",
    "metrics_port",
    # Both only under the kubelet.
    "service_manager",
    "image",
    "acknowledge",
    "auto_timers",
)
SYSTEMD, KUBELET = "systemd", "kubelet"
"""Service managers."""


@dataclass(frozen=True)
class Release:
    """The release of etcd, and its source."""

    version: str
    mirror: str
    sha256: Mapping[str, str]
    """Architecture (amd64, arm64) -> SHA-256 of the archive, 64 lower-case hex digits; may be empty."""
    proxy: str = ""
    """The proxy for the download; empty: that of the environment, if any."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers that the mirror requires, name -> value. Secret: they come on standard input, and are written nowhere."""


@dataclass(frozen=True)
class User:
    """A user of etcd's own authentication."""

    prefix: str
    """The user can access the keys with this prefix."""
    permission: str
    """`read`, `write` or `readwrite`."""


@dataclass(frozen=True)
class Maintenance:
    """What the machine does by itself, and the rule for a defragmentation."""

    defragment: bool = False
    """Whether a member is defragmented by the rule, without being asked."""
    in_use_percent: int = 50
    """The rule: at most this share of the database file is in use,"""
    quota_percent: int = 25
    """and the file has at least this share of the quota."""
    recover_space: bool = False
    """Whether the alarm NOSPACE is answered without being asked."""


@dataclass(frozen=True)
class Restore:
    """A restore of the cluster from a snapshot."""

    number: int
    """Each one of a cluster has a higher number."""
    token: str
    """etcd's initial cluster token, unique to this restore."""
    sha256: str
    """Of the snapshot, 64 hex digits; empty if it is in the store, until it has been read."""
    accept: tuple[str, ...]
    """Refusals that do not apply."""
    source: str = ""
    """Name of the snapshot in the store, or NEWEST; empty: the snapshot comes from the operator's computer."""


@dataclass(frozen=True)
class Stages:
    """What a run of a restore has found so far."""

    run: str
    """Names the run; the snapshot's folder ends with it."""
    found: Mapping[str, Mapping[str, Any]]
    """Member -> answer of its `stage`; empty in `stage` itself."""
    identity: str = field(default="", repr=False)
    """Private key that decrypts the snapshot; only `stage` gets it. It must be written nowhere."""


class Ports(Protocol):
    """What is needed to ask a member: the ports of all members, and certificates."""

    @property
    def client_port(self) -> int:
        """Their client port."""

    @property
    def peer_port(self) -> int:
        """Their peer port."""

    @property
    def pki(self) -> Path | None:
        """Where the certificates are; None: where etcd's own are."""


@dataclass(frozen=True)
class Spec:
    """The desired state of one member."""

    cluster: str
    member: str
    members: Mapping[str, str]
    """All members in the order in which they change: name -> private IP address."""
    release: Release
    data_directory: str
    client_port: int
    peer_port: int
    metrics_url: str
    quota_bytes: int
    flags: Mapping[str, str]
    """All flags of etcd but those that bootstrap or join a cluster; `prepare` and `health` get none."""
    initial_members: tuple[str, ...]
    """The members with which the cluster is bootstrapped; only `bootstrap` gets them."""
    token: str
    """etcd's initial cluster token: unique per cluster; only `bootstrap` gets it."""
    data_device: str
    """The disk for the data directory alone; empty: none. Only `prepare` gets it."""
    firewall: Mapping[str, tuple[str, ...]] | None
    """Port -> allowed ranges; None: no filtering. Only `prepare` gets it."""
    root_only: tuple[str, ...]
    """Addresses that only root on the machine can reach: a metadata service. Only `prepare` gets it."""
    reads: tuple[str, ...]
    """Files of others that etcd will read; only `prepare` gets them."""
    issuer: str
    """Name of the CA that issues the certificates; for messages. Only `converge` and `health` get it."""
    peer_issuer: str
    """The same for peer certificates; empty if it is the same CA."""
    extra_addresses: Mapping[str, tuple[str, ...]]
    """Member -> additional addresses in its peer certificate, if there are any."""
    stacked: tuple[str, ...]
    """The members that kubeadm has set up on control planes, during a migration: without `etcd-node`."""
    users: Mapping[str, User] | None
    """Users by name, if etcd's authentication is on; None: it is off. Only `converge` and `health` get it."""
    raw: Mapping[str, Any] = field(repr=False)
    """The JSON object as it arrived."""
    pki: Path | None = None
    """Where the certificates for questions are; None: where etcd's own are."""
    backup: Backup | None = None
    """The snapshots that are kept elsewhere; None: there are none."""
    maintenance: Maintenance = field(default_factory=Maintenance)
    """What the machine does by itself; by default nothing."""
    textfile: bool = False
    """Whether the machine writes metrics for Prometheus."""
    metrics_port: int = 0
    """The port of its private address on which it serves them; 0: it does not."""
    service_manager: str = SYSTEMD
    """What runs etcd: SYSTEMD or KUBELET."""
    image: str = ""
    """etcd's image, by digest `NAME@sha256:HEX`, or an archive of it, `URL#sha256=HEX`; empty under systemd."""
    image_credentials: str = field(default="", repr=False)
    """`USER:PASSWORD` for the registry; empty: none. Secret, like the headers of the mirror. Only `prepare` gets it."""
    restore: Restore | None = None
    """The restore; only `stage` and `restore` get it."""
    acknowledge: tuple[str, ...] = ()
    """What is slower than etcd requires and accepted all the same: `slow-disk`, `slow-link`."""
    auto_timers: bool = False
    """Whether heartbeat interval and election timeout are derived from the round trips that the machines measure."""

    @property
    def address(self) -> str:
        """This member's own address."""
        return self.members[self.member]

    @property
    def others(self) -> dict[str, str]:
        """The other members, name -> address."""
        return {name: address for name, address in self.members.items() if name != self.member}

    def client_url(self, address: str) -> str:
        """Client URL of the member with that address."""
        return f"https://{bracketed(address)}:{self.client_port}"

    def peer_url(self, address: str) -> str:
        """Peer URL of the member with that address."""
        return f"https://{bracketed(address)}:{self.peer_port}"


@dataclass(frozen=True)
class Operator:
    """The operator of a run: one per Pulumi state."""

    id: str
    by: str
    """Creator of that state, user@host, for people."""


@dataclass(frozen=True)
class Bundle:
    """Certificates and keys, from standard input."""

    identity: str
    """Changes when another machine fills the slot."""
    files: Mapping[str, str] = field(repr=False)
    """File name -> PEM."""
    operator: Operator | None = None
    """The operator; None if unknown."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Headers for the mirror; see `Release`."""
    clients: Mapping[str, Any] = field(default_factory=dict)
    """When the certificates of clients expire, as in `client_certificates`."""
    store: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Credentials of the store for snapshots, in rclone's names; empty: it has none of its own."""
    restore: Stages | None = None
    """What a run of a restore has found; only `stage` and `restore` get it."""


def bracketed(address: str) -> str:
    """The address as URLs have it: IPv6 in brackets."""
    return f"[{address}]" if ":" in address else address


def _refuse(key: str, value: object, rule: str) -> NodeError:
    shown = json.dumps(value) if not isinstance(value, (dict, list)) else type(value).__name__
    return NodeError(f"the specification has {key} = {shown[:200]}: {rule}", _REMEDY)


def _object(value: object, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _refuse(key, value, "it must be a JSON object")
    return value


def _text(value: object, key: str, pattern: re.Pattern[str], rule: str) -> str:
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _refuse(key, value, rule)
    return value


def _label(value: object, key: str) -> str:
    return _text(value, key, _LABEL, "it must be a DNS label (1 to 63 of a-z, 0-9, -)")


def address(value: object) -> str:
    """The text of an IP address. Raises ValueError if it is none."""
    return str(ipaddress.ip_address(value if isinstance(value, str) else ""))


def _node(value: object) -> str:
    return _text(value, "stacked", _NODE, "it must be the name of a node")


def _address(value: object, key: str) -> str:
    try:
        return address(value)
    except ValueError:
        raise _refuse(key, value, "it must be an IP address") from None


def _addresses(value: object, key: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _refuse(key, value, "it must be a list of IP addresses")
    return tuple(_address(address, key) for address in value)


def _number(value: object, key: str, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _refuse(key, value, f"it must be a whole number from {low} to {high}")
    return value


def _known_keys(value: Mapping[str, Any], required: tuple[str, ...], optional: tuple[str, ...], where: str) -> None:
    missing = [key for key in required if key not in value]
    unknown = [key for key in value if key not in required + optional]
    if missing or unknown:
        said = [f"it lacks {', '.join(missing)}"] * bool(missing) + [f"it has the unknown {', '.join(unknown)}"] * bool(
            unknown
        )
        raise NodeError(f"the specification{where} is not understood: {' and '.join(said)}", _REMEDY)


def parse(text: str) -> Spec:
    """Reads and checks the SPEC argument.

    Raises:
        NodeError: it is invalid; names the key, the value and the rule.
    """
    try:
        raw = json.loads(text)
    except ValueError as error:
        raise NodeError(f"the specification is not JSON ({error})", _REMEDY) from None
    raw = _object(raw, "it")
    if raw.get("format") != FORMAT:
        raise _refuse("format", raw.get("format"), f"this etcd-node reads format {FORMAT}")
    if raw.keys() & set(_INITIAL):
        raw = {**_UNTOLD, **raw}
    _known_keys(raw, (*_REQUIRED, *(_INITIAL if raw.keys() & set(_INITIAL) else ())), _OPTIONAL, "")
    stacked = raw.get("stacked", [])
    if not isinstance(stacked, list):
        raise _refuse("stacked", stacked, "it must be a list of names")
    members = {
        _node(name) if name in stacked else _label(name, "members"): _address(address, f"members.{name}")
        for name, address in _object(raw["members"], "members").items()
    }
    if len(set(members.values())) != len(members):
        raise _refuse("members", raw["members"], "no two members may have the same address")
    member = _label(raw["member"], "member")
    if member not in members or member in stacked:
        raise _refuse("member", member, "it must be one of `members`")
    initial = raw.get("initial_members", [])
    if not isinstance(initial, list):
        raise _refuse("initial_members", initial, "it must be a list of names")
    flags = _object(raw["flags"], "flags")
    for flag, value in flags.items():
        _text(flag, "flags", _FLAG, "a flag must be written --like-this")
        if flag.startswith("--initial-cluster"):
            raise _refuse(
                f"flags.{flag}",
                value,
                "flags that bootstrap or join a cluster must not be set: the machine decides that",
            )
        if not isinstance(value, str) or any(ord(char) < 32 or ord(char) == 127 for char in value):
            raise _refuse(f"flags.{flag}", value, "it must be a string without control characters")
    return Spec(
        cluster=_label(raw["cluster"], "cluster"),
        member=member,
        members=members,
        release=_release(raw["release"]),
        data_directory=_text(
            raw["data_directory"], "data_directory", _DIRECTORY, "it must be an absolute path like /var/lib/etcd"
        ),
        client_port=_number(raw["client_port"], "client_port", 1, 65535),
        peer_port=_number(raw["peer_port"], "peer_port", 1, 65535),
        metrics_url=_text(raw["metrics_url"], "metrics_url", re.compile(r"https?://[!-~]+"), "it must be a URL"),
        quota_bytes=_number(raw["quota_bytes"], "quota_bytes", 1, 1 << 50),
        flags=flags,
        initial_members=tuple(_label(name, "initial_members") for name in initial),
        token=_text(raw.get("token", "-"), "token", re.compile(r"[!-~]{1,200}"), "it must be a string without spaces"),
        data_device=_device(raw.get("data_device", "")),
        firewall=_firewall(raw["firewall"]) if "firewall" in raw else None,
        root_only=_addresses(raw.get("root_only", []), "root_only"),
        reads=_reads(raw.get("reads", [])),
        issuer=_label(raw["issuer"], "issuer") if "issuer" in raw else "",
        peer_issuer=_label(raw["peer_issuer"], "peer_issuer") if "peer_issuer" in raw else "",
        extra_addresses={
            name: _addresses(found, f"extra_addresses.{name}") for name, found in raw.get("extra_addresses", {}).items()
        },
        stacked=tuple(stacked),
        users=_users(raw["users"]) if "users" in raw else None,
        backup=_backup(raw["backup"]) if "backup" in raw else None,
        maintenance=_maintenance(raw.get("maintenance", {})),
        textfile=_flag(raw, "textfile"),
        metrics_port=_number(raw["metrics_port"], "metrics_port", 1, 65535) if "metrics_port" in raw else 0,
        service_manager=_service_manager(raw),
        image=_image(raw["image"]) if "image" in raw else "",
        restore=_restore(raw["restore"]) if "restore" in raw else None,
        acknowledge=_acknowledge(raw.get("acknowledge", [])),
        auto_timers=_flag(raw, "auto_timers"),
        raw=raw,
    )


def _acknowledge(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _refuse("acknowledge", value, "it must be a list of names")
    return tuple(_label(each, "acknowledge") for each in value)


def _flag(raw: Mapping[str, Any], key: str) -> bool:
    value = raw.get(key, False)
    if not isinstance(value, bool):
        raise _refuse(key, value, "it must be true or false")
    return value


def _image(value: object) -> str:
    return _text(value, "image", _IMAGE, "it must be NAME@sha256:HEX or URL#sha256=HEX")


def _service_manager(raw: Mapping[str, Any]) -> str:
    value = raw.get("service_manager", SYSTEMD)
    if value not in (SYSTEMD, KUBELET):
        raise _refuse("service_manager", value, f"it must be {SYSTEMD} or {KUBELET}")
    if (value == KUBELET) != ("image" in raw):
        raise _refuse("image", raw.get("image"), "the kubelet needs an image, and systemd none")
    return str(value)


def of_command(wanted: Spec, words: Sequence[str], image: str = "") -> Spec | None:
    """The desired state with which a process was started, from its command line.

    Args:
        wanted: of the same member, for what a command line does not say.
        words: program and flags, without those that bootstrap or join.
        image: the image that it runs from, as in `Spec`; empty: systemd runs it.

    Returns:
        None if it was not started from one of our releases, with flags in our form.
    """
    program, flags = Path(words[0]) if words else Path(), [word.partition("=") for word in words[1:]]
    version = program.parent.name[1:]
    if not _VERSION.fullmatch(version) or not all(_FLAG.fullmatch(flag) and equals for flag, equals, _ in flags):
        return None
    # Checksums belong to a version.
    now = {**wanted.raw["release"], "version": version, "sha256": {}}
    raw = {key: value for key, value in wanted.raw.items() if key not in ("service_manager", "image")}
    manager = {"service_manager": KUBELET, "image": image} if image else {}
    return parse(json.dumps({**raw, **manager, "release": now, "flags": {flag: value for flag, _, value in flags}}))


def _backup(value: object) -> Backup:
    try:
        return parse_backup(value)
    except ValueError as error:
        raise _refuse("backup", value, str(error)) from None


def _device(value: object) -> str:
    if value == "":
        return ""
    return _text(value, "data_device", _DEVICE, "it must be a path like /dev/disk/by-id/scsi-0HC_Volume_1")


def _reads(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _refuse("reads", value, "it must be a list of paths")
    path = re.compile(r"/[^\x00-\x1f\x7f]+")
    return tuple(_text(each, "reads", path, "it must be an absolute path") for each in value)


def _firewall(value: object) -> dict[str, tuple[str, ...]]:
    rules = {}
    for port, sources in _object(value, "firewall").items():
        _text(port, "firewall", re.compile(r"[1-9]\d{0,4}"), "a port must be a number")
        if not isinstance(sources, list):
            raise _refuse(f"firewall.{port}", sources, "it must be a list of ranges")
        rules[port] = tuple(_range(source, f"firewall.{port}") for source in sources)
    return rules


def _users(value: object) -> dict[str, User]:
    return {
        _label(name, "users"): User(
            _text(_object(user, f"users.{name}").get("prefix"), f"users.{name}.prefix", _PREFIX, "it must be ASCII"),
            _text(user.get("permission"), f"users.{name}.permission", _PERMISSION, "it must be one that etcd knows"),
        )
        for name, user in _object(value, "users").items()
    }


def _maintenance(value: object) -> Maintenance:
    raw = _object(value, "maintenance")
    for key, default in vars(Maintenance()).items():
        given = raw.get(key, default)
        if not isinstance(default, bool):
            _number(given, f"maintenance.{key}", 1, 100)
        elif not isinstance(given, bool):
            raise _refuse(f"maintenance.{key}", given, "it must be true or false")
    _known_keys(raw, (), tuple(vars(Maintenance())), "'s maintenance")
    return Maintenance(**raw)


def _restore(value: object) -> Restore:
    raw = _object(value, "restore")
    accept = raw.get("accept", [])
    if not isinstance(accept, list):
        raise _refuse("restore.accept", accept, "it must be a list of names")
    name = re.compile(r"([a-z0-9][A-Za-z0-9.-]{0,200})?")
    source = _text(raw.get("from", ""), "restore.from", name, "it must be the name of a snapshot")
    digest = r"[0-9a-f]{64}" if not source else ""
    return Restore(
        number=_number(raw.get("number"), "restore.number", 1, 1_000_000),
        token=_text(raw.get("token"), "restore.token", re.compile(r"[a-z0-9-]{1,200}"), "it must be a token"),
        sha256=_text(raw.get("sha256"), "restore.sha256", re.compile(digest), "it must be 64 hex digits"),
        accept=tuple(_label(each, "restore.accept") for each in accept),
        source=source,
    )


def _range(value: object, key: str) -> str:
    try:
        return str(ipaddress.ip_network(value if isinstance(value, str) else ""))
    except ValueError:
        raise _refuse(key, value, "it must be a range like 10.1.0.0/16") from None


def _release(value: object) -> Release:
    raw = _object(value, "release")
    _known_keys(raw, ("version", "mirror", "sha256"), ("proxy",), "'s release")
    sums = _object(raw["sha256"], "release.sha256")
    for architecture, digest in sums.items():
        _text(digest, f"release.sha256.{architecture}", re.compile(r"[0-9a-fA-F]{64}"), "it must be 64 hex digits")
    mirror = _text(raw["mirror"], "release.mirror", re.compile(r"https?://[!-~]+"), "it must be an http(s) address")
    return Release(
        version=_text(raw["version"], "release.version", _VERSION, "it must be like 3.6.16"),
        mirror=mirror.rstrip("/"),
        sha256={architecture: digest.lower() for architecture, digest in sums.items()},
        proxy=_proxy(raw.get("proxy", "")),
    )


def _proxy(value: object) -> str:
    if value == "":
        return ""
    return _text(value, "release.proxy", re.compile(r"http://[!-~]+"), "it must be an http address")


def with_headers(spec: Spec, headers: Mapping[str, str]) -> Spec:
    """The same, with the headers for the mirror."""
    return replace(spec, release=replace(spec.release, headers=headers))


def with_secrets(spec: Spec, text: str) -> Spec:
    """The same, with the secrets on the standard input of `prepare`, an object in its last line, if there is one.

    Args:
        text: standard input. The object can have `headers` for the mirror, and `image_credentials`.

    Raises:
        NodeError: they are invalid.
    """
    line = text.rstrip("\n").rpartition("\n")[2]
    try:
        given = json.loads(line) if line.startswith("{") else {}
        headers, credentials = _headers(given.get("headers", {})), given.get("image_credentials", "")
        if not isinstance(credentials, str):
            raise TypeError
    except (ValueError, TypeError):
        raise _refuse("headers", "(not shown)", "standard input must have them as JSON") from None
    return replace(with_headers(spec, headers), image_credentials=credentials)


def _headers(raw: object) -> Mapping[str, str]:
    if not isinstance(raw, dict) or not all(isinstance(each, str) for pair in raw.items() for each in pair):
        raise _refuse("headers or store", "(not shown)", "it must be an object of strings")
    return raw


def parse_bundle(text: str) -> Bundle:
    """Reads and checks what comes on standard input; its content never appears in an error.

    Args:
        text: a JSON object, or base64 of bzip2 of one.

    Raises:
        NodeError: it is not what `converge` needs.
    """
    remedy = "Run `pulumi up`: it passes certificates and keys on standard input."
    try:
        raw = json.loads(text if text.startswith("{") else bz2.decompress(base64.b64decode(text)))
        identity, files = raw["identity"], raw["files"]
        if not isinstance(identity, str) or not isinstance(files, dict):
            raise TypeError
    except (ValueError, KeyError, TypeError, OSError):
        raise NodeError("standard input does not hold a JSON object with `identity` and `files`", remedy) from None
    wrong = sorted(set(files) ^ {*CERTIFICATES, *KEYS})
    if wrong:
        raise NodeError(f"standard input has missing or unknown files: {', '.join(map(str, wrong))[:200]}", remedy)
    for name, content in files.items():
        kind = "CERTIFICATE" if name in CERTIFICATES else "PRIVATE KEY"
        if not isinstance(content, str) or f"{kind}-----" not in content:
            raise NodeError(f"standard input has a {name} that is not a {kind.lower()} in PEM", remedy)
    operator, headers = _operator(raw.get("operator"), remedy), _headers(raw.get("headers", {}))
    clients = _object(raw.get("clients", {}), "clients")
    store = _headers(raw.get("store", {}))
    restore = _stages(raw["restore"]) if "restore" in raw else None
    return Bundle(
        identity=identity,
        files=files,
        operator=operator,
        headers=headers,
        clients=clients,
        store=store,
        restore=restore,
    )


def _stages(value: object) -> Stages:
    raw = _object(value, "restore")
    run = _text(raw.get("run"), "restore.run", re.compile(r"[A-Za-z0-9-]{1,100}"), "it must be the ID of a run")
    found = _object(raw.get("stages", {}), "restore.stages")
    identity = raw.get("identity", "")
    if not isinstance(identity, str):
        raise _refuse("restore.identity", "(not shown)", "it must be a text")
    return Stages(run, {name: _object(each, f"restore.stages.{name}") for name, each in found.items()}, identity)


def parse_operator(text: str) -> Operator | None:
    """Reads the operator from the standard input of `health`; None when there is none."""
    try:
        raw = json.loads(text)
    except ValueError:
        return None
    return _operator(raw.get("operator"), "Run `pulumi up` instead.") if isinstance(raw, dict) else None


def _operator(raw: object, remedy: str) -> Operator | None:
    if raw is None:
        return None
    if isinstance(raw, dict) and set(raw) == {"id", "by"}:
        values = [raw["id"], raw["by"]]
        if all(isinstance(value, str) and _OPERATOR.fullmatch(value) for value in values):
            return Operator(*values)
    raise NodeError("standard input has an operator that is not an object with the strings `id` and `by`", remedy)
