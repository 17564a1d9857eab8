"""Snapshots and killed runs for tests of restores."""

import base64
import contextlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from lab import Machine

from .etcd import etcdctl
from .machines import busy
from .stacks import Stack

BUMP = 1_000_000_000
"""How much a restore raises the revision, times its number."""


def save_snapshot(machine: Machine, path: Path) -> None:
    """A snapshot of the cluster, from its member on this machine, as a file on this computer."""
    etcdctl(machine, "snapshot", "save", "/root/snapshot.db")
    path.write_bytes(base64.b64decode(machine.run("base64 /root/snapshot.db", root=True).stdout))


def revision(machine: Machine) -> int:
    """The present revision, from the member on this machine."""
    return int(json.loads(etcdctl(machine, "get", "kept", "--write-out=json"))["header"]["revision"])


_STAGES = "test -d /var/lib/etcd.etcd-restored"
_STAGED = "test -f /var/lib/etcd.etcd-restored/member/.restored"
_RESTORED = "grep -q '\"number\": {},' /var/lib/etcd-node/restored.json"
_MIDDLE = "in the middle of restores"
# Moment -> a shell test, and whether all machines must pass it, or only the first one.
_TESTS = {
    "while data are staged": (_STAGES, False),
    "between stage and restore": (f"{_STAGED} || {_RESTORED}", True),
    _MIDDLE: (_RESTORED, False),
    "between restore and start": (_RESTORED, True),
    "while the members start": (f"{_RESTORED} && systemctl is-active etcd", False),
}
MOMENTS = list(_TESTS)
"""Moments at which a restore can be killed, in their order."""


def killed(stack: Stack, machines: Sequence[Machine], moment: str) -> None:
    """Start `pulumi up` and kill it at one of MOMENTS. In the middle, the last machine is kept from its restore.

    Raises AssertionError if the run ends before.
    """
    test, everywhere = _TESTS[moment]
    number = stack.config["restore"]["number"]

    def reached(check: str, asked: Sequence[Machine]) -> Callable[[], bool]:
        line = check.format(number)
        return lambda: all(not each.run(line, check=False, root=True).returncode for each in asked)

    running = stack.begin_up()
    try:
        with contextlib.ExitStack() as held:
            if moment == _MIDDLE:
                staged = re.compile(rf"{machines[-1].name}-stage (cre|upd)ated")
                running.until(lambda: staged.search(running.text) is not None)
                held.enter_context(busy(machines[-1]))
            running.until(reached(test, machines if everywhere else machines[:1]))
            running.kill()
    finally:
        running.kill()
