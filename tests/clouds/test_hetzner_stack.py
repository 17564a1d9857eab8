"""The example of the platform hetzner on an emulated cloud whose servers boot: from first preview to nothing left."""

import time
from pathlib import Path

import pytest

from lab.clouds import CloudMachine
from tests.support.cloud_stacks import UP_SECONDS, certificates, counts, leader, members, probing_from, unhealthy
from tests.support.clouds import cloud, finish, new_client, reaches
from tests.support.hetzner_stacks import SLOTS, HetznerStacks, stacks
from tests.support.stacks import Stack

__all__ = ["cloud", "stacks"]

CLIENT, STRANGER_INSIDE = "10.1.2.9", "10.1.1.99"


@pytest.fixture(scope="module")
def example(stacks: HetznerStacks) -> Stack:
    stack = stacks.new("plain")
    stack.preview()
    assert stacks.left() == []
    stack.up(timeout=UP_SECONDS)
    return stack


@pytest.fixture(scope="module")
def inside(example: Stack, stacks: HetznerStacks) -> list[CloudMachine]:
    """A machine in the range of the clients, and one beside the members that is neither."""
    return stacks.beside("plain", CLIENT, STRANGER_INSIDE)


def test_the_example_makes_three_healthy_members(example: Stack, stacks: HetznerStacks) -> None:
    assert counts(example, "hcloud") == {
        "Network": 1,
        "NetworkSubnet": 1,
        "Firewall": 1,
        "PlacementGroup": 1,
        "SshKey": 1,
        "Server": 3,
    }
    assert unhealthy(stacks.machine("plain", "etcd-1")) == []
    outputs = example.outputs()
    assert [member["address"] for member in outputs["members"]] == ["10.1.1.11", "10.1.1.12", "10.1.1.13"]
    assert set(outputs["server_ids"]) == set(SLOTS)


def test_a_second_update_changes_nothing_and_a_refresh_finds_no_drift(example: Stack) -> None:
    assert example.up("--expect-no-changes").code == 0
    assert example.pulumi("refresh", "--yes", "--skip-preview", "--expect-no-changes").code == 0


def open_ports(machine: CloudMachine, address: str) -> list[int]:
    return [port for port in (22, 2379, 2380, 2381) if reaches(machine, address, port)]


def test_every_port_is_open_to_those_alone_whom_the_configuration_names(
    example: Stack,
    inside: list[CloudMachine],
    stacks: HetznerStacks,
) -> None:
    client, stranger_inside = inside
    stranger = stacks.cloud.stranger()
    first, second, _ = stacks.members("plain")
    assert second.address
    assert [port for port in (22, 2379, 2380, 2381) if reaches(stranger, second.address, port)] == []
    assert second.answers(10), "the operator comes from this computer"
    assert open_ports(stranger_inside, "10.1.1.12") == []
    assert open_ports(client, "10.1.1.12") == [2379]
    assert open_ports(first, "10.1.1.12") == [2379, 2380]


def test_the_rules_are_there_before_etcd_listens_also_after_a_reboot(
    example: Stack,
    inside: list[CloudMachine],
    stacks: HetznerStacks,
) -> None:
    client, stranger_inside = inside
    machine = stacks.machine("plain", "etcd-2")
    server = new_client(stacks.cloud).servers.get_by_name("plain-etcd-2")
    assert server is not None
    before = machine.guest.init
    finish(server.reboot())
    seen, deadline = set(), time.monotonic() + 120
    while not (machine.guest.init not in (None, before) and reaches(client, "10.1.1.12", 2379)):
        assert time.monotonic() < deadline, "the machine is not back"
        seen.update(open_ports(stranger_inside, "10.1.1.12"))
    assert seen | set(open_ports(stranger_inside, "10.1.1.12")) == set()
    assert open_ports(client, "10.1.1.12") == [2379]
    show = "systemctl show {} -p {} --value"
    loaded = machine.run(show.format("etcd-firewall.service", "ActiveEnterTimestampMonotonic")).stdout
    started = machine.run(show.format("etcd.service", "ExecMainStartTimestampMonotonic")).stdout
    assert 0 < int(loaded) < int(started)


def test_a_machine_with_a_local_disk_that_was_terminated_comes_back_as_a_new_member_of_its_slot(
    example: Stack,
    inside: list[CloudMachine],
    stacks: HetznerStacks,
    tmp_path: Path,
) -> None:
    machines = stacks.members("plain")
    lost = leader(machines)
    slot = lost.name.removeprefix("plain-")
    others = [machine for machine in machines if machine != lost]
    had, ids, addresses = certificates(lost), members(others[0]), lost.private_addresses
    with probing_from(inside[0], example, tmp_path, planned=False):
        stacks.terminate("plain", slot)
        example.pulumi("refresh", "--yes", "--skip-preview")
        example.up(timeout=UP_SECONDS)
    back = stacks.machine("plain", slot)
    assert (back.private_addresses, certificates(back)) == (addresses, had)
    now = members(back)
    assert {name for name in ids if ids[name] != now[name]} == {slot}
    assert set(now) == set(ids)
    assert unhealthy(back) == []


def test_destroy_leaves_no_resource_and_no_machine(example: Stack, stacks: HetznerStacks) -> None:
    stacks.remove_beside("plain")
    example.destroy()
    assert stacks.left() == []
    assert example.export()["deployment"].get("resources", []) == []
