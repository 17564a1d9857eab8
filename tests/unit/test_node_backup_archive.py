"""A snapshot is verified, compressed and encrypted, and nothing of it stays on the machine unencrypted."""

import datetime
import gzip
import hashlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from components.node.backup import archive, programs
from components.node.data import snapshot
from components.node.shared.errors import NodeError
from components.plan.backup import BackupPlan, S3Plan, backup_spec

from .node_support import a_spec, a_status

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
RAW = backup_spec(BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu")), "http://releases.lab")
PLAIN = b"page" * 700_000
WHOLE = PLAIN + hashlib.sha256(PLAIN).digest()
NOW = datetime.datetime(2026, 11, 29, 16, 35, 2)
# Replaces age: copies what it gets.
COPIES = '#!/bin/sh\necho "$@" > "$(dirname "$0")/words"\nwhile [ "$1" != -o ]; do shift; done\nexec cat > "$2"\n'


class Machine:
    """A machine whose member gives `content` as its snapshot."""

    def __init__(self, directory: Path) -> None:
        self.data = directory / "etcd"
        self.data.mkdir()
        self.age = directory / "age"
        self.content = WHOLE
        self.script(COPIES)

    def script(self, text: str) -> None:
        """What age does."""
        self.age.write_text(text)
        self.age.chmod(0o755)

    def save(self, *words: Any) -> snapshot.Content:
        words[4].write_bytes(self.content)
        return snapshot.Content(48, 7, 1)

    def create(self) -> archive.Archive:
        wanted = a_spec(data_directory=str(self.data), backup=RAW)
        return archive.create(wanted, "3.6.16", a_status(1), NOW)

    def files(self) -> list[str]:
        """What is on the machine."""
        return sorted(path.name for path in archive.directory(str(self.data)).iterdir())


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    monkeypatch.setattr(snapshot, "save", found.save)
    monkeypatch.setattr(programs, "path", lambda *_: found.age)
    monkeypatch.setattr("components.node.shared.files.os.chown", lambda *_: None)
    return found


def test_the_encrypted_file_has_the_whole_snapshot_and_nothing_else_stays(machine: Machine) -> None:
    made = machine.create()
    assert machine.files() == [made.path.name] == ["dev-20261129T163502Z-r48.db.gz.age"]
    assert gzip.decompress(made.path.read_bytes()) == WHOLE
    assert made.digest == hashlib.sha256(made.path.read_bytes()).hexdigest()
    assert made.path.stat().st_mode & 0o777 == 0o600
    words = machine.age.with_name("words").read_text().split()
    assert words[:3] == ["--encrypt", "--recipient", RECIPIENT]


def test_only_the_newest_waits_to_be_stored(machine: Machine) -> None:
    made = machine.create()
    older = made.path.with_name("dev-20261129T153502Z-r40.db.gz.age")
    made.path.rename(older)
    (older.parent / ".snapshot.db.part").write_bytes(b"left by a killed run")
    assert archive.waiting(str(machine.data)) == [older]
    assert archive.waiting(str(machine.data)) != [machine.create().path]
    assert machine.files() == [made.path.name]


@pytest.mark.parametrize("script", ["#!/bin/sh\necho no such recipient >&2\nexit 1\n", "#!/bin/sh\nexit 1\n"])
def test_a_failure_of_age_leaves_nothing_unencrypted(machine: Machine, script: str) -> None:
    machine.script(script)
    with pytest.raises(NodeError, match="age could not encrypt the snapshot"):
        machine.create()
    assert machine.files() == []


def test_a_file_that_changes_after_it_was_verified_is_detected(machine: Machine) -> None:
    machine.content = PLAIN[:-1] + b"x" + WHOLE[-32:]
    with pytest.raises(NodeError, match="changed while it was compressed"):
        machine.create()
    assert archive.waiting(str(machine.data)) == []


def test_without_room_no_snapshot_is_taken(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100 << 20))
    with pytest.raises(NodeError, match="has 100 MiB free; a snapshot needs 256 MiB"):
        machine.create()
    assert machine.files() == []
