"""`external-etcd review` of previews by the real engine: each kind of change has a reviewed comment.

`UPDATE_SNAPSHOTS=1` writes the comments anew.
"""

import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from lab.engine import environment
from tests.support.authority import OwnAuthority
from tests.support.reviews import FOLDER, HOST_KEY, PASSPHRASE, PRIVATE_KEY, SECRETS, Reviews, machines, secret_values
from tests.support.snapshot_files import snapshot
from tests.support.stacks import REPO, Stacks, program_stack

from .test_review_migration import CONFIG as MIGRATION

BEARER = "Bearer canary-of-the-release-mirror"
S3_KEY, S3_SECRET = "CANARYOFTHEACCESSKEY", "canary-of-the-secret-access-key-of-the-store"
REGISTRY = "user:canary-of-the-registry"
AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
AGE_KEY = "AGE-SECRET-KEY-1" + "Q" * 58
OWN, OTHER = OwnAuthority(), OwnAuthority("another-ca")
BACKUP = {
    "recipients": [AGE],
    "s3": {"bucket": "etcd", "region": "x", "accessKeyId": S3_KEY, "secretAccessKey": S3_SECRET},
}
SFTP = {"host": "backup.example.com", "user": "etcd", "directory": "/srv", "hostKey": HOST_KEY}


def authority(name: str, of: OwnAuthority) -> dict[str, str]:
    return {"name": name, "certificate": of.certificate, "privateKey": of.private_key}


CONFIG: dict[str, Any] = {
    "version": "3.5.35",
    "machines": machines(1, 2, 3),
    "ssh": {"user": "root", "privateKeyPassphrase": PASSPHRASE},
    "sshPrivateKey": PRIVATE_KEY,
    "releaseMirror": "https://releases.example.com",
    "releaseHeaders": {"Authorization": BEARER},
    "peerAuthorities": [authority("own", OWN)],
    "backup": BACKUP,
    "aws:secretKey": "canary-of-an-account",
    "elsewhere:apiToken": "canary-of-another-provider",
}
"""With a secret in every key that can always have one. The changes have one in each of the others."""
KUBELET = {
    "version": "3.5.35",
    "serviceManager": "kubelet",
    "etcdImage": f"registry.example.com/etcd@sha256:{'5' * 64}",
    "etcdImageCredentials": REGISTRY,
}
BASTION = {"host": "192.0.2.9", "hostKey": HOST_KEY, "privateKeyPassphrase": "canary-of-the-bastion"}
USERS = {"authentication": True, "users": [{"name": "backup", "prefix": "/backup/", "permission": "read"}]}
PROGRAM = """
import pulumi
from components import EtcdCluster
from components.guard import previous_outputs

config = pulumi.Config()

def member(cluster, number):
    address = f"192.0.2.{10 * (cluster == 'blue') + number}"
    ssh = {"host": address, "host_key": config.require("hostKey")}
    ssh["private_key"] = config.require_secret("sshPrivateKey")
    return {"name": f"etcd-{number}", "address": address, "ssh": ssh}

async def main():
    found, last = {}, await previous_outputs("blue_applied", "green_applied")
    for name, version in config.require_object("releases").items():
        members = [member(name, number) for number in (1, 2, 3)]
        args = {"members": members, "version": version, "previous": last.get(f"{name}_applied")}
        cluster = EtcdCluster(name, args)
        found[f"{name}_applied"] = cluster.applied
    return found

pulumi.run(main)
"""
CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a setting": {"flags": {"max-txn-ops": 256}},
    "a version": {"version": "3.6.16"},
    "growth": {"machines": machines(1, 2, 3, 4, 5)},
    "fewer members": {"machines": machines(1)},
    "an exchange": {"machines": machines(1, 4, 3)},
    "a second CA": {"authorities": [{"name": "1"}, authority("ours", OTHER)], "issuer": "1"},
    "a second CA of peers": {"peerAuthorities": [authority("own", OWN), {"name": "peer-1"}], "peerIssuer": "own"},
    "renewed certificates": {"certificates": {"validityHours": 8000}},
    "another machine": {"machines": [*machines(1, 2), {**machines(3)[0], "identity": "new"}]},
    "another machine and a setting": {
        "machines": [*machines(1, 2), {**machines(3)[0], "identity": "new"}],
        "flags": {"max-txn-ops": 256},
    },
    "a user": USERS,
    "a firewall": {"firewall": {"clients": ["10.1.2.0/24"]}},
    "a look for drift": {"driftCheck": "2026-11-30"},
    "defragmentation": {"maintenance": {"defragment": True, "recoverSpace": True}},
    "another login": {
        "ssh": {"user": "debian", "privateKeyPassphrase": PASSPHRASE, "bastion": BASTION},
        "machines": machines(1, 2, 3, privateKeyPassphrase="canary-of-a-machine", bastion=BASTION),
    },
    "another service manager": KUBELET,
    "another place for snapshots": {"backup": {"recipients": [AGE], "ssh": {**SFTP, "privateKey": PRIVATE_KEY}}},
    "no more snapshots": {"backup": None},
    "a skipped version": {"version": "3.7.3"},
    "a wrong configuration": {"version": "9.9.9", "quotta": S3_SECRET},
    "a preview that failed": {"pulumi:disable-default-providers": ["command"]},
    "a restore": {"restore": {"from": "newest", "confirm": "test", "identity": AGE_KEY}},
    "a restore of a file": {"restore": {"from": "snapshot.db", "confirm": "test"}},
}
RESTARTS = ("a setting", "a version", "a second CA", "a second CA of peers", "another machine and a setting")
STATUS: dict[str, set[str]] = {
    "a skipped version": {"refused"},
    **{change: {"restart"} for change in (*RESTARTS, "another service manager")},
    "a restore": {"restart", "irreversible"},
    "a restore of a file": {"restart", "irreversible"},
}
"""The conditions of --fail-on that hold for a change."""
FAILED = ("a wrong configuration", "a preview that failed")


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory) -> Reviews:
    found = Reviews(Stacks(tmp_path_factory.mktemp("review")).new([], **CONFIG))
    snapshot(found.stack.directory / "snapshot.db", version="3.5.0")
    found.up()
    return found


@pytest.mark.parametrize("change", CHANGES)
def test_the_comment_on_a_change_is_the_reviewed_one(
    change: str, reviews: Reviews, capsys: pytest.CaptureFixture[str]
) -> None:
    preview = reviews.preview(**CHANGES[change])
    reviews.assert_as_reviewed(change, preview, STATUS.get(change, set()), capsys, failed=change in FAILED)


def test_the_comment_on_a_setting_of_slow_machines_is_the_reviewed_one(
    reviews: Reviews, capsys: pytest.CaptureFixture[str]
) -> None:
    last = reviews.stack.outputs()["applied"]
    disks = {"etcd-1": (12.5, 4.0), "etcd-3": (44.2, 31.0)}
    slow: dict[str, Any] = {
        name: {"fdatasync_p99_ms": p99, "fdatasync_average_ms": mean} for name, (p99, mean) in disks.items()
    }
    slow["etcd-3"] |= {"round_trips_ms": {"etcd-2": 140.0}, "round_trips_ms_at": 1}
    reviews.stack.left(applied={**last, "measured": slow})
    try:
        preview = reviews.preview(**CHANGES["a setting"])
        reviews.assert_as_reviewed("a setting of slow machines", preview, {"restart"}, capsys)
        reviews.assert_as_reviewed("nothing", reviews.preview(), set(), capsys)
    finally:
        reviews.stack.left(applied=last)


def test_the_comment_on_a_new_cluster_is_the_reviewed_one(reviews: Reviews, capsys: pytest.CaptureFixture[str]) -> None:
    new = Reviews(reviews.stack.beside("new", reviews.stack.config))
    new.assert_as_reviewed("a new cluster", new.preview(), set(), capsys)


def test_the_comment_on_a_destroy_is_the_reviewed_one(reviews: Reviews, capsys: pytest.CaptureFixture[str]) -> None:
    reviews.assert_as_reviewed("a destroy", reviews.preview(destroy=True), {"restart", "irreversible"}, capsys)


def test_the_script_for_a_ci_writes_the_reviewed_comment_and_leaves_no_preview(
    reviews: Reviews, tmp_path: Path
) -> None:
    """With everything real: tests/components/test_ci_examples.py has a stand-in for the CLI."""
    stack, temporary = reviews.stack, tmp_path / "tmp"
    temporary.mkdir()
    before = dict(stack.config)
    stack.config |= CHANGES["a version"]
    stack.write_config()
    stack.config = before
    command = [sys.executable, str(REPO / "examples" / "ci" / "stack.py"), "review", stack.directory.name]
    command += ["--refresh=true", "--fail-on=refused", f"--comment={tmp_path}/comment", f"--outputs={tmp_path}/outputs"]
    environ = {**stack.environ, "TMPDIR": str(temporary)}
    backend = Path(urllib.parse.unquote(urllib.parse.urlsplit(environ["PULUMI_BACKEND_URL"]).path))
    state = {path: path.stat() for path in backend.rglob("*")}
    assert state
    done = subprocess.run(
        command, cwd=stack.directory, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "comment").read_text() == (FOLDER / "a-version.md").read_text()
    assert (tmp_path / "outputs").read_text().startswith("verdict=changes\ndigest=")
    reviews.assert_no_secret(done.stdout + done.stderr)
    assert [path for path in temporary.rglob("*.json") if "preview" in path.name] == []
    written = [path for path in backend.rglob("*") if path not in state or path.stat().st_mtime != state[path].st_mtime]
    assert written == [], "a role that can only read the state must be enough"


def test_the_comments_on_changes_of_a_changed_stack_are_the_reviewed_ones(
    reviews: Reviews, capsys: pytest.CaptureFixture[str]
) -> None:
    """Must be the last test here, because it updates the stack."""
    reviews.up(**CHANGES["a second CA"], **USERS)
    reviews.assert_as_reviewed("a CA that issues", reviews.preview(issuer="ours"), set(), capsys)
    reviews.assert_as_reviewed("a user that is removed", reviews.preview(users=[]), set(), capsys)
    reviews.up(issuer="ours")
    preview = reviews.preview(authorities=[authority("ours", OTHER)])
    reviews.assert_as_reviewed("a CA that is dropped", preview, {"restart", "irreversible"}, capsys)
    reviews.up(version="3.6.16")
    reviews.assert_as_reviewed("a downgrade", reviews.preview(version="3.5.35"), {"restart"}, capsys)
    reviews.up(**CHANGES["a restore"])
    reviews.assert_as_reviewed("a restore that is complete", reviews.preview(), set(), capsys)
    reviews.assert_as_reviewed("a restore that is removed", reviews.preview(restore=None), set(), capsys)
    reviews.up(restore=None, driftCheck="2026-11-30")
    reviews.assert_as_reviewed("drift", reviews.preview(), {"restart"}, capsys)


def test_the_comment_on_changes_of_two_clusters_in_one_program_is_the_reviewed_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    releases = {"blue": "3.6.16", "green": "3.6.16"}
    config = {"sshPrivateKey": PRIVATE_KEY, "releases": releases, "hostKey": HOST_KEY}
    reviews = Reviews(program_stack("external-etcd", PROGRAM, tmp_path, environment(tmp_path / "engine"), config))
    reviews.up()
    preview = reviews.preview(releases={**releases, "green": "3.7.3"})
    reviews.assert_as_reviewed("one of two clusters", preview, {"restart"}, capsys)
    preview = reviews.preview(releases={"blue": "3.7.3", "green": "3.7.3"})
    reviews.assert_as_reviewed("two clusters", preview, {"restart"}, capsys)


def test_every_secret_key_of_the_configuration_has_a_canary() -> None:
    given = [CONFIG, MIGRATION, *CHANGES.values()]
    assert {path for each in given for path in secret_values(each) if path in SECRETS} == SECRETS
