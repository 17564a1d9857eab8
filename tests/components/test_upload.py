"""etcd-node is copied to the machines by SFTP before they are prepared, so that the state does not contain it."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from components import EtcdCluster, bundle, upload
from tests.components.test_cluster_registrations import MEMBERS, cluster, machines
from tests.support.recording import Recorder, record

COPY = "command:remote:CopyToRemote"


def test_etcd_node_is_copied_before_prepare_and_never_registered() -> None:
    recorder = cluster(preview=False)
    copies = recorder.of_type(COPY)
    assert [each.name for each in copies] == [f"dev-{member}-program" for member in MEMBERS]
    for member, copy in zip(MEMBERS, copies, strict=True):
        prepare = recorder.named(f"dev-{member}-prepare")
        assert copy.name in prepare.depends_on
        assert prepare.inputs["stdin"]["value"].startswith(f"{copy.inputs['remotePath']}\n\n")
        assert bundle.sha256() in prepare.inputs["create"]
    for registration in recorder.registrations:
        assert bundle.program()[:60] not in str(registration.inputs), registration.name


def _places(recorder: Recorder) -> list[str]:
    return [each.inputs["remotePath"] for each in recorder.of_type(COPY)]


def _by(**ssh: Any) -> list[dict[str, Any]]:
    """The machines with other connection settings."""
    found: list[dict[str, Any]] = machines()
    return [{**each, "ssh": {**each["ssh"], **ssh}} for each in found]


@pytest.mark.parametrize(
    "members",
    [machines(identity="i-2"), _by(user="another"), _by(host_key="ssh-ed25519 BBBB")],
    ids=["another machine", "another login", "installed anew"],
)
def test_a_possibly_new_machine_gets_etcd_node_again(members: list[dict[str, Any]]) -> None:
    before, after = _places(cluster(preview=False)), _places(cluster(preview=False, members=members))
    assert before != after
    assert before == _places(cluster(preview=False, flags={"max-txn-ops": "256"}))


def test_without_sftp_etcd_node_comes_on_standard_input() -> None:
    recorder = record(lambda: EtcdCluster("dev", {"members": _by(sftp=False)}), preview=False)  # type: ignore[typeddict-item]
    assert not recorder.of_type(COPY)
    prepare = recorder.named("dev-a-prepare").inputs
    assert prepare["stdin"]["value"].startswith(f"{bundle.program()}\n")
    assert not prepare["create"].startswith("sh ")


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
    assert said is None or (said.startswith("etcd-1: sftp") and "internal-sftp" in said and "sftp: false" in said)
