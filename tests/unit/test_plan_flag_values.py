"""Flag values with which etcd cannot start, or members refuse each other, are refused; the binaries agree."""

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.plan import flag_values, flags, versions
from tests.support.authority import OwnAuthority
from tests.support.versions import DEFAULT_ETCD, ETCD_VERSIONS
from tools.etcd import etcd_binary

ECDSA, RSA = flag_values._REQUIRED
Flags = dict[str, str]


def problems(user: Flags, version: str = DEFAULT_ETCD) -> str:
    parsed = versions.parse(version)
    assert parsed is not None
    return "\n".join(map(str, flags.check_flags(parsed, user)))


# Flags, and the text of the refusal: etcd 3.6 itself ends with them.
ENDS: list[tuple[Flags, str]] = [
    ({"cipher-suites": "bogus"}, "etcd does not know the cipher suite 'bogus'"),
    ({"cipher-suites": f"{ECDSA},"}, "etcd does not know the cipher suite ''"),
    ({"cipher-suites": ECDSA.removesuffix("6")}, f"Did you mean {ECDSA!r}?"),
    ({"cipher-suites": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}, f"Add {ECDSA}"),
    ({"cipher-suites": ECDSA, "tls-min-version": "TLS1.3"}, "TLS 1.3 has no configurable cipher suites"),
    ({"tls-min-version": "TLS1.3", "tls-max-version": "TLS1.2"}, "It must be TLS1.3, the tls-min-version, or newer"),
    ({"tls-max-version": "TLS1.1"}, "'TLS1.2' or 'TLS1.3'"),
    ({"log-outputs": "/var/log/no/such/folder/etcd.log"}, "the log must go to one of default, stderr"),
    ({"log-outputs": "default,stderr"}, "cannot be combined"),
    ({"log-outputs": "systemd/journal,stderr"}, "cannot be combined"),
    ({"enable-log-rotation": "true"}, "the journal, which limits its size"),
    ({"logger": "capnslog"}, "'zap'"),
    ({"log-format": "text"}, "'json' or 'console'"),
    ({"auto-compaction-retention": "soon"}, "a number (of hours or revisions) or a duration"),
    ({"auto-compaction-retention": "-1"}, "a number (of hours or revisions) or a duration"),
    ({"cors": "ui.example.com"}, "origins with scheme and port"),
    ({"cors": "https://ui.example.com"}, "origins with scheme and port"),
    ({"auth-token": "token"}, "simple, or jwt"),
    ({"auth-token": "jwt,sign-method=none,priv-key=/etc/hosts"}, "simple, or jwt"),
    ({"max-concurrent-streams": "4294967296"}, "1 to 4294967295"),
    ({"max-learners": "9223372036854775808"}, "1 to 2147483647"),
    ({"grpc-keepalive-timeout": "2562048h"}, "at most 292 years"),
    ({"compact-hash-check-time": "0"}, "more than 0"),
    ({"enable-distributed-tracing": "true", "distributed-tracing-sampling-rate": "1000001"}, "0 to 1000000"),
    ({"feature-gates": "LeaseCheckpointPersist=true"}, "LeaseCheckpointPersist needs LeaseCheckpoint"),
]
# Etcd starts with these, but they have no effect, or fail only on some machines.
NO_USE: list[tuple[Flags, str]] = [
    ({"cipher-suites": RSA, "tls-max-version": "TLS1.2"}, f"Add {ECDSA}"),
    ({"peer-cert-allowed-cn": "etcd-1"}, "differ per member"),
    ({"peer-cert-allowed-hostname": "etcd.example.com"}, "differ per member"),
    ({"client-cert-allowed-hostname": "control-plane"}, "client certificates have no host names"),
    ({"log-rotation-config-json": "{}"}, "the journal"),
    ({"auto-compaction-mode": "revision", "auto-compaction-retention": "5m"}, "a number of revisions"),
    ({"backend-bbolt-freelist-type": "list"}, "'array' or 'map'"),
    ({"client-crl-file": "/home/etcd/crl.pem"}, "a file that etcd's unit can read"),
    ({"peer-crl-file": "crl.pem"}, "a file that etcd's unit can read"),
    ({"enable-grpc-gateway": "false"}, "queries members through it"),
    ({"memory-mlock": "true"}, "swapped"),
    ({"v2-deprecation": "gone"}, "v2 store"),
    ({"downgrade-check-time": "0s"}, "a downgrade never completes"),
    ({"max-learners": "0"}, "1 to"),
    ({"max-request-bytes": "0"}, "1 to"),
]
# Flags of hardened clusters.
TAKEN: list[Flags] = [
    {},
    {"cipher-suites": f"{ECDSA},{RSA},TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "tls-max-version": "TLS1.2"},
    {"cipher-suites": ",".join(sorted(flag_values.SUITES))},
    {"tls-min-version": "TLS1.3", "log-outputs": "stderr,stdout", "cors": "https://ui.example.com:443"},
    {"tls-max-version": "TLS1.3", "auto-compaction-mode": "revision", "auto-compaction-retention": "10000"},
    {"cipher-suites": RSA, "auto-compaction-retention": "1h30m", "auth-token-ttl": "600", "max-learners": "2"},
]


@pytest.mark.parametrize(("user", "expected"), [*ENDS, *NO_USE], ids=lambda each: str(each)[:60])
def test_flags_that_etcd_cannot_work_with_are_refused(user: Flags, expected: str) -> None:
    assert expected in problems(user)


@pytest.mark.parametrize("user", TAKEN, ids=lambda each: str(each)[:60])
def test_hardened_flags_that_work_are_accepted(user: Flags) -> None:
    assert problems(user) == ""


def test_3_5_also_needs_checkpoints_to_persist_them() -> None:
    flag = "experimental-enable-lease-checkpoint"
    assert "needs LeaseCheckpoint" in problems({f"{flag}-persist": "true"}, "3.5.35")
    assert problems({f"{flag}-persist": "true", flag: "true"}, "3.5.35") == ""
    assert problems({"feature-gates": "AllAlpha=true"}) == ""


def _ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ca.crt, tls.crt and tls.key: ECDSA, like the program's own certificates."""
    folder, authority = tmp_path_factory.mktemp("pki"), OwnAuthority()
    certificate, key = authority.issue("etcd-1", ["localhost"], ["127.0.0.1"])
    for name, text in (("ca.crt", authority.certificate), ("tls.crt", certificate), ("tls.key", key)):
        (folder / name).write_text(text)
    return folder


@contextlib.contextmanager
def etcd(version: str, certificates: Path, data: Path, user: Flags) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A cluster of one with these flags: its process and its client URL."""
    client, peer = (f"https://127.0.0.1:{port}" for port in _ports(2))
    own = {
        **{"name": "etcd-1", "data-dir": str(data), "initial-cluster": f"etcd-1={peer}", "unsafe-no-fsync": "true"},
        **{"listen-client-urls": client, "advertise-client-urls": client},
        **{"listen-peer-urls": peer, "initial-advertise-peer-urls": peer},
        **{f"{kind}cert-file": str(certificates / "tls.crt") for kind in ("", "peer-")},
        **{f"{kind}key-file": str(certificates / "tls.key") for kind in ("", "peer-")},
        **{f"{kind}trusted-ca-file": str(certificates / "ca.crt") for kind in ("", "peer-")},
        **{f"{kind}client-cert-auth": "true" for kind in ("", "peer-")},
        # The program's own settings.
        **{"tls-min-version": "TLS1.2"},
    }
    words = [str(etcd_binary(version, "etcd")), *(f"--{flag}={value}" for flag, value in {**own, **user}.items())]
    log = data.with_suffix(".log").open("w")
    with log, subprocess.Popen(words, stdout=log, stderr=log, text=True) as process:
        try:
            yield process, client
        finally:
            process.kill()


def healthy(version: str, certificates: Path, url: str) -> bool:
    ways = [f"--cacert={certificates}/ca.crt", f"--cert={certificates}/tls.crt", f"--key={certificates}/tls.key"]
    command = [str(etcd_binary(version, "etcdctl")), f"--endpoints={url}", *ways, "--command-timeout=2s"]
    done = subprocess.run([*command, "endpoint", "health"], capture_output=True, timeout=20, check=False)
    return done.returncode == 0


@pytest.mark.parametrize(("user", "expected"), ENDS, ids=lambda each: str(each)[:60])
def test_etcd_itself_rejects_refused_flags(user: Flags, expected: str, certificates: Path, tmp_path: Path) -> None:
    with etcd(DEFAULT_ETCD, certificates, tmp_path / "data", user) as (process, _):
        assert process.wait(20) != 0


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_every_release_serves_with_every_suite_and_with_tls_1_2_alone(
    version: str, certificates: Path, tmp_path: Path
) -> None:
    user = TAKEN[2] | {"tls-max-version": "TLS1.2"}
    assert problems(user, version) == ""
    _serves(version, certificates, tmp_path, user)


@pytest.mark.parametrize("user", TAKEN, ids=lambda each: str(each)[:60])
def test_etcd_itself_serves_with_accepted_flags(user: Flags, certificates: Path, tmp_path: Path) -> None:
    _serves(DEFAULT_ETCD, certificates, tmp_path, user)


def _serves(version: str, certificates: Path, tmp_path: Path, user: Flags) -> None:
    with etcd(version, certificates, tmp_path / "data", user) as (process, url):
        deadline = time.monotonic() + 30
        while not healthy(version, certificates, url):
            assert process.poll() is None, (tmp_path / "data.log").read_text()[-2000:]
            assert time.monotonic() < deadline, (tmp_path / "data.log").read_text()[-2000:]


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_every_release_needs_the_http_2_suite(version: str, certificates: Path, tmp_path: Path) -> None:
    user = {"cipher-suites": "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"}
    assert problems(user, version) != ""
    with etcd(version, certificates, tmp_path / "data", user) as (process, _):
        assert process.wait(20) != 0, (tmp_path / "data.log").read_text()[-2000:]
