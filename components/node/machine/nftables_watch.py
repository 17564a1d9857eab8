"""Reloads the rules when someone has removed them: `nft flush ruleset`, a restart of nftables.service.

The kernel reports changes of tables, so the ports are open only for a fraction of a second. Etcd is not affected.
"""

from __future__ import annotations

import contextlib
import socket
import time

from ..shared import paths
from ..shared.run import run
from ..shared.say import say
from .nftables import TABLE

# linux/netlink.h, linux/netfilter/nfnetlink.h: not among the names of Python's socket module everywhere.
_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES = 12, 270, 1, 7
_LOOK_SECONDS = 30.0
"""Interval of checks without an event: the kernel drops events that it cannot deliver."""
_TOGETHER_SECONDS = 0.1
"""Changes of others come in bursts."""


def watch() -> None:
    """Watches until it is ended; ends by itself when there are no rules to keep."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as events:
        events.bind((0, 0))
        events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
        # From here on nothing is missed: the first check finds earlier changes.
        loaded = ""
        while paths.FIREWALL.exists():
            loaded = restored(loaded)
            _wait(events)


def restored(loaded: str) -> str:
    """Loads the rules if they differ from what was loaded; returns the rules now in the kernel.

    Args:
        loaded: what this has returned before; empty: nothing yet.
    """
    now = _listing()
    if now and now == loaded:
        return now
    while True:
        text = paths.FIREWALL.read_bytes()
        done = run(["nft", "-f", str(paths.FIREWALL)], 20, check=False)
        # Another run may have written and loaded others meanwhile.
        if paths.FIREWALL.read_bytes() == text:
            break
    after = _listing()
    if done.returncode != 0:
        say(f"the rules of {paths.FIREWALL} cannot be loaded: {done.stderr.strip()[-200:]}")
    elif not now:
        say("the rules were missing and have been loaded again")
    return after


def _listing() -> str:
    done = run(["nft", "list", "table", "inet", TABLE], 20, check=False)
    return done.stdout if done.returncode == 0 else ""


def _wait(events: socket.socket) -> None:
    """Waits for a change; several changes in a short time count as one."""
    events.settimeout(_LOOK_SECONDS)
    # If this process was too slow, the kernel reports an error; then check anyway.
    with contextlib.suppress(OSError):
        events.recv(1 << 16)
        time.sleep(_TOGETHER_SECONDS)
        events.setblocking(False)
        while events.recv(1 << 16):
            pass
