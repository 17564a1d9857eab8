"""The committed table of flags agrees with etcd's binaries."""

import re
import subprocess
from functools import cache

import pytest

from components.plan import flags, known_flags, versions
from tests.support.versions import ETCD_VERSIONS
from tools.etcd import etcd_binary

_SAMPLES = {"boolean": "true", "integer": "7", "duration": "5s", "text": "x"}
# String values that etcd validates while it reads its command line.
_SHAPED = {
    "cors": "*",
    "discovery-fallback": "exit",
    "feature-gates": "InitialCorruptCheck=true",
    "initial-cluster-state": "new",
    "proxy": "off",
    "v2-deprecation": "write-only",
}
# Flags outside the help's list, or that make etcd exit at once.
_NO_SETTINGS = {"config-file", "version", "help"}
# The help of 3.7 still lists these; the binary refuses them.
_ONLY_IN_HELP = {"3.7": {"discovery", "discovery-proxy"}}


def run(version: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(etcd_binary(version, "etcd")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def series_of(version: str) -> str:
    return version.rpartition(".")[0]


@cache
def help_of(version: str) -> str:
    answer = run(version, "--help")
    return answer.stdout + answer.stderr


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_the_table_has_exactly_the_flags_of_the_help(version: str) -> None:
    listed = set(re.findall(r"^  --([a-z0-9-]+)", help_of(version), re.MULTILINE)) - _NO_SETTINGS
    series = series_of(version)
    assert set(known_flags.FLAGS[series]) == listed - _ONLY_IN_HELP.get(series, set())


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_the_binary_accepts_every_flag_of_the_table(version: str) -> None:
    arguments = []
    for flag, kind in known_flags.FLAGS[series_of(version)].items():
        value = _SHAPED.get(flag, "https://10.0.0.1:1" if flag.endswith("-urls") else _SAMPLES[kind])
        arguments.append(f"--{flag}={value}")
    # With --version etcd reads its command line, prints and ends.
    answer = run(version, *arguments, "--version")
    assert answer.returncode == 0, answer.stderr[:300]
    assert version in answer.stdout


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_the_binary_accepts_all_rendered_flags(version: str) -> None:
    parsed = versions.parse(version)
    assert parsed is not None
    user = {"max-txn-ops": "256", "auto-compaction-mode": "revision", "log-level": "debug"}
    assert flags.check_flags(parsed, user) == []
    rendered = flags.render_flags(
        parsed,
        "a",
        "fd00::1",
        data_directory="/var/lib/etcd",
        quota_bytes=1 << 33,
        metrics="private",
        heartbeat_interval_ms=50,
        election_timeout_ms=500,
        user=user,
    )
    answer = run(version, *(f"{flag}={value}" for flag, value in rendered.items()), "--version")
    assert answer.returncode == 0, answer.stderr[:300]


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_the_table_has_exactly_the_feature_gates_of_the_help(version: str) -> None:
    listed = re.findall(r"^    (\w+)=true\|false \(", help_of(version), re.MULTILINE)
    assert known_flags.GATES[series_of(version)] == set(listed)


@pytest.mark.parametrize("version", ETCD_VERSIONS)
def test_deprecated_flags_have_a_successor_or_are_listed(version: str) -> None:
    series = series_of(version)
    for flag, text in re.findall(r"^  --([a-z0-9-]+).*\n\s+(.*)$", help_of(version), re.MULTILINE):
        if flag not in known_flags.FLAGS[series] or flag.startswith(("discovery", "proxy")):
            continue
        if "eprecated" not in text and "decommissioned" not in text:
            assert flag not in known_flags.DEPRECATED[series]
        elif gate := re.search(r"Use '--feature-gates=(\w+)=true'", text):
            assert known_flags.BECAME_GATES[flag] == gate[1]
        elif successor := re.search(r"Use '--([a-z-]+)'", text):
            assert f"experimental-{successor[1]}" == flag
            assert successor[1] in known_flags.FLAGS[series]
        else:
            assert flag in known_flags.DEPRECATED[series], flag
