"""Each cloud's example on an emulated cloud with machines: creation, changes, destroy."""

import json
import re
import time
from pathlib import Path

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
from tests.support.clouds import finish, reaches
from tests.support.hetzner_stacks import HetznerStacks
from tests.support.stacks import Stack
from tests.support.waiting import every

ON_AWS = pytest.mark.parametrize("stacks", ["aws"], indirect=True)
ON_HETZNER = pytest.mark.parametrize("stacks", ["hetzner"], indirect=True)
RESOURCES = {
    "aws": {
        **dict.fromkeys(("Vpc", "InternetGateway", "RouteTable", "Route"), 1),
        **dict.fromkeys(("Subnet", "RouteTableAssociation", "NetworkInterface", "Eip", "Instance"), 3),
        **{"SecurityGroup": 2, "SecurityGroupIngressRule": 4, "SecurityGroupEgressRule": 2},
    },
    "hetzner": {**dict.fromkeys(("Network", "NetworkSubnet", "Firewall", "PlacementGroup", "SshKey"), 1), "Server": 3},
}
RECIPIENT = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
ADDRESSES = {"aws": ["10.2.1.11", "10.2.2.12", "10.2.3.13"], "hetzner": ["10.1.1.11", "10.1.1.12", "10.1.1.13"]}


@pytest.fixture(scope="module")
def example(stacks: CloudStacks) -> Stack:
    stack = stacks.new("plain")
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def inside(example: Stack, stacks: CloudStacks) -> list[CloudMachine]:
    """A machine that may be a client, and one in the second member's subnet without any access."""
    return stacks.beside(example, "client", "stranger")


def lead(machines: list[CloudMachine], machine: CloudMachine, name: str) -> None:
    """Transfer leadership to a member, unless it has it."""
    now = leader(machines)
    if now != machine:
        ask(now, "move-leader", f"{members(machine)[name]:x}")
    assert leader(machines) == machine


def metadata_for(machine: CloudMachine, user: str) -> str:
    """The metadata service's answer to a process of this user on the machine: the status, or the error."""
    script = (
        "import http.client, os\n"
        "try:\n"
        "    there = http.client.HTTPConnection('169.254.169.254', timeout=5)\n"
        "    there.request('GET', '/')\n"
        "    print(there.getresponse().status)\n"
        "except OSError as error:\n"
        "    print(os.strerror(error.errno) if error.errno else error)\n"
    )
    return machine.run(["runuser", "-u", user, "--", "python3", "-I", "-c", script]).stdout.strip()


def test_the_example_creates_three_healthy_members(example: Stack, stacks: CloudStacks) -> None:
    assert stacks.counts(example) == RESOURCES[stacks.kind]
    assert unhealthy(stacks.machine(example, "etcd-1")) == []
    outputs = example.outputs()
    assert [member["address"] for member in outputs["members"]] == ADDRESSES[stacks.kind]
    assert set(outputs["server_ids"]) == set(SLOTS)
    listed = outputs["machines_file"]["machines"]
    assert {row["name"]: row["ssh"]["host"] for row in listed} == outputs["hosts"]


@ON_AWS
def test_each_member_is_in_its_own_zone(example: Stack, stacks: AwsStacks) -> None:
    servers = example.outputs()["server_ids"].values()
    rows = stacks.cloud.client().describe_instances(InstanceIds=list(servers))["Reservations"]
    zones = [row["Instances"][0]["Placement"]["AvailabilityZone"] for row in rows]
    assert sorted(zones) == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]


def test_a_second_update_changes_nothing_and_a_refresh_finds_no_drift(example: Stack) -> None:
    assert example.up("--expect-no-changes").code == 0
    assert example.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0


def test_machines_that_were_resized_outside_stay_up(example: Stack, stacks: CloudStacks) -> None:
    """To change them back, the provider would stop all of them at once."""
    server, key = {
        "aws": ("aws:ec2/instance:Instance", "instanceType"),
        "hetzner": ("hcloud:index/server:Server", "serverType"),
    }[stacks.kind]
    with example.as_if_refreshed(server, **{key: "another"}):
        assert example.preview("--expect-no-changes").code == 0


@ON_AWS
def test_a_bucket_is_added_beside_running_machines_and_outlives_its_stack(example: Stack, stacks: AwsStacks) -> None:
    servers = list(example.outputs()["server_ids"].values())
    init = [machine.guest.init for machine in stacks.members(example)]
    s3, iam, ec2 = (stacks.cloud.client(service=service) for service in ("s3", "iam", "ec2"))
    bucket = {"name": "example-org-etcd", "days": 90, "objectLock": {"mode": "COMPLIANCE", "days": 30}}
    settings(example)["backupBucket"] = bucket
    example.config["external-etcd:backup"] = {"recipients": [RECIPIENT], "schedule": "2099-01-01"}
    text = example.preview().text
    assert "+ 11 to create" in text
    assert text.count("aws:ec2:Instance plain-etcd-") == text.count("update [diff: +iamInstanceProfile]") == 3
    example.up()
    assert example.up("--expect-no-changes").code == 0
    assert example.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0

    name = {"Bucket": bucket["name"]}
    assert s3.get_bucket_versioning(**name)["Status"] == "Enabled"
    lock = s3.get_object_lock_configuration(**name)["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
    assert (lock["Mode"], lock["Days"]) == ("COMPLIANCE", 30)
    assert len(s3.get_bucket_lifecycle_configuration(**name)["Rules"]) == 3
    [role] = [each for each in iam.list_roles()["Roles"] if each["RoleName"].startswith("plain-backup-")]
    policy = json.loads(s3.get_bucket_policy(**name)["Policy"])
    assert policy["Statement"][1]["Principal"] == {"AWS": role["Arn"]}
    rows = ec2.describe_instances(InstanceIds=servers)["Reservations"]
    profiles = [row["Instances"][0]["IamInstanceProfile"]["Arn"].rpartition("/")[2] for row in rows]
    [profile] = iam.list_instance_profiles_for_role(RoleName=role["RoleName"])["InstanceProfiles"]
    assert profiles == [profile["InstanceProfileName"]] * 3

    del settings(example)["backupBucket"], example.config["external-etcd:backup"]
    refused = example.preview(check=False)
    assert refused.code != 0
    assert "plain-backup" in refused.text and "protect" in refused.text, refused.text
    settings(example)["backupBucket"] = {**bucket, "protect": False}
    example.up()
    del settings(example)["backupBucket"]
    example.up()
    assert s3.get_bucket_versioning(**name)["Status"] == "Enabled", "it stays at AWS, as it was"
    assert not [each for each in iam.list_roles()["Roles"] if each["RoleName"].startswith("plain-backup-")]
    assert ec2.describe_iam_instance_profile_associations()["IamInstanceProfileAssociations"] == []
    assert [machine.guest.init for machine in stacks.members(example)] == init
    s3.delete_bucket(**name)


@ON_AWS
def test_an_added_client_range_is_one_rule_and_touches_no_machine(example: Stack) -> None:
    settings(example)["clients"] = ["10.2.64.0/20"]
    try:
        text = example.preview().text
    finally:
        del settings(example)["clients"]
    assert "+ 1 to create" in text
    assert not [word for word in ("to update", "to replace", "to delete") if word in text], text


def test_every_port_is_open_only_to_its_users(example: Stack, inside: list[CloudMachine], stacks: CloudStacks) -> None:
    client, stranger = inside
    first, second, _ = stacks.members(example)
    (address,) = second.private_addresses
    assert second.address
    assert open_ports(stacks.stranger(), second.address) == []
    assert second.answers(10), "the operator comes from this computer"
    assert open_ports(stranger, address) == []
    assert open_ports(client, address) == [2379]
    assert open_ports(first, address) == [2379, 2380]


@ON_HETZNER
def test_an_operator_with_a_new_address_regains_access(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks
) -> None:
    """Simulates an operator with a new address: only the configuration knows it."""
    here = settings(example)["operators"]
    settings(example)["operators"] = ["203.0.113.9/32"]
    run = example.up()
    assert "1 updated" in run.text, "no connection to the machines is needed"
    second = stacks.machine(example, "etcd-2")
    assert second.address
    assert not second.answers(2)

    settings(example)["operators"] = here
    example.config["external-etcd:flags"] = {"max-txn-ops": "256"}
    example.up()
    assert "--max-txn-ops=256" in second.run("tr '\\0' ' ' </proc/$(pgrep -x etcd)/cmdline").stdout
    (address,) = second.private_addresses
    assert [open_ports(machine, address, [22]) for machine in inside] == [[], []], "ssh is still closed to the network"
    assert open_ports(stacks.stranger(), second.address, [22]) == []


@ON_HETZNER
def test_a_bastion_can_be_added_moved_and_removed(example: Stack, stacks: HetznerStacks) -> None:
    operators = settings(example)["operators"]
    # A new address must be an operator's first.
    settings(example).update(bastion={}, operators=[*operators, "10.1.1.9/32"])
    example.up(timeout=UP_SECONDS)
    assert list(example.outputs()["hosts"].values()) == ADDRESSES["hetzner"]
    assert open_ports(stacks.machine(example, "bastion"), ADDRESSES["hetzner"][1]) == [22]

    settings(example).update(bastion={"address": "10.1.1.9"}, operators=operators)
    example.up(timeout=UP_SECONDS)
    bastion, (first, *_) = stacks.machine(example, "bastion"), stacks.members(example)
    assert bastion.private_addresses == ("10.1.1.9",)
    assert re.findall(r"inet (10\.\S+)/", bastion.run("ip -4 -o address").stdout) == ["10.1.1.9"]
    assert open_ports(bastion, ADDRESSES["hetzner"][1]) == [22]

    del settings(example)["bastion"]
    example.up(timeout=UP_SECONDS)
    assert example.outputs()["hosts"]["etcd-1"] == first.address
    assert "bastion" not in example.outputs()
    assert unhealthy(first) == []


@ON_AWS
def test_the_clients_group_opens_no_port_on_a_client(
    example: Stack, inside: list[CloudMachine], stacks: AwsStacks
) -> None:
    assert open_ports(stacks.machine(example, "etcd-2"), inside[0].private_addresses[0]) == []


def test_only_root_reaches_the_metadata_service_whatever_happens_to_nftables(
    example: Stack, stacks: CloudStacks
) -> None:
    machine = stacks.machine(example, "etcd-3")
    # The emulated clouds have no metadata service; this one is reached like the real one.
    machine.run(
        "set -e; ip netns add cloud; ip link add tocloud type veth peer name card netns cloud;"
        "ip addr add 169.254.169.1/30 dev tocloud; ip link set tocloud up; ip route add 169.254.169.254 dev tocloud;"
        "ip -n cloud addr add 169.254.169.254/32 dev card; ip -n cloud link set card up; ip -n cloud link set lo up;"
        "ip -n cloud route add 169.254.169.1 dev card;"
        "systemd-run -q --unit=cloud ip netns exec cloud python3 -m http.server --bind 169.254.169.254 80"
    )
    try:
        assert any(metadata_for(machine, "root") == "200" for _ in every(0.2, seconds=20))
        for disturb in ("true", "nft flush ruleset", "systemctl try-restart systemd-networkd"):
            machine.run(disturb)
            said = [metadata_for(machine, user) for user in ("nobody", "etcd")]
            assert said == ["Permission denied"] * 2, disturb
        assert metadata_for(machine, "root") == "200"
    finally:
        machine.run("systemctl stop cloud; ip netns del cloud; systemctl try-restart etcd-firewall; true")
    show = "systemctl show {} -p {} --value"
    closed = machine.run(show.format("etcd-metadata.service", "ActiveEnterTimestampMonotonic")).stdout
    started = machine.run(show.format("etcd.service", "ExecMainStartTimestampMonotonic")).stdout
    assert 0 < int(closed) < int(started)


@ON_HETZNER
def test_rules_are_loaded_before_etcd_listens_also_after_reboot(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks
) -> None:
    client, stranger = inside
    machine = stacks.machine(example, "etcd-2")
    server = stacks.client.servers.get_by_name(machine.name)
    assert server is not None
    before = machine.guest.init
    finish(server.reboot())
    seen, deadline = set(), time.monotonic() + 120
    while not (machine.guest.init not in (None, before) and reaches(client, "10.1.1.12", 2379)):
        assert time.monotonic() < deadline, "the machine is not back"
        seen.update(open_ports(stranger, "10.1.1.12"))
    assert seen | set(open_ports(stranger, "10.1.1.12")) == set()
    assert open_ports(client, "10.1.1.12") == [2379]
    show = "systemctl show {} -p {} --value"
    loaded = machine.run(show.format("etcd-firewall.service", "ActiveEnterTimestampMonotonic")).stdout
    started = machine.run(show.format("etcd.service", "ExecMainStartTimestampMonotonic")).stdout
    assert 0 < int(loaded) < int(started)


@ON_HETZNER
def test_flushed_nftables_rules_return_without_stopping_a_member(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks
) -> None:
    client, stranger = inside
    machine = stacks.machine(example, "etcd-2")
    process = machine.run("systemctl show etcd -p MainPID --value").stdout
    machine.run("printf '#!/usr/sbin/nft -f\\nflush ruleset\\n' > /etc/nftables.conf")
    for command in ("nft flush ruleset", "systemctl restart nftables", "systemctl stop nftables"):
        machine.run(command)
        # Without a wait: an open port would be seen within the second that this takes.
        deadline = time.monotonic() + 3
        while open_ports(stranger, "10.1.1.12"):
            assert time.monotonic() < deadline, f"open after {command}"
        assert open_ports(client, "10.1.1.12") == [2379]
        assert (
            machine.run("systemctl is-active etcd etcd-firewall etcd-firewall-watch").stdout.split() == ["active"] * 3
        )
        assert machine.run("nft list table inet external_etcd >/dev/null && echo there").stdout.strip() == "there"
    assert machine.run("systemctl show etcd -p MainPID --value").stdout == process


def test_a_terminated_machine_returns_as_a_new_member(
    example: Stack, inside: list[CloudMachine], stacks: CloudStacks, tmp_path: Path
) -> None:
    machines = stacks.members(example)
    lost = leader(machines)
    slot = lost.name.removeprefix("plain-")
    had, ids = certificates(lost), members(next(machine for machine in machines if machine != lost))
    with probing_from(inside[0], example, tmp_path, planned=False):
        stacks.terminate(example, slot)
        if stacks.kind == "hetzner":
            # Pulumi still has the resource, and its provider does not treat a missing one as deleted.
            raise_generation(example, slot)
            assert "not_found" in example.up(check=False).text
        example.up("--refresh", timeout=UP_SECONDS)
    back = stacks.machine(example, slot)
    assert (back.private_addresses, certificates(back)) == (lost.private_addresses, had)
    assert stacks.kind == "hetzner" or back.address == lost.address
    now = members(back)
    assert {name for name in ids if ids[name] != now[name]} == {slot}
    assert set(now) == set(ids)
    assert unhealthy(back) == []


@ON_HETZNER
def test_a_member_replaces_the_leader_without_disturbing_clients(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks, tmp_path: Path
) -> None:
    machines = stacks.members(example)
    lead(machines, machines[2], "etcd-3")
    settings(example)["slots"][2] = {"name": "etcd-4", "generation": 1}
    with probing_from(inside[0], example, tmp_path, planned=True):
        example.up(timeout=UP_SECONDS)
    new = stacks.machine(example, "etcd-4")
    assert set(members(new)) == {"etcd-1", "etcd-2", "etcd-4"}
    assert unhealthy(new) == []
    # Another machine has its address now.
    (stranger,) = stacks.beside(example, "10.1.1.13")
    for address in ("10.1.1.11", "10.1.1.12", "10.1.1.14"):
        assert open_ports(stranger, address) == []


@ON_HETZNER
def test_two_of_three_leave_without_disturbing_clients(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks, tmp_path: Path
) -> None:
    machines = stacks.members(example)
    lead(machines, machines[1], "etcd-2")
    # A leaving member's gate confirms the other's machine: when a slot is removed, no member is asked.
    del settings(example)["slots"][1:]
    with probing_from(inside[0], example, tmp_path, planned=True):
        example.up(timeout=UP_SECONDS)
    first = machines[0]
    assert set(members(first)) == {"etcd-1"}
    assert unhealthy(first) == []
    assert stacks.counts(example)["Server"] == 1
    assert [name for name in stacks.cloud.resources()["servers"] if name.startswith("plain-")] == ["plain-etcd-1"]
    (stranger,) = stacks.beside(example, "10.1.1.12")
    assert open_ports(stranger, "10.1.1.11") == []
    assert open_ports(inside[0], "10.1.1.11") == [2379]
    assert example.up("--expect-no-changes").code == 0


@ON_AWS
def test_no_pulumi_option_replaces_a_running_machines_network_or_keys(example: Stack, stacks: AwsStacks) -> None:
    machines, ids = stacks.members(example), example.outputs()["server_ids"]
    init = [machine.guest.init for machine in machines]
    for resources, reason in (
        ("**PrivateKey::plain-etcd-1", "The ssh key plain-etcd-1 is the host key of etcd-1"),
        ("**AwsKey$tls:index/privateKey:PrivateKey::*", "nobody could log in to the running machines any more"),
        ("**Stash::plain-etcd-*", "keeps the values with which the running machines were created"),
        # Two at once would cost the quorum, so the second gate refuses before any machine is deleted.
        ("**Vpc::**", "stays as it is"),
    ):
        run = example.up("--replace", resources, check=False, timeout=UP_SECONDS)
        assert run.code != 0
        assert reason in run.text
    example.up(timeout=UP_SECONDS)
    assert example.outputs()["server_ids"] == ids
    assert [machine.guest.init for machine in machines] == init
    assert unhealthy(machines[0]) == []
    assert example.up("--expect-no-changes").code == 0


def test_destroy_leaves_no_resource_and_no_machine(example: Stack, stacks: CloudStacks) -> None:
    stacks.remove_beside()
    example.destroy()
    assert stacks.left() == []
    assert example.export()["deployment"].get("resources", []) == []
