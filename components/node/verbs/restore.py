"""restore: stops the member, moves its data aside, and puts the restored ones in their place. start: starts etcd."""

from __future__ import annotations

import contextlib
from dataclasses import replace

from ..cluster import rotation
from ..data import identity, restored
from ..machine import network
from ..protocol import etcd, wal
from ..service import certificates, manager, member
from ..shared.errors import NodeError
from ..shared.say import phase, refuse_abandoned, say, until
from ..shared.spec import Bundle, Restore, Spec, Stages

_ANSWER_SECONDS = 30.0


def restore(spec: Spec, bundle: Bundle) -> None:
    """Puts the staged data in place, unless that is done; then it does nothing, even if the member runs.

    Raises:
        NodeError: a majority of the members is merely away, or they have different snapshots; nothing was changed.
    """
    wanted, stages = spec.restore, bundle.restore
    assert wanted is not None and stages is not None  # noqa: S101  the program passes both
    known = identity.load()
    identity.refuse_another(known, spec)
    given = certificates.authority(bundle)
    identity.refuse_other_authority(known, given)
    if known is None:
        raise NodeError("this machine was not prepared", "Run `pulumi up`: prepare comes first.")
    ours = identity.of_member(known, given, bundle.operator)
    if restored.of(spec) == wanted.token:
        say("the restored data are in place")
    else:
        _refuse_away(spec, wanted, stages)
        _refuse_different(stages)
        refuse_abandoned()
        member.forbid()
        phase("stop etcd")
        _stop()
        # From here on, data in the directory are this member's.
        identity.save(ours)
        restored.put_in_place(spec, wanted)
        say("the restored data are in place, and etcd is stopped")
    restored.record(replace(wanted, sha256=restored.mark(spec, wanted).sha256 or wanted.sha256))
    identity.record(ours)


def start(spec: Spec, bundle: Bundle) -> None:
    """Starts etcd with the restored data, and waits for its answers; not for a quorum."""
    known = identity.load()
    identity.refuse_another(known, spec)
    identity.refuse_other_authority(known, certificates.authority(bundle))
    if not wal.exists(spec.data_directory):
        raise NodeError("the restored data are gone", "Run again.")
    member.forbid()
    if manager.show().runs:
        # Its certificates are for converge to write, which makes sure that no other operator is changing the cluster.
        say("runs with the restored data")
        return
    rotation.refuse_too_early(spec, bundle)
    certificates.install(bundle)
    member.install_unit(spec)
    manager.start()
    phase("wait until it answers its peers")
    # As far as it does so soon: the next one asks it when it starts.
    for _ in until(_ANSWER_SECONDS):
        with contextlib.suppress(etcd.SilentError, etcd.AlienError):
            etcd.peer_view(spec, spec.address, timeout=1.0, connect=1.0)
            break
    say("started with the restored data")


def _stop() -> None:
    now = manager.show()
    if now.runs:
        manager.begin_stop()
        manager.wait_gone(now.pid)
    if now.runs or now.active in ("activating", "deactivating"):
        manager.stop()
    # A prepared machine answers on etcd's ports.
    network.end()


def _refuse_different(stages: Stages) -> None:
    """Refuses to start members with different data: in a store, a file can be replaced under its name.

    Raises:
        NodeError: they have staged different snapshots.
    """
    # Earlier versions of this program did not record it.
    sums = {name: str(each["sha256"]) for name, each in stages.found.items() if each.get("sha256")}
    if len({*sums.values()}) > 1:
        told = ", ".join(f"{name} {each[:12]}..." for name, each in sums.items())
        raise NodeError(
            f"the members have read different snapshots under one name (SHA-256: {told}); nothing was changed here",
            "The file was replaced meanwhile. Raise the number of the restore, so that all members begin anew.",
        )


def _refuse_away(spec: Spec, wanted: Restore, stages: Stages) -> None:
    """Refuses a restore while a majority has its data and only does not answer.

    Raises:
        NodeError: it has, and the configuration does not accept that.
    """
    found = stages.found
    if any(each.get("begun") or each.get("quorum") for each in found.values()) or "majority-away" in wanted.accept:
        return
    there = [name for name, each in found.items() if each.get("data")]
    if len(there) > len(spec.members) // 2:
        raise NodeError(
            f"a majority of the members is merely away: {', '.join(there)} have their data, and no quorum answers; "
            "nothing was changed",
            "Bring them back first (`systemctl start etcd`, `journalctl -u etcd`, the network between them): then "
            "nothing is lost. To give up what they have written since the snapshot, set `accept: [majority-away]` in "
            "`restore`.",
        )
