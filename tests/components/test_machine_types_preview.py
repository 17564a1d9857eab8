"""Preview asks the cloud where a machine type is sold and for its memory, and refuses what does not fit."""

from collections.abc import Iterator
from typing import Any

import pytest

from lab.engine import environment
from tests.components.test_cloud_previews import AMI, NOBODY, OFFLINE
from tests.support.aws_client import ENVIRON, moto
from tests.support.cloud_stacks import FILES, example, settings
from tests.support.hetzner_account import TOKEN, HetznerAccount, served
from tests.support.stacks import Stack

__all__ = ["served"]


class Asked:
    """The stack of a cloud that answers; it is never up."""

    def __init__(self, kind: str, stack: Stack, config: dict[str, Any]) -> None:
        self.stack = stack
        self._kind = kind
        self._config = config

    def _set(self, quota: str, slots: dict[int, dict[str, Any]], changes: dict[str, Any]) -> None:
        self.stack.config = example(self._kind) | self._config | {"external-etcd:quota": quota}
        settings(self.stack).update(changes)
        for number, slot in slots.items():
            settings(self.stack)["slots"][number - 1].update(slot)

    def accepted(self, quota: str = "2GiB", **changes: Any) -> None:
        """A preview with these keys of the platform's object is one."""
        self._set(quota, {}, changes)
        self.stack.preview()

    def refused(self, slots: dict[int, dict[str, Any]], quota: str = "2GiB", **changes: Any) -> str:
        """What a preview says that is refused; the keys of slots by their number."""
        self._set(quota, slots, changes)
        run = self.stack.preview(check=False)
        assert run.code != 0
        assert "Traceback" not in run.text
        assert "Network" not in run.text, "nothing was declared"
        return run.text


@pytest.fixture(scope="module")
def hetzner(served: HetznerAccount, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("hetzner")
    stack = Stack(folder / "hetzner", environment(folder / "engine"), {}, FILES, "external-etcd")
    return Asked("hetzner", stack, {"hcloud:endpoint": served.endpoint, "hcloud:token": TOKEN})


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    folder = tmp_path_factory.mktemp("aws")
    with moto() as endpoint:
        environ = {**environment(folder / "engine"), **NOBODY, **ENVIRON, "AWS_ENDPOINT_URL": endpoint}
        yield Asked("aws", Stack(folder / "aws", environ, {}, FILES, "external-etcd"), OFFLINE["aws"])


def test_a_machine_type_whose_memory_is_the_quota_is_accepted(hetzner: Asked, aws: Asked) -> None:
    hetzner.accepted("8GiB", serverType="cpx32")
    aws.accepted("2GiB", ami=AMI, instanceType="t3.small")


def test_a_server_type_not_sold_in_a_location_is_refused(hetzner: Asked) -> None:
    said = hetzner.refused({1: {"serverType": "cpx999"}, 2: {"location": "hel1"}, 3: {"serverType": "cpx11"}})
    assert "hetzner.slots.etcd-3.serverType: given 'cpx11'. Hetzner does not sell it in" in said
    assert "it is sold in ash, hil, sin. Choose another type, or another place." in said
    assert "it has no such type there or nearby" in said
    assert "etcd-2" not in said


def test_an_instance_type_not_sold_in_a_zone_is_refused(aws: Asked) -> None:
    said = aws.refused({1: {"instanceType": "m7i.nano"}}, ami=AMI)
    assert "aws.slots.etcd-1.instanceType: given 'm7i.nano'. AWS does not sell it in eu-central-1a" in said
    said = aws.refused({}, ami=AMI, bastion={"instanceType": "m7i.nano", "ami": AMI})
    assert "aws.bastion.instanceType: given 'm7i.nano'. AWS does not sell it in eu-central-1a" in said


def test_a_quota_larger_than_memory_is_refused(hetzner: Asked, aws: Asked) -> None:
    said = hetzner.refused({2: {"serverType": "cpx22"}}, "8GiB", serverType="cpx32")
    assert (
        "quota: given '8GiB'. The database must fit into memory, and a machine of type cpx22 (etcd-2) has 4GiB." in said
    )
    assert "Set quota to 4GiB or less, or choose a larger hetzner.serverType." in said
    said = aws.refused({}, ami=AMI, instanceType="t3.micro")
    assert "a machine of type t3.micro (etcd-1, etcd-2, etcd-3) has 1GiB" in said
    assert "Set quota to" in said


def test_only_new_machines_need_an_offer(hetzner: Asked) -> None:
    """Must be the last test: the others need a stack that was never up."""
    hetzner.stack.left(generations={"etcd-1": 1, "etcd-2": 1})
    said = hetzner.refused({}, serverType="cpx11")
    assert "hetzner.slots.etcd-3.serverType: given 'cpx11'" in said
    assert not any(f"hetzner.slots.etcd-{number}." in said for number in (1, 2))
    # A bastion that is added later, and one that exists.
    bastion = {"serverType": "cpx11"}
    hetzner.stack.left(generations={f"etcd-{number}": 1 for number in (1, 2, 3)})
    said = hetzner.refused({}, bastion=bastion)
    assert "hetzner.bastion.serverType: given 'cpx11'. Hetzner does not sell it in" in said
    hetzner.stack.left(generations={f"etcd-{number}": 1 for number in (1, 2, 3)}, bastion={"host": "203.0.113.5"})
    hetzner.accepted(bastion=bastion)
