"""Which versions of etcd can run together, or follow each other: pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..shared.errors import NodeError

# From which patch of the minor before it etcd allows each minor (etcd.io/docs, upgrade guides). These are also the
# minors from which etcd can be downgraded.
_UPGRADE_FROM = {(3, 6): 32, (3, 7): 11}


@dataclass(frozen=True)
class Seen:
    """A member's versions."""

    server: str
    """Version of its program."""
    cluster: str
    """The cluster version: the lowest minor of all members, or the target of a downgrade."""
    storage: str = ""
    """The storage version of its data; empty: not reported (3.5), or not decided yet."""


def minor(version: str) -> tuple[int, int]:
    """Major and minor of a version."""
    return _parts(version)[:2]


def series(version: str) -> str:
    """`X.Y`, as etcd writes the target of a downgrade."""
    return "{}.{}".format(*minor(version))


def _parts(version: str) -> tuple[int, int, int]:
    major, minor, patch = (
        int("".join(char for char in part if char.isdigit()) or 0)
        for part in version.split("-", maxsplit=1)[0].split(".")[:3]
    )
    return major, minor, patch


def refuse_version(wanted: str, running: Mapping[str, str]) -> None:
    """Refuses a version that etcd's rules do not allow together with, or after, the running ones.

    Args:
        running: name -> version of the members that run, this one included.

    Raises:
        NodeError: a minor is skipped, or a member is too old for the next minor; nothing was changed.
    """
    new = _parts(wanted)
    for name, version in running.items():
        old = _parts(version)
        if new[:2] == old[:2]:
            continue
        if new[:2] < old[:2]:
            _refuse_way_back(name, version, wanted)
            continue
        if new[0] != old[0] or new[1] > old[1] + 1:
            raise NodeError(
                f"{name} runs etcd {version}, and {wanted} would skip a minor version; nothing was changed",
                f"Set the version to the newest {old[0]}.{old[1] + 1} first, then to {wanted}.",
            )
        floor = _UPGRADE_FROM.get(new[:2], 0)
        if old[2] < floor:
            raise NodeError(
                f"{name} runs etcd {version}, and every member must have at least {old[0]}.{old[1]}.{floor} "
                f"before {wanted}; nothing was changed",
                f"Set the version to the newest {old[0]}.{old[1]} first, then to {wanted}.",
            )


def _refuse_way_back(name: str, version: str, wanted: str) -> None:
    """Refuses a downgrade that etcd cannot do, or after which no upgrade would be possible."""
    new, old = _parts(wanted), _parts(version)
    if old[:2] not in _UPGRADE_FROM or new[:2] != (old[0], old[1] - 1):
        below = f"{old[0]}.{old[1] - 1}"
        known = old[:2] in _UPGRADE_FROM
        raise NodeError(
            f"{name} runs etcd {version}, which cannot be downgraded to {wanted}: "
            + (f"it goes back to {below} and no further" if known else "it cannot go back")
            + "; nothing was changed",
            f"Set the version to the newest {below} first."
            if known
            else f"Set the version to {version} or a later patch of {old[0]}.{old[1]}.",
        )
    floor = _UPGRADE_FROM[old[:2]]
    if new[2] < floor:
        raise NodeError(
            f"{name} runs etcd {version}, and from {wanted} it could not be upgraded again: that needs at least "
            f"{new[0]}.{new[1]}.{floor}; nothing was changed",
            f"Set the version to {new[0]}.{new[1]}.{floor} or a later patch.",
        )


def refuse_joining_version(member: str, wanted: str, running: Mapping[str, str]) -> None:
    """Refuses to join with a minor version that no member runs: membership and version are never changed together.

    Args:
        wanted: the version that it would run.
        running: name -> version of the other members that run.

    Raises:
        NodeError: no member runs that minor; nothing was changed.
    """
    if running and all(minor(version) != minor(wanted) for version in running.values()):
        now = next(iter(running.values()))
        raise NodeError(
            f"{member} must join, but the others run etcd {now}, not {wanted}: members are not changed together with "
            "the minor version; nothing was changed",
            f"Set the version to {now}, run `pulumi up`, then set it to {wanted}.",
        )


def refuse_mixed(doing: str, running: Mapping[str, str]) -> None:
    """Refuses to make the cluster larger or smaller while its members run different minor versions.

    A slot that has lost its data is an exception. Until it is back no other member may stop, so the version change
    could neither continue nor be reverted.

    Args:
        doing: which change of members, for the message.

    Raises:
        NodeError: they do; nothing was changed.
    """
    if len({minor(version) for version in running.values()}) > 1:
        now = ", ".join(f"{name} {version}" for name, version in running.items())
        raise NodeError(
            f"{doing}, and the members run different minor versions ({now}): members are not changed in the middle of "
            "a change of version; nothing was changed",
            "Restore the list of members, and finish the change of version with `pulumi up`, or revert it by "
            "restoring the version. Then change the list.",
        )


def needs_permission(wanted: str, seen: Mapping[str, Seen]) -> bool:
    """Whether a downgrade must be enabled before a member can run the desired version.

    It must not if the cluster version is still that of the desired version. An incomplete upgrade is reverted by the
    older program alone, and a downgrade in progress is enabled already.

    Args:
        seen: name -> versions of the member; all members.

    Raises:
        NodeError: the members disagree; nothing was changed.
    """
    clusters = {minor(each.cluster) for each in seen.values()}
    if len(clusters) != 1:
        said = ", ".join(f"{name}: {each.cluster}" for name, each in seen.items())
        raise NodeError(
            f"the members disagree on the version of the cluster ({said}); nothing was restarted", "Run again."
        )
    return clusters.pop() > minor(wanted)


def may_run(wanted: str, seen: Seen) -> bool:
    """Whether the desired program can read this member's data: neither cluster nor data are of a later minor."""
    return minor(seen.cluster) <= minor(wanted) and (not seen.storage or minor(seen.storage) <= minor(wanted))


def may_follow(wanted: str, seen: Seen) -> bool:
    """Whether the cluster version has reached the minor before the desired one.

    Etcd takes some seconds for that after the last member runs it; until then a further upgrade would skip a minor.
    """
    major, last = minor(wanted)
    return minor(seen.cluster) >= (major, last - 1)
