"""The machine's own firewall: an nftables table that is loaded before etcd listens, also after every reboot.

Private networks of clouds are open between all of their machines (Hetzner's firewalls look at public traffic only), so
the machine itself drops what must not reach etcd. The table filters only these ports, and every single packet. So an
address that is removed from the list is blocked at once, including its open connections.

Only members are allowed for longer than configured: until they have left the cluster. The rules reach all machines
before the first member leaves, and a voter must stay connected until then. Three cases:

- A machine that stays knows the members that leave: from its last configuration, or from the record of what is
  installed.
- A machine whose member joins knows none. It allows every member of the cluster that it joins. Leaving members do not
  allow it, because no update touches their machines before they are retired. One direction is enough. Etcd sends on
  connections that either side has made: the new member sends on the streams that the leaving one opens to it, and the
  leaving one sends requests.
- A machine whose member leaves keeps the rules that it has.

Members join before others leave, so the update of a joining member may be over by then. So the machine itself looks,
once a second, whether they have left (`narrow`, a unit that also runs after a reboot), and closes the ports; `converge`
does so too, at its end, where that is later.
"""

from __future__ import annotations

import ipaddress
import json
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..protocol import etcd
from ..shared import files, lock, paths
from ..shared import spec as specification
from ..shared.errors import NodeError
from ..shared.run import run
from ..shared.say import phase, say
from ..shared.spec import Spec
from . import ports

TABLE = "external_etcd"

UNIT = f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Who may reach the ports of etcd and ssh
Documentation=man:nft(8)
DefaultDependencies=no
# A rule set of the distribution's own begins with a flush.
After=local-fs.target nftables.service
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
# Written by etcd-node (external-etcd): etcd does not start without the rules of who may reach it. It does not stop when
# somebody takes them away: then they are loaded again.
[Unit]
Wants={paths.FIREWALL_UNIT} {paths.FIREWALL_WATCH_UNIT}
After={paths.FIREWALL_UNIT}

[Service]
ExecStartPre=+/usr/sbin/nft -f {paths.FIREWALL}
"""

_WATCH_UNIT = f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Loads the rules of who may reach etcd again when somebody has taken them away
After={paths.FIREWALL_UNIT}
ConditionPathExists={paths.FIREWALL}

[Service]
ExecStart={paths.WRAPPER} watch-firewall
Restart=on-failure
RestartSec=1

[Install]
WantedBy=multi-user.target
"""

_NARROW_UNIT = f"""\
# Written by etcd-node (external-etcd); changes here are overwritten.
[Unit]
Description=Closes the ports of etcd to members that have left the cluster
After={paths.UNIT}
ConditionPathExists={paths.FIREWALL_KEPT}

[Service]
ExecStart={paths.WRAPPER} narrow
Restart=on-failure
RestartSec=5

[Install]
WantedBy=multi-user.target
"""
_LOOK_SECONDS = 1.0
_SSH_PORT = "22"

Rules = Mapping[str, Sequence[str]]
"""Port -> ranges, or addresses, that may reach it."""


def render(rules: Mapping[str, Sequence[str]]) -> str:
    """The table in nft's syntax; loading it replaces the previous one atomically.

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


def keep(spec: Spec, wanted: Rules, installed: Collection[str], before: Mapping[str, Any], kept: Rules) -> Rules:
    """Addresses that the rules must allow in addition to the desired ones: members that may still vote; pure.

    Only at etcd's two ports, only where the rules name such a port at all, and only addresses that were allowed there
    before.

    Args:
        spec: the desired state, with all members.
        installed: addresses of the members in the record of what is installed.
        before: the previous desired rules (`rules`) and their members (`members`); empty: not known.
        kept: the addresses that were kept before.
    """
    known = {*installed, *before.get("members", ()), *(address for each in kept.values() for address in each)}
    gone = sorted(known - set(spec.members.values()))
    found = {}
    for port in (str(spec.client_port), str(spec.peer_port)):
        had = [*before["rules"].get(port, ()), *kept.get(port, ())] if before else gone
        if port in wanted:
            found[port] = [each for each in gone if _admits(had, each) and not _admits(wanted[port], each)]
    return {port: addresses for port, addresses in found.items() if addresses}


def _admits(ranges: Sequence[str], address: str) -> bool:
    return any(ipaddress.ip_address(address) in ipaddress.ip_network(each) for each in ranges)


def install(spec: Spec) -> None:
    """Loads the rules now and at every boot, before etcd; reports what changed.

    Args:
        spec: the desired state with its rules, and with all members.

    Raises:
        NodeError: nft does not exist or refuses them; what was loaded before stays.
    """
    phase("load the firewall")
    rules = spec.firewall or {}
    if not paths.FIREWALL_RULES.exists():
        _refuse_to_cut_off(spec, rules)
    _refuse_to_lock_out(rules)
    installed = (files.read_json(paths.INSTALLED) or {}).get("members", {}).values()
    kept = keep(spec, rules, installed, files.read_json(paths.FIREWALL_RULES) or {}, _kept())
    files.directory(paths.FIREWALL.parent)
    _hold(kept)
    _load(rules, kept)
    # Last, because it records the known members: after an interruption, the next run starts from the same record.
    asked = {"rules": rules, "members": sorted(spec.members.values())}
    files.write(paths.FIREWALL_RULES, json.dumps(asked, indent=2) + "\n", 0o600)


def _refuse_to_cut_off(spec: Spec, rules: Rules) -> None:
    """Refuses the first rules of a machine if they would disconnect a present client or peer of its etcd.

    Raises:
        NodeError: it is; nothing was loaded.
    """
    remedies = {
        spec.client_port: "Add it to the clients of the firewall, or end these connections. Then run again.",
        spec.peer_port: "It is not the address of a member. If a member connects from another address than its own, "
        "correct that first (`ip route get ADDRESS` on its machine shows the address).",
    }
    for port, remedy in remedies.items():
        if str(port) not in rules:
            continue
        admitted = [*rules[str(port)], f"{spec.address}/{128 if ':' in spec.address else 32}"]
        cut_off = [each for each in ports.connected(port) if not _admits(admitted, each)]
        if cut_off:
            raise NodeError(
                f"{', '.join(cut_off)} is connected to port {port} of this machine and would be disconnected, because "
                f"the firewall does not allow it; nothing was loaded",
                remedy,
            )


def _refuse_to_lock_out(rules: Rules) -> None:
    """Refuses rules that block the ssh connection of this run. Other logins do not matter: they may be meant to end.

    Raises:
        NodeError: they do; nothing was loaded.
    """
    here = ports.login()
    if here is None:
        return
    source, port = here
    if str(port) in rules and not _admits(rules[str(port)], source):
        raise NodeError(
            f"this run comes to port {port} of this machine from {source}, which the firewall does not allow: you "
            "would be locked out; nothing was loaded",
            "Add the address of your computer or your bastion to the operators, then run again.",
        )


def admit(spec: Spec, cluster: etcd.Membership) -> None:
    """Allows the members of the cluster that this one joins on its peer port, until they have left.

    Args:
        spec: the desired state of the joining member.
    """
    asked = files.read_json(paths.FIREWALL_RULES)
    port = str(spec.peer_port)
    if asked is None or port not in asked["rules"]:
        return
    hosts = _hosts(cluster) - set(spec.members.values())
    more = sorted(host for host in hosts if not _admits([*asked["rules"][port], *_kept().get(port, ())], host))
    if more:
        kept = {**_kept(), port: [*_kept().get(port, ()), *more]}
        _hold(kept)
        _load(asked["rules"], kept)


def _hosts(cluster: etcd.Membership) -> set[str]:
    """The addresses of all members."""
    hosts = {urlsplit(url).hostname for member in cluster.members for url in member.peer_urls}
    return {address for host in hosts if (address := _address(host or ""))}


def _address(host: str) -> str:
    """The address as this program writes it; empty for a host name, which this program never sets."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return ""


def settle(spec: Spec) -> None:
    """Closes the ports to members that have left the cluster, if all kept ones have left.

    Args:
        spec: this member, which is ready, so its member list is current.
    """
    kept = _kept()
    if kept and _left(spec, kept):
        _narrow()


def narrow() -> None:
    """Waits until the kept members have left the cluster, and closes the ports to them."""
    while kept := _kept():
        installed = files.read_json(paths.INSTALLED)
        here = specification.parse(json.dumps(installed)) if installed is not None else None
        if here is not None and _left(here, kept):
            with lock.held("narrow"):
                # Another run may have written it meanwhile.
                if _kept() == kept:
                    _narrow()
        time.sleep(_LOOK_SECONDS)


def _left(spec: Spec, kept: Rules) -> bool:
    """Whether none of them is in the cluster; False while this member cannot be sure."""
    try:
        # It has just read through the quorum, so its list is current.
        if not etcd.ready(spec, spec.address).ok:
            return False
        hosts = _hosts(etcd.peer_view(spec, spec.address))
    except (etcd.SilentError, etcd.AlienError, NodeError):
        return False
    return not any(address in hosts for addresses in kept.values() for address in addresses)


def _narrow() -> None:
    asked = files.read_json(paths.FIREWALL_RULES)
    if asked is not None:
        _load(asked["rules"], {})
    files.remove(paths.FIREWALL_KEPT)


def _kept() -> dict[str, list[str]]:
    return files.read_json(paths.FIREWALL_KEPT) or {}


def _hold(kept: Rules) -> None:
    """Records the kept members, and starts the unit that waits until they are gone."""
    if not kept:
        files.remove(paths.FIREWALL_KEPT)
        return
    files.write(paths.FIREWALL_KEPT, json.dumps(kept, indent=2) + "\n", 0o600)
    new = files.write(paths.NARROW_UNIT_FILE, _of_this_program(_NARROW_UNIT))
    files.directory(paths.NARROW_WANTED.parent)
    files.symlink(paths.NARROW_WANTED, paths.NARROW_UNIT_FILE)
    if new:
        run(["systemctl", "daemon-reload"], 60)
    run(["systemctl", "restart" if new else "start", "--no-block", paths.NARROW_UNIT], 60)


def _of_this_program(unit: str) -> str:
    """A long-running unit: its text contains the version of etcd-node, so that a new one restarts it."""
    # Its place: each version has a directory named by its digest.
    return f"{unit}# etcd-node {Path(sys.argv[0]).name}\n"


def _load(asked: Rules, kept: Rules) -> None:
    rules = {port: [*sources, *kept.get(port, ())] for port, sources in asked.items()}
    text = render(rules)
    fresh = paths.FIREWALL.with_name(".firewall.nft.checked")
    files.write(fresh, text)
    try:
        run(["nft", "-c", "-f", str(fresh)], 20)
    finally:
        files.remove(fresh)
    changed = files.write(paths.FIREWALL, text)
    units = [files.write(paths.FIREWALL_UNIT_FILE, UNIT)]
    files.directory(paths.FIREWALL_DROP_IN.parent)
    units.append(files.write(paths.FIREWALL_DROP_IN, _DROP_IN))
    files.directory(paths.FIREWALL_WANTED.parent)
    files.symlink(paths.FIREWALL_WANTED, paths.FIREWALL_UNIT_FILE)
    another = files.write(paths.FIREWALL_WATCH_UNIT_FILE, _of_this_program(_WATCH_UNIT))
    units.append(another)
    files.directory(paths.FIREWALL_WATCH_WANTED.parent)
    files.symlink(paths.FIREWALL_WATCH_WANTED, paths.FIREWALL_WATCH_UNIT_FILE)
    if any(units):
        run(["systemctl", "daemon-reload"], 60)
    if changed or not loaded():
        run(["systemctl", "start", paths.FIREWALL_UNIT], 60)
        run(["systemctl", "reload", paths.FIREWALL_UNIT], 60)
        say("firewall loaded: " + ", ".join(f"{port} from {len(sources)} ranges" for port, sources in rules.items()))
    run(["systemctl", "restart" if another else "start", "--no-block", paths.FIREWALL_WATCH_UNIT], 60)


def loaded() -> bool:
    """Whether the kernel has the rules, as this program or others have left them."""
    return run(["nft", "list", "table", "inet", TABLE], 20, check=False).returncode == 0


def leaves_ssh_alone() -> bool:
    """Whether the rules are those of an existing machine, which filter only etcd's ports.

    Rules that also filter ssh are a cloud's. They stay when no rules are configured any more, so a handover to another
    stack does not open the cluster.
    """
    asked = files.read_json(paths.FIREWALL_RULES)
    return asked is not None and _SSH_PORT not in asked["rules"]


def remove() -> None:
    """Removes the firewall: this machine no longer filters access to the ports."""
    # A unit of that name may belong to someone else.
    if not (files.read_bytes(paths.FIREWALL_UNIT_FILE) or b"").startswith(UNIT.splitlines()[0].encode()):
        return
    # First: an etcd that continues without rules must not stop with their unit.
    files.remove(paths.FIREWALL_DROP_IN)
    run(["systemctl", "daemon-reload"], 60)
    units = (paths.NARROW_UNIT, paths.FIREWALL_WATCH_UNIT, paths.FIREWALL_UNIT)
    run(["systemctl", "stop", *units], 60, check=False)
    for path in (
        *(paths.FIREWALL_WATCH_WANTED, paths.FIREWALL_WATCH_UNIT_FILE),
        *(paths.NARROW_WANTED, paths.NARROW_UNIT_FILE, paths.FIREWALL_KEPT),
        *(paths.FIREWALL_WANTED, paths.FIREWALL_DROP_IN, paths.FIREWALL),
    ):
        files.remove(Path(path))
    run(["nft", "delete", "table", "inet", TABLE], 20, check=False)
    # Last: they mark that there is something to remove.
    files.remove(paths.FIREWALL_RULES)
    files.remove(paths.FIREWALL_UNIT_FILE)
    files.remove_empty([paths.FIREWALL_DROP_IN.parent, paths.FIREWALL.parent])
    run(["systemctl", "daemon-reload"], 60)
