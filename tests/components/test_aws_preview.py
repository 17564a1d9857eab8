"""The example of the platform aws under the real engine, before anything exists: what a preview says."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from lab.engine import environment
from tests.support.aws_stacks import EXAMPLE, KEY
from tests.support.cloud_stacks import FILES
from tests.support.snapshot import compare, taken
from tests.support.stacks import Stack

# Nothing answers there: a preview of what does not exist asks nobody, but for an image without an ID.
NOBODY = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "none",
    "AWS_SECRET_ACCESS_KEY": "none",
    "AWS_EC2_METADATA_DISABLED": "true",
}
OFFLINE = {
    f"aws:{name}": "true" for name in ("skipCredentialsValidation", "skipRequestingAccountId", "skipMetadataApiCheck")
}
AMI = "ami-0123456789abcdef0"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Stack]:
    directory = tmp_path_factory.mktemp("stacks")
    environ = {**environment(directory / "engine"), **NOBODY}

    def new(name: str, **changes: Any) -> Stack:
        config = json.loads(json.dumps(EXAMPLE))
        wanted = config[KEY] | {"ami": AMI, **changes}
        config[KEY] = {key: value for key, value in wanted.items() if value is not None}
        return Stack(directory / name, environ, config | OFFLINE, FILES, "external-etcd")

    return new


def test_the_preview_of_the_example_is_the_reviewed_one(aws: Callable[..., Stack]) -> None:
    compare(taken(aws("example"), "aws"), "aws")


def test_the_preview_of_private_machines_with_volumes_is_the_reviewed_one(aws: Callable[..., Stack]) -> None:
    stack = aws(
        "private",
        publicIpv4=False,
        natGateway=True,
        bastion={"instanceType": "t3.nano", "ami": AMI},
        volume={"size": 20, "iops": 4000, "throughput": 250},
    )
    compare(taken(stack, "aws"), "aws-private-volumes")


def test_a_preview_takes_the_names_of_machines_of_arm(aws: Callable[..., Stack]) -> None:
    found = taken(aws("arm", instanceType="m7g.large", architecture="arm64"), "aws")
    kept = [inputs["input"] for urn, inputs in found.items() if urn.endswith("-generation-1")]
    assert [machine["instance_type"] for machine in kept] == ["m7g.large"] * 3


def test_what_cannot_be_is_refused_in_a_preview_with_nothing_but_the_reasons(aws: Callable[..., Stack]) -> None:
    run = aws("wrong", vpcRange="10.2.0.0/28", operators=["0.0.0.0/0"]).preview(check=False)
    assert run.code != 0
    assert "external-etcd" in run.text
    assert "aws.vpcRange: given '10.2.0.0/28'. The range of the VPC is /24 or larger" in run.text
    assert "aws.operators[0]: given '0.0.0.0/0'. 0.0.0.0/0 is everybody" in run.text
    assert "Traceback" not in run.text
