"""What a snapshot file of etcd says about itself, read without etcd.

A snapshot is etcd's database (bbolt, a B+tree in pages) and the SHA-256 of it. So a preview on the operator's computer
can refuse a damaged file, one of another cluster or one of a later version, before any machine is touched.
"""

from __future__ import annotations

import hashlib
import mmap
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import wal

MARKER = "external-etcd/cluster"
"""The key of etcd that has the name of the cluster; `cluster.marker` writes it."""

_DIGEST, _SECTOR = 32, 512
_MAGIC = 0xED0CDAED
_HEADER = struct.Struct("<QHHI")  # page number, flags, count, overflow
# magic, version, page size, flags, root, sequence, free list, pages, transaction, checksum
_META = struct.Struct("<IIIIQQQQQQ")
_LEAF_ENTRY = struct.Struct("<IIII")  # flags, position, key size, value size
_BRANCH_ENTRY = struct.Struct("<IIQ")  # position, key size, page
_BRANCH, _LEAF = 1, 2
_REVISION_BYTES = 8


class DamagedError(ValueError):
    """The file is not a whole snapshot; the text says why."""


@dataclass(frozen=True)
class SnapshotFile:
    """A whole snapshot."""

    sha256: str
    """Of the file, 64 hex digits."""
    size: int
    """Bytes of the file."""
    revision: int
    """Revision of the newest write in it."""
    cluster: str
    """Name of the cluster, from its marker; empty if it has none."""
    series: str
    """`X.Y`, the version of the cluster; empty if it is not recorded."""


def read(path: Path) -> SnapshotFile:
    """Reads all of it once.

    Raises:
        DamagedError: it is not a snapshot, or not as it was saved.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size % _SECTOR != _DIGEST or size < _SECTOR:
            raise DamagedError(f"{size} bytes are not a snapshot with a checksum, as `etcdctl snapshot save` makes it")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            whole, database = hashlib.sha256(), hashlib.sha256()
            for start in range(0, size - _DIGEST, 1 << 20):
                chunk = data[start : min(start + (1 << 20), size - _DIGEST)]
                whole.update(chunk)
                database.update(chunk)
            if database.digest() != data[size - _DIGEST :]:
                raise DamagedError("the SHA-256 at its end does not match its content")
            whole.update(data[size - _DIGEST :])
            try:
                facts = _facts(data)
            except (struct.error, IndexError, KeyError, RecursionError, ValueError):
                raise DamagedError("its pages cannot be read as etcd's database") from None
    return SnapshotFile(whole.hexdigest(), size, *facts)


@dataclass(frozen=True)
class Revisions:
    """The writes that a database has, up to one revision."""

    count: int
    sha256: str
    """Of all of them, 64 hex digits."""
    compacting: bool
    """Etcd has begun a compaction, and not recorded its end."""


def revisions(path: Path, last: int) -> Revisions:
    """Reads all writes of a database or a snapshot up to the revision `last`.

    Raises:
        DamagedError: it is no database.
        OSError: it cannot be read.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        digest, count = hashlib.sha256(), 0
        try:
            page_size, root = _root(data)
            buckets = dict(_entries(data, page_size, root))
            for key, value in _bucket(data, page_size, buckets[b"key"]):
                if int.from_bytes(key[:_REVISION_BYTES], "big") > last:
                    break
                digest.update(key)
                digest.update(value)
                count += 1
            meta = dict(_bucket(data, page_size, buckets.get(b"meta", b"")))
        except (struct.error, IndexError, KeyError, RecursionError):
            raise DamagedError("its pages cannot be read as etcd's database") from None
    begun, ended = (meta.get(name, b"")[:_REVISION_BYTES] for name in (b"scheduledCompactRev", b"finishedCompactRev"))
    return Revisions(count, digest.hexdigest(), begun > ended)


def _facts(data: mmap.mmap) -> tuple[int, str, str]:
    """Revision, name of the cluster, and version."""
    page_size, root = _root(data)
    buckets = dict(_entries(data, page_size, root))
    cluster = dict(_bucket(data, page_size, buckets.get(b"cluster", b"")))
    version = re.match(rb"(\d+\.\d+)\.", cluster.get(b"clusterVersion", b""))
    keys, revision, name = buckets[b"key"], 0, ""
    modified = 0
    for key, value in _bucket(data, page_size, keys):
        revision = max(revision, int.from_bytes(key[:_REVISION_BYTES], "big"))
        if value[2 : 2 + len(MARKER)] == MARKER.encode() and value[1] == len(MARKER) and revision > modified:
            modified, name = revision, _value(value).decode(errors="replace")
    return revision, name, version[1].decode() if version else ""


def _root(data: mmap.mmap) -> tuple[int, int]:
    """Page size, and page of the root: from the newer of the two first pages."""
    found: list[tuple[int, int, int]] = []
    for at in (0, 4096, 8192, 16384, 32768, 65536):
        if at + _HEADER.size + _META.size > len(data):
            break
        magic, _, page_size, _, root, _, _, _, transaction, _ = _META.unpack_from(data, at + _HEADER.size)
        if magic == _MAGIC and at in (0, page_size):
            found.append((transaction, page_size, root))
    if not found:
        raise DamagedError("it is not a database of etcd")
    _, page_size, root = max(found)
    return page_size, root


def _bucket(data: mmap.mmap, page_size: int, value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a bucket, given its entry in the root; a small one is inside its entry."""
    if not value:
        return
    (root,) = struct.unpack_from("<Q", value)
    if root:
        yield from _entries(data, page_size, root)
    else:
        yield from _leaf(value, 16)


def _entries(data: mmap.mmap, page_size: int, page: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values below a page, in order."""
    at = page * page_size
    _, flags, count, _ = _HEADER.unpack_from(data, at)
    if flags & _LEAF:
        yield from _leaf(data, at)
    elif flags & _BRANCH:
        for number in range(count):
            entry = at + _HEADER.size + number * _BRANCH_ENTRY.size
            yield from _entries(data, page_size, _BRANCH_ENTRY.unpack_from(data, entry)[2])
    else:
        raise DamagedError(f"page {page} is neither a branch nor a leaf")


def _leaf(data: bytes | mmap.mmap, at: int) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a leaf page."""
    _, _, count, _ = _HEADER.unpack_from(data, at)
    for number in range(count):
        entry = at + _HEADER.size + number * _LEAF_ENTRY.size
        _, position, key_size, value_size = _LEAF_ENTRY.unpack_from(data, entry)
        start = entry + position
        middle = start + key_size
        yield data[start:middle], data[middle : middle + value_size]


def _value(message: bytes) -> bytes:
    """Field 5 of a KeyValue: the value of a key."""
    value = wal.fields(message).get(5)
    return value if isinstance(value, bytes) else b""
