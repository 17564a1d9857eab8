"""Sizes and paths as users write them."""

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


# Directory -> why etcd's data cannot be in it.
_OWN = "`pulumi destroy` removes what this program created there"
_HIDDEN = "etcd's unit hides it from etcd"
_EMPTIED = "every boot empties it"
_SYSTEM = "it belongs to the operating system"
NO_DATA_BELOW = {
    **dict.fromkeys(("/opt/etcd", "/etc/etcd", "/var/lib/etcd-node", "/usr/local/lib/etcd-node"), _OWN),
    **dict.fromkeys(("/home", "/root", "/tmp", "/var/tmp", "/dev", "/proc", "/sys"), _HIDDEN),  # noqa: S108
    **dict.fromkeys(("/run", "/var/run", "/var/lock"), _EMPTIED),
    **dict.fromkeys(("/etc", "/usr", "/boot", "/efi", "/bin", "/sbin", "/lib", "/lib64"), _SYSTEM),
}
"""Directories that a data directory must be neither below nor above."""
_REMEDY = "Write it like /var/lib/etcd"


def check_directory(path: object, key: str) -> list[Problem]:
    """Why this cannot be the path of a data directory; empty when it can. `check_place` checks where it is."""
    # Anything else would need quoting in the systemd unit. The directory is moved aside as a whole, which is impossible
    # at the top level, where it is often a mount point.
    if not isinstance(path, str) or not re.fullmatch(r"(/[A-Za-z0-9_-][A-Za-z0-9._-]*){2,}", path):
        rule = "The data directory must be an absolute path of at least two levels, with letters, digits, dots, - and _"
        return [Problem(key, shown(path), rule, _REMEDY)]
    return []


def check_place(path: str, key: str) -> list[Problem]:
    """Why a new member cannot have its data in this directory; empty when it can."""
    remedy = f"{_REMEDY}, or like /data/etcd on a separate disk"
    for place, why in NO_DATA_BELOW.items():
        if f"{path}/".startswith(f"{place}/"):
            return [Problem(key, shown(path), f"The data directory must not be {place} or below it: {why}", remedy)]
        if place.startswith(f"{path}/"):
            rule = f"The data directory must contain only etcd's data, and {place} is below this one"
            return [Problem(key, shown(path), rule, remedy)]
    return []
