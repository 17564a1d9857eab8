"""Downgrade by one minor version, by etcd's own procedure.

The leader lowers the cluster version, and every member converts its data to that version. Only then can the older
program read them. When the last member runs the older program, etcd ends the downgrade by itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ..cluster.claim import Claim
from ..protocol import etcd, versions
from ..shared.errors import NodeError
from ..shared.say import phase, refuse_abandoned, say, until
from ..shared.spec import Spec

_SECONDS = 40.0
_IN_PROCESS = "downgrade job in progress"


def open_way(spec: Spec, running: str, addresses: Mapping[str, str]) -> None:
    """Makes sure that the older program can read all members' data; enables a downgrade if needed.

    Args:
        spec: the desired state, of a lower minor than the running one.
        running: the version that runs here.
        addresses: name -> address of all voters, which are healthy.

    Raises:
        NodeError: etcd refuses, or does not complete it; no member was restarted.
    """
    wanted = spec.release.version
    phase("ask the members for their versions")
    if versions.needs_permission(wanted, all_seen(spec, addresses)):
        _enable(spec, running)
    phase(f"wait until all members work as {versions.series(wanted)}")
    waiting = ""
    for _ in until(_SECONDS, every=0.5):
        seen = all_seen(spec, addresses)
        late = [name for name, each in seen.items() if not versions.may_run(wanted, each)]
        if not late:
            return
        waiting = "; ".join(f"{name}: cluster {seen[name].cluster}, data {seen[name].storage}" for name in late)
    raise NodeError(
        f"the downgrade of the cluster to {versions.series(wanted)} is enabled, but not all members are ready for it "
        f"after {_SECONDS:.0f} s "
        f"({waiting}); no member was restarted",
        f"Run again, or set the version back to {running}, which cancels the downgrade.",
    )


def _enable(spec: Spec, running: str) -> None:
    # The older etcdctl does not know the command.
    now = replace(spec, release=replace(spec.release, version=running))
    target = versions.series(spec.release.version)
    for words in (["downgrade", "validate", target], ["downgrade", "enable", target]):
        refuse_abandoned()
        phase(f"etcdctl {' '.join(words)}")
        code, _, said = etcd.etcdctl(now, [spec.address], words, check=False)
        if code != 0 and _IN_PROCESS in said.lower():
            return  # by an interrupted run
        if code != 0:
            raise NodeError(
                f"etcd refuses to go back to {target} ({said}); nothing was restarted",
                f"Set the version back to {running}.",
            )
    say(f"enabled the downgrade of the cluster to {target}")


def cancel_unwanted(spec: Spec, claim: Claim) -> None:
    """Cancels a downgrade in progress: the configuration names the later minor again.

    Raises:
        NodeError: it cannot be cancelled, or another operator is changing the cluster.
    """
    try:
        if not etcd.goes_back(spec, spec.address):
            return
    except (etcd.SilentError, etcd.AlienError):
        return  # then nothing is restarted either
    # Etcd 3.5 reports a downgrade, but not its target.
    for name, status in etcd.statuses(spec, spec.members).items():
        if status.downgrade_to and versions.minor(status.downgrade_to) < versions.minor(spec.release.version):
            claim.hold([spec.members[name]])
            phase("cancel the downgrade")
            etcd.etcdctl(spec, [spec.members[name]], ["downgrade", "cancel"])
            say(f"cancelled the downgrade to {versions.series(status.downgrade_to)} that was in progress")
            return


def all_seen(spec: Spec, addresses: Mapping[str, str]) -> dict[str, versions.Seen]:
    """The versions of the members, by name.

    Raises:
        NodeError: one does not answer.
    """
    found = {}
    for name, answer in etcd.each(lambda address: etcd.seen(spec, address), addresses).items():
        if not isinstance(answer, versions.Seen):
            raise NodeError(
                f"{name} does not say which version it works as ({answer}); nothing was restarted",
                "Bring it back, then run again.",
            )
        found[name] = answer
    return found
