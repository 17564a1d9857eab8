"""The configuration of the platform aws: its example, addresses and zones."""

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.plan.aws import AwsPlan, AwsSlot, AwsSubnet, check_aws
from stacks import config
from stacks.aws.config import AwsConfig
from tests.support.configurations import changed, load
from tests.support.sshd import new_key
from tests.unit.test_config_clouds import BASTION, EXISTING, INSIDE


def aws(changes: dict[str, Any], directory: Path | None = None, region: str = "eu-central-1", **top: Any) -> AwsConfig:
    stack = load(changed("aws", changes, **top), directory, region=region)
    assert isinstance(stack.machines, AwsConfig)
    assert stack.warnings == ()
    return stack.machines


def plan(changes: dict[str, Any]) -> AwsPlan:
    return aws(changes).plan


def test_the_example_is_valid() -> None:
    stack = aws({})
    assert stack.plan.addresses == {"etcd-1": "10.2.1.11", "etcd-2": "10.2.2.12", "etcd-3": "10.2.3.13"}
    assert stack.plan.slot_zones == {f"etcd-{n}": f"eu-central-1{zone}" for n, zone in enumerate("abc", 1)}
    assert stack.plan.edge_range is None
    assert (stack.operator.user, stack.operator.private_key) == ("etcd-operator", "")


def test_commented_parts_of_the_example_are_valid() -> None:
    stack = aws(
        {
            **INSIDE,
            "clients": ["10.2.64.0/20"],
            "clientGroups": ["sg-0123456789abcdef0"],
            "volume": {"size": 20, "type": "gp3", "protect": False},
        }
    )
    assert stack.plan.edge_range == "10.2.0.0/24"
    assert stack.plan.volume is not None
    assert stack.plan.volume.size == 20
    assert stack.args["volume"]["protect"] is False


def test_an_existing_vpc_and_its_subnets_are_accepted() -> None:
    found = plan(EXISTING)
    assert found.addresses == {"etcd-1": "172.31.0.11", "etcd-2": "172.31.16.12", "etcd-3": "172.31.32.13"}
    assert [subnet.id for subnet in found.subnets] == [f"subnet-0123456789abcdef{n}" for n in range(3)]


def test_private_machines_can_use_an_existing_vpc_and_bastion(tmp_path: Path) -> None:
    private, _ = new_key()
    file = tmp_path / "key"
    file.write_text(private)
    file.chmod(0o600)
    ssh = {"privateKeyFile": "key", "bastion": BASTION, "user": "ops"}
    stack = aws({**EXISTING, "publicIpv4": False}, tmp_path, ssh=ssh)
    assert stack.operator.bastion is not None
    assert stack.operator.bastion.private_key == stack.operator.private_key == private
    assert (stack.operator.user, stack.plan.edge_range) == ("ops", None)


def test_five_slots_are_spread_over_three_zones() -> None:
    found = plan({"slots": [{"name": f"etcd-{n}"} for n in range(1, 6)]})
    assert list(found.slot_zones.values()) == [f"eu-central-1{zone}" for zone in "abcab"]
    assert list(found.addresses.values()) == ["10.2.1.11", "10.2.2.12", "10.2.3.13", "10.2.1.14", "10.2.2.15"]


def test_an_arm64_instance_type_selects_arm64() -> None:
    found = plan({"instanceType": "m7g.large", "architecture": "arm64"})
    assert {slot.instance_type for slot in found.slots} == {"m7g.large"}


def test_a_slot_can_override_common_values() -> None:
    slot = {"name": "etcd-2", "zone": "eu-central-1a", "image": "al2023", "generation": 4}
    slot["instanceType"] = "c7g.large"
    found = plan(
        {
            "slots.0": {"name": "etcd-1", "zone": "eu-central-1b"},
            "slots.1": slot,
            "slots.2": {"name": "etcd-3", "zone": "eu-central-1c"},
        }
    )
    second = found.slots[1]
    assert (second.image, second.generation, second.instance_type) == ("al2023", 4, "c7g.large")
    assert found.addresses["etcd-2"] == "10.2.1.12"


def test_an_unknown_region_is_not_compared() -> None:
    aws({}, region="")
    with pytest.raises(config.ConfigError, match="aws:region"):
        aws({}, region="us-east-1")


@given(
    st.lists(st.integers(1, 100), min_size=1, max_size=7, unique=True),
    st.lists(st.sampled_from("abcdef"), min_size=1, unique=True),
    st.integers(16, 20),
)
def test_planned_addresses_are_unique_unreserved_and_in_their_zones_subnet(
    numbers: list[int], letters: list[str], length: int
) -> None:
    wanted = AwsPlan(
        cluster="a",
        slots=[AwsSlot(name=f"etcd-{number}", instance_type="t3.medium") for number in numbers],
        subnets=[AwsSubnet(f"eu-central-1{letter}") for letter in letters],
        vpc_range=f"10.16.0.0/{length}",
        operators=["203.0.113.7/32"],
    )
    if check_aws(wanted):
        return
    addresses = {name: ipaddress.IPv4Address(text) for name, text in wanted.addresses.items()}
    assert len(set(addresses.values())) == len(numbers)
    for name, address in addresses.items():
        subnet = wanted.ranges[wanted.slot_zones[name]]
        assert address in subnet
        assert int(address) - int(subnet.network_address) >= 4
        assert address != subnet.broadcast_address


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=7, unique=True),
    st.lists(st.integers(1, 60), min_size=1, max_size=7, unique=True),
)
def test_adding_or_removing_slots_keeps_the_other_addresses(before: list[int], after: list[int]) -> None:
    def addresses(numbers: list[int]) -> dict[str, str]:
        slots = [AwsSlot(name=f"etcd-{number}", instance_type="t3.medium") for number in numbers]
        return AwsPlan(
            cluster="a", slots=slots, subnets=[AwsSubnet(f"eu-central-1{letter}") for letter in "abc"]
        ).addresses

    first, second = addresses(before), addresses(after)
    assert all(second[name] == address for name, address in first.items() if name in second)
