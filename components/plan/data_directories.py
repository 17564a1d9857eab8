"""Directories of data: what is refused for a member that is new there is a warning for one that is there already."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from .errors import Problem, shown

# Directory -> why etcd's data cannot be in it.
_OWN = "`pulumi destroy` removes what this program created there"
_HIDDEN = "etcd's unit hides it from etcd"
_EMPTIED = "every boot empties it"
_SYSTEM = "it belongs to the operating system"
_NO_DATA_BELOW = {
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
    for place, why in _NO_DATA_BELOW.items():
        if f"{path}/".startswith(f"{place}/"):
            return [Problem(key, shown(path), f"The data directory must not be {place} or below it: {why}", remedy)]
        if place.startswith(f"{path}/"):
            rule = f"The data directory must contain only etcd's data, and {place} is below this one"
            return [Problem(key, shown(path), rule, remedy)]
    return []


def check_data_directories(
    directories: Mapping[str, str], before: Mapping[str, str], key: Callable[[int, str], str], hint: str = ""
) -> tuple[list[Problem], list[str]]:
    """Checks where members have their data.

    Earlier versions accepted places that are refused now. A cluster that uses one must remain manageable.

    Args:
        directories: member -> desired data directory.
        before: member -> data directory in the last update, from `directories_before`; empty before the first.
        key: index of the member and data directory -> the user's key of the directory.
        hint: what else to do if nothing was recorded, as another sentence of the remedy.

    Returns:
        Problems, and warnings in complete sentences.
    """
    problems: dict[str, Problem] = {}
    warnings = []
    for index, (member, directory) in enumerate(directories.items()):
        for problem in check_place(directory, key(index, directory)):
            if before.get(member) == directory:
                warnings.append(
                    f"The data of {member} are in {directory}, which new members cannot use. {problem.rule}. "
                    f"Replace {member} by a member with another name and another data directory."
                )
            else:
                remedy = f"{problem.remedy}. {hint}" if hint and not before else problem.remedy
                problems.setdefault(problem.key, replace(problem, remedy=remedy))
    return list(problems.values()), warnings
