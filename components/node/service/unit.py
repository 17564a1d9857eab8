"""The systemd unit, and the permission to start without data.

It guards against two dangers. A member whose data are gone, started again under its old ID, has forgotten its votes and
confirmed writes; a few such members lose acknowledged writes of the cluster. The other danger is a unit that fails with
`--initial-cluster-state=new` and is tried again and again by systemd: once its stale entry is removed from the cluster,
the next try passes etcd's check and leaves an unusable data directory.

So etcd never starts with an empty data directory by itself. The flags for that are in no unit but in a file below /run,
put there for one start:
- With neither a log nor that file, the unit's condition fails: after a reboot, by hand, or with a lost disk.
- The file is removed as soon as the log exists, and by ExecStopPost when that process ends, however it ends: a second
  try, which systemd would make without asking the condition again, does not find it.
- What such a try does find is --initial-cluster-state=existing, which stays in the unit and has no meaning for a member
  that has a log: etcd then looks for a cluster to join, finds none named, and ends.
"""

from __future__ import annotations

import os

from ..shared import paths
from ..shared.spec import Spec

MARK = "# Written by etcd-node (external-etcd)"
"""First line of the unit; a unit without it is not this program's."""

BASE_FLAG = "--initial-cluster-state=existing"
"""Comes before the flags of a permission."""
_PROXIES = tuple(
    name for each in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY") for name in (each, each.lower())
)


def command(spec: Spec) -> list[str]:
    """The desired command line, without the flags that bootstrap or join a cluster."""
    program = str(paths.RELEASES / f"v{spec.release.version}" / "etcd")
    return [program, *(f"{flag}={value}" for flag, value in spec.flags.items())]


def permanent(words: list[str]) -> list[str]:
    """A process's command line without the flags that matter only for the first start."""
    return [word for word in words if not word.startswith("--initial-cluster")]


def bootstrap(initial_cluster: dict[str, str], *, token: str = "") -> str:
    """The content of the permission.

    Args:
        initial_cluster: name -> peer URL of every member, this one included.
        token: bootstraps a new cluster with this token; empty: joins the one that exists.
    """
    flags = [f"--initial-cluster={','.join(f'{name}={url}' for name, url in initial_cluster.items())}"]
    if token:
        flags += ["--initial-cluster-state=new", f"--initial-cluster-token={token}"]
    return f'# Permission for one start of etcd with an empty data directory.\nBOOTSTRAP_FLAGS="{" ".join(flags)}"\n'


TRUSTED = "TRUSTED_CA"
"""Variable of the process that says which CAs it trusts: etcd reads the file once, when it starts."""


def render(spec: Spec, trusted: str = "") -> str:
    """The unit's text.

    Args:
        trusted: digest of the CAs that etcd will find in their file.
    """
    words = command(spec)
    lines = " \\\n  ".join([words[0], *(_quote(word) for word in words[1:]), BASE_FLAG, "$BOOTSTRAP_FLAGS"])
    data = spec.data_directory
    return f"""{MARK}; changes here are overwritten. Yours go to {paths.UNIT}.d/*.conf.
[Unit]
Description=etcd, member {spec.member} of the cluster {spec.cluster}
Documentation=https://etcd.io/docs/
Wants=network-online.target
After=network-online.target time-sync.target
RequiresMountsFor={mounts(data)}
# Only with data, or with a permission that `etcd-node` gives for one start: a member without its data that starts
# again under its old ID has forgotten its votes and what it confirmed.
ConditionPathExists=|{data}/member/wal
ConditionPathExists=|{paths.BOOTSTRAP}
# A member that crashes (disk full, say) is tried again for ever: it comes back by itself when the cause is gone.
StartLimitIntervalSec=0

[Service]
# READY=1 comes when the member has joined the cluster. That may take as long as it takes: without a quorum there is
# nothing to join yet, and ending the process would not bring it nearer.
Type=notify
TimeoutStartSec=infinity
TimeoutStopSec=30
Restart=on-failure
RestartSec=5
Environment=BOOTSTRAP_FLAGS=
Environment={TRUSTED}={trusted}
EnvironmentFile=-{paths.BOOTSTRAP}
# Members reach each other directly. Etcd would take a proxy that is meant for all units of this machine.
UnsetEnvironment={" ".join(_PROXIES)}
ExecStart={lines}
ExecStopPost=-+/bin/rm -f {paths.BOOTSTRAP}
{limits(spec)}
[Install]
WantedBy=multi-user.target
"""


def limits(spec: Spec) -> str:
    """As whom etcd runs and what it can reach: the part of the unit that a rehearsal has in common with it."""
    return f"""\
User={paths.USER}
UMask=0077

# A heartbeat that comes late costs an election: etcd goes before others for CPU, disk and memory.
LimitNOFILE=65536
Nice=-10
IOSchedulingClass=best-effort
IOSchedulingPriority=0
MemoryLow=256M
MemorySwapMax=0
OOMScoreAdjust=-900

# It reads its certificates, writes its data and speaks TCP; nothing else.
ReadWritePaths={spec.data_directory}
ProtectSystem=strict
ProtectHome=yes
ProtectProc=invisible
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
PrivateDevices=yes
PrivateTmp=yes
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
DevicePolicy=closed
KeyringMode=private
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
# The metadata service of a cloud, where there is one: it has nothing for etcd, and secrets of others.
IPAddressDeny=169.254.169.254 fd00:ec2::254
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM
"""


def mounts(data: str) -> str:
    """Paths that must be mounted: systemd follows the directories above a path, but not links."""
    return " ".join(dict.fromkeys((data, _quote(os.path.realpath(data)))))


def _quote(word: str) -> str:
    """A word of ExecStart, with %, $, quotes and backslashes escaped."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if any(char in escaped for char in " \"'\\;") else escaped
