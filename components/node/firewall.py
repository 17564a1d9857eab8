"""The machine's own firewall: an nftables table that is there before etcd listens, and after every reboot.

Private networks of clouds are open between all of their machines (Hetzner's firewalls look at public traffic only), so
the machine itself drops what nobody has business to send. It judges its few ports alone, and every packet by itself:
what is taken from the list is cut off at once, open connections included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from . import files, paths
from .run import run
from .say import phase, say

TABLE = "external_etcd"

_UNIT = f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Who may reach the ports of etcd and ssh
Documentation=man:nft(8)
DefaultDependencies=no
# A rule set of the distribution's own begins with a flush.
After=local-fs.target nftables.service
PartOf=nftables.service
ReloadPropagatedFrom=nftables.service
Before=network-pre.target {paths.UNIT} shutdown.target
Wants=network-pre.target
Conflicts=shutdown.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/sbin/nft -f {paths.FIREWALL}
ExecReload=/usr/sbin/nft -f {paths.FIREWALL}

[Install]
WantedBy=sysinit.target
"""
_DROP_IN = f"""\
# Written by etcd-node (external-etcd): etcd does not listen without the rules of who may reach it.
[Unit]
Requires={paths.FIREWALL_UNIT}
After={paths.FIREWALL_UNIT}
"""


def render(rules: Mapping[str, Sequence[str]]) -> str:
    """The table as nft reads it; loading it replaces the one before it in one step.

    Args:
        rules: port -> ranges that may reach it.
    """
    lines = []
    for port, sources in rules.items():
        for family, ranges in (("ip", _of(sources, 4)), ("ip6", _of(sources, 6))):
            if ranges:
                lines.append(f"    {family} saddr {{ {', '.join(ranges)} }} tcp dport {port} accept")
    body = "\n".join(lines)
    return f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  chain input {{
    type filter hook input priority -5; policy accept;
    iif lo accept
{body}
    tcp dport {{ {", ".join(rules)} }} drop
  }}
}}
"""


def _of(sources: Sequence[str], version: int) -> list[str]:
    return [source for source in sources if (":" in source) == (version == 6)]


def install(rules: Mapping[str, Sequence[str]]) -> None:
    """Loads the rules now and at every boot, before etcd; tells what changed.

    Raises:
        NodeError: nft does not exist or refuses them; what was loaded before stays.
    """
    phase("load the firewall")
    text = render(rules)
    files.directory(paths.FIREWALL.parent)
    fresh = paths.FIREWALL.with_name(".firewall.nft.checked")
    files.write(fresh, text)
    try:
        run(["nft", "-c", "-f", str(fresh)], 20)
    finally:
        files.remove(fresh)
    changed = files.write(paths.FIREWALL, text)
    units = [files.write(paths.FIREWALL_UNIT_FILE, _UNIT)]
    files.directory(paths.FIREWALL_DROP_IN.parent)
    units.append(files.write(paths.FIREWALL_DROP_IN, _DROP_IN))
    files.directory(paths.FIREWALL_WANTED.parent)
    files.symlink(paths.FIREWALL_WANTED, paths.FIREWALL_UNIT_FILE)
    if any(units):
        run(["systemctl", "daemon-reload"], 60)
    loaded = run(["nft", "list", "table", "inet", TABLE], 20, check=False).returncode == 0
    if changed or not loaded:
        run(["systemctl", "start", paths.FIREWALL_UNIT], 60)
        run(["systemctl", "reload", paths.FIREWALL_UNIT], 60)
        say("firewall loaded: " + ", ".join(f"{port} from {len(sources)} ranges" for port, sources in rules.items()))


def remove() -> None:
    """Takes all of it away; not before etcd is stopped."""
    if not paths.FIREWALL_UNIT_FILE.exists():
        return
    run(["systemctl", "stop", paths.FIREWALL_UNIT], 60, check=False)
    for path in (paths.FIREWALL_WANTED, paths.FIREWALL_UNIT_FILE, paths.FIREWALL_DROP_IN, paths.FIREWALL):
        files.remove(Path(path))
    files.remove_empty([paths.FIREWALL_DROP_IN.parent, paths.FIREWALL.parent])
    run(["nft", "delete", "table", "inet", TABLE], 20, check=False)
    run(["systemctl", "daemon-reload"], 60)
