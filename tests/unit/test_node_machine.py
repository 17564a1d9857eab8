"""Checks of a machine, its lock, its files and its certificates."""

import contextlib
import datetime
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from components.node.machine import fitness, ports
from components.node.protocol import wal
from components.node.protocol.x509 import der_of, expires, fingerprints
from components.node.service import systemd
from components.node.shared import files, lock, paths, say
from components.node.shared.errors import NodeError

from .node_support import a_spec

MINE = (os.getuid(), os.getgid())


def test_a_foreign_address_is_refused_with_the_machines_own() -> None:
    # 192.0.2.0/24 is for documentation; no machine has it.
    with pytest.raises(NodeError, match=r"members\.etcd-1 is 192\.0\.2\.1, but this machine has"):
        fitness.check_address(a_spec(members={"etcd-1": "192.0.2.1"}))
    fitness.check_address(a_spec(members={"etcd-1": "127.0.0.1"}))


def test_a_quota_larger_than_the_memory_is_refused() -> None:
    with pytest.raises(NodeError, match="must fit into memory"):
        fitness.check_memory(a_spec(quota_bytes=1 << 49))
    fitness.check_memory(a_spec(quota_bytes=1 << 20))


@pytest.mark.parametrize(
    ("sold", "shown", "fits"),
    [(8 << 30, 7953432, True), (2 << 30, 1763328, True), (1 << 30, 966656, True), (8 << 30, 3995152, False)],
    ids=["8 GB", "t3.small with a kernel for crashes", "t3.micro", "4 GB"],
)
def test_a_quota_may_equal_the_nominal_memory(
    monkeypatch: pytest.MonkeyPatch, sold: int, shown: int, fits: bool
) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: f"MemTotal:       {shown} kB\n")
    expected = contextlib.nullcontext() if fits else pytest.raises(NodeError, match="must fit into memory")
    with expected:
        fitness.check_memory(a_spec(quota_bytes=sold))


def test_a_listener_is_found_with_its_process() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        (found,) = ports.foreign_listeners([port], ["127.0.0.1"])
        assert (found.port, found.pid, found.address) == (port, os.getpid(), "127.0.0.1")
        assert Path(found.program).exists()
        assert ports.foreign_listeners([port], ["192.0.2.1"]) == []
    assert ports.foreign_listeners([port], ["127.0.0.1"]) == []


def test_a_listener_is_the_process_that_made_it() -> None:
    """systemd's children have its sockets for a moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        child = subprocess.Popen(["sleep", "60"], pass_fds=[server.fileno()])
        try:
            (found,) = ports.foreign_listeners([server.getsockname()[1]], ["127.0.0.1"])
        finally:
            child.kill()
            child.wait()
    # Process IDs may have begun anew.
    assert found.pid == min(os.getpid(), child.pid)


def test_a_closed_descriptor_does_not_hide_its_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """An etcd with clients closes connections all the time; it must still be identified by its process."""
    read = Path.readlink

    def readlink(path: Path) -> Path:
        if path.name in ("0", "1", "2"):
            raise FileNotFoundError(path)
        return read(path)

    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(Path, "readlink", readlink)
        (found,) = ports.foreign_listeners([server.getsockname()[1]], ["127.0.0.1"])
    assert found.pid == os.getpid()


def test_connections_to_a_port_are_found_in_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    def line(here: str, there: str, state: str = "01") -> str:
        return f"   0: {here} {there} {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1"

    own, other, third = "0B63630A", "0C63630A", "0000000000000000FFFF00000D63630A"
    lines = [
        line(f"{own}:094B", f"{other}:C001"),
        line(f"{own}:094B", f"{other}:C002"),
        line(f"0000000000000000FFFF0000{own}:094B", f"{third}:C003"),
        line(f"{own}:094B", f"{own}:C004"),
        line("0100007F:094B", "0100007F:C005"),
        line(f"{own}:094C", "0E63630A:C006"),
        line(f"{own}:094B", "0F63630A:C007", "06"),
        line(f"{own}:C008", "1063630A:094B"),
    ]
    monkeypatch.setattr(ports, "_sockets", lambda: iter(lines))
    assert ports.connected(2379) == ["10.99.99.12", "10.99.99.13"]


def test_a_listener_on_all_addresses_blocks_every_address() -> None:
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        (found,) = ports.foreign_listeners([server.getsockname()[1]], ["192.0.2.1"])
        assert found.pid == os.getpid()


def test_a_held_lock_names_its_holder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "LOCK", tmp_path / "lock")
    with lock.held("prepare"), pytest.raises(NodeError, match=rf"`etcd-node prepare` \(pid {os.getpid()}, since 20"):  # noqa: SIM117
        with lock.held("converge", wait=0.1):
            pass
    with lock.held("converge", wait=0.1):
        pass


def test_the_lock_ends_with_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "LOCK", tmp_path / "lock")
    take = f"fcntl.flock(os.open({str(paths.LOCK)!r}, os.O_RDWR | os.O_CREAT), fcntl.LOCK_EX)"
    code = f"import fcntl, os; {take}; os.kill(os.getpid(), 9)"
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    with lock.held("converge", wait=0.1):
        assert json.loads(paths.LOCK.read_text())["verb"] == "converge"


def test_a_lock_on_a_removed_file_guards_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "LOCK", tmp_path / "lock")
    with lock.held("retire"):
        paths.LOCK.unlink()
        with lock.held("prepare", wait=0.1), paths.LOCK.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_deadline_names_the_phase() -> None:
    with pytest.raises(NodeError, match=r"converge did not end within 0 s; its phase was: wait for the sun"):  # noqa: SIM117
        with say.deadline("converge", 0.05):
            say.phase("wait for the sun")
            list(say.until(5))


def test_a_file_is_written_only_if_content_or_mode_differ(tmp_path: Path) -> None:
    path = tmp_path / "key"
    assert files.write(path, "one", 0o600, *MINE)
    before = path.stat()
    assert not files.write(path, "one", 0o600, *MINE)
    assert path.stat().st_ino == before.st_ino
    path.chmod(0o644)
    assert not files.write(path, "one", 0o600, *MINE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert files.write(path, "two", 0o600, *MINE)
    assert [each.name for each in tmp_path.iterdir()] == ["key"]


def test_several_files_are_written_together_or_not_at_all(tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "missing" / "bad"
    with pytest.raises(FileNotFoundError):
        files.write_together({good: "x", bad: "y"}, dict.fromkeys((good, bad), (0o600, *MINE)))
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_state_file_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "identity.json"
    path.write_text("[]")
    with pytest.raises(NodeError, match=r"identity\.json does not hold a JSON object"):
        files.read_json(path)
    assert files.read_json(tmp_path / "none") is None


@pytest.mark.parametrize("year", [2049, 2051])
def test_the_expiry_of_a_certificate_is_read(year: int) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    ends = datetime.datetime(year, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "etcd-1")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(ends - datetime.timedelta(days=1))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM).decode()
    assert expires(der_of(pem)[0]) == ends
    assert fingerprints(pem + pem) == [made.fingerprint(hashes.SHA256()).hex()] * 2


def test_an_invalid_certificate_is_refused() -> None:
    with pytest.raises(ValueError, match="not a certificate"):
        expires(b"\x30\x82\xff\xff")


def _varint(value: int) -> bytes:
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def _frame(kind: int, data: bytes) -> bytes:
    record = b"\x08" + _varint(kind) + b"\x10" + _varint(12345)
    if data:
        record += b"\x1a" + _varint(len(data)) + data
    padding = -len(record) % 8
    length = len(record) | ((0x80 | padding) << 56 if padding else 0)
    return struct.pack("<Q", length) + record + b"\0" * padding


def test_the_owner_of_a_log_is_read_from_its_newest_segment(tmp_path: Path) -> None:
    place = wal.directory(str(tmp_path))
    place.mkdir(parents=True)
    member, cluster = 0xC61F2E4B096DEE23, 0xF4B4017B4EC12C08
    metadata = b"\x08" + _varint(member) + b"\x10" + _varint(cluster)
    segment = _frame(4, b"") + _frame(1, metadata) + _frame(5, b"") + b"\0" * 4096
    (place / "0000000000000000-0000000000000000.wal").write_bytes(b"\0" * 100)
    (place / "0000000000000001-0000000000000009.wal").write_bytes(segment)
    (place / "0.tmp").write_bytes(b"")
    assert wal.owner(str(tmp_path)) == wal.Owner(member, cluster)


# A put in API v3; etcd 3.5's record of a member; the same in an API v3 envelope.
_NEW = b"\x08\x07" + b"\x22\x02\x0a\x00"
_OLD = b"\x08\x07" + b"\x12\x03PUT" + b"\x1a\x01/"
_WRAPPED = b"\x12\x02\x08\x07"


def _entry(index: int, request: bytes) -> bytes:
    return _frame(2, b"\x08\x00\x10\x02\x18" + _varint(index) + b"\x22" + _varint(len(request)) + request)


def _snapshot(index: int) -> bytes:
    return _frame(5, b"\x08" + _varint(index) + b"\x10\x02")


@pytest.mark.parametrize(
    ("segments", "count"),
    [
        ([_entry(1, _NEW) + _entry(2, b"")], 0),
        ([_entry(1, _OLD) + _entry(2, _WRAPPED) + _entry(3, _NEW)], 2),
        ([_entry(1, _OLD) + _snapshot(1) + _entry(2, _NEW)], 0),
        ([_entry(1, _OLD) + _snapshot(1) + _entry(2, _OLD)], 1),
        ([_entry(1, _OLD) + _entry(2, _NEW), _snapshot(1) + _entry(3, _NEW)], 0),
        ([_entry(1, _NEW) + _entry(2, _OLD), _snapshot(1) + _entry(3, _NEW)], 1),
        # The end of the newest segment is still being written.
        ([_entry(1, _OLD) + _entry(2, _NEW)[:14] + b"\0" * 100], 1),
    ],
)
def test_entries_of_api_v2_after_the_last_snapshot_are_counted(
    tmp_path: Path, segments: list[bytes], count: int
) -> None:
    place = wal.directory(str(tmp_path))
    place.mkdir(parents=True)
    for number, content in enumerate(segments):
        (place / f"{number:016x}-{number * 3:016x}.wal").write_bytes(content + b"\0" * 4096)
    assert wal.old_entries(str(tmp_path)) == count


def test_an_unreadable_log_has_no_known_owner(tmp_path: Path) -> None:
    assert wal.owner(str(tmp_path)) is None
    place = wal.directory(str(tmp_path))
    place.mkdir(parents=True)
    assert wal.owner(str(tmp_path)) is None
    for content in (b"", b"\xff" * 64, b"\x05\0\0\0\0\0\0\0\x08"):
        (place / "0000000000000000-0000000000000000.wal").write_bytes(content)
        assert wal.owner(str(tmp_path)) is None


def test_a_logs_errors_are_reported_without_the_usage_text() -> None:
    log = ["flag provided but not defined: -x", "Usage:", *(f"  --flag-{number}" for number in range(99))]
    assert systemd.telling(log, 8) == ["flag provided but not defined: -x"]
    crash = [
        '{"level":"info","msg":"starts"}',
        '{"level":"fatal","msg":"discovery failed","error":"no cluster"}',
        "exited",
    ]
    assert systemd.telling(crash, 8) == ["fatal: discovery failed (no cluster)"]
    assert systemd.telling(["one", "two", "three"], 2) == ["two", "three"]


def test_the_remedy_follows_a_list_on_its_own_line() -> None:
    assert str(NodeError("it is wrong", "Mend it.")) == "it is wrong. Mend it."
    assert str(NodeError("wrong:\n  a\n", "Mend it.")) == "wrong:\n  a\nMend it."
