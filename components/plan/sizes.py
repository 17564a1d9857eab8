"""Sizes as users write them."""

import re

from .errors import Problem, shown

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

_SIZE = re.compile(r"(\d{1,15})(?: ?(KiB|MiB|GiB))?", re.ASCII)
_FACTOR = {None: 1, "KiB": KIB, "MiB": MIB, "GiB": GIB}
# Even an idle Kubernetes does not fit into less.
_LEAST = 16 * MIB
_MOST = 1 << 50


def parse_bytes(size: str | int) -> int:
    """The size in bytes: a number, or a number with KiB, MiB or GiB. Raises ValueError for anything else."""
    if isinstance(size, int) and not isinstance(size, bool):
        return size
    match = _SIZE.fullmatch(size) if isinstance(size, str) else None
    if match is None:
        raise ValueError(f"not a size: {size!r}")
    return int(match[1]) * _FACTOR[match[2]]


def check_bytes(size: object, key: str) -> list[Problem]:
    """Why this cannot be the size of a database; empty when it can."""
    remedy = "Write it like 2GiB or 512MiB"
    try:
        count = parse_bytes(size)  # type: ignore[arg-type]
    except ValueError:
        return [Problem(key, shown(size), "A size must be a whole number of bytes, or of KiB, MiB or GiB", remedy)]
    if not _LEAST <= count <= _MOST:
        rule = "A quota must be between 16MiB and 1048576GiB; etcd suggests at most 8GiB"
        return [Problem(key, shown(size), rule, remedy)]
    return []
