"""The configuration of the platform hetzner: its example, keys and ways to the machines."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from stacks import config, ssh_keys
from stacks.hetzner.config import HetznerConfig
from stacks.ssh_settings import Operator, SshLogin
from tests.support.configurations import changed, load
from tests.support.sshd import new_key
from tests.unit.test_config_clouds import BASTION


def hetzner(changes: dict[str, Any], directory: Path | None = None, **top: Any) -> HetznerConfig:
    stack = load(changed("hetzner", changes, **top), directory)
    assert isinstance(stack.machines, HetznerConfig)
    assert stack.warnings == ()
    return stack.machines


def test_the_example_is_valid() -> None:
    stack = hetzner({})
    assert stack.plan.addresses == {"etcd-1": "10.1.1.11", "etcd-2": "10.1.1.12", "etcd-3": "10.1.1.13"}
    assert stack.plan.zone == "eu-central"
    assert stack.plan.gateway == "10.1.0.1"
    assert (stack.operator.user, stack.operator.private_key) == ("etcd-operator", "")


def test_commented_parts_of_the_example_are_valid() -> None:
    stack = hetzner({"publicIpv4": False, "bastion.serverType": "cx23", "volume.size": 10, "volume.protect": False})
    assert stack.plan.bastion_address == "10.1.1.5"
    assert stack.plan.volume_size == 10
    assert stack.args["volume"]["protect"] is False


def test_a_slot_can_override_common_values() -> None:
    stack = hetzner({"slots.1": {"name": "etcd-2", "location": "fsn1", "image": "ubuntu-24.04", "generation": 4}})
    second = stack.plan.slots[1]
    assert (second.location, second.image, second.generation, second.server_type) == ("fsn1", "ubuntu-24.04", 4, "cx23")


def test_the_operators_private_key_yields_its_public_key(tmp_path: Path) -> None:
    private, public = new_key()
    assert ssh_keys.public_key(private) == public
    file = tmp_path / "key"
    file.write_text(private)
    file.chmod(0o600)
    stack = hetzner({}, tmp_path, ssh={"privateKeyFile": "key", "user": "ops", "bastion": BASTION})
    assert (stack.operator.public_key, stack.operator.user) == (public, "ops")
    assert stack.operator.bastion is not None
    assert stack.operator.bastion.private_key == private


def test_a_key_without_its_public_key_is_refused(tmp_path: Path) -> None:
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "key"
    file.write_bytes(pem)
    file.chmod(0o600)
    with pytest.raises(config.ConfigError, match="OpenSSH format"):
        hetzner({}, tmp_path, ssh={"privateKeyFile": "key"})


def test_ipv6_only_machines_need_a_release_mirror() -> None:
    only = {"publicIpv4": False, "publicIpv6": True}
    with pytest.raises(config.ConfigError, match=r"releaseMirror: given nothing\. .*cannot reach GitHub"):
        hetzner(only)
    hetzner(only, releaseMirror="https://mirror.example.com/etcd")
    hetzner(only, releaseProxy="http://[fd00::1]:3128")
    hetzner({"publicIpv4": True, "publicIpv6": True})


def _file(bastion: str) -> dict[str, Any]:
    """The output `machines_file` of an update that reached the machines through this bastion; empty: none."""
    return {
        "machines": [{"name": "etcd-1", "ssh": {"host": "a", **({"bastion": {"host": bastion}} if bastion else {})}}]
    }


MADE, OUTSIDE, ANOTHER, DIRECT = (
    {"bastion": {"host": "made"}, "machines_file": _file("made")},
    {"machines_file": _file("jump")},
    {"machines_file": _file("another")},
    {"machines_file": _file("")},
)


@pytest.mark.parametrize(
    ("wanted", "last", "refused"),
    [
        ("made", MADE, None),
        ("made", OUTSIDE, ("hetzner.bastion", "Let ssh go through jump")),
        ("made", DIRECT, ("hetzner.bastion", "Let ssh go directly")),
        ("jump", OUTSIDE, None),
        ("jump", ANOTHER, ("ssh.bastion", "Let ssh go through another")),
        ("jump", MADE, ("hetzner.bastion", "Let ssh go through a bastion that is created here")),
        ("jump", DIRECT, ("ssh.bastion", "Let ssh go directly")),
        ("", DIRECT, None),
        ("", OUTSIDE, ("ssh.bastion", "Let ssh go through jump")),
        ("", MADE, ("hetzner.bastion", "Let ssh go through a bastion that is created here")),
    ],
)
def test_an_unrecorded_access_path_must_stay_for_one_update(
    wanted: str, last: dict[str, Any], refused: tuple[str, str] | None
) -> None:
    values = hetzner({"bastion": {}} if wanted == "made" else {})
    if wanted == "jump":
        values = replace(values, operator=Operator("ops", bastion=SshLogin("jump", "", "")))
    # Other operators must not be refused: the old address may be gone.
    values = replace(values, plan=replace(values.plan, operators=["203.0.113.200/32"]))
    found = values.compare({**last, "applied": {"format": 1}})
    assert [problem.key for problem in found] == ([] if refused is None else [refused[0]])
    if refused:
        assert refused[1] in found[0].remedy
        assert "run pulumi up, which records it; then make this change" in found[0].remedy
    assert values.compare(last) == [], "before the first successful update, there is nothing to compare with"
