"""etcd's command line for each minor version.

Flags, not a config file or environment variables: etcd refuses to start with an unknown flag, but ignores unknown
settings elsewhere. An upgrade to 3.7 would then silently turn the corruption checks off.
"""

import re
from collections.abc import Mapping

from . import flag_values, known_flags, members
from .errors import Problem, did_you_mean, shown
from .sizes import GIB
from .timers import LEAST_BEATS, MOST_ELECTION_MS, OWN_ELECTION_MS, OWN_HEARTBEAT_MS, check_auto
from .versions import MINORS, EtcdVersion

PKI_DIRECTORY = "/etc/etcd/pki"
DEFAULT_QUOTA = "2GiB"
METRICS_LOOPBACK = "loopback"
METRICS_PRIVATE = "private"
METRICS_URL = members.url("127.0.0.1", members.METRICS_PORT, "http")
"""Metrics are always served here; the machine itself queries its member here."""

_SUGGESTED_MAXIMUM = 8 * GIB
_GATES = "feature-gates"
# Both are cheap and detect a member with different data before it spreads them; etcd has them off by default.
_OUR_GATES = {"InitialCorruptCheck": "true", "CompactHashCheck": "true"}

_LISTENS = "it is derived from the member's address; change the address of the machine"
_CERTIFICATES = (
    "this program issues and renews the certificates; see `certificates`, `authorities` and `peerAuthorities`"
)
_TLS_ALWAYS = "clients and peers must always present a certificate of the cluster's CAs; remove it"
_INITIAL = "the machine decides whether it bootstraps or joins a cluster; remove it"
_QUORUM = "it protects the quorum and is always on; remove it"
_DANGER = "it breaks the guarantees of the consensus protocol; remove it"
_ONE_DIRECTORY = "all data of a member are in one directory, which is moved aside as a whole"
_NAMES = (
    "server and peer certificates differ per member, client certificates have no host names, and this program connects "
    "to both ports; remove it"
)
_JOURNAL = "the log goes to the journal, which limits its size; remove it"
_NO_SWAP = "etcd's unit already keeps its memory from being swapped out; remove it"
_NOT_A_MEMBER = "it is for the v2 proxy, which is not a member; remove it"

# Flag -> why the user cannot set it; what to do instead.
_API_V2 = (
    "with API v2, a member does not report whether it is ready, and its data cannot be upgraded to etcd 3.6; remove it "
    "and use API v3"
)
_OWNED = {
    "name": "it is the name of the machine; change that",
    "data-dir": f"{_ONE_DIRECTORY}; set `dataDirectory`",
    "wal-dir": f"{_ONE_DIRECTORY}; remove it and set `dataDirectory`",
    "quota-backend-bytes": "it is checked against the memory of the machines; set `quota`",
    "heartbeat-interval": "it must be the same on all members; set `heartbeatIntervalMs`",
    "election-timeout": "it must be the same on all members; set `electionTimeoutMs`",
    "listen-metrics-urls": "it is derived from `metrics`; set that to `loopback` or `private`",
    "strict-reconfig-check": _QUORUM,
    "pre-vote": _QUORUM,
    "force-new-cluster": _DANGER,
    "unsafe-no-fsync": _DANGER,
    "config-file": "with a config file, etcd ignores all flags; remove it",
    **dict.fromkeys(("enable-v2", "experimental-enable-v2v3"), _API_V2),
    "version": "with it, etcd prints and exits; set the program's `version`",
    "help": "with it, etcd prints and exits; remove it",
    **dict.fromkeys(("listen-client-urls", "listen-peer-urls", "listen-client-http-urls"), _LISTENS),
    **dict.fromkeys(("advertise-client-urls", "initial-advertise-peer-urls"), _LISTENS),
    **dict.fromkeys(("cert-file", "key-file", "trusted-ca-file", "client-cert-file", "client-key-file"), _CERTIFICATES),
    **dict.fromkeys(("peer-cert-file", "peer-key-file", "peer-trusted-ca-file"), _CERTIFICATES),
    **dict.fromkeys(("peer-client-cert-file", "peer-client-key-file", "self-signed-cert-validity"), _CERTIFICATES),
    **dict.fromkeys(("client-cert-auth", "peer-client-cert-auth", "auto-tls", "peer-auto-tls"), _TLS_ALWAYS),
    **dict.fromkeys(("peer-cert-allowed-cn", "peer-cert-allowed-hostname", "client-cert-allowed-hostname"), _NAMES),
    **dict.fromkeys(("enable-log-rotation", "log-rotation-config-json"), _JOURNAL),
    **dict.fromkeys(("memory-mlock", "experimental-memory-mlock"), _NO_SWAP),
    "v2-deprecation": "with it, etcd starts with data in its v2 store and loses them; remove it",
    "enable-grpc-gateway": "this program itself queries members through it; remove it",
    **dict.fromkeys(
        ("peer-skip-client-san-verification", "experimental-peer-skip-client-san-verification"), _TLS_ALWAYS
    ),
}
_OWNED_PREFIXES = {"initial-cluster": _INITIAL, "discovery": _INITIAL, "proxy": _NOT_A_MEMBER}

_VALUES = {
    "boolean": (re.compile(r"true|false"), "true or false"),
    "integer": (re.compile(r"\d{1,19}", re.ASCII), "a whole number"),
    "duration": (re.compile(r"0|(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+", re.ASCII), "a duration like 300ms, 5s or 1h30m"),
    "text": (re.compile(r"[^\x00-\x1f\x7f]*"), "a text without line breaks"),
}
# etcd accepts any text for these on its command line, and fails or falls back later.
_CHOICES = {
    "auto-compaction-mode": ("periodic", "revision"),
    "backend-bbolt-freelist-type": ("array", "map"),
    "log-format": ("json", "console"),
    "logger": ("zap",),
    "log-level": ("debug", "info", "warn", "error", "panic", "fatal"),
    "metrics": ("basic", "extensive"),
    "tls-min-version": ("TLS1.2", "TLS1.3"),
    "tls-max-version": ("", "TLS1.2", "TLS1.3"),
}


def render_flags(
    version: EtcdVersion,
    name: str,
    address: str,
    *,
    data_directory: str,
    quota_bytes: int,
    metrics: str = METRICS_LOOPBACK,
    heartbeat_interval_ms: int | None = None,
    election_timeout_ms: int | None = None,
    user: Mapping[str, str] | None = None,
    peer_authorities: str = "ca.crt",
    certificates: str = PKI_DIRECTORY,
) -> dict[str, str]:
    """All flags of one member in order, with dashes; without those for bootstrap and join.

    Expects arguments that `check_flags` and the other checks accepted.
    """
    client = members.url(address, members.CLIENT_PORT)
    peer = members.url(address, members.PEER_PORT)
    metrics_urls = [METRICS_URL]
    if metrics == METRICS_PRIVATE:
        metrics_urls.append(members.url(address, members.METRICS_PORT, "http"))
    flags = {
        "name": name,
        "data-dir": data_directory,
        "listen-client-urls": f"{client},{members.url('127.0.0.1', members.CLIENT_PORT)}",
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "listen-metrics-urls": ",".join(metrics_urls),
        "cert-file": f"{certificates}/server.crt",
        "key-file": f"{certificates}/server.key",
        "trusted-ca-file": f"{certificates}/ca.crt",
        "client-cert-auth": "true",
        "peer-cert-file": f"{certificates}/peer.crt",
        "peer-key-file": f"{certificates}/peer.key",
        "peer-trusted-ca-file": f"{certificates}/{peer_authorities}",
        "peer-client-cert-auth": "true",
        "tls-min-version": "TLS1.2",
        "strict-reconfig-check": "true",
        "pre-vote": "true",
        "quota-backend-bytes": str(quota_bytes),
    }
    if heartbeat_interval_ms is not None:
        flags["heartbeat-interval"] = str(heartbeat_interval_ms)
    if election_timeout_ms is not None:
        flags["election-timeout"] = str(election_timeout_ms)
    flags |= _for_kubernetes(version)
    further, gates = _successors(version, user or {})
    gates = {**_gates(flags.pop(_GATES, "")), **gates}
    flags |= dict(sorted(further.items()))
    if gates:
        flags[_GATES] = ",".join(f"{gate}={value}" for gate, value in sorted(gates.items()))
    return {f"--{flag}": value for flag, value in flags.items()}


def _for_kubernetes(version: EtcdVersion) -> dict[str, str]:
    """Defaults that differ from etcd's, with their names in this version."""
    # kube-apiserver's watch cache relies on frequent progress notifications; kubeadm sets the same 5 s.
    if version.series == "3.5":
        return {
            "experimental-watch-progress-notify-interval": "5s",
            "experimental-initial-corrupt-check": "true",
            "experimental-compact-hash-check-enabled": "true",
        }
    return {
        "watch-progress-notify-interval": "5s",
        _GATES: ",".join(f"{gate}={value}" for gate, value in _OUR_GATES.items()),
    }


def _successors(version: EtcdVersion, user: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str]]:
    """The user's flags and feature gates, with the names that this version prefers."""
    further: dict[str, str] = {}
    gates: dict[str, str] = {}
    for flag, value in user.items():
        if flag == _GATES:
            gates |= _gates(value)
        elif version.series != "3.5" and flag in known_flags.BECAME_GATES:
            gates[known_flags.BECAME_GATES[flag]] = value
        else:
            further[_successor(flag, version.series)] = value
    return further, gates


def _successor(flag: str, series: str) -> str:
    """The name without `experimental-` if this minor version has it, else the flag itself."""
    plain = flag.removeprefix("experimental-")
    return plain if plain in known_flags.FLAGS[series] else flag


def _gates(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",") if "=" in part)


def check_flags(version: EtcdVersion, user: Mapping[str, object], key: str = "flags") -> list[Problem]:
    """Why these flags are not valid for that version; empty when they are."""
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    for flag, value in user.items():
        at = f"{key}.{flag}"
        found = _check_name(version, flag, at) or _check_value(version, flag, value, at)
        # A flag and its successor are the same setting.
        same = flag if version.series == "3.5" else known_flags.BECAME_GATES.get(flag, _successor(flag, version.series))
        names = [same, *(_gates(value) if flag == _GATES and isinstance(value, str) else [])]
        for name in names if not found else []:
            if seen.setdefault(name, flag) != flag:
                rule = f"It is the same setting as {seen[name]!r}, which is set too"
                found.append(Problem(at, shown(value), rule, "Keep one of the two"))
        problems += found
    if not problems:
        texts = {flag: str(value) for flag, value in user.items()}
        gates = {known_flags.BECAME_GATES[flag]: texts[flag] for flag in texts if flag in known_flags.BECAME_GATES}
        problems += flag_values.check_together(texts, {**_gates(texts.get(_GATES, "")), **gates}, key)
    return problems


def _check_name(version: EtcdVersion, flag: str, at: str) -> list[Problem]:
    if not isinstance(flag, str) or flag.startswith("-") or "_" in flag:
        plain = str(flag).lstrip("-").replace("_", "-").split("=", 1)[0]
        return [
            Problem(
                at,
                shown(flag),
                "A flag must be written without leading dashes and with - instead of _",
                f"Write {plain!r}",
            )
        ]
    reason = _OWNED.get(flag) or next((why for prefix, why in _OWNED_PREFIXES.items() if _belongs(flag, prefix)), None)
    if reason is not None:
        rule, _, remedy = reason.rpartition("; ")
        return [Problem(at, shown(flag), f"This flag cannot be set here: {rule}", remedy[0].upper() + remedy[1:])]
    known = known_flags.FLAGS[version.series]
    if flag in known:
        return []
    others = [series for series in MINORS if flag in known_flags.FLAGS[series]]
    rule = f"etcd {version} does not have this flag" + (f"; etcd {' and '.join(others)} has it" if others else "")
    return [Problem(at, shown(flag), rule, _instead(version, flag) or did_you_mean(flag, known) or "Remove it")]


def _belongs(flag: str, prefix: str) -> bool:
    return flag == prefix or flag.startswith(f"{prefix}-")


def _instead(version: EtcdVersion, flag: str) -> str:
    """How this minor version calls a flag of another one; empty when it has no counterpart."""
    known = known_flags.FLAGS[version.series]
    if version.series == "3.5" and flag == _GATES:
        return f"Feature gates exist from 3.6 on; their flags in 3.5 are {', '.join(known_flags.BECAME_GATES)}"
    if version.series != "3.5" and flag in known_flags.BECAME_GATES:
        return f"It is a feature gate now: {_GATES}: {known_flags.BECAME_GATES[flag]}=true"
    for other in (f"experimental-{flag}", flag.removeprefix("experimental-")):
        if other in known:
            return f"In {version.series} it is called {other!r}"
    return ""


def _check_value(version: EtcdVersion, flag: str, value: object, at: str) -> list[Problem]:
    pattern, wanted = _VALUES[known_flags.FLAGS[version.series][flag]]
    if not isinstance(value, str) or not pattern.fullmatch(value):
        return [Problem(at, shown(value), f"The value of {flag!r} must be {wanted}", f"Set {wanted}")]
    choices = _CHOICES.get(flag)
    if choices is not None and value not in choices:
        listed = " or ".join(repr(choice) for choice in choices)
        return [
            Problem(
                at,
                shown(value),
                f"The value of {flag!r} must be {listed}",
                did_you_mean(value, choices) or f"Set {listed}",
            )
        ]
    refusal = flag_values.check_value(flag, known_flags.FLAGS[version.series][flag], value)
    if refusal is not None:
        return [Problem(at, shown(value), *refusal)]
    if flag != _GATES:
        return []
    known = known_flags.GATES[version.series]
    problems = []
    names: list[str] = []
    for part in value.split(","):
        gate, _, switch = part.partition("=")
        if gate not in known:
            remedy = did_you_mean(gate, known) or f"Known gates are {', '.join(sorted(known))}"
            problems.append(Problem(at, shown(part), f"etcd {version} does not have this feature gate", remedy))
        elif switch not in ("true", "false") or gate in names:
            rule = "Feature gates must be written Gate=true or Gate=false, each once, separated by commas"
            problems.append(Problem(at, shown(part), rule, f"Write {gate}=true or {gate}=false"))
        names.append(gate)
    return problems


def flag_warnings(version: EtcdVersion, user: Mapping[str, str]) -> list[str]:
    """Warnings about accepted flags, in complete sentences."""
    found = []
    for flag in user:
        gone = known_flags.DEPRECATED[version.series].get(flag)
        plain = _successor(flag, version.series)
        if gone is not None:
            found.append(f"flags.{flag}: deprecated in etcd {version.series} and removed in etcd {gone}.")
        elif version.series != "3.5" and flag in known_flags.BECAME_GATES:
            gate = f"{_GATES}={known_flags.BECAME_GATES[flag]}={user[flag]}"
            found.append(f"flags.{flag}: deprecated in etcd {version.series}; passed on as --{gate}.")
        elif plain != flag:
            found.append(f"flags.{flag}: deprecated in etcd {version.series}; passed on as --{plain}.")
    return found


def quota_warnings(quota_bytes: int) -> list[str]:
    """Warnings about an accepted quota, in complete sentences."""
    if quota_bytes <= _SUGGESTED_MAXIMUM:
        return []
    return [
        f"A quota of {quota_bytes} bytes is more than 8GiB, the maximum that etcd suggests. "
        "With a larger database, defragmentation, snapshots and the start of a member take longer."
    ]


def check_metrics(metrics: object, key: str = "metrics") -> list[Problem]:
    """Why metrics cannot be served this way; empty when they can."""
    choices = (METRICS_LOOPBACK, METRICS_PRIVATE)
    if metrics in choices:
        return []
    rule = "Metrics can be served on `loopback` only, or on the `private` address too"
    remedy = did_you_mean(str(metrics), choices) or "Set loopback or private"
    return [Problem(key, shown(metrics), rule, remedy)]


def check_timing(
    heartbeat_ms: object,
    election_ms: object,
    heartbeat_key: str = "heartbeat_interval_ms",
    election_key: str = "election_timeout_ms",
) -> list[Problem]:
    """Why etcd cannot run with these timers, in ms; empty when it can. None: etcd's default, `auto`: derived."""
    if isinstance(heartbeat_ms, str):
        return check_auto(heartbeat_ms, election_ms, heartbeat_key, election_key)
    problems = []
    for value, key in ((heartbeat_ms, heartbeat_key), (election_ms, election_key)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            problems.append(
                Problem(
                    key,
                    shown(value),
                    "A time must be a whole number of milliseconds, at least 1",
                    "Set one, or remove it",
                )
            )
    if problems or (heartbeat_ms is None and election_ms is None):
        return problems
    heartbeat = heartbeat_ms if isinstance(heartbeat_ms, int) else OWN_HEARTBEAT_MS
    election = election_ms if isinstance(election_ms, int) else OWN_ELECTION_MS
    key = election_key if election_ms is not None else heartbeat_key
    value = shown(election_ms if election_ms is not None else heartbeat_ms)
    if election < LEAST_BEATS * heartbeat:
        rule = f"The election timeout ({election} ms) must be at least 5 times the heartbeat interval ({heartbeat} ms)"
        problems.append(Problem(key, value, rule, f"Set {election_key} to {10 * heartbeat}, or lower {heartbeat_key}"))
    if election > MOST_ELECTION_MS:
        rule = f"The election timeout must be at most {MOST_ELECTION_MS} ms"
        problems.append(Problem(key, value, rule, f"Lower {election_key}"))
    return problems
