"""First boot: the user data that cloud-init reads. JSON, which is YAML too, so that nothing needs quoting."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

# cloud-init ends within that time, whatever the network does; `etcd-node prepare` looks at the clock once more.
_CLOCK_SECONDS = 60
_CLOCK = (
    "for service in systemd-timesyncd chrony chronyd; do systemctl -q is-active $service || continue; "
    f"timeout {_CLOCK_SECONDS} sh -c "
    "'until [ \"$(timedatectl show -p NTPSynchronized --value)\" = yes ]; do sleep 1; done'; break; done; true"
)
_ROUTE_UNIT = """\
# Written by cloud-init (external-etcd): this machine has no public address, the network routes through the bastion.
[Unit]
Description=Default route through the private network
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
# Hetzner's DHCP says how the gateway is reached; that may come a moment later.
ExecStart=/sbin/ip route replace default via {gateway}
Restart=on-failure
RestartSec=2

[Install]
WantedBy=multi-user.target
"""
_NAT_UNIT = """\
# Written by cloud-init (external-etcd): machines without a public address reach the internet through this one.
[Unit]
Description=Address translation for the private network
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/sysctl -q -w net.ipv4.ip_forward=1
ExecStart=/usr/sbin/nft "table ip external_etcd_nat; delete table ip external_etcd_nat; \\
  table ip external_etcd_nat {{ chain out {{ type nat hook postrouting priority 100; \\
  ip saddr {network} ip daddr != {network} masquerade; }}; }}"

[Install]
WantedBy=multi-user.target
"""

METADATA = ("169.254.169.254", "fd00:ec2::254")
"""Where machines read their user data: both clouds, and AWS over IPv6."""


# A machine that dies while somebody waits for its answer says nothing any more, and sshd on the bastion never asks: the
# one who waits would wait for ever. etcd-node says something once a minute; the wait for a first boot is silent for
# 330 s at most. Not every sshd knows the setting.
_CHANNEL_SECONDS = 420
_CHANNELS = (
    "file=/etc/ssh/sshd_config.d/external-etcd.conf; "
    f"echo ChannelTimeout direct-tcpip={_CHANNEL_SECONDS} >$file; "
    "/usr/sbin/sshd -t || { rm $file; exit 0; }; "
    "for service in ssh sshd; do ! systemctl -q is-active $service || systemctl reload $service; done"
)


def template(
    user: str,
    authorized_keys: Sequence[str],
    generation: int,
    units: Mapping[str, str] | None = None,
    *,
    bastion: bool = False,
) -> dict[str, Any]:
    """Everything about a machine's first boot but its host key, which is a secret.

    Args:
        user: the operator's login; may use sudo without a password.
        authorized_keys: public keys with which to log in.
        generation: that of the slot: another one is another user data, so the machine is replaced.
        units: name -> text of systemd units to start.
        bastion: others are reached through this machine.
    """
    found: dict[str, Any] = {
        "users": [
            {
                "name": user,
                "gecos": f"Operator of etcd, generation {generation} of this machine",
                "shell": "/bin/bash",
                "sudo": "ALL=(ALL) NOPASSWD:ALL",
                "lock_passwd": True,
                "ssh_authorized_keys": list(authorized_keys),
            }
        ],
        "disable_root": True,
        "ssh_pwauth": False,
        "ssh_deletekeys": True,
        "package_update": False,
        "package_upgrade": False,
    }
    units = units or {}
    if units:
        found["write_files"] = [
            {"path": f"/etc/systemd/system/{name}", "permissions": "0644", "content": text}
            for name, text in units.items()
        ]
    found["runcmd"] = [*(["systemctl", "enable", "--now", "--no-block", name] for name in units), ["sh", "-c", _CLOCK]]
    if bastion:
        found["runcmd"].append(["sh", "-c", _CHANNELS])
    return found


def default_route(gateway: str) -> dict[str, str]:
    """The unit that gives a machine without a public address its way out."""
    return {"external-etcd-route.service": _ROUTE_UNIT.format(gateway=gateway)}


def translation(network: str) -> dict[str, str]:
    """The unit that makes a bastion the way out of its network."""
    return {"external-etcd-nat.service": _NAT_UNIT.format(network=network)}


def user_data(values: Mapping[str, Any], host_key: str, host_public_key: str) -> str:
    """The user data: a template, and the host key that the machine is to have. Secret.

    Args:
        values: what `template` made.
        host_key: private host key, OpenSSH format.
        host_public_key: its public half, one line.
    """
    # Sorted: what comes back out of a state has another order than what went in.
    keys = {"ed25519_private": host_key, "ed25519_public": host_public_key.strip()}
    return "#cloud-config\n" + json.dumps({**values, "ssh_keys": keys}, indent=1, sort_keys=True) + "\n"
