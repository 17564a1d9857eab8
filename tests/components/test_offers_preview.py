"""Preview asks the cloud where a machine type is sold, and refuses one that is not available."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.engine import environment
from tests.components.test_cloud_previews import AMI, NOBODY, OFFLINE
from tests.support.aws_client import ENVIRON, moto
from tests.support.cloud_stacks import FILES, example, settings
from tests.support.hetzner_account import TOKEN, HetznerAccount, account, served
from tests.support.stacks import Stack

__all__ = ["account", "served"]


def new_stack(directory: Path, kind: str, environ: dict[str, str], config: dict[str, Any], **changes: Any) -> Stack:
    stack = Stack(directory / kind, {**environment(directory / "engine"), **environ}, {}, FILES, "external-etcd")
    stack.config = example(kind) | config
    settings(stack).update(changes)
    return stack


@pytest.fixture
def hetzner(account: HetznerAccount, tmp_path: Path) -> Stack:
    config = {"hcloud:endpoint": account.endpoint, "hcloud:token": TOKEN}
    return new_stack(tmp_path, "hetzner", {}, config)


@pytest.fixture
def aws(tmp_path: Path) -> Iterator[Stack]:
    with moto() as endpoint:
        environ = {**NOBODY, **ENVIRON, "AWS_ENDPOINT_URL": endpoint}
        yield new_stack(tmp_path, "aws", environ, OFFLINE["aws"], ami=AMI)


def test_a_server_type_not_sold_in_a_location_is_refused(hetzner: Stack) -> None:
    hetzner.preview()
    settings(hetzner)["slots"][1]["location"] = "hel1"
    settings(hetzner)["slots"][2]["serverType"] = "cpx11"
    refused = hetzner.preview(check=False)
    assert refused.code != 0
    assert "Traceback" not in refused.text
    assert "Network" not in refused.text, "nothing was declared"
    rule = "hetzner.slots.etcd-3.serverType: given 'cpx11'. Hetzner does not sell it in"
    assert rule in refused.text
    assert "it has it in ash, hil, sin. Choose another type, or another place." in refused.text
    settings(hetzner)["slots"][2]["serverType"] = "cpx999"
    assert "it has no such type there or anywhere near" in hetzner.preview(check=False).text


def test_existing_machines_need_no_offer(hetzner: Stack) -> None:
    hetzner.left(generations={"etcd-1": 1, "etcd-2": 1, "etcd-3": 1})
    settings(hetzner)["serverType"] = "cpx11"
    hetzner.preview()


def test_an_instance_type_not_sold_in_a_zone_is_refused(aws: Stack) -> None:
    aws.preview()
    settings(aws)["slots"][0]["instanceType"] = "m7i.nano"
    refused = aws.preview(check=False)
    assert refused.code != 0
    assert "Traceback" not in refused.text
    assert "aws.slots.etcd-1.instanceType: given 'm7i.nano'. AWS does not sell it in eu-central-1a" in refused.text


@pytest.mark.parametrize("kind", ["aws", "hetzner"])
def test_a_silent_cloud_is_a_warning(kind: str, tmp_path: Path) -> None:
    stack = new_stack(tmp_path, kind, NOBODY, OFFLINE[kind])
    if kind == "aws":
        settings(stack)["ami"] = AMI
    said = stack.preview().text
    assert "is sold where it is wanted could not be asked" in said
    assert "How much memory" in said
