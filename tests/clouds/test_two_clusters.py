"""Two clusters in one account: five members, and three whose data is on volumes and whose machines are replaced.

On AWS the five have no public addresses and their own bastion, and the three are in an existing VPC. On Hetzner Cloud
no machine has a public address: the three have a network and a bastion, and the five use them.
"""

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab.clouds import CloudMachine
from tests.support.aws_stacks import AwsStacks
from tests.support.cloud_stacks import (
    SLOTS,
    UP_SECONDS,
    CloudStacks,
    ask,
    certificates,
    leader,
    members,
    open_ports,
    probing_from,
    raise_generation,
    settings,
    unhealthy,
)
from tests.support.clouds import reaches
from tests.support.etcd import process_ids
from tests.support.hetzner_stacks import HetznerStacks
from tests.support.manual import manual_lines
from tests.support.stacks import Stack, override_in
from tests.support.waiting import every

ON_AWS = pytest.mark.parametrize("stacks", ["aws"], indirect=True)
ON_HETZNER = pytest.mark.parametrize("stacks", ["hetzner"], indirect=True)
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
VOLUME: dict[str, Any] = {"volume": {"size": 10, "protect": False}}
MARK = "/var/lib/etcd/.etcd-node.json"
DISK = {"aws": "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol*", "hetzner": "/dev/disk/by-id/scsi-0HC_Volume_*"}
# Changes that need a new generation.
ANOTHER_MACHINE: dict[str, dict[str, Any]] = {
    "aws": {"instanceType": "t3.large", "image": "ubuntu-24.04", "rootSize": 20},
    "hetzner": {"image": "debian-13"},
}


@dataclass(frozen=True)
class Clusters:
    """Both clusters. The bastion belongs to the first one; `behind` is the one that it serves."""

    five: Stack
    kept: Stack
    behind: Stack
    before: list[str]
    """The account's resources before the test."""


@pytest.fixture(scope="module")
def clusters(stacks: CloudStacks, tmp_path_factory: pytest.TempPathFactory) -> Clusters:
    if isinstance(stacks, AwsStacks):
        kept = stacks.new("kept", **VOLUME, **stacks.existing(*ZONES[:2]))
        before = stacks.left()
        assert Counter(row.partition(" ")[0] for row in before) == {"vpcs": 1, "subnets": 2, "internet_gateways": 1}
        five = stacks.new("five", 5, publicIpv4=False, natGateway=True, bastion={"instanceType": "t3.nano"})
        at_the_same_time = five.begin_up()
        try:
            kept.up(timeout=UP_SECONDS)
            run = at_the_same_time.wait(UP_SECONDS)
        finally:
            at_the_same_time.kill()
        assert run.code == 0, run.text
        return Clusters(five, kept, five, before)
    kept = stacks.new("kept", publicIpv4=False, bastion={}, **VOLUME)
    kept.up(timeout=UP_SECONDS)
    five = stacks.new("five", 5, **_in_the_network_of(kept, tmp_path_factory.mktemp("key") / "bastion"))
    five.up(timeout=UP_SECONDS)
    return Clusters(five, kept, kept, [])


def _in_the_network_of(other: Stack, key: Path) -> dict[str, Any]:
    """Configuration of a cluster on Hetzner Cloud in another one's network, behind its bastion."""
    outputs = other.outputs()
    key.touch(mode=0o600)
    key.write_text(outputs["ssh_private_key"])
    bastion = outputs["bastion"]
    way = {"host": bastion["host"], "hostKey": bastion["host_key"], "user": bastion["user"], "privateKeyFile": str(key)}
    return {
        "keys": {"ssh": {"bastion": way}},
        "publicIpv4": False,
        "networkId": outputs["network_id"],
        "subnetRange": "10.1.3.0/24",
        "operators": ["10.1.1.5/32"],
    }


@pytest.fixture(scope="module")
def kept(clusters: Clusters) -> Stack:
    """The three members with volumes."""
    return clusters.kept


@pytest.fixture(scope="module")
def client(kept: Stack, stacks: CloudStacks) -> CloudMachine:
    """A machine that may be a client of the three."""
    (machine,) = stacks.beside(kept, "client")
    return machine


def volume(machine: CloudMachine) -> str:
    """UUID of the data's file system on a machine; formatting changes it."""
    return machine.run("findmnt --noheadings --output UUID,FSTYPE --target /var/lib/etcd/member").stdout.strip()


def next_to_go(stack: Stack) -> str:
    """The slot with the oldest machine."""
    return str(min(settings(stack)["slots"], key=lambda slot: int(slot["generation"]))["name"])


def test_both_clusters_are_healthy(clusters: Clusters, stacks: CloudStacks) -> None:
    ours, theirs = stacks.members(clusters.five), stacks.members(clusters.kept)
    assert set(members(ours[0])) == {f"etcd-{n}" for n in range(1, 6)}
    assert set(members(theirs[0])) == set(SLOTS)
    assert (unhealthy(ours[0]), unhealthy(theirs[0])) == ([], [])
    assert [machine.address for machine in ours] == [None] * 5
    assert [machine.address is None for machine in theirs] == [stacks.kind == "hetzner"] * 3


@ON_AWS
def test_members_are_spread_over_zones_and_existing_subnets(clusters: Clusters, stacks: AwsStacks) -> None:
    subnets = {zone: ipaddress.ip_network(row["range"]) for zone, row in clusters.five.outputs()["subnets"].items()}
    addresses = [ipaddress.ip_address(machine.private_addresses[0]) for machine in stacks.members(clusters.five)]
    zones = Counter(zone for address in addresses for zone, range_ in subnets.items() if address in range_)
    assert zones == {ZONES[0]: 2, ZONES[1]: 2, ZONES[2]: 1}
    assert [row["address"] for row in clusters.kept.outputs()["members"]] == ["10.7.0.11", "10.7.1.12", "10.7.0.13"]


@ON_HETZNER
def test_clusters_in_one_network_have_isolated_subnets(clusters: Clusters, stacks: HetznerStacks) -> None:
    assert stacks.counts(clusters.kept)["NetworkRoute"] == 1
    assert stacks.counts(clusters.five) == {
        **dict.fromkeys(("NetworkSubnet", "Firewall", "PlacementGroup", "SshKey"), 1),
        "Server": 5,
    }
    assert not reaches(stacks.machine(clusters.kept, "etcd-1"), "10.1.3.11", 2379)


def test_a_second_update_changes_nothing(clusters: Clusters) -> None:
    assert clusters.five.up("--expect-no-changes").code == 0


def test_only_the_bastion_reaches_ssh_and_not_etcd(clusters: Clusters, stacks: CloudStacks) -> None:
    bastion = stacks.machine(clusters.behind, "bastion")
    first, second = stacks.members(clusters.behind)[:2]
    (address,) = second.private_addresses
    assert open_ports(bastion, address) == [22]
    assert open_ports(first, address) == [2379, 2380]
    assert bastion.answers(10), "the operator comes from this computer"
    assert "channeltimeout direct-tcpip=" in bastion.run("/usr/sbin/sshd -T").stdout, "dead targets are noticed"
    assert bastion.address
    assert open_ports(stacks.stranger(), bastion.address) == []
    # Its user data contains a host key too.
    for user, said in (("nobody", "prohibited|Permission denied"), ("root", "via|dev")):
        route = bastion.run(f"ip route get 169.254.169.254 uid $(id -u {user}) 2>&1", check=False).stdout
        assert re.search(said, route), (user, route)


def test_destroying_one_cluster_keeps_the_other(clusters: Clusters, stacks: CloudStacks) -> None:
    clusters.five.destroy()
    assert not [thing for thing in stacks.left() if "five" in thing]
    assert unhealthy(stacks.machine(clusters.kept, "etcd-1")) == []


@ON_HETZNER
def test_overridden_double_replacement_still_replaces_one_machine_at_a_time(
    kept: Stack, stacks: HetznerStacks, client: CloudMachine, tmp_path: Path
) -> None:
    ids = kept.outputs()["server_ids"]
    raise_generation(kept, "etcd-1", "etcd-2")
    kept.config["external-etcd:override"] = override_in(kept.preview(check=False))
    with probing_from(client, kept, tmp_path / "probe", planned=True):
        refused = kept.up(check=False, timeout=UP_SECONDS)
        assert refused.code != 0
        said = re.search(
            r"was released for replacement at \S+ and is not back yet; the machine of (\S+) stays as it "
            "is",
            refused.text,
        )
        # The gate of etcd-1 asks etcd-2, whose machine may no longer answer by then.
        stays = "etcd-1" if said is None else said[1]
        (gone,) = {"etcd-1", "etcd-2"} - {stays}
        # The remedy in the message.
        del kept.config["external-etcd:override"]
        raise_generation(kept, stays, by=-1)
        kept.up(timeout=UP_SECONDS)
    after = kept.outputs()["server_ids"]
    assert [slot for slot in SLOTS if ids[slot] != after[slot]] == [gone]
    # The first member is back, so the following tests may replace the other machine immediately.
    assert next_to_go(kept) == stays
    assert unhealthy(stacks.machine(kept, stays)) == []


def test_a_machine_is_not_replaced_while_another_member_is_down(kept: Stack, stacks: CloudStacks) -> None:
    slot = next_to_go(kept)
    ids, machine = kept.outputs()["server_ids"], stacks.machine(kept, slot)
    # A member that is not the one that is asked.
    down = stacks.machine(kept, SLOTS[SLOTS.index(slot) - 1])
    init = machine.guest.init
    down.run("systemctl stop etcd")
    raise_generation(kept, slot)
    try:
        refused = kept.up(check=False)
    finally:
        raise_generation(kept, slot, by=-1)
        down.run("systemctl start etcd")
    assert refused.code != 0
    reason = f"the machine of {slot} would go, but the cluster does not tolerate its loss"
    assert reason in refused.text
    assert f"{down.name.removeprefix('kept-')}: connection refused" in refused.text
    assert kept.outputs()["server_ids"] == ids
    assert stacks.machine(kept, slot).guest.init == init
    assert any(unhealthy(machine) == [] for _ in every(0.5, seconds=30))


def test_a_raised_generation_replaces_one_machine_and_keeps_its_data(
    kept: Stack, stacks: CloudStacks, client: CloudMachine, tmp_path: Path
) -> None:
    slot, machines = next_to_go(kept), stacks.members(kept)
    old = machines[SLOTS.index(slot)]
    before, servers, had, disk = members(old), kept.outputs()["server_ids"], certificates(old), volume(old)
    if leader(machines) != old:
        ask(leader(machines), "move-leader", f"{before[slot]:x}")
    assert leader(machines) == old
    ask(old, "put", "written", "before")

    raise_generation(kept, slot)
    settings(kept).update(ANOTHER_MACHINE[stacks.kind])
    with probing_from(client, kept, tmp_path / "probe", planned=True):
        kept.up(timeout=UP_SECONDS)
    after = kept.outputs()["server_ids"]
    assert [each for each in SLOTS if servers[each] != after[each]] == [slot]
    back = stacks.machine(kept, slot)
    assert (members(back), certificates(back), volume(back)) == (before, had, disk)
    assert (back.address, back.private_addresses) == (old.address, old.private_addresses)
    assert "before" in ask(back, "get", "written")
    assert kept.up("--expect-no-changes").code == 0
    assert kept.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0


def test_a_terminated_machine_returns_with_its_own_volume(
    kept: Stack, stacks: CloudStacks, client: CloudMachine, tmp_path: Path
) -> None:
    machine = stacks.machine(kept, "etcd-3")
    before, had, disk = members(machine), certificates(machine), volume(machine)
    ask(machine, "put", "written", "before it was lost")
    with probing_from(client, kept, tmp_path / "probe", planned=False):
        # Without its mark the data has no owner.
        machine.run(f"mv {MARK} /var/lib/etcd/precious")
        stacks.terminate(kept, "etcd-3")
        kept.pulumi("refresh", "--yes", "--skip-preview")
        refused = kept.up(check=False, timeout=UP_SECONDS)
        assert refused.code != 0
        assert "and nothing on it marks it as data of etcd-3 of kept; it is untouched" in refused.text

        machine = stacks.machine(kept, "etcd-3")
        machine.run(f"mkdir /mnt/volume && mount {DISK[stacks.kind]} /mnt/volume")
        there = machine.run("ls -A /mnt/volume").stdout.split()
        assert {"member", "precious"} <= set(there)
        machine.run(f"mv /mnt/volume/precious /mnt/volume/$(basename {MARK}) && umount /mnt/volume")
        kept.up(timeout=UP_SECONDS)
    assert (members(machine), certificates(machine), volume(machine)) == (before, had, disk)
    for each in stacks.members(kept):
        assert "before it was lost" in ask(each, "get", "written")
    assert unhealthy(machine) == []


@ON_HETZNER
def test_a_running_cluster_can_be_handed_over_to_hosts(
    kept: Stack, stacks: HetznerStacks, client: CloudMachine, tmp_path: Path
) -> None:
    machines, outputs = stacks.members(kept), kept.outputs()
    ask(machines[0], "put", "written", "before the hand-over")
    before, pids, boots = members(machines[0]), process_ids(machines), [machine.guest.init for machine in machines]
    in_the_cloud, stamps = sorted(stacks.left()), [certificates(machine) for machine in machines]

    lines = manual_lines("Hand a cluster over to `hosts`").replace("test-pki-", "kept-pki-")
    kept.shell(lines)
    place = kept.directory / "handed-over"
    authority, peers = [
        {"certificate": (place / f"{name}.crt").read_text(), "privateKey": (place / f"{name}.key").read_text()}
        for name in ("ca", "peer-ca")
    ]
    config = {key: each for key, each in kept.config.items() if key != "external-etcd:hetzner" and "hcloud:" not in key}
    new = kept.beside(
        "handed-over-kept",
        config
        | {
            "external-etcd:platform": "hosts",
            "external-etcd:machinesFile": str(place / "machines.json"),
            "external-etcd:ssh": {"privateKeyFile": str(place / "ssh")},
            "external-etcd:authorities": [{"name": "1", **authority}],
            "external-etcd:peerAuthorities": [{"name": "peer-1", **peers}],
        },
    )
    with probing_from(client, kept, tmp_path / "probe", planned=True):
        new.up(timeout=UP_SECONDS)
        kept.pulumi("stack", "rm", "--force", "--preserve-config", "--yes")
    assert "no stack named 'kept' found" in kept.pulumi("preview", check=False).text

    assert (members(machines[0]), process_ids(machines)) == (before, pids)
    assert [machine.guest.init for machine in machines] == boots
    assert sorted(stacks.left()) == in_the_cloud
    assert all(certificates(machine) != had for machine, had in zip(machines, stamps, strict=True))
    assert "before the hand-over" in ask(machines[2], "get", "written")
    assert unhealthy(machines[1]) == []
    # The machines' own firewall is unchanged.
    assert open_ports(client, machines[0].private_addresses[0]) == [2379]
    assert new.up("--expect-no-changes").code == 0
    assert [row["id"] for row in new.outputs()["members"]] == [row["id"] for row in outputs["members"]]

    # Back again: the old stack has all its resources.
    kept.pulumi("stack", "init", "kept")
    kept.pulumi("stack", "import", "--file", str(place / "state.json"))
    assert kept.outputs()["server_ids"] == outputs["server_ids"]


def test_destroy_deletes_volumes_and_keeps_earlier_resources(clusters: Clusters, stacks: CloudStacks) -> None:
    stacks.remove_beside()
    assert stacks.counts(clusters.kept)["Volume"] == 3
    clusters.kept.destroy()
    assert sorted(stacks.left()) == sorted(clusters.before)
    assert clusters.kept.export()["deployment"].get("resources", []) == []
