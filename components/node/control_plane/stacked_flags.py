"""The flags of a stacked member that the external members must match, from its manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..shared.errors import NodeError

# With etcd's defaults.
_TIMERS = {"--heartbeat-interval": 100, "--election-timeout": 1000}
_LIMITS = {"--max-request-bytes": 1572864, "--max-txn-ops": 128}


def refuse_differing(manifest: str, flags: Mapping[str, str]) -> None:
    """Refuses members with other timers than the stacked one, or lower limits for requests.

    Members with other timers elect leaders when they need not. With lower limits, API servers could not store any more
    what they have stored before.

    Args:
        manifest: that of the stacked member.
        flags: of the external members, name with dashes -> value.

    Raises:
        NodeError: they differ; nothing was changed.
    """
    for name, default in {**_TIMERS, **_LIMITS}.items():
        found = re.search(rf"^ *- [\"']?{name}=(\d{{1,12}})[\"']?[ \t\r]*$", manifest, re.MULTILINE)
        theirs, ours = int(found[1]) if found else default, int(flags.get(name, default))
        if (name in _TIMERS and theirs != ours) or theirs > ours:
            rule = "must have the same" if name in _TIMERS else "must allow as much"
            raise NodeError(
                f"its etcd runs with {name}={theirs}, and the members of this stack with {ours}: they {rule}; nothing "
                "was changed",
                f"Set {_spelled(name)} to {theirs} for the members.",
            )


def _spelled(flag: str) -> str:
    own = {"--heartbeat-interval": "`heartbeatIntervalMs`", "--election-timeout": "`electionTimeoutMs`"}
    return own.get(flag, f"`flags.{flag[2:]}`")
