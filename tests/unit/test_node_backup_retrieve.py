"""A stored snapshot comes back whole, or an error says which of the things that can be wrong is wrong."""

import gzip
import hashlib
import signal
import subprocess
import time
from pathlib import Path

import pytest

from components.node.backup import programs, retrieve, store
from components.node.shared import backup, paths
from components.node.shared.errors import NodeError, OverdueError
from components.plan.backup import BackupPlan, S3Plan, backup_spec
from components.plan.releases import DEFAULT_MIRROR

RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
BACKUP = backup.parse(backup_spec(BackupPlan([RECIPIENT], s3=S3Plan("etcd", region="eu")), DEFAULT_MIRROR))
NAME = "dev-20261129T163502Z-r48.db.gz.age"
KEY = "# created: 2026-11-29\nAGE-SECRET-KEY-1" + "Q" * 58 + "\n"
PLAIN = b"page" * 700_000
WHOLE = PLAIN + hashlib.sha256(PLAIN).digest()
# Replace the programs: the store has one file, and decryption is a copy, with a note of what it was given.
RCLONE = '#!/bin/sh\n[ "$1" = cat ] && exec cat "{here}/stored"\necho "$(stat -c %s "{here}/stored");{name}"\n'
AGE = '#!/bin/sh\necho "$@" > "{here}/words"\ncat "$3" > "{here}/key"\nexec cat\n'


class Machine:
    """A machine and a store that has one snapshot."""

    def __init__(self, directory: Path) -> None:
        self.here = directory
        self.stores(gzip.compress(WHOLE, mtime=0))
        self.script("rclone", RCLONE)
        self.script("age", AGE)

    def stores(self, content: bytes) -> None:
        (self.here / "stored").write_bytes(content)

    def script(self, program: str, text: str) -> None:
        """What a program does."""
        path = self.here / program
        path.write_text(text.replace("{here}", str(self.here)).replace("{name}", NAME))
        path.chmod(0o755)

    @property
    def target(self) -> Path:
        return self.here / "place" / "snapshot.db"

    def retrieve(self, identity: str = KEY, spare: int = 0) -> retrieve.Retrieved:
        return retrieve.retrieve(BACKUP, NAME, identity, self.target, spare=spare)

    def refused(self) -> NodeError:
        """The error; no file stays."""
        with pytest.raises(NodeError) as caught:
            self.retrieve()
        assert [*self.target.parent.iterdir()] == []
        return caught.value


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    found = Machine(tmp_path)
    found.target.parent.mkdir()
    monkeypatch.setattr(programs, "path", lambda _, name: tmp_path / name)
    monkeypatch.setattr(paths, "BACKUP_STORE", tmp_path / "rclone.conf")
    return found


def test_a_snapshot_comes_back_whole_and_the_key_is_in_no_command_line(machine: Machine) -> None:
    found = machine.retrieve()
    assert machine.target.read_bytes() == WHOLE
    assert found == retrieve.Retrieved(hashlib.sha256(WHOLE).hexdigest(), len(WHOLE))
    assert machine.target.stat().st_mode & 0o777 == 0o600
    assert (machine.here / "key").read_text() == KEY
    assert "AGE-SECRET" not in (machine.here / "words").read_text()
    # What a killed run has left is replaced.
    machine.target.write_bytes(b"left")
    assert machine.retrieve() == found


# Without the time in the header: all workers must give the cases the same names.
@pytest.mark.parametrize(
    ("content", "why"),
    [
        (gzip.compress(WHOLE, mtime=0)[:-1], "does not end where it should"),
        (gzip.compress(WHOLE, mtime=0) + b"x", "does not end where it should"),
        (b"", "does not end where it should"),
        (b"no gzip", "cannot be decompressed"),
        (gzip.compress(WHOLE[:-1], mtime=0), "SHA-256 at its end does not match"),
        (gzip.compress(b"x" + WHOLE[1:], mtime=0), "SHA-256 at its end does not match"),
        (gzip.compress(b"short", mtime=0), "SHA-256 at its end does not match"),
    ],
)
def test_a_damaged_snapshot_is_named(machine: Machine, content: bytes, why: str) -> None:
    machine.stores(content)
    error = machine.refused()
    assert error.cause.startswith(f"{NAME} is damaged or not complete: ")
    assert why in error.cause


@pytest.mark.parametrize(
    ("age", "cause"),
    [
        ("no identity matched any of the recipients", "does not decrypt with this private key"),
        ("failed to decrypt and authenticate payload chunk", "is damaged or not complete: age says: failed to decrypt"),
        ("", "is damaged or not complete: age ended with 1"),
    ],
)
def test_a_snapshot_that_age_does_not_decrypt_is_named(machine: Machine, age: str, cause: str) -> None:
    said = f"echo 'age: error: {age}' >&2" if age else ":"
    machine.script(
        "age", f"#!/bin/sh\n{said}\n" + ("cat >/dev/null\ncat {here}/stored\n" if not age else "") + "exit 1\n"
    )
    assert cause in machine.refused().cause


def test_a_snapshot_that_is_not_there_is_named(machine: Machine) -> None:
    for script in ("exit 3", "exit 0", "echo '5;another'"):
        machine.script("rclone", f"#!/bin/sh\n{script}\n")
        assert f"there is no {NAME} in s3:etcd" in machine.refused().cause


@pytest.mark.parametrize(
    ("said", "remedy"),
    [("SignatureDoesNotMatch", "refuses the credentials"), ("connection reset", "cannot be reached")],
)
@pytest.mark.parametrize("when", ["first", "in the middle"])
def test_a_store_that_fails_is_named_and_not_its_consequence(
    machine: Machine, said: str, remedy: str, when: str
) -> None:
    begin = RCLONE.replace("exec cat", "head -c 500") if when == "in the middle" else "#!/bin/sh\n"
    answers = begin.replace('echo "', '[ "$1" = lsf ] && exec echo "')
    machine.script("rclone", f"{answers}echo '2026/11/29 ERROR : {said}' >&2\nexit 1\n")
    error = machine.refused()
    assert remedy in error.remedy
    assert said in error.cause


def test_without_room_nothing_stays(machine: Machine) -> None:
    with pytest.raises(NodeError, match="there is no room"):
        machine.retrieve(spare=1 << 60)
    assert not machine.target.exists()


@pytest.mark.parametrize("text", ["", "geheim", KEY.replace("SECRET", "PUBLIC"), KEY + "#" * 4096, "-----BEGIN AGE\n"])
def test_a_text_that_is_no_private_key_is_not_shown(machine: Machine, text: str) -> None:
    with pytest.raises(NodeError) as caught:
        machine.retrieve(text)
    assert "geheim" not in str(caught.value)
    assert not (machine.here / "words").exists()


def test_a_time_that_is_over_ends_both_programs(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends it is not hidden by what the programs say at their end."""
    machine.script("rclone", RCLONE.replace("exec cat", "exec sleep 60 #"))
    started: list[subprocess.Popen[bytes]] = []

    class Popen(subprocess.Popen[bytes]):
        def __init__(self, *args: object, **more: object) -> None:
            super().__init__(*args, **more)  # type: ignore[call-overload]
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Popen)

    def over(*_: object) -> None:
        raise OverdueError("over", "")

    monkeypatch.setattr(store, "more_time", lambda _: None)
    before = signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    begin = time.monotonic()
    try:
        with pytest.raises(OverdueError):
            machine.retrieve()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert time.monotonic() - begin < 10
    assert all(process.poll() is not None for process in started)
    assert not machine.target.exists()


def test_reading_back_says_when_it_was_too_slow(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.script("rclone", RCLONE.replace("exec cat", "exec sleep 60 #"))
    monkeypatch.setattr(store, "_SECONDS", 1.0)
    assert "did not end within 1 s" in machine.refused().cause
