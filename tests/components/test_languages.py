"""Programs in other languages, without machines: what their previews show and refuse."""

import asyncio
import json
from pathlib import Path
from typing import Any
from unittest import mock

import pulumi
import pytest
import yaml
from pulumi.errors import InputPropertiesError, InputPropertyError
from pulumi.output import Unknown
from pulumi.runtime import rpc, settings
from pulumi.runtime.proto import provider_pb2

from components import EtcdCluster
from components.aws import AwsEtcdCluster
from components.guard import read_output
from components.hetzner import HetznerEtcdCluster
from components.plan import PlanError
from components.plan.errors import Problem
from components.plugin.provider import Provider
from components.plugin.refusals import refusal
from tests.components.test_cloud_previews import AMI, NOBODY, OFFLINE
from tests.support.languages import EXAMPLES, Languages, change
from tests.support.recording import record
from tests.support.sshd import new_key
from tests.support.stacks import Stack, Stacks

PRIVATE_KEY, PUBLIC_KEY = new_key()
HOST_KEY = " ".join(PUBLIC_KEY.split()[:2])
CANARY = "a-canary-in-a-secret"
SSH = {"host": "192.0.2.1", "hostKey": HOST_KEY}
NOT_KNOWN: Any = Unknown()  # type: ignore[no-untyped-call]
PROVIDER = Provider("0.1.0")


def machines(*numbers: int) -> list[dict[str, str]]:
    return [{"name": f"etcd-{n}", "address": f"192.0.2.{n}", "host_key": HOST_KEY} for n in numbers]


@pytest.fixture(scope="module")
def languages(tmp_path_factory: pytest.TempPathFactory) -> Languages:
    return Languages(tmp_path_factory.mktemp("languages"))


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> Stacks:
    return Stacks(tmp_path_factory.mktemp("stacks"))


def created(stack: Stack) -> set[tuple[str, str]]:
    """Type and name of what the preview of a new stack creates."""
    steps = json.loads(stack.preview_json())["steps"]
    # The plugin's own provider is only there in other languages, and Python reads the last update as a resource.
    found = [step["urn"].split("::")[2:] for step in steps if step["op"] == "create"]
    return {(kind, name) for kind, name in found if "pulumi:providers:" not in kind and not kind.endswith(":Stack")}


@pytest.fixture(scope="module")
def python(languages: Languages, stacks: Stacks) -> set[tuple[str, str]]:
    """What the example in Python creates."""
    return created(languages.stack(stacks, "python", {"machines": machines(1, 2, 3), "ssh_key": PRIVATE_KEY}))


@pytest.mark.parametrize("language", ["yaml", "typescript", "go"])
def test_each_languages_example_creates_what_python_creates(
    languages: Languages, stacks: Stacks, python: set[tuple[str, str]], language: str
) -> None:
    stack = languages.stack(stacks, language, {"machines": machines(1, 2, 3), "ssh_key": PRIVATE_KEY})
    assert created(stack) == python


ON_CLOUDS = ("yaml-aws", "yaml-hetzner", "typescript-aws", "go-hetzner")


def on_cloud(languages: Languages, stacks: Stacks, example: str) -> Stack:
    """The example's stack, on a cloud that does not answer."""
    cloud = example.partition("-")[2]
    config: dict[str, Any] = {"operators": ["203.0.113.7/32"], **OFFLINE[cloud]}
    if cloud == "aws":
        config |= {"aws:region": "eu-central-1", "ami": AMI}
    stack = languages.stack(stacks, example, config)
    stack.environ |= NOBODY
    if example == "yaml-aws":
        change(stack, "instanceType: t3.medium", f"instanceType: t3.medium\n      ami: {AMI}")
    return stack


def registered(example: str) -> set[tuple[str, str]]:
    """Type and name of what the component registers in Python with the example's properties."""
    cloud = example.partition("-")[2]
    path = EXAMPLES / f"yaml-{cloud}" / "Pulumi.yaml"
    given = yaml.safe_load(path.read_text().replace("${operators}", "[203.0.113.7/32]"))["resources"]["etcd"]
    kind = given["type"].rpartition(":")[2]
    arguments = PROVIDER.map_inputs(given["properties"], PROVIDER._component_defs[kind])
    component: Any = {"AwsEtcdCluster": AwsEtcdCluster, "HetznerEtcdCluster": HetznerEtcdCluster}[kind]
    with mock.patch(f"components.{cloud}.cluster.check_offer"):
        recorder = record(lambda: component("etcd", {**arguments, "previous": None}), preview=True)
    return {(each.type, each.name) for each in recorder.registrations}


@pytest.mark.parametrize("example", ON_CLOUDS)
def test_each_clouds_example_creates_what_the_component_creates_in_python(
    languages: Languages, stacks: Stacks, example: str
) -> None:
    found = created(on_cloud(languages, stacks, example))
    kind = {"aws": "AwsEtcdCluster", "hetzner": "HetznerEtcdCluster"}[example.partition("-")[2]]
    # All are children of the component.
    assert all(chain.startswith(f"external-etcd:index:{kind}") for chain, _ in found)
    assert {(chain.rpartition("$")[2], name) for chain, name in found} == registered(example)


def test_a_change_of_a_cloud_that_is_not_safe_is_refused_at_preview(languages: Languages, stacks: Stacks) -> None:
    stack = on_cloud(languages, stacks, "yaml-aws")

    def refused(was: str, is_: str) -> str:
        change(stack, was, is_)
        run = stack.preview(check=False)
        assert run.code != 0
        assert "Traceback" not in run.text and "aws:ec2" not in run.text
        return run.text

    bad = refused("instanceType: t3.medium", "instanceType: medium")
    assert "external-etcd:index:AwsEtcdCluster resource 'etcd' has a problem:" in bad
    assert "property instanceType with value '{medium}' has a problem: given 'medium'. An instance type must be" in bad
    stack.left(applied={"format": 99, "generations": {f"etcd-{n}": 1 for n in (1, 2, 3)}})
    change(stack, "instanceType: medium", "instanceType: t3.medium")
    two = refused("generation: 1 }", "generation: 2 }")
    assert "given etcd-1 from 1 to 2, etcd-2 from 1 to 2" in two


def test_bad_input_comes_back_with_the_path_of_each_property(languages: Languages, stacks: Stacks) -> None:
    same = [*machines(1, 2), {**machines(3)[0], "address": "192.0.2.2"}]
    stack = languages.stack(stacks, "yaml", {"machines": same, "ssh_key": PRIVATE_KEY, "version": "v3.6.16"})
    refused = stack.preview(check=False)
    assert refused.code != 0
    assert "property members[2].address with value '{192.0.2.2}' has a problem" in refused.text
    assert "property version with value '{v3.6.16}' has a problem" in refused.text
    assert "Traceback" not in refused.text
    assert not any(line in refused.text for line in PRIVATE_KEY.splitlines() if len(line) > 40)


def refused(**arguments: Any) -> InputPropertiesError:
    """The engine's error for the refusal of these arguments of a cluster with one member."""
    member = {"name": "etcd-1", "address": "192.0.2.1", "ssh": {"host": "192.0.2.1", "host_key": HOST_KEY}}
    given: Any = {"members": [member], **arguments}
    with pytest.raises(PlanError) as raised:
        EtcdCluster("etcd", given)
    return refusal(raised.value, PROVIDER._component_defs["EtcdCluster"], given, PROVIDER._values)


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"election_timeout_ms": 1}, "electionTimeoutMs"),
        ({"users": [{"name": "A", "prefix": "/a", "permission": "read"}], "authentication": True}, "users[0].name"),
        ({"authorities": [{"name": "1", "private_key": CANARY}]}, "authorities[0].certificate"),
        ({"flags": {"max-wals": "x"}}, 'flags["max-wals"]'),
        ({"maintenance": {"in_use_percent": 0}}, "maintenance.inUsePercent"),
    ],
)
def test_the_path_has_the_names_of_the_schema(arguments: dict[str, Any], path: str) -> None:
    error = refused(**arguments)
    assert path in [each["property_path"] for each in error.errors or []]


def test_nothing_that_may_be_secret_has_a_path_for_the_engine_which_prints_its_value() -> None:
    for arguments, path in (
        ({"release_headers": {"X-Key\n": CANARY}}, "releaseHeaders"),
        ({"etcd_image_credentials": CANARY}, "etcdImageCredentials"),
        ({"members": []}, "members"),
        ({"release_mirror": f"https://user:{CANARY}@example.com"}, "releaseMirror"),
        ({"version": f"-----BEGIN PRIVATE KEY-----{CANARY}"}, "version"),
    ):
        error = refused(**arguments)
        assert error.message.startswith(path), error.message
        assert CANARY not in f"{error.message}{error.errors}"
        assert not any(each["property_path"].startswith(path) for each in error.errors or []), error.errors


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("members.etcd-1.address", "members[0].address"),
        ("members.etcd-9.address", "members.etcd-9.address"),
        ("release_headers.X-Key", 'releaseHeaders["X-Key"]'),
    ],
)
def test_a_part_that_is_not_there_or_not_known_yet_is_not_taken_for_another_one(key: str, path: str) -> None:
    given = {"members": [{"name": "etcd-1", "address": CANARY}], "release_headers": NOT_KNOWN}
    error = PlanError([Problem(key, "another value", "It must not", "Change it")])
    found = refusal(error, PROVIDER._component_defs["EtcdCluster"], given, PROVIDER._values)
    assert (found.message, found.errors) == (f"{path}: given another value. It must not. Change it.", [])


def mapped(**inputs: Any) -> dict[str, Any]:
    """The arguments of a cluster, from properties as the engine passes them."""
    return PROVIDER.map_inputs({"members": [], **inputs}, PROVIDER._component_defs["EtcdCluster"])


@pytest.mark.parametrize(
    ("inputs", "path"),
    [
        ({"members": [{"name": "etcd-1"}]}, "members[0].address"),
        ({"members": [{"name": "etcd-1", "address": NOT_KNOWN, "ssh": {}}]}, "members[0].address"),
    ],
)
def test_input_that_is_missing_is_refused_with_its_path(inputs: dict[str, Any], path: str) -> None:
    with pytest.raises(InputPropertyError) as raised:
        mapped(**inputs)
    assert raised.value.property_path == path


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({"flagz": {}}, "flagz: There is no such property."),
        (
            {"members": [{"name": "etcd-1", "address": "192.0.2.1", "ssh": {**SSH, "private_key": CANARY}}]},
            "members[0].ssh.private_key: There is no such property. Did you mean privateKey?",
        ),
        ({"flags": {"max-wals": 5.0}}, 'flags["max-wals"]: It must be a text: write it in quotes.'),
        ({"backup": CANARY}, "backup: It must be an object."),
        ({"users": CANARY}, "users: It must be a list."),
        ({"flags": CANARY}, "flags: It must be an object."),
        (
            {"heartbeatIntervalMs": [CANARY], "electionTimeoutMs": CANARY},
            "electionTimeoutMs: It must be a whole number.",
        ),
        ({"electionTimeoutMs": 0.5}, "electionTimeoutMs: It must be a whole number."),
        ({"authentication": CANARY}, "authentication: It must be true or false."),
    ],
)
def test_input_of_another_shape_is_refused_without_its_value(inputs: dict[str, Any], message: str) -> None:
    with pytest.raises(InputPropertiesError) as raised:
        mapped(**inputs)
    # With a path, the engine would print the value.
    assert (raised.value.message, raised.value.errors) == (message, [])


def test_numbers_are_whole_and_names_are_pythons() -> None:
    found = mapped(
        heartbeatIntervalMs=200.0, previous={"serial": 4.0, "share": 0.5}, maintenance={"quotaPercent": 25.0}
    )
    assert found == {
        "members": [],
        "heartbeat_interval_ms": 200,
        "previous": {"serial": 4, "share": 0.5},
        "maintenance": {"quota_percent": 25},
    }
    assert isinstance(found["previous"]["serial"], int)


def test_a_secret_around_a_member_stays_at_its_key() -> None:
    ssh = {**SSH, "privateKey": CANARY}

    async def key() -> tuple[str, bool, Any]:
        wrapped = pulumi.Output.secret([{"name": "etcd-1", "address": "192.0.2.1", "ssh": ssh}])
        (member,) = mapped(members=wrapped)["members"]
        found = member["ssh"]["private_key"]
        return member["address"], await found.is_secret(), await found.future()

    assert asyncio.run(key()) == ("192.0.2.1", True, CANARY)


@pytest.mark.parametrize("secret", [False, True])
def test_the_last_update_is_read_from_its_output_also_if_that_is_a_secret(
    secret: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = {"serial": 4.0, "members": [{"name": "etcd-1"}]}
    answer = provider_pb2.InvokeResponse()
    marked = {rpc._special_sig_key: rpc._special_secret_sig, "value": applied}
    getattr(answer, "return").update({"outputs": {"applied": marked if secret else applied, "endpoints": "a"}})
    monkeypatch.setattr(settings, "get_monitor", lambda: mock.Mock(Invoke=lambda *_, **__: answer))
    assert read_output("applied") == {"serial": 4, "members": [{"name": "etcd-1"}]}
    assert read_output("other") is None


@pytest.mark.parametrize("other", [["https://192.0.2.1:2379"], "etcd", {"etcd-1": "192.0.2.1"}])
def test_another_output_than_applied_is_refused_as_the_last_update(other: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.cluster.read_output", {"endpoints": other}.get)
    for given, message in (
        ({"previous_output": "endpoints"}, "previousOutput: given 'endpoints'. The last update must be compared by"),
        ({"previous": other}, "previous: given another value. The last update must be compared by"),
    ):
        error = refused(**given)
        found = [f"{each['property_path']}: {each['reason']}" for each in error.errors or []]
        assert (found or [error.message])[0].startswith(message)


def test_the_plugin_is_a_folder_that_the_cli_can_install() -> None:
    plugin = Path(__file__).resolve().parents[2] / "plugin"
    assert "name: python" in (plugin / "PulumiPlugin.yaml").read_text()
    assert "-r ../requirements.txt" in (plugin / "requirements.txt").read_text()
