"""The clouds' platforms as the engine receives them, in a preview and an update: names, parents, order, secrets."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml

from components import slots
from components.aws import AwsMachines, AwsNetwork
from components.first_boot import FOR_ROOT
from components.plan import PlanError
from components.plan.firewall_rules import member_rules, outside
from stacks import config, guard
from stacks.platforms import PLATFORMS
from tests.support.cloud_stacks import SLOTS
from tests.support.configurations import changed, load
from tests.support.outputs import for_kubernetes, resolved
from tests.support.recording import Recorder, Registration, aws_id, bundle_of, is_secret, plain_text, record
from tests.support.snapshot import compare
from tests.support.sshd import new_key
from tests.unit.test_config_clouds import EXISTING

ZONES = ("eu-central-1a", "eu-central-1b", "eu-central-1c")
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
FIRST = dict.fromkeys(SLOTS, 1)


@dataclass(frozen=True, eq=False)
class Cloud:
    """A platform, whose example's cluster has the same name."""

    name: str
    package: str
    server: str
    """Type of a machine; the following are types too."""
    volume: str
    attachment: str
    says_whose: str
    """The input that names the owner."""
    unsaid: tuple[str, ...]
    """Types without that input."""
    private: dict[str, Any]
    """Changes for machines without public addresses."""
    on_volumes: dict[str, Any]
    user_data: int
    """Maximum in bytes."""

    def wanted(self, generations: str = "111", **changes: Any) -> config.StackConfig:
        """The example with these changes; None removes a key."""
        raised = {f"slots.{number}.generation": int(generation) for number, generation in enumerate(generations)}
        return load(changed(self.name, {**changes, **raised}), stack=self.name)

    def stack(
        self, preview: bool, previous: dict[str, Any] | None = None, generations: str = "111", **changes: Any
    ) -> Recorder:
        """The registrations; shared between tests, so never change them."""
        return _recorded(self, preview, json.dumps(previous or {}), generations, json.dumps(changes))

    def stashes(self, generations: str) -> list[str]:
        """Names of everything that is kept from one update to the next."""
        kept = [f"{self.name}-{slot}-generation-{n}" for slot, n in zip(SLOTS, generations, strict=True)]
        rest = [f"{self.name}-{what}" for what in ("change", "bootstrap", "machines")]
        return sorted([*kept, *(f"{each}-first-boot" for each in kept), *rest])

    def of(self, recorder: Recorder) -> list[Registration]:
        """The cloud's own resources."""
        return [each for each in recorder.registrations if each.type.startswith(f"{self.package}:")]


def built(stack: config.StackConfig, last: dict[str, Any] | None = None) -> dict[str, Any]:
    """The outputs of the stack after an update that left this, and nothing for the guard."""
    return stack.platform.build(stack, guard.before(stack, last or {}))


@functools.cache
def _recorded(cloud: Cloud, preview: bool, previous: str, generations: str, changes: str) -> Recorder:
    loaded = cloud.wanted(generations, **json.loads(changes))
    return record(lambda: built(loaded, json.loads(previous)), preview)


AWS = Cloud(
    name="aws",
    package="aws",
    server=INSTANCE,
    volume=VOLUME_TYPE,
    attachment="aws:ec2/volumeAttachment:VolumeAttachment",
    says_whose="tags",
    unsaid=("Route", "RouteTableAssociation", "VolumeAttachment"),
    private={"publicIpv4": False, "natGateway": True, "bastion": {"instanceType": "t3.nano"}},
    on_volumes={"volume": {"size": 20}},
    user_data=16 << 10,
)
HETZNER = Cloud(
    name="hetzner",
    package="hcloud",
    server="hcloud:index/server:Server",
    volume="hcloud:index/volume:Volume",
    attachment="hcloud:index/volumeAttachment:VolumeAttachment",
    says_whose="labels",
    unsaid=("NetworkSubnet", "NetworkRoute", "VolumeAttachment"),
    private={"publicIpv4": False, "bastion": {"serverType": "cx23"}},
    on_volumes={"volume": {"size": 10}},
    user_data=32 << 10,
)


CLOUDS = (AWS, HETZNER)


@pytest.fixture(params=CLOUDS, ids=lambda cloud: cloud.name)
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return request.param  # type: ignore[no-any-return]


def whole(cloud: Cloud, preview: bool) -> Recorder:
    """With all options of a cloud: volumes, a bastion, no public addresses."""
    return cloud.stack(preview, **cloud.on_volumes, **cloud.private)


def types(recorder: Recorder, type_: str) -> list[str]:
    return sorted(each.name for each in recorder.registrations if each.type.rsplit(":", 1)[-1] == type_)


def rules(recorder: Recorder) -> list[tuple[str, str, int | None]]:
    """Group, source and port of every ingress rule."""
    return sorted(
        (
            each.inputs["securityGroupId"],
            each.inputs.get("cidrIpv4") or each.inputs.get("cidrIpv6") or each.inputs["referencedSecurityGroupId"],
            int(each.inputs["fromPort"]),
        )
        for each in recorder.of_type(INGRESS)
    )


def test_every_cloud_has_its_row_here() -> None:
    assert [cloud.name for cloud in CLOUDS] == [platform.name for platform in PLATFORMS if platform.provider]


def test_every_resource_is_a_child_of_its_component(cloud: Cloud, preview: bool) -> None:
    parents = [cloud.name, *(f"{cloud.name}-{name}" for name in ("pki", "bastion", *SLOTS))]
    for each in whole(cloud, preview).registrations:
        if each.request.custom and "StackReference" not in each.type:
            assert each.parent in parents, each.name


def test_resources_name_their_owner_and_are_readable_on_aws(cloud: Cloud, preview: bool) -> None:
    recorder = whole(cloud, preview)
    for each in cloud.of(recorder):
        if each.type.rsplit(":", 1)[-1] not in cloud.unsaid:
            said = each.inputs[cloud.says_whose]
            assert (said["etcd"], said["cluster"], said["environment"]) == ("true", cloud.name, "test"), each.name
            assert cloud is HETZNER or said["Name"].startswith("aws"), each.name
    for name, slot in ((f"{cloud.name}-{slot}", slot) for slot in SLOTS):
        for type_ in (cloud.server, *((CARD, VOLUME_TYPE) if cloud is AWS else ())):
            assert recorder.named(name, type_).inputs[cloud.says_whose]["member"] == slot
        if cloud is AWS:
            assert recorder.named(name, INSTANCE).inputs["rootBlockDevice"]["tags"]["Name"] == name


def test_unique_names_contain_the_clusters_name(cloud: Cloud, preview: bool) -> None:
    named = [each for each in cloud.of(whole(cloud, preview)) if "name" in each.inputs]
    # AWS has no such resources.
    assert bool(named) == (cloud is HETZNER)
    for each in named:
        assert each.inputs["name"].startswith("hetzner"), each.name
        # A volume is never replaced.
        assert each.request.deleteBeforeReplace != (each.type == cloud.volume), each.name


def test_each_port_is_open_only_to_its_users() -> None:
    members, clients = (aws_id("sg", f"aws-{name}") for name in ("members", "clients"))
    recorder = AWS.stack(
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
        first = each.inputs["fromPort"]
        # The metrics of etcd, and those of the machine.
        assert each.inputs["toPort"] == (2382 if first == 2381 else first)
        assert each.inputs["ipProtocol"] == "tcp"


def test_with_a_bastion_operators_reach_only_the_bastion() -> None:
    members, bastion = (aws_id("sg", f"aws-{name}") for name in ("members", "bastion"))
    found = [rule for rule in rules(whole(AWS, False)) if rule[2] == 22]
    assert sorted(found) == sorted([(members, bastion, 22), (bastion, "203.0.113.7/32", 22)])


def test_the_clients_group_only_allows_connections_to_etcd() -> None:
    recorder = AWS.stack(False)
    clients = aws_id("sg", "aws-clients")
    assert all(group != clients for group, _, _ in rules(recorder))
    (rule,) = [each.inputs for each in recorder.of_type(EGRESS) if each.inputs["securityGroupId"] == clients]
    assert rule["referencedSecurityGroupId"] == aws_id("sg", "aws-members")
    assert (rule["fromPort"], rule["toPort"]) == (2379, 2379)


def test_no_rule_is_open_to_the_world(preview: bool) -> None:
    for each in whole(AWS, preview).of_type(INGRESS):
        assert each.inputs.get("cidrIpv4") != "0.0.0.0/0"


def test_machines_do_not_wait_for_each_other(cloud: Cloud, preview: bool) -> None:
    recorder = cloud.stack(preview)
    for slot in SLOTS:
        for type_ in (cloud.server, *((CARD,) if cloud is AWS else ())):
            depends = recorder.named(f"{cloud.name}-{slot}", type_).depends_on
            assert not {name for name in depends for other in SLOTS if other != slot and f"-{other}" in name}


def test_machines_on_hetzner_wait_for_the_subnet(preview: bool) -> None:
    recorder = HETZNER.stack(preview)
    assert all("hetzner" in recorder.named(f"hetzner-{slot}", HETZNER.server).depends_on for slot in SLOTS)


def test_machines_on_aws_wait_for_their_subnets_routes_and_rules(preview: bool) -> None:
    recorder = AWS.stack(preview)
    for slot, zone in zip(SLOTS, ZONES, strict=True):
        card = recorder.named(f"aws-{slot}", CARD)
        assert {f"aws-{zone}", "aws", "aws-peers", "aws-ssh-203.0.113.7-32", "aws-members-out"} <= card.depends_on
        assert any(urn.endswith("aws:ec2/route:Route::aws") for urn in card.request.dependencies)


def test_routes_and_rules_never_replace_a_machine(preview: bool) -> None:
    for each in whole(AWS, preview).registrations:
        if each.type in (INSTANCE, CARD, VOLUME_TYPE):
            for name, dependency in each.request.propertyDependencies.items():
                types_ = {urn.split("::")[2].rpartition(":")[2] for urn in dependency.urns}
                rules = {"Route", "RouteTable", "RouteTableAssociation", "InternetGateway", "NatGateway", "Eip"}
                assert not types_ & {*rules, "SecurityGroupIngressRule", "SecurityGroupEgressRule"}, (each.name, name)


def test_no_private_key_is_outside_a_secret_envelope(cloud: Cloud, preview: bool) -> None:
    recorder = whole(cloud, preview)
    for each in recorder.registrations:
        assert "PRIVATE KEY" not in plain_text(each.inputs), each.name
    for name, outputs in recorder.outputs.items():
        assert "PRIVATE KEY" not in plain_text(outputs), name
    if not preview:
        assert is_secret(recorder.named(f"{cloud.name}-etcd-1", cloud.server).inputs["userData"])


def test_user_data_sets_host_key_and_operator_login(cloud: Cloud) -> None:
    recorder = cloud.stack(False)
    for name in (f"{cloud.name}-{slot}" for slot in SLOTS):
        text = recorder.named(name, cloud.server).inputs["userData"]["value"]
        first, _, rest = text.partition("\n")
        assert first == "#cloud-config"
        values = yaml.safe_load(rest)
        (user,) = values["users"]
        assert user["name"] == "etcd-operator"
        assert user["ssh_authorized_keys"] == [f"ssh-ed25519 {cloud.name}"]
        assert values["ssh_keys"]["ed25519_public"] == f"ssh-ed25519 {name}"
        assert f"of {name}" in values["ssh_keys"]["ed25519_private"]
        assert len(text.encode()) < cloud.user_data
        connection = recorder.named(f"{name}-prepare").inputs["connection"]["value"]
        assert connection["hostKey"].strip() == values["ssh_keys"]["ed25519_public"]
        assert connection["host"].startswith("198.51.100.")


def test_user_data_is_readable_by_root_only(cloud: Cloud) -> None:
    recorder = whole(cloud, preview=False)
    machines = recorder.of_type(cloud.server)
    assert len(machines) == 4, "the bastion is one of them"
    for machine in machines:
        values = json.loads(machine.inputs["userData"]["value"].removeprefix("#cloud-config\n"))
        units = {file["path"].rpartition("/")[2]: file["content"] for file in values["write_files"]}
        assert units.items() >= FOR_ROOT.items()
        assert ["systemctl", "enable", "--now", "--no-block", "etcd-metadata.service"] in values["runcmd"]
    # Machines of earlier generations too, whose user data stays as it is.
    for slot in SLOTS:
        create = recorder.named(f"{cloud.name}-{slot}-prepare").inputs["create"]
        assert '"root_only": [' in plain_text(create)


def test_machines_require_imds_v2_and_encrypted_disks(preview: bool) -> None:
    recorder = whole(AWS, preview)
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


def test_the_address_survives_a_machine_replacement(preview: bool) -> None:
    recorder = AWS.stack(preview)
    for slot, address in zip(SLOTS, ("10.2.1.11", "10.2.2.12", "10.2.3.13"), strict=True):
        card, machine = recorder.named(f"aws-{slot}", CARD), recorder.named(f"aws-{slot}", INSTANCE)
        assert card.inputs["privateIps"] == [address]
        assert f"aws-{slot}" in machine.depends_on
        assert machine.request.deleteBeforeReplace
        assert "subnetId" not in machine.inputs
        if not preview:
            assert machine.inputs["primaryNetworkInterface"] == {"networkInterfaceId": aws_id("eni", f"aws-{slot}")}


def test_commands_and_attachments_are_deleted_with_their_server(cloud: Cloud, preview: bool) -> None:
    recorder = whole(cloud, preview)
    for name in (f"{cloud.name}-{slot}" for slot in SLOTS):
        on_it = [recorder.named(f"{name}-{suffix}") for suffix in ("ssh", "prepare", "bootstrap", "converge")]
        for each in (*on_it, recorder.named(name, cloud.attachment)):
            assert each.request.deletedWith.endswith(f"{cloud.server}::{name}")


def test_a_volume_in_use_and_its_attachment_are_not_replaced(cloud: Cloud, preview: bool) -> None:
    recorder = whole(cloud, preview)
    for kind, name in ((cloud.volume, "volumes"), (cloud.attachment, "attachments")):
        request = recorder.named(f"{cloud.name}-etcd-1", kind).request
        assert list(request.hooks.before_create) == [f"{cloud.name}-{name}-in-use"]
        # The hook refuses a replacement, and the old one stays.
        assert (request.deleteBeforeReplaceDefined, request.deleteBeforeReplace) == (True, False)


def test_a_servers_shutdown_detaches_its_volume(preview: bool) -> None:
    recorder = whole(HETZNER, preview)
    for slot in SLOTS:
        attachment = recorder.named(f"hetzner-{slot}", "hcloud:index/volumeAttachment:VolumeAttachment")
        assert attachment.request.retainOnDelete
        server = recorder.named(f"hetzner-{slot}", HETZNER.server)
        assert server.inputs["shutdownBeforeDeletion"]
        # When everything is deleted, the server goes before its volume.
        assert any(urn.endswith(f"Volume::hetzner-{slot}") for urn in server.request.dependencies)


def test_a_replacement_asks_the_next_slot_but_destroy_does_not(cloud: Cloud, preview: bool) -> None:
    recorder = cloud.stack(preview)
    for slot, witness in zip(SLOTS, (*SLOTS[1:], SLOTS[0]), strict=True):
        name = f"{cloud.name}-{slot}"
        gate = recorder.named(f"{name}-gate")
        # Before every replacement that includes the machine: by its own dependencies, and by shared ones.
        with_it = [urn.split("::")[-2].rpartition(":")[2] for urn in gate.request.replace_with]
        shared = {"aws": ["NetworkInterface", "Vpc", *["Subnet"] * len(SLOTS)], "hetzner": ["Network", "NetworkSubnet"]}
        assert with_it == [cloud.server.rpartition(":")[2], *shared[cloud.name]]
        assert gate.request.replace_with[0].endswith(f"::{name}")
        assert gate.request.deleteBeforeReplace
        assert gate.request.deletedWith.endswith(f"tls:index/privateKey:PrivateKey::{name}")
        assert f"etcd-node --answer drain {slot}" in gate.inputs["delete"]
        assert "create" not in gate.inputs, "members are only asked on deletion"
        assert f"{cloud.name}-{witness}-ssh" in gate.depends_on
        if not preview:
            key = gate.inputs["connection"]["value"]["hostKey"]
            assert key.strip() == f"ssh-ed25519 {cloud.name}-{witness}"
        # Nothing depends on it: otherwise the gates of all slots would form a cycle.
        assert not any(gate.name in each.depends_on for each in recorder.registrations)


def test_a_new_server_in_a_slot_is_prepared_and_converged(cloud: Cloud) -> None:
    recorder = cloud.stack(False)
    for slot in SLOTS:
        number = recorder.named(f"{cloud.name}-{slot}-ssh").inputs["triggers"][0]
        assert cloud is HETZNER or number == aws_id("i", f"aws-{slot}")
        assert number in recorder.named(f"{cloud.name}-{slot}-prepare").inputs["stdin"]["value"]
        assert number == bundle_of(recorder.named(f"{cloud.name}-{slot}-converge"))["identity"]


def test_volumes_are_protected_by_default_and_hold_the_data(cloud: Cloud) -> None:
    recorder = whole(cloud, False)
    open_ = cloud.stack(False, volume={**cloud.on_volumes["volume"], "protect": False})
    for name in (f"{cloud.name}-{slot}" for slot in SLOTS):
        assert recorder.named(name, cloud.volume).request.protect
        assert not open_.named(name, cloud.volume).request.protect
        device = {
            "aws": f'nvme-Amazon_Elastic_Block_Store_{aws_id("vol", name).replace("-", "")}"',
            "hetzner": "volume_",
        }[cloud.name]
        assert f'"data_device": "/dev/disk/by-id/{device}' in recorder.named(f"{name}-prepare").inputs["create"]
        assert "data_device" not in recorder.named(f"{name}-converge").inputs["create"]


def test_an_aws_volume_is_in_its_machines_zone() -> None:
    recorder = AWS.stack(False, volume={"size": 20, "iops": 4000, "throughput": 500})
    for slot, zone in zip(SLOTS, ZONES, strict=True):
        volume = recorder.named(f"aws-{slot}", VOLUME_TYPE).inputs
        wanted = {"availabilityZone": zone, "type": "gp3", "iops": 4000, "throughput": 500, "size": 20}
        assert volume | wanted == volume


def test_without_public_addresses_connections_use_the_bastion(cloud: Cloud, preview: bool) -> None:
    recorder = whole(cloud, preview)
    if cloud is AWS:
        assert types(recorder, "Eip") == ["aws-bastion", "aws-edge"]
    for name in (f"{cloud.name}-{slot}" for slot in SLOTS):
        if cloud is HETZNER:
            nets = [{"ipv4Enabled": False, "ipv6Enabled": False}]
            assert recorder.named(name, cloud.server).inputs["publicNets"] == nets
        for verb in () if preview else ("ssh", "prepare", "bootstrap", "converge"):
            connection = recorder.named(f"{name}-{verb}").inputs["connection"]["value"]
            assert connection["host"].startswith({"aws": "10.2.", "hetzner": "10.1.1.1"}[cloud.name])
            assert connection["proxy"]["host"].startswith("198.51.100.")
            assert connection["proxy"]["hostKey"].strip() == f"ssh-ed25519 {cloud.name}-bastion"


def test_no_edit_of_a_bastion_cuts_access_to_its_machines(cloud: Cloud, preview: bool) -> None:
    """Edits for which the provider replaces it; another check covers its address."""
    kept = {
        "aws": {"ami", "instanceType", "userData"},
        "hetzner": {"image", "location", "serverType", "sshKeys", "userData"},
    }
    bastion = whole(cloud, preview).named(f"{cloud.name}-bastion", cloud.server)
    assert set(bastion.request.ignoreChanges) == kept[cloud.name]


def test_an_existing_vpc_gets_only_groups_and_interfaces(preview: bool) -> None:
    recorder = AWS.stack(preview, **EXISTING)
    made = {each.type.rsplit(":", 1)[-1] for each in AWS.of(recorder)}
    assert made == {
        *("SecurityGroup", "SecurityGroupIngressRule", "SecurityGroupEgressRule"),
        *("NetworkInterface", "Eip", "Instance"),
    }
    assert {each.inputs["vpcId"] for each in recorder.of_type(GROUP)} == {"vpc-0123456789abcdef0"}
    subnets = [recorder.named(f"aws-{slot}", CARD).inputs["subnetId"] for slot in SLOTS]
    if not preview:
        assert subnets == [f"subnet-0123456789abcdef{n}" for n in range(3)]


def test_the_public_firewall_allows_only_operator_ssh() -> None:
    rules = HETZNER.stack(False).named("hetzner", "hcloud:index/firewall:Firewall").inputs["rules"]
    assert [(rule["protocol"], rule.get("port"), rule["sourceIps"]) for rule in rules] == [
        ("tcp", "22", ["203.0.113.7/32"]),
        ("icmp", None, ["0.0.0.0/0", "::/0"]),
    ]


def test_machines_filter_private_traffic_by_the_same_rules() -> None:
    create = HETZNER.stack(False).named("hetzner-etcd-1-prepare").inputs["create"]
    spec, _ = json.JSONDecoder().raw_decode(create, create.index('{\n  "format"'))
    members = ["10.1.1.11/32", "10.1.1.12/31"]
    # Hetzner's firewall filters only public traffic; operators with other addresses do not depend on the machines.
    # The same for a new bastion.
    sources = [*outside("10.1.0.0/16"), "10.1.1.5"]
    assert spec["firewall"].pop("22") == member_rules([], operators=sources, clients=[], metrics=[])["22"]
    assert spec["firewall"] == {"2379": [*members, "10.1.2.0/24"], "2380": members, "2381": members}
    # The machine thus knows leaving members, and admits them until they have left.
    assert spec["members"] == {"etcd-1": "10.1.1.11", "etcd-2": "10.1.1.12", "etcd-3": "10.1.1.13"}


def test_a_raised_generation_changes_only_its_slots_stash(cloud: Cloud, preview: bool) -> None:
    recorder = cloud.stack(preview, {"generations": FIRST}, generations="121")
    assert types(recorder, "Stash") == cloud.stashes("121")


@pytest.mark.parametrize("where", ["agent", "passphrase"])
def test_the_operators_key_can_be_encrypted_or_in_an_agent(
    cloud: Cloud, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    private, public = new_key(passphrase="hunter2")
    (tmp_path / "key").write_text(private)
    (tmp_path / "key").chmod(0o600)
    way = {
        "agent": {"agent": True, "publicKey": public},
        "passphrase": {"privateKeyFile": str(tmp_path / "key"), "privateKeyPassphrase": "hunter2"},
    }[where]
    loaded = load(changed(cloud.name, cloud.private, ssh=way), stack=cloud.name)
    monkeypatch.setattr("components.ssh_agent.ready", lambda **_: None)
    recorder = record(lambda: built(loaded), preview=False)
    commands = recorder.of_type("command:remote:Command")
    for connection in [command.inputs["connection"]["value"] for command in commands]:
        for door in [connection, *([connection["proxy"]] if "proxy" in connection else [])]:
            assert door.get("privateKey") == (None if where == "agent" else private)
            assert door.get("privateKeyPassword") == (None if where == "agent" else "hunter2")
    kept = [each.inputs for each in recorder.registrations if each.name.endswith("-first-boot")]
    assert kept
    assert all(public.split()[1] in json.dumps(each) for each in kept)
    if where == "agent":
        with pytest.raises(config.ConfigError, match=r"ssh\.publicKey.*ssh-add -L"):
            load(changed(cloud.name, cloud.private, ssh={"agent": True}), stack=cloud.name)


def test_raising_two_generations_is_refused_before_any_registration(cloud: Cloud, preview: bool) -> None:
    loaded = cloud.wanted("122")
    registered: list[Any] = []
    with pytest.raises(config.ConfigError, match="One update can replace only one machine"):
        registered += record(lambda: built(loaded, {"generations": FIRST}), preview).registrations
    assert registered == []


def test_the_state_records_generations_machines_and_data_location(cloud: Cloud) -> None:
    existing = {"networkId": 4711} if cloud is HETZNER else EXISTING
    for changes, on_volumes in (({}, False), (cloud.on_volumes, True), (existing, False)):
        recorder = cloud.stack(False, {"generations": FIRST}, generations="121", **changes)
        applied = json.loads(recorder.named(f"{cloud.name}-health").inputs["stdin"])["changes"]["applied"]
        assert applied["generations"] == {"etcd-1": 1, "etcd-2": 2, "etcd-3": 1}
        assert applied["on_volumes"] is on_volumes
        # The component records the same facts that the stack compares.
        assert applied["origins"] == guard.wanted(cloud.wanted("121", **changes)).origins


def test_a_running_machines_inputs_come_from_its_stash(cloud: Cloud, preview: bool) -> None:
    stays_changed = {"aws": {"instanceType"}, "hetzner": {"placementGroupId", "publicNets", "serverType", "sshKeys"}}
    recorder = cloud.stack(preview)
    for name in (f"{cloud.name}-{slot}" for slot in SLOTS):
        for type_ in (cloud.server, *((CARD,) if cloud is AWS else ())):
            assert f"{name}-generation-1" in recorder.named(name, type_).depends_on
        # What a refresh may find changed, and would stop all machines at once to change back.
        assert set(recorder.named(name, cloud.server).request.ignoreChanges) == stays_changed[cloud.name]
        stash = recorder.named(f"{name}-generation-1")
        assert list(stash.request.ignoreChanges) == ["input"]
        assert cloud is HETZNER or stash.inputs["input"]["ami"].startswith("ami-")


@pytest.mark.parametrize(("instance_type", "architecture"), [("t3.medium", "amd64"), ("m7g.large", "arm64")])
def test_the_newest_image_of_the_architecture_is_looked_up(instance_type: str, architecture: str) -> None:
    recorder = AWS.stack(False, instanceType=instance_type)
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
    recorder = AWS.stack(True, ami="ami-0123456789abcdef0")
    assert {recorder.named(f"aws-{slot}", INSTANCE).inputs["ami"] for slot in SLOTS} == {"ami-0123456789abcdef0"}


def test_outputs_name_the_network_and_the_machines(cloud: Cloud) -> None:
    values, secret = resolved(lambda: built(cloud.wanted()))
    assert {"network_id", "server_ids", "hosts", "ssh_private_key", "generations"} <= set(values)
    assert {"subnets", "clients_security_group"} <= set(values) if cloud is AWS else "subnet" in values
    compare(for_kubernetes(values, secret), f"outputs-{cloud.name}")


def existing(**more: Any) -> config.StackConfig:
    """A stack on existing machines."""
    machines = [
        {"name": name, "address": f"10.1.1.1{number}", "ssh": {"hostKey": new_key()[1]}}
        for number, name in enumerate(SLOTS, start=1)
    ]
    given: dict[str, Any] = {"platform": "hosts", "sshPrivateKey": new_key()[0], "machines": machines}
    return load({**given, **more}, stack="hosts")


def test_existing_machines_have_the_outputs_that_every_stack_has() -> None:
    workload = {"clusterName": "production", "namespace": "clusters", "apiVersion": "v1beta1"}
    values, secret = resolved(lambda: built(existing(kubernetesVersion="1.30.14", clusterApi=workload)))
    compare(for_kubernetes(values, secret), "outputs-hosts")
    assert not any("prometheus" in name for name in values)


@pytest.mark.parametrize(("metrics", "key"), [("loopback", True), ("private", False)])
def test_outputs_for_prometheus_are_secret_if_they_have_a_key(metrics: str, key: bool) -> None:
    values, secret = resolved(lambda: built(existing(prometheus=True, metrics=metrics)))
    names = {name for name in values if name.startswith("prometheus")}
    with_key = {"prometheus_files", "prometheus_script", "prometheus_operator"}
    assert names == {"prometheus", "prometheus_rules", *with_key}
    assert (names | {"grafana_dashboard"}) & secret == (with_key if key else set())
    assert json.loads(values["grafana_dashboard"])["panels"]
    assert ("prometheus-etcd-client" in values["certificates"]) == key


def test_the_last_bastion_of_machines_without_public_addresses_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """They have the addresses of their generation, whatever the configuration says now."""
    made: dict[str, Any] = {"location": "nbg1", "server_type": "cx23", "image": "debian-12", "address": "10.1.1.11"}
    made |= {"public_ipv4": False, "public_ipv6": False}
    first_boot: dict[str, Any] = {}

    def of_its_generation(name: str, _: object, __: object) -> pulumi.Output[Any]:
        return pulumi.Output.from_input(first_boot if name.endswith("first-boot") else made)

    monkeypatch.setattr(slots, "pinned", of_its_generation)
    # The mocks' monitor wraps an error of an `apply`.
    with pytest.raises(ValueError, match=r"bastion: given nothing\. The machine of .* was created without"):
        record(lambda: built(HETZNER.wanted()), True)


def network(**changes: Any) -> AwsNetwork:
    subnets = changes.pop("subnets", [("a", "10.2.1.0/24")])
    args: Any = {
        "cluster_name": "c",
        "operators": [],
        "subnets": [{"zone": f"eu-central-1{letter}", "range": range_} for letter, range_ in subnets],
        **changes,
    }
    return AwsNetwork("c", args)


def one_machine(**changes: Any) -> None:
    slot = {"name": "etcd-1", "address": "10.2.1.11", "zone": "eu-central-1a", "instance_type": "t3.medium"}
    slot |= {name: changes.pop(name) for name in ("zone", "image") if name in changes}
    args: Any = {"cluster_name": "c", "slots": [slot], "private_key": "k", "public_key": "p", **changes}
    AwsMachines("c", network(), args)


@pytest.mark.parametrize(
    ("component", "change", "key", "rule"),
    [
        (network, {"subnets": []}, "subnets", "at least one zone"),
        (
            network,
            {"subnets": [("a", "10.2.1.0/24"), ("b", "10.2.1.128/25")]},
            "subnets[1].range",
            "Ranges must not overlap",
        ),
        (network, {"subnets": [("a", "10.3.1.0/24")]}, "subnets[0].range", "must be in the range of its network"),
        (network, {"edge_range": "10.2.1.0/25"}, "edge_range", "Ranges must not overlap"),
        (network, {"vpc_id": "vpc-0123456789abcdef0"}, "subnets[0].id", "Subnets must have an ID"),
        (network, {"nat_gateway": True}, "edge_range", "must have its own subnet"),
        (one_machine, {"zone": "eu-central-1b"}, "slots.etcd-1.zone", "The network has subnets in eu-central-1a"),
        (one_machine, {"volume": {"size": 20, "type": "st1"}}, "volume.type", "The type of a volume must be one of"),
        (one_machine, {"public_ipv4": False}, "bastion", "reached through a bastion"),
        (one_machine, {"previous_generations": {"etcd-1": 2}}, "slots.etcd-1.generation", "can only rise"),
        (one_machine, {"image": "windows"}, "image", "The name of an image must be one of"),
    ],
)
def test_a_component_refuses_invalid_arguments(
    component: Callable[..., object], change: dict[str, Any], key: str, rule: str
) -> None:
    with pytest.raises(PlanError) as refused:
        record(lambda: component(**change), True)
    assert any(each.key == key and rule in each.rule for each in refused.value.problems), str(refused.value)
