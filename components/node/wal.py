"""Whose data a data directory holds, read from etcd's own log.

Every segment of the log begins with the ID of the member and of the cluster; so the machine knows what it holds
without starting etcd, and without believing a file that somebody else could have left beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_METADATA = 1
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
    """Who wrote the log; None when there is none or it cannot be read (etcd will say why when it starts)."""
    try:
        newest = max(path for path in directory(data_directory).iterdir() if path.suffix == ".wal")
        with newest.open("rb") as file:
            return _first_metadata(file.read(4096))
    except (OSError, ValueError, IndexError):
        return None


def _first_metadata(data: bytes) -> Owner | None:
    # A frame: 8 bytes little endian, of which the lower 56 bits are the length of the record; when the top bit is
    # set, its lower three say by how many bytes the record is padded (server/storage/wal/decoder.go).
    at = 0
    while at + 8 <= len(data):
        frame = int.from_bytes(data[at : at + 8], "little")
        length, padding = frame & ((1 << 56) - 1), (frame >> 56) & 7 if frame >> 63 else 0
        if length == 0:
            return None
        record = _fields(data[at + 8 : at + 8 + length])
        if record.get(1) == _METADATA:
            payload = record.get(3)
            ids = _fields(payload) if isinstance(payload, bytes) else {}
            member, cluster = ids.get(1), ids.get(2)
            return Owner(member, cluster) if isinstance(member, int) and isinstance(cluster, int) else None
        at += 8 + length + padding
    return None


def _fields(data: bytes) -> dict[int, int | bytes]:
    """The fields of a protobuf message, number -> value; the last of each."""
    fields: dict[int, int | bytes] = {}
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        value, at = _varint(data, at)
        if key & 7 == _BYTES:
            fields[key >> 3] = data[at : at + value]
            at += value
        elif key & 7 == _VARINT:
            fields[key >> 3] = value
        else:
            raise ValueError("not a record of the log")
    return fields


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
