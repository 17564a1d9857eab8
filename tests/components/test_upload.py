"""etcd-node is copied to the machines by SFTP where that works, so that the state does not contain it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components import EtcdCluster, bundle, upload
from components.remote_command import AnswerError
from tests.components.test_cluster_registrations import MEMBERS, cluster, machines
from tests.support.recording import Recorder, record

COPY = "command:remote:CopyToRemote"


def test_etcd_node_is_copied_before_prepare_and_never_registered(preview: bool) -> None:
    recorder = cluster(preview)
    assert sorted(_places(recorder)) == [f"dev-{member}-program" for member in MEMBERS]
    for member in MEMBERS:
        question, copy, prepare = (recorder.named(f"dev-{member}-{step}") for step in ("sftp", "program", "prepare"))
        assert question.depends_on == set()
        assert question.name in copy.depends_on
        assert copy.name in prepare.depends_on
        assert "delete" not in question.inputs
        assert bundle.sha256() in prepare.inputs["create"]
        if not preview:
            assert prepare.inputs["stdin"]["value"].startswith(f"{copy.inputs['remotePath']}\n\n")
    for registration in recorder.registrations:
        assert bundle.program()[:60] not in str(registration.inputs), registration.name


def _places(recorder: Recorder) -> dict[str, str]:
    return {each.name: each.inputs["remotePath"] for each in recorder.of_type(COPY)}


def _by(**ssh: Any) -> list[dict[str, Any]]:
    """The machines with other connection settings."""
    found: list[dict[str, Any]] = machines()
    return [{**each, "ssh": {**each["ssh"], **ssh}} for each in found]


@pytest.mark.parametrize(
    "members",
    [machines(identity="i-2"), _by(user="another"), _by(host_key="ssh-ed25519 BBBB")],
    ids=["another machine", "another login", "installed anew"],
)
def test_a_possibly_new_machine_is_asked_and_gets_etcd_node_again(members: list[dict[str, Any]]) -> None:
    def question(recorder: Recorder) -> dict[str, Any]:
        return recorder.named("dev-a-sftp").inputs

    before, after = cluster(preview=False), cluster(preview=False, members=members)
    assert _places(before)["dev-a-program"] != _places(after)["dev-a-program"]
    assert question(before) != question(after)
    for changed in (cluster(preview=False, flags={"max-txn-ops": "256"}), cluster(preview=False, members=machines(5))):
        assert _places(before)["dev-a-program"] == _places(changed)["dev-a-program"]
        assert question(before) == question(changed)


def _said(printed: str, served: str) -> str:
    """The standard output of a login that was asked."""
    return f"{printed}\nexternal-etcd: answer\n{served}\n\nexternal-etcd: done"


@pytest.mark.parametrize(
    ("printed", "served", "works"),
    [
        ("", "/usr/lib/openssh/sftp-server", True),
        ("", "unknown", True),
        ("", "none", False),
        ("hello\n", "/usr/lib/openssh/sftp-server", False),
        ("\n", "unknown", False),
        ("hello", "internal-sftp", True),
        ("", "internal-sftp", True),
    ],
)
def test_without_sftp_etcd_node_goes_on_standard_input(printed: str, served: str, works: bool) -> None:
    """Only for the machine whose login has none. The text of `prepare` is the same, so previews show all of it."""
    recorder = _record(machines(), said={"dev-b-sftp": _said(printed, served)})
    assert ("dev-b-program" in _places(recorder)) is works
    assert {"dev-a-program", "dev-c-program"} <= set(_places(recorder))
    prepare = recorder.named("dev-b-prepare")
    assert ("dev-b-program" if works else "dev-b-sftp") in prepare.depends_on
    assert prepare.inputs["create"] == cluster(preview=False).named("dev-b-prepare").inputs["create"]
    place, program, identity, *_ = prepare.inputs["stdin"]["value"].split("\n")
    assert (place[:10], program, identity) == ((".external-", "", "") if works else ("", bundle.program(), ""))


@pytest.mark.parametrize("sftp", [True, False])
def test_a_login_is_not_asked_if_the_configuration_decides(sftp: bool, preview: bool) -> None:
    recorder = _record(_by(sftp=sftp), preview=preview)
    assert not [each for each in recorder.registrations if each.name.endswith("-sftp")]
    assert len(_places(recorder)) == (3 if sftp else 0)
    if not preview:
        stdin = recorder.named("dev-a-prepare").inputs["stdin"]["value"]
        assert stdin.split("\n")[1] == ("" if sftp else bundle.program())


def _record(members: list[dict[str, Any]], preview: bool = False, said: dict[str, str] | None = None) -> Recorder:
    return record(lambda: EtcdCluster("dev", {"members": members}), preview, said=said)  # type: ignore[typeddict-item]


def test_a_login_that_ends_without_an_answer_fails_the_update() -> None:
    with pytest.raises(AnswerError, match=r"^b: the login there ended without running"):
        _record(machines(), said={"dev-b-sftp": "hello"})


@pytest.mark.parametrize(
    ("sshd", "served"),
    [
        ("echo port 22; echo subsystem sftp internal-sftp -f AUTH", "internal-sftp"),
        ("echo subsystem sftp /bin/sh -f AUTH; echo port 22", "/bin/sh"),
        ("echo subsystem sftp /usr/lib/missing-sftp-server", "none"),
        ("echo subsystem other /bin/sh", "none"),
        ("echo subsystem sftp /bin/sh; exit 255", "unknown"),
    ],
)
def test_a_machine_tells_which_program_serves_sftp(sshd: str, served: str, tmp_path: Path) -> None:
    program = tmp_path / "sshd"
    program.write_text(f'#!/bin/sh\n[ "$*" = -T ] && {{ {sshd}; }}\n')
    program.chmod(0o755)
    line = upload.question({"host": "192.0.2.1", "host_key": ""}, "etcd-1")
    environ = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
    done = subprocess.run(["/bin/sh", "-c", line], env=environ, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == f"{_said('', served)}\n"


@pytest.mark.parametrize("where", ["", "cd /; "], ids=["in the home", "elsewhere"])
@pytest.mark.parametrize(("there", "status"), [(True, 0), (True, 7), (False, 0)], ids=["taken", "failed", "missing"])
def test_a_command_reads_the_file_first_and_removes_it_on_success(
    tmp_path: Path, where: str, there: bool, status: int
) -> None:
    place, left = tmp_path / ".external-etcd-program-1", tmp_path / ".external-etcd-program-0"
    neighbour = tmp_path / ".external-etcd-program-2"
    for path in (left, neighbour):
        path.touch()
    os.utime(left, (0, 0))
    if there:
        place.write_text("the program")
    done = subprocess.run(
        ["/bin/sh", "-c", where + upload.taking(f"sh -c 'cat; exit {status}'")],
        input=f"{place.name}\n\nidentity\nlast",
        cwd=tmp_path,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (("the program" if there else "") + "\nidentity\nlast", "")
    assert done.returncode == status
    assert place.exists() is (there and status != 0)
    assert left.exists() is (status != 0)
    assert neighbour.exists(), "that of another machine with the same home"


@pytest.mark.parametrize(
    ("error", "explained"),
    [
        ("ssh: subsystem request failed", True),
        ("packet too long", True),
        ("failed to create remote file .external-etcd-program-1: permission denied", True),
        ("after 10 failed attempts: dial tcp 192.0.2.1:22: i/o timeout", False),
        ("ssh: handshake failed: ssh: host key mismatch", False),
    ],
)
def test_a_login_without_sftp_is_reported_with_a_remedy(error: str, explained: bool) -> None:
    said = upload.remedy_for("etcd-1", error)
    assert (said is not None) is explained
    assert said is None or (said.startswith("etcd-1: sftp") and "internal-sftp" in said and "'**-etcd-1-sftp'" in said)
