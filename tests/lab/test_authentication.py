"""Etcd's users while a client works: turned on, changed, kept through cluster changes, and turned off."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lab import Machine
from tests.support import api_server
from tests.support.alerting import assert_prometheus_scrapes
from tests.support.bootstrapped import Bootstrapped
from tests.support.etcd import (
    assert_serves_all_members,
    etcdctl,
    etcdctl_here,
    process_ids,
    running_versions,
    write_client_files,
)
from tests.support.machines import Machines
from tests.support.manual import assert_as_in_the_manual
from tests.support.stacks import Stack, Stacks, machine_config

BACKUP = {"name": "backup-tool", "prefix": "/backup/", "permission": "read"}
WRITER = {"name": "writer", "prefix": "/writer/", "permission": "readwrite"}


class User:
    """One user's requests to etcd, from this computer with the certificate in the output."""

    def __init__(self, directory: Path, outputs: Mapping[str, Any], pair: Mapping[str, str]) -> None:
        directory.mkdir()
        files = {"apiserver_etcd_client": pair, "ca_cert": outputs["ca_cert"]}
        self._options = [*write_client_files(directory, files), f"--endpoints={outputs['endpoints'][0]}"]

    def may(self, *words: str) -> bool:
        """Whether etcd allows it; any refusal other than a missing permission or user is an error."""
        done = etcdctl_here(*self._options, *words)
        refused = "permission denied" in done.stderr or "user name not found" in done.stderr
        assert done.returncode == 0 or refused, done.stderr
        return done.returncode == 0


def _enabled(machine: Machine) -> bool:
    return bool(json.loads(etcdctl(machine, "auth", "status", "--write-out=json")).get("enabled"))


def _certificate_of_prometheus(outputs: Mapping[str, Any]) -> dict[str, str]:
    files = {Path(path).name: text for path, text in outputs["prometheus_files"].items()}
    return {"certificate": files["client.crt"], "private_key": files["client.key"]}


def _changed(stack: Stack, **config: Any) -> None:
    stack.config |= config
    stack.up()


def test_authentication_can_change_while_a_client_works(
    machines: Machines, bootstrapped: Bootstrapped, tmp_path: Path
) -> None:
    found, stack = bootstrapped(5)
    first = found[:3]
    write_client_files(tmp_path, stack.outputs())
    etcdctl(found[0], "put", "/backup/1", "1")
    # Foreign roles must stay.
    etcdctl(found[0], "role", "add", "theirs")
    before = process_ids(first)

    stack.config |= {"authentication": True, "users": [BACKUP]}
    assert_as_in_the_manual(stack, "Users with limited access (etcd's authentication)")
    with api_server.running(tmp_path, first) as client:
        _changed(stack, users=[BACKUP, WRITER], prometheus=True)
    assert len(client.failed) < len(client.acknowledged) / 20, client.failed
    assert process_ids(first) == before
    assert _enabled(found[0])
    outputs = stack.outputs()
    pairs = outputs["users"]
    backup, writer = (User(tmp_path / name, outputs, pairs[name]) for name in ("backup-tool", "writer"))
    assert backup.may("get", "/backup/1")
    assert not backup.may("put", "/backup/1", "2")
    assert not backup.may("get", "/registry/", "--prefix")
    assert not backup.may("get", "external-etcd/", "--prefix")
    assert not backup.may("user", "list")
    assert writer.may("put", "/writer/1", "1")
    assert not writer.may("get", "/backup/1")
    assert_prometheus_scrapes(stack, first)
    prometheus = User(tmp_path / "prometheus", outputs, _certificate_of_prometheus(outputs))
    assert prometheus.may("member", "list")
    for refused in (
        ["get", "/backup/1"],
        ["put", "/backup/1", "2"],
        ["user", "list"],
        ["snapshot", "save", str(tmp_path / "never")],
    ):
        assert not prometheus.may(*refused)
    stack.up("--expect-no-changes")

    # A version, a user's keys and another user, in one edit.
    with api_server.running(tmp_path, first):
        _changed(stack, version="3.7.3", users=[{**BACKUP, "prefix": "/other/"}])
    assert running_versions(first) == ["3.7.3"] * 3
    assert backup.may("get", "/other/1")
    assert not backup.may("get", "/backup/1")
    assert not writer.may("get", "/writer/1")
    assert etcdctl(found[0], "role", "list").split() == ["external-etcd", "external-etcd/backup-tool", "root", "theirs"]

    # A CA change: clients with the outputs from before each update are served during it.
    for phase in (
        {"authorities": [{"name": "1"}, {"name": "2"}], "issuer": "1"},
        {"issuer": "2"},
        {"authorities": [{"name": "2"}]},
    ):
        write_client_files(tmp_path, stack.outputs())
        with api_server.running(tmp_path, first):
            _changed(stack, **phase)
    outputs = stack.outputs()
    write_client_files(tmp_path, outputs)
    backup = User(tmp_path / "issued-anew", outputs, outputs["users"]["backup-tool"])
    assert backup.may("get", "/other/1")
    assert not backup.may("get", "/backup/1")
    assert_prometheus_scrapes(stack, first)

    # With a user in the last update, authentication stays on: otherwise its certificate could do everything.
    kept = dict(stack.config)
    stack.config |= {"authentication": False, "users": []}
    assert "those of backup-tool remain valid until they expire" in stack.preview(check=False).text
    stack.config = kept

    # A disk is lost, the cluster grows, and the last user is removed, in one edit.
    machines.lab.wipe(found[0].name)
    found[0] = machines.lab.machine(found[0].name)
    entries = [machine_config(machine) for machine in found]
    entries[0]["identity"] = "another"
    with api_server.running(tmp_path, first[1:]):
        _changed(stack, machines=entries, users=[])
    assert_serves_all_members(found)
    assert not backup.may("get", "/other/1")

    # Somebody deletes every key, also those of the program.
    etcdctl(found[0], "del", "", "--prefix")
    with api_server.running(tmp_path, found):
        _changed(stack, authentication=False)
    assert not _enabled(found[0])
    assert etcdctl(found[0], "role", "list").split() == ["root", "theirs"]


def test_a_3_5_cluster_with_authentication_can_change_versions(
    machines: Machines, stacks: Stacks, tmp_path: Path
) -> None:
    found = machines.fresh(1)
    stack = stacks.new(found, version="3.5.35", authentication=True, users=[BACKUP], metrics="private", prometheus=True)
    stack.up()
    assert_prometheus_scrapes(stack, found)
    outputs = stack.outputs()
    backup = User(tmp_path / "backup-tool", outputs, outputs["users"]["backup-tool"])
    assert backup.may("get", "/backup/1")
    assert not backup.may("get", "/registry/1")
    assert _enabled(found[0])

    # A name in use is reported before the same edit restarts a member.
    etcdctl(found[0], "user", "add", "writer", "--no-password")
    before, kept = process_ids(found), dict(stack.config)
    stack.config |= {"users": [BACKUP, WRITER], "flags": {"max-txn-ops": "256"}}
    assert "a user writer that this program did not create" in stack.up(check=False).text
    assert process_ids(found) == before
    stack.config = kept

    for version in ("3.6.16", "3.5.35"):
        _changed(stack, version=version)
        assert running_versions(found) == [version]
        assert backup.may("get", "/backup/1")
        assert not backup.may("get", "/registry/1")
