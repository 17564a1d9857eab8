"""The example of each cloud on an emulated one whose machines boot: from nothing to a changing cluster to nothing."""

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
    "hetzner": {
        **dict.fromkeys(("Network", "NetworkSubnet", "Firewall", "PlacementGroup", "SshKey"), 1),
        "Server": 3,
    },
}
ADDRESSES = {
    "aws": ["10.2.1.11", "10.2.2.12", "10.2.3.13"],
    "hetzner": ["10.1.1.11", "10.1.1.12", "10.1.1.13"],
}


@pytest.fixture(scope="module")
def example(stacks: CloudStacks) -> Stack:
    stack = stacks.new("plain")
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def inside(example: Stack, stacks: CloudStacks) -> list[CloudMachine]:
    """A machine that may be a client, and one beside the second member that may be nothing."""
    return stacks.beside(example, "client", "stranger")


def lead(machines: list[CloudMachine], machine: CloudMachine, name: str) -> None:
    """Moves leadership to a member, if it has not got it."""
    now = leader(machines)
    if now != machine:
        ask(now, "move-leader", f"{members(machine)[name]:x}")
    assert leader(machines) == machine


def metadata_for(machine: CloudMachine, user: str) -> str:
    """What a process of this user on the machine gets from the metadata service: the status, or why there is none."""
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


def test_the_example_makes_three_healthy_members(example: Stack, stacks: CloudStacks) -> None:
    assert stacks.counts(example) == RESOURCES[stacks.kind]
    assert unhealthy(stacks.machine(example, "etcd-1")) == []
    outputs = example.outputs()
    assert [member["address"] for member in outputs["members"]] == ADDRESSES[stacks.kind]
    assert set(outputs["server_ids"]) == set(SLOTS)
    listed = outputs["machines_file"]["machines"]
    assert {row["name"]: row["ssh"]["host"] for row in listed} == outputs["hosts"]


@ON_AWS
def test_each_member_is_in_a_zone_of_its_own(example: Stack, stacks: AwsStacks) -> None:
    servers = example.outputs()["server_ids"].values()
    rows = stacks.cloud.client().describe_instances(InstanceIds=list(servers))["Reservations"]
    zones = [row["Instances"][0]["Placement"]["AvailabilityZone"] for row in rows]
    assert sorted(zones) == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]


def test_a_second_update_changes_nothing_and_a_refresh_finds_no_drift(example: Stack) -> None:
    assert example.up("--expect-no-changes").code == 0
    assert example.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0


@ON_AWS
def test_one_range_more_for_clients_is_one_rule_more_and_touches_no_machine(example: Stack) -> None:
    settings(example)["clients"] = ["10.2.64.0/20"]
    try:
        text = example.preview().text
    finally:
        del settings(example)["clients"]
    assert "+ 1 to create" in text
    assert not [word for word in ("to update", "to replace", "to delete") if word in text], text


def test_every_port_is_open_to_those_alone_who_have_business_there(
    example: Stack, inside: list[CloudMachine], stacks: CloudStacks
) -> None:
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
def test_an_operator_with_another_address_comes_in_without_the_old_one(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks
) -> None:
    """All is as a colleague at another address has left it; only the configuration says where the operator is now."""
    here = settings(example)["operators"]
    settings(example)["operators"] = ["203.0.113.9/32"]
    run = example.up()
    assert "1 updated" in run.text, "nobody has to reach the machines for it"
    second = stacks.machine(example, "etcd-2")
    assert second.address
    assert not second.answers(2)

    settings(example)["operators"] = here
    example.config["external-etcd:flags"] = {"max-txn-ops": "256"}
    example.up()
    assert "--max-txn-ops=256" in second.run("tr '\\0' ' ' </proc/$(pgrep -x etcd)/cmdline").stdout
    (address,) = second.private_addresses
    assert [open_ports(machine, address, [22]) for machine in inside] == [[], []], "the network is still closed to ssh"
    assert open_ports(stacks.stranger(), second.address, [22]) == []


@ON_HETZNER
def test_a_bastion_comes_to_a_cluster_that_lives_moves_and_goes_again(example: Stack, stacks: HetznerStacks) -> None:
    operators = settings(example)["operators"]
    # The order for another address: it is an operator's first.
    settings(example).update(bastion={}, operators=[*operators, "10.1.1.9/32"])
    example.up(timeout=UP_SECONDS)
    assert list(example.outputs()["hosts"].values()) == ADDRESSES["hetzner"]
    assert open_ports(stacks.machine(example, "bastion"), ADDRESSES["hetzner"][1]) == [22]

    settings(example).update(bastion={"address": "10.1.1.9"}, operators=operators)
    example.up(timeout=UP_SECONDS)
    bastion, (first, *_) = stacks.machine(example, "bastion"), stacks.members(example)
    assert bastion.private_addresses == ("10.1.1.9",)
    assert open_ports(bastion, ADDRESSES["hetzner"][1]) == [22]

    del settings(example)["bastion"]
    example.up(timeout=UP_SECONDS)
    assert example.outputs()["hosts"]["etcd-1"] == first.address
    assert "bastion" not in example.outputs()
    assert unhealthy(first) == []


@ON_AWS
def test_the_clients_group_opens_nothing_on_who_carries_it(
    example: Stack, inside: list[CloudMachine], stacks: AwsStacks
) -> None:
    assert open_ports(stacks.machine(example, "etcd-2"), inside[0].private_addresses[0]) == []


def test_the_metadata_service_is_for_root_alone_whatever_becomes_of_nftables_and_the_network(
    example: Stack, stacks: CloudStacks
) -> None:
    machine = stacks.machine(example, "etcd-3")
    # The emulated clouds have none; this one is as far away as the real one.
    machine.run(
        "set -e; ip netns add cloud; ip link add tocloud type veth peer name card netns cloud;"
        "ip addr add 169.254.169.1/30 dev tocloud; ip link set tocloud up; ip route add 169.254.169.254 dev tocloud;"
        "ip -n cloud addr add 169.254.169.254/32 dev card; ip -n cloud link set card up; ip -n cloud link set lo up;"
        "ip -n cloud route add 169.254.169.1 dev card;"
        "systemd-run -q --unit=cloud ip netns exec cloud python3 -m http.server --bind 169.254.169.254 80",
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
def test_the_rules_are_there_before_etcd_listens_also_after_a_reboot(
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
def test_who_flushes_or_restarts_nftables_stops_no_member_and_opens_no_port_for_long(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks
) -> None:
    client, stranger = inside
    machine = stacks.machine(example, "etcd-2")
    process = machine.run("systemctl show etcd -p MainPID --value").stdout
    machine.run("printf '#!/usr/sbin/nft -f\\nflush ruleset\\n' > /etc/nftables.conf")
    for command in ("nft flush ruleset", "systemctl restart nftables", "systemctl stop nftables"):
        machine.run(command)
        # Without waiting: whoever is refused here was refused within the second that this takes.
        deadline = time.monotonic() + 3
        while open_ports(stranger, "10.1.1.12"):
            assert time.monotonic() < deadline, f"open after {command}"
        assert open_ports(client, "10.1.1.12") == [2379]
        assert (
            machine.run("systemctl is-active etcd etcd-firewall etcd-firewall-watch").stdout.split() == ["active"] * 3
        )
        assert machine.run("nft list table inet external_etcd >/dev/null && echo there").stdout.strip() == "there"
    assert machine.run("systemctl show etcd -p MainPID --value").stdout == process


def test_a_machine_with_a_local_disk_that_was_terminated_comes_back_as_a_new_member_of_its_slot(
    example: Stack, inside: list[CloudMachine], stacks: CloudStacks, tmp_path: Path
) -> None:
    machines = stacks.members(example)
    lost = leader(machines)
    slot = lost.name.removeprefix("plain-")
    had, ids = certificates(lost), members(next(machine for machine in machines if machine != lost))
    with probing_from(inside[0], example, tmp_path, planned=False):
        stacks.terminate(example, slot)
        if stacks.kind == "hetzner":
            # Pulumi still believes in it, and its provider does not take what is gone for deleted.
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
def test_another_name_in_the_place_of_the_leader_joins_before_that_one_leaves_and_clients_notice_nothing(
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
    # Its address has another machine now.
    (stranger,) = stacks.beside(example, "10.1.1.13")
    for address in ("10.1.1.11", "10.1.1.12", "10.1.1.14"):
        assert open_ports(stranger, address) == []


@ON_HETZNER
def test_two_of_three_leave_with_their_machines_the_leader_among_them_and_clients_notice_nothing(
    example: Stack, inside: list[CloudMachine], stacks: HetznerStacks, tmp_path: Path
) -> None:
    machines = stacks.members(example)
    lead(machines, machines[1], "etcd-2")
    # Who goes vouches for the other's machine: when a slot goes, nobody is asked.
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
def test_no_option_of_pulumi_takes_the_network_or_the_keys_from_machines_that_run(
    example: Stack, stacks: AwsStacks
) -> None:
    machines, ids = stacks.members(example), example.outputs()["server_ids"]
    init = [machine.guest.init for machine in machines]
    for resources, reason in (
        ("**PrivateKey::plain-etcd-1", "The ssh key plain-etcd-1 is the host key of etcd-1"),
        ("**AwsKey$tls:index/privateKey:PrivateKey::*", "nobody could log in to the machines that run any more"),
        ("**Stash::plain-etcd-*", "keeps what was decided when it was made"),
        # Two of them let go would be one too many, so the second gate refuses, and no machine has gone by then.
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
