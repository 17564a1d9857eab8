"""First boot: the user data for cloud-init. JSON is valid YAML and needs no further quoting."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

# Limit for the clock, so that cloud-init ends in any network; `etcd-node prepare` checks the clock again.
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
"""Addresses of the metadata service: both clouds, and AWS over IPv6."""


# If a machine dies, sshd on the bastion does not notice, and a client that waits for an answer would wait forever.
# etcd-node prints something every minute; the wait for a first boot is silent for at most 330 s. Not every sshd has the
# setting.
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
    """The user data without the host key, which is a secret.

    Args:
        user: the operator's login, with sudo without a password.
        authorized_keys: public keys of the operator.
        generation: the slot's generation; another one changes the user data, so that the machine is replaced.
        units: name -> text of systemd units to start.
        bastion: whether the machine is a bastion.
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
    """The unit that gives a machine without a public address its default route."""
    return {"external-etcd-route.service": _ROUTE_UNIT.format(gateway=gateway)}


def translation(network: str) -> dict[str, str]:
    """The unit for NAT on a bastion, so that its network has internet access."""
    return {"external-etcd-nat.service": _NAT_UNIT.format(network=network)}


def user_data(values: Mapping[str, Any], host_key: str, host_public_key: str) -> str:
    """The user data with the machine's host key. Secret.

    Args:
        values: from `template`.
        host_key: private host key, OpenSSH format.
        host_public_key: its public half, one line.
    """
    # Sorted, because Pulumi's state does not keep the order of keys.
    keys = {"ed25519_private": host_key, "ed25519_public": host_public_key.strip()}
    return "#cloud-config\n" + json.dumps({**values, "ssh_keys": keys}, indent=1, sort_keys=True) + "\n"
