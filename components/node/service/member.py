"""Starting, watching and stopping this machine's etcd: what bootstrap and converge share."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..machine import account
from ..protocol import etcd, wal
from ..shared import files, paths
from ..shared.errors import NodeError
from ..shared.say import until
from ..shared.spec import KUBELET, Spec
from . import certificates, image, kubelet, manager, release, static_pod, systemd, unit

QUOTA = "--quota-backend-bytes"
_KUBELET_SECONDS = 20.0
"""So much longer takes a first start under a kubelet that has just been started itself."""
_CRASHES = 2
"""Number of process exits within one wait that count as a failed start."""


class StartError(NodeError):
    """Etcd ended instead of starting, and is stopped."""


class OldDataError(StartError):
    """Etcd ended because its data are older than what it has confirmed to the others; it is stopped."""


# The leader tells a member up to where the cluster has committed of what this member has confirmed. When that is beyond
# the end of its log, raft ends it. (A leader that was elected since does not know, and fills it up.)
_OLD_DATA = re.compile(r"tocommit\((\d+)\) is out of range \[lastIndex\((\d+)\)\]")


def install_unit(spec: Spec, now: systemd.Service | None = None) -> None:
    """Writes unit or pod, links and the record of the desired state; starts nothing.

    It stops nothing either, unless the other service manager runs etcd here: one member never has two.

    The record keeps members that were removed from the list. Until `settle` they may still have to leave the cluster,
    and nothing else records that they belong to this program.

    Args:
        now: the unit as it was just seen. Default: it is looked at.
    """
    if manager.name() != spec.service_manager:
        before = manager.show().pid
        if before:
            manager.begin_stop()
            manager.wait_gone(before)
        manager.stop()
        manager.uninstall()
    if spec.service_manager == KUBELET:
        text = static_pod.render(spec, image.name(spec.image), account.get(), certificates.trusted())
        kubelet.install(text, spec.data_directory)
    else:
        systemd.install(unit.render(spec, certificates.trusted()), now)
    release.link(spec.release.version)
    before = (files.read_json(paths.INSTALLED) or {}).get("members", {})
    _record({**spec.raw, "members": {**before, **spec.members}})


def settle(spec: Spec) -> None:
    """Reduces the record to the desired state: no member has to leave the cluster."""
    _record(spec.raw)


def _record(raw: Mapping[str, Any]) -> None:
    files.write(paths.INSTALLED, json.dumps(raw, indent=2) + "\n", 0o600)


def version() -> str:
    """The version of etcd that runs here, or ran last; empty if none ever did."""
    return version_and_quota()[0]


def quota() -> int:
    """The quota with which etcd runs here, or ran last, in bytes; 0 if none ever did."""
    return version_and_quota()[1]


def version_and_quota() -> tuple[str, int]:
    """Both, with one look."""
    live = systemd.command_of(manager.show().pid)
    installed = files.read_json(paths.INSTALLED) or {"release": {"version": ""}, "flags": {}}
    found = Path(live[0]).parent.name[1:] if live else str(installed["release"]["version"])
    flags = dict(word.partition("=")[::2] for word in live) or installed.get("flags", {})
    return found, int(flags.get(QUOTA) or 0)


def permit(text: str) -> None:
    """Gives the permission for one start with an empty data directory."""
    files.directory(paths.RUN, 0o700)
    files.write(paths.BOOTSTRAP, text, 0o600)


def begin_with(flag: str) -> None:
    """Starts etcd, which has data and is stopped, with one more flag for this one start; it is not waited for."""
    permit(f'# For one start of etcd.\nBOOTSTRAP_FLAGS="{flag}"\n')
    manager.start()


def forbid() -> None:
    """Withdraws the permission."""
    kubelet.forbid()
    files.remove(paths.BOOTSTRAP)
    files.remove_empty([paths.RUN])


def make_data_directory(spec: Spec) -> None:
    """The data directory, empty or not, with its owner and mode."""
    user = account.get()
    files.directory(Path(spec.data_directory), 0o700, user.uid, user.gid)


def begin(spec: Spec, permission: str, seconds: float = 20) -> None:
    """Starts etcd with an empty data directory and waits until it has a log; not for a quorum.

    Args:
        permission: what `unit.bootstrap` made.

    Raises:
        NodeError: the process exited, or created no log in time. It is stopped and not restarted.
    """
    if spec.service_manager == KUBELET:
        seconds += _KUBELET_SECONDS
    make_data_directory(spec)
    permit(permission)
    try:
        install_unit(spec)
        manager.start()
        _wait_for_log(spec, seconds)
    except BaseException:
        # Also after a timeout: a process without a log must not run unobserved.
        forbid()
        if not wal.exists(spec.data_directory):
            manager.stop()
        raise
    forbid()


def _wait_for_log(spec: Spec, seconds: float) -> None:
    pid = 0
    for _ in until(seconds, every=0.05):
        if not systemd.alive(pid):
            now = manager.show()
            if now.restarts > 0 or now.active == "failed" or (pid and now.pid != pid):
                raise _ended()
            pid = now.pid
        if pid and wal.exists(spec.data_directory):
            return
    raise NodeError(
        f"etcd has created no log in {spec.data_directory} within {seconds:.0f} s:\n{manager.journal()}",
        "See `journalctl -u etcd` on the machine.",
    )


def refuse_looping(restarts: int) -> None:
    """Stops a process that ends again and again.

    Args:
        restarts: how often systemd had restarted it when it was looked at first.

    Raises:
        StartError: it does; it is stopped.
    """
    if manager.show().restarts - restarts >= _CRASHES:
        manager.stop()
        raise _ended()


def _ended() -> StartError:
    said = manager.journal()
    old = _OLD_DATA.search("\n".join(said.splitlines()[-2:]))
    if old is not None:
        return OldDataError(
            f"its data are older than what it has confirmed to the other members: they count on its log up to entry "
            f"{old[1]}, and it ends at {old[2]}, as after a snapshot of the machine or of its disk was restored; etcd "
            "is stopped, and the data are untouched",
            "A member that has lost confirmed entries must not vote. Give its machine another `identity` in the "
            "configuration, and run again: its data are moved aside, and it joins with a copy of the others' data "
            '(docs/operations.md, "A lost machine or disk").',
        )
    return StartError(
        f"etcd ended instead of starting; its last messages:\n{said}\n",
        "Remove the cause, then run again; it is stopped now.",
    )


def wait_ready(spec: Spec, seconds: float, *, certificate: str = "", learner: bool = False) -> None:
    """Waits until this member is ready: it has a leader, and reads through the quorum.

    Args:
        certificate: fingerprint of the server certificate that it must present.
        learner: it does not vote yet, and is ready as soon as it answers, which it does once the leader knows it.

    Raises:
        StartError: its process ends again and again.
        NodeError: it is not ready in time.
    """
    said, served = "", ""
    first = None
    look = 0.0
    for left in until(seconds, every=0.05):
        try:
            answer = etcd.ready(spec, spec.address, timeout=6, learner=learner)
            said, served = answer.said, answer.certificate
            if answer.ok and certificate in ("", served):
                return
        except (etcd.SilentError, etcd.AlienError) as error:
            said = str(error)
        if seconds - left >= look:
            look = seconds - left + 0.5
            now = manager.show()
            first = first or now
            if now.restarts - first.restarts >= _CRASHES or (now.active == "failed" and not now.has_job):
                manager.stop()
                raise _ended()
            # With a job it is changing: during a restart whose old process was killed, the unit is briefly failed.
            if now.active == "inactive" and not now.has_job:
                raise _ended()
    if certificate and served not in ("", certificate):
        raise NodeError(
            f"etcd presents the server certificate {served[:16]}..., not {certificate[:16]}... "
            f"which was written to {paths.PKI}",
            "See `journalctl -u etcd` on the machine.",
        )
    others = etcd.troubles(spec, spec.others, timeout=2)
    report = "".join(f"; {name}: {trouble or 'ready'}" for name, trouble in others.items())
    raise NodeError(
        f"not ready after {seconds:.0f} s ({said or 'no answer'}{report})",
        "A member is ready only when a majority of members runs and can connect to each other: bring the others back, "
        "then run again. "
        "See `journalctl -u etcd`. If a majority is lost for good, restore from a snapshot or from a survivor's data "
        'as docs/operations.md says ("A majority was lost").',
    )
