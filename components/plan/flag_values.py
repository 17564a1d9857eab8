"""Values of flags that etcd seems to accept on its command line, but cannot start or serve with.

Sources: `Validate` and `setupLogging` in etcd's server/embed, client/pkg/tlsutil, and Go's HTTP/2 library. A test
compares this with the binaries.
"""

import re
from collections.abc import Callable, Mapping

from .errors import Problem, did_you_mean, shown

_AEAD = ("AES_128_GCM_SHA256", "AES_256_GCM_SHA384", "CHACHA20_POLY1305_SHA256")
_CBC = ("AES_128_CBC_SHA", "AES_256_CBC_SHA")
_INSECURE = """
    TLS_RSA_WITH_RC4_128_SHA TLS_RSA_WITH_3DES_EDE_CBC_SHA TLS_RSA_WITH_AES_128_CBC_SHA TLS_RSA_WITH_AES_256_CBC_SHA
    TLS_RSA_WITH_AES_128_CBC_SHA256 TLS_RSA_WITH_AES_128_GCM_SHA256 TLS_RSA_WITH_AES_256_GCM_SHA384
    TLS_ECDHE_ECDSA_WITH_RC4_128_SHA TLS_ECDHE_RSA_WITH_RC4_128_SHA TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA
    TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256 TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256
"""
SUITES: frozenset[str] = frozenset(
    (
        *(f"TLS_{cipher}" for cipher in _AEAD),
        *(f"TLS_ECDHE_{key}_WITH_{cipher}" for key in ("ECDSA", "RSA") for cipher in (*_AEAD, *_CBC)),
        *(f"TLS_ECDHE_{key}_WITH_CHACHA20_POLY1305" for key in ("ECDSA", "RSA")),
        *_INSECURE.split(),
    )
)
"""Cipher suites by their names in Go's crypto/tls and etcd."""
_REQUIRED = tuple(f"TLS_ECDHE_{key}_WITH_AES_128_GCM_SHA256" for key in ("ECDSA", "RSA"))
"""HTTP/2 needs one of them as long as TLS 1.2 is allowed."""
OURS = _REQUIRED[0]
"""The one for the keys that this program creates."""

_MOST = 2**63 - 1
_RANGES = {
    "max-concurrent-streams": (1, 2**32 - 1),
    # The length of a message is a signed 32-bit number.
    "max-request-bytes": (1, 2**30),
    "max-txn-ops": (1, _MOST),
    # Members join as learners.
    "max-learners": (1, 2**31 - 1),
    "distributed-tracing-sampling-rate": (0, 1_000_000),
}
_NANOSECONDS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_NEVER_ZERO = {
    "compact-hash-check-time": "etcd does not start with 0",
    "downgrade-check-time": "with 0, a downgrade never completes",
}
_LOG_OUTPUTS = ("default", "stderr", "stdout", "systemd/journal")
_ALONE = ("default", "systemd/journal")
_ORIGIN = re.compile(r"\*|https?://(\[[0-9A-Fa-f:]+\]|[A-Za-z0-9.-]+):\d{1,5}", re.ASCII)
_JWT = re.compile(
    r"jwt(,((pub|priv)-key=/[^,=]+|ttl=[0-9.a-zµ]+|sign-method=((RS|PS|ES|HS)(256|384|512)|EdDSA)))+", re.ASCII
)
# Hidden from etcd by its unit, or emptied by a reboot.
_HIDDEN = ("/home/", "/root/", "/tmp/", "/var/tmp/", "/run/", "/dev/", "/proc/", "/sys/")  # noqa: S108

Refusal = tuple[str, str] | None
"""Rule and remedy."""


def check_value(flag: str, kind: str, value: str) -> Refusal:
    """Why etcd cannot work with this value; None when it can.

    Args:
        flag: the flag without dashes.
        kind: `boolean`, `integer`, `duration` or `text`.
        value: a valid value of this kind.
    """
    plain = flag.removeprefix("experimental-")
    if kind == "integer":
        low, high = _RANGES.get(plain, (0, _MOST))
        if not low <= int(value) <= high:
            return f"The value of {flag!r} must be from {low} to {high}", f"Set {low}, or more"
    if kind == "duration":
        length = nanoseconds(value)
        if length > _MOST:
            return f"The value of {flag!r} must be at most 292 years", "Set a shorter one"
        if length == 0 and plain in _NEVER_ZERO:
            return f"The value of {flag!r} must be more than 0: {_NEVER_ZERO[plain]}", "Remove it for etcd's default"
    check = _CHECKS.get(plain)
    return check(value) if check is not None else None


def nanoseconds(duration: str) -> int:
    """Nanoseconds of a duration in Go's notation: `1h30m`."""
    parts = re.findall(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)", duration)
    return sum(round(float(count) * _NANOSECONDS[unit]) for count, unit in parts)


def _suites(value: str) -> Refusal:
    for name in value.split(","):
        if name not in SUITES:
            known = (
                did_you_mean(name, sorted(SUITES))
                or f"Write names of Go's crypto/tls, like {OURS}, separated by commas"
            )
            return f"etcd does not know the cipher suite {shown(name)}", known
    return None


def _log_outputs(value: str) -> Refusal:
    names = value.split(",")
    for name in names:
        if name not in _LOG_OUTPUTS:
            rule = f"etcd's unit can write only its data, so the log must go to one of {', '.join(_LOG_OUTPUTS)}"
            return rule, "Remove it: `journalctl -u etcd` shows the log, and journald limits its size"
    if len(set(names)) > 1 and set(names) & set(_ALONE):
        return f"{' and '.join(_ALONE)} cannot be combined with others", "Set one of them, or stderr,stdout"
    return None


def _retention(value: str) -> Refusal:
    number = re.fullmatch(r"\d{1,18}", value, re.ASCII)
    duration = re.fullmatch(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+", value, re.ASCII)
    if number or (duration and nanoseconds(value) <= _MOST):
        return None
    rule = "The value of 'auto-compaction-retention' must be a number (of hours or revisions) or a duration"
    return rule, "Set one like 8 or 30m; 0 turns it off"


def _origins(value: str) -> Refusal:
    if all(_ORIGIN.fullmatch(origin) for origin in value.split(",")):
        return None
    return "The value of 'cors' must be * or origins with scheme and port", "Write them like https://ui.example.com:443"


def _token(value: str) -> Refusal:
    if value == "simple" or (_JWT.fullmatch(value) and value.count("sign-method=") == 1 and "-key=" in value):
        return None
    rule = "The value of 'auth-token' must be simple, or jwt with its sign-method and the absolute paths of its keys"
    return rule, "Remove it for simple, or write jwt,pub-key=/PATH,priv-key=/PATH,sign-method=ES256"


def _readable(value: str) -> Refusal:
    if re.fullmatch(r"(/[A-Za-z0-9_+@-][A-Za-z0-9._+@-]*)+", value) and not value.startswith(_HIDDEN):
        return None
    return (
        f"It must be the absolute path of a file that etcd's unit can read, not below {', '.join(_HIDDEN)}",
        "Put the file below /etc on every machine, readable by the user etcd, before the change",
    )


def files_read(flags: Mapping[str, str]) -> list[str]:
    """The user's files that etcd reads because of these flags, sorted; flags with or without dashes."""
    plain = {flag.lstrip("-"): value for flag, value in flags.items()}
    found = {plain[flag] for flag, check in _CHECKS.items() if check is _readable and flag in plain}
    return sorted(found | set(re.findall(r"-key=(/[^,=]+)", plain.get("auth-token", ""))))


def check_together(flags: Mapping[str, str], gates: Mapping[str, str], at: str) -> list[Problem]:
    """Why etcd cannot work with this combination of flags; empty when it can.

    Args:
        flags: the user's flags, name without dashes -> value that is accepted by itself.
        gates: feature gate -> `true` or `false`, including gates that 3.5 has as flags.
        at: key of the flags.
    """
    problems = []

    def refuse(flag: str, rule: str, remedy: str) -> None:
        problems.append(Problem(f"{at}.{flag}", shown(flags[flag]), rule, remedy))

    least, most = flags.get("tls-min-version", "TLS1.2"), flags.get("tls-max-version", "")
    suites = flags.get("cipher-suites", "").split(",") if "cipher-suites" in flags else []
    if most and least > most:
        refuse("tls-max-version", f"It must be {least}, the tls-min-version, or newer", "Remove it for the newest")
    elif suites and least == "TLS1.3":
        refuse(
            "cipher-suites", "TLS 1.3 has no configurable cipher suites", "Remove it, or set tls-min-version to TLS1.2"
        )
    elif suites and not set(suites) & set(_REQUIRED):
        rule = f"Clients use HTTP/2, which needs {' or '.join(_REQUIRED)}"
        refuse("cipher-suites", rule, f"Add {OURS}")
    elif suites and most == "TLS1.2" and OURS not in suites:
        rule = "With TLS 1.2 only, the suites must include one for ECDSA, the keys of all certificates here"
        refuse("cipher-suites", rule, f"Add {OURS}")
    retention = flags.get("auto-compaction-retention", "")
    if flags.get("auto-compaction-mode") == "revision" and retention and not retention.isdigit():
        rule = "In the mode 'revision' it must be a number of revisions"
        refuse("auto-compaction-retention", rule, "Set one like 10000, or choose the mode periodic")
    persist, checkpoint = (gates.get(name, gates.get("AllAlpha", "false")) for name in _CHECKPOINTS)
    if persist == "true" and checkpoint != "true":
        flag = next(name for name in _PERSIST if name in flags)
        refuse(flag, f"{_CHECKPOINTS[0]} needs {_CHECKPOINTS[1]}", "Turn on both, or neither")
    return problems


_CHECKPOINTS = ("LeaseCheckpointPersist", "LeaseCheckpoint")
_PERSIST = ("experimental-enable-lease-checkpoint-persist", "feature-gates")
_CHECKS: dict[str, Callable[[str], Refusal]] = {
    "cipher-suites": _suites,
    "log-outputs": _log_outputs,
    "auto-compaction-retention": _retention,
    "cors": _origins,
    "auth-token": _token,
    "client-crl-file": _readable,
    "peer-crl-file": _readable,
}
