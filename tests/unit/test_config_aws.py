"""The configuration of the platform aws: the example is valid, and every error is reported at preview."""

import copy
import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from components.plan.aws import AwsPlan, AwsSlot, AwsSubnet, check_aws
from stacks import config
from stacks.aws.config import AwsConfig

REPO = Path(__file__).resolve().parents[2]
EXAMPLE = {
    name.removeprefix("external-etcd:"): value
    for name, value in yaml.safe_load((REPO / "Pulumi.aws.yaml").read_text())["config"].items()
    if name.startswith("external-etcd:")
}
BASTION = {
    "host": "bastion.example",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJyo2sTUMxnKx0DqJY0zVcVv7B8mCkG6m8jXcTHwNd0",
}
EXISTING = {
    "zones": None,
    "vpcId": "vpc-0123456789abcdef0",
    "subnets": [
        {"zone": f"eu-central-1{zone}", "range": f"172.31.{16 * n}.0/20", "id": f"subnet-0123456789abcdef{n}"}
        for n, zone in enumerate("abc")
    ],
}
INSIDE = {"publicIpv4": False, "natGateway": True, "bastion.instanceType": "t3.nano"}


def load(values: dict[str, Any], region: str | None = "eu-central-1", directory: Path | None = None) -> AwsConfig:
    raw = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
    stack = config.load("aws", raw, directory, {"aws:region": region} if region else {})
    assert isinstance(stack.machines, AwsConfig)
    assert stack.warnings == ()
    return stack.machines


def changed(changes: dict[str, Any], **top: Any) -> dict[str, Any]:
    """The example with other values: `a.b` -> value, None removes it, below the key `aws`."""
    values = copy.deepcopy({**EXAMPLE, **top})
    for path, value in changes.items():
        *above, last = path.split(".")
        place = values["aws"]
        for part in above:
            place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
        if value is None:
            place.pop(last, None)
        else:
            place[int(last) if last.isdigit() else last] = copy.deepcopy(value)
    return values


def plan(changes: dict[str, Any], **top: Any) -> AwsPlan:
    return load(changed(changes, **top)).plan


def test_the_example_is_valid() -> None:
    stack = load(EXAMPLE)
    assert stack.plan.addresses == {"etcd-1": "10.2.1.11", "etcd-2": "10.2.2.12", "etcd-3": "10.2.3.13"}
    assert stack.plan.slot_zones == {f"etcd-{n}": f"eu-central-1{zone}" for n, zone in enumerate("abc", 1)}
    assert stack.plan.edge_range is None
    assert (stack.operator.user, stack.operator.private_key) == ("etcd-operator", "")


def test_commented_parts_of_the_example_are_valid() -> None:
    stack = load(
        changed(
            {
                **INSIDE,
                "clients": ["10.2.64.0/20"],
                "clientGroups": ["sg-0123456789abcdef0"],
                "volume": {"size": 20, "type": "gp3", "protect": False},
            }
        )
    )
    assert stack.plan.edge_range == "10.2.0.0/24"
    assert stack.plan.volume is not None
    assert stack.plan.volume.size == 20
    assert not stack.protect_volume


def test_an_existing_vpc_and_its_subnets_are_accepted() -> None:
    found = plan(EXISTING)
    assert found.addresses == {"etcd-1": "172.31.0.11", "etcd-2": "172.31.16.12", "etcd-3": "172.31.32.13"}
    assert [subnet.id for subnet in found.subnets] == [f"subnet-0123456789abcdef{n}" for n in range(3)]


def test_private_machines_can_use_an_existing_vpc_and_bastion(
    tmp_path: Path,
) -> None:
    private = ed25519.Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    file = tmp_path / "key"
    file.write_bytes(private)
    file.chmod(0o600)
    values = changed(
        {**EXISTING, "publicIpv4": False}, ssh={"privateKeyFile": "key", "bastion": BASTION, "user": "ops"}
    )
    stack = load(values, directory=tmp_path)
    assert stack.operator.bastion is not None
    assert stack.operator.bastion.private_key == stack.operator.private_key == private.decode()
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


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
        ({"zones": []}, "aws.zones", "in at least one zone"),
        ({"zones": None}, "aws.zones", "in at least one zone"),
        ({"zones.0": "eu-central-1"}, "aws.zones[0]", "a region and a letter"),
        ({"zones.1": "eu-west-1b"}, "aws.zones[1]", "that of the provider (aws:region): eu-central-1"),
        ({"zones.1": "eu-central-1a"}, "aws.zones", "Each zone can have only one subnet"),
        ({"subnets": EXISTING["subnets"]}, "aws.zones", "in zones or"),
        ({"vpcId": "vpc-0123456789abcdef0"}, "aws.subnets[0].id", "must have existing subnets"),
        ({"vpcId": "vpc-0123456789abcdef0", "zones": None}, "aws.subnets", "must have existing subnets"),
        ({**EXISTING, "vpcId": None}, "aws.subnets[0].id", "in an existing VPC"),
        ({**EXISTING, "vpcId": "net-1"}, "aws.vpcId", "8 or 17 digits"),
        ({**EXISTING, "subnets.0.id": "subnet-1"}, "aws.subnets[0].id", "8 or 17 digits"),
        ({**EXISTING, "subnets.0.range": None}, "aws.subnets[0].range", "are derived from it"),
        ({**EXISTING, "subnets.1.range": "172.31.0.0/24"}, "aws.subnets[1].range", "Ranges must not overlap"),
        ({**EXISTING, "natGateway": True, "publicIpv4": False}, "aws.natGateway", "does not change the routes"),
        ({**EXISTING, "bastion.instanceType": "t3.nano"}, "aws.bastion.subnetId", "in an existing subnet"),
        ({"vpcRange": "10.2.0.1/16"}, "aws.vpcRange", "no bit of the address set"),
        ({"vpcRange": "11.0.0.0/16"}, "aws.vpcRange", "A private network must be in"),
        ({"vpcRange": "10.0.0.0/15"}, "aws.vpcRange", "/16 or smaller"),
        ({"vpcRange": "10.2.0.0/25"}, "aws.vpcRange", "/24 or larger"),
        (
            {"zones": None, "subnets": [{"zone": "eu-central-1a", "range": "10.2.1.0/29"}]},
            "aws.subnets[0].range",
            "/28",
        ),
        (
            {"zones": None, "subnets": [{"zone": "eu-central-1a", "range": "10.3.1.0/24"}]},
            "aws.subnets[0].range",
            "in the range of its network",
        ),
        (
            {
                "zones": None,
                "subnets": [
                    {"zone": "eu-central-1a", "range": "10.2.0.0/17"},
                    {"zone": "eu-central-1b", "range": "10.2.1.0/24"},
                ],
            },
            "aws.subnets[1].range",
            "Ranges must not overlap",
        ),
        (
            {**INSIDE, "zones": None, "subnets": [{"zone": "eu-central-1a", "range": "10.2.0.0/20"}]},
            "aws.subnets[0].range",
            "the subnet of the bastion and the NAT gateway is 10.2.0.0/24",
        ),
        ({"instanceType": "large"}, "aws.instanceType", "a family, a dot and a size"),
        ({"architecture": "arm64"}, "aws.instanceType", "t3.medium is amd64, debian-12 is arm64"),
        ({"architecture": "riscv64"}, "aws.architecture", "An architecture must be amd64 or arm64"),
        ({"image": "debian-13"}, "aws.image", "debian-12, ubuntu-24.04, al2023"),
        ({"ami": "debian"}, "aws.ami", "8 or 17 digits"),
        ({"instanceType": "t2.medium", "volume.size": 20}, "aws.instanceType", "before Nitro"),
        ({"volume.size": 0}, "aws.volume.size", "1 to 65536 GiB"),
        ({"volume": {"size": 20, "type": "st1"}}, "aws.volume.type", "The type of a volume must be one of"),
        ({"volume": {"size": 20, "iops": 20000}}, "aws.volume.iops", "500 IOPS per GiB"),
        ({"volume": {"size": 20, "throughput": 1000}}, "aws.volume.throughput", "4 IOPS"),
        ({"volume": {"protect": True}}, "aws.volume.size", "required"),
        ({"rootSize": 4}, "aws.rootSize", "8 to 16384 GiB"),
        ({"slots.0.address": "10.2.2.11"}, "aws.slots[0].address", "must be in the subnet, 10.2.1.0/24"),
        ({"slots.0.address": "10.2.1.1"}, "aws.slots[0].address", "AWS's router"),
        ({"slots.0.address": "10.2.1.2"}, "aws.slots[0].address", "AWS's name server"),
        ({"slots.0.address": "10.2.1.3"}, "aws.slots[0].address", "AWS's own"),
        ({"slots.0.address": "10.2.1.0"}, "aws.slots[0].address", "the subnet's own"),
        ({"slots.0.address": "10.2.1.255"}, "aws.slots[0].address", "broadcast"),
        ({"slots.2.address": "10.2.3.1"}, "aws.slots[2].address", "AWS's router"),
        ({"slots.0.name": "red"}, "aws.slots[0].zone", "a slot's name must end in a number"),
        ({"slots.0": {"name": "red", "zone": "eu-central-1a"}}, "aws.slots[0].address", "must end in a number"),
        ({"slots.0.name": "Etcd-1"}, "aws.slots[0].name", "DNS label"),
        ({"slots.0.zone": "eu-central-1d"}, "aws.slots[0].zone", "one of the zones in aws.zones"),
        ({"slots.1.name": "etcd-4", "slots.2.name": "etcd-7"}, "aws.slots", "spread evenly"),
        ({"slots.0.generation": 0}, "aws.slots[0].generation", "at least 1"),
        ({"slots": [{"name": "etcd-1"}, {"name": "etcd-2"}]}, "aws.slots", "odd"),
        ({"slots.0.name": "bastion", **INSIDE}, "aws.slots[0].name", "name of the created bastion"),
        ({"operators": ["0.0.0.0/0"]}, "aws.operators[0]", "must not reach port 22"),
        ({"operators": ["::/0"]}, "aws.operators[0]", "must not reach port 22"),
        ({"clients": ["0.0.0.0/0"]}, "aws.clients[0]", "must not reach port 2379"),
        ({"metricsClients": ["0.0.0.0/0"]}, "aws.metricsClients[0]", "must not reach port 2381"),
        ({"clients": ["10.1.2.1/24"]}, "aws.clients[0]", "no bit of the address set"),
        ({"clientGroups": ["web"]}, "aws.clientGroups[0]", "8 or 17 digits"),
        ({"operators": []}, "aws.operators", "Only these ranges can reach ssh, port 22"),
        ({"publicIpv4": False, "natGateway": True}, "aws.publicIpv4", "need a bastion"),
        ({"natGateway": True}, "aws.natGateway", "need no NAT gateway"),
        ({"publicIpv4": False, "bastion": {}}, "releaseMirror", "need a mirror that they can reach"),
        ({**INSIDE, "bastion.image": "windows"}, "aws.bastion.image", "debian-12"),
        ({**INSIDE, "bastion.subnetId": "subnet-0123456789abcdef0"}, "aws.bastion.subnetId", "in an existing VPC"),
        ({"tags": {"cluster": "x"}}, "aws.tags.cluster", "The program itself sets"),
        ({"tags": {"aws:x": "y"}}, "aws.tags.aws:x", "not begin with aws:"),
        ({"instanceType": None}, "aws.instanceType", "required"),
        ({"zonen": ["x"]}, "aws.zonen", "no such key"),
        ({"operators": "203.0.113.7/32"}, "aws.operators", "a list of texts"),
    ],
)
def test_bad_input_is_refused_with_its_key_and_the_rule(changes: dict[str, Any], key: str, rule: str) -> None:
    with pytest.raises(config.ConfigError) as refused:
        load(changed(changes))
    found = [problem for problem in refused.value.problems if problem.key == key and rule in problem.rule]
    assert found, str(refused.value)
    assert all(problem.value and problem.remedy for problem in refused.value.problems)


@pytest.mark.parametrize(
    "changes", [{"image": "debian"}, {"instanceType": "large"}, {"ami": "x"}, {"vpcRange": "10.0.0.0/15"}]
)
def test_a_wrong_value_for_all_slots_is_reported_once(changes: dict[str, Any]) -> None:
    with pytest.raises(config.ConfigError) as refused:
        load(changed(changes))
    assert len(refused.value.problems) == 1, str(refused.value)


def test_open_access_needs_an_explicit_setting() -> None:
    plan({"operators": ["0.0.0.0/0"], "clients": ["0.0.0.0/0"], "openToTheWorld": True})


def test_an_unknown_region_is_not_compared() -> None:
    load(EXAMPLE, region=None)
    with pytest.raises(config.ConfigError, match="aws:region"):
        load(EXAMPLE, region="us-east-1")


@pytest.mark.parametrize(
    ("top", "key"),
    [
        ({"machines": []}, "machines"),
        ({"aws": None}, "aws"),
        ({"platform": "hosts"}, "aws"),
        ({"platform": "hetzner"}, "aws"),
        ({"ssh": {"port": 2222}}, "ssh.port"),
        ({"ssh": {"bastion": BASTION}}, "ssh.bastion.privateKeyFile"),
    ],
)
def test_keys_of_other_platforms_are_refused(top: dict[str, Any], key: str) -> None:
    with pytest.raises(config.ConfigError) as refused:
        load({**EXAMPLE, **top})
    assert key in {problem.key for problem in refused.value.problems}


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
