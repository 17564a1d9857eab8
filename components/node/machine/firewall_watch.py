"""Loads the rules again when somebody has taken them away: `nft flush ruleset`, a restart of nftables.service.

The kernel says when tables change, so the ports are open for a fraction of a second, and etcd is not concerned.
"""

from __future__ import annotations

import contextlib
import socket
import time

from ..shared import paths
from ..shared.run import run
from ..shared.say import say
from .firewall import TABLE

# linux/netlink.h, linux/netfilter/nfnetlink.h: not among the names of Python's socket module everywhere.
_NETLINK_NETFILTER, _SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES = 12, 270, 1, 7
_LOOK_SECONDS = 30.0
"""So often it looks without being told: the kernel drops what it could not deliver."""
_TOGETHER_SECONDS = 0.1
"""Changes of others come in bursts."""


def watch() -> None:
    """Watches until it is ended; ends by itself when there are no rules to keep."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_NETFILTER) as events:
        events.bind((0, 0))
        events.setsockopt(_SOL_NETLINK, _ADD_MEMBERSHIP, _GROUP_NFTABLES)
        # From here on nothing is missed: what happens before the first look is found by it.
        loaded = ""
        while paths.FIREWALL.exists():
            loaded = restored(loaded)
            _wait(events)


def restored(loaded: str) -> str:
    """Loads the rules unless they are there as they were loaded; returns how they are there now.

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
    """Until something changes; what comes within a moment is one change."""
    events.settimeout(_LOOK_SECONDS)
    # Too slow for the kernel is an error too, and then there is reason enough to look.
    with contextlib.suppress(OSError):
        events.recv(1 << 16)
        time.sleep(_TOGETHER_SECONDS)
        events.setblocking(False)
        while events.recv(1 << 16):
            pass
