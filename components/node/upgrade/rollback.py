"""A restart that fails is undone: this member returns to its previous settings.

Those settings are recorded before the process is stopped, so that the next run can undo the restart when this one is
interrupted in between. Only a start that never became ready is undone: a member that was ready may have confirmed
things to the others that the older program does not know.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator

from ..machine import pod_process
from ..protocol import etcd, versions
from ..service import manager, member, release, systemd, unit
from ..shared import files, paths, spec
from ..shared.errors import NodeError
from ..shared.say import phase, say
from ..shared.spec import Spec

_READY_SECONDS = 60.0


def remember(wanted: Spec, pid: int) -> None:
    """Records the settings of the running, ready process."""
    words = unit.permanent(systemd.command_of(pid))
    before = spec.of_command(wanted, words, systemd.variable_of(pid, pod_process.IMAGE))
    if before is not None and unit.command(before) == words:
        files.write(paths.BEFORE, json.dumps(before.raw, indent=2) + "\n", 0o600)


def forget() -> None:
    """The member has its desired state, so the record is removed."""
    files.remove(paths.BEFORE)


@contextlib.contextmanager
def undone(wanted: Spec) -> Iterator[None]:
    """Context for a start with the desired settings: if it fails, the member returns to its previous settings.

    Raises:
        NodeError: the start failed; says why, and what runs now.
    """
    try:
        yield
    except member.OldDataError:
        raise  # no other program or setting would help
    except member.StartError as error:
        before = _before(wanted)
        if before is None:
            raise
        raise _put_back(wanted, before, error) from None


def _before(wanted: Spec) -> Spec | None:
    raw = files.read_json(paths.BEFORE)
    if raw is None:
        return None
    before = spec.parse(json.dumps(raw))
    same = (unit.command(before), before.image) == (unit.command(wanted), wanted.image)
    there = (release.directory(before.release.version) / "etcd").exists()
    return before if there and not same and before.member == wanted.member else None


def _put_back(wanted: Spec, before: Spec, error: NodeError) -> NodeError:
    changed = wanted.release.version != before.release.version
    new = f"etcd {wanted.release.version}" if changed else "etcd with the new settings"
    old = f"etcd {before.release.version}" if changed else "its previous settings"
    if not _can_read(before):
        return NodeError(
            f"{new} did not start ({error.cause.strip()}), and the cluster works as a later version than {old} already",
            f"{error.remedy} Going back is not possible.",
        )
    phase(f"put back {old}")
    say(f"{new} does not start: returns to {old}")
    if changed:
        # A damaged archive is one possible cause, so the next run checks it again.
        release.distrust(wanted.release.version)
    try:
        manager.stop()
        member.install_unit(before)
        manager.start()
        member.wait_ready(before, _READY_SECONDS)
    except NodeError as second:
        return NodeError(
            f"{new} did not start ({error.cause.strip()}), and neither does {old} again ({second.cause.strip()})",
            second.remedy,
        )
    return NodeError(
        f"{new} did not start, and this member runs with {old} again; the cause:\n{error.cause.strip()}\n",
        "Remove the cause, then run again; members before this one keep the change, and members after it were not "
        "touched.",
    )


def _can_read(before: Spec) -> bool:
    """Whether the cluster version is still one that the older program supports, as the other members report."""
    if not before.others:
        return True
    seen = etcd.each(lambda address: etcd.seen(before, address), before.others).values()
    known = [each for each in seen if isinstance(each, versions.Seen)]
    return bool(known) and all(versions.minor(each.cluster) <= versions.minor(before.release.version) for each in known)
