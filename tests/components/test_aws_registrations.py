"""The platform aws as the engine receives it, in a preview and an update: names, parents, order, rules, secrets."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.aws import AwsMachines, AwsNetwork
from components.plan import PlanError
from stacks import aws, config
from tests.support.recording import Recorder, Registration, aws_id, is_secret, plain_text, record

REPO = Path(__file__).resolve().parents[2]
EXAMPLE = {
    name.removeprefix("external-etcd:"): value
    for name, value in yaml.safe_load((REPO / "Pulumi.aws.yaml").read_text())["config"].items()
    if name.startswith("external-etcd:")
}
SLOTS = ("etcd-1", "etcd-2", "etcd-3")
ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
PRIVATE: dict[str, Any] = {"publicIpv4": False, "natGateway": True, "bastion": {"instanceType": "t3.nano"}}
VOLUME: dict[str, Any] = {"volume": {"size": 20}}
EXISTING: dict[str, Any] = {
    "zones": None,
    "vpcId": "vpc-0123456789abcdef0",
    "subnets": [
        {"zone": zone, "range": f"172.31.{16 * n}.0/20", "id": f"subnet-0123456789abcdef{n}"}
        for n, zone in enumerate(ZONES)
    ],
}
PREVIEW_AND_UPDATE = pytest.mark.parametrize("preview", [True, False], ids=["preview", "update"])
INSTANCE, CARD, VOLUME_TYPE = (
    "aws:ec2/instance:Instance",
    "aws:ec2/networkInterface:NetworkInterface",
    "aws:ebs/volume:Volume",
)
GROUP, INGRESS, EGRESS = (
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)
UNTAGGED = ("Route", "RouteTableAssociation", "VolumeAttachment")
FIRST = {"etcd-1": 1, "etcd-2": 1, "etcd-3": 1}


def wanted(generations: str = "111", **changes: Any) -> config.StackConfig:
    values = copy.deepcopy(EXAMPLE)
    values["aws"] = {name: value for name, value in {**values["aws"], **changes}.items() if value is not None}
    for slot, generation in zip(values["aws"]["slots"], generations, strict=True):
        slot["generation"] = int(generation)
    raw = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
    return config.load("aws", raw)


def stack(preview: bool, previous: dict[str, Any] | None = None, generations: str = "111", **changes: Any) -> Recorder:
    loaded = wanted(generations, **changes)
    return record(lambda: aws.build(loaded, previous or {}), preview)


def types(recorder: Recorder, type_: str) -> list[str]:
    return sorted(each.name for each in recorder.registrations if each.type.rsplit(":", 1)[-1] == type_)


def of_cloud(recorder: Recorder) -> list[Registration]:
    return [each for each in recorder.registrations if each.type.startswith("aws:")]


def rules(recorder: Recorder) -> list[tuple[str, str, int | None]]:
    """Group, who may, and to which port, of every rule that lets something in."""
    return sorted(
        (
            each.inputs["securityGroupId"],
            each.inputs.get("cidrIpv4") or each.inputs.get("cidrIpv6") or each.inputs["referencedSecurityGroupId"],
            int(each.inputs["fromPort"]),
        )
        for each in recorder.of_type(INGRESS)
    )


def stashes(generations: str) -> list[str]:
    kept = [f"aws-{slot}-generation-{number}" for slot, number in zip(SLOTS, generations, strict=True)]
    return sorted([*kept, *(f"{name}-first-boot" for name in kept), "aws-change", "aws-founding", "aws-machines"])


@PREVIEW_AND_UPDATE
def test_the_names_of_all_resources_are_an_interface_and_stay_as_they_are(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    found = [
        (each.type.rsplit(":", 1)[-1], each.name)
        for each in recorder.registrations
        if each.type.startswith(("aws:", "external-etcd:index:Aws"))
    ]
    slot = ("Instance", "NetworkInterface", "Volume", "VolumeAttachment")
    assert sorted(found) == sorted(
        [
            *((type_, "aws") for type_ in ("AwsNetwork", "AwsKey", "AwsMachines")),
            *((type_, "aws") for type_ in ("Vpc", "InternetGateway", "RouteTable", "Route")),
            *((type_, f"aws-{zone}") for zone in ZONES for type_ in ("Subnet", "RouteTableAssociation")),
            *((type_, "aws-edge") for type_ in ("Subnet", "RouteTable", "Route", "RouteTableAssociation")),
            *((type_, "aws-edge") for type_ in ("Eip", "NatGateway")),
            *(("SecurityGroup", f"aws-{group}") for group in ("members", "clients")),
            *(("SecurityGroupIngressRule", f"aws-{rule}") for rule in ("peers", "members-clients", "clients-clients")),
            *(("SecurityGroupEgressRule", f"aws-{rule}") for rule in ("members-out", "clients-out")),
            *((type_, "aws-bastion") for type_ in ("AwsBastion", "Instance", "NetworkInterface", "Eip")),
            ("SecurityGroup", "aws-bastion"),
            ("SecurityGroupIngressRule", "aws-bastion-ssh-203.0.113.7-32"),
            ("SecurityGroupIngressRule", "aws-bastion-members"),
            ("SecurityGroupEgressRule", "aws-bastion-out"),
            *((type_, f"aws-{name}") for name in SLOTS for type_ in slot),
        ]
    )
    assert types(recorder, "Stash") == stashes("111")
    for suffix in ("reached", "gate"):
        commands = [name for name in types(recorder, "Command") if name.endswith(suffix) and "bastion" not in name]
        assert commands == [f"aws-{name}-{suffix}" for name in SLOTS]


@PREVIEW_AND_UPDATE
def test_every_resource_hangs_below_the_component_that_makes_it(preview: bool) -> None:
    for each in stack(preview, **VOLUME, **PRIVATE).registrations:
        if each.request.custom and "StackReference" not in each.type:
            assert each.parent in ("aws", "aws-pki", "aws-bastion", *(f"aws-{slot}" for slot in SLOTS)), each.name


@PREVIEW_AND_UPDATE
def test_everything_that_takes_tags_says_whose_it_is_and_has_a_readable_name(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    for each in of_cloud(recorder):
        if each.type.rsplit(":", 1)[-1] not in UNTAGGED:
            tags = each.inputs["tags"]
            assert (tags["etcd"], tags["cluster"], tags["environment"]) == ("true", "aws", "test"), each.name
            assert tags["Name"].startswith("aws"), each.name
    for slot in SLOTS:
        for type_ in (INSTANCE, CARD, VOLUME_TYPE):
            assert recorder.named(f"aws-{slot}", type_).inputs["tags"]["member"] == slot
        assert recorder.named(f"aws-{slot}", INSTANCE).inputs["rootBlockDevice"]["tags"]["Name"] == f"aws-{slot}"


@PREVIEW_AND_UPDATE
def test_nothing_has_a_name_that_must_be_unique_so_that_no_two_clusters_collide(preview: bool) -> None:
    assert not [each.name for each in of_cloud(stack(preview, **VOLUME, **PRIVATE)) if "name" in each.inputs]


def test_each_port_is_open_to_those_alone_who_have_business_there() -> None:
    members, clients = (aws_id("sg", f"aws-{name}") for name in ("members", "clients"))
    recorder = stack(
        False, clients=["10.2.64.0/20"], clientGroups=["sg-0123456789abcdef0"], metricsClients=["10.2.9.9"]
    )
    assert rules(recorder) == sorted(
        [
            (members, "203.0.113.7/32", 22),
            (members, members, 2379),
            (members, clients, 2379),
            (members, "10.2.64.0/20", 2379),
            (members, "sg-0123456789abcdef0", 2379),
            (members, members, 2380),
            (members, "10.2.9.9/32", 2381),
        ]
    )
    for each in recorder.of_type(INGRESS):
        assert each.inputs["fromPort"] == each.inputs["toPort"]
        assert each.inputs["ipProtocol"] == "tcp"


def test_through_a_bastion_ssh_comes_from_its_group_and_operators_reach_the_bastion_alone() -> None:
    members, bastion = (aws_id("sg", f"aws-{name}") for name in ("members", "bastion"))
    found = [rule for rule in rules(stack(False, **PRIVATE)) if rule[2] == 22]
    assert sorted(found) == sorted([(members, bastion, 22), (bastion, "203.0.113.7/32", 22)])


def test_the_clients_group_opens_nothing_on_those_who_carry_it_and_lets_them_out_to_etcd_alone() -> None:
    recorder = stack(False)
    clients = aws_id("sg", "aws-clients")
    assert all(group != clients for group, _, _ in rules(recorder))
    (rule,) = [each.inputs for each in recorder.of_type(EGRESS) if each.inputs["securityGroupId"] == clients]
    assert rule["referencedSecurityGroupId"] == aws_id("sg", "aws-members")
    assert (rule["fromPort"], rule["toPort"]) == (2379, 2379)


@PREVIEW_AND_UPDATE
def test_a_cluster_with_nothing_open_to_everybody_names_everybody_in_no_rule(preview: bool) -> None:
    for each in stack(preview, **PRIVATE).of_type(INGRESS):
        assert each.inputs.get("cidrIpv4") != "0.0.0.0/0"


@PREVIEW_AND_UPDATE
def test_machines_wait_for_their_subnets_routes_and_rules_and_not_for_each_other(preview: bool) -> None:
    recorder = stack(preview)
    for slot, zone in zip(SLOTS, ZONES, strict=True):
        card = recorder.named(f"aws-{slot}", CARD).depends_on
        assert {f"aws-{zone}", "aws", "aws-peers", "aws-ssh-203.0.113.7-32", "aws-members-out"} <= card
        waited = recorder.named(f"aws-{slot}", CARD).request.dependencies
        assert any(urn.endswith("aws:ec2/route:Route::aws") for urn in waited)
        machine = recorder.named(f"aws-{slot}", INSTANCE).depends_on
        assert not {name for other in SLOTS if other != slot for name in machine | card if f"aws-{other}" in name}


@PREVIEW_AND_UPDATE
def test_no_property_of_a_machine_comes_from_a_route_or_a_rule_so_that_one_that_changes_replaces_no_machine(
    preview: bool,
) -> None:
    for each in stack(preview, **VOLUME, **PRIVATE).registrations:
        if each.type in (INSTANCE, CARD, VOLUME_TYPE):
            for name, dependency in each.request.propertyDependencies.items():
                types_ = {urn.split("::")[2].rpartition(":")[2] for urn in dependency.urns}
                rules = {"Route", "RouteTable", "RouteTableAssociation", "InternetGateway", "NatGateway", "Eip"}
                assert not types_ & {*rules, "SecurityGroupIngressRule", "SecurityGroupEgressRule"}, (each.name, name)


@PREVIEW_AND_UPDATE
def test_no_private_key_is_outside_a_secret_envelope(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    for each in recorder.registrations:
        assert "PRIVATE KEY" not in plain_text(each.inputs), each.name
    for name, outputs in recorder.outputs.items():
        assert "PRIVATE KEY" not in plain_text(outputs), name
    if not preview:
        assert is_secret(recorder.named("aws-etcd-1", INSTANCE).inputs["userData"])


def test_the_first_boot_gives_the_pinned_host_key_and_the_operators_login() -> None:
    recorder = stack(False)
    for slot in SLOTS:
        text = recorder.named(f"aws-{slot}", INSTANCE).inputs["userData"]["value"]
        first, _, rest = text.partition("\n")
        assert first == "#cloud-config"
        values = yaml.safe_load(rest)
        (user,) = values["users"]
        assert user["name"] == "etcd-operator"
        assert user["ssh_authorized_keys"] == ["ssh-ed25519 aws"]
        assert values["ssh_keys"]["ed25519_public"] == f"ssh-ed25519 aws-{slot}"
        assert f"of aws-{slot}" in values["ssh_keys"]["ed25519_private"]
        assert len(text.encode()) < 16 << 10
        connection = recorder.named(f"aws-{slot}-prepare").inputs["connection"]["value"]
        assert connection["hostKey"].strip() == values["ssh_keys"]["ed25519_public"]
        assert connection["host"].startswith("198.51.100.")


@PREVIEW_AND_UPDATE
def test_machines_speak_the_second_version_of_the_metadata_service_and_every_disk_is_encrypted(preview: bool) -> None:
    recorder = stack(preview, **VOLUME, **PRIVATE)
    machines = recorder.of_type(INSTANCE)
    assert len(machines) == 4
    for each in machines:
        assert each.inputs["metadataOptions"] == {
            "httpEndpoint": "enabled",
            "httpTokens": "required",
            "httpPutResponseHopLimit": 1,
        }
        assert (each.inputs["rootBlockDevice"]["encrypted"], each.inputs["rootBlockDevice"]["volumeType"]) == (
            True,
            "gp3",
        )
        assert "iamInstanceProfile" not in each.inputs
        assert "keyName" not in each.inputs
    assert all(each.inputs["encrypted"] for each in recorder.of_type(VOLUME_TYPE))


@PREVIEW_AND_UPDATE
def test_the_address_is_that_of_a_card_which_stays_when_its_machine_goes(preview: bool) -> None:
    recorder = stack(preview)
    for slot, address in zip(SLOTS, ("10.2.1.11", "10.2.2.12", "10.2.3.13"), strict=True):
        card, machine = recorder.named(f"aws-{slot}", CARD), recorder.named(f"aws-{slot}", INSTANCE)
        assert card.inputs["privateIps"] == [address]
        assert f"aws-{slot}" in machine.depends_on
        assert machine.request.deleteBeforeReplace
        assert "subnetId" not in machine.inputs
        if not preview:
            assert machine.inputs["primaryNetworkInterface"] == {"networkInterfaceId": aws_id("eni", f"aws-{slot}")}


@PREVIEW_AND_UPDATE
def test_what_is_on_a_machine_goes_with_its_server(preview: bool) -> None:
    recorder = stack(preview, **VOLUME)
    for slot in SLOTS:
        urn = f"{INSTANCE}::aws-{slot}"
        for suffix in ("reached", "prepare", "found", "converge"):
            assert recorder.named(f"aws-{slot}-{suffix}").request.deletedWith.endswith(urn)
        attachment = recorder.named(f"aws-{slot}", "aws:ec2/volumeAttachment:VolumeAttachment")
        assert attachment.request.deletedWith.endswith(urn)


@PREVIEW_AND_UPDATE
def test_a_machine_is_not_replaced_before_another_member_was_asked(preview: bool) -> None:
    recorder = stack(preview)
    for slot, witness in zip(SLOTS, (*SLOTS[1:], SLOTS[0]), strict=True):
        asked = recorder.named(f"aws-{slot}-gate")
        assert [urn.rpartition("::")[2] for urn in asked.request.replace_with] == [f"aws-{slot}"]
        assert asked.request.deletedWith.endswith(f"tls:index/privateKey:PrivateKey::aws-{slot}")
        assert f"etcd-node spare {slot}" in asked.inputs["delete"]
        if not preview:
            key = asked.inputs["connection"]["value"]["hostKey"]
            assert key.strip() == f"ssh-ed25519 aws-{witness}"


def test_another_server_in_a_slot_is_prepared_and_converged_anew() -> None:
    recorder = stack(False)
    for slot in SLOTS:
        number = recorder.named(f"aws-{slot}-reached").inputs["triggers"][0]
        assert number == aws_id("i", f"aws-{slot}")
        for verb in ("prepare", "converge"):
            assert number in recorder.named(f"aws-{slot}-{verb}").inputs["stdin"]["value"]


def test_volumes_are_protected_unless_told_otherwise_and_etcd_is_prepared_on_them() -> None:
    recorder = stack(False, volume={"size": 20, "iops": 4000, "throughput": 500})
    open_ = stack(False, volume={"size": 20, "protect": False})
    for slot, zone in zip(SLOTS, ZONES, strict=True):
        volume = recorder.named(f"aws-{slot}", VOLUME_TYPE)
        assert volume.request.protect
        assert not open_.named(f"aws-{slot}", VOLUME_TYPE).request.protect
        assert {name: volume.inputs[name] for name in ("availabilityZone", "type", "iops", "throughput", "size")} == {
            "availabilityZone": zone,
            "type": "gp3",
            "iops": 4000,
            "throughput": 500,
            "size": 20,
        }
        identity = aws_id("vol", f"aws-{slot}").replace("-", "")
        prepare = recorder.named(f"aws-{slot}-prepare").inputs["create"]
        assert f'"data_device": "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{identity}"' in prepare
        assert "data_device" not in recorder.named(f"aws-{slot}-converge").inputs["create"]


@PREVIEW_AND_UPDATE
def test_without_public_addresses_every_connection_goes_through_the_bastion(preview: bool) -> None:
    recorder = stack(preview, **PRIVATE)
    assert types(recorder, "Eip") == ["aws-bastion", "aws-edge"]
    if preview:
        return
    for slot in SLOTS:
        for verb in ("reached", "prepare", "found", "converge"):
            connection = recorder.named(f"aws-{slot}-{verb}").inputs["connection"]["value"]
            assert connection["host"].startswith("10.2.")
            assert connection["proxy"]["host"].startswith("198.51.100.")
            assert connection["proxy"]["hostKey"].strip() == "ssh-ed25519 aws-bastion"


@PREVIEW_AND_UPDATE
def test_in_a_vpc_that_exists_no_network_is_made_but_groups_and_cards(preview: bool) -> None:
    recorder = stack(preview, **EXISTING)
    made = {each.type.rsplit(":", 1)[-1] for each in of_cloud(recorder)}
    assert made == {
        *("SecurityGroup", "SecurityGroupIngressRule", "SecurityGroupEgressRule"),
        *("NetworkInterface", "Eip", "Instance"),
    }
    assert {each.inputs["vpcId"] for each in recorder.of_type(GROUP)} == {"vpc-0123456789abcdef0"}
    subnets = [recorder.named(f"aws-{slot}", CARD).inputs["subnetId"] for slot in SLOTS]
    if not preview:
        assert subnets == [f"subnet-0123456789abcdef{n}" for n in range(3)]


@PREVIEW_AND_UPDATE
def test_one_generation_is_raised_by_another_stash_of_that_slot_alone(preview: bool) -> None:
    recorder = stack(preview, {"generations": FIRST}, generations="121")
    assert types(recorder, "Stash") == stashes("121")


@PREVIEW_AND_UPDATE
def test_two_generations_raised_at_once_are_refused_before_anything_is_registered(preview: bool) -> None:
    loaded = wanted("122")
    registered: list[Any] = []
    with pytest.raises(config.ConfigError, match="One update replaces one machine"):
        registered += record(lambda: aws.build(loaded, {"generations": FIRST}), preview).registrations
    assert registered == []


def test_the_guard_of_the_next_update_knows_the_generations_and_where_the_data_are() -> None:
    for changes, on_volumes in (({}, False), (VOLUME, True)):
        applied = json.loads(stack(False, generations="121", **changes).named("aws-health").inputs["stdin"])["changes"]
        assert applied["applied"]["generations"] == {"etcd-1": 1, "etcd-2": 2, "etcd-3": 1}
        assert applied["applied"]["on_volumes"] is on_volumes


@PREVIEW_AND_UPDATE
def test_what_a_running_machine_is_made_with_comes_from_its_stash_and_not_from_the_configuration(preview: bool) -> None:
    recorder = stack(preview)
    for slot in SLOTS:
        for type_ in (INSTANCE, CARD):
            assert f"aws-{slot}-generation-1" in recorder.named(f"aws-{slot}", type_).depends_on
        stash = recorder.named(f"aws-{slot}-generation-1")
        assert list(stash.request.ignoreChanges) == ["input"]
        assert stash.inputs["input"]["ami"].startswith("ami-")


@pytest.mark.parametrize(("instance_type", "architecture"), [("t3.medium", "amd64"), ("m7g.large", "arm64")])
def test_the_newest_image_for_the_architecture_of_the_machine_is_looked_up(
    instance_type: str, architecture: str
) -> None:
    recorder = stack(False, instanceType=instance_type)
    found = {recorder.named(f"aws-{slot}", INSTANCE).inputs["ami"] for slot in SLOTS}
    asked = {
        "filters": [
            {"name": "name", "values": [f"debian-12-{architecture}-*"]},
            {"name": "architecture", "values": [{"amd64": "x86_64"}.get(architecture, architecture)]},
        ],
        "mostRecent": True,
        "owners": ["136693071363"],
    }
    assert found == {aws_id("ami", json.dumps(asked, sort_keys=True))}


def test_an_image_by_id_is_not_looked_up() -> None:
    recorder = stack(True, ami="ami-0123456789abcdef0")
    assert {recorder.named(f"aws-{slot}", INSTANCE).inputs["ami"] for slot in SLOTS} == {"ami-0123456789abcdef0"}


def test_outputs_name_the_network_the_machines_and_the_parts_for_cluster_api() -> None:
    loaded = wanted()
    outputs: dict[str, Any] = {}
    record(lambda: outputs.update(aws.build(loaded, {})), False)
    assert {"network_id", "server_ids", "hosts", "ssh_private_key", "generations"} <= set(outputs)
    assert list(outputs["subnets"]) == list(ZONES)
    found: list[str] = []

    def program() -> None:
        aws.build(loaded, {})["cluster_api_infrastructure"].apply(found.append)

    record(program, False)
    cluster, template = yaml.safe_load_all(found[0])
    assert cluster["kind"] == "AWSCluster"
    assert cluster["spec"]["network"] == {
        "vpc": {"id": aws_id("vpc", "aws")},
        "subnets": [{"id": aws_id("subnet", f"aws-{zone}")} for zone in ZONES],
    }
    assert template["kind"] == "AWSMachineTemplate"
    assert template["spec"]["template"]["spec"] == {"additionalSecurityGroups": [{"id": aws_id("sg", "aws-clients")}]}


@pytest.mark.parametrize(
    ("change", "key", "rule"),
    [
        ({"subnets": []}, "subnets", "at least one zone"),
        ({"subnets": [("a", "10.2.1.0/24"), ("b", "10.2.1.128/25")]}, "subnets[1].range", "No two ranges overlap"),
        ({"subnets": [("a", "10.3.1.0/24")]}, "subnets[0].range", "lies in the range of its network"),
        ({"edge_range": "10.2.1.0/25"}, "edge_range", "No two ranges overlap"),
        ({"vpc_id": "vpc-0123456789abcdef0"}, "subnets[0].id", "the subnets exist too"),
        ({"nat_gateway": True}, "edge_range", "A NAT gateway is in a subnet"),
    ],
)
def test_the_network_refuses_what_cannot_be_whoever_asks_for_it(change: dict[str, Any], key: str, rule: str) -> None:
    subnets = change.pop("subnets", [("a", "10.2.1.0/24")])
    args: Any = {
        "cluster_name": "c",
        "operators": [],
        "subnets": [{"zone": f"eu-central-1{letter}", "range": range_} for letter, range_ in subnets],
        **change,
    }
    with pytest.raises(PlanError) as refused:
        record(lambda: AwsNetwork("c", args), True)
    assert any(each.key == key and rule in each.rule for each in refused.value.problems), str(refused.value)


@pytest.mark.parametrize(
    ("change", "key", "rule"),
    [
        ({"zone": "eu-central-1b"}, "slots.etcd-1.zone", "The network has subnets in eu-central-1a"),
        ({"volume": {"size": 20, "type": "st1"}}, "volume.type", "Types of volumes"),
        ({"public_ipv4": False}, "bastion", "reached through a bastion"),
        ({"previous_generations": {"etcd-1": 2}}, "slots.etcd-1.generation", "only ever rises"),
        ({"image": "windows"}, "image", "found by name"),
    ],
)
def test_the_machines_refuse_what_cannot_be_whoever_asks_for_them(change: dict[str, Any], key: str, rule: str) -> None:
    slot = {"name": "etcd-1", "address": "10.2.1.11", "zone": "eu-central-1a", "instance_type": "t3.medium"}
    slot |= {name: change.pop(name) for name in ("zone", "image") if name in change}
    args: Any = {"cluster_name": "c", "slots": [slot], "private_key": "k", "public_key": "p", **change}

    def program() -> None:
        subnet: Any = {"zone": "eu-central-1a", "range": "10.2.1.0/24"}
        network = AwsNetwork("c", {"cluster_name": "c", "operators": [], "subnets": [subnet]})
        AwsMachines("c", network, args)

    with pytest.raises(PlanError) as refused:
        record(program, True)
    assert any(each.key == key and rule in each.rule for each in refused.value.problems), str(refused.value)
