"""Whose data a data directory holds, read from etcd's own log.

Every segment of the log begins with the ID of the member and of the cluster; so the machine knows what it holds without
starting etcd, and without relying on a file that someone else could have left there.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_METADATA, _ENTRY, _SNAPSHOT = 1, 2, 5
_VARINT, _BYTES = 0, 2


@dataclass(frozen=True)
class Owner:
    """The member that wrote a log."""

    member_id: int
    cluster_id: int


def directory(data_directory: str) -> Path:
    """Where the log is; etcd renames it into place when it is complete, so if it exists the member exists."""
    return Path(data_directory) / "member" / "wal"


def exists(data_directory: str) -> bool:
    """Whether the data directory holds a member."""
    return directory(data_directory).is_dir()


def owner(data_directory: str) -> Owner | None:
    """The member that wrote the log; None if there is none or it is unreadable (etcd reports why at start)."""
    try:
        newest = max(path for path in directory(data_directory).iterdir() if path.suffix == ".wal")
        with newest.open("rb") as file:
            return _first_metadata(file.read(4096))
    except (OSError, ValueError, IndexError):
        return None


def _first_metadata(data: bytes) -> Owner | None:
    for kind, payload in _records(data):
        if kind == _METADATA:
            ids = fields(payload)
            member, cluster = ids.get(1), ids.get(2)
            return Owner(member, cluster) if isinstance(member, int) and isinstance(cluster, int) else None
    return None


def old_entries(data_directory: str) -> int:
    """How many entries after the last snapshot have the form of etcd's API v2.

    Etcd 3.5 writes information about members in that form. Etcd 3.6 reads it; etcd 3.7 does not, and exits if it finds
    one at start. It reads all entries after the last snapshot, which can be weeks in a quiet cluster.
    """
    old: set[int] = set()
    snapshot = 0
    for path in sorted(directory(data_directory).glob("*.wal"), reverse=True):
        try:
            with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                for kind, payload in _records(data):
                    if kind == _SNAPSHOT:
                        snapshot = max(snapshot, _number(fields(payload).get(1)))
                    elif kind == _ENTRY:
                        entry = fields(payload)
                        if _is_old(entry.get(4, b"")):
                            old.add(_number(entry.get(3)))
        except (OSError, ValueError, IndexError):
            pass  # removed meanwhile, or its end is being written
        # A segment's name ends with the first index in it.
        if snapshot >= int(path.stem.split("-")[-1], 16):
            break
    return sum(index > snapshot for index in old)


def _is_old(request: int | bytes) -> bool:
    """Whether a request has a field 2: the method of an API v2 request, or such a request in a newer envelope."""
    if not isinstance(request, bytes) or not request:
        return False
    at = 0
    if request[0] == 1 << 3 | _VARINT:  # field 1, its ID
        _, at = _varint(request, 1)
    return request[at : at + 1] == bytes([2 << 3 | _BYTES])


def _number(value: int | bytes | None) -> int:
    return value if isinstance(value, int) else 0


def _records(data: bytes | mmap.mmap) -> Iterator[tuple[int, bytes]]:
    """(type, payload) of the records of a segment, up to its end or the unwritten part."""
    # A frame: 8 bytes little endian, of which the lower 56 bits are the length of the record; if the top bit is set,
    # the lower three bits of the top byte are the number of padding bytes (server/storage/wal/decoder.go).
    at = 0
    while at + 8 <= len(data):
        frame = int.from_bytes(data[at : at + 8], "little")
        length, padding = frame & ((1 << 56) - 1), (frame >> 56) & 7 if frame >> 63 else 0
        if length == 0:
            return
        record = fields(data[at + 8 : at + 8 + length])
        payload = record.get(3)
        yield _number(record.get(1)), payload if isinstance(payload, bytes) else b""
        at += 8 + length + padding


def fields(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message, number -> value; the last of each.

    Raises:
        ValueError, IndexError: it is not one with numbers and byte strings only.
    """
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == _BYTES:
            found[key >> 3] = data[at : at + value]
            at += value
        elif key & 7 == _VARINT:
            found[key >> 3] = value
        else:
            raise ValueError("not a record of the log")
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
