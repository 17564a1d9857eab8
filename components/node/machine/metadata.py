"""A cloud's metadata service is for root alone: the machine's user data are there, and in them its ssh host key.

An attacker with that key and a place in the network can pose as the machine to the next `pulumi up`, which sends it
keys. Only root needs the service: cloud-init at every boot, the agents of the cloud.

It is a rule of routing and not of the packet filter: loading, flushing or stopping nftables does not open it, and it
needs no nft. A restart of systemd-networkd takes all rules away but those of the kernel, hence the protocol.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..shared import files, paths
from ..shared.run import run
from ..shared.say import phase, say

_PREFERENCE = 1
"""Before every rule but the one for the machine's own addresses."""
_NOT_ROOT = "1-4294967294"


def unit_text(addresses: Sequence[str]) -> str:
    """The unit that closes these addresses to all but root, now and at every boot."""
    lines = []
    for address in addresses:
        ip = "/sbin/ip -6" if ":" in address else "/sbin/ip -4"
        rule = f"to {address} uidrange {_NOT_ROOT} prohibit protocol kernel pref {_PREFERENCE}"
        # A machine may be without IPv6.
        may_fail = "-" if ":" in address else ""
        lines += [f"ExecStart=-{ip} rule del {rule}", f"ExecStart={may_fail}{ip} rule add {rule}"]
        lines += [f"ExecStop=-{ip} rule del {rule}"]
    return f"""\
# Written by external-etcd; changes here are overwritten.
[Unit]
Description=The metadata service of the cloud is for root alone
Documentation=man:ip-rule(8)
DefaultDependencies=no
After=local-fs.target
Before=network-pre.target {paths.UNIT} shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
{chr(10).join(lines)}

[Install]
WantedBy=sysinit.target
"""


def close(addresses: Sequence[str]) -> None:
    """Closes these addresses to all but root, now and at every boot; changes nothing if they are closed.

    Raises:
        NodeError: the rules cannot be loaded.
    """
    phase("close the metadata service")
    new = files.write(paths.METADATA_UNIT_FILE, unit_text(addresses))
    files.directory(paths.METADATA_WANTED.parent)
    files.symlink(paths.METADATA_WANTED, paths.METADATA_UNIT_FILE)
    if new:
        run(["systemctl", "daemon-reload"], 60)
    if new or not closed():
        run(["systemctl", "restart", paths.METADATA_UNIT], 60)
        say(f"closed to all but root: {', '.join(addresses)}")


def closed() -> bool:
    """Whether only root reaches them."""
    shown = run(["ip", "-4", "rule", "show", "pref", str(_PREFERENCE)], 20, check=False)
    return f"uidrange {_NOT_ROOT}" in shown.stdout


def remove() -> None:
    """Opens them again."""
    if not paths.METADATA_UNIT_FILE.exists():
        return
    run(["systemctl", "stop", paths.METADATA_UNIT], 60, check=False)
    files.remove(paths.METADATA_WANTED)
    files.remove(paths.METADATA_UNIT_FILE)
    run(["systemctl", "daemon-reload"], 60)
