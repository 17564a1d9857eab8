"""The error of a rehearsal of etcd's unit: it names the directory or limit, and the remedy."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from components.node.protocol import wal
from components.node.service import rehearsal, systemd, unit
from components.node.service.rehearsal import Outcome
from components.node.shared import paths
from components.node.shared.errors import NodeError

from .node_support import a_spec

STEP = "etcd-rehearsal-9.service: Failed at step {} spawning /opt/etcd/v3.6.16/etcd: {}"
VERSION = "etcd Version: 3.6.16\n"


def _words(outcome: Outcome) -> str:
    error = rehearsal.explain(a_spec(), outcome)
    assert error is not None
    return str(error)


@pytest.mark.parametrize(
    ("status", "step", "why", "says"),
    [
        (203, "EXEC", "Permission denied", "may not execute /opt/etcd/v3.6.16/etcd .*noexec.*SELinux"),
        (205, "LIMITS", "Operation not permitted", r"cannot give etcd the number of open files \(LimitNOFILE\)"),
        (216, "GROUP", "No such process", "does not find the user etcd, or not its group.*getent group etcd"),
        (217, "USER", "No such process", "does not find the user etcd, or not itself"),
        (226, "NAMESPACE", "Operation not permitted", "no mount namespaces for services. In a container"),
        (228, "SECCOMP", "Invalid argument", r"cannot give etcd the filter of system calls \(SystemCallFilter\)"),
        (243, "CREDENTIALS", "No such file or directory", "cannot give etcd one of the limits.*CREDENTIALS"),
    ],
)
def test_an_exit_code_of_systemd_is_explained(status: int, step: str, why: str, says: str) -> None:
    text = _words(Outcome("exit-code", status, "", [STEP.format(step, why)]))
    assert re.search(says, text), text
    assert str(status) not in text
    assert text.lower().endswith("then run again.")


def test_a_directory_that_cannot_be_mounted_is_named() -> None:
    why = "Failed to set up mount namespacing: /run/systemd/unit-root/home/etcd: No such file or directory"
    text = _words(Outcome("exit-code", 226, "", [f"x.service: {why}"]))
    assert "/home/etcd: No such file" in text
    assert "unit-root" not in text
    assert "let the data directory lead to a place that it can use" in text


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        (Outcome("signal", 4, "", []), "ended by signal 4 on this machine. Does the release support the processor"),
        (Outcome("exit-code", 1, "error while loading shared libraries\n", []), "fails .*shared libraries"),
        (Outcome("timeout", 0, "", ["Job timed out."]), r"cannot run etcd's unit on this machine \(timeout: Job timed"),
        (Outcome("", 0, "", ["A dependency job failed."]), "dependency job failed.*others have added"),
    ],
)
def test_other_failures_are_reported_with_their_output(outcome: Outcome, says: str) -> None:
    assert re.search(says, _words(outcome))


def test_a_root_only_python_is_no_failure() -> None:
    assert rehearsal.explain(a_spec(), Outcome("exit-code", 203, VERSION, [])) is None
    assert rehearsal.explain(a_spec(), Outcome("exit-code", 1, f"{VERSION}Fatal Python error: init\n", [])) is None


def test_a_forbidden_output_file_is_no_failure() -> None:
    forbidden = STEP.format("STDOUT", "Permission denied")
    assert rehearsal.explain(a_spec(), Outcome("exit-code", 209, "", [forbidden])) is None


def test_a_member_with_a_full_disk_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"doing": "write to", "path": "/var/lib/etcd", "errno": 28, "error": "No space left on device"})
    full = Outcome("exit-code", 1, f"{VERSION}{rehearsal._BEGAN}\n{line}\n", [])
    assert "cannot write to /var/lib/etcd (No space left on device). Make room there" in _words(full)
    monkeypatch.setattr(wal, "exists", lambda _: True)
    assert rehearsal.explain(a_spec(), full) is None


def _tried(data: Path, certificates: Path) -> str:
    argv = [sys.executable, "-I", "-", str(data), str(certificates)]
    return subprocess.run(argv, input=rehearsal._SCRIPT, capture_output=True, text=True, check=False).stdout


def test_the_rehearsed_program_leaves_no_traces_and_names_failures(tmp_path: Path) -> None:
    data, certificates = tmp_path / "data", tmp_path / "pki"
    data.mkdir()
    assert _tried(data, certificates).count(f'"path": "{certificates}"') == 1
    certificates.mkdir()
    assert _tried(data, certificates) == f"{rehearsal._BEGAN}\n"
    assert list(data.iterdir()) == []
    (data / ".etcd-rehearsal.new").mkdir()
    assert '"doing": "write to"' in _tried(data, certificates)


def test_the_rehearsed_unit_has_the_real_units_limits() -> None:
    spec = a_spec(data_directory="/srv/etcd")
    text = rehearsal.render(spec, ["[Service]\nExecStart=\nExecStart=/bin/other"], Path("/run/out"))
    assert unit.limits(spec) in text
    assert unit.limits(spec) in unit.render(spec)
    last = text.rpartition("ExecStart=/bin/other")[2]
    assert last.count("ExecStart=\n") == 1, "commands of other drop-ins are removed"
    assert "Type=oneshot" in last
    assert text.index("ReadWritePaths=/srv/etcd") < text.index("/bin/other")


def test_an_unchanged_running_unit_is_not_rehearsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    performed: list[str] = []
    monkeypatch.setattr(paths, "UNIT_FILE", tmp_path / "etcd.service")
    service = systemd.Service("active", "running", os.getpid(), 0, "", True, False, False)
    monkeypatch.setattr(systemd, "show", lambda: service)
    monkeypatch.setattr(rehearsal, "_perform", lambda spec: performed.append(spec.release.version))
    paths.UNIT_FILE.write_text(unit.render(a_spec()))
    rehearsal.rehearse(a_spec())
    assert performed == []
    rehearsal.rehearse(a_spec(release={"version": "3.6.17", "mirror": "http://x.example", "sha256": {}}))
    assert performed == ["3.6.17"], "a new release is rehearsed before the member stops for it"
    paths.UNIT_FILE.write_text(unit.render(a_spec()).replace("UMask=0077", "UMask=0022"))
    rehearsal.rehearse(a_spec())
    assert performed == ["3.6.17", "3.6.16"], "new limits are rehearsed too"


def test_a_limit_error_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    idle = systemd.Service("inactive", "dead", 0, 0, "", False, False, False)
    monkeypatch.setattr(systemd, "show", lambda: idle)
    monkeypatch.setattr(rehearsal, "_perform", lambda _: Outcome("exit-code", 217, "", []))
    with pytest.raises(NodeError, match="does not find the user etcd"):
        rehearsal.rehearse(a_spec())
