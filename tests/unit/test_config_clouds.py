"""The configurations of the clouds' platforms: every error is reported at preview, with its key and the rule."""

from typing import Any

import pytest

from stacks import config
from tests.support.configurations import changed, example, load

BASTION = {
    "host": "bastion.example",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJyo2sTUMxnKx0DqJY0zVcVv7B8mCkG6m8jXcTHwNd0",
}
EXISTING: dict[str, Any] = {
    "zones": None,
    "vpcId": "vpc-0123456789abcdef0",
    "subnets": [
        {"zone": f"eu-central-1{zone}", "range": f"172.31.{16 * n}.0/20", "id": f"subnet-0123456789abcdef{n}"}
        for n, zone in enumerate("abc")
    ],
}
INSIDE = {"publicIpv4": False, "natGateway": True, "bastion.instanceType": "t3.nano"}


def subnets(**ranges: str) -> dict[str, Any]:
    """Zone's letter -> range of its subnet."""
    return {
        "zones": None,
        "subnets": [{"zone": f"eu-central-1{zone}", "range": each} for zone, each in ranges.items()],
    }


# Platform -> changes of its object, the key of a problem, and words of the rule.
BAD: dict[str, list[tuple[dict[str, Any], str, str]]] = {
    "aws": [
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
        (subnets(a="10.2.1.0/29"), "aws.subnets[0].range", "/28"),
        (subnets(a="10.3.1.0/24"), "aws.subnets[0].range", "in the range of its network"),
        (subnets(a="10.2.0.0/17", b="10.2.1.0/24"), "aws.subnets[1].range", "Ranges must not overlap"),
        (
            {**INSIDE, **subnets(a="10.2.0.0/20")},
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
        ({"metricsClients": ["0.0.0.0/0"]}, "aws.metricsClients[0]", "must not reach ports 2381 and 2382"),
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
    "hetzner": [
        ({"location": "ngb1"}, "hetzner.location", "The location must be one of"),
        ({"slots.1": {"name": "etcd-2", "location": "ash"}}, "hetzner.slots[1].location", "in one network zone"),
        ({"serverType": "large"}, "hetzner.serverType", "letters and a number"),
        ({"image": "debian-12-arm64"}, "hetzner.serverType", "cx23 is amd64, debian-12-arm64 is arm64"),
        ({"architecture": "arm64"}, "hetzner.serverType", "Image and server must have the same architecture"),
        ({"architecture": "riscv64"}, "hetzner.architecture", "An architecture must be amd64 or arm64"),
        ({"networkRange": "10.1.0.1/16"}, "hetzner.networkRange", "no bit of the address set"),
        ({"networkRange": "11.0.0.0/16"}, "hetzner.networkRange", "A private network must be in"),
        ({"networkRange": "10.1.1.0/25"}, "hetzner.networkRange", "/24 or larger"),
        ({"subnetRange": "10.1.1.0/29"}, "hetzner.subnetRange", "/28 or larger"),
        ({"subnetRange": "10.2.1.0/24"}, "hetzner.subnetRange", "must be in the range of its network"),
        ({"slots.0.address": "10.1.2.11"}, "hetzner.slots[0].address", "must be in the subnet"),
        ({"subnetRange": "10.1.0.0/24", "slots.0.address": "10.1.0.1"}, "hetzner.slots[0].address", "gateway"),
        ({"slots.0.address": "10.1.1.255"}, "hetzner.slots[0].address", "broadcast"),
        ({"slots.0.address": "10.1.1.12"}, "hetzner.slots[1].address", "etcd-1 has it too"),
        ({"slots.0.name": "red"}, "hetzner.slots[0].address", "must end in a number"),
        ({"slots.0.name": "Etcd-1"}, "hetzner.slots[0].name", "DNS label"),
        ({"slots.0.generation": 0}, "hetzner.slots[0].generation", "at least 1"),
        ({"slots.2": None}, "hetzner.slots", "odd"),
        ({"slots": [{"name": f"etcd-{n}"} for n in range(1, 12)]}, "hetzner.slots", "at most 10 servers"),
        ({"operators": ["0.0.0.0/0"]}, "hetzner.operators[0]", "must not reach port 22"),
        ({"operators": ["::/0"]}, "hetzner.operators[0]", "must not reach port 22"),
        ({"clients": ["0.0.0.0/0"]}, "hetzner.clients[0]", "must not reach port 2379"),
        ({"clients": ["10.1.2.1/24"]}, "hetzner.clients[0]", "no bit of the address set"),
        ({"operators": []}, "hetzner.operators", "Only these ranges can reach ssh, port 22"),
        ({"publicIpv4": False}, "hetzner.publicIpv4", "need a bastion"),
        ({"bastion.address": "10.1.1.11"}, "hetzner.slots[0].address", "the bastion's"),
        ({"bastion.address": "10.9.0.1"}, "hetzner.bastion.address", "must be in the subnet"),
        ({"bastion.location": "moon"}, "hetzner.bastion.location", "The location must be one of"),
        ({"volume.size": 5}, "hetzner.volume.size", "10 to 10240 GB"),
        ({"volume": {"protect": True}}, "hetzner.volume.size", "required"),
        ({"labels": {"cluster": "x"}}, "hetzner.labels.cluster", "The program itself sets"),
        ({"labels": {"a": "b c"}}, "hetzner.labels.a", "Name and value of a label"),
        ({"location": None}, "hetzner.location", "required"),
        ({"lokation": "x"}, "hetzner.lokation", "no such key"),
        ({"operators": "203.0.113.7/32"}, "hetzner.operators", "a list of texts"),
        ({"publicIpv4": "maybe"}, "hetzner.publicIpv4", "true or false"),
    ],
}
CLOUDS = pytest.mark.parametrize("platform", BAD)


def refused(platform: str, values: dict[str, Any]) -> config.ConfigError:
    with pytest.raises(config.ConfigError) as caught:
        load(values, stack=platform, region="eu-central-1")
    return caught.value


@pytest.mark.parametrize(
    ("platform", "changes", "key", "rule"), [(platform, *row) for platform, rows in BAD.items() for row in rows]
)
def test_bad_input_is_refused_with_its_key_and_the_rule(
    platform: str, changes: dict[str, Any], key: str, rule: str
) -> None:
    error = refused(platform, changed(platform, changes))
    assert [problem for problem in error.problems if problem.key == key and rule in problem.rule], str(error)
    assert all(problem.value and problem.remedy for problem in error.problems)


@pytest.mark.parametrize(
    ("platform", "key", "value", "remedy"),
    [
        ("aws", "image", "debian", "Did you mean 'debian-12'?"),
        ("aws", "instanceType", "large", ""),
        ("aws", "ami", "x", ""),
        ("aws", "vpcRange", "10.0.0.0/15", ""),
        ("hetzner", "location", "ngb1", "Did you mean 'nbg1'?"),
    ],
)
def test_a_wrong_value_for_all_slots_is_reported_once(platform: str, key: str, value: str, remedy: str) -> None:
    [problem] = refused(platform, changed(platform, {key: value})).problems
    assert not remedy or problem.remedy == remedy


@CLOUDS
def test_open_access_needs_an_explicit_setting(platform: str) -> None:
    load(changed(platform, {"operators": ["0.0.0.0/0"], "clients": ["0.0.0.0/0"], "openToTheWorld": True}))


@CLOUDS
@pytest.mark.parametrize(
    ("top", "key"),
    [
        ({"machines": []}, "machines"),
        ({"machinesFile": "x"}, "machinesFile"),
        ({"aws": None, "hetzner": None}, "{platform}"),
        ({"platform": "hosts"}, "{platform}"),
        ({"platform": "hetzer"}, "platform"),
        ({"ssh": {"port": 2222}}, "ssh.port"),
        ({"ssh": {"bastion": BASTION}}, "ssh.bastion.privateKeyFile"),
        ({"dataDirectory": "/etcd"}, "dataDirectory"),
    ],
)
def test_keys_of_other_platforms_are_refused(platform: str, top: dict[str, Any], key: str) -> None:
    error = refused(platform, example(platform) | top)
    assert key.format(platform=platform) in {problem.key for problem in error.problems}


def test_keys_of_another_cloud_are_refused() -> None:
    error = refused("aws", example("aws") | {"platform": "hetzner"})
    assert "aws" in {problem.key for problem in error.problems}


@CLOUDS
def test_created_machines_cannot_be_without_sftp(platform: str) -> None:
    [problem] = refused(platform, example(platform) | {"ssh": {"sftp": False}}).problems
    assert str(problem) == (
        "ssh.sftp: given false. etcd-node reaches created machines only by sftp, so the sshd of their image must serve "
        "it. Remove it, and choose an image with sftp, such as Debian's own."
    )
