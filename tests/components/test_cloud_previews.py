"""The clouds' examples with the real engine, before anything exists: what a preview shows.

All resource names are an interface: the reviewed snapshot files contain them.
"""

import json
from typing import Any

import pytest

from components.plan.guard import State
from lab.engine import environment
from stacks import guard
from stacks.hetzner import ssh_access
from stacks.hetzner.config import HetznerConfig
from tests.support.cloud_stacks import FILES, example, settings
from tests.support.configurations import load
from tests.support.snapshot import compare, taken
from tests.support.sshd import new_key
from tests.support.stacks import Run, Stack

PACKAGES = {"aws": "aws", "hetzner": "hcloud"}
# Nothing listens there: a preview's requests (machine types, images without an ID) get no answer.
NOBODY = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_MAX_ATTEMPTS": "1",
}
OFFLINE = {
    "aws": dict.fromkeys(
        ("aws:skipCredentialsValidation", "aws:skipRequestingAccountId", "aws:skipMetadataApiCheck"), "true"
    ),
    "hetzner": {"hcloud:token": "x" * 64, "hcloud:endpoint": "http://127.0.0.1:9/v1"},
}
AMI = "ami-0123456789abcdef0"
ARM: dict[str, dict[str, Any]] = {
    "aws": {
        **{"instanceType": "m7g.large", "architecture": "arm64", "publicIpv4": False, "natGateway": True},
        "bastion": {"instanceType": "t3.nano", "ami": AMI},
        "volume": {"size": 20, "iops": 4000, "throughput": 250},
    },
    "hetzner": {"serverType": "cax11", "publicIpv4": False, "bastion": {}, "volume": {"size": 10}},
}


class Previews:
    """The stack of a cloud that is only previewed.

    Attributes:
        warnings: those of the preview by `taken`.
    """

    def __init__(self, kind: str, stack: Stack) -> None:
        self.kind = kind
        self.stack = stack
        self.warnings: list[str] = []

    def taken(self, **changes: Any) -> dict[str, Any]:
        """The resources in a preview, with these keys of the platform's object."""
        self._set(changes)
        preview = json.loads(self.stack.preview_json())
        self.warnings = [each["message"] for each in preview["diagnostics"] if each["severity"] == "warning"]
        return taken(preview, PACKAGES[self.kind])

    def refused(self, **changes: Any) -> Run:
        """A preview with these keys that is refused and prints only the reasons."""
        self._set(changes)
        return self.refused_as_it_is()

    def refused_as_it_is(self) -> Run:
        """A preview of the present configuration that is refused and prints only the reasons."""
        run = self.stack.preview(check=False)
        assert run.code != 0
        assert "Traceback" not in run.text
        assert "Network" not in run.text, "nothing was declared"
        return run

    def left_by_the_example(self) -> State:
        """Record the example as the last update; returns that state."""
        self._set({})
        given = {key: each for key, each in self.stack.config.items() if key.startswith("external-etcd:")}
        stack = load({key.partition(":")[2]: each for key, each in given.items()}, stack=self.stack.directory.name)
        state, machines = guard.wanted(stack), stack.machines
        left = {}
        if isinstance(machines, HetznerConfig):
            left = {ssh_access.OUTPUT: ssh_access.of(machines.plan, machines.operator).data()}
        self.stack.left(applied={**state.data(), "serial": 1}, generations=dict(state.generations), **left)
        return state

    def _set(self, changes: dict[str, Any]) -> None:
        self.stack.config = example(self.kind) | OFFLINE[self.kind]
        settings(self.stack).update({"ami": AMI} if self.kind == "aws" else {}, **changes)


@pytest.fixture(scope="module", params=["aws", "hetzner"])
def previews(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Previews:
    directory = tmp_path_factory.mktemp("stacks")
    environ = {**environment(directory / "engine"), **NOBODY}
    return Previews(request.param, Stack(directory / request.param, environ, {}, FILES, "external-etcd"))


def test_the_examples_preview_matches_its_snapshot_and_a_silent_cloud_is_a_warning(previews: Previews) -> None:
    compare(previews.taken(), previews.kind)
    for unknown in ("The availability of", "The memory of"):
        assert any(unknown in warning for warning in previews.warnings), previews.warnings


def test_the_preview_of_private_arm_machines_matches_its_snapshot(previews: Previews) -> None:
    found = previews.taken(**ARM[previews.kind])
    kept = [inputs["input"] for urn, inputs in found.items() if urn.endswith("-generation-1")]
    assert [machine.get("instance_type") or machine["server_type"] for machine in kept] == [
        {"aws": "m7g.large", "hetzner": "cax11"}[previews.kind]
    ] * 3
    compare(found, f"{previews.kind}-private-volumes")


@pytest.mark.parametrize("previews", ["aws"], indirect=True)
def test_an_invalid_configuration_prints_only_the_reasons(previews: Previews) -> None:
    run = previews.refused(vpcRange="10.2.0.0/28", operators=["0.0.0.0/0"])
    assert "external-etcd" in run.text
    assert "aws.vpcRange: given '10.2.0.0/28'. The range of the VPC must be /24 or larger" in run.text
    assert "aws.operators[0]: given '0.0.0.0/0'. 0.0.0.0/0 is the whole internet" in run.text


def test_another_platform_or_network_is_refused(previews: Previews) -> None:
    state = previews.left_by_the_example()
    key, value = {"aws": ("vpcRange", "10.2.0.0/17"), "hetzner": ("networkId", 4711)}[previews.kind]
    run = previews.refused(**{key: value})
    assert f"{previews.kind}.{key}: given" in run.text
    assert "means other machines" in run.text or "with other machines" in run.text
    private, public = new_key()
    host_key = " ".join(public.split()[:2])
    previews.stack.config = {
        "platform": "hosts",
        "clusterName": state.cluster,
        "sshPrivateKey": private,
        "machines": [
            {"name": name, "address": address, "ssh": {"hostKey": host_key}} for name, address in state.members.items()
        ],
    }
    run = previews.refused_as_it_is()
    assert (
        "platform: given hosts. Another platform means other machines, and Pulumi would delete those that" in run.text
    )
    assert "to delete" not in run.text


@pytest.mark.parametrize("previews", ["hetzner"], indirect=True)
def test_an_unknown_bastion_is_refused_with_the_order_of_steps(previews: Previews) -> None:
    previews.left_by_the_example()
    run = previews.refused(bastion={"address": "10.1.1.9"})
    assert "hetzner.bastion.address: given 10.1.1.9. The rules of the last update must already admit" in run.text
    assert "add 10.1.1.9 to hetzner.operators and run pulumi up; then make this change" in run.text
    previews.stack.left(ssh_access=None)
    run = previews.refused(bastion={})
    assert "hetzner.bastion: given through a bastion that is created here (hetzner.bastion). The last" in run.text
    assert "Let ssh go directly (no bastion) and run pulumi up, which records it; then make this change" in run.text


def test_generations_are_compared_with_the_last_update_first(previews: Previews) -> None:
    previews.stack.left(applied=None, generations={"etcd-1": 1, "etcd-2": 1, "etcd-3": 1})
    slots = [{"name": f"etcd-{n}", "generation": 1 + (n < 3)} for n in (1, 2, 3)]
    run = previews.refused(slots=slots)
    assert f"{previews.kind}.slots.etcd-2.generation: given etcd-1 from 1 to 2, etcd-2 from 1 to 2" in run.text
    assert "Raise only that of etcd-1, run pulumi up, then raise the next one" in run.text
