"""One component per cloud with network, machines and cluster: the same resources as in the stacks, and its refusals."""

import json
import re
import secrets
from collections.abc import Iterator
from typing import Any

import pulumi
import pulumi_hcloud as hcloud
import pytest
from google.protobuf import json_format

from components import ChangeRefusedError
from components.aws import AwsEtcdCluster, AwsEtcdClusterArgs
from components.cloud_cluster import CloudClusterArgs, CloudEtcdCluster
from components.cluster import EtcdSettings
from components.hetzner import HetznerEtcdCluster, HetznerEtcdClusterArgs
from components.machine_types import MachineType
from components.plan import PlanError
from components.plan.guard.state import read_state
from components.plan.sizes import GIB
from components.plugin.provider import Provider
from components.plugin.refusals import refusal
from stacks import guard
from stacks.keys import table
from stacks.platforms import PLATFORMS
from tests.components.test_cloud_registrations import AWS, CLOUDS, HETZNER, Cloud, built
from tests.support.cloud_stacks import SLOTS
from tests.support.configurations import changed, load
from tests.support.outputs import resolved
from tests.support.recording import Recorder, record
from tests.unit.test_config_clouds import BASTION, EXISTING

PROVIDER = Provider("0.1.0")
COMPONENTS: dict[str, Any] = {"aws": AwsEtcdCluster, "hetzner": HetznerEtcdCluster}
ARGUMENTS: dict[str, Any] = {"aws": AwsEtcdClusterArgs, "hetzner": HetznerEtcdClusterArgs}
AGE = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
BUCKET = {"name": "example-org-etcd", "days": 90, "objectLock": {"mode": "COMPLIANCE", "days": 30}}
# Of the stack only: what the others are in a program of another language is shown by their own keys.
STACK_ONLY = ("platform", "clusterApi", "aws", "hetzner")


@pytest.fixture(params=CLOUDS, ids=lambda cloud: cloud.name)
def cloud(request: pytest.FixtureRequest) -> Cloud:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def one_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """The token of a bootstrap is another one in every run."""
    monkeypatch.setattr(secrets, "token_hex", lambda count: "0" * 2 * count)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The machine types that the cloud is asked for. It sells all but m7i.large and cx99, each with 4 GiB."""
    found: list[str] = []

    def answer(type_: str, _: pulumi.InvokeOptions) -> MachineType:
        found.append(type_)
        places = dict.fromkeys(["nbg1", *(f"eu-central-1{zone}" for zone in "abc")], True)
        return MachineType(4 * GIB, {} if type_ in ("m7i.large", "cx99") else places)

    for cloud in COMPONENTS:
        monkeypatch.setattr(f"components.{cloud}.cluster.machine_type", answer)
    return found


def inputs(cloud: Cloud, changes: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """The example of the platform as properties of the component; the keys of a configuration are the same."""
    values = changed(cloud.name, changes or {}, **top)
    return {**values[cloud.name], **{key: each for key, each in values.items() if key not in STACK_ONLY}}


def arguments(cloud: Cloud, changes: dict[str, Any] | None = None, **top: Any) -> dict[str, Any]:
    """These properties, as the plugin passes them to the component."""
    known = PROVIDER._component_defs[COMPONENTS[cloud.name].__name__]
    found = PROVIDER.map_inputs(inputs(cloud, changes, **top), known)
    # A property without a value is not passed. Before the first update, the output that has it has none.
    return found | {"previous": top["previous"]} if "previous" in top else found


def declared(cloud: Cloud, preview: bool, **given: Any) -> Recorder:
    return record(lambda: COMPONENTS[cloud.name](cloud.name, given), preview)


def requests(recorder: Recorder, component: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """URN and request of each registration, as if the component's children were the stack's; without the component."""
    stack = "urn:pulumi:test::external-etcd::pulumi:pulumi:Stack::external-etcd-test"
    own = {each.response.urn for each in recorder.registrations if each.type == component}
    for each in recorder.registrations:
        if each.response.urn not in own:
            text = json.dumps([each.response.urn, json_format.MessageToDict(each.request)])
            for urn in own:
                text = text.replace(urn, stack)
            urn, request = json.loads(text.replace(f"{component}$", "pulumi:pulumi:Stack$") if component else text)
            yield urn, {key: in_order(value) for key, value in request.items() if key != "sourcePosition"}


def in_order(value: Any) -> Any:
    """The value with its URNs in one order: those of dependencies are a set."""
    if isinstance(value, dict):
        return {key: in_order(each) for key, each in value.items()}
    if isinstance(value, list):
        urns = all(isinstance(each, str) and each.startswith("urn:") for each in value)
        return sorted(value) if urns else [in_order(each) for each in value]
    return value


@pytest.mark.parametrize("kind", ["everything", "existing"])
def test_the_component_registers_exactly_what_the_platform_does(cloud: Cloud, preview: bool, kind: str) -> None:
    changes: dict[str, Any] = {
        "everything": {**cloud.on_volumes, **cloud.private, "clients": ["10.9.0.0/16"], "metricsClients": ["10.8.0.1"]},
        "existing": EXISTING if cloud is AWS else {"networkId": 4711},
    }[kind]
    top: dict[str, Any] = {"prometheus": True, "metrics": "private"} if kind == "everything" else {}
    loaded = load(changed(cloud.name, changes, **top), stack=cloud.name)
    stack = dict(requests(record(lambda: built(loaded), preview)))
    recorder = declared(cloud, preview, **arguments(cloud, changes, **top))
    component = f"external-etcd:index:{COMPONENTS[cloud.name].__name__}"
    found = dict(requests(recorder, component))
    assert len(recorder.of_type(component)) == 1
    assert found.keys() == stack.keys()
    for urn, request in found.items():
        assert request == stack[urn], urn


def test_a_bucket_for_snapshots_is_the_store_of_the_backup() -> None:
    given = arguments(AWS, {"backupBucket": BUCKET}, backup={"recipients": [AGE]})
    recorder = declared(AWS, False, **given)
    bucket = recorder.named("aws-backup", "aws:s3/bucket:Bucket")
    assert bucket.inputs["bucket"] == BUCKET["name"]
    lock = recorder.named("aws-backup", "aws:s3/bucketObjectLockConfiguration:BucketObjectLockConfiguration")
    assert lock.inputs["rule"]["defaultRetention"] == {"mode": "COMPLIANCE", "days": 30}
    prepared = recorder.named("aws-etcd-1-converge").inputs["create"]
    # The region is that of the zones, because a provider's own is not known here.
    assert '"region": "eu-central-1"' in prepared and BUCKET["name"] in prepared
    assert recorder.named("aws-etcd-1", AWS.server).inputs["iamInstanceProfile"] == "aws-backup"


def test_arguments_and_configuration_keys_are_the_same(cloud: Cloud) -> None:
    known = PROVIDER._component_defs[COMPONENTS[cloud.name].__name__].inputs
    of_cluster = PROVIDER._component_defs["EtcdCluster"].inputs.keys() - {"members"}
    assert known.keys() >= of_cluster
    keys = {key.name for key in table(PLATFORMS).below(cloud.name)}
    assert known.keys() - of_cluster == keys | {"ssh", "dataDirectory"}
    for name, kind in known.items():
        typ = PROVIDER._values.type_of(kind.items or kind)
        if name in keys and typ is not None:
            path = f"{cloud.name}.{name}{'[]' if kind.items else ''}"
            assert typ.properties.keys() == {key.name for key in table(PLATFORMS).below(path)}, name


def test_it_has_all_outputs_of_a_cluster_and_those_of_its_cloud(cloud: Cloud) -> None:
    known = PROVIDER._component_defs[COMPONENTS[cloud.name].__name__]
    made: list[CloudEtcdCluster] = []

    def outputs() -> dict[str, Any]:
        made.append(COMPONENTS[cloud.name](cloud.name, arguments(cloud, cloud.private)))
        return PROVIDER.get_state(made[0], known)

    values, secret = resolved(outputs)
    assert values.keys() == known.outputs.keys()
    assert PROVIDER._component_defs["EtcdCluster"].outputs.keys() < values.keys()
    assert {"apiserverEtcdClient", "kubeadmFiles", "sshPrivateKey"} <= secret
    assert values["serverIds"].keys() == values["hosts"].keys() == {*SLOTS}
    assert values["hosts"]["etcd-1"] == {"aws": "10.2.1.11", "hetzner": "10.1.1.11"}[cloud.name]
    assert values["bastion"]["host"].startswith("198.51.100.")
    assert values["bastion"].keys() == {"host", "hostKey", "user"}
    if cloud is AWS:
        assert list(values["subnetIds"]) == ["eu-central-1a", "eu-central-1b", "eu-central-1c"]


def test_your_own_key_and_bastion_need_neither_to_be_created(cloud: Cloud) -> None:
    ssh: dict[str, Any] = {"publicKey": "ssh-ed25519 AAAA own", "privateKey": "own key", "user": "ops"}
    ssh["bastion"] = {**BASTION, "privateKey": "another key"}
    given = arguments(cloud, {"publicIpv4": False, **({"natGateway": True} if cloud is AWS else {})}, ssh=ssh)
    recorder = declared(cloud, False, **given)
    names = {each.name for each in recorder.registrations}
    assert cloud.name not in {each.name for each in recorder.of_type("tls:index/privateKey:PrivateKey")}
    assert not any("bastion" in name for name in names)
    way = recorder.named(f"{cloud.name}-etcd-1-prepare").inputs["connection"]["value"]
    assert (way["user"], way["privateKey"], way["proxy"]["host"]) == ("ops", "own key", BASTION["host"])


def test_the_network_can_come_from_resources_of_the_same_program(preview: bool) -> None:
    def later(text: Any) -> pulumi.Output[Any]:
        return pulumi.Output.from_input(text)

    def program() -> None:
        known = arguments(AWS, EXISTING)
        subnets = [{**each, "id": later(each["id"])} for each in known["subnets"]]
        AwsEtcdCluster("aws", {**known, "vpc_id": later(known["vpc_id"]), "subnets": subnets})  # type: ignore[typeddict-item]
        HetznerEtcdCluster("hetzner", {**arguments(HETZNER), "network_id": later(4711)})  # type: ignore[typeddict-item]

    recorder = record(program, preview)
    assert not recorder.of_type("aws:ec2/vpc:Vpc") and not recorder.of_type("hcloud:index/network:Network")
    group = recorder.named("aws-members", "aws:ec2/securityGroup:SecurityGroup")
    assert group.inputs["vpcId"] == EXISTING["vpcId"]


def refused(cloud: Cloud, changes: dict[str, Any], **top: Any) -> PlanError:
    """The refusal of these arguments; nothing is declared before it."""
    registered: list[Any] = []
    given = arguments(cloud, changes, **top)
    with pytest.raises(PlanError) as raised:
        registered += declared(cloud, True, **given).registrations
    with pytest.raises(PlanError, match=re.escape(str(raised.value).splitlines()[0])):
        record(lambda: COMPONENTS[cloud.name].check(cloud.name, given), preview=True)
    assert registered == []
    return raised.value


@pytest.mark.parametrize(
    ("cloud", "changes", "top", "paths"),
    [
        (AWS, {"zones": []}, {}, ["zones"]),
        (AWS, {"zones": ["eu-central-1"]}, {}, ["zones[0]"]),
        (AWS, {"vpcRange": "11.0.0.0/16"}, {}, ["vpcRange"]),
        (AWS, {"instanceType": "large"}, {}, ["instanceType"]),
        (AWS, {"slots.1.instanceType": "large"}, {}, ["slots[1].instanceType"]),
        (AWS, {"slots.1.name": "etcd_2"}, {}, ["slots[1].name"]),
        (AWS, {"volume": {"size": 20, "iops": 20000}}, {}, ["volume.iops"]),
        (AWS, {"backupBucket": {"name": "a.b"}}, {}, ["backupBucket.name"]),
        (
            AWS,
            {"backupBucket": BUCKET, "instanceType": "x"},
            {"backup": {"recipients": ["age2"]}},
            ["backup.recipients[0]", "instanceType"],
        ),
        (AWS, {"publicIpv4": False}, {"ssh": {"bastion": BASTION}}, ["releaseMirror"]),
        (HETZNER, {"volume": {"size": 1}}, {}, ["volume.size"]),
        (HETZNER, {"slots.0.location": "nbg"}, {}, ["slots[0].location"]),
        (HETZNER, {"operators": ["0.0.0.0/0"]}, {"version": "v3"}, ["operators[0]", "version"]),
        (HETZNER, {}, {"dataDirectory": "etcd"}, ["dataDirectory"]),
        (HETZNER, {}, {"ssh": {"privateKey": "own"}}, ["ssh.publicKey"]),
        (HETZNER, {}, {"ssh": {"publicKey": "~/.ssh/id.pub", "user": "a b"}}, ["ssh.publicKey", "ssh.user"]),
        (
            AWS,
            {},
            {"ssh": {"bastion": {**BASTION, "host": "a:22", "port": 0}}},
            ["ssh.bastion.host", "ssh.bastion.port"],
        ),
    ],
)
def test_every_problem_is_refused_at_once_with_its_path(
    cloud: Cloud, changes: dict[str, Any], top: dict[str, Any], paths: list[str]
) -> None:
    error, kind = refused(cloud, changes, **top), COMPONENTS[cloud.name].__name__
    found = refusal(error, PROVIDER._component_defs[kind], arguments(cloud, changes, **top), PROVIDER._values)
    said = [each["property_path"] for each in found.errors or []] + [
        line.partition(":")[0] for line in found.message.splitlines()
    ]
    assert sorted(said) == sorted(paths), error


def test_a_value_that_is_not_known_yet_is_no_object_in_a_message() -> None:
    lock = {"mode": pulumi.Output.from_input("COMPLIANCE"), "days": 30}
    given = {**arguments(AWS), "backup_bucket": {"name": "example-org-etcd", "object_lock": lock}}
    with pytest.raises(
        PlanError, match=r"^backup_bucket.object_lock.mode: given a value that is not known yet\. The mode"
    ):
        record(lambda: AwsEtcdCluster.check("aws", given), preview=True)  # type: ignore[arg-type]


def left(cloud: Cloud, changes: dict[str, Any] | None = None) -> dict[str, Any]:
    """The output `applied` after the first update of the example with these changes."""
    given = arguments(cloud, changes, previous=None)
    values, _ = resolved(lambda: {"applied": COMPONENTS[cloud.name](cloud.name, given).applied})
    applied: dict[str, Any] = values["applied"]
    return applied


def test_what_an_update_applied_is_compared_by_the_next_one(cloud: Cloud) -> None:
    applied = left(cloud)
    state = read_state(applied)
    assert state is not None
    # The same facts that the platform compares.
    assert state.origins == guard.wanted(cloud.wanted()).origins
    raised = {f"slots.{number}.generation": 2 for number in (0, 1)}
    for changes, key in (
        (raised, "slots.etcd-2.generation"),
        (
            {"vpcRange": "10.3.0.0/16"} if cloud is AWS else {"subnetRange": "10.1.2.0/24"},
            "vpc_range" if cloud is AWS else "subnet_range",
        ),
        ({"slots.0.address": "10.2.1.77" if cloud is AWS else "10.1.1.77"}, "slots[0].address"),
        ({"dataDirectory": "/srv/etcd"}, "data_directory"),
    ):
        top = {"dataDirectory": changes.pop("dataDirectory")} if "dataDirectory" in changes else {}
        error = refused(cloud, changes, previous=applied, **top)
        assert isinstance(error, ChangeRefusedError)
        assert error.key == key
        assert error.verdict.override
    # With the override, the same change is made: two machines at once.
    override = refused(cloud, raised, previous=applied).verdict.override  # type: ignore[attr-defined]
    again = declared(cloud, True, **arguments(cloud, raised, previous=applied, override=override))
    assert again.named(f"{cloud.name}-etcd-2-generation-2")


def test_generations_are_compared_also_if_nothing_else_can_be_read(cloud: Cloud) -> None:
    applied = {**left(cloud), "format": 99}
    error = refused(cloud, {"slots.0.generation": 2, "slots.1.generation": 2}, previous=applied)
    assert [each.key for each in error.problems] == ["slots.etcd-2.generation"]


def test_a_bastion_that_machines_would_not_admit_is_refused() -> None:
    applied = left(HETZNER)
    error = refused(HETZNER, {"bastion": {"address": "10.1.1.9"}}, previous=applied)
    assert (error.key, error.value) == ("bastion.address", "10.1.1.9")
    assert "add 10.1.1.9 to operators" in error.remedy
    declared(HETZNER, True, **arguments(HETZNER, {"bastion": {}}, previous=applied))


def test_the_cloud_is_asked_about_new_machines_and_a_larger_quota(cloud: Cloud, asked: list[str]) -> None:
    name, other = {"aws": ("instanceType", "m7i.large"), "hetzner": ("serverType", "cx99")}[cloud.name]
    key = {"aws": "instance_type", "hetzner": "server_type"}[cloud.name]
    error = refused(cloud, {f"slots.1.{name}": other}, previous=None)
    assert (error.key, error.value) == (f"slots.etcd-2.{key}", repr(other))
    error = refused(cloud, {}, previous=None, quota="8GiB")
    assert (error.key, error.remedy) == ("quota", f"Set quota to 4GiB or less, or choose a larger {key}")
    applied = left(cloud)
    asked.clear()
    # Nothing is asked about what is there, also if it is not sold any more, or if the last update is not known.
    declared(cloud, True, **arguments(cloud, {f"slots.1.{name}": other}, previous=applied))
    declared(cloud, True, **arguments(cloud))
    assert asked == []
    refused(cloud, {f"slots.1.{name}": other, "slots.1.generation": 2}, previous=applied)
    assert {*asked} == {other}


def test_the_bastion_is_asked_for_once(cloud: Cloud, asked: list[str]) -> None:
    bastion = {"aws": {"instanceType": "t3.nano"}, "hetzner": {"serverType": "cx33"}}[cloud.name]
    changes = {**cloud.private, "bastion": bastion}
    applied = left(cloud, changes)
    assert [each for each in asked if each in bastion.values()] == [*bastion.values()]
    asked.clear()
    declared(cloud, True, **arguments(cloud, changes, previous=applied))
    assert asked == []


@pytest.mark.parametrize("listed", [False, True])
def test_an_explicit_provider_is_that_of_all_resources_and_questions(
    listed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    invokes: list[pulumi.InvokeOptions] = []

    def answer(_: str, opts: pulumi.InvokeOptions) -> MachineType:
        invokes.append(opts)
        return MachineType(4 * GIB, {"nbg1": True})

    monkeypatch.setattr("components.hetzner.cluster.machine_type", answer)
    providers: list[pulumi.ProviderResource] = []

    def program() -> None:
        providers.append(hcloud.Provider("another", token="another"))
        opts = pulumi.ResourceOptions(providers=providers) if listed else pulumi.ResourceOptions(provider=providers[0])
        HetznerEtcdCluster("hetzner", arguments(HETZNER, previous=None), opts)  # type: ignore[arg-type]

    recorder = record(program, preview=False)
    assert [each.provider for each in invokes] == providers
    used = {each.request.provider for each in HETZNER.of(recorder)}
    assert len(used) == 1 and "::another::" in used.pop()


def test_arguments_of_the_cluster_are_all_arguments_of_a_cloud(cloud: Cloud) -> None:
    names = ARGUMENTS[cloud.name].__annotations__.keys()
    assert names > CloudClusterArgs.__annotations__.keys() > EtcdSettings.__annotations__.keys()
