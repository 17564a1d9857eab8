"""The hcloud stand-in with the real engine: a whole program, from the first run to destroy."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab.engine import environment
from tests.support.hetzner_account import TOKEN, HetznerAccount, account, served
from tests.support.stacks import REPO, Stack, program_stack

__all__ = ["account", "served"]

PROGRAM = """
import os
import pulumi, pulumi_hcloud as hcloud
from components.irreplaceable import attachment_refusal, irreplaceable

stays = irreplaceable("attachments", attachment_refusal, unless="serverId")
first = pulumi.ResourceOptions(delete_before_replace=True)
labels = {"etcd": "true", "cluster": os.environ.get("CLUSTER", "dev")}
network = hcloud.Network("net", name="net", ip_range="10.0.0.0/16", labels=labels)
subnet = hcloud.NetworkSubnet("subnet", network_id=network.id.apply(int), type="cloud", network_zone="eu-central",
    ip_range="10.0.1.0/24")
key = hcloud.SshKey("key", name="key",
    public_key="ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ7vYbrmQ1nq0S9RzJc8mZt1o5yC2oB0sVYkq8nKqQxA a\\n")
group = hcloud.PlacementGroup("group", name="group", type="spread", labels=labels)
firewall = hcloud.Firewall("wall", name="wall", labels=labels, rules=[
    {"direction": "in", "protocol": "tcp", "port": "22", "source_ips": ["192.0.2.1", "2001:db8::/32"]},
    {"direction": "in", "protocol": "icmp", "source_ips": ["0.0.0.0/0"]},
])
servers = []
for number in range(3):
    servers.append(hcloud.Server(f"etcd-{number + 1}", name=f"etcd-{number + 1}", server_type="cx23",
        image=os.environ.get("IMAGE", "debian-12"), location="fsn1", ssh_keys=[key.id], user_data="#cloud-config\\n",
        placement_group_id=group.id.apply(int), labels=labels,
        firewall_ids=[firewall.id.apply(int)] if number == 0 else [],
        public_nets=[{"ipv4_enabled": number == 0, "ipv6_enabled": False}],
        networks=[{"subnet_id": subnet.id, "ip": f"10.0.1.1{number + 1}"}], opts=first))
volume = hcloud.Volume("data", name="data", size=int(os.environ.get("SIZE", "10")), location="fsn1", labels=labels)
hcloud.VolumeAttachment("data", volume_id=volume.id.apply(int), server_id=servers[0].id.apply(int),
    opts=pulumi.ResourceOptions(delete_before_replace=False, deleted_with=servers[0], retain_on_delete=True,
        hooks=pulumi.ResourceHookBinding(before_create=[stays])))
hcloud.NetworkRoute("out", network_id=network.id.apply(int), destination="0.0.0.0/0",
    gateway=servers[0].networks[0].ip)
pulumi.export("ids", [server.id for server in servers])
pulumi.export("addresses", [server.networks[0].ip for server in servers])
"""


@pytest.fixture
def stack(account: HetznerAccount, tmp_path: Path) -> Stack:
    environ = environment(tmp_path)
    environ["PATH"] = f"{REPO / 'lab/plugins/bin'}{os.pathsep}{environ['PATH']}"
    config = {"hcloud:endpoint": account.endpoint, "hcloud:token": TOKEN, "hcloud:pollInterval": "5ms"}
    return program_stack("hetzner", PROGRAM, tmp_path, environ, config)


def test_a_program_with_three_servers_from_creation_to_destroy(account: HetznerAccount, stack: Stack) -> None:
    stack.preview()
    assert account.requests == []

    account.refuse("POST servers/[0-9]+/actions/attach_to_network", "ip_not_available", times=3)
    assert "no (ip_not_available; POST servers/" in stack.up(check=False).text
    account.refusals.clear()  # those that were not needed
    made = {row["id"] for row in account.cloud.rows("servers")}
    first = stack.update()
    assert made
    assert made <= set(map(int, first["ids"])), "the next run completes a server that did not become ready"
    assert first["addresses"] == ["10.0.1.11", "10.0.1.12", "10.0.1.13"]
    assert {kind: len(names) for kind, names in account.left().items()} == {
        **dict.fromkeys(("networks", "ssh_keys", "placement_groups", "firewalls", "volumes", "primary_ips"), 1),
        "servers": 3,
    }

    asked = len(account.requests)
    stack.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes")
    assert len(account.requests) == asked

    assert stack.update(CLUSTER="prod", SIZE="20") == first, "labels and sizes change in place"
    assert [row["labels"]["cluster"] for row in account.cloud.rows("servers")] == ["prod"] * 3
    assert account.one("volumes")["size"] == 20

    refused = stack.preview("--replace", "**VolumeAttachment::*", check=False)
    assert refused.code != 0
    assert "The attachment data must not be replaced" in refused.text
    stack.update("--expect-no-changes")

    account.lose(account.cloud.row("servers", int(first["ids"][0])))
    second = stack.update("--refresh")
    assert (second["addresses"], second["ids"][1:]) == (first["addresses"], first["ids"][1:])

    replaced = stack.update(IMAGE="ubuntu-24.04")
    assert not set(replaced["ids"]) & {*first["ids"], *second["ids"]}
    assert replaced["addresses"] == first["addresses"]
    assert account.one("volumes")["server"] == int(replaced["ids"][0])

    # As with the official plugin, and in docs/hetzner.md.
    account.lose(account.cloud.row("servers", int(replaced["ids"][1])))
    assert "not_found" in stack.pulumi("destroy", "--yes", "--skip-preview", check=False).text
    stack.pulumi("destroy", "--yes", "--skip-preview", "--refresh")
    assert account.left() == {}


def test_a_server_of_a_killed_run_is_created_again_once_deleted(account: HetznerAccount, stack: Stack) -> None:
    """As docs/hetzner.md says."""
    account.machines.goes_on.clear()
    stack.up_killed_when(lambda: len(account.cloud.rows("servers")) == 3)
    account.machines.goes_on.set()
    stack.pulumi("cancel", "--yes")
    assert "uniqueness_error" in stack.up(check=False).text
    account.lose(*account.cloud.rows("servers"))
    assert len(stack.update()["ids"]) == 3
