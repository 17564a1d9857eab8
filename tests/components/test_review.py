"""`external-etcd review` of previews by the real engine: each kind of change has a reviewed comment.

`UPDATE_SNAPSHOTS=1` writes the comments anew.
"""

import json
import os
import subprocess
import sys
import urllib.parse
from pathlib import Path
from typing import Any

import pytest

from components.review import cli
from tests.support import pretended
from tests.support.snapshot import DIRECTORY, UPDATE
from tests.support.sshd import new_key
from tests.support.stacks import REPO, Stack, Stacks

PRIVATE_KEY, PUBLIC_KEY = new_key()
BEARER = "Bearer canary-of-the-release-mirror"
S3_KEY, S3_SECRET = "CANARYOFTHEACCESSKEY", "canary-of-the-secret-access-key-of-the-store"
PASSPHRASE = "canary-of-the-passphrase"
AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
AGE_KEY = "AGE-SECRET-KEY-1" + "Q" * 58


def machines(*numbers: int) -> list[dict[str, Any]]:
    host_key = " ".join(PUBLIC_KEY.split()[:2])
    return [{"name": f"etcd-{n}", "address": f"192.0.2.{n}", "ssh": {"hostKey": host_key}} for n in numbers]


class Reviews:
    """A stack that was up, with a secret in every key that can have one, and previews of its changes."""

    def __init__(self, directory: Path, own: dict[str, str]) -> None:
        self.directory = directory
        config: dict[str, Any] = {
            "version": "3.5.35",
            "machines": machines(1, 2, 3),
            "ssh": {"user": "root", "privateKeyPassphrase": PASSPHRASE},
            "sshPrivateKey": PRIVATE_KEY,
            "releaseMirror": "https://releases.example.com",
            "releaseHeaders": {"Authorization": BEARER},
            "peerAuthorities": [{"name": "own", "certificate": own["certificate"], "privateKey": own["private_key"]}],
            "backup": {
                "recipients": [AGE],
                "s3": {"bucket": "etcd", "region": "x", "accessKeyId": S3_KEY, "secretAccessKey": S3_SECRET},
            },
        }
        self.stack: Stack = Stacks(directory / "stacks").new([], **config)
        self.stack.environ["PATH"] = f"{pretended.PATH}:{self.stack.environ['PATH']}"
        self.stack.up()
        keys = [PRIVATE_KEY, own["private_key"], *_private_keys(self.stack.outputs())]
        assert len(keys) > 2
        lines = [line for key in keys for line in key.splitlines() if len(line) > 24 and "-----" not in line]
        self.canaries = [BEARER, S3_KEY, S3_SECRET, PASSPHRASE, AGE_KEY, *lines]

    def preview(self, **given: Any) -> str:
        """`pulumi preview --json` with these keys added to the configuration."""
        before = dict(self.stack.config)
        self.stack.config |= given
        try:
            return self.stack.preview_json(check=False)
        finally:
            self.stack.config = before


def _private_keys(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [key for each in value.values() for key in _private_keys(each)]
    return [value] if isinstance(value, str) and value.startswith("-----BEGIN") and "PRIVATE KEY" in value else []


CHANGES: dict[str, dict[str, Any]] = {
    "nothing": {},
    "a setting": {"flags": {"max-txn-ops": 256}},
    "a version": {"version": "3.6.16"},
    "growth": {"machines": machines(1, 2, 3, 4, 5)},
    "an exchange": {"machines": machines(1, 4, 3)},
    "a second CA": {"authorities": [{"name": "1"}, {"name": "2"}], "issuer": "1"},
    "renewed certificates": {"certificates": {"validityHours": 8000}},
    "another machine": {"machines": [*machines(1, 2), {**machines(3)[0], "identity": "new"}]},
    "a user": {"authentication": True, "users": [{"name": "backup", "prefix": "/backup/", "permission": "read"}]},
    "a skipped version": {"version": "3.7.3"},
    "a wrong configuration": {"version": "9.9.9", "quotta": S3_SECRET},
    "a restore": {"restore": {"from": "newest", "confirm": "test", "identity": AGE_KEY}},
}
STATUS = {
    "a skipped version": {"refused"},
    "a setting": {"restart"},
    "a version": {"restart"},
    "a second CA": {"restart"},
    "a restore": {"restart", "irreversible"},
}
"""The conditions of --fail-on that hold for a change."""


@pytest.fixture(scope="module")
def reviews(tmp_path_factory: pytest.TempPathFactory, own_authority: dict[str, str]) -> Reviews:
    return Reviews(tmp_path_factory.mktemp("review"), own_authority)


@pytest.mark.parametrize("change", CHANGES)
def test_the_comment_on_a_change_is_the_reviewed_one(
    change: str, reviews: Reviews, capsys: pytest.CaptureFixture[str]
) -> None:
    preview = reviews.preview(**CHANGES[change])
    # The preview itself has the configuration in plain text.
    assert {BEARER, S3_KEY, S3_SECRET, PASSPHRASE} <= {each for each in reviews.canaries if each in preview}
    conditions = STATUS.get(change, set())
    assert_as_reviewed(reviews, change, preview, conditions, capsys, failed=change == "a wrong configuration")


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
    assert (tmp_path / "comment").read_text() == (DIRECTORY / "review" / "a-version.md").read_text()
    assert (tmp_path / "outputs").read_text().startswith("verdict=changes\ndigest=")
    assert [each for each in reviews.canaries if each in done.stdout + done.stderr] == []
    assert [path for path in temporary.rglob("*.json") if "preview" in path.name] == []
    written = [path for path in backend.rglob("*") if path not in state or path.stat().st_mtime != state[path].st_mtime]
    assert written == [], "a role that can only read the state must be enough"


def test_the_comments_on_a_new_ca_are_the_reviewed_ones(reviews: Reviews, capsys: pytest.CaptureFixture[str]) -> None:
    """Must be the last test here, because it updates the stack."""
    reviews.stack.config |= CHANGES["a second CA"]
    reviews.stack.up()
    issues = {"issuer": "2"}
    assert_as_reviewed(reviews, "a CA that issues", reviews.preview(**issues), set(), capsys)
    reviews.stack.config |= issues
    reviews.stack.up()
    preview = reviews.preview(authorities=[{"name": "2"}])
    assert_as_reviewed(reviews, "a CA that is dropped", preview, {"restart", "irreversible"}, capsys)


def assert_as_reviewed(
    reviews: Reviews,
    change: str,
    preview: str,
    conditions: set[str],
    capsys: pytest.CaptureFixture[str],
    *,
    failed: bool = False,
) -> None:
    """Fail unless the comment is the one in the file, no output has a secret, and exactly these conditions hold."""
    path = reviews.directory / "preview.json"
    path.write_text(preview)
    capsys.readouterr()
    assert cli.main(["review", str(path)]) == (1 if failed else 0)
    comment = capsys.readouterr().out
    assert cli.main(["review", str(path), "--format", "json"]) == (1 if failed else 0)
    facts = capsys.readouterr().out
    assert [each for each in reviews.canaries if each in comment + facts] == []
    assert set(json.loads(facts)["policies"]) == conditions
    for condition in ("refused", "restart", "irreversible", "replace"):
        status = 1 if failed else 3 if condition in conditions else 0
        assert cli.main(["review", str(path), "--fail-on", condition]) == status, condition
    reviewed = DIRECTORY / "review" / f"{change.replace(' ', '-')}.md"
    if os.environ.get(UPDATE):
        reviewed.write_text(comment)
    assert comment == reviewed.read_text()
