"""Snapshot files for tests, without etcd: a database in bbolt's format with its SHA-256."""

import hashlib
import struct
from pathlib import Path

_PAGE = 4096
_META, _LEAF, _BRANCH = 4, 2, 1


def _leaf(entries: list[tuple[bytes, bytes, bool]], number: int = 0) -> bytes:
    """A leaf page without its rest: keys, values, and whether they are buckets."""
    head = struct.pack("<QHHI", number, _LEAF, len(entries), 0)
    rows, content = b"", b""
    for index, (key, value, bucket) in enumerate(entries):
        position = 16 * (len(entries) - index) + len(content)
        rows += struct.pack("<IIII", int(bucket), position, len(key), len(value))
        content += key + value
    return head + rows + content


def _inline(entries: list[tuple[bytes, bytes]]) -> bytes:
    """A bucket inside its entry."""
    return struct.pack("<QQ", 0, 0) + _leaf([(key, value, False) for key, value in entries])


def key_value(key: bytes, value: bytes, revision: int) -> bytes:
    """etcd's record of a key."""
    number = bytes([revision & 0x7F]) if revision < 128 else bytes([revision & 0x7F | 0x80, revision >> 7])
    head = b"\x0a" + bytes([len(key)]) + key + b"\x10" + number + b"\x18" + number + b"\x20\x01"
    return head + b"\x2a" + bytes([len(value)]) + value


def snapshot(
    path: Path,
    cluster: str = "test",
    version: str = "3.6.0",
    revisions: tuple[int, ...] = (2, 300),
    *,
    whole: bool = True,
) -> Path:
    """Write a snapshot; the name of the cluster is written at each revision, and before it another one.

    Args:
        cluster: its marker; empty: none.
        version: of the cluster; empty: not recorded.
        whole: whether its SHA-256 is right.
    """
    rows = [(1, key_value(b"external-etcd/cluster", b"of-long-ago", 1))] if cluster else []
    rows += [
        (each, key_value(b"external-etcd/cluster" if cluster else b"other", cluster.encode(), each))
        for each in revisions
    ]
    keys = [(struct.pack(">Q", each) + b"_" + bytes(8), value, False) for each, value in rows]
    # The keys are in two leaves below a branch.
    leaves = [_leaf(keys[:1], 4), _leaf(keys[1:], 5)]
    first = [page[1][0] for page in (((), keys[0]), ((), keys[-1]))]
    branch = struct.pack("<QHHI", 6, _BRANCH, 2, 0)
    branch += struct.pack("<IIQ", 32, 17, 4) + struct.pack("<IIQ", 16 + 17, 17, 5) + first[0] + first[1]
    bucket = _inline([(b"clusterVersion", version.encode())] if version else [])
    root = _leaf([(b"cluster", bucket, True), (b"key", struct.pack("<QQ", 6, 0), True)], 3)
    pages = [_meta(0, 7), _meta(1, 8), struct.pack("<QHHI", 2, 16, 0, 0), root, *leaves, branch]
    database = b"".join(page.ljust(_PAGE, b"\0") for page in pages)
    path.write_bytes(database + hashlib.sha256(database if whole else b"").digest())
    return path


def _meta(number: int, transaction: int) -> bytes:
    head = struct.pack("<QHHI", number, _META, 0, 0)
    return head + struct.pack("<IIIIQQQQQQ", 0xED0CDAED, 2, _PAGE, 0, 3, 0, 2, 7, transaction, 0)
