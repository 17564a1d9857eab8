"""The configuration of the platform hetzner: the example is valid, and every error is reported at preview."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from stacks import config, ssh_keys
from stacks.hetzner.config import HetznerConfig
from stacks.ssh_settings import Operator, SshLogin

REPO = Path(__file__).resolve().parents[2]
EXAMPLE = {
    name.removeprefix("external-etcd:"): value
    for name, value in yaml.safe_load((REPO / "Pulumi.hetzner.yaml").read_text())["config"].items()
}
BASTION = {
    "host": "bastion.example",
    "hostKey": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDJyo2sTUMxnKx0DqJY0zVcVv7B8mCkG6m8jXcTHwNd0",
}


def load(values: dict[str, Any], directory: Path | None = None) -> HetznerConfig:
    raw = {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in values.items()
        if value is not None
    }
    stack = config.load("hetzner", raw, directory)
    assert isinstance(stack.machines, HetznerConfig)
    assert stack.warnings == ()
    return stack.machines


def changed(changes: dict[str, Any], **top: Any) -> dict[str, Any]:
    """The example with other values: `a.b` -> value, None removes it, below the key `hetzner`."""
    values = copy.deepcopy({**EXAMPLE, **top})
    for path, value in changes.items():
        *above, last = path.split(".")
        place = values["hetzner"]
        for part in above:
            place = place[int(part)] if part.isdigit() else place.setdefault(part, {})
        if value is None:
            del place[last]
        else:
            place[int(last) if last.isdigit() else last] = value
    return values


def test_the_example_is_valid() -> None:
    stack = load(EXAMPLE)
    assert stack.plan.addresses == {"etcd-1": "10.1.1.11", "etcd-2": "10.1.1.12", "etcd-3": "10.1.1.13"}
    assert stack.plan.zone == "eu-central"
    assert stack.plan.gateway == "10.1.0.1"
    assert (stack.operator.user, stack.operator.private_key) == ("etcd-operator", "")


def test_commented_parts_of_the_example_are_valid() -> None:
    values = changed({"publicIpv4": False, "bastion.serverType": "cx23", "volume.size": 10, "volume.protect": False})
    stack = load(values)
    assert stack.plan.bastion_address == "10.1.1.5"
    assert stack.plan.volume_size == 10
    assert not stack.protect_volume


def test_a_slot_can_override_common_values() -> None:
    stack = load(changed({"slots.1": {"name": "etcd-2", "location": "fsn1", "image": "ubuntu-24.04", "generation": 4}}))
    second = stack.plan.slots[1]
    assert (second.location, second.image, second.generation, second.server_type) == (
        "fsn1",
        "ubuntu-24.04",
        4,
        "cx23",
    )


@pytest.mark.parametrize(
    ("changes", "key", "rule"),
    [
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
)
def test_bad_input_is_refused_with_its_key_and_the_rule(changes: dict[str, Any], key: str, rule: str) -> None:
    values = changed({}) if changes == {"slots.2": None} else changed(changes)
    if changes == {"slots.2": None}:
        values["hetzner"]["slots"].pop()
    with pytest.raises(config.ConfigError) as refused:
        load(values)
    found = [problem for problem in refused.value.problems if problem.key == key and rule in problem.rule]
    assert found, str(refused.value)
    assert all(problem.value and problem.remedy for problem in refused.value.problems)


def test_a_wrong_value_for_all_slots_is_reported_once() -> None:
    with pytest.raises(config.ConfigError) as refused:
        load(changed({"location": "ngb1"}))
    assert len(refused.value.problems) == 1
    assert refused.value.problems[0].remedy == "Did you mean 'nbg1'?"


def test_open_access_needs_an_explicit_setting() -> None:
    load(changed({"operators": ["0.0.0.0/0"], "clients": ["0.0.0.0/0"], "openToTheWorld": True}))


@pytest.mark.parametrize(
    ("top", "key"),
    [
        ({"machines": []}, "machines"),
        ({"machinesFile": "x"}, "machinesFile"),
        ({"hetzner": None}, "hetzner"),
        ({"platform": "hosts"}, "hetzner"),
        ({"platform": "hetzer"}, "platform"),
        ({"ssh": {"port": 2222}}, "ssh.port"),
        ({"ssh": {"bastion": BASTION}}, "ssh.bastion.privateKeyFile"),
        ({"dataDirectory": "/etcd"}, "dataDirectory"),
    ],
)
def test_keys_of_other_platforms_are_refused(top: dict[str, Any], key: str) -> None:
    with pytest.raises(config.ConfigError) as refused:
        load({**EXAMPLE, **top})
    assert key in {problem.key for problem in refused.value.problems}


def test_created_machines_cannot_be_without_sftp() -> None:
    with pytest.raises(config.ConfigError) as refused:
        load({**EXAMPLE, "ssh": {"sftp": False}})
    [problem] = refused.value.problems
    assert str(problem) == (
        "ssh.sftp: given false. etcd-node reaches created machines only by sftp, so the sshd of their image must serve "
        "it. Remove it, and choose an image with sftp, such as Debian's own."
    )


def test_the_operators_private_key_yields_its_public_key(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode()
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    assert ssh_keys.public_key(private) == public
    file = tmp_path / "key"
    file.write_text(private)
    file.chmod(0o600)
    stack = load({**EXAMPLE, "ssh": {"privateKeyFile": "key", "user": "ops", "bastion": BASTION}}, tmp_path)
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
        load({**EXAMPLE, "ssh": {"privateKeyFile": "key"}}, tmp_path)


def test_ipv6_only_machines_need_a_release_mirror() -> None:
    only = changed({"publicIpv4": False, "publicIpv6": True})
    with pytest.raises(config.ConfigError, match=r"releaseMirror: given nothing\. .*cannot reach GitHub"):
        load(only)
    load({**only, "releaseMirror": "https://mirror.example.com/etcd"})
    load({**only, "releaseProxy": "http://[fd00::1]:3128"})
    load(changed({"publicIpv4": True, "publicIpv6": True}))


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
    values = load(changed({"bastion": {}} if wanted == "made" else {}))
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
